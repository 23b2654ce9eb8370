package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transform: what `topic` has goes to another topic, each page in a transaction with the group's offsets (KIP-447).
func transform(ctx context.Context, servers []string, topic, group string) {
	out := topic + "-out"
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(servers...), kgo.TransactionalID(group),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(2000), kgo.DefaultProduceTopic(out))
	check(err)
	create(ctx, session.Client(), out)
	for done := 0; done < records; {
		fetches := session.PollFetches(ctx)
		check(ctx.Err())
		check(session.Begin())
		page := 0
		fetches.EachRecord(func(record *kgo.Record) {
			page++
			session.Produce(ctx, kgo.SliceRecord(record.Value), func(_ *kgo.Record, err error) { check(err) })
		})
		committed, err := session.End(ctx, kgo.TryCommit)
		check(err)
		if committed {
			done += page
		}
	}
	session.Close()
	fmt.Println("transformed", count(ctx, servers, out, kgo.ReadCommitted()))
}

// administer: configs, partitions, offsets in the log, deleted records, groups, a topic's end.
func administer(ctx context.Context, servers []string, topic, group string) {
	admin, err := kgo.NewClient(kgo.SeedBrokers(servers...))
	check(err)
	defer admin.Close()

	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "retention.ms", kmsg.StringPtr("12345678")
	resource.Configs = append(resource.Configs, config)
	alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
	alter.Resources = append(alter.Resources, resource)
	altered, err := alter.RequestWith(ctx, admin)
	check(err)
	check(kerr.ErrorForCode(altered.Resources[0].ErrorCode))
	until(ctx, "config", "12345678", func() string { return retention(ctx, admin, topic) })

	grow := kmsg.NewPtrCreatePartitionsRequest()
	wanted := kmsg.NewCreatePartitionsRequestTopic()
	wanted.Topic, wanted.Count = topic, 4
	grow.Topics = append(grow.Topics, wanted)
	grown, err := grow.RequestWith(ctx, admin)
	check(err)
	check(kerr.ErrorForCode(grown.Topics[0].ErrorCode))
	until(ctx, "partitions", "4", func() string {
		metadata := kmsg.NewPtrMetadataRequest()
		asked := kmsg.NewMetadataRequestTopic()
		asked.Topic = kmsg.StringPtr(topic)
		metadata.Topics = append(metadata.Topics, asked)
		found, err := metadata.RequestWith(ctx, admin)
		check(err)
		return fmt.Sprint(len(found.Topics[0].Partitions))
	})

	fmt.Println("ends", offsets(ctx, admin, topic, -1))
	remove := kmsg.NewPtrDeleteRecordsRequest()
	remove.TimeoutMillis = 10000
	of := kmsg.NewDeleteRecordsRequestTopic()
	of.Topic = topic
	for partition := int32(0); partition < 3; partition++ {
		part := kmsg.NewDeleteRecordsRequestTopicPartition()
		part.Partition, part.Offset = partition, -1
		of.Partitions = append(of.Partitions, part)
	}
	remove.Topics = append(remove.Topics, of)
	removed, err := remove.RequestWith(ctx, admin)
	check(err)
	for _, part := range removed.Topics[0].Partitions {
		check(kerr.ErrorForCode(part.ErrorCode))
	}
	fmt.Println("starts", offsets(ctx, admin, topic, -2))

	deleteGroups := kmsg.NewPtrDeleteGroupsRequest()
	deleteGroups.Groups = []string{group}
	until(ctx, "group", "deleted", func() string {
		deleted, err := deleteGroups.RequestWith(ctx, admin)
		check(err)
		if err := kerr.ErrorForCode(deleted.Groups[0].ErrorCode); err != nil {
			return err.Error()
		}
		return "deleted"
	})
	drop := kmsg.NewPtrDeleteTopicsRequest()
	named := kmsg.NewDeleteTopicsRequestTopic()
	named.Topic = kmsg.StringPtr(topic)
	drop.Topics, drop.TopicNames = append(drop.Topics, named), []string{topic}
	dropped, err := drop.RequestWith(ctx, admin)
	check(err)
	check(kerr.ErrorForCode(dropped.Topics[0].ErrorCode))
	fmt.Println("topic deleted")
}

// until asks again until the answer is the expected one, which it says.
func until(ctx context.Context, what, expected string, ask func() string) {
	for {
		found := ask()
		if found == expected {
			fmt.Println(what, found)
			return
		}
		select {
		case <-ctx.Done():
			check(fmt.Errorf("%s is %s", what, found))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func retention(ctx context.Context, admin *kgo.Client, topic string) string {
	request := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	resource.ConfigNames = []string{"retention.ms"}
	request.Resources = append(request.Resources, resource)
	found, err := request.RequestWith(ctx, admin)
	check(err)
	return *found.Resources[0].Configs[0].Value
}

// offsets: the sum over the first three partitions of where they begin (-2) or end (-1).
func offsets(ctx context.Context, admin *kgo.Client, topic string, timestamp int64) int64 {
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID = -1
	of := kmsg.NewListOffsetsRequestTopic()
	of.Topic = topic
	for partition := int32(0); partition < 3; partition++ {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = partition, timestamp
		of.Partitions = append(of.Partitions, part)
	}
	request.Topics = append(request.Topics, of)
	found, err := request.RequestWith(ctx, admin)
	check(err)
	sum := int64(0)
	for _, part := range found.Topics[0].Partitions {
		check(kerr.ErrorForCode(part.ErrorCode))
		sum += part.Offset
	}
	return sum
}

// count reads a topic until nothing comes any more.
func count(ctx context.Context, servers []string, topic string, isolation kgo.IsolationLevel) int {
	reader, err := kgo.NewClient(kgo.SeedBrokers(servers...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(isolation),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	check(err)
	defer reader.Close()
	seen := 0
	for quiet := 0; quiet < 5; {
		polling, stop := context.WithTimeout(ctx, 400*time.Millisecond)
		before := seen
		reader.PollFetches(polling).EachRecord(func(*kgo.Record) { seen++ })
		stop()
		if seen == before {
			quiet++
		}
	}
	return seen
}
