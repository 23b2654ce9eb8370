//! The broker as a program: what it prints, whom it serves, and how it ends.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use kafka_client::Client;
use kafka_client::config::{ClientConfig, ProducerConfig};
use kafka_client::producer::Outgoing;

struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kafka-embedded"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("another line").unwrap()
    }

    fn end(mut self, signal: &str) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Has ended already, unless the test failed.
        let _ = self.child.kill();
    }
}

/// What is no text is no option, and no panic either.
#[test]
fn bytes_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let garbage = std::ffi::OsStr::from_bytes(b"--\xff\xfe");
    let output = Command::new(env!("CARGO_BIN_EXE_kafka-embedded")).arg(garbage).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && words.contains("unknown option"), "{words}");
}

fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kafka-embedded")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn it_serves_says_what_is_asked_and_ends_when_told() {
    let mut program =
        Program::start(&["--listen", "127.0.0.1:0", "--brokers", "3", "--topic", "orders:6", "--verbose"]);
    let servers: Vec<String> = program.line().split(',').map(str::to_owned).collect();
    assert_eq!(servers.len(), 3);
    let config =
        ClientConfig { bootstrap_servers: servers, client_id: "suite".into(), ..ClientConfig::default() };
    let client = Client::new(config).unwrap();
    let topics = client.admin().describe_topics(&["orders"]).await.unwrap();
    assert_eq!(topics.values().map(|topic| topic.partitions.len()).collect::<Vec<_>>(), [6]);
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let record = Outgoing {
        topic: "orders".into(),
        partition: Some(5),
        timestamp: None,
        key: None,
        value: Some(b"x"),
        headers: &[],
    };
    producer.send(record).await.unwrap();
    while !program.line().contains(" Produce v") {}
    let status = program.end("-INT");
    assert!(status.success(), "{status}");
}

#[test]
fn it_ends_on_sigterm_as_well() {
    let mut program = Program::start(&["--listen=127.0.0.1:0"]);
    assert!(program.line().starts_with("127.0.0.1:"));
    let status = program.end("-TERM");
    assert!(status.success(), "{status}");
}

#[test]
fn what_cannot_be_is_refused_with_a_word() {
    let (code, words) = refused(&["--brokers", "many"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("--brokers: 'many' is not a number"), "{words}");
    let (code, words) = refused(&["--listen", "nowhere"]);
    assert_eq!(code, Some(1));
    assert!(words.contains("'nowhere'"), "{words}");
    for (arguments, word) in [
        (&["--what"][..], "unknown option '--what'"),
        (&["orders"], "unknown option 'orders'"),
        (&["--listen"], "--listen needs a value"),
        (&["--topic", "--verbose"], "--topic needs a value"),
        (&["--verbose=yes"], "--verbose takes no value"),
        (&["--brokers", "-1"], "--brokers: '-1' is not a number"),
        (&["--brokers", "70000"], "--brokers: '70000' is not a number that fits"),
        (&["--topic", "orders:"], "--topic: '' is not a number"),
        (&["--topic", "orders:many"], "--topic: 'many' is not a number"),
    ] {
        let (code, words) = refused(arguments);
        assert!(code == Some(2) && words.contains(word), "{arguments:?}: {code:?} {words}");
    }
    for arguments in [["--brokers", "0"], ["--topic", "orders:0"], ["--default-partitions", "0"]] {
        let (code, words) = refused(&[&["--listen=127.0.0.1:0"], &arguments[..]].concat());
        assert!(code == Some(1) && words.contains("at least"), "{arguments:?}: {code:?} {words}");
    }
    let twice = ["--listen=127.0.0.1:0", "--topic=orders", "--topic", "orders:6"];
    assert!(refused(&twice).1.contains("'orders' is named twice"));
    assert_eq!(refused(&["--topic", "a/b:1", "--listen=127.0.0.1:0"]).0, Some(1));
}
