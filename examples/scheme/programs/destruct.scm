;;; Lists that are changed in place: elements go from one to the next, and all is there in the end. SIZE is the number
;;; of rounds.

(define size (string->number (or (get-environment-variable "SIZE") "300")))

(define (must what holds) (if (not holds) (error "destruct:" what)))

(define lists 12)
(define rows (make-vector lists '()))

;; Takes the first half of a list off it, by cutting it.
(define (split! list)
  (let ((middle (list-tail list (- (quotient (+ (length list) 1) 2) 1))))
    (let ((rest (cdr middle)))
      (set-cdr! middle '())
      rest)))

;; Appends by changing the last pair.
(define (join! a b)
  (if (null? a)
      b
      (begin (set-cdr! (last-pair a) b) a)))

(define (reverse! list)
  (let loop ((list list) (done '()))
    (if (null? list)
        done
        (let ((rest (cdr list)))
          (set-cdr! list done)
          (loop rest list)))))

(define made 0)
(define (fresh! count)
  (if (= count 0)
      '()
      (begin (set! made (+ made 1)) (let ((n made)) (cons n (fresh! (- count 1)))))))

(do ((round 0 (+ round 1))) ((= round size))
  (do ((i 0 (+ i 1))) ((= i lists))
    (let ((row (vector-ref rows i)) (next (modulo (+ i 1) lists)))
      (if (or (null? row) (null? (cdr row)))
          (vector-set! rows i (join! row (fresh! (+ 1 (modulo (+ i round) 7)))))
          (let ((rest (split! row)))
            (vector-set! rows i (reverse! row))
            (vector-set! rows next (join! rest (vector-ref rows next))))))))

;; Each number that was made is in one list, once.
(define seen (make-vector (+ made 1) 0))
(vector-for-each
 (lambda (row) (for-each (lambda (n) (vector-set! seen n (+ 1 (vector-ref seen n)))) row))
 rows)
(do ((n 1 (+ n 1))) ((> n made))
  (must (list "number" n) (= 1 (vector-ref seen n))))
(must "numbers were made" (> made lists))
(display "destruct: ok")
(newline)
