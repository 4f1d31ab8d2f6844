//! Observe as a backend meets it: 64 unary clients, each with a conversation of its own, against the daemon in a process of its own on the same machine, with the
//! shipped model, whose signals are cached, the default policy, and texts kept. In alternation the bare loop: 64 writers of the same bytes. Then how long the
//! daemon takes from its start to SERVING with 100,000 stored conversations.
//!
//! Expected before the first run: gRPC costs 25 µs of processor time on either side of a message, step and receipt 30 µs, conversion, tokens of the rules and
//! JSON-free bookkeeping 20 µs, the store 12 µs: 110 µs on two cores, 15,000 messages/s where the disk is quick; the bare loop of 20,000 to 60,000 rows/s then
//! is ahead of it by two to four times. 1.3 kB a message. Restart: the model 0.25 s and the policy 0.05 s, the store nothing after a shutdown; after a kill
//! the check of the whole database, 1 s a GB.
//!
//! `-- --test` runs a few messages. An argument is the folder on whose disk it runs.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use baton::message::Id;
use baton::service::clock::Stopwatch;
use baton::service::pb::{self, Conversations};
use baton::service::store::{ConversationWrite, Limits, Message, Row, Status, Store, StoredRow};
use baton::time::Timestamp;

#[path = "bare_loop.rs"]
mod bare_loop;

use bare_loop::{Measured, bare_loop, tasks};

const CLIENTS: u64 = 64;
/// Messages of one conversation.
const CONVERSATION_MESSAGES: u64 = 20;
/// Times that both run.
const ROUNDS: usize = 5;
/// What is said, by turns.
const TEXTS: [&str; 8] = [
    "Hi, I have a question about the invoice of last month, it looks higher than usual",
    "Sure, I can help with that. Which invoice number is it?",
    "It is the one from the second of October, I do not have the number at hand",
    "Thank you. The difference is the new device that was added on the 28th of September",
    "ah yes, I remember, that makes sense",
    "Is there anything else that I can do for you?",
    "can I pay it in two parts, one now and one next month?",
    "Yes, you can choose that under Billing, Payment plan.",
];

struct Daemon {
    child: Child,
    url: String,
}

impl Daemon {
    /// Starts it on a folder; gives how long it took to say that it serves.
    fn start(folder: &Path) -> (Self, f64) {
        let watch = Stopwatch::start();
        let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder).current_dir(env!("CARGO_MANIFEST_DIR"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the daemon starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output is piped")).read_line(&mut line).expect("it says its address");
        let address = line.trim().strip_prefix("serving on ").expect("it serves");
        (Self { child, url: format!("http://{address}") }, watch.elapsed().as_secs_f64())
    }

    fn kill(mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("the daemon ends");
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("a signal is sent");
        self.child.wait().expect("the daemon ends");
    }
}

fn request(client: u64, number: u64, round: usize) -> pb::ObserveRequest {
    let place = number % CONVERSATION_MESSAGES;
    let speaker = if place.is_multiple_of(2) { pb::Speaker::Customer } else { pb::Speaker::Bot };
    pb::ObserveRequest {
        conversation_id: format!("conversation-{round}-{client}-{}", number / CONVERSATION_MESSAGES),
        message_id: format!("message-{place}"),
        sequence: u32::try_from(place + 1).unwrap_or_default(),
        speaker: speaker.into(),
        text: TEXTS[usize::try_from(place).unwrap_or_default() % TEXTS.len()].to_owned(),
        customer_id: Some(format!("customer-{round}-{client}")),
        ..pb::ObserveRequest::default()
    }
}

/// Clients on eight connections, as a backend has them.
fn observe(daemon: &Daemon, round: usize, messages: u64) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        // Every text is scored once, so that the cache has them.
        let mut client = Conversations::connect(daemon.url.clone()).await.expect("the daemon answers");
        for number in 0..CONVERSATION_MESSAGES {
            client.observe(request(CLIENTS, number, round)).await.expect("it is taken");
        }
    });
    let url: &'static str = Box::leak(daemon.url.clone().into_boxed_str());
    let clients: &'static Vec<tokio::sync::OnceCell<Conversations>> =
        Box::leak(Box::new((0..8).map(|_| tokio::sync::OnceCell::new()).collect()));
    tasks(CLIENTS, messages, move |client, number| async move {
        let place = &clients[usize::try_from(client % 8).unwrap_or_default()];
        let connected = place.get_or_init(|| async { Conversations::connect(url).await.expect("the daemon answers") }).await;
        connected.clone().observe(request(client, number, round)).await.expect("it is taken");
    })
}

/// The bytes of a stored row, without any order that a store gives them.
fn bytes(row: &StoredRow) -> Vec<u8> {
    let message = row.message.as_ref().map(|message| [message.id.as_str().as_bytes(), &message.text_digest].concat());
    let text = row.text.clone().unwrap_or_default().into_bytes();
    [row.input.clone(), row.answer.clone(), row.receipt.to_vec(), message.unwrap_or_default(), text].concat()
}

/// A store with so many conversations of ten rows, as they are stored.
fn fill(folder: &Path, row: &StoredRow, conversations: u64) {
    let store = Store::open(folder, Limits::default()).expect("the store opens");
    let mut pending = Vec::new();
    for number in 0..conversations {
        for ordinal in 1..=10u32 {
            let id = Id::new(format!("filled-{number}")).expect("a sound id");
            let text_digest = row.receipt;
            let message = Message { sequence: ordinal, id: Id::new(format!("m{ordinal}")).expect("a sound id"), text_digest };
            let row = Row {
                ordinal: u64::from(ordinal),
                at: Timestamp::default(),
                activity: true,
                input: row.input.clone(),
                receipt: row.receipt,
                answer: row.answer.clone(),
                message: Some(message),
                text: row.text.clone(),
            };
            let status = (ordinal == 10).then(|| Status::Closed { at: row.at, outcome: "resolved".to_owned() });
            pending.push(store.append(ConversationWrite { row: Some(row), status, ..ConversationWrite::new(id) }).expect("there is room"));
        }
        if pending.len() >= 4_000 {
            pending.drain(..).for_each(|pending| pending.wait().expect("it is stored"));
        }
    }
    pending.drain(..).for_each(|pending| pending.wait().expect("it is stored"));
    store.close().expect("the store closes");
}

#[expect(clippy::print_stdout, reason = "a bench says what it measured")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let (rounds, messages, filled) = if is_test { (1, CONVERSATION_MESSAGES, 100) } else { (ROUNDS, 1_000, 100_000) };
    let disk = arguments.iter().find(|argument| !argument.starts_with("--")).map_or("target", String::as_str);
    std::fs::create_dir_all(disk).expect("a folder");
    let place = tempfile::tempdir_in(disk).expect("a folder");
    let folder = std::path::absolute(place.path()).expect("a path").join("store");
    let (daemon, _) = Daemon::start(&folder);
    let mut shares = Vec::new();
    let mut measured = Vec::new();
    for round in 0..rounds {
        measured.push(observe(&daemon, round, messages));
    }
    daemon.stop();
    let store = Store::open(&folder, Limits::default()).expect("the store opens");
    let rows = store.rows(&Id::new("conversation-0-0-0").expect("a sound id"), 0, 100).expect("the rows are read");
    let written = store.counts().expect("it is counted");
    store.close().expect("the store closes");
    let all: &'static [StoredRow] = Box::leak(rows.into_boxed_slice());
    for observed in &measured {
        let bare =
            bare_loop(place.path(), CLIENTS, messages, |_, number| bytes(&all[usize::try_from(number).unwrap_or_default() % all.len()]));
        println!("{}\n{}", bare.told("bare loop", "rows"), observed.told("observe", "messages"));
        shares.push(observed.per_second() / bare.per_second());
    }
    let messages = measured.iter().map(|measured| measured.rows).sum::<u64>() + rounds as u64 * CONVERSATION_MESSAGES;
    println!("{} bytes of database a message with text", (written.file_bytes - written.free_bytes) / messages);
    shares.sort_by(f64::total_cmp);
    println!("observe / bare loop: median {:.2} of {rounds}", shares[shares.len() / 2]);

    let folder = folder.with_file_name("filled");
    fill(&folder, &all[0], filled);
    let size = std::fs::metadata(folder.join("baton.db")).expect("the database is there").len();
    let (daemon, _) = Daemon::start(&folder);
    daemon.stop();
    let (daemon, after_shutdown) = Daemon::start(&folder);
    daemon.kill();
    let (daemon, after_kill) = Daemon::start(&folder);
    daemon.stop();
    println!(
        "{filled} conversations, {} rows, {:.2} GB: serving {after_shutdown:.2} s after a start on a closed store, {after_kill:.2} s after a kill",
        filled * 10,
        size as f64 / 1e9
    );
}
