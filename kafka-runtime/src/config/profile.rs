//! Profiles: which are active, and expressions over them (`prod & eu`, `!prod`, `a | (b & !c)`).

use std::collections::BTreeMap;

/// The profiles in force: those that were asked for with their groups, or `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profiles(Vec<String>);

impl Profiles {
    /// `included` and `active` with the members of their groups, each once, in the order in which their files win:
    /// the last is the strongest. Without any, `fallback`.
    pub(crate) fn new(
        included: &[String],
        active: &[String],
        fallback: &[String],
        groups: &BTreeMap<String, Vec<String>>,
    ) -> Self {
        let mut profiles = Vec::new();
        included.iter().chain(active).for_each(|name| expand(name, groups, &mut profiles));
        if profiles.is_empty() {
            fallback.iter().for_each(|name| expand(name, groups, &mut profiles));
        }
        Self(profiles)
    }

    /// The names in order.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|profile| profile == name)
    }
}

/// Adds a profile, then the members of its group, each with its own.
fn expand(name: &str, groups: &BTreeMap<String, Vec<String>>, to: &mut Vec<String>) {
    if to.iter().any(|known| known == name) {
        return;
    }
    to.push(name.to_owned());
    for member in groups.get(name).map(Vec::as_slice).unwrap_or_default() {
        expand(member, groups, to);
    }
}

/// Whether `expression` holds.
///
/// # Errors
/// In words, when it is not an expression: as in Spring, `&` and `|` do not mix without parentheses.
pub(crate) fn holds(expression: &str, profiles: &Profiles) -> Result<bool, String> {
    let mut parser = Parser { rest: expression, profiles, depth: 0 };
    let value = parser.expression()?;
    match parser.next() {
        None => Ok(value),
        Some(token) => Err(format!("`{}` is not expected there", token.text())),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    Sign(char),
    Name(&'t str),
}

impl Token<'_> {
    fn text(&self) -> String {
        match self {
            Self::Sign(sign) => sign.to_string(),
            Self::Name(name) => (*name).to_owned(),
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
    profiles: &'t Profiles,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<(Token<'t>, &'t str)> {
        const SIGNS: [char; 5] = ['(', ')', '&', '|', '!'];
        let text = self.rest.trim_start();
        let first = text.chars().next()?;
        if SIGNS.contains(&first) {
            return Some((Token::Sign(first), text.get(first.len_utf8()..)?));
        }
        let (name, rest) = text.split_at(text.find(SIGNS).unwrap_or(text.len()));
        Some((Token::Name(name.trim_end()), rest))
    }

    fn next(&mut self) -> Option<Token<'t>> {
        let (token, rest) = self.peek()?;
        self.rest = rest;
        Some(token)
    }

    fn expression(&mut self) -> Result<bool, String> {
        self.depth += 1;
        if self.depth > 64 {
            return Err("it is nested too deep".to_owned());
        }
        let mut value = self.term()?;
        let mut operator = None;
        while let Some((Token::Sign(sign @ ('&' | '|')), rest)) = self.peek() {
            if operator.is_some_and(|operator| operator != sign) {
                return Err("`&` and `|` need parentheses between them".to_owned());
            }
            operator = Some(sign);
            self.rest = rest;
            let other = self.term()?;
            value = if sign == '&' { value & other } else { value | other };
        }
        self.depth -= 1;
        Ok(value)
    }

    fn term(&mut self) -> Result<bool, String> {
        let mut wanted = true;
        loop {
            match self.next() {
                Some(Token::Sign('!')) => wanted = !wanted,
                Some(Token::Name(name)) => return Ok(self.profiles.contains(name) == wanted),
                Some(Token::Sign('(')) => {
                    let value = self.expression()?;
                    return match self.next() {
                        Some(Token::Sign(')')) => Ok(value == wanted),
                        _ => Err("a parenthesis is not closed".to_owned()),
                    };
                }
                Some(token) => return Err(format!("`{}` is not expected there", token.text())),
                None => return Err("a profile's name is missing".to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn active(active: &[&str]) -> Profiles {
        Profiles(names(active))
    }

    #[test]
    fn expressions() {
        let profiles = active(&["prod", "eu"]);
        for (expression, expected) in [
            ("prod", true),
            ("prod & eu", true),
            ("prod&us", false),
            ("!prod", false),
            ("!us", true),
            ("!!prod", true),
            ("us | (prod & !us)", true),
            ("!(prod & eu)", false),
            ("a | b | eu", true),
        ] {
            assert_eq!(holds(expression, &profiles), Ok(expected), "{expression}");
        }
        for bad in ["", "prod & eu | us", "(prod", "prod)", "&", "prod &", "!", &"(".repeat(1000)] {
            assert!(holds(bad, &profiles).is_err(), "{bad}");
        }
    }

    /// The order that Spring Boot 3.5 showed for these.
    #[test]
    fn groups_follow_their_profile_and_includes_come_first() {
        let groups = BTreeMap::from([
            ("prod".to_owned(), names(&["eu", "us"])),
            ("us".to_owned(), names(&["w", "prod"])),
        ]);
        let profiles =
            Profiles::new(&names(&["inc", "y"]), &names(&["prod", "x"]), &names(&["default"]), &groups);
        assert_eq!(profiles.names(), ["inc", "y", "prod", "eu", "us", "w", "x"]);
        let profiles = Profiles::new(&[], &[], &names(&["default"]), &groups);
        assert_eq!(profiles.names(), ["default"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a ()&|!]{0,30}") {
            let _ = holds(&text, &active(&["a"]));
        }
    }
}
