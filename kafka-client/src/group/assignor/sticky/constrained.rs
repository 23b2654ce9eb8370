//! All members want the same topics: everybody gets the average, some one more.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Outcome, Settled};
use crate::group::assignor::board::{Board, Cell, Hands, give};

/// The work in progress.
struct Dealing {
    assigned: Hands,
    /// Below the average.
    hungry: Vec<usize>,
    /// At the average, and may get one more while some are to have one more.
    content: VecDeque<usize>,
    average: usize,
    /// How many may still have one more than the average.
    extras: usize,
    /// Cells that their holders could not keep.
    let_go: HashMap<Cell, usize>,
    moving: HashSet<(Cell, usize)>,
}

pub(super) fn assign(board: &Board<'_>, settled: &Settled) -> Outcome {
    let members = board.member_count().max(1);
    let mut dealing = Dealing {
        assigned: board.empty_hands(),
        hungry: Vec::new(),
        content: VecDeque::new(),
        average: board.cell_count() / members,
        extras: board.cell_count() % members,
        let_go: HashMap::new(),
        moving: HashSet::new(),
    };
    for (member, owned) in settled.owned.iter().enumerate() {
        let owned = owned.iter().copied().filter(|cell| !settled.contested.contains(cell));
        dealing.keep(member, owned.collect());
    }
    let kept: HashSet<Cell> = dealing.assigned.iter().flatten().copied().collect();
    let rest = board.all_cells().filter(|cell| !kept.contains(cell));
    dealing.deal(rest, &settled.contested);
    Outcome { assigned: dealing.assigned, moving: Some(dealing.moving) }
}

impl Dealing {
    /// A member keeps what it holds, up to its share. Lower partitions first, so that topics stay together.
    fn keep(&mut self, member: usize, mut owned: Vec<Cell>) {
        owned.sort_unstable_by_key(|(topic, partition)| (*partition, *topic));
        let share = match owned.len() {
            held if held < self.average => held,
            held if held > self.average && self.extras > 0 => self.average + 1,
            _ => self.average,
        };
        let over = owned.split_off(share.min(owned.len()));
        self.let_go.extend(over.into_iter().map(|cell| (cell, member)));
        if share > self.average {
            self.take_extra();
        } else if share < self.average {
            self.hungry.push(member);
        } else if self.extras > 0 {
            self.content.push_back(member);
        }
        give(&mut self.assigned, member, owned);
    }

    fn take_extra(&mut self) {
        self.extras -= 1;
        if self.extras == 0 {
            self.content.clear();
        }
    }

    /// The rest goes round among the hungry, then one each to the content.
    fn deal(&mut self, rest: impl Iterator<Item = Cell>, contested: &HashSet<Cell>) {
        // Members are ranked by name; who becomes content later stands behind, whatever the name.
        let mut turn = 0;
        for cell in rest {
            if turn >= self.hungry.len() {
                turn = 0;
            }
            let (member, was_hungry) = match self.hungry.get(turn) {
                Some(member) => (*member, true),
                None => match self.content.pop_front() {
                    Some(member) => (member, false),
                    // The shares add up to all cells.
                    None => return,
                },
            };
            let elsewhere = self.let_go.get(&cell).is_some_and(|holder| *holder != member);
            if elsewhere || contested.contains(&cell) {
                self.moving.insert((cell, member));
            }
            give(&mut self.assigned, member, [cell]);
            let fed = self.assigned.get(member).is_some_and(|hand| hand.len() >= self.average);
            match (was_hungry, fed) {
                (true, true) => {
                    self.hungry.remove(turn);
                    self.content.push_back(member);
                }
                (true, false) => turn += 1,
                (false, _) => {}
            }
        }
    }
}
