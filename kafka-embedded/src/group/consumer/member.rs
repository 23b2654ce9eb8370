//! A member of a group of KIP-848.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::beat::{Beat, Pattern};
use super::guests::Guest;
use super::{Assignor, Partitions};

/// How far a member has got on its way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reconciliation {
    /// It has what it had to have in its epoch.
    Stable,
    /// It has been told to give partitions back, and has not shown yet that it did.
    Unrevoked,
    /// It waits for partitions that others have not given back yet.
    Unreleased,
}

/// A member.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) rack: Option<StrBytes>,
    pub(crate) client_id: StrBytes,
    pub(crate) client_host: StrBytes,
    pub(crate) topics: BTreeSet<TopicName>,
    pub(crate) pattern: Option<Pattern>,
    pub(super) assignor: Option<Assignor>,
    pub(super) rebalance_timeout: Duration,
    /// -2 for a static member that has gone for a while.
    pub(crate) epoch: i32,
    pub(super) previous_epoch: i32,
    pub(super) state: Reconciliation,
    /// What it is told to have.
    pub(crate) assigned: Partitions,
    /// What it had, and has not shown yet that it gave back.
    pub(super) revoking: Partitions,
    /// When it is given up unless it is heard of.
    pub(super) session_until: Instant,
    /// When it must have given back.
    pub(super) revoke_until: Option<Instant>,
    /// It speaks the classic protocol.
    pub(crate) guest: Option<Guest>,
}

impl Member {
    /// One that just came and has nothing.
    pub(super) fn new(session_until: Instant) -> Self {
        Self {
            instance_id: None,
            rack: None,
            client_id: StrBytes::default(),
            client_host: StrBytes::default(),
            topics: BTreeSet::new(),
            pattern: None,
            assignor: None,
            rebalance_timeout: Duration::ZERO,
            epoch: 0,
            previous_epoch: 0,
            state: Reconciliation::Stable,
            assigned: Partitions::new(),
            revoking: Partitions::new(),
            session_until,
            revoke_until: None,
            guest: None,
        }
    }

    /// What a heartbeat says of it; whether that changes its subscription.
    pub(super) fn update(&mut self, beat: &Beat) -> bool {
        let before = (self.topics.clone(), self.pattern.clone());
        let kept = |new: &Option<StrBytes>, old: &mut Option<StrBytes>| {
            if new.is_some() {
                old.clone_from(new);
            }
        };
        kept(&beat.instance_id, &mut self.instance_id);
        kept(&beat.rack, &mut self.rack);
        self.client_id.clone_from(&beat.client_id);
        self.client_host.clone_from(&beat.client_host);
        self.rebalance_timeout = beat.rebalance_timeout.unwrap_or(self.rebalance_timeout);
        self.assignor = beat.assignor.or(self.assignor);
        if let Some(topics) = &beat.topics {
            self.topics.clone_from(topics);
        }
        if let Some(pattern) = &beat.pattern {
            self.pattern.clone_from(pattern);
        }
        before != (self.topics.clone(), self.pattern.clone())
    }

    /// Whether it subscribes to a topic.
    pub(super) fn wants(&self, topic: &TopicName) -> bool {
        self.topics.contains(topic) || self.pattern.as_ref().is_some_and(|pattern| pattern.matches(topic))
    }

    /// Whether it has all that it should have by that assignment.
    pub(super) fn is_settled_in(&self, assignment_epoch: i32) -> bool {
        self.state == Reconciliation::Stable && self.epoch == assignment_epoch
    }

    /// As if it had been heard of just now.
    pub(super) fn begin_session(&mut self, now: Instant, session: Duration) {
        let rebalance_until = now + self.rebalance_timeout;
        let anew = |until: &mut Option<Instant>| *until = until.map(|_| rebalance_until);
        anew(&mut self.revoke_until);
        self.session_until = now + session;
        if let Some(guest) = &mut self.guest {
            self.session_until = now + guest.session_timeout;
            anew(&mut guest.join_until);
            anew(&mut guest.sync_until);
        }
    }

    /// When the group must look at it.
    pub(super) fn deadline(&self) -> Instant {
        let guest = self.guest.iter().flat_map(|guest| [guest.join_until, guest.sync_until]);
        let others = guest.chain([self.revoke_until]).flatten();
        others.fold(self.session_until, Instant::min)
    }
}
