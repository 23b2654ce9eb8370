//! Relaxed names: `groupId`, `group_id` and `GROUP-ID` in a file, `..._GROUPID` and `..._GROUP_ID` in the
//! environment, all mean `group-id`. Dots separate, and do matter.
//!
//! ```text
//! spring.kafka.consumer.groupId ──elements──▶ spring · kafka · consumer · groupId
//!                               ──canonical─▶ "spring.kafka.consumer.groupid"      (what files are searched for)
//!                               ──variables─▶ SPRING_KAFKA_CONSUMER_GROUPID, ..._GROUP_ID
//! ```

use std::fmt::Write as _;

/// A part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element<'a> {
    /// Between dots, as written.
    Word(&'a str),
    /// `[3]`
    Index(usize),
    /// `[any.text]`: one element, whatever is in it.
    Bracket(&'a str),
}

/// The parts of `path`. A bracket that is never closed is part of a word.
pub(crate) fn elements(path: &str) -> Vec<Element<'_>> {
    split(path).collect()
}

fn split(path: &str) -> impl Iterator<Item = Element<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            if let Some((inside, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                rest = after.strip_prefix('.').unwrap_or(after);
                return Some(inside.parse().map_or(Element::Bracket(inside), Element::Index));
            }
            let (word, after) = rest.split_at(word_end(rest));
            rest = after.strip_prefix('.').unwrap_or(after);
            if !word.is_empty() {
                return Some(Element::Word(word));
            }
        }
    })
}

/// Where the word at the start of `text` ends: at a dot, or at a bracket that is closed later.
fn word_end(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(usize::from(text.starts_with('[')));
    let ends = |(at, byte): &(usize, u8)| match byte {
        b'.' => true,
        b'[' => text.get(*at..).is_some_and(|tail| tail.contains(']')),
        _ => false,
    };
    bytes.find(ends).map_or(text.len(), |(at, _)| at)
}

/// The form under which all spellings of a name in a file are equal.
pub(crate) fn canonical(path: &str) -> String {
    let mut name = String::with_capacity(path.len());
    for element in split(path) {
        match element {
            Element::Index(index) => {
                let _ = write!(name, "[{index}]");
            }
            Element::Word(word) => push_word(&mut name, word),
            Element::Bracket(text) => text.split('.').for_each(|word| push_word(&mut name, word)),
        }
    }
    name
}

fn push_word(name: &mut String, word: &str) {
    if !name.is_empty() {
        name.push('.');
    }
    push_uniform(name, word);
}

/// A word without what does not matter: case, hyphens, underscores, and what a name cannot contain.
pub(crate) fn uniform(word: &str) -> String {
    let mut plain = String::with_capacity(word.len());
    push_uniform(&mut plain, word);
    plain
}

fn push_uniform(name: &mut String, word: &str) {
    let before = name.len();
    for letter in word.chars() {
        match letter {
            'a'..='z' | '0'..='9' => name.push(letter),
            _ if letter.is_alphanumeric() => name.extend(letter.to_lowercase()),
            _ => {}
        }
    }
    if name.len() == before {
        name.push_str(word);
    }
}

/// The environment variables that mean `path`, the stronger first.
pub(crate) fn variables(path: &str) -> [String; 2] {
    let (mut joined, mut apart) = (String::with_capacity(path.len()), String::with_capacity(path.len()));
    for (at, element) in split(path).enumerate() {
        if at > 0 {
            joined.push('_');
            apart.push('_');
        }
        match element {
            Element::Index(index) => {
                let _ = (write!(joined, "{index}"), write!(apart, "{index}"));
            }
            Element::Word(word) | Element::Bracket(word) => {
                word.split(['-', '_']).for_each(|part| push_variable(&mut joined, part));
                push_variable(&mut apart, word);
            }
        }
    }
    [joined, apart]
}

/// An environment variable's name in the form that [`variables`] gives.
pub(crate) fn variable(name: &str) -> String {
    let mut form = String::with_capacity(name.len());
    push_variable(&mut form, name);
    form
}

fn push_variable(form: &mut String, name: &str) {
    for letter in name.chars() {
        match letter {
            'a'..='z' => form.push(letter.to_ascii_uppercase()),
            ']' => {}
            '.' | '-' | '[' => form.push('_'),
            _ => form.extend(letter.to_uppercase()),
        }
    }
}

/// Whether `name` is spelled the way that sees other spellings: lower case, digits and hyphens.
pub(crate) fn is_kebab(name: &str) -> bool {
    !name.is_empty()
        && split(name).all(|element| match element {
            Element::Index(_) | Element::Bracket(_) => true,
            Element::Word(word) => {
                !word.starts_with('-')
                    && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            }
        })
}

/// Elements as a path again; in brackets only what needs them.
pub(crate) fn spelled(elements: &[Element<'_>]) -> String {
    elements.iter().fold(String::new(), |path, element| match element {
        Element::Index(index) => format!("{path}[{index}]"),
        Element::Bracket(text) if text.contains('.') => format!("{path}[{text}]"),
        Element::Word(text) | Element::Bracket(text) => join(&path, text),
    })
}

/// Elements as the dotted name that a map has for them.
pub(crate) fn dotted(elements: &[Element<'_>]) -> String {
    let words: Vec<String> = elements
        .iter()
        .map(|element| match element {
            Element::Word(text) | Element::Bracket(text) => (*text).to_owned(),
            Element::Index(index) => index.to_string(),
        })
        .collect();
    words.join(".")
}

/// `path` with `child` under it.
pub(crate) fn join(path: &str, child: &str) -> String {
    match (path.is_empty(), child.starts_with('[')) {
        (true, _) => child.to_owned(),
        (false, true) => format!("{path}{child}"),
        (false, false) => format!("{path}.{child}"),
    }
}

/// What of the canonical name `name` stands below the canonical name `prefix`.
pub(crate) fn below<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() {
        return Some(name);
    }
    let rest = name.strip_prefix(prefix)?;
    match rest.strip_prefix('.') {
        Some(rest) => Some(rest),
        None => rest.starts_with('[').then_some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_hyphens_and_underscores_do_not_matter_but_dots_do() {
        for spelling in ["spring.kafka.groupId", "spring.kafka.group_id", "SPRING.kafka.GROUP-ID"] {
            assert_eq!(canonical(spelling), "spring.kafka.groupid");
        }
        assert_ne!(canonical("spring.kafka.group.id"), canonical("spring.kafka.group-id"));
    }

    #[test]
    fn brackets_hold_indices_or_text_with_dots() {
        assert_eq!(canonical("a.b[10].c"), "a.b[10].c");
        assert_eq!(canonical("properties[session.timeout.ms]"), "properties.session.timeout.ms");
        assert_eq!(elements("a[b.c].d"), [Element::Word("a"), Element::Bracket("b.c"), Element::Word("d")]);
        assert_eq!(elements("a[b"), [Element::Word("a[b")]);
        assert_eq!(elements("[.."), [Element::Word("[")]);
        assert_eq!(spelled(&elements("a[b.c][d][0].e")), "a[b.c].d[0].e");
        assert_eq!(dotted(&elements("a[b.c][0]")), "a.b.c.0");
    }

    #[test]
    fn a_name_has_two_variables_and_the_one_without_separators_is_stronger() {
        assert_eq!(
            variables("spring.kafka.consumer.group-id"),
            ["SPRING_KAFKA_CONSUMER_GROUPID", "SPRING_KAFKA_CONSUMER_GROUP_ID"]
        );
        assert_eq!(variables("a.my_id[2]"), ["A_MYID_2", "A_MY_ID_2"]);
        assert_eq!(variables("].a"), ["_A", "_A"], "what a variable cannot have is still an element");
        assert_eq!(variable("spring.kafka.consumer.group-id"), "SPRING_KAFKA_CONSUMER_GROUP_ID");
        assert_eq!(variable("spring.kafka.servers[0]"), "SPRING_KAFKA_SERVERS_0");
    }

    #[test]
    fn only_the_kebab_form_is_kebab() {
        assert!(is_kebab("app.group-id[0]"));
        for other in ["app.groupId", "APP", "my_env", "", "a.-b"] {
            assert!(!is_kebab(other), "{other}");
        }
    }

    #[test]
    fn below_a_prefix_are_its_children_and_elements() {
        assert_eq!(below("a.b.c", "a.b"), Some("c"));
        assert_eq!(below("a.b[0]", "a.b"), Some("[0]"));
        assert_eq!(below("a.bc", "a.b"), None);
        assert_eq!(below("a.b", "a.b"), None);
    }
}
