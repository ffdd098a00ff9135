; The programs of lisp.scm with every number in a box, which is a list of it: whatever an evaluator does with small numbers, each
; result is a new object.

(define (add a b) (cons (+ (car a) (car b)) '()))
(define (sub a b) (cons (- (car a) (car b)) '()))
(define (less? a b) (< (car a) (car b)))
(define (same? a b) (= (car a) (car b)))

(define (fib n)
  (if (less? n '(2))
      n
      (add (fib (sub n '(1))) (fib (sub n '(2))))))

(define (tak x y z)
  (if (not (less? y x))
      z
      (tak (tak (sub x '(1)) y z) (tak (sub y '(1)) z x) (tak (sub z '(1)) x y))))

(define (rows n)
  (if (same? n '(0)) '() (cons n (rows (sub n '(1))))))

(define (append-two a b)
  (if (null? a) b (cons (car a) (append-two (cdr a) b))))

(define (safe? row distance placed)
  (if (null? placed)
      #t
      (if (same? (car placed) (add row distance))
          #f
          (if (same? (car placed) (sub row distance))
              #f
              (safe? row (add distance '(1)) (cdr placed))))))

(define (place left tried placed)
  (if (null? left)
      (if (null? tried) '(1) '(0))
      (add (if (safe? (car left) '(1) placed)
               (place (append-two (cdr left) tried) '() (cons (car left) placed))
               '(0))
           (place (cdr left) (cons (car left) tried) placed))))

(define (queens n)
  (place (rows n) '() '()))

(define (map-one f items)
  (if (null? items)
      '()
      (cons (f (car items)) (map-one f (cdr items)))))

; A number is a list that begins with one, so the operators of expressions are what tells them.

(define (deriv a)
  (if (not (pair? a))
      (if (eq? a 'x) '(1) '(0))
      (if (eq? (car a) '+)
          (cons '+ (map-one deriv (cdr a)))
          (if (eq? (car a) '-)
              (cons '- (map-one deriv (cdr a)))
              (if (eq? (car a) '*)
                  (list '* a (cons '+ (map-one (lambda (factor) (list '/ (deriv factor) factor)) (cdr a))))
                  (if (eq? (car a) '/)
                      (list '-
                            (list '/ (deriv (car (cdr a))) (car (cdr (cdr a))))
                            (list '/
                                  (car (cdr a))
                                  (list '* (car (cdr (cdr a))) (car (cdr (cdr a))) (deriv (car (cdr (cdr a)))))))
                      '(0)))))))

(define (leaves tree)
  (if (pair? tree)
      (add (leaves (car tree)) (leaves (cdr tree)))
      '(1)))

(define (derivs n)
  (if (same? n '(0))
      '(0)
      (add (leaves (deriv '(+ (* (3) x x) (* a x x) (/ b x) (5) (- x (* x x x)))))
           (derivs (sub n '(1))))))
