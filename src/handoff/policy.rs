//! What the operator wants: triggers, queues, messages, intents by example, thresholds. One TOML file, checked whole when it is read.
//!
//! [`read`] turns the file into a [`Policy`], [`lint`] finds what is well-formed and still wrong, [`document`] prints it for people.
//! Messages in other [`language`]s stand in files of their own.

pub mod document;
pub mod language;
pub mod lint;
pub mod read;

use std::fmt;
use std::time::Duration;

use self::language::{Language, LanguageWords};
use super::conversation::Conversation;
use super::customer::Customer;
use super::expression::Expression;
use super::expression::names::{Argument, Name, Source, Term, TermKind};
use super::hours::Hours;
use super::input::{Body, Input};
use super::mask::Masking;
use super::observation::Vocabulary;
use super::phrase::{Phrase, Words};
use super::receipt::Digest;
use super::trigger::Pace;
use crate::message::Id;
use crate::signal::{BasisPoints, Embedding, QuantizedEmbedding};
use crate::time::Timestamp;

/// The default policy, compiled in.
pub const DEFAULT: &str = include_str!("../../policy/default.toml");
/// Its name in faults.
pub const DEFAULT_NAME: &str = "policy/default.toml";

/// A policy, checked and compiled for the labels of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Of the file's bytes, of its language files' and of the labels it was compiled for.
    pub digest: Digest,
    /// The labels it was compiled for.
    pub vocabulary: Vocabulary,
    /// Levels that names of conditions rest on.
    pub thresholds: Thresholds,
    /// How a further attempt of the bot goes.
    pub soft: Soft,
    /// How long each state of a handoff may last.
    pub handoff: HandoffRules,
    /// Which conversations the policy acts on.
    pub pilot: Pilot,
    /// Which personal data is masked beyond what always is.
    pub masking: Masking,
    /// In the order of the file.
    pub triggers: Vec<Trigger>,
    /// In the order of the file.
    pub queues: Vec<Queue>,
    /// In the order of the file.
    pub messages: Vec<MessageTemplate>,
    /// The words of the language that these messages are written in.
    pub words: LanguageWords,
    /// The other languages.
    pub languages: Vec<Language>,
    /// Intents by example, in the order of the file.
    pub intents: Vec<ExampleIntent>,
    /// Every term of the conditions, once.
    pub terms: Vec<Term>,
    /// Every phrase of the conditions, once.
    pub phrases: Vec<Phrase>,
}

/// Levels that names of conditions rest on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// p(talk_to_human) from which `asks_for_person()` is true without the rules.
    pub asks_for_person: f64,
    /// p(accepts) from which a proposal counts as accepted.
    pub accepts: f64,
    /// p(rejects) from which a proposal counts as rejected.
    pub rejects: f64,
    /// Cosine from which two contacts are about the same issue.
    pub same_issue: f64,
    /// Cosine from which a message of the customer repeats an earlier one.
    pub customer_repeats: f64,
    /// Cosine from which a turn of the bot repeats an earlier one.
    pub bot_repeats: f64,
}

/// How a further attempt of the bot goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Soft {
    /// Attempts before a soft trigger hands over at once.
    pub attempts: u32,
    /// Answers of the customer that may say neither.
    pub turns: u8,
    /// Seconds after which an attempt counts as failed.
    pub timeout_secs: u32,
    /// Valence up to which an answer says that the attempt failed.
    pub negative: f64,
    /// Valence from which an answer says that it worked.
    pub positive: f64,
    /// p(gratitude) or p(thanks) from which an answer says that it worked.
    pub thanks: f64,
}

/// How long each state of a handoff may last, and what waiting is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandoffRules {
    /// Seconds in which an agent accepts what is offered; then the next one is asked.
    pub offer_secs: u32,
    /// Seconds after which the customer hears again where no wait could be promised; also the shortest promise of a correction.
    pub update_secs: u32,
    /// Seconds without a sign of the agent who has the conversation, after which it goes back to the queue.
    pub lease_secs: u32,
    /// Seconds of waiting while the queue is open, after which the conversation is captured for a follow-up.
    pub max_wait_secs: u32,
    /// Hours in which somebody follows up, and the longest that a closed queue is waited for.
    pub follow_up_hours: u32,
    /// Hours without a message after which a conversation that a person has is over.
    pub quiet_hours: u32,
    /// Seconds of waiting that one point of priority is worth.
    pub ageing_secs: u32,
}

impl HandoffRules {
    /// Those of a policy that says nothing.
    pub const DEFAULT: Self = Self {
        offer_secs: 30,
        update_secs: 300,
        lease_secs: 120,
        max_wait_secs: 4 * 3600,
        follow_up_hours: 72,
        quiet_hours: 24,
        ageing_secs: 60,
    };
}

/// Which conversations the policy acts on; in the others it decides and records all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Pilot {
    /// Their share in hundredths of a percent, 0 to 10,000.
    pub share: u16,
    /// Categories on which it acts everywhere.
    pub always: Vec<String>,
}

impl Pilot {
    /// Everywhere.
    pub const ALL: u16 = 10_000;

    /// Whether a conversation belongs to the pilot: by a hash of its id alone, so that it stays, and stays where the share grows.
    pub fn has(&self, conversation: &Id) -> bool {
        let digest = Digest::of(conversation.as_str().as_bytes());
        let [a, b, c, d, ..] = *digest.bytes();
        (u64::from(u32::from_be_bytes([a, b, c, d])) * u64::from(Self::ALL)) >> 32 < u64::from(self.share)
    }
}

/// What becomes of the bot at a handoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It stops.
    Hard,
    /// It stays as the agent's assistant: what it says goes to the agent and never to the customer.
    Soft,
}

impl Mode {
    /// Both, as a policy writes them.
    pub const ALL: [(&'static str, Self); 2] = [("hard", Self::Hard), ("soft", Self::Soft)];

    /// The word that stands in the policy.
    pub fn as_str(self) -> &'static str {
        word(self, &Self::ALL)
    }
}

/// A condition under which a person must take over.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// Its name.
    pub id: String,
    /// One line for the reader of the policy.
    pub about: Option<String>,
    /// What sets it off.
    pub kind: TriggerKind,
    /// What it reads.
    pub basis: Basis,
    /// How fast.
    pub urgency: Urgency,
    /// What measures count it under.
    pub category: String,
    /// 0 to 100; the higher goes first among triggers of one urgency.
    pub priority: u8,
    /// When it stands.
    pub when: Expression,
    /// When it may be armed again; where it is absent, when the condition is false.
    pub rearm: Option<Expression>,
    /// How long it is held and cools down.
    pub pace: Pace,
    /// Index of the queue.
    pub queue: usize,
    /// Index of the message to the customer.
    pub message: usize,
    /// What becomes of the bot.
    pub mode: Mode,
    /// Whether it only decides and records.
    pub shadow: bool,
    /// Line of the file, from 1.
    pub line: usize,
}

/// What sets a trigger off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerKind {
    /// What happens in the conversation.
    Reactive,
    /// What is known of the customer or said once.
    Proactive,
    /// What was done across sessions.
    Behavioural,
}

/// What a trigger reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Words.
    Keyword,
    /// What is meant.
    Intent,
    /// What is done.
    Behaviour,
}

/// How fast a person takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// At once.
    Immediate,
    /// After one more attempt of the bot.
    Soft,
}

impl TriggerKind {
    /// All of them, as a policy writes them.
    pub const ALL: [(&'static str, Self); 3] =
        [("reactive", Self::Reactive), ("proactive", Self::Proactive), ("behavioural", Self::Behavioural)];

    /// The word that stands in the policy.
    pub fn as_str(self) -> &'static str {
        word(self, &Self::ALL)
    }
}

impl Basis {
    /// All of them, as a policy writes them.
    pub const ALL: [(&'static str, Self); 3] = [("keyword", Self::Keyword), ("intent", Self::Intent), ("behaviour", Self::Behaviour)];

    /// The word that stands in the policy.
    pub fn as_str(self) -> &'static str {
        word(self, &Self::ALL)
    }
}

impl Urgency {
    /// Both, as a policy writes them.
    pub const ALL: [(&'static str, Self); 2] = [("immediate", Self::Immediate), ("soft", Self::Soft)];

    /// The word that stands in the policy.
    pub fn as_str(self) -> &'static str {
        word(self, &Self::ALL)
    }
}

fn word<T: PartialEq>(value: T, all: &[(&'static str, T)]) -> &'static str {
    all.iter().find(|(_, other)| *other == value).map(|(word, _)| *word).expect("the table holds every value")
}

/// Where conversations wait for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name in the policy.
    pub id: String,
    /// Its name for customers.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// What its people must be able to do, whatever the strategy.
    pub skills: Vec<Skill>,
    /// How a person is chosen among those who can.
    pub strategy: Strategy,
    /// Where a conversation goes when nobody here can take it.
    pub fallback: Fallback,
    /// When its people work; always where it is absent.
    pub hours: Option<Hours>,
    /// Seconds that a conversation takes, until it is measured.
    pub handling_secs: u32,
    /// Conversations that wait at most.
    pub waiting_max: u32,
    /// Seconds of waiting after which each skill is asked for one level lower; never where it is absent.
    pub relax_after_secs: Option<u32>,
    /// Seconds of waiting after which the people of the fallback are asked as well.
    pub fallback_after_secs: u32,
}

/// What somebody must be able to do, and how well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skill {
    /// Its name.
    pub name: String,
    /// From 1 to [`LEVEL_MAX`].
    pub level: u8,
}

/// The highest level of a skill.
pub const LEVEL_MAX: u8 = 10;

/// How a person is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// In turn.
    RoundRobin,
    /// Who has the skills at the highest levels.
    Skills,
    /// Who has the least to do for their capacity.
    LeastLoaded,
    /// Who has the least to do, and of these who has the skills at the highest levels.
    SkillsLeastLoaded,
}

impl Strategy {
    /// All of them, as a policy writes them.
    pub const ALL: [(&'static str, Self); 4] = [
        ("round_robin", Self::RoundRobin),
        ("skills", Self::Skills),
        ("least_loaded", Self::LeastLoaded),
        ("skills_least_loaded", Self::SkillsLeastLoaded),
    ];

    /// The word that stands in the policy.
    pub fn as_str(self) -> &'static str {
        word(self, &Self::ALL)
    }
}

/// Where a conversation goes when nobody in a queue can take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Another queue, by index.
    Queue(usize),
    /// Nowhere else: the customer is answered later.
    FollowUp,
}

/// How a policy writes [`Fallback::FollowUp`].
pub const FOLLOW_UP: &str = "follow_up";

/// What the customer is told at a handoff, in three parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageTemplate {
    /// Its name.
    pub id: String,
    /// Names the issue.
    pub acknowledge: String,
    /// Says that a person takes over with all that is known.
    pub reassure: String,
    /// Says what comes and when.
    pub expect: String,
    /// The same while the wait is not known.
    pub expect_unknown_wait: Option<String>,
    /// The same while the queue is closed.
    pub expect_off_hours: Option<String>,
    /// The same while everyone is busy.
    pub expect_at_capacity: Option<String>,
    /// Names the person who takes over, in the place of the language's own sentence.
    pub connected: Option<String>,
    /// What the agent may say first, in the place of the language's own line.
    pub opening: Option<String>,
}

/// An intent by example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleIntent {
    /// Its name.
    pub id: String,
    /// What customers say who have it.
    pub examples: Vec<String>,
}

/// What is wrong with a policy, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyFault {
    /// The file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What was found and what was expected.
    pub what: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.what)?;
        self.suggestion.as_ref().map_or(Ok(()), |suggestion| write!(f, "; did you mean {suggestion}?"))
    }
}

impl Policy {
    /// Reads and checks a policy whose language files, if it has any, are those that are compiled in; see [`Policy::read_with`].
    pub fn read(file: &str, source: &str, vocabulary: &Vocabulary) -> Result<Self, Vec<PolicyFault>> {
        Self::read_with(file, source, &[], vocabulary)
    }

    /// Reads and checks a policy for the labels of a model: all faults at once, the linter's included. `file` names it in faults. `languages` are the texts of
    /// its [language files](read::language_files), by the path that the policy names each with; one that is not there is looked for among those compiled in.
    pub fn read_with(file: &str, source: &str, languages: &[(String, String)], vocabulary: &Vocabulary) -> Result<Self, Vec<PolicyFault>> {
        read::read(file, source, languages, vocabulary)
    }

    /// The order in which triggers decide: the least goes first.
    pub fn precedence(&self, trigger: usize) -> (bool, std::cmp::Reverse<u8>, usize) {
        let rule = &self.triggers[trigger];
        (rule.urgency == Urgency::Soft, std::cmp::Reverse(rule.priority), trigger)
    }

    /// Whether a trigger only decides and records in a conversation: it is a shadow, or the conversation is outside the pilot.
    pub fn is_shadow(&self, trigger: usize, conversation: &Id) -> bool {
        let rule = &self.triggers[trigger];
        rule.shadow || (self.pilot.share < Pilot::ALL && !self.pilot.always.contains(&rule.category) && !self.pilot.has(conversation))
    }

    /// The queues from one on along the fallbacks, the first first.
    pub fn chain(&self, queue: usize) -> impl Iterator<Item = usize> {
        let next = |at: &usize| match self.queues[*at].fallback {
            Fallback::Queue(next) => Some(next),
            Fallback::FollowUp => None,
        };
        // The linter leaves no circle; the bound keeps a policy from elsewhere from going round.
        std::iter::successors(Some(queue), next).take(self.queues.len())
    }

    /// Whether a trigger's condition is about the customer's latest message and nothing else: where it stands again, the message itself says so.
    pub(super) fn reads_only_the_message(&self, trigger: usize) -> bool {
        let terms = self.triggers[trigger].when.comparisons.iter().flat_map(super::expression::Compared::terms);
        // Which turn it is, is true of the message as well.
        let of_message = |name: &Name| name.source == Source::Message || matches!(name.kind, TermKind::CustomerTurns | TermKind::BotTurns);
        terms.into_iter().all(|term| of_message(self.terms[term].name))
    }

    /// Which of the policy's phrases a message of the customer says, in the policy's order.
    pub fn says(&self, text: &str) -> Vec<bool> {
        if self.phrases.is_empty() {
            return Vec::new();
        }
        let words = Words::of(text);
        self.phrases.iter().map(|phrase| words.says(phrase).is_some()).collect()
    }

    /// What the policy's terms about the customer are worth at an input, for [`Input::customer`]. `customer` is `None` where nobody said who it is.
    pub fn read_customer(&self, conversation: &Conversation, customer: Option<&Customer>, body: &Body, at: Timestamp) -> Vec<Option<u32>> {
        let issue = match body {
            Body::Message(observation) => {
                conversation.issue_with(observation, &self.vocabulary).map(|sum| QuantizedEmbedding::new(&Embedding(sum)))
            }
            Body::Event { .. } | Body::Facts(_) | Body::Timer | Body::Returned | Body::Handoff(_) => conversation.issue(&self.vocabulary),
        };
        let nearest = BasisPoints::new(self.thresholds.same_issue).expect("the reader checks the range");
        let now = at.max(conversation.last);
        let read = |term: &Term| {
            let customer = customer?;
            match (term.name.kind, term.arguments.as_slice()) {
                (TermKind::Contacts, [Argument::Window(window)]) => {
                    Some(customer.contacts(&conversation.id, *window, now).saturating_add(1))
                }
                (TermKind::SameIssue, [Argument::Window(window)]) => {
                    Some(customer.same_issue(&conversation.id, issue.as_ref()?, nearest, *window, now).saturating_add(1))
                }
                (TermKind::Events, [Argument::Text(kind), Argument::Text(pattern), Argument::Window(window)]) => {
                    Some(customer.events(kind, pattern, *window, now))
                }
                _ => unreachable!("these are the terms about the customer"),
            }
        };
        self.customer_terms().map(read).collect()
    }

    /// The reading of one of these terms.
    pub(super) fn customer_reading(&self, term: &Term, input: &Input) -> Option<u32> {
        let place = self.customer_terms().position(|other| other == term)?;
        input.customer.get(place).copied().flatten()
    }

    fn customer_terms(&self) -> impl Iterator<Item = &Term> {
        self.terms.iter().filter(|term| term.name.source == Source::Customer)
    }

    /// Labels of its intents by example, as conditions name them.
    pub fn example_ids(&self) -> impl Iterator<Item = &str> {
        self.intents.iter().map(|intent| intent.id.as_str())
    }

    /// The longest window of its conditions: what must be remembered of a customer.
    pub fn longest_window(&self) -> Duration {
        let windows = self.terms.iter().flat_map(|term| &term.arguments).filter_map(|argument| match argument {
            Argument::Window(window) => Some(*window),
            Argument::Label(..) | Argument::Turns(_) | Argument::Level(_) | Argument::Phrases(..) | Argument::Text(_) => None,
        });
        windows.max().unwrap_or_default()
    }
}
