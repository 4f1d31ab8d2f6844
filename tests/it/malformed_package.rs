//! Packages with one thing wrong: each is refused with exit code 2 and words that name file, key, what was found and what was expected; none panics,
//! hangs or takes memory without bound.

use safetensors::tensor::Dtype;
use serde_json::json;

use crate::support::{PLANTED, Package, Place, Run, SHIPPED, TINY, bytes_of, each_case, floats_of};

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TRUNK: &str = "model.safetensors";
const HEADS: &str = "heads.json";
const HEAD_WEIGHTS: &str = "heads.safetensors";
const PARITY: &str = "parity.json";

/// Breaks one thing.
type Break<'a> = &'a dyn Fn(&Package);
/// What is broken, how, and what the message must say.
type Case<'a> = (&'a str, Break<'a>, &'a [&'a str]);

fn load(place: &Place, package: &Package) -> Run {
    place.baton(&["score", "--json", "--model", package.path(), &format!("where is my {PLANTED} refund")])
}

fn check(cases: &[Case<'_>]) {
    each_case(cases.iter().map(|case| (case.0, case)), |(what, break_it, expected)| {
        let place = Place::new();
        let package = place.package("broken", TINY);
        break_it(&package);
        let run = load(&place, &package);
        run.failure(expected);
        run.failure(&["model package ", package.path(), "found ", "expected "]);
        assert!(run.stderr.len() < 64 << 10, "{what}: a message of {} bytes helps nobody", run.stderr.len());
    });
}

#[test]
fn the_unbroken_package_loads() {
    let place = Place::new();
    let package = place.package("whole", TINY);
    assert!(load(&place, &package).json()["intent"]["probabilities"].is_object());
}

#[test]
fn files_that_are_not_there() {
    let place = Place::new();
    place.baton(&["score", "--model", "nowhere", "hello"]).failure(&["model package nowhere", "found no such folder"]);
    place.write("file", "x");
    place.baton(&["score", "--model", "file", "hello"]).failure(&["model package file", "found no such folder"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    let every = [CONFIG, TOKENIZER, TRUNK, HEADS, PARITY].map(|name| format!("{name}: found No such file"));
    place.baton(&["score", "--model", "empty", "hello"]).failure(&every.each_ref().map(String::as_str));
    for name in [CONFIG, TOKENIZER, TRUNK, HEADS, HEAD_WEIGHTS, PARITY] {
        let package = place.package(&format!("folder {name}"), TINY);
        package.remove(name);
        std::fs::create_dir(place.path(&format!("folder {name}/{name}"))).unwrap();
        load(&place, &package).failure(&[&format!("{name}: found Is a directory")]);
    }
}

#[test]
fn files_of_one_byte_or_none() {
    for name in [CONFIG, TOKENIZER, TRUNK, HEADS, HEAD_WEIGHTS, PARITY] {
        let found = format!("{name}: ");
        for content in ["", "{", "\0", "\u{7f}"] {
            check(&[(name, &|package| package.write(name, content), &[&found])]);
        }
    }
}

#[test]
fn json_that_nests_without_end() {
    for name in [CONFIG, TOKENIZER, HEADS, PARITY] {
        let found = format!("{name}: found ");
        check(&[
            ("arrays", &|package| package.write(name, "[".repeat(100_000)), &[&found]),
            ("objects", &|package| package.write(name, "{\"a\":".repeat(100_000)), &[&found]),
        ]);
    }
    let deep = format!("{{\"deep\": {}{}, ", "[".repeat(100_000), "]".repeat(100_000));
    check(&[
        ("inside config.json", &|package| package.replace(CONFIG, "{", &deep), &["config.json: found ", "recursion limit"]),
        ("inside tokenizer.json", &|package| package.replace(TOKENIZER, "{", &deep), &["tokenizer.json: found "]),
        (
            "inside what is not read",
            &|package| package.replace(HEADS, "\"window_max\"", &format!("\"trained_on\": {}, \"window_max\"", "[".repeat(100_000))),
            &["heads.json: found ", "recursion limit"],
        ),
    ]);
    let header = |package: &Package, file: &str| {
        let nested = "[".repeat(100_000);
        package.write(file, [&(nested.len() as u64).to_le_bytes()[..], nested.as_bytes()].concat());
    };
    check(&[
        (
            "trunk header",
            &|package| header(package, TRUNK),
            &["model.safetensors: found 100008 bytes", "expected a whole safetensors file"],
        ),
        ("heads header", &|package| header(package, HEAD_WEIGHTS), &["heads.safetensors: found 100008 bytes"]),
    ]);
}

#[test]
fn weight_files_that_are_cut_or_lie_about_their_length() {
    for name in [TRUNK, HEAD_WEIGHTS] {
        let whole = Place::new().package("whole", TINY).read(name).len();
        for length in [0, 4, 8, 100, whole / 2, whole - 1] {
            let found = format!("{name}: found {length} bytes");
            let cut = |package: &Package| package.write(name, &package.read(name)[..length]);
            check(&[("cut", &cut, &[&found, "expected a whole safetensors file"])]);
        }
        let found = format!("{name}: found {whole} bytes");
        for claimed in [1u64 << 60, u64::MAX, u64::MAX - 7, 99_999_999, whole as u64] {
            let lie = |package: &Package| {
                let mut bytes = package.read(name);
                bytes[..8].copy_from_slice(&claimed.to_le_bytes());
                package.write(name, bytes);
            };
            check(&[("length", &lie, &[&found, "expected a whole safetensors file"])]);
        }
        let found = format!("{name}: found {} bytes", whole + 1);
        check(&[("longer", &|package| package.write(name, [package.read(name), vec![0]].concat()), &[&found])]);
    }
}

#[test]
fn a_header_that_claims_huge_tensors() {
    let claim = |shape: &str, end: &str| {
        let header = format!(r#"{{"embeddings.word_embeddings.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
    };
    for (shape, end) in [
        ("[1152921504606846976]", "4611686018427387904"),
        ("[4294967296,4294967296]", "16"),
        ("[18446744073709551615,18446744073709551615]", "18446744073709551615"),
        ("[0]", "0"),
        ("[]", "4"),
    ] {
        check(&[(shape, &|package| package.write(TRUNK, claim(shape, end)), &["model.safetensors: "])]);
    }
}

#[test]
fn tensors_that_are_wrong() {
    const QUERY: &str = "encoder.layer.1.attention.self.query.weight";
    let set = |package: &Package, name: &str, at: usize, value: f32| {
        package.edit_tensors(TRUNK, |tensors| {
            let tensor = tensors.get_mut(name).unwrap();
            tensor.2[4 * at..][..4].copy_from_slice(&value.to_le_bytes());
        });
    };
    check(&[
        (
            "removed",
            &|package| package.edit_tensors(TRUNK, |tensors| drop(tensors.remove(QUERY))),
            &["model.safetensors: encoder.layer.1.attention.self.query.weight: found nothing, expected a tensor of shape [32, 32]"],
        ),
        (
            "two removed",
            &|package| {
                package.edit_tensors(TRUNK, |tensors| {
                    tensors.remove(QUERY);
                    tensors.remove("embeddings.LayerNorm.bias");
                });
            },
            &[
                "encoder.layer.1.attention.self.query.weight: found nothing",
                "model.safetensors: embeddings.LayerNorm.bias: found nothing, expected a tensor of shape [32]",
            ],
        ),
        (
            "one more",
            &|package| {
                package.edit_tensors(TRUNK, |tensors| drop(tensors.insert("surprise".into(), (Dtype::F32, vec![2], vec![0; 8]))));
            },
            &["model.safetensors: surprise: found shape [2], expected no such tensor"],
        ),
        ("NaN", &|package| set(package, QUERY, 5, f32::NAN), &[&format!("{QUERY}: found NaN at element 5, expected finite numbers")]),
        ("infinite", &|package| set(package, QUERY, 0, f32::INFINITY), &[&format!("{QUERY}: found inf at element 0, expected finite")]),
        ("infinite", &|package| set(package, QUERY, 1023, f32::NEG_INFINITY), &[&format!("{QUERY}: found -inf at element 1023")]),
        (
            "transposed shape",
            &|package| {
                package.edit_tensors(TRUNK, |tensors| {
                    tensors.get_mut("encoder.layer.0.intermediate.dense.weight").unwrap().1 = vec![32, 64];
                });
            },
            &["encoder.layer.0.intermediate.dense.weight: found shape [32, 64], expected shape [64, 32]"],
        ),
        (
            "flat",
            &|package| package.edit_tensors(TRUNK, |tensors| tensors.get_mut(QUERY).unwrap().1 = vec![1024]),
            &[&format!("{QUERY}: found shape [1024], expected shape [32, 32]")],
        ),
        (
            "whole numbers",
            &|package| package.edit_tensors(TRUNK, |tensors| *tensors.get_mut(QUERY).unwrap() = (Dtype::I64, vec![32, 32], vec![0; 8192])),
            &[&format!("{QUERY}: found dtype I64, expected dtype F32, F16, BF16 or I8")],
        ),
        (
            "doubles",
            &|package| package.edit_tensors(TRUNK, |tensors| *tensors.get_mut(QUERY).unwrap() = (Dtype::F64, vec![32, 32], vec![0; 8192])),
            &[&format!("{QUERY}: found dtype F64, expected dtype F32, F16, BF16 or I8")],
        ),
        (
            "int8 without its scale",
            &|package| package.edit_tensors(TRUNK, |tensors| *tensors.get_mut(QUERY).unwrap() = (Dtype::I8, vec![32, 32], vec![1; 1024])),
            &[&format!("{QUERY}_scale: found nothing, expected a tensor of shape [32] with the scale of each row")],
        ),
        (
            "int8 with the scale of another shape",
            &|package| {
                package.edit_tensors(TRUNK, |tensors| {
                    *tensors.get_mut(QUERY).unwrap() = (Dtype::I8, vec![32, 32], vec![1; 1024]);
                    tensors.insert(format!("{QUERY}_scale"), (Dtype::F32, vec![1], bytes_of(&[0.1])));
                });
            },
            &[&format!("{QUERY}_scale: found F32 of shape [1], expected F32 of shape [32]")],
        ),
        (
            "int8 with a negative scale",
            &|package| {
                package.edit_tensors(TRUNK, |tensors| {
                    *tensors.get_mut(QUERY).unwrap() = (Dtype::I8, vec![32, 32], vec![1; 1024]);
                    tensors.insert(format!("{QUERY}_scale"), (Dtype::F32, vec![32], bytes_of(&[-0.1; 32])));
                });
            },
            &[&format!("{QUERY}_scale: found -0.1 at element 0, expected finite scales, 0 or more")],
        ),
        (
            "a scale for a float matrix",
            &|package| {
                package.edit_tensors(TRUNK, |tensors| {
                    tensors.insert(format!("{QUERY}_scale"), (Dtype::F32, vec![32], bytes_of(&[0.1; 32])));
                });
            },
            &[&format!("{QUERY}_scale: found shape [32], expected no such tensor")],
        ),
        (
            "int8 bias",
            &|package| {
                package.edit_tensors(TRUNK, |tensors| {
                    *tensors.get_mut("embeddings.LayerNorm.bias").unwrap() = (Dtype::I8, vec![32], vec![1; 32]);
                });
            },
            &["embeddings.LayerNorm.bias: found dtype I8 with shape [32], expected I8 for matrices only"],
        ),
        (
            "another weight: the answers are not those of the reference",
            &|package| set(package, QUERY, 0, 3.0),
            &["parity.json: texts[0].embedding: found a largest difference of ", "expected at most 0.0001"],
        ),
    ]);
}

#[test]
fn finite_weights_that_overflow_inside_the_encoder() {
    for suffix in ["LayerNorm.weight", "query.weight", "dense.weight", "word_embeddings.weight"] {
        let scale = |package: &Package| {
            package.edit_tensors(TRUNK, |tensors| {
                for (_, tensor) in tensors.iter_mut().filter(|(name, _)| name.ends_with(suffix)) {
                    let largest = floats_of(&tensor.2).iter().fold(0.0f32, |most, value| most.max(value.abs()));
                    tensor.2 = bytes_of(&floats_of(&tensor.2).iter().map(|value| value / largest * 1e38).collect::<Vec<_>>());
                }
            });
        };
        check(&[(
            suffix,
            &scale,
            &["model.safetensors: found ", "a number that is not finite", "expected finite answers for the parity texts"],
        )]);
    }
    let scale_head = |package: &Package| {
        let embedding = package.read_json(PARITY)["texts"][0]["embedding"].clone();
        let sign = |value: &serde_json::Value| 3e38f32.copysign(value.as_f64().unwrap() as f32);
        let row: Vec<f32> = embedding.as_array().unwrap().iter().map(sign).collect();
        package.edit_tensors(HEAD_WEIGHTS, |tensors| tensors.get_mut("intent.weight").unwrap().2 = bytes_of(&row.repeat(4)));
    };
    check(&[("a head", &scale_head, &["head intent gave a number that is not finite"])]);
}

#[test]
fn config_json_that_is_wrong() {
    let set = |package: &Package, key: &str, value: serde_json::Value| package.edit_json(CONFIG, |config| config[key] = value);
    check(&[
        (
            "activation",
            &|p| set(p, "hidden_act", json!("gelu_new")),
            &[r#"config.json: hidden_act: found "gelu_new", expected "gelu" or "relu""#],
        ),
        ("unknown key", &|p| set(p, "rope_theta", json!(1)), &["config.json: rope_theta: found 1, expected no such key"]),
        ("family", &|p| set(p, "model_type", json!("t5")), &[r#"config.json: model_type: found "t5", expected "bert""#]),
        ("positions", &|p| set(p, "position_embedding_type", json!("relative_key")), &["position_embedding_type: found \"relative_key\""]),
        (
            "missing key",
            &|p| p.edit_json(CONFIG, |config| drop(config.as_object_mut().unwrap().remove("num_hidden_layers"))),
            &["config.json: num_hidden_layers: found nothing, expected a whole number"],
        ),
        (
            "two faults at once",
            &|p| {
                set(p, "hidden_act", json!("tanh"));
                set(p, "layer_norm_eps", json!("x"));
            },
            &["hidden_act: found \"tanh\"", "layer_norm_eps: found \"x\", expected a number above 0"],
        ),
        (
            "vocabulary one larger",
            &|p| set(p, "vocab_size", json!(215)),
            &["model.safetensors: embeddings.word_embeddings.weight: found shape [214, 32], expected shape [215, 32]"],
        ),
        (
            "vocabulary one smaller",
            &|p| set(p, "vocab_size", json!(213)),
            &["tokenizer.json: model.vocab: found 214 entries", "expected 213 entries"],
        ),
        ("fewer layers", &|p| set(p, "num_hidden_layers", json!(1)), &["model.safetensors: encoder.layer.1.", "expected no such tensor"]),
        ("more layers", &|p| set(p, "num_hidden_layers", json!(3)), &["model.safetensors: encoder.layer.2.", "found nothing"]),
        (
            "heads do not divide",
            &|p| set(p, "num_attention_heads", json!(5)),
            &["num_attention_heads: found 5, expected a divisor of hidden_size 32"],
        ),
        (
            "another number of heads",
            &|p| set(p, "num_attention_heads", json!(8)),
            &["parity.json: texts[0].embedding: found a largest difference"],
        ),
        ("another activation", &|p| set(p, "hidden_act", json!("relu")), &["parity.json: texts[0].embedding: found a largest difference"]),
        ("zero", &|p| set(p, "hidden_size", json!(0)), &["hidden_size: found 0, expected a whole number in 1..=1048576"]),
        ("negative", &|p| set(p, "intermediate_size", json!(-64)), &["intermediate_size: found -64, expected a whole number"]),
        ("fraction", &|p| set(p, "type_vocab_size", json!(1.5)), &["type_vocab_size: found 1.5, expected a whole number"]),
        ("larger than memory", &|p| set(p, "hidden_size", json!(u64::MAX)), &["hidden_size: found 18446744073709551615"]),
        ("largest that is taken", &|p| set(p, "hidden_size", json!(1 << 20)), &["expected shape [", "1048576"]),
        ("pad", &|p| set(p, "pad_token_id", json!(214)), &["pad_token_id: found 214, expected an id below vocab_size 214"]),
        ("not an object", &|p| p.write(CONFIG, "[1]"), &["config.json: found ", "expected a JSON object"]),
        ("not UTF-8", &|p| p.write(CONFIG, b"{\"model_type\": \"\xff\"}"), &["config.json: found ", "expected a JSON object"]),
    ]);
}

/// A million layers, which the bound of sizes allows, make sixteen million missing tensors; these make a sixteenth of that.
#[test]
fn the_number_of_layers_does_not_become_a_number_of_faults() {
    let place = Place::new();
    let package = place.package("layers", TINY);
    package.edit_json(CONFIG, |config| config["num_hidden_layers"] = json!(1 << 16));
    let run = load(&place, &package);
    run.failure(&["config.json: num_hidden_layers: found 65536, expected a whole number in 1..=256"]);
    assert!(run.stderr.len() < 64 << 10, "a message of {} bytes helps nobody", run.stderr.len());
}

#[test]
fn tokenizers_that_are_wrong() {
    let padding = json!({"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    let truncation = json!({"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0});
    check(&[
        (
            "of another model",
            &|p| p.write(TOKENIZER, std::fs::read(format!("{SHIPPED}/tokenizer.json")).unwrap()),
            &["tokenizer.json: model.vocab: found 30522 entries, largest id 30521, expected 214 entries"],
        ),
        (
            "pads",
            &|p| p.edit_json(TOKENIZER, |t| t["padding"] = padding.clone()),
            &["tokenizer.json: padding: found a setting, expected null"],
        ),
        (
            "cuts",
            &|p| p.edit_json(TOKENIZER, |t| t["truncation"] = truncation.clone()),
            &["tokenizer.json: truncation: found a setting, expected null"],
        ),
        ("not JSON", &|p| p.write(TOKENIZER, "not JSON"), &["tokenizer.json: found ", "expected a Hugging Face tokenizer"]),
        ("another JSON", &|p| p.write(TOKENIZER, "{}"), &["tokenizer.json: found ", "expected a Hugging Face tokenizer"]),
        ("unknown model", &|p| p.edit_json(TOKENIZER, |t| t["model"]["type"] = json!("Guess")), &["tokenizer.json: found "]),
        (
            "no unknown token",
            &|p| p.edit_json(TOKENIZER, |t| t["model"]["unk_token"] = json!("[NONE]")),
            &["tokenizer.json: model.unk_token: found ", "expected a token for unknown words"],
        ),
        (
            "an id beyond the table",
            &|p| {
                p.edit_json(TOKENIZER, |t| {
                    let vocabulary = t["model"]["vocab"].as_object_mut().unwrap();
                    vocabulary["your"] = json!(214);
                });
            },
            &["tokenizer.json: model.vocab: found 214 entries, largest id 214, expected 214 entries"],
        ),
        (
            "other special tokens",
            &|p| p.edit_json(TOKENIZER, |t| t["post_processor"] = json!(null)),
            &["parity.json: texts[0].input_ids: found [197, 142, 151, 170, 35], expected [2, 197, 142, 151, 170, 35, 3]"],
        ),
        (
            "upper case kept",
            &|p| p.edit_json(TOKENIZER, |t| t["normalizer"]["lowercase"] = json!(false)),
            &["parity.json: texts[0].input_ids: found [", "expected [2, 197, 142, 151, 170, 35, 3]"],
        ),
        (
            "two words exchanged",
            &|p| {
                p.edit_json(TOKENIZER, |t| {
                    let vocabulary = t["model"]["vocab"].as_object_mut().unwrap();
                    vocabulary["refund"] = json!(171);
                    vocabulary["real"] = json!(170);
                });
            },
            &["parity.json: texts[0].input_ids: found [2, 197, 142, 151, 171, 35, 3], expected [2, 197, 142, 151, 170, 35, 3]"],
        ),
        (
            "a special token beyond the table",
            &|p| p.edit_json(TOKENIZER, |t| t["post_processor"]["special_tokens"]["[CLS]"]["ids"] = json!([9999])),
            &["9999"],
        ),
    ]);
}

#[test]
fn heads_json_that_is_wrong() {
    let set = |package: &Package, head: usize, key: &str, value: serde_json::Value| {
        package.edit_json(HEADS, |heads| heads["heads"][head][key] = value)
    };
    check(&[
        (
            "unknown key",
            &|p| p.edit_json(HEADS, |h| h["surprise"] = json!(1)),
            &["heads.json: found unknown field `surprise`", "docs/model-package.md"],
        ),
        ("unknown key of a head", &|p| set(p, 0, "surprise", json!(1)), &["heads.json: found unknown field `surprise`"]),
        (
            "unknown key of the scope",
            &|p| p.edit_json(HEADS, |h| h["heads"][2]["scope"]["x"] = json!(1)),
            &["heads.json: found unknown field `x`"],
        ),
        ("missing key", &|p| p.replace(HEADS, "\"format\": 1,", ""), &["heads.json: found missing field `format`"]),
        ("format", &|p| p.edit_json(HEADS, |h| h["format"] = json!(2)), &["heads.json: format: found 2, expected 1"]),
        ("kind", &|p| set(p, 0, "kind", json!("guess")), &["heads.json: found unknown variant `guess`"]),
        ("pooling", &|p| p.edit_json(HEADS, |h| h["embedding"]["pooling"] = json!("max")), &["heads.json: found unknown variant `max`"]),
        (
            "same name",
            &|p| set(p, 3, "name", json!("intent")),
            &["heads.json: heads[3].name: found \"intent\" twice, expected each head once"],
        ),
        (
            "another name",
            &|p| set(p, 2, "name", json!("intention")),
            &[
                "heads.safetensors: intention.weight: found nothing",
                "heads.safetensors: intent.weight: found shape [4, 32], expected no such tensor",
            ],
        ),
        (
            "one label too few",
            &|p| set(p, 0, "labels", json!(["negative", "positive"])),
            &[
                "heads.json: heads[0].bias: found 3 values, expected 2, one a label",
                "heads.safetensors: sentiment.weight: found shape [3, 32], expected shape [2, 32]",
            ],
        ),
        ("one label", &|p| set(p, 0, "labels", json!(["a"])), &["heads.json: heads[0].labels: found 1 labels, expected 2 to 10000"]),
        ("no label", &|p| set(p, 1, "labels", json!([])), &["heads.json: heads[1].labels: found 0 labels, expected 1 to 10000"]),
        (
            "label twice",
            &|p| set(p, 0, "labels", json!(["a", "b", "a"])),
            &["heads.json: heads[0].labels: found \"a\" twice, expected each label once"],
        ),
        (
            "temperatures",
            &|p| set(p, 0, "temperature", json!([1.0, 1.0])),
            &["heads.json: heads[0].temperature: found 2 values, expected 1 or 3"],
        ),
        (
            "temperature 0",
            &|p| set(p, 0, "temperature", json!([0.0])),
            &["heads.json: heads[0].temperature: found 0, expected numbers above 0"],
        ),
        (
            "negative temperature",
            &|p| set(p, 0, "temperature", json!([-1.0])),
            &["heads[0].temperature: found -1, expected numbers above 0"],
        ),
        ("NaN", &|p| p.replace(HEADS, "1.25", "NaN"), &["heads.json: found ", "expected the keys of docs/model-package.md"]),
        ("beyond f64", &|p| p.replace(HEADS, "1.25", "1e400"), &["heads.json: found number out of range"]),
        (
            "temperature beyond f32",
            &|p| p.replace(HEADS, "1.25", "1e39"),
            &["heads.json: heads[0].temperature: found inf, expected numbers above 0"],
        ),
        (
            "bias beyond f32",
            &|p| set(p, 2, "bias", json!([0.0, -1e39, 0.0, 0.0])),
            &["heads.json: heads[2].bias: found -inf, expected finite numbers"],
        ),
        (
            "prior beyond f32",
            &|p| set(p, 2, "priors", json!([0.1, 1e39, 0.1, 0.1])),
            &["heads.json: heads[2].priors: found inf, expected finite numbers"],
        ),
        ("threshold beyond f32", &|p| set(p, 1, "thresholds", json!([1e39, 0.5])), &["heads.json: heads[1].thresholds: found inf"]),
        ("thresholds", &|p| set(p, 1, "thresholds", json!([0.5])), &["heads.json: heads[1].thresholds: found 1 values, expected 2"]),
        (
            "thresholds of a single label",
            &|p| set(p, 0, "thresholds", json!([0.5])),
            &["heads.json: heads[0].thresholds: found 1 values, expected 0"],
        ),
        ("text for a number", &|p| set(p, 0, "bias", json!(["0.1", 0, 0])), &["heads.json: found invalid type: string"]),
        (
            "window_max",
            &|p| set(p, 2, "window_max", json!(["legal"])),
            &["heads.json: heads[2].window_max: found \"legal\", expected labels of this head"],
        ),
        (
            "out-of-scope label",
            &|p| p.edit_json(HEADS, |h| h["heads"][2]["scope"]["out_of_scope_label"] = json!("other")),
            &["heads.json: heads[2].scope.out_of_scope_label: found \"other\", expected a label of this head"],
        ),
        (
            "scope weights",
            &|p| p.edit_json(HEADS, |h| h["heads"][2]["scope"]["weights"] = json!([1.0, 0.5])),
            &["heads.json: heads[2].scope.weights: found [1.0, 0.5], expected 3 finite numbers"],
        ),
        (
            "window longer than the table",
            &|p| p.edit_json(HEADS, |h| h["max_seq_len"] = json!(65)),
            &["heads.json: max_seq_len: found 65, expected 3 to 64"],
        ),
        (
            "window without room",
            &|p| p.edit_json(HEADS, |h| h["max_seq_len"] = json!(2)),
            &["heads.json: max_seq_len: found 2, expected 3 to 64"],
        ),
        (
            "layer beyond the trunk",
            &|p| set(p, 0, "layer", json!(3)),
            &["heads.json: heads[0].layer: found 3, expected 1 to 2, the layers of the trunk"],
        ),
        ("layer 0", &|p| set(p, 3, "layer", json!(0)), &["heads.json: heads[3].layer: found 0, expected 1 to 2, the layers of the trunk"]),
        (
            "another layer",
            &|p| set(p, 0, "layer", json!(1)),
            &["parity.json: texts[0].probabilities.sentiment: found a largest difference of "],
        ),
        ("negative window", &|p| p.edit_json(HEADS, |h| h["max_seq_len"] = json!(-1)), &["heads.json: found invalid value: integer `-1`"]),
        (
            "language weights",
            &|p| p.edit_json(HEADS, |h| h["language"] = json!({"languages": ["en"], "weights": [1.0], "bias": 0.0, "threshold": 0.5})),
            &["heads.json: language.weights: found [1.0], expected 8 finite numbers"],
        ),
        (
            "language threshold",
            &|p| {
                p.edit_json(HEADS, |h| {
                    h["language"] = json!({"languages": ["en"], "weights": [0, 0, 0, 0, 0, 0, 0, 0], "bias": 0.0, "threshold": 1.5})
                })
            },
            &["heads.json: language.threshold: found 1.5, expected a number in 0..=1"],
        ),
        (
            "examples weights",
            &|p| p.edit_json(HEADS, |h| h["examples"] = json!({"weights": [1.0], "bias": 0.0, "prior": 0.1})),
            &["heads.json: examples.weights: found [1.0], expected 4 finite numbers"],
        ),
        (
            "another calibration",
            &|p| set(p, 0, "temperature", json!([2.5])),
            &["parity.json: texts[0].probabilities.sentiment: found a largest difference of ", "expected at most 0.001"],
        ),
    ]);
}

/// What `parity.json` does not see (scope, guard), and what it sees too late, must not panic on numbers that are finite each and overflow together.
#[test]
fn finite_parameters_that_overflow_are_refused_or_give_an_error() {
    let large = json!([3e38, -3e38, 3e38, -3e38, 3e38, -3e38, 3e38, -3e38]);
    let scope = |package: &Package, weights: [f32; 3]| package.edit_json(HEADS, |h| h["heads"][2]["scope"]["weights"] = json!(weights));
    let pair = |package: &Package| {
        package.edit_tensors(HEAD_WEIGHTS, |tensors| tensors.get_mut("act.weight").unwrap().2 = bytes_of(&[3e38; 3 * 128]));
    };
    let language = json!({"languages": ["en"], "weights": large, "bias": 3e38, "threshold": 0.5});
    let cases: [(&str, Break<'_>); 7] = [
        ("temperature of a pair head", &|p| p.edit_json(HEADS, |h| h["heads"][3]["temperature"] = json!([1e-40]))),
        ("weights of a pair head", &pair),
        ("language", &|p| p.edit_json(HEADS, |h| h["language"] = language.clone())),
        ("scope ++-", &|p| scope(p, [3e38, 3e38, -3e38])),
        ("scope +-+", &|p| scope(p, [3e38, -3e38, 3e38])),
        ("scope -++", &|p| scope(p, [-3e38, 3e38, 3e38])),
        ("scope +++", &|p| scope(p, [3e38, 3e38, 3e38])),
    ];
    each_case(cases, |break_it| {
        let place = Place::new();
        let package = place.package("broken", TINY);
        break_it(&package);
        let messages =
            ["yes please, why not a refund", "hello", "thanks", "my lawyer will sue you", "the card", "no", "Where is my order?"];
        let command = ["score", "--json", "--model", package.path(), "--proposal", "Can I send a new card to you?"];
        let run = place.baton(&[&command[..], &messages[..]].concat());
        assert!(run.code == Some(0) || (run.code == Some(2) && run.stderr.contains("finite")), "{run:?}");
    });
}

#[test]
fn head_weights_that_are_wrong() {
    check(&[
        (
            "missing",
            &|p| p.remove(HEAD_WEIGHTS),
            &[
                "heads.safetensors: sentiment.weight: found nothing, expected a tensor of shape [3, 32]",
                "heads.safetensors: act.bias: found nothing, expected a tensor of shape [3]",
            ],
        ),
        (
            "one too few",
            &|p| p.edit_tensors(HEAD_WEIGHTS, |tensors| drop(tensors.remove("act.weight"))),
            &["heads.safetensors: act.weight: found nothing, expected a tensor of shape [3, 128]"],
        ),
        (
            "one too many",
            &|p| p.edit_tensors(HEAD_WEIGHTS, |tensors| drop(tensors.insert("x.bias".into(), (Dtype::F32, vec![1], vec![0; 4])))),
            &["heads.safetensors: x.bias: found shape [1], expected no such tensor"],
        ),
        (
            "of a message for a pair",
            &|p| p.edit_tensors(HEAD_WEIGHTS, |tensors| *tensors.get_mut("act.weight").unwrap() = (Dtype::F32, vec![3, 32], vec![0; 384])),
            &["heads.safetensors: act.weight: found shape [3, 32], expected shape [3, 128]"],
        ),
        (
            "NaN",
            &|p| p.edit_tensors(HEAD_WEIGHTS, |tensors| tensors.get_mut("act.bias").unwrap().2 = bytes_of(&[0.0, f32::NAN, 0.0])),
            &["heads.safetensors: act.bias: found NaN at element 1, expected finite numbers"],
        ),
    ]);
}

#[test]
fn parity_json_that_is_wrong() {
    let text = |package: &Package, edit: &dyn Fn(&mut serde_json::Value)| package.edit_json(PARITY, |parity| edit(&mut parity["texts"][0]));
    check(&[
        (
            "an id",
            &|p| text(p, &|t| t["input_ids"][1] = json!(5)),
            &["parity.json: texts[0].input_ids: found [2, 197, 142,", "expected [2, 5, 142,"],
        ),
        ("an id that is none", &|p| text(p, &|t| t["input_ids"][1] = json!(-5)), &["parity.json: found invalid value: integer `-5`"]),
        (
            "a vector",
            &|p| text(p, &|t| t["embedding"][3] = json!(0.5)),
            &["parity.json: texts[0].embedding: found a largest difference of 0.46", "expected at most 0.0001"],
        ),
        (
            "a vector beyond f32",
            &|p| text(p, &|t| t["embedding"][3] = json!(1e39)),
            &["parity.json: texts[0].embedding: found a largest difference of inf"],
        ),
        (
            "a shorter vector",
            &|p| text(p, &|t| t["embedding"] = json!([0.5])),
            &["parity.json: texts[0].embedding: found another number of values"],
        ),
        (
            "a probability",
            &|p| text(p, &|t| t["probabilities"]["intent"][0] = json!(0.3)),
            &["parity.json: texts[0].probabilities.intent: found a largest difference of 0.05", "expected at most 0.001"],
        ),
        (
            "a head less",
            &|p| text(p, &|t| drop(t["probabilities"].as_object_mut().unwrap().remove("intent"))),
            &["parity.json: texts[0].probabilities.intent: found another number of values"],
        ),
        ("another text", &|p| text(p, &|t| t["text"] = json!("where is my bot?")), &["parity.json: texts[0].input_ids: found "]),
        (
            "a late text",
            &|p| p.edit_json(PARITY, |f| f["texts"][14]["embedding"][0] = json!(0.9)),
            &["parity.json: texts[14].embedding: found "],
        ),
        ("no texts", &|p| p.edit_json(PARITY, |f| f["texts"] = json!([])), &["parity.json: texts: found 0 texts, expected 1 to 256"]),
        (
            "too many texts",
            &|p| p.edit_json(PARITY, |f| f["texts"] = std::iter::repeat_n(f["texts"][0].clone(), 257).collect()),
            &["parity.json: texts: found 257 texts, expected 1 to 256"],
        ),
        ("unknown key", &|p| text(p, &|t| t["surprise"] = json!(1)), &["parity.json: found unknown field `surprise`"]),
        (
            "no pair for a head that reads two turns",
            &|p| p.edit_json(PARITY, |f| drop(f.as_object_mut().unwrap().remove("pairs"))),
            &["parity.json: pairs: found no pair, expected at least one: head \"act\" reads two turns"],
        ),
        (
            "a pair that proves nothing",
            &|p| p.edit_json(PARITY, |f| f["pairs"] = json!([{"text": "", "previous": "", "probabilities": {}}])),
            &["parity.json: pairs[0]: found a turn without a token, expected a message and the turn before it"],
        ),
        (
            "turns exchanged",
            &|p| {
                p.edit_json(PARITY, |f| {
                    (f["pairs"][0]["text"], f["pairs"][0]["previous"]) = (f["pairs"][0]["previous"].clone(), f["pairs"][0]["text"].clone())
                })
            },
            &["parity.json: pairs[0].probabilities.act: found a largest difference of "],
        ),
        (
            "a head of messages among the pairs",
            &|p| p.edit_json(PARITY, |f| f["pairs"][0]["probabilities"]["intent"] = json!([0.5, 0.5])),
            &["parity.json: pairs[0].probabilities.intent: found a head, expected one of those that read both turns: [\"act\"]"],
        ),
        (
            "too many pairs",
            &|p| p.edit_json(PARITY, |f| f["pairs"] = std::iter::repeat_n(f["pairs"][0].clone(), 257).collect()),
            &["parity.json: pairs: found 257 pairs, expected 0 to 256"],
        ),
        ("format", &|p| p.edit_json(PARITY, |f| f["format"] = json!(2)), &["parity.json: format: found 2, expected 1"]),
        (
            "missing key",
            &|p| text(p, &|t| drop(t.as_object_mut().unwrap().remove("embedding"))),
            &["parity.json: found missing field `embedding`"],
        ),
    ]);
}

/// What Baton does not know stops loading (docs/model-package.md).
#[test]
fn parity_json_with_a_head_that_the_package_lacks() {
    let add = |package: &Package| package.edit_json(PARITY, |parity| parity["texts"][0]["probabilities"]["ghost"] = json!([0.5, 0.5]));
    check(&[("a head more", &add, &["parity.json: texts[0].probabilities.ghost: "])]);
}

/// Bounds must hold before anything is compared with everything.
#[test]
fn a_million_labels_are_refused_at_once() {
    let place = Place::new();
    let package = place.package("labels", TINY);
    let labels: Vec<String> = (0..1_000_000).map(|label| format!("label {label}")).collect();
    package.edit_json(HEADS, |heads| heads["heads"][0]["labels"] = json!(labels));
    let run = load(&place, &package);
    run.failure(&["heads.json: heads[0].labels: found 1000000 labels, expected 2 to 10000"]);
}

/// Files that claim nothing wrong, one after the other: every byte of the small files flipped may be refused or harmless, never a panic.
#[test]
fn a_flipped_bit_is_refused_or_harmless() {
    let place = Place::new();
    let package = place.package("flipped", TINY);
    for name in [CONFIG, TOKENIZER, TRUNK, HEADS, HEAD_WEIGHTS, PARITY] {
        let whole = package.read(name);
        for step in 0..12 {
            let mut bytes = whole.clone();
            let at = (step * whole.len() / 12 + 7 * step) % whole.len();
            bytes[at] ^= 1 << (step % 8);
            package.write(name, &bytes);
            let run = load(&place, &package);
            assert!(matches!(run.code, Some(0 | 2)), "{name}: byte {at}: {run:?}");
        }
        package.write(name, &whole);
    }
    load(&place, &package).success();
}
