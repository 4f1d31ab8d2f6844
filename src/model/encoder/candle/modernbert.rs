//! ModernBERT: norms before each part, rotated positions, gated inner states, and layers that see only a neighbourhood.
//!
//! From "Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder" (Warner et al. 2024), as the reference library computes it. The states after the last layer
//! are normalised, those after the others are not.

use candle_core::{Device, Tensor};
use candle_nn::rotary_emb::rope;

use super::{Batch, CandleLinear, CandleNorm, MASKED, activate};
use crate::model::config::{Activation, ModernBert as Settings, TrunkConfig};
use crate::model::encoder::{ModernBertLayerWeights, ModernBertWeights};

pub(super) struct ModernBert {
    settings: Settings,
    head_size: usize,
    word_embeddings: Tensor,
    embedding_norm: CandleNorm,
    layers: Vec<Layer>,
    final_norm: CandleNorm,
}

struct Layer {
    sees_all: bool,
    heads: usize,
    scale: f64,
    attention_norm: Option<CandleNorm>,
    qkv: CandleLinear,
    attention_output: CandleLinear,
    feed_forward_norm: CandleNorm,
    inner: CandleLinear,
    gate: CandleLinear,
    activation: Activation,
    output: CandleLinear,
}

/// How far each position turns, and who sees whom.
struct Positions {
    /// `(s, d / 2)`
    cos: Tensor,
    /// `(s, d / 2)`
    sin: Tensor,
    /// `(1, 1, s, s)`: [`MASKED`] beyond the neighbourhood; none where all see all.
    neighbourhood: Option<Tensor>,
}

impl ModernBert {
    pub(super) fn new(config: &TrunkConfig, settings: &Settings, weights: ModernBertWeights, device: &Device) -> candle_core::Result<Self> {
        let (h, eps) = (config.hidden_size, config.layer_norm_eps);
        let layers = weights.layers.into_iter().zip(&settings.sees_all);
        Ok(Self {
            settings: settings.clone(),
            head_size: config.head_size(),
            word_embeddings: Tensor::from_vec(weights.word_embeddings.into_f32(h), (config.vocab_size, h), device)?,
            embedding_norm: CandleNorm::new(weights.embedding_norm, eps, device)?,
            layers: layers.map(|(weights, sees_all)| Layer::new(config, *sees_all, weights, device)).collect::<candle_core::Result<_>>()?,
            final_norm: CandleNorm::new(weights.final_norm, eps, device)?,
        })
    }

    /// States after each of the given layers, each `(b·s, h)`.
    pub(super) fn forward(&self, batch: &Batch, layers: &[usize]) -> candle_core::Result<Vec<Tensor>> {
        let mut x = self.embedding_norm.forward(&self.word_embeddings.index_select(&batch.ids, 0)?)?; // (b·s, h)
        let global = self.positions(batch.s, self.settings.global_rope_theta, None)?;
        let local = self.positions(batch.s, self.settings.local_rope_theta, Some(self.settings.window))?;
        let mut states = Vec::with_capacity(layers.len());
        for (number, layer) in (1..).zip(&self.layers) {
            x = layer.forward(&x, batch, if layer.sees_all { &global } else { &local })?;
            if layers.contains(&number) {
                states.push(if number == self.layers.len() { self.final_norm.forward(&x)? } else { x.clone() });
            }
        }
        Ok(states)
    }

    fn positions(&self, s: usize, theta: f64, window: Option<usize>) -> candle_core::Result<Positions> {
        let (half, device) = (self.head_size / 2, self.word_embeddings.device());
        // In f32, as the reference library rounds it.
        let frequency = |pair: usize| 1.0 / (theta as f32).powf((2 * pair) as f32 / self.head_size as f32);
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let angles: Vec<f32> = (0..s).flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency)).collect();
        let angles = Tensor::from_vec(angles, (s, half), device)?;
        let neighbourhood = match window {
            Some(window) if s > window + 1 => {
                let mask = (0..s).flat_map(|i| (0..s).map(move |j| if i.abs_diff(j) <= window { 0.0 } else { MASKED }));
                Some(Tensor::from_vec(mask.collect(), (1, 1, s, s), device)?)
            }
            _ => None,
        };
        Ok(Positions { cos: angles.cos()?, sin: angles.sin()?, neighbourhood })
    }
}

impl Layer {
    fn new(config: &TrunkConfig, sees_all: bool, weights: ModernBertLayerWeights, device: &Device) -> candle_core::Result<Self> {
        let eps = config.layer_norm_eps;
        let (inner, gate) = CandleLinear::new([weights.inner], device)?.halves()?;
        Ok(Self {
            sees_all,
            heads: config.num_attention_heads,
            scale: 1.0 / (config.head_size() as f64).sqrt(),
            attention_norm: weights.attention_norm.map(|norm| CandleNorm::new(norm, eps, device)).transpose()?,
            qkv: CandleLinear::new([weights.qkv], device)?,
            attention_output: CandleLinear::new([weights.attention_output], device)?,
            feed_forward_norm: CandleNorm::new(weights.feed_forward_norm, eps, device)?,
            inner,
            gate,
            activation: config.hidden_act,
            output: CandleLinear::new([weights.output], device)?,
        })
    }

    fn forward(&self, x: &Tensor, batch: &Batch, positions: &Positions) -> candle_core::Result<Tensor> {
        let normed = self.attention_norm.as_ref().map(|norm| norm.forward(x)).transpose()?;
        let [q, k, v] = batch.heads(&self.qkv.forward(normed.as_ref().unwrap_or(x))?, self.heads)?;
        let (q, k) = (rope(&q, &positions.cos, &positions.sin)?, rope(&k, &positions.cos, &positions.sin)?);
        let mut scores = (q.matmul(&k.t()?)? * self.scale)?; // (b, n, s, s)
        if let Some(neighbourhood) = &positions.neighbourhood {
            scores = scores.broadcast_add(neighbourhood)?;
        }
        let x = (self.attention_output.forward(&batch.attend(scores, &v)?)? + x)?;
        let normed = self.feed_forward_norm.forward(&x)?;
        let inner = (activate(self.activation, &self.inner.forward(&normed)?)? * self.gate.forward(&normed)?)?;
        self.output.forward(&inner)? + x
    }
}

impl CandleLinear {
    /// The first half of the outputs, and the second.
    fn halves(self) -> candle_core::Result<(Self, Self)> {
        let half = self.weight.dim(1)? / 2;
        let part = |from: usize| -> candle_core::Result<Self> {
            let weight = self.weight.narrow(1, from, half)?.contiguous()?;
            let bias = self.bias.as_ref().map(|bias| bias.narrow(0, from, half)).transpose()?;
            Ok(Self { weight, bias })
        };
        Ok((part(0)?, part(half)?))
    }
}
