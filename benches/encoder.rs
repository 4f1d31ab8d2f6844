//! The int8 engine: its products against the machine's peak, passes by length and batch, tokenising, and candle on the same texts.
//!
//! Expected before the first run, one core of a machine with AVX512-VNNI at 365 GMAC/s (PERFORMANCE): products 300 GMAC/s; a message of 15 tokens alone 0.6 ms, in
//! batches of 256 tokens 38 µs a token; candle ten times as long; tokenising a message of 13 word pieces 5 µs (the crate: 25). With AMX, whose peak is eight times as
//! high, products are limited by loads: 1,500 GMAC/s and 18 µs a token. With two bytes an activation (w8a16) products take twice as long; as long as with one on AVX2,
//! which multiplies words in any case.
//! `cargo bench --profile release --bench encoder` measures, `-- --test` runs each once. One thread throughout. `python3 benches/cost_plot.py` draws docs/cost.svg from it.

use std::hint::black_box;
use std::path::Path;

use baton::model::config::{self, TrunkConfig};
use baton::model::encoder::candle::{CandleEncoder, DeviceChoice, open_device};
use baton::model::encoder::int8::{Int8Encoder, KernelKind, Precision, ProductBench, Step, StepBench};
use baton::model::encoder::{Encoder, EngineKind, TrunkWeights, take_trunk};
use baton::model::tokenizer::Tokenizer;
use baton::model::weights::Weights;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const MESSAGE: &str = "I was charged twice for my subscription this month, please help";

fn read(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/baton-en").join(name)).expect("the package is in the repository")
}

fn trunk() -> (TrunkConfig, TrunkWeights) {
    let config = config::parse(&read("config.json")).expect("the shipped configuration is sound");
    let bytes = read("model.safetensors");
    let mut weights = Weights::read_trunk("model.safetensors", &bytes).expect("the shipped weights are sound");
    let trunk = take_trunk(&mut weights, &config);
    (config, trunk)
}

/// Ids of sequences that differ from each other.
fn sequences(count: usize, tokens: usize) -> Vec<Vec<u32>> {
    (0..count).map(|row| (0..tokens).map(|at| 1000 + ((row * 977 + at * 131) % 20_000) as u32).collect()).collect()
}

/// Messages and their tokens, for the kernel that this machine takes.
const SHAPES: [(usize, usize); 10] = [(1, 15), (4, 15), (8, 15), (16, 15), (1, 32), (8, 32), (4, 64), (1, 128), (2, 128), (1, 256)];
/// For the others.
const SHAPES_OF_OTHERS: [(usize, usize); 3] = [(1, 15), (16, 15), (2, 128)];

const PRECISIONS: [Precision; 2] = [Precision::W8A8, Precision::W8A16];

/// The name of an engine without its prefix `int8-`.
fn named(precision: Precision, kind: KernelKind) -> &'static str {
    let name = EngineKind::Int8(precision, kind).as_str();
    name.strip_prefix("int8-").unwrap_or(name)
}

fn kernels() -> impl Iterator<Item = KernelKind> {
    KernelKind::ALL.into_iter().filter(|kind| kind.is_available() && *kind != KernelKind::Portable)
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("product");
    group.sample_size(30);
    for kind in kernels() {
        for (inputs, outputs) in [(384, 1152), (384, 1536), (1536, 384)] {
            group.throughput(Throughput::Elements((240 * inputs * outputs) as u64));
            for precision in PRECISIONS {
                let product = ProductBench::new(kind, precision, 240, inputs, outputs);
                let name = named(precision, kind);
                group.bench_function(BenchmarkId::new(name, format!("{inputs}x{outputs}")), |b| b.iter(|| product.run()));
            }
        }
    }
    if let Some(peak) = ProductBench::peak() {
        group.throughput(Throughput::Elements(peak.multiplications() as u64));
        group.bench_function("peak_of_vpdpbusd", |b| b.iter(|| peak.run()));
    }
    group.finish();

    let mut group = criterion.benchmark_group("pass");
    group.sample_size(20);
    for (precision, kind) in PRECISIONS.into_iter().flat_map(|precision| kernels().map(move |kind| (precision, kind))) {
        let (config, trunk) = trunk();
        let encoder = Int8Encoder::with_kernel(&config, trunk, precision, kind);
        for (count, tokens) in if kind == KernelKind::best() { &SHAPES as &[(usize, usize)] } else { &SHAPES_OF_OTHERS } {
            let (count, tokens) = (*count, *tokens);
            let ids = sequences(count, tokens);
            let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            group.throughput(Throughput::Elements((count * tokens) as u64));
            group.bench_function(BenchmarkId::new(named(precision, kind), format!("{count}x{tokens}")), |b| {
                b.iter(|| {
                    encoder.forward(black_box(&ids), |_, states| {
                        black_box(states[0]);
                    })
                });
            });
        }
    }
    group.sample_size(10);
    let (config, trunk) = trunk();
    let candle = CandleEncoder::new(&config, trunk, &open_device(DeviceChoice::Cpu).expect("the CPU is there"))
        .expect("candle takes the shipped trunk");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one more thread can be started");
    for (count, tokens) in [(1, 15), (32, 15), (1, 128)] {
        let ids = sequences(count, tokens);
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        group.throughput(Throughput::Elements((count * tokens) as u64));
        group.bench_function(BenchmarkId::new("candle-f32", format!("{count}x{tokens}")), |b| {
            b.iter(|| pool.install(|| candle.encode(black_box(&ids), &[6]).expect("the CPU does not fail")));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("step");
    group.sample_size(20);
    let (config, trunk) = self::trunk();
    let encoder = Int8Encoder::new(&config, trunk, Precision::default());
    // Only attention depends on the length of a message: cost_plot.py wants it for all lengths.
    for (count, tokens) in [(1, 15), (16, 15), (2, 128), (8, 32), (4, 64), (1, 256)] {
        let ids = sequences(count, tokens);
        let mut bench = StepBench::new(&encoder, ids.iter().map(Vec::as_slice).collect());
        let is_profiled = [1, 16, 2].contains(&count) && tokens != 256;
        for step in [Step::Embed].into_iter().chain(Step::OF_A_LAYER).filter(|step| is_profiled || *step == Step::Attend) {
            group.throughput(Throughput::Elements((count * tokens) as u64));
            group.bench_function(BenchmarkId::new(format!("{step:?}"), format!("{count}x{tokens}")), |b| b.iter(|| bench.run(step)));
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("tokenise");
    let file = read("tokenizer.json");
    let own = Tokenizer::read(&file, 30_522).expect("the shipped tokenizer is sound");
    let by_crate = tokenizers::Tokenizer::from_bytes(&file).expect("the shipped tokenizer is sound");
    group.bench_function("own", |b| b.iter(|| own.encode(black_box(MESSAGE))));
    group.bench_function("crate", |b| b.iter(|| by_crate.encode(black_box(MESSAGE), false).expect("it has an unknown token")));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
