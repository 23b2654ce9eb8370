//! Which retry topics there are, and which comes next (pure): Spring's rules for their names.

use std::time::Duration;

use crate::config::{RetryTopicNames, RetryTopics};

/// One retry topic of each topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hop {
    /// What stands behind the topic's name, the group's and the listener's id.
    pub(crate) suffix: String,
    /// How long a record waits in it.
    pub(crate) delay: Duration,
}

/// All of them. Equal waits share a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hops {
    hops: Vec<Hop>,
    /// The wait after each failed delivery but the last.
    delays: Vec<Duration>,
}

impl Hops {
    pub(crate) fn new(topics: &RetryTopics) -> Self {
        let delays = delays(topics);
        let mut unique = delays.clone();
        unique.dedup();
        let count = unique.len();
        let suffix = |index: usize, delay: Duration| match (count, topics.names) {
            (1, _) => "-retry".to_owned(),
            (_, RetryTopicNames::Index) => format!("-retry-{index}"),
            (_, RetryTopicNames::Delay) => format!("-retry-{}", delay.as_millis()),
        };
        let hops = unique.into_iter().enumerate();
        let hops = hops.map(|(index, delay)| Hop { suffix: suffix(index, delay), delay }).collect();
        Self { hops, delays }
    }

    /// Where a record goes whose delivery number `attempt` (1 is the first) has failed; `None`: it was the last.
    pub(crate) fn after(&self, attempt: u32) -> Option<&Hop> {
        let index = usize::try_from(attempt.saturating_sub(1)).ok()?;
        let delay = self.delays.get(index)?;
        self.hops.iter().find(|hop| hop.delay == *delay)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hop> {
        self.hops.iter()
    }
}

/// They never fall, and are whole milliseconds, by which topics are named.
fn delays(topics: &RetryTopics) -> Vec<Duration> {
    let multiplier = if topics.multiplier.is_finite() { topics.multiplier.max(1.0) } else { 1.0 };
    let longest = topics.max.as_secs_f64();
    let delay = |exponent: u32| {
        let exponent = i32::try_from(exponent).unwrap_or(i32::MAX);
        let millis = (topics.initial.as_secs_f64() * multiplier.powi(exponent)).min(longest) * 1000.0;
        Duration::from_secs_f64((millis + 1e-6).floor() / 1000.0)
    };
    (0..topics.attempts.saturating_sub(1)).map(delay).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topics(attempts: u32, initial: u64, max: u64, multiplier: f64, names: RetryTopicNames) -> RetryTopics {
        let (initial, max) = (Duration::from_millis(initial), Duration::from_millis(max));
        RetryTopics { attempts, initial, max, multiplier, names }
    }

    fn suffixes(hops: &Hops) -> Vec<&str> {
        hops.iter().map(|hop| hop.suffix.as_str()).collect()
    }

    /// As Spring's `DestinationTopicPropertiesFactory` names them with one topic for equal intervals.
    #[test]
    fn names_are_springs() {
        use RetryTopicNames::{Delay, Index};
        let fixed = Hops::new(&topics(4, 1000, 1000, 1.0, Delay));
        assert_eq!(suffixes(&fixed), ["-retry"]);
        let growing = Hops::new(&topics(4, 1000, 30_000, 2.0, Delay));
        assert_eq!(suffixes(&growing), ["-retry-1000", "-retry-2000", "-retry-4000"]);
        let bounded = Hops::new(&topics(6, 1000, 4000, 2.0, Delay));
        assert_eq!(suffixes(&bounded), ["-retry-1000", "-retry-2000", "-retry-4000"]);
        let indexed = Hops::new(&topics(4, 1000, 30_000, 2.0, Index));
        assert_eq!(suffixes(&indexed), ["-retry-0", "-retry-1", "-retry-2"]);
        assert_eq!(suffixes(&Hops::new(&topics(1, 1000, 1000, 1.0, Delay))), [""; 0]);
    }

    #[test]
    fn each_failure_leads_to_the_next_and_the_last_one_out() {
        let hops = Hops::new(&topics(6, 1000, 4000, 2.0, RetryTopicNames::Delay));
        let next: Vec<_> =
            (1..=6).map(|attempt| hops.after(attempt).map(|hop| hop.delay.as_secs())).collect();
        assert_eq!(next, [Some(1), Some(2), Some(4), Some(4), Some(4), None]);
    }

    proptest! {
        #[test]
        fn whatever_is_configured_every_failure_but_the_last_has_its_topic(
            attempts in 1..40u32, initial in 0..100_000u64, more in 0..1_000_000u64, multiplier in any::<f64>(),
        ) {
            let hops = Hops::new(&topics(attempts, initial, initial + more, multiplier, RetryTopicNames::Delay));
            for attempt in 1..attempts {
                prop_assert!(hops.after(attempt).unwrap().delay <= Duration::from_millis(initial + more));
            }
            prop_assert_eq!(hops.after(attempts), None);
            let mut names: Vec<_> = suffixes(&hops).into_iter().map(str::to_owned).collect();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), hops.iter().count());
        }
    }
}
