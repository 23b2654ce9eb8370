//! One task for many deadlines: it sleeps until the earliest of them, and hears of earlier ones.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What a timer task waits for.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// What the task sleeps until.
    armed: Mutex<Option<Instant>>,
    earlier: Notify,
}

impl Alarm {
    /// There is something to do at `next`.
    pub(crate) fn arm(&self, next: Option<Instant>) {
        let armed = *self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_some_and(|next| armed.is_none_or(|armed| next < armed)) {
            self.earlier.notify_one();
        }
    }

    /// Calls `expire` whenever something is due, for ever. It does what is due and says when there is more.
    pub(crate) async fn run(&self, mut expire: impl FnMut() -> Option<Instant>) {
        loop {
            // While it looks, whatever is armed counts as earlier.
            self.set(None);
            let next = expire();
            self.set(next);
            match next {
                Some(next) => {
                    tokio::select! {
                        biased;
                        () = sleep_until(next) => {}
                        () = self.earlier.notified() => {}
                    }
                }
                None => self.earlier.notified().await,
            }
        }
    }

    fn set(&self, next: Option<Instant>) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}
