//! Policies as they decided: each is kept beside the store, with the labels of the model that it was compiled for, so that old inputs can be decided again.
//!
//! A file for each digest, `policies/<digest>.json`, written once and never changed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::MemoryError;
use crate::handoff::observation::Vocabulary;
use crate::handoff::policy::Policy;
use crate::handoff::receipt::Digest;
use crate::model::scorer::Scorer;
use crate::service::proving::{Source, read_text};

/// Policies that are held in memory beside the one that decides.
const KNOWN_MAX: usize = 64;
/// Most bytes of a file.
const BYTES_MAX: u64 = 16 << 20;

/// Labels of a model's heads, by name.
pub type Labels = BTreeMap<String, Vec<String>>;

/// A policy with the labels of the model that it was compiled for.
#[derive(Debug)]
pub struct Edition {
    /// The policy.
    pub policy: Policy,
    /// The labels of every head.
    pub labels: Labels,
}

/// An edition as its file holds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    text: String,
    /// Its language files, by the path that it names each with.
    #[serde(default)]
    languages: Vec<(String, String)>,
    vocabulary: Vocabulary,
    labels: Labels,
}

/// The labels of a model's heads.
pub fn labels(scorer: &Scorer) -> Labels {
    scorer.heads().iter().map(|head| (head.name().to_owned(), head.spec.labels.clone())).collect()
}

/// The editions of one store.
pub struct Editions {
    folder: PathBuf,
    known: Mutex<HashMap<Digest, Arc<Edition>>>,
}

impl Editions {
    /// Those of a store's folder. Blocks, as all of this does.
    pub fn open(store: &Path) -> Result<Self, MemoryError> {
        let folder = store.join("policies");
        fs::create_dir_all(&folder).map_err(|error| MemoryError::io(&folder, &error))?;
        Ok(Self { folder, known: Mutex::default() })
    }

    /// Keeps a policy before it decides anything.
    pub fn keep(&self, source: &Source, policy: Policy, labels: Labels) -> Result<Arc<Edition>, MemoryError> {
        let digest = policy.digest;
        let path = self.path(&digest);
        if !path.exists() {
            let vocabulary = policy.vocabulary.clone();
            let Source { name, text, languages } = source.clone();
            let written = Written { name, text, languages, vocabulary, labels: labels.clone() };
            let bytes = serde_json::to_vec(&written).expect("plain values in memory are written without fail");
            self.write(&path, &bytes).map_err(|error| MemoryError::io(&path, &error))?;
        }
        Ok(self.remember(digest, Edition { policy, labels }))
    }

    /// Under another name first: a file of this name is whole.
    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let new = path.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        fs::File::open(&self.folder)?.sync_all()
    }

    /// The edition of a digest.
    pub fn get(&self, digest: &Digest) -> Result<Arc<Edition>, MemoryError> {
        if let Some(edition) = self.lock().get(digest) {
            return Ok(Arc::clone(edition));
        }
        let path = self.path(digest);
        let broken = |what: &str| MemoryError::Broken(format!("policy {}: {what}", digest.short()));
        let text = read_text(&path, BYTES_MAX).map_err(|_| broken("its file cannot be read"))?;
        let written: Written = serde_json::from_str(&text).map_err(|_| broken("its file is damaged"))?;
        let source = Source { name: written.name, text: written.text, languages: written.languages };
        let policy = source.read_policy(&written.vocabulary).map_err(|_| broken("this program refuses it"))?;
        if policy.digest != *digest {
            return Err(broken("its file holds another policy, or this program compiles it otherwise"));
        }
        Ok(self.remember(*digest, Edition { policy, labels: written.labels }))
    }

    fn remember(&self, digest: Digest, edition: Edition) -> Arc<Edition> {
        let edition = Arc::new(edition);
        let mut known = self.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(digest, Arc::clone(&edition));
        edition
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Edition>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.json"))
    }
}
