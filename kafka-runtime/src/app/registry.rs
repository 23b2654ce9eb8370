//! The listeners of this program, as the macro registered them.

use crate::listener::ListenerDescriptor;

/// All that are linked, by id.
pub(super) fn linked() -> Vec<&'static ListenerDescriptor> {
    let mut found: Vec<_> = inventory::iter::<ListenerDescriptor>.into_iter().collect();
    found.sort_by_key(|listener| (listener.id, listener.location.file, listener.location.line));
    found
}

/// Those that run: all, or the chosen ones. What is wrong with the choice is said. (Two of one name are the
/// configuration's to complain about.)
pub(super) fn chosen(
    linked: &[&'static ListenerDescriptor],
    only: Option<&[String]>,
    problems: &mut Vec<String>,
) -> Vec<&'static ListenerDescriptor> {
    let Some(only) = only else { return linked.to_vec() };
    let known: Vec<&str> = linked.iter().map(|listener| listener.id).collect();
    for wanted in only.iter().filter(|wanted| !known.contains(&wanted.as_str())) {
        problems.push(format!(
            "App::only names the listener `{wanted}`, which is not linked into this program (linked: {}); \
             a listener in a crate that nothing names is left out by the linker: `use that_crate as _;` brings it in",
            known.join(", ")
        ));
    }
    linked.iter().copied().filter(|listener| only.iter().any(|wanted| wanted == listener.id)).collect()
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
            takes_tx: false,
            error_type: || None,
            bind: never,
        }))
    }

    #[test]
    fn unknown_names_are_said() {
        let linked = [listener("bill", 3), listener("audit", 20)];
        let mut problems = Vec::new();
        let only = ["bill".to_owned(), "bil".to_owned()];
        let chosen = chosen(&linked, Some(&only), &mut problems);
        assert_eq!(chosen.iter().map(|listener| listener.id).collect::<Vec<_>>(), ["bill"]);
        assert!(problems[0].contains("`bil`") && problems[0].contains("linked: bill, audit"), "{problems:?}");
    }

    #[test]
    fn all_run_unless_some_are_chosen() {
        let linked = [listener("bill", 3), listener("audit", 20)];
        let mut problems = Vec::new();
        assert_eq!(chosen(&linked, None, &mut problems).len(), 2);
        assert!(chosen(&linked, Some(&[]), &mut problems).is_empty());
        assert!(problems.is_empty(), "{problems:?}");
    }
}
