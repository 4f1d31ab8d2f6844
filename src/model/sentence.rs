//! Text → sentences, by the Unicode rules (UAX #29) and by line breaks, which people type in place of full stops.
//!
//! Out: byte spans in order, blanks trimmed, at most the asked number.

use unicode_segmentation::UnicodeSegmentation;

use crate::signal::Span;

/// The first `most` sentences of a text.
pub fn split(text: &str, most: usize) -> Vec<Span> {
    text.split_sentence_bound_indices()
        .flat_map(|(start, sentence)| lines(start, sentence))
        .filter(|span| text[span.start..span.end].chars().any(char::is_alphanumeric))
        .take(most)
        .collect()
}

fn lines(start: usize, sentence: &str) -> impl Iterator<Item = Span> + '_ {
    sentence.split('\n').scan(start, |at, line| {
        let begin = *at + (line.len() - line.trim_start().len());
        *at += line.len() + 1;
        Some(Span { start: begin, end: begin + line.trim().len() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_at_stops_and_lines() {
        let cases: [(&str, &[&str]); 7] = [
            ("", &[]),
            ("...!", &[]),
            ("where is it", &["where is it"]),
            ("It broke. I want my money back!  Now?", &["It broke.", "I want my money back!", "Now?"]),
            ("hi\nmy order is late\n\n  please help ", &["hi", "my order is late", "please help"]),
            ("I paid 3.50 today.", &["I paid 3.50 today."]),
            ("überall. ñandú", &["überall.", "ñandú"]),
        ];
        for (text, expected) in cases {
            let found: Vec<&str> = split(text, 8).into_iter().map(|s| &text[s.start..s.end]).collect();
            assert_eq!(found, expected, "{text:?}");
        }
        assert_eq!(split(&"Go on. ".repeat(100), 8).len(), 8);
    }
}
