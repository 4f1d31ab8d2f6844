//! Rules over the words of one message: who asks for a person, who declines one, and what must not leave the process unmasked.
//!
//! In: the text of one message, as it was typed. Out: a [`Lexical`], the findings in the order of the text.
//!
//! Spans are byte offsets on character boundaries. A finding of personal data covers exactly what must be masked (for a password, the secret
//! alone) and no two of those overlap; other kinds may overlap each other, since "don't transfer me" both declines and negates.
//! At most [`READ_BYTES_MAX`] bytes are read and at most [`FINDINGS_MAX`] findings are returned.
//!
//! Cannot fail: a text without findings gives an empty list. Each rule's search takes time linear in the bytes read, whatever the
//! text: a short message takes some 10 µs, 64 KiB of text made to be slow less than 0.1 s.
//!
//! The rules are our own, and English; what each is meant to find and to leave alone stands in the cases at the end of each file. To add a
//! rule, add a row to a table and a case that needs it:
//!
//! | to find | table |
//! |---|---|
//! | a wish for a person, or a refusal | `lexical/person.rs` |
//! | negation, legal, privacy, security | `lexical/topics.rs` |
//! | personal data | `lexical/personal_data.rs`; what is read as a plain digit, dash or space, `lexical/fold.rs` |

mod fold;
mod pattern;
mod person;
mod personal_data;
mod topics;

use self::fold::Folded;
use self::pattern::Cased;
use crate::signal::{Finding, Lexical, LexicalKind, Span};

/// Most bytes of a message that the rules read; the rest is ignored. Larger than what the model's windows cover, so no trigger sees less
/// text here than there, and small enough that no text takes 0.1 s. Whoever sends a longer text on must treat what
/// lies beyond as unmasked.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// Most findings of one message. A message that people write has a handful; the bound keeps a pasted log from filling the receipt.
pub const FINDINGS_MAX: usize = 64;

/// All rules, compiled. Compiling takes about 0.1 s and 30 MiB: make one at start-up and share it between threads.
#[derive(Debug)]
pub struct Lexicon {
    person: person::Rules,
    topics: topics::Rules,
    personal_data: personal_data::Rules,
}

impl Lexicon {
    /// Compiles every rule.
    #[expect(clippy::new_without_default, reason = "compiling is costly, and a default would hide that")]
    pub fn new() -> Self {
        Self { person: person::Rules::new(), topics: topics::Rules::new(), personal_data: personal_data::Rules::new() }
    }

    /// What the rules find in a text.
    pub fn find(&self, text: &str) -> Lexical {
        let text = &text[..text.floor_char_boundary(READ_BYTES_MAX)];
        let secrets = self.personal_data.find(text);
        let mut findings = self.wishes(text);
        // A word inside an address or a password says nothing about what the customer wants.
        findings.retain(|finding| !overlaps_any(finding.span, &secrets));
        findings.extend(secrets);
        Lexical { findings: bounded(findings) }
    }
}

impl Lexicon {
    /// What the customer wants and speaks of, read as it looks: a character without width inside "person" hides nothing.
    fn wishes(&self, text: &str) -> Vec<Finding> {
        let find = |text: &str| {
            let text = Cased::of(text);
            [self.person.find(&text), self.topics.find(&text)].concat()
        };
        if text.is_ascii() {
            return find(text);
        }
        let folded = Folded::of(text);
        let mut findings = find(&folded.text);
        findings
            .iter_mut()
            .filter(|finding| finding.span.start < finding.span.end)
            .for_each(|finding| finding.span = folded.origin(finding.span));
        findings
    }
}

/// `findings` must be in the order of the text and free of overlaps, as those of personal data are.
fn overlaps_any(span: Span, findings: &[Finding]) -> bool {
    let next = findings.partition_point(|finding| finding.span.end <= span.start);
    findings.get(next).is_some_and(|finding| finding.span.start < span.end)
}

/// Drops what is over the bound, least important first, and sorts by place.
fn bounded(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| (importance(finding.kind), finding.span.start, finding.span.end));
    if let Some(over) = findings.get(FINDINGS_MAX..) {
        // More personal data than the bound, so that all that is kept is personal data: the last finding stretches over
        // the rest, since masking too much does less harm.
        let hidden_end = over.iter().filter(|finding| is_personal(finding.kind)).map(|finding| finding.span.end).max();
        findings.truncate(FINDINGS_MAX);
        if let (Some(end), Some(last)) = (hidden_end, findings.last_mut()) {
            last.span.end = end;
        }
    }
    findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
    findings
}

fn is_personal(kind: LexicalKind) -> bool {
    matches!(kind, LexicalKind::PersonalData(_))
}

/// What to keep when there is too much, most important (0) first: what must be masked, then what triggers read, then mere evidence.
fn importance(kind: LexicalKind) -> u8 {
    match kind {
        LexicalKind::PersonalData(_) => 0,
        LexicalKind::AsksForPerson | LexicalKind::DeclinesPerson => 1,
        LexicalKind::Legal | LexicalKind::Privacy | LexicalKind::Security => 2,
        LexicalKind::Negation => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::PersonalData;

    #[test]
    fn what_is_not_seen_hides_nothing() {
        let text = "No, let me talk to a re\u{200b}al pers\u{ad}on, “please”";
        let found = Lexicon::new().find(text).findings;
        let asks = found.iter().find(|finding| finding.kind == LexicalKind::AsksForPerson).expect("it is found");
        assert!(text[asks.span.start..asks.span.end].contains("pers\u{ad}on"), "{asks:?}");
    }

    fn kinds(text: &str) -> Vec<LexicalKind> {
        Lexicon::new().find(text).findings.iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn findings_stand_in_the_order_of_the_text() {
        use LexicalKind::{AsksForPerson, Legal, Negation, Security};
        let found = kinds("My card was stolen. I will not wait: my lawyer is at a@b.com. Get me a human!");
        assert_eq!(found, [Security, Negation, Legal, LexicalKind::PersonalData(PersonalData::Email), AsksForPerson]);
    }

    #[test]
    fn words_within_personal_data_say_nothing() {
        assert_eq!(kinds("lawsuit@not.com"), [LexicalKind::PersonalData(PersonalData::Email)]);
    }

    #[test]
    fn findings_are_bounded_and_what_must_be_masked_is_kept() {
        let lexicon = Lexicon::new();
        let found = lexicon.find(&format!("{} bob@example.com", "not ".repeat(1000)));
        assert_eq!(found.findings.len(), FINDINGS_MAX);
        assert!(found.has(LexicalKind::PersonalData(PersonalData::Email)));

        let text = "bob@example.com ".repeat(2 * FINDINGS_MAX);
        let found = lexicon.find(&text);
        assert_eq!(found.findings.len(), FINDINGS_MAX);
        assert_eq!(found.findings.last().map(|finding| finding.span.end), Some(text.len() - 1), "the last one stretches over the rest");
    }

    #[test]
    fn only_the_beginning_is_read() {
        let lexicon = Lexicon::new();
        // A character of four bytes straddles the bound.
        let filler = format!("{}😡", "a".repeat(READ_BYTES_MAX - 2));
        assert_eq!(lexicon.find(&format!("{filler} talk to a human")), Lexical::default());
        assert!(lexicon.find(&format!("talk to a human {filler}")).has(LexicalKind::AsksForPerson));
    }

    #[test]
    fn strange_texts_do_no_harm() {
        let lexicon = Lexicon::new();
        for (part, times) in [
            ("", 0),
            ("😡", 100_000),
            ("\0\u{1}\u{7f}", 10_000),
            ("e\u{301}\u{302}", 20_000),
            ("\u{200d}\u{fe0f}", 20_000),
            ("@", 70_000),
            ("a@b.", 20_000),
            ("1 ", 40_000),
            ("4111 ", 14_000),
            ("DE89 ", 14_000),
            ("-----BEGIN PRIVATE KEY-----", 3_000),
            ("-----BEGIN ", 7_000),
            ("password is ", 6_000),
            ("don't want to talk to the ", 3_000),
            ("don’t ", 10_000),
            ("agent ", 11_000),
            ("real ", 14_000),
            ("password: “", 7_000),
        ] {
            check_bounds(&lexicon, &part.repeat(times));
        }
    }

    #[test]
    fn spans_stand_on_character_boundaries() {
        const PARTS: &[&str] = &[
            " ",
            " ",
            " ",
            "I want ",
            "a human",
            "don’t ",
            "agent",
            "😡",
            "ß",
            "\u{301}",
            "\n",
            ".",
            ",",
            "4111 1111 1111 1111",
            "password is ",
            "“hunter2”",
            "é",
            "bob@example.com",
            "+49 151 23456789",
            "DE89370400440532013000",
            "sue you",
            "delete my data",
            "stolen",
            "'",
            "\u{a0}",
            "-----BEGIN PRIVATE KEY-----",
            "api key: ",
            "a1b2c3d4e5",
            "pin ",
            "4821",
            "：",
            "١٢٣",
            "ſ",
            "İ",
        ];
        let lexicon = Lexicon::new();
        let mut state = 1_u64;
        for _ in 0..2_000 {
            let text: String = (0..12).map(|_| PARTS[next(&mut state) % PARTS.len()]).collect();
            check_bounds(&lexicon, &text);
        }
    }

    /// A linear congruential generator: the same texts on every machine.
    fn next(state: &mut u64) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*state >> 40).expect("24 bits fit")
    }

    fn check_bounds(lexicon: &Lexicon, text: &str) {
        let findings = lexicon.find(text).findings;
        assert!(findings.len() <= FINDINGS_MAX);
        assert!(findings.is_sorted_by_key(|finding| finding.span.start));
        for finding in &findings {
            let Span { start, end } = finding.span;
            assert!(start < end && text.get(start..end).is_some(), "{finding:?} in {text:?}");
        }
        let personal: Vec<_> = findings.iter().filter(|finding| is_personal(finding.kind)).collect();
        assert!(personal.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start), "personal data overlaps in {text:?}");
    }
}
