//! From one protocol to the other while members are there (`group.consumer.migration.policy=bidirectional`): the first
//! member that speaks KIP-848 makes the group one of it, and when the last of them goes the group is classic again.

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::super::classic::Classic;
use super::super::member::{self, MemberId};
use super::super::protocol;
use super::guests::Guest;
use super::{Catalog, ConsumerGroup, Member, Partitions, Terms};

impl ConsumerGroup {
    /// A classic group of consumers, with what its members have by their last assignment.
    pub(crate) fn of_classic(
        id: StrBytes,
        terms: Terms,
        classic: &Classic,
        catalog: &impl Catalog,
        now: Instant,
    ) -> Self {
        let mut group = Self::new(id, terms);
        group.epoch = classic.generation();
        group.assignment_epoch = group.epoch;
        for (id, known) in classic.members() {
            group.take_in(id, known, catalog, now);
        }
        group
    }

    fn take_in(&mut self, id: &MemberId, known: &member::Member, catalog: &impl Catalog, now: Instant) {
        let metadata = known.protocols.first().map(|(_, data)| data.clone()).unwrap_or_default();
        let subscription = protocol::subscription(metadata);
        let (topics, rack) = subscription.map(|said| (said.topics, said.rack_id)).unwrap_or_default();
        let assigned: Partitions = protocol::assigned(known.assignment.clone())
            .into_iter()
            .filter_map(|(name, partitions)| Some((catalog.facts(&name)?.0, partitions)))
            .flat_map(|(topic, partitions)| partitions.into_iter().map(move |partition| (topic, partition)))
            // Whoever assigned may have given one to two.
            .filter(|partition| !self.owners.contains_key(partition))
            .collect();
        if let Some(instance) = &known.instance_id {
            self.static_ids.insert(instance.clone(), id.clone());
        }
        self.owners.extend(assigned.iter().map(|partition| (*partition, id.clone())));
        self.targets.insert(id.clone(), assigned.clone());
        let guest = Guest {
            session_timeout: known.session_timeout,
            protocols: known.protocols.clone(),
            join_until: None,
            sync_until: None,
        };
        let member = Member {
            instance_id: known.instance_id.clone(),
            rack,
            client_id: known.client_id.clone(),
            client_host: known.client_host.clone(),
            topics: topics.iter().map(|name| TopicName(crate::topics::owned(name))).collect(),
            rebalance_timeout: known.rebalance_timeout,
            epoch: self.epoch,
            previous_epoch: self.epoch,
            assigned,
            guest: Some(guest),
            ..Member::new(now + known.session_timeout)
        };
        self.members.insert(id.clone(), member);
    }

    /// Whether nobody is left that speaks KIP-848, but others are.
    pub(crate) fn is_classic_again(&self) -> bool {
        !self.members.is_empty() && self.members.values().all(|member| member.guest.is_some())
    }

    /// The generation in which they go on: the last one that any of them knows.
    pub(crate) fn classic_generation(&self) -> i32 {
        self.members.values().map(|member| member.epoch).max().unwrap_or(self.epoch)
    }

    /// Its members as those of a classic group, with what they have.
    pub(crate) fn classic_members(&self) -> Vec<(MemberId, member::Member)> {
        let convert = |(id, own): (&MemberId, &Member)| {
            let guest = own.guest.as_ref()?;
            let metadata = guest.protocols.first().map(|(_, data)| data.clone()).unwrap_or_default();
            let member = member::Member {
                instance_id: own.instance_id.clone(),
                client_id: own.client_id.clone(),
                client_host: own.client_host.clone(),
                session_timeout: guest.session_timeout,
                rebalance_timeout: own.rebalance_timeout,
                protocols: guest.protocols.clone(),
                assignment: protocol::assignment(self.by_name(&own.assigned), protocol::version(metadata)),
                awaiting_join: None,
                awaiting_sync: None,
                is_new: false,
                deadline: own.session_until,
            };
            Some((id.clone(), member))
        };
        self.members.iter().filter_map(convert).collect()
    }
}
