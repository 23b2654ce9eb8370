//! orders -> enriched -> totals, typed on every hop: each stage is a listener whose value goes on to the next topic.
//!
//! `cargo run --bin pipeline` runs on a broker inside the process; with `BROKERS=host:9092` on a cluster.

use std::collections::BTreeMap;
use std::sync::Mutex;

use kafka_embedded::EmbeddedKafka;
use kafka_runtime::prelude::*;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    customer: String,
    item: String,
    quantity: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Enriched {
    customer: String,
    cents: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Total {
    customer: String,
    cents: u64,
}

struct Prices(BTreeMap<&'static str, u64>);

#[derive(Debug, thiserror::Error)]
#[error("no price for {0}")]
struct NoPrice(String);

const ORDERS: Topic<Order> = Topic::new("orders");
const ENRICHED: Topic<Enriched> = Topic::new("enriched");
const TOTALS: Topic<Total> = Topic::new("totals");

/// What is returned goes on with its order's key; the order's offset waits until it has arrived.
#[kafka_listener(topic = ORDERS, group = "${spring.application.name}-enrich", send_to = ENRICHED)]
async fn enrich(order: Order, prices: &State<Prices>) -> Result<Enriched, NoPrice> {
    let price = prices.0.get(order.item.as_str()).copied().ok_or(NoPrice(order.item))?;
    Ok(Enriched { customer: order.customer, cents: price * order.quantity })
}

/// Running totals. Keyed by customer, so one customer's records come in order and to one member.
#[derive(Default)]
struct Totals(Mutex<BTreeMap<String, u64>>);

#[kafka_listener(topic = ENRICHED, group = "${spring.application.name}-total", send_to = TOTALS)]
async fn total(enriched: Enriched, totals: &State<Totals>) -> Total {
    let mut totals = totals.0.lock().expect("never poisoned");
    let cents = totals.entry(enriched.customer.clone()).or_default();
    *cents += enriched.cents;
    Total { customer: enriched.customer, cents: *cents }
}

#[kafka_listener(topic = TOTALS, group = "${spring.application.name}-show")]
async fn show(total: Total) {
    println!("{}: {} cents", total.customer, total.cents);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter("warn").init();
    let mut app = App::from_config(concat!(env!("CARGO_MANIFEST_DIR"), "/pipeline/application.yml"))?
        .state(Prices(BTreeMap::from([("apple", 30), ("bread", 250), ("cheese", 900)])))
        .state(Totals::default());
    let mut _broker = None;
    if std::env::var_os("BROKERS").is_none() {
        let broker = EmbeddedKafka::builder()
            .topic("orders", 4)
            .topic("enriched", 4)
            .topic("totals", 1)
            .start()
            .await?;
        app = app.property("spring.kafka.bootstrap-servers", broker.bootstrap_servers());
        _broker = Some(broker);
    }

    let app = app.start().await?;
    let template = app.template();
    let items = ["apple", "bread", "cheese"];
    for n in 0..12u64 {
        let order = Order {
            customer: format!("customer-{}", n % 2),
            item: items[n as usize % items.len()].into(),
            quantity: n + 1,
        };
        template.send(ORDERS, &order.customer, &order).await?;
    }
    app.handled("show", 12).await;
    app.stop().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use kafka_runtime::testing::{EmbeddedKafka, TestApp};

    use super::*;

    fn app() -> App {
        App::from_config(concat!(env!("CARGO_MANIFEST_DIR"), "/pipeline/application.yml"))
            .unwrap()
            .state(Prices(BTreeMap::from([("apple", 30)])))
            .state(Totals::default())
    }

    fn order(item: &str, quantity: u64) -> Order {
        Order { customer: "ann".into(), item: item.into(), quantity }
    }

    #[tokio::test]
    async fn totals_run_through_all_stages() {
        let app = TestApp::start(app()).await.unwrap();
        app.send("orders", "ann", &order("apple", 2)).await;
        app.send("orders", "ann", &order("apple", 3)).await;
        app.handled("show", 2).await;
        let totals: Vec<u64> = app.done::<Total>("show").iter().map(|total| total.cents).collect();
        assert_eq!(totals, [60, 150]);
    }

    /// In memory and in paused time: the tries are seconds apart, and the test takes milliseconds.
    #[tokio::test(start_paused = true)]
    async fn an_item_without_a_price_is_tried_again() {
        let kafka = EmbeddedKafka::builder().topic("orders", 1).in_memory().start().await.unwrap();
        let app = TestApp::on(kafka, app().only(["enrich"])).await.unwrap();
        app.send("orders", "ann", &order("pear", 1)).await;
        let failed = app.failed("enrich", 2).await;
        assert_eq!(failed[1].attempt, 2);
        assert!(format!("{:?}", failed[1].fate).contains("no price for pear"));
    }
}
