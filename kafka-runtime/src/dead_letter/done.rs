//! Which dead letters of a partition were sent back (pure): a set of offsets, kept as a commit of the replay's group.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::container::{Frame, Remembered, encode};

/// What a broker keeps beside a committed offset, by default (`offset.metadata.max.bytes`).
const LONGEST: usize = 4096;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    /// Everything below.
    below: i64,
    /// And these: begin to end, above `below`, apart from each other.
    ranges: BTreeMap<i64, i64>,
}

impl Done {
    /// Nothing yet of a partition that begins at `first`; what was committed with `metadata` is more.
    pub(super) fn new(first: i64, committed: Option<(i64, &str)>) -> Self {
        let mut done = Self { below: first, ranges: BTreeMap::new() };
        if let Some((offset, metadata)) = committed {
            done.below = offset;
            Remembered::decode(metadata, offset).ranges().for_each(|range| done.add(range));
            // What retention took needs no replay any more.
            done.add(offset..first);
        }
        done
    }

    /// The first that is not.
    pub(super) fn below(&self) -> i64 {
        self.below
    }

    pub(super) fn contains(&self, offset: i64) -> bool {
        let range = self.ranges.range(..=offset).next_back();
        offset < self.below || range.is_some_and(|(_, end)| offset < *end)
    }

    pub(super) fn add(&mut self, range: Range<i64>) {
        let (mut start, mut end) = (range.start.max(self.below), range.end);
        if start >= end {
            return;
        }
        while let Some((from, to)) = self.ranges.range(..=end).next_back().map(|(from, to)| (*from, *to)) {
            if to < start {
                break;
            }
            self.ranges.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        if start == self.below {
            self.below = end;
        } else {
            self.ranges.insert(start, end);
        }
    }

    /// The offset and the metadata that say it; `None` where they would not fit.
    pub(super) fn committed(&self) -> Option<(i64, String)> {
        let frame = Frame { base: self.below, leader_epoch: -1, limit: LONGEST };
        let (text, end) = encode(frame, self.ranges.iter().map(|(start, end)| *start..*end));
        let last = self.ranges.last_key_value().map_or(self.below, |(_, end)| *end);
        (end >= last).then_some((self.below, text))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gaps_are_kept_and_closed() {
        let mut done = Done::new(10, None);
        done.add(12..14);
        done.add(15..16);
        assert_eq!((done.below(), done.contains(11), done.contains(13)), (10, false, true));
        done.add(14..15);
        done.add(10..12);
        assert_eq!(done, Done { below: 16, ranges: BTreeMap::new() });
    }

    #[test]
    fn what_retention_took_is_done() {
        let mut done = Done::new(0, None);
        done.add(2..3);
        let (offset, text) = done.committed().unwrap();
        assert_eq!(Done::new(5, Some((offset, &text))).below(), 5);
        assert_eq!(Done::new(0, Some((offset, &text))), done);
    }

    #[test]
    fn too_many_gaps_do_not_fit() {
        let mut done = Done::new(0, None);
        let mut offset = 1i64;
        for step in 0..20_000 {
            done.add(offset..offset + 1);
            offset += 2 + (step * 7919) % 500;
        }
        assert_eq!(done.committed(), None);
    }

    proptest! {
        #[test]
        fn it_is_the_set_of_what_was_added_and_survives_a_commit(
            first in 0..5i64, ranges in proptest::collection::vec((0..60i64, 0..6i64), 0..20),
        ) {
            let (mut done, mut model) = (Done::new(first, None), BTreeSet::new());
            model.extend(0..first);
            for (start, length) in ranges {
                done.add(start..start + length);
                model.extend(start..start + length);
            }
            let (offset, text) = done.committed().unwrap();
            let again = Done::new(first, Some((offset, &text)));
            for offset in 0..80 {
                prop_assert_eq!(done.contains(offset), model.contains(&offset), "{}", offset);
                prop_assert_eq!(again.contains(offset), model.contains(&offset), "{} again", offset);
            }
        }
    }
}
