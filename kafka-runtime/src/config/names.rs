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
    let mut found = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some((inside, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            found.push(match inside.parse() {
                Ok(index) => Element::Index(index),
                Err(_) => Element::Bracket(inside),
            });
            rest = after.strip_prefix('.').unwrap_or(after);
            continue;
        }
        let end = word_end(rest);
        let (word, after) = rest.split_at(end);
        if !word.is_empty() {
            found.push(Element::Word(word));
        }
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    found
}

/// Where the word at the start of `text` ends: at a dot, or at a bracket that is closed later.
fn word_end(text: &str) -> usize {
    let mut from = usize::from(text.starts_with('['));
    loop {
        let Some(found) = text.get(from..).and_then(|rest| rest.find(['.', '['])) else { return text.len() };
        let at = from + found;
        let tail = text.get(at..).unwrap_or_default();
        if tail.starts_with('.') || tail.contains(']') {
            return at;
        }
        from = at + 1;
    }
}

/// The form under which all spellings of a name in a file are equal.
pub(crate) fn canonical(path: &str) -> String {
    let mut name = String::with_capacity(path.len());
    for element in elements(path) {
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
    name.push_str(&uniform(word));
}

/// A word without what does not matter: case, hyphens, underscores, and what a name cannot contain.
pub(crate) fn uniform(word: &str) -> String {
    let plain: String = word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if plain.is_empty() { word.to_owned() } else { plain }
}

/// The environment variables that mean `path`, the stronger first.
pub(crate) fn variables(path: &str) -> [String; 2] {
    let join = |spell: fn(&str) -> String| {
        let parts: Vec<String> = elements(path)
            .iter()
            .map(|element| match element {
                Element::Index(index) => index.to_string(),
                Element::Word(word) | Element::Bracket(word) => spell(word),
            })
            .collect();
        variable(&parts.join("_"))
    };
    [join(|word| word.replace(['-', '_'], "")), join(str::to_owned)]
}

/// An environment variable's name in the form that [`variables`] gives.
pub(crate) fn variable(name: &str) -> String {
    let plain = name.replace(']', "").replace(['.', '-', '['], "_");
    plain.to_uppercase()
}

/// Whether `name` is spelled the way that sees other spellings: lower case, digits and hyphens.
pub(crate) fn is_kebab(name: &str) -> bool {
    !name.is_empty()
        && elements(name).iter().all(|element| match element {
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
