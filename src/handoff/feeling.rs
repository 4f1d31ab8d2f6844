//! How the customer feels, in words, with the course and the reason: "calm at first, frustrated since message 5, after the second failed attempt".

use serde::Serialize;

use super::highlights::{Highlights, Tried};
use super::observation::{MessageSignals, Vocabulary};
use super::story::{Story, Turn};
use crate::message::Speaker;
use crate::signal::{Absence, BasisPoints};

/// p(emotion) from which it is told.
const PRESENT: f64 = 0.4;
/// Valence up to which a message without a plain emotion is unhappy, and from which it is content.
const UNHAPPY: f64 = -0.4;
const CONTENT: f64 = 0.4;
/// Valence below which words of the law are a threat.
const AGAINST: f64 = -0.1;
/// Calm messages after which a feeling has passed, however much the customer insists.
const PASSED: usize = 2;

/// How the customer feels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feeling {
    /// In words.
    pub words: String,
    /// The messages by which it is told.
    pub messages: Vec<u32>,
    /// The last of it in one word: `angry`, `calm`, `thankful`; `unknown` where the last messages cannot be read.
    pub now: &'static str,
}

impl Feeling {
    /// Whether the customer is glad at the end.
    pub fn is_glad(&self) -> bool {
        matches!(self.now, "content" | "thankful" | "pleased")
    }
}

/// What one message says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Named(&'static str),
    Unhappy,
    Calm,
    Content,
}

impl Mood {
    fn word(self) -> &'static str {
        match self {
            Self::Named(word) => word,
            Self::Unhappy => "unhappy",
            Self::Calm => "calm",
            Self::Content => "content",
        }
    }

    fn is_bad(self) -> bool {
        matches!(self, Self::Unhappy | Self::Named("angry" | "frustrated" | "anxious" | "confused" | "disappointed"))
    }
}

/// Emotions of the model that are feelings of a customer, with the word for who has it.
const EMOTIONS: [(&str, &str); 7] = [
    ("anger", "angry"),
    ("frustration", "frustrated"),
    ("anxiety", "anxious"),
    ("confusion", "confused"),
    ("disappointment", "disappointed"),
    ("gratitude", "thankful"),
    ("joy", "pleased"),
];

/// Words by which customers say themselves how they feel.
const SAID: [(&str, &str); 16] = [
    ("frustrat", "frustrated"),
    ("fed up", "frustrated"),
    ("angry", "angry"),
    ("furious", "angry"),
    ("ridiculous", "angry"),
    ("unacceptable", "angry"),
    ("outrageous", "angry"),
    ("worried", "anxious"),
    ("anxious", "anxious"),
    ("scared", "anxious"),
    ("afraid of", "anxious"),
    ("panick", "anxious"),
    ("desperate", "anxious"),
    ("disappoint", "disappointed"),
    ("let down", "disappointed"),
    ("confus", "confused"),
];

/// What the customer says of it; "not angry" says nothing.
fn said(turn: &Turn) -> Option<Mood> {
    let lower = turn.text.to_lowercase();
    let negated = |at: usize| lower[..at].trim_end().ends_with("not") || lower[..at].trim_end().ends_with("n't");
    SAID.iter().find(|(word, _)| lower.find(word).is_some_and(|at| !negated(at))).map(|(_, word)| Mood::Named(word))
}

fn mood(signals: &MessageSignals, vocabulary: &Vocabulary) -> Option<Mood> {
    let p = |label: &str| {
        let place = vocabulary.emotions.iter().position(|range| range.label == label)?;
        signals.emotions.as_ref().ok()?.get(place).map(|p| p.get())
    };
    let strongest = EMOTIONS.iter().filter_map(|(label, word)| Some((p(label)?, *word))).max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((_, word)) = strongest.filter(|(p, _)| *p >= PRESENT) {
        return Some(Mood::Named(word));
    }
    let valence = signals.valence.map(BasisPoints::get).ok()?;
    Some(if valence <= UNHAPPY {
        Mood::Unhappy
    } else if valence >= CONTENT {
        Mood::Content
    } else {
        Mood::Calm
    })
}

/// A mood of the model beside what the words are about: who threatens with the law is angry, and who tells of theft and is unhappy is afraid.
fn beside_words(turn: &Turn, mood: Mood) -> Mood {
    let Ok(signals) = &turn.signals else { return mood };
    let against = signals.valence.is_ok_and(|valence| valence.get() < AGAINST);
    match mood {
        Mood::Unhappy | Mood::Calm if signals.lexical.legal && against => Mood::Named("angry"),
        Mood::Unhappy if signals.lexical.security => Mood::Named("anxious"),
        mood => mood,
    }
}

/// Whether a message has words that the model cannot read.
fn is_unread(turn: &Turn) -> bool {
    turn.signals.as_ref().is_ok_and(|signals| signals.valence == Err(Absence::Language))
}

/// How the customer of a story feels; `None` where no message has signals for it.
pub fn feeling(story: &Story, highlights: &Highlights, vocabulary: &Vocabulary) -> Option<Feeling> {
    let customer = story.turns.iter().filter(|turn| turn.speaker == Speaker::Customer);
    let read = |turn: &Turn| {
        let by_model = turn.signals.as_ref().ok().and_then(|signals| mood(signals, vocabulary));
        Some((turn.sequence, said(turn).or(by_model.map(|mood| beside_words(turn, mood)))?))
    };
    let mut moods: Vec<(u32, Mood)> = customer.clone().filter_map(read).collect();
    let (last, mut now) = *moods.last()?;
    // What was felt before says nothing about messages that cannot be read.
    let unread = customer.rev().take_while(|turn| is_unread(turn)).last();
    if let Some(since) = unread {
        let word = moods.iter().rev().find(|(_, mood)| mood.is_bad()).map_or(now, |(_, mood)| *mood).word();
        let words = format!("{word} at first, not known since message {} (another language)", since.sequence);
        return Some(Feeling { words, messages: vec![last, since.sequence], now: "unknown" });
    }
    // Who asks for a person after two attempts that failed is not content, however calm the words.
    let asks =
        story.last(Speaker::Customer).and_then(|turn| turn.signals.as_ref().ok()).is_some_and(|signals| signals.lexical.asks_for_person);
    let failures: Vec<u32> = highlights.tried.iter().filter(|s| s.outcome == Tried::DidNot).filter_map(|s| s.answer).collect();
    if let Some(failure) = failures.get(1).filter(|_| asks && moods.iter().all(|(_, mood)| *mood == Mood::Calm)) {
        moods.iter_mut().filter(|(message, _)| message >= failure).for_each(|(_, mood)| *mood = Mood::Unhappy);
        now = Mood::Unhappy;
    }
    let bad: Vec<(u32, Mood)> = moods.iter().copied().filter(|(_, mood)| mood.is_bad()).collect();
    // A feeling that has a name says more than that there is one.
    let named = bad.iter().rev().find(|(_, mood)| matches!(mood, Mood::Named(_)));
    let (Some((first_bad, _)), Some((last_bad, last_mood))) = (bad.first().copied(), bad.last().copied()) else {
        let word = if now == Mood::Calm { "calm throughout".to_owned() } else { now.word().to_owned() };
        return Some(Feeling { words: word, messages: vec![last], now: now.word() });
    };
    let failed_before =
        |message: u32| highlights.tried.iter().filter(|s| s.outcome == Tried::DidNot && s.answer.is_some_and(|at| at <= message)).count();
    let reason = match failed_before(first_bad) {
        0 => String::new(),
        count => format!(", after the {} failed attempt", nth(count)),
    };
    let calm_first = moods.first().is_some_and(|(message, _)| *message < first_bad);
    // Who asks for a person, or threatens, is not calm.
    let insists = story
        .last(Speaker::Customer)
        .and_then(|turn| turn.signals.as_ref().ok())
        .is_some_and(|signals| signals.lexical.asks_for_person || signals.lexical.legal || signals.lexical.security);
    // Two calm messages after the last bad one are a change; one is a breath.
    let calm_now = moods.iter().rev().take_while(|(_, mood)| !mood.is_bad()).count();
    let glad = matches!(now, Mood::Content | Mood::Named("thankful" | "pleased"));
    let recovered = calm_now >= PASSED || !insists && glad;
    let word = named.map_or(last_mood, |(_, mood)| *mood).word();
    let words = match (calm_first, recovered) {
        // Who still asks for a person is calmer, not content.
        (_, true) if insists => format!("{word} at first, calmer since message {}", moods[moods.len() - calm_now].0),
        (true, true) => format!("{word} at message {last_bad}{reason}, {} since", now.word()),
        (true, false) => format!("calm at first, {word} since message {first_bad}{reason}"),
        (false, true) => format!("{word} at first, {} now", now.word()),
        (false, false) => format!("{word} from the start"),
    };
    let mut messages = vec![first_bad, last_bad];
    messages.dedup();
    let now = if recovered { now } else { named.map_or(last_mood, |(_, mood)| *mood) };
    Some(Feeling { words, messages, now: now.word() })
}

fn nth(count: usize) -> String {
    match count {
        1 => "first".to_owned(),
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        more => format!("{more}th"),
    }
}
