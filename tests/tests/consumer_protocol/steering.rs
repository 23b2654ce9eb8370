//! What an operator orders at run time: pauses that outlast rebalances, seeks, another concurrency.

use kafka_runtime::container::Selection;

use super::*;

/// Another member comes, has its share and handles a record of each partition of it, and goes; the partitions that were away.
async fn away_and_back(fleet: &Fleet, first: &Member, settings: &str) -> BTreeSet<i32> {
    let second = Member::start(fleet, settings).await;
    shared_out(first, &second).await;
    let away = second.partitions();
    fleet.round(&first.app, "meanwhile").await;
    eventually("it handles its own", LIMIT, || async { once(&second.handled("meanwhile"), &away) }).await;
    second.stop().await;
    eventually("they are back", LIMIT, || async { first.partitions() == all() }).await;
    away
}

async fn all_paused(member: &Member) {
    eventually("all are paused", LIMIT, || async {
        let status = member.listener().status();
        status.partitions.len() == PARTITIONS as usize
            && status.partitions.iter().all(|found| found.paused && found.phase == PartitionPhase::Paused)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_listener_stays_paused_over_a_rebalance() {
    let fleet = fleet().await;
    let first = Member::start(&fleet, "").await;
    fleet.round(&first.app, "before").await;
    eventually("all are handled", LIMIT, || async { once(&first.handled("before"), &all()) }).await;
    first.listener().pause().await.unwrap();
    let away = away_and_back(&fleet, &first, "").await;
    fleet.round(&first.app, "after").await;
    all_paused(&first).await;
    assert_eq!(first.probe.len(), 2 * PARTITIONS as usize, "{:?}", first.probe.seen());
    first.listener().resume().await.unwrap();
    eventually("they are handled", LIMIT, || async { once(&first.handled("after"), &all()) }).await;
    // The other process knew nothing of the pause.
    assert!(once(&first.handled("meanwhile"), &(&all() - &away)));
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_partitions_stay_paused_over_a_rebalance_whether_they_stay_or_come_back() {
    let fleet = fleet().await;
    let first = Member::start(&fleet, "").await;
    let partition = |number: &i32| TopicPartition::new(fleet.topic.as_str(), *number);
    for number in &all() {
        first.listener().pause_partition(partition(number)).await.unwrap();
    }
    let away = away_and_back(&fleet, &first, "").await;
    fleet.round(&first.app, "after").await;
    all_paused(&first).await;
    let stayed = &all() - &away;
    let goes_on = BTreeSet::from([*away.first().unwrap(), *stayed.first().unwrap()]);
    for number in &goes_on {
        first.listener().resume_partition(partition(number)).await.unwrap();
    }
    eventually("two go on", LIMIT, || async { once(&first.handled("after"), &goes_on) }).await;
    never("another one goes on", || first.handled(&begins("after")).len() > goes_on.len()).await;
    for number in &all() - &goes_on {
        first.listener().resume_partition(partition(&number)).await.unwrap();
    }
    eventually("all go on", LIMIT, || async { once(&first.handled("after"), &all()) }).await;
    assert!(once(&first.handled("meanwhile"), &stayed));
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_what_a_member_holds_move_and_nobody_elses() {
    let fleet = fleet().await;
    let (first, second) = (Member::start(&fleet, "").await, Member::start(&fleet, "").await);
    shared_out(&first, &second).await;
    let (own, others) = (first.partitions(), second.partitions());
    for _ in 0..3 {
        fleet.round(&first.app, "old").await;
    }
    until_committed(&fleet, &all(), 3).await;

    let moved = first.listener().seek(Selection::All, StartAt::Beginning).await.unwrap();
    assert!(moved.iter().map(|partition| &partition.partition).eq(&own), "{moved:?}");
    eventually("they come again", LIMIT, || async { first.handled("old").len() == 6 * own.len() }).await;
    let foreign = TopicPartition::new(fleet.topic.as_str(), *others.first().unwrap());
    let refused = first.listener().seek(foreign, StartAt::Beginning).await;
    assert!(matches!(refused, Err(ListenerError::NotHeld { .. })), "{refused:?}");

    // Paused, so that the end is chosen before anything of it is handled.
    first.listener().pause().await.unwrap();
    fleet.round(&first.app, "passed over").await;
    first.listener().seek(fleet.topic.as_str(), StartAt::End).await.unwrap();
    first.listener().resume().await.unwrap();
    fleet.round(&first.app, "new").await;
    until_committed(&fleet, &all(), 5).await;
    assert!(once(&first.handled("new"), &own) && first.handled("passed over").is_empty());
    assert!(once(&second.handled("new"), &others) && once(&second.handled("passed over"), &others));
    assert_eq!(second.handled("old").len(), 3 * others.len());
    first.stop().await;
    second.stop().await;
}

/// Where that is below what was committed before: the coordinator takes it.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_owner_begins_where_a_seek_led() {
    let fleet = fleet().await;
    let first = Member::start(&fleet, "").await;
    for _ in 0..3 {
        fleet.round(&first.app, "old").await;
    }
    until_committed(&fleet, &all(), 3).await;
    first.door.shut();
    first.listener().seek(Selection::All, StartAt::Beginning).await.unwrap();
    eventually("all are in hand", LIMIT, || async { first.in_hand("old") == PARTITIONS as usize }).await;
    // One record of each, and no more.
    first.listener().pause().await.unwrap();
    first.door.open();
    until_committed(&fleet, &all(), 1).await;

    let second = Member::start(&fleet, "").await;
    shared_out(&first, &second).await;
    let moved = second.partitions();
    until_committed(&fleet, &moved, 3).await;
    assert!(second.probe.offsets().keys().eq(&moved));
    assert!(
        second.probe.offsets().values().all(|offsets| *offsets == [1, 1, 2, 2]),
        "each begins and is done"
    );
    assert_eq!(first.handled("old").len(), 4 * PARTITIONS as usize);
    first.stop().await;
    second.stop().await;
}

/// So many of these are in hand, and no more.
async fn at_once(member: &Member, value: &str, most: usize) {
    eventually(&format!("{most} are in hand"), LIMIT, || async { member.in_hand(value) >= most }).await;
    never(&format!("more than {most} are in hand"), || member.in_hand(value) > most).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_concurrency_is_in_effect_at_once_and_after_a_rebalance() {
    const SETTINGS: &str = "ordering: key, concurrency: 2";
    let fleet = fleet().await;
    let first = Member::start(&fleet, SETTINGS).await;
    eventually("it has all", LIMIT, || async { first.partitions() == all() }).await;
    first.door.shut();
    fleet.round(&first.app, "one").await;
    at_once(&first, "one", 2).await;
    assert!(first.listener().set_concurrency(5));
    at_once(&first, "one", 5).await;
    first.door.open();
    eventually("all are handled", LIMIT, || async { once(&first.handled("one"), &all()) }).await;

    away_and_back(&fleet, &first, SETTINGS).await;
    first.door.shut();
    fleet.round(&first.app, "two").await;
    at_once(&first, "two", 5).await;
    first.door.open();
    eventually("all are handled", LIMIT, || async { once(&first.handled("two"), &all()) }).await;

    assert!(first.listener().set_concurrency(1));
    first.door.shut();
    fleet.round(&first.app, "three").await;
    at_once(&first, "three", 1).await;
    first.door.open();
    until_committed(&fleet, &all(), 4).await;
    first.stop().await;
}
