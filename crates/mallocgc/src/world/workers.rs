//! Threads that help the collector: they run one job together and sleep.
//!
//! Threads are started when a job first wants them, and end with the pool. If
//! the system gives fewer, the job runs on fewer.
//!
//! Protection: the pool's state is behind one mutex. A job is a borrowed
//! closure; `run` returns only when every thread has left it.

use crate::os;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// A job: called once on each thread, with the thread's number from 1 on.
type Job = &'static (dyn Fn(usize) + Sync);

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Counts jobs, so that a thread takes each once.
    round: u64,
    /// Threads of this round that have not begun, and that have not ended.
    to_begin: usize,
    to_end: usize,
    quit: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    begin: Condvar,
    end: Condvar,
}

/// Threads that help the collector.
#[derive(Default)]
pub struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl core::fmt::Debug for Workers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Workers")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Workers {
    /// Makes sure that up to `wanted` threads exist; returns how many do.
    pub(crate) fn prepare(&self, wanted: usize) -> usize {
        let mut threads = lock(&self.threads);
        while threads.len() < wanted {
            let shared = self.shared.clone();
            let number = threads.len() + 1;
            match os::spawn("mallocgc-mark", move || work(&shared, number)) {
                Ok(thread) => threads.push(thread),
                Err(_) => break,
            }
        }
        threads.len().min(wanted)
    }

    /// Runs `job` on `helpers` threads (numbers 1 to `helpers`) and on this
    /// one (number 0).
    pub(crate) fn run(&self, helpers: usize, job: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes; `Finish` below waits until no
        // thread uses the job, on unwinding too.
        let shared_job: Job = unsafe { core::mem::transmute(job) };
        {
            let mut state = lock(&self.shared.state);
            state.job = Some(shared_job);
            state.round += 1;
            state.to_begin = helpers;
            state.to_end = helpers;
        }
        self.shared.begin.notify_all();
        let _finish = Finish(&self.shared);
        run_to_the_end(job, 0);
    }
}

/// Waits for the helpers of a round.
struct Finish<'p>(&'p Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        while state.to_end != 0 {
            state = self.0.end.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        state.job = None;
    }
}

/// A panic in a trace function ends the process: the object graph is half
/// read, and the other threads of the round would wait for this one's share.
fn run_to_the_end(job: &(dyn Fn(usize) + Sync), number: usize) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(number))).is_err() {
        crate::fatal!("a trace function panicked while marking");
    }
}

fn work(shared: &Shared, number: usize) {
    let mut seen = 0;
    let mut state = lock(&shared.state);
    loop {
        while !state.quit && (state.round == seen || state.to_begin == 0) {
            state = shared.begin.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        if state.quit {
            return;
        }
        seen = state.round;
        state.to_begin -= 1;
        let job = state.job.expect("a round has a job");
        drop(state);
        run_to_the_end(job, number);
        state = lock(&shared.state);
        state.to_end -= 1;
        if state.to_end == 0 {
            shared.end.notify_all();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        lock(&self.shared.state).quit = true;
        self.shared.begin.notify_all();
        for thread in lock(&self.threads).drain(..) {
            // A worker's panic has ended the process.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_thread_runs_each_job_once() {
        let workers = Workers::default();
        let helpers = workers.prepare(3);
        for _ in 0..200 {
            let calls = [const { AtomicUsize::new(0) }; 4];
            workers.run(helpers, &|number| {
                calls[number].fetch_add(1, Ordering::Relaxed);
            });
            let total: usize = calls.iter().map(|calls| calls.load(Ordering::Relaxed)).sum();
            assert_eq!(total, helpers + 1);
            assert_eq!(calls[0].load(Ordering::Relaxed), 1);
        }
    }
}
