//! rskafka, one stream per partition, with serde_json.

use std::sync::Arc;

use bench::{Order, Tally, Task, wait_for_the_end};
use futures_util::StreamExt;
use rskafka::client::ClientBuilder;
use rskafka::client::consumer::{StartOffset, StreamConsumerBuilder};
use rskafka::client::partition::UnknownTopicHandling;

#[tokio::main]
async fn main() {
    let task = Task::read();
    let client = ClientBuilder::new(task.servers.split(',').map(str::to_owned).collect())
        .build()
        .await
        .expect("client");
    let tally = Arc::new(Tally::default());
    for partition in 0..task.partitions {
        let partition = client
            .partition_client(&task.topic, partition, UnknownTopicHandling::Retry)
            .await
            .expect("partition");
        let mut stream = StreamConsumerBuilder::new(Arc::new(partition), StartOffset::Earliest)
            .with_max_batch_size(1 << 20)
            .build();
        let (tally, records) = (tally.clone(), task.records);
        tokio::spawn(async move {
            while let Some(record) = stream.next().await {
                let (record, _) = record.expect("record");
                let value = record.record.value.expect("value");
                let order: Order = serde_json::from_slice(&value).expect("json");
                tally.add(order.total_cents, records);
            }
        });
    }
    tokio::task::spawn_blocking(wait_for_the_end).await.expect("wait");
}
