;;; How many ways there are to fill a box with bricks of one by one by two. SIZE is the box's height; its ground is two
;;; by two.

(define size (string->number (or (get-environment-variable "SIZE") "5")))

(define (must what holds) (if (not holds) (error "puzzle:" what)))

;; The box is a vector; a place in it is a number. Around the box there are walls, which are full.
(define wide 4)
(define deep 4)
(define (place x y z) (+ x (* wide (+ y (* deep z)))))

(define (make-box width depth height)
  (let ((box (make-vector (* wide deep (+ height 2)) #t)))
    (do ((z 1 (+ z 1))) ((> z height) box)
      (do ((y 1 (+ y 1))) ((> y depth))
        (do ((x 1 (+ x 1))) ((> x width))
          (vector-set! box (place x y z) #f))))))

(define (first-free box)
  (let loop ((i 0))
    (cond ((= i (vector-length box)) #f)
          ((vector-ref box i) (loop (+ i 1)))
          (else i))))

(define directions (list 1 wide (* wide deep)))
(define tries 0)

(define (fillings box)
  (let ((here (first-free box)))
    (if (not here)
        1
        (begin
          (vector-set! box here #t)
          (let loop ((directions directions) (sum 0))
            (if (null? directions)
                (begin (vector-set! box here #f) sum)
                (let ((there (+ here (car directions))))
                  (set! tries (+ tries 1))
                  (if (vector-ref box there)
                      (loop (cdr directions) sum)
                      (begin
                        (vector-set! box there #t)
                        (let ((found (fillings box)))
                          (vector-set! box there #f)
                          (loop (cdr directions) (+ sum found))))))))))))

;; For a ground of two by two the numbers are 2, 9, 32, 121: each is three times the two before it, less the third.
(define (expected n)
  (case n
    ((0) 1)
    ((1) 2)
    ((2) 9)
    (else (- (* 3 (+ (expected (- n 1)) (expected (- n 2)))) (expected (- n 3))))))

(do ((height 1 (+ height 1))) ((> height size))
  (must (list "height" height) (= (fillings (make-box 2 2 height)) (expected height))))
(must "one by two is Fibonacci" (= 89 (fillings (make-box 2 1 10))))
(must "an odd box" (= 0 (fillings (make-box 1 1 3))))
(must "some work" (> tries 100))
(display "puzzle: ok")
(newline)
