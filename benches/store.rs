//! Durable rows a second, and how long one waits: 64 appenders, each with one row of 700 bytes on its way, through the store; and in alternation the least that
//! any durable store does: one thread that takes all that waits, writes the same bytes at the end of a file, and syncs it.
//!
//! Expected before the first run: `DESIGN.md` measured 67,000 rows/s with p99 2 ms for this form where a sync costs nothing. A sync on a disk costs 0.1 to 1 ms and
//! serves 64 rows, so that it decides: 20,000 to 60,000 rows/s for the bare loop. Preparing and inserting a row costs the store about 10 µs, and its log has whole
//! pages where the loop has the bytes: half of the loop's rows, p99 5 ms.
//!
//! `-- --test` runs a few rows. An argument is the folder on whose disk it runs.

use std::path::Path;
use std::time::Duration;

use baton::message::Id;
use baton::service::store::{ConversationWrite, Limits, Message, Row, Store};
use baton::time::Timestamp;

#[path = "bare_loop.rs"]
mod bare_loop;

use bare_loop::{Measured, bare_loop, tasks};

/// Rows that are on their way at once.
const APPENDERS: u64 = 64;
/// Rows of one conversation.
const CONVERSATION_ROWS: u64 = 40;
/// Bytes of an input.
const INPUT_BYTES: usize = 700;
/// Bytes of an answer.
const ANSWER_BYTES: usize = 120;
/// What a customer said.
const TEXT: &str = "I have asked twice now, please cancel my contract and send me the last invoice today";
/// Rows after which a snapshot is taken, and its bytes.
const SNAPSHOT_EVERY: u64 = 16;
const SNAPSHOT_BYTES: usize = 6_000;
/// Times that both run.
const ROUNDS: usize = 5;

/// The row of an appender: conversations follow one another.
fn write(appender: u64, number: u64) -> ConversationWrite {
    let ordinal = number % CONVERSATION_ROWS + 1;
    let id = Id::new(format!("conversation-{appender}-{}", number / CONVERSATION_ROWS)).expect("a sound id");
    let digest = [u8::try_from(number % 256).unwrap_or_default(); 32];
    let message = Message {
        sequence: u32::try_from(ordinal).unwrap_or_default(),
        id: Id::new(format!("message-{appender}-{number}")).expect("a sound id"),
        text_digest: digest,
    };
    let row = Row {
        ordinal,
        at: Timestamp::default().plus(Duration::from_secs(number * 20)),
        activity: true,
        input: vec![7; INPUT_BYTES],
        receipt: digest,
        answer: vec![8; ANSWER_BYTES],
        message: Some(message),
        text: Some(TEXT.to_owned()),
    };
    let snapshot = ordinal.is_multiple_of(SNAPSHOT_EVERY).then(|| vec![9; SNAPSHOT_BYTES]);
    ConversationWrite { row: Some(row), snapshot, ..ConversationWrite::new(id) }
}

/// The bytes of the same row, without any order that a store gives them.
fn bytes(appender: u64, number: u64) -> Vec<u8> {
    let write = write(appender, number);
    let row = write.row.expect("it has a row");
    let message = row.message.map(|message| [message.id.as_str().as_bytes(), &message.text_digest].concat());
    let parts = [write.id.as_str().as_bytes().to_vec(), row.input, row.answer, row.receipt.to_vec(), message.unwrap_or_default()];
    [parts.concat(), row.text.unwrap_or_default().into_bytes(), write.snapshot.unwrap_or_default()].concat()
}

fn through_the_store(folder: &Path, rows: u64) -> (Measured, u64) {
    // Leaked, so that tasks may hold it; the folder is closed and goes with the bench.
    let store: &'static Store = Box::leak(Box::new(Store::open(folder, Limits::default()).expect("the store opens")));
    let measured = tasks(APPENDERS, rows, move |appender, number| async move {
        store.append(write(appender, number)).expect("the queue has room").await.expect("the row is stored");
    });
    let commits = store.progress().commits;
    store.close().expect("the store closes");
    (measured, measured_rows_per(commits, rows * APPENDERS))
}

fn measured_rows_per(commits: u64, rows: u64) -> u64 {
    rows / commits.max(1)
}

#[expect(clippy::print_stdout, reason = "a bench says what it measured")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let (rounds, rows) = if is_test { (1, CONVERSATION_ROWS) } else { (ROUNDS, 2_000) };
    let disk = arguments.iter().find(|argument| !argument.starts_with("--")).map_or("target", String::as_str);
    std::fs::create_dir_all(disk).expect("a folder");
    let mut shares = Vec::new();
    for _ in 0..rounds {
        let place = tempfile::tempdir_in(disk).expect("a folder");
        let bare = bare_loop(place.path(), APPENDERS, rows, bytes);
        let (store, per_commit) = through_the_store(&place.path().join("store"), rows);
        let file = std::fs::metadata(place.path().join("store/baton.db")).expect("the database is there").len();
        println!("{}\n{}", bare.told("bare loop", "rows"), store.told("store", "rows"));
        println!("           {per_commit} rows a commit, {} bytes of database a row", file / store.rows);
        shares.push(store.per_second() / bare.per_second());
    }
    shares.sort_by(f64::total_cmp);
    println!("store / bare loop: median {:.2} of {rounds}", shares[shares.len() / 2]);
}
