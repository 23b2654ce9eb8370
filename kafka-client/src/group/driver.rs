//! The thin part of a membership: does what the state machine says, and tells it what came of that.
//!
//! ```text
//!   Membership ── commands ──▶ ┌────────┐ ── effects ──▶ events, identity, lease ──▶ consumer
//!   clock, pictures ─────────▶ │ driver │
//!   answers of requests ─────▶ └────────┘ ── effects ──▶ tasks: join and sync │ heartbeat │ goodbye
//! ```
//!
//! A request is a task of its own, so that a round that takes minutes never keeps a heartbeat waiting.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Leave;
use super::membership::{Effect, Input, Interest, Machine, Moment};
use super::outlets::Outlets;
use super::requests::Requests;
use crate::client::AbortOnDrop;
use crate::cluster::{Cluster, ClusterMetadata, TrackAll};
use crate::error::{Error, Result};
use crate::ids::{TopicName, TopicPartition};
use crate::seams::until;

/// How long the leader looks for topics that are not in the picture yet. Those it does not find come with another round.
const LOOK_UP: Duration = Duration::from_secs(10);

/// What the consumer asks of its membership.
#[derive(Debug)]
pub(super) enum Command {
    Leave { leave: Leave, done: oneshot::Sender<Result<()>> },
    Doubt,
}

/// What comes from the driver's own tasks.
#[derive(Debug)]
enum Message {
    Input(Input),
    Trouble(Error),
    /// The goodbye is over.
    Left(Result<()>),
}

/// The driver of one membership.
#[derive(Debug)]
struct Driver {
    machine: Machine,
    interest: Interest,
    requests: Requests,
    cluster: Arc<Cluster>,
    outlets: Outlets,
    messages: mpsc::UnboundedSender<Message>,
    tasks: Tasks,
    leaving: Option<oneshot::Sender<Result<()>>>,
}

/// What is under way. A new one ends the one before it.
#[derive(Debug, Default)]
struct Tasks {
    round: Option<AbortOnDrop>,
    beat: Option<AbortOnDrop>,
    giving_back: Option<AbortOnDrop>,
    goodbye: Option<AbortOnDrop>,
    picture: Option<AbortOnDrop>,
}

impl Driver {
    fn take(&mut self, input: Input) {
        let at = Moment { now: self.cluster.seams().clock.now(), chance: self.cluster.seams().rng.unit() };
        for effect in self.machine.handle(at, input) {
            self.perform(effect);
        }
        self.outlets.complain_of_topics(at.now);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Doubt => self.take(Input::Doubt),
            Command::Leave { leave, done } => {
                let goodbye = match leave {
                    Leave::Default => self.requests.group.instance_id.is_none(),
                    Leave::Always => true,
                    Leave::Never => false,
                };
                self.tasks = Tasks::default();
                self.leaving = Some(done);
                self.take(Input::Leave { goodbye });
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Input(input) => {
                if let Some(then) = self.requests.coordinator.take_vacancy() {
                    self.take(Input::Vacant(then));
                }
                self.take(input);
            }
            Message::Trouble(error) => self.complain(error),
            Message::Left(result) => {
                self.farewell(result);
                self.take(Input::Left);
            }
        }
    }

    /// A new picture of the cluster.
    fn see(&mut self, picture: Arc<ClusterMetadata>) {
        if let Interest::Topics(topics) = &self.interest {
            self.outlets.look_at_topics(&picture, topics, self.cluster.seams().clock.now());
        }
        self.take(Input::Picture(picture));
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Join { attempt, member_id, protocols, reason } => {
                tracing::debug!(group = %self.group(), member_id, reason, "joining");
                let requests = self.requests.clone();
                self.tasks.round = Some(self.report(async move {
                    Input::Joined { attempt, answer: requests.join(member_id, protocols, reason).await }
                }));
            }
            Effect::LookUp { attempt, topics } => self.look_up(attempt, topics),
            Effect::Sync { attempt, stamp, assignor, assignments } => {
                let requests = self.requests.clone();
                self.tasks.round = Some(self.report(async move {
                    let (sent, answer) = requests.sync(stamp, assignor, assignments).await;
                    Input::Synced { attempt, sent, answer }
                }));
            }
            Effect::Beat { stamp } => {
                let requests = self.requests.clone();
                self.tasks.beat = Some(self.report(async move {
                    let (sent, answer) = requests.beat(&stamp).await;
                    Input::Beaten { stamp, sent, answer }
                }));
            }
            Effect::Ask { stamp, assignor } => {
                let requests = self.requests.clone();
                self.tasks.beat = Some(self.report(async move {
                    let (sent, answer) = requests.ask(&stamp, assignor).await;
                    Input::Asked { stamp, sent, answer }
                }));
            }
            Effect::Goodbye { member_id } => {
                let requests = self.requests.clone();
                self.tasks.goodbye =
                    Some(self.send(async move { Message::Left(requests.goodbye(&member_id).await) }));
            }
            Effect::Identity(identity) => self.outlets.identity(identity),
            Effect::Lease(until) => self.outlets.lease.extend(until),
            Effect::LeaseEnds => self.outlets.lease.end(),
            Effect::Assigned(partitions) => self.outlets.assigned(partitions),
            Effect::Revoked { round, partitions, deadline } => self.revoke(round, partitions, deadline),
            Effect::Lost(partitions) => self.outlets.lost(partitions),
            Effect::Problem(error) => self.complain(error),
            Effect::Fatal(error) => self.outlets.fatal(error),
        }
    }

    fn revoke(&mut self, round: u64, partitions: Vec<TopicPartition>, deadline: Instant) {
        let given_back = self.outlets.revoked(partitions, deadline);
        self.tasks.giving_back = Some(self.report(async move {
            // Dropping it says the same as sending.
            let _ = given_back.await;
            Input::GivenBack { round }
        }));
    }

    /// Sees to it that the picture shows these topics, as far as it can.
    fn look_up(&mut self, attempt: u64, topics: Vec<TopicName>) {
        self.cluster.track(&topics, false);
        let cluster = Arc::clone(&self.cluster);
        let all = matches!(self.interest, Interest::Pattern(_));
        let messages = self.messages.clone();
        self.tasks.round = Some(self.report(async move {
            let missing =
                |picture: &ClusterMetadata| topics.iter().any(|topic| !picture.topics.contains_key(topic));
            let looking = async {
                for failures in 0.. {
                    if all || !missing(&cluster.snapshot()) {
                        break;
                    }
                    if cluster.refreshed().await.is_err() {
                        back_off(&cluster, failures).await;
                    }
                }
            };
            if tokio::time::timeout(LOOK_UP, looking).await.is_err() {
                tracing::warn!("the leader does not know all topics of the group yet");
            }
            let _ = messages.send(Message::Input(Input::Picture(cluster.snapshot())));
            Input::LookedUp { attempt }
        }));
    }

    /// Until there is a picture that shows all topics.
    fn wait_for_all_topics(&mut self) {
        let (cluster, messages) = (Arc::clone(&self.cluster), self.messages.clone());
        self.tasks.picture = Some(self.report(async move {
            let mut failures = 0;
            loop {
                match cluster.refreshed().await {
                    Ok(picture) => return Input::Picture(picture),
                    Err(error) => {
                        let _ = messages.send(Message::Trouble(error));
                        back_off(&cluster, failures).await;
                        failures += 1;
                    }
                }
            }
        }));
    }

    fn complain(&mut self, error: Error) {
        self.outlets.complain(error, self.cluster.seams().clock.now());
    }

    fn farewell(&mut self, result: Result<()>) {
        if let Some(done) = self.leaving.take() {
            let _ = done.send(result);
        }
    }

    /// A task whose outcome is an input.
    fn report(&self, task: impl Future<Output = Input> + Send + 'static) -> AbortOnDrop {
        self.send(async move { Message::Input(task.await) })
    }

    fn send(&self, task: impl Future<Output = Message> + Send + 'static) -> AbortOnDrop {
        let messages = self.messages.clone();
        let task = async move {
            let _ = messages.send(task.await);
        };
        AbortOnDrop(tokio::spawn(task).abort_handle())
    }

    fn group(&self) -> &str {
        &self.requests.group.group_id
    }
}

async fn back_off(cluster: &Cluster, failures: u32) {
    tokio::time::sleep(cluster.config().retry_backoff.wait(failures, cluster.seams().rng.unit())).await;
}

/// A driver that does not run yet.
#[derive(Debug)]
pub(super) struct Starting {
    driver: Driver,
    reports: mpsc::UnboundedReceiver<Message>,
}

impl Starting {
    pub(super) fn new(machine: Machine, interest: Interest, requests: Requests, outlets: Outlets) -> Self {
        let cluster = Arc::clone(requests.pool.cluster());
        let (messages, reports) = mpsc::unbounded_channel();
        let driver = Driver {
            machine,
            interest,
            requests,
            cluster,
            outlets,
            messages,
            tasks: Tasks::default(),
            leaving: None,
        };
        Self { driver, reports }
    }

    /// Runs until the member has left, has failed, or nobody has its handle any more.
    pub(super) async fn run(self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let Self { mut driver, mut reports } = self;
        let mut pictures = driver.cluster.watch();
        let _all_topics: Option<TrackAll> = match &driver.interest {
            Interest::Topics(topics) => {
                driver.cluster.track(topics, false);
                let first = pictures.borrow_and_update().clone();
                driver.see(first);
                None
            }
            Interest::Pattern(_) => {
                let guard = driver.cluster.track_all();
                driver.wait_for_all_topics();
                Some(guard)
            }
        };
        while !driver.machine.has_ended() {
            let wake = driver.machine.wakes_at();
            let whole = driver.machine.has_picture();
            // In this order, so that a run repeats exactly; the clock is looked at with every input.
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => driver.obey(command),
                    None => return,
                },
                Some(message) = reports.recv() => driver.hear(message),
                Ok(()) = pictures.changed(), if whole => {
                    let picture = pictures.borrow_and_update().clone();
                    driver.see(picture);
                }
                () = until(wake) => driver.take(Input::Wake),
            }
        }
        driver.farewell(Ok(()));
    }
}
