//! Seeds of faults, moves and slow readers.

use super::*;

/// One life of a loop: appends, slow and fast readers, faults, partitions that come and go.
async fn simulate(seed: u64) {
    const PARTITIONS: i32 = 6;
    let chance = Arc::new(Rng::seeded(seed));
    let prefetch_bytes = [500, 4000, 1 << 20][usize::try_from(chance.below(3)).unwrap()];
    let mut bench = Bench::new(FetchConfig { prefetch_bytes, max_bytes: 6000, ..config() });
    let (mut slots, mut readers) = (Vec::new(), Vec::new());
    let done = Arc::new(std::sync::atomic::AtomicI64::new(i64::MAX));
    for number in 0..PARTITIONS {
        let (slot, mut stream) = bench.read(number);
        slots.push(slot);
        let (chance, done, world) = (Arc::clone(&chance), Arc::clone(&done), bench.world.clone());
        readers.push(tokio::spawn(async move {
            let mut expected = 0;
            while expected
                < done.load(std::sync::atomic::Ordering::Relaxed).min(world.with(|m| m.end(number)))
                || done.load(std::sync::atomic::Ordering::Relaxed) == i64::MAX
            {
                let Ok(item) = timeout(Duration::from_secs(30), stream.next()).await else { continue };
                for offset in offsets(chunk_of(item)) {
                    assert_eq!(offset, expected, "partition {number}, seed {seed}");
                    expected += 1;
                }
                sleep(Duration::from_millis(chance.below(200))).await;
            }
            (stream, expected)
        }));
    }
    for _ in 0..300 {
        let number = i32::try_from(chance.below(6)).unwrap();
        let slot = &slots[usize::try_from(number).unwrap()];
        match chance.below(20) {
            0 => bench.world.with(|model| model.faults.push(Fault::LoseRequest)),
            1 => bench.world.with(|model| model.faults.push(Fault::LoseAnswer)),
            2 => bench.world.with(|model| model.faults.push(Fault::EvictSessions)),
            3 => bench.commands.send(Command::Remove(partition(number))).unwrap(),
            4 => bench.commands.send(Command::Pause(partition(number), chance.below(2) == 0)).unwrap(),
            5 | 6 => bench.add(slot),
            _ => bench.world.append(
                number,
                1 + i32::try_from(chance.below(5)).unwrap(),
                usize::try_from(chance.below(700)).unwrap(),
            ),
        }
        sleep(Duration::from_millis(chance.below(60))).await;
    }
    for slot in &slots {
        bench.add(slot);
    }
    done.store(i64::MAX - 1, std::sync::atomic::Ordering::Relaxed);
    for (number, reader) in readers.into_iter().enumerate() {
        let (stream, read) = reader.await.unwrap();
        let number = i32::try_from(number).unwrap();
        assert_eq!(read, bench.world.with(|model| model.end(number)), "partition {number}, seed {seed}");
        drop(stream);
    }
    drop(bench.commands);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.budget.charged(), 0, "seed {seed}");
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_whatever_happens() {
    for seed in 0..60 {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(simulate(seed));
    }
}
