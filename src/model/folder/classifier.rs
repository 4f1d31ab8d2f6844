//! `config.json` of a classifier → its labels, how they exclude each other, and what stands between the trunk and the logits.
//!
//! In: the file of a Hugging Face folder. Out: [`Classifier`]. What the trunk needs of the same file is read by [`crate::model::config`].
//! The rules are the reference library's: `problem_type` decides between softmax and sigmoid; where it is absent, two labels or more exclude each other. A
//! regression has no labels, and no probabilities either: it is refused. Each family has its own classifier; one table tells them apart.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::config;
use crate::model::fault::Fault;
use crate::model::head::{DenseActivation, DenseSpec, Kind, LABELS_MAX, Pooling};

/// Longest label.
const LABEL_BYTES_MAX: usize = 256;
/// The ending of the class that this program serves.
const CLASS: &str = "ForSequenceClassification";

/// What a folder says of its classifier.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Classifier {
    /// `model_type`.
    pub(super) model_type: String,
    /// In the order of the rows of the last layer.
    pub(super) labels: Vec<String>,
    /// Softmax or sigmoid.
    pub(super) kind: Kind,
    /// Where its weights are.
    pub(super) names: &'static Names,
    /// Which states it reads.
    pub(super) pooling: Pooling,
    /// What comes before the last layer.
    pub(super) dense: DenseSpec,
}

/// Where the classifier of a family has its weights.
#[derive(Debug, PartialEq)]
pub(super) struct Names {
    model_type: &'static str,
    /// Before the names of the trunk.
    pub(super) prefix: &'static str,
    /// The layer before the last.
    pub(super) dense: &'static str,
    /// The norm after it.
    pub(super) norm: Option<&'static str>,
    /// The last layer.
    pub(super) linear: &'static str,
}

const FAMILIES: [Names; 6] = [
    Names { model_type: "bert", prefix: "bert.", dense: "bert.pooler.dense", norm: None, linear: "classifier" },
    Names { model_type: "roberta", prefix: "roberta.", dense: "classifier.dense", norm: None, linear: "classifier.out_proj" },
    Names { model_type: "xlm-roberta", prefix: "roberta.", dense: "classifier.dense", norm: None, linear: "classifier.out_proj" },
    Names { model_type: "distilbert", prefix: "distilbert.", dense: "pre_classifier", norm: None, linear: "classifier" },
    Names { model_type: "deberta-v2", prefix: "deberta.", dense: "pooler.dense", norm: None, linear: "classifier" },
    Names { model_type: "modernbert", prefix: "model.", dense: "head.dense", norm: Some("head.norm"), linear: "classifier" },
];

/// Reads the file; every fault is noted.
pub(super) fn read(config: &Map<String, Value>, faults: &mut Vec<Fault>) -> Option<Classifier> {
    let before = faults.len();
    let mut fault = |key: &str, found: String, expected: String| faults.push(Fault::new(config::FILE, key, found, expected));
    check_class(config, &mut fault);
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let names = FAMILIES.iter().find(|names| names.model_type == model_type);
    let labels = labels(config, &mut fault);
    let kind = kind(config, labels.as_ref().map_or(0, Vec::len), &mut fault);
    // A family that is not known is told by whoever reads the trunk's part of the file.
    let (Some(names), Some(labels), Some(kind)) = (names, labels, kind) else { return None };
    let dense = dense(config, names, &mut fault);
    let pooling = pooling(config, names, &mut fault);
    (faults.len() == before).then(|| Classifier { model_type: model_type.to_owned(), labels, kind, names, pooling, dense })
}

type Tell<'a> = &'a mut dyn FnMut(&str, String, String);

fn check_class(config: &Map<String, Value>, fault: Tell<'_>) {
    let Some(classes) = config.get("architectures").filter(|classes| !classes.is_null()) else { return };
    let names: Vec<&str> = classes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !names.iter().any(|name| name.ends_with(CLASS)) {
        let expected = format!("a class that ends with {CLASS}: others have no labels of a whole text");
        fault("architectures", shown(classes), expected);
    }
    if config.get("auto_map").is_some_and(|map| !map.is_null()) {
        fault("auto_map", "code of the model's own".into(), "none: no code of a folder is run".into());
    }
}

/// The labels by their numbers.
fn labels(config: &Map<String, Value>, fault: Tell<'_>) -> Option<Vec<String>> {
    let given = config.get("id2label").filter(|labels| !labels.is_null());
    let Some(given) = given else {
        // The library leaves the names out where nobody gave any.
        let count = config.get("num_labels").or_else(|| config.get("_num_labels"));
        return match count.map_or(Some(2), Value::as_u64) {
            Some(count) if (1..=LABELS_MAX as u64).contains(&count) => Some((0..count).map(|n| format!("LABEL_{n}")).collect()),
            _ => {
                fault("num_labels", count.map(shown).unwrap_or_default(), format!("1 to {LABELS_MAX}"));
                None
            }
        };
    };
    let Some(map) = given.as_object().filter(|map| (1..=LABELS_MAX).contains(&map.len())) else {
        let found = given.as_object().map_or_else(|| shown(given), |map| format!("{} labels", map.len()));
        fault("id2label", found, format!("1 to {LABELS_MAX} labels, each by its number"));
        return None;
    };
    let mut labels = vec![None; map.len()];
    for (key, value) in map {
        let number = key.parse::<usize>().ok().filter(|number| *number < labels.len() && number.to_string() == *key);
        let Some(number) = number else {
            fault("id2label", shortened(key), format!("each number from 0 to {} once", map.len() - 1));
            return None;
        };
        let label = value.as_str().map(str::to_owned).or_else(|| value.is_number().then(|| value.to_string()));
        let label = label.filter(|label| !label.trim().is_empty() && label.len() <= LABEL_BYTES_MAX && !label.contains(char::is_control));
        if label.is_none() {
            fault(&format!("id2label.{number}"), shown(value), format!("a label of 1 to {LABEL_BYTES_MAX} bytes on one line"));
            return None;
        }
        labels[number] = label;
    }
    // As many numbers below their count, each once: none is missing.
    let labels: Vec<String> = labels.into_iter().flatten().collect();
    let by_name: BTreeMap<&str, usize> = labels.iter().enumerate().map(|(number, label)| (label.as_str(), number)).collect();
    if let Some((_, twice)) = labels.iter().enumerate().find(|(number, label)| by_name[label.as_str()] != *number) {
        fault("id2label", format!("{twice:?} twice"), "each label once".into());
        return None;
    }
    let other = config.get("label2id").and_then(Value::as_object).into_iter().flatten().find_map(|(label, number)| {
        let expected = *by_name.get(label.as_str())?;
        (number.as_u64() != Some(expected as u64)).then(|| (format!("label2id.{}", shortened(label)), shown(number), expected))
    });
    if let Some((key, found, expected)) = other {
        fault(&key, found, format!("{expected}, as id2label says"));
        return None;
    }
    Some(labels)
}

fn kind(config: &Map<String, Value>, labels: usize, fault: Tell<'_>) -> Option<Kind> {
    let value = config.get("problem_type").unwrap_or(&Value::Null);
    let found = match (value.as_str(), value, labels) {
        (Some("multi_label_classification"), ..) => return Some(Kind::MultiLabel),
        (Some("single_label_classification"), _, 2..) | (_, Value::Null, 2..) => return Some(Kind::SingleLabel),
        // Without labels there is a fault already.
        (Some("single_label_classification"), _, 0) | (_, Value::Null, 0) => return None,
        (Some("single_label_classification"), ..) => "single_label_classification of one label, whose p is always 1".to_owned(),
        (_, Value::Null, _) => "nothing for one label, which the library takes for a regression".to_owned(),
        _ => shown(value),
    };
    fault("problem_type", found, "single_label_classification or multi_label_classification".into());
    None
}

fn dense(config: &Map<String, Value>, names: &Names, fault: Tell<'_>) -> DenseSpec {
    let mut activation = |key: &str| {
        let value = config.get(key).and_then(Value::as_str).unwrap_or("gelu");
        match value {
            "gelu" => DenseActivation::Gelu,
            "relu" => DenseActivation::Relu,
            "tanh" => DenseActivation::Tanh,
            other => {
                fault(key, format!("{other:?}"), "\"gelu\", \"relu\" or \"tanh\"".into());
                DenseActivation::Gelu
            }
        }
    };
    let activation = match names.model_type {
        "deberta-v2" => activation("pooler_hidden_act"),
        "modernbert" => activation("classifier_activation"),
        "distilbert" => DenseActivation::Relu,
        _ => DenseActivation::Tanh,
    };
    let norm_eps = names.norm.map(|_| config.get("norm_eps").and_then(Value::as_f64).unwrap_or(1e-5));
    DenseSpec { activation, norm_eps }
}

fn pooling(config: &Map<String, Value>, names: &Names, fault: Tell<'_>) -> Pooling {
    let value = config.get("classifier_pooling").filter(|_| names.model_type == "modernbert");
    match value.map(|value| value.as_str()) {
        None | Some(Some("cls")) => Pooling::Cls,
        Some(Some("mean")) => Pooling::Mean,
        Some(_) => {
            fault("classifier_pooling", config.get("classifier_pooling").map(shown).unwrap_or_default(), "\"cls\" or \"mean\"".into());
            Pooling::Cls
        }
    }
}

/// A value of a stranger's file, not all of it.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() > LABEL_BYTES_MAX { format!("{}...", shortened(&text)) } else { text }
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(120)].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_value(value: &Value) -> Result<Classifier, String> {
        let mut faults = Vec::new();
        let found = read(value.as_object().unwrap(), &mut faults);
        found.ok_or_else(|| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    fn with(changes: Value) -> Value {
        let mut config =
            json!({"model_type": "bert", "architectures": ["BertForSequenceClassification"], "id2label": {"1": "b", "0": "a"}});
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    }

    #[test]
    fn the_labels_and_how_they_exclude_each_other() {
        let read = |changes| read_value(&with(changes)).unwrap();
        assert_eq!((read(json!({})).labels, read(json!({})).kind), (vec!["a".to_owned(), "b".into()], Kind::SingleLabel));
        assert_eq!(read(json!({"problem_type": "multi_label_classification"})).kind, Kind::MultiLabel);
        assert_eq!(read(json!({"problem_type": "multi_label_classification", "id2label": {"0": "a"}})).labels, ["a"]);
        assert_eq!(read(json!({"problem_type": null, "architectures": null})).kind, Kind::SingleLabel);
        assert_eq!(read(json!({"id2label": null})).labels, ["LABEL_0", "LABEL_1"]);
        assert_eq!(read(json!({"id2label": null, "num_labels": 3})).labels.len(), 3);
        assert_eq!(read(json!({"id2label": {"0": 1, "1": 2}})).labels, ["1", "2"]);
        assert_eq!(read(json!({"label2id": {"a": 0, "LABEL_7": 3}})).labels, ["a", "b"], "names that are no labels say nothing");
    }

    #[test]
    fn each_family_has_its_classifier() {
        let modernbert = |pooling| read_value(&with(json!({"model_type": "modernbert", "classifier_pooling": pooling}))).unwrap();
        assert_eq!((modernbert("mean").pooling, modernbert("cls").pooling), (Pooling::Mean, Pooling::Cls));
        assert_eq!(modernbert("cls").dense, DenseSpec { activation: DenseActivation::Gelu, norm_eps: Some(1e-5) });
        for (model_type, activation) in [
            ("bert", DenseActivation::Tanh),
            ("roberta", DenseActivation::Tanh),
            ("xlm-roberta", DenseActivation::Tanh),
            ("distilbert", DenseActivation::Relu),
            ("deberta-v2", DenseActivation::Gelu),
        ] {
            let found = read_value(&with(json!({"model_type": model_type}))).unwrap();
            assert_eq!((found.dense.activation, found.dense.norm_eps, found.pooling), (activation, None, Pooling::Cls), "{model_type}");
        }
    }

    #[test]
    fn what_is_no_classifier_is_told() {
        let many: Map<String, Value> = (0..=LABELS_MAX).map(|n| (n.to_string(), json!(format!("l{n}")))).collect();
        for (changes, expected) in [
            (
                json!({"architectures": ["BertForMaskedLM"]}),
                r#"architectures: found ["BertForMaskedLM"], expected a class that ends with ForSequenceClassification"#,
            ),
            (json!({"auto_map": {"AutoModel": "modeling.Mine"}}), "auto_map: found code of the model's own, expected none"),
            (json!({"problem_type": "regression"}), r#"problem_type: found "regression", expected single_label_classification or multi"#),
            (json!({"id2label": {"0": "score"}}), "problem_type: found nothing for one label, which the library takes for a regression"),
            (json!({"id2label": {"0": "x"}, "problem_type": "single_label_classification"}), "of one label, whose p is always 1"),
            (json!({"id2label": {}}), "id2label: found 0 labels, expected 1 to 10000 labels"),
            (json!({"id2label": many}), "id2label: found 10001 labels, expected 1 to 10000 labels"),
            (json!({"id2label": ["a", "b"]}), r#"id2label: found ["a","b"], expected 1 to 10000 labels"#),
            (json!({"id2label": {"0": "a", "2": "b"}}), "id2label: found 2, expected each number from 0 to 1 once"),
            (json!({"id2label": {"0": "a", "01": "b"}}), "id2label: found 01, expected each number"),
            (json!({"id2label": {"0": "a", "1": "a"}}), r#"id2label: found "a" twice, expected each label once"#),
            (json!({"id2label": {"0": "a", "1": " "}}), r#"id2label.1: found " ", expected a label of 1 to 256 bytes"#),
            (json!({"id2label": {"0": "a", "1": "b\u{1b}[2J"}}), "id2label.1: found "),
            (json!({"id2label": {"0": "a", "1": "b".repeat(5000)}}), "id2label.1: found \"bbb"),
            (json!({"id2label": {"0": "a", "1": ["b"]}}), r#"id2label.1: found ["b"]"#),
            (json!({"label2id": {"a": 1}}), "label2id.a: found 1, expected 0, as id2label says"),
            (json!({"id2label": null, "num_labels": 1u64 << 40}), "num_labels: found 1099511627776, expected 1 to 10000"),
            (
                json!({"model_type": "deberta-v2", "pooler_hidden_act": "silu"}),
                r#"pooler_hidden_act: found "silu", expected "gelu", "relu" or "tanh""#,
            ),
            (
                json!({"model_type": "modernbert", "classifier_pooling": "max"}),
                r#"classifier_pooling: found "max", expected "cls" or "mean""#,
            ),
        ] {
            let found = read_value(&with(changes)).expect_err(expected);
            assert!(found.contains(expected) && found.len() < 2000, "expected {expected:?} in {found:?}");
        }
    }
}
