//! What a transactional producer may do next. Pure: answers and failures come in, permissions go out.
//!
//! ```text
//!   unready ──initialised──▶ ready ──begin──▶ open ──end──▶ ending ──ended──▶ ready (or unready: another epoch is needed)
//!      └────────────── fenced, fatal, closed: dead, from everywhere ──────────────┘
//! ```
//!
//! What must never happen, whatever the order of events: a commit of a transaction of which a record was not written; a
//! batch to a partition that the coordinator does not know of (before `transaction.version` 2); an end while batches
//! are on the wire; the same epoch again after a batch whose fate nobody knows.

use std::collections::{BTreeSet, HashSet};

use kafka_protocol::protocol::Request;

use super::error::TransactionError;
use crate::ids::TopicPartition;
use crate::producer::sequences::Identity;
use crate::wire;

/// How partitions and groups become part of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The coordinator is told before anything is written (AddPartitionsToTxn, AddOffsetsToTxn).
    Registered,
    /// By being written to; each end raises the epoch (KIP-890, `transaction.version` 2).
    Implicit,
}

impl Protocol {
    /// The highest version of a request in such a transaction.
    pub(super) fn highest<R: Request>(self) -> i16 {
        let feature = match self {
            Self::Registered => 0,
            Self::Implicit => wire::KIP_890_FEATURE,
        };
        wire::highest_in_transaction(R::KEY, feature)
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    Abort,
}

#[derive(Debug, Clone)]
enum Phase {
    /// The producer id and epoch are not there, or must not be used for another transaction.
    Unready,
    Ready,
    Open,
    /// Nobody holds it any more; what was enqueued is still sent.
    Left,
    /// Nothing is sent any more.
    Ending,
    Dead(TransactionError),
}

/// The state of one transactional producer.
#[derive(Debug)]
pub(crate) struct Machine {
    id: String,
    phase: Phase,
    identity: Option<Identity>,
    protocol: Protocol,
    /// Partitions that wait to be added, that are being added, and that are part of the transaction.
    wanted: BTreeSet<TopicPartition>,
    adding: Vec<TopicPartition>,
    added: HashSet<TopicPartition>,
    groups: HashSet<String>,
    /// Whether the coordinator may know of the transaction, so that it must be told of the end.
    begun: bool,
    /// Why it cannot be committed.
    doom: Option<TransactionError>,
    /// Whether something was stamped with this epoch whose fate is unknown, or which leaves a gap.
    stale: bool,
    /// Batches on the wire.
    on_wire: usize,
}

impl Machine {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            phase: Phase::Unready,
            identity: None,
            protocol: Protocol::Registered,
            wanted: BTreeSet::new(),
            adding: Vec::new(),
            added: HashSet::new(),
            groups: HashSet::new(),
            begun: false,
            doom: None,
            stale: false,
            on_wire: 0,
        }
    }

    /// The producer id and epoch, as last heard.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Why nothing more may be sent in this transaction.
    pub(crate) fn refusal(&self) -> Option<TransactionError> {
        match &self.phase {
            Phase::Dead(error) => Some(error.clone()),
            Phase::Open | Phase::Left => self.doom.clone(),
            _ => Some(TransactionError::GivenUp { id: self.id.clone() }),
        }
    }

    /// Why nothing will ever be done again.
    pub(super) fn death(&self) -> Option<TransactionError> {
        match &self.phase {
            Phase::Dead(error) => Some(error.clone()),
            _ => None,
        }
    }

    pub(super) fn is_unready(&self) -> bool {
        matches!(self.phase, Phase::Unready)
    }

    /// Whether a transaction is about to end by itself.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Left | Phase::Ending)
    }

    /// A producer id and epoch that nobody used before.
    pub(super) fn initialised(&mut self, identity: Identity) {
        if self.is_unready() {
            (self.phase, self.identity, self.stale) = (Phase::Ready, Some(identity), false);
        }
    }

    /// A transaction begins. To be called when it is ready.
    pub(super) fn begin(&mut self, protocol: Protocol) -> Result<(), TransactionError> {
        match &self.phase {
            Phase::Dead(error) => Err(error.clone()),
            Phase::Ready => {
                (self.phase, self.protocol) = (Phase::Open, protocol);
                Ok(())
            }
            Phase::Unready | Phase::Open | Phase::Left | Phase::Ending => {
                Err(TransactionError::AlreadyOpen { id: self.id.clone() })
            }
        }
    }

    /// Whether a batch may go to this partition now. If not, it will be added, or will never be.
    pub(crate) fn admits(&mut self, partition: TopicPartition) -> bool {
        if self.refusal().is_some() {
            return false;
        }
        match self.protocol {
            Protocol::Implicit => true,
            Protocol::Registered if self.added.contains(&partition) => true,
            Protocol::Registered => {
                if !self.adding.contains(&partition) {
                    self.wanted.insert(partition);
                }
                false
            }
        }
    }

    /// The partitions that the coordinator is to be told of now; one request at a time.
    pub(crate) fn next_to_add(&mut self) -> Option<Vec<TopicPartition>> {
        if self.wanted.is_empty() || !self.adding.is_empty() || self.refusal().is_some() {
            return None;
        }
        self.adding = std::mem::take(&mut self.wanted).into_iter().collect();
        Some(self.adding.clone())
    }

    /// The coordinator knows of those that were to be added, or nobody knows whether it does.
    pub(super) fn added(&mut self, all_are: bool) {
        self.begun = true;
        let adding = std::mem::take(&mut self.adding);
        if all_are {
            self.added.extend(adding);
        }
    }

    /// The coordinator refused those that were to be added.
    pub(super) fn not_added(&mut self) {
        self.adding.clear();
    }

    /// Whether the coordinator has to be told of this group before its offsets are sent.
    pub(super) fn needs_group(&self, group: &str) -> bool {
        self.protocol == Protocol::Registered && !self.groups.contains(group)
    }

    /// The coordinator knows of this group.
    pub(super) fn group_added(&mut self, group: &str) {
        self.groups.insert(group.to_owned());
    }

    /// From now on the coordinator may know of the transaction.
    pub(super) fn touched(&mut self) {
        self.begun = true;
    }

    /// A batch goes out.
    pub(crate) fn sent(&mut self) {
        (self.begun, self.on_wire) = (true, self.on_wire + 1);
    }

    /// A batch has its answer, or will never have one.
    pub(crate) fn settled(&mut self) {
        self.on_wire = self.on_wire.saturating_sub(1);
    }

    /// The transaction cannot be committed any more; the first reason stays.
    pub(super) fn doom(&mut self, why: TransactionError) {
        if matches!(self.phase, Phase::Open | Phase::Left | Phase::Ending) {
            self.doom.get_or_insert(why);
        }
    }

    /// Another epoch is needed before the next transaction.
    pub(super) fn stale(&mut self) {
        self.stale = true;
    }

    /// Nothing can be done any more; the first reason stays.
    pub(super) fn kill(&mut self, why: TransactionError) {
        if self.death().is_none() {
            self.phase = Phase::Dead(why);
        }
        (self.wanted, self.adding) = (BTreeSet::new(), Vec::new());
    }

    /// Whoever held the transaction wants it to end, or has dropped it.
    pub(super) fn leave(&mut self) {
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Left;
        }
    }

    /// Nothing more is sent: the end comes when all is quiet.
    pub(super) fn ending(&mut self) -> Result<(), TransactionError> {
        match &self.phase {
            Phase::Dead(error) => Err(error.clone()),
            _ => {
                self.phase = Phase::Ending;
                self.wanted.clear();
                Ok(())
            }
        }
    }

    /// Whether nothing is under way any more, so that the end can be told.
    pub(super) fn is_quiet(&self) -> bool {
        self.on_wire == 0 && self.adding.is_empty()
    }

    /// How the transaction ends, when it is wanted to end like this: a doomed one is aborted. And whether the
    /// coordinator has to be told.
    pub(super) fn verdict(&self, wanted: End) -> (End, bool, Option<TransactionError>) {
        match (wanted, &self.doom) {
            (End::Commit, Some(why)) => (End::Abort, self.begun, Some(why.clone())),
            (end, _) => (end, self.begun, None),
        }
    }

    /// It has ended; the coordinator may have given another epoch. `settled` is false where the coordinator did not
    /// answer.
    pub(super) fn ended(&mut self, fresh: Option<Identity>, settled: bool) {
        if !self.is_ending() {
            return;
        }
        match fresh {
            Some(identity) => (self.identity, self.stale) = (Some(identity), false),
            None => self.stale |= !settled,
        }
        self.phase = if self.stale { Phase::Unready } else { Phase::Ready };
        self.added.clear();
        self.groups.clear();
        (self.begun, self.doom) = (false, None);
    }
}
