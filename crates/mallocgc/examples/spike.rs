//! How fast a heap gives its memory back after a spike:
//! `cargo run --release -p mallocgc --example spike -- 1024 100` makes 1024 MiB of nodes in
//! lists, keeps 100 MiB of them, collects once, and prints what is resident until that is within a
//! fifth of what lives, for 8 seconds at most. A third argument sets the bytes of a node, 64 by default.

use mallocgc::os::resident_bytes;
use mallocgc::raw::{AllocClass, AllocError, Config, Force, Heap, Mutator, TypeLayout};
use std::error::Error;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// A list of nodes, of about 16 MiB, as a root.
fn list(m: &Mutator, class: AllocClass, node_bytes: usize) -> Result<(), AllocError> {
    let mut head = null_mut();
    for _ in 0..16 * MIB / node_bytes {
        let node = m.alloc(class)?;
        // SAFETY: the first word of a node is its reference, the last one a number.
        unsafe {
            m.write(node.as_ptr().cast(), head);
            node.as_ptr().cast::<usize>().add(node_bytes / 8 - 1).write(1);
        }
        head = node.as_ptr();
    }
    m.push_root(std::ptr::NonNull::new(head).expect("a list has nodes"));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let spike = arguments.next().unwrap_or(Ok(1024))?;
    let kept = arguments.next().unwrap_or(Ok(100))?;
    let node_bytes = arguments.next().unwrap_or(Ok(64))?;
    let heap = Heap::new(Config::default())?;
    let mut m = heap.attach()?;
    let layout = heap.layout(&TypeLayout::mask(1, 1))?;
    let class = m.alloc_class(node_bytes, layout)?;
    for _ in 0..spike.div_ceil(16) {
        list(&m, class, node_bytes)?;
        m.poll();
    }
    println!("spike: {} MiB resident, {} MiB live", resident_bytes() / MIB, spike);
    m.truncate_roots(kept / 16);
    m.gc(Force::Now)?;
    let begin = Instant::now();
    let live = heap.stats().live_bytes as usize;
    let goal = live + live / 5;
    let mut shown = Duration::ZERO;
    loop {
        let (passed, resident) = (begin.elapsed(), resident_bytes());
        let done = resident <= goal || passed > Duration::from_secs(8);
        if done || passed >= shown {
            println!(
                "{:6.2} s: {} MiB resident, {} MiB live",
                passed.as_secs_f64(),
                resident / MIB,
                live / MIB
            );
            shown += Duration::from_millis(500);
        }
        if done {
            break;
        }
        m.blocking(|| std::thread::sleep(Duration::from_millis(10)));
    }
    m.blocking(|| std::thread::sleep(Duration::from_secs(2)));
    let stats = heap.stats();
    println!(
        "then: {} MiB resident, {} MiB scavenged in {} ms of processor time",
        resident_bytes() / MIB,
        stats.scavenged_bytes / MIB as u64,
        stats.scavenge_cpu_nanos / 1_000_000
    );
    heap.release_memory();
    println!("released: {} MiB resident", resident_bytes() / MIB);
    Ok(())
}
