//! `ordering = "key"` and `"none"`: order within each key, side by side otherwise, through failures, rebalances and
//! restarts; what is finished is not handled again; what holds up a partition is named.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_runtime::container::OpenPhase;
use kafka_runtime::prelude::*;
use tests::{Cluster, eventually};

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Step {
    /// Of its key, from 0.
    step: usize,
}

/// What handlers did; clones share it.
#[derive(Clone, Default)]
struct Journal(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Steps that were handled, by key, in the order in which they were.
    handled: Mutex<BTreeMap<String, Vec<usize>>>,
    in_hand: Mutex<HashMap<String, usize>>,
    most_in_hand: AtomicUsize,
    count: AtomicUsize,
    /// Whether the key `bad` fails.
    broken: AtomicBool,
}

impl Journal {
    /// Takes the record in hand; two of one key at once are a failure.
    fn begin(&self, key: &str, step: usize) -> InHand<'_> {
        let mut in_hand = self.0.in_hand.lock().unwrap();
        let other = in_hand.insert(key.to_owned(), step);
        assert_eq!(other, None, "{key}: {step} beside another of its key");
        self.0.most_in_hand.fetch_max(in_hand.len(), Ordering::Relaxed);
        InHand(self, key.to_owned())
    }

    fn handled(&self, key: &str, step: usize) {
        self.0.handled.lock().unwrap().entry(key.to_owned()).or_default().push(step);
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    async fn at_least(&self, count: usize) {
        eventually("records are handled", LIMIT, || async { self.count() >= count }).await;
    }

    /// Each key's steps came once, in order, none missing.
    fn assert_each_once_in_order(&self, keys: usize, total: usize) {
        let handled = self.0.handled.lock().unwrap();
        for (key, steps) in &*handled {
            assert_eq!(*steps, (0..steps.len()).collect::<Vec<_>>(), "key {key}");
        }
        assert_eq!((handled.len(), handled.values().map(Vec::len).sum()), (keys, total));
    }
}

/// A handler that is cut off has its record in hand no more.
struct InHand<'a>(&'a Journal, String);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.0.in_hand.lock().unwrap().remove(&self.1);
    }
}

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-group",
    ordering = "key",
    concurrency = 16
)]
async fn by_key(
    record: Step,
    key: Key<String>,
    meta: Metadata,
    journal: &State<Journal>,
) -> Result<(), String> {
    let _in_hand = journal.begin(&key, record.step);
    tokio::time::sleep(Duration::from_millis(2)).await;
    if *key == "bad" && journal.0.broken.load(Ordering::Relaxed) {
        return Err("the bad one".to_owned());
    }
    if meta.attempt() < 3 && record.step % 7 == 3 {
        return Err(format!("step {} fails for now", record.step));
    }
    journal.handled(&key, record.step);
    Ok(())
}

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-group",
    ordering = "none",
    concurrency = 16
)]
async fn in_any_order(record: Step, meta: Metadata, journal: &State<Journal>) {
    let name = format!("{}-{}", meta.partition(), meta.offset());
    let _in_hand = journal.begin(&name, record.step);
    tokio::time::sleep(Duration::from_millis(2)).await;
    journal.handled(&name, 0);
}

struct Scene {
    cluster: Cluster,
    topic: String,
    journal: Journal,
    template: Template,
    /// Sends.
    app: RunningApp,
}

impl Scene {
    async fn new(name: &str, partitions: i32) -> Self {
        let cluster = Cluster::start().await;
        let topic = cluster.topic(name, partitions).await;
        let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
        Self { cluster, topic, journal: Journal::default(), template: app.template(), app }
    }

    async fn start(&self, listener: &'static str) -> RunningApp {
        let more = format!(
            "    properties: {{heartbeat.interval.ms: 200}}\nsuite: {{topic: {}}}\nkafka-runtime: {{listener: {{retry: {{attempts: 1000, backoff: {{initial: 10ms, max: 100ms}}}}}}}}\n",
            self.topic
        );
        let app = App::from_yaml(self.cluster.yaml(&more)).unwrap().only([listener]);
        app.state(self.journal.clone()).start().await.unwrap()
    }

    /// Steps `from..to` of each of so many keys.
    async fn send(&self, keys: usize, from: usize, to: usize) {
        for step in from..to {
            for key in 0..keys {
                drop(self.template.enqueue(&self.topic, &format!("k{key}"), &Step { step }).await.unwrap());
            }
        }
        self.template.flush().await.unwrap();
    }

    /// The group's offsets with their metadata, summed and joined.
    async fn committed(&self) -> (i64, String) {
        let group = format!("{}-group", self.topic);
        let partitions: Vec<_> = (0..6).map(|number| TopicPartition::new(&*self.topic, number)).collect();
        let committed = self.cluster.admin().committed(&group, &partitions).await.unwrap();
        let committed: Vec<_> = committed.into_iter().filter_map(|(_, committed)| committed).collect();
        let metadata = committed.iter().map(|committed| committed.metadata.as_str()).collect();
        (committed.iter().map(|committed| committed.offset).sum(), metadata)
    }

    async fn end(self) {
        self.app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_in_order_through_failures_and_side_by_side() {
    let scene = Scene::new("keys", 3).await;
    scene.send(50, 0, 40).await;
    let app = scene.start("by_key").await;
    scene.journal.at_least(2_000).await;
    app.stop().await.unwrap();
    scene.journal.assert_each_once_in_order(50, 2_000);
    let most = scene.journal.0.most_in_hand.load(Ordering::Relaxed);
    assert!((9..=16).contains(&most), "{most} at once");
    assert_eq!(scene.committed().await, (2_000, String::new()));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_order_all_of_them_once() {
    let scene = Scene::new("any", 2).await;
    // One key, one partition: by key they would go one by one.
    scene.send(1, 0, 500).await;
    let app = scene.start("in_any_order").await;
    scene.journal.at_least(500).await;
    app.stop().await.unwrap();
    let most = scene.journal.0.most_in_hand.load(Ordering::Relaxed);
    assert!((9..=16).contains(&most), "{most} at once");
    scene.journal.assert_each_once_in_order(500, 500);
    assert_eq!(scene.committed().await, (500, String::new()));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_rebalances_and_clean_stops_each_record_once() {
    let scene = Scene::new("moves", 6).await;
    let sending = async {
        for round in 0..60 {
            scene.send(60, round, round + 1).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let moving = async {
        let one = scene.start("by_key").await;
        scene.journal.at_least(300).await;
        let two = scene.start("by_key").await;
        scene.journal.at_least(1_200).await;
        one.stop().await.unwrap();
        let three = scene.start("by_key").await;
        scene.journal.at_least(2_400).await;
        two.stop().await.unwrap();
        scene.journal.at_least(3_600).await;
        three.stop().await.unwrap();
    };
    tokio::join!(sending, moving);
    scene.journal.assert_each_once_in_order(60, 3_600);
    assert_eq!(scene.committed().await, (3_600, String::new()));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_key_is_named_and_what_passed_it_is_not_repeated() {
    let scene = Scene::new("parked", 1).await;
    let (journal, topic) = (&scene.journal, &scene.topic);
    journal.0.broken.store(true, Ordering::Relaxed);
    for step in 0..3 {
        scene.template.send(topic, "bad", &Step { step }).await.unwrap();
    }
    scene.send(20, 0, 20).await;
    let app = scene.start("by_key").await;
    journal.at_least(400).await;

    // The first record of the bad key is named; those behind it wait unseen.
    eventually("it is named", LIMIT, || async {
        let open = app.explain();
        open.len() == 1 && open[0].phase == OpenPhase::Parked && open[0].attempt > 3
    })
    .await;
    let open = app.explain().remove(0);
    assert_eq!((open.listener, open.partition.topic.as_str(), open.offset), ("by_key", topic.as_str(), 0));
    assert!(
        open.to_string().contains("key \"bad\", attempt") && open.age > Duration::from_millis(30),
        "{open}"
    );
    app.commit_now().await;
    let (offset, metadata) = scene.committed().await;
    assert!(offset == 0 && metadata.starts_with("kr1."), "{offset} {metadata}");
    app.stop().await.unwrap();

    // Started again, only the bad key's records are left.
    journal.0.broken.store(false, Ordering::Relaxed);
    let app = scene.start("by_key").await;
    journal.at_least(403).await;
    app.stop().await.unwrap();
    journal.assert_each_once_in_order(21, 403);
    assert_eq!(scene.committed().await, (403, String::new()));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_a_seek_and_another_concurrency_while_it_runs() {
    let scene = Scene::new("steered", 2).await;
    scene.send(40, 0, 30).await;
    let app = scene.start("in_any_order").await;
    let listener = app.listeners().get("in_any_order").unwrap();
    scene.journal.at_least(100).await;
    listener.pause().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let paused = scene.journal.count();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(scene.journal.count(), paused);
    scene.journal.0.most_in_hand.store(0, Ordering::Relaxed);
    assert!(listener.set_concurrency(40));
    listener.resume().await.unwrap();
    scene.journal.at_least(1_200).await;
    assert!(scene.journal.0.most_in_hand.load(Ordering::Relaxed) > 16);
    listener.seek(&*scene.topic, StartAt::Beginning).await.unwrap();
    scene.journal.at_least(2_400).await;
    app.stop().await.unwrap();
    let handled = scene.journal.0.handled.lock().unwrap().clone();
    assert!(handled.len() == 1_200 && handled.values().all(|times| times.len() == 2));
    scene.end().await;
}

/// By key as well: more at once, then one at a time, and each key in its order all the while.
#[tokio::test(flavor = "multi_thread")]
async fn another_concurrency_while_it_runs_keeps_each_key_in_order() {
    let scene = Scene::new("wider", 2).await;
    let (journal, most) = (&scene.journal, &scene.journal.0.most_in_hand);
    scene.send(80, 0, 10).await;
    let app = scene.start("by_key").await;
    let listener = app.listeners().get("by_key").unwrap();
    journal.at_least(800).await;
    let before = most.swap(0, Ordering::Relaxed);
    assert!((9..=16).contains(&before), "{before} at once");

    // All of them are there before the first is taken.
    listener.pause().await.unwrap();
    assert!(listener.set_concurrency(40));
    scene.send(80, 10, 20).await;
    listener.resume().await.unwrap();
    journal.at_least(1_600).await;
    let wider = most.load(Ordering::Relaxed);
    assert!((17..=40).contains(&wider), "{wider} at once");

    assert!(listener.set_concurrency(1));
    // What was begun before may still be in hand.
    eventually("nothing is in hand", LIMIT, || async { journal.0.in_hand.lock().unwrap().is_empty() }).await;
    most.store(0, Ordering::Relaxed);
    scene.send(80, 20, 22).await;
    journal.at_least(1_760).await;
    assert_eq!(most.load(Ordering::Relaxed), 1);
    app.stop().await.unwrap();
    journal.assert_each_once_in_order(80, 1_760);
    scene.end().await;
}
