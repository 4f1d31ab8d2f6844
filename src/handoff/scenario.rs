//! Conversations with what is expected of a policy: its decisions, what the package says at the end, and what the customer hears. An operator's tests.

pub mod texts;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

pub use self::texts::{ExpectedField, ExpectedPart};
use super::decision::{Action, Decision};
use super::input::{Facts, WrittenFact};
use super::observation::{MessageSignals, Unscored};
use super::policy::Policy;
use super::transcript::{Before, Entry, Said, Scorable, Transcript, What, event, level};
use crate::message::{Id, Speaker};
use crate::time::{Timestamp, parse_span};

/// Most scenarios of a policy.
pub const SCENARIOS_MAX: usize = 10_000;
/// Most bytes of one file.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// When scenarios begin: a Monday at ten in the morning.
const START: &str = "2026-01-05T10:00:00Z";
/// Between two turns.
const PAUSE: Duration = Duration::from_secs(30);

/// A conversation with what is expected of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What happens.
    pub transcript: Transcript,
    /// Every decision, in order; nothing else may be decided.
    pub expect: Vec<Expected>,
    /// What the package of its end must say.
    pub package: Vec<ExpectedField>,
    /// What the message to the customer must say.
    pub message: Vec<ExpectedPart>,
}

/// One decision that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The turn at which it falls, from 1.
    pub turn: usize,
    /// What is decided.
    pub action: Action,
    /// The trigger that decides.
    pub trigger: String,
    /// Its urgency.
    #[serde(default)]
    pub urgency: Option<String>,
    /// Its queue.
    #[serde(default)]
    pub queue: Option<String>,
    /// Its message.
    #[serde(default)]
    pub message: Option<String>,
    /// Other triggers that fire at this turn.
    #[serde(default)]
    pub also: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    scenario: Vec<Entries>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    name: String,
    turns: Vec<Turn>,
    expect: Vec<Expected>,
    #[serde(default)]
    package: Vec<texts::WrittenField>,
    #[serde(default)]
    message: Vec<texts::WrittenPart>,
    #[serde(default)]
    events: Vec<EarlierEvent>,
    #[serde(default)]
    contacts: Vec<EarlierContact>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Turn {
    customer: Option<String>,
    bot: Option<String>,
    agent: Option<String>,
    confidence: Option<f64>,
    proposal: Option<bool>,
    unscored: Option<bool>,
    facts: Option<std::collections::BTreeMap<String, WrittenFact>>,
    facts_missing: Option<String>,
    event: Option<NamedEvent>,
    wait: Option<String>,
    returned: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedEvent {
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EarlierEvent {
    kind: String,
    name: String,
    ago: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EarlierContact {
    ago: String,
    text: String,
    #[serde(default)]
    resolved: Option<bool>,
}

/// Reads a file of scenarios. `file` names it in faults.
pub fn parse(file: &str, source: &str) -> Result<Vec<Scenario>, String> {
    if source.len() > FILE_BYTES_MAX {
        return Err(format!("{file}: found {} bytes, expected at most {FILE_BYTES_MAX}", source.len()));
    }
    let read: ScenarioFile = toml::from_str(source).map_err(|error| {
        let line = error.span().map_or(1, |span| source[..span.start.min(source.len())].matches('\n').count() + 1);
        format!("{file}:{line}: {}", error.message())
    })?;
    read.scenario.into_iter().map(|entries| entries.scenario().map_err(|fault| format!("{file}: {fault}"))).collect()
}

impl Entries {
    fn scenario(self) -> Result<Scenario, String> {
        let name = self.name;
        let at = |what: String| format!("scenario {name:?}: {what}");
        let start = Timestamp::parse(START).expect("a constant");
        let ago = |text: &str| {
            parse_span(text).map(|span| start.minus(span)).ok_or_else(|| format!("ago: found {text:?}, expected a span such as 3d"))
        };
        let mut before = Vec::new();
        for earlier in self.events {
            let when = ago(&earlier.ago).map_err(&at)?;
            before.push(Before::Event(event(when, &earlier.kind, earlier.name).map_err(&at)?));
        }
        for (place, earlier) in self.contacts.into_iter().enumerate() {
            let id = Id::new(format!("contact-{place}")).expect("short and printable");
            before.push(Before::Contact { id, at: ago(&earlier.ago).map_err(&at)?, text: earlier.text, resolved: earlier.resolved });
        }
        let mut entries = Vec::new();
        let mut now = start;
        for (place, turn) in self.turns.into_iter().enumerate() {
            let (what, wait) = turn.what(place + 1, now).map_err(|what| at(format!("turn {}: {what}", place + 1)))?;
            now = now.plus(wait);
            entries.push(Entry { at: now, what });
        }
        if entries.is_empty() {
            return Err(at("turns: found none, expected some".to_owned()));
        }
        if let Some(wrong) = self.expect.iter().find(|expected| expected.turn == 0 || expected.turn > entries.len()) {
            return Err(at(format!("expect: found turn {}, expected 1 to {}", wrong.turn, entries.len())));
        }
        if let Some(pair) = self.expect.windows(2).find(|pair| pair[1].turn <= pair[0].turn) {
            return Err(at(format!("expect: found turn {} after turn {}, expected them in order", pair[1].turn, pair[0].turn)));
        }
        let id = Id::new("scenario").expect("short and printable");
        let package = self
            .package
            .into_iter()
            .map(texts::WrittenField::checked)
            .collect::<Result<_, _>>()
            .map_err(|what| at(format!("package: {what}")))?;
        let message = self
            .message
            .into_iter()
            .map(texts::WrittenPart::checked)
            .collect::<Result<_, _>>()
            .map_err(|what| at(format!("message: {what}")))?;
        Ok(Scenario { transcript: Transcript { id, before, entries }, expect: self.expect, package, message, name })
    }
}

impl Turn {
    /// What happens, and how long after the turn before.
    fn what(self, number: usize, before: Timestamp) -> Result<(What, Duration), String> {
        let said = [(Speaker::Customer, self.customer), (Speaker::Bot, self.bot), (Speaker::Agent, self.agent)];
        let mut found: Vec<(What, Duration)> = Vec::new();
        for (speaker, text) in said {
            let Some(text) = text else { continue };
            if text.trim().is_empty() {
                return Err(format!("{}: found nothing, expected a message", speaker.as_str()));
            }
            let id = Id::new(format!("m{number}")).expect("short and printable");
            if speaker != Speaker::Bot && (self.confidence.is_some() || self.proposal.is_some()) {
                return Err("confidence and proposal belong to turns of the bot".to_owned());
            }
            let confidence = self.confidence.map(|p| level(p, "confidence")).transpose()?;
            if speaker == Speaker::Agent && self.unscored.is_some() {
                return Err("unscored belongs to messages of the customer and the bot".to_owned());
            }
            let unscored = self.unscored.unwrap_or(false).then_some(Unscored::Failed);
            found.push((What::Message(Said { id, speaker, text, confidence, proposal: self.proposal.unwrap_or(true), unscored }), PAUSE));
        }
        if self.facts.is_some() || self.facts_missing.is_some() {
            let known =
                self.facts.unwrap_or_default().into_iter().try_fold(Facts::default(), |known, (name, fact)| known.with(&name, fact.into()));
            let known = known.map_err(|fault| format!("facts.{fault}"))?;
            let known = self.facts_missing.as_ref().map_or_else(|| known.clone(), |reason| known.clone().missing(reason));
            found.push((What::Facts(known), Duration::ZERO));
        }
        if let Some(named) = self.event {
            found.push((What::Event(event(before, &named.kind, named.name)?), Duration::ZERO));
        }
        if let Some(text) = self.wait {
            let wait = parse_span(&text).ok_or_else(|| format!("wait: found {text:?}, expected a span such as 10m"))?;
            found.push((What::Timer, wait));
        }
        if self.returned == Some(true) {
            found.push((What::Returned, PAUSE));
        }
        let count = found.len();
        let expected = "expected one of customer, bot, agent, facts, event, wait, returned";
        match found.pop() {
            Some(one) if count == 1 => Ok(one),
            Some(_) => Err(format!("found {count} things that happen, {expected}")),
            None => Err(format!("found nothing that happens, {expected}")),
        }
    }
}

/// What was decided at a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The turn, from 1.
    pub turn: usize,
    /// What.
    pub decision: Decision,
}

/// How a scenario went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Every decision, in order.
    pub decided: Vec<Decided>,
    /// What is not as expected; empty where all is.
    pub differences: Vec<String>,
}

impl Scenario {
    /// Plays the scenario and compares.
    pub fn run(&self, policy: &Policy, signals: impl FnMut(&Scorable) -> Result<MessageSignals, Unscored>) -> Outcome {
        let mut decided = Vec::new();
        self.transcript.play(policy, signals, |place, step| {
            if step.decision.action != Action::None {
                decided.push(Decided { turn: place + 1, decision: step.decision.clone() });
            }
        });
        let mut differences = Vec::new();
        for expected in &self.expect {
            match decided.iter().find(|decided| decided.turn == expected.turn) {
                Some(found) => differences.extend(expected.differences(&found.decision, policy)),
                None => differences.push(format!(
                    "turn {}: expected {} by {}, found no decision",
                    expected.turn,
                    expected.action.as_str(),
                    expected.trigger
                )),
            }
        }
        for found in decided.iter().filter(|found| !self.expect.iter().any(|expected| expected.turn == found.turn)) {
            differences.push(format!("turn {}: expected no decision, found {}", found.turn, describe(&found.decision, policy)));
        }
        Outcome { decided, differences }
    }
}

impl Expected {
    fn differences(&self, found: &Decision, policy: &Policy) -> Vec<String> {
        let trigger = found.trigger.map(|place| &policy.triggers[usize::from(place)]);
        let text = |value: Option<&str>| value.unwrap_or("none").to_owned();
        let mut pairs = vec![
            ("action", self.action.as_str().to_owned(), found.action.as_str().to_owned()),
            ("trigger", self.trigger.clone(), text(trigger.map(|trigger| trigger.id.as_str()))),
        ];
        if let Some(urgency) = &self.urgency {
            pairs.push(("urgency", urgency.clone(), text(trigger.map(|trigger| trigger.urgency.as_str()))));
        }
        if let Some(queue) = &self.queue {
            pairs.push(("queue", queue.clone(), text(trigger.map(|trigger| policy.queues[trigger.queue].id.as_str()))));
        }
        if let Some(message) = &self.message {
            pairs.push(("message", message.clone(), text(trigger.map(|trigger| policy.messages[trigger.message].id.as_str()))));
        }
        let others = |decision: &Decision| {
            let mut ids: Vec<&str> = decision
                .fired
                .iter()
                .filter(|fired| Some(**fired) != decision.trigger)
                .map(|at| policy.triggers[usize::from(*at)].id.as_str())
                .collect();
            ids.sort_unstable();
            ids.join(", ")
        };
        let mut also: Vec<&str> = self.also.iter().map(String::as_str).collect();
        also.sort_unstable();
        // What else fires while an attempt is decided is its own matter; of a trigger that decides, all must be named.
        if found.cause == super::decision::Cause::Fired || !also.is_empty() {
            pairs.push(("also", also.join(", "), others(found)));
        }
        let wrong = pairs.into_iter().filter(|(_, expected, found)| expected != found);
        wrong.map(|(field, expected, found)| format!("turn {}: {field}: expected {expected:?}, found {found:?}", self.turn)).collect()
    }
}

/// A decision in a few words: `hand_over by asks-for-person (fired)`.
pub fn describe(decision: &Decision, policy: &Policy) -> String {
    let trigger = decision.trigger.map_or("nothing", |place| policy.triggers[usize::from(place)].id.as_str());
    format!("{} by {trigger} ({})", decision.action.as_str(), decision.cause.as_str())
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} at turn {}", self.action.as_str(), self.trigger, self.turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_scenario_is_named() {
        for (turns, expect, expected) in [
            ("", "", "turns: found none, expected some"),
            ("{ customer = \"hi\", bot = \"hi\" }", "", "turn 1: found 2 things that happen, expected one of customer"),
            ("{ confidence = 0.5 }", "", "turn 1: found nothing that happens"),
            ("{ bot = \"hi\", confidence = 1.5 }", "", "turn 1: confidence: expected a number from 0 to 1"),
            ("{ wait = \"soon\" }", "", "turn 1: wait: found \"soon\", expected a span such as 10m"),
            ("{ customer = \"\" }", "", "turn 1: customer: found nothing, expected a message"),
            ("{ facts = { tier = 3 } }", "", "turn 1: facts.tier: expected a text"),
            ("{ customer = \"hi\" }", "{ turn = 2, action = \"hand_over\", trigger = \"t\" }", "expect: found turn 2, expected 1 to 1"),
            ("{ custmer = \"hi\" }", "", "unknown field `custmer`"),
            ("{ customer = \"hi\" }", "{ turn = 1, action = \"hand-over\", trigger = \"t\" }", "unknown variant `hand-over`"),
        ] {
            let source = format!("[[scenario]]\nname = \"n\"\nturns = [{turns}]\nexpect = [{expect}]\n");
            let fault = parse("s.toml", &source).expect_err(expected);
            assert!(fault.starts_with("s.toml") && fault.contains(expected), "{fault}");
        }
    }
}
