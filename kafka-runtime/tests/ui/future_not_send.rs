use kafka_runtime::prelude::*;

use std::rc::Rc;

#[kafka_listener(topic = "orders")]
async fn listener(text: String) {
    let counted = Rc::new(text);
    std::future::ready(()).await;
    drop(counted);
}

fn main() {}
