//! The table of all keys as Markdown: what `docs/configuration.md` holds.

use std::fmt::Write as _;

use super::names;
use super::schema::{self, Effect, KAFKA, Key};

/// Every key under `spring.kafka.` and `kafka-runtime.`, and every name of Kafka's under their `properties`, with what
/// it takes, its default and what it does here; as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "## `spring.kafka.*`\n\nThe same keys stand under `kafka-runtime.*`, and win there.\n\n",
    );
    keys(&mut text, true);
    text.push_str("\n## `kafka-runtime.*`\n\n");
    keys(&mut text, false);
    text.push_str("\n## Kafka's names, under `properties`\n\n| name | of | takes | default | here |\n|---|---|---|---|---|\n");
    for key in KAFKA {
        let takes = key.shape.describe().replace("duration", "milliseconds").replace("size", "bytes");
        let name = key.name.trim_end_matches('*');
        let name = if name == key.name { format!("`{name}`") } else { format!("`{name}*`") };
        row(&mut text, &[name, key.clients(), takes, quoted(key.default), effect(key.effect)]);
    }
    text
}

fn keys(text: &mut String, spring: bool) {
    text.push_str("| key | takes | default | Kafka's name | here |\n|---|---|---|---|---|\n");
    for section in schema::sections().filter(|section| section.spring == spring) {
        for at in section.at {
            for key in section.keys {
                let path = names::join(at, key.path).replace("listeners.*", "listeners.<id>");
                let path = match key.shape {
                    schema::Shape::Map => format!("`{}.*`", path.trim_end_matches(".**")),
                    _ => format!("`{path}`"),
                };
                row(
                    text,
                    &[
                        path,
                        key.shape.describe(),
                        quoted(key.default),
                        quoted(kafka(key)),
                        effect(key.effect),
                    ],
                );
            }
        }
    }
}

fn kafka(key: &Key) -> &str {
    key.kafka
}

fn row(text: &mut String, cells: &[String]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// A value in code font; words about a value stay words.
fn quoted(value: &str) -> String {
    match value {
        "" => String::new(),
        words if words.contains(['`', ' ']) => words.to_owned(),
        value => format!("`{value}`"),
    }
}

fn effect(effect: Effect) -> String {
    match effect {
        Effect::Honoured => "honoured".to_owned(),
        Effect::Mapped(to) => format!("mapped: {to}"),
        Effect::Ignored(why) => format!("accepted without effect: {why}"),
        Effect::Refused(why) => format!("refused: {why}"),
        Effect::RefusedUnless(value, why) => format!("`{value}` only, anything else is refused: {why}"),
    }
}
