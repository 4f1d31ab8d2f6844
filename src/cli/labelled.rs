//! Labelled messages from files, for fitting and measuring: all rows or the first fault.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};

use super::table::Table;
use crate::model::head::Kind;
use crate::model::train::{ROWS_MAX, Targets};

/// Most bytes of all messages together: what a fit holds in memory beside the vectors.
const BYTES_MAX: usize = 2 << 30;

/// Where the labelled messages are.
#[derive(Clone, Debug, clap::Args)]
pub struct LabelledArguments {
    /// CSV or JSON Lines file with labelled messages; may be given several times.
    #[arg(long, required = true, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Column with the message.
    #[arg(long, value_name = "NAME")]
    pub text_column: String,
    /// Column with the label.
    #[arg(long, value_name = "NAME")]
    pub label_column: String,
    /// The label column holds any number of labels, separated by this character.
    #[arg(long, value_name = "CHAR")]
    pub label_separator: Option<char>,
}

/// Rows in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labelled {
    /// The messages.
    pub texts: Vec<String>,
    /// The bot's turn before each, where its column was named; else empty.
    pub proposals: Vec<String>,
    /// The labels of each; one, unless a separator was given.
    pub labels: Vec<Vec<String>>,
    /// File and line of each, for faults.
    pub places: Vec<String>,
}

impl LabelledArguments {
    /// Reads all files; `proposal_column` names the column of the bot's turns, which then every row must have.
    pub fn read(&self, proposal_column: Option<&str>) -> Result<Labelled> {
        let columns: Vec<&str> = [self.text_column.as_str(), &self.label_column].into_iter().chain(proposal_column).collect();
        let mut all = Labelled::default();
        let mut bytes = 0;
        for path in &self.data {
            for row in Table::open(path, &columns)? {
                let row = row?;
                let text = row.text(&self.text_column).map_err(|what| anyhow!("{}: {what}", path.display()))?;
                let label = row.text(&self.label_column).map_err(|what| anyhow!("{}: {what}", path.display()))?;
                let place = format!("{}: line {}", path.display(), row.line);
                let labels: Vec<String> = match self.label_separator {
                    Some(separator) => label.split(separator).map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect(),
                    None if label.trim().is_empty() => bail!("{place}: {}: found nothing, expected a label", self.label_column),
                    None => vec![label.trim().to_owned()],
                };
                if text.trim().is_empty() {
                    bail!("{place}: {}: found nothing, expected a message", self.text_column);
                }
                let proposal =
                    proposal_column.map(|column| row.text(column).map_err(|what| anyhow!("{}: {what}", path.display()))).transpose()?;
                if let (Some(column), Some("")) = (proposal_column, proposal.map(str::trim)) {
                    bail!("{place}: {column}: found nothing, expected the bot's turn");
                }
                bytes += text.len() + label.len() + proposal.map_or(0, str::len);
                if bytes > BYTES_MAX {
                    bail!("{place}: more than {BYTES_MAX} bytes of messages and labels");
                }
                all.texts.push(text.to_owned());
                all.labels.push(labels);
                all.proposals.extend(proposal.map(str::to_owned));
                if all.texts.len() > ROWS_MAX {
                    bail!("{place}: more than {ROWS_MAX} rows");
                }
                all.places.push(place);
            }
        }
        if all.texts.is_empty() {
            bail!("{}: no rows", self.data.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "));
        }
        Ok(all)
    }
}

impl Labelled {
    /// Labels as indices into their sorted names.
    pub fn targets(&self, kind: Kind) -> Targets {
        let mut labels: Vec<String> = self.labels.iter().flatten().cloned().collect();
        labels.sort();
        labels.dedup();
        let index = |label: &String| labels.binary_search(label).expect("every label is among all labels") as u32;
        let rows = self.labels.iter().map(|row| {
            let mut row: Vec<u32> = row.iter().map(index).collect();
            row.sort_unstable();
            row.dedup();
            row
        });
        Targets { kind, rows: rows.collect(), labels }
    }
}
