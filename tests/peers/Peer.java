// The Java client as a peer of the suite: `java -cp "$KAFKA_LIBS/*" Peer.java COMMAND ...`.
// Each command prints lines of tab-separated words that tests/src/peer.rs reads; peer.py speaks the same language.
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.TimeUnit;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.serialization.*;

public class Peer {
    static String servers;

    public static void main(String[] arguments) throws Exception {
        servers = arguments[1];
        String[] rest = Arrays.copyOfRange(arguments, 2, arguments.length);
        switch (arguments[0]) {
            case "produce" -> produce(rest[0], Integer.parseInt(rest[1]), rest[2]);
            case "transactions" -> transactions(rest[0], rest[1], rest[2]);
            case "zombie" -> zombie(rest[0], rest[1]);
            case "slow" -> slow(rest[0], rest[1]);
            case "transform" -> transform(rest[0], rest[1], rest[2], rest[3], Integer.parseInt(rest[4]));
            case "operate" -> operate(rest[0], rest[1]);
            case "consume" -> consume(rest[0], Integer.parseInt(rest[1]), rest[2]);
            case "letters" -> letters(rest[0], Integer.parseInt(rest[1]));
            case "committed" -> committed(rest[0], rest[1]);
            case "member" -> member(rest[0], rest[1], rest[2]);
            case "deny" -> deny(rest[0], rest[1]);
            case "elect" -> elect(rest[0], Integer.parseInt(rest[1]));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        System.out.flush();
        System.exit(0);
    }

    static synchronized void say(Object... words) {
        System.out.println(Arrays.stream(words).map(String::valueOf).collect(Collectors.joining("\t")));
        System.out.flush();
    }

    static String base64(byte[] bytes) {
        return bytes == null ? "-" : "=" + Base64.getEncoder().encodeToString(bytes);
    }

    static Properties properties(Object... pairs) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", servers);
        for (int i = 0; i < pairs.length; i += 2) properties.put(pairs[i], pairs[i + 1]);
        return properties;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static KafkaProducer<byte[], byte[]> producer(Object... pairs) {
        return new KafkaProducer<>(properties(pairs), new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Object... pairs) {
        return new KafkaConsumer<>(properties(pairs), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    // n records {"n":i} keyed k<i%10>, each with a header twice.
    static void produce(String topic, int count, String codec) throws Exception {
        try (var producer = producer("compression.type", codec, "linger.ms", "5")) {
            for (int i = 0; i < count; i++) {
                var record = new ProducerRecord<>(topic, null, null, bytes("k" + i % 10), bytes("{\"n\":" + i + "}"));
                record.headers().add("h", bytes("1")).add("h", bytes("2")).add("none", null);
                producer.send(record);
            }
            producer.flush();
        }
        say("produced", count);
    }

    // plan: "commit:3,abort:2,open:1"; values are <outcome>-<i>. Waits for its standard input to end before it goes, so
    // that an open transaction stays open.
    static void transactions(String topic, String id, String plan) throws Exception {
        var producer = producer("transactional.id", id, "transaction.timeout.ms", "60000");
        producer.initTransactions();
        for (String step : plan.split(",")) {
            String outcome = step.split(":")[0];
            int count = Integer.parseInt(step.split(":")[1]);
            producer.beginTransaction();
            for (int i = 0; i < count; i++)
                producer.send(new ProducerRecord<>(topic, 0, bytes(outcome), bytes("\"" + outcome + "-" + i + "\"")));
            producer.flush();
            if (outcome.equals("commit")) producer.commitTransaction();
            if (outcome.equals("abort")) producer.abortTransaction();
            say("transaction", outcome, count);
        }
        say("ready");
        System.in.readAllBytes();
    }

    static String nameOf(Throwable error) {
        var cause = error instanceof java.util.concurrent.ExecutionException ? error.getCause() : error;
        return cause.getClass().getSimpleName();
    }

    static void send(KafkaProducer<byte[], byte[]> producer, String topic, String value) {
        producer.send(new ProducerRecord<>(topic, 0, null, bytes(value)));
        producer.flush();
    }

    // Two producers with one transactional id: the second takes over while the first has a transaction open.
    static void zombie(String topic, String id) {
        var zombie = producer("transactional.id", id);
        zombie.initTransactions();
        zombie.beginTransaction();
        send(zombie, topic, "lost");
        var successor = producer("transactional.id", id);
        successor.initTransactions();
        successor.beginTransaction();
        send(successor, topic, "kept");
        try {
            zombie.commitTransaction();
            say("zombie", "committed");
        } catch (KafkaException error) {
            say("zombie", nameOf(error));
        }
        successor.commitTransaction();
        say("successor", "committed");
    }

    // A transaction that outlives its timeout, and the next one of the same producer.
    static void slow(String topic, String id) throws Exception {
        var producer = producer("transactional.id", id, "transaction.timeout.ms", "1000");
        producer.initTransactions();
        producer.beginTransaction();
        send(producer, topic, "late");
        try (var admin = Admin.create(properties())) {
            for (int i = 0; i < 600; i++) {
                var state = admin.describeTransactions(List.of(id)).description(id).get().state();
                if (state != TransactionState.ONGOING) break;
                Thread.sleep(100);
            }
        }
        try {
            producer.commitTransaction();
            say("slow", "committed");
        } catch (KafkaException error) {
            say("slow", nameOf(error));
        }
        try {
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, topic, "later");
            producer.commitTransaction();
            say("next", "committed");
        } catch (KafkaException error) {
            say("next", nameOf(error));
        }
    }

    // Consume, transform, produce with a group's generation (KIP-447): each value is sent on as <value>!, and its
    // offset is committed with it. Every other transaction is aborted first, and done again.
    static void transform(String from, String to, String group, String id, int count) {
        var consumer = consumer("group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "isolation.level", "read_committed", "max.poll.records", "7");
        var producer = producer("transactional.id", id);
        producer.initTransactions();
        consumer.subscribe(List.of(from));
        int done = 0;
        boolean abort = true;
        while (done < count) {
            var records = consumer.poll(Duration.ofMillis(200));
            if (records.isEmpty()) continue;
            producer.beginTransaction();
            for (var record : records) {
                String value = new String(record.value(), StandardCharsets.UTF_8) + "!";
                producer.send(new ProducerRecord<>(to, record.key(), bytes(value)));
            }
            producer.sendOffsetsToTransaction(records.nextOffsets(), consumer.groupMetadata());
            if (abort) {
                producer.abortTransaction();
                for (var partition : records.partitions())
                    consumer.seek(partition, records.records(partition).get(0).offset());
            } else {
                producer.commitTransaction();
                done += records.count();
            }
            abort = !abort;
        }
        consumer.close();
        say("transformed", done);
    }

    // What an operator does about a transaction that hangs: finds it, looks at it, ends it; and fences a producer.
    static void operate(String topic, String id) throws Exception {
        var partition = new TopicPartition(topic, 0);
        var producer = producer("transactional.id", id);
        producer.initTransactions();
        producer.beginTransaction();
        send(producer, topic, "hangs");
        try (var admin = Admin.create(properties())) {
            var mine = admin.listTransactions().all().get().stream().filter(one -> one.transactionalId().equals(id)).findFirst();
            say("listed", mine.get().state());
            var described = admin.describeTransactions(List.of(id)).description(id).get();
            say("described", described.state(), described.topicPartitions().equals(Set.of(partition)));
            var active = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers().get(0);
            say("producing", active.producerId() == described.producerId(), active.lastSequence(), active.currentTransactionStartOffset().getAsLong());
            admin.abortTransaction(new AbortTransactionSpec(partition, active.producerId(), (short) active.producerEpoch(),
                active.coordinatorEpoch().orElse(0))).all().get();
            say("stable", admin.listOffsets(Map.of(partition, OffsetSpec.latest()), new ListOffsetsOptions(IsolationLevel.READ_COMMITTED))
                .partitionResult(partition).get().offset());
            admin.fenceProducers(List.of(id)).all().get();
        }
        try {
            producer.commitTransaction();
            say("fenced", "committed");
        } catch (KafkaException error) {
            say("fenced", nameOf(error));
        }
    }

    static void print(ConsumerRecord<byte[], byte[]> record) {
        String headers = StreamSupport.stream(record.headers().spliterator(), false)
            .map(header -> header.key() + base64(header.value())).collect(Collectors.joining(","));
        say("record", record.topic(), record.partition(), record.offset(), record.timestamp(),
            base64(record.key()), base64(record.value()), headers);
    }

    // All partitions from the beginning, until `count` records came or 20 s without any.
    static void consume(String topic, int count, String isolation) {
        try (var consumer = consumer("isolation.level", isolation, "auto.offset.reset", "earliest", "check.crcs", "true")) {
            consumer.assign(consumer.partitionsFor(topic).stream()
                .map(info -> new TopicPartition(topic, info.partition())).toList());
            consumer.seekToBeginning(consumer.assignment());
            int seen = 0;
            long last = System.nanoTime();
            while (seen < count && System.nanoTime() - last < TimeUnit.SECONDS.toNanos(20)) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    print(record);
                    seen++;
                    last = System.nanoTime();
                }
            }
        }
        say("end");
    }

    // Dead letters, their headers read as Spring Kafka's users read them (KafkaHeaders.DLT_*).
    static void letters(String topic, int count) {
        try (var consumer = consumer("auto.offset.reset", "earliest")) {
            consumer.assign(consumer.partitionsFor(topic).stream()
                .map(info -> new TopicPartition(topic, info.partition())).toList());
            consumer.seekToBeginning(consumer.assignment());
            int seen = 0;
            long last = System.nanoTime();
            while (seen < count && System.nanoTime() - last < TimeUnit.SECONDS.toNanos(20)) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    var headers = record.headers();
                    say("letter", record.partition(), new String(record.value()),
                        new String(headers.lastHeader("kafka_dlt-original-topic").value()),
                        ByteBuffer.wrap(headers.lastHeader("kafka_dlt-original-partition").value()).getInt(),
                        ByteBuffer.wrap(headers.lastHeader("kafka_dlt-original-offset").value()).getLong(),
                        ByteBuffer.wrap(headers.lastHeader("kafka_dlt-original-timestamp").value()).getLong(),
                        new String(headers.lastHeader("kafka_dlt-original-timestamp-type").value()),
                        new String(headers.lastHeader("kafka_dlt-original-consumer-group").value()),
                        new String(headers.lastHeader("kafka_dlt-exception-fqcn").value()),
                        new String(headers.lastHeader("kafka_dlt-exception-message").value()));
                    seen++;
                    last = System.nanoTime();
                }
            }
        }
        say("end");
    }

    static void committed(String group, String topic) throws Exception {
        try (var admin = Admin.create(properties())) {
            admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((partition, offset) -> {
                if (partition.topic().equals(topic) && offset != null)
                    say("committed", partition.partition(), offset.offset(), base64(bytes(offset.metadata())));
            });
        }
        say("end");
    }

    // A member of a group that says what it is assigned and what it reads, commits, and leaves when its input ends.
    static void member(String group, String topic, String assignor) throws Exception {
        var names = Map.of(
            "range", "org.apache.kafka.clients.consumer.RangeAssignor",
            "roundrobin", "org.apache.kafka.clients.consumer.RoundRobinAssignor",
            "sticky", "org.apache.kafka.clients.consumer.StickyAssignor",
            "cooperative-sticky", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        String assignors = Arrays.stream(assignor.split(",")).map(names::get).collect(Collectors.joining(","));
        // With KIP-848 the coordinator decides the rest.
        var consumer = assignor.equals("consumer")
            ? consumer("group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
                "group.protocol", "consumer")
            : consumer("group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
                "partition.assignment.strategy", assignors, "session.timeout.ms", "6000", "heartbeat.interval.ms", "500");
        var listener = new ConsumerRebalanceListener() {
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) { tell("assigned", partitions); }
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) { tell("revoked", partitions); }
            public void onPartitionsLost(Collection<TopicPartition> partitions) { tell("lost", partitions); }
            void tell(String what, Collection<TopicPartition> partitions) {
                say(what, partitions.stream().map(TopicPartition::partition).sorted().map(String::valueOf)
                    .collect(Collectors.joining(",")));
            }
        };
        consumer.subscribe(List.of(topic), listener);
        var ended = new java.util.concurrent.atomic.AtomicBoolean();
        var input = new Thread(() -> {
            try { System.in.readAllBytes(); } catch (Exception ignored) { }
            ended.set(true);
            consumer.wakeup();
        });
        input.setDaemon(true);
        input.start();
        try {
            while (!ended.get()) {
                var records = consumer.poll(Duration.ofMillis(100));
                for (var record : records) print(record);
                try {
                    if (!records.isEmpty()) consumer.commitSync();
                } catch (org.apache.kafka.common.errors.RebalanceInProgressException later) {
                    // Partitions that stay are committed with the next records.
                } catch (org.apache.kafka.clients.consumer.CommitFailedException later) {
                    // By KIP-848 a commit may meet a new epoch before this client hears of it (STALE_MEMBER_EPOCH).
                    if (!assignor.equals("consumer")) throw later;
                }
            }
        } catch (org.apache.kafka.common.errors.WakeupException stop) {
            // The input ended.
        }
        consumer.close();
        say("left");
    }

    // Takes a permission from every client: `deny topic:NAME READ`, `deny group:NAME READ`, `deny topic:NAME WRITE`.
    static void deny(String resource, String operation) throws Exception {
        var type = resource.startsWith("topic:") ? ResourceType.TOPIC : ResourceType.GROUP;
        var pattern = new ResourcePattern(type, resource.substring(6), PatternType.LITERAL);
        var entry = new AccessControlEntry("User:ANONYMOUS", "*", AclOperation.valueOf(operation), AclPermissionType.DENY);
        try (var admin = Admin.create(properties())) {
            admin.createAcls(List.of(new AclBinding(pattern, entry))).all().get();
        }
        say("denied");
    }

    // Moves the leader of partition 0 of `topic` to node `id`: reassigns with it first, then elects.
    static void elect(String topic, int id) throws Exception {
        var partition = new TopicPartition(topic, 0);
        try (var admin = Admin.create(properties())) {
            var replicas = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().get(0)
                .replicas().stream().map(Node::id).filter(node -> node != id).collect(Collectors.toList());
            replicas.add(0, id);
            admin.alterPartitionReassignments(Map.of(partition, Optional.of(new NewPartitionReassignment(replicas)))).all().get();
            for (int i = 0; i < 100; i++) {
                try {
                    admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).all().get();
                } catch (Exception notYet) {
                    // Not in sync yet, or it leads already.
                }
                var leader = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().get(0).leader();
                if (leader != null && leader.id() == id) {
                    say("leader", id);
                    return;
                }
                Thread.sleep(100);
            }
        }
        throw new IllegalStateException("the leader did not move");
    }
}
