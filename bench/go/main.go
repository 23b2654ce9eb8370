// franz-go and kafka-go with encoding/json, as consumers of a group that commits.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

type item struct {
	Sku      string `json:"sku"`
	Quantity uint32 `json:"quantity"`
	Cents    uint64 `json:"cents"`
}

type order struct {
	ID         uint64  `json:"id"`
	Customer   string  `json:"customer"`
	Currency   string  `json:"currency"`
	TotalCents uint64  `json:"total_cents"`
	CreatedAt  string  `json:"created_at"`
	Note       *string `json:"note"`
	Items      []item  `json:"items"`
}

var count, sum, records uint64

func handle(value []byte) {
	var decoded order
	if err := json.Unmarshal(value, &decoded); err != nil {
		panic(err)
	}
	sum += decoded.TotalCents
	count++
	if count == 1 {
		fmt.Println("first")
	}
	if count == records {
		fmt.Println("done", count, sum)
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
}

func main() {
	servers := strings.Split(os.Getenv("BENCH_SERVERS"), ",")
	topic, group := os.Getenv("BENCH_TOPIC"), os.Getenv("BENCH_GROUP")
	records, _ = strconv.ParseUint(os.Getenv("BENCH_RECORDS"), 10, 64)
	if strings.HasSuffix(os.Args[1], "-latency") {
		latency(os.Args[1], servers, topic, group)
		return
	}
	ctx := context.Background()
	if os.Args[1] == "franz" {
		client, err := kgo.NewClient(kgo.SeedBrokers(servers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			panic(err)
		}
		for {
			client.PollFetches(ctx).EachRecord(func(record *kgo.Record) { handle(record.Value) })
		}
	}
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: servers, GroupID: group, Topic: topic,
		StartOffset: kafka.FirstOffset, CommitInterval: 1e9, MinBytes: 1, MaxBytes: 10e6})
	for {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			panic(err)
		}
		handle(message.Value)
	}
}
