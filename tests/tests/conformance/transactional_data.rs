//! What transactions do to what is read: Produce, Fetch, ListOffsets, and the markers.

use kafka_client::records::encode::ProducerStamp;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest};

use crate::asked::topic_name;
use crate::kafka::Kafka;
use crate::row;
use crate::said;
use crate::transactional::{END_TWO, Me, PRODUCE_ONE, PRODUCE_TWO, Tx, alone, markers, stability};

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
