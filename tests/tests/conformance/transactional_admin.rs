//! What an operator is told of transactions, and how he ends one: DescribeTransactions, ListTransactions,
//! DescribeProducers, WriteTxnMarkers.

use kafka_client::config::Compression;
use kafka_client::records::encode::ProducerStamp;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest, ProducerId,
    WriteTxnMarkersRequest,
};

use crate::asked::{batch, produce, text, topic_name};
use crate::kafka::until;
use crate::row;
use crate::said;
use crate::transactional::{END_TWO, PRODUCE_TWO, Tx, of_coordinator, stability};

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
    producers_on_a_follower,
    "DescribeProducers",
    0..=0,
    "a replica that does not lead; a broker without one",
    "NONE, 1 producer; NOT_LEADER_OR_FOLLOWER",
    async |kafka| {
        let brokers = kafka.brokers();
        let topic = kafka.placed(&brokers[..2], &[]).await;
        let stamp = ProducerStamp { producer_id: 4711, epoch: 0, base_sequence: 0, transactional: false };
        let written = produce(9, &topic, 0, batch(&["x"], stamp, Compression::None));
        kafka.leader(&topic, 0).await.ask(9, &written).await;
        let asked =
            TopicRequest::default().with_name(topic_name(&topic.name)).with_partition_indexes(vec![0]);
        let request = DescribeProducersRequest::default().with_topics(vec![asked]);
        let mut follower = kafka.broker(brokers[1]).await;
        let found = until("the record on the follower", async || {
            let found = follower.ask(0, &request).await.topics.remove(0).partitions.remove(0);
            (found.error_code != 0 || !found.active_producers.is_empty()).then_some(found)
        })
        .await;
        let elsewhere = kafka.broker(brokers[2]).await.ask(0, &request).await;
        format!(
            "{}, {} producer; {}",
            said::error(found.error_code),
            found.active_producers.len(),
            said::error(elsewhere.topics[0].partitions[0].error_code)
        )
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
