//! Records in hand when their partition goes away: they finish and are committed, are cancelled, or finish uncommitted.

use super::*;

const IN_ORDER: &str = "ordering: partition";
const SIDE_BY_SIDE: &str = "ordering: key, concurrency: 8";
/// Only what becomes another's changes hands, as with the group protocol of KIP-848.
const COOPERATIVE: &str =
    "partition.assignment.strategy: cooperative-sticky, session.timeout.ms: 6000, heartbeat.interval.ms: 300";

/// In groups of both protocols, in both orderings.
async fn everywhere<F: Future<Output = ()>>(check: impl Fn(Fleet, &'static str) -> F) {
    tokio::join!(
        check(fleet().await, IN_ORDER),
        check(fleet().await, SIDE_BY_SIDE),
        check(Fleet::new(COOPERATIVE).await, IN_ORDER),
        check(Fleet::new(COOPERATIVE).await, SIDE_BY_SIDE),
    );
}

/// Settings of a listener that has no time for what is in hand.
fn at_once(ordering: &str, on_revoke: &str) -> String {
    format!("{ordering}, drain-timeout: 200ms, on-revoke: {on_revoke}")
}

/// A record of each partition is in hand when another member comes, behind this door: both of them, and the partitions that
/// change hands.
async fn six_in_hand(fleet: &Fleet, settings: &str, door: Door) -> (Member, Member, BTreeSet<i32>) {
    let first = Member::start(fleet, settings).await;
    eventually("it has all", LIMIT, || async { first.partitions() == all() }).await;
    first.door.shut();
    fleet.round(&first.app, "long").await;
    eventually("they are in hand", LIMIT, || async { first.in_hand("long") == PARTITIONS as usize }).await;
    let mut events = first.events();
    let second = Member::behind(door, fleet, settings).await;
    let moved = event(&mut events, |kind| match kind {
        EventKind::Revoked(partitions) => Some(partitions),
        _ => None,
    })
    .await;
    let moved: BTreeSet<i32> = moved.iter().map(|partition| partition.partition).collect();
    assert_eq!(moved.len(), PARTITIONS as usize / 2);
    (first, second, moved)
}

/// A record more of each partition, which its owner handles.
async fn go_on(fleet: &Fleet, first: &Member, second: &Member, moved: &BTreeSet<i32>) {
    fleet.round(&first.app, "after").await;
    eventually("all are handled", LIMIT, || async {
        once(&first.handled("after"), &(&all() - moved)) && once(&second.handled("after"), moved)
    })
    .await;
    until_committed(fleet, &all(), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_finishes_within_the_deadline_and_is_committed_before_the_next_owner_begins() {
    everywhere(finishes).await;
}

async fn finishes(fleet: Fleet, ordering: &str) {
    // Only the hand-over commits in time.
    let settings = format!("{ordering}, drain-timeout: 30s, commit: {{every: {{records: 1000}}}}");
    let (first, second, moved) = six_in_hand(&fleet, &settings, Door::opened()).await;
    never("it has another owner", || !second.partitions().is_empty()).await;
    first.door.open();
    eventually("they change hands", LIMIT, || async { second.partitions() == moved }).await;
    for partition in &moved {
        assert_eq!(committed(&fleet, *partition).await, Some(1), "partition {partition}");
    }
    go_on(&fleet, &first, &second, &moved).await;
    assert!(once(&first.handled("long"), &all()));
    assert!(second.handled(&begins("long")).is_empty());
    assert_each_once(&[&first, &second], 2);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_what_is_in_hand_is_cancelled_and_handled_by_the_next_owner() {
    everywhere(is_cancelled).await;
}

async fn is_cancelled(fleet: Fleet, ordering: &str) {
    let (first, second, moved) = six_in_hand(&fleet, &at_once(ordering, "cancel"), Door::opened()).await;
    eventually("the next owner handles them", LIMIT, || async { once(&second.handled("long"), &moved) })
        .await;
    // Those that stay are in hand all the while.
    first.door.open();
    go_on(&fleet, &first, &second, &moved).await;
    assert!(once(&first.handled("long"), &(&all() - &moved)), "it went on behind its end");
    assert_each_once(&[&first, &second], 2);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_what_is_in_hand_may_finish_and_is_never_committed_by_the_wrong_owner() {
    everywhere(may_finish).await;
}

async fn may_finish(fleet: Fleet, ordering: &str) {
    let (first, second, moved) = six_in_hand(&fleet, &at_once(ordering, "finish"), Door::closed()).await;
    eventually("it has another owner", LIMIT, || async { second.in_hand("long") == moved.len() }).await;
    first.door.open();
    eventually("all run to their end", LIMIT, || async { once(&first.handled("long"), &all()) }).await;
    // What it still has is committed, behind whatever it might have committed of the others.
    let stayed = &all() - &moved;
    fleet.round(&first.app, "after").await;
    until_committed(&fleet, &stayed, 2).await;
    first.app.commit_now().await;
    for partition in &moved {
        assert_eq!(committed(&fleet, *partition).await, None, "partition {partition}");
    }
    second.door.open();
    until_committed(&fleet, &moved, 2).await;
    assert!(once(&second.handled("long"), &moved));
    assert!(once(&first.handled("after"), &stayed) && once(&second.handled("after"), &moved));
    first.stop().await;
    second.stop().await;
}

/// Then its next record waits for what is still in hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_comes_back_waits_for_what_finishes_there() {
    everywhere(comes_back).await;
}

async fn comes_back(fleet: Fleet, ordering: &str) {
    let (first, second, moved) = six_in_hand(&fleet, &at_once(ordering, "finish"), Door::opened()).await;
    until_committed(&fleet, &moved, 1).await;
    let mut events = first.events();
    second.stop().await;
    event(&mut events, |kind| matches!(kind, EventKind::Assigned(_)).then_some(())).await;
    fleet.round(&first.app, "after").await;
    let begun = || first.handled(&begins("after")).iter().any(|partition| moved.contains(partition));
    never("two owners of a partition are at work", begun).await;
    first.door.open();
    eventually("all are handled", LIMIT, || async { once(&first.handled("after"), &all()) }).await;
    for partition in &moved {
        let seen = first.probe.seen().into_iter().filter(|seen| seen.partition == *partition);
        let values: Vec<String> = seen.map(|seen| seen.value).collect();
        assert_eq!(values, ["long begins", "long", "after begins", "after"], "partition {partition}");
    }
    first.stop().await;
}
