//! rten's side of `benches/peers/run.py`: the orders and answers of `benches/peers.rs`, batches padded to their longest text.
//!
//! `peer-rten WORKLOADS.json MODEL.onnx`. One batch at a time, all threads on it, as rten works.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

use rten::{Model, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, Tensor};
use serde_json::{Map, Value as Json, json};

struct Trunk {
    model: Model,
    ids: NodeId,
    mask: NodeId,
    states: NodeId,
}

impl Trunk {
    /// Mean of the last states of each text.
    fn means(&self, texts: &[Vec<i32>], pool: &Arc<ThreadPool>) -> Vec<Vec<f32>> {
        let width = texts.iter().map(Vec::len).max().unwrap_or(1);
        let mut ids = NdTensor::<i32, 2>::zeros([texts.len(), width]);
        let mut mask = NdTensor::<i32, 2>::zeros([texts.len(), width]);
        for (row, text) in texts.iter().enumerate() {
            for (at, id) in text.iter().enumerate() {
                ids[[row, at]] = *id;
                mask[[row, at]] = 1;
            }
        }
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::clone(pool));
        let inputs: Vec<(NodeId, ValueOrView)> = vec![(self.ids, ids.into()), (self.mask, mask.into())];
        let [states]: [Value; 1] = self.model.run_n(inputs, [self.states], Some(options)).expect("the graph runs");
        let states: Tensor<f32> = states.try_into().expect("states are f32");
        let hidden = states.size(2);
        let states = states.to_vec();
        let mean = |row: usize, tokens: usize| -> Vec<f32> {
            let mut sum = vec![0.0; hidden];
            for at in 0..tokens {
                let from = (row * width + at) * hidden;
                sum.iter_mut().zip(&states[from..from + hidden]).for_each(|(sum, value)| *sum += value);
            }
            sum.iter().map(|value| value / tokens as f32).collect()
        };
        texts.iter().enumerate().map(|(row, text)| mean(row, text.len())).collect()
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells the memory of a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the status has it");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB")
}

fn main() {
    let [workloads, graph]: [String; 2] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("WORKLOADS.json MODEL.onnx");
    let workloads: Map<String, Json> = serde_json::from_slice(&std::fs::read(workloads).expect("the file is there")).expect("an object");
    let model = Model::load_file(graph).expect("rten takes the graph");
    let id = |name: &str| model.node_id(name).expect("the graph has it");
    let trunk = Trunk { ids: id("input_ids"), mask: id("attention_mask"), states: id("states"), model };
    let pools: Vec<Arc<ThreadPool>> = (1..=std::thread::available_parallelism().map_or(1, usize::from)).map(|threads| Arc::new(ThreadPool::with_num_threads(threads))).collect();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Json = serde_json::from_str(&line.expect("a line of text")).expect("a JSON object");
        let number = |key: &str| request[key].as_u64().map_or(1, |number| number as usize);
        let answer = if request["memory"] == Json::Bool(true) {
            json!({"bytes": resident_bytes()})
        } else {
            let texts: Vec<Vec<i32>> = serde_json::from_value(workloads[request["workload"].as_str().expect("a name")].clone()).expect("ids");
            let pool = &pools[number("threads") - 1];
            match request.get("vectors") {
                Some(count) => {
                    let count = (count.as_u64().unwrap_or(0) as usize).min(texts.len());
                    let unit = |mut vector: Vec<f32>| {
                        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
                        vector.iter_mut().for_each(|value| *value /= length);
                        vector
                    };
                    let means = texts[..count].iter().flat_map(|text| trunk.means(std::slice::from_ref(text), pool));
                    json!({"vectors": means.map(unit).collect::<Vec<_>>()})
                }
                None => {
                    let started = Instant::now();
                    texts.chunks(number("batch")).for_each(|batch| drop(std::hint::black_box(trunk.means(batch, pool))));
                    json!({"seconds": started.elapsed().as_secs_f64(), "engine": "rten"})
                }
            }
        };
        writeln!(out, "{answer}").and_then(|()| out.flush()).expect("the script reads");
    }
}
