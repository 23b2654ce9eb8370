//! Fetch sessions (KIP-227).

use kafka_protocol::messages::fetch_request::ForgottenTopic;
use kafka_protocol::messages::{FetchRequest, FetchResponse};

use crate::asked::{fetch, part, topic_name};
use crate::fetch::{append, index};
use crate::kafka::{Kafka, Topic};
use crate::row;
use crate::said;
use crate::wire::Wire;

/// A session of two partitions of a topic, p and q, of which p has a record.
struct Session {
    kafka: Kafka,
    topic: Topic,
    p: i32,
    q: i32,
    leader: Wire,
    id: i32,
    first: String,
}

impl Session {
    async fn begin(kafka: Kafka) -> Self {
        let topic = kafka.topic(4).await;
        let (p, q) = topic.on_one_broker();
        let mut leader = kafka.leader(&topic, p).await;
        let (p, q) = (index(p), index(q));
        append(&mut leader, &topic, p, &["a"]).await;
        let parts = vec![part(p, 0), part(q, 0)];
        let request = fetch(kafka.version, &topic, parts).with_session_epoch(0);
        let answer = leader.ask(kafka.version, &request).await;
        let first = String::new();
        let mut session = Self { kafka, topic, p, q, leader, id: answer.session_id, first };
        session.first = session.said(&answer);
        session
    }

    /// `p:[0=a] q:[]`, or the error of the whole.
    fn said(&self, answer: &FetchResponse) -> String {
        if answer.error_code != 0 {
            return said::error(answer.error_code);
        }
        let parts = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let name = |index: i32| if index == self.p { "p" } else { "q" };
        let parts = parts.map(|part| format!("{}:[{}]", name(part.partition_index), said::records(part)));
        let mut parts: Vec<_> = parts.collect();
        parts.sort();
        if parts.is_empty() { "nothing".into() } else { parts.join(" ") }
    }

    /// A request of this session that names no partition.
    fn request(&self, epoch: i32) -> FetchRequest {
        FetchRequest::default().with_session_id(self.id).with_session_epoch(epoch).with_max_bytes(1 << 20)
    }

    fn naming(&self, epoch: i32, partition: i32, offset: i64) -> FetchRequest {
        let topics = fetch(self.kafka.version, &self.topic, vec![part(partition, offset)]).topics;
        self.request(epoch).with_topics(topics)
    }

    async fn ask(&mut self, request: &FetchRequest) -> String {
        let answer = self.leader.ask(self.kafka.version, request).await;
        self.said(&answer)
    }
}

row!(
    a_new_session,
    "Fetch",
    7..=18,
    "a new session of two partitions, one without records",
    "both, and the session's id",
    async |kafka| {
        let session = Session::begin(kafka).await;
        match (session.first.as_str(), session.id > 0) {
            ("p:[0=a] q:[]", true) => "both, and the session's id".into(),
            other => format!("{other:?}"),
        }
    }
);

row!(
    changes_only,
    "Fetch",
    7..=18,
    "a session that has read all; then a record comes to one partition",
    "nothing; q:[0=b]",
    async |kafka| {
        let mut session = Session::begin(kafka).await;
        let moved = session.naming(1, session.p, 1);
        let nothing = session.ask(&moved).await;
        let topic = session.topic.clone();
        append(&mut session.leader, &topic, session.q, &["b"]).await;
        let next = session.request(2);
        format!("{nothing}; {}", session.ask(&next).await)
    }
);

row!(
    what_is_not_named_stays,
    "Fetch",
    7..=18,
    "a session whose partition was not moved on",
    "p:[0=a] again",
    async |kafka| {
        let mut session = Session::begin(kafka).await;
        let next = session.request(1);
        format!("{} again", session.ask(&next).await)
    }
);

row!(
    forgotten,
    "Fetch",
    7..=18,
    "a session that forgets the partition with records",
    "nothing",
    async |kafka| {
        let mut session = Session::begin(kafka).await;
        let forgotten = ForgottenTopic::default().with_partitions(vec![session.p]);
        let forgotten = match kafka.version {
            13.. => forgotten.with_topic_id(session.topic.id),
            _ => forgotten.with_topic(topic_name(&session.topic.name)),
        };
        let next = session.request(1).with_forgotten_topics_data(vec![forgotten]);
        session.ask(&next).await
    }
);

row!(wrong_epoch, "Fetch", 7..=18, "an epoch out of turn", "INVALID_FETCH_SESSION_EPOCH", async |kafka| {
    let mut session = Session::begin(kafka).await;
    let wrong = session.request(5);
    session.ask(&wrong).await
});

row!(
    unknown_session,
    "Fetch",
    7..=18,
    "a session that does not exist",
    "FETCH_SESSION_ID_NOT_FOUND",
    async |kafka| {
        let mut session = Session::begin(kafka).await;
        let unknown = session.request(1).with_session_id(123_456_789);
        session.ask(&unknown).await
    }
);

row!(
    closed,
    "Fetch",
    7..=18,
    "a session after a last request (epoch -1)",
    "p:[0=a], session 0; FETCH_SESSION_ID_NOT_FOUND",
    async |kafka| {
        let mut session = Session::begin(kafka).await;
        let last = session.naming(-1, session.p, 0);
        let answer = session.leader.ask(kafka.version, &last).await;
        let next = session.request(1);
        format!("{}, session {}; {}", session.said(&answer), answer.session_id, session.ask(&next).await)
    }
);

row!(
    from_names_to_ids,
    "Fetch",
    13..=18,
    "a session that was begun in version 12, by name",
    "FETCH_SESSION_TOPIC_ID_ERROR",
    async |kafka| {
        let session = Session::begin(kafka.at(12)).await;
        let mut session = Session { kafka, ..session };
        let moved = session.naming(1, session.p, 0);
        session.ask(&moved).await
    }
);
