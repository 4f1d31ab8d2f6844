//! Signals → JSON for programs, tables for people.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};

use crate::signal::{Classification, HeadSignal, Label, LexicalKind, PersonalData, Probability, Signal, Signals, Tags};

/// What the caller adds to the signals of a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// Intents by example with their probabilities.
    pub example_intents: &'a [(String, Signal<Probability>)],
    /// Whether the vectors are shown.
    pub vectors: bool,
}

/// One message as a JSON object.
pub fn to_json(signals: &Signals, extras: Extras<'_>) -> Value {
    let mut object = Map::new();
    let language = signals.language.map(|l| json!({"known": l.known, "probability": number(l.probability.get())}));
    object.insert("language".into(), absent_or(language));
    let mut sentiment = classification(&signals.sentiment);
    if let (Some(map), Some(valence)) = (sentiment.as_object_mut(), signals.sentiment.as_ref().ok().and_then(Classification::valence)) {
        map.insert("valence".into(), number(valence));
    }
    object.insert("sentiment".into(), sentiment);
    object.insert("emotion".into(), tags(&signals.emotion));
    object.insert("intent".into(), classification(&signals.intent));
    object.insert("act".into(), classification(&signals.act));
    for (name, signal) in &signals.other_heads {
        let value = match signal {
            HeadSignal::Single(signal) => classification(signal),
            HeadSignal::Multi(signal) => tags(signal),
        };
        object.insert(name.clone(), value);
    }
    if !extras.example_intents.is_empty() {
        let shown = extras.example_intents.iter().map(|(id, p)| (id.clone(), absent_or(p.map(|p| number(p.get())))));
        object.insert("example_intents".into(), Value::Object(shown.collect()));
    }
    let findings = signals.lexical.findings.iter();
    let findings = findings.map(|f| json!({"kind": lexical_kind(f.kind), "start": f.span.start, "end": f.span.end}));
    object.insert("lexical".into(), Value::Array(findings.collect()));
    let windows = signals.windows;
    object.insert("windows".into(), json!({"scored": windows.scored, "dropped": windows.dropped, "bytes_unread": windows.bytes_unread}));
    if extras.vectors {
        object.insert("embedding".into(), absent_or(signals.embedding.as_ref().map(|e| vector(&e.0)).map_err(|a| *a)));
        let sentences = signals.sentences.iter();
        let sentences = sentences.map(|s| json!({"start": s.span.start, "end": s.span.end, "embedding": vector(&s.embedding.0)}));
        object.insert("sentences".into(), Value::Array(sentences.collect()));
    }
    Value::Object(object)
}

fn absent_or(value: Signal<Value>) -> Value {
    value.unwrap_or_else(|absence| json!({"absent": absence.as_str()}))
}

fn classification(signal: &Signal<Classification>) -> Value {
    absent_or(signal.as_ref().map_err(|a| *a).map(|c| {
        let (label, confidence) = c.label().map_or((Value::Null, Value::Null), |(label, p)| (json!(label), number(p.get())));
        let mut map = Map::new();
        map.insert("label".into(), label);
        map.insert("confidence".into(), confidence);
        if let Some(p) = c.in_scope {
            map.insert("in_scope".into(), number(p.get()));
        }
        map.insert("probabilities".into(), probabilities(&c.probabilities));
        Value::Object(map)
    }))
}

fn tags(signal: &Signal<Tags>) -> Value {
    absent_or(signal.as_ref().map_err(|a| *a).map(|t| {
        let present: Vec<&str> = t.present.iter().map(|label| &*t.probabilities[*label].0).collect();
        json!({"present": present, "probabilities": probabilities(&t.probabilities)})
    }))
}

fn probabilities(all: &[(Label, Probability)]) -> Value {
    Value::Object(all.iter().map(|(label, p)| (label.to_string(), number(p.get()))).collect())
}

fn vector(values: &[f32]) -> Value {
    values.iter().map(|v| Value::from((f64::from(*v) * 1e7).round() / 1e7)).collect()
}

/// Four digits: calibration promises no more.
fn number(value: f32) -> Value {
    Value::from((f64::from(value) * 1e4).round() / 1e4)
}

/// Name of a lexical finding in JSON and tables.
pub fn lexical_kind(kind: LexicalKind) -> &'static str {
    match kind {
        LexicalKind::AsksForPerson => "asks_for_person",
        LexicalKind::DeclinesPerson => "declines_person",
        LexicalKind::Negation => "negation",
        LexicalKind::Legal => "legal",
        LexicalKind::Privacy => "privacy",
        LexicalKind::Security => "security",
        LexicalKind::PersonalData(kind) => match kind {
            PersonalData::CardNumber => "card_number",
            PersonalData::Iban => "iban",
            PersonalData::Email => "email",
            PersonalData::Phone => "phone",
            PersonalData::NationalId => "national_id",
            PersonalData::Password => "password",
            PersonalData::Token => "token",
        },
    }
}

/// A label with its confidence in percent, or why there is none.
pub fn classification_cell(signal: &Signal<Classification>) -> String {
    match signal {
        Err(absence) => format!("- ({absence})"),
        Ok(c) => match (c.label(), c.in_scope) {
            (Some((label, p)), _) => format!("{label} {:.0} %", 100.0 * p.get()),
            (None, Some(p)) => format!("- (in scope {:.0} %)", 100.0 * p.get()),
            (None, None) => "-".to_owned(),
        },
    }
}

/// The labels that are present, each in percent.
pub fn tags_cell(signal: &Signal<Tags>) -> String {
    match signal {
        Err(absence) => format!("- ({absence})"),
        Ok(t) => {
            let shown = t.present.iter().map(|label| &t.probabilities[*label]);
            let shown: Vec<String> = shown.map(|(label, p)| format!("{label} {:.0} %", 100.0 * p.get())).collect();
            if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
        }
    }
}

/// What the rules found, each kind once, in the order of the text.
pub fn lexical_cell(signals: &Signals) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for kind in signals.lexical.findings.iter().map(|finding| lexical_kind(finding.kind)) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() { "-".to_owned() } else { kinds.join(", ") }
}

/// A table for people: a header and rows.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    format!("{table}\n")
}

/// The first characters of a text on one line, for a table.
pub fn shorten(text: &str, chars: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(chars + 1).collect();
    if line.chars().count() <= chars { line } else { line.chars().take(chars - 1).chain(['\u{2026}']).collect() }
}
