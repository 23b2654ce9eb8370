//! What can go wrong with a transaction, by what there is to do about it (in the spirit of KIP-1050).

use kafka_protocol::ResponseError;

use crate::error::Error;
use crate::producer::SendError;

/// Why a transaction did not go as it should.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// A record of the transaction was not written, so that it cannot be committed. Nothing of it will be seen by
    /// readers of committed records; begin it again.
    #[error("the transaction of {id} cannot be committed, since a record of it was not written: {source}")]
    Unwritten {
        /// The transactional id.
        id: String,
        /// The first failure.
        source: Box<SendError>,
    },
    /// The broker refused a part of the transaction (offsets of a member that lost its place in the group, a missing
    /// permission, a timeout), so that it cannot be committed. Begin it again, if what was refused has changed.
    #[error("the transaction of {id} cannot be committed: {source}")]
    Refused {
        /// The transactional id.
        id: String,
        /// The first failure.
        source: Error,
    },
    /// The transaction was dropped, or what it was doing was: it is aborted.
    #[error("the transaction of {id} was given up before its end: it is aborted")]
    GivenUp {
        /// The transactional id.
        id: String,
    },
    /// The coordinator did not say in time whether it committed. The next [`begin`] settles it, either way; whether it
    /// was committed shows in what was committed with it (a group's offsets, for one).
    ///
    /// [`begin`]: crate::producer::TransactionalProducer::begin
    #[error("whether the transaction of {id} was committed is not known: {source}")]
    OutcomeUnknown {
        /// The transactional id.
        id: String,
        /// The last failure.
        source: Error,
    },
    /// The coordinator gave no producer id in time. Nothing has begun; try again.
    #[error("the transactional id {id} could not be prepared: {source}")]
    NotReady {
        /// The transactional id.
        id: String,
        /// The last failure.
        source: Error,
    },
    /// A later producer has the transactional id: this one is a zombie, and nothing that it sends will ever be
    /// committed. Whoever runs it must stop.
    #[error("another producer has taken over the transactional id {id}: this one has to stop ({source})")]
    Fenced {
        /// The transactional id.
        id: String,
        /// The broker's answer.
        source: Error,
    },
    /// This producer cannot go on: a missing permission for the transactional id, a timeout that the broker does not
    /// allow, a broker too old to raise the epoch (before 2.5). Correct it, and make another.
    #[error("the transactional producer {id} cannot go on: {source}")]
    Fatal {
        /// The transactional id.
        id: String,
        /// Why.
        source: Error,
    },
    /// A producer has one transaction at a time.
    #[error("a transaction of {id} is open already: a transactional producer has one at a time")]
    AlreadyOpen {
        /// The transactional id.
        id: String,
    },
    /// The producer was closed.
    #[error("the transactional producer {id} is closed")]
    Closed {
        /// The transactional id.
        id: String,
    },
}

/// What there is to do about a [`TransactionError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Begin the transaction again, with the same producer.
    Again,
    /// Find out whether it was committed (by the offsets that it would have committed), and go on from there with the
    /// same producer.
    Look,
    /// Nothing more can be done with this producer: another must be made, if somebody else has not done so already.
    NewProducer,
}

impl TransactionError {
    /// What there is to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unwritten { .. }
            | Self::Refused { .. }
            | Self::GivenUp { .. }
            | Self::NotReady { .. }
            | Self::AlreadyOpen { .. } => Remedy::Again,
            Self::OutcomeUnknown { .. } => Remedy::Look,
            Self::Fenced { .. } | Self::Fatal { .. } | Self::Closed { .. } => Remedy::NewProducer,
        }
    }

    /// Whether a later producer has taken the transactional id over.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. })
    }
}

/// What a failure of a request to a coordinator means.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It goes by itself.
    Passing(Error),
    /// The transaction is lost, not the producer.
    Doomed(Error),
    /// The transaction is lost, and the producer needs another epoch.
    Forgotten(Error),
    Fenced(Error),
    Fatal(Error),
}

impl Trouble {
    pub(super) fn of(error: Error) -> Self {
        let Some(code) = error.code() else {
            return match error {
                Error::Unsupported { .. } | Error::Config(_) => Self::Fatal(error),
                // A damaged answer says nothing, as a lost one.
                error => Self::Passing(error),
            };
        };
        match code {
            ResponseError::ProducerFenced | ResponseError::InvalidProducerEpoch => Self::Fenced(error),
            ResponseError::UnknownProducerId | ResponseError::InvalidProducerIdMapping => {
                Self::Forgotten(error)
            }
            // The rest of a group's members go on without this one, or it has joined anew.
            ResponseError::FencedInstanceId
            | ResponseError::UnknownMemberId
            | ResponseError::IllegalGeneration
            | ResponseError::StaleMemberEpoch
            | ResponseError::RebalanceInProgress
            | ResponseError::GroupAuthorizationFailed
            | ResponseError::InvalidGroupId
            | ResponseError::OffsetMetadataTooLarge
            | ResponseError::InvalidCommitOffsetSize
            | ResponseError::TopicAuthorizationFailed
            | ResponseError::InvalidTopicException
            | ResponseError::OperationNotAttempted
            | ResponseError::TransactionAbortable => Self::Doomed(error),
            ResponseError::ConcurrentTransactions => Self::Passing(error),
            code if code.is_retriable() => Self::Passing(error),
            _ => Self::Fatal(error),
        }
    }
}
