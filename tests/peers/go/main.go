// kafka-go and franz-go as peers: each creates a topic, produces, consumes as members of a group, commits, and reads
// the commits; franz-go runs transactions, transforms exactly once and administers too. `main CLIENT SERVERS TOPIC GROUP`
// says what it saw, a line for each; `main read ..` (read.go) only reads, `main place COUNT KEY..` (place.go) needs no cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const records = 300

func check(err error) {
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func main() {
	if os.Args[1] == "place" {
		place()
		return
	}
	servers, topic, group := strings.Split(os.Args[2], ","), os.Args[3], os.Args[4]
	context, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	switch os.Args[1] {
	case "read":
		read(context, servers, topic, group)
	case "kafka-go":
		segmentio(context, servers, topic, group)
	case "franz-go":
		franz(context, servers, topic, group)
		transactions(context, servers, topic+"-tx")
		transform(context, servers, topic, group+"-transform")
		administer(context, servers, topic, group)
	}
}

func segmentio(ctx context.Context, servers []string, topic, group string) {
	client := &kafka.Client{Addr: kafka.TCP(servers...), Timeout: 30 * time.Second}
	created, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 3, ReplicationFactor: 1}}})
	check(err)
	check(created.Errors[topic])
	writer := &kafka.Writer{Addr: kafka.TCP(servers...), Topic: topic, Balancer: &kafka.Hash{}, Compression: kafka.Lz4,
		RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond, MaxAttempts: 20}
	var messages []kafka.Message
	for n := 0; n < records; n++ {
		messages = append(messages, kafka.Message{Key: []byte(fmt.Sprint("k", n%7)), Value: []byte(fmt.Sprint(n)),
			Headers: []kafka.Header{{Key: "h", Value: []byte("1")}}})
	}
	check(writer.WriteMessages(ctx, messages...))
	check(writer.Close())
	seen := map[string]int{}
	for member := 0; member < 2; member++ {
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: servers, Topic: topic, GroupID: group,
			StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond})
		for n := 0; n < records/2; n++ {
			message, err := reader.FetchMessage(ctx)
			check(err)
			seen[string(message.Value)]++
			check(reader.CommitMessages(ctx, message))
		}
		check(reader.Close())
	}
	fmt.Println("consumed", len(seen))
	offsets, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1, 2}}})
	check(err)
	sum := int64(0)
	for _, partition := range offsets.Topics[topic] {
		if partition.CommittedOffset > 0 {
			sum += partition.CommittedOffset
		}
	}
	fmt.Println("committed", sum)
	described, err := client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	check(err)
	fmt.Println("group", described.Groups[0].GroupState)
	ends, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.LastOffsetOf(0), kafka.LastOffsetOf(1), kafka.LastOffsetOf(2)}}})
	check(err)
	sum = 0
	for _, partition := range ends.Topics[topic] {
		check(partition.Error)
		sum += partition.LastOffset
	}
	fmt.Println("ends", sum)
	altered, err := client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "12345678",
				ConfigOperation: kafka.ConfigOperationSet}}}}})
	check(err)
	check(altered.Resources[0].Error)
	grown, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 4}}})
	check(err)
	check(grown.Errors[topic])
	deleted, err := client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	check(err)
	check(deleted.Errors[group])
	dropped, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	check(err)
	check(dropped.Errors[topic])
	fmt.Println("administered")
}

func franz(ctx context.Context, servers []string, topic, group string) {
	admin, err := kgo.NewClient(kgo.SeedBrokers(servers...))
	check(err)
	create(ctx, admin, topic)
	producer, err := kgo.NewClient(kgo.SeedBrokers(servers...), kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	check(err)
	for n := 0; n < records; n++ {
		producer.Produce(ctx, kgo.KeySliceRecord([]byte(fmt.Sprint("k", n%7)), []byte(fmt.Sprint(n))),
			func(_ *kgo.Record, err error) { check(err) })
	}
	check(producer.Flush(ctx))
	producer.Close()
	member := func(options ...kgo.Opt) *kgo.Client {
		options = append(options, kgo.SeedBrokers(servers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.FetchMaxWait(100*time.Millisecond))
		client, err := kgo.NewClient(options...)
		check(err)
		return client
	}
	seen := map[string]int{}
	one := member()
	other := member(kgo.Balancers(kgo.CooperativeStickyBalancer()))
	for len(seen) < records {
		for _, client := range []*kgo.Client{one, other} {
			polling, stop := context.WithTimeout(ctx, 200*time.Millisecond)
			fetches := client.PollFetches(polling)
			stop()
			check(ctx.Err())
			fetches.EachRecord(func(record *kgo.Record) { seen[string(record.Value)]++ })
			err := client.CommitUncommittedOffsets(ctx)
			if err != nil && !errors.Is(err, kerr.RebalanceInProgress) && !errors.Is(err, kerr.IllegalGeneration) {
				check(err)
			}
		}
	}
	fmt.Println("consumed", len(seen))
	one.Close()
	other.Close()
	admin.Close()
}

func create(ctx context.Context, admin *kgo.Client, topic string) {
	request := kmsg.NewPtrCreateTopicsRequest()
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic, 3, 1
	request.Topics = append(request.Topics, wanted)
	response, err := request.RequestWith(ctx, admin)
	check(err)
	check(kerr.ErrorForCode(response.Topics[0].ErrorCode))
}

// transactions: one is committed, one aborted; a reader of committed records sees the first alone.
func transactions(ctx context.Context, servers []string, topic string) {
	producer, err := kgo.NewClient(kgo.SeedBrokers(servers...), kgo.DefaultProduceTopic(topic), kgo.TransactionalID(topic))
	check(err)
	create(ctx, producer, topic)
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		check(producer.BeginTransaction())
		for n := 0; n < 10; n++ {
			check(producer.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(commit, "-", n))).FirstErr())
		}
		check(producer.EndTransaction(ctx, commit))
	}
	producer.Close()
	fmt.Println("transactions", count(ctx, servers, topic, kgo.ReadUncommitted()), count(ctx, servers, topic, kgo.ReadCommitted()))
}
