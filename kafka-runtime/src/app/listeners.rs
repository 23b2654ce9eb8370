//! The application's listeners at run time: what they do, and orders to them.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use kafka_client::TopicPartition;
use kafka_client::config::StartAt;
use tokio::sync::{mpsc, oneshot};

use super::crew::Demand;
use crate::container::{
    Board, EventStream, Events, Health, ListenerState, ListenerStatus, OpenRecord, PartitionLag, Selection,
};

/// The listeners of a running application: Spring's `KafkaListenerEndpointRegistry`. From
/// [`RunningApp::listeners`](crate::RunningApp::listeners), and in every handler as `State<Listeners>`; clones are the
/// same.
///
/// ```no_run
/// # use kafka_runtime::prelude::*;
/// #[kafka_listener(topic = "commands", group = "operators")]
/// async fn command(order: String, listeners: &State<Listeners>) -> Result<(), ListenerError> {
///     let bill = listeners.get("bill")?;
///     match order.as_str() {
///         "pause" => bill.pause().await,
///         "resume" => bill.resume().await,
///         "replay" => bill.seek(Selection::All, StartAt::Beginning).await.map(|_| ()),
///         _ => Ok(()),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Listeners(Arc<Inner>);

struct Inner {
    entries: OnceLock<BTreeMap<&'static str, Entry>>,
    events: Events,
}

/// A listener's board, and the way to its crew.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) board: Arc<Board>,
    pub(super) demands: mpsc::UnboundedSender<Demand>,
    /// Of a retry topic's: whose retries they are.
    pub(super) retries_of: Option<&'static str>,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listeners").field(&self.status()).finish()
    }
}

impl Listeners {
    /// No listeners yet: they come with [`Listeners::set`].
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner { entries: OnceLock::new(), events: Events::default() }))
    }

    pub(super) fn set(&self, entries: BTreeMap<&'static str, Entry>) {
        // Called once, by the start.
        let _ = self.0.entries.set(entries);
    }

    fn entries(&self) -> impl Iterator<Item = (&'static str, &Entry)> {
        self.0.entries.get().into_iter().flatten().map(|(id, entry)| (*id, entry))
    }

    pub(super) fn boards(&self) -> impl Iterator<Item = &Arc<Board>> {
        self.entries().map(|(_, entry)| &entry.board)
    }

    pub(super) fn board(&self, id: &str) -> Option<&Arc<Board>> {
        self.0.entries.get()?.get(id).map(|entry| &entry.board)
    }

    pub(super) fn emitter(&self) -> Events {
        self.0.events.clone()
    }

    /// Their ids.
    #[must_use]
    pub fn ids(&self) -> Vec<&'static str> {
        self.entries().map(|(id, _)| id).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ListenerError::Unknown`].
    pub fn get(&self, id: &str) -> Result<ListenerHandle, ListenerError> {
        let found = self.entries().find(|(known, _)| *known == id);
        let (id, entry) = found.ok_or_else(|| ListenerError::Unknown { id: id.into(), known: self.ids() })?;
        let retries = self.entries().filter(|(_, entry)| entry.retries_of == Some(id));
        let retries = retries.map(|(id, entry)| Self::handle(id, entry, Vec::new())).collect();
        Ok(Self::handle(id, entry, retries))
    }

    fn handle(id: &'static str, entry: &Entry, retries: Vec<ListenerHandle>) -> ListenerHandle {
        ListenerHandle { id, entry: entry.clone(), retries }
    }

    /// What each of them is doing, by id.
    #[must_use]
    pub fn status(&self) -> Vec<ListenerStatus> {
        self.boards().map(|board| board.status()).collect()
    }

    /// Their health, as a service shows it to whoever restarts it. Asks nobody: it is known at once.
    #[must_use]
    pub fn health(&self) -> Health {
        Health::of(&self.status())
    }

    /// How far each partition that this process holds is behind its log. Waits for nobody: the ends of the logs come with
    /// the fetches, and are asked for in the background, each 5 s, where nothing is fetched.
    #[must_use]
    pub fn lag(&self) -> Vec<PartitionLag> {
        self.status().iter().flat_map(PartitionLag::of).collect()
    }

    /// What happens from now on, to all of them.
    #[must_use]
    pub fn events(&self) -> EventStream {
        self.0.events.subscribe()
    }
}

/// One listener. Orders are given when the method is called, not when its answer is awaited: the answer may be dropped.
///
/// With retry topics, [`start`](Self::start), [`stop`](Self::stop), [`pause`](Self::pause) and [`resume`](Self::resume) are
/// orders to the listeners of those as well; each of them has a handle of its own, too (`bill-retry-1000`).
///
/// In a handler of the listener itself, do not wait for [`stop`](Self::stop): it waits for that handler.
#[derive(Debug, Clone)]
pub struct ListenerHandle {
    id: &'static str,
    entry: Entry,
    /// Of its retry topics.
    retries: Vec<ListenerHandle>,
}

impl ListenerHandle {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> ListenerStatus {
        self.entry.board.status()
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> ListenerState {
        self.entry.board.state()
    }

    /// Starts it, if it does not run: one that was stopped, has failed, or has `auto-startup: false`. Returns when its
    /// members are under way; partitions come later.
    pub fn start(&self) -> Answer<()> {
        self.demand_of_all(&Demand::Start)
    }

    /// Stops it as the application does: handlers in hand finish, offsets are committed, the group is left (not by a
    /// static member: its partitions stay its own until its session ends). Returns when that is done, at most
    /// `shutdown-timeout` later.
    pub fn stop(&self) -> Answer<()> {
        self.demand_of_all(&Demand::Stop)
    }

    /// Hands out no further records. Those in hand are finished; partitions, and the membership, are kept; nothing is
    /// fetched, what was fetched before (two chunks of a partition at most) waits. From when this has returned no handler
    /// is called. A pause lasts until it is resumed: over rebalances, and over a stop and a start.
    pub fn pause(&self) -> Answer<()> {
        self.demand_of_all(&|reply| Demand::Pause { partition: None, paused: true, reply })
    }

    /// Goes on after [`pause`](Self::pause), and starts partitions again that have stopped, at the record that stopped
    /// them. Partitions that were paused by themselves stay so.
    pub fn resume(&self) -> Answer<()> {
        self.demand_of_all(&|reply| Demand::Pause { partition: None, paused: false, reply })
    }

    /// Pauses one partition, whether it is held now or comes later.
    pub fn pause_partition(&self, partition: TopicPartition) -> Answer<()> {
        self.demand(|reply| Demand::Pause { partition: Some(partition), paused: true, reply })
    }

    /// Goes on with one partition that was paused by itself, or has stopped.
    pub fn resume_partition(&self, partition: TopicPartition) -> Answer<()> {
        self.demand(|reply| Demand::Pause { partition: Some(partition), paused: false, reply })
    }

    /// Moves partitions that it holds; returns them. The record in hand is finished, what was queued is dropped, and a
    /// new epoch of the position begins, which may commit lower offsets. An offset outside of the log is subject to
    /// `auto-offset-reset`. A partition that has stopped begins again there.
    ///
    /// ```no_run
    /// # use kafka_runtime::prelude::*;
    /// # async fn run(app: RunningApp) -> Result<(), ListenerError> {
    /// let bill = app.listeners().get("bill")?;
    /// bill.seek("orders", StartAt::Timestamp(1_700_000_000_000)).await?;
    /// bill.seek(TopicPartition::new("orders", 3), StartAt::Offset(42)).await?;
    /// # Ok(()) }
    /// ```
    pub fn seek(&self, which: impl Into<Selection>, to: StartAt) -> Answer<Vec<TopicPartition>> {
        let which = which.into();
        self.demand(|reply| Demand::Seek { which, to, reply })
    }

    /// Changes its `concurrency`: the most handlers at once, at least 1, over all of its partitions. Those in hand
    /// finish. It holds until the application ends, or it is changed again. `false`: it has not been started yet.
    #[must_use = "a listener that was never started is not changed"]
    pub fn set_concurrency(&self, most: usize) -> bool {
        self.entry.board.set_concurrency(most)
    }

    /// Which of its records were begun and are not finished: see [`RunningApp::explain`](crate::RunningApp::explain).
    #[must_use]
    pub fn explain(&self) -> Vec<OpenRecord> {
        self.entry.board.explain()
    }

    /// Commits whatever is handled and not committed, and waits for it; failures are logged as ever.
    pub async fn commit(&self) {
        self.entry.board.commit_now().await;
    }

    fn demand<T>(&self, demand: impl FnOnce(Reply<T>) -> Demand) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        // Where the application has ended, the answer says so.
        let _ = self.entry.demands.send(demand(reply));
        Answer { id: self.id, answer, of_retries: Vec::new(), failed: None }
    }

    fn demand_of_all(&self, demand: &dyn Fn(Reply<()>) -> Demand) -> Answer<()> {
        let of_retries = self.retries.iter().map(|retries| retries.demand(demand)).collect();
        Answer { of_retries, ..self.demand(demand) }
    }
}

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ListenerError>>;

/// What an order came to. It is carried out whether this is awaited or not.
#[derive(Debug)]
pub struct Answer<T> {
    id: &'static str,
    answer: oneshot::Receiver<Result<T, ListenerError>>,
    /// Those that the listeners of its retry topics have not given yet.
    of_retries: Vec<Answer<()>>,
    /// What one of those came to.
    failed: Option<ListenerError>,
}

impl<T> Future for Answer<T> {
    type Output = Result<T, ListenerError>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some(next) = self.of_retries.last_mut() {
            let answered = ready!(Pin::new(next).poll(context));
            self.of_retries.pop();
            self.failed = answered.err().or(self.failed.take());
        }
        let ended = Err(ListenerError::Ended { id: self.id });
        let answered = ready!(Pin::new(&mut self.answer).poll(context)).unwrap_or(ended);
        Poll::Ready(self.failed.take().map_or(answered, Err))
    }
}

/// Why an order came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// There is no such listener.
    #[error("there is no listener `{id}`; there are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        id: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// The application is stopping, or has ended.
    #[error("listener `{id}`: the application has ended")]
    Ended {
        /// The listener.
        id: &'static str,
    },
    /// It does not run.
    #[error("listener `{id}` does not run: start it first")]
    NotRunning {
        /// The listener.
        id: &'static str,
    },
    /// It does not hold the partition: another member does, or nobody yet.
    #[error("listener `{id}` does not hold {partition}")]
    NotHeld {
        /// The listener.
        id: &'static str,
        /// The partition.
        partition: TopicPartition,
    },
    /// The client could not do it.
    #[error("listener `{id}`: {cause}")]
    Client {
        /// The listener.
        id: &'static str,
        /// Why not.
        cause: kafka_client::Error,
    },
}
