;;; All paraffins with so many carbon atoms, each once. SIZE is the number of atoms.

(define size (string->number (or (get-environment-variable "SIZE") "11")))

(define (must what holds) (if (not holds) (error "paraffins:" what)))

;; A radical is hydrogen, or a carbon atom with three smaller radicals, in the order in which they were made.
(define radicals (make-vector (+ size 1) '()))
(define-record-type radical (make-radical number atoms parts) radical?
  (number radical-number) (atoms radical-atoms) (parts radical-parts))
(define count 0)
(define (new-radical atoms parts)
  (set! count (+ count 1))
  (make-radical count atoms parts))

(define (for-each-of atoms f) (for-each f (vector-ref radicals atoms)))

;; All ways to take `many` radicals with so many atoms in all, numbers ascending.
(define (choices many atoms least)
  (if (= many 0)
      (if (= atoms 0) '(()) '())
      (append-map
       (lambda (taken)
         (append-map
          (lambda (radical)
            (if (< (radical-number radical) least)
                '()
                (map (lambda (others) (cons radical others))
                     (choices (- many 1) (- atoms taken) (radical-number radical)))))
          (vector-ref radicals taken)))
       (iota (+ atoms 1)))))

(vector-set! radicals 0 (list (new-radical 0 '())))
(do ((atoms 1 (+ atoms 1))) ((> atoms (quotient size 2)))
  (vector-set! radicals atoms
               (map (lambda (parts) (new-radical atoms parts)) (choices 3 (- atoms 1) 1))))

;; A paraffin has a centre: a bond between two halves, or an atom none of whose four radicals has half of the atoms.
(define (bond-centred n)
  (if (odd? n)
      '()
      (append-map
       (lambda (a)
         (map (lambda (b) (list a b))
              (filter (lambda (b) (<= (radical-number a) (radical-number b)))
                      (vector-ref radicals (quotient n 2)))))
       (vector-ref radicals (quotient n 2)))))

(define (atom-centred n)
  (filter (lambda (four) (every-small? four n)) (choices 4 (- n 1) 1)))

(define (every-small? parts n)
  (or (null? parts)
      (and (< (* 2 (radical-atoms (car parts))) n) (every-small? (cdr parts) n))))

(define (paraffins n) (+ (length (bond-centred n)) (length (atom-centred n))))

(define known '#(1 1 1 1 2 3 5 9 18 35 75 159 355 802 1858 4347 10359 24894))
(do ((n 1 (+ n 1))) ((> n size))
  (must (list n "atoms") (= (paraffins n) (vector-ref known n))))
(display "paraffins: ok")
(newline)
