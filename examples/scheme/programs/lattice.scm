;;; How many functions from sets to truth values never fall when elements are added: Dedekind's numbers. SIZE is the
;;; number of elements.

(define size (string->number (or (get-environment-variable "SIZE") "4")))

(define (must what holds) (if (not holds) (error "lattice:" what)))

;; A set is a number, one bit for each element. Sets are decided in ascending order, so all smaller ones are before.
(define (subset? a b) (= a (bits-and a b)))
(define (bits-and a b)
  (if (or (= a 0) (= b 0))
      0
      (+ (if (and (odd? a) (odd? b)) 1 0)
         (* 2 (bits-and (quotient a 2) (quotient b 2))))))

(define (monotone-functions elements)
  (define sets (expt 2 elements))
  ;; `chosen` are the sets that have the value true so far.
  (define (extend set chosen)
    (if (= set sets)
        1
        (if (any-subset? chosen set)
            (extend (+ set 1) (cons set chosen))
            (+ (extend (+ set 1) chosen)
               (extend (+ set 1) (cons set chosen))))))
  (define (any-subset? chosen set)
    (and (pair? chosen)
         (or (subset? (car chosen) set) (any-subset? (cdr chosen) set))))
  (extend 0 '()))

(define known '#(2 3 6 20 168 7581))
(do ((n 0 (+ n 1))) ((> n size))
  (must (list n "elements") (= (monotone-functions n) (vector-ref known n))))
(display "lattice: ok")
(newline)
