//! Stories out of transcripts and stored rows, and the packages made of them.

use crate::handoff::conversation::Conversation;
use crate::handoff::customer::Customer;
use crate::handoff::decision::Action;
use crate::handoff::observation::{MessageSignals, Unscored};
use crate::handoff::package::{Package, Sources, package};
use crate::handoff::policy::Policy;
use crate::handoff::receipt::Receipt;
use crate::handoff::story::{Story, Turn};
use crate::handoff::transcript::{Said, Transcript, What};
use crate::message::Speaker;
use crate::model::lexical::Lexicon;
use crate::model::sentence::split;
use crate::service::observe::SignalTable;
use crate::signal::Span;
use crate::time::Timestamp;

/// Sentences of one message that are looked at.
const SENTENCES_MAX: usize = 32;
/// Bytes of a message without a word that are looked at.
const SYMBOLS_BYTES_MAX: usize = 64;
/// Bytes of one message that are looked at; what comes later is in the conversation itself.
const BYTES_MAX: usize = 16 * 1024;

/// A turn as a story holds it.
pub fn turn(
    lexicon: &Lexicon,
    sequence: u32,
    speaker: Speaker,
    at: Timestamp,
    text: &str,
    signals: Result<MessageSignals, Unscored>,
) -> Turn {
    let text = &text[..text.floor_char_boundary(BYTES_MAX)];
    let mut sentences = split(text, SENTENCES_MAX);
    if sentences.is_empty() && !text.trim().is_empty() {
        // An emoji says something too.
        sentences.push(Span { start: 0, end: text.floor_char_boundary(SYMBOLS_BYTES_MAX) });
    }
    Turn { sequence, speaker, at, text: text.to_owned(), findings: lexicon.find(text).findings, signals, sentences }
}

/// A transcript that was played, with its package.
pub struct Played {
    /// The package at the end.
    pub package: Package,
    /// The receipt of the decision that it is about, if there is one.
    pub receipt: Option<Receipt>,
}

/// Plays a transcript and makes the package of its end. The decision that it is about is the last handoff.
pub fn of_transcript(lexicon: &Lexicon, policy: &Policy, transcript: &Transcript, table: &SignalTable) -> Played {
    let mut turns = Vec::new();
    let mut receipt = None;
    let mut now = Timestamp::default();
    let mut scored: Vec<Result<MessageSignals, Unscored>> = Vec::new();
    let conversation: Conversation = transcript.play(
        policy,
        |text| {
            let signals = table.get(text).cloned().ok_or(Unscored::NotAsked);
            scored.push(signals.clone());
            signals
        },
        |_, step| {
            now = step.receipt.at;
            if step.decision.action == Action::HandOver {
                receipt = Some(step.receipt.clone());
            }
        },
    );
    // A handoff that came back is over.
    let receipt = receipt.filter(|_| conversation.handoff.is_some());
    // The texts of earlier contacts were scored first.
    let mut scored = scored.into_iter().skip(transcript.contacts());
    for entry in &transcript.entries {
        let What::Message(said) = &entry.what else { continue };
        let Said { speaker, text, unscored, .. } = said;
        let signals = match unscored {
            Some(unscored) => Err(*unscored),
            None if *speaker == Speaker::Agent => Err(Unscored::NotAsked),
            None => scored.next().unwrap_or(Err(Unscored::NotAsked)),
        };
        let sequence = u32::try_from(turns.len() + 1).unwrap_or(u32::MAX);
        turns.push(turn(lexicon, sequence, *speaker, entry.at, text, signals));
    }
    let customer: Customer = transcript.customer(|text| table.get(text).cloned().ok_or(Unscored::NotAsked));
    let story = Story { turns };
    let sources = Sources {
        policy,
        conversation: &conversation,
        story: &story,
        customer: transcript.knows_customer().then_some(&customer),
        receipt: receipt.as_ref(),
        now,
    };
    Played { package: package(&sources), receipt }
}
