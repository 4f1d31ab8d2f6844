//! What a `tokenizer.json` may ask of the crate that reads it.
//!
//! In: the bytes of the file, which a stranger may have written. Out: faults.
//! Looked at before the crate builds anything: how many parts the file has and how long their strings are, how much longer a text may become, whether the
//! table of a `Precompiled` normalizer stays within itself (the crate walks it unchecked), and how many bytes of words a trie is made of. What a word is is
//! none of this module's business. Each limit is several times what the largest published tokenizers have.

use std::cell::Cell;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::FILE;
use crate::model::fault::Fault;

/// Most values of everything but the model.
const VALUES_MAX: usize = 200_000;
/// Most values inside normalizer, pre-tokenizer and post-processor, each.
const PART_VALUES_MAX: usize = 1_000;
/// Longest string in them.
const STRING_BYTES_MAX: usize = 1_024;
/// How many times longer all replacements together may make a text.
const GROWTH_MAX: usize = 64;
/// Longest text that one character becomes by a `Precompiled` table; the longest of Unicode's has 33.
const REPLACEMENT_BYTES_MAX: usize = 256;
/// Most words of a vocabulary, as of a trunk's table.
const WORDS_MAX: usize = 1 << 20;
/// Most strings of merges, two a merge.
const MERGES_MAX: usize = 4 << 20;
/// Most bytes of all words of a `Unigram` model, of which a trie is made, a node a byte; the largest known have 3 MB.
const UNIGRAM_BYTES_MAX: usize = 6 << 20;
/// Most added tokens.
const ADDED_MAX: usize = 10_000;

/// Holds the file against the limits.
pub(in crate::model) fn check(json: &[u8]) -> Result<(), Vec<Fault>> {
    let whole = |error: serde_json::Error| vec![Fault::new(FILE, "", error.to_string(), "a Hugging Face tokenizer")];
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut parts = Parts::default();
    reader.deserialize_map(File(&mut parts)).map_err(whole)?;
    reader.end().map_err(whole)?;
    let mut faults = Vec::new();
    for (key, part) in &parts.parts {
        check_part(key, part, &mut faults);
    }
    let mut fault = |key: &str, found: String, expected: String| faults.push(Fault::new(FILE, key, found, expected));
    if parts.added > ADDED_MAX {
        fault("added_tokens", format!("{} tokens", parts.added), format!("at most {ADDED_MAX}"));
    }
    for (key, found, most) in [("model.vocab", parts.model.words, WORDS_MAX), ("model.merges", parts.model.merges, MERGES_MAX)] {
        if found > most {
            fault(key, format!("{found} strings"), format!("at most {most}"));
        }
    }
    if parts.model.unigram != Some(false) && parts.model.bytes > UNIGRAM_BYTES_MAX {
        fault("model.vocab", format!("{} bytes of words", parts.model.bytes), format!("at most {UNIGRAM_BYTES_MAX}"));
    }
    if parts.model.dropout {
        fault("model.dropout", "a number".into(), "null: the same text has the same tokens".into());
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// What was read of a file.
#[derive(Default)]
struct Parts {
    parts: Vec<(String, Value)>,
    added: usize,
    model: Model,
}

#[derive(Default)]
struct Model {
    /// A model without a type is guessed by the crate, and counts as the costliest.
    unigram: Option<bool>,
    dropout: bool,
    bytes: usize,
    words: usize,
    merges: usize,
}

/// Reads the object of the file.
struct File<'a>(&'a mut Parts);

impl<'de> Visitor<'de> for File<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the parts of a tokenizer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let left = Cell::new(VALUES_MAX);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "model" => map.next_value_seed(OfModel(&mut self.0.model))?,
                "normalizer" | "pre_tokenizer" | "post_processor" | "decoder" | "truncation" | "padding" | "version" => {
                    let value = map.next_value_seed(Bounded(&left))?;
                    self.0.parts.push((key, value));
                }
                "added_tokens" => {
                    let value = map.next_value_seed(Bounded(&left))?;
                    self.0.added += value.as_array().map_or(0, Vec::len);
                    self.0.parts.push((key, value));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the object of the model; its words are counted and not kept.
struct OfModel<'a>(&'a mut Model);

impl<'de> DeserializeSeed<'de> for OfModel<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OfModel<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a model")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let left = Cell::new(PART_VALUES_MAX);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "vocab" | "merges" => {
                    let weight = Cell::new((0, 0));
                    map.next_value_seed(Weighed(&weight))?;
                    let (strings, bytes) = weight.get();
                    self.0.bytes += bytes;
                    *(if key == "vocab" { &mut self.0.words } else { &mut self.0.merges }) += strings;
                }
                _ => {
                    let value = map.next_value_seed(Bounded(&left))?;
                    match key.as_str() {
                        "type" => self.0.unigram = Some(value == "Unigram"),
                        "dropout" => self.0.dropout = !value.is_null(),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads any value and counts its strings and their bytes.
#[derive(Clone, Copy)]
struct Weighed<'a>(&'a Cell<(usize, usize)>);

impl<'de> DeserializeSeed<'de> for Weighed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Weighed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("words")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let (strings, bytes) = self.0.get();
        self.0.set((strings + 1, bytes + text.len()));
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(self)?.is_some() {
            map.next_value_seed(self)?;
        }
        Ok(())
    }
}

/// Reads any value of at most so many values.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a Cell<usize>);

impl Bounded<'_> {
    fn one<E: Error>(self) -> Result<(), E> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| E::custom("more values than a tokenizer has"))?;
        self.0.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.one()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            object.insert(key, map.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

/// What the parts of one part add up to.
#[derive(Default)]
struct Sum {
    values: usize,
    growth: usize,
    tables: usize,
}

fn check_part(key: &str, part: &Value, faults: &mut Vec<Fault>) {
    let mut sum = Sum { growth: 1, ..Sum::default() };
    walk(key, part, &mut sum, faults);
    let mut fault = |found: String, expected: String| faults.push(Fault::new(FILE, key, found, expected));
    if key != "added_tokens" && sum.values > PART_VALUES_MAX {
        fault(format!("{} values", sum.values), format!("at most {PART_VALUES_MAX}"));
    }
    if sum.growth > GROWTH_MAX {
        fault("replacements that make a text much longer".into(), format!("at most {GROWTH_MAX} times as long"));
    }
    if sum.tables > 1 {
        fault(format!("{} tables of replacements", sum.tables), "at most 1".into());
    }
}

fn walk(key: &str, value: &Value, sum: &mut Sum, faults: &mut Vec<Fault>) {
    sum.values += 1;
    match value {
        Value::String(text) if text.len() > STRING_BYTES_MAX => {
            faults.push(Fault::new(FILE, key, format!("a string of {} bytes", text.len()), format!("at most {STRING_BYTES_MAX}")));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(key, value, sum, faults)),
        Value::Object(object) => {
            if object.get("type").is_some_and(|kind| kind == "Replace") {
                sum.growth = sum.growth.saturating_mul(growth(object));
            }
            for (name, value) in object {
                match value {
                    Value::String(table) if name == "precompiled_charsmap" => {
                        sum.tables += 1;
                        if let Err(found) = check_table(table) {
                            faults.push(Fault::new(FILE, format!("{key}.{name}"), found, "a table that stays within itself"));
                        }
                    }
                    _ => walk(key, value, sum, faults),
                }
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// How many times longer a `Replace` makes a text at most. A pattern may match nothing, so that its replacement stands between any two bytes.
fn growth(replace: &Map<String, Value>) -> usize {
    let content = replace.get("content").and_then(Value::as_str).unwrap_or_default().len();
    match replace.get("pattern").and_then(|pattern| pattern.get("String")).and_then(Value::as_str) {
        Some(pattern) if !pattern.is_empty() => content.div_ceil(pattern.len()).max(1),
        _ => 1 + content,
    }
}

/// The table of a `Precompiled` normalizer, of SentencePiece: the length of a double-array trie in bytes, its units (32 bits each), and the replacements, each
/// ended by a zero byte. A unit leads to a block of 256 by its offset; where it has a leaf, the unit at the head of that block holds a place among the
/// replacements.
pub(in crate::model) fn check_table(base64: &str) -> Result<(), String> {
    let table = STANDARD.decode(base64).map_err(|error| error.to_string())?;
    let (length, rest) = table.split_first_chunk::<4>().ok_or_else(|| format!("{} bytes", table.len()))?;
    let length = u32::from_le_bytes(*length) as usize;
    let (trie, replacements) = rest.split_at_checked(length).ok_or_else(|| format!("a trie of {length} bytes in {}", rest.len()))?;
    if length == 0 || !length.is_multiple_of(4) {
        return Err(format!("a trie of {length} bytes"));
    }
    let replacements = std::str::from_utf8(replacements).map_err(|error| error.to_string())?;
    if let Some(long) = replacements.split('\0').map(str::len).find(|bytes| *bytes > REPLACEMENT_BYTES_MAX) {
        return Err(format!("a replacement of {long} bytes, more than {REPLACEMENT_BYTES_MAX}"));
    }
    let units: Vec<usize> = trie.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    for (at, unit) in units.iter().enumerate().filter(|(_, unit)| **unit >> 31 == 0) {
        let block = at ^ ((unit >> 10) << ((unit & (1 << 9)) >> 6));
        if block | 0xff >= units.len() {
            return Err(format!("unit {at}, which leads to {block} of {}", units.len()));
        }
        let leaf = (unit >> 8) & 1 == 1;
        let place = units[block] & 0x7fff_ffff;
        if leaf && !replacements.is_char_boundary(place) {
            return Err(format!("unit {block}, which leads to byte {place} of {} bytes of replacements", replacements.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(units: &[u32], replacements: &[u8]) -> String {
        let trie: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        STANDARD.encode([&(trie.len() as u32).to_le_bytes()[..], &trie, replacements].concat())
    }

    /// A trie of one block whose root leads to itself.
    fn units(change: impl FnOnce(&mut Vec<u32>)) -> Vec<u32> {
        let mut units = vec![0; 256];
        change(&mut units);
        units
    }

    #[test]
    fn tables_that_leave_themselves_are_told() {
        assert_eq!(check_table(&table(&units(|_| ()), b"a\0")), Ok(()));
        let leaf = |place: u32| units(|units| (units[1], units[0]) = (1 << 10 | 1 << 8 | 0x61, 1 << 31 | place));
        assert_eq!(check_table(&table(&leaf(2), "é\0".as_bytes())), Ok(()));
        for (table, expected) in [
            ("!".to_owned(), "Invalid symbol"),
            (STANDARD.encode([1, 2]), "2 bytes"),
            (STANDARD.encode(u32::MAX.to_le_bytes()), "a trie of 4294967295 bytes in 0"),
            (table(&[], b""), "a trie of 0 bytes"),
            (table(&[0], b""), "unit 0, which leads to 0 of 1"),
            (table(&units(|units| units[7] = u32::MAX >> 1), b""), "unit 7, which leads to "),
            (table(&units(|units| units[7] = 0x400 << 10), b""), "unit 7, which leads to 1031 of 256"),
            (table(&leaf(1), "é\0".as_bytes()), "unit 0, which leads to byte 1 of 3 bytes of replacements"),
            (table(&leaf(4), "é\0".as_bytes()), "unit 0, which leads to byte 4 of 3 bytes of replacements"),
            (table(&units(|_| ()), &[0xff]), "invalid utf-8"),
            (table(&units(|_| ()), &[b'x'; 300]), "a replacement of 300 bytes, more than 256"),
        ] {
            let found = check_table(&table).expect_err(expected);
            assert!(found.contains(expected), "expected {expected:?} in {found:?}");
        }
    }

    #[test]
    fn a_file_that_asks_for_too_much_is_told() {
        let file = |parts: &str| format!(r#"{{"version":"1.0",{parts},"model":{{"type":"Unigram","unk_id":3,"vocab":[["a",-1.5]]}}}}"#);
        assert_eq!(check(file(r#""normalizer":null"#).as_bytes()), Ok(()));
        let replace = |content: &str| format!(r#"{{"type":"Replace","pattern":{{"Regex":" "}},"content":"{content}"}}"#);
        let sequence = |parts: &[String]| format!(r#""normalizer":{{"type":"Sequence","normalizers":[{}]}}"#, parts.join(","));
        let honest = sequence(&[replace(" "), replace("▁"), r#"{"type":"Replace","pattern":{"String":"``"},"content":"\""}"#.to_owned()]);
        assert_eq!(check(file(&honest).as_bytes()), Ok(()));
        let words = format!(r#"{{"model":{{"type":"Unigram","vocab":[["{}",0.0]]}}}}"#, "a".repeat(UNIGRAM_BYTES_MAX + 1));
        let added = format!(r#""added_tokens":[{}]"#, vec![r#"{"id":1}"#; ADDED_MAX + 1].join(","));
        for (json, expected) in [
            (
                file(&sequence(&[replace(&"x".repeat(64))])),
                "normalizer: found replacements that make a text much longer, expected at most 64 times",
            ),
            (file(&sequence(&vec![replace("xxx"); 4])), "normalizer: found replacements that make a text much longer"),
            (
                file(&format!(r#""normalizer":{{"type":"Prepend","prepend":"{}"}}"#, "x".repeat(2000))),
                "normalizer: found a string of 2000 bytes",
            ),
            (
                file(&format!(r#""post_processor":[{}]"#, vec!["1"; 2000].join(","))),
                "post_processor: found 2001 values, expected at most 1000",
            ),
            (file(&format!(r#""decoder":[{}]"#, vec!["1"; 300_000].join(","))), "more values than a tokenizer has"),
            (file(&added), "added_tokens: found 10001 tokens, expected at most 10000"),
            (
                file(r#""normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}"#),
                "normalizer.precompiled_charsmap: found 3 bytes",
            ),
            (
                file(&sequence(&vec![format!(r#"{{"type":"Precompiled","precompiled_charsmap":"{}"}}"#, table(&units(|_| ()), b"")); 2])),
                "normalizer: found 2 tables of replacements, expected at most 1",
            ),
            (
                format!(r#"{{"model":{{"type":"BPE","vocab":[{}]}}}}"#, vec!["\"\""; WORDS_MAX + 1].join(",")),
                "model.vocab: found 1048577 strings",
            ),
            (words, "model.vocab: found 6291457 bytes of words, expected at most 6291456"),
            (r#"{"model":{"type":"BPE","dropout":0.1}}"#.to_owned(), "model.dropout: found a number, expected null"),
            (format!(r#"{{"normalizer":{}"#, "[".repeat(100_000)), "recursion limit"),
            ("[]".to_owned(), "expected a Hugging Face tokenizer"),
        ] {
            let faults = check(json.as_bytes()).expect_err(expected);
            assert!(faults.iter().any(|fault| fault.to_string().contains(expected)), "expected {expected:?} in {faults:?}");
        }
    }
}
