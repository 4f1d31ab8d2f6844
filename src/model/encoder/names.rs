//! Where each weight of a trunk stands in a file: the one table of tensor names.

use super::{
    BertWeights, DebertaLayerWeights, DebertaWeights, LayerWeights, Linear, ModernBertLayerWeights, ModernBertWeights, Norm, TrunkWeights,
};
use crate::model::config::{Deberta, Family, ModernBert, TrunkConfig};
use crate::model::weights::Weights;

/// Tensor names of one family whose layers are BERT's; `{}` is the layer's number.
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

/// RoBERTa and XLM-R have the same names.
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

const DISTILBERT: Names = Names {
    query: "transformer.layer.{}.attention.q_lin",
    key: "transformer.layer.{}.attention.k_lin",
    value: "transformer.layer.{}.attention.v_lin",
    attention_output: "transformer.layer.{}.attention.out_lin",
    attention_norm: "transformer.layer.{}.sa_layer_norm",
    intermediate: "transformer.layer.{}.ffn.lin1",
    output: "transformer.layer.{}.ffn.lin2",
    output_norm: "transformer.layer.{}.output_layer_norm",
    ..BERT
};

const DEBERTA: Names = Names {
    query: "encoder.layer.{}.attention.self.query_proj",
    key: "encoder.layer.{}.attention.self.key_proj",
    value: "encoder.layer.{}.attention.self.value_proj",
    ..BERT
};

/// Takes all weights of the trunk; faults stay with `weights`.
pub fn take_trunk(weights: &mut Weights<'_>, config: &TrunkConfig) -> TrunkWeights {
    match &config.family {
        Family::Bert | Family::Roberta => TrunkWeights::Bert(take_bert(weights, config, &BERT)),
        Family::DistilBert => TrunkWeights::Bert(take_bert(weights, config, &DISTILBERT)),
        Family::DebertaV2(family) => TrunkWeights::Deberta(take_deberta(weights, config, family)),
        Family::ModernBert(family) => TrunkWeights::ModernBert(take_modernbert(weights, config, family)),
    }
}

fn take_bert(weights: &mut Weights<'_>, config: &TrunkConfig, names: &Names) -> BertWeights {
    let hidden = config.hidden_size;
    BertWeights {
        word_embeddings: weights.take_matrix(names.word_embeddings, config.vocab_size, hidden),
        position_embeddings: positions(weights, config, names),
        token_type_embedding: token_type(weights, config, names),
        embedding_norm: norm(weights, names.embedding_norm, hidden),
        layers: (0..config.num_hidden_layers).map(|number| layer(weights, config, names, number)).collect(),
    }
}

fn take_deberta(weights: &mut Weights<'_>, config: &TrunkConfig, family: &Deberta) -> DebertaWeights {
    let hidden = config.hidden_size;
    if !family.position_biased_input {
        weights.leave_out(DEBERTA.position_embeddings);
    }
    let of_distances = |weights: &mut Weights<'_>, number: usize, name: &str, wanted: bool| {
        let name = format!("encoder.layer.{number}.attention.self.{name}");
        (wanted && !family.share_att_key).then(|| linear(weights, &name, hidden, hidden))
    };
    DebertaWeights {
        word_embeddings: weights.take_matrix(DEBERTA.word_embeddings, config.vocab_size, hidden),
        position_embeddings: if family.position_biased_input { positions(weights, config, &DEBERTA) } else { Vec::new() },
        token_type_embedding: token_type(weights, config, &DEBERTA),
        embedding_norm: norm(weights, DEBERTA.embedding_norm, hidden),
        distance_embeddings: weights.take("encoder.rel_embeddings.weight", &[2 * family.span(), hidden]).values,
        distance_norm: family.norm_rel_ebd.then(|| norm(weights, "encoder.LayerNorm", hidden)),
        layers: (0..config.num_hidden_layers)
            .map(|number| DebertaLayerWeights {
                layer: layer(weights, config, &DEBERTA, number),
                distance_key: of_distances(weights, number, "pos_key_proj", family.content_to_position),
                distance_query: of_distances(weights, number, "pos_query_proj", family.position_to_content),
            })
            .collect(),
    }
}

fn take_modernbert(weights: &mut Weights<'_>, config: &TrunkConfig, family: &ModernBert) -> ModernBertWeights {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let norm =
        |weights: &mut Weights<'_>, name: &str| if family.norm_bias { norm(weights, name, hidden) } else { scale(weights, name, hidden) };
    let linear = |weights: &mut Weights<'_>, name: &str, outputs, inputs, has_bias| {
        if has_bias { linear(weights, name, outputs, inputs) } else { product(weights, name, outputs, inputs) }
    };
    ModernBertWeights {
        word_embeddings: weights.take_matrix("embeddings.tok_embeddings.weight", config.vocab_size, hidden),
        embedding_norm: norm(weights, "embeddings.norm"),
        layers: (0..config.num_hidden_layers)
            .map(|number| {
                let at = |name: &str| format!("layers.{number}.{name}");
                ModernBertLayerWeights {
                    attention_norm: (number > 0).then(|| norm(weights, &at("attn_norm"))),
                    qkv: linear(weights, &at("attn.Wqkv"), 3 * hidden, hidden, family.attention_bias),
                    attention_output: linear(weights, &at("attn.Wo"), hidden, hidden, family.attention_bias),
                    feed_forward_norm: norm(weights, &at("mlp_norm")),
                    inner: linear(weights, &at("mlp.Wi"), 2 * inner, hidden, family.mlp_bias),
                    output: linear(weights, &at("mlp.Wo"), hidden, inner, family.mlp_bias),
                }
            })
            .collect(),
        final_norm: norm(weights, "final_norm"),
    }
}

/// The rows from that of the first token on.
fn positions(weights: &mut Weights<'_>, config: &TrunkConfig, names: &Names) -> Vec<f32> {
    let mut rows = weights.take(names.position_embeddings, &[config.max_position_embeddings, config.hidden_size]).values;
    let before = config.first_position() * config.hidden_size;
    rows.drain(..before.min(rows.len()));
    rows
}

/// The row of token type 0.
fn token_type(weights: &mut Weights<'_>, config: &TrunkConfig, names: &Names) -> Vec<f32> {
    if config.type_vocab_size == 0 {
        return vec![0.0; config.hidden_size];
    }
    let mut rows = weights.take(names.token_type_embeddings, &[config.type_vocab_size, config.hidden_size]).values;
    rows.truncate(config.hidden_size);
    rows
}

fn layer(weights: &mut Weights<'_>, config: &TrunkConfig, names: &Names, number: usize) -> LayerWeights {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let at = |name: &str| name.replace("{}", &number.to_string());
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
}

fn linear(weights: &mut Weights<'_>, name: &str, outputs: usize, inputs: usize) -> Linear {
    let linear = product(weights, name, outputs, inputs);
    Linear { bias: weights.take(&format!("{name}.bias"), &[outputs]).values, ..linear }
}

/// Without a bias.
fn product(weights: &mut Weights<'_>, name: &str, outputs: usize, inputs: usize) -> Linear {
    Linear { weight: weights.take_matrix(&format!("{name}.weight"), outputs, inputs), bias: Vec::new(), outputs, inputs }
}

fn norm(weights: &mut Weights<'_>, name: &str, size: usize) -> Norm {
    let norm = scale(weights, name, size);
    Norm { bias: weights.take(&format!("{name}.bias"), &[size]).values, ..norm }
}

/// Without a shift.
fn scale(weights: &mut Weights<'_>, name: &str, size: usize) -> Norm {
    Norm { weight: weights.take(&format!("{name}.weight"), &[size]).values, bias: vec![0.0; size] }
}
