//! Pulls from a small hub on this machine: the real program against a server that serves the files of a package as the hub does, small ones itself and large ones by a
//! redirect to another host, and that cuts, lies, refuses and never ends where a case says so.
//!
//! Nothing here waits by the clock: the hub counts every connection and keeps every request.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::support::{Place, Run, TINY, each_case};

/// The model of the cases; its files are those of the small package, two of them large as the hub has it.
const MODEL: &str = "org/tiny-bert";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const LATER_COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";
/// Stands in the addresses of the storage: whoever has it may read.
const SIGNATURE: &str = "signedsecret";
const TOKEN: &str = "hf_xyzzytoken";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

fn git_blob(content: &[u8]) -> String {
    hex(&Sha1::new_with_prefix(format!("blob {}\0", content.len())).chain_update(content).finalize())
}

/// A request as it came.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn is(&self, method: &str, end: &str) -> bool {
        self.method == method && self.target.split('?').next().unwrap_or_default().ends_with(end)
    }
}

/// What is done with a request instead of the right thing.
#[derive(Clone, Debug)]
enum Act {
    /// This status with these further headers and this body.
    Answer(u16, String, Vec<u8>),
    /// The right head, and so many bytes of its body; then the connection ends.
    Cut(usize),
    /// The right head with a length as it is, and a longer body.
    Longer,
    /// A body without a length that is longer than was stated before.
    LongerUnstated,
    /// These bytes as the content.
    Content(Vec<u8>),
    /// The whole, whatever range was asked for.
    Whole,
    /// 200 and a body without end.
    Endless,
}

fn status(status: u16, headers: &str) -> Option<Act> {
    Some(Act::Answer(status, headers.to_owned(), Vec::new()))
}

type Script = Box<dyn FnMut(&Asked) -> Option<Act> + Send>;

/// Files of the repository at a commit.
type Files = BTreeMap<String, Vec<u8>>;

struct State {
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    /// Model, revision → commit.
    revisions: Mutex<BTreeMap<(String, String), String>>,
    commits: Mutex<BTreeMap<String, Files>>,
    /// Where large files are; none for the storage itself.
    storage: Option<SocketAddr>,
}

/// A hub, or the storage behind one.
struct Hub {
    address: SocketAddr,
    state: Arc<State>,
}

impl Hub {
    fn start(storage: Option<&Hub>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Mutex::new(Box::new(|_| None)),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            revisions: Mutex::default(),
            commits: Mutex::default(),
            storage: storage.map(|storage| storage.address),
        });
        let serving = Arc::clone(&state);
        // It ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&serving);
                // A client that leaves is not the server's fault.
                std::thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        Self { address, state }
    }

    /// A storage and a hub with the small package as `main` of [`MODEL`].
    fn pair() -> (Self, Self) {
        let storage = Self::start(None);
        let hub = Self::start(Some(&storage));
        for side in [&hub, &storage] {
            side.publish(MODEL, "main", COMMIT, package());
        }
        (hub, storage)
    }

    fn publish(&self, model: &str, revision: &str, commit: &str, files: Files) {
        let mut revisions = self.state.revisions.lock().unwrap();
        for name in [revision, commit] {
            revisions.insert((model.to_owned(), name.to_owned()), commit.to_owned());
        }
        self.state.commits.lock().unwrap().insert(commit.to_owned(), files);
    }

    /// Does this from now on, and the right thing where it is `None`.
    fn now(&self, script: impl FnMut(&Asked) -> Option<Act> + Send + 'static) {
        *self.state.script.lock().unwrap() = Box::new(script);
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// All requests since the last time.
    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.state.asked.lock().unwrap())
    }
}

/// The files of the small package, as they are in the repository.
fn package() -> Files {
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    let mut files: Files = fs::read_dir(TINY).unwrap().map(file).collect();
    files.insert("README.md".to_owned(), b"not taken".to_vec());
    files.insert("pytorch_model.bin".to_owned(), b"never taken".to_vec());
    files
}

/// Those of them that are taken.
fn taken() -> Files {
    let mut files = package();
    files.retain(|name, _| name.ends_with(".json") || name.ends_with(".safetensors"));
    files
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors")
}

fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let asked = Asked { method, target, headers };
    let act = (state.script.lock().unwrap())(&asked);
    // Before the answer, so that what the client knows is known here.
    state.asked.lock().unwrap().push(asked.clone());
    answer(stream, &asked, act, state)
}

fn answer(mut stream: TcpStream, asked: &Asked, act: Option<Act>, state: &State) -> std::io::Result<()> {
    let mut write = |status: u16, headers: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes())?;
        if asked.method == "HEAD" { Ok(()) } else { stream.write_all(body) }
    };
    match act {
        Some(Act::Answer(status, headers, body)) => return write(status, &format!("Content-Length: {}\r\n{headers}", body.len()), &body),
        Some(Act::Endless) => {
            write(200, "", b"{\"sha\": \"")?;
            loop {
                write_more(&mut stream)?;
            }
        }
        _ => {}
    }
    // A proxy is asked for a whole address.
    let path = asked.target.strip_prefix("http://").map_or(asked.target.as_str(), |rest| &rest[rest.find('/').unwrap_or(0)..]);
    let path = path.split('?').next().unwrap_or_default();
    // Through a proxy that is the hub itself the storage is here too.
    let storage = state.storage.filter(|_| !asked.target.contains(SIGNATURE));
    let lost = |code: &str| (404, format!("Content-Length: 0\r\nX-Error-Code: {code}\r\n"), Vec::new());
    let (status, headers, body) = if let Some(rest) = path.strip_prefix("/api/models/") {
        let (model, revision) = rest.split_once("/revision/").unwrap_or((rest, "main"));
        let (revisions, commits) = (state.revisions.lock().unwrap(), state.commits.lock().unwrap());
        match revisions.get(&(model.to_owned(), revision.replace("%2F", "/"))) {
            Some(commit) => {
                let siblings: Vec<Value> = commits[commit].keys().map(|name| json!({"rfilename": name})).collect();
                let body = json!({"id": model, "sha": commit, "private": false, "siblings": siblings, "tags": []}).to_string().into_bytes();
                (200, format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()), body)
            }
            None if revisions.keys().any(|(other, _)| other == model) => lost("RevisionNotFound"),
            None => lost("RepoNotFound"),
        }
    } else {
        let (commit, name) = path.split_once("/resolve/").and_then(|(_, rest)| rest.split_once('/')).unwrap_or(("", ""));
        let content = state.commits.lock().unwrap().get(commit).and_then(|files| files.get(name)).cloned();
        match (content, storage) {
            (None, _) => lost("EntryNotFound"),
            (Some(content), Some(storage)) if is_large(name) => {
                let (etag, size) = (sha256(&content), content.len());
                let linked =
                    format!("X-Linked-ETag: \"{etag}\"\r\nX-Linked-Size: {size}\r\nX-Repo-Commit: {commit}\r\nContent-Length: 0\r\n");
                (302, format!("{linked}Location: http://{storage}{path}?signature={SIGNATURE}\r\n"), Vec::new())
            }
            (Some(content), storage) => {
                let content = if let Some(Act::Content(other)) = &act { other.clone() } else { content };
                // Storage knows a file by something of its own.
                let etag = if storage.is_some() { git_blob(&content) } else { "0123-9".to_owned() };
                let stated = format!("ETag: \"{etag}\"\r\nX-Repo-Commit: {commit}\r\nAccept-Ranges: bytes\r\n");
                let from = asked
                    .header("range")
                    .strip_prefix("bytes=")
                    .and_then(|range| range.strip_suffix('-'))
                    .and_then(|from| from.parse::<usize>().ok());
                match from.filter(|from| *from < content.len() && !matches!(act, Some(Act::Whole))) {
                    Some(from) => {
                        let (body, last, all) = (content[from..].to_vec(), content.len() - 1, content.len());
                        (206, format!("{stated}Content-Length: {}\r\nContent-Range: bytes {from}-{last}/{all}\r\n", body.len()), body)
                    }
                    None => (200, format!("{stated}Content-Length: {}\r\n", content.len()), content),
                }
            }
        }
    };
    match act {
        Some(Act::Cut(bytes)) => write(status, &headers, &body[..bytes.min(body.len())]),
        Some(Act::Longer) => {
            let longer = [&body[..], b"more"].concat();
            write(
                status,
                &headers.replace(&format!("Content-Length: {}", body.len()), &format!("Content-Length: {}", longer.len())),
                &longer,
            )
        }
        Some(Act::LongerUnstated) => {
            write(status, &headers.replace(&format!("Content-Length: {}\r\n", body.len()), ""), &[&body[..], b"more"].concat())
        }
        _ => write(status, &headers, &body),
    }
}

fn write_more(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(&[b'a'; 1 << 16])
}

/// `baton models pull` in a place, with the cache and the token that the variables say.
fn command(place: &Place, endpoint: &str, variables: &[(&str, &str)], arguments: &[&str]) -> std::process::Command {
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    for name in ["HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN"] {
        command.env_remove(name);
    }
    for name in ["https_proxy", "http_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", place.path("hf")).envs(variables.iter().copied());
    command.args(["models", "pull"]).args(arguments);
    command
}

/// Runs it; whatever was asked, neither the token nor the signature of a redirect is shown.
fn run(place: &Place, endpoint: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let run = Run::of(command(place, endpoint, variables, arguments), b"");
    for secret in [TOKEN, SIGNATURE] {
        assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "{secret} is shown: {} {}", run.stdout, run.stderr);
    }
    run
}

fn pull(place: &Place, hub: &Hub, arguments: &[&str]) -> Run {
    run(place, &hub.url(), &[("HF_TOKEN", TOKEN)], arguments)
}

fn folder(place: &Place) -> PathBuf {
    place.path("hf/hub/models--org--tiny-bert")
}

fn snapshot(place: &Place, commit: &str) -> PathBuf {
    folder(place).join("snapshots").join(commit)
}

/// Names in a folder, none where it is not.
fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The parts that wait to be gone on with. All else that lies there is whole and what its name says.
fn parts(place: &Place) -> BTreeSet<String> {
    let blobs = folder(place).join("blobs");
    let (parts, blobs): (BTreeSet<String>, BTreeSet<String>) = names(&blobs).into_iter().partition(|name| name.ends_with(".incomplete"));
    for blob in blobs {
        let content = fs::read(folder(place).join("blobs").join(&blob)).unwrap();
        assert!(blob == sha256(&content) || blob == git_blob(&content), "the blob {blob} is something else");
    }
    parts
}

/// A pull that failed left whole blobs and nothing else.
fn nothing_half_written(place: &Place) {
    assert_eq!(parts(place), BTreeSet::new());
    assert_eq!(names(&folder(place).join("snapshots")), BTreeSet::new());
    assert_eq!(names(&folder(place).join("refs")), BTreeSet::new());
    assert!(!place.path("baton-models.lock").exists());
}

/// The folder of a commit holds these files, and the lock file pins them.
fn holds(place: &Place, commit: &str, files: &Files) {
    assert_eq!(names(&snapshot(place, commit)), files.keys().cloned().collect());
    let lock = place.read_text("baton-models.lock");
    assert!(lock.contains(commit), "{lock}");
    for (name, content) in files {
        assert!(fs::read(snapshot(place, commit).join(name)).unwrap() == *content, "{name} is something else");
        let pinned = format!("name = \"{name}\"\nsize = {}\nsha256 = \"{}\"\n", content.len(), sha256(content));
        assert!(lock.contains(&pinned), "{name} is not pinned: {lock}");
    }
    assert_eq!(parts(place), BTreeSet::new());
}

#[test]
fn a_pull_fills_the_standard_cache_pins_it_and_the_next_asks_nobody() {
    let ((hub, storage), place) = (Hub::pair(), Place::new());
    let result = pull(&place, &hub, &[MODEL, "--revision", "main", "--json"]).json();
    holds(&place, COMMIT, &taken());
    assert_eq!(fs::read_to_string(folder(&place).join("refs/main")).unwrap(), COMMIT);
    let folder = snapshot(&place, COMMIT);
    assert_eq!(
        (&result["name"], &result["revision"], &result["commit"], &result["folder"], &result["lock"]),
        (&json!(MODEL), &json!("main"), &json!(COMMIT), &json!(folder), &json!("baton-models.lock"))
    );
    let files: Vec<Value> = taken()
        .iter()
        .map(|(name, content)| json!({"name": name, "bytes": content.len(), "sha256": sha256(content), "from": "hub"}))
        .collect();
    assert_eq!(result["files"], json!(files));
    #[cfg(unix)]
    for (name, content) in taken() {
        let blob = if is_large(&name) { sha256(&content) } else { git_blob(&content) };
        assert_eq!(fs::read_link(folder.join(name)).unwrap(), Path::new("../../blobs").join(blob));
    }
    assert!(hub.asked().iter().all(|asked| asked.header("authorization") == format!("Bearer {TOKEN}")));
    let elsewhere = storage.asked();
    assert!(!elsewhere.is_empty() && elsewhere.iter().all(|asked| !asked.headers.contains_key("authorization")), "{elsewhere:?}");

    let lock = place.read("baton-models.lock");
    let before = hub.connections() + storage.connections();
    let again = pull(&place, &hub, &[MODEL]);
    let table = again.success();
    assert!(
        table.contains(COMMIT) && table.contains(folder.to_str().unwrap()) && table.contains("cache") && !table.contains("hub "),
        "{table}"
    );
    assert_eq!((hub.connections() + storage.connections(), place.read("baton-models.lock")), (before, lock));

    // It is a package, and it serves.
    assert!(place.baton(&["score", "--json", "--model", folder.to_str().unwrap(), "where is my refund"]).json().is_object());
}

#[test]
fn a_lost_cache_is_filled_from_the_lock_file_although_the_branch_moved() {
    let ((hub, storage), place) = (Hub::pair(), Place::new());
    pull(&place, &hub, &[MODEL]).success();
    let lock = place.read("baton-models.lock");
    let mut later = package();
    later.insert("config.json".to_owned(), b"{\"later\": true}".to_vec());
    for side in [&hub, &storage] {
        side.publish(MODEL, "main", LATER_COMMIT, later.clone());
    }
    fs::remove_dir_all(place.path("hf")).unwrap();
    hub.asked();
    pull(&place, &hub, &[MODEL, "--revision", "main"]).success();
    holds(&place, COMMIT, &taken());
    assert!(hub.asked().iter().all(|asked| !asked.target.starts_with("/api/")), "what is pinned is not listed again");
    assert_eq!(place.read("baton-models.lock"), lock);

    pull(&place, &hub, &[MODEL, "--revision", COMMIT]).success();
    pull(&place, &hub, &[MODEL, "--revision", "v2"]).failure(&["revision v2", "main", COMMIT, "--update"]);
    let result = pull(&place, &hub, &[MODEL, "--update", "--json"]).json();
    assert_eq!(
        (&result["commit"], &result["files"][0]["from"], &result["files"][1]["from"]),
        (&json!(LATER_COMMIT), &json!("hub"), &json!("cache"))
    );
    later.retain(|name, _| taken().contains_key(name));
    holds(&place, LATER_COMMIT, &later);
    assert_eq!(fs::read_to_string(folder(&place).join("refs/main")).unwrap(), LATER_COMMIT);
}

#[test]
fn a_file_that_breaks_off_is_gone_on_with() {
    let weights = taken()["model.safetensors"].clone();
    let part = format!("{}.incomplete", sha256(&weights));
    let ranges = |storage: &Hub| -> Vec<String> {
        storage.asked().iter().filter(|asked| asked.is("GET", "/model.safetensors")).map(|asked| asked.header("range").to_owned()).collect()
    };
    let ((hub, storage), place) = (Hub::pair(), Place::new());
    // Each answer breaks off; after as many as one pull takes, what came is kept.
    storage.now(|asked| asked.is("GET", "/model.safetensors").then_some(Act::Cut(10_000)));
    pull(&place, &hub, &[MODEL]).failure(&["model.safetensors", "after 50000 of 108312 bytes", "kept"]);
    assert_eq!(ranges(&storage), ["", "bytes=10000-", "bytes=20000-", "bytes=30000-", "bytes=40000-"]);
    assert_eq!(parts(&place), BTreeSet::from([part.clone()]));
    assert!(fs::read(folder(&place).join("blobs").join(&part)).unwrap() == weights[..50_000]);
    assert!(!snapshot(&place, COMMIT).exists() && !place.path("baton-models.lock").exists());
    // One that brings nothing is not tried again.
    storage.now(|asked| asked.is("GET", "/model.safetensors").then_some(Act::Cut(0)));
    pull(&place, &hub, &[MODEL]).failure(&["after 50000 of 108312 bytes"]);
    assert_eq!(ranges(&storage), ["bytes=50000-"]);
    storage.now(|_| None);
    pull(&place, &hub, &[MODEL]).success();
    assert_eq!(ranges(&storage), ["bytes=50000-"]);
    holds(&place, COMMIT, &taken());

    // A server that cannot do it sends the whole.
    let place = Place::new();
    let mut first = true;
    storage.now(move |asked| {
        let is_first = std::mem::take(&mut first);
        asked.is("GET", "/model.safetensors").then_some(if is_first { Act::Cut(10_000) } else { Act::Whole })
    });
    pull(&place, &hub, &[MODEL]).success();
    holds(&place, COMMIT, &taken());
}

#[test]
fn a_part_that_is_something_else_is_told_and_fetched_anew() {
    let weights = taken()["model.safetensors"].clone();
    let cases: [(&str, Vec<u8>); 3] =
        [("other bytes", vec![7; 5000]), ("all bytes, but others", vec![7; weights.len()]), ("more bytes", vec![7; weights.len() + 1])];
    each_case(cases, |part| {
        let ((hub, storage), place) = (Hub::pair(), Place::new());
        let blobs = folder(&place).join("blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", sha256(&weights))), &part).unwrap();
        let run = pull(&place, &hub, &[MODEL]);
        run.success();
        assert_eq!(
            run.stderr.contains("model.safetensors: what lay there is not its beginning"),
            part.len() <= weights.len(),
            "{}",
            run.stderr
        );
        assert_eq!(storage.asked().last().map(|asked| asked.header("range").to_owned()), Some(String::new()));
        holds(&place, COMMIT, &taken());
    });
    let ((hub, storage), place) = (Hub::pair(), Place::new());
    storage.now(|asked| match asked.header("range") {
        "" => Some(Act::Cut(10_000)),
        _ => Some(Act::Answer(206, "Content-Range: bytes 9-19/20\r\n".to_owned(), vec![7; 11])),
    });
    pull(&place, &hub, &[MODEL]).failure(&["model.safetensors", "found the range \"bytes 9-19/20\"", "from byte 10000 on"]);
}

#[test]
fn a_blob_of_the_cache_is_believed_by_its_content_only() {
    let ((hub, storage), place) = (Hub::pair(), Place::new());
    pull(&place, &hub, &[MODEL]).success();
    let file = snapshot(&place, COMMIT).join("model.safetensors");
    let mut broken = taken()["model.safetensors"].clone();
    broken[70_000] ^= 1;
    for content in [&broken[..], &broken[..100]] {
        // Through the link, as a disk or a program would.
        fs::write(&file, content).unwrap();
        let offline = run(&place, &hub.url(), &[], &[MODEL, "--offline"]);
        offline.failure(&["model.safetensors", "found", &content.len().to_string(), "expected", &sha256(&taken()["model.safetensors"])]);
        storage.asked();
        pull(&place, &hub, &[MODEL]).success();
        assert_eq!(storage.asked().len(), 1, "only what was wrong is fetched");
        holds(&place, COMMIT, &taken());
    }
}

#[test]
fn a_wrong_digest_names_file_expected_and_found_and_nothing_of_it_stays() {
    let weights = taken()["model.safetensors"].clone();
    let mut other = weights.clone();
    other[4000] ^= 1;
    let (right, wrong) = (sha256(&weights), sha256(&other));
    let ((hub, storage), place) = (Hub::pair(), Place::new());
    let lie = {
        let other = other.clone();
        move |asked: &Asked| asked.is("GET", "/model.safetensors").then(|| Act::Content(other.clone()))
    };
    storage.now(lie.clone());
    pull(&place, &hub, &[MODEL]).failure(&["model.safetensors", &format!("expected {right}"), &format!("found SHA-256 {wrong}")]);
    nothing_half_written(&place);

    // The same of a small file, which git's digest tells.
    let place = Place::new();
    hub.now(|asked| asked.is("GET", "/config.json").then(|| Act::Content(vec![b'x'; taken()["config.json"].len()])));
    let expected = git_blob(&taken()["config.json"]);
    pull(&place, &hub, &[MODEL]).failure(&["config.json", &format!("expected {expected}"), "which the hub states"]);
    nothing_half_written(&place);

    // Against the lock file: a hub that has something else under the same commit, before a byte of it is fetched.
    hub.now(|_| None);
    storage.now(|_| None);
    let place = Place::new();
    pull(&place, &hub, &[MODEL]).success();
    fs::remove_dir_all(place.path("hf")).unwrap();
    let mut files = package();
    files.insert("model.safetensors".to_owned(), other);
    hub.publish(MODEL, "main", COMMIT, files.clone());
    storage.asked();
    pull(&place, &hub, &[MODEL]).failure(&[
        "model.safetensors",
        &format!("expected {right}"),
        &format!("found SHA-256 {wrong}"),
        "lock file pins",
    ]);
    assert!(!storage.asked().iter().any(|asked| asked.is("GET", "/model.safetensors")));
    assert!(parts(&place).is_empty() && !snapshot(&place, COMMIT).exists());
    // The same of a small file, where git's digest says nothing about the lock file.
    let mut config = taken()["config.json"].clone();
    config[0] = b' ';
    files = package();
    files.insert("config.json".to_owned(), config.clone());
    hub.publish(MODEL, "main", COMMIT, files);
    let expected = format!("expected {}", sha256(&taken()["config.json"]));
    pull(&place, &hub, &[MODEL]).failure(&["config.json", &expected, &format!("found SHA-256 {}", sha256(&config)), "lock file pins"]);
    assert!(parts(&place).is_empty() && !snapshot(&place, COMMIT).exists());
    // And of a size.
    storage.now(lie);
    hub.publish(MODEL, "main", COMMIT, {
        let mut files = package();
        files.get_mut("config.json").unwrap().push(b'\n');
        files
    });
    pull(&place, &hub, &[MODEL]).failure(&["config.json", "found 460 bytes, expected 459"]);
}

#[test]
fn what_the_hub_refuses_is_told_with_what_helps_and_leaves_nothing() {
    struct Case {
        /// Who answers wrongly, and what.
        hub: Option<fn(&Asked) -> Option<Act>>,
        storage: Option<fn(&Asked) -> Option<Act>>,
        token: bool,
        arguments: &'static [&'static str],
        expected: &'static [&'static str],
    }
    fn all(hub: fn(&Asked) -> Option<Act>, token: bool, expected: &'static [&'static str]) -> Case {
        Case { hub: Some(hub), storage: None, token, arguments: &[MODEL], expected }
    }
    fn storage(storage: fn(&Asked) -> Option<Act>, expected: &'static [&'static str]) -> Case {
        Case { hub: None, storage: Some(storage), token: true, arguments: &[MODEL], expected }
    }
    fn asks(arguments: &'static [&'static str], expected: &'static [&'static str]) -> Case {
        Case { hub: None, storage: None, token: true, arguments, expected }
    }
    fn listing(body: &str) -> Option<Act> {
        Some(Act::Answer(200, String::new(), body.as_bytes().to_vec()))
    }
    fn with_name(name: &str) -> Option<Act> {
        let names = ["config.json", "tokenizer.json", "model.safetensors", name].map(|name| json!({"rfilename": name}));
        listing(&json!({"sha": COMMIT, "siblings": names}).to_string())
    }
    fn head_of_config(asked: &Asked, headers: &str) -> Option<Act> {
        asked.is("HEAD", "/config.json").then(|| Act::Answer(200, headers.to_owned(), Vec::new()))
    }
    let cases = [
        ("no such model", asks(&["org/other"], &["model org/other", "no such model", "404", "HF_TOKEN was sent"])),
        ("no such revision", asks(&[MODEL, "--revision", "v9"], &["revision v9", "no such revision", "404"])),
        ("404 without a word", all(|_| status(404, ""), true, &["no such model or revision", "404"])),
        ("401 without a token", all(|_| status(401, ""), false, &["401", "private or gated", "no token was sent", "HF_TOKEN", "hf/token"])),
        ("401 with a token", all(|_| status(401, ""), true, &["401", "private or gated", "the token of HF_TOKEN was sent"])),
        ("403 without a token", all(|_| status(403, ""), false, &["403", "private or gated", "no token was sent"])),
        (
            "a gated file",
            all(
                |asked| if asked.target.starts_with("/api/") { None } else { status(403, "X-Error-Code: GatedRepo\r\n") },
                true,
                &["gated", "conditions must be accepted at http://127.0.0.1", MODEL, "the token of HF_TOKEN"],
            ),
        ),
        ("429 with a pause", all(|_| status(429, "Retry-After: 17\r\n"), false, &["429", "after 17 s", "no token was sent"])),
        ("429 with an endless pause", all(|_| status(429, "Retry-After: 99999999999999999999\r\n"), true, &["429", "after 86400 s"])),
        ("429 without a pause", all(|_| status(429, "Retry-After: soon\r\n"), true, &["429", "pull again later"])),
        ("500", all(|_| status(500, ""), true, &["500 Internal Server Error", "later"])),
        ("503 of a file", all(|asked| if asked.is("GET", "/config.json") { status(503, "") } else { None }, true, &["config.json", "503"])),
        ("418", all(|_| status(418, ""), true, &["418"])),
        (
            "a file that is not there",
            all(|asked| if asked.is("HEAD", "/config.json") { status(404, "") } else { None }, true, &["config.json", "no such file"]),
        ),
        ("403 of the storage", storage(|_| status(403, ""), &["heads.safetensors", "403", "to which the hub redirects"])),
        ("500 of the storage", storage(|_| status(500, ""), &["heads.safetensors", "500", "later"])),
        ("a redirect to nowhere", all(|_| status(302, ""), true, &["302", "without a place"])),
        ("a redirect in a circle", all(|_| status(307, "Location: /api/x\r\n"), true, &["more than 8 redirects"])),
        (
            "a redirect to another machine in the clear",
            all(
                |_| status(302, "Location: http://192.0.2.1/?signature=signedsecret\r\n"),
                true,
                &["redirect to http://192.0.2.1", "expected https"],
            ),
        ),
        ("a redirect to a file", all(|_| status(302, "Location: file:///etc/passwd\r\n"), true, &["redirect", "expected https"])),
        ("a listing that is no JSON", all(|_| listing("<html>"), true, &["listing that is not as expected", "line 1"])),
        ("a listing without files", all(|_| listing(r#"{"sha": "x"}"#), true, &["listing that is not as expected"])),
        ("a listing of a wrong commit", all(|_| listing(r#"{"sha": "../../x", "siblings": []}"#), true, &["../../x", "expected 40"])),
        (
            "another commit than the one asked for",
            Case { arguments: &[MODEL, "--revision", LATER_COMMIT], ..all(|_| with_name("README.md"), true, &["found commit", COMMIT]) },
        ),
        ("a listing without end", all(|_| Some(Act::Endless), true, &["listing of more than 16777216 bytes"])),
        ("a name that climbs", all(|_| with_name("../x.model"), true, &["\"../x.model\"", "names inside the repository"])),
        ("an absolute name", all(|_| with_name("/etc/x.model"), true, &["\"/etc/x.model\""])),
        ("a name with a backslash", all(|_| with_name("a\\..\\x.model"), true, &["file name"])),
        ("a name with NUL", all(|_| with_name("x.model\0"), true, &["file name"])),
        ("a name with a drive", all(|_| with_name("C:x.model"), true, &["file name"])),
        (
            "only a pickle",
            all(
                |_| {
                    listing(
                        &json!({"sha": COMMIT, "siblings": [
            {"rfilename": "config.json"}, {"rfilename": "vocab.txt"}, {"rfilename": "pytorch_model.bin"}]})
                        .to_string(),
                    )
                },
                true,
                &["pytorch_model.bin is a pickle", "safetensors"],
            ),
        ),
        (
            "a digest that is a path",
            all(|asked| head_of_config(asked, "ETag: \"../../x\"\r\n"), true, &["config.json", "etag", "expected SHA-256"]),
        ),
        ("a file without a digest", all(|asked| head_of_config(asked, ""), true, &["config.json", "no digest"])),
        (
            "a file of another commit",
            all(
                |asked| head_of_config(asked, "X-Repo-Commit: 89abcdef0123456789abcdef0123456789abcdef\r\nETag: \"x\"\r\n"),
                true,
                &["config.json", LATER_COMMIT],
            ),
        ),
        (
            "a size that is none",
            all(|asked| head_of_config(asked, "X-Linked-Size: -1\r\nX-Linked-ETag: \"x\"\r\n"), true, &["config.json", "-1"]),
        ),
        (
            "a file that is too large",
            asks(&[MODEL, "--file-bytes-max", "100000"], &["model.safetensors", "108312", "at most 100000", "--file-bytes-max"]),
        ),
        (
            "a tokenizer of a gigabyte",
            all(
                |asked| {
                    let large = "X-Linked-Size: 1073741824\r\nX-Linked-ETag: \"0123456789abcdef0123456789abcdef01234567\"\r\n";
                    if asked.is("HEAD", "/tokenizer.json") { status(200, large) } else { None }
                },
                true,
                &["tokenizer.json", "1073741824", "at most 67108864"],
            ),
        ),
        ("more than was stated", storage(|_| Some(Act::Longer), &["heads.safetensors", "more than the 3408 bytes"])),
        (
            "more than was stated, without a length",
            storage(|_| Some(Act::LongerUnstated), &["heads.safetensors", "more than the 3408 bytes"]),
        ),
        ("a file without end", storage(|_| Some(Act::Endless), &["heads.safetensors", "more than the 3408 bytes"])),
    ];
    each_case(cases, |case| {
        let ((hub, storage), place) = (Hub::pair(), Place::new());
        if let Some(script) = case.hub {
            hub.now(script);
        }
        if let Some(script) = case.storage {
            storage.now(script);
        }
        let token: &[(&str, &str)] = if case.token { &[("HF_TOKEN", TOKEN)] } else { &[] };
        run(&place, &hub.url(), token, case.arguments).failure(case.expected);
        nothing_half_written(&place);
        assert!(hub.asked().len() + storage.asked().len() < 40);
    });
}

#[test]
fn without_a_network_a_pull_fails_and_leaves_nothing() {
    let place = Place::new();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    run(&place, &format!("http://127.0.0.1:{port}"), &[("HF_TOKEN", TOKEN)], &[MODEL]).failure(&[
        MODEL,
        "no connection",
        &port.to_string(),
    ]);
    nothing_half_written(&place);
    for (endpoint, expected) in
        [("http://hub.example", "found http to another machine"), ("https://u:hf_xyzzytoken@hub.example", "a user"), ("x", "no URL")]
    {
        run(&place, endpoint, &[], &[MODEL]).failure(&["HF_ENDPOINT", expected]);
    }
    for (arguments, expected) in [
        (&["../x"][..], "model: found \"../x\""),
        (&["a/b/c"], "model: found"),
        (&[MODEL, "--revision", "../x"], "--revision: found \"../x\""),
    ] {
        run(&place, &format!("http://127.0.0.1:{port}"), &[], arguments).failure(&[expected]);
    }
    place.write("baton-models.lock", "version = 9\n");
    run(&place, &format!("http://127.0.0.1:{port}"), &[], &[MODEL]).failure(&["baton-models.lock", "found 9, expected 1"]);
}

#[test]
fn offline_serves_what_cache_and_lock_file_hold_and_makes_no_connection() {
    let ((hub, storage), place) = (Hub::pair(), Place::new());
    pull(&place, &hub, &[MODEL]).success();
    let before = hub.connections() + storage.connections();
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let ways: [(Pairs<'_>, &[&str]); 3] = [
        (&[("HF_HUB_OFFLINE", "1")], &[MODEL]),
        (&[], &[MODEL, "--offline"]),
        (&[("TRANSFORMERS_OFFLINE", "true")], &[MODEL, "--revision", "main"]),
    ];
    for (variables, arguments) in ways {
        let run = run(&place, &hub.url(), variables, arguments);
        assert!(run.success().contains(COMMIT));
    }
    let offline = |arguments: &[&str]| run(&place, &hub.url(), &[("HF_HUB_OFFLINE", "1"), ("HF_TOKEN", TOKEN)], arguments);
    offline(&["org/other"]).failure(&["org/other", "offline", "baton-models.lock does not pin it"]);
    offline(&[MODEL, "--update"]).failure(&["offline", "cannot be updated"]);
    fs::remove_file(snapshot(&place, COMMIT).join("tokenizer.json")).unwrap();
    fs::remove_file(snapshot(&place, COMMIT).join("config.json")).unwrap();
    offline(&[MODEL]).failure(&["offline", COMMIT, "lacks config.json, tokenizer.json"]);
    place.write("elsewhere.lock", "version = 1\n");
    offline(&[MODEL, "--lock", "elsewhere.lock"]).failure(&["elsewhere.lock does not pin it"]);
    assert_eq!(hub.connections() + storage.connections(), before);
    // The network brings back what was lost.
    pull(&place, &hub, &[MODEL]).success();
    holds(&place, COMMIT, &taken());
}

#[test]
fn pulls_at_once_fetch_every_file_once_and_pin_all_models() {
    let ((hub, storage), place) = (Hub::pair(), Place::new());
    let mut second = package();
    second.insert("config.json".to_owned(), b"{\"second\": true}".to_vec());
    for side in [&hub, &storage] {
        side.publish("org/second", "main", LATER_COMMIT, second.clone());
    }
    let models = [MODEL, "org/second", MODEL, "org/second", MODEL];
    let runs: Vec<Run> = std::thread::scope(|scope| {
        let (place, hub) = (&place, &hub);
        let runs = models.map(|model| scope.spawn(move || pull(place, hub, &[model])));
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for run in &runs {
        run.success();
    }
    holds(&place, COMMIT, &taken());
    let lock = place.read_text("baton-models.lock");
    assert!(lock.contains("name = \"org/second\"") && lock.contains(LATER_COMMIT), "{lock}");
    let fetched: Vec<String> = storage.asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(fetched.iter().collect::<BTreeSet<_>>().len(), fetched.len(), "a large file came twice: {fetched:?}");
    assert_eq!(fetched.len(), 4);
}

#[test]
fn weights_in_several_files_come_as_their_index_says() {
    let place = Place::new();
    let weights = taken()["model.safetensors"].clone();
    let index = |shards: [&str; 2]| {
        json!({"metadata": {}, "weight_map": {"a": shards[0], "b": shards[1], "c": shards[0]}}).to_string().into_bytes()
    };
    let mut files = package();
    files.remove("model.safetensors");
    files.insert("model-00001-of-00002.safetensors".to_owned(), weights[..50_000].to_vec());
    files.insert("model-00002-of-00002.safetensors".to_owned(), weights[50_000..].to_vec());
    files.insert("other.safetensors".to_owned(), b"not named by the index".to_vec());
    files
        .insert("model.safetensors.index.json".to_owned(), index(["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"]));
    let (hub, storage) = Hub::pair();
    for side in [&hub, &storage] {
        side.publish(MODEL, "main", COMMIT, files.clone());
    }
    pull(&place, &hub, &[MODEL]).success();
    let mut expected = files.clone();
    expected.retain(|name, _| name != "other.safetensors" && name != "README.md" && name != "pytorch_model.bin");
    holds(&place, COMMIT, &expected);

    for hostile in ["../x.safetensors", "/x.safetensors", "pytorch_model.bin", "missing.safetensors"] {
        let place = Place::new();
        files.insert("model.safetensors.index.json".to_owned(), index(["model-00001-of-00002.safetensors", hostile]));
        hub.publish(MODEL, "main", COMMIT, files.clone());
        pull(&place, &hub, &[MODEL]).failure(&["model.safetensors.index.json", hostile]);
        nothing_half_written(&place);
    }
}

#[test]
fn the_token_follows_redirects_of_the_hub_and_nowhere_else() {
    let ((hub, storage), place) = (Hub::pair(), Place::new());
    // Small files: first to another place of the same host, as the hub does it, and then once to another host.
    let elsewhere = storage.url();
    hub.now(move |asked| {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        match (path.ends_with("/config.json") || path.ends_with("/tokenizer.json"), query) {
            (true, "") => Some(Act::Answer(307, format!("Location: {path}?cached\r\n"), Vec::new())),
            (true, _) if path.ends_with("/tokenizer.json") => {
                let content = &taken()["tokenizer.json"];
                let linked = format!("X-Linked-ETag: \"{}\"\r\nX-Linked-Size: {}\r\n", git_blob(content), content.len());
                Some(Act::Answer(302, format!("{linked}Location: {elsewhere}{path}?signature={SIGNATURE}\r\n"), Vec::new()))
            }
            _ => None,
        }
    });
    fs::create_dir(place.path("hf")).unwrap();
    fs::write(place.path("hf/token"), format!("{TOKEN}\n")).unwrap();
    run(&place, &hub.url(), &[], &[MODEL]).success();
    holds(&place, COMMIT, &taken());
    let asked = hub.asked();
    assert!(asked.iter().any(|asked| asked.target.ends_with("config.json?cached")));
    assert!(asked.iter().all(|asked| asked.header("authorization") == format!("Bearer {TOKEN}")));
    let asked = storage.asked();
    assert!(asked.iter().any(|asked| asked.is("GET", "/tokenizer.json")));
    assert!(asked.iter().all(|asked| !asked.headers.values().any(|value| value.contains(TOKEN))), "{asked:?}");

    let place = Place::new();
    run(&place, &hub.url(), &[("HF_TOKEN", TOKEN), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], &[MODEL]).success();
    assert!(hub.asked().iter().all(|asked| !asked.headers.contains_key("authorization")));
}

#[test]
fn proxies_of_the_environment_are_asked_unless_they_are_not_to_be() {
    let ((hub, _storage), place) = (Hub::pair(), Place::new());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (nowhere, proxy) = (format!("http://127.0.0.1:{port}"), format!("http://user:pass@{}", hub.address));
    // The proxy serves the large files itself: it is asked for the storage's addresses too.
    run(&place, &nowhere, &[("HTTP_PROXY", &proxy)], &[MODEL]).success();
    holds(&place, COMMIT, &taken());
    let asked = hub.asked();
    assert!(asked.iter().any(|asked| asked.target.starts_with(&format!("{nowhere}/api/models/"))), "{asked:?}");
    assert!(asked.iter().all(|asked| asked.header("proxy-authorization") == "Basic dXNlcjpwYXNz"), "{asked:?}");

    let place = Place::new();
    let before = hub.connections();
    let direct = run(&place, &nowhere, &[("ALL_PROXY", &proxy), ("no_proxy", "localhost,127.0.0.1")], &[MODEL]);
    direct.failure(&["no connection", &port.to_string()]);
    assert_eq!(hub.connections(), before);
    run(&place, &nowhere, &[("HTTPS_PROXY", "socks5://u:hf_xyzzytoken@p")], &[MODEL]).failure(&["HTTPS_PROXY", "socks5"]);
}

/// A certificate authority in PEM, and what serves with one of its certificates.
fn authority() -> (String, Arc<rustls::ServerConfig>) {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (pem, Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap()))
}

/// TLS before a hub: one request a connection is handed on, and its answer back.
fn serve_tls(config: Arc<rustls::ServerConfig>, hub: SocketAddr) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            // Who does not believe the certificate leaves.
            let hand_on = move || -> std::io::Result<()> {
                let connection = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
                let mut client = rustls::StreamOwned::new(connection, stream);
                let (mut request, mut byte) = (Vec::new(), [0]);
                while !request.ends_with(b"\r\n\r\n") {
                    client.read_exact(&mut byte)?;
                    request.push(byte[0]);
                }
                let mut hub = TcpStream::connect(hub)?;
                hub.write_all(&request)?;
                let mut answer = Vec::new();
                hub.read_to_end(&mut answer)?;
                client.write_all(&answer)?;
                client.conn.send_close_notify();
                client.flush()
            };
            std::thread::spawn(move || drop(hand_on()));
        }
    });
    port
}

#[test]
fn over_tls_the_authorities_are_believed_and_no_redirect_leaves_it() {
    let ((hub, storage), place) = (Hub::pair(), Place::new());
    let (pem, config) = authority();
    place.write("other.pem", authority().0);
    place.write("ca.pem", pem);
    let endpoint = format!("https://localhost:{}", serve_tls(config, hub.address));
    let believing =
        |file: &str| run(&place, &endpoint, &[("HF_TOKEN", TOKEN), ("SSL_CERT_FILE", place.path(file).to_str().unwrap())], &[MODEL]);
    believing("other.pem").failure(&["no connection: invalid peer certificate"]);
    assert!(hub.asked().is_empty());
    believing("ca.pem").failure(&["redirect to http://127.0.0.1", "expected https"]);
    assert!(hub.asked().iter().any(|asked| asked.is("GET", "/config.json")) && storage.asked().is_empty());
    nothing_half_written(&place);
}
