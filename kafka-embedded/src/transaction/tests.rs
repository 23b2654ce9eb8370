use super::*;
use kafka_protocol::ResponseError;

const TIMEOUT: Duration = Duration::from_secs(60);
const NEXT: i64 = 99;

fn identity(producer_id: i64, epoch: i16) -> Identity {
    Identity { producer_id, epoch }
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: 1_000 }
}

fn partition(index: i32) -> Participant {
    Participant::Partition(TopicName(StrBytes::from_static_str("orders")), index)
}

fn init(transaction: &mut Transaction, given: Option<Identity>) -> Result<Init, ResponseError> {
    transaction.init(TIMEOUT, given, || NEXT)
}

fn end(
    transaction: &mut Transaction,
    by: Identity,
    ending: Ending,
    protocol: Protocol,
) -> Result<Identity, ResponseError> {
    transaction.end(by, ending, protocol, || NEXT)
}

/// Writes all markers; whose they were.
fn settle(transaction: &mut Transaction) -> Vec<(i32, Identity)> {
    let mut written = Vec::new();
    transaction.write_markers(|participant, _, by| {
        if let Participant::Partition(_, index) = participant {
            written.push((*index, by));
        }
        true
    });
    written
}

/// An id whose producer 1 has a transaction open in partition 0.
fn ongoing() -> (Transaction, Identity) {
    let mut transaction = Transaction::new(1);
    assert_eq!(init(&mut transaction, None), Ok(Init::Ready(identity(1, 0))));
    transaction.add(identity(1, 0), [partition(0)], now()).unwrap();
    (transaction, identity(1, 0))
}

#[test]
fn each_initialisation_fences_the_one_before() {
    let mut transaction = Transaction::new(1);
    assert_eq!(init(&mut transaction, None), Ok(Init::Ready(identity(1, 0))));
    assert_eq!(init(&mut transaction, None), Ok(Init::Ready(identity(1, 1))));
    let old = identity(1, 0);
    assert_eq!(transaction.add(old, [partition(0)], now()), Err(ResponseError::ProducerFenced));
    assert_eq!(end(&mut transaction, old, Ending::Commit, Protocol::One), Err(ResponseError::ProducerFenced));
    let other = identity(7, 1);
    assert_eq!(transaction.add(other, [partition(0)], now()), Err(ResponseError::InvalidProducerIdMapping));
}

#[test]
fn a_new_producer_aborts_the_open_transaction_of_the_old() {
    let (mut transaction, zombie) = ongoing();
    assert_eq!(init(&mut transaction, None), Ok(Init::Aborting));
    assert_eq!(init(&mut transaction, None), Err(ResponseError::ConcurrentTransactions), "no marker yet");
    assert_eq!(settle(&mut transaction), [(0, identity(1, 1))]);
    assert_eq!(transaction.state(), State::CompleteAbort);
    assert_eq!(init(&mut transaction, None), Ok(Init::Ready(identity(1, 2))));
    assert_eq!(init(&mut transaction, Some(zombie)), Err(ResponseError::ProducerFenced));
}

#[test]
fn version_1_keeps_the_epoch_and_version_2_bumps_it() {
    let (mut transaction, by) = ongoing();
    assert_eq!(end(&mut transaction, by, Ending::Commit, Protocol::One), Ok(by));
    assert_eq!(
        end(&mut transaction, by, Ending::Commit, Protocol::One),
        Err(ResponseError::ConcurrentTransactions)
    );
    assert_eq!(settle(&mut transaction), [(0, by)]);
    assert_eq!(end(&mut transaction, by, Ending::Commit, Protocol::One), Ok(by), "once more");
    assert_eq!(end(&mut transaction, by, Ending::Abort, Protocol::One), Err(ResponseError::InvalidTxnState));

    let (mut transaction, by) = ongoing();
    let bumped = identity(1, 1);
    assert_eq!(end(&mut transaction, by, Ending::Commit, Protocol::Two), Ok(bumped));
    assert_eq!(settle(&mut transaction), [(0, bumped)]);
    assert_eq!(end(&mut transaction, by, Ending::Commit, Protocol::Two), Ok(bumped), "once more");
    assert_eq!(end(&mut transaction, by, Ending::Abort, Protocol::Two), Err(ResponseError::InvalidTxnState));
    assert_eq!(
        end(&mut transaction, bumped, Ending::Commit, Protocol::Two),
        Err(ResponseError::InvalidTxnState),
        "nothing to commit"
    );
    assert_eq!(end(&mut transaction, bumped, Ending::Abort, Protocol::Two), Ok(identity(1, 2)));
    assert_eq!(settle(&mut transaction), []);
    assert_eq!(transaction.state(), State::CompleteAbort);
}

#[test]
fn when_the_epochs_are_used_up_another_producer_id_follows() {
    let mut transaction = Transaction::new(1);
    let mut last = identity(1, -1);
    for _ in 0..=i16::MAX - 1 {
        match init(&mut transaction, None) {
            Ok(Init::Ready(next)) => last = next,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(last, identity(1, i16::MAX - 1));
    transaction.add(last, [partition(0)], now()).unwrap();
    let successor = identity(NEXT, 0);
    assert_eq!(end(&mut transaction, last, Ending::Commit, Protocol::Two), Ok(successor));
    assert_eq!(settle(&mut transaction), [(0, identity(1, i16::MAX))], "the markers are the old id's");
    assert_eq!(end(&mut transaction, last, Ending::Commit, Protocol::Two), Ok(successor), "once more");
    assert_eq!(init(&mut transaction, Some(last)), Ok(Init::Ready(successor)), "its answer was lost");
    assert_eq!(init(&mut transaction, Some(successor)), Ok(Init::Ready(identity(NEXT, 1))));
}

#[test]
fn initialising_with_the_last_epoch_rotates_and_its_repetition_is_answered_alike() {
    let mut transaction = Transaction::new(1);
    while init(&mut transaction, None) != Ok(Init::Ready(identity(1, i16::MAX - 1))) {}
    let last = identity(1, i16::MAX - 1);
    assert_eq!(
        init(&mut transaction, Some(identity(1, 3))),
        Err(ResponseError::UnknownServerError),
        "as Kafka's coordinator fails"
    );
    assert_eq!(init(&mut transaction, Some(last)), Ok(Init::Ready(identity(NEXT, 0))));
    assert_eq!(init(&mut transaction, Some(last)), Ok(Init::Ready(identity(NEXT, 0))), "once more");
    assert_eq!(init(&mut transaction, None), Ok(Init::Ready(identity(NEXT, 1))));
    assert_eq!(init(&mut transaction, Some(last)), Err(ResponseError::ProducerFenced));
}

#[test]
fn a_producer_that_recovers_gets_the_next_epoch_and_a_repetition_the_same() {
    let mut transaction = Transaction::new(1);
    let first = identity(1, 0);
    init(&mut transaction, None).unwrap();
    assert_eq!(init(&mut transaction, Some(first)), Ok(Init::Ready(identity(1, 1))));
    assert_eq!(init(&mut transaction, Some(first)), Ok(Init::Ready(identity(1, 1))), "its answer was lost");
    assert_eq!(init(&mut transaction, None), Ok(Init::Ready(identity(1, 2))));
    assert_eq!(init(&mut transaction, Some(identity(1, 1))), Err(ResponseError::ProducerFenced));
    assert_eq!(init(&mut transaction, Some(identity(8, 2))), Err(ResponseError::ProducerFenced));
    let mut fresh = Transaction::new(5);
    assert_eq!(init(&mut fresh, Some(identity(1, 3))), Ok(Init::Ready(identity(5, 0))), "unknown here");
}

#[test]
fn only_what_was_added_verifies() {
    let (mut transaction, by) = ongoing();
    assert_eq!(transaction.verify(by, &partition(0)), Ok(()));
    assert_eq!(transaction.verify(by, &partition(1)), Err(ResponseError::TransactionAbortable));
    assert_eq!(transaction.verify(identity(1, 1), &partition(0)), Err(ResponseError::ProducerFenced));
    end(&mut transaction, by, Ending::Commit, Protocol::One).unwrap();
    assert_eq!(transaction.verify(by, &partition(0)), Err(ResponseError::ConcurrentTransactions));
    settle(&mut transaction);
    assert_eq!(transaction.verify(by, &partition(0)), Err(ResponseError::TransactionAbortable));
}

#[test]
fn a_transaction_is_aborted_when_its_time_is_up() {
    let (mut transaction, by) = ongoing();
    let deadline = transaction.deadline().unwrap();
    transaction.add(by, [partition(1)], now()).unwrap();
    assert_eq!(transaction.deadline(), Some(deadline), "its time runs from the beginning");
    transaction.expire(deadline - Duration::from_millis(1));
    assert_eq!(transaction.state(), State::Ongoing);
    transaction.expire(deadline);
    assert_eq!((transaction.state(), transaction.deadline()), (State::PrepareAbort, None));
    assert_eq!(settle(&mut transaction), [(0, identity(1, 1)), (1, identity(1, 1))]);
    assert_eq!(end(&mut transaction, by, Ending::Commit, Protocol::One), Err(ResponseError::ProducerFenced));
}

#[test]
fn a_transaction_is_complete_when_every_marker_is_written() {
    let (mut transaction, by) = ongoing();
    transaction.add(by, [partition(1)], now()).unwrap();
    end(&mut transaction, by, Ending::Abort, Protocol::Two).unwrap();
    transaction.write_markers(|participant, _, _| *participant == partition(1));
    assert_eq!(transaction.state(), State::PrepareAbort);
    assert_eq!(settle(&mut transaction), [(0, identity(1, 1))], "each is written once");
    assert_eq!(transaction.state(), State::CompleteAbort);
}
