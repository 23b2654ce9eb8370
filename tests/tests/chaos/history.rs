//! What members said, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

/// How many keys there are; the number of a record says its key.
pub const KEYS: u64 = 60;
/// `{records: n}` of the listeners.
pub const BOUND: u64 = 50;
/// Longer than a partition takes to be given back.
const GIVING: u64 = 12_000_000;

/// What has to be in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Partition,
    Key,
}

/// A line of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Begun { partition: i32, offset: i64, n: u64 },
    Done { partition: i32, offset: i64 },
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
    Lost(Vec<i32>),
}

impl Told {
    /// With its time in microseconds.
    pub fn parse(line: &str) -> Option<(u64, Self)> {
        let words: Vec<&str> = line.split('\t').collect();
        let numbers = |text: &str| text.split(',').filter_map(|word| word.parse().ok()).collect();
        let told = match words[..] {
            ["begun", _, partition, offset, n] => Self::Begun {
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
                n: n.parse().ok()?,
            },
            ["done", _, partition, offset, _] => {
                Self::Done { partition: partition.parse().ok()?, offset: offset.parse().ok()? }
            }
            ["assigned", _, list] => Self::Assigned(numbers(list)),
            ["revoked", _, list] => Self::Revoked(numbers(list)),
            ["lost", _, list] => Self::Lost(numbers(list)),
            _ => return None,
        };
        Some((words[1].parse().ok()?, told))
    }
}

/// What one process said, and when it was killed, if it was.
#[derive(Debug, Default)]
pub struct Life {
    pub told: Vec<(u64, Told)>,
    pub killed: Option<u64>,
}

/// Of one group.
#[derive(Debug, Default)]
pub struct History {
    pub lives: Vec<Life>,
    /// What was found committed, and when at the latest: partition, offset.
    pub committed: Vec<(u64, i32, i64)>,
    /// What was written down of commits, in order, where that can be read.
    pub logged: Option<Vec<(u64, i32, i64)>>,
    /// How many numbers were sent, from 0.
    pub sent: u64,
}

/// A record's first handling.
#[derive(Debug, Clone, Copy)]
struct First {
    n: u64,
    begun: u64,
    done: u64,
    times: u64,
}

type Records = BTreeMap<(i32, i64), First>;

impl History {
    /// Everything that is wrong, in words.
    pub fn violations(&self, lane: Lane) -> Vec<String> {
        let records = self.records();
        let mut wrong = self.lost(&records);
        wrong.extend(out_of_order(&records, lane));
        wrong.extend(self.repeated(&records));
        wrong.extend(self.ahead(&records));
        wrong.extend(went_back(self.logged.as_ref().unwrap_or(&self.committed)));
        wrong
    }

    /// What there is to say about it where nothing is wrong.
    pub fn summary(&self) -> String {
        let records = self.records();
        let repeated: u64 = records.values().map(|first| first.times - 1).sum();
        let unclean: u64 = self.unclean().values().sum();
        format!(
            "{} records, {} processes, {repeated} repeated after {unclean} unclean ends (most allowed: {}), {} looks at commits ({} saw \
             an older one)",
            self.sent,
            self.lives.len(),
            unclean * BOUND,
            self.committed.len(),
            went_back(&self.committed).len()
        )
    }

    fn records(&self) -> Records {
        let mut records = Records::new();
        for (at, told) in self.lives.iter().flat_map(|life| &life.told) {
            match told {
                Told::Begun { partition, offset, n } => {
                    let new = First { n: *n, begun: *at, done: u64::MAX, times: 0 };
                    let first = records.entry((*partition, *offset)).or_insert(new);
                    (first.begun, first.times) = (first.begun.min(*at), first.times + 1);
                }
                Told::Done { partition, offset } => {
                    if let Some(first) = records.get_mut(&(*partition, *offset)) {
                        first.done = first.done.min(*at);
                    }
                }
                _ => {}
            }
        }
        records
    }

    fn lost(&self, records: &Records) -> Vec<String> {
        let done: BTreeSet<u64> =
            records.values().filter(|first| first.done < u64::MAX).map(|first| first.n).collect();
        (0..self.sent).filter(|n| !done.contains(n)).map(|n| format!("lost: number {n}")).collect()
    }

    /// How often each partition was taken from a member that could not commit.
    fn unclean(&self) -> BTreeMap<i32, u64> {
        let mut unclean: BTreeMap<i32, u64> = BTreeMap::new();
        for life in &self.lives {
            let (mut held, mut giving) = (BTreeSet::new(), BTreeMap::new());
            for (at, told) in &life.told {
                match told {
                    Told::Assigned(partitions) => held.extend(partitions.iter().copied()),
                    Told::Revoked(partitions) => {
                        held.retain(|one| !partitions.contains(one));
                        giving.extend(partitions.iter().map(|one| (*one, *at)));
                    }
                    Told::Lost(partitions) => {
                        held.retain(|one| !partitions.contains(one));
                        partitions.iter().for_each(|one| *unclean.entry(*one).or_default() += 1);
                    }
                    _ => {}
                }
            }
            if let Some(killed) = life.killed {
                giving.retain(|one, at| !held.contains(one) && *at + GIVING > killed);
                held.iter().chain(giving.keys()).for_each(|one| *unclean.entry(*one).or_default() += 1);
            }
        }
        unclean
    }

    fn repeated(&self, records: &Records) -> Vec<String> {
        let unclean = self.unclean();
        let mut repeated: BTreeMap<i32, u64> = BTreeMap::new();
        for ((partition, _), first) in records {
            *repeated.entry(*partition).or_default() += first.times - 1;
        }
        let most = |partition| BOUND * unclean.get(partition).copied().unwrap_or(0);
        let over = repeated.iter().filter(|(partition, times)| **times > most(partition));
        over.map(|(partition, times)| {
            format!("repeated: {times} of partition {partition}, most {}", most(partition))
        })
        .collect()
    }

    /// Commits of what was not done by then.
    fn ahead(&self, records: &Records) -> Vec<String> {
        let mut wrong = Vec::new();
        // By partition: when everything below the next offset was done.
        let mut below: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
        for ((partition, offset), first) in records {
            let line = below.entry(*partition).or_default();
            let before = line.last().copied().unwrap_or(0);
            // What was never begun is not done.
            let hole = *offset != line.len() as i64;
            line.push(if hole { u64::MAX } else { before.max(first.done) });
        }
        for (at, partition, offset) in &self.committed {
            let last = usize::try_from(*offset).ok().and_then(|offset| offset.checked_sub(1));
            let done = last.map_or(Some(0), |last| below.get(partition)?.get(last).copied());
            if done.is_none_or(|done| done > *at) {
                wrong.push(format!(
                    "ahead: partition {partition} committed {offset}, done {done:?}, seen {at}"
                ));
            }
        }
        wrong
    }
}

/// Commits that went back.
fn went_back(commits: &[(u64, i32, i64)]) -> Vec<String> {
    let mut highest: BTreeMap<i32, (u64, i64)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (at, partition, offset) in commits {
        let before = highest.entry(*partition).or_default();
        if *offset < before.1 {
            let (since, before) = *before;
            wrong
                .push(format!("back: partition {partition} committed {offset} at {at}, {before} at {since}"));
        } else {
            *before = (*at, *offset);
        }
    }
    wrong
}

/// A record that was begun before the one before it was done for the first time.
fn out_of_order(records: &Records, lane: Lane) -> Vec<String> {
    let mut last: BTreeMap<u64, (i64, First)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for ((partition, offset), first) in records {
        let lane = match lane {
            Lane::Partition => u64::from(partition.unsigned_abs()),
            Lane::Key => first.n % KEYS,
        };
        if let Some((before, earlier)) = last.insert(lane, (*offset, *first))
            && (earlier.done > first.begun || (earlier.n > first.n && earlier.n % KEYS == first.n % KEYS))
        {
            wrong.push(format!("order: partition {partition}: {offset} was begun before {before} was done"));
        }
    }
    wrong
}

mod tests {
    use super::*;

    fn life(lines: &[&str], killed: Option<u64>) -> Life {
        Life { told: lines.iter().filter_map(|line| Told::parse(line)).collect(), killed }
    }

    fn handled(at: u64, offset: i64) -> [String; 2] {
        [format!("begun\t{at}\t0\t{offset}\t{offset}"), format!("done\t{}\t0\t{offset}\t{offset}", at + 1)]
    }

    fn history(order: &[(u64, i64)], killed: Option<u64>, committed: &[(u64, i64)]) -> Vec<String> {
        let lines: Vec<String> = ["assigned\t1\t0".to_owned()]
            .into_iter()
            .chain(order.iter().flat_map(|(at, offset)| handled(*at, *offset)))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let history = History {
            lives: vec![life(&lines, killed)],
            committed: committed.iter().map(|(at, offset)| (*at, 0, *offset)).collect(),
            logged: None,
            sent: 3,
        };
        history.violations(Lane::Partition)
    }

    #[test]
    fn each_violation_is_found() {
        let good = [(10, 0), (20, 1), (30, 2)];
        assert!(history(&good, None, &[(11, 1), (31, 3)]).is_empty());
        let begins = |found: &[String], word: &str| found.len() == 1 && found[0].starts_with(word);
        assert!(begins(&history(&good[..2], None, &[]), "lost: number 2"));
        assert!(begins(&history(&[(10, 0), (30, 1), (20, 2)], None, &[]), "order:"));
        assert!(begins(&history(&good, None, &[(30, 3)]), "ahead:"));
        assert!(begins(&history(&good, None, &[(31, 3), (32, 2)]), "back:"));
        let twice = [(10, 0), (20, 1), (25, 1), (30, 2)];
        assert!(begins(&history(&twice, None, &[]), "repeated: 1 of partition 0, most 0"));
        assert!(history(&twice, Some(40), &[]).is_empty());
    }
}
