//! Committed offsets, against brokers of the test.

use std::collections::HashMap;
use std::sync::Mutex;

use kafka_protocol::ResponseError as E;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::time::Instant;

use super::broker::{Brokers, SECOND};
use crate::error::Error;
use crate::group::{CommittedOffset, Identity, commit, fetch_committed};
use crate::ids::TopicPartition;
use crate::net::Purpose;
use crate::net::fake::{Asked, Reply};

/// What one answer says: a code for all, and for each partition an offset or a code.
type Said = (Option<E>, Vec<(i32, Result<i64, E>)>);

/// Answers OffsetFetch with these, one after the other; the last one again and again.
fn saying(said: Vec<Said>) -> Brokers {
    let said = Mutex::new(said);
    Brokers::with(move |asked| {
        asked.is::<OffsetFetchRequest>().then(|| {
            let mut said = said.lock().unwrap();
            let now = if said.len() > 1 { said.remove(0) } else { said[0].clone() };
            answer(asked, &now)
        })
    })
}

fn answer(asked: &Asked, (whole, partitions): &Said) -> Reply {
    let request: OffsetFetchRequest = asked.read();
    let code = whole.map_or(0, |code| code.code());
    let metadata = || Some(StrBytes::from_static_str("note"));
    if asked.version < 8 {
        let one = |(index, said): &(i32, Result<i64, E>)| {
            let partition = OffsetFetchResponsePartition::default()
                .with_partition_index(*index)
                .with_metadata(metadata());
            match said {
                Ok(offset) => partition.with_committed_offset(*offset),
                Err(code) => partition.with_committed_offset(-1).with_error_code(code.code()),
            }
        };
        let topics = request.topics.unwrap();
        let topic = OffsetFetchResponseTopic::default()
            .with_name(topics[0].name.clone())
            .with_partitions(partitions.iter().map(one).collect());
        return asked.answer(&OffsetFetchResponse::default().with_error_code(code).with_topics(vec![topic]));
    }
    assert!(request.require_stable);
    let one = |(index, said): &(i32, Result<i64, E>)| {
        let partition =
            OffsetFetchResponsePartitions::default().with_partition_index(*index).with_metadata(metadata());
        match said {
            Ok(offset) => partition.with_committed_offset(*offset),
            Err(code) => partition.with_committed_offset(-1).with_error_code(code.code()),
        }
    };
    let topic = OffsetFetchResponseTopics::default()
        .with_name(request.groups[0].topics.as_ref().unwrap()[0].name.clone())
        .with_partitions(partitions.iter().map(one).collect());
    let group = OffsetFetchResponseGroup::default().with_error_code(code).with_topics(vec![topic]);
    asked.answer(&OffsetFetchResponse::default().with_groups(vec![group]))
}

fn at(offset: i64) -> Result<Option<CommittedOffset>, E> {
    Ok(Some(CommittedOffset { offset, leader_epoch: -1, metadata: "note".into() }))
}

fn t(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

#[tokio::test(start_paused = true)]
async fn trouble_is_never_taken_for_none() {
    let all = |code| (Some(code), vec![]);
    let brokers = saying(vec![
        all(E::CoordinatorLoadInProgress),
        all(E::NotCoordinator),
        all(E::CoordinatorNotAvailable),
        (None, vec![(0, Err(E::UnstableOffsetCommit)), (1, Err(E::UnstableOffsetCommit))]),
        (None, vec![(0, Ok(7)), (1, Err(E::UnstableOffsetCommit))]),
        (None, vec![(1, Ok(-1))]),
    ]);
    let (_pool, coordinator) = brokers.coordinator();
    let known = fetch_committed(&coordinator, &[t(0), t(1)], 60 * SECOND).await.unwrap();
    assert_eq!(known, HashMap::from([(t(0), at(7)), (t(1), Ok(None))]));
}

#[tokio::test(start_paused = true)]
async fn old_brokers_answer_too() {
    let brokers = saying(vec![(None, vec![(0, Ok(7)), (1, Ok(-1)), (2, Err(E::TopicAuthorizationFailed))])]);
    brokers.change(|world| _ = world.highest.insert(OffsetFetchRequest::KEY, 5));
    let (_pool, coordinator) = brokers.coordinator();
    let known = fetch_committed(&coordinator, &[t(0), t(1), t(2)], 60 * SECOND).await.unwrap();
    let expected = [(t(0), at(7)), (t(1), Ok(None)), (t(2), Err(E::TopicAuthorizationFailed))];
    assert_eq!(known, HashMap::from(expected));
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_keeps_only_its_own_partitions_waiting() {
    let brokers = saying(vec![(None, vec![(0, Ok(7)), (1, Err(E::UnstableOffsetCommit))])]);
    let (_pool, coordinator) = brokers.coordinator();
    let begun = Instant::now();
    let known = fetch_committed(&coordinator, &[t(0), t(1)], 60 * SECOND).await.unwrap();
    assert_eq!(known, HashMap::from([(t(0), at(7)), (t(1), Err(E::UnstableOffsetCommit))]));
    assert!(begun.elapsed() < 3 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_answered_is_not_known() {
    let brokers = saying(vec![(None, vec![])]);
    let (_pool, coordinator) = brokers.coordinator();
    let begun = Instant::now();
    let error = fetch_committed(&coordinator, &[t(0)], 20 * SECOND).await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    assert!(begun.elapsed() > 18 * SECOND && begun.elapsed() <= 20 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn no_permission_is_said_at_once() {
    let brokers = saying(vec![(Some(E::GroupAuthorizationFailed), vec![])]);
    let (_pool, coordinator) = brokers.coordinator();
    let error = fetch_committed(&coordinator, &[t(0)], 60 * SECOND).await.unwrap_err();
    assert_eq!(error.code(), Some(E::GroupAuthorizationFailed));
    assert_eq!(fetch_committed(&coordinator, &[], 60 * SECOND).await.unwrap(), HashMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_away_is_waited_for_until_the_deadline() {
    let brokers = saying(vec![(None, vec![(0, Ok(7))])]);
    brokers.go_down();
    let (_pool, coordinator) = brokers.coordinator();
    let begun = Instant::now();
    let error = fetch_committed(&coordinator, &[t(0)], 20 * SECOND).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. } | Error::Timeout { .. }), "{error}");
    assert!(begun.elapsed() <= 20 * SECOND);
    brokers.come_up();
    let known = fetch_committed(&coordinator, &[t(0)], 20 * SECOND).await.unwrap();
    assert_eq!(known[&t(0)], at(7));
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_one_stamped_request() {
    let brokers = Brokers::with(|asked| {
        asked.is::<OffsetCommitRequest>().then(|| {
            let request: OffsetCommitRequest = asked.read();
            assert_eq!(request.group_id.as_str(), "g");
            assert_eq!((request.member_id.as_str(), request.generation_id_or_member_epoch), ("m", 4));
            assert_eq!(request.group_instance_id.unwrap().as_str(), "i");
            assert_eq!(request.topics.len(), 2);
            let one = |index, code: i16| {
                OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code)
            };
            let partitions = [vec![one(0, 0), one(1, E::RebalanceInProgress.code())], vec![]];
            let topics = request.topics.iter().zip(partitions).map(|(topic, partitions)| {
                OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
            });
            asked.answer(&OffsetCommitResponse::default().with_topics(topics.collect()))
        })
    });
    let (_pool, coordinator) = brokers.coordinator();
    let identity = Identity { member_id: "m".into(), generation: 4 };
    let u = TopicPartition::new("u", 0);
    let offset = |offset| CommittedOffset { offset, leader_epoch: 2, metadata: String::new() };
    let offsets = [(t(0), offset(1)), (u, offset(2)), (t(1), offset(3))];
    let connection = coordinator.connection(Purpose::Commit).await.unwrap();
    let outcome = commit(&coordinator, &connection, &identity, Some("i"), &offsets).await.unwrap();
    let expected = [(t(0), None), (u, Some(E::UnknownServerError)), (t(1), Some(E::RebalanceInProgress))];
    assert_eq!(outcome, expected);
    assert_eq!(commit(&coordinator, &connection, &identity, None, &[]).await.unwrap(), []);
}
