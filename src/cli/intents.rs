//! Intents by example from a file: `[[intent]]` tables with `id` and `examples`, as in a policy.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::model::examples::{EXAMPLES_MAX, EXAMPLES_MIN, ExampleIntent};
use crate::model::scorer::Scorer;
use crate::signal::{Probability, Signal, Signals};

/// Most intents of a file.
const INTENTS_MAX: usize = 256;
/// Most bytes of a file.
const BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntentsFile {
    intent: Vec<IntentEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntentEntry {
    id: String,
    examples: Vec<String>,
}

/// The operator's own intents, ready to compare with messages.
pub struct ExampleIntents(Vec<(String, ExampleIntent)>);

impl ExampleIntents {
    /// Reads and embeds a file; every fault at once.
    pub fn read(path: &Path, scorer: &Scorer) -> Result<Self> {
        let at = || format!("intents file {}", path.display());
        if scorer.examples_spec().is_none() {
            bail!("{}: the model package has no calibration for intents by example (heads.json: examples)", at());
        }
        let bytes = std::fs::metadata(path).with_context(at)?.len();
        if bytes > BYTES_MAX {
            bail!("{}: found {bytes} bytes, expected at most {BYTES_MAX}", at());
        }
        let text = std::fs::read_to_string(path).with_context(at)?;
        let file: IntentsFile = toml::from_str(&text).map_err(|error| anyhow!("{}", without_source(&text, &error, &at())))?;
        let faults = faults(&file);
        if !faults.is_empty() {
            bail!("{}:\n  {}", at(), faults.join("\n  "));
        }
        let mut intents = Vec::with_capacity(file.intent.len());
        for entry in &file.intent {
            let examples: Vec<&str> = entry.examples.iter().map(String::as_str).collect();
            let intent = scorer.example_intent(&examples)?;
            let intent = intent.ok_or_else(|| anyhow!("{}: intent {:?}: examples: fewer than two hold a word", at(), entry.id))?;
            intents.push((entry.id.clone(), intent));
        }
        Ok(Self(intents))
    }

    /// p of each intent for a scored message.
    pub fn score(&self, scorer: &Scorer, signals: &Signals) -> Vec<(String, Signal<Probability>)> {
        let Some(spec) = scorer.examples_spec() else { return Vec::new() };
        let p = |intent: &ExampleIntent| signals.embedding.as_ref().map(|e| spec.probability(intent, e)).map_err(|absence| *absence);
        self.0.iter().map(|(id, intent)| (id.clone(), p(intent))).collect()
    }
}

/// The error without the line of the file that TOML errors quote: it may hold what customers wrote.
fn without_source(text: &str, error: &toml::de::Error, at: &str) -> String {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    format!("{at}: {place}{}", error.message())
}

fn faults(file: &IntentsFile) -> Vec<String> {
    let mut faults = Vec::new();
    if !(1..=INTENTS_MAX).contains(&file.intent.len()) {
        faults.push(format!("intent: found {}, expected 1 to {INTENTS_MAX}", file.intent.len()));
    }
    for (i, entry) in file.intent.iter().enumerate().take(INTENTS_MAX) {
        let count = entry.examples.len();
        if !(EXAMPLES_MIN..=EXAMPLES_MAX).contains(&count) {
            faults.push(format!("intent {:?}: examples: found {count}, expected {EXAMPLES_MIN} to {EXAMPLES_MAX}", entry.id));
        }
        if entry.id.is_empty() {
            faults.push(format!("intent {i}: id: found nothing, expected a name"));
        }
        if file.intent[..i].iter().any(|other| other.id == entry.id) {
            faults.push(format!("intent {:?}: id: found twice, expected once", entry.id));
        }
    }
    faults
}
