//! `sticky`: as balanced as can be, and of all balanced assignments one that moves little.
//!
//! Two algorithms, as in Java: the quick one where all members want the same topics, the general one otherwise.

mod constrained;
mod general;
mod movements;

use std::collections::{HashMap, HashSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Memory;
use super::board::{Board, Cell, Hands};
use crate::group::protocol::by_topic;
use crate::ids::{TopicName, TopicPartition};

/// What a member says that it holds.
#[derive(Debug, Default)]
pub(super) struct Claim {
    pub(super) cells: Vec<Cell>,
    /// The generation that it holds them from.
    pub(super) generation: Option<i32>,
    /// The generation of its subscription's own field, -1 where there is none: when two claim the same partition,
    /// Java compares one's `generation` with the other's field.
    pub(super) told_generation: i32,
}

/// What comes out.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) assigned: Hands,
    /// What goes to a member while another one holds it, where the algorithm notes that.
    pub(super) moving: Option<HashSet<(Cell, usize)>>,
}

/// Claims that do not contradict each other.
#[derive(Debug)]
struct Settled {
    owned: Hands,
    /// Claimed by several members of one generation: nobody's.
    contested: HashSet<Cell>,
}

pub(super) fn assign(board: &Board<'_>, claims: &[Claim]) -> Outcome {
    let settled = settle(board, claims);
    match want_the_same(board) {
        true => constrained::assign(board, &settled),
        false => {
            let assigned = general::assign(board, settled.owned, earlier(claims));
            Outcome { assigned, moving: None }
        }
    }
}

fn want_the_same(board: &Board<'_>) -> bool {
    let mut wishes = board.members().map(|member| {
        let topics = &member.subscription.topics;
        (topics.len(), topics.iter().collect::<HashSet<_>>())
    });
    let first = wishes.next();
    wishes.all(|other| Some(&other) == first.as_ref())
}

/// Of several claims to one partition the highest generation's holds; within one generation none does.
fn settle(board: &Board<'_>, claims: &[Claim]) -> Settled {
    let mut holders: HashMap<Cell, usize> = HashMap::new();
    let mut owned = board.empty_hands();
    let mut contested = HashSet::new();
    for (member, claim) in claims.iter().enumerate() {
        let generation = claim.generation.unwrap_or(-1);
        for cell in &claim.cells {
            let other = holders.get(cell).copied();
            let others = other.and_then(|other| claims.get(other)).map(|other| other.told_generation);
            if others.is_some_and(|others| others > generation) {
                continue;
            }
            if let Some(hand) = other.and_then(|other| owned.get_mut(other)) {
                hand.retain(|held| held != cell);
            }
            holders.insert(*cell, member);
            match others {
                Some(others) if others == generation => {
                    contested.insert(*cell);
                }
                _ => super::board::give(&mut owned, member, [*cell]),
            }
        }
    }
    Settled { owned, contested }
}

/// Who held what in generations before the highest: the latest of them for each partition.
fn earlier(claims: &[Claim]) -> HashMap<Cell, usize> {
    let highest = claims.iter().filter_map(|claim| claim.generation).max().unwrap_or(-1).max(-1);
    let mut earlier: HashMap<Cell, (i32, usize)> = HashMap::new();
    for (member, claim) in claims.iter().enumerate() {
        let generation = claim.generation.unwrap_or(-1);
        if generation >= highest {
            continue;
        }
        for cell in &claim.cells {
            let latest = earlier.entry(*cell).or_insert((generation, member));
            if generation > latest.0 {
                *latest = (generation, member);
            }
        }
    }
    earlier.into_iter().map(|(cell, (_, member))| (cell, member)).collect()
}

/// The claims of members of the eager `sticky`: their previous assignment is in their user data.
pub(super) fn claims(board: &Board<'_>) -> Vec<Claim> {
    let claim = |member: &super::GroupMember| {
        let told_generation = member.subscription.generation.unwrap_or(-1);
        let data = member.subscription.user_data.clone().filter(|data| !data.is_empty());
        let Some(data) = data else { return Claim { told_generation, ..Claim::default() } };
        let (partitions, generation) = parse(data).unwrap_or((Vec::new(), Some(-1)));
        Claim { cells: cells(board, &partitions), generation, told_generation }
    };
    board.members().map(claim).collect()
}

/// The cells of these partitions; what does not exist any more is left out.
pub(super) fn cells(board: &Board<'_>, partitions: &[TopicPartition]) -> Vec<Cell> {
    partitions.iter().filter_map(|partition| board.cell(*partition)).collect()
}

/// An array of topics with their partitions, and the generation.
pub(super) fn user_data(memory: &Memory) -> Bytes {
    let topics = by_topic(&memory.partitions);
    let mut bytes = BytesMut::new();
    let length = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
    bytes.put_i32(length(topics.len()));
    for (topic, partitions) in topics {
        let name = topic.as_str();
        // A topic's name has at most 249 characters.
        bytes.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        bytes.put_slice(name.as_bytes());
        bytes.put_i32(length(partitions.len()));
        partitions.into_iter().for_each(|partition| bytes.put_i32(partition));
    }
    bytes.put_i32(memory.generation);
    bytes.freeze()
}

/// The reverse. The oldest form has no generation.
fn parse(mut data: Bytes) -> Option<(Vec<TopicPartition>, Option<i32>)> {
    let mut partitions = Vec::new();
    for _ in 0..data.try_get_i32().ok()? {
        let length = usize::try_from(data.try_get_i16().ok()?).ok()?;
        if data.len() < length {
            return None;
        }
        let name = data.split_to(length);
        let topic = TopicName::new(std::str::from_utf8(&name).ok()?);
        for _ in 0..data.try_get_i32().ok()? {
            partitions.push(TopicPartition { topic, partition: data.try_get_i32().ok()? });
        }
    }
    Some((partitions, data.try_get_i32().ok()))
}
