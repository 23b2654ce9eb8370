//! Members that speak the classic protocol in a group of KIP-848, while a fleet goes from one to the other: JoinGroup
//! is a heartbeat that gives back what it does not name, SyncGroup tells what the member has, Heartbeat says when to
//! join again. None of them waits for anybody.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError as E;
use kafka_protocol::messages::{ConsumerProtocolSubscription, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::super::classic::{Joined, NotJoined, Synced, Syncing};
use super::super::member::{Joining, MemberId};
use super::super::protocol::{self, CONSUMER};
use super::member::Reconciliation;
use super::{Beat, Catalog, ConsumerGroup, Member, Partitions};

/// What a member has that speaks the classic protocol.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(super) session_timeout: Duration,
    pub(super) protocols: Vec<(StrBytes, Bytes)>,
    /// When it must have joined again.
    pub(super) join_until: Option<Instant>,
    /// When it must have asked for what it has.
    pub(super) sync_until: Option<Instant>,
}

impl Guest {
    fn supports(&self, name: &StrBytes) -> bool {
        self.protocols.iter().any(|(known, _)| known == name)
    }
}

impl ConsumerGroup {
    /// JoinGroup.
    pub(crate) fn join_classic(
        &mut self,
        now: Instant,
        catalog: &impl Catalog,
        request: &Joining,
    ) -> Result<Joined, NotJoined> {
        let refuse = |error, member_id: &MemberId| NotJoined { error, member_id: member_id.clone() };
        let id = if request.member_id.is_empty() { &request.fresh_id } else { &request.member_id };
        if self.members.len() >= self.terms.max_size && !self.members.contains_key(id) {
            return Err(refuse(E::GroupMaxSizeReached, &MemberId::default()));
        }
        if !self.has_protocol_of(request) {
            return Err(refuse(E::InconsistentGroupProtocol, &request.member_id));
        }
        let subscription =
            request.protocols.first().and_then(|(_, data)| protocol::subscription(data.clone()));
        let Some(subscription) = subscription else {
            return Err(refuse(E::UnknownServerError, &request.member_id));
        };
        if request.member_id.is_empty() && request.instance_id.is_none() && request.needs_member_id {
            return Err(refuse(E::MemberIdRequired, id));
        }
        self.admit_classic(now, id, request).map_err(|error| refuse(error, &request.member_id))?;
        let beat = as_beat(id, request, &subscription);
        let guest = Guest {
            session_timeout: request.session_timeout,
            protocols: request.protocols.clone(),
            join_until: None,
            sync_until: Some(now + request.rebalance_timeout),
        };
        let Some(member) = self.members.get_mut(id) else { return Err(refuse(E::UnknownMemberId, id)) };
        let changed = member.update(&beat);
        member.session_until = now + request.session_timeout;
        member.guest = Some(guest);
        self.retarget(catalog, changed);
        let owned = owned(&subscription, catalog);
        self.reconcile(now, id, Some(&owned));
        let generation = self.members.get(id).map_or(-1, |member| member.epoch);
        Ok(Joined {
            member_id: id.clone(),
            generation,
            protocol_type: Some(StrBytes::from_static_str(CONSUMER)),
            protocol: request.protocols.first().map(|(name, _)| name.clone()),
            leader: MemberId::default(),
            members: Vec::new(),
            skip_assignment: false,
        })
    }

    /// Whether all that speak the classic protocol would still have one in common.
    fn has_protocol_of(&self, request: &Joining) -> bool {
        let common = |name: &StrBytes| {
            self.members.values().filter_map(|member| member.guest.as_ref()).all(|guest| guest.supports(name))
        };
        *request.protocol_type == *CONSUMER && request.protocols.iter().any(|(name, _)| common(name))
    }

    fn admit_classic(&mut self, now: Instant, id: &MemberId, request: &Joining) -> Result<(), E> {
        let fresh = Member::new(now + request.session_timeout);
        let Some(instance) = &request.instance_id else {
            self.members.entry(id.clone()).or_insert(fresh);
            return Ok(());
        };
        match self.static_ids.get(instance).cloned() {
            // It puts its predecessor out, as in the classic protocol.
            Some(known) if request.member_id.is_empty() => self.succeed(&known, id, instance),
            Some(known) if known != *id => return Err(E::FencedInstanceId),
            Some(_) => {}
            None if request.member_id.is_empty() => {
                self.static_ids.insert(instance.clone(), id.clone());
                self.members.insert(id.clone(), fresh);
            }
            None => return Err(E::UnknownMemberId),
        }
        Ok(())
    }

    /// A member of the classic protocol, by its id and instance id.
    fn guest(&self, id: &MemberId, instance: Option<&StrBytes>) -> Result<&Member, E> {
        if let Some(instance) = instance {
            match self.static_ids.get(instance) {
                None => return Err(E::UnknownMemberId),
                Some(known) if known != id => return Err(E::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.members.get(id).filter(|member| member.guest.is_some()).ok_or(E::UnknownMemberId)
    }

    /// SyncGroup.
    pub(crate) fn sync_classic(&mut self, now: Instant, request: &Syncing) -> Result<Synced, E> {
        let member = self.guest(&request.member_id, request.instance_id.as_ref())?;
        if member.epoch != request.generation {
            return Err(E::IllegalGeneration);
        }
        let own = member.guest.as_ref().and_then(|guest| guest.protocols.first());
        let (name, metadata) = own.cloned().unwrap_or_default();
        let other_type = request.protocol_type.as_ref().is_some_and(|asked| **asked != *CONSUMER);
        if other_type || request.protocol.as_ref().is_some_and(|asked| *asked != name) {
            return Err(E::InconsistentGroupProtocol);
        }
        if self.epoch > member.epoch && member.state != Reconciliation::Unrevoked {
            self.expect_to_join(now, &request.member_id);
            return Err(E::RebalanceInProgress);
        }
        let assignment = protocol::assignment(self.by_name(&member.assigned), protocol::version(metadata));
        self.heard(now, &request.member_id, |guest| guest.sync_until = None);
        Ok(Synced {
            protocol_type: request.protocol_type.clone(),
            protocol: request.protocol.clone(),
            assignment,
        })
    }

    /// Heartbeat.
    pub(crate) fn heartbeat_classic(
        &mut self,
        now: Instant,
        id: &MemberId,
        instance: Option<&StrBytes>,
        generation: i32,
    ) -> Result<(), E> {
        let member = self.guest(id, instance)?;
        if member.epoch != generation {
            return Err(E::IllegalGeneration);
        }
        let released = || {
            let target = self.targets.get(id).into_iter().flatten();
            let mut missing = target.filter(|partition| !member.assigned.contains(partition));
            !missing.any(|partition| self.owners.contains_key(partition))
        };
        let joins = member.epoch < self.epoch
            || match member.state {
                Reconciliation::Stable => false,
                Reconciliation::Unrevoked => true,
                Reconciliation::Unreleased => released(),
            };
        self.heard(now, id, |_| {});
        if joins {
            self.expect_to_join(now, id);
            return Err(E::RebalanceInProgress);
        }
        Ok(())
    }

    /// LeaveGroup, for members of both kinds: by id, or by instance id alone (then `id` is empty).
    pub(crate) fn leave_classic(&mut self, id: &MemberId, instance: Option<&StrBytes>) -> Result<(), E> {
        let found = match instance {
            None => self.members.contains_key(id).then(|| id.clone()).ok_or(E::UnknownMemberId)?,
            Some(instance) => {
                let known = self.static_ids.get(instance).ok_or(E::UnknownMemberId)?;
                if !id.is_empty() && known != id {
                    return Err(E::FencedInstanceId);
                }
                known.clone()
            }
        };
        self.fence(&found);
        Ok(())
    }

    fn heard(&mut self, now: Instant, id: &MemberId, change: impl FnOnce(&mut Guest)) {
        let Some(member) = self.members.get_mut(id) else { return };
        if let Some(guest) = &mut member.guest {
            member.session_until = now + guest.session_timeout;
            change(guest);
        }
    }

    fn expect_to_join(&mut self, now: Instant, id: &MemberId) {
        let Some(member) = self.members.get_mut(id) else { return };
        if let Some(guest) = &mut member.guest {
            guest.join_until.get_or_insert(now + member.rebalance_timeout);
        }
    }

    /// Partitions by the names of their topics, as of the last look at the catalog.
    pub(super) fn by_name(&self, partitions: &Partitions) -> BTreeMap<TopicName, Vec<i32>> {
        let mut topics: BTreeMap<TopicName, Vec<i32>> = BTreeMap::new();
        for (name, (id, _)) in &self.topics {
            let own = partitions.iter().filter(|(topic, _)| topic == id).map(|(_, partition)| *partition);
            let own: Vec<i32> = own.collect();
            if !own.is_empty() {
                topics.insert(name.clone(), own);
            }
        }
        topics
    }
}

/// A JoinGroup as the heartbeat that it stands for.
fn as_beat(id: &MemberId, request: &Joining, subscription: &ConsumerProtocolSubscription) -> Beat {
    let topics = subscription.topics.iter().map(|name| TopicName(crate::topics::owned(name)));
    Beat {
        member_id: id.clone(),
        instance_id: request.instance_id.clone(),
        rack: subscription.rack_id.as_ref().map(crate::topics::owned),
        rebalance_timeout: Some(request.rebalance_timeout),
        topics: Some(topics.collect()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        ..Beat::default()
    }
}

fn owned(subscription: &ConsumerProtocolSubscription, catalog: &impl Catalog) -> Partitions {
    let topics = subscription.owned_partitions.iter().filter_map(|topic| {
        let (id, _) = catalog.facts(&topic.topic)?;
        Some(topic.partitions.iter().map(move |partition| (id, *partition)))
    });
    topics.flatten().collect()
}
