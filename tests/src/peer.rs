//! Other clients: the Java client (`peers/Peer.java`) and librdkafka (`peers/peer.py`), as processes that speak lines.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKind {
    /// Apache Kafka's own, from `KAFKA_LIBS`.
    Java,
    /// confluent-kafka with its librdkafka, by the interpreter `KAFKA_PEER_PYTHON`.
    Librdkafka,
}

/// A running peer. It is killed when dropped.
pub struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

/// A line of words.
pub type Line = Vec<String>;

/// The bytes that a peer wrote as `=` and base64; `None` for its `-`, null.
pub fn bytes_of(word: &str) -> Option<Vec<u8>> {
    let digits = word.strip_prefix('=')?.trim_end_matches('=').bytes().map(|digit| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        _ => 63,
    });
    let digits: Vec<u8> = digits.collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let number =
            four.iter().fold(0u32, |number, digit| number << 6 | u32::from(*digit)) << (6 * (4 - four.len()));
        number.to_be_bytes().into_iter().skip(1).take(four.len() - 1)
    });
    Some(bytes.collect())
}

/// The folder of what `source` compiles to, beside `libs`: whoever needs it first compiles it, where java would for each start.
fn compiled(source: &Path, libs: &str) -> PathBuf {
    let mut version = DefaultHasher::new();
    (std::fs::read(source).expect("the peer"), libs).hash(&mut version);
    let classes = Path::new(libs).with_file_name(format!("peer-{:016x}", version.finish()));
    if !classes.exists() {
        // Other processes may be at it too: the first one's is taken.
        let here = classes.with_extension(std::process::id().to_string());
        let javac = std::process::Command::new("javac")
            .args(["-cp", &format!("{libs}/*"), "-d"])
            .args([&*here, source])
            .output()
            .expect("javac");
        assert!(javac.status.success(), "{}", String::from_utf8_lossy(&javac.stderr));
        if std::fs::rename(&here, &classes).is_err() {
            std::fs::remove_dir_all(&here).expect("a folder of our own");
        }
    }
    classes
}

impl Peer {
    /// Starts `command` against `servers`; `None`, loudly, on a machine that does not have this peer. In CI it must.
    pub fn start(kind: PeerKind, command: &str, servers: &str, arguments: &[&str]) -> Option<Self> {
        let peers = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers");
        let mut process = match kind {
            PeerKind::Java => {
                let libs = Self::needed("KAFKA_LIBS", kind)?;
                static CLASSES: OnceLock<PathBuf> = OnceLock::new();
                let classes = CLASSES.get_or_init(|| compiled(&peers.join("Peer.java"), &libs));
                let mut java = Command::new("java");
                java.args(["-XX:TieredStopAtLevel=1", "-cp"])
                    .arg(format!("{}:{libs}/*", classes.display()))
                    .arg("Peer");
                java
            }
            PeerKind::Librdkafka => {
                let mut python = Command::new(Self::needed("KAFKA_PEER_PYTHON", kind)?);
                python.arg(peers.join("peer.py"));
                python
            }
        };
        let mut child = process
            .arg(command)
            .arg(servers)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("PEER_STDERR").is_some() { Stdio::inherit() } else { Stdio::null() })
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{kind:?} peer: {error}"));
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        Some(Self { stdin: child.stdin.take(), child, lines })
    }

    pub(crate) fn needed(variable: &str, kind: PeerKind) -> Option<String> {
        let found = std::env::var(variable).ok();
        if found.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{kind:?} peer: {variable} is not set (scripts/test sets it)"
            );
            eprintln!(
                "NOT RUN: {variable} is not set, so nothing is tested against {kind:?}; scripts/test sets it"
            );
        }
        found
    }

    /// The next line; `None` at the end. A silent minute is a failure.
    pub async fn line(&mut self) -> Option<Line> {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line())
            .await
            .expect("the peer was silent for a minute")
            .expect("the peer's output");
        line.map(|text| text.split('\t').map(str::to_owned).collect())
    }

    /// Lines up to the first that begins with `word`, which comes last.
    pub async fn until(&mut self, word: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            let found = line.first().is_some_and(|first| first == word);
            lines.push(line);
            if found {
                return lines;
            }
        }
        panic!("the peer ended before it said {word:?}; it said {lines:?} (PEER_STDERR=1 shows why)");
    }

    /// Ends its standard input, which tells a member to leave and an open transaction's holder to go, and reads the rest.
    pub async fn finish(mut self) -> Vec<Line> {
        drop(self.stdin.take());
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        let _ = self.child.wait().await;
        lines
    }

    /// The values, as text, that the Java client reads of a topic with `read_committed`: by partition, in order. It waits
    /// for `count` of them, and then takes no more.
    pub async fn values(servers: &str, topic: &str, count: usize) -> Option<BTreeMap<i32, Vec<String>>> {
        let arguments = [topic, &count.to_string(), "read_committed"];
        let mut values = BTreeMap::<i32, Vec<String>>::new();
        for line in Self::run(PeerKind::Java, "consume", servers, &arguments).await? {
            if let [word, _, partition, _, _, _, value, ..] = &line[..]
                && word == "record"
            {
                let value = String::from_utf8(bytes_of(value).expect("a value")).expect("text");
                values.entry(partition.parse().expect("a partition")).or_default().push(value);
            }
        }
        Some(values)
    }

    /// Runs a command to its end.
    pub async fn run(kind: PeerKind, command: &str, servers: &str, arguments: &[&str]) -> Option<Vec<Line>> {
        Some(Self::start(kind, command, servers, arguments)?.finish().await)
    }
}
