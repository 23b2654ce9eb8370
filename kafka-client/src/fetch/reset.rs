//! Where positions begin and where they jump to, and what error codes ask for; pure.

use kafka_protocol::ResponseError;

use super::slot::{Position, Queued};
use crate::config::{OffsetReset, StartAt};

/// A place in a partition that its leader knows the offset of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Earliest,
    Latest,
    /// The first record at or after this time (milliseconds); the end, if there is none.
    Timestamp(i64),
}

impl Target {
    /// What `auto.offset.reset` says; `None` for `none`.
    pub(crate) fn of_policy(policy: OffsetReset, now_millis: i64) -> Option<Self> {
        match policy {
            OffsetReset::Earliest => Some(Self::Earliest),
            OffsetReset::Latest => Some(Self::Latest),
            OffsetReset::None => None,
            OffsetReset::ByDuration(age) => {
                let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                Some(Self::Timestamp(now_millis.saturating_sub(age).max(0)))
            }
        }
    }

    /// The start of a partition without a committed offset: by policy, but one that came to be after the consumer
    /// began is read from its first record, or what was written before it was noticed would be lost. The flag says
    /// whether the start depends on when it was chosen, and by whom: then it is committed at once, or a crash
    /// before the first commit would have another one chosen, and lose what lies between.
    pub(crate) fn of_start(policy: OffsetReset, is_new: bool, now_millis: i64) -> Option<(Self, bool)> {
        match Self::of_policy(policy, now_millis)? {
            Self::Earliest => Some((Self::Earliest, false)),
            Self::Latest | Self::Timestamp(_) if is_new => Some((Self::Earliest, true)),
            target => Some((target, true)),
        }
    }

    /// A place to seek to, where it is neither an offset nor the committed one.
    pub(crate) fn of_place(at: StartAt) -> Option<Self> {
        match at {
            StartAt::Beginning => Some(Self::Earliest),
            StartAt::End => Some(Self::Latest),
            StartAt::Timestamp(millis) => Some(Self::Timestamp(millis)),
            StartAt::Committed | StartAt::Offset(_) => None,
        }
    }
}

/// Why an offset is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The partition begins. `save`: commit the offset before anything is read.
    Start { save: bool },
    /// This offset is not in the log any more, or not yet.
    OutOfRange { from: i64 },
    /// The log was cut off below the position, and the leader does not say where.
    Truncated,
    /// The topic was deleted and created again.
    Recreated,
    /// Somebody asked for it.
    Sought,
}

impl Why {
    /// What happens to chunks that wait for the reader when the position jumps for this reason.
    pub(crate) fn queued(self) -> Queued {
        match self {
            // They were read from the log while they were in it.
            Self::OutOfRange { .. } => Queued::Kept,
            Self::Start { .. } | Self::Truncated | Self::Recreated | Self::Sought => Queued::Dropped,
        }
    }
}

/// What the leader says about a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validated {
    /// It is in its log.
    Confirmed,
    /// The log was cut off here, below the position.
    Truncated(Position),
    /// The leader knows nothing of the position's epoch.
    Unknown,
}

impl Validated {
    /// `end`: leader epoch and end offset as answered to OffsetForLeaderEpoch, -1 where the leader knows none.
    pub(crate) fn of(position: Position, end: Position) -> Self {
        if end.leader_epoch < 0 || end.offset < 0 {
            Self::Unknown
        } else if end.offset < position.offset {
            Self::Truncated(end)
        } else {
            Self::Confirmed
        }
    }
}

/// What to do about an error code for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The picture of the cluster is old: a new one, and again.
    Refresh,
    /// Just again.
    Retry,
    /// Nothing helps.
    GiveUp,
}

/// What an error code for a partition asks for, whatever the request (but for OFFSET_OUT_OF_RANGE).
pub(crate) fn remedy(code: ResponseError) -> Remedy {
    use ResponseError as E;
    match code {
        E::NotLeaderOrFollower
        | E::LeaderNotAvailable
        | E::ReplicaNotAvailable
        | E::KafkaStorageError
        | E::FencedLeaderEpoch
        | E::UnknownLeaderEpoch
        | E::UnknownTopicOrPartition
        | E::UnknownTopicId
        | E::InconsistentTopicId
        | E::OffsetNotAvailable
        | E::ListenerNotFound => Remedy::Refresh,
        E::TopicAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::CorruptMessage
        | E::UnsupportedForMessageFormat
        | E::UnsupportedCompressionType
        | E::InvalidTopicException => Remedy::GiveUp,
        _ => Remedy::Retry,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn starts_by_policy() {
        let of = |policy, is_new| Target::of_start(policy, is_new, 5000);
        assert_eq!(of(OffsetReset::Earliest, false), Some((Target::Earliest, false)));
        assert_eq!(of(OffsetReset::Latest, false), Some((Target::Latest, true)));
        assert_eq!(of(OffsetReset::Latest, true), Some((Target::Earliest, true)));
        assert_eq!(of(OffsetReset::None, true), None);
        let age = OffsetReset::ByDuration(Duration::from_secs(2));
        assert_eq!(of(age, false), Some((Target::Timestamp(3000), true)));
        let age = OffsetReset::ByDuration(Duration::from_secs(20));
        assert_eq!(of(age, false), Some((Target::Timestamp(0), true)));
    }

    #[test]
    fn a_leader_confirms_a_position_or_says_where_its_log_was_cut_off() {
        let at = |offset, leader_epoch| Position { offset, leader_epoch };
        assert_eq!(Validated::of(at(10, 3), at(10, 3)), Validated::Confirmed);
        assert_eq!(Validated::of(at(10, 3), at(25, 3)), Validated::Confirmed);
        assert_eq!(Validated::of(at(10, 3), at(8, 2)), Validated::Truncated(at(8, 2)));
        assert_eq!(Validated::of(at(10, 3), at(-1, -1)), Validated::Unknown);
    }
}
