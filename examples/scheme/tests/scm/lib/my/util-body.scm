(define (f x) (* x 2)) (define (g) 'gee)
