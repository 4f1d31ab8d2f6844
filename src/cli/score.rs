//! `baton score`: messages → signals.
//!
//! Messages come as arguments, as lines of standard input, or as a column of a whole file. A file is read, scored and written in parts of
//! [`ROWS_PER_PART`] rows on all cores, in flat memory. A row that cannot be scored is written with its error in place of signals, and the exit code
//! is 1: nothing is lost, and nobody overlooks it.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use super::intents::ExampleIntents;
use super::render::{self, Extras};
use super::table::{Format, ROW_BYTES_MAX, Row, Table};
use super::{ModelArguments, Outcome, bulk, load_model, print, progress_bar};
use crate::config::Places;
use crate::model::scorer::{ScoreInput, Scorer};
use crate::service::clock::Stopwatch;
use crate::service::events::{Event, emit};
use crate::signal::Signals;

/// Rows in memory at a time: two calls a core with room to even out.
const ROWS_PER_PART: usize = 2048;
/// Rows of one call to the model.
const ROWS_PER_CALL: usize = 128;
/// Bytes of texts in memory at a time, for files of long texts.
const BYTES_PER_PART: usize = 64 << 20;

/// Arguments of `baton score`.
#[derive(Debug, clap::Args)]
pub struct ScoreArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Messages; without any, and without --input, each line of standard input is one.
    #[arg(value_name = "MESSAGE", conflicts_with = "input")]
    messages: Vec<String>,
    /// The bot's last turn, for `act`; goes with every message.
    #[arg(long, value_name = "TEXT", conflicts_with = "input")]
    proposal: Option<String>,
    /// CSV or JSON Lines file with a message in each row.
    #[arg(long, value_name = "FILE", requires = "output")]
    input: Option<PathBuf>,
    /// CSV or JSON Lines file to write: the columns of the input, then the signals. Must not exist.
    #[arg(long, value_name = "FILE", requires = "input")]
    output: Option<PathBuf>,
    /// Column of the file with the message.
    #[arg(long, value_name = "NAME", default_value = "text")]
    text_column: String,
    /// Column of the file with the bot's last turn, for `act`.
    #[arg(long, value_name = "NAME")]
    proposal_column: Option<String>,
    /// TOML file with intents by example: tables `intent`, each with id and 5 to 20 examples.
    #[arg(long, value_name = "FILE")]
    intents: Option<PathBuf>,
    /// JSON, one object a line, in place of a table.
    #[arg(long)]
    json: bool,
    /// Show the vectors of message and sentences (JSON only).
    #[arg(long, requires = "json", conflicts_with = "input")]
    vectors: bool,
}

/// Runs the command.
pub fn run(arguments: &ScoreArguments, places: &Places) -> Result<Outcome> {
    if let (Some(input), Some(output)) = (&arguments.input, &arguments.output) {
        Format::of(output).map_err(|error| anyhow!(error))?;
        let columns: Vec<&str> = [&arguments.text_column].into_iter().chain(&arguments.proposal_column).map(String::as_str).collect();
        if output.exists() {
            bail!("output file {}: exists", output.display());
        }
        let table = Table::open(input, &columns)?;
        let scorer = load_model(&arguments.model, places)?;
        // Written beside and renamed at the end: a run that fails leaves no half file that looks whole.
        let part = output.with_added_extension("part");
        let result = score_file(arguments, &scorer, table, &part, output);
        if result.is_err() && part.exists() {
            // The error that is told already matters more than what is left here.
            drop(std::fs::remove_file(&part));
        }
        return result;
    }
    let scorer = load_model(&arguments.model, places)?;
    let intents = read_intents(arguments, &scorer)?;
    if arguments.messages.is_empty() {
        return score_lines(arguments, &scorer, intents.as_ref());
    }
    let messages: Vec<&str> = arguments.messages.iter().map(String::as_str).collect();
    show(arguments, &scorer, intents.as_ref(), &messages)?;
    Ok(Outcome::Success)
}

fn read_intents(arguments: &ScoreArguments, scorer: &Scorer) -> Result<Option<ExampleIntents>> {
    arguments.intents.as_ref().map(|path| ExampleIntents::read(path, scorer)).transpose()
}

/// Standard input, a line a message, answered part by part; on a terminal line by line.
fn score_lines(arguments: &ScoreArguments, scorer: &Scorer, intents: Option<&ExampleIntents>) -> Result<Outcome> {
    let stdin = std::io::stdin();
    let part = if stdin.is_terminal() { 1 } else { ROWS_PER_CALL };
    let mut reader = BufReader::new(stdin.lock());
    let mut lines: Vec<String> = Vec::new();
    let (mut number, mut bytes) = (0u64, 0);
    loop {
        number += 1;
        let line = read_line(&mut reader).with_context(|| format!("standard input: line {number}"));
        let goes_on = matches!(line, Ok(Some(_)));
        if let Ok(Some(line)) = &line
            && !line.trim().is_empty()
        {
            bytes += line.len();
            lines.push(line.clone());
        }
        if lines.len() >= part || bytes >= BYTES_PER_PART || (!goes_on && !lines.is_empty()) {
            let messages: Vec<&str> = lines.iter().map(String::as_str).collect();
            show(arguments, scorer, intents, &messages)?;
            lines.clear();
            bytes = 0;
        }
        // After what came before it was answered.
        if line?.is_none() {
            return Ok(Outcome::Success);
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    std::io::Read::take(&mut *reader, ROW_BYTES_MAX).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() as u64 == ROW_BYTES_MAX {
        bail!("more than {ROW_BYTES_MAX} bytes");
    }
    let text = String::from_utf8(bytes).map_err(|error| anyhow!("invalid UTF-8 at byte {}", error.utf8_error().valid_up_to()))?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

fn show(arguments: &ScoreArguments, scorer: &Scorer, intents: Option<&ExampleIntents>, messages: &[&str]) -> Result<()> {
    let inputs: Vec<ScoreInput<'_>> = messages.iter().map(|text| ScoreInput { text, proposal: arguments.proposal.as_deref() }).collect();
    let signals = bulk::map(&inputs, ROWS_PER_CALL, |chunk| scorer.score(chunk), |_| ())?;
    if arguments.json {
        let mut out = String::new();
        for (text, signals) in messages.iter().zip(&signals) {
            let example_intents = intents.map(|i| i.score(scorer, signals)).unwrap_or_default();
            let mut value = render::to_json(signals, Extras { example_intents: &example_intents, vectors: arguments.vectors });
            if let Some(map) = value.as_object_mut() {
                map.shift_insert(0, "text".into(), json!(text));
            }
            out.push_str(&format!("{value}\n"));
        }
        return print(&out);
    }
    let mut rows = Vec::new();
    for (text, signals) in messages.iter().zip(&signals) {
        let mut row = vec![render::shorten(text, 44)];
        row.extend(cells(signals));
        for (id, p) in intents.map(|i| i.score(scorer, signals)).unwrap_or_default() {
            row.push(p.map_or_else(|absence| format!("- ({absence})"), |p| format!("{id} {:.0} %", 100.0 * p.get())));
        }
        rows.push(row);
    }
    let mut header = vec!["message", "sentiment", "emotion", "intent", "act", "rules"];
    header.resize(rows.first().map_or(header.len(), Vec::len), "example intent");
    print(&render::table(&header, rows))
}

fn cells(signals: &Signals) -> Vec<String> {
    vec![
        render::classification_cell(&signals.sentiment),
        render::tags_cell(&signals.emotion),
        render::classification_cell(&signals.intent),
        render::classification_cell(&signals.act),
        render::lexical_cell(signals),
    ]
}

/// The signals of a row, and p of each intent by example that could be compared.
type RowSignals = (Signals, Vec<(String, f32)>);

/// A row of the file with its signals, or why it has none.
struct Scored {
    row: Row,
    signals: Result<RowSignals, String>,
}

fn score_file(arguments: &ScoreArguments, scorer: &Scorer, mut table: Table, part: &Path, path: &Path) -> Result<Outcome> {
    let watch = Stopwatch::start();
    let intents = read_intents(arguments, scorer)?;
    let mut writer = Writer::new(path, part, &table)?;
    let (_, total) = table.progress();
    let bar = progress_bar(total, "scoring", true);
    let (mut rows, mut failed) = (0u64, 0u64);
    loop {
        let part = next_part(&mut table, arguments)?;
        if part.is_empty() {
            break;
        }
        for scored in score_part(arguments, scorer, intents.as_ref(), part)? {
            *(if scored.signals.is_ok() { &mut rows } else { &mut failed }) += 1;
            writer.write(&scored).with_context(|| format!("output file {}", path.display()))?;
        }
        bar.set_position(table.progress().0);
    }
    writer.finish().and_then(|()| Ok(std::fs::rename(part, path)?)).with_context(|| format!("output file {}", path.display()))?;
    bar.finish_and_clear();
    emit(&Event::FileScored { rows, rows_failed: failed, elapsed: watch.elapsed() });
    if arguments.json {
        print(&format!("{}\n", json!({"rows": rows, "rows_failed": failed})))?;
    } else {
        print(&format!("{rows} rows scored, {failed} rows with an error in their place\n"))?;
    }
    Ok(if failed == 0 { Outcome::Success } else { Outcome::Negative })
}

fn next_part(table: &mut Table, arguments: &ScoreArguments) -> Result<Vec<Row>> {
    let mut part = Vec::new();
    let mut bytes = 0;
    while part.len() < ROWS_PER_PART && bytes < BYTES_PER_PART {
        let Some(row) = table.next() else { break };
        let row = row?;
        bytes += row.text(&arguments.text_column).map_or(0, str::len);
        part.push(row);
    }
    Ok(part)
}

fn score_part(arguments: &ScoreArguments, scorer: &Scorer, intents: Option<&ExampleIntents>, part: Vec<Row>) -> Result<Vec<Scored>> {
    let input = |row: &Row| -> Result<(String, Option<String>), String> {
        let proposal = arguments.proposal_column.as_ref().map(|column| row.optional_text(column)).transpose()?.flatten();
        Ok((row.text(&arguments.text_column)?.to_owned(), proposal.map(str::to_owned)))
    };
    let inputs: Vec<Result<(String, Option<String>), String>> = part.iter().map(input).collect();
    let mut good: Vec<(usize, ScoreInput<'_>)> = inputs
        .iter()
        .enumerate()
        .filter_map(|(at, input)| input.as_ref().ok().map(|(text, proposal)| (at, ScoreInput { text, proposal: proposal.as_deref() })))
        .collect();
    // Near lengths together make full batches.
    good.sort_by_key(|(at, input)| (input.text.len(), *at));
    let score = |chunk: &[(usize, ScoreInput<'_>)]| scorer.score(&chunk.iter().map(|(_, input)| *input).collect::<Vec<_>>());
    let scored = bulk::map(&good, ROWS_PER_CALL, score, |_| ())?;
    let mut signals: Vec<Option<Signals>> = part.iter().map(|_| None).collect();
    for ((at, _), found) in good.iter().zip(scored) {
        signals[*at] = Some(found);
    }
    let failures: Vec<Option<String>> = inputs.into_iter().map(Result::err).collect();
    let with_intents = |signals: Signals| {
        let of_row = intents.map(|i| i.score(scorer, &signals)).unwrap_or_default();
        let of_row = of_row.into_iter().filter_map(|(id, p)| Some((id, p.ok()?.get()))).collect();
        (signals, of_row)
    };
    let rows = part.into_iter().zip(signals.into_iter().zip(failures));
    let scored = rows.map(|(row, (signals, failure))| {
        let signals = signals.map(with_intents).ok_or_else(|| failure.unwrap_or_default());
        Scored { row, signals }
    });
    Ok(scored.collect())
}

/// Columns that a CSV gets after those of the input.
const CSV_COLUMNS: [&str; 13] = [
    "language_known",
    "sentiment",
    "sentiment_confidence",
    "valence",
    "emotion",
    "intent",
    "intent_confidence",
    "in_scope",
    "act",
    "rules",
    "example_intents",
    "windows_dropped",
    "error",
];

enum Writer {
    Csv(Box<csv::Writer<File>>),
    JsonLines(BufWriter<File>),
}

impl Writer {
    /// Opens `part`, which becomes `path`.
    fn new(path: &Path, part: &Path, table: &Table) -> Result<Self> {
        let create = || File::create(part).with_context(|| format!("output file {}", part.display()));
        if Format::of(path) == Ok(Format::JsonLines) {
            return Ok(Self::JsonLines(BufWriter::new(create()?)));
        }
        if table.columns().is_empty() {
            bail!("output file {}: rows of JSON Lines have no fixed columns, so their output must be JSON Lines too", path.display());
        }
        let added = CSV_COLUMNS.iter().map(|name| format!("baton_{name}"));
        if let Some(taken) = added.clone().find(|name| table.columns().contains(name)) {
            bail!("the input has a column {taken:?} already");
        }
        let mut writer = csv::Writer::from_writer(create()?);
        writer.write_record(table.columns().iter().cloned().chain(added))?;
        Ok(Self::Csv(Box::new(writer)))
    }

    fn write(&mut self, scored: &Scored) -> Result<()> {
        match self {
            Self::JsonLines(writer) => {
                let mut object = scored.row.fields.clone();
                if object.contains_key("baton") {
                    bail!("line {}: the input has a key \"baton\" already", scored.row.line);
                }
                match &scored.signals {
                    Ok((signals, intents)) => {
                        let mut value = render::to_json(signals, Extras::default());
                        if let (Some(map), false) = (value.as_object_mut(), intents.is_empty()) {
                            map.insert("example_intents".into(), intents.iter().map(|(id, p)| (id.clone(), json!(p))).collect());
                        }
                        object.insert("baton".into(), value);
                    }
                    Err(error) => drop(object.insert("baton".into(), json!({"error": error}))),
                }
                writeln!(writer, "{}", Value::Object(object))?;
            }
            Self::Csv(writer) => {
                let cells = scored.row.fields.values().map(|v| v.as_str().unwrap_or_default().to_owned());
                writer.write_record(cells.chain(csv_cells(&scored.signals)))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        let file = match self {
            Self::Csv(writer) => writer.into_inner().map_err(|error| anyhow!("{}", error.error()))?,
            Self::JsonLines(writer) => writer.into_inner().map_err(|error| anyhow!("{}", error.error()))?,
        };
        Ok(file.sync_all()?)
    }
}

fn csv_cells(signals: &Result<RowSignals, String>) -> Vec<String> {
    let (signals, intents) = match signals {
        Ok(scored) => scored,
        Err(error) => return (1..CSV_COLUMNS.len()).map(|_| String::new()).chain([error.clone()]).collect(),
    };
    let number = |p: f32| format!("{p:.4}");
    let label = |c: &crate::signal::Classification| c.label().map(|(label, p)| (label.to_owned(), number(p.get()))).unwrap_or_default();
    let (sentiment, sentiment_confidence) = signals.sentiment.as_ref().map(label).unwrap_or_default();
    let (intent, intent_confidence) = signals.intent.as_ref().map(label).unwrap_or_default();
    let valence = signals.sentiment.as_ref().ok().and_then(crate::signal::Classification::valence);
    let emotion = signals.emotion.as_ref().map(|t| t.present.iter().map(|l| t.probabilities[*l].0.to_string()).collect::<Vec<_>>());
    let in_scope = signals.intent.as_ref().ok().and_then(|c| c.in_scope);
    let rules = render::lexical_cell(signals).replace(", ", "|");
    vec![
        signals.language.map(|l| l.known.to_string()).unwrap_or_default(),
        sentiment,
        sentiment_confidence,
        valence.map(number).unwrap_or_default(),
        emotion.unwrap_or_default().join("|"),
        intent,
        intent_confidence,
        in_scope.map(|p| number(p.get())).unwrap_or_default(),
        signals.act.as_ref().map(label).unwrap_or_default().0,
        if rules == "-" { String::new() } else { rules },
        intents.iter().map(|(id, p)| format!("{id}={}", number(*p))).collect::<Vec<_>>().join("|"),
        signals.windows.dropped.to_string(),
        String::new(),
    ]
}
