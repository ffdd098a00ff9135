;;; Symbolic derivatives, compared with those of polynomials. SIZE is how often.

(define size (string->number (or (get-environment-variable "SIZE") "100")))

(define (must what holds) (if (not holds) (error "deriv:" what)))

(define (derivative e)
  (cond ((number? e) 0)
        ((symbol? e) (if (eq? e 'x) 1 0))
        (else
         (case (car e)
           ((+) (cons '+ (map derivative (cdr e))))
           ((-) (cons '- (map derivative (cdr e))))
           ((*) (cons '+ (products '() (cdr e))))
           ((/) (let ((a (cadr e)) (b (caddr e)))
                  `(/ (- (* ,b ,(derivative a)) (* ,a ,(derivative b))) (* ,b ,b))))
           (else (error "deriv: no rule for" (car e)))))))

;; One product for each factor, with that one's derivative in its place.
(define (products before after)
  (if (null? after)
      '()
      (cons (cons '* (append (reverse before) (cons (derivative (car after)) (cdr after))))
            (products (cons (car after) before) (cdr after)))))

(define (value e x)
  (cond ((number? e) e)
        ((symbol? e) (if (eq? e 'x) x (error "deriv: unknown" e)))
        (else (apply (case (car e) ((+) +) ((-) -) ((*) *) (else /))
                     (map (lambda (part) (value part x)) (cdr e))))))

;; a x^3 + b x^2 + c, and its derivative 3 a x^2 + 2 b x.
(define (cubic a b c) `(+ (* ,a x x x) (* ,b x x) ,c))
(define (slope a b x) (+ (* 3 a x x) (* 2 b x)))

(do ((i 1 (+ i 1))) ((> i size))
  (let* ((a (- (modulo (* i 7) 11) 5)) (b (- (modulo (* i 5) 13) 6)) (x (/ i 3))
         (e (derivative (cubic a b i))))
    (must (list "cubic" a b) (= (value e x) (slope a b x)))
    ;; The derivative of a quotient, exactly: (1/p)' = -p'/p^2.
    (let ((p (value (cubic a b (* 1000 i)) x)))
      (must (list "quotient" a b)
            (= (value (derivative `(/ 1 ,(cubic a b (* 1000 i)))) x)
               (- (/ (slope a b x) (* p p))))))))
(display "deriv: ok")
(newline)
