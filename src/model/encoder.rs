//! Token ids → hidden states of chosen layers: the one interface of all engines.
//!
//! In: sequences of ids, special tokens included, of any lengths. Out: for each layer and sequence a `[tokens, hidden_size]` matrix of `f32`, unpadded.
//! No tensor type crosses this border, so that an engine can be exchanged.
//! Guarantees of every engine: the states of a sequence do not depend on what else is in the batch (within 1e-5), and are finite or an error.

pub mod candle;
pub mod int8;
mod names;

use std::fmt;

use self::int8::{KernelKind, Precision};
use super::weights::Matrix;

/// Which engine computes, and so which tolerance its parity has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// candle in f32: the reference of all others.
    CandleF32,
    /// Our own on a CPU, products in bytes: the fastest.
    Int8(Precision, KernelKind),
}

impl EngineKind {
    /// What the numbers depend on: engines of one family give the same, on any machine of one kind.
    pub fn family(self) -> &'static str {
        match self {
            Self::CandleF32 => "candle-f32",
            Self::Int8(precision, _) => precision.as_str(),
        }
    }

    /// Name in logs and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CandleF32 => "candle-f32",
            Self::Int8(Precision::W8A8, KernelKind::Amx) => "int8-amx",
            Self::Int8(Precision::W8A16, KernelKind::Amx) => "w8a16-amx",
            Self::Int8(Precision::W8A8, KernelKind::Avx512Vnni) => "int8-avx512-vnni",
            Self::Int8(Precision::W8A16, KernelKind::Avx512Vnni) => "w8a16-avx512-vnni",
            Self::Int8(Precision::W8A8, KernelKind::AvxVnni) => "int8-avx-vnni",
            Self::Int8(Precision::W8A16, KernelKind::AvxVnni) => "w8a16-avx-vnni",
            Self::Int8(Precision::W8A8, KernelKind::Avx2) => "int8-avx2",
            Self::Int8(Precision::W8A16, KernelKind::Avx2) => "w8a16-avx2",
            Self::Int8(Precision::W8A8, KernelKind::Portable) => "int8-portable",
            Self::Int8(Precision::W8A16, KernelKind::Portable) => "w8a16-portable",
        }
    }
}

/// Which engine is wanted, as the operator says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// int8 of the default precision on a CPU where it can take the model and proves its answers, else candle.
    #[default]
    Auto,
    /// int8 of this precision; a model that it cannot take does not load.
    Int8(Precision),
    /// candle.
    Candle,
}

impl EngineChoice {
    /// The precision of int8, should that compute.
    pub fn precision(self) -> Precision {
        if let Self::Int8(precision) = self { precision } else { Precision::default() }
    }
}

/// An engine holding one trunk.
pub trait Encoder: Send + Sync {
    /// Which engine this is.
    fn kind(&self) -> EngineKind;

    /// Where it computes: `cpu`, `cuda`, `metal`.
    fn device(&self) -> &'static str;

    /// Width of a hidden state.
    fn hidden_size(&self) -> usize;

    /// Number of layers; the output of the last is layer `layers()`, that of the first is layer 1.
    fn layers(&self) -> usize;

    /// Bytes of the weights as it holds them, on its device; `None` where it cannot tell.
    fn weight_bytes(&self) -> Option<u64> {
        None
    }

    /// Whether other threads can help one that encodes ([`int8::Team`]).
    fn can_be_helped(&self) -> bool {
        false
    }

    /// Hidden states after each of the given layers, which ascend. Sequences are not empty, not longer than the position table, and hold ids of the
    /// vocabulary.
    fn encode(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<HiddenStates>, EncodeError>;
}

/// The hidden states of several sequences, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct HiddenStates {
    hidden_size: usize,
    /// Row-major `[all tokens, hidden_size]`.
    values: Vec<f32>,
    /// First token of each sequence, and the end of the last.
    starts: Vec<usize>,
}

impl HiddenStates {
    /// Room for the given sequences.
    pub fn with_capacity(hidden_size: usize, tokens: usize) -> Self {
        Self { hidden_size, values: Vec::with_capacity(tokens * hidden_size), starts: vec![0] }
    }

    /// Adds the next sequence: `[tokens, hidden_size]`.
    pub fn push(&mut self, states: &[f32]) {
        assert!(states.len().is_multiple_of(self.hidden_size), "states come in whole tokens");
        self.values.extend_from_slice(states);
        self.starts.push(self.values.len() / self.hidden_size);
    }

    /// States of one sequence, a row a token.
    pub fn rows(&self, sequence: usize) -> std::slice::ChunksExact<'_, f32> {
        let (start, end) = (self.starts[sequence], self.starts[sequence + 1]);
        self.values[start * self.hidden_size..end * self.hidden_size].chunks_exact(self.hidden_size)
    }
}

/// Why an engine gave no states.
#[derive(Debug)]
pub enum EncodeError {
    /// A state is NaN or infinite.
    NotFinite,
    /// The device failed: out of memory, lost.
    Device(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite => f.write_str("the encoder gave a number that is not finite"),
            Self::Device(_) => f.write_str("the device of the encoder failed"),
        }
    }
}

impl std::error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotFinite => None,
            Self::Device(error) => Some(error.as_ref()),
        }
    }
}

/// The weights of a trunk, checked, matrices as their file holds them: what every engine is built from.
pub enum TrunkWeights {
    /// Of BERT, RoBERTa, XLM-R and DistilBERT.
    Bert(BertWeights),
    /// Of DeBERTa v2 and v3.
    Deberta(DebertaWeights),
    /// Of ModernBERT.
    ModernBert(ModernBertWeights),
}

/// BERT and those that are BERT under other names.
pub struct BertWeights {
    /// `[vocab_size, hidden_size]`
    pub word_embeddings: Matrix,
    /// `[max_seq_len, hidden_size]`: the rows from the first token's on.
    pub position_embeddings: Vec<f32>,
    /// `[hidden_size]`: the row of token type 0, the only one used; zeros where the family has none.
    pub token_type_embedding: Vec<f32>,
    /// After the sum of the three.
    pub embedding_norm: Norm,
    /// One entry a layer.
    pub layers: Vec<LayerWeights>,
}

/// DeBERTa.
pub struct DebertaWeights {
    /// `[vocab_size, hidden_size]`
    pub word_embeddings: Matrix,
    /// `[max_seq_len, hidden_size]`, or empty where words have no position of their own.
    pub position_embeddings: Vec<f32>,
    /// `[hidden_size]`: the row of token type 0; zeros where there are no types.
    pub token_type_embedding: Vec<f32>,
    /// After the sum of the three.
    pub embedding_norm: Norm,
    /// `[2 span, hidden_size]`: one row a distance, from the far left to the far right.
    pub distance_embeddings: Vec<f32>,
    /// Over those rows.
    pub distance_norm: Option<Norm>,
    /// One entry a layer.
    pub layers: Vec<DebertaLayerWeights>,
}

/// One layer of DeBERTa.
pub struct DebertaLayerWeights {
    /// What it shares with BERT.
    pub layer: LayerWeights,
    /// Distances to keys; those of the content where there are none.
    pub distance_key: Option<Linear>,
    /// Distances to queries; those of the content where there are none.
    pub distance_query: Option<Linear>,
}

/// ModernBERT.
pub struct ModernBertWeights {
    /// `[vocab_size, hidden_size]`
    pub word_embeddings: Matrix,
    /// After them.
    pub embedding_norm: Norm,
    /// One entry a layer.
    pub layers: Vec<ModernBertLayerWeights>,
    /// After the last layer.
    pub final_norm: Norm,
}

/// One layer of ModernBERT.
pub struct ModernBertLayerWeights {
    /// Before attention; the first layer has none.
    pub attention_norm: Option<Norm>,
    /// To queries, keys and values.
    pub qkv: Linear,
    /// Heads back to the hidden state.
    pub attention_output: Linear,
    /// Before the feed-forward part.
    pub feed_forward_norm: Norm,
    /// To the inner states, then to their gates: twice the inner width.
    pub inner: Linear,
    /// Back to the hidden state.
    pub output: Linear,
}

/// One layer of BERT.
pub struct LayerWeights {
    /// Hidden state to queries.
    pub query: Linear,
    /// Hidden state to keys.
    pub key: Linear,
    /// Hidden state to values.
    pub value: Linear,
    /// Heads back to the hidden state.
    pub attention_output: Linear,
    /// After attention and residual.
    pub attention_norm: Norm,
    /// To the inner width.
    pub intermediate: Linear,
    /// Back to the hidden state.
    pub output: Linear,
    /// After feed-forward and residual.
    pub output_norm: Norm,
}

/// `y = weight x + bias`.
pub struct Linear {
    /// `[outputs, inputs]`
    pub weight: Matrix,
    /// `[outputs]`, or empty where there is none.
    pub bias: Vec<f32>,
    /// Rows of `weight`.
    pub outputs: usize,
    /// Columns of `weight`.
    pub inputs: usize,
}

/// Scale and shift of a layer norm, each `[hidden_size]`.
pub struct Norm {
    /// Scale.
    pub weight: Vec<f32>,
    /// Shift.
    pub bias: Vec<f32>,
}

impl TrunkWeights {
    /// Numbers in all of them.
    pub fn values(&self) -> usize {
        match self {
            Self::Bert(trunk) => {
                let tables = trunk.word_embeddings.len() + trunk.position_embeddings.len() + trunk.token_type_embedding.len();
                tables + trunk.embedding_norm.values() + trunk.layers.iter().map(LayerWeights::values).sum::<usize>()
            }
            Self::Deberta(trunk) => {
                let tables = trunk.word_embeddings.len() + trunk.position_embeddings.len() + trunk.token_type_embedding.len();
                let distances = trunk.distance_embeddings.len() + trunk.distance_norm.as_ref().map_or(0, Norm::values);
                let of_layer = |layer: &DebertaLayerWeights| {
                    let own = [&layer.distance_key, &layer.distance_query].into_iter().flatten().map(Linear::values);
                    layer.layer.values() + own.sum::<usize>()
                };
                tables + distances + trunk.embedding_norm.values() + trunk.layers.iter().map(of_layer).sum::<usize>()
            }
            Self::ModernBert(trunk) => {
                let of_layer = |layer: &ModernBertLayerWeights| {
                    let linears = [&layer.qkv, &layer.attention_output, &layer.inner, &layer.output].map(Linear::values);
                    let norms = layer.feed_forward_norm.values() + layer.attention_norm.as_ref().map_or(0, Norm::values);
                    linears.iter().sum::<usize>() + norms
                };
                let norms = trunk.embedding_norm.values() + trunk.final_norm.values();
                trunk.word_embeddings.len() + norms + trunk.layers.iter().map(of_layer).sum::<usize>()
            }
        }
    }
}

impl LayerWeights {
    fn values(&self) -> usize {
        let linears = [&self.query, &self.key, &self.value, &self.attention_output, &self.intermediate, &self.output];
        let norms = [&self.attention_norm, &self.output_norm];
        linears.map(Linear::values).iter().sum::<usize>() + norms.map(Norm::values).iter().sum::<usize>()
    }
}

impl Linear {
    fn values(&self) -> usize {
        self.weight.len() + self.bias.len()
    }
}

impl Norm {
    fn values(&self) -> usize {
        self.weight.len() + self.bias.len()
    }
}

pub use names::take_trunk;
