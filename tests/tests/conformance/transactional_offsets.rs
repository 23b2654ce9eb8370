//! TxnOffsetCommit: offsets that are committed with a transaction, or not.

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetFetchRequest, ProducerId, TxnOffsetCommitRequest};

use crate::asked::{group_id, text, topic_name};
use crate::kafka::{Kafka, until};
use crate::row;
use crate::said;
use crate::transactional::{END_TWO, Me, Tx, alone};
use crate::wire::Wire;

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
