//! An incremental fetch session (KIP-227), our half of it, pure.
//!
//! ```text
//! want / leave ──▶ wanted ──difference──▶ Delta ──▶ request ──▶ broker's session
//!                    ▲                      │
//!                 changed              known (what the broker was told)
//! ```
//!
//! The broker remembers every partition that it was asked for, with its offset and limits. A request names only what
//! changed: a partition with new values, and a partition to forget. One that is merely left out stays and goes on
//! sending data. What was told is lost with the session; then everything is named again.

use crate::fetch::Map;
use crate::ids::TopicPartition;

/// What a partition is asked for with: all that the broker's session remembers of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// 0 where the cluster has no topic ids.
    pub(crate) topic_id: u128,
    pub(crate) offset: i64,
    /// The leader epoch that the reader believes in, -1 where unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) max_bytes: i32,
    /// Not sent: which placement of the partition asks.
    pub(crate) turn: u64,
}

/// What a request says about partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    /// New or with new values.
    pub(crate) ask: Asks,
    /// To be dropped from the session, with the topic id that they were asked for with.
    pub(crate) forget: Forgets,
}

type Asks = Vec<(TopicPartition, Asked)>;
type Forgets = Vec<(TopicPartition, u128)>;

/// No session: every request names everything.
const NO_SESSION: i32 = 0;
/// The request that opens a session, or replaces the one that it names.
const FULL: i32 = 0;
/// The request that ends a session, or that belongs to none.
const FINAL: i32 = -1;

/// One broker's session.
#[derive(Debug)]
pub(crate) struct Session {
    id: i32,
    epoch: i32,
    wanted: Map<TopicPartition, Asked>,
    known: Map<TopicPartition, Asked>,
    /// Partitions whose entry in `wanted` changed since the last request.
    changed: Vec<TopicPartition>,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            id: NO_SESSION,
            epoch: FULL,
            wanted: Map::default(),
            known: Map::default(),
            changed: Vec::new(),
        }
    }
}

impl Session {
    /// From the next request on the partition is asked for with these values.
    pub(crate) fn want(&mut self, partition: TopicPartition, asked: Asked) {
        if self.wanted.insert(partition, asked) != Some(asked) {
            self.changed.push(partition);
        }
    }

    /// From the next request on the partition is not asked for.
    pub(crate) fn leave(&mut self, partition: TopicPartition) {
        if self.wanted.remove(&partition).is_some() {
            self.changed.push(partition);
        }
    }

    /// Whether there is nothing to ask for.
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// How many partitions are asked for.
    pub(crate) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// What the next request will ask of the partition.
    pub(crate) fn wanted(&self, partition: TopicPartition) -> Option<Asked> {
        self.wanted.get(&partition).copied()
    }

    /// Partitions that a request under way does not name as they are wanted now: new ones, and those that have moved.
    pub(crate) fn news(&self) -> Asks {
        let wanted = |partition: &TopicPartition| Some((*partition, self.wanted(*partition)?));
        let mut news: Asks = self.changed.iter().filter_map(wanted).collect();
        news.retain(|(partition, asked)| self.known.get(partition) != Some(asked));
        news.sort_unstable_by_key(|(partition, _)| *partition);
        news.dedup();
        news
    }

    /// What was asked for last: what the answer to the last request is about.
    pub(crate) fn asked(&self, partition: TopicPartition) -> Option<Asked> {
        self.known.get(&partition).copied()
    }

    /// What the next request has to say. The broker is taken to know it from here on: a request that fails must be
    /// followed by [`Session::broken`].
    pub(crate) fn next_delta(&mut self) -> Delta {
        let (ask, forget) =
            if self.epoch == FULL { (self.everything(), Vec::new()) } else { self.difference() };
        Delta { session_id: self.id, session_epoch: self.epoch, ask, forget }
    }

    fn everything(&mut self) -> Asks {
        self.changed.clear();
        self.known.clone_from(&self.wanted);
        self.known.iter().map(|(partition, asked)| (*partition, *asked)).collect()
    }

    fn difference(&mut self) -> (Asks, Forgets) {
        let (mut ask, mut forget) = (Vec::new(), Vec::new());
        for partition in std::mem::take(&mut self.changed) {
            let wanted = self.wanted.get(&partition).copied();
            // A partition that changed twice comes by twice: the second time it is known already.
            if wanted == self.known.get(&partition).copied() {
                continue;
            }
            let known = match wanted {
                Some(asked) => {
                    ask.push((partition, asked));
                    self.known.insert(partition, asked)
                }
                None => self.known.remove(&partition),
            };
            // The broker's key is the topic's id: under a new one it is another partition.
            match known {
                Some(old) if wanted.is_none_or(|new| new.topic_id != old.topic_id) => {
                    forget.push((partition, old.topic_id));
                }
                _ => {}
            }
        }
        (ask, forget)
    }

    /// The broker answered without an error of the whole request.
    pub(crate) fn answered(&mut self, session_id: i32) {
        if session_id == NO_SESSION || (self.epoch != FULL && session_id != self.id) {
            // It keeps no session for us (its cache is full), or evicted ours: name everything again.
            (self.id, self.epoch) = (NO_SESSION, FULL);
        } else {
            self.id = session_id;
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
    }

    /// The broker does not know the session any more (FETCH_SESSION_ID_NOT_FOUND): open another.
    pub(crate) fn gone(&mut self) {
        (self.id, self.epoch) = (NO_SESSION, FULL);
    }

    /// It is not known what the broker's session looks like (no answer, a wrong epoch): replace it by another.
    pub(crate) fn broken(&mut self) {
        self.epoch = FULL;
    }

    /// The request that ends the session on the broker, if there is one.
    pub(crate) fn farewell(&self) -> Option<Delta> {
        (self.id != NO_SESSION).then(|| Delta {
            session_id: self.id,
            session_epoch: FINAL,
            ask: Vec::new(),
            forget: Vec::new(),
        })
    }

    /// A request outside any session; this session is not touched by it.
    pub(crate) fn outside(ask: Asks) -> Delta {
        Delta { session_id: NO_SESSION, session_epoch: FINAL, ask, forget: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition::new("orders", number)
    }

    fn at(offset: i64) -> Asked {
        Asked { topic_id: 1, offset, leader_epoch: 0, max_bytes: 1, turn: 1 }
    }

    #[test]
    fn a_partition_left_out_is_forgotten_and_an_unchanged_one_is_not_named() {
        let mut session = Session::default();
        session.want(partition(0), at(5));
        session.want(partition(1), at(7));
        let delta = session.next_delta();
        assert_eq!((delta.session_id, delta.session_epoch, delta.ask.len()), (0, 0, 2));
        session.answered(42);

        session.want(partition(0), at(6));
        session.leave(partition(1));
        let delta = session.next_delta();
        assert_eq!((delta.session_id, delta.session_epoch), (42, 1));
        assert_eq!(delta.ask, [(partition(0), at(6))]);
        assert_eq!(delta.forget, [(partition(1), 1)]);
        session.answered(42);

        let delta = session.next_delta();
        assert_eq!(delta.session_epoch, 2);
        assert!(delta.ask.is_empty() && delta.forget.is_empty());
    }

    #[test]
    fn a_topic_created_again_is_another_partition_of_the_session() {
        let mut session = Session::default();
        session.want(partition(0), at(5));
        session.next_delta();
        session.answered(42);
        session.want(partition(0), Asked { topic_id: 2, ..at(0) });
        let delta = session.next_delta();
        assert_eq!(delta.forget, [(partition(0), 1)]);
        assert_eq!(delta.ask, [(partition(0), Asked { topic_id: 2, ..at(0) })]);
    }

    #[test]
    fn epochs_wrap_to_one_and_a_refused_session_names_everything_again() {
        let mut session = Session::default();
        session.want(partition(0), at(5));
        session.next_delta();
        session.answered(42);
        session.epoch = i32::MAX;
        session.answered(42);
        assert_eq!(session.epoch, 1);
        session.broken();
        let delta = session.next_delta();
        assert_eq!((delta.session_id, delta.session_epoch, delta.ask.len()), (42, 0, 1));
        session.gone();
        assert_eq!(session.next_delta().session_id, 0);
        assert_eq!(session.farewell(), None);
    }

    type Kept = Map<(TopicPartition, u128), Asked>;

    /// What a broker keeps, by KIP-227.
    #[derive(Default)]
    struct Broker {
        sessions: Map<i32, (i32, Kept)>,
        last_id: i32,
        without_room: bool,
    }

    enum Answer {
        Fine(i32),
        NotFound,
        WrongEpoch,
    }

    impl Broker {
        fn handle(&mut self, delta: &Delta) -> Answer {
            let entries = || delta.ask.iter().map(|(p, asked)| ((*p, asked.topic_id), *asked));
            match delta.session_epoch {
                FINAL => {
                    self.sessions.remove(&delta.session_id);
                    Answer::Fine(0)
                }
                FULL => {
                    self.sessions.remove(&delta.session_id);
                    if self.without_room {
                        return Answer::Fine(0);
                    }
                    self.last_id += 1;
                    self.sessions.insert(self.last_id, (1, entries().collect()));
                    Answer::Fine(self.last_id)
                }
                epoch => {
                    let Some((expected, kept)) = self.sessions.get_mut(&delta.session_id) else {
                        return Answer::NotFound;
                    };
                    if *expected != epoch {
                        return Answer::WrongEpoch;
                    }
                    *expected += 1;
                    kept.extend(entries());
                    for gone in &delta.forget {
                        kept.remove(gone);
                    }
                    Answer::Fine(delta.session_id)
                }
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Happening {
        Want(i32, u128, i64),
        Leave(i32),
        Request,
        RequestLost,
        AnswerLost,
        Evicted,
        NoRoom(bool),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            6 => (0..6i32, 1..3u128, 0..4i64).prop_map(|(p, id, offset)| Happening::Want(p, id, offset)),
            3 => (0..6i32).prop_map(Happening::Leave),
            6 => Just(Happening::Request),
            1 => Just(Happening::RequestLost),
            1 => Just(Happening::AnswerLost),
            1 => Just(Happening::Evicted),
            1 => any::<bool>().prop_map(Happening::NoRoom),
        ]
    }

    proptest! {
        /// Whatever happens to requests and sessions, after an answer the broker's session holds exactly what is
        /// wanted, or there is no session and the request named exactly that.
        #[test]
        fn the_brokers_session_is_what_is_wanted(happenings in prop::collection::vec(happening(), 0..80)) {
            let (mut ours, mut broker) = (Session::default(), Broker::default());
            for happening in happenings {
                match happening {
                    Happening::Want(p, topic_id, offset) => ours.want(partition(p), Asked { topic_id, ..at(offset) }),
                    Happening::Leave(p) => ours.leave(partition(p)),
                    Happening::Evicted => broker.sessions.clear(),
                    Happening::NoRoom(full) => broker.without_room = full,
                    Happening::RequestLost => {
                        ours.next_delta();
                        ours.broken();
                    }
                    Happening::AnswerLost => {
                        broker.handle(&ours.next_delta());
                        ours.broken();
                    }
                    Happening::Request => {
                        let wanted: Map<_, _> =
                            ours.wanted.iter().map(|(p, asked)| ((*p, asked.topic_id), *asked)).collect();
                        let delta = ours.next_delta();
                        match broker.handle(&delta) {
                            Answer::NotFound => ours.gone(),
                            Answer::WrongEpoch => ours.broken(),
                            Answer::Fine(id) => {
                                ours.answered(id);
                                let kept = match broker.sessions.get(&id) {
                                    Some((_, kept)) => kept.clone(),
                                    None => delta.ask.iter().map(|(p, asked)| ((*p, asked.topic_id), *asked)).collect(),
                                };
                                prop_assert_eq!(kept, wanted);
                            }
                        }
                    }
                }
            }
        }
    }
}
