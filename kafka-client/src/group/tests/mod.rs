//! The driver, the coordinator and offsets, against brokers of the test and against Apache Kafka.

mod against_kafka;
mod broker;
mod lives;
mod offsets;
