use std::sync::Mutex;

use kafka_client::ResponseError;
use proptest::prelude::*;

use super::super::fixture::{self, Coordinator, after};
use super::super::shared::Signal;
use super::*;

fn policy(strategy: CommitStrategy, cadence: Cadence) -> CommitPolicy {
    fixture::policy(&ListenerSettings { commit: strategy, cadence, ..fixture::settings() })
}

const EACH_SECOND: Cadence = Cadence::Every { records: None, time: Some(Duration::from_secs(1)) };

fn partition(number: i32) -> Arc<Shared> {
    Arc::new(Shared::new(TopicPartition::new("orders", number), 0, 1, -1, false))
}

fn start(port: &Coordinator, policy: CommitPolicy, count: i32) -> (Committer, Vec<Arc<Shared>>) {
    let committer = Committer::start(port.clone(), policy);
    let partitions: Vec<_> = (0..count).map(partition).collect();
    for shared in &partitions {
        committer.hold(Arc::clone(shared), None);
    }
    (committer, partitions)
}

#[tokio::test(start_paused = true)]
async fn the_ticker_commits_what_moved_once() {
    let port = Coordinator::default();
    let (_committer, partitions) = start(&port, policy(CommitStrategy::Combined, EACH_SECOND), 3);
    after(1500).await;
    assert!(port.sent().is_empty(), "nothing was handled: {:?}", port.sent());
    partitions[0].set_position(5);
    partitions[2].set_position(7);
    after(1000).await;
    let both = vec![(partitions[0].partition, 5), (partitions[2].partition, 7)];
    assert_eq!(port.sent(), std::slice::from_ref(&both));
    assert_eq!((partitions[0].committed(), partitions[1].committed()), (5, -1));
    after(5000).await;
    assert_eq!(port.sent(), [both]);
}

#[tokio::test(start_paused = true)]
async fn newer_offsets_wait_for_the_commit_in_flight_and_go_together() {
    let port = Coordinator::default();
    let (committer, partitions) = start(&port, policy(CommitStrategy::Async, Cadence::Record), 2);
    for offset in 1..=5 {
        for shared in &partitions {
            shared.set_position(offset);
            committer.ask(shared);
        }
        after(2).await;
    }
    after(100).await;
    let (one, two) = (partitions[0].partition, partitions[1].partition);
    assert_eq!(port.sent(), [vec![(one, 1), (two, 1)], vec![(one, 5), (two, 5)]]);
}

/// Each of those who wait has its commit in the time of one, up to four of them; who comes later shares one.
#[tokio::test(start_paused = true)]
async fn partitions_that_wait_do_not_wait_for_each_others_commits() {
    let port = Coordinator::default();
    let (committer, partitions) = start(&port, policy(CommitStrategy::Sync, Cadence::Record), 7);
    let begun = Instant::now();
    let mut answers = Vec::new();
    for shared in &partitions {
        shared.set_position(5);
        answers.push(committer.request_sync(shared));
        after(1).await;
    }
    for (index, answer) in answers.into_iter().enumerate() {
        assert!(matches!(answer.await, Ok(Ok(()))), "{index}");
        assert!(begun.elapsed() <= Duration::from_millis(if index < 4 { 14 } else { 24 }), "{index}");
    }
    assert_eq!(port.sent().iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 1, 3]);
}

/// Who asks while a commit is in flight asks for more than that one says.
#[tokio::test(start_paused = true)]
async fn what_is_asked_for_during_a_commit_is_in_the_next_one() {
    let failures = [ResponseError::NotCoordinator, ResponseError::NotCoordinator];
    let port = Coordinator::failing(&failures);
    let (committer, partitions) = start(&port, policy(CommitStrategy::Sync, Cadence::Record), 1);
    partitions[0].set_position(5);
    let first = committer.request(&partitions[0], Tries::Once);
    after(2).await;
    partitions[0].set_position(6);
    let second = committer.request_sync(&partitions[0]);
    assert!(matches!(first.await, Ok(Err(_))));
    assert!(matches!(second.await, Ok(Ok(()))));
    assert_eq!((port.offsets(), port.overlaps()), (vec![5, 6, 6], 0));
}

#[tokio::test(start_paused = true)]
async fn an_async_failure_is_told_and_not_repeated() {
    let port = Coordinator::failing(&[ResponseError::CoordinatorNotAvailable]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook: CommitHook = {
        let told = Arc::clone(&told);
        Arc::new(move |event: &CommitEvent| told.lock().unwrap().push(event.has_failed()))
    };
    let policy = CommitPolicy { hook: Some(hook), ..policy(CommitStrategy::Async, EACH_SECOND) };
    let (_committer, partitions) = start(&port, policy, 1);
    partitions[0].set_position(5);
    after(10_000).await;
    assert_eq!((port.offsets(), partitions[0].committed()), (vec![5], -1));
    partitions[0].set_position(6);
    after(2_000).await;
    assert_eq!((port.offsets(), partitions[0].committed()), (vec![5, 6], 6));
    assert_eq!(*told.lock().unwrap(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn combined_repeats_once_the_partition_stands_still() {
    let failures = [ResponseError::CoordinatorNotAvailable, ResponseError::CoordinatorLoadInProgress];
    let port = Coordinator::failing(&failures);
    let (_committer, partitions) = start(&port, policy(CommitStrategy::Combined, EACH_SECOND), 1);
    partitions[0].set_position(5);
    after(5_000).await;
    assert_eq!((port.offsets(), partitions[0].committed()), (vec![5, 5, 5], 5));
}

#[tokio::test(start_paused = true)]
async fn sync_waits_and_is_repeated_until_it_succeeds() {
    let port = Coordinator::failing(&[ResponseError::NotCoordinator; 3]);
    let (committer, partitions) = start(&port, policy(CommitStrategy::Sync, Cadence::Record), 1);
    partitions[0].set_position(5);
    committer.commit_sync(&partitions[0]).await.unwrap();
    assert_eq!((port.offsets(), partitions[0].committed()), (vec![5, 5, 5, 5], 5));
    // What is confirmed is not sent again.
    committer.commit_sync(&partitions[0]).await.unwrap();
    assert_eq!(port.offsets().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn sync_ends_when_it_is_refused_for_good_or_time_is_up() {
    let port = Coordinator::failing(&[ResponseError::GroupAuthorizationFailed]);
    let (committer, partitions) = start(&port, policy(CommitStrategy::Sync, Cadence::Record), 1);
    partitions[0].set_position(5);
    let refused = committer.commit_sync(&partitions[0]).await.unwrap_err();
    assert_eq!(refused.code(), Some(ResponseError::GroupAuthorizationFailed));

    let port = Coordinator::failing(&[ResponseError::NotCoordinator; 10_000]);
    let (committer, partitions) = start(&port, policy(CommitStrategy::Sync, Cadence::Record), 1);
    partitions[0].set_position(5);
    let begin = Instant::now();
    committer.commit_sync(&partitions[0]).await.unwrap_err();
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(58) && took <= Duration::from_secs(60), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn sync_by_time_stops_the_loop_for_its_commit() {
    let port = Coordinator::default();
    let (_committer, partitions) = start(&port, policy(CommitStrategy::Sync, EACH_SECOND), 2);
    partitions[1].set_position(5);
    after(1_100).await;
    assert_eq!((partitions[0].signal(), partitions[1].signal()), (Signal::Run, Signal::Commit));
    assert!(port.sent().is_empty(), "the loop makes it");
}

#[tokio::test(start_paused = true)]
async fn without_a_cadence_of_time_only_what_stands_still_is_swept_up() {
    let port = Coordinator::default();
    let cadence = Cadence::Every { records: Some(500), time: None };
    let (_committer, partitions) = start(&port, policy(CommitStrategy::Combined, cadence), 1);
    for offset in 1..=20 {
        partitions[0].set_position(offset);
        after(500).await;
    }
    assert!(port.sent().is_empty(), "{:?}", port.sent());
    after(2_100).await;
    assert_eq!(port.offsets(), [20]);
}

#[tokio::test(start_paused = true)]
async fn a_new_epoch_may_commit_lower_the_old_one_may_not() {
    let port = Coordinator::default();
    let (committer, partitions) = start(&port, policy(CommitStrategy::Sync, Cadence::Record), 1);
    let shared = &partitions[0];
    shared.set_position(100);
    committer.commit_sync(shared).await.unwrap();
    shared.set_position(50);
    committer.commit_sync(shared).await.unwrap();
    assert_eq!(port.offsets(), [100], "lower in the same epoch");
    shared.restart(10, 2);
    shared.set_position(11);
    committer.commit_sync(shared).await.unwrap();
    assert_eq!(port.offsets(), [100, 11]);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_partition_is_never_committed() {
    let port = Coordinator::default();
    let (committer, partitions) = start(&port, policy(CommitStrategy::Combined, EACH_SECOND), 1);
    partitions[0].set_position(5);
    committer.forget(&partitions[0]);
    after(5_000).await;
    assert!(port.sent().is_empty());
    assert!(committer.request(&partitions[0], Tries::Once).await.is_ok_and(|told| told.is_err()));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_its_last_life_means_nothing_to_a_partition() {
    let port = Coordinator::default();
    let (committer, partitions) = start(&port, policy(CommitStrategy::Sync, Cadence::Record), 1);
    let (before, now) = (&partitions[0], partition(0));
    before.set_position(9);
    let asked = committer.request(before, Tries::Once);
    after(1).await;
    // Lost while its commit is under way, and back at once. Who gave it back last time forgets it only now.
    committer.hold(Arc::clone(&now), Some(3));
    now.set_position(5);
    let again = committer.request(&now, Tries::Once);
    committer.forget(before);
    committer.insist(before);
    assert!(matches!(asked.await, Ok(Ok(()))));
    assert!(matches!(again.await, Ok(Ok(()))));
    assert_eq!((port.offsets(), before.committed(), now.committed()), (vec![9, 5], 9, 5));
    now.set_position(6);
    committer.commit_sync(&now).await.unwrap();
    assert_eq!(port.offsets(), [9, 5, 6]);
}

#[derive(Debug, Clone)]
enum Step {
    Handle(usize, i64),
    Ask(usize),
    Insist(usize),
    Restart(usize, i64),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        6 => (0..3usize, 1..9i64).prop_map(|(p, n)| Step::Handle(p, n)),
        3 => (0..3usize).prop_map(Step::Ask),
        1 => (0..3usize).prop_map(Step::Insist),
        1 => (0..3usize, 0..50i64).prop_map(|(p, to)| Step::Restart(p, to)),
        4 => (1..700u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(one, 1..80)
}

proptest! {
    /// Whatever the loops do and however the coordinator fails: at most one commit of a partition is in flight, within an epoch offsets never fall, nothing is committed that was not handled, and in the end all of it is.
    #[test]
    fn commits_never_fall_and_never_run_ahead(
        steps in steps(),
        failures in prop::collection::vec(any::<bool>(), 0..20),
        strategy in prop_oneof![
            Just(CommitStrategy::Async), Just(CommitStrategy::Combined), Just(CommitStrategy::Sync)
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let failures: Vec<_> = failures
                .iter()
                .map(|fatal| if *fatal { ResponseError::UnknownMemberId } else { ResponseError::NotCoordinator })
                .collect();
            let port = Coordinator::failing(&failures);
            let (committer, partitions) = start(&port, policy(strategy, EACH_SECOND), 3);
            let mut epochs = [1u64; 3];
            // The highest that was handled, for each epoch of each partition; a new epoch's are told apart by number.
            let mut restarts: Vec<(usize, usize)> = Vec::new();
            for step in steps {
                match step {
                    Step::Handle(p, n) => partitions[p].set_position(partitions[p].position() + n),
                    Step::Ask(p) => committer.ask(&partitions[p]),
                    Step::Insist(p) => committer.insist(&partitions[p]),
                    Step::Restart(p, to) => {
                        // Drained before, as a loop does it.
                        after(50).await;
                        epochs[p] += 1;
                        restarts.push((p, port.sent().len()));
                        partitions[p].restart(to, epochs[p]);
                    }
                    Step::Wait(millis) => after(millis).await,
                }
            }
            for shared in &partitions {
                committer.insist(shared);
            }
            after(200_000).await;
            prop_assert_eq!(port.overlaps(), 0);
            for (index, shared) in partitions.iter().enumerate() {
                let mut last = i64::MIN;
                for (round, sent) in port.sent().iter().enumerate() {
                    if restarts.contains(&(index, round)) {
                        last = i64::MIN;
                    }
                    if let Some((_, offset)) = sent.iter().find(|(partition, _)| *partition == shared.partition) {
                        prop_assert!(*offset >= last, "{index}: {offset} after {last}");
                        last = *offset;
                    }
                }
                prop_assert!(last <= shared.position(), "ahead of what was handled");
            }
            Ok(())
        })?;
    }
}
