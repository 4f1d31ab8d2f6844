//! What scheduler and gRPC cost beside the engine: processor time of the server process for each unary message, client not counted, with an engine that
//! does nothing; and how long a lone message waits in the queue.
//!
//! Expected before the first run: HTTP/2 and protobuf 25 µs, two task switches and a wake-up of a worker 15 µs, hashing and bookkeeping 5 µs: 45 µs a
//! message under load; queue time of a lone message 20 µs, the wake-up of a sleeping thread.
//!
//! The server is this same program in a process of its own (`--as-server`), so that its processor time can be read apart. Rules, tokenising, guard and heads are
//! not part of scheduler and gRPC: their cost is measured on the same messages in this process and subtracted. `-- --test` runs a hundred messages.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use baton::config::serve::Typed;
use baton::model::encoder::candle::{DeviceChoice, open_device};
use baton::model::encoder::{EncodeError, Encoder, EngineKind, HiddenStates};
use baton::model::load::load;
use baton::model::scorer::{ScoreInput, Scorer};
use baton::service::pb;
use baton::service::pb::scoring_service_client::ScoringServiceClient;
use baton::service::server;
use futures::StreamExt;

/// Gives states of one number at once.
struct Nothing(Box<dyn Encoder>);

impl Encoder for Nothing {
    fn kind(&self) -> EngineKind {
        self.0.kind()
    }

    fn device(&self) -> &'static str {
        self.0.device()
    }

    fn hidden_size(&self) -> usize {
        self.0.hidden_size()
    }

    fn layers(&self) -> usize {
        self.0.layers()
    }

    fn encode(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<HiddenStates>, EncodeError> {
        let tokens = sequences.iter().map(|ids| ids.len()).sum();
        let mut states = HiddenStates::with_capacity(self.hidden_size(), tokens);
        sequences.iter().for_each(|ids| states.push(&vec![0.1; ids.len() * self.hidden_size()]));
        Ok(vec![states; layers.len()])
    }
}

fn scorer() -> Scorer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-bert");
    let device = open_device(DeviceChoice::Cpu).expect("the CPU is there");
    load(&folder, &device).expect("the tiny package loads").exchange_encoder(|inner| Box::new(Nothing(inner)))
}

fn message(number: usize) -> String {
    format!("I was charged twice for order {number} this month, please help")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts")
}

#[expect(clippy::print_stdout, reason = "the address goes to the bench that started this process")]
fn serve() {
    let settings = Typed::default().flag("listen.address", "127.0.0.1:0", "bench").set("limits.cache_bytes_max=0").settings(2);
    runtime().block_on(async {
        let running = server::start(Arc::new(scorer()), None, settings.expect("the settings are sound")).await.expect("the server starts");
        println!("{}", running.address);
        running.until(std::future::pending()).await.expect("the server runs until it is killed");
    });
}

/// Processor time of a process in microseconds, from /proc; a tick is 10 ms.
fn cpu_us(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("Linux tells the time of a process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("user time") + fields[12].parse::<u64>().expect("system time");
    ticks * 10_000
}

fn start_server() -> (Child, String) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program).arg("--as-server").stdout(Stdio::piped()).spawn().expect("the server starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output is piped")).read_line(&mut line).expect("it says its address");
    (child, line.trim().to_owned())
}

#[expect(clippy::print_stdout, reason = "the result of a bench")]
fn main() {
    if std::env::args().any(|argument| argument == "--as-server") {
        return serve();
    }
    let messages = if std::env::args().any(|argument| argument == "--test") { 100 } else { 40_000 };
    let (mut child, address) = start_server();
    let (lone, cpu) = runtime().block_on(async {
        let client = ScoringServiceClient::connect(format!("http://{address}")).await.expect("the server answers");
        let score = |number: usize| {
            let mut client = client.clone();
            async move {
                let request = pb::ScoreRequest { text: message(number), ..pb::ScoreRequest::default() };
                client.score(request).await.expect("the server has room").into_inner().timing.unwrap_or_default().queue_us
            }
        };
        let mut lone = Vec::new();
        for number in 0..messages.min(2_000) {
            lone.push(score(1_000_000 + number).await);
        }
        let before = cpu_us(child.id());
        futures::stream::iter(0..messages).map(score).buffer_unordered(64).collect::<Vec<u64>>().await;
        lone.sort_unstable();
        (lone, cpu_us(child.id()) - before)
    });
    child.kill().and_then(|()| child.wait()).expect("the server ends");
    let scorer = scorer();
    let before = cpu_us(std::process::id());
    for number in 0..messages {
        scorer.score(&[ScoreInput::message(&message(number))]).expect("nothing cannot fail");
    }
    let scoring = cpu_us(std::process::id()) - before;
    let each = |total: u64| total as f64 / messages as f64;
    println!("queue time of a lone message: median {} us, 99th percentile {} us", lone[lone.len() / 2], lone[lone.len() * 99 / 100]);
    println!("server, all: {:.1} us of processor time a message; of it rules, tokens and heads: {:.1} us", each(cpu), each(scoring));
    println!("scheduler and gRPC: {:.1} us of processor time a message ({messages} messages)", each(cpu) - each(scoring));
}
