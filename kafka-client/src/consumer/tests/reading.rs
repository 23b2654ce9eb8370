//! Where reading begins, goes on, and jumps to.

use tokio::time::{Instant, sleep};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_loading_never_means_that_nothing_is_committed() {
    let world = World::new();
    world.brokers().committed[0] = Some(7);
    world.brokers().fetch_codes = vec![ResponseError::CoordinatorLoadInProgress; 150];
    let mut consumer = world.consumer(by_hand(0, StartAt::Committed, OffsetReset::Earliest));
    let begun = Instant::now();
    let mut stream = assigned(&mut consumer).await;
    assert!(begun.elapsed() > 60 * SECOND, "longer than one try's deadline");
    assert_eq!((stream.start().offset, stream.start().epoch), (7, 0));
    assert_eq!(stream.start().committed.as_ref().unwrap().metadata, "kept");
    assert_eq!(next(&mut stream).await, [7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_a_transaction_holds_up_is_told_once() {
    let world = World::new();
    world.brokers().committed[0] = Some(7);
    world.brokers().unstable = 150;
    let mut consumer = world.consumer(by_hand(0, StartAt::Committed, OffsetReset::Earliest));
    let (begun, mut told) = (Instant::now(), Vec::new());
    let stream = loop {
        match consumer.next().await.unwrap() {
            ConsumerEvent::HeldUp(partitions) => told.push((partitions, begun.elapsed() < SECOND)),
            ConsumerEvent::Assigned(mut streams) => break streams.remove(0),
            ConsumerEvent::Problem(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(begun.elapsed() > 60 * SECOND, "longer than one try's deadline");
    assert_eq!(stream.start().offset, 7);
    assert_eq!(told, [(vec![stream.partition()], true)]);
}

#[tokio::test(start_paused = true)]
async fn a_start_at_the_latest_is_in_the_log_of_commits_before_it_is_told() {
    let world = World::new();
    world.brokers().commit_codes = vec![ResponseError::CoordinatorLoadInProgress; 300];
    let mut consumer = world.consumer(by_hand(0, StartAt::Committed, OffsetReset::Latest));
    let stream = assigned(&mut consumer).await;
    assert_eq!(stream.start().offset, 10);
    assert_eq!(world.brokers().commits, [(0, 10, -1)]);
    // What the policy did not choose is not committed.
    drop(consumer);
    for (at, offset) in [(StartAt::End, 10), (StartAt::Beginning, 0), (StartAt::Timestamp(5000), 10)] {
        let mut consumer = world.consumer(by_hand(0, at, OffsetReset::Latest));
        assert_eq!(assigned(&mut consumer).await.start().offset, offset);
    }
    assert_eq!(world.brokers().commits.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_committed_offset_and_without_a_policy_the_partition_waits_for_a_seek() {
    let world = World::new();
    let mut consumer = world.consumer(by_hand(0, StartAt::Committed, OffsetReset::None));
    let mut stream = assigned(&mut consumer).await;
    assert_eq!(stream.start().offset, -1);
    let item = stream.next().await;
    assert!(matches!(item, Some(StreamItem::Failed(Error::NoOffset { .. }))), "{item:?}");
    let handle = consumer.handle();
    assert!(matches!(handle.seek(orders(0), StartAt::Committed).await, Err(Error::NoOffset { .. })));
    assert!(matches!(stream.next().await, Some(StreamItem::Failed(_))));
    handle.seek(orders(0), StartAt::Timestamp(5)).await.unwrap();
    assert_eq!(moved(&mut stream).await, (0, 1));
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    world.brokers().committed[0] = Some(8);
    handle.seek(orders(0), StartAt::Committed).await.unwrap();
    assert_eq!(moved(&mut stream).await, (8, 2));
    assert_eq!(next(&mut stream).await, [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_is_followed_and_its_log_is_checked() {
    let world = World::new();
    let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Earliest));
    let mut stream = assigned(&mut consumer).await;
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    assert_eq!(next(&mut stream).await, [5, 6, 7, 8, 9]);
    // A clean move: the new leader has all that was read.
    {
        let log = &mut world.brokers().logs[0];
        (log.leader, log.epoch, log.epoch_end) = (2, 1, (0, 10));
    }
    world.append(0);
    assert_eq!(next(&mut stream).await, [10, 11]);
    // An unclean one: what was read last is not in the new leader's log.
    {
        let log = &mut world.brokers().logs[0];
        (log.leader, log.epoch, log.epoch_end) = (1, 2, (0, 8));
        log.batches.pop();
        log.batches[1] = Recipe { leader_epoch: 0, ..Recipe::new(5, 3) }.build();
    }
    world.append(0);
    assert_eq!(moved(&mut stream).await, (8, 1));
    assert_eq!(next(&mut stream).await, [8, 9]);
    assert_eq!(world.fake.count(ApiKey::OffsetForLeaderEpoch), 2);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_cut_off_behind_the_reader_costs_what_is_unread_nothing() {
    let world = World::new();
    let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Earliest));
    let mut stream = assigned(&mut consumer).await;
    sleep(SECOND).await;
    // Both batches are queued, none is read; the new leader has one record less.
    {
        let log = &mut world.brokers().logs[0];
        (log.leader, log.epoch, log.epoch_end) = (2, 1, (0, 9));
        log.batches[1] = Recipe::new(5, 4).build();
    }
    world.append(0);
    sleep(30 * SECOND).await;
    assert_eq!(moved(&mut stream).await, (0, 1));
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    assert_eq!(next(&mut stream).await, [5, 6, 7, 8]);
    assert_eq!(next(&mut stream).await, [9, 10]);
}

#[tokio::test(start_paused = true)]
async fn the_nearest_replica_is_read_and_left_when_it_cannot_be() {
    let world = World::new();
    world.brokers().logs[0].preferred = Some(2);
    let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Earliest));
    let mut stream = assigned(&mut consumer).await;
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    assert_eq!(world.brokers().fetches[..2], [(1, 0), (2, 0)]);
    // The leader changes its mind; the follower will not have it any more.
    world.brokers().logs[0].preferred = None;
    world.append(0);
    let mut seen = Vec::new();
    while seen.len() < 7 {
        seen.extend(next(&mut stream).await);
    }
    assert_eq!(seen, [5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(world.brokers().fetches.last(), Some(&(1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_gone_concerns_its_own_partitions_alone() {
    let world = World::new();
    world.fake.take_down(&["host-2:9092"]);
    let both = vec![(orders(0), StartAt::Beginning), (orders(1), StartAt::Offset(0))];
    let config = ConsumerConfig::new(Subscription::Partitions(both));
    let mut consumer = world.consumer(config);
    let (mut streams, mut problems) = (Vec::new(), 0);
    let minute = Instant::now() + 60 * SECOND;
    while let Ok(event) = tokio::time::timeout_at(minute, consumer.next()).await {
        match event.unwrap() {
            ConsumerEvent::Assigned(more) => streams.extend(more),
            ConsumerEvent::Problem(_) => problems += 1,
            other => panic!("{other:?}"),
        }
    }
    streams.sort_by_key(PartitionStream::partition);
    let mut up = streams.remove(0);
    assert_eq!(next(&mut up).await, [0, 1, 2, 3, 4]);
    assert_eq!(next(&mut up).await, [5, 6, 7, 8, 9]);
    assert!((1..=14).contains(&problems), "{problems} in a minute");
    world.fake.take_down(&[]);
    assert_eq!(next(&mut streams[0]).await, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_again_is_read_from_its_start() {
    let world = World::new();
    let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Latest));
    let mut stream = assigned(&mut consumer).await;
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    sleep(SECOND).await;
    {
        let mut brokers = world.brokers();
        brokers.id = 8;
        brokers.logs[0].batches = vec![Recipe::new(0, 2).build()];
    }
    // What was queued of the old topic is not read any more.
    sleep(60 * SECOND).await;
    assert_eq!(moved(&mut stream).await, (0, 1));
    assert_eq!(next(&mut stream).await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_read_before_a_jump_out_of_range() {
    let world = World::new();
    let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Earliest));
    let mut stream = assigned(&mut consumer).await;
    sleep(SECOND).await;
    // Both batches are queued; now retention takes all there was.
    {
        let log = &mut world.brokers().logs[0];
        log.start = 20;
        log.batches = vec![Recipe::new(20, 1).build()];
    }
    sleep(SECOND).await;
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    assert_eq!(next(&mut stream).await, [5, 6, 7, 8, 9]);
    assert_eq!(moved(&mut stream).await, (20, 1));
    assert_eq!(next(&mut stream).await, [20]);
    let said = timeout(SECOND, consumer.next()).await.unwrap();
    match said {
        Some(ConsumerEvent::Problem(error @ Error::Skipped { from: 10, to: 20, .. })) => {
            assert!(error.to_string().contains("10 offsets skipped"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_or_dropped_consumer_ends_its_streams() {
    let world = World::new();
    for drops in [false, true] {
        let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Latest));
        let mut stream = assigned(&mut consumer).await;
        assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
        let handle = consumer.handle();
        match drops {
            true => drop(consumer),
            false => consumer.close(Leave::Default, SECOND).await.unwrap(),
        }
        sleep(SECOND).await;
        assert!(stream.next().await.is_none());
        let outcome = handle.commit(to_commit(0, 1)).await;
        assert!(matches!(outcome.partitions[0].1, Err(Error::NotHeld { .. } | Error::Closed)), "{outcome:?}");
    }
}
