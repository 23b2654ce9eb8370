//! Members want different topics: give out what is free to who has least, then move partitions as long as that
//! makes it more even.

use std::collections::{BTreeSet, HashMap};

use super::movements::Movements;
use crate::group::assignor::board::{Board, Cell, Hands, give};

/// The work in progress.
struct Balancing<'a> {
    board: &'a Board<'a>,
    assigned: Hands,
    /// Holders, by topic and partition.
    holders: HashMap<Cell, usize>,
    /// The members that can take part, least loaded first.
    by_load: BTreeSet<(usize, usize)>,
    /// Who wants a topic, by topic.
    takers: Vec<Vec<usize>>,
    /// Who held a partition in an earlier generation.
    earlier: HashMap<Cell, usize>,
    movements: Movements,
    /// Moves left. Java has no limit; a share-out that goes round in circles must not hold the I/O thread.
    patience: usize,
}

pub(super) fn assign(board: &Board<'_>, owned: Hands, earlier: HashMap<Cell, usize>) -> Hands {
    let takers: Vec<_> = (0..board.topic_count()).map(|topic| board.takers(topic)).collect();
    let mut balancing = Balancing {
        board,
        assigned: board.empty_hands(),
        holders: HashMap::new(),
        by_load: BTreeSet::new(),
        takers,
        earlier,
        movements: Movements::default(),
        patience: 1_000 + 10 * board.cell_count(),
    };
    let somebody_lost_a_topic = balancing.keep(owned);
    balancing.balance(somebody_lost_a_topic);
    balancing.assigned
}

impl Balancing<'_> {
    /// Everybody keeps what it holds and still wants; whether somebody does not want something any more.
    fn keep(&mut self, owned: Hands) -> bool {
        let mut lost = false;
        for (member, cells) in owned.into_iter().enumerate() {
            let held = cells.len();
            let kept: Vec<_> = cells.into_iter().filter(|cell| self.board.wants(member, cell.0)).collect();
            lost |= kept.len() < held;
            self.holders.extend(kept.iter().map(|cell| (*cell, member)));
            give(&mut self.assigned, member, kept);
        }
        self.by_load = (0..self.board.member_count()).map(|member| (self.load(member), member)).collect();
        lost
    }

    fn balance(&mut self, somebody_lost_a_topic: bool) {
        let fresh = self.holders.is_empty();
        let mut all: Vec<_> = self.board.all_cells().collect();
        all.sort_by_key(|(topic, partition)| (self.taker_count(*topic), *topic, *partition));
        let mut free: Vec<_> = all.iter().copied().filter(|cell| !self.holders.contains_key(cell)).collect();
        free.iter().for_each(|cell| self.give_to_least(*cell));

        // Only what has a choice is looked at from here on.
        all.retain(|cell| self.taker_count(cell.0) >= 2);
        free.retain(|cell| self.taker_count(cell.0) >= 2);
        let settled: Vec<_> =
            self.by_load.iter().copied().filter(|(_, member)| !self.has_choice(*member)).collect();
        settled.iter().for_each(|place| {
            self.by_load.remove(place);
        });

        let before = (self.assigned.clone(), self.unevenness());
        if !somebody_lost_a_topic {
            self.even_out(&free);
        }
        let moved = self.even_out(&all);
        if !fresh && moved && self.unevenness() >= before.1 {
            self.assigned = before.0;
        }
    }

    fn load(&self, member: usize) -> usize {
        self.assigned.get(member).map_or(0, Vec::len)
    }

    fn taker_count(&self, topic: usize) -> usize {
        self.takers.get(topic).map_or(0, Vec::len)
    }

    /// The least loaded member that wants a topic.
    fn least_loaded(&self, topic: usize) -> Option<usize> {
        self.by_load.iter().map(|(_, member)| *member).find(|member| self.board.wants(*member, topic))
    }

    fn give_to_least(&mut self, cell: Cell) {
        let Some(member) = self.least_loaded(cell.0) else { return };
        let load = self.load(member);
        self.by_load.remove(&(load, member));
        self.by_load.insert((load + 1, member));
        self.holders.insert(cell, member);
        give(&mut self.assigned, member, [cell]);
    }

    /// Whether a member could get more, or give something to somebody.
    fn has_choice(&self, member: usize) -> bool {
        let most: usize = self.board.wishes(member).iter().map(|topic| self.board.partitions(*topic)).sum();
        let held = self.assigned.get(member);
        self.load(member) < most
            || held.is_some_and(|held| held.iter().any(|cell| self.taker_count(cell.0) >= 2))
    }

    /// Whether nobody could get a partition from somebody who has at least two more.
    fn is_balanced(&self) -> bool {
        let (Some((least, _)), Some((most, _))) = (self.by_load.first(), self.by_load.last()) else {
            return true;
        };
        if least + 1 >= *most {
            return true;
        }
        let mut heaviest = vec![0; self.board.topic_count()];
        for (cell, holder) in &self.holders {
            if let Some(heaviest) = heaviest.get_mut(cell.0) {
                *heaviest = self.load(*holder).max(*heaviest);
            }
        }
        self.by_load.iter().all(|(load, member)| {
            let mut wishes = self.board.wishes(*member).iter();
            wishes.all(|topic| heaviest.get(*topic).is_none_or(|heaviest| load + 1 >= *heaviest))
        })
    }

    /// The sum of the differences between all loads.
    fn unevenness(&self) -> usize {
        let loads: Vec<_> = self.by_load.iter().map(|(load, _)| *load).collect();
        // Ascending: each load is added once for every smaller one and taken away once for every larger one.
        let below: usize = loads.iter().enumerate().map(|(place, load)| load * place).sum();
        let above: usize = loads.iter().rev().enumerate().map(|(place, load)| load * place).sum();
        below.saturating_sub(above)
    }

    /// Moves `cells`, in turn and again, until it is balanced or nothing moves; whether anything moved.
    fn even_out(&mut self, cells: &[Cell]) -> bool {
        let mut moved = false;
        loop {
            let mut again = false;
            let mut balanced = self.is_balanced();
            for cell in cells {
                if balanced {
                    break;
                }
                if let Some(to) = self.better_holder(*cell) {
                    self.move_for(*cell, to);
                    again = true;
                    balanced = self.patience == 0 || self.is_balanced();
                }
            }
            moved |= again;
            if !again || self.patience == 0 {
                return moved;
            }
        }
    }

    /// Who should have a partition, if it is not its holder: who had it before, or the least loaded.
    fn better_holder(&self, cell: Cell) -> Option<usize> {
        let load = self.load(*self.holders.get(&cell)?);
        let has_two_less = |member: &usize| self.load(*member) + 1 < load;
        let takers = self.takers.get(cell.0)?;
        let earlier = self.earlier.get(&cell).copied().filter(has_two_less);
        if let Some(earlier) = earlier.filter(|earlier| takers.contains(earlier)) {
            return Some(earlier);
        }
        takers.iter().any(has_two_less).then(|| self.least_loaded(cell.0))?
    }

    /// Moves a partition to a member, or another one of the topic that does as well.
    fn move_for(&mut self, cell: Cell, to: usize) {
        self.patience = self.patience.saturating_sub(1);
        let Some(holder) = self.holders.get(&cell).copied() else { return };
        let cell = self.movements.better(cell, holder, to);
        let Some(from) = self.holders.insert(cell, to) else { return };
        self.movements.note(cell, from, to);
        for member in [from, to] {
            self.by_load.remove(&(self.load(member), member));
        }
        if let Some(hand) = self.assigned.get_mut(from) {
            hand.retain(|held| *held != cell);
        }
        give(&mut self.assigned, to, [cell]);
        for member in [from, to] {
            self.by_load.insert((self.load(member), member));
        }
    }
}
