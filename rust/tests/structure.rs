//! Checks the rules of the crates: which crates each may import, and what only one place may name.

use std::fs;
use std::path::{Path, PathBuf};

/// Each crate, and the crates of the project that it may import.
const MAY_IMPORT: [(&str, &[&str]); 6] = [
    ("slices-core", &[]),
    ("slices-store", &["slices_core"]),
    ("slices-parquet", &["slices_core", "slices_store"]),
    (
        "slices-engine",
        &["slices_core", "slices_parquet", "slices_store"],
    ),
    (
        "slices-ipc",
        &["slices_core", "slices_engine", "slices_store"],
    ),
    (
        "omega-slices",
        &[
            "slices_core",
            "slices_parquet",
            "slices_engine",
            "slices_ipc",
            "slices_store",
        ],
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder(name: &str) -> PathBuf {
    match name {
        "omega-slices" => root().to_owned(),
        name => root().join("crates").join(name),
    }
}

/// The source files of a crate: their paths, and their text without comments and unit tests.
fn sources(name: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![folder(name).join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|one| one == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((path, code(&text)));
            }
        }
    }
    assert!(!found.is_empty(), "{name} has sources");
    found
}

/// The text without comment lines and unit tests, which stand last.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Fails if a source file of a crate contains a text. Names the file and the line.
fn refuse(name: &str, text: &str, allowed: impl Fn(&Path) -> bool) {
    for (path, code) in sources(name) {
        let found = code.lines().find(|line| line.contains(text));
        assert!(
            found.is_none() || allowed(&path),
            "{} contains {text:?}: {found:?}",
            path.display()
        );
    }
}

/// rustfmt leaves comments alone.
#[test]
fn comments_fit_into_a_hundred_columns() {
    for (name, _) in MAY_IMPORT {
        for (path, _) in sources(name) {
            let text = fs::read_to_string(&path).expect("a source file");
            let is_wide = |line: &&str| {
                let comment = line.trim_start();
                // Hidden lines of examples cannot be wrapped.
                let is_comment = comment.starts_with("//") && !comment.starts_with("/// # ");
                is_comment && line.chars().count() > 100
            };
            let wide = text.lines().find(is_wide);
            assert_eq!(wide, None, "{}", path.display());
        }
    }
}

#[test]
fn crates_import_downwards_only() {
    let names = MAY_IMPORT.map(|(name, _)| name);
    for (name, allowed) in MAY_IMPORT {
        for other in names.map(|other| other.replace('-', "_")) {
            let is_itself = other == name.replace('-', "_");
            if !is_itself && !allowed.contains(&other.as_str()) {
                refuse(name, &format!("{other}::"), |_| false);
            }
        }
    }
}

/// The executable is the first user of the library, and needs nothing that others cannot have.
#[test]
fn the_command_line_imports_the_library_alone() {
    refuse("omega-slices", "slices_", |path| {
        let inside = path
            .strip_prefix(root().join("src"))
            .expect("a source file");
        !inside.starts_with("cli") && inside != Path::new("main.rs")
    });
}

#[test]
fn dependencies_are_those_that_a_crate_may_import() {
    for (name, allowed) in MAY_IMPORT {
        let manifest = fs::read_to_string(folder(name).join("Cargo.toml")).expect("a manifest");
        let package = manifest.split("[package]").nth(1).expect("a package");
        for (other, _) in MAY_IMPORT {
            let depends = package.contains(&format!("{other}.workspace"));
            let may = allowed.contains(&other.replace('-', "_").as_str());
            assert!(!depends || may, "{name} depends on {other}");
        }
    }
}

/// The module that stands in a crate's root, of a source file: a file or a folder.
fn module(name: &str, path: &Path) -> String {
    let inside = path.strip_prefix(folder(name).join("src"));
    let first = inside.expect("a source file").iter().next();
    let first = Path::new(first.expect("a name")).with_extension("");
    first.to_string_lossy().into_owned()
}

#[test]
fn modules_of_a_crate_import_each_other_in_no_circle() {
    for (name, _) in MAY_IMPORT {
        let files = sources(name);
        let mut left: Vec<_> = files.iter().map(|(path, _)| module(name, path)).collect();
        left.retain(|module| !["lib", "main"].contains(&module.as_str()));
        left.sort();
        left.dedup();
        assert!(left.len() > 2, "{name}: {left:?}");
        let imports = |from: &str, to: &str| {
            files.iter().any(|(path, code)| {
                // A file in the root reaches its neighbours by `super`, too.
                let is_in_root = path.parent() == Some(&folder(name).join("src"));
                let ways = if is_in_root {
                    &["crate", "super"][..]
                } else {
                    &["crate"]
                };
                let named = |way: &&str| {
                    [";", "::"]
                        .iter()
                        .any(|end| code.contains(&format!("{way}::{to}{end}")))
                };
                module(name, path) == from && from != to && ways.iter().any(named)
            })
        };
        // Take away what imports nothing that is left, until only circles are.
        while let Some(at) =
            (0..left.len()).find(|&at| !left.iter().any(|to| imports(&left[at], to)))
        {
            left.remove(at);
        }
        assert!(left.is_empty(), "{name} has a circle among {left:?}");
    }
}

#[test]
fn every_crate_says_what_it_is_and_what_it_may_import() {
    for (name, _) in &MAY_IMPORT[..5] {
        let readme = fs::read_to_string(folder(name).join("README.md")).expect("a README");
        assert!(readme.contains("mport"), "{name}");
        assert!(readme.lines().count() <= 14, "{name} says it in ten lines");
    }
}

#[test]
fn one_crate_names_the_parquet_library() {
    for (name, _) in MAY_IMPORT {
        for (path, code) in sources(name) {
            // The name of our crate ends like the library's.
            let code = code.replace("slices_parquet::", "");
            let names_it = code.contains("parquet::");
            assert!(!names_it || name == "slices-parquet", "{}", path.display());
        }
    }
}

#[test]
fn core_does_no_input_or_output_and_starts_no_thread() {
    for text in [
        "std::fs",
        "std::io",
        "std::net",
        "std::process",
        "std::thread",
        "arrow::",
        "File::",
        "println!",
        "eprintln!",
    ] {
        refuse("slices-core", text, |path| {
            // An error knows whether it came from a closed pipe.
            text == "std::io" && path.ends_with("error.rs")
        });
    }
}

#[test]
fn no_library_text_names_an_option_of_the_command_line() {
    for (name, _) in MAY_IMPORT {
        for (path, code) in sources(name) {
            if path.components().any(|part| part.as_os_str() == "cli") {
                continue;
            }
            for line in code.lines() {
                let options = line.match_indices("--").filter(|(at, _)| {
                    let after = line[at + 2..].chars().next();
                    let before = line[..*at].chars().next_back();
                    after.is_some_and(|one| one.is_ascii_lowercase())
                        && before.is_none_or(|one| !one.is_alphanumeric())
                });
                assert_eq!(options.count(), 0, "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn the_engine_knows_nothing_of_what_uses_it() {
    for name in ["slices-engine", "slices-parquet", "slices-core"] {
        for (path, code) in sources(name) {
            for word in ["coverage", "Coverage", "survey", "heat_map", "SliceCache"] {
                assert!(!code.contains(word), "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn column_names_and_metadata_keys_stand_in_one_place() {
    let keys = [
        "\"schema_name\"",
        "\"schema_version\"",
        "\"known_after_ns\"",
        "\"producer\"",
        "\"multi_symbol_slice\"",
        "\"valid_",
        "\"ind_",
        "_timestamp\"",
    ];
    let is_allowed = |path: &Path| {
        // Documents of the command line have fields of their own.
        path.ends_with("slices-core/src/candle.rs")
            || path.ends_with("slices-core/src/metadata.rs")
            || path.components().any(|part| part.as_os_str() == "cli")
    };
    for (name, _) in MAY_IMPORT {
        for key in keys {
            refuse(name, key, is_allowed);
        }
    }
}
