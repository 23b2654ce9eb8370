package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// read: the first records of a topic's two partitions, as each of the clients opens them: how many values there are, and
// what headers the last one has. `main read SERVERS TOPIC COUNT`.
func read(ctx context.Context, servers []string, topic, count string) {
	wanted, err := strconv.Atoi(count)
	check(err)
	franz, err := kgo.NewClient(kgo.SeedBrokers(servers...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	check(err)
	seen, headers := map[string]bool{}, ""
	for len(seen) < wanted {
		fetches := franz.PollFetches(ctx)
		for _, failed := range fetches.Errors() {
			check(failed.Err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			seen[string(record.Value)], headers = true, ""
			for _, header := range record.Headers {
				headers += header.Key + "=" + string(header.Value) + ","
			}
		})
	}
	franz.Close()
	fmt.Println("franz-go", len(seen), headers)

	seen, headers = map[string]bool{}, ""
	for partition := 0; partition < 2; partition++ {
		connection, err := kafka.DialLeader(ctx, "tcp", servers[0], topic, partition)
		check(err)
		end, err := connection.ReadLastOffset()
		check(err)
		check(connection.Close())
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: servers, Topic: topic, Partition: partition,
			MaxWait: 100 * time.Millisecond})
		for offset := int64(-1); offset < end-1; {
			message, err := reader.ReadMessage(ctx)
			check(err)
			offset, headers = message.Offset, ""
			seen[string(message.Value)] = true
			for _, header := range message.Headers {
				headers += header.Key + "=" + string(header.Value) + ","
			}
		}
		check(reader.Close())
	}
	fmt.Println("kafka-go", len(seen), headers)
}
