//! The task of a consumer: one loop over all that can happen, one round for each thing that did.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::commit::{CommitJob, Committer, Holding};
use super::loops::Loops;
use super::outbox::Outbox;
use super::partitions::{Held, Released};
use super::start::{Baseline, Committed, starts};
use super::{ConsumerEvent, ConsumerHandle, PartitionStream, commit, metadata};
use crate::client::ClientContext;
use crate::cluster::{Cluster, ClusterMetadata, TrackAll};
use crate::config::{ConsumerConfig, StartAt, Subscription};
use crate::error::{At, Error, Result};
use crate::fetch::Map;
use crate::fetch::broker::{Report, Settings};
use crate::fetch::leader::{Doubted, Sought, Told};
use crate::fetch::slot::Position;
use crate::group::{Coordinator, GroupEvent, Lease, Leave, Membership};
use crate::ids::{TopicName, TopicPartition};
use crate::net::Pool;
use crate::seams::until;
use crate::watch;

/// What a handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    Pause(Vec<TopicPartition>, bool),
    Seek {
        partition: TopicPartition,
        to: StartAt,
        reply: oneshot::Sender<Result<u64>>,
    },
    Restart {
        partition: TopicPartition,
        at: StartAt,
        reply: oneshot::Sender<Result<u64>>,
    },
    Shutdown,
    Close {
        leave: Leave,
        deadline: Duration,
        reply: oneshot::Sender<Result<()>>,
    },
    /// A commit was refused with a code that the membership should know of.
    CommitRefused(ResponseError),
}

/// What was done beside the task.
#[derive(Debug)]
pub(super) enum Done {
    Baseline(Result<Arc<ClusterMetadata>>),
    Committed { partitions: Vec<TopicPartition>, turn: u64, answer: Committed },
    Listed { sought: Vec<Sought>, turns: Map<TopicPartition, u64>, told: Result<Vec<Told>> },
    Validated { doubted: Vec<Doubted>, turns: Map<TopicPartition, u64>, told: Result<Vec<Told>> },
    Ends(Vec<Told>),
    Saved { starts: Vec<(TopicPartition, Position)>, turn: u64, results: Vec<(TopicPartition, Result<()>)> },
}

/// How far a consumer has got.
#[derive(Debug)]
pub(super) enum Stage {
    Running,
    /// Shut down: what was held is given back. Ends with `close` or a drop.
    Draining,
    /// Over.
    Ended,
}

/// What does not change.
#[derive(Debug)]
pub(super) struct Env {
    pub(super) config: ConsumerConfig,
    pub(super) cluster: Arc<Cluster>,
    pub(super) pool: Arc<Pool>,
    pub(super) coordinator: Option<Arc<Coordinator>>,
    /// Where directly assigned partitions start.
    pub(super) starts: Map<TopicPartition, StartAt>,
    _all_topics: Option<TrackAll>,
}

/// The task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) env: Env,
    pub(super) stage: Stage,
    pub(super) partitions: Map<TopicPartition, Held>,
    pub(super) holding: Arc<Holding>,
    pub(super) baseline: Baseline,
    /// Partitions that wait for the baseline.
    pub(super) before_baseline: Vec<TopicPartition>,
    pub(super) loops: Loops,
    pub(super) outbox: Outbox,
    pub(super) commits: mpsc::UnboundedSender<CommitJob>,
    /// How far commit requests are.
    pub(super) committing: watch::Receiver<commit::Requests>,
    pub(super) jobs: JoinSet<Done>,
    pub(super) releases: JoinSet<Released>,
    /// Revocations of the group that wait for the end.
    pub(super) group_waits: Vec<oneshot::Sender<()>>,
    /// Partitions to be looked at in this round.
    pub(super) touched: Vec<TopicPartition>,
    pub(super) to_announce: Vec<PartitionStream>,
    /// When partitions are to be looked at again.
    pub(super) wakes: BTreeSet<(Instant, TopicPartition)>,
    /// When the ends of logs are looked at again.
    pub(super) ends_due: Instant,
    membership: Option<Membership>,
    turns: u64,
}

/// What reaches a task from outside.
struct Inbox {
    commands: mpsc::UnboundedReceiver<Command>,
    reports: mpsc::UnboundedReceiver<Report>,
    pictures: watch::Receiver<Arc<ClusterMetadata>>,
    alive: oneshot::Receiver<()>,
}

/// What a user's consumer is made of.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) events: mpsc::UnboundedReceiver<ConsumerEvent>,
    pub(super) handle: ConsumerHandle,
    pub(super) alive: oneshot::Sender<()>,
}

/// Starts a consumer on the current runtime.
pub(super) fn start(context: &ClientContext, config: ConsumerConfig) -> Running {
    let cluster = Arc::clone(&context.cluster);
    let pool = context.pool();
    let all_topics = track(&cluster, &config);
    let coordinator =
        config.group.as_ref().map(|group| Arc::new(Coordinator::new(Arc::clone(&pool), &group.group_id)));
    let membership = membership(&config, &pool, coordinator.as_ref());
    let lease = membership.as_ref().map_or_else(Lease::forever, |membership| Arc::clone(&membership.lease));
    let holding = Arc::new(Holding::default());
    let (commands, command_inbox) = mpsc::unbounded_channel();
    let (commits, commit_inbox) = mpsc::unbounded_channel();
    let (events, event_outbox) = mpsc::unbounded_channel();
    let (reports, report_inbox) = mpsc::unbounded_channel();
    let (alive, still_alive) = oneshot::channel();

    let committer = coordinator.as_ref().zip(config.group.as_ref()).map(|(coordinator, group)| Committer {
        group: group.group_id.clone(),
        instance_id: group.instance_id.clone().filter(|_| membership.is_some()),
        coordinator: Arc::clone(coordinator),
        identity: membership.as_ref().map(|membership| membership.identity.clone()),
        holding: Arc::clone(&holding),
        task: commands.downgrade(),
        cluster: Arc::clone(&cluster),
    });
    let who = committer.as_ref().map(|committer| {
        Arc::new(metadata::Membership {
            group: committer.group.clone(),
            instance_id: committer.instance_id.clone(),
            identity: committer.identity.clone(),
            holding: Arc::clone(&holding),
            lease: Arc::clone(&lease),
        })
    });
    let (requests, committing) = watch::channel(commit::Requests::default());
    tokio::spawn(commit::run(committer, commit_inbox, requests));

    let patience = cluster.config().request_timeout;
    let loops = Loops::new(Arc::clone(&pool), settings(&cluster, &config), patience, reports);
    let inbox = Inbox {
        commands: command_inbox,
        reports: report_inbox,
        pictures: cluster.watch(),
        alive: still_alive,
    };
    let starts = starts(&config.subscription);
    let ends_due = cluster.seams().clock.now();
    let task = Task {
        env: Env { config, cluster, pool, coordinator, starts, _all_topics: all_topics },
        stage: Stage::Running,
        partitions: Map::default(),
        holding: Arc::clone(&holding),
        baseline: Baseline::default(),
        before_baseline: Vec::new(),
        loops,
        outbox: Outbox::new(events),
        commits: commits.clone(),
        committing,
        jobs: JoinSet::new(),
        releases: JoinSet::new(),
        group_waits: Vec::new(),
        touched: Vec::new(),
        to_announce: Vec::new(),
        wakes: BTreeSet::new(),
        ends_due,
        membership,
        turns: 0,
    };
    tokio::spawn(task.run(inbox));
    Running {
        events: event_outbox,
        handle: ConsumerHandle { commands, commits, holding, lease, membership: who },
        alive,
    }
}

/// What the fetch loops need to know.
fn settings(cluster: &Cluster, config: &ConsumerConfig) -> Settings {
    Settings {
        fetch: config.fetch.clone(),
        isolation: config.isolation,
        rack: cluster.config().rack.clone(),
        backoff: cluster.config().retry_backoff,
        rng: Arc::clone(&cluster.seams().rng),
    }
}

/// Makes the subscription's topics part of the cluster's picture.
fn track(cluster: &Arc<Cluster>, config: &ConsumerConfig) -> Option<TrackAll> {
    let create = config.allow_auto_create_topics;
    match &config.subscription {
        Subscription::Pattern(_) => Some(cluster.track_all()),
        Subscription::Topics(topics) => {
            let topics: Vec<_> = topics.iter().map(|topic| TopicName::new(topic)).collect();
            cluster.track(&topics, create);
            None
        }
        Subscription::Partitions(partitions) => {
            let mut topics: Vec<_> = partitions.iter().map(|(partition, _)| partition.topic).collect();
            topics.sort_unstable();
            topics.dedup();
            cluster.track(&topics, create);
            None
        }
    }
}

/// The membership, unless partitions are assigned directly.
fn membership(
    config: &ConsumerConfig,
    pool: &Arc<Pool>,
    coordinator: Option<&Arc<Coordinator>>,
) -> Option<Membership> {
    let (group, coordinator) = config.group.as_ref().zip(coordinator)?;
    match &config.subscription {
        Subscription::Partitions(_) => None,
        subscription @ (Subscription::Topics(_) | Subscription::Pattern(_)) => Some(Membership::start(
            group.clone(),
            subscription.clone(),
            Arc::clone(pool),
            Arc::clone(coordinator),
        )),
    }
}

/// What happened.
enum Happening {
    Command(Command),
    Group(Option<GroupEvent>),
    Report(Report),
    Done(Done),
    Released(Released),
    Picture,
    Wake,
    EndsAreDue,
    /// The consumer was dropped.
    Dropped,
}

impl Task {
    async fn run(mut self, mut inbox: Inbox) {
        self.ask_baseline();
        let direct: Vec<_> = match &self.env.config.subscription {
            Subscription::Partitions(partitions) => {
                partitions.iter().map(|(partition, _)| *partition).collect()
            }
            Subscription::Topics(_) | Subscription::Pattern(_) => Vec::new(),
        };
        self.take_on(&direct);
        while !matches!(self.stage, Stage::Ended) {
            let happening = self.next(&mut inbox).await;
            self.handle(happening).await;
            self.drive();
            self.flush_announcements();
        }
        // Streams end with the task, whoever still holds one.
        for held in self.partitions.values() {
            held.slot.end();
        }
        self.holding.clear();
    }

    async fn next(&mut self, inbox: &mut Inbox) -> Happening {
        let wake = self.wakes.first().map(|(moment, _)| *moment);
        let group = async {
            match &mut self.membership {
                Some(membership) => membership.events.recv().await,
                None => std::future::pending().await,
            }
        };
        // In this order: what takes partitions away comes before what they bring.
        tokio::select! {
            biased;
            _ = &mut inbox.alive => Happening::Dropped,
            event = group => Happening::Group(event),
            Some(command) = inbox.commands.recv() => Happening::Command(command),
            Some(Ok(released)) = self.releases.join_next() => Happening::Released(released),
            Some(Ok(done)) = self.jobs.join_next() => Happening::Done(done),
            Some(report) = inbox.reports.recv() => Happening::Report(report),
            Ok(()) = inbox.pictures.changed() => Happening::Picture,
            () = until(wake) => Happening::Wake,
            () = tokio::time::sleep_until(self.ends_due) => Happening::EndsAreDue,
        }
    }

    async fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Dropped => self.stage = Stage::Ended,
            Happening::Group(Some(event)) => self.group_event(event),
            Happening::Group(None) => self.membership = None,
            Happening::Command(Command::Close { leave, deadline, reply }) => {
                let gone = self.close(leave, deadline).await;
                let _ = reply.send(gone);
            }
            Happening::Command(command) => self.command(command),
            Happening::Released(released) => self.released(released),
            Happening::Done(done) => self.done(done),
            Happening::Report(report) => self.reported(report),
            Happening::Picture => self.pictured(),
            Happening::Wake => self.woken(),
            Happening::EndsAreDue => self.ask_ends(),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Pause(partitions, paused) => self.pause(&partitions, paused),
            Command::Seek { partition, to, reply } => self.seek(partition, to, reply),
            Command::Restart { partition, at, reply } => self.restart(partition, at, reply),
            Command::Shutdown => self.shut_down(),
            Command::CommitRefused(code) => {
                if let Some(membership) = &self.membership {
                    membership.commit_refused(code);
                }
            }
            Command::Close { .. } => {}
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Baseline(picture) => self.baseline(picture),
            Done::Committed { partitions, turn, answer } => self.committed(partitions, turn, &answer),
            Done::Listed { sought, turns, told } => self.listed(sought, &turns, told),
            Done::Validated { doubted, turns, told } => self.validated(doubted, &turns, told),
            Done::Ends(told) => self.ends(told),
            Done::Saved { starts, turn, results } => self.saved(&starts, turn, results),
        }
    }

    fn group_event(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::Assigned(partitions) => self.take_on(&partitions),
            GroupEvent::Revoked { partitions, deadline, done } => {
                self.give_back(&partitions, deadline, Some(done));
            }
            GroupEvent::Lost(partitions) => self.lose(&partitions),
            GroupEvent::Problem(error) => self.problem(error),
            GroupEvent::Fatal(error) => {
                let all = self.all();
                self.lose(&all);
                self.outbox.send(ConsumerEvent::Fatal(error));
                self.stage = Stage::Ended;
            }
        }
    }

    /// Stops everything and goes.
    async fn close(&mut self, leave: Leave, deadline: Duration) -> Result<()> {
        self.stage = Stage::Ended;
        for held in self.partitions.values() {
            held.slot.end();
        }
        self.loops.clear();
        self.holding.clear();
        let (began, membership) = (self.now(), self.membership.take());
        // Who has left cannot commit; but a goodbye that is never said costs the others a session. Who is nobody to the group has
        // none to say, and a late commit of theirs is taken also after their successor's.
        let patience = if membership.is_some() { deadline / 2 } else { deadline };
        let _ = timeout(patience, commit::over(self.committing.clone())).await;
        let Some(membership) = membership else { return Ok(()) };
        let left = deadline.saturating_sub(self.now() - began);
        timeout(left, membership.leave(leave)).await.unwrap_or_else(|_| {
            let group = self.env.config.group.as_ref().map_or("", |group| &group.group_id);
            let at = At::Group(group.to_owned());
            Err(Error::Broker { api: "LeaveGroup", code: ResponseError::RequestTimedOut, at })
        })
    }

    fn woken(&mut self) {
        let now = self.now();
        while let Some((moment, partition)) = self.wakes.first().copied().filter(|(moment, _)| *moment <= now)
        {
            self.wakes.remove(&(moment, partition));
            self.touch(partition);
        }
    }

    pub(super) fn problem(&mut self, error: Error) {
        let now = self.now();
        self.outbox.problem(error, now);
    }

    pub(super) fn now(&self) -> Instant {
        self.env.cluster.seams().clock.now()
    }

    pub(super) fn wall_millis(&self) -> i64 {
        self.env.cluster.seams().clock.wall_millis()
    }

    /// A number that was not there before: names a request, a placement, an assignment.
    pub(super) fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }
}
