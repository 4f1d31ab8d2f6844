//! A text with its digits, dashes, quotes and spaces as a plain keyboard sets them, so that rules written for those find "４１１１–１１１１" as well.
//!
//! In: a text. Out: the folded text, and for each of its bytes where the character stands that it came from. Digits of other scripts, letters and signs of full
//! width, dashes, quotes and spaces of typesetting become ASCII; what has no width is dropped; everything else stays. Cannot fail; linear in the bytes.

use crate::signal::Span;

/// A folded text with the way back.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) text: String,
    /// For each byte of the text, the character that it came from.
    origins: Vec<Span>,
}

impl Folded {
    pub(super) fn of(text: &str) -> Self {
        let mut folded = Self { text: String::with_capacity(text.len()), origins: Vec::with_capacity(text.len()) };
        for (start, c) in text.char_indices() {
            if let Some(plain) = plain(c) {
                folded.text.push(plain);
                let origin = Span { start, end: start + c.len_utf8() };
                folded.origins.extend(std::iter::repeat_n(origin, plain.len_utf8()));
            }
        }
        folded
    }

    /// Where a piece of the folded text, which is not empty, stands in the text.
    pub(super) fn origin(&self, span: Span) -> Span {
        Span { start: self.origins[span.start].start, end: self.origins[span.end - 1].end }
    }
}

/// The zeros of the scripts whose digits follow in order, from the Unicode character database (category Nd).
const ZEROS: [u32; 24] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x17e0,
    0x1810, 0xff10, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6,
];

fn plain(c: char) -> Option<char> {
    if c.is_ascii() {
        return Some(c);
    }
    match c {
        // Soft hyphen, zero width, marks of direction, the variation selectors and the box of keycap digits.
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => {
            None
        }
        '\u{20e3}' => None,
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Some(' '),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => Some('-'),
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' => Some('\''),
        '\u{201c}'..='\u{201f}' => Some('"'),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0),
        _ => Some(digit(c).unwrap_or(c)),
    }
}

fn digit(c: char) -> Option<char> {
    let code = u32::from(c);
    let zero = ZEROS.into_iter().find(|zero| (*zero..zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_folded_leads_back() {
        for (text, folded) in [
            ("plain 12-3", "plain 12-3"),
            ("４１１１–１１１１", "4111-1111"),
            ("٤١١١ ߁ 𝟏𝟗", "4111 1 19"),
            ("Ｃａｒｄ\u{a0}ä", "Card ä"),
            ("1\u{200b}2\u{fe0f}\u{20e3}3\u{ad}", "123"),
            ("", ""),
        ] {
            assert_eq!(Folded::of(text).text, folded);
        }
        let text = "nr ４１\u{200b}１ ü";
        let span = Folded::of(text).origin(Span { start: 3, end: 6 });
        assert_eq!(&text[span.start..span.end], "４１\u{200b}１");
    }
}
