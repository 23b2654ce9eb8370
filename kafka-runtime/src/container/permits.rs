//! How many handlers of a listener may run at once, where each partition runs its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// Without a bound nothing is counted, until [`Permits::set_limit`] sets one.
#[derive(Debug)]
pub(crate) struct Permits {
    semaphore: Arc<Semaphore>,
    /// 0: no bound.
    limit: AtomicUsize,
    changing: Mutex<()>,
}

impl Permits {
    pub(crate) fn new(limit: Option<usize>) -> Self {
        let limit = limit.map_or(0, |limit| limit.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            semaphore: Arc::new(Semaphore::new(limit)),
            limit: AtomicUsize::new(limit),
            changing: Mutex::new(()),
        }
    }

    /// Whose permits a handler needs, if any.
    pub(crate) fn bound(&self) -> Option<Arc<Semaphore>> {
        (self.limit.load(Ordering::Relaxed) > 0).then(|| Arc::clone(&self.semaphore))
    }

    /// Changes the bound; permits that are too many are taken in as they come back.
    pub(crate) fn set_limit(&self, limit: usize) {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.limit.swap(limit, Ordering::Relaxed);
        match limit.checked_sub(before) {
            Some(more) => self.semaphore.add_permits(more),
            None => self.take_in(before - limit),
        }
    }

    fn take_in(&self, fewer: usize) {
        let left = fewer - self.semaphore.forget_permits(fewer);
        let (semaphore, left) = (Arc::clone(&self.semaphore), u32::try_from(left).unwrap_or(u32::MAX));
        if left > 0 {
            tokio::spawn(async move {
                // Whoever waits is served in the order of asking: this comes before those who ask later.
                if let Ok(permits) = semaphore.acquire_many_owned(left).await {
                    permits.forget();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bound_can_be_set_raised_and_lowered() {
        let permits = Permits::new(None);
        assert!(permits.bound().is_none());
        permits.set_limit(2);
        let semaphore = permits.bound().unwrap();
        let (one, two) = (semaphore.try_acquire().unwrap(), semaphore.try_acquire().unwrap());
        permits.set_limit(1);
        tokio::task::yield_now().await;
        drop(one);
        assert!(semaphore.try_acquire().is_err(), "it was taken in");
        drop(two);
        assert!(semaphore.try_acquire().is_ok());
        permits.set_limit(3);
        assert_eq!(semaphore.available_permits(), 3);
    }
}
