//! The standard cache: `models--org--name` with `blobs` (content, named by its digest), `refs` (branch or tag → commit) and `snapshots` (a folder for each commit,
//! its files links to blobs). Other programs share it.
//!
//! A blob has its name once it is verified; before it is `BLOB.incomplete`. Links and refs appear whole. Who writes holds a lock of the file system under `.locks`, as
//! the other programs do; it ends with the process. What is read is believed only by its digest.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::lock::LockedFile;
use super::name::{BlobName, Commit, ModelName, Revision};
use super::{HubError, Step, digest};
use crate::model::load::hex;

/// How often a lock may be taken away, by a program that removes its file, before it is taken.
const LOCK_ATTEMPTS_MAX: usize = 16;

/// The folder of one model.
pub(super) struct Cache {
    folder: PathBuf,
    locks: PathBuf,
}

/// What became of checking a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// It is what it should be.
    Sound,
    /// It is something else, which is said.
    Wrong(String),
    /// It is not there.
    Missing,
}

impl Cache {
    /// The folder of a model in a cache; makes nothing.
    pub(super) fn new(root: &Path, name: &ModelName) -> Self {
        Self { folder: root.join(name.folder()), locks: root.join(".locks").join(name.folder()) }
    }

    /// Where a blob is.
    pub(super) fn blob(&self, name: &BlobName) -> PathBuf {
        self.folder.join("blobs").join(name.as_str())
    }

    /// The folder of a commit.
    pub(super) fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.folder.join("snapshots").join(commit.as_str())
    }

    /// Whether a file of a commit is what the lock file pins.
    pub(super) fn check(&self, commit: &Commit, file: &LockedFile) -> Result<Checked, HubError> {
        let path = self.snapshot(commit).join(&file.name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Checked::Missing),
            Err(error) => return Err(HubError::io(format!("file {}: it cannot be read", path.display()), error)),
            Ok(found) if !found.is_file() => return Ok(Checked::Wrong("something that is no file".to_owned())),
            Ok(found) if found.len() != file.size => return Ok(Checked::Wrong(format!("{} bytes", found.len()))),
            Ok(_) => {}
        }
        let found = digest::of(&path, &BlobName::Sha256(String::new()))?;
        Ok(if found.sha256 == file.sha256 && found.size == file.size {
            Checked::Sound
        } else {
            Checked::Wrong(format!("{} bytes with SHA-256 {}", found.size, found.sha256))
        })
    }

    /// A blob whole, to so many bytes.
    pub(super) fn read(&self, name: &BlobName, bytes_max: u64) -> Result<Vec<u8>, HubError> {
        let path = self.blob(name);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes));
        read.map_err(|error| HubError::io(format!("file {}: it cannot be read", path.display()), error))?;
        Ok(bytes)
    }

    /// Where a blob grows; its folder is there.
    pub(super) fn part(&self, name: &BlobName) -> Result<PathBuf, HubError> {
        make_folder(&self.folder.join("blobs"))?;
        Ok(self.part_path(name))
    }

    fn part_path(&self, name: &BlobName) -> PathBuf {
        self.folder.join("blobs").join(format!("{}.incomplete", name.as_str()))
    }

    /// Gives a verified blob its name, durably.
    pub(super) fn name_part(&self, name: &BlobName) -> Result<(), HubError> {
        let path = self.blob(name);
        let renamed = fs::rename(self.part_path(name), &path).and_then(|()| sync_folder(&self.folder.join("blobs")));
        renamed.map_err(|error| HubError::io(format!("file {}: it cannot be made", path.display()), error))
    }

    /// Takes away what is wrong.
    pub(super) fn discard_part(&self, name: &BlobName) -> Result<(), HubError> {
        remove(&self.part_path(name))
    }

    /// Takes away a part in which there is nothing.
    pub(super) fn discard_empty_part(&self, name: &BlobName) -> Result<(), HubError> {
        let path = self.part_path(name);
        if fs::metadata(&path).is_ok_and(|part| part.len() == 0) { remove(&path) } else { Ok(()) }
    }

    /// Lets the file of a commit be a blob. The caller holds the lock of the snapshots.
    pub(super) fn link(&self, commit: &Commit, file: &str, blob: &BlobName) -> Result<(), HubError> {
        let folder = self.snapshot(commit);
        make_folder(&folder)?;
        let (path, beside) = (folder.join(file), folder.join(format!("{file}.new")));
        let failed = |error| HubError::io(format!("file {}: it cannot be made", path.display()), error);
        remove(&beside)?;
        #[cfg(unix)]
        std::os::unix::fs::symlink(Path::new("../../blobs").join(blob.as_str()), &beside).map_err(failed)?;
        // Where links need rights that few have, the others copy too.
        #[cfg(not(unix))]
        fs::copy(self.blob(blob), &beside).map(drop).map_err(failed)?;
        fs::rename(&beside, &path).and_then(|()| sync_folder(&folder)).map_err(failed)
    }

    /// Notes which commit a branch or tag is. The caller holds the lock of the snapshots.
    pub(super) fn write_ref(&self, revision: &Revision, commit: &Commit) -> Result<(), HubError> {
        if revision.is_commit() {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision.as_str());
        let folder = path.parent().expect("a ref is inside refs");
        make_folder(folder)?;
        write_whole(&path, commit.as_str().as_bytes())
    }

    /// Takes a lock of this model; waits while another process has it.
    pub(super) fn guard(&self, what: &str, tell: &mut dyn FnMut(Step<'_>)) -> Result<Guard, HubError> {
        Guard::take(&self.locks, &format!("{what}.lock"), what, tell)
    }

    /// Takes the lock of a lock file: it is not beside that, which is under version control.
    pub(super) fn guard_of_lock_file(&self, lock: &Path, tell: &mut dyn FnMut(Step<'_>)) -> Result<Guard, HubError> {
        let path = std::path::absolute(lock).map_err(|error| HubError::io(format!("lock file {}", lock.display()), error))?;
        let key = hex(&Sha256::digest(path.as_os_str().as_encoded_bytes()));
        let folder = self.locks.parent().expect("locks are in .locks").join("baton");
        Guard::take(&folder, &format!("{key}.lock"), &lock.display().to_string(), tell)
    }
}

/// A lock that this process holds.
#[derive(Debug)]
pub(super) struct Guard(File);

impl Guard {
    fn take(folder: &Path, name: &str, what: &str, tell: &mut dyn FnMut(Step<'_>)) -> Result<Self, HubError> {
        make_folder(folder)?;
        let path = folder.join(name);
        let failed = |error| HubError::io(format!("lock {}: it cannot be taken", path.display()), error);
        for _ in 0..LOCK_ATTEMPTS_MAX {
            let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    tell(Step::Waits { what });
                    // Until the other process has ended its file, or has ended.
                    file.lock().map_err(failed)?;
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            let guard = Self(file);
            // Some programs remove the file of a lock that they give back; who waited for it holds nothing then.
            if is_same(&guard.0, &path) {
                return Ok(guard);
            }
        }
        Err(HubError::new(format!("lock {}: found it removed {LOCK_ATTEMPTS_MAX} times while it was taken", path.display())))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started holds a copy of it for a moment, and the lock with it.
        drop(self.0.unlock());
    }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let key = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata().map(key), fs::metadata(path).map(key)), (Ok(held), Ok(named)) if held == named)
}

/// There an open file cannot be removed.
#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> bool {
    true
}

/// A blob that grows.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    size: u64,
}

impl Part {
    /// Opens what is there; of what is longer than the whole nothing is kept.
    pub(super) fn open(path: &Path, size_max: u64) -> Result<Self, HubError> {
        let failed = |error| HubError::io(format!("file {}: it cannot be written", path.display()), error);
        let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut part = Self { file, path: path.to_owned(), size };
        part.begin_at(if size > size_max { 0 } else { size })?;
        Ok(part)
    }

    /// Bytes that are there.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Keeps so many bytes, and goes on behind them.
    pub(super) fn begin_at(&mut self, size: u64) -> Result<(), HubError> {
        self.size = size;
        let begun = self.file.set_len(size).and_then(|()| self.file.seek(SeekFrom::Start(size)));
        begun.map(drop).map_err(|error| self.failed(error))
    }

    /// Writes behind what is there.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(|error| self.failed(error))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// All that was written is on the disk.
    pub(super) fn finish(&self) -> Result<(), HubError> {
        self.file.sync_all().map_err(|error| self.failed(error))
    }

    /// Takes it away.
    pub(super) fn discard(self) -> Result<(), HubError> {
        drop(self.file);
        remove(&self.path)
    }

    fn failed(&self, error: io::Error) -> HubError {
        HubError::io(format!("file {}: it cannot be written", self.path.display()), error)
    }
}

/// Writes a small file so that it appears whole or not at all. The caller holds a lock for it.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), HubError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_folder(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    };
    write().map_err(|error| {
        drop(fs::remove_file(&beside));
        HubError::io(format!("file {}: it cannot be written", path.display()), error)
    })
}

fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(HubError::io(format!("file {}: it cannot be removed", path.display()), error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn make_folder(path: &Path) -> Result<(), HubError> {
    fs::create_dir_all(path).map_err(|error| HubError::io(format!("folder {}: it cannot be made", path.display()), error))
}

/// Makes the names in a folder durable, which on Windows cannot be asked for.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_holds_out_others_and_a_removed_one_is_taken_anew() {
        let place = tempfile::tempdir().unwrap();
        let take = |tell: &mut dyn FnMut(Step<'_>)| Guard::take(place.path(), "x.lock", "x", tell);
        let held = take(&mut |_| panic!("nobody holds it")).unwrap();
        let path = place.path().join("x.lock");
        let other = File::options().write(true).open(&path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        // Somebody removes the file: it says nothing to those who come later, and the waiting one takes the new one.
        fs::remove_file(&path).unwrap();
        let new = take(&mut |_| panic!("the new one is free")).unwrap();
        assert!(is_same(&new.0, &path) && !is_same(&held.0, &path));
        drop(held);
        drop(new);
        assert!(other.try_lock().is_ok());
    }

    #[test]
    fn who_waits_is_told_and_goes_on() {
        let place = tempfile::tempdir().unwrap();
        let held = Guard::take(place.path(), "x.lock", "x", &mut |_| ()).unwrap();
        std::thread::scope(|scope| {
            let (told, waits) = std::sync::mpsc::channel();
            let other = scope.spawn(move || {
                let tell = &mut |step: Step<'_>| told.send(format!("{step:?}")).unwrap();
                Guard::take(place.path(), "x.lock", "x", tell).map(drop)
            });
            assert_eq!(waits.recv().unwrap(), "Waits { what: \"x\" }");
            drop(held);
            other.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_part_goes_on_behind_what_is_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.incomplete");
        fs::write(&path, "hello").unwrap();
        let mut part = Part::open(&path, 11).unwrap();
        assert_eq!(part.size(), 5);
        part.append(b" world").unwrap();
        assert_eq!((part.size(), fs::read(&path).unwrap()), (11, b"hello world".to_vec()));
        assert_eq!(Part::open(&path, 10).unwrap().size(), 0, "what is longer than the whole is of something else");
        part.discard().unwrap();
        assert!(!path.exists());
    }
}
