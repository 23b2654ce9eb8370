//! Which partition went from whom to whom, so that two members do not swap partitions of one topic for nothing.

use std::collections::{BTreeSet, HashMap};

use crate::group::assignor::board::Cell;

/// From whom, to whom.
type Way = (usize, usize);

#[derive(Debug, Default)]
pub(super) struct Movements {
    /// By topic and way.
    cells: HashMap<(usize, Way), BTreeSet<Cell>>,
    ways: HashMap<Cell, Way>,
}

impl Movements {
    /// A partition changes hands. One that comes back to where it was at first has not moved.
    pub(super) fn note(&mut self, cell: Cell, from: usize, to: usize) {
        let origin = match self.ways.remove(&cell) {
            None => from,
            Some(way) => {
                if let Some(cells) = self.cells.get_mut(&(cell.0, way)) {
                    cells.remove(&cell);
                }
                way.0
            }
        };
        if origin != to {
            self.ways.insert(cell, (origin, to));
            self.cells.entry((cell.0, (origin, to))).or_default().insert(cell);
        }
    }

    /// The partition to move instead of `cell`: one of the same topic that went the opposite way before.
    pub(super) fn better(&self, cell: Cell, from: usize, to: usize) -> Cell {
        let origin = self.ways.get(&cell).map_or(from, |way| way.0);
        let opposite = self.cells.get(&(cell.0, (to, origin)));
        opposite.and_then(BTreeSet::first).copied().unwrap_or(cell)
    }
}
