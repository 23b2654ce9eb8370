//! Handlers that take longer than the session timeout, waiting or blocking their threads, and tries in place that wait for
//! longer, lose neither membership nor record.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_runtime::prelude::*;
use tests::{Cluster, Probe};

const LIMIT: Duration = Duration::from_secs(60);
const SESSION: Duration = Duration::from_secs(1);

static BLOCKED: AtomicUsize = AtomicUsize::new(0);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-waits")]
async fn waits(value: String, meta: Metadata, probe: &State<Probe>) {
    if meta.offset() == 0 {
        tokio::time::sleep(SESSION * 4).await;
    }
    probe.saw(meta.partition(), meta.offset(), None, value);
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-blocks")]
async fn blocks(value: String, meta: Metadata, probe: &State<Probe>) {
    if meta.offset() == 0 && BLOCKED.fetch_add(1, Ordering::SeqCst) < 2 {
        std::thread::sleep(SESSION * 4);
    }
    probe.saw(meta.partition(), meta.offset(), None, value);
}

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-retries",
    retry(attempts = 2, backoff = "4s", jitter = 0)
)]
async fn retries(value: String, meta: Metadata, probe: &State<Probe>) -> Result<(), std::io::Error> {
    if meta.offset() == 0 && meta.attempt() == 1 {
        return Err(std::io::Error::other("not yet"));
    }
    probe.saw(meta.partition(), meta.offset(), None, value);
    Ok(())
}

async fn run(listener: &'static str) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("slow", 2).await;
    let probe = Probe::default();
    let yaml = cluster.yaml(&format!(
        "    properties: {{session.timeout.ms: {}, heartbeat.interval.ms: 200}}\nsuite: {{topic: {topic}}}\n",
        SESSION.as_millis()
    ));
    let app = App::from_yaml(&yaml).unwrap().only([listener]).state(probe.clone()).start().await.unwrap();
    for n in 0..20 {
        let record = Record::to(&topic).partition(n % 2).text(format!("v{n}"));
        app.template().send_record(record).await.unwrap();
    }
    probe.at_least(20, LIMIT).await;
    app.stop().await.unwrap();
    // A lost membership would have handed the records out again.
    probe.assert_each_once_in_order();
    assert_eq!(probe.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_waits_for_four_sessions() {
    run("waits").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_waits_for_four_sessions() {
    run("retries").await;
}

// Both worker threads of the runtime sleep at once: nothing of ours may need them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handlers_that_block_their_threads() {
    run("blocks").await;
}
