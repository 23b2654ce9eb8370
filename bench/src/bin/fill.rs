//! Fills topics with orders through librdkafka (a peer, so that nobody reads only its own writing): `CODEC[,TOPICS]`.
//! `delete` deletes the topic instead. With TOPICS the records are dealt out over that many topics, named with a number behind.

use std::time::Duration;

use bench::{Task, order};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

#[tokio::main]
async fn main() {
    let task = Task::read();
    let (codec, topics) = match task.mode.split_once(',') {
        Some((codec, count)) => {
            let count: u64 = count.parse().expect("a number of topics");
            (codec, (0..count).map(|topic| format!("{}-{topic}", task.topic)).collect())
        }
        None => (task.mode.as_str(), vec![task.topic.clone()]),
    };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &task.servers);
    let admin: AdminClient<_> = config.create().expect("admin");
    if codec == "delete" {
        admin.delete_topics(&[&task.topic], &AdminOptions::new()).await.expect("delete");
        return;
    }
    let new = |topic| NewTopic::new(topic, task.partitions, TopicReplication::Fixed(1));
    admin
        .create_topics(&topics.iter().map(|topic| new(topic)).collect::<Vec<_>>(), &AdminOptions::new())
        .await
        .expect("create");

    let producer: BaseProducer = config
        .set("compression.type", if codec.is_empty() { "none" } else { codec })
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "500000")
        .set("partitioner", "murmur2_random")
        .create()
        .expect("producer");
    let (mut sum, mut bytes) = (0u64, 0);
    for n in 0..task.records {
        let order = order(n);
        let json = serde_json::to_vec(&order).expect("json");
        sum += order.total_cents;
        bytes += json.len() as u64;
        let topic = &topics[usize::try_from(n).expect("index") % topics.len()];
        let mut record = BaseRecord::to(topic).key(&order.customer).payload(&json);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(20));
        }
        if n % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120)).expect("flush");
    println!("filled {} {sum} {}", task.records, bytes / task.records.max(1));
}
