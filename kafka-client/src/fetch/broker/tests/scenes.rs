//! What a reader may rely on, one scene each.

use super::*;

#[tokio::test(start_paused = true)]
async fn records_arrive_in_order_and_a_long_poll_brings_new_ones_at_once() {
    let mut bench = Bench::new(config());
    let (_slot, mut stream) = bench.read(0);
    bench.world.append(0, 3, 0);
    assert_eq!(offsets(chunk_of(stream.next().await)), [0, 1, 2]);
    sleep(Duration::from_secs(5)).await;
    let idle = bench.world.requests();
    // fetch.max.wait.ms, twice, and four times from then on.
    assert!((4..=6).contains(&idle), "{idle} requests");
    let appended = Instant::now();
    bench.world.append(0, 2, 0);
    let chunk = chunk_of(stream.next().await);
    assert_eq!(chunk.end_offset(), 5);
    assert_eq!(offsets(chunk), [3, 4]);
    assert!(appended.elapsed() < Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn a_full_partition_is_left_out_and_comes_back_soon_after_it_is_read() {
    let mut bench = Bench::new(config());
    let (_slot, mut stream) = bench.read(0);
    let (_idle, _idle_stream) = bench.read(1);
    for _ in 0..10 {
        bench.world.append(0, 1, 900);
    }
    sleep(Duration::from_secs(60)).await;
    // Two chunks wait; the session forgot the partition.
    let forgotten = bench.world.with(|model| {
        model.requests.iter().any(|(_, delta, _)| delta.forget.iter().any(|(p, _)| *p == partition(0)))
    });
    assert!(forgotten);
    assert!(bench.world.with(|model| model.sessions.values().all(|(_, kept)| !kept.contains_key(&0))));
    let mut never_dry = Vec::new();
    for expected in 0..10 {
        assert_eq!(offsets(chunk_of(stream.next().await)), [expected]);
        sleep(Duration::from_millis(20)).await;
        never_dry.push(stream.is_ready());
    }
    // A reader that takes 20 ms for a chunk never runs dry before the end, although the other partition has no data.
    assert_eq!(never_dry, [true, true, true, true, true, true, true, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn the_loop_waits_when_the_budget_is_used_up() {
    let mut bench = Bench::new(FetchConfig { prefetch_bytes: 3000, ..config() });
    let (_slot, mut stream) = bench.read(0);
    for _ in 0..10 {
        bench.world.append(0, 1, 900);
    }
    sleep(Duration::from_secs(1)).await;
    let first = chunk_of(stream.next().await);
    let second = chunk_of(stream.next().await);
    sleep(Duration::from_secs(1)).await;
    let third = chunk_of(stream.next().await);
    sleep(Duration::from_secs(10)).await;
    assert!(stream.try_next().is_none(), "three of 960 bytes use up 3000");
    let waiting = bench.world.requests();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.world.requests(), waiting);
    drop((first, second, third));
    assert_eq!(offsets(chunk_of(stream.next().await)), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_budget_and_limits_passes_alone() {
    let mut bench = Bench::new(FetchConfig { prefetch_bytes: 3000, ..config() });
    let (_slot, mut stream) = bench.read(0);
    bench.world.append(0, 1, 100_000);
    bench.world.append(0, 1, 100_000);
    let first = chunk_of(stream.next().await);
    sleep(Duration::from_secs(10)).await;
    assert!(stream.try_next().is_none());
    assert_eq!(offsets(first), [0]);
    assert_eq!(offsets(chunk_of(stream.next().await)), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_never_waits_for_another_ones_handler() {
    let mut bench = Bench::new(FetchConfig { prefetch_bytes: 5000, ..config() });
    let mut stuck = Vec::new();
    for number in 0..20 {
        bench.world.append(number, 1, 900);
        bench.world.append(number, 1, 900);
        let (_slot, mut stream) = bench.read(number);
        stuck.push((chunk_of(stream.next().await), stream));
    }
    for _ in 0..5 {
        bench.world.append(20, 1, 100);
    }
    let (_slot, mut stream) = bench.read(20);
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.extend(offsets(chunk_of(stream.next().await)));
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn what_the_loop_cannot_handle_it_gives_back() {
    let mut bench = Bench::new(config());
    bench.world.with(|model| model.codes.insert(0, ResponseError::OffsetOutOfRange));
    let (_bad, _bad_stream) = bench.read(0);
    let (_good, mut good_stream) = bench.read(1);
    bench.world.append(1, 1, 0);
    match bench.reports.recv().await.unwrap() {
        Report::Refused { partition: refused, turn: 1, code: ResponseError::OffsetOutOfRange, asked: 0 } => {
            assert_eq!(refused, partition(0));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(offsets(chunk_of(good_stream.next().await)), [0]);
    sleep(Duration::from_secs(3)).await;
    assert!(bench.world.with(|model| model.sessions.values().all(|(_, kept)| !kept.contains_key(&0))));
    assert!(bench.reports.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_part_without_a_whole_batch_stops_the_partition_visibly() {
    let mut bench = Bench::new(config());
    let torn = joined(&[Recipe::new(0, 1).build(), Bytes::from(vec![0; 100])]);
    bench.world.with(|model| model.logs.insert(0, vec![torn]));
    let (_slot, mut stream) = bench.read(0);
    let mut chunk = chunk_of(stream.next().await);
    assert!(chunk.next_batch().unwrap().is_some());
    match bench.reports.recv().await.unwrap() {
        Report::Broken { error: None, .. } => assert!(chunk.next_batch().is_err(), "the reader meets it"),
        Report::Broken { error: Some(Error::Records { offset: 1, .. }), .. } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_broker_is_tried_again_with_pauses() {
    let mut bench = Bench::new(config());
    bench.world.with(|model| model.faults = vec![Fault::LoseRequest; 20]);
    let (_slot, mut stream) = bench.read(0);
    bench.world.append(0, 1, 0);
    assert_eq!(offsets(chunk_of(stream.next().await)), [0]);
    let times = bench.world.with(|model| model.requests.iter().map(|(at, ..)| *at).collect::<Vec<_>>());
    assert!(times[20] - times[0] > Duration::from_secs(14));
    for _ in 0..20 {
        assert!(matches!(bench.reports.recv().await, Some(Report::Unreachable { broker: 1, .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_idle_partitions_cost_nothing_per_request() {
    let mut bench = Bench::new(config());
    let mut streams: Vec<_> = (0..1000).map(|number| bench.read(number).1).collect();
    sleep(Duration::from_secs(2)).await;
    bench.world.append(500, 1, 0);
    assert_eq!(offsets(chunk_of(streams[500].next().await)), [0]);
    sleep(Duration::from_secs(2)).await;
    let named = bench.world.with(|model| {
        model.requests.iter().map(|(_, delta, _)| delta.ask.len() + delta.forget.len()).collect::<Vec<_>>()
    });
    assert!(named[0] <= 1000 && named.iter().sum::<usize>() <= 1001, "{named:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_and_a_removed_partition_are_not_fetched() {
    let mut bench = Bench::new(config());
    let (_one, stream) = bench.read(0);
    let (_two, _kept) = bench.read(1);
    let (_three, _other) = bench.read(2);
    sleep(Duration::from_secs(1)).await;
    drop(stream);
    bench.commands.send(Command::Remove(partition(1))).unwrap();
    bench.commands.send(Command::Pause(partition(2), true)).unwrap();
    sleep(Duration::from_secs(2)).await;
    let before = bench.world.requests();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.world.requests(), before, "nothing is left to ask for");
    bench.commands.send(Command::Pause(partition(2), false)).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(bench.world.with(|model| model.sessions.values().all(|(_, kept)| kept.len() == 1)));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_comes_during_a_long_poll_is_read_at_once() {
    let mut bench = Bench::new(FetchConfig { max_wait: Duration::from_secs(60), ..config() });
    let (_idle, _idle_stream) = bench.read(0);
    sleep(Duration::from_secs(1)).await;
    bench.world.append(1, 3, 0);
    let begun = Instant::now();
    let (slot, mut stream) = bench.read(1);
    assert_eq!(offsets(chunk_of(stream.next().await)), [0, 1, 2]);
    assert!(begun.elapsed() < Duration::from_millis(5), "{:?}", begun.elapsed());
    // What comes later is brought aside as well, and a jump of the position is followed.
    sleep(Duration::from_secs(1)).await;
    let appended = Instant::now();
    bench.world.append(1, 2, 0);
    assert_eq!(offsets(chunk_of(stream.next().await)), [3, 4]);
    slot.move_to(Position { offset: 1, leader_epoch: -1 }, Queued::Dropped);
    bench.add(&slot);
    assert!(matches!(stream.next().await, Some(StreamItem::Moved(start)) if start.offset == 1));
    assert_eq!(offsets(chunk_of(stream.next().await)), [1, 2, 3, 4]);
    assert!(appended.elapsed() < Duration::from_millis(100), "{:?}", appended.elapsed());
    // The session names it with the next request, and nothing comes twice.
    sleep(Duration::from_secs(120)).await;
    assert!(stream.try_next().is_none());
    assert!(bench.world.with(|model| model.sessions.values().all(|(_, kept)| kept.contains_key(&1))));
}

/// What was read aside until its queue was full goes on as soon as there is room again, in the midst of a long poll.
#[tokio::test(start_paused = true)]
async fn a_partition_that_filled_up_during_a_long_poll_goes_on_during_it() {
    let mut bench = Bench::new(FetchConfig { max_wait: Duration::from_secs(60), ..config() });
    let (_idle, _idle_stream) = bench.read(0);
    sleep(Duration::from_secs(1)).await;
    for _ in 0..10 {
        bench.world.append(1, 1, 900);
    }
    let (_slot, mut stream) = bench.read(1);
    sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    for expected in 0..10 {
        assert_eq!(offsets(chunk_of(stream.next().await)), [expected]);
    }
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
}

/// A rebalance takes everything away for a moment: the request that was left behind at the broker holds nothing up.
#[tokio::test(start_paused = true)]
async fn a_loop_without_partitions_rests_and_goes_on() {
    let mut bench = Bench::new(FetchConfig { max_wait: Duration::from_secs(60), ..config() });
    let (_gone, _gone_stream) = bench.read(0);
    sleep(Duration::from_secs(1)).await;
    bench.commands.send(Command::Remove(partition(0))).unwrap();
    sleep(Duration::from_secs(1)).await;
    bench.world.append(1, 1, 0);
    let begun = Instant::now();
    let (_slot, mut stream) = bench.read(1);
    assert_eq!(offsets(chunk_of(stream.next().await)), [0]);
    assert!(begun.elapsed() < Duration::from_millis(5), "{:?}", begun.elapsed());
    bench.commands.send(Command::Remove(partition(1))).unwrap();
    sleep(Duration::from_secs(300)).await;
    let (requests, sessions) = (bench.world.requests(), bench.world.with(|model| model.sessions.len()));
    assert_eq!(sessions, 0, "it said goodbye");
    sleep(Duration::from_secs(300)).await;
    assert_eq!(bench.world.requests(), requests, "once, and asks for nothing");
    bench.world.append(2, 1, 0);
    let (_slot, mut stream) = bench.read(2);
    assert_eq!(offsets(chunk_of(stream.next().await)), [0]);
}
