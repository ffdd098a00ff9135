;;; Digits of pi, with integers that grow. SIZE is how many.

(define size (string->number (or (get-environment-variable "SIZE") "200")))

(define (must what holds) (if (not holds) (error "pi:" what)))

;; A stream of digits, after Gibbons: the state is a fraction that is known so well that its next digit cannot change.
(define (digits count)
  (let loop ((q 1) (r 0) (t 1) (k 1) (n 3) (l 3) (count count) (done '()))
    (cond ((= count 0) (reverse done))
          ((< (+ (* 4 q) (- r t)) (* n t))
           (loop (* 10 q) (* 10 (- r (* n t))) t k
                 (- (quotient (* 10 (+ (* 3 q) r)) t) (* 10 n))
                 l (- count 1) (cons n done)))
          (else
           (loop (* q k) (* (+ (* 2 q) r) l) (* t l) (+ k 1)
                 (quotient (+ (* q (+ (* 7 k) 2)) (* r l)) (* t l))
                 (+ l 2) count done)))))

;; The same by Machin's formula, with so many digits after the point and some to spare.
(define (machin count)
  (define one (expt 10 (+ count 10)))
  (define (arctangent-of-inverse x)
    (let loop ((power (quotient one x)) (n 1) (sum 0) (sign 1))
      (if (= power 0)
          sum
          (loop (quotient power (* x x)) (+ n 2) (+ sum (* sign (quotient power n))) (- sign)))))
  (quotient (* 4 (- (* 4 (arctangent-of-inverse 5)) (arctangent-of-inverse 239))) (expt 10 10)))

(define stream (digits size))
(must "it begins" (equal? (list-head stream 10) '(3 1 4 1 5 9 2 6 5 3)))
(must "two ways"
      (string=? (apply string-append (map number->string stream))
                (number->string (machin (- size 1)))))
(display "pi: ok")
(newline)
