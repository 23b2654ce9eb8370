use proptest::prelude::*;

use super::*;

fn stamp(epoch: i16, base_sequence: i32, count: i32) -> Stamp {
    let last_sequence = add_to_sequence(base_sequence, count - 1);
    let by = Identity { producer_id: 1, epoch };
    Stamp { by, base_sequence, last_sequence, timestamp: 5, transactional: false }
}

fn at(base_offset: i64) -> Written {
    Written { base_offset, append_time: -1 }
}

#[test]
fn a_new_epoch_begins_at_0_and_fences_the_old() {
    let mut producers = Producers::default();
    producers.written(stamp(0, 0, 3), at(0));
    assert_eq!(producers.check(stamp(1, 3, 1), Admission::Plain), Verdict::OutOfOrder);
    assert_eq!(producers.check(stamp(1, 0, 1), Admission::Plain), Verdict::Append);
    producers.written(stamp(1, 0, 1), at(3));
    assert_eq!(producers.check(stamp(0, 3, 1), Admission::Plain), Verdict::Fenced);
    assert_eq!(producers.check(stamp(1, 1, 1), Admission::Plain), Verdict::Append);
}

#[test]
fn a_producer_that_is_not_known_may_start_anywhere() {
    assert_eq!(Producers::default().check(stamp(3, 17, 1), Admission::Plain), Verdict::Append);
}

proptest! {
    /// One producer that sends in order, repeats and skips, from a sequence near the wrap on.
    #[test]
    fn repeats_are_answered_again_and_gaps_refused(
        start in prop::sample::select(vec![0, 100, i32::MAX - 20, i32::MAX]),
        steps in prop::collection::vec((0usize..9, 1i32..5), 1..60),
    ) {
        let mut producers = Producers::default();
        let mut written: Vec<(Stamp, Written)> = Vec::new();
        let (mut next, mut offset) = (start, 0);
        for (step, count) in steps {
            match written.len().checked_sub(step) {
                // Mostly the next batch.
                _ if step == 0 || step > 6 => {
                    let batch = stamp(0, next, count);
                    prop_assert_eq!(producers.check(batch, Admission::Plain), Verdict::Append);
                    producers.written(batch, at(offset));
                    written.push((batch, at(offset)));
                    next = add_to_sequence(next, count);
                    offset += i64::from(count);
                }
                // One of those before: known if it is among the last five.
                Some(index) => {
                    let (batch, place) = written[index];
                    let expected = if step <= 5 { Verdict::Duplicate(place) } else { Verdict::OutOfOrder };
                    prop_assert_eq!(producers.check(batch, Admission::Plain), expected);
                }
                // A gap, once there is something to have a gap behind.
                None if !written.is_empty() => {
                    let gap = stamp(0, add_to_sequence(next, count), 1);
                    prop_assert_eq!(producers.check(gap, Admission::Plain), Verdict::OutOfOrder);
                }
                None => {}
            }
        }
    }
}

fn in_transaction(epoch: i16, base_sequence: i32) -> Stamp {
    Stamp { transactional: true, ..stamp(epoch, base_sequence, 1) }
}

fn marker(producer_epoch: i16, coordinator_epoch: i32) -> EndMarker {
    let ending = kafka_client::records::control::Ending::Commit;
    EndMarker { ending, producer_id: 1, producer_epoch, coordinator_epoch, timestamp: 9 }
}

#[test]
fn a_transaction_is_open_from_its_first_batch_to_its_marker() {
    let mut producers = Producers::default();
    let check = |producers: &Producers, stamp, admission| producers.check(stamp, admission);
    let first = in_transaction(0, 0);
    assert_eq!(check(&producers, first, Admission::Plain), Verdict::WrongTransaction, "nobody was asked");
    assert_eq!(check(&producers, first, Admission::Verified), Verdict::Append);
    producers.written(first, at(7));
    assert!(producers.is_open(first.by()));
    assert_eq!(producers.first_open(), Some(7));
    let second = in_transaction(0, 1);
    assert_eq!(check(&producers, second, Admission::Plain), Verdict::Append);
    assert_eq!(check(&producers, stamp(0, 1, 1), Admission::Plain), Verdict::WrongTransaction);
    assert_eq!(producers.ended(&marker(0, 3)), Some(7));
    assert_eq!((producers.first_open(), producers.is_open(first.by())), (None, false));
    assert_eq!(check(&producers, second, Admission::Plain), Verdict::WrongTransaction);
    assert_eq!(check(&producers, second, Admission::Verified), Verdict::Append, "sequences go on");
    assert_eq!(producers.check_marker(&marker(0, 2)), Err(MarkerRefused::CoordinatorFenced));
    assert_eq!(producers.check_marker(&marker(-1, 3)), Err(MarkerRefused::ProducerFenced));
    assert_eq!(producers.ended(&marker(0, 3)), None, "nothing was open");
}

#[test]
fn a_marker_of_the_next_epoch_shuts_the_old_one_out() {
    let mut producers = Producers::default();
    producers.written(in_transaction(0, 0), at(0));
    assert_eq!(producers.ended(&marker(1, 0)), Some(0));
    assert_eq!(producers.check(in_transaction(0, 1), Admission::Verified), Verdict::Fenced);
    assert_eq!(producers.check(in_transaction(1, 1), Admission::Added), Verdict::OutOfOrder);
    assert_eq!(producers.check(in_transaction(1, 0), Admission::Added), Verdict::Append);
}

#[test]
fn in_version_2_a_transaction_begins_with_sequence_0_where_nothing_is_known() {
    let producers = Producers::default();
    assert_eq!(producers.check(in_transaction(0, 4), Admission::Verified), Verdict::Append);
    assert_eq!(producers.check(in_transaction(0, 4), Admission::Added), Verdict::OutOfOrder);
}
