// Where Go's clients place keys: `main place COUNT KEY..` prints `NAME KEY PARTITION` for each of their partitioners.
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
)

func place() {
	count, err := strconv.Atoi(os.Args[2])
	check(err)
	partitions := make([]int, count)
	for partition := range partitions {
		partitions[partition] = partition
	}
	balancers := map[string]kafka.Balancer{
		"kafka_go_hash": &kafka.Hash{}, "kafka_go_reference_hash": &kafka.ReferenceHash{},
		"kafka_go_crc32": kafka.CRC32Balancer{}, "kafka_go_murmur2": kafka.Murmur2Balancer{},
	}
	partitioners := map[string]sarama.Partitioner{
		"sarama_hash": sarama.NewHashPartitioner("t"), "sarama_reference_hash": sarama.NewReferenceHashPartitioner("t"),
	}
	for _, key := range os.Args[3:] {
		for name, balancer := range balancers {
			fmt.Println(name, key, balancer.Balance(kafka.Message{Key: []byte(key)}, partitions...))
		}
		for name, partitioner := range partitioners {
			message := &sarama.ProducerMessage{Key: sarama.StringEncoder(key)}
			partition, err := partitioner.Partition(message, int32(count))
			check(err)
			fmt.Println(name, key, partition)
		}
	}
}
