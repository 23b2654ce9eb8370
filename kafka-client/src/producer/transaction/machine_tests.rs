//! The machine under random orders of events, beside a plain record of what happened.

use std::collections::HashSet;

use proptest::prelude::*;

use super::error::TransactionError;
use super::machine::{End, Machine, Protocol};
use crate::error::Error;
use crate::ids::TopicPartition;
use crate::producer::sequences::Identity;

#[derive(Debug, Clone)]
enum Event {
    Init,
    Begin(bool),
    Batch(u8),
    AddAnswered(u8),
    Answered { written: bool, stamped: bool },
    Leave(bool),
    End(u8),
    Fenced,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Init),
        3 => any::<bool>().prop_map(Event::Begin),
        8 => (0..4u8).prop_map(Event::Batch),
        4 => (0..4u8).prop_map(Event::AddAnswered),
        6 => (any::<bool>(), any::<bool>()).prop_map(|(odd, stamped)| Event::Answered { written: odd, stamped }),
        3 => any::<bool>().prop_map(Event::Leave),
        4 => (0..4u8).prop_map(Event::End),
        1 => (0..8u8).prop_map(|n| if n == 0 { Event::Fenced } else { Event::Init }),
    ]
}

/// What happened, as an onlooker would write it down.
#[derive(Default)]
struct Record {
    next_epoch: i16,
    protocol: Option<Protocol>,
    open: bool,
    wanted: Option<End>,
    adding: Vec<TopicPartition>,
    registered: HashSet<TopicPartition>,
    /// The coordinator may know of the transaction.
    known: bool,
    on_wire: usize,
    lost: bool,
    /// Epochs under which something was left with an unknown fate.
    burnt: HashSet<i16>,
    dead: bool,
}

struct World {
    machine: Machine,
    seen: Record,
}

impl World {
    fn epoch(&self) -> i16 {
        self.machine.identity().map_or(-1, |identity| identity.epoch)
    }

    fn fresh(&mut self) -> Identity {
        self.seen.next_epoch += 1;
        Identity { id: 7, epoch: self.seen.next_epoch }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Init if self.machine.is_unready() => {
                let fresh = self.fresh();
                self.machine.initialised(fresh);
            }
            Event::Begin(implicit) => self.begin(implicit),
            Event::Batch(number) => self.batch(TopicPartition::new("t", i32::from(number))),
            Event::AddAnswered(how) if !self.seen.adding.is_empty() => self.add_answered(how),
            Event::Answered { written, stamped } if self.seen.on_wire > 0 => self.answered(written, stamped),
            Event::Leave(commit) if self.seen.open && self.seen.wanted.is_none() => {
                self.machine.leave();
                self.seen.wanted = Some(if commit { End::Commit } else { End::Abort });
            }
            Event::End(answer) if self.seen.wanted.is_some() => self.end(answer),
            Event::Fenced => {
                let source = Error::Closed;
                self.machine.kill(TransactionError::Fenced { id: "id".into(), source });
                self.seen.dead = true;
            }
            _ => {}
        }
    }

    fn begin(&mut self, implicit: bool) {
        if self.machine.is_unready() {
            return;
        }
        let protocol = if implicit { Protocol::Implicit } else { Protocol::Registered };
        let begun = self.machine.begin(protocol);
        assert_eq!(begun.is_ok(), !self.seen.open && !self.seen.dead, "one at a time: {begun:?}");
        if begun.is_ok() {
            assert!(!self.seen.burnt.contains(&self.epoch()), "an epoch under which something is unknown");
            (self.seen.open, self.seen.protocol, self.seen.lost) = (true, Some(protocol), false);
            assert_eq!(self.seen.on_wire, 0);
        }
    }

    fn batch(&mut self, partition: TopicPartition) {
        if self.machine.admits(partition) {
            assert!(self.seen.open && !self.seen.dead && !self.seen.lost, "nothing goes out any more");
            if self.seen.protocol == Some(Protocol::Registered) {
                assert!(self.seen.registered.contains(&partition), "the coordinator was not told");
            }
            self.machine.sent();
            self.seen.on_wire += 1;
            self.seen.known = true;
        }
        if let Some(adding) = self.machine.next_to_add() {
            assert!(self.seen.adding.is_empty(), "one at a time");
            self.seen.adding = adding;
        }
    }

    fn add_answered(&mut self, how: u8) {
        let adding = std::mem::take(&mut self.seen.adding);
        match how {
            // No answer in time.
            0 => {
                self.machine.added(false);
                self.machine.doom(TransactionError::Refused { id: "id".into(), source: Error::Closed });
                (self.seen.known, self.seen.lost) = (true, true);
            }
            1 => {
                self.machine.not_added();
                self.machine.doom(TransactionError::Refused { id: "id".into(), source: Error::Closed });
                self.seen.lost = true;
            }
            _ => {
                self.machine.added(true);
                self.seen.known = true;
                self.seen.registered.extend(adding);
            }
        }
    }

    fn answered(&mut self, written: bool, stamped: bool) {
        if !written {
            if stamped {
                self.machine.stale();
                self.seen.burnt.insert(self.epoch());
            }
            self.machine.doom(TransactionError::GivenUp { id: "id".into() });
            self.seen.lost = true;
        }
        self.machine.settled();
        self.seen.on_wire -= 1;
    }

    fn end(&mut self, answer: u8) {
        let Some(wanted) = self.seen.wanted else { return };
        // As the driver does: a commit waits for its batches.
        let refused = self.machine.refusal().is_some();
        if wanted == End::Commit && !refused && self.seen.on_wire > 0 {
            return;
        }
        assert_eq!(self.machine.ending().is_err(), self.seen.dead);
        if self.seen.dead || !self.machine.is_quiet() {
            return;
        }
        assert!(self.seen.on_wire == 0 && self.seen.adding.is_empty(), "the end overtakes what is under way");
        let (end, told, reason) = self.machine.verdict(wanted);
        assert_eq!(
            end == End::Commit,
            wanted == End::Commit && !self.seen.lost,
            "lost records are committed"
        );
        assert_eq!(reason.is_some(), wanted == End::Commit && self.seen.lost);
        assert_eq!(told, self.seen.known, "what the coordinator knows of, it is told the end of");
        match answer {
            // No answer: its epoch must not be used again.
            0 if told => {
                self.seen.burnt.insert(self.epoch());
                self.machine.ended(None, false);
            }
            _ if told && self.seen.protocol == Some(Protocol::Implicit) => {
                let fresh = self.fresh();
                self.machine.ended(Some(fresh), true);
            }
            _ => self.machine.ended(None, true),
        }
        let Record { next_epoch, on_wire, dead, .. } = self.seen;
        let burnt = std::mem::take(&mut self.seen.burnt);
        self.seen = Record { next_epoch, on_wire, dead, burnt, ..Record::default() };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_committed_that_was_not_written(events in prop::collection::vec(event(), 1..80)) {
        let mut world = World { machine: Machine::new("id".into()), seen: Record::default() };
        for event in &events {
            world.happen(event);
        }
    }
}
