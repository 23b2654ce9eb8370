//! InitProducerId with a transactional id, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn.

use kafka_protocol::messages::{AddOffsetsToTxnRequest, EndTxnRequest, ProducerId, TransactionalId};

use crate::asked::{group_id, text};
use crate::kafka::Kafka;
use crate::row;
use crate::said;
use crate::transactional::{Me, Tx};

/// Produce, as clients of both protocols of transactions send it.
const ONE: i16 = 11;
const TWO: i16 = 12;

fn said_of(answer: Result<Me, String>, id: i64) -> String {
    match answer {
        Ok(me) if me.id == id => format!("epoch {}", me.epoch),
        Ok(me) => format!("another id, epoch {}", me.epoch),
        Err(error) => error,
    }
}

row!(
    initialised_twice,
    "InitProducerId",
    0..=5,
    "a transactional id, twice",
    "epoch 0, then the same id in epoch 1",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let first = tx.try_init(kafka.version, Me::NOBODY).await.unwrap();
        let second = tx.try_init(kafka.version, Me::NOBODY).await.unwrap();
        let same = if first.id == second.id { "the same id" } else { "another id" };
        format!("epoch {}, then {same} in epoch {}", first.epoch, second.epoch)
    }
);

row!(
    initialised_over_an_open_transaction,
    "InitProducerId",
    0..=5,
    "an id with a transaction open",
    "CONCURRENT_TRANSACTIONS until it is aborted, then epoch 2",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        assert_eq!(tx.write(TWO, me, 0, &["x"]).await, "NONE");
        let request = tx.init_request(Me::NOBODY);
        let at_once = tx.coordinator.ask(kafka.version, &request).await.error_code;
        let later = tx.try_init(kafka.version, Me::NOBODY).await;
        let aborted = tx.settled().await.aborted_transactions.is_some_and(|all| all.len() == 1);
        let what = if aborted { "aborted" } else { "there" };
        format!("{} until it is {what}, then {}", said::error(at_once), said_of(later, me.id))
    }
);

row!(
    recovered,
    "InitProducerId",
    4..=5,
    "given its id and epoch 0, twice; epoch 0 after another has taken over; another id",
    "epoch 1, epoch 1, PRODUCER_FENCED, PRODUCER_FENCED",
    async |kafka| recovery(kafka).await
);

row!(
    recovered_in_version_3,
    "InitProducerId",
    3..=3,
    "the same before version 4",
    "epoch 1, epoch 1, INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_EPOCH",
    async |kafka| recovery(kafka).await
);

async fn recovery(kafka: Kafka) -> String {
    let mut tx = Tx::new(kafka).await;
    let me = tx.init().await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(said_of(tx.try_init(kafka.version, me).await, me.id));
    }
    tx.init().await;
    answers.push(said_of(tx.try_init(kafka.version, me).await, me.id));
    let stranger = Me { id: me.id + 1_000_000, epoch: 0 };
    answers.push(said_of(tx.try_init(kafka.version, stranger).await, me.id));
    said::list(answers)
}

row!(
    recovered_by_a_stranger,
    "InitProducerId",
    3..=5,
    "an id that nobody has initialised, given a producer id and epoch",
    "another id, epoch 0",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let given = Me { id: 123_456_789, epoch: 7 };
        said_of(tx.try_init(kafka.version, given).await, given.id)
    }
);

row!(
    nonsense_at_initialisation,
    "InitProducerId",
    3..=5,
    "a producer id without an epoch; an epoch without an id; timeouts of 0 and of 15 min 1 ms; the id ''",
    "INVALID_REQUEST, INVALID_REQUEST, INVALID_TRANSACTION_TIMEOUT, INVALID_TRANSACTION_TIMEOUT, INVALID_REQUEST",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let base = tx.init_request(Me::NOBODY);
        let requests = [
            tx.init_request(Me { id: 5, epoch: -1 }),
            tx.init_request(Me { id: -1, epoch: 5 }),
            base.clone().with_transaction_timeout_ms(0),
            base.clone().with_transaction_timeout_ms(900_001),
            base.with_transactional_id(Some(TransactionalId(text("")))),
        ];
        let mut answers = Vec::new();
        for request in &requests {
            answers.push(
                tx.init_with(kafka.version, request).await.map_or_else(|error| error, |_| "an id".into()),
            );
        }
        said::list(answers)
    }
);

row!(
    added,
    "AddPartitionsToTxn",
    0..=3,
    "a partition, and again; then one that is there and one that is not",
    "NONE; NONE; OPERATION_NOT_ATTEMPTED, UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        let mut answers = Vec::new();
        for partitions in [&[0][..], &[0], &[0, 7]] {
            answers.push(tx.add_in(kafka.version, me, partitions).await);
        }
        answers.join("; ")
    }
);

row!(
    added_by_others,
    "AddPartitionsToTxn",
    2..=3,
    "an old epoch; another producer id; an id that nobody has initialised",
    "PRODUCER_FENCED, INVALID_PRODUCER_ID_MAPPING, INVALID_PRODUCER_ID_MAPPING",
    async |kafka| strangers_add(kafka).await
);

row!(
    added_by_others_in_old_versions,
    "AddPartitionsToTxn",
    0..=1,
    "the same before version 2",
    "INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING, INVALID_PRODUCER_ID_MAPPING",
    async |kafka| strangers_add(kafka).await
);

async fn strangers_add(kafka: Kafka) -> String {
    let mut tx = Tx::new(kafka).await;
    let old = tx.init().await;
    let me = tx.init().await;
    let other = Me { id: me.id + 1_000_000, epoch: me.epoch };
    let mut answers = vec![tx.add_in(kafka.version, old, &[0]).await];
    answers.push(tx.add_in(kafka.version, other, &[0]).await);
    let mut fresh = Tx::new(kafka).await;
    answers.push(fresh.add_in(kafka.version, me, &[0]).await);
    said::list(answers)
}

row!(
    offsets_added,
    "AddOffsetsToTxn",
    2..=4,
    "a group's offsets; then with an old epoch",
    "NONE, PRODUCER_FENCED",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let old = tx.init().await;
        let me = tx.init().await;
        let group = kafka.name("group");
        let mut answers = Vec::new();
        for by in [me, old] {
            let request = AddOffsetsToTxnRequest::default()
                .with_transactional_id(tx.id.clone())
                .with_producer_id(ProducerId(by.id))
                .with_producer_epoch(by.epoch)
                .with_group_id(group_id(&group));
            answers.push(said::error(tx.coordinator.ask(kafka.version, &request).await.error_code));
        }
        said::list(answers)
    }
);

row!(
    ended_in_version_1,
    "EndTxn",
    0..=4,
    "commit, commit again, then abort",
    "NONE, NONE, INVALID_TXN_STATE",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        tx.add(me).await;
        assert_eq!(tx.write(ONE, me, 0, &["x"]).await, "NONE");
        let mut answers = Vec::new();
        for commit in [true, true, false] {
            answers.push(tx.end(kafka.version, me, commit).await.0);
        }
        said::list(answers)
    }
);

row!(
    ended_in_version_2,
    "EndTxn",
    5..=5,
    "commit, commit again, abort again; in the new epoch commit, then abort, of nothing",
    "NONE epoch 1; NONE epoch 1; INVALID_TXN_STATE epoch 0; INVALID_TXN_STATE epoch 1; NONE epoch 2",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        assert_eq!(tx.write(TWO, me, 0, &["x"]).await, "NONE");
        let mut answers = Vec::new();
        let next = me.in_epoch(1);
        for (by, commit) in [(me, true), (me, true), (me, false), (next, true), (next, false)] {
            let (answer, after) = tx.end(kafka.version, by, commit).await;
            answers.push(format!("{answer} epoch {}", after.epoch));
        }
        answers.join("; ")
    }
);

row!(
    ended_before_it_began,
    "EndTxn",
    0..=4,
    "commit and abort of nothing",
    "INVALID_TXN_STATE, INVALID_TXN_STATE",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        said::list([tx.end(kafka.version, me, true).await.0, tx.end(kafka.version, me, false).await.0])
    }
);

row!(
    ended_by_a_zombie,
    "EndTxn",
    2..=5,
    "an old epoch; another producer id; an id that nobody has initialised",
    "PRODUCER_FENCED, INVALID_PRODUCER_ID_MAPPING, INVALID_PRODUCER_ID_MAPPING",
    async |kafka| strangers_end(kafka).await
);

row!(
    ended_by_a_zombie_in_old_versions,
    "EndTxn",
    0..=1,
    "the same before version 2",
    "INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING, INVALID_PRODUCER_ID_MAPPING",
    async |kafka| strangers_end(kafka).await
);

async fn strangers_end(kafka: Kafka) -> String {
    let mut tx = Tx::new(kafka).await;
    let old = tx.init().await;
    tx.init().await;
    let me = tx.init().await;
    tx.add(me).await;
    let other = Me { id: me.id + 1_000_000, epoch: me.epoch };
    let mut answers = vec![tx.end(kafka.version, old, true).await.0];
    answers.push(tx.end(kafka.version, other, true).await.0);
    let mut fresh = Tx::new(kafka).await;
    answers.push(fresh.end(kafka.version, me, true).await.0);
    said::list(answers)
}

row!(
    ended_elsewhere,
    "EndTxn",
    0..=5,
    "a broker that does not coordinate the id; the id ''",
    "NOT_COORDINATOR, INVALID_REQUEST",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        let request = EndTxnRequest::default().with_producer_id(ProducerId(me.id)).with_committed(true);
        let named = request.clone().with_transactional_id(tx.id.clone());
        let mut elsewhere = "every broker coordinates it".to_owned();
        for id in kafka.brokers() {
            let code = kafka.broker(id).await.ask(kafka.version, &named).await.error_code;
            if said::error(code) == "NOT_COORDINATOR" {
                elsewhere = said::error(code);
            }
        }
        let unnamed = tx.coordinator.ask(kafka.version, &request).await.error_code;
        said::list([elsewhere, said::error(unnamed)])
    }
);

row!(
    outlived,
    "EndTxn",
    5..=5,
    "a transaction whose timeout is over: commit; recovered with its epoch; commit of the next",
    "INVALID_TXN_STATE; epoch 1; NONE",
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        // Apache Kafka's coordinator waits no longer than this for its log when it aborts, and where nobody else asks
        // it for anything a follower hears of the entry by its next fetch only, up to 500 ms later: with less than that
        // a coordinator at rest tries in vain, every ten seconds.
        let request = tx.init_request(Me::NOBODY).with_transaction_timeout_ms(2_000);
        let me = tx.init_with(4, &request).await.unwrap();
        assert_eq!(tx.write(TWO, me, 0, &["late"]).await, "NONE");
        assert_eq!(tx.settled().await.aborted_transactions.map(|all| all.len()), Some(1));
        let late = tx.end(kafka.version, me, true).await.0;
        let again = tx.try_init(4, me).await;
        let next = again.clone().unwrap();
        assert_eq!(tx.write(TWO, next, 0, &["next"]).await, "NONE");
        format!("{late}; {}; {}", said_of(again, me.id), tx.end(kafka.version, next, true).await.0)
    }
);
