//! The settings of `baton serve`: file, environment and flags as typed, then what the program means by them. All faults at once.
//!
//! One table, [`KEYS`], names every key with its default and meaning. A key stands in the file as `[limits] queue_tokens_max = 65536`, in the environment as
//! `BATON_LIMITS_QUEUE_TOKENS_MAX`, and on the command line as `--set limits.queue_tokens_max=65536`; the later wins. Unknown keys are faults.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::handoff::note::options::{KEYS as NOTE_KEYS, Options as NoteOptions};
use crate::service::grpc::scoring::ServiceLimits;
use crate::service::inference::Limits;
use crate::service::memory::MemorySettings;
use crate::service::proving::PolicyPlaces;
use crate::service::server::{Listen, PolicyChoice, Settings};

/// A key with its default and meaning.
pub struct Key {
    /// Section and name, such as `limits.queue_tokens_max`.
    pub name: &'static str,
    /// What holds when nobody says otherwise; empty for "not set".
    pub default: &'static str,
    /// For the person who writes the file.
    pub meaning: &'static str,
}

const fn key(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, default, meaning }
}

/// A key of the notes: default and meaning stand with what they set.
const fn note_key(name: &'static str, place: usize) -> Key {
    Key { name, default: NOTE_KEYS[place].1, meaning: NOTE_KEYS[place].2 }
}

/// Every key there is.
pub const KEYS: &[Key] = &[
    key("listen.address", "127.0.0.1:50051", "TCP address of the gRPC server; loopback only, until TLS and tokens exist"),
    key("listen.unix_socket", "", "path of a Unix socket to listen on, in place of listen.address"),
    key("listen.metrics", "", "TCP address for Prometheus, loopback only; not set: no metrics are served"),
    key("limits.text_bytes_max", "1048576", "bytes of one text; beyond, a request is refused"),
    key("limits.batch_items_max", "1024", "items of one ScoreBatch"),
    key("limits.message_bytes_max", "16777216", "bytes of one gRPC message"),
    key("limits.stream_in_flight_max", "256", "requests of one stream in work; beyond, the stream is not read"),
    key("limits.streams_max", "256", "streams at a time"),
    key("limits.connections_max", "1024", "connections at a time; beyond, they wait to be accepted"),
    key("limits.queue_tokens_max", "65536", "tokens that wait; beyond, calls end with RESOURCE_EXHAUSTED"),
    key("limits.queue_messages_max", "4096", "messages that wait"),
    key("limits.batch_tokens_max", "1024", "tokens of one batch, padding included"),
    key("limits.cache_bytes_max", "33554432", "bytes of cached answers; 0: none"),
    key("limits.workers", "0", "threads that score; 0: one a core that this process may use"),
    key("policy.file", "default", "TOML file with the policy; default: the one that is compiled in; none: signals without decisions"),
    key("policy.scenarios", "", "folder with the policy's scenarios; not set: `scenarios` beside the policy"),
    key("policy.proof", "", "proof that `baton check` writes; not set: beside the policy, with the ending proof"),
    key("store.data_dir", "baton-data", "folder in which conversations are remembered; none: they are not"),
    key(
        "store.text",
        "full",
        "full: texts and vectors are kept; none: neither, and conditions on repetition and the same issue are not known",
    ),
    key("store.retention_days", "400", "days after which closed conversations are deleted, and customers without any; 0: never"),
    key("store.idle_close_secs", "86400", "seconds without anything new after which a conversation closes itself; 0: never"),
    key("store.bytes_max", "0", "bytes of the database; 0: as many as the disk has"),
    key("store.score_timeout_ms", "1000", "how long a message may be scored before the decision is made without signals"),
    key("store.cached", "4096", "conversations, and customers, that are held in memory"),
    note_key("notes.tags", 0),
    note_key("notes.merge", 1),
    note_key("notes.priority", 2),
    note_key("notes.fields", 3),
    note_key("notes.length_max", 4),
    note_key("notes.account_id", 5),
    note_key("notes.intercom_admin_id", 6),
    note_key("notes.intercom_tag_ids", 7),
    key("drain.timeout_ms", "10000", "how long accepted work may take to finish after SIGTERM"),
];

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Where it was said: the file with its line, a variable, a flag.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What was typed, by key: the value and where it was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    values: BTreeMap<&'static str, (String, String)>,
    faults: Vec<ConfigFault>,
}

impl Typed {
    /// Adds what a file says. `name` is how faults call it.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                let error: toml::de::Error = error;
                let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
                self.fault(format!("{name}: line {line}"), error.message().to_owned());
                return self;
            }
        };
        for (section, content) in table {
            let Some(content) = content.as_table() else {
                self.fault(format!("{name}: {section}"), "found a value, expected a section such as [limits]".to_owned());
                continue;
            };
            for (key, value) in content {
                let place = format!("{name}: {section}.{key}");
                match value {
                    toml::Value::String(text) => self.put(&format!("{section}.{key}"), text, place),
                    toml::Value::Integer(number) => self.put(&format!("{section}.{key}"), &number.to_string(), place),
                    other => self.fault(place, format!("found {}, expected a text or a whole number", other.type_str())),
                }
            }
        }
        self
    }

    /// Adds what the environment says: every variable that begins with `BATON_` and a section.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let sections = ["LISTEN_", "LIMITS_", "POLICY_", "STORE_", "NOTES_", "DRAIN_"];
        for (variable, value) in variables {
            let Some(rest) = variable.strip_prefix("BATON_") else { continue };
            if let Some(section) = sections.iter().find(|section| rest.starts_with(**section)) {
                let name = format!("{}.{}", section.trim_end_matches('_').to_lowercase(), rest[section.len()..].to_lowercase());
                self.put(&name, &value, variable);
            }
        }
        self
    }

    /// Adds one flag.
    pub fn flag(mut self, name: &str, value: &str, flag: &str) -> Self {
        self.put(name, value, flag.to_owned());
        self
    }

    /// Adds `--set key=value`.
    pub fn set(mut self, assignment: &str) -> Self {
        match assignment.split_once('=') {
            Some((name, value)) => self.put(name.trim(), value.trim(), format!("--set {}", name.trim())),
            None => self.fault("--set".to_owned(), format!("found {assignment:?}, expected key=value")),
        }
        self
    }

    fn put(&mut self, name: &str, value: &str, place: String) {
        match KEYS.iter().find(|key| key.name == name) {
            Some(key) => drop(self.values.insert(key.name, (value.to_owned(), place))),
            None => {
                let near = KEYS.iter().map(|key| key.name).max_by_key(|known| likeness(known, name));
                let near = near.filter(|known| 2 * likeness(known, name) >= name.len());
                let hint = near.map_or("`baton check --keys` lists them".to_owned(), |known| format!("did you mean {known}?"));
                self.fault(place, format!("no such key; {hint}"));
            }
        }
    }

    fn fault(&mut self, place: String, what: String) {
        self.faults.push(ConfigFault { place, what });
    }

    fn text(&self, name: &'static str) -> (String, String) {
        let default = || KEYS.iter().find(|key| key.name == name).map_or("", |key| key.default);
        self.values.get(name).cloned().unwrap_or_else(|| (default().to_owned(), format!("default of {name}")))
    }

    fn number<T: FromStr + PartialOrd + fmt::Display + Copy>(&mut self, name: &'static str, least: T, most: T) -> T {
        let (value, place) = self.text(name);
        match value.parse::<T>() {
            Ok(number) if number >= least && number <= most => number,
            _ => {
                self.fault(place, format!("found {value:?}, expected a whole number in {least}..={most}"));
                least
            }
        }
    }

    fn loopback(&mut self, name: &'static str) -> Option<SocketAddr> {
        let (value, place) = self.text(name);
        if value.is_empty() {
            return None;
        }
        match value.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => return Some(address),
            Ok(_) => {
                self.fault(place, format!("found {value:?}, expected a loopback address: others are refused until TLS and tokens exist"))
            }
            Err(_) => self.fault(place, format!("found {value:?}, expected an address such as 127.0.0.1:50051")),
        }
        None
    }

    fn policy(&mut self) -> PolicyChoice {
        let path = |typed: &Self, name: &'static str| Some(typed.text(name).0).filter(|value| !value.is_empty()).map(PathBuf::from);
        let (scenarios, proof) = (path(self, "policy.scenarios"), path(self, "policy.proof"));
        let (file, place) = self.text("policy.file");
        match file.as_str() {
            "none" => PolicyChoice::None,
            "default" => PolicyChoice::Places(PolicyPlaces { file: None, scenarios, proof }),
            "" => {
                self.fault(place, "found nothing, expected a file, default or none".to_owned());
                PolicyChoice::None
            }
            path => PolicyChoice::Places(PolicyPlaces { file: Some(PathBuf::from(path)), scenarios, proof }),
        }
    }

    fn memory(&mut self) -> Option<MemorySettings> {
        let (folder, place) = self.text("store.data_dir");
        if folder.is_empty() {
            self.fault(place, "found nothing, expected a folder or none".to_owned());
        }
        let keep_text = match self.text("store.text") {
            (text, _) if text == "full" => true,
            (text, _) if text == "none" => false,
            (text, place) => {
                self.fault(place, format!("found {text:?}, expected full or none"));
                true
            }
        };
        let some = |number: u64| (number > 0).then_some(number);
        let settings = MemorySettings {
            folder: PathBuf::from(&folder),
            keep_text,
            retention: some(self.number("store.retention_days", 0, 36_500)).map(|days| Duration::from_secs(days * 24 * 3600)),
            idle_close: some(self.number("store.idle_close_secs", 0, 1 << 32)).map(Duration::from_secs),
            bytes_max: some(self.number("store.bytes_max", 0, 1 << 50)),
            score_timeout: Duration::from_millis(self.number("store.score_timeout_ms", 1, 3_600_000)),
            cached: self.number("store.cached", 1, 1 << 24),
        };
        (folder != "none").then_some(settings)
    }

    fn notes(&mut self) -> NoteOptions {
        let mut options = NoteOptions::default();
        for key in KEYS {
            let Some(name) = key.name.strip_prefix("notes.") else { continue };
            let (value, place) = self.text(key.name);
            if let Err(fault) = options.set(name, &value) {
                self.fault(place, fault.what);
            }
        }
        options
    }

    /// What the program means by it, or every fault. `cores` is how many this process may use.
    pub fn settings(mut self, cores: usize) -> Result<Settings, Vec<ConfigFault>> {
        let most = 1usize << 40;
        let (socket, place) = self.text("listen.unix_socket");
        if !socket.is_empty() && self.values.contains_key("listen.address") {
            self.fault(place, "listen.address is set too; only one of the two can be".to_owned());
        }
        let address = self.loopback("listen.address");
        let workers = self.number("limits.workers", 0, 1024);
        let settings = Settings {
            listen: match address {
                Some(address) if socket.is_empty() => Listen::Tcp(address),
                _ => Listen::Unix(PathBuf::from(socket)),
            },
            metrics: self.loopback("listen.metrics"),
            scheduler: Limits {
                queue_tokens_max: self.number("limits.queue_tokens_max", 1, most),
                queue_messages_max: self.number("limits.queue_messages_max", 1, most),
                batch_tokens_max: self.number("limits.batch_tokens_max", 1, most),
                cache_bytes_max: self.number("limits.cache_bytes_max", 0, 1 << 40),
                workers: if workers == 0 { cores } else { workers },
            },
            service: ServiceLimits {
                text_bytes_max: self.number("limits.text_bytes_max", 1, 1 << 30),
                batch_items_max: self.number("limits.batch_items_max", 1, 1 << 20),
                message_bytes_max: self.number("limits.message_bytes_max", 1024, 1 << 30),
                stream_in_flight_max: self.number("limits.stream_in_flight_max", 1, 1 << 16),
                streams_max: self.number("limits.streams_max", 1, 1 << 20),
                connections_max: self.number("limits.connections_max", 1, 1 << 20),
            },
            policy: self.policy(),
            memory: self.memory(),
            notes: self.notes(),
            drain_timeout: Duration::from_millis(self.number("drain.timeout_ms", 0, 3_600_000)),
        };
        if self.faults.is_empty() { Ok(settings) } else { Err(self.faults) }
    }
}

/// Letters that two names share at their beginning and at their end.
fn likeness(a: &str, b: &str) -> usize {
    let begin = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    begin + end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(typed: Typed) -> Vec<String> {
        typed.settings(2).expect_err("the settings are wrong").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_are_sound() {
        let settings = Typed::default().settings(2).unwrap();
        assert_eq!((settings.listen.to_string(), settings.scheduler.workers), ("127.0.0.1:50051".into(), 2));
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "[limits]\nqueue_tokens_max = 1\nbatch_items_max = 1\nstreams_max = 1\n";
        let variables = [("BATON_LIMITS_BATCH_ITEMS_MAX", "2"), ("BATON_LIMITS_STREAMS_MAX", "2"), ("BATON_MODEL", "m"), ("PATH", "/")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Typed::default().file("f", file).environment(variables).set("limits.streams_max=3").settings(2).unwrap();
        assert_eq!((settings.scheduler.queue_tokens_max, settings.service.batch_items_max, settings.service.streams_max), (1, 2, 3));
    }

    #[test]
    fn every_key_of_the_notes_can_be_set_and_faults_name_place_and_value() {
        for (name, default, _) in NOTE_KEYS {
            let key = KEYS.iter().find(|key| key.name == format!("notes.{name}")).unwrap();
            assert_eq!(key.default, default, "{name}");
        }
        let typed = Typed::default().file("b.toml", "[notes]\ntags = \"Ä\"\naccount_id = 3\n").set("notes.merge=perhaps");
        assert_eq!(faults(typed)[1], "--set notes.merge: found \"perhaps\", expected on or off");
        assert!(
            Typed::default().file("b.toml", "[notes]\naccount_id = 3\nmerge = \"on\"\n").settings(2).unwrap().notes
                != NoteOptions::default()
        );
    }

    #[test]
    fn all_faults_come_at_once_with_place_value_and_suggestion() {
        let file =
            "[limits]\nqueue_token_max = 5\nworkers = -1\n[listen]\naddress = \"0.0.0.0:50051\"\nmetrics = \"nine\"\n[colour]\nred = 1\n";
        let typed = Typed::default().file("b.toml", file).environment([("BATON_DRAIN_TIMEOUT_MS".to_owned(), "soon".to_owned())]);
        assert_eq!(
            faults(typed),
            [
                "b.toml: colour.red: no such key; `baton check --keys` lists them",
                "b.toml: limits.queue_token_max: no such key; did you mean limits.queue_tokens_max?",
                "b.toml: listen.address: found \"0.0.0.0:50051\", expected a loopback address: others are refused until TLS and tokens exist",
                "b.toml: limits.workers: found \"-1\", expected a whole number in 0..=1024",
                "b.toml: listen.metrics: found \"nine\", expected an address such as 127.0.0.1:50051",
                "BATON_DRAIN_TIMEOUT_MS: found \"soon\", expected a whole number in 0..=3600000",
            ]
        );
        assert_eq!(faults(Typed::default().file("b.toml", "[limits\n"))[0].split(':').take(2).collect::<String>(), "b.toml line 1");
        assert_eq!(faults(Typed::default().set("limits.workers")), ["--set: found \"limits.workers\", expected key=value"]);
    }
}
