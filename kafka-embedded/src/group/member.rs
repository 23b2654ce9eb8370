//! A member of a classic group.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::classic::Token;

/// A member id.
pub(crate) type MemberId = StrBytes;

/// What a JoinGroup request asks for.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    /// Empty where the client has none yet.
    pub(crate) member_id: MemberId,
    /// Static membership (KIP-345).
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) client_id: StrBytes,
    pub(crate) client_host: StrBytes,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: StrBytes,
    /// Name and metadata, in the client's order of preference.
    pub(crate) protocols: Vec<(StrBytes, Bytes)>,
    /// Whether a new dynamic member gets its id first, and joins with it (KIP-394).
    pub(crate) needs_member_id: bool,
    /// Whether the client understands `skip_assignment` (KIP-814).
    pub(crate) may_skip_assignment: bool,
    /// The id of the member, should it be a new one.
    pub(crate) fresh_id: MemberId,
}

/// A member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) client_id: StrBytes,
    pub(crate) client_host: StrBytes,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocols: Vec<(StrBytes, Bytes)>,
    pub(crate) assignment: Bytes,
    /// JoinGroup requests that wait for the rebalance.
    pub(super) awaiting_join: Option<Token>,
    /// SyncGroup requests that wait for the leader's assignment.
    pub(super) awaiting_sync: Option<Token>,
    /// It has not been told its first generation yet.
    pub(super) is_new: bool,
    /// When it is given up unless it is heard of.
    pub(super) deadline: Instant,
}

impl Member {
    /// When the group must look at this member, if no request of it comes: not while it waits for the group, unless
    /// it is new (a client that has gone cannot be told from one that waits).
    pub(super) fn expires_at(&self) -> Option<Instant> {
        let waits = self.awaiting_join.is_some() || self.awaiting_sync.is_some();
        (self.is_new || !waits).then_some(self.deadline)
    }

    /// A sign of life.
    pub(super) fn heard(&mut self, now: Instant) {
        self.deadline = now + self.session_timeout;
    }

    /// What the member said for protocol `name`.
    pub(crate) fn metadata(&self, name: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(known, _)| &**known == name)
            .map(|(_, data)| data.clone())
            .unwrap_or_default()
    }

    pub(super) fn supports(&self, name: &str) -> bool {
        self.protocols.iter().any(|(known, _)| &**known == name)
    }

    pub(super) fn update(&mut self, joining: &Joining) {
        self.protocols.clone_from(&joining.protocols);
        self.session_timeout = joining.session_timeout;
        self.rebalance_timeout = joining.rebalance_timeout;
    }
}
