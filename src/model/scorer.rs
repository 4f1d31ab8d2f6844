//! The façade of the model side: a batch of texts → a batch of [`Signals`].
//!
//! One pass of the trunk serves every head, the embedding and the sentence vectors; a turn of the bot that many messages answer is read once. Everything here is arithmetic on the calling thread; whoever
//! calls decides about threads and time. The next step of a message is the conversation it belongs to.
//!
//! Bounds: [`super::tokenizer::TEXT_BYTES_MAX`] bytes and [`super::window::WINDOWS_MAX`] windows of each text are read; one engine call holds at
//! most [`Scorer::batch_tokens_max`] padded tokens, so memory does not grow with the batch.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::encoder::int8::{Precision, TOKENS_MAX};
use super::encoder::{EncodeError, Encoder, EngineKind, HiddenStates};
use super::examples::{ExampleIntent, ExamplesSpec, unit};
use super::head::{Head, HeadAnswer, HeadsFile, Input, Kind, Pooling, Reading};
use super::lexical::Lexicon;
use super::tokenizer::{Tokenizer, Tokens};
use super::{sentence, window};
use crate::signal::{Absence, Embedding, HeadSignal, LanguageKnown, Probability, SENTENCES_MAX, Sentence, Signal, Signals, Span, Windows};

/// Padded tokens of one call of candle on a CPU; 1,024 rows of 384 floats stay in the caches (PERFORMANCE: 128–512 for int8, twice that for f32).
const BATCH_TOKENS_CPU: usize = 1024;
/// The same on a GPU, which wants large products.
const BATCH_TOKENS_GPU: usize = 32 * 1024;

/// Turns of the bot whose vectors are kept: bots say the same to many. 1,024 turns of one window are 3 MB with a width of 384.
const TURNS_KEPT: usize = 1024;

/// The first 16 bytes of a text's SHA-256: two different texts with one key would take 2^64 texts.
pub type TextKey = [u8; 16];

/// The key of a text.
pub fn text_key(text: &str) -> TextKey {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    *digest.first_chunk().expect("SHA-256 has 32 bytes")
}

/// A loaded model, ready to score. Shared between threads.
pub struct Scorer {
    pub(super) tokenizer: Tokenizer,
    pub(super) encoder: Box<dyn Encoder>,
    /// Where the CPU's faster engine was not taken.
    pub(super) why_not_int8: Option<String>,
    /// Whether the model came without reference answers.
    pub(super) without_reference: bool,
    pub(super) heads: Vec<Head>,
    pub(super) file: HeadsFile,
    pub(super) lexicon: Lexicon,
    pub(super) digest: String,
    pub(super) trunk_digest: String,
    /// Windows of the bot's turns that were read before.
    pub(super) turns: Turns,
}

/// The vectors of the bot's turns, by text.
pub(super) struct Turns(Cache<TextKey, Arc<Vec<EncodedWindow>>>);

impl Default for Turns {
    fn default() -> Self {
        Self(Cache::new(TURNS_KEPT))
    }
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

/// A message with its tokens, cut into windows: all that can be done before the trunk runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    message: Text,
    proposal: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    text: String,
    tokens: Tokens,
    ranges: Vec<Range<usize>>,
    dropped: usize,
    /// Tokens that the trunk will read, special ones included.
    cost: usize,
}

impl Prepared {
    /// Tokens that the trunk will read, special ones included.
    pub fn cost_tokens(&self) -> usize {
        self.message.cost + self.proposal.as_ref().map_or(0, |proposal| proposal.cost)
    }
}

/// What the trunk says of one text before any head has read it.
struct Encoded {
    windows: Vec<EncodedWindow>,
    sentences: Vec<Sentence>,
}

pub(super) struct EncodedWindow {
    tokens: usize,
    /// By layer, as they were asked for.
    layers: Vec<Pooled>,
}

/// The states of one window after one layer: that of the first token, then the mean of all.
struct Pooled(Vec<f32>);

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
    /// The same model on another engine, which is built from the one it has: what serves a model does not depend on what computes it, and tests put engines
    /// here that fail, wait or do nothing.
    pub fn exchange_encoder(self, exchange: impl FnOnce(Box<dyn Encoder>) -> Box<dyn Encoder>) -> Self {
        Self { encoder: exchange(self.encoder), turns: Turns::default(), ..self }
    }

    /// Signals of each input, in order. The whole batch fails together: what can fail is the engine, not a text.
    pub fn score(&self, inputs: &[ScoreInput<'_>]) -> Result<Vec<Signals>, ScoreError> {
        let prepared: Vec<Prepared> = inputs.iter().map(|input| self.prepare(*input)).collect();
        self.score_prepared(&prepared.iter().collect::<Vec<_>>())
    }

    /// The tokens of an input. A proposal is left out where no head reads it.
    pub fn prepare(&self, input: ScoreInput<'_>) -> Prepared {
        let wants_proposals = self.heads.iter().any(|head| head.spec.input == Input::Pair);
        let proposal = input.proposal.filter(|_| wants_proposals);
        Prepared { message: self.text(input.text), proposal: proposal.map(|text| self.text(text)) }
    }

    /// As [`Scorer::score`], for inputs whose tokens are there.
    pub fn score_prepared(&self, inputs: &[&Prepared]) -> Result<Vec<Signals>, ScoreError> {
        let mut turns: HashMap<TextKey, Arc<Vec<EncodedWindow>>> = HashMap::new();
        let mut unread: Vec<(TextKey, &Text)> = Vec::new();
        for proposal in inputs.iter().filter_map(|input| input.proposal.as_ref()) {
            let key = text_key(&proposal.text);
            if turns.contains_key(&key) || unread.iter().any(|(other, _)| *other == key) {
                continue;
            }
            match self.turns.0.get(&key) {
                Some(windows) => drop(turns.insert(key, windows)),
                None => unread.push((key, proposal)),
            }
        }
        let texts: Vec<&Text> = inputs.iter().map(|input| &input.message).chain(unread.iter().map(|(_, text)| *text)).collect();
        let mut encoded = self.encode(&texts, &self.layers())?;
        for ((key, _), turn) in unread.iter().zip(encoded.split_off(inputs.len())) {
            let windows = Arc::new(turn.windows);
            self.turns.0.insert(*key, windows.clone());
            turns.insert(*key, windows);
        }
        let paired = inputs.iter().zip(encoded).map(|(input, message)| {
            let proposal = input.proposal.as_ref().and_then(|proposal| turns.get(&text_key(&proposal.text)));
            self.signals(&input.message, message, proposal.map(|windows| windows.as_slice()))
        });
        paired.collect()
    }

    /// The rules; no model takes part in what they find.
    pub fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// Embeddings of texts, `None` where a text has no token.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Option<Embedding>>, ScoreError> {
        let embedding = Reading { layer: self.encoder.layers(), pooling: self.file.embedding.pooling, normalize: true };
        Ok(self.features(texts, embedding)?.into_iter().map(|vector| vector.map(Embedding)).collect())
    }

    /// The vectors of texts that a reading names; `None` where a text has no token. Heads are fitted on the mean after a layer, of unit length.
    pub fn features(&self, texts: &[&str], reading: Reading) -> Result<Vec<Option<Vec<f32>>>, ScoreError> {
        let texts: Vec<Text> = texts.iter().map(|text| self.text(text)).collect();
        let encoded = self.encode(&texts.iter().collect::<Vec<_>>(), &[reading.layer])?;
        Ok(encoded.iter().map(|text| (!text.windows.is_empty()).then(|| pooled(&text.windows, 0, reading))).collect())
    }

    /// What the reference library computes as well, without guard and scope. Texts without a token are left out of the comparison by the caller.
    pub fn reference(&self, text: &str) -> Result<Reference, ScoreError> {
        let text = self.text(text);
        let encoded = self.encode(&[&text], &self.layers())?.remove(0);
        let ids = text.ranges.first().cloned().unwrap_or(0..0);
        let mut probabilities = Vec::new();
        for head in self.heads.iter().filter(|head| head.spec.input == Input::Message && !encoded.windows.is_empty()) {
            probabilities.push((head.name().to_owned(), self.read_head(head, &encoded.windows, None)?.probabilities));
        }
        Ok(Reference {
            input_ids: self.tokenizer.window(&text.tokens.ids[ids]),
            embedding: self.embedding(&encoded).unwrap_or(Embedding(Vec::new())),
            probabilities,
        })
    }

    /// What the heads that read two turns say of a message after a turn of the bot, without guard. Texts without a token have no answers.
    pub fn reference_of_pair(&self, text: &str, previous: &str) -> Result<Vec<(String, Vec<f32>)>, ScoreError> {
        let (text, previous) = (self.text(text), self.text(previous));
        let encoded = self.encode(&[&text, &previous], &self.layers())?;
        let [message, turn] = &encoded[..] else { unreachable!("two texts have two encodings") };
        let read =
            self.heads.iter().filter(|head| head.spec.input == Input::Pair && !message.windows.is_empty() && !turn.windows.is_empty());
        read.map(|head| Ok((head.name().to_owned(), self.read_head(head, &message.windows, Some(&turn.windows))?.probabilities))).collect()
    }

    /// Whether the model knows the language of a text, without running the trunk; `None` where the package has no guard.
    pub fn judge_language(&self, text: &str) -> Option<LanguageKnown> {
        self.file.language.as_ref().map(|guard| guard.judge(text, &self.tokenizer.encode(text)))
    }

    /// The evidence of the language guard for a text; `None` without a letter.
    pub fn language_features(&self, text: &str) -> Option<[f32; super::language::FEATURES]> {
        super::language::features(text, &self.tokenizer.encode(text))
    }

    /// What a head says of the vector of a message and, where it reads a pair, of the bot's turn: those that [`Scorer::features`] gives for
    /// [`Scorer::reading_of`].
    pub fn head_on_features(&self, head: &Head, message: &[f32], proposal: Option<&[f32]>) -> Result<HeadAnswer, ScoreError> {
        let vector = proposal.map_or_else(|| message.to_vec(), |proposal| pair(message, proposal));
        head.answer(&vector).map_err(|_| not_finite(head))
    }

    /// After which layer a head reads.
    pub fn layer_of(&self, head: &Head) -> usize {
        head.spec.layer.unwrap_or(self.encoder.layers())
    }

    /// Which vector a head reads.
    pub fn reading_of(&self, head: &Head) -> Reading {
        Reading { layer: self.layer_of(head), pooling: head.spec.pooling, normalize: head.spec.normalize }
    }

    /// Number of layers of the trunk.
    pub fn trunk_layers(&self) -> usize {
        self.encoder.layers()
    }

    /// Every layer that somebody reads, ascending; the last is that of the embedding.
    fn layers(&self) -> Vec<usize> {
        let mut layers: Vec<usize> = self.heads.iter().map(|head| self.layer_of(head)).chain([self.encoder.layers()]).collect();
        layers.sort_unstable();
        layers.dedup();
        layers
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

    /// Engine and device, such as `w8a16-avx512-vnni on cpu`; where candle computes on a CPU although nobody asked for it, why; and whether the model came without
    /// reference answers.
    pub fn engine(&self) -> String {
        let why = self.why_not_int8.as_ref().map_or_else(String::new, |why| format!(" (not {}: {why})", Precision::default().as_str()));
        let proof = match (self.without_reference, self.encoder.kind()) {
            (false, _) => "",
            (true, EngineKind::CandleF32) => " (no reference answers came with the model)",
            (true, EngineKind::Int8(..)) => " (no reference answers came with the model: held against candle-f32 on built-in texts)",
        };
        format!("{} on {}{why}{proof}", self.encoder.kind().as_str(), self.encoder.device())
    }

    /// Which engine computes.
    pub fn engine_kind(&self) -> EngineKind {
        self.encoder.kind()
    }

    /// SHA-256 of everything the answers depend on, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// SHA-256 of what the embedding depends on, the family of the engine included, in hex.
    pub fn trunk_digest(&self) -> &str {
        &self.trunk_digest
    }

    /// Width of the embedding.
    pub fn embedding_size(&self) -> usize {
        self.encoder.hidden_size()
    }

    /// Bytes of the weights as the engine and the heads hold them; `None` where the engine cannot tell.
    pub fn weight_bytes(&self) -> Option<u64> {
        let head = |head: &Head| {
            let (weight, bias) = head.weights();
            4 * (weight.len() + bias.len()) as u64
        };
        Some(self.encoder.weight_bytes()? + self.heads.iter().map(head).sum::<u64>())
    }

    /// Whether other threads can help one that scores ([`crate::model::encoder::int8::Team`]).
    pub fn can_be_helped(&self) -> bool {
        self.encoder.can_be_helped()
    }

    /// Padded tokens of one engine call.
    pub fn batch_tokens_max(&self) -> usize {
        match self.encoder.kind() {
            EngineKind::Int8(..) => TOKENS_MAX,
            EngineKind::CandleF32 if self.encoder.device() == "cpu" => BATCH_TOKENS_CPU,
            EngineKind::CandleF32 => BATCH_TOKENS_GPU,
        }
    }

    fn text(&self, text: &str) -> Text {
        let tokens = self.tokenizer.encode(text);
        let specials = self.tokenizer.specials_per_window();
        let (ranges, dropped) = window::cut(tokens.ids.len(), self.file.max_seq_len - specials);
        let cost = ranges.iter().map(|range| range.len() + specials).sum();
        Text { text: text.to_owned(), tokens, ranges, dropped, cost }
    }

    fn signals(&self, text: &Text, message: Encoded, proposal: Option<&[EncodedWindow]>) -> Result<Signals, ScoreError> {
        let language = self.language(text);
        let mut signals = Signals {
            language,
            sentiment: Err(Absence::NotInModel),
            emotion: Err(Absence::NotInModel),
            intent: Err(Absence::NotInModel),
            act: Err(Absence::NotInModel),
            other_heads: Vec::new(),
            embedding: self.embedding(&message).ok_or(Absence::NoText),
            sentences: Vec::new(),
            lexical: self.lexicon.find(&text.text),
            windows: Windows { scored: text.ranges.len(), dropped: text.dropped, bytes_unread: text.tokens.bytes_unread },
        };
        for head in &self.heads {
            let absence = match language {
                Err(absence) => Some(absence),
                Ok(LanguageKnown { known: false, .. }) => Some(Absence::Language),
                Ok(_) if head.spec.input == Input::Pair && proposal.is_none_or(<[_]>::is_empty) => Some(Absence::NoProposal),
                Ok(_) => None,
            };
            let answer = match absence {
                Some(absence) => Err(absence),
                None => Ok(self.read_head(head, &message.windows, proposal)?),
            };
            signals.put(head, answer);
        }
        signals.sentences = message.sentences;
        Ok(signals)
    }

    fn language(&self, text: &Text) -> Result<LanguageKnown, Absence> {
        if text.ranges.is_empty() {
            return Err(Absence::NoText);
        }
        let certain = LanguageKnown { probability: Probability::clamped(1.0), known: true };
        Ok(self.file.language.as_ref().map_or(certain, |guard| guard.judge(&text.text, &text.tokens)))
    }

    /// Probabilities and p(in scope) of a text with at least one window.
    fn read_head(&self, head: &Head, message: &[EncodedWindow], proposal: Option<&[EncodedWindow]>) -> Result<HeadAnswer, ScoreError> {
        let reading = self.reading_of(head);
        let layer = self.layers().iter().position(|layer| *layer == reading.layer).expect("the layer of every head is asked for");
        let other = proposal.filter(|_| head.spec.input == Input::Pair).map(|other| pooled(other, layer, reading));
        let mut scores = Vec::with_capacity(message.len());
        for window in message {
            let x = scaled(window.layers[layer].vector(reading.pooling).to_vec(), reading.normalize);
            scores.push((window.tokens, self.head_on_features(head, &x, other.as_deref())?));
        }
        Ok(head.combine(&scores))
    }

    fn embedding(&self, text: &Encoded) -> Option<Embedding> {
        let last = self.layers().len() - 1;
        let reading = Reading { layer: self.encoder.layers(), pooling: self.file.embedding.pooling, normalize: true };
        (!text.windows.is_empty()).then(|| Embedding(pooled(&text.windows, last, reading)))
    }

    /// Runs the trunk over all windows of all texts, near lengths together; the last of `layers` is that of the sentences.
    fn encode(&self, texts: &[&Text], layers: &[usize]) -> Result<Vec<Encoded>, ScoreError> {
        let jobs: Vec<(usize, &Range<usize>)> =
            texts.iter().enumerate().flat_map(|(at, text)| text.ranges.iter().map(move |range| (at, range))).collect();
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        order.sort_by_key(|job| jobs[*job].1.len());
        let mut sentences: Vec<PendingSentences> = texts.iter().map(|text| PendingSentences::new(text, self.embedding_size())).collect();
        let mut results: Vec<Option<EncodedWindow>> = jobs.iter().map(|_| None).collect();
        for batch in self.batches(&order, &jobs) {
            let window = |job: &usize| self.tokenizer.window(&texts[jobs[*job].0].tokens.ids[jobs[*job].1.clone()]);
            let ids: Vec<Vec<u32>> = batch.iter().map(window).collect();
            let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            let states = self.encoder.encode(&ids, layers).map_err(ScoreError::Encode)?;
            for (sequence, job) in batch.iter().enumerate() {
                let (text, range) = jobs[*job];
                let of_layer = |states: &HiddenStates| {
                    let rows: Vec<&[f32]> = states.rows(sequence).collect();
                    Pooled([rows[0], &mean(&rows)].concat())
                };
                results[*job] = Some(EncodedWindow { tokens: range.len(), layers: states.iter().map(of_layer).collect() });
                let rows = states.last().map(|last| last.rows(sequence).skip(self.tokenizer.specials_before()));
                sentences[text].add(rows.into_iter().flatten(), range, &texts[text].tokens);
            }
        }
        let mut windows: Vec<Vec<EncodedWindow>> = texts.iter().map(|_| Vec::new()).collect();
        for ((text, _), window) in jobs.iter().zip(results) {
            windows[*text].extend(window);
        }
        let sentences = sentences.into_iter().map(PendingSentences::finish);
        Ok(windows.into_iter().zip(sentences).map(|(windows, sentences)| Encoded { windows, sentences }).collect())
    }

    /// Cuts jobs, ordered by length, into engine calls of at most [`Self::batch_tokens_max`] padded tokens.
    fn batches<'o>(&self, order: &'o [usize], jobs: &[(usize, &Range<usize>)]) -> Vec<&'o [usize]> {
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

/// The sentences of a text while its windows go through the trunk.
struct PendingSentences(Vec<PendingSentence>);

struct PendingSentence {
    span: Span,
    sum: Vec<f32>,
    /// Tokens already in the sum, by index: a token in the overlap of two windows counts once.
    tokens: Vec<usize>,
}

impl PendingSentences {
    fn new(text: &Text, width: usize) -> Self {
        let read = &text.text[..text.text.len() - text.tokens.bytes_unread];
        let spans = sentence::split(read, SENTENCES_MAX).into_iter();
        Self(spans.map(|span| PendingSentence { span, sum: vec![0.0; width], tokens: Vec::new() }).collect())
    }

    /// Adds the content states of one window to the sentences they belong to.
    fn add<'s>(&mut self, rows: impl Iterator<Item = &'s [f32]>, range: &Range<usize>, tokens: &Tokens) {
        for (row, token) in rows.zip(range.clone()) {
            let span = tokens.spans[token];
            let within = |sentence: &&mut PendingSentence| sentence.span.start <= span.start && span.end <= sentence.span.end;
            let Some(sentence) = self.0.iter_mut().find(within) else { continue };
            if !sentence.tokens.contains(&token) {
                sentence.tokens.push(token);
                sentence.sum.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
            }
        }
    }

    fn finish(self) -> Vec<Sentence> {
        let with_tokens = self.0.into_iter().filter(|sentence| !sentence.tokens.is_empty());
        with_tokens.map(|sentence| Sentence { span: sentence.span, embedding: unit(sentence.sum) }).collect()
    }
}

impl Pooled {
    fn vector(&self, pooling: Pooling) -> &[f32] {
        let (cls, mean) = self.0.split_at(self.0.len() / 2);
        match pooling {
            Pooling::Mean => mean,
            Pooling::Cls => cls,
            Pooling::ClsMean => &self.0,
        }
    }
}

/// One vector for all windows of a text: their mean, weighted by tokens. `layer` is an index into the layers that were asked for.
fn pooled(windows: &[EncodedWindow], layer: usize, reading: Reading) -> Vec<f32> {
    let total: usize = windows.iter().map(|w| w.tokens).sum();
    let vectors = windows.iter().map(|window| (window.tokens, window.layers[layer].vector(reading.pooling)));
    let mut sum = vec![0.0; windows[0].layers[layer].vector(reading.pooling).len()];
    for (tokens, vector) in vectors {
        let weight = tokens as f32 / total as f32;
        sum.iter_mut().zip(vector).for_each(|(s, v)| *s += weight * v);
    }
    scaled(sum, reading.normalize)
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
