//! A pipeline for tests to kill: it runs the configuration in `PIPELINE_YAML`, and answers each record that it reads with
//! one in `PIPELINE_TO`. Before the handler returns it says what it handles, one line a record. Every 50th record fails at
//! its first try, after it has sent.

use std::io::Write;
use std::sync::LazyLock;
use std::time::Duration;

use kafka_runtime::prelude::*;

#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

static TO: LazyLock<String> = LazyLock::new(|| std::env::var("PIPELINE_TO").unwrap_or_default());

#[kafka_listener(transactional)]
async fn pipeline(record: Numbered, meta: Metadata, tx: &Tx) -> Result<(), TxError> {
    let to = Record::to(&*TO).partition(meta.partition()).text(record.n.to_string());
    drop(tx.enqueue_record(to).await?);
    // Long enough to be killed in.
    tokio::time::sleep(Duration::from_millis(2)).await;
    if record.n.is_multiple_of(50) && meta.attempt() == 1 {
        return Err("the first try".into());
    }
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "handled\t{}\t{}\t{}", meta.partition(), meta.offset(), record.n);
    let _ = out.flush();
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tests::log_to_stderr();
    App::from_yaml(&std::env::var("PIPELINE_YAML")?)?.run().await?;
    println!("stopped");
    Ok(())
}
