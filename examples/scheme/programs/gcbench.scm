;;; Trees that die young beside trees and an array that live long. SIZE is the depth of the deepest tree.

(define size (string->number (or (get-environment-variable "SIZE") "9")))

(define (must what holds) (if (not holds) (error "gcbench:" what)))

(define-record-type node (make-node left right) node? (left node-left set-left!) (right node-right set-right!))

;; From the leaves up: all fields are set when a node is made.
(define (make-tree depth)
  (if (= depth 0)
      (make-node #f #f)
      (make-node (make-tree (- depth 1)) (make-tree (- depth 1)))))

;; From the root down: old nodes come to refer to young ones.
(define (grow! depth node)
  (when (> depth 0)
    (set-left! node (make-node #f #f))
    (set-right! node (make-node #f #f))
    (grow! (- depth 1) (node-left node))
    (grow! (- depth 1) (node-right node))))

(define (count node)
  (if node (+ 1 (count (node-left node)) (count (node-right node))) 0))

(define (nodes depth) (- (expt 2 (+ depth 1)) 1))

(define long-lived (make-node #f #f))
(grow! size long-lived)

(define array (make-vector (* 100 size) 0.0))
(do ((i 0 (+ i 1))) ((= i (vector-length array)))
  (vector-set! array i (/ 1.0 (+ i 1))))

;; As many nodes for each depth, so fewer trees the deeper they are.
(do ((depth 2 (+ depth 2))) ((> depth size))
  (let ((trees (quotient (* 2 (nodes size)) (nodes depth))))
    (do ((i 0 (+ i 1))) ((= i trees))
      (let ((down (make-node #f #f)) (up (make-tree depth)))
        (grow! depth down)
        (when (= i 0)
          (must "a tree from the root down" (= (count down) (nodes depth)))
          (must "a tree from the leaves up" (= (count up) (nodes depth))))))))

(must "the tree that lives long" (= (count long-lived) (nodes size)))
(must "the array" (= (vector-ref array 99) 0.01))
(display "gcbench: ok")
(newline)
