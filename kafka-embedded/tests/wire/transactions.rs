//! Transactions on the wire, in time that stands still.

use std::time::Duration;

use kafka_client::records::control::{ControlType, control_type, coordinator_epoch};
use kafka_client::records::encode::ProducerStamp;
use kafka_client::records::{BatchHeader, Batches};
use kafka_embedded::EmbeddedKafka;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, EndTxnResponse, GroupId, InitProducerIdRequest, ListOffsetsRequest,
    ListTransactionsRequest, OffsetFetchRequest, ProducerId, TransactionalId, TxnOffsetCommitRequest,
    WriteTxnMarkersRequest,
};

use crate::peer::{Peer, batch, fetch, fetch_request, produce_request, records, text, topic};
use crate::versions::{Bench, is};

const MINUTE: i32 = 60_000;

fn id() -> TransactionalId {
    TransactionalId(text("payments"))
}

/// A producer as it was told who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Me {
    id: ProducerId,
    epoch: i16,
}

async fn init(peer: &mut Peer) -> Result<Me, i16> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(MINUTE)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let answer = peer.call(5, &request).await;
    match answer.error_code {
        0 => Ok(Me { id: answer.producer_id, epoch: answer.producer_epoch }),
        error => Err(error),
    }
}

/// Produces in a transaction, with the version that decides how the partition is added.
async fn write(peer: &mut Peer, version: i16, me: Me, base_sequence: i32, values: &[&str]) -> i16 {
    let stamp = ProducerStamp { producer_id: me.id.0, epoch: me.epoch, base_sequence, transactional: true };
    let request = produce_request("orders", 0, batch(values, stamp)).with_transactional_id(Some(id()));
    let answer = peer.call(version, &request).await;
    answer.responses[0].partition_responses[0].error_code
}

async fn add(peer: &mut Peer, me: Me) -> i16 {
    let orders = AddPartitionsToTxnTopic::default().with_name(topic("orders")).with_partitions(vec![0]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id())
        .with_v3_and_below_producer_id(me.id)
        .with_v3_and_below_producer_epoch(me.epoch)
        .with_v3_and_below_topics(vec![orders]);
    let answer = peer.call(3, &request).await;
    answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
}

async fn end(peer: &mut Peer, version: i16, me: Me, commit: bool) -> EndTxnResponse {
    let request = EndTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(me.id)
        .with_producer_epoch(me.epoch)
        .with_committed(commit);
    peer.call(version, &request).await
}

async fn read_committed(peer: &mut Peer) -> PartitionData {
    fetch(peer, &fetch_request("orders", 0, 0).with_isolation_level(1)).await
}

async fn latest(peer: &mut Peer, isolation: i8) -> i64 {
    let partition = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(-1);
    let orders = ListOffsetsTopic::default().with_name(topic("orders")).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_isolation_level(isolation).with_topics(vec![orders]);
    peer.call(7, &request).await.topics[0].partitions[0].offset
}

async fn one_broker() -> (EmbeddedKafka, Peer) {
    let kafka = EmbeddedKafka::builder().topic("orders", 1).in_memory().start().await.unwrap();
    let peer = Peer::connect(&kafka, 1).await;
    (kafka, peer)
}

fn code(error: ResponseError) -> i16 {
    error.code()
}

/// The control records of a partition: what each says, and by which epoch of the coordinator.
fn markers(data: &PartitionData) -> Vec<(BatchHeader, ControlType, i32)> {
    let mut batches = Batches::new(data.records.clone().unwrap(), true);
    let mut all = Vec::new();
    while let Some(batch) = batches.next_batch().unwrap() {
        let header = *batch.header();
        for record in batch.records().map(Result::unwrap).filter(|_| header.is_control) {
            let control = control_type(record.key).unwrap();
            all.push((header, control, coordinator_epoch(record.value).unwrap()));
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_hides_what_follows_and_its_marker_shows_it() {
    let (_kafka, mut peer) = one_broker().await;
    let me = init(&mut peer).await.unwrap();
    assert_eq!(write(&mut peer, 12, me, 0, &["a", "b"]).await, 0);
    let open = read_committed(&mut peer).await;
    assert_eq!((open.high_watermark, open.last_stable_offset), (2, 0));
    assert_eq!(open.records.as_deref(), Some(&[][..]));
    assert_eq!((latest(&mut peer, 0).await, latest(&mut peer, 1).await), (2, 0));

    let ended = end(&mut peer, 5, me, true).await;
    assert_eq!((ended.error_code, ended.producer_id, ended.producer_epoch), (0, me.id, me.epoch + 1));
    let closed = read_committed(&mut peer).await;
    assert_eq!((closed.high_watermark, closed.last_stable_offset), (3, 3));
    assert_eq!(closed.aborted_transactions, Some(vec![]));
    let found = markers(&closed);
    let (header, control, epoch) = found[0];
    assert_eq!((control, epoch, found.len()), (ControlType::Commit, 0, 1));
    assert_eq!((header.base_offset, header.producer_id, header.producer_epoch), (2, me.id.0, me.epoch + 1));
    assert_eq!((header.base_sequence, header.is_transactional), (-1, true));

    // The next one is aborted: its records are there, and the answer says whose they are.
    let me = Me { id: me.id, epoch: ended.producer_epoch };
    assert_eq!(write(&mut peer, 12, me, 0, &["c"]).await, 0);
    assert_eq!(end(&mut peer, 5, me, false).await.error_code, 0);
    let closed = read_committed(&mut peer).await;
    let aborted = closed.aborted_transactions.as_ref().unwrap();
    let aborted: Vec<_> = aborted.iter().map(|one| (one.producer_id, one.first_offset)).collect();
    assert_eq!(aborted, [(me.id, 3)]);
    let behind = fetch(&mut peer, &fetch_request("orders", 0, 5).with_isolation_level(1)).await;
    assert_eq!(behind.aborted_transactions, Some(vec![]), "a reader behind it need not know");
}

#[tokio::test(start_paused = true)]
async fn in_version_1_partitions_are_added_before_they_are_written_to() {
    let (_kafka, mut peer) = one_broker().await;
    let me = init(&mut peer).await.unwrap();
    assert_eq!(write(&mut peer, 10, me, 0, &["a"]).await, code(ResponseError::InvalidTxnState));
    assert_eq!(write(&mut peer, 11, me, 0, &["a"]).await, code(ResponseError::TransactionAbortable));
    assert_eq!(end(&mut peer, 4, me, true).await.error_code, code(ResponseError::InvalidTxnState));
    assert_eq!(add(&mut peer, me).await, 0);
    assert_eq!(write(&mut peer, 11, me, 0, &["a"]).await, 0);
    assert_eq!(write(&mut peer, 11, me, 1, &["b"]).await, 0);
    assert_eq!(end(&mut peer, 4, me, true).await.error_code, 0);
    assert_eq!(end(&mut peer, 4, me, true).await.error_code, 0, "once more");
    assert_eq!(add(&mut peer, me).await, 0);
    assert_eq!(write(&mut peer, 11, me, 2, &["c"]).await, 0, "the same epoch, the sequence goes on");
}

#[tokio::test(start_paused = true)]
async fn a_zombie_is_fenced_everywhere() {
    let (_kafka, mut peer) = one_broker().await;
    let zombie = init(&mut peer).await.unwrap();
    assert_eq!(write(&mut peer, 12, zombie, 0, &["lost"]).await, 0);
    // Its successor has the open transaction aborted, and asks again.
    assert_eq!(init(&mut peer).await, Err(code(ResponseError::ConcurrentTransactions)));
    let successor = init(&mut peer).await.unwrap();
    assert_eq!(successor, Me { id: zombie.id, epoch: zombie.epoch + 2 });
    assert_eq!(write(&mut peer, 12, zombie, 1, &["late"]).await, code(ResponseError::InvalidProducerEpoch));
    assert_eq!(add(&mut peer, zombie).await, code(ResponseError::ProducerFenced));
    assert_eq!(end(&mut peer, 5, zombie, true).await.error_code, code(ResponseError::ProducerFenced));
    assert_eq!(end(&mut peer, 1, zombie, true).await.error_code, code(ResponseError::InvalidProducerEpoch));
    assert_eq!(write(&mut peer, 12, successor, 0, &["kept"]).await, 0);
    assert_eq!(end(&mut peer, 5, successor, true).await.error_code, 0);
    let seen = read_committed(&mut peer).await;
    assert_eq!(seen.aborted_transactions.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_takes_too_long_is_aborted() {
    let (_kafka, mut peer) = one_broker().await;
    let me = init(&mut peer).await.unwrap();
    assert_eq!(write(&mut peer, 12, me, 0, &["slow"]).await, 0);
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(read_committed(&mut peer).await.last_stable_offset, 0);
    // A fetch that waits is woken by the marker.
    let waiting = fetch_request("orders", 0, 1).with_min_bytes(500).with_max_wait_ms(5_000);
    let woken = fetch(&mut peer, &waiting).await;
    assert_eq!(woken.high_watermark, 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(read_committed(&mut peer).await.last_stable_offset, 2);
    assert_eq!(end(&mut peer, 5, me, true).await.error_code, code(ResponseError::InvalidTxnState));
    assert_eq!(write(&mut peer, 12, me, 1, &["late"]).await, code(ResponseError::InvalidProducerEpoch));
    // Its producer can go on after it has asked who it is (KIP-360).
    let again = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(MINUTE)
        .with_producer_id(me.id)
        .with_producer_epoch(me.epoch);
    let again = peer.call(5, &again).await;
    assert_eq!((again.error_code, again.producer_epoch), (0, me.epoch + 1));
}

fn commit_request(me: Me, offset: i64) -> TxnOffsetCommitRequest {
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
    let orders =
        TxnOffsetCommitRequestTopic::default().with_name(topic("orders")).with_partitions(vec![partition]);
    TxnOffsetCommitRequest::default()
        .with_transactional_id(id())
        .with_group_id(GroupId(text("billing")))
        .with_producer_id(me.id)
        .with_producer_epoch(me.epoch)
        .with_generation_id(-1)
        .with_topics(vec![orders])
}

async fn commit_offset(peer: &mut Peer, version: i16, request: &TxnOffsetCommitRequest) -> i16 {
    peer.call(version, request).await.topics[0].partitions[0].error_code
}

/// Error and offset that the group has committed.
async fn committed(peer: &mut Peer, stable: bool) -> (i16, i64) {
    let orders =
        OffsetFetchRequestTopics::default().with_name(topic("orders")).with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text("billing")))
        .with_topics(Some(vec![orders]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(stable);
    let answer = peer.call(8, &request).await;
    let part = &answer.groups[0].topics[0].partitions[0];
    (part.error_code, part.committed_offset)
}

#[tokio::test(start_paused = true)]
async fn offsets_are_committed_with_the_transaction_and_unstable_before() {
    let (_kafka, mut peer) = one_broker().await;
    let me = init(&mut peer).await.unwrap();
    let unasked = commit_offset(&mut peer, 4, &commit_request(me, 7)).await;
    assert_eq!(unasked, code(ResponseError::TransactionAbortable));
    assert_eq!(commit_offset(&mut peer, 5, &commit_request(me, 7)).await, 0);
    assert_eq!(committed(&mut peer, false).await, (0, -1));
    assert_eq!(committed(&mut peer, true).await, (code(ResponseError::UnstableOffsetCommit), -1));
    let ended = end(&mut peer, 5, me, true).await;
    assert_eq!((ended.error_code, committed(&mut peer, true).await), (0, (0, 7)));

    let me = Me { id: me.id, epoch: ended.producer_epoch };
    assert_eq!(commit_offset(&mut peer, 5, &commit_request(me, 9)).await, 0);
    assert_eq!(end(&mut peer, 5, me, false).await.error_code, 0);
    assert_eq!(committed(&mut peer, true).await, (0, 7));

    let zombie = commit_offset(&mut peer, 5, &commit_request(me, 9)).await;
    assert_eq!(zombie, code(ResponseError::InvalidProducerEpoch));
    let me = Me { id: me.id, epoch: me.epoch + 1 };
    let stranger = commit_request(me, 9).with_member_id(text("stranger")).with_generation_id(3);
    assert_eq!(commit_offset(&mut peer, 5, &stranger).await, code(ResponseError::UnknownMemberId));
    let elsewhere = stranger.with_group_id(GroupId(text("none")));
    assert_eq!(commit_offset(&mut peer, 5, &elsewhere).await, code(ResponseError::IllegalGeneration));
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_a_hanging_transaction_and_ends_it() {
    let (_kafka, mut peer) = one_broker().await;
    let me = init(&mut peer).await.unwrap();
    assert_eq!(write(&mut peer, 12, me, 0, &["a", "b"]).await, 0);
    let describe = DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]);
    let described = peer.call(0, &describe).await.transaction_states.remove(0);
    assert_eq!((&*described.transaction_state, described.transaction_timeout_ms), ("Ongoing", MINUTE));
    assert_eq!((&described.topics[0].topic, &described.topics[0].partitions), (&topic("orders"), &vec![0]));
    let orders = TopicRequest::default().with_name(topic("orders")).with_partition_indexes(vec![0]);
    let producers = DescribeProducersRequest::default().with_topics(vec![orders]);
    let active =
        peer.call(0, &producers).await.topics.remove(0).partitions.remove(0).active_producers.remove(0);
    assert_eq!((active.producer_id, active.producer_epoch, active.last_sequence), (me.id, 0, 1));
    assert_eq!((active.current_txn_start_offset, active.coordinator_epoch), (0, -1));

    let orders = WritableTxnMarkerTopic::default().with_name(topic("orders")).with_partition_indexes(vec![0]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(me.id)
        .with_producer_epoch(me.epoch)
        .with_topics(vec![orders]);
    let markers = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
    let written = peer.call(1, &markers).await;
    assert_eq!(written.markers[0].topics[0].partitions[0].error_code, 0);
    assert_eq!(read_committed(&mut peer).await.last_stable_offset, 3);
}

#[tokio::test(start_paused = true)]
async fn transactions_are_listed_by_state_producer_and_name() {
    let (_kafka, mut peer) = one_broker().await;
    let me = init(&mut peer).await.unwrap();
    let mut listed = async |request: ListTransactionsRequest| {
        let answer = peer.call(2, &request).await;
        (answer.error_code, answer.transaction_states.len(), answer.unknown_state_filters.len())
    };
    let all = || ListTransactionsRequest::default().with_duration_filter(-1);
    let pattern = |pattern: &str| all().with_transactional_id_pattern(Some(text(pattern)));
    assert_eq!(listed(all()).await, (0, 1, 0));
    assert_eq!(listed(all().with_state_filters(vec![text("Ongoing")])).await, (0, 0, 0));
    assert_eq!(listed(all().with_state_filters(vec![text("Empty"), text("Odd")])).await, (0, 1, 1));
    assert_eq!(listed(all().with_producer_id_filters(vec![me.id])).await, (0, 1, 0));
    assert_eq!(listed(all().with_producer_id_filters(vec![ProducerId(77)])).await, (0, 0, 0));
    assert_eq!(listed(pattern("pay.*")).await, (0, 1, 0));
    assert_eq!(listed(pattern("pay")).await, (0, 0, 0));
    assert_eq!(listed(pattern("pay(")).await.0, code(ResponseError::InvalidRegularExpression));
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused() {
    let (_kafka, mut peer) = one_broker().await;
    let mut asked = async |timeout, id: &str, producer_id, epoch| {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(id))))
            .with_transaction_timeout_ms(timeout)
            .with_producer_id(ProducerId(producer_id))
            .with_producer_epoch(epoch);
        peer.call(4, &request).await.error_code
    };
    let invalid = code(ResponseError::InvalidRequest);
    assert_eq!(asked(MINUTE, "", -1, -1).await, invalid);
    assert_eq!(asked(MINUTE, "t", 3, -1).await, invalid);
    assert_eq!(asked(MINUTE, "t", -1, 3).await, invalid);
    let timeout = code(ResponseError::InvalidTransactionTimeout);
    assert_eq!((asked(0, "t", -1, -1).await, asked(900_001, "t", -1, -1).await), (timeout, timeout));
    let nobody = Me { id: ProducerId(5), epoch: 0 };
    let unknown = code(ResponseError::InvalidProducerIdMapping);
    assert_eq!(
        (add(&mut peer, nobody).await, end(&mut peer, 5, nobody, true).await.error_code),
        (unknown, unknown)
    );
    let unnamed = ProducerStamp { producer_id: 1, epoch: 0, base_sequence: 0, transactional: true };
    let answer = peer.call(9, &produce_request("orders", 0, batch(&["x"], unnamed))).await;
    let refused = code(ResponseError::TransactionalIdAuthorizationFailed);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, refused);
    assert_eq!(records(&fetch(&mut peer, &fetch_request("orders", 0, 0)).await), []);
}

/// Each version of each API of this file, for the test of all.
pub(crate) async fn every_version(bench: &mut Bench) {
    let orders = || AddPartitionsToTxnTopic::default().with_name(topic("orders")).with_partitions(vec![0, 1]);
    let add = |version| {
        if version >= 4 {
            let transaction = AddPartitionsToTxnTransaction::default().with_transactional_id(id());
            let transaction = transaction.with_topics(vec![orders()]);
            return AddPartitionsToTxnRequest::default().with_transactions(vec![transaction]);
        }
        let request = AddPartitionsToTxnRequest::default().with_v3_and_below_transactional_id(id());
        request.with_v3_and_below_topics(vec![orders()])
    };
    let unknown = code(ResponseError::InvalidProducerIdMapping);
    bench
        .each::<AddPartitionsToTxnRequest>(add, |version, answer| {
            let topics = match version {
                4.. => &answer.results_by_transaction[0].topic_results,
                _ => &answer.results_by_topic_v3_and_below,
            };
            is(topics[0].results_by_partition[1].partition_error_code, unknown)
        })
        .await;
    bench
        .each::<AddOffsetsToTxnRequest>(
            |_| AddOffsetsToTxnRequest::default().with_transactional_id(id()),
            |_, answer| is(answer.error_code, unknown),
        )
        .await;
    bench
        .each::<EndTxnRequest>(
            |_| EndTxnRequest::default().with_transactional_id(id()),
            |_, answer| is(answer.error_code, unknown),
        )
        .await;
    bench
        .each::<TxnOffsetCommitRequest>(
            |_| commit_request(Me { id: ProducerId(1), epoch: 0 }, 1),
            |_, answer| is(answer.topics[0].partitions[0].error_code, unknown),
        )
        .await;
    let marker = WritableTxnMarker::default().with_topics(vec![
        WritableTxnMarkerTopic::default().with_name(topic("none")).with_partition_indexes(vec![0]),
    ]);
    bench
        .each::<WriteTxnMarkersRequest>(
            |_| WriteTxnMarkersRequest::default().with_markers(vec![marker.clone()]),
            |_, answer| {
                let missing = code(ResponseError::UnknownTopicOrPartition);
                is(answer.markers[0].topics[0].partitions[0].error_code, missing)
            },
        )
        .await;
    bench
        .each::<DescribeProducersRequest>(
            |_| {
                let orders =
                    TopicRequest::default().with_name(topic("orders")).with_partition_indexes(vec![0]);
                DescribeProducersRequest::default().with_topics(vec![orders])
            },
            |_, answer| is(answer.topics[0].partitions[0].error_code, 0),
        )
        .await;
    bench
        .each::<DescribeTransactionsRequest>(
            |_| DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]),
            |_, answer| {
                let missing = code(ResponseError::TransactionalIdNotFound);
                is(answer.transaction_states[0].error_code, missing)
            },
        )
        .await;
    bench
        .each::<ListTransactionsRequest>(
            |_| ListTransactionsRequest::default(),
            |_, answer| is(answer.error_code, 0),
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_fenced_on_request() {
    let kafka = EmbeddedKafka::builder().topic("orders", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    assert!(!kafka.faults().fence_producer("payments"), "nobody is there");
    for open in [false, true] {
        let me = init(&mut peer).await.unwrap();
        if open {
            assert_eq!(add(&mut peer, me).await, 0);
            assert_eq!(write(&mut peer, 11, me, 0, &["a"]).await, 0);
        }
        assert!(kafka.faults().fence_producer("payments"));
        assert_eq!(add(&mut peer, me).await, ResponseError::ProducerFenced.code());
        let refused = end(&mut peer, 3, me, true).await.error_code;
        assert_eq!(refused, ResponseError::ProducerFenced.code());
    }
}

/// `transactional.id.expiration.ms`: what is not used for so long is forgotten, unless a transaction is open.
#[tokio::test(start_paused = true)]
async fn a_transactional_id_that_nobody_uses_is_forgotten() {
    let day = Duration::from_secs(24 * 60 * 60);
    let builder = EmbeddedKafka::builder().topic("orders", 1).transactional_id_expiration(day);
    let kafka = builder.connections_max_idle(2 * day).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let described = DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]);
    let me = init(&mut peer).await.unwrap();
    tokio::time::sleep(day - Duration::from_secs(1)).await;
    // It is used just in time, and its day begins anew.
    assert_eq!(write(&mut peer, 12, me, 0, &["a"]).await, 0);
    let ended = end(&mut peer, 5, me, true).await;
    assert_eq!(ended.error_code, 0);
    tokio::time::sleep(day - Duration::from_secs(1)).await;
    assert_eq!(peer.call(0, &described).await.transaction_states[0].error_code, 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let gone = ResponseError::TransactionalIdNotFound.code();
    assert_eq!(peer.call(0, &described).await.transaction_states[0].error_code, gone);
    let me = Me { id: ended.producer_id, epoch: ended.producer_epoch };
    assert_eq!(add(&mut peer, me).await, ResponseError::InvalidProducerIdMapping.code());
    let again = init(&mut peer).await.unwrap();
    assert!(again.id != me.id && again.epoch == 0, "it begins as one that nobody had: {again:?}");
}
