//! What a producer has done: counted once per batch, so that records cost nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Four buckets for each doubling of a microsecond, up to some days.
const BUCKETS: usize = 160;

/// What a producer has done since it was made. Numbers only grow. In transactions, what was aborted is among it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ProducerStats {
    /// Records that were acknowledged (with acks 0: written to the connection).
    pub records: u64,
    /// Records that were not delivered, after the last retry. What was refused before it had a batch is not among them.
    pub failed: u64,
    /// Batches that were acknowledged.
    pub batches: u64,
    /// Their bytes, compressed.
    pub bytes: u64,
    /// How often a batch was sent again.
    pub retries: u64,
    /// From the first record of a batch until the batch was first sent; a record may have come later.
    pub queue_time: Timing,
    /// From the first record of a batch until it was acknowledged.
    pub delivery_time: Timing,
}

/// Durations, each batch one.
#[derive(Debug, Clone, Default)]
pub struct Timing {
    counts: Vec<u64>,
    total: Duration,
}

impl Timing {
    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The duration that `part` of them (0.5, 0.99) did not exceed, to within a fifth; zero where there is none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.count() as f64 * part.clamp(0.0, 1.0)).ceil() as u64;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted.max(1)
        });
        bucket.map_or(Duration::ZERO, upper_end)
    }
}

/// A duration's bucket: which doubling, and which quarter of it.
fn bucket_of(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let doubling = micros.ilog2();
    let quarter = match doubling {
        0 | 1 => 0,
        more => (micros >> (more - 2)) & 0b11,
    };
    (doubling as usize * 4 + usize::try_from(quarter).unwrap_or(0)).min(BUCKETS - 1)
}

fn upper_end(bucket: usize) -> Duration {
    let (doubling, quarter) = (bucket / 4, bucket as u64 % 4);
    let micros = if doubling < 2 { 2u64 << doubling } else { (5 + quarter) << (doubling - 2) };
    Duration::from_micros(micros)
}

/// Where they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    records: AtomicU64,
    failed: AtomicU64,
    batches: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
    queue_time: Times,
    delivery_time: Times,
}

#[derive(Debug)]
struct Times {
    counts: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), nanos: AtomicU64::new(0) }
    }
}

impl Times {
    fn add(&self, time: Duration) {
        if let Some(count) = self.counts.get(bucket_of(time)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn read(&self) -> Timing {
        Timing {
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            total: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}

impl Counters {
    /// A batch goes out, for the `attempts`th time.
    pub(super) fn sent(&self, attempts: u32, waited: Duration) {
        match attempts {
            1 => self.queue_time.add(waited),
            _ => _ = self.retries.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// A batch was acknowledged.
    pub(super) fn written(&self, records: i32, bytes: usize, took: Duration) {
        self.records.fetch_add(u64::try_from(records).unwrap_or(0), Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.delivery_time.add(took);
    }

    pub(super) fn failed(&self, records: u64) {
        self.failed.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> ProducerStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ProducerStats {
            records: read(&self.records),
            failed: read(&self.failed),
            batches: read(&self.batches),
            bytes: read(&self.bytes),
            retries: read(&self.retries),
            queue_time: self.queue_time.read(),
            delivery_time: self.delivery_time.read(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let times = Times::default();
        (1..=1000u64).for_each(|millis| times.add(Duration::from_millis(millis)));
        let timing = times.read();
        assert_eq!((timing.count(), timing.total()), (1000, Duration::from_millis(500_500)));
        for (part, exact) in [(0.5, 500.0), (0.99, 990.0), (0.001, 1.0), (1.0, 1000.0)] {
            let near = timing.quantile(part).as_secs_f64() * 1000.0;
            assert!((exact..=exact * 1.25).contains(&near), "{part}: {near}");
        }
        assert_eq!(Timing::default().quantile(0.5), Duration::ZERO);
        for time in [Duration::ZERO, Duration::from_micros(3), Duration::MAX] {
            assert!(bucket_of(time) < BUCKETS);
        }
    }
}
