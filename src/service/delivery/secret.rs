//! What must not be seen.

use std::fmt;

/// A token or a shared secret: it is handed over by [`Secret::reveal`] and shown by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Most bytes of a secret.
const BYTES_MAX: usize = 4096;

impl Secret {
    /// Takes what a file or a variable holds, without the blanks around it; says what is wrong with it without saying it.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.len() {
            0 => Err("found nothing, expected a secret".to_owned()),
            1..=BYTES_MAX if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(text.to_owned())),
            1..=BYTES_MAX => Err("found other characters than printable ASCII without blanks".to_owned()),
            more => Err(format!("found {more} bytes, expected at most {BYTES_MAX}")),
        }
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nothing() {
        let secret = Secret::new(" hunter2\n").unwrap();
        assert_eq!((secret.reveal(), format!("{secret:?}").as_str()), ("hunter2", "Secret(…)"));
        for wrong in ["", "\n", "hunter2 hunter2", "hünter2", &"hunter2".repeat(1000)] {
            assert!(!Secret::new(wrong).unwrap_err().contains("nter2"));
        }
    }
}
