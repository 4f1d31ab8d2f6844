//! The engine against the reference library, and against itself.
//!
//! `tests/data/tiny-bert` and `tiny-bert-hidden.json` were made by `tests/data/make_tiny.py` with transformers, from a fixed seed.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use baton::model::config::{self, TrunkConfig};
use baton::model::encoder::candle::{CandleEncoder, DeviceChoice, open_device};
use baton::model::encoder::int8::{Int8Encoder, KernelKind, Precision};
use baton::model::encoder::{Encoder, EngineChoice, TrunkWeights, take_trunk};
use baton::model::load::{load, load_on};
use baton::model::parity;
use baton::model::scorer::{ScoreInput, Scorer};
use baton::model::tokenizer::Tokenizer;
use baton::model::weights::Weights;
use baton::signal::{Signals, Windows};
use proptest::prelude::*;
use serde::Deserialize;

use super::support;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn scorer(name: &str) -> Scorer {
    load(&path(name), &open_device(DeviceChoice::Cpu).unwrap()).unwrap()
}

static SHIPPED: LazyLock<Scorer> = LazyLock::new(|| scorer("models/baton-en"));
static TINY: LazyLock<Scorer> =
    LazyLock::new(|| load_on(&path("tests/data/tiny-bert"), &open_device(DeviceChoice::Cpu).unwrap(), EngineChoice::Candle).unwrap());

#[derive(Deserialize)]
struct Hidden {
    texts: Vec<HiddenText>,
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct HiddenText {
    input_ids: Vec<u32>,
    hidden_states: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Pair {
    message: String,
    previous: String,
    probabilities: BTreeMap<String, Vec<f32>>,
}

fn hidden() -> Hidden {
    serde_json::from_slice(&fs::read(path("tests/data/tiny-bert-hidden.json")).unwrap()).unwrap()
}

/// Shape and weights of a package's trunk.
fn trunk(package: &str) -> (TrunkConfig, TrunkWeights) {
    let read = |name: &str| fs::read(path(package).join(name)).unwrap();
    let config = config::parse(&read("config.json")).unwrap();
    let bytes = read("model.safetensors");
    let mut weights = Weights::read_trunk("model.safetensors", &bytes).unwrap();
    let trunk = take_trunk(&mut weights, &config);
    assert_eq!(weights.finish(), []);
    (config, trunk)
}

#[test]
fn hidden_states_equal_the_reference_alone_and_in_a_padded_batch() {
    let (config, trunk) = trunk("tests/data/tiny-bert");
    let encoder = CandleEncoder::new(&config, trunk, &open_device(DeviceChoice::Cpu).unwrap()).unwrap();
    let texts = hidden().texts;
    let ids: Vec<&[u32]> = texts.iter().map(|text| text.input_ids.as_slice()).collect();
    let last = [encoder.layers()];
    let batch = encoder.encode(&ids, &last).unwrap().remove(0);
    for (at, text) in texts.iter().enumerate() {
        let alone = encoder.encode(&ids[at..=at], &last).unwrap().remove(0);
        assert_eq!(batch.rows(at).len(), text.hidden_states.len());
        for ((expected, batched), single) in text.hidden_states.iter().zip(batch.rows(at)).zip(alone.rows(0)) {
            assert_near(expected, batched, 1e-4, "reference against batch");
            assert_near(batched, single, 1e-5, "batch against single");
        }
    }
}

fn assert_near(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance, "{what}: {a} and {b}");
    }
}

#[test]
fn a_head_over_both_turns_equals_the_reference() {
    for pair in hidden().pairs {
        let input = ScoreInput { text: &pair.message, proposal: Some(&pair.previous) };
        let signals = TINY.score(&[input]).unwrap().remove(0);
        let found: Vec<f32> = signals.act.unwrap().probabilities.iter().map(|(_, p)| p.get()).collect();
        assert_near(&pair.probabilities["act"], &found, 1e-3, &pair.message);
    }
}

#[test]
fn a_turn_of_the_bot_is_read_once_and_answered_alike() {
    let sequences = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sequences);
    let scorer = scorer("tests/data/tiny-bert").exchange_encoder(|engine| {
        support::encode_by(engine, move |engine, sequences, layers| {
            counted.fetch_add(sequences.len(), Ordering::Relaxed);
            engine.encode(sequences, layers)
        })
    });
    let input = |text| ScoreInput { text, proposal: Some("Can I send a new card to you?") };
    let first = scorer.score(&[input("yes please"), input("no")]).unwrap();
    assert_eq!(sequences.swap(0, Ordering::Relaxed), 3, "two messages and one turn");
    let again = scorer.score(&[input("yes please")]).unwrap();
    assert_eq!(sequences.swap(0, Ordering::Relaxed), 1, "the turn is known");
    assert_near(&numbers(&first[0]), &numbers(&again[0]), 1e-5, "yes please");
    assert_ne!(
        first[0].act.as_ref().unwrap().probabilities,
        TINY.score(&[ScoreInput { text: "yes please", proposal: Some("Who are you?") }]).unwrap()[0].act.as_ref().unwrap().probabilities
    );
}

#[test]
fn the_shipped_package_and_both_storages_of_the_tiny_one_prove_themselves() {
    // Loading scores the parity texts; a difference beyond the tolerance is an error.
    assert!(SHIPPED.heads().len() >= 4);
    let tiny = scorer("tests/data/tiny-bert-int8");
    assert_eq!(tiny.heads().len(), TINY.heads().len());
    assert_ne!(tiny.digest(), TINY.digest());
}

/// The shipped package on a given kernel.
fn on_kernel(precision: Precision, kind: KernelKind) -> Scorer {
    let (config, trunk) = trunk("models/baton-en");
    let encoder = Int8Encoder::with_kernel(&config, trunk, precision, kind);
    scorer("models/baton-en").exchange_encoder(|_| Box::new(encoder))
}

/// Lines that were written for Baton: short and long, with typing mistakes, emoji and capitals.
fn lines() -> Vec<String> {
    let file = fs::read_to_string(path("models/training/own/intent_rare.csv")).unwrap();
    file.lines().skip(1).filter_map(|line| Some(line.rsplit_once(',')?.0.trim_matches('"').to_owned())).take(1000).collect()
}

#[test]
fn every_kernel_proves_itself_and_gives_the_same_bits_on_a_thousand_texts() {
    assert!(SHIPPED.engine().starts_with("w8a16-"), "{}", SHIPPED.engine());
    let parity = parity::parse(&fs::read(path("models/baton-en/parity.json")).unwrap()).unwrap();
    let lines = lines();
    assert_eq!(lines.len(), 1000);
    let inputs: Vec<ScoreInput<'_>> = lines.iter().map(|text| ScoreInput::message(text)).collect();
    for precision in [Precision::W8A8, Precision::W8A16] {
        let best = if precision == Precision::default() { None } else { Some(on_kernel(precision, KernelKind::best())) };
        let expected = best.as_ref().unwrap_or(&SHIPPED).score(&inputs).unwrap();
        for kind in KernelKind::ALL.into_iter().filter(|kind| kind.is_available()) {
            let scorer = on_kernel(precision, kind);
            assert_eq!(parity::check(&scorer, &parity).unwrap(), [], "{kind}");
            // A hundred lines take the portable kernel as long as a thousand do the others.
            let count = if kind == KernelKind::Portable { 100 } else { 1000 };
            for (found, expected) in scorer.score(&inputs[..count]).unwrap().iter().zip(&expected) {
                let bits = |signals: &Signals| numbers(signals).iter().map(|number| number.to_bits()).collect::<Vec<u32>>();
                assert_eq!(bits(found), bits(expected), "{kind}, {precision:?}");
            }
        }
    }
}

#[test]
fn int8_says_as_f32_of_ninety_nine_messages_in_a_hundred_and_with_two_bytes_of_all() {
    let on = |choice| load_on(&path("models/baton-en"), &open_device(DeviceChoice::Cpu).unwrap(), choice).unwrap();
    let lines = lines();
    let inputs: Vec<ScoreInput<'_>> = lines.iter().take(400).map(|text| ScoreInput::message(text)).collect();
    let expected = on(EngineChoice::Candle).score(&inputs).unwrap();
    for (precision, least) in [(Precision::W8A8, 99), (Precision::W8A16, 100)] {
        let (mut same, mut of) = (0, 0);
        for (int8, f32) in on(EngineChoice::Int8(precision)).score(&inputs).unwrap().iter().zip(&expected) {
            for (int8, f32) in [(&int8.sentiment, &f32.sentiment), (&int8.intent, &f32.intent)] {
                let (Ok(int8), Ok(f32)) = (int8, f32) else { continue };
                of += 1;
                same += usize::from(int8.top == f32.top);
            }
            if precision == Precision::W8A16 {
                assert_near(&numbers(int8), &numbers(f32), 1e-3, "all of a message");
                assert_near(&int8.embedding.as_ref().unwrap().0, &f32.embedding.as_ref().unwrap().0, 2e-4, "its vector");
            }
        }
        assert!(of > 600 && 100 * same >= least * of, "{precision:?}: {same} of {of}");
    }
}

/// `BATON_TEXTS=DIR cargo test --release --test it -- --ignored every_line_of_a_folder`: every line of every file below DIR that is text.
#[test]
#[ignore = "needs a folder of texts"]
#[expect(clippy::disallowed_methods, reason = "the folder is whoever's who runs it")]
fn every_line_of_a_folder_has_the_tokens_of_the_crate() {
    let tokenizer = Tokenizer::read(&fs::read(path("models/baton-en/tokenizer.json")).unwrap(), 30_522).unwrap();
    let (mut folders, mut files, mut lines) = (vec![PathBuf::from(std::env::var_os("BATON_TEXTS").unwrap())], 0, 0u64);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let place = entry.unwrap().path();
            if place.is_dir() {
                folders.push(place);
            } else if let Ok(text) = fs::read_to_string(&place) {
                files += 1;
                for line in text.lines().map(|line| &line[..line.floor_char_boundary(60_000)]) {
                    lines += 1;
                    assert_eq!(tokenizer.encode(line), tokenizer.encode_by_crate(line), "{}: {line:?}", place.display());
                }
            }
        }
    }
    println!("{lines} lines of {files} files");
    assert!(lines > 0);
}

#[test]
fn a_pass_allocates_nothing_once_it_has_run() {
    let (config, trunk) = trunk("models/baton-en");
    let encoder = Int8Encoder::new(&config, trunk, Precision::default());
    let ids: Vec<Vec<u32>> = [15, 40, 3].iter().map(|length| (1000..1000 + length).collect()).collect();
    let sequences: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let mut sum = 0.0;
    let mut pass = || encoder.forward(&sequences, |_, states| sum += states[0]);
    pass();
    let allocations = support::allocations(|| (0..3).for_each(|_| pass()));
    assert_eq!(allocations, 0);
    assert!(sum.is_finite() && sum != 0.0);
}

/// Everything of a message that is a number, in one list.
fn numbers(signals: &Signals) -> Vec<f32> {
    let classifications = [&signals.sentiment, &signals.intent, &signals.act];
    let mut all: Vec<f32> =
        classifications.iter().filter_map(|c| c.as_ref().ok()).flat_map(|c| &c.probabilities).map(|(_, p)| p.get()).collect();
    all.extend(signals.emotion.iter().flat_map(|tags| &tags.probabilities).map(|(_, p)| p.get()));
    all.extend(signals.embedding.iter().flat_map(|e| e.0.iter().copied()));
    all.extend(signals.sentences.iter().flat_map(|s| s.embedding.0.iter().copied()));
    all
}

const TEXTS: [&str; 8] = [
    "hi",
    "Where is my refund? I have been waiting for three weeks.",
    "no",
    "I was charged twice for my subscription this month and nobody answers my mails",
    "",
    "LET ME TALK TO A HUMAN!!!",
    "thanks, that solved it \u{1f389}",
    "The app crashes when I open the invoice page. It worked yesterday. I use the newest version. Please help me, I need the invoice today.",
];

#[test]
fn a_batch_equals_its_members_in_any_order() {
    let inputs: Vec<ScoreInput<'_>> = TEXTS.iter().map(|text| ScoreInput::message(text)).collect();
    let reversed: Vec<ScoreInput<'_>> = inputs.iter().rev().copied().collect();
    let batch = SHIPPED.score(&inputs).unwrap();
    let mut backwards = SHIPPED.score(&reversed).unwrap();
    backwards.reverse();
    for ((input, in_batch), backwards) in inputs.iter().zip(&batch).zip(&backwards) {
        let alone = SHIPPED.score(&[*input]).unwrap().remove(0);
        assert_near(&numbers(&alone), &numbers(in_batch), 1e-5, input.text);
        assert_near(&numbers(in_batch), &numbers(backwards), 1e-5, input.text);
        assert_eq!((&alone.lexical, alone.windows), (&in_batch.lexical, in_batch.windows));
    }
}

#[test]
fn a_long_text_is_scored_in_windows_and_says_what_was_dropped() {
    let sentence = "I was charged twice and nobody answers. ";
    let score = |text: &str| SHIPPED.score(&[ScoreInput::message(text)]).unwrap().remove(0);
    assert_eq!(score(sentence).windows, Windows { scored: 1, dropped: 0, bytes_unread: 0 });
    let long = score(&sentence.repeat(100));
    assert!((2..=8).contains(&long.windows.scored) && long.windows.dropped == 0, "{:?}", long.windows);
    assert_eq!(long.sentences.len(), 8);
    let longest = score(&sentence.repeat(30_000));
    assert_eq!((longest.windows.scored, longest.windows.bytes_unread), (8, 30_000 * sentence.len() - 64 * 1024));
    assert!(longest.windows.dropped > 0);
    let embedding = |text: &str| score(text).embedding.unwrap();
    let (repeated, same, other) = (longest.embedding.unwrap(), embedding(sentence), embedding("The weather is nice in Lisbon today."));
    // 0.58 and -0.05 when this was written: a full window of one sentence, over and over, is an odd text.
    assert!(repeated.cosine(&same) > 0.4 && repeated.cosine(&other) < 0.1, "a repeated text means what it repeats");
}

#[test]
fn a_threat_in_the_last_window_of_a_long_text_counts_in_full() {
    let filler = "The parcel was delivered to my neighbour on Monday and everything in it was fine. ".repeat(40);
    let threat = "If you do not pay me back I will sue you, my lawyer is preparing the lawsuit for court.";
    let p = |text: &str| {
        SHIPPED.score(&[ScoreInput::message(text)]).unwrap().remove(0).intent.unwrap().probability("legal_threat").unwrap().get()
    };
    let (without, with) = (p(&filler), p(&format!("{filler}{threat}")));
    assert!(with > 3.0 * without && with > 0.4, "legal_threat {without} without the threat and {with} with it");
}

#[test]
fn a_text_in_an_unknown_language_has_no_sentiment_emotion_or_intent() {
    for text in [
        "Ich möchte bitte mein Geld zurück, das ist eine Frechheit",
        "商品がまだ届きません",
        "je veux parler à un conseiller s'il vous plaît",
    ] {
        let signals = SHIPPED.score(&[ScoreInput::message(text)]).unwrap().remove(0);
        assert!(!signals.language.unwrap().known, "{text}");
        assert_eq!(signals.sentiment.unwrap_err().as_str(), "language");
        assert_eq!(signals.emotion.unwrap_err().as_str(), "language");
        assert_eq!(signals.intent.unwrap_err().as_str(), "language");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_is_scored_and_every_number_keeps_its_range(text in any::<String>(), proposal in any::<Option<String>>()) {
        let signals = TINY.score(&[ScoreInput { text: &text, proposal: proposal.as_deref() }]).unwrap().remove(0);
        for finding in &signals.lexical.findings {
            prop_assert!(text.get(finding.span.start..finding.span.end).is_some());
        }
        for sentence in &signals.sentences {
            prop_assert!(text.get(sentence.span.start..sentence.span.end).is_some());
        }
        if let Ok(sentiment) = &signals.sentiment {
            let sum: f32 = sentiment.probabilities.iter().map(|(_, p)| p.get()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5);
        }
        if let Ok(embedding) = &signals.embedding {
            prop_assert!((embedding.cosine(embedding) - 1.0).abs() < 1e-4);
        }
    }

    #[test]
    fn any_batch_equals_its_members(texts in prop::collection::vec("[a-z ]{0,120}", 1..12)) {
        let inputs: Vec<ScoreInput<'_>> = texts.iter().map(|text| ScoreInput::message(text)).collect();
        for (input, in_batch) in inputs.iter().zip(TINY.score(&inputs).unwrap()) {
            let alone = TINY.score(&[*input]).unwrap().remove(0);
            let (a, b) = (numbers(&alone), numbers(&in_batch));
            prop_assert!(a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-5));
        }
    }
}
