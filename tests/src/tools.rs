//! Programs of others: Kafka's own command-line tools (`KAFKA_LIBS`), and Go's clients where Go is installed.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::peer::{Peer, PeerKind};

const PATIENCE: Duration = Duration::from_secs(180);

/// Runs the tool of this class with these arguments and `input`; what it printed. `None`, loudly, on a machine without
/// Kafka's jars. It must succeed.
pub async fn java_tool(class: &str, arguments: &[&str], input: &str) -> Option<String> {
    let libs = Peer::needed("KAFKA_LIBS", PeerKind::Java)?;
    let mut java = Command::new("java");
    java.args(["-XX:TieredStopAtLevel=1", "-cp"]).arg(format!("{libs}/*")).arg(class).args(arguments);
    Some(run(java, class, input).await)
}

/// Runs the Go peer (`peers/go`); `None`, loudly, on a machine without Go, which in CI is a failure.
pub async fn go_peer(arguments: &[&str]) -> Option<String> {
    if std::process::Command::new("go").arg("version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "the Go peer: Go is not installed");
        eprintln!("NOT RUN: Go is not installed, so nothing is tested against kafka-go and franz-go");
        return None;
    }
    let mut go = Command::new("go");
    go.current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers/go"))
        .args(["run", "."])
        .args(arguments);
    Some(run(go, "the Go peer", "").await)
}

async fn run(mut command: Command, what: &str, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).await.expect("its input");
    drop(stdin);
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output =
        ended.unwrap_or_else(|_| panic!("{what} did not end within {PATIENCE:?}")).expect("its output");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}\n{text}\n{errors}", output.status);
    text
}
