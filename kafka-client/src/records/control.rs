//! Control records: what a broker writes between the records of a reader.

use bytes::Buf;

/// What a control record says, by its key (KIP-98, KIP-595, KIP-853).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlType {
    /// The producer's open transaction in this partition is aborted.
    Abort,
    /// It is committed.
    Commit,
    /// A leader was elected (metadata log).
    LeaderChange,
    /// A snapshot begins (metadata log).
    SnapshotHeader,
    /// A snapshot ends (metadata log).
    SnapshotFooter,
    /// The KRaft version (metadata log).
    KRaftVersion,
    /// The voters (metadata log).
    KRaftVoters,
    /// One that this version does not know: to be passed over.
    Unknown(i16),
}

/// What the control record with this key says; `None` if the key is no control record's.
#[must_use]
pub fn control_type(key: Option<&[u8]>) -> Option<ControlType> {
    let mut key = key?;
    let _version = key.try_get_i16().ok()?;
    Some(match key.try_get_i16().ok()? {
        0 => ControlType::Abort,
        1 => ControlType::Commit,
        2 => ControlType::LeaderChange,
        3 => ControlType::SnapshotHeader,
        4 => ControlType::SnapshotFooter,
        5 => ControlType::KRaftVersion,
        6 => ControlType::KRaftVoters,
        other => ControlType::Unknown(other),
    })
}

/// The transaction coordinator's epoch in the value of a commit or abort marker.
#[must_use]
pub fn coordinator_epoch(value: Option<&[u8]>) -> Option<i32> {
    let mut value = value?;
    let _version = value.try_get_i16().ok()?;
    value.try_get_i32().ok()
}
