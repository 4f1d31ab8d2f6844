//! The int8 engine: BERT, RoBERTa, XLM-R and DistilBERT on a CPU, products in bytes, everything else in `f32`.
//!
//! In and out as [`Encoder`]. Weights are signed bytes with one scale an output channel, activations one or two bytes ([`Precision`]) with one scale a token: one
//! scale for a whole tensor ruins small models (onnxruntime issue 9599), and so does, with one byte, the one large channel that layer norms leave, which is kept
//! apart then ([`rows::Range`]). The rows of all messages stand in one matrix without padding; only attention sees where a message ends.
//! Nothing here depends on what else is in the batch, nor on the processor: all kernels give the same bits.
//!
//! One forward pass runs on the calling thread from start to end, in buffers that are kept for the next; other threads may help with products and attention
//! ([`Team`]).
//!
//! | step | from → to |
//! |---|---|
//! | embed | ids → x `f32` |
//! | bytes of x, product | x → queries, keys, values, in one product |
//! | attend | → context |
//! | bytes of the context, product, add and norm | context → x |
//! | bytes of x, product with GELU | x → inner |
//! | bytes of inner, product, add and norm | inner → x |
//!
//! From "BERT: Pre-training of Deep Bidirectional Transformers" (Devlin et al. 2019), as [`super::candle`]; the form of the products is our choice, measured by
//! `benches/encoder.rs`.
#![expect(unsafe_code, reason = "the one place for it: vector instructions and the buffers that they walk over")]
#![allow(
    clippy::needless_range_loop,
    reason = "rows of registers are walked beside pointers, by their number; iterators over both would hide which is which"
)]
#![allow(clippy::excessive_precision, reason = "coefficients as they were fitted, to nine digits")]

mod kernel;
mod lanes;
mod matrix;
mod measure;
mod rows;
mod team;

use std::sync::{Mutex, PoisonError};

pub use self::kernel::KernelKind;
use self::kernel::ROWS_MAX;
use self::lanes::LANES;
use self::matrix::{Aligned, PackedMatrix};
pub use self::measure::{Peak, ProductBench, StepBench};
use self::rows::{Activations, AddNorm, Attention, Beside, Embed, Largest, Range, Steps, Then, ToBytes};
pub use self::team::{MEMBERS_MAX, Team};
use super::{EncodeError, Encoder, EngineKind, HiddenStates, LayerWeights, Norm, TrunkWeights};
use crate::model::config::{Activation, Family, TrunkConfig};

/// Tokens of one pass; longer calls are cut between sequences. Buffers of 256 tokens at a width of 384 are 4 MB and stay in the second cache mostly (our choice,
/// measured by `benches/encoder.rs`).
pub const TOKENS_MAX: usize = 256;

/// Parts of a product that is helped with: some microseconds each, so that a helper that is held up holds up little.
const PRODUCT_PARTS_MAX: usize = 8;

/// Bits of a weight and of an activation in a product, in the field's short form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// A byte for each: the fastest. What is lost turns the label of one message in a hundred to five hundred, those whose first two labels are nearly tied, which
    /// moves a figure of a test of a few hundred messages by up to 0.8 point (the model card's table).
    W8A8,
    /// A byte for a weight, two for an activation: the labels of f32, for 1.3 to 1.4 times the time with AMX, 1.5 to 1.9 times with AVX512-VNNI (measured by
    /// `benches/encoder.rs`).
    #[default]
    W8A16,
}

impl Precision {
    /// Name on the command line and in logs: that of one byte is the one that engines with products in bytes have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::W8A8 => "int8",
            Self::W8A16 => "w8a16",
        }
    }
}

/// A trunk.
pub struct Int8Encoder {
    kind: KernelKind,
    precision: Precision,
    ranges: Ranges,
    steps: &'static Steps,
    hidden_size: usize,
    heads: usize,
    activation: Activation,
    eps: f32,
    /// `[vocab_size, hidden_size]`, only looked up.
    words: Vec<i8>,
    /// `[vocab_size]`
    word_scales: Vec<f32>,
    /// `[max_seq_len, hidden_size]`: positions with the token type added.
    positions: Vec<f32>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    /// Buffers that no pass uses now; as many as passes ran at once.
    buffers: Mutex<Vec<Buffers>>,
}

struct Layer {
    qkv: PackedMatrix,
    attention_output: PackedMatrix,
    attention_norm: Norm,
    intermediate: PackedMatrix,
    output: PackedMatrix,
    output_norm: Norm,
}

/// What a pass writes and reads; `tokens` is how many it has room for.
struct Buffers {
    tokens: usize,
    x: Aligned,
    /// Queries, keys and values, later the inner states.
    wide: Aligned,
    context: Aligned,
    y: Aligned,
    bytes: Aligned,
    scales: Aligned,
    largest: Aligned,
    keys: Aligned,
    weights: Aligned,
}

/// Why a trunk cannot run on this engine, if it cannot; the candle engine takes it then.
pub fn unsupported(config: &TrunkConfig) -> Option<String> {
    match config.family {
        Family::Bert | Family::Roberta | Family::DistilBert => {}
        Family::DebertaV2(_) | Family::ModernBert(_) => return Some(format!("it has the layers of {}", config.family.name())),
    }
    let widths = [("hidden_size", config.hidden_size), ("intermediate_size", config.intermediate_size)];
    widths
        .into_iter()
        .find(|(_, width)| !width.is_multiple_of(LANES))
        .map(|(key, width)| format!("{key} is {width}, no multiple of {LANES}"))
}

impl Int8Encoder {
    /// Packs the weights for the fastest kernel of this machine.
    ///
    /// # Panics
    /// Where [`unsupported`] says why not.
    pub fn new(config: &TrunkConfig, weights: TrunkWeights, precision: Precision) -> Self {
        Self::with_kernel(config, weights, precision, KernelKind::best())
    }

    /// The same for a given kernel, which must be available.
    pub fn with_kernel(config: &TrunkConfig, weights: TrunkWeights, precision: Precision, kind: KernelKind) -> Self {
        assert_eq!(unsupported(config), None, "the caller asks first");
        let TrunkWeights::Bert(weights) = weights else { unreachable!("the weights are those of the configuration") };
        let h = config.hidden_size;
        let ranges = Ranges::new(precision, config.hidden_act);
        let (words, word_scales) = weights.word_embeddings.into_int8(h);
        let mut positions = weights.position_embeddings;
        for row in positions.chunks_exact_mut(h) {
            for (position, token_type) in row.iter_mut().zip(&weights.token_type_embedding) {
                *position += token_type;
            }
        }
        Self {
            kind,
            precision,
            ranges,
            steps: rows::steps(kind),
            hidden_size: h,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            eps: config.layer_norm_eps as f32,
            words,
            word_scales,
            positions,
            embedding_norm: weights.embedding_norm,
            layers: weights.layers.into_iter().map(|layer| Layer::new(layer, ranges)).collect(),
            buffers: Mutex::new(Vec::new()),
        }
    }

    /// Which kernel multiplies.
    pub fn kernel(&self) -> KernelKind {
        self.kind
    }

    /// Bytes of weights that it holds.
    pub fn weight_bytes(&self) -> usize {
        let matrices = self.layers.iter().flat_map(|layer| [&layer.qkv, &layer.attention_output, &layer.intermediate, &layer.output]);
        self.words.len() + 4 * (self.word_scales.len() + self.positions.len()) + matrices.map(PackedMatrix::bytes).sum::<usize>()
    }

    /// One pass over sequences of at most [`TOKENS_MAX`] tokens together, or over one longer one. `after(layer, x)` sees the states `[tokens, hidden_size]` of all
    /// sequences after each layer, counted from 1. Allocates nothing once a pass of as many tokens has run.
    pub fn forward(&self, sequences: &[&[u32]], mut after: impl FnMut(usize, &[f32])) {
        let tokens: usize = sequences.iter().map(|ids| ids.len()).sum();
        let longest = sequences.iter().map(|ids| ids.len()).max().unwrap_or(0);
        if tokens == 0 {
            return;
        }
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_else(Buffers::none);
        buffers.make_room(self, tokens, longest);
        let h = self.hidden_size;
        let mut pass = Pass::new(self, &mut buffers, tokens);
        pass.embed(sequences);
        for (number, layer) in (1..).zip(&self.layers) {
            pass.run(layer, sequences);
            // SAFETY: the buffer holds `tokens` rows of `h` numbers, which nobody writes until `after` returns.
            after(number, unsafe { std::slice::from_raw_parts(pass.x, tokens * h) });
        }
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
    }
}

impl Encoder for Int8Encoder {
    fn kind(&self) -> EngineKind {
        EngineKind::Int8(self.precision, self.kind)
    }

    fn device(&self) -> &'static str {
        "cpu"
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn layers(&self) -> usize {
        self.layers.len()
    }

    fn weight_bytes(&self) -> Option<u64> {
        let floats = |values: usize| 4 * values as u64;
        let norm = |norm: &Norm| floats(norm.weight.len() + norm.bias.len());
        let layer = |layer: &Layer| {
            let matrices = [&layer.qkv, &layer.attention_output, &layer.intermediate, &layer.output];
            let of_matrices: u64 = matrices.iter().map(|matrix| matrix.bytes_held()).sum();
            of_matrices + norm(&layer.attention_norm) + norm(&layer.output_norm)
        };
        let tables = self.words.len() as u64 + floats(self.word_scales.len() + self.positions.len());
        Some(tables + norm(&self.embedding_norm) + self.layers.iter().map(layer).sum::<u64>())
    }

    fn can_be_helped(&self) -> bool {
        true
    }

    fn encode(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<HiddenStates>, EncodeError> {
        let h = self.hidden_size;
        let rows = self.word_scales.len();
        if let Some(id) = sequences.iter().flat_map(|ids| ids.iter()).find(|id| **id as usize >= rows) {
            return Err(EncodeError::Device(format!("token id {id} is beyond the table of {rows} words").into()));
        }
        let tokens = sequences.iter().map(|ids| ids.len()).sum();
        let mut states: Vec<HiddenStates> = layers.iter().map(|_| HiddenStates::with_capacity(h, tokens)).collect();
        let mut finite = true;
        for part in parts(sequences) {
            self.forward(part, |layer, x| {
                let Some(wanted) = layers.iter().position(|wanted| *wanted == layer) else { return };
                finite &= x.iter().all(|value| value.is_finite());
                let mut from = 0;
                for ids in part {
                    states[wanted].push(&x[from * h..(from + ids.len()) * h]);
                    from += ids.len();
                }
            });
        }
        if finite { Ok(states) } else { Err(EncodeError::NotFinite) }
    }
}

/// Runs of sequences of at most [`TOKENS_MAX`] tokens together; one that is longer is by itself.
fn parts<'a, 's>(mut sequences: &'a [&'s [u32]]) -> impl Iterator<Item = &'a [&'s [u32]]> {
    std::iter::from_fn(move || {
        let (mut taken, mut tokens) = (0, 0);
        while taken < sequences.len() && (taken == 0 || tokens + sequences[taken].len() <= TOKENS_MAX) {
            tokens += sequences[taken].len();
            taken += 1;
        }
        let (part, rest) = sequences.split_at(taken);
        sequences = rest;
        (taken > 0).then_some(part)
    })
}

impl Layer {
    fn new(weights: LayerWeights, ranges: Ranges) -> Self {
        let pack = |parts, range: Range| PackedMatrix::new(parts, range.zero_point());
        Self {
            qkv: pack(vec![weights.query, weights.key, weights.value], ranges.states),
            attention_output: pack(vec![weights.attention_output], ranges.context),
            attention_norm: weights.attention_norm,
            intermediate: pack(vec![weights.intermediate], ranges.states),
            output: pack(vec![weights.output], ranges.inner),
            output_norm: weights.output_norm,
        }
    }
}

/// Which bytes stand for what is multiplied.
#[derive(Clone, Copy)]
struct Ranges {
    /// What a layer norm gives.
    states: Range,
    /// What attention gives.
    context: Range,
    /// What the activation gives.
    inner: Range,
}

impl Ranges {
    fn new(precision: Precision, activation: Activation) -> Self {
        match (precision, activation) {
            (Precision::W8A16, _) => Self { states: Range::TwoBytes, context: Range::TwoBytes, inner: Range::TwoBytes },
            (Precision::W8A8, Activation::GeluErf) => {
                Self { states: Range::SansLargest, context: Range::Symmetric, inner: Range::MostlyPositive }
            }
            (Precision::W8A8, Activation::Relu) => Self { states: Range::SansLargest, context: Range::Symmetric, inner: Range::Positive },
        }
    }
}

impl Buffers {
    fn none() -> Self {
        let [x, wide, context, y, bytes, scales, largest, keys, weights] = std::array::from_fn(|_| Aligned::zeroed(0));
        Self { tokens: 0, x, wide, context, y, bytes, scales, largest, keys, weights }
    }

    /// Room for a pass; what was there is of no use.
    fn make_room(&mut self, encoder: &Int8Encoder, tokens: usize, longest: usize) {
        const F32: usize = 4;
        // A lone long sequence sets the size once; most passes find room.
        let rows = tokens.max(TOKENS_MAX.min(tokens.next_power_of_two())).next_multiple_of(ROWS_MAX);
        let strides = Strides::new(encoder);
        let longest = longest.next_multiple_of(LANES);
        self.keys.grow(MEMBERS_MAX * longest * strides.head.next_multiple_of(LANES) * F32);
        self.weights.grow(MEMBERS_MAX * 4 * longest * F32);
        if self.tokens >= rows {
            return;
        }
        self.x.grow(rows * encoder.hidden_size * F32);
        // Attention reads 16 rows beyond the last, and 16 numbers beyond the last head.
        self.wide.grow((rows + LANES + 1) * strides.wide * F32);
        self.context.grow((rows + 1) * strides.context * F32);
        self.y.grow(rows * strides.y * F32);
        self.bytes.grow(rows * strides.bytes * encoder.ranges.states.bytes());
        self.scales.grow(rows * F32);
        self.largest.grow(rows * size_of::<Largest>());
        self.tokens = rows;
    }
}

/// Distances of rows.
#[derive(Clone, Copy)]
struct Strides {
    head: usize,
    wide: usize,
    context: usize,
    y: usize,
    bytes: usize,
}

impl Strides {
    fn new(encoder: &Int8Encoder) -> Self {
        let head = encoder.hidden_size / encoder.heads;
        let (mut wide, mut y, mut bytes) = (0, 0, 0);
        for layer in &encoder.layers {
            wide = wide.max(layer.qkv.outputs).max(layer.intermediate.outputs);
            y = y.max(layer.attention_output.outputs).max(layer.output.outputs);
            bytes = bytes.max(layer.qkv.inputs).max(layer.output.inputs);
        }
        // What a head writes beyond its size lands in the next one's place before that is written, and behind the last in this room.
        let context = encoder.hidden_size + if head.is_multiple_of(LANES) { 0 } else { LANES };
        Self { head, wide, context, y, bytes }
    }
}

/// What a pass consists of: [`Step::Embed`], then the others for each layer. Each begins by making bytes of what it multiplies, and ends with the norm
/// of what it adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ids to states.
    Embed,
    /// States to queries, keys and values.
    QueriesKeysValues,
    /// Those to the context.
    Attend,
    /// Context to states.
    AttentionOutput,
    /// States to inner states, activation included.
    Intermediate,
    /// Inner states to states.
    Output,
}

impl Step {
    /// In their order.
    pub const OF_A_LAYER: [Self; 5] = [Self::QueriesKeysValues, Self::Attend, Self::AttentionOutput, Self::Intermediate, Self::Output];
}

/// One pass: where everything stands.
struct Pass<'a> {
    encoder: &'a Int8Encoder,
    strides: Strides,
    tokens: usize,
    x: *mut f32,
    wide: *mut f32,
    context: *mut f32,
    y: *mut f32,
    bytes: *mut u8,
    scales: *mut f32,
    largest: *mut Largest,
    keys: *mut f32,
    weights: *mut f32,
}

/// Pointers that several threads use at once, each for places of its own.
struct Shared<T>(T);

// SAFETY: whoever makes one splits the places that are written.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The whole, so that a closure does not take the pointers out of it.
    fn get(&self) -> &Self {
        self
    }
}

impl<'a> Pass<'a> {
    fn new(encoder: &'a Int8Encoder, buffers: &mut Buffers, tokens: usize) -> Self {
        Self {
            encoder,
            strides: Strides::new(encoder),
            tokens,
            x: buffers.x.as_mut_ptr(),
            wide: buffers.wide.as_mut_ptr(),
            context: buffers.context.as_mut_ptr(),
            y: buffers.y.as_mut_ptr(),
            bytes: buffers.bytes.as_mut_ptr(),
            scales: buffers.scales.as_mut_ptr(),
            largest: buffers.largest.as_mut_ptr(),
            keys: buffers.keys.as_mut_ptr(),
            weights: buffers.weights.as_mut_ptr(),
        }
    }

    fn embed(&mut self, sequences: &[&[u32]]) {
        let encoder = self.encoder;
        let h = encoder.hidden_size;
        let mut row = 0;
        for ids in sequences {
            for (position, id) in ids.iter().enumerate() {
                let id = *id as usize;
                let step = Embed {
                    word: encoder.words[id * h..(id + 1) * h].as_ptr(),
                    scale: encoder.word_scales[id],
                    position: encoder.positions[position * h..(position + 1) * h].as_ptr(),
                    x: self.x.wrapping_add(row * h),
                    weight: encoder.embedding_norm.weight.as_ptr(),
                    bias: encoder.embedding_norm.bias.as_ptr(),
                    eps: encoder.eps,
                    width: h,
                };
                // SAFETY: the kernel is available; each source was sliced to h, the norm holds h, and x has a row for each token.
                unsafe { (encoder.steps.embed)(&step) }
                row += 1;
            }
        }
    }

    fn run(&mut self, layer: &Layer, sequences: &[&[u32]]) {
        for step in Step::OF_A_LAYER {
            self.step(step, layer, sequences);
        }
    }

    /// One step of a layer, on what the steps before it left in the buffers.
    fn step(&mut self, step: Step, layer: &Layer, sequences: &[&[u32]]) {
        let (x, h, ranges) = (self.x, self.encoder.hidden_size, self.encoder.ranges);
        match step {
            Step::Embed => self.embed(sequences),
            Step::QueriesKeysValues => {
                self.write_bytes(x, h, h, &layer.qkv, ranges.states);
                self.product(&layer.qkv, ranges.states, Then::Keep, self.wide, layer.qkv.outputs);
            }
            Step::Attend => self.attend(layer, sequences),
            Step::AttentionOutput => {
                self.write_bytes(self.context, self.strides.context, h, &layer.attention_output, ranges.context);
                self.product(&layer.attention_output, ranges.context, Then::Keep, self.y, layer.attention_output.outputs);
                self.add_norm(layer.attention_output.outputs, &layer.attention_norm);
            }
            Step::Intermediate => {
                self.write_bytes(x, h, h, &layer.intermediate, ranges.states);
                let then = Then::Activate(self.encoder.activation);
                self.product(&layer.intermediate, ranges.states, then, self.wide, layer.intermediate.outputs);
            }
            Step::Output => {
                // Inner states beyond the width come from weights and a bias of 0: they are 0, and meet weights of 0.
                let width = layer.output.inputs.min(layer.intermediate.outputs);
                self.write_bytes(self.wide, layer.intermediate.outputs, width, &layer.output, ranges.inner);
                self.product(&layer.output, ranges.inner, Then::Keep, self.y, layer.output.outputs);
                self.add_norm(layer.output.outputs, &layer.output_norm);
            }
        }
    }

    fn attend(&mut self, layer: &Layer, sequences: &[&[u32]]) {
        let (heads, head_size) = (self.encoder.heads, self.strides.head);
        let attention = Attention {
            qkv: self.wide,
            qkv_stride: layer.qkv.outputs,
            context: self.context,
            context_stride: self.strides.context,
            keys: self.keys,
            weights: self.weights,
            heads,
            head_size,
        };
        let mut first = 0;
        for ids in sequences {
            let tokens = ids.len();
            // A head that is no multiple of a register writes into the place of the next, which must come later then.
            if team::is_helped() && head_size.is_multiple_of(LANES) {
                let (steps, shared) = (self.encoder.steps, Shared(attention));
                team::split(heads, &|head, member| {
                    let Shared(mut own) = *shared.get();
                    let longest = tokens.next_multiple_of(LANES);
                    own.keys = own.keys.wrapping_add(member * longest * head_size);
                    own.weights = own.weights.wrapping_add(member * 4 * longest);
                    // SAFETY: the kernel is available; `make_room` gave each member the room that `Attention` asks for, and each head writes its own columns.
                    unsafe { (steps.attend)(&own, head..head + 1, first, tokens) }
                });
            } else {
                // SAFETY: the kernel is available; `make_room` gave the room that `Attention` asks for.
                unsafe { (self.encoder.steps.attend)(&attention, 0..heads, first, tokens) }
            }
            first += tokens;
        }
    }

    /// Rows of numbers → the bytes that a matrix reads.
    fn write_bytes(&mut self, x: *const f32, stride: usize, width: usize, matrix: &PackedMatrix, range: Range) {
        let (bytes, scales, rows, bytes_stride) = (self.bytes, self.scales, self.tokens, matrix.inputs);
        let step = ToBytes { x, stride, width, rows, bytes, bytes_stride, scales, largest: self.largest, range };
        // SAFETY: the kernel is available; `x` holds `rows` rows of `width` numbers, and `make_room` gave as many rows of bytes, scales and largest.
        unsafe { (self.encoder.steps.to_bytes)(&step) }
    }

    fn product(&mut self, matrix: &PackedMatrix, range: Range, then: Then, out: *mut f32, out_stride: usize) {
        let beside = match range {
            Range::SansLargest => Beside::Largest(self.largest),
            Range::TwoBytes => Beside::SecondByte,
            Range::Symmetric | Range::MostlyPositive | Range::Positive => Beside::Nothing,
        };
        let a = Activations { bytes: self.bytes, scales: self.scales, beside, rows: self.tokens };
        if !team::is_helped() {
            // SAFETY: the kernel is available; `write_bytes` wrote the rows for this matrix, the buffer holds whole blocks of them, and `out` has a row of
            // `matrix.outputs` for each.
            unsafe { (self.encoder.steps.product)(&a, matrix, matrix.panels(), then, out, out_stride) }
            return;
        }
        let (steps, panels, shared) = (self.encoder.steps, matrix.panels().len(), Shared((a, out)));
        let size = panels.div_ceil(PRODUCT_PARTS_MAX);
        team::split(panels.div_ceil(size), &|part, _| {
            let Shared((a, out)) = shared.get();
            let own = part * size..panels.min((part + 1) * size);
            // SAFETY: as above, and each part writes the columns of its own panels.
            unsafe { (steps.product)(a, matrix, own, then, *out, out_stride) }
        });
    }

    fn add_norm(&mut self, y_stride: usize, norm: &Norm) {
        let step = AddNorm {
            x: self.x,
            y: self.y,
            y_stride,
            weight: norm.weight.as_ptr(),
            bias: norm.bias.as_ptr(),
            eps: self.encoder.eps,
            width: self.encoder.hidden_size,
            rows: self.tokens,
        };
        // SAFETY: the kernel is available; x and y hold `tokens` rows, the norm h numbers.
        unsafe { (self.encoder.steps.add_norm)(&step) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::encoder::{BertWeights, Linear};
    use crate::model::weights::Matrix;
    use crate::random::Random;

    fn available() -> impl Iterator<Item = KernelKind> {
        KernelKind::ALL.into_iter().filter(|kind| kind.is_available())
    }

    /// Both precisions on each of them.
    fn engines() -> impl Iterator<Item = (Precision, KernelKind)> {
        available().flat_map(|kind| [Precision::W8A8, Precision::W8A16].map(|precision| (precision, kind)))
    }

    /// Numbers between -1 and 1.
    fn numbers(random: &mut Random, count: usize) -> Vec<f32> {
        (0..count).map(|_| random.below(20_001) as f32 / 10_000.0 - 1.0).collect()
    }

    fn linear(random: &mut Random, outputs: usize, inputs: usize) -> Linear {
        Linear { weight: Matrix::Float(numbers(random, outputs * inputs)), bias: numbers(random, outputs), outputs, inputs }
    }

    #[test]
    fn every_kernel_multiplies_as_a_naive_product_does() {
        let mut random = Random::new(9);
        for case in 0..75 {
            let (rows, inputs, outputs) = (1 + random.below(70), 1 + random.below(300), 1 + random.below(200));
            let range = [Range::Symmetric, Range::MostlyPositive, Range::Positive, Range::SansLargest, Range::TwoBytes][case % 5];
            let linear = linear(&mut random, outputs, inputs);
            multiplies_as_a_naive_product_does(&mut random, range, rows, linear, |random, zero, word_max| match range {
                Range::TwoBytes => random.below(2 * word_max + 1) as i32 - word_max as i32,
                _ => random.below(256) as i32 - zero,
            });
        }
        // The largest sums that there are.
        let (outputs, inputs) = (70, 1536);
        for weight in [1.0, -1.0] {
            let linear = Linear { weight: Matrix::Float(vec![weight; outputs * inputs]), bias: vec![0.0; outputs], outputs, inputs };
            multiplies_as_a_naive_product_does(&mut random, Range::TwoBytes, 3, linear, |_, _, word_max| word_max as i32);
        }
    }

    /// Holds the product of all kernels against one of integers. `number(random, zero point, largest magnitude of a word)`: the integer that an activation is.
    fn multiplies_as_a_naive_product_does(
        random: &mut Random,
        range: Range,
        rows: usize,
        linear: Linear,
        mut number: impl FnMut(&mut Random, i32, usize) -> i32,
    ) {
        let (outputs, inputs) = (linear.outputs, linear.inputs);
        let (weights, scales) = linear.weight.clone().into_int8(inputs);
        let bias = linear.bias.clone();
        let matrix = PackedMatrix::new(vec![linear], range.zero_point());
        let word_max = rows::word_max(matrix.inputs) as usize;
        let a: Vec<i32> = (0..rows * inputs).map(|_| number(random, range.zero_point(), word_max)).collect();
        let row_scales: Vec<f32> = numbers(random, rows);
        let values = numbers(random, rows);
        let apart: Vec<Largest> =
            values.into_iter().map(|value| Largest { value: 9.0 * value, input: random.below(inputs) as u32 }).collect();
        let beside = match range {
            Range::SansLargest => Beside::Largest(apart.as_ptr()),
            Range::TwoBytes => Beside::SecondByte,
            Range::Symmetric | Range::MostlyPositive | Range::Positive => Beside::Nothing,
        };
        for kind in available() {
            let steps = rows::steps(kind);
            let stride = range.bytes() * matrix.inputs;
            let mut bytes = vec![0u8; rows * stride];
            for (row, a) in bytes.chunks_exact_mut(stride).zip(a.chunks_exact(inputs)) {
                for (input, a) in a.iter().enumerate() {
                    let biased = a + range.zero_point();
                    if range != Range::TwoBytes {
                        row[input] = biased as u8;
                    } else if steps.words {
                        row[2 * input..][..2].copy_from_slice(&(*a as i16).to_ne_bytes());
                    } else {
                        [row[input], row[matrix.inputs + input]] = (biased as u16).to_be_bytes();
                    }
                }
            }
            let mut padded = Aligned::zeroed((rows * range.bytes()).next_multiple_of(ROWS_MAX) * matrix.inputs);
            let mut out = vec![0.0; rows * matrix.outputs];
            // SAFETY: the kernel is available, and the buffers are as large as `Steps` asks for.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), padded.as_mut_ptr(), bytes.len());
                let a = Activations { bytes: padded.as_ptr(), scales: row_scales.as_ptr(), beside, rows };
                (steps.product)(&a, &matrix, matrix.panels(), Then::Keep, out.as_mut_ptr(), matrix.outputs);
            }
            for row in 0..rows {
                for output in 0..outputs {
                    let weights = &weights[output * inputs..][..inputs];
                    let sum: i32 = a[row * inputs..][..inputs].iter().zip(weights).map(|(a, w)| a * i32::from(*w)).sum();
                    let mut expected = sum as f32 * row_scales[row];
                    if range == Range::SansLargest {
                        let Largest { value, input } = apart[row];
                        expected = f32::from(weights[input as usize]).mul_add(value, expected);
                    }
                    let expected = expected.mul_add(scales[output], bias[output]);
                    let found = out[row * matrix.outputs + output];
                    assert_eq!(
                        found.to_bits(),
                        expected.to_bits(),
                        "{kind}, {range:?}, {rows} x {inputs} x {outputs}, row {row}, output {output}"
                    );
                }
            }
        }
    }

    /// A trunk of random weights.
    fn random_trunk(config: &TrunkConfig) -> TrunkWeights {
        let mut random = Random::new(11);
        let random = &mut random;
        let (h, inner) = (config.hidden_size, config.intermediate_size);
        let norm =
            |random: &mut Random| Norm { weight: numbers(random, h).iter().map(|w| 1.0 + 0.3 * w).collect(), bias: numbers(random, h) };
        TrunkWeights::Bert(BertWeights {
            word_embeddings: Matrix::Float(numbers(random, config.vocab_size * h)),
            position_embeddings: numbers(random, config.max_position_embeddings * h),
            token_type_embedding: numbers(random, h),
            embedding_norm: norm(random),
            layers: (0..config.num_hidden_layers)
                .map(|_| LayerWeights {
                    query: linear(random, h, h),
                    key: linear(random, h, h),
                    value: linear(random, h, h),
                    attention_output: linear(random, h, h),
                    attention_norm: norm(random),
                    intermediate: linear(random, inner, h),
                    output: linear(random, h, inner),
                    output_norm: norm(random),
                })
                .collect(),
        })
    }

    fn config(hidden_size: usize, heads: usize, inner: usize, hidden_act: Activation) -> TrunkConfig {
        TrunkConfig {
            family: Family::Bert,
            vocab_size: 50,
            hidden_size,
            num_hidden_layers: 2,
            num_attention_heads: heads,
            intermediate_size: inner,
            hidden_act,
            layer_norm_eps: 1e-12,
            max_position_embeddings: 300,
            type_vocab_size: 2,
            pad_token_id: 0,
        }
    }

    #[test]
    fn every_kernel_gives_the_same_bits_and_a_batch_those_of_its_members() {
        for config in [config(48, 6, 80, Activation::GeluErf), config(64, 2, 64, Activation::Relu), config(32, 1, 144, Activation::GeluErf)]
        {
            let mut random = Random::new(5);
            let lengths = [1, 2, 15, 16, 17, 33, 64, 3, 260];
            let ids: Vec<Vec<u32>> = lengths.iter().map(|length| (0..*length).map(|_| random.below(50) as u32).collect()).collect();
            let sequences: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            let mut first: [Option<Vec<HiddenStates>>; 2] = [None, None];
            for (precision, kind) in engines() {
                let encoder = Int8Encoder::with_kernel(&config, random_trunk(&config), precision, kind);
                let states = encoder.encode(&sequences, &[1, 2]).unwrap();
                for (at, sequence) in sequences.iter().enumerate() {
                    let alone = encoder.encode(&[sequence], &[2]).unwrap();
                    assert!(
                        alone[0].rows(0).eq(states[1].rows(at)),
                        "{kind}: a sequence of {} tokens depends on its batch",
                        sequence.len()
                    );
                }
                match &mut first[precision as usize] {
                    none @ None => *none = Some(states),
                    Some(first) => assert!(*first == states, "{kind}, {precision:?} gives other bits, hidden size {}", config.hidden_size),
                }
            }
        }
    }

    #[test]
    fn whoever_helps_the_bits_are_the_same() {
        for config in [config(48, 6, 80, Activation::GeluErf), config(64, 2, 304, Activation::Relu)] {
            let mut random = Random::new(6);
            let ids: Vec<Vec<u32>> = [15, 1, 33, 130].map(|length| (0..length).map(|_| random.below(50) as u32).collect()).into();
            let sequences: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            for (precision, kind) in engines() {
                let encoder = Int8Encoder::with_kernel(&config, random_trunk(&config), precision, kind);
                let alone = encoder.encode(&sequences, &[1, 2]).unwrap();
                for helpers in 1..=MEMBERS_MAX {
                    // Some leave in the middle, and what they would have done is done by others.
                    let (team, left) = (Team::default(), AtomicUsize::new(0));
                    std::thread::scope(|scope| {
                        for helper in 0..helpers {
                            let (team, left) = (&team, &left);
                            scope.spawn(move || team.help(|| helper % 2 == 1 && left.fetch_add(1, Ordering::Relaxed) > 50));
                        }
                        team.lead(|| {
                            while team.helpers() == 0 {
                                std::thread::yield_now();
                            }
                            for _ in 0..5 {
                                assert!(encoder.encode(&sequences, &[1, 2]).unwrap() == alone, "{kind}, {helpers} helpers");
                            }
                        });
                    });
                }
            }
        }
    }

    /// The integral of the normal density, by Simpson's rule.
    fn phi(x: f64) -> f64 {
        let steps = 2000;
        let width = x / f64::from(steps);
        let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let inside: f64 = (1..steps).map(|at| if at % 2 == 1 { 4.0 } else { 2.0 } * density(width * f64::from(at))).sum();
        0.5 + width / 3.0 * (density(0.0) + inside + density(x))
    }

    #[test]
    fn gelu_is_the_exact_one_within_its_stated_error() {
        for kind in available() {
            for start in -12..12 {
                let mut x: [f32; LANES] = std::array::from_fn(|lane| start as f32 + lane as f32 / LANES as f32);
                let expected = x.map(|x| f64::from(x) * phi(f64::from(x)));
                // SAFETY: the kernel is available, and 16 numbers are there.
                unsafe { (rows::steps(kind).activate)(Activation::GeluErf, x.as_mut_ptr()) }
                for (found, expected) in x.into_iter().zip(expected) {
                    assert!((f64::from(found) - expected).abs() < 1.7e-5, "{kind}: {found}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn calls_are_cut_between_sequences() {
        let ids: Vec<Vec<u32>> = [100, 100, 100, 300, 1].iter().map(|length| vec![0; *length]).collect();
        let sequences: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let lengths: Vec<Vec<usize>> = parts(&sequences).map(|part| part.iter().map(|ids| ids.len()).collect()).collect();
        assert_eq!(lengths, [vec![100, 100], vec![100], vec![300], vec![1]]);
    }

    #[test]
    fn a_width_that_fills_no_register_is_told() {
        assert_eq!(unsupported(&config(40, 5, 64, Activation::Relu)).unwrap(), "hidden_size is 40, no multiple of 16");
        assert_eq!(unsupported(&config(48, 6, 72, Activation::Relu)).unwrap(), "intermediate_size is 72, no multiple of 16");
    }
}
