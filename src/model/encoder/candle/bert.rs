//! BERT, RoBERTa, XLM-R and DistilBERT: norms after attention and after the feed-forward part.
//!
//! From "BERT: Pre-training of Deep Bidirectional Transformers" (Devlin et al. 2019), "RoBERTa" (Liu et al. 2019) and "DistilBERT" (Sanh et al. 2019), which change
//! names and positions and not the network.

use candle_core::{Device, Tensor};

use super::{AfterAttention, Batch, CandleLinear, CandleNorm};
use crate::model::config::TrunkConfig;
use crate::model::encoder::BertWeights;

pub(super) struct Bert {
    word_embeddings: Tensor,
    /// Position and token-type rows, already added.
    position_embeddings: Tensor,
    embedding_norm: CandleNorm,
    layers: Vec<Layer>,
}

struct Layer {
    heads: usize,
    scale: f64,
    qkv: CandleLinear,
    rest: AfterAttention,
}

impl Bert {
    pub(super) fn new(config: &TrunkConfig, weights: BertWeights, device: &Device) -> candle_core::Result<Self> {
        let h = config.hidden_size;
        let token_type = Tensor::from_vec(weights.token_type_embedding, (1, h), device)?;
        let positions = Tensor::from_vec(weights.position_embeddings, (config.max_seq_len(), h), device)?;
        let layer = |weights| {
            let (qkv, rest) = AfterAttention::new(config, weights, device)?;
            Ok(Layer { heads: config.num_attention_heads, scale: 1.0 / (config.head_size() as f64).sqrt(), qkv, rest })
        };
        Ok(Self {
            word_embeddings: Tensor::from_vec(weights.word_embeddings.into_f32(h), (config.vocab_size, h), device)?,
            position_embeddings: positions.broadcast_add(&token_type)?,
            embedding_norm: CandleNorm::new(weights.embedding_norm, config.layer_norm_eps, device)?,
            layers: weights.layers.into_iter().map(layer).collect::<candle_core::Result<_>>()?,
        })
    }

    /// States after each of the given layers, each `(b·s, h)`.
    pub(super) fn forward(&self, batch: &Batch, layers: &[usize]) -> candle_core::Result<Vec<Tensor>> {
        let (b, s, h) = (batch.b, batch.s, self.word_embeddings.dim(1)?);
        let words = self.word_embeddings.index_select(&batch.ids, 0)?.reshape((b, s, h))?;
        let x = words.broadcast_add(&self.position_embeddings.narrow(0, 0, s)?)?;
        let mut x = self.embedding_norm.forward(&x.reshape((b * s, h))?)?;
        let mut states = Vec::with_capacity(layers.len());
        for (number, layer) in (1..).zip(&self.layers) {
            x = layer.forward(&x, batch)?;
            if layers.contains(&number) {
                states.push(x.clone());
            }
        }
        Ok(states)
    }
}

impl Layer {
    fn forward(&self, x: &Tensor, batch: &Batch) -> candle_core::Result<Tensor> {
        let [q, k, v] = batch.heads(&self.qkv.forward(x)?, self.heads)?;
        let scores = (q.matmul(&k.t()?)? * self.scale)?; // (b, n, s, s)
        self.rest.forward(x, &batch.attend(scores, &v)?)
    }
}
