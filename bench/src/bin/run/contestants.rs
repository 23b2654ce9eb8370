//! Who takes part.

use std::path::Path;

use crate::options::Options;

/// A contestant: its name in the tables, and the command that runs it.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) command: Vec<String>,
}

/// The folder of the programs of this package.
pub(crate) fn programs() -> std::path::PathBuf {
    std::env::current_exe().expect("path").parent().expect("folder").to_owned()
}

/// A contestant of this package.
pub(crate) fn rust(name: &'static str, binary: &str, mode: &str) -> Contestant {
    Contestant { name, command: vec![programs().join(binary).display().to_string(), mode.to_owned()] }
}

/// Readers of a filled topic, those that this machine can run.
pub(crate) fn readers(options: &Options) -> Vec<Contestant> {
    let mut all = vec![
        rust("ours", "ours", "owned"),
        rust("ours borrowed", "ours", "borrowed"),
        rust("ours batch", "ours", "batch"),
        rust("ours without commits", "ours", "owned+async+{time: 10h}"),
        rust("ours async", "ours", "owned+async"),
        rust("ours sync", "ours", "owned+sync"),
        rust("ours sync per batch of 500", "ours", "owned+sync+batch"),
        rust("ours sync per batch of 1 MiB", "ours", "owned+sync+batch+3600"),
        rust("ours sync per record", "ours", "owned+sync+record"),
        rust("ours {records: 500}", "ours", "owned+combined+{records: 500}"),
        rust("hand-written loop", "handloop", "owned"),
        rust("hand-written loop borrowed", "handloop", "borrowed"),
        rust("rdkafka stream", "librdkafka", "stream"),
        rust("rdkafka stream tuned", "librdkafka", "stream-tuned"),
        rust("rdkafka base", "librdkafka", "base"),
        rust("rdkafka base tuned", "librdkafka", "base-tuned"),
        rust("ruststream", "ruststream", ""),
        rust("ruststream tuned", "ruststream", "tuned"),
        rust("rskafka", "rskafka", ""),
    ];
    all.extend(go("franz-go", "franz"));
    all.extend(go("kafka-go", "segmentio"));
    all.extend(spring("Spring Kafka", "1"));
    all.extend(spring("Spring Kafka, 2 consumers", "2"));
    // A commit for every record takes hours for millions of them.
    let affordable = |name: &str| options.records <= 100_000 || !name.ends_with("per record");
    all.retain(|one| options.wants(one.name) && affordable(one.name));
    all
}

/// Those that send a record and wait until their own listener has it.
pub(crate) fn round_trips(options: &Options) -> Vec<Contestant> {
    let mut all = vec![
        rust("ours", "latency", "ours"),
        rust("rdkafka", "latency", "rdkafka"),
        rust("rdkafka tuned", "latency", "rdkafka-tuned"),
        rust("rskafka", "latency", "rskafka"),
    ];
    all.extend(go("franz-go", "franz-latency"));
    all.extend(go("kafka-go", "segmentio-latency"));
    all.retain(|one| options.wants(one.name));
    all
}

/// Kafka's own measuring program: random bytes of the same size, without any JSON.
pub(crate) fn java_producer() -> Option<Contestant> {
    let script = "java -Xmx1g -cp \"$KAFKA_LIBS/*\" org.apache.kafka.tools.ProducerPerformance --topic $BENCH_TOPIC \
                  --num-records $BENCH_RECORDS --record-size 290 --throughput -1 \
                  --producer-props bootstrap.servers=$BENCH_SERVERS >&2; echo filled; cat > /dev/null";
    std::env::var_os("KAFKA_LIBS")?;
    Some(Contestant {
        name: "Java ProducerPerformance",
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
    })
}

fn go(name: &'static str, mode: &str) -> Option<Contestant> {
    let program = format!("{}/go/contestant", env!("CARGO_MANIFEST_DIR"));
    Path::new(&program).exists().then(|| Contestant { name, command: vec![program, mode.to_owned()] })
}

fn spring(name: &'static str, concurrency: &str) -> Option<Contestant> {
    let target = format!("{}/spring/target", env!("CARGO_MANIFEST_DIR"));
    let classpath = format!("{target}/classes:{target}/libs/*");
    let command = ["java", "-Xmx1g", "-cp", &classpath, "bench.Contestant", concurrency];
    Path::new(&target)
        .join("libs")
        .exists()
        .then(|| Contestant { name, command: command.map(str::to_owned).to_vec() })
}
