//! Vectors of training texts, computed once: a file per trunk and reading, keyed by the text's hash.
//!
//! A record is the first 16 bytes of the text's SHA-256 and its vector as little-endian `f32`. Records are only added; a file that ends within a record (a
//! killed run) is cut back to whole ones. The file's name holds the trunk's digest, the layer, the pooling and the length of a window, so another trunk never reads it. A record that is not
//! finite is computed anew. It grows by 1.5 kB a text (3 kB where heads read two vectors of it) and may
//! be deleted at any time.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{bulk, progress_bar};
use crate::model::head::{Pooling, Reading};
use crate::model::scorer::{Scorer, TextKey, text_key};
use crate::model::train::Matrix;
use crate::service::clock::Stopwatch;
use crate::service::events::{Event, emit};

const KEY_BYTES: usize = size_of::<TextKey>();
/// Texts of one call to the model: enough for batches of near lengths, few enough for a bar that moves.
const TEXTS_PER_CALL: usize = 256;
/// Texts between two writes to the file: what a killed run loses.
const TEXTS_PER_WRITE: usize = 4096;

/// The cache of one trunk and reading.
pub struct FeatureCache {
    path: PathBuf,
    reading: Reading,
    width: usize,
    vectors: HashMap<TextKey, Vec<f32>>,
}

impl FeatureCache {
    /// Opens, or begins, the cache of this scorer's trunk and one reading in a folder.
    pub fn open(folder: &Path, scorer: &Scorer, reading: Reading) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cache folder {}", folder.display()))?;
        let Reading { layer, pooling, normalize } = reading;
        let name = match (pooling, normalize) {
            (Pooling::Mean, true) => String::new(),
            _ => format!("-{}{}", pooling.as_str(), if normalize { "" } else { "-raw" }),
        };
        let path = folder.join(format!("features-{}-{layer}{name}-{}.bin", &scorer.trunk_digest()[..16], scorer.file().max_seq_len));
        let mut cache = Self { path, reading, width: pooling.width(scorer.embedding_size()), vectors: HashMap::new() };
        cache.read().with_context(|| format!("feature cache {}", cache.path.display()))?;
        Ok(cache)
    }

    fn record_bytes(&self) -> usize {
        KEY_BYTES + 4 * self.width
    }

    fn read(&mut self) -> Result<()> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        let bytes = file.metadata()?.len();
        let torn = bytes % self.record_bytes() as u64;
        if torn > 0 {
            file.set_len(bytes - torn)?;
            emit(&Event::CacheCut { bytes: torn });
        }
        let mut reader = BufReader::new(file);
        let mut record = vec![0; self.record_bytes()];
        for _ in 0..(bytes - torn) / self.record_bytes() as u64 {
            reader.read_exact(&mut record)?;
            let (key, vector) = record.split_first_chunk::<KEY_BYTES>().expect("a record begins with its key");
            let vector: Vec<f32> = vector.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            if vector.iter().all(|v| v.is_finite()) {
                self.vectors.insert(*key, vector);
            }
        }
        Ok(())
    }

    /// The vectors of texts, one row each; a text without a token has a row of zeros. `done` hears how many texts each step finished.
    pub fn features(&mut self, scorer: &Scorer, texts: &[String], done: impl Fn(usize) + Sync) -> Result<Matrix> {
        let watch = Stopwatch::start();
        let keys: Vec<TextKey> = texts.iter().map(|text| text_key(text)).collect();
        let mut missing: Vec<usize> = (0..texts.len()).filter(|row| !self.vectors.contains_key(&keys[*row])).collect();
        missing.sort_by_key(|row| (keys[*row], *row));
        missing.dedup_by_key(|row| keys[*row]);
        // Near lengths together make full batches.
        missing.sort_by_key(|row| (texts[*row].len(), *row));
        done(texts.len() - missing.len());
        for part in missing.chunks(TEXTS_PER_WRITE) {
            let embed = |rows: &[usize]| scorer.features(&rows.iter().map(|row| texts[*row].as_str()).collect::<Vec<_>>(), self.reading);
            let vectors = bulk::map(part, TEXTS_PER_CALL, embed, &done)?;
            let vectors = vectors.into_iter().map(|v| v.unwrap_or_else(|| vec![0.0; self.width]));
            self.add(part.iter().map(|row| keys[*row]).zip(vectors).collect())?;
        }
        let (computed, cached) = (missing.len() as u64, (texts.len() - missing.len()) as u64);
        emit(&Event::FeaturesReady { cached, computed, elapsed: watch.elapsed() });
        let values = keys.iter().flat_map(|key| self.vectors[key].iter().copied()).collect();
        Ok(Matrix::new(values, self.width))
    }

    fn add(&mut self, records: Vec<(TextKey, Vec<f32>)>) -> Result<()> {
        let mut file = File::options().append(true).open(&self.path)?;
        file.seek(SeekFrom::End(0))?;
        let mut writer = BufWriter::new(file);
        for (key, vector) in &records {
            writer.write_all(key)?;
            vector.iter().try_for_each(|v| writer.write_all(&v.to_le_bytes()))?;
        }
        writer.flush()?;
        self.vectors.extend(records);
        Ok(())
    }
}

/// The vectors of texts from the cache in a folder, with a progress bar while missing ones are computed.
pub fn cached_features(folder: &Path, scorer: &Scorer, reading: Reading, texts: &[String]) -> Result<Matrix> {
    let bar = progress_bar(texts.len() as u64, "features", false);
    let features = FeatureCache::open(folder, scorer, reading)?.features(scorer, texts, |n| bar.inc(n as u64))?;
    bar.finish_and_clear();
    Ok(features)
}
