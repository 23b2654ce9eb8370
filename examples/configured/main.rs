//! Everything from the file: topics, groups, concurrency, and three commit strategies side by side on one topic.
//!
//! `cargo run --bin configured` runs on a broker inside the process; with `BROKERS=host:9092` on a cluster.

use std::sync::atomic::{AtomicU64, Ordering};

use kafka_embedded::EmbeddedKafka;
use kafka_runtime::prelude::*;

const PAYMENTS: u64 = 1000;

#[derive(Debug, Serialize, Deserialize)]
struct Payment {
    account: String,
    cents: u64,
}

#[derive(Default)]
struct Counters {
    audited: AtomicU64,
    counted: AtomicU64,
    summed: AtomicU64,
}

// Neither topic nor group here: application.yml names both for each listener, by the function's name.
#[kafka_listener]
async fn audited(payment: Payment, counters: &State<Counters>) {
    let _ = payment.account;
    counters.audited.fetch_add(1, Ordering::Relaxed);
}

#[kafka_listener]
async fn counted(_payment: Payment, counters: &State<Counters>) {
    counters.counted.fetch_add(1, Ordering::Relaxed);
}

#[kafka_listener]
async fn summed(payment: Payment, counters: &State<Counters>) {
    counters.summed.fetch_add(payment.cents, Ordering::Relaxed);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter("warn,kafka_runtime=info").init();
    let mut app = App::from_config(concat!(env!("CARGO_MANIFEST_DIR"), "/configured/application.yml"))?
        .state(Counters::default());
    let mut _broker = None;
    if std::env::var_os("BROKERS").is_none() {
        let broker = EmbeddedKafka::builder().topic("payments", 4).start().await?;
        app = app.property("spring.kafka.bootstrap-servers", broker.bootstrap_servers());
        _broker = Some(broker);
    }
    println!("{}", app.explain_config());

    let app = app.start().await?;
    let template = app.template();
    for n in 0..PAYMENTS {
        let payment = Payment { account: format!("account-{}", n % 10), cents: n };
        // Waits for room only; the answers come while the next ones are sent.
        drop(template.enqueue("payments", &payment.account, &payment).await?);
    }
    template.flush().await?;

    app.handled("audited", PAYMENTS).await;
    app.handled("counted", PAYMENTS).await;
    app.handled("summed", PAYMENTS).await;
    let counters = app.get_state::<Counters>().expect("put in above");
    app.stop().await?;
    println!(
        "audited {} (sync, each record), counted {} (async, each batch), summed {} cents (combined, 500 records or 2 s)",
        counters.audited.load(Ordering::Relaxed),
        counters.counted.load(Ordering::Relaxed),
        counters.summed.load(Ordering::Relaxed),
    );
    Ok(())
}
