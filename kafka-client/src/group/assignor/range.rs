//! `range`: of each topic, every member gets a run of partitions; the first ones get one more.

use super::board::{Board, Hands, give};

pub(super) fn assign(board: &Board<'_>) -> Hands {
    let mut hands = board.empty_hands();
    for topic in 0..board.topic_count() {
        let takers = board.takers(topic);
        let mut cells = board.cells(topic);
        // Nobody wanting it would have kept it off the board.
        let each = board.partitions(topic) / takers.len().max(1);
        let more = board.partitions(topic) % takers.len().max(1);
        for (place, member) in takers.into_iter().enumerate() {
            let run = each + usize::from(place < more);
            give(&mut hands, member, cells.by_ref().take(run));
        }
    }
    hands
}
