//! The TOML of a policy → [`Policy`]. Every fault with its line and column, all at once.

mod language;

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

pub use self::language::{built_in_words, language_files};
use super::language::LanguageWords;
use super::{
    Basis, ExampleIntent, FOLLOW_UP, Fallback, HandoffRules, LEVEL_MAX, MessageTemplate, Mode, Pilot, Policy, PolicyFault, Queue, Skill,
    Soft, Strategy, Thresholds, Trigger, TriggerKind, Urgency,
};
use crate::handoff::expression::check::nearest;
use crate::handoff::expression::{Compiler, Expression};
use crate::handoff::hours::{Hours, MinuteSpan};
use crate::handoff::mask::Masking;
use crate::handoff::observation::Vocabulary;
use crate::handoff::receipt::Digest;
use crate::handoff::reply::{self, CONNECTED_VARIABLES, OPENING_VARIABLES, PART_VARIABLES, names_wait};
use crate::handoff::trigger::{COOLDOWN_TURNS_MAX, HOLD_TURNS_MAX, Pace};

/// Most bytes of a policy.
pub const BYTES_MAX: usize = 1 << 20;
/// Most triggers, and most queues, messages and intents by example each.
pub const ITEMS_MAX: usize = 256;
/// Most bytes of an id, and of other words that are no sentences.
const WORD_BYTES_MAX: usize = 64;
/// Most bytes of one part of a message.
const PART_BYTES_MAX: usize = 1000;
/// Examples of an intent: fewer say too little, with more a trained head is better.
const EXAMPLES: Range<usize> = 5..21;
/// Most faults that are told at once.
const FAULTS_MAX: usize = 100;

/// Reads a policy; see [`Policy::read_with`].
pub fn read(file: &str, source: &str, languages: &[(String, String)], vocabulary: &Vocabulary) -> Result<Policy, Vec<PolicyFault>> {
    let mut reader = Reader { file, source, faults: Vec::new() };
    if source.len() > BYTES_MAX {
        reader.tell(0, format!("found {} bytes, expected a policy of at most {BYTES_MAX}", source.len()), None);
        return Err(reader.faults);
    }
    let (document, errors) = DeTable::parse_recoverable(source);
    // What follows the first error mostly follows from it.
    for error in errors.iter().take(1) {
        let at = error.span().map_or(0, |span| span.start);
        reader.tell(at, format!("is not TOML: {}", error.message().trim()), None);
    }
    if !errors.is_empty() {
        return Err(reader.finish());
    }
    let policy = reader.policy(document.get_ref(), languages, vocabulary);
    match policy {
        Some(policy) if reader.faults.is_empty() => {
            super::lint::lint(&policy, &mut |at, what| reader.tell(at, what, None));
            if reader.faults.is_empty() { Ok(policy.policy) } else { Err(reader.finish()) }
        }
        _ => Err(reader.finish()),
    }
}

/// A policy with the places that the linter names.
pub(super) struct Placed {
    pub policy: Policy,
    /// Where each trigger's condition begins, by trigger.
    pub whens: Vec<usize>,
    /// Where each trigger's `rearm` begins.
    pub rearms: Vec<Option<usize>>,
    /// Where each queue's fallback stands.
    pub fallbacks: Vec<usize>,
    /// Where each queue's table begins.
    pub queues: Vec<usize>,
    /// Where `[pilot]` begins; 0 where there is none.
    pub pilot: usize,
}

struct Reader<'a> {
    file: &'a str,
    source: &'a str,
    faults: Vec<PolicyFault>,
}

type Value<'a, 'i> = &'a Spanned<DeValue<'i>>;

/// A table with the place where it begins and a name for faults.
struct Table<'a, 'i> {
    table: &'a DeTable<'i>,
    at: usize,
    name: String,
}

impl<'a, 'i> Table<'a, 'i> {
    fn get(&self, key: &str) -> Option<Value<'a, 'i>> {
        self.table.get(key)
    }
}

const TOP_KEYS: [&str; 10] = ["thresholds", "soft", "handoff", "pilot", "masking", "languages", "intent", "queue", "message", "trigger"];
const TRIGGER_KEYS: [&str; 15] = [
    "id",
    "about",
    "kind",
    "basis",
    "urgency",
    "category",
    "priority",
    "when",
    "rearm",
    "hold_turns",
    "cooldown_turns",
    "queue",
    "message",
    "mode",
    "shadow",
];
const QUEUE_KEYS: [&str; 11] = [
    "id",
    "name",
    "owner",
    "skills",
    "strategy",
    "fallback",
    "hours",
    "handling_secs",
    "waiting_max",
    "relax_after_secs",
    "fallback_after_secs",
];
const MESSAGE_KEYS: [&str; 9] =
    ["id", "acknowledge", "reassure", "expect", "expect_unknown_wait", "expect_off_hours", "expect_at_capacity", "connected", "opening"];
const INTENT_KEYS: [&str; 2] = ["id", "examples"];
const HOURS_KEYS: [&str; 4] = ["zone", "weekly", "holidays", "exceptions"];
/// How an exception says that nobody works on its day.
const CLOSED: &str = "closed";
/// Most holidays, and exceptions, of a queue.
const DAYS_MAX: usize = 1000;
const THRESHOLD_KEYS: [&str; 6] = ["asks_for_person", "accepts", "rejects", "same_issue", "customer_repeats", "bot_repeats"];
const MASKING_KEYS: [&str; 2] = ["email", "phone"];
const HANDOFF_KEYS: [&str; 7] =
    ["offer_secs", "update_secs", "lease_secs", "max_wait_secs", "follow_up_hours", "quiet_hours", "ageing_secs"];
const PILOT_KEYS: [&str; 2] = ["share", "always"];
const SOFT_KEYS: [&str; 6] = ["attempts", "turns", "timeout_secs", "negative", "positive", "thanks"];
/// Days of the week and spans of them, as `hours.weekly` names them.
const DAYS: [(&str, Range<usize>); 10] = [
    ("mon", 0..1),
    ("tue", 1..2),
    ("wed", 2..3),
    ("thu", 3..4),
    ("fri", 4..5),
    ("sat", 5..6),
    ("sun", 6..7),
    ("mon_fri", 0..5),
    ("sat_sun", 5..7),
    ("daily", 0..7),
];

impl<'a> Reader<'a> {
    fn policy<'i>(&mut self, document: &'a DeTable<'i>, languages: &[(String, String)], vocabulary: &Vocabulary) -> Option<Placed> {
        let top = Table { table: document, at: 0, name: "policy".to_owned() };
        self.known_keys(&top, &TOP_KEYS);
        let intents = self.intents(&top, vocabulary);
        let files = self.language_table(&top, languages);
        let labels: Vec<&str> = vocabulary.intents.iter().map(|range| range.label.as_str()).collect();
        let words = self.own_words(&files, &labels);
        let messages = self.messages(&top, &words);
        let languages = self.other_languages(&files, &messages, &labels);
        let (queues, queue_places, fallbacks) = self.queues(&top);
        let thresholds = self.thresholds(&top);
        let soft = self.soft(&top);
        let handoff = self.handoff(&top);
        let pilot = self.pilot(&top);
        let masking = self.masking(&top);
        let example_ids: Vec<String> = intents.iter().map(|intent| intent.id.clone()).collect();
        let mut compiler = Compiler::new(vocabulary, &example_ids);
        let (mut triggers, mut whens, mut rearms) = (Vec::new(), Vec::new(), Vec::new());
        let tables = self.tables(&top, "trigger");
        if tables.is_empty() {
            self.tell(0, "found no [[trigger]], expected at least one".to_owned(), None);
        }
        for table in &tables {
            let read = self.trigger(table, &queues, &messages, &mut compiler);
            if let Some((trigger, when, rearm)) = read {
                triggers.push(trigger);
                whens.push(when);
                rearms.push(rearm);
            }
        }
        self.ids_once(&tables);
        let (terms, phrases) = (compiler.terms, compiler.phrases);
        let texts: Vec<(&str, &str)> = files.iter().map(|file| (file.tag.as_str(), file.text.as_str())).collect();
        let digest = if texts.is_empty() {
            Digest::of_value(&(self.source, vocabulary))
        } else {
            Digest::of_value(&(self.source, texts, vocabulary))
        };
        let policy = Policy {
            digest,
            vocabulary: vocabulary.clone(),
            thresholds,
            soft,
            handoff,
            pilot,
            masking,
            triggers,
            queues,
            messages,
            words,
            languages,
            intents,
            terms,
            phrases,
        };
        let pilot = top.get("pilot").map_or(0, |value| value.span().start);
        Some(Placed { policy, whens, rearms, fallbacks, queues: queue_places, pilot })
    }

    fn trigger<'i>(
        &mut self,
        table: &Table<'a, 'i>,
        queues: &[Queue],
        messages: &[MessageTemplate],
        compiler: &mut Compiler<'_>,
    ) -> Option<(Trigger, usize, Option<usize>)> {
        self.known_keys(table, &TRIGGER_KEYS);
        // Everything is read before anything is given up, so that all faults are told.
        let id = self.id(table);
        let about = self.optional_text(table, "about", 200);
        let kind = self.choice(table, "kind", &TriggerKind::ALL);
        let basis = self.choice(table, "basis", &Basis::ALL);
        let urgency = self.choice(table, "urgency", &Urgency::ALL);
        let category = self.word(table, "category");
        let priority = self.whole(table, "priority", 0, 100, Some(50));
        let hold_turns = self.whole(table, "hold_turns", 1, i64::from(HOLD_TURNS_MAX), Some(1));
        let cooldown_turns = self.whole(table, "cooldown_turns", 1, i64::from(COOLDOWN_TURNS_MAX), Some(6));
        let when = self.required(table, "when").and_then(|value| self.condition(table, "when", value, compiler));
        let rearm = table.get("rearm").map(|value| self.condition(table, "rearm", value, compiler));
        let queue = self.reference(table, "queue", "a [[queue]]", queues.iter().map(|queue| queue.id.as_str()));
        let message = self.reference(table, "message", "a [[message]]", messages.iter().map(|message| message.id.as_str()));
        let mode = table.get("mode").map_or(Some(Mode::Hard), |_| self.choice(table, "mode", &Mode::ALL));
        let shadow = self.truth(table, "shadow", false);
        let rearm = match rearm {
            None => None,
            Some(condition) => Some(condition?),
        };
        let (when, when_at) = when?;
        let trigger = Trigger {
            id: id?,
            about: about?,
            kind: kind?,
            basis: basis?,
            urgency: urgency?,
            category: category?,
            priority: u8::try_from(priority?).ok()?,
            when,
            pace: Pace { hold_turns: u8::try_from(hold_turns?).ok()?, cooldown_turns: u16::try_from(cooldown_turns?).ok()? },
            queue: queue?,
            message: message?,
            mode: mode?,
            shadow,
            line: self.place(table.at).0,
            rearm: rearm.as_ref().map(|(condition, _)| condition.clone()),
        };
        Some((trigger, when_at, rearm.map(|(_, at)| at)))
    }

    fn condition<'i>(
        &mut self,
        table: &Table<'a, 'i>,
        key: &str,
        value: Value<'a, 'i>,
        compiler: &mut Compiler<'_>,
    ) -> Option<(Expression, usize)> {
        let text = self.text_value(table, key, value)?;
        let start = value.span().start;
        match compiler.compile(text) {
            Ok(condition) => Some((condition, start)),
            Err(faults) => {
                for fault in faults {
                    let at = inside_string(self.source, value.span(), fault.offset);
                    self.tell(at, format!("{}.{key}: {}", table.name, fault.what), fault.suggestion);
                }
                None
            }
        }
    }

    fn queues<'i>(&mut self, top: &Table<'a, 'i>) -> (Vec<Queue>, Vec<usize>, Vec<usize>) {
        let tables = self.tables(top, "queue");
        let ids: Vec<&str> = tables.iter().filter_map(|table| table.get("id")?.get_ref().as_str()).collect();
        let (mut queues, mut places, mut fallbacks) = (Vec::new(), Vec::new(), Vec::new());
        for table in &tables {
            self.known_keys(table, &QUEUE_KEYS);
            let id = self.id(table);
            let name = self.optional_text(table, "name", WORD_BYTES_MAX);
            let owner = self.sentence(table, "owner", 200);
            let skills = self.skills(table);
            let strategy = self.choice(table, "strategy", &Strategy::ALL);
            let hours = table.get("hours").map(|value| self.hours(table, value));
            let known = ids.iter().copied().chain([FOLLOW_UP]);
            let mut secs = |key: &str, low: i64, high: i64, default: i64| {
                self.whole(table, key, low, high, Some(default)).and_then(|secs| u32::try_from(secs).ok()).unwrap_or_default()
            };
            let handling_secs = secs("handling_secs", 1, 24 * 3600, 600);
            let waiting_max = secs("waiting_max", 1, 10_000, 500);
            let fallback_after_secs = secs("fallback_after_secs", 1, 24 * 3600, 300);
            let relax_after_secs = table.get("relax_after_secs").map(|_| secs("relax_after_secs", 1, 24 * 3600, 0));
            let fallback = self.reference(table, "fallback", &format!("another [[queue]] or {FOLLOW_UP:?}"), known);
            let Some(id) = id.or_else(|| written_id(table)) else { continue };
            // A queue with another fault is known by its id all the same, or every trigger that names it would be faulty too.
            let fallback_at = table.get("fallback").map_or(table.at, |value| value.span().start);
            queues.push(Queue {
                name: name.flatten().unwrap_or_else(|| id.replace(['-', '_'], " ")),
                id,
                owner: owner.unwrap_or_default(),
                skills: skills.unwrap_or_default(),
                strategy: strategy.unwrap_or(Strategy::RoundRobin),
                fallback: fallback.filter(|at| *at < ids.len()).map_or(Fallback::FollowUp, Fallback::Queue),
                hours: hours.flatten(),
                handling_secs,
                waiting_max,
                relax_after_secs,
                fallback_after_secs,
            });
            places.push(table.at);
            fallbacks.push(fallback_at);
        }
        self.ids_once(&tables);
        (queues, places, fallbacks)
    }

    fn hours<'i>(&mut self, queue: &Table<'a, 'i>, value: Value<'a, 'i>) -> Option<Hours> {
        let at = value.span().start;
        let name = format!("{}.hours", queue.name);
        let Some(table) = value.get_ref().as_table() else {
            return self.fault(at, format!("{name}: found {}, expected a table", found(value)), None);
        };
        let table = Table { table, at, name: name.clone() };
        self.known_keys(&table, &HOURS_KEYS);
        let zone = self.sentence(&table, "zone", WORD_BYTES_MAX);
        if let (Some(zone), Some(value)) = (&zone, table.get("zone"))
            && jiff::tz::TimeZone::get(zone).is_err()
        {
            self.tell(value.span().start, format!("{name}.zone: found {zone:?}, expected a time zone such as \"Europe/Berlin\""), None);
        }
        let week = self.required(&table, "weekly").and_then(|value| self.week(&name, value));
        let holidays = table.get("holidays").map(|value| self.holidays(&name, value));
        let holidays = match holidays {
            None => Vec::new(),
            Some(holidays) => holidays?,
        };
        let exceptions = table.get("exceptions").map_or_else(Vec::new, |value| self.exceptions(&name, value, &holidays));
        Some(Hours { zone: zone?, week: week?, holidays, exceptions })
    }

    /// Days with hours of their own: `{ "2026-12-24" = "09:00-12:00", "2026-12-31" = "closed" }`.
    fn exceptions<'i>(&mut self, name: &str, value: Value<'a, 'i>, holidays: &[Day]) -> Vec<(Day, Vec<MinuteSpan>)> {
        let at = value.span().start;
        let Some(table) = value.get_ref().as_table().filter(|table| table.len() <= DAYS_MAX) else {
            let expected = format!("a table of at most {DAYS_MAX} such as {{ \"2026-12-24\" = \"09:00-12:00\" }}");
            self.tell(at, format!("{name}.exceptions: found {}, expected {expected}", found(value)), None);
            return Vec::new();
        };
        let name = format!("{name}.exceptions");
        let mut exceptions = Vec::new();
        for (key, value) in table.iter() {
            let written: &str = key.get_ref();
            let Some(day) = day(written) else {
                let shown: String = written.chars().take(WORD_BYTES_MAX).collect();
                self.tell(key.span().start, format!("{name}: found the day {shown:?}, expected one such as \"2026-12-24\""), None);
                continue;
            };
            if holidays.contains(&day) {
                self.tell(
                    key.span().start,
                    format!("{name}: found {written:?}, which is a holiday as well, expected one of the two"),
                    None,
                );
            }
            let at = value.span().start;
            let Some(text) = value.get_ref().as_str() else {
                self.tell(at, format!("{name}.{written}: found {}, expected a text", found(value)), None);
                continue;
            };
            let spans =
                if text == CLOSED { Ok(Vec::new()) } else { text.split(',').map(|span| clock_span(span.trim()).ok_or(span)).collect() };
            match spans {
                Ok(mut spans) => {
                    spans.sort_unstable();
                    if overlap(&spans) {
                        self.tell(at, format!("{name}.{written}: has times that overlap"), None);
                    }
                    exceptions.push((day, spans));
                }
                Err(span) => {
                    let expected = "expected times such as \"09:00-12:00\", or \"closed\"";
                    self.tell(at, format!("{name}.{written}: found {span:?}, {expected}"), None);
                }
            }
        }
        exceptions
    }

    fn week<'i>(&mut self, name: &str, value: Value<'a, 'i>) -> Option<[Vec<(u16, u16)>; 7]> {
        let at = value.span().start;
        let Some(table) = value.get_ref().as_table() else {
            return self.fault(
                at,
                format!("{name}.weekly: found {}, expected a table such as {{ mon_fri = \"09:00-18:00\" }}", found(value)),
                None,
            );
        };
        let table = Table { table, at, name: format!("{name}.weekly") };
        self.known_keys(&table, &DAYS.map(|(day, _)| day));
        let mut week: [Vec<(u16, u16)>; 7] = Default::default();
        for (day, days) in DAYS {
            let Some(value) = table.get(day) else { continue };
            let text = self.text_value(&table, day, value)?;
            for span in text.split(',') {
                let Some(span) = clock_span(span.trim()) else {
                    let what = format!("{}.{day}: found {span:?}, expected times such as \"09:00-12:30, 13:00-18:00\"", table.name);
                    return self.fault(value.span().start, what, None);
                };
                days.clone().for_each(|day| week[day].push(span));
            }
        }
        for (day, spans) in week.iter_mut().enumerate() {
            spans.sort_unstable();
            if overlap(spans) {
                let what = format!("{}: {} has times that overlap", table.name, DAYS[day].0);
                return self.fault(at, what, None);
            }
        }
        if week.iter().all(Vec::is_empty) {
            return self.fault(
                at,
                format!("{}: found no hours, expected some; a queue that never closes has no hours key", table.name),
                None,
            );
        }
        Some(week)
    }

    fn holidays<'i>(&mut self, name: &str, value: Value<'a, 'i>) -> Option<Vec<Day>> {
        let array = self.array(&format!("{name}.holidays"), value, DAYS_MAX)?;
        let mut days = Vec::new();
        for value in array {
            let text = value.get_ref().as_str().map(str::to_owned).or_else(|| value.get_ref().as_datetime().map(ToString::to_string));
            match text.as_deref().and_then(day) {
                Some(day) => days.push(day),
                None => {
                    let what = format!("{name}.holidays: found {}, expected a day such as \"2026-12-25\"", found(value));
                    self.tell(value.span().start, what, None);
                }
            }
        }
        Some(days)
    }

    /// The messages of a policy, or of a language file; their templates are tried with these words.
    fn messages<'i>(&mut self, top: &Table<'a, 'i>, words: &LanguageWords) -> Vec<MessageTemplate> {
        let tables = self.tables(top, "message");
        let mut messages = Vec::new();
        for table in &tables {
            self.known_keys(table, &MESSAGE_KEYS);
            let id = self.id(table);
            let mut part = |key: &str| self.part(table, key, &PART_VARIABLES, words);
            let (acknowledge, reassure, expect) = (part("acknowledge"), part("reassure"), part("expect"));
            for (key, _) in [("acknowledge", &acknowledge), ("reassure", &reassure)].into_iter().filter(|(_, text)| names_wait(text)) {
                let at = table.get(key).map_or(table.at, |value| value.span().start);
                self.tell(at, format!("{}.{key}: found the wait, which may not be known; it belongs into expect", table.name), None);
            }
            let mut optional = |key: &str, known: &[&str]| table.get(key).map(|_| self.part(table, key, known, words));
            let expect_unknown_wait = optional("expect_unknown_wait", &PART_VARIABLES);
            let expect_off_hours = optional("expect_off_hours", &PART_VARIABLES);
            let expect_at_capacity = optional("expect_at_capacity", &PART_VARIABLES);
            let connected = optional("connected", &CONNECTED_VARIABLES);
            let opening = optional("opening", &OPENING_VARIABLES);
            let variants = [("expect_off_hours", &expect_off_hours), ("expect_at_capacity", &expect_at_capacity)];
            let variants = variants.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?)));
            for (key, _) in std::iter::once(("expect", &expect)).chain(variants).filter(|(_, text)| names_wait(text)) {
                if expect_unknown_wait.is_none() {
                    let what = format!("{}: {key} names the wait, expected expect_unknown_wait for when it is not known", table.name);
                    self.tell(table.at, what, None);
                }
            }
            if let Some(value) = table.get("expect_unknown_wait").filter(|_| expect_unknown_wait.as_deref().is_some_and(names_wait)) {
                self.tell(
                    value.span().start,
                    format!("{}.expect_unknown_wait: found the wait, which is not known there", table.name),
                    None,
                );
            }
            if let Some(id) = id.or_else(|| written_id(table)) {
                messages.push(MessageTemplate {
                    id,
                    acknowledge,
                    reassure,
                    expect,
                    expect_unknown_wait,
                    expect_off_hours,
                    expect_at_capacity,
                    connected,
                    opening,
                });
            }
        }
        self.ids_once(&tables);
        messages
    }

    /// A template: its braces checked one by one, then the whole of it by rendering.
    fn part<'i>(&mut self, table: &Table<'a, 'i>, key: &str, known: &[&str], words: &LanguageWords) -> String {
        let text = self.template(table, key, known);
        self.try_out(table, key, &text, words);
        text
    }

    fn template<'i>(&mut self, table: &Table<'a, 'i>, key: &str, known: &[&str]) -> String {
        let text = self.sentence(table, key, PART_BYTES_MAX).unwrap_or_default();
        self.variables(table, key, &text, known)
    }

    /// Renders a template that has no other fault.
    fn try_out<'i>(&mut self, table: &Table<'a, 'i>, key: &str, text: &str, words: &LanguageWords) {
        let Some(value) = table.get(key).filter(|_| !text.is_empty()) else { return };
        if let Some(fault) = reply::fault_of(text, words) {
            self.tell(value.span().start, format!("{}.{key}: {fault}", table.name), None);
        }
    }

    /// Braces must be whole, and what stands between them known; gives the text, or nothing where it is faulty.
    fn variables<'i>(&mut self, table: &Table<'a, 'i>, key: &str, text: &str, known: &[&str]) -> String {
        let Some(value) = table.get(key) else { return String::new() };
        let at = |offset: usize| inside_string(self.source, value.span(), offset);
        let mut rest = 0;
        let mut faults = Vec::new();
        while let Some(open) = text[rest..].find("{{").map(|open| open + rest) {
            let Some(close) = text[open..].find("}}").map(|close| close + open) else {
                faults.push((at(open), "found {{ that no }} closes".to_owned(), None));
                break;
            };
            let name = text[open + 2..close].trim();
            if !known.contains(&name) {
                let suggestion = nearest(name, known.iter().copied()).map(|name| format!("{{{{ {name} }}}}"));
                faults.push((at(open), format!("found {{{{ {name} }}}}, expected one of {}", known.join(", ")), suggestion));
            }
            rest = close + 2;
        }
        if let Some(stray) = text[rest..].find("}}").map(|stray| stray + rest).filter(|_| !text[rest..].contains("{{")) {
            faults.push((at(stray), "found }} that no {{ opens".to_owned(), None));
        }
        if let Some(stray) = ["{%", "{#"].iter().find_map(|sign| text.find(sign)) {
            faults.push((at(stray), "found a statement, expected only {{ names }}".to_owned(), None));
        }
        let is_sound = faults.is_empty();
        for (at, what, suggestion) in faults {
            self.tell(at, format!("{}.{key}: {what}", table.name), suggestion);
        }
        if is_sound { text.to_owned() } else { String::new() }
    }

    fn intents<'i>(&mut self, top: &Table<'a, 'i>, vocabulary: &Vocabulary) -> Vec<ExampleIntent> {
        let tables = self.tables(top, "intent");
        let mut intents = Vec::new();
        for table in &tables {
            self.known_keys(table, &INTENT_KEYS);
            let id = self.id(table);
            if !vocabulary.examples {
                self.tell(table.at, format!("{}: the model has no calibration for intents by example", table.name), None);
            }
            if let (Some(id), Some(value)) = (&id, table.get("id"))
                && vocabulary.intents.iter().any(|range| range.label == *id)
            {
                self.tell(
                    value.span().start,
                    format!("{}.id: found {id:?}, which is an intent of the model, expected another name", table.name),
                    None,
                );
            }
            let examples = self.required(table, "examples").and_then(|value| self.examples(table, value));
            if let (Some(id), Some(examples)) = (id, examples) {
                intents.push(ExampleIntent { id, examples });
            }
        }
        self.ids_once(&tables);
        intents
    }

    fn examples<'i>(&mut self, table: &Table<'a, 'i>, value: Value<'a, 'i>) -> Option<Vec<String>> {
        let name = format!("{}.examples", table.name);
        let array = self.array(&name, value, EXAMPLES.end - 1)?;
        if !EXAMPLES.contains(&array.len()) {
            let what = format!("{name}: found {}, expected {} to {}", array.len(), EXAMPLES.start, EXAMPLES.end - 1);
            return self.fault(value.span().start, what, None);
        }
        let mut examples = Vec::new();
        for value in array {
            match value.get_ref().as_str().filter(|text| text.chars().any(char::is_alphanumeric) && text.len() <= PART_BYTES_MAX) {
                Some(text) if examples.iter().any(|other| other == text) => {
                    self.tell(value.span().start, format!("{name}: found {} twice, expected different messages", found(value)), None);
                }
                Some(text) => examples.push(text.to_owned()),
                None => self.tell(value.span().start, format!("{name}: found {}, expected a message", found(value)), None),
            }
        }
        Some(examples)
    }

    fn thresholds<'i>(&mut self, top: &Table<'a, 'i>) -> Thresholds {
        let table = self.section(top, "thresholds", &THRESHOLD_KEYS);
        let mut level = |key: &str, default: f64| self.level(table.as_ref(), key, 0.0, default);
        Thresholds {
            asks_for_person: level("asks_for_person", 0.6),
            accepts: level("accepts", 0.6),
            rejects: level("rejects", 0.6),
            same_issue: level("same_issue", 0.7),
            customer_repeats: level("customer_repeats", 0.9),
            bot_repeats: level("bot_repeats", 0.9),
        }
    }

    fn soft<'i>(&mut self, top: &Table<'a, 'i>) -> Soft {
        let table = self.section(top, "soft", &SOFT_KEYS);
        let mut whole = |key: &str, low: i64, high: i64, default: i64| match &table {
            Some(table) => self.whole(table, key, low, high, Some(default)).unwrap_or(default),
            None => default,
        };
        let attempts = whole("attempts", 0, 10, 2);
        let turns = whole("turns", 1, 10, 2);
        let timeout_secs = whole("timeout_secs", 10, 24 * 3600, 600);
        Soft {
            attempts: u32::try_from(attempts).unwrap_or_default(),
            turns: u8::try_from(turns).unwrap_or(1),
            timeout_secs: u32::try_from(timeout_secs).unwrap_or(600),
            negative: self.level(table.as_ref(), "negative", -1.0, -0.3),
            positive: self.level(table.as_ref(), "positive", 0.0, 0.5),
            thanks: self.level(table.as_ref(), "thanks", 0.0, 0.6),
        }
    }

    fn handoff<'i>(&mut self, top: &Table<'a, 'i>) -> HandoffRules {
        let Some(table) = self.section(top, "handoff", &HANDOFF_KEYS) else { return HandoffRules::DEFAULT };
        let mut whole = |key: &str, low: i64, high: i64, default: u32| {
            self.whole(&table, key, low, high, Some(i64::from(default))).and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
        };
        let default = HandoffRules::DEFAULT;
        HandoffRules {
            offer_secs: whole("offer_secs", 5, 3600, default.offer_secs),
            update_secs: whole("update_secs", 30, 24 * 3600, default.update_secs),
            lease_secs: whole("lease_secs", 10, 24 * 3600, default.lease_secs),
            max_wait_secs: whole("max_wait_secs", 60, 7 * 24 * 3600, default.max_wait_secs),
            follow_up_hours: whole("follow_up_hours", 1, 30 * 24, default.follow_up_hours),
            quiet_hours: whole("quiet_hours", 1, 30 * 24, default.quiet_hours),
            ageing_secs: whole("ageing_secs", 0, 3600, default.ageing_secs),
        }
    }

    fn pilot<'i>(&mut self, top: &Table<'a, 'i>) -> Pilot {
        let table = self.section(top, "pilot", &PILOT_KEYS);
        let share = self.level(table.as_ref(), "share", 0.0, 1.0);
        let always = table.as_ref().filter(|table| table.get("always").is_some()).and_then(|table| self.words(table, "always"));
        Pilot { share: (share * f64::from(Pilot::ALL)).round() as u16, always: always.unwrap_or_default() }
    }

    /// Names alone, each at level 1, or names with levels: `["billing"]`, `{ billing = 3 }`.
    fn skills<'i>(&mut self, table: &Table<'a, 'i>) -> Option<Vec<Skill>> {
        let levels = table.get("skills").and_then(|value| Some((value, value.get_ref().as_table()?)));
        let Some((value, levels)) = levels else {
            return self.words(table, "skills").map(|names| names.into_iter().map(|name| Skill { name, level: 1 }).collect());
        };
        let levels = Table { table: levels, at: value.span().start, name: format!("{}.skills", table.name) };
        if levels.table.len() > WORD_BYTES_MAX {
            return self.fault(
                levels.at,
                format!("{}: found {}, expected at most {WORD_BYTES_MAX}", levels.name, levels.table.len()),
                None,
            );
        }
        let mut skills = Vec::new();
        for key in levels.table.keys() {
            let name: &str = key.get_ref();
            if !is_word(name) {
                let shown: String = name.chars().take(WORD_BYTES_MAX).collect();
                self.tell(key.span().start, format!("{}: found the skill {shown:?}, expected {WORD}", levels.name), None);
                continue;
            }
            let level = self.whole(&levels, name, 1, i64::from(LEVEL_MAX), None).and_then(|level| u8::try_from(level).ok());
            skills.extend(level.map(|level| Skill { name: name.to_owned(), level }));
        }
        Some(skills)
    }

    fn masking<'i>(&mut self, top: &Table<'a, 'i>) -> Masking {
        let table = self.section(top, "masking", &MASKING_KEYS);
        let mut truth = |key: &str| table.as_ref().is_some_and(|table| self.truth(table, key, false));
        Masking { email: truth("email"), phone: truth("phone") }
    }

    // Values of one kind.

    fn truth<'i>(&mut self, table: &Table<'a, 'i>, key: &str, default: bool) -> bool {
        let Some(value) = table.get(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.tell(value.span().start, format!("{}.{key}: found {}, expected true or false", table.name, found(value)), None);
            default
        })
    }

    fn section<'i>(&mut self, top: &Table<'a, 'i>, key: &str, known: &[&str]) -> Option<Table<'a, 'i>> {
        let value = top.get(key)?;
        let at = value.span().start;
        let Some(table) = value.get_ref().as_table() else {
            return self.fault(at, format!("{key}: found {}, expected [{key}]", found(value)), None);
        };
        let table = Table { table, at, name: key.to_owned() };
        self.known_keys(&table, known);
        Some(table)
    }

    /// The tables of an array of tables; no more than [`ITEMS_MAX`].
    fn tables<'i>(&mut self, top: &Table<'a, 'i>, key: &str) -> Vec<Table<'a, 'i>> {
        let Some(value) = top.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.tell(value.span().start, format!("{key}: found {}, expected [[{key}]]", found(value)), None);
            return Vec::new();
        };
        if array.len() > ITEMS_MAX {
            let at = array.get(ITEMS_MAX).map_or(0, |value| value.span().start);
            self.tell(at, format!("{key}: found {} of them, expected at most {ITEMS_MAX}", array.len()), None);
        }
        let mut tables = Vec::new();
        for (place, value) in array.iter().enumerate().take(ITEMS_MAX) {
            let at = value.span().start;
            let Some(table) = value.get_ref().as_table() else {
                self.tell(at, format!("{key}: found {}, expected [[{key}]]", found(value)), None);
                continue;
            };
            let id = table.get("id").and_then(|id| id.get_ref().as_str()).filter(|id| id.len() <= WORD_BYTES_MAX);
            let name = id.map_or_else(|| format!("{key} {}", place + 1), |id| format!("{key} {id:?}"));
            tables.push(Table { table, at, name });
        }
        tables
    }

    fn known_keys<'i>(&mut self, table: &Table<'a, 'i>, known: &[&str]) {
        for key in table.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name: &str = key.get_ref();
            let suggestion = nearest(name, known.iter().copied()).map(str::to_owned);
            let shown: String = name.chars().take(WORD_BYTES_MAX).collect();
            let shown = if shown.chars().all(|c| c.is_ascii_graphic()) { shown } else { format!("{shown:?}") };
            self.tell(key.span().start, format!("{}: found the key {shown}, expected one of {}", table.name, known.join(", ")), suggestion);
        }
    }

    fn ids_once<'i>(&mut self, tables: &[Table<'a, 'i>]) {
        for (place, table) in tables.iter().enumerate() {
            let Some(value) = table.get("id") else { continue };
            let Some(id) = value.get_ref().as_str() else { continue };
            let same = |other: &&Table<'a, 'i>| other.get("id").and_then(|value| value.get_ref().as_str()) == Some(id);
            if let Some(first) = tables[..place].iter().find(same) {
                let (line, _) = self.place(first.at);
                self.tell(value.span().start, format!("{}.id: found twice, first in line {line}, expected once", table.name), None);
            }
        }
    }

    fn required<'i>(&mut self, table: &Table<'a, 'i>, key: &str) -> Option<Value<'a, 'i>> {
        match table.get(key) {
            Some(value) => Some(value),
            None => self.fault(table.at, format!("{}: found no {key}, expected one", table.name), None),
        }
    }

    fn text_value<'i>(&mut self, table: &Table<'a, 'i>, key: &str, value: Value<'a, 'i>) -> Option<&'a str> {
        match value.get_ref().as_str() {
            Some(text) => Some(text),
            None => self.fault(value.span().start, format!("{}.{key}: found {}, expected a text", table.name, found(value)), None),
        }
    }

    fn id<'i>(&mut self, table: &Table<'a, 'i>) -> Option<String> {
        self.word(table, "id")
    }

    fn word<'i>(&mut self, table: &Table<'a, 'i>, key: &str) -> Option<String> {
        let value = self.required(table, key)?;
        let text = self.text_value(table, key, value)?;
        self.check_word(&format!("{}.{key}", table.name), text, value)
    }

    fn check_word<'i>(&mut self, name: &str, text: &str, value: Value<'a, 'i>) -> Option<String> {
        if is_word(text) {
            return Some(text.to_owned());
        }
        let what = format!("{name}: found {}, expected {WORD}", found(value));
        self.fault(value.span().start, what, None)
    }

    fn words<'i>(&mut self, table: &Table<'a, 'i>, key: &str) -> Option<Vec<String>> {
        let value = self.required(table, key)?;
        let name = format!("{}.{key}", table.name);
        let mut words = Vec::new();
        for value in self.array(&name, value, WORD_BYTES_MAX)? {
            match value.get_ref().as_str() {
                Some(text) => words.extend(self.check_word(&name, text, value)),
                None => self.tell(value.span().start, format!("{name}: found {}, expected a text", found(value)), None),
            }
        }
        Some(words)
    }

    fn array<'i>(&mut self, name: &str, value: Value<'a, 'i>, most: usize) -> Option<&'a DeArray<'i>> {
        match value.get_ref().as_array() {
            Some(array) if array.len() <= most => Some(array),
            Some(array) => self.fault(value.span().start, format!("{name}: found {}, expected at most {most}", array.len()), None),
            None => self.fault(value.span().start, format!("{name}: found {}, expected a list", found(value)), None),
        }
    }

    /// A text with something in it.
    fn sentence<'i>(&mut self, table: &Table<'a, 'i>, key: &str, bytes_max: usize) -> Option<String> {
        let value = self.required(table, key)?;
        let text = self.text_value(table, key, value)?;
        if !text.trim().is_empty() && text.len() <= bytes_max {
            return Some(text.to_owned());
        }
        let found = if text.trim().is_empty() { "nothing".to_owned() } else { format!("{} bytes", text.len()) };
        self.fault(value.span().start, format!("{}.{key}: found {found}, expected a text of at most {bytes_max} bytes", table.name), None)
    }

    fn optional_text<'i>(&mut self, table: &Table<'a, 'i>, key: &str, bytes_max: usize) -> Option<Option<String>> {
        if table.get(key).is_none() {
            return Some(None);
        }
        self.sentence(table, key, bytes_max).map(Some)
    }

    fn choice<'i, T: Copy>(&mut self, table: &Table<'a, 'i>, key: &str, all: &[(&str, T)]) -> Option<T> {
        let value = self.required(table, key)?;
        let text = self.text_value(table, key, value)?;
        if let Some((_, chosen)) = all.iter().find(|(word, _)| *word == text) {
            return Some(*chosen);
        }
        let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
        let suggestion = nearest(text, words.iter().copied()).map(|word| format!("{word:?}"));
        self.fault(
            value.span().start,
            format!("{}.{key}: found {}, expected one of {}", table.name, found(value), words.join(", ")),
            suggestion,
        )
    }

    fn reference<'i, 'w>(
        &mut self,
        table: &Table<'a, 'i>,
        key: &str,
        what: &str,
        known: impl Iterator<Item = &'w str> + Clone,
    ) -> Option<usize> {
        let value = self.required(table, key)?;
        let text = self.text_value(table, key, value)?;
        if let Some(place) = known.clone().position(|id| id == text) {
            return Some(place);
        }
        let suggestion = nearest(text, known).map(|id| format!("{id:?}"));
        self.fault(value.span().start, format!("{}.{key}: found {}, expected the id of {what}", table.name, found(value)), suggestion)
    }

    fn whole<'i>(&mut self, table: &Table<'a, 'i>, key: &str, low: i64, high: i64, default: Option<i64>) -> Option<i64> {
        let value = match (table.get(key), default) {
            (None, Some(default)) => return Some(default),
            (None, None) => self.required(table, key)?,
            (Some(value), _) => value,
        };
        let number =
            value.get_ref().as_integer().and_then(|number| i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok());
        match number.filter(|number| (low..=high).contains(number)) {
            Some(number) => Some(number),
            None => self.fault(
                value.span().start,
                format!("{}.{key}: found {}, expected a whole number from {low} to {high}", table.name, found(value)),
                None,
            ),
        }
    }

    fn level<'i>(&mut self, table: Option<&Table<'a, 'i>>, key: &str, low: f64, default: f64) -> f64 {
        let Some((table, value)) = table.and_then(|table| Some((table, table.get(key)?))) else { return default };
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().replace('_', "").parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            _ => None,
        };
        match number.filter(|number| (low..=1.0).contains(number)) {
            Some(number) => number,
            None => {
                let what = format!("{}.{key}: found {}, expected a number from {low} to 1", table.name, found(value));
                self.tell(value.span().start, what, None);
                default
            }
        }
    }

    /// Tells a fault and gives up the value.
    fn fault<T>(&mut self, at: usize, what: String, suggestion: Option<String>) -> Option<T> {
        self.tell(at, what, suggestion);
        None
    }

    fn tell(&mut self, at: usize, what: String, suggestion: Option<String>) {
        if self.faults.len() < FAULTS_MAX {
            let (line, column) = self.place(at);
            let fault = PolicyFault { file: self.file.to_owned(), line, column, what, suggestion };
            if !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
        }
    }

    /// Line and column, from 1, the column in characters.
    fn place(&self, at: usize) -> (usize, usize) {
        let at = (0..=at.min(self.source.len())).rev().find(|at| self.source.is_char_boundary(*at)).unwrap_or(0);
        let before = &self.source[..at];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    fn finish(mut self) -> Vec<PolicyFault> {
        self.faults.sort();
        self.faults
    }
}

/// What a value is, for a fault: short ones as they are.
fn found(value: &Spanned<DeValue<'_>>) -> String {
    match value.get_ref() {
        DeValue::String(text) if text.chars().count() <= WORD_BYTES_MAX => format!("{text:?}"),
        DeValue::String(text) => format!("a text of {} bytes", text.len()),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(at) => at.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// How an id, a skill or a category is written.
const WORD: &str = "1 to 64 letters, digits, - or _";

fn is_word(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// The id as it is written, also where it has a wrong form: who names it must not be told off for it.
fn written_id(table: &Table<'_, '_>) -> Option<String> {
    table.get("id")?.get_ref().as_str().map(str::to_owned)
}

/// Where a byte of a string's value stands in the file: past the quotes, and past what escapes take.
fn inside_string(source: &str, span: Range<usize>, offset: usize) -> usize {
    let raw = source.get(span.clone()).unwrap_or_default();
    let quotes = if raw.starts_with("'''") || raw.starts_with("\"\"\"") { 3 } else { 1 };
    let mut at = quotes;
    // A newline right after three quotes is not part of the value.
    if quotes == 3 {
        at += raw[3..].strip_prefix("\r\n").map_or_else(|| usize::from(raw[3..].starts_with('\n')), |_| 2);
    }
    let escapes = raw.starts_with('"');
    let mut value = 0;
    while value < offset {
        let Some(c) = raw.get(at..).and_then(|rest| rest.chars().next()) else { break };
        let (taken, gives) = match raw[at..].chars().nth(1) {
            Some(next) if escapes && c == '\\' => match next {
                'u' => escaped(raw, at, 4),
                'U' => escaped(raw, at, 8),
                'x' => escaped(raw, at, 2),
                '\n' | ' ' | '\r' | '\t' => (raw[at + 1..].len() - raw[at + 1..].trim_start().len() + 1, 0),
                _ => (1 + next.len_utf8(), 1),
            },
            _ => (c.len_utf8(), c.len_utf8()),
        };
        at += taken;
        value += gives;
    }
    (span.start + at).min(span.end)
}

/// Bytes of an escape with so many hexadecimal digits, and of the character that it gives.
fn escaped(raw: &str, at: usize, digits: usize) -> (usize, usize) {
    let code = raw.get(at + 2..at + 2 + digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    (2 + digits, code.and_then(char::from_u32).map_or(1, char::len_utf8))
}

/// Year, month and day.
type Day = (i16, i8, i8);

fn day(text: &str) -> Option<Day> {
    let date = text.parse::<jiff::civil::Date>().ok()?;
    Some((date.year(), date.month(), date.day()))
}

/// Whether some spans, in order, are over each other.
fn overlap(spans: &[MinuteSpan]) -> bool {
    spans.windows(2).any(|pair| pair[1].0 < pair[0].1)
}

/// `09:00-18:00` as minutes since midnight; 24:00 is the end of a day.
fn clock_span(text: &str) -> Option<MinuteSpan> {
    let (from, to) = text.split_once('-')?;
    let minutes = |text: &str| {
        let (hours, minutes) = text.trim().split_once(':')?;
        let two =
            |text: &str| (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u16>().ok()).flatten();
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        (minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some(hours * 60 + minutes)
    };
    let (from, to) = (minutes(from)?, minutes(to)?);
    (from < to).then_some((from, to))
}
