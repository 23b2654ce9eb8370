//! Commits and who they are stamped by.

use tokio::time::Instant;

use super::*;
use crate::cluster::Cluster;
use crate::consumer::commit::{self, CommitJob, Committer, Holding, Persistence};
use crate::group::{Coordinator, Identity};
use crate::net::Pool;
use crate::watch;

/// A committer whose identity the test holds.
struct Stamped {
    world: World,
    identity: watch::Sender<Identity>,
    holding: Arc<Holding>,
    requests: watch::Receiver<commit::Requests>,
    jobs: mpsc::UnboundedSender<CommitJob>,
    told: mpsc::UnboundedReceiver<Command>,
    _commands: mpsc::UnboundedSender<Command>,
}

fn member(generation: i32) -> Identity {
    Identity { member_id: "me".into(), generation }
}

impl Stamped {
    fn new() -> Self {
        let world = World::new();
        let config = client_config(&["host-1:9092"]);
        let cluster = Cluster::new(config, world.fake.seams());
        let pool = Arc::new(Pool::new(Arc::clone(&cluster), StrBytes::from_static_str("test")));
        let (identity, stamp) = watch::channel(member(1));
        let (commands, told) = mpsc::unbounded_channel();
        let (jobs, inbox) = mpsc::unbounded_channel();
        let holding = Arc::new(Holding::default());
        holding.take(orders(0), 1);
        holding.take(orders(1), 1);
        let committer = Committer {
            group: "billing".into(),
            instance_id: None,
            coordinator: Arc::new(Coordinator::new(pool, "billing")),
            identity: Some(stamp),
            holding: Arc::clone(&holding),
            task: commands.downgrade(),
            cluster,
        };
        let (committing, requests) = watch::channel(commit::Requests::default());
        tokio::spawn(commit::run(Some(committer), inbox, committing));
        Self { world, identity, holding, requests, jobs, told, _commands: commands }
    }

    fn commit(&self, offset: i64, persistence: Persistence) -> oneshot::Receiver<CommitOutcome> {
        self.commit_of(to_commit(0, offset), persistence)
    }

    fn commit_of(&self, offsets: Offsets, persistence: Persistence) -> oneshot::Receiver<CommitOutcome> {
        let (job, answer) = CommitJob::new(offsets, persistence, &self.holding);
        self.jobs.send(job).unwrap();
        answer
    }
}

fn code(outcome: &CommitOutcome) -> Option<ResponseError> {
    outcome.partitions[0].1.as_ref().err().map(|error| error.code().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_commit_with_an_old_stamp_is_stamped_anew() {
    let mut one = Stamped::new();
    for old in [
        ResponseError::RebalanceInProgress,
        ResponseError::IllegalGeneration,
        ResponseError::StaleMemberEpoch,
    ] {
        one.world.brokers().commit_codes = vec![old];
        let outcome = one.commit(5, Persistence::Once);
        // The rebalance ends some time later; the membership was told to look.
        assert!(matches!(one.told.recv().await, Some(Command::CommitRefused(told)) if told == old));
        let generation = one.identity.borrow().generation + 1;
        one.identity.send_replace(member(generation));
        assert_eq!(code(&outcome.await.unwrap()), None);
        assert_eq!(one.world.brokers().commits.last(), Some(&(0, 5, generation)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_not_stamped_anew_for_what_was_taken_away() {
    let mut one = Stamped::new();
    one.world.brokers().commit_codes = vec![ResponseError::RebalanceInProgress];
    let outcome = one.commit(5, Persistence::Once);
    one.told.recv().await.unwrap();
    one.holding.let_go(orders(0), 1);
    one.identity.send_replace(member(2));
    let outcome = outcome.await.unwrap();
    assert!(matches!(outcome.partitions[0].1, Err(Error::NotHeld { .. })), "{outcome:?}");
    assert_eq!(one.world.brokers().commits, []);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_of_a_life_before_the_loss() {
    let one = Stamped::new();
    one.world.brokers().commit_codes = vec![ResponseError::CoordinatorLoadInProgress; 5];
    let hour = Instant::now() + 3600 * SECOND;
    let outcomes = [one.commit(5, Persistence::Until(hour)), one.commit(6, Persistence::Until(hour))];
    tokio::task::yield_now().await;
    // Lost and assigned again, perhaps in the same generation, while the coordinator did not answer.
    one.holding.lose(orders(0));
    one.holding.take(orders(0), 2);
    for outcome in outcomes {
        let outcome = outcome.await.unwrap();
        assert!(matches!(outcome.partitions[0].1, Err(Error::NotHeld { .. })), "{outcome:?}");
    }
    assert_eq!(code(&one.commit(3, Persistence::Until(hour)).await.unwrap()), None);
    assert_eq!(one.world.brokers().commits, [(0, 3, 1)]);
}

/// As above, while the coordinator was looked for: that takes as long as brokers that start do.
#[tokio::test(start_paused = true)]
async fn nothing_is_committed_of_a_life_that_ended_before_there_was_a_connection() {
    let one = Stamped::new();
    one.world.brokers().finding_takes = 4 * SECOND;
    let outcome = one.commit(5, Persistence::Once);
    tokio::time::sleep(SECOND).await;
    one.holding.lose(orders(0));
    one.holding.take(orders(0), 2);
    let outcome = outcome.await.unwrap();
    assert!(matches!(outcome.partitions[0].1, Err(Error::NotHeld { .. })), "{outcome:?}");
    assert_eq!(one.world.brokers().commits, []);
    assert_eq!(code(&one.commit(3, Persistence::Once).await.unwrap()), None);
    assert_eq!(one.world.brokers().commits, [(0, 3, 1)]);
}

#[tokio::test(start_paused = true)]
async fn commits_are_repeated_only_when_asked_to_and_never_overtake() {
    let one = Stamped::new();
    let loading = ResponseError::CoordinatorLoadInProgress;
    one.world.brokers().commit_codes = vec![loading];
    assert_eq!(code(&one.commit(1, Persistence::Once).await.unwrap()), Some(loading));

    one.world.brokers().commit_codes = vec![loading; 5];
    let first = one.commit(2, Persistence::Until(Instant::now() + 60 * SECOND));
    let second = one.commit(3, Persistence::Once);
    assert_eq!(code(&second.await.unwrap()), None);
    assert_eq!(code(&first.await.unwrap()), None);
    assert_eq!(one.world.brokers().commits, [(0, 2, 1), (0, 3, 1)]);

    one.world.brokers().commit_codes = vec![loading; 500];
    let begun = Instant::now();
    let outcome = one.commit(4, Persistence::Until(begun + 10 * SECOND)).await.unwrap();
    assert_eq!(code(&outcome), Some(loading));
    assert!((9 * SECOND..=10 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

/// One that takes long holds up its own partition, and whoever waits for all of them.
#[tokio::test(start_paused = true)]
async fn commits_of_different_partitions_go_beside_each_other() {
    let one = Stamped::new();
    one.world.brokers().commit_takes = 3 * SECOND;
    let begun = Instant::now();
    let first = one.commit(5, Persistence::Once);
    tokio::time::sleep(SECOND).await;
    let others = [6, 7].map(|offset| one.commit_of(to_commit(1, offset), Persistence::Once));
    for other in others {
        assert_eq!(code(&other.await.unwrap()), None);
    }
    assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
    let both = [to_commit(0, 8), to_commit(1, 8)].concat();
    let both = one.commit_of(both, Persistence::Once);
    // More are over than were under way; that one is not.
    commit::over(one.requests.clone()).await;
    assert!((3 * SECOND..4 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(code(&first.await.unwrap()), None);
    assert_eq!(code(&both.await.unwrap()), None);
    assert_eq!(one.world.brokers().commits, [(0, 5, 1), (1, 6, 1), (1, 7, 1), (0, 8, 1), (1, 8, 1)]);
}

/// A broker reads a connection's next request when the last one is answered, also when the connection was given up
/// meanwhile: one that was sent behind another would be done after its successors on the next connection.
#[tokio::test(start_paused = true)]
async fn no_commit_is_left_behind_on_a_connection_that_is_given_up() {
    let one = Stamped::new();
    one.world.brokers().commit_takes = 9 * SECOND;
    let first = one.commit(5, Persistence::Until(Instant::now() + SECOND));
    assert_eq!(code(&first.await.unwrap()), Some(ResponseError::RequestTimedOut));
    let second = one.commit(6, Persistence::Until(Instant::now() + 2 * SECOND));
    assert_eq!(code(&second.await.unwrap()), Some(ResponseError::RequestTimedOut));
    let begun = Instant::now();
    assert_eq!(code(&one.commit(7, Persistence::Once).await.unwrap()), None);
    // The first one's 6.5 s, of which 3 had gone.
    assert!((3 * SECOND..4 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(one.world.brokers().commits, [(0, 5, 1), (0, 7, 1)]);
}

/// Nor by the next one over another connection that stands: what the broker has not read yet is to be behind a handshake.
#[tokio::test(start_paused = true)]
async fn after_a_commit_without_an_answer_all_begin_with_a_new_connection() {
    let one = Stamped::new();
    one.world.brokers().commit_takes = 3 * SECOND;
    let first = one.commit(5, Persistence::Once);
    tokio::time::sleep(SECOND).await;
    one.world.brokers().commit_takes = 60 * SECOND;
    let stuck = one.commit_of(to_commit(1, 5), Persistence::Until(Instant::now() + SECOND));
    assert_eq!(code(&stuck.await.unwrap()), Some(ResponseError::RequestTimedOut));
    assert_eq!(code(&first.await.unwrap()), None);
    // Over the first one's, which stands.
    assert_eq!(code(&one.commit(6, Persistence::Once).await.unwrap()), None);
    assert_eq!(code(&one.commit_of(to_commit(1, 6), Persistence::Once).await.unwrap()), None);
    let [first, stuck, second, third] = one.world.brokers().committing[..] else { panic!("four") };
    assert!(
        first != stuck && second == first && ![first, stuck].contains(&third),
        "{first} {stuck} {second} {third}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_time_is_over_before_its_turn_is_not_sent() {
    let one = Stamped::new();
    one.world.brokers().commit_takes = 5 * SECOND;
    let first = one.commit(5, Persistence::Once);
    let second = one.commit(6, Persistence::Once);
    let late = one.commit_of(to_commit(1, 7), Persistence::Until(Instant::now() + SECOND));
    assert_eq!(code(&late.await.unwrap()), Some(ResponseError::RequestTimedOut));
    assert_eq!(code(&first.await.unwrap()), None);
    assert_eq!(code(&second.await.unwrap()), None);
    assert_eq!(one.world.brokers().commits, [(0, 5, 1), (0, 6, 1)]);
}

/// Also where no other commit follows: whoever reads what was committed waits until that is over.
#[tokio::test(start_paused = true)]
async fn a_commit_that_nobody_waits_for_is_given_up_in_time() {
    let one = Stamped::new();
    one.world.brokers().commit_takes = 60 * SECOND;
    let begun = Instant::now();
    let outcome = one.commit(5, Persistence::Until(begun + SECOND)).await.unwrap();
    assert_eq!(code(&outcome), Some(ResponseError::RequestTimedOut));
    assert!(one.requests.borrow().any());
    one.holding.lose(orders(0));
    commit::over(one.requests.clone()).await;
    assert!((6 * SECOND..7 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    // So does who reads it after the last handle is gone.
    let (committing, jobs) = (one.requests, one.jobs);
    drop(jobs);
    commit::over(committing).await;
}

/// The first commit's answer comes when nobody waits for it any more, and the second one goes out then.
#[tokio::test(start_paused = true)]
async fn a_commit_goes_out_when_the_one_before_it_is_answered() {
    let one = Stamped::new();
    one.world.brokers().commit_takes = 3 * SECOND;
    let begun = Instant::now();
    let first = one.commit(5, Persistence::Until(begun + SECOND));
    assert_eq!(code(&first.await.unwrap()), Some(ResponseError::RequestTimedOut));
    assert_eq!(code(&one.commit(6, Persistence::Once).await.unwrap()), None);
    assert!((3 * SECOND..4 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(one.world.brokers().commits, [(0, 5, 1), (0, 6, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_lost_its_place_commits_nothing() {
    let mut one = Stamped::new();
    one.world.brokers().commit_codes = vec![ResponseError::UnknownMemberId];
    assert_eq!(code(&one.commit(1, Persistence::Once).await.unwrap()), Some(ResponseError::UnknownMemberId));
    assert!(matches!(one.told.recv().await, Some(Command::CommitRefused(ResponseError::UnknownMemberId))));
    // Without a generation the broker would take it for an outsider's, if the group is empty.
    one.identity.send_replace(Identity::none());
    assert!(code(&one.commit(1, Persistence::Once).await.unwrap()).is_some());
    assert_eq!(one.world.brokers().commits, []);
}

/// What is read of commits is not behind one that is under way: not after a seek, nor in a partition's next life.
#[tokio::test(start_paused = true)]
async fn what_is_committed_is_asked_for_when_no_commit_is_under_way() {
    let world = World::new();
    world.brokers().committed[0] = Some(2);
    let mut consumer = world.consumer(by_hand(0, StartAt::Committed, OffsetReset::Earliest));
    let _stream = assigned(&mut consumer).await;
    world.brokers().commit_takes = 3 * SECOND;
    let handle = consumer.handle();
    let committing = tokio::spawn({
        let handle = handle.clone();
        async move { handle.commit(to_commit(0, 6)).await }
    });
    while world.fake.count(ApiKey::OffsetCommit) == 0 {
        tokio::time::sleep(SECOND / 100).await;
    }
    let asked = world.fake.count(ApiKey::OffsetFetch);
    let seeking = tokio::spawn(async move { handle.seek(orders(0), StartAt::Committed).await });
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(world.fake.count(ApiKey::OffsetFetch), asked);
    assert_eq!(code(&committing.await.unwrap()), None);
    seeking.await.unwrap().unwrap();
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(world.fake.count(ApiKey::OffsetFetch), asked + 1);
}
