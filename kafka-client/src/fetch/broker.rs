//! The fetch loop of one broker: all its partitions in one session, one request under way.
//!
//! ```text
//! Command ──▶ entries ──look──▶ Session ──Delta, Reservation──▶ Link ──▶ broker
//! Signal  ──▶    ▲                                                │
//!                └──────────── deliver to slots ◀── parts ◀── answer
//!                                     │ what it cannot handle
//!                                     ▼
//!                                  Report ──▶ consumer task
//! ```
//!
//! A partition whose queue is full is left out of the session until its reader makes room. Work per turn is in
//! proportion to what changed, not to how many partitions there are. The next request leaves as soon as an answer is
//! taken apart; records are opened by those who handle them.
//!
//! A request cannot be changed once the broker holds it. Partitions that come, or move, meanwhile are asked for aside:
//! outside of the session and on another connection, until the answer comes and the next request names them. So a loop
//! outlives its last partition: after a rebalance that takes all of them away for a moment, nothing waits for a request
//! that was left behind.
//!
//! - here: what is asked, of which partitions, when
//! - `answers`: what comes back

mod answers;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::budget::{Reservation, Seat};
use super::patience::Patience;
use super::request::Terms;
use super::session::{Asked, Delta, Session};
use super::slot::{Look, Signal, Slot};
use super::{Map, Set};
use crate::config::{Backoff, FetchConfig, IsolationLevel};
use crate::error::{Error, Result};
use crate::ids::{TopicName, TopicPartition};
use crate::net::Answer;
use crate::seams::Rng;

/// How long a goodbye to a session may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a request aside may wait for data: partitions that come while it is under way wait for it.
const ASIDE: Duration = Duration::from_millis(50);

/// How a loop reaches its broker.
pub(crate) trait Link: Send + Sync + 'static {
    /// Sends a fetch and waits for its answer.
    fn fetch(&self, delta: Delta, terms: Terms)
    -> impl Future<Output = Result<Answer<FetchResponse>>> + Send;

    /// The same beside a fetch that is under way, which must not hold it up.
    fn fetch_aside(
        &self,
        delta: Delta,
        terms: Terms,
    ) -> impl Future<Output = Result<Answer<FetchResponse>>> + Send {
        self.fetch(delta, terms)
    }
}

/// What all loops of a consumer have in common.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) fetch: FetchConfig,
    pub(crate) isolation: IsolationLevel,
    pub(crate) rack: Option<String>,
    pub(crate) backoff: Backoff,
    pub(crate) rng: Arc<Rng>,
}

/// What a loop is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Fetch this partition from now on.
    Add(Entry),
    /// Do not, any more.
    Remove(TopicPartition),
    /// Not for now, or again.
    Pause(TopicPartition, bool),
}

/// A partition as its loop knows it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) slot: Arc<Slot>,
    /// Names this placement in reports.
    pub(crate) turn: u64,
    /// The position's epoch when it was placed. In another one it is not this placement's any more.
    pub(crate) epoch: u64,
    pub(crate) topic_id: u128,
    pub(crate) leader_epoch: i32,
    pub(crate) paused: bool,
}

/// What a loop cannot handle. But for [`Report::Unreachable`], it has given the partition back with it.
#[derive(Debug)]
pub(crate) enum Report {
    /// The broker refused this partition.
    Refused { partition: TopicPartition, turn: u64, code: ResponseError, asked: i64 },
    /// The leader sends us to this follower.
    Redirected { partition: TopicPartition, turn: u64, to: i32 },
    /// It cannot be read on. Without an error the reader meets it in the last chunk.
    Broken { partition: TopicPartition, turn: u64, error: Option<Error> },
    /// The broker could not be asked; it is tried again.
    Unreachable { broker: i32, error: Error },
}

/// One broker's loop.
#[derive(Debug)]
pub(crate) struct BrokerLoop<L> {
    broker: i32,
    link: Arc<L>,
    settings: Arc<Settings>,
    seat: Seat,
    commands: mpsc::UnboundedReceiver<Command>,
    reports: mpsc::UnboundedSender<Report>,
    signal: Arc<Signal>,
    entries: Map<TopicPartition, Entry>,
    /// Partitions that are left out because their queues are full.
    full: Set<TopicPartition>,
    /// Topics by their ids; under 0, if there are topics without one.
    names: Map<u128, TopicName>,
    session: Session,
    patience: Patience,
    failures: u32,
}

/// A request about to be sent.
struct Sending {
    delta: Delta,
    terms: Terms,
    reservation: Reservation,
    /// What was asked outside of the session; `None` for a request of the session.
    outside: Option<Map<TopicPartition, Asked>>,
}

/// What a request aside brought, and what it asked; `None` where it failed, which was only to be quicker.
type Aside = Option<(Answer<FetchResponse>, Reservation, Map<TopicPartition, Asked>)>;

/// What a loop does next.
enum Next {
    Send(Box<Sending>),
    /// Nothing to ask for.
    Idle,
    /// No credit, and nobody starves.
    Broke,
}

/// Who waits for more than a byte wants what there is after that time.
fn patience(settings: &Settings) -> Patience {
    Patience::new(settings.fetch.max_wait, settings.fetch.min_bytes <= 1 && settings.rack.is_none())
}

impl<L: Link> BrokerLoop<L> {
    pub(crate) fn new(
        broker: i32,
        link: L,
        settings: Arc<Settings>,
        seat: Seat,
        commands: mpsc::UnboundedReceiver<Command>,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Self {
        let patience = patience(&settings);
        Self {
            broker,
            link: Arc::new(link),
            settings,
            seat,
            commands,
            reports,
            signal: Arc::default(),
            entries: Map::default(),
            full: Set::default(),
            names: Map::default(),
            session: Session::default(),
            patience,
            failures: 0,
        }
    }

    /// Runs until nobody can tell it anything any more.
    pub(crate) async fn run(mut self) {
        while self.turn().await.is_some() {}
        self.say_goodbye();
    }

    /// The broker drops the session by itself in the end; this only makes room earlier, and nobody waits for it.
    fn say_goodbye(&mut self) {
        let Some(delta) = self.session.farewell() else { return };
        self.session.gone();
        let (link, terms) = (Arc::clone(&self.link), self.terms(Duration::ZERO, 0));
        tokio::spawn(async move { drop(timeout(FAREWELL, link.fetch(delta, terms)).await) });
    }

    /// One request, or one wait; `None` at the end.
    async fn turn(&mut self) -> Option<()> {
        let budget = Arc::clone(self.seat.budget());
        // Listening starts before looking, so that no return of credit falls in between.
        let mut freed = pin!(budget.freed());
        freed.as_mut().enable();
        self.take_commands()?;
        self.readers_made_room();
        self.rest_or_not();
        match self.next() {
            Next::Send(sending) => self.send(*sending).await,
            Next::Idle => tokio::select! {
                biased;
                command = self.commands.recv() => self.obey(command?),
                () = self.signal.told() => Some(()),
            },
            Next::Broke => tokio::select! {
                biased;
                command = self.commands.recv() => self.obey(command?),
                () = self.signal.told() => Some(()),
                () = freed => Some(()),
            },
        }
    }

    /// Without partitions it has no session and no share of the budget.
    fn rest_or_not(&mut self) {
        let rests = self.entries.is_empty();
        self.seat.take(!rests);
        if rests {
            self.say_goodbye();
            self.names.clear();
            self.patience = patience(&self.settings);
            self.failures = 0;
        }
    }

    fn readers_made_room(&mut self) {
        for partition in self.signal.take() {
            self.revisit(partition);
        }
    }

    fn take_commands(&mut self) -> Option<()> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command)?,
                Err(mpsc::error::TryRecvError::Empty) => return Some(()),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
            }
        }
    }

    fn obey(&mut self, command: Command) -> Option<()> {
        match command {
            Command::Add(entry) => {
                let partition = entry.slot.partition();
                self.names.insert(entry.topic_id, partition.topic);
                self.entries.insert(partition, entry);
                self.revisit(partition);
            }
            Command::Remove(partition) => self.give_up(partition),
            Command::Pause(partition, paused) => {
                if let Some(entry) = self.entries.get_mut(&partition) {
                    entry.paused = paused;
                    self.revisit(partition);
                }
            }
        }
        Some(())
    }

    fn give_up(&mut self, partition: TopicPartition) {
        self.entries.remove(&partition);
        self.full.remove(&partition);
        self.session.leave(partition);
    }

    /// Asks for the partition from its position on, or leaves it out.
    fn revisit(&mut self, partition: TopicPartition) {
        let Some(entry) = self.entries.get(&partition) else { return };
        match entry.slot.look(&self.signal) {
            Look::Over => return self.give_up(partition),
            Look::Full => {
                self.full.insert(partition);
                self.session.leave(partition);
                return;
            }
            Look::Room { position, epoch } if epoch == entry.epoch && !entry.paused => {
                let asked = Asked {
                    topic_id: entry.topic_id,
                    offset: position.offset,
                    leader_epoch: entry.leader_epoch,
                    max_bytes: self.settings.fetch.max_partition_bytes,
                    turn: entry.turn,
                };
                self.session.want(partition, asked);
            }
            Look::Room { .. } => self.session.leave(partition),
        }
        if self.full.remove(&partition) {
            self.patience.shorten();
        }
    }

    fn next(&mut self) -> Next {
        if self.session.is_empty() {
            return Next::Idle;
        }
        let per_partition = usize::try_from(self.settings.fetch.max_partition_bytes).unwrap_or(0);
        let wish = self.session.len().saturating_mul(per_partition);
        let limit = usize::try_from(self.settings.fetch.max_bytes).unwrap_or(0);
        match self.seat.reserve(wish.min(limit)) {
            Some(reservation) => {
                let wait = self.patience.wait(!self.full.is_empty());
                let terms = self.terms(wait, reservation.bytes());
                let delta = self.session.next_delta();
                Next::Send(Box::new(Sending { delta, terms, reservation, outside: None }))
            }
            None => self.next_for_the_starving(per_partition, limit),
        }
    }

    /// Without credit, partitions that hold none of it go on all the same, in small steps: it is not they who
    /// used it up, and a partition never waits for another one's handler. The session stays as it is.
    fn next_for_the_starving(&mut self, per_partition: usize, limit: usize) -> Next {
        let share = self.seat.budget().emergency_share(self.entries.len()).clamp(1, per_partition.max(1));
        let max_bytes = i32::try_from(share).unwrap_or(i32::MAX);
        let starving: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.slot.is_starving())
            .filter_map(|(partition, _)| {
                Some((*partition, Asked { max_bytes, ..self.session.wanted(*partition)? }))
            })
            .collect();
        if starving.is_empty() {
            return Next::Broke;
        }
        let wait = self.patience.wait(true);
        let terms = self.terms(wait, starving.len().saturating_mul(share).min(limit));
        let outside = starving.iter().copied().collect();
        let delta = Session::outside(starving);
        Next::Send(Box::new(Sending {
            delta,
            terms,
            reservation: self.seat.overdraw(),
            outside: Some(outside),
        }))
    }

    fn terms(&self, wait: Duration, max_bytes: usize) -> Terms {
        let rack = self.settings.rack.clone().unwrap_or_default();
        Terms {
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.settings.fetch.min_bytes,
            max_bytes: i32::try_from(max_bytes).unwrap_or(i32::MAX),
            isolation: self.settings.isolation,
            rack: StrBytes::from_string(rack),
            by_name: self.names.contains_key(&0),
        }
    }

    async fn send(&mut self, sending: Sending) -> Option<()> {
        let Sending { delta, terms, reservation, outside } = sending;
        let link = Arc::clone(&self.link);
        // What comes while the starving are fed is asked for at once afterwards.
        let may_wait = outside.is_none() && u128::from(terms.max_wait_ms.unsigned_abs()) > ASIDE.as_millis();
        let mut answer = pin!(link.fetch(delta, terms));
        let mut aside = JoinSet::new();
        let answer = loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => {
                    self.obey(command?)?;
                    self.take_commands()?;
                }
                answer = &mut answer => break answer,
                Some(told) = aside.join_next() => {
                    if let Ok(Some((answer, reservation, outside))) = told {
                        self.take_apart(answer, reservation, Some(&outside));
                    }
                }
                () = self.signal.told(), if may_wait => self.readers_made_room(),
            }
            if may_wait && aside.is_empty() {
                self.ask_aside(&mut aside);
            }
        };
        match answer {
            Ok(answer) => self.answered(answer, reservation, outside).await,
            Err(error) => {
                drop(reservation);
                self.failed(error).await
            }
        }
    }

    /// Asks for what the request under way does not name.
    fn ask_aside(&self, aside: &mut JoinSet<Aside>) {
        let news = self.session.news();
        let per_partition = usize::try_from(self.settings.fetch.max_partition_bytes).unwrap_or(0);
        let Some(reservation) =
            (!news.is_empty()).then(|| self.seat.reserve(news.len().saturating_mul(per_partition))).flatten()
        else {
            return;
        };
        let terms = self.terms(ASIDE, reservation.bytes());
        let outside = news.iter().copied().collect();
        let link = Arc::clone(&self.link);
        aside.spawn(async move {
            let answer = link.fetch_aside(Session::outside(news), terms).await;
            if let Ok(answer) = answer
                && answer.body.error_code == 0
            {
                return Some((answer, reservation, outside));
            }
            drop(reservation);
            // It is asked again, not at once.
            sleep(ASIDE).await;
            None
        });
    }
}

#[cfg(test)]
mod tests;
