;;; A data base of units with patterns, and a matcher with segments that backtracks. SIZE is the number of units.

(define size (string->number (or (get-environment-variable "SIZE") "60")))

(define (must what holds) (if (not holds) (error "browse:" what)))

;; A pattern is matched against a datum: ? is anything, a symbol that begins with ? anything that is the same
;; everywhere, * any number of elements, a symbol that begins with * any elements that are the same everywhere.
(define (kind symbol)
  (let ((name (symbol->string symbol)))
    (cond ((string=? name "?") 'any)
          ((string=? name "*") 'many)
          ((char=? #\? (string-ref name 0)) 'one)
          ((char=? #\* (string-ref name 0)) 'some)
          (else 'constant))))

;; `then` is called with what the names stand for; when it says no, another way is tried.
(define (match pattern datum found then)
  (cond ((and (symbol? pattern) (eq? (kind pattern) 'any)) (then found))
        ((and (symbol? pattern) (eq? (kind pattern) 'one))
         (let ((known (assq pattern found)))
           (cond ((not known) (then (cons (cons pattern datum) found)))
                 ((equal? (cdr known) datum) (then found))
                 (else #f))))
        ((and (pair? pattern) (symbol? (car pattern)) (memq (kind (car pattern)) '(many some)))
         (segment (car pattern) (cdr pattern) datum '() found then))
        ((pair? pattern)
         (and (pair? datum)
              (match (car pattern) (car datum) found
                (lambda (found) (match (cdr pattern) (cdr datum) found then)))))
        (else (and (equal? pattern datum) (then found)))))

;; A segment takes as few elements as it can, and more when the rest does not match.
(define (segment name rest datum taken found then)
  (let ((known (and (eq? (kind name) 'some) (assq name found))))
    (or (and (or (not known) (equal? (cdr known) (reverse taken)))
             (match rest datum
               (if (or known (eq? (kind name) 'many)) found (cons (cons name (reverse taken)) found))
               then))
        (and (pair? datum)
             (segment name rest (cdr datum) (cons (car datum) taken) found then)))))

(define (matches? pattern datum) (match pattern datum '() (lambda (found) #t)))

;; Units are made by numbers that look random.
(define state 21)
(define (random n)
  (set! state (modulo (+ (* state 1103515245) 12345) 2147483648))
  (modulo (quotient state 65536) n))

(define letters '#(a b c d))
(define (datum length)
  (if (= length 0) '() (cons (vector-ref letters (random 4)) (datum (- length 1)))))

(define units
  (let loop ((n size) (units '()))
    (if (= n 0)
        units
        (loop (- n 1) (cons (list (datum (+ 2 (random 4))) (list (datum 3) (datum 2)) (datum 6)) units)))))

(define (matching pattern)
  (length (filter (lambda (unit) (matches? pattern unit)) units)))

;; The same questions, answered without the matcher.
(define (count-units holds?) (length (filter holds? units)))

(must "all" (= size (matching '(*))))
(must "three parts" (= size (matching '(? ? ?))))
(must "two parts" (= 0 (matching '(? ?))))
(must "begins with a" (= (count-units (lambda (u) (eq? 'a (caar u)))) (matching '((a *) * *))))
(must "has a b in the end" (= (count-units (lambda (u) (memq 'b (caddr u)))) (matching '(? ? (* b *)))))
(must "begins and ends alike"
      (= (count-units (lambda (u) (eq? (car (caddr u)) (list-ref (caddr u) 5)))) (matching '(? ? (?x * ?x)))))
(must "a part twice"
      (= (count-units (lambda (u) (let ((l (caddr u))) (equal? (list-head l 3) (list-tail l 3)))))
         (matching '(? ? (?x ?y ?z ?x ?y ?z)))))
(must "the same segment on both sides"
      (= (count-units (lambda (u) (let ((l (caddr u))) (equal? (list-head l 3) (list-tail l 3)))))
         (count-units (lambda (u) (matches? '(? ? (*x *x)) u)))))
(must "nested"
      (= (count-units (lambda (u) (equal? (car (car (cadr u))) (car (cadr (cadr u))))))
         (matching '(? ((?x *) (?x *)) *))))
(display "browse: ok")
(newline)
