//! The languages that a policy's messages are written in: its own, whose messages stand in the policy, and others, each a file of its own.

use super::{MessageTemplate, Policy};
use crate::handoff::summary::issue::Issue;

/// Language files that are compiled in, by the path that a policy names them with.
pub const BUILT_IN: [(&str, &str); 2] = [
    ("messages/en.toml", include_str!("../../../policy/messages/en.toml")),
    ("messages/de.toml", include_str!("../../../policy/messages/de.toml")),
];

/// The language of a policy's own messages where it names none.
pub const OWN: &str = "en";

/// A language with all messages of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Language {
    /// Its words.
    pub words: LanguageWords,
    /// At the places of the policy's own.
    pub messages: Vec<MessageTemplate>,
}

/// What stands in a language for what is not known, for spans of time, and for the moment when a person takes over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LanguageWords {
    /// Its tag, such as `de` or `pt-BR`.
    pub tag: String,
    /// An issue that is not known: "your request".
    pub request: String,
    /// An account that is not known: "your account".
    pub account: String,
    /// A person whose name is not known: "a colleague".
    pub agent: String,
    /// A queue without a name.
    pub queue_name: String,
    /// Where nothing was tried.
    pub tried: String,
    /// A known name at the end of a clause, with `{name}` in its place.
    pub name_suffix: String,
    /// One minute.
    pub minute: String,
    /// Several, with `{n}` in the number's place.
    pub minutes: String,
    /// One hour.
    pub hour: String,
    /// Several, with `{n}`.
    pub hours: String,
    /// One day.
    pub day: String,
    /// Several, with `{n}`.
    pub days: String,
    /// Asks for an e-mail address, where the answer comes later and none is known; empty: nobody is asked.
    pub ask_email: String,
    /// What the customer reads when a person takes over.
    pub connected: Connected,
    /// What the agent may say first.
    pub opening: String,
    /// How issues are named.
    pub issues: IssueNames,
}

/// How issues are named inside a sentence to the customer: "your refund of $12.99".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssueNames {
    /// Stands for `{amount}` in a name where the customer named one, with `{amount}` in its place.
    pub amount: String,
    /// Stands for `{reference}`, likewise.
    pub reference: String,
    /// Labels of the intent head with their names.
    pub names: Vec<(String, String)>,
}

impl IssueNames {
    /// An issue in words; `None` where the language has no name for it.
    pub fn say(&self, issue: &Issue) -> Option<String> {
        let (_, name) = self.names.iter().find(|(label, _)| *label == issue.label)?;
        let filled = |mark: &str, pattern: &str, value: &Option<String>| {
            value.as_ref().map_or_else(String::new, |value| pattern.replace(mark, &value.replace(['{', '}'], "")))
        };
        let amount = filled("{amount}", &self.amount, &issue.amount);
        let reference = filled("{reference}", &self.reference, &issue.reference);
        Some(name.replace("{amount}", &amount).replace("{reference}", &reference))
    }
}

/// What the customer reads when a person takes over, as templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connected {
    /// Names the person.
    pub acknowledge: String,
    /// Says that the person knows everything.
    pub reassure: String,
    /// Says what comes.
    pub expect: String,
}

impl Policy {
    /// The words and the messages for a language tag, such as `de` or `de-AT`: of this very language, else of the same without a region, else the policy's own.
    pub fn in_language(&self, tag: &str) -> (&LanguageWords, &[MessageTemplate]) {
        let all = || {
            std::iter::once((&self.words, self.messages.as_slice()))
                .chain(self.languages.iter().map(|other| (&other.words, other.messages.as_slice())))
        };
        let exact = all().find(|(words, _)| words.tag.eq_ignore_ascii_case(tag));
        let primary = tag.split(['-', '_']).next().unwrap_or(tag);
        exact.or_else(|| all().find(|(words, _)| words.tag.eq_ignore_ascii_case(primary))).unwrap_or((&self.words, &self.messages))
    }
}

/// The English words, for tests.
#[cfg(test)]
pub(in crate::handoff) fn english() -> LanguageWords {
    super::read::built_in_words(OWN).expect("the English words are compiled in")
}
