//! One decision, and one package: `cargo bench --profile release --bench step`.
//!
//! Expected of a package of 50 turns whose signals are there: each message is read a few times, word by word, 5 µs each: 1 ms. The aim is 2 ms.
//!
//! Expected: 30 µs, of which 10 µs are the receipt and its digest (some 5 kB through SHA-256) and the rest 30 conditions of two comparisons. The aim is 50 µs
//! for 30 triggers in a conversation of 50 turns.
#![allow(missing_docs, reason = "the macros of criterion make functions without")]
#![allow(clippy::unwrap_used, reason = "a bench that meets the unexpected shall stop where it stands")]

use std::hint::black_box;

use baton::handoff::conversation::Conversation;
use baton::handoff::input::{Body, Facts, Input};
use baton::handoff::observation::{Intents, LabelRange, LexicalFlags, MessageSignals, Observation, Vocabulary};
use baton::handoff::package::{Sources, package};
use baton::handoff::policy::{DEFAULT, Policy};
use baton::handoff::step::step;
use baton::handoff::story::{Story, Turn};
use baton::message::{Id, Speaker};
use baton::random::Random;
use baton::signal::{BasisPoints, QuantizedEmbedding, Span};
use baton::time::Timestamp;
use criterion::{Criterion, criterion_group, criterion_main};

/// Labels that the default policy names, and as many more as the shipped model has.
fn vocabulary() -> Vocabulary {
    let ranges = |labels: &[&str], count: usize| {
        let named = labels.iter().map(|label| (*label).to_owned());
        let all = named.chain((labels.len()..count).map(|place| format!("label-{place}")));
        all.map(|label| LabelRange { label, highest: BasisPoints::ONE }).collect()
    };
    let intents = [
        "talk_to_human",
        "complaint",
        "cancel_or_close",
        "refund",
        "billing_dispute",
        "delivery_problem",
        "security_concern",
        "legal_threat",
        "privacy_request",
        "distress",
        "thanks_or_closing",
        "greeting",
        "out_of_scope",
    ];
    Vocabulary {
        model: "m".repeat(64),
        intents: ranges(&intents, 25),
        emotions: ranges(&["anger", "frustration", "gratitude"], 7),
        acts: ranges(&["accepts", "rejects", "other"], 3),
        examples: true,
    }
}

/// The default policy, and as many soft triggers more as make 30.
fn policy() -> Policy {
    let mut text = DEFAULT.to_owned();
    for n in DEFAULT.matches("\n[[trigger]]").count()..30 {
        let when = format!("conversation.valence_mean({}) < -0.{n} && conversation.emotion_streak(\"anger\", 0.{n}) >= 2", 2 + n % 8);
        text.push_str(&format!(
            "\n[[trigger]]\nid = \"more-{n}\"\nkind = \"reactive\"\nbasis = \"behaviour\"\nurgency = \"soft\"\ncategory = \"more\"\nwhen = '{when}'\n\
             queue = \"general\"\nmessage = \"generic\"\n"
        ));
    }
    Policy::read("bench", &text, &vocabulary()).unwrap()
}

fn message(sequence: u32, random: &mut Random) -> Input {
    let mut level = |most: f64| BasisPoints::new(random.unit() * most).unwrap();
    let speaker = if sequence % 2 == 1 { Speaker::Customer } else { Speaker::Bot };
    let signals = MessageSignals {
        language_known: Ok(true),
        valence: Ok(level(0.5)),
        emotions: Ok((0..7).map(|_| level(0.2)).collect()),
        intents: Ok(Intents { probabilities: (0..25).map(|_| level(0.05)).collect(), top: Some(3), in_scope: Some(level(1.0)) }),
        acts: Ok((0..3).map(|_| level(0.5)).collect()),
        example_intents: Ok(Vec::new()),
        embedding: Ok(QuantizedEmbedding::from_values((0..384).map(|_| (random.bits() % 255) as u8 as i8).collect())),
        lexical: LexicalFlags::default(),
    };
    let observation = Observation {
        id: Id::new(format!("m{sequence}")).unwrap(),
        sequence,
        speaker,
        words: 12,
        signals: Ok(signals),
        says: vec![false; 64],
        bot_confidence: (speaker == Speaker::Bot).then_some(BasisPoints::ONE),
        proposal: false,
    };
    let at = Timestamp::from_millis(i64::from(sequence) * 30_000).unwrap();
    Input { at, body: Body::Message(observation), customer: vec![Some(1); 8] }
}

fn one_decision(criterion: &mut Criterion) {
    let policy = policy();
    assert_eq!(policy.triggers.len(), 30);
    let mut random = Random::new(1);
    let mut conversation = Conversation::new(Id::new("bench").unwrap());
    let facts = Input { at: Timestamp::default(), body: Body::Facts(Facts::default()), customer: Vec::new() };
    conversation = step(&policy, conversation, &facts).conversation;
    for sequence in 1..=50 {
        conversation = step(&policy, conversation, &message(sequence, &mut random)).conversation;
    }
    let input = message(51, &mut random);
    let name = format!("step, {} triggers, {} terms, turn 51", policy.triggers.len(), policy.terms.len());
    criterion.bench_function(&name, |bencher| {
        bencher.iter_batched(
            || conversation.clone(),
            |conversation| step(&policy, black_box(conversation), black_box(&input)),
            criterion::BatchSize::SmallInput,
        );
    });
    let text = "I have asked twice now, please cancel my contract and send me the last invoice today";
    criterion.bench_function("phrases of the default policy in one message", |bencher| bencher.iter(|| policy.says(black_box(text))));
}

fn one_package(criterion: &mut Criterion) {
    let policy = policy();
    let mut random = Random::new(2);
    let mut conversation = Conversation::new(Id::new("bench").unwrap());
    let texts = [
        "I was charged twice for order #4411 and the second payment of $12.99 is not back. When do I get it?",
        "You can see your payments in the settings under Billing. Shall I open that page for you?",
        "no, I looked there already and it does not help, it still says paid",
        "I am sorry to hear that. Please restart the app and look again; it may take a minute to update.",
    ];
    let mut turns = Vec::new();
    for sequence in 1..=50 {
        let input = message(sequence, &mut random);
        let Body::Message(observation) = input.body.clone() else { unreachable!("it is a message") };
        let text = texts[(sequence as usize - 1) % texts.len()];
        let ends: Vec<usize> = text.match_indices(['.', '?']).map(|(at, _)| at + 1).collect();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let sentences = starts.zip(&ends).map(|(start, end)| Span { start, end: *end }).collect();
        let (speaker, signals) = (observation.speaker, observation.signals);
        turns.push(Turn { sequence, speaker, at: input.at, text: text.to_owned(), findings: Vec::new(), signals, sentences });
        conversation = step(&policy, conversation, &input).conversation;
    }
    let story = Story { turns };
    let sources = || Sources {
        policy: &policy,
        conversation: &conversation,
        story: &story,
        customer: None,
        receipt: None,
        now: Timestamp::default(),
    };
    criterion.bench_function("package, 50 turns, signals present", |bencher| bencher.iter(|| package(black_box(&sources()))));
}

criterion_group!(benches, one_decision, one_package);
criterion_main!(benches);
