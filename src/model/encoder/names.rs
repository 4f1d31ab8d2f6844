//! Where each weight of a trunk stands in a file: the one table of tensor names.

use super::{LayerWeights, Linear, Norm, TrunkWeights};
use crate::model::config::{Family, TrunkConfig};
use crate::model::weights::Weights;

/// Tensor names of one family; `{}` is the layer's number.
struct Names {
    word_embeddings: &'static str,
    position_embeddings: &'static str,
    token_type_embeddings: &'static str,
    embedding_norm: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    attention_output: &'static str,
    attention_norm: &'static str,
    intermediate: &'static str,
    output: &'static str,
    output_norm: &'static str,
}

const BERT: Names = Names {
    word_embeddings: "embeddings.word_embeddings.weight",
    position_embeddings: "embeddings.position_embeddings.weight",
    token_type_embeddings: "embeddings.token_type_embeddings.weight",
    embedding_norm: "embeddings.LayerNorm",
    query: "encoder.layer.{}.attention.self.query",
    key: "encoder.layer.{}.attention.self.key",
    value: "encoder.layer.{}.attention.self.value",
    attention_output: "encoder.layer.{}.attention.output.dense",
    attention_norm: "encoder.layer.{}.attention.output.LayerNorm",
    intermediate: "encoder.layer.{}.intermediate.dense",
    output: "encoder.layer.{}.output.dense",
    output_norm: "encoder.layer.{}.output.LayerNorm",
};

/// Takes all weights of the trunk; faults stay with `weights`.
pub fn take_trunk(weights: &mut Weights<'_>, config: &TrunkConfig) -> TrunkWeights {
    let names = match config.family {
        Family::Bert => &BERT,
    };
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let mut token_types = weights.take(names.token_type_embeddings, &[config.type_vocab_size, hidden]).values;
    token_types.truncate(hidden);
    TrunkWeights {
        word_embeddings: weights.take_matrix(names.word_embeddings, config.vocab_size, hidden),
        position_embeddings: weights.take(names.position_embeddings, &[config.max_position_embeddings, hidden]).values,
        token_type_embedding: token_types,
        embedding_norm: norm(weights, names.embedding_norm, hidden),
        layers: (0..config.num_hidden_layers)
            .map(|layer| {
                let at = |name: &str| name.replace("{}", &layer.to_string());
                LayerWeights {
                    query: linear(weights, &at(names.query), hidden, hidden),
                    key: linear(weights, &at(names.key), hidden, hidden),
                    value: linear(weights, &at(names.value), hidden, hidden),
                    attention_output: linear(weights, &at(names.attention_output), hidden, hidden),
                    attention_norm: norm(weights, &at(names.attention_norm), hidden),
                    intermediate: linear(weights, &at(names.intermediate), inner, hidden),
                    output: linear(weights, &at(names.output), hidden, inner),
                    output_norm: norm(weights, &at(names.output_norm), hidden),
                }
            })
            .collect(),
    }
}

fn linear(weights: &mut Weights<'_>, name: &str, outputs: usize, inputs: usize) -> Linear {
    Linear {
        weight: weights.take_matrix(&format!("{name}.weight"), outputs, inputs),
        bias: weights.take(&format!("{name}.bias"), &[outputs]).values,
        outputs,
        inputs,
    }
}

fn norm(weights: &mut Weights<'_>, name: &str, size: usize) -> Norm {
    Norm { weight: weights.take(&format!("{name}.weight"), &[size]).values, bias: weights.take(&format!("{name}.bias"), &[size]).values }
}
