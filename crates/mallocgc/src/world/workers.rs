//! Threads that help the collector: they run one job together and sleep.
//!
//! Threads are started before a job first wants them, and end with the pool. If
//! the system gives fewer, the job runs on fewer. A thread is ready when it waits for
//! jobs: what a thread does before that takes locks of the system's, which it must not
//! while the world is stopped. A process made by `fork` begins without threads.
//!
//! Protection: the pool's state is behind one mutex. A job is a borrowed
//! closure; `run` returns only when every thread has left it.

use crate::os;
use crate::world::callback;
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
    /// Threads that have begun to wait for jobs.
    ready: usize,
    quit: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    begin: Condvar,
    end: Condvar,
}

/// The threads of one process.
#[derive(Default)]
struct Crew {
    process: u32,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Threads that help the collector.
#[derive(Default)]
pub struct Workers {
    crew: Mutex<Crew>,
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
    /// Makes sure that up to `wanted` threads exist and are ready.
    pub(crate) fn prepare(&self, wanted: usize) {
        if wanted == 0 {
            return;
        }
        let mut crew = lock(&self.crew);
        let process = std::process::id();
        if crew.process != process && !crew.threads.is_empty() {
            // The parent's threads are not here, and one may have held the lock of their
            // state when it forked: that is given up, with the records of threads.
            core::mem::forget(core::mem::take(&mut *crew));
        }
        crew.process = process;
        while crew.threads.len() < wanted {
            let shared = crew.shared.clone();
            let number = crew.threads.len() + 1;
            match os::spawn_undisturbed("mallocgc-mark", move || work(&shared, number)) {
                Ok(thread) => crew.threads.push(thread),
                Err(_) => break,
            }
        }
        let mut state = lock(&crew.shared.state);
        while state.ready < crew.threads.len() {
            state = crew.shared.end.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Threads that are ready.
    pub(crate) fn ready(&self) -> usize {
        let crew = lock(&self.crew);
        if crew.process == std::process::id() { crew.threads.len() } else { 0 }
    }

    /// Runs `job` on `helpers` threads, which are ready, (numbers 1 to `helpers`) and on this
    /// one (number 0).
    pub(crate) fn run(&self, helpers: usize, job: &(dyn Fn(usize) + Sync)) {
        let shared = lock(&self.crew).shared.clone();
        // SAFETY: only the lifetime changes; `Finish` below waits until no
        // thread uses the job, on unwinding too.
        let shared_job: Job = unsafe { core::mem::transmute(job) };
        {
            let mut state = lock(&shared.state);
            state.job = Some(shared_job);
            state.round += 1;
            state.to_begin = helpers;
            state.to_end = helpers;
        }
        shared.begin.notify_all();
        let _finish = Finish(&shared);
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
    // The first use of a thread's own words may ask the system's allocator for them.
    drop(callback::enter());
    let mut state = lock(&shared.state);
    let mut seen = state.round;
    state.ready += 1;
    shared.end.notify_all();
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
        let crew = self.crew.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if crew.threads.is_empty() {
            return;
        }
        if crew.process != std::process::id() {
            // The parent's.
            core::mem::forget(core::mem::take(crew));
            return;
        }
        lock(&crew.shared.state).quit = true;
        crew.shared.begin.notify_all();
        for thread in crew.threads.drain(..) {
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
        workers.prepare(3);
        let helpers = workers.ready();
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
