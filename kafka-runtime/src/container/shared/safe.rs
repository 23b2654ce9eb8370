//! How far a partition may be committed.

/// A place that may be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Safe {
    pub(crate) epoch: u64,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    /// Where records run side by side: how many finished records of this epoch it covers, with its metadata.
    pub(crate) covered: u64,
}

impl Safe {
    /// Whether committing this after `confirmed`, of the same epoch, says more than that did, and nothing less.
    pub(crate) fn is_ahead_of(&self, confirmed: &Progress) -> bool {
        let Progress { offset, covered } = *confirmed;
        self.offset >= offset && self.covered >= covered && (self.offset, self.covered) != (offset, covered)
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress { offset: self.offset, covered: self.covered }
    }
}

/// How far a commit of one epoch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) offset: i64,
    pub(crate) covered: u64,
}
