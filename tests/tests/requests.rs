//! Question and answer: the reader of the reply topic over time, and what a request without an answer says.

use std::time::{Duration, Instant};

use kafka_embedded::{Api, EmbeddedKafka, ErrorCode};
use kafka_runtime::prelude::*;
use kafka_runtime::template::SendError;
use tests::{Cluster, eventually};
use tokio::runtime::Builder;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

/// Answers in the partition that is asked for.
#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-answering")]
async fn answers_there(
    wanted: i32,
    headers: Headers,
    template: State<Template>,
) -> Result<(), TemplateError> {
    if let Some(answer) = Record::answer(&headers) {
        template.send_record(answer.partition(wanted).value(&wanted)?).await?;
    }
    Ok(())
}

struct Suite {
    cluster: Cluster,
    app: RunningApp,
    topic: String,
    replies: String,
}

impl Suite {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let topic = cluster.topic("questions", 1).await;
        let replies = cluster.topic("replies", 1).await;
        let yaml = cluster.yaml(&format!(
            "suite: {{topic: {topic}}}\nkafka-runtime.template: {{reply-topic: {replies}, reply-timeout: 30s}}\n"
        ));
        let app = App::from_yaml(yaml).unwrap().only(["answers_there"]).start().await.unwrap();
        Self { cluster, app, topic, replies }
    }

    async fn ask(&self, partition: i32) -> i32 {
        ask(self.app.template(), self.topic.clone(), partition).await
    }
}

async fn ask(template: Template, topic: String, partition: i32) -> i32 {
    template.request::<i32, _>(topic.as_str(), &partition).await.unwrap().value
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_in_partitions_that_came_later_are_read() {
    let suite = Suite::start().await;
    assert_eq!(suite.ask(0).await, 0);
    suite.cluster.admin().create_partitions(&suite.replies, 3, LIMIT).await.unwrap();
    assert_eq!(suite.ask(2).await, 2);
    assert_eq!((suite.ask(1).await, suite.ask(0).await), (1, 0));
    suite.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_read_again_when_the_runtime_of_the_first_request_has_gone() {
    let suite = Suite::start().await;
    let silent = suite.cluster.topic("silent", 1).await;
    let other = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let template = suite.app.template();
    assert_eq!(other.spawn(ask(template.clone(), suite.topic.clone(), 0)).await.unwrap(), 0);
    let (asking, topic) = (template.clone(), silent.clone());
    let waiting =
        tokio::spawn(
            async move { asking.request_record_within(Record::to(topic).key("k"), 10 * LIMIT).await },
        );
    eventually("the question is sent", LIMIT, || async {
        !template.receive(&silent, 0, ..).await.unwrap().is_empty()
    })
    .await;
    other.shutdown_background();
    let unread = timeout(LIMIT, waiting).await.expect("told at once").unwrap().unwrap_err();
    assert!(matches!(unread, TemplateError::ReplyTopic { .. }), "{unread}");
    assert!(unread.to_string().contains("runtime that read them has gone"), "{unread}");
    assert_eq!(suite.ask(0).await, 0);
    suite.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_taken_before_the_question_is_acknowledged() {
    let suite = Suite::start().await;
    let Some(embedded) = suite.cluster.embedded() else { return suite.app.stop().await.map(drop).unwrap() };
    embedded.faults().on(Api::Produce).topic(&suite.topic).hold_answer();
    assert_eq!(suite.ask(0).await, 0);
    embedded.faults().clear();
    suite.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readers_start_takes_nothing_of_the_first_requests_time() {
    let suite = Suite::start().await;
    let Some(embedded) = suite.cluster.embedded() else { return suite.app.stop().await.map(drop).unwrap() };
    let (slow, limit) = (Duration::from_secs(4), Duration::from_secs(3));
    let fault = embedded.faults().on(Api::ListOffsets).topic(&suite.replies).once().delay(slow);
    let began = Instant::now();
    let question = Record::to(&suite.topic).value(&0).unwrap();
    let answer = suite.app.template().request_record_within(question, limit).await.unwrap();
    assert_eq!((answer.read::<i32>().unwrap(), fault.strikes()), (0, 1));
    assert!(began.elapsed() >= slow);
    suite.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_answer_says_what_became_of_the_question() {
    let broker = EmbeddedKafka::builder().auto_create_topics(false).topic("there", 1).topic("replies", 1);
    let broker = broker.start().await.unwrap();
    let servers = broker.bootstrap_servers();
    let yaml = format!(
        "spring.kafka.bootstrap-servers: {servers}\n\
         kafka-runtime.template: {{reply-topic: replies, reply-timeout: 300s}}\n"
    );
    let app = App::from_yaml(yaml).unwrap().only([]).start().await.unwrap();
    let template = app.template();
    let ask = |topic: &str, limit| template.request_record_within(Record::to(topic).text("?"), limit);
    let short = Duration::from_secs(1);

    // It is acknowledged, as it was sent before by itself.
    template.send_text("there", "k", "warm").await.unwrap();
    let silence = ask("there", short).await.unwrap_err();
    assert!(
        matches!(silence, TemplateError::NoAnswer { acknowledged: true, waited, .. } if waited == short),
        "{silence}"
    );

    // There is no such topic yet, and the producer waits for it for longer than the request.
    let unsent = ask("missing", short).await.unwrap_err();
    assert!(matches!(unsent, TemplateError::NotAsked { topic, .. } if topic == "missing"), "{unsent}");

    let held = broker.faults().on(Api::Produce).hold_answer();
    let unknown = ask("there", short).await.unwrap_err();
    assert!(matches!(unknown, TemplateError::NoAnswer { acknowledged: false, .. }), "{unknown}");
    assert!(unknown.to_string().contains("was not acknowledged"), "{unknown}");
    held.remove();

    broker.faults().on(Api::Produce).answer(ErrorCode::TopicAuthorizationFailed);
    let refused = ask("there", LIMIT).await.unwrap_err();
    assert!(matches!(refused, TemplateError::Send(SendError::Refused { .. })), "{refused}");
    broker.faults().clear();
    app.stop().await.unwrap();
}
