//! The one function that decides: pure and total. The live RPC, `replay`, `check` and the tests all call it.
//!
//! In: policy, conversation, input, and the time. Out: the next conversation, the decision, what must be done about it, and the receipt. The same inputs give
//! the same bytes on any machine: numbers are compared as they are kept, in ten-thousandths, and no function of the platform's maths library takes part.

use std::time::Duration;

use super::conversation::{Answer, Conversation, Handoff, SoftAttempt};
use super::decision::{Action, Cause, Decision, Effect};
use super::expression::names::{Argument, Term, TermKind};
use super::expression::{Reading, Truth, Value};
use super::input::{Body, Fact, Input};
use super::lifecycle::{self, Duty, Life};
use super::observation::{MessageSignals, Observation};
use super::policy::{Policy, Urgency};
use super::receipt::{Digest, Receipt, TriggerReceipt};
use super::trigger::{Moment, TriggerState};
use crate::message::Speaker;
use crate::signal::{Absence, BasisPoints};
use crate::time::Timestamp;

/// What one input led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The conversation after it.
    pub conversation: Conversation,
    /// What was decided.
    pub decision: Decision,
    /// What must be done about it, in order, as the answer tells it.
    pub effects: Vec<Effect>,
    /// The same as the feed tells it, where the first message to the customer comes with the wait, and what the handoff's life asks for.
    pub duties: Vec<Duty>,
    /// Why.
    pub receipt: Receipt,
}

/// Folds one input into a conversation and decides.
pub fn step(policy: &Policy, mut conversation: Conversation, input: &Input) -> Step {
    let now = input.at.max(conversation.last);
    let clock_corrected = input.at < conversation.last;
    conversation.use_model(&policy.vocabulary);
    conversation.inputs = conversation.inputs.saturating_add(1);
    conversation.last = now;
    let Folded { answer, mut duties, handed_back } = fold(policy, &mut conversation, input, now);
    let readings: Vec<Reading> = policy.terms.iter().map(|term| read(term, policy, &conversation, input, now)).collect();
    let customer_message = match &input.body {
        // A message without signals says nothing, and nothing is held or cooled by it.
        Body::Message(observation) if observation.speaker == Speaker::Customer && observation.signals.is_ok() => Some(observation.sequence),
        Body::Message(_) | Body::Event { .. } | Body::Facts(_) | Body::Timer | Body::Returned | Body::Handoff(_) => None,
    };
    let movement = match &conversation.handoff {
        _ if handed_back => Movement::HandedBack,
        // A handed-over conversation moves no trigger: what a person is told is what stood when the decision fell.
        Some(_) => Movement::Frozen,
        None => Movement::Free,
    };
    let mut triggers = judge(policy, &mut conversation, &readings, customer_message, movement);
    let fired = triggers.iter().enumerate().filter(|(_, receipt)| receipt.after == TriggerState::Fired);
    let mut fired: Vec<u16> = fired.map(|(at, _)| place(at)).collect();
    fired.sort_by_key(|at| policy.precedence(usize::from(*at)));
    let still = |trigger: usize| triggers[trigger].truth == Truth::True && policy.reads_only_the_message(trigger);
    let decision = decide(policy, &mut conversation, Happened { input, answer, handed_back, still: &still, now }, fired);
    if decision.action == Action::Resolved {
        release_holds(policy, &mut conversation, &mut triggers);
    }
    let receipt = Receipt {
        input: conversation.inputs,
        kind: input.body.as_str().to_owned(),
        message: conversation.messages,
        at: now,
        clock_corrected,
        unscored: unscored(&input.body),
        triggers,
        decision: decision.clone(),
        policy_digest: policy.digest,
        model_digest: policy.vocabulary.model.clone(),
        input_digest: Digest::of_value(input),
        previous: conversation.chain,
    };
    conversation.chain = receipt.digest();
    let effects = decision.effects(policy);
    // Those of the life come after: a bot is silent before anybody else speaks.
    let decided = effects.iter().filter_map(|effect| duty(effect, handed_back)).collect::<Vec<_>>();
    duties.splice(0..0, decided);
    Step { conversation, decision, effects, duties, receipt }
}

fn place(at: usize) -> u16 {
    u16::try_from(at).expect("a policy has at most a few hundred triggers")
}

fn unscored(body: &Body) -> Option<String> {
    match body {
        Body::Message(Observation { signals: Err(unscored), speaker: Speaker::Customer, .. }) => Some(unscored.as_str().to_owned()),
        Body::Message(_) | Body::Event { .. } | Body::Facts(_) | Body::Timer | Body::Returned | Body::Handoff(_) => None,
    }
}

/// A decided effect as the feed tells it. The message to the customer comes when the handoff has a place, with the wait; that the bot speaks again, with the
/// note.
fn duty(effect: &Effect, handed_back: bool) -> Option<Duty> {
    match effect {
        Effect::AskBot { trigger } => Some(Duty::AskBot { trigger: trigger.clone() }),
        Effect::StopBot => Some(Duty::StopBot),
        Effect::TellCustomer { .. } => None,
        Effect::RequestHandoff { queue, trigger } => Some(Duty::RequestHandoff { queue: queue.clone(), trigger: trigger.clone() }),
        Effect::StartBot => (!handed_back).then_some(Duty::StartBot { note: None }),
    }
}

/// What became of an input when it was taken into the state.
#[derive(Default)]
struct Folded {
    answer: Answer,
    duties: Vec<Duty>,
    /// Whether the bot has the conversation again.
    handed_back: bool,
}

/// Takes the input into the state.
fn fold(policy: &Policy, conversation: &mut Conversation, input: &Input, now: Timestamp) -> Folded {
    let handed_over = conversation.handoff.is_some();
    let mut folded = Folded::default();
    match &input.body {
        Body::Message(observation) => {
            folded.answer = conversation.take(observation, &policy.vocabulary, &policy.thresholds, now);
            folded.duties = lifecycle::heard(policy, conversation, observation.speaker, now);
        }
        Body::Facts(facts) => conversation.facts.update(facts.clone()),
        Body::Returned => folded.duties = lifecycle::returned(conversation, now),
        Body::Timer => folded.duties = lifecycle::tick(policy, conversation, now),
        Body::Handoff(act) => folded.duties = lifecycle::act(policy, conversation, act, now),
        Body::Event { .. } => {}
    }
    folded.handed_back = matches!(input.body, Body::Returned) || (handed_over && conversation.handoff.is_none());
    folded
}

/// How triggers move at an input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Movement {
    Free,
    Frozen,
    HandedBack,
}

/// Evaluates every trigger and moves its state.
fn judge(
    policy: &Policy,
    conversation: &mut Conversation,
    readings: &[Reading],
    customer_message: Option<u32>,
    movement: Movement,
) -> Vec<TriggerReceipt> {
    let mut receipts = Vec::with_capacity(policy.triggers.len());
    for trigger in &policy.triggers {
        let (when, comparisons) = trigger.when.evaluate(&policy.terms, readings);
        let rearm = trigger.rearm.as_ref().map_or(when.not(), |rearm| rearm.evaluate(&policy.terms, readings).0);
        let before = conversation.triggers.remove(&trigger.id).unwrap_or_default();
        let mut stood_at = if let TriggerState::Held { messages } = &before { messages.clone() } else { Vec::new() };
        let after = match movement {
            Movement::Free => before.clone().next(Moment { when, rearm, customer_message }, trigger.pace).0,
            Movement::Frozen => before.clone().frozen(trigger.pace),
            Movement::HandedBack => TriggerState::handed_back(when, trigger.pace),
        };
        match &after {
            TriggerState::Held { messages } => stood_at.clone_from(messages),
            TriggerState::Fired => stood_at.extend(customer_message),
            TriggerState::Armed | TriggerState::Cooling { .. } => stood_at.clear(),
        }
        if after != TriggerState::Armed {
            conversation.triggers.insert(trigger.id.clone(), after.clone());
        }
        receipts.push(TriggerReceipt { truth: when, comparisons, rearm, before, after, stood_at });
    }
    // Triggers of another policy are forgotten.
    conversation.triggers.retain(|id, _| policy.triggers.iter().any(|trigger| trigger.id == *id));
    receipts
}

/// What was held before an attempt worked counts no more.
fn release_holds(policy: &Policy, conversation: &mut Conversation, triggers: &mut [TriggerReceipt]) {
    for (trigger, receipt) in policy.triggers.iter().zip(triggers) {
        if matches!(receipt.after, TriggerState::Held { .. }) {
            receipt.after = TriggerState::Armed;
            receipt.stood_at.clear();
            conversation.triggers.remove(&trigger.id);
        }
    }
}

/// What a decision is made from, beside the state.
struct Happened<'a> {
    input: &'a Input,
    answer: Answer,
    handed_back: bool,
    /// Whether the condition of a trigger stands again on this very message.
    still: &'a dyn Fn(usize) -> bool,
    now: Timestamp,
}

/// Immediate before the attempt that is under way, that before a new one.
fn decide(policy: &Policy, conversation: &mut Conversation, happened: Happened<'_>, fired: Vec<u16>) -> Decision {
    let now = happened.now;
    if happened.handed_back {
        return Decision { action: Action::None, trigger: None, cause: Cause::Returned, fired };
    }
    if conversation.handoff.is_some() {
        return Decision { action: Action::None, trigger: None, cause: Cause::HandedOver, fired };
    }
    let live: Vec<u16> = fired.iter().copied().filter(|at| !policy.is_shadow(usize::from(*at), &conversation.id)).collect();
    let first = live.first().copied();
    if let Some(trigger) = first.filter(|at| policy.triggers[usize::from(*at)].urgency == Urgency::Immediate) {
        return hand_over(policy, conversation, trigger, Cause::Fired, fired, now);
    }
    // The attempt of a policy that no longer has its trigger has nobody to answer to.
    let pending = conversation.soft.as_ref().and_then(|soft| policy.triggers.iter().position(|trigger| trigger.id == soft.trigger));
    if let Some(trigger) = pending {
        return await_outcome(policy, conversation, happened, trigger, !live.is_empty(), fired);
    }
    conversation.soft = None;
    let Some(trigger) = first else {
        let shadow = fired.first().copied();
        let cause = if shadow.is_some() { Cause::Shadow } else { Cause::NothingFired };
        return Decision { action: Action::None, trigger: shadow, cause, fired };
    };
    if conversation.soft_attempts >= policy.soft.attempts {
        return hand_over(policy, conversation, trigger, Cause::NoAttemptLeft, fired, now);
    }
    conversation.soft_attempts += 1;
    conversation.soft = Some(SoftAttempt {
        trigger: policy.triggers[usize::from(trigger)].id.clone(),
        asked_at: conversation.messages,
        // A trigger that fires at the bot's own turn asks for the next one.
        answered: false,
        unclear: 0,
        deadline: now.plus(Duration::from_secs(u64::from(policy.soft.timeout_secs))),
    });
    Decision { action: Action::Attempt, trigger: Some(trigger), cause: Cause::Fired, fired }
}

fn await_outcome(
    policy: &Policy,
    conversation: &mut Conversation,
    happened: Happened<'_>,
    trigger: usize,
    others_fire: bool,
    fired: Vec<u16>,
) -> Decision {
    let still_stands = (happened.still)(trigger) || others_fire;
    let trigger = place(trigger);
    match outcome(policy, conversation, happened.input, happened.answer, still_stands, happened.now) {
        Outcome::Accepted => {
            conversation.soft = None;
            conversation.clear_counters();
            Decision { action: Action::Resolved, trigger: Some(trigger), cause: Cause::AttemptAccepted, fired }
        }
        Outcome::Failed(cause) => hand_over(policy, conversation, trigger, cause, fired, happened.now),
        Outcome::Open => Decision { action: Action::None, trigger: None, cause: Cause::AttemptPending, fired },
    }
}

fn hand_over(policy: &Policy, conversation: &mut Conversation, trigger: u16, cause: Cause, fired: Vec<u16>, now: Timestamp) -> Decision {
    let id = policy.triggers[usize::from(trigger)].id.clone();
    conversation.handoff = Some(Handoff { trigger: id, decided_at: conversation.messages, at: now });
    conversation.life = Some(Life::requested(policy, usize::from(trigger), conversation, now));
    conversation.soft = None;
    Decision { action: Action::HandOver, trigger: Some(trigger), cause, fired }
}

enum Outcome {
    Accepted,
    Failed(Cause),
    Open,
}

/// How the attempt goes, from the customer's answer to the bot's turn, else from the time.
fn outcome(policy: &Policy, conversation: &mut Conversation, input: &Input, answer: Answer, still_stands: bool, now: Timestamp) -> Outcome {
    let Some(soft) = &mut conversation.soft else { return Outcome::Open };
    let late = if now >= soft.deadline { Outcome::Failed(Cause::AttemptTimedOut) } else { Outcome::Open };
    let Body::Message(observation) = &input.body else { return late };
    if observation.speaker == Speaker::Bot && soft.unclear >= policy.soft.turns {
        // The further attempt was what the bot had said before.
        return Outcome::Failed(Cause::AttemptUnclear);
    }
    if observation.speaker != Speaker::Customer || !soft.answered {
        return late;
    }
    let valence = observation.signals.as_ref().ok().and_then(|signals| signals.valence.ok()).map(BasisPoints::get);
    let happy = content(observation, policy);
    let unhappy = valence.is_some_and(|valence| valence <= policy.soft.negative) && !happy;
    if answer.rejects || answer.repeats {
        return Outcome::Failed(Cause::AttemptRejected);
    }
    if happy || (answer.accepts && !unhappy) {
        return Outcome::Accepted;
    }
    if unhappy || still_stands {
        return Outcome::Failed(Cause::AttemptRejected);
    }
    soft.unclear = soft.unclear.saturating_add(1);
    if soft.unclear >= policy.soft.turns { Outcome::Failed(Cause::AttemptUnclear) } else { late }
}

/// Whether a message is glad of what the bot did: thanks, gratitude, joy, or plainly positive.
fn content(observation: &Observation, policy: &Policy) -> bool {
    let Ok(signals) = &observation.signals else { return false };
    let p = |values: &Result<Vec<BasisPoints>, Absence>, place: Option<usize>| {
        let value = place.and_then(|place| values.as_ref().ok()?.get(place).copied());
        value.map_or(0.0, BasisPoints::get)
    };
    let emotion = |label: &str| p(&signals.emotions, policy.vocabulary.emotions.iter().position(|range| range.label == label));
    let intents = signals.intents.clone().map(|intents| intents.probabilities);
    let thanks = p(&intents, policy.vocabulary.intents.iter().position(|range| range.label == "thanks_or_closing"));
    let valence = signals.valence.map_or(0.0, BasisPoints::get);
    emotion("gratitude").max(thanks) >= policy.soft.thanks || valence >= policy.soft.positive
}

/// The value of a term now.
pub fn read(term: &Term, policy: &Policy, conversation: &Conversation, input: &Input, now: Timestamp) -> Reading {
    use TermKind as T;
    match term.name.kind {
        T::Valence => latest(conversation, |signals| signals.valence.map(number)),
        T::InScope => latest(conversation, |signals| {
            let intents = signals.intents.as_ref().map_err(|absence| *absence)?;
            Ok(intents.in_scope.map_or_else(|| Value::Unknown("not_in_model".to_owned()), number))
        }),
        T::TopIntent => latest(conversation, |signals| {
            let intents = signals.intents.as_ref().map_err(|absence| *absence)?;
            let label = intents.top.and_then(|top| policy.vocabulary.intents.get(usize::from(top)));
            Ok(label.map_or_else(|| Value::Unknown("out_of_scope".to_owned()), |range| Value::Text(range.label.clone())))
        }),
        T::IntentConfidence => latest(conversation, |signals| {
            let intents = signals.intents.as_ref().map_err(|absence| *absence)?;
            let p = intents.top.and_then(|top| intents.probabilities.get(usize::from(top))).copied();
            Ok(number(p.unwrap_or_default()))
        }),
        T::LanguageKnown => latest(conversation, |signals| signals.language_known.map(Value::Truth)),
        T::Words => match &conversation.latest {
            Some(observation) => Reading::from_messages(Value::Number(f64::from(observation.words)), vec![observation.sequence]),
            None => Reading::unknown(NO_MESSAGE),
        },
        T::Emotion => latest(conversation, |signals| signals.emotions.as_ref().map(|all| at_label(all, term)).map_err(|absence| *absence)),
        T::Act => latest(conversation, |signals| match &signals.acts {
            Ok(all) => Ok(at_label(all, term)),
            // Without a turn of the bot there is nothing to accept or reject: that is known.
            Err(Absence::NoProposal) => Ok(Value::Number(0.0)),
            Err(absence) => Err(*absence),
        }),
        T::Intent => latest(conversation, |signals| intent(signals, term, policy)),
        T::Says => says(term, conversation),
        T::Mentions => latest(conversation, |signals| Ok(Value::Truth(mentions(signals, term)))),
        T::AsksForPerson => asks_for_person(policy, conversation),
        T::DeclinesPerson => latest(conversation, |signals| Ok(Value::Truth(signals.lexical.declines_person))),
        T::ValenceMean => mean(&last_valences(conversation, turns(term))),
        T::ValenceSlope => slope(&last_valences(conversation, turns(term))),
        T::NegativeStreak => streak(conversation, |turn| turn.valence.map(|valence| valence.get() <= level(term))),
        T::EmotionMean => {
            mean(&last(conversation.turns.iter().filter_map(|turn| Some((turn.sequence, emotion_of(turn, term)?))), turns(term)))
        }
        T::EmotionStreak => streak(conversation, |turn| emotion_of(turn, term).map(|p| p >= level(term))),
        T::CustomerTurns => count(conversation.customer_turns),
        T::BotTurns => count(conversation.bot_turns),
        T::FailedAttempts => because(&conversation.failed_attempts),
        T::BotRepeats => because(&conversation.bot_repeats),
        T::CustomerRepeats => because(&conversation.customer_repeats),
        T::SoftAttempts => count(conversation.soft_attempts),
        T::Handoffs => count(conversation.handoffs),
        T::Minutes => match conversation.started {
            Some(started) => Reading::of(Value::Number((now.since(started).as_secs() / 6) as f64 / 10.0)),
            None => Reading::unknown(NO_MESSAGE),
        },
        T::BotConfidence => match conversation.bot_confidence {
            Some((sequence, p)) => Reading::from_messages(number(p), vec![sequence]),
            None => Reading::unknown("not_sent"),
        },
        T::BotConfidenceMean => mean(&last(conversation.bot_confidences.iter().map(|(sequence, p)| (*sequence, p.get())), turns(term))),
        T::SameIssue | T::Contacts | T::Events => match policy.customer_reading(term, input) {
            Some(value) => count(value),
            None => Reading::unknown("customer_or_issue_not_known"),
        },
        T::Tier => fact(conversation, conversation.facts.tier().map(|tier| Value::Text(tier.to_owned()))),
        T::AccountValue => fact(conversation, conversation.facts.value().map(Value::Number)),
        T::AccountDays => {
            fact(conversation, conversation.facts.since().map(|since| Value::Number((now.since(since).as_secs() / (24 * 3600)) as f64)))
        }
        T::OpenTickets => fact(conversation, conversation.facts.open_tickets().map(|tickets| Value::Number(f64::from(tickets)))),
        T::FactText => {
            own_fact(conversation, term, |fact| if let Fact::Text(text) = fact { Some(Value::Text(text.clone())) } else { None })
        }
        T::FactNumber => {
            own_fact(conversation, term, |fact| if let Fact::Number(number) = fact { Some(Value::Number(*number)) } else { None })
        }
        T::FactFlag => own_fact(conversation, term, |fact| if let Fact::Flag(flag) = fact { Some(Value::Truth(*flag)) } else { None }),
    }
}

/// There is no message of the customer yet, or none since the person handed back.
const NO_MESSAGE: &str = "no_message_yet";

fn number(value: BasisPoints) -> Value {
    Value::Number(value.get())
}

fn count(value: u32) -> Reading {
    Reading::of(Value::Number(f64::from(value)))
}

fn because(counted: &super::conversation::Count) -> Reading {
    Reading::from_messages(Value::Number(f64::from(counted.count)), counted.messages.clone())
}

/// A signal of the customer's latest message.
fn latest(conversation: &Conversation, read: impl FnOnce(&MessageSignals) -> Result<Value, Absence>) -> Reading {
    let Some(observation) = &conversation.latest else { return Reading::unknown(NO_MESSAGE) };
    let value = observation.signal(read).unwrap_or_else(|reason| Value::Unknown(reason.to_owned()));
    Reading::from_messages(value, vec![observation.sequence])
}

fn label(term: &Term) -> usize {
    match term.arguments.first() {
        Some(Argument::Label(_, place)) => *place,
        _ => unreachable!("the checker gives this term a label"),
    }
}

fn turns(term: &Term) -> usize {
    match term.arguments.last() {
        Some(Argument::Turns(turns)) => *turns,
        _ => unreachable!("the checker gives this term a number of messages"),
    }
}

fn level(term: &Term) -> f64 {
    match term.arguments.last() {
        Some(Argument::Level(level)) => *level,
        _ => unreachable!("the checker gives this term a level"),
    }
}

fn at_label(all: &[BasisPoints], term: &Term) -> Value {
    all.get(label(term)).map_or_else(|| Value::Unknown("not_in_model".to_owned()), |p| number(*p))
}

/// An intent of the model, or behind those one of the policy's examples.
fn intent(signals: &MessageSignals, term: &Term, policy: &Policy) -> Result<Value, Absence> {
    let place = label(term);
    match place.checked_sub(policy.vocabulary.intents.len()) {
        None => signals.intents.as_ref().map(|intents| at_label(&intents.probabilities, term)).map_err(|absence| *absence),
        Some(example) => {
            let all = signals.example_intents.as_ref().map_err(|absence| *absence)?;
            Ok(all.get(example).map_or_else(|| Value::Unknown("not_in_model".to_owned()), |p| number(*p)))
        }
    }
}

/// What was looked for in the text when it came in; no signal is needed for it.
fn says(term: &Term, conversation: &Conversation) -> Reading {
    let Some(observation) = &conversation.latest else { return Reading::unknown(NO_MESSAGE) };
    let Some(Argument::Phrases(places, phrases)) = term.arguments.first() else { unreachable!("the checker gives this term phrases") };
    let said = places.iter().map(|place| observation.says.get(*place).copied()).collect::<Option<Vec<bool>>>();
    let Some(said) = said else { return Reading::unknown("looked_for_by_another_policy") };
    let found: Vec<String> =
        phrases.iter().zip(&said).filter(|(_, said)| **said).map(|(phrase, _)| format!("\u{201c}{phrase}\u{201d}")).collect();
    let value = Value::Truth(!found.is_empty());
    let said = (!found.is_empty()).then(|| found.join(" and "));
    Reading { value, messages: vec![observation.sequence], said }
}

fn mentions(signals: &MessageSignals, term: &Term) -> bool {
    match label(term) {
        0 => signals.lexical.legal,
        1 => signals.lexical.privacy,
        2 => signals.lexical.security,
        _ => unreachable!("there are three topics"),
    }
}

/// The rules or the model; refusing one decides.
fn asks_for_person(policy: &Policy, conversation: &Conversation) -> Reading {
    let place = policy.vocabulary.intents.iter().position(|range| range.label == "talk_to_human");
    latest(conversation, |signals| {
        let rules = Truth::from(signals.lexical.asks_for_person);
        let p = signals.intents.as_ref().ok().zip(place).and_then(|(intents, place)| intents.probabilities.get(place));
        let model = p.map_or(Truth::Unknown, |p| Truth::from(p.get() >= policy.thresholds.asks_for_person));
        let asked = rules.or(model).and(Truth::from(!signals.lexical.declines_person));
        Ok(match asked {
            Truth::True => Value::Truth(true),
            Truth::False => Value::Truth(false),
            Truth::Unknown => {
                let absence = signals.intents.as_ref().err().copied().unwrap_or(Absence::NotInModel);
                Value::Unknown(absence.as_str().to_owned())
            }
        })
    })
}

/// The last `turns` of some values with their messages, oldest first; fewer where there are fewer.
fn last(values: impl DoubleEndedIterator<Item = (u32, f64)>, turns: usize) -> (usize, Vec<(u32, f64)>) {
    let mut last: Vec<(u32, f64)> = values.rev().take(turns).collect();
    last.reverse();
    (turns, last)
}

fn last_valences(conversation: &Conversation, turns: usize) -> (usize, Vec<(u32, f64)>) {
    last(conversation.turns.iter().filter_map(|turn| Some((turn.sequence, turn.valence?.get()))), turns)
}

fn emotion_of(turn: &super::conversation::Turn, term: &Term) -> Option<f64> {
    turn.emotions.as_ref()?.get(label(term)).map(|p| p.get())
}

/// Rounded as probabilities are, so that a mean of equal values is that value.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

fn mean((turns, values): &(usize, Vec<(u32, f64)>)) -> Reading {
    let messages = values.iter().map(|(sequence, _)| *sequence).collect();
    let value = if values.len() < *turns {
        Value::Unknown("too_few_messages".to_owned())
    } else {
        Value::Number(rounded(values.iter().map(|(_, value)| value).sum::<f64>() / *turns as f64))
    };
    Reading::from_messages(value, messages)
}

/// Least squares over places 0, 1, 2 ...
fn slope((turns, values): &(usize, Vec<(u32, f64)>)) -> Reading {
    let messages = values.iter().map(|(sequence, _)| *sequence).collect();
    if values.len() < *turns {
        return Reading::from_messages(Value::Unknown("too_few_messages".to_owned()), messages);
    }
    let n = *turns as f64;
    let middle = (n - 1.0) / 2.0;
    let mean = values.iter().map(|(_, value)| value).sum::<f64>() / n;
    let rise: f64 = values.iter().enumerate().map(|(at, (_, value))| (at as f64 - middle) * (value - mean)).sum();
    let run: f64 = (0..*turns).map(|at| (at as f64 - middle) * (at as f64 - middle)).sum();
    Reading::from_messages(Value::Number(rounded(rise / run)), messages)
}

/// Messages in a row, up to the latest that tells it.
fn streak(conversation: &Conversation, holds: impl Fn(&super::conversation::Turn) -> Option<bool>) -> Reading {
    let told = conversation.turns.iter().rev().filter_map(|turn| Some((turn.sequence, holds(turn)?)));
    let mut messages: Vec<u32> = told.take_while(|(_, holds)| *holds).map(|(sequence, _)| sequence).collect();
    messages.reverse();
    if messages.is_empty() && !conversation.turns.iter().any(|turn| holds(turn).is_some()) {
        return Reading::unknown(NO_MESSAGE);
    }
    Reading::from_messages(Value::Number(messages.len() as f64), messages)
}

fn fact(conversation: &Conversation, value: Option<Value>) -> Reading {
    match value {
        Some(value) => Reading::of(value),
        None if conversation.facts.lookup_failed() => Reading::unknown("lookup_failed"),
        None => Reading::unknown("not_sent"),
    }
}

fn own_fact(conversation: &Conversation, term: &Term, read: impl FnOnce(&Fact) -> Option<Value>) -> Reading {
    let Some(Argument::Text(name)) = term.arguments.first() else { unreachable!("the checker gives this term a name") };
    match conversation.facts.own(name) {
        Some(fact) => read(fact).map_or_else(|| Reading::unknown("of_another_type"), Reading::of),
        None => fact(conversation, None),
    }
}
