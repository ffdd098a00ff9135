;;; A partial evaluator for a small language of first order: what is known of a program's arguments is computed now, the
;;; rest becomes a program. SIZE is the power to which a number is raised.

(define size (string->number (or (get-environment-variable "SIZE") "13")))

(define (must what holds) (if (not holds) (error "peval:" what)))

;; A program is a list of (name (parameter ...) body). An expression is a number, a boolean, a name,
;; (if a b c), (let name a b), or a call of a primitive or of a procedure of the program.
(define (procedure-named program name) (assq name program))

(define primitives
  (list (cons '+ +) (cons '- -) (cons '* *) (cons '= =) (cons '< <)
        (cons 'half (lambda (n) (quotient n 2))) (cons 'even even?)
        (cons 'car car) (cons 'cdr cdr) (cons 'null null?)))

;; --- running ----------------------------------------------------------------

(define (run program name . arguments)
  (let ((p (procedure-named program name)))
    (value program (caddr p) (map cons (cadr p) arguments))))

(define (value program e names)
  (cond ((symbol? e) (cdr (assq e names)))
        ((not (pair? e)) e)
        ((eq? (car e) 'quote) (cadr e))
        ((eq? (car e) 'if)
         (value program (if (value program (cadr e) names) (caddr e) (cadddr e)) names))
        ((eq? (car e) 'let)
         (value program (cadddr e) (cons (cons (cadr e) (value program (caddr e) names)) names)))
        (else
         (let ((arguments (map (lambda (part) (value program part names)) (cdr e))))
           (cond ((assq (car e) primitives) => (lambda (p) (apply (cdr p) arguments)))
                 (else (apply run program (car e) arguments)))))))

;; --- specializing -------------------------------------------------------------

;; What is known of a value is the value itself, as a constant, or an expression that has it.
(define (constant? e) (or (number? e) (boolean? e) (and (pair? e) (eq? (car e) 'quote))))
(define (constant-value e) (if (pair? e) (cadr e) e))
(define (constant v) (if (or (number? v) (boolean? v)) v (list 'quote v)))

(define counter 0)
(define (fresh name)
  (set! counter (+ counter 1))
  (string->symbol (string-append (symbol->string name) "-" (number->string counter))))

;; Specializes a procedure to the arguments that are known, () for those that are not. The result is a program whose
;; first procedure takes the others.
(define (specialize program name known)
  (define made '())     ; ((name . known) . new name)
  (define residual '())
  (define (version-of name known)
    (let ((found (assoc (cons name known) made)))
      (if found
          (cdr found)
          (let* ((new (fresh name)) (p (procedure-named program name)))
            (set! made (cons (cons (cons name known) new) made))
            (let* ((names (map (lambda (parameter k) (cons parameter (if (null? k) parameter (car k))))
                               (cadr p) known))
                   (open (filter (lambda (x) x)
                                 (map (lambda (parameter k) (and (null? k) parameter)) (cadr p) known)))
                   (body (reduce-expression (caddr p) names)))
              (set! residual (cons (list new open body) residual))
              new)))))
  (define (reduce-expression e names)
    (cond ((symbol? e) (cdr (assq e names)))
          ((constant? e) e)
          ((eq? (car e) 'if)
           (let ((test (reduce-expression (cadr e) names)))
             (if (constant? test)
                 (reduce-expression (if (constant-value test) (caddr e) (cadddr e)) names)
                 (list 'if test (reduce-expression (caddr e) names) (reduce-expression (cadddr e) names)))))
          ((eq? (car e) 'let)
           (let ((bound (reduce-expression (caddr e) names)))
             (if (or (constant? bound) (symbol? bound))
                 (reduce-expression (cadddr e) (cons (cons (cadr e) bound) names))
                 (let ((new (fresh (cadr e))))
                   (list 'let new bound
                         (reduce-expression (cadddr e) (cons (cons (cadr e) new) names)))))))
          (else
           (let ((arguments (map (lambda (part) (reduce-expression part names)) (cdr e))))
             (cond ((assq (car e) primitives)
                    => (lambda (p)
                         (if (every-constant? arguments)
                             (constant (apply (cdr p) (map constant-value arguments)))
                             (simplify (car e) arguments))))
                   (else
                    (let ((known (map (lambda (a) (if (constant? a) (list a) '())) arguments)))
                      (cons (version-of (car e) known)
                            (filter (lambda (a) (not (constant? a))) arguments)))))))))
  (version-of name known)
  (reverse residual))

(define (every-constant? list)
  (or (null? list) (and (constant? (car list)) (every-constant? (cdr list)))))

(define (simplify op arguments)
  (cond ((and (eq? op '*) (member 1 arguments))
         (if (eqv? 1 (car arguments)) (cadr arguments) (car arguments)))
        ((and (eq? op '+) (member 0 arguments))
         (if (eqv? 0 (car arguments)) (cadr arguments) (car arguments)))
        (else (cons op arguments))))

(define (main program) (car (car (reverse program))))

;; --- powers: the recursion is unfolded, the multiplications stay --------------

(define power
  '((power (x n)
      (if (= n 0) 1
          (if (even n)
              (let y (power x (half n)) (* y y))
              (* x (power x (- n 1))))))))

(define to-the-size (specialize power 'power (list '() (list size))))
(do ((x -3 (+ x 1))) ((> x 3))
  (must (list x "to the power")
        (= (run to-the-size (main to-the-size) x) (run power 'power x size) (expt x size))))

(define (mentions? word tree)
  (cond ((eq? word tree) #t)
        ((pair? tree) (or (mentions? word (car tree)) (mentions? word (cdr tree))))
        (else #f)))
(must "no decision is left" (not (mentions? 'if to-the-size)))
(must "nor the exponent" (not (mentions? 'n (map caddr to-the-size))))

;; --- an interpreter, specialized to a program, is a compiler --------------------

;; The program is a list of instructions for a number: add, double, and repeat while it is below a bound.
(define machine
  '((go (code x)
      (if (null code) x
          (if (= (car code) 0) (go (cdr (cdr code)) (+ x (car (cdr code))))
              (if (= (car code) 1) (go (cdr code) (* x 2))
                  (if (< x (car (cdr code))) (go code (+ x 3)) (go (cdr (cdr code)) x))))))))

(define code '(quote (0 5 1 2 40 1 0 1)))
(define compiled (specialize machine 'go (list (list code) '())))
(do ((x -10 (+ x 1))) ((= x 30))
  (must (list "machine" x)
        (= (run compiled (main compiled) x) (run machine 'go (cadr code) x))))
(must "no code is left" (not (mentions? 'car compiled)))
(must "the loop is a procedure of its own" (> (length compiled) 2))
(display "peval: ok")
(newline)
