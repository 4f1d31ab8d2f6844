//! Word pieces of BERT vocabularies: the same ids, places and words as the `tokenizers` crate gives, several times as fast.
//!
//! In: a `tokenizer.json` whose parts are those of BERT (uncased), and texts. Out: [`Tokens`]; `None` for a file with anything else in it, and for the rare text
//! with a spacing combining mark, whose order in a canonical decomposition depends on its neighbours: those go to the crate.
//! How a text is read: control characters go; every blank is a space; Chinese characters stand alone; accents go (canonical decomposition without nonspacing
//! marks); lower case; words end at blanks, and each punctuation mark is one; a word becomes the longest pieces of the vocabulary from its left, or, where that
//! fails or it has more than 100 characters, the unknown token. From "BERT" (Devlin et al. 2019), as the crate's `BertNormalizer`, `BertPreTokenizer` and
//! `WordPiece` do it; held against the crate over random texts in the tests of [`super`].

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::Deserialize;
use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::char::{canonical_combining_class, decompose_canonical};

use super::Tokens;
use crate::signal::Span;

/// The vocabulary, cut into pieces that begin a word and those that go on in one.
pub(super) struct WordPiece {
    beginnings: Pieces,
    continuations: Pieces,
    unknown: u32,
    word_chars_max: usize,
    /// Bytes of the longest piece: no longer one is looked for.
    piece_bytes_max: usize,
}

type Pieces = HashMap<Box<[u8]>, u32, BuildHasherDefault<Fnv>>;

/// FNV-1a (Fowler, Noll, Vo): short keys that only the vocabulary's author chooses.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn write_usize(&mut self, _: usize) {
        // The length before a slice: two keys of a table never differ in nothing else.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The parts of the file that decide whether it is one of ours.
#[derive(Deserialize)]
struct File {
    normalizer: Normalizer,
    pre_tokenizer: PreTokenizer,
    model: Model,
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Normalizer {
    BertNormalizer { clean_text: bool, handle_chinese_chars: bool, strip_accents: Option<bool>, lowercase: bool },
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum PreTokenizer {
    BertPreTokenizer,
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Model {
    WordPiece { unk_token: String, continuing_subword_prefix: String, max_input_chars_per_word: usize, vocab: HashMap<String, u32> },
}

#[derive(Deserialize)]
struct Added {
    special: bool,
}

impl WordPiece {
    /// Reads a file; `None` where it is not of this form.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let file: File = serde_json::from_slice(json).ok()?;
        let Normalizer::BertNormalizer { clean_text, handle_chinese_chars, strip_accents, lowercase } = file.normalizer;
        let PreTokenizer::BertPreTokenizer = file.pre_tokenizer;
        let Model::WordPiece { unk_token, continuing_subword_prefix, max_input_chars_per_word, vocab } = file.model;
        let plain = clean_text && handle_chinese_chars && strip_accents.unwrap_or(lowercase) && lowercase;
        // Added tokens that are not special are looked for in the text before anything else.
        if !plain || continuing_subword_prefix.is_empty() || file.added_tokens.iter().any(|added| !added.special) {
            return None;
        }
        let unknown = *vocab.get(&unk_token)?;
        let (mut beginnings, mut continuations) = (Pieces::default(), Pieces::default());
        let mut piece_bytes_max = 0;
        for (piece, id) in vocab {
            piece_bytes_max = piece_bytes_max.max(piece.len());
            if let Some(rest) = piece.strip_prefix(&continuing_subword_prefix) {
                continuations.insert(rest.as_bytes().into(), id);
            }
            // A word may begin with what continuations begin with, where the vocabulary has it so.
            beginnings.insert(piece.as_bytes().into(), id);
        }
        Some(Self { beginnings, continuations, unknown, word_chars_max: max_input_chars_per_word, piece_bytes_max })
    }

    /// The tokens of a text; `None` for one that the crate must read.
    pub(super) fn encode(&self, text: &str) -> Option<Tokens> {
        let mut tokens = Tokens::default();
        let mut word = Word::default();
        let mut known = true;
        for (start, char) in text.char_indices() {
            let span = Span { start, end: start + char.len_utf8() };
            if char.is_ascii() {
                self.take_ascii(char as u8, span, &mut word, &mut tokens);
            } else {
                known &= self.take_other(char, span, &mut word, &mut tokens);
            }
        }
        self.finish(&mut word, &mut tokens);
        known.then_some(tokens)
    }

    #[inline]
    fn take_ascii(&self, byte: u8, span: Span, word: &mut Word, tokens: &mut Tokens) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => self.finish(word, tokens),
            // Control characters go, and do not end a word.
            0..=31 | 127 => {}
            _ if byte.is_ascii_punctuation() => self.mark(char::from(byte), span, word, tokens),
            _ => word.push(char::from(byte.to_ascii_lowercase()), span),
        }
    }

    /// Whether the character is one that we read as the crate does.
    fn take_other(&self, char: char, span: Span, word: &mut Word, tokens: &mut Tokens) -> bool {
        if char == '\u{fffd}' || char.is_other() {
            return true;
        }
        if char.is_whitespace() {
            self.finish(word, tokens);
            return true;
        }
        let alone = is_chinese(char);
        if alone {
            self.finish(word, tokens);
        }
        let mut known = true;
        decompose_canonical(char, |part| {
            known &= !part.is_mark_spacing_combining();
            if part.is_mark_nonspacing() {
                return;
            }
            // A mark that is newer than the table of categories stays, and the crate puts it where the order of marks wants it.
            known &= canonical_combining_class(part) == 0;
            for lower in part.to_lowercase() {
                if lower.is_whitespace() {
                    self.finish(word, tokens);
                } else if lower.is_ascii_punctuation() || lower.is_punctuation() {
                    self.mark(lower, span, word, tokens);
                } else {
                    word.push(lower, span);
                }
            }
        });
        if alone {
            self.finish(word, tokens);
        }
        known
    }

    /// A punctuation mark is a word of its own.
    fn mark(&self, char: char, span: Span, word: &mut Word, tokens: &mut Tokens) {
        self.finish(word, tokens);
        word.push(char, span);
        self.finish(word, tokens);
    }

    /// Ends a word: its pieces are the tokens.
    fn finish(&self, word: &mut Word, tokens: &mut Tokens) {
        if word.chars.is_empty() {
            return;
        }
        let (number, first) = (word.number, tokens.ids.len());
        let mut at = 0;
        let whole = word.chars.len() <= self.word_chars_max;
        while whole && at < word.chars.len() {
            let Some((id, next)) = self.longest(word, at) else { break };
            tokens.ids.push(id);
            tokens.spans.push(Span { start: word.chars[at].span.start, end: word.chars[next - 1].span.end });
            tokens.words.push(number);
            at = next;
        }
        if at < word.chars.len() {
            // No way to the end of the word: it is unknown as a whole.
            let span = Span { start: word.chars[0].span.start, end: word.chars[word.chars.len() - 1].span.end };
            tokens.ids.truncate(first);
            tokens.spans.truncate(first);
            tokens.words.truncate(first);
            tokens.ids.push(self.unknown);
            tokens.spans.push(span);
            tokens.words.push(number);
        }
        word.number += 1;
        word.bytes.clear();
        word.chars.clear();
    }

    /// The longest piece from this character on: its id, and the character after it.
    fn longest(&self, word: &Word, at: usize) -> Option<(u32, usize)> {
        let pieces = if at == 0 { &self.beginnings } else { &self.continuations };
        let from = word.chars[at].byte;
        let mut end = word.chars.len();
        while end > at {
            let to = word.chars.get(end).map_or(word.bytes.len(), |char| char.byte);
            if to - from <= self.piece_bytes_max
                && let Some(id) = pieces.get(&word.bytes[from..to])
            {
                return Some((*id, end));
            }
            end -= 1;
        }
        None
    }
}

/// A word as far as it was read.
#[derive(Default)]
struct Word {
    bytes: Vec<u8>,
    chars: Vec<Char>,
    /// Words before it.
    number: u32,
}

struct Char {
    /// Where it begins in the word.
    byte: usize,
    /// The character of the text that it came from.
    span: Span,
}

impl Word {
    #[inline]
    fn push(&mut self, char: char, span: Span) {
        self.chars.push(Char { byte: self.bytes.len(), span });
        self.bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// The blocks of ideographs that BERT sets apart.
fn is_chinese(char: char) -> bool {
    matches!(u32::from(char),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF
        | 0x2F800..=0x2FA1F)
}
