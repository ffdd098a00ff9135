//! The threads a heap starts for itself, and the one that sweeps and gives
//! memory back.
//!
//! A thread holds the inner part of the heap, which keeps the memory but not
//! the heap alive: when the last handle goes, `Owner` raises `quit`, wakes
//! everyone and joins them. Nothing is started before there is work for it,
//! and an idle thread waits without a time-out.
//!
//! Protection: the background state is behind its mutex; no other lock is
//! taken while it is held.

use crate::base::sync::{AtomicBool, Ordering};
use crate::heap::scavenge::{self, Budget, Scavenger};
use crate::os::{self, OsError};
use crate::raw::heap::Inner;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// Unswept spans that are left to lazy sweeping: fewer are swept by the
/// mutators sooner than a thread wakes.
const SWEEP_FROM_SPANS: usize = 256;

/// How long mutators have what a cycle left for themselves. Swept for an allocation a span is
/// used at once, by the processor whose cache it comes into, and with no lock of the page heap; while
/// cycles follow each other faster than this there is nothing else to gain. Nobody waits for the thread:
/// allocation sweeps what it needs.
const SWEEP_DELAY: Duration = Duration::from_millis(50);

/// Spans the background sweeps before it looks whether it should quit.
const SWEEP_BATCH: usize = 64;

/// The heap's threads.
#[derive(Default)]
pub(crate) struct Threads {
    pub(crate) quit: AtomicBool,
    handles: Mutex<Vec<JoinHandle<()>>>,
    background: Background,
}

#[derive(Default)]
struct Background {
    state: Mutex<BackgroundState>,
    wake: Condvar,
}

#[derive(Default)]
struct BackgroundState {
    started: bool,
    /// Something may be to do since the thread last looked.
    kicked: bool,
    /// The thread will look within [`SWEEP_DELAY`] without being woken.
    delaying: bool,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Threads {
    /// Starts a thread of the heap. `body` returns when `quit` is up.
    ///
    /// # Errors
    ///
    /// When the system has no thread to give.
    pub(crate) fn spawn(
        &self,
        inner: &Inner,
        name: &str,
        body: impl FnOnce(&Inner) + Send + 'static,
    ) -> Result<(), OsError> {
        let Some(inner) = inner.this.upgrade() else {
            // The heap is being dropped.
            return Ok(());
        };
        let handle = os::spawn(name, move || body(&inner))?;
        lock(&self.handles).push(handle);
        Ok(())
    }

    /// Whether the heap is being dropped.
    pub(crate) fn quits(&self) -> bool {
        // Acquire: pairs with the Release in `end`.
        self.quit.load(Ordering::Acquire)
    }

    /// Ends the background thread's wait; other threads are woken by their
    /// owners. Then waits for all of them, but not for itself: the last
    /// handle may be dropped by a finalizer.
    pub(crate) fn end(&self, wake_others: impl FnOnce()) {
        // Release: pairs with the Acquire in `quits`.
        self.quit.store(true, Ordering::Release);
        drop(lock(&self.background.state));
        self.background.wake.notify_all();
        wake_others();
        let handles = core::mem::take(&mut *lock(&self.handles));
        let own = std::thread::current().id();
        for handle in handles {
            if handle.thread().id() != own {
                // A panic there was reported there.
                let _ = handle.join();
            }
        }
    }
}

impl Inner {
    /// Tells the background that there may be spans to sweep or pages to give
    /// back; starts its thread the first time.
    pub(crate) fn kick_background(&self) {
        if !self.config.background {
            return;
        }
        let space = &self.space;
        let unswept = space.unswept_spans.load(Ordering::Relaxed);
        // A few unswept spans may be large objects, dead ones.
        let used = space.used_bytes();
        let dead = used.saturating_sub(space.live_bytes.load(Ordering::Relaxed) as usize);
        if unswept < SWEEP_FROM_SPANS
            && !scavenge::worth_reading(space.free_dirty_bytes() + dead, used)
        {
            return;
        }
        let background = &self.threads.background;
        let mut state = lock(&background.state);
        state.kicked = true;
        if !state.started {
            // Without a thread mutators sweep, and memory is given back on
            // request; the next cycle tries again.
            state.started = self.threads.spawn(self, "mallocgc-bg", run_background).is_ok();
        }
        let delaying = state.delaying;
        drop(state);
        if !delaying {
            background.wake.notify_one();
        }
    }
}

impl Background {
    /// Waits for a kick, or for `pause` if there is one; after a kick as long again as mutators have what
    /// the cycle left for themselves. `false` when the next cycle has ended meanwhile: they are at it, and the next
    /// wait is such a delay again.
    fn wait(&self, inner: &Inner, pause: Option<Duration>) -> bool {
        let idle = |state: &mut BackgroundState| !state.kicked && !inner.threads.quits();
        let mut state = wait_while(&self.wake, lock(&self.state), pause, idle);
        if !state.kicked {
            return true;
        }
        let generation = inner.space.sweep_generation();
        state.delaying = true;
        state = wait_while(&self.wake, state, Some(SWEEP_DELAY), |_| !inner.threads.quits());
        state.delaying = false;
        let settled = generation == inner.space.sweep_generation();
        state.kicked = !settled;
        settled
    }
}

/// Waits while `condition` holds, for `limit` at most if there is one.
pub(crate) fn wait_while<'s, S>(
    wake: &Condvar,
    state: MutexGuard<'s, S>,
    limit: Option<Duration>,
    condition: impl FnMut(&mut S) -> bool,
) -> MutexGuard<'s, S> {
    match limit {
        None => wake.wait_while(state, condition).unwrap_or_else(|poisoned| poisoned.into_inner()),
        Some(limit) => {
            let waited = wake.wait_timeout_while(state, limit, condition);
            waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
        }
    }
}

/// The body of the background thread.
fn run_background(inner: &Inner) {
    let space = &inner.space;
    let mut scavenger = Scavenger::new();
    let mut budget = Budget::new(os::now_nanos(), os::processors() as u32);
    let mut pause: Option<Duration> = None;
    loop {
        let settled = inner.threads.background.wait(inner, pause);
        if inner.threads.quits() {
            return;
        }
        while settled && space.unswept_spans.load(Ordering::Relaxed) != 0 && !inner.threads.quits()
        {
            space.reclaim(usize::MAX, SWEEP_BATCH);
            // Mutators that wait for a list come first.
            std::thread::yield_now();
        }
        let now = os::now_nanos();
        let release = scavenger.decide(space.scavenge_reading(now));
        let bytes = budget.allow(now, release.bytes);
        if bytes != 0 {
            let begin = os::thread_cpu_nanos();
            let given = space.decommit_free(bytes);
            let nanos = os::thread_cpu_nanos().saturating_sub(begin);
            budget.spend(given, nanos);
            inner.limiting.scavenge_nanos.fetch_add(nanos, Ordering::Relaxed);
        }
        pause = release.next_nanos.map(|next| Duration::from_nanos(next.saturating_sub(now)));
    }
}

/// Keeps the compiler's promise that inner parts cross threads.
const _: fn() = || {
    fn crosses_threads<T: Send + Sync>() {}
    crosses_threads::<Arc<Inner>>();
};
