//! Baton's side of `benches/peers/run.py`: runs workloads of token ids on request, so that the script can let it and its peers take turns.
//!
//! `peers WORKLOADS.json`: an object of lists of lists of token ids, by name. Then a JSON object a line on standard input, `{"engine": "int8", "workload": "15", "batch":
//! 32, "threads": 2}`, answers on standard output with `{"seconds": 0.81}`: the time in which every text of the workload became hidden states and their mean,
//! each thread taking the next batch of texts, in the order of the file. `{"vectors": 10, ...}` answers with the unit vectors of the first texts instead, and
//! `{"memory": true}` with the resident bytes of this process. Without an argument, and in tests, it runs one small workload once.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use baton::model::config;
use baton::model::encoder::candle::{CandleEncoder, DeviceChoice, open_device};
use baton::model::encoder::int8::{Int8Encoder, Precision};
use baton::model::encoder::{Encoder, take_trunk};
use baton::model::weights::Weights;
use serde_json::{Map, Value, json};

fn encoder(name: &str) -> Box<dyn Encoder> {
    let read = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/baton-en");
        std::fs::read(folder.join(name)).expect("the package is in the repository")
    };
    let config = config::parse(&read("config.json")).expect("the shipped configuration is sound");
    let bytes = read("model.safetensors");
    let mut weights = Weights::read_trunk("model.safetensors", &bytes).expect("the shipped weights are sound");
    let trunk = take_trunk(&mut weights, &config);
    match name {
        "int8" => Box::new(Int8Encoder::new(&config, trunk, Precision::W8A8)),
        "w8a16" => Box::new(Int8Encoder::new(&config, trunk, Precision::W8A16)),
        "candle" => {
            let device = open_device(DeviceChoice::Cpu).expect("the CPU is there");
            Box::new(CandleEncoder::new(&config, trunk, &device).expect("candle takes the shipped trunk"))
        }
        other => panic!("engine {other:?}, expected int8, w8a16 or candle"),
    }
}

/// Mean of the last states of each text.
fn means(encoder: &dyn Encoder, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let ids: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let states = encoder.encode(&ids, &[encoder.layers()]).expect("the CPU does not fail").remove(0);
    let mean = |at: usize| {
        let mut sum = vec![0.0; encoder.hidden_size()];
        states.rows(at).for_each(|row| sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value));
        sum.iter_mut().for_each(|value| *value /= texts[at].len() as f32);
        sum
    };
    (0..texts.len()).map(mean).collect()
}

#[expect(clippy::disallowed_methods, reason = "the result is a time")]
fn seconds(encoder: &dyn Encoder, texts: &[Vec<u32>], batch: usize, threads: usize) -> f64 {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // candle's products run in a pool of this one thread, as in the daemon.
                let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one more thread can be started");
                pool.install(|| {
                    loop {
                        let from = next.fetch_add(batch, Ordering::Relaxed);
                        let Some(rest) = texts.get(from..).filter(|rest| !rest.is_empty()) else { break };
                        std::hint::black_box(means(encoder, &rest[..batch.min(rest.len())]));
                    }
                });
            });
        }
    });
    started.elapsed().as_secs_f64()
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells the memory of a process");
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    1024 * kilobytes.expect("a number of kB")
}

fn texts_of(workloads: &Map<String, Value>, name: &str) -> Vec<Vec<u32>> {
    serde_json::from_value(workloads[name].clone()).expect("a list of lists of ids")
}

fn main() {
    let file = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let Some(file) = file else {
        let texts: Vec<Vec<u32>> = (0..8).map(|row| (0..15).map(|at| 1000 + row * 31 + at).collect()).collect();
        assert!(seconds(encoder("int8").as_ref(), &texts, 3, 2) > 0.0);
        return;
    };
    let workloads: Map<String, Value> =
        serde_json::from_slice(&std::fs::read(file).expect("the file is there")).expect("an object of workloads");
    let mut current: Option<(String, Box<dyn Encoder>)> = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line.expect("a line of text")).expect("a JSON object");
        let engine = request["engine"].as_str().unwrap_or("int8");
        if current.as_ref().is_none_or(|(name, _)| name != engine) {
            // Only one is in memory.
            drop(current.take());
            current = Some((engine.to_owned(), encoder(engine)));
        }
        let encoder = current.as_ref().map(|(_, encoder)| encoder.as_ref()).expect("it was just made");
        let number = |key: &str| request[key].as_u64().map_or(1, |number| number as usize);
        let answer = if request["memory"] == Value::Bool(true) {
            json!({"bytes": resident_bytes()})
        } else {
            let texts = texts_of(&workloads, request["workload"].as_str().expect("the name of a workload"));
            match request.get("vectors") {
                Some(count) => {
                    let count = count.as_u64().map_or(0, |count| count as usize).min(texts.len());
                    json!({"vectors": means(encoder, &texts[..count]).into_iter().map(unit).collect::<Vec<_>>()})
                }
                None => json!({"seconds": seconds(encoder, &texts, number("batch"), number("threads")), "engine": encoder.kind().as_str()}),
            }
        };
        writeln!(out, "{answer}").and_then(|()| out.flush()).expect("the script reads");
    }
}
