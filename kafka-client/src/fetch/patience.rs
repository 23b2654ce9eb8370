//! How long a broker may wait for data before it answers; pure.
//!
//! A request cannot be changed once it is sent. While all partitions are asked for, the broker may wait as long as
//! it is allowed to. But while some are left out, because their readers have enough, one of them may be read any
//! moment, and then has to wait for this answer. So the wait adapts to the pace of the readers: short after one of
//! them took something, doubled with each answer that brought nothing. Reading is never held up for much longer than
//! the pause that the reader made by itself.
//!
//! Where one byte is enough for an answer (`fetch.min.bytes`), the wait says only how often the broker tells of nothing. So
//! it grows while there is nothing, to a few times of what is configured: a process with a hundred idle listeners has less to do.
//! It does not where a follower may be read from: some brokers answer such a fetch late (KAFKA-14334, KAFKA-13767).

use std::time::Duration;

/// The first wait after a reader took something.
const SHORT: Duration = Duration::from_millis(5);

/// The longest wait while some partition is left out: ten requests a second are cheap, and a reader that stood still
/// for long and then goes on finds two chunks in its queue to begin with.
const LONG: Duration = Duration::from_millis(100);

/// How many times the configured wait the broker may wait while there is nothing.
const IDLE: u32 = 4;

/// The wait of the next request.
#[derive(Debug)]
pub(crate) struct Patience {
    most: Duration,
    longest: Duration,
    /// While some are left out, and while all are asked for.
    left_out: Duration,
    all: Duration,
}

impl Patience {
    /// `most` is `fetch.max.wait.ms`; `grows` says whether nobody sees how long the broker waits while there is nothing.
    pub(crate) fn new(most: Duration, grows: bool) -> Self {
        let longest = if grows { most.saturating_mul(IDLE) } else { most };
        Self { most, longest, left_out: SHORT.min(most), all: most }
    }

    /// A reader made room.
    pub(crate) fn shorten(&mut self) {
        self.left_out = SHORT.min(self.most);
    }

    /// An answer came, and brought something or nothing.
    pub(crate) fn answered(&mut self, brought: bool) {
        if brought {
            self.all = self.most;
        } else {
            self.all = self.all.saturating_mul(2).min(self.longest);
            self.left_out = (self.left_out * 2).min(LONG).min(self.most);
        }
    }

    /// The wait, where `left_out` says whether readers may make room any moment.
    pub(crate) fn wait(&self, left_out: bool) -> Duration {
        if left_out { self.left_out } else { self.all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_readers() {
        let mut patience = Patience::new(Duration::from_millis(500), true);
        assert_eq!(patience.wait(false), Duration::from_millis(500));
        assert_eq!(patience.wait(true), SHORT);
        for _ in 0..3 {
            patience.answered(false);
        }
        assert_eq!(patience.wait(true), SHORT * 8);
        for _ in 0..100 {
            patience.answered(false);
        }
        assert_eq!(patience.wait(true), LONG);
        patience.answered(true);
        assert_eq!(patience.wait(true), LONG);
        patience.shorten();
        assert_eq!(patience.wait(true), SHORT);
        assert_eq!(Patience::new(Duration::ZERO, true).wait(true), Duration::ZERO);
    }

    #[test]
    fn nothing_is_told_of_less_and_less_often_where_nobody_sees_it() {
        let most = Duration::from_millis(500);
        let mut patience = Patience::new(most, true);
        let mut waits = || {
            patience.answered(false);
            patience.wait(false)
        };
        assert_eq!([waits(), waits(), waits()], [most * 2, most * 4, most * 4]);
        patience.answered(true);
        assert_eq!(patience.wait(false), most);
        let mut patience = Patience::new(most, false);
        patience.answered(false);
        assert_eq!(patience.wait(false), most);
    }
}
