//! `cooperative-sticky`: the sticky assignment, but what another member still holds is given to nobody. Its holder
//! gives it back and joins again; the next round hands it out.

use std::collections::HashSet;

use bytes::{Buf, Bytes};

use super::board::{Board, Cell, Hands};
use super::sticky::{self, Claim};
use super::{GroupMember, Memory};

/// The generation alone: partitions are in the subscription itself.
pub(super) fn user_data(memory: Option<&Memory>) -> Bytes {
    let generation = memory.map_or(-1, |memory| memory.generation);
    Bytes::copy_from_slice(&generation.to_be_bytes())
}

pub(super) fn assign(board: &Board<'_>) -> Hands {
    let claims: Vec<_> = board.members().map(|member| claim(board, member)).collect();
    let outcome = sticky::assign(board, &claims);
    let withheld = outcome.moving.unwrap_or_else(|| moving(&claims, &outcome.assigned));
    let mut assigned = outcome.assigned;
    for (member, hand) in assigned.iter_mut().enumerate() {
        hand.retain(|cell| !withheld.contains(&(*cell, member)));
    }
    assigned
}

fn claim(board: &Board<'_>, member: &GroupMember) -> Claim {
    let subscription = &member.subscription;
    let generation = subscription.generation.or_else(|| {
        let mut data = subscription.user_data.clone()?;
        Some(data.try_get_i32().unwrap_or(-1))
    });
    Claim {
        cells: sticky::cells(board, &subscription.owned),
        generation,
        told_generation: subscription.generation.unwrap_or(-1),
    }
}

/// What is given to somebody while somebody else has to give it back.
fn moving(claims: &[Claim], assigned: &Hands) -> HashSet<(Cell, usize)> {
    let mut added = Vec::new();
    let mut given_back = HashSet::new();
    for (member, (claim, hand)) in claims.iter().zip(assigned).enumerate() {
        let before: HashSet<_> = claim.cells.iter().copied().collect();
        let now: HashSet<_> = hand.iter().copied().collect();
        added.extend(now.difference(&before).map(|cell| (*cell, member)));
        given_back.extend(before.difference(&now).copied());
    }
    added.into_iter().filter(|(cell, _)| given_back.contains(cell)).collect()
}
