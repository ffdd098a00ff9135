;;; The part of the system that is written in Scheme. Names that begin with % are the system's own.

;; --- syntax ----------------------------------------------------------------

(define-syntax let*
  (syntax-rules ()
    ((_ () body1 body2 ...) (let () body1 body2 ...))
    ((_ (binding) body1 body2 ...) (let (binding) body1 body2 ...))
    ((_ (binding1 binding2 ...) body1 body2 ...)
     (let (binding1) (let* (binding2 ...) body1 body2 ...)))))

(define-syntax and
  (syntax-rules ()
    ((_) #t)
    ((_ test) test)
    ((_ test1 test2 ...) (if test1 (and test2 ...) #f))))

(define-syntax or
  (syntax-rules ()
    ((_) #f)
    ((_ test) test)
    ((_ test1 test2 ...) (let ((x test1)) (if x x (or test2 ...))))))

(define-syntax when
  (syntax-rules () ((_ test result1 result2 ...) (if test (begin result1 result2 ...)))))

(define-syntax unless
  (syntax-rules () ((_ test result1 result2 ...) (if (not test) (begin result1 result2 ...)))))

(define-syntax cond
  (syntax-rules (else =>)
    ((_ (else result1 result2 ...)) (begin result1 result2 ...))
    ((_ (test => result)) (let ((temp test)) (if temp (result temp))))
    ((_ (test => result) clause1 clause2 ...)
     (let ((temp test)) (if temp (result temp) (cond clause1 clause2 ...))))
    ((_ (test)) test)
    ((_ (test) clause1 clause2 ...)
     (let ((temp test)) (if temp temp (cond clause1 clause2 ...))))
    ((_ (test result1 result2 ...)) (if test (begin result1 result2 ...)))
    ((_ (test result1 result2 ...) clause1 clause2 ...)
     (if test (begin result1 result2 ...) (cond clause1 clause2 ...)))))

(define-syntax case
  (syntax-rules () ((_ key clause ...) (let ((x key)) (%case x clause ...)))))

(define-syntax %case
  (syntax-rules (else =>)
    ((_ x) (if #f #f))
    ((_ x (else => result)) (result x))
    ((_ x (else result1 result2 ...)) (begin result1 result2 ...))
    ((_ x (() . results) clause ...) (%case x clause ...))
    ((_ x ((atom) => result) clause ...) (if (eqv? x 'atom) (result x) (%case x clause ...)))
    ((_ x ((atom ...) => result) clause ...)
     (if (memv x '(atom ...)) (result x) (%case x clause ...)))
    ((_ x ((atom) result1 result2 ...) clause ...)
     (if (eqv? x 'atom) (begin result1 result2 ...) (%case x clause ...)))
    ((_ x ((atom ...) result1 result2 ...) clause ...)
     (if (memv x '(atom ...)) (begin result1 result2 ...) (%case x clause ...)))))

(define-syntax do
  (syntax-rules ()
    ((_ ((var init step ...) ...) (test expr ...) command ...)
     (let loop ((var init) ...)
       (if test
           (begin (if #f #f) expr ...)
           (begin command ... (loop (%do-step var step ...) ...)))))))

(define-syntax %do-step
  (syntax-rules () ((_ x) x) ((_ x y) y)))

(define-syntax let-values
  (syntax-rules ()
    ((_ (binding ...) body1 body2 ...)
     (%let-values (binding ...) () (let () body1 body2 ...)))))

(define-syntax %let-values
  (syntax-rules ()
    ((_ () ((name temp) ...) body) (let ((name temp) ...) body))
    ((_ ((formals expr) binding ...) names body)
     (%let-formals formals () expr (binding ...) names body))))

(define-syntax %let-formals
  (syntax-rules ()
    ((_ () temps expr bindings names body)
     (call-with-values (lambda () expr) (lambda temps (%let-values bindings names body))))
    ((_ (name . rest) (temp ...) expr bindings (pair ...) body)
     (%let-formals rest (temp ... x) expr bindings (pair ... (name x)) body))
    ((_ name (temp ...) expr bindings (pair ...) body)
     (call-with-values (lambda () expr)
       (lambda (temp ... . x) (%let-values bindings (pair ... (name x)) body))))))

(define-syntax let*-values
  (syntax-rules ()
    ((_ () body1 body2 ...) (let () body1 body2 ...))
    ((_ ((formals expr) binding ...) body1 body2 ...)
     (call-with-values (lambda () expr)
       (lambda formals (let*-values (binding ...) body1 body2 ...))))))

(define-syntax receive
  (syntax-rules ()
    ((_ formals expr body1 body2 ...)
     (call-with-values (lambda () expr) (lambda formals body1 body2 ...)))))

(define-syntax delay-force
  (syntax-rules () ((_ expr) (%make-promise #f (lambda () expr)))))

(define-syntax delay
  (syntax-rules () ((_ expr) (delay-force (%make-promise #t expr)))))

(define-syntax parameterize
  (syntax-rules ()
    ((_ ((param value) ...) body1 body2 ...)
     (%parameterize (list (cons param value) ...) (lambda () body1 body2 ...)))))

(define-syntax case-lambda
  (syntax-rules ()
    ((_ (formals body1 body2 ...) ...)
     (lambda args
       (let ((count (length args)))
         (%case-lambda count args (formals body1 body2 ...) ...))))))

(define-syntax %case-lambda
  (syntax-rules ()
    ((_ count args) (error "case-lambda: no clause takes the arguments" args))
    ((_ count args (formals . body) clause ...)
     (%case-arity formals 0 count args (lambda formals . body) clause ...))))

(define-syntax %case-arity
  (syntax-rules ()
    ((_ () n count args proc clause ...)
     (if (= count n) (apply proc args) (%case-lambda count args clause ...)))
    ((_ (x . rest) n count args proc clause ...)
     (%case-arity rest (+ n 1) count args proc clause ...))
    ((_ rest n count args proc clause ...)
     (if (>= count n) (apply proc args) (%case-lambda count args clause ...)))))

(define-syntax guard
  (syntax-rules ()
    ((_ (var clause ...) body1 body2 ...)
     ((call/cc
       (lambda (guard-k)
         (with-exception-handler
          (lambda (condition)
            ((call/cc
              (lambda (handler-k)
                (guard-k
                 (lambda ()
                   (let ((var condition))
                     (%guard-clauses
                      (handler-k (lambda () (raise-continuable condition)))
                      clause ...))))))))
          (lambda ()
            (call-with-values
             (lambda () body1 body2 ...)
             (lambda args (guard-k (lambda () (apply values args)))))))))))))

(define-syntax %guard-clauses
  (syntax-rules (else =>)
    ((_ reraise) reraise)
    ((_ reraise (else result1 result2 ...)) (begin result1 result2 ...))
    ((_ reraise (test => result)) (let ((temp test)) (if temp (result temp) reraise)))
    ((_ reraise (test => result) clause1 clause2 ...)
     (let ((temp test)) (if temp (result temp) (%guard-clauses reraise clause1 clause2 ...))))
    ((_ reraise (test)) (or test reraise))
    ((_ reraise (test) clause1 clause2 ...)
     (let ((temp test)) (if temp temp (%guard-clauses reraise clause1 clause2 ...))))
    ((_ reraise (test result1 result2 ...)) (if test (begin result1 result2 ...) reraise))
    ((_ reraise (test result1 result2 ...) clause1 clause2 ...)
     (if test (begin result1 result2 ...) (%guard-clauses reraise clause1 clause2 ...)))))

(define-syntax assert
  (syntax-rules () ((_ expr) (if (not expr) (error "assertion failed" 'expr)))))

;; --- exceptions ------------------------------------------------------------

(define (with-exception-handler handler thunk)
  (if (not (procedure? handler)) (error "with-exception-handler: expected a procedure" handler))
  (let ((dynamic (%dynamic)))
    (%with-dynamic (cons (cons handler (car dynamic)) (cdr dynamic)) thunk)))

(define (raise-continuable obj)
  (let* ((dynamic (%dynamic)) (handlers (car dynamic)))
    (if (null? handlers)
        (%uncaught obj)
        (%with-dynamic (cons (cdr handlers) (cdr dynamic))
                       (lambda () ((car handlers) obj))))))

(define (raise obj)
  (let* ((dynamic (%dynamic)) (handlers (car dynamic)))
    (if (null? handlers)
        (%uncaught obj)
        (%with-dynamic (cons (cdr handlers) (cdr dynamic))
                       (lambda ()
                         ((car handlers) obj)
                         (raise (%make-error "a handler returned from raise of" obj)))))))

(define (error message . irritants) (raise (apply %make-error message irritants)))

(define (error-object-message-string e)
  (let ((port (open-output-string)))
    (display (error-object-message e) port)
    (for-each (lambda (x) (write-char #\space port) (write x port)) (error-object-irritants e))
    (get-output-string port)))

;; --- dynamic-wind ----------------------------------------------------------

;; A winder is a pair of procedures and the dynamic environment they run in.
(define (dynamic-wind before thunk after)
  (before)
  (%set-winders! (cons (cons (cons before after) (%dynamic)) (%winders)))
  (call-with-values thunk
    (lambda results
      (%set-winders! (cdr (%winders)))
      (after)
      (apply values results))))

(define (%rewind k arguments)
  (let* ((target (%continuation-winders k))
         (depth (lambda (winders) (length winders)))
         (common
          (let loop ((a (%winders)) (b target))
            (let ((m (depth a)) (n (depth b)))
              (cond ((eq? a b) a)
                    ((> m n) (loop (cdr a) b))
                    ((< m n) (loop a (cdr b)))
                    (else (loop (cdr a) (cdr b))))))))
    (let unwind ()
      (if (not (eq? (%winders) common))
          (let ((winder (car (%winders))))
            (%set-winders! (cdr (%winders)))
            (%with-dynamic (cdr winder) (cdar winder))
            (unwind))))
    (let rewind ((to target))
      (if (not (eq? to common))
          (begin
            (rewind (cdr to))
            (%with-dynamic (cdar to) (caaar to))
            (%set-winders! to))))
    (%throw k arguments)))

(%set-hooks! raise %rewind)

;; Leaves what dynamic-wind has entered, innermost first.
(define (exit . status)
  (let unwind ()
    (if (pair? (%winders))
        (let ((winder (car (%winders))))
          (%set-winders! (cdr (%winders)))
          (%with-dynamic (cdr winder) (cdar winder))
          (unwind))))
  (apply emergency-exit status))

(define (call-with-escape-continuation f) (call/cc f))

;; --- environments ----------------------------------------------------------

;; Importing runs the bodies of libraries that are in files.
(define (environment . sets)
  (let ((new (%environment)))
    (eval (cons 'import sets) new)
    new))

;; --- parameters and promises -----------------------------------------------

(define (make-parameter value . converter)
  (if (null? converter)
      (%make-parameter value #f)
      (%make-parameter ((car converter) value) (car converter))))

(define (%parameterize bindings thunk)
  (let loop ((bindings bindings) (params (cdr (%dynamic))))
    (if (null? bindings)
        (%with-dynamic (cons (car (%dynamic)) params) thunk)
        (let* ((param (caar bindings)) (convert (%parameter-converter param)))
          (loop (cdr bindings)
                (cons (cons param (if convert (convert (cdar bindings)) (cdar bindings)))
                      params))))))

(define (make-promise x) (if (promise? x) x (%make-promise #t x)))

(define (force promise)
  (if (promise? promise)
      (let loop ()
        (if (%promise-done? promise)
            (%promise-value promise)
            (let ((next ((%promise-value promise))))
              (if (not (%promise-done? promise)) (%promise-chain! promise next))
              (loop))))
      promise))

;; --- lists -----------------------------------------------------------------

(define (%map1 f list)
  (let loop ((rest list) (done '()))
    (if (pair? rest)
        (loop (cdr rest) (cons (f (car rest)) done))
        (if (null? rest) (reverse done) (error "map: expected a list" list)))))

(define (%any-null? lists)
  (and (pair? lists) (or (not (pair? (car lists))) (%any-null? (cdr lists)))))

(define (map f list . lists)
  (if (null? lists)
      (%map1 f list)
      (let loop ((lists (cons list lists)) (done '()))
        (if (%any-null? lists)
            (reverse done)
            (loop (%map1 cdr lists) (cons (apply f (%map1 car lists)) done))))))

(define (for-each f list . lists)
  (if (null? lists)
      (let loop ((rest list))
        (if (pair? rest)
            (begin (f (car rest)) (loop (cdr rest)))
            (if (not (null? rest)) (error "for-each: expected a list" list))))
      (let loop ((lists (cons list lists)))
        (if (not (%any-null? lists))
            (begin (apply f (%map1 car lists)) (loop (%map1 cdr lists)))))))

(define (append-map f . lists) (apply append (apply map f lists)))

(define (filter keep? list)
  (let loop ((list list) (done '()))
    (cond ((null? list) (reverse done))
          ((keep? (car list)) (loop (cdr list) (cons (car list) done)))
          (else (loop (cdr list) done)))))

(define (reduce f initial list)
  (if (null? list)
      initial
      (let loop ((value (car list)) (list (cdr list)))
        (if (null? list) value (loop (f (car list) value) (cdr list))))))

(define (fold-left f value list)
  (if (null? list) value (fold-left f (f value (car list)) (cdr list))))

(define (fold-right f value list)
  (let loop ((list (reverse list)) (value value))
    (if (null? list) value (loop (cdr list) (f (car list) value)))))

(define (fold f value list)
  (if (null? list) value (fold f (f (car list) value) (cdr list))))

(define (delete x list) (filter (lambda (y) (not (equal? x y))) list))

(define (last-pair list) (if (pair? (cdr list)) (last-pair (cdr list)) list))

(define (list-index matches? list)
  (let loop ((list list) (index 0))
    (cond ((null? list) #f)
          ((matches? (car list)) index)
          (else (loop (cdr list) (+ index 1))))))

(define (member x list . compare)
  (if (null? compare)
      (%member x list)
      (let loop ((list list))
        (cond ((null? list) #f)
              (((car compare) x (car list)) list)
              (else (loop (cdr list)))))))

(define (assoc x list . compare)
  (if (null? compare)
      (%assoc x list)
      (let loop ((list list))
        (cond ((null? list) #f)
              (((car compare) x (caar list)) (car list))
              (else (loop (cdr list)))))))

(define (list-sort less? list)
  (define (merge a b)
    (let loop ((a a) (b b) (done '()))
      (cond ((null? a) (append (reverse done) b))
            ((null? b) (append (reverse done) a))
            ((less? (car b) (car a)) (loop a (cdr b) (cons (car b) done)))
            (else (loop (cdr a) b (cons (car a) done))))))
  (define (sort list count)
    (if (< count 2)
        (list-head list count)
        (let ((half (quotient count 2)))
          (merge (sort list half) (sort (list-tail list half) (- count half))))))
  (sort list (length list)))

(define (sort sequence less?)
  (if (vector? sequence)
      (list->vector (list-sort less? (vector->list sequence)))
      (list-sort less? sequence)))

;; --- strings and vectors ---------------------------------------------------

(define (string-map f string . strings)
  (list->string (apply map f (string->list string) (map string->list strings))))

(define (string-for-each f string . strings)
  (apply for-each f (string->list string) (map string->list strings)))

(define (string-count string matches?)
  (length (filter matches? (string->list string))))

(define (vector-map f vector . vectors)
  (list->vector (apply map f (vector->list vector) (map vector->list vectors))))

(define (vector-for-each f vector . vectors)
  (apply for-each f (vector->list vector) (map vector->list vectors)))

(define (exact-nonnegative-integer? x) (and (exact-integer? x) (not (negative? x))))

;; --- hash tables -----------------------------------------------------------

(define (hash-table-ref table key . failure)
  (if (hash-table-contains? table key)
      (hash-table-ref/default table key #f)
      (if (null? failure) (error "hash-table-ref: no such key" key) ((car failure)))))

(define (hash-table-update! table key f . failure)
  (hash-table-set! table key (f (apply hash-table-ref table key failure))))

(define (hash-table-update!/default table key f default)
  (hash-table-set! table key (f (hash-table-ref/default table key default))))

(define (hash-table-keys table) (map car (hash-table->alist table)))
(define (hash-table-values table) (map cdr (hash-table->alist table)))
(define (hash-table-walk table f)
  (for-each (lambda (entry) (f (car entry) (cdr entry))) (hash-table->alist table)))

;; --- ports -----------------------------------------------------------------

(define current-input-port (make-parameter (%standard-port 0)))
(define current-output-port (make-parameter (%standard-port 1)))
(define current-error-port (make-parameter (%standard-port 2)))
(%set-standard-ports! current-input-port current-output-port current-error-port)

(define (call-with-port port f)
  (call-with-values (lambda () (f port))
    (lambda results (close-port port) (apply values results))))

(define (call-with-input-file name f) (call-with-port (open-input-file name) f))
(define (call-with-output-file name f) (call-with-port (open-output-file name) f))

(define (with-input-from-file name thunk)
  (let ((port (open-input-file name)))
    (call-with-values (lambda () (parameterize ((current-input-port port)) (thunk)))
      (lambda results (close-port port) (apply values results)))))

(define (with-output-to-file name thunk)
  (let ((port (open-output-file name)))
    (call-with-values (lambda () (parameterize ((current-output-port port)) (thunk)))
      (lambda results (close-port port) (apply values results)))))

(define (call-with-output-string f)
  (let ((port (open-output-string))) (f port) (get-output-string port)))

(define (load name . environment)
  (call-with-input-file name
    (lambda (port)
      (let loop ((form (read port)))
        (if (not (eof-object? form))
            (begin (apply eval form environment) (loop (read port))))))))
