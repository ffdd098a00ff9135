; The programs of the workload lisp. They keep to what its evaluators have: define, lambda, if, quote, and procedures on
; integers and lists.

(define (fib n)
  (if (< n 2)
      n
      (+ (fib (- n 1)) (fib (- n 2)))))

(define (tak x y z)
  (if (not (< y x))
      z
      (tak (tak (- x 1) y z) (tak (- y 1) z x) (tak (- z 1) x y))))

; In how many ways n queens stand on a board: rows to try, rows tried for this column, rows of the queens that stand.

(define (rows n)
  (if (= n 0) '() (cons n (rows (- n 1)))))

(define (append-two a b)
  (if (null? a) b (cons (car a) (append-two (cdr a) b))))

(define (safe? row distance placed)
  (if (null? placed)
      #t
      (if (= (car placed) (+ row distance))
          #f
          (if (= (car placed) (- row distance))
              #f
              (safe? row (+ distance 1) (cdr placed))))))

(define (place left tried placed)
  (if (null? left)
      (if (null? tried) 1 0)
      (+ (if (safe? (car left) 1 placed)
             (place (append-two (cdr left) tried) '() (cons (car left) placed))
             0)
         (place (cdr left) (cons (car left) tried) placed))))

(define (queens n)
  (place (rows n) '() '()))

; The derivative of an expression in x, and how many leaves it has.

(define (map-one f items)
  (if (null? items)
      '()
      (cons (f (car items)) (map-one f (cdr items)))))

(define (deriv a)
  (if (not (pair? a))
      (if (eq? a 'x) 1 0)
      (if (eq? (car a) '+)
          (cons '+ (map-one deriv (cdr a)))
          (if (eq? (car a) '-)
              (cons '- (map-one deriv (cdr a)))
              (if (eq? (car a) '*)
                  (list '* a (cons '+ (map-one (lambda (factor) (list '/ (deriv factor) factor)) (cdr a))))
                  (list '-
                        (list '/ (deriv (car (cdr a))) (car (cdr (cdr a))))
                        (list '/
                              (car (cdr a))
                              (list '* (car (cdr (cdr a))) (car (cdr (cdr a))) (deriv (car (cdr (cdr a))))))))))))

(define (leaves tree)
  (if (pair? tree)
      (+ (leaves (car tree)) (leaves (cdr tree)))
      1))

(define (derivs n)
  (if (= n 0)
      0
      (+ (leaves (deriv '(+ (* 3 x x) (* a x x) (/ b x) 5 (- x (* x x x)))))
         (derivs (- n 1)))))
