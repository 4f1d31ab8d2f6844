//! Text → sentences: by the Unicode rules (UAX #29), by line breaks, which people type in place of full stops, and after a full stop before a small
//! letter, since chats are written in small letters.
//!
//! Out: byte spans in order, blanks trimmed, at most the asked number.

use unicode_segmentation::UnicodeSegmentation;

use crate::signal::Span;

/// Words that end with a full stop inside a sentence.
const ABBREVIATIONS: &[&str] = &["etc", "approx", "mrs", "inc", "ltd", "dept", "acct", "jan", "feb", "aug", "sept", "oct", "nov", "dec"];
/// A full stop after a shorter word ("e.g.", "no. 5") ends no sentence before a small letter.
const WORD_CHARS_MIN: usize = 3;

/// The first `most` sentences of a text.
pub fn split(text: &str, most: usize) -> Vec<Span> {
    text.split_sentence_bound_indices()
        .flat_map(|(start, sentence)| parts(start, sentence))
        .filter(|span| text[span.start..span.end].chars().any(char::is_alphanumeric))
        .take(most)
        .collect()
}

/// The parts of a run between two Unicode bounds.
fn parts(start: usize, run: &str) -> Vec<Span> {
    let mut cuts: Vec<usize> = run.char_indices().filter(|(at, c)| ends_part(&run[..*at], *c)).map(|(at, _)| at).collect();
    cuts.push(run.len());
    let mut begin = 0;
    let mut spans = Vec::with_capacity(cuts.len());
    for end in cuts {
        let part = &run[begin..end];
        let from = start + begin + (part.len() - part.trim_start().len());
        spans.push(Span { start: from, end: from + part.trim().len() });
        begin = end;
    }
    spans
}

/// Whether a part ends before this blank.
fn ends_part(before: &str, blank: char) -> bool {
    if blank == '\n' {
        return true;
    }
    let words = before.trim_end_matches(['.', '!', '?']);
    if !blank.is_whitespace() || words.len() == before.len() {
        return false;
    }
    let letters = words.chars().rev().take_while(|c| c.is_alphanumeric()).count();
    let long_enough = letters >= WORD_CHARS_MIN;
    long_enough && !ABBREVIATIONS.iter().any(|word| words.len() >= word.len() && letters == word.len() && words.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_at_stops_and_lines() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("...!", &[]),
            ("where is it", &["where is it"]),
            ("It broke. I want my money back!  Now?", &["It broke.", "I want my money back!", "Now?"]),
            ("hi\nmy order is late\n\n  please help ", &["hi", "my order is late", "please help"]),
            ("I paid 3.50 today.", &["I paid 3.50 today."]),
            ("it broke again. i want my money back!! now", &["it broke again.", "i want my money back!!", "now"]),
            ("send it to approx. five of us, e.g. by mail", &["send it to approx. five of us, e.g. by mail"]),
            ("überall. ñandú", &["überall.", "ñandú"]),
        ];
        for (text, expected) in cases {
            let found: Vec<&str> = split(text, 8).into_iter().map(|s| &text[s.start..s.end]).collect();
            assert_eq!(found, expected, "{text:?}");
        }
        assert_eq!(split(&"Go on. ".repeat(100), 8).len(), 8);
    }
}
