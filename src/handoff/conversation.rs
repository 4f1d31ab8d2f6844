//! What is remembered of one conversation: counts, the last messages' signals, what is pending. Bounded, so that message 10,000 costs what message 10 costs.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::expression::names::TURNS_MAX;
use super::input::Facts;
use super::lifecycle::Life;
use super::observation::{MessageSignals, Observation, Vocabulary};
use super::policy::Thresholds;
use super::receipt::Digest;
use super::trigger::TriggerState;
use crate::message::{Id, Speaker};
use crate::signal::{BasisPoints, Embedding, QuantizedEmbedding};
use crate::time::Timestamp;

/// How many earlier messages of a speaker a new one is compared with.
pub const REPEAT_WINDOW: usize = 8;
/// Valence up to which an answer to a proposal rejects it, whatever else it is about: "Tried it, doesn't work", "this is useless".
const UNHAPPY_ANSWER: f64 = -0.75;
/// Fewest words of a customer's message that can repeat another: "yes" twice is no repetition.
pub const REPEAT_WORDS_MIN: u16 = 4;
/// Most messages that are remembered as the reasons of a count.
const REASONS_MAX: usize = 16;

/// The state of one conversation. A plain value: [`step`](super::step::step) takes it and gives the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: Id,
    /// Digest of the last receipt: the chain.
    pub chain: Digest,
    /// Inputs so far.
    pub inputs: u64,
    /// Sequence of the last message.
    pub messages: u32,
    /// When the first message came.
    pub started: Option<Timestamp>,
    /// When the last input came.
    pub last: Timestamp,
    /// Messages of the customer.
    pub customer_turns: u32,
    /// Turns of the bot.
    pub bot_turns: u32,
    /// The customer's latest message.
    pub latest: Option<Observation>,
    /// The customer's last scored messages, oldest first.
    pub turns: VecDeque<Turn>,
    /// Confidence of the bot at its last turns that told it, with their sequence.
    pub bot_confidences: VecDeque<(u32, BasisPoints)>,
    /// Confidence of the bot at its latest turn.
    pub bot_confidence: Option<(u32, BasisPoints)>,
    /// Answers in a row that reject or ask again.
    pub failed_attempts: Count,
    /// Turns of the bot that are nearly equal to an earlier one.
    pub bot_repeats: Count,
    /// Messages of the customer that are nearly equal to an earlier one.
    pub customer_repeats: Count,
    /// Further attempts that soft triggers asked of the bot.
    pub soft_attempts: u32,
    /// Handoffs that came back to the bot.
    pub handoffs: u32,
    /// The attempt whose outcome is awaited.
    pub soft: Option<SoftAttempt>,
    /// The handoff that stands.
    pub handoff: Option<Handoff>,
    /// Its life; there while one stands.
    pub life: Option<Life>,
    /// The life of the latest handoff that is over.
    pub ended: Option<Life>,
    /// How often a person took the conversation, or lost it to the queue.
    pub takeovers: u32,
    /// What the backend knows.
    pub facts: Facts,
    /// Triggers that are not armed, by id.
    pub triggers: BTreeMap<String, TriggerState>,
    /// Digest of the model whose signals these are.
    model: String,
    customer_vectors: VecDeque<(u32, QuantizedEmbedding)>,
    bot_vectors: VecDeque<(u32, QuantizedEmbedding)>,
    issue: Option<Vec<f32>>,
    proposal: Option<u32>,
    /// Whether the bot has spoken since the customer's last message.
    bot_spoke: bool,
}

/// The signals of one message of the customer that trends are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Sequence of the message.
    pub sequence: u32,
    /// Its valence, if it has one.
    pub valence: Option<BasisPoints>,
    /// Its emotions, in the order of the vocabulary.
    pub emotions: Option<Vec<BasisPoints>>,
}

/// A number with the latest messages that made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How many.
    pub count: u32,
    /// The latest of them, by sequence.
    pub messages: Vec<u32>,
}

impl Count {
    fn add(&mut self, message: u32) {
        self.count = self.count.saturating_add(1);
        self.messages.push(message);
        if self.messages.len() > REASONS_MAX {
            self.messages.remove(0);
        }
    }
}

/// One more attempt of the bot, asked for by a soft trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftAttempt {
    /// The trigger, by id.
    pub trigger: String,
    /// The message at which it fired; 0 before the first.
    pub asked_at: u32,
    /// Whether the bot has spoken since.
    pub answered: bool,
    /// Answers of the customer since that said neither; the largest number once the bot's attempt was what it had said before.
    pub unclear: u8,
    /// When it counts as failed.
    pub deadline: Timestamp,
}

/// A handoff that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handoff {
    /// The trigger, by id.
    pub trigger: String,
    /// The message at which it was decided.
    pub decided_at: u32,
    /// When.
    pub at: Timestamp,
}

/// Who may speak to the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The bot.
    Bot,
    /// Nobody: a person is asked for.
    Nobody,
    /// The person who took over.
    Person,
}

impl Owner {
    /// The word that stands in errors and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bot => "bot",
            Self::Nobody => "nobody",
            Self::Person => "person",
        }
    }
}

/// Who wants to speak.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Claimant {
    /// The bot.
    Bot,
    /// A person.
    Agent(Id),
}

/// What a message of the customer says about what the bot did last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// It accepts the proposal.
    pub accepts: bool,
    /// It rejects the proposal.
    pub rejects: bool,
    /// It asks the same again.
    pub repeats: bool,
}

impl Conversation {
    /// A conversation in which nothing was said.
    pub fn new(id: Id) -> Self {
        Self {
            chain: Digest::of(id.as_str().as_bytes()),
            id,
            inputs: 0,
            messages: 0,
            started: None,
            last: Timestamp::default(),
            customer_turns: 0,
            bot_turns: 0,
            latest: None,
            turns: VecDeque::new(),
            bot_confidences: VecDeque::new(),
            bot_confidence: None,
            failed_attempts: Count::default(),
            bot_repeats: Count::default(),
            customer_repeats: Count::default(),
            soft_attempts: 0,
            handoffs: 0,
            soft: None,
            handoff: None,
            life: None,
            ended: None,
            takeovers: 0,
            facts: Facts::default(),
            triggers: BTreeMap::new(),
            model: String::new(),
            customer_vectors: VecDeque::new(),
            bot_vectors: VecDeque::new(),
            issue: None,
            proposal: None,
            bot_spoke: false,
        }
    }

    /// Who may speak to the customer now.
    pub fn owner(&self) -> Owner {
        match (&self.life, &self.handoff) {
            (Some(life), _) => life.state.owner(),
            (None, Some(_)) => Owner::Nobody,
            (None, None) => Owner::Bot,
        }
    }

    /// Whether somebody may speak to the customer now: of the bot and all agents at most one, unless a person took over who did not say who they are.
    pub fn may_speak(&self, claimant: &Claimant) -> bool {
        match (self.owner(), claimant) {
            (Owner::Bot, Claimant::Bot) => true,
            (Owner::Person, Claimant::Agent(agent)) => {
                let person = self.life.as_ref().and_then(|life| life.agent.as_ref());
                person.is_none_or(|person| person == agent)
            }
            (Owner::Bot | Owner::Nobody | Owner::Person, _) => false,
        }
    }

    /// Grows with each change of the owner, from 1: whoever acts on an older one is late.
    pub fn epoch(&self) -> u64 {
        1 + 2 * u64::from(self.handoffs) + u64::from(self.handoff.is_some()) + u64::from(self.takeovers)
    }

    /// Digest of the model whose signals it remembers; empty before the first input.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Forgets the signals of another model: its labels and vectors mean nothing to this one. Counts and what is pending stay.
    pub(super) fn use_model(&mut self, vocabulary: &Vocabulary) {
        if self.model != vocabulary.model {
            self.model.clone_from(&vocabulary.model);
            self.turns.clear();
            self.customer_vectors.clear();
            self.bot_vectors.clear();
            self.issue = None;
            self.latest = None;
        }
    }

    /// Takes a message in. What it answers is told where it is the customer's.
    pub(super) fn take(&mut self, observation: &Observation, vocabulary: &Vocabulary, thresholds: &Thresholds, now: Timestamp) -> Answer {
        self.messages = observation.sequence;
        self.started.get_or_insert(now);
        match observation.speaker {
            Speaker::Customer => self.take_customer(observation, vocabulary, thresholds),
            Speaker::Bot => {
                self.take_bot(observation, thresholds);
                Answer::default()
            }
            Speaker::Agent => Answer::default(),
        }
    }

    fn take_customer(&mut self, observation: &Observation, vocabulary: &Vocabulary, thresholds: &Thresholds) -> Answer {
        self.customer_turns = self.customer_turns.saturating_add(1);
        self.latest = Some(observation.clone());
        let answer = self.answer(observation, vocabulary, thresholds);
        if answer.repeats {
            self.customer_repeats.add(observation.sequence);
        }
        if answer.accepts {
            self.failed_attempts = Count::default();
        } else if answer.rejects || answer.repeats {
            self.failed_attempts.add(observation.sequence);
        }
        self.proposal = None;
        self.bot_spoke = false;
        if let Ok(signals) = &observation.signals {
            self.remember(observation, signals);
            self.issue = self.issue_with(observation, vocabulary);
        }
        answer
    }

    fn answer(&self, observation: &Observation, vocabulary: &Vocabulary, thresholds: &Thresholds) -> Answer {
        let Ok(signals) = &observation.signals else { return Answer::default() };
        let act = |label: &str| {
            let place = vocabulary.acts.iter().position(|range| range.label == label)?;
            signals.acts.as_ref().ok()?.get(place).copied()
        };
        let proposed = self.proposal.is_some();
        let accepts = proposed && act("accepts").is_some_and(|p| p.get() >= thresholds.accepts);
        let unhappy = signals.valence.is_ok_and(|valence| valence.get() <= UNHAPPY_ANSWER);
        let rejects = proposed && !accepts && (unhappy || act("rejects").is_some_and(|p| p.get() >= thresholds.rejects));
        // Only what follows a turn of the bot asks again; two messages in a row are one thought.
        let repeats = self.bot_spoke
            && observation.words >= REPEAT_WORDS_MIN
            && nearest(&self.customer_vectors, signals) >= thresholds.customer_repeats;
        Answer { accepts, rejects, repeats }
    }

    fn remember(&mut self, observation: &Observation, signals: &MessageSignals) {
        let turn = Turn { sequence: observation.sequence, valence: signals.valence.ok(), emotions: signals.emotions.clone().ok() };
        if turn.valence.is_some() || turn.emotions.is_some() {
            push(&mut self.turns, turn, TURNS_MAX);
        }
        if let Ok(vector) = &signals.embedding {
            push(&mut self.customer_vectors, (observation.sequence, vector.clone()), REPEAT_WINDOW);
        }
    }

    fn take_bot(&mut self, observation: &Observation, thresholds: &Thresholds) {
        self.bot_turns = self.bot_turns.saturating_add(1);
        self.bot_spoke = true;
        self.bot_confidence = observation.bot_confidence.map(|p| (observation.sequence, p));
        if let Some(told) = self.bot_confidence {
            push(&mut self.bot_confidences, told, TURNS_MAX);
        }
        self.proposal = observation.proposal.then_some(observation.sequence);
        if let Some(soft) = &mut self.soft {
            soft.answered = true;
        }
        if let Ok(signals) = &observation.signals {
            if observation.words >= REPEAT_WORDS_MIN && nearest(&self.bot_vectors, signals) >= thresholds.bot_repeats {
                self.bot_repeats.add(observation.sequence);
                if let Some(soft) = &mut self.soft {
                    // An attempt that is the same answer again leads nowhere, whatever the customer says to it.
                    soft.unclear = u8::MAX;
                }
            }
            if let Ok(vector) = &signals.embedding {
                push(&mut self.bot_vectors, (observation.sequence, vector.clone()), REPEAT_WINDOW);
            }
        }
    }

    /// What the conversation is about: the sum of the vectors of the customer's messages that are about something. `None` where none is yet.
    pub fn issue(&self, vocabulary: &Vocabulary) -> Option<QuantizedEmbedding> {
        self.issue_of(vocabulary).map(|sum| QuantizedEmbedding::new(&Embedding(sum.clone())))
    }

    /// The same with one message more; exact on every machine, since sums of floats in a fixed order are.
    pub(super) fn issue_with(&self, observation: &Observation, vocabulary: &Vocabulary) -> Option<Vec<f32>> {
        let vector = observation.signals.as_ref().ok().filter(|_| observation.speaker == Speaker::Customer);
        let vector = vector.filter(|signals| is_about_something(signals, vocabulary)).and_then(|signals| signals.embedding.as_ref().ok());
        let issue = self.issue_of(vocabulary);
        let Some(vector) = vector else { return issue.cloned() };
        let vector = vector.embedding().0;
        match issue {
            Some(sum) if sum.len() == vector.len() => Some(sum.iter().zip(&vector).map(|(a, b)| a + b).collect()),
            _ => Some(vector),
        }
    }

    /// Vectors of another model mean nothing to this one.
    fn issue_of(&self, vocabulary: &Vocabulary) -> Option<&Vec<f32>> {
        self.issue.as_ref().filter(|_| self.model == vocabulary.model)
    }

    /// The conversation goes back to the bot, with its counters cleared.
    pub(super) fn give_back(&mut self) {
        if self.handoff.take().is_some() {
            self.handoffs = self.handoffs.saturating_add(1);
        }
        self.life = None;
        self.soft = None;
        self.soft_attempts = 0;
        self.clear_counters();
    }

    /// When a timer must be delivered, where something is pending: a state of the handoff, or an attempt of the bot.
    pub fn timer(&self) -> Option<Timestamp> {
        let life = self.life.as_ref().map(|life| life.deadline);
        life.or(self.soft.as_ref().map(|soft| soft.deadline))
    }

    /// What went wrong so far counts no more.
    pub(super) fn clear_counters(&mut self) {
        self.failed_attempts = Count::default();
        self.bot_repeats = Count::default();
        self.customer_repeats = Count::default();
        self.turns.clear();
        self.bot_confidences.clear();
        self.bot_confidence = None;
        self.latest = None;
    }
}

/// Greetings, thanks and what is out of scope are about nothing.
fn is_about_something(signals: &MessageSignals, vocabulary: &Vocabulary) -> bool {
    let Ok(intents) = &signals.intents else { return false };
    let label = intents.top.and_then(|top| vocabulary.intents.get(usize::from(top)));
    label.is_some_and(|range| !["greeting", "thanks_or_closing", "talk_to_human", "out_of_scope"].contains(&range.label.as_str()))
}

/// The nearest cosine to earlier messages; -1 where there is none.
fn nearest(earlier: &VecDeque<(u32, QuantizedEmbedding)>, signals: &MessageSignals) -> f64 {
    let Ok(vector) = &signals.embedding else { return -1.0 };
    earlier.iter().map(|(_, other)| other.cosine(vector).get()).fold(-1.0, f64::max)
}

fn push<T>(items: &mut VecDeque<T>, item: T, most: usize) {
    if items.len() == most {
        items.pop_front();
    }
    items.push_back(item);
}
