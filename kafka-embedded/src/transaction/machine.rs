//! One transactional id as a pure state machine, with the rules of Kafka 4.1 (KIP-98, KIP-360, KIP-890).
//!
//! ```text
//!           add                end, fence, expiry            the last marker is written
//!  Empty ────────▶ Ongoing ─────────────────────▶ Prepare… ─────────────────────────────▶ Complete…
//!    ▲                ▲                              ▲                                     │  │  │
//!    │                └──────────── add ─────────────┼─────────────────────────────────────┘  │  │
//!    │                                               └── abort of nothing (version 2) ────────┘  │
//!    └──────────────────────────────────────────── init ─────────────────────────────────────────┘
//! ```
//! Where a transaction ends, [`Transaction::outstanding`] says which markers are to be written; until all are, every
//! request is answered with CONCURRENT_TRANSACTIONS.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_client::records::control::Ending;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

/// No epoch: a transactional id that nobody has initialised yet.
const NO_EPOCH: i16 = -1;
/// The last epoch that a client gets of a producer id. The one after it is left for fencing that client.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// A producer, by its id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// A state, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

impl State {
    /// The states that a client may ask for, the two that never last included.
    pub(crate) const NAMES: [&str; 8] = [
        "Empty",
        "Ongoing",
        "PrepareCommit",
        "PrepareAbort",
        "CompleteCommit",
        "CompleteAbort",
        "Dead",
        "PrepareEpochFence",
    ];

    /// As DescribeTransactions spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }
}

/// Which protocol a request follows: the client's `transaction.version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Partitions are added before they are written to; a producer keeps its epoch.
    One,
    /// KIP-890: writing adds the partition, and each end bumps the epoch.
    Two,
}

/// What takes part in a transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Participant {
    Partition(TopicName, i32),
    /// The offsets of a group.
    Offsets(StrBytes),
}

/// The time, for deadlines and for timestamps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Milliseconds since 1970.
    pub(crate) wall: i64,
}

/// How InitProducerId went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Init {
    Ready(Identity),
    /// A transaction was open: its producer is fenced, it is being aborted, and the client must ask again.
    Aborting,
}

/// A transactional id.
#[derive(Debug)]
pub(crate) struct Transaction {
    state: State,
    identity: Identity,
    /// The producer id before the last change.
    previous_id: i64,
    /// The epoch before the last one that a client knows of; a client that did not get an answer may still use it.
    last_epoch: i16,
    /// The producer id that follows when the transaction has ended, where the epochs of this one are used up.
    next_id: Option<i64>,
    timeout: Duration,
    participants: BTreeSet<Participant>,
    /// When the transaction began, in milliseconds since 1970; -1 where there was none.
    started: i64,
    deadline: Option<Instant>,
}

impl Transaction {
    /// A transactional id that nobody has initialised.
    pub(crate) fn new(producer_id: i64) -> Self {
        Self {
            state: State::Empty,
            identity: Identity { producer_id, epoch: NO_EPOCH },
            previous_id: -1,
            last_epoch: NO_EPOCH,
            next_id: None,
            timeout: Duration::ZERO,
            participants: BTreeSet::new(),
            started: -1,
            deadline: None,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
    /// Milliseconds since 1970, -1 where there was no transaction.
    pub(crate) fn started(&self) -> i64 {
        self.started
    }
    pub(crate) fn participants(&self) -> &BTreeSet<Participant> {
        &self.participants
    }
    /// When the open transaction is aborted.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What changes whenever the id is used: Kafka writes these to its log.
    pub(crate) fn written(&self) -> (State, Identity, usize) {
        (self.state, self.identity, self.participants.len())
    }

    /// Whether it may be forgotten when nobody uses it: no transaction of it is open or ending.
    pub(crate) fn may_expire(&self) -> bool {
        matches!(self.state, State::Empty | State::CompleteCommit | State::CompleteAbort)
    }

    /// InitProducerId. `given` is who the client takes itself for, where it recovers from an error (KIP-360).
    pub(crate) fn init(
        &mut self,
        timeout: Duration,
        given: Option<Identity>,
        new_id: impl FnOnce() -> i64,
    ) -> Result<Init, ResponseError> {
        self.check_settled()?;
        if given.is_some_and(|given| !self.is_known(given)) {
            return Err(ResponseError::ProducerFenced);
        }
        if self.state == State::Ongoing {
            self.fence();
            return Ok(Init::Aborting);
        }
        let (identity, last_epoch) = self.next_identity(given.map(|given| given.epoch), new_id)?;
        self.previous_id = self.identity.producer_id;
        (self.identity, self.last_epoch) = (identity, last_epoch);
        self.state = State::Empty;
        self.timeout = timeout;
        self.participants.clear();
        self.started = -1;
        Ok(Init::Ready(identity))
    }

    /// Whether `given` may be the producer of this id, or was until its epochs ran out.
    fn is_known(&self, given: Identity) -> bool {
        self.identity.epoch == NO_EPOCH
            || given.producer_id == self.identity.producer_id
            || (given.producer_id == self.previous_id && given.epoch >= LAST_EPOCH)
    }

    /// Who the producer is from now on, and the epoch that it may still name.
    fn next_identity(
        &self,
        given: Option<i16>,
        new_id: impl FnOnce() -> i64,
    ) -> Result<(Identity, i16), ResponseError> {
        let Identity { producer_id, epoch } = self.identity;
        if epoch >= LAST_EPOCH {
            return match given {
                None => Ok((Identity { producer_id: new_id(), epoch: 0 }, NO_EPOCH)),
                Some(given) if given == epoch => Ok((Identity { producer_id: new_id(), epoch: 0 }, epoch)),
                // What Kafka's coordinator fails with here.
                Some(_) => Err(ResponseError::UnknownServerError),
            };
        }
        let bumped = Identity { producer_id, epoch: epoch + 1 };
        match given {
            None => Ok((bumped, NO_EPOCH)),
            Some(given) if epoch == NO_EPOCH || given == epoch => Ok((bumped, epoch)),
            // The answer to its first attempt was lost.
            Some(given) if given == self.last_epoch => Ok((self.identity, self.last_epoch)),
            Some(_) => Err(ResponseError::ProducerFenced),
        }
    }

    /// AddPartitionsToTxn, AddOffsetsToTxn, and what writing does by itself in version 2.
    pub(crate) fn add(
        &mut self,
        by: Identity,
        participants: impl IntoIterator<Item = Participant>,
        now: Now,
    ) -> Result<(), ResponseError> {
        self.check_settled()?;
        self.check_producer(by)?;
        if self.state != State::Ongoing {
            self.state = State::Ongoing;
            self.started = now.wall;
            self.deadline = Some(now.instant + self.timeout);
        }
        self.participants.extend(participants);
        Ok(())
    }

    /// Whether `by` may write to what it says was added (KIP-890, for clients of version 1).
    pub(crate) fn verify(&self, by: Identity, participant: &Participant) -> Result<(), ResponseError> {
        self.check_producer(by)?;
        self.check_settled()?;
        if self.participants.contains(participant) {
            Ok(())
        } else {
            Err(ResponseError::TransactionAbortable)
        }
    }

    /// EndTxn: who the producer is afterwards. An end that was asked for before is answered again.
    pub(crate) fn end(
        &mut self,
        by: Identity,
        ending: Ending,
        protocol: Protocol,
        new_id: impl FnOnce() -> i64,
    ) -> Result<Identity, ResponseError> {
        match protocol {
            Protocol::One => self.end_one(by, ending),
            Protocol::Two => self.end_two(by, ending, new_id),
        }
    }

    fn end_one(&mut self, by: Identity, ending: Ending) -> Result<Identity, ResponseError> {
        self.check_producer(by)?;
        self.check_settled()?;
        match (self.state, ending) {
            (State::Ongoing, _) => self.prepare(ending),
            (State::CompleteCommit, Ending::Commit) | (State::CompleteAbort, Ending::Abort) => {}
            _ => return Err(ResponseError::InvalidTxnState),
        }
        Ok(self.identity)
    }

    fn end_two(
        &mut self,
        by: Identity,
        ending: Ending,
        new_id: impl FnOnce() -> i64,
    ) -> Result<Identity, ResponseError> {
        self.check_settled()?;
        let current = self.identity;
        let after_bump = i32::from(current.epoch) == i32::from(by.epoch) + 1;
        let after_rotation =
            self.previous_id == by.producer_id && by.epoch == LAST_EPOCH && current.epoch == 0;
        if current.producer_id != by.producer_id && !after_rotation {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        let complete = matches!(self.state, State::CompleteCommit | State::CompleteAbort);
        let repeated = complete && (after_bump || after_rotation);
        if by.epoch != current.epoch && !repeated {
            return Err(ResponseError::ProducerFenced);
        }
        match (self.state, ending) {
            (State::CompleteCommit, Ending::Commit) | (State::CompleteAbort, Ending::Abort) if repeated => {
                return Ok(current);
            }
            _ if repeated => return Err(ResponseError::InvalidTxnState),
            (State::Ongoing, _) | (_, Ending::Abort) => {}
            (_, Ending::Commit) => return Err(ResponseError::InvalidTxnState),
        }
        if current.epoch >= LAST_EPOCH {
            self.next_id = Some(new_id());
        }
        self.bump();
        self.prepare(ending);
        Ok(self.successor())
    }

    /// Aborts the open transaction and shuts its producer out.
    pub(crate) fn fence(&mut self) {
        self.bump();
        self.prepare(Ending::Abort);
    }

    /// Aborts a transaction whose time is up.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.fence();
        }
    }

    fn bump(&mut self) {
        self.last_epoch = self.identity.epoch;
        self.identity.epoch = self.identity.epoch.saturating_add(1);
        self.previous_id = self.identity.producer_id;
    }

    fn prepare(&mut self, ending: Ending) {
        self.state = match ending {
            Ending::Commit => State::PrepareCommit,
            Ending::Abort => State::PrepareAbort,
        };
        self.deadline = None;
    }

    /// Who the producer is when the transaction has ended.
    fn successor(&self) -> Identity {
        self.next_id.map_or(self.identity, |producer_id| Identity { producer_id, epoch: 0 })
    }

    /// How the transaction is ending and by which producer's markers, where it is.
    pub(crate) fn ending(&self) -> Option<(Ending, Identity)> {
        match self.state {
            State::PrepareCommit => Some((Ending::Commit, self.identity)),
            State::PrepareAbort => Some((Ending::Abort, self.identity)),
            _ => None,
        }
    }

    /// Marks as ended where `write` succeeds; once that is everywhere, the transaction is complete.
    pub(crate) fn write_markers(&mut self, mut write: impl FnMut(&Participant, Ending, Identity) -> bool) {
        let Some((ending, identity)) = self.ending() else { return };
        self.participants.retain(|participant| !write(participant, ending, identity));
        if !self.participants.is_empty() {
            return;
        }
        self.identity = self.successor();
        self.next_id = None;
        self.state = match ending {
            Ending::Commit => State::CompleteCommit,
            Ending::Abort => State::CompleteAbort,
        };
    }

    /// While markers are being written nothing else is done.
    fn check_settled(&self) -> Result<(), ResponseError> {
        if self.ending().is_some() { Err(ResponseError::ConcurrentTransactions) } else { Ok(()) }
    }

    fn check_producer(&self, by: Identity) -> Result<(), ResponseError> {
        if by.producer_id != self.identity.producer_id {
            Err(ResponseError::InvalidProducerIdMapping)
        } else if by.epoch != self.identity.epoch {
            Err(ResponseError::ProducerFenced)
        } else {
            Ok(())
        }
    }
}
