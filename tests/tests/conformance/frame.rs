//! What a row is, how it runs, and the table that all of them make.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard};

use crate::kafka::Kafka;

/// A row's answer comes within this time, whatever the machine does besides.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same where brokers have to go and to come back.
const LONG_PATIENCE: Duration = Duration::from_secs(240);

/// Rows share the cluster but for those that stop its brokers.
static TURN: RwLock<()> = RwLock::const_new(());

/// The cluster stays whole for as long as this is held.
pub(crate) async fn whole() -> RwLockReadGuard<'static, ()> {
    TURN.read().await
}

/// One behaviour and what is answered. Made by [`row!`](crate::row).
pub(crate) struct Row {
    /// Kafka's name of the API.
    pub(crate) api: &'static str,
    /// The versions that are asked, one after the other; all give the same answer.
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) behaviour: &'static str,
    /// What Apache Kafka 4.1 answers.
    pub(crate) answer: &'static str,
    /// What the embedded broker answers instead, and why.
    pub(crate) differs: Option<(&'static str, &'static str)>,
    pub(crate) place: (&'static str, u32),
}

inventory::collect!(Row);

/// A row of the table, and the test of it:
///
/// ```text
/// row!(name_of_the_test, "Api", 3..=9, "what is asked", "what is answered", async |kafka| { .. });
/// ```
///
/// The closure asks (`kafka.version` is the version in turn) and says what was answered, as one line; the line must be
/// the row's answer. Every run has names of its own (`kafka.name`, `kafka.topic`), so that rows run side by side on one
/// cluster. Where the embedded broker differs on purpose, `differs("its answer", "why")` stands before the closure; where
/// the row stops brokers, `alone`; where it is about what Kafka does after a while, `impatient`.
#[macro_export]
macro_rules! row {
    ($name:ident, $api:expr, $versions:expr, $behaviour:expr, $answer:expr, differs($ours:expr, $why:expr), $test:expr $(,)?) => {
        $crate::row!(@ $name, $api, $versions, $behaviour, $answer, Some(($ours, $why)), run, $test);
    };
    ($name:ident, $api:expr, $versions:expr, $behaviour:expr, $answer:expr, alone, $test:expr $(,)?) => {
        $crate::row!(@ $name, $api, $versions, $behaviour, $answer, None, run_alone, $test);
    };
    ($name:ident, $api:expr, $versions:expr, $behaviour:expr, $answer:expr, impatient $(differs($ours:expr, $why:expr))?, $test:expr $(,)?) => {
        $crate::row!(@ $name, $api, $versions, $behaviour, $answer, $crate::row!(# $($ours, $why)?), run_impatient, $test);
    };
    (# $ours:expr, $why:expr) => { Some(($ours, $why)) };
    (#) => { None };
    ($name:ident, $api:expr, $versions:expr, $behaviour:expr, $answer:expr, $test:expr $(,)?) => {
        $crate::row!(@ $name, $api, $versions, $behaviour, $answer, None, run, $test);
    };
    (@ $name:ident, $api:expr, $versions:expr, $behaviour:expr, $answer:expr, $differs:expr, $run:ident, $test:expr) => {
        #[tokio::test]
        async fn $name() {
            const ROW: $crate::frame::Row = $crate::frame::Row {
                api: $api,
                versions: $versions,
                behaviour: $behaviour,
                answer: $answer,
                differs: $differs,
                place: (file!(), line!()),
            };
            inventory::submit! { ROW }
            $crate::frame::$run(&ROW, $test).await;
        }
    };
}

/// The versions to ask: all, or for a quick look (`CONFORMANCE=quick`) the lowest and the highest.
fn chosen(versions: RangeInclusive<i16>) -> impl Iterator<Item = i16> {
    let ends = [*versions.start(), *versions.end()];
    let quick = std::env::var("CONFORMANCE").is_ok_and(|how| how == "quick");
    versions.filter(move |version| !quick || ends.contains(version))
}

/// Runs a row in each of its versions, beside others.
pub(crate) async fn run(row: &Row, test: impl AsyncFn(Kafka) -> String) {
    let _turn = whole().await;
    for version in chosen(row.versions.clone()) {
        answers(row, Kafka::connect(version).await, PATIENCE, &test).await;
    }
}

/// Runs a row that stops brokers, while no other runs. Afterwards all of them are back.
pub(crate) async fn run_alone(row: &Row, test: impl AsyncFn(Kafka) -> String) {
    let _turn = TURN.write().await;
    for version in chosen(row.versions.clone()) {
        let kafka = Kafka::connect(version).await;
        kafka.made_whole().await;
        answers(row, kafka, LONG_PATIENCE, &test).await;
        kafka.made_whole().await;
    }
}

/// Runs a row about what happens after a while, on a cluster that does not wait long.
pub(crate) async fn run_impatient(row: &Row, test: impl AsyncFn(Kafka) -> String) {
    let _turn = whole().await;
    for version in chosen(row.versions.clone()) {
        match Kafka::impatient(version).await {
            Some(kafka) => answers(row, kafka, PATIENCE, &test).await,
            None => eprintln!(
                "NOT RUN: {} on an Apache Kafka that waits for minutes; scripts/test starts another for it",
                row.behaviour
            ),
        }
    }
}

async fn answers(row: &Row, kafka: Kafka, patience: Duration, test: &impl AsyncFn(Kafka) -> String) {
    let expected = match row.differs {
        Some((ours, _)) if !kafka.is_apache() => ours,
        _ => row.answer,
    };
    let whose = if kafka.is_apache() { "Apache Kafka" } else { "the embedded broker" };
    let what = format!("{} v{}, {}, by {whose}", row.api, kafka.version, row.behaviour);
    let answered = tokio::time::timeout(patience, test(kafka)).await;
    let answered = answered.unwrap_or_else(|_| panic!("{what}: nothing within {patience:?}"));
    assert_eq!(answered, expected, "{what}");
}

/// All rows as a table, family by family.
pub(crate) fn table() -> String {
    let mut rows: Vec<&Row> = inventory::iter::<Row>().collect();
    rows.sort_by_key(|row| row.place);
    let mut table = String::from("| API | Asked | Apache Kafka 4.1 | kafka-embedded |\n|---|---|---|---|\n");
    for row in rows {
        let (from, to) = (row.versions.start(), row.versions.end());
        let versions = if from == to { format!("v{from}") } else { format!("v{from} to v{to}") };
        let ours = row.differs.map_or("the same".to_owned(), |(ours, why)| format!("{ours} ({why})"));
        let cells = [format!("{} {versions}", row.api), row.behaviour.into(), row.answer.into(), ours];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        writeln!(table, "| {} |", cells.join(" | ")).expect("a string takes all");
    }
    table
}
