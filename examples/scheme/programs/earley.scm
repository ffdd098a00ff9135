;;; Earley's recognizer for any context-free grammar, with the number of parses of each item in the chart. SIZE is the
;;; length of the sentence.

(define size (string->number (or (get-environment-variable "SIZE") "12")))

(define (must what holds) (if (not holds) (error "earley:" what)))

;; A grammar is a list of rules (left right ...); what is the left side of none is a word. No right side is empty.
(define (rules-of grammar symbol)
  (filter (lambda (rule) (eq? (car rule) symbol)) grammar))

;; An item is a rule, what of its right side is still to be seen, where it began, in how many ways it got here, and how
;; many of these those who wait for it have not been told of.
(define-record-type item (make-item rule rest start ways news) item?
  (rule item-rule) (rest item-rest) (start item-start) (ways item-ways set-item-ways!) (news item-news set-item-news!))

(define (same-item? a rule rest start)
  (and (eq? (item-rule a) rule) (eq? (item-rest a) rest) (= (item-start a) start)))

(define (find-item items rule rest start)
  (cond ((null? items) #f)
        ((same-item? (car items) rule rest start) (car items))
        (else (find-item (cdr items) rule rest start))))

;; An item that is complete goes into those that wait for it where it began. That is done from the latest begin to the
;; earliest: a part is known in all its ways before what it is a part of. Only rules with one symbol on the right lead to
;; an item of the same begin; so each begin is gone through until there is no news.
(define (parses grammar start words)
  (let* ((count (length words))
         (chart (make-vector (+ count 1) '())))
    (define (add! place rule rest from ways)
      (let ((known (find-item (vector-ref chart place) rule rest from)))
        (if known
            (begin (set-item-ways! known (+ ways (item-ways known)))
                   (set-item-news! known (+ ways (item-news known))))
            (vector-set! chart place
                         (cons (make-item rule rest from ways ways) (vector-ref chart place))))))
    (define (complete! place from)
      (let ((done (filter (lambda (item)
                            (and (= (item-start item) from) (null? (item-rest item)) (> (item-news item) 0)))
                          (vector-ref chart place))))
        (cond ((pair? done)
               (for-each (lambda (item) (tell! place item)) done)
               (complete! place from))
              ((> from 0) (complete! place (- from 1))))))
    (define (tell! place done)
      (let ((news (item-news done)))
        (set-item-news! done 0)
        (for-each
         (lambda (waiting)
           (let ((rest (item-rest waiting)))
             (if (and (pair? rest) (eq? (car rest) (car (item-rule done))))
                 (add! place (item-rule waiting) (cdr rest) (item-start waiting)
                       (* (item-ways waiting) news)))))
         (vector-ref chart (item-start done)))))
    (define (predict! place symbol)
      (for-each
       (lambda (rule)
         (if (not (find-item (vector-ref chart place) rule (cdr rule) place))
             (begin
               (add! place rule (cdr rule) place 1)
               (predict! place (cadr rule)))))
       (rules-of grammar symbol)))
    (define (scan! place word)
      (for-each
       (lambda (item)
         (let ((rest (item-rest item)))
           (if (and (pair? rest) (eq? (car rest) word))
               (add! (+ place 1) (item-rule item) (cdr rest) (item-start item) (item-ways item)))))
       (vector-ref chart place))
      (complete! (+ place 1) place)
      (for-each
       (lambda (item)
         (if (pair? (item-rest item)) (predict! (+ place 1) (car (item-rest item)))))
       (vector-ref chart (+ place 1))))
    (predict! 0 start)
    (let loop ((place 0) (words words))
      (if (pair? words)
          (begin (scan! place (car words)) (loop (+ place 1) (cdr words)))))
    (apply + (map (lambda (item)
                    (if (and (eq? (car (item-rule item)) start)
                             (null? (item-rest item))
                             (= (item-start item) 0))
                        (item-ways item)
                        0))
                  (vector-ref chart count)))))

;; A sum of n terms can be read in as many ways as there are trees with n leaves.
(define (catalan n)
  (if (= n 0) 1 (/ (* 2 (- (* 2 n) 1) (catalan (- n 1))) (+ n 1))))

(define sums '((s s + s) (s n)))
(define (sum-of n) (if (= n 1) '(n) (append '(n +) (sum-of (- n 1)))))
(do ((n 1 (+ n 1))) ((> n size))
  (must (list "a sum of" n) (= (parses sums 's (sum-of n)) (catalan (- n 1)))))

;; Brackets are read in one way or in none.
(define brackets '((b pair) (b pair b) (pair < >) (pair < b >)))
(must "brackets" (= 1 (parses brackets 'b '(< < > < < > > > < >))))
(must "brackets that do not match" (= 0 (parses brackets 'b '(< < > < > > > <))))
(must "no sentence" (= 0 (parses brackets 'b '())))

;; Who has the telescope?
(define english
  '((sentence subject verb-phrase) (verb-phrase verb object) (verb-phrase verb-phrase with object)
    (object the noun) (object object with object) (subject i) (verb saw) (noun man) (noun telescope)))
(must "who has the telescope" (= 2 (parses english 'sentence '(i saw the man with the telescope))))
(display "earley: ok")
(newline)
