;;; Takeuchi's function of numbers that are lists. SIZE is added to its arguments.

(define size (string->number (or (get-environment-variable "SIZE") "0")))

(define (must what holds) (if (not holds) (error "takl:" what)))

(define (numeral n) (if (= n 0) '() (cons n (numeral (- n 1)))))

(define (shorter? a b)
  (and (pair? b) (or (null? a) (shorter? (cdr a) (cdr b)))))

(define (takl x y z)
  (if (shorter? y x)
      (takl (takl (cdr x) y z) (takl (cdr y) z x) (takl (cdr z) x y))
      z))


;; This variant returns z at its ends, as Gabriel's does.
(define (tak x y z)
  (if (< y x)
      (tak (tak (- x 1) y z) (tak (- y 1) z x) (tak (- z 1) x y))
      z))

(let ((x (+ size 14)) (y (+ size 10)) (z (+ size 5)))
  (must "the same as of numbers"
        (= (length (takl (numeral x) (numeral y) (numeral z))) (tak x y z))))
(must "what the benchmark says" (= 7 (length (takl (numeral 18) (numeral 12) (numeral 6)))))
(display "takl: ok")
(newline)
