//! What one message costs: each stage of the scorer alone, then whole batches, on one thread.
//!
//! Expected before the first run, on two x86-64 cores with AVX-512, one thread: rules 5 µs; tokenising 15 words 25 µs; the trunk 2.7 ms of products
//! (160 million multiply-adds at 60 G/s) and 1.1 ms of GELU a message of 15 tokens, so 4 ms alone and 3.5 ms in batches of 32; loading 450 ms.
//! `cargo bench --profile release` measures, `-- --test` runs each once.

use std::hint::black_box;
use std::path::Path;

use baton::model::encoder::candle::{DeviceChoice, open_device};
use baton::model::lexical::Lexicon;
use baton::model::load::load;
use baton::model::scorer::ScoreInput;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const MESSAGE: &str = "I was charged twice for my subscription this month, please help";

fn one_thread() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one more thread can be started")
}

fn bench(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/baton-en");
    let device = open_device(DeviceChoice::Cpu).expect("the CPU is there");
    let scorer = load(&folder, &device).expect("the shipped package loads");
    let pool = one_thread();

    let mut group = criterion.benchmark_group("stage");
    let lexicon = Lexicon::new();
    group.bench_function("rules", |b| b.iter(|| lexicon.find(black_box(MESSAGE))));
    group.bench_function("language", |b| b.iter(|| scorer.judge_language(black_box(MESSAGE))));
    group.finish();

    let mut group = criterion.benchmark_group("score");
    group.sample_size(20);
    for messages in [1usize, 32] {
        let inputs = vec![ScoreInput::message(MESSAGE); messages];
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(BenchmarkId::new("15_tokens", messages), |b| {
            b.iter(|| pool.install(|| scorer.score(black_box(&inputs)).expect("the CPU does not fail")));
        });
    }
    let long = MESSAGE.repeat(10);
    let inputs = [ScoreInput::message(&long)];
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("130_tokens", 1), |b| {
        b.iter(|| pool.install(|| scorer.score(black_box(&inputs)).expect("the CPU does not fail")));
    });
    group.finish();

    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("baton-en", |b| b.iter(|| load(black_box(&folder), &device).expect("the shipped package loads")));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
