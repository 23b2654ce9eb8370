//! A value, and those who wait for it to change: `tokio::sync::watch` in what is used of it here, but whoever waits first is
//! woken first. Theirs are woken in an order of chance (for many threads at once), and then no run of a simulation could
//! be had again. For those who bring transports of their own ([`seams`](crate::seams)).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

/// The sender is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

#[derive(Debug, Default)]
struct Shared<T> {
    value: RwLock<T>,
    version: AtomicU64,
    closed: AtomicBool,
    news: Notify,
}

impl<T> Shared<T> {
    fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// It changes with the value, under its lock.
    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Waits for another version than `seen`, which is that one then.
    async fn changed(&self, seen: &mut u64) -> Result<(), Closed> {
        loop {
            // From here on no news is missed.
            let news = self.news.notified();
            let closed = self.closed.load(Ordering::Acquire);
            let version = self.version();
            if version != *seen {
                *seen = version;
                return Ok(());
            }
            if closed {
                return Err(Closed);
            }
            news.await;
        }
    }
}

/// Owns the value. Dropped, it ends all waiting.
#[derive(Debug, Default)]
pub struct Sender<T>(Arc<Shared<T>>);

/// Sees the value, and waits for what it has not seen.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// A value's owner, and one who sees it.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// The owner of this value.
    pub fn new(value: T) -> Self {
        let value = RwLock::new(value);
        Self(Arc::new(Shared {
            value,
            version: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            news: Notify::new(),
        }))
    }

    /// What there is now is seen already.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: Arc::clone(&self.0), seen: self.0.version() }
    }

    /// The value must not be borrowed for long: it cannot change meanwhile.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.0.borrow()
    }

    /// Another value, for all who wait.
    pub fn send_replace(&self, value: T) {
        self.send_if_modified(|last| {
            *last = value;
            true
        });
    }

    /// `modify` says whether there is something to wake others for.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) {
        let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        if !modify(&mut value) {
            return;
        }
        self.0.version.fetch_add(1, Ordering::Release);
        drop(value);
        self.0.news.notify_waiters();
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.news.notify_waiters();
    }
}

impl<T> Receiver<T> {
    /// The value as it is, which stays one that was not seen.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.shared.borrow()
    }

    /// The value as it is, seen by this.
    pub fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        let value = self.shared.borrow();
        self.seen = self.shared.version();
        value
    }

    /// Waits for a value that was not seen. Cancel safe.
    ///
    /// # Errors
    /// The sender is gone, and all was seen.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        self.shared.changed(&mut self.seen).await
    }

    /// Waits for a value that `wanted` likes, be it seen or not; it cannot change while it is borrowed. Cancel safe.
    ///
    /// # Errors
    /// The sender is gone, and the last value is none.
    pub async fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<RwLockReadGuard<'_, T>, Closed> {
        loop {
            {
                let value = self.shared.borrow();
                self.seen = self.shared.version();
                if wanted(&value) {
                    return Ok(value);
                }
            }
            self.shared.changed(&mut self.seen).await?;
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn who_waits_first_is_woken_first() {
        let sender = Sender::new(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..50)
            .map(|n| {
                let (mut receiver, woken) = (sender.subscribe(), Arc::clone(&woken));
                tokio::spawn(async move {
                    receiver.changed().await.unwrap();
                    woken.lock().unwrap().push(n);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        sender.send_replace(1);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_was_seen_is_not_waited_for_and_the_rest_is_not_missed() {
        let (sender, mut receiver) = channel(0);
        sender.send_replace(1);
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow(), 1);
        sender.send_if_modified(|_| false);
        sender.send_replace(2);
        assert_eq!(*receiver.borrow_and_update(), 2);
        assert_eq!(*receiver.wait_for(|value| *value == 2).await.unwrap(), 2);
        let (seen, ()) = tokio::join!(receiver.changed(), async { sender.send_replace(3) });
        seen.unwrap();
        drop(sender);
        assert_eq!(receiver.changed().await, Err(Closed));
        assert_eq!(receiver.wait_for(|value| *value == 9).await.err(), Some(Closed));
        assert_eq!(*receiver.wait_for(|value| *value == 3).await.unwrap(), 3);
    }

    /// On many threads: each value but those that were replaced before anybody looked.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_last_value_is_always_seen() {
        let (sender, receiver) = channel(0_u32);
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let mut receiver = receiver.clone();
                tokio::spawn(async move { receiver.wait_for(|value| *value == 10_000).await.map(|_| ()) })
            })
            .collect();
        for value in 1..=10_000 {
            sender.send_replace(value);
        }
        for task in waiting {
            task.await.unwrap().unwrap();
        }
    }
}
