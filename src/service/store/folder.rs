//! The store's folder: who may use it, whether it was left clean, and that what was made there stays there.
//!
//! | file | holds |
//! |---|---|
//! | `baton.db`, `baton.db-wal`, `baton.db-shm` | SQLite's |
//! | `baton.lock` | nothing; the process that serves the folder holds its lock, which ends with the process |
//! | `baton.clean` | size and time of `baton.db` as a clean shutdown left it; not there while the store is open |

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::error::{StoreError, StoreErrorKind};

/// Name of the database inside a folder.
pub const DATABASE: &str = "baton.db";

/// A folder that this process alone uses.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Held until the value goes.
    lock: File,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started holds a copy of it for a moment, and the lock with it.
        drop(self.lock.unlock());
    }
}

impl Folder {
    /// Makes it where it is not there, for its owner alone, and takes its lock.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |what: &str| {
            let what = format!("{}: {what}", path.display());
            move |error| StoreError::io(what, error)
        };
        if !path.is_dir() {
            make(path).map_err(failed("the folder cannot be made"))?;
            if let Some(parent) = path.parent() {
                // A relative name of one part has the empty path as its parent.
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                sync_folder(parent).map_err(failed("the folder cannot be made durable"))?;
            }
        }
        let name = path.join("baton.lock");
        let lock = File::options().create(true).truncate(false).write(true).open(name).map_err(failed("the lock cannot be opened"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => {
                Err(StoreError::new(StoreErrorKind::Locked, format!("{}: another process serves this folder", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(failed("the lock cannot be taken")(error)),
        }
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Where the database is made before it gets its name.
    pub(super) fn database_in_the_making(&self) -> PathBuf {
        self.path.join("baton.new")
    }

    /// The log that SQLite keeps beside the database.
    pub(super) fn wal(&self) -> PathBuf {
        self.path.join("baton.db-wal")
    }

    fn marker(&self) -> PathBuf {
        self.path.join("baton.clean")
    }

    /// Whether something of a store is here although the database is not.
    pub(super) fn has_remains(&self) -> bool {
        self.marker().exists() || self.wal().metadata().is_ok_and(|file| file.len() > 0)
    }

    /// Whether the database is as a clean shutdown left it.
    pub(super) fn is_clean(&self) -> bool {
        let mut text = String::new();
        let read = File::open(self.marker()).and_then(|file| file.take(128).read_to_string(&mut text));
        read.is_ok() && self.stamp().is_ok_and(|stamp| stamp == text)
    }

    /// The store is in use from now on.
    pub(super) fn mark_in_use(&self) -> Result<(), StoreError> {
        match fs::remove_file(self.marker()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io(format!("{}: it cannot be removed", self.marker().display()), error))
            }
            // Should this not last, the database's time tells all the same.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The store was closed and all is in the database.
    pub(super) fn mark_clean(&self) -> Result<(), StoreError> {
        let write = || {
            let new = self.path.join("baton.clean-new");
            let mut file = File::create(&new)?;
            file.write_all(self.stamp()?.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, self.marker())?;
            sync_folder(&self.path)
        };
        write().map_err(|error| StoreError::io(format!("{}: it cannot be written", self.marker().display()), error))
    }

    fn stamp(&self) -> io::Result<String> {
        let file = fs::metadata(self.database())?;
        let time = file.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(format!("{} bytes at {} ns\n", file.len(), time.as_nanos()))
    }

    /// Gives the database its name, durably.
    pub(super) fn name_database(&self) -> Result<(), StoreError> {
        let new = self.database_in_the_making();
        let write = || {
            File::open(&new)?.sync_all()?;
            fs::rename(&new, self.database())?;
            sync_folder(&self.path)
        };
        write().map_err(|error| StoreError::io(format!("{}: it cannot be made", self.database().display()), error))
    }
}

#[cfg(unix)]
fn make(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Makes the names in a folder durable, which on Windows cannot be asked for.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
