//! The limiter's script, and its bucket against a second one.

use super::*;
use crate::base::random::Random;

const PROCESSORS: u32 = 12;
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLI;

/// A limiter with its clock.
struct Script {
    limiter: Limiter,
    now: u64,
}

impl Script {
    /// Time goes on; meanwhile the collector has a share of the processors, in percent.
    /// While it marks, 25 of them are background workers'.
    fn pass(&mut self, nanos: u64, collector_percent: u64) {
        if self.limiter.phase == Phase::Mark {
            let assists = u64::from(PROCESSORS) * nanos * (collector_percent - 25) / 100;
            self.limiter.add_assist(assists);
        }
        self.now += nanos;
        self.limiter.update(self.now);
    }

    fn stop(&mut self, nanos: u64, next: Phase) {
        self.limiter.begin_stop(self.now, next);
        self.now += nanos;
        self.limiter.finish_stop(self.now);
    }

    /// Fill, overflow since `base`, and whether it limits. Nanoseconds of the wall clock.
    #[track_caller]
    fn expect(&self, fill: u64, overflow: u64, limiting: bool) {
        let processors = u64::from(PROCESSORS);
        let found = (self.limiter.fill_nanos, self.limiter.overflow_nanos, self.limiter.limiting);
        assert_eq!(found, (fill * processors, overflow * processors, limiting));
    }
}

/// After Go's `TestGCCPULimiter`: once through, and once more in the same state.
#[test]
fn the_script_twice() {
    let mut script = Script { limiter: Limiter::new(0, PROCESSORS), now: 0 };
    let mut base = 0;
    for _ in 0..2 {
        assert_eq!(script.limiter.capacity_nanos, u64::from(PROCESSORS) * SECOND);
        script.expect(0, base, false);

        // Mutators alone leave it empty, for however long.
        for nanos in [7 * MILLI, 3 * SECOND, 5000 * SECOND] {
            script.pass(nanos, 0);
            script.expect(0, base, false);
        }

        // An update is due after a period.
        assert!(!script.limiter.is_due(script.now + UPDATE_NANOS));
        assert!(script.limiter.is_due(script.now + UPDATE_NANOS + 1));
        script.pass(2 * UPDATE_NANOS, 0);
        assert!(!script.limiter.is_due(script.now));

        // While the world is stopped all processors are the collector's.
        script.now += 20 * MILLI; // no update before the stop
        script.stop(3 * MILLI, Phase::Mark);
        script.expect(3 * MILLI, base, false);

        // Background workers alone: what they fill in, mutators drain three times.
        script.pass(4 * MILLI, 25);
        script.expect(MILLI, base, false);
        script.pass(10 * SECOND, 25);
        script.expect(0, base, false);

        // Half of the time moves nothing, more fills.
        script.pass(30 * MILLI, 50);
        script.expect(0, base, false);
        script.pass(2 * MILLI, 100);
        script.expect(2 * MILLI, base, false);

        // Exactly full is full.
        script.pass(SECOND - 2 * MILLI, 100);
        script.expect(SECOND, base, true);
        script.pass(3 * SECOND, 50);
        script.expect(SECOND, base, true);

        // Background workers alone drain half of it in a second.
        script.pass(SECOND, 25);
        script.expect(SECOND / 2, base, false);

        // What goes above the brim is counted: assists, then a stop.
        script.pass(SECOND, 100);
        script.expect(SECOND, base + SECOND / 2, true);
        script.pass(MILLI, 100);
        script.stop(4 * MILLI, Phase::Off);
        base += SECOND / 2 + 5 * MILLI;
        script.expect(SECOND, base, true);

        // A larger bucket is not full. A smaller one is, but nothing was done for it.
        script.limiter.resize(script.now, PROCESSORS + 6);
        script.expect(SECOND, base, false);
        script.limiter.resize(script.now, PROCESSORS - 6);
        script.expect(SECOND / 2, base, true);
        assert_eq!(script.limiter.capacity_nanos, script.limiter.fill_nanos);

        script.now += 100 * SECOND;
        script.limiter.resize(script.now, PROCESSORS);
    }
}

/// A thread that thrashes on a machine that is idle otherwise is limited all the same.
#[test]
fn idle_time_is_nobodys() {
    for idle_processors in [0, 11] {
        let mut limiter = Limiter::new(0, PROCESSORS);
        limiter.begin_stop(0, Phase::Mark);
        limiter.finish_stop(0);
        let mut now = 0;
        while !limiter.limiting() && now < 100 * SECOND {
            now += 10 * MILLI;
            limiter.add_idle(idle_processors * 10 * MILLI);
            limiter.update(now);
        }
        // Of twelve processors three are background workers'.
        assert_eq!(limiter.limiting(), idle_processors == 11);
    }
}

#[test]
fn a_clock_that_runs_back_is_ignored() {
    let mut limiter = Limiter::new(50 * MILLI, 1);
    limiter.begin_stop(50 * MILLI, Phase::Mark);
    limiter.finish_stop(20 * MILLI);
    limiter.update(10 * MILLI);
    assert_eq!(limiter.fill_nanos(), 0);
    assert!(!limiter.is_due(10 * MILLI));
}

#[test]
#[should_panic(expected = "already Off")]
fn a_stop_changes_the_phase() {
    Limiter::new(0, 1).begin_stop(0, Phase::Off);
}

#[test]
#[should_panic(expected = "while the world is stopped")]
fn no_update_while_the_world_is_stopped() {
    let mut limiter = Limiter::new(0, 1);
    limiter.begin_stop(0, Phase::Mark);
    limiter.update(1);
}

/// Random shares of random times: the bucket is the sum of what went in, cut at both ends.
#[test]
fn the_bucket_agrees_with_a_sum() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let mut script = Script { limiter: Limiter::new(0, PROCESSORS), now: 0 };
        script.stop(0, Phase::Mark);
        let (mut sum, mut over) = (0i128, 0i128);
        let full = i128::from(script.limiter.capacity_nanos);
        for step in 0..1000 {
            let nanos = random.below(SECOND) / 400 * 400;
            let percent = 25 + random.below(76);
            script.pass(nanos, percent);
            sum +=
                i128::from(PROCESSORS) * i128::from(nanos) * (2 * i128::from(percent) - 100) / 100;
            over += (sum - full).max(0);
            sum = sum.clamp(0, full);
            let limiter = &script.limiter;
            let found = (i128::from(limiter.fill_nanos), i128::from(limiter.overflow_nanos));
            assert_eq!(found, (sum, over), "seed {seed}, step {step}");
            assert!(!limiter.limiting || sum == full, "seed {seed}, step {step}");
        }
    }
}

/// A heap that is always due, whose cycles take `cycle_millis` and wait until the bucket has
/// room. Returns the collector's share in parts of a thousand.
fn share_of_thrashing(cycle_millis: u64, seconds: u64) -> u64 {
    let mut limiter = Limiter::new(0, 2);
    let (mut now, mut collecting) = (0, 0);
    while now < seconds * 1000 * MILLI {
        let begin = now + MILLI / 100;
        now = begin + cycle_millis * MILLI;
        limiter.add_stopped_cycle(begin, now);
        collecting += now - begin;
        now += limiter.hold_nanos(cycle_millis * MILLI);
    }
    collecting * 1000 / now
}

#[test]
fn cycles_that_wait_for_room_have_half_of_the_time() {
    for cycle_millis in [1, 7, 300, 5000] {
        let share = share_of_thrashing(cycle_millis, 100);
        assert!((495..=510).contains(&share), "{share} of 1000 at {cycle_millis} ms");
        let burst = share_of_thrashing(cycle_millis.min(100), 1);
        assert!(burst > 900, "{burst}: a bucket full of them goes first");
    }
}
