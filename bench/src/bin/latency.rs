//! One record at a time: sent with acks all, until the process's own listener has it. `ours`, `rdkafka`, `rdkafka-tuned`,
//! `rskafka`. Prints `latency P50 P99` in microseconds.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bench::{Order, Task, order};
use futures_util::StreamExt;
use kafka_runtime::prelude::*;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rskafka::client::ClientBuilder;
use rskafka::client::consumer::{StartOffset, StreamConsumerBuilder};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Not counted.
const WARM_UP: u64 = 200;

/// Sends order after order and waits for each; prints the figures.
async fn measure<S: AsyncFnMut(u64, &Order)>(task: &Task, mut send: S, mut arrived: UnboundedReceiver<u64>) {
    let mut figures = Vec::new();
    for n in 0..WARM_UP + task.records {
        let order = order(n);
        let started = Instant::now();
        send(n, &order).await;
        while arrived.recv().await.expect("the listener ended") != order.id {}
        if n >= WARM_UP {
            figures.push(started.elapsed().as_micros());
        }
    }
    figures.sort_unstable();
    println!("latency {} {}", figures[figures.len() / 2], figures[figures.len() * 99 / 100]);
}

#[kafka_listener]
async fn arrives(order: Order, arrived: &State<UnboundedSender<u64>>) {
    let _ = arrived.send(order.id);
}

async fn ours(task: &Task) -> Result<(), Box<dyn std::error::Error>> {
    let (sender, arrived) = unbounded_channel();
    let Task { servers, topic, group, .. } = task;
    let yaml = format!(
        "spring: {{kafka: {{bootstrap-servers: '{servers}', consumer: {{auto-offset-reset: earliest}}}}}}\nkafka-runtime: {{listeners: {{arrives: {{topic: {topic}, group: {group}}}}}}}\n",
    );
    let app = App::from_yaml(&yaml)?.only(["arrives"]).state(sender).start().await?;
    let template = app.template().clone();
    let send = async |_, order: &Order| {
        template.send(&task.topic, &order.customer, order).await.expect("sent");
    };
    measure(task, send, arrived).await;
    app.stop().await?;
    Ok(())
}

async fn rdkafka(task: &Task) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &task.servers)
        .set("group.id", &task.group)
        .set("auto.offset.reset", "earliest");
    if task.mode.ends_with("tuned") {
        config.set("linger.ms", "0").set("fetch.queue.backoff.ms", "1").set("socket.nagle.disable", "true");
    }
    let consumer: StreamConsumer = config.create().expect("consumer");
    consumer.subscribe(&[&task.topic]).expect("subscribe");
    let producer: FutureProducer = config.set("enable.idempotence", "true").create().expect("producer");
    let (sender, arrived) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let message = consumer.recv().await.expect("message");
            let order: Order = serde_json::from_slice(message.payload().expect("value")).expect("json");
            let _ = sender.send(order.id);
        }
    });
    let send = async |_, order: &Order| {
        let json = serde_json::to_vec(order).expect("json");
        let record = FutureRecord::to(&task.topic).key(&order.customer).payload(&json);
        producer.send(record, Duration::from_secs(10)).await.expect("sent");
    };
    measure(task, send, arrived).await;
}

async fn rskafka(task: &Task) {
    // A broker answers one connection's requests in turn: a produce behind a long poll waits for it.
    let [readers, writers] = [rskafka_partitions(task).await, rskafka_partitions(task).await];
    let (sender, arrived) = unbounded_channel();
    for partition in readers {
        let mut stream = StreamConsumerBuilder::new(Arc::new(partition), StartOffset::Earliest).build();
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(record) = stream.next().await {
                let value = record.expect("record").0.record.value.expect("value");
                let order: Order = serde_json::from_slice(&value).expect("json");
                let _ = sender.send(order.id);
            }
        });
    }
    let send = async |n: u64, order: &Order| {
        let record = rskafka::record::Record {
            key: Some(order.customer.clone().into_bytes()),
            value: Some(serde_json::to_vec(order).expect("json")),
            headers: Default::default(),
            timestamp: now(),
        };
        let partition = &writers[usize::try_from(n).expect("index") % writers.len()];
        partition.produce(vec![record], Compression::NoCompression).await.expect("sent");
    };
    measure(task, send, arrived).await;
}

async fn rskafka_partitions(task: &Task) -> Vec<PartitionClient> {
    let client = ClientBuilder::new(vec![task.servers.clone()]).build().await.expect("client");
    let mut partitions = Vec::new();
    for partition in 0..task.partitions {
        let found = client.partition_client(&task.topic, partition, UnknownTopicHandling::Retry).await;
        partitions.push(found.expect("partition"));
    }
    partitions
}

fn now() -> rskafka::chrono::DateTime<rskafka::chrono::Utc> {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    rskafka::chrono::DateTime::from_timestamp_millis(now.as_millis() as i64).expect("a time")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let task = Task::read();
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", &task.servers).create()?;
    let topic = NewTopic::new(&task.topic, task.partitions, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &AdminOptions::new()).await?;
    match task.mode.as_str() {
        "ours" => ours(&task).await?,
        "rskafka" => rskafka(&task).await,
        _ => rdkafka(&task).await,
    }
    Ok(())
}
