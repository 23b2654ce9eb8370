use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_client::wire::decode;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::answer::FetchedTopic;
use super::*;
use crate::cluster::Node;
use crate::server::dispatch::Reply;
use crate::server::response::Response;

fn topic(number: u8) -> TopicName {
    TopicName(StrBytes::from_string(format!("topic-{number}")))
}

fn request(id: i32, epoch: i32, topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest::default().with_session_id(id).with_session_epoch(epoch).with_topics(topics)
}

fn asked(number: u8, partitions: &[(i32, i64)]) -> FetchTopic {
    let partition = |(index, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1000)
    };
    FetchTopic::default()
        .with_topic(topic(number))
        .with_partitions(partitions.iter().map(partition).collect())
}

fn open(sessions: &Sessions, request: &FetchRequest) -> session::Session {
    match sessions.open(1, false, request) {
        Ok(Opened::Session(session)) => session,
        other => panic!("{other:?}"),
    }
}

/// An answer in which every target has the marks that `marks` gives it.
fn fetched(session: &session::Session, marks: impl Fn(&Target) -> (i64, usize)) -> Fetched {
    let mut fetched = Fetched::default();
    for target in session.targets() {
        let (high_watermark, bytes) = marks(target);
        let part = FetchedPartition {
            index: target.partition,
            high_watermark,
            log_start: 0,
            bytes,
            ..FetchedPartition::default()
        };
        fetched.push(target, part);
    }
    fetched
}

fn told(fetched: &Fetched) -> Vec<(TopicName, i32)> {
    let of = |topic: &FetchedTopic| {
        topic.partitions.iter().map(|part| (topic.name.clone(), part.index)).collect::<Vec<_>>()
    };
    fetched.topics.iter().flat_map(of).collect()
}

#[test]
fn a_session_tells_all_once_and_then_changes_only() {
    let sessions = Sessions::default();
    let mut session = open(&sessions, &request(0, 0, vec![asked(1, &[(0, 0), (1, 0)])]));
    let mut answer = fetched(&session, |_| (5, 0));
    session.keep_news(&mut answer);
    assert_eq!(told(&answer).len(), 2);
    let id = answer.session_id;
    assert!(id > 0);
    sessions.close(1, session);

    let mut session = open(&sessions, &request(id, 1, vec![]));
    let mut answer = fetched(&session, |target| (if target.partition == 1 { 6 } else { 5 }, 0));
    session.keep_news(&mut answer);
    assert_eq!(told(&answer), [(topic(1), 1)], "its high watermark moved");
    sessions.close(1, session);

    let forgotten = ForgottenTopic::default().with_topic(topic(1)).with_partitions(vec![1]);
    let update = request(id, 2, vec![asked(2, &[(0, 7)])]).with_forgotten_topics_data(vec![forgotten]);
    let session = open(&sessions, &update);
    let targets: Vec<_> =
        session.targets().map(|target| (target.topic.clone(), target.partition, target.offset)).collect();
    assert_eq!(targets, [(topic(1), 0, 0), (topic(2), 0, 7)]);
}

#[test]
fn a_session_that_is_not_known_or_out_of_step_is_refused() {
    let sessions = Sessions::default();
    let error = |sessions: &Sessions, node, by_id, id, epoch| {
        sessions.open(node, by_id, &request(id, epoch, vec![])).map(|_| ()).unwrap_err()
    };
    assert_eq!(error(&sessions, 1, false, 9, 1), ResponseError::FetchSessionIdNotFound);
    let mut session = open(&sessions, &request(0, 0, vec![asked(1, &[(0, 0)])]));
    let mut answer = fetched(&session, |_| (0, 0));
    session.keep_news(&mut answer);
    let id = answer.session_id;
    sessions.close(1, session);
    assert_eq!(error(&sessions, 1, false, id, 2), ResponseError::InvalidFetchSessionEpoch);
    assert_eq!(error(&sessions, 1, true, id, 1), ResponseError::FetchSessionTopicIdError);
    assert_eq!(error(&sessions, 2, false, id, 1), ResponseError::FetchSessionIdNotFound, "another broker's");
    // The last request of a client: all it names, and the session ends.
    let last = sessions.open(1, false, &request(id, -1, vec![asked(1, &[(0, 0)])])).unwrap();
    assert!(matches!(last, Opened::Sessionless(targets) if targets.len() == 1));
    assert_eq!(error(&sessions, 1, false, id, 1), ResponseError::FetchSessionIdNotFound);
}

#[test]
fn partitions_with_data_move_behind_the_others() {
    let sessions = Sessions::default();
    let mut session = open(&sessions, &request(0, 0, vec![asked(1, &[(0, 0), (1, 0), (2, 0)])]));
    let mut answer = fetched(&session, |target| (9, if target.partition == 0 { 100 } else { 0 }));
    session.keep_news(&mut answer);
    let order: Vec<i32> = session.targets().map(|target| target.partition).collect();
    assert_eq!(order, [1, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn when_all_places_are_taken_an_idle_session_goes_or_none_is_made() {
    let sessions = Sessions::default();
    let first = request(0, 0, vec![asked(1, &[(0, 0)])]);
    for _ in 0..1000 {
        let session = open(&sessions, &first);
        sessions.close(1, session);
    }
    assert!(matches!(sessions.open(1, false, &first), Ok(Opened::Sessionless(_))));
    assert!(
        matches!(sessions.open(2, false, &first), Ok(Opened::Session(_))),
        "each broker has its own places"
    );
    tokio::time::advance(Duration::from_secs(121)).await;
    assert!(matches!(sessions.open(1, false, &first), Ok(Opened::Session(_))));
}

proptest! {
    /// A client that merges the answers of a session knows what one without a session is told each time.
    #[test]
    fn merged_answers_equal_full_ones(
        rounds in prop::collection::vec(
            (prop::collection::vec((0u8..3, 0i32..3, 0i64..9), 0..4), prop::collection::vec((0u8..3, 0i32..3), 0..2),
             prop::collection::vec((0u8..3, 0i32..3, 0i64..3), 0..4)),
            1..20,
        ),
    ) {
        let sessions = Sessions::default();
        let mut wanted: BTreeMap<(TopicName, i32), i64> = BTreeMap::new();
        let mut known: BTreeMap<(TopicName, i32), i64> = BTreeMap::new();
        let mut marks: BTreeMap<(TopicName, i32), i64> = BTreeMap::new();
        let (mut id, mut epoch) = (0, 0);
        for (add, forget, grow) in rounds {
            for (number, partition, by) in grow {
                *marks.entry((topic(number), partition)).or_default() += by;
            }
            let mut update = request(id, epoch, Vec::new());
            for (number, partition, offset) in add {
                update.topics.push(asked(number, &[(partition, offset)]));
                wanted.insert((topic(number), partition), offset);
            }
            if epoch > 0 {
                for (number, partition) in forget {
                    let gone = ForgottenTopic::default().with_topic(topic(number)).with_partitions(vec![partition]);
                    update.forgotten_topics_data.push(gone);
                    wanted.remove(&(topic(number), partition));
                    known.remove(&(topic(number), partition));
                }
            }
            let mut session = match sessions.open(1, false, &update).unwrap() {
                Opened::Session(session) => session,
                Opened::Sessionless(targets) => {
                    prop_assert!(targets.is_empty() && wanted.is_empty());
                    (id, epoch) = (0, 0);
                    known.clear();
                    continue;
                }
            };
            let targets: BTreeMap<_, _> =
                session.targets().map(|target| ((target.topic.clone(), target.partition), target.offset)).collect();
            prop_assert_eq!(&targets, &wanted);
            let mark = |key: &(TopicName, i32)| marks.get(key).copied().unwrap_or(0);
            let mut answer = fetched(&session, |target| (mark(&(target.topic.clone(), target.partition)), 0));
            session.keep_news(&mut answer);
            for answered in &answer.topics {
                for part in &answered.partitions {
                    known.insert((answered.name.clone(), part.index), part.high_watermark);
                }
            }
            let full: BTreeMap<_, _> = wanted.keys().map(|key| (key.clone(), mark(key))).collect();
            prop_assert_eq!(&known, &full);
            (id, epoch) = (answer.session_id, epoch + 1);
            sessions.close(1, session);
        }
    }
}

#[test]
fn the_hand_written_answer_is_what_the_schema_says_in_every_version() {
    let node = Node { id: 3, host: StrBytes::from_static_str("host"), port: 9, rack: None };
    let id = Uuid::from_u128(5);
    for (version, read_committed) in (4..=18).flat_map(|version| [(version, true), (version, false)]) {
        let good = FetchedPartition {
            index: 1,
            high_watermark: 8,
            last_stable: 7,
            log_start: 2,
            aborted: vec![Aborted { producer_id: 4, first: 3, last: 6 }],
            ..FetchedPartition::default()
        };
        let failed = FetchedPartition::failed(2, ResponseError::NotLeaderOrFollower);
        let failed = FetchedPartition { leader: Some((3, 7)), ..failed };
        let name = if version >= BY_ID { TopicName::default() } else { topic(1) };
        let topic_id = if version >= BY_ID { id } else { Uuid::nil() };
        let answer = Fetched {
            error: if version >= 7 { 71 } else { 0 },
            session_id: if version >= 7 { 6 } else { 0 },
            topics: vec![FetchedTopic { name: name.clone(), id, partitions: vec![good, failed] }],
            isolation: Isolation::of(i8::from(read_committed)),
            endpoints: vec![node.clone()],
            ..Fetched::default()
        };
        let mut response = Response::new();
        assert!(answer.write(&mut response, version).unwrap());
        let mut frame = response.finish();
        let mut bytes: Bytes = frame.copy_to_bytes(frame.remaining());
        assert_eq!(bytes.get_u32() as usize, bytes.len());
        let decoded: FetchResponse = decode(bytes, version).unwrap();
        let topics = &decoded.responses;
        assert_eq!((decoded.error_code, decoded.session_id), (answer.error, answer.session_id));
        assert_eq!((&topics[0].topic, topics[0].topic_id), (&name, topic_id), "v{version}");
        let (good, failed) = (&topics[0].partitions[0], &topics[0].partitions[1]);
        assert_eq!((good.partition_index, good.high_watermark, good.last_stable_offset), (1, 8, 7));
        assert_eq!(good.log_start_offset, if version >= 5 { 2 } else { -1 });
        let aborted = good
            .aborted_transactions
            .as_ref()
            .map(|all| all.iter().map(|one| (one.producer_id.0, one.first_offset)).collect::<Vec<_>>());
        assert_eq!(aborted, read_committed.then(|| vec![(4, 3)]));
        assert_eq!(good.records.as_deref(), Some(&[][..]));
        assert_eq!(failed.error_code, ResponseError::NotLeaderOrFollower.code());
        if version >= 16 {
            assert_eq!((failed.current_leader.leader_id.0, failed.current_leader.leader_epoch), (3, 7));
            assert_eq!((&*decoded.node_endpoints[0].host, decoded.node_endpoints[0].port), ("host", 9));
        }
    }
}
