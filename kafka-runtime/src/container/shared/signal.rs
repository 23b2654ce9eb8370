//! What a partition's loop is asked to do, and what it says that it does: each an atomic byte.

/// What a partition's loop is asked to do; each is stronger than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Signal {
    /// Go on.
    Run = 0,
    /// Something stands against the next record: a pause, or a jump of the position. Goes with its reason.
    Look = 1,
    /// Commit at the next record's boundary and wait for it (strategy `sync`).
    Commit = 2,
    /// Finish the handler in hand and end.
    Drain = 3,
    /// End at the next await point.
    Abort = 4,
}

impl Signal {
    pub(super) fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Run,
            1 => Self::Look,
            2 => Self::Commit,
            3 => Self::Drain,
            _ => Self::Abort,
        }
    }
}

/// What a partition is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum PartitionPhase {
    /// It has nothing to do: no records are there.
    Idle = 0,
    /// A handler runs, or is about to.
    Running = 1,
    /// It waits for a commit, for a permit (`concurrency`), for acknowledgements or for its lease.
    Waiting = 2,
    /// A record failed; it waits before the next try.
    Retrying = 3,
    /// It has stopped: see the cause. Other partitions go on. A seek or `resume` starts it again.
    Stopped = 4,
    /// It was told to pause; the record in hand was finished.
    Paused = 5,
}

impl PartitionPhase {
    pub(super) fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Idle,
            1 => Self::Running,
            2 => Self::Waiting,
            3 => Self::Retrying,
            5 => Self::Paused,
            _ => Self::Stopped,
        }
    }
}
