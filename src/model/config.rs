//! `config.json` → the shape of the trunk.
//!
//! In: the Hugging Face form. Out: [`TrunkConfig`]. Every key is either used here or stands in [`HARMLESS`]; any other key, and any value that the
//! encoder does not implement, is a fault, since an ignored key can mean silently wrong vectors (candle pull request 3991: an ignored
//! activation name, and a cosine of 0.8 to the truth).

use serde_json::{Map, Value};

use super::fault::Fault;

/// Name of the file inside a package.
pub const FILE: &str = "config.json";

/// Keys that cannot change the result of a forward pass.
const HARMLESS: &[&str] = &[
    "architectures",                // class names of the reference library
    "attention_probs_dropout_prob", // training only
    "hidden_dropout_prob",          // training only
    "classifier_dropout",           // training only
    "initializer_range",            // training only
    "gradient_checkpointing",       // training only
    "use_cache",                    // generation only
    "transformers_version",         // provenance
    "_name_or_path",                // provenance
    "torch_dtype",                  // the tensors state their own
    "dtype",                        // the tensors state their own
    "bos_token_id",                 // the tokenizer's matter
    "eos_token_id",                 // the tokenizer's matter
];

/// Largest value taken for any size; beyond it a file is damaged or hostile.
const SIZE_MAX: usize = 1 << 20;
/// Most layers; the largest encoders have fewer than a hundred.
const LAYERS_MAX: usize = 256;

/// The shape of the trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TrunkConfig {
    /// Naming scheme of the tensors and how positions count.
    pub family: Family,
    /// Rows of the word embedding table.
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
    /// Rows of the position table.
    pub max_position_embeddings: usize,
    /// Rows of the token-type table.
    pub type_vocab_size: usize,
    /// Id that fills a short row of a batch.
    pub pad_token_id: u32,
}

impl TrunkConfig {
    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

/// Families of encoders. RoBERTa and DistilBERT differ from BERT in tensor names, in where positions start and in the token-type table;
/// each is one more row of the tables in `encoder/names.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// BERT and MiniLM.
    Bert,
}

/// Functions inside the feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x · Φ(x) with the exact error function.
    GeluErf,
    /// max(0, x).
    Relu,
}

/// Reads the text of `config.json`; all faults at once.
pub fn parse(text: &[u8]) -> Result<TrunkConfig, Vec<Fault>> {
    let map: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| vec![Fault::new(FILE, "", error.to_string(), "a JSON object")])?;
    let mut keys = Keys { map, faults: Vec::new() };
    let family = keys.choice("model_type", None, &[("bert", Family::Bert)]);
    keys.choice("position_embedding_type", Some(()), &[("absolute", ())]);
    let config = TrunkConfig {
        family: family.unwrap_or(Family::Bert),
        vocab_size: keys.size("vocab_size"),
        hidden_size: keys.size("hidden_size"),
        num_hidden_layers: keys.size_up_to("num_hidden_layers", LAYERS_MAX),
        num_attention_heads: keys.size("num_attention_heads"),
        intermediate_size: keys.size("intermediate_size"),
        hidden_act: keys
            .choice("hidden_act", None, &[("gelu", Activation::GeluErf), ("relu", Activation::Relu)])
            .unwrap_or(Activation::GeluErf),
        layer_norm_eps: keys.epsilon("layer_norm_eps"),
        max_position_embeddings: keys.size("max_position_embeddings"),
        type_vocab_size: keys.size("type_vocab_size"),
        pad_token_id: keys.token_id("pad_token_id"),
    };
    keys.finish(config)
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

    fn token_id(&mut self, key: &str) -> u32 {
        let value = self.map.remove(key).unwrap_or(Value::from(0));
        match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(n) => n,
            None => {
                self.fault(key, value.to_string(), "a token id");
                0
            }
        }
    }

    fn epsilon(&mut self, key: &str) -> f64 {
        let expected = "a number above 0 and at most 0.1";
        let Some(value) = self.take(key, expected) else { return 1e-12 };
        match value.as_f64() {
            Some(e) if e > 0.0 && e <= 0.1 => e,
            _ => {
                self.fault(key, value.to_string(), expected);
                1e-12
            }
        }
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

    fn finish(mut self, config: TrunkConfig) -> Result<TrunkConfig, Vec<Fault>> {
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
        let unknown: Vec<String> = self.map.keys().filter(|key| !HARMLESS.contains(&key.as_str())).cloned().collect();
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

    #[test]
    fn all_faults_come_at_once() {
        let all = faults(r#""gelu","layer_norm_eps":1e-12"#, r#""tanh","layer_norm_eps":"x""#);
        assert!(all.contains("hidden_act") && all.contains("layer_norm_eps"), "{all}");
    }
}
