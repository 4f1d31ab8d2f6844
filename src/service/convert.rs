//! The only translator between the messages of the contract and our own types.

pub mod conversation;
pub mod handoff;
pub mod models;
pub mod outbox;
pub mod routing;

use std::time::{Duration, Instant};

use super::inference::{Class, Request, Scored, Timing};
use super::models::Model;
use super::pb;
use super::status::BadField;
use crate::model::head::Kind;
use crate::model::scorer::Scorer;
use crate::signal::{Absence, Classification, HeadSignal, Label, LexicalKind, PersonalData, Probability, Signal, Signals, Span, Tags};

/// What a request must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of one text.
    pub text_bytes_max: usize,
}

/// A request of the contract → ours. `at` is the path of the request inside the message, such as `items[3].`, or empty.
pub fn request(request: pb::ScoreRequest, at: &str, limits: RequestLimits, deadline: Option<Instant>) -> Result<Request, BadField> {
    let class = match request.priority.map(pb::Priority::try_from) {
        None | Some(Ok(pb::Priority::Live)) => Class::Live,
        Some(Ok(pb::Priority::Bulk)) => Class::Bulk,
        Some(Ok(pb::Priority::Unspecified)) => {
            return Err(BadField::new(format!("{at}priority"), "found PRIORITY_UNSPECIFIED, expected PRIORITY_LIVE or PRIORITY_BULK"));
        }
        Some(Err(unknown)) => {
            let what = format!("found {}, expected PRIORITY_LIVE (1) or PRIORITY_BULK (2)", unknown.0);
            return Err(BadField::new(format!("{at}priority"), what));
        }
    };
    let texts = [("text", Some(&request.text)), ("previous_bot_text", request.previous_bot_text.as_ref())];
    for (field, text) in texts.into_iter().filter_map(|(field, text)| Some((field, text?))) {
        if text.trim().is_empty() {
            return Err(BadField::new(format!("{at}{field}"), "found nothing, expected a text"));
        }
        if text.len() > limits.text_bytes_max {
            let what = format!("found {} bytes, text_bytes_max is {}", text.len(), limits.text_bytes_max);
            return Err(BadField::new(format!("{at}{field}"), what));
        }
    }
    Ok(Request { text: request.text, proposal: request.previous_bot_text, class, deadline })
}

/// Signals and timing → a response of the contract.
pub fn response(scored: &Scored, model: &Model, with_vectors: bool) -> pb::ScoreResponse {
    pb::ScoreResponse {
        signals: Some(signals(&scored.signals, with_vectors)),
        timing: Some(timing(scored.timing)),
        model_digest: model.digest().to_owned(),
        model: model.name().to_owned(),
    }
}

/// The heads of a model.
pub fn heads(scorer: &Scorer) -> Vec<pb::HeadInfo> {
    let info = |head: &crate::model::head::Head| pb::HeadInfo {
        name: head.name().to_owned(),
        labels: head.spec.labels.clone(),
        multi_label: head.spec.kind == Kind::MultiLabel,
    };
    scorer.heads().iter().map(info).collect()
}

fn timing(timing: Timing) -> pb::Timing {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    pb::Timing {
        queue_us: micros(timing.queue),
        tokenise_us: micros(timing.tokenise),
        inference_us: micros(timing.inference),
        batch_messages: saturate(timing.batch_messages),
        cached: timing.cached,
    }
}

pub(super) fn signals(signals: &Signals, with_vectors: bool) -> pb::Signals {
    let mut message = pb::Signals {
        language: Some(pb::Language {
            probability: signals.language.ok().map(|language| language.probability.get()),
            known: signals.language.is_ok_and(|language| language.known),
        }),
        sentiment: Some(classification(&signals.sentiment)),
        valence: signals.sentiment.as_ref().ok().and_then(Classification::valence),
        emotion: Some(tags(&signals.emotion)),
        intent: Some(classification(&signals.intent)),
        act: Some(classification(&signals.act)),
        lexical: signals.lexical.findings.iter().map(|finding| lexical(finding.kind, finding.span)).collect(),
        windows: Some(pb::Windows {
            scored: saturate(signals.windows.scored),
            dropped: saturate(signals.windows.dropped),
            bytes_unread: signals.windows.bytes_unread as u64,
        }),
        ..pb::Signals::default()
    };
    for (name, signal) in &signals.other_heads {
        match signal {
            HeadSignal::Single(signal) => drop(message.other_classifications.insert(name.clone(), classification(signal))),
            HeadSignal::Multi(signal) => drop(message.other_tags.insert(name.clone(), tags(signal))),
        }
    }
    if with_vectors {
        message.embedding = signals.embedding.as_ref().map(|embedding| embedding.0.clone()).unwrap_or_default();
        let sentence = |sentence: &crate::signal::Sentence| pb::SentenceVector {
            start_byte: saturate(sentence.span.start),
            end_byte: saturate(sentence.span.end),
            embedding: sentence.embedding.0.clone(),
        };
        message.sentences = signals.sentences.iter().map(sentence).collect();
    }
    message
}

fn classification(signal: &Signal<Classification>) -> pb::Classification {
    match signal {
        Err(reason) => pb::Classification { absence: absence(*reason).into(), ..pb::Classification::default() },
        Ok(found) => pb::Classification {
            absence: pb::AbsenceReason::Unspecified.into(),
            label: found.label().map(|(label, _)| label.to_owned()),
            confidence: found.label().map(|(_, p)| p.get()),
            in_scope: found.in_scope.map(Probability::get),
            probabilities: probabilities(&found.probabilities),
        },
    }
}

fn tags(signal: &Signal<Tags>) -> pb::Tags {
    match signal {
        Err(reason) => pb::Tags { absence: absence(*reason).into(), ..pb::Tags::default() },
        Ok(found) => pb::Tags {
            absence: pb::AbsenceReason::Unspecified.into(),
            present: found.present.iter().map(|label| found.probabilities[*label].0.to_string()).collect(),
            probabilities: probabilities(&found.probabilities),
        },
    }
}

fn probabilities(all: &[(Label, Probability)]) -> Vec<pb::LabelProbability> {
    all.iter().map(|(label, p)| pb::LabelProbability { label: label.to_string(), probability: p.get() }).collect()
}

fn absence(absence: Absence) -> pb::AbsenceReason {
    match absence {
        Absence::NoText => pb::AbsenceReason::NoText,
        Absence::Language => pb::AbsenceReason::Language,
        Absence::NotInModel => pb::AbsenceReason::NotInModel,
        Absence::NoProposal => pb::AbsenceReason::NoProposal,
        Absence::NotKept => pb::AbsenceReason::NotKept,
    }
}

fn lexical(kind: LexicalKind, span: Span) -> pb::LexicalFinding {
    let kind = match kind {
        LexicalKind::AsksForPerson => pb::LexicalKind::AsksForPerson,
        LexicalKind::DeclinesPerson => pb::LexicalKind::DeclinesPerson,
        LexicalKind::Negation => pb::LexicalKind::Negation,
        LexicalKind::Legal => pb::LexicalKind::Legal,
        LexicalKind::Privacy => pb::LexicalKind::Privacy,
        LexicalKind::Security => pb::LexicalKind::Security,
        LexicalKind::PersonalData(PersonalData::CardNumber) => pb::LexicalKind::CardNumber,
        LexicalKind::PersonalData(PersonalData::Iban) => pb::LexicalKind::Iban,
        LexicalKind::PersonalData(PersonalData::Email) => pb::LexicalKind::Email,
        LexicalKind::PersonalData(PersonalData::Phone) => pb::LexicalKind::Phone,
        LexicalKind::PersonalData(PersonalData::NationalId) => pb::LexicalKind::NationalId,
        LexicalKind::PersonalData(PersonalData::Password) => pb::LexicalKind::Password,
        LexicalKind::PersonalData(PersonalData::Token) => pb::LexicalKind::Token,
    };
    pb::LexicalFinding { kind: kind.into(), start_byte: saturate(span.start), end_byte: saturate(span.end) }
}

/// Counts and offsets are bounded far below this by the limits; a number that is not becomes the largest.
fn saturate(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
