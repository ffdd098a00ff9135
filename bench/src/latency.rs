//! Percentiles of times, and what a queue makes of them.
//!
//! The Go and C peers repeat this in their own words; the Rust peer includes this very file, so it stands
//! alone.

/// Counts times in buckets of a 32nd of a power of two: a percentile is at most 3 % too small.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u64; 2048],
    total: u64,
    max: u64,
}

impl Histogram {
    /// No times.
    pub fn new() -> Histogram {
        Histogram { counts: [0; 2048], total: 0, max: 0 }
    }

    /// Counts one time.
    #[inline]
    pub fn add(&mut self, value: u64) {
        let mut index = value;
        if value >= 64 {
            let shift = u64::from(58 - value.leading_zeros());
            index = (shift + 1) * 32 + ((value >> shift) - 32);
        }
        self.counts[index as usize] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// The least time of the bucket at which so many of a million times are reached.
    pub fn quantile(&self, per_million: u64) -> f64 {
        let rank = (self.total * per_million).div_ceil(1_000_000);
        let mut seen = 0;
        for (i, count) in (0u64..).zip(self.counts) {
            seen += count;
            if seen >= rank {
                return if i < 64 { i as f64 } else { ((i % 32 + 32) << (i / 32 - 1)) as f64 };
            }
        }
        self.max as f64
    }

    /// The longest time, exactly.
    pub fn max(&self) -> f64 {
        self.max as f64
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

/// A single server that requests reach at fixed intervals, whether or not it is free: a stall is
/// charged to every request behind it.
#[derive(Clone, Debug)]
pub struct OpenLoop {
    interval_nanos: u64,
    arrival_nanos: u64,
    free_nanos: u64,
    latency: Histogram,
}

impl OpenLoop {
    /// A queue before its first request.
    pub fn new(interval_nanos: u64) -> OpenLoop {
        OpenLoop { interval_nanos, arrival_nanos: 0, free_nanos: 0, latency: Histogram::new() }
    }

    /// The next request, which takes so long to serve.
    #[inline]
    pub fn add(&mut self, service_nanos: u64) {
        self.free_nanos = self.free_nanos.max(self.arrival_nanos) + service_nanos;
        self.latency.add(self.free_nanos - self.arrival_nanos);
        self.arrival_nanos += self.interval_nanos;
    }

    /// From arrival to answer.
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, OpenLoop};

    #[test]
    fn quantiles_are_at_most_a_32nd_too_small() {
        let mut histogram = Histogram::new();
        (1..=100_000u64).for_each(|value| histogram.add(value * 37));
        for per_million in [1, 1_000, 500_000, 990_000, 999_000, 1_000_000] {
            let exact = (per_million / 10).max(1) as f64 * 37.0;
            let found = histogram.quantile(per_million);
            assert!(found <= exact && found >= exact * 31.0 / 32.0, "{found} for {exact}");
        }
        assert_eq!(histogram.max(), 3_700_000.0);
        histogram.add(u64::MAX);
        assert_eq!(histogram.quantile(1_000_000), (63u64 << 58) as f64);
    }

    #[test]
    fn a_stall_hits_those_behind_it() {
        let mut queue = OpenLoop::new(10);
        [5, 35, 5, 5, 5, 5, 5].into_iter().for_each(|service| queue.add(service));
        // Arrivals 0, 10, ..; answers 5, 45, 50, 55, 60, 65, 70.
        assert_eq!(queue.latency().max(), 35.0);
        assert_eq!(queue.latency().quantile(500_000), 20.0);
        assert_eq!(queue.latency().quantile(100_000), 5.0);
    }
}
