//! Who says something, and the names by which messages and conversations are known.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// Who chats with the bot.
    Customer,
    /// What answers.
    Bot,
    /// The person who took over.
    Agent,
}

impl Speaker {
    /// The word that stands in files and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Bot => "bot",
            Self::Agent => "agent",
        }
    }
}

/// Most bytes of an id.
pub const ID_BYTES_MAX: usize = 128;

/// An id that somebody else gave: of a message, an event, a contact. 1 to 128 bytes of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

/// What is wrong with an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdFault {
    bytes: usize,
}

impl fmt::Display for IdFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {} bytes, expected 1 to {ID_BYTES_MAX} of printable ASCII without blanks", self.bytes)
    }
}

impl std::error::Error for IdFault {}

impl Id {
    /// Checks length and characters.
    pub fn new(text: impl Into<String>) -> Result<Self, IdFault> {
        let text = text.into();
        let sound = (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if sound { Ok(Self(text)) } else { Err(IdFault { bytes: text.len() }) }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Id {
    type Error = IdFault;

    fn try_from(text: String) -> Result<Self, IdFault> {
        Self::new(text)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_printable() {
        assert!(Id::new("m-17").is_ok() && Id::new("x".repeat(128)).is_ok());
        for wrong in ["", "a b", "ä", "a\n", &"x".repeat(129)] {
            assert!(Id::new(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Id::new("a b").unwrap_err().to_string(), "found 3 bytes, expected 1 to 128 of printable ASCII without blanks");
    }
}
