//! Transactions against a scripted coordinator, in paused time.

mod broker;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::ResponseError as E;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, EndTxnRequest, InitProducerIdRequest,
    ProduceRequest, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::Request;

use self::broker::Broker;
use super::*;
use crate::client::{Client, Io};
use crate::group::CommittedOffset;
use crate::ids::TopicPartition;
use crate::net::fake::{Fake, config as client_config};

const SECOND: Duration = Duration::from_secs(1);

type Shared = Arc<Mutex<Broker>>;

struct World {
    broker: Shared,
    fake: Arc<Fake>,
    producer: TransactionalProducer,
}

impl World {
    fn codes(&self, codes: &[(i16, E)]) {
        self.broker.lock().unwrap().codes = codes.iter().map(|(key, code)| (*key, code.code())).collect();
    }

    fn committed(&self) -> Vec<String> {
        let committed = self.broker.lock().unwrap().committed.clone();
        committed.into_iter().map(|value| String::from_utf8(value).unwrap()).collect()
    }

    fn ends(&self) -> Vec<bool> {
        self.broker.lock().unwrap().ends.clone()
    }
}

fn world_with(broker: Broker) -> World {
    let broker = Arc::new(Mutex::new(broker));
    let script = Arc::clone(&broker);
    let fake = Fake::new(move |asked| script.lock().unwrap().answer(asked));
    let client = Client::with_seams(client_config(&["host-1:9092"]), fake.seams(), Io::Current).unwrap();
    let config =
        ProducerConfig { max_block: 10 * SECOND, delivery_timeout: 60 * SECOND, ..ProducerConfig::default() };
    World { broker, producer: client.transactional_producer(config, "id").unwrap(), fake }
}

fn world(feature: i16) -> World {
    world_with(Broker { feature, init: 4, ..Broker::default() })
}

fn record(partition: i32, value: &str) -> Outgoing<'_> {
    Outgoing {
        topic: "orders".into(),
        partition: Some(partition),
        timestamp: Some(1),
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
    }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(60 * SECOND, held).await.is_ok(), "{what}");
}

fn offsets(offset: i64) -> Offsets {
    let committed = CommittedOffset { offset, leader_epoch: -1, metadata: String::new() };
    vec![(TopicPartition::new("in", 0), committed)]
}

fn member() -> GroupMetadata {
    GroupMetadata {
        group_id: "g".into(),
        generation: 5,
        member_id: "m".into(),
        instance_id: None,
        life: None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_there_and_what_is_aborted_is_not() {
    for feature in [0, 2] {
        let world = world(feature);
        for round in 0..3 {
            let transaction = world.producer.begin().await.unwrap();
            for partition in 0..3 {
                let value = format!("c{round}");
                drop(transaction.enqueue(record(partition, &value)).await.unwrap());
            }
            transaction.send_offsets(offsets(round), member()).await.unwrap();
            transaction.commit().await.unwrap();
            let transaction = world.producer.begin().await.unwrap();
            transaction.send(record(0, "aborted")).await.unwrap();
            transaction.abort().await.unwrap();
        }
        assert_eq!(world.committed(), ["c0", "c0", "c0", "c1", "c1", "c1", "c2", "c2", "c2"]);
        assert_eq!(world.ends(), [true, false, true, false, true, false]);
        let offsets = world.broker.lock().unwrap().offsets.clone();
        assert_eq!(offsets, (0..3).map(|round| (round, 5, "m".to_owned())).collect::<Vec<_>>());
        let (added, groups) =
            (world.fake.count(ApiKey::AddPartitionsToTxn), world.fake.count(ApiKey::AddOffsetsToTxn));
        assert_eq!((added > 0, groups > 0), (feature < 2, feature < 2));
        assert_eq!(world.fake.count(ApiKey::InitProducerId), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_transaction_is_told_to_nobody() {
    let world = world(0);
    world.producer.begin().await.unwrap().commit().await.unwrap();
    world.producer.begin().await.unwrap().abort().await.unwrap();
    assert_eq!(world.fake.count(ApiKey::EndTxn), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_transaction_is_aborted_before_the_next() {
    let world = world(2);
    let transaction = world.producer.begin().await.unwrap();
    let open = world.producer.begin().await.map(|_| ()).unwrap_err();
    assert!(matches!(open, TransactionError::AlreadyOpen { .. }), "{open}");
    transaction.send(record(0, "dropped")).await.unwrap();
    let never = transaction.enqueue(record(1, "never")).await.unwrap();
    drop(transaction);
    let transaction = world.producer.begin().await.unwrap();
    let why = never.await.unwrap_err();
    assert!(matches!(&why, SendError::NoTransaction { .. }), "{why}");
    transaction.send(record(0, "kept")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((world.committed(), world.ends()), (vec!["kept".to_owned()], vec![false, true]));
}

/// As the work of a request that was given up drops everything at once, with a batch on its way.
#[tokio::test(start_paused = true)]
async fn an_end_outlives_all_handles() {
    for (feature, commits) in [(0, true), (0, false), (2, true), (2, false)] {
        let World { broker, fake, producer } = world(feature);
        broker.lock().unwrap().writes_for = SECOND;
        let transaction = producer.begin().await.unwrap();
        drop(transaction.enqueue_awaited(record(0, "one")).await.unwrap());
        drop(producer);
        eventually("the batch goes out", || fake.count(ApiKey::Produce) == 1).await;
        match commits {
            true => assert!(tokio::time::timeout(SECOND / 100, transaction.commit()).await.is_err()),
            false => drop(transaction),
        }
        eventually("it ends", || !broker.lock().unwrap().ends.is_empty()).await;
        let told = broker.lock().unwrap();
        assert_eq!((told.ends.clone(), told.overtaken), (vec![commits], 0), "{feature}");
        assert_eq!(told.committed.len(), usize::from(commits));
    }
}

/// The last handle is dropped by the thread that it keeps alive.
#[test]
fn the_io_thread_ends_behind_the_end() {
    let broker = Arc::new(Mutex::new(Broker { feature: 2, init: 4, ..Broker::default() }));
    broker.lock().unwrap().writes_for = SECOND / 10;
    let script = Arc::clone(&broker);
    let fake = Fake::new(move |asked| script.lock().unwrap().answer(asked));
    let client = Client::with_seams(client_config(&["host-1:9092"]), fake.seams(), Io::OwnThread).unwrap();
    let producer = client.transactional_producer(ProducerConfig::default(), "id").unwrap();
    let (witness, gone) = std::sync::mpsc::channel::<()>();
    producer.handle.context.io.spawn(async move {
        let _witness = witness;
        std::future::pending::<()>().await;
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let transaction = runtime.block_on(async {
        let transaction = producer.begin().await.unwrap();
        drop(transaction.enqueue_awaited(record(0, "one")).await.unwrap());
        eventually("the batch goes out", || fake.count(ApiKey::Produce) == 1).await;
        transaction
    });
    drop((client, producer));
    drop(transaction);
    let ended = gone.recv_timeout(20 * SECOND);
    assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(broker.lock().unwrap().ends, [false]);
}

#[tokio::test(start_paused = true)]
async fn closing_takes_its_time_once_and_no_end_overtakes_a_batch() {
    for commits in [true, false] {
        let world = world(2);
        world.broker.lock().unwrap().writes_for = 20 * SECOND;
        let transaction = world.producer.begin().await.unwrap();
        drop(transaction.enqueue_awaited(record(0, "one")).await.unwrap());
        eventually("the batch goes out", || world.fake.count(ApiKey::Produce) == 1).await;
        let committing = commits.then(|| tokio::spawn(transaction.commit()));
        let began = tokio::time::Instant::now();
        let closed = world.producer.close(3 * SECOND).await;
        assert!((3 * SECOND..4 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
        if let Some(committing) = committing {
            let limit = |error: &SendError| match error {
                SendError::FlushTimeout { batches: 1, after } => Some(*after),
                _ => None,
            };
            assert_eq!(closed.as_ref().err().and_then(limit), Some(3 * SECOND), "{closed:?}");
            let error = committing.await.unwrap().unwrap_err();
            assert!(matches!(error, TransactionError::Closed { .. }), "{error}");
        }
        // Longer than it would take to tell the end.
        let told = tokio::time::timeout(60 * SECOND, async {
            while world.ends().is_empty() {
                tokio::time::sleep(SECOND).await;
            }
        });
        assert!(told.await.is_err() && world.broker.lock().unwrap().overtaken == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_not_written_dooms_the_transaction_alone() {
    for feature in [0, 2] {
        let world = world(feature);
        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "one")).await.unwrap();
        world.codes(&[(ProduceRequest::KEY, E::InvalidRecord)]);
        let ignored = transaction.enqueue(record(0, "two")).await.unwrap();
        let error = transaction.commit().await.unwrap_err();
        assert!(matches!(error, TransactionError::Unwritten { .. }), "{error}");
        assert_eq!(error.remedy(), Remedy::Again);
        assert!(ignored.await.is_err());

        let transaction = world.producer.begin().await.unwrap();
        world.codes(&[(ProduceRequest::KEY, E::InvalidRecord)]);
        transaction.send(record(0, "two")).await.unwrap_err();
        let refused = transaction.send(record(1, "three")).await.unwrap_err();
        assert!(refused.to_string().contains("was not written"), "{refused}");
        drop(transaction);

        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "four")).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!((world.committed(), world.ends()), (vec!["four".to_owned()], vec![false, false, true]));
        // Without KIP-890, the client asks for the next epoch after each gap.
        assert_eq!(world.fake.count(ApiKey::InitProducerId), if feature >= 2 { 1 } else { 3 });
    }
}

#[tokio::test(start_paused = true)]
async fn before_kafka_2_5_a_gap_is_the_end() {
    let world = world_with(Broker { init: 2, ..Broker::default() });
    let transaction = world.producer.begin().await.unwrap();
    world.codes(&[(ProduceRequest::KEY, E::InvalidRecord)]);
    transaction.send(record(0, "one")).await.unwrap_err();
    transaction.abort().await.unwrap();
    let end = world.producer.begin().await.unwrap_err();
    assert!(matches!(end, TransactionError::Fatal { .. }), "{end}");
    assert_eq!(end.remedy(), Remedy::NewProducer);
}

#[tokio::test(start_paused = true)]
async fn who_is_fenced_is_told_so_everywhere() {
    for feature in [0, 2] {
        let world = world(feature);
        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "zombie")).await.unwrap();
        // Somebody else.
        world.broker.lock().unwrap().epoch += 5;
        let late = transaction.send(record(0, "late")).await.unwrap_err();
        assert!(matches!(&late, SendError::Refused { .. }), "{late}");
        let fenced = transaction.commit().await.unwrap_err();
        assert!(fenced.is_fenced(), "{fenced}");
        let again = world.producer.begin().await.unwrap_err();
        assert!(again.is_fenced(), "{again}");
        assert_eq!(again.remedy(), Remedy::NewProducer);
        assert_eq!(world.committed(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for() {
    let world = world(0);
    let transaction = world.producer.begin().await.unwrap();
    let again = [
        (AddPartitionsToTxnRequest::KEY, E::ConcurrentTransactions),
        (AddPartitionsToTxnRequest::KEY, E::NotCoordinator),
        (ProduceRequest::KEY, E::NotLeaderOrFollower),
        (AddOffsetsToTxnRequest::KEY, E::CoordinatorLoadInProgress),
        (TxnOffsetCommitRequest::KEY, E::NotCoordinator),
        (EndTxnRequest::KEY, E::CoordinatorNotAvailable),
        (EndTxnRequest::KEY, E::ConcurrentTransactions),
    ];
    world.codes(&again);
    transaction.send(record(0, "one")).await.unwrap();
    transaction.send_offsets(offsets(1), member()).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(world.committed(), ["one"]);
    assert_eq!(world.fake.count(ApiKey::FindCoordinator), 2 + 3, "they were looked for again");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_the_end_is_asked_for_again() {
    for feature in [0, 2] {
        let world = world(feature);
        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "one")).await.unwrap();
        world.broker.lock().unwrap().lost = vec![EndTxnRequest::KEY];
        transaction.commit().await.unwrap();
        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "two")).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(world.committed(), ["one", "two"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_said_and_settled_by_the_next() {
    let world = world(0);
    let transaction = world.producer.begin().await.unwrap();
    transaction.send(record(0, "one")).await.unwrap();
    world.codes(&[(EndTxnRequest::KEY, E::CoordinatorLoadInProgress); 100]);
    let unknown = transaction.commit().await.unwrap_err();
    assert!(matches!(unknown, TransactionError::OutcomeUnknown { .. }), "{unknown}");
    assert_eq!(unknown.remedy(), Remedy::Look);
    world.codes(&[]);
    let transaction = world.producer.begin().await.unwrap();
    assert_eq!(world.fake.count(ApiKey::InitProducerId), 2);
    transaction.send(record(0, "two")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(world.committed(), ["two"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_lost_its_place_cannot_commit() {
    for code in [E::IllegalGeneration, E::UnknownMemberId, E::FencedInstanceId, E::TransactionAbortable] {
        let world = world(2);
        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "one")).await.unwrap();
        world.codes(&[(TxnOffsetCommitRequest::KEY, code)]);
        let refused = transaction.send_offsets(offsets(1), member()).await.unwrap_err();
        assert!(matches!(refused, TransactionError::Refused { .. }), "{refused}");
        let same = transaction.commit().await.unwrap_err();
        assert_eq!(same.to_string(), refused.to_string());
        assert_eq!(world.ends(), [false]);
        world.producer.begin().await.unwrap().commit().await.unwrap();
    }
}

/// It may be in the same generation again, having begun anew below these offsets.
#[tokio::test(start_paused = true)]
async fn a_member_that_lost_all_meanwhile_cannot_commit() {
    let world = world(2);
    let lease = crate::group::Lease::forever();
    let stamp = || GroupMetadata { life: Some(lease.life()), ..member() };
    let before = stamp();
    let transaction = world.producer.begin().await.unwrap();
    transaction.send(record(0, "lost")).await.unwrap();
    lease.end();
    let refused = transaction.send_offsets(offsets(1), before).await.unwrap_err();
    assert!(refused.to_string().contains("in-0"), "{refused}");
    assert!(transaction.commit().await.is_err());
    let transaction = world.producer.begin().await.unwrap();
    transaction.send(record(0, "kept")).await.unwrap();
    transaction.send_offsets(offsets(1), stamp()).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((world.committed(), world.ends()), (vec!["kept".to_owned()], vec![false, true]));
}

#[tokio::test(start_paused = true)]
async fn what_it_may_not_do_is_said_at_once() {
    let world = world(0);
    world.codes(&[(InitProducerIdRequest::KEY, E::TransactionalIdAuthorizationFailed)]);
    let refused = world.producer.prepare().await.unwrap_err();
    assert!(matches!(refused, TransactionError::Fatal { .. }), "{refused}");

    let world = self::world(0);
    let transaction = world.producer.begin().await.unwrap();
    world.codes(&[(AddPartitionsToTxnRequest::KEY, E::TopicAuthorizationFailed)]);
    let refused = transaction.send(record(0, "one")).await.unwrap_err();
    assert!(matches!(&refused, SendError::NoTransaction { .. }), "{refused}");
    assert!(refused.to_string().to_lowercase().contains("authorization"), "{refused}");
    transaction.abort().await.unwrap();
    assert_eq!(world.ends(), Vec::<bool>::new(), "the coordinator knows of nothing");
    let transaction = world.producer.begin().await.unwrap();
    transaction.send(record(1, "two")).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_closed_producer_commits_nothing() {
    let world = world(0);
    let transaction = world.producer.begin().await.unwrap();
    transaction.send(record(0, "one")).await.unwrap();
    world.producer.close(SECOND).await.unwrap();
    let closed = transaction.commit().await.unwrap_err();
    assert!(matches!(closed, TransactionError::Closed { .. }), "{closed}");
    assert_eq!(world.committed(), Vec::<String>::new());
}
