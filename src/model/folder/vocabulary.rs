//! The tokenizer of a folder, in the one form that is read: `tokenizer.json`.
//!
//! In: a folder with `tokenizer.json`, or with the older files of its family: `vocab.txt` (BERT, DistilBERT), `vocab.json` and `merges.txt` (RoBERTa),
//! `sentencepiece.bpe.model` (XLM-R) or `spm.model` (DeBERTa v3), each with what `tokenizer_config.json` says. Out: the bytes of a `tokenizer.json` that gives
//! the same ids, and which file it came from.
//! Truncation and padding, which training leaves in a `tokenizer.json`, are taken out: Baton cuts windows and pads batches itself.
//! What a SentencePiece model counts as unknown, begin and end stands elsewhere in the vocabulary of XLM-R, which has the numbers of fairseq: 0 begin, 1 padding,
//! 2 end, 3 unknown, then the pieces from the fourth on, and the mask at the end.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::sentencepiece::{self, Algorithm, PieceKind, SentencePiece};
use crate::model::fault::Fault;
use crate::model::files::{Folder, JSON_BYTES_MAX};
use crate::model::tokenizer;

/// Largest `vocab.txt`, `vocab.json` or `merges.txt`.
const VOCABULARY_BYTES_MAX: u64 = 32 << 20;
/// Name and largest size of the settings beside them.
const SETTINGS_FILE: &str = "tokenizer_config.json";
const SETTINGS_BYTES_MAX: u64 = 4 << 20;
/// Longest word that word pieces are looked for in.
const WORD_CHARS_MAX: usize = 100;

/// A tokenizer that was found.
pub(super) struct Vocabulary {
    /// `tokenizer.json`
    pub(super) json: Vec<u8>,
    /// Files that it was made from.
    pub(super) source: &'static str,
    /// Tokens that the model reads at most, where the settings say it.
    pub(super) model_max_length: Option<usize>,
}

/// What is read of `tokenizer_config.json`; how the vocabulary is stored and which class reads it does not matter here.
#[derive(Default, Deserialize)]
struct Settings {
    do_lower_case: Option<bool>,
    do_basic_tokenize: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    strip_accents: Option<bool>,
    add_prefix_space: Option<bool>,
    trim_offsets: Option<bool>,
    split_by_punct: Option<bool>,
    model_max_length: Option<f64>,
    cls_token: Option<Special>,
    sep_token: Option<Special>,
    unk_token: Option<Special>,
    pad_token: Option<Special>,
    mask_token: Option<Special>,
}

/// A special token: its text, or an object that has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Special {
    Text(String),
    Object { content: String },
}

impl Special {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Object { content: text } => text,
        }
    }
}

/// The special tokens of a vocabulary.
struct Specials {
    cls: String,
    sep: String,
    unk: String,
    pad: String,
    mask: String,
}

/// Finds the tokenizer of a folder; every fault is noted.
pub(super) fn read(folder: &Folder, model_type: &str, faults: &mut Vec<Fault>) -> Option<Vocabulary> {
    let settings = settings(folder, faults)?;
    let made = match model_type {
        _ if folder.has(tokenizer::FILE) => from_json(folder, &settings, faults),
        "bert" | "distilbert" if folder.has("vocab.txt") => word_pieces(folder, &settings, faults),
        "roberta" if folder.has("vocab.json") && folder.has("merges.txt") => byte_pairs(folder, &settings, faults),
        "xlm-roberta" if folder.has("sentencepiece.bpe.model") => {
            sentence_pieces(folder, "sentencepiece.bpe.model", &settings, fairseq, faults)
        }
        "deberta-v2" if folder.has("spm.model") => sentence_pieces(folder, "spm.model", &settings, as_they_are, faults),
        _ => {
            let older = match model_type {
                "bert" | "distilbert" => " or vocab.txt",
                "roberta" => " or vocab.json with merges.txt",
                "xlm-roberta" => " or sentencepiece.bpe.model",
                "deberta-v2" => " or spm.model",
                _ => "",
            };
            faults.push(Fault::new(tokenizer::FILE, "", "No such file", format!("{}{older}", tokenizer::FILE)));
            None
        }
    };
    let (json, source) = made?;
    // The library writes 1e30 where it knows of no limit.
    let model_max_length = settings.model_max_length.filter(|length| (1.0..=1e9).contains(length)).map(|length| length as usize);
    Some(Vocabulary { json, source, model_max_length })
}

type Made = Option<(Vec<u8>, &'static str)>;

fn settings(folder: &Folder, faults: &mut Vec<Fault>) -> Option<Settings> {
    if !folder.has(SETTINGS_FILE) {
        return Some(Settings::default());
    }
    let text = folder.read_or_fault(SETTINGS_FILE, SETTINGS_BYTES_MAX, faults)?;
    let parsed = serde_json::from_slice(&text);
    parsed.map_err(|error| faults.push(Fault::new(SETTINGS_FILE, "", error.to_string(), "an object with the settings of a tokenizer"))).ok()
}

fn from_json(folder: &Folder, settings: &Settings, faults: &mut Vec<Fault>) -> Made {
    #[derive(Deserialize)]
    struct Parts {
        truncation: Option<IgnoredAny>,
        padding: Option<IgnoredAny>,
        #[serde(default)]
        normalizer: Option<Normalizer>,
    }
    #[derive(Deserialize)]
    struct Normalizer {
        r#type: Option<String>,
        lowercase: Option<bool>,
    }
    let json = folder.read_or_fault(tokenizer::FILE, JSON_BYTES_MAX, faults)?;
    if let Err(found) = tokenizer::check_limits(&json) {
        faults.extend(found);
        return None;
    }
    let fault = |error: serde_json::Error| Fault::new(tokenizer::FILE, "", error.to_string(), "a Hugging Face tokenizer");
    let parts: Parts = serde_json::from_slice(&json).map_err(|error| faults.push(fault(error))).ok()?;
    // The library lets the settings win over the file; whichever was meant, one of the two is wrong.
    let of_file = parts.normalizer.filter(|normalizer| normalizer.r#type.as_deref() == Some("BertNormalizer")).and_then(|n| n.lowercase);
    if let (Some(of_settings), Some(of_file)) = (settings.do_lower_case, of_file)
        && of_settings != of_file
    {
        let expected = format!("{of_file}, as the normalizer of {} says", tokenizer::FILE);
        faults.push(Fault::new(SETTINGS_FILE, "do_lower_case", of_settings.to_string(), expected));
        return None;
    }
    if parts.truncation.is_none() && parts.padding.is_none() {
        return Some((json, tokenizer::FILE));
    }
    Some((with_null(&json, &["truncation", "padding"]), "tokenizer.json, without its truncation and padding"))
}

/// The text of an object with null for some of its entries; all else stays as it is written. The text is JSON that was read before.
fn with_null(json: &[u8], keys: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut at = 0;
    let mut depth = 0u32;
    while let Some(byte) = json.get(at) {
        let end = if *byte == b'"' { string_end(json, at) } else { at + 1 };
        out.extend_from_slice(&json[at..end]);
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let text = &json[at..end];
        at = end;
        // At this depth a string with a colon behind it is a key.
        let colon = at + json[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let is_key = *text.first().unwrap_or(&0) == b'"' && depth == 1 && json.get(colon) == Some(&b':');
        if is_key && serde_json::from_slice::<String>(text).is_ok_and(|key| keys.contains(&key.as_str())) {
            out.extend_from_slice(b":null");
            at = value_end(json, colon + 1);
        }
    }
    out
}

/// Where the string ends that begins here.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    json.len()
}

/// Where the value of an entry ends that begins here: at the comma or the bracket behind it.
fn value_end(json: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut depth = 0u32;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = string_end(json, at) - 1,
            b'{' | b'[' => depth += 1,
            b',' | b'}' if depth == 0 => return at,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    json.len()
}

/// BERT's word pieces: a token a line, its number that of the line.
fn word_pieces(folder: &Folder, settings: &Settings, faults: &mut Vec<Fault>) -> Made {
    const FILE: &str = "vocab.txt";
    let text = folder.read_or_fault(FILE, VOCABULARY_BYTES_MAX, faults)?;
    let Ok(text) = String::from_utf8(text) else {
        faults.push(Fault::new(FILE, "", "bytes that are no UTF-8", "a token a line"));
        return None;
    };
    if settings.do_basic_tokenize == Some(false) {
        faults.push(Fault::new(SETTINGS_FILE, "do_basic_tokenize", "false", "true: texts are cut at blanks and punctuation first"));
        return None;
    }
    let mut vocabulary = Map::new();
    for (number, line) in text.split_terminator('\n').enumerate() {
        // A later line of the same token counts, as in the library.
        vocabulary.insert(line.strip_suffix('\r').unwrap_or(line).to_owned(), number.into());
    }
    let specials = specials(settings, ["[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"]);
    let id = |token: &str| vocabulary.get(token).and_then(Value::as_u64);
    let ids = needed(FILE, [&specials.cls, &specials.sep, &specials.unk], id, faults)?;
    let lowercase = settings.do_lower_case.unwrap_or(true);
    let made = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added([&specials.pad, &specials.unk, &specials.cls, &specials.sep, &specials.mask], id),
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": settings.tokenize_chinese_chars.unwrap_or(true),
            "strip_accents": settings.strip_accents, "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template(&specials, ids[0], ids[1]),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": specials.unk, "continuing_subword_prefix": "##", "max_input_chars_per_word": WORD_CHARS_MAX,
            "vocab": vocabulary,
        },
    });
    Some((made.to_string().into_bytes(), FILE))
}

/// RoBERTa's pairs of bytes.
fn byte_pairs(folder: &Folder, settings: &Settings, faults: &mut Vec<Fault>) -> Made {
    const FILE: &str = "vocab.json";
    const MERGES_FILE: &str = "merges.txt";
    let text = folder.read_or_fault(FILE, VOCABULARY_BYTES_MAX, faults);
    let merges = folder.read_or_fault(MERGES_FILE, VOCABULARY_BYTES_MAX, faults);
    let (text, merges) = (text?, merges?);
    let vocabulary: BTreeMap<String, u32> = serde_json::from_slice(&text)
        .map_err(|error| faults.push(Fault::new(FILE, "", error.to_string(), "an object with the number of each token")))
        .ok()?;
    let Ok(merges) = String::from_utf8(merges) else {
        faults.push(Fault::new(MERGES_FILE, "", "bytes that are no UTF-8", "a pair a line"));
        return None;
    };
    // The first line may name a version; every other is a pair with a blank between.
    let lines = merges.lines().enumerate().filter(|(number, line)| !(line.is_empty() || *number == 0 && line.starts_with("#version")));
    let mut pairs = Vec::new();
    for (number, line) in lines {
        match line.split_once(' ') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => pairs.push(json!([left, right])),
            _ => {
                faults.push(Fault::new(MERGES_FILE, format!("line {}", number + 1), "no pair", "two tokens with a blank between"));
                return None;
            }
        }
    }
    let specials = specials(settings, ["<s>", "</s>", "<unk>", "<pad>", "<mask>"]);
    let id = |token: &str| vocabulary.get(token).map(|id| u64::from(*id));
    let ids = needed(FILE, [&specials.cls, &specials.sep, &specials.unk], id, faults)?;
    let add_prefix_space = settings.add_prefix_space.unwrap_or(false);
    let trim_offsets = settings.trim_offsets.unwrap_or(true);
    let made = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added([&specials.cls, &specials.pad, &specials.sep, &specials.unk, &specials.mask], id),
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": trim_offsets, "use_regex": true},
        "post_processor": {
            "type": "RobertaProcessing", "sep": [specials.sep, ids[1]], "cls": [specials.cls, ids[0]],
            "trim_offsets": trim_offsets, "add_prefix_space": add_prefix_space,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary, "merges": pairs,
        },
    });
    Some((made.to_string().into_bytes(), "vocab.json and merges.txt"))
}

/// The words of a vocabulary in the order of their numbers, each with its score; the number of the unknown one; the defaults of the special tokens.
type Numbered = (Vec<(String, f64)>, usize, [&'static str; 5]);

/// XLM-R: the numbers of fairseq.
fn fairseq(model: &SentencePiece) -> Result<Numbered, String> {
    let first: Vec<&str> = model.pieces.iter().take(3).map(|piece| piece.text.as_str()).collect();
    if first != ["<unk>", "<s>", "</s>"] {
        return Err(format!("pieces that begin with {first:?}, not <unk>, <s>, </s>"));
    }
    let begin = ["<s>", "<pad>", "</s>", "<unk>"].map(|token| (token.to_owned(), 0.0));
    let pieces = model.pieces[3..].iter().map(|piece| (piece.text.clone(), f64::from(piece.score)));
    let words = begin.into_iter().chain(pieces).chain([("<mask>".to_owned(), 0.0)]).collect();
    Ok((words, 3, ["<s>", "</s>", "<unk>", "<pad>", "<mask>"]))
}

/// DeBERTa v3: the numbers of the file, and the mask at the end.
fn as_they_are(model: &SentencePiece) -> Result<Numbered, String> {
    let mut words: Vec<(String, f64)> = model.pieces.iter().map(|piece| (piece.text.clone(), f64::from(piece.score))).collect();
    if !words.iter().any(|(text, _)| text == "[MASK]") {
        words.push(("[MASK]".to_owned(), 0.0));
    }
    Ok((words, model.unk_id, ["[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"]))
}

fn sentence_pieces(
    folder: &Folder,
    file: &'static str,
    settings: &Settings,
    number: fn(&SentencePiece) -> Result<Numbered, String>,
    faults: &mut Vec<Fault>,
) -> Made {
    let bytes = folder.read_or_fault(file, sentencepiece::BYTES_MAX, faults)?;
    if settings.split_by_punct == Some(true) {
        faults.push(Fault::new(SETTINGS_FILE, "split_by_punct", "true", "false, or a tokenizer.json"));
        return None;
    }
    let read = sentencepiece::read(&bytes).and_then(|model| {
        if model.algorithm != Algorithm::Unigram || model.byte_fallback {
            return Err("a model of another algorithm".to_owned());
        }
        if !model.remove_extra_whitespaces || !model.add_dummy_prefix {
            return Err("a model that keeps blanks".to_owned());
        }
        let table = STANDARD.encode(&model.charsmap);
        if !model.charsmap.is_empty() {
            tokenizer::check_table(&table).map_err(|found| format!("a table of replacements with {found}"))?;
        }
        let (words, unk_id, defaults) = number(&model)?;
        Ok((model, table, words, unk_id, defaults))
    });
    let expected = "a SentencePiece model: unigram, with runs of blanks as one";
    let (model, table, words, unk_id, defaults) = read.map_err(|found| faults.push(Fault::new(file, "", found, expected))).ok()?;
    let specials = specials(settings, defaults);
    let numbers: BTreeMap<&str, u64> = (0..).zip(&words).map(|(number, (text, _))| (text.as_str(), number)).collect();
    let id = |token: &str| numbers.get(token).copied();
    let ids = needed(file, [&specials.cls, &specials.sep, &specials.unk], id, faults)?;
    let mut normalizers = Vec::new();
    if settings.do_lower_case == Some(true) {
        normalizers.push(json!({"type": "Lowercase"}));
    }
    if !model.charsmap.is_empty() {
        normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": table}));
    }
    let cuts =
        [json!({"type": "WhitespaceSplit"}), json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true})];
    let mut tokens = added([&specials.cls, &specials.pad, &specials.sep, &specials.unk, &specials.mask], id);
    let defined = model.pieces.iter().filter(|piece| piece.kind == PieceKind::UserDefined);
    for piece in defined.filter(|piece| tokens.iter().all(|token| token["content"] != piece.text)).collect::<Vec<_>>() {
        tokens.extend(id(&piece.text).map(|id| added_token(id, &piece.text, false)));
    }
    tokens.sort_by_key(|token| token["id"].as_u64());
    let made = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": tokens,
        "normalizer": if normalizers.is_empty() { Value::Null } else { json!({"type": "Sequence", "normalizers": normalizers}) },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": cuts},
        "post_processor": template(&specials, ids[0], ids[1]),
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": unk_id, "vocab": words, "byte_fallback": false},
    });
    Some((made.to_string().into_bytes(), file))
}

/// The special tokens: as the settings name them, or as the family does.
fn specials(settings: &Settings, [cls, sep, unk, pad, mask]: [&str; 5]) -> Specials {
    let named = |token: &Option<Special>, default: &str| token.as_ref().map_or(default, Special::text).to_owned();
    Specials {
        cls: named(&settings.cls_token, cls),
        sep: named(&settings.sep_token, sep),
        unk: named(&settings.unk_token, unk),
        pad: named(&settings.pad_token, pad),
        mask: named(&settings.mask_token, mask),
    }
}

/// The numbers of tokens that must be there.
fn needed<const N: usize>(file: &str, tokens: [&String; N], id: impl Fn(&str) -> Option<u64>, faults: &mut Vec<Fault>) -> Option<[u64; N]> {
    let mut ids = [0; N];
    let before = faults.len();
    for (place, token) in ids.iter_mut().zip(tokens) {
        match id(token) {
            Some(id) => *place = id,
            None => faults.push(Fault::new(file, format!("{token:?}"), "nothing", "a special token of the vocabulary")),
        }
    }
    (faults.len() == before).then_some(ids)
}

/// The special tokens that the vocabulary has, in the order of their numbers.
fn added<const N: usize>(tokens: [&String; N], id: impl Fn(&str) -> Option<u64>) -> Vec<Value> {
    let mut tokens: Vec<(u64, &String)> = tokens.into_iter().filter_map(|token| Some((id(token)?, token))).collect();
    tokens.sort();
    tokens.dedup();
    tokens.into_iter().map(|(id, token)| added_token(id, token, true)).collect()
}

fn added_token(id: u64, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": special})
}

fn template(specials: &Specials, cls: u64, sep: u64) -> Value {
    let special = |token: &str, kind: u8| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let text = |name: &str, kind: u8| json!({"Sequence": {"id": name, "type_id": kind}});
    let mut tokens = Map::new();
    for (token, id) in [(&specials.cls, cls), (&specials.sep, sep)] {
        tokens.insert(token.clone(), json!({"id": token, "ids": [id], "tokens": [token]}));
    }
    let single = [special(&specials.cls, 0), text("A", 0), special(&specials.sep, 0)];
    let pair = [&single[..], &[text("B", 1), special(&specials.sep, 1)]].concat();
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens})
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::model::tokenizer::Tokenizer;

    fn read_of(files: &[(&str, &[u8])], model_type: &str) -> Result<Vocabulary, String> {
        let place = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(place.path().join(name), bytes).unwrap();
        }
        let mut faults = Vec::new();
        let found = read(&Folder::open(place.path()).unwrap(), model_type, &mut faults);
        found.ok_or_else(|| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    /// What `tests/data/make_sentencepiece.py` made.
    fn made(name: &str) -> Vec<u8> {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sentencepiece").join(name)).unwrap()
    }

    #[test]
    fn sentence_pieces_have_the_ids_of_sentencepiece() {
        let expected: Vec<Value> = serde_json::from_slice(&made("expected.json")).unwrap();
        for (model_type, file, ends) in [("xlm-roberta", "sentencepiece.bpe.model", [0, 2]), ("deberta-v2", "spm.model", [1, 2])] {
            let found = read_of(&[(file, &made(file))], model_type).unwrap();
            assert_eq!((found.source, found.model_max_length), (file, None));
            let tokenizer = Tokenizer::read(&found.json, 122).unwrap();
            for text in &expected {
                let ids: Vec<u32> = text[model_type].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
                assert_eq!(tokenizer.encode(text["text"].as_str().unwrap()).ids, ids, "{model_type}: {text}");
            }
            assert_eq!(tokenizer.window(&[7]), [ends[0], 7, ends[1]]);
        }
    }

    #[test]
    fn entries_become_null_and_the_rest_stays() {
        for (json, expected) in [
            (r#"{"a": 1, "padding": {"b": ["}", 2], "padding": 3}, "c": "padding"}"#, r#"{"a": 1, "padding":null, "c": "padding"}"#),
            (r#"{"p\u0061dding" : [1, {"x": "\\\"]"}]}"#, r#"{"p\u0061dding":null}"#),
            (r#"{"a": {"padding": 1}, "truncation": true}"#, r#"{"a": {"padding": 1}, "truncation":null}"#),
            (r#"{"a":["padding","truncation"],"truncation":null}"#, r#"{"a":["padding","truncation"],"truncation":null}"#),
        ] {
            let found = String::from_utf8(with_null(json.as_bytes(), &["truncation", "padding"])).unwrap();
            assert_eq!(found, expected);
            assert!(serde_json::from_str::<Value>(&found).is_ok());
        }
    }

    #[test]
    fn what_is_no_vocabulary_is_told() {
        let spm = made("spm.model");
        let settings = |text: &'static str| ("tokenizer_config.json", text.as_bytes());
        let words = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n";
        // Files, model_type, what is told.
        type Case<'a> = (Vec<(&'a str, &'a [u8])>, &'a str, &'a str);
        let cases: Vec<Case<'_>> = vec![
            (vec![], "bert", "tokenizer.json: found No such file, expected tokenizer.json or vocab.txt"),
            (vec![], "roberta", "expected tokenizer.json or vocab.json with merges.txt"),
            (vec![("vocab.txt", words)], "modernbert", "tokenizer.json: found No such file, expected tokenizer.json"),
            (vec![("vocab.txt", b"a\nb\n")], "bert", "vocab.txt: \"[CLS]\": found nothing, expected a special token of the vocabulary"),
            (vec![("vocab.txt", &[0xff])], "bert", "vocab.txt: found bytes that are no UTF-8"),
            (
                vec![("vocab.txt", words), settings(r#"{"do_basic_tokenize": false}"#)],
                "bert",
                "do_basic_tokenize: found false, expected true",
            ),
            (vec![("vocab.txt", words), settings("[]")], "bert", "tokenizer_config.json: found "),
            (vec![("vocab.json", b"{\"<s>\": 0}"), ("merges.txt", b"")], "roberta", "vocab.json: \"</s>\": found nothing"),
            (vec![("vocab.json", b"[]"), ("merges.txt", b"")], "roberta", "vocab.json: found "),
            (vec![("vocab.json", b"{}"), ("merges.txt", b"#version\na b c\n")], "roberta", "merges.txt: line 2: found no pair"),
            (
                vec![("sentencepiece.bpe.model", &spm)],
                "xlm-roberta",
                "pieces that begin with [\"[PAD]\", \"[CLS]\", \"[SEP]\"], not <unk>, <s>, </s>",
            ),
            (vec![("spm.model", b"hello world")], "deberta-v2", "spm.model: found a field"),
            (vec![("spm.model", &spm), settings(r#"{"split_by_punct": true}"#)], "deberta-v2", "split_by_punct: found true"),
            (vec![("spm.model", &spm), settings(r#"{"cls_token": "<cls>"}"#)], "deberta-v2", "spm.model: \"<cls>\": found nothing"),
        ];
        for (files, model_type, expected) in cases {
            let found = read_of(&files, model_type).map(|_| ()).expect_err(expected);
            assert!(found.contains(expected), "expected {expected:?} in {found:?}");
        }
        let found =
            read_of(&[("vocab.txt", words), settings(r#"{"model_max_length": 128, "do_lower_case": false, "mask_token": null}"#)], "bert")
                .unwrap();
        assert_eq!(found.model_max_length, Some(128));
        assert_eq!(Tokenizer::read(&found.json, 5).unwrap().window(&[4]), [2, 4, 3]);
        let found = read_of(&[("vocab.txt", words), settings(r#"{"model_max_length": 1e30}"#)], "bert").unwrap();
        assert_eq!(found.model_max_length, None);
    }
}
