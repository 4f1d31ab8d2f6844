//! How a sentence is retold to a third: first person turned, addresses and greetings left out, cut at a natural end. No word is added but function words.

use crate::message::Speaker;

/// Words with which a message begins before it says something.
const OPENERS: &[&str] = &[
    "hi",
    "hello",
    "hey",
    "hiya",
    "dear",
    "greetings",
    "so",
    "well",
    "ok",
    "okay",
    "and",
    "but",
    "please",
    "pls",
    "yeah",
    "hmm",
    "um",
    "oh",
    "thanks",
    "thank",
    "sorry",
    "good",
    "morning",
    "afternoon",
    "evening",
    "day",
    "there",
    "team",
    "again",
    "all",
    "guys",
];
/// Openers that only count after another one.
const SECOND: &[&str] = &["morning", "afternoon", "evening", "day", "there", "team", "again", "all", "guys", "good"];
/// Before these, "you" is who does something.
const DOES: &[&str] = &[
    "can",
    "can't",
    "cannot",
    "could",
    "couldn't",
    "will",
    "won't",
    "would",
    "wouldn't",
    "should",
    "may",
    "might",
    "must",
    "need",
    "have",
    "haven't",
    "had",
    "are",
    "aren't",
    "were",
    "weren't",
    "want",
    "do",
    "don't",
    "did",
    "didn't",
    "see",
    "get",
    "got",
    "like",
    "know",
    "try",
    "tried",
    "use",
    "used",
    "make",
    "made",
    "send",
    "sent",
    "say",
    "said",
    "cut",
    "charge",
    "charged",
    "overcharged",
    "moved",
    "promised",
    "told",
    "took",
    "keep",
    "never",
    "still",
    "also",
    "just",
    "go",
    "went",
    "ordered",
    "bought",
    "paid",
    "pay",
    "log",
    "open",
    "click",
    "call",
    "called",
    "receive",
    "received",
    "hold",
    "erase",
    "owe",
    "offer",
    "provide",
    "store",
];
/// After these, "you" is who does something.
const WHO_DOES: &[&str] = &[
    "if", "when", "once", "before", "after", "until", "while", "where", "what", "how", "why", "because", "would", "could", "should", "do",
    "did", "are", "have", "can", "will", "dare", "that", "which",
];
/// What the bot does, as one tells it of another.
const OF_THE_BOT: &[(&str, &str)] = &[
    ("see", "sees"),
    ("know", "knows"),
    ("think", "thinks"),
    ("need", "needs"),
    ("want", "wants"),
    ("recommend", "recommends"),
    ("suggest", "suggests"),
    ("understand", "understands"),
    ("hope", "hopes"),
    ("believe", "believes"),
    ("show", "shows"),
];

/// Whether "you" is who does something, by the words around it.
fn is_subject(before: Option<&str>, after: Option<&str>) -> bool {
    let is_in = |word: Option<&str>, list: &[&str]| word.is_some_and(|word| list.contains(&word.to_lowercase().replace('’', "'").as_str()));
    // "The laptop you repaired".
    let did = after.is_some_and(|word| word.len() >= 5 && word.to_lowercase().ends_with("ed"));
    before.is_none() || did || is_in(after, DOES) || is_in(before, WHO_DOES)
}

/// What a word of the customer, or of the bot, becomes.
fn turned(word: &str, before: Option<&str>, after: Option<&str>, speaker: Speaker) -> Option<&'static str> {
    let word = word.to_lowercase().replace('’', "'");
    let after_i = before.is_some_and(|before| before.eq_ignore_ascii_case("i"));
    Some(match (speaker, word.as_str()) {
        (Speaker::Customer, "i" | "we") => "they",
        (Speaker::Customer, "i'm" | "im" | "we're") => "they are",
        (Speaker::Customer, "i've" | "ive" | "we've") => "they have",
        (Speaker::Customer, "i'd" | "we'd") => "they would",
        (Speaker::Customer, "i'll" | "we'll") => "they will",
        (Speaker::Customer, "my" | "our") => "their",
        (Speaker::Customer, "me" | "us") => "them",
        (Speaker::Customer, "mine" | "ours") => "theirs",
        (Speaker::Customer, "myself" | "ourselves") => "themselves",
        (Speaker::Customer, "am") if after_i => "are",
        (Speaker::Customer, "was") if after_i => "were",
        (Speaker::Customer, "wasn't") if after_i => "were not",
        // Who reads it is of the company.
        (Speaker::Customer, "you") if is_subject(before, after) => "we",
        (Speaker::Customer, "you") => "us",
        (Speaker::Customer, "you're") => "we are",
        (Speaker::Customer, "you've") => "we have",
        (Speaker::Customer, "you'll") => "we will",
        (Speaker::Customer, "your") => "our",
        (Speaker::Customer, "yours") => "ours",
        (Speaker::Bot | Speaker::Agent, "you") if is_subject(before, after) => "they",
        (Speaker::Bot | Speaker::Agent, "you") => "them",
        (Speaker::Bot, "have") if after_i => "has",
        (Speaker::Bot | Speaker::Agent, "you're") => "they are",
        (Speaker::Bot | Speaker::Agent, "you've") => "they have",
        (Speaker::Bot | Speaker::Agent, "you'd") => "they would",
        (Speaker::Bot | Speaker::Agent, "you'll") => "they will",
        (Speaker::Bot | Speaker::Agent, "your") => "their",
        (Speaker::Bot | Speaker::Agent, "yours") => "theirs",
        (Speaker::Bot | Speaker::Agent, "yourself") => "themselves",
        (Speaker::Bot, "i" | "me") => "the bot",
        (Speaker::Bot, "i'm") => "the bot is",
        (Speaker::Bot, "i've") => "the bot has",
        (Speaker::Bot, "i'd") => "the bot would",
        (Speaker::Bot, "i'll") => "the bot will",
        (Speaker::Bot, "am") if after_i => "is",
        (Speaker::Bot, verb) if after_i => OF_THE_BOT.iter().find(|(said, _)| *said == verb)?.1,
        _ => return None,
    })
}

/// The letters of a word without what stands around it, and what stands around it.
fn core(word: &str) -> (&str, &str, &str) {
    let letter = |c: char| c.is_alphanumeric() || c == '[';
    let start = word.find(letter).unwrap_or(word.len());
    let end = word
        .rfind(|c: char| c.is_alphanumeric() || c == ']' || c == '%')
        .map_or(start, |at| at + word[at..].chars().next().map_or(0, char::len_utf8));
    let end = end.max(start);
    (&word[..start], &word[start..end], &word[end..])
}

/// The words of a sentence that say something: no addresses, links, greetings, signatures.
pub fn spoken(sentence: &str) -> Vec<&str> {
    let is_mark = |c: char| matches!(c, '.' | ',' | '!' | '?' | ';' | ':' | '-' | '–' | '—' | '…' | '"' | '\'');
    let is_word = |word: &&str| !word.starts_with('@') && !word.contains("://") && !word.starts_with("www.") && !word.chars().all(is_mark);
    let mut words: Vec<&str> = sentence.split_whitespace().filter(is_word).collect();
    let mut opened = false;
    while let Some(first) = words.first() {
        let bare = core(first).1.to_lowercase();
        let opener =
            OPENERS.contains(&bare.as_str()) && (opened || !SECOND.contains(&bare.as_str()) || bare == "good" || first.ends_with(','));
        // "so" alone says nothing; "thanks for nothing" does.
        let says = matches!(bare.as_str(), "thanks" | "thank" | "sorry") && words.len() > 3 && !first.ends_with([',', '.', '!']);
        if !opener || says || words.len() == 1 {
            break;
        }
        opened = true;
        words.remove(0);
    }
    // "^AB", "-AB", "/AB": who of a team answered.
    while words.last().is_some_and(|last| last.starts_with(['^', '*', '~']) || (last.starts_with(['-', '/']) && last.len() <= 4)) {
        words.pop();
    }
    words
}

/// The sentence as one retells it, at most so many words; empty where it says nothing.
pub fn retold(sentence: &str, speaker: Speaker, words_max: usize) -> String {
    let words = spoken(sentence);
    let mut out: Vec<String> = Vec::with_capacity(words.len());
    for (at, word) in words.iter().enumerate() {
        let (open, bare, close) = core(word);
        let before = at.checked_sub(1).map(|before| core(words[before]).1);
        let after = words.get(at + 1).map(|after| core(after).1);
        out.push(match turned(bare, before, after, speaker) {
            Some(turned) => format!("{open}{turned}{close}"),
            None => (*word).to_owned(),
        });
    }
    let cut = cut(&out, words_max);
    let shortened = cut < out.len();
    let mut text = out[..cut].join(" ");
    let ends = text.trim_end_matches(['.', ',', ';', ':', '!', '-', '–', '…', ' ']).len();
    text.truncate(ends);
    if shortened {
        text.push('…');
    }
    first_small(&text, words.first().copied().unwrap_or_default())
}

/// Where to end: at the last comma or stop within the bound, if that is not too early.
fn cut(words: &[String], most: usize) -> usize {
    if words.len() <= most {
        return words.len();
    }
    let natural = (most * 3 / 5..most).rev().find(|at| words[*at].ends_with([',', ';', '.', '!', '?', ':']));
    natural.map_or(most, |at| at + 1)
}

/// A sentence that goes on inside another begins small, unless its first word is a name or an abbreviation.
fn first_small(text: &str, first: &str) -> String {
    let mut chars = text.chars();
    let Some(head) = chars.next() else { return String::new() };
    let bare = core(first).1;
    let shouted = bare.chars().skip(1).any(char::is_uppercase);
    let is_name_of_self = bare == "I" || bare.starts_with("I'") || bare.starts_with("I\u{2019}");
    if head.is_uppercase() && !shouted && !is_name_of_self { head.to_lowercase().chain(chars).collect() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_customer_is_told_of_in_the_third_person() {
        for (sentence, expected) in [
            ("Hi there, I was charged twice for my subscription!", "they were charged twice for their subscription"),
            ("@Shop I'm waiting and my parcel hasn't arrived https://t.co/x", "they are waiting and their parcel hasn't arrived"),
            ("Good morning, can you help me with our account?", "can we help them with their account?"),
            ("You cut off my gas and I told you", "we cut off their gas and they told us"),
            ("The laptop you repaired broke, how dare you", "the laptop we repaired broke, how dare we"),
            ("Where is my order #4411?", "where is their order #4411?"),
            ("PLEASE help", "help"),
            ("USPS says it was delivered", "USPS says it was delivered"),
            ("thanks", "thanks"),
            ("hi", "hi"),
            ("", ""),
        ] {
            assert_eq!(retold(sentence, Speaker::Customer, 25), expected, "{sentence}");
        }
    }

    #[test]
    fn the_bot_speaks_of_them() {
        for (sentence, expected) in [
            ("You can reset your password under Settings.", "they can reset their password under Settings"),
            ("I see that the warehouse moved the date", "the bot sees that the warehouse moved the date"),
            ("I can send you the form", "the bot can send them the form"),
            ("I've opened a ticket for you. ^JK", "the bot has opened a ticket for them"),
        ] {
            assert_eq!(retold(sentence, Speaker::Bot, 25), expected, "{sentence}");
        }
    }

    #[test]
    fn a_long_sentence_is_cut_where_it_breathes() {
        assert_eq!(retold("one two three four, five six seven", Speaker::Customer, 5), "one two three four…");
        assert_eq!(retold("one two three four five six seven", Speaker::Customer, 3), "one two three…");
    }
}
