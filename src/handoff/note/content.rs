//! What a note says, before it is written for a helpdesk: the head, the parts under it, and what was left out so that it fits.
//!
//! In goes a package and a [`Limit`]; out comes the longest note within it. Parts go from the least important, then lines of the head, until one line is
//! left, which is cut; the last line of the note says what went. The text of a customer is made harmless by [`defused`] before a target escapes it.

use crate::handoff::package::Package;
use crate::handoff::package::head::head;
use crate::handoff::package::render::{Section, sections};
use crate::handoff::story::plain;

/// No limit is below this: one line of the head with the words that something was left out.
pub const LENGTH_MIN: usize = 100;
/// Characters of one line or entry; a longer one is cut. Our choice: three lines on a screen of 1280 pixels.
const ENTRY_CHARS_MAX: usize = 400;

/// How a helpdesk counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of UTF-8.
    Bytes,
    /// Unicode scalar values, as JSON Schema counts.
    Characters,
}

/// The length that a note may have, markup included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub most: usize,
    /// Of what.
    pub unit: Unit,
}

impl Limit {
    /// Whether a note is within it.
    pub fn holds(self, note: &str) -> bool {
        let length = match self.unit {
            Unit::Bytes => note.len(),
            Unit::Characters => note.chars().count(),
        };
        length <= self.most
    }

    /// The same or less, never below [`LENGTH_MIN`].
    pub fn at_most(self, most: Option<usize>) -> Self {
        Self { most: most.map_or(self.most, |most| most.max(LENGTH_MIN).min(self.most)), ..self }
    }
}

/// A line of the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who, What, Tried, Feeling, Why or Next.
    pub name: &'static str,
    /// What it says, as it was said: a target makes it harmless and escapes it.
    pub text: String,
}

/// What a note says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The head, first.
    pub head: Vec<Line>,
    /// The parts under it.
    pub sections: Vec<Section>,
    /// The line that stays longest.
    keep: &'static str,
    dropped_lines: Vec<&'static str>,
    dropped_sections: Vec<&'static str>,
}

impl Content {
    /// All of a package.
    pub fn of(package: &Package) -> Self {
        let line = |(name, text): (&'static str, String)| Line { name, text: cut(&plain(&text), ENTRY_CHARS_MAX) };
        let mut sections = sections(package);
        for item in sections.iter_mut().flat_map(|section| &mut section.items) {
            *item = cut(&plain(item), ENTRY_CHARS_MAX);
        }
        let keep = if package.summary.value().is_some() { "What" } else { "Next" };
        let head = head(package).into_iter().map(line).collect();
        Self { head, sections, keep, dropped_lines: Vec::new(), dropped_sections: Vec::new() }
    }

    /// Takes the least important part away; false where one line is left.
    fn drop_least(&mut self) -> bool {
        let least = self.sections.iter().enumerate().min_by_key(|(_, section)| section.importance).map(|(place, _)| place);
        if let Some(place) = least {
            self.dropped_sections.push(self.sections.remove(place).title);
            return true;
        }
        // Whoever reads only one line must learn what it is about; how they feel shows in what they wrote.
        let order = ["Feeling", "Tried", "Why", "Who", "Next", "What"];
        let least = order.iter().filter(|name| **name != self.keep).find_map(|name| self.head.iter().position(|line| line.name == *name));
        let Some(place) = least.filter(|_| self.head.len() > 1) else { return false };
        self.dropped_lines.push(self.head.remove(place).name);
        true
    }

    /// What the last line says, where something was left out.
    pub fn left_out(&self) -> Option<String> {
        if self.dropped_sections.is_empty() && self.dropped_lines.is_empty() {
            return None;
        }
        Some(match (self.head.len(), self.sections.is_empty()) {
            (0 | 1, _) => "Left out: all else.".to_owned(),
            (_, false) => format!("Left out, as it is too long here: {}.", self.dropped_sections.join(", ")),
            _ if self.dropped_lines.is_empty() => "Left out, as it is too long here: all details.".to_owned(),
            _ => format!("Left out, as it is too long here: {} and all details.", self.dropped_lines.join(", ")),
        })
    }
}

/// The longest note within a limit.
pub fn fit(package: &Package, limit: Limit, write: impl Fn(&Content) -> String) -> String {
    let mut content = Content::of(package);
    loop {
        let note = write(&content);
        if limit.holds(&note) {
            return note;
        }
        if !content.drop_least() {
            return shortened(content, limit, write);
        }
    }
}

/// The last line with as many of its characters as fit.
fn shortened(mut content: Content, limit: Limit, write: impl Fn(&Content) -> String) -> String {
    let Some(line) = content.head.first().cloned() else { return write(&content) };
    let mut keeping = |chars: usize| {
        content.head[0].text = cut(&line.text, chars);
        write(&content)
    };
    let (mut fits, mut too_many) = (0, line.text.chars().count());
    while too_many - fits > 1 {
        let chars = fits.midpoint(too_many);
        if limit.holds(&keeping(chars)) { fits = chars } else { too_many = chars }
    }
    keeping(fits)
}

/// The beginning of a text, at the end of a word where there is one in its second half.
fn cut(text: &str, chars: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(chars) else { return text.to_owned() };
    let begin = &text[..end];
    let begin = begin.rfind(' ').filter(|blank| 2 * blank >= end).map_or(begin, |blank| &begin[..blank]);
    format!("{}…", begin.trim_end_matches([' ', '.', ',', ';', ':', '…']))
}

/// A text in one line that no helpdesk makes into a link, a mention, a reference to a ticket or a template, whatever a customer wrote. Nothing is taken
/// away but what is never seen: brackets stand around what would have become one (`evil[.]example`, `http:[//]`, `[@]anna`, `[#]77`, `ww[w]`), as is the
/// custom for addresses that must not be opened, and a blank between the two characters that would open or close a template (`{ {`, `{ %`, `# {`, `: :`).
///
/// Held against `linkify-it` (Chatwoot's), the autolinks of GitHub's Markdown (Chatwoot's mails) and the patterns of Zammad's sanitizer, where `www` alone
/// begins an address and `//` needs no scheme.
pub fn defused(text: &str) -> String {
    let chars: Vec<char> = plain(text).chars().collect();
    let mut out = String::with_capacity(chars.len() + 8);
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest = &chars[at + 1..];
        let next = rest.first().copied();
        let letters = rest.iter().take(2).filter(|c| c.is_alphabetic()).count();
        let within = at.checked_sub(1).is_some_and(|before| !(chars[before].is_whitespace() || chars[before] == '.'));
        match c {
            '/' if next == Some('/') => {
                out.push_str("[//]");
                at += 1;
            }
            'w' | 'W' if rest.len() >= 2 && rest[..2].iter().all(|c| matches!(c, 'w' | 'W')) => {
                out.extend([c, rest[0], '[', rest[1], ']']);
                at += 2;
            }
            '.' if within && letters == 2 => out.push_str("[.]"),
            '@' if next.is_some_and(|next| !next.is_whitespace()) => out.push_str("[@]"),
            '#' if next.is_some_and(char::is_numeric) => out.push_str("[#]"),
            _ => {
                out.push(c);
                if next.is_some_and(|next| is_template(c, next)) {
                    out.push(' ');
                }
            }
        }
        at += 1;
    }
    out
}

/// Liquid (Zendesk, Freshdesk, Intercom, Chatwoot), `#{...}` and `::` (Zammad), `${...}` and `<%...%>` of what may come after them.
fn is_template(c: char, next: char) -> bool {
    matches!((c, next), ('{', '{' | '%' | '#') | ('}', '}') | ('%' | '#', '}') | ('#' | '$', '{') | (':', ':') | ('<', '%') | ('%', '>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_become_something_is_defused_and_can_be_read() {
        for (text, expected) in [
            ("see http://evil.example/x?a=1", "see http:[//]evil[.]example/x?a=1"),
            ("//evil.example and WWW.evil.example", "[//]evil[.]example and WW[W][.]evil[.]example"),
            ("wwwwwww.x", "ww[w]ww[w]w.x"),
            ("mail me: anna@mail.example, @bob", "mail me: anna[@]mail[.]example, [@]bob"),
            ("@@everyone", "[@][@]everyone"),
            ("order #4411, # 3 @ home", "order [#]4411, # 3 @ home"),
            ("{{ticket.comments}} {% raw %} #{user.name} ::faq ${x}", "{ {ticket[.]comments} } { % raw % } # {user[.]name} : :faq $ {x}"),
            ("{{{{", "{ { { {"),
            ("<%= x %>", "< %= x % >"),
            ("at 5 p.m. with 11.1.2, e.g. now... and then", "at 5 p.m. with 11.1.2, e.g. now... and then"),
            ("💩.la пример.рф", "💩[.]la пример[.]рф"),
            ("ht\u{200b}tp:/\u{2060}/e\u{202e}vil\u{ad}.com", "http:[//]evil[.]com"),
            ("[x](mention://user/1/x)", "[x](mention:[//]user/1/x)"),
        ] {
            assert_eq!(defused(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_cut_at_a_word() {
        assert_eq!(cut("one two three", 13), "one two three");
        assert_eq!(cut("one two three", 9), "one two…");
        assert_eq!(cut("one, twothreefour", 12), "one, twothre…");
        assert_eq!(cut("äöü", 0), "…");
    }

    #[test]
    fn a_limit_counts_as_the_helpdesk_does() {
        let (bytes, characters) = (Limit { most: 4, unit: Unit::Bytes }, Limit { most: 4, unit: Unit::Characters });
        assert!(bytes.holds("äö") && !bytes.holds("äöü") && characters.holds("äöü€") && !characters.holds("äöü€x"));
        assert_eq!(Limit { most: 500, unit: Unit::Bytes }.at_most(Some(3)).most, LENGTH_MIN);
        assert_eq!(Limit { most: 500, unit: Unit::Bytes }.at_most(Some(900)).most, 500);
    }
}
