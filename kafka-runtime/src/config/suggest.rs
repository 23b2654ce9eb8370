//! The nearest known name.

use super::names::uniform;

/// The one of `known` that `wanted` most likely means; `None` when none is near.
pub(crate) fn nearest(wanted: &str, known: impl IntoIterator<Item = String>) -> Option<String> {
    let wanted = parts(wanted);
    known
        .into_iter()
        .filter_map(|name| Some((likeness(&wanted, &parts(&name))?, name)))
        .min_by(|one, other| one.0.cmp(&other.0).then_with(|| one.1.len().cmp(&other.1.len())))
        .map(|(_, name)| name)
}

fn parts(name: &str) -> Vec<String> {
    name.split('.').map(uniform).collect()
}

/// How far `known` is from `wanted`, the nearer the smaller; `None` when they have nothing to do with each other.
fn likeness(wanted: &[String], known: &[String]) -> Option<usize> {
    let (joined, other) = (wanted.join(""), known.join(""));
    if joined == other {
        return Some(0);
    }
    let distance = distance(&joined, &other);
    if distance <= (joined.len() / 4).clamp(1, 4) {
        return Some(distance);
    }
    // The right key in the wrong place, or a part of a longer one in the right place.
    if wanted.last() == known.last() && known.last().is_some_and(|last| last.len() > 3) {
        return Some(5);
    }
    let (wanted_last, wanted_path) = wanted.split_last()?;
    let (known_last, known_path) = known.split_last()?;
    let part =
        wanted_last.len() > 3 && (known_last.contains(wanted_last) || wanted_last.contains(known_last));
    (wanted_path == known_path && part).then_some(6)
}

/// The changes (a letter more, less, another, or two exchanged) between two texts.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) > 8 || one.len().max(other.len()) > 200 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, c) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, d) in other.iter().enumerate() {
            let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut least =
                (get(&last, j) + usize::from(c != d)).min(get(&last, j + 1) + 1).min(get(&row, j) + 1);
            let exchanged = i > 0 && j > 0 && one.get(i - 1) == Some(d) && other.get(j - 1) == Some(c);
            if exchanged {
                least = least.min(get(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("group", "group"), 0);
        assert_eq!(distance("grup", "group"), 1);
        assert_eq!(distance("gruop", "group"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn the_nearest_key_of_spring() {
        for (wanted, expected) in [
            ("consumer.grup-id", "consumer.group-id"),
            ("consumer.group.id", "consumer.group-id"),
            ("group-id", "consumer.group-id"),
            ("consumers.group-id", "consumer.group-id"),
            ("bootstrap-server", "bootstrap-servers"),
            ("consumer.auto-offset", "consumer.auto-offset-reset"),
            ("producer.ack", "producer.acks"),
            ("listener.ackmode-x", "listener.ack-mode"),
            ("consumer.group-idd", "consumer.group-id"),
        ] {
            assert_eq!(nearest(wanted, schema::paths(true)).as_deref(), Some(expected), "{wanted}");
        }
        assert_eq!(nearest("zebra", schema::paths(true)), None);
    }
}
