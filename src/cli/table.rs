//! CSV and JSON Lines in: rows one at a time, in bounded memory.
//!
//! In: a file whose name ends in `.csv`, `.jsonl` or `.ndjson`. Out: [`Row`]s with all fields in order. A fault of the whole file (no such column, an open
//! quote, a line that is not an object) ends the reading and names line and column; a fault of one value (invalid UTF-8, a value that is not text)
//! belongs to its row, and the reading goes on.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Map, Value};

/// Most bytes of one row. Far above any ticket; it bounds what an open quote can swallow.
pub const ROW_BYTES_MAX: u64 = 16 << 20;

/// Stands at the end of what the CSV reader sees. If a quote was left open, it ends up inside the last field.
const END_MARK: &str = "\u{0}baton: end of file\u{0}";

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a header.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

impl Format {
    /// By the ending of a file's name.
    pub fn of(path: &Path) -> Result<Self, String> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            _ => Err(format!("{}: the name must end in .csv, .jsonl or .ndjson", path.display())),
        }
    }
}

/// One row of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Line on which it begins, from 1.
    pub line: u64,
    /// Names and values in the order of the file; a CSV value that is not UTF-8 holds replacement characters.
    pub fields: Map<String, Value>,
    /// Columns whose bytes are not UTF-8.
    not_utf8: Vec<String>,
}

impl Row {
    /// The text of a column; the error says what is wrong with this row. A row with any column that is not UTF-8 is wrong, since it could not be written
    /// back as it was.
    pub fn text(&self, column: &str) -> Result<&str, String> {
        if let Some(name) = self.not_utf8.first() {
            return Err(format!("line {}: {name}: invalid UTF-8", self.line));
        }
        match self.fields.get(column) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(format!("line {}: {column}: found {}, expected a text", self.line, kind(other))),
            None => Err(format!("line {}: {column}: missing", self.line)),
        }
    }

    /// As [`Row::text`], where null, nothing and blanks are no text.
    pub fn optional_text(&self, column: &str) -> Result<Option<&str>, String> {
        match self.fields.get(column) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => Ok(Some(self.text(column)?).filter(|text| !text.trim().is_empty())),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Why a file cannot be read on.
#[derive(Debug)]
pub struct TableError {
    path: PathBuf,
    what: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for TableError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// A file being read.
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Rows,
    bytes_read: Rc<Cell<u64>>,
    bytes_total: u64,
}

enum Rows {
    Csv(Box<csv::Reader<Budgeted>>),
    JsonLines { reader: BufReader<Budgeted>, line: u64 },
}

impl Table {
    /// Opens a file and checks that it has the columns. For JSON Lines the columns are checked row by row.
    pub fn open(path: &Path, wanted: &[&str]) -> Result<Self, TableError> {
        let error = |what: String, source| TableError { path: path.to_path_buf(), what, source };
        let format = Format::of(path).map_err(|what| error(what.split_once(": ").map_or(what.clone(), |(_, w)| w.to_owned()), None))?;
        let file = File::open(path).map_err(|e| error(format!("cannot be opened: {e}"), None))?;
        let metadata = file.metadata().map_err(|e| error(format!("cannot be read: {e}"), None))?;
        if metadata.is_dir() {
            return Err(error("is a folder, not a file".to_owned(), None));
        }
        let bytes_read = Rc::new(Cell::new(0));
        let input = Budgeted { file, budget: ROW_BYTES_MAX, ended: format == Format::JsonLines, bytes_read: Rc::clone(&bytes_read) };
        let rows = match format {
            Format::Csv => Rows::Csv(Box::new(csv::ReaderBuilder::new().flexible(true).from_reader(input))),
            Format::JsonLines => Rows::JsonLines { reader: BufReader::new(input), line: 0 },
        };
        let mut table = Self { path: path.to_path_buf(), columns: Vec::new(), rows, bytes_read, bytes_total: metadata.len() };
        table.read_header(wanted)?;
        Ok(table)
    }

    fn read_header(&mut self, wanted: &[&str]) -> Result<(), TableError> {
        let Rows::Csv(reader) = &mut self.rows else { return Ok(()) };
        let header = reader.headers().cloned();
        let header = header.map_err(|e| self.error("the header cannot be read", Some(e)))?;
        if header.iter().any(|name| name.contains(END_MARK)) {
            return Err(self.error(
                if header.len() == 1 && &header[0] == END_MARK { "the file is empty" } else { "line 1: a quote is never closed" },
                None,
            ));
        }
        self.columns = header.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
        if let Some(twice) = self.columns.iter().enumerate().find(|(i, name)| self.columns[..*i].contains(name)).map(|(_, name)| name) {
            return Err(self.error(&format!("the column {twice:?} stands twice in the header"), None));
        }
        match wanted.iter().find(|name| !self.columns.iter().any(|column| column == *name)) {
            Some(name) => Err(self.error(&format!("no column {name:?}; the columns are {:?}", self.columns), None)),
            None => Ok(()),
        }
    }

    /// Columns of a CSV file; empty for JSON Lines.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Bytes read so far, and of the file: for a progress bar.
    pub fn progress(&self) -> (u64, u64) {
        (self.bytes_read.get().min(self.bytes_total), self.bytes_total)
    }

    fn error(&self, what: &str, source: Option<csv::Error>) -> TableError {
        let what = match &source {
            Some(error) => format!("{what}: {error}"),
            None => what.to_owned(),
        };
        TableError { path: self.path.clone(), what, source: None }
    }

    fn next_csv(&mut self) -> Option<Result<Row, TableError>> {
        let Rows::Csv(reader) = &mut self.rows else { return None };
        reader.get_mut().budget = ROW_BYTES_MAX;
        let mut record = csv::ByteRecord::new();
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Err(self.error(&format!("line {line}"), Some(error)))),
        }
        let line = record.position().map_or(line, csv::Position::line);
        if record.len() == 1 && record[0] == *END_MARK.as_bytes() {
            return None;
        }
        if record.iter().any(|field| contains(field, END_MARK.as_bytes())) {
            return Some(Err(self.error(&format!("line {line}: a quote is never closed"), None)));
        }
        if record.len() != self.columns.len() {
            let what = format!("line {line}: found {} fields, expected {}", record.len(), self.columns.len());
            return Some(Err(self.error(&what, None)));
        }
        let mut row = Row { line, fields: Map::new(), not_utf8: Vec::new() };
        for (name, field) in self.columns.iter().zip(&record) {
            if std::str::from_utf8(field).is_err() {
                row.not_utf8.push(name.clone());
            }
            row.fields.insert(name.clone(), Value::String(String::from_utf8_lossy(field).into_owned()));
        }
        Some(Ok(row))
    }

    fn next_json(&mut self) -> Option<Result<Row, TableError>> {
        let Rows::JsonLines { reader, line } = &mut self.rows else { return None };
        let mut bytes = Vec::new();
        loop {
            *line += 1;
            reader.get_mut().budget = ROW_BYTES_MAX;
            bytes.clear();
            match reader.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) if bytes.iter().all(u8::is_ascii_whitespace) => {}
                Ok(_) => break,
                Err(error) => {
                    let what = format!("line {line}: {error}");
                    return Some(Err(self.error(&what, None)));
                }
            }
        }
        let line = *line;
        bytes.truncate(bytes.trim_ascii_end().len());
        let invalid = std::str::from_utf8(&bytes).is_err();
        match serde_json::from_str::<Map<String, Value>>(&String::from_utf8_lossy(&bytes)) {
            Ok(fields) => {
                // What was not UTF-8 has become replacement characters by now; they tell which values it was.
                let damaged = |(name, value): &(&String, &Value)| invalid && format!("{name}{value}").contains('\u{fffd}');
                let not_utf8 = fields.iter().filter(damaged).map(|(name, _)| name.clone()).collect();
                Some(Ok(Row { line, fields, not_utf8 }))
            }
            // The message of serde_json says where, not what; a line of customers' text must not get into an error.
            Err(error) => Some(Err(self.error(&format!("line {line}: not a JSON object (column {})", error.column()), None))),
        }
    }
}

impl Iterator for Table {
    type Item = Result<Row, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.rows {
            Rows::Csv(_) => self.next_csv(),
            Rows::JsonLines { .. } => self.next_json(),
        }
    }
}

fn contains(field: &[u8], mark: &[u8]) -> bool {
    field.windows(mark.len()).any(|run| run == mark)
}

/// A file that gives at most `budget` more bytes, counts them, and closes a CSV with [`END_MARK`].
struct Budgeted {
    file: File,
    budget: u64,
    ended: bool,
    bytes_read: Rc<Cell<u64>>,
}

impl Read for Budgeted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.budget == 0 {
            return Err(io::Error::other(format!("a row of more than {ROW_BYTES_MAX} bytes (a quote that is never closed?)")));
        }
        let room = buffer.len().min(usize::try_from(self.budget).unwrap_or(usize::MAX));
        let mut read = self.file.read(&mut buffer[..room])?;
        self.bytes_read.set(self.bytes_read.get() + read as u64);
        if read == 0 && !self.ended {
            self.ended = true;
            let end = format!("\n{END_MARK}\n");
            read = end.len().min(buffer.len());
            buffer[..read].copy_from_slice(&end.as_bytes()[..read]);
        }
        self.budget -= (read as u64).min(self.budget);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &[u8]) -> Result<Vec<Row>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let tail = |error: TableError| error.to_string().split_once(&format!("{name}: ")).unwrap().1.to_owned();
        Table::open(&path, &["text"]).map_err(tail)?.collect::<Result<_, _>>().map_err(tail)
    }

    fn texts(name: &str, content: &[u8]) -> Vec<Result<String, String>> {
        read(name, content).unwrap().iter().map(|row| row.text("text").map(str::to_owned)).collect()
    }

    #[test]
    fn rows_of_both_forms_are_read() {
        assert_eq!(
            texts("a.csv", b"id,text\n1,hello\n2,\"two\nlines, \"\"quoted\"\"\"\n"),
            [Ok("hello".into()), Ok("two\nlines, \"quoted\"".into())]
        );
        assert_eq!(texts("a.csv", b"\xef\xbb\xbftext\r\nlast line without an end"), [Ok("last line without an end".into())]);
        assert_eq!(texts("a.jsonl", b"{\"text\":\"a\"}\n\n{\"text\":\"b\",\"n\":1}"), [Ok("a".into()), Ok("b".into())]);
        assert_eq!(texts("a.csv", b"text\n"), []);
    }

    #[test]
    fn a_fault_of_the_file_names_line_and_column() {
        let cases: [(&str, &[u8], &str); 8] = [
            ("a.csv", b"", "the file is empty"),
            ("a.csv", b"id,body\n1,x\n", "no column \"text\"; the columns are [\"id\", \"body\"]"),
            ("a.csv", b"id,text\n1,ok\n2,\"never closed\n3,x\n", "line 3: a quote is never closed"),
            ("a.csv", b"id,text\n1,a,b\n", "line 2: found 3 fields, expected 2"),
            ("a.csv", b"\"id,text\n1,a\n", "line 1: a quote is never closed"),
            ("a.jsonl", b"{\"text\":\"a\"}\n[1]\n", "line 2: not a JSON object (column 0)"),
            ("a.jsonl", b"{\"text\":\"a\n", "line 1: not a JSON object (column 10)"),
            ("a.txt", b"x", "the name must end in .csv, .jsonl or .ndjson"),
        ];
        for (name, content, expected) in cases {
            let error = read(name, content).expect_err(expected);
            assert!(error.starts_with(expected), "expected {expected:?}, found {error:?}");
        }
    }

    #[test]
    fn a_fault_of_one_value_belongs_to_its_row() {
        assert_eq!(texts("a.csv", b"id,text\n1,\xff\xfe\n2,fine\n"), [Err("line 2: text: invalid UTF-8".into()), Ok("fine".into())]);
        assert_eq!(
            texts("a.jsonl", b"{\"text\":1}\n{\"body\":\"x\"}\n{\"text\":\"a\xff\"}\n{\"text\":null}\n"),
            [
                Err("line 1: text: found a number, expected a text".into()),
                Err("line 2: text: missing".into()),
                Err("line 3: text: invalid UTF-8".into()),
                Err("line 4: text: found null, expected a text".into()),
            ]
        );
    }

    #[test]
    fn an_open_quote_in_a_large_file_is_stopped_early() {
        let content = [b"text\n\"open ".to_vec(), b"more words\n".repeat(2_000_000)].concat();
        assert!(read("a.csv", &content).unwrap_err().contains("more than 16777216 bytes"));
        let line = [b"{\"text\":\"".to_vec(), b"x".repeat(17 << 20)].concat();
        assert!(read("a.jsonl", &line).unwrap_err().contains("more than 16777216 bytes"));
    }
}
