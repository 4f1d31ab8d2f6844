//! Messages, files and labels as the world sends them: each is scored, or refused with exit code 2 and words that name file, line and column; none
//! panics, takes memory without bound, or shows a customer's text on stderr.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use baton::model::encoder::candle::{DeviceChoice, open_device};
use baton::model::load::load;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::support::{PLANTED, Place, Run, SHIPPED, TINY, csv_rows, each_case, lines_of_json};

/// Bytes of a text that are tokenised.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Scores lines of standard input with the tiny package.
fn score_lines(input: &[u8]) -> Run {
    Place::new().baton_reading(&["score", "--json", "--model", TINY], input)
}

/// Scores one message, given as a line of standard input.
fn score_line(text: &str) -> Value {
    let value = score_lines(format!("{text}\n").as_bytes()).json();
    assert_eq!(value["text"], text);
    assert_sound(&value);
    value
}

/// Every probability is one, and findings stand on the bounds of characters.
fn assert_sound(value: &Value) {
    let text = value["text"].as_str().expect("a text");
    for finding in value["lexical"].as_array().expect("a list") {
        let bound = |key: &str| finding[key].as_u64().expect("a whole number") as usize;
        assert!(text.get(bound("start")..bound("end")).is_some_and(|found| !found.is_empty()), "{finding}");
    }
    for head in ["sentiment", "intent"] {
        if let Some(all) = value[head]["probabilities"].as_object() {
            let sum: f64 = all.values().map(|p| p.as_f64().expect("a number")).sum();
            assert!((sum - 1.0).abs() < 0.001, "{head}: the probabilities sum to {sum}");
        }
    }
}

fn assert_no_text(value: &Value) {
    let absent = json!({"absent": "no_text"});
    for key in ["language", "sentiment", "emotion", "intent", "act"] {
        assert_eq!(value[key], absent, "{key}");
    }
    assert_eq!(value["windows"]["scored"], 0);
}

#[test]
fn texts_without_a_word_have_no_signals() {
    for text in ["", " ", "\t \n \r\n ", "\u{a0}\u{2003}\u{3000}", "\u{200b}\u{200d}\u{feff}", "\u{1}\u{7f}"] {
        let value = Place::new().baton(&["score", "--json", "--model", TINY, "--", text]).json();
        assert_eq!(value["text"], text);
        assert_no_text(&value);
    }
    let table = Place::new().baton(&["score", "--model", TINY, "--", ""]);
    assert!(table.success().contains("- (no_text)"), "{}", table.stdout);
    let vectors = Place::new().baton(&["score", "--json", "--vectors", "--model", TINY, "--", " "]).json();
    assert_eq!((&vectors["embedding"], &vectors["sentences"]), (&json!({"absent": "no_text"}), &json!([])));
}

#[test]
fn empty_lines_of_standard_input_are_no_messages() {
    assert!(score_lines(b"").json_lines().is_empty());
    assert!(score_lines(b"\n\n \r\n\t\n").json_lines().is_empty());
    let texts: Vec<Value> =
        score_lines(b"hello\r\n\n  refund \nno end").json_lines().into_iter().map(|value| value["text"].clone()).collect();
    assert_eq!(texts, ["hello", "  refund ", "no end"]);
}

#[test]
fn a_long_text_says_what_was_not_read() {
    let text = "refund my money ".repeat(1 << 16);
    let value = score_line(text.trim_end());
    assert_eq!(value["windows"]["scored"], 8);
    assert_eq!(value["windows"]["bytes_unread"], text.trim_end().len() - TEXT_BYTES_MAX);
    // 64 KiB of three words in 16 bytes are 12,288 tokens; a window of 30 moves on by 15.
    assert_eq!(value["windows"]["dropped"], 1 + (12_288usize - 30).div_ceil(15) - 8);
    let short = score_line("refund my money");
    assert_eq!(short["windows"], json!({"scored": 1, "dropped": 0, "bytes_unread": 0}));
}

#[test]
fn a_long_word_and_long_runs_are_scored() {
    for text in ["x".repeat(1 << 20), ".".repeat(1 << 18), "a.".repeat(1 << 17), "1".repeat(1 << 18), "@".repeat(1 << 18)] {
        assert!(score_line(&text)["sentiment"]["probabilities"].is_object());
    }
    // Each of these makes a careless sentence splitter look ahead to the end of the text at every step.
    for text in [format!("a.{}b", " ".repeat(60_000)), format!("a{}b", ".) ".repeat(20_000)), format!("a.{}b", "\u{301}".repeat(30_000))] {
        assert!(score_line(&text)["sentiment"]["probabilities"].is_object());
    }
}

#[test]
fn a_line_that_never_ends_is_stopped() {
    let line = [PLANTED.as_bytes(), &b"x".repeat(17 << 20)].concat();
    score_lines(&line).failure(&["standard input: line 1: more than 16777216 bytes"]);
    let run = score_lines(&[b"hello\n", &line[..]].concat());
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("standard input: line 2: more than 16777216 bytes"), "{}", run.stderr);
    assert_eq!(lines_of_json(&run.stdout).len(), 1, "what came before is answered");
}

#[test]
fn control_characters_are_scored_and_escaped() {
    let all: String = (0u8..32).filter(|byte| *byte != b'\n').map(char::from).chain(['\u{7f}', '\u{80}', '\u{9b}', '\u{85}']).collect();
    let text = format!("hello{all}refund");
    score_line(&text);
    assert_eq!(score_line("re\0fund")["sentiment"], score_line("refund")["sentiment"], "the tokenizer drops control characters");
    let table = Place::new().baton_reading(&["score", "--model", TINY], format!("{text}\n").as_bytes());
    let shown = table.success();
    assert!(
        shown.contains("hello") && shown.chars().all(|c| c == '\n' || !c.is_control()),
        "a table must not steer the terminal: {shown:?}"
    );
}

#[test]
fn a_hundred_thousand_emoji_in_one_line() {
    let value = score_line(&"\u{1f621}".repeat(100_000));
    assert_eq!(value["windows"]["bytes_unread"], 400_000 - TEXT_BYTES_MAX);
    assert!(value["sentiment"]["probabilities"].is_object());
    // Joined by zero-width joiners they are one grapheme, and 64 KiB end inside a character.
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} ".repeat(10_000);
    let unread = score_line(family.trim_end())["windows"]["bytes_unread"].as_u64().unwrap() as usize;
    assert!((family.len() - 1 - TEXT_BYTES_MAX..family.len() - 1 - TEXT_BYTES_MAX + 4).contains(&unread), "{unread}");
}

#[test]
fn right_to_left_and_combining_characters_are_scored() {
    let texts = [
        "\u{5d4}\u{5d7}\u{5d6}\u{5e8} refund \u{5db}\u{5e1}\u{5e4}\u{5d9}",
        "\u{202e}dnufer\u{202c} \u{200f}my card 4111 1111 1111 1111\u{200f}",
        "\u{645}\u{631}\u{62d}\u{628}\u{627}\u{060c} \u{0661}\u{0662}\u{0663}",
        "re\u{301}fund me\u{308}",
        "\u{fdfa}\u{1e9b}\u{323} \u{0130}stanbul \u{df}\u{1e9e} \u{fb03}",
        "\u{1100}\u{1161}\u{11a8} \u{915}\u{94d}\u{937}\u{93f}",
        "\u{1f1e9}\u{1f1ea}\u{1f3fb} e-mail me at a\u{301}b@example.com, I am not happy\u{0338}",
    ];
    texts.iter().for_each(|text| drop(score_line(text)));
    let zalgo = format!("refund{}", "\u{301}\u{33f}\u{489}".repeat(10_000));
    let value = score_line(&zalgo);
    assert_eq!(value["windows"]["bytes_unread"], zalgo.len().saturating_sub(TEXT_BYTES_MAX));
}

#[test]
fn special_tokens_that_a_customer_types_are_plain_text() {
    let device = open_device(DeviceChoice::Cpu).unwrap();
    for (folder, special) in [(SHIPPED, 0..=103u32), (TINY, 0..=4)] {
        let special: Vec<u32> = special.filter(|id| *id == 0 || *id >= 100 || folder == TINY).collect();
        let scorer = load(folder.as_ref(), &device).unwrap();
        for text in ["[SEP] [MASK]", "no [SEP]yes[CLS] [PAD]", "[CLS]", "[sep] [ MASK ]", "[UNK]"] {
            let ids = scorer.reference(text).unwrap().input_ids;
            let inside = &ids[1..ids.len() - 1];
            assert!(!inside.is_empty() && !inside.iter().any(|id| special.contains(id)), "{folder}: {text}: {ids:?}");
            assert!(special.contains(&ids[0]) && special.contains(&ids[ids.len() - 1]), "{folder}: {text}: {ids:?}");
        }
    }
    assert_ne!(score_line("hello [SEP] refund")["intent"], score_line("hello refund")["intent"]);
}

#[test]
fn standard_input_that_is_not_utf8() {
    score_lines(format!("fine\nbad {PLANTED} \u{e9}\n").as_bytes()).success();
    let bad = [b"fine\nbad \xff ", PLANTED.as_bytes(), b"\n"].concat();
    let run = score_lines(&bad);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("standard input: line 2: invalid UTF-8 at byte 4"), "{}", run.stderr);
    score_lines(b"\xff\xfeh\0e\0").failure(&["standard input: line 1: invalid UTF-8 at byte 0"]);
    score_lines(b"cut \xe2\x82").failure(&["standard input: line 1: invalid UTF-8 at byte 4"]);
}

/// The arguments that score `input` into `output` with the tiny package.
fn file_arguments<'a>(input: &'a str, output: &'a str) -> Vec<&'a str> {
    vec!["score", "--model", TINY, "--input", input, "--output", output]
}

#[test]
fn a_row_that_is_not_utf8_keeps_its_place() {
    let place = Place::new();
    let rows = [&b"id,text\n1,good\n2,"[..], PLANTED.as_bytes(), b" \xff\n3,good\n\xfe4,good\n"].concat();
    place.write("in.csv", rows);
    let run = place.baton(&file_arguments("in.csv", "out.csv"));
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(1), "2 rows scored, 2 rows with an error in their place\n", ""));
    let (_, rows) = csv_rows(&place.read("out.csv"));
    let cells = |column: &str| rows.iter().map(|row| row[column].as_str()).collect::<Vec<_>>();
    assert_eq!(cells("baton_error"), ["", "line 3: text: invalid UTF-8", "", "line 5: id: invalid UTF-8"]);
    assert_eq!(cells("baton_language_known"), ["true", "", "true", ""]);
    assert_eq!(&cells("id")[..3], ["1", "2", "3"]);
    assert_eq!(rows[0]["baton_sentiment_confidence"], rows[2]["baton_sentiment_confidence"]);

    place.write(
        "in.jsonl",
        [&b"{\"id\":1,\"text\":\"good\"}\n{\"id\":2,\"text\":\""[..], PLANTED.as_bytes(), b" \xff\"}\n{\"id\":3,\"text\":\"good\"}\n"]
            .concat(),
    );
    let run = place.baton(&[file_arguments("in.jsonl", "out.jsonl"), vec!["--json"]].concat());
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(1), "{\"rows\":2,\"rows_failed\":1}\n", ""));
    let rows = lines_of_json(&place.read_text("out.jsonl"));
    assert_eq!(rows[1]["baton"], json!({"error": "line 2: text: invalid UTF-8"}));
    assert_eq!((&rows[0]["id"], &rows[2]["id"], &rows[0]["baton"]), (&json!(1), &json!(3), &rows[2]["baton"]));
}

#[test]
fn a_value_that_is_no_text_keeps_its_place() {
    let place = Place::new();
    place.write(
        "in.jsonl",
        "{\"text\":1}\n{\"body\":\"x\"}\n\n{\"text\":null}\n{\"text\":[\"a\"]}\n{\"text\":\"hello\"}\n{\"text\":\"\"}\n",
    );
    let run = place.baton(&file_arguments("in.jsonl", "out.jsonl"));
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), "2 rows scored, 4 rows with an error in their place\n"));
    let rows = lines_of_json(&place.read_text("out.jsonl"));
    let errors: Vec<&Value> = rows.iter().map(|row| &row["baton"]["error"]).collect();
    let expected = [
        json!("line 1: text: found a number, expected a text"),
        json!("line 2: text: missing"),
        json!("line 4: text: found null, expected a text"),
        json!("line 5: text: found an array, expected a text"),
        json!(null),
        json!(null),
    ];
    assert_eq!(errors, expected.iter().collect::<Vec<_>>());
    assert_eq!(rows[1]["body"], "x");
    assert_no_text(&rows[5]["baton"]);
}

/// Files that cannot be read, and what is said of them.
fn unreadable_files() -> Vec<(&'static str, Vec<u8>, Vec<&'static str>)> {
    let cases: [(&str, &[u8], &[&str]); 15] = [
        ("empty.csv", b"", &["empty.csv: the file is empty"]),
        ("column.csv", b"id,body\n1,xyzzyplanted\n", &["column.csv: no column \"text\"; the columns are [\"id\", \"body\"]"]),
        ("case.csv", b"id,Text\n1,a\n", &["case.csv: no column \"text\"; the columns are [\"id\", \"Text\"]"]),
        ("semicolon.csv", b"id;text\n1;a\n", &["semicolon.csv: no column \"text\"; the columns are [\"id;text\"]"]),
        ("utf16.csv", b"\xff\xfei\0d\0,\0t\0e\0x\0t\0\n\0", &["utf16.csv: the header cannot be read"]),
        ("open.csv", b"id,text\n1,ok\n2,\"xyzzyplanted\n3,x\n", &["open.csv: line 3: a quote is never closed"]),
        ("open_header.csv", b"id,\"text\n1,a\n", &["open_header.csv: line 1: a quote is never closed"]),
        ("more.csv", b"id,text\n1,ok\n2,xyzzyplanted,b\n", &["more.csv: line 3: found 3 fields, expected 2"]),
        ("fewer.csv", b"id,text\n1,ok\nxyzzyplanted\n", &["fewer.csv: line 3: found 1 fields, expected 2"]),
        ("array.jsonl", b"{\"text\":\"a\"}\n[\"xyzzyplanted\"]\n", &["array.jsonl: line 2: not a JSON object (column "]),
        ("broken.jsonl", b"{\"text\":\"xyzzyplanted\n", &["broken.jsonl: line 1: not a JSON object (column "]),
        ("two.jsonl", b"{\"text\":\"a\"} {\"text\":\"b\"}\n", &["two.jsonl: line 1: not a JSON object (column "]),
        ("ending.txt", b"text\n", &["ending.txt: the name must end in .csv, .jsonl or .ndjson"]),
        ("ending", b"text\n", &["ending: the name must end in .csv, .jsonl or .ndjson"]),
        ("csv.CSV", b"text\n", &["csv.CSV: the name must end in .csv, .jsonl or .ndjson"]),
    ];
    let mut cases: Vec<_> = cases.into_iter().map(|(name, content, expected)| (name, content.to_vec(), expected.to_vec())).collect();
    let open = [b"text\n\"open ".to_vec(), b"more words\n".repeat(2_000_000)].concat();
    cases.push(("large_open.csv", open, vec!["large_open.csv: line 2: ", "more than 16777216 bytes"]));
    let long = [b"{\"text\":\"".to_vec(), b"x".repeat(17 << 20)].concat();
    cases.push(("long.jsonl", long, vec!["long.jsonl: line 1: ", "more than 16777216 bytes"]));
    cases.push((
        "deep.jsonl",
        [b"{\"text\":".to_vec(), b"[".repeat(100_000)].concat(),
        vec!["deep.jsonl: line 1: not a JSON object (column "],
    ));
    cases
}

#[test]
fn files_that_cannot_be_scored() {
    each_case(unreadable_files().into_iter().map(|case| (case.0, case)), |(name, content, expected)| {
        let place = Place::new();
        place.write(name, content);
        let output = if name.ends_with("jsonl") { "out.jsonl" } else { "out.csv" };
        place.baton(&file_arguments(name, output)).failure(&expected);
    });
    let place = Place::new();
    place.baton(&file_arguments("nowhere.csv", "out.csv")).failure(&["nowhere.csv: cannot be opened: No such file"]);
    fs::create_dir(place.path("folder.csv")).unwrap();
    place.baton(&file_arguments("folder.csv", "out.csv")).failure(&["folder.csv: is a folder, not a file"]);
}

#[test]
fn files_that_cannot_be_learned_from() {
    each_case(unreadable_files().into_iter().map(|case| (case.0, case)), |(name, content, expected)| {
        let place = Place::new();
        place.write(name, content);
        // Any column of the header will do as label.
        let run =
            place.baton(&["train", "--model", TINY, "--out", "new", "--text-column", "text", "--label-column", "text", "--data", name]);
        run.failure(&expected);
        assert!(!place.path("new").exists());
    });
}

#[test]
fn columns_that_the_file_lacks() {
    let place = Place::new();
    place.write("in.csv", "id,text\n1,a\n");
    let run = place.baton(&[file_arguments("in.csv", "out.csv"), vec!["--proposal-column", "previous"]].concat());
    run.failure(&["in.csv: no column \"previous\"; the columns are [\"id\", \"text\"]"]);
    let run = place.baton(&[file_arguments("in.csv", "out.csv"), vec!["--text-column", "body"]].concat());
    run.failure(&["in.csv: no column \"body\"; the columns are [\"id\", \"text\"]"]);
    let columns = ["--data", "in.csv", "--text-column", "text", "--label-column", "label"];
    place.baton(&[&["eval", "--model", TINY, "--head", "intent"][..], &columns].concat()).failure(&["in.csv: no column \"label\""]);
    place.write("in.jsonl", "{\"text\":\"hello\",\"previous\":\"yes?\"}\n{\"text\":\"hello\"}\n");
    let run = place.baton(&[file_arguments("in.jsonl", "out.jsonl"), vec!["--proposal-column", "previous"]].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    let rows = lines_of_json(&place.read_text("out.jsonl"));
    assert!(rows[0]["baton"]["act"]["probabilities"].is_object());
    assert_eq!(rows[1]["baton"]["act"], json!({"absent": "no_proposal"}), "the first message of a conversation has no turn before it");
}

#[test]
fn a_proposal_without_a_word_counts_as_none() {
    let place = Place::new();
    let wordless = ["", " ", "\t", "\u{200b}", "\u{a0}\u{feff}"];
    each_case(wordless.map(|text| (text, text)), |proposal| {
        let value = place.baton(&["score", "--json", "--model", TINY, "--proposal", proposal, "yes please"]).json();
        assert_eq!(value["act"], json!({"absent": "no_proposal"}));
        assert!(value["sentiment"]["probabilities"].is_object());
    });
    place.write(
        "in.csv",
        format!("text,previous\n{}yes please,Can I send it?\n", wordless.map(|text| format!("yes please,{text}\n")).concat()),
    );
    let run = place.baton(&[file_arguments("in.csv", "out.csv"), vec!["--proposal-column", "previous"]].concat());
    assert_eq!(run.success(), "6 rows scored, 0 rows with an error in their place\n");
    let (_, rows) = csv_rows(&place.read("out.csv"));
    assert_eq!(rows.iter().map(|row| !row["baton_act"].is_empty()).collect::<Vec<_>>(), [false, false, false, false, false, true]);
}

#[test]
fn outputs_that_are_refused() {
    let place = Place::new();
    place.write("in.csv", "id,text\n1,a\n");
    place.write("in.jsonl", "{\"text\":\"a\"}\n");
    place.write("there.csv", "precious");
    place.baton(&file_arguments("in.csv", "there.csv")).failure(&["output file there.csv: exists"]);
    assert_eq!(place.read_text("there.csv"), "precious");
    place.baton(&file_arguments("in.csv", "in.csv")).failure(&["output file in.csv"]);
    assert_eq!(place.read_text("in.csv"), "id,text\n1,a\n");
    place.baton(&file_arguments("in.csv", "out.parquet")).failure(&["out.parquet: the name must end in .csv, .jsonl or .ndjson"]);
    place.baton(&file_arguments("in.csv", "nowhere/out.csv")).failure(&["output file nowhere/out.csv", "No such file"]);
    place.baton(&file_arguments("in.jsonl", "out.csv")).failure(&["output file out.csv", "must be JSON Lines too"]);
    place.baton(&["score", "--model", TINY, "--input", "in.csv"]).failure(&["--output"]);
    place.baton(&["score", "--model", TINY, "--output", "out.csv"]).failure(&["--input"]);
    assert!(!place.path("out.parquet").exists());
}

/// An output that is there counts as done, and stops the next attempt.
#[test]
fn a_failed_run_leaves_no_output() {
    let cases: [(&str, &str, &str, &[&str]); 5] = [
        ("JSON Lines into CSV", "in.jsonl", "{\"text\":\"a\"}\n", &["--output", "out.csv", "--model", TINY]),
        ("no model", "in.csv", "text\na\n", &["--output", "out.csv", "--model", "nowhere"]),
        ("no intents", "in.csv", "text\na\n", &["--output", "out.csv", "--model", TINY, "--intents", "nowhere.toml"]),
        ("ragged row", "in.csv", "id,text\n1,a\n2,b,c\n", &["--output", "out.csv", "--model", TINY]),
        ("a line that is no object", "in.jsonl", "{\"text\":\"a\"}\n[]\n", &["--output", "out.jsonl", "--model", TINY]),
    ];
    each_case(cases.map(|case| (case.0, case)), |(_, input, content, arguments)| {
        let place = Place::new();
        place.write(input, content);
        let run = place.baton(&[&["score", "--input", input], arguments].concat());
        assert_eq!(run.code, Some(2), "{run:?}");
        let left: Vec<_> = ["out.csv", "out.jsonl"].into_iter().filter(|name| place.path(name).exists()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    });
}

/// Spreadsheets write empty names for empty columns, and people write the same name twice.
#[test]
fn columns_of_one_name_are_kept_or_refused_with_their_name() {
    let place = Place::new();
    for (name, content) in [("note.csv", "note,text,note\n1,hello,2\n3,refund,4\n"), ("unnamed.csv", "text,,\nhello,a,b\nrefund,c,d\n")] {
        place.write(name, content);
        let output = format!("out_{name}");
        let run = place.baton(&file_arguments(name, &output));
        if run.code == Some(2) {
            assert!(run.stderr.contains(&format!("{name}: ")) && run.stderr.contains("column"), "{run:?}");
            assert!(!place.path(&output).exists());
        } else {
            run.success();
            let written = place.read_text(&output);
            let cells: Vec<&str> = written.lines().nth(1).unwrap().split(',').take(3).collect();
            assert_eq!(cells, content.lines().nth(1).unwrap().split(',').collect::<Vec<_>>(), "nothing is lost");
        }
    }
}

#[test]
fn unusual_files_are_scored() {
    let cases: [(&str, &str, &[u8], &[&str]); 7] = [
        ("byte order mark", "in.csv", b"\xef\xbb\xbftext\nhello\n", &["hello"]),
        ("line ends of Windows", "in.csv", b"id,text\r\n1,hello\r\n2,refund\r\n", &["hello", "refund"]),
        ("no last line end", "in.csv", b"text\nhello", &["hello"]),
        ("quotes, commas and line ends", "in.csv", b"text\n\"a, \"\"b\"\"\nc\"\nd\n", &["a, \"b\"\nc", "d"]),
        ("only a header", "in.csv", b"id,text\n", &[]),
        ("empty cells", "in.csv", b"id,text\n1,\n,hello\n", &["", "hello"]),
        ("empty lines", "in.csv", b"id,text\n\n1,hello\n\n\n", &["hello"]),
    ];
    each_case(cases.map(|case| (case.0, case)), |(_, name, content, expected)| {
        let place = Place::new();
        place.write(name, content);
        place.baton(&file_arguments(name, "out.csv")).success();
        let (columns, rows) = csv_rows(&place.read("out.csv"));
        assert!(columns.contains(&"baton_error".to_owned()));
        assert_eq!(rows.iter().map(|row| row["text"].as_str()).collect::<Vec<_>>(), expected);
    });
    let place = Place::new();
    place.write("empty.ndjson", "\n\n");
    assert_eq!(place.baton(&file_arguments("empty.ndjson", "out.jsonl")).success(), "0 rows scored, 0 rows with an error in their place\n");
    assert_eq!(place.read_text("out.jsonl"), "");
}

#[test]
fn twenty_thousand_rows_come_out_in_order() {
    let place = Place::new();
    let text = |row: usize| format!("hello {} {}", "my refund ".repeat(row * 7919 % 13), row);
    let rows: String = (0..20_000).map(|row| format!("{row},{}\n", text(row))).collect();
    place.write("in.csv", format!("id,text\n{rows}"));
    let run = place.baton(&file_arguments("in.csv", "out.csv"));
    assert_eq!(run.success(), "20000 rows scored, 0 rows with an error in their place\n");
    let (_, rows) = csv_rows(&place.read("out.csv"));
    assert_eq!(rows.len(), 20_000);
    for (at, row) in rows.iter().enumerate() {
        assert_eq!((&row["id"], &row["text"], row["baton_error"].as_str()), (&at.to_string(), &text(at), ""));
        assert!(!row["baton_sentiment"].is_empty());
    }
    // The signals are those of the row's own text.
    for at in [0, 1, 2047, 2048, 12_345, 19_999] {
        let alone = place.baton(&["score", "--json", "--model", TINY, &text(at)]).json();
        let p: f64 = rows[at]["baton_sentiment_confidence"].parse().unwrap();
        assert!((alone["sentiment"]["confidence"].as_f64().unwrap() - p).abs() < 0.0002, "row {at}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    for arguments in [&["score", "--json", "--model", TINY][..], &["score", "--model", TINY], &["demo", "--model", TINY], &["--help"]] {
        let place = Place::new();
        let mut command = place.command(env!("CARGO_BIN_EXE_baton").as_ref());
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stdin = child.stdin.take().unwrap();
        // The program may be gone before it has read everything.
        drop(stdin.write_all(format!("hello {PLANTED}\n").repeat(5_000).as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

// Training and measuring.

/// Rows for three labels that the tiny package can tell apart, each text once.
fn training_rows(each: usize) -> String {
    let mut rows = String::from("text,label\n");
    for row in 0..each {
        rows.push_str(&format!("{PLANTED} I want my money back now {row},refund\n"));
        rows.push_str(&format!("hello are you there {row} {PLANTED},greeting\n"));
        rows.push_str(&format!("my lawyer will sue the company {row},legal\n"));
    }
    rows
}

/// Rows whose labels their texts do not tell, so that the head is not certain of any.
fn uncertain_rows() -> String {
    let rows: String = (0..40).map(|row| format!("hello {row} please,{}\n", ["refund", "greeting"][row / 3 % 2])).collect();
    format!("text,label\n{rows}")
}

/// Trains the head `topic` from `data` into `out`.
fn train(place: &Place, data: &str, out: &str, more: &[&str]) -> Run {
    let columns = ["--text-column", "text", "--label-column", "label", "--head", "topic", "--json"];
    let model = if more.contains(&"--model") { &[][..] } else { &["--model", TINY] };
    place.baton(&[&["train", "--data", data, "--out", out], &columns[..], model, more].concat())
}

/// Measures a head of the package `model`.
fn eval(place: &Place, model: &str, head: &str, data: &str, more: &[&str]) -> Run {
    let columns = ["--text-column", "text", "--label-column", "label", "--json"];
    place.baton(&[&["eval", "--data", data, "--model", model, "--head", head], &columns[..], more].concat())
}

#[test]
fn labels_that_cannot_be_learned() {
    let cases: [(&str, &str, &[&str], &[&str]); 13] = [
        ("one row of a label", "text,label\na,x\nb,x\nxyzzyplanted,y\n", &[], &["label \"y\" has 1 row(s), at least 2 are needed"]),
        ("one label", "text,label\na,x\nxyzzyplanted,x\n", &[], &["the data has 1 labels, at least 2 are needed"]),
        ("no row", "text,label\n", &[], &["data.csv: no rows"]),
        ("empty label", "text,label\na,x\nxyzzyplanted, \nc,y\n", &[], &["data.csv: line 3: label: found nothing, expected a label"]),
        ("empty text", "text,label\na,x\nb,y\n  ,x\n", &[], &["data.csv: line 4: text: found nothing, expected a message"]),
        (
            "unknown out-of-scope label",
            "text,label\na,x\nb,x\nc,y\nd,y\n",
            &["--out-of-scope-label", "other"],
            &["out-of-scope-label: no row has the label \"other\""],
        ),
        ("unknown window label", "text,label\na,x\nb,x\nc,y\nd,y\n", &["--window-max", "x,z"], &["window-max: no row has the label \"z\""]),
        (
            "no labels at all",
            "text,label\na,|\nxyzzyplanted,\n",
            &["--label-separator", "|"],
            &["the data has 0 labels, at least 1 are needed"],
        ),
        ("one fold", "text,label\na,x\nb,x\nc,y\nd,y\n", &["--folds", "1"], &["--folds"]),
        ("no examples", "text,label\na,x\nb,x\nc,y\nd,y\n", &["--target", "examples"], &["no label has 15 rows"]),
        ("a layer that the trunk lacks", "text,label\na,x\nb,x\nc,y\nd,y\n", &["--layer", "3"], &["layer: found 3, expected 1 to 2"]),
        ("layer 0", "text,label\na,x\nb,x\nc,y\nd,y\n", &["--layer", "0"], &["layer: found 0, expected 1 to 2"]),
        ("no known language", "text,label\na,x\nb,x\nc,y\nd,y\n", &["--target", "language"], &["found 0 of 4 rows labelled \"known\""]),
    ];
    each_case(cases.map(|case| (case.0, case)), |(_, rows, more, expected)| {
        let place = Place::new();
        place.write("data.csv", rows);
        train(&place, "data.csv", "new", more).failure(expected);
        assert!(!place.path("new").exists());
    });
}

#[test]
fn training_rows_that_are_not_utf8_are_named() {
    let place = Place::new();
    place.write("a.csv", training_rows(3));
    place.write("b.csv", [&b"text,label\ngood,refund\n"[..], PLANTED.as_bytes(), b" \xff,legal\n"].concat());
    train(&place, "a.csv", "new", &["--data", "b.csv"]).failure(&["b.csv: line 3: text: invalid UTF-8"]);
    place.write("b.csv", [&b"text,label\n"[..], PLANTED.as_bytes(), b",leg\xffal\n"].concat());
    train(&place, "a.csv", "new", &["--data", "b.csv"]).failure(&["b.csv: line 2: label: invalid UTF-8"]);
    place.write("c.jsonl", "{\"text\":\"a\",\"label\":1}\n");
    train(&place, "a.csv", "new", &["--data", "c.jsonl"]).failure(&["c.jsonl: line 1: label: found a number, expected a text"]);
    train(&place, "a.csv", "new", &["--data", "d.csv"]).failure(&["d.csv: cannot be opened"]);
    assert!(!place.path("new").exists());
}

#[test]
fn an_output_folder_that_exists_is_refused() {
    let place = Place::new();
    place.write("data.csv", training_rows(5));
    fs::create_dir(place.path("there")).unwrap();
    place.write("there/mine.txt", "precious");
    train(&place, "data.csv", "there", &[]).failure(&["output folder there: exists"]);
    place.write("file", "precious");
    train(&place, "data.csv", "file", &[]).failure(&["output folder file: exists"]);
    assert_eq!(place.read_text("there/mine.txt") + &place.read_text("file"), "preciousprecious");
}

#[test]
fn two_runs_give_the_same_bytes() {
    let place = Place::new();
    place.write("data.csv", training_rows(20));
    for out in ["one", "two"] {
        // A cache of its own for each, so that the features are computed twice.
        train(&place, "data.csv", out, &["--cache", &format!("cache {out}"), "--out-of-scope-label", "greeting"]).success();
    }
    for file in ["config.json", "tokenizer.json", "model.safetensors", "heads.json", "heads.safetensors", "parity.json"] {
        assert!(place.read(&format!("one/{file}")) == place.read(&format!("two/{file}")), "{file} differs");
    }
    train(&place, "data.csv", "three", &["--seed", "2"]).success();
    assert!(place.read("one/heads.json") != place.read("three/heads.json"), "the seed is part of what is written");
}

#[test]
fn a_trained_package_scores_and_is_measured() {
    let place = Place::new();
    place.write("data.csv", training_rows(20));
    let report = train(&place, "data.csv", "new", &[]).json();
    assert_eq!((&report["head"], &report["rows"], &report["labels"]), (&json!("topic"), &json!(60), &json!(3)));
    assert_eq!(report["rows_per_label"], json!({"greeting": 20, "legal": 20, "refund": 20}));
    // One engine for both: which one serves a package by itself depends on how far its heads bear bytes.
    let score =
        |model: &str| place.baton(&["score", "--json", "--engine", "candle", "--model", model, "my lawyer will sue the company"]).json();
    let value = score("new");
    assert_eq!(value["topic"]["label"], "legal");
    assert_eq!(value["sentiment"], score(TINY)["sentiment"], "the other heads are as they were");

    let figures = eval(&place, "new", "topic", "data.csv", &[]).json();
    let keys = ["head", "rows", "accuracy", "macro_f1", "macro_recall", "calibration_error", "out_of_scope_auroc", "per_label"];
    keys.iter().for_each(|key| assert!(figures.get(key).is_some(), "{key} is promised"));
    assert_eq!((&figures["head"], &figures["rows"], &figures["out_of_scope_auroc"]), (&json!("topic"), &json!(60), &json!(null)));
    assert!(figures["accuracy"].as_f64().unwrap() > 0.9, "{figures}");
    assert_eq!(figures["per_label"]["legal"]["rows"], 20);
    let table = place.baton(&[
        "eval",
        "--data",
        "data.csv",
        "--text-column",
        "text",
        "--label-column",
        "label",
        "--model",
        "new",
        "--head",
        "topic",
    ]);
    assert!(["accuracy", "macro-F1", "macro-recall", "calibration error", "greeting"].iter().all(|word| table.success().contains(word)));
}

#[test]
fn a_head_on_an_earlier_layer_scores_and_is_measured() {
    let place = Place::new();
    place.write("data.csv", training_rows(20));
    train(&place, "data.csv", "last", &[]).success();
    train(&place, "data.csv", "first", &["--layer", "1"]).success();
    assert_eq!(serde_json::from_slice::<Value>(&place.read("first/heads.json")).unwrap()["heads"][4]["layer"], 1);
    assert!(place.read("first/heads.safetensors") != place.read("last/heads.safetensors"), "another layer has other vectors");
    let value = place.baton(&["score", "--json", "--model", "first", "my lawyer will sue the company"]).json();
    assert_eq!(value["topic"]["label"], "legal");
    assert!(eval(&place, "first", "topic", "data.csv", &[]).json()["accuracy"].as_f64().unwrap() > 0.9);
}

#[test]
fn rows_out_of_scope_are_measured() {
    let place = Place::new();
    place.write("data.csv", training_rows(20));
    train(&place, "data.csv", "new", &["--out-of-scope-label", "greeting"]).success();
    let figures = eval(&place, "new", "topic", "data.csv", &[]).json();
    assert!(figures["out_of_scope_auroc"].as_f64().unwrap() > 0.9, "{figures}");
    // A label that the head lacks may stand for everything else.
    place.write("other.csv", "text,label\nI want my money back now,refund\nfix the login,elsewhere\n");
    let figures = eval(&place, "new", "topic", "other.csv", &["--out-of-scope-label", "elsewhere"]).json();
    assert_eq!((&figures["rows"], figures["out_of_scope_auroc"].is_number()), (&json!(2), true));
}

#[test]
fn a_label_that_the_head_lacks_is_named() {
    let place = Place::new();
    place.write("data.csv", format!("text,label\nhello,refund\n{PLANTED},martian\n"));
    let run = eval(&place, TINY, "intent", "data.csv", &[]);
    run.failure(&["data.csv: line 3: label \"martian\" is none of head \"intent\"", "--out-of-scope-label"]);
    eval(&place, TINY, "topic", "data.csv", &[]).failure(&["head \"topic\": not in the model; it has sentiment, emotion, intent, act"]);
}

/// A head of two turns is measured on both, and says so where one is missing.
#[test]
fn a_head_of_two_turns_wants_the_column_of_the_other() {
    let place = Place::new();
    place.write(
        "act.csv",
        format!("bot,text,label\nCan I send a new card to you?,yes please,accepts\nWill you wait?,no,rejects\n  ,{PLANTED},other\n"),
    );
    eval(&place, TINY, "act", "act.csv", &[]).failure(&["proposal-column: found nothing", "head \"act\" reads too"]);
    let column = ["--proposal-column", "bot"];
    eval(&place, TINY, "act", "act.csv", &column).failure(&["act.csv: line 4: bot: found nothing, expected the bot's turn"]);
    eval(&place, TINY, "act", "act.csv", &["--proposal-column", "turn"]).failure(&["turn"]);
    place.write("two.csv", "bot,text,label\nCan I send a new card to you?,yes please,accepts\nWill you wait?,no,rejects\n");
    let figures = eval(&place, TINY, "act", "two.csv", &column).json();
    assert_eq!((&figures["rows"], figures["accuracy"].is_number()), (&json!(2), true), "{figures}");
    place.write("intent.csv", "bot,text,label\nhello,where is my refund,refund\nhello,hi,greeting\n");
    eval(&place, TINY, "intent", "intent.csv", &column).failure(&["proposal-column: head \"intent\" reads the message alone"]);
}

#[test]
fn several_labels_a_row() {
    let place = Place::new();
    let mut rows = String::from("text,label\n");
    for row in 0..20 {
        rows.push_str(&format!("I want my money back now {row},refund|angry\nmy lawyer will sue the company {row}, legal | angry \n"));
        rows.push_str(&format!("hello are you there {row},\nthanks for the great help {row},|\n"));
    }
    place.write("data.csv", rows);
    let report = train(&place, "data.csv", "new", &["--label-separator", "|"]).json();
    assert_eq!(report["rows_per_label"], json!({"angry": 40, "legal": 20, "refund": 20}));
    let value = place.baton(&["score", "--json", "--model", "new", "I want my money back now", "hello are you there"]).json_lines();
    assert_eq!((&value[0]["topic"]["present"], &value[1]["topic"]["present"]), (&json!(["angry", "refund"]), &json!([])));
    let figures = eval(&place, "new", "topic", "data.csv", &["--label-separator", "|"]).json();
    assert!(figures["accuracy"].as_f64().unwrap() > 0.9 && figures["macro_f1"].as_f64().unwrap() > 0.9, "{figures}");
    place.write("other.csv", format!("text,label\nhello,angry|martian {PLANTED}\n").replace(&format!(" {PLANTED}"), ""));
    eval(&place, "new", "topic", "other.csv", &["--label-separator", "|"]).failure(&["other.csv: line 2: label \"martian\""]);
}

/// A row may have no label when a separator is given; a head of one label cannot be measured on it.
#[test]
fn rows_without_a_label_are_no_rows_of_a_single_label_head() {
    let place = Place::new();
    place.write("data.csv", format!("text,label\nhello,refund\n{PLANTED},\n"));
    for head in ["intent", "language"] {
        let run = eval(&place, TINY, head, "data.csv", &["--label-separator", "|"]);
        assert!(run.code == Some(0) || (run.code == Some(2) && run.stderr.contains("label")), "{run:?}");
    }
}

#[test]
fn training_in_place_replaces_one_head_and_keeps_the_others() {
    let place = Place::new();
    let package = place.package("model", TINY);
    let before = package.tensors("heads.safetensors");
    let trunk = ["config.json", "tokenizer.json", "model.safetensors"].map(|file| package.read(file));
    let specs = package.read_json("heads.json");
    place.write("data.csv", training_rows(10));
    train(&place, "data.csv", "model", &["--model", "model", "--head", "intent"]).failure(&["--head"]);
    let columns = ["--text-column", "text", "--label-column", "label", "--json"];
    let arguments = ["train", "--model", "model", "--out", "./model", "--data", "data.csv", "--head", "intent"];
    place.baton(&[&arguments[..], &columns].concat()).success();

    let names = |heads: &serde_json::Value| heads["heads"].as_array().unwrap().iter().map(|head| head["name"].clone()).collect::<Vec<_>>();
    let after = package.read_json("heads.json");
    assert_eq!(names(&after), names(&specs), "the order is kept");
    assert_eq!(after["heads"][2]["labels"], json!(["greeting", "legal", "refund"]));
    for head in [0, 1, 3] {
        let values = |heads: &Value| {
            heads["heads"][head]["temperature"].as_array().unwrap().iter().map(|t| t.as_f64().unwrap() as f32).collect::<Vec<_>>()
        };
        assert_eq!(values(&after), values(&specs));
        assert_eq!(after["heads"][head]["labels"], specs["heads"][head]["labels"]);
    }
    let tensors = package.tensors("heads.safetensors");
    assert_eq!(tensors.len(), before.len());
    for (name, tensor) in &tensors {
        assert_eq!(tensor == &before[name], !name.starts_with("intent."), "{name}");
    }
    assert!(["config.json", "tokenizer.json", "model.safetensors"].map(|file| package.read(file)) == trunk, "the trunk is not touched");
    assert_eq!(place.baton(&["score", "--json", "--model", "model", "my lawyer will sue the company"]).json()["intent"]["label"], "legal");
}

/// A package that is trained in place must load afterwards, whatever the head is called.
#[test]
fn names_of_heads_are_refused_or_work() {
    let long = "n".repeat(300);
    let names = [
        "pooler",
        "bert.x",
        "with space",
        "",
        "a.weight",
        "language",
        "windows",
        "text",
        "examples",
        "example_intents",
        "emotion",
        "\u{e9}\"\n",
        &long,
    ];
    each_case(names.map(|name| (name, name)), |name| {
        let place = Place::new();
        let package = place.package("model", TINY);
        // Without other heads, so that all names share the prefix.
        package.remove_heads();
        place.write("data.csv", uncertain_rows());
        let columns = ["--text-column", "text", "--label-column", "label", "--json"];
        let run =
            place.baton(&[&["train", "--model", "model", "--out", "model", "--data", "data.csv", "--head", name], &columns[..]].concat());
        let scored = place.baton(&["score", "--json", "--model", "model", "hello"]);
        if run.code == Some(2) {
            assert!(!scored.success().is_empty(), "a refusal leaves the package as it was");
            return;
        }
        run.success();
        assert!(scored.json()[name]["label"].is_string(), "the head {name:?} answers under its name: {}", scored.stdout);
    });
}

#[test]
fn labels_that_are_told_apart_without_a_mistake() {
    let place = Place::new();
    for rows in [2, 5, 50] {
        let data: String = (0..rows).map(|_| "refund,refund\nhello,greeting\n").collect();
        place.write("data.csv", format!("text,label\n{data}"));
        train(&place, "data.csv", &format!("new {rows}"), &[]).success();
        let value = place.baton(&["score", "--json", "--model", &format!("new {rows}"), "refund", "hello", "the lawyer"]).json_lines();
        assert_eq!((&value[0]["topic"]["label"], &value[1]["topic"]["label"]), (&json!("refund"), &json!("greeting")), "{rows} rows");
    }
}

#[test]
fn texts_without_a_word_can_be_trained_on() {
    let place = Place::new();
    let rows: String = (0..10).map(|row| format!("\u{200b}\u{200d},nothing\nhello {row},greeting\n")).collect();
    place.write("data.csv", format!("text,label\n{rows}"));
    train(&place, "data.csv", "new", &[]).success();
    eval(&place, "new", "topic", "data.csv", &[]).success();
}

// The cache of features.

fn cache_file(place: &Place, folder: &str) -> std::path::PathBuf {
    let entries = fs::read_dir(place.path(folder)).expect("the cache folder is there");
    let files: Vec<_> = entries.map(|entry| entry.expect("the cache folder can be listed").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn a_torn_cache_is_repaired() {
    let place = Place::new();
    place.write("data.csv", training_rows(10));
    train(&place, "data.csv", "whole", &[]).success();
    let file = cache_file(&place, "cache");
    let bytes = fs::metadata(&file).unwrap().len();
    assert_eq!(bytes, 30 * (16 + 4 * 32), "a record a text");
    for (cut, torn) in [(7, 137), (144, 0), (145, 143), (bytes, 0), (bytes - 1, 1)] {
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(bytes - cut).unwrap();
        let out = format!("cut {cut}");
        let run = train(&place, "data.csv", &out, &[]);
        run.success();
        assert_eq!(run.stderr.contains(&format!("cache_cut\" bytes={torn}")), torn > 0, "{}", run.stderr);
        assert_eq!(fs::metadata(&file).unwrap().len(), bytes, "what was lost is computed again");
        for name in ["heads.json", "heads.safetensors", "parity.json"] {
            assert!(place.read(&format!("{out}/{name}")) == place.read(&format!("whole/{name}")), "{out}: {name}");
        }
    }
}

/// The vectors depend on the trunk, on the length of a window and on the pooling.
#[test]
fn a_cache_is_not_read_by_a_package_with_other_windows() {
    let place = Place::new();
    let package = place.package("longer", TINY);
    package.edit_json("heads.json", |heads| heads["max_seq_len"] = json!(64));
    let long = "the card was charged twice today and ".repeat(6);
    // A label that the texts do not tell, so that the head is not certain.
    let rows: String = (0..40).map(|row| format!("{long} {row},{}\n", ["refund", "greeting"][row / 3 % 2])).collect();
    place.write("data.csv", format!("text,label\n{rows}"));
    train(&place, "data.csv", "of the others", &["--cache", "shared"]).success();
    train(&place, "data.csv", "fresh", &["--model", "longer", "--cache", "fresh cache"]).success();
    train(&place, "data.csv", "shared out", &["--model", "longer", "--cache", "shared"]).success();
    assert!(place.read("fresh/heads.safetensors") != place.read("of the others/heads.safetensors"), "the case changes nothing");
    assert!(
        place.read("fresh/heads.safetensors") == place.read("shared out/heads.safetensors"),
        "vectors of other windows were read from the cache"
    );
}

#[test]
fn numbers_in_the_cache_that_are_not_finite_do_not_become_a_head() {
    let place = Place::new();
    place.write("data.csv", training_rows(10));
    train(&place, "data.csv", "whole", &[]).success();
    let file = cache_file(&place, "cache");
    let mut bytes = fs::read(&file).unwrap();
    bytes[16..20].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let run = train(&place, "data.csv", "new", &[]);
    if run.code == Some(0) {
        // Computed by itself and not in its batch, the vector differs in the last digits, and so does the head.
        let weights = |name: &str| {
            let bytes = place.read(name);
            let weights = SafeTensors::deserialize(&bytes).unwrap();
            let data = weights.tensor("topic.weight").unwrap().data().to_vec();
            data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<_>>()
        };
        let (new, whole) = (weights("new/heads.safetensors"), weights("whole/heads.safetensors"));
        assert!(new.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 0.01 * (1.0 + b.abs())), "the record was not computed again");
    } else {
        run.failure(&["feature cache "]);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let place = Place::new();
    place.write("data.csv", training_rows(5));
    place.write("taken", "x");
    train(&place, "data.csv", "new", &["--cache", "taken"]).failure(&["cache folder taken"]);
    assert!(!place.path("new").exists());
}

// Intents by example.

/// A package with the calibration of intents by example.
fn with_examples(place: &Place) {
    place.write("data.csv", training_rows(60));
    let run = train(place, "data.csv", "calibrated", &["--target", "examples"]);
    assert_eq!(run.json()["target"], "examples");
}

fn intent(id: &str, examples: usize) -> String {
    let examples: Vec<String> = (0..examples).map(|at| format!("\"my lawyer will sue {at} {PLANTED}\"")).collect();
    format!("[[intent]]\nid = \"{id}\"\nexamples = [{}]\n", examples.join(", "))
}

#[test]
fn intents_by_example_are_scored() {
    let place = Place::new();
    with_examples(&place);
    let greeting = intent("greeting", 5).replace("my lawyer will sue", "hello are you there");
    place.write("intents.toml", format!("{}{greeting}", intent("legal", 20)));
    let score = ["score", "--model", "calibrated", "--intents", "intents.toml"];
    let messages = [&format!("my lawyer will sue 1 {PLANTED}"), &format!("hello are you there 1 {PLANTED}"), ""];
    let values = place.baton(&[&score[..], &["--json"], &messages[..]].concat()).json_lines();
    let p = |row: usize, id: &str| values[row]["example_intents"][id].as_f64().unwrap();
    assert!(p(0, "legal") > p(1, "legal") && p(1, "greeting") > p(0, "greeting"), "{values:?}");
    assert!([p(0, "legal"), p(1, "legal"), p(0, "greeting"), p(1, "greeting")].iter().all(|p| (0.0..=1.0).contains(p)));
    assert_eq!(values[2]["example_intents"], json!({"legal": {"absent": "no_text"}, "greeting": {"absent": "no_text"}}));
    let table = place.baton(&[&score[..], &["my lawyer will sue the company"]].concat());
    assert!(table.success().contains("example intent") && table.stdout.contains("legal "), "{}", table.stdout);

    place.write("in.csv", format!("text\n{}\n", messages.join("\n")));
    place.baton(&[&score[..], &["--input", "in.csv", "--output", "out.csv"]].concat()).success();
    let (_, rows) = csv_rows(&place.read("out.csv"));
    assert!(
        rows.iter().all(|row| row["baton_example_intents"].starts_with("legal=") && row["baton_example_intents"].contains("|greeting="))
    );
    place.write("in.jsonl", json!({"text": messages[0]}).to_string());
    place.baton(&[&score[..], &["--input", "in.jsonl", "--output", "out.jsonl"]].concat()).success();
    let written = lines_of_json(&place.read_text("out.jsonl")).remove(0)["baton"]["example_intents"]["legal"].as_f64().unwrap();
    assert!((written - p(0, "legal")).abs() < 0.0002, "{written}");
}

#[test]
fn intents_files_that_are_wrong() {
    let place = Place::new();
    place.write("intents.toml", intent("legal", 5));
    let score = |model: &str| place.baton(&["score", "--json", "--model", model, "--intents", "intents.toml", "hello"]);
    score(TINY).failure(&["intents file intents.toml", "no calibration for intents by example (heads.json: examples)"]);
    with_examples(&place);
    score("calibrated").success();
    let wordless = intent("a", 5).replace(&format!(" {PLANTED}"), "").replace("my lawyer will sue ", "\u{200b}");
    let wordless = (0..5).fold(wordless, |text, digit| text.replace(&format!("\u{200b}{digit}"), "\u{200b}"));
    let cases: Vec<(&str, String, Vec<&str>)> = vec![
        (
            "numbers and names at once",
            [intent("few", 4), intent("many", 21), intent("twin", 5), intent("twin", 5), intent("", 5)].concat(),
            vec![
                "intents file intents.toml",
                "intent \"few\": examples: found 4, expected 5 to 20",
                "intent \"many\": examples: found 21, expected 5 to 20",
                "intent \"twin\": id: found twice, expected once",
                "id: found nothing, expected a name",
            ],
        ),
        ("unknown key", format!("{}weight = 2\n", intent("a", 5)), vec!["intents file intents.toml", "unknown field `weight`", "line 4"]),
        ("no intents", "intent = []\n".into(), vec!["intent: found 0, expected 1 to 256"]),
        ("too many intents", (0..257).map(|at| intent(&format!("i{at}"), 5)).collect(), vec!["intent: found 257, expected 1 to 256"]),
        ("another file", "text,label\n".into(), vec!["intents file intents.toml"]),
        ("a number", "[[intent]]\nid = 1\nexamples = []\n".into(), vec!["intents file intents.toml", "line 2"]),
        ("an open text", format!("[[intent]]\nid = \"a\"\nexamples = [\"{PLANTED}\n"), vec!["intents file intents.toml", "line 3"]),
        ("deep", format!("intent = {}", "[".repeat(100_000)), vec!["intents file intents.toml"]),
        ("large", "#".repeat(5 << 20), vec!["found 5242880 bytes, expected at most 4194304"]),
        ("no words", wordless, vec!["intent \"a\": examples: fewer than two hold a word"]),
    ];
    each_case(cases.iter().map(|case| (case.0, case)), |(_, content, expected)| {
        place.write("intents.toml", content);
        let run = score("calibrated");
        run.failure(expected);
        assert!(run.stderr.len() < 16 << 10, "a message of {} bytes helps nobody", run.stderr.len());
    });
    fs::remove_file(place.path("intents.toml")).unwrap();
    score("calibrated").failure(&["intents file intents.toml", "No such file"]);
}

/// Examples are what customers wrote; a message of the TOML reader quotes the line.
#[test]
fn examples_do_not_reach_stderr() {
    let place = Place::new();
    with_examples(&place);
    let text = intent("legal", 5);
    let cases = [
        ("an unknown key on the line", text.replace("examples", "exampels")),
        ("a comma too few", text.replace("\", \"", "\" \"")),
        ("a number among the examples", text.replacen("[\"", "[1, \"", 1)),
        ("the key twice", format!("{text}{}", text.lines().last().unwrap())),
    ];
    each_case(cases, |content| {
        place.write("intents.toml", content);
        place.baton(&["score", "--json", "--model", "calibrated", "--intents", "intents.toml", "hello"]).failure(&["intents.toml"]);
    });
}

#[test]
fn every_fault_of_an_intents_file_comes_at_once() {
    let place = Place::new();
    with_examples(&place);
    let faulty = [intent("few", 4), intent("many", 21), intent("twin", 5), intent("twin", 5)];
    place.write("intents.toml", faulty.concat());
    let run = place.baton(&["score", "--json", "--model", "calibrated", "--intents", "intents.toml", "hello"]);
    run.failure(&["\"few\"", "found 4", "\"many\"", "found 21", "\"twin\""]);
}

#[test]
fn the_language_guard_is_trained_and_measured() {
    let place = Place::new();
    let known = ["where is my order", "I want my money back", "please help me with the login", "the card was charged twice"];
    let unknown = ["wo ist meine bestellung", "ich möchte mein geld zurück", "где мой заказ", "mi tarjeta no funciona"];
    let rows = known.iter().map(|text| (text, "known")).chain(unknown.iter().map(|text| (text, "german")));
    let rows: String = rows.flat_map(|(text, label)| (0..10).map(move |row| format!("{text} {row},{label}\n"))).collect();
    place.write("data.csv", format!("text,label\n{rows}"));
    train(&place, "data.csv", "guarded", &["--target", "language"]).success();
    let figures = eval(&place, "guarded", "language", "data.csv", &[]).json();
    assert!(figures["accuracy"].as_f64().unwrap() > 0.9, "{figures}");
    let values = place.baton(&["score", "--json", "--model", "guarded", "где мой заказ", "where is my order"]).json_lines();
    assert_eq!((&values[0]["language"]["known"], &values[0]["intent"]), (&json!(false), &json!({"absent": "language"})));
    assert_eq!(values[1]["language"]["known"], true);
}
