;;; A prover after Boyer and Moore: terms are rewritten by lemmas until none applies, and what is left is looked at as
;;; a decision tree. SIZE is how often the theorem is wrapped into another.

(define size (string->number (or (get-environment-variable "SIZE") "1")))

(define (must what holds) (if (not holds) (error "nboyer:" what)))

;; Lemmas are filed under the function of their left side. What stands after a question mark is a variable.
(define lemmas (make-equal-hash-table))

(define (variable? term)
  (and (symbol? term) (char=? #\? (string-ref (symbol->string term) 0))))

(define (lemma! left right)
  (hash-table-update!/default lemmas (car left) (lambda (others) (append others (list (cons left right)))) '()))

(for-each
 (lambda (pair) (lemma! (car pair) (cadr pair)))
 '(((and ?p ?q) (if ?p (if ?q (t) (f)) (f)))
   ((or ?p ?q) (if ?p (t) (if ?q (t) (f))))
   ((not ?p) (if ?p (f) (t)))
   ((implies ?p ?q) (if ?p (if ?q (t) (f)) (t)))
   ((iff ?p ?q) (and (implies ?p ?q) (implies ?q ?p)))
   ((if (if ?p ?q ?r) ?x ?y) (if ?p (if ?q ?x ?y) (if ?r ?x ?y)))
   ((plus (plus ?x ?y) ?z) (plus ?x (plus ?y ?z)))
   ((times (plus ?x ?y) ?z) (plus (times ?x ?z) (times ?y ?z)))
   ((times (times ?x ?y) ?z) (times ?x (times ?y ?z)))
   ((difference ?x ?x) (zero))
   ((equal (plus ?x ?y) (plus ?x ?z)) (equal ?y ?z))
   ((equal (zero) (difference ?x ?y)) (not (lessp ?y ?x)))
   ((equal ?x ?x) (t))
   ((append (append ?x ?y) ?z) (append ?x (append ?y ?z)))
   ((append (nil) ?x) ?x)
   ((append (cons ?x ?y) ?z) (cons ?x (append ?y ?z)))
   ((reverse (append ?x ?y)) (append (reverse ?y) (reverse ?x)))
   ((reverse (cons ?x ?y)) (append (reverse ?y) (cons ?x (nil))))
   ((reverse (nil)) (nil))
   ((length (append ?x ?y)) (plus (length ?x) (length ?y)))
   ((length (reverse ?x)) (length ?x))
   ((length (cons ?x ?y)) (add1 (length ?y)))
   ((length (nil)) (zero))
   ((plus (add1 ?x) ?y) (add1 (plus ?x ?y)))
   ((plus (zero) ?x) ?x)
   ((equal (add1 ?x) (add1 ?y)) (equal ?x ?y))
   ((member ?x (append ?y ?z)) (or (member ?x ?y) (member ?x ?z)))
   ((member ?x (reverse ?y)) (member ?x ?y))
   ((member ?x (cons ?y ?z)) (or (equal ?x ?y) (member ?x ?z)))
   ((member ?x (nil)) (f))
   ((lessp (plus ?x ?y) (plus ?x ?z)) (lessp ?y ?z))
   ((lessp ?x ?x) (f))
   ((lessp (add1 ?x) (add1 ?y)) (lessp ?x ?y))))

;; What the variables of a pattern stand for, if a term is an instance of it.
(define (match pattern term found)
  (cond ((not found) #f)
        ((variable? pattern)
         (let ((known (assq pattern found)))
           (cond ((not known) (cons (cons pattern term) found))
                 ((equal? (cdr known) term) found)
                 (else #f))))
        ((and (pair? pattern) (pair? term) (eq? (car pattern) (car term)))
         (match-all (cdr pattern) (cdr term) found))
        ((equal? pattern term) found)
        (else #f)))

(define (match-all patterns terms found)
  (cond ((not found) #f)
        ((null? patterns) (and (null? terms) found))
        ((null? terms) #f)
        (else (match-all (cdr patterns) (cdr terms) (match (car patterns) (car terms) found)))))

(define (instance template found)
  (cond ((variable? template) (cdr (assq template found)))
        ((pair? template) (cons (car template) (map (lambda (part) (instance part found)) (cdr template))))
        (else template)))

(define rewrites 0)

(define (rewrite term)
  (if (pair? term)
      (apply-lemmas (cons (car term) (map rewrite (cdr term)))
                    (hash-table-ref/default lemmas (car term) '()))
      term))

(define (apply-lemmas term candidates)
  (if (null? candidates)
      term
      (let ((found (match (caar candidates) term '())))
        (if found
            (begin
              (set! rewrites (+ rewrites 1))
              (rewrite (instance (cdar candidates) found)))
            (apply-lemmas term (cdr candidates))))))

;; Whether a tree of decisions says yes, by what is known to hold and not to hold.
(define (tautology? term true false)
  (cond ((or (equal? term '(t)) (member term true)) #t)
        ((or (equal? term '(f)) (member term false)) #f)
        ((and (pair? term) (eq? (car term) 'if))
         (let ((test (cadr term)) (yes (caddr term)) (no (cadddr term)))
           (cond ((or (equal? test '(t)) (member test true)) (tautology? yes true false))
                 ((or (equal? test '(f)) (member test false)) (tautology? no true false))
                 (else (and (tautology? yes (cons test true) false)
                            (tautology? no true (cons test false)))))))
        (else #f)))

(define (prove term) (tautology? (rewrite term) '() '()))

(define chain
  '(implies (and (implies p q) (and (implies q r) (implies r s))) (implies p s)))

(define (wrap term times)
  (if (= times 0) term (wrap (list 'or term '(f)) (- times 1))))

(must "a chain" (prove (wrap chain size)))
(must "a chain with a gap" (not (prove '(implies (and (implies p q) (implies r s)) (implies p s)))))
(must "peirce" (prove '(implies (implies (implies p q) p) p)))
(must "contraposition" (prove '(iff (implies p q) (implies (not q) (not p)))))
(must "lists"
      (prove '(equal (reverse (append (append a b) c)) (append (reverse c) (append (reverse b) (reverse a))))))
(must "lengths"
      (prove '(equal (length (append a (reverse (cons x b)))) (plus (length a) (plus (length b) (add1 (zero)))))))
(must "members"
      (prove '(iff (member x (append a (reverse b))) (or (member x b) (member x a)))))
(must "numbers" (prove '(implies (lessp y z) (lessp (plus (add1 x) y) (plus (add1 x) z)))))
(must "not everything" (not (prove '(equal (append a b) (append b a)))))
(must "some work" (> rewrites 300))
(display "nboyer: ok")
(newline)
