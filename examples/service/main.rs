//! An HTTP service beside its listeners: `GET /hello` sends a text and a user, two listeners receive them; `GET /health`
//! is for whoever restarts it, `GET /lag` for whoever watches it.
//!
//! It runs on a cluster; without one: `cargo run -p kafka-embedded -- --listen 127.0.0.1:9092`, and then
//! `cargo run --bin service` and `curl localhost:9991/hello`.

use std::time::Duration;

use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use kafka_runtime::container::PartitionLag;
use kafka_runtime::prelude::*;

#[derive(Debug, Serialize, Deserialize)]
struct User {
    name: String,
    age: u8,
}

// No group: it comes from spring.kafka.consumer.group-id.
#[kafka_listener(topic = "greetings")]
async fn greeting(text: String, meta: Metadata) {
    println!("greeting: {text} (offset {})", meta.offset());
}

#[kafka_listener(topic = "users")]
async fn user(user: User, key: Key<String>) {
    println!("user {}: {user:?}", *key);
}

#[derive(Deserialize)]
struct Hello {
    #[serde(default = "world")]
    name: String,
}

fn world() -> String {
    "world".into()
}

async fn hello(
    Shared(template): Shared<Template>,
    Query(hello): Query<Hello>,
) -> Result<String, (StatusCode, String)> {
    let unavailable = |error: TemplateError| (StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    let text = format!("Hello, {}!", hello.name);
    template.send_text("greetings", (), &text).await.map_err(unavailable)?;
    let user = User { name: hello.name, age: 42 };
    let sent = template.send("users", &user.name, &user).await.map_err(unavailable)?;
    Ok(format!("{text} Sent as {} at {}.\n", sent.partition, sent.offset))
}

/// 503 when a listener is down, so that an orchestrator notices; degraded is no reason to be restarted.
async fn health(Shared(listeners): Shared<Listeners>) -> (StatusCode, Json<Health>) {
    let health = listeners.health();
    let code = if health.is_alive() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(health))
}

async fn lag(Shared(listeners): Shared<Listeners>) -> Json<Vec<PartitionLag>> {
    Json(listeners.lag())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let app = App::from_config(concat!(env!("CARGO_MANIFEST_DIR"), "/service/application.yml"))?;
    let port: u16 = app.config().get_as("server.port")?.unwrap_or(8080);

    let app = app.start().await?;
    // The file says nothing of auto-offset-reset, so listeners begin at the end of their topics: what is sent before they
    // have them would not be theirs.
    if tokio::time::timeout(Duration::from_secs(10), app.ready()).await.is_err() {
        println!("not all listeners have their partitions yet");
    }
    let watching = Router::new().route("/health", get(health)).route("/lag", get(lag));
    let router = Router::new().route("/hello", get(hello)).with_state(app.template());
    let router = router.merge(watching.with_state(app.listeners()));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}/hello", listener.local_addr()?);
    axum::serve(listener, router).with_graceful_shutdown(kafka_runtime::shutdown_signal()).await?;
    app.stop().await?;
    Ok(())
}
