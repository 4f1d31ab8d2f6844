//! The table `[languages]` of a policy, and the files that it names.

use std::path::{Component, Path};

use toml::de::DeTable;

use super::{BYTES_MAX, ITEMS_MAX, Reader, Table, found};
use crate::handoff::expression::check::nearest;
use crate::handoff::policy::language::{BUILT_IN, Connected, IssueNames, Language, LanguageWords, OWN};
use crate::handoff::policy::{MessageTemplate, PolicyFault};
use crate::handoff::reply::{CONNECTED_VARIABLES, OPENING_VARIABLES};

const FILE_KEYS: [&str; 5] = ["words", "connected", "opening", "issues", "message"];
/// Keys of `[issues]` beside the labels: what stands for `{amount}` and `{reference}` in a name.
const ISSUE_PARTS: [&str; 2] = ["amount", "reference"];
const WORDS_KEYS: [&str; 13] =
    ["request", "account", "agent", "queue_name", "tried", "name_suffix", "minute", "minutes", "hour", "hours", "day", "days", "ask_email"];
const CONNECTED_KEYS: [&str; 3] = ["acknowledge", "reassure", "expect"];
const OPENING_KEYS: [&str; 1] = ["text"];
/// The key of `[languages]` that names the language of the policy's own messages.
const OWN_KEY: &str = "own";
/// Most languages of a policy.
const LANGUAGES_MAX: usize = 64;
/// Most bytes of a path, and of a word.
const PATH_BYTES_MAX: usize = 200;
const WORDS_BYTES_MAX: usize = 200;

/// A file that `[languages]` names, or the words that are compiled in.
pub(super) struct File {
    pub(super) tag: String,
    pub(super) text: String,
    /// How faults call it.
    name: String,
    /// Whether its messages are those of the default policy, of which this policy may have fewer.
    built_in: bool,
    /// Whether it is the language of the policy's own messages.
    own: bool,
}

/// The files that a policy names in `[languages]`, as paths relative to it; none where it is not TOML.
pub fn language_files(source: &str) -> Vec<String> {
    let (document, errors) = DeTable::parse_recoverable(source);
    let table = document.get_ref().get("languages").filter(|_| errors.is_empty()).and_then(|value| value.get_ref().as_table());
    let entries = table.into_iter().flat_map(|table| table.iter()).filter(|(key, _)| key.get_ref().as_ref() != OWN_KEY);
    let paths = entries.filter_map(|(_, value)| value.get_ref().as_str()).filter(|path| is_path(path));
    let mut paths: Vec<String> = paths.take(LANGUAGES_MAX).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The words of a language that are compiled in.
pub fn built_in_words(tag: &str) -> Option<LanguageWords> {
    let (path, text) = BUILT_IN.into_iter().find(|(path, _)| *path == format!("messages/{tag}.toml"))?;
    let mut reader = Reader { file: path, source: text, faults: Vec::new() };
    let (document, _) = DeTable::parse_recoverable(text);
    let top = Table { table: document.get_ref(), at: 0, name: "language".to_owned() };
    let words = reader.language_words(&top, tag, None);
    assert!(reader.faults.is_empty(), "the words that are compiled in are sound: {:?}", reader.faults);
    Some(words)
}

/// A path below the policy's folder.
fn is_path(path: &str) -> bool {
    let below = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    (1..=PATH_BYTES_MAX).contains(&path.len()) && below && !path.contains(['\\', '\0'])
}

/// A language tag: `de`, `pt-BR`.
fn is_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let primary = parts.next().unwrap_or_default();
    (2..=3).contains(&primary.len())
        && primary.bytes().all(|byte| byte.is_ascii_lowercase())
        && tag.len() <= 35
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// A path beside the policy, for faults.
fn beside(file: &str, path: &str) -> String {
    Path::new(file).parent().map_or_else(|| path.to_owned(), |folder| folder.join(path).display().to_string())
}

impl<'a> Reader<'a> {
    /// The table `[languages]` with the texts of its files: those that are given, else those that are compiled in.
    pub(super) fn language_table<'i>(&mut self, top: &Table<'a, 'i>, given: &[(String, String)]) -> Vec<File> {
        let Some(value) = top.get("languages") else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.tell(value.span().start, format!("languages: found {}, expected [languages]", found(value)), None);
            return Vec::new();
        };
        if table.len() > LANGUAGES_MAX {
            self.tell(value.span().start, format!("languages: found {} of them, expected at most {LANGUAGES_MAX}", table.len()), None);
        }
        let table = Table { table, at: value.span().start, name: "languages".to_owned() };
        let own = self.own_tag(&table);
        let mut files = Vec::new();
        for (key, value) in table.table.iter().filter(|(key, _)| key.get_ref().as_ref() != OWN_KEY).take(LANGUAGES_MAX) {
            let tag: &str = key.get_ref();
            if !is_tag(tag) {
                let shown: String = tag.chars().take(35).collect();
                self.tell(
                    key.span().start,
                    format!("languages: found the key {shown:?}, expected {OWN_KEY} or a language such as de"),
                    None,
                );
                continue;
            }
            let Some(path) = self.text_value(&table, tag, value) else { continue };
            if !is_path(path) {
                let what = format!("languages.{tag}: found {}, expected the path of a file below the policy's folder", found(value));
                self.tell(value.span().start, what, None);
                continue;
            }
            let given = given.iter().find(|(other, _)| other == path).map(|(_, text)| text.as_str());
            let built_in = BUILT_IN.into_iter().find(|(other, _)| *other == path).map(|(_, text)| text);
            let Some(text) = given.or(built_in) else {
                self.tell(value.span().start, format!("languages.{tag}: found {}, but no such file", found(value)), None);
                continue;
            };
            let is_built_in = built_in.is_some_and(|built_in| built_in == text);
            files.push(File {
                tag: tag.to_owned(),
                text: text.to_owned(),
                name: beside(self.file, path),
                built_in: is_built_in,
                own: tag == own,
            });
        }
        if !files.iter().any(|file| file.own) && own != OWN {
            let at = table.get(OWN_KEY).map_or(table.at, |value| value.span().start);
            match BUILT_IN.into_iter().find(|(path, _)| *path == format!("messages/{own}.toml")) {
                Some((path, text)) => {
                    files.push(File { tag: own, text: text.to_owned(), name: beside(self.file, path), built_in: true, own: true });
                }
                None => {
                    let what = format!(
                        "languages.{OWN_KEY}: found {own:?}, which has no file here, expected a line such as {own} = \"messages/{own}.toml\""
                    );
                    self.tell(at, what, None);
                }
            }
        }
        files
    }

    fn own_tag<'i>(&mut self, table: &Table<'a, 'i>) -> String {
        let own = table.get(OWN_KEY).and_then(|value| Some((self.text_value(table, OWN_KEY, value)?, value)));
        match own {
            Some((tag, _)) if is_tag(tag) => tag.to_owned(),
            Some((_, value)) => {
                self.tell(value.span().start, format!("languages.{OWN_KEY}: found {}, expected a language such as de", found(value)), None);
                OWN.to_owned()
            }
            None => OWN.to_owned(),
        }
    }

    /// The words of the policy's own messages.
    pub(super) fn own_words(&mut self, files: &[File], labels: &[&str]) -> LanguageWords {
        let own = files.iter().find(|file| file.own);
        let read = own.and_then(|file| {
            let (words, _) = self.language(file, &[], labels)?;
            Some(words)
        });
        read.unwrap_or_else(|| built_in_words(OWN).expect("the English words are compiled in"))
    }

    /// The other languages, each with every message of the policy.
    pub(super) fn other_languages(&mut self, files: &[File], own: &[MessageTemplate], labels: &[&str]) -> Vec<Language> {
        let others = files.iter().filter(|file| !file.own);
        others.filter_map(|file| self.language(file, own, labels)).map(|(words, messages)| Language { words, messages }).collect()
    }

    /// One file; its faults name it.
    fn language(&mut self, file: &File, own: &[MessageTemplate], labels: &[&str]) -> Option<(LanguageWords, Vec<MessageTemplate>)> {
        let (read, faults) = read_file(file, own, labels);
        let sound = faults.is_empty();
        self.faults.extend(faults);
        read.filter(|_| sound)
    }

    /// The table `[issues]`, which a language may lack; `labels` are those that there are, where that is to be checked.
    fn issue_names<'i>(&mut self, top: &Table<'a, 'i>, labels: Option<&[&str]>) -> IssueNames {
        let mut names = IssueNames::default();
        let Some(value) = top.get("issues") else { return names };
        let at = value.span().start;
        let Some(table) = value.get_ref().as_table() else {
            self.tell(at, format!("issues: found {}, expected [issues]", found(value)), None);
            return names;
        };
        let table = Table { table, at, name: "issues".to_owned() };
        let known: Option<Vec<&str>> = labels.map(|labels| [&ISSUE_PARTS, labels].concat());
        if let Some(known) = &known {
            self.known_keys(&table, known);
        }
        for key in ISSUE_PARTS {
            let mark = format!("{{{key}}}");
            let text = self.sentence(&table, key, WORDS_BYTES_MAX).unwrap_or_default();
            if let Some(value) = table.get(key).filter(|_| !text.is_empty() && !text.contains(&mark)) {
                self.tell(value.span().start, format!("issues.{key}: found {}, expected a text with {mark} in it", found(value)), None);
            }
            *if key == "amount" { &mut names.amount } else { &mut names.reference } = text;
        }
        for (key, value) in table.table.iter().filter(|(key, _)| !ISSUE_PARTS.contains(&key.get_ref().as_ref())) {
            let label: &str = key.get_ref();
            let Some(text) = self.sentence(&table, label, WORDS_BYTES_MAX) else { continue };
            let rest = text.replace("{amount}", "").replace("{reference}", "");
            if rest.contains(['{', '}']) {
                let what = format!("issues.{label}: found {}, expected no braces but {{amount}} and {{reference}}", found(value));
                self.tell(value.span().start, what, None);
            }
            names.names.push((label.to_owned(), text));
        }
        names
    }

    fn language_words<'i>(&mut self, top: &Table<'a, 'i>, tag: &str, labels: Option<&[&str]>) -> LanguageWords {
        let issues = self.issue_names(top, labels);
        let mut part = |key: &str, known: &[&str]| {
            if top.get(key).is_none() {
                self.tell(0, format!("{}: found no [{key}], expected one", top.name), None);
            }
            self.section(top, key, known)
        };
        let (words, connected, opening) = (part("words", &WORDS_KEYS), part("connected", &CONNECTED_KEYS), part("opening", &OPENING_KEYS));
        // A language may do without this one.
        let asked = words.as_ref().filter(|table| table.get("ask_email").is_some());
        let ask_email = asked.and_then(|table| self.sentence(table, "ask_email", WORDS_BYTES_MAX)).unwrap_or_default();
        let mut word = |key: &str| words.as_ref().and_then(|table| self.sentence(table, key, WORDS_BYTES_MAX)).unwrap_or_default();
        let mut language = LanguageWords {
            tag: tag.to_owned(),
            request: word("request"),
            account: word("account"),
            agent: word("agent"),
            queue_name: word("queue_name"),
            tried: word("tried"),
            name_suffix: word("name_suffix"),
            minute: word("minute"),
            minutes: word("minutes"),
            hour: word("hour"),
            hours: word("hours"),
            day: word("day"),
            days: word("days"),
            ask_email,
            issues,
            ..LanguageWords::default()
        };
        for (key, text, place) in [
            ("name_suffix", &language.name_suffix, "{name}"),
            ("minutes", &language.minutes, "{n}"),
            ("hours", &language.hours, "{n}"),
            ("days", &language.days, "{n}"),
        ] {
            let Some(value) = words.as_ref().and_then(|table| table.get(key)).filter(|_| !text.is_empty() && !text.contains(place)) else {
                continue;
            };
            self.tell(value.span().start, format!("words.{key}: found {}, expected a text with {place} in it", found(value)), None);
        }
        if let Some(table) = &connected {
            let mut template = |key: &str| self.template(table, key, &CONNECTED_VARIABLES);
            language.connected =
                Connected { acknowledge: template("acknowledge"), reassure: template("reassure"), expect: template("expect") };
        }
        language.opening = opening.as_ref().map(|table| self.template(table, "text", &OPENING_VARIABLES)).unwrap_or_default();
        if let Some(table) = &connected {
            self.try_out(table, "acknowledge", &language.connected.acknowledge, &language);
            self.try_out(table, "reassure", &language.connected.reassure, &language);
            self.try_out(table, "expect", &language.connected.expect, &language);
        }
        if let Some(table) = &opening {
            self.try_out(table, "text", &language.opening, &language);
        }
        language
    }

    /// The messages of a language file at the places of the policy's own: none may be missing, and none be of another policy.
    fn translated<'i>(
        &mut self,
        top: &Table<'a, 'i>,
        words: &LanguageWords,
        own: &[MessageTemplate],
        built_in: bool,
    ) -> Vec<MessageTemplate> {
        let messages = self.messages(top, words);
        let tables = self.tables(top, "message");
        for table in tables.iter().filter(|_| !built_in) {
            let Some((id, value)) = table.get("id").and_then(|value| Some((value.get_ref().as_str()?, value))) else { continue };
            if !own.iter().any(|message| message.id == id) {
                let suggestion = nearest(id, own.iter().map(|message| message.id.as_str())).map(|id| format!("{id:?}"));
                let what = format!("{}.id: found {}, expected the id of a [[message]] of the policy", table.name, found(value));
                self.tell(value.span().start, what, suggestion);
            }
        }
        let mut translated = Vec::with_capacity(own.len().min(ITEMS_MAX));
        for message in own {
            match messages.iter().find(|other| other.id == message.id) {
                Some(message) => translated.push(message.clone()),
                None => self.tell(0, format!("found no [[message]] {:?}, which the policy has, expected one", message.id), None),
            }
        }
        translated
    }
}

/// What a language file says, and its faults.
fn read_file(file: &File, own: &[MessageTemplate], labels: &[&str]) -> (Option<(LanguageWords, Vec<MessageTemplate>)>, Vec<PolicyFault>) {
    let mut reader = Reader { file: &file.name, source: &file.text, faults: Vec::new() };
    if file.text.len() > BYTES_MAX {
        reader.tell(0, format!("found {} bytes, expected a language file of at most {BYTES_MAX}", file.text.len()), None);
        return (None, reader.faults);
    }
    let (document, errors) = DeTable::parse_recoverable(&file.text);
    if let Some(error) = errors.first() {
        let at = error.span().map_or(0, |span| span.start);
        reader.tell(at, format!("is not TOML: {}", error.message().trim()), None);
        return (None, reader.faults);
    }
    let top = Table { table: document.get_ref(), at: 0, name: "language".to_owned() };
    reader.known_keys(&top, &FILE_KEYS);
    // What is compiled in names the issues of the shipped model, of which another may have fewer.
    let words = reader.language_words(&top, &file.tag, Some(labels).filter(|_| !file.built_in));
    if file.own {
        if let Some(value) = top.get("message").filter(|_| !file.built_in) {
            let what = "message: found messages of the policy's own language, expected those in the policy".to_owned();
            reader.tell(value.span().start, what, None);
        }
        return (Some((words, Vec::new())), reader.faults);
    }
    let messages = reader.translated(&top, &words, own, file.built_in);
    (Some((words, messages)), reader.faults)
}
