//! Health and lag, as a service shows them: plain values that serialise.

use std::fmt;
use std::time::Duration;

use kafka_client::TopicName;
use serde::{Serialize, Serializer};

use super::{ListenerState, ListenerStatus, PartitionStatus};
use crate::container::shared::{PartitionPhase, Retrying};

/// A record that is given up is written in milliseconds; longer than this is worth a word.
const LONG: Duration = Duration::from_secs(2);

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthStatus {
    /// It does what it is there for, or rests because somebody said so.
    Up,
    /// It goes on, but something stands in its way: brokers do not answer, a record is being tried again, a dead letter
    /// takes long to be written.
    Degraded,
    /// It has failed, a partition has stopped, a handler is stuck, or a record is not acknowledged: somebody has to look.
    Down,
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "UP",
            Self::Degraded => "DEGRADED",
            Self::Down => "DOWN",
        })
    }
}

/// The health of an application: that of its least healthy listener. Serialises as
/// `{"status":"UP","listeners":[{"id":"bill","status":"UP","reasons":[]}]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Of all.
    pub status: HealthStatus,
    /// Each listener, by id.
    pub listeners: Vec<ListenerHealth>,
}

impl Health {
    pub(crate) fn of(listeners: &[ListenerStatus]) -> Self {
        let listeners: Vec<_> = listeners.iter().map(ListenerHealth::of).collect();
        let status = listeners.iter().map(|listener| listener.status).max().unwrap_or(HealthStatus::Up);
        Self { status, listeners }
    }

    /// Whether the application should be taken for alive by whoever restarts it: everything but
    /// [`HealthStatus::Down`].
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.status != HealthStatus::Down
    }
}

/// The health of one listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ListenerHealth {
    /// Its id.
    pub id: &'static str,
    /// How well it is.
    pub status: HealthStatus,
    /// Why it is not up, each with its partition; or why it rests, where somebody said so.
    pub reasons: Vec<String>,
}

impl ListenerHealth {
    /// What a listener's status means.
    pub(crate) fn of(listener: &ListenerStatus) -> Self {
        let mut found: Vec<(HealthStatus, String)> = Vec::new();
        match &listener.state {
            ListenerState::Failed(cause) => found.push((HealthStatus::Down, format!("failed: {cause}"))),
            ListenerState::NotStarted => found.push((HealthStatus::Up, "not started".into())),
            ListenerState::Stopped => found.push((HealthStatus::Up, "stopped".into())),
            ListenerState::Running => {}
        }
        if listener.paused {
            found.push((HealthStatus::Up, "paused".into()));
        }
        if listener.circuit_open {
            let reason = "its circuit is open: it probes with one record until that succeeds";
            found.push((HealthStatus::Degraded, reason.into()));
        }
        let down = listener.downstream_down.iter();
        found.extend(down.map(|down| (HealthStatus::Degraded, format!("paused while {down}"))));
        found.extend(listener.problem.iter().map(|problem| (HealthStatus::Degraded, problem.clone())));
        found.extend(listener.partitions.iter().flat_map(of_partition));
        let paused = listener.partitions.iter().filter(|one| one.paused && !listener.paused);
        found.extend(paused.map(|one| (HealthStatus::Up, format!("{} paused", one.partition))));
        let status = found.iter().map(|(status, _)| *status).max().unwrap_or(HealthStatus::Up);
        Self { id: listener.id, status, reasons: found.into_iter().map(|(_, reason)| reason).collect() }
    }
}

/// What stands in a partition's way, the worst first.
fn of_partition(partition: &PartitionStatus) -> Vec<(HealthStatus, String)> {
    let PartitionStatus { partition: name, stuck, unacknowledged, writing, .. } = partition;
    if partition.phase == PartitionPhase::Stopped {
        return vec![(HealthStatus::Down, format!("{name} stopped: {}", cause(partition)))];
    }
    let stuck = stuck
        .map(|offset| format!("{name}: the handler of offset {offset} runs longer than max-poll-interval"));
    let late = unacknowledged.map(|offset| {
        format!("{name}: offset {offset} is not acknowledged for longer than max-poll-interval: nothing behind it is committed")
    });
    let writing = writing.as_ref().filter(|writing| writing.age > LONG);
    let writing = writing.map(|writing| format!("{name}: {writing}"));
    let down = stuck.into_iter().chain(late).map(|reason| (HealthStatus::Down, reason));
    let degraded = retrying(partition).into_iter().chain(writing);
    down.chain(degraded.map(|reason| (HealthStatus::Degraded, reason))).collect()
}

/// Records that are tried again; not while nothing is, since somebody said so.
fn retrying(partition: &PartitionStatus) -> Option<String> {
    let PartitionStatus { partition: name, phase, retrying, .. } = partition;
    let is_waiting = *phase == PartitionPhase::Retrying;
    let (first, records) = match retrying {
        _ if *phase == PartitionPhase::Paused => return None,
        Some(Retrying { records, cause: Some(cause), .. }) => (cause.clone(), *records),
        Some(Retrying { records, offset, cause: None }) if !is_waiting => {
            (format!("{name} at offset {offset}"), *records)
        }
        _ if is_waiting => (cause(partition), 1),
        _ => return None,
    };
    let others = if records > 1 { format!(" (and {} more of {name})", records - 1) } else { String::new() };
    Some(format!("retrying {first}{others}"))
}

fn cause(partition: &PartitionStatus) -> String {
    partition.cause.clone().unwrap_or_else(|| "no cause is known".into())
}

/// How far one partition's handling is behind its log. Serialises with these names; durations in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PartitionLag {
    /// The listener's id.
    pub listener: &'static str,
    /// The topic.
    #[serde(serialize_with = "as_text")]
    pub topic: TopicName,
    /// The partition's number.
    pub partition: i32,
    /// The offset in hand, or the next one.
    pub position: i64,
    /// The last offset that was confirmed as committed.
    pub committed: Option<i64>,
    /// Where the log ends, see [`PartitionStatus::log_end`].
    pub log_end: Option<i64>,
    /// Offsets between the position and the end.
    pub lag: Option<i64>,
    /// How long ago the end was told, in milliseconds.
    pub log_end_age_ms: Option<u64>,
    /// How old the newest record of the batch in hand is, in milliseconds; 0 where nothing is left to handle.
    pub behind_ms: Option<u64>,
}

impl PartitionLag {
    pub(crate) fn of(listener: &ListenerStatus) -> impl Iterator<Item = Self> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        listener.partitions.iter().map(move |found| Self {
            listener: listener.id,
            topic: found.partition.topic,
            partition: found.partition.partition,
            position: found.position,
            committed: found.committed,
            log_end: found.log_end,
            lag: found.lag(),
            log_end_age_ms: found.log_end_age.map(millis),
            behind_ms: found.behind.map(millis),
        })
    }
}

// Given by reference, as serde wants it.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn as_text<S: Serializer>(topic: &TopicName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(topic.as_str())
}

#[cfg(test)]
mod tests {
    use kafka_client::TopicPartition;

    use super::*;
    use crate::container::Counts;

    fn listener(state: ListenerState) -> ListenerStatus {
        ListenerStatus {
            id: "bill",
            state,
            problem: None,
            counts: Counts::default(),
            paused: false,
            circuit_open: false,
            downstream_down: None,
            partitions: Vec::new(),
        }
    }

    fn partition(phase: PartitionPhase) -> PartitionStatus {
        PartitionStatus {
            partition: TopicPartition::new("orders", 3),
            phase,
            cause: Some("orders-3 at offset 7: no bank".into()),
            stuck: None,
            unacknowledged: None,
            retrying: None,
            writing: None,
            position: 7,
            committed: Some(5),
            paused: false,
            log_end: Some(10),
            log_end_age: None,
            behind: None,
            counts: Counts::default(),
        }
    }

    #[test]
    fn the_least_healthy_listener_counts() {
        let up = listener(ListenerState::Running);
        let mut degraded = listener(ListenerState::Running);
        degraded.problem = Some("no broker answers".into());
        let down = listener(ListenerState::Failed("fenced".into()));
        assert_eq!(Health::of(&[]).status, HealthStatus::Up);
        assert_eq!(Health::of(&[up.clone(), degraded.clone()]).status, HealthStatus::Degraded);
        let health = Health::of(&[up, down, degraded]);
        assert!(!health.is_alive());
        assert_eq!(health.listeners[1].reasons, ["failed: fenced"]);
    }

    #[test]
    fn what_somebody_ordered_is_no_illness() {
        for state in [ListenerState::NotStarted, ListenerState::Stopped] {
            assert!(listener(state).is_healthy());
        }
        let mut paused = listener(ListenerState::Running);
        paused.paused = true;
        assert_eq!(ListenerHealth::of(&paused).reasons, ["paused"]);
        assert!(paused.is_healthy());
    }

    #[test]
    fn stopped_and_stuck_partitions_are_down_and_retries_degrade() {
        let health = |partition| {
            let mut listener = listener(ListenerState::Running);
            listener.partitions.push(partition);
            ListenerHealth::of(&listener)
        };
        assert_eq!(health(partition(PartitionPhase::Running)).status, HealthStatus::Up);
        assert_eq!(health(partition(PartitionPhase::Retrying)).status, HealthStatus::Degraded);
        assert_eq!(health(partition(PartitionPhase::Stopped)).status, HealthStatus::Down);
        let stuck = health(PartitionStatus { stuck: Some(31), ..partition(PartitionPhase::Running) });
        assert_eq!(stuck.status, HealthStatus::Down);
        assert!(stuck.reasons[0].contains("the handler of offset 31 runs longer"), "{stuck:?}");
    }

    #[test]
    fn they_serialise() {
        let mut bill = listener(ListenerState::Running);
        bill.partitions.push(partition(PartitionPhase::Idle));
        let health = serde_json::to_value(Health::of(&[bill.clone()])).unwrap();
        let expected = serde_json::json!({
            "status": "UP", "listeners": [{"id": "bill", "status": "UP", "reasons": []}]
        });
        assert_eq!(health, expected);
        let lag = serde_json::to_value(PartitionLag::of(&bill).collect::<Vec<_>>()).unwrap();
        assert_eq!((&lag[0]["topic"], &lag[0]["lag"]), (&"orders".into(), &3.into()));
    }
}
