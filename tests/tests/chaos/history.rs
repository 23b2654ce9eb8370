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
    Failed { partition: i32, offset: i64 },
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
            ["failed", _, partition, offset, _] => {
                Self::Failed { partition: partition.parse().ok()?, offset: offset.parse().ok()? }
            }
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
    /// When, from which partition and offset, and with which number, dead letters were written.
    pub letters: Vec<(u64, i32, i64, u64)>,
    /// What was written down of commits, in order, where that can be read.
    pub logged: Option<Vec<(u64, i32, i64)>>,
    /// How many numbers were sent, from 0.
    pub sent: u64,
    /// How many records of a partition may be repeated after each unclean end of an ownership; `None`: it is not said.
    pub bound: Option<u64>,
}

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begun,
    /// Its first attempt; another one follows, by whoever has the partition then.
    Failed,
    Done,
}

/// With their times.
type Steps = Vec<(u64, Step)>;

/// What became of a record.
#[derive(Debug, Clone, Copy)]
struct Fate {
    n: u64,
    /// For the first time.
    begun: u64,
    done: u64,
    /// How often it was begun again, but for those times that followed a failure.
    repeated: u64,
}

impl Fate {
    fn of(n: u64, mut steps: Steps) -> Self {
        steps.sort_by_key(|(at, _)| *at);
        let first = |which| steps.iter().find(|(_, step)| *step == which).map_or(u64::MAX, |(at, _)| *at);
        let again = |two: &&[(u64, Step)]| two[0].1 != Step::Failed && two[1].1 == Step::Begun;
        let done = steps.iter().filter(|(_, step)| *step == Step::Done).count();
        // Of two who handle it side by side, one after its first attempt failed, the order of steps does not tell.
        let repeated = steps.windows(2).filter(again).count().max(done.saturating_sub(1)) as u64;
        Self { n, begun: first(Step::Begun), done: first(Step::Done), repeated }
    }
}

type Records = BTreeMap<(i32, i64), Fate>;

impl History {
    /// Everything that is wrong, in words.
    pub fn violations(&self, lane: Lane) -> Vec<String> {
        let records = self.records();
        let mut wrong = self.lost(&records);
        wrong.extend(out_of_order(&records, lane));
        wrong.extend(self.repeated(&records));
        wrong.extend(self.ahead(&records));
        wrong.extend(self.given_up());
        wrong.extend(went_back(self.logged.as_ref().unwrap_or(&self.committed)));
        wrong
    }

    /// What there is to say about it where nothing is wrong.
    pub fn summary(&self) -> String {
        let records = self.records();
        let repeated: u64 = records.values().map(|fate| fate.repeated).sum();
        let unclean: u64 = self.unclean().values().sum();
        format!(
            "{} records, {} processes, {repeated} repeated after {unclean} unclean ends (most allowed: {}), {} dead letters, {} looks at commits \
             ({} saw an older one)",
            self.sent,
            self.lives.len(),
            self.bound.map_or_else(|| "any".to_owned(), |bound| (unclean * bound).to_string()),
            self.letters.len(),
            self.committed.len(),
            went_back(&self.committed).len()
        )
    }

    fn records(&self) -> Records {
        let mut all: BTreeMap<(i32, i64), (u64, Steps)> = BTreeMap::new();
        for (at, told) in self.lives.iter().flat_map(|life| &life.told) {
            let (place, step) = match told {
                Told::Begun { partition, offset, n } => {
                    all.entry((*partition, *offset)).or_insert((*n, Vec::new()));
                    ((*partition, *offset), Step::Begun)
                }
                Told::Failed { partition, offset } => ((*partition, *offset), Step::Failed),
                Told::Done { partition, offset } => ((*partition, *offset), Step::Done),
                Told::Assigned(_) | Told::Revoked(_) | Told::Lost(_) => continue,
            };
            // Who is done with it has begun it.
            if let Some((_, steps)) = all.get_mut(&place) {
                steps.push((*at, step));
            }
        }
        for (at, partition, offset, _) in &self.letters {
            if let Some((_, steps)) = all.get_mut(&(*partition, *offset)) {
                steps.push((*at, Step::Done));
            }
        }
        all.into_iter().map(|(place, (n, steps))| (place, Fate::of(n, steps))).collect()
    }

    /// Dead letters of records that a second attempt would have handled.
    fn given_up(&self) -> Vec<String> {
        let wrongly = self.letters.iter().filter(|(.., n)| !::tests::fails_for_good(*n));
        wrongly
            .map(|(_, partition, offset, n)| format!("given up: number {n} of {partition}@{offset}"))
            .collect()
    }

    fn lost(&self, records: &Records) -> Vec<String> {
        let done: BTreeSet<u64> =
            records.values().filter(|fate| fate.done < u64::MAX).map(|fate| fate.n).collect();
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
        let Some(bound) = self.bound else { return Vec::new() };
        let unclean = self.unclean();
        let mut repeated: BTreeMap<i32, u64> = BTreeMap::new();
        for ((partition, _), fate) in records {
            *repeated.entry(*partition).or_default() += fate.repeated;
        }
        let most = |partition| bound * unclean.get(partition).copied().unwrap_or(0);
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
        for ((partition, offset), fate) in records {
            let line = below.entry(*partition).or_default();
            let before = line.last().copied().unwrap_or(0);
            // What was never begun is not done.
            let hole = *offset != line.len() as i64;
            line.push(if hole { u64::MAX } else { before.max(fate.done) });
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
    let mut last: BTreeMap<u64, (i64, Fate)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for ((partition, offset), fate) in records {
        let lane = match lane {
            Lane::Partition => u64::from(partition.unsigned_abs()),
            Lane::Key => fate.n % KEYS,
        };
        if let Some((before, earlier)) = last.insert(lane, (*offset, *fate))
            && (earlier.done > fate.begun || (earlier.n > fate.n && earlier.n % KEYS == fate.n % KEYS))
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
            sent: 3,
            bound: Some(BOUND),
            ..History::default()
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

    #[test]
    fn what_failed_may_be_begun_by_the_next_owner() {
        use Step::{Begun, Done, Failed};
        let repeated = |steps: &[Step]| Fate::of(0, (1..).zip(steps.iter().copied()).collect()).repeated;
        assert_eq!(repeated(&[Begun, Failed, Begun, Failed, Done]), 0);
        assert_eq!(repeated(&[Begun, Failed, Done, Begun, Failed, Done]), 1);
        assert_eq!(repeated(&[Begun, Begun, Done, Begun]), 2);
        assert_eq!(repeated(&[Begun, Failed, Begun, Done, Done]), 1);
    }

    #[test]
    fn a_dead_letter_is_the_end_of_what_always_fails() {
        let mut lines: Vec<String> = (0..8).flat_map(|n| handled(10 * n, n.cast_signed())).collect();
        lines.pop();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let wrong = |letters: &[(u64, i32, i64, u64)]| {
            let lives = vec![life(&lines, None)];
            History { lives, letters: letters.to_vec(), sent: 8, bound: Some(BOUND), ..History::default() }
                .violations(Lane::Partition)
        };
        assert_eq!(wrong(&[]), ["lost: number 7"]);
        assert!(wrong(&[(75, 0, 7, 7)]).is_empty());
        let two = wrong(&[(75, 0, 7, 7), (80, 0, 3, 3)]);
        assert_eq!(two, ["repeated: 1 of partition 0, most 0", "given up: number 3 of 0@3"]);
    }
}
