;;; `(check expected expression)` and `(check-error expression)`, which the other files use.
(define checks 0)
(define failures 0)
(define (report-check form expected got)
  (set! checks (+ checks 1))
  (if (not (equal? expected got))
      (begin (set! failures (+ failures 1))
             (display "FAIL ") (write form) (display " is ") (write got)
             (display ", expected ") (write expected) (newline))))
(define-syntax check
  (syntax-rules ()
    ((_ expected expr)
     (report-check 'expr expected
                   (guard (e (#t (list 'raised (if (error-object? e) (error-object-message e) e))))
                     expr)))))
(define-syntax check-error
  (syntax-rules ()
    ((_ expr) (report-check 'expr 'raised (guard (e (#t 'raised)) expr 'no-error)))))
(define (check-end) (display checks) (display " checks, ") (display failures) (display " failures") (newline))
