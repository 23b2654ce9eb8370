//! Brokers that somebody wants and does not reach: how often the cluster is asked for news meanwhile.

use super::*;

/// How often the cluster is asked for a picture in the next ten seconds.
async fn pictures_in_ten_seconds(fake: &Fake) -> usize {
    let before = fake.count(ApiKey::Metadata);
    tokio::time::sleep(10 * SECOND).await;
    fake.count(ApiKey::Metadata) - before
}

/// Two brokers, and whether the cluster counts the first one, "one", among them.
fn two_brokers() -> (Arc<Fake>, Pool, Arc<AtomicBool>) {
    let counts = Arc::new(AtomicBool::new(true));
    let script = Arc::clone(&counts);
    let fake = negotiating(move |asked| match asked.api_key {
        3 if script.load(Ordering::SeqCst) => brokers(asked, &[(1, "one"), (2, "boot")]),
        3 => brokers(asked, &[(2, "boot")]),
        _ => beat(asked),
    });
    let pool = pool(&fake);
    (fake, pool, counts)
}

/// Asks for broker 1 as a fetch does, with a pause between.
async fn keep_asking(pool: &Pool, purpose: Purpose, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        let _ = pool.broker(1, purpose).await;
        tokio::time::sleep(SECOND / 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_broker_is_missed_new_pictures_are_taken_without_a_growing_pause() {
    let (fake, pool, counts) = two_brokers();
    pool.cluster().refreshed().await.unwrap();
    fake.take_down(&["one:9092"]);
    let (pictures, ()) =
        tokio::join!(pictures_in_ten_seconds(&fake), keep_asking(&pool, Purpose::Fetch, 10 * SECOND));
    assert!((80..=130).contains(&pictures), "{pictures} in a back-off's distance");
    counts.store(false, Ordering::SeqCst);
    tokio::time::sleep(SECOND).await;
    assert_eq!(pictures_in_ten_seconds(&fake).await, 0, "it is known to be gone");

    counts.store(true, Ordering::SeqCst);
    pool.cluster().refreshed().await.unwrap();
    keep_asking(&pool, Purpose::Fetch, SECOND).await;
    fake.take_down(&[]);
    keep_asking(&pool, Purpose::Fetch, 3 * SECOND).await;
    assert_eq!(pictures_in_ten_seconds(&fake).await, 0, "it is there again");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_nobody_wants_any_more_is_not_missed() {
    let (fake, pool, _) = two_brokers();
    pool.cluster().refreshed().await.unwrap();
    fake.take_down(&["one:9092"]);
    keep_asking(&pool, Purpose::Fetch, SECOND).await;
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(pictures_in_ten_seconds(&fake).await, 0);
}

/// One that refuses new connections and keeps old ones, or a network that does.
#[tokio::test(start_paused = true)]
async fn a_broker_that_only_this_client_does_not_reach_is_no_haste_for_ever() {
    let (fake, pool, _) = two_brokers();
    pool.cluster().refreshed().await.unwrap();
    pool.broker(1, Purpose::Fetch).await.unwrap();
    fake.take_down(&["one:9092"]);
    let both = |time| {
        let (old, new) =
            (keep_asking(&pool, Purpose::Fetch, time), keep_asking(&pool, Purpose::Commit, time));
        async { tokio::join!(old, new) }
    };
    both(35 * SECOND).await;
    let (pictures, _) = tokio::join!(pictures_in_ten_seconds(&fake), both(10 * SECOND));
    assert!(pictures <= 10, "{pictures}: not more than attempts");
}
