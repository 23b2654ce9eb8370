//! Plain scalars of YAML 1.1, as the text that Spring makes of them: `on` is `true`, `010` is `8`, `12:30` is `750`,
//! `1_000` is `1000`, `0x1F` is `31`, `1.50` is `1.5`, `~` is nothing. What is quoted stays as it is.

/// What a plain scalar is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// Text, as written.
    Text(String),
    /// A boolean or a number, in the form in which Java prints it.
    Typed(String),
    /// Nothing.
    Null,
}

impl Scalar {
    /// The value's text; nothing is the empty text.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Typed(text) => text,
            Self::Null => String::new(),
        }
    }
}

/// What the unquoted `text` means.
pub(crate) fn plain(text: &str) -> Scalar {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Scalar::Null;
    }
    match boolean(text).map(str::to_owned).or_else(|| integer(text)).or_else(|| float(text)) {
        Some(typed) => Scalar::Typed(typed),
        None => Scalar::Text(text.to_owned()),
    }
}

/// `true` or `false`, if `text` is one of YAML 1.1's words for it (`y` and `n` are not).
pub(crate) fn boolean(text: &str) -> Option<&'static str> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some("true"),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some("false"),
        _ => None,
    }
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Decimal, octal (`010`), hexadecimal, binary and sexagesimal (`12:30`) integers, in decimal.
pub(crate) fn integer(text: &str) -> Option<String> {
    let (negative, digits) = split_sign(text);
    let magnitude = if digits.contains(':') { sexagesimal(digits)? } else { whole(digits)? };
    let zero = magnitude.bytes().all(|digit| digit == b'0');
    Some(if negative && !zero { format!("-{magnitude}") } else { magnitude })
}

fn whole(digits: &str) -> Option<String> {
    let in_radix = |digits: &str, radix| {
        let plain = digits.replace('_', "");
        // A number too long for 128 bits keeps its spelling: it is no setting of anything.
        u128::from_str_radix(&plain, radix).ok().filter(|_| !plain.starts_with('+')).map(|n| n.to_string())
    };
    if let Some(binary) = digits.strip_prefix("0b") {
        return in_radix(binary, 2);
    }
    if let Some(hexadecimal) = digits.strip_prefix("0x") {
        return in_radix(hexadecimal, 16);
    }
    match digits.strip_prefix('0') {
        Some("") => Some("0".to_owned()),
        Some(octal) => in_radix(octal, 8),
        None => {
            let decimal = digits.starts_with(|c: char| c.is_ascii_digit())
                && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_');
            decimal.then(|| digits.replace('_', ""))
        }
    }
}

/// `190:20:30`: base 60, the first part without leading zero, the others below 60.
fn sexagesimal(digits: &str) -> Option<String> {
    let (first, rest) = digits.split_once(':')?;
    if !first.starts_with(|c: char| ('1'..='9').contains(&c)) {
        return None;
    }
    base_60(first, rest).map(|value| value.to_string())
}

fn base_60(first: &str, rest: &str) -> Option<u64> {
    if !first.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return None;
    }
    let first: u64 = first.replace('_', "").parse().ok()?;
    rest.split(':').try_fold(first, |value, part| {
        let digits = matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_digit());
        let part: u64 = part.parse().ok().filter(|part| digits && *part < 60)?;
        value.checked_mul(60)?.checked_add(part)
    })
}

/// Floating point: with a dot or an exponent, sexagesimal, infinite, or not a number; as Java prints it.
pub(crate) fn float(text: &str) -> Option<String> {
    let (negative, digits) = split_sign(text);
    let sign = if negative { -1.0 } else { 1.0 };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return Some(java_double(sign * f64::INFINITY));
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some("NaN".to_owned());
    }
    if let Some((whole, fraction)) = digits.split_once('.').filter(|(whole, _)| whole.contains(':')) {
        let (first, rest) = whole.split_once(':')?;
        let fraction: f64 = format!("0.{}", digits_only(fraction)?).parse().ok()?;
        let whole = base_60(first, rest)?;
        return Some(java_double(sign * (whole as f64 + fraction)));
    }
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let exponent = match exponent {
        None if fraction.is_none() => return None,
        None => "0",
        Some(exponent) => {
            let (_, digits) = split_sign(exponent);
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then_some(exponent)?
        }
    };
    let starts_with_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let digits = starts_with_digit(whole) || (whole.is_empty() && fraction.is_some_and(starts_with_digit));
    if !digits {
        return None;
    }
    let number = format!("{}.{}e{exponent}", digits_only(whole)?, digits_only(fraction.unwrap_or_default())?);
    number.parse().ok().map(|value: f64| java_double(sign * value))
}

/// `text` without underscores, with a zero for nothing; `None` when there is anything but digits.
fn digits_only(text: &str) -> Option<String> {
    let plain = text.replace('_', "");
    let digits = plain.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| if plain.is_empty() { "0".to_owned() } else { plain })
}

/// `value` as `Double.toString` prints it: plain from 0.001 up to ten million, `1.0E10` outside.
pub(crate) fn java_double(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let magnitude = value.abs();
    if value == 0.0 || value.is_nan() || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => format!("{mantissa}E{exponent}"),
        Some((mantissa, exponent)) => format!("{mantissa}.0E{exponent}"),
        None => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Spring Boot 3.5 made of these, seen by running it.
    const SEEN: &[(&str, &str)] = &[
        ("010", "8"),
        ("12:30", "750"),
        ("1_000", "1000"),
        ("0x1F", "31"),
        ("1.50", "1.5"),
        ("1e10", "1.0E10"),
        ("1.0e10", "1.0E10"),
        (".inf", "Infinity"),
        ("-.5", "-0.5"),
        ("0o17", "0o17"),
        ("0b101", "5"),
        ("2024-01-01", "2024-01-01"),
        ("1234567890123456789012345678901234567890", "1234567890123456789012345678901234567890"),
        ("+5", "5"),
        ("-0x1F", "-31"),
        ("1.", "1.0"),
        ("1e-5", "1.0E-5"),
        ("123456789.123", "1.23456789123E8"),
        ("09", "09"),
        ("190:20:30.15", "685230.15"),
        ("0", "0"),
        ("-0", "0"),
        ("0.0", "0.0"),
        ("1__0", "10"),
        ("0_7", "7"),
        ("08_1", "08_1"),
        ("y", "y"),
        ("1,000", "1,000"),
        ("0.1E+3", "100.0"),
        ("100000000.0", "1.0E8"),
        ("1.0e-3", "0.001"),
        ("=", "="),
        ("1:2", "62"),
        ("1e3", "1000.0"),
        ("on", "true"),
        ("Off", "false"),
        ("yes", "true"),
        ("oN", "oN"),
        ("~", ""),
        ("null", ""),
        ("1:60", "1:60"),
        ("localhost:9092", "localhost:9092"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        (".", "."),
        ("-", "-"),
        ("0x", "0x"),
        ("5s", "5s"),
        ("::", "::"),
        ("1e", "1e"),
    ];

    #[test]
    fn plain_scalars_are_read_as_spring_reads_them() {
        for (text, expected) in SEEN {
            assert_eq!(plain(text).into_text(), *expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,12}", numeric in "[-+0-9_.:eExb]{0,12}") {
            let _ = plain(&text);
            let _ = plain(&numeric);
        }

        #[test]
        fn decimal_numbers_stay_what_they_are(number in proptest::num::i64::ANY) {
            proptest::prop_assert_eq!(plain(&number.to_string()).into_text(), number.to_string());
        }
    }
}
