//! What transactions do to what is read and committed: Produce, Fetch, ListOffsets, TxnOffsetCommit, and what an operator
//! is told.

use kafka_client::records::encode::ProducerStamp;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    BrokerId, DescribeProducersRequest, DescribeTransactionsRequest, ListOffsetsRequest,
    ListTransactionsRequest, OffsetCommitRequest, OffsetFetchRequest, ProducerId, TxnOffsetCommitRequest,
    WriteTxnMarkersRequest,
};

use crate::asked::{group_id, text, topic_name};
use crate::kafka::{Kafka, until};
use crate::row;
use crate::said;
use crate::transactional::{Me, Tx, markers, of_coordinator, stability};
use crate::wire::Wire;

/// Versions that are used where a row does not say otherwise: of both protocols of transactions.
const PRODUCE_ONE: i16 = 11;
const PRODUCE_TWO: i16 = 12;
const END_TWO: i16 = 5;

row!(
    written_without_adding,
    "Produce",
    9..=10,
    "a batch of a transaction whose partition was not added",
    "INVALID_TXN_STATE; once it was added NONE",
    async |kafka| adding(kafka).await
);

row!(
    written_without_adding_in_version_11,
    "Produce",
    11..=11,
    "the same in version 11",
    "TRANSACTION_ABORTABLE; once it was added NONE",
    async |kafka| adding(kafka).await
);

/// Asks until the answer is this request's own. Kafka's brokers ask a coordinator about several requests at once, and
/// then answer an old version as the newest of them, with TRANSACTION_ABORTABLE.
async fn alone(is_old: bool, mut ask: impl AsyncFnMut() -> String) -> String {
    until("an answer of its own", async || {
        let answer = ask().await;
        (!is_old || answer != "TRANSACTION_ABORTABLE").then_some(answer)
    })
    .await
}

async fn adding(kafka: Kafka) -> String {
    let mut tx = Tx::new(kafka).await;
    let me = tx.init().await;
    let before = alone(kafka.version < 11, async || tx.write(kafka.version, me, 0, &["x"]).await).await;
    assert_eq!(tx.add(me).await, "NONE");
    format!("{before}; once it was added {}", tx.write(kafka.version, me, 0, &["x"]).await)
}

row!(
    written_and_so_added,
    "Produce",
    12..=13,
    "batches of a transaction: sequences 1, 0, 1; then one by its producer that is not of the transaction",
    "OUT_OF_ORDER_SEQUENCE_NUMBER, NONE, NONE, INVALID_TXN_STATE",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        let mut answers = Vec::new();
        for sequence in [1, 0, 1] {
            answers.push(tx.write(kafka.version, me, sequence, &["x"]).await);
        }
        let plain =
            ProducerStamp { producer_id: me.id, epoch: me.epoch, base_sequence: 2, transactional: false };
        answers.push(tx.write_stamped(kafka.version, plain, &["x"]).await);
        said::list(answers)
    }
);

row!(
    written_by_a_zombie,
    "Produce",
    9..=13,
    "a batch by an epoch that was fenced; by another producer id",
    "INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let old = tx.init().await;
        let me = tx.init().await;
        let other = Me { id: me.id + 1_000_000, epoch: 0 };
        said::list([
            tx.write(kafka.version, old, 0, &["x"]).await,
            tx.write(kafka.version, other, 0, &["x"]).await,
        ])
    }
);

row!(
    sequences_over_transactions,
    "Produce",
    12..=13,
    "after a commit that bumped the epoch: the old epoch; the new one with sequences 1 and 0",
    "INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER, NONE",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        tx.write(kafka.version, me, 0, &["x"]).await;
        let (_, next) = tx.end(END_TWO, me, true).await;
        tx.settled().await;
        said::list([
            tx.write(kafka.version, me, 1, &["x"]).await,
            tx.write(kafka.version, next, 1, &["x"]).await,
            tx.write(kafka.version, next, 0, &["x"]).await,
        ])
    }
);

/// A partition with 0=a 1=b committed, 3=c aborted, 5=d open.
async fn mixed(kafka: Kafka) -> (Tx, Me) {
    let mut tx = Tx::new(kafka).await;
    let mut me = tx.init().await;
    for (values, commit) in [(&["a", "b"][..], true), (&["c"], false)] {
        assert_eq!(tx.write(PRODUCE_TWO, me, 0, values).await, "NONE");
        me = tx.end(END_TWO, me, commit).await.1;
        tx.settled().await;
    }
    assert_eq!(tx.write(PRODUCE_TWO, me, 0, &["d"]).await, "NONE");
    (tx, me)
}

row!(
    committed_aborted_open,
    "Fetch",
    4..=16,
    "one of committed records: two committed, one aborted, one open; then from behind the abort",
    "aborted from 3, last stable 5 of 6; aborted nothing, last stable 5 of 6",
    async |kafka| {
        let (mut tx, _) = mixed(kafka).await;
        let all = tx.read_in(kafka.version, 0, 1).await;
        let behind = tx.read_in(kafka.version, 5, 1).await;
        assert!(behind.records.as_ref().is_none_or(|records| records.is_empty()), "nothing that is open");
        format!("{}; {}", stability(&all), stability(&behind))
    }
);

row!(
    uncommitted,
    "Fetch",
    4..=16,
    "the same partition, one of all records",
    "aborted not told, last stable 5 of 6",
    async |kafka| {
        let (mut tx, _) = mixed(kafka).await;
        stability(&tx.read_in(kafka.version, 0, 0).await)
    }
);

row!(
    markers_in_version_1,
    "EndTxn",
    4..=4,
    "a commit and an abort, and what they leave in the log",
    "1=Commit by epoch 0, sequence -1, a coordinator, 3=Abort by epoch 0, sequence -1, a coordinator",
    async |kafka| ends(kafka).await
);

row!(
    markers_in_version_2,
    "EndTxn",
    5..=5,
    "the same in version 5",
    "1=Commit by epoch 1, sequence -1, a coordinator, 3=Abort by epoch 2, sequence -1, a coordinator",
    async |kafka| ends(kafka).await
);

async fn ends(kafka: Kafka) -> String {
    let mut tx = Tx::new(kafka).await;
    let mut me = tx.init().await;
    let mut sequence = 0;
    for commit in [true, false] {
        tx.add(me).await;
        assert_eq!(tx.write(PRODUCE_ONE, me, sequence, &["x"]).await, "NONE");
        let (_, after) = tx.end(kafka.version, me, commit).await;
        sequence = if after == me { sequence + 1 } else { 0 };
        me = after;
        tx.settled().await;
    }
    markers(&tx.read(0).await)
}

async fn offset_at(tx: &mut Tx, version: i16, isolation: i8, timestamp: i64) -> i64 {
    let part = ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
    let asked = ListOffsetsTopic::default().with_name(topic_name(&tx.topic.name)).with_partitions(vec![part]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation)
        .with_topics(vec![asked]);
    tx.leader.ask(version, &request).await.topics[0].partitions[0].offset
}

row!(
    listed_by_isolation,
    "ListOffsets",
    2..=10,
    "the latest, and the first record from time 1 on, with a transaction open from offset 0: all; committed",
    "1 and 0; 0 and -1",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        assert_eq!(tx.write(PRODUCE_TWO, me, 0, &["x"]).await, "NONE");
        let mut answers = Vec::new();
        for isolation in [0, 1] {
            let latest = offset_at(&mut tx, kafka.version, isolation, -1).await;
            let timed = offset_at(&mut tx, kafka.version, isolation, 1).await;
            answers.push(format!("{latest} and {timed}"));
        }
        answers.join("; ")
    }
);

fn commit_request(tx: &Tx, me: Me, group: &str, offset: i64) -> TxnOffsetCommitRequest {
    let part = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(topic_name(&tx.topic.name))
        .with_partitions(vec![part]);
    TxnOffsetCommitRequest::default()
        .with_transactional_id(tx.id.clone())
        .with_group_id(group_id(group))
        .with_producer_id(ProducerId(me.id))
        .with_producer_epoch(me.epoch)
        .with_generation_id(-1)
        .with_topics(vec![topic])
}

async fn commit(group: &mut Wire, version: i16, request: &TxnOffsetCommitRequest) -> String {
    let answer = until("a settled transaction", async || {
        let code = group.ask(version, request).await.topics[0].partitions[0].error_code;
        let answer = said::error(code);
        (answer != "CONCURRENT_TRANSACTIONS").then_some(answer)
    });
    answer.await
}

/// What the group has committed: `NONE -1 (stable: UNSTABLE_OFFSET_COMMIT -1)`.
async fn committed(wire: &mut Wire, tx: &Tx, group: &str) -> String {
    let mut answers = Vec::new();
    for stable in [false, true] {
        let asked = OffsetFetchRequestTopics::default()
            .with_name(topic_name(&tx.topic.name))
            .with_partition_indexes(vec![0]);
        let asked =
            OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(Some(vec![asked]));
        let request = OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(stable);
        let answer = wire.ask(8, &request).await;
        let part = &answer.groups[0].topics[0].partitions[0];
        answers.push(format!("{} {}", said::error(part.error_code), part.committed_offset));
    }
    format!("{} (stable: {})", answers[0], answers[1])
}

/// Waits until no transaction holds the group's offset.
async fn settled(wire: &mut Wire, tx: &Tx, group: &str) -> String {
    let stable = until("a stable offset", async || {
        let found = committed(wire, tx, group).await;
        (!found.contains("UNSTABLE")).then_some(())
    });
    stable.await;
    committed(wire, tx, group).await
}

row!(
    offsets_without_adding,
    "TxnOffsetCommit",
    0..=3,
    "a group whose offsets were not added",
    "INVALID_TXN_STATE",
    async |kafka| unasked(kafka).await
);

row!(
    offsets_without_adding_in_version_4,
    "TxnOffsetCommit",
    4..=4,
    "the same in version 4",
    "TRANSACTION_ABORTABLE",
    async |kafka| unasked(kafka).await
);

async fn unasked(kafka: Kafka) -> String {
    let (mut tx, group) = (Tx::new(kafka).await, kafka.name("group"));
    let mut wire = kafka.coordinator(&group).await;
    let me = tx.init().await;
    let request = commit_request(&tx, me, &group, 5);
    alone(kafka.version < 4, async || commit(&mut wire, kafka.version, &request).await).await
}

row!(
    offsets_with_the_transaction,
    "TxnOffsetCommit",
    5..=5,
    "offset 5: while it is open, committed; then 9, aborted",
    "NONE; NONE -1 (stable: UNSTABLE_OFFSET_COMMIT -1); NONE 5 (stable: NONE 5); NONE 5 (stable: NONE 5)",
    async |kafka| {
        let (mut tx, group) = (Tx::new(kafka).await, kafka.name("group"));
        let mut wire = kafka.coordinator(&group).await;
        let mut me = tx.init().await;
        let mut answers = Vec::new();
        answers.push(commit(&mut wire, kafka.version, &commit_request(&tx, me, &group, 5)).await);
        answers.push(committed(&mut wire, &tx, &group).await);
        me = tx.end(END_TWO, me, true).await.1;
        answers.push(settled(&mut wire, &tx, &group).await);
        assert_eq!(commit(&mut wire, kafka.version, &commit_request(&tx, me, &group, 9)).await, "NONE");
        tx.end(END_TWO, me, false).await;
        answers.push(settled(&mut wire, &tx, &group).await);
        answers.join("; ")
    }
);

row!(
    offsets_overtaken,
    "TxnOffsetCommit",
    5..=5,
    "offset 5, then a plain commit of 3, then the transaction commits",
    "NONE 3 (stable: NONE 3)",
    async |kafka| {
        let (mut tx, group) = (Tx::new(kafka).await, kafka.name("group"));
        let mut wire = kafka.coordinator(&group).await;
        let me = tx.init().await;
        assert_eq!(commit(&mut wire, kafka.version, &commit_request(&tx, me, &group, 5)).await, "NONE");
        let part = OffsetCommitRequestPartition::default().with_committed_offset(3);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name(&tx.topic.name))
            .with_partitions(vec![part]);
        let plain = OffsetCommitRequest::default()
            .with_group_id(group_id(&group))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        assert_eq!(wire.ask(8, &plain).await.topics[0].partitions[0].error_code, 0);
        tx.end(END_TWO, me, true).await;
        settled(&mut wire, &tx, &group).await
    }
);

row!(
    offsets_of_strangers,
    "TxnOffsetCommit",
    5..=5,
    "an old epoch; a member that is not in the group; a generation of a group that does not exist",
    "INVALID_PRODUCER_EPOCH, UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION",
    async |kafka| {
        let (mut tx, group) = (Tx::new(kafka).await, kafka.name("group"));
        let mut wire = kafka.coordinator(&group).await;
        let old = tx.init().await;
        let me = tx.init().await;
        let mut answers = vec![commit(&mut wire, kafka.version, &commit_request(&tx, old, &group, 5)).await];
        // A commit by nobody makes the group.
        assert_eq!(commit(&mut wire, kafka.version, &commit_request(&tx, me, &group, 5)).await, "NONE");
        let member = commit_request(&tx, me, &group, 5).with_member_id(text("m")).with_generation_id(1);
        answers.push(commit(&mut wire, kafka.version, &member).await);
        let none = kafka.name("none");
        let mut elsewhere = kafka.coordinator(&none).await;
        let missing = member.with_group_id(group_id(&none));
        answers.push(commit(&mut elsewhere, kafka.version, &missing).await);
        said::list(answers)
    }
);

row!(
    described,
    "DescribeTransactions",
    0..=0,
    "an id with a transaction open; after its commit; one that nobody has initialised",
    "Ongoing, 60000 ms, epoch 0, 1 topic; CompleteCommit, 60000 ms, epoch 1, 0 topics; TRANSACTIONAL_ID_NOT_FOUND",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        assert_eq!(tx.write(PRODUCE_TWO, me, 0, &["x"]).await, "NONE");
        let mut answers = vec![describe(&mut tx).await];
        tx.end(END_TWO, me, true).await;
        tx.settled().await;
        answers.push(
            until("a complete transaction", async || {
                let found = describe(&mut tx).await;
                found.starts_with("Complete").then_some(found)
            })
            .await,
        );
        let mut fresh = Tx::new(kafka).await;
        answers.push(describe(&mut fresh).await);
        answers.join("; ")
    }
);

async fn describe(tx: &mut Tx) -> String {
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![tx.id.clone()]);
    let coordinator = &mut tx.coordinator;
    let found = until("a coordinator that is ready", async || {
        let found = coordinator.ask(0, &request).await.transaction_states.remove(0);
        (!said::error(found.error_code).contains("COORDINATOR")).then_some(found)
    });
    let found = found.await;
    if found.error_code != 0 {
        return said::error(found.error_code);
    }
    let topics = found.topics.len();
    format!(
        "{}, {} ms, epoch {}, {topics} {}",
        &*found.transaction_state,
        found.transaction_timeout_ms,
        found.producer_epoch,
        if topics == 1 { "topic" } else { "topics" }
    )
}

row!(
    listed,
    "ListTransactions",
    0..=2,
    "by producer id: with an open transaction; in the states Empty and Odd",
    "1 Ongoing, unknown []; 0, unknown [Odd]",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        assert_eq!(tx.write(PRODUCE_TWO, me, 0, &["x"]).await, "NONE");
        let mut answers = Vec::new();
        for states in [&[][..], &["Empty", "Odd"]] {
            let request = ListTransactionsRequest::default()
                .with_duration_filter(-1)
                .with_producer_id_filters(vec![ProducerId(me.id)])
                .with_state_filters(states.iter().map(|state| text(state)).collect());
            let answer = tx.coordinator.ask(kafka.version, &request).await;
            let found: Vec<_> =
                answer.transaction_states.iter().map(|one| one.transaction_state.to_string()).collect();
            let unknown: Vec<_> = answer.unknown_state_filters.iter().map(ToString::to_string).collect();
            let count = format!("{} {}", found.len(), found.join(" "));
            answers.push(format!("{}, unknown [{}]", count.trim(), unknown.join(" ")));
        }
        answers.join("; ")
    }
);

row!(
    listed_by_pattern,
    "ListTransactions",
    2..=2,
    "a pattern of the whole id; of its end; one that is none",
    "1, 0, INVALID_REGULAR_EXPRESSION",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        tx.init().await;
        let id = tx.id.to_string();
        let mut answers = Vec::new();
        for pattern in [id.replace('-', "."), id[1..].to_owned(), "(".to_owned()] {
            let request = ListTransactionsRequest::default()
                .with_duration_filter(-1)
                .with_transactional_id_pattern(Some(text(&pattern)));
            let answer = tx.coordinator.ask(kafka.version, &request).await;
            answers.push(match answer.error_code {
                0 => answer.transaction_states.len().to_string(),
                code => said::error(code),
            });
        }
        said::list(answers)
    }
);

async fn producing(tx: &mut Tx) -> String {
    let asked = TopicRequest::default().with_name(topic_name(&tx.topic.name)).with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![asked]);
    let answer = tx.leader.ask(0, &request).await;
    let found = answer.topics[0].partitions[0].active_producers.iter().map(|one| {
        format!(
            "epoch {}, sequence {}, {}, open from {}",
            one.producer_epoch,
            one.last_sequence,
            of_coordinator(one.coordinator_epoch),
            one.current_txn_start_offset
        )
    });
    found.collect::<Vec<_>>().join(" and ")
}

row!(
    producers,
    "DescribeProducers",
    0..=0,
    "a partition with an open transaction of two records; after its commit",
    "epoch 0, sequence 1, no coordinator, open from 0; epoch 1, sequence -1, a coordinator, open from -1",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        assert_eq!(tx.write(PRODUCE_TWO, me, 0, &["x", "y"]).await, "NONE");
        let open = producing(&mut tx).await;
        tx.end(END_TWO, me, true).await;
        tx.settled().await;
        format!("{open}; {}", producing(&mut tx).await)
    }
);

row!(
    ended_by_an_operator,
    "WriteTxnMarkers",
    1..=1,
    "an abort of what is open; of an unknown topic",
    "NONE, aborted from 0, last stable 2 of 2; UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        assert_eq!(tx.write(PRODUCE_TWO, me, 0, &["x"]).await, "NONE");
        let mut codes = Vec::new();
        for name in [tx.topic.name.clone(), kafka.name("unknown")] {
            let topic = WritableTxnMarkerTopic::default()
                .with_name(topic_name(&name))
                .with_partition_indexes(vec![0]);
            let marker = WritableTxnMarker::default()
                .with_producer_id(ProducerId(me.id))
                .with_producer_epoch(me.epoch)
                .with_topics(vec![topic]);
            let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
            let answer = tx.leader.ask(kafka.version, &request).await;
            codes.push(said::error(answer.markers[0].topics[0].partitions[0].error_code));
        }
        format!("{}, {}; {}", codes[0], stability(&tx.read(0).await), codes[1])
    }
);
