//! The façade of the model side: a batch of texts → a batch of [`Signals`].
//!
//! One pass of the trunk serves every head, the embedding and the sentence vectors. Everything here is arithmetic on the calling thread; whoever
//! calls decides about threads and time. The next step of a message is the conversation it belongs to.
//!
//! Bounds: [`super::tokenizer::TEXT_BYTES_MAX`] bytes and [`super::window::WINDOWS_MAX`] windows of each text are read; one engine call holds at
//! most [`Scorer::batch_tokens_max`] padded tokens, so memory does not grow with the batch.

use std::fmt;
use std::ops::Range;

use super::encoder::{EncodeError, Encoder};
use super::examples::{ExampleIntent, ExamplesSpec, unit};
use super::head::{Head, HeadAnswer, HeadsFile, Input, Kind, Pooling, WindowScore};
use super::lexical::Lexicon;
use super::tokenizer::{Tokenizer, Tokens};
use super::{sentence, window};
use crate::signal::{Absence, Embedding, HeadSignal, LanguageKnown, Probability, SENTENCES_MAX, Sentence, Signal, Signals, Span, Windows};

/// Padded tokens of one engine call on a CPU; 1,024 rows of 384 floats stay in the caches (PERFORMANCE: 128–512 for int8, twice that for f32).
const BATCH_TOKENS_CPU: usize = 1024;
/// The same on a GPU, which wants large products.
const BATCH_TOKENS_GPU: usize = 32 * 1024;

/// A loaded model, ready to score. Shared between threads.
pub struct Scorer {
    pub(super) tokenizer: Tokenizer,
    pub(super) encoder: Box<dyn Encoder>,
    pub(super) heads: Vec<Head>,
    pub(super) file: HeadsFile,
    pub(super) lexicon: Lexicon,
    pub(super) digest: String,
    pub(super) trunk_digest: String,
}

/// One text to score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreInput<'a> {
    /// The message.
    pub text: &'a str,
    /// The bot's last turn, for heads that compare the two.
    pub proposal: Option<&'a str>,
}

impl<'a> ScoreInput<'a> {
    /// A message by itself.
    pub fn message(text: &'a str) -> Self {
        Self { text, proposal: None }
    }
}

/// Why a batch has no signals.
#[derive(Debug)]
pub enum ScoreError {
    /// The engine failed.
    Encode(EncodeError),
    /// A head gave a logit that is not finite.
    HeadNotFinite {
        /// Its name.
        head: String,
    },
}

impl fmt::Display for ScoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::HeadNotFinite { head } => write!(f, "head {head} gave a number that is not finite"),
        }
    }
}

impl std::error::Error for ScoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode(error) => std::error::Error::source(error),
            Self::HeadNotFinite { .. } => None,
        }
    }
}

/// What the trunk says of one text before any head has read it.
struct Encoded {
    tokens: Tokens,
    windows: Vec<EncodedWindow>,
    dropped: usize,
    sentences: Vec<Sentence>,
}

struct EncodedWindow {
    range: Range<usize>,
    mean: Vec<f32>,
    cls: Vec<f32>,
}

/// The uncalibrated side of one text, for parity with the reference library; see [`Scorer::reference`].
pub struct Reference {
    /// Ids of the first window, special tokens included.
    pub input_ids: Vec<u32>,
    /// Unit length.
    pub embedding: Embedding,
    /// Calibrated probabilities of each head that reads the message alone.
    pub probabilities: Vec<(String, Vec<f32>)>,
}

impl Scorer {
    /// Signals of each input, in order. The whole batch fails together: what can fail is the engine, not a text.
    pub fn score(&self, inputs: &[ScoreInput<'_>]) -> Result<Vec<Signals>, ScoreError> {
        let wants_proposals = self.heads.iter().any(|head| head.spec.input == Input::Pair);
        let proposals = inputs.iter().filter_map(|input| input.proposal.filter(|_| wants_proposals));
        let texts: Vec<&str> = inputs.iter().map(|input| input.text).chain(proposals).collect();
        let mut encoded = self.encode(&texts)?;
        let mut proposals = encoded.split_off(inputs.len()).into_iter();
        let paired = inputs.iter().zip(encoded).map(|(input, message)| {
            let proposal = input.proposal.filter(|_| wants_proposals).and_then(|_| proposals.next());
            self.signals(input.text, message, proposal)
        });
        paired.collect()
    }

    /// Unit vectors of texts, `None` where a text has no token.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Option<Embedding>>, ScoreError> {
        Ok(self.encode(texts)?.iter().map(|text| self.embedding(text)).collect())
    }

    /// What the reference library computes as well, without guard and scope. Texts without a token are left out of the comparison by the caller.
    pub fn reference(&self, text: &str) -> Result<Reference, ScoreError> {
        let encoded = self.encode(&[text])?.remove(0);
        let ids = encoded.windows.first().map_or(0..0, |w| w.range.clone());
        let mut probabilities = Vec::new();
        for head in self.heads.iter().filter(|head| head.spec.input == Input::Message && !encoded.windows.is_empty()) {
            probabilities.push((head.name().to_owned(), self.read_head(head, &encoded, None)?.probabilities));
        }
        Ok(Reference {
            input_ids: self.tokenizer.window(&encoded.tokens.ids[ids]),
            embedding: self.embedding(&encoded).unwrap_or(Embedding(Vec::new())),
            probabilities,
        })
    }

    /// Whether the model knows the language of a text, without running the trunk; `None` where the package has no guard.
    pub fn judge_language(&self, text: &str) -> Option<LanguageKnown> {
        self.file.language.as_ref().map(|guard| guard.judge(text, &self.tokenizer.encode(text)))
    }

    /// The evidence of the language guard for a text; `None` without a letter.
    pub fn language_features(&self, text: &str) -> Option<[f32; super::language::FEATURES]> {
        super::language::features(text, &self.tokenizer.encode(text))
    }

    /// Calibrated probabilities of one head for an embedding that was computed before (by [`Scorer::embed`]); `None` where the head reads something
    /// else.
    pub fn head_on_embedding(&self, head: &Head, embedding: &Embedding) -> Result<Option<HeadAnswer>, ScoreError> {
        let reads_embedding = head.spec.input == Input::Message && head.spec.pooling == self.file.embedding.pooling && head.spec.normalize;
        if !reads_embedding {
            return Ok(None);
        }
        let z = head.logits(&embedding.0).map_err(|_| not_finite(head))?;
        let p = head.probabilities(&z);
        let in_scope = head.in_scope(&z, &p);
        Ok(Some(HeadAnswer { probabilities: p, in_scope }))
    }

    /// An intent from the texts of its examples.
    pub fn example_intent(&self, examples: &[&str]) -> Result<Option<ExampleIntent>, ScoreError> {
        Ok(ExampleIntent::new(self.embed(examples)?.into_iter().flatten().collect()))
    }

    /// Calibration of intents by example, if the package has it.
    pub fn examples_spec(&self) -> Option<&ExamplesSpec> {
        self.file.examples.as_ref()
    }

    /// The heads, in the order of the package.
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// A head by name.
    pub fn head(&self, name: &str) -> Option<&Head> {
        self.heads.iter().find(|head| head.name() == name)
    }

    /// `heads.json` as it was read.
    pub fn file(&self) -> &HeadsFile {
        &self.file
    }

    /// Engine and device, such as `candle-f32 on cpu`.
    pub fn engine(&self) -> String {
        format!("{} on {}", self.encoder.kind().as_str(), self.encoder.device())
    }

    /// SHA-256 of everything the answers depend on, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// SHA-256 of what the embedding depends on, in hex.
    pub fn trunk_digest(&self) -> &str {
        &self.trunk_digest
    }

    /// Width of the embedding.
    pub fn embedding_size(&self) -> usize {
        self.encoder.hidden_size()
    }

    /// Padded tokens of one engine call.
    pub fn batch_tokens_max(&self) -> usize {
        if self.encoder.device() == "cpu" { BATCH_TOKENS_CPU } else { BATCH_TOKENS_GPU }
    }

    fn signals(&self, text: &str, message: Encoded, proposal: Option<Encoded>) -> Result<Signals, ScoreError> {
        let language = self.language(text, &message);
        let mut signals = Signals {
            language,
            sentiment: Err(Absence::NotInModel),
            emotion: Err(Absence::NotInModel),
            intent: Err(Absence::NotInModel),
            act: Err(Absence::NotInModel),
            other_heads: Vec::new(),
            embedding: self.embedding(&message).ok_or(Absence::NoText),
            sentences: Vec::new(),
            lexical: self.lexicon.find(text),
            windows: Windows { scored: message.windows.len(), dropped: message.dropped, bytes_unread: message.tokens.bytes_unread },
        };
        for head in &self.heads {
            let absence = match language {
                Err(absence) => Some(absence),
                Ok(LanguageKnown { known: false, .. }) => Some(Absence::Language),
                Ok(_) if head.spec.input == Input::Pair && proposal.as_ref().is_none_or(|p| p.windows.is_empty()) => {
                    Some(Absence::NoProposal)
                }
                Ok(_) => None,
            };
            let answer = match absence {
                Some(absence) => Err(absence),
                None => Ok(self.read_head(head, &message, proposal.as_ref())?),
            };
            signals.put(head, answer);
        }
        signals.sentences = message.sentences;
        Ok(signals)
    }

    fn language(&self, text: &str, message: &Encoded) -> Result<LanguageKnown, Absence> {
        if message.windows.is_empty() {
            return Err(Absence::NoText);
        }
        let certain = LanguageKnown { probability: Probability::clamped(1.0), known: true };
        Ok(self.file.language.as_ref().map_or(certain, |guard| guard.judge(text, &message.tokens)))
    }

    /// Probabilities and p(in scope) of a text with at least one window.
    fn read_head(&self, head: &Head, message: &Encoded, proposal: Option<&Encoded>) -> Result<HeadAnswer, ScoreError> {
        let other = proposal.map(|proposal| pooled(proposal, head.spec.pooling, head.spec.normalize));
        let mut scores = Vec::with_capacity(message.windows.len());
        for window in &message.windows {
            let x = scaled(window.vector(head.spec.pooling).to_vec(), head.spec.normalize);
            let x = match (head.spec.input, &other) {
                (Input::Pair, Some(y)) => pair(&x, y),
                _ => x,
            };
            let z = head.logits(&x).map_err(|_| not_finite(head))?;
            let probabilities = head.probabilities(&z);
            let in_scope = head.in_scope(&z, &probabilities);
            scores.push(WindowScore { tokens: window.range.len(), probabilities, in_scope });
        }
        Ok(head.combine(&scores))
    }

    fn embedding(&self, text: &Encoded) -> Option<Embedding> {
        (!text.windows.is_empty()).then(|| unit(pooled(text, self.file.embedding.pooling, false)))
    }

    /// Runs the trunk over all windows of all texts, near lengths together.
    fn encode(&self, texts: &[&str]) -> Result<Vec<Encoded>, ScoreError> {
        let room = self.file.max_seq_len - self.tokenizer.specials_per_window();
        let mut encoded = Vec::with_capacity(texts.len());
        let mut jobs: Vec<(usize, Range<usize>)> = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let tokens = self.tokenizer.encode(text);
            let (ranges, dropped) = window::cut(tokens.ids.len(), room);
            jobs.extend(ranges.into_iter().map(|range| (at, range)));
            encoded.push(Pending::new(text, tokens, dropped, self.embedding_size()));
        }
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        order.sort_by_key(|job| jobs[*job].1.len());
        let mut results: Vec<Option<EncodedWindow>> = jobs.iter().map(|_| None).collect();
        for batch in self.batches(&order, &jobs) {
            let ids: Vec<Vec<u32>> =
                batch.iter().map(|job| self.tokenizer.window(&encoded[jobs[*job].0].tokens.ids[jobs[*job].1.clone()])).collect();
            let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            let states = self.encoder.encode(&ids).map_err(ScoreError::Encode)?;
            for (sequence, job) in batch.iter().enumerate() {
                let (text, range) = &jobs[*job];
                let rows: Vec<&[f32]> = states.rows(sequence).collect();
                encoded[*text].add_sentences(&rows[self.tokenizer.specials_before()..], range);
                results[*job] = Some(EncodedWindow { range: range.clone(), mean: mean(&rows), cls: rows[0].to_vec() });
            }
        }
        let mut windows: Vec<Vec<EncodedWindow>> = texts.iter().map(|_| Vec::new()).collect();
        for ((text, _), window) in jobs.iter().zip(results) {
            windows[*text].extend(window);
        }
        Ok(encoded.into_iter().zip(windows).map(|(text, windows)| text.finish(windows)).collect())
    }

    /// Cuts jobs, ordered by length, into engine calls of at most [`Self::batch_tokens_max`] padded tokens.
    fn batches<'o>(&self, order: &'o [usize], jobs: &[(usize, Range<usize>)]) -> Vec<&'o [usize]> {
        let specials = self.tokenizer.specials_per_window();
        let mut batches = Vec::new();
        let mut start = 0;
        for end in 1..=order.len() {
            let padded = |end: usize| (end - start) * (jobs[order[end - 1]].1.len() + specials);
            if end == order.len() || padded(end + 1) > self.batch_tokens_max() {
                batches.push(&order[start..end]);
                start = end;
            }
        }
        batches
    }
}

impl Signals {
    fn put(&mut self, head: &Head, answer: Signal<HeadAnswer>) {
        let single = |answer: Signal<HeadAnswer>| answer.map(|answer| head.classification(&answer.probabilities, answer.in_scope));
        match (head.name(), head.spec.kind) {
            ("sentiment", Kind::SingleLabel) => self.sentiment = single(answer),
            ("intent", Kind::SingleLabel) => self.intent = single(answer),
            ("act", Kind::SingleLabel) => self.act = single(answer),
            ("emotion", Kind::MultiLabel) => self.emotion = answer.map(|answer| head.tags(&answer.probabilities)),
            (name, Kind::SingleLabel) => self.other_heads.push((name.to_owned(), HeadSignal::Single(single(answer)))),
            (name, Kind::MultiLabel) => {
                self.other_heads.push((name.to_owned(), HeadSignal::Multi(answer.map(|answer| head.tags(&answer.probabilities)))));
            }
        }
    }
}

/// A text on its way through the trunk.
struct Pending {
    tokens: Tokens,
    dropped: usize,
    sentences: Vec<PendingSentence>,
}

struct PendingSentence {
    span: Span,
    sum: Vec<f32>,
    /// Tokens already in the sum, by index: a token in the overlap of two windows counts once.
    tokens: Vec<usize>,
}

impl Pending {
    fn new(text: &str, tokens: Tokens, dropped: usize, width: usize) -> Self {
        let read = &text[..text.len() - tokens.bytes_unread];
        let sentences = sentence::split(read, SENTENCES_MAX);
        let sentences = sentences.into_iter().map(|span| PendingSentence { span, sum: vec![0.0; width], tokens: Vec::new() }).collect();
        Self { tokens, dropped, sentences }
    }

    /// Adds the content states of one window to the sentences they belong to.
    fn add_sentences(&mut self, rows: &[&[f32]], range: &Range<usize>) {
        for (row, token) in rows.iter().zip(range.clone()) {
            let span = self.tokens.spans[token];
            let Some(sentence) = self.sentences.iter_mut().find(|s| s.span.start <= span.start && span.end <= s.span.end) else { continue };
            if !sentence.tokens.contains(&token) {
                sentence.tokens.push(token);
                sentence.sum.iter_mut().zip(*row).for_each(|(sum, v)| *sum += v);
            }
        }
    }

    fn finish(self, windows: Vec<EncodedWindow>) -> Encoded {
        let with_tokens = self.sentences.into_iter().filter(|s| !s.tokens.is_empty());
        let sentences = with_tokens.map(|s| Sentence { span: s.span, embedding: unit(s.sum) }).collect();
        Encoded { tokens: self.tokens, windows, dropped: self.dropped, sentences }
    }
}

impl EncodedWindow {
    fn vector(&self, pooling: Pooling) -> &[f32] {
        match pooling {
            Pooling::Mean => &self.mean,
            Pooling::Cls => &self.cls,
        }
    }
}

/// One vector for all windows of a text: their mean, weighted by tokens.
fn pooled(text: &Encoded, pooling: Pooling, normalize: bool) -> Vec<f32> {
    let total: usize = text.windows.iter().map(|w| w.range.len()).sum();
    let mut sum = vec![0.0; text.windows[0].mean.len()];
    for window in &text.windows {
        let weight = window.range.len() as f32 / total as f32;
        sum.iter_mut().zip(window.vector(pooling)).for_each(|(s, v)| *s += weight * v);
    }
    scaled(sum, normalize)
}

fn scaled(values: Vec<f32>, normalize: bool) -> Vec<f32> {
    if normalize { unit(values).0 } else { values }
}

fn mean(rows: &[&[f32]]) -> Vec<f32> {
    let mut sum = vec![0.0; rows[0].len()];
    for row in rows {
        sum.iter_mut().zip(*row).for_each(|(s, v)| *s += v);
    }
    sum.iter_mut().for_each(|s| *s /= rows.len() as f32);
    sum
}

/// `[x, y, |x - y|, x * y]`.
pub fn pair(x: &[f32], y: &[f32]) -> Vec<f32> {
    let both = || x.iter().zip(y);
    x.iter().chain(y).copied().chain(both().map(|(a, b)| (a - b).abs())).chain(both().map(|(a, b)| a * b)).collect()
}

fn not_finite(head: &Head) -> ScoreError {
    ScoreError::HeadNotFinite { head: head.name().to_owned() }
}
