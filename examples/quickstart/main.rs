//! Orders are sent through the template, a listener bills them and sends typed invoices, a second group reports those.
//!
//! `cargo run --bin quickstart` needs nothing but Rust: a broker is started inside the process.
//! `SPRING_KAFKA_BOOTSTRAP_SERVERS=host:9092 cargo run --bin quickstart` uses a cluster instead.

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use kafka_embedded::EmbeddedKafka;
use kafka_runtime::prelude::*;
use tokio::sync::Notify;

const ORDERS: u64 = 10;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    total_cents: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Invoice {
    order: u64,
    customer: String,
    total_cents: u64,
}

#[kafka_listener(topic = "${app.topics.orders}", group = "${spring.application.name}-billing")]
async fn bill(order: Order, meta: Metadata, template: &State<Template>) -> Result<(), TemplateError> {
    println!("billing    {} ({}-{} at {})", order.id, meta.topic(), meta.partition(), meta.offset());
    let invoice = Invoice { order: order.id, customer: order.customer, total_cents: order.total_cents };
    template.send("invoices", &invoice.customer, &invoice).await?;
    Ok(())
}

#[kafka_listener(topic = "${app.topics.invoices}", group = "${spring.application.name}-reporting")]
async fn report(invoice: Invoice, key: Key<String>, report: &State<Report>) {
    println!("reporting  order {} of {}: {} cents", invoice.order, *key, invoice.total_cents);
    report.add(&invoice);
}

/// What the second group has seen.
#[derive(Default)]
struct Report {
    totals: Mutex<(u64, u64)>,
    complete: Notify,
}

impl Report {
    fn add(&self, invoice: &Invoice) {
        let mut totals = self.totals.lock().expect("never poisoned");
        totals.0 += 1;
        totals.1 += invoice.total_cents;
        if totals.0 >= ORDERS {
            self.complete.notify_one();
        }
    }
}

async fn send_orders(template: Template) -> Result<(), TemplateError> {
    for id in 1..=ORDERS {
        let order = Order { id, customer: format!("customer-{}", id % 3), total_cents: 100 * id };
        let sent = template.send("orders", &order.customer, &order).await?;
        println!("sent       {id} to {}, offset {}", sent.partition, sent.offset);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter("warn,kafka_runtime=info").init();

    let mut app = App::from_config(concat!(env!("CARGO_MANIFEST_DIR"), "/quickstart/application.yml"))?
        .state(Report::default());
    // Dropping the broker stops it, so it is kept until the end.
    let mut _broker = None;
    if std::env::var_os("SPRING_KAFKA_BOOTSTRAP_SERVERS").is_none() {
        let broker = EmbeddedKafka::builder().topic("orders", 3).topic("invoices", 3).start().await?;
        app = app.property("spring.kafka.bootstrap-servers", broker.bootstrap_servers());
        _broker = Some(broker);
    }

    let app = app.start().await?;
    send_orders(app.template()).await?;
    let report = app.get_state::<Report>().expect("put in above");
    let complete = tokio::time::timeout(Duration::from_secs(60), report.complete.notified()).await.is_ok();
    app.stop().await?;

    let (invoices, cents) = *report.totals.lock().expect("never poisoned");
    println!("{ORDERS} orders sent, {invoices} invoices reported, {cents} cents in all");
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use kafka_runtime::testing::TestApp;

    use super::*;

    fn app() -> App {
        App::from_config(concat!(env!("CARGO_MANIFEST_DIR"), "/quickstart/application.yml")).unwrap()
    }

    #[tokio::test]
    async fn an_order_becomes_an_invoice() {
        let app = TestApp::start(app().only(["bill"])).await.unwrap();
        app.send("orders", "ann", &Order { id: 7, customer: "ann".into(), total_cents: 250 }).await;
        app.handled("bill", 1).await;

        let invoice = Invoice { order: 7, customer: "ann".into(), total_cents: 250 };
        assert_eq!(app.sent::<Invoice>("invoices").await, [invoice]);
        assert_eq!(app.records("invoices").await[0].key(), Some(&b"ann"[..]));
        assert_eq!(app.committed("quickstart-billing", "orders", 0).await, 1);
    }

    #[tokio::test]
    async fn all_of_it_adds_up() {
        let app = TestApp::start(app().state(Report::default())).await.unwrap();
        send_orders(app.template()).await.unwrap();
        app.handled("report", ORDERS).await;
        let (invoices, cents) = *app.get_state::<Report>().unwrap().totals.lock().unwrap();
        assert_eq!((invoices, cents), (ORDERS, 5500));
    }
}
