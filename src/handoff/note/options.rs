//! What an operator switches on beside the note. Nothing is by default: a note alone is sent, and nothing that is there is replaced.
//!
//! The keys have one spelling: `notes.tags` in the settings of `baton serve`, `--tags` of `baton package`, `tags` in a fault.

use super::{NoteFault, number};
use crate::handoff::package::Package;

/// Tags, fields, and tags of Intercom that are set at most.
const MOST: usize = 16;
/// Characters of a tag: Freshdesk takes no more.
const TAG_CHARS_MAX: usize = 32;
/// Characters of a field's name.
const NAME_CHARS_MAX: usize = 64;
/// Characters of a longest length: above any helpdesk's limit.
const LENGTH_MAX: usize = 1_000_000;

/// What of a package a field is set to: words of the policy, never of the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// The trigger, by id.
    Trigger,
    /// The trigger's category.
    Category,
    /// `immediate` or `soft`.
    Urgency,
    /// The queue, by id.
    Queue,
}

impl FieldValue {
    const ALL: [Self; 4] = [Self::Trigger, Self::Category, Self::Urgency, Self::Queue];

    fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Category => "category",
            Self::Urgency => "urgency",
            Self::Queue => "queue",
        }
    }

    fn of(self, package: &Package) -> Option<&str> {
        let reason = package.reason.value()?;
        Some(match self {
            Self::Trigger => &reason.trigger,
            Self::Category => &reason.category,
            Self::Urgency => reason.urgency,
            Self::Queue => &reason.queue,
        })
    }
}

/// A field of the helpdesk, and what it is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What.
    pub value: FieldValue,
    /// How the helpdesk calls the field: a number for Zendesk, a name for the others.
    pub name: String,
}

/// What is switched on; made by [`set`](Self::set).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub(super) tags: Vec<String>,
    pub(super) merge: bool,
    pub(super) priority: bool,
    pub(super) fields: Vec<Field>,
    pub(super) length_max: Option<usize>,
    pub(super) account_id: Option<std::num::NonZeroU64>,
    pub(super) intercom_admin_id: Option<std::num::NonZeroU64>,
    pub(super) intercom_tag_ids: Vec<std::num::NonZeroU64>,
}

/// Every key with its default and meaning.
pub const KEYS: [(&str, &str, &str); 8] = [
    ("tags", "", "tags that are added to the ticket, apart by commas; Zendesk and Zammad add, Freshdesk and Chatwoot need notes.merge"),
    ("merge", "off", "on: what Freshdesk and Chatwoot replace as a whole is read, merged and written; a change made in between is lost"),
    ("priority", "off", "on: a handoff that cannot wait raises the ticket's priority; none is lowered, and Intercom has none"),
    ("fields", "", "fields that are set to words of the policy, such as trigger=360001,queue=360002; trigger, category, urgency, queue"),
    ("length_max", "0", "longest note, where it must be shorter than the helpdesk allows; 0: as the helpdesk allows"),
    ("account_id", "", "account of Chatwoot, where a request names none"),
    ("intercom_admin_id", "", "admin of Intercom who writes the notes; Intercom takes none without"),
    ("intercom_tag_ids", "", "tags of Intercom that are attached, by their ids, apart by commas"),
];

impl Options {
    /// Sets one key of [`KEYS`] from what was typed; empty is the default.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), NoteFault> {
        let Some((key, _, _)) = KEYS.iter().find(|(known, _, _)| *known == key) else {
            return Err(NoteFault::found("notes", key, "one of the keys of notes"));
        };
        let parts = || value.split(',').map(str::trim).filter(|part| !part.is_empty());
        if parts().count() > MOST {
            return Err(NoteFault { field: key, what: format!("found {} entries, expected at most {MOST}", parts().count()) });
        }
        let id = |part: &str| number(key, part);
        match *key {
            "tags" => self.tags = parts().map(|part| tag(key, part)).collect::<Result<_, _>>()?,
            "merge" => self.merge = switch(key, value)?,
            "priority" => self.priority = switch(key, value)?,
            "fields" => self.fields = parts().map(|part| field(key, part)).collect::<Result<_, _>>()?,
            "length_max" => self.length_max = length(key, value)?,
            "account_id" => self.account_id = parts().next().map(|_| id(value)).transpose()?,
            "intercom_admin_id" => self.intercom_admin_id = parts().next().map(|_| id(value)).transpose()?,
            _ => self.intercom_tag_ids = parts().map(id).collect::<Result<_, _>>()?,
        }
        Ok(())
    }

    /// The fields that have a value, by name; `sound` says which names the helpdesk takes.
    pub(super) fn fields_of<'a>(
        &'a self,
        package: &'a Package,
        expected: &str,
        sound: impl Fn(&str) -> bool,
    ) -> Result<Vec<(&'a str, &'a str)>, NoteFault> {
        if let Some(wrong) = self.fields.iter().find(|field| !sound(&field.name)) {
            return Err(NoteFault::found("fields", &wrong.name, expected));
        }
        Ok(self.fields.iter().filter_map(|field| Some((field.name.as_str(), field.value.of(package)?))).collect())
    }
}

fn switch(key: &'static str, value: &str) -> Result<bool, NoteFault> {
    match value {
        "on" => Ok(true),
        "off" | "" => Ok(false),
        other => Err(NoteFault::found(key, other, "on or off")),
    }
}

fn length(key: &'static str, value: &str) -> Result<Option<usize>, NoteFault> {
    let least = super::content::LENGTH_MIN;
    match value.parse() {
        _ if value.is_empty() => Ok(None),
        Ok(0) => Ok(None),
        Ok(length) if (least..=LENGTH_MAX).contains(&length) => Ok(Some(length)),
        _ => Err(NoteFault::found(key, value, &format!("0 or a whole number in {least}..={LENGTH_MAX}"))),
    }
}

fn tag(key: &'static str, text: &str) -> Result<String, NoteFault> {
    let sound =
        text.len() <= TAG_CHARS_MAX && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let found =
        || NoteFault::found(key, text, "1 to 32 of a to z, 0 to 9, _ and -, beginning with a letter or digit: what all helpdesks take");
    Some(text.to_owned()).filter(|_| sound && begins).ok_or_else(found)
}

fn field(key: &'static str, text: &str) -> Result<Field, NoteFault> {
    let found = || NoteFault::found(key, text, "one of trigger, category, urgency, queue, then = and the helpdesk's name of the field");
    let (value, name) = text.split_once('=').ok_or_else(found)?;
    let value = FieldValue::ALL.into_iter().find(|known| known.as_str() == value.trim()).ok_or_else(found)?;
    let name = name.trim();
    let sound = (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    Some(Field { value, name: name.to_owned() }).filter(|_| sound).ok_or_else(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(key: &str, value: &str) -> String {
        Options::default().set(key, value).unwrap_err().to_string()
    }

    #[test]
    fn nothing_is_on_by_default_and_every_default_can_be_typed() {
        let mut typed = Options::default();
        KEYS.iter().for_each(|(key, default, _)| typed.set(key, default).unwrap());
        assert_eq!(typed, Options::default());
    }

    #[test]
    fn a_fault_names_key_value_and_what_was_expected() {
        assert_eq!(fault("merge", "yes"), "merge: found \"yes\", expected on or off");
        assert_eq!(fault("length_max", "99"), "length_max: found \"99\", expected 0 or a whole number in 100..=1000000");
        assert!(fault("tags", "ok, Not Ok").starts_with("tags: found \"Not Ok\", expected 1 to 32 of a to z"));
        assert!(fault("tags", &"x".repeat(33)).starts_with("tags: found"));
        assert!(fault("tags", "{{x}}").starts_with("tags: found"));
        assert!(fault("fields", "summary=1").starts_with("fields: found \"summary=1\", expected one of trigger"));
        assert!(fault("fields", "queue=a/b").starts_with("fields: found"));
        assert!(fault("intercom_admin_id", "me").starts_with("intercom_admin_id: found \"me\", expected the number"));
        assert!(fault("intercom_tag_ids", "1,x").starts_with("intercom_tag_ids: found \"x\""));
        assert_eq!(fault("tags", &["x"; 17].join(",")), "tags: found 17 entries, expected at most 16");
        assert_eq!(fault("colour", "red"), "notes: found \"colour\", expected one of the keys of notes");
    }

    #[test]
    fn what_is_typed_is_set() {
        let mut options = Options::default();
        for (key, value) in [("tags", "bot, vip-1"), ("merge", "on"), ("fields", "trigger=cf_t,queue=7"), ("intercom_tag_ids", "7,8")] {
            options.set(key, value).unwrap();
        }
        assert_eq!((options.tags, options.merge), (vec!["bot".to_owned(), "vip-1".to_owned()], true));
        assert_eq!(options.fields[1], Field { value: FieldValue::Queue, name: "7".to_owned() });
        assert_eq!(options.intercom_tag_ids.len(), 2);
    }
}
