//! Two or three plain sentences: what the customer wants and what goes wrong, what was tried and with what result, where it stands.
//!
//! Sentences are picked, retold in the third person and set into fixed templates; nothing is generated. Every content word of a slot stands in the messages
//! that the statement cites; words of the templates are [`FRAME`].

pub mod issue;
pub mod wording;

use std::collections::BTreeMap;

use serde::Serialize;

use self::issue::Issue;
use self::wording::{retold, spoken};
use super::highlights::{Highlights, Tried};
use super::mask::Masking;
use super::observation::Vocabulary;
use super::story::{Said, Story};
use crate::message::Speaker;
use crate::signal::QuantizedEmbedding;

/// Most words of a summary.
pub const WORDS_MAX: usize = 60;
/// Words of what the customer wants; with fewer the reason is cut off, with more the first message tells a story. This, [`TRIED_WORDS`] and [`POSITION`] were
/// set by hand; `models/training/summaries.py` measures what they give.
const WANTS_WORDS: usize = 25;
/// Words of what was tried.
const TRIED_WORDS: usize = 22;
/// Words of what is asked last.
const ASKED_WORDS: usize = 12;
/// How much earlier sentences count, and nearness to what the customer speaks of; the rest is length.
const POSITION: f64 = 3.0;
const NEARNESS: f64 = 0.5;
/// Words that must be free for what another message says.
const MORE_WORDS: usize = 5;
/// Words by which a customer says what they want.
const WANTS: &[&str] =
    &["i want ", "we want ", "i need ", "we need ", "i'd like ", "i would like ", "i demand ", "i am trying to ", "i'm trying to "];
/// How much the length of the sentence counts; the rest is that of its message.
const LENGTH: f64 = 0.5;
/// Words from which a sentence is long enough.
const LONG_ENOUGH: usize = 12;

/// Content words that the templates bring, which stand in no message.
pub const FRAME: &[&str] = &[
    "customer",
    "bot",
    "says",
    "asks",
    "asked",
    "ask",
    "said",
    "offered",
    "suggested",
    "let",
    "accepted",
    "help",
    "result",
    "unclear",
    "wrote",
    "an",
    "agent",
];

/// One sentence of a summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// What it says.
    pub text: String,
    /// The part of it that was said, retold.
    pub slot: String,
    /// The messages it is taken from.
    pub messages: Vec<u32>,
}

/// A summary.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Its sentences, at most three.
    pub statements: Vec<Statement>,
    /// What the issue is, for the message to the customer; absent where nothing says it.
    pub issue: Option<Issue>,
}

impl Summary {
    /// All of it.
    pub fn text(&self) -> String {
        self.statements.iter().map(|statement| statement.text.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// What a story is about.
pub fn summarise(story: &Story, highlights: &Highlights, vocabulary: &Vocabulary, masking: Masking) -> Summary {
    let mut statements = Vec::new();
    let wants = wants(story, vocabulary, masking);
    // Without a word of the customer there is nothing to tell.
    let Some(wants) = wants else { return Summary::default() };
    statements.push(wants.clone());
    statements.extend(tried(story, highlights, masking));
    let left = WORDS_MAX.saturating_sub(statements.iter().map(|statement| count(&statement.text)).sum());
    statements.extend(stands(highlights, &wants).filter(|statement| count(&statement.text) <= left));
    Summary { issue: issue::issue(story, highlights, vocabulary), statements }
}

fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

/// The sentences of the customer that say what they want, from the message that says it best.
fn wants(story: &Story, vocabulary: &Vocabulary, masking: Masking) -> Option<Statement> {
    let all = story.sentences(Speaker::Customer);
    let words: Vec<String> = all.iter().map(|said| said.words(masking)).collect();
    let centroid = centroid(&all);
    let lengths: Vec<usize> = words.iter().map(|words| spoken(words).len()).collect();
    let mut of_message_length: BTreeMap<usize, usize> = BTreeMap::new();
    for (said, length) in all.iter().zip(&lengths) {
        *of_message_length.entry(said.place).or_default() += length;
    }
    let long = |words: usize| words.min(LONG_ENOUGH) as f64 / LONG_ENOUGH as f64;
    let score = |at: usize| {
        let said = &all[at];
        let length = (LENGTH * long(lengths[at]) + (1.0 - LENGTH) * long(of_message_length[&said.place])).min(1.0);
        let near = match (vector(said), &centroid) {
            (Some(vector), Some(centroid)) => vector.cosine(centroid).get(),
            _ => 0.0,
        };
        let about = f64::from(u8::from(says_an_issue(said, vocabulary)));
        let position = 1.0 / (1.0 + message_number(&all, at) as f64);
        length * (1.0 + POSITION * position + NEARNESS * near + about / 4.0)
    };
    let best = (0..all.len()).filter(|at| !spoken(&words[*at]).is_empty()).max_by(|a, b| score(*a).total_cmp(&score(*b)).then(b.cmp(a)))?;
    // The whole message around it, as far as there is room: its sentences belong together.
    let (mut slot, mut asks) = (String::new(), false);
    let place = all[best].place;
    let of_message: Vec<usize> =
        (0..all.len()).filter(|at| all[*at].place == place && spoken(&words[*at]).len() >= 2 || *at == best).collect();
    let total: usize = of_message.iter().map(|at| spoken(&words[*at]).len()).sum();
    let from = if total <= WANTS_WORDS {
        0
    } else {
        of_message.iter().position(|at| *at == best).unwrap_or(0).min(first_fit(&of_message, &words, best))
    };
    for at in &of_message[from..] {
        let room = WANTS_WORDS.saturating_sub(count(&slot));
        if room < 4 && !slot.is_empty() {
            break;
        }
        let next = retold(&words[*at], Speaker::Customer, room.max(4));
        if next.is_empty() {
            continue;
        }
        asks = asks || (slot.is_empty() && next.ends_with('?'));
        slot = if slot.is_empty() { next } else { format!("{}; {next}", slot.trim_end_matches('…')) };
    }
    // What another message says of it, where there is room: a short first one before, a plain request after.
    let mut messages = vec![all[best].turn.sequence];
    let room = WANTS_WORDS.saturating_sub(count(&slot));
    if room >= MORE_WORDS {
        let tell = |at: usize| retold(&words[at], Speaker::Customer, room - 1);
        let wants = |at: usize| {
            let lower = words[at].to_lowercase().replace('\u{2019}', "'");
            lengths[at] >= 5 && WANTS.iter().any(|phrase| lower.contains(phrase))
        };
        if all[0].place != place && (3..room).contains(&of_message_length[&all[0].place]) {
            let first: Vec<String> =
                (0..all.len()).filter(|at| all[*at].place == all[0].place).map(tell).filter(|told| !told.is_empty()).collect();
            slot = format!("{}; {slot}", first.join("; "));
            messages.insert(0, all[0].turn.sequence);
        } else if let Some(at) = (0..all.len()).rev().find(|at| all[*at].place != place && wants(*at)) {
            slot = format!("{slot}; {}", tell(at));
            messages.push(all[at].turn.sequence);
        }
    }
    let verb = if asks { "asks" } else { "says" };
    let text = match () {
        () if !slot.chars().any(char::is_alphanumeric) => format!("The customer wrote {slot}."),
        () if slot.ends_with('?') || slot.ends_with('…') => format!("The customer {verb}: {slot}"),
        () => format!("The customer {verb}: {slot}."),
    };
    messages.sort_unstable();
    Some(Statement { text, slot, messages })
}

/// The first sentence of a message from which the best one still has room.
fn first_fit(of_message: &[usize], words: &[String], best: usize) -> usize {
    let at = of_message.iter().position(|at| *at == best).unwrap_or(0);
    let mut room = WANTS_WORDS.saturating_sub(spoken(&words[best]).len());
    let mut from = at;
    while from > 0 {
        let more = spoken(&words[of_message[from - 1]]).len();
        if more > room {
            break;
        }
        room -= more;
        from -= 1;
    }
    from
}

/// Which of the customer's messages a sentence is in, from 0.
fn message_number(all: &[Said<'_>], at: usize) -> usize {
    let mut number = 0;
    for pair in all[..=at].windows(2) {
        number += usize::from(pair[0].place != pair[1].place);
    }
    number
}

fn says_an_issue(said: &Said<'_>, vocabulary: &Vocabulary) -> bool {
    let top = said.turn.signals.as_ref().ok().and_then(|signals| signals.intents.as_ref().ok()).and_then(|intents| intents.top);
    let label = top.and_then(|top| vocabulary.intents.get(usize::from(top)));
    label.is_some_and(|range| {
        !["greeting", "thanks_or_closing", "talk_to_human", "out_of_scope", "feedback"].contains(&range.label.as_str())
    })
}

/// The vector of the message that a sentence is in.
fn vector<'a>(said: &Said<'a>) -> Option<&'a QuantizedEmbedding> {
    said.turn.signals.as_ref().ok()?.embedding.as_ref().ok()
}

/// The mean of the vectors of what the customer says.
fn centroid(all: &[Said<'_>]) -> Option<QuantizedEmbedding> {
    let mut sum: Vec<f32> = Vec::new();
    for vector in all.iter().filter_map(vector) {
        let vector = vector.embedding().0;
        if sum.len() != vector.len() {
            sum.clone_from(&vector);
            continue;
        }
        sum.iter_mut().zip(&vector).for_each(|(sum, value)| *sum += value);
    }
    (!sum.is_empty()).then(|| QuantizedEmbedding::new(&crate::signal::Embedding(sum)))
}

/// What was tried, the fullest of it; where nothing was, what the bot said at the greatest length.
fn tried(story: &Story, highlights: &Highlights, masking: Masking) -> Option<Statement> {
    let end = |slot: &str| if slot.ends_with(['?', '…']) { "" } else { "." };
    // The longest says most; of equal ones the latest.
    let Some(main) = highlights.tried.iter().max_by_key(|solution| (count(&solution.what).min(TRIED_WORDS), solution.message)) else {
        let all = story.sentences(Speaker::Bot);
        let words = all.iter().map(|said| (said.words(masking), said.turn.sequence));
        let (words, message) = words.max_by_key(|(words, message)| (spoken(words).len().min(TRIED_WORDS), std::cmp::Reverse(*message)))?;
        let slot = retold(&words, Speaker::Bot, TRIED_WORDS);
        if count(&slot) < 3 {
            return None;
        }
        let verb = if slot.ends_with('?') { "asked" } else { "said" };
        return Some(Statement { text: format!("The bot {verb}: {slot}{}", end(&slot)), slot, messages: vec![message] });
    };
    let slot = main.what.clone();
    let outcome = match main.outcome {
        Tried::Worked => "the customer accepted",
        Tried::DidNot => "it did not help",
        Tried::Unclear => "the result is unclear",
    };
    let mut messages = vec![main.message];
    messages.extend(main.answer);
    // An agent is named in what they said.
    let who = if main.by == Speaker::Agent.as_str() { "" } else { "The bot " };
    let text = if slot.ends_with(['?', '…']) { format!("{who}{slot} ({outcome}).") } else { format!("{who}{slot}; {outcome}.") };
    Some(Statement { text: capital(&text), slot, messages })
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// What the customer asks last, where that is not what they asked first.
fn stands(highlights: &Highlights, wants: &Statement) -> Option<Statement> {
    let open = highlights.unanswered.last().filter(|open| !wants.messages.contains(&open.message))?;
    let slot = retold(&open.text, Speaker::Customer, ASKED_WORDS);
    (!slot.is_empty()).then(|| Statement { text: format!("They now ask: {slot}"), slot, messages: vec![open.message] })
}
