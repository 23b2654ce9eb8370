//! Ways of sharing partitions out, with the same results as the Java client's, so that a group can have leaders of
//! both kinds. Pure: members and numbers of partitions in, partitions of each member out.
//!
//! ```text
//!   members, partition counts ──▶ Board (names become ranks in Java's order) ──▶ range | round_robin | sticky
//!                                                                                    │ cooperative withholds
//!   partitions of each member ◀───────────────── names again ◀────────────────────────┘ what others still hold
//! ```
//!
//! Where Java's result depends on the order of its hash tables (about 5 % of the sticky ones), ours takes members and
//! partitions in the order of their names. Racks of members are told to Java leaders (KIP-881), not used here.

mod board;
mod cooperative;
mod range;
mod round_robin;
mod sticky;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use bytes::Bytes;

use super::protocol::MemberSubscription;
use crate::config::Assignor;
use crate::ids::{TopicName, TopicPartition};
use board::{Board, Order};

/// A member as the leader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GroupMember {
    pub(super) id: String,
    /// `group.instance.id`
    pub(super) instance_id: Option<String>,
    pub(super) subscription: MemberSubscription,
}

/// How partitions change hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RebalanceProtocol {
    /// Everybody gives everything back, then joins.
    Eager,
    /// Members join with what they hold and give back only what moves (KIP-429).
    Cooperative,
}

impl RebalanceProtocol {
    /// Java's rule: the best that all assignors of the list support.
    pub(super) fn of(assignors: &[Assignor]) -> Self {
        match assignors.iter().all(|assignor| *assignor == Assignor::CooperativeSticky) {
            true => Self::Cooperative,
            false => Self::Eager,
        }
    }
}

/// What the assignor of the last rebalance remembers of it, for the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) generation: i32,
}

impl Assignor {
    /// Kafka's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin, Self::Sticky, Self::CooperativeSticky]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// What it adds to a subscription; `memory` if it made this member's last assignment.
    pub(super) fn user_data(self, memory: Option<&Memory>) -> Option<Bytes> {
        match self {
            Self::Range | Self::RoundRobin => None,
            Self::Sticky => memory.map(sticky::user_data),
            Self::CooperativeSticky => Some(cooperative::user_data(memory)),
        }
    }

    /// The partitions of each of `members`, in their order. Topics that are not in `topics` have no partitions.
    pub(super) fn assign(
        self,
        topics: &HashMap<TopicName, usize>,
        members: &[GroupMember],
    ) -> Vec<Vec<TopicPartition>> {
        let order = match self {
            Self::Range | Self::RoundRobin => Order::StaticFirst,
            Self::Sticky | Self::CooperativeSticky => Order::ById,
        };
        let board = Board::new(topics, members, order);
        let assigned = match self {
            Self::Range => range::assign(&board),
            Self::RoundRobin => round_robin::assign(&board),
            Self::Sticky => sticky::assign(&board, &sticky::claims(&board)).assigned,
            Self::CooperativeSticky => cooperative::assign(&board),
        };
        board.name(assigned)
    }
}
