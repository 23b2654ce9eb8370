//! Where the consumer listens: what a membership tells it, by either protocol.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::complaints::Complaints;
use super::{GroupEvent, Identity, Lease};
use crate::cluster::ClusterMetadata;
use crate::error::Error;
use crate::ids::{TopicName, TopicPartition};
use crate::watch;

/// Where the consumer listens.
#[derive(Debug)]
pub(super) struct Outlets {
    /// Its group's id, for the log.
    group: String,
    events: mpsc::UnboundedSender<GroupEvent>,
    identity: watch::Sender<Identity>,
    pub(super) lease: Arc<Lease>,
    complaints: Complaints,
}

impl Outlets {
    pub(super) fn new(
        group: String,
        events: mpsc::UnboundedSender<GroupEvent>,
        identity: watch::Sender<Identity>,
        lease: Arc<Lease>,
    ) -> Self {
        Self { group, events, identity, lease, complaints: Complaints::default() }
    }

    /// What commits are stamped with from now on.
    pub(super) fn identity(&self, identity: Identity) {
        self.identity.send_replace(identity);
    }

    pub(super) fn assigned(&self, partitions: Vec<TopicPartition>) {
        let generation = self.identity.borrow().generation;
        tracing::info!(group = %self.group, generation, added = partitions.len(), "assigned");
        tracing::debug!(group = %self.group, ?partitions, "assigned");
        self.emit(GroupEvent::Assigned(partitions));
    }

    /// Resolves when the consumer is done, by a message or by dropping.
    pub(super) fn revoked(
        &self,
        partitions: Vec<TopicPartition>,
        deadline: Instant,
    ) -> oneshot::Receiver<()> {
        tracing::info!(group = %self.group, count = partitions.len(), "revoked");
        tracing::debug!(group = %self.group, ?partitions, "revoked");
        let (done, given_back) = oneshot::channel();
        self.emit(GroupEvent::Revoked { partitions, deadline, done });
        given_back
    }

    pub(super) fn lost(&self, partitions: Vec<TopicPartition>) {
        tracing::warn!(group = %self.group, count = partitions.len(), "lost");
        tracing::debug!(group = %self.group, ?partitions, "lost");
        self.emit(GroupEvent::Lost(partitions));
    }

    pub(super) fn fatal(&self, error: Error) {
        tracing::error!(group = %self.group, %error, "the membership has ended");
        self.emit(GroupEvent::Fatal(error));
    }

    /// Tells of trouble, unless it was told just now.
    pub(super) fn complain(&mut self, error: Error, now: Instant) {
        if self.complaints.admit(&error, now) {
            tracing::debug!(group = %self.group, %error, "the membership goes on");
            self.emit(GroupEvent::Problem(error));
        }
    }

    /// A new picture: which of these topics cannot be read?
    pub(super) fn look_at_topics(&mut self, picture: &ClusterMetadata, topics: &[TopicName], now: Instant) {
        self.complaints.look_at(picture, topics, now);
    }

    /// Tells of topics that could not be read for a while.
    pub(super) fn complain_of_topics(&mut self, now: Instant) {
        for trouble in self.complaints.topics(now) {
            self.emit(GroupEvent::Problem(trouble));
        }
    }

    fn emit(&self, event: GroupEvent) {
        // A consumer that does not listen any more is about to drop the membership.
        let _ = self.events.send(event);
    }
}
