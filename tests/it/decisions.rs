//! What the decision engine promises, on random conversations and on the ways a further attempt can go. No model takes part: observations are made here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use baton::handoff::conversation::Conversation;
use baton::handoff::customer::{CONTACTS_MAX, Contact, Customer, EVENTS_MAX, Event, WINDOW_MAX};
use baton::handoff::decision::{Action, Cause, Effect};
use baton::handoff::expression::{Compiler, Reading, Truth, Value};
use baton::handoff::input::{Body, Fact, Facts, Input, OWN_FACTS_MAX};
use baton::handoff::journal::{Delivery, Journal, Refused, Row};
use baton::handoff::observation::{Intents, LabelRange, LexicalFlags, MessageSignals, Observation, Unscored, Vocabulary};
use baton::handoff::policy::{DEFAULT, DEFAULT_NAME, Policy, Urgency};
use baton::handoff::receipt::Digest;
use baton::handoff::step::{Step, read, step};
use baton::handoff::trigger::TriggerState;
use baton::message::{Id, Speaker};
use baton::random::Random;
use baton::signal::{Absence, BasisPoints, QuantizedEmbedding};
use baton::time::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::support::each_case;

const EMOTIONS: [&str; 7] = ["anger", "anxiety", "confusion", "disappointment", "frustration", "gratitude", "joy"];
const INTENTS: [&str; 12] = [
    "billing_dispute",
    "cancel_or_close",
    "complaint",
    "delivery_problem",
    "distress",
    "legal_threat",
    "out_of_scope",
    "privacy_request",
    "refund",
    "security_concern",
    "talk_to_human",
    "thanks_or_closing",
];
const ACTS: [&str; 3] = ["accepts", "other", "rejects"];
/// What a customer or a CRM says, which no receipt may hold.
const PLANTED: &str = "Rumpelstilzchen";

fn vocabulary() -> Vocabulary {
    let ranges =
        |labels: &[&str]| labels.iter().map(|label| LabelRange { label: (*label).to_owned(), highest: BasisPoints::ONE }).collect();
    Vocabulary { model: "m".into(), intents: ranges(&INTENTS), emotions: ranges(&EMOTIONS), acts: ranges(&ACTS), examples: false }
}

fn default_policy() -> Policy {
    Policy::read(DEFAULT_NAME, DEFAULT, &vocabulary()).unwrap()
}

/// A policy of these triggers, each `id, urgency, further keys, when`, with these keys of `[soft]`.
fn policy(soft: &str, triggers: &[(&str, &str, &str, &str)]) -> Policy {
    let mut source = format!("[soft]\n{soft}\n");
    for (id, urgency, keys, when) in triggers {
        let keys = keys.replace("; ", "\n");
        source += &format!(
            "[[trigger]]\nid = {id:?}\nkind = \"reactive\"\nbasis = \"intent\"\nurgency = {urgency:?}\ncategory = \"c\"\nqueue = \"q\"\n\
             message = \"m\"\n{keys}\nwhen = '{when}'\n"
        );
    }
    source += "[[queue]]\nid = \"q\"\nowner = \"o\"\nskills = []\nstrategy = \"round_robin\"\nfallback = \"follow_up\"\n\
               [[message]]\nid = \"m\"\nacknowledge = \"a\"\nreassure = \"b\"\nexpect = \"c\"\n";
    Policy::read("test.toml", &source, &vocabulary()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// Triggers of every sort that fire often, in no order of precedence.
fn busy_policy() -> Policy {
    policy(
        "attempts = 2\nturns = 3\ntimeout_secs = 60",
        &[
            ("soft-low", "soft", "priority = 10; cooldown_turns = 1", "emotion(\"anger\") >= 0.5"),
            ("held", "soft", "priority = 70; hold_turns = 3; cooldown_turns = 2; rearm = 'message.valence > 0.5'", "message.valence < 0.3"),
            ("mean", "soft", "priority = 70; cooldown_turns = 3", "conversation.valence_mean(2) < -0.2"),
            ("unsure", "soft", "priority = 20; cooldown_turns = 1", "bot.confidence < 0.3"),
            ("repeats", "soft", "priority = 5; cooldown_turns = 1", "conversation.bot_repeats >= 1 || conversation.failed_attempts >= 2"),
            ("facts", "soft", "priority = 50; cooldown_turns = 5", "account.tier == \"gold\" && fact_number(\"seats\") > 3"),
            ("contacts", "immediate", "priority = 1", "contacts.same_issue(days(30)) >= 6"),
            ("person", "immediate", "priority = 60", "asks_for_person()"),
            ("legal", "immediate", "priority = 60", "mentions(\"legal\") && emotion(\"joy\") < 0.5"),
        ],
    )
}

fn points(value: f64) -> BasisPoints {
    BasisPoints::new(value).unwrap()
}

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + secs * 1000).unwrap()
}

/// A scored message that says nothing in particular.
fn neutral() -> MessageSignals {
    MessageSignals {
        language_known: Ok(true),
        valence: Ok(points(0.0)),
        emotions: Ok(vec![points(0.0); EMOTIONS.len()]),
        intents: Ok(Intents { probabilities: vec![points(0.0); INTENTS.len()], top: None, in_scope: Some(points(0.5)) }),
        acts: Ok(vec![points(0.0), points(1.0), points(0.0)]),
        example_intents: Err(Absence::NotInModel),
        embedding: Err(Absence::NotInModel),
        lexical: LexicalFlags::default(),
    }
}

fn emotion(label: &str, p: f64) -> MessageSignals {
    let mut signals = neutral();
    signals.emotions = Ok(EMOTIONS.iter().map(|other| points(if *other == label { p } else { 0.0 })).collect());
    signals
}

fn act(label: &str) -> MessageSignals {
    let mut signals = neutral();
    signals.acts = Ok(ACTS.iter().map(|other| points(if *other == label { 1.0 } else { 0.0 })).collect());
    signals
}

fn valence(value: f64) -> MessageSignals {
    MessageSignals { valence: Ok(points(value)), ..neutral() }
}

fn vector(values: [i8; 2]) -> MessageSignals {
    MessageSignals { embedding: Ok(QuantizedEmbedding::from_values(values.to_vec())), ..neutral() }
}

fn observation(sequence: u32, speaker: Speaker, signals: Result<MessageSignals, Unscored>) -> Observation {
    Observation {
        id: id(&format!("m{sequence}")),
        sequence,
        speaker,
        words: 6,
        signals,
        says: Vec::new(),
        bot_confidence: None,
        proposal: false,
    }
}

fn customer(sequence: u32, signals: MessageSignals) -> Body {
    Body::Message(observation(sequence, Speaker::Customer, Ok(signals)))
}

fn bot(sequence: u32) -> Body {
    Body::Message(observation(sequence, Speaker::Bot, Err(Unscored::NotAsked)))
}

fn input(secs: i64, body: Body) -> Input {
    Input { at: at(secs), body, customer: Vec::new() }
}

/// Plays inputs in order.
fn play(policy: &Policy, inputs: &[Input]) -> Vec<Step> {
    let mut conversation = Conversation::new(id("c"));
    let mut next = |input: &Input| {
        let taken = step(policy, std::mem::replace(&mut conversation, Conversation::new(id("c"))), input);
        conversation = taken.conversation.clone();
        taken
    };
    inputs.iter().map(&mut next).collect()
}

/// The rows that a journal keeps of some inputs, each of which it takes.
fn journal(policy: &Policy, inputs: &[Input]) -> Journal {
    let mut journal = Journal::new(id("c"));
    for input in inputs {
        assert!(matches!(journal.deliver(policy, input), Ok(Delivery::Taken(_))), "{input:?}");
    }
    journal
}

// Random conversations.

fn random_points(random: &mut Random, low: i16) -> BasisPoints {
    let high = 10_000_i16;
    BasisPoints::try_from(low + random.below(usize::try_from(high - low).unwrap() + 1) as i16).unwrap()
}

fn one_in(random: &mut Random, n: usize) -> bool {
    random.below(n) == 0
}

/// A signal, or one time in eight the reason of its absence.
fn maybe<T>(random: &mut Random, value: T) -> Result<T, Absence> {
    let reasons = [Absence::NoText, Absence::Language, Absence::NotInModel, Absence::NoProposal];
    if one_in(random, 8) { Err(reasons[random.below(4)]) } else { Ok(value) }
}

fn random_signals(random: &mut Random) -> MessageSignals {
    let all = |random: &mut Random, count: usize| -> Vec<BasisPoints> {
        // Once in a while fewer than the vocabulary has.
        let count = if one_in(random, 40) { random.below(count) } else { count };
        (0..count).map(|_| random_points(random, 0)).collect()
    };
    let (emotions, probabilities, acts) = (all(random, EMOTIONS.len()), all(random, INTENTS.len()), all(random, ACTS.len()));
    let top = (!one_in(random, 4)).then(|| random.below(INTENTS.len()) as u16);
    let in_scope = (!one_in(random, 8)).then(|| random_points(random, 0));
    let known = !one_in(random, 6);
    let valence = random_points(random, -10_000);
    // Few directions, so that messages repeat each other; once in a while none, or one of another length.
    let directions: [&[i8]; 6] = [&[127, 3, 0, 5], &[125, 5, 1, 4], &[3, 127, 9, 0], &[0, -9, 127, 60], &[0, 0, 0, 0], &[127, 1]];
    let embedding = QuantizedEmbedding::from_values(directions[random.below(6)].to_vec());
    MessageSignals {
        language_known: maybe(random, known),
        valence: maybe(random, valence),
        emotions: maybe(random, emotions),
        intents: maybe(random, Intents { probabilities, top, in_scope }),
        acts: maybe(random, acts),
        example_intents: Err(Absence::NotInModel),
        embedding: maybe(random, embedding),
        lexical: LexicalFlags {
            asks_for_person: one_in(random, 20),
            declines_person: one_in(random, 20),
            legal: one_in(random, 15),
            privacy: one_in(random, 15),
            security: one_in(random, 15),
        },
    }
}

fn random_observation(random: &mut Random, sequence: u32, phrases: usize) -> Observation {
    let speaker = [Speaker::Customer, Speaker::Customer, Speaker::Customer, Speaker::Bot, Speaker::Bot, Speaker::Agent][random.below(6)];
    let unscored = [Unscored::Failed, Unscored::Late, Unscored::NotAsked][random.below(3)];
    let signals = if one_in(random, 8) { Err(unscored) } else { Ok(random_signals(random)) };
    let phrases = if one_in(random, 20) { 0 } else { phrases };
    Observation {
        words: random.below(12) as u16,
        says: (0..phrases).map(|_| one_in(random, 6)).collect(),
        bot_confidence: (speaker == Speaker::Bot && !one_in(random, 3)).then(|| random_points(random, 0)),
        proposal: speaker == Speaker::Bot && !one_in(random, 3),
        ..observation(sequence, speaker, signals)
    }
}

fn random_facts(random: &mut Random) -> Facts {
    let mut facts = Facts::default();
    let text = |random: &mut Random| Fact::Text(["gold", "lead", "enterprise", PLANTED][random.below(4)].to_owned());
    for _ in 0..random.below(4) {
        let (name, fact) = match random.below(8) {
            0 | 1 => ("tier", text(random)),
            2 => ("value", Fact::Number(random.unit() * 1e6 - 1e3)),
            3 => ("since", Fact::Text("2020-03-01T00:00:00Z".into())),
            4 => ("open_tickets", Fact::Number(random.below(9) as f64)),
            5 => ("seats", if one_in(random, 5) { text(random) } else { Fact::Number(random.below(9) as f64) }),
            6 => ("plan", text(random)),
            _ => ("paid", Fact::Flag(one_in(random, 2))),
        };
        facts = facts.with(name, fact).unwrap();
    }
    if one_in(random, 5) { facts.missing(PLANTED) } else { facts }
}

/// One input for each seed, so that a failing case shrinks to few of them. Time jumps both ways.
fn history(policy: &Policy, seeds: &[u64]) -> Vec<Input> {
    let customer_terms = policy.read_customer(&Conversation::new(id("c")), None, &Body::Timer, at(0)).len();
    let (mut sequence, mut secs) = (0, 0);
    let next = |seed: &u64| {
        let random = &mut Random::new(*seed);
        let body = match random.below(24) {
            0 => Body::Event { kind: id(["page_view", PLANTED][random.below(2)]) },
            1 | 2 => Body::Facts(random_facts(random)),
            3 => Body::Timer,
            4 => Body::Returned,
            _ => {
                sequence += 1;
                Body::Message(random_observation(random, sequence, policy.phrases.len()))
            }
        };
        secs += match random.below(10) {
            0 => -(random.below(5000) as i64),
            1 => random.below(5000) as i64,
            _ => random.below(20) as i64,
        };
        let told = |random: &mut Random| (!one_in(random, 3)).then(|| random.below(7) as u32);
        let customer = (0..if one_in(random, 9) { 0 } else { customer_terms }).map(|_| told(random)).collect();
        Input { at: at(secs), body, customer }
    };
    seeds.iter().map(next).collect()
}

fn random_seeds(random: &mut Random, most: usize) -> Vec<u64> {
    (0..=random.below(most)).map(|_| random.bits()).collect()
}

#[test]
fn random_conversations_replay_to_the_same_receipts() {
    let policies = [default_policy(), busy_policy()];
    let mut random = Random::new(7);
    let (mut handed_over, mut attempts, mut resolved) = (0, 0, 0);
    for conversation in 0..10_000 {
        let policy = &policies[conversation % 2];
        let inputs = history(policy, &random_seeds(&mut random, 16));
        let kept = journal(policy, &inputs);
        let replayed = play(policy, &inputs);
        let digests = |steps: &[Step]| steps.iter().map(|step| step.receipt.digest()).collect::<Vec<Digest>>();
        let rows: Vec<Digest> = kept.rows.iter().map(|row| row.receipt).collect();
        assert_eq!(rows, digests(&replayed));
        assert_eq!(Some(&kept.conversation), replayed.last().map(|step| &step.conversation));
        let verified = Journal::verify(id("c"), policy, &kept.rows).unwrap_or_else(|broken| panic!("{broken}: {inputs:?}"));
        assert!(verified.iter().eq(replayed.iter().map(|step| &step.receipt)));
        for step in &replayed {
            handed_over += usize::from(step.decision.action == Action::HandOver);
            attempts += usize::from(step.decision.action == Action::Attempt);
            resolved += usize::from(step.decision.action == Action::Resolved);
        }
    }
    assert!(handed_over > 1000 && attempts > 1000 && resolved > 100, "the histories are too tame: {handed_over} {attempts} {resolved}");
}

#[test]
fn state_survives_its_own_format() {
    let policy = default_policy();
    let mut random = Random::new(70);
    for _ in 0..300 {
        let inputs = history(&policy, &random_seeds(&mut random, 30));
        let state = play(&policy, &inputs).pop().unwrap().conversation;
        let bytes = postcard::to_stdvec(&state).unwrap();
        assert_eq!(postcard::from_bytes::<Conversation>(&bytes).as_ref(), Ok(&state), "{:?}", state.facts);
    }
}

#[test]
fn no_receipt_holds_what_a_customer_or_a_crm_says() {
    let policy = busy_policy();
    let mut random = Random::new(71);
    for _ in 0..300 {
        for step in play(&policy, &history(&policy, &random_seeds(&mut random, 30))) {
            let told = format!("{:?} {}", step.receipt, step.receipt.in_words(&policy));
            assert!(!told.contains(PLANTED), "{told}");
        }
    }
}

// The chain.

#[test]
fn one_changed_byte_breaks_the_chain() {
    let policy = busy_policy();
    let mut random = Random::new(8);
    for _ in 0..12 {
        let seeds: Vec<u64> = (0..6).map(|_| random.bits()).collect();
        let rows = journal(&policy, &history(&policy, &seeds)).rows;
        let broken = |rows: &[Row]| Journal::verify(id("c"), &policy, rows).is_err();
        assert!(!broken(&rows));
        for place in 0..rows.len() {
            for byte in 0..rows[place].input.len() {
                let mut rows = rows.clone();
                rows[place].input[byte] ^= 1 + random.below(255) as u8;
                assert!(broken(&rows), "row {place}, byte {byte}");
            }
            for byte in 0..32 {
                let mut rows = rows.clone();
                let mut digest = *rows[place].receipt.bytes();
                digest[byte] ^= 1 + random.below(255) as u8;
                rows[place].receipt = Digest::from_bytes(digest);
                assert!(broken(&rows), "row {place}, byte {byte} of the digest");
            }
            let longer = |change: &dyn Fn(&mut Vec<u8>)| {
                let mut rows = rows.clone();
                change(&mut rows[place].input);
                broken(&rows)
            };
            assert!(longer(&|input| input.push(0)) && longer(&|input| input.truncate(input.len() - 1)) && longer(&Vec::clear));
        }
    }
}

/// Every other value of every byte of inputs that are short enough to try them all.
#[test]
fn short_inputs_have_one_form_only() {
    let policy = busy_policy();
    let facts = Facts::default().with("tier", Fact::Text("gold".into())).unwrap().with("value", Fact::Number(0.0)).unwrap();
    for body in [Body::Timer, Body::Returned, Body::Event { kind: id("k") }, Body::Facts(facts), bot(1)] {
        let rows = journal(&policy, &[Input { at: at(0), body, customer: vec![None, Some(300)] }]).rows;
        for byte in 0..rows[0].input.len() {
            for other in (0..=255_u8).filter(|other| *other != rows[0].input[byte]) {
                let mut rows = rows.clone();
                rows[0].input[byte] = other;
                assert!(Journal::verify(id("c"), &policy, &rows).is_err(), "byte {byte} as {other}: {:?}", rows[0].input);
            }
        }
    }
}

#[test]
fn rows_are_bound_to_their_place_conversation_and_policy() {
    let (policy, other) = (busy_policy(), default_policy());
    let mut random = Random::new(9);
    for _ in 0..200 {
        let mut seeds = random_seeds(&mut random, 6);
        seeds.push(random.bits());
        let kept = journal(&policy, &history(&policy, &seeds));
        let rows = &kept.rows;
        let broken = |rows: &[Row]| Journal::verify(id("c"), &policy, rows).is_err();
        for place in 0..rows.len() {
            let edited = |edit: &dyn Fn(&mut Vec<Row>)| {
                let mut rows = rows.clone();
                edit(&mut rows);
                broken(&rows)
            };
            assert!(edited(&|rows| rows.insert(place, rows[place].clone())), "row {place} twice");
            assert!(edited(&|rows| rows.push(rows[place].clone())), "row {place} again at the end");
            if place + 1 < rows.len() {
                assert!(edited(&|rows| drop(rows.remove(place))), "without row {place}");
                assert!(edited(&|rows| rows.swap(place, place + 1)), "row {place} after the next");
            }
        }
        assert!(Journal::verify(id("d"), &policy, rows).is_err() && Journal::verify(id("c"), &other, rows).is_err());
        // A row less at the end is a conversation that is younger: only who knows the last digest can tell.
        let younger = Journal::verify(id("c"), &policy, &rows[..rows.len() - 1]).unwrap();
        assert_ne!(younger.last().map(|receipt| receipt.digest()), Some(kept.conversation.chain));
    }
}

// Properties.

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() }
}

fn seeds(most: usize) -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(any::<u64>(), 1..most)
}

/// What an attempt that is under way has seen.
struct Attempt {
    bot_spoke: bool,
    answers: u8,
    deadline: Timestamp,
}

/// Holds every step of a conversation against what is promised of all of them.
fn holds_what_is_promised(policy: &Policy, inputs: &[Input]) {
    let mut last = Conversation::new(id("c"));
    let mut attempt: Option<Attempt> = None;
    let mut attempts_asked = 0;
    // Messages of the customer since each trigger fired.
    let mut since: BTreeMap<&str, u16> = BTreeMap::new();
    for (place, (input, step)) in inputs.iter().zip(play(policy, inputs)).enumerate() {
        let Step { conversation, decision, effects, receipt, .. } = &step;
        let returned = matches!(input.body, Body::Returned);
        let frozen = last.handoff.is_some() || returned;
        let what = format!("input {place}: {input:?}: {decision:?}");

        // The chain and the clock.
        assert_eq!((receipt.input, receipt.previous, conversation.chain), (place as u64 + 1, last.chain, receipt.digest()), "{what}");
        assert_eq!((receipt.at, receipt.clock_corrected), (input.at.max(last.last), input.at < last.last), "{what}");
        assert_eq!((receipt.policy_digest, &receipt.decision, receipt.input_digest), (policy.digest, decision, Digest::of_value(input)));
        assert_eq!(conversation.last, receipt.at);

        // Triggers.
        let customers = matches!(&input.body, Body::Message(message) if message.speaker == Speaker::Customer && message.signals.is_ok());
        if returned {
            since.clear();
        }
        since.values_mut().for_each(|messages| *messages += u16::from(customers));
        assert_eq!(receipt.triggers.len(), policy.triggers.len());
        for (trigger, said) in policy.triggers.iter().zip(&receipt.triggers) {
            let before = last.triggers.get(&trigger.id).cloned().unwrap_or_default();
            assert_eq!(said.before, before, "{}: {what}", trigger.id);
            assert_eq!(said.after, conversation.triggers.get(&trigger.id).cloned().unwrap_or_default(), "{}: {what}", trigger.id);
            if frozen && !returned {
                // What fired is past; nothing else moves.
                let past = said.before == TriggerState::Fired && matches!(said.after, TriggerState::Cooling { rearmed: false, .. });
                assert!(past || said.before == said.after, "{}: {what}", trigger.id);
                continue;
            }
            if returned {
                let stands = matches!(said.after, TriggerState::Cooling { rearmed: false, .. });
                assert_eq!(stands, said.truth == Truth::True, "{}: {what}", trigger.id);
                assert!(stands || said.after == TriggerState::Armed, "{}: {what}", trigger.id);
                continue;
            }
            assert!(said.before.may_become(&said.after), "{}: {:?} became {:?}: {what}", trigger.id, said.before, said.after);
            let fires = said.after == TriggerState::Fired;
            assert!(!fires || said.truth == Truth::True, "{} fires on {:?}: {what}", trigger.id, said.truth);
            if fires {
                let messages = since.insert(&trigger.id, 0).unwrap_or(u16::MAX);
                let cool = messages >= trigger.pace.cooldown_turns + u16::from(customers);
                assert!(cool, "{} fires again after {messages} messages: {what}", trigger.id);
            }
            let stood = u8::try_from(said.stood_at.len()).unwrap();
            assert!(!fires || trigger.pace.hold_turns == 1 || stood == trigger.pace.hold_turns, "{}: {what}", trigger.id);
        }

        // Precedence.
        let mut fired: Vec<usize> =
            (0..policy.triggers.len()).filter(|at| !frozen && receipt.triggers[*at].after == TriggerState::Fired).collect();
        fired.sort_by_key(|at| {
            let trigger = &policy.triggers[*at];
            (trigger.urgency == Urgency::Soft, 100 - trigger.priority, *at)
        });
        let fired: Vec<u16> = fired.into_iter().map(|at| at as u16).collect();
        assert_eq!(decision.fired, fired, "{what}");
        if decision.cause == Cause::Fired || decision.cause == Cause::NoAttemptLeft {
            assert_eq!(decision.trigger, fired.first().copied(), "{what}");
        }
        let immediate = fired.first().is_some_and(|at| policy.triggers[usize::from(*at)].urgency == Urgency::Immediate);
        assert!(!immediate || (decision.action, decision.cause) == (Action::HandOver, Cause::Fired), "{what}");

        // What is done about it; one person at a time.
        let trigger = decision.trigger.map(|at| &policy.triggers[usize::from(at)]);
        let expected = match decision.action {
            Action::HandOver => {
                let trigger = trigger.unwrap();
                assert!(!frozen && conversation.handoff.as_ref().is_some_and(|handoff| handoff.trigger == trigger.id), "{what}");
                vec![
                    Effect::StopBot,
                    Effect::TellCustomer { message: policy.messages[trigger.message].id.clone() },
                    Effect::RequestHandoff { queue: policy.queues[trigger.queue].id.clone(), trigger: trigger.id.clone() },
                ]
            }
            Action::Attempt => vec![Effect::AskBot { trigger: trigger.unwrap().id.clone() }],
            Action::None if returned => vec![Effect::StartBot],
            Action::None | Action::Resolved => Vec::new(),
        };
        assert_eq!(effects, &expected, "{what}");
        if last.handoff.is_some() && !returned {
            assert_eq!((decision.action, decision.cause), (Action::None, Cause::HandedOver), "{what}");
            assert_eq!(conversation.handoff, last.handoff, "{what}");
        }

        // A further attempt ends.
        if let (Some(attempt), false) = (&mut attempt, returned) {
            if let Body::Message(message) = &input.body {
                attempt.answers += u8::from(attempt.bot_spoke && message.speaker == Speaker::Customer);
                attempt.bot_spoke |= message.speaker == Speaker::Bot;
            }
            let over = attempt.answers >= policy.soft.turns || receipt.at >= attempt.deadline;
            assert!(!over || matches!(decision.action, Action::Resolved | Action::HandOver), "{what}");
        }
        match decision.action {
            Action::Attempt => {
                assert!(attempt.is_none(), "{what}");
                attempts_asked += 1;
                assert!(attempts_asked <= policy.soft.attempts, "{what}");
                let deadline = receipt.at.plus(Duration::from_secs(u64::from(policy.soft.timeout_secs)));
                attempt = Some(Attempt { bot_spoke: false, answers: 0, deadline });
            }
            Action::Resolved => {
                assert!(attempt.take().is_some(), "{what}");
                let counts = [&conversation.failed_attempts, &conversation.bot_repeats, &conversation.customer_repeats];
                assert!(counts.into_iter().all(|counted| counted.count == 0) && conversation.turns.is_empty(), "{what}");
            }
            Action::HandOver => attempt = None,
            Action::None => {}
        }

        // What a person hands back begins anew.
        if returned {
            (attempt, attempts_asked) = (None, 0);
            assert_eq!((decision.action, decision.cause), (Action::None, Cause::Returned), "{what}");
            assert!(conversation.handoff.is_none() && conversation.soft.is_none(), "{what}");
            let counts = [&conversation.failed_attempts, &conversation.bot_repeats, &conversation.customer_repeats];
            assert!(counts.into_iter().all(|counted| counted.count == 0 && counted.messages.is_empty()), "{what}");
            assert!(conversation.latest.is_none() && conversation.turns.is_empty() && conversation.bot_confidences.is_empty(), "{what}");
            assert_eq!(conversation.soft_attempts, 0, "{what}");
            assert_eq!(conversation.handoffs, last.handoffs + u32::from(last.handoff.is_some()), "{what}");
        }
        assert_eq!(conversation.soft.is_some(), attempt.is_some(), "{what}");
        assert_eq!(conversation.soft_attempts, attempts_asked, "{what}");
        last = step.conversation;
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn every_step_holds_what_is_promised(seeds in seeds(60), busy in any::<bool>()) {
        let policy = if busy { busy_policy() } else { default_policy() };
        holds_what_is_promised(&policy, &history(&policy, &seeds));
    }

    /// Between 0.3, where the trigger would be armed again, and 1, with 0.7 as the condition.
    #[test]
    fn a_score_that_swings_between_rearm_and_condition_fires_at_most_once(
        scores in prop::collection::vec(0.3..1.0_f64, 1..60),
        (hold, cooldown) in (1..5_u32, 1..10_u32),
        bot_turns in any::<u64>(),
    ) {
        let keys = format!("rearm = 'emotion(\"anger\") < 0.3'; hold_turns = {hold}; cooldown_turns = {cooldown}");
        let policy = policy("timeout_secs = 86400", &[("angry", "soft", &keys, "emotion(\"anger\") >= 0.7")]);
        let mut inputs = Vec::new();
        for (at, score) in scores.iter().enumerate() {
            inputs.push(input(at as i64, customer(at as u32 + 1, emotion("anger", *score))));
            if bot_turns >> (at % 64) & 1 == 1 {
                inputs.push(input(at as i64, Body::Timer));
            }
        }
        let fired: usize = play(&policy, &inputs).iter().map(|step| step.decision.fired.len()).sum();
        let stands = scores.split(|score| points(*score).get() < 0.7).any(|run| run.len() >= hold as usize);
        prop_assert_eq!(fired, usize::from(stands));
    }

    #[test]
    fn any_order_of_deliveries_gives_one_journal(seeds in seeds(14), order in any::<u64>()) {
        let policy = busy_policy();
        let messages: Vec<Input> =
            history(&policy, &seeds).into_iter().filter(|input| matches!(input.body, Body::Message(_))).collect();
        let expected = journal(&policy, &messages);
        let mut found = Journal::new(id("c"));
        let random = &mut Random::new(order);
        while found.rows.len() < messages.len() {
            let place = random.below(messages.len());
            let (before, mut input) = (found.clone(), messages[place].clone());
            let conflicting = one_in(random, 4);
            if let (true, Body::Message(message)) = (conflicting, &mut input.body) {
                message.id = id("another");
            }
            match (found.deliver(&policy, &input), place.cmp(&before.rows.len()), conflicting) {
                (Ok(Delivery::Taken(_)), std::cmp::Ordering::Equal, false) => {}
                (Ok(Delivery::Taken(_)), std::cmp::Ordering::Equal, true) => found = before,
                (Ok(Delivery::Again(row)), std::cmp::Ordering::Less, false) => prop_assert_eq!((row, &found), (place, &before)),
                (Err(Refused::Conflict { sequence }), std::cmp::Ordering::Less, true) => {
                    prop_assert_eq!((sequence as usize, &found), (place + 1, &before));
                }
                (Err(Refused::Gap { expected, .. }), std::cmp::Ordering::Greater, _) => {
                    prop_assert_eq!((expected as usize, &found), (before.rows.len() + 1, &before));
                }
                (found, ..) => prop_assert!(false, "{found:?} for message {}", place + 1),
            }
        }
        prop_assert_eq!(found, expected);
    }
}

/// One message of the customer a sign: `+` the condition stands, `-` it does not, `?` nobody knows. A timer follows each and moves nothing.
#[test]
fn a_trigger_holds_cools_down_and_is_armed_again() {
    for (hold, cooldown, signs, expected) in [
        (1, 1, "+-+-+", vec![0, 2, 4]),
        (1, 1, "++++", vec![0]),
        (1, 3, "+-+--+", vec![0, 5]),
        (1, 4, "+-----+", vec![0, 6]),
        (1, 6, "+--+---+", vec![0, 7]),
        (2, 1, "+-+?+", vec![4]),
        (3, 2, "+++--+++", vec![2, 7]),
        (1, 1, "???", vec![]),
    ] {
        let keys = format!("hold_turns = {hold}; cooldown_turns = {cooldown}");
        let policy = policy("timeout_secs = 86400", &[("angry", "soft", &keys, "emotion(\"anger\") >= 0.5")]);
        let said = |(at, sign): (usize, char)| {
            let signals = if sign == '?' { Err(Unscored::Late) } else { Ok(emotion("anger", if sign == '+' { 0.9 } else { 0.1 })) };
            [input(0, Body::Message(observation(at as u32 + 1, Speaker::Customer, signals))), input(0, Body::Timer)]
        };
        let inputs: Vec<Input> = signs.chars().enumerate().flat_map(said).collect();
        let steps = play(&policy, &inputs);
        let fired: Vec<usize> = (0..steps.len()).filter(|at| !steps[*at].decision.fired.is_empty()).collect();
        assert_eq!(fired, expected.iter().map(|at| at * 2).collect::<Vec<_>>(), "hold {hold}, cool {cooldown}: {signs}");
    }
}

#[test]
fn a_message_is_taken_once() {
    let policy = busy_policy();
    let messages: Vec<Input> = (1..=3).map(|sequence| input(0, customer(sequence, neutral()))).collect();
    let mut kept = journal(&policy, &messages);
    let mut renumbered = messages[1].clone();
    let Body::Message(message) = &mut renumbered.body else { unreachable!("all are messages") };
    message.sequence = 4;
    let rows = kept.rows.len();
    let found = kept.deliver(&policy, &renumbered);
    assert!(!matches!(found, Ok(Delivery::Taken(_))) && kept.rows.len() == rows, "message m2 is taken as 2 and as 4");
    for sequence in [0, u32::MAX] {
        assert!(kept.deliver(&policy, &input(0, customer(sequence, neutral()))).is_err(), "sequence {sequence}");
    }
}

/// The person has just solved it: what stood before cannot call the next one at the next tick of the clock.
#[test]
fn what_is_handed_back_is_not_handed_over_again_at_once() {
    let facts = Facts::default().with("open_tickets", Fact::Number(9.0)).unwrap();
    let cases = [
        ("latest message", "emotion(\"anger\") >= 0.5", customer(1, emotion("anger", 0.9)), None),
        ("mean", "conversation.valence_mean(1) < -0.5", customer(1, valence(-0.9)), None),
        ("facts", "account.open_tickets >= 9", Body::Facts(facts), None),
        ("contacts", "contacts.same_issue(days(30)) >= 3", Body::Timer, Some(3)),
        ("events", "events.count(\"page_view\", \"*\", days(7)) >= 3", Body::Timer, Some(3)),
        ("turns", "conversation.customer_turns >= 1", customer(1, neutral()), None),
        ("minutes", "conversation.minutes >= 1", bot(1), None),
    ];
    each_case(cases.into_iter().map(|(name, when, body, told)| (name, (when, body, told))), |(when, body, told)| {
        let policy = policy("", &[("at-once", "immediate", "", when)]);
        let later = |secs: i64, body: Body| Input { at: at(secs), body, customer: vec![told] };
        let steps = play(&policy, &[later(0, body), later(100, Body::Timer), later(200, Body::Returned), later(201, Body::Timer)]);
        assert!(steps[..2].iter().any(|step| step.decision.action == Action::HandOver), "the case hands over once");
        assert_eq!(steps[3].decision.action, Action::None, "{when}: handed over again at once");
    });
}

#[test]
fn two_messages_in_a_row_are_one_thought() {
    let policy = busy_policy();
    let unscored = Body::Message(observation(4, Speaker::Customer, Err(Unscored::Late)));
    let agent = Body::Message(observation(4, Speaker::Agent, Err(Unscored::NotAsked)));
    let scored = customer(4, vector([0, 100]));
    each_case([("scored", (scored, 0)), ("unscored", (unscored, 0)), ("agent", (agent, 0)), ("bot", (bot(4), 1))], |(between, repeats)| {
        let bodies = [customer(1, vector([100, -100])), bot(2), customer(3, vector([100, 0])), between, customer(5, vector([100, 0]))];
        let inputs: Vec<Input> = bodies.into_iter().map(|body| input(0, body)).collect();
        assert_eq!(play(&policy, &inputs).pop().unwrap().conversation.customer_repeats.count, repeats);
    });
}

// Conditions.

/// What the crate is told of a term, and what may be compared with it.
#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Double,
    Int,
    Text,
    Label,
    Truth,
}

const NAMED: [(&str, Sort); 16] = [
    ("message.valence", Sort::Double),
    ("emotion(\"anger\")", Sort::Double),
    ("intent(\"refund\")", Sort::Double),
    ("conversation.valence_mean(3)", Sort::Double),
    ("account.value", Sort::Double),
    ("fact_number(\"seats\")", Sort::Double),
    ("conversation.customer_turns", Sort::Int),
    ("conversation.failed_attempts", Sort::Int),
    ("account.open_tickets", Sort::Int),
    ("message.words", Sort::Int),
    ("account.tier", Sort::Text),
    ("fact_text(\"plan\")", Sort::Text),
    ("message.intent", Sort::Label),
    ("mentions(\"legal\")", Sort::Truth),
    ("fact_flag(\"paid\")", Sort::Truth),
    ("declines_person()", Sort::Truth),
];

/// An expression as a policy writes it, and the same over plain variables.
type Twice = (String, String);

fn both(random: &mut Random, a: Twice, operator: &str, b: Twice, brackets: bool) -> Twice {
    let open = brackets || one_in(random, 2);
    let join = |a: String, b: String| if open { format!("({a} {operator} {b})") } else { format!("{a} {operator} {b}") };
    (join(a.0, b.0), join(a.1, b.1))
}

fn pick<'a>(random: &mut Random, all: &[&'a str]) -> &'a str {
    all[random.below(all.len())]
}

fn random_term(random: &mut Random, sort: Sort) -> Twice {
    let places: Vec<usize> = (0..NAMED.len()).filter(|place| NAMED[*place].1 == sort).collect();
    let place = places[random.below(places.len())];
    (NAMED[place].0.to_owned(), format!("v{place}"))
}

fn written(text: impl Into<String>) -> Twice {
    let text = text.into();
    (text.clone(), text)
}

/// A number of one sort. The crate divides whole numbers without the rest and mixes no sorts, which conditions do: there is no division of whole numbers here.
fn random_number(random: &mut Random, sort: Sort, depth: usize) -> Twice {
    let tenths = |random: &mut Random| written(format!("0.{}", 1 + random.below(9)));
    match (random.below(if depth == 0 { 2 } else { 5 }), sort) {
        (0 | 1, _) => random_term(random, sort),
        (2, Sort::Int) => written((1 + random.below(5)).to_string()),
        (2, _) => tenths(random),
        (3, Sort::Double) => {
            let (a, b) = (random_number(random, sort, depth - 1), tenths(random));
            both(random, a, "/", b, false)
        }
        _ => {
            let (a, b) = (random_number(random, sort, depth - 1), random_number(random, sort, depth - 1));
            let operator = pick(random, &["+", "-", "*"]);
            // What stands on the right of a difference keeps its brackets.
            both(random, a, operator, b, true)
        }
    }
}

fn random_comparison(random: &mut Random) -> Twice {
    let orders = ["<", "<=", ">", ">="];
    let any = ["<", "<=", ">", ">=", "==", "!="];
    let (a, operator, b) = match random.below(7) {
        0 => (random_term(random, Sort::Double), pick(random, &orders), written(format!("0.{}", 1 + random.below(9)))),
        1 => (random_term(random, Sort::Int), pick(random, &any), written((1 + random.below(4)).to_string())),
        2 => (random_number(random, Sort::Double, 2), pick(random, &orders), random_term(random, Sort::Double)),
        3 => (random_number(random, Sort::Int, 2), pick(random, &any), random_term(random, Sort::Int)),
        4 => {
            let plan = random_term(random, Sort::Text);
            (random_term(random, Sort::Text), pick(random, &any[4..]), if one_in(random, 2) { plan } else { written("\"gold\"") })
        }
        5 => (random_term(random, Sort::Label), pick(random, &any[4..]), written("\"refund\"")),
        _ => {
            let other = random_term(random, Sort::Truth);
            (random_term(random, Sort::Truth), pick(random, &any[4..]), if one_in(random, 2) { other } else { written("true") })
        }
    };
    if one_in(random, 3) { both(random, b, operator, a, true) } else { both(random, a, operator, b, true) }
}

fn random_condition(random: &mut Random, depth: usize) -> Twice {
    match random.below(if depth == 0 { 3 } else { 8 }) {
        0 => random_term(random, Sort::Truth),
        1 | 2 => random_comparison(random),
        3 => {
            let (own, plain) = random_condition(random, depth - 1);
            (format!("!({own})"), format!("!({plain})"))
        }
        _ => {
            let (a, b) = (random_condition(random, depth - 1), random_condition(random, depth - 1));
            let operator = pick(random, &["&&", "||"]);
            both(random, a, operator, b, false)
        }
    }
}

#[test]
fn conditions_agree_with_the_crate_that_parses_them() {
    let vocabulary = vocabulary();
    let mut compiler = Compiler::new(&vocabulary, &[]);
    for (term, sort) in NAMED {
        let one_each = match sort {
            Sort::Double => format!("{term} < 0.5"),
            Sort::Int => format!("{term} < 5"),
            Sort::Text | Sort::Label => format!("{term} == \"refund\""),
            Sort::Truth => term.to_owned(),
        };
        compiler.compile(&one_each).unwrap();
    }
    let mut random = Random::new(11);
    let mut truths = [0; 2];
    for _ in 0..5000 {
        let (own, plain) = random_condition(&mut random, 4);
        if own.len() > 2000 {
            continue;
        }
        let expression = compiler.compile(&own).unwrap_or_else(|faults| panic!("{own}: {faults:?}"));
        assert_eq!(compiler.terms.len(), NAMED.len(), "{own}");
        let program = cel::Program::compile(&plain).unwrap();
        for _ in 0..3 {
            let mut context = cel::Context::default();
            let mut readings = Vec::new();
            for (place, (_, sort)) in NAMED.iter().enumerate() {
                let name = format!("v{place}");
                let value = match sort {
                    Sort::Double => {
                        let value = random.below(21) as f64 / 10.0 - 1.0;
                        context.add_variable_from_value(name, value);
                        Value::Number(value)
                    }
                    Sort::Int => {
                        let value = random.below(6) as i64;
                        context.add_variable_from_value(name, value);
                        Value::Number(value as f64)
                    }
                    Sort::Text | Sort::Label => {
                        let value = pick(&mut random, &["gold", "refund", "complaint"]).to_owned();
                        context.add_variable_from_value(name, value.clone());
                        Value::Text(value)
                    }
                    Sort::Truth => {
                        let value = one_in(&mut random, 2);
                        context.add_variable_from_value(name, value);
                        Value::Truth(value)
                    }
                };
                readings.push(Reading::of(value));
            }
            let (found, evidence) = expression.evaluate(&compiler.terms, &readings);
            assert!(evidence.iter().all(|said| said.truth != Truth::Unknown), "{own} with {readings:?}");
            match program.execute(&context) {
                Ok(cel::Value::Bool(expected)) => {
                    assert_eq!(found, Truth::from(expected), "{own} with {readings:?}");
                    truths[usize::from(expected)] += 1;
                }
                other => panic!("{plain}: {other:?}"),
            }
        }
    }
    assert!(truths.iter().all(|count| *count > 3000), "the expressions are too tame: {truths:?}");
}

/// The crate's own order of numbers of two sorts.
#[test]
fn whole_numbers_and_fractions_are_compared_by_value() {
    let vocabulary = vocabulary();
    for (own, plain) in [("message.words >= 2.5", "v >= 2.5"), ("message.words < 2.0", "v < 2.0"), ("message.words == 3.0", "v == 3.0")] {
        let mut compiler = Compiler::new(&vocabulary, &[]);
        let expression = compiler.compile(own).unwrap();
        for words in 0..5_i64 {
            let mut context = cel::Context::default();
            context.add_variable_from_value("v", words);
            let expected = cel::Program::compile(plain).unwrap().execute(&context).unwrap();
            let found = expression.evaluate(&compiler.terms, &[Reading::of(Value::Number(words as f64))]).0;
            assert_eq!(expected, cel::Value::Bool(found == Truth::True), "{own} with {words}");
        }
    }
}

// Windows.

/// The values of a term over a whole history, in ten-thousandths, oldest first; absent where the message does not tell it.
type Told = Vec<Option<i64>>;

fn last_of(told: &Told, count: usize) -> Option<Vec<i64>> {
    let values: Vec<i64> = told.iter().copied().flatten().collect();
    values.len().checked_sub(count).map(|from| values[from..].to_vec())
}

fn naive_mean(told: &Told, count: usize) -> Option<f64> {
    last_of(told, count).map(|values| values.iter().sum::<i64>() as f64 / count as f64)
}

/// Least squares in whole numbers: places doubled and moved so that they sum to zero.
fn naive_slope(told: &Told, count: usize) -> Option<f64> {
    let place = |at: usize| 2 * at as i64 - (count as i64 - 1);
    let values = last_of(told, count)?;
    let rise: i64 = values.iter().enumerate().map(|(at, value)| place(at) * value).sum();
    let run: i64 = (0..count).map(|at| place(at) * place(at)).sum();
    Some(2.0 * rise as f64 / run as f64)
}

fn naive_streak(told: &Told, holds: impl Fn(i64) -> bool) -> Option<f64> {
    let values: Vec<i64> = told.iter().copied().flatten().collect();
    let streak = values.iter().rev().take_while(|value| holds(**value)).count();
    (!values.is_empty()).then_some(streak as f64)
}

/// Reads one term of a policy that has it alone beside a trigger that hands over at the first message, so that nothing is ever forgotten.
fn policy_that_reads(condition: &str) -> Policy {
    policy("", &[("reads", "soft", "", condition), ("first", "immediate", "", "message.words >= 1")])
}

#[test]
fn windows_say_what_the_whole_history_says() {
    type Naive = fn(&[Told; 3]) -> Option<f64>;
    const VALENCE: usize = 0;
    const ANGER: usize = 1;
    const CONFIDENCE: usize = 2;
    let cases: [(&str, bool, Naive); 14] = [
        ("conversation.valence_mean(1) < 0.5", false, |told| naive_mean(&told[VALENCE], 1)),
        ("conversation.valence_mean(3) < 0.5", false, |told| naive_mean(&told[VALENCE], 3)),
        ("conversation.valence_mean(32) < 0.5", false, |told| naive_mean(&told[VALENCE], 32)),
        ("conversation.valence_slope(2) < 0.5", false, |told| naive_slope(&told[VALENCE], 2)),
        ("conversation.valence_slope(5) < 0.5", false, |told| naive_slope(&told[VALENCE], 5)),
        ("conversation.valence_slope(32) < 0.5", false, |told| naive_slope(&told[VALENCE], 32)),
        ("conversation.emotion_mean(\"anger\", 4) < 0.5", false, |told| naive_mean(&told[ANGER], 4)),
        ("conversation.emotion_mean(\"anger\", 32) < 0.5", false, |told| naive_mean(&told[ANGER], 32)),
        ("conversation.negative_streak(0.3) < 3", true, |told| naive_streak(&told[VALENCE], |value| value <= 3000)),
        ("conversation.negative_streak(-0.2) < 3", true, |told| naive_streak(&told[VALENCE], |value| value <= -2000)),
        ("conversation.emotion_streak(\"anger\", 0.25) < 3", true, |told| naive_streak(&told[ANGER], |value| value >= 2500)),
        ("bot.confidence_mean(1) < 0.5", false, |told| naive_mean(&told[CONFIDENCE], 1)),
        ("bot.confidence_mean(6) < 0.5", false, |told| naive_mean(&told[CONFIDENCE], 6)),
        ("bot.confidence_mean(32) < 0.5", false, |told| naive_mean(&told[CONFIDENCE], 32)),
    ];
    each_case(cases.map(|(condition, whole, naive)| (condition, (condition, whole, naive))), |(condition, whole, naive)| {
        let policy = policy_that_reads(condition);
        let term = policy.terms.iter().find(|term| condition.starts_with(term.name.name)).unwrap();
        let mut random = Random::new(12);
        for _ in 0..12 {
            let mut conversation = Conversation::new(id("c"));
            let mut told: [Told; 3] = Default::default();
            for sequence in 1..=150 {
                // Absent together, as where the language is not known: a window is one of messages that told something.
                let absent = one_in(&mut random, 6);
                let (value, anger) = (random_points(&mut random, -10_000), random_points(&mut random, 0));
                let confidence = (!one_in(&mut random, 6)).then(|| random_points(&mut random, 0));
                let customers = one_in(&mut random, 2);
                let mut signals = neutral();
                signals.valence = if absent { Err(Absence::Language) } else { Ok(value) };
                signals.emotions = if absent { Err(Absence::Language) } else { Ok(vec![anger; EMOTIONS.len()]) };
                let whole_of = |value: BasisPoints| i64::from(i16::from(value));
                if customers {
                    told[VALENCE].push((!absent).then_some(whole_of(value)));
                    told[ANGER].push((!absent).then_some(whole_of(anger)));
                } else {
                    told[CONFIDENCE].push(confidence.map(whole_of));
                }
                let mut message = observation(sequence, if customers { Speaker::Customer } else { Speaker::Bot }, Ok(signals));
                message.bot_confidence = confidence.filter(|_| !customers);
                let input = input(i64::from(sequence), Body::Message(message));
                conversation = step(&policy, conversation, &input).conversation;
                let found = read(term, &policy, &conversation, &input, input.at).value;
                match (found, naive(&told)) {
                    (Value::Number(found), Some(expected)) if whole => assert_eq!(found, expected, "message {sequence}"),
                    (Value::Number(found), Some(expected)) => {
                        assert!((found * 1e4 - expected).abs() < 0.5 + 1e-6, "message {sequence}: {found} for {expected}");
                    }
                    (Value::Unknown(_), None) => {}
                    (found, expected) => panic!("message {sequence}: {found:?} for {expected:?}"),
                }
            }
        }
    });
}

#[test]
fn a_streak_longer_than_the_memory_is_refused_and_the_longest_is_counted() {
    let inputs: Vec<Input> = (1..=50).map(|sequence| input(0, customer(sequence, valence(-0.9)))).collect();
    let longest = policy_that_reads("conversation.negative_streak(-0.2) >= 32");
    let stands = play(&longest, &inputs).iter().map(|step| step.receipt.triggers[0].truth).position(|truth| truth == Truth::True);
    assert_eq!(stands, Some(31), "a condition that loads can hold");
    let faults = Compiler::new(&vocabulary(), &[]).compile("conversation.negative_streak(-0.2) >= 33").unwrap_err();
    assert!(faults[0].what.contains("is never true"), "{faults:?}");
}

// Bounds.

#[test]
fn memory_of_a_conversation_is_bounded() {
    let policy = default_policy();
    let mut random = Random::new(13);
    let customers: Vec<MessageSignals> = (0..25).map(|_| random_signals(&mut random)).collect();
    let mut conversation = Conversation::new(id("c"));
    let mut sizes = Vec::new();
    for sequence in 1..=100_000_u32 {
        let signals = customers[sequence as usize % 25].clone();
        let speaker = if sequence % 5 < 3 { Speaker::Customer } else { Speaker::Bot };
        let mut message = observation(sequence, speaker, Ok(signals));
        message.bot_confidence = (speaker == Speaker::Bot).then(|| points(0.9));
        message.proposal = speaker == Speaker::Bot;
        conversation = step(&policy, conversation, &input(i64::from(sequence), Body::Message(message))).conversation;
        if [1_000, 10_000, 100_000].contains(&sequence) {
            sizes.push(postcard::to_stdvec(&conversation).unwrap().len());
        }
    }
    let spread = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
    assert!(spread < 300, "bytes after 1,000, 10,000 and 100,000 messages: {sizes:?}");
    assert_eq!((conversation.messages, conversation.inputs), (100_000, 100_000));
}

#[test]
fn facts_and_events_are_bounded() {
    let policy = default_policy();
    let mut conversation = Conversation::new(id("c"));
    let mut sizes = Vec::new();
    for n in 0..10_000 {
        let facts = Facts::default().with(&format!("fact-{:05}", n * 7919 % 10_000), Fact::Text("x".repeat(1000))).unwrap();
        let facts = if n % 3 == 0 { facts.missing(&"long".repeat(10_000)) } else { facts };
        conversation = step(&policy, conversation, &input(n, Body::Facts(facts))).conversation;
        conversation = step(&policy, conversation, &input(n, Body::Event { kind: id(&format!("kind-{n}")) })).conversation;
        if n % 1000 == 999 {
            sizes.push(postcard::to_stdvec(&conversation).unwrap().len());
        }
    }
    let known = (0..10_000).filter(|n| conversation.facts.own(&format!("fact-{n:05}")).is_some()).count();
    assert_eq!(known, OWN_FACTS_MAX);
    assert!(sizes.iter().all(|size| *size < OWN_FACTS_MAX * 1100 + 2000), "{sizes:?}");

    let full = (0..10_000).try_fold(Facts::default(), |facts, n| facts.with(&format!("f{n}"), Fact::Flag(true)));
    assert!(full.unwrap_err().to_string().contains("more than 64 facts"));

    let mut known = Customer::default();
    for n in 0..10_000 {
        known.record(Event { at: at(n), kind: id("page_view"), name: "/pricing".into() });
        known.contact(Contact { conversation: id(&format!("c{n}")), at: at(n), issue: None, resolved: None });
    }
    let (events, contacts) = (known.events("page_view", "*", WINDOW_MAX, at(10_000)), known.contacts(&id("c"), WINDOW_MAX, at(10_000)));
    assert_eq!((events as usize, contacts as usize), (EVENTS_MAX, CONTACTS_MAX));
}

#[test]
fn time_never_goes_backwards() {
    let policy = default_policy();
    let ends = [Timestamp::default(), Timestamp::default().plus(Duration::MAX)];
    let times = [at(100), at(50), at(100), ends[0], at(101), ends[1], at(102), ends[1]];
    let inputs: Vec<Input> = times.iter().zip(1..).map(|(time, n)| Input { at: *time, ..input(0, customer(n, neutral())) }).collect();
    let found: Vec<(Timestamp, bool)> = play(&policy, &inputs).iter().map(|step| (step.receipt.at, step.receipt.clock_corrected)).collect();
    let decided = [at(100), at(100), at(100), at(100), at(101), ends[1], ends[1], ends[1]];
    let corrected = [false, true, false, true, false, false, true, false];
    assert_eq!(found, decided.into_iter().zip(corrected).collect::<Vec<_>>());
}

/// Inputs that no caller should make: `step` is total all the same.
#[test]
fn step_is_total() {
    let policy = default_policy();
    let mut random = Random::new(14);
    for _ in 0..2000 {
        let mut inputs = history(&policy, &random_seeds(&mut random, 12));
        for input in &mut inputs {
            let jumps = [0, 1, 2, u32::MAX - 1, u32::MAX, random.bits() as u32];
            if let Body::Message(message) = &mut input.body {
                message.sequence = jumps[random.below(jumps.len())];
                message.says.truncate(random.below(3));
                if let Ok(Intents { top, .. }) = message.signals.as_mut().map_or(&mut Err(Absence::NoText), |signals| &mut signals.intents)
                {
                    *top = one_in(&mut random, 2).then_some(u16::MAX);
                }
            }
            input.customer.extend(vec![Some(u32::MAX); random.below(3)]);
        }
        assert_eq!(play(&policy, &inputs).len(), inputs.len());
    }
}

// The life of a further attempt.

/// What a letter of a script stands for.
fn spoken(letter: char, sequence: u32) -> Observation {
    let says = |signals: MessageSignals| observation(sequence, Speaker::Customer, Ok(signals));
    let answers = observation(sequence, Speaker::Bot, Err(Unscored::NotAsked));
    match letter {
        'a' => says(emotion("anger", 0.9)),
        'y' => says(act("accepts")),
        'n' => says(act("rejects")),
        'm' => says(neutral()),
        'h' => says(emotion("gratitude", 0.9)),
        'g' => says(valence(0.8)),
        's' => says(valence(-0.8)),
        'q' => says(vector([100, 7])),
        'x' => observation(sequence, Speaker::Customer, Err(Unscored::Late)),
        '!' => says(MessageSignals { lexical: LexicalFlags { asks_for_person: true, ..LexicalFlags::default() }, ..neutral() }),
        'Y' => says(MessageSignals { valence: Ok(points(-0.8)), ..act("accepts") }),
        'b' => answers,
        'p' => Observation { proposal: true, ..answers },
        'u' => Observation { bot_confidence: Some(points(0.1)), ..answers },
        'c' => Observation { bot_confidence: Some(points(0.9)), ..answers },
        other => panic!("{other} is no letter of a script"),
    }
}

#[test]
fn a_further_attempt_ends_as_it_goes() {
    let policy = policy(
        "attempts = 1\nturns = 2\ntimeout_secs = 600",
        &[
            ("angry", "soft", "priority = 50; cooldown_turns = 1", "emotion(\"anger\") >= 0.5"),
            ("unsure", "soft", "priority = 20; cooldown_turns = 1", "bot.confidence < 0.4"),
            ("person", "immediate", "priority = 10; cooldown_turns = 1", "asks_for_person()"),
        ],
    );
    const TRIGGERS: [&str; 3] = ["angry", "unsure", "person"];
    // t: a timer at once; T: one after the deadline; +: a minute less than the deadline passes first; R: handed back.
    let cases = [
        ("works: accepted", "apy", "attempt angry, -, resolved attempt_accepted"),
        ("works: thanks", "abh", "attempt angry, -, resolved attempt_accepted"),
        ("works: positive", "abg", "attempt angry, -, resolved attempt_accepted"),
        ("works at the second answer", "apmg", "attempt angry, -, -, resolved attempt_accepted"),
        ("fails: rejected", "apn", "attempt angry, -, hand_over attempt_rejected angry"),
        ("fails: still unhappy", "aps", "attempt angry, -, hand_over attempt_rejected angry"),
        ("fails: accepts and is unhappy", "apY", "attempt angry, -, hand_over attempt_rejected angry"),
        ("fails: the condition stands again", "aba", "attempt angry, -, hand_over attempt_rejected angry"),
        ("fails: asks the same again", "qbabq", "-, -, attempt angry, -, hand_over attempt_rejected angry"),
        ("unclear twice", "abmm", "attempt angry, -, -, hand_over attempt_unclear angry"),
        ("unclear twice, the bot between", "abmbm", "attempt angry, -, -, -, hand_over attempt_unclear angry"),
        ("what has no signals is unclear", "abxx", "attempt angry, -, -, hand_over attempt_unclear angry"),
        ("timed out", "abtT", "attempt angry, -, -, hand_over attempt_timed_out angry"),
        ("timed out before the bot spoke", "aT", "attempt angry, hand_over attempt_timed_out angry"),
        ("timed out at any input", "a+tt+tb", "attempt angry, -, -, hand_over attempt_timed_out angry, handed_over"),
        ("thanks come too late", "ab+t+th", "attempt angry, -, -, hand_over attempt_timed_out angry, handed_over"),
        ("not yet timed out", "ab+ty", "attempt angry, -, -, -"),
        ("nobody answers before the bot spoke", "ammm", "attempt angry, -, -, -"),
        ("acceptance needs the bot's turn", "ah", "attempt angry, -"),
        ("immediate goes before", "ab!", "attempt angry, -, hand_over fired person"),
        ("immediate before the bot spoke", "a!", "attempt angry, hand_over fired person"),
        ("no attempt left", "apymma", "attempt angry, -, resolved attempt_accepted, -, -, hand_over no_attempt_left angry"),
        ("at the bot's own turn", "mu", "-, attempt unsure"),
        ("the bot's own turn is not the attempt", "mummm", "-, attempt unsure, -, -, -"),
        ("the next turn is", "mucmm", "-, attempt unsure, -, -, hand_over attempt_unclear unsure"),
        (
            "nothing while handed over",
            "a!aTb!",
            "attempt angry, hand_over fired person, handed_over, handed_over, handed_over, handed_over",
        ),
        ("anew once handed back", "a!Rab", "attempt angry, hand_over fired person, returned, attempt angry, -"),
        ("handed back while it was under way", "aRmm", "attempt angry, returned, -, -"),
    ];
    each_case(cases.map(|(name, script, expected)| (name, (name, script, expected))), |(name, script, expected)| {
        let (mut sequence, mut secs) = (0, 0);
        let mut inputs = Vec::new();
        for letter in script.chars() {
            let body = match letter {
                '+' => {
                    secs += 540;
                    continue;
                }
                't' => Body::Timer,
                'T' => {
                    secs += 600;
                    Body::Timer
                }
                'R' => Body::Returned,
                letter => {
                    sequence += 1;
                    Body::Message(spoken(letter, sequence))
                }
            };
            inputs.push(input(secs, body));
        }
        let told = |step: &Step| {
            let trigger = step.decision.trigger.map(|at| TRIGGERS[usize::from(at)]).unwrap_or_default();
            match (step.decision.action, step.decision.cause) {
                (Action::None, Cause::NothingFired | Cause::AttemptPending) => "-".to_owned(),
                (Action::None, cause) => cause.as_str().to_owned(),
                (Action::Attempt, _) => format!("attempt {trigger}"),
                (Action::Resolved, cause) => format!("resolved {}", cause.as_str()),
                (Action::HandOver, cause) => format!("hand_over {} {trigger}", cause.as_str()),
            }
        };
        let found: Vec<String> = play(&policy, &inputs).iter().map(told).collect();
        assert_eq!(found.join(", "), expected, "{name}: {script}");
    });
    let letters: BTreeSet<char> = cases.iter().flat_map(|(_, script, _)| script.chars()).collect();
    assert!("aynmhgsqx!Ybpuc".chars().all(|letter| letters.contains(&letter)), "every letter is used");
}

#[test]
fn without_attempts_a_soft_trigger_hands_over_at_once() {
    let policy = policy("attempts = 0", &[("angry", "soft", "", "emotion(\"anger\") >= 0.5")]);
    let decided = play(&policy, &[input(0, customer(1, emotion("anger", 0.9)))]).pop().unwrap().decision;
    assert_eq!((decided.action, decided.cause), (Action::HandOver, Cause::NoAttemptLeft));
}
