package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

const warmUp = 200

// measure sends order after order and waits until each has come back.
func measure(count int, send func(order), arrived <-chan uint64) {
	figures := make([]int64, 0, count)
	for n := 0; n < warmUp+count; n++ {
		sent := order{ID: uint64(1_000_000 + n), Customer: fmt.Sprintf("customer-%05d", n*7919%10007), Currency: "EUR",
			TotalCents: uint64(100 + n%9000), CreatedAt: "2026-11-21T10:15:30.123Z",
			Items: []item{{"SKU-000001", 1, 10}, {"SKU-000002", 2, 11}, {"SKU-000003", 3, 12}}}
		started := time.Now()
		send(sent)
		for <-arrived != sent.ID {
		}
		if n >= warmUp {
			figures = append(figures, time.Since(started).Microseconds())
		}
	}
	sort.Slice(figures, func(a, b int) bool { return figures[a] < figures[b] })
	fmt.Println("latency", figures[len(figures)/2], figures[len(figures)*99/100])
}

func createTopic(servers []string, topic string, partitions int) {
	connection, err := kafka.Dial("tcp", servers[0])
	if err != nil {
		panic(err)
	}
	controller, err := connection.Controller()
	if err != nil {
		panic(err)
	}
	admin, err := kafka.Dial("tcp", fmt.Sprintf("%s:%d", controller.Host, controller.Port))
	if err != nil {
		panic(err)
	}
	if err := admin.CreateTopics(kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}); err != nil {
		panic(err)
	}
}

func id(value []byte) uint64 {
	var decoded order
	if err := json.Unmarshal(value, &decoded); err != nil {
		panic(err)
	}
	return decoded.ID
}

func latency(mode string, servers []string, topic, group string) {
	ctx := context.Background()
	partitions, _ := strconv.Atoi(os.Getenv("BENCH_PARTITIONS"))
	createTopic(servers, topic, partitions)
	arrived := make(chan uint64, 16)
	if mode == "franz-latency" {
		client, err := kgo.NewClient(kgo.SeedBrokers(servers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			panic(err)
		}
		go func() {
			for {
				client.PollFetches(ctx).EachRecord(func(record *kgo.Record) { arrived <- id(record.Value) })
			}
		}()
		measure(int(records), func(sent order) {
			value, _ := json.Marshal(sent)
			record := &kgo.Record{Topic: topic, Key: []byte(sent.Customer), Value: value}
			if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
				panic(err)
			}
		}, arrived)
		return
	}
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: servers, GroupID: group, Topic: topic,
		StartOffset: kafka.FirstOffset, CommitInterval: 1e9, MinBytes: 1, MaxBytes: 10e6})
	go func() {
		for {
			message, err := reader.ReadMessage(ctx)
			if err != nil {
				panic(err)
			}
			arrived <- id(message.Value)
		}
	}()
	writer := &kafka.Writer{Addr: kafka.TCP(servers...), Topic: topic, Balancer: &kafka.Hash{}, RequiredAcks: kafka.RequireAll,
		BatchTimeout: time.Millisecond}
	measure(int(records), func(sent order) {
		value, _ := json.Marshal(sent)
		if err := writer.WriteMessages(ctx, kafka.Message{Key: []byte(sent.Customer), Value: value}); err != nil {
			panic(err)
		}
	}, arrived)
}
