//! A hand-written loop over kafka-client with serde_json: what the framework is measured against (`owned`, `borrowed`).

use std::sync::Arc;
use std::time::Duration;

use bench::{BorrowedOrder, Order, Tally, Task, wait_for_the_end};
use kafka_client::config::{ConsumerConfig, GroupConfig, OffsetReset, Subscription};
use kafka_client::consumer::{ConsumerEvent, PartitionStream, StreamItem};
use kafka_client::group::CommittedOffset;

async fn read(
    mut stream: PartitionStream,
    tally: Arc<Tally>,
    task: Task,
    done: tokio::sync::mpsc::Sender<(kafka_client::TopicPartition, i64)>,
) {
    let borrowed = task.mode == "borrowed";
    while let Some(item) = stream.next().await {
        let StreamItem::Chunk(mut chunk) = item else { continue };
        while let Some(batch) = chunk.next_batch().expect("batch") {
            for record in batch.records() {
                let value = record.expect("record").value.expect("value");
                let cents = if borrowed {
                    serde_json::from_slice::<BorrowedOrder<'_>>(value).expect("json").total_cents
                } else {
                    serde_json::from_slice::<Order>(value).expect("json").total_cents
                };
                tally.add(cents, task.records);
            }
            let _ = done.send((stream.partition(), batch.next_offset())).await;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let task = Task::read();
    let client = bench::client(&task.servers)?;
    let mut consumer = client.consumer(ConsumerConfig {
        group: Some(GroupConfig::new(&task.group)),
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::new(Subscription::Topics(vec![task.topic.clone()]))
    })?;
    let tally = Arc::new(Tally::default());
    let handle = consumer.handle();
    let (done, mut offsets) = tokio::sync::mpsc::channel(1024);
    // Commits each second, as the framework's default does.
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut highest = std::collections::HashMap::new();
        loop {
            tokio::select! {
                found = offsets.recv() => match found {
                    Some((partition, offset)) => { highest.insert(partition, offset); }
                    None => return,
                },
                _ = tick.tick() => {
                    let commit = highest.drain().map(|(partition, offset)| (partition, CommittedOffset { offset, leader_epoch: -1, metadata: String::new() })).collect();
                    handle.commit(commit).await;
                }
            }
        }
    });
    tokio::spawn({
        let task = task.clone();
        async move {
            while let Some(event) = consumer.next().await {
                if let ConsumerEvent::Assigned(streams) = event {
                    for stream in streams {
                        tokio::spawn(read(stream, tally.clone(), task.clone(), done.clone()));
                    }
                }
            }
        }
    });
    tokio::task::spawn_blocking(wait_for_the_end).await?;
    Ok(())
}
