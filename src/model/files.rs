//! The files of a model folder, opened with care: whoever made the folder may not wish us well.
//!
//! In: a folder and the plain name of a file in it. Out: the file, open, with its length, or its bytes; or in words what was found instead.
//! A name has no path in it. A symbolic link may lead to another file of the folder, or, where the folder is a snapshot in the cache of the Hugging Face hub
//! (`models--NAME/snapshots/REVISION`), to one of the `blobs` beside it, where the reference library keeps what the snapshot links to; any other link is refused.
//! Only regular files are opened, so a pipe cannot make us wait, and a length is looked at before a byte is read.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::fault::Fault;

/// Largest JSON file that is read, in bytes; the largest known tokenizers have half of it.
pub(super) const JSON_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of weights of one folder.
pub(super) const WEIGHTS_BYTES_MAX: u64 = 8 << 30;
/// Longest file name that is looked for.
const NAME_BYTES_MAX: usize = 255;

/// A folder whose files may be opened.
pub(super) struct Folder {
    /// Without links.
    real: PathBuf,
    /// Where links of a hub snapshot may lead.
    blobs: Option<PathBuf>,
}

/// A regular file, open for reading.
pub(super) struct OpenFile {
    /// The file.
    pub(super) file: File,
    /// Its length in bytes when it was opened.
    pub(super) bytes: u64,
}

impl Folder {
    /// The folder of this name.
    pub(super) fn open(named: &Path) -> Result<Self, Fault> {
        let none = || Fault::new("", "", "no such folder", "a folder with a model package");
        let real = fs::canonicalize(named).map_err(|_| none())?;
        if !real.is_dir() {
            return Err(none());
        }
        let blobs = snapshot_of(&real).map(|(model, _)| model.join("blobs")).and_then(|blobs| fs::canonicalize(blobs).ok());
        Ok(Self { real, blobs })
    }

    /// Without links.
    pub(super) fn real(&self) -> &Path {
        &self.real
    }

    /// Whether something of this name is there, be it a link that leads nowhere.
    pub(super) fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.real.join(name)).is_ok()
    }

    /// Opens a file of at most so many bytes; the error says what was found.
    pub(super) fn file(&self, name: &str, bytes_max: u64) -> Result<OpenFile, String> {
        if let Some(wrong) = wrong_name(name) {
            return Err(format!("a name with {wrong}"));
        }
        let path = fs::canonicalize(self.real.join(name)).map_err(|error| error.to_string())?;
        let of_hub = self.blobs.as_ref().is_some_and(|blobs| path.parent() == Some(blobs));
        let inside = of_hub || path.starts_with(&self.real);
        if !inside {
            return Err("a symbolic link that leaves the folder".to_owned());
        }
        // Asked before opening, as opening some devices does something; and again of what was opened, which may be another by now.
        regular(&fs::metadata(&path).map_err(|error| error.to_string())?)?;
        let file = without_waiting().open(&path).map_err(|error| error.to_string())?;
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        regular(&metadata)?;
        if metadata.len() > bytes_max {
            return Err(format!("{} bytes", metadata.len()));
        }
        Ok(OpenFile { file, bytes: metadata.len() })
    }

    /// Reads a whole file of at most so many bytes.
    pub(super) fn read(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
        let OpenFile { file, bytes } = self.file(name, bytes_max)?;
        let mut content = Vec::new();
        let length = usize::try_from(bytes).map_err(|_| format!("{bytes} bytes"))?;
        content.try_reserve_exact(length).map_err(|_| format!("{bytes} bytes, more than there is memory for"))?;
        // What grows while it is read is not read on.
        file.take(bytes).read_to_end(&mut content).map_err(|error| error.to_string())?;
        if content.len() != length {
            return Err(format!("{} bytes where there were {bytes}", content.len()));
        }
        Ok(content)
    }

    /// Reads a file, or tells a fault that names it.
    pub(super) fn read_or_fault(&self, name: &str, bytes_max: u64, faults: &mut Vec<Fault>) -> Option<Vec<u8>> {
        self.read(name, bytes_max).map_err(|found| faults.push(too_large_or_missing(name, found, bytes_max))).ok()
    }
}

/// A file that could not be read, as a fault.
pub(super) fn too_large_or_missing(name: &str, found: String, bytes_max: u64) -> Fault {
    Fault::new(name, "", found, format!("a file of at most {bytes_max} bytes"))
}

/// The folder of the model and the revision, where a folder without links is a snapshot in the cache of the hub.
pub(super) fn snapshot_of(real: &Path) -> Option<(&Path, &str)> {
    let revision = real.file_name()?.to_str()?;
    let snapshots = real.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"))?;
    let model = snapshots.parent()?;
    model.file_name()?.to_str()?.starts_with("models--").then_some((model, revision))
}

/// What keeps a name from being that of a file in the folder.
pub(super) fn wrong_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("no characters"),
        "." | ".." => Some("only dots"),
        _ if name.len() > NAME_BYTES_MAX => Some("more than 255 bytes"),
        _ if name.contains(['/', '\\']) => Some("a path in it"),
        _ if name.contains(char::is_control) => Some("a control character"),
        _ => None,
    }
}

fn regular(metadata: &fs::Metadata) -> Result<(), String> {
    if metadata.is_file() {
        Ok(())
    } else if metadata.is_dir() {
        Err("Is a directory".to_owned())
    } else {
        Err("a pipe, a socket or a device".to_owned())
    }
}

/// A pipe without a writer is opened at once and then refused; opened as usual it would wait for one.
fn without_waiting() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK);
    }
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
        Folder::open(folder).unwrap().read(name, 10)
    }

    #[test]
    fn a_file_is_read_and_anything_else_is_told() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("model");
        fs::create_dir_all(folder.join("inner")).unwrap();
        fs::write(place.path().join("outside"), "secret").unwrap();
        fs::write(folder.join("good"), "0123456789").unwrap();
        fs::write(folder.join("long"), "0123456789a").unwrap();
        fs::write(folder.join("inner/deep"), "deep").unwrap();
        for (link, target) in [
            ("leaves", "../outside"),
            ("stays", "good"),
            ("into", "inner/deep"),
            ("nowhere", "none"),
            ("round", "round"),
            ("null", "/dev/null"),
        ] {
            symlink(target, folder.join(link)).unwrap();
        }
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        for (name, expected) in [
            ("good", Ok("0123456789")),
            ("stays", Ok("0123456789")),
            ("into", Ok("deep")),
            ("long", Err("11 bytes")),
            ("leaves", Err("a symbolic link that leaves the folder")),
            ("null", Err("a symbolic link that leaves the folder")),
            ("nowhere", Err("No such file")),
            ("round", Err("symbolic links")),
            ("inner", Err("Is a directory")),
            ("socket", Err("a pipe, a socket or a device")),
            ("../outside", Err("a name with a path in it")),
            ("inner/deep", Err("a name with a path in it")),
            ("/etc/hostname", Err("a name with a path in it")),
            ("..", Err("a name with only dots")),
            ("", Err("a name with no characters")),
            ("a\0b", Err("a name with a control character")),
        ] {
            match (found(&folder, name), expected) {
                (Ok(content), Ok(text)) => assert_eq!(content, text.as_bytes(), "{name}"),
                (Err(found), Err(part)) => assert!(found.contains(part), "{name}: {found}"),
                (found, expected) => panic!("{name}: found {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn links_of_a_hub_snapshot_may_lead_to_its_blobs_and_no_further() {
        let place = tempfile::tempdir().unwrap();
        let model = place.path().join("models--org--name");
        let snapshot = model.join("snapshots/abc");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(model.join("blobs")).unwrap();
        fs::create_dir_all(place.path().join("models--org--other/blobs")).unwrap();
        fs::write(model.join("blobs/123"), "blob").unwrap();
        fs::write(place.path().join("models--org--other/blobs/9"), "other").unwrap();
        symlink("../../blobs/123", snapshot.join("config.json")).unwrap();
        symlink("../../../models--org--other/blobs/9", snapshot.join("other")).unwrap();
        assert_eq!(found(&snapshot, "config.json").unwrap(), b"blob");
        assert_eq!(found(&snapshot, "other").unwrap_err(), "a symbolic link that leaves the folder");
        assert_eq!(snapshot_of(&snapshot).map(|(_, revision)| revision), Some("abc"));
        assert_eq!(snapshot_of(place.path()), None);
    }
}
