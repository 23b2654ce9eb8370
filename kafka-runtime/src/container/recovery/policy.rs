//! What the configuration makes of a failure (pure).

use std::time::Duration;

use super::backoff::{self, Tried};
use super::names;
use crate::config::{ListenerSettings, OnExhausted, Retry, RetryErrors};
use crate::listener::{Failure, HandlerError};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision {
    /// Again, after this wait.
    Retry(Duration),
    /// No more tries: this then.
    Exhausted(OnExhausted),
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    retry: Retry,
    errors: RetryErrors,
    on_exhausted: OnExhausted,
}

impl Policy {
    pub(super) fn new(settings: &ListenerSettings) -> Self {
        let ListenerSettings { retry, retry_errors, on_exhausted, .. } = settings;
        Self { retry: *retry, errors: retry_errors.clone(), on_exhausted: *on_exhausted }
    }

    /// What failed in a way that may pass is tried again; then `on-exhausted` decides. `unit` in `0.0..1.0` is the
    /// chance of the wait's jitter.
    pub(super) fn decide(&self, failure: &Failure, tried: Tried, unit: f64) -> Decision {
        let wait = self.may_pass(failure).then(|| backoff::wait_after(&self.retry, tried, unit)).flatten();
        wait.map_or(Decision::Exhausted(self.on_exhausted), Decision::Retry)
    }

    /// Whether trying again can help, by what is said of the failure's sort.
    pub(super) fn may_pass(&self, failure: &Failure) -> bool {
        let is_excluded = |name: &str| self.errors.never.iter().flatten().any(|known| known == name);
        match failure {
            // The same bytes do not decode the next time either.
            Failure::Decode(_) => false,
            Failure::Panic(_) => !is_excluded("panic"),
            Failure::Timeout(_) => !is_excluded("timeout"),
            Failure::Handler(error) => !error.sorted().fatal && self.is_only(error) && !self.is_never(error),
        }
    }

    /// What happens behind the handler is as a panic or a timeout: none of the errors of which it is said.
    fn is_only(&self, error: &HandlerError) -> bool {
        if error.sorted().is_behind_the_handler {
            return true;
        }
        match &self.errors.only {
            Some(only) => names::any_fits(only, error),
            None => !self.errors.attribute_only || error.sorted().only.is_some(),
        }
    }

    fn is_never(&self, error: &HandlerError) -> bool {
        match &self.errors.never {
            Some(never) => names::any_fits(never, error),
            None => error.sorted().never.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::container::fixture::settings;
    use crate::listener::__private::{Root, Sort, Sortable as _, Sorts};
    use crate::listener::Fatal;

    #[derive(Debug)]
    enum BankError {
        Closed,
        #[allow(dead_code)]
        Unknown {
            account: u32,
        },
    }

    #[derive(Debug)]
    struct Wrapped(BankError);

    impl fmt::Display for BankError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "bank")
        }
    }
    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "wrapped")
        }
    }
    impl std::error::Error for BankError {}
    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    const BANK: &[Sort] = &[Sort::of::<BankError>()];

    fn policy(only: Option<&[&str]>, never: Option<&[&str]>, attribute_only: bool) -> Policy {
        let owned =
            |names: Option<&[&str]>| names.map(|names| names.iter().map(ToString::to_string).collect());
        let retry_errors = RetryErrors { only: owned(only), never: owned(never), attribute_only };
        Policy::new(&ListenerSettings { retry_errors, ..settings() })
    }

    fn failed(error: impl Into<HandlerError>) -> Failure {
        Failure::Handler(error.into()).sorted(Root::default(), Sorts { only: BANK, never: &[] })
    }

    #[test]
    fn what_the_attribute_names_is_found_in_the_error_or_its_causes() {
        let only = policy(None, None, true);
        assert!(only.may_pass(&failed(BankError::Closed)));
        assert!(only.may_pass(&failed(Wrapped(BankError::Closed))));
        assert!(!only.may_pass(&failed("something else")));
        let never = Sorts { only: &[], never: BANK };
        let failure = Failure::Handler(Wrapped(BankError::Closed).into()).sorted(Root::default(), never);
        assert!(!policy(None, None, false).may_pass(&failure));
    }

    #[test]
    fn the_file_wins_over_the_attribute() {
        let failure = failed(BankError::Closed);
        assert!(!policy(Some(&["Other"]), None, true).may_pass(&failure));
        assert!(policy(Some(&["BankError"]), Some(&[]), true).may_pass(&failure));
        assert!(!policy(Some(&["BankError"]), Some(&["BankError::Closed"]), true).may_pass(&failure));
        let unknown = failed(BankError::Unknown { account: 1 });
        assert!(policy(None, Some(&["BankError::Closed"]), false).may_pass(&unknown));
    }

    #[test]
    fn what_fails_behind_the_handler_is_tried_again_whatever_errors_alone_are() {
        let failure = || HandlerError::from("not acknowledged").into_failure();
        for only in [policy(None, None, true), policy(Some(&["BankError"]), None, false)] {
            assert!(only.may_pass(&failure()));
            assert!(!only.may_pass(&HandlerError::from(Fatal::new("too large")).into_failure()));
        }
    }

    fn named(names: &[&str], error: impl Into<HandlerError>) -> bool {
        let failure = Failure::Handler(error.into());
        let never = !policy(None, Some(names), false).may_pass(&failure);
        assert_eq!(policy(Some(names), None, false).may_pass(&failure), never, "only and never agree");
        never
    }

    /// Nothing says of what type they are but what `Debug` begins with.
    #[test]
    fn the_file_names_errors_in_boxes_and_causes_by_their_first_words() {
        let boxed = |error: BankError| crate::listener::BoxError::from(Wrapped(error));
        for (name, expected) in [
            ("Wrapped", true),
            ("Closed", true),
            ("Unknown", false),
            // The enum's name is not known, so that it may be another one's.
            ("BankError", false),
            ("BankError::Closed", false),
        ] {
            assert_eq!(named(&[name], boxed(BankError::Closed)), expected, "{name}");
            assert!(!named(&[name], "closed, in words"), "{name}");
        }
        assert!(named(&["Unknown"], boxed(BankError::Unknown { account: 1 })));
        assert!(
            named(&["Wrapped"], Wrapped(BankError::Closed)) && named(&["Closed"], Wrapped(BankError::Closed))
        );
    }

    #[test]
    fn types_that_the_attribute_names_have_names_wherever_they_stand() {
        let boxed = |error: BankError| failed(crate::listener::BoxError::from(Wrapped(error)));
        for (name, expected) in [
            ("BankError", true),
            ("BankError::Closed", true),
            ("policy::tests::BankError", true),
            ("BankError::Unknown", false),
            ("FileError::Closed", false),
        ] {
            let failure = boxed(BankError::Closed);
            assert_eq!(!policy(None, Some(&[name]), false).may_pass(&failure), expected, "{name}");
            assert_eq!(policy(Some(&[name]), None, true).may_pass(&failure), expected, "{name}");
        }
    }

    /// As `anyhow::Error` does in a box: its type hides that of the error, and so does its `Debug` without `#`.
    #[test]
    fn an_error_that_hides_its_type_is_named_by_what_it_was_found_to_be() {
        struct Hiding(BankError);
        impl fmt::Debug for Hiding {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if f.alternate() { fmt::Debug::fmt(&self.0, f) } else { write!(f, "the bank is closed") }
            }
        }
        impl fmt::Display for Hiding {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "the bank is closed")
            }
        }
        impl std::error::Error for Hiding {}
        assert!(named(&["Closed"], Hiding(BankError::Closed)) && !named(&["the"], Hiding(BankError::Closed)));
        let root = Root { fatal: false, only: Some(0), never: None };
        let failure =
            Failure::Handler(Hiding(BankError::Closed).into()).sorted(root, Sorts { only: BANK, never: &[] });
        assert!(policy(Some(&["BankError::Closed"]), None, true).may_pass(&failure));
        assert!(!policy(Some(&["BankError::Unknown"]), None, true).may_pass(&failure));
    }

    #[test]
    fn what_is_fatal_is_never_tried_again() {
        let open = policy(Some(&["Fatal", "String"]), None, false);
        assert!(!open.may_pass(&failed(Fatal::new("no"))));
        assert!(!open.may_pass(&Failure::Decode("no JSON".into())));
        let boxed: crate::listener::BoxError = Box::new(Fatal::new("no"));
        assert!(!open.may_pass(&failed(boxed)));
    }

    #[test]
    fn panics_and_timeouts_have_names() {
        let (panic, timeout) = (Failure::Panic("x".into()), Failure::Timeout(Duration::from_secs(1)));
        let plain = policy(Some(&["BankError"]), None, false);
        assert!(plain.may_pass(&panic) && plain.may_pass(&timeout));
        assert!(!policy(None, Some(&["panic"]), false).may_pass(&panic));
        assert!(!policy(None, Some(&["timeout"]), false).may_pass(&timeout));
    }
}
