//! The messages of `ConversationService`.
//!
//! Signals are kept beside a row without the names of labels, which stand in every answer of a model at the same places: a third of the bytes.

use prost::Message as _;

use super::{Signals, pb};
use crate::handoff::conversation::Owner;
use crate::handoff::customer::{CONTACTS_MAX, EVENT_NAME_BYTES_MAX};
use crate::handoff::decision::{Action, Cause, Effect};
use crate::handoff::input::{Fact, Facts};
use crate::handoff::observation::Unscored;
use crate::message::{Id, Speaker};
use crate::service::memory::{
    Answered, Edition, Labels, MESSAGES_TOLD_MAX, Observe, Outcome, PastContact, PutFacts, RecordEvent, Told, ToldMessage,
};
use crate::service::status::BadField;
use crate::service::store::Status;
use crate::signal::BasisPoints;
use crate::time::Timestamp;

/// Most bytes of the reason of a failed lookup.
const FAILURE_BYTES_MAX: usize = 256;

/// A required id.
pub fn id(text: String, field: &str) -> Result<Id, BadField> {
    Id::new(text).map_err(|fault| BadField::new(field, fault.to_string()))
}

fn optional_id(text: Option<String>, field: &str) -> Result<Option<Id>, BadField> {
    text.map(|text| id(text, field)).transpose()
}

fn time(at: Option<prost_types::Timestamp>, field: &str) -> Result<Option<Timestamp>, BadField> {
    let Some(at) = at else { return Ok(None) };
    let millis = at.seconds.checked_mul(1000).and_then(|millis| millis.checked_add(i64::from(at.nanos) / 1_000_000));
    let found = || BadField::new(field, format!("found {} s, expected a time of the years 1970 to 9999", at.seconds));
    millis.filter(|_| (0..1_000_000_000).contains(&at.nanos)).and_then(Timestamp::from_millis).map(Some).ok_or_else(found)
}

/// A point in time of the contract.
pub(super) fn stamp(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.millis();
    let nanos = i32::try_from(millis % 1000).unwrap_or_default() * 1_000_000;
    prost_types::Timestamp { seconds: millis / 1000, nanos }
}

fn text_within(text: &str, bytes_max: usize, field: &str) -> Result<(), BadField> {
    if text.len() > bytes_max {
        return Err(BadField::new(field, format!("found {} bytes, text_bytes_max is {bytes_max}", text.len())));
    }
    Ok(())
}

/// A message of the contract → ours.
pub fn observe(request: pb::ObserveRequest, text_bytes_max: usize) -> Result<Observe, BadField> {
    let speaker = match pb::Speaker::try_from(request.speaker) {
        Ok(pb::Speaker::Customer) => Speaker::Customer,
        Ok(pb::Speaker::Bot) => Speaker::Bot,
        Ok(pb::Speaker::Agent) => Speaker::Agent,
        Ok(pb::Speaker::Unspecified) | Err(_) => {
            let what = format!("found {}, expected SPEAKER_CUSTOMER (1), SPEAKER_BOT (2) or SPEAKER_AGENT (3)", request.speaker);
            return Err(BadField::new("speaker", what));
        }
    };
    if request.sequence == 0 {
        return Err(BadField::new("sequence", "found 0, expected a number from 1"));
    }
    text_within(&request.text, text_bytes_max, "text")?;
    let of_bot = |field: &str| BadField::new(field, "belongs to turns of the bot");
    if speaker != Speaker::Bot && request.bot_confidence.is_some() {
        return Err(of_bot("bot_confidence"));
    }
    if speaker != Speaker::Bot && request.proposal.is_some() {
        return Err(of_bot("proposal"));
    }
    let confidence = |p: f32| {
        let found = || BadField::new("bot_confidence", format!("found {p}, expected a number from 0 to 1"));
        BasisPoints::new(f64::from(p)).filter(|_| (0.0..=1.0).contains(&p)).ok_or_else(found)
    };
    Ok(Observe {
        conversation: id(request.conversation_id, "conversation_id")?,
        customer: optional_id(request.customer_id, "customer_id")?,
        message: id(request.message_id, "message_id")?,
        sequence: request.sequence,
        speaker,
        text: request.text,
        bot_confidence: request.bot_confidence.map(confidence).transpose()?,
        proposal: request.proposal.unwrap_or(true),
        at: time(request.at, "at")?,
        model: request.model,
    })
}

/// An event of the contract → ours.
pub fn event(request: pb::RecordEventRequest) -> Result<RecordEvent, BadField> {
    if request.name.len() > EVENT_NAME_BYTES_MAX {
        return Err(BadField::new("name", format!("found {} bytes, expected at most {EVENT_NAME_BYTES_MAX}", request.name.len())));
    }
    let event = RecordEvent {
        id: id(request.event_id, "event_id")?,
        customer: optional_id(request.customer_id, "customer_id")?,
        conversation: optional_id(request.conversation_id, "conversation_id")?,
        kind: id(request.kind, "kind")?,
        name: request.name,
        at: time(request.at, "at")?,
    };
    if event.customer.is_none() && event.conversation.is_none() {
        return Err(BadField::new("customer_id", "found nothing, expected it or a conversation_id"));
    }
    Ok(event)
}

/// A lookup of the contract → ours.
pub fn facts(request: pb::PutFactsRequest, text_bytes_max: usize) -> Result<PutFacts, BadField> {
    let mut facts = known_facts(request.facts.unwrap_or_default())?;
    if let Some(failure) = request.failure {
        if failure.trim().is_empty() || failure.len() > FAILURE_BYTES_MAX {
            let what = format!("found {} bytes, expected 1 to {FAILURE_BYTES_MAX} with a reason", failure.len());
            return Err(BadField::new("failure", what));
        }
        facts = facts.missing(&failure);
    }
    if request.past_contacts.len() > CONTACTS_MAX {
        let what = format!("found {}, expected at most {CONTACTS_MAX}", request.past_contacts.len());
        return Err(BadField::new("past_contacts", what));
    }
    let contact = |(place, contact): (usize, pb::PastContact)| {
        let field = |name: &str| format!("past_contacts[{place}].{name}");
        if let Some(text) = &contact.text {
            text_within(text, text_bytes_max, &field("text"))?;
        }
        let at = time(contact.at, &field("at"))?.ok_or_else(|| BadField::new(field("at"), "found nothing, expected a time"))?;
        Ok(PastContact { id: id(contact.contact_id, &field("contact_id"))?, at, text: contact.text, resolved: contact.resolved })
    };
    let contacts = request.past_contacts.into_iter().enumerate().map(contact).collect::<Result<_, BadField>>()?;
    Ok(PutFacts {
        id: id(request.lookup_id, "lookup_id")?,
        conversation: id(request.conversation_id, "conversation_id")?,
        customer: optional_id(request.customer_id, "customer_id")?,
        facts,
        contacts,
        fetched: time(request.fetched_at, "fetched_at")?,
    })
}

fn known_facts(given: pb::Facts) -> Result<Facts, BadField> {
    let text = |text: Option<String>| text.map(Fact::Text);
    let since = time(given.since, "facts.since")?.map(|at| Fact::Text(at.to_string()));
    let named = [
        ("account", "account_name", text(given.account_name)),
        ("customer", "customer_name", text(given.customer_name)),
        ("tier", "tier", text(given.tier)),
        ("value", "value", given.value.map(Fact::Number)),
        ("since", "since", since),
        ("open_tickets", "open_tickets", given.open_tickets.map(|count| Fact::Number(f64::from(count)))),
    ];
    let mut facts = Facts::default();
    for (name, field, fact) in named.into_iter().filter_map(|(name, field, fact)| Some((name, field, fact?))) {
        facts = facts.with(name, fact).map_err(|fault| BadField::new(format!("facts.{field}"), fault.what))?;
    }
    // In one order, so that the same map is the same request.
    let own: std::collections::BTreeMap<String, pb::FactValue> = given.own.into_iter().collect();
    for (name, value) in own {
        let fault = |field: &str, what: String| BadField::new(format!("facts.own[{field}]"), what);
        let fact = match value.value {
            Some(pb::fact_value::Value::Flag(flag)) => Fact::Flag(flag),
            Some(pb::fact_value::Value::Number(number)) => Fact::Number(number),
            Some(pb::fact_value::Value::Text(text)) => Fact::Text(text),
            None => return Err(fault("value", "found nothing, expected a flag, a number or a text".to_owned())),
        };
        if Facts::NAMED.contains(&name.as_str()) {
            return Err(fault(&name, "is a fact with a field of its own".to_owned()));
        }
        facts = facts.with(&name, fact).map_err(|bad| fault(&bad.field, bad.what.clone()))?;
    }
    Ok(facts)
}

/// An outcome that a caller may say.
pub fn outcome(outcome: i32) -> Result<Outcome, BadField> {
    match pb::Outcome::try_from(outcome) {
        Ok(pb::Outcome::Resolved) => Ok(Outcome::Resolved),
        Ok(pb::Outcome::Unresolved) => Ok(Outcome::Unresolved),
        Ok(pb::Outcome::Abandoned) => Ok(Outcome::Abandoned),
        Ok(pb::Outcome::Unspecified | pb::Outcome::Idle) | Err(_) => {
            let what = format!("found {outcome}, expected OUTCOME_RESOLVED (1), OUTCOME_UNRESOLVED (2) or OUTCOME_ABANDONED (3)");
            Err(BadField::new("outcome", what))
        }
    }
}

/// A score that a caller may say.
pub fn satisfaction(score: u32) -> Result<u32, BadField> {
    if (1..=5).contains(&score) { Ok(score) } else { Err(BadField::new("score", format!("found {score}, expected 1 to 5"))) }
}

/// How many messages a caller may ask for.
pub fn messages_max(count: u32) -> Result<usize, BadField> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count <= MESSAGES_TOLD_MAX {
        return Ok(count);
    }
    Err(BadField::new("messages_max", format!("found {count}, expected at most {MESSAGES_TOLD_MAX}")))
}

/// An answer to a message.
pub fn observed(message: &Id, sequence: u32, answered: &Answered) -> pb::ObserveResponse {
    let answer = &answered.answer;
    pb::ObserveResponse {
        message_id: message.to_string(),
        sequence,
        signals: unpack(&answer.signals, &answered.edition.labels),
        unscored: match answered.unscored {
            None => pb::UnscoredReason::Unspecified,
            Some(Unscored::Failed) => pb::UnscoredReason::Failed,
            Some(Unscored::Late) => pb::UnscoredReason::Late,
            Some(Unscored::NotAsked) => pb::UnscoredReason::NotAsked,
        }
        .into(),
        decision: Some(decision(answered)),
        owner: owner(answer.owner).into(),
        epoch: answer.epoch,
        at: Some(stamp(answer.at)),
    }
}

/// What another input led to.
pub fn change(answered: &Answered) -> pb::Change {
    pb::Change { decision: Some(decision(answered)), owner: owner(answered.answer.owner).into(), epoch: answered.answer.epoch }
}

pub(super) fn owner(owner: Owner) -> pb::Owner {
    match owner {
        Owner::Bot => pb::Owner::Bot,
        Owner::Nobody => pb::Owner::Nobody,
        Owner::Person => pb::Owner::Person,
    }
}

fn action(action: Action) -> pb::DecisionAction {
    match action {
        Action::None => pb::DecisionAction::None,
        Action::Attempt => pb::DecisionAction::Attempt,
        Action::Resolved => pb::DecisionAction::Resolved,
        Action::HandOver => pb::DecisionAction::HandOver,
    }
}

fn cause(cause: Cause) -> pb::DecisionCause {
    match cause {
        Cause::NothingFired => pb::DecisionCause::NothingFired,
        Cause::Fired => pb::DecisionCause::Fired,
        Cause::NoAttemptLeft => pb::DecisionCause::NoAttemptLeft,
        Cause::AttemptPending => pb::DecisionCause::AttemptPending,
        Cause::AttemptAccepted => pb::DecisionCause::AttemptAccepted,
        Cause::AttemptRejected => pb::DecisionCause::AttemptRejected,
        Cause::AttemptUnclear => pb::DecisionCause::AttemptUnclear,
        Cause::AttemptTimedOut => pb::DecisionCause::AttemptTimedOut,
        Cause::HandedOver => pb::DecisionCause::HandedOver,
        Cause::Returned => pb::DecisionCause::Returned,
        Cause::Shadow => pb::DecisionCause::Shadow,
    }
}

fn trigger_id(edition: &Edition, place: u16) -> String {
    edition.policy.triggers.get(usize::from(place)).map(|trigger| trigger.id.clone()).unwrap_or_default()
}

fn decision(answered: &Answered) -> pb::Decision {
    let (edition, decision) = (&answered.edition, &answered.answer.decision);
    pb::Decision {
        action: action(decision.action).into(),
        cause: cause(decision.cause).into(),
        trigger_id: decision.trigger.map(|place| trigger_id(edition, place)),
        fired_trigger_ids: decision.fired.iter().map(|place| trigger_id(edition, *place)).collect(),
        effects: decision.effects(&edition.policy).into_iter().map(effect).collect(),
        receipt_digest: answered.receipt.to_string(),
        policy_digest: answered.answer.policy.to_string(),
        model_digest: edition.policy.vocabulary.model.clone(),
    }
}

fn effect(effect: Effect) -> pb::Effect {
    use pb::effect::Kind;
    let kind = match effect {
        Effect::AskBot { trigger } => Kind::AskBot(pb::AskBot { trigger_id: trigger }),
        Effect::StopBot => Kind::StopBot(pb::StopBot {}),
        Effect::TellCustomer { message } => Kind::TellCustomer(pb::TellCustomer { message_id: message, ..pb::TellCustomer::default() }),
        Effect::RequestHandoff { queue, trigger } => Kind::RequestHandoff(pb::RequestHandoff { queue_id: queue, trigger_id: trigger }),
        Effect::StartBot => Kind::StartBot(pb::StartBot { note: None }),
    };
    pb::Effect { kind: Some(kind) }
}

/// What is known of a conversation.
pub fn told(told: Told) -> pb::GetConversationResponse {
    let stored = told.stored;
    let mut response = pb::GetConversationResponse {
        conversation_id: stored.id.to_string(),
        customer_id: stored.customer.map(String::from),
        next_sequence: stored.messages.saturating_add(1),
        inputs: stored.inputs,
        satisfaction: stored.satisfaction,
        erased: stored.erased,
        messages: told.messages.into_iter().map(message).collect(),
        ..pb::GetConversationResponse::default()
    };
    if let Status::Closed { at, outcome } = &stored.status {
        let outcome = match Outcome::of(outcome) {
            Some(Outcome::Resolved) => pb::Outcome::Resolved,
            Some(Outcome::Unresolved) => pb::Outcome::Unresolved,
            Some(Outcome::Abandoned) => pb::Outcome::Abandoned,
            Some(Outcome::Idle) => pb::Outcome::Idle,
            None => pb::Outcome::Unspecified,
        };
        (response.outcome, response.closed_at) = (outcome.into(), Some(stamp(*at)));
    }
    if let Some(conversation) = told.conversation {
        response.owner = owner(conversation.owner()).into();
        response.epoch = conversation.epoch();
        response.started_at = conversation.started.map(stamp);
        response.last_at = Some(stamp(conversation.last));
        response.attempt_trigger_id = conversation.soft.map(|soft| soft.trigger);
        let handoff = |handoff: crate::handoff::conversation::Handoff| pb::Handoff {
            trigger_id: handoff.trigger,
            sequence: handoff.decided_at,
            at: Some(stamp(handoff.at)),
        };
        response.handoff = conversation.handoff.map(handoff);
    }
    response
}

fn message(told: ToldMessage) -> pb::StoredMessage {
    let speaker = match told.speaker {
        Speaker::Customer => pb::Speaker::Customer,
        Speaker::Bot => pb::Speaker::Bot,
        Speaker::Agent => pb::Speaker::Agent,
    };
    let decision = &told.answered.answer.decision;
    pb::StoredMessage {
        message_id: told.row.message.as_ref().map(|message| message.id.to_string()).unwrap_or_default(),
        sequence: told.row.message.as_ref().map(|message| message.sequence).unwrap_or_default(),
        speaker: speaker.into(),
        text: told.row.text,
        at: Some(stamp(told.row.at)),
        action: action(decision.action).into(),
        trigger_id: decision.trigger.map(|place| trigger_id(&told.answered.edition, place)),
    }
}

/// The time at which a conversation was closed.
pub fn closed(at: Timestamp) -> pb::CloseConversationResponse {
    pb::CloseConversationResponse { closed_at: Some(stamp(at)) }
}

/// Signals as they are kept beside a row.
pub fn pack(signals: &Signals) -> Vec<u8> {
    let mut message = super::signals(signals, false);
    each_head(&mut message, |_, probabilities| probabilities.iter_mut().for_each(|label| label.label.clear()));
    message.encode_to_vec()
}

/// The message again, with the labels of the model that scored; `None` where there were no signals.
fn unpack(bytes: &[u8], labels: &Labels) -> Option<pb::Signals> {
    if bytes.is_empty() {
        return None;
    }
    // What does not decode is told by the chain of receipts; an answer without signals is still an answer.
    let mut message = pb::Signals::decode(bytes).ok()?;
    each_head(&mut message, |head, probabilities| {
        for (probability, label) in probabilities.iter_mut().zip(labels.get(head).into_iter().flatten()) {
            probability.label.clone_from(label);
        }
    });
    Some(message)
}

fn each_head(message: &mut pb::Signals, mut each: impl FnMut(&str, &mut [pb::LabelProbability])) {
    let classifications = [("sentiment", &mut message.sentiment), ("intent", &mut message.intent), ("act", &mut message.act)].into_iter();
    for (name, found) in classifications.filter_map(|(name, found)| Some((name, found.as_mut()?))) {
        each(name, &mut found.probabilities);
    }
    if let Some(found) = &mut message.emotion {
        each("emotion", &mut found.probabilities);
    }
    message.other_classifications.iter_mut().for_each(|(name, found)| each(name, &mut found.probabilities));
    message.other_tags.iter_mut().for_each(|(name, found)| each(name, &mut found.probabilities));
}
