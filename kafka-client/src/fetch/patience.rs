//! How long a broker may wait for data before it answers; pure.
//!
//! A request cannot be changed once it is sent. While all partitions are asked for, the broker may wait as long as
//! it is allowed to. But while some are left out, because their readers have enough, one of them may be read any
//! moment, and then has to wait for this answer. So the wait adapts to the pace of the readers: short after one of
//! them took something, doubled with each answer that brought nothing. Reading is never held up for much longer than
//! the pause that the reader made by itself.

use std::time::Duration;

/// The first wait after a reader took something.
const SHORT: Duration = Duration::from_millis(5);

/// The longest wait while some partition is left out: ten requests a second are cheap, and a reader that stood still
/// for long and then goes on finds two chunks in its queue to begin with.
const LONG: Duration = Duration::from_millis(100);

/// The wait of the next request.
#[derive(Debug)]
pub(crate) struct Patience {
    most: Duration,
    now: Duration,
}

impl Patience {
    /// `most` is `fetch.max.wait.ms`.
    pub(crate) fn new(most: Duration) -> Self {
        Self { most, now: SHORT.min(most) }
    }

    /// A reader made room.
    pub(crate) fn shorten(&mut self) {
        self.now = SHORT.min(self.most);
    }

    /// An answer brought nothing.
    pub(crate) fn lengthen(&mut self) {
        self.now = (self.now * 2).min(LONG).min(self.most);
    }

    /// The wait, where `left_out` says whether readers may make room any moment.
    pub(crate) fn wait(&self, left_out: bool) -> Duration {
        if left_out { self.now } else { self.most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_readers() {
        let mut patience = Patience::new(Duration::from_millis(500));
        assert_eq!(patience.wait(false), Duration::from_millis(500));
        assert_eq!(patience.wait(true), SHORT);
        for _ in 0..3 {
            patience.lengthen();
        }
        assert_eq!(patience.wait(true), SHORT * 8);
        for _ in 0..100 {
            patience.lengthen();
        }
        assert_eq!(patience.wait(true), LONG);
        patience.shorten();
        assert_eq!(patience.wait(true), SHORT);
        assert_eq!(Patience::new(Duration::ZERO).wait(true), Duration::ZERO);
    }
}
