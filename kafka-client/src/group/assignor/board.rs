//! Names as ranks: comparing numbers gives Java's order of the names, and is cheap.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::GroupMember;
use crate::group::protocol::java_order;
use crate::ids::{TopicName, TopicPartition};

/// A partition: the rank of its topic, its number.
pub(super) type Cell = (usize, usize);

/// The cells of each member, by rank.
pub(super) type Hands = Vec<Vec<Cell>>;

/// How members are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// By member id.
    ById,
    /// Static members by instance id, then the others by member id.
    StaticFirst,
}

/// The members and the topics that somebody wants and that exist.
#[derive(Debug)]
pub(super) struct Board<'a> {
    members: &'a [GroupMember],
    /// Indices of members, by rank.
    ranked: Vec<usize>,
    /// Topics and their number of partitions, by rank.
    topics: Vec<(TopicName, usize)>,
    /// Ranks of topics.
    ranks: HashMap<TopicName, usize>,
    /// The topics that each member wants, by rank, ascending.
    wishes: Vec<Vec<usize>>,
}

impl<'a> Board<'a> {
    pub(super) fn new(counts: &HashMap<TopicName, usize>, members: &'a [GroupMember], order: Order) -> Self {
        let mut topics: Vec<_> = members
            .iter()
            .flat_map(|member| &member.subscription.topics)
            .filter_map(|topic| Some((*topic, *counts.get(topic)?)))
            .filter(|(_, partitions)| *partitions > 0)
            .collect();
        topics.sort_by(|(one, _), (other, _)| java_order(one.as_str(), other.as_str()));
        topics.dedup();
        let ranks: HashMap<_, _> =
            topics.iter().enumerate().map(|(rank, (topic, _))| (*topic, rank)).collect();

        let mut ranked: Vec<_> = members.iter().enumerate().collect();
        ranked.sort_by(|(_, one), (_, other)| compare(one, other, order));
        let wishes = ranked.iter().map(|(_, member)| {
            let mut wishes: Vec<_> =
                member.subscription.topics.iter().filter_map(|topic| ranks.get(topic).copied()).collect();
            wishes.sort_unstable();
            wishes.dedup();
            wishes
        });
        let wishes = wishes.collect();
        let ranked = ranked.into_iter().map(|(index, _)| index).collect();
        Self { members, ranked, topics, ranks, wishes }
    }

    /// Members by rank.
    pub(super) fn members(&self) -> impl Iterator<Item = &'a GroupMember> {
        self.ranked.iter().filter_map(|index| self.members.get(*index))
    }

    pub(super) fn member_count(&self) -> usize {
        self.ranked.len()
    }

    pub(super) fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// How many partitions a topic has.
    pub(super) fn partitions(&self, topic: usize) -> usize {
        self.topics.get(topic).map_or(0, |(_, partitions)| *partitions)
    }

    /// All cells of a topic.
    pub(super) fn cells(&self, topic: usize) -> impl Iterator<Item = Cell> + use<> {
        (0..self.partitions(topic)).map(move |partition| (topic, partition))
    }

    /// All cells, in order.
    pub(super) fn all_cells(&self) -> impl Iterator<Item = Cell> {
        (0..self.topics.len()).flat_map(|topic| self.cells(topic))
    }

    pub(super) fn cell_count(&self) -> usize {
        self.topics.iter().map(|(_, partitions)| partitions).sum()
    }

    /// The cell of a partition, if it exists and somebody wants its topic.
    pub(super) fn cell(&self, partition: TopicPartition) -> Option<Cell> {
        let topic = *self.ranks.get(&partition.topic)?;
        let number = usize::try_from(partition.partition).ok()?;
        (number < self.partitions(topic)).then_some((topic, number))
    }

    /// The topics that a member wants.
    pub(super) fn wishes(&self, member: usize) -> &[usize] {
        self.wishes.get(member).map_or(&[], Vec::as_slice)
    }

    pub(super) fn wants(&self, member: usize, topic: usize) -> bool {
        self.wishes(member).binary_search(&topic).is_ok()
    }

    /// The members that want a topic, by rank.
    pub(super) fn takers(&self, topic: usize) -> Vec<usize> {
        (0..self.member_count()).filter(|member| self.wants(*member, topic)).collect()
    }

    /// Nothing in any hand.
    pub(super) fn empty_hands(&self) -> Hands {
        vec![Vec::new(); self.member_count()]
    }

    /// By name, in the order in which members came.
    pub(super) fn name(&self, hands: Hands) -> Vec<Vec<TopicPartition>> {
        let mut named = vec![Vec::new(); self.members.len()];
        for (index, cells) in self.ranked.iter().zip(hands) {
            if let Some(place) = named.get_mut(*index) {
                *place = cells.into_iter().filter_map(|cell| self.partition(cell)).collect();
            }
        }
        named
    }

    fn partition(&self, (topic, number): Cell) -> Option<TopicPartition> {
        let (topic, _) = self.topics.get(topic)?;
        Some(TopicPartition { topic: *topic, partition: i32::try_from(number).ok()? })
    }
}

fn compare(one: &GroupMember, other: &GroupMember, order: Order) -> Ordering {
    let by_instance = match (order, &one.instance_id, &other.instance_id) {
        (Order::ById, ..) | (Order::StaticFirst, None, None) => Ordering::Equal,
        (Order::StaticFirst, Some(_), None) => Ordering::Less,
        (Order::StaticFirst, None, Some(_)) => Ordering::Greater,
        (Order::StaticFirst, Some(one), Some(other)) => java_order(one, other),
    };
    by_instance.then_with(|| java_order(&one.id, &other.id))
}

/// Puts a cell into a member's hand.
pub(super) fn give(hands: &mut Hands, member: usize, cells: impl IntoIterator<Item = Cell>) {
    if let Some(hand) = hands.get_mut(member) {
        hand.extend(cells);
    }
}
