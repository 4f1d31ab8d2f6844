//! The commands as an operator meets them: results on stdout, talk on stderr, exit codes, and what the flags and the environment mean.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{PLANTED, Place, Run, SHIPPED, TINY, csv_rows, each_case, lines_of_json};

/// What one message becomes in JSON.
const KEYS: [&str; 8] = ["text", "language", "sentiment", "emotion", "intent", "act", "lexical", "windows"];

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn sum(probabilities: &Value) -> f64 {
    let values = probabilities.as_object().expect("an object").values();
    values.map(|p| p.as_f64().expect("a number")).sum()
}

#[test]
fn demo_shows_every_turn_with_its_signals() {
    let place = Place::new();
    let turns = [
        "Hi, I was charged twice for my subscription this month",
        "no, I already read it and it does not help",
        "That is NOT what I asked. I want the second payment back",
        "this is ridiculous, third time this year. is there any",
        "if it is not back by friday my lawyer will be in touch",
        "Ich möchte bitte mein Geld zurück",
        "bot: I am sorry to hear that.",
    ];
    for model in [SHIPPED, TINY] {
        let run = place.baton(&["demo", "--model", model]);
        let shown = run.success();
        let words = ["turn", "sentiment", "emotion", "intent", "act", "rules", "legal", "card_number", "asks_for_person"];
        for expected in turns.iter().chain(&words) {
            assert!(shown.contains(expected), "expected {expected:?} in {shown}");
        }
        assert_eq!(run.stderr, "");
        if model == TINY {
            // The default policy names labels that this model has not: signals are shown all the same.
            assert!(shown.starts_with("A conversation, scored over gRPC by a daemon on 127.0.0.1:"), "{shown}");
            assert!(shown.contains("No decisions: the default policy does not fit this model"), "{shown}");
            continue;
        }
        assert!(shown.starts_with("A conversation, observed over gRPC by a daemon on 127.0.0.1:"), "{shown}");
        for expected in [
            "an earlier contact 12 days ago",
            "hand over: asks-for-person",
            "demo, message 7: hand over to a person (asks-for-person): the trigger fired",
            "fired: asks-for-person (immediate): asks for a person (message 7)",
            "Closed as unresolved.",
            "to maya, with the package: will you take it?",
            "Maya accepts: the handoff is accepted, the conversation is the person's, epoch 3",
            "the bot's late reply: Aborted",
            "Maya resolves: the handoff is resolved, the conversation is the bot's, epoch 4",
            "the bot speaks again, its counters cleared and its triggers armed",
            "demo-later, message 1: hand over to a person (repeat-contact): the trigger fired",
            "contacts about this issue in 30 days 3 ≥ 3",
        ] {
            assert!(shown.contains(expected), "expected {expected:?} in {shown}");
        }
    }
}

/// The first command of the README: no flag, in a checkout.
#[test]
fn demo_needs_no_flag_in_the_repository() {
    let place = Place::new();
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    command.arg("demo").current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(Run::of(command, b"").success().contains(": baton-en "));
}

#[test]
fn one_message_as_json() {
    let value = Place::new().baton(&["score", "--json", "--model", TINY, "I want my money back, card 4111 1111 1111 1111"]).json();
    assert_eq!(keys(&value), KEYS);
    assert_eq!(value["language"], json!({"known": true, "probability": 1.0}));
    assert_eq!(keys(&value["sentiment"]), ["label", "confidence", "probabilities", "valence"]);
    assert_eq!(keys(&value["sentiment"]["probabilities"]), ["negative", "neutral", "positive"]);
    assert!((sum(&value["sentiment"]["probabilities"]) - 1.0).abs() < 0.001);
    let p = |label: &str| value["sentiment"]["probabilities"][label].as_f64().unwrap();
    assert!((value["sentiment"]["valence"].as_f64().unwrap() - (p("positive") - p("negative"))).abs() < 0.0002);
    let label = value["sentiment"]["label"].as_str().unwrap();
    assert_eq!(value["sentiment"]["confidence"].as_f64().unwrap(), p(label));
    assert_eq!(keys(&value["emotion"]), ["present", "probabilities"]);
    assert_eq!(keys(&value["emotion"]["probabilities"]), ["anger", "gratitude"]);
    assert_eq!(keys(&value["intent"]), ["label", "confidence", "in_scope", "probabilities"]);
    assert!((sum(&value["intent"]["probabilities"]) - 1.0).abs() < 0.001);
    assert_eq!(value["act"], json!({"absent": "no_proposal"}));
    assert_eq!(value["lexical"], json!([{"kind": "card_number", "start": 27, "end": 46}]));
    assert_eq!(value["windows"], json!({"scored": 1, "dropped": 0, "bytes_unread": 0}));
}

#[test]
fn a_model_without_heads_says_so() {
    let place = Place::new();
    let package = place.package("headless", TINY);
    package.remove_heads();
    let value = place.baton(&["score", "--json", "--model", "headless", "hello"]).json();
    for head in ["sentiment", "emotion", "intent", "act"] {
        assert_eq!(value[head], json!({"absent": "not_in_model"}), "{head}");
    }
}

#[test]
fn several_messages_come_in_order() {
    let place = Place::new();
    let messages: Vec<String> = (0..300).map(|row| format!("{}refund {row}", "hello ".repeat(row % 11))).collect();
    let input: String = messages.iter().map(|message| format!("{message}\n")).collect();
    let of_lines = place.baton_reading(&["score", "--json", "--model", TINY], input.as_bytes()).json_lines();
    assert_eq!(of_lines.iter().map(|value| value["text"].as_str().unwrap()).collect::<Vec<_>>(), messages);
    let arguments: Vec<&str> = ["score", "--json", "--model", TINY].into_iter().chain(messages.iter().map(String::as_str)).collect();
    let of_arguments = place.baton(&arguments).json_lines();
    assert_eq!(of_arguments.len(), 300);
    for (line, argument) in of_lines.iter().zip(&of_arguments) {
        assert_eq!((&line["text"], &line["sentiment"]["label"]), (&argument["text"], &argument["sentiment"]["label"]));
    }
}

#[test]
fn a_table_for_people() {
    let place = Place::new();
    let long = "please send the card back to me, ".repeat(9);
    let run = place.baton(&["score", "--model", TINY, "I want my money back", "my lawyer will sue", &long]);
    let shown = run.success();
    for expected in
        ["message", "sentiment", "emotion", "intent", "act", "rules", "I want my money back", "legal", " %", "- (no_proposal)", "…"]
    {
        assert!(shown.contains(expected), "expected {expected:?} in {shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() < 250) && !shown.contains(&long), "{shown}");
    assert!(serde_json::from_str::<Value>(shown).is_err() && run.stderr.is_empty());
    let lines = place.baton_reading(&["score", "--model", TINY], b"hello\nthanks\n");
    assert!(lines.success().contains("hello") && lines.stdout.contains("thanks"));
}

#[test]
fn the_proposal_feeds_the_pair_head() {
    let place = Place::new();
    let act = |more: &[&str]| place.baton(&[&["score", "--json", "--model", TINY][..], more].concat()).json()["act"].clone();
    let card = act(&["--proposal", "Can I send a new card to you?", "yes please"]);
    assert_eq!(keys(&card["probabilities"]), ["accepts", "rejects", "other"]);
    assert!((sum(&card["probabilities"]) - 1.0).abs() < 0.001);
    assert_ne!(card, act(&["--proposal", "Will you cancel the order?", "yes please"]), "the proposal is read");
    assert_eq!(act(&["yes please"]), json!({"absent": "no_proposal"}));
    assert_eq!(act(&["--proposal", " ", "yes please"]), json!({"absent": "no_proposal"}));
    assert_eq!(act(&["--proposal", "Will you cancel the order?", " "]), json!({"absent": "no_text"}));

    // The reference library's answers for three pairs.
    let hidden: Value = serde_json::from_slice(&fs::read(format!("{TINY}-hidden.json")).unwrap()).unwrap();
    for pair in hidden["pairs"].as_array().unwrap() {
        let found = act(&["--engine", "candle", "--proposal", pair["previous"].as_str().unwrap(), pair["message"].as_str().unwrap()]);
        let expected = pair["probabilities"]["act"].as_array().unwrap();
        for (found, expected) in found["probabilities"].as_object().unwrap().values().zip(expected) {
            assert!((found.as_f64().unwrap() - expected.as_f64().unwrap()).abs() < 0.001, "{found} is not {expected}");
        }
    }
}

#[test]
fn vectors_have_unit_length() {
    let place = Place::new();
    let text = "Where is my refund? I want it back now. Hello\nthanks";
    let value = place.baton(&["score", "--json", "--vectors", "--model", TINY, text]).json();
    assert_eq!(keys(&value), [&KEYS[..], &["embedding", "sentences"]].concat());
    let length = |vector: &Value| vector.as_array().unwrap().iter().map(|v| v.as_f64().unwrap().powi(2)).sum::<f64>().sqrt();
    assert_eq!(value["embedding"].as_array().unwrap().len(), 32);
    assert!((length(&value["embedding"]) - 1.0).abs() < 1e-5);
    let sentences = value["sentences"].as_array().unwrap();
    let span = |sentence: &Value| text[sentence["start"].as_u64().unwrap() as usize..sentence["end"].as_u64().unwrap() as usize].to_owned();
    assert_eq!(sentences.iter().map(span).collect::<Vec<_>>(), ["Where is my refund?", "I want it back now.", "Hello", "thanks"]);
    assert!(sentences.iter().all(|sentence| (length(&sentence["embedding"]) - 1.0).abs() < 1e-5));
    place.baton(&["score", "--vectors", "--model", TINY, text]).failure(&["--json"]);
}

#[test]
fn a_csv_file_keeps_its_columns() {
    let place = Place::new();
    place
        .write("in.csv", "id,body,previous,extra\n7,\"I want my money back, now\",,x\n8,yes please,Can I send a new card to you?,\n9,,,\n");
    let arguments = ["score", "--model", TINY, "--input", "in.csv", "--output", "out.csv", "--text-column", "body"];
    let run = place.baton(&[&arguments[..], &["--proposal-column", "previous"]].concat());
    assert_eq!((run.success(), run.stderr.as_str()), ("3 rows scored, 0 rows with an error in their place\n", ""));
    let (columns, rows) = csv_rows(&place.read("out.csv"));
    assert_eq!(columns[..4], ["id", "body", "previous", "extra"]);
    let added = [
        "language_known",
        "sentiment",
        "sentiment_confidence",
        "valence",
        "emotion",
        "intent",
        "intent_confidence",
        "in_scope",
        "act",
        "rules",
        "example_intents",
        "windows_dropped",
        "error",
    ];
    assert_eq!(columns[4..], added.map(|name| format!("baton_{name}")));
    let cells = |column: &str| rows.iter().map(|row| row[column].as_str()).collect::<Vec<_>>();
    assert_eq!((cells("id"), cells("body")), (vec!["7", "8", "9"], vec!["I want my money back, now", "yes please", ""]));
    assert_eq!((cells("extra"), cells("baton_error")), (vec!["x", "", ""], vec!["", "", ""]));
    assert_eq!(cells("baton_windows_dropped"), ["0", "0", "0"]);
    assert!(!rows[1]["baton_act"].is_empty() && rows[0]["baton_act"].is_empty(), "act needs a proposal");
    assert!(rows[2]["baton_sentiment"].is_empty() && rows[2]["baton_language_known"].is_empty(), "an empty text has no signals");

    let alone = place.baton(&["score", "--json", "--model", TINY, "I want my money back, now"]).json();
    assert_eq!(rows[0]["baton_sentiment"], alone["sentiment"]["label"].as_str().unwrap());
    let near = |column: &str, value: &Value| (rows[0][column].parse::<f64>().unwrap() - value.as_f64().unwrap()).abs() < 0.0002;
    assert!(near("baton_sentiment_confidence", &alone["sentiment"]["confidence"]));
    assert!(near("baton_valence", &alone["sentiment"]["valence"]) && near("baton_in_scope", &alone["intent"]["in_scope"]));
}

#[test]
fn a_json_lines_file_keeps_its_keys() {
    let place = Place::new();
    let rows = [
        json!({"id": 1, "text": "I want my money back", "nested": {"a": [1, null, "\u{1f621}"]}}),
        json!({"text": "my lawyer will sue", "z": 1.5, "a": true}),
    ];
    place.write("in.ndjson", rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    let run = place.baton(&["score", "--json", "--model", TINY, "--input", "in.ndjson", "--output", "out.jsonl"]);
    assert_eq!(run.json(), json!({"rows": 2, "rows_failed": 0}));
    let written = lines_of_json(&place.read_text("out.jsonl"));
    assert_eq!(written.len(), 2);
    for (written, row) in written.iter().zip(&rows) {
        assert_eq!(keys(written), [keys(row), vec!["baton"]].concat(), "the order is kept");
        assert!(row.as_object().unwrap().iter().all(|(key, value)| written[key] == *value));
        assert_eq!(keys(&written["baton"]), KEYS[1..]);
    }
    assert_eq!(written[1]["baton"]["lexical"][0]["kind"], "legal");

    // CSV in, JSON Lines out: the cells become texts.
    place.write("in.csv", "id,text\n1,hello\n");
    place.baton(&["score", "--model", TINY, "--input", "in.csv", "--output", "of_csv.jsonl"]).success();
    let written = lines_of_json(&place.read_text("of_csv.jsonl")).remove(0);
    assert_eq!((&written["id"], &written["text"]), (&json!("1"), &json!("hello")));
}

#[test]
fn log_lines_are_json_and_hold_no_message() {
    let place = Place::new();
    place.write("in.csv", format!("text,label\n{}", format!("{PLANTED} hello,a\n{PLANTED} refund,b\n").repeat(10)));
    let data = ["--data", "in.csv", "--text-column", "text", "--label-column", "label"];
    let cases: [(&str, Vec<&str>, &[&str]); 4] = [
        ("score", vec!["score", "--json", "--model", TINY, PLANTED], &["model_loaded"]),
        ("file", vec!["score", "--model", TINY, "--input", "in.csv", "--output", "out.csv"], &["model_loaded", "file_scored"]),
        ("train", [&["train", "--model", TINY, "--out", "new"][..], &data].concat(), &["model_loaded", "features_ready", "head_fitted"]),
        ("eval", [&["eval", "--model", "new", "--head", "in"][..], &data].concat(), &["model_loaded", "features_ready"]),
    ];
    // One after the other: the last reads what the one before wrote.
    each_case(cases.map(|case| (case.0, case)), |(_, arguments, expected)| {
        let run = place.baton(&[&arguments[..], &["--log-format", "json", "--log-level", "debug"]].concat());
        run.success();
        let events = lines_of_json(&run.stderr);
        let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
        assert_eq!(names, expected);
        assert!(events.iter().all(|event| event["level"].is_string() && event["timestamp"].is_string()));
        assert!(events.iter().filter(|event| event["event"].is_string()).all(|event| event.get("elapsed_ms").is_some_and(Value::is_u64)));
    });
    let loaded = place.baton(&["score", "--json", "--model", TINY, "--log-format", "json", "--log-level", "info", "hello"]);
    let event = &lines_of_json(&loaded.stderr)[0];
    assert_eq!((&event["event"], &event["level"], &event["model"]), (&json!("model_loaded"), &json!("INFO"), &json!("tiny-bert 0.1.0")));
    assert_eq!(event["digest"].as_str().unwrap().len(), 64);
    assert!(event["engine"].as_str().unwrap().contains(" on "));
    let text = place.baton(&["--log-level", "info", "score", "--json", "--model", TINY, PLANTED]);
    assert!(text.stderr.contains("event=\"model_loaded\"") && !text.stderr.contains('\u{1b}'), "{}", text.stderr);
    let quiet = place.baton(&["score", "--json", "--model", TINY, "hello"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}

#[test]
fn devices_that_this_build_lacks() {
    let place = Place::new();
    for (device, lacks) in [("cuda", cfg!(not(feature = "cuda"))), ("metal", cfg!(not(feature = "metal")))] {
        if lacks {
            let expected = format!("device {device}: this program was built without the feature {device}");
            place.baton(&["score", "--model", TINY, "--device", device, PLANTED]).failure(&[&expected]);
        }
    }
    place.baton(&["score", "--model", TINY, "--device", "abacus", "hello"]).failure(&["abacus", "auto", "cpu", "cuda", "metal"]);
    place.baton(&["score", "--json", "--model", TINY, "--device", "cpu", "hello"]).success();
    place.baton(&["score", "--json", "--model", TINY, "--device", "auto", "hello"]).success();
}

#[test]
fn wrong_command_lines_end_with_2_and_help_with_0() {
    let place = Place::new();
    place.baton(&["levitate"]).failure(&["levitate", "--help"]);
    place.baton(&[]).failure(&["demo", "score", "train", "eval"]);
    place.baton(&["score", "--levitate"]).failure(&["--levitate"]);
    place.baton(&["train"]).failure(&["--data", "--out"]);
    place.baton(&["eval", "--data", "x.csv"]).failure(&["--head"]);
    place.baton(&["score", "--input", "a.csv", "--output", "b.csv", "hello"]).failure(&["--input"]);
    place.baton(&["score", "--log-level", "loud", "hello"]).failure(&["loud", "error", "warn", "info", "debug"]);
    assert_eq!(place.baton(&["--version"]).success(), concat!("baton ", env!("CARGO_PKG_VERSION"), "\n"));
    for (command, words) in [
        (&["--help"][..], &["demo", "score", "train", "eval"][..]),
        (&["score", "--help"], &["--model", "--device", "--input", "--output", "--proposal", "--intents", "--json", "--vectors"]),
        (&["train", "--help"], &["--data", "--out", "--head", "--target", "--balanced", "--out-of-scope-label", "--seed"]),
        (&["eval", "--help"], &["--data", "--head", "--out-of-scope-label"]),
        (&["demo", "--help"], &["--model", "--device"]),
    ] {
        let run = place.baton(command);
        let shown = run.success();
        words.iter().for_each(|word| assert!(shown.contains(word), "{command:?}: expected {word:?} in {shown}"));
    }
}

/// Customers write "-5 stars" and "--- original message ---".
#[test]
fn messages_that_begin_with_a_dash() {
    let place = Place::new();
    for message in [format!("-5 stars {PLANTED}"), format!("--- original message --- {PLANTED}"), format!("--{PLANTED}")] {
        assert_eq!(place.baton(&["score", "--json", "--model", TINY, "--", &message]).json()["text"], json!(message));
        assert_eq!(place.baton_reading(&["score", "--json", "--model", TINY], message.as_bytes()).json()["text"], json!(message));
    }
}

#[test]
fn a_message_that_is_taken_for_a_flag_is_not_shown_on_stderr() {
    let messages = [format!("-5 stars {PLANTED}"), format!("--- original message --- {PLANTED}")];
    each_case(messages.iter().map(|message| (message.as_str(), message)), |message| {
        let run = Place::new().baton(&["score", "--json", "--model", TINY, message]);
        assert!(matches!(run.code, Some(0 | 2)), "{run:?}");
    });
}

/// The name of the package that a run loads.
fn loaded(place: &Place, variable: Option<&str>, flag: Option<&str>) -> Result<String, Run> {
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    command.args(["score", "--json", "--log-format", "json", "--log-level", "info", "hello"]);
    command.args(flag.iter().flat_map(|value| ["--model", value])).envs(variable.map(|value| ("BATON_MODEL", value)));
    let run = Run::of(command, b"");
    if run.code == Some(0) { Ok(lines_of_json(&run.stderr)[0]["model"].as_str().expect("a name").to_owned()) } else { Err(run) }
}

#[test]
fn the_flag_wins_over_the_environment() {
    let place = Place::new();
    let package = place.package("other", TINY);
    package.edit_json("heads.json", |heads| heads["name"] = json!("other"));
    assert_eq!(loaded(&place, Some(TINY), None).unwrap(), "tiny-bert 0.1.0");
    assert_eq!(loaded(&place, Some(TINY), Some("other")).unwrap(), "other 0.1.0");
    assert_eq!(loaded(&place, Some("nowhere"), Some("other")).unwrap(), "other 0.1.0");
    loaded(&place, Some("nowhere"), None).unwrap_err().failure(&["model package nowhere"]);
    loaded(&place, Some(TINY), Some("nowhere")).unwrap_err().failure(&["model package nowhere"]);
}

#[test]
fn a_missing_model_says_where_was_looked() {
    let place = Place::new();
    // A copy of the program, so that no folder above it is the repository.
    fs::create_dir_all(place.path("a/b")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_baton"), place.path("a/b/baton")).unwrap();
    let run = || {
        let mut command = place.command(&place.path("a/b/baton"));
        command.args(["score", "--json", PLANTED]).env("BATON_MODEL", "");
        Run::of(command, b"")
    };
    let folder = place.path("").canonicalize().unwrap();
    let tried = [folder.join("a/b/models/baton-en"), folder.join("a/models/baton-en"), folder.join("models/baton-en")];
    let tried: Vec<String> = tried.iter().map(|folder| folder.display().to_string()).collect();
    let missing = run();
    missing.failure(&["no model package", "--model", "BATON_MODEL", "looked for models/baton-en"]);
    missing.failure(&tried.iter().map(String::as_str).collect::<Vec<_>>());
    // One of those places is enough.
    fs::create_dir_all(place.path("a/models")).unwrap();
    place.package("a/models/baton-en", TINY);
    assert_eq!(run().json()["text"], PLANTED);
}

#[test]
fn the_cache_goes_where_the_environment_says() {
    let place = Place::new();
    place.write("data.csv", format!("text,label\n{}", "hello,a\nrefund,b\n".repeat(5)));
    let arguments = ["train", "--model", TINY, "--data", "data.csv", "--text-column", "text", "--label-column", "label"];
    let arguments = |out: &'static str| [&arguments[..], &["--head", "topic", "--out", out]].concat();
    let folders = [("BATON_CACHE_DIR", "one", "one"), ("XDG_CACHE_HOME", "two", "two/baton"), ("HOME", "three", "three/.cache/baton")];
    for (variable, value, expected) in folders {
        let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
        command.env_remove("BATON_CACHE_DIR").env_remove("XDG_CACHE_HOME").env_remove("HOME").env(variable, value).args(arguments("new"));
        // Whether these rows can be fitted is another test's matter.
        drop(Run::of(command, b""));
        drop(fs::remove_dir_all(place.path("new")));
        assert_eq!(fs::read_dir(place.path(expected)).unwrap().count(), 1, "{variable}");
    }
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    command.env_remove("BATON_CACHE_DIR").env_remove("XDG_CACHE_HOME").env_remove("HOME").args(arguments("new"));
    Run::of(command, b"").failure(&["--cache", "BATON_CACHE_DIR"]);
}

/// An error that nobody can read is still an error.
#[cfg(unix)]
#[test]
fn a_failure_without_stderr_is_a_failure() {
    let place = Place::new();
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    let mut child = command.args(["score", "--model", "nowhere", "hello"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let place = Place::new();
    for arguments in [vec!["score", "--json", "--model", TINY, "hello"], vec!["demo", "--model", TINY]] {
        let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.args(arguments).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("standard output: No space left on device"), "{stderr}");
    }
}
