;;; An evaluator of Scheme in Scheme, which runs programs, and itself. SIZE is the argument of Fibonacci's function.

(define size (string->number (or (get-environment-variable "SIZE") "10")))

(define (must what holds) (if (not holds) (error "meta:" what)))

;; The evaluator is a datum, so that it can be run by Scheme and by itself. It knows quote, if, define, lambda, let, cond
;; and begin, and names are looked up in a list of frames, each a pair of names and values.
(define evaluator
  '(begin
     (define (lookup name frames)
       (if (null? frames)
           (error "unknown name" name)
           (let ((found (assq name (cdr (car frames)))))
             (if found (cdr found) (lookup name (cdr frames))))))
     (define (bind! name value frame) (set-cdr! frame (cons (cons name value) (cdr frame))))
     (define (pairs names values)
       (cond ((null? names) '())
             ((symbol? names) (list (cons names values)))
             (#t (cons (cons (car names) (car values)) (pairs (cdr names) (cdr values))))))
     (define (body forms frames)
       (if (null? (cdr forms))
           (evaluate (car forms) frames)
           (begin (evaluate (car forms) frames) (body (cdr forms) frames))))
     (define (closure names forms frames)
       (lambda values (body forms (cons (cons 'frame (pairs names values)) frames))))
     (define (clauses list frames)
       (if (evaluate (car (car list)) frames)
           (body (cdr (car list)) frames)
           (clauses (cdr list) frames)))
     (define (evaluate e frames)
       (cond ((symbol? e) (lookup e frames))
             ((not (pair? e)) e)
             ((eq? (car e) 'quote) (car (cdr e)))
             ((eq? (car e) 'if)
              (if (evaluate (car (cdr e)) frames)
                  (evaluate (car (cdr (cdr e))) frames)
                  (if (null? (cdr (cdr (cdr e)))) #f (evaluate (car (cdr (cdr (cdr e)))) frames))))
             ((eq? (car e) 'lambda) (closure (car (cdr e)) (cdr (cdr e)) frames))
             ((eq? (car e) 'begin) (body (cdr e) frames))
             ((eq? (car e) 'cond) (clauses (cdr e) frames))
             ((eq? (car e) 'let)
              (body (cdr (cdr e))
                    (cons (cons 'frame (map (lambda (b) (cons (car b) (evaluate (car (cdr b)) frames))) (car (cdr e))))
                          frames)))
             ((eq? (car e) 'define)
              (if (pair? (car (cdr e)))
                  (bind! (car (car (cdr e))) (closure (cdr (car (cdr e))) (cdr (cdr e)) frames) (car frames))
                  (bind! (car (cdr e)) (evaluate (car (cdr (cdr e))) frames) (car frames))))
             (#t (apply (evaluate (car e) frames) (map (lambda (part) (evaluate part frames)) (cdr e))))))
     evaluate))

(define evaluate (eval evaluator (interaction-environment)))

(define (new-frames)
  (list (cons 'frame
              (list (cons '+ +) (cons '- -) (cons '* *) (cons '= =) (cons '< <) (cons 'cons cons) (cons 'car car)
                    (cons 'cdr cdr) (cons 'null? null?) (cons 'pair? pair?) (cons 'symbol? symbol?) (cons 'eq? eq?)
                    (cons 'not not) (cons 'list list) (cons 'assq assq) (cons 'set-cdr! set-cdr!) (cons 'apply apply)
                    (cons 'error error) (cons 'map map)))))

(define (fibonacci n) (if (< n 2) n (+ (fibonacci (- n 1)) (fibonacci (- n 2)))))
(define fibonacci-program
  `(begin (define (f n) (if (< n 2) n (+ (f (- n 1)) (f (- n 2))))) (f ,size)))

(must "one level" (= (fibonacci size) (evaluate fibonacci-program (new-frames))))
(must "closures" (= 42 (evaluate '(((lambda (x) (lambda (y) (+ x y))) 40) 2) (new-frames))))
(must "rest" (equal? '(1 (2 3)) (evaluate '((lambda (a . b) (list a b)) 1 2 3) (new-frames))))
(must "let and cond" (eq? 'b (evaluate '(let ((x 2)) (cond ((= x 1) 'a) (#t 'b))) (new-frames))))
(must "an error" (guard (e (#t #t)) (evaluate '(car unknown) (new-frames)) #f))

;; The evaluator runs the evaluator, which runs the program.
(define inner (evaluate evaluator (new-frames)))
(must "two levels"
      (= (fibonacci (quotient size 2))
         (inner `(begin (define (f n) (if (< n 2) n (+ (f (- n 1)) (f (- n 2))))) (f ,(quotient size 2)))
                (new-frames))))
(display "meta: ok")
(newline)
