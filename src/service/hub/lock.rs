//! The lock file: which commit of a model was pulled, and size and SHA-256 of each of its files. The first pull writes it, every other must match it; it belongs under
//! version control, as a `Cargo.lock` does.
//!
//! ```toml
//! version = 1
//!
//! [[model]]
//! name = "org/name"
//! revision = "main"
//! commit = "0123456789abcdef0123456789abcdef01234567"
//!
//! [[model.file]]
//! name = "config.json"
//! size = 629
//! sha256 = "…"
//! ```
//!
//! Unknown keys are errors, as is a digest that is none: who edits it by hand is told. Models and files are in the order of their names, so that a change of one
//! model changes its lines only.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::name::{Commit, ModelName, Revision, is_hex};
use super::{HubError, cache, files};

/// Name of a lock file, unless a flag says otherwise.
pub const FILE: &str = "baton-models.lock";

/// Most bytes of a lock file: tens of thousands of files.
const BYTES_MAX: u64 = 4 << 20;
/// The form that this version reads and writes.
const VERSION: u32 = 1;

/// A lock file as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockFile {
    models: Vec<LockedModel>,
}

/// One model that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedModel {
    /// Its name on the hub.
    pub name: ModelName,
    /// The revision that was asked for.
    pub revision: Revision,
    /// The commit that it was then.
    pub commit: Commit,
    /// Its files, by name.
    pub files: Vec<LockedFile>,
}

/// One file that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedFile {
    /// Its name in the repository.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLock {
    version: u32,
    #[serde(default, rename = "model")]
    models: Vec<RawModel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    name: String,
    revision: String,
    commit: String,
    #[serde(rename = "file")]
    files: Vec<RawFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    name: String,
    size: u64,
    sha256: String,
}

impl LockFile {
    /// Reads one; where there is none, nothing is pinned.
    pub fn read(path: &Path) -> Result<Self, HubError> {
        let place = |what: String| HubError::new(format!("lock file {}: {what}", path.display()));
        let mut text = String::new();
        let read = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            opened => opened.and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text)),
        };
        read.map_err(|error| HubError::io(format!("lock file {}: it cannot be read", path.display()), error))?;
        if text.len() as u64 > BYTES_MAX {
            return Err(place(format!("found more than {BYTES_MAX} bytes")));
        }
        Self::parse(&text).map_err(place)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let raw: RawLock = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if raw.version != VERSION {
            return Err(format!("version: found {}, expected {VERSION}", raw.version));
        }
        let mut models: Vec<LockedModel> = Vec::new();
        for raw in raw.models {
            let model = RawModel::checked(raw)?;
            if models.iter().any(|other| other.name == model.name) {
                return Err(format!("model {}: found it twice", model.name));
            }
            models.push(model);
        }
        Ok(Self { models })
    }

    /// A model that is pinned.
    pub fn model(&self, name: &ModelName) -> Option<&LockedModel> {
        self.models.iter().find(|model| model.name == *name)
    }

    /// The text of the file.
    fn text(&self) -> String {
        let mut text = format!(
            "# Written by `baton models pull`, which verifies every file against it. Keep it under version control.\nversion = {VERSION}\n"
        );
        for LockedModel { name, revision, commit, files } in &self.models {
            // Names, revisions and digests hold no character that would need an escape.
            text.push_str(&format!("\n[[model]]\nname = \"{name}\"\nrevision = \"{revision}\"\ncommit = \"{commit}\"\n"));
            for LockedFile { name, size, sha256 } in files {
                text.push_str(&format!("\n[[model.file]]\nname = \"{name}\"\nsize = {size}\nsha256 = \"{sha256}\"\n"));
            }
        }
        text
    }
}

impl RawModel {
    fn checked(self) -> Result<LockedModel, String> {
        let name = ModelName::parse(&self.name).map_err(|what| format!("name: {what}"))?;
        let place = |key: &str, what: String| format!("model {name}: {key}: {what}");
        let revision = Revision::parse(&self.revision).map_err(|what| place("revision", what))?;
        let commit = Commit::parse(&self.commit).map_err(|what| place("commit", what))?;
        let mut files: Vec<LockedFile> = Vec::new();
        for file in self.files.into_iter().take(files::FILES_MAX + 1) {
            if !files::is_taken(&file.name) {
                return Err(place("file", format!("found the name {:?}, expected one of those that are pulled", file.name)));
            }
            if !is_hex(&file.sha256, 64) {
                return Err(place(&file.name, format!("found the sha256 {:?}, expected 64 hexadecimal digits", file.sha256)));
            }
            if files.iter().any(|other| other.name == file.name) {
                return Err(place(&file.name, "found it twice".to_owned()));
            }
            files.push(LockedFile { name: file.name, size: file.size, sha256: file.sha256 });
        }
        if !(1..=files::FILES_MAX).contains(&files.len()) {
            return Err(place("file", format!("found {}, expected 1 to {}", files.len(), files::FILES_MAX)));
        }
        Ok(LockedModel { name, revision, commit, files })
    }
}

/// Pins a model in a lock file. The caller holds the lock of the lock file; what another pull pinned meanwhile stays.
pub(super) fn put(path: &Path, model: &LockedModel, replace: bool) -> Result<(), HubError> {
    let mut lock = LockFile::read(path)?;
    match lock.models.iter_mut().find(|other| other.name == model.name) {
        Some(other) if *other == *model => return Ok(()),
        Some(other) if replace => other.clone_from(model),
        Some(other) => {
            return Err(HubError::new(format!(
                "lock file {}: model {}: another pull pinned commit {} meanwhile, this one found {}; pull again",
                path.display(),
                model.name,
                other.commit,
                model.commit
            )));
        }
        None => lock.models.push(model.clone()),
    }
    lock.models.sort_by(|a, b| a.name.cmp(&b.name));
    cache::write_whole(path, lock.text().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, digit: char) -> LockedModel {
        let file = |name: &str| LockedFile { name: name.to_owned(), size: 7, sha256: digit.to_string().repeat(64) };
        LockedModel {
            name: ModelName::parse(name).unwrap(),
            revision: Revision::main(),
            commit: Commit::parse(&digit.to_string().repeat(40)).unwrap(),
            files: vec![file("config.json"), file("model.safetensors")],
        }
    }

    #[test]
    fn what_is_written_is_read_and_stays_beside_others() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(FILE);
        assert_eq!(LockFile::read(&path).unwrap(), LockFile::default());
        put(&path, &model("org/b", 'b'), false).unwrap();
        put(&path, &model("org/a", 'a'), false).unwrap();
        let both = LockFile { models: vec![model("org/a", 'a'), model("org/b", 'b')] };
        assert_eq!(LockFile::read(&path).unwrap(), both);
        put(&path, &model("org/a", 'a'), false).unwrap();
        let what = put(&path, &model("org/a", 'c'), false).unwrap_err().to_string();
        assert!(what.contains("another pull") && LockFile::read(&path).unwrap() == both, "{what}");
        put(&path, &model("org/a", 'c'), true).unwrap();
        assert_eq!(LockFile::read(&path).unwrap(), LockFile { models: vec![model("org/a", 'c'), model("org/b", 'b')] });
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn what_was_edited_wrongly_is_named() {
        let sound = LockFile { models: vec![model("org/a", 'a')] }.text();
        LockFile::parse(&sound).unwrap();
        let cases: [(&str, &str, &str); 11] = [
            ("version = 1", "version = 2", "version: found 2, expected 1"),
            ("version = 1", "", "version"),
            ("revision = \"main\"", "revision = \"../x\"", "revision: found"),
            ("commit = \"aaaa", "commit = \"zaaa", "commit: found"),
            ("name = \"org/a\"", "name = \"../a\"", "name: found"),
            ("name = \"config.json\"", "name = \"../config.json\"", "found the name"),
            ("name = \"config.json\"", "name = \"pytorch_model.bin\"", "found the name"),
            ("name = \"config.json\"", "name = \"model.safetensors\"", "found it twice"),
            ("sha256 = \"aa", "sha256 = \"AA", "found the sha256"),
            ("size = 7", "size = -7", "size"),
            ("size = 7", "size = 7\nmd5 = \"x\"", "md5"),
        ];
        for (from, to, expected) in cases {
            assert!(sound.contains(from), "the case changes nothing: {from}");
            let what = LockFile::parse(&sound.replacen(from, to, 1)).unwrap_err();
            assert!(what.contains(expected), "{to}: {what}");
        }
        let twice = format!("{sound}{}", sound.split_once("\n\n").unwrap().1);
        assert!(LockFile::parse(&twice).unwrap_err().contains("twice"));
        assert!(LockFile::parse("version = 1\n[[model]]\n").is_err());
    }
}
