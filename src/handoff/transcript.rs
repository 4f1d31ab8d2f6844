//! A whole conversation as a file or a table holds it, and how it is played through a policy.
//!
//! Texts become signals outside (here is no model): [`Transcript::texts`] says which, and [`Transcript::play`] asks for them again, one by one, in order.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::conversation::Conversation;
use super::customer::{Contact, Customer, EVENT_NAME_BYTES_MAX, Event};
use super::input::{Body, Facts, Input, WrittenFact};
use super::observation::{MessageSignals, Observation, Unscored};
use super::policy::Policy;
use super::step::{Step, step};
use crate::message::{Id, Speaker};
use crate::signal::BasisPoints;
use crate::time::Timestamp;

/// Most entries of a transcript.
pub const ENTRIES_MAX: usize = 1_000_000;

/// A conversation with all that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// Its id.
    pub id: Id,
    /// What the customer did and said before.
    pub before: Vec<Before>,
    /// What happened, in order.
    pub entries: Vec<Entry>,
}

/// What is known of the customer from before.
#[derive(Clone, Debug, PartialEq)]
pub enum Before {
    /// Something the customer did.
    Event(Event),
    /// An earlier conversation, by what it was about.
    Contact {
        /// Its id.
        id: Id,
        /// When it began.
        at: Timestamp,
        /// What the customer said.
        text: String,
        /// Whether the issue was solved.
        resolved: Option<bool>,
    },
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Somebody said something.
    Message(Said),
    /// The customer did something elsewhere.
    Event(Event),
    /// The backend looked something up.
    Facts(Facts),
    /// Time passed.
    Timer,
    /// The person handed the conversation back to the bot.
    Returned,
}

/// A message with its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Its id.
    pub id: Id,
    /// Who said it.
    pub speaker: Speaker,
    /// What.
    pub text: String,
    /// Bot turns: how sure the bot was.
    pub confidence: Option<BasisPoints>,
    /// Bot turns: whether it offers something.
    pub proposal: bool,
    /// Why it has no signals, if it must have none.
    pub unscored: Option<Unscored>,
}

/// A text that is to be scored, with the bot's turn before it, where it is the customer's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scorable {
    /// The message.
    pub text: String,
    /// The bot's last turn.
    pub previous_bot_text: Option<String>,
}

impl Transcript {
    /// Every text that [`Transcript::play`] needs the signals of, in order.
    pub fn texts(&self) -> Vec<Scorable> {
        let before = self.before.iter().filter_map(|before| match before {
            Before::Contact { text, .. } => Some(Scorable { text: text.clone(), previous_bot_text: None }),
            Before::Event(_) => None,
        });
        let mut texts: Vec<Scorable> = before.collect();
        let mut bot: Option<&str> = None;
        for entry in &self.entries {
            let What::Message(said) = &entry.what else { continue };
            if said.unscored.is_none() && said.speaker != Speaker::Agent {
                texts.push(scorable(said, bot));
            }
            if said.speaker == Speaker::Bot {
                bot = Some(&said.text);
            }
        }
        texts
    }

    /// Plays the conversation; `each` hears of every entry, by its place, with what it led to. `signals` gives those of a text.
    pub fn play(
        &self,
        policy: &Policy,
        mut signals: impl FnMut(&Scorable) -> Result<MessageSignals, Unscored>,
        mut each: impl FnMut(usize, &Step),
    ) -> Conversation {
        let mut customer = self.customer_before(&mut signals);
        let mut conversation = Conversation::new(self.id.clone());
        let mut bot: Option<&str> = None;
        let mut sequence = 0u32;
        for (place, entry) in self.entries.iter().enumerate() {
            let body = match &entry.what {
                What::Message(said) => {
                    sequence = sequence.saturating_add(1);
                    let scored = match said.unscored {
                        Some(unscored) => Err(unscored),
                        None if said.speaker == Speaker::Agent => Err(Unscored::NotAsked),
                        None => signals(&scorable(said, bot)),
                    };
                    Body::Message(said.observation(sequence, scored, policy))
                }
                What::Event(event) => {
                    customer.record(event.clone());
                    Body::Event { kind: event.kind.clone() }
                }
                What::Facts(facts) => Body::Facts(facts.clone()),
                What::Timer => Body::Timer,
                What::Returned => Body::Returned,
            };
            if let What::Message(Said { speaker: Speaker::Bot, text, .. }) = &entry.what {
                bot = Some(text);
            }
            let readings = policy.read_customer(&conversation, Some(&customer), &body, entry.at);
            let done = step(policy, conversation, &Input { at: entry.at, body, customer: readings });
            each(place, &done);
            conversation = done.conversation;
        }
        conversation
    }

    /// Earlier conversations that are known.
    pub fn contacts(&self) -> usize {
        self.before.iter().filter(|before| matches!(before, Before::Contact { .. })).count()
    }

    /// Whether anything is known of the customer outside the conversation.
    pub fn knows_customer(&self) -> bool {
        !self.before.is_empty() || self.entries.iter().any(|entry| matches!(entry.what, What::Event(_)))
    }

    /// The customer after the conversation.
    pub fn customer(&self, mut signals: impl FnMut(&Scorable) -> Result<MessageSignals, Unscored>) -> Customer {
        let mut customer = self.customer_before(&mut signals);
        for entry in &self.entries {
            if let What::Event(event) = &entry.what {
                customer.record(event.clone());
            }
        }
        customer
    }

    fn customer_before(&self, signals: &mut impl FnMut(&Scorable) -> Result<MessageSignals, Unscored>) -> Customer {
        let mut customer = Customer::default();
        for before in &self.before {
            match before {
                Before::Event(event) => customer.record(event.clone()),
                Before::Contact { id, at, text, resolved } => {
                    let scored = signals(&Scorable { text: text.clone(), previous_bot_text: None });
                    let issue = scored.ok().and_then(|signals| signals.embedding.ok());
                    customer.contact(Contact { conversation: id.clone(), at: *at, issue, resolved: *resolved });
                }
            }
        }
        customer
    }
}

fn scorable(said: &Said, bot: Option<&str>) -> Scorable {
    let previous_bot_text = bot.filter(|_| said.speaker == Speaker::Customer).map(str::to_owned);
    Scorable { text: said.text.clone(), previous_bot_text }
}

impl Said {
    /// What the engine reads of the message.
    pub fn observation(&self, sequence: u32, signals: Result<MessageSignals, Unscored>, policy: &Policy) -> Observation {
        let customer = self.speaker == Speaker::Customer;
        Observation {
            id: self.id.clone(),
            sequence,
            speaker: self.speaker,
            words: u16::try_from(self.text.split_whitespace().count()).unwrap_or(u16::MAX),
            signals,
            says: if customer { policy.says(&self.text) } else { Vec::new() },
            bot_confidence: self.confidence.filter(|_| self.speaker == Speaker::Bot),
            proposal: self.proposal && self.speaker == Speaker::Bot,
        }
    }
}

/// One line of an exported conversation, as docs/conversation.md describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Message {
        #[serde(default)]
        id: Option<String>,
        at: String,
        speaker: Speaker,
        text: String,
        #[serde(default)]
        confidence: Option<f64>,
        #[serde(default)]
        proposal: Option<bool>,
    },
    Event {
        at: String,
        kind: String,
        name: String,
    },
    Facts {
        at: String,
        #[serde(default)]
        facts: BTreeMap<String, WrittenFact>,
        #[serde(default)]
        missing: Option<String>,
    },
    Contact {
        #[serde(default)]
        id: Option<String>,
        at: String,
        text: String,
        #[serde(default)]
        resolved: Option<bool>,
    },
    Timer {
        at: String,
    },
    Returned {
        at: String,
    },
}

impl Transcript {
    /// Reads an exported conversation, one JSON object a line; the first fault, by line, without any text of the file.
    pub fn parse(id: Id, source: &str) -> Result<Self, String> {
        let mut transcript = Self { id, before: Vec::new(), entries: Vec::new() };
        let mut ids = HashSet::new();
        for (at, line) in source.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            transcript.take(line, at + 1, &mut ids).map_err(|what| format!("line {}: {what}", at + 1))?;
        }
        if transcript.entries.is_empty() {
            return Err("found no message, event or facts, expected at least one line".to_owned());
        }
        Ok(transcript)
    }

    fn take(&mut self, line: &str, number: usize, ids: &mut HashSet<Id>) -> Result<(), String> {
        if self.entries.len() + self.before.len() >= ENTRIES_MAX {
            return Err(format!("more than {ENTRIES_MAX} entries"));
        }
        let line: Line = serde_json::from_str(line).map_err(|error| without_text(&error))?;
        let time = |text: &str| {
            Timestamp::parse(text).ok_or_else(|| "at: expected a time such as 2026-11-22T09:30:00Z, of the years 1970 to 9999".to_owned())
        };
        let given = |id: Option<String>, what: &str| {
            Id::new(id.unwrap_or_else(|| format!("{what}-{number}"))).map_err(|fault| format!("id: {fault}"))
        };
        let entry = match line {
            Line::Contact { id, at, text, resolved } => {
                self.before.push(Before::Contact { id: given(id, "contact")?, at: time(&at)?, text: filled(text)?, resolved });
                return Ok(());
            }
            Line::Message { id, at, speaker, text, confidence, proposal } => {
                let confidence = confidence.map(|p| level(p, "confidence")).transpose()?;
                if speaker != Speaker::Bot && (confidence.is_some() || proposal.is_some()) {
                    return Err("confidence and proposal belong to turns of the bot".to_owned());
                }
                let id = given(id, "message")?;
                if !ids.insert(id.clone()) {
                    return Err("id: found twice, expected once".to_owned());
                }
                let proposal = proposal.unwrap_or(true);
                Entry {
                    at: time(&at)?,
                    what: What::Message(Said { id, speaker, text: filled(text)?, confidence, proposal, unscored: None }),
                }
            }
            Line::Event { at, kind, name } => {
                let at = time(&at)?;
                Entry { at, what: What::Event(event(at, &kind, name)?) }
            }
            Line::Facts { at, facts, missing } => {
                let known = facts
                    .into_iter()
                    .try_fold(Facts::default(), |known, (name, fact)| known.with(&name, fact.into()))
                    .map_err(|fault| fault.to_string())?;
                let known = missing.map_or_else(|| known.clone(), |reason| known.clone().missing(&reason));
                Entry { at: time(&at)?, what: What::Facts(known) }
            }
            Line::Timer { at } => Entry { at: time(&at)?, what: What::Timer },
            Line::Returned { at } => Entry { at: time(&at)?, what: What::Returned },
        };
        self.entries.push(entry);
        Ok(())
    }
}

/// A JSON error says what it found, which may be what a customer wrote.
fn without_text(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line").next().unwrap_or_default();
    // `unknown variant `X`, expected ...` and the like quote what they found.
    let expected = || message.rsplit_once(", expected ").map(|(_, expected)| expected.replace('`', ""));
    if message.starts_with("missing field") || message.starts_with("duplicate field") {
        return message.to_owned();
    }
    if let (true, Some(expected)) = (message.starts_with("unknown variant"), expected()) {
        return format!("found another word, expected {expected}");
    }
    if let (true, Some(expected)) = (message.starts_with("unknown field"), expected()) {
        return format!("found an unknown key, expected {expected}");
    }
    "is not an entry of a conversation: expected one JSON object a line, as docs/conversation.md describes it".to_owned()
}

fn filled(text: String) -> Result<String, String> {
    if text.trim().is_empty() { Err("text: found nothing, expected a message".to_owned()) } else { Ok(text) }
}

/// A probability that a file gives.
pub fn level(value: f64, field: &str) -> Result<BasisPoints, String> {
    let value = Some(value).filter(|value| (0.0..=1.0).contains(value)).and_then(BasisPoints::new);
    value.ok_or_else(|| format!("{field}: expected a number from 0 to 1"))
}

/// An event that a file gives.
pub fn event(at: Timestamp, kind: &str, name: String) -> Result<Event, String> {
    let kind = Id::new(kind).map_err(|fault| format!("kind: {fault}"))?;
    if name.len() > EVENT_NAME_BYTES_MAX {
        return Err(format!("name: found {} bytes, expected at most {EVENT_NAME_BYTES_MAX}", name.len()));
    }
    Ok(Event { at, kind, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_wrong_is_named_without_its_text() {
        let good = r#"{"type":"message","at":"2026-11-22T09:30:00Z","speaker":"customer","text":"hi"}"#;
        for (line, expected) in [
            (r#"{"type":"message","speaker":"customer","text":"hi"}"#, "line 2: missing field `at`"),
            (r#"{"type":"message","at":"yesterday","speaker":"customer","text":"hi"}"#, "line 2: at: expected a time such as"),
            (
                r#"{"type":"message","at":"2026-11-22T09:30:00Z","speaker":"robot","text":"hi"}"#,
                "line 2: found another word, expected one of customer, bot, agent",
            ),
            (r#"{"type":"message","at":"2026-11-22T09:30:00Z","speaker":"customer","text":" "}"#, "line 2: text: found nothing"),
            (
                r#"{"type":"message","at":"2026-11-22T09:30:00Z","speaker":"bot","text":"x","confidence":1.5}"#,
                "line 2: confidence: expected a number from 0 to 1",
            ),
            (
                r#"{"type":"message","at":"2026-11-22T09:30:00Z","speaker":"customer","text":"x","proposal":true}"#,
                "line 2: confidence and proposal belong to turns of the bot",
            ),
            (r#"{"type":"event","at":"2026-11-22T09:30:00Z","kind":"page view","name":"/"}"#, "line 2: kind: found 9 bytes"),
            (r#"{"type":"facts","at":"2026-11-22T09:30:00Z","facts":{"tier":3}}"#, "line 2: tier: expected a text"),
            (r#"{"type":"message", secret"#, "line 2: is not an entry of a conversation: expected one JSON object a line"),
            (r#""secret""#, "line 2: is not an entry of a conversation"),
        ] {
            let fault = Transcript::parse(Id::new("c").unwrap(), &format!("{good}\n{line}")).expect_err(line);
            assert!(fault.starts_with(expected) && !fault.contains("secret"), "{fault}");
        }
        assert!(Transcript::parse(Id::new("c").unwrap(), "\n").unwrap_err().contains("expected at least one line"));
    }
}
