//! `roundrobin`: all partitions in order, dealt to members in turn; who does not want the topic is passed over.

use super::board::{Board, Hands, give};

pub(super) fn assign(board: &Board<'_>) -> Hands {
    let mut hands = board.empty_hands();
    let count = board.member_count();
    let mut next = 0;
    for cell in board.all_cells() {
        let turns = (next..count).chain(0..next);
        let Some(member) = { turns }.find(|member| board.wants(*member, cell.0)) else { continue };
        give(&mut hands, member, [cell]);
        next = (member + 1) % count;
    }
    hands
}
