//! How fast a listener's records may go: its rate limit, its circuit breaker and what it is paused for, at one gate that every record passes on
//! its way to the handler. Where none is set there is no gate.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::{Admission, Breaker, Tripped};
use super::downstream::Downstream;
use super::limit::RateLimit;
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

    /// What stands against records, in words.
    pub(crate) fn held_up_by(&self) -> String {
        let down = self.downstream.as_ref().and_then(Downstream::down);
        down.unwrap_or_else(|| "the circuit is open".into())
    }

    /// A try failed: whether in a way that may pass, and whether it was the probe.
    pub(crate) fn failed(&self, may_pass: bool, probe: bool) -> Fate {
        // What cannot pass says nothing of what the handlers need.
        if !may_pass {
            return Fate::Policy;
        }
        let is_down = self.downstream.as_ref().is_some_and(|downstream| !downstream.is_up());
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
    use tokio::time::Instant;

    use super::*;
    use crate::config::{CircuitBreaker, Rate};
    use crate::container::fixture::{Act, Rig, after, settings};

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
        assert_eq!(flow.failed(true, false), Fate::Policy);
        assert_eq!(flow.failed(false, false), Fate::Policy, "it does not count");
        assert_eq!(flow.failed(true, false), Fate::Again(Some(SECOND)));
        let begun = Instant::now();
        let mut probe = flow.pass(64).await;
        assert_eq!((begun.elapsed(), probe.is_probe(), probe.left()), (SECOND, true, 1));
        assert!(tokio::time::timeout(SECOND * 100, flow.pass(1)).await.is_err(), "one record");
        assert_eq!(flow.failed(true, true), Fate::Again(Some(SECOND * 2)));
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

    #[tokio::test(start_paused = true)]
    async fn a_lane_probes_with_the_record_that_failed_and_counts_none_of_its_tries() {
        let circuit_breaker = Some(CircuitBreaker { failures: 2, pause: SECOND, max_pause: SECOND });
        let settings = ListenerSettings { circuit_breaker, ..settings() };
        let tries = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let rig = Rig::new(settings, false, {
            let tries = Arc::clone(&tries);
            move |offset, _| match offset {
                5 if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 20 => Act::Fail("no bank"),
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
}
