(define inc-var 'included)
