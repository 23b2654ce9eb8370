//! What a literal may say. Each check answers with what is wrong, in words.
//!
//! A text with a `${placeholder}` is known only once the configuration is read, which checks it with the same rules;
//! here only its placeholders are.

/// A check of a literal's text.
pub(crate) type Check = fn(&str) -> Result<(), String>;

/// Checks the placeholders of `text`; if it has none, the whole of it by `check`.
pub(crate) fn validate(text: &str, check: Check) -> Result<(), String> {
    match has_placeholders(text)? {
        true => Ok(()),
        false => check(text),
    }
}

/// Whether `text` has placeholders: `${key}`, `${key:default}`, nested in both parts; `\${` is none.
fn has_placeholders(text: &str) -> Result<bool, String> {
    let bytes = text.as_bytes();
    let mut open: Vec<usize> = Vec::new();
    let mut found = false;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(b"\\${") {
            at += 3;
        } else if rest.starts_with(b"#{") {
            return Err(
                "SpEL expressions (`#{..}`) are not supported; use a placeholder: `${key:default}`".into()
            );
        } else if rest.starts_with(b"${") {
            found = true;
            at += 2;
            if matches!(bytes.get(at), None | Some(b'}' | b':')) {
                return Err("a placeholder has no key: `${key}` or `${key:default}`".into());
            }
            open.push(at);
        } else {
            if bytes[at] == b'}' {
                open.pop();
            }
            at += 1;
        }
    }
    match open.is_empty() {
        true => Ok(found),
        false => Err("a placeholder is not closed: `${key}` or `${key:default}`".into()),
    }
}

/// Anything but nothing.
pub(crate) fn not_empty(text: &str) -> Result<(), String> {
    match text.trim().is_empty() {
        true => Err("it cannot be empty".into()),
        false => Ok(()),
    }
}

/// A topic's name, by Kafka's rule.
pub(crate) fn topic(text: &str) -> Result<(), String> {
    let legal = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    not_empty(text)?;
    if text == "." || text == ".." {
        return Err("a topic cannot be named `.` or `..`".into());
    }
    if text.len() > 249 {
        return Err(format!("a topic's name has at most 249 characters, this one {}", text.len()));
    }
    match text.chars().find(|&character| !legal(character)) {
        Some(character) => Err(format!(
            "`{}` cannot stand in a topic's name: letters, digits, `.`, `_` and `-` can (for an expression, use \
             `pattern = \"..\"`)",
            character.escape_default()
        )),
        None => Ok(()),
    }
}

/// A topic's name that may have `{topic}` in it, which stands for the topic of the record.
pub(crate) fn topic_template(text: &str) -> Result<(), String> {
    topic(&text.replace("{topic}", "t"))
}

/// The first wait and the longest, or one for both.
pub(crate) fn backoff(text: &str) -> Result<(), String> {
    match text.split_once("..") {
        None => duration(text),
        Some((first, longest)) => duration(first).and_then(|()| duration(longest)),
    }
    .map_err(|wrong| format!("{wrong}; a back-off is one, or two: `100ms..10s`"))
}

fn decimal(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("`{text}` is not a number"))
}

/// A number from 1.
pub(crate) fn at_least_one(text: &str) -> Result<(), String> {
    if decimal(text)? < 1.0 { Err("it must be at least 1".into()) } else { Ok(()) }
}

/// A number from 0 to 1.
pub(crate) fn part(text: &str) -> Result<(), String> {
    if (0.0..=1.0).contains(&decimal(text)?) { Ok(()) } else { Err("it must be from 0 to 1".into()) }
}

/// A whole number from 1.
pub(crate) fn count(text: &str) -> Result<(), String> {
    match text.trim().parse::<u32>() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(_) => Ok(()),
        Err(_) => Err(format!("`{text}` is not a whole number from 1")),
    }
}

/// `true` or `false`, in any of the words that Spring takes for them.
pub(crate) fn boolean(text: &str) -> Result<(), String> {
    match text.to_lowercase().as_str() {
        "true" | "on" | "yes" | "1" | "false" | "off" | "no" | "0" => Ok(()),
        _ => Err(format!("`{text}` is neither `true` nor `false`")),
    }
}

/// A duration as Spring reads it: `500ms`, `2s`, `1m`; a bare number is milliseconds; ISO 8601 from `P` on.
pub(crate) fn duration(text: &str) -> Result<(), String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let iso = text.starts_with(['P', 'p']) && text.len() > 2;
    let simple = !number.is_empty() && matches!(unit, "" | "ns" | "us" | "ms" | "s" | "m" | "h" | "d");
    match iso || simple {
        true => Ok(()),
        false => Err(format!("`{text}` is not a duration such as `500ms`, `2s`, `1m` or `PT2S`")),
    }
}

/// `*`, or partitions and ranges of them: `0, 2-4`.
pub(crate) fn partitions(text: &str) -> Result<(), String> {
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number < 100_000);
    let item = |item: &str| match item.split_once('-') {
        None => number(item).is_some(),
        Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
    };
    if text.trim() == "*" {
        return Ok(());
    }
    match text.split(',').find(|text| !item(text)) {
        Some(wrong) => Err(format!(
            "`{}` is neither a partition nor a range of them: `0, 2-4` or `*` for all",
            wrong.trim()
        )),
        None => Ok(()),
    }
}

/// Where reading begins.
pub(crate) fn start(text: &str) -> Result<(), String> {
    let number = |text: &str| text.parse::<u64>().is_ok();
    let time = |text: &str| number(text) || text.contains('T');
    let known = matches!(text, "committed" | "earliest" | "latest");
    match known || number(text) || text.strip_prefix('@').is_some_and(time) {
        true => Ok(()),
        false => Err(format!(
            "`{text}` is no place to start from: `committed`, `earliest`, `latest`, an offset such as `42`, or a time \
             such as `@1700000000000` (milliseconds) or `@2024-01-01T00:00:00Z`"
        )),
    }
}

/// A listener's id: literal, since it is the name by which the configuration finds the listener.
pub(crate) fn id(text: &str) -> Result<(), String> {
    let legal = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
    not_empty(text)?;
    match text.chars().find(|&character| !legal(character)) {
        Some('$') => {
            Err("the configuration finds a listener by its id: no placeholders are resolved in it".into())
        }
        Some(character) => Err(format!(
            "`{}` cannot stand in an id, which is a key of the configuration: letters, digits, `_` and `-` can",
            character.escape_default()
        )),
        None => Ok(()),
    }
}

/// The name of a header: literal, since it is looked up for every record.
pub(crate) fn header(text: &str) -> Result<(), String> {
    not_empty(text)?;
    match text.contains("${") {
        true => Err("a header's name is literal, placeholders are not resolved in it".into()),
        false => Ok(()),
    }
}

/// One of a few words.
pub(crate) fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text) {
        return Ok(());
    }
    let list = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match crate::nearest::nearest(text, words) {
        Some(near) => Err(format!("`{text}` is not one of {list}; did you mean `{near}`?")),
        None => Err(format!("`{text}` is not one of {list}")),
    }
}

/// `commit`.
pub(crate) fn commit(text: &str) -> Result<(), String> {
    one_of(text, &["sync", "async", "combined"])
}

/// `names` of `retry_topics`.
pub(crate) fn retry_names(text: &str) -> Result<(), String> {
    one_of(text, &["delay", "index"])
}

/// `on_exhausted`.
pub(crate) fn exhausted(text: &str) -> Result<(), String> {
    one_of(text, &["dead-letter", "skip", "stop"])
}

/// `commit_every`.
pub(crate) fn cadence(text: &str) -> Result<(), String> {
    one_of(text, &["record", "batch"])
}

/// `on_revoke`.
pub(crate) fn on_revoke(text: &str) -> Result<(), String> {
    one_of(text, &["cancel", "finish"])
}

/// `rate_limit`: `100/s`.
pub(crate) fn rate(text: &str) -> Result<(), String> {
    let is_rate = |(records, per): (&str, &str)| {
        let unit = matches!(per.trim(), "ms" | "s" | "m" | "h" | "d");
        records.trim().parse::<u32>().is_ok_and(|records| records > 0) && (unit || duration(per).is_ok())
    };
    match text.trim().split_once('/').is_some_and(is_rate) {
        true => Ok(()),
        false => Err(format!("`{text}` is no rate such as `100/s`, `5/m` or `20/500ms`")),
    }
}

/// `ordering`.
pub(crate) fn ordering(text: &str) -> Result<(), String> {
    one_of(text, &["partition", "key", "none"])
}

/// `ack`.
pub(crate) fn ack(text: &str) -> Result<(), String> {
    one_of(text, &["auto", "manual", "manual-immediate"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(check: Check, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(validate(text, check), Ok(()), "{text:?}");
        }
        for text in bad {
            assert!(validate(text, check).is_err(), "{text:?}");
        }
    }

    #[test]
    fn placeholders() {
        let good = [
            "",
            "plain",
            "${a}",
            "${a:}",
            "x-${a.b:c}-${d}",
            "${a:${b:c}}",
            "${a${b}}",
            r"\${a",
            "}",
            "$a",
            "${a:b:c}",
        ];
        let bad = ["${", "${}", "${:x}", "${a", "${a:${b}", "x ${a:${", "#{1 + 1}", "#{'${a}'}"];
        holds(|_| Ok(()), &good, &bad);
    }

    #[test]
    fn what_holds_for_literals_is_not_asked_of_placeholders() {
        holds(count, &["1", "64", "${n}", "${n:4}"], &["0", "-1", "1.5", "four", "", "99999999999"]);
    }

    #[test]
    fn topics() {
        let long = "t".repeat(250);
        holds(
            topic,
            &["orders", "a.b_c-D9", "${t}", &long[..249]],
            &["", " ", ".", "..", "a b", "a/b", "ü", &long],
        );
    }

    #[test]
    fn ids() {
        assert_eq!(id("bill-2_a"), Ok(()));
        assert!(id("").is_err() && id("a b").is_err() && id("a.b").is_err());
        assert!(id("${id}").unwrap_err().contains("placeholder"));
    }

    #[test]
    fn durations() {
        holds(
            duration,
            &["500ms", "2s", "1m", "1h", "1d", "100", "PT2S", "7us"],
            &["", "s", "2 s", "2x", "P", "-1s"],
        );
    }

    #[test]
    fn rates() {
        holds(rate, &["100/s", " 5 / m ", "20/500ms"], &["", "100", "0/s", "x/s", "1/x", "-1/s", "1/"]);
    }

    #[test]
    fn partition_lists_and_starts() {
        holds(partitions, &["0", "0-3", "0, 2-4", "*", "7-7"], &["", "a", "3-1", "1,", "-1", "1-", "100000"]);
        let good = ["committed", "earliest", "latest", "0", "42", "@1700000000000", "@2024-01-01T00:00:00Z"];
        holds(start, &good, &["", "first", "-1", "@", "@x"]);
    }

    #[test]
    fn words() {
        assert_eq!(commit("async"), Ok(()));
        assert_eq!(
            ack("manual_immediate").unwrap_err(),
            "`manual_immediate` is not one of `auto`, `manual`, `manual-immediate`; did you mean `manual-immediate`?"
        );
    }
}
