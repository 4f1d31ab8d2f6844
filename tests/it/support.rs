//! What the tests of the binary share: a folder with the program's surroundings, a finished run, and packages to break.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use baton::model::encoder::{EncodeError, Encoder, EngineKind, HiddenStates};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Stands in the messages of the tests; what a customer wrote must never reach stderr.
pub(crate) const PLANTED: &str = "xyzzyplanted";

/// A complete package with random weights: for everything that does not depend on quality.
pub(crate) const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-bert");
/// The package of the repository.
pub(crate) const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/baton-en");

/// An engine that encodes in a way of its own, and in all else is the one that it was made of.
struct EncodesBy<F>(Box<dyn Encoder>, F);

/// Puts a way to encode before an engine: it gets the engine, the sequences and the layers.
pub(crate) fn encode_by<F>(engine: Box<dyn Encoder>, encode: F) -> Box<dyn Encoder>
where
    F: Fn(&dyn Encoder, &[&[u32]], &[usize]) -> Result<Vec<HiddenStates>, EncodeError> + Send + Sync + 'static,
{
    Box::new(EncodesBy(engine, encode))
}

impl<F> Encoder for EncodesBy<F>
where
    F: Fn(&dyn Encoder, &[&[u32]], &[usize]) -> Result<Vec<HiddenStates>, EncodeError> + Send + Sync,
{
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

    fn weight_bytes(&self) -> Option<u64> {
        self.0.weight_bytes()
    }

    fn can_be_helped(&self) -> bool {
        self.0.can_be_helped()
    }

    fn encode(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<HiddenStates>, EncodeError> {
        self.1(self.0.as_ref(), sequences, layers)
    }
}

/// Counts what each thread allocates.
struct Counting;

std::thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Bytes that it holds now, and held at most; what another thread frees stays counted here.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// One allocation, by which so many bytes more are held.
fn count(bytes: isize) {
    // A thread that is ending counts nothing any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    hold(bytes);
}

fn hold(bytes: isize) {
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

#[expect(unsafe_code, reason = "the trait of allocators is unsafe; every call is handed on as it is")]
// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller says.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as the caller says.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        // SAFETY: as the caller says.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread allocates while something runs.
pub(crate) fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

/// How many bytes more than before this thread holds at most while something runs, and what that gives. Memory that was asked for and never touched counts
/// as well.
pub(crate) fn bytes_held<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let (before, _) = HELD.get();
    HELD.set((before, before));
    let result = run();
    (usize::try_from(HELD.get().1 - before).unwrap_or(0), result)
}

/// The folder of one test: working folder of its runs, home of their cache, gone afterwards.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file in the temporary folder");
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn read_text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("the file is UTF-8")
    }

    /// A copy of a package, to be broken.
    pub(crate) fn package(&self, name: &str, source: &str) -> Package {
        let folder = self.path(name);
        fs::create_dir(&folder).expect("a folder for the package");
        for entry in fs::read_dir(source).expect("the source package is there") {
            let entry = entry.expect("the source package can be listed");
            fs::copy(entry.path(), folder.join(entry.file_name())).expect("a file of the package is copied");
        }
        Package(folder)
    }

    /// A folder in the Hugging Face layout: a classifier of [`TINY`]'s trunk with random weights and the labels of `id2label`, and a label map.
    pub(crate) fn classifier(&self, name: &str, labels: &[&str], map: &str) -> Package {
        let package = self.package(name, TINY);
        ["heads.json", "heads.safetensors", "parity.json"].iter().for_each(|file| package.remove(file));
        package.edit_json("config.json", |config| {
            let numbered = labels.iter().enumerate();
            config["architectures"] = json!(["BertForSequenceClassification"]);
            config["id2label"] =
                numbered.clone().map(|(id, label)| (id.to_string(), json!(label))).collect::<serde_json::Map<_, _>>().into();
            config["label2id"] = numbered.map(|(id, label)| ((*label).to_owned(), json!(id))).collect::<serde_json::Map<_, _>>().into();
        });
        package.edit_tensors("model.safetensors", |tensors| {
            *tensors = std::mem::take(tensors).into_iter().map(|(name, tensor)| (format!("bert.{name}"), tensor)).collect();
            let mut state = 7u32;
            let mut random = |shape: &[usize], spread: f32| {
                let values = (0..shape.iter().product()).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    spread * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
                });
                (Dtype::F32, shape.to_vec(), bytes_of(&values.collect::<Vec<_>>()))
            };
            tensors.insert("bert.pooler.dense.weight".into(), random(&[32, 32], 0.5));
            tensors.insert("bert.pooler.dense.bias".into(), random(&[32], 0.2));
            tensors.insert("classifier.weight".into(), random(&[labels.len(), 32], 1.0));
            tensors.insert("classifier.bias".into(), random(&[labels.len()], 0.2));
        });
        package.write("baton.toml", map);
        package
    }

    /// A program in this folder, without the settings of whoever runs the tests. On Linux it may use 120 seconds of processor time and 8 GB of
    /// addresses, so that work without bound fails the test and spares the machine.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = if cfg!(target_os = "linux") {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "ulimit -t 120; ulimit -v 8000000; exec \"$0\" \"$@\""]).arg(program).env("MALLOC_ARENA_MAX", "2");
            shell
        } else {
            Command::new(program)
        };
        command.current_dir(self.0.path()).env("BATON_CACHE_DIR", self.path("cache"));
        command.env_remove("BATON_MODEL").env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
        command
    }

    /// `baton` in this folder.
    pub(crate) fn baton(&self, arguments: &[&str]) -> Run {
        self.baton_reading(arguments, b"")
    }

    /// `baton` in this folder, with something on standard input.
    pub(crate) fn baton_reading(&self, arguments: &[&str], input: &[u8]) -> Run {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_baton")));
        command.args(arguments);
        Run::of(command, input)
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// Exit code; none where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Runs to the end. Whatever was asked, stderr holds no panic and nothing of what a customer wrote.
    pub(crate) fn of(mut command: Command, input: &[u8]) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let output = std::thread::scope(|scope| {
            // A program that fails early does not read its input to the end.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().expect("the program ends")
        });
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        let run = Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
        assert!(!run.stderr.contains("panicked at"), "{command:?} panicked: {}", run.head_of_stderr());
        assert!(!run.stderr.contains(PLANTED), "{command:?} shows a customer's text on stderr: {}", run.head_of_stderr());
        run
    }

    /// The run succeeded; gives stdout.
    pub(crate) fn success(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}", self.head_of_stderr());
        &self.stdout
    }

    /// The run failed, with exit code 2, nothing on stdout, and all of these words on stderr.
    pub(crate) fn failure(&self, expected: &[&str]) {
        assert_eq!(self.code, Some(2), "expected a failure with {expected:?}; stdout: {} stderr: {}", self.stdout, self.head_of_stderr());
        assert_eq!(self.stdout, "", "a failed run has no result");
        for words in expected {
            assert!(self.stderr.contains(words), "expected {words:?} on stderr, found: {}", self.head_of_stderr());
        }
    }

    /// The run succeeded; gives the JSON object of each line of stdout.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        lines_of_json(self.success())
    }

    /// The run succeeded with one line of JSON.
    pub(crate) fn json(&self) -> Value {
        let mut lines = self.json_lines();
        assert_eq!(lines.len(), 1, "{}", self.stdout);
        lines.remove(0)
    }

    fn head_of_stderr(&self) -> String {
        self.stderr.chars().take(4000).collect()
    }
}

/// The JSON value on each line.
pub(crate) fn lines_of_json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// The columns of a CSV file and its rows, each cell by its column.
pub(crate) fn csv_rows(bytes: &[u8]) -> (Vec<String>, Vec<BTreeMap<String, String>>) {
    let mut reader = csv::Reader::from_reader(bytes);
    let columns: Vec<String> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.expect("a row of as many cells as the header");
        columns.iter().cloned().zip(record.iter().map(str::to_owned)).collect()
    };
    let rows = reader.records().map(row).collect();
    (columns, rows)
}

/// A package that a test may change.
pub(crate) struct Package(PathBuf);

/// Type, shape and bytes of a tensor.
pub(crate) type Tensor = (Dtype, Vec<usize>, Vec<u8>);

impl Package {
    /// The package of a folder that a test made.
    pub(crate) fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("the temporary folder has a UTF-8 name")
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.0.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.0.join(file), content).expect("a file of the package is written");
    }

    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.0.join(file)).expect("a file of the package is removed");
    }

    pub(crate) fn read_json(&self, file: &str) -> Value {
        serde_json::from_slice(&self.read(file)).expect("the file is JSON")
    }

    /// Takes all heads away, and what parity says of them.
    pub(crate) fn remove_heads(&self) {
        self.edit_json("heads.json", |heads| heads["heads"] = json!([]));
        self.remove("heads.safetensors");
        self.edit_json("parity.json", |parity| {
            parity["texts"].as_array_mut().unwrap().iter_mut().for_each(|text| text["probabilities"] = json!({}));
            drop(parity.as_object_mut().unwrap().remove("pairs"));
        });
    }

    pub(crate) fn edit_json(&self, file: &str, edit: impl FnOnce(&mut Value)) {
        let mut value = self.read_json(file);
        let before = value.clone();
        edit(&mut value);
        assert_ne!(value, before, "the case changes nothing");
        self.write(file, value.to_string());
    }

    /// Replaces the first place where a piece of text stands.
    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) {
        let text = String::from_utf8(self.read(file)).expect("the file is text");
        assert!(text.contains(from) && from != to, "the case changes nothing: {from}");
        self.write(file, text.replacen(from, to, 1));
    }

    pub(crate) fn tensors(&self, file: &str) -> BTreeMap<String, Tensor> {
        let bytes = self.read(file);
        let tensors = SafeTensors::deserialize(&bytes).expect("the file is whole");
        let tensor = |view: &TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        tensors.iter().map(|(name, view)| (name.to_owned(), tensor(&view))).collect()
    }

    pub(crate) fn edit_tensors(&self, file: &str, edit: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
        let mut tensors = self.tensors(file);
        edit(&mut tensors);
        let views: Vec<(&str, TensorView<'_>)> = tensors
            .iter()
            .map(|(name, (dtype, shape, bytes))| (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).expect("a whole tensor")))
            .collect();
        self.write(file, safetensors::serialize(views, None).expect("the tensors are written"));
    }
}

/// Runs the check on every case and then fails with the names of those that failed, so that one does not hide the others.
pub(crate) fn each_case<'a, C>(cases: impl IntoIterator<Item = (&'a str, C)>, check: impl Fn(C)) {
    let failed = |(name, case)| catch_unwind(AssertUnwindSafe(|| check(case))).is_err().then_some(name);
    let failed: Vec<&str> = cases.into_iter().filter_map(failed).collect();
    assert!(failed.is_empty(), "cases that failed: {failed:?}");
}

/// Little-endian bytes of numbers.
pub(crate) fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Numbers of little-endian bytes.
pub(crate) fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
