//! The thin part of a membership: does what the state machine says, and tells it what came of that.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::requests::Speaker;
use super::{Effect, Input, Machine};
use crate::client::AbortOnDrop;
use crate::cluster::{Cluster, TrackAll};
use crate::error::Result;
use crate::group::driver::Command;
use crate::group::membership::{Interest, Moment};
use crate::group::outlets::Outlets;
use crate::ids::TopicPartition;
use crate::net::COORDINATION_DEADLINE;
use crate::seams::until;

/// The driver of one membership.
#[derive(Debug)]
struct Driver {
    machine: Machine,
    interest: Interest,
    speaker: Speaker,
    cluster: Arc<Cluster>,
    outlets: Outlets,
    messages: mpsc::UnboundedSender<Message>,
    tasks: Tasks,
    leaving: Option<oneshot::Sender<Result<()>>>,
}

/// What comes from the driver's own tasks.
#[derive(Debug)]
enum Message {
    Input(Input),
    /// The last goodbye is over.
    Left(Result<()>),
}

/// What is under way. A new one ends the one before it.
#[derive(Debug, Default)]
struct Tasks {
    beat: Option<AbortOnDrop>,
    /// Before another attempt to join.
    preparing: Option<AbortOnDrop>,
    session: Option<AbortOnDrop>,
    giving_back: Option<AbortOnDrop>,
    picture: Option<AbortOnDrop>,
    goodbye: Option<AbortOnDrop>,
}

impl Driver {
    fn take(&mut self, input: Input) {
        let at = Moment { now: self.now(), chance: self.cluster.seams().rng.unit() };
        for effect in self.machine.handle(at, input) {
            self.perform(effect);
        }
        self.outlets.complain_of_topics(at.now);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Doubt => self.take(Input::Doubt),
            Command::Leave { leave, done } => {
                self.tasks = Tasks::default();
                self.leaving = Some(done);
                self.take(Input::Leave(leave));
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Input(input) => {
                if let Some(then) = self.speaker.requests.coordinator.take_vacancy() {
                    self.take(Input::Vacant(then));
                }
                self.take(input);
            }
            Message::Left(result) => {
                self.farewell(result);
                self.take(Input::Left);
            }
        }
    }

    fn see(&mut self, picture: Arc<crate::cluster::ClusterMetadata>) {
        if let Interest::Topics(topics) = &self.interest {
            self.outlets.look_at_topics(&picture, topics, self.cluster.seams().clock.now());
        }
        self.take(Input::Picture(picture));
    }

    fn perform(&mut self, effect: Effect) {
        let speaker = self.speaker.clone();
        match effect {
            Effect::Beat { turn, report } => {
                let patience = COORDINATION_DEADLINE.min(self.machine.session());
                self.tasks.beat = Some(self.report(async move {
                    let (sent, answer) = speaker.beat(report, patience).await;
                    Input::Beaten { turn, sent, answer }
                }));
            }
            Effect::Part { epoch } => {
                self.tasks.preparing = Some(self.report(async move {
                    let gone = speaker.goodbye_once(&speaker.member_id, epoch).await;
                    if let Err(error) = gone.inspect_err(|error| speaker.requests.coordinator.heed(error)) {
                        tracing::debug!(%error, "the coordinator could not be told that the member starts anew");
                    }
                    Input::Parted
                }));
            }
            Effect::Release => {
                self.tasks.preparing = Some(self.report(async move {
                    let released = speaker.release().await;
                    Input::Released(released.inspect_err(|error| speaker.requests.coordinator.heed(error)))
                }));
            }
            Effect::Goodbye { epoch } => {
                self.tasks.goodbye =
                    Some(self.send(async move { Some(Message::Left(speaker.goodbye(epoch).await)) }));
            }
            Effect::AskSession => {
                self.tasks.session = Some(self.send(async move {
                    let session = speaker.session().await;
                    tracing::debug!(?session, "the coordinator's session timeout");
                    session.map(|session| Message::Input(Input::Session(session)))
                }));
            }
            Effect::Refresh => self.cluster.refresh(),
            Effect::Revoked { round, partitions, deadline } => self.revoke(round, partitions, deadline),
            Effect::Identity(identity) => self.outlets.identity(identity),
            Effect::Lease(until) => self.outlets.lease.set(until),
            Effect::LeaseEnds => self.outlets.lease.end(),
            Effect::Assigned(partitions) => self.outlets.assigned(partitions),
            Effect::Lost(partitions) => self.outlets.lost(partitions),
            Effect::Problem(error) => self.outlets.complain(error, self.now()),
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

    /// Until there is a picture that shows all topics.
    fn wait_for_all_topics(&mut self) {
        let cluster = Arc::clone(&self.cluster);
        self.tasks.picture = Some(self.report(async move {
            let mut failures = 0;
            loop {
                match cluster.refreshed().await {
                    Ok(picture) => return Input::Picture(picture),
                    Err(error) => {
                        tracing::debug!(%error, "the topics are not known yet");
                        let wait = cluster.config().retry_backoff.wait(failures, cluster.seams().rng.unit());
                        tokio::time::sleep(wait).await;
                        failures += 1;
                    }
                }
            }
        }));
    }

    fn farewell(&mut self, result: Result<()>) {
        if let Some(done) = self.leaving.take() {
            let _ = done.send(result);
        }
    }

    /// A task whose outcome is an input.
    fn report(&self, task: impl Future<Output = Input> + Send + 'static) -> AbortOnDrop {
        self.send(async move { Some(Message::Input(task.await)) })
    }

    fn send(&self, task: impl Future<Output = Option<Message>> + Send + 'static) -> AbortOnDrop {
        let messages = self.messages.clone();
        let task = async move {
            if let Some(message) = task.await {
                let _ = messages.send(message);
            }
        };
        AbortOnDrop(tokio::spawn(task).abort_handle())
    }

    fn now(&self) -> Instant {
        self.cluster.seams().clock.now()
    }
}

/// A driver that does not run yet.
#[derive(Debug)]
pub(in crate::group) struct Starting {
    driver: Driver,
    reports: mpsc::UnboundedReceiver<Message>,
}

impl Starting {
    pub(in crate::group) fn new(
        machine: Machine,
        interest: Interest,
        speaker: Speaker,
        outlets: Outlets,
    ) -> Self {
        let cluster = Arc::clone(speaker.requests.pool.cluster());
        let (messages, reports) = mpsc::unbounded_channel();
        let driver = Driver {
            machine,
            interest,
            speaker,
            cluster,
            outlets,
            messages,
            tasks: Tasks::default(),
            leaving: None,
        };
        Self { driver, reports }
    }

    /// Runs until the member has left, has failed, or nobody has its handle any more.
    pub(in crate::group) async fn run(self, mut commands: mpsc::UnboundedReceiver<Command>) {
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
