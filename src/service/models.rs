//! The models of one daemon: which are loaded, which one answers a request, and how one takes the place of another while the server serves.
//!
//! Each has a name; `default` is the one that the server was started with, and answers what names no model and is in no other's language. What a request needs of a
//! model it takes at one moment, as one value: the [`Scheduler`] that scores, and with it the [`Judge`], the policy compiled for the labels of this very model. So an
//! answer is of one model from start to end, whatever is changed meanwhile, and what was admitted to a model is answered by it: a model goes when nobody holds it.
//!
//! A change (load, unload, promote, roll back, read the policy again) is done alone, the second is refused at once. A new model is loaded on a thread that may block,
//! beside those that serve: its package proves its parity, a canary is scored in its own place among the workers, the policy proves itself on it, and it is warmed.
//! Then one pointer is exchanged. Whatever fails before that changes nothing. What was replaced stays loaded, one for each name, and returns at once.
//! What is changed here is gone after a restart: then the configuration says what serves.
//!
//! | bound | answer when it is reached |
//! |---|---|
//! | models beside the default ([`MODELS_MAX`]) | refused |
//! | bytes of all models ([`ModelsSettings::memory_bytes_max`]), those that are replaced or leave included | refused, before the weights are read where the size of their files says so |
//! | shares of the models beside the default ([`SHARES_MAX`]) | refused; what they leave is the default's |
//! | time of a canary, and of each warming ([`CANARY_TIMEOUT`]) | the model failed |
//! | failures that are told ([`FAILED_MAX`]) | the first by name goes |

pub mod judge;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::sync::Mutex;

use self::judge::{Judge, Judges};
use super::clock::Stopwatch;
use super::events::{Event, emit};
use super::inference::{Class, InferenceError, Limits, Request, Scheduler, Share, Workers};
use super::memory::{Edition, Editions, MemoryError, Reloaded};
use super::metrics::{Metrics, ModelChange};
use super::proving::{PolicyPlaces, Proved, ProvingError};
use super::status::BadField;
use crate::handoff::receipt::Digest;
use crate::model::encoder::candle::Device;
use crate::model::language;
use crate::model::load;
use crate::model::scorer::Scorer;

/// The name of the model that the server was started with.
pub const DEFAULT: &str = "default";
/// Most models beside it.
pub const MODELS_MAX: usize = 8;
/// Most hundredths of the whole that they have together.
pub const SHARES_MAX: u8 = 90;
/// The share of a model for which none is said, in hundredths.
pub const SHARE: u8 = 25;
/// Most bytes of a name.
const NAME_BYTES_MAX: usize = 32;
/// Most bytes of a path that a request names.
const PATH_BYTES_MAX: usize = 4096;
/// Failures that are told.
const FAILED_MAX: usize = 16;
/// Files of a folder that are looked at for the size of its weights.
const FILES_MAX: usize = 4096;
/// What is scored before a model serves; any message does.
const CANARY: &str = "Where is my refund? I want to talk to a person.";
/// How long a model may take for it.
const CANARY_TIMEOUT: Duration = Duration::from_secs(30);
/// A model is warmed with texts of so many canaries, one of each for each worker: caches, buffers and the estimate of its speed are then those of real work.
const WARM_LENGTHS: [usize; 3] = [1, 4, 12];

/// Loads the package of a folder and proves its parity; the one thing that knows device and engine.
pub type Loader = Arc<dyn Fn(&Path) -> Result<Scorer, Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

/// Loads onto the CPU, with the engine that fits.
pub fn cpu_loader() -> Loader {
    Arc::new(|folder| Ok(load::load(folder, &Device::Cpu)?))
}

/// A model beside the default, as the operator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSettings {
    /// By which requests name it.
    pub name: String,
    /// The folder of its package.
    pub path: PathBuf,
    /// Languages that it is chosen for, as ISO 639-1 codes.
    pub languages: Vec<String>,
    /// Its part of the queue, of the cache and of the workers' time.
    pub share: Share,
    /// Whether no policy decides with it.
    pub scores_only: bool,
    /// Where the scenarios are that the policy proves itself on with it; `None`: the policy's own.
    pub scenarios: Option<PathBuf>,
}

impl ModelSettings {
    /// A model with nothing said but name and folder.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        let share = Share::new(SHARE).expect("the share is in its range");
        let (languages, scores_only, scenarios) = (Vec::new(), false, None);
        Self { name: name.into(), path: path.into(), languages, share, scores_only, scenarios }
    }

    /// What is wrong with it by itself: the field, and what was found and expected.
    pub fn check(&self) -> Result<(), BadField> {
        check_name(&self.name)?;
        if self.path.as_os_str().is_empty() || self.path.as_os_str().len() > PATH_BYTES_MAX {
            let what = format!("found {} bytes, expected 1 to {PATH_BYTES_MAX} with a folder", self.path.as_os_str().len());
            return Err(BadField::new("path", what));
        }
        for (place, code) in self.languages.iter().enumerate() {
            if !language::codes().any(|known| known == code) {
                let known: Vec<&str> = language::codes().collect();
                let what = format!("found {:?}, expected one of {}", shown(code), known.join(", "));
                return Err(BadField::new(format!("languages[{place}]"), what));
            }
        }
        if self.share.hundredths() > SHARES_MAX {
            let what = format!("found {}, expected at most {}", one(self.share.hundredths()), one(SHARES_MAX));
            return Err(BadField::new("queue_share", what));
        }
        Ok(())
    }
}

/// Names are labels of metrics and parts of keys.
fn check_name(name: &str) -> Result<(), BadField> {
    let of_letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !of_letters {
        let what = format!("found {:?}, expected 1 to {NAME_BYTES_MAX} lower-case letters, digits and dashes", shown(name));
        return Err(BadField::new("name", what));
    }
    if name == DEFAULT {
        return Err(BadField::new("name", format!("found {DEFAULT}, which is the model that the server was started with")));
    }
    Ok(())
}

/// As much of a client's word as an error shows.
fn shown(word: &str) -> &str {
    &word[..word.floor_char_boundary(64)]
}

/// Hundredths as a number between 0 and 1.
fn one(hundredths: u8) -> f64 {
    f64::from(hundredths) / 100.0
}

/// The models of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelsSettings {
    /// Those beside the default, each checked by itself.
    pub named: Vec<ModelSettings>,
    /// Bytes that all models may take; `None`: as many as the machine has.
    pub memory_bytes_max: Option<u64>,
}

impl ModelsSettings {
    /// What is wrong with some models together.
    pub fn check_together(named: &[ModelSettings]) -> Vec<String> {
        let mut faults = Vec::new();
        if named.len() > MODELS_MAX {
            faults.push(format!("found {} models, expected at most {MODELS_MAX}", named.len()));
        }
        let taken: u32 = named.iter().map(|model| u32::from(model.share.hundredths())).sum();
        if taken > u32::from(SHARES_MAX) {
            let (taken, most) = (f64::from(taken) / 100.0, one(SHARES_MAX));
            faults.push(format!(
                "queue_share: the further models have {taken} together, expected at most {most}: the rest is that of {DEFAULT}"
            ));
        }
        for (place, model) in named.iter().enumerate() {
            for code in &model.languages {
                let before = named[..place].iter().find(|other| other.languages.contains(code));
                faults.extend(before.map(|other| format!("languages: {code} is that of {:?} and of {:?}", other.name, model.name)));
            }
        }
        faults
    }
}

/// The model that a server starts with.
pub struct First {
    /// Loaded, with its parity proved.
    pub scorer: Arc<Scorer>,
    /// The folder of its package; `None` where nobody says it, and then it cannot be read again.
    pub folder: Option<PathBuf>,
    /// What loads the others.
    pub loader: Loader,
}

/// A loaded model in its place among the workers.
pub struct Model {
    name: Arc<str>,
    folder: Option<PathBuf>,
    scheduler: Scheduler,
    bytes: u64,
    generation: u64,
}

impl Model {
    /// By which requests name it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its package, in hex.
    pub fn digest(&self) -> &str {
        self.scheduler.scorer().digest()
    }

    /// What it computes with.
    pub fn scorer(&self) -> &Scorer {
        self.scheduler.scorer()
    }

    /// What scores with it.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The folder of its package, where somebody said it.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A model with the policy that decides by its signals, if one does.
#[derive(Clone)]
pub struct Serving {
    /// The model.
    pub model: Arc<Model>,
    judging: Judging,
}

impl Serving {
    /// Digest of the policy as it is compiled for this model.
    pub fn policy_digest(&self) -> Option<Digest> {
        self.judge().map(|judge| judge.edition.policy.digest)
    }

    fn judge(&self) -> Option<&Arc<Judge>> {
        match &self.judging {
            Judging::By(judge) => Some(judge),
            Judging::Nothing | Judging::Unproved(_) => None,
        }
    }

    fn deciding(&self) -> Option<Deciding> {
        let judge = self.judge()?;
        Some(Deciding { model: Arc::clone(&self.model), edition: Arc::clone(&judge.edition), judge: Arc::clone(judge) })
    }
}

#[derive(Clone)]
enum Judging {
    /// No policy decides with it.
    Nothing,
    /// This one does.
    By(Arc<Judge>),
    /// The one that decides now does not prove itself on this model, which is kept: why.
    Unproved(Arc<str>),
}

/// A model with the policy that decides by its signals.
pub struct Deciding {
    /// The model.
    pub model: Arc<Model>,
    /// The policy, compiled for it.
    pub edition: Arc<Edition>,
    /// The model's side of the policy.
    pub judge: Arc<Judge>,
}

/// What stands under one name.
#[derive(Clone)]
struct Slot {
    settings: ModelSettings,
    serving: Serving,
    /// What served before.
    kept: Option<Serving>,
}

impl Slot {
    /// Whether some signals may be this model's, or those of the package that it replaced.
    fn has(&self, digest: &str) -> bool {
        [Some(&self.serving), self.kept.as_ref()].into_iter().flatten().any(|serving| serving.model.digest() == digest)
    }

    /// All of it that is loaded.
    fn loaded(&self) -> impl Iterator<Item = &Serving> {
        [&self.serving].into_iter().chain(&self.kept)
    }
}

#[derive(Clone)]
struct Failed {
    path: PathBuf,
    reason: String,
}

/// All that is known at one moment; exchanged as a whole.
#[derive(Clone)]
struct State {
    default: Slot,
    named: BTreeMap<String, Slot>,
    loading: Option<(String, PathBuf)>,
    failed: BTreeMap<String, Failed>,
    /// Those that are replaced or unloaded, as long as somebody holds them.
    leaving: Vec<(ModelSettings, Weak<Model>)>,
}

impl State {
    fn slots(&self) -> impl Iterator<Item = &Slot> {
        [&self.default].into_iter().chain(self.named.values())
    }

    fn slot(&self, name: &str) -> Option<&Slot> {
        if name == DEFAULT { Some(&self.default) } else { self.named.get(name) }
    }

    fn slot_mut(&mut self, name: &str) -> Option<&mut Slot> {
        if name == DEFAULT { Some(&mut self.default) } else { self.named.get_mut(name) }
    }

    fn names(&self) -> String {
        self.slots().map(|slot| slot.settings.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn leaves(&mut self, settings: &ModelSettings, serving: &Serving) {
        self.leaving.push((settings.clone(), Arc::downgrade(&serving.model)));
    }

    /// Those that leave and are still there.
    fn still_there(&self) -> impl Iterator<Item = (&ModelSettings, Arc<Model>)> {
        self.leaving.iter().filter_map(|(settings, model)| Some((settings, model.upgrade()?)))
    }

    /// Bytes of all that is loaded.
    fn bytes(&self) -> u64 {
        let loaded: u64 = self.slots().flat_map(Slot::loaded).map(|serving| serving.model.bytes).sum();
        loaded + self.still_there().map(|(_, model)| model.bytes).sum::<u64>()
    }

    /// What the models beside the default leave it.
    fn share_of_default(&self) -> Share {
        let taken: u8 = self.named.values().map(|slot| slot.settings.share.hundredths()).sum();
        Share::new(100 - taken).expect("the others have at most 90 hundredths")
    }
}

/// Why a change was not done. Nothing was changed then.
#[derive(Debug)]
pub enum ChangeError {
    /// A field cannot be taken.
    Bad(BadField),
    /// There is no such model; field and words.
    NotFound(BadField),
    /// There is one already; field and words.
    AlreadyExists(BadField),
    /// It does not go with what is there, or the model did not prove itself; in words.
    Refused(String),
    /// Another change is under way.
    Busy,
    /// The server is draining.
    Closed,
    /// A bug of ours.
    Internal(&'static str),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(field) | Self::NotFound(field) | Self::AlreadyExists(field) => write!(f, "{}: {}", field.field, field.what),
            Self::Refused(what) => f.write_str(what),
            Self::Busy => f.write_str("another change of the models or of the policy is under way; try again when it is done"),
            Self::Closed => f.write_str("the server is draining"),
            Self::Internal(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ChangeError {}

impl From<BadField> for ChangeError {
    fn from(bad: BadField) -> Self {
        Self::Bad(bad)
    }
}

/// Why a request has no model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChoiceError {
    /// There is none of the name.
    Unknown(BadField),
    /// The one of the name decides nothing.
    ScoresOnly(BadField),
}

impl ChoiceError {
    /// The same about a field deeper in the message.
    pub fn at(self, at: &str) -> Self {
        let deeper = |bad: BadField| BadField { field: format!("{at}{}", bad.field), ..bad };
        match self {
            Self::Unknown(bad) => Self::Unknown(deeper(bad)),
            Self::ScoresOnly(bad) => Self::ScoresOnly(deeper(bad)),
        }
    }
}

/// What becomes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// It is being loaded and proved.
    Loading,
    /// It answers.
    Serving,
    /// It answers what was admitted to it.
    Retiring,
    /// It was replaced and can return.
    Kept,
    /// It did not load or prove itself.
    Failed,
}

/// A model as it is told.
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub state: ModelState,
    /// The folder of its package.
    pub path: Option<PathBuf>,
    /// What is loaded; `None` while it loads and where it failed.
    pub model: Option<Arc<Model>>,
    /// Languages that it is chosen for.
    pub languages: Vec<String>,
    /// Its share.
    pub share: Option<Share>,
    /// Digest of the policy for it.
    pub policy: Option<Digest>,
    /// Why it failed, or cannot return.
    pub reason: String,
}

/// A package that took the place of another.
pub struct Exchanged {
    /// How it serves.
    pub now: Listed,
    /// Digest of the one before.
    pub before: String,
    /// Scenarios that the policy passed with it.
    pub scenarios: usize,
}

/// See the module.
pub struct Models {
    workers: Workers,
    limits: Limits,
    bytes_max: Option<u64>,
    loader: Loader,
    metrics: Arc<Metrics>,
    state: RwLock<Arc<State>>,
    /// How a policy proves itself on a model; not set where none decides.
    judges: OnceLock<Judges>,
    /// Held while something is changed: one at a time.
    changing: Arc<Mutex<()>>,
    generations: AtomicU64,
}

impl Models {
    /// Starts the workers, with one model among them.
    pub fn start(first: First, limits: Limits, bytes_max: Option<u64>, metrics: Arc<Metrics>) -> std::io::Result<Arc<Self>> {
        let workers = Workers::start(limits.workers, Arc::clone(&metrics))?;
        let First { scorer, folder, loader } = first;
        let bytes = resident_bytes(&scorer, folder.as_deref());
        let scheduler = Scheduler::join(&workers, scorer, limits, Share::ALL, metrics.model_messages(DEFAULT));
        let model = Arc::new(Model { name: DEFAULT.into(), folder: folder.clone(), scheduler, bytes, generation: 0 });
        let settings = ModelSettings { share: Share::ALL, ..ModelSettings::new(DEFAULT, folder.unwrap_or_default()) };
        let default = Slot { settings, serving: Serving { model, judging: Judging::Nothing }, kept: None };
        let (named, failed) = (BTreeMap::new(), BTreeMap::new());
        let state = State { default, named, loading: None, failed, leaving: Vec::new() };
        Ok(Arc::new(Self {
            workers,
            limits,
            bytes_max,
            loader,
            metrics,
            state: RwLock::new(Arc::new(state)),
            judges: OnceLock::new(),
            changing: Arc::default(),
            generations: AtomicU64::new(0),
        }))
    }

    /// Lets a policy decide that proved itself on the default model; called once, before anything else is loaded. Without editions nothing is kept of it.
    pub fn decide_by(&self, places: PolicyPlaces, editions: Option<Arc<Editions>>, proved: Proved) -> Result<(), MemoryError> {
        let judges = Judges::new(places, editions);
        let judge = Arc::new(judges.judge(proved, self.default().model.scorer())?);
        if self.judges.set(judges).is_err() {
            return Err(MemoryError::Internal("a policy decides already"));
        }
        self.update(|state| state.default.serving.judging = Judging::By(judge));
        Ok(())
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Exchanges all that is known at one moment. Only whoever holds `changing` may come here; readers never wait for more than the exchange of a pointer.
    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = State::clone(&self.state());
        state.leaving.retain(|(_, model)| model.strong_count() > 0);
        let result = change(&mut state);
        let before = std::mem::replace(&mut *self.state.write().unwrap_or_else(PoisonError::into_inner), Arc::new(state));
        // Outside the lock: the last owner of a model frees its weights.
        drop(before);
        result
    }

    /// The model that answers where none is named.
    pub fn default(&self) -> Serving {
        self.state().default.serving.clone()
    }

    /// What they all accept together.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The threads that score.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// The model that scores a text: the one that is named, else the one for its language where that is certain, else the default.
    pub fn choose(&self, named: Option<&str>, text: &str) -> Result<Serving, ChoiceError> {
        let state = self.state();
        let chosen = match named {
            Some(name) => state.slot(name).ok_or_else(|| unknown("model", name, &state))?,
            None => match by_language(&state, text, |_| true) {
                Language::Listed(slot) => slot,
                Language::NotListed | Language::Unsure => &state.default,
            },
        };
        Ok(chosen.serving.clone())
    }

    /// The model that scores a message of a conversation, with the policy that decides: the one that is named, else the one for the message's language where that
    /// is certain, else the one of the conversation's last message, whose digest is given.
    pub fn choose_deciding(&self, named: Option<&str>, text: &str, last: &str) -> Result<Deciding, ChoiceError> {
        let state = self.state();
        let chosen = match named {
            Some(name) => state.slot(name).ok_or_else(|| unknown("model", name, &state))?,
            None => match by_language(&state, text, |slot| slot.serving.judge().is_some()) {
                Language::Listed(slot) => slot,
                Language::NotListed => &state.default,
                Language::Unsure => of_digest(&state, last),
            },
        };
        let name = &chosen.settings.name;
        let scores_only =
            || ChoiceError::ScoresOnly(BadField::new("model", format!("found {name:?}, with which no policy decides: it only scores")));
        chosen.serving.deciding().ok_or_else(scores_only)
    }

    /// The model of some signals, by its digest, with the policy that decides; the default where that model is gone.
    pub fn deciding_of(&self, digest: &str) -> Option<Deciding> {
        of_digest(&self.state(), digest).serving.deciding()
    }

    /// Every model, the default first, then by name; behind each what it replaced.
    pub fn list(&self) -> Vec<Listed> {
        let state = self.state();
        let mut all = Vec::new();
        for slot in state.slots() {
            let share = if slot.settings.name == DEFAULT { state.share_of_default() } else { slot.settings.share };
            all.push(listed(&slot.settings, share, &slot.serving, ModelState::Serving));
            all.extend(slot.kept.iter().map(|kept| listed(&slot.settings, share, kept, ModelState::Kept)));
        }
        for (settings, model) in state.still_there() {
            let serving = Serving { model, judging: Judging::Nothing };
            all.push(listed(settings, settings.share, &serving, ModelState::Retiring));
        }
        let bare = |name: &str, state: ModelState, path: &Path, reason: &str| Listed {
            name: name.to_owned(),
            state,
            path: Some(path.to_owned()),
            model: None,
            languages: Vec::new(),
            share: None,
            policy: None,
            reason: reason.to_owned(),
        };
        all.extend(state.loading.iter().map(|(name, path)| bare(name, ModelState::Loading, path, "")));
        all.extend(state.failed.iter().map(|(name, failed)| bare(name, ModelState::Failed, &failed.path, &failed.reason)));
        all
    }

    /// Bytes that all models take, and may take.
    pub fn bytes(&self) -> (u64, Option<u64>) {
        (self.state().bytes(), self.bytes_max)
    }

    /// Tells the metrics what changes by itself.
    pub fn tell(&self) {
        let state = self.state();
        for slot in state.slots() {
            let bytes: u64 = slot.loaded().map(|serving| serving.model.bytes).sum();
            let tokens: usize = slot.loaded().map(|serving| serving.model.scheduler.tokens_waiting()).sum();
            self.metrics.model(&slot.settings.name, bytes, tokens);
        }
    }

    /// How often a worker panicked over the default model, and which of the packages under this name that was.
    pub fn default_panics(&self) -> (u64, u64) {
        let serving = self.default();
        (serving.model.generation, serving.model.scheduler.panics())
    }

    /// Lets the default model prove that it answers.
    pub async fn canary(&self) -> Result<(), String> {
        canary(&self.default().model.scheduler).await
    }

    // ------------------------------------------------------------ changes

    /// Loads a further model.
    pub async fn load(self: &Arc<Self>, settings: ModelSettings) -> Result<Listed, ChangeError> {
        settings.check()?;
        let (name, path) = (settings.name.clone(), settings.path.clone());
        self.change(ModelChange::Load, &name, Some(path), |models| async move { models.load_now(settings).await }).await
    }

    async fn load_now(self: &Arc<Self>, settings: ModelSettings) -> Result<Listed, ChangeError> {
        self.check_room_for(&settings)?;
        let watch = Stopwatch::start();
        let (scorer, bytes) = self.read(&settings.path).await?;
        let (serving, _) = self.prove(&settings, scorer, bytes).await?;
        self.check_open()?;
        let name = settings.name.clone();
        emit_loaded(&serving.model, watch.elapsed());
        self.update(|state| {
            let share = settings.share;
            let told = listed(&settings, share, &serving, ModelState::Serving);
            state.named.insert(name, Slot { settings, serving, kept: None });
            self.share_out(state);
            Ok(told)
        })
    }

    /// Whether a further model may be loaded beside those that are there.
    fn check_room_for(&self, settings: &ModelSettings) -> Result<(), ChangeError> {
        let state = self.state();
        if state.slot(&settings.name).is_some() {
            let what = format!("found {:?}, which is loaded already: promote a package in its place, or unload it first", settings.name);
            return Err(ChangeError::AlreadyExists(BadField::new("name", what)));
        }
        if state.named.len() >= MODELS_MAX {
            return Err(ChangeError::Refused(format!("{MODELS_MAX} models are loaded beside {DEFAULT}, which is the most")));
        }
        let taken: u8 = state.named.values().map(|slot| slot.settings.share.hundredths()).sum();
        if taken + settings.share.hundredths() > SHARES_MAX {
            let what = format!(
                "queue_share: found {}, the other models have {} and all may have {}: the rest is that of {DEFAULT}",
                one(settings.share.hundredths()),
                one(taken),
                one(SHARES_MAX),
            );
            return Err(ChangeError::Refused(what));
        }
        for code in &settings.languages {
            if let Some(other) = state.named.values().find(|slot| slot.settings.languages.contains(code)) {
                return Err(ChangeError::Refused(format!("languages: {code} is that of the model {:?} already", other.settings.name)));
            }
        }
        Ok(())
    }

    /// Gives the default what the others leave it.
    fn share_out(&self, state: &State) {
        let share = state.share_of_default();
        state.default.loaded().for_each(|serving| serving.model.scheduler.set_share(self.limits, share));
    }

    /// Takes a model out of service, or only what it replaced; gives the digests of what goes.
    pub async fn unload(self: &Arc<Self>, name: &str, kept_only: bool) -> Result<Vec<String>, ChangeError> {
        let owned = name.to_owned();
        self.change(ModelChange::Unload, name, None, move |models| async move { models.unload_now(&owned, kept_only) }).await
    }

    fn unload_now(&self, name: &str, kept_only: bool) -> Result<Vec<String>, ChangeError> {
        let slot = self.slot("name", name)?;
        if name == DEFAULT && !kept_only {
            let what = format!("name: {DEFAULT} answers what names no model, and stays; promote another package in its place");
            return Err(ChangeError::Refused(what));
        }
        if kept_only && slot.kept.is_none() {
            return Err(ChangeError::Refused(format!("name: nothing is kept that {name:?} had before")));
        }
        let going: Vec<&Serving> = if kept_only { slot.kept.iter().collect() } else { slot.loaded().collect() };
        let digests = going.iter().map(|serving| serving.model.digest().to_owned()).collect();
        self.update(|state| {
            going.iter().for_each(|serving| state.leaves(&slot.settings, serving));
            if kept_only {
                state.slot_mut(name).into_iter().for_each(|slot| slot.kept = None);
            } else {
                state.named.remove(name);
                self.metrics.forget_model(name);
            }
            self.share_out(state);
        });
        emit(&Event::ModelUnloaded { name });
        Ok(digests)
    }

    /// Puts another package in the place of a model; without a folder the one that it came from is read again.
    pub async fn promote(self: &Arc<Self>, name: &str, folder: Option<PathBuf>) -> Result<Exchanged, ChangeError> {
        if folder.as_ref().is_some_and(|folder| folder.as_os_str().len() > PATH_BYTES_MAX) {
            return Err(BadField::new("path", format!("expected at most {PATH_BYTES_MAX} bytes")).into());
        }
        let slot = self.slot("name", name)?;
        let unsaid = || BadField::new("path", format!("found nothing, and nobody said which folder {name:?} came from"));
        let folder = folder.or_else(|| slot.serving.model.folder.clone()).ok_or_else(unsaid)?;
        let (owned, path) = (name.to_owned(), folder.clone());
        self.change(ModelChange::Promote, name, Some(path), move |models| async move { models.promote_now(&owned, folder).await }).await
    }

    async fn promote_now(self: &Arc<Self>, name: &str, folder: PathBuf) -> Result<Exchanged, ChangeError> {
        let slot = self.slot("name", name)?;
        let settings = ModelSettings { path: folder, ..slot.settings };
        let watch = Stopwatch::start();
        let (scorer, bytes) = self.read(&settings.path).await?;
        let before = slot.serving.model.digest().to_owned();
        if scorer.digest() == before {
            let share = self.share_of(name);
            return Ok(Exchanged { now: listed(&settings, share, &slot.serving, ModelState::Serving), before, scenarios: 0 });
        }
        let (serving, scenarios) = self.prove(&settings, scorer, bytes).await?;
        self.check_open()?;
        emit_loaded(&serving.model, watch.elapsed());
        self.exchange(name, &before, |slot| {
            slot.settings.path = settings.path;
            Some(std::mem::replace(&mut slot.serving, serving))
        })
        .map(|now| Exchanged { now, before, scenarios })
    }

    /// Puts the package back that a model had before.
    pub async fn roll_back(self: &Arc<Self>, name: &str) -> Result<Exchanged, ChangeError> {
        let owned = name.to_owned();
        self.change(ModelChange::RollBack, name, None, move |models| async move { models.roll_back_now(&owned) }).await
    }

    fn roll_back_now(&self, name: &str) -> Result<Exchanged, ChangeError> {
        let slot = self.slot("name", name)?;
        let nothing = || ChangeError::Refused(format!("name: nothing is kept that {name:?} had before"));
        let kept = slot.kept.ok_or_else(nothing)?;
        if let Judging::Unproved(why) = &kept.judging {
            return Err(ChangeError::Refused(format!("the policy that decides now does not prove itself on the model before: {why}")));
        }
        self.check_open()?;
        let before = slot.serving.model.digest().to_owned();
        let now = self.exchange(name, &before, |slot| {
            slot.settings.path = kept.model.folder.clone().unwrap_or_default();
            Some(std::mem::replace(&mut slot.serving, kept))
        })?;
        Ok(Exchanged { now, before, scenarios: 0 })
    }

    /// The one moment in which a model takes the place of another: what `put` gives back is kept, and what was kept before leaves.
    fn exchange(&self, name: &str, before: &str, put: impl FnOnce(&mut Slot) -> Option<Serving>) -> Result<Listed, ChangeError> {
        let now = self.update(|state| {
            let share = self.share_of(name);
            let slot = state.slot_mut(name)?;
            let old = put(slot)?;
            // A twin in the cache would be right, since it is of the same model; but its bytes are those of the new one now.
            old.model.scheduler.forget();
            slot.serving.model.scheduler.set_share(self.limits, share);
            let now = listed(&slot.settings, share, &slot.serving, ModelState::Serving);
            let is_return = slot.kept.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.model, &slot.serving.model));
            let (settings, gone) = (slot.settings.clone(), slot.kept.replace(old));
            gone.iter().filter(|_| !is_return).for_each(|gone| state.leaves(&settings, gone));
            Some(now)
        });
        let now = now.ok_or(ChangeError::Internal("a model that is being replaced is gone"))?;
        emit(&Event::ModelExchanged { name, digest: now.model.as_ref().map_or("", |model| model.digest()), before });
        Ok(now)
    }

    /// Reads the policy again and lets it decide, once it has proved itself on every model that decides. A model that was replaced and is kept may fail; then it cannot
    /// return.
    pub async fn reload(self: &Arc<Self>) -> Result<Reloaded, MemoryError> {
        let _one_at_a_time = self.changing.lock().await;
        let models = Arc::clone(self);
        let proved = tokio::task::spawn_blocking(move || models.proved_again()).await;
        let (judged, reloaded) = proved.unwrap_or(Err(MemoryError::Internal("a thread that proves the policy died")))?;
        self.update(|state| {
            for (name, serving, kept) in judged {
                if let Some(slot) = state.slot_mut(&name) {
                    slot.serving.judging = serving;
                    slot.kept.iter_mut().zip(kept).for_each(|(slot, kept)| slot.judging = kept);
                }
            }
        });
        Ok(reloaded)
    }

    fn proved_again(&self) -> Result<(Vec<Judged>, Reloaded), MemoryError> {
        let judges = self.judges.get().ok_or(MemoryError::Internal("no policy decides"))?;
        let source = judges.source().map_err(MemoryError::Policy)?;
        let state = self.state();
        let (mut all, mut reloaded) = (Vec::new(), None);
        for slot in state.slots() {
            let scenarios = slot.settings.scenarios.as_deref();
            if slot.settings.scores_only {
                continue;
            }
            let is_default = slot.settings.name == DEFAULT;
            let of_model = |error: MemoryError| match error {
                MemoryError::Policy(error) if !is_default => {
                    MemoryError::Policy(ProvingError::Content(format!("model {:?}: {}", slot.settings.name, causes(&error))))
                }
                error => error,
            };
            let proof = judges.prove(&source, scenarios, slot.serving.model.scorer()).map_err(of_model)?;
            if is_default {
                let before = slot.serving.policy_digest().unwrap_or(proof.judge.edition.policy.digest);
                let digest = proof.judge.edition.policy.digest;
                reloaded = Some(Reloaded { digest, before, scenarios: proof.scenarios, by_file: proof.by_file });
            }
            let kept = slot.kept.as_ref().map(|kept| match judges.prove(&source, scenarios, kept.model.scorer()) {
                Ok(proof) => Judging::By(Arc::new(proof.judge)),
                Err(error) => Judging::Unproved(causes(&error).into()),
            });
            all.push((slot.settings.name.clone(), Judging::By(Arc::new(proof.judge)), kept));
        }
        Ok((all, reloaded.ok_or(MemoryError::Internal("the default model was not looked at"))?))
    }

    fn slot(&self, field: &str, name: &str) -> Result<Slot, ChangeError> {
        let state = self.state();
        state.slot(name).cloned().ok_or_else(|| match unknown(field, name, &state) {
            ChoiceError::Unknown(bad) | ChoiceError::ScoresOnly(bad) => ChangeError::NotFound(bad),
        })
    }

    fn share_of(&self, name: &str) -> Share {
        let state = self.state();
        state.named.get(name).map_or_else(|| state.share_of_default(), |slot| slot.settings.share)
    }

    fn check_open(&self) -> Result<(), ChangeError> {
        if self.workers.is_closed() { Err(ChangeError::Closed) } else { Ok(()) }
    }

    /// Does a change alone and to its end, although the caller may leave; a second is refused meanwhile.
    async fn change<T, F>(
        self: &Arc<Self>,
        what: ModelChange,
        name: &str,
        loads: Option<PathBuf>,
        run: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, ChangeError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ChangeError>> + Send + 'static,
    {
        self.check_open()?;
        let alone = Arc::clone(&self.changing).try_lock_owned().map_err(|_| ChangeError::Busy)?;
        let (models, name, run) = (Arc::clone(self), name.to_owned(), run(Arc::clone(self)));
        let task = tokio::spawn(async move {
            let _alone = alone;
            models.update(|state| state.loading = loads.clone().map(|path| (name.clone(), path)));
            let result = run.await;
            let failed = result.as_ref().err().map(ToString::to_string);
            models.update(|state| {
                state.loading = None;
                match (&failed, loads) {
                    (None, _) => drop(state.failed.remove(&name)),
                    (Some(reason), Some(path)) => {
                        state.failed.insert(name.clone(), Failed { path, reason: reason.clone() });
                        if state.failed.len() > FAILED_MAX {
                            state.failed.pop_first();
                        }
                    }
                    (Some(_), None) => {}
                }
            });
            models.metrics.model_changed(what, failed.is_none());
            if let Some(reason) = &failed {
                emit(&Event::ModelRefused { name: &name, reason });
            }
            result
        });
        task.await.unwrap_or(Err(ChangeError::Internal("the task that changes the models died")))
    }

    /// Loads a package beside the others, within the bound of bytes.
    async fn read(self: &Arc<Self>, folder: &Path) -> Result<(Scorer, u64), ChangeError> {
        let (models, folder) = (Arc::clone(self), folder.to_owned());
        let read = move || {
            // While it is loaded its files are in memory too.
            models.check_bytes(bytes_of_weights(&folder), "its files have")?;
            let scorer = (models.loader)(&folder).map_err(|error| ChangeError::Refused(causes(error.as_ref())))?;
            let bytes = resident_bytes(&scorer, Some(&folder));
            models.check_bytes(bytes, "it takes")?;
            Ok((scorer, bytes))
        };
        tokio::task::spawn_blocking(read).await.unwrap_or(Err(ChangeError::Internal("the thread that loads the model died")))
    }

    fn check_bytes(&self, more: u64, how: &str) -> Result<(), ChangeError> {
        let loaded = self.state().bytes();
        match self.bytes_max {
            Some(most) if loaded.saturating_add(more) > most => Err(ChangeError::Refused(format!(
                "models.memory_bytes_max is {most}, the models that are loaded take {loaded} and {how} {more} bytes; unload one, or what one had before"
            ))),
            _ => Ok(()),
        }
    }

    /// Lets a loaded model prove itself: a canary in its own place among the workers, the policy, and some work of each length.
    async fn prove(self: &Arc<Self>, settings: &ModelSettings, scorer: Scorer, bytes: u64) -> Result<(Serving, usize), ChangeError> {
        let name = &settings.name;
        let scheduler =
            Scheduler::join(&self.workers, Arc::new(scorer), self.limits, self.share_to_prove(settings), self.metrics.model_messages(name));
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let model = Arc::new(Model { name: name.as_str().into(), folder: Some(settings.path.clone()), scheduler, bytes, generation });
        let failed = |what: String| match self.workers.is_closed() {
            true => ChangeError::Closed,
            false => ChangeError::Refused(format!("the model in {} did not answer the canary: {what}", settings.path.display())),
        };
        canary(&model.scheduler).await.map_err(failed)?;
        let judge = match (self.judges.get(), settings.scores_only) {
            (None, _) | (_, true) => None,
            (Some(_), false) => Some(self.judged(settings, &model).await?),
        };
        self.warm(&model.scheduler).await.map_err(failed)?;
        model.scheduler.begin_again();
        let scenarios = judge.as_ref().map_or(0, |(_, scenarios)| *scenarios);
        let judging = judge.map_or(Judging::Nothing, |(judge, _)| Judging::By(judge));
        Ok((Serving { model, judging }, scenarios))
    }

    /// A model that is loaded has its share from the beginning; one that takes the place of another that of the other.
    fn share_to_prove(&self, settings: &ModelSettings) -> Share {
        if settings.name == DEFAULT { self.state().share_of_default() } else { settings.share }
    }

    /// Lets the policy that decides prove itself on a model.
    async fn judged(self: &Arc<Self>, settings: &ModelSettings, model: &Arc<Model>) -> Result<(Arc<Judge>, usize), ChangeError> {
        let (models, scenarios, model) = (Arc::clone(self), settings.scenarios.clone(), Arc::clone(model));
        let prove = move || {
            let judges = models.judges.get().ok_or(MemoryError::Internal("no policy decides"))?;
            let judge = models.default().judge().cloned().ok_or(MemoryError::Internal("the default model has no policy"))?;
            judges.prove(&judge.source, scenarios.as_deref(), model.scorer())
        };
        let proof = tokio::task::spawn_blocking(prove).await.unwrap_or(Err(MemoryError::Internal("a thread that proves the policy died")));
        let refused =
            |error: MemoryError| ChangeError::Refused(format!("the policy does not prove itself on this model: {}", causes(&error)));
        proof.map(|proof| (Arc::new(proof.judge), proof.scenarios)).map_err(refused)
    }

    async fn warm(&self, scheduler: &Scheduler) -> Result<(), String> {
        for length in WARM_LENGTHS {
            let text = |worker: usize| format!("{worker} {}", CANARY.repeat(length));
            let scored = (0..self.limits.workers.max(1)).map(|worker| scored(scheduler, text(worker)));
            futures::future::try_join_all(scored).await?;
        }
        Ok(())
    }
}

/// A name, how its model is judged from now on, and how the one that it replaced is.
type Judged = (String, Judging, Option<Judging>);

/// What the language of a text says about the model.
enum Language<'s> {
    /// This one is for it.
    Listed(&'s Slot),
    /// It is certain, and no model is for it.
    NotListed,
    /// It is not certain, or no model is for any language.
    Unsure,
}

fn by_language<'s>(state: &'s State, text: &str, may: impl Fn(&Slot) -> bool) -> Language<'s> {
    let listed = || state.named.values().filter(|slot| !slot.settings.languages.is_empty() && may(slot));
    if listed().next().is_none() {
        return Language::Unsure;
    }
    let guard = state.default.serving.model.scorer().file().language.as_ref();
    // Few words are enough to tell some languages apart, but only those that are asked about: where the default does not say its own, all are.
    let of_default = guard.map_or(&[][..], |guard| guard.languages.as_slice());
    let of_others = listed().flat_map(|slot| &slot.settings.languages).filter(|_| !of_default.is_empty());
    match language::told_apart(text, of_default.iter().chain(of_others).map(String::as_str)) {
        None => Language::Unsure,
        Some(code) => {
            listed().find(|slot| slot.settings.languages.iter().any(|own| own == code)).map_or(Language::NotListed, Language::Listed)
        }
    }
}

fn of_digest<'s>(state: &'s State, digest: &str) -> &'s Slot {
    let of = state.slots().filter(|slot| slot.serving.judge().is_some()).find(|slot| slot.has(digest));
    of.unwrap_or(&state.default)
}

fn unknown(field: &str, name: &str, state: &State) -> ChoiceError {
    ChoiceError::Unknown(BadField::new(field, format!("found {:?}, expected one of {}", shown(name), state.names())))
}

fn listed(settings: &ModelSettings, share: Share, serving: &Serving, state: ModelState) -> Listed {
    Listed {
        name: settings.name.clone(),
        state,
        path: serving.model.folder.clone(),
        model: Some(Arc::clone(&serving.model)),
        languages: settings.languages.clone(),
        share: Some(share),
        policy: serving.policy_digest(),
        reason: match &serving.judging {
            Judging::Unproved(why) => why.to_string(),
            Judging::Nothing | Judging::By(_) => String::new(),
        },
    }
}

fn emit_loaded(model: &Model, elapsed: Duration) {
    let scorer = model.scorer();
    let (name, engine) = (format!("{} {}", scorer.file().name, scorer.file().version), scorer.engine());
    emit(&Event::ModelLoaded { name: &name, digest: scorer.digest(), engine: &engine, elapsed });
}

/// An error with its causes.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = all.map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

async fn canary(scheduler: &Scheduler) -> Result<(), String> {
    scored(scheduler, CANARY.to_owned()).await
}

/// Scores a text anew, within [`CANARY_TIMEOUT`].
async fn scored(scheduler: &Scheduler, text: String) -> Result<(), String> {
    let request = Request { text, proposal: None, class: Class::Live, deadline: None };
    match tokio::time::timeout(CANARY_TIMEOUT, scheduler.score_uncached(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(InferenceError::Failed(what))) => Err(what),
        Ok(Err(error)) => Err(format!("{error:?}")),
        Err(_) => Err(format!("no answer in {} s", CANARY_TIMEOUT.as_secs())),
    }
}

/// Bytes of a model as [`ModelInfo.resident_bytes`](super::pb::ModelInfo) tells them.
fn resident_bytes(scorer: &Scorer, folder: Option<&Path>) -> u64 {
    let size = |file: &str| folder.and_then(|folder| fs::metadata(folder.join(file)).ok()).map_or(0, |file| file.len());
    let weights = scorer.weight_bytes().unwrap_or_else(|| folder.map_or(0, bytes_of_weights));
    weights + size(crate::model::tokenizer::FILE)
}

/// Bytes of the files with weights in a folder; 0 where it cannot be read, which whoever loads it tells.
fn bytes_of_weights(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().take(FILES_MAX).filter_map(Result::ok);
    let weights = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "safetensors"));
    weights.filter_map(|file| fs::metadata(file.path()).ok()).map(|file| file.len()).sum()
}
