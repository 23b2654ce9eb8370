//! Values: durations, sizes, numbers, booleans, words, each in Spring's notation and in Kafka's.
//!
//! A typed key (`consumer.max-poll-interval: 5m`) takes Spring's; a Kafka name under `properties`
//! (`max.poll.interval.ms: 300000`) takes Kafka's: whole milliseconds, whole bytes, `true` or `false`.

use std::time::Duration;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// `5s`, `16KB`, `yes`.
    Spring,
    /// Spring's, and a bare number is in seconds.
    SpringSeconds,
    /// `5000`, `16384`, `true`.
    Kafka,
}

/// A value that a text can be read as.
pub(crate) trait Value: Sized {
    /// The value, or what is wrong, as the end of the sentence "`x` ...".
    fn read(text: &str, notation: Notation) -> Result<Self, String>;
    /// The value as people read it.
    fn show(&self) -> String;
}

/// The longest duration that means anything here; `Long.MAX_VALUE` milliseconds are used to say "never".
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Value for Duration {
    fn read(text: &str, notation: Notation) -> Result<Self, String> {
        let duration = match notation {
            Notation::Kafka => {
                let millis = whole_number(text)
                    .map_err(|_| "is not a whole number of milliseconds, `5000` for example".to_owned())?;
                u64::try_from(millis).map(Self::from_millis).map_err(|_| "must not be negative".to_owned())?
            }
            Notation::Spring => duration(text, 1)?,
            Notation::SpringSeconds => duration(text, 1000)?,
        };
        Ok(duration.min(LONGEST))
    }

    fn show(&self) -> String {
        show_duration(*self)
    }
}

/// `5s`, `500ms`, `PT1M30S`; a bare number counts `bare_unit` milliseconds.
fn duration(text: &str, bare_unit: u64) -> Result<Duration, String> {
    let refuse = || "is not a duration: `500ms`, `5s`, `2m`, `1h`, `1d` or `PT5S` for example".to_owned();
    if text.starts_with(['p', 'P', '-', '+']) && text.contains(['p', 'P']) {
        return iso_duration(text).ok_or_else(refuse);
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, unit) = digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    let count: u64 = digits.parse().map_err(|_| refuse())?;
    if negative && count > 0 {
        return Err("must not be negative".to_owned());
    }
    let millis = |unit: u64| Some(Duration::from_millis(count.checked_mul(unit)?));
    let value = match unit.to_ascii_lowercase().as_str() {
        "" => millis(bare_unit),
        "ns" => Some(Duration::from_nanos(count)),
        "us" => Some(Duration::from_micros(count)),
        "ms" => millis(1),
        "s" => millis(1000),
        "m" => millis(60_000),
        "h" => millis(3_600_000),
        "d" => millis(86_400_000),
        _ => None,
    };
    value.ok_or_else(refuse)
}

/// ISO 8601 as Java reads it: `P1DT2H3M4.5S`, each part optional.
pub(crate) fn iso_duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text).to_ascii_uppercase();
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (text.strip_prefix('P')?, None),
    };
    let mut total = Duration::ZERO;
    let mut parts = 0;
    let mut rest = days;
    for (letter, seconds, in_time) in
        [('D', 86_400, false), ('H', 3600, true), ('M', 60, true), ('S', 1, true)]
    {
        if letter == 'H' {
            if !rest.is_empty() {
                return None;
            }
            rest = time.unwrap_or_default();
        }
        let Some((number, after)) = rest.split_once(letter) else { continue };
        let fraction = if in_time && letter == 'S' { number.split_once('.') } else { None };
        let (whole, nanos) = match fraction {
            Some((whole, digits)) => (whole, nanos(digits)?),
            None => (number, 0),
        };
        let whole: u64 = whole.strip_prefix('+').unwrap_or(whole).parse().ok()?;
        total = total.checked_add(Duration::new(whole.checked_mul(seconds)?, nanos))?;
        parts += 1;
        rest = after;
    }
    (rest.is_empty() && parts > 0 && time != Some("")).then_some(total)
}

fn nanos(digits: &str) -> Option<u32> {
    (digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| format!("{digits:0<9}").parse().ok())?
}

fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    const UNITS: [(u128, &str); 6] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1000, "us"),
    ];
    if nanos == 0 {
        return "0s".to_owned();
    }
    UNITS
        .iter()
        .find(|(unit, _)| nanos.is_multiple_of(*unit))
        .map_or_else(|| format!("{nanos}ns"), |(unit, name)| format!("{}{name}", nanos / unit))
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

impl Value for Size {
    fn read(text: &str, notation: Notation) -> Result<Self, String> {
        if notation == Notation::Kafka {
            let bytes = whole_number(text)
                .map_err(|_| "is not a whole number of bytes, `16384` for example".to_owned())?;
            return u64::try_from(bytes).map(Self).map_err(|_| "must not be negative".to_owned());
        }
        let refuse = || "is not a size: `100`, `64B`, `16KB`, `1MB`, `1GB` for example".to_owned();
        let text = text.trim();
        if text.starts_with('-') {
            return Err("must not be negative".to_owned());
        }
        let text = text.strip_prefix('+').unwrap_or(text);
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let shift = match unit.trim_start() {
            "" | "B" => 0,
            "KB" => 10,
            "MB" => 20,
            "GB" => 30,
            "TB" => 40,
            _ => return Err(refuse()),
        };
        let count: u64 = digits.parse().map_err(|_| refuse())?;
        count.checked_mul(1 << shift).map(Self).ok_or_else(refuse)
    }

    fn show(&self) -> String {
        const UNITS: [(u64, &str); 4] = [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
        UNITS
            .iter()
            .find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit))
            .map_or_else(|| format!("{}B", self.0), |(unit, name)| format!("{}{name}", self.0 / unit))
    }
}

impl Value for bool {
    fn read(text: &str, notation: Notation) -> Result<Self, String> {
        let word = text.trim().to_ascii_lowercase();
        match (word.as_str(), notation) {
            ("true", _) => Ok(true),
            ("false", _) => Ok(false),
            (_, Notation::Kafka) => Err("is neither `true` nor `false`".to_owned()),
            ("on" | "yes" | "1", _) => Ok(true),
            ("off" | "no" | "0", _) => Ok(false),
            _ => Err("is neither `true` nor `false` (nor on, yes, 1, off, no, 0)".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A whole number; `0x1F` and `#1F` too in Spring's notation.
fn integer(text: &str, notation: Notation) -> Result<i64, String> {
    let trimmed = text.trim();
    let hexadecimal = match notation {
        Notation::Kafka => None,
        _ => ["0x", "0X", "#"].iter().find_map(|prefix| trimmed.strip_prefix(prefix)),
    };
    match hexadecimal {
        Some(digits) if !digits.starts_with(['+', '-']) => i64::from_str_radix(digits, 16),
        _ => trimmed.parse(),
    }
    .map_err(|_| "is not a whole number".to_owned())
}

fn whole_number(text: &str) -> Result<i64, String> {
    integer(text, Notation::Kafka)
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn read(text: &str, notation: Notation) -> Result<Self, String> {
                let number = integer(text, notation)?;
                Self::try_from(number).map_err(|_| format!("must be between {} and {}", Self::MIN, Self::MAX))
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers!(i16, i32, u32, usize);

impl Value for f64 {
    fn read(text: &str, _: Notation) -> Result<Self, String> {
        match text.trim().parse::<Self>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err("is not a number".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(text: &str, _: Notation) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// One of `words`: to the letter in Kafka's notation; in Spring's, case and punctuation do not matter.
pub(crate) fn word(text: &str, notation: Notation, words: &[&'static str]) -> Result<&'static str, String> {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let wanted = plain(text);
    let found = words.iter().find(|word| match notation {
        Notation::Kafka => text.trim() == **word,
        _ => plain(word) == wanted,
    });
    found.copied().ok_or_else(|| format!("is none of {}", words.join(", ")))
}

/// The elements of a text with commas, trimmed; the empty text has none.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|element| element.trim().to_owned()).filter(|element| !element.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Result<u128, String> {
        Duration::read(text, Notation::Spring).map(|duration| duration.as_millis())
    }

    /// Each seen by running Spring Boot 3.5 (which takes negative durations too).
    #[test]
    fn durations_in_springs_notation() {
        for (text, expected) in [
            ("5s", 5000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("7D", 604_800_000),
            ("5S", 5000),
            ("10us", 0),
            ("100", 100),
            ("+5s", 5000),
            ("PT5S", 5000),
            ("pt1m30s", 90_000),
            ("P1D", 86_400_000),
            ("P1DT1H", 90_000_000),
            ("PT1.5S", 1500),
            ("0", 0),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for bad in [
            " 5s ",
            "5 s",
            "1.5s",
            "1m30s",
            "1w",
            "5sec",
            "0x10",
            "PT",
            "P",
            "P1",
            "PT1",
            "PT1D",
            "PT-5S",
            "-PT5S",
            "-5s",
            "99999999999999999999s",
            "9223372036854775807d",
            "s",
            "1DT",
            "P1DT",
            "ms",
            "PT1S1M",
        ] {
            assert!(millis(bad).is_err(), "{bad}");
        }
        let nanos = Duration::read("10ns", Notation::Spring).unwrap();
        assert_eq!(nanos, Duration::from_nanos(10));
    }

    #[test]
    fn a_bare_number_is_milliseconds_or_seconds() {
        assert_eq!(Duration::read("30", Notation::SpringSeconds), Ok(Duration::from_secs(30)));
        assert_eq!(Duration::read("30ms", Notation::SpringSeconds), Ok(Duration::from_millis(30)));
    }

    #[test]
    fn kafkas_notation_is_whole_milliseconds_and_bytes() {
        assert_eq!(Duration::read(" 5 ", Notation::Kafka), Ok(Duration::from_millis(5)));
        assert_eq!(Duration::read("9223372036854775807", Notation::Kafka), Ok(LONGEST));
        for bad in ["5s", "0x10", "5.0", "-1", ""] {
            assert!(Duration::read(bad, Notation::Kafka).is_err(), "{bad}");
            assert!(Size::read(bad, Notation::Kafka).is_err(), "{bad}");
        }
    }

    /// Each seen by running Spring Boot 3.5.
    #[test]
    fn sizes_are_in_capitals_with_a_space_allowed() {
        for (text, expected) in [
            ("16KB", 16384),
            ("16 KB", 16384),
            (" 1MB ", 1 << 20),
            ("100", 100),
            ("+5B", 5),
            ("1TB", 1 << 40),
            ("1  KB", 1024),
        ] {
            assert_eq!(Size::read(text, Notation::Spring), Ok(Size(expected)), "{text}");
        }
        for bad in ["64kb", "64K", "1.5KB", "1PB", "10b", "1Kb", "-1B", "KB", "9999999999999TB"] {
            assert!(Size::read(bad, Notation::Spring).is_err(), "{bad}");
        }
    }

    #[test]
    fn booleans() {
        for text in ["true", "on", "yes", "1", "TRUE", "On", " true "] {
            assert_eq!(bool::read(text, Notation::Spring), Ok(true), "{text}");
        }
        for text in ["false", "off", "no", "0"] {
            assert_eq!(bool::read(text, Notation::Spring), Ok(false), "{text}");
        }
        assert!(bool::read("y", Notation::Spring).is_err());
        assert!(bool::read("yes", Notation::Kafka).is_err());
        assert_eq!(bool::read("TRUE", Notation::Kafka), Ok(true));
    }

    #[test]
    fn numbers() {
        for (text, expected) in
            [("5", 5), ("+5", 5), ("-5", -5), ("0x1F", 31), ("010", 10), ("#1F", 31), (" 5 ", 5)]
        {
            assert_eq!(i32::read(text, Notation::Spring), Ok(expected), "{text}");
        }
        for bad in ["1_000", "5.0", "5L", "1e3", "2147483648", "", "0x-5"] {
            assert!(i32::read(bad, Notation::Spring).is_err(), "{bad}");
        }
        assert!(u32::read("-1", Notation::Spring).is_err());
        assert!(f64::read("1e999", Notation::Spring).is_err());
    }

    #[test]
    fn words_ignore_case_and_punctuation_in_springs_notation_only() {
        const MODES: &[&str] = &["MANUAL_IMMEDIATE", "COUNT_TIME"];
        for text in ["manual_immediate", "manual-immediate", "ManualImmediate", " manual.immediate "] {
            assert_eq!(word(text, Notation::Spring, MODES), Ok("MANUAL_IMMEDIATE"), "{text}");
        }
        assert!(word("manual-immediate", Notation::Kafka, MODES).is_err());
    }

    #[test]
    fn comma_texts_are_trimmed_lists() {
        assert_eq!(split_list(" a , b "), ["a", "b"]);
        assert!(split_list("").is_empty());
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["0s", "90s", "500ms", "2m", "36h", "7d", "10us", "15ns"] {
            let value = Duration::read(text, Notation::Spring).unwrap();
            assert_eq!(Duration::read(&value.show(), Notation::Spring), Ok(value));
        }
        assert_eq!(Size(64 << 20).show(), "64MB");
        assert_eq!(Size(1000).show(), "1000B");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,20}", close in "[-+0-9PTDHMSKBmsnu. x#]{0,12}") {
            for text in [text, close] {
                for notation in [Notation::Spring, Notation::SpringSeconds, Notation::Kafka] {
                    let _ = (Duration::read(&text, notation), Size::read(&text, notation), i32::read(&text, notation));
                    let _ = (bool::read(&text, notation), f64::read(&text, notation));
                }
            }
        }

        #[test]
        fn durations_survive_being_shown(millis in 0u64..10_000_000_000) {
            let duration = Duration::from_millis(millis);
            proptest::prop_assert_eq!(Duration::read(&duration.show(), Notation::Spring), Ok(duration));
        }
    }
}
