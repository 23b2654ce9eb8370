//! `replay-dead-letters` as an operator runs it: what is selected goes back once, whatever becomes of the program.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use kafka_client::TopicPartition;
use tests::{Cluster, committed_values, dead_letters, eventually};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(60);

/// The service's `application.yml`, in a file of its own.
struct File(std::path::PathBuf);

impl File {
    fn of(cluster: &Cluster) -> Self {
        let path = std::env::temp_dir().join(format!("{}.yml", tests::unique("replaying")));
        std::fs::write(&path, cluster.yaml("")).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn program(file: &File, arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_replay-dead-letters"));
    program.arg(&file.0).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    program
}

/// What it printed, or else complained of.
async fn run(file: &File, arguments: &[&str]) -> Result<String, (i32, String)> {
    let output = program(file, arguments).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err((output.status.code().unwrap(), text(&output.stderr))),
    }
}

/// By turns in two partitions; those with an even number have the header `audit`.
async fn letters(cluster: &Cluster, count: usize) -> (String, String) {
    dead_letters(cluster, 2, count, |n, record| match n.is_multiple_of(2) {
        true => record.header("audit", n.to_string()),
        false => record,
    })
    .await
}

async fn returned(cluster: &Cluster, origin: &str) -> BTreeMap<u64, usize> {
    let mut seen = committed_values(cluster, origin, 0).await;
    seen.extend(committed_values(cluster, origin, 1).await);
    seen
}

fn once(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<u64, usize> {
    numbers.into_iter().map(|n| (n, 1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_arguments_select_goes_back() {
    let cluster = Cluster::start().await;
    let (origin, letters) = letters(&cluster, 12).await;
    let file = File::of(&cluster);
    let sent = |count: usize| format!("{count} sent back");
    let told = run(&file, &[&letters, "--partition", "1", "--dry-run"]).await.unwrap();
    assert!(told.starts_with(&sent(6)), "{told}");
    assert_eq!(returned(&cluster, &origin).await, once([]), "a dry run sends nothing");
    // All selections must hold.
    let told =
        run(&file, &[&letters, "--header", "audit=4", "--header", "audit=6", "--dry-run"]).await.unwrap();
    assert!(told.starts_with(&sent(0)), "{told}");
    let told =
        run(&file, &[&letters, "--header", "audit=4", "--header", "audit", "--dry-run"]).await.unwrap();
    assert!(told.starts_with(&sent(1)), "{told}");
    // 1, 3, 5... are in partition 1; of these 3 and 9 are of a BankError.
    let told = run(&file, &[&letters, "--partition", "1", "--error", "BankError"]).await.unwrap();
    assert!(told.starts_with("2 sent back, 0 had been before, 4 not selected"), "{told}");
    assert_eq!(returned(&cluster, &origin).await, once([3, 9]));
    // By a header of any value, in a range: 4, 6, 8 are at the offsets 2, 3, 4 of partition 0.
    let told = run(&file, &[&letters, "--header", "audit", "--from", "2", "--to", "5"]).await.unwrap();
    assert!(told.starts_with(&sent(3)), "{told}");
    assert_eq!(returned(&cluster, &origin).await, once([3, 4, 6, 8, 9]));
    // By a header's value; elsewhere; and noted in another group, which knows nothing of what was done before.
    let elsewhere = cluster.topic("elsewhere", 2).await;
    let more = ["--header", "audit=4", "--to-topic", &elsewhere, "--group", &format!("{letters}-again")];
    let told = run(&file, &[&[letters.as_str()], &more[..]].concat()).await.unwrap();
    assert!(told.starts_with(&sent(1)), "{told}");
    assert_eq!(returned(&cluster, &elsewhere).await, once([4]));
    let told = run(&file, &[&letters]).await.unwrap();
    assert!(told.starts_with("7 sent back, 5 had been before, 0 not selected"), "{told}");
    assert_eq!(returned(&cluster, &origin).await, once(0..12));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_goes_on_where_it_was() {
    const LETTERS: u64 = 20_000;
    let cluster = Cluster::start().await;
    let (origin, letters) = letters(&cluster, usize::try_from(LETTERS).unwrap()).await;
    let file = File::of(&cluster);
    let group = format!("{letters}-replay");
    let both = [0, 1].map(|number| TopicPartition::new(letters.as_str(), number));
    let noted = async || {
        let found = cluster.admin().committed(&group, &both).await.unwrap_or_default();
        let offsets = found.into_iter().filter_map(|(_, found)| u64::try_from(found?.offset).ok());
        offsets.sum::<u64>()
    };
    let mut killed_at = vec![0];
    for _ in 0..3 {
        let before = killed_at[killed_at.len() - 1];
        let mut child = program(&file, &[&letters]).spawn().unwrap();
        // However late that is seen: at last it has sent back all of them.
        eventually("a page more is sent back", LIMIT, async || noted().await > before || before == LETTERS)
            .await;
        // SIGKILL, unless it has ended.
        let _ = child.kill().await;
        killed_at.push(noted().await);
    }
    assert!((1..LETTERS).contains(&killed_at[1]), "it was killed in the middle: {killed_at:?}");
    run(&file, &[&letters]).await.unwrap();
    assert_eq!(returned(&cluster, &origin).await, once(0..LETTERS));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_with_what_to_write() {
    let cluster = Cluster::start().await;
    let file = File::of(&cluster);
    for (arguments, words) in [
        (&[][..], "TOPIC is missing"),
        (&["letters", "--partition", "one"], "--partition one: not a partition"),
        (&["letters", "--from"], "--from wants a value"),
        (&["letters", "--all", "yes"], "--all is not known"),
    ] {
        let (code, told) = run(&file, arguments).await.unwrap_err();
        assert_eq!(code, 64, "{told}");
        assert!(told.contains(words) && told.contains("usage: replay-dead-letters FILE TOPIC"), "{told}");
    }
    let (code, told) = run(&file, &["no-such-letters"]).await.unwrap_err();
    assert_eq!(code, 1);
    assert!(told.contains("topic no-such-letters does not exist"), "{told}");
}
