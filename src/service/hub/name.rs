//! What models, revisions, commits and blobs may be called. All of them become parts of addresses and of paths, so each is checked when it is made.

use std::fmt;

/// `org/name`, or a name alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelName(String);

impl ModelName {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_part = |part: &&str| {
            let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            (1..=96).contains(&part.len())
                && part.chars().all(inner)
                && !part.starts_with(['.', '-'])
                && !part.ends_with(['.', '-'])
                && !part.contains("..")
                && !part.contains("--")
        };
        if matches!(parts.len(), 1 | 2) && parts.iter().all(is_part) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("found {text:?}, expected a model such as org/name: letters, digits, and - _ . inside"))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Its folder in the cache.
    pub fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }
}

/// A branch, a tag or a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_part = |part: &str| {
            let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
            !part.is_empty() && part.chars().all(inner) && !part.starts_with(['.', '-']) && !part.ends_with('.') && !part.contains("..")
        };
        if text.len() <= 250 && text.split('/').all(is_part) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("found {text:?}, expected a branch, a tag or a commit such as main: letters, digits, and - _ . + / inside"))
    }

    /// The branch that a repository begins with.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a whole commit, which can mean one thing only.
    pub fn is_commit(&self) -> bool {
        Commit::parse(&self.0).is_ok()
    }
}

/// A commit: 40 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit(String);

impl Commit {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, String> {
        if is_hex(text, 40) { Ok(Self(text.to_owned())) } else { Err(format!("found {text:?}, expected 40 hexadecimal digits")) }
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// By what a blob is known: the digest that the hub states of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobName {
    /// Large files: SHA-256 of the content.
    Sha256(String),
    /// Small files: what git calls the blob, SHA-1 of a header and the content.
    Git(String),
}

impl BlobName {
    /// Reads the value of an `ETag`, in quotes and perhaps weak.
    pub fn parse_etag(text: &str) -> Result<Self, String> {
        let bare = text.trim().trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        match bare.len() {
            64 if is_hex(&bare, 64) => Ok(Self::Sha256(bare)),
            40 if is_hex(&bare, 40) => Ok(Self::Git(bare)),
            _ => Err(format!("found the etag {text:?}, expected SHA-256 or a blob of git")),
        }
    }

    /// Its digits: the name of its file.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::Git(digits) => digits,
        }
    }

    /// Which digest it is.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Git(_) => "the blob of git",
        }
    }
}

/// Whether a text is so many lower-case hexadecimal digits.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! shown {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

shown!(ModelName, Revision, Commit);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_paths_or_addresses_of_something_else_are_refused() {
        for sound in ["gpt2", "org/name", "cardiffnlp/twitter-roberta-base-sentiment-latest", "a/b.c_d-e", "0/1"] {
            assert!(ModelName::parse(sound).is_ok(), "{sound}");
        }
        for wrong in
            ["", "/", "a/", "/a", "a/b/c", "../a", "a/..", "..", "a b", "a\\b", "a--b", "-a", "a/.b", "a?b", "a%2fb", "a\0", "ä/b", "a:b"]
        {
            assert!(ModelName::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(ModelName::parse(&"a".repeat(97)).is_err());
        assert_eq!(ModelName::parse("org/name").unwrap().folder(), "models--org--name");
        for sound in ["main", "v1.0", "refs/pr/1", "0123456789abcdef0123456789abcdef01234567", "feature/x+y"] {
            assert!(Revision::parse(sound).is_ok(), "{sound}");
        }
        for wrong in ["", "/", "a/", "/a", "a//b", "../x", "a/../b", "a\\b", "-x", "a b", "a?b", "a#b", "a%2e", "a\n", ".git", "x."] {
            assert!(Revision::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Revision::parse(&"a".repeat(251)).is_err());
    }

    #[test]
    fn an_etag_is_a_digest_or_nothing() {
        let sha256 = "a".repeat(64);
        let git = "b".repeat(40);
        assert_eq!(BlobName::parse_etag(&format!("\"{sha256}\"")), Ok(BlobName::Sha256(sha256.clone())));
        assert_eq!(BlobName::parse_etag(&format!("W/\"{}\"", sha256.to_uppercase())), Ok(BlobName::Sha256(sha256)));
        assert_eq!(BlobName::parse_etag(&git), Ok(BlobName::Git(git)));
        for wrong in ["", "\"\"", "abc", "../../x", &"g".repeat(64), &"a".repeat(32), &format!("{}-1", "a".repeat(32))] {
            assert!(BlobName::parse_etag(wrong).is_err(), "{wrong}");
        }
    }
}
