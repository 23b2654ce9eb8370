//! Who holds a partition: its replicas, which of them are in sync, who leads, in which epoch. Pure: what happens to
//! brokers goes in, leaders come out, as Kafka's controller decides (with eligible leader replicas, KIP-966), and what is
//! lost with them.

use kafka_protocol::ResponseError;

/// Stands for no leader.
pub(crate) const NOBODY: i32 = -1;

/// What a partition's replicas have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replicas {
    /// All of them; the first is the preferred leader.
    all: Vec<i32>,
    in_sync: Vec<i32>,
    /// Out of sync, since their brokers went when too few were in sync; all that is committed is theirs.
    eligible: Vec<i32>,
    /// Who led last, where nobody does.
    last_known: Vec<i32>,
    /// Where the logs of those end that went: what was written since they lack.
    ends: Vec<(i32, i64)>,
    /// Where the log of the new leader ends, if it lacks records.
    lost_from: Option<i64>,
    leader: i32,
    epoch: i32,
}

/// What decides an election besides the replicas.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'r> {
    pub(crate) is_live: &'r dyn Fn(i32) -> bool,
    /// `min.insync.replicas`
    pub(crate) min_in_sync: usize,
    /// `unclean.leader.election.enable`
    pub(crate) unclean: bool,
    /// Where the log ends.
    pub(crate) end: i64,
}

impl Replicas {
    /// A new partition on `all`, led by the first that lives.
    pub(crate) fn new(all: Vec<i32>, is_live: impl Fn(i32) -> bool) -> Self {
        let in_sync: Vec<i32> = all.iter().copied().filter(|id| is_live(*id)).collect();
        let leader = in_sync.first().copied().unwrap_or(NOBODY);
        let eligible = if in_sync.is_empty() { all.clone() } else { Vec::new() };
        let (last_known, ends) = (Vec::new(), Vec::new());
        Self { all, in_sync, eligible, last_known, ends, lost_from: None, leader, epoch: 0 }
    }

    pub(crate) fn all(&self) -> &[i32] {
        &self.all
    }
    pub(crate) fn in_sync(&self) -> &[i32] {
        &self.in_sync
    }
    pub(crate) fn eligible(&self) -> &[i32] {
        &self.eligible
    }
    pub(crate) fn last_known(&self) -> &[i32] {
        &self.last_known
    }
    /// The leader, or [`NOBODY`].
    pub(crate) fn leader(&self) -> i32 {
        self.leader
    }
    /// It grows whenever the leader changes.
    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// Where the log ends now, if its new leader lacks what lies behind: to be asked after each change.
    pub(crate) fn take_lost(&mut self) -> Option<i64> {
        self.lost_from.take()
    }

    /// Broker `id` has gone.
    pub(crate) fn gone(&mut self, id: i32, rules: Rules<'_>) {
        if !self.in_sync.contains(&id) {
            return;
        }
        self.ends.push((id, rules.end));
        let before = std::mem::take(&mut self.in_sync);
        self.in_sync = before.iter().copied().filter(|known| *known != id).collect();
        if self.in_sync.len() < rules.min_in_sync {
            let new = before.iter().filter(|known| !self.in_sync.contains(known)).copied();
            let new: Vec<i32> = new.filter(|known| !self.eligible.contains(known)).collect();
            self.eligible.extend(new);
        }
        if self.leader == id {
            self.leader = NOBODY;
            self.last_known = if self.in_sync.is_empty() { vec![id] } else { Vec::new() };
            self.elect_someone(rules);
            self.begin_epoch();
        }
    }

    /// Broker `id` is back, and has caught up.
    pub(crate) fn back(&mut self, id: i32, rules: Rules<'_>) {
        if !self.all.contains(&id) {
            return;
        }
        if self.leader != NOBODY {
            self.catch_up(rules);
        } else if self.elect_someone(rules) {
            self.begin_epoch();
        }
    }

    /// The first in the order of the replicas that may lead; whether there is one.
    fn elect_someone(&mut self, rules: Rules<'_>) -> bool {
        let live = |id: &&i32| (rules.is_live)(**id);
        let among = |ids: &[i32]| self.all.iter().filter(live).find(|id| ids.contains(id)).copied();
        let found = among(&self.in_sync).or_else(|| among(&self.eligible));
        let unclean = || rules.unclean.then(|| self.all.iter().find(live).copied()).flatten();
        let found = found.or_else(unclean);
        found.into_iter().for_each(|id| self.lead(id, rules));
        found.is_some()
    }

    fn lead(&mut self, id: i32, rules: Rules<'_>) {
        self.leader = id;
        self.last_known.clear();
        if !self.in_sync.contains(&id) {
            self.in_sync = vec![id];
            let own = self.ends.iter().find(|(known, _)| *known == id).map_or(0, |(_, end)| *end);
            self.lost_from = (own < rules.end).then_some(own);
        }
        self.catch_up(rules);
    }

    /// With a leader, whoever lives is in sync at once.
    fn catch_up(&mut self, rules: Rules<'_>) {
        let behind = |id: &i32| (rules.is_live)(*id) && !self.in_sync.contains(id);
        let behind: Vec<i32> = self.all.iter().copied().filter(behind).collect();
        self.in_sync.extend(behind);
        self.ends.retain(|(id, _)| !self.in_sync.contains(id));
        let enough = self.in_sync.len() >= rules.min_in_sync;
        self.eligible.retain(|id| !enough && !self.in_sync.contains(id));
    }

    fn begin_epoch(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
    }

    /// Makes broker `id` the leader.
    pub(crate) fn move_to(&mut self, id: i32, rules: Rules<'_>) -> Result<(), ResponseError> {
        if !self.all.contains(&id) {
            return Err(ResponseError::ReplicaNotAvailable);
        }
        let may = self.in_sync.contains(&id) || self.eligible.contains(&id) || rules.unclean;
        if !(rules.is_live)(id) || !may {
            return Err(ResponseError::EligibleLeadersNotAvailable);
        }
        if self.leader != id {
            self.lead(id, rules);
            self.begin_epoch();
        }
        Ok(())
    }

    /// ElectLeaders for the preferred leader.
    pub(crate) fn elect_preferred(&mut self, rules: Rules<'_>) -> Result<(), ResponseError> {
        let preferred = self.all.first().copied().unwrap_or(NOBODY);
        if self.leader == preferred {
            return Err(ResponseError::ElectionNotNeeded);
        }
        if !(rules.is_live)(preferred) || !self.in_sync.contains(&preferred) {
            return Err(ResponseError::PreferredLeaderNotAvailable);
        }
        self.move_to(preferred, rules)
    }

    /// ElectLeaders where nobody leads: whoever lives, though records may be lost with it.
    pub(crate) fn elect_unclean(&mut self, rules: Rules<'_>) -> Result<(), ResponseError> {
        if self.leader != NOBODY {
            return Err(ResponseError::ElectionNotNeeded);
        }
        if !self.elect_someone(Rules { unclean: true, ..rules }) {
            return Err(ResponseError::EligibleLeadersNotAvailable);
        }
        self.begin_epoch();
        Ok(())
    }

    /// Makes broker `id` the leader, in sync or not: whoever else lives has what it has.
    pub(crate) fn elect_behind(
        &mut self,
        id: i32,
        is_live: &dyn Fn(i32) -> bool,
        end: i64,
    ) -> Result<(), ResponseError> {
        if self.leader == id {
            return Err(ResponseError::ElectionNotNeeded);
        }
        self.move_to(id, Rules { is_live, min_in_sync: 1, unclean: true, end })
    }

    /// Puts the partition on other brokers, which have its records at once.
    pub(crate) fn reassign(&mut self, all: Vec<i32>, rules: Rules<'_>) {
        let removed = self.all.iter().any(|id| !all.contains(id));
        self.all = all;
        self.catch_up(rules);
        let all = &self.all;
        self.in_sync.retain(|id| all.contains(id));
        self.eligible.retain(|id| all.contains(id));
        self.ends.retain(|(id, _)| all.contains(id));
        let leaderless = !all.contains(&self.leader);
        if leaderless {
            self.leader = NOBODY;
            self.elect_someone(rules);
        }
        if leaderless || removed {
            self.begin_epoch();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn rules<'r>(is_live: &'r dyn Fn(i32) -> bool, min_in_sync: usize) -> Rules<'r> {
        Rules { is_live, min_in_sync, unclean: false, end: 0 }
    }

    fn shown(replicas: &Replicas) -> (i32, &[i32], &[i32], &[i32]) {
        (replicas.leader, &replicas.in_sync, &replicas.eligible, &replicas.last_known)
    }

    /// What Apache Kafka 4.1.1 said of three topics when broker 3 of 1, 2, 3 was killed and came back.
    #[test]
    fn as_apache_kafka_decides() {
        let without_3 = |id: i32| id != 3;
        let all = |_: i32| true;
        for (replicas, min_in_sync, gone, back) in [
            (vec![3], 2, (-1, &[][..], &[3][..], &[3][..]), (3, &[3][..])),
            (vec![3, 2], 2, (2, &[2], &[3], &[]), (2, &[2, 3])),
            (vec![3, 2, 1], 2, (2, &[2, 1], &[], &[]), (2, &[2, 1, 3])),
        ] {
            let mut replicas = Replicas::new(replicas, all);
            replicas.gone(3, rules(&without_3, min_in_sync));
            assert_eq!(shown(&replicas), gone);
            replicas.back(3, rules(&all, min_in_sync));
            assert_eq!(shown(&replicas), (back.0, back.1, &[][..], &[][..]));
        }
    }

    #[test]
    fn the_preferred_leader_leads_again_when_asked() {
        let (all, without_1) = (|_: i32| true, |id: i32| id != 1);
        let mut replicas = Replicas::new(vec![1, 2], all);
        let needless = Err(ResponseError::ElectionNotNeeded);
        assert_eq!(replicas.elect_preferred(rules(&all, 1)), needless);
        replicas.gone(1, rules(&without_1, 1));
        let absent = Err(ResponseError::PreferredLeaderNotAvailable);
        assert_eq!(replicas.elect_preferred(rules(&without_1, 1)), absent);
        replicas.back(1, rules(&all, 1));
        assert_eq!((replicas.leader, replicas.epoch), (2, 1), "it does not push itself forward");
        assert_eq!(replicas.elect_preferred(rules(&all, 1)), Ok(()));
        assert_eq!((replicas.leader, replicas.epoch), (1, 2));
        assert_eq!(replicas.elect_unclean(rules(&all, 1)), needless);
    }

    #[test]
    fn out_of_sync_replicas_lead_only_uncleanly() {
        let (all, none, only_2) = (|_: i32| true, |_: i32| false, |id: i32| id == 2);
        let mut replicas = Replicas::new(vec![1, 2], all);
        replicas.gone(2, rules(&|id| id == 1, 1));
        replicas.gone(1, rules(&none, 1));
        replicas.back(2, rules(&only_2, 1));
        assert_eq!(replicas.leader, NOBODY, "it lacks what 1 wrote alone");
        assert_eq!(replicas.move_to(2, rules(&only_2, 1)), Err(ResponseError::EligibleLeadersNotAvailable));
        assert_eq!(replicas.move_to(3, rules(&all, 1)), Err(ResponseError::ReplicaNotAvailable));
        assert_eq!(replicas.elect_unclean(rules(&only_2, 1)), Ok(()));
        assert_eq!(shown(&replicas), (2, &[2][..], &[][..], &[][..]));
    }

    #[test]
    fn who_leads_uncleanly_lacks_what_was_written_without_it() {
        let (all, only_1, none, only_2) =
            (|_: i32| true, |id: i32| id == 1, |_: i32| false, |id: i32| id == 2);
        let at = |is_live, end| Rules { end, ..rules(is_live, 1) };
        let mut replicas = Replicas::new(vec![1, 2], all);
        replicas.gone(2, at(&only_1, 3));
        replicas.gone(1, at(&none, 5));
        replicas.back(2, at(&only_2, 5));
        assert_eq!(replicas.elect_unclean(at(&only_2, 5)), Ok(()));
        assert_eq!((replicas.leader, replicas.take_lost(), replicas.take_lost()), (2, Some(3), None));
        replicas.back(1, at(&all, 4));
        assert_eq!(replicas.move_to(1, at(&all, 4)), Ok(()));
        assert_eq!(replicas.take_lost(), None, "it has caught up");
    }

    #[test]
    fn a_partition_can_be_put_on_other_brokers() {
        let all = |_: i32| true;
        let mut replicas = Replicas::new(vec![1, 2], all);
        replicas.reassign(vec![2, 1], rules(&all, 1));
        assert_eq!((replicas.leader, replicas.epoch), (1, 0), "the order alone moves no leader");
        replicas.reassign(vec![3, 1], rules(&all, 1));
        assert_eq!((replicas.leader, replicas.epoch, replicas.in_sync()), (1, 1, &[1, 3][..]));
        replicas.reassign(vec![2], rules(&all, 1));
        assert_eq!((replicas.leader, replicas.epoch, replicas.in_sync()), (2, 2, &[2][..]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever happens: the leader lives and is in sync, nobody is both in sync and eligible, epochs only grow
        /// and grow with each new leader, what a new leader lacks is lost and nothing else, and once all are back
        /// somebody leads.
        #[test]
        fn leadership_holds(
            count in 1i32..5,
            min_in_sync in 1usize..4,
            unclean: bool,
            steps in prop::collection::vec((0i32..5, 0u8..6), 0..60),
        ) {
            let mut live: BTreeSet<i32> = (0..count).collect();
            let mut replicas = Replicas::new((0..count).collect(), |_| true);
            let mut end = 0;
            let mut ends: BTreeMap<i32, i64> = (0..count).map(|id| (id, 0)).collect();
            for (id, step) in steps {
                let id = id % count;
                let before = replicas.clone();
                let (came, went) = (step == 0 && live.insert(id), step == 1 && live.remove(&id));
                let is_live = |id: i32| live.contains(&id);
                let rules = Rules { unclean, end, ..rules(&is_live, min_in_sync) };
                match step {
                    0 if came => replicas.back(id, rules),
                    1 if went => replicas.gone(id, rules),
                    2 => _ = replicas.elect_preferred(rules),
                    3 => _ = replicas.move_to(id, rules),
                    4 => _ = replicas.elect_unclean(rules),
                    5 if replicas.leader != NOBODY => end += 1,
                    _ => {}
                }
                let lost = replicas.take_lost();
                let own = ends.get(&replicas.leader).copied().filter(|_| replicas.leader != before.leader);
                prop_assert_eq!(lost, own.filter(|own| *own < end));
                end = lost.unwrap_or(end);
                ends.extend(replicas.in_sync.iter().map(|id| (*id, end)));
                if replicas.leader != NOBODY {
                    prop_assert!(is_live(replicas.leader) && replicas.in_sync.contains(&replicas.leader));
                }
                prop_assert!(replicas.in_sync.iter().all(|id| is_live(*id)));
                prop_assert!(!replicas.eligible.iter().any(|id| replicas.in_sync.contains(id)));
                prop_assert_eq!(replicas.epoch > before.epoch, replicas.leader != before.leader);
            }
            for id in 0..count {
                if live.insert(id) {
                    replicas.back(id, Rules { end, ..rules(&|id| live.contains(&id), min_in_sync) });
                }
            }
            prop_assert!(replicas.leader != NOBODY);
            prop_assert_eq!(replicas.in_sync.len(), usize::try_from(count).unwrap());
        }
    }
}
