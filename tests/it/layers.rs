//! Who may use whom: the table of `src/lib.rs`, held by reading the `use` lines and paths.

use std::fs;
use std::path::{Path, PathBuf};

/// Layer, its files, and the layers whose names may stand in them.
const LAYERS: [(&str, &[&str]); 9] = [
    ("signal", &[]),
    ("message", &[]),
    ("time", &[]),
    ("random", &[]),
    ("model", &["signal", "random"]),
    ("handoff", &["signal", "message", "time"]),
    ("service", &["signal", "message", "time", "random", "model", "handoff"]),
    ("config", &["signal", "message", "time", "random", "model", "handoff", "service"]),
    ("cli", &["signal", "message", "time", "random", "model", "handoff", "service", "config"]),
];

fn files_of(layer: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![root.join(format!("{layer}.rs"))];
    let mut folders = vec![root.join(layer)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Every layer named after `crate::` outside comments.
fn uses(code: &str) -> Vec<&str> {
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let after = code.flat_map(|line| line.split("crate::").skip(1));
    after.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()).collect()
}

#[test]
fn each_layer_uses_only_those_below_it() {
    let mut seen = 0;
    for (layer, allowed) in LAYERS {
        for file in files_of(layer) {
            let code = fs::read_to_string(&file).unwrap();
            for used in uses(&code) {
                seen += 1;
                assert!(used == layer || allowed.contains(&used), "{}: {layer} may not use {used}", file.display());
            }
        }
    }
    assert!(seen > 50, "only {seen} uses were found: is the test still reading the sources?");
}

#[test]
fn every_module_of_the_crate_has_a_layer() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules = map.lines().filter_map(|line| line.strip_prefix("pub mod ")).map(|rest| rest.trim_end_matches(';'));
    for module in modules {
        assert!(LAYERS.iter().any(|(layer, _)| *layer == module), "{module} is in no layer");
    }
}

#[test]
fn libraries_stay_in_their_folders() {
    for (library, home) in [
        ("candle_core::", "model"),
        ("candle_nn::", "model"),
        ("tokenizers::", "model"),
        ("indicatif::", "cli"),
        ("rusqlite::", "service"),
        ("cel::", "handoff"),
        ("frostem::", "handoff"),
        ("minijinja::", "handoff"),
        ("tonic::", "service"),
        ("reqwest::", "service"),
        ("rustls::", "service"),
        ("hmac::", "service"),
        ("prometheus_client::", "service"),
    ] {
        for (layer, _) in LAYERS.iter().filter(|(layer, _)| *layer != home) {
            for file in files_of(layer) {
                let code = fs::read_to_string(&file).unwrap();
                assert!(!code.contains(library), "{}: {library} belongs to {home}", file.display());
            }
        }
    }
}
