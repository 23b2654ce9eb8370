//! When to try again (pure).

use std::time::Duration;

use crate::config::Retry;

/// The wait after attempt `attempt` (1 is the first try), or `None` when no tries are left.
/// `unit` in `0.0..1.0` is the chance of a jitter of 20 % to either side.
pub(crate) fn wait_after(retry: &Retry, attempt: u32, unit: f64) -> Option<Duration> {
    if attempt >= retry.attempts {
        return None;
    }
    let multiplier = if retry.multiplier.is_finite() { retry.multiplier.max(1.0) } else { 1.0 };
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let longest = retry.max.as_secs_f64();
    let wait = (retry.initial.as_secs_f64() * multiplier.powi(exponent)).min(longest);
    Some(Duration::from_secs_f64((wait * (0.8 + 0.4 * unit)).min(longest)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_end() {
        let retry = Retry {
            attempts: 5,
            initial: Duration::from_millis(100),
            max: Duration::from_millis(300),
            multiplier: 2.0,
        };
        let waits: Vec<_> = (1..=5).map(|attempt| wait_after(&retry, attempt, 0.5)).collect();
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(waits, [millis(100), millis(200), millis(300), millis(300), None]);
        assert_eq!(wait_after(&Retry { attempts: 0, ..retry }, 1, 0.5), None);
    }

    proptest! {
        #[test]
        fn no_setting_makes_it_panic_or_exceed_the_longest(
            attempt in any::<u32>(), initial in 0..u32::MAX, max in 0..u32::MAX, multiplier in any::<f64>(), unit in 0.0..1.0f64,
        ) {
            let (initial, max) = (Duration::from_millis(initial.into()), Duration::from_millis(max.into()));
            let retry = Retry { attempts: u32::MAX, initial, max, multiplier };
            if let Some(wait) = wait_after(&retry, attempt, unit) {
                prop_assert!(wait <= max);
            }
        }
    }
}
