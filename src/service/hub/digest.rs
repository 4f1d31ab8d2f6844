//! What a file is known by: its size, SHA-256, and the digest that its blob is named by. Read as it lies on the disk, so that what is verified is what will be used.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::HubError;
use super::name::BlobName;
use crate::model::load::hex;

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 1 << 16;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) size: u64,
    pub(super) sha256: String,
    /// Of the same kind as the name that was asked for.
    pub(super) blob: BlobName,
}

/// Reads a file to its end.
pub(super) fn of(path: &Path, like: &BlobName) -> Result<Digests, HubError> {
    let failed = |error| HubError::io(format!("file {}: it cannot be read", path.display()), error);
    let mut file = File::open(path).map_err(failed)?;
    let mut sha256 = Sha256::new();
    let mut git = match like {
        BlobName::Git(_) => {
            // The header needs the size before the content; a file that grows meanwhile gets another digest, as it should.
            let size = file.metadata().map_err(failed)?.len();
            Some(Sha1::new_with_prefix(format!("blob {size}\0")))
        }
        BlobName::Sha256(_) => None,
    };
    let (mut size, mut chunk) = (0u64, vec![0; CHUNK_BYTES]);
    loop {
        let read = file.read(&mut chunk).map_err(failed)?;
        if read == 0 {
            break;
        }
        size += read as u64;
        sha256.update(&chunk[..read]);
        if let Some(git) = &mut git {
            git.update(&chunk[..read]);
        }
    }
    let sha256 = hex(&sha256.finalize());
    let blob = git.map_or_else(|| BlobName::Sha256(sha256.clone()), |git| BlobName::Git(hex(&git.finalize())));
    Ok(Digests { size, sha256, blob })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_git_and_sha256sum() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x");
        let git = BlobName::Git(String::new());
        // `printf hello | git hash-object --stdin`, `printf hello | sha256sum`, and the same of nothing.
        let cases = [
            ("hello", "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
            ("", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ];
        for (content, blob, sha256) in cases {
            std::fs::write(&path, content).unwrap();
            let found = of(&path, &git).unwrap();
            assert_eq!(found, Digests { size: content.len() as u64, sha256: sha256.to_owned(), blob: BlobName::Git(blob.to_owned()) });
            assert_eq!(of(&path, &BlobName::Sha256(String::new())).unwrap().blob, BlobName::Sha256(sha256.to_owned()));
        }
    }
}
