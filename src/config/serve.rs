//! The settings of `baton serve`: file, environment and flags as typed, then what the program means by them. All faults at once.
//!
//! One table, [`KEYS`], names every key with its default and meaning. A key stands in the file as `[limits] queue_tokens_max = 65536`, in the environment as
//! `BATON_LIMITS_QUEUE_TOKENS_MAX`, and on the command line as `--set limits.queue_tokens_max=65536`; the later wins. Unknown keys are faults. Further models have
//! sections of their own, with the keys of [`MODEL_KEYS`]; the environment does not name them.
//!
//! Secrets are no keys: each stands in a file that a key names, or in a variable of [`SECRETS`]. No fault shows one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::handoff::note::options::{KEYS as NOTE_KEYS, Options as NoteOptions};
use crate::service::delivery::backoff::Backoff;
use crate::service::delivery::client::{Authorities, Proxy, Target};
use crate::service::delivery::{Access, DeliverySettings, Destination, OutboxSettings, Secret};
use crate::service::grpc::scoring::ServiceLimits;
use crate::service::inference::Limits;
use crate::service::inference::Share;
use crate::service::memory::MemorySettings;
use crate::service::models::{ModelSettings, ModelsSettings};
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
    key("models.memory_bytes_max", "0", "bytes that all models may take, those included that were replaced and are kept; 0: no bound"),
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
    key("zendesk.url", "", "address of a Zendesk, such as https://acme.zendesk.com; not set: no notes go there"),
    key("zendesk.user", "", "e-mail address of the user who writes the notes"),
    key("zendesk.token_file", "", "file with that user's API token; or the variable BATON_ZENDESK_TOKEN holds it"),
    key("zendesk.ca_file", "", "PEM file of the only authorities that are believed; not set: the system's"),
    key("chatwoot.url", "", "address of a Chatwoot; not set: no notes go there"),
    key("chatwoot.account", "", "number of the account"),
    key("chatwoot.token_file", "", "file with the access token of an agent or a bot; or the variable BATON_CHATWOOT_TOKEN holds it"),
    key("chatwoot.ca_file", "", "PEM file of the only authorities that are believed; not set: the system's"),
    key("webhook.url", "", "address that gets a signed event for each handoff; not set: none does"),
    key("webhook.secret_file", "", "file with the secret of the signature; or the variable BATON_WEBHOOK_SECRET holds it"),
    key("webhook.source", "/baton", "what the events name as their source: a URI or a path"),
    key("webhook.ca_file", "", "PEM file of the only authorities that are believed; not set: the system's"),
    key("delivery.proxy", "", "proxy for all of these, such as http://proxy.example:3128; not set: none, whatever the environment says"),
    key("delivery.attempts_max", "100", "attempts after which a letter is dead"),
    key("delivery.age_max_secs", "259200", "seconds of trying after which a letter is dead"),
    key("delivery.timeout_ms", "10000", "how long a request may take, answer included"),
    key("delivery.connect_timeout_ms", "3000", "how long a connection may take to stand"),
    key("delivery.concurrency", "4", "requests at a time, of each destination"),
    key("delivery.backoff_base_ms", "1000", "the pause before an attempt is drawn from 0 to this, doubled with each attempt"),
    key("delivery.backoff_max_ms", "3600000", "the longest of these pauses"),
    key("delivery.retry_after_max_secs", "3600", "the longest pause that a destination may ask for"),
    key("delivery.breaker_failures", "5", "failures in a row after which nothing is sent to a destination for a while"),
    key("delivery.breaker_pause_ms", "30000", "that while"),
    key("delivery.pending_max", "100000", "letters that wait; a further one is dead from its beginning, and can be put back"),
    key("delivery.kept_days", "30", "days for which dead letters and marks of delivered ones are kept"),
    key("drain.timeout_ms", "10000", "how long accepted work may take to finish after SIGTERM"),
];

/// What can be said of each further model, in a section of its own such as `[models.support-de]`, or on the command line with `--set models.support-de.path=...`.
pub const MODEL_KEYS: &[Key] = &[
    key(
        "models.NAME.path",
        "",
        "folder of the package of a further model, which requests name NAME: lower-case letters, digits and dashes",
    ),
    key(
        "models.NAME.languages",
        "",
        "languages that it is chosen for where a request names no model: ISO 639-1 codes, such as [\"de\", \"nl\"]",
    ),
    key(
        "models.NAME.queue_share",
        "0.25",
        "its part of the queue, of the cache and of the workers' time; the rest is that of the model that --model names",
    ),
    key("models.NAME.scores_only", "no", "yes: the policy need not prove itself on it, and no conversation is decided with it"),
    key("models.NAME.scenarios", "", "folder of the scenarios that the policy proves itself on with it; not set: those of the policy"),
];

/// Secrets by the name that stands for each, with the variable that holds it; a key of this name with the ending `_file` names a file in its place.
pub const SECRETS: [(&str, &str); 3] =
    [("zendesk.token", "BATON_ZENDESK_TOKEN"), ("chatwoot.token", "BATON_CHATWOOT_TOKEN"), ("webhook.secret", "BATON_WEBHOOK_SECRET")];

/// Most bytes of a file that a key names: of a secret, of certificates.
const FILE_BYTES_MAX: u64 = 1 << 20;

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
    secrets: BTreeMap<&'static str, Secret>,
    /// Of each further model what was said, by key.
    models: BTreeMap<String, BTreeMap<&'static str, (String, String)>>,
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
                    toml::Value::Table(model) if section == "models" => self.model_table(key, model, name),
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
        let sections =
            ["LISTEN_", "LIMITS_", "MODELS_", "POLICY_", "STORE_", "NOTES_", "DRAIN_", "ZENDESK_", "CHATWOOT_", "WEBHOOK_", "DELIVERY_"];
        for (variable, value) in variables {
            if let Some((name, _)) = SECRETS.iter().find(|(_, secret)| *secret == variable) {
                match Secret::new(&value) {
                    Ok(secret) => drop(self.secrets.insert(name, secret)),
                    Err(what) => self.fault(variable, what),
                }
                continue;
            }
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

    /// What a section of the file says of one model.
    fn model_table(&mut self, model: &str, content: &toml::Table, file: &str) {
        if content.is_empty() {
            // It is there all the same, and lacks its path.
            self.models.entry(model.to_owned()).or_default();
        }
        for (key, value) in content {
            let place = format!("{file}: models.{model}.{key}");
            let word = |value: &toml::Value| value.as_str().map(str::to_owned);
            let value = match value {
                toml::Value::String(text) => Some(text.clone()),
                toml::Value::Integer(number) => Some(number.to_string()),
                toml::Value::Float(number) => Some(number.to_string()),
                toml::Value::Boolean(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
                toml::Value::Array(words) => words.iter().map(word).collect::<Option<Vec<_>>>().map(|words| words.join(",")),
                toml::Value::Datetime(_) | toml::Value::Table(_) => None,
            };
            match value {
                Some(value) => self.put(&format!("models.{model}.{key}"), &value, place),
                None => self.fault(place, "expected a text, a number, yes or no, or a list of texts".to_owned()),
            }
        }
    }

    /// Takes a key of one model; `false` where it is none.
    fn put_model(&mut self, name: &str, value: &str, place: &str) -> bool {
        let Some((model, key)) = name.strip_prefix("models.").and_then(|rest| rest.rsplit_once('.')) else { return false };
        let mut known = MODEL_KEYS.iter().filter_map(|known| known.name.strip_prefix("models.NAME."));
        let Some(key) = known.find(|known| *known == key) else { return false };
        let said = self.models.entry(model.to_owned()).or_default();
        drop(said.insert(key, (value.to_owned(), place.to_owned())));
        true
    }

    fn put(&mut self, name: &str, value: &str, place: String) {
        if self.put_model(name, value, &place) {
            return;
        }
        match KEYS.iter().find(|key| key.name == name) {
            Some(key) => drop(self.values.insert(key.name, (value.to_owned(), place))),
            None if SECRETS.iter().any(|(secret, _)| *secret == name) => {
                let what = format!("a secret is no setting: {name}_file names a file, or {} holds it", variable_of(name));
                self.fault(place, what);
            }
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

    /// A key's value with its place, where it is not empty.
    fn given(&self, name: &'static str) -> Option<(String, String)> {
        Some(self.text(name)).filter(|(value, _)| !value.is_empty())
    }

    /// A key that must be given, since `why` is.
    fn needed(&mut self, name: &'static str, why: &str) -> Option<(String, String)> {
        let given = self.given(name);
        if given.is_none() {
            self.fault(name.to_owned(), format!("found nothing, but {why} is set"));
        }
        given
    }

    /// The content of a file that a key names; faults show nothing of it.
    fn content(&mut self, path: &str, place: &str) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        match File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)) {
            Ok(_) if content.len() as u64 <= FILE_BYTES_MAX => return Some(content),
            Ok(_) => self.fault(place.to_owned(), format!("{path}: found more than {FILE_BYTES_MAX} bytes")),
            Err(error) => self.fault(place.to_owned(), format!("{path}: {error}")),
        }
        None
    }

    /// From the file that a key names, else from the environment; a fault where both say one.
    fn secret(&mut self, name: &'static str, file: &'static str, why: &str) -> Option<Secret> {
        let variable = variable_of(name);
        match (self.given(file), self.secrets.get(name).cloned()) {
            (Some((path, place)), None) => {
                let content = self.content(&path, &place)?;
                let text = String::from_utf8_lossy(&content);
                let secret = Secret::new(&text).map_err(|what| format!("{path}: {what}"));
                secret.map_err(|what| self.fault(place, what)).ok()
            }
            (None, Some(secret)) => Some(secret),
            (Some((_, place)), Some(_)) => {
                self.fault(place, format!("{variable} is set too; only one of the two can be"));
                None
            }
            (None, None) => {
                self.fault(file.to_owned(), format!("found nothing, and {variable} is not set, but {why} is"));
                None
            }
        }
    }

    fn authorities(&mut self, name: &'static str) -> Option<Authorities> {
        let Some((path, place)) = self.given(name) else { return Some(Authorities::System) };
        let pem = self.content(&path, &place)?;
        Authorities::only(pem).map_err(|what| self.fault(place, format!("{path}: {what}"))).ok()
    }

    /// A destination, where its address is set and nothing of it is wrong.
    fn destination(
        &mut self,
        url: &'static str,
        ca_file: &'static str,
        parse: fn(&str) -> Result<Target, String>,
        access: impl FnOnce(&mut Self) -> Option<Access>,
    ) -> Option<Destination> {
        let (address, place) = self.given(url)?;
        // All three are looked at, so that all faults are told.
        let target = parse(&address).map_err(|what| self.fault(place, what)).ok();
        let authorities = self.authorities(ca_file);
        let access = access(self);
        Some(Destination { target: target?, access: access?, authorities: authorities? })
    }

    fn destinations(&mut self) -> Vec<Destination> {
        let zendesk = self.destination("zendesk.url", "zendesk.ca_file", Target::parse_base, |typed| {
            let user = typed.needed("zendesk.user", "zendesk.url");
            let token = typed.secret("zendesk.token", "zendesk.token_file", "zendesk.url");
            let (user, place) = user?;
            if !user.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
                typed.fault(place, format!("found {user:?}, expected an e-mail address"));
                return None;
            }
            Some(Access::Zendesk { user, token: token? })
        });
        let chatwoot = self.destination("chatwoot.url", "chatwoot.ca_file", Target::parse_base, |typed| {
            let account = typed.needed("chatwoot.account", "chatwoot.url").is_some().then(|| typed.number("chatwoot.account", 1, u64::MAX));
            let token = typed.secret("chatwoot.token", "chatwoot.token_file", "chatwoot.url");
            Some(Access::Chatwoot { account: account?, token: token? })
        });
        let webhook = self.destination("webhook.url", "webhook.ca_file", Target::parse, |typed| {
            let source = typed.needed("webhook.source", "webhook.url");
            let secret = typed.secret("webhook.secret", "webhook.secret_file", "webhook.url");
            let (source, place) = source?;
            if !source.bytes().all(|byte| byte.is_ascii_graphic()) {
                typed.fault(place, format!("found {source:?}, expected a URI or a path"));
                return None;
            }
            Some(Access::Webhook { secret: secret?, source })
        });
        zendesk.into_iter().chain(chatwoot).chain(webhook).collect()
    }

    /// How letters are sent, and what the memory does with them. The destinations are read first.
    fn delivery(&mut self, notes: NoteOptions) -> (Option<Arc<DeliverySettings>>, OutboxSettings) {
        let destinations = self.destinations();
        let proxy = match self.given("delivery.proxy") {
            Some((address, place)) => Proxy::parse(&address).map_err(|what| self.fault(place, what)).ok(),
            None => None,
        };
        let millis = |typed: &mut Self, name| Duration::from_millis(typed.number(name, 1, 1 << 40));
        let outbox = OutboxSettings {
            destinations: destinations.iter().map(Destination::kind).collect(),
            pending_max: self.number("delivery.pending_max", 1, 1 << 40),
            kept: Duration::from_secs(self.number("delivery.kept_days", 1, 36_500) * 24 * 3600),
        };
        let settings = DeliverySettings {
            destinations,
            attempts_max: self.number("delivery.attempts_max", 1, 1 << 20),
            age_max: Duration::from_secs(self.number("delivery.age_max_secs", 1, 1 << 32)),
            timeout: millis(self, "delivery.timeout_ms"),
            connect_timeout: millis(self, "delivery.connect_timeout_ms"),
            concurrency: self.number("delivery.concurrency", 1, 256),
            backoff: Backoff { base: millis(self, "delivery.backoff_base_ms"), cap: millis(self, "delivery.backoff_max_ms") },
            retry_after_max: Duration::from_secs(self.number("delivery.retry_after_max_secs", 0, 1 << 32)),
            breaker_failures: self.number("delivery.breaker_failures", 1, 1 << 20),
            breaker_pause: millis(self, "delivery.breaker_pause_ms"),
            proxy,
            notes,
        };
        ((!settings.destinations.is_empty()).then(|| Arc::new(settings)), outbox)
    }

    fn memory(&mut self, outbox: OutboxSettings) -> Option<MemorySettings> {
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
            outbox,
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

    /// The further models, each checked by itself and with the others.
    fn models(&mut self) -> ModelsSettings {
        let mut named: Vec<ModelSettings> = Vec::new();
        for (name, said) in std::mem::take(&mut self.models) {
            let default = |key: &str| {
                let known = MODEL_KEYS.iter().find(|known| known.name.strip_prefix("models.NAME.") == Some(key));
                (known.map_or("", |known| known.default).to_owned(), format!("default of models.{name}.{key}"))
            };
            let text = |key: &str| said.get(key).cloned().unwrap_or_else(|| default(key));
            let (share, share_place) = text("queue_share");
            let share = share.parse::<f64>().ok().and_then(Share::of_one).ok_or(share);
            let (scores_only, only_place) = text("scores_only");
            let scores_only = match scores_only.as_str() {
                "yes" => Ok(true),
                "no" => Ok(false),
                _ => Err(scores_only),
            };
            let languages = text("languages").0;
            let mut model = ModelSettings::new(name.clone(), text("path").0);
            model.languages = languages.split(',').map(|code| code.trim().to_owned()).filter(|code| !code.is_empty()).collect();
            model.scenarios = Some(text("scenarios").0).filter(|folder| !folder.is_empty()).map(PathBuf::from);
            match share {
                Ok(share) => model.share = share,
                Err(found) => self.fault(share_place, format!("found {found:?}, expected a number from 0.01 to 0.9")),
            }
            match scores_only {
                Ok(scores_only) => model.scores_only = scores_only,
                Err(found) => self.fault(only_place, format!("found {found:?}, expected yes or no")),
            }
            if let Err(bad) = model.check() {
                let key = bad.field.split('[').next().unwrap_or_default();
                let place = said.get(key).map_or_else(|| format!("models.{name}"), |(_, place)| place.clone());
                self.fault(place, if key == "name" { bad.what } else { format!("{}: {}", bad.field, bad.what) });
            }
            named.push(model);
        }
        for fault in ModelsSettings::check_together(&named) {
            self.fault("models".to_owned(), fault);
        }
        let bytes_max: u64 = self.number("models.memory_bytes_max", 0, 1 << 50);
        ModelsSettings { named, memory_bytes_max: (bytes_max > 0).then_some(bytes_max) }
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
        let notes = self.notes();
        let (delivery, outbox) = self.delivery(notes.clone());
        let remembers = self.text("policy.file").0 != "none" && self.text("store.data_dir").0 != "none";
        for kind in outbox.destinations.iter().filter(|_| !remembers) {
            let what = "it is set, but policy.file or store.data_dir is none: nothing is ever handed over".to_owned();
            self.fault(format!("{}.url", kind.as_str()), what);
        }
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
            models: self.models(),
            service: ServiceLimits {
                text_bytes_max: self.number("limits.text_bytes_max", 1, 1 << 30),
                batch_items_max: self.number("limits.batch_items_max", 1, 1 << 20),
                message_bytes_max: self.number("limits.message_bytes_max", 1024, 1 << 30),
                stream_in_flight_max: self.number("limits.stream_in_flight_max", 1, 1 << 16),
                streams_max: self.number("limits.streams_max", 1, 1 << 20),
                connections_max: self.number("limits.connections_max", 1, 1 << 20),
            },
            policy: self.policy(),
            memory: self.memory(outbox),
            delivery,
            notes,
            drain_timeout: Duration::from_millis(self.number("drain.timeout_ms", 0, 3_600_000)),
        };
        if self.faults.is_empty() { Ok(settings) } else { Err(self.faults) }
    }
}

/// The variable that holds a secret.
fn variable_of(name: &str) -> &'static str {
    SECRETS.iter().find(|(secret, _)| *secret == name).map_or("", |(_, variable)| variable)
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

    fn with(pairs: &[(&str, &str)]) -> Typed {
        pairs.iter().fold(Typed::default(), |typed, (name, value)| typed.set(&format!("{name}={value}")))
    }

    #[test]
    fn destinations_are_off_unless_they_are_set() {
        let settings = Typed::default().settings(2).unwrap();
        assert_eq!((settings.delivery, settings.memory.unwrap().outbox.destinations), (None, Vec::new()));
        let variable = ("BATON_WEBHOOK_SECRET".to_owned(), "hunter2".to_owned());
        let settings = with(&[("webhook.url", "https://hooks.example/x")]).environment([variable]).settings(2).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"), "a secret is not shown");
        assert_eq!(settings.delivery.unwrap().destinations.len(), 1);
        assert_eq!(settings.memory.unwrap().outbox.destinations.len(), 1);
    }

    #[test]
    fn what_is_wrong_with_a_destination_comes_at_once_and_without_its_secret() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let (two_words, token) = (file("two", "hunter2 hunter2\n"), file("token", "hunter2\n"));
        let missing = place.path().join("missing").display().to_string();
        let typed = with(&[
            ("zendesk.url", "http://acme.zendesk.com"),
            ("zendesk.token_file", &two_words),
            ("zendesk.ca_file", &token),
            ("chatwoot.url", "https://desk.example"),
            ("chatwoot.account", "main"),
            ("chatwoot.token_file", &missing),
            ("webhook.url", "https://u:hunter2@hooks.example"),
            ("webhook.secret_file", &token),
            ("webhook.secret", "hunter2"),
            ("delivery.proxy", "http://u:hunter2@proxy.example"),
            ("delivery.concurrency", "0"),
        ]);
        let typed = typed.environment([("BATON_WEBHOOK_SECRET".to_owned(), "hunter2".to_owned())]);
        let typed = typed.file("b.toml", "[zendesk]\ntoken = \"hunter2\"\n");
        assert!(!format!("{typed:?}").contains("Secret(\"hunter2"));
        let faults = faults(typed);
        let expected = [
            "--set webhook.secret: a secret is no setting: webhook.secret_file names a file, or BATON_WEBHOOK_SECRET holds it".to_owned(),
            "b.toml: zendesk.token: a secret is no setting: zendesk.token_file names a file, or BATON_ZENDESK_TOKEN holds it".to_owned(),
            "--set zendesk.url: found http to another machine, expected https".to_owned(),
            format!("--set zendesk.ca_file: {token}: found no certificate in it"),
            "zendesk.user: found nothing, but zendesk.url is set".to_owned(),
            format!("--set zendesk.token_file: {two_words}: found other characters than printable ASCII without blanks"),
            "--set chatwoot.account: found \"main\", expected a whole number in 1..=18446744073709551615".to_owned(),
            format!("--set chatwoot.token_file: {missing}: No such file or directory (os error 2)"),
            "--set webhook.url: found a user in it; secrets stand in files or the environment".to_owned(),
            "--set webhook.secret_file: BATON_WEBHOOK_SECRET is set too; only one of the two can be".to_owned(),
            "--set delivery.proxy: expected an address such as http://proxy.example:3128, without a user".to_owned(),
            "--set delivery.concurrency: found \"0\", expected a whole number in 1..=256".to_owned(),
        ];
        assert_eq!(faults, expected);
    }

    #[test]
    fn a_destination_without_a_memory_is_a_fault() {
        let variable = ("BATON_WEBHOOK_SECRET".to_owned(), "s".to_owned());
        let typed = with(&[("webhook.url", "https://hooks.example"), ("store.data_dir", "none")]).environment([variable]);
        assert_eq!(faults(typed), ["webhook.url: it is set, but policy.file or store.data_dir is none: nothing is ever handed over"]);
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
    fn further_models_have_sections_of_their_own() {
        let file = "[models]\nmemory_bytes_max = 500000000\n[models.support-de]\npath = \"m/de\"\nlanguages = [\"de\", \"nl\"]\nqueue_share = 0.3\n";
        let typed = Typed::default().file("b.toml", file).set("models.topics.path=m/topics").set("models.topics.scores_only=yes");
        let models = typed.settings(2).unwrap().models;
        let de = ModelSettings {
            languages: vec!["de".to_owned(), "nl".to_owned()],
            share: Share::new(30).unwrap(),
            ..ModelSettings::new("support-de", "m/de")
        };
        let topics = ModelSettings { scores_only: true, ..ModelSettings::new("topics", "m/topics") };
        assert_eq!(models, ModelsSettings { named: vec![de, topics], memory_bytes_max: Some(500_000_000) });
    }

    #[test]
    fn what_is_wrong_with_a_model_comes_at_once() {
        let file = "[models.a]\npath = \"x\"\nlanguages = [\"de\"]\nqueue_share = 0.5\n[models.b]\npath = \"y\"\nlanguages = \"de\"\nqueue_share = 0.5\n\
                    [models.c]\nlanguages = [\"xx\"]\n[models.D]\npath = \"z\"\n[models.default]\npath = \"z\"\n[models.e]\npath = 1\ncolour = \"red\"\nqueue_share = \"much\"\n\
                    scores_only = \"perhaps\"\n";
        let found = faults(Typed::default().file("b.toml", file).set("models.memory_bytes_max=-1"));
        let expected = [
            "b.toml: models.e.colour: no such key; `baton check --keys` lists them",
            "models.D: found \"D\", expected 1 to 32 lower-case letters, digits and dashes",
            "models.c: path: found 0 bytes, expected 1 to 4096 with a folder",
            "models.default: found default, which is the model that the server was started with",
            "b.toml: models.e.queue_share: found \"much\", expected a number from 0.01 to 0.9",
            "b.toml: models.e.scores_only: found \"perhaps\", expected yes or no",
            "models: queue_share: the further models have 2 together, expected at most 0.9: the rest is that of default",
            "models: languages: de is that of \"a\" and of \"b\"",
            "--set models.memory_bytes_max: found \"-1\", expected a whole number in 0..=1125899906842624",
        ];
        assert_eq!(found, expected);
        let codes = Typed::default().file("b.toml", "[models.c]\npath = \"x\"\nlanguages = [\"xx\"]\n");
        assert!(faults(codes)[0].starts_with("b.toml: models.c.languages: languages[0]: found \"xx\", expected one of ar, "));
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
