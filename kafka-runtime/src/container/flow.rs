//! How fast a listener's records may go: its rate limit, its circuit breaker and what it is paused for, at one gate that every record passes on
//! its way to the handler. Where none is set there is no gate.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::{Admission, Breaker, Tripped};
use super::downstream::Downstream;
use super::limit::RateLimit;
use super::outcome::Where;
use crate::config::ListenerSettings;

/// See the module.
#[derive(Debug)]
pub(crate) struct Flow {
    limit: Option<RateLimit>,
    breaker: Option<Breaker>,
    downstream: Option<Downstream>,
}

/// What becomes of a try that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The policy decides.
    Policy,
    /// The circuit is open, or what the handlers need is down: again when it is not, and this try does not count.
    /// `Some`: the circuit opened now, for so long.
    Again(Option<Duration>),
}

impl Flow {
    /// The gate of a listener, if it has one.
    pub(crate) fn new(settings: &ListenerSettings) -> Option<Arc<Self>> {
        let limit = settings.rate_limit.map(RateLimit::new);
        let breaker = settings.circuit_breaker.map(Breaker::new);
        let downstream = settings.pause_when.clone().map(Downstream::new);
        let is_needed = limit.is_some() || breaker.is_some() || downstream.is_some();
        is_needed.then(|| Arc::new(Self { limit, breaker, downstream }))
    }

    /// Waits until records may go: up to `wish`, at least one. Cancel-safe.
    pub(crate) async fn pass(self: &Arc<Self>, wish: u64) -> Pass {
        let Some(downstream) = &self.downstream else { return self.leave(wish).await };
        loop {
            downstream.up().await;
            // One at a time: the next one sees what the check has said meanwhile.
            let pass = self.leave(1).await;
            if downstream.is_up() {
                return pass;
            }
        }
    }

    async fn leave(self: &Arc<Self>, wish: u64) -> Pass {
        let probe = self.admitted().await;
        let mut pass = Pass { flow: Arc::clone(self), tokens: 0, probe };
        let wish = if probe { 1 } else { wish };
        pass.tokens = match &self.limit {
            None => wish,
            Some(limit) => loop {
                match limit.take(wish) {
                    Ok(tokens) => break tokens,
                    Err(wait) => tokio::time::sleep(wait).await,
                }
            },
        };
        pass
    }

    /// Waits for the circuit; whether what goes now is the probe.
    async fn admitted(&self) -> bool {
        let Some(breaker) = &self.breaker else { return false };
        loop {
            // Listening starts before looking.
            let mut changed = pin!(breaker.changed());
            changed.as_mut().enable();
            match breaker.admit() {
                Admission::Go => return false,
                Admission::Probe => return true,
                Admission::Wait(None) => changed.await,
                Admission::Wait(Some(until)) => {
                    // Whatever comes first.
                    let _ = tokio::time::timeout_at(until, changed).await;
                }
            }
        }
    }

    /// Whether its circuit keeps the listener from going on.
    pub(crate) fn is_open(&self) -> bool {
        self.breaker.as_ref().is_some_and(Breaker::is_open)
    }

    /// What its handlers need, which the application watches.
    pub(crate) fn downstream(&self) -> Option<&Downstream> {
        self.downstream.as_ref()
    }

    /// What stands against records since this one failed, in words.
    pub(crate) fn held_up_since(&self, record: Where<'_>, cause: &str) -> String {
        let down = self.downstream.as_ref().and_then(Downstream::down);
        match down.or_else(|| self.is_open().then(|| "the circuit is open".into())) {
            Some(by) => format!("{by} since {record}: {cause}"),
            None => format!("{record}: {cause}"),
        }
    }

    /// A try failed: whether in a way that may pass, and whether it was the probe. Waits for what the check says to that,
    /// where there is one. Dropped before its end, nothing is noted.
    pub(crate) async fn failed(&self, may_pass: bool, probe: bool) -> Fate {
        // What cannot pass says nothing of what the handlers need.
        if !may_pass {
            return Fate::Policy;
        }
        let is_down = match &self.downstream {
            Some(downstream) => !downstream.is_up_now().await,
            None => false,
        };
        match self.breaker.as_ref().map_or(Tripped::No, |breaker| breaker.failed(probe)) {
            Tripped::No if is_down => Fate::Again(None),
            Tripped::No => Fate::Policy,
            Tripped::Now(pause) => Fate::Again(Some(pause)),
            Tripped::Already => Fate::Again(None),
        }
    }

    /// Records were handled; whether that closed the circuit.
    pub(crate) fn succeeded(&self, probe: bool) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| breaker.succeeded(probe))
    }
}

/// Leave for some records to go. What is not used goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    flow: Arc<Flow>,
    tokens: u64,
    probe: bool,
}

impl Pass {
    /// How many may still go.
    pub(crate) fn left(&self) -> u64 {
        self.tokens
    }

    /// Whether what goes with it shows if the circuit may close.
    pub(crate) fn is_probe(&self) -> bool {
        self.probe
    }

    /// So many go; if they are more than it was for, the next ones wait for that.
    pub(crate) fn spend(&mut self, records: u64) {
        if let Some(limit) = self.flow.limit.as_ref().filter(|_| records > self.tokens) {
            limit.owe(records - self.tokens);
        }
        self.tokens = self.tokens.saturating_sub(records);
    }

    /// What is left is not needed.
    pub(crate) fn give_back(&mut self) {
        if let Some(limit) = &self.flow.limit {
            limit.give_back(std::mem::take(&mut self.tokens));
        }
    }

    /// The probe's outcome is told.
    pub(crate) fn settled(&mut self) {
        self.probe = false;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.give_back();
        if let Some(breaker) = self.flow.breaker.as_ref().filter(|_| self.probe) {
            breaker.abandoned();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use tokio::time::Instant;

    use super::*;
    use crate::config::{AckMode, CircuitBreaker, Ordering, Rate};
    use crate::container::EventKind;
    use crate::container::fixture::{Act, Rig, UNWANTED, after, keyed, settings};
    use crate::container::shared::Signal;

    const SECOND: Duration = Duration::from_secs(1);

    fn flow(rate_limit: Option<Rate>, circuit_breaker: Option<CircuitBreaker>) -> Arc<Flow> {
        Flow::new(&ListenerSettings { rate_limit, circuit_breaker, ..settings() }).unwrap()
    }

    #[test]
    fn without_either_there_is_none() {
        assert!(Flow::new(&settings()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_over_those_who_share_it() {
        let flow = flow(Some(Rate { records: 100, per: SECOND }), None);
        let begun = Instant::now();
        let loops = (0..4).map(|_| {
            let flow = Arc::clone(&flow);
            tokio::spawn(async move {
                let mut went = 0;
                while went < 100 {
                    let mut pass = flow.pass(64).await;
                    let now = pass.left().min(7);
                    pass.spend(now);
                    went += now;
                }
            })
        });
        for one in loops.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        let took = begun.elapsed();
        assert!(took > SECOND * 38 / 10 && took < SECOND * 42 / 10, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_circuit_is_open_one_record_goes_after_each_pause() {
        let breaker = CircuitBreaker { failures: 2, pause: SECOND, max_pause: SECOND * 8 };
        let flow = flow(None, Some(breaker));
        assert_eq!(flow.failed(true, false).await, Fate::Policy);
        assert_eq!(flow.failed(false, false).await, Fate::Policy, "it does not count");
        assert_eq!(flow.failed(true, false).await, Fate::Again(Some(SECOND)));
        let begun = Instant::now();
        let mut probe = flow.pass(64).await;
        assert_eq!((begun.elapsed(), probe.is_probe(), probe.left()), (SECOND, true, 1));
        assert!(tokio::time::timeout(SECOND * 100, flow.pass(1)).await.is_err(), "one record");
        assert_eq!(flow.failed(true, true).await, Fate::Again(Some(SECOND * 2)));
        probe.settled();
        drop(probe);
        let begun = Instant::now();
        // Its partition goes away: another one is the probe.
        drop(flow.pass(1).await);
        assert_eq!(begun.elapsed(), SECOND * 2);
        let mut probe = flow.pass(1).await;
        assert!(probe.is_probe() && flow.succeeded(true));
        probe.settled();
        assert!(!flow.pass(1).await.is_probe());
    }

    /// What a lane makes of it: records of one batch whose handler returns at once, and of batches for a batch handler.
    #[tokio::test(start_paused = true)]
    async fn a_lane_hands_out_no_more_than_the_rate() {
        for (batch, max_poll_records) in [(false, 500), (true, 7)] {
            let rate_limit = Some(Rate { records: 100, per: SECOND });
            let settings = ListenerSettings { rate_limit, max_poll_records, ..settings() };
            let rig = Rig::new(settings, batch, |_, _| Act::Return);
            let partition = rig.partition(0);
            partition.comes(0, 260);
            for second in 1..=2 {
                after(1000).await;
                let most = 100 * second + 10 + if batch { max_poll_records } else { 0 };
                let seen = rig.script.seen().len();
                assert!(seen <= most && seen + 20 >= 100 * second, "batch {batch}: {seen} after {second} s");
            }
            after(1000).await;
            assert_eq!(rig.script.seen().len(), 260);
            partition.drain().await;
        }
    }

    /// Of every hundred records one is wanted.
    #[tokio::test(start_paused = true)]
    async fn what_a_filter_drops_costs_nothing_of_the_rate() {
        let in_order = settings();
        let by_key = ListenerSettings { ordering: Ordering::Key, concurrency: Some(4), ..settings() };
        for (batch, settings) in [(false, in_order.clone()), (false, by_key), (true, in_order)] {
            let what = format!("batch: {batch}, {:?}", settings.ordering);
            let settings =
                ListenerSettings { rate_limit: Some(Rate { records: 10, per: SECOND }), ..settings };
            let rig = Rig::new(settings, batch, |_, _| Act::Return);
            let partition = rig.partition(0);
            let key = |offset| if offset % 100 == 50 { Some(offset) } else { Some(UNWANTED) };
            for base in (0..1000).step_by(100) {
                partition.bytes(base, keyed(base, 100, key));
            }
            after(700).await;
            let seen = rig.script.seen().len();
            assert!(batch || (6..=9).contains(&seen), "{what}: {seen}");
            after(700).await;
            assert_eq!(rig.script.settled().len(), 10, "{what}");
            assert_eq!(partition.drain().await.counts().filtered, 990, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_probes_with_the_record_that_failed_and_counts_none_of_its_tries() {
        let circuit_breaker = Some(CircuitBreaker { failures: 2, pause: SECOND, max_pause: SECOND });
        let settings = ListenerSettings { circuit_breaker, ..settings() };
        let tries = Arc::new(AtomicUsize::new(0));
        let rig = Rig::new(settings, false, {
            let tries = Arc::clone(&tries);
            move |offset, _| match offset {
                5 if tries.fetch_add(1, SeqCst) < 20 => Act::Fail("no bank"),
                _ => Act::Return,
            }
        });
        let partition = rig.partition(0);
        partition.comes(0, 10);
        after(10_000).await;
        assert_eq!(partition.phase(), crate::container::PartitionPhase::Retrying);
        after(30_000).await;
        assert_eq!(rig.script.offsets().last(), Some(&9), "the record was not given up");
        let attempts = rig.script.seen().iter().filter(|(offset, _)| *offset == 5).map(|(_, n)| *n).max();
        assert!(attempts <= Some(2), "{attempts:?}");
        partition.drain().await;
    }

    fn by_hand(circuit_breaker: CircuitBreaker) -> ListenerSettings {
        let (circuit_breaker, ack) = (Some(circuit_breaker), AckMode::Manual);
        ListenerSettings { circuit_breaker, ack, ..settings() }
    }

    /// The handler's return says nothing where records are acknowledged by hand: an `Ack` that is dropped is the failure.
    #[tokio::test(start_paused = true)]
    async fn acknowledgements_that_are_dropped_open_the_circuit_and_no_record_is_given_up() {
        for batch in [false, true] {
            let tries = Arc::new(AtomicUsize::new(0));
            let breaker = CircuitBreaker { failures: 2, pause: SECOND, max_pause: SECOND };
            let settings = ListenerSettings { max_poll_records: 3, ..by_hand(breaker) };
            let rig = Rig::new(settings, batch, {
                let tries = Arc::clone(&tries);
                move |offset, _| match offset {
                    5.. if tries.fetch_add(1, SeqCst) < 60 => Act::DropAck,
                    _ => Act::Return,
                }
            });
            let mut told = rig.events.subscribe();
            let partition = rig.partition(0);
            partition.comes(0, 10);
            after(5_000).await;
            let before = rig.script.seen().len();
            after(5_000).await;
            let probes = rig.script.seen().len() - before;
            // A probe is one delivery; of the batch's records each is a call.
            let most = if batch { 5 * 3 } else { 5 };
            assert!((1..=most).contains(&probes), "{probes} in 5 s, batch: {batch}");
            after(100_000).await;
            let last: BTreeSet<i64> = rig.script.settled();
            assert_eq!(last, (0..10).collect(), "no record was given up, batch: {batch}");
            assert_eq!(partition.shared.safe().offset, 10, "batch: {batch}");
            let attempts = rig.script.seen().iter().map(|(_, attempt)| *attempt).max();
            assert!(attempts <= Some(2), "{attempts:?}");
            let mut kinds = Vec::new();
            while let Ok(Some(event)) = tokio::time::timeout(SECOND, told.next()).await {
                kinds.push(event.kind);
            }
            assert!(matches!(kinds.iter().rfind(|kind| is_of_circuit(kind)), Some(EventKind::CircuitClosed)));
            partition.drain().await;
        }
    }

    fn is_of_circuit(kind: &EventKind) -> bool {
        matches!(kind, EventKind::CircuitOpened { .. } | EventKind::CircuitClosed)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_behind_a_probe_before_it_is_acknowledged() {
        let breaker = CircuitBreaker { failures: 1, pause: SECOND, max_pause: SECOND };
        let rig = Rig::new(by_hand(breaker), false, |offset, attempt| match (offset, attempt) {
            // An older delivery that is acknowledged while the probe is out is not the probe.
            (0, _) => Act::AckAfter(SECOND * 5),
            (1, _) => Act::KeepAck,
            _ => Act::Return,
        });
        let partition = rig.partition(0);
        partition.comes(0, 10);
        after(100).await;
        assert_eq!(rig.script.seen().len(), 10);
        drop(rig.script.take_ack(1));
        after(500).await;
        partition.comes(10, 10);
        after(20_000).await;
        assert_eq!(rig.script.offsets()[10..], [1], "the probe, and nothing else");
        assert!(rig.is_circuit_open());
        rig.script.take_ack(1).ack().unwrap();
        after(100).await;
        assert!(!rig.is_circuit_open());
        assert_eq!((rig.script.seen().len(), partition.shared.safe().offset), (21, 20));
        partition.drain().await;
    }

    /// The partition of a probe that nobody acknowledges goes away: another one's record is the next probe.
    #[tokio::test(start_paused = true)]
    async fn a_probe_goes_with_its_partition() {
        let breaker = CircuitBreaker { failures: 1, pause: SECOND, max_pause: SECOND };
        let rig = Rig::new(by_hand(breaker), false, |offset, _| match offset {
            0 => Act::KeepAck,
            _ => Act::Return,
        });
        let (one, two) = (rig.partition(0), rig.partition(1));
        one.comes(0, 1);
        after(100).await;
        drop(rig.script.take_ack(0));
        after(2_000).await;
        two.comes(1, 5);
        after(10_000).await;
        assert_eq!(rig.script.offsets(), [0, 0], "the second partition waits for the probe of the first");
        one.shared.raise(Signal::Abort);
        after(2_000).await;
        assert_eq!(rig.script.offsets()[2..], [1, 2, 3, 4, 5]);
        two.drain().await;
    }
}
