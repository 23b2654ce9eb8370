//! `rate-limit`: how fast records may be handed out; a token bucket (pure), and what a listener's partitions share of it.
//!
//! A record costs a token when it is taken up, and what is taken and not used comes back. A batch handler may take more at
//! once than there is: the bucket then owes, and nothing goes until that is made up for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Rate;

/// Tokens that come at an even pace, and of which a few are kept. Time is what they are counted in: a token is the time in
/// which one comes, in units of a nanosecond by the number of the rate, so that nothing is rounded.
#[derive(Debug, Clone)]
struct Bucket {
    /// Units in which a token comes.
    each: u128,
    /// Units per nanosecond.
    scale: u128,
    /// Tokens that are kept at most.
    burst: u128,
    /// Up to when tokens are spent; begins one full bucket before the time.
    spent: u128,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        let records = u128::from(rate.records.max(1));
        let each = rate.per.as_nanos().max(1);
        Self { each, scale: records, burst: (records / 10).max(1), spent: 0 }
    }

    /// `since` the beginning, in units; a full bucket is there from the beginning.
    fn now(&self, since: Duration) -> u128 {
        since.as_nanos() * self.scale + self.each * self.burst
    }

    /// Takes up to `wish` tokens; without one, how long until there is.
    fn take(&mut self, since: Duration, wish: u64) -> Result<u64, Duration> {
        let now = self.now(since);
        self.spent = self.spent.max(now.saturating_sub(self.each * self.burst));
        let there = now.saturating_sub(self.spent) / self.each;
        let taken = there.min(u128::from(wish));
        if taken == 0 {
            let missing = (self.spent + self.each - now).div_ceil(self.scale);
            return Err(Duration::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX)));
        }
        self.spent += taken * self.each;
        Ok(u64::try_from(taken).unwrap_or(u64::MAX))
    }

    /// Takes them whether they are there or not.
    fn owe(&mut self, tokens: u64) {
        self.spent += u128::from(tokens) * self.each;
    }

    fn give_back(&mut self, tokens: u64) {
        self.spent = self.spent.saturating_sub(u128::from(tokens) * self.each);
    }
}

/// A listener's bucket. One short lock per look (64 records), and none where no limit is set.
#[derive(Debug)]
pub(crate) struct RateLimit {
    bucket: Mutex<Bucket>,
    since: Instant,
}

impl RateLimit {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { bucket: Mutex::new(Bucket::new(rate)), since: Instant::now() }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to `wish` tokens, at least one; without one, how long until there is.
    pub(crate) fn take(&self, wish: u64) -> Result<u64, Duration> {
        self.bucket().take(self.since.elapsed(), wish)
    }

    /// More was taken up than there were tokens for.
    pub(crate) fn owe(&self, tokens: u64) {
        self.bucket().owe(tokens);
    }

    /// These were not used.
    pub(crate) fn give_back(&self, tokens: u64) {
        if tokens > 0 {
            self.bucket().give_back(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bucket(records: u32, per: Duration) -> Bucket {
        Bucket::new(Rate { records, per })
    }

    #[test]
    fn a_tenth_at_once_then_an_even_pace() {
        let mut bucket = bucket(100, SECOND);
        assert_eq!(bucket.take(Duration::ZERO, 64), Ok(10));
        assert_eq!(bucket.take(Duration::ZERO, 64), Err(SECOND / 100));
        assert_eq!(bucket.take(SECOND / 100, 64), Ok(1));
        assert_eq!(bucket.take(SECOND * 60, 64), Ok(10), "what is not used does not pile up");
    }

    #[test]
    fn what_is_not_used_comes_back_and_what_is_owed_is_waited_for() {
        let mut bucket = bucket(100, SECOND);
        assert_eq!(bucket.take(Duration::ZERO, 10), Ok(10));
        bucket.give_back(4);
        assert_eq!(bucket.take(Duration::ZERO, 64), Ok(4));
        bucket.owe(20);
        assert_eq!(bucket.take(Duration::ZERO, 1), Err(SECOND / 100 * 21));
        assert_eq!(bucket.take(SECOND / 100 * 21, 5), Ok(1));
    }

    proptest! {
        /// However it is asked: never more than the rate and one bucket, and no one waits longer than is told.
        #[test]
        fn the_rate_is_kept_and_waits_are_true(
            records in 1..2000u32, per_millis in 1..100_000u64,
            asks in prop::collection::vec((0..50_000_000u64, 1..200u64, 0..100u64), 1..200),
        ) {
            let rate = Rate { records, per: Duration::from_millis(per_millis) };
            let mut bucket = Bucket::new(rate);
            let (mut now, mut used) = (Duration::ZERO, 0u128);
            for (pause, wish, unused) in asks {
                now += Duration::from_nanos(pause);
                match bucket.take(now, wish) {
                    Ok(taken) => {
                        prop_assert!((1..=wish).contains(&taken));
                        let back = unused.min(taken);
                        bucket.give_back(back);
                        used += u128::from(taken - back);
                    }
                    Err(wait) => prop_assert_eq!(bucket.clone().take(now + wait, 1), Ok(1)),
                }
                let most = now.as_nanos() * u128::from(records) / rate.per.as_nanos();
                prop_assert!(used <= most + bucket.burst, "{used} of {most} after {now:?}");
            }
        }
    }
}
