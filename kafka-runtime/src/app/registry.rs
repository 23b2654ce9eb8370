//! The listeners of this program, as the macro registered them.

use std::collections::BTreeMap;

use crate::listener::ListenerDescriptor;

/// All that are linked, by id.
pub(super) fn linked() -> Vec<&'static ListenerDescriptor> {
    let mut found: Vec<_> = inventory::iter::<ListenerDescriptor>.into_iter().collect();
    found.sort_by_key(|listener| (listener.id, listener.location.file, listener.location.line));
    found
}

/// Those that run: all, or the chosen ones. What is wrong with the choice is said.
pub(super) fn chosen(
    linked: &[&'static ListenerDescriptor],
    only: Option<&[String]>,
    problems: &mut Vec<String>,
) -> Vec<&'static ListenerDescriptor> {
    let is_chosen = |id: &str| only.is_none_or(|only| only.iter().any(|wanted| wanted == id));
    let mut by_id: BTreeMap<&str, Vec<&'static ListenerDescriptor>> = BTreeMap::new();
    for listener in linked.iter().filter(|listener| is_chosen(listener.id)) {
        by_id.entry(listener.id).or_default().push(listener);
    }
    for wanted in only.unwrap_or_default().iter().filter(|wanted| !by_id.contains_key(wanted.as_str())) {
        let known: Vec<&str> = linked.iter().map(|listener| listener.id).collect();
        problems.push(format!(
            "App::only names the listener `{wanted}`, which is not linked into this program (linked: {}); \
             a listener in a crate that nothing names is left out by the linker: `use that_crate as _;` brings it in",
            known.join(", ")
        ));
    }
    for (id, same) in by_id.iter().filter(|(_, same)| same.len() > 1) {
        let places: Vec<String> =
            same.iter().map(|listener| format!("{} ({})", listener.location, listener.function)).collect();
        problems.push(format!(
            "{} listeners have the id `{id}`: {}; give one of them `id = \"..\"`",
            same.len(),
            places.join(" and ")
        ));
    }
    by_id.into_values().filter_map(|same| same.first().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Bound;
    use crate::listener::{Attributes, Preparation, SourceLocation};

    fn never(_: &mut Preparation<'_>) -> Bound {
        unreachable!("not bound in these tests")
    }

    fn listener(id: &'static str, line: u32) -> &'static ListenerDescriptor {
        Box::leak(Box::new(ListenerDescriptor {
            id,
            function: id,
            location: SourceLocation { file: "src/main.rs", line, column: 1 },
            attributes: Attributes::default(),
            batch: false,
            takes_ack: false,
            bind: never,
        }))
    }

    #[test]
    fn duplicates_and_unknown_names_are_said_together() {
        let linked = [listener("bill", 3), listener("bill", 9), listener("audit", 20)];
        let mut problems = Vec::new();
        let only = ["bill".to_owned(), "bil".to_owned()];
        let chosen = chosen(&linked, Some(&only), &mut problems);
        assert_eq!(chosen.iter().map(|listener| listener.id).collect::<Vec<_>>(), ["bill"]);
        assert!(
            problems[0].contains("`bil`") && problems[0].contains("linked: bill, bill, audit"),
            "{problems:?}"
        );
        assert!(
            problems[1].contains("src/main.rs:3:1") && problems[1].contains("src/main.rs:9:1"),
            "{problems:?}"
        );
    }

    #[test]
    fn what_is_not_chosen_is_not_looked_at() {
        let linked = [listener("bill", 3), listener("bill", 9), listener("audit", 20)];
        let mut problems = Vec::new();
        assert_eq!(chosen(&linked, Some(&["audit".to_owned()]), &mut problems).len(), 1);
        assert!(chosen(&linked, Some(&[]), &mut problems).is_empty());
        assert!(problems.is_empty(), "{problems:?}");
    }
}
