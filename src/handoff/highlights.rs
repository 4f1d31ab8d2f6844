//! What a person looks for first: what was tried and with what result, what was confirmed and rejected, what is still asked, and the numbers and names.

use serde::Serialize;

use super::mask::Masking;
use super::observation::Vocabulary;
use super::policy::Thresholds;
use super::story::{Said, Story, Turn};
use super::summary::wording::{retold, spoken};
use crate::message::Speaker;

/// Most of each kind that are told.
pub const MOST: usize = 6;
/// Words of one of them.
const WORDS_MAX: usize = 22;

/// What became of something that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tried {
    /// The customer took it, or it worked.
    Worked,
    /// It did not help, or the customer does not want it.
    DidNot,
    /// The customer did not say.
    Unclear,
}

impl Tried {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Worked => "accepted",
            Self::DidNot => "did not help",
            Self::Unclear => "result unclear",
        }
    }
}

/// Something that the bot proposed or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Solution {
    /// What, retold.
    pub what: String,
    /// The turn that says it.
    pub message: u32,
    /// What became of it.
    pub outcome: Tried,
    /// The customer's message that says so.
    pub answer: Option<u32>,
    /// Who said it: `bot` or `agent`.
    pub by: &'static str,
    /// How many times the same was said.
    pub times: u32,
}

impl Solution {
    /// What became of it, and how often it was said where that was more than once: `4 times, did not help`.
    pub fn result(&self) -> String {
        match self.times {
            0 | 1 => self.outcome.words().to_owned(),
            times => format!("{times} times, {}", self.outcome.words()),
        }
    }
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// Its words, masked.
    pub text: String,
    /// The message.
    pub message: u32,
}

/// What sort of thing is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// Order, booking, ticket or invoice number.
    Reference,
    /// An amount of money.
    Amount,
    /// A day or a time.
    Date,
    /// A code that a machine shows.
    ErrorCode,
}

/// Something that is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entity {
    /// What sort.
    pub kind: EntityKind,
    /// As it was written.
    pub text: String,
    /// The first message that names it.
    pub message: u32,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Highlights {
    /// What was tried, the latest last.
    pub tried: Vec<Solution>,
    /// What the customer confirmed.
    pub confirmed: Vec<Quote>,
    /// What the customer rejected.
    pub rejected: Vec<Quote>,
    /// What the customer asked after the bot last spoke.
    pub unanswered: Vec<Quote>,
    /// Numbers, amounts, dates, codes.
    pub entities: Vec<Entity>,
}

/// What the highlights of a story are.
pub fn highlights(story: &Story, vocabulary: &Vocabulary, thresholds: &Thresholds, masking: Masking) -> Highlights {
    let mut found = Highlights { tried: tried(story, vocabulary, thresholds, masking), ..Highlights::default() };
    for solution in &found.tried {
        let Some(answer) = solution.answer.and_then(|sequence| story.turns.iter().find(|turn| turn.sequence == sequence)) else { continue };
        let quote = Quote { text: first_words(answer, masking), message: answer.sequence };
        let list = if solution.outcome == Tried::Worked { &mut found.confirmed } else { &mut found.rejected };
        if solution.outcome != Tried::Unclear && !quote.text.is_empty() && !list.contains(&quote) {
            list.push(quote);
        }
    }
    let last_bot = story.turns.iter().rposition(|turn| turn.speaker != Speaker::Customer);
    let asked = story.sentences(Speaker::Customer).into_iter().filter(|said| last_bot.is_none_or(|last| said.place > last));
    let questions = asked.map(|said| (said.turn.sequence, said.words(masking))).filter(|(_, words)| words.ends_with('?'));
    found.unanswered =
        questions.map(|(message, words)| Quote { text: shortened(&words), message }).filter(|quote| !quote.text.is_empty()).collect();
    found.entities = entities(story);
    for list in [&mut found.confirmed, &mut found.rejected, &mut found.unanswered] {
        list.drain(..list.len().saturating_sub(MOST));
    }
    found
}

/// What a message says, as far as there is room: "No." alone tells nothing.
fn first_words(turn: &Turn, masking: Masking) -> String {
    let said = turn.sentences.iter().map(|sentence| Said { place: 0, turn, sentence: *sentence }.words(masking));
    shortened(&said.collect::<Vec<_>>().join(" "))
}

/// A sentence as it was said, without greeting, and not too long.
fn shortened(words: &str) -> String {
    let spoken = spoken(words);
    let mut text = spoken.iter().take(WORDS_MAX).copied().collect::<Vec<_>>().join(" ");
    if spoken.len() > WORDS_MAX {
        text.push('…');
    }
    text
}

/// What the bot tried, each with its outcome.
fn tried(story: &Story, vocabulary: &Vocabulary, thresholds: &Thresholds, masking: Masking) -> Vec<Solution> {
    let mut all: Vec<Solution> = Vec::new();
    let others = story.turns.iter().enumerate().filter(|(_, turn)| turn.speaker != Speaker::Customer);
    for (place, turn) in others {
        let sentences = turn.sentences.iter().map(|sentence| Said { place, turn, sentence: *sentence });
        let by_agent = turn.speaker == Speaker::Agent;
        let strength = |words: &str| if by_agent { done(words) } else { proposal(words) };
        let proposals = sentences.filter_map(|said| Some((strength(&said.words(masking))?, said)));
        let Some((_, said)) = proposals.max_by_key(|(strength, said)| (*strength, said.turn.text.len() - said.sentence.start)) else {
            continue;
        };
        let words = said.words(masking);
        let what = if by_agent { told_by_agent(turn, &words, masking) } else { proposed(&words) };
        let (outcome, answer) = outcome(story, place, vocabulary, thresholds, masking);
        // What is said again is one thing, tried more than once.
        let letters = |what: &str| what.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "");
        let before = all.iter().position(|known| letters(&known.what) == letters(&what)).map(|at| all.remove(at));
        let times = 1 + before.as_ref().map_or(0, |known| known.times);
        let (outcome, answer) = match before {
            Some(known) if outcome == Tried::Unclear => (known.outcome, known.answer),
            _ => (outcome, answer),
        };
        all.push(Solution { what, message: turn.sequence, outcome, answer, by: turn.speaker.as_str(), times });
    }
    all
}

/// Words by which a person tells what they did or will do.
const DONE: &[&str] = &["i have ", "i've ", "i'll ", "i will ", "we have ", "we've ", "we'll ", "we will ", "has been ", "have been "];

/// How plainly a sentence of an agent tells what was done; `None` where it does not.
fn done(words: &str) -> Option<u8> {
    let lower = words.to_lowercase().replace('\u{2019}', "'");
    let did = |word: &str| word.len() > 4 && word.ends_with("ed") || matches!(word, "sent" | "made" | "gave" | "put" | "took" | "reset");
    let spoken = spoken(&lower);
    let acts = spoken.windows(2).any(|pair| matches!(pair[0], "i" | "we") && did(pair[1]));
    if acts || DONE.iter().any(|phrase| lower.contains(phrase)) {
        return Some(3);
    }
    proposal(words)
}

/// What an agent said, with the name that they gave: `Petra (agent) said: I corrected the meter`.
fn told_by_agent(turn: &Turn, words: &str, masking: Masking) -> String {
    let all =
        turn.sentences.iter().map(|sentence| Said { place: 0, turn, sentence: *sentence }.words(masking)).collect::<Vec<_>>().join(" ");
    let lower = all.to_ascii_lowercase();
    let name = ["this is ", "my name is ", "i'm ", "i am "].iter().find_map(|before| {
        let rest = &all[lower.find(before)? + before.len()..];
        let name: String = rest.chars().take_while(|c| c.is_alphabetic() || *c == '-').collect();
        (name.chars().next().is_some_and(char::is_uppercase) && (2..=30).contains(&name.chars().count())).then_some(name)
    });
    let who = name.map_or_else(|| "an agent".to_owned(), |name| format!("{name} (agent)"));
    format!("{who} said: {}", retold(words, Speaker::Agent, WORDS_MAX))
}

/// How proposals begin, and how they are retold.
const BEGINNINGS: &[(&str, &str)] = &[
    ("would you like me to ", "offered to"),
    ("would you like to ", "offered to let them"),
    ("would you like ", "offered"),
    ("do you want me to ", "offered to"),
    ("shall i ", "offered to"),
    ("should i ", "offered to"),
    ("may i ", "offered to"),
    ("can i ", "offered to"),
    ("i can ", "offered to"),
    ("we can ", "offered to"),
    ("i could ", "offered to"),
    ("we could ", "offered to"),
    ("have you tried ", "suggested"),
    ("did you try ", "suggested"),
    ("could you try ", "suggested"),
    ("can you try ", "suggested"),
    ("you can try ", "suggested"),
    ("please try ", "suggested"),
    ("you can ", "suggested to"),
    ("you could ", "suggested to"),
    ("you may ", "suggested to"),
    ("you should ", "suggested to"),
    ("you need to ", "suggested to"),
    ("you'll need to ", "suggested to"),
    ("could you please ", "suggested to"),
    ("can you please ", "suggested to"),
    ("please ", "suggested to"),
];

/// A proposal as one retells it: `offered to run a line test for them`, `suggested to restart their router`, else with `said:`.
fn proposed(words: &str) -> String {
    let spoken = spoken(words).join(" ");
    let lower = spoken.to_lowercase().replace('’', "'");
    // "Please" is no word of what is retold, but it says that the customer is to do it.
    let begin = words.trim_start().to_lowercase();
    let asked_to = ["please ", "pls ", "then please ", "now please ", "so please ", "in that case please "];
    let asked_to = asked_to.iter().any(|beginning| begin.starts_with(beginning));
    for (beginning, verb) in BEGINNINGS {
        // Capitals and typographic quotes may have other lengths than what they are read as; then the sentence is told whole.
        let rest = spoken.get(beginning.len()..).filter(|_| lower.starts_with(beginning) && lower.len() == spoken.len());
        if let Some(rest) = rest {
            let rest = retold(rest, Speaker::Bot, WORDS_MAX);
            let rest = rest.trim_end_matches('?');
            return match rest.strip_prefix("offer ").filter(|_| *verb == "offered to") {
                Some(what) => format!("offered {what}"),
                None => format!("{verb} {rest}"),
            };
        }
    }
    let retold = retold(words, Speaker::Bot, WORDS_MAX);
    let first = lower.split(' ').next().unwrap_or_default().trim_matches(|c: char| !c.is_alphanumeric());
    let retold = retold.strip_prefix("then please ").unwrap_or(&retold);
    let instructs = asked_to || first != "try" && INSTRUCTIONS.contains(&first);
    if instructs { format!("suggested to {retold}") } else { format!("said: {retold}") }
}

/// Words that begin an instruction.
const INSTRUCTIONS: &[&str] = &[
    "restart",
    "reset",
    "reboot",
    "reinstall",
    "uninstall",
    "install",
    "update",
    "upgrade",
    "try",
    "check",
    "go",
    "click",
    "tap",
    "press",
    "select",
    "choose",
    "open",
    "close",
    "clear",
    "log",
    "sign",
    "turn",
    "switch",
    "unplug",
    "plug",
    "disconnect",
    "reconnect",
    "delete",
    "remove",
    "add",
    "change",
    "enter",
    "use",
    "visit",
    "call",
    "contact",
    "follow",
    "head",
    "make",
    "ensure",
    "verify",
    "disable",
    "enable",
    "download",
    "connect",
    "swipe",
    "hold",
    "navigate",
    "scroll",
    "wait",
    "allow",
    "reach",
    "head",
    "refresh",
    "remove",
    "set",
    "run",
    "power",
    "sync",
    "toggle",
    "cancel",
    "return",
    "fill",
    "report",
    "submit",
    "speak",
    "split",
    "import",
    "bring",
    "look",
    "leave",
    "pull",
    "push",
    "clean",
    "keep",
    "put",
];
/// Words by which a proposal is told inside a sentence.
const PROPOSALS: &[&str] = &[
    "you can",
    "you could",
    "you may",
    "you'll need",
    "you will need",
    "you need to",
    "you should",
    "would you like",
    "shall i",
    "should i",
    "can i ",
    "could you try",
    "can you try",
    "have you tried",
    "did you try",
    "try ",
    "we recommend",
    "we suggest",
    "i recommend",
    "i suggest",
    "i'd suggest",
    "i would suggest",
    "recommend ",
    "suggest ",
    "i can ",
    "we can ",
    "we'll ",
    "we will ",
    "i'll ",
    "i will ",
    "i have ",
    "i've ",
    "we've ",
    "we have ",
    "this article",
    "these steps",
    "steps",
    "more info",
    "here:",
    "by going",
    "by clicking",
    "by calling",
    "make sure",
    "feel free to",
    "best to",
    "you'd need",
    "able to",
    "the fix",
    "is due to",
    "has been ",
    "have been ",
    "please ",
];
/// Words of sentences that only ask for details, move elsewhere, or are polite.
const NO_PROPOSAL: &[&str] = &[
    "dm us",
    "dm me",
    "to dm",
    "via dm",
    "in a dm",
    "by dm",
    "your dm",
    "a dm",
    "in dm",
    "dm the",
    "dm your",
    "direct message",
    "private message",
    "pm us",
    "look into",
    "looking into",
    "take a look",
    "closer look",
    "sorry",
    "apolog",
    "inconvenience",
    "thank",
    "let us know",
    "can you tell",
    "could you tell",
    "can you confirm",
    "could you confirm",
    "please confirm",
    "can you provide",
    "provide",
    "share",
    "send us",
    "sending us",
    "what is",
    "what's",
    "which ",
    "when did",
    "when is",
    "we understand",
    "i understand",
    "we'd like to know",
    "would like to know",
    "happy to",
    "glad to",
    "here to help",
    "want to help",
    "love to help",
    "may i",
    "may we",
    "can we have",
    "we're here",
    "here for you",
    "get back to you",
    "be in touch",
    "get in touch",
    "in touch with you",
    "reach out to you",
    "reach out anytime",
    "keep you ",
    "please go on",
    "what happens",
    "your details",
    "contact detail",
    "noted",
    "your patience",
    "bear with",
    "we've got your",
    "received your",
    "pleased to",
    "kind words",
    "survey",
    "how can i help",
    "how can we help",
    "what can i",
    "we hear you",
    "that's not",
    "we want to",
    "good day",
    "screenshot",
    "photo",
];

/// Words of questions that propose something.
const OFFERS: &[&str] = &[
    "would you like",
    "shall i",
    "should i",
    "can i ",
    "have you tried",
    "did you try",
    "could you try",
    "can you try",
    "have you spoken",
    "did you speak",
    "have you contacted",
    "does ",
    "do you want me",
    "have you had a chance",
    "can you please",
    "could you please",
    "how about",
];
/// Words from which a statement informs; `models/training/summaries.py --part train` measures what it gives.
const INFORMS_WORDS: usize = 8;

/// How plainly a sentence of the bot proposes or does something; `None` where it does not.
fn proposal(words: &str) -> Option<u8> {
    let lower = words.to_lowercase().replace('’', "'");
    let spoken = spoken(&lower);
    let first = spoken.first()?.trim_matches(|c: char| !c.is_alphanumeric());
    // "You can also send us a form" proposes; "send us your number" asks for it.
    let offers_a_way = ["you can ", "you could ", "you may "].iter().any(|beginning| lower.starts_with(beginning));
    let asks_for_details = |phrase: &str| lower.contains(phrase) && !(offers_a_way && phrase.starts_with("send"));
    if spoken.len() < 3 || NO_PROPOSAL.iter().any(|phrase| asks_for_details(phrase)) {
        return None;
    }
    if INSTRUCTIONS.contains(&first) {
        return Some(3);
    }
    let asks = lower.trim_end().ends_with('?');
    if PROPOSALS.iter().any(|phrase| lower.contains(phrase)) && (!asks || OFFERS.iter().any(|phrase| lower.contains(phrase))) {
        return Some(2);
    }
    // What informs may be the solution.
    (!asks && spoken.len() >= INFORMS_WORDS).then_some(1)
}

/// Words by which a customer says that something did not help, or was not wanted.
const REJECTS: &[&str] = &[
    "didn't",
    "did not",
    "doesn't",
    "does not",
    "not working",
    "still",
    "already",
    "no luck",
    "won't",
    "can't",
    "cannot",
    "same issue",
    "same problem",
    "same thing",
    "nothing",
    "nope",
    "not help",
    "useless",
    "isn't",
    "wasn't",
    "tried that",
    "no,",
    "no.",
    "haven't",
    "hasn't",
    "not what",
    "again",
    "never",
    "don't want",
    "wrong",
    "but ",
];
/// Words by which a customer says that it helped, or that they do it.
const ACCEPTS: &[&str] = &[
    "worked",
    "works now",
    "working now",
    "that did it",
    "fixed",
    "solved",
    "resolved",
    "sorted",
    "will do",
    "i'll try",
    "will try",
    "i'll do",
    "yes please",
    "sounds good",
    "all good",
    "perfect",
];
/// Words that say so at the beginning of a message.
const BEGINS_GLAD: &[&str] = &[
    "thank",
    "thanks",
    "cheers",
    "great",
    "awesome",
    "brilliant",
    "ok",
    "okay",
    "got",
    "done",
    "excellent",
    "lovely",
    "super",
    "cool",
    "appreciate",
];
/// Valence up to which an answer says that it did not help.
const UNHAPPY: f64 = -0.5;
/// p(gratitude) from which "that worked" means it, whatever the valence.
const THANKS: f64 = 0.6;

/// What the customer says about a turn of the bot, before the bot's next proposal is answered.
fn outcome(story: &Story, place: usize, vocabulary: &Vocabulary, thresholds: &Thresholds, masking: Masking) -> (Tried, Option<u32>) {
    let mut bots = 0;
    for turn in &story.turns[place + 1..] {
        if turn.speaker != Speaker::Customer {
            bots += 1;
            // What is said after two more turns of the bot is about these.
            if bots > 1 {
                break;
            }
            continue;
        }
        let act = |label: &str| {
            let place = vocabulary.acts.iter().position(|range| range.label == label)?;
            turn.signals.as_ref().ok()?.acts.as_ref().ok()?.get(place).map(|p| p.get())
        };
        let words: Vec<String> = turn.sentences.iter().map(|sentence| Said { place, turn, sentence: *sentence }.words(masking)).collect();
        let lower = format!("{} ", words.join(" ").to_lowercase().replace('’', "'"));
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
        let valence = turn.signals.as_ref().ok().and_then(|signals| signals.valence.ok()).map_or(0.0, |valence| valence.get());
        let begin = lower.split(' ').filter(|word| !word.starts_with('@')).take(3);
        let glad = begin.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric())).any(|word| BEGINS_GLAD.contains(&word));
        let rejects = act("rejects").is_some_and(|p| p >= thresholds.rejects) || says(REJECTS) || valence <= UNHAPPY;
        let accepts = act("accepts").is_some_and(|p| p >= thresholds.accepts) || glad;
        let gratitude = vocabulary.emotions.iter().position(|range| range.label == "gratitude");
        let emotions = turn.signals.as_ref().ok().and_then(|signals| signals.emotions.as_ref().ok());
        let thanks = gratitude.and_then(|place| emotions?.get(place)).is_some_and(|p| p.get() >= THANKS);
        let however = says(&["same ", "still", " but ", "nothing", "however"]);
        if says(ACCEPTS) && (valence > UNHAPPY || thanks) && !however {
            return (Tried::Worked, Some(turn.sequence));
        }
        if rejects {
            return (Tried::DidNot, Some(turn.sequence));
        }
        if accepts {
            return (Tried::Worked, Some(turn.sequence));
        }
    }
    (Tried::Unclear, None)
}

/// Days and months by their names.
const DAYS: &[&str] = &[
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "january",
    "february",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "yesterday",
    "tomorrow",
    "today",
    "tonight",
];
/// Words before a number that say what it counts as.
const REFERENCES: &[&str] =
    &["order", "booking", "ticket", "invoice", "case", "reference", "ref", "confirmation", "tracking", "number", "no", "id", "#"];
const CURRENCIES: &[char] = &['$', '€', '£', '¥', '₹'];
const CURRENCY_WORDS: &[&str] = &["eur", "euro", "euros", "usd", "dollar", "dollars", "gbp", "pound", "pounds", "bucks", "inr", "rs"];

fn entities(story: &Story) -> Vec<Entity> {
    let mut all: Vec<Entity> = Vec::new();
    for (place, turn) in story.turns.iter().enumerate().filter(|(_, turn)| turn.speaker == Speaker::Customer) {
        for sentence in &turn.sentences {
            // A telephone number is no order number.
            let words = Said { place, turn, sentence: *sentence }.words(Masking { email: true, phone: true });
            let words: Vec<&str> = words.split(' ').collect();
            for (at, word) in words.iter().enumerate() {
                let bare = word.trim_matches(|c: char| !(c.is_alphanumeric() || CURRENCIES.contains(&c) || c == '#'));
                let before = at.checked_sub(1).map(|at| words[at]);
                let after = words.get(at + 1).copied();
                let Some((kind, text)) = entity(bare, before, after) else { continue };
                if all.len() < 2 * MOST && !all.iter().any(|known| known.text.eq_ignore_ascii_case(&text)) {
                    all.push(Entity { kind, text, message: turn.sequence });
                }
            }
        }
    }
    all.sort_by_key(|entity| (entity.kind, entity.message));
    all
}

fn is_month(word: &str) -> bool {
    DAYS.iter().position(|day| *day == word).is_some_and(|at| (7..17).contains(&at))
}

fn entity(word: &str, before: Option<&str>, after: Option<&str>) -> Option<(EntityKind, String)> {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let lower = word.to_lowercase();
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let trim = |word: &str| bare(word).to_lowercase();
    if DAYS.contains(&lower.as_str()) {
        // A month with its day.
        let day = |word: &&str| {
            bare(word).trim_end_matches(|c: char| c.is_ascii_lowercase()).parse::<u8>().is_ok_and(|day| (1..=31).contains(&day))
        };
        return Some(match (before.filter(day), after.filter(day)) {
            (Some(before), _) if is_month(&lower) => (EntityKind::Date, format!("{} {word}", bare(before))),
            (None, Some(after)) if is_month(&lower) => (EntityKind::Date, format!("{word} {}", bare(after))),
            _ => (EntityKind::Date, word.to_owned()),
        });
    }
    if digits == 0 || word.starts_with('[') || word.len() > 40 {
        return None;
    }
    if word.contains(CURRENCIES) {
        return Some((EntityKind::Amount, word.to_owned()));
    }
    if after.is_some_and(|after| CURRENCY_WORDS.contains(&trim(after).as_str())) {
        return Some((EntityKind::Amount, format!("{word} {}", bare(after.unwrap_or_default()))));
    }
    let separators = word.chars().filter(|c| matches!(c, '/' | '-' | '.')).count();
    // A date has a year of four digits, or strokes; 11.1.2 is a version.
    let dated = word.contains('/') || word.split(['-', '.']).any(|part| part.len() == 4);
    let plain_date =
        dated && separators == 2 && word.split(['/', '-', '.']).all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()));
    let ordinal =
        ["st", "nd", "rd", "th"].iter().any(|end| lower.strip_suffix(end).is_some_and(|n| n.len() <= 2 && n.parse::<u8>().is_ok()));
    if plain_date && (6..=10).contains(&word.len()) || ordinal {
        return Some((EntityKind::Date, word.to_owned()));
    }
    let named = |names: &[&str]| before.is_some_and(|before| names.contains(&trim(before).as_str()) || before == "#");
    if lower.starts_with("0x")
        || named(&["error", "code"])
        || (lower.starts_with('e') && digits >= 2 && digits + 2 >= word.len() && word.contains('-'))
    {
        return Some((EntityKind::ErrorCode, word.to_owned()));
    }
    let letters = word.chars().filter(|c| c.is_ascii_alphabetic()).count();
    let mixed = digits >= 3 && letters >= 1 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '#') && letters <= 4;
    let code = word.len() >= 6 && digits >= 2 && letters >= 2 && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if code
        || word.starts_with('#') && digits >= 2
        || named(REFERENCES) && digits >= 3
        || digits >= 6 && letters == 0
        || mixed && digits >= 4
    {
        return Some((EntityKind::Reference, word.to_owned()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_apart() {
        use EntityKind as K;
        for (word, before, after, expected) in [
            ("#4411", None, None, Some(K::Reference)),
            ("4411", Some("order"), None, Some(K::Reference)),
            ("RX-20481", None, None, Some(K::Reference)),
            ("$12.99", None, None, Some(K::Amount)),
            ("40", None, Some("euros"), Some(K::Amount)),
            ("Friday", None, None, Some(K::Date)),
            ("10/02/2026", None, None, Some(K::Date)),
            ("28th", None, None, Some(K::Date)),
            ("0x80070057", None, None, Some(K::ErrorCode)),
            ("504", Some("error"), None, Some(K::ErrorCode)),
            ("3", None, None, None),
            ("11.1.2", None, None, None),
            ("third", None, None, None),
        ] {
            assert_eq!(entity(word, before, after).map(|(kind, _)| kind), expected, "{word}");
        }
    }

    #[test]
    fn a_proposal_is_told_from_a_question() {
        for (words, expected) in [
            ("Please restart your router and try again.", true),
            ("You can update your payment method in the settings.", true),
            ("Would you like me to open the billing FAQ for you?", true),
            ("Have you tried restarting both devices?", true),
            ("What is your order number?", false),
            ("We are sorry to hear that.", false),
            ("Please send us a DM with your e-mail.", false),
            ("Hello!", false),
        ] {
            assert_eq!(proposal(words).is_some(), expected, "{words}");
        }
    }
}
