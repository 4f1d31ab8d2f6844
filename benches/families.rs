//! What each family costs at the size of its published base model: tokens a second on two cores, and resident memory.
//!
//! Expected before the first run, two cores with AVX512-VNNI at 300 GMAC/s of products each (f32: 50 GMAC/s):
//!
//! | model | engine | M multiplications a token | tokens/s | resident |
//! |---|---|---|---|---|
//! | distilbert-base | int8 | 42 | 12,000 | 80 MB |
//! | roberta-base | int8 | 85 | 6,000 | 140 MB |
//! | xlm-roberta-base | int8 | 85 | 6,000 | 290 MB: two thirds are the table of words |
//! | deberta-v3-small | candle | 42, and distances | 1,800 | 620 MB |
//! | modernbert-base | candle | 110 | 800 | 620 MB |
//!
//! With AMX products are three times as fast. The table is int8's, with activations of one byte; with two, as a daemon has them by itself, products take up to twice as long. Each model is measured in a process of its own (`--as-model`), so that memory can be read apart. Weights are random bytes:
//! what a product costs does not depend on them. `-- --test` measures one batch of each length in a model of two layers.

use std::process::Command;

use baton::model::config::{self, Family, TrunkConfig};
use baton::model::encoder::candle::{CandleEncoder, DeviceChoice, open_device};
use baton::model::encoder::int8::{self, Int8Encoder, Precision};
use baton::model::encoder::{
    BertWeights, DebertaLayerWeights, DebertaWeights, Encoder, LayerWeights, Linear, ModernBertLayerWeights, ModernBertWeights, Norm,
    TrunkWeights,
};
use baton::model::weights::Matrix;
use baton::random::Random;
use baton::service::clock::Stopwatch;
use serde_json::{Value, json};

const THREADS: usize = 2;
const LENGTHS: [usize; 2] = [32, 128];
/// Tokens of one call, as the scorer cuts them.
const BATCH_TOKENS_INT8: usize = 256;
const BATCH_TOKENS_CANDLE: usize = 1024;
/// Measured for at least so long.
const SECS: f64 = 4.0;

/// Shapes as the published configurations tell them.
fn models() -> Vec<(&'static str, Value)> {
    let bert = |model_type: &str, vocab_size: usize| {
        json!({"model_type": model_type, "vocab_size": vocab_size, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
            "intermediate_size": 3072, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": 514, "type_vocab_size": 1})
    };
    let distilbert = json!({"model_type": "distilbert", "vocab_size": 30_522, "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072,
        "activation": "gelu", "max_position_embeddings": 512});
    let deberta = json!({"model_type": "deberta-v2", "vocab_size": 128_100, "hidden_size": 768, "num_hidden_layers": 6,
        "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu", "layer_norm_eps": 1e-7, "max_position_embeddings": 512,
        "type_vocab_size": 0, "relative_attention": true, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": true,
        "pos_att_type": "p2c|c2p", "position_biased_input": false});
    let modernbert = json!({"model_type": "modernbert", "vocab_size": 50_368, "hidden_size": 768, "num_hidden_layers": 22,
        "num_attention_heads": 12, "intermediate_size": 1152, "hidden_activation": "gelu", "max_position_embeddings": 8192,
        "local_attention": 128, "global_attn_every_n_layers": 3});
    vec![
        ("distilbert-base", distilbert),
        ("roberta-base", bert("roberta", 50_265)),
        ("xlm-roberta-base", bert("xlm-roberta", 250_002)),
        ("deberta-v3-small", deberta),
        ("modernbert-base", modernbert),
    ]
}

/// Random weights, of the spread that keeps states near 1.
struct Weights<'a> {
    random: Random,
    config: &'a TrunkConfig,
}

impl Weights<'_> {
    fn bytes(&mut self, count: usize) -> Vec<i8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.random.bits().to_le_bytes().map(u8::cast_signed));
        }
        bytes.truncate(count);
        bytes
    }

    fn matrix(&mut self, rows: usize, columns: usize, spread: f32) -> Matrix {
        Matrix::Int8 { values: self.bytes(rows * columns), scales: vec![spread / 74.0; rows] }
    }

    fn numbers(&mut self, rows: usize) -> Vec<f32> {
        let columns = self.config.hidden_size;
        self.matrix(rows, columns, 1.0).into_f32(columns)
    }

    fn words(&mut self) -> Matrix {
        self.matrix(self.config.vocab_size, self.config.hidden_size, 1.0)
    }

    fn linear(&mut self, outputs: usize, inputs: usize) -> Linear {
        Linear { weight: self.matrix(outputs, inputs, 1.0 / (inputs as f32).sqrt()), bias: vec![0.0; outputs], outputs, inputs }
    }

    fn norm(&self) -> Norm {
        let hidden = self.config.hidden_size;
        Norm { weight: vec![1.0; hidden], bias: vec![0.0; hidden] }
    }

    fn layer(&mut self) -> LayerWeights {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        LayerWeights {
            query: self.linear(hidden, hidden),
            key: self.linear(hidden, hidden),
            value: self.linear(hidden, hidden),
            attention_output: self.linear(hidden, hidden),
            attention_norm: self.norm(),
            intermediate: self.linear(inner, hidden),
            output: self.linear(hidden, inner),
            output_norm: self.norm(),
        }
    }

    fn modern_layer(&mut self, number: usize) -> ModernBertLayerWeights {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        ModernBertLayerWeights {
            attention_norm: (number > 0).then(|| self.norm()),
            qkv: self.linear(3 * hidden, hidden),
            attention_output: self.linear(hidden, hidden),
            feed_forward_norm: self.norm(),
            inner: self.linear(2 * inner, hidden),
            output: self.linear(hidden, inner),
        }
    }

    fn trunk(&mut self) -> TrunkWeights {
        let (layers, hidden) = (0..self.config.num_hidden_layers, self.config.hidden_size);
        match &self.config.family {
            Family::Bert | Family::Roberta | Family::DistilBert => TrunkWeights::Bert(BertWeights {
                word_embeddings: self.words(),
                position_embeddings: self.numbers(self.config.max_seq_len()),
                token_type_embedding: vec![0.0; hidden],
                embedding_norm: self.norm(),
                layers: layers.map(|_| self.layer()).collect(),
            }),
            Family::DebertaV2(family) => TrunkWeights::Deberta(DebertaWeights {
                word_embeddings: self.words(),
                position_embeddings: Vec::new(),
                token_type_embedding: vec![0.0; hidden],
                embedding_norm: self.norm(),
                distance_embeddings: self.numbers(2 * family.span()),
                distance_norm: Some(self.norm()),
                layers: layers.map(|_| DebertaLayerWeights { layer: self.layer(), distance_key: None, distance_query: None }).collect(),
            }),
            Family::ModernBert(_) => TrunkWeights::ModernBert(ModernBertWeights {
                word_embeddings: self.words(),
                embedding_norm: self.norm(),
                layers: layers.map(|number| self.modern_layer(number)).collect(),
                final_norm: self.norm(),
            }),
        }
    }
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells the memory of a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has a resident size");
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).expect("it is a number") / 1024
}

/// Tokens a second of all threads together, each with batches of its own.
fn tokens_per_sec(encoder: &dyn Encoder, length: usize, secs: f64) -> f64 {
    let batch = (if encoder.kind().family() == "int8" { BATCH_TOKENS_INT8 } else { BATCH_TOKENS_CANDLE }) / length;
    let ids: Vec<Vec<u32>> =
        (0..batch).map(|row| (0..length).map(|at| 1000 + ((row * 977 + at * 131) % 20_000) as u32).collect()).collect();
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let pass = || drop(encoder.encode(&ids, &[encoder.layers()]).expect("the CPU does not fail"));
    let measure = || {
        // The products of candle would take threads of the others.
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one more thread can be started");
        alone.install(|| {
            pass();
            let (watch, mut passes) = (Stopwatch::start(), 0);
            while passes == 0 || watch.elapsed().as_secs_f64() < secs {
                pass();
                passes += 1;
            }
            (passes * batch * length) as f64 / watch.elapsed().as_secs_f64()
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(measure)).collect();
        threads.into_iter().map(|thread| thread.join().expect("measuring does not panic")).sum()
    })
}

#[expect(clippy::print_stdout, reason = "the result of a bench")]
fn measure(name: &str, precision: Precision, is_test: bool) {
    let (_, mut shape) = models().into_iter().find(|(known, _)| *known == name).expect("the parent names a model");
    if is_test {
        let key = if name.starts_with("distil") { "n_layers" } else { "num_hidden_layers" };
        shape[key] = json!(2);
    }
    let config = config::parse(&serde_json::to_vec(&shape).expect("a shape is JSON")).expect("the shapes are sound");
    let weights = Weights { random: Random::new(7), config: &config }.trunk();
    let (encoder, engine): (Box<dyn Encoder>, _) = match int8::unsupported(&config) {
        None => {
            let encoder = Int8Encoder::new(&config, weights, precision);
            let kind = encoder.kind();
            (Box::new(encoder), kind.as_str())
        }
        Some(_) => {
            let device = open_device(DeviceChoice::Cpu).expect("the CPU is there");
            let encoder = CandleEncoder::new(&config, weights, &device).expect("candle takes every family");
            let kind = encoder.kind();
            (Box::new(encoder), kind.as_str())
        }
    };
    let rates = LENGTHS.map(|length| tokens_per_sec(encoder.as_ref(), length, if is_test { 0.0 } else { SECS }));
    println!("{name:<18} {engine:<17} {:>9.0} {:>9.0} {:>6} MB", rates[0], rates[1], resident_mb());
}

#[expect(clippy::print_stdout, reason = "the result of a bench")]
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let is_test = arguments.iter().any(|argument| argument == "--test");
    if let Some(at) = arguments.iter().position(|argument| argument == "--as-model") {
        let precision = if arguments.iter().any(|argument| argument == "--int8") { Precision::W8A8 } else { Precision::W8A16 };
        return measure(&arguments[at + 1], precision, is_test);
    }
    println!("{:<18} {:<17} {:>9} {:>9}  resident", "model", "engine", "32 tokens", "128");
    for (name, shape) in models() {
        let config = config::parse(&serde_json::to_vec(&shape).expect("a shape is JSON")).expect("the shapes are sound");
        let precisions = if int8::unsupported(&config).is_none() { &[None, Some("--int8")] as &[Option<&str>] } else { &[None] };
        for precision in precisions {
            let program = std::env::current_exe().expect("this program has a path");
            let mut command = Command::new(program);
            command.args(["--as-model", name]).args(*precision).args(is_test.then_some("--test"));
            assert!(command.status().expect("the model is measured").success(), "{name} was not measured");
        }
    }
}
