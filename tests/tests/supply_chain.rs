//! What a user's build brings in: no C, and licences that everybody can use.

use std::process::Command;

use serde_json::Value;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_users_build_has_no_c_library() {
    for features in ["", "testing,rskafka"] {
        let tree = cargo(&[
            "tree",
            "-p",
            "kafka-runtime",
            "-e",
            "normal,build",
            "--prefix",
            "none",
            "--features",
            features,
        ]);
        let c: Vec<&str> = tree
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|name| {
                name.ends_with("-sys") || ["cc", "cmake", "pkg-config", "bindgen", "openssl"].contains(name)
            })
            .collect();
        assert!(c.is_empty(), "features {features:?} bring C: {c:?}");
        assert!(tree.contains("lz4_flex") && tree.contains("ruzstd"), "the tree was not read: {tree}");
    }
}

#[test]
fn every_licence_is_permissive() {
    let allowed = [
        "MIT",
        "Apache-2.0",
        "BSD-3-Clause",
        "BSD-2-Clause",
        "Zlib",
        "Unicode-3.0",
        "Unlicense",
        "ISC",
        "0BSD",
    ];
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1"])).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 50, "only {} packages", packages.len());
    let mut wrong = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        // Any one of alternatives will do; what is joined by AND must all be allowed.
        let fits = licence.replace('/', " OR ").replace(['(', ')'], "").split(" OR ").any(|option| {
            option
                .split(" AND ")
                .all(|part| allowed.contains(&part.split(" WITH ").next().unwrap_or(part).trim()))
        });
        if !fits {
            wrong.push(format!("{} ({licence})", package["name"]));
        }
    }
    assert!(wrong.is_empty(), "licences to look at: {wrong:?}");
}
