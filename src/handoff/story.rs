//! A conversation as a person would read it: every turn with its words, its signals and its sentences. What summary and package are made from.

use crate::handoff::mask::{Masking, mask_within};
use crate::handoff::observation::{MessageSignals, Unscored};
use crate::message::Speaker;
use crate::signal::{Finding, Span};
use crate::time::Timestamp;

/// Most sentences that are looked at.
pub const SENTENCES_MAX: usize = 2_000;

/// One thing that was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Its place in the conversation, from 1.
    pub sequence: u32,
    /// Who said it.
    pub speaker: Speaker,
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
    /// What the rules found in it.
    pub findings: Vec<Finding>,
    /// Its signals, or why there are none.
    pub signals: Result<MessageSignals, Unscored>,
    /// Where its sentences stand.
    pub sentences: Vec<Span>,
}

/// A whole conversation, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// What was said.
    pub turns: Vec<Turn>,
}

/// A sentence with the turn that it is in.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The turn's place in the story, from 0.
    pub place: usize,
    /// The turn.
    pub turn: &'a Turn,
    /// Where the sentence stands.
    pub sentence: Span,
}

impl Said<'_> {
    /// Its words, masked and with nothing in them that is no text.
    pub fn words(&self, masking: Masking) -> String {
        plain(&mask_within(&self.turn.text, self.sentence, &self.turn.findings, masking))
    }
}

impl Story {
    /// The sentences of a speaker, in order; of a very long conversation the first and the last ones.
    pub fn sentences(&self, speaker: Speaker) -> Vec<Said<'_>> {
        let turns = self.turns.iter().enumerate().filter(|(_, turn)| turn.speaker == speaker);
        let all: Vec<Said<'_>> =
            turns.flat_map(|(place, turn)| turn.sentences.iter().map(move |sentence| Said { place, turn, sentence: *sentence })).collect();
        if all.len() <= SENTENCES_MAX {
            return all;
        }
        let half = SENTENCES_MAX / 2;
        all[..half].iter().chain(&all[all.len() - half..]).copied().collect()
    }

    /// The last turn of a speaker.
    pub fn last(&self, speaker: Speaker) -> Option<&Turn> {
        self.turns.iter().rev().find(|turn| turn.speaker == speaker)
    }
}

/// A text in one line, without characters that steer a terminal or turn the direction of reading.
pub fn plain(text: &str) -> String {
    let visible = |c: &char| !(c.is_control() || steers(*c));
    let one_line: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(visible).collect();
    one_line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Zero-width characters, direction marks and overrides, tags, and what else is never seen.
fn steers(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_not_kept() {
        assert_eq!(plain("a\u{202e}b\n\tc\u{200b}d \u{1b}[31m e"), "ab cd [31m e");
        assert_eq!(plain("  \u{2067} "), "");
    }
}
