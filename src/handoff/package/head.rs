//! The head of a package: who, what, tried, feeling, why, next, in this order, in at most eight lines and ninety words.

use super::{Field, Package, Reason, first_words};

/// Most words of the head.
pub const HEAD_WORDS_MAX: usize = 90;

/// Words that each part may have: first the most, then the fewest that are left to it while others have more.
#[derive(Clone, Copy)]
struct Room {
    what: usize,
    tried: usize,
    why: usize,
    next: usize,
}

const MOST: Room = Room { what: 25, tried: 14, why: 14, next: 26 };
const FEWEST: Room = Room { what: 14, tried: 8, why: 7, next: 17 };

/// The head: a name and what is told under it.
pub fn head(package: &Package) -> Vec<(&'static str, String)> {
    let mut room = MOST;
    loop {
        let mut lines = within(package, room);
        let over = total(&lines) > HEAD_WORDS_MAX;
        if !over {
            return lines;
        }
        // The widest of those that can still give a word gives it.
        let all =
            [(&mut room.what, FEWEST.what), (&mut room.tried, FEWEST.tried), (&mut room.why, FEWEST.why), (&mut room.next, FEWEST.next)];
        match all.into_iter().filter(|(now, fewest)| **now > *fewest).max_by_key(|(now, fewest)| **now - *fewest) {
            Some((now, _)) => *now -= 1,
            None => {
                shorten(&mut lines);
                return lines;
            }
        }
    }
}

fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

fn total(lines: &[(&'static str, String)]) -> usize {
    lines.iter().map(|(_, text)| count(text) + 1).sum()
}

fn within(package: &Package, room: Room) -> Vec<(&'static str, String)> {
    let why = |reason: &Reason| match &reason.quote {
        Some(quote) => format!("{}: \u{201c}{}\u{201d} (message {})", reason.trigger, first_words(&quote.text, room.why), quote.message),
        None => format!("{}: {}", reason.trigger, first_words(&reason.words, room.why)),
    };
    vec![
        ("Who", who(package)),
        ("What", first_words(&what(package), room.what)),
        ("Tried", tried(package, room.tried)),
        ("Feeling", told(&package.feeling, |feeling| feeling.words.clone())),
        ("Why", told(&package.reason, why)),
        ("Next", first_words(&package.next, room.next)),
    ]
}

/// Takes words from the longest line until the head is short enough.
fn shorten(lines: &mut [(&'static str, String)]) {
    lines.iter_mut().for_each(|(_, text)| *text = first_words(text, HEAD_WORDS_MAX));
    loop {
        let total = total(lines);
        let Some((_, longest)) = lines.iter_mut().max_by_key(|(_, text)| count(text)).filter(|_| total > HEAD_WORDS_MAX) else { return };
        let keep = count(longest).saturating_sub(1).max(1);
        *longest = first_words(longest.trim_end_matches('\u{2026}'), keep);
    }
}

/// What a field says, with its age or the reason why it says nothing.
pub(super) fn told<T>(field: &Field<T>, say: impl FnOnce(&T) -> String) -> String {
    match field {
        Field::Present { value, .. } => say(value),
        Field::Stale { value, age, .. } => format!("{} ({age} old)", say(value)),
        Field::Absent { reason } => format!("not known ({reason})"),
    }
}

fn who(package: &Package) -> String {
    let mut parts = vec![told(&package.customer, Clone::clone)];
    if package.customer.value().is_none() {
        parts = vec![format!("name {}", parts[0])];
    }
    parts.extend(package.account.value().cloned());
    parts.extend(package.tier.value().map(|tier| format!("tier {tier}")));
    parts.extend(package.value.value().map(|value| format!("contract {value}")));
    parts.extend(package.since.value().map(|since| format!("customer for {since}")));
    if let Some(repeat) = package.repeat.value().filter(|repeat| repeat.contacts > 1) {
        parts.push(format!("contact {} about this in 30 days", repeat.contacts));
    }
    parts.join(", ")
}

fn what(package: &Package) -> String {
    told(&package.summary, |summary| summary.statements.first().map(|statement| statement.text.clone()).unwrap_or_default())
}

const VERBS: [&str; 3] = ["suggested to ", "offered to ", "said: "];

/// The latest two, each with what became of it.
fn tried(package: &Package, words: usize) -> String {
    let latest = package.highlights.tried.iter().rev().take(2);
    // Under "Tried" the verb of who tried says nothing.
    let what = |what: &str| VERBS.iter().find_map(|verb| what.strip_prefix(verb)).unwrap_or(what).to_owned();
    let latest: Vec<String> =
        latest.map(|solution| format!("{} ({})", first_words(&what(&solution.what), words), solution.result())).collect();
    if latest.is_empty() { "nothing yet".to_owned() } else { latest.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_words_are_apart_by_the_lines_become_short() {
        for apart in [" ", "\n", "\u{3000}", "\u{2028}\t"] {
            let mut lines =
                vec![("Who", ["word"; 10_000].join(apart)), ("What", ["\u{2026}"; 300].join(apart)), ("Why", "a".repeat(100_000))];
            shorten(&mut lines);
            assert!(total(&lines) <= HEAD_WORDS_MAX, "{apart:?}: {}", total(&lines));
        }
    }
}
