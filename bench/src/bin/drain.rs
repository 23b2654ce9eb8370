//! Reads a topic and does nothing with it, so that what is measured is the way from the broker: `client` (ours) or
//! `librdkafka`, of directly assigned partitions from their beginning.

use std::sync::Arc;
use std::time::Duration;

use bench::{Tally, Task, wait_for_the_end};
use kafka_client::TopicPartition;
use kafka_client::config::{ConsumerConfig, StartAt, Subscription};
use kafka_client::consumer::{ConsumerEvent, PartitionStream, StreamItem};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

async fn read(mut stream: PartitionStream, tally: Arc<Tally>, records: u64) {
    while let Some(item) = stream.next().await {
        let StreamItem::Chunk(mut chunk) = item else { continue };
        while let Some(batch) = chunk.next_batch().expect("batch") {
            for record in batch.records() {
                let value = record.expect("record").value.expect("value");
                tally.add(value.len() as u64, records);
            }
        }
    }
}

async fn client(task: &Task) {
    let client = bench::client(&task.servers).expect("client");
    let start = |partition| (TopicPartition::new(task.topic.as_str(), partition), StartAt::Beginning);
    let partitions = Subscription::Partitions((0..task.partitions).map(start).collect());
    let mut consumer = client.consumer(ConsumerConfig::new(partitions)).expect("consumer");
    let tally = Arc::new(Tally::default());
    let records = task.records;
    tokio::spawn(async move {
        while let Some(event) = consumer.next().await {
            let ConsumerEvent::Assigned(streams) = event else { continue };
            streams
                .into_iter()
                .for_each(|stream| drop(tokio::spawn(read(stream, Arc::clone(&tally), records))));
        }
    });
    tokio::task::spawn_blocking(wait_for_the_end).await.expect("wait");
}

fn librdkafka(task: &Task) {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &task.servers).set("group.id", &task.group);
    // With its defaults it sleeps for a second whenever its queue has run full, whatever the broker does.
    config.set("fetch.queue.backoff.ms", "1").set("queued.max.messages.kbytes", "65536");
    let consumer: BaseConsumer = config.create().expect("consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..task.partitions {
        partitions.add_partition_offset(&task.topic, partition, Offset::Beginning).expect("offset");
    }
    consumer.assign(&partitions).expect("assign");
    let tally = Tally::default();
    loop {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let length = message.expect("message").payload().expect("value").len();
        if tally.add(length as u64, task.records) {
            return wait_for_the_end();
        }
    }
}

#[tokio::main]
async fn main() {
    let task = Task::read();
    if task.mode == "client" { client(&task).await } else { librdkafka(&task) }
}
