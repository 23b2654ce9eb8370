//! Members on a broker: set `KAFKA_BOOTSTRAP_SERVERS` (`scripts/with-kafka cargo test -p kafka-client group`).
