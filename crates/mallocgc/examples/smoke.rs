//! smoke
use mallocgc::raw::*;
use std::ptr::NonNull;
type Node = [*mut u8; 2];
fn build(m: &Mutator, c: mallocgc::raw::mutator::AllocClass, d: u32) -> NonNull<u8> {
    let p = m.alloc(c).unwrap();
    if d > 0 {
        let l = build(m, c, d - 1);
        let r = build(m, c, d - 1);
        unsafe {
            let n = p.cast::<Node>().as_ptr();
            m.write(&raw mut (*n)[0], l.as_ptr());
            m.write(&raw mut (*n)[1], r.as_ptr());
        }
    }
    p
}
fn check(p: *mut u8) -> u64 {
    if p.is_null() {
        return 0;
    }
    let n = unsafe { *p.cast::<Node>() };
    1 + check(n[0]) + check(n[1])
}
fn main() {
    let n: u32 = std::env::args().nth(1).map_or(16, |s| s.parse().unwrap());
    let mut config = Config::default();
    config.trace_level = std::env::var("TRACE").map_or(0, |s| s.parse().unwrap());
    let heap = Heap::new(config).unwrap();
    let m = heap.attach().unwrap();
    let pair = heap.layout(&TypeLayout::mask(2, 3)).unwrap();
    let c = m.alloc_class(16, pair).unwrap();
    let t = build(&m, c, n + 1);
    println!("stretch {}", check(t.as_ptr()));
    m.poll();
    let long = build(&m, c, n);
    m.push_root(long);
    let mut d = 4;
    while d <= n {
        let k = 1 << (n - d + 4);
        let mut s = 0;
        for _ in 0..k {
            m.poll();
            s += check(build(&m, c, d).as_ptr());
        }
        println!("{k} trees of depth {d} {s}");
        d += 2;
    }
    println!("long {}", check(m.root(0).as_ptr()));
}
