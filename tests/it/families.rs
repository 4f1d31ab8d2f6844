//! Every family against the reference library.
//!
//! `tests/data/families/NAME` are classifiers in the Hugging Face layout, random, from a fixed seed, made by `make.py` there with transformers; `reference.json` has
//! what it answers. Here each is taken apart into a package: the trunk, and its classifier as a head with a dense stage.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use baton::model::config;
use baton::model::encoder::EngineChoice;
use baton::model::encoder::candle::{DeviceChoice, open_device};
use baton::model::encoder::int8::Precision;
use baton::model::head::FORMAT;
use baton::model::load::{self, PackageFiles};
use baton::model::parity::{ParityFile, ParityText};
use baton::model::quantise::quantise;
use baton::model::scorer::{ScoreInput, Scorer};
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::Deserialize;
use serde_json::{Value, json};

/// How a family's classifier is written down as a head.
struct Family {
    folder: &'static str,
    pooling: &'static str,
    dense: Option<Value>,
    /// Names of the classifier's tensors, and those of the head `intent`.
    tensors: &'static [(&'static str, &'static str)],
    /// Whether int8 takes it; else what it says.
    refused_by_int8: Option<&'static str>,
}

const FAMILIES: &[&str] = &["bert", "roberta", "xlm-roberta", "distilbert", "deberta-v3", "deberta-v2", "modernbert"];

fn family(folder: &'static str) -> Family {
    let dense = |activation: &str| Some(json!({"activation": activation}));
    let deberta = "it has the layers of DeBERTa";
    match folder {
        "bert" => Family {
            folder,
            pooling: "cls",
            dense: dense("tanh"),
            tensors: &[
                ("bert.pooler.dense.weight", "intent.dense.weight"),
                ("bert.pooler.dense.bias", "intent.dense.bias"),
                ("classifier.weight", "intent.weight"),
                ("classifier.bias", "intent.bias"),
            ],
            refused_by_int8: None,
        },
        "roberta" | "xlm-roberta" => Family {
            folder,
            pooling: "cls",
            dense: dense("tanh"),
            tensors: &[
                ("classifier.dense.weight", "intent.dense.weight"),
                ("classifier.dense.bias", "intent.dense.bias"),
                ("classifier.out_proj.weight", "intent.weight"),
                ("classifier.out_proj.bias", "intent.bias"),
            ],
            refused_by_int8: None,
        },
        "distilbert" => Family {
            folder,
            pooling: "cls",
            dense: dense("relu"),
            tensors: &[
                ("pre_classifier.weight", "intent.dense.weight"),
                ("pre_classifier.bias", "intent.dense.bias"),
                ("classifier.weight", "intent.weight"),
                ("classifier.bias", "intent.bias"),
            ],
            refused_by_int8: None,
        },
        "deberta-v3" | "deberta-v2" => Family {
            folder,
            pooling: "cls",
            dense: dense("gelu"),
            tensors: &[
                ("pooler.dense.weight", "intent.dense.weight"),
                ("pooler.dense.bias", "intent.dense.bias"),
                ("classifier.weight", "intent.weight"),
                ("classifier.bias", "intent.bias"),
            ],
            refused_by_int8: Some(deberta),
        },
        "modernbert" => Family {
            folder,
            pooling: "mean",
            dense: Some(json!({"activation": "gelu", "norm_eps": 1e-5})),
            tensors: &[
                ("head.dense.weight", "intent.dense.weight"),
                ("head.norm.weight", "intent.norm.weight"),
                ("classifier.weight", "intent.weight"),
                ("classifier.bias", "intent.bias"),
            ],
            refused_by_int8: Some("it has the layers of ModernBERT"),
        },
        other => panic!("{other} is no family here"),
    }
}

#[derive(Deserialize)]
struct Reference {
    texts: Vec<ReferenceText>,
    config_as_saved: Value,
}

#[derive(Deserialize)]
struct ReferenceText {
    text: String,
    input_ids: Vec<u32>,
    logits: Vec<f32>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families").join(name)
}

fn reference(name: &str) -> Reference {
    serde_json::from_slice(&fs::read(folder(name).join("reference.json")).unwrap()).unwrap()
}

/// A tensor by itself: what it holds, its shape, its bytes.
type Tensor = (Dtype, Vec<usize>, Vec<u8>);

fn tensors(file: &[u8]) -> BTreeMap<String, Tensor> {
    let views = SafeTensors::deserialize(file).unwrap();
    views.iter().map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))).collect()
}

fn written(tensors: &BTreeMap<String, Tensor>) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    serialize(views, None).unwrap()
}

/// The package of a folder, whose parity is still empty.
fn package(family: &Family) -> PackageFiles {
    let read = |name: &str| fs::read(folder(family.folder).join(name)).unwrap();
    let config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    let is_multi_label = config["problem_type"] == "multi_label_classification";
    let names = config["id2label"].as_object().unwrap();
    let labels: Vec<&Value> = (0..names.len()).map(|id| &names[&id.to_string()]).collect();
    let mut trunk = tensors(&read("model.safetensors"));
    let head = family.tensors.iter().map(|(from, to)| ((*to).to_owned(), trunk.remove(*from).unwrap()));
    let head_weights = written(&head.collect());
    let mut spec = json!({
        "name": "intent",
        "kind": if is_multi_label { "multi_label" } else { "single_label" },
        "input": "message",
        "pooling": family.pooling,
        "normalize": false,
        "labels": labels,
        "temperature": [1.0],
        "bias": vec![0.0; labels.len()],
        "priors": vec![1.0 / labels.len() as f32; labels.len()],
        "decision": "probability",
        "thresholds": if is_multi_label { vec![0.5; labels.len()] } else { Vec::new() },
    });
    if let Some(dense) = &family.dense {
        spec["dense"] = dense.clone();
    }
    let heads = json!({"format": FORMAT, "name": family.folder, "version": "1", "max_seq_len": 64, "embedding": {"pooling": "mean"}, "heads": [spec]});
    PackageFiles {
        config: read("config.json"),
        tokenizer: read("tokenizer.json"),
        trunk: written(&trunk),
        heads: serde_json::to_vec(&heads).unwrap(),
        head_weights,
        parity: Vec::new(),
    }
}

/// The answers of candle, which the other tests hold against the reference library.
fn with_parity(files: PackageFiles, texts: &[ReferenceText]) -> PackageFiles {
    let scorer = load::reference(&files).unwrap();
    let text = |text: &ReferenceText| {
        let found = scorer.reference(&text.text).unwrap();
        let probabilities = found.probabilities.into_iter().collect();
        ParityText { text: text.text.clone(), input_ids: found.input_ids, embedding: found.embedding.0, probabilities }
    };
    let file = ParityFile { format: 1, made_by: "tests/it/families.rs".into(), texts: texts.iter().map(text).collect(), pairs: vec![] };
    PackageFiles { parity: serde_json::to_vec(&file).unwrap(), ..files }
}

fn write(files: &PackageFiles, folder: &Path) {
    let contents = [
        ("config.json", &files.config),
        ("tokenizer.json", &files.tokenizer),
        ("model.safetensors", &files.trunk),
        ("heads.json", &files.heads),
        ("heads.safetensors", &files.head_weights),
        ("parity.json", &files.parity),
    ];
    contents.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
}

/// Logits of each text, all in one call.
fn logits(scorer: &Scorer, texts: &[&str]) -> Vec<Vec<f32>> {
    let head = &scorer.heads()[0];
    let vectors = scorer.features(texts, scorer.reading_of(head)).unwrap();
    vectors.into_iter().map(|vector| head.logits(&vector.unwrap()).unwrap()).collect()
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found_one, expected_one) in found.iter().zip(expected) {
        assert!((found_one - expected_one).abs() <= tolerance, "{what}: {found:?}, not {expected:?}");
    }
}

#[test]
fn ids_and_logits_are_those_of_the_reference_library() {
    for name in FAMILIES {
        let scorer = load::reference(&package(&family(name))).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        let reference = reference(name);
        let texts: Vec<&str> = reference.texts.iter().map(|text| text.text.as_str()).collect();
        let together = logits(&scorer, &texts);
        for (text, batched) in reference.texts.iter().zip(&together) {
            let what = format!("{name}, {:?}", text.text);
            assert_eq!(scorer.reference(&text.text).unwrap().input_ids, text.input_ids, "{what}");
            assert_near(&logits(&scorer, &[&text.text])[0], &text.logits, 1e-4, &what);
            assert_near(batched, &text.logits, 1e-4, &format!("{what}, among others"));
        }
        assert!(reference.texts.iter().any(|text| text.input_ids.len() == 64), "{name}: a text fills the window");
    }
}

#[test]
fn a_configuration_means_the_same_in_its_older_and_its_newer_form() {
    for name in FAMILIES {
        let older = config::parse(&fs::read(folder(name).join("config.json")).unwrap());
        let newer = config::parse(&serde_json::to_vec(&reference(name).config_as_saved).unwrap());
        assert!(older.is_ok() && older == newer, "{name}: {older:?} {newer:?}");
    }
}

#[test]
fn int8_takes_the_families_it_can_and_the_others_say_why_not() {
    let cpu = open_device(DeviceChoice::Cpu).unwrap();
    for name in FAMILIES {
        let family = family(name);
        let texts = reference(name).texts;
        let (files, moved) = quantise(with_parity(package(&family), &texts)).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        assert!(moved.matrices > 0 && moved.bytes_after < moved.bytes_before / 2, "{name}: {moved:?}");
        let folder = tempfile::tempdir().unwrap();
        write(&files, folder.path());
        // Loading holds every answer against those of candle on the same bytes.
        let scorer = load::load(folder.path(), &cpu).unwrap();
        match family.refused_by_int8 {
            None => assert!(scorer.engine().starts_with("w8a16-"), "{name}: {}", scorer.engine()),
            Some(why) => {
                assert_eq!(scorer.engine(), format!("candle-f32 on cpu (not w8a16: {why})"), "{name}");
                for precision in [Precision::W8A8, Precision::W8A16] {
                    let asked = precision.as_str();
                    let error =
                        load::load_on(folder.path(), &cpu, EngineChoice::Int8(precision)).err().expect("candle takes it").to_string();
                    let expected = format!("engine: found {asked}, expected candle: {asked} cannot take this model, {why}");
                    assert!(error.contains(&expected), "{error}");
                }
            }
        }
    }
}

#[test]
fn half_precision_is_read_in_every_family() {
    for name in FAMILIES {
        let files = package(&family(name));
        let mut trunk = tensors(&files.trunk);
        for (dtype, _, data) in trunk.values_mut() {
            let numbers = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            *data = numbers.flat_map(|number| f16::from_f32(number).to_le_bytes()).collect();
            *dtype = Dtype::F16;
        }
        let scorer = load::reference(&PackageFiles { trunk: written(&trunk), ..files }).unwrap();
        let texts = reference(name).texts;
        let (mut dot, mut left, mut right) = (0.0, 0.0, 0.0);
        for text in &texts {
            for (found, expected) in logits(&scorer, &[&text.text])[0].iter().zip(&text.logits) {
                (dot, left, right) = (dot + found * expected, left + found * found, right + expected * expected);
            }
        }
        let cosine = dot / (left * right).sqrt();
        assert!(cosine > 0.9995, "{name}: {cosine}");
    }
}

#[test]
fn a_text_that_spells_special_tokens_gets_none_and_any_text_is_cut_at_characters() {
    for name in FAMILIES {
        let scorer = load::reference(&package(&family(name))).unwrap();
        let plain = scorer.reference("x").unwrap().input_ids;
        let (first, last) = (plain[0], plain[plain.len() - 1]);
        for text in ["<s> </s><pad> a<mask>", "[CLS] [SEP][PAD] a[MASK]", "<s>", "[SEP]", "😊👨‍👩‍👧 naïve 订单"] {
            let ids = scorer.reference(text).unwrap().input_ids;
            assert_eq!((ids[0], ids[ids.len() - 1]), (first, last), "{name}, {text:?}");
            assert!(!ids[1..ids.len() - 1].iter().any(|id| [first, last].contains(id)), "{name}, {text:?}: {ids:?}");
            let signals = scorer.score(&[ScoreInput::message(text)]).unwrap().remove(0);
            for sentence in &signals.sentences {
                assert!(text.is_char_boundary(sentence.span.start) && text.is_char_boundary(sentence.span.end), "{name}, {text:?}");
            }
        }
    }
}

#[test]
fn a_window_longer_than_the_positions_of_the_family_is_refused() {
    let files = package(&family("roberta"));
    let mut heads: Value = serde_json::from_slice(&files.heads).unwrap();
    heads["max_seq_len"] = json!(65);
    let faults = load::reference(&PackageFiles { heads: serde_json::to_vec(&heads).unwrap(), ..files })
        .err()
        .expect("two rows are before the first");
    assert_eq!(faults[0].to_string(), "heads.json: max_seq_len: found 65, expected 3 to 64, the position table");
}
