//! `config.json` → the shape of the trunk.
//!
//! In: the Hugging Face form, with the names of keys that older and newer releases of the reference library write. Out: [`TrunkConfig`]. Every key is either used
//! here or stands in [`HARMLESS`] or the list of its family; any other key, and any value that the encoder does not implement, is a fault, since an ignored key
//! can mean silently wrong vectors (candle pull request 3991: an ignored activation name, and a cosine of 0.8 to the truth). Keys of a classifier (its labels, its
//! activation) are harmless here: whoever turns a folder into a package reads them.

use serde_json::{Map, Value};

use super::fault::Fault;

/// Name of the file inside a package.
pub const FILE: &str = "config.json";

/// Keys that cannot change the result of a forward pass, in any family.
const HARMLESS: &[&str] = &[
    // Provenance, and what belongs to a head: labels, its dropout, the task it was trained on.
    "architectures",
    "_name_or_path",
    "_commit_hash",
    "transformers_version",
    "finetuning_task",
    "task_specific_params",
    "id2label",
    "label2id",
    "num_labels",
    "_num_labels",
    "_num_labels",
    "problem_type",
    "classifier_dropout",
    // The tensors state their own type.
    "torch_dtype",
    "dtype",
    "use_bfloat16",
    // How another program computes the same, and what it hands out.
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "chunk_size_feed_forward",
    "torchscript",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "return_dict",
    "use_return_dict",
    // Training.
    "attention_probs_dropout_prob",
    "hidden_dropout_prob",
    "initializer_range",
    "gradient_checkpointing",
    "tf_legacy_loss",
    // The tokenizer's matter.
    "tokenizer_class",
    "bos_token_id",
    "eos_token_id",
    "cls_token_id",
    "sep_token_id",
    "mask_token_id",
    "prefix",
    // Generation of text, which an encoder does not do; older folders list all of it.
    "use_cache",
    "tie_word_embeddings",
    "tie_encoder_decoder",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "diversity_penalty",
    "length_penalty",
    "repetition_penalty",
    "encoder_no_repeat_ngram_size",
    "no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "output_scores",
    "return_dict_in_generate",
    "remove_invalid_values",
];

/// The same in one family: keys of its heads and of its training.
const HARMLESS_BERT: &[&str] = &[
    // The pooler of the multilingual ones, which the reference library does not read.
    "directionality",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
];
const HARMLESS_DISTILBERT: &[&str] = &[
    "dropout",
    "attention_dropout",
    "qa_dropout",
    "seq_classif_dropout",
    // How the table of positions began; it stands in the file either way.
    "sinusoidal_pos_embds",
    "tie_weights_",
];
const HARMLESS_DEBERTA: &[&str] = &[
    "pooler_dropout",
    "pooler_hidden_act",
    "pooler_hidden_size",
    "cls_dropout",
    // The head that guesses words.
    "legacy",
    "conv_act",
    "conv_groups",
];
const HARMLESS_MODERNBERT: &[&str] = &[
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "initializer_cutoff_factor",
    // The classifier, and the head that guesses words.
    "classifier_pooling",
    "classifier_bias",
    "classifier_activation",
    "decoder_bias",
    "sparse_prediction",
    "sparse_pred_ignore_index",
    "repad_logits_with_grad",
    // How another program computes the same.
    "deterministic_flash_attn",
    "reference_compile",
    // Written beside norm_eps, and not read.
    "layer_norm_eps",
];

/// Largest value taken for any size; beyond it a file is damaged or hostile.
const SIZE_MAX: usize = 1 << 20;
/// Most layers; the largest encoders have fewer than a hundred.
const LAYERS_MAX: usize = 256;

/// The shape of the trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TrunkConfig {
    /// Naming scheme of the tensors, how positions count, and what else only this family has.
    pub family: Family,
    /// Rows of the word embedding table; the tokenizer may have fewer entries.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads per layer; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// Function inside the feed-forward part.
    pub hidden_act: Activation,
    /// Added to the variance in every layer norm.
    pub layer_norm_eps: f64,
    /// Rows of the position table, or the longest sequence that the model was made for; see [`TrunkConfig::max_seq_len`].
    pub max_position_embeddings: usize,
    /// Rows of the token-type table, 0 where there is none.
    pub type_vocab_size: usize,
    /// Id that fills a short row of a batch.
    pub pad_token_id: u32,
}

impl TrunkConfig {
    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Tokens of the longest sequence, special ones included.
    pub fn max_seq_len(&self) -> usize {
        self.max_position_embeddings - self.first_position()
    }

    /// The row of the position table that the first token has: RoBERTa counts from the row after that of the padding.
    pub fn first_position(&self) -> usize {
        match self.family {
            Family::Roberta => self.pad_token_id as usize + 1,
            Family::Bert | Family::DistilBert | Family::DebertaV2(_) | Family::ModernBert(_) => 0,
        }
    }
}

/// Families of encoders. The first three are one network under different names (`encoder/names.rs`); they differ in where positions start and in
/// whether there are token types. The others have layers of their own.
#[derive(Clone, Debug, PartialEq)]
pub enum Family {
    /// BERT and MiniLM.
    Bert,
    /// RoBERTa and XLM-R.
    Roberta,
    /// DistilBERT.
    DistilBert,
    /// DeBERTa v2 and v3.
    DebertaV2(Deberta),
    /// ModernBERT.
    ModernBert(ModernBert),
}

impl Family {
    /// As people write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bert => "BERT",
            Self::Roberta => "RoBERTa",
            Self::DistilBert => "DistilBERT",
            Self::DebertaV2(_) => "DeBERTa",
            Self::ModernBert(_) => "ModernBERT",
        }
    }
}

/// What only DeBERTa v2 and v3 have: attention that knows how far apart two tokens stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Deberta {
    /// Content asks for distance.
    pub content_to_position: bool,
    /// Distance asks for content.
    pub position_to_content: bool,
    /// Buckets of distances to each side: exact ones near, ranges far. Without them each distance is its own.
    pub position_buckets: Option<usize>,
    /// Largest distance that is told from larger ones.
    pub max_relative_positions: usize,
    /// Distances go through the projections of the content, or through their own.
    pub share_att_key: bool,
    /// Whether the table of distances is normalised.
    pub norm_rel_ebd: bool,
    /// Whether words have a position of their own too.
    pub position_biased_input: bool,
}

impl Deberta {
    /// Rows of the table of distances to each side.
    pub fn span(&self) -> usize {
        self.position_buckets.unwrap_or(self.max_relative_positions)
    }
}

/// What only ModernBERT has: rotated positions, and layers that see a neighbourhood.
#[derive(Clone, Debug, PartialEq)]
pub struct ModernBert {
    /// Of each layer, whether it sees the whole sequence.
    pub sees_all: Vec<bool>,
    /// Furthest token to each side that the other layers see.
    pub window: usize,
    /// Base of the rotation in layers that see the whole sequence.
    pub global_rope_theta: f64,
    /// And in the others.
    pub local_rope_theta: f64,
    /// Whether the products of attention have a bias.
    pub attention_bias: bool,
    /// Whether those of the feed-forward part have one.
    pub mlp_bias: bool,
    /// Whether layer norms have one.
    pub norm_bias: bool,
}

/// Functions inside the feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x · Φ(x) with the exact error function.
    GeluErf,
    /// max(0, x).
    Relu,
}

/// `model_type` of `config.json`.
#[derive(Clone, Copy)]
enum ModelType {
    Bert,
    Roberta,
    DistilBert,
    DebertaV2,
    ModernBert,
}

/// The names that stand for them.
const MODEL_TYPES: &[(&str, ModelType)] = &[
    ("bert", ModelType::Bert),
    ("roberta", ModelType::Roberta),
    ("xlm-roberta", ModelType::Roberta),
    ("distilbert", ModelType::DistilBert),
    ("deberta-v2", ModelType::DebertaV2),
    ("modernbert", ModelType::ModernBert),
];
const ACTIVATIONS: &[(&str, Activation)] = &[("gelu", Activation::GeluErf), ("relu", Activation::Relu)];

/// Reads the text of `config.json`; all faults at once.
pub fn parse(text: &[u8]) -> Result<TrunkConfig, Vec<Fault>> {
    let map: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| vec![Fault::new(FILE, "", error.to_string(), "a JSON object")])?;
    let mut keys = Keys { map, faults: Vec::new() };
    // What is wrong with the other keys depends on it; those of BERT are looked for where it is not known.
    let model_type = keys.choice("model_type", None, MODEL_TYPES).unwrap_or(ModelType::Bert);
    for key in ["is_decoder", "is_encoder_decoder", "add_cross_attention"] {
        if keys.flag(key, false) {
            keys.fault(key, "true", "false: Baton implements encoders");
        }
    }
    if keys.map.get("pruned_heads").is_some_and(|heads| heads.as_object().is_some_and(Map::is_empty)) {
        keys.map.remove("pruned_heads");
    }
    match model_type {
        ModelType::Bert => read_bert(keys, Family::Bert, 0),
        ModelType::Roberta => read_bert(keys, Family::Roberta, 1),
        ModelType::DistilBert => read_distilbert(keys),
        ModelType::DebertaV2 => read_deberta(keys),
        ModelType::ModernBert => read_modernbert(keys),
    }
}

/// BERT and RoBERTa name their keys alike.
fn read_bert(mut keys: Keys, family: Family, pad_token_id: u32) -> Result<TrunkConfig, Vec<Fault>> {
    keys.choice("position_embedding_type", Some(()), &[("absolute", ())]);
    let config = TrunkConfig {
        family,
        vocab_size: keys.size("vocab_size"),
        hidden_size: keys.size("hidden_size"),
        num_hidden_layers: keys.size_up_to("num_hidden_layers", LAYERS_MAX),
        num_attention_heads: keys.size("num_attention_heads"),
        intermediate_size: keys.size("intermediate_size"),
        hidden_act: keys.choice("hidden_act", None, ACTIVATIONS).unwrap_or(Activation::GeluErf),
        layer_norm_eps: keys.epsilon("layer_norm_eps", None),
        max_position_embeddings: keys.size("max_position_embeddings"),
        type_vocab_size: keys.size("type_vocab_size"),
        pad_token_id: keys.token_id("pad_token_id", pad_token_id),
    };
    keys.finish(config, HARMLESS_BERT)
}

/// DistilBERT has names of its own; its norms have the epsilon of BERT, which no key tells.
fn read_distilbert(mut keys: Keys) -> Result<TrunkConfig, Vec<Fault>> {
    let config = TrunkConfig {
        family: Family::DistilBert,
        vocab_size: keys.size("vocab_size"),
        hidden_size: keys.size("dim"),
        num_hidden_layers: keys.size_up_to("n_layers", LAYERS_MAX),
        num_attention_heads: keys.size("n_heads"),
        intermediate_size: keys.size("hidden_dim"),
        hidden_act: keys.choice("activation", None, ACTIVATIONS).unwrap_or(Activation::GeluErf),
        layer_norm_eps: 1e-12,
        max_position_embeddings: keys.size("max_position_embeddings"),
        type_vocab_size: 0,
        pad_token_id: keys.token_id("pad_token_id", 0),
    };
    keys.finish(config, HARMLESS_DISTILBERT)
}

fn read_deberta(mut keys: Keys) -> Result<TrunkConfig, Vec<Fault>> {
    if !keys.flag("relative_attention", false) {
        keys.fault("relative_attention", "false", "true: DeBERTa without it is not implemented");
    }
    let max_position_embeddings = keys.size("max_position_embeddings");
    let (content_to_position, position_to_content) = keys.position_attention();
    let family = Deberta {
        content_to_position,
        position_to_content,
        position_buckets: keys.size_unless_negative("position_buckets"),
        max_relative_positions: keys.size_unless_negative("max_relative_positions").unwrap_or(max_position_embeddings),
        share_att_key: keys.flag("share_att_key", false),
        norm_rel_ebd: keys.choice("norm_rel_ebd", Some(false), &[("none", false), ("layer_norm", true)]).unwrap_or(false),
        position_biased_input: keys.flag("position_biased_input", true),
    };
    if let Some(buckets) = family.position_buckets
        && (buckets < 4 || family.max_relative_positions <= buckets / 2 + 1)
    {
        let expected = format!("4 or more, and less than twice max_relative_positions {}", family.max_relative_positions);
        keys.fault("position_buckets", buckets.to_string(), expected);
    }
    if keys.map.get("conv_kernel_size").is_some_and(|size| size.as_i64().is_some_and(|size| size <= 0)) {
        keys.map.remove("conv_kernel_size");
    } else if let Some(size) = keys.map.remove("conv_kernel_size") {
        keys.fault("conv_kernel_size", size.to_string(), "0: the convolution of the largest ones is not implemented");
    }
    let config = TrunkConfig {
        family: Family::DebertaV2(family),
        vocab_size: keys.size("vocab_size"),
        hidden_size: keys.size("hidden_size"),
        num_hidden_layers: keys.size_up_to("num_hidden_layers", LAYERS_MAX),
        num_attention_heads: keys.size("num_attention_heads"),
        intermediate_size: keys.size("intermediate_size"),
        hidden_act: keys.choice("hidden_act", None, ACTIVATIONS).unwrap_or(Activation::GeluErf),
        layer_norm_eps: keys.epsilon("layer_norm_eps", None),
        max_position_embeddings,
        type_vocab_size: keys.count("type_vocab_size"),
        pad_token_id: keys.token_id("pad_token_id", 0),
    };
    keys.must_equal("embedding_size", config.hidden_size, "hidden_size");
    keys.must_equal("attention_head_size", config.head_size(), "hidden_size over num_attention_heads");
    keys.must_equal("padding_idx", config.pad_token_id as usize, "pad_token_id");
    keys.finish(config, HARMLESS_DEBERTA)
}

fn read_modernbert(mut keys: Keys) -> Result<TrunkConfig, Vec<Fault>> {
    keys.choice("position_embedding_type", Some(()), &[("absolute", ())]);
    let num_hidden_layers = keys.size_up_to("num_hidden_layers", LAYERS_MAX);
    let (global_rope_theta, local_rope_theta) = keys.rope_thetas();
    let family = ModernBert {
        sees_all: keys.layer_types(num_hidden_layers),
        window: keys.size("local_attention") / 2,
        global_rope_theta,
        local_rope_theta,
        attention_bias: keys.flag("attention_bias", false),
        mlp_bias: keys.flag("mlp_bias", false),
        norm_bias: keys.flag("norm_bias", false),
    };
    let config = TrunkConfig {
        family: Family::ModernBert(family),
        vocab_size: keys.size("vocab_size"),
        hidden_size: keys.size("hidden_size"),
        num_hidden_layers,
        num_attention_heads: keys.size("num_attention_heads"),
        intermediate_size: keys.size("intermediate_size"),
        hidden_act: keys.choice("hidden_activation", None, ACTIVATIONS).unwrap_or(Activation::GeluErf),
        layer_norm_eps: keys.epsilon("norm_eps", Some(1e-5)),
        max_position_embeddings: keys.size("max_position_embeddings"),
        type_vocab_size: 0,
        pad_token_id: keys.token_id("pad_token_id", 50_283),
    };
    if !config.head_size().is_multiple_of(2) {
        keys.fault("num_attention_heads", config.num_attention_heads.to_string(), "heads of an even width, as they are rotated by halves");
    }
    keys.finish(config, HARMLESS_MODERNBERT)
}

/// The keys not read yet, and the faults so far.
struct Keys {
    map: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Keys {
    fn fault(&mut self, key: &str, found: impl Into<String>, expected: impl Into<String>) {
        self.faults.push(Fault::new(FILE, key, found, expected));
    }

    fn take(&mut self, key: &str, expected: &str) -> Option<Value> {
        let value = self.map.remove(key);
        if value.is_none() {
            self.fault(key, "nothing", expected);
        }
        value
    }

    fn size(&mut self, key: &str) -> usize {
        self.size_up_to(key, SIZE_MAX)
    }

    fn size_up_to(&mut self, key: &str, most: usize) -> usize {
        let expected = format!("a whole number in 1..={most}");
        let Some(value) = self.take(key, &expected) else { return 1 };
        match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) if (1..=most).contains(&n) => n,
            _ => {
                self.fault(key, value.to_string(), expected);
                1
            }
        }
    }

    /// A size that may be 0.
    fn count(&mut self, key: &str) -> usize {
        if self.map.get(key) == Some(&Value::from(0)) {
            self.map.remove(key);
            return 0;
        }
        self.size(key)
    }

    /// A size, or -1 for none, as where the key is absent.
    fn size_unless_negative(&mut self, key: &str) -> Option<usize> {
        if self.map.get(key).is_none_or(|value| value.as_i64().is_some_and(|value| value < 1)) {
            self.map.remove(key);
            return None;
        }
        Some(self.size(key))
    }

    /// A size that follows from others, and may be written all the same.
    fn must_equal(&mut self, key: &str, expected: usize, meaning: &str) {
        match self.map.remove(key) {
            Some(value) if value.as_u64() != Some(expected as u64) => {
                self.fault(key, value.to_string(), format!("{expected}, {meaning}"));
            }
            _ => {}
        }
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        let value = self.map.remove(key).unwrap_or(Value::from(default));
        value.as_bool().unwrap_or_else(|| {
            self.fault(key, value.to_string(), "true or false");
            default
        })
    }

    /// Which ways `pos_att_type` names: a list, or one text with bars in between.
    fn position_attention(&mut self) -> (bool, bool) {
        const KEY: &str = "pos_att_type";
        let value = self.map.remove(KEY).unwrap_or(Value::Null);
        let listed = match &value {
            Value::Null => Some(Vec::new()),
            Value::String(text) => Some(text.split('|').map(|name| name.trim().to_lowercase()).collect()),
            Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        match listed {
            Some(names) if names.iter().all(|name| name == "c2p" || name == "p2c") => {
                (names.iter().any(|name| name == "c2p"), names.iter().any(|name| name == "p2c"))
            }
            _ => {
                self.fault(KEY, value.to_string(), "\"c2p\", \"p2c\" or both");
                (false, false)
            }
        }
    }

    /// Which layers see the whole sequence: a list, or the number of which every multiple does.
    fn layer_types(&mut self, layers: usize) -> Vec<bool> {
        const KEY: &str = "layer_types";
        let every = if self.map.contains_key("global_attn_every_n_layers") { self.size("global_attn_every_n_layers") } else { 3 };
        let Some(value) = self.map.remove(KEY) else { return (0..layers).map(|layer| layer % every == 0).collect() };
        let type_of = |value: &Value| match value.as_str() {
            Some("full_attention") => Some(true),
            Some("sliding_attention") => Some(false),
            _ => None,
        };
        let listed: Option<Vec<bool>> = value.as_array().and_then(|types| types.iter().map(type_of).collect());
        listed.filter(|types| types.len() == layers).unwrap_or_else(|| {
            self.fault(KEY, value.to_string(), format!("\"full_attention\" or \"sliding_attention\" for each of {layers} layers"));
            vec![true; layers]
        })
    }

    /// Bases of the rotation, for the whole sequence and for a neighbourhood; `rope_parameters` is the newer form and counts where both stand.
    fn rope_thetas(&mut self) -> (f64, f64) {
        const KEY: &str = "rope_parameters";
        let mut thetas = [
            self.number("global_rope_theta", 160_000.0, 1.0, 1e12, "a number in 1..=1e12"),
            self.number("local_rope_theta", 10_000.0, 1.0, 1e12, "a number in 1..=1e12"),
        ];
        let value = self.map.remove(KEY).unwrap_or(Value::Null);
        for (name, theta) in ["full_attention", "sliding_attention"].iter().zip(&mut thetas) {
            let Some(of_type) = value.get(*name).and_then(Value::as_object) else { continue };
            for (key, value) in of_type {
                let number = value.as_f64().filter(|theta| (1.0..=1e12).contains(theta));
                match (key.as_str(), number) {
                    ("rope_theta", Some(number)) => *theta = number,
                    ("rope_type", _) if value == "default" => {}
                    ("rope_theta", None) => self.fault(&format!("{KEY}.{name}.{key}"), value.to_string(), "a number in 1..=1e12"),
                    ("rope_type", _) => self.fault(&format!("{KEY}.{name}.{key}"), value.to_string(), "\"default\""),
                    _ => self.fault(&format!("{KEY}.{name}.{key}"), value.to_string(), "no such key: Baton does not implement it"),
                }
            }
        }
        let known = |name: &String| name == "full_attention" || name == "sliding_attention";
        if !value.is_null() && !value.as_object().is_some_and(|map| map.iter().all(|(name, of)| known(name) && of.is_object())) {
            self.fault(KEY, value.to_string(), "an object with full_attention and sliding_attention");
        }
        if self.map.get("rope_scaling").is_some_and(Value::is_null) {
            self.map.remove("rope_scaling");
        }
        (thetas[0], thetas[1])
    }

    fn token_id(&mut self, key: &str, default: u32) -> u32 {
        let value = self.map.remove(key).unwrap_or(Value::from(default));
        match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(n) => n,
            None => {
                self.fault(key, value.to_string(), "a token id");
                0
            }
        }
    }

    fn epsilon(&mut self, key: &str, default: Option<f64>) -> f64 {
        let expected = "a number above 0 and at most 0.1";
        if default.is_none() && !self.map.contains_key(key) {
            self.fault(key, "nothing", expected);
        }
        self.number(key, default.unwrap_or(1e-12), f64::MIN_POSITIVE, 0.1, expected)
    }

    fn number(&mut self, key: &str, default: f64, least: f64, most: f64, expected: &str) -> f64 {
        let Some(value) = self.map.remove(key) else { return default };
        value.as_f64().filter(|number| (least..=most).contains(number)).unwrap_or_else(|| {
            self.fault(key, value.to_string(), expected);
            default
        })
    }

    fn choice<T: Copy>(&mut self, key: &str, default: Option<T>, choices: &[(&str, T)]) -> Option<T> {
        let expected = choices.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(" or ");
        let value = match (self.map.remove(key), default) {
            (Some(value), _) => value,
            (None, Some(default)) => return Some(default),
            (None, None) => {
                self.fault(key, "nothing", expected);
                return None;
            }
        };
        let chosen = choices.iter().find(|(name, _)| value.as_str() == Some(name)).map(|(_, choice)| *choice);
        if chosen.is_none() {
            self.fault(key, value.to_string(), expected);
        }
        chosen
    }

    /// The configuration, if nothing was wrong with it and no key is left that could change a result.
    fn finish(mut self, config: TrunkConfig, harmless: &[&str]) -> Result<TrunkConfig, Vec<Fault>> {
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            self.fault(
                "num_attention_heads",
                config.num_attention_heads.to_string(),
                format!("a divisor of hidden_size {}", config.hidden_size),
            );
        }
        if config.pad_token_id as usize >= config.vocab_size {
            self.fault("pad_token_id", config.pad_token_id.to_string(), format!("an id below vocab_size {}", config.vocab_size));
        }
        if config.first_position() >= config.max_position_embeddings {
            let expected = format!("more than {}, as positions start there", config.first_position());
            self.fault("max_position_embeddings", config.max_position_embeddings.to_string(), expected);
        }
        let known = |key: &String| HARMLESS.contains(&key.as_str()) || harmless.contains(&key.as_str());
        let unknown: Vec<String> = self.map.keys().filter(|key| !known(key)).cloned().collect();
        for key in unknown {
            let value = self.map[&key].to_string();
            self.fault(&key, value, "no such key: Baton does not implement it");
        }
        if self.faults.is_empty() { Ok(config) } else { Err(self.faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"model_type":"bert","vocab_size":100,"hidden_size":32,"num_hidden_layers":2,"num_attention_heads":4,
        "intermediate_size":64,"hidden_act":"gelu","layer_norm_eps":1e-12,"max_position_embeddings":64,"type_vocab_size":2,
        "pad_token_id":0,"position_embedding_type":"absolute","use_cache":true}"#;

    fn faults(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "the case changes nothing: {from}");
        let found = parse(GOOD.replace(from, to).as_bytes()).expect_err("a broken config must not parse");
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_good_config_is_read() {
        let config = parse(GOOD.as_bytes()).unwrap();
        assert_eq!((config.head_size(), config.hidden_act, config.vocab_size), (8, Activation::GeluErf, 100));
    }

    #[test]
    fn a_broken_config_names_key_found_and_expected() {
        let cases = [
            (r#""gelu""#, r#""gelu_new""#, r#"config.json: hidden_act: found "gelu_new", expected "gelu" or "relu""#),
            (r#""bert""#, r#""t5""#, r#"config.json: model_type: found "t5", expected "bert""#),
            (r#""hidden_size":32"#, r#""hidden_size":0"#, "config.json: hidden_size: found 0, expected a whole number in 1..=1048576"),
            (
                r#""hidden_size":32"#,
                r#""hidden_size":33"#,
                "config.json: num_attention_heads: found 4, expected a divisor of hidden_size 33",
            ),
            (r#""vocab_size":100,"#, "", "config.json: vocab_size: found nothing, expected a whole number in 1..=1048576"),
            ("1e-12", "-1", "config.json: layer_norm_eps: found -1, expected a number above 0 and at most 0.1"),
            (r#""absolute""#, r#""relative_key""#, r#"config.json: position_embedding_type: found "relative_key", expected "absolute""#),
            (r#""pad_token_id":0"#, r#""pad_token_id":100"#, "config.json: pad_token_id: found 100, expected an id below vocab_size 100"),
            (
                r#""use_cache":true"#,
                r#""rope_theta":1e4"#,
                "config.json: rope_theta: found 10000.0, expected no such key: Baton does not implement it",
            ),
        ];
        for (from, to, expected) in cases {
            assert!(faults(from, to).contains(expected), "{to}: {}", faults(from, to));
        }
    }

    const ROBERTA: &str = r#"{"model_type":"xlm-roberta","vocab_size":100,"hidden_size":32,"num_hidden_layers":2,"num_attention_heads":4,
        "intermediate_size":64,"hidden_act":"gelu","layer_norm_eps":1e-5,"max_position_embeddings":66,"type_vocab_size":1,
        "output_past":true,"id2label":{"0":"a"},"label2id":{"a":0},"problem_type":null,"is_decoder":false,"pruned_heads":{}}"#;
    const DISTILBERT: &str = r#"{"model_type":"distilbert","vocab_size":100,"dim":32,"n_layers":2,"n_heads":4,"hidden_dim":64,
        "activation":"gelu","max_position_embeddings":64,"sinusoidal_pos_embds":false,"tie_weights_":true,"seq_classif_dropout":0.2}"#;
    const DEBERTA: &str = r#"{"model_type":"deberta-v2","vocab_size":100,"hidden_size":32,"num_hidden_layers":2,"num_attention_heads":4,
        "intermediate_size":64,"hidden_act":"gelu","layer_norm_eps":1e-7,"max_position_embeddings":64,"type_vocab_size":0,
        "relative_attention":true,"position_buckets":16,"norm_rel_ebd":"layer_norm","share_att_key":true,"pos_att_type":"p2c|c2p",
        "max_relative_positions":-1,"position_biased_input":false,"pooler_hidden_act":"gelu","conv_kernel_size":0,"legacy":true}"#;
    const MODERNBERT: &str = r#"{"model_type":"modernbert","vocab_size":100,"hidden_size":32,"num_hidden_layers":4,"num_attention_heads":4,
        "intermediate_size":48,"hidden_activation":"gelu","norm_eps":1e-5,"layer_norm_eps":1e-5,"max_position_embeddings":64,
        "local_attention":16,"global_attn_every_n_layers":3,"global_rope_theta":160000.0,"local_rope_theta":10000.0,
        "attention_bias":false,"mlp_bias":false,"norm_bias":false,"pad_token_id":99,"classifier_pooling":"mean"}"#;

    #[test]
    fn every_family_is_read_under_its_own_names() {
        let roberta = parse(ROBERTA.as_bytes()).unwrap();
        assert_eq!(
            (&roberta.family, roberta.pad_token_id, roberta.max_seq_len()),
            (&Family::Roberta, 1, 64),
            "positions start behind the padding"
        );
        let distilbert = parse(DISTILBERT.as_bytes()).unwrap();
        assert_eq!(
            (&distilbert.family, distilbert.hidden_size, distilbert.num_hidden_layers, distilbert.num_attention_heads),
            (&Family::DistilBert, 32, 2, 4)
        );
        assert_eq!((distilbert.intermediate_size, distilbert.type_vocab_size, distilbert.max_seq_len()), (64, 0, 64));
        let Family::DebertaV2(deberta) = parse(DEBERTA.as_bytes()).unwrap().family else { panic!("it says deberta-v2") };
        assert_eq!((deberta.content_to_position, deberta.position_to_content, deberta.span()), (true, true, 16));
        assert_eq!((deberta.max_relative_positions, deberta.position_buckets, deberta.share_att_key), (64, Some(16), true));
        let Family::ModernBert(modern) = parse(MODERNBERT.as_bytes()).unwrap().family else { panic!("it says modernbert") };
        assert_eq!((modern.sees_all, modern.window), (vec![true, false, false, true], 8));
    }

    #[test]
    fn older_and_newer_names_mean_the_same() {
        let older = r#""global_attn_every_n_layers":3,"global_rope_theta":160000.0,"local_rope_theta":10000.0,"#;
        let newer = r#""layer_types":["full_attention","sliding_attention","sliding_attention","full_attention"],
            "rope_parameters":{"full_attention":{"rope_theta":160000.0,"rope_type":"default"},
            "sliding_attention":{"rope_theta":10000.0,"rope_type":"default"}},"#;
        assert_eq!(parse(MODERNBERT.replace(older, newer).as_bytes()), parse(MODERNBERT.as_bytes()));
        assert_eq!(parse(DEBERTA.replace(r#""p2c|c2p""#, r#"["c2p","p2c"]"#).as_bytes()), parse(DEBERTA.as_bytes()));
    }

    #[test]
    fn what_a_family_cannot_do_is_refused_by_name() {
        let cases = [
            (ROBERTA, r#""is_decoder":false"#, r#""is_decoder":true"#, "is_decoder: found true, expected false: Baton implements encoders"),
            (ROBERTA, r#""pruned_heads":{}"#, r#""pruned_heads":{"0":[1]}"#, r#"pruned_heads: found {"0":[1]}, expected no such key"#),
            (
                ROBERTA,
                "embeddings\":66",
                "embeddings\":2",
                "max_position_embeddings: found 2, expected more than 2, as positions start there",
            ),
            (DISTILBERT, r#""dim":32"#, r#""hidden_size":32"#, "config.json: dim: found nothing, expected a whole number in 1..=1048576"),
            (DISTILBERT, r#""dim":32"#, r#""hidden_size":32"#, "config.json: hidden_size: found 32, expected no such key"),
            (DEBERTA, r#""relative_attention":true"#, r#""relative_attention":false"#, "relative_attention: found false, expected true"),
            (DEBERTA, r#""p2c|c2p""#, r#""p2p""#, r#"pos_att_type: found "p2p", expected "c2p", "p2c" or both"#),
            (DEBERTA, "kernel_size\":0", "kernel_size\":3", "conv_kernel_size: found 3, expected 0: the convolution of the largest ones"),
            (DEBERTA, r#""legacy":true"#, r#""embedding_size":16"#, "embedding_size: found 16, expected 32, hidden_size"),
            (DEBERTA, "buckets\":16", "buckets\":126", "position_buckets: found 126, expected 4 or more, and less than twice"),
            (MODERNBERT, r#""norm_bias":false"#, r#""norm_bias":0"#, "norm_bias: found 0, expected true or false"),
            (
                MODERNBERT,
                r#""local_rope_theta":10000.0"#,
                r#""rope_scaling":{"factor":2.0}"#,
                "rope_scaling: found {\"factor\":2.0}, expected no such",
            ),
            (
                MODERNBERT,
                r#""local_rope_theta":10000.0"#,
                r#""layer_types":["full_attention"]"#,
                "layer_types: found [\"full_attention\"], expected",
            ),
            (
                MODERNBERT,
                r#""local_rope_theta":10000.0"#,
                r#""rope_parameters":{"full_attention":{"rope_type":"yarn"}}"#,
                "rope_parameters.full_attention.rope_type: found \"yarn\", expected \"default\"",
            ),
            (
                MODERNBERT,
                r#""local_rope_theta":10000.0"#,
                r#""rope_parameters":{"rope_theta":1.0}"#,
                "rope_parameters: found {\"rope_theta\":1.0}",
            ),
            (MODERNBERT, "heads\":4", "heads\":32", "num_attention_heads: found 32, expected heads of an even width"),
        ];
        for (good, from, to, expected) in cases {
            assert!(good.contains(from), "the case changes nothing: {from}");
            let found = parse(good.replace(from, to).as_bytes()).expect_err(expected);
            let all = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(all.contains(expected), "{to}: {all}");
        }
    }

    #[test]
    fn all_faults_come_at_once() {
        let all = faults(r#""gelu","layer_norm_eps":1e-12"#, r#""tanh","layer_norm_eps":"x""#);
        assert!(all.contains("hidden_act") && all.contains("layer_norm_eps"), "{all}");
    }
}
