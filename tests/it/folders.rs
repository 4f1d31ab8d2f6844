//! Folders in the Hugging Face layout, as an operator brings them: checked, served, imported, calibrated.
//!
//! `tests/data/families/NAME` are classifiers that the reference library saved, with its answers beside them; the other forms of the same folder (shards, older
//! vocabularies) are made of them here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use baton::model::encoder::EngineChoice;
use baton::model::encoder::candle::Device;
use baton::model::load;
use baton::model::scorer::Scorer;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};

use crate::support::{PLANTED, Package, Place, Tensor, bytes_of, each_case, floats_of};

const FAMILIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/families");
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const TOKENIZER: &str = "tokenizer.json";

const SENTIMENT: &str = "head = \"sentiment\"\n";
const TWO: &str = "head = \"sentiment\"\n[labels]\nNEGATIVE = \"negative\"\nPOSITIVE = \"positive\"\n";
const OWN: &str = "head = \"topic\"\n";

/// Family, label map, what its engine is, and how its tokenizer is cut for the older form.
const SERVED: [(&str, &str, &str); 7] = [
    ("bert", SENTIMENT, "w8a16"),
    ("roberta", SENTIMENT, "w8a16"),
    ("xlm-roberta", SENTIMENT, "w8a16"),
    ("distilbert", TWO, "w8a16"),
    ("deberta-v3", OWN, "candle-f32"),
    ("deberta-v2", SENTIMENT, "candle-f32"),
    ("modernbert", OWN, "candle-f32"),
];

/// A copy of a family's folder with a label map.
fn brought(place: &Place, family: &str, map: &str) -> Package {
    let package = place.package(family, &format!("{FAMILIES}/{family}"));
    package.remove("reference.json");
    package.write("baton.toml", map);
    package
}

fn load(package: &Package, engine: EngineChoice) -> Result<Scorer, String> {
    load::load_on(Path::new(package.path()), &Device::Cpu, engine).map_err(|error| error.to_string())
}

/// Texts with their ids and logits, by the reference library.
fn reference(family: &str) -> Vec<(String, Vec<u32>, Vec<f32>)> {
    let file: Value = serde_json::from_slice(&fs::read(format!("{FAMILIES}/{family}/reference.json")).unwrap()).unwrap();
    let numbers = |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect::<Vec<f64>>();
    let text = |text: &Value| {
        let ids = numbers(&text["input_ids"]).into_iter().map(|id| id as u32).collect();
        (text["text"].as_str().unwrap().to_owned(), ids, numbers(&text["logits"]).into_iter().map(|z| z as f32).collect())
    };
    file["texts"].as_array().unwrap().iter().map(text).collect()
}

/// What the library's pipeline makes of logits.
fn expected_probabilities(logits: &[f32], multi_label: bool) -> Vec<f32> {
    if multi_label {
        return logits.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
    }
    let sum: f32 = logits.iter().map(|z| z.exp()).sum();
    logits.iter().map(|z| z.exp() / sum).collect()
}

/// Ids and probabilities of every reference text, as the library has them.
fn agrees(scorer: &Scorer, family: &str, tolerance: f32) {
    let multi_label = family == "modernbert";
    for (text, ids, logits) in reference(family) {
        let found = scorer.reference(&text).unwrap();
        assert_eq!(found.input_ids, ids, "{family}: {text}");
        let expected = expected_probabilities(&logits, multi_label);
        for (p, expected) in found.probabilities[0].1.iter().zip(&expected) {
            assert!((p - expected).abs() <= tolerance, "{family}: {text}: {:?}, not {expected:?}", found.probabilities[0].1);
        }
    }
}

#[test]
fn every_family_is_served_as_the_reference_library_answers() {
    each_case(SERVED.iter().map(|case| (case.0, case)), |(family, map, engine)| {
        let place = Place::new();
        let package = brought(&place, family, map);
        let by_candle = load(&package, EngineChoice::Candle).unwrap();
        agrees(&by_candle, family, 1e-4);
        assert!(by_candle.engine().starts_with("candle-f32 on cpu (no reference answers"), "{}", by_candle.engine());
        let by_itself = load(&package, EngineChoice::Auto).unwrap();
        assert!(by_itself.engine().starts_with(engine), "{}", by_itself.engine());
        agrees(&by_itself, family, if *engine == "w8a16" { 0.05 } else { 1e-4 });
        assert_ne!(by_itself.digest(), "");
        assert_eq!(by_itself.digest(), by_candle.digest(), "the digest is that of the files");
        assert_eq!(by_itself.trunk_digest() == by_candle.trunk_digest(), *engine != "w8a16", "vectors depend on the engine");
    });
}

#[test]
fn check_tells_how_a_folder_is_served() {
    let place = Place::new();
    let package = brought(&place, "distilbert", TWO);
    let run = place.baton(&["models", "check", package.path(), "--json"]);
    let told = run.json();
    assert_eq!(
        (&told["serves"], &told["layout"], &told["head"], &told["kind"]),
        (&json!(true), &json!("hugging_face"), &json!("sentiment"), &json!("single_label"))
    );
    assert_eq!(told["labels"], json!({"NEGATIVE": "negative", "POSITIVE": "positive"}));
    assert_eq!((&told["max_seq_len"], &told["windows_max"], &told["tokenizer"]), (&json!(64), &json!(8), &json!("tokenizer.json")));
    assert!(told["engine"].as_str().unwrap().starts_with("w8a16-"), "{told}");
    assert!(told["family"].as_str().unwrap().starts_with("distilbert, 2 layers of 32"), "{told}");
    let table = place.baton(&["models", "check", package.path()]);
    for words in ["NEGATIVE → negative", "tokenizer.json", "64 tokens, at most 8 of a text", "MB of weights", "serves", "yes"] {
        assert!(table.success().contains(words), "{words}: {}", table.stdout);
    }
    // The shipped package as well.
    let shipped = place.baton(&["models", "check", crate::support::TINY, "--json"]).json();
    assert_eq!((&shipped["serves"], &shipped["layout"], shipped["heads"].as_array().unwrap().len()), (&json!(true), &json!("package"), 4));
}

#[test]
fn check_tells_every_fault_at_once() {
    let place = Place::new();
    let package = brought(&place, "distilbert", "head = \"sentiment\"\n[labels]\nNEGATIVE = \"negative\"\nGOOD = \"positive\"\n");
    package.edit_json("config.json", |config| config["activation"] = json!("silu"));
    package.remove(TOKENIZER);
    package.edit_tensors(WEIGHTS, |tensors| drop(tensors.remove("pre_classifier.weight")));
    let run = place.baton(&["models", "check", package.path(), "--json"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let told: Value = serde_json::from_str(&run.stdout).unwrap();
    let faults: Vec<String> =
        told["faults"].as_array().unwrap().iter().map(|f| format!("{}: {}: {}", f["file"], f["key"], f["found"])).collect();
    for expected in ["activation", "NEGATIVE", "GOOD", "POSITIVE", "tokenizer.json", "pre_classifier.weight"] {
        let expected_here = expected != "NEGATIVE";
        assert_eq!(faults.iter().any(|fault| fault.contains(expected)), expected_here, "{expected}: {faults:#?}");
    }
    let table = place.baton(&["models", "check", package.path()]);
    assert_eq!(table.code, Some(1));
    assert!(table.stdout.contains("no: ") && table.stdout.contains("vocab.txt"), "{}", table.stdout);
    let nowhere = place.baton(&["models", "check", "nowhere"]);
    assert_eq!((nowhere.code, nowhere.stdout.contains("no such folder")), (Some(1), true), "{}", nowhere.stdout);
}

#[test]
fn a_map_that_does_not_fit_stops_serving_and_names_it() {
    let cases: [(&str, &str, &[&str]); 6] = [
        (
            "left over",
            "head = \"sentiment\"\n[labels]\nNEGATIVE = \"negative\"\n",
            &["baton.toml: labels.\"POSITIVE\": found nothing for this label of the model"],
        ),
        (
            "lacking",
            "head = \"sentiment\"\n[labels]\nNEGATIVE = \"negative\"\nPOSITIVE = \"positive\"\nNEUTRAL = \"neutral\"\n",
            &["labels.\"NEUTRAL\": found a label that the model lacks"],
        ),
        (
            "unknown",
            "head = \"sentiment\"\n[labels]\nNEGATIVE = \"bad\"\nPOSITIVE = \"positive\"\n",
            &["labels: found \"bad\", expected for the head \"sentiment\" one of negative, neutral, positive"],
        ),
        (
            "two onto one",
            "head = \"sentiment\"\n[labels]\nNEGATIVE = \"negative\"\nPOSITIVE = \"negative\"\n",
            &["labels: found no label for \"positive\""],
        ),
        (
            "emotion by softmax",
            "head = \"emotion\"\n[labels]\nNEGATIVE = \"anger\"\nPOSITIVE = \"joy\"\n",
            &["head: found \"emotion\", expected another name"],
        ),
        ("ignored", "head = \"mood\"\nignore = [\"NEGATIVE\"]\n", &["ignore: found 1 labels, expected no label: they exclude each other"]),
    ];
    each_case(cases.iter().map(|case| (case.0, case)), |(_, map, expected)| {
        let place = Place::new();
        let package = brought(&place, "distilbert", map);
        place.baton(&["score", "--model", package.path(), &format!("hello {PLANTED}")]).failure(expected);
    });
    let place = Place::new();
    let package = brought(&place, "distilbert", TWO);
    package.remove("baton.toml");
    place
        .baton(&["score", "--model", package.path(), "hello"])
        .failure(&["baton.toml: found no such file, expected what the labels of the model mean", "--labels FILE"]);
    place.write("map.toml", TWO);
    let scored = place.baton(&["score", "--json", "--model", package.path(), "--labels", "map.toml", "hello"]).json();
    assert!(scored["sentiment"]["probabilities"]["negative"].is_number(), "{scored}");
    // Where there are two classes, nothing is said of a third; the valence is there.
    assert_eq!(scored["sentiment"]["probabilities"].get("neutral"), None);
    assert!(scored["sentiment"]["valence"].is_number());
    place
        .baton(&["score", "--model", crate::support::TINY, "--labels", "map.toml", "hello"])
        .failure(&["expected no label map: a package names its labels in heads.json"]);
}

#[test]
fn several_labels_of_a_softmax_may_mean_one() {
    let place = Place::new();
    let stars = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"];
    let map = "head = \"sentiment\"\n[labels]\n\"1 star\" = \"negative\"\n\"2 stars\" = \"negative\"\n\"3 stars\" = \"neutral\"\n\"4 stars\" = \"positive\"\n\"5 stars\" = \"positive\"\n";
    let rated = place.classifier("stars", &stars, map);
    let own = place.classifier("own", &stars, "head = \"stars\"\n");
    let (rated, own) = (load(&rated, EngineChoice::Candle).unwrap(), load(&own, EngineChoice::Candle).unwrap());
    for text in ["Where is my refund?", "thank you", "I am angry"] {
        let (sums, each) =
            (rated.reference(text).unwrap().probabilities.remove(0).1, own.reference(text).unwrap().probabilities.remove(0).1);
        let expected = [each[0] + each[1], each[2], each[3] + each[4]];
        assert!(sums.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{sums:?} {each:?}");
    }
}

/// The same tensors in two files with an index.
fn into_shards(package: &Package) {
    let tensors = package.tensors(WEIGHTS);
    package.remove(WEIGHTS);
    let mut map = Map::new();
    for number in 1..=2 {
        let name = format!("model-0000{number}-of-00002.safetensors");
        let part: BTreeMap<&String, &Tensor> =
            tensors.iter().enumerate().filter(|(at, _)| at % 2 + 1 == number).map(|(_, tensor)| tensor).collect();
        part.keys().for_each(|tensor| drop(map.insert((*tensor).clone(), json!(name))));
        let views =
            part.iter().map(|(name, (dtype, shape, bytes))| (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
        package.write(&name, safetensors::serialize(views, None).unwrap());
    }
    package.write(INDEX, json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string());
}

#[test]
fn shards_and_other_number_types_give_the_same_answers() {
    let place = Place::new();
    let sharded = brought(&place, "roberta", SENTIMENT);
    into_shards(&sharded);
    agrees(&load(&sharded, EngineChoice::Candle).unwrap(), "roberta", 1e-4);
    let told = place.baton(&["models", "check", sharded.path(), "--json"]).json();
    assert_eq!(told["weights"]["files"], json!(2));
    let halves = brought(&place, "bert", SENTIMENT);
    halves.edit_tensors(WEIGHTS, |tensors| {
        for (dtype, _, bytes) in tensors.values_mut().filter(|tensor| tensor.0 == Dtype::F32) {
            *bytes = floats_of(bytes).iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()).collect();
            *dtype = Dtype::BF16;
        }
    });
    agrees(&load(&halves, EngineChoice::Candle).unwrap(), "bert", 0.05);
}

#[test]
fn older_vocabularies_give_the_ids_of_the_tokenizer() {
    let ids = |package: &Package, family: &str| {
        let scorer = load(package, EngineChoice::Candle).unwrap();
        for (text, ids, _) in reference(family) {
            assert_eq!(scorer.reference(&text).unwrap().input_ids, ids, "{family}: {text}");
        }
    };
    let vocabulary = |package: &Package| {
        let tokenizer = package.read_json(TOKENIZER);
        package.remove(TOKENIZER);
        let words = tokenizer["model"]["vocab"].as_object().unwrap().clone();
        let mut by_id: Vec<(u64, String)> = words.iter().map(|(word, id)| (id.as_u64().unwrap(), word.clone())).collect();
        let added = tokenizer["added_tokens"].as_array().unwrap().iter();
        by_id.extend(added.map(|token| (token["id"].as_u64().unwrap(), token["content"].as_str().unwrap().to_owned())));
        by_id.sort();
        by_id.dedup();
        (tokenizer, by_id)
    };
    for (family, map, lowercase) in [("bert", SENTIMENT, true), ("distilbert", TWO, false)] {
        let place = Place::new();
        let package = brought(&place, family, map);
        let (_, words) = vocabulary(&package);
        package.write("vocab.txt", words.iter().map(|(_, word)| format!("{word}\n")).collect::<String>());
        package.write(
            "tokenizer_config.json",
            json!({"do_lower_case": lowercase, "model_max_length": 64, "cls_token": {"content": "[CLS]"}}).to_string(),
        );
        ids(&package, family);
        let told = place.baton(&["models", "check", package.path(), "--json"]).json();
        assert_eq!(told["tokenizer"], json!("vocab.txt"), "{told}");
    }
    let place = Place::new();
    let package = brought(&place, "roberta", SENTIMENT);
    let (tokenizer, words) = vocabulary(&package);
    let merges = tokenizer["model"]["merges"].as_array().unwrap().iter();
    let merges: Vec<String> = merges.map(|pair| format!("{} {}\n", pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect();
    package.write(
        "vocab.json",
        words.iter().map(|(id, word)| (word.clone(), json!(id))).collect::<Map<_, _>>().into_iter().collect::<Value>().to_string(),
    );
    package.write("merges.txt", format!("#version: 0.2\n{}", merges.concat()));
    ids(&package, "roberta");
}

#[test]
fn truncation_and_padding_of_training_are_taken_out() {
    let place = Place::new();
    let package = brought(&place, "bert", SENTIMENT);
    package.edit_json(TOKENIZER, |tokenizer| {
        tokenizer["truncation"] = json!({"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0});
        tokenizer["padding"] = json!({"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    });
    agrees(&load(&package, EngineChoice::Candle).unwrap(), "bert", 1e-4);
    package.write("tokenizer_config.json", json!({"do_lower_case": false}).to_string());
    let error = load(&package, EngineChoice::Candle).err().unwrap();
    assert!(
        error.contains("tokenizer_config.json: do_lower_case: found false, expected true, as the normalizer of tokenizer.json says"),
        "{error}"
    );
}

#[test]
fn an_imported_folder_is_a_package() {
    each_case(
        [("bert", SENTIMENT, false), ("distilbert", TWO, true), ("modernbert", OWN, false)].iter().map(|case| (case.0, case)),
        |(family, map, quantize)| {
            let place = Place::new();
            let package = brought(&place, family, map);
            let mut arguments = vec!["models", "import", package.path(), "--out", "pkg", "--json"];
            arguments.extend(quantize.then_some("--quantize"));
            let told = place.baton(&arguments).json();
            assert_eq!((&told["calibration"], told["quantized"].is_null()), (&json!("uncalibrated"), !quantize), "{told}");
            let imported = load::load_on(&place.path("pkg"), &Device::Cpu, EngineChoice::Candle).unwrap();
            agrees(&imported, family, if *quantize { 0.03 } else { 1e-4 });
            assert_eq!(imported.engine(), "candle-f32 on cpu", "it brings its reference answers");
            assert_eq!(imported.heads()[0].spec.trained_on.as_ref().unwrap()["calibration"], json!("uncalibrated"));
            if !quantize {
                let direct = load(&package, EngineChoice::Candle).unwrap();
                assert_eq!(imported.digest(), direct.digest(), "the same files answer the same");
            }
            place.baton(&arguments).failure(&["output folder pkg: exists; name a new one"]);
            assert!(!place.path("pkg.new").exists());
        },
    );
}

#[test]
fn what_cannot_be_imported_leaves_nothing() {
    let place = Place::new();
    let package = brought(&place, "bert", SENTIMENT);
    package.edit_tensors(WEIGHTS, |tensors| tensors.get_mut("classifier.bias").unwrap().2 = bytes_of(&[f32::NAN; 3]));
    place.baton(&["models", "import", package.path(), "--out", "pkg"]).failure(&["classifier.bias: found NaN at element 0"]);
    place.baton(&["models", "import", crate::support::TINY, "--out", "pkg"]).failure(&["found no folder in the Hugging Face layout"]);
    let left: Vec<String> = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with("pkg")), "{left:?}");
}

#[test]
fn a_labelled_file_calibrates() {
    let place = Place::new();
    let package = brought(&place, "bert", SENTIMENT);
    // Labels that have nothing to do with the texts: all that can be known is how many there are of each.
    let mut rows = String::from("text,label\n");
    for number in 0..240 {
        let (what, who) = (["late", "wrong", "good", "here"][number % 4], ["please", "help", "thanks"][number % 3]);
        let label = ["neutral", "negative", "positive"][usize::from(number % 10 > 6) + usize::from(number % 10 > 8)];
        rows += &format!("order {number} is {what} and {who},{label}\n");
    }
    rows += &format!("{},negative\n", "a very long row ".repeat(40));
    place.write("rows.csv", &rows);
    let told = place.baton(&["models", "import", package.path(), "--out", "pkg", "--calibrate", "rows.csv", "--json"]).json();
    let calibration = &told["calibration"];
    assert_eq!((&calibration["rows"], &calibration["left_out"]), (&json!(240), &json!(1)), "{told}");
    let (before, after) = (calibration["log_loss_before"].as_f64().unwrap(), calibration["log_loss_after"].as_f64().unwrap());
    assert!(after < before && calibration["temperature"][0].as_f64().unwrap() > 1.0, "{told}");
    let imported = load::load_on(&place.path("pkg"), &Device::Cpu, EngineChoice::Auto).unwrap();
    let spec = &imported.heads()[0].spec;
    assert_eq!(spec.trained_on.as_ref().unwrap()["calibration"]["rows"], json!(240));
    assert!((spec.priors.iter().sum::<f32>() - 1.0).abs() < 1e-5 && spec.temperature[0] > 1.0);
    // What is no label is told with its line.
    place.write("other.csv", "text,label\nhello,negative\nhello,bad\n");
    let error = place.baton(&["models", "import", package.path(), "--out", "other", "--calibrate", "other.csv"]);
    error.failure(&["other.csv: line 3: found the label \"bad\", expected one of negative, neutral, positive"]);
    place.write("few.csv", "text,label\nhello,negative\nhello,negative\nhi,positive\n");
    place
        .baton(&["models", "import", package.path(), "--out", "few", "--calibrate", "few.csv"])
        .failure(&["label \"neutral\" has 0 row(s), at least 2 are needed"]);
}

#[test]
fn the_labels_of_the_model_and_several_a_row_calibrate_as_well() {
    let place = Place::new();
    let two = brought(&place, "distilbert", TWO);
    let lines = (0..80).map(|n| format!("{{\"body\":\"order {n}\",\"truth\":\"{}\"}}\n", ["NEGATIVE", "POSITIVE"][n % 2]));
    place.write("rows.jsonl", lines.collect::<String>());
    let columns = ["--calibrate", "rows.jsonl", "--text-column", "body", "--label-column", "truth", "--json"];
    let told = place.baton(&[&["models", "import", two.path(), "--out", "two"], &columns[..]].concat()).json();
    assert_eq!(told["calibration"]["rows"], json!(80), "{told}");
    let several = brought(&place, "modernbert", "head = \"topic\"\nignore = [\"thanks\"]\n");
    let rows = |n: usize| format!("order {n},{}\n", ["refund;delivery", "login", "", "thanks;refund", "delivery;login"][n % 5]);
    place.write("rows.csv", format!("text,label\n{}", (0..100).map(rows).collect::<String>()));
    let import = ["models", "import", several.path(), "--out", "several", "--calibrate", "rows.csv"];
    place.baton(&import).failure(&["label-separator: found nothing, expected the character between labels"]);
    let told = place.baton(&[&import[..], &["--label-separator", ";", "--json"]].concat()).json();
    assert_eq!(
        (&told["calibration"]["rows"], &told["heads"][0]["labels"]),
        (&json!(100), &json!(["refund", "delivery", "login"])),
        "{told}"
    );
    let spec = load::load_on(&place.path("several"), &Device::Cpu, EngineChoice::Candle).unwrap().heads()[0].spec.clone();
    assert_eq!((spec.temperature.len(), spec.thresholds.len(), spec.priors), (3, 3, vec![0.4; 3]));
    place
        .baton(&["models", "import", two.path(), "--out", "none", "--calibrate", "rows.csv", "--label-separator", ";"])
        .failure(&["label-separator: the labels of this model exclude each other"]);
}

#[test]
fn a_folder_that_is_served_says_that_it_brought_no_answers() {
    let place = Place::new();
    let package = brought(&place, "roberta", SENTIMENT);
    let run = place.baton(&["score", "--json", "--log-level", "info", "--model", package.path(), "Where is my refund?"]);
    run.success();
    assert!(run.stderr.contains("no reference answers came with the model"), "{}", run.stderr);
}

#[test]
fn pickles_are_refused_and_the_reason_is_told() {
    let place = Place::new();
    let package = brought(&place, "bert", SENTIMENT);
    package.remove(WEIGHTS);
    package.write("pytorch_model.bin", b"\x80\x02");
    let run = place.baton(&["score", "--model", package.path(), "hello"]);
    run.failure(&["pytorch_model.bin: found a PyTorch pickle, which runs code when it is read", "save_pretrained"]);
}
