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
        ("sha1::", "service"),
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

#[test]
fn the_default_build_does_not_depend_on_the_hub() {
    let manifest: toml::Table =
        toml::from_str(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap()).unwrap();
    let features = manifest["features"].as_table().unwrap();
    let turned_on_by = |feature: &str| {
        let list = features.get(feature).and_then(toml::Value::as_array);
        list.into_iter().flatten().map(|entry| entry.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (mut on, mut next) = (vec!["default".to_owned()], 0);
    while let Some(feature) = on.get(next).cloned() {
        on.extend(turned_on_by(&feature).into_iter().filter(|other| !on.contains(other)).collect::<Vec<_>>());
        next += 1;
    }
    assert!(!on.contains(&"hub".to_owned()), "the default features turn the hub on: {on:?}");
    let needed = turned_on_by("hub");
    assert!(!needed.is_empty(), "the feature is gone, or was renamed");
    for dependency in needed.iter().filter_map(|entry| entry.strip_prefix("dep:")) {
        assert_eq!(manifest["dependencies"][dependency]["optional"].as_bool(), Some(true), "{dependency} is in every build");
    }
    // Outside of the feature nothing names what is in it.
    for (layer, _) in LAYERS {
        for file in files_of(layer).into_iter().filter(|file| !file.components().any(|part| part.as_os_str() == "hub")) {
            let code = fs::read_to_string(&file).unwrap();
            let names_it = code.contains("service::hub") && !file.ends_with("service/hub.rs") && !file.ends_with("config/hub.rs");
            assert!(!names_it || code.contains("#[cfg(feature = \"hub\")]"), "{}: names the hub in every build", file.display());
        }
    }
}

#[cfg(not(feature = "hub"))]
#[test]
fn a_build_without_the_hub_says_so() {
    let place = crate::support::Place::new();
    place.baton(&["models", "pull", "org/name", "--revision", "main"]).failure(&["no hub support", "--features hub"]);
}
