use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
async fn by_type<T: Send>(_: T) {}

#[kafka_listener(topic = "orders")]
async fn by_constant<const N: usize>(_: [u8; N]) {}

#[kafka_listener(topic = "orders")]
async fn by_impl(_: impl Send, _: Key<Option<impl Send>>) {}

fn main() {
    drop(by_type(1));
    drop(by_constant([1]));
}
