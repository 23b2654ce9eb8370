//! Placeholders: `${key}`, `${key:default}`, nested in names and defaults, `\${literally}`.
//!
//! They are resolved when a value is asked for, over everything merged, so a value in the first document sees what a
//! profile or the environment says. Only the kebab form of a key sees all its spellings; any other form means
//! exactly itself. The first colon starts the default. What resolves to nothing is an error, and so is a circle.

use super::names;
use super::origin::Origin;
use super::secrets;
use super::source::{Found, Sources};

/// How deep values may name one another.
const MAX_DEPTH: usize = 64;
/// How long a text may become.
const MAX_BYTES: usize = 1 << 20;
/// How many placeholders one text may come to.
const MAX_STEPS: usize = 10_000;

/// A text without placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub text: String,
    /// Whether a placeholder was named like a secret: then the text is one.
    pub secret: bool,
    /// The placeholders that the text itself names, and where their values come from.
    pub through: Vec<(String, Origin)>,
}

/// Why a text cannot be resolved. Contains names only, no values: a default may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// Nothing has this name.
    Nothing(String),
    /// These names need one another.
    Circle(Vec<String>),
    /// Too deep, too long, too many.
    TooMuch,
}

impl Unresolved {
    /// In words.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Nothing(name) => format!("has the placeholder `${{{name}}}`, which nothing resolves"),
            Self::Circle(names) => format!("has placeholders that need one another: {}", names.join(" -> ")),
            Self::TooMuch => "has too many placeholders".to_owned(),
        }
    }
}

/// Whether there is anything to resolve.
pub(crate) fn has_placeholder(text: &str) -> bool {
    text.contains("${")
}

/// `text` with every placeholder replaced by its value.
pub(crate) fn resolve(text: &str, sources: &Sources) -> Result<Resolved, Unresolved> {
    let mut resolver =
        Resolver { sources, visiting: Vec::new(), steps: 0, secret: false, through: Vec::new() };
    let text = resolver.text(text, 0)?;
    Ok(Resolved { text, secret: resolver.secret, through: resolver.through })
}

struct Resolver<'s> {
    sources: &'s Sources,
    visiting: Vec<String>,
    steps: usize,
    secret: bool,
    through: Vec<(String, Origin)>,
}

impl Resolver<'_> {
    fn text(&mut self, text: &str, depth: usize) -> Result<String, Unresolved> {
        if depth > MAX_DEPTH {
            return Err(Unresolved::TooMuch);
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('\\') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let Some((inside, after_end)) = split_end(after) else {
                // A placeholder without an end is text; others may follow it.
                out.push_str("${");
                rest = after;
                continue;
            };
            out.push_str(&self.placeholder(inside, depth)?);
            if out.len() > MAX_BYTES {
                return Err(Unresolved::TooMuch);
            }
            rest = after_end;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn placeholder(&mut self, inside: &str, depth: usize) -> Result<String, Unresolved> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Unresolved::TooMuch);
        }
        let (key, default) = split_default(inside);
        // A key with a colon in it is found by its whole name.
        if default.is_some() && !has_placeholder(inside) && self.sources.literal(inside).is_some() {
            return self.named(inside, None, depth);
        }
        let name = self.text(&key.replace("\\:", ":"), depth + 1)?;
        self.named(&name, default, depth)
    }

    fn named(&mut self, name: &str, default: Option<&str>, depth: usize) -> Result<String, Unresolved> {
        if self.visiting.iter().any(|visiting| visiting == name) {
            let mut circle = self.visiting.clone();
            circle.push(name.to_owned());
            return Err(Unresolved::Circle(circle));
        }
        // The default of a secret is one too.
        self.secret |= secrets::is_secret(name);
        let Some(Found { text, origin }) = lookup(self.sources, name) else {
            return match default {
                Some(default) => self.text(default, depth + 1),
                None => Err(Unresolved::Nothing(name.to_owned())),
            };
        };
        if self.visiting.is_empty() {
            self.through.push((name.to_owned(), origin));
        }
        self.visiting.push(name.to_owned());
        let value = self.text(&text, depth + 1);
        self.visiting.pop();
        value
    }
}

/// The value that a placeholder, or the application's own code, means by `name`.
pub(crate) fn lookup<'s>(sources: &'s Sources, name: &str) -> Option<Found<'s>> {
    if names::is_kebab(name) { sources.find(name) } else { sources.literal(name) }
}

/// What stands before the brace that closes a placeholder, and what after it.
fn split_end(text: &str) -> Option<(&str, &str)> {
    let mut open = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// The key and the default, at the first colon that is neither escaped nor inside of a nested placeholder.
fn split_default(inside: &str) -> (&str, Option<&str>) {
    let (mut open, mut escaped) = (0usize, false);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open = open.saturating_sub(1),
            ':' if open == 0 && !escaped => {
                return (inside.get(..at).unwrap_or_default(), inside.get(at + 1..));
            }
            _ => {}
        }
        escaped = c == '\\';
    }
    (inside, None)
}

#[cfg(test)]
mod tests {
    use super::super::environment::Environment;
    use super::super::source::{Document, Property, Source};
    use super::*;

    fn sources() -> Sources {
        let file = [
            ("app.a", "one"),
            ("app.groupId", "G"),
            ("app.some_key", "S"),
            ("app.list[0]", "x"),
            ("app.list[1]", "y"),
            ("app.clist", "p, q"),
            ("app.which", "a"),
            ("app.c1", "${app.c2}"),
            ("app.c2", "${app.c1}"),
            ("app.self", "${app.self:x}"),
            ("app.unresolved", "${nope}"),
            ("app.late", "${app.a}"),
            ("appName", "top"),
            ("a:b", "weird"),
            ("bomb0", "ha"),
            ("db.password", "hunter2"),
        ];
        let property = |path: &str, text: &str| Property {
            path: path.to_owned(),
            text: text.to_owned(),
            origin: Origin::Code,
            key_origin: Origin::Code,
        };
        let mut properties: Vec<_> = file.iter().map(|(path, text)| property(path, text)).collect();
        properties.extend(
            (1..40).map(|n| property(&format!("bomb{n}"), &format!("${{bomb{0}}}${{bomb{0}}}", n - 1))),
        );
        let environment = [("MY_ENV", "E"), ("APP_ENVLIST_0", "q0"), ("APP_A", "from the environment")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Sources {
            list: vec![
                Source::Environment(Environment::new(environment.into_iter().take(2))),
                Source::Document(Document::new(properties)),
            ],
        }
    }

    fn resolved(text: &str) -> Result<String, Unresolved> {
        resolve(text, &sources()).map(|resolved| resolved.text)
    }

    fn nothing(name: &str) -> Result<String, Unresolved> {
        Err(Unresolved::Nothing(name.to_owned()))
    }

    /// Each seen by running Spring Boot 3.5, where an unresolved one stays literal.
    #[test]
    fn placeholders_resolve_as_in_spring() {
        for (text, expected) in [
            ("${app.a}-${app.b:two}", "one-two"),
            ("${app.${app.which}}", "one"),
            ("${nope:http://x:1}", "http://x:1"),
            ("${nope:${app.a}}", "one"),
            ("${nope:${nix:z}}", "z"),
            ("\\${app.a}", "${app.a}"),
            ("x\\\\${app.a}", "x\\${app.a}"),
            ("${nope:\\${app.a}}", "${app.a}"),
            ("${app.a\\:b:c}", "c"),
            ("${nope:}", ""),
            ("${app.a", "${app.a"),
            ("${app.a${nope:b}", "${app.ab"),
            ("$ {x} ${", "$ {x} ${"),
            ("${nope:{x}}", "{x}"),
            ("${nope:a}b}", "ab}"),
            ("${a:b}", "weird"),
            ("${:x}", "x"),
            ("${app.late}", "one"),
        ] {
            assert_eq!(resolved(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn only_the_kebab_form_sees_other_spellings() {
        for (text, expected) in [
            ("${app.group-id}", "G"),
            ("${app.groupId}", "G"),
            ("${app.groupid}", "G"),
            ("${app.some-key}", "S"),
            ("${app.some_key}", "S"),
            ("${appName}", "top"),
            ("${app-name}", "top"),
        ] {
            assert_eq!(resolved(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(resolved("${app.group_id}"), nothing("app.group_id"));
        assert_eq!(resolved("${app.someKey}"), nothing("app.someKey"));
    }

    #[test]
    fn environment_variables_in_any_spelling() {
        assert_eq!(resolved("${MY_ENV}${my.env}${my-env}${MY.ENV}").as_deref(), Ok("EEEE"));
        assert_eq!(resolved("${app.envlist[0]}").as_deref(), Ok("q0"));
        assert_eq!(resolved("${APP_GROUPID}"), nothing("APP_GROUPID"));
    }

    #[test]
    fn an_element_of_a_list_resolves_the_list_does_not() {
        assert_eq!(resolved("${app.list[1]}").as_deref(), Ok("y"));
        assert_eq!(resolved("${app.clist}").as_deref(), Ok("p, q"));
        assert_eq!(resolved("${app.list}"), nothing("app.list"));
        assert_eq!(resolved("${app.clist[0]}"), nothing("app.clist[0]"));
    }

    #[test]
    fn what_resolves_to_nothing_is_an_error_that_names_it() {
        assert_eq!(resolved("${app.unresolved}"), nothing("nope"));
        assert_eq!(resolved("${app.unresolved:default}"), nothing("nope"));
        assert_eq!(resolved("${ app.a }"), nothing(" app.a "));
        assert_eq!(resolved("${}"), nothing(""));
    }

    #[test]
    fn a_circle_is_an_error_even_with_a_default() {
        let circle =
            |names: &[&str]| Err(Unresolved::Circle(names.iter().map(|&name| name.to_owned()).collect()));
        assert_eq!(resolved("${app.c1}"), circle(&["app.c1", "app.c2", "app.c1"]));
        assert_eq!(resolved("${app.self}"), circle(&["app.self", "app.self"]));
        assert_eq!(resolved("${app.c1:default}"), circle(&["app.c1", "app.c2", "app.c1"]));
    }

    #[test]
    fn doubling_forever_is_refused() {
        assert_eq!(resolved("${bomb39}"), Err(Unresolved::TooMuch));
    }

    #[test]
    fn a_value_through_a_secret_is_a_secret() {
        let all = sources();
        assert!(resolve("x${db.password}", &all).unwrap().secret);
        assert!(!resolve("${app.a}", &all).unwrap().secret);
        assert_eq!(resolve("${app.late}", &all).unwrap().through, [("app.late".to_owned(), Origin::Code)]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a${}:\\\\.\\[\\]0]{0,40}") {
            let _ = resolve(&text, &sources());
        }

        #[test]
        fn text_without_placeholders_stays(text in "[^$]{0,40}") {
            proptest::prop_assert_eq!(resolved(&text).unwrap(), text);
        }
    }
}
