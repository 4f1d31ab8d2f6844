//! A text without its personal data, for everything that leaves the process.
//!
//! In: a text, what the rules found in it (byte offsets into this very text), and which of the optional kinds to mask. Out: the text with a fixed word in
//! brackets for each finding of personal data, and nothing else changed; borrowed where there is nothing to mask.
//!
//! Cannot fail, and masks in doubt: a span that ends inside a character takes the whole character, one that goes beyond the text ends with it, spans that
//! overlap become one. What the rules did not read (`model::lexical::READ_BYTES_MAX`) has no findings: who sends longer texts on must cut them there.

use std::borrow::Cow;
use std::ops::Range;

use crate::signal::{Finding, LexicalKind, PersonalData, Span};

/// Which kinds are masked beyond those that always are: an agent may need to write back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masking {
    /// E-mail addresses.
    pub email: bool,
    /// Telephone numbers.
    pub phone: bool,
}

impl Masking {
    /// Everything.
    pub const ALL: Self = Self { email: true, phone: true };

    fn covers(self, kind: PersonalData) -> bool {
        match kind {
            PersonalData::Email => self.email,
            PersonalData::Phone => self.phone,
            PersonalData::CardNumber | PersonalData::Iban | PersonalData::NationalId | PersonalData::Password | PersonalData::Token => true,
        }
    }
}

/// What stands in the place of personal data.
pub fn word(kind: PersonalData) -> &'static str {
    match kind {
        PersonalData::CardNumber => "[card number]",
        PersonalData::Iban => "[IBAN]",
        PersonalData::Email => "[e-mail]",
        PersonalData::Phone => "[phone number]",
        PersonalData::NationalId => "[national id]",
        PersonalData::Password => "[password]",
        PersonalData::Token => "[token]",
    }
}

/// A text without its personal data.
///
/// ```
/// use baton::handoff::mask::{Masking, mask};
/// use baton::signal::{Finding, LexicalKind, PersonalData, Span};
///
/// let finding = Finding { kind: LexicalKind::PersonalData(PersonalData::Password), span: Span { start: 15, end: 22 } };
/// assert_eq!(mask("my password is hunter2!", &[finding], Masking::default()), "my password is [password]!");
/// ```
pub fn mask<'a>(text: &'a str, findings: &[Finding], masking: Masking) -> Cow<'a, str> {
    mask_within(text, Span { start: 0, end: text.len() }, findings, masking)
}

/// A piece of a text without the personal data that overlaps it: a secret that only begins or ends in the piece is masked there as well.
pub fn mask_within<'a>(text: &'a str, span: Span, findings: &[Finding], masking: Masking) -> Cow<'a, str> {
    let piece = within(text, span);
    let regions = regions(text, findings, masking);
    let mut regions = regions.iter().filter(|(_, region)| region.start < piece.end && piece.start < region.end).peekable();
    if regions.peek().is_none() {
        return Cow::Borrowed(&text[piece]);
    }
    let mut masked = String::with_capacity(piece.len());
    let mut from = piece.start;
    for (kind, region) in regions {
        masked.push_str(&text[from..region.start.max(from)]);
        masked.push_str(word(*kind));
        from = region.end.min(piece.end);
    }
    masked.push_str(&text[from..piece.end]);
    Cow::Owned(masked)
}

/// What is masked, in the order of the text and without overlaps; of several that overlap, the longest gives the kind.
fn regions(text: &str, findings: &[Finding], masking: Masking) -> Vec<(PersonalData, Range<usize>)> {
    let personal = findings.iter().filter_map(|finding| match finding.kind {
        LexicalKind::PersonalData(kind) if masking.covers(kind) => Some((kind, within(text, finding.span))),
        _ => None,
    });
    let mut all: Vec<(PersonalData, Range<usize>)> = personal.filter(|(_, region)| !region.is_empty()).collect();
    all.sort_by_key(|(_, region)| (region.start, region.end));
    let mut joined: Vec<(PersonalData, Range<usize>)> = Vec::with_capacity(all.len());
    let mut longest = 0;
    for (kind, region) in all {
        match joined.last_mut().filter(|(_, last)| region.start < last.end) {
            None => {
                longest = region.len();
                joined.push((kind, region));
            }
            Some((last_kind, last)) => {
                if region.len() > longest {
                    (longest, *last_kind) = (region.len(), kind);
                }
                last.end = last.end.max(region.end);
            }
        }
    }
    joined
}

/// A span as whole characters of the text; the ends in either order.
fn within(text: &str, span: Span) -> Range<usize> {
    let (start, end) = (span.start.min(span.end), span.start.max(span.end));
    text.floor_char_boundary(start)..text.ceil_char_boundary(end.min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use PersonalData::{CardNumber, Email, Iban, NationalId, Password, Phone, Token};

    const TEXT: &str = "pw äöü, mail a@b.de";

    fn finding(kind: PersonalData, start: usize, end: usize) -> Finding {
        Finding { kind: LexicalKind::PersonalData(kind), span: Span { start, end } }
    }

    #[test]
    fn each_kind_has_its_word_and_the_optional_ones_their_option() {
        let one = |kind, masking| mask("x secret y", &[finding(kind, 2, 8)], masking).into_owned();
        let all = [CardNumber, Iban, NationalId, Password, Token, Email, Phone].map(|kind| one(kind, Masking::ALL));
        let words = ["card number", "IBAN", "national id", "password", "token", "e-mail", "phone number"];
        assert_eq!(all, words.map(|word| format!("x [{word}] y")));
        assert_eq!(one(Email, Masking { email: false, phone: true }), "x secret y");
        assert_eq!(one(Phone, Masking { email: true, phone: false }), "x secret y");
        assert_eq!(one(Password, Masking::default()), "x [password] y");
    }

    #[test]
    fn other_findings_change_nothing() {
        let other = Finding { kind: LexicalKind::Legal, span: Span { start: 0, end: 4 } };
        assert!(matches!(mask(TEXT, &[other], Masking::ALL), Cow::Borrowed(TEXT)));
        assert!(matches!(mask(TEXT, &[], Masking::ALL), Cow::Borrowed(TEXT)));
    }

    #[test]
    fn spans_that_do_not_fit_mask_in_doubt() {
        let cases: [(&[Finding], &str); 10] = [
            (&[finding(Password, 3, 9)], "pw [password], mail a@b.de"),
            (&[finding(Password, 4, 8)], "pw [password], mail a@b.de"),
            (&[finding(Password, 9, 3)], "pw [password], mail a@b.de"),
            (&[finding(Password, 16, 4000)], "pw äöü, mail [password]"),
            (&[finding(Password, 16, usize::MAX)], "pw äöü, mail [password]"),
            (&[finding(Password, 4000, 5000)], TEXT),
            (&[finding(Password, 3, 3)], TEXT),
            (&[finding(Token, 5, 12), finding(Password, 3, 9)], "pw [token]ail a@b.de"),
            (&[finding(Password, 3, 9), finding(Password, 3, 9)], "pw [password], mail a@b.de"),
            (&[finding(Password, 3, 5), finding(Token, 5, 9)], "pw [password][token], mail a@b.de"),
        ];
        for (findings, expected) in cases {
            assert_eq!(mask(TEXT, findings, Masking::ALL), expected, "{findings:?}");
        }
    }

    #[test]
    fn a_piece_masks_what_overlaps_it() {
        let text = "My card is 4111 1111. And 1111 1111 too.";
        let card = [finding(CardNumber, 11, 35)];
        let piece = |start, end| mask_within(text, Span { start, end }, &card, Masking::default()).into_owned();
        assert_eq!(piece(0, 21), "My card is [card number]");
        assert_eq!(piece(22, 40), "[card number] too.");
        assert_eq!(piece(15, 30), "[card number]");
        assert_eq!(piece(35, 40), " too.");
        assert_eq!((piece(0, 11), piece(40, 99), piece(99, 120)), ("My card is ".to_owned(), String::new(), String::new()));
    }
}
