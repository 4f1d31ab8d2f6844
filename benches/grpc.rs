//! Scoring as a client meets it: the daemon with the shipped model in a process of its own, no cache, every text another one of 15 tokens.
//!
//! Expected before the first run, two cores: the engine alone 4,000 messages/s with AVX512-VNNI and twice that with AMX; in `ScoreBatch` protobuf, rules, guard and
//! tokens cost 60 µs a message beside it, the client 10 µs: 3,500 and 5,500. A lone unary message: the engine 0.4 ms, gRPC 0.2 ms, two wake-ups: 0.7 ms. At half of what
//! unary calls reach, the second waits for the first: 1.2 ms, and 4 ms at the 99th percentile. Start to SERVING 250 ms, of which the proof of the package is 60 ms.
//!
//! Client and daemon share the machine: processor time of both is told. `-- --test` runs a few messages.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use baton::service::clock::{self, Stopwatch};
use baton::service::pb;
use baton::service::pb::scoring_service_client::ScoringServiceClient;
use futures::StreamExt;
use tonic::transport::Channel;

/// Items of one `ScoreBatch`.
const BATCH: usize = 64;
/// Batches in the air.
const BATCHES_IN_FLIGHT: usize = 4;
/// Unary calls in the air.
const CALLS_IN_FLIGHT: usize = 64;

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

#[expect(clippy::print_stdout, reason = "a bench says what it measured")]
fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (starts, messages, lone) = if is_test { (1, 2 * BATCH, 20) } else { (11, 400 * BATCH, 3_000) };
    for (told, settings) in [("default policy", &[] as &[&str]), ("no policy", &["--policy", "none"])] {
        let mut times: Vec<Duration> = (0..starts).map(|_| Daemon::start(settings)).map(|(daemon, time)| (daemon.end(), time).1).collect();
        println!("start to SERVING, {told}: median {:.0} ms of {starts}", quantile(&mut times, 0.5));
    }
    let (daemon, _) = Daemon::start(&[]);
    println!("resident after the start, default policy: {:.0} MB", daemon.resident());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let client = Client::connect(daemon.url.clone()).await.expect("the daemon answers");
        let mut times = Vec::new();
        for number in 0..lone {
            times.push(unary(client.clone(), 1_000_000 + number).await);
        }
        println!("unary, alone: p50 {:.2} ms, p99 {:.2} ms", quantile(&mut times, 0.5), quantile(&mut times, 0.99));

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
