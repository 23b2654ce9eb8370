//! When to try again (pure).

use std::time::Duration;

use crate::config::Retry;

/// How often, and for how long, a record has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tried {
    /// Tries so far, 1 after the first.
    pub(super) attempt: u32,
    /// Since its first failure.
    pub(super) elapsed: Duration,
}

/// The wait before the next try, or `None` when no tries are left, or no time. `unit` in `0.0..1.0` is the chance of
/// the jitter.
pub(super) fn wait_after(retry: &Retry, tried: Tried, unit: f64) -> Option<Duration> {
    if tried.attempt >= retry.attempts {
        return None;
    }
    let multiplier = if retry.multiplier.is_finite() { retry.multiplier.max(1.0) } else { 1.0 };
    let jitter = if retry.jitter.is_finite() { retry.jitter.clamp(0.0, 1.0) } else { 0.0 };
    let exponent = i32::try_from(tried.attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let longest = retry.max.as_secs_f64();
    let wait = (retry.initial.as_secs_f64() * multiplier.powi(exponent)).min(longest);
    let (least, most) = (wait * (1.0 - jitter), (wait * (1.0 + jitter)).min(longest));
    let wait = Duration::from_secs_f64((least + (most - least) * unit).min(longest));
    let in_time = retry.max_elapsed.is_none_or(|most| tried.elapsed.saturating_add(wait) <= most);
    in_time.then_some(wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(attempt: u32) -> Tried {
        Tried { attempt, elapsed: Duration::ZERO }
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_end() {
        let retry = Retry {
            attempts: 5,
            initial: Duration::from_millis(100),
            max: Duration::from_millis(300),
            jitter: 0.0,
            ..Retry::default()
        };
        let waits: Vec<_> = (1..=5).map(|attempt| wait_after(&retry, after(attempt), 0.5)).collect();
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(waits, [millis(100), millis(200), millis(300), millis(300), None]);
        assert_eq!(wait_after(&Retry { attempts: 0, ..retry }, after(1), 0.5), None);
    }

    #[test]
    fn the_longest_wait_is_spread_too() {
        let second = Duration::from_secs(1);
        let retry = Retry { initial: second, max: second, multiplier: 1.0, ..Retry::default() };
        let waits = [0.0, 0.5, 0.999].map(|unit| wait_after(&retry, after(1), unit).unwrap().as_millis());
        assert_eq!(waits, [800, 900, 999]);
    }

    #[test]
    fn a_fixed_wait_without_jitter_is_the_same_each_time() {
        let wait = Duration::from_secs(2);
        let retry = Retry { initial: wait, max: wait, multiplier: 1.0, jitter: 0.0, ..Retry::default() };
        for attempt in 1..retry.attempts {
            assert_eq!(wait_after(&retry, after(attempt), 0.99), Some(wait));
        }
    }

    #[test]
    fn the_default_is_ten_tries_in_about_half_a_minute() {
        let retry = Retry::default();
        let waits: Vec<_> = (1..10).map(|attempt| wait_after(&retry, after(attempt), 0.5).unwrap()).collect();
        let seconds: Vec<_> = waits.iter().map(|wait| (wait.as_secs_f64() * 10.0).round() / 10.0).collect();
        assert_eq!(seconds, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 9.0, 9.0]);
        assert_eq!(wait_after(&retry, after(10), 0.5), None);
    }

    #[test]
    fn no_try_begins_after_the_time_is_over() {
        let retry = Retry {
            attempts: u32::MAX,
            initial: Duration::from_secs(1),
            jitter: 0.0,
            max_elapsed: Some(Duration::from_secs(10)),
            ..Retry::default()
        };
        let tried = |seconds| Tried { attempt: 1, elapsed: Duration::from_secs(seconds) };
        assert_eq!(wait_after(&retry, tried(9), 0.5), Some(Duration::from_secs(1)));
        assert_eq!(wait_after(&retry, tried(10), 0.5), None);
    }

    proptest! {
        #[test]
        fn no_setting_makes_it_panic_or_exceed_the_longest(
            attempt in any::<u32>(), initial in 0..u32::MAX, max in 0..u32::MAX, multiplier in any::<f64>(),
            jitter in any::<f64>(), elapsed in 0..u32::MAX, most in proptest::option::of(0..u32::MAX), unit in 0.0..1.0f64,
        ) {
            let millis = |millis: u32| Duration::from_millis(millis.into());
            let (initial, max, max_elapsed) = (millis(initial), millis(max), most.map(millis));
            let retry = Retry { attempts: u32::MAX, initial, max, multiplier, jitter, max_elapsed };
            let tried = Tried { attempt, elapsed: millis(elapsed) };
            if let Some(wait) = wait_after(&retry, tried, unit) {
                prop_assert!(wait <= max);
                prop_assert!(max_elapsed.is_none_or(|most| tried.elapsed + wait <= most));
            }
        }

        #[test]
        fn jitter_is_a_fifth_either_way(attempt in 1..8u32, unit in 0.0..1.0f64) {
            let retry = Retry { max: Duration::from_secs(3600), attempts: 10, ..Retry::default() };
            let plain = wait_after(&Retry { jitter: 0.0, ..retry }, after(attempt), unit).unwrap().as_secs_f64();
            let wait = wait_after(&retry, after(attempt), unit).unwrap().as_secs_f64();
            let expected = plain * (0.8 + 0.4 * unit);
            prop_assert!((wait - expected).abs() <= 0.001 * plain, "{wait} in place of {expected}");
        }
    }
}
