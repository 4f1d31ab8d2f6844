//! What a person does first: answer what was asked, do what was wanted, or solve what was told.

use super::{QUOTE_WORDS, Reason, first_words};
use crate::handoff::feeling::Feeling;
use crate::handoff::highlights::{Highlights, Tried};
use crate::handoff::mask::Masking;
use crate::handoff::policy::Urgency;
use crate::handoff::story::{Said, Story};
use crate::handoff::summary::Summary;
use crate::handoff::summary::wording::{retold, spoken};
use crate::message::Speaker;
use crate::signal::{Absence, LexicalKind, Span};

/// Words from which something that is wanted says what.
const WORDS_MIN: usize = 4;
/// Words of what the customer told.
const TOLD_WORDS: usize = 16;

/// What of a package says what to do.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub reason: Option<&'a Reason>,
    pub highlights: &'a Highlights,
    pub summary: &'a Summary,
    pub feeling: Option<&'a Feeling>,
}

/// What a person does first.
pub(super) fn next(told: &Told<'_>, story: &Story, masking: Masking) -> String {
    let Told { reason, highlights, summary, feeling } = *told;
    let urgent = reason.is_some_and(|reason| reason.urgency == Urgency::Immediate.as_str());
    let worked = highlights.tried.last().is_some_and(|solution| solution.outcome == Tried::Worked);
    if reason.is_none() && highlights.unanswered.is_empty() {
        if worked {
            return "Nothing is open: the customer accepted what the bot did.".to_owned();
        }
        if feeling.is_some_and(Feeling::is_glad) {
            return format!("Nothing is open: the customer is {} now.", feeling.map_or("content", |feeling| feeling.now));
        }
    }
    let first = match reason.map(|reason| reason.category.as_str()) {
        Some("legal_threat") => "Answer in writing; promise nothing about the claim.",
        Some("privacy_request") => "Confirm receipt in writing; a legal deadline runs.",
        Some("security_concern") => "Secure the account before anything else.",
        Some("distress") => "Answer at once, as a person.",
        _ if in_another_language(story) => "Answer in their language.",
        Some("low_confidence") if highlights.tried.is_empty() => "Find out what they need.",
        _ => "",
    };
    let mut parts: Vec<String> = Some(first.to_owned()).filter(|first| !first.is_empty()).into_iter().collect();
    // "Is there anyone alive over there?" is answered by taking over, and "hello??" asks nothing.
    let is_quoted = |text: &str| reason.and_then(|reason| reason.quote.as_ref()).is_some_and(|quote| quote.text == text);
    let asks = |text: &str| !is_quoted(text) && spoken(text).len() >= WORDS_MIN;
    // Who had the conversation before knows it.
    let agent = highlights.tried.iter().rfind(|solution| solution.by == Speaker::Agent.as_str());
    parts.extend(agent.and_then(|solution| solution.what.split_once(" said:")).map(|(who, _)| format!("Ask {who}, who had it before.")));
    let open = highlights.unanswered.iter().rfind(|open| asks(&open.text));
    let open = open.map(|open| format!("Answer: \u{201c}{}\u{201d}", first_words(&open.text, QUOTE_WORDS)));
    let solve = || summary.statements.first().map(|wants| format!("Solve: {}.", cut(&wants.slot, TOLD_WORDS)));
    parts.extend(open.or_else(|| wanted(story, masking)).or_else(solve));
    if parts.is_empty() {
        parts.push("Ask what they need.".to_owned());
    }
    if highlights.tried.iter().filter(|solution| solution.outcome == Tried::DidNot).count() > 1 {
        parts.push("Offer something new.".to_owned());
    }
    if urgent {
        parts.push("Reply now.".to_owned());
    }
    parts.join(" ")
}

/// Whether the last message of the customer is in a language that the model does not know.
fn in_another_language(story: &Story) -> bool {
    let signals = story.last(Speaker::Customer).and_then(|turn| turn.signals.as_ref().ok());
    signals.is_some_and(|signals| signals.valence == Err(Absence::Language))
}

/// The beginning of what was told, without a mark at its end.
fn cut(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split(' ').take(most).collect();
    words.join(" ").trim_end_matches(['.', ',', ';', '\u{2026}']).to_owned()
}

/// Words by which a customer says what they want done.
const REQUESTS: &[&str] = &[
    "i want ",
    "i need ",
    "i'd like",
    "i would like",
    "i demand",
    "i expect",
    "please",
    "can you",
    "could you",
    "can i",
    "who can",
    "who could",
    "get me",
    "give me",
    "bring me",
    "send me",
    "call me",
    "and want",
    "to cancel",
    "cancel my",
    "cancel the",
    "cancel it",
    "my refund",
    "a refund",
    "refund me",
    "full refund",
    "money back",
    "we want ",
    "we need ",
    "fix it",
    "fix this",
    "fix the",
    "fix my",
    "to fix",
    "to correct",
    "correct the",
    "correct my",
    "let me know",
    "tell me",
];

/// The last thing that the customer wants done, else the last that they asked, retold.
fn wanted(story: &Story, masking: Masking) -> Option<String> {
    let requests = |words: &str| {
        let lower = words.to_lowercase().replace('\u{2019}', "'");
        REQUESTS.iter().any(|phrase| lower.contains(phrase))
    };
    let asks = |words: &str| words.trim_end().ends_with('?');
    last(story, masking, requests, requests).or_else(|| last(story, masking, asks, |_| false))
}

/// The last sentence of the customer that `asks`; of one that asks for a person, what comes after, if that `goes_on` to ask for something.
fn last(story: &Story, masking: Masking, asks: impl Fn(&str) -> bool, goes_on: impl Fn(&str) -> bool) -> Option<String> {
    story.sentences(Speaker::Customer).iter().rev().find_map(|said| {
        let words = said.words(masking);
        if !asks(&words) {
            return None;
        }
        let request = match person(said, masking) {
            // Who asks for a person says at most what for: that is what is left to do.
            Some((ask, rest)) => purpose(&ask, &rest).or_else(|| Some(rest).filter(|rest| goes_on(rest)))?,
            None => words,
        };
        let long = spoken(&request).len() >= WORDS_MIN;
        let retold = retold(&request, Speaker::Customer, QUOTE_WORDS);
        let end = if retold.ends_with(['?', '\u{2026}']) { "" } else { "." };
        let says = if retold.ends_with('?') { "They ask" } else { "Request" };
        (long && !retold.is_empty()).then(|| format!("{says}: {retold}{end}"))
    })
}

/// Where a sentence asks for a person: the words that do, and what comes after them.
fn person(said: &Said<'_>, masking: Masking) -> Option<(String, String)> {
    let within = |span: &Span| said.sentence.start <= span.start && span.end <= said.sentence.end;
    let asks = said.turn.findings.iter().filter(|finding| finding.kind == LexicalKind::AsksForPerson && within(&finding.span));
    let ask = asks.max_by_key(|finding| finding.span.end)?.span;
    let part = |start, end| Said { sentence: Span { start, end }, ..*said }.words(masking);
    let rest = part(ask.end, said.sentence.end);
    let rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
    let rest = rest.strip_prefix("now").filter(|rest| !rest.starts_with(char::is_alphanumeric)).unwrap_or(rest);
    Some((part(ask.start, ask.end), rest.trim_start_matches(|c: char| !c.is_alphanumeric()).to_owned()))
}

/// What the person is to be, or to do: "speak to someone in billing".
fn purpose(ask: &str, rest: &str) -> Option<String> {
    let first = rest.split(' ').next()?.to_lowercase();
    let tells = ["who", "to", "in", "on", "from", "about", "of", "that", "regarding", "for"].contains(&first.as_str());
    tells.then(|| format!("{ask} {rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_is_wanted_for_is_told() {
        for (ask, rest, expected) in [
            ("speak to someone", "in billing.", Some("speak to someone in billing.")),
            ("need a human", "to correct invoice F-2291.", Some("need a human to correct invoice F-2291.")),
            ("talk to a real person", "", None),
            ("human agent", "please", None),
        ] {
            assert_eq!(purpose(ask, rest).as_deref(), expected);
        }
    }
}
