//! A policy proves itself on its scenarios before it serves.
//!
//! Scenarios are played with the signals of the real model, or with signals that were recorded from it. A [`Proof`] says which policy passed which scenarios
//! with which model; where all three are the same, nothing has to be played again.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::{Deserialize, Serialize};

use super::observe::{Observer, ObserverError, SignalTable};
use super::packaging::of_transcript;
use crate::handoff::observation::{MessageSignals, Unscored, Vocabulary};
use crate::handoff::policy::{self, Policy};
use crate::handoff::receipt::Digest;
use crate::handoff::scenario::{self, Outcome, SCENARIOS_MAX, Scenario};
use crate::handoff::transcript::Scorable;
use crate::model::lexical::Lexicon;
use crate::model::scorer::Scorer;

/// Most bytes of a file of recorded signals.
const RECORDED_BYTES_MAX: u64 = 64 << 20;
/// Name of the recorded signals inside a folder of scenarios.
pub const RECORDED_FILE: &str = "recorded.json";

/// A named text: a policy or a file of scenarios.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How faults call it.
    pub name: String,
    /// What it says.
    pub text: String,
    /// The language files of a policy, by the path that it names each with.
    pub languages: Vec<(String, String)>,
}

impl Source {
    fn plain(name: String, text: String) -> Self {
        Self { name, text, languages: Vec::new() }
    }

    /// The policy that this is, for the labels of a model.
    pub fn read_policy(&self, vocabulary: &Vocabulary) -> Result<Policy, Vec<policy::PolicyFault>> {
        Policy::read_with(&self.name, &self.text, &self.languages, vocabulary)
    }
}

const fn scenario(name: &'static str, text: &'static str) -> (&'static str, &'static str) {
    (name, text)
}

/// The scenarios of the default policy, compiled in: every file of policy/scenarios.
#[rustfmt::skip]
const DEFAULT_SCENARIOS: &[(&str, &str)] = &[
    scenario("angry", include_str!("../../policy/scenarios/angry.toml")),
    scenario("asks-for-person", include_str!("../../policy/scenarios/asks-for-person.toml")),
    scenario("bot-repeats", include_str!("../../policy/scenarios/bot-repeats.toml")),
    scenario("bot-unsure", include_str!("../../policy/scenarios/bot-unsure.toml")),
    scenario("contract-termination", include_str!("../../policy/scenarios/contract-termination.toml")),
    scenario("distress", include_str!("../../policy/scenarios/distress.toml")),
    scenario("enterprise-billing", include_str!("../../policy/scenarios/enterprise-billing.toml")),
    scenario("failed-attempts", include_str!("../../policy/scenarios/failed-attempts.toml")),
    scenario("legal-threat", include_str!("../../policy/scenarios/legal-threat.toml")),
    scenario("missing-facts", include_str!("../../policy/scenarios/missing-facts.toml")),
    scenario("not-understood", include_str!("../../policy/scenarios/not-understood.toml")),
    scenario("oscillating", include_str!("../../policy/scenarios/oscillating.toml")),
    scenario("pricing-complaint", include_str!("../../policy/scenarios/pricing-complaint.toml")),
    scenario("privacy-demand", include_str!("../../policy/scenarios/privacy-demand.toml")),
    scenario("recovers", include_str!("../../policy/scenarios/recovers.toml")),
    scenario("repeat-contact", include_str!("../../policy/scenarios/repeat-contact.toml")),
    scenario("returned", include_str!("../../policy/scenarios/returned.toml")),
    scenario("rising-frustration", include_str!("../../policy/scenarios/rising-frustration.toml")),
    scenario("security-concern", include_str!("../../policy/scenarios/security-concern.toml")),
    scenario("several-at-once", include_str!("../../policy/scenarios/several-at-once.toml")),
    scenario("soft-attempts", include_str!("../../policy/scenarios/soft-attempts.toml")),
    scenario("time-passes", include_str!("../../policy/scenarios/time-passes.toml")),
    scenario("unknown-language", include_str!("../../policy/scenarios/unknown-language.toml")),
    scenario("unscored", include_str!("../../policy/scenarios/unscored.toml")),
];
/// Their recorded signals.
const DEFAULT_RECORDED: &str = include_str!("../../policy/scenarios/recorded.json");
/// The proof of the default policy with the shipped model.
const DEFAULT_PROOF: &str = include_str!("../../policy/default.proof");

/// Where a policy and what belongs to it come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyPlaces {
    /// The policy; absent: the default one.
    pub file: Option<PathBuf>,
    /// Folder of its scenarios; absent: `scenarios` beside the file, if it is there, and the default ones for the default policy.
    pub scenarios: Option<PathBuf>,
    /// Its proof; absent: the file's name with the ending `proof`, and the one compiled in for the default policy.
    pub proof: Option<PathBuf>,
}

/// A file that cannot be read, or says what it must not.
#[derive(Debug)]
pub enum ProvingError {
    /// It cannot be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too large, or no text, or wrong inside; all faults, a line each.
    Content(String),
    /// The policy is wrong; all faults.
    Policy(Vec<policy::PolicyFault>),
    /// Its intents by example have no vectors.
    Examples(ObserverError),
    /// The engine failed.
    Score(crate::model::scorer::ScoreError),
    /// Scenarios did not go as expected.
    Failed {
        /// How many of how many.
        failed: usize,
        /// All.
        of: usize,
        /// The first, with its first difference.
        first: String,
    },
}

impl fmt::Display for ProvingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, .. } => write!(f, "{}", path.display()),
            Self::Content(what) => f.write_str(what),
            Self::Policy(faults) => {
                write!(f, "the policy is wrong:")?;
                faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
            Self::Examples(error) => error.fmt(f),
            Self::Score(error) => error.fmt(f),
            Self::Failed { failed, of, first } => {
                write!(f, "the policy fails {failed} of its {of} scenarios (baton check shows them); {first}")
            }
        }
    }
}

impl std::error::Error for ProvingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Examples(error) => Some(error),
            Self::Score(error) => Some(error),
            Self::Content(_) | Self::Policy(_) | Self::Failed { .. } => None,
        }
    }
}

/// Reads a text file of bounded size. A device or a pipe has no size to ask for, so that the reading itself is bounded as well.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, ProvingError> {
    let io = |source| ProvingError::Io { path: path.to_owned(), source };
    let too_large = |found: String| ProvingError::Content(format!("{}: found {found} bytes, expected at most {bytes_max}", path.display()));
    let bytes = fs::metadata(path).map_err(io)?.len();
    if bytes > bytes_max {
        return Err(too_large(bytes.to_string()));
    }
    let mut read = Vec::new();
    fs::File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut read)).map_err(io)?;
    if read.len() as u64 > bytes_max {
        return Err(too_large(format!("more than {bytes_max}")));
    }
    String::from_utf8(read).map_err(|_| io(io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8")))
}

impl PolicyPlaces {
    /// The text of the policy.
    pub fn policy(&self) -> Result<Source, ProvingError> {
        match &self.file {
            None => {
                let languages = built_in(policy::read::language_files(policy::DEFAULT));
                Ok(Source { languages, ..Source::plain(policy::DEFAULT_NAME.to_owned(), policy::DEFAULT.to_owned()) })
            }
            Some(path) => {
                let text = read_text(path, policy::read::BYTES_MAX as u64)?;
                let languages = language_files(path, &text)?;
                Ok(Source { languages, ..Source::plain(path.display().to_string(), text) })
            }
        }
    }

    fn scenario_folder(&self) -> Option<PathBuf> {
        let beside = || Some(self.file.as_ref()?.parent()?.join("scenarios")).filter(|folder| folder.is_dir());
        self.scenarios.clone().or_else(beside)
    }

    /// The scenarios, by file in the order of their names; none where the policy has none.
    pub fn scenarios(&self) -> Result<Vec<Source>, ProvingError> {
        let Some(folder) = self.scenario_folder() else {
            let all = DEFAULT_SCENARIOS.iter().filter(|_| self.file.is_none());
            return Ok(all.map(|(name, text)| Source::plain(format!("policy/scenarios/{name}.toml"), (*text).to_owned())).collect());
        };
        let io = |source| ProvingError::Io { path: folder.clone(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        let read = |path: &PathBuf| Ok(Source::plain(path.display().to_string(), read_text(path, scenario::FILE_BYTES_MAX as u64)?));
        paths.iter().map(read).collect()
    }

    /// The recorded signals.
    pub fn recorded(&self) -> Result<Recorded, ProvingError> {
        let (name, text) = match self.scenario_folder() {
            None if self.file.is_none() => (RECORDED_FILE.to_owned(), DEFAULT_RECORDED.to_owned()),
            None => return Err(ProvingError::Content("the policy has no folder of scenarios; give --scenarios".to_owned())),
            Some(folder) => {
                let path = folder.join(RECORDED_FILE);
                (path.display().to_string(), read_text(&path, RECORDED_BYTES_MAX)?)
            }
        };
        serde_json::from_str(&text)
            .map_err(|error| ProvingError::Content(format!("{name}: {error}; record anew with baton check --record")))
    }

    /// Where recorded signals are written.
    pub fn recorded_path(&self) -> Option<PathBuf> {
        self.scenario_folder().map(|folder| folder.join(RECORDED_FILE))
    }

    /// Where the proof is written.
    pub fn proof_path(&self) -> Option<PathBuf> {
        self.proof.clone().or_else(|| self.file.as_ref().map(|file| file.with_extension("proof")))
    }

    /// The proof, if there is one that can be read; a damaged one proves nothing.
    pub fn proof(&self) -> Option<Proof> {
        let text = match self.proof_path() {
            Some(path) => read_text(&path, 4096).ok()?,
            None => DEFAULT_PROOF.to_owned(),
        };
        serde_json::from_str(&text).ok()
    }
}

/// The language files of a policy: those below its folder, and those that are compiled in where one is not there. What is neither is a fault of the policy.
fn language_files(policy: &Path, text: &str) -> Result<Vec<(String, String)>, ProvingError> {
    let folder = policy.parent().unwrap_or(Path::new(""));
    let (there, absent): (Vec<String>, Vec<String>) =
        policy::read::language_files(text).into_iter().partition(|path| folder.join(path).exists());
    let mut files = built_in(absent);
    for path in there {
        let text = read_text(&folder.join(&path), policy::read::BYTES_MAX as u64)?;
        files.push((path, text));
    }
    Ok(files)
}

/// Those of some language files that are compiled in.
fn built_in(paths: Vec<String>) -> Vec<(String, String)> {
    let text = |path: &String| policy::language::BUILT_IN.into_iter().find(|(known, _)| known == path).map(|(_, text)| text.to_owned());
    paths.into_iter().filter_map(|path| Some((path.clone(), text(&path)?))).collect()
}

/// Reads files of scenarios; names are known once over all files.
pub fn parse(sources: &[Source]) -> Result<Vec<Scenario>, ProvingError> {
    let mut all: Vec<Scenario> = Vec::new();
    for source in sources {
        let scenarios = scenario::parse(&source.name, &source.text).map_err(ProvingError::Content)?;
        for scenario in scenarios {
            if all.iter().any(|other| other.name == scenario.name) {
                return Err(ProvingError::Content(format!("{}: scenario {:?}: found twice, expected once", source.name, scenario.name)));
            }
            all.push(scenario);
        }
        if all.len() > SCENARIOS_MAX {
            return Err(ProvingError::Content(format!("{}: more than {SCENARIOS_MAX} scenarios", source.name)));
        }
    }
    Ok(all)
}

/// Scores every text of some scenarios once.
pub fn score(scorer: &Scorer, observer: &Observer, scenarios: &[Scenario]) -> Result<SignalTable, ProvingError> {
    let texts = scenarios.iter().flat_map(|scenario| scenario.transcript.texts()).collect();
    observer.table(scorer, texts).map_err(ProvingError::Score)
}

/// Plays scenarios; a text without signals in the table counts as not scored. The rules read what packages are made of.
pub fn run(policy: &Policy, scenarios: &[Scenario], table: &SignalTable, lexicon: &Lexicon) -> Vec<Outcome> {
    let signals = |text: &Scorable| table.get(text).cloned().ok_or(Unscored::NotAsked);
    let play = |scenario: &Scenario| {
        let mut outcome = scenario.run(policy, signals);
        if !scenario.package.is_empty() || !scenario.message.is_empty() {
            let package = of_transcript(lexicon, policy, &scenario.transcript, table).package;
            outcome.differences.extend(scenario.package.iter().filter_map(|field| field.difference(&package)));
            outcome.differences.extend(scenario.message.iter().filter_map(|part| part.difference(policy, &package)));
        }
        outcome
    };
    scenarios.iter().map(play).collect()
}

/// Signals that were recorded from a model, with what they were recorded for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The labels of the model.
    pub vocabulary: Vocabulary,
    /// Digest of the policy's intents by example.
    pub intents: String,
    /// Each text with its signals, as hex of the bytes of journals: exact, and short enough to keep.
    pub signals: Vec<RecordedText>,
}

/// One text with its signals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedText {
    /// Digest of the text and of the bot's turn before it.
    pub text: String,
    /// The signals, in hex.
    pub signals: String,
}

fn text_key(text: &Scorable) -> String {
    Digest::of_value(text).short()
}

fn intents_key(policy: &Policy) -> String {
    let intents: Vec<(&str, &[String])> = policy.intents.iter().map(|intent| (intent.id.as_str(), intent.examples.as_slice())).collect();
    Digest::of_value(&intents).short()
}

impl Recorded {
    /// Puts signals down.
    pub fn new(policy: &Policy, table: &SignalTable) -> Self {
        let hex = |signals: &MessageSignals| {
            let bytes = postcard::to_stdvec(signals).expect("plain values in memory are written without fail");
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let signals = table.iter().map(|(text, signals)| RecordedText { text: text_key(text), signals: hex(signals) });
        let mut signals: Vec<RecordedText> = signals.collect();
        signals.sort_by(|a, b| a.text.cmp(&b.text));
        Self { vocabulary: policy.vocabulary.clone(), intents: intents_key(policy), signals }
    }

    /// The signals of the texts of some scenarios; a text that was not recorded is a fault.
    pub fn table(&self, policy: &Policy, scenarios: &[Scenario]) -> Result<SignalTable, ProvingError> {
        let anew = "record anew with baton check --record";
        if self.intents != intents_key(policy) {
            return Err(ProvingError::Content(format!("the policy's intents by example changed since signals were recorded; {anew}")));
        }
        let by_key: BTreeMap<&str, &str> = self.signals.iter().map(|text| (text.text.as_str(), text.signals.as_str())).collect();
        let mut table = SignalTable::new();
        for scenario in scenarios {
            for text in scenario.transcript.texts() {
                let hex = by_key.get(text_key(&text).as_str());
                let signals = hex.and_then(|hex| postcard::from_bytes(&from_hex(hex)?).ok());
                let what = || format!("scenario {:?}: no signals were recorded for one of its texts; {anew}", scenario.name);
                table.insert(text, signals.ok_or_else(|| ProvingError::Content(what()))?);
            }
        }
        Ok(table)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes().chunks(2).map(|pair| Some((digit(pair[0])? * 16 + digit(*pair.get(1)?)?) as u8)).collect()
}

/// Which policy passed which scenarios with which model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Digest of the policy, compiled for the model.
    pub policy: String,
    /// Digest of the model.
    pub model: String,
    /// Digest of the scenarios.
    pub scenarios: String,
    /// How many they are.
    pub passed: usize,
}

impl Proof {
    /// The proof of a policy that passed.
    pub fn new(policy: &Policy, sources: &[Source], passed: usize) -> Self {
        let texts: Vec<&str> = sources.iter().map(|source| source.text.as_str()).collect();
        Self {
            policy: policy.digest.to_string(),
            model: policy.vocabulary.model.clone(),
            scenarios: Digest::of_value(&texts).to_string(),
            passed,
        }
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain values in memory are written without fail");
        text.push('\n');
        text
    }
}

/// A policy that may serve, and how it was proved.
#[derive(Debug)]
pub struct Proved {
    /// Its text.
    pub source: Source,
    /// The policy.
    pub policy: Policy,
    /// Whether a proof was at hand, so that nothing was played.
    pub by_file: bool,
    /// How many scenarios it passed.
    pub scenarios: usize,
}

/// Reads a policy and proves it: by a proof that matches, else by playing its scenarios with the model.
pub fn prove(places: &PolicyPlaces, scorer: &Scorer) -> Result<Proved, ProvingError> {
    prove_source(places, places.policy()?, scorer)
}

/// The same of a policy that was read before.
pub fn prove_source(places: &PolicyPlaces, source: Source, scorer: &Scorer) -> Result<Proved, ProvingError> {
    let policy = source.read_policy(&super::observe::vocabulary(scorer)).map_err(ProvingError::Policy)?;
    let observer = Observer::new(scorer, &policy).map_err(ProvingError::Examples)?;
    let sources = places.scenarios()?;
    let scenarios = parse(&sources)?;
    let proof = Proof::new(&policy, &sources, scenarios.len());
    if places.proof().is_some_and(|found| found == proof) {
        return Ok(Proved { source, policy, by_file: true, scenarios: scenarios.len() });
    }
    let outcomes = run(&policy, &scenarios, &score(scorer, &observer, &scenarios)?, scorer.lexicon());
    let failed = scenarios.iter().zip(&outcomes).filter(|(_, outcome)| !outcome.differences.is_empty());
    let failed: Vec<String> = failed.map(|(scenario, outcome)| format!("{:?}: {}", scenario.name, outcome.differences[0])).collect();
    match failed.first() {
        None => Ok(Proved { source, policy, by_file: false, scenarios: scenarios.len() }),
        Some(first) => Err(ProvingError::Failed { failed: failed.len(), of: scenarios.len(), first: first.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_compiled_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy/scenarios");
        let places = PolicyPlaces { scenarios: Some(folder), ..PolicyPlaces::default() };
        let there: Vec<String> = places.scenarios().unwrap().into_iter().map(|source| source.text).collect();
        let compiled: Vec<String> = PolicyPlaces::default().scenarios().unwrap().into_iter().map(|source| source.text).collect();
        assert_eq!(there, compiled);
    }
}
