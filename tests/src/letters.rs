//! Dead letters: those to be sent back, and what becomes one.

use kafka_runtime::prelude::*;

use crate::Cluster;

/// `count` dead letters as this library writes them, number by number, by turns from the two partitions of a topic, every
/// third of another error; in a topic with so many partitions, by turns. `own` gives a record its own headers. The topic that
/// they are from, and theirs.
pub async fn dead_letters(
    cluster: &Cluster,
    partitions: usize,
    count: usize,
    own: impl Fn(usize, Record) -> Record,
) -> (String, String) {
    let number = |n: usize| i32::try_from(n).expect("few");
    let origin = cluster.topic("origin", 2).await;
    let letters = cluster.topic("letters", number(partitions)).await;
    let app = App::from_yaml(cluster.yaml("")).expect("yaml").only([]).start().await.expect("an app");
    for n in 0..count {
        let error = if n.is_multiple_of(3) { "bank::BankError" } else { "bank::Other" };
        let record = Record::to(&letters).partition(number(n % partitions)).key(format!("k{n}"));
        let record = own(n, record.text(n.to_string()))
            .header("kafka_dlt-original-topic", &origin)
            .header("kafka_dlt-original-partition", number(n % 2).to_be_bytes())
            .header("kafka_dlt-original-offset", i64::from(number(n)).to_be_bytes())
            .header("kafka_dlt-exception-fqcn", error)
            .header("kafka_dlt-exception-message", format!("account {n} closed"));
        drop(app.template().enqueue_record(record).await.expect("room"));
    }
    app.template().flush().await.expect("all is sent");
    app.stop().await.expect("it stops");
    (origin, letters)
}

/// Whether a record of the chaos suite fails however often it is handled.
#[must_use]
pub fn fails_for_good(n: u64) -> bool {
    n % 211 == 7
}
