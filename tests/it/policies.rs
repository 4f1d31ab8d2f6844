//! Policies as operators write them, with every slip they can make: each fault with its line, its column in characters and what was meant. And what the
//! commands that read a policy make of it: `check`, `policy`, `replay`, `serve`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use baton::handoff::expression::names::NAMES;
use baton::handoff::mask::Masking;
use baton::handoff::observation::{LabelRange, Vocabulary};
use baton::handoff::policy::document::document;
use baton::handoff::policy::{DEFAULT, Policy};
use baton::random::Random;
use baton::signal::BasisPoints;
use serde_json::{Map, Value, json};

use crate::support::{PLANTED, Place, Run, SHIPPED, TINY, each_case, lines_of_json};

/// A policy without a fault, which the cases below break.
const GOOD: &str = r#"[thresholds]
accepts = 0.6

[soft]
attempts = 2

[[intent]]
id = "export"
examples = ["first copy", "second copy", "third copy", "fourth copy", "fifth copy"]

[[trigger]]
id = "angry"
kind = "reactive"
basis = "intent"
urgency = "soft"
category = "anger"
when = 'emotion("anger") >= 0.5'
rearm = 'emotion("anger") < 0.2'
hold_turns = 2
queue = "general"
message = "sorry"

[[trigger]]
id = "asks"
kind = "reactive"
basis = "intent"
urgency = "immediate"
category = "talk_to_human"
priority = 80
when = 'asks_for_person()'
queue = "vip"
message = "sorry"

[[queue]]
id = "general"
owner = "lead@example.com"
skills = []
strategy = "least_loaded"
fallback = "follow_up"
hours = { zone = "Europe/Berlin", weekly = { mon_fri = "08:00-20:00" }, holidays = ["2026-12-25"] }

[[queue]]
id = "vip"
owner = "lead@example.com"
skills = ["crisis"]
strategy = "skills"
fallback = "general"

[[message]]
id = "sorry"
acknowledge = "This is about {{ issue }}."
reassure = "A person takes over."
expect = "They answer within {{ wait }}."
expect_unknown_wait = "They answer soon."
"#;

/// Its condition.
const CONDITION: &str = "emotion(\"anger\") >= 0.5";
/// Where its condition begins.
const WHEN_LINE: usize = 17;
const WHEN_COLUMN: usize = 9;
/// How its faults begin.
const WHEN: &str = "trigger \"angry\".when: ";
/// No fault.
const NONE: [String; 0] = [];

fn ranges(labels: &[(&str, f64)]) -> Vec<LabelRange> {
    let range = |(label, highest): &(&str, f64)| LabelRange { label: (*label).to_owned(), highest: BasisPoints::new(*highest).unwrap() };
    labels.iter().map(range).collect()
}

/// A model with few labels, some of which never become likely.
fn vocabulary() -> Vocabulary {
    Vocabulary {
        model: "m".to_owned(),
        intents: ranges(&[("refund", 1.0), ("complaint", 1.0), ("distress", 0.9)]),
        emotions: ranges(&[("anger", 1.0), ("joy", 0.6)]),
        acts: ranges(&[("accepts", 1.0), ("rejects", 0.8), ("other", 1.0)]),
        examples: true,
    }
}

/// A model with all labels of the default policy.
pub(crate) fn shipped_vocabulary() -> Vocabulary {
    let labels = |function: &str| {
        let mut labels: Vec<(&str, f64)> = Vec::new();
        for rest in DEFAULT.split(&format!("{function}(\"")).skip(1) {
            labels.push((rest.split('"').next().unwrap(), 1.0));
        }
        labels.sort_by_key(|(label, _)| *label);
        labels.dedup();
        ranges(&labels)
    };
    Vocabulary { model: "m".to_owned(), intents: labels("intent"), emotions: labels("emotion"), acts: labels("act"), examples: true }
}

/// The faults of a policy as an operator sees them, without the name of the file.
fn faults(text: &str) -> Vec<String> {
    let faults = Policy::read("p.toml", text, &vocabulary()).err().unwrap_or_default();
    faults.iter().map(|fault| fault.to_string().strip_prefix("p.toml:").expect("the file's name").to_owned()).collect()
}

/// [`GOOD`] with some places changed, each the first of its kind.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from) && from != to, "the case changes nothing: {from}");
        text.replacen(from, to, 1)
    })
}

/// [`GOOD`] with another value for its condition, quotes and all.
fn with_value(value: &str) -> String {
    edited(&[(&format!("'{CONDITION}'"), value)])
}

/// [`GOOD`] with another condition.
fn with_condition(condition: &str) -> String {
    edited(&[(CONDITION, condition)])
}

/// A trigger that has all it needs.
fn trigger(id: &str, condition: &str) -> String {
    format!(
        "[[trigger]]\nid = \"{id}\"\nkind = \"reactive\"\nbasis = \"intent\"\nurgency = \"soft\"\ncategory = \"other\"\nwhen = '{condition}'\n\
         queue = \"general\"\nmessage = \"sorry\"\n\n"
    )
}

/// Edits of [`GOOD`] and all the faults that follow, in the order of the file.
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);

fn assert_faults(cases: &[Case]) {
    let name = |(edits, _): &Case| edits.last().map_or("", |(from, to)| if to.is_empty() { *from } else { *to });
    each_case(cases.iter().map(|case| (name(case), case)), |(edits, expected)| assert_eq!(faults(&edited(edits)), *expected));
}

#[test]
fn the_policy_that_the_cases_break_is_good() {
    assert_eq!(faults(GOOD), NONE);
    assert_eq!(faults(&GOOD.replace('\n', "\r\n")), NONE);
    let line = GOOD.lines().nth(WHEN_LINE - 1).unwrap();
    assert_eq!(line.find(CONDITION), Some(WHEN_COLUMN - 1));
}

#[test]
#[rustfmt::skip]
fn every_key_that_is_needed_is_missed() {
    assert_faults(&[
        (&[("kind = \"reactive\"\n", "")], &["11:1: trigger \"angry\": found no kind, expected one"]),
        (&[("basis = \"intent\"\n", "")], &["11:1: trigger \"angry\": found no basis, expected one"]),
        (&[("urgency = \"soft\"\n", "")], &["11:1: trigger \"angry\": found no urgency, expected one"]),
        (&[("category = \"anger\"\n", "")], &["11:1: trigger \"angry\": found no category, expected one"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'\n", "")], &["11:1: trigger \"angry\": found no when, expected one"]),
        (&[("queue = \"general\"\n", "")], &["11:1: trigger \"angry\": found no queue, expected one"]),
        (&[("message = \"sorry\"\n", "")], &["11:1: trigger \"angry\": found no message, expected one"]),
        (&[("[[trigger]]\nid = \"angry\"", "[[trigger]]")], &["11:1: trigger 1: found no id, expected one"]),
        (&[("[[queue]]\nid = \"general\"", "[[queue]]")], &["20:9: trigger \"angry\".queue: found \"general\", expected the id of a [[queue]]", "34:1: queue 1: found no id, expected one", "46:12: queue \"vip\".fallback: found \"general\", expected the id of another [[queue]] or \"follow_up\""]),
        (&[("[[intent]]\nid = \"export\"", "[[intent]]")], &["7:1: intent 1: found no id, expected one"]),
        (&[("owner = \"lead@example.com\"\n", "")], &["34:1: queue \"general\": found no owner, expected one"]),
        (&[("skills = []\n", "")], &["34:1: queue \"general\": found no skills, expected one"]),
        (&[("strategy = \"least_loaded\"\n", "")], &["34:1: queue \"general\": found no strategy, expected one"]),
        (&[("fallback = \"follow_up\"\n", "")], &["34:1: queue \"general\": found no fallback, expected one"]),
        (&[("{ zone = \"Europe/Berlin\", ", "{ ")], &["40:9: queue \"general\".hours: found no zone, expected one"]),
        (&[("hours = { zone = \"Europe/Berlin\", weekly = { mon_fri = \"08:00-20:00\" }, ", "hours = { zone = \"Europe/Berlin\", ")], &["40:9: queue \"general\".hours: found no weekly, expected one"]),
        (&[("acknowledge = \"This is about {{ issue }}.\"\n", "")], &["49:1: message \"sorry\": found no acknowledge, expected one"]),
        (&[("reassure = \"A person takes over.\"\n", "")], &["49:1: message \"sorry\": found no reassure, expected one"]),
        (&[("expect = \"They answer within {{ wait }}.\"\n", "")], &["49:1: message \"sorry\": found no expect, expected one"]),
        (&[("examples = [\"first copy\", \"second copy\", \"third copy\", \"fourth copy\", \"fifth copy\"]\n", "")], &["7:1: intent \"export\": found no examples, expected one"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_value_of_another_type_is_named() {
    assert_faults(&[
        (&[("[thresholds]\naccepts = 0.6", "thresholds = 3")], &["1:14: thresholds: found 3, expected [thresholds]"]),
        (&[("[soft]", "[[soft]]")], &["4:1: soft: found a list, expected [soft]"]),
        (&[("[[intent]]", "[queues]\n\n[[intent]]")], &["7:2: policy: found the key queues, expected one of thresholds, soft, handoff, pilot, masking, languages, intent, queue, message, trigger; did you mean queue?"]),
        (&[("accepts = 0.6", "accepts = \"0.6\"")], &["2:11: thresholds.accepts: found \"0.6\", expected a number from 0 to 1"]),
        (&[("accepts = 0.6", "accepts = true")], &["2:11: thresholds.accepts: found true, expected a number from 0 to 1"]),
        (&[("attempts = 2", "attempts = 2.5")], &["5:12: soft.attempts: found 2.5, expected a whole number from 0 to 10"]),
        (&[("attempts = 2", "attempts = \"two\"")], &["5:12: soft.attempts: found \"two\", expected a whole number from 0 to 10"]),
        (&[("id = \"angry\"", "id = 7")], &["12:6: trigger 1.id: found 7, expected a text"]),
        (&[("kind = \"reactive\"\nbasis = \"intent\"\nurgency = \"soft\"", "kind = 3\nbasis = \"intent\"\nurgency = \"soft\"")], &["13:8: trigger \"angry\".kind: found 3, expected a text"]),
        (&[("urgency = \"soft\"", "urgency = false")], &["15:11: trigger \"angry\".urgency: found false, expected a text"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = true")], &["17:8: trigger \"angry\".when: found true, expected a text"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = ['emotion(\"anger\") >= 0.5']")], &["17:8: trigger \"angry\".when: found a list, expected a text"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'", "rearm = 0.2")], &["18:9: trigger \"angry\".rearm: found 0.2, expected a text"]),
        (&[("hold_turns = 2", "hold_turns = 2026-11-22")], &["19:14: trigger \"angry\".hold_turns: found 2026-11-22, expected a whole number from 1 to 16"]),
        (&[("queue = \"general\"\nm", "queue = [\"general\"]\nm")], &["20:9: trigger \"angry\".queue: found a list, expected a text"]),
        (&[("queue = \"general\"\nmessage = \"sorry\"", "queue = \"general\"\nmessage = { id = \"sorry\" }")], &["21:11: trigger \"angry\".message: found a table, expected a text"]),
        (&[("owner = \"lead@example.com\"\nskills = []", "owner = [\"lead@example.com\"]\nskills = []")], &["36:9: queue \"general\".owner: found a list, expected a text"]),
        (&[("skills = [\"crisis\"]", "skills = \"crisis\"")], &["45:10: queue \"vip\".skills: found \"crisis\", expected a list"]),
        (&[("skills = [\"crisis\"]", "skills = [\"crisis\", 1]")], &["45:21: queue \"vip\".skills: found 1, expected a text"]),
        (&[("hours = { zone = \"Europe/Berlin\", weekly = { mon_fri = \"08:00-20:00\" }, holidays = [\"2026-12-25\"] }", "hours = \"always\"")], &["40:9: queue \"general\".hours: found \"always\", expected a table"]),
        (&[("weekly = { mon_fri = \"08:00-20:00\" }", "weekly = \"08:00-20:00\"")], &["40:44: queue \"general\".hours.weekly: found \"08:00-20:00\", expected a table such as { mon_fri = \"09:00-18:00\" }"]),
        (&[("mon_fri = \"08:00-20:00\"", "mon_fri = [\"08:00-20:00\"]")], &["40:56: queue \"general\".hours.weekly.mon_fri: found a list, expected a text"]),
        (&[("holidays = [\"2026-12-25\"]", "holidays = \"2026-12-25\"")], &["40:84: queue \"general\".hours.holidays: found \"2026-12-25\", expected a list"]),
        (&[("reassure = \"A person takes over.\"", "reassure = 1")], &["52:12: message \"sorry\".reassure: found 1, expected a text"]),
        (&[("examples = [\"first copy\", \"second copy\", \"third copy\", \"fourth copy\", \"fifth copy\"]", "examples = \"first copy\"")], &["9:12: intent \"export\".examples: found \"first copy\", expected a list"]),
        (&[("\"first copy\", ", "1, ")], &["9:13: intent \"export\".examples: found 1, expected a message"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_wrong_word_is_told_with_the_right_one() {
    assert_faults(&[
        (&[("[thresholds]", "[treshold]")], &["1:2: policy: found the key treshold, expected one of thresholds, soft, handoff, pilot, masking, languages, intent, queue, message, trigger; did you mean thresholds?"]),
        (&[("hold_turns = 2", "hold_turn = 2")], &["19:1: trigger \"angry\": found the key hold_turn, expected one of id, about, kind, basis, urgency, category, priority, when, rearm, hold_turns, cooldown_turns, queue, message, mode, shadow; did you mean hold_turns?"]),
        (&[("skills = [\"crisis\"]", "skill = [\"x\"]\nskills = [\"crisis\"]")], &["45:1: queue \"vip\": found the key skill, expected one of id, name, owner, skills, strategy, fallback, hours, handling_secs, waiting_max, relax_after_secs, fallback_after_secs; did you mean skills?"]),
        (&[("reassure = \"A", "reasure = \"x\"\nreassure = \"A")], &["52:1: message \"sorry\": found the key reasure, expected one of id, acknowledge, reassure, expect, expect_unknown_wait, expect_off_hours, expect_at_capacity, connected, opening; did you mean reassure?"]),
        (&[("examples = [\"f", "example = []\nexamples = [\"f")], &["9:1: intent \"export\": found the key example, expected one of id, examples; did you mean examples?"]),
        (&[(", holidays = [", ", holiday = [")], &["40:73: queue \"general\".hours: found the key holiday, expected one of zone, weekly, holidays, exceptions; did you mean holidays?"]),
        (&[("mon_fri = \"", "mon_fr = \"08:00-09:00\", mon_fri = \"")], &["40:46: queue \"general\".hours.weekly: found the key mon_fr, expected one of mon, tue, wed, thu, fri, sat, sun, mon_fri, sat_sun, daily; did you mean mon_fri?"]),
        (&[("accepts = 0.6", "accept = 0.6")], &["2:1: thresholds: found the key accept, expected one of asks_for_person, accepts, rejects, same_issue, customer_repeats, bot_repeats; did you mean accepts?"]),
        (&[("attempts = 2", "attempt = 2")], &["5:1: soft: found the key attempt, expected one of attempts, turns, timeout_secs, negative, positive, thanks; did you mean attempts?"]),
        (&[("hold_turns = 2", "xyz = 2")], &["19:1: trigger \"angry\": found the key xyz, expected one of id, about, kind, basis, urgency, category, priority, when, rearm, hold_turns, cooldown_turns, queue, message, mode, shadow"]),
        (&[("kind = \"reactive\"\nbasis = \"intent\"\nurgency = \"soft\"", "kind = \"reactiv\"\nbasis = \"intent\"\nurgency = \"soft\"")], &["13:8: trigger \"angry\".kind: found \"reactiv\", expected one of reactive, proactive, behavioural; did you mean \"reactive\"?"]),
        (&[("kind = \"reactive\"\nbasis = \"intent\"\nurgency = \"soft\"", "kind = \"behavioral\"\nbasis = \"intent\"\nurgency = \"soft\"")], &["13:8: trigger \"angry\".kind: found \"behavioral\", expected one of reactive, proactive, behavioural; did you mean \"behavioural\"?"]),
        (&[("basis = \"intent\"\nurgency = \"soft\"", "basis = \"keywords\"\nurgency = \"soft\"")], &["14:9: trigger \"angry\".basis: found \"keywords\", expected one of keyword, intent, behaviour; did you mean \"keyword\"?"]),
        (&[("urgency = \"soft\"", "urgency = \"Soft\"")], &["15:11: trigger \"angry\".urgency: found \"Soft\", expected one of immediate, soft; did you mean \"soft\"?"]),
        (&[("urgency = \"soft\"", "urgency = \"asap\"")], &["15:11: trigger \"angry\".urgency: found \"asap\", expected one of immediate, soft"]),
        (&[("strategy = \"skills\"", "strategy = \"skill\"")], &["46:12: queue \"vip\".strategy: found \"skill\", expected one of round_robin, skills, least_loaded, skills_least_loaded; did you mean \"skills\"?"]),
        (&[("queue = \"general\"\nm", "queue = \"genral\"\nm")], &["20:9: trigger \"angry\".queue: found \"genral\", expected the id of a [[queue]]; did you mean \"general\"?"]),
        (&[("queue = \"general\"\nm", "queue = \"zzz\"\nm")], &["20:9: trigger \"angry\".queue: found \"zzz\", expected the id of a [[queue]]"]),
        (&[("queue = \"general\"\nmessage = \"sorry\"", "queue = \"general\"\nmessage = \"sory\"")], &["21:11: trigger \"angry\".message: found \"sory\", expected the id of a [[message]]; did you mean \"sorry\"?"]),
        (&[("fallback = \"general\"", "fallback = \"generall\"")], &["47:12: queue \"vip\".fallback: found \"generall\", expected the id of another [[queue]] or \"follow_up\"; did you mean \"general\"?"]),
        (&[("fallback = \"follow_up\"", "fallback = \"followup\"")], &["39:12: queue \"general\".fallback: found \"followup\", expected the id of another [[queue]] or \"follow_up\"; did you mean \"follow_up\"?"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn ids_are_words_and_stand_once() {
    assert_faults(&[
        (&[("id = \"asks\"", "id = \"angry\"")], &["24:6: trigger \"angry\".id: found twice, first in line 11, expected once"]),
        (&[("id = \"vip\"", "id = \"general\""), ("queue = \"vip\"", "queue = \"general\""), ("fallback = \"general\"", "fallback = \"follow_up\"")], &["43:6: queue \"general\".id: found twice, first in line 34, expected once"]),
        (&[("expect_unknown_wait = \"They answer soon.\"\n", "expect_unknown_wait = \"They answer soon.\"\n\n[[message]]\nid = \"sorry\"\nacknowledge = \"a\"\nreassure = \"b\"\nexpect = \"c\"\n")], &["57:6: message \"sorry\".id: found twice, first in line 49, expected once"]),
        (&[("[[trigger]]\nid = \"angry\"", "[[intent]]\nid = \"export\"\nexamples = [\"a\", \"b\", \"c\", \"d\", \"e\"]\n\n[[trigger]]\nid = \"angry\"")], &["12:6: intent \"export\".id: found twice, first in line 7, expected once"]),
        (&[("id = \"angry\"", "id = \"same\""), ("id = \"asks\"", "id = \"same\""), ("[[queue]]\nid = \"general\"", "[[trigger]]\nid = \"same\"\nkind = \"reactive\"\nbasis = \"intent\"\nurgency = \"immediate\"\ncategory = \"x\"\nwhen = 'says(\"x\")'\nqueue = \"vip\"\nmessage = \"sorry\"\n\n[[queue]]\nid = \"general\"")], &["24:6: trigger \"same\".id: found twice, first in line 11, expected once", "35:6: trigger \"same\".id: found twice, first in line 11, expected once"]),
        (&[("id = \"angry\"", "id = \"\"")], &["12:6: trigger \"\".id: found \"\", expected 1 to 64 letters, digits, - or _"]),
        (&[("id = \"angry\"", "id = \"so angry\"")], &["12:6: trigger \"so angry\".id: found \"so angry\", expected 1 to 64 letters, digits, - or _"]),
        (&[("id = \"angry\"", "id = \"ärger\"")], &["12:6: trigger \"ärger\".id: found \"ärger\", expected 1 to 64 letters, digits, - or _"]),
        (&[("id = \"angry\"", "id = \"an\\ngry\"")], &["12:6: trigger \"an\\ngry\".id: found \"an\\ngry\", expected 1 to 64 letters, digits, - or _"]),
        (&[("id = \"angry\"", "id = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"")], &["12:6: trigger 1.id: found a text of 65 bytes, expected 1 to 64 letters, digits, - or _"]),
        (&[("skills = [\"crisis\"]", "skills = [\"crisis\", \"no way\", \"\"]")], &["45:21: queue \"vip\".skills: found \"no way\", expected 1 to 64 letters, digits, - or _", "45:31: queue \"vip\".skills: found \"\", expected 1 to 64 letters, digits, - or _"]),
        (&[("category = \"anger\"", "category = \"anger!\"")], &["16:12: trigger \"angry\".category: found \"anger!\", expected 1 to 64 letters, digits, - or _"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn numbers_have_a_range() {
    assert_faults(&[
        (&[("accepts = 0.6", "accepts = 1.01")], &["2:11: thresholds.accepts: found 1.01, expected a number from 0 to 1"]),
        (&[("accepts = 0.6", "accepts = -0.1")], &["2:11: thresholds.accepts: found -0.1, expected a number from 0 to 1"]),
        (&[("accepts = 0.6", "accepts = nan")], &["2:11: thresholds.accepts: found nan, expected a number from 0 to 1"]),
        (&[("accepts = 0.6", "accepts = inf")], &["2:11: thresholds.accepts: found inf, expected a number from 0 to 1"]),
        (&[("attempts = 2", "attempts = 11")], &["5:12: soft.attempts: found 11, expected a whole number from 0 to 10"]),
        (&[("attempts = 2", "attempts = -1")], &["5:12: soft.attempts: found -1, expected a whole number from 0 to 10"]),
        (&[("attempts = 2", "turns = 0")], &["5:9: soft.turns: found 0, expected a whole number from 1 to 10"]),
        (&[("attempts = 2", "timeout_secs = 9")], &["5:16: soft.timeout_secs: found 9, expected a whole number from 10 to 86400"]),
        (&[("attempts = 2", "timeout_secs = 86_401")], &["5:16: soft.timeout_secs: found 86401, expected a whole number from 10 to 86400"]),
        (&[("attempts = 2", "negative = -1.5")], &["5:12: soft.negative: found -1.5, expected a number from -1 to 1"]),
        (&[("attempts = 2", "positive = -0.1")], &["5:12: soft.positive: found -0.1, expected a number from 0 to 1"]),
        (&[("attempts = 2", "attempts = 99999999999999999999")], &["5:12: soft.attempts: found 99999999999999999999, expected a whole number from 0 to 10"]),
        (&[("priority = 80", "priority = 101")], &["29:12: trigger \"asks\".priority: found 101, expected a whole number from 0 to 100"]),
        (&[("priority = 80", "priority = -1")], &["29:12: trigger \"asks\".priority: found -1, expected a whole number from 0 to 100"]),
        (&[("hold_turns = 2", "hold_turns = 0")], &["19:14: trigger \"angry\".hold_turns: found 0, expected a whole number from 1 to 16"]),
        (&[("hold_turns = 2", "hold_turns = 999")], &["19:14: trigger \"angry\".hold_turns: found 999, expected a whole number from 1 to 16"]),
        (&[("hold_turns = 2", "cooldown_turns = 0")], &["19:18: trigger \"angry\".cooldown_turns: found 0, expected a whole number from 1 to 1000"]),
        (&[("hold_turns = 2", "cooldown_turns = 100000")], &["19:18: trigger \"angry\".cooldown_turns: found 100000, expected a whole number from 1 to 1000"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn queues_lead_somewhere_and_have_hours_that_exist() {
    assert_faults(&[
        (&[("owner = \"lead@example.com\"\nskills = []", "owner = \" \"\nskills = []")], &["36:9: queue \"general\".owner: found nothing, expected a text of at most 200 bytes"]),
        (&[("owner = \"lead@example.com\"\nskills = []", "owner = \"ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo\"\nskills = []")], &["36:9: queue \"general\".owner: found 201 bytes, expected a text of at most 200 bytes"]),
        (&[("fallback = \"general\"", "fallback = \"vip\"")], &["47:12: queue \"vip\".fallback: the fallbacks go in a circle: vip -> vip; one of them must be \"follow_up\""]),
        (&[("fallback = \"follow_up\"", "fallback = \"vip\"")], &["39:12: queue \"general\".fallback: the fallbacks go in a circle: general -> vip -> general; one of them must be \"follow_up\""]),
        (&[("fallback = \"follow_up\"", "fallback = \"third\""), ("[[message]]", "[[queue]]\nid = \"third\"\nowner = \"o\"\nskills = []\nstrategy = \"skills\"\nfallback = \"vip\"\n\n[[message]]")], &["39:12: queue \"general\".fallback: the fallbacks go in a circle: general -> third -> vip -> general; one of them must be \"follow_up\""]),
        (&[("fallback = \"follow_up\"", "fallback = \"third\""), ("queue = \"vip\"", "queue = \"outside\""), ("[[message]]", "[[queue]]\nid = \"third\"\nowner = \"o\"\nskills = []\nstrategy = \"skills\"\nfallback = \"vip\"\n\n[[queue]]\nid = \"outside\"\nowner = \"o\"\nskills = []\nstrategy = \"skills\"\nfallback = \"vip\"\n\n[[message]]")], &["39:12: queue \"general\".fallback: the fallbacks go in a circle: general -> third -> vip -> general; one of them must be \"follow_up\""]),
        (&[("[[message]]", "[[queue]]\nid = \"third\"\nowner = \"o\"\nskills = []\nstrategy = \"skills\"\nfallback = \"vip\"\n\n[[message]]")], &["49:1: queue \"third\": no trigger and no fallback leads to it"]),
        (&[("[[message]]", "[[queue]]\nid = \"third\"\nowner = \"o\"\nskills = []\nstrategy = \"skills\"\nfallback = \"third\"\n\n[[message]]")], &["49:1: queue \"third\": no trigger and no fallback leads to it", "54:12: queue \"third\".fallback: the fallbacks go in a circle: third -> third; one of them must be \"follow_up\""]),
        (&[("zone = \"Europe/Berlin\"", "zone = \"Europe/Berln\"")], &["40:18: queue \"general\".hours.zone: found \"Europe/Berln\", expected a time zone such as \"Europe/Berlin\""]),
        (&[("zone = \"Europe/Berlin\"", "zone = \"Berlin\"")], &["40:18: queue \"general\".hours.zone: found \"Berlin\", expected a time zone such as \"Europe/Berlin\""]),
        (&[("zone = \"Europe/Berlin\"", "zone = \"\"")], &["40:18: queue \"general\".hours.zone: found nothing, expected a text of at most 64 bytes"]),
        (&[("\"08:00-20:00\"", "\"8-20\"")], &["40:56: queue \"general\".hours.weekly.mon_fri: found \"8-20\", expected times such as \"09:00-12:30, 13:00-18:00\""]),
        (&[("\"08:00-20:00\"", "\"08:00-25:00\"")], &["40:56: queue \"general\".hours.weekly.mon_fri: found \"08:00-25:00\", expected times such as \"09:00-12:30, 13:00-18:00\""]),
        (&[("\"08:00-20:00\"", "\"08:00-24:01\"")], &["40:56: queue \"general\".hours.weekly.mon_fri: found \"08:00-24:01\", expected times such as \"09:00-12:30, 13:00-18:00\""]),
        (&[("\"08:00-20:00\"", "\"08:60-20:00\"")], &["40:56: queue \"general\".hours.weekly.mon_fri: found \"08:60-20:00\", expected times such as \"09:00-12:30, 13:00-18:00\""]),
        (&[("\"08:00-20:00\"", "\"20:00-08:00\"")], &["40:56: queue \"general\".hours.weekly.mon_fri: found \"20:00-08:00\", expected times such as \"09:00-12:30, 13:00-18:00\""]),
        (&[("\"08:00-20:00\"", "\"08:00-08:00\"")], &["40:56: queue \"general\".hours.weekly.mon_fri: found \"08:00-08:00\", expected times such as \"09:00-12:30, 13:00-18:00\""]),
        (&[("\"08:00-20:00\"", "\"08:00-12:00, 13-18\"")], &["40:56: queue \"general\".hours.weekly.mon_fri: found \" 13-18\", expected times such as \"09:00-12:30, 13:00-18:00\""]),
        (&[("\"08:00-20:00\"", "\"08:00-12:00,\"")], &["40:56: queue \"general\".hours.weekly.mon_fri: found \"\", expected times such as \"09:00-12:30, 13:00-18:00\""]),
        (&[("\"08:00-20:00\"", "\"08:00-12:00, 11:59-18:00\"")], &["40:44: queue \"general\".hours.weekly: mon has times that overlap"]),
        (&[("\"08:00-20:00\"", "\"08:00-12:00\", wed = \"09:00-10:00\"")], &["40:44: queue \"general\".hours.weekly: wed has times that overlap"]),
        (&[("\"08:00-20:00\"", "\"08:00-20:00, 09:00-10:00\"")], &["40:44: queue \"general\".hours.weekly: mon has times that overlap"]),
        (&[("weekly = { mon_fri = \"08:00-20:00\" }", "weekly = { }")], &["40:44: queue \"general\".hours.weekly: found no hours, expected some; a queue that never closes has no hours key"]),
        (&[("\"08:00-20:00\"", "\"\"")], &["40:56: queue \"general\".hours.weekly.mon_fri: found \"\", expected times such as \"09:00-12:30, 13:00-18:00\""]),
        (&[("\"2026-12-25\"", "\"25.12.2026\"")], &["40:85: queue \"general\".hours.holidays: found \"25.12.2026\", expected a day such as \"2026-12-25\""]),
        (&[("\"2026-12-25\"", "\"2026-02-30\"")], &["40:85: queue \"general\".hours.holidays: found \"2026-02-30\", expected a day such as \"2026-12-25\""]),
        (&[("\"2026-12-25\"", "2026-12-25T10:00:00Z")], &["40:85: queue \"general\".hours.holidays: found 2026-12-25T10:00:00Z, expected a day such as \"2026-12-25\""]),
        (&[("\"2026-12-25\"", "12:30:00")], &["40:85: queue \"general\".hours.holidays: found 12:30:00, expected a day such as \"2026-12-25\""]),
        (&[("\"2026-12-25\"", "\"x\", \"2026-12-25\", 7")], &["40:85: queue \"general\".hours.holidays: found \"x\", expected a day such as \"2026-12-25\"", "40:104: queue \"general\".hours.holidays: found 7, expected a day such as \"2026-12-25\""]),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_routing_and_the_pilot_are_told_has_its_bounds() {
    assert_faults(&[
        (&[("fallback = \"follow_up\"", "handling_secs = 0\nfallback = \"follow_up\"")], &["39:17: queue \"general\".handling_secs: found 0, expected a whole number from 1 to 86400"]),
        (&[("fallback = \"follow_up\"", "waiting_max = 10_001\nfallback = \"follow_up\"")], &["39:15: queue \"general\".waiting_max: found 10001, expected a whole number from 1 to 10000"]),
        (&[("fallback = \"follow_up\"", "relax_after_secs = \"soon\"\nfallback = \"follow_up\"")], &["39:20: queue \"general\".relax_after_secs: found \"soon\", expected a whole number from 1 to 86400"]),
        (&[("fallback = \"follow_up\"", "fallback_after_secs = 0.5\nfallback = \"follow_up\"")], &["39:23: queue \"general\".fallback_after_secs: found 0.5, expected a whole number from 1 to 86400"]),
        (&[("skills = [\"crisis\"]", "skills = { crisis = 0 }")], &["45:21: queue \"vip\".skills.crisis: found 0, expected a whole number from 1 to 10"]),
        (&[("skills = [\"crisis\"]", "skills = { \"no way\" = 1 }")], &["45:12: queue \"vip\".skills: found the skill \"no way\", expected 1 to 64 letters, digits, - or _"]),
        (&[("holidays = [\"2026-12-25\"]", "holidays = [\"2026-12-25\"], exceptions = { \"2026-12-25\" = \"closed\" }")], &["40:115: queue \"general\".hours.exceptions: found \"2026-12-25\", which is a holiday as well, expected one of the two"]),
        (&[("holidays = [\"2026-12-25\"]", "holidays = [\"2026-12-25\"], exceptions = { \"24.12.\" = \"closed\" }")], &["40:115: queue \"general\".hours.exceptions: found the day \"24.12.\", expected one such as \"2026-12-24\""]),
        (&[("holidays = [\"2026-12-25\"]", "holidays = [\"2026-12-25\"], exceptions = { \"2026-12-24\" = \"shut\" }")], &["40:130: queue \"general\".hours.exceptions.2026-12-24: found \"shut\", expected times such as \"09:00-12:00\", or \"closed\""]),
        (&[("holidays = [\"2026-12-25\"]", "holidays = [\"2026-12-25\"], exceptions = { \"2026-12-24\" = 9 }")], &["40:130: queue \"general\".hours.exceptions.2026-12-24: found 9, expected a text"]),
        (&[("holidays = [\"2026-12-25\"]", "holidays = [\"2026-12-25\"], exceptions = { \"2026-12-24\" = \"09:00-12:00, 11:00-13:00\" }")], &["40:130: queue \"general\".hours.exceptions.2026-12-24: has times that overlap"]),
        (&[("holidays = [\"2026-12-25\"]", "holidays = [\"2026-12-25\"], exceptions = [\"2026-12-24\"]")], &["40:113: queue \"general\".hours.exceptions: found a list, expected a table of at most 1000 such as { \"2026-12-24\" = \"09:00-12:00\" }"]),
        (&[("[[queue]]", "[handoff]\noffer_secs = 4\n\n[[queue]]")], &["35:14: handoff.offer_secs: found 4, expected a whole number from 5 to 3600"]),
        (&[("[[queue]]", "[handoff]\nupdate_secs = 29\n\n[[queue]]")], &["35:15: handoff.update_secs: found 29, expected a whole number from 30 to 86400"]),
        (&[("[[queue]]", "[handoff]\nlease_secs = 86_401\n\n[[queue]]")], &["35:14: handoff.lease_secs: found 86401, expected a whole number from 10 to 86400"]),
        (&[("[[queue]]", "[handoff]\nmax_wait_secs = true\n\n[[queue]]")], &["35:17: handoff.max_wait_secs: found true, expected a whole number from 60 to 604800"]),
        (&[("[[queue]]", "[handoff]\nfollow_up_hours = 0\n\n[[queue]]")], &["35:19: handoff.follow_up_hours: found 0, expected a whole number from 1 to 720"]),
        (&[("[[queue]]", "[handoff]\nquiet_hours = 721\n\n[[queue]]")], &["35:15: handoff.quiet_hours: found 721, expected a whole number from 1 to 720"]),
        (&[("[[queue]]", "[handoff]\nageing_secs = -1\n\n[[queue]]")], &["35:15: handoff.ageing_secs: found -1, expected a whole number from 0 to 3600"]),
        (&[("[[queue]]", "[handoff]\noffer_sec = 9\n\n[[queue]]")], &["35:1: handoff: found the key offer_sec, expected one of offer_secs, update_secs, lease_secs, max_wait_secs, follow_up_hours, quiet_hours, ageing_secs; did you mean offer_secs?"]),
        (&[("[[queue]]", "[pilot]\nshare = 1.5\nalways = \"distress\"\n\n[[queue]]")], &["35:9: pilot.share: found 1.5, expected a number from 0 to 1", "36:10: pilot.always: found \"distress\", expected a list"]),
        (&[("hold_turns = 2\n", "hold_turns = 2\nmode = \"softly\"\n")], &["20:8: trigger \"angry\".mode: found \"softly\", expected one of hard, soft; did you mean \"soft\"?"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn masking_is_yes_or_no() {
    assert_faults(&[
        (&[("[soft]", "[masking]\nemail = 1\nphone = \"yes\"\n\n[soft]")], &["5:9: masking.email: found 1, expected true or false", "6:9: masking.phone: found \"yes\", expected true or false"]),
        (&[("[soft]", "[masking]\ne_mail = true\n\n[soft]")], &["5:1: masking: found the key e_mail, expected one of email, phone; did you mean email?"]),
        (&[("[soft]", "[[masking]]\n\n[soft]")], &["4:1: masking: found a list, expected [masking]"]),
        (&[("[soft]", "[maskng]\nemail = true\n\n[soft]")], &["4:2: policy: found the key maskng, expected one of thresholds, soft, handoff, pilot, masking, languages, intent, queue, message, trigger; did you mean masking?"]),
    ]);
    let read = |text: &str| Policy::read("p.toml", text, &vocabulary()).unwrap();
    let with = read(&edited(&[("[soft]", "[masking]\nphone = true\n\n[soft]")]));
    assert_eq!((with.masking, read(GOOD).masking), (Masking { email: false, phone: true }, Masking::default()));
    assert_ne!(with.digest, read(GOOD).digest);
    assert!(document(&with).contains("telephone numbers.\nLeft as they are: e-mail addresses."), "{}", document(&with));
}

#[test]
#[rustfmt::skip]
fn messages_name_what_is_known() {
    assert_faults(&[
        (&[("\"A person takes over.\"", "\" \"")], &["52:12: message \"sorry\".reassure: found nothing, expected a text of at most 1000 bytes"]),
        (&[("\"A person takes over.\"", "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"")], &["52:12: message \"sorry\".reassure: found 1001 bytes, expected a text of at most 1000 bytes"]),
        (&[("{{ issue }}", "{{ isue }}")], &["51:30: message \"sorry\".acknowledge: found {{ isue }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent; did you mean {{ issue }}?"]),
        (&[("{{ issue }}", "{{ zzz }}")], &["51:30: message \"sorry\".acknowledge: found {{ zzz }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent"]),
        (&[("{{ issue }}", "{{ }}")], &["51:30: message \"sorry\".acknowledge: found {{  }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent"]),
        (&[("{{ issue }}", "{{ issue | upper }}")], &["51:30: message \"sorry\".acknowledge: found {{ issue | upper }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent; did you mean {{ issue }}?"]),
        (&[("{{ issue }}.", "{{ issue.")], &["51:30: message \"sorry\".acknowledge: found {{ that no }} closes"]),
        (&[("{{ issue }}", "{{{ issue }}}")], &["51:30: message \"sorry\".acknowledge: found {{ { issue }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent; did you mean {{ issue }}?"]),
        (&[("{{ issue }}", "{% if issue %}x{% endif %}")], &["51:30: message \"sorry\".acknowledge: found a statement, expected only {{ names }}"]),
        (&[("{{ issue }}", "{# issue #}")], &["51:30: message \"sorry\".acknowledge: found a statement, expected only {{ names }}"]),
        (&[("{{ issue }}", "{{ a }} and {{ b }}")], &["51:30: message \"sorry\".acknowledge: found {{ a }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent", "51:42: message \"sorry\".acknowledge: found {{ b }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent"]),
        (&[("expect_unknown_wait = \"They answer soon.\"\n", "")], &["49:1: message \"sorry\": expect names the wait, expected expect_unknown_wait for when it is not known"]),
        (&[("{{ wait }}", "{{wait}}"), ("expect_unknown_wait = \"They answer soon.\"\n", "")], &["49:1: message \"sorry\": expect names the wait, expected expect_unknown_wait for when it is not known"]),
        (&[("expect_unknown_wait = \"They answer soon.\"", "expect_unknown_wait = \"In {{ wait }}.\"")], &["54:23: message \"sorry\".expect_unknown_wait: found the wait, which is not known there"]),
        (&[("expect_unknown_wait = \"They answer soon.\"", "expect_unknown_wait = \"In {{wait}}.\"")], &["54:23: message \"sorry\".expect_unknown_wait: found the wait, which is not known there"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn intents_have_enough_examples_and_a_name_of_their_own() {
    assert_faults(&[
        (&[(", \"fifth copy\"]", "]")], &["9:12: intent \"export\".examples: found 4, expected 5 to 20"]),
        (&[("\"first copy\"", "\"copy 0\", \"copy 1\", \"copy 2\", \"copy 3\", \"copy 4\", \"copy 5\", \"copy 6\", \"copy 7\", \"copy 8\", \"copy 9\", \"copy 10\", \"copy 11\", \"copy 12\", \"copy 13\", \"copy 14\", \"copy 15\", \"copy 16\"")], &["9:12: intent \"export\".examples: found 21, expected at most 20"]),
        (&[("examples = [\"first copy\", \"second copy\", \"third copy\", \"fourth copy\", \"fifth copy\"]", "examples = []")], &["9:12: intent \"export\".examples: found 0, expected 5 to 20"]),
        (&[("\"second copy\"", "\"\"")], &["9:27: intent \"export\".examples: found \"\", expected a message"]),
        (&[("\"second copy\"", "\"?!\"")], &["9:27: intent \"export\".examples: found \"?!\", expected a message"]),
        (&[("\"second copy\"", "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"")], &["9:27: intent \"export\".examples: found a text of 1001 bytes, expected a message"]),
        (&[("id = \"export\"", "id = \"refund\"")], &["8:6: intent \"refund\".id: found \"refund\", which is an intent of the model, expected another name"]),
        (&[("\"second copy\"", "\"\""), ("\"fourth copy\"", "4")], &["9:27: intent \"export\".examples: found \"\", expected a message", "9:45: intent \"export\".examples: found 4, expected a message"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_is_not_toml_is_told_at_its_place() {
    assert_faults(&[
        (&[("category = \"anger\"", "category = \"anger")], &["16:18: is not TOML: invalid basic string, expected `\"`"]),
        (&[("category = \"anger\"", "category =")], &["16:11: is not TOML: string values must be quoted, expected literal string"]),
        (&[("category = \"anger\"", "category \"anger\"")], &["16:10: is not TOML: key with no value, expected `=`"]),
        (&[("category = \"anger\"", "category = \"anger\"\ncategory = \"other\"")], &["17:1: is not TOML: duplicate key"]),
        (&[("[soft]", "[thresholds]")], &["4:2: is not TOML: duplicate key"]),
        (&[("[soft]", "[soft")], &["4:6: is not TOML: unclosed table, expected `]`"]),
        (&[("\"A person takes over.\"", "\"A \\q person.\"")], &["52:16: is not TOML: missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\\`, `\"`, `x`, `u`, `U`"]),
        (&[("urgency = \"soft\"", "urgency = soft")], &["15:11: is not TOML: string values must be quoted, expected literal string"]),
        (&[("urgency = \"soft\"", "urgency = soft"), ("priority = 80", "priority = high")], &["15:11: is not TOML: string values must be quoted, expected literal string"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_is_well_formed_and_still_wrong_is_told() {
    assert_faults(&[
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "message.words > 5 && message.words < 3")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "message.words > 3 && message.words < 4")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "conversation.bot_repeats == 1.5 || says(\"a\") && !says(\"a\")")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "asks_for_person() == true && asks_for_person() == false")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "says(\"a\") && !says(\"a\")")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "says(\"a\") || !says(\"a\")")], &["17:8: trigger \"angry\".when: always holds, whatever the customer writes"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "true")], &["17:8: trigger \"angry\".when: always holds, whatever the customer writes"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "false")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "says(\"a\") || true")], &["17:8: trigger \"angry\".when: always holds, whatever the customer writes"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "asks_for_person() && false")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "emotion(\"anger\") > 0.5 && emotion(\"anger\") <= 0.5")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "account.tier == \"gold\" && account.tier == \"silver\"")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "account.tier == \"gold\" && account.tier != \"gold\"")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "message.words > 3 || message.words <= 3")], &["17:8: trigger \"angry\".when: always holds, whatever the customer writes"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "message.intent == \"refund\" && message.intent == \"complaint\"")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "asks_for_person() && message.words > 3")], &["17:8: trigger \"angry\".when: never decides: whenever it holds, trigger \"asks\" (line 22) holds as well and goes first"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "message.words == 2 && message.words == 3")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "emotion(\"anger\") >= 0.5 && 0.2 > emotion(\"anger\")")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "message.words > 3 && !(message.words > 2)")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "account.tier != \"gold\" || account.tier != \"silver\"")], &["17:8: trigger \"angry\".when: always holds, whatever the customer writes"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'\n", ""), ("emotion(\"anger\") >= 0.5", "message.intent != \"refund\" && message.intent == \"refund\"")], &["17:8: trigger \"angry\".when: can never hold: its comparisons contradict each other"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'", "rearm = 'message.words > 5 && message.words < 3'")], &["18:9: trigger \"angry\".rearm: can never hold, so the trigger fires once and never again; leave it out or mend it"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'", "rearm = 'false'")], &["18:9: trigger \"angry\".rearm: can never hold, so the trigger fires once and never again; leave it out or mend it"]),
        (&[("rearm = 'emotion(\"anger\") < 0.2'", "rearm = 'emotion(\"angr\") < 0.2'")], &["18:18: trigger \"angry\".rearm: found \"angr\", expected one of anger, joy; did you mean \"anger\"?"]),
        (&[("[[queue]]\nid = \"general\"", "[[trigger]]\nid = \"late\"\nkind = \"reactive\"\nbasis = \"intent\"\nurgency = \"immediate\"\ncategory = \"x\"\npriority = 10\nwhen = 'asks_for_person()'\nqueue = \"vip\"\nmessage = \"sorry\"\n\n[[queue]]\nid = \"general\"")], &["41:8: trigger \"late\".when: never decides: whenever it holds, trigger \"asks\" (line 23) holds as well and goes first"]),
        (&[("[[queue]]\nid = \"general\"", "[[trigger]]\nid = \"late\"\nkind = \"reactive\"\nbasis = \"intent\"\nurgency = \"immediate\"\ncategory = \"x\"\npriority = 10\nwhen = 'asks_for_person() && says(\"now\")'\nqueue = \"vip\"\nmessage = \"sorry\"\n\n[[queue]]\nid = \"general\"")], &["41:8: trigger \"late\".when: never decides: whenever it holds, trigger \"asks\" (line 23) holds as well and goes first"]),
        (&[("[[queue]]\nid = \"general\"", "[[trigger]]\nid = \"late\"\nkind = \"reactive\"\nbasis = \"intent\"\nurgency = \"soft\"\ncategory = \"x\"\npriority = 100\nwhen = 'asks_for_person() && says(\"now\")'\nqueue = \"vip\"\nmessage = \"sorry\"\n\n[[queue]]\nid = \"general\"")], &["41:8: trigger \"late\".when: never decides: whenever it holds, trigger \"asks\" (line 23) holds as well and goes first"]),
        (&[("[[queue]]\nid = \"general\"", "[[trigger]]\nid = \"late\"\nkind = \"reactive\"\nbasis = \"intent\"\nurgency = \"soft\"\ncategory = \"x\"\npriority = 100\nwhen = 'message.words > 20'\nqueue = \"vip\"\nmessage = \"sorry\"\n\n[[queue]]\nid = \"general\""), ("when = 'asks_for_person()'", "when = 'message.words >= 20'")], &["41:8: trigger \"late\".when: never decides: whenever it holds, trigger \"asks\" (line 23) holds as well and goes first"]),
        (&[("[[queue]]\nid = \"general\"", "[[trigger]]\nid = \"late\"\nkind = \"reactive\"\nbasis = \"intent\"\nurgency = \"soft\"\ncategory = \"x\"\npriority = 100\nwhen = 'says(\"b\")'\nqueue = \"vip\"\nmessage = \"sorry\"\n\n[[queue]]\nid = \"general\""), ("when = 'asks_for_person()'", "when = 'says(\"a\", \"b\")'")], &["41:8: trigger \"late\".when: never decides: whenever it holds, trigger \"asks\" (line 23) holds as well and goes first"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_fault_stands_at_its_character() {
    assert_faults(&[
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = '''\nemotion(\"anger\") >= 0.5\n  && emotion(\"angr\") > 0.1\n'''")], &["19:14: trigger \"angry\".when: found \"angr\", expected one of anger, joy; did you mean \"anger\"?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = '''emotion(\"angr\") > 0.1'''")], &["17:19: trigger \"angry\".when: found \"angr\", expected one of anger, joy; did you mean \"anger\"?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = \"\"\"\nemotion('anger') >= 0.5\n  && emotion('angr') > 0.1\n\"\"\"")], &["19:14: trigger \"angry\".when: found \"angr\", expected one of anger, joy; did you mean \"anger\"?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = \"\"\"\\\n   emotion('anger') >= 0.5 \\\n  && emotion('angr') > 0.1\"\"\"")], &["19:14: trigger \"angry\".when: found \"angr\", expected one of anger, joy; did you mean \"anger\"?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = \"\"\"emotion(\\\"anger\\\") >= 0.5 && emotion(\\\"angr\\\") > 0.1\"\"\"")], &["17:48: trigger \"angry\".when: found \"angr\", expected one of anger, joy; did you mean \"anger\"?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = \"emotion(\\\"anger\\\") >= 0.5 && emotion(\\\"angr\\\") > 0.1\"")], &["17:46: trigger \"angry\".when: found \"angr\", expected one of anger, joy; did you mean \"anger\"?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = \"says(\\\"\\u00e4\\u00e4\\\") && emotoin(\\\"anger\\\") > 0.5\"")], &["17:35: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = \"says(\\\"\\U0001F600 a\\\") && emotoin(\\\"anger\\\") > 0.5\"")], &["17:35: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = \"says(\\\"a\\\") \\n\\t&& emotoin(\\\"anger\\\") > 0.5\"")], &["17:28: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = 'says(\"zurück\", \"größer\") && emotoin(\"anger\") > 0.5'")], &["17:37: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = 'says(\"👍 ok\") && emotoin(\"anger\") > 0.5'")], &["17:25: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = 'says(\"e\u{301}a\") && emotoin(\"anger\") > 0.5'")], &["17:24: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = 'says(\"日本語\") and says(\"b\")'")], &["17:21: trigger \"angry\".when: found \"and\", expected an operator or the end; did you mean &&?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = 'says(\"a\\\"b\") && emotoin(\"anger\") > 0.5'")], &["17:25: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = \"says('a') && emotoin('anger') > 0.5\"")], &["17:22: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("owner = \"lead@example.com\"\nskills = []", "owner = \"lead@example.com\"\nname = \"größe\"\nskills = []"), ("hours = { zone = \"Europe/Berlin\"", "hours = { zone = \"Europe/Köln\"")], &["41:18: queue \"general\".hours.zone: found \"Europe/Köln\", expected a time zone such as \"Europe/Berlin\""]),
        (&[("acknowledge = \"This is about {{ issue }}.\"", "acknowledge = \"\"\"\nÄrger über {{ issue }}\nund {{ isue }}.\"\"\"")], &["53:5: message \"sorry\".acknowledge: found {{ isue }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent; did you mean {{ issue }}?"]),
        (&[("acknowledge = \"This is about {{ issue }}.\"", "acknowledge = \"Größe 👍 \\\"{{ issue }}\\\" {{ isue }}.\"")], &["51:40: message \"sorry\".acknowledge: found {{ isue }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent; did you mean {{ issue }}?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when =\t'\tsays(\"a\")\t&& emotoin(\"anger\") > 0.5'")], &["17:23: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("attempts = 2", "attempts = 20 # größer")], &["5:12: soft.attempts: found 20, expected a whole number from 0 to 10"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = '''\nsays(\"ä\")\n  and says(\"b\")\n'''")], &["19:3: trigger \"angry\".when: found \"and\", expected an operator or the end; did you mean &&?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = '''\nsays(\"ä\",\n  says(\"b\"\n'''")], &["20:1: trigger \"angry\".when: the condition ends here, expected more of it"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = 'conversation.valence_mean(  - 3) < 0.0'")], &["17:37: trigger \"angry\".when: found - 3, expected a whole number from 1 to 32: conversation.valence_mean(messages)"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = 'says (3) || emotoin (3) > 1'")], &["17:15: trigger \"angry\".when: found 3, expected a phrase in quotes", "17:21: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = 'says(\"a\") || message . valenc > 0.5'")], &["17:22: trigger \"angry\".when: message.valenc is not a name of conditions (baton policy --names lists them); did you mean message.valence?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = '(emotoin(\"anger\")) > 0.5'")], &["17:10: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
        (&[("when = 'emotion(\"anger\") >= 0.5'", "when = '''\nsays(\"a\") // why\n || emotoin(\"anger\") > 0.5'''")], &["19:5: trigger \"angry\".when: emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"]),
    ]);
}

#[test]
fn a_policy_has_a_trigger() {
    let cases: [(&str, &[&str]); 5] = [
        ("", &["1:1: found no [[trigger]], expected at least one"]),
        ("# nothing\n", &["1:1: found no [[trigger]], expected at least one"]),
        ("trigger = []\n", &["1:1: found no [[trigger]], expected at least one"]),
        ("trigger = [\"x\"]\n", &["1:1: found no [[trigger]], expected at least one", "1:12: trigger: found \"x\", expected [[trigger]]"]),
        (
            "[trigger]\nid = \"x\"\n",
            &["1:1: found no [[trigger]], expected at least one", "1:1: trigger: found a table, expected [[trigger]]"],
        ),
    ];
    each_case(cases.map(|case| (case.0, case)), |(text, expected)| assert_eq!(faults(text), expected));
    let without = &GOOD[..GOOD.find("[[trigger]]").unwrap()];
    assert_eq!(faults(without), ["1:1: found no [[trigger]], expected at least one"]);
    let marked = format!("\u{feff}{}", edited(&[("accepts = 0.6", "accepts = 2")]));
    assert_eq!(faults(&marked), ["2:11: thresholds.accepts: found 2, expected a number from 0 to 1"]);
}

#[test]
#[rustfmt::skip]
fn every_slip_of_a_condition_is_told_with_its_column() {
    type Case = (&'static str, &'static [(usize, &'static str)]);
    let cases: &[Case] = &[
        ("", &[(9, "found nothing, expected a condition")]),
        (" ", &[(9, "found nothing, expected a condition")]),
        ("emotoin(\"anger\") > 0.5", &[(9, "emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?")]),
        ("anger", &[(9, "anger is not a name of conditions (baton policy --names lists them)")]),
        ("x && y", &[(9, "x is not a name of conditions (baton policy --names lists them)"), (14, "y is not a name of conditions (baton policy --names lists them)")]),
        ("emotion(\"angr\") > 0.5", &[(17, "found \"angr\", expected one of anger, joy; did you mean \"anger\"?")]),
        ("intent(\"refnd\") > 0.5", &[(16, "found \"refnd\", expected an intent of the model or of this policy; did you mean \"refund\"?")]),
        ("intent(\"billing\") > 0.5", &[(16, "found \"billing\", expected an intent of the model or of this policy")]),
        ("act(\"accept\") > 0.5", &[(13, "found \"accept\", expected one of accepts, rejects, other; did you mean \"accepts\"?")]),
        ("mentions(\"legl\")", &[(18, "found \"legl\", expected one of legal, privacy, security; did you mean \"legal\"?")]),
        ("message.intent == \"refnd\"", &[(27, "found \"refnd\", expected an intent of the model or of this policy; did you mean \"refund\"?")]),
        ("message.intnt == \"refund\"", &[(9, "message.intnt is not a name of conditions (baton policy --names lists them); did you mean message.intent?")]),
        ("message > 1", &[(9, "message is not a name of conditions (baton policy --names lists them); did you mean message.words?")]),
        ("conversation.valence_mean < 0.0", &[(9, "conversation.valence_mean is a function, expected conversation.valence_mean(messages)")]),
        ("message.valence() < 0.0", &[(9, "message.valence is not a function, expected it without brackets")]),
        ("emotion() > 0.5", &[(9, "found 0 arguments, expected emotion(\"label\")")]),
        ("emotion(\"anger\", \"joy\") > 0.5", &[(9, "found 2 arguments, expected emotion(\"label\")")]),
        ("emotion(anger) > 0.5", &[(17, "found anger without quotes: emotion(\"label\"); did you mean \"anger\"?")]),
        ("emotion(3) > 0.5", &[(17, "found 3, expected a label in quotes: emotion(\"label\")")]),
        ("emotion(message.intent) > 0.5", &[(17, "found message.intent, expected a label in quotes: emotion(\"label\")")]),
        ("conversation.valence_mean(\"3\") < 0.0", &[(35, "found \"3\", expected a number of messages: conversation.valence_mean(messages)")]),
        ("conversation.valence_mean(0) < 0.0", &[(35, "found 0, expected a whole number from 1 to 32: conversation.valence_mean(messages)")]),
        ("conversation.valence_mean(33) < 0.0", &[(35, "found 33, expected a whole number from 1 to 32: conversation.valence_mean(messages)")]),
        ("conversation.valence_mean(2.5) < 0.0", &[(35, "found 2.5, expected a whole number from 1 to 32: conversation.valence_mean(messages)")]),
        ("conversation.valence_mean(-1) < 0.0", &[(35, "found -1, expected a whole number from 1 to 32: conversation.valence_mean(messages)")]),
        ("conversation.valence_slope(1) < 0.0", &[(36, "found 1, expected a whole number from 2 to 32: conversation.valence_slope(messages)")]),
        ("conversation.negative_streak(2.0) > 1", &[(38, "found 2.0, expected a number from -1 to 1: conversation.negative_streak(level)")]),
        ("conversation.emotion_streak(\"anger\", 1.5) > 1", &[(46, "found 1.5, expected a number from -1 to 1: conversation.emotion_streak(\"label\", level)")]),
        ("conversation.emotion_streak(0.5, \"anger\") > 1", &[(37, "found 0.5, expected a label in quotes: conversation.emotion_streak(\"label\", level)"), (42, "found \"anger\", expected a number from -1 to 1: conversation.emotion_streak(\"label\", level)")]),
        ("contacts.count(30) > 2", &[(24, "found 30, expected days(n), hours(n) or minutes(n): contacts.count(days(n))")]),
        ("contacts.count(days(0)) > 2", &[(24, "found days(0), expected days(n) with n from 1 to 400")]),
        ("contacts.count(days(401)) > 2", &[(24, "found days(401), expected days(n) with n from 1 to 400")]),
        ("contacts.count(days(1.5)) > 2", &[(24, "found days(1.5), expected days(n) with n from 1 to 400")]),
        ("contacts.count(days(\"7\")) > 2", &[(24, "found days(\"7\"), expected days(n) with n from 1 to 400")]),
        ("contacts.count(days()) > 2", &[(24, "found days(), expected days(n) with n from 1 to 400")]),
        ("contacts.count(weeks(1)) > 2", &[(24, "found weeks(1), expected days(n), hours(n) or minutes(n): contacts.count(days(n))")]),
        ("days(3) > 2", &[(9, "found a span of time, expected it inside a function, such as contacts.count(days(30))")]),
        ("events.count(\"page view\", \"*\", days(1)) > 1", &[(22, "found \"page view\", expected a word in quotes, without blanks, of at most 128 bytes: events.count(\"word\", \"pattern\", days(n))")]),
        ("events.count(\"page_view\", \"\", days(1)) > 1", &[(35, "found \"\", expected a pattern in quotes of 1 to 512 bytes: events.count(\"word\", \"pattern\", days(n))")]),
        ("events.count(\"page_view\", days(1)) > 1", &[(9, "found 2 arguments, expected events.count(\"word\", \"pattern\", days(n))")]),
        ("says(3)", &[(14, "found 3, expected a phrase in quotes")]),
        ("says()", &[(9, "found 0 phrases, expected 1 to 32")]),
        ("says(\"a\", \"?\")", &[(19, "\"?\" has no word to look for, expected 1 to 12 words")]),
        ("says(\"one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen\")", &[(14, "the phrase has 17 words, expected 1 to 12")]),
        ("fact_text(\"a b\") == \"x\"", &[(19, "found \"a b\", expected a word in quotes, without blanks, of at most 128 bytes: fact_text(\"word\")")]),
        ("fact_number(tier) > 1", &[(21, "found tier without quotes: fact_number(\"word\"); did you mean \"tier\"?")]),
        ("emotion(\"anger\")", &[(9, "found a number by itself, expected a comparison, such as emotion(\"anger\") >= 0.5")]),
        ("account.tier == 3", &[(9, "a text is compared with a number: account.tier == 3")]),
        ("account.tier > \"gold\"", &[(9, "found > between a text and a text, expected == or !=")]),
        ("message.intent > \"refund\"", &[(9, "found > between a label and a text, expected == or !=")]),
        ("message.valence == 0.5", &[(9, "found == on a fraction, which hardly ever equals a number, expected >=, >, <= or <")]),
        ("message.valence != 0.5", &[(9, "found != on a fraction, which hardly ever equals a number, expected >=, >, <= or <")]),
        ("asks_for_person() == 1", &[(9, "yes or no is compared with a number: asks_for_person() == 1")]),
        ("asks_for_person() > true", &[(9, "found > between yes or no and yes or no, expected == or !=")]),
        ("1 < 2", &[(9, "1 < 2 is the same for every message")]),
        ("\"a\" == \"a\"", &[(9, "\"a\" == \"a\" is the same for every message")]),
        ("true == true", &[(9, "true == true is the same for every message")]),
        ("[1, 2].exists(x, x > 1)", &[(22, "conditions have no macros")]),
        ("message.intent in [\"refund\"]", &[(9, "conditions have no lists; write it out with ||")]),
        ("[\"refund\"]", &[(9, "conditions have no lists; write it out with ||")]),
        ("{\"a\": 1} == 1", &[(9, "conditions have no maps")]),
        ("{}", &[(9, "conditions have no maps")]),
        ("emotion(\"anger\") > 0.5 ? true : false", &[(9, "conditions have no choices with ? :")]),
        ("size(\"abc\") > 2", &[(9, "size is not a name of conditions (baton policy --names lists them)")]),
        ("\"abc\".size() > 2", &[(9, "\"abc\".size() is not a name of conditions (baton policy --names lists them)")]),
        ("message.words % 2 == 0", &[(9, "conditions have no remainders")]),
        ("account.tier + \"x\" == \"goldx\"", &[(9, "found a text, expected a number"), (24, "found a text, expected a number")]),
        ("account.tier + 1 > 2", &[(9, "found a text, expected a number")]),
        ("-account.tier > 1", &[(10, "found a text, expected a number")]),
        ("-(asks_for_person()) > 1", &[(11, "found yes or no, expected a number")]),
        ("(message.words > 3) > 1", &[(10, "found a condition inside a value: message.words > 3")]),
        ("message.words > (message.words > 3)", &[(26, "found a condition inside a value: message.words > 3")]),
        ("asks_for_person() + 1 > 2", &[(9, "found yes or no, expected a number")]),
        ("b\"x\" == \"x\"", &[(9, "conditions have no bytes")]),
        ("null == 1", &[(9, "conditions have no null")]),
        ("account.value > 1e999", &[(25, "found \"1e999\", expected a condition such as emotion(\"anger\") >= 0.7")]),
        ("account.tier.size() > 3", &[(9, "account.tier.size() is not a name of conditions (baton policy --names lists them); did you mean account.tier?")]),
        ("message.valence.x > 3", &[(9, "message.valence.x is not a name of conditions (baton policy --names lists them); did you mean message.valence?")]),
        ("a.b.c", &[(9, "a.b.c is not a name of conditions (baton policy --names lists them)")]),
        ("emotion(\"anger\") = 0.5", &[(26, "found '=', expected a comparison; did you mean ==?")]),
        ("says(\"a\") and says(\"b\")", &[(19, "found \"and\", expected an operator or the end; did you mean &&?")]),
        ("says(\"a\") or says(\"b\")", &[(19, "found \"or\", expected an operator or the end; did you mean ||?")]),
        ("says(\"a\") AND says(\"b\")", &[(19, "found \"AND\", expected an operator or the end; did you mean &&?")]),
        ("says(\"a\") && || says(\"b\")", &[(22, "found \"||\", expected a condition such as emotion(\"anger\") >= 0.7")]),
        ("says(\"a)", &[(14, "this text has no closing quote")]),
        ("says(\"a\"", &[(17, "the condition ends here, expected more of it")]),
        ("(says(\"a\")", &[(19, "the condition ends here, expected more of it")]),
        ("says(\"a\"))", &[(18, "found \")\", expected a condition such as emotion(\"anger\") >= 0.7")]),
        ("emotion(\"anger\") >=", &[(28, "the condition ends here, expected more of it")]),
        ("emotion(\"anger\") >= 0,5", &[(30, "found \",5\", expected a condition such as emotion(\"anger\") >= 0.7")]),
        ("emotion(\"anger\") >= .5.5", &[(31, "found \".5\", expected a condition such as emotion(\"anger\") >= 0.7")]),
        ("says(\"a\") # b", &[(19, "found \"#\", expected a condition such as emotion(\"anger\") >= 0.7")]),
        ("says(\"a\"); ", &[(18, "found \";\", expected a condition such as emotion(\"anger\") >= 0.7")]),
        ("emotion(\"anger\") > 1.5", &[(9, "anger > 1.5 is never true: anger lies between 0 and 1")]),
        ("emotion(\"anger\") >= 0.0", &[(9, "anger >= 0 is always true: anger lies between 0 and 1")]),
        ("emotion(\"anger\") < 0.0", &[(9, "anger < 0 is never true: anger lies between 0 and 1")]),
        ("emotion(\"anger\") <= 1.0", &[(9, "anger <= 1 is always true: anger lies between 0 and 1")]),
        ("emotion(\"joy\") >= 0.7", &[(9, "joy >= 0.7 is never true: joy lies between 0 and 0.6")]),
        ("intent(\"distress\") > 0.9", &[(9, "p(distress) > 0.9 is never true: p(distress) lies between 0 and 0.9")]),
        ("act(\"rejects\") >= 0.81", &[(9, "p(rejects) >= 0.81 is never true: p(rejects) lies between 0 and 0.8")]),
        ("conversation.emotion_mean(\"joy\", 3) > 0.6", &[(9, "mean joy of 3 messages > 0.6 is never true: mean joy of 3 messages lies between 0 and 0.6")]),
        ("conversation.emotion_mean(\"joy\", 3) > 0.61", &[(9, "mean joy of 3 messages > 0.61 is never true: mean joy of 3 messages lies between 0 and 0.6")]),
        ("message.valence < -1.0", &[(9, "valence < -1 is never true: valence lies between -1 and 1")]),
        ("message.words < 0", &[(9, "words < 0 is never true: words is at least 0")]),
        ("message.words >= 0", &[(9, "words >= 0 is always true: words is at least 0")]),
        ("message.words == -1", &[(9, "words == -1 is never true: words is at least 0")]),
        ("conversation.minutes < 0", &[(9, "minutes since the first message < 0 is never true: minutes since the first message is at least 0")]),
        ("0.7 < emotion(\"joy\")", &[(9, "joy > 0.7 is never true: joy lies between 0 and 0.6")]),
        ("emotion(\"anger\") >= 0.5 && emotoin(\"joy\") > 0.1 || says(4)", &[(36, "emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"), (65, "found 4, expected a phrase in quotes")]),
        ("asks_for_person", &[(9, "asks_for_person is a function, expected asks_for_person()")]),
        ("asks_for_person(1)", &[(9, "found 1 arguments, expected asks_for_person()")]),
        ("baton.x", &[(9, "baton.x is not a name of conditions (baton policy --names lists them)")]),
        ("emotion(\"anger\") >= 50%", &[(32, "the condition ends here, expected more of it")]),
        ("emotion(\"anger\") >= 50", &[(9, "anger >= 50 is never true: anger lies between 0 and 1")]),
        ("message.words >= 3 == true", &[(9, "found a condition inside a value: message.words >= 3")]),
        ("says(\"a\") == says(3)", &[(27, "found 3, expected a phrase in quotes")]),
    ];
    each_case(cases.iter().map(|case| (case.0, case)), |(condition, expected)| {
        let expected: Vec<String> = expected.iter().map(|(column, what)| format!("{WHEN_LINE}:{column}: {WHEN}{what}")).collect();
        assert_eq!(faults(&with_condition(condition)), expected);
    });
}

/// What operators bring from other languages.
#[test]
fn slips_of_other_languages_are_explained() {
    let cases = [
        ("not says(\"a\")", "did you mean !?"),
        ("says(\"a\") & says(\"b\")", "did you mean &&?"),
        ("says(\"a\") | says(\"b\")", "did you mean ||?"),
        ("message.words <> 3", "did you mean !=?"),
        ("message.words => 3", "did you mean >=?"),
        ("emotion(anger) > 0.5", "did you mean \"anger\"?"),
        ("contacts.count(weeks(1)) > 2", "days(n)"),
    ];
    each_case(cases.map(|case| (case.0, case)), |(condition, expected)| {
        let faults = faults(&with_condition(condition));
        assert!(faults.len() == 1 && faults[0].contains(expected), "{faults:?}");
    });
}

#[test]
fn what_a_fault_proposes_is_a_condition() {
    each_case(["emotion(\"joy\")", "message.words", "message.intent", "account.tier"].map(|value| (value, value)), |value| {
        let faults = faults(&with_condition(value));
        let proposed = faults[0].split("such as ").nth(1).expect("a proposal");
        assert_eq!(self::faults(&edited(&[(CONDITION, proposed)])), NONE, "proposed: {proposed}");
    });
}

#[test]
fn one_slip_is_told_once() {
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[("id = \"vip\"", "id = \"v.i.p\""), ("queue = \"vip\"", "queue = \"v.i.p\"")], "43:6: "),
        (
            &[
                ("id = \"sorry\"", "id = \"so sorry\""),
                ("message = \"sorry\"", "message = \"so sorry\""),
                ("message = \"sorry\"", "message = \"so sorry\""),
            ],
            "50:6: ",
        ),
        (&[("skills = [\"crisis\"]", "skills = [\"crisis\"")], "4"),
    ];
    each_case(cases.iter().map(|case| (case.0[0].1, case)), |(edits, place)| {
        let faults = faults(&edited(edits));
        assert!(faults.len() == 1 && faults[0].starts_with(place), "{faults:#?}");
    });
}

/// What looks odd and is good.
#[test]
fn a_policy_without_a_fault_has_none() {
    let id = format!("id = \"{}\"", "a".repeat(64));
    let brackets = format!("{}says(\"a\"){}", "(".repeat(23), ")".repeat(23));
    let cases: [(&str, &str); 35] = [
        ("id = \"angry\"", &id),
        ("{{ issue }}", "{issue} {{name_suffix}} {{   account }}"),
        ("rearm = 'emotion(\"anger\") < 0.2'\n", ""),
        ("rearm = 'emotion(\"anger\") < 0.2'", "rearm = 'true'"),
        ("hold_turns = 2\n", "hold_turns = 16\ncooldown_turns = 1_000\n"),
        ("accepts = 0.6", "accepts = 1\nrejects = 0.0\nsame_issue = 1e-1"),
        ("attempts = 2", "attempts = 0x0A\ntimeout_secs = 86_400\nnegative = -1"),
        ("[thresholds]\naccepts = 0.6\n\n[soft]\nattempts = 2", "soft.attempts = 2\nthresholds.accepts = 0.6"),
        ("[soft]\nattempts = 2", ""),
        ("\"08:00-20:00\"", "\"00:00-24:00\""),
        ("\"08:00-20:00\"", "\"12:00-18:00,08:00 - 12:00\""),
        ("mon_fri = \"08:00-20:00\"", "daily = \"08:00-12:00\", sat = \"12:00-13:00\""),
        ("\"2026-12-25\"", "2026-12-25, \"2028-02-29\""),
        ("hours = {", "hours = {\n  # when they work\n "),
        ("owner = \"lead@example.com\"", "name = \"Größe | 👍\"\nowner = \"Ärzte & Söhne <lead@example.com>\""),
        (CONDITION, "0.5 <= emotion(\"anger\") // why"),
        (CONDITION, &brackets),
        (CONDITION, "message.words > 3 && message.words < 5"),
        (CONDITION, "message.words == 3 || message.words != 5"),
        (CONDITION, "account.tier == \"gold\" || account.tier == \"silver\""),
        (CONDITION, "account.tier != \"gold\" && account.tier != \"silver\""),
        (CONDITION, "emotion(\"joy\") >= 0.6"),
        (CONDITION, "emotion(\"joy\") < 0.6"),
        (CONDITION, "says(\"a\", \"b\") && !says(\"a\")"),
        (CONDITION, "says(\"a\") && !says(\"a\", \"b\") || says(\"c\")"),
        (CONDITION, "!asks_for_person()"),
        (CONDITION, "asks_for_person() || says(\"a\")"),
        (CONDITION, "message.intent != \"refund\" && message.intent != \"complaint\""),
        (CONDITION, "intent(\"export\") >= 0.99 && fact_flag(\"beta\")"),
        (CONDITION, "-message.valence > 0.3 && message.valence - emotion(\"joy\") * 2.0 / 3.0 < 0.1"),
        (CONDITION, "account.value > 1e5 && account.days < 30u || account.value < -3"),
        (CONDITION, "events.count(\"page_view\", \"/pricing*\", hours(9600)) >= 3"),
        (CONDITION, "says(\"größer als\", \"日本語\")"),
        ("priority = 80", "priority = 0"),
        ("skills = []", "skills = []\nname = \"s\""),
    ];
    each_case(cases.map(|case| (case.1, case)), |case| assert_eq!(faults(&edited(&[case])), NONE));
}

#[test]
fn lines_may_end_as_windows_ends_them() {
    let values = [
        "'''\nsays(\"größer\")\n  && emotion(\"angr\") > 0.1\n'''",
        "\"\"\"\nemotion('anger') >= 0.5\n  && emotion('angr') > 0.1\n\"\"\"",
        "\"\"\"says('a') \\\n   && emotion('angr') > 0.1\"\"\"",
        "'emotion(\"angr\") > 0.1'",
        "'''\nsays(\"a\")\n\n  and says(\"b\")'''",
    ];
    each_case(values.map(|value| (value, value)), |value| {
        let text = with_value(value);
        let told = faults(&text);
        assert_eq!(told.len(), 1);
        assert_eq!(faults(&text.replace('\n', "\r\n")), told);
    });
}

#[test]
fn a_fault_does_not_steer_the_terminal() {
    let sign = "\\u001b[31m\\n";
    let edits = [
        ("accepts = 0.6", format!("\"{sign}\" = 1")),
        ("\"angry\"", format!("\"{sign}\"")),
        ("skills = []", format!("skills = [\"{sign}\"]")),
    ];
    each_case(edits.iter().map(|(from, to)| (*from, (*from, to.as_str()))), |edit| {
        let told = faults(&edited(&[edit])).concat();
        assert!(told.contains("[31m") && !told.contains(char::is_control), "{told:?}");
    });
}

#[test]
fn all_faults_come_at_once_in_the_order_of_the_file() {
    let text = edited(&[
        ("accepts = 0.6", "accepts = 2"),
        ("\"second copy\"", "\"\""),
        (CONDITION, "emotion(\"angr\") > 0.5 && wrods > 3"),
        ("emotion(\"anger\") < 0.2", "emotion(\"anger\") = 0.2"),
        ("queue = \"general\"", "queue = \"genral\""),
        ("urgency = \"immediate\"", "urgency = \"now\""),
        ("Europe/Berlin", "Berlin"),
        ("{{ issue }}", "{{ isue }}"),
    ]);
    assert_eq!(
        faults(&text),
        [
            "2:11: thresholds.accepts: found 2, expected a number from 0 to 1",
            "9:27: intent \"export\".examples: found \"\", expected a message",
            "17:17: trigger \"angry\".when: found \"angr\", expected one of anger, joy; did you mean \"anger\"?",
            "17:34: trigger \"angry\".when: wrods is not a name of conditions (baton policy --names lists them)",
            "18:27: trigger \"angry\".rearm: found '=', expected a comparison; did you mean ==?",
            "20:9: trigger \"angry\".queue: found \"genral\", expected the id of a [[queue]]; did you mean \"general\"?",
            "27:11: trigger \"asks\".urgency: found \"now\", expected one of immediate, soft",
            "40:18: queue \"general\".hours.zone: found \"Berlin\", expected a time zone such as \"Europe/Berlin\"",
            "51:30: message \"sorry\".acknowledge: found {{ isue }}, expected one of issue, name, name_suffix, account, queue_name, wait, agent; did you mean {{ issue }}?",
        ]
    );
    let many = format!("{GOOD}{}", (0..150).map(|at| trigger(&format!("t{at}"), "wrong")).collect::<String>());
    assert_eq!(faults(&many).len(), 100, "no more than a hundred faults are told");
}

#[test]
fn a_model_without_labels_or_calibration_is_named() {
    let poor = Vocabulary { emotions: Vec::new(), examples: false, ..vocabulary() };
    let told: Vec<String> = Policy::read("p.toml", GOOD, &poor).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "p.toml:7:1: intent \"export\": the model has no calibration for intents by example",
            "p.toml:17:17: trigger \"angry\".when: found \"anger\", but the model has no such labels at all",
            "p.toml:18:18: trigger \"angry\".rearm: found \"anger\", but the model has no such labels at all",
        ]
    );
}

// ---------------------------------------------------------------- bounds

#[test]
fn a_policy_that_is_too_large_is_refused_whole() {
    let large = format!("{GOOD}# {}", "x".repeat(2 << 20));
    let expected = format!("1:1: found {} bytes, expected a policy of at most 1048576", large.len());
    assert_eq!(faults(&large), [expected]);
    let place = Place::new();
    place.write("large.toml", &large);
    for command in ["policy", "check"] {
        place.baton(&[command, "--model", TINY, "--policy", "large.toml"]).assert_code(2, &["large.toml", "expected at most 1048576"]);
    }
}

#[test]
fn a_policy_has_a_bounded_number_of_triggers() {
    let many = |count: usize| (0..count).map(|at| trigger(&format!("t{at}"), &format!("says(\"p{at}\")"))).collect::<String>();
    assert_eq!(faults(&format!("{GOOD}{}", many(254))), NONE);
    let text = format!("{GOOD}{}", many(298));
    let at = text.match_indices("[[trigger]]").nth(256).unwrap().0;
    assert_eq!(faults(&text), [format!("{}:1: trigger: found 300 of them, expected at most 256", text[..at].matches('\n').count() + 1)]);
}

#[test]
fn a_policy_reads_a_bounded_number_of_values() {
    let condition = |at: usize| (0..40).map(|term| format!("says(\"p{at} q{term}\")")).collect::<Vec<_>>().join(" || ");
    let text = format!("{GOOD}{}", (0..250).map(|at| trigger(&format!("t{at}"), &condition(at))).collect::<String>());
    let faults = faults(&text);
    assert_eq!(faults.len(), 100, "no more than a hundred faults are told");
    assert!(faults.iter().all(|fault| fault.ends_with("the policy reads more than 1024 different values")), "{faults:?}");
}

#[test]
fn conditions_that_would_cost_too_much_are_refused() {
    let long = format!("says(\"a\"){}", " || says(\"a\")".repeat(300));
    let too_long = format!("found {} bytes, expected a condition of at most 2048", long.len());
    let open = "(".repeat(1500);
    let closed = format!("{}says(\"a\"){}", "(".repeat(500), ")".repeat(500));
    let cases = [
        (long.as_str(), 1, too_long.as_str()),
        (open.as_str(), 25, "brackets are nested more than 24 deep"),
        (closed.as_str(), 25, "brackets are nested more than 24 deep"),
    ];
    each_case(cases.map(|(condition, column, what)| (what, (condition, column, what))), |(condition, column, what)| {
        assert_eq!(faults(&with_condition(condition)), [format!("{WHEN_LINE}:{}: {WHEN}{what}", WHEN_COLUMN + column - 1)]);
    });
    // Whatever these are, each is answered on a small stack.
    let hostile = [
        "!".repeat(1500) + "says(\"a\")",
        "-".repeat(1500) + "1 < 2",
        "[".repeat(2000),
        "{".repeat(2000),
        "says(".repeat(400),
        format!("{}b > 1", "a.".repeat(900)),
        format!("message.words{} > 900", "+1".repeat(900)),
        format!("message.words > {}1", "1*".repeat(900)),
        format!("says(\"a\"){}", "||says(\"a\")".repeat(180)),
        format!("says(\"a\"){}", "&&!says(\"a\")".repeat(160)),
        format!("message.words > 1{}", "==true".repeat(300)),
        format!("message.words > 1{}", "?1:2".repeat(400)),
        format!("{}says(\"a\")", "!!(".repeat(8)) + &")".repeat(8),
    ];
    for condition in &hostile {
        assert!(condition.len() <= 2048, "the parser must be reached");
        let text = with_condition(condition);
        let answer = std::thread::Builder::new().stack_size(1 << 20).spawn(move || faults(&text).len());
        answer.unwrap().join().expect("an answer");
    }
}

/// Each pair of triggers is compared by the linter, alternative by alternative: dearest where many values are read, and where a condition nearly says what
/// one before it says. On Linux the program has 120 seconds of processor time.
#[test]
fn many_triggers_with_many_alternatives_are_read_in_bounded_time() {
    let all = |count: usize, sign: &str, part: &dyn Fn(usize) -> String| (0..count).map(part).collect::<Vec<String>>().join(sign);
    let phrases = |id: &str, count: usize, sign: &str| all(count, sign, &|at| format!("says(\"{id} {at}\")"));
    let one = |pair: usize, least: usize| {
        let days = 1 + 2 * pair;
        format!("(contacts.count(days({days})) > {least} || contacts.count(days({})) > {least})", days + 1)
    };
    let many: String = (0..7).map(|at| trigger(&format!("many{at}"), &phrases(&format!("f{at}"), 30, " || "))).collect();
    let near = |at: usize| format!("{} || {}", all(7, " && ", &|pair| one(pair, at + 1)), phrases(&format!("o{at}"), 3, " && "));
    let near: String = (0..240).map(|at| trigger(&format!("near{at}"), &near(at))).collect();
    let immediate = format!("{many}{near}").replace("urgency = \"soft\"", "urgency = \"immediate\"");
    let place = Place::new();
    place.write("p.toml", format!("{SERVED}{immediate}"));
    let run = place.baton(&["policy", "--model", TINY, "--policy", "p.toml"]);
    assert!(run.success().contains("### near239"), "{}", run.stdout);
}

#[test]
fn large_facts_are_refused_or_taken() {
    let facts = |facts: Value| json!({"type": "facts", "at": "2026-11-22T09:30:00Z", "facts": facts}).to_string();
    let many: Map<String, Value> = (0..100_000).map(|at| (format!("fact-{at}"), Value::from("x".repeat(80)))).collect();
    let most: Map<String, Value> = (0..64).map(|at| (format!("fact-{at}"), Value::from("x".repeat(1000)))).collect();
    let deep = format!("{}{}", "[".repeat(5 << 20), "]".repeat(5 << 20));
    let planted = format!("{PLANTED} ").repeat(800_000);
    let cases = [
        ("one fact of ten megabytes", facts(json!({"note": planted})), "line 2: note: found 10400000 bytes, expected at most 1024"),
        ("a hundred thousand facts", facts(Value::Object(many)), "line 2: "),
        (
            "brackets without end",
            format!("{{\"type\":\"facts\",\"at\":\"2026-11-22T09:30:00Z\",\"facts\":{{\"a\":{deep}}}}}"),
            "line 2: is not an entry",
        ),
        ("a name of ten megabytes", facts(json!({"n".repeat(10 << 20): 1})), "line 2: "),
    ];
    each_case(cases.iter().map(|case| (case.0, case)), |(_, line, expected)| {
        let place = Place::new();
        place.write("c.jsonl", format!("{}\n{line}\n", customer("hello")));
        let run = place.served(&["replay", "--conversation", "c.jsonl"]);
        run.failure(&["c.jsonl", expected]);
        assert!(run.stderr.len() < 1000, "an error is short, found {} bytes", run.stderr.len());
    });
    let place = Place::new();
    let line = facts(Value::Object(most));
    place.write("c.jsonl", format!("{}\n", line).repeat((10 << 20) / line.len() + 1));
    assert!(place.served(&["replay", "--conversation", "c.jsonl", "--json"]).json_lines().len() > 150);
}

/// Every fault stands at a place that is there.
fn assert_places(text: &str) {
    let Err(faults) = Policy::read("p.toml", text, &shipped_vocabulary()) else { return };
    assert!(!faults.is_empty(), "refused without a fault: {text}");
    for fault in &faults {
        let line = text.split('\n').nth(fault.line - 1).unwrap_or_else(|| panic!("no such line: {fault}"));
        assert!((1..=line.chars().count() + 1).contains(&fault.column) && !fault.what.is_empty(), "no such place: {fault}");
    }
}

#[test]
fn a_damaged_policy_is_answered() {
    assert!(Policy::read("p.toml", DEFAULT, &shipped_vocabulary()).is_ok(), "the default policy is good");
    let mut random = Random::new(1);
    let noise = |random: &mut Random, bytes: usize| (0..bytes).map(|_| random.bits() as u8).collect::<Vec<u8>>();
    for _ in 0..100 {
        let bytes = random.below(400);
        assert_places(&String::from_utf8_lossy(&noise(&mut random, bytes)));
    }
    for _ in 0..200 {
        let end = random.below(DEFAULT.len());
        assert_places(&DEFAULT[..DEFAULT.floor_char_boundary(end)]);
    }
    for _ in 0..300 {
        let mut bytes = DEFAULT.as_bytes().to_vec();
        let at = random.below(bytes.len() - 40);
        let taken = random.below(40);
        let put = match random.below(3) {
            0 => noise(&mut random, 3),
            1 => Vec::new(),
            _ => bytes[random.below(at + 1)..][..taken].to_vec(),
        };
        bytes.splice(at..at + taken, put);
        assert_places(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_damaged_condition_is_answered_at_its_place() {
    let parts = [
        "emotion(\"anger\")",
        " >= ",
        "0.5",
        " && ",
        " || ",
        "!",
        "(",
        ")",
        "\"",
        "'",
        "says(\"ä\")",
        "message.words",
        "days(3)",
        ",",
        ".",
        "[",
        "]",
        "{",
        "}",
        "?",
        ":",
        " and ",
        "=",
        "<",
        "-",
        "1e9",
        "0x",
        "\\",
        "\\n",
        "//",
        " in ",
        "has(",
        "contacts.count(",
        "%",
        "true",
        "null",
        "b\"x\"",
        "r\"",
        "日本",
        "\u{301}",
    ];
    let mut random = Random::new(2);
    for _ in 0..1500 {
        let condition: String = (0..1 + random.below(9)).map(|_| parts[random.below(parts.len())]).collect();
        let text = with_value(&format!("\"\"\"{}\"\"\"", condition.replace('\\', "\\\\").replace('"', "\\\"")));
        for fault in Policy::read("p.toml", &text, &vocabulary()).err().unwrap_or_default() {
            let line = text.lines().nth(WHEN_LINE - 1).unwrap();
            let inside = WHEN_COLUMN..=line.chars().count() + 1;
            // A condition that can be read may hide another trigger.
            assert!(fault.line != WHEN_LINE || inside.contains(&fault.column) || fault.what.contains("holds"), "{line}\n{fault}");
            assert!(fault.line == WHEN_LINE || fault.what.contains("never decides"), "{line}\n{fault}");
        }
    }
}

// ---------------------------------------------------------------- commands

/// A policy for the tiny model that rests on words alone.
const SERVED: &str = r#"[[trigger]]
id = "wants-refund"
kind = "reactive"
basis = "keyword"
urgency = "immediate"
category = "refund"
priority = 80
when = 'says("refund", "my money back")'
queue = "billing"
message = "sorry"

[[trigger]]
id = "enterprise"
kind = "proactive"
basis = "behaviour"
urgency = "soft"
category = "account"
when = 'account.tier == "enterprise" && message.words >= 3'
queue = "general"
message = "sorry"

[[queue]]
id = "general"
owner = "lead@example.com"
skills = []
strategy = "least_loaded"
fallback = "follow_up"

[[queue]]
id = "billing"
owner = "billing@example.com"
skills = ["billing"]
strategy = "skills"
fallback = "general"

[[message]]
id = "sorry"
acknowledge = "This is about {{ issue }}."
reassure = "A person takes over."
expect = "They answer soon."

"#;

/// Scenarios of [`SERVED`] that go as expected.
const SCENARIOS: &str = r#"[[scenario]]
name = "wants the money back"
turns = [ { customer = "hello" }, { customer = "I want a refund" } ]
expect = [ { turn = 2, action = "hand_over", trigger = "wants-refund", urgency = "immediate", queue = "billing", message = "sorry" } ]

[[scenario]]
name = "a good customer"
turns = [ { facts = { tier = "enterprise" } }, { customer = "where is my card" } ]
expect = [ { turn = 2, action = "attempt", trigger = "enterprise", queue = "general" } ]

[[scenario]]
name = "says hello"
turns = [ { customer = "hello there" } ]
expect = []
"#;

/// One more scenario, which [`SERVED`] does not do.
const FAILING: &str = "[[scenario]]\nname = \"expects too much\"\nturns = [ { customer = \"thanks\" } ]
expect = [ { turn = 1, action = \"hand_over\", trigger = \"wants-refund\" } ]\n";

impl Place {
    /// Runs a command with the tiny model and [`SERVED`].
    fn served(&self, arguments: &[&str]) -> Run {
        self.write("p.toml", SERVED);
        let (command, rest) = arguments.split_first().unwrap();
        self.baton(&[&[command, "--model", TINY, "--policy", "p.toml"], rest].concat())
    }

    /// A folder `policy` with [`SERVED`] and scenarios beside it.
    fn with_scenarios(scenarios: &[(&str, &str)]) -> Self {
        let place = Self::new();
        fs::create_dir_all(place.path("policy/scenarios")).unwrap();
        place.write("policy/p.toml", SERVED);
        scenarios.iter().for_each(|(name, text)| place.write(&format!("policy/scenarios/{name}.toml"), text));
        place
    }

    fn check(&self, arguments: &[&str]) -> Run {
        self.baton(&[&["check", "--model", TINY, "--policy", "policy/p.toml"], arguments].concat())
    }

    /// Starts the daemon with the policy of the folder, reads where it listens, and ends it; gives stderr. Or what it says when it does not start.
    fn serve(&self, arguments: &[&str]) -> Result<String, Run> {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_baton")));
        command.args(["serve", "--model", TINY, "--listen", "127.0.0.1:0", "--log-level", "info"]).args(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line.starts_with("serving on ") {
            assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        }
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        if line.starts_with("serving on ") {
            assert_eq!(output.status.code(), Some(0), "{stderr}");
            return Ok(stderr);
        }
        Err(Run { code: output.status.code(), stdout: line, stderr })
    }
}

impl Run {
    /// The run ended with this code and said all of these words somewhere.
    fn assert_code(&self, code: i32, expected: &[&str]) {
        let said = format!("{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.code, Some(code), "{said}");
        expected.iter().for_each(|words| assert!(said.contains(words), "expected {words:?} in {said}"));
    }
}

/// A line of an exported conversation.
fn customer(text: &str) -> String {
    json!({"type": "message", "at": "2026-11-22T09:30:00Z", "speaker": "customer", "text": text}).to_string()
}

#[test]
fn the_default_policy_goes_as_expected() {
    let run = Place::new().baton(&["check", "--model", SHIPPED]);
    let shown = run.success();
    assert!(shown.contains("scenarios as expected, with the model") && !shown.contains("expected no decision"), "{shown}");
    let last = shown.lines().last().unwrap();
    let counts: Vec<&str> = last.split(": ").nth(1).unwrap().split(" of ").collect();
    assert_eq!(counts[0], counts[1].split(' ').next().unwrap(), "{last}");
    let rows = Place::new().baton(&["check", "--model", SHIPPED, "--json"]).json_lines();
    assert_eq!(rows.len().to_string(), counts[0]);
    assert!(rows.iter().all(|row| row["passed"] == true && row["differences"] == json!([])));
}

#[test]
fn recorded_signals_decide_as_the_model_does() {
    let recorded = include_str!("../../policy/scenarios/recorded.json");
    if recorded.trim() != "{}" {
        // No model is there to be read.
        let run = Place::new().baton(&["check", "--recorded", "--model", "nowhere"]);
        assert!(run.success().contains("scenarios as expected, on recorded signals"), "{}", run.stdout);
    }
    let place = Place::with_scenarios(&[("a", SCENARIOS)]);
    place.check(&["--recorded"]).assert_code(2, &["policy/scenarios/recorded.json"]);
    place.check(&["--record"]).success();
    fs::remove_file(place.path("policy/p.proof")).unwrap();
    let run = place.baton(&["check", "--policy", "policy/p.toml", "--recorded", "--model", "nowhere"]);
    assert!(run.success().contains("3 of 3 scenarios as expected, on recorded signals"), "{}", run.stdout);
    assert!(!place.path("policy/p.proof").exists(), "recorded signals prove nothing");
    place.write("policy/scenarios/b.toml", FAILING);
    place.check(&["--recorded"]).assert_code(2, &["scenario \"expects too much\"", "record anew with baton check --record"]);
    let recorded = place.read_text("policy/scenarios/recorded.json");
    for damaged in ["", "{}", "[]", &recorded[..recorded.len() / 2], &recorded.replacen("\"signals\": \"", "\"signals\": \"f", 1)] {
        place.write("policy/scenarios/recorded.json", damaged);
        place.check(&["--recorded"]).assert_code(2, &["record anew with baton check --record"]);
    }
}

#[test]
fn check_lists_every_fault_of_a_policy() {
    let place = Place::with_scenarios(&[("a", SCENARIOS)]);
    place.write(
        "policy/p.toml",
        SERVED.replace("\"keyword\"", "\"keywords\"").replace("says(\"refund\"", "say(\"refund\"").replace("\"skills\"", "3"),
    );
    let faults = [
        "policy/p.toml:4:9: trigger \"wants-refund\".basis: found \"keywords\", expected one of keyword, intent, behaviour; did you mean \"keyword\"?",
        "policy/p.toml:8:9: trigger \"wants-refund\".when: say is not a name of conditions (baton policy --names lists them); did you mean says?",
        "policy/p.toml:33:12: queue \"billing\".strategy: found 3, expected a text",
    ];
    let run = place.check(&[]);
    run.assert_code(1, &faults);
    assert!(run.stdout.contains("the policy is wrong:") && !place.path("policy/p.proof").exists(), "{}", run.stdout);
    let run = place.check(&["--json"]);
    assert_eq!(run.code, Some(1));
    let told: Vec<Value> = lines_of_json(&run.stdout);
    assert_eq!(told, faults.map(|fault| json!({"fault": fault})));
    for command in ["policy", "replay"] {
        place.write("c.jsonl", customer("hello"));
        let more: &[&str] = if command == "replay" { &["--conversation", "c.jsonl"] } else { &[] };
        place.baton(&[&[command, "--model", TINY, "--policy", "policy/p.toml"], more].concat()).failure(&faults);
    }
    let refused = place.serve(&["--set", "policy.file=policy/p.toml"]).unwrap_err();
    refused.failure(&faults);
}

#[test]
fn a_proof_is_written_when_all_scenarios_go_as_expected() {
    let place = Place::with_scenarios(&[("a", SCENARIOS), ("b", FAILING)]);
    let run = place.check(&[]);
    let difference = "turn 1: expected hand_over by wants-refund, found no decision";
    run.assert_code(1, &["expects too much", difference, "3 of 4 scenarios as expected, with the model"]);
    assert!(!place.path("policy/p.proof").exists(), "a policy that fails has no proof");
    let run = place.check(&["--json"]);
    assert_eq!(run.code, Some(1));
    let failed = lines_of_json(&run.stdout).into_iter().find(|row| row["passed"] == false).unwrap();
    assert_eq!((&failed["scenario"], &failed["differences"]), (&json!("expects too much"), &json!([difference])));

    fs::remove_file(place.path("policy/scenarios/b.toml")).unwrap();
    assert!(place.check(&[]).success().contains("3 of 3 scenarios as expected, with the model"));
    let proof: Value = serde_json::from_str(&place.read_text("policy/p.proof")).unwrap();
    assert_eq!(proof["passed"], 3);
    assert!(["policy", "model", "scenarios"].iter().all(|key| proof[key].as_str().unwrap().len() == 64), "{proof}");
    place.check(&["--proof", "elsewhere"]).success();
    assert_eq!(place.read_text("elsewhere"), place.read_text("policy/p.proof"));
}

#[test]
fn check_takes_the_policy_of_the_settings() {
    let place = Place::with_scenarios(&[("a", SCENARIOS)]);
    let set = |policy: &str| place.baton(&["check", "--model", TINY, "--set", &format!("policy.file={policy}")]);
    assert!(set("policy/p.toml").success().contains("3 of 3 scenarios as expected, with the model"));
    let none = set("none");
    assert!(none.success().contains("the settings are sound") && !none.stdout.contains("scenario"), "{}", none.stdout);
    set("policy/nowhere.toml").assert_code(2, &["policy/nowhere.toml"]);
    let moved = place.path("elsewhere");
    fs::rename(place.path("policy/scenarios"), &moved).unwrap();
    assert!(place.check(&[]).success().contains("0 of 0 scenarios"), "a policy without scenarios has nothing to prove");
    assert!(place.check(&["--scenarios", "elsewhere"]).success().contains("3 of 3 scenarios"));
    place.check(&["--scenarios", "nowhere"]).assert_code(2, &["nowhere"]);
}

#[test]
fn what_a_scenario_expects_is_compared_word_by_word() {
    let cases = [
        ("action = \"hand_over\"", "action = \"attempt\"", "turn 2: action: expected \"attempt\", found \"hand_over\""),
        ("trigger = \"wants-refund\"", "trigger = \"enterprise\"", "turn 2: trigger: expected \"enterprise\", found \"wants-refund\""),
        ("urgency = \"immediate\"", "urgency = \"soft\"", "turn 2: urgency: expected \"soft\", found \"immediate\""),
        ("queue = \"billing\"", "queue = \"general\"", "turn 2: queue: expected \"general\", found \"billing\""),
        ("message = \"sorry\"", "message = \"none\"", "turn 2: message: expected \"none\", found \"sorry\""),
        ("message = \"sorry\" }", "also = [\"enterprise\"] }", "turn 2: also: expected \"enterprise\", found \"\""),
        ("expect = [ { turn = 2", "expect = [ { turn = 1", "turn 1: expected hand_over by wants-refund, found no decision"),
        ("expect = [ { turn = 2", "expect = [ { turn = 1", "turn 2: expected no decision, found hand_over by wants-refund (fired)"),
        ("\"hello there\"", "\"refund\"", "turn 1: expected no decision, found hand_over by wants-refund (fired)"),
    ];
    each_case(cases.map(|case| (case.2, case)), |(from, to, expected)| {
        assert!(SCENARIOS.contains(from), "the case changes nothing");
        let place = Place::with_scenarios(&[("a", &SCENARIOS.replacen(from, to, 1))]);
        place.check(&[]).assert_code(1, &[expected]);
    });
}

#[test]
fn wrong_scenarios_are_named() {
    let twice = format!("{SCENARIOS}{SCENARIOS}");
    let cases = [
        ("[[scenario]", "policy/scenarios/a.toml:1: "),
        ("[[scenario]]\nturns = []\nexpect = []\n", "policy/scenarios/a.toml:1: missing field `name`"),
        ("[[scenario]]\nname = \"n\"\nturns = []\nexpect = []\n", "scenario \"n\": turns: found none, expected some"),
        (
            "[[scenario]]\nname = \"n\"\nturns = [ { customer = \"hi\" } ]\nexpect = []\nexpected = []\n",
            "policy/scenarios/a.toml:5: unknown field `expected`",
        ),
        (&twice, "scenario \"wants the money back\": found twice, expected once"),
    ];
    each_case(cases.map(|case| (case.1, case)), |(text, expected)| {
        let place = Place::with_scenarios(&[("a", text)]);
        place.check(&[]).assert_code(2, &[expected]);
        place.serve(&["--set", "policy.file=policy/p.toml"]).unwrap_err().failure(&[expected]);
    });
}

#[test]
fn a_daemon_serves_with_a_policy_that_is_proved() {
    let place = Place::with_scenarios(&[("a", SCENARIOS)]);
    let with = ["--set", "policy.file=policy/p.toml"];
    let by_file = |log: &str, expected: bool| assert!(log.contains(&format!("by_file={expected}")), "{log}");
    by_file(&place.serve(&with).unwrap(), false);
    place.check(&[]).success();
    let proof = place.read_text("policy/p.proof");
    by_file(&place.serve(&with).unwrap(), true);
    by_file(&place.serve(&[&with[..], &["--set", "policy.scenarios=policy/scenarios"]].concat()).unwrap(), true);
    // A proof that is damaged, or of something else, proves nothing, and the scenarios are played.
    for damaged in ["", "{}", &proof[..proof.len() / 2], &proof.replacen("\"passed\": 3", "\"passed\": 4", 1)] {
        place.write("policy/p.proof", damaged);
        by_file(&place.serve(&with).unwrap(), false);
    }
    place.write("policy/p.proof", &proof);
    place.write("policy/p.toml", format!("{SERVED}# changed\n"));
    by_file(&place.serve(&with).unwrap(), false);
    place.write("policy/p.toml", SERVED);
    place.write("policy/scenarios/b.toml", FAILING);
    let expected = ["fails 1 of its 4 scenarios", "\"expects too much\": turn 1: expected hand_over by wants-refund, found no decision"];
    place.serve(&with).unwrap_err().failure(&expected);
    assert!(place.serve(&["--set", "policy.file=none"]).is_ok());
    place.serve(&["--set", "policy.file=nowhere.toml"]).unwrap_err().failure(&["nowhere.toml"]);
    place.serve(&[&with[..], &["--set", "policy.scenarios=nowhere"]].concat()).unwrap_err().failure(&["nowhere"]);
}

#[test]
fn the_default_policy_is_refused_for_a_model_without_its_labels() {
    let refused = Place::new().serve(&[]).unwrap_err();
    refused.failure(&[
        "the policy is wrong:",
        "policy/default.toml:",
        "found \"distress\"",
        "policy.file = \"none\" serves signals without decisions",
    ]);
}

#[test]
fn the_policy_is_printed_as_a_document() {
    let place = Place::new();
    let run = place.baton(&["policy", "--model", SHIPPED]);
    let shown = run.success();
    let ids = DEFAULT.split("\n[[trigger]]\n").skip(1).map(|table| table.split('"').nth(1).unwrap());
    let mut found: Vec<usize> = Vec::new();
    for id in ids {
        let heading = format!("\n### {id}\n");
        found.push(shown.find(&heading).unwrap_or_else(|| panic!("no trigger {id} in {shown}")));
    }
    assert!(found.len() > 10 && shown.find("## Soft").unwrap() > found[0]);
    let queues = DEFAULT.split("\n[[queue]]\n").skip(1).map(|table| table.split('"').nth(1).unwrap());
    queues.for_each(|id| assert!(shown.contains(&format!("\n| {id} | ")), "no queue {id}"));
    let own = place.served(&["policy"]);
    for expected in [
        "### wants-refund\n",
        "- **When** says one of “refund”, “my money back”.",
        "- **Queue** billing, owner billing@example.com, then general, then a follow-up later.",
        "- Reactive, by keyword; category refund, priority 80.",
        "> This is about {{ issue }}. A person takes over. They answer soon.",
    ] {
        assert!(own.success().contains(expected), "expected {expected:?} in {}", own.stdout);
    }
}

#[test]
fn every_name_of_conditions_is_printed() {
    // No model is needed.
    let run = Place::new().baton(&["policy", "--names", "--model", "nowhere"]);
    let shown = run.success();
    for name in NAMES {
        let row = format!("\n| `{}", name.name);
        let found = shown.matches(&format!("{row}`")).count() + shown.matches(&format!("{row}(")).count();
        assert_eq!(found, 1, "{}", name.name);
    }
}

// ---------------------------------------------------------------- replay

/// A conversation with every kind of line.
fn conversation() -> String {
    let at = |minute: usize| format!("2026-11-22T09:{minute:02}:00Z");
    let lines = [
        json!({"type": "contact", "at": "2026-11-01T10:00:00Z", "text": format!("{PLANTED} where is my card"), "resolved": false}),
        json!({"type": "facts", "at": at(0), "facts": {"tier": "gold", "name": PLANTED}}),
        json!({"type": "message", "at": at(1), "speaker": "customer", "text": format!("hello {PLANTED}")}),
        json!({"type": "message", "at": at(2), "speaker": "bot", "text": "Can I send a new card?", "confidence": 0.5}),
        json!({"type": "event", "at": at(3), "kind": "page_view", "name": "/pricing"}),
        json!({"type": "timer", "at": at(4)}),
        json!({"type": "message", "at": at(5), "speaker": "customer", "text": "no, I want a refund"}),
        json!({"type": "message", "at": at(6), "speaker": "agent", "text": "I take over."}),
        json!({"type": "returned", "at": at(7)}),
        json!({"type": "message", "at": at(8), "speaker": "customer", "text": "thanks"}),
    ];
    lines.map(|line| format!("{line}\n")).concat()
}

#[test]
fn a_conversation_is_shown_with_its_decisions_and_reasons() {
    let place = Place::new();
    place.write("c.jsonl", conversation());
    let run = place.served(&["replay", "--conversation", "c.jsonl"]);
    let shown = run.success();
    for expected in [
        "turn",
        "who",
        "message",
        "decision",
        "customer",
        "bot",
        "agent",
        "event",
        "page_view /pricing",
        "facts",
        "time",
        "returned",
        "no, I want a refund",
        "hand_over by wants-refund (fired)",
        "Turn 6: hand over to a person (wants-refund)",
        "fired: wants-refund (immediate): says “refund” (message 3)",
        "not fired: enterprise: ",
    ] {
        assert!(shown.contains(expected), "expected {expected:?} in {shown}");
    }
    assert_eq!(shown.matches("\nTurn ").count(), 1, "only the turn with a decision has its receipt: {shown}");
    assert_eq!(run.stderr, "");
    let all = place.served(&["replay", "--conversation", "c.jsonl", "--receipts"]);
    assert_eq!(all.success().matches("\nTurn ").count(), 9, "{}", all.stdout);
    place.write("quiet.jsonl", customer("hello"));
    let quiet = place.served(&["replay", "--conversation", "quiet.jsonl"]);
    assert!(
        quiet.success().contains("Turn 1: no decision") && quiet.stdout.contains("not fired: wants-refund: not: says one of “refund”"),
        "{}",
        quiet.stdout
    );
}

#[test]
fn receipts_of_a_conversation_chain() {
    let place = Place::new();
    place.write("c.jsonl", conversation());
    let run = place.served(&["replay", "--conversation", "c.jsonl", "--json"]);
    let turns = run.json_lines();
    assert!(!run.stdout.contains(PLANTED), "a receipt holds no text and no fact");
    assert_eq!(turns.iter().map(|turn| turn["turn"].as_u64().unwrap()).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    for pair in turns.windows(2) {
        assert_eq!(pair[1]["previous"], pair[0]["receipt"]);
        assert_ne!(pair[1]["receipt"], pair[0]["receipt"]);
        assert_eq!((&pair[1]["policy_digest"], &pair[1]["model_digest"]), (&pair[0]["policy_digest"], &pair[0]["model_digest"]));
    }
    assert!(turns.iter().all(|turn| turn["receipt"].as_str().unwrap().len() == 64 && turn["triggers"].as_array().unwrap().len() == 2));
    let decided = &turns[5];
    let expected = json!(["hand_over", "wants-refund", "immediate", "billing", "sorry", ["wants-refund"], "2026-11-22T09:05:00Z"]);
    let found: Vec<&Value> = ["action", "trigger", "urgency", "queue", "message", "fired", "at"].iter().map(|key| &decided[key]).collect();
    assert_eq!(json!(found), expected);
    assert!(turns.iter().enumerate().all(|(at, turn)| at == 5 || turn["action"] == "none"), "{}", run.stdout);
    assert_eq!(place.served(&["replay", "--conversation", "c.jsonl", "--json"]).stdout, run.stdout, "a replay gives the same");
    // Another first line is another chain from there on.
    place.write("c.jsonl", conversation().replace("\"gold\"", "\"lead\""));
    let others = place.served(&["replay", "--conversation", "c.jsonl", "--json"]).json_lines();
    assert_eq!(others[0]["previous"], turns[0]["previous"]);
    assert!(others.iter().zip(&turns).all(|(other, turn)| other["receipt"] != turn["receipt"]));
}

#[test]
fn a_wrong_line_of_a_conversation_is_named_without_its_text() {
    let message = |more: &str| format!("{{\"type\":\"message\",\"at\":\"2026-11-22T09:30:00Z\",{more}}}");
    let cases = [
        (format!("{{\"type\":\"message\",\"text\":\"{PLANTED}"), "line 3: "),
        (PLANTED.to_owned(), "line 3: "),
        (format!("\"{PLANTED}\""), "line 3: is not an entry of a conversation"),
        (format!("[\"{PLANTED}\"]"), "line 3: "),
        (format!("{{\"type\":\"{PLANTED}\"}}"), "line 3: "),
        (format!("{{\"at\":\"2026-11-22T09:30:00Z\",\"speaker\":\"customer\",\"text\":\"{PLANTED}\"}}"), "line 3: missing field `type`"),
        (message(&format!("\"speaker\":\"{PLANTED}\",\"text\":\"hi\"")), "line 3: "),
        (message(&format!("\"speaker\":[\"{PLANTED}\"],\"text\":\"hi\"")), "line 3: "),
        (message(&format!("\"text\":\"{PLANTED}\"")), "line 3: missing field `speaker`"),
        (message(&format!("\"speaker\":\"customer\",\"text\":\"{PLANTED}\",\"mood\":1")), "line 3: found an unknown key, expected one of"),
        (message(&format!("\"speaker\":\"customer\",\"text\":\"{PLANTED}\",\"text\":\"{PLANTED}\"")), "line 3: duplicate field `text`"),
        (message(&format!("\"speaker\":\"customer\",\"text\":[\"{PLANTED}\"]")), "line 3: "),
        (message("\"speaker\":\"customer\",\"text\":\" \\t\""), "line 3: text: found nothing, expected a message"),
        (message(&format!("\"speaker\":\"customer\",\"text\":\"hi\",\"id\":\"{PLANTED} x\"")), "line 3: id: "),
        (
            message(&format!("\"speaker\":\"bot\",\"text\":\"{PLANTED}\",\"confidence\":1.01")),
            "line 3: confidence: expected a number from 0 to 1",
        ),
        (message(&format!("\"speaker\":\"customer\",\"text\":\"hi\",\"confidence\":\"{PLANTED}\"")), "line 3: "),
        (
            message(&format!("\"speaker\":\"agent\",\"text\":\"{PLANTED}\",\"proposal\":true")),
            "line 3: confidence and proposal belong to turns of the bot",
        ),
        (
            format!("{{\"type\":\"message\",\"at\":\"{PLANTED}\",\"speaker\":\"customer\",\"text\":\"hi\"}}"),
            "line 3: at: expected a time such as",
        ),
        (
            format!("{{\"type\":\"timer\",\"at\":\"2026-02-30T09:30:00Z\",\"x\":\"{PLANTED}\"}}"),
            "line 3: found an unknown key, expected at",
        ),
        ("{\"type\":\"timer\",\"at\":\"2026-02-30T09:30:00Z\"}".to_owned(), "line 3: at: expected a time such as"),
        (
            format!("{{\"type\":\"facts\",\"at\":\"2026-11-22T09:30:00Z\",\"facts\":{{\"value\":\"{PLANTED}\"}}}}"),
            "line 3: value: expected a number",
        ),
        (format!("{{\"type\":\"facts\",\"at\":\"2026-11-22T09:30:00Z\",\"facts\":{{\"note\":[\"{PLANTED}\"]}}}}"), "line 3: "),
        (format!("{{\"type\":\"event\",\"at\":\"2026-11-22T09:30:00Z\",\"kind\":\"{PLANTED} x\",\"name\":\"/\"}}"), "line 3: kind: "),
        (
            format!("{{\"type\":\"event\",\"at\":\"2026-11-22T09:30:00Z\",\"kind\":\"view\",\"name\":\"{}\"}}", PLANTED.repeat(50)),
            "line 3: name: found 600 bytes",
        ),
    ];
    each_case(cases.iter().map(|case| (case.0.as_str(), case)), |(line, expected)| {
        let place = Place::new();
        place.write("c.jsonl", format!("{}\n\n{line}\n{}\n", customer(PLANTED), customer("hello")));
        place.served(&["replay", "--conversation", "c.jsonl"]).failure(&["conversation c.jsonl: ", expected]);
    });
}

#[test]
fn files_without_a_conversation_are_named() {
    let cases: [(&str, &[u8], &str); 6] = [
        ("empty", b"", "found no message, event or facts, expected at least one line"),
        ("blank lines", b"\n \r\n\n", "found no message, event or facts, expected at least one line"),
        ("a contact alone", br#"{"type":"contact","at":"2026-11-22T09:30:00Z","text":"hello"}"#, "found no message, event or facts"),
        ("not UTF-8", b"\xff\xfe{\"type\"", "c.jsonl"),
        ("a list", b"[\n]", "line 1: "),
        ("CSV", b"text,speaker\nhello,customer\n", "line 1: "),
    ];
    each_case(cases.map(|case| (case.0, case)), |(_, bytes, expected)| {
        let place = Place::new();
        place.write("c.jsonl", bytes);
        place.served(&["replay", "--conversation", "c.jsonl"]).failure(&["conversation c.jsonl: ", expected]);
    });
    let place = Place::new();
    place.served(&["replay", "--conversation", "nowhere.jsonl"]).failure(&["conversation nowhere.jsonl", "No such file"]);
    place.served(&["replay", "--conversation", "."]).failure(&["conversation ."]);
    place.served(&["replay"]).failure(&["--conversation"]);
    place.served(&["replay", "--table", "t.csv"]).failure(&["--text-column"]);
    let both = ["replay", "--table", "t.csv", "--text-column", "text", "--conversation", "c.jsonl"];
    place.served(&both).failure(&["cannot be used with"]);
}

/// Rows with what they are about: 25 about refunds of which 20 say so, 10 others that say so as well, 15 about accounts.
fn labelled() -> String {
    let rows = |count: usize, label: &'static str, text: &'static str| (0..count).map(move |row| format!("{label},{text} {row}\n"));
    let all = rows(20, "refund", "I want a refund").chain(rows(5, "refund", "where is my card")).chain(rows(10, "other", "refund"));
    ["label,text\n".to_owned()].into_iter().chain(all.chain(rows(15, "account", "hello"))).collect()
}

#[test]
fn a_table_with_labels_has_precision_and_recall() {
    let place = Place::new();
    place.write("t.csv", labelled());
    let arguments = ["replay", "--table", "t.csv", "--text-column", "text"];
    let with_labels = [&arguments[..], &["--label-column", "label"]].concat();
    let value = place.served(&[&with_labels[..], &["--json"]].concat()).json();
    assert_eq!((&value["conversations"], &value["messages"]), (&json!(50), &json!(50)));
    assert_eq!((&value["immediate"]["count"], &value["soft"]["count"]), (&json!(30), &json!(0)));
    assert_eq!(value["triggers"]["wants-refund"]["share"], 0.6);
    let refund = &value["categories"]["refund"];
    let shares = ["precision", "recall"].map(|what| (refund[what]["count"].clone(), refund[what]["of"].clone()));
    assert_eq!((&refund["labelled"], shares), (&json!(25), [(json!(20), json!(30)), (json!(20), json!(25))]));
    assert_eq!(value["categories"].as_object().unwrap().len(), 1, "a category with fewer than 20 rows says nothing");
    assert_eq!(value["worst"].as_array().unwrap().len(), 10);
    assert!(!value.to_string().contains("where is my card"), "no text in JSON");
    let run = place.served(&with_labels);
    for expected in ["precision (95 % interval)", "66.7 %", "80.0 %", "wants-refund", "60.0 %", "line 2", "I want a refund 0"] {
        assert!(run.success().contains(expected), "expected {expected:?} in {}", run.stdout);
    }
    assert!(!place.served(&arguments).success().contains("precision"), "without labels there is none");
    // 19 rows are too few.
    place.write(
        "t.csv",
        labelled()
            .lines()
            .filter(|line| !line.ends_with("card 4") && !line.ends_with("card 3") && !line.contains("refund 1"))
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    );
    assert_eq!(place.served(&[&with_labels[..], &["--json"]].concat()).json()["categories"], json!({}));
}

#[test]
fn rows_of_one_conversation_are_played_together() {
    let place = Place::new();
    place.write("t.csv", "id,who,text\na,customer,hello\na,bot,\"A refund, perhaps?\"\na,customer,\na,customer,refund please\nb,agent,refund\nb,customer,thanks\nc,customer,\n");
    let arguments = ["replay", "--table", "t.csv", "--text-column", "text", "--conversation-column", "id", "--speaker-column", "who"];
    let value = place.served(&[&arguments[..], &["--json"]].concat()).json();
    assert_eq!((&value["conversations"], &value["messages"], &value["immediate"]["count"]), (&json!(2), &json!(5), &json!(1)));
    assert_eq!((&value["worst"][0]["conversation"], &value["worst"][0]["turn"]), (&json!("a"), &json!(3)));
    let lines: String = ["hello", "refund"].iter().map(|text| format!("{}\n", json!({"text": text, "id": "a"}))).collect();
    place.write("t.jsonl", lines);
    let by_row = place.served(&["replay", "--table", "t.jsonl", "--text-column", "text", "--json"]).json();
    assert_eq!((&by_row["conversations"], &by_row["worst"][0]["conversation"]), (&json!(2), &json!("line 2")));
    // The rows of a conversation that stand apart would be counted as several.
    place.write("t.csv", "id,text\na,hello\nb,hello\na,refund\n");
    let apart = place.served(&["replay", "--table", "t.csv", "--text-column", "text", "--conversation-column", "id"]);
    apart.failure(&["t.csv: line 4"]);
}

#[test]
fn facts_hold_in_every_conversation_of_a_table() {
    let place = Place::new();
    place.write("t.csv", "text\nwhere is my card\nthanks\n");
    let arguments = ["replay", "--table", "t.csv", "--text-column", "text", "--json"];
    let soft = |facts: &[&str]| {
        let facts: Vec<&str> = facts.iter().flat_map(|fact| ["--fact", fact]).collect();
        place.served(&[&arguments[..], &facts].concat()).json()["soft"]["count"].clone()
    };
    assert_eq!((soft(&[]), soft(&["tier=lead"]), soft(&["tier=enterprise"])), (json!(0), json!(0), json!(1)));
    assert_eq!(soft(&["value=3", "plan=a=b", "tier=enterprise", "beta=true"]), json!(1));
    for (fact, expected) in [
        ("tier", "--fact: found \"tier\", expected NAME=VALUE"),
        ("value=much", "--fact: value: expected a number"),
        ("value=nan", "--fact: value: found no finite number"),
        ("=x", "--fact: "),
    ] {
        place.served(&[&arguments[..], &["--fact", fact]].concat()).failure(&[expected]);
    }
    // The name says that it is a text.
    assert_eq!(soft(&["tier=1"]), json!(0));
}

#[test]
fn wrong_tables_are_named_without_their_text() {
    let good: [&str; 3] = ["--text-column", "text", "--json"];
    let who: [&str; 5] = ["--text-column", "text", "--speaker-column", "who", "--json"];
    let cases: [(&str, String, &[&str], &str); 8] = [
        ("t.csv", format!("text\n{PLANTED}\n"), &["--text-column", "txt"], "t.csv: "),
        ("t.csv", format!("text\n{PLANTED}\n"), &["--text-column", "text", "--label-column", "label"], "label"),
        (
            "t.csv",
            format!("who,text\ncustomer,hello\n{PLANTED},hello\n"),
            &who,
            "t.csv: line 3: found another speaker, expected customer, bot or agent",
        ),
        ("t.csv", format!("who,text\n,{PLANTED}\n"), &who, "t.csv: line 2: found another speaker, expected customer, bot or agent"),
        ("t.csv", "text\n\n\" \"\n".to_owned(), &good, "t.csv: no messages"),
        ("t.jsonl", format!("{{\"text\":[\"{PLANTED}\"]}}\n"), &good, "t.jsonl: line 1: text: found an array, expected a text"),
        ("t.jsonl", "{\"other\":\"x\"}\n".to_owned(), &good, "t.jsonl: no messages"),
        ("t.txt", "text\nhello\n".to_owned(), &good, "the name must end in .csv, .jsonl or .ndjson"),
    ];
    each_case(cases.iter().map(|case| (case.3, case)), |(name, text, arguments, expected)| {
        let place = Place::new();
        place.write(name, text);
        place.served(&[&["replay", "--table", name], *arguments].concat()).failure(&[expected]);
    });
    Place::new().served(&["replay", "--table", "nowhere.csv", "--text-column", "text"]).failure(&["nowhere.csv"]);
}

#[test]
fn tables_do_not_steer_the_terminal() {
    let place = Place::new();
    place.write("t.csv", "id,text\n\"a\u{1b}[31m\u{7}\",refund \u{1b}[2J\n");
    let run = place.served(&["replay", "--table", "t.csv", "--text-column", "text", "--conversation-column", "id"]);
    assert!(run.success().chars().all(|c| c == '\n' || !c.is_control()), "{:?}", run.stdout);
    place.write("c.jsonl", format!("{}\n", customer("refund \u{1b}[2J \u{9b}1m")));
    let run = place.served(&["replay", "--conversation", "c.jsonl"]);
    assert!(run.success().chars().all(|c| c == '\n' || !c.is_control()), "{:?}", run.stdout);
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_without_end_is_refused() {
    let place = Place::new();
    place.baton(&["policy", "--policy", "/dev/zero"]).failure(&["/dev/zero: found more than 1048576 bytes, expected at most 1048576"]);
}
