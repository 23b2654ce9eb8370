"""librdkafka (confluent-kafka) as a peer of the suite; speaks the language of Peer.java.

peer.py COMMAND SERVERS ARGUMENT...
"""

import base64
import json
import signal
import sys
import threading
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient


def say(*words):
    print("\t".join(str(word) for word in words), flush=True)


def encoded(data):
    return "-" if data is None else "=" + base64.b64encode(data).decode()


def show(message):
    headers = ",".join(name + encoded(value) for name, value in message.headers() or [])
    say("record", message.topic(), message.partition(), message.offset(), message.timestamp()[1],
        encoded(message.key()), encoded(message.value()), headers)


def produce(servers, topic, count, codec):
    producer = Producer({"bootstrap.servers": servers, "compression.type": codec, "linger.ms": 5,
                         "enable.idempotence": True})
    for i in range(int(count)):
        producer.produce(topic, key=f"k{i % 10}", value=f'{{"n":{i}}}',
                         headers=[("h", b"1"), ("h", b"2"), ("none", None)])
        producer.poll(0)
    producer.flush()
    say("produced", count)


# Keys k0, k1...: where this partitioner puts each.
def place(servers, topic, partitioner, count):
    producer = Producer({"bootstrap.servers": servers, "partitioner": partitioner})

    def delivered(error, message):
        say("failed" if error else "placed", message.key().decode(), message.partition())
    for i in range(int(count)):
        producer.produce(topic, key=f"k{i}", value=b"v", on_delivery=delivered)
    producer.flush()


def transactional(servers, identity, **options):
    return Producer({"bootstrap.servers": servers, "transactional.id": identity, **options})


def send(producer, topic, value, key=None):
    producer.produce(topic, partition=0, value=value, key=key)
    producer.flush()


def transactions(servers, topic, identity, plan):
    producer = transactional(servers, identity)
    producer.init_transactions()
    for step in plan.split(","):
        outcome, count = step.split(":")
        producer.begin_transaction()
        for i in range(int(count)):
            send(producer, topic, f'"{outcome}-{i}"', key=outcome)
        if outcome == "commit":
            producer.commit_transaction()
        if outcome == "abort":
            producer.abort_transaction()
        say("transaction", outcome, count)
    say("ready")
    sys.stdin.read()


def zombie(servers, topic, identity):
    first = transactional(servers, identity)
    first.init_transactions()
    first.begin_transaction()
    send(first, topic, "lost")
    successor = transactional(servers, identity)
    successor.init_transactions()
    successor.begin_transaction()
    send(successor, topic, "kept")
    try:
        first.commit_transaction()
        say("zombie", "committed")
    except KafkaException as error:
        say("zombie", error.args[0].name())
    successor.commit_transaction()
    say("successor", "committed")


def transform(servers, source, target, group, identity, count):
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "isolation.level": "read_committed"})
    producer = transactional(servers, identity)
    producer.init_transactions()
    consumer.subscribe([source])
    done, abort = 0, True
    while done < int(count):
        messages = [message for message in consumer.consume(7, 0.2) if not message.error()]
        if not messages:
            continue
        producer.begin_transaction()
        for message in messages:
            producer.produce(target, key=message.key(), value=message.value().decode() + "!")
        offsets = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        if abort:
            producer.abort_transaction()
            first = {}
            for message in messages:
                first.setdefault(message.partition(), message.offset())
            for partition, offset in first.items():
                consumer.seek(TopicPartition(source, partition, offset))
        else:
            producer.commit_transaction()
            done += len(messages)
        abort = not abort
    consumer.close()
    say("transformed", done)


def consume(servers, topic, count, isolation):
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "peer", "isolation.level": isolation,
                         "enable.auto.commit": False, "check.crcs": True})
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    seen, last = 0, time.monotonic()
    while seen < int(count) and time.monotonic() - last < 20:
        message = consumer.poll(0.2)
        if message is None or message.error():
            continue
        show(message)
        seen, last = seen + 1, time.monotonic()
    consumer.close()
    say("end")


def committed(servers, group, topic):
    admin = AdminClient({"bootstrap.servers": servers})
    answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(timeout=20)
    for found in answer.topic_partitions:
        if found.topic == topic and found.offset >= 0:
            say("committed", found.partition, found.offset, encoded((found.metadata or "").encode()))
    say("end")


def member(servers, group, topic, assignor):
    # With KIP-848 the coordinator decides the rest.
    own = {"group.protocol": "consumer"} if assignor == "consumer" else {
        "partition.assignment.strategy": assignor, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, **own})

    def tell(what):
        def listener(consumer, partitions):
            say(what, ",".join(str(p) for p in sorted(p.partition for p in partitions)))
        return listener

    consumer.subscribe([topic], on_assign=tell("assigned"), on_revoke=tell("revoked"), on_lost=tell("lost"))
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        message = consumer.poll(0.1)
        if message is None or message.error():
            continue
        show(message)
        try:
            consumer.commit(message, asynchronous=False)
        except KafkaException as error:
            # Partitions that stay are committed with the next records.
            if error.args[0].code() not in (KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION,
                                            KafkaError.STALE_MEMBER_EPOCH):
                raise
    consumer.close()
    say("left")


def steady(servers, group, topic, session, heartbeat, instance=""):
    """A member that says what it handles, until SIGTERM."""
    config = {"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest",
              "enable.auto.commit": False, "session.timeout.ms": int(session),
              "heartbeat.interval.ms": int(heartbeat)}
    if instance:
        config["group.instance.id"] = instance
    consumer = Consumer(config)
    consumer.subscribe([topic])
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    last = time.monotonic()
    while not ended.is_set():
        message = consumer.poll(0.02)
        if message is not None and not message.error():
            say("handled", message.partition(), message.offset(), json.loads(message.value())["n"])
        if time.monotonic() - last > 0.5:
            last = time.monotonic()
            try:
                consumer.commit(asynchronous=True)
            except KafkaException:
                pass
    consumer.close()
    say("left")


if __name__ == "__main__":
    {"produce": produce, "place": place, "consume": consume, "committed": committed, "member": member, "steady": steady, "transactions": transactions,
     "zombie": zombie, "transform": transform}[sys.argv[1]](*sys.argv[2:])
