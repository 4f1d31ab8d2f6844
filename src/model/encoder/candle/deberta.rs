//! DeBERTa v2 and v3: a score of attention is the sum of what a token asks of another's content, of its distance, and of what the distance asks of the content.
//!
//! Distances have rows of one table, exact ones near and ranges of growing width far. They go through projections that are the same for every text, so that their
//! keys and queries are computed once, when the trunk is loaded. For a text of s tokens only the 2s - 1 distances in it are multiplied.
//! From "DeBERTa: Decoding-enhanced BERT with Disentangled Attention" (He et al. 2021) and "DeBERTaV3" (He et al. 2023), as the reference library computes them; the
//! convolution of the largest v2 models is not here, and its configuration is refused.

use candle_core::{Device, Tensor};

use super::{AfterAttention, Batch, CandleLinear, CandleNorm};
use crate::model::config::{Deberta as Settings, TrunkConfig};
use crate::model::encoder::{DebertaLayerWeights, DebertaWeights};

pub(super) struct Deberta {
    settings: Settings,
    word_embeddings: Tensor,
    /// Position rows, where words have their own, and the token-type row: `(max_seq_len or 1, h)`.
    position_embeddings: Tensor,
    embedding_norm: CandleNorm,
    layers: Vec<Layer>,
}

struct Layer {
    heads: usize,
    scale: f64,
    qkv: CandleLinear,
    /// `(n, 2 span, d)`, where content asks for distance.
    distance_keys: Option<Tensor>,
    /// `(n, 2 span, d)`, where distance asks for content.
    distance_queries: Option<Tensor>,
    rest: AfterAttention,
}

/// Rows of the table for the distances of one length: `(2s - 1)`.
struct Distances {
    /// From s - 1 tokens to the left of the query to s - 1 to its right.
    ascending: Tensor,
    descending: Tensor,
}

impl Deberta {
    pub(super) fn new(config: &TrunkConfig, settings: &Settings, weights: DebertaWeights, device: &Device) -> candle_core::Result<Self> {
        let (h, eps) = (config.hidden_size, config.layer_norm_eps);
        let token_type = Tensor::from_vec(weights.token_type_embedding, (1, h), device)?;
        let position_embeddings = if settings.position_biased_input {
            Tensor::from_vec(weights.position_embeddings, (config.max_seq_len(), h), device)?.broadcast_add(&token_type)?
        } else {
            token_type
        };
        let distances = Tensor::from_vec(weights.distance_embeddings, (2 * settings.span(), h), device)?;
        let distances = match weights.distance_norm {
            Some(norm) => CandleNorm::new(norm, eps, device)?.forward(&distances)?,
            None => distances,
        };
        let layer = |weights| Layer::new(config, settings, weights, &distances, device);
        Ok(Self {
            settings: settings.clone(),
            word_embeddings: Tensor::from_vec(weights.word_embeddings.into_f32(h), (config.vocab_size, h), device)?,
            position_embeddings,
            embedding_norm: CandleNorm::new(weights.embedding_norm, eps, device)?,
            layers: weights.layers.into_iter().map(layer).collect::<candle_core::Result<_>>()?,
        })
    }

    /// States after each of the given layers, each `(b·s, h)`.
    pub(super) fn forward(&self, batch: &Batch, layers: &[usize]) -> candle_core::Result<Vec<Tensor>> {
        let (b, s, h) = (batch.b, batch.s, self.word_embeddings.dim(1)?);
        let words = self.word_embeddings.index_select(&batch.ids, 0)?.reshape((b, s, h))?;
        let positions =
            if self.settings.position_biased_input { self.position_embeddings.narrow(0, 0, s)? } else { self.position_embeddings.clone() };
        let x = words.broadcast_add(&positions)?;
        let mut x = self.embedding_norm.forward(&x.reshape((b * s, h))?)?;
        let distances = self.distances(s)?;
        let mut states = Vec::with_capacity(layers.len());
        for (number, layer) in (1..).zip(&self.layers) {
            x = layer.forward(&x, batch, &distances)?;
            if layers.contains(&number) {
                states.push(x.clone());
            }
        }
        Ok(states)
    }

    fn distances(&self, s: usize) -> candle_core::Result<Distances> {
        let s = s as i64;
        let rows: Vec<u32> = (1 - s..s).map(|distance| row(distance, &self.settings)).collect();
        let reversed: Vec<u32> = rows.iter().rev().copied().collect();
        let (count, device) = (rows.len(), self.word_embeddings.device());
        Ok(Distances { ascending: Tensor::from_vec(rows, count, device)?, descending: Tensor::from_vec(reversed, count, device)? })
    }
}

/// The row of the table for the distance from a query to a key before it (positive) or after it.
fn row(distance: i64, settings: &Settings) -> u32 {
    let span = settings.span() as i64;
    let bucket = settings.position_buckets.map_or(distance, |buckets| bucket(distance, buckets as i64, settings.max_relative_positions));
    (bucket + span).clamp(0, 2 * span - 1) as u32
}

/// Distances up to half the buckets are their own; beyond, buckets widen by the logarithm. In f32, as the reference library rounds it.
fn bucket(distance: i64, buckets: i64, max_position: usize) -> i64 {
    let middle = buckets / 2;
    let magnitude = distance.abs();
    if magnitude <= middle {
        return distance;
    }
    let share = (magnitude as f32 / middle as f32).ln() / (((max_position - 1) as f64 / middle as f64) as f32).ln();
    ((share * (middle - 1) as f32).ceil() as i64 + middle) * distance.signum()
}

impl Layer {
    fn new(
        config: &TrunkConfig,
        settings: &Settings,
        weights: DebertaLayerWeights,
        distances: &Tensor,
        device: &Device,
    ) -> candle_core::Result<Self> {
        let (n, d) = (config.num_attention_heads, config.head_size());
        let (qkv, rest) = AfterAttention::new(config, weights.layer, device)?;
        // Where the projections are shared, they are the first two thirds of the product.
        let shared = if settings.share_att_key { Some(qkv.forward(distances)?) } else { None };
        let of_heads = |rows: Tensor| rows.reshape((2 * settings.span(), n, d))?.transpose(0, 1)?.contiguous();
        let projected = |wanted: bool, own: Option<crate::model::encoder::Linear>, third: usize| {
            if !wanted {
                return Ok(None);
            }
            let rows = match (own, &shared) {
                (Some(linear), _) => CandleLinear::new([linear], device)?.forward(distances)?,
                (None, Some(shared)) => shared.narrow(1, third * n * d, n * d)?,
                (None, None) => candle_core::bail!("no projection of distances"),
            };
            of_heads(rows).map(Some)
        };
        let ways = 1 + usize::from(settings.content_to_position) + usize::from(settings.position_to_content);
        Ok(Self {
            heads: n,
            scale: 1.0 / ((d * ways) as f64).sqrt(),
            distance_keys: projected(settings.content_to_position, weights.distance_key, 1)?,
            distance_queries: projected(settings.position_to_content, weights.distance_query, 0)?,
            qkv,
            rest,
        })
    }

    fn forward(&self, x: &Tensor, batch: &Batch, distances: &Distances) -> candle_core::Result<Tensor> {
        let [q, k, v] = batch.heads(&self.qkv.forward(x)?, self.heads)?;
        let mut scores = q.matmul(&k.t()?)?; // (b, n, s, s)
        if let Some(keys) = &self.distance_keys {
            // Of query i and key j: q_i · key of distance i - j. Walking along the keys, distances fall.
            scores = (scores + by_distance(&q, keys, &distances.descending)?)?;
        }
        if let Some(queries) = &self.distance_queries {
            // k_j · query of distance i - j: as above with the roles exchanged, and back.
            scores = (scores + by_distance(&k, queries, &distances.ascending)?.transpose(2, 3)?)?;
        }
        self.rest.forward(x, &batch.attend((scores * self.scale)?, &v)?)
    }
}

/// `x (b, n, s, d)`, a table `(n, 2 span, d)` and its rows `(2s - 1)` in the order in which the second index walks → `(b, n, s, s)`: entry i, j is the product of
/// `x[i]` with the row at `s - 1 - i + j`.
fn by_distance(x: &Tensor, table: &Tensor, rows: &Tensor) -> candle_core::Result<Tensor> {
    let (b, n, s, d) = x.dims4()?;
    let table = table.index_select(rows, 1)?.t()?.contiguous()?; // (n, d, 2s - 1)
    let by_head = x.transpose(0, 1)?.reshape((n, b * s, d))?;
    let products = by_head.matmul(&table)?; // (n, b·s, 2s - 1)
    if s == 1 {
        return products.reshape((n, b, 1, 1))?.transpose(0, 1);
    }
    // Each row begins one column before that of the row above it: read with rows one shorter, all begin in the same column.
    let width = 2 * s - 1;
    let products = products.reshape((n * b, s * width))?.narrow(1, s - 1, s * (width - 1))?;
    products.reshape((n, b, s, width - 1))?.narrow(3, 0, s)?.transpose(0, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(position_buckets: Option<usize>, max_relative_positions: usize) -> Settings {
        Settings {
            content_to_position: true,
            position_to_content: true,
            position_buckets,
            max_relative_positions,
            share_att_key: true,
            norm_rel_ebd: true,
            position_biased_input: false,
        }
    }

    #[test]
    fn near_distances_are_exact_and_far_ones_share_rows() {
        let v3 = settings(Some(256), 512);
        // As `make_log_bucket_position` of the reference library gives them, plus 256.
        let cases = [
            (0, 256),
            (1, 257),
            (-1, 255),
            (128, 384),
            (-128, 128),
            (129, 385),
            (200, 425),
            (-200, 87),
            (400, 489),
            (511, 511),
            (-511, 1),
            (-600, 0),
        ];
        for (distance, expected) in cases {
            assert_eq!(row(distance, &v3), expected, "{distance}");
        }
        let plain = settings(None, 8);
        for (distance, expected) in [(0, 8), (7, 15), (8, 15), (-8, 0), (-9, 0)] {
            assert_eq!(row(distance, &plain), expected, "{distance}");
        }
    }

    #[test]
    fn products_by_distance_are_those_of_each_pair() {
        for s in [1usize, 2, 5] {
            let (b, n, d) = (2, 3, 4);
            let span = s + 1;
            let numbers = |count: usize, step: f32| (0..count).map(|at| (at as f32 * step).sin()).collect::<Vec<f32>>();
            let (x, table) = (numbers(b * n * s * d, 0.7), numbers(n * 2 * span * d, 1.3));
            let rows: Vec<u32> = (0..2 * s - 1).map(|at| at as u32).collect();
            let device = Device::Cpu;
            let found = by_distance(
                &Tensor::from_vec(x.clone(), (b, n, s, d), &device).unwrap(),
                &Tensor::from_vec(table.clone(), (n, 2 * span, d), &device).unwrap(),
                &Tensor::from_vec(rows, 2 * s - 1, &device).unwrap(),
            );
            let found = found.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (at, found) in found.into_iter().enumerate() {
                let (batch, head, i, j) = (at / (n * s * s), at / (s * s) % n, at / s % s, at % s);
                let left = &x[((batch * n + head) * s + i) * d..][..d];
                let right = &table[(head * 2 * span + s - 1 - i + j) * d..][..d];
                let expected: f32 = left.iter().zip(right).map(|(a, b)| a * b).sum();
                assert!((found - expected).abs() < 1e-5, "s {s}, {batch} {head} {i} {j}: {found}, not {expected}");
            }
        }
    }
}
