module mallocgc.dev/bench/peers/go

go 1.24
