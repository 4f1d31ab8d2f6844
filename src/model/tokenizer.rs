//! TEXT → token ids with their places.
//!
//! In: any UTF-8 text. Out: ids of the package's vocabulary without the special tokens, each with its byte span in the text, and the number of
//! words. The two special tokens of a window are added by [`Tokenizer::window`]. A customer who types `[SEP]` gets the pieces of that text,
//! never the special token.
//!
//! Only the first [`TEXT_BYTES_MAX`] bytes are read, so that any text costs bounded time; what was left out is reported.

mod limits;
mod wordpiece;

use std::collections::HashSet;
use std::sync::OnceLock;

use serde::Deserialize;
use tokenizers::Tokenizer as HfTokenizer;

pub(super) use self::limits::{check as check_limits, check_table};
use self::wordpiece::WordPiece;

use super::fault::Fault;
use crate::signal::Span;

/// Name of the file inside a package.
pub const FILE: &str = "tokenizer.json";

/// Bytes of a text that are tokenised. Eight windows of 254 tokens hold about 9 kB of English; seven times that leaves room for long words.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// What few vocabularies have: a snowman, a hieroglyph, and a letter of nobody.
const UNKNOWN: &str = "\u{2603} \u{13254} \u{e123}";

/// Text to ids by the tokenizer that the model was trained with.
pub struct Tokenizer {
    /// The faster way, where the file allows it.
    word_piece: Option<WordPiece>,
    /// Where there is a faster way, made when a text first needs it: it takes 10 MB.
    by_crate: OnceLock<HfTokenizer>,
    /// What it is made of.
    file: Vec<u8>,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    /// Special tokens, which no text may spell.
    reserved: HashSet<u32>,
    unknown: Option<u32>,
}

/// The tokens of one text, special ones not included; the three parts have one entry a token, `bytes_unread` counts the rest of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Ids of the vocabulary.
    pub ids: Vec<u32>,
    /// Where each token stands in the text.
    pub spans: Vec<Span>,
    /// Which word of the text each token belongs to, counted from 0.
    pub words: Vec<u32>,
    /// Bytes after [`TEXT_BYTES_MAX`] that were not read.
    pub bytes_unread: usize,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and checks it against the trunk's vocabulary.
    pub fn read(bytes: &[u8], vocab_size: usize) -> Result<Self, Vec<Fault>> {
        let fault = |key: &str, found: String, expected: &str| vec![Fault::new(FILE, key, found, expected)];
        check_limits(bytes)?;
        let inner = of_crate(bytes).map_err(|error| fault("", error.to_string(), "a Hugging Face tokenizer"))?;
        if inner.get_truncation().is_some() {
            return Err(fault("truncation", "a setting".into(), "null: Baton cuts long texts into windows itself"));
        }
        if inner.get_padding().is_some() {
            return Err(fault("padding", "a setting".into(), "null: Baton pads batches itself"));
        }
        let largest = inner.get_vocab(true).values().copied().max().unwrap_or(0) as usize;
        // Trunks may have rows for more, up to a round number.
        if largest >= vocab_size {
            let found = format!("{} entries, largest id {largest}", inner.get_vocab_size(true));
            return Err(fault("model.vocab", found, &format!("{vocab_size} entries at most, as vocab_size of config.json says")));
        }
        // What the vocabulary lacks must become the unknown token, or bytes: without either, encoding fails, and `encode` relies on it not failing.
        inner.encode(UNKNOWN, false).map_err(|error| fault("model.unk_token", error.to_string(), "a token for unknown words"))?;
        let (prefix, suffix) = special_tokens(&inner).map_err(|found| fault("post_processor", found, "special tokens round a text"))?;
        let unknown = unknown_token(bytes, &inner);
        let added = inner.get_added_tokens_decoder().into_iter();
        let reserved = added.filter(|(id, token)| token.special && Some(*id) != unknown).map(|(id, _)| id).collect();
        let word_piece = WordPiece::read(bytes);
        let (by_crate, file) = match &word_piece {
            Some(_) => (OnceLock::new(), bytes.to_vec()),
            None => (OnceLock::from(inner), Vec::new()),
        };
        Ok(Self { word_piece, by_crate, file, prefix, suffix, reserved, unknown })
    }

    /// Special tokens that every window carries.
    pub fn specials_per_window(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }

    /// Special tokens before the first token of a window.
    pub fn specials_before(&self) -> usize {
        self.prefix.len()
    }

    /// The tokens of a text.
    pub fn encode(&self, text: &str) -> Tokens {
        let read = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        let fast = self.word_piece.as_ref().and_then(|word_piece| word_piece.encode(read));
        let tokens = fast.unwrap_or_else(|| self.encode_by_crate(read));
        Tokens { bytes_unread: text.len() - read.len(), ..tokens }
    }

    /// The same by the `tokenizers` crate, whatever the file: what our own word pieces are held against. The whole text is read.
    pub fn encode_by_crate(&self, text: &str) -> Tokens {
        let made = || of_crate(&self.file).expect("it was made of the same bytes when the model was loaded");
        let by_crate = self.by_crate.get_or_init(made);
        // A stranger's patterns may give up on some text, although those of the load were read: it has no tokens then, and no signals, which is told as for no text.
        let Ok(encoding) = by_crate.encode(text, false) else { return Tokens::default() };
        let mut tokens = Tokens {
            ids: encoding.get_ids().to_vec(),
            spans: encoding.get_offsets().iter().map(|(start, end)| Span { start: *start, end: *end }).collect(),
            words: encoding.get_word_ids().iter().map(|word| word.unwrap_or(0)).collect(),
            bytes_unread: 0,
        };
        self.replace_reserved(&mut tokens);
        tokens
    }

    /// Vocabularies of sentence pieces hold the special tokens among the pieces, with a score that makes them the first choice: there a text that spells one gets
    /// the unknown token in its place, or nothing where there is none.
    fn replace_reserved(&self, tokens: &mut Tokens) {
        if !tokens.ids.iter().any(|id| self.reserved.contains(id)) {
            return;
        }
        let kept: Vec<usize> =
            (0..tokens.ids.len()).filter(|at| self.unknown.is_some() || !self.reserved.contains(&tokens.ids[*at])).collect();
        let id = |at: &usize| Some(tokens.ids[*at]).filter(|id| !self.reserved.contains(id)).or(self.unknown);
        *tokens = Tokens {
            ids: kept.iter().filter_map(id).collect(),
            spans: kept.iter().map(|at| tokens.spans[*at]).collect(),
            words: kept.iter().map(|at| tokens.words[*at]).collect(),
            bytes_unread: tokens.bytes_unread,
        };
    }

    /// Ids of one window: the special tokens round a run of content tokens.
    pub fn window(&self, ids: &[u32]) -> Vec<u32> {
        [&self.prefix, ids, &self.suffix].concat()
    }
}

/// The tokenizer of the crate, which reads special tokens in a text as any other text.
fn of_crate(bytes: &[u8]) -> tokenizers::Result<HfTokenizer> {
    let mut made = HfTokenizer::from_bytes(bytes)?;
    made.set_encode_special_tokens(true);
    Ok(made)
}

/// The id that stands for what the vocabulary lacks: sentence pieces name it by number, others by its text.
fn unknown_token(bytes: &[u8], inner: &HfTokenizer) -> Option<u32> {
    #[derive(Deserialize)]
    struct File {
        model: Model,
    }
    #[derive(Deserialize)]
    struct Model {
        unk_id: Option<u32>,
        unk_token: Option<String>,
    }
    let file: File = serde_json::from_slice(bytes).ok()?;
    file.model.unk_id.or_else(|| inner.token_to_id(&file.model.unk_token?))
}

/// The special tokens before and after a text, found by encoding one with and without them.
fn special_tokens(inner: &HfTokenizer) -> Result<(Vec<u32>, Vec<u32>), String> {
    let ids = |special| inner.encode("a", special).map(|e| e.get_ids().to_vec()).map_err(|error| error.to_string());
    let (bare, whole) = (ids(false)?, ids(true)?);
    let at = whole.windows(bare.len().max(1)).position(|run| run == bare).ok_or_else(|| format!("{bare:?} became {whole:?}"))?;
    Ok((whole[..at].to_vec(), whole[at + bare.len()..].to_vec()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static SHIPPED: LazyLock<Tokenizer> = LazyLock::new(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/baton-en/tokenizer.json");
        Tokenizer::read(&std::fs::read(file).unwrap(), 30_522).unwrap()
    });

    /// Whether our own word pieces read the text at all, after checking that they read it as the crate does.
    fn agrees(text: &str) -> bool {
        let word_piece = SHIPPED.word_piece.as_ref().expect("the shipped tokenizer is one that we read ourselves");
        let own = word_piece.encode(text);
        if let Some(own) = &own {
            assert_eq!(*own, SHIPPED.encode_by_crate(text), "{text:?}");
        }
        own.is_some()
    }

    #[test]
    fn word_pieces_are_those_of_the_crate() {
        for text in [
            "",
            " \t\r\n ",
            "Where is my refund? I've been waiting for 3 weeks!!!",
            "unaffable re-tokenisation of https://example.com/a_b?c=d#e, e-mail: me@example.org",
            "ÀÉÎÕÜ ñandú Ærøskøbing İstanbul ŒUVRE straße ﬁne \u{1e9b}\u{323} a\u{301}b \u{301}",
            "商品がまだ届きません 한국어 ไทย हिन्दी العربية עברית Ελληνικά; Русский ё й",
            "\u{1f600}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{2764}\u{fe0f} ©®™ € £ “quotes” ‘single’ – — … • ½ №",
            "zero\u{200b}width soft\u{ad}hyphen nul\u{0}nul bell\u{7}bell del\u{7f}del \u{fffd} \u{feff}bom nbsp\u{a0}nbsp \u{2028}line \u{3000}wide",
            "\u{1e023}\u{ec8} a\u{1e023}\u{ec8}b",
            "[CLS] [SEP] [UNK] ##ing a##b ## [ SEP ]",
            "pneumonoultramicroscopicsilicovolcanoconiosis xqzjkvwpt qqqqqqqqqqqqqqqqqqqqqqqqqq",
        ] {
            agrees(text);
        }
        assert!(agrees(&"a".repeat(100)) && agrees(&"a".repeat(101)) && agrees(&"é".repeat(101)));
        assert!(agrees("plain English, with “quotes” and naïve accents \u{1f600}"), "the fast way is taken for what customers write");
        assert!(!agrees("हिन्दी में सामग्री"), "spacing marks go to the crate");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn any_text_has_the_tokens_of_the_crate(text in any::<String>()) {
            agrees(&text);
        }

        #[test]
        fn any_words_have_the_tokens_of_the_crate(text in "([a-zA-Z]{1,12}[ .,!?'’#-]?|[0-9]{1,4} |[à-ÿ]{1,3}|\\PC){0,40}") {
            agrees(&text);
        }
    }
}
