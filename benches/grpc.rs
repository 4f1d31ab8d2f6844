//! Scoring as a client meets it: the daemon with the shipped model in a process of its own, no cache, every text another one of 15 tokens.
//!
//! Expected before the first run, two cores: the engine alone 4,000 messages/s with AVX512-VNNI and twice that with AMX; in `ScoreBatch` protobuf, rules, guard and
//! tokens cost 60 µs a message beside it, the client 10 µs: 3,500 and 5,500. A lone unary message: the engine 0.4 ms, gRPC 0.2 ms, two wake-ups: 0.7 ms. At half of what
//! unary calls reach, the second waits for the first: 1.2 ms, and 4 ms at the 99th percentile. Start to SERVING 250 ms, of which the proof of the package is 60 ms.
//!
//! Then a classifier of the size of DistilBERT (66 million weights, random, in f32, 268 MB) from a folder in the Hugging Face layout: 1.2 s to SERVING, of which reading is 0.2 s,
//! packing 0.3 s, and candle's answers, which int8 is held against, 0.4 s; 12,000 tokens/s with AVX512-VNNI: 370 requests/s of 32 tokens, 90 of 128; with AMX twice that.
//!
//! Both with activations of two bytes, as a daemon has them by itself, and of one, which the above expects; two take a quarter longer with AMX, twice as long for products with
//! AVX512-VNNI. Client and daemon share the machine: processor time of both is told. `-- --test` runs a few messages, in a folder of two layers.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use baton::random::Random;
use baton::service::clock::{self, Stopwatch};
use baton::service::pb;
use baton::service::pb::scoring_service_client::ScoringServiceClient;
use futures::StreamExt;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use tonic::transport::Channel;

/// Items of one `ScoreBatch`.
const BATCH: usize = 64;
/// Batches in the air.
const BATCHES_IN_FLIGHT: usize = 4;
/// Unary calls in the air.
const CALLS_IN_FLIGHT: usize = 64;
/// The one that is chosen by itself, and the faster one.
const ENGINES: [&str; 2] = ["w8a16", "int8"];

struct Daemon {
    child: Child,
    url: String,
}

impl Daemon {
    /// Starts it; gives how long it took to say that it serves.
    fn start(settings: &[&str]) -> (Self, Duration) {
        let watch = Stopwatch::start();
        let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "none", "--set", "limits.cache_bytes_max=0"]).args(settings);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the daemon starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output is piped")).read_line(&mut line).expect("it says its address");
        let address = line.trim().strip_prefix("serving on ").expect("it serves");
        (Self { child, url: format!("http://{address}") }, watch.elapsed())
    }

    fn end(mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("the daemon ends");
    }

    /// Resident megabytes.
    fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux tells the memory of a process");
        let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the status has it");
        value.trim().trim_end_matches(" kB").parse::<f64>().expect("a number of kB") * 1.024e-3
    }
}

/// Processor seconds of a process; a tick is 10 ms.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("Linux tells the time of a process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("user time") + fields[12].parse::<u64>().expect("system time");
    ticks as f64 / 100.0
}

fn item(number: usize) -> pb::ScoreRequest {
    pb::ScoreRequest { text: format!("I was charged twice for order {number} this month, please help"), ..Default::default() }
}

type Client = ScoringServiceClient<Channel>;

async fn unary(mut client: Client, number: usize) -> Duration {
    let watch = Stopwatch::start();
    client.score(item(number)).await.expect("the daemon has room");
    watch.elapsed()
}

async fn batch(mut client: Client, first: usize) {
    let request = pb::ScoreBatchRequest { items: (first..first + BATCH).map(item).collect() };
    for result in client.score_batch(request).await.expect("the daemon has room").into_inner().results {
        assert!(matches!(result.outcome, Some(pb::score_result::Outcome::Response(_))), "an item has no answer: {result:?}");
    }
}

/// Milliseconds at a share of the sorted times.
fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}

/// A folder with a classifier of the size of DistilBERT and the tokenizer of the shipped model.
fn distilbert(folder: &Path, layers: usize) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/baton-en/tokenizer.json");
    std::fs::copy(shipped, folder.join("tokenizer.json")).expect("the package is in the repository");
    let config = json!({"architectures": ["DistilBertForSequenceClassification"], "model_type": "distilbert", "vocab_size": 30_522, "dim": 768, "n_layers": layers, "n_heads": 12,
        "hidden_dim": 3072, "activation": "gelu", "max_position_embeddings": 512, "pad_token_id": 0, "id2label": {"0": "NEGATIVE", "1": "POSITIVE"}});
    std::fs::write(folder.join("config.json"), config.to_string()).expect("the folder can be written");
    let map = "head = \"sentiment\"\n[labels]\nNEGATIVE = \"negative\"\nPOSITIVE = \"positive\"\n";
    std::fs::write(folder.join("baton.toml"), map).expect("the folder can be written");
    let mut random = Random::new(7);
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    // Bytes of random numbers between -1 and 1, times a spread.
    let mut add = |name: String, shape: &[usize], spread: f32| {
        let number = |bits: u64| (bits as i32 as f32) * spread / i32::MAX as f32;
        let values = (0..shape.iter().product::<usize>()).flat_map(|_| number(random.bits()).to_le_bytes()).collect();
        tensors.push((name, shape.to_vec(), values));
    };
    add("distilbert.embeddings.word_embeddings.weight".to_owned(), &[30_522, 768], 1.0);
    add("distilbert.embeddings.position_embeddings.weight".to_owned(), &[512, 768], 1.0);
    let mut norms = vec!["distilbert.embeddings.LayerNorm".to_owned()];
    let mut linears = vec![("pre_classifier".to_owned(), 768, 768), ("classifier".to_owned(), 2, 768)];
    for layer in 0..layers {
        let at = format!("distilbert.transformer.layer.{layer}");
        norms.extend(["sa_layer_norm", "output_layer_norm"].map(|name| format!("{at}.{name}")));
        linears.extend(["q_lin", "k_lin", "v_lin", "out_lin"].map(|name| (format!("{at}.attention.{name}"), 768, 768)));
        linears.extend([(format!("{at}.ffn.lin1"), 3072, 768), (format!("{at}.ffn.lin2"), 768, 3072)]);
    }
    for (name, outputs, inputs) in linears {
        add(format!("{name}.weight"), &[outputs, inputs], 1.7 / (inputs as f32).sqrt());
        add(format!("{name}.bias"), &[outputs], 0.1);
    }
    for name in norms {
        tensors.push((format!("{name}.weight"), vec![768], [1.0f32; 768].iter().flat_map(|value| value.to_le_bytes()).collect()));
        tensors.push((format!("{name}.bias"), vec![768], vec![0; 4 * 768]));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("the bytes are as many as the shape says"))
    });
    let file = safetensors::serialize(views, None).expect("the tensors have names of their own");
    std::fs::write(folder.join("model.safetensors"), file).expect("the folder can be written");
}

/// A text of so many tokens, special ones included, unlike others.
fn text_of(tokens: usize, number: usize) -> String {
    let words = ["please", "help", "me", "with", "my", "order", "today"];
    let words = words.iter().cycle().take(tokens - 4).copied().collect::<Vec<_>>().join(" ");
    format!("{} {} {words}", number / 500 + 100, number % 500 + 100)
}

/// Load time and throughput of a folder of the size of DistilBERT.
#[expect(clippy::print_stdout, reason = "a bench says what it measured")]
fn measure_folder(runtime: &tokio::runtime::Runtime, folder: &Path, engine: &str, is_test: bool) {
    let (starts, requests) = if is_test { (1, 20) } else { (5, 2_000) };
    let path = folder.display().to_string();
    let settings = ["--model", &path, "--policy", "none", "--engine", engine];
    let mut times: Vec<Duration> = (0..starts).map(|_| Daemon::start(&settings)).map(|(daemon, time)| (daemon.end(), time).1).collect();
    println!("{engine}, folder of 66M weights, start to SERVING: median {:.2} s of {starts}", quantile(&mut times, 0.5) / 1e3);
    let (daemon, _) = Daemon::start(&settings);
    println!("resident: {:.0} MB", daemon.resident());
    for tokens in [32, 128] {
        let seconds = runtime.block_on(async {
            let client = Client::connect(daemon.url.clone()).await.expect("the daemon answers");
            let watch = Stopwatch::start();
            let calls = futures::stream::iter(0..requests).map(|number| {
                let mut client = client.clone();
                let request = pb::ScoreRequest { text: text_of(tokens, number), ..Default::default() };
                async move { drop(client.score(request).await.expect("the daemon has room")) }
            });
            calls.buffer_unordered(CALLS_IN_FLIGHT).collect::<()>().await;
            watch.elapsed().as_secs_f64()
        });
        println!("unary, {tokens} tokens, 64 in flight: {:.0} requests/s", requests as f64 / seconds);
    }
    daemon.end();
}

/// Calls that come by themselves, `rate` a second, with gaps of an exponential distribution drawn from a fixed seed.
async fn at_rate(client: &Client, calls: usize, rate: f64) -> Vec<Duration> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut due = clock::now();
    let mut running = Vec::with_capacity(calls);
    for number in 0..calls {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = ((state >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        due += Duration::from_secs_f64(-uniform.ln() / rate);
        tokio::time::sleep_until(due.into()).await;
        running.push(tokio::spawn(unary(client.clone(), 2_000_000 + number)));
    }
    futures::future::join_all(running).await.into_iter().map(|time| time.expect("no call panics")).collect()
}

/// Latency and throughput of the shipped model on an engine.
#[expect(clippy::print_stdout, reason = "a bench says what it measured")]
fn measure_messages(runtime: &tokio::runtime::Runtime, engine: &str, messages: usize, lone: usize) {
    let (daemon, _) = Daemon::start(&["--engine", engine]);
    println!("{engine}, resident after the start, default policy: {:.0} MB", daemon.resident());
    runtime.block_on(async {
        let client = Client::connect(daemon.url.clone()).await.expect("the daemon answers");
        let mut times = Vec::new();
        let mut stages = [Vec::new(), Vec::new(), Vec::new()];
        for number in 0..lone {
            let watch = Stopwatch::start();
            let answer = client.clone().score(item(1_000_000 + number)).await.expect("the daemon has room").into_inner();
            times.push(watch.elapsed());
            let timing = answer.timing.unwrap_or_default();
            let spent = [timing.queue_us, timing.tokenise_us, timing.inference_us];
            stages.iter_mut().zip(spent).for_each(|(all, us)| all.push(Duration::from_micros(us)));
        }
        println!("unary, alone: p50 {:.2} ms, p99 {:.2} ms", quantile(&mut times, 0.5), quantile(&mut times, 0.99));
        let [queue, tokenise, inference] = stages.map(|mut all| quantile(&mut all, 0.5));
        println!("of these, medians: queue {queue:.3}, tokenise {tokenise:.3}, inference {inference:.3} ms");

        let told = |what: &str, seconds: f64, client: f64, server: f64| {
            let each = 1e6 / messages as f64;
            println!(
                "{what}: {:.0} messages/s; processor time a message: daemon {:.0} us, client {:.0} us ({:.0} % of both)",
                messages as f64 / seconds,
                server * each,
                client * each,
                100.0 * client / (client + server)
            );
        };
        let pids = [std::process::id(), daemon.child.id()];
        let (watch, before) = (Stopwatch::start(), pids.map(cpu));
        let batches = futures::stream::iter((0..messages).step_by(BATCH)).map(|first| batch(client.clone(), first));
        batches.buffer_unordered(BATCHES_IN_FLIGHT).collect::<()>().await;
        let seconds = watch.elapsed().as_secs_f64();
        told("ScoreBatch", seconds, cpu(pids[0]) - before[0], cpu(pids[1]) - before[1]);

        let (watch, before) = (Stopwatch::start(), pids.map(cpu));
        let calls = futures::stream::iter(0..messages).map(|number| unary(client.clone(), 3_000_000 + number));
        calls.buffer_unordered(CALLS_IN_FLIGHT).collect::<Vec<_>>().await;
        let seconds = watch.elapsed().as_secs_f64();
        told("unary, 64 in flight", seconds, cpu(pids[0]) - before[0], cpu(pids[1]) - before[1]);

        let rate = messages as f64 / seconds / 2.0;
        let mut times = at_rate(&client, messages / 2, rate).await;
        println!(
            "unary, {rate:.0} a second, half of that: p50 {:.2} ms, p99 {:.2} ms",
            quantile(&mut times, 0.5),
            quantile(&mut times, 0.99)
        );
    });
    println!("resident after all: {:.0} MB", daemon.resident());
    daemon.end();
}

#[expect(clippy::print_stdout, reason = "a bench says what it measured")]
fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (starts, messages, lone) = if is_test { (1, 2 * BATCH, 20) } else { (11, 400 * BATCH, 3_000) };
    for (told, settings) in [("default policy", &[] as &[&str]), ("no policy", &["--policy", "none"])] {
        let mut times: Vec<Duration> = (0..starts).map(|_| Daemon::start(settings)).map(|(daemon, time)| (daemon.end(), time).1).collect();
        println!("start to SERVING, {told}: median {:.0} ms of {starts}", quantile(&mut times, 0.5));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    for engine in ENGINES {
        measure_messages(&runtime, engine, messages, lone);
    }
    let folder = tempfile::tempdir().expect("a folder");
    distilbert(folder.path(), if is_test { 2 } else { 6 });
    for engine in ENGINES {
        measure_folder(&runtime, folder.path(), engine, is_test);
    }
}
