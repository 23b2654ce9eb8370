//! Who commits in a group, for those that commit elsewhere: in a transaction.

use std::sync::Arc;

use super::commit::Holding;
use crate::error::{Error, Result};
use crate::group::{Identity, Lease, Life};
use crate::ids::TopicPartition;
use crate::watch;

/// Who commits offsets of a group in a transaction (KIP-447): see [`ConsumerHandle::group_metadata`].
///
/// [`ConsumerHandle::group_metadata`]: super::ConsumerHandle::group_metadata
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadata {
    /// `group.id`
    pub group_id: String,
    /// The generation (or member epoch) that the member is in; -1 for nobody.
    pub generation: i32,
    /// The member's id; empty for nobody.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `None` for nobody.
    pub(crate) life: Option<Life>,
}

impl GroupMetadata {
    /// Of nobody in particular: the broker checks no membership. For readers of fixed partitions, fenced by their
    /// transactional id alone.
    pub fn nobody(group_id: impl Into<String>) -> Self {
        let Identity { member_id, generation } = Identity::none();
        Self { group_id: group_id.into(), generation, member_id, instance_id: None, life: None }
    }
}

/// What the metadata is made from.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) group: String,
    pub(super) instance_id: Option<String>,
    /// `None` for a reader of fixed partitions.
    pub(super) identity: Option<watch::Receiver<Identity>>,
    pub(super) holding: Arc<Holding>,
    pub(super) lease: Arc<Lease>,
}

impl Membership {
    pub(super) fn metadata(&self, partitions: &[TopicPartition]) -> Result<GroupMetadata> {
        let Some(identity) = &self.identity else { return Ok(GroupMetadata::nobody(self.group.clone())) };
        // Before the check: a partition that is given away and taken again meanwhile has a later generation, or life.
        let life = self.lease.life();
        let identity = identity.borrow().clone();
        // The broker checks nothing of what has no generation.
        let holds = |partition| identity.is_member() && self.holding.has(partition);
        match partitions.iter().find(|partition| !holds(**partition)) {
            Some(partition) => Err(Error::NotHeld { partition: *partition }),
            None => Ok(GroupMetadata {
                group_id: self.group.clone(),
                generation: identity.generation,
                member_id: identity.member_id,
                instance_id: self.instance_id.clone(),
                life: Some(life),
            }),
        }
    }
}
