//! transfers -> postings, exactly once: a transfer becomes two postings, and either both are seen and the transfer is done,
//! or neither. Whatever fails or dies in between, the books are balanced.
//!
//! `cargo run --bin exactly-once` runs on a broker inside the process; with `BROKERS=host:9092` on a cluster.

use std::collections::BTreeMap;
use std::sync::Mutex;

use kafka_embedded::EmbeddedKafka;
use kafka_runtime::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Transfer {
    from: String,
    to: String,
    cents: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Posting {
    account: String,
    cents: i64,
}

#[derive(Debug, thiserror::Error)]
#[error("there is no account {0}")]
struct NoAccount(String);

const TRANSFERS: Topic<Transfer> = Topic::new("transfers");
const POSTINGS: Topic<Posting> = Topic::new("postings");
/// Takes the transfers that cannot be booked, in the transaction that passes them.
const REFUSED: Topic<Transfer> = Topic::new("transfers-refused");

struct Accounts(Vec<&'static str>);

/// Both postings and the transfer's offset are one transaction. An error aborts it, so the posting that was sent already is
/// never seen; then the transfer is tried again, and in the end refused.
#[kafka_listener(
    topic = TRANSFERS,
    group = "${spring.application.name}-book",
    transactional = true,
    retry(attempts = 3, backoff = "50ms"),
    dead_letter = REFUSED
)]
async fn book(transfer: Transfer, accounts: &State<Accounts>, tx: &Tx) -> Result<(), TxError> {
    let Transfer { from, to, cents } = transfer;
    tx.send(POSTINGS, &from, &Posting { account: from.clone(), cents: -cents }).await?;
    if !accounts.0.contains(&to.as_str()) {
        return Err(NoAccount(to).into());
    }
    tx.send(POSTINGS, &to, &Posting { account: to.clone(), cents }).await?;
    Ok(())
}

#[derive(Default)]
struct Balances(Mutex<BTreeMap<String, i64>>);

/// Reads what was committed, see application.yml.
#[kafka_listener(topic = POSTINGS, group = "${spring.application.name}-balances")]
async fn balance(posting: Posting, balances: &State<Balances>) {
    let mut balances = balances.0.lock().expect("never poisoned");
    *balances.entry(posting.account).or_default() += posting.cents;
    println!("{balances:?}");
}

#[kafka_listener(topic = REFUSED, group = "${spring.application.name}-refused")]
async fn refused(dead: DeadLetter<Transfer>) {
    println!("refused: {:?}: {}", dead.payload(), dead.cause());
}

fn app() -> Result<App, kafka_runtime::Error> {
    let app = App::from_config(concat!(env!("CARGO_MANIFEST_DIR"), "/exactly-once/application.yml"))?;
    Ok(app.state(Accounts(vec!["ann", "bob", "cid"])).state(Balances::default()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter("warn").init();
    let mut app = app()?;
    let mut _broker = None;
    if std::env::var_os("BROKERS").is_none() {
        let broker = EmbeddedKafka::builder()
            .topic(TRANSFERS.name(), 2)
            .topic(POSTINGS.name(), 2)
            .topic(REFUSED.name(), 2)
            .start()
            .await?;
        app = app.property("spring.kafka.bootstrap-servers", broker.bootstrap_servers());
        _broker = Some(broker);
    }
    let app = app.start().await?;
    let template = app.template();
    for (from, to, cents) in [("ann", "bob", 500), ("bob", "cid", 200), ("cid", "nobody", 100)] {
        let transfer = Transfer { from: from.into(), to: to.into(), cents };
        template.send(TRANSFERS, from, &transfer).await?;
    }
    app.handled("balance", 4).await;
    app.handled("refused", 1).await;
    app.stop().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use kafka_runtime::testing::TestApp;

    use super::*;

    fn transfer(from: &str, to: &str, cents: i64) -> Transfer {
        Transfer { from: from.into(), to: to.into(), cents }
    }

    #[tokio::test]
    async fn a_transfer_is_booked_whole_or_not_at_all() {
        let app = TestApp::start(app().unwrap()).await.unwrap();
        app.send(TRANSFERS, "ann", &transfer("ann", "nobody", 100)).await;
        app.send(TRANSFERS, "ann", &transfer("ann", "bob", 500)).await;
        app.handled("balance", 2).await;
        let mut postings = app.done::<Posting>("balance");
        postings.sort_by_key(|posting| posting.cents);
        let wanted = [("ann", -500), ("bob", 500)];
        assert_eq!(postings, wanted.map(|(account, cents)| Posting { account: account.into(), cents }));

        let failed = app.failures("book");
        assert_eq!(failed.len(), 3, "each of its tries sent a posting, which nobody has seen");
        assert!(format!("{:?}", failed[2].fate).contains("there is no account nobody"));
        app.handled("refused", 1).await;
        assert_eq!(app.sent::<Transfer>(REFUSED.name()).await, [transfer("ann", "nobody", 100)]);
    }
}
