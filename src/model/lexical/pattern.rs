//! The notation of the rule tables, and its compilation to regular expressions.
//!
//! In: a pattern as a row writes it. Out: a [`Matcher`] over several rows.
//!
//! A row reads like the words it finds. Beyond the syntax of the `regex` crate:
//!
//! | in a row | means |
//! |---|---|
//! | a space | any white space |
//! | `'` | any apostrophe, or none: "don't", "don’t", "dont" |
//! | `<name>` | the fragment of that name |
//! | `<end>` | the end of the text, or a punctuation mark |
//!
//! Letters match in either case, but for `(?-i:Sue)`; a match starts and ends at the edge of a word. Only ASCII letters make words: that keeps the automata small,
//! and the rules are English. A wrong pattern panics when the lexicon is made, which every test does.

use crate::signal::Span;
use regex::{Regex, RegexBuilder};

/// One row of a table: a name for the reader, and what to find.
pub(super) type Row = (&'static str, &'static str);

/// A named part that several rows share. A fragment may use those that stand before it in its table.
pub(super) type Fragment = (&'static str, &'static str);

/// A text as it was written and in lower case; both have the same places.
#[derive(Debug)]
pub(super) struct Cased<'t> {
    pub(super) written: &'t str,
    pub(super) lower: String,
}

impl<'t> Cased<'t> {
    pub(super) fn of(written: &'t str) -> Self {
        Self { written, lower: written.to_ascii_lowercase() }
    }
}

/// Rows compiled to one expression. Where no row cares for case it reads the text in lower case: automata for letters of either case take twice the memory.
#[derive(Debug)]
pub(super) struct Matcher {
    expression: Regex,
    reads_lower: bool,
}

impl Matcher {
    /// Matches a row wherever it stands in a text; of two rows that match at one place, the earlier wins.
    pub(super) fn anywhere(rows: &[Row], fragments: &[Fragment]) -> Self {
        compile(rows, fragments, "", "")
    }

    /// Matches only if a row covers the whole text.
    pub(super) fn whole(rows: &[Row], fragments: &[Fragment]) -> Self {
        compile(rows, fragments, "^(?:", ")$")
    }

    /// The matches, in the order of the text and without overlaps, trimmed of punctuation at the end.
    pub(super) fn spans<'a>(&'a self, text: &'a Cased<'_>) -> impl Iterator<Item = Span> + 'a {
        let text = if self.reads_lower { text.lower.as_str() } else { text.written };
        self.expression.find_iter(text).map(|found| Span { start: found.start(), end: found.start() + word_end(found.as_str()) })
    }

    /// Whether there is any match in a part of a text, given in lower case; rows that care for case never match there.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.expression.is_match(text)
    }
}

/// The spans that none of the others overlap; both in the order of the text. The others are asked for only if there is something to
/// drop, since most messages have nothing.
pub(super) fn without(mut spans: Vec<Span>, others: impl Fn() -> Vec<Span>) -> Vec<Span> {
    if spans.is_empty() {
        return spans;
    }
    let others = others();
    spans.retain(|span| {
        let next = others.partition_point(|other| other.end <= span.start);
        others.get(next).is_none_or(|other| other.start >= span.end)
    });
    spans
}

/// Compiles one constant expression as it stands, for rules outside this notation.
pub(super) fn expression(pattern: &str) -> Regex {
    RegexBuilder::new(pattern).build().expect("a constant rule compiles")
}

fn word_end(text: &str) -> usize {
    text.trim_end_matches(|c: char| c.is_ascii_punctuation() || c.is_ascii_whitespace()).len()
}

fn compile(rows: &[Row], fragments: &[Fragment], before: &str, after: &str) -> Matcher {
    let rows: Vec<String> = rows.iter().map(|(_, pattern)| edges(&expand(pattern, fragments))).collect();
    // An escape such as \B says nothing of case.
    let is_upper = |pair: &[u8]| pair[1].is_ascii_uppercase() && pair[0] != b'\\';
    let reads_lower = !rows.iter().any(|row| row.as_bytes().windows(2).any(is_upper));
    let flags = if reads_lower { "(?-u)" } else { "(?i-u)" };
    let pattern = format!("{flags}{before}(?:{}){after}", rows.join("|"));
    let expression = RegexBuilder::new(&pattern)
        .size_limit(PROGRAM_BYTES_MAX)
        .dfa_size_limit(DFA_BYTES_MAX)
        .build()
        .expect("every table of rules compiles");
    Matcher { expression, reads_lower }
}

/// Above what our largest table takes; reached only by a row whose repetitions multiply.
const PROGRAM_BYTES_MAX: usize = 32 << 20;

/// Per table and thread. The default of the crate (2 MiB) holds too few states of the larger tables: it then falls back to a search that is a
/// hundred times slower. Measured on 140,000 messages of seven corpora: 8 MiB is as fast as 16,
/// and all tables together used about 10 MiB of it.
const DFA_BYTES_MAX: usize = 8 << 20;

/// Not `\b` at the end, since a row may end with a punctuation mark.
fn edges(pattern: &str) -> String {
    format!(r"\b(?:{pattern})\b{{end-half}}")
}

fn expand(pattern: &str, fragments: &[Fragment]) -> String {
    let mut pattern = pattern.to_owned();
    // Backwards, since a fragment uses earlier ones.
    for (name, part) in fragments.iter().rev() {
        pattern = pattern.replace(&format!("<{name}>"), &format!("(?:{part})"));
    }
    let pattern = pattern.replace("<end>", r"\s*(?:$|[.,;:!?\n)])");
    pattern.replace('\'', "(?:'|’|‘|´|`)?").replace(" ?", r"\s*").replace(' ', r"\s+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation() {
        let matcher = Matcher::anywhere(&[("a", "don't <go>"), ("b", "stop<end>")], &[("far", "far|away"), ("go", "go|walk ?<far>")]);
        let spans = |text: &str| matcher.spans(&Cased::of(text)).collect::<Vec<_>>();
        assert_eq!(spans("DONT  go, don’t walk far, don't\nwalkaway, don't going").len(), 3);
        assert_eq!(spans("stopper, stop it"), []);
        assert_eq!(spans("so Stop !"), [Span { start: 3, end: 7 }]);
        let name = Matcher::anywhere(&[("name", "(?-i:Sue) said")], &[]);
        let spans = |text: &str| name.spans(&Cased::of(text)).count();
        assert_eq!((spans("Sue SAID"), spans("sue said"), name.reads_lower, matcher.reads_lower), (1, 0, false, true));
    }
}
