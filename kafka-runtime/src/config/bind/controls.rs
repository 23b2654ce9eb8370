//! What holds a listener back: rate limit, circuit breaker, what it pauses for, what becomes of what is in hand.

use std::time::Duration;

use super::super::settings::{CircuitBreaker, OnRevoke, PauseWhen, Rate};
use super::super::value::{Notation, Value};
use super::{Binding, Declared, Place, of_listener};

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Controls {
    pub(super) on_revoke: OnRevoke,
    pub(super) rate_limit: Option<Rate>,
    pub(super) circuit_breaker: Option<CircuitBreaker>,
    pub(super) pause_when: Option<PauseWhen>,
    pub(super) idle_event_interval: Option<Duration>,
    pub(super) idle_partition_event_interval: Option<Duration>,
}

pub(super) fn controls(binding: &mut Binding<'_>, listener: &Declared) -> Controls {
    let said = &listener.attributes.controls;
    let layered = |key: &'static str, argument: &'static str, text| {
        let mut places = vec![Place::ours(format!("{}.{key}", of_listener(listener)))];
        places.extend(Place::attribute(listener, argument, text));
        places.push(Place::ours(format!("listener.{key}")));
        places
    };
    let idle = |key: &'static str, argument: &'static str, text| {
        let mut places = vec![Place::ours(format!("{}.{key}", of_listener(listener)))];
        places.extend(Place::attribute(listener, argument, text));
        places.push(Place::spring(format!("listener.{key}")));
        places
    };
    let words = [("cancel", OnRevoke::Cancel), ("finish", OnRevoke::Finish)];
    let on_revoke = layered("on-revoke", "on_revoke", said.on_revoke);
    let rate = layered("rate-limit", "rate_limit", said.rate_limit);
    let failures = layered("circuit-breaker.failures", "circuit_breaker", said.circuit_failures);
    let pause = layered("circuit-breaker.pause", "circuit_breaker", said.circuit_pause);
    let max_pause = layered("circuit-breaker.max-pause", "circuit_breaker", said.circuit_max_pause);
    // In short or with its parts; the nearest wins.
    let named =
        |near: String| ["pause-when.check", "pause-when"].map(|key| Place::ours(format!("{near}.{key}")));
    let mut check: Vec<Place> = named(of_listener(listener)).into();
    check.extend(Place::attribute(listener, "pause_when", said.pause_when));
    check.extend(named("listener".into()));
    let asked = layered("pause-when.interval", "pause_when", said.pause_interval);
    let idle_all = idle("idle-event-interval", "idle_event_interval", said.idle_event_interval);
    let idle_one = idle(
        "idle-partition-event-interval",
        "idle_partition_event_interval",
        said.idle_partition_event_interval,
    );
    let more_than_nothing = |interval: &Duration| !interval.is_zero();
    Controls {
        on_revoke: binding.word("on-revoke", &on_revoke, OnRevoke::default(), &words),
        rate_limit: binding.optional("rate-limit", &rate),
        circuit_breaker: circuit_breaker(binding, [failures, pause, max_pause]),
        pause_when: pause_when(binding, &check, &asked),
        idle_event_interval: binding.optional("idle-event-interval", &idle_all).filter(more_than_nothing),
        idle_partition_event_interval: binding
            .optional("idle-partition-event-interval", &idle_one)
            .filter(more_than_nothing),
    }
}

/// There is one as soon as it is said after how many failures it opens.
fn circuit_breaker(
    binding: &mut Binding<'_>,
    [failures, pause, max_pause]: [Vec<Place>; 3],
) -> Option<CircuitBreaker> {
    let (name, pause_name, max_name) =
        ("circuit-breaker.failures", "circuit-breaker.pause", "circuit-breaker.max-pause");
    let read = |text: &str, notation| match u32::read(text, notation) {
        Ok(0) => Err("must be at least 1".to_owned()),
        other => other.map(Some),
    };
    let show =
        |failures: &Option<u32>| failures.map_or_else(|| "none".to_owned(), |failures| failures.to_string());
    let failures = binding.parse(name, &failures, None, read, show)?;
    let pause = binding.read(pause_name, &pause, Duration::from_secs(10));
    let max_pause = binding.read(max_name, &max_pause, Duration::from_secs(60));
    Some(CircuitBreaker { failures, pause, max_pause: max_pause.max(pause) })
}

/// There is one as soon as a check is named.
fn pause_when(binding: &mut Binding<'_>, check: &[Place], interval: &[Place]) -> Option<PauseWhen> {
    let check = binding.text("pause-when.check", check)?;
    let read = |text: &str, notation| match Duration::read(text, notation) {
        Ok(Duration::ZERO) => Err("must be more than nothing".to_owned()),
        other => other,
    };
    let interval =
        binding.parse("pause-when.interval", interval, Duration::from_secs(5), read, Duration::show);
    Some(PauseWhen { check, interval })
}

impl Value for Rate {
    fn read(text: &str, notation: Notation) -> Result<Self, String> {
        let wrong = || "is no rate such as `100/s`, `5/m` or `20/500ms`".to_owned();
        let (records, per) = text.trim().split_once('/').ok_or_else(wrong)?;
        let records: u32 = records.trim().parse().map_err(|_| wrong())?;
        let per = match per.trim() {
            unit @ ("ms" | "s" | "m" | "h" | "d") => Duration::read(&format!("1{unit}"), notation),
            other => Duration::read(other, notation),
        };
        let per = per.map_err(|_| wrong())?;
        if records == 0 || per.is_zero() { Err(wrong()) } else { Ok(Self { records, per }) }
    }

    fn show(&self) -> String {
        let per = self.per.show();
        format!(
            "{}/{}",
            self.records,
            per.strip_prefix('1').filter(|unit| unit.starts_with(char::is_alphabetic)).unwrap_or(&per)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let rate = |text: &str| Rate::read(text, Notation::Spring).ok().map(|rate| (rate.records, rate.per));
        assert_eq!(rate("100/s"), Some((100, Duration::from_secs(1))));
        assert_eq!(rate(" 5 / m "), Some((5, Duration::from_secs(60))));
        assert_eq!(rate("20/500ms"), Some((20, Duration::from_millis(500))));
        for wrong in ["", "100", "/s", "0/s", "1/0s", "x/s", "1/x", "-1/s", "1/s/s"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
        for text in ["100/s", "5/m", "20/500ms"] {
            assert_eq!(Rate::read(text, Notation::Spring).unwrap().show(), text);
        }
    }
}
