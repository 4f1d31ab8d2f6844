//! Does the model know the language of this text?
//!
//! In: the text, its tokens. Out: p(known) in 0..=1 from a logistic function of [`FEATURES`] numbers. The evidence is the tokenizer's (words of a
//! language that the vocabulary was not made for fall into many pieces) and that of letters, function words and trigrams (crate `whatlang`).
//! Chat messages are short: "refund pls" must pass, so that weak evidence leaves p at the prior, which is high.
//! Weights and threshold are fitted by `baton train --target language` and stand in `heads.json`; the model card has the measured error rates.

use serde::{Deserialize, Serialize};
use whatlang::{Detector, Lang};

use super::fault::Fault;
use super::head::{FILE, dot, sigmoid};
use super::tokenizer::Tokens;
use crate::signal::{LanguageKnown, Probability};

/// Numbers in the evidence of one text; [`features`] names them.
pub const FEATURES: usize = 8;

/// Bytes of the text that are looked at: a language shows itself in its first lines.
const BYTES_MAX: usize = 2048;

/// Words at which the trigram evidence has its full weight. Our choice: below six words trigram guesses are mostly noise.
const WORDS_FOR_TRIGRAMS: f32 = 6.0;

/// English function words that are rare in other languages written with Latin letters; "in", "was", "die" and their like are left out.
const FUNCTION_WORDS: &[&str] = &[
    "the", "and", "you", "your", "my", "is", "it", "to", "of", "for", "this", "that", "with", "have", "has", "not", "are", "what", "how",
    "can", "i", "i'm", "be", "but", "please", "would", "from", "they", "we", "do", "does", "don't", "didn't", "can't", "why", "when",
    "where", "been", "will", "there", "it's", "if", "or", "any", "get", "got", "still", "just", "need", "want", "an", "at", "on", "who",
    "which", "thanks", "thank", "yes", "hello", "help", "he", "she", "his", "her", "their", "were", "had", "did", "could", "should",
    "because", "about",
];

/// The guard's parameters in `heads.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageSpec {
    /// Languages the model knows, as ISO 639-1 codes.
    pub languages: Vec<String>,
    /// One a feature.
    pub weights: Vec<f32>,
    /// Shift.
    pub bias: f32,
    /// Below it sentiment, emotion and intent are absent.
    pub threshold: f32,
    /// Where it comes from; not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<serde_json::Value>,
}

impl LanguageSpec {
    /// Faults of the parameters.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.weights.len() != FEATURES || self.weights.iter().chain([&self.bias]).any(|v| !v.is_finite()) {
            faults.push(Fault::new(FILE, "language.weights", format!("{:?}", self.weights), format!("{FEATURES} finite numbers")));
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            faults.push(Fault::new(FILE, "language.threshold", self.threshold.to_string(), "a number in 0..=1"));
        }
        faults
    }

    /// The signal of one text.
    pub fn judge(&self, text: &str, tokens: &Tokens) -> LanguageKnown {
        let p = features(text, tokens).map_or(1.0, |features| sigmoid(dot(&self.weights, &features) + self.bias));
        LanguageKnown { probability: Probability::clamped(p), known: p >= self.threshold }
    }
}

/// The evidence of one text; `None` without a letter, since numbers and emoji belong to every language. In this order: share of letters outside the
/// Latin script; share of Latin letters with marks; mean number of pieces beyond the first of a word in Latin letters (at most 3); share of those
/// words that are one piece; share of English function words; the trigram guess (confidence, negative where it is not English), plain and weighted
/// by length; and 1 / words, since a single misspelt word looks foreign.
pub fn features(text: &str, tokens: &Tokens) -> Option<[f32; FEATURES]> {
    let text = &text[..text.floor_char_boundary(BYTES_MAX)];
    let letters: Vec<char> = text.chars().filter(|c| c.is_alphabetic()).collect();
    if letters.is_empty() {
        return None;
    }
    let share = |count: usize, of: usize| count as f32 / of.max(1) as f32;
    let foreign = letters.iter().filter(|c| !is_latin(**c)).count();
    let marked = letters.iter().filter(|c| is_latin(**c) && !c.is_ascii()).count();
    let pieces = pieces_of_words(text, tokens);
    let extra = pieces.iter().map(|n| (n - 1).min(3)).sum::<usize>();
    let words: Vec<String> = text.split_whitespace().map(plain_word).filter(|w| !w.is_empty()).collect();
    let function_words = words.iter().filter(|w| FUNCTION_WORDS.contains(&w.as_str())).count();
    let trigram = trigram_guess(text);
    Some([
        share(foreign, letters.len()),
        share(marked, letters.len()),
        share(extra, pieces.len()),
        share(pieces.iter().filter(|n| **n == 1).count(), pieces.len()),
        share(function_words, words.len()),
        trigram,
        trigram * (words.len() as f32 / WORDS_FOR_TRIGRAMS).min(1.0),
        1.0 / words.len().max(1) as f32,
    ])
}

fn is_latin(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | '\u{aa}' | '\u{ba}' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{2c60}'..='\u{2c7f}')
}

fn plain_word(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase().replace('\u{2019}', "'")
}

/// How many pieces each word that begins with a Latin letter has; words in other scripts are often one unknown token, which says nothing.
fn pieces_of_words(text: &str, tokens: &Tokens) -> Vec<usize> {
    let mut pieces: Vec<usize> = Vec::new();
    let mut last = None;
    for (word, span) in tokens.words.iter().zip(&tokens.spans) {
        let Some(piece) = text.get(span.start..span.end) else { break };
        if last == Some(word) {
            if let Some(n) = pieces.last_mut() {
                *n += 1;
            }
        } else if piece.chars().any(|c| c.is_alphabetic() && is_latin(c)) {
            pieces.push(1);
            last = Some(word);
        } else {
            last = None;
        }
    }
    pieces
}

/// Languages that can be told apart, by ISO 639-1 code.
const CODES: [(&str, Lang); 24] = [
    ("ar", Lang::Ara),
    ("bg", Lang::Bul),
    ("cs", Lang::Ces),
    ("da", Lang::Dan),
    ("de", Lang::Deu),
    ("el", Lang::Ell),
    ("en", Lang::Eng),
    ("es", Lang::Spa),
    ("fi", Lang::Fin),
    ("fr", Lang::Fra),
    ("he", Lang::Heb),
    ("hi", Lang::Hin),
    ("hu", Lang::Hun),
    ("it", Lang::Ita),
    ("ja", Lang::Jpn),
    ("ko", Lang::Kor),
    ("nl", Lang::Nld),
    ("pl", Lang::Pol),
    ("pt", Lang::Por),
    ("ru", Lang::Rus),
    ("sv", Lang::Swe),
    ("tr", Lang::Tur),
    ("uk", Lang::Ukr),
    ("zh", Lang::Cmn),
];

/// The ISO 639-1 codes of the languages that [`told_apart`] knows.
pub fn codes() -> impl Iterator<Item = &'static str> {
    CODES.iter().map(|(code, _)| *code)
}

/// The language of a text, as ISO 639-1 code, where it is certain which of these it is; `None` where it is not, as in most messages of a few words. Codes that
/// are not known are left out; with none of them all that are known are told apart.
pub fn told_apart<'c>(text: &str, among: impl Iterator<Item = &'c str>) -> Option<&'static str> {
    let text = &text[..text.floor_char_boundary(BYTES_MAX)];
    let known = |code: &str| CODES.iter().find(|(known, _)| *known == code).map(|(_, lang)| *lang);
    let mut among: Vec<Lang> = among.filter_map(known).collect();
    if among.is_empty() {
        among = CODES.iter().map(|(_, lang)| *lang).collect();
    }
    let found = Detector::with_allowlist(among).detect(text).filter(|info| info.is_reliable())?;
    CODES.iter().find(|(_, lang)| *lang == found.lang()).map(|(code, _)| *code)
}

fn trigram_guess(text: &str) -> f32 {
    match Detector::new().detect(text) {
        Some(info) if info.lang() == Lang::Eng => info.confidence() as f32,
        Some(info) => -(info.confidence() as f32),
        None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart_where_they_are_certain() {
        for (text, among, expected) in [
            ("Guten Tag, ich habe meine Bestellung immer noch nicht erhalten und möchte mein Geld zurück", "en de", Some("de")),
            ("Hello, I still have not received my order and I would like to have my money back", "en de", Some("en")),
            ("Bonjour, je n'ai toujours pas reçu ma commande et je voudrais être remboursé", "", Some("fr")),
            ("ok", "en de", None),
            ("123 456", "en de", None),
            ("", "", None),
        ] {
            assert_eq!(told_apart(text, among.split_whitespace()), expected, "{text:?} among {among:?}");
        }
        assert!(codes().all(|code| code.len() == 2) && codes().is_sorted());
    }
}
