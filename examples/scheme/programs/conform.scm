;;; Types that may refer to themselves, and which conforms to which. SIZE is the number of types in a chain.

(define size (string->number (or (get-environment-variable "SIZE") "12")))

(define (must what holds) (if (not holds) (error "conform:" what)))

;; A type has a name and a list of methods (name argument result); an object of a type conforms to another if it has all
;; its methods, with arguments that may be more and results that may be less.
(define-record-type type (make-type name methods) type?
  (name type-name) (methods type-methods set-type-methods!))

(define (new-type name) (make-type name '()))
(define (method! type name argument result)
  (set-type-methods! type (cons (list name argument result) (type-methods type))))

;; Types conform unless something speaks against it: a pair that is being looked at counts as conforming. What has
;; been assumed is returned, or #f.
(define looked-at 0)
(define (conform a b assumed)
  (cond ((not assumed) #f)
        ((eq? a b) assumed)
        ((find-pair a b assumed) assumed)
        (else
         (set! looked-at (+ looked-at 1))
         (let loop ((wanted (type-methods b)) (assumed (cons (cons a b) assumed)))
           (cond ((not assumed) #f)
                 ((null? wanted) assumed)
                 ((assq (caar wanted) (type-methods a))
                  => (lambda (has)
                       (loop (cdr wanted)
                             (conform (caddr has) (caddr (car wanted))
                                      (conform (cadr (car wanted)) (cadr has) assumed)))))
                 (else #f))))))

(define (find-pair a b pairs)
  (and (pair? pairs)
       (or (and (eq? a (caar pairs)) (eq? b (cdar pairs)))
           (find-pair a b (cdr pairs)))))

(define (conforms? a b) (and (conform a b '()) #t))

;; --- lists of things, and lists that can be appended to -------------------------

(define thing (new-type 'thing))
(define number (new-type 'number))
(method! number 'add number number)
(define list-of-numbers (new-type 'list))
(method! list-of-numbers 'head thing number)
(method! list-of-numbers 'tail thing list-of-numbers)
(define list-of-things (new-type 'list-of-things))
(method! list-of-things 'head thing thing)
(method! list-of-things 'tail thing list-of-things)
(define growing (new-type 'growing))
(method! growing 'head thing number)
(method! growing 'tail thing growing)
(method! growing 'append growing growing)
(define picky (new-type 'picky))
(method! picky 'head number number)
(method! picky 'tail thing picky)

(must "all is a thing" (and (conforms? number thing) (conforms? growing thing)))
(must "a thing is no number" (not (conforms? thing number)))
(must "a list of numbers is one of things" (conforms? list-of-numbers list-of-things))
(must "and not the other way round" (not (conforms? list-of-things list-of-numbers)))
(must "more methods" (conforms? growing list-of-numbers))
(must "fewer methods" (not (conforms? list-of-numbers growing)))
(must "an argument that must be more" (not (conforms? picky list-of-numbers)))
(must "an argument that may be less" (conforms? list-of-numbers picky))

;; --- two chains that are built alike are the same, however long their circle is ---

(define (circle length)
  (let* ((types (map (lambda (i) (new-type i)) (iota length)))
         (first (car types)))
    (let loop ((types types))
      (let ((next (if (null? (cdr types)) first (cadr types))))
        (method! (car types) 'next thing next)
        (method! (car types) 'value thing number)
        (if (pair? (cdr types)) (loop (cdr types)))))
    first))

(define a (circle size))
(define b (circle (+ size 1)))
(set! looked-at 0)
(must "circles of different length" (and (conforms? a b) (conforms? b a)))
(must "each pair is looked at once" (= looked-at (* 2 size (+ size 1))))
(define c (circle size))
(method! (caddr (assq 'next (type-methods c))) 'more thing thing)
(must "a method more conforms" (conforms? c a))
(must "a method less does not" (not (conforms? a c)))

;; --- the relation is an order ----------------------------------------------------

(define all (list thing number list-of-numbers list-of-things growing picky a b c))
(for-each
 (lambda (x)
   (must "reflexive" (conforms? x x))
   (for-each
    (lambda (y)
      (for-each
       (lambda (z)
         (if (and (conforms? x y) (conforms? y z))
             (must (list "transitive" (type-name x) (type-name y) (type-name z)) (conforms? x z))))
       all))
    all))
 all)
(display "conform: ok")
(newline)
