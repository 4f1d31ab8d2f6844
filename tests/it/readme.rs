//! Every command of the README and of the pages that it points to runs.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The words of a shell line; quotes keep blanks together, and nothing else is special in the README.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c @ ('"' | '\''), None) => quote = Some(c),
            (' ', None) => words.push(String::new()),
            (c, _) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_readme_succeeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let texts = ["README.md", "docs/policy.md", "docs/conversation.md", "docs/package.md"].map(read).join("\n");
    let out = tempfile::tempdir().unwrap();
    let commands: Vec<&str> = texts.lines().filter_map(|line| line.strip_prefix("$ baton ")).collect();
    assert!(commands.len() >= 16, "only {} commands were found", commands.len());
    for command in commands {
        let arguments = words(&command.replace("$OUT", out.path().to_str().unwrap()));
        let result =
            Command::new(env!("CARGO_BIN_EXE_baton")).args(&arguments).current_dir(root).env_remove("BATON_MODEL").output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&result.stdout), String::from_utf8_lossy(&result.stderr));
        assert_eq!(result.status.code(), Some(0), "baton {command}\n{stderr}");
        assert!(!stdout.trim().is_empty(), "baton {command} said nothing");
    }
}

#[test]
fn the_example_of_a_printed_policy_is_what_the_program_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let result = Command::new(env!("CARGO_BIN_EXE_baton")).arg("policy").current_dir(root).env_remove("BATON_MODEL").output().unwrap();
    let example = fs::read_to_string(root.join("examples/policy.md")).unwrap();
    assert!(result.stdout == example.as_bytes(), "examples/policy.md is not what baton policy prints; write it anew");
}
