//! The pages that answer with the names of tests name tests that exist.

use std::fs;
use std::path::Path;

/// What stands between backticks and looks like the name of a test.
fn named(page: &str) -> impl Iterator<Item = &str> {
    let code = page.split('`').skip(1).step_by(2);
    code.filter(|name| name.matches('_').count() >= 3).filter(|name| {
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut code = String::new();
    for folder in ["tests/tests", "kafka-client/src", "kafka-runtime/src", "kafka-runtime/tests"] {
        sources(&root.join(folder), &mut code);
    }
    for page in ["what-happens-when.md", "groups.md", "rebalances.md", "running.md"] {
        let text = fs::read_to_string(root.join("docs").join(page)).unwrap();
        let names: Vec<&str> = named(&text).collect();
        assert!(names.len() > 3, "{page} names {names:?}");
        for name in names {
            assert!(
                code.contains(&format!("fn {name}(")) || code.contains(&format!("{name}:")),
                "{page}: there is no test `{name}`"
            );
        }
    }
}
