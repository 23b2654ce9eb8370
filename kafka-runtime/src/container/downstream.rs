//! `pause-when`: a listener pauses while a check of the application says that what its handlers need is down.
//!
//! The check is asked before the first record and then at an interval, whatever it said; a record goes when the last
//! answer was good. No answer within the interval is a bad one, and so is a panic.
//!
//! A try that fails asks it at once, and counts only if the answer to that is good: between two looks at the interval a
//! record is not given up either.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{info, warn};

use super::status::{EventKind, Events};
use crate::config::PauseWhen;

type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What an application is asked.
#[derive(Clone)]
pub(crate) struct Check(Arc<dyn Fn() -> Answer + Send + Sync>);

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").finish_non_exhaustive()
    }
}

impl Check {
    pub(crate) fn new<F, R, E>(check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        Self(Arc::new(move || {
            let answer = check();
            Box::pin(async move { answer.await.map_err(|error| error.to_string()) })
        }))
    }

    async fn ask(&self, patience: Duration) -> Result<(), String> {
        let check = Arc::clone(&self.0);
        // A task of its own: a check that panics says no more than that.
        let mut asked = tokio::spawn(async move { check().await });
        match tokio::time::timeout(patience, &mut asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("its check panicked".into()),
            Err(_) => {
                asked.abort();
                Err(format!("no answer within {patience:?}"))
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nobody has asked yet, or nobody asks any more.
    Unknown,
    Up,
    Down(String),
}

/// What a listener's partitions share of it.
#[derive(Debug)]
pub(crate) struct Downstream {
    settings: PauseWhen,
    known: Mutex<Known>,
    changed: Notify,
    /// Somebody wants an answer before the interval is over.
    wanted: Notify,
}

#[derive(Debug)]
struct Known {
    state: State,
    /// Questions that were asked, and the last of them that was answered.
    asked: u64,
    answered: u64,
}

impl Downstream {
    pub(crate) fn new(settings: PauseWhen) -> Self {
        let known = Mutex::new(Known { state: State::Unknown, asked: 0, answered: 0 });
        Self { settings, known, changed: Notify::new(), wanted: Notify::new() }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, state: State) -> State {
        let before = self.with(|known| {
            known.answered = known.asked;
            std::mem::replace(&mut known.state, state)
        });
        self.changed.notify_waiters();
        before
    }

    pub(crate) fn is_up(&self) -> bool {
        self.with(|known| known.state == State::Up)
    }

    /// What is down, and why; `None` while it is not known to be.
    pub(crate) fn down(&self) -> Option<String> {
        self.with(|known| match &known.state {
            State::Down(cause) => Some(format!("`{}` is down: {cause}", self.settings.check)),
            State::Unknown | State::Up => None,
        })
    }

    /// Has it asked, and waits for the answer to a question that was asked after this call. Those who want one at the
    /// same time share it. Whether it is up; not, if nobody asks any more. Cancel-safe.
    pub(crate) async fn is_up_now(&self) -> bool {
        let mine = self.with(|known| known.asked + 1);
        self.wanted.notify_one();
        loop {
            // Listening starts before looking.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let answer = self.with(|known| match known.state {
                State::Unknown => Some(false),
                ref state => (known.answered >= mine).then_some(*state == State::Up),
            });
            if let Some(is_up) = answer {
                return is_up;
            }
            changed.await;
        }
    }

    /// Waits until it is up. Cancel-safe.
    pub(crate) async fn up(&self) {
        loop {
            // Listening starts before looking.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.is_up() {
                return;
            }
            changed.await;
        }
    }

    /// Asks again and again, and tells what has changed. Never returns; when it is dropped, nothing is known any more.
    pub(crate) async fn watch(&self, listener: &'static str, check: Check, events: Events) {
        let _watched = Watched(self);
        let PauseWhen { check: name, interval } = &self.settings;
        loop {
            self.with(|known| known.asked += 1);
            match check.ask(*interval).await {
                Ok(()) => {
                    if let State::Down(_) = self.set(State::Up) {
                        info!(listener, check = name, "it is up again: the listener goes on");
                        events.emit(listener, || EventKind::DownstreamUp { check: name.clone() });
                    }
                }
                Err(cause) => {
                    if !matches!(self.set(State::Down(cause.clone())), State::Down(_)) {
                        warn!(
                            listener,
                            check = name,
                            cause,
                            "it is down: the listener pauses until it is not"
                        );
                        events.emit(listener, || EventKind::DownstreamDown { check: name.clone(), cause });
                    }
                }
            }
            // Whatever comes first.
            let _ = tokio::time::timeout(*interval, self.wanted.notified()).await;
        }
    }
}

/// While somebody asks.
struct Watched<'a>(&'a Downstream);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.set(State::Unknown);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering as Order};

    use super::*;
    use crate::config::{ListenerSettings, Ordering, Retry};
    use crate::container::fixture::{Act, Rig, after, settings};
    use crate::container::{Events, PartitionPhase};

    const UP: u8 = 0;
    const DOWN: u8 = 1;
    const SILENT: u8 = 2;
    const PANICS: u8 = 3;

    fn bank() -> (Arc<AtomicU8>, Check) {
        let bank = Arc::new(AtomicU8::new(UP));
        let asked = Arc::clone(&bank);
        let check = Check::new(move || {
            let how = asked.load(Order::SeqCst);
            async move {
                match how {
                    UP => Ok(()),
                    SILENT => std::future::pending().await,
                    PANICS => panic!("a check"),
                    _ => Err("closed for today"),
                }
            }
        });
        (bank, check)
    }

    fn paused_by(ordering: Ordering) -> ListenerSettings {
        let pause_when = Some(PauseWhen { check: "bank".into(), interval: Duration::from_secs(5) });
        ListenerSettings { pause_when, ordering, concurrency: Some(4), ..settings() }
    }

    async fn kinds(stream: &mut crate::container::EventStream) -> Vec<String> {
        let mut kinds = Vec::new();
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), stream.next()).await {
            match event.kind {
                EventKind::DownstreamDown { check, cause } => kinds.push(format!("{check} down: {cause}")),
                EventKind::DownstreamUp { check } => kinds.push(format!("{check} up")),
                _ => {}
            }
        }
        kinds
    }

    #[tokio::test(start_paused = true)]
    async fn no_record_goes_before_the_first_answer_and_none_while_it_is_down() {
        for ordering in [Ordering::Partition, Ordering::Key] {
            let (bank, check) = bank();
            bank.store(DOWN, Order::SeqCst);
            let rig = Rig::new(paused_by(ordering), false, |_, _| Act::Wait(Duration::from_millis(100)));
            let partition = rig.partition(0);
            partition.comes(0, 30);
            after(20_000).await;
            assert!(rig.script.seen().is_empty(), "nobody was asked: {ordering:?}");
            let events = Events::default();
            let mut told = events.subscribe();
            let watching = tokio::spawn(rig.watch_downstream(check, events));
            after(20_000).await;
            assert!(rig.script.seen().is_empty(), "it is down: {ordering:?}");
            assert_eq!(rig.held_up_by(), Some("`bank` is down: closed for today".to_owned()));
            assert_eq!(kinds(&mut told).await, ["bank down: closed for today"]);
            bank.store(UP, Order::SeqCst);
            after(5_300).await;
            let some = rig.script.seen().len();
            assert!((1..30).contains(&some), "{some}: {ordering:?}");
            bank.store(SILENT, Order::SeqCst);
            after(60_000).await;
            assert_eq!(kinds(&mut told).await, ["bank up", "bank down: no answer within 5s"]);
            bank.store(PANICS, Order::SeqCst);
            after(60_000).await;
            assert_eq!(rig.held_up_by(), Some("`bank` is down: its check panicked".to_owned()));
            bank.store(UP, Order::SeqCst);
            after(10_000).await;
            assert_eq!(rig.script.seen().len(), 30, "{ordering:?}");
            partition.drain().await;
            watching.abort();
        }
    }

    /// A try that failed while it is down does not count, and the record waits with all others.
    #[tokio::test(start_paused = true)]
    async fn what_fails_while_it_is_down_is_not_given_up() {
        for ordering in [Ordering::Partition, Ordering::Key] {
            let (bank, check) = bank();
            let asked = Arc::clone(&bank);
            let rig = Rig::new(paused_by(ordering), false, move |_, _| match asked.load(Order::SeqCst) {
                DOWN => Act::Fail("no bank"),
                _ => Act::Wait(Duration::from_secs(1)),
            });
            let watching = tokio::spawn(rig.watch_downstream(check, Events::default()));
            let partition = rig.partition(0);
            partition.comes(0, 20);
            after(4_500).await;
            bank.store(DOWN, Order::SeqCst);
            // Some fail before the check knows; three tries each are allowed, and take no time.
            after(1_000_000).await;
            assert_ne!(partition.phase(), PartitionPhase::Stopped, "{ordering:?}");
            let waiting = rig.script.seen().len();
            after(1_000_000).await;
            assert_eq!(rig.script.seen().len(), waiting, "none is tried while it is down");
            bank.store(UP, Order::SeqCst);
            after(60_000).await;
            assert_eq!(rig.script.settled().len(), 20, "{ordering:?}");
            partition.drain().await;
            watching.abort();
        }
    }

    /// The check is asked at once when a try fails: what it does not know yet at its interval costs no try.
    #[tokio::test(start_paused = true)]
    async fn a_try_that_fails_before_the_interval_has_shown_it_does_not_count_either() {
        for (ordering, batch) in
            [(Ordering::Partition, false), (Ordering::Partition, true), (Ordering::Key, false)]
        {
            let (bank, check) = bank();
            let asked = Arc::clone(&bank);
            let rig =
                Rig::new(given_up_at_once(ordering), batch, move |_, _| match asked.load(Order::SeqCst) {
                    UP => Act::Wait(Duration::from_secs(1)),
                    _ => Act::Fail("no bank"),
                });
            let watching = tokio::spawn(rig.watch_downstream(check, Events::default()));
            let partition = rig.partition(0);
            for (round, trouble) in [DOWN, SILENT, PANICS].into_iter().enumerate() {
                let base = i64::try_from(round).unwrap() * 20;
                partition.comes(base, 20);
                after(4_500).await;
                bank.store(trouble, Order::SeqCst);
                after(100_000).await;
                assert_ne!(partition.phase(), PartitionPhase::Stopped, "{ordering:?} {trouble}");
                bank.store(UP, Order::SeqCst);
                after(100_000).await;
                assert_eq!(rig.script.settled().len(), 20 * (round + 1), "{ordering:?} {trouble}");
            }
            partition.drain().await;
            watching.abort();
        }
    }

    /// What fails while the check is good is the record's own failure.
    #[tokio::test(start_paused = true)]
    async fn a_try_that_fails_while_it_is_up_counts() {
        for ordering in [Ordering::Partition, Ordering::Key] {
            let (_bank, check) = bank();
            let rig = Rig::new(given_up_at_once(ordering), false, |offset, _| match offset {
                3 => Act::Fail("no such account"),
                _ => Act::Return,
            });
            let watching = tokio::spawn(rig.watch_downstream(check, Events::default()));
            let partition = rig.partition(0);
            partition.comes(0, 4);
            after(100).await;
            assert_eq!(partition.phase(), PartitionPhase::Stopped, "{ordering:?}");
            partition.drain().await;
            watching.abort();
        }
    }

    fn given_up_at_once(ordering: Ordering) -> ListenerSettings {
        let settings = paused_by(ordering);
        ListenerSettings { retry: Retry { attempts: 1, ..settings.retry }, ..settings }
    }

    /// Time that a record is tried for begins anew behind what held it up.
    #[tokio::test(start_paused = true)]
    async fn what_it_was_down_for_is_not_time_that_a_record_was_tried_for() {
        for ordering in [Ordering::Partition, Ordering::Key] {
            let (bank, check) = bank();
            let asked = Arc::clone(&bank);
            let retry = Retry { attempts: 3, max_elapsed: Some(Duration::from_secs(20)), ..settings().retry };
            let settings = ListenerSettings { retry, ..paused_by(ordering) };
            let after_it = AtomicU8::new(0);
            let rig = Rig::new(settings, false, move |_, _| match asked.load(Order::SeqCst) {
                UP if after_it.fetch_add(1, Order::SeqCst) == 0 => Act::Fail("something else"),
                UP => Act::Return,
                _ => Act::Fail("no bank"),
            });
            let watching = tokio::spawn(rig.watch_downstream(check, Events::default()));
            after(1).await;
            bank.store(DOWN, Order::SeqCst);
            let partition = rig.partition(0);
            partition.comes(0, 1);
            after(600_000).await;
            bank.store(UP, Order::SeqCst);
            after(60_000).await;
            assert_eq!(rig.script.settled().len(), 1, "{ordering:?}");
            partition.drain().await;
            watching.abort();
        }
    }
}
