//! The I/O of transactions: what the machine permits is asked of the coordinators, again and again until a deadline.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::Request;

use super::error::{TransactionError, Trouble};
use super::machine::{End, Machine, Protocol};
use super::requests::{self, Stamp};
use crate::consumer::{GroupMetadata, Offsets};
use crate::error::{Error, Result};
use crate::group::{Coordinator, Life};
use crate::ids::TopicPartition;
use crate::net::{Pool, Retry};
use crate::producer::enqueue::Shared;
use crate::producer::queue::{Failure, SOON};
use crate::producer::sequences::Identity;
use crate::producer::{Outgoing, SendError, Unsent};
use crate::watch;

/// What the handles of a transactional producer, its sender and its transactions have in common.
#[derive(Debug)]
pub(crate) struct Coordination {
    id: String,
    /// `transaction.timeout.ms`.
    timeout: Duration,
    /// `max.block.ms`: how long one step is tried.
    patience: Duration,
    pool: Arc<Pool>,
    coordinator: Coordinator,
    groups: Mutex<HashMap<String, Arc<Coordinator>>>,
    machine: Mutex<Machine>,
    /// That the machine went on.
    news: watch::Sender<()>,
    /// One at a time gets it ready.
    turn: tokio::sync::Mutex<()>,
}

/// Dooms the transaction unless it is told that what it watches over was finished.
struct Unfinished<'a>(Option<&'a Coordination>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(coordination) = self.0 {
            coordination.machine().doom(TransactionError::GivenUp { id: coordination.id.clone() });
        }
    }
}

impl Coordination {
    pub(super) fn new(id: String, timeout: Duration, patience: Duration, pool: Arc<Pool>) -> Self {
        Self {
            coordinator: Coordinator::of_transactions(Arc::clone(&pool), &id),
            machine: Mutex::new(Machine::new(id.clone())),
            id,
            timeout,
            patience,
            pool,
            groups: Mutex::default(),
            news: watch::Sender::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The transactional id as messages have it.
    pub(crate) fn wire_id(&self) -> kafka_protocol::messages::TransactionalId {
        self.coordinator.transactional_id()
    }

    /// The highest version of a request that the open transaction may use.
    pub(crate) fn highest<R: Request>(&self) -> i16 {
        self.machine().protocol().highest::<R>()
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says when the machine went on.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Why a record cannot be part of a transaction now.
    pub(crate) fn refusal(&self, record: &Outgoing<'_>) -> Option<SendError> {
        let why = self.machine().refusal()?;
        Some(SendError::NoTransaction { record: Unsent::of(record), source: Box::new(why) })
    }

    /// A record was not written. To be called before whoever waits for the batches on the wire is told that they are
    /// settled.
    pub(crate) fn failed(&self, failure: Failure) {
        let Failure { error, stamped } = failure;
        let fenced = match &error {
            SendError::Refused { source, .. } if source.code() == Some(ResponseError::ProducerFenced) => {
                Some(source.clone())
            }
            _ => None,
        };
        let mut machine = self.machine();
        if stamped {
            machine.stale();
        }
        match fenced {
            Some(source) => machine.kill(TransactionError::Fenced { id: self.id.clone(), source }),
            None => {
                machine.doom(TransactionError::Unwritten { id: self.id.clone(), source: Box::new(error) })
            }
        }
        drop(machine);
        self.news.send_replace(());
    }

    /// A batch has its answer.
    pub(crate) fn settled(&self) {
        self.machine().settled();
        self.news.send_replace(());
    }

    /// Nothing will be sent any more.
    pub(crate) fn close(&self) {
        self.machine().kill(TransactionError::Closed { id: self.id.clone() });
        self.news.send_replace(());
    }

    /// Adds partitions to the open transaction; what comes of it is in the machine.
    pub(crate) async fn add_partitions(&self, partitions: Vec<TopicPartition>) {
        let outcome = self
            .persist(|| {
                let stamp = self.stamp();
                let partitions = &partitions;
                async move {
                    requests::add_partitions(&self.coordinator, self.deadline(), stamp?, partitions).await
                }
            })
            .await;
        {
            let mut machine = self.machine();
            match &outcome {
                Ok(()) => machine.added(true),
                Err(Trouble::Passing(_)) => machine.added(false),
                Err(_) => machine.not_added(),
            }
        }
        if let Err(trouble) = outcome {
            self.heed(trouble);
        }
        self.news.send_replace(());
    }

    /// Makes offsets of a group part of the open transaction.
    pub(super) async fn send_offsets(
        &self,
        offsets: &Offsets,
        member: &GroupMetadata,
    ) -> Result<(), TransactionError> {
        if let Some(error) = self.machine().refusal() {
            return Err(error);
        }
        let mut unfinished = Unfinished(Some(self));
        let group = self.group(&member.group_id);
        let outcome = self.offsets_sent(offsets, member, &group).await;
        unfinished.0 = None;
        // Who lost its partitions meanwhile may have them again, in the same generation and from what was committed before
        // these offsets. Whoever begins from here on waits for them.
        let lost = offsets.first().filter(|_| member.life.as_ref().is_some_and(Life::is_over));
        let outcome = match lost {
            Some((partition, _)) => {
                outcome.and(Err(Trouble::Doomed(Error::NotHeld { partition: *partition })))
            }
            None => outcome,
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(trouble) => Err(self.heed(trouble)),
        }
    }

    async fn offsets_sent(
        &self,
        offsets: &Offsets,
        member: &GroupMetadata,
        group: &Coordinator,
    ) -> Result<(), Trouble> {
        let stamp = self.stamp().map_err(Trouble::Fatal)?;
        if self.machine().needs_group(&member.group_id) {
            self.persist(|| requests::add_group(&self.coordinator, self.deadline(), stamp, group)).await?;
            self.machine().group_added(&member.group_id);
        }
        self.machine().touched();
        let asked =
            || requests::commit_offsets(&self.coordinator, self.deadline(), stamp, group, member, offsets);
        self.persist_with(group, asked).await
    }

    /// Ready for a transaction: with a producer id, and an epoch that nothing was left behind with.
    pub(super) async fn prepare(&self) -> Result<Protocol, TransactionError> {
        self.idle().await;
        let _turn = self.turn.lock().await;
        self.raise().await?;
        if let Some(error) = self.machine().death() {
            return Err(error);
        }
        let protocol = self.persist(|| requests::protocol(&self.coordinator)).await;
        protocol.map_err(|trouble| self.not_ready(trouble))
    }

    /// Whether the group's coordinator checks who commits offsets.
    pub(super) async fn knows_members(&self, group: &str) -> Result<(), TransactionError> {
        let group = self.group(group);
        let asked = self.persist_with(&group, || requests::checks_members(&group)).await;
        asked.map_err(|trouble| self.not_ready(trouble))
    }

    /// Waits until no transaction is about to end.
    pub(super) async fn idle(&self) {
        self.until(|machine| !machine.is_ending()).await;
    }

    /// Waits for news until it holds.
    async fn until(&self, holds: impl Fn(&Machine) -> bool) {
        let mut news = self.news.subscribe();
        loop {
            drop(news.borrow_and_update());
            if holds(&self.machine()) || news.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whoever held the transaction does not any more: [`Coordination::end`] follows.
    pub(super) fn leave(&self) {
        self.machine().leave();
    }

    /// Asks for a producer id or another epoch, if there has to be one.
    async fn raise(&self) -> Result<(), TransactionError> {
        let held = {
            let machine = self.machine();
            if !machine.is_unready() {
                return Ok(());
            }
            machine.identity()
        };
        let asked =
            self.persist(|| requests::init(&self.coordinator, self.deadline(), self.timeout, held)).await;
        match asked {
            Ok(identity) => {
                tracing::debug!(id = %self.id, producer = identity.id, epoch = identity.epoch, "transactional producer is ready");
                self.machine().initialised(identity);
                Ok(())
            }
            Err(trouble) => Err(self.not_ready(trouble)),
        }
    }

    fn not_ready(&self, trouble: Trouble) -> TransactionError {
        match trouble {
            Trouble::Passing(source) | Trouble::Doomed(source) => {
                TransactionError::NotReady { id: self.id.clone(), source }
            }
            // The producer id that was held is no more: the transactional id itself may have expired.
            Trouble::Forgotten(source) | Trouble::Fatal(source) => {
                self.die(TransactionError::Fatal { id: self.id.clone(), source })
            }
            Trouble::Fenced(source) => self.die(TransactionError::Fenced { id: self.id.clone(), source }),
        }
    }

    fn die(&self, error: TransactionError) -> TransactionError {
        let mut machine = self.machine();
        machine.kill(error.clone());
        machine.death().unwrap_or(error)
    }

    /// What a failure means for the open transaction.
    fn heed(&self, trouble: Trouble) -> TransactionError {
        let id = self.id.clone();
        let mut machine = self.machine();
        let error = match trouble {
            Trouble::Fenced(source) => TransactionError::Fenced { id, source },
            Trouble::Fatal(source) => TransactionError::Fatal { id, source },
            Trouble::Forgotten(source) => {
                machine.stale();
                TransactionError::Refused { id, source }
            }
            Trouble::Passing(source) | Trouble::Doomed(source) => TransactionError::Refused { id, source },
        };
        match &error {
            TransactionError::Refused { .. } => machine.doom(error.clone()),
            _ => machine.kill(error.clone()),
        }
        drop(machine);
        self.news.send_replace(());
        error
    }

    /// Ends the open transaction as wanted, or aborts it if it cannot be committed: then the reason is the error. To be
    /// run to its end.
    pub(super) async fn end(&self, shared: &Shared, wanted: End) -> Result<(), TransactionError> {
        if wanted == End::Commit {
            self.delivered(shared).await;
        }
        let begun = self.machine().ending();
        self.abandon(shared);
        begun?;
        // Each request has its deadline, so it comes.
        self.until(|machine| machine.is_quiet() || machine.death().is_some()).await;
        // Who cannot go on does not know whether all is quiet, and the end must not overtake a batch.
        if let Some(error) = self.machine().death() {
            return Err(error);
        }
        let (end, told, reason) = self.machine().verdict(wanted);
        let outcome = match told {
            false => Ok(None),
            true => self.tell(end).await,
        };
        let ended = self.conclude(end, outcome);
        match reason {
            Some(reason)
                if !matches!(
                    ended,
                    Err(TransactionError::Fenced { .. } | TransactionError::Fatal { .. })
                ) =>
            {
                Err(reason)
            }
            _ => ended,
        }
    }

    async fn tell(&self, end: End) -> Result<Option<Identity>, Trouble> {
        let stamp = self.stamp().map_err(Trouble::Fatal)?;
        let told = self.persist(|| requests::end(&self.coordinator, self.deadline(), stamp, end)).await;
        match told {
            // Nothing that was tried came through to the coordinator: there is nothing to abort.
            Err(Trouble::Fatal(error))
                if end == End::Abort && error.code() == Some(ResponseError::InvalidTxnState) =>
            {
                Err(Trouble::Forgotten(error))
            }
            told => told,
        }
    }

    /// What the coordinator's answer to the end means. An abort that was not answered is made up for by the next epoch.
    fn conclude(&self, end: End, outcome: Result<Option<Identity>, Trouble>) -> Result<(), TransactionError> {
        let id = self.id.clone();
        let settled = match outcome {
            Ok(fresh) => {
                self.machine().ended(fresh, true);
                Ok(())
            }
            Err(Trouble::Fenced(source)) => Err(self.die(TransactionError::Fenced { id, source })),
            Err(Trouble::Fatal(source)) => Err(self.die(TransactionError::Fatal { id, source })),
            Err(Trouble::Passing(source)) => {
                self.machine().ended(None, false);
                match end {
                    End::Commit => Err(TransactionError::OutcomeUnknown { id, source }),
                    End::Abort => Ok(()),
                }
            }
            Err(Trouble::Doomed(source) | Trouble::Forgotten(source)) => {
                self.machine().ended(None, false);
                match end {
                    End::Commit => Err(TransactionError::Refused { id, source }),
                    End::Abort => Ok(()),
                }
            }
        };
        self.news.send_replace(());
        settled
    }

    /// Waits until all batches have an outcome, or one has failed.
    async fn delivered(&self, shared: &Shared) {
        let mut news = self.news.subscribe();
        let mut settled = std::pin::pin!(shared.topics.settled());
        loop {
            drop(news.borrow_and_update());
            if self.machine().refusal().is_some() {
                return;
            }
            tokio::select! {
                biased;
                failure = &mut settled => {
                    if let Some(error) = failure {
                        self.failed(Failure { error, stamped: true });
                    }
                    return;
                }
                // The sender of it lives as long as this.
                _ = news.changed() => {}
            }
        }
    }

    /// Gives up all that waits to be sent.
    pub(crate) fn abandon(&self, shared: &Shared) {
        let why = self.machine().refusal().unwrap_or(TransactionError::GivenUp { id: self.id.clone() });
        for partition in shared.topics.partitions() {
            let record = Unsent::somewhere_in(partition.id);
            let error = SendError::NoTransaction { record, source: Box::new(why.clone()) };
            let (_, aftermath) = partition.queue().abandon(&error);
            shared.memory.add_permits(aftermath.freed);
            shared.counters.failed(aftermath.failed);
            if let Some(failure) = aftermath.failure {
                self.failed(failure);
            }
        }
    }

    /// [`Coordination::persist_with`] the coordinator of the transactional id.
    async fn persist<T, F: Future<Output = Result<T>>>(
        &self,
        attempt: impl FnMut() -> F,
    ) -> Result<T, Trouble> {
        self.persist_with(&self.coordinator, attempt).await
    }

    /// Tries until it succeeds, does not pass, or `max.block.ms` are over.
    async fn persist_with<T, F: Future<Output = Result<T>>>(
        &self,
        asked: &Coordinator,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Trouble> {
        let mut retry = Retry::within(self.pool.cluster(), self.patience);
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            asked.heed(&error);
            match Trouble::of(error) {
                Trouble::Passing(error) => {
                    let soon = error.code() == Some(ResponseError::ConcurrentTransactions);
                    let longest = if soon { SOON } else { Duration::MAX };
                    tracing::debug!(id = %self.id, %error, "trying again");
                    retry.after_passing(error, longest).await.map_err(Trouble::Passing)?;
                }
                trouble => return Err(trouble),
            }
        }
    }

    fn stamp(&self) -> Result<Stamp> {
        let machine = self.machine();
        let identity = machine.identity().ok_or(Error::Closed)?;
        Ok(Stamp { identity, protocol: machine.protocol() })
    }

    fn deadline(&self) -> Duration {
        self.pool.cluster().config().request_timeout
    }

    fn group(&self, group: &str) -> Arc<Coordinator> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let known = groups
            .entry(group.to_owned())
            .or_insert_with(|| Arc::new(Coordinator::new(Arc::clone(&self.pool), group)));
        Arc::clone(known)
    }
}
