//! What is wrong with a model package, in a form that a person can act on.
//!
//! A [`PackageError`] holds every fault that one reading found. Each names the file, the key or tensor, what stands there and what should.
//! Values of keys are shown, since an operator wrote them; customer text never gets here.

use std::fmt;

/// One thing wrong with a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// File inside the package, such as `config.json`.
    pub file: String,
    /// Key, tensor name or place in the file; empty when the whole file is meant.
    pub key: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
}

impl Fault {
    /// A fault from its four parts.
    pub fn new(file: &str, key: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { file: file.to_owned(), key: key.into(), found: found.into(), expected: expected.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}: ", Plain(&self.file))?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", Plain(&self.key))?;
        }
        write!(f, "found {}, expected {}", Plain(&self.found), Plain(&self.expected))
    }
}

/// A text whose control characters are shown as escapes: names in a stranger's file do not write to a terminal.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
    }
}

/// Faults that a message shows: a file of another model has hundreds, all of one kind.
const FAULTS_SHOWN: usize = 32;

/// A package that cannot be served, with all faults that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageError {
    /// The folder.
    pub package: String,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model package {} cannot be served", self.package)?;
        for fault in self.faults.iter().take(FAULTS_SHOWN) {
            write!(f, "\n  {fault}")?;
        }
        match self.faults.len().saturating_sub(FAULTS_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for PackageError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        let fault = Fault::new("a\u{1b}[2J", "b\n", "c\u{7f}", "d");
        assert_eq!(fault.to_string(), r"a\u{1b}[2J: b\n: found c\u{7f}, expected d");
    }
}
