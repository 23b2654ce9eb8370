//! What everyone should have: made anew when a subscription, a topic or the membership changed.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use super::assignor::{Assignor, Candidate};
use super::{Catalog, ConsumerGroup, Facts};

/// The subscribed topics that there are, and which of them each member wants, in the members' order.
struct Wanted {
    topics: BTreeMap<TopicName, Facts>,
    by_member: Vec<BTreeSet<TopicName>>,
}

impl ConsumerGroup {
    /// Looks at the topics if something may have changed, and makes another assignment if something has.
    pub(super) fn retarget(&mut self, catalog: &impl Catalog, subscription_changed: bool) {
        let version = catalog.version();
        let outdated = self.epoch > self.assignment_epoch;
        if !subscription_changed && !outdated && self.epoch > 0 && self.seen == Some(version) {
            return;
        }
        let wanted = self.wanted(catalog);
        self.seen = Some(version);
        // Members are told apart from those who join by an epoch above 0.
        if subscription_changed || wanted.topics != self.topics || self.epoch == 0 {
            self.epoch += 1;
        }
        self.topics.clone_from(&wanted.topics);
        if self.epoch > self.assignment_epoch {
            self.assign(&wanted);
        }
    }

    fn wanted(&self, catalog: &impl Catalog) -> Wanted {
        let mut matching: BTreeMap<StrBytes, BTreeSet<TopicName>> = BTreeMap::new();
        for pattern in self.members.values().filter_map(|member| member.pattern.as_ref()) {
            matching.entry(pattern.text.clone()).or_insert_with(|| {
                catalog.names().into_iter().filter(|name| pattern.matches(name)).collect()
            });
        }
        let mut topics = BTreeMap::new();
        let by_member = self.members.values().map(|member| {
            let matched = member.pattern.as_ref().and_then(|pattern| matching.get(&pattern.text));
            let names = member.topics.iter().chain(matched.into_iter().flatten());
            let existing = names.filter_map(|name| Some((name.clone(), catalog.facts(name)?)));
            let existing: BTreeMap<TopicName, Facts> = existing.collect();
            topics.extend(existing.clone());
            existing.into_keys().collect()
        });
        let by_member = by_member.collect();
        Wanted { topics, by_member }
    }

    fn assign(&mut self, wanted: &Wanted) {
        let counts = wanted.topics.values().copied().collect();
        let ids = |names: &BTreeSet<TopicName>| {
            names.iter().filter_map(|name| Some(wanted.topics.get(name)?.0)).collect()
        };
        let candidates: Vec<Candidate> = self
            .members
            .iter()
            .zip(&wanted.by_member)
            .map(|((id, member), names)| Candidate {
                id: id.clone(),
                instance_id: member.instance_id.clone(),
                topics: ids(names),
                has: self.targets.get(id).cloned().unwrap_or_default(),
            })
            .collect();
        let assigned = self.preferred_assignor().assign(&counts, &candidates);
        self.targets = candidates.into_iter().map(|candidate| candidate.id).zip(assigned).collect();
        self.assignment_epoch = self.epoch;
    }

    /// The assignor that most members ask for.
    pub(crate) fn preferred_assignor(&self) -> Assignor {
        let votes = |assignor: Assignor| {
            self.members.values().filter(|member| member.assignor == Some(assignor)).count()
        };
        if votes(Assignor::Range) > votes(Assignor::Uniform) { Assignor::Range } else { Assignor::Uniform }
    }
}
