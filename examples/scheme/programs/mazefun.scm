;;; A maze, made without changing anything: walls are taken away in an order that looks random, each unless it would make
;;; a circle. SIZE is the length of its sides.

(define size (string->number (or (get-environment-variable "SIZE") "8")))

(define (must what holds) (if (not holds) (error "mazefun:" what)))

(define (iterate f n x) (if (= n 0) x (iterate f (- n 1) (f x))))
(define (next-random state) (modulo (+ (* state 16807) 11) 2147483647))

;; A list in another order: each element gets a number, and they are sorted by it.
(define (shuffle list seed)
  (let loop ((rest list) (state (next-random seed)) (pairs '()))
    (if (null? rest)
        (map cdr (sort pairs (lambda (a b) (< (car a) (car b)))))
        (loop (cdr rest) (next-random state) (cons (cons state (car rest)) pairs)))))

(define (cell row column) (+ column (* row size)))

(define walls
  (append-map
   (lambda (row)
     (append-map
      (lambda (column)
        (append (if (< column (- size 1)) (list (cons (cell row column) (cell row (+ column 1)))) '())
                (if (< row (- size 1)) (list (cons (cell row column) (cell (+ row 1) column))) '())))
      (iota size)))
   (iota size)))

;; Which cells are joined is a list of disjoint lists.
(define (set-of sets x) (if (memv x (car sets)) (car sets) (set-of (cdr sets) x)))
(define (without sets set) (filter (lambda (other) (not (eq? other set))) sets))

(define (open walls)
  (let loop ((walls walls) (sets (map list (iota (* size size)))) (doors '()))
    (if (null? walls)
        doors
        (let ((a (set-of sets (caar walls))) (b (set-of sets (cdar walls))))
          (if (eq? a b)
              (loop (cdr walls) sets doors)
              (loop (cdr walls)
                    (cons (append a b) (without (without sets a) b))
                    (cons (car walls) doors)))))))

(define (neighbours doors x)
  (append-map (lambda (door)
                (cond ((= (car door) x) (list (cdr door)))
                      ((= (cdr door) x) (list (car door)))
                      (else '())))
              doors))

(define (path doors from to came-from)
  (if (= from to)
      (list to)
      (let loop ((next (neighbours doors from)))
        (cond ((null? next) #f)
              ((eqv? (car next) came-from) (loop (cdr next)))
              ((path doors (car next) to from) => (lambda (rest) (cons from rest)))
              (else (loop (cdr next)))))))

(define maze (open (shuffle walls 42)))
(define last-cell (- (* size size) 1))
(define way (path maze 0 last-cell -1))

;; A tree: one door less than cells, and a way to each of them.
(must "doors" (= (length maze) last-cell))
(must "a way" (and way (= 0 (car way)) (= last-cell (car (reverse way)))))
(for-each (lambda (x) (must (list "a way to" x) (path maze 0 x -1))) (iota (* size size)))
(must "steps are through doors"
      (let loop ((way way))
        (or (null? (cdr way))
            (and (memv (cadr way) (neighbours maze (car way))) (loop (cdr way))))))
(must "another seed, another maze" (not (equal? maze (open (shuffle walls 43)))))
(must "the same seed, the same maze" (equal? maze (open (shuffle walls 42))))
(must "a number" (= (iterate next-random 3 1) (next-random (next-random (next-random 1)))))
(display "mazefun: ok")
(newline)
