//! What is remembered in metadata.

use std::ops::Range;

use proptest::prelude::*;

use super::super::remembered::{Frame, Remembered, encode};

fn frame(base: i64, limit: usize) -> Frame {
    Frame { base, leader_epoch: 7, limit }
}

/// Ranges above a base: lengths of what is open and what is finished, in turn.
fn ranges(base: i64, lengths: &[(i64, i64)]) -> Vec<Range<i64>> {
    let mut at = base;
    let range = |(open, finished): &(i64, i64)| {
        let start = at + open;
        at = start + finished;
        start..at
    };
    lengths.iter().map(range).collect()
}

fn decoded(text: &str, base: i64) -> Vec<Range<i64>> {
    Remembered::decode(text, base).ranges().collect()
}

#[test]
fn one_parked_record_costs_a_few_characters() {
    let finished = ranges(1_000_000, &[(1, 250_000)]);
    let (text, end) = encode(frame(1_000_000, 4096), finished.clone().into_iter());
    assert_eq!((end, decoded(&text, 1_000_000)), (1_250_001, finished));
    assert!(text.len() < 32, "{text}");
}

#[test]
fn every_second_of_twenty_thousand_fits() {
    let finished = ranges(0, &[(1, 1); 10_000]);
    let (text, end) = encode(frame(0, 4096), finished.clone().into_iter());
    assert_eq!((end, decoded(&text, 0)), (20_000, finished));
    assert!(text.len() < 3_400, "{}", text.len());
}

#[test]
fn it_is_only_for_its_offset_and_its_version() {
    let (text, _) = encode(frame(10, 4096), ranges(10, &[(1, 5)]).into_iter());
    assert_eq!(decoded(&text, 10).len(), 1);
    assert!(decoded(&text, 11).is_empty());
    assert!(decoded(&text.replace("kr1.", "kr2."), 10).is_empty());
    for other in ["", "kr1.", "kr1.AAAA", "java", "{\"processed\": 5}", "kr1.\u{e4}\u{f6}"] {
        assert!(decoded(other, 10).is_empty(), "{other}");
    }
}

#[test]
fn a_record_of_a_later_leader_took_the_place() {
    let (text, _) = encode(frame(10, 4096), ranges(10, &[(1, 5), (2, 5)]).into_iter());
    let mut kept = Remembered::decode(&text, 10);
    assert_eq!([10, 11, 15, 16, 18].map(|offset| kept.take(offset, 7)), [false, true, true, false, true]);
    let mut replaced = Remembered::decode(&text, 10);
    assert!(replaced.take(11, 6));
    assert!(!replaced.take(12, 8), "written after it was remembered");
    assert!(!replaced.take(13, 7), "and so is all that follows");
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        base in 0..1i64 << 60,
        lengths in prop::collection::vec((1..300i64, 1..300i64), 0..600),
        epoch in -1..i32::MAX,
        limit in 0..4097usize,
    ) {
        let finished = ranges(base, &lengths);
        let frame = Frame { base, leader_epoch: epoch, limit };
        let (text, end) = encode(frame, finished.clone().into_iter());
        prop_assert!(text.len() <= limit);
        let told: Vec<_> = finished.into_iter().take_while(|range| range.end <= end).collect();
        prop_assert_eq!(text.is_empty(), told.is_empty());
        let mut read = Remembered::decode(&text, base);
        prop_assert_eq!(&read.ranges().collect::<Vec<_>>(), &told);
        for range in &told {
            prop_assert!(!read.take(range.start - 1, epoch));
            prop_assert!(read.take(range.start, epoch) && read.take(range.end - 1, epoch));
        }
    }

    #[test]
    fn what_was_changed_says_nothing(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]", lengths in prop::collection::vec((1..9i64, 1..9i64), 1..20)) {
        let (text, _) = encode(frame(5, 4096), ranges(5, &lengths).into_iter());
        let at = 4 + at.index(text.len() - 4);
        let mut changed = text.clone();
        changed.replace_range(at..=at, &to);
        // The last digit has bits that mean nothing.
        if changed != text && at + 1 < text.len() {
            prop_assert!(decoded(&changed, 5).is_empty());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}", version in any::<bool>(), base in any::<i64>()) {
        let text = if version { format!("kr1.{text}") } else { text };
        prop_assert!(decoded(&text, base).is_empty());
    }
}
