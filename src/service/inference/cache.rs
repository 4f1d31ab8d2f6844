//! Answers to texts that were scored before, bounded by bytes.
//!
//! The key is a hash of message and proposal; the cache belongs to one model and goes with it. Texts themselves are not kept.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache as QuickCache;
use sha2::{Digest, Sha256};

use super::Class;
use crate::signal::Signals;

/// The first 16 bytes of a SHA-256: two different texts with one key would take 2^64 texts.
pub type Key = [u8; 16];

/// Bytes of an entry beside its vectors: probabilities, labels, bookkeeping.
const ENTRY_BYTES: u64 = 2048;

/// See the module.
pub struct Cache(Option<QuickCache<Key, Arc<Signals>, ByBytes>>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Signals>> for ByBytes {
    fn weight(&self, _: &Key, signals: &Arc<Signals>) -> u64 {
        let embedding = signals.embedding.as_ref().map_or(0, |e| e.0.len());
        let sentences: usize = signals.sentences.iter().map(|s| s.embedding.0.len()).sum();
        ENTRY_BYTES + 4 * (embedding + sentences) as u64
    }
}

impl Cache {
    /// Holds at most this many bytes; 0 holds nothing.
    pub fn new(bytes_max: u64) -> Self {
        let items = usize::try_from(bytes_max / (2 * ENTRY_BYTES)).unwrap_or(usize::MAX);
        Self((bytes_max > 0).then(|| QuickCache::with_weighter(items.max(1), bytes_max, ByBytes)))
    }

    /// The answer to this text, if it is still there.
    pub fn get(&self, key: &Key) -> Option<Arc<Signals>> {
        self.0.as_ref()?.get(key)
    }

    /// Holds at most this many bytes from now on; one that was made to hold nothing goes on so.
    pub fn set_bytes_max(&self, bytes_max: u64) {
        if let Some(cache) = &self.0 {
            cache.set_capacity(bytes_max);
        }
    }

    /// Gives up everything.
    pub fn clear(&self) {
        if let Some(cache) = &self.0 {
            cache.clear();
        }
    }

    /// Keeps an answer.
    pub fn put(&self, key: Key, signals: Arc<Signals>) {
        if let Some(cache) = &self.0 {
            cache.insert(key, signals);
        }
    }
}

/// The key of a message with its proposal.
pub fn key(text: &str, proposal: Option<&str>) -> Key {
    let mut hasher = Sha256::new();
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text);
    if let Some(proposal) = proposal {
        hasher.update([1]);
        hasher.update(proposal);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    *digest.first_chunk().expect("SHA-256 has 32 bytes")
}

/// The key under which a message waits: live and bulk apart, so that a live message never waits in the lane of a bulk twin. Twice is nothing.
pub fn lane_key(mut key: Key, class: Class) -> Key {
    if class == Class::Bulk {
        key[0] ^= 1;
    }
    key
}
