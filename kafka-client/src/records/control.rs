//! Control records: what a broker writes between the records of a reader.

use bytes::{Buf, BufMut};

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

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its records become visible under `read_committed`.
    Commit,
    /// They never do.
    Abort,
}

/// The marker that a transaction coordinator has written into each partition of a transaction that ends:
/// [`super::encode::control_batch`] makes a batch of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndMarker {
    /// How it ends.
    pub ending: Ending,
    /// The transaction's producer.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The coordinator's own epoch, which fences a coordinator of the past.
    pub coordinator_epoch: i32,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

impl EndMarker {
    /// Version 0, and what it says.
    pub(super) fn key(&self) -> [u8; 4] {
        match self.ending {
            Ending::Abort => [0, 0, 0, 0],
            Ending::Commit => [0, 0, 0, 1],
        }
    }

    /// Version 0, and the coordinator's epoch.
    pub(super) fn value(&self) -> [u8; 6] {
        let mut value = [0; 6];
        (&mut value[2..]).put_i32(self.coordinator_epoch);
        value
    }
}
