//! What the labels of a model mean here: a few lines of TOML, checked against the labels that the model has.
//!
//! ```toml
//! head = "sentiment"          # sentiment, emotion, intent, or any other name
//! [labels]                    # the model's label = ours; left out where they are the same
//! LABEL_0 = "negative"
//! LABEL_1 = "neutral"
//! LABEL_2 = "positive"
//! ```
//!
//! In: the file that the operator named, or `baton.toml` in the folder. Out: [`Labels`], or every fault.
//! - Every label of the model has a place. Only where each label has a p of its own (multi-label) may some be left out, by name (`ignore = ["..."]`): a softmax
//!   divides one p among all its labels, and without some of them the rest would not sum to 1.
//! - Several labels of a softmax may mean one of ours (`"1 star"` and `"2 stars"` are both negative): their p add up. Several sigmoids may not, since their sum
//!   is no probability.
//! - `sentiment` needs `negative` and `positive`. A model of two classes has no p(neutral), and none is made up: the signal has two labels then, and its valence
//!   is p(positive) − p(negative) as always.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::model::fault::Fault;
use crate::model::files::Folder;
use crate::model::head::{Kind, LABELS_MAX, wrong_name};

/// Name of the file in a folder.
pub const FILE: &str = "baton.toml";
/// Largest file; ten thousand labels have half of it.
const BYTES_MAX: u64 = 1 << 20;
/// Names that are not labels of the model, shown of a long list.
const SHOWN_MAX: usize = 12;

/// Longest message of the reader of TOML that is passed on.
const MESSAGE_CHARS_MAX: usize = 300;

/// Labels of sentiment.
const SENTIMENT: [&str; 3] = ["negative", "neutral", "positive"];
/// Labels of emotion, each a feeling of a customer that policies and notes know.
const EMOTION: [&str; 7] = ["anger", "anxiety", "confusion", "disappointment", "frustration", "gratitude", "joy"];
/// The support taxonomy.
const INTENT: [&str; 25] = [
    "account_access",
    "account_update",
    "billing_dispute",
    "billing_question",
    "cancel_or_close",
    "complaint",
    "delivery_problem",
    "distress",
    "feedback",
    "greeting",
    "how_to",
    "legal_threat",
    "order_change",
    "order_status",
    "out_of_scope",
    "outage",
    "payment_problem",
    "plan_or_pricing",
    "privacy_request",
    "product_question",
    "refund",
    "security_concern",
    "talk_to_human",
    "technical_problem",
    "thanks_or_closing",
];

/// The file as it is written.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelMap {
    head: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    ignore: Vec<String>,
    /// How faults call the file.
    #[serde(skip)]
    file: String,
}

/// What the labels of a model mean, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Labels {
    /// Name of the head.
    pub(super) head: String,
    /// Our labels, in the order of the model's first that means each.
    pub(super) labels: Vec<String>,
    /// For each label of the model, which of `labels` it means; none where it is ignored.
    pub(super) places: Vec<Option<usize>>,
}

impl LabelMap {
    /// Reads the file that was named, or that of the folder.
    pub(super) fn read(folder: &Folder, named: Option<&Path>, faults: &mut Vec<Fault>) -> Option<Self> {
        let (file, text) = match named {
            Some(path) => (path.display().to_string(), read_named(path)),
            None if folder.has(FILE) => (FILE.to_owned(), folder.read(FILE, BYTES_MAX)),
            None => {
                let expected = "what the labels of the model mean: head = \"sentiment\" and [labels] (docs/models.md), or --labels FILE";
                faults.push(Fault::new(FILE, "", "no such file", expected));
                return None;
            }
        };
        let text = text.map_err(|found| faults.push(Fault::new(&file, "", found, format!("a file of at most {BYTES_MAX} bytes")))).ok()?;
        Self::parse(&file, &text).map_err(|fault| faults.push(fault)).ok()
    }

    fn parse(file: &str, text: &[u8]) -> Result<Self, Fault> {
        let fault = |found: String| Fault::new(file, "", found, "head, and if need be [labels] and ignore, as docs/models.md has it");
        let text = std::str::from_utf8(text).map_err(|error| fault(error.to_string()))?;
        let map: Self = toml::from_str(text).map_err(|error| fault(told(&error, text)))?;
        Ok(Self { file: file.to_owned(), ..map })
    }

    /// Holds the file against the labels of a model.
    pub(super) fn apply(&self, model: &[String], kind: Kind) -> Result<Labels, Vec<Fault>> {
        let names = self.labels.as_ref().map_or(0, BTreeMap::len).max(self.ignore.len());
        if names > LABELS_MAX {
            return Err(vec![self.fault("", format!("{names} names"), format!("at most {LABELS_MAX}"))]);
        }
        let mut faults = Vec::new();
        self.check_head(kind, &mut faults);
        self.check_names(model, kind, &mut faults);
        let ignored: BTreeSet<&str> = self.ignore.iter().map(String::as_str).collect();
        let mut labels: Vec<String> = Vec::new();
        let mut places = Vec::with_capacity(model.len());
        // The place of each meaning, and the label of the model that had it first.
        let mut meant: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for label in model {
            if ignored.contains(label.as_str()) {
                places.push(None);
                continue;
            }
            let target = match &self.labels {
                None => label,
                Some(map) => match map.get(label) {
                    Some(target) => target,
                    None => {
                        let expected = if kind == Kind::MultiLabel { "what it means, or its name in ignore" } else { "what it means" };
                        faults.push(self.fault(&format!("labels.{label:?}"), "nothing for this label of the model", expected));
                        continue;
                    }
                },
            };
            match meant.get(target.as_str()) {
                Some((_, first)) if kind == Kind::MultiLabel => {
                    let expected = "each label once: each has a p of its own, and their sum is none; name one of the two in ignore";
                    faults.push(self.fault(&format!("labels.{label:?}"), format!("{target:?}, as for {first:?}"), expected));
                }
                Some((place, _)) => places.push(Some(*place)),
                None => {
                    meant.insert(target, (labels.len(), label));
                    places.push(Some(labels.len()));
                    labels.push(target.clone());
                }
            }
        }
        if faults.is_empty() {
            self.check_targets(&labels, kind, &mut faults);
        }
        if faults.is_empty() { Ok(Labels { head: self.head.clone(), labels, places }) } else { Err(faults) }
    }

    fn fault(&self, key: &str, found: impl Into<String>, expected: impl Into<String>) -> Fault {
        Fault::new(&self.file, key, found, expected)
    }

    fn check_head(&self, kind: Kind, faults: &mut Vec<Fault>) {
        let expected = match (self.head.as_str(), kind) {
            (name, _) if wrong_name(name).is_some() => wrong_name(name).unwrap_or_default(),
            ("act", _) => "another name: act compares two turns, and this model reads one".to_owned(),
            ("emotion", Kind::SingleLabel) => {
                "another name: of emotions several may be there at once, and the labels of this model exclude each other".to_owned()
            }
            ("sentiment" | "intent", Kind::MultiLabel) => {
                format!("another name: of {} one label holds, and this model gives each a p of its own", self.head)
            }
            _ => return,
        };
        faults.push(self.fault("head", format!("{:?}", self.head), expected));
    }

    /// Names in the file that the model lacks.
    fn check_names(&self, model: &[String], kind: Kind, faults: &mut Vec<Fault>) {
        let known: BTreeSet<&str> = model.iter().map(String::as_str).collect();
        let expected = || format!("a label of the model: {}", listed(model));
        for label in self.labels.iter().flat_map(BTreeMap::keys).filter(|label| !known.contains(label.as_str())) {
            faults.push(self.fault(&format!("labels.{label:?}"), "a label that the model lacks", expected()));
        }
        for label in &self.ignore {
            if !known.contains(label.as_str()) {
                faults.push(self.fault("ignore", format!("{label:?}, which the model lacks"), expected()));
            } else if self.labels.as_ref().is_some_and(|map| map.contains_key(label)) {
                faults.push(self.fault("ignore", format!("{label:?}"), "a label that [labels] does not name"));
            }
        }
        if kind == Kind::SingleLabel && !self.ignore.is_empty() {
            let expected = "no label: they exclude each other, and without some the others would not sum to 1";
            faults.push(self.fault("ignore", format!("{} labels", self.ignore.len()), expected));
        }
    }

    /// What we know of the targets.
    fn check_targets(&self, labels: &[String], kind: Kind, faults: &mut Vec<Fault>) {
        let known: &[&str] = match self.head.as_str() {
            "sentiment" => &SENTIMENT,
            "emotion" => &EMOTION,
            "intent" => &INTENT,
            _ => &[],
        };
        for label in labels.iter().filter(|label| !known.is_empty() && !known.contains(&label.as_str())) {
            let expected = format!("for the head {:?} one of {}", self.head, known.join(", "));
            faults.push(self.fault("labels", format!("{label:?}"), expected));
        }
        if let Some(label) = labels.iter().find(|label| label.trim().is_empty()) {
            faults.push(self.fault("labels", format!("{label:?}"), "a name"));
        }
        if self.head == "sentiment" && faults.is_empty() {
            for needed in ["negative", "positive"].iter().filter(|needed| !labels.iter().any(|label| label == *needed)) {
                faults.push(self.fault("labels", format!("no label for {needed:?}"), "negative and positive, from which the valence is"));
            }
        }
        let least = if kind == Kind::SingleLabel { 2 } else { 1 };
        if labels.len() < least && faults.is_empty() {
            faults.push(self.fault("labels", format!("{} labels", labels.len()), format!("at least {least}")));
        }
    }
}

/// Reads a file that the operator named, wherever it is.
fn read_named(path: &Path) -> Result<Vec<u8>, String> {
    let real = std::fs::canonicalize(path).map_err(|error| error.to_string())?;
    let (Some(folder), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
        return Err("no name of a file".to_owned());
    };
    Folder::open(folder).map_err(|fault| fault.found)?.read(name, BYTES_MAX)
}

/// What the reader of TOML says, with its line; not what stands there, which may be long.
fn told(error: &toml::de::Error, text: &str) -> String {
    let message: String = error.message().chars().take(MESSAGE_CHARS_MAX).collect();
    match error.span() {
        Some(span) => format!("in line {}: {message}", text[..text.floor_char_boundary(span.start)].matches('\n').count() + 1),
        None => message,
    }
}

fn listed(labels: &[String]) -> String {
    let more = labels.len().saturating_sub(SHOWN_MAX);
    let shown: Vec<String> = labels.iter().take(SHOWN_MAX).map(|label| format!("{label:?}")).collect();
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(text: &str, model: &[&str], kind: Kind) -> Result<Labels, String> {
        let model: Vec<String> = model.iter().map(|label| (*label).to_owned()).collect();
        let faults = match LabelMap::parse("map.toml", text.as_bytes()) {
            Ok(map) => map.apply(&model, kind),
            Err(fault) => Err(vec![fault]),
        };
        faults.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn labels_get_their_meaning() {
        use Kind::{MultiLabel, SingleLabel};
        let three = "head = \"sentiment\"\n[labels]\nLABEL_0 = \"negative\"\nLABEL_1 = \"neutral\"\nLABEL_2 = \"positive\"\n";
        let found = apply(three, &["LABEL_0", "LABEL_1", "LABEL_2"], SingleLabel).unwrap();
        assert_eq!(
            (&found.labels[..], &found.places[..]),
            (&["negative", "neutral", "positive"].map(String::from)[..], &[Some(0), Some(1), Some(2)][..])
        );
        let two = apply(
            "head = \"sentiment\"\nlabels = {POSITIVE = \"positive\", NEGATIVE = \"negative\"}",
            &["NEGATIVE", "POSITIVE"],
            SingleLabel,
        )
        .unwrap();
        assert_eq!(two.labels, ["negative", "positive"], "a model without a neutral class has no p(neutral)");
        let own = apply("head = \"topic\"", &["a b", "c"], SingleLabel).unwrap();
        assert_eq!((&own.head[..], own.labels), ("topic", vec!["a b".to_owned(), "c".into()]), "names may stay as they are");
        let some = apply(
            "head = \"emotion\"\nignore = [\"admiration\"]\n[labels]\nnervousness = \"anxiety\"\nanger = \"anger\"",
            &["admiration", "anger", "nervousness"],
            MultiLabel,
        )
        .unwrap();
        assert_eq!((some.labels, some.places), (vec!["anger".to_owned(), "anxiety".into()], vec![None, Some(0), Some(1)]));
        let stars = "head = \"sentiment\"\n[labels]\n\"1 star\" = \"negative\"\n\"2 stars\" = \"negative\"\n\"3 stars\" = \"neutral\"\n\"4 stars\" = \"positive\"\n\"5 stars\" = \"positive\"";
        let stars = apply(stars, &["1 star", "2 stars", "3 stars", "4 stars", "5 stars"], SingleLabel).unwrap();
        assert_eq!(stars.places, [0, 0, 1, 2, 2].map(Some));
    }

    #[test]
    fn a_map_that_does_not_fit_is_told() {
        use Kind::{MultiLabel, SingleLabel};
        const MODEL: &[&str] = &["NEG", "POS"];
        const BOTH: &str = "[labels]\nNEG = \"negative\"\nPOS = \"positive\"";
        for (text, model, kind, expected) in [
            ("head = 1".to_owned(), MODEL, SingleLabel, "map.toml: found in line 1: invalid type"),
            ("labels = {}".to_owned(), MODEL, SingleLabel, "missing field `head`"),
            ("head = \"x\"\nhaed = \"y\"".to_owned(), MODEL, SingleLabel, "unknown field `haed`"),
            ("head = \"x\"\n[labels]\nNEG = \"a\"\nNEG = \"b\"".to_owned(), MODEL, SingleLabel, "duplicate key"),
            ("head = \"x\"\n[labels]\nNEG = [\"a\"]".to_owned(), MODEL, SingleLabel, "invalid type"),
            (format!("head = \"x\"\nx = {}", "[".repeat(100_000)), MODEL, SingleLabel, "map.toml: found "),
            (
                "head = \"sentiment\"\n[labels]\nNEG = \"negative\"".to_owned(),
                MODEL,
                SingleLabel,
                "map.toml: labels.\"POS\": found nothing for this label of the model, expected what it means",
            ),
            (
                format!("head = \"sentiment\"\n{BOTH}\nNEU = \"neutral\""),
                MODEL,
                SingleLabel,
                "labels.\"NEU\": found a label that the model lacks, expected a label of the model: \"NEG\", \"POS\"",
            ),
            (
                "head = \"sentiment\"\n[labels]\nNEG = \"negativ\"\nPOS = \"positive\"".to_owned(),
                MODEL,
                SingleLabel,
                "labels: found \"negativ\", expected for the head \"sentiment\" one of negative, neutral, positive",
            ),
            (
                "head = \"sentiment\"\n[labels]\nNEG = \"neutral\"\nPOS = \"positive\"".to_owned(),
                MODEL,
                SingleLabel,
                "labels: found no label for \"negative\", expected negative and positive",
            ),
            (
                "head = \"x\"\n[labels]\nNEG = \"same\"\nPOS = \"same\"".to_owned(),
                MODEL,
                SingleLabel,
                "labels: found 1 labels, expected at least 2",
            ),
            (
                format!("head = \"emotion\"\n{BOTH}"),
                MODEL,
                SingleLabel,
                "head: found \"emotion\", expected another name: of emotions several may be there at once",
            ),
            (
                format!("head = \"sentiment\"\n{BOTH}"),
                MODEL,
                MultiLabel,
                "head: found \"sentiment\", expected another name: of sentiment one label holds",
            ),
            (format!("head = \"act\"\n{BOTH}"), MODEL, SingleLabel, "head: found \"act\", expected another name"),
            ("head = \"a b\"".to_owned(), MODEL, SingleLabel, "head: found \"a b\", expected 1 to 64 letters, digits, _ or -"),
            ("head = \"text\"".to_owned(), MODEL, SingleLabel, "head: found \"text\", expected a name that results do not use themselves"),
            (
                "head = \"intent\"\n[labels]\nNEG = \"refund\"\nPOS = \"card_arrival\"".to_owned(),
                MODEL,
                SingleLabel,
                "labels: found \"card_arrival\", expected for the head \"intent\" one of account_access, ",
            ),
            (
                "head = \"x\"\nignore = [\"NEG\"]".to_owned(),
                MODEL,
                SingleLabel,
                "ignore: found 1 labels, expected no label: they exclude each other",
            ),
            ("head = \"x\"\nignore = [\"NEU\"]".to_owned(), MODEL, MultiLabel, "ignore: found \"NEU\", which the model lacks"),
            (
                format!("head = \"x\"\nignore = [\"NEG\"]\n{BOTH}"),
                MODEL,
                MultiLabel,
                "ignore: found \"NEG\", expected a label that [labels] does not name",
            ),
            ("head = \"x\"\nignore = [\"NEG\", \"POS\"]".to_owned(), MODEL, MultiLabel, "labels: found 0 labels, expected at least 1"),
            (
                "head = \"emotion\"\n[labels]\nNEG = \"anger\"\nPOS = \"anger\"".to_owned(),
                MODEL,
                MultiLabel,
                "labels.\"POS\": found \"anger\", as for \"NEG\", expected each label once",
            ),
            ("head = \"x\"\n[labels]\nNEG = \"a\"\nPOS = \" \"".to_owned(), MODEL, SingleLabel, "labels: found \" \", expected a name"),
        ] {
            let found = apply(&text, model, kind).expect_err(expected);
            assert!(found.contains(expected), "expected {expected:?} in {found:?}");
        }
        assert!(LabelMap::parse("map.toml", &[0xff]).is_err());
        let many = format!("head = \"x\"\nignore = [{}]", "\"\",".repeat(LABELS_MAX + 1));
        assert_eq!(apply(&many, MODEL, MultiLabel), Err("map.toml: found 10001 names, expected at most 10000".to_owned()));
    }
}
