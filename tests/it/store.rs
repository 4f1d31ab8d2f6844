//! The durable store: what was answered is there after a shutdown, a crash and a kill; what cannot be is told by its kind and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use baton::handoff::receipt::Digest;
use baton::message::Id;
use baton::random::Random;
use baton::service::store::{
    ACTIVITY_PRECISION, ConversationWrite, CustomerWrite, Erased, Letter, LetterChange, LetterState, Limits, Message, NewLetter,
    OutboxWrite, Resend, Row, Status, Store, StoreError, StoreErrorKind, StoredRow, Write,
};
use baton::time::Timestamp;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{PLANTED, each_case};

/// Rounds in which a process is killed under load; each starts on what the one before left.
const KILL_ROUNDS: u64 = 5;
/// Conversations that the child writes at once.
const CHILD_CONVERSATIONS: u64 = 8;
/// Stands in the child's working folder and says what it shall do. Where it is not, the test that is the child does nothing.
const TASK: &str = "store-child.task";

fn id(text: impl Into<String>) -> Id {
    Id::new(text).unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(millis).unwrap()).unwrap()
}

fn open(path: &Path) -> Store {
    Store::open(path, Limits::default()).unwrap()
}

fn refusal(path: &Path) -> StoreError {
    Store::open(path, Limits::default()).err().expect("the folder is refused")
}

fn append(store: &Store, write: impl Into<Write>) -> Result<(), StoreError> {
    store.append(write)?.wait()
}

fn kind(result: Result<(), StoreError>) -> StoreErrorKind {
    result.unwrap_err().kind()
}

/// The row of this place, whose content follows from the names, so that anybody can say what must be there.
fn row(conversation: &str, ordinal: u64) -> Row {
    let filler = "x".repeat(usize::try_from(ordinal * 37 % 900).unwrap());
    Row {
        ordinal,
        at: at(1_000_000 + ordinal * 1_000),
        activity: true,
        input: format!("input {ordinal} of {conversation} {filler}").into_bytes(),
        receipt: [u8::try_from(ordinal % 251).unwrap(); 32],
        answer: format!("answer {ordinal} of {conversation}").into_bytes(),
        message: None,
        text: Some(format!("text {ordinal} of {conversation}")),
    }
}

/// The same as a message.
fn message(conversation: &str, ordinal: u64, sequence: u32) -> Row {
    let digest = [u8::try_from(sequence % 251).unwrap(); 32];
    let message = Message { sequence, id: id(format!("m-{conversation}-{sequence}")), text_digest: digest };
    Row { message: Some(message), ..row(conversation, ordinal) }
}

fn of(conversation: &str, row: Row) -> ConversationWrite {
    ConversationWrite { row: Some(row), ..ConversationWrite::new(id(conversation)) }
}

/// As the store tells it.
fn stored(row: Row) -> StoredRow {
    let Row { ordinal, at, input, receipt, answer, message, text, activity: _ } = row;
    StoredRow { ordinal, at, input, receipt, answer, message, text }
}

fn change(customer: &str, ordinal: u64) -> CustomerWrite {
    let change = format!("change {ordinal} of {customer}").into_bytes();
    CustomerWrite { id: id(customer), ordinal, at: at(1_000_000), change, snapshot: None }
}

fn all(store: &Store, conversation: &str) -> Vec<StoredRow> {
    store.rows(&id(conversation), 0, usize::MAX).unwrap()
}

/// All rows are there, each once, from 1 on without a gap, with the content that was written.
fn is_whole(store: &Store, conversation: &str) -> u64 {
    let rows = all(store, conversation);
    for (place, found) in rows.iter().enumerate() {
        assert_eq!(*found, stored(row(conversation, place as u64 + 1)), "{conversation}");
    }
    rows.len() as u64
}

/// What a crash would leave now: the files without what a shutdown does.
fn crash_image(path: &Path) -> TempDir {
    let image = tempfile::tempdir().unwrap();
    for name in ["baton.db", "baton.db-wal"] {
        fs::copy(path.join(name), image.path().join(name)).unwrap();
    }
    image
}

/// Every file of the folder that holds something, with a digest of its bytes; the shared memory is made anew by whoever reads.
fn content(path: &Path) -> BTreeMap<PathBuf, String> {
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("baton.db-shm"));
    let read = |path: PathBuf| (fs::read(&path).unwrap(), path);
    files.map(read).filter(|(bytes, _)| !bytes.is_empty()).map(|(bytes, path)| (path, Digest::of(&bytes).to_string())).collect()
}

/// Whether a word is somewhere in a file.
fn holds(file: &Path, word: &str) -> bool {
    fs::read(file).unwrap().windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn what_was_answered_is_there_after_a_shutdown_and_after_a_crash() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    for ordinal in 1..=40_u64 {
        let snapshot = ordinal.is_multiple_of(16).then(|| format!("state {ordinal}").into_bytes());
        append(&store, ConversationWrite { snapshot, ..of("c", row("c", ordinal)) }).unwrap();
    }
    let closed = Status::Closed { at: at(9_000_000), outcome: "resolved".to_owned() };
    let last = ConversationWrite {
        customer: Some(id("ada")),
        status: Some(closed.clone()),
        satisfaction: Some(4),
        ..ConversationWrite::new(id("c"))
    };
    append(&store, Write { conversation: Some(last), customer: Some(change("ada", 1)), ..Write::default() }).unwrap();
    append(&store, CustomerWrite { snapshot: Some(b"known".to_vec()), ..change("ada", 2) }).unwrap();
    append(&store, change("ada", 3)).unwrap();
    let check = |store: &Store| {
        assert_eq!(is_whole(store, "c"), 40);
        let resumed = store.resume(&id("c")).unwrap().unwrap();
        assert_eq!(resumed.snapshot, Some((32, b"state 32".to_vec())));
        assert_eq!(resumed.rows.iter().map(|row| row.ordinal).collect::<Vec<_>>(), (33..=40).collect::<Vec<_>>());
        let conversation = resumed.conversation;
        assert_eq!((conversation.inputs, conversation.messages, conversation.satisfaction), (40, 0, Some(4)));
        assert_eq!((&conversation.status, &conversation.customer, conversation.erased), (&closed, &Some(id("ada")), false));
        assert_eq!(store.conversation(&id("c")).unwrap(), Some(conversation));
        let ada = store.customer(&id("ada")).unwrap().unwrap();
        assert_eq!((ada.ordinal, ada.snapshot, ada.changes), (3, Some(b"known".to_vec()), vec![b"change 3 of ada".to_vec()]));
        assert_eq!(store.customer_conversations(&id("ada"), 9).unwrap(), [id("c")]);
        let counts = store.counts().unwrap();
        assert_eq!((counts.open, counts.conversations, counts.customers), (0, 1, 1));
    };
    check(&store);
    let crashed = crash_image(place.path());
    store.close().unwrap();
    drop(store);
    assert!(!place.path().join("baton.db-wal").exists() && place.path().join("baton.clean").exists());
    check(&open(place.path()));
    check(&open(crashed.path()));
}

#[test]
fn an_unknown_name_has_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (store, nobody) = (open(place.path()), id("nobody"));
    assert_eq!(
        (store.conversation(&nobody).unwrap(), store.resume(&nobody).unwrap(), store.customer(&nobody).unwrap()),
        (None, None, None)
    );
    assert_eq!((store.message(&nobody, 1).unwrap(), store.rows(&nobody, 0, 9).unwrap()), (None, vec![]));
    assert_eq!(store.erase(vec![nobody]).unwrap().wait().unwrap(), Erased::default());
}

#[test]
fn a_message_is_known_again_by_its_sequence() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    // Ordinals of the messages; the rows between are facts and timers.
    let messages = [1, 4, 5, 9];
    let rows = (1..=10).map(|ordinal| match messages.iter().position(|other| *other == ordinal) {
        Some(place) => message("c", ordinal, u32::try_from(place).unwrap() + 1),
        None => row("c", ordinal),
    });
    let rows: Vec<Row> = rows.collect();
    rows.iter().for_each(|row| append(&store, of("c", row.clone())).unwrap());
    for (place, ordinal) in messages.iter().enumerate() {
        let found = store.message(&id("c"), u32::try_from(place).unwrap() + 1).unwrap();
        assert_eq!(found, Some(stored(rows[usize::try_from(*ordinal).unwrap() - 1].clone())));
    }
    assert_eq!((store.message(&id("c"), 0).unwrap(), store.message(&id("c"), 5).unwrap()), (None, None));
    assert_eq!(store.message_ids(&id("c")).unwrap(), (1..=4).map(|sequence| id(format!("m-c-{sequence}"))).collect::<Vec<_>>());
    assert_eq!(store.conversation(&id("c")).unwrap().unwrap().messages, 4);
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    append(&store, of("c", message("c", 1, 1))).unwrap();
    append(&store, change("ada", 1)).unwrap();
    let other = |write: ConversationWrite, customer| Write { conversation: Some(write), customer: Some(customer), ..Write::default() };
    each_case(
        [
            ("the same ordinal again", (Write::from(of("c", row("c", 1))), "ordinal: found 1, expected 2")),
            ("a gap", (of("c", row("c", 3)).into(), "ordinal: found 3, expected 2")),
            ("ordinal 0", (of("c", row("c", 0)).into(), "ordinal: found 0, expected 2")),
            ("an ordinal beyond all numbers", (of("c", Row { ordinal: u64::MAX, ..row("c", 1) }).into(), "expected 2")),
            ("not from the start", (of("new", row("new", 2)).into(), "ordinal: found 2, expected 1")),
            ("the same sequence again", (of("c", message("c", 2, 1)).into(), "sequence: found 1, expected 2")),
            ("a gap in the sequence", (of("c", message("c", 2, 3)).into(), "sequence: found 3, expected 2")),
            ("no row, no conversation", (ConversationWrite::new(id("new")).into(), "no such conversation")),
            ("a customer's gap", (change("ada", 3).into(), "ordinal of the customer: found 3, expected 2")),
            ("a new customer's gap", (change("bob", 2).into(), "ordinal of the customer: found 2, expected 1")),
            ("half of a write", (other(of("c", row("c", 2)), change("ada", 1)), "found 1, expected 2")),
            ("the other half", (other(of("c", row("c", 1)), change("ada", 2)), "found 1, expected 2")),
            ("half of a new conversation", (other(of("new", row("new", 1)), change("bob", 2)), "found 2, expected 1")),
            ("half of a new customer", (other(of("new", row("new", 2)), change("bob", 1)), "found 2, expected 1")),
        ],
        |(write, expected)| {
            let error = append(&store, write).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Conflict);
            assert!(error.to_string().contains(expected), "{error}");
        },
    );
    assert_eq!(all(&store, "c"), [stored(message("c", 1, 1))]);
    let counts = store.counts().unwrap();
    assert_eq!((counts.conversations, counts.customers, store.customer(&id("ada")).unwrap().unwrap().ordinal), (1, 1, 1));
    assert_eq!((store.progress().writes, store.progress().refused), (2, 14));
}

#[test]
fn a_refused_write_spoils_nothing_of_its_commit() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    // Handed over without waiting: commits hold good and bad ones together, and each sees those before it.
    let pending = (1..=300_u64).flat_map(|ordinal| [ordinal, ordinal, ordinal + 7]).map(|n| store.append(of("c", row("c", n))).unwrap());
    let results: Vec<bool> = pending.collect::<Vec<_>>().into_iter().map(|pending| pending.wait().is_ok()).collect();
    assert_eq!(results, [true, false, false].repeat(300));
    assert_eq!(is_whole(&store, "c"), 300);
    assert!(store.progress().commits < 900, "nothing was committed together");
}

#[test]
fn many_threads_lose_nothing() {
    const THREADS: u64 = 64;
    const ROWS: u64 = 50;
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let next = Mutex::new(1);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, next) = (&store, &next);
            scope.spawn(move || {
                let own = format!("c-{thread}");
                for ordinal in 1..=ROWS {
                    append(store, of(&own, row(&own, ordinal))).unwrap();
                    // One conversation for all: who has the turn hands over, and waits when others may.
                    let pending = {
                        let mut next = next.lock().unwrap();
                        *next += 1;
                        store.append(of("all", row("all", *next - 1))).unwrap()
                    };
                    pending.wait().unwrap();
                    assert!(store.conversation(&id("all")).unwrap().unwrap().inputs >= ordinal);
                }
            });
        }
    });
    assert_eq!(is_whole(&store, "all"), THREADS * ROWS);
    (0..THREADS).for_each(|thread| assert_eq!(is_whole(&store, &format!("c-{thread}")), ROWS));
}

#[tokio::test]
async fn an_answer_can_be_awaited_or_given_up() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    drop(store.append(of("c", row("c", 1))).unwrap());
    store.append(of("c", row("c", 2))).unwrap().await.unwrap();
    assert_eq!(is_whole(&store, "c"), 2);
}

#[test]
fn a_closed_store_takes_nothing_more() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let pending: Vec<_> = (1..=100).map(|ordinal| store.append(of("c", row("c", ordinal))).unwrap()).collect();
    store.close().unwrap();
    store.close().unwrap();
    pending.into_iter().for_each(|pending| pending.wait().unwrap());
    assert_eq!(kind(append(&store, of("c", row("c", 101)))), StoreErrorKind::Unavailable);
    assert_eq!(store.conversation(&id("c")).unwrap_err().kind(), StoreErrorKind::Unavailable);
    drop(store);
    assert_eq!(is_whole(&open(place.path()), "c"), 100);
}

#[test]
fn a_dropped_store_answers_or_gives_up_and_keeps_what_it_answered() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let pending: Vec<_> = (1..=500).map(|ordinal| store.append(of("c", row("c", ordinal))).unwrap()).collect();
    drop(store);
    let answered = pending.into_iter().map(|pending| pending.wait()).take_while(Result::is_ok).count() as u64;
    assert!(!place.path().join("baton.clean").exists());
    assert!(is_whole(&open(place.path()), "c") >= answered);
}

#[test]
fn one_folder_has_one_store() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    assert_eq!(refusal(place.path()).kind(), StoreErrorKind::Locked);
    append(&store, of("c", row("c", 1))).unwrap();
    drop(store);
    assert_eq!(is_whole(&open(place.path()), "c"), 1);
}

#[test]
fn the_store_of_a_newer_program_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    append(&store, of("c", row("c", 1))).unwrap();
    store.close().unwrap();
    drop(store);
    let database = Connection::open(place.path().join("baton.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let before = content(place.path());
    let error = refusal(place.path());
    assert_eq!(error.kind(), StoreErrorKind::Newer);
    assert!(error.to_string().ends_with("found version 99, this program knows versions up to 3"), "{error}");
    assert_eq!(content(place.path()), before);
}

#[test]
fn a_store_without_an_outbox_gets_one() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    append(&store, of("c", row("c", 1))).unwrap();
    store.close().unwrap();
    drop(store);
    let database = Connection::open(place.path().join("baton.db")).unwrap();
    database.execute_batch("DROP TABLE outbox; DROP TABLE tickets; DROP TABLE agents; DROP TABLE timers; DROP TABLE handoffs; DROP TABLE feed; DROP TABLE claims;
             PRAGMA user_version = 1;").unwrap();
    drop(database);
    assert_eq!(Store::letters_beside(place.path()).unwrap(), []);
    let store = open(place.path());
    assert_eq!(is_whole(&store, "c"), 1);
    append(&store, ConversationWrite { letters: vec![letter("c", 2, "here")], ..of("c", row("c", 2)) }).unwrap();
    assert_eq!(Store::letters_beside(place.path()).unwrap().len(), 1);
}

fn letter(conversation: &str, ordinal: u64, destination: &str) -> NewLetter {
    NewLetter { key: format!("{conversation}-{ordinal}-{destination}"), destination: destination.to_owned(), pending_max: 100 }
}

fn changed(letter: &Letter, change: LetterChange) -> OutboxWrite {
    OutboxWrite::Letter { number: letter.number, key: letter.key.clone(), change }
}

fn keys(letters: &[Letter]) -> Vec<&str> {
    letters.iter().map(|letter| letter.key.as_str()).collect()
}

#[test]
fn letters_come_with_their_row_and_go_when_their_time_has_come() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let with = |name: &str, ordinal, destinations: &[&str]| ConversationWrite {
        letters: destinations.iter().map(|destination| letter(name, ordinal, destination)).collect(),
        ..of(name, row(name, ordinal))
    };
    append(&store, with("a", 1, &["here", "there"])).unwrap();
    append(&store, with("b", 1, &["here"])).unwrap();
    assert_eq!(append(&store, with("a", 3, &["here"])).unwrap_err().kind(), StoreErrorKind::Conflict);
    assert_eq!(keys(&store.open_letters(0, 9).unwrap()), ["a-1-here", "a-1-there", "b-1-here"], "a refused row brings nothing");
    let late = at(1 << 40);
    let (due, next) = store.due_letters("here", late, 9).unwrap();
    assert_eq!((keys(&due), next), (vec!["a-1-here", "b-1-here"], None));
    assert_eq!((due[0].state, due[0].attempts, due[0].content.clone()), (LetterState::Pending, 0, None));

    // A change is of the letter that was read, or of none.
    let (a, b) = (&due[0], &due[1]);
    let rendered = |ticket: Option<&str>| LetterChange::Rendered { ticket: ticket.map(str::to_owned), content: b"sent".to_vec() };
    append(&store, changed(a, rendered(None))).unwrap();
    let link = |name: &str, ticket: &str| OutboxWrite::Link { conversation: id(name), ticket: ticket.to_owned(), at: at(5) };
    append(&store, link("b", "7")).unwrap();
    assert_eq!(append(&store, changed(b, rendered(None))).unwrap_err().kind(), StoreErrorKind::Conflict, "another ticket was linked");
    append(&store, changed(b, rendered(Some("7")))).unwrap();
    let postponed = LetterChange::Postponed { attempts: 1, next_at: late.plus(Duration::from_secs(9)), reason: "later".to_owned() };
    append(&store, changed(b, postponed)).unwrap();
    let (due, next) = store.due_letters("here", late, 9).unwrap();
    assert_eq!((keys(&due), next), (vec!["a-1-here"], Some(late.plus(Duration::from_secs(9)))));
    assert_eq!(due[0].content.as_deref(), Some(&b"sent"[..]));
    append(&store, changed(a, LetterChange::Delivered { at: at(10) })).unwrap();
    for change in [LetterChange::Delivered { at: at(10) }, LetterChange::Removed, LetterChange::Progressed { done: 1 }] {
        assert_eq!(append(&store, changed(a, change)).unwrap_err().kind(), StoreErrorKind::Conflict, "it is not pending");
    }
    let other = Letter { key: "another".to_owned(), ..b.clone() };
    assert_eq!(append(&store, changed(&other, LetterChange::Removed)).unwrap_err().kind(), StoreErrorKind::Conflict);

    // Dead ones come back: all, by key, or with a ticket.
    append(&store, changed(b, LetterChange::Died { attempts: 2, at: at(10), reason: "no".to_owned() })).unwrap();
    let there = store.open_letters(0, 9).unwrap().into_iter().find(|letter| letter.destination == "there").unwrap();
    append(&store, changed(&there, LetterChange::Unaddressed { ticket: None, at: at(11), reason: "where".to_owned() })).unwrap();
    let counts: Vec<_> = store.letter_counts().unwrap().into_iter().map(|c| (c.destination, c.pending, c.dead)).collect();
    assert_eq!(counts, [("here".to_owned(), 0, 1), ("there".to_owned(), 0, 1)]);
    append(&store, link("a", "8")).unwrap();
    let there = store.due_letters("there", at(5), 9).unwrap().0.pop().unwrap();
    assert_eq!((there.attempts, there.since, there.reason, there.ticket.as_deref()), (0, at(5), None, Some("8")));
    let resent = store.resend(Resend::Keys(vec!["b-1-here".to_owned(), "a-1-here".to_owned()]), at(20)).unwrap().wait().unwrap();
    assert_eq!((resent.letters, resent.unknown), (1, vec!["a-1-here".to_owned()]), "what was delivered stays so");
    let back = store.due_letters("here", at(20), 9).unwrap().0.pop().unwrap();
    assert_eq!((back.key.as_str(), back.attempts, back.content.as_deref()), ("b-1-here", 0, Some(&b"sent"[..])));
    assert_eq!(store.resend(Resend::AllDead, at(20)).unwrap().wait().unwrap().letters, 0);

    // Marks and dead letters go by age, the others do not.
    assert_eq!(store.delete_letters(at(10)).unwrap().wait().unwrap(), 0);
    assert_eq!(store.delete_letters(at(11)).unwrap().wait().unwrap(), 1, "the delivered one");
    assert_eq!(store.delete_letters(late).unwrap().wait().unwrap(), 0);
    assert_eq!(keys(&Store::letters_beside(place.path()).unwrap()), ["a-1-there", "b-1-here"]);
}

#[test]
fn letters_and_tickets_go_with_their_conversation() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    for name in ["erased", "deleted", "kept"] {
        let letters = vec![letter(name, 1, "here")];
        append(&store, ConversationWrite { letters, customer: Some(id(format!("u-{name}"))), ..of(name, row(name, 1)) }).unwrap();
        append(&store, OutboxWrite::Link { conversation: id(name), ticket: "7".to_owned(), at: at(1) }).unwrap();
    }
    store.erase(vec![id("u-erased")]).unwrap().wait().unwrap();
    let status = Some(Status::Closed { at: at(1), outcome: "resolved".to_owned() });
    append(&store, ConversationWrite { status, ..ConversationWrite::new(id("deleted")) }).unwrap();
    assert_eq!(store.delete_closed(at(2)).unwrap().wait().unwrap(), 1);
    assert_eq!(keys(&store.open_letters(0, 9).unwrap()), ["kept-1-here"]);
    for name in ["erased", "deleted", "nobody"] {
        let link = OutboxWrite::Link { conversation: id(name), ticket: "8".to_owned(), at: at(1) };
        assert_eq!(append(&store, link).unwrap_err().kind(), StoreErrorKind::Conflict, "{name}");
    }
    store.close().unwrap();
    let database = Connection::open(place.path().join("baton.db")).unwrap();
    let tickets: i64 = database.query_row("SELECT count(*) FROM tickets", [], |row| row.get(0)).unwrap();
    assert_eq!(tickets, 1);
}

#[test]
fn a_full_store_loses_nothing_and_goes_on_when_there_is_room() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), Limits { file_bytes_max: Some(512 * 1024), ..Limits::default() }).unwrap();
    let closed = |n: u64| Some(Status::Closed { at: at(n), outcome: "resolved".to_owned() });
    let fill = |n: u64| {
        let name = format!("c-{n}");
        append(&store, ConversationWrite { status: closed(n), snapshot: Some(vec![7; 9_000]), ..of(&name, row(&name, 1)) })
    };
    let full = (1..1_000).find(|n| fill(*n).is_err()).expect("the store is full some day");
    assert!(full > 10);
    assert_eq!(kind(fill(full)), StoreErrorKind::Unavailable);
    // All that waits for a commit which fails is told so.
    let pending: Vec<_> =
        (0..9).map(|n| store.append(ConversationWrite { snapshot: Some(vec![7; 90_000]), ..of(&format!("d-{n}"), row("d", 1)) })).collect();
    assert!(pending.into_iter().any(|pending| pending.unwrap().wait().is_err_and(|error| error.kind() == StoreErrorKind::Unavailable)));
    assert_eq!(store.conversation(&id(format!("c-{full}"))).unwrap(), None);
    (1..full).for_each(|n| assert_eq!(is_whole(&store, &format!("c-{n}")), 1));
    assert!(store.progress().failed >= 2);
    assert_eq!(store.delete_closed(at(6)).unwrap().wait().unwrap(), 5);
    fill(full).unwrap();
    drop(store);
    let store = open(place.path());
    (6..=full).for_each(|n| assert_eq!(is_whole(&store, &format!("c-{n}")), 1));
}

/// Some pages of rows, left clean or as by a crash.
fn some_store(clean: bool) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let pending: Vec<_> = (1..=2_000).map(|ordinal| store.append(of("c", row("c", ordinal))).unwrap()).collect();
    pending.into_iter().for_each(|pending| pending.wait().unwrap());
    if clean {
        store.close().unwrap();
        drop(store);
        return place;
    }
    // The rows in the database, and some in the log.
    store.close().unwrap();
    drop(store);
    let store = open(place.path());
    append(&store, of("c", row("c", 2_001))).unwrap();
    crash_image(place.path())
}

fn overwrite(file: &Path, from: u64, bytes: &[u8]) {
    use std::io::{Seek, SeekFrom};
    let mut file = fs::File::options().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    file.write_all(bytes).unwrap();
    // Clocks of file systems tick slowly; nobody damages a file in the millisecond of its shutdown.
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
}

fn shorten(file: &Path, bytes: u64) {
    fs::File::options().write(true).open(file).unwrap().set_len(bytes).unwrap();
}

#[test]
fn a_damaged_store_is_told_and_left_as_it_is() {
    type Damage = fn(&Path);
    let cases: [(&str, bool, Damage); 11] = [
        ("pages in the middle, after a crash", false, |path| overwrite(&path.join("baton.db"), 40 * 4096, &[0x5a; 20 * 4096])),
        ("pages in the middle, after a shutdown", true, |path| overwrite(&path.join("baton.db"), 40 * 4096, &[0x5a; 20 * 4096])),
        ("the first page", true, |path| overwrite(&path.join("baton.db"), 100, &[0x5a; 3_000])),
        ("the header", true, |path| overwrite(&path.join("baton.db"), 0, b"not a database")),
        ("half of the file, after a shutdown", true, |path| shorten(&path.join("baton.db"), 50 * 4096)),
        ("half of the file, after a crash", false, |path| shorten(&path.join("baton.db"), 50 * 4096)),
        ("no byte left", true, |path| shorten(&path.join("baton.db"), 0)),
        ("the file is gone, after a shutdown", true, |path| fs::remove_file(path.join("baton.db")).unwrap()),
        ("the file is gone, after a crash", false, |path| fs::remove_file(path.join("baton.db")).unwrap()),
        ("the log is another file", false, |path| overwrite(&path.join("baton.db-wal"), 0, b"what is this")),
        ("somebody else's database", true, |path| {
            Connection::open(path.join("baton.db")).unwrap().pragma_update(None, "application_id", 1).unwrap();
        }),
    ];
    each_case(cases.into_iter().map(|(name, clean, damage)| (name, (clean, damage))), |(clean, damage)| {
        let place = some_store(clean);
        damage(place.path());
        let before = content(place.path());
        let error = refusal(place.path());
        assert_eq!(error.kind(), StoreErrorKind::Damaged, "{error}");
        assert_eq!(content(place.path()), before);
    });
    // What the cases start from is no damage.
    for clean in [true, false] {
        assert_eq!(is_whole(&open(some_store(clean).path()), "c"), if clean { 2_000 } else { 2_001 });
    }
}

#[test]
fn a_store_that_was_never_finished_is_made_anew() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("baton.new"), "a crash came while this was written").unwrap();
    append(&open(place.path()), of("c", row("c", 1))).unwrap();
    assert_eq!(is_whole(&open(place.path()), "c"), 1);
    // A folder of folders is made as well.
    let deep = place.path().join("a/b");
    append(&open(&deep), of("c", row("c", 1))).unwrap();
    // And where a file stands in the way it is told.
    fs::write(place.path().join("file"), "").unwrap();
    assert_eq!(refusal(&place.path().join("file")).kind(), StoreErrorKind::Unavailable);
}

#[test]
fn idle_conversations_are_told_late_rather_than_early() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let minute = 60_000;
    let activity = |name: &str, ordinal, minutes: u64, activity| {
        append(&store, of(name, Row { at: at(minutes * minute), activity, ..row(name, ordinal) })).unwrap();
    };
    activity("early", 1, 10, true);
    activity("late", 1, 10, true);
    activity("late", 2, 30, true);
    activity("timers", 1, 20, true);
    activity("timers", 2, 90, false);
    activity("closed", 1, 5, true);
    let status = Some(Status::Closed { at: at(1), outcome: "resolved".to_owned() });
    append(&store, ConversationWrite { status, ..ConversationWrite::new(id("closed")) }).unwrap();
    // Noted only with a later minute.
    append(&store, of("early", Row { at: at(10 * minute + 59_999), ..row("early", 2) })).unwrap();
    let idle = |since: u64, limit| store.idle(at(since), 0, limit).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    let precision = u64::try_from(ACTIVITY_PRECISION.as_millis()).unwrap();
    assert!(idle(10 * minute + 59_999, 9).is_empty(), "it was active since");
    assert_eq!(idle(10 * minute + precision + 1, 9), ["early"]);
    assert_eq!(idle(60 * minute, 9), ["early", "timers", "late"]);
    assert_eq!(idle(60 * minute, 2), ["early", "timers"]);
    let reopened = ConversationWrite { status: Some(Status::Open), ..ConversationWrite::new(id("closed")) };
    append(&store, reopened).unwrap();
    assert_eq!(idle(60 * minute, 1), ["closed"]);
}

#[test]
fn what_is_old_is_deleted_in_bounded_steps() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let mut pending = Vec::new();
    for n in 0..600_u64 {
        let name = format!("c-{n}");
        let status = n.is_multiple_of(2).then(|| Status::Closed { at: at(1_000 + n), outcome: "resolved".to_owned() });
        let first = ConversationWrite { customer: Some(id(format!("u-{n}"))), ..of(&name, row(&name, 1)) };
        pending.push(
            store.append(Write { conversation: Some(first), customer: Some(change(&format!("u-{n}"), 1)), ..Write::default() }).unwrap(),
        );
        (2..=30).for_each(|ordinal| pending.push(store.append(of(&name, row(&name, ordinal))).unwrap()));
        pending
            .push(store.append(ConversationWrite { status, snapshot: Some(b"s".to_vec()), ..ConversationWrite::new(id(name)) }).unwrap());
        // The queue has a bound; this is no test of it.
        pending.drain(..).for_each(|pending| pending.wait().unwrap());
    }
    let steps = |step: &dyn Fn() -> u64| std::iter::from_fn(|| Some(step()).filter(|taken| *taken > 0)).collect::<Vec<_>>();
    let conversations = steps(&|| store.delete_closed(at(1_500)).unwrap().wait().unwrap());
    assert_eq!(conversations.iter().sum::<u64>(), 250);
    assert!(conversations.iter().all(|taken| *taken <= 4_000 / 30), "{conversations:?}");
    for n in 0..600 {
        let is_there = n % 2 == 1 || n >= 500;
        assert_eq!(is_whole(&store, &format!("c-{n}")), if is_there { 30 } else { 0 }, "c-{n}");
    }
    // Customers go when nothing of theirs is left, and not before their time.
    let day = 24 * 3_600_000;
    assert!(steps(&|| store.delete_customers(at(day)).unwrap().wait().unwrap()).is_empty());
    let customers = steps(&|| store.delete_customers(at(9 * day)).unwrap().wait().unwrap());
    assert_eq!(customers.iter().sum::<u64>(), 250);
    assert_eq!(store.counts().unwrap().customers, 350);
    // Room was made, and a new conversation may have an old name.
    append(&store, of("c-0", row("c-0", 1))).unwrap();
    assert_eq!(is_whole(&store, "c-0"), 1);
}

/// Every file of a folder is free of this word.
fn is_nowhere(path: &Path, word: &str) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        assert!(!holds(&path, word), "{word} is in {}", path.display());
    }
}

#[test]
fn an_erased_customer_is_in_no_file() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let planted = |word: &str, n: u64| format!("{word}-{n} ").repeat(usize::try_from(n * 13 % 90).unwrap() + 1);
    let write = |customer: &str, word: &str, n: u64, store: &Store| {
        let name = format!("{customer}-{}", n % 7);
        let ordinal = n / 7 + 1;
        let text = planted(word, n);
        let message = Message { sequence: u32::try_from(ordinal).unwrap(), id: id(format!("m-{word}-{n}")), text_digest: [1; 32] };
        let row = Row {
            input: text.clone().into(),
            answer: text.clone().into(),
            text: Some(text.clone()),
            message: Some(message),
            ..row("c", ordinal)
        };
        let snapshot = n.is_multiple_of(5).then(|| text.repeat(20).into_bytes());
        let conversation = ConversationWrite { customer: Some(id(format!("u-{word}"))), snapshot: snapshot.clone(), ..of(&name, row) };
        let customer = CustomerWrite { id: id(format!("u-{word}")), ordinal: n + 1, at: at(1), change: text.into(), snapshot };
        append(store, Write { conversation: Some(conversation), customer: Some(customer), ..Write::default() }).unwrap();
    };
    for n in 0..300 {
        write("one", PLANTED, n, &store);
        write("two", "stays", n, &store);
    }
    store.close().unwrap();
    drop(store);
    let store = open(place.path());
    write("one", PLANTED, 300, &store);
    for file in ["baton.db", "baton.db-wal"] {
        assert!(holds(&place.path().join(file), PLANTED), "the test plants nothing in {file}");
    }
    let before: Vec<Vec<StoredRow>> = (0..7).map(|n| all(&store, &format!("one-{n}"))).collect();
    let others: Vec<Vec<StoredRow>> = (0..7).map(|n| all(&store, &format!("two-{n}"))).collect();
    let erased = store.erase(vec![id(format!("u-{PLANTED}")), id("u-unknown")]).unwrap().wait().unwrap();
    assert_eq!(erased, Erased { customers: 1, conversations: 7, rows: 301 });
    is_nowhere(place.path(), PLANTED);
    for (n, before) in before.iter().enumerate() {
        let after = all(&store, &format!("one-{n}"));
        let bare = |row: &StoredRow| StoredRow { input: vec![], answer: vec![], message: None, text: None, ..row.clone() };
        assert_eq!(after, before.iter().map(bare).collect::<Vec<_>>(), "ordinals, times and receipts stay");
    }
    let resumed = store.resume(&id("one-0")).unwrap().unwrap();
    assert_eq!((resumed.snapshot, resumed.conversation.customer, resumed.conversation.erased), (None, None, true));
    assert_eq!((store.message(&id("one-0"), 1).unwrap(), store.customer(&id(format!("u-{PLANTED}"))).unwrap()), (None, None));
    assert_eq!(kind(append(&store, of("one-0", row("c", 44)))), StoreErrorKind::Conflict);
    (0..7).for_each(|n| assert_eq!(all(&store, &format!("two-{n}")), others[n]));
    assert_eq!(store.customer(&id("u-stays")).unwrap().unwrap().ordinal, 300);
    write("two", "stays", 300, &store);
    drop(store);
    is_nowhere(place.path(), PLANTED);
}

#[test]
fn an_interrupted_erasure_is_finished_at_the_next_start() {
    let place = tempfile::tempdir().unwrap();
    drop(open(place.path()));
    let database = Connection::open(place.path().join("baton.db")).unwrap();
    // What a crash between the commit of an erasure and the rewriting leaves: bytes in unused room, and the word that there are some.
    database.pragma_update(None, "secure_delete", false).unwrap();
    let plant = format!("INSERT INTO customers (key, active) VALUES ('{PLANTED}', 0); DELETE FROM customers; INSERT INTO scrub VALUES (0)");
    database.execute_batch(&plant).unwrap();
    drop(database);
    assert!(holds(&place.path().join("baton.db"), PLANTED), "the test plants nothing");
    let store = open(place.path());
    is_nowhere(place.path(), PLANTED);
    drop(store);
    let database = Connection::open(place.path().join("baton.db")).unwrap();
    assert_eq!(database.query_row("SELECT count(*) FROM scrub", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

/// Every operation, at random, against a map in memory; with shutdowns and crashes between.
#[test]
fn a_store_does_what_a_map_does() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let mut below = |n: u64| random.bits() % n;
        let mut place = tempfile::tempdir().unwrap();
        let mut store = open(place.path());
        let mut model: BTreeMap<String, (Vec<StoredRow>, Option<u64>)> = BTreeMap::new();
        for _ in 0..400 {
            let name = format!("c-{}", below(6));
            let rows = model.get(&name).map_or(0, |(rows, _)| rows.len() as u64);
            match below(40) {
                0 => {
                    store.close().unwrap();
                    drop(store);
                    store = open(place.path());
                }
                1 => {
                    let image = crash_image(place.path());
                    drop(store);
                    place = image;
                    store = open(place.path());
                }
                2 => {
                    let taken = store.delete_closed(at(below(500))).unwrap().wait().unwrap();
                    let before = model.len() as u64;
                    let left = |name: &String| store.conversation(&id(name.clone())).unwrap().is_some();
                    model.retain(|name, (_, closed)| closed.is_none() || left(name));
                    assert_eq!(before - model.len() as u64, taken);
                }
                3 if rows > 0 => {
                    let closed = below(500);
                    let status = Some(Status::Closed { at: at(closed), outcome: String::new() });
                    append(&store, ConversationWrite { status, ..ConversationWrite::new(id(name.clone())) }).unwrap();
                    model.get_mut(&name).unwrap().1 = Some(closed);
                }
                4 => assert_eq!(kind(append(&store, of(&name, row(&name, rows + 2)))), StoreErrorKind::Conflict),
                n => {
                    let row = row(&name, rows + 1);
                    let snapshot = (n == 5).then(|| vec![1; usize::try_from(below(20_000)).unwrap()]);
                    append(&store, ConversationWrite { snapshot, ..of(&name, row.clone()) }).unwrap();
                    model.entry(name).or_default().0.push(stored(row));
                }
            }
        }
        assert_eq!(store.counts().unwrap().conversations, model.len() as u64);
        model.iter().for_each(|(name, (rows, _))| assert_eq!(all(&store, name), *rows, "seed {seed}"));
    }
}

/// This test binary once more, as a process that serves a store in its working folder.
fn child(place: &Path, task: &str, before: &str) -> Child {
    fs::write(place.join(TASK), task).unwrap();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{before} exec \"$0\" \"$@\"")]).arg(std::env::current_exe().unwrap());
    shell.args(["--exact", "store::the_child_serves_until_it_is_killed", "--nocapture", "--test-threads=1"]);
    shell.current_dir(place).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Does nothing in a run of the tests; in a folder with a task it writes until it is killed or nothing can be written, and says what was answered.
#[test]
fn the_child_serves_until_it_is_killed() {
    let Ok(task) = fs::read_to_string(TASK) else { return };
    let store = open(Path::new("store"));
    std::thread::scope(|scope| {
        for n in 0..CHILD_CONVERSATIONS {
            let (store, task) = (&store, task.as_str());
            scope.spawn(move || {
                let name = format!("c-{n}");
                let first = store.conversation(&id(name.clone())).unwrap().map_or(0, |conversation| conversation.inputs) + 1;
                for ordinal in first.. {
                    let snapshot = ordinal.is_multiple_of(16).then(|| vec![1; 5_000]);
                    match append(store, ConversationWrite { snapshot, ..of(&name, row(&name, ordinal)) }) {
                        Ok(()) => say(&format!("\nacknowledged {n} {ordinal}\n")),
                        Err(error) => {
                            assert_eq!((task, error.kind()), ("until it is full", StoreErrorKind::Unavailable));
                            say(&format!("\nfull {n}\n"));
                            break;
                        }
                    }
                }
            });
        }
    });
    // As a crash would leave it.
    std::process::exit(0);
}

/// One line in one write, so that lines of threads do not mix and one that was cut off can be told.
fn say(line: &str) {
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// What a child said was acknowledged: for each conversation the last ordinal. A line without its end was cut off.
fn take_acknowledged(line: &str, acknowledged: &mut BTreeMap<String, u64>) -> bool {
    let Some(rest) = line.strip_prefix("acknowledged ").and_then(|rest| rest.strip_suffix('\n')) else { return false };
    let (n, ordinal) = rest.split_once(' ').unwrap();
    acknowledged.insert(format!("c-{n}"), ordinal.parse().unwrap());
    true
}

#[test]
#[cfg(unix)]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let mut random = Random::new(7);
    let mut acknowledged = BTreeMap::new();
    for round in 0..KILL_ROUNDS {
        let mut child = child(place.path(), "until it is killed", "");
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let (mut lines, enough) = (0, 50 + random.bits() % 3_000);
        let mut line = String::new();
        while said.read_line(&mut line).unwrap() > 0 {
            lines += u64::from(take_acknowledged(&line, &mut acknowledged));
            line.clear();
            if lines == 1 {
                assert_eq!(refusal(&place.path().join("store")).kind(), StoreErrorKind::Locked);
            }
            if lines == enough {
                child.kill().unwrap();
            }
        }
        assert!(lines >= enough, "the child ended by itself: {:?}", child.wait());
        child.wait().unwrap();
        let store = open(&place.path().join("store"));
        for (name, ordinal) in &acknowledged {
            assert!(is_whole(&store, name) >= *ordinal, "round {round}: {name} has not all {ordinal} rows");
        }
    }
    assert_eq!(acknowledged.len() as u64, CHILD_CONVERSATIONS);
}

/// Writing fails as on a full disk: the file system takes no more.
#[test]
#[cfg(unix)]
fn a_full_disk_loses_nothing_and_the_store_goes_on_when_there_is_room() {
    let place = tempfile::tempdir().unwrap();
    // In units of 512 bytes in some shells and of 1,024 in others. Writing beyond it is then an error and no signal.
    let mut child = child(place.path(), "until it is full", "trap '' XFSZ; ulimit -f 2000;");
    let mut acknowledged = BTreeMap::new();
    let mut full = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap() + "\n";
        take_acknowledged(&line, &mut acknowledged);
        full += u64::from(line.starts_with("full "));
    }
    assert!(child.wait().unwrap().success());
    assert_eq!((full, acknowledged.len() as u64), (CHILD_CONVERSATIONS, CHILD_CONVERSATIONS));
    let store = open(&place.path().join("store"));
    for (name, ordinal) in &acknowledged {
        let rows = is_whole(&store, name);
        assert!(rows >= *ordinal, "{name} has not all {ordinal} rows");
        append(&store, of(name, row(name, rows + 1))).unwrap();
        assert_eq!(is_whole(&store, name), rows + 1);
    }
}
