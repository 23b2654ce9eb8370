//! One listener over its lives: started, stopped and steered at run time.
//!
//! ```text
//!   Listeners ──Demand──▶ crew ──▶ life: preparation, then members ──▶ Member (container)
//!   application's stop ─────▶                                      ◀── Order, stop
//! ```

use std::sync::Arc;
use std::time::Duration;

use kafka_client::config::StartAt;
use kafka_client::seams::Rng;
use kafka_client::{Client, TopicPartition};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::failing::{Failing, bug};
use super::listeners::{ListenerError, Reply};
use super::prepare::{Binding, Prepared, prepare};
use crate::config::ListenerSettings;
use crate::container::{
    Board, Check, CommitHook, CommitPolicy, EventKind, Events, Idleness, ListenerOutlet, ListenerState,
    ListenerWork, Member, Order, Publisher, Rest, Selection, Sought, Transactions,
};
use crate::listener::ListenerDescriptor;
use crate::template::Template;

/// How often idleness is looked at, where an interval for its event is set; and however short that is.
const WATCH_EVERY: Duration = Duration::from_secs(1);
const OFTEN_ENOUGH: Duration = Duration::from_millis(50);

/// What is wanted of a listener.
#[derive(Debug)]
pub(super) enum Demand {
    Start(Reply<()>),
    Stop(Reply<()>),
    Pause { partition: Option<TopicPartition>, paused: bool, reply: Reply<()> },
    Seek { which: Selection, to: StartAt, reply: Reply<Vec<TopicPartition>> },
}

/// A listener with all that it needs.
pub(super) struct Crew {
    pub(super) descriptor: ListenerDescriptor,
    pub(super) settings: ListenerSettings,
    pub(super) board: Arc<Board>,
    pub(super) hook: Option<CommitHook>,
    pub(super) events: Events,
    /// When the application stops.
    pub(super) stop: watch::Receiver<Option<Instant>>,
    pub(super) demands: mpsc::UnboundedReceiver<Demand>,
    /// Where its failures are heard: id and cause.
    pub(super) failures: mpsc::UnboundedSender<(&'static str, String)>,
    /// What writes its dead letters.
    pub(super) publisher: Arc<Publisher>,
    /// What sends on what its handler returns, and what its transactions send with.
    pub(super) template: Template,
    /// One for each member.
    pub(super) clients: Vec<Client>,
    /// Until the first life.
    pub(super) binding: Option<Binding>,
    /// From the first life on.
    pub(super) work: Option<Arc<ListenerWork>>,
    /// Whether what its handlers need is there, where it pauses for that.
    pub(super) check: Option<Check>,
    pub(super) rng: Arc<Rng>,
}

/// What a crew does next.
enum Next {
    Live(Option<Reply<()>>),
    Rest,
    End,
}

/// Why a life ended.
enum Cause {
    Failed(String),
    Stopped(Option<Reply<()>>),
    Restarted(Reply<()>),
    Application,
}

/// From a start to a stop.
struct Life {
    preparing: JoinSet<Prepared>,
    members: JoinSet<kafka_client::Result<()>>,
    /// Who asks the check.
    asking: JoinSet<()>,
    orders: Vec<mpsc::UnboundedSender<Order>>,
    stop: watch::Sender<Option<Instant>>,
    /// Who waits for its beginning.
    starter: Option<Reply<()>>,
    idleness: Idleness,
}

impl Crew {
    /// Runs until the application stops. A bug of this library is a failure of the listener like others.
    pub(super) async fn run(self) {
        self.failing().watch(self.work_on()).await;
    }

    async fn work_on(mut self) {
        let mut next = if self.settings.auto_startup { Next::Live(None) } else { Next::Rest };
        loop {
            next = match next {
                Next::Live(starter) => self.live(starter).await,
                Next::Rest => self.rest().await,
                Next::End => return,
            };
        }
    }

    fn id(&self) -> &'static str {
        self.descriptor.id
    }

    fn tell(&self, kind: impl FnOnce() -> EventKind) {
        self.events.emit(self.id(), kind);
    }

    /// Between two lives.
    async fn rest(&mut self) -> Next {
        loop {
            let demand = tokio::select! {
                biased;
                _ = self.stop.wait_for(Option::is_some) => return Next::End,
                demand = self.demands.recv() => demand,
            };
            match demand {
                None => return Next::End,
                Some(Demand::Start(reply)) => return Next::Live(Some(reply)),
                Some(Demand::Stop(reply)) => _ = reply.send(Ok(())),
                Some(Demand::Seek { reply, .. }) => {
                    let _ = reply.send(Err(ListenerError::NotRunning { id: self.id() }));
                }
                Some(demand) => self.steer(demand, &[]),
            }
        }
    }

    async fn live(&mut self, starter: Option<Reply<()>>) -> Next {
        self.board.begin();
        self.tell(|| EventKind::Started);
        let mut preparing = JoinSet::new();
        let late = self.binding.as_ref().and_then(Binding::late);
        preparing.spawn(prepare(
            self.id(),
            self.settings.clone(),
            self.clients.clone(),
            Arc::clone(&self.board),
            Arc::clone(&self.publisher),
            late,
        ));
        let mut life = Life {
            preparing,
            members: JoinSet::new(),
            asking: JoinSet::new(),
            orders: Vec::new(),
            stop: watch::Sender::new(None),
            starter,
            idleness: Idleness::new(Instant::now()),
        };
        let cause = self.watch_over(&mut life).await;
        self.wind_up(life).await;
        match cause {
            Cause::Failed(cause) => {
                self.failing().fail(cause);
                Next::Rest
            }
            Cause::Restarted(reply) => Next::Live(Some(reply)),
            Cause::Stopped(reply) => {
                self.stopped();
                // Whoever asked may not wait for it.
                let _ = reply.map(|reply| reply.send(Ok(())));
                Next::Rest
            }
            Cause::Application => {
                self.stopped();
                Next::End
            }
        }
    }

    fn stopped(&self) {
        self.board.set_state(ListenerState::Stopped);
        info!(listener = self.id(), "stopped");
        self.tell(|| EventKind::Stopped);
    }

    fn failing(&self) -> Failing {
        let (id, board) = (self.id(), Arc::clone(&self.board));
        Failing { id, board, events: self.events.clone(), failures: self.failures.clone() }
    }

    /// Until something ends the life.
    async fn watch_over(&mut self, life: &mut Life) -> Cause {
        let interval = self.settings.idle_event_interval;
        let mut ticks =
            tokio::time::interval(interval.unwrap_or(WATCH_EVERY).clamp(OFTEN_ENOUGH, WATCH_EVERY));
        let (mut stop, mut failure) = (self.stop.clone(), None);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(Option::is_some) => return Cause::Application,
                demand = self.demands.recv() => match demand {
                    None => return Cause::Application,
                    Some(Demand::Stop(reply)) => return Cause::Stopped(Some(reply)),
                    // Some of its members have failed: all begin again.
                    Some(Demand::Start(reply)) if self.board.state() != ListenerState::Running => {
                        return Cause::Restarted(reply);
                    }
                    Some(demand) => self.steer(demand, &life.orders),
                },
                Some(prepared) = life.preparing.join_next() => {
                    let ready = match prepared {
                        Ok(ready) => ready,
                        Err(ended) => return Cause::Failed(bug(&ended)),
                    };
                    let begun = self.begin(life, &ready);
                    if let Some(starter) = life.starter.take() {
                        let id = self.id();
                        let told = begun.clone().map_err(|cause| ListenerError::Client { id, cause });
                        let _ = starter.send(told);
                    }
                    if let Err(error) = begun {
                        return Cause::Failed(error.to_string());
                    }
                }
                Some(ended) = life.members.join_next() => {
                    let ended = ended.map_err(|ended| bug(&ended));
                    let cause = ended.and_then(|ended| ended.map_err(|error| error.to_string())).err();
                    failure = failure.or(cause);
                    if life.members.is_empty() {
                        return failure.map_or(Cause::Stopped(None), Cause::Failed);
                    }
                }
                now = ticks.tick(), if interval.is_some() => self.look_for_idleness(&mut life.idleness, now),
            }
        }
    }

    /// Starts the members.
    fn begin(&mut self, life: &mut Life, ready: &Prepared) -> kafka_client::Result<()> {
        let work = self.work(ready);
        if let (Some(flow), Some(check)) = (&work.flow, &self.check) {
            let (flow, check, events, id) = (Arc::clone(flow), check.clone(), self.events.clone(), self.id());
            life.asking.spawn(async move {
                if let Some(downstream) = flow.downstream() {
                    downstream.watch(id, check, events).await;
                }
            });
        }
        for (index, client) in self.clients.iter().enumerate() {
            let commits = match work.transactions {
                // The transactions commit.
                Some(_) => None,
                None => CommitPolicy::new(&work.settings, Some(self.commit_hook()), Arc::clone(&self.rng)),
            };
            let consumer = client.consumer(ready.settings.for_member(index).1)?;
            let (orders, ordered) = mpsc::unbounded_channel();
            life.orders.push(orders);
            let (work, board, stop) = (Arc::clone(&work), Arc::clone(&self.board), life.stop.subscribe());
            life.members.spawn(Member::new(consumer, work, board, commits, stop, ordered).run());
        }
        Ok(())
    }

    /// Tells subscribers of commits, and the application's own callback.
    fn commit_hook(&self) -> CommitHook {
        let (id, events, hook) = (self.id(), self.events.clone(), self.hook.clone());
        Arc::new(move |event| {
            events.emit(id, || EventKind::Committed(event.clone()));
            if let Some(hook) = &hook {
                hook(event);
            }
        })
    }

    /// The same over all lives: a handler is bound once.
    fn work(&mut self, ready: &Prepared) -> Arc<ListenerWork> {
        if let (None, Some(binding)) = (&self.work, self.binding.take()) {
            let bound = binding.bind(&self.descriptor, ready);
            let publisher = Arc::clone(&self.publisher);
            let outlet = Arc::new(ListenerOutlet { publisher, source: self.clients.first().cloned() });
            let (settings, rng) = (ready.settings.clone(), Arc::clone(&self.rng));
            let work = ListenerWork::new(self.id(), settings, bound, rng, outlet);
            let work = work.telling(self.events.clone()).forwarding(&self.template);
            let work = Arc::new(match work.settings.transactional {
                true => work.in_transactions(Transactions {
                    template: self.template.clone(),
                    hook: self.commit_hook(),
                }),
                false => work,
            });
            self.board.set_work(&work);
            self.work = Some(work);
        }
        match &self.work {
            Some(work) => Arc::clone(work),
            None => unreachable!("bound above, once"),
        }
    }

    /// Stops the members: within the application's time if that stops, or within the listener's own.
    async fn wind_up(&self, mut life: Life) {
        life.preparing.abort_all();
        let asked = *self.stop.borrow();
        let deadline = asked.unwrap_or_else(|| Instant::now() + self.settings.shutdown_timeout);
        life.stop.send_replace(Some(deadline));
        let ended = async { while life.members.join_next().await.is_some() {} };
        if timeout_at(deadline, ended).await.is_err() {
            warn!(listener = self.id(), "it did not stop in time: handlers in hand are cut off");
            life.members.abort_all();
        }
    }

    fn steer(&self, demand: Demand, members: &[mpsc::UnboundedSender<Order>]) {
        match demand {
            Demand::Pause { partition, paused, reply } => {
                self.board.pauses.set(partition, paused);
                let which = partition.map_or(Selection::All, Selection::Partition);
                let applied = members.iter().map(|member| {
                    let (done, applied) = oneshot::channel();
                    // One that has ended has nothing left to steer.
                    let _ = member.send(Order::Pauses(done));
                    if !paused {
                        let _ = member.send(Order::Restart(which));
                    }
                    applied
                });
                let applied: Vec<_> = applied.collect();
                self.tell(
                    || if paused { EventKind::Paused(partition) } else { EventKind::Resumed(partition) },
                );
                tokio::spawn(async move {
                    for one in applied {
                        let _ = one.await;
                    }
                    let _ = reply.send(Ok(()));
                });
            }
            Demand::Seek { which, to, reply } => {
                let asked = members.iter().map(|member| {
                    let (told, sought) = oneshot::channel();
                    let _ = member.send(Order::Seek { which, to, reply: told });
                    sought
                });
                tokio::spawn(collect(self.id(), which, asked.collect(), reply));
            }
            Demand::Start(reply) | Demand::Stop(reply) => _ = reply.send(Ok(())),
        }
    }

    fn look_for_idleness(&self, idleness: &mut Idleness, now: Instant) {
        let Some(interval) = self.settings.idle_event_interval else { return };
        let counts = self.board.counts();
        let tries = counts.handled + counts.failed + counts.skipped + counts.filtered;
        match idleness.look(tries, !self.board.is_resting(), now, interval) {
            Some(Rest::Idle(since)) => self.tell(|| EventKind::Idle { partition: None, since }),
            Some(Rest::Over) => self.tell(|| EventKind::NoLongerIdle { partition: None }),
            None => {}
        }
    }
}

/// What all members say of a seek.
async fn collect(
    id: &'static str,
    which: Selection,
    asked: Vec<oneshot::Receiver<Sought>>,
    reply: Reply<Vec<TopicPartition>>,
) {
    let mut moved = Vec::new();
    let mut failure = None;
    for sought in asked {
        // A member that ended meanwhile holds nothing.
        for (partition, result) in sought.await.unwrap_or_default() {
            match result {
                Ok(()) => moved.push(partition),
                Err(cause) => failure = Some(ListenerError::Client { id, cause }),
            }
        }
    }
    let failure = failure.or(match which {
        Selection::Partition(partition) if moved.is_empty() => Some(ListenerError::NotHeld { id, partition }),
        _ => None,
    });
    moved.sort_unstable();
    let _ = reply.send(failure.map_or(Ok(moved), Err));
}
