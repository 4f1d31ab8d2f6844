//! What the person who takes over reads: thirty conversations with what their heads must answer, twenty of them whole as golden files, and strange ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use baton::handoff::decision::Action;
use baton::handoff::package::Package;
use baton::handoff::package::head::{HEAD_WORDS_MAX, head};
use baton::handoff::package::render::{Form, render};
use baton::handoff::policy::{self, Policy};
use baton::handoff::reply::{Situation, Wanted, of_package};
use baton::handoff::scenario;
use baton::handoff::summary::FRAME;
use baton::handoff::transcript::Transcript;
use baton::message::Id;
use baton::model::encoder::candle::{DeviceChoice, open_device};
use baton::model::load::load;
use baton::model::scorer::Scorer;
use baton::service::observe::{Observer, vocabulary};
use baton::service::packaging::of_transcript;
use baton::service::proving::{self, PolicyPlaces};
use serde_json::{Value, json};

use crate::support::{Place, SHIPPED};

struct World {
    scorer: Scorer,
    policy: Policy,
    observer: Observer,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let scorer = load(Path::new(SHIPPED), &open_device(DeviceChoice::Cpu).unwrap()).unwrap();
    let policy = Policy::read(policy::DEFAULT_NAME, policy::DEFAULT, &vocabulary(&scorer)).unwrap();
    let observer = Observer::new(&scorer, &policy).unwrap();
    World { scorer, policy, observer }
});

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/packages")
}

fn of(source: &str) -> Package {
    let world = &*WORLD;
    let transcript = Transcript::parse(Id::new("c").unwrap(), source).unwrap();
    let table = world.observer.table(&world.scorer, transcript.texts()).unwrap();
    of_transcript(world.scorer.lexicon(), &world.policy, &transcript, &table).package
}

fn said(turns: &[(&str, String)]) -> String {
    let line = |(at, (speaker, text)): (usize, &(&str, String))| {
        let time = format!("2026-11-02T{:02}:{:02}:00Z", 9 + at / 60, at % 60);
        json!({"type": "message", "at": time, "speaker": speaker, "text": text}).to_string()
    };
    turns.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// Every head answers who, what, tried, feeling, why and next, in this order, in few words.
#[test]
fn the_head_alone_answers_the_six_questions() {
    let expected: toml::Table = fs::read_to_string(folder().join("expected.toml")).unwrap().parse().unwrap();
    let all = expected["package"].as_array().unwrap();
    assert!(all.len() >= 30, "only {} packages", all.len());
    let mut wrong = Vec::new();
    for entry in all {
        let file = entry["file"].as_str().unwrap();
        let package = of(&fs::read_to_string(folder().join(file)).unwrap());
        let lines = head(&package);
        assert_eq!(lines.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["Who", "What", "Tried", "Feeling", "Why", "Next"]);
        let words: usize = lines.iter().map(|(_, text)| text.split_whitespace().count() + 1).sum();
        assert!(words <= HEAD_WORDS_MAX, "{file}: {words} words");
        for (name, text) in &lines {
            let wanted = entry[&name.to_lowercase()].as_str().unwrap();
            if !text.to_lowercase().contains(&wanted.to_lowercase()) {
                wrong.push(format!("{file}: {name}: expected {wanted:?} in {text:?}"));
            }
        }
        let json = serde_json::to_value(&package).unwrap();
        for field in entry.get("absent").and_then(toml::Value::as_array).into_iter().flatten() {
            let found = &json[field.as_str().unwrap()];
            let reason = entry["reason"].as_str().unwrap();
            if found["state"] != "absent" || found["reason"] != reason {
                wrong.push(format!("{file}: {field:?}: expected absent with {reason:?}, found {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} answers are not there:\n{}", wrong.len(), 6 * all.len(), wrong.join("\n"));
}

/// Every content word of a summary stands in the messages that it cites.
fn assert_traced(package: &Package, source: &str) {
    let words = |text: &str| -> Vec<String> {
        let lower = text.to_lowercase().replace('\u{2019}', "'");
        lower.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let messages: Vec<Value> = source.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: Vec<&Value> = messages.iter().filter(|line| line["type"] == "message").collect();
    let retold = "we us our ours they them their theirs themselves are have would will were is has its it not to the sees knows thinks needs wants \
                  recommends suggests understands hopes believes shows";
    for statement in &package.summary.value().unwrap().statements {
        let cited = statement.messages.iter().map(|at| messages[*at as usize - 1]["text"].as_str().unwrap()).collect::<Vec<_>>().join(" ");
        // What is not seen is not told.
        let there = words(&baton::handoff::story::plain(&cited));
        let mut slot = statement.slot.clone();
        for mask in ["[card number]", "[IBAN]", "[national id]", "[password]", "[token]"] {
            slot = slot.replace(mask, "");
        }
        for word in words(&slot) {
            let known = there.contains(&word) || FRAME.contains(&word.as_str()) || retold.split(' ').any(|known| known == word);
            assert!(known, "{word:?} of {:?} stands in none of {:?}", statement.slot, statement.messages);
        }
    }
}

#[test]
fn every_word_of_a_summary_can_be_traced() {
    let mut seen = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            let source = fs::read_to_string(&path).unwrap();
            let package = of(&source);
            if package.summary.value().is_some() {
                assert_traced(&package, &source);
                let words = package.summary.value().unwrap().text().split_whitespace().count();
                assert!(words <= baton::handoff::summary::WORDS_MAX, "{}: {words} words", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 28, "only {seen} summaries");
}

#[test]
fn golden_packages_are_as_they_were_read() {
    for name in GOLDEN {
        let package = of(&fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap());
        insta::assert_snapshot!(*name, format!("{}{}", render(&package, Form::Text), messages(&package)));
    }
}

/// What the customer reads when the handoff is decided, out of hours, and when a person is there, with that person's first line.
fn messages(package: &Package) -> String {
    let Some(reason) = package.reason.value() else { return "\nNo message: no handoff was decided\n".to_owned() };
    let mut out = String::new();
    for (title, situation, wait, agent) in [
        ("Message", Situation::Connecting, Some(Duration::from_secs(240)), None),
        ("Message out of hours", Situation::OffHours, None, None),
        ("Message when a person is there", Situation::Connected, None, Some("Sam".to_owned())),
    ] {
        let wanted = Wanted { situation, language: None, wait, agent, ask_email: false };
        let (reply, opening) = of_package(&WORLD.policy, &reason.trigger, package, &wanted).unwrap();
        out.push_str(&format!("\n{title}\n  {}\n  {}\n  {}\n", reply.acknowledge, reply.reassure, reply.expect));
        out.extend(opening.map(|line| format!("  offered to the person: {line}\n")));
    }
    out
}

/// Every scenario of the default policy says what the summary, what was tried and the feeling must be.
#[test]
fn scenarios_say_what_packages_must_say() {
    for source in PolicyPlaces::default().scenarios().unwrap() {
        for scenario in scenario::parse(&source.name, &source.text).unwrap() {
            for field in ["summary", "tried", "feeling"] {
                assert!(scenario.package.iter().any(|expected| expected.field == field), "{}: {}: {field}", source.name, scenario.name);
            }
            let hands_over = scenario.expect.iter().any(|expected| expected.action == Action::HandOver);
            assert!(!hands_over || !scenario.message.is_empty(), "{}: {}: message", source.name, scenario.name);
        }
    }
}

#[test]
fn a_scenario_tells_what_a_package_or_a_message_lacks() {
    let world = &*WORLD;
    let source = |package: &str, message: &str| {
        let turns = r#"{ customer = "my parcel is late, please let me talk to a human" }"#;
        let expect = r#"{ turn = 1, action = "hand_over", trigger = "asks-for-person" }"#;
        format!("[[scenario]]\nname = \"n\"\nturns = [{turns}]\nexpect = [{expect}]\npackage = [{package}]\nmessage = [{message}]\n")
    };
    for (package, message, expected) in [
        (r#"{ field = "summary", contains = "parcel" }"#, "", ""),
        (r#"{ field = "account", absent = "not sent" }"#, r#"{ part = "expect", contains = "4 minutes", wait = "4m" }"#, ""),
        ("", r#"{ part = "opening", contains = "Sam", situation = "connected", agent = "Sam" }"#, ""),
        ("", r#"{ part = "acknowledge", contains = "Vielen Dank", language = "de" }"#, ""),
        (
            r#"{ field = "summary", contains = "bicycle" }"#,
            "",
            "package.summary: expected a text with \"bicycle\" in it, found \"The customer",
        ),
        (r#"{ field = "reason", equals = "legal-threat" }"#, "", "package.reason: expected \"legal-threat\", found \"asks-for-person\""),
        (r#"{ field = "account", equals = "Acme" }"#, "", "package.account: expected \"Acme\", found none (not sent)"),
        (r#"{ field = "feeling", absent = "" }"#, "", "package.feeling: expected none"),
        (
            "",
            r#"{ part = "opening", contains = "Sam" }"#,
            "message.opening: expected a text with \"Sam\" in it, found none (no person is there)",
        ),
    ] {
        let scenarios = scenario::parse("s.toml", &source(package, message)).unwrap();
        let table = proving::score(&world.scorer, &world.observer, &scenarios).unwrap();
        let differences = &proving::run(&world.policy, &scenarios, &table, world.scorer.lexicon())[0].differences;
        assert_eq!(differences.is_empty(), expected.is_empty(), "{differences:?}");
        assert!(expected.is_empty() || differences[0].starts_with(expected), "{differences:?}");
    }
    for (package, message, expected) in [
        (r#"{ field = "sumary", contains = "a" }"#, "", "package: field: found \"sumary\", expected one of account,"),
        (r#"{ field = "summary" }"#, "", "package: summary: found nothing, expected one of equals, contains, absent"),
        (r#"{ field = "summary", equals = "a", absent = "b" }"#, "", "package: summary: found more than one of"),
        ("", r#"{ part = "all", contains = "a" }"#, "message: part: found \"all\", expected one of acknowledge,"),
        ("", r#"{ part = "expect", contains = "a", wait = "soon" }"#, "message: wait: found \"soon\", expected a span such as 10m"),
        ("", r#"{ part = "expect", contains = "a", situation = "asleep" }"#, "unknown variant `asleep`"),
    ] {
        let fault = scenario::parse("s.toml", &source(package, message)).unwrap_err();
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn a_conversation_without_a_message_says_so() {
    let package = of(r#"{"type": "event", "at": "2026-11-02T09:00:00Z", "kind": "page_view", "name": "/help"}"#);
    let lines: Vec<String> = head(&package).into_iter().map(|(_, text)| text).collect();
    assert_eq!(lines[1], "not known (nothing was said)");
    assert_eq!(lines[2], "nothing yet");
    assert_eq!(lines[4], "not known (no handoff was decided)");
    assert_eq!(lines[5], "Ask what they need.");
    for form in [Form::Markdown, Form::Text] {
        assert!(render(&package, form).contains("nothing was said"));
    }
}

#[test]
fn strange_conversations_have_packages_too() {
    let long = |at: usize| format!("part {at} of a very long story about the same broken router ").repeat(2_000 / 60);
    for (turns, expected) in [
        (vec![("bot", "Hello! How can I help?".to_owned())], "not known (the customer wrote no words)"),
        (vec![("customer", "😡".to_owned())], "😡"),
        (vec![("customer", "...".to_owned())], "not known (the customer wrote no words)"),
        (vec![("customer", "help".to_owned())], "help"),
        ((0..300).map(|at| (if at % 2 == 0 { "customer" } else { "bot" }, long(at))).collect(), "router"),
        (vec![("customer", "😀".repeat(10_000))], "😀"),
    ] {
        let package = of(&said(&turns));
        let what = head(&package).into_iter().find(|(name, _)| *name == "What").unwrap().1;
        assert!(what.contains(expected), "{what}");
        for form in [Form::Markdown, Form::Text] {
            let text = render(&package, form);
            assert!(text.len() < 20_000, "{} bytes", text.len());
        }
    }
}

#[test]
fn hostile_text_stays_text() {
    let hostile = [
        "my app shows <script>alert(1)</script> when I open it",
        "[click here](http://evil.example/x) to see why my order is late",
        "{{ wait }} {% for x in y %} my bill is wrong",
        "# Big heading **bold** `code` my parcel is lost",
        "my \u{202e}redro\u{202c} is\u{200b} late\u{feff}",
        "&lt;b&gt; my card was charged & nothing came",
        "my order is late, see evil.com or www.evil.com or http://evil.com @here",
    ];
    for text in hostile {
        let package = of(&said(&[
            ("customer", text.to_owned()),
            ("bot", "You can restart the app.".to_owned()),
            ("customer", "no, let me talk to a human".to_owned()),
        ]));
        let markdown = render(&package, Form::Markdown);
        for wrong in
            ["<script", "](http", "**bold**", "`code`", "\u{202e}", "\u{200b}", "\u{feff}", "<b>", "evil.com", "www", "://", "@here", "{{"]
        {
            assert!(!markdown.contains(wrong), "{wrong:?} in {markdown}");
        }
        let plain = render(&package, Form::Text);
        assert!(!plain.contains('\u{202e}') && !plain.contains('\u{200b}'), "{plain}");
        if text.contains("{{") {
            assert!(plain.contains("{{ wait }}"), "{plain}");
        }
    }
}

#[test]
fn no_secret_is_in_any_rendering() {
    let secrets = ["4111 1111 1111 1111", "DE89370400440532013000", "hunter2", "123-45-6789", "sk_live_51H8xyzABCDEFGHIJKLMN"];
    let turns = [
        ("customer", "I want to cancel, my card 4111 1111 1111 1111 was charged twice, IBAN DE89370400440532013000".to_owned()),
        ("bot", "Please enter your password, my password is hunter2 for example.".to_owned()),
        ("customer", "no! my ssn is 123-45-6789 and the key is sk_live_51H8xyzABCDEFGHIJKLMN, is there a human?".to_owned()),
    ];
    let package = of(&said(&turns));
    let json = serde_json::to_string(&package).unwrap();
    for rendering in [render(&package, Form::Markdown).replace('\\', ""), render(&package, Form::Text), json] {
        for secret in secrets {
            assert!(!rendering.contains(secret), "{secret} in {rendering}");
        }
        assert!(rendering.contains("[card number]"), "{rendering}");
    }
}

#[test]
fn the_command_writes_three_formats_and_names_what_is_wrong() {
    let place = Place::new();
    place.write("c.jsonl", said(&[("customer", "I was charged twice, let me talk to a human".to_owned())]));
    let text = place.baton(&["package", "--model", SHIPPED, "--conversation", "c.jsonl"]);
    assert!(text.success().starts_with("Who "), "{}", text.stdout);
    let markdown = place.baton(&["package", "--model", SHIPPED, "--conversation", "c.jsonl", "--format", "markdown"]);
    assert!(markdown.success().starts_with("**Who:**"), "{}", markdown.stdout);
    let json = place.baton(&["package", "--model", SHIPPED, "--conversation", "c.jsonl", "--format", "json"]);
    let value: Value = serde_json::from_str(json.success()).unwrap();
    assert_eq!(value["package"]["reason"]["value"]["trigger"], "asks-for-person", "{value}");
    assert_eq!(value["package"]["account"], json!({"state": "absent", "reason": "not sent"}));
    place.baton(&["package", "--model", SHIPPED, "--conversation", "nowhere"]).failure(&["nowhere"]);
}

/// The conversations whose packages were read as the person who takes over would read them.
const GOLDEN: &[&str] = &[
    "01-telecom-drops-person",
    "02-parcel-lost-legal",
    "03-bank-fraud-card",
    "04-energy-distress",
    "05-saas-sync-repeat",
    "06-shop-wrong-size-frustrated",
    "07-printer-failed-attempts",
    "08-enterprise-billing",
    "11-insurance-privacy",
    "12-travel-bot-unsure",
    "13-german-after-english",
    "14-single-message",
    "15-long-import",
    "16-no-handoff-password",
    "18-crm-timeout-claim",
    "20-agent-returned-missing",
    "22-hostile-markdown-template",
    "23-hostile-unicode",
    "24-secrets-iban-password",
    "30-travel-flight-supervisor",
];
