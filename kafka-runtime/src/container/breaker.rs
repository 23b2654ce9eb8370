//! `circuit-breaker`: a listener pauses while what its handlers need is down, and probes with one record (pure, and what a
//! listener's partitions share of it).
//!
//! ```text
//!            failures in a row                 the pause is over
//!   Closed ─────────────────────▶ Open ─────────────────────────▶ Probing (one record)
//!     ▲                            ▲ ◀── the probe fails: twice the pause ──┤
//!     └────────────────────────── the probe succeeds ───────────────────────┘
//! ```
//!
//! While it is open, tries do not count: a record is not given up because the bank is closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::CircuitBreaker;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// How many tries have failed in a row.
    Closed(u32),
    /// Until when, and how long that pause was.
    Open(Instant, Duration),
    /// How long the pause before the probe was.
    Probing(Duration),
}

/// Whether a record may be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Go,
    /// One record, whose outcome is to be told.
    Probe,
    /// Not before then; `None`: not before another record's outcome is known.
    Wait(Option<Instant>),
}

/// What a failure led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tripped {
    /// Nothing: it is closed.
    No,
    /// It opened now, for so long.
    Now(Duration),
    /// It is open already.
    Already,
}

#[derive(Debug)]
struct Machine {
    settings: CircuitBreaker,
    state: State,
}

impl Machine {
    fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed(_) => Admission::Go,
            State::Open(until, _) if now < until => Admission::Wait(Some(until)),
            State::Open(_, pause) => {
                self.state = State::Probing(pause);
                Admission::Probe
            }
            State::Probing(_) => Admission::Wait(None),
        }
    }

    fn failed(&mut self, now: Instant, probe: bool) -> Tripped {
        let pause = match self.state {
            State::Closed(failures) if failures + 1 < self.settings.failures => {
                self.state = State::Closed(failures + 1);
                return Tripped::No;
            }
            State::Closed(_) => self.settings.pause,
            State::Probing(pause) if probe => {
                (pause * 2).min(self.settings.max_pause.max(self.settings.pause))
            }
            // Of before it opened.
            State::Open(..) | State::Probing(_) => return Tripped::Already,
        };
        self.state = State::Open(now + pause, pause);
        Tripped::Now(pause)
    }

    /// Whether that closed it.
    fn succeeded(&mut self, probe: bool) -> bool {
        match self.state {
            State::Closed(_) => {
                self.state = State::Closed(0);
                false
            }
            State::Probing(_) if probe => {
                self.state = State::Closed(0);
                true
            }
            // A handler that began before it opened.
            State::Open(..) | State::Probing(_) => false,
        }
    }

    /// The probe came to nothing: its partition went away.
    fn abandoned(&mut self, now: Instant) {
        if let State::Probing(pause) = self.state {
            self.state = State::Open(now, pause);
        }
    }
}

/// A listener's breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    machine: Mutex<Machine>,
    /// Whether successes are of interest.
    troubled: AtomicBool,
    changed: Notify,
}

impl Breaker {
    pub(crate) fn new(settings: CircuitBreaker) -> Self {
        let machine = Machine { settings, state: State::Closed(0) };
        Self { machine: Mutex::new(machine), troubled: AtomicBool::new(false), changed: Notify::new() }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn admit(&self) -> Admission {
        // Mostly nothing is wrong: look before locking.
        match self.troubled.load(Ordering::Acquire) {
            true => self.machine().admit(Instant::now()),
            false => Admission::Go,
        }
    }

    /// Whether it is not closed.
    pub(crate) fn is_open(&self) -> bool {
        self.troubled.load(Ordering::Acquire) && !matches!(self.machine().state, State::Closed(_))
    }

    /// A try failed in a way that may pass.
    pub(crate) fn failed(&self, probe: bool) -> Tripped {
        self.troubled.store(true, Ordering::Release);
        let tripped = self.machine().failed(Instant::now(), probe);
        if tripped != Tripped::No {
            self.changed.notify_waiters();
        }
        tripped
    }

    /// Records were handled; whether that closed it.
    pub(crate) fn succeeded(&self, probe: bool) -> bool {
        if !self.troubled.load(Ordering::Acquire) {
            return false;
        }
        let mut machine = self.machine();
        let closed = machine.succeeded(probe);
        if machine.state == State::Closed(0) {
            self.troubled.store(false, Ordering::Release);
        }
        drop(machine);
        if closed {
            self.changed.notify_waiters();
        }
        closed
    }

    /// The probe will have no outcome.
    pub(crate) fn abandoned(&self) {
        self.machine().abandoned(Instant::now());
        self.changed.notify_waiters();
    }

    /// Waits until it may have changed; listen before looking.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn machine(failures: u32) -> Machine {
        let settings = CircuitBreaker { failures, pause: SECOND, max_pause: SECOND * 4 };
        Machine { settings, state: State::Closed(0) }
    }

    #[test]
    fn it_opens_probes_and_closes() {
        let (mut machine, start) = (machine(2), Instant::now());
        assert_eq!(machine.failed(start, false), Tripped::No);
        assert!(!machine.succeeded(false), "in a row is what counts");
        assert_eq!(machine.failed(start, false), Tripped::No);
        assert_eq!(machine.failed(start, false), Tripped::Now(SECOND));
        assert_eq!(machine.failed(start, false), Tripped::Already, "it was under way");
        assert_eq!(machine.admit(start), Admission::Wait(Some(start + SECOND)));
        assert_eq!(machine.admit(start + SECOND), Admission::Probe);
        assert_eq!(machine.admit(start + SECOND * 9), Admission::Wait(None), "one record");
        assert_eq!(machine.failed(start + SECOND, true), Tripped::Now(SECOND * 2));
        assert_eq!(machine.admit(start + SECOND * 3), Admission::Probe);
        assert!(machine.succeeded(true));
        assert_eq!(machine.admit(start + SECOND * 3), Admission::Go);
    }

    #[test]
    fn the_pause_is_bounded_and_a_probe_that_goes_away_is_another_ones() {
        let (mut machine, start) = (machine(1), Instant::now());
        machine.failed(start, false);
        let mut now = start;
        for _ in 0..5 {
            now += SECOND * 4;
            assert_eq!(machine.admit(now), Admission::Probe);
            machine.failed(now, true);
        }
        assert_eq!(machine.admit(now), Admission::Wait(Some(now + SECOND * 4)));
        now += SECOND * 4;
        assert_eq!(machine.admit(now), Admission::Probe);
        machine.abandoned(now);
        assert_eq!(machine.admit(now), Admission::Probe);
    }

    proptest! {
        /// Whatever happens: at most one probe is out, and while it is open nothing else goes.
        #[test]
        fn at_most_one_record_goes_while_it_is_not_closed(steps in prop::collection::vec((0..4u8, 0..3000u64), 0..200)) {
            let mut machine = machine(3);
            let (mut now, mut probing) = (Instant::now(), false);
            for (step, millis) in steps {
                now += Duration::from_millis(millis);
                let open = !matches!(machine.state, State::Closed(_));
                match step {
                    0 => match machine.admit(now) {
                        Admission::Go => prop_assert!(!open),
                        Admission::Probe => {
                            prop_assert!(open && !probing);
                            probing = true;
                        }
                        Admission::Wait(until) => prop_assert!(until.is_none() == probing && until.is_none_or(|until| until > now)),
                    },
                    1 => {
                        machine.failed(now, probing);
                        probing = false;
                    }
                    2 => {
                        machine.succeeded(probing);
                        probing = false;
                    }
                    _ if probing => {
                        machine.abandoned(now);
                        probing = false;
                    }
                    _ => {}
                }
                if probing {
                    prop_assert!(matches!(machine.state, State::Probing(_)));
                }
            }
        }
    }
}
