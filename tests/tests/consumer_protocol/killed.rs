//! Members that are killed or frozen, in processes of their own.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::*;

/// A member in a process of its own, and what it handled: partition, offset, number.
struct Victim {
    child: Child,
    handled: Arc<Mutex<Vec<(i32, i64, u64)>>>,
}

impl Victim {
    fn start(fleet: &Fleet, properties: &str) -> Self {
        Self::committing(fleet, "{strategy: sync, every: record}", properties)
    }

    fn committing(fleet: &Fleet, commit: &str, properties: &str) -> Self {
        let (topic, group) = (&fleet.topic, fleet.group());
        let yaml = fleet.yaml(&format!(
            "kafka-runtime:\n  listeners:\n    victim: {{topic: {topic}, group: {group}, commit: {commit}, properties: {{{properties}}}}}\n"
        ));
        let mut child = Command::new(env!("CARGO_BIN_EXE_victim"))
            .env("VICTIM_YAML", yaml)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let handled = Arc::new(Mutex::new(Vec::new()));
        let (noted, mut lines) = (Arc::clone(&handled), BufReader::new(child.stdout.take().unwrap()).lines());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let words: Vec<&str> = line.split('\t').collect();
                if let ["handled", partition, offset, n] = words[..] {
                    let record = (partition.parse().unwrap(), offset.parse().unwrap(), n.parse().unwrap());
                    noted.lock().unwrap().push(record);
                }
            }
        });
        Self { child, handled }
    }

    fn handled(&self) -> Vec<(i32, i64, u64)> {
        self.handled.lock().unwrap().clone()
    }

    /// The partitions of what it handled from its `from`-th record on.
    fn partitions(&self, from: usize) -> BTreeSet<i32> {
        self.handled().iter().skip(from).map(|(partition, ..)| *partition).collect()
    }
}

/// Sends numbers, each key's in order, until it is told to stop; how many there were.
struct Flow {
    stop: tokio::sync::oneshot::Sender<()>,
    sent: tokio::task::JoinHandle<u64>,
}

const KEYS: u64 = 40;

impl Flow {
    async fn start(fleet: &Fleet) -> Self {
        let app = App::from_yaml(fleet.cluster.yaml("")).unwrap().only([]).start().await.unwrap();
        let topic = fleet.topic.clone();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let sent = tokio::spawn(async move {
            let mut n = 0;
            while stopped.try_recv().is_err() {
                let value = serde_json::json!({ "n": n });
                app.template().send(&topic, &format!("k{}", n % KEYS), &value).await.unwrap();
                n += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            app.stop().await.unwrap();
            n
        });
        Self { stop, sent }
    }

    async fn stop(self) -> u64 {
        self.stop.send(()).unwrap();
        self.sent.await.unwrap()
    }
}

/// Every number was handled; in each partition in order, but for so many that a killed member may have to repeat.
fn assert_nothing_lost(victims: &[&Victim], sent: u64, most: i32) {
    let mut numbers = BTreeSet::new();
    let mut times: BTreeMap<(i32, i64), usize> = BTreeMap::new();
    for victim in victims {
        let mut last: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, offset, n) in victim.handled() {
            numbers.insert(n);
            *times.entry((partition, offset)).or_default() += 1;
            let before = last.insert(partition, offset);
            assert!(before.is_none_or(|before| before < offset), "partition {partition} out of order");
        }
    }
    assert_eq!(numbers.len() as u64, sent, "records were lost");
    let repeated: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(repeated.len() <= most as usize, "repeated: {repeated:?}");
}

async fn until_all(victims: &[&Victim], sent: u64) {
    eventually("all is handled", LIMIT, || async {
        let numbers: BTreeSet<u64> =
            victims.iter().flat_map(|victim| victim.handled()).map(|(.., n)| n).collect();
        numbers.len() as u64 == sent
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_loses_nothing() {
    let fleet = fleet().await;
    let flow = Flow::start(&fleet).await;
    let mut one = Victim::start(&fleet, "");
    let two = Victim::start(&fleet, "");
    eventually("both have some", LIMIT, || async { one.handled().len() > 100 && two.handled().len() > 100 })
        .await;
    one.child.kill().await.unwrap();
    let before = two.handled().len();
    eventually("the other has all", LIMIT, || async { two.partitions(before).len() == PARTITIONS as usize })
        .await;
    let sent = flow.stop().await;
    until_all(&[&one, &two], sent).await;
    assert_nothing_lost(&[&one, &two], sent, PARTITIONS);
}

/// Sends a signal to a process.
async fn signal(child: &Child, signal: &str) {
    let id = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_frozen_past_its_session_handles_what_it_had_in_hand_at_most() {
    a_frozen_member(fleet().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classic_member_that_was_frozen_past_its_session_handles_what_it_had_in_hand_at_most() {
    a_frozen_member(Fleet::new("session.timeout.ms: 6000, heartbeat.interval.ms: 300").await).await;
}

/// Nothing but its session's end holds its handlers back: no commit is waited for.
async fn a_frozen_member(fleet: Fleet) {
    let flow = Flow::start(&fleet).await;
    let [one, two] = [(); 2].map(|()| Victim::committing(&fleet, "{every: {time: 1s}}", ""));
    eventually("both have some", LIMIT, || async { one.handled().len() > 100 && two.handled().len() > 100 })
        .await;
    signal(&one.child, "-STOP").await;
    let before = two.handled().len();
    eventually("the other has all", LIMIT, || async { two.partitions(before).len() == PARTITIONS as usize })
        .await;
    let frozen = one.handled().len();
    signal(&one.child, "-CONT").await;
    // It comes back as a member that begins where the other one stopped.
    eventually("both have some again", LIMIT, || async { one.handled().len() > frozen + 100 }).await;
    let sent = flow.stop().await;
    until_all(&[&one, &two], sent).await;
    let heirs: BTreeSet<_> =
        two.handled().into_iter().map(|(partition, offset, _)| (partition, offset)).collect();
    let mut after_its_heir: BTreeMap<i32, usize> = BTreeMap::new();
    for (partition, offset, _) in one.handled().into_iter().skip(frozen) {
        if heirs.contains(&(partition, offset)) {
            *after_its_heir.entry(partition).or_default() += 1;
        }
    }
    assert!(
        after_its_heir.values().all(|records| *records == 1),
        "more than what was in hand: {after_its_heir:?}"
    );
    // Its heir repeats what it had not committed: of a second, at 500 records a second.
    assert_nothing_lost(&[&one, &two], sent, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_was_killed_takes_its_partitions_back() {
    let fleet = fleet().await;
    let flow = Flow::start(&fleet).await;
    let mut one = Victim::start(&fleet, "group.instance.id: one");
    let two = Victim::start(&fleet, "group.instance.id: two");
    eventually("both have their share", LIMIT, || async {
        let (first, second) =
            (one.handled().len().saturating_sub(50), two.handled().len().saturating_sub(50));
        let (first, second) = (one.partitions(first), two.partitions(second));
        first.len() == PARTITIONS as usize / 2 && second.len() == PARTITIONS as usize / 2
    })
    .await;
    let (mark, other) = (one.handled().len().saturating_sub(50), two.handled().len().saturating_sub(50));
    let (own, others) = (one.partitions(mark), two.partitions(other));
    one.child.kill().await.unwrap();
    let again = Victim::start(&fleet, "group.instance.id: one");
    eventually("it has its partitions back", LIMIT, || async { again.partitions(0) == own }).await;
    let sent = flow.stop().await;
    until_all(&[&one, &two, &again], sent).await;
    assert_eq!(two.partitions(other), others, "the other one has nothing to do with it");
    assert_nothing_lost(&[&one, &two, &again], sent, PARTITIONS);
}
