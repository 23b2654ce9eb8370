//! The template's producer, and the admin client.

use std::time::Duration;

use kafka_client::config::{Acks, Compression, Partitioner, ProducerConfig};

use super::super::classes;
use super::super::origin::Origin;
use super::super::problems::Problem;
use super::super::schema::Scope;
use super::super::settings::{AdminSettings, TemplateSettings};
use super::super::value::{Notation, Size, Value as _};
use super::{Binding, Client, Place, client, unknown};

const PRODUCER: Client<'static> = Client { scope: Scope::Producer, listener: None };
const ADMIN: Client<'static> = Client { scope: Scope::Admin, listener: None };

/// The template: `template.*`, `producer.*` and what they inherit.
pub(crate) fn template(binding: &mut Binding<'_>) -> TemplateSettings {
    binding.section("template");
    let mut client = client::common(binding, PRODUCER);
    client.client_id = numbered_id(binding, PRODUCER, "producer", 1);
    TemplateSettings {
        producer: producer(binding, client.request_timeout),
        client,
        default_topic: binding.text("default-topic", &[Place::spring("template.default-topic")]),
        transaction_id_prefix: binding.text(
            "transaction-id-prefix",
            &[
                Place::spring("template.transaction-id-prefix"),
                Place::spring("producer.transaction-id-prefix"),
            ],
        ),
        close_timeout: binding.read(
            "close-timeout",
            &[Place::spring("template.close-timeout")],
            Duration::from_secs(5),
        ),
        reply_topic: binding.text("reply-topic", &[Place::ours("template.reply-topic")]),
        reply_timeout: binding.read(
            "reply-timeout",
            &[Place::ours("template.reply-timeout")],
            Duration::from_secs(5),
        ),
    }
}

/// The admin client: `admin.*` and what it inherits.
pub(crate) fn admin(binding: &mut Binding<'_>) -> AdminSettings {
    binding.section("admin");
    let mut client = client::common(binding, ADMIN);
    client.client_id = numbered_id(binding, ADMIN, "admin", 0);
    let place = |name: &str| [Place::spring(format!("admin.{name}"))];
    AdminSettings {
        client,
        auto_create: binding.read("auto-create", &place("auto-create"), true),
        fail_fast: binding.read("fail-fast", &place("fail-fast"), false),
        modify_topic_configs: binding.read("modify-topic-configs", &place("modify-topic-configs"), false),
        close_timeout: binding.read("close-timeout", &place("close-timeout"), Duration::from_secs(10)),
        operation_timeout: binding.read(
            "operation-timeout",
            &place("operation-timeout"),
            Duration::from_secs(30),
        ),
    }
}

/// What is said with a number after it; else `<application>-<role>-<number>`, as in Spring.
fn numbered_id(binding: &mut Binding<'_>, client: Client<'_>, role: &str, number: usize) -> String {
    let said = client::said_id(binding, &client.places("client.id"));
    let (base, origin) = match said {
        Some(said) => (said.text, said.origin),
        None => match super::application_name(binding) {
            Some(name) => (format!("{name}-{role}"), Origin::Derived("spring.application.name".into())),
            None => (role.to_owned(), Origin::Default),
        },
    };
    let id = format!("{base}-{number}");
    binding.note("client.id", id.clone(), origin, Vec::new());
    id
}

fn producer(binding: &mut Binding<'_>, request_timeout: Duration) -> ProducerConfig {
    let defaults = ProducerConfig::default();
    let places = |name: &'static str| PRODUCER.places(name);
    let acks = binding.parse("acks", &places("acks"), defaults.acks, |text, _| acks(text), show_acks);
    let compression = binding.word(
        "compression.type",
        &places("compression.type"),
        defaults.compression,
        &[
            ("none", Compression::None),
            ("gzip", Compression::Gzip),
            ("snappy", Compression::Snappy),
            ("lz4", Compression::Lz4),
            ("zstd", Compression::Zstd),
        ],
    );
    for name in ["key.serializer", "value.serializer"] {
        let read =
            |text: &str, _| classes::serializer(text).map(|format| format!("{format} ({})", text.trim()));
        binding.parse(name, &places(name), "what is sent".to_owned(), read, String::clone);
    }
    let retries = binding.read("retries", &places("retries"), defaults.retries);
    let max_in_flight = "max.in.flight.requests.per.connection";
    let mut config = ProducerConfig {
        acks,
        idempotence: defaults.idempotence,
        retries,
        delivery_timeout: binding.time(
            "delivery.timeout.ms",
            &places("delivery.timeout.ms"),
            defaults.delivery_timeout,
        ),
        request_timeout,
        linger: binding.read("linger.ms", &places("linger.ms"), defaults.linger),
        batch_size: size(binding, "batch.size", defaults.batch_size),
        batch_max_size: size(binding, "batch.max.size", defaults.batch_max_size),
        buffer_memory: size(binding, "buffer.memory", defaults.buffer_memory),
        max_block: binding.read("max.block.ms", &places("max.block.ms"), defaults.max_block),
        max_request_size: size(binding, "max.request.size", defaults.max_request_size),
        max_in_flight: binding.at_least_one(max_in_flight, &places(max_in_flight), defaults.max_in_flight),
        compression,
        compression_level: gzip_level(binding).filter(|_| compression == Compression::Gzip),
        partitioner: partitioner(binding),
        adaptive_partitioning: binding.read(
            "partitioner.adaptive.partitioning.enable",
            &places("partitioner.adaptive.partitioning.enable"),
            defaults.adaptive_partitioning,
        ),
        transaction_timeout: binding.time(
            "transaction.timeout.ms",
            &places("transaction.timeout.ms"),
            defaults.transaction_timeout,
        ),
    };
    config.idempotence = idempotence(binding, &config);
    config.delivery_timeout = delivery_timeout(binding, &config);
    config
}

/// `compression.gzip.level`: 1 to 9, or -1 for the usual one (KIP-390).
fn gzip_level(binding: &mut Binding<'_>) -> Option<u8> {
    let name = "compression.gzip.level";
    let read = |text: &str, notation| match i32::read(text, notation)? {
        -1 => Ok(None),
        level => match u8::try_from(level) {
            Ok(level @ 1..=9) => Ok(Some(level)),
            _ => Err("is none of -1 (the usual one) and 1 to 9".to_owned()),
        },
    };
    let show = |level: &Option<u8>| level.map_or_else(|| "-1".to_owned(), |level| level.to_string());
    binding.parse(name, &PRODUCER.places(name), None, read, show)
}

fn size(binding: &mut Binding<'_>, name: &'static str, default: usize) -> usize {
    let default = i32::try_from(default).unwrap_or(i32::MAX);
    // The buffer alone may be larger than 2 GiB.
    if name == "buffer.memory" {
        let default = Size(u64::try_from(default).unwrap_or(0));
        let Size(bytes) = binding.read(name, &PRODUCER.places(name), default);
        return usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    usize::try_from(binding.bytes(name, &PRODUCER.places(name), default)).unwrap_or(0)
}

/// Idempotence, which needs acknowledgements of all, repetition, and at most five requests in flight. Said or not:
/// where it is not said, weaker settings turn it off, visibly; where it is, they are a contradiction.
fn idempotence(binding: &mut Binding<'_>, config: &ProducerConfig) -> bool {
    let name = "enable.idempotence";
    let said = binding.first(&PRODUCER.places(name)).is_some();
    let wanted = binding.read(name, &PRODUCER.places(name), true);
    if !wanted {
        return false;
    }
    let mut against = Vec::new();
    if config.acks != Acks::All {
        against.push(("acks", format!("acks = {}", show_acks(&config.acks)), said));
    }
    if config.retries == 0 {
        against.push(("retries", "retries = 0".to_owned(), said));
    }
    if config.max_in_flight > 5 {
        // Kafka never turns idempotence off for this one.
        let name = "max.in.flight.requests.per.connection";
        against.push((name, format!("{name} = {}", config.max_in_flight), true));
    }
    for (setting, shown, refused) in &against {
        let origin = binding.origin_of(setting);
        if *refused {
            let what = format!("and `{shown}` ({origin}) exclude each other");
            let at = if said { binding.origin_of(name) } else { origin };
            let problem = Problem::new(at, name, what)
                .help("an idempotent producer needs acks all, retries, and at most 5 requests in flight");
            binding.problems.error(problem);
        } else {
            let what =
                format!("turns idempotence off: a repeated send can write twice or out of order (`{shown}`)");
            binding.problems.notice(Problem::new(origin, *setting, what));
        }
    }
    if !against.is_empty() {
        let because: Vec<_> = against.iter().map(|(setting, _, _)| *setting).collect();
        binding.note(name, "false".to_owned(), Origin::Derived(because.join(", ").into()), Vec::new());
    }
    against.is_empty()
}

/// The delivery timeout must leave room for the first try; as in Kafka, it grows to that unless it is said.
fn delivery_timeout(binding: &mut Binding<'_>, config: &ProducerConfig) -> Duration {
    let name = "delivery.timeout.ms";
    let needed = config.linger.saturating_add(config.request_timeout);
    if config.delivery_timeout >= needed || binding.is_broken(&[name, "linger.ms", "request.timeout.ms"]) {
        return config.delivery_timeout;
    }
    match binding.origin_of(name) {
        Origin::Default => {
            let from = Origin::Derived("linger.ms and request.timeout.ms".into());
            binding.note(name, needed.show(), from, Vec::new());
        }
        said => {
            let what = format!(
                "({}) must be at least linger.ms ({}) and request.timeout.ms ({}) together",
                config.delivery_timeout.show(),
                config.linger.show(),
                config.request_timeout.show()
            );
            binding.problems.error(Problem::new(said, name, what));
        }
    }
    needed
}

fn acks(text: &str) -> Result<Acks, String> {
    match text.trim() {
        "all" | "-1" => Ok(Acks::All),
        "1" => Ok(Acks::Leader),
        "0" => Ok(Acks::None),
        _ => Err("is none of all, -1, 0, 1".to_owned()),
    }
}

fn show_acks(acks: &Acks) -> String {
    match acks {
        Acks::None => "0",
        Acks::Leader => "1",
        Acks::All => "all",
    }
    .to_owned()
}

/// Java's class, or librdkafka's name, or that of a Go client's way; keys do not count where they are to be ignored.
fn partitioner(binding: &mut Binding<'_>) -> Partitioner {
    let places: Vec<Place> =
        ["partitioner.class", "partitioner"].into_iter().flat_map(|name| PRODUCER.places(name)).collect();
    let default = Partitioner::default();
    let chosen = binding.parse("partitioner.class", &places, default, named, ToString::to_string);
    let name = "partitioner.ignore.keys";
    match (binding.read(name, &PRODUCER.places(name), false), &chosen) {
        (true, Partitioner::Murmur2) => Partitioner::Sticky,
        _ => chosen,
    }
}

fn named(text: &str, _: Notation) -> Result<Partitioner, String> {
    Partitioner::named(text).ok_or_else(|| unknown(&Partitioner::names().collect::<Vec<_>>(), text))
}
