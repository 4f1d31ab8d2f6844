//! The package as a private note in a helpdesk: in goes a package, a place and what the operator switched on; out comes an ordered list of requests.
//!
//! The note is the first request. Tags, priority and fields follow where they are switched on, each in a request of its own, so that a refused one does not
//! cost the note. What is written is HTML or Markdown with the head first, within the length that the helpdesk takes ([`content::fit`]).
//!
//! A public note cannot be said: a [`Call`] has no public fields and no constructor outside this module, and the five modules below write the flag that
//! keeps a note from the customer as a constant. A list that a helpdesk replaces as a whole is never written blindly: it is a [`Merge`], which gives a
//! call only for an answer that was read. Requests hold no host, no credentials and no header; who sends them adds these.
//!
//! Faults name the field and the value, never a customer's text. The vendors' descriptions and our strict schemas are in `tests/data/helpdesk`; the tests
//! hold each request against both.

pub mod chatwoot;
pub mod content;
pub mod freshdesk;
pub mod html;
pub mod intercom;
pub mod markdown;
pub mod options;
pub mod zammad;
pub mod zendesk;

use std::fmt;
use std::num::NonZeroU64;

use serde_json::{Map, Value, json};

pub use options::Options;

use super::package::Package;

/// A helpdesk that notes are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Helpdesk {
    /// Zendesk Support, API v2.
    Zendesk,
    /// Freshdesk, API v2.
    Freshdesk,
    /// Intercom, API 2.16.
    Intercom,
    /// Chatwoot, application API v1.
    Chatwoot,
    /// Zammad, API v1.
    Zammad,
}

impl Helpdesk {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Zendesk, Self::Freshdesk, Self::Intercom, Self::Chatwoot, Self::Zammad];

    /// The word that stands in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zendesk => "zendesk",
            Self::Freshdesk => "freshdesk",
            Self::Intercom => "intercom",
            Self::Chatwoot => "chatwoot",
            Self::Zammad => "zammad",
        }
    }

    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|helpdesk| helpdesk.as_str() == word)
    }

    /// The longest note that it takes.
    pub fn limit(self) -> content::Limit {
        match self {
            Self::Zendesk => zendesk::LIMIT,
            Self::Freshdesk => freshdesk::LIMIT,
            Self::Intercom => intercom::LIMIT,
            Self::Chatwoot => chatwoot::LIMIT,
            Self::Zammad => zammad::LIMIT,
        }
    }
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Method {
    /// Reads.
    Get,
    /// Adds.
    Post,
    /// Changes.
    Put,
}

impl Method {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The private note.
    Note,
    /// Adds tags.
    Tags,
    /// Raises the priority.
    Priority,
    /// Sets fields that the operator made for it.
    Fields,
}

impl Purpose {
    /// The word that stands in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Tags => "tags",
            Self::Priority => "priority",
            Self::Fields => "fields",
        }
    }
}

/// One call to a helpdesk, ready but for host and credentials. Only the modules below make one:
///
/// ```compile_fail,E0451
/// use baton::handoff::note::{Call, Method, Purpose};
/// Call { purpose: Purpose::Note, method: Method::Post, path: "/".to_owned(), body: None };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    purpose: Purpose,
    method: Method,
    path: String,
    body: Option<Value>,
}

impl Call {
    fn new(purpose: Purpose, method: Method, path: String, body: Value) -> Self {
        Self { purpose, method, path, body: Some(body) }
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// How it is sent.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The path, beginning with `/`; letters, digits, `/`, `_` and `.` only.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The JSON that is sent; none with GET.
    pub fn body(&self) -> Option<&Value> {
        self.body.as_ref()
    }
}

/// What the helpdesk replaces as a whole and must therefore be read first: send [`read`](Self::read), hand the answer to [`write`](Self::write), and send
/// what that gives. What somebody changes between the two is lost, which is why it is only made where the operator switched it on.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    read: Call,
    found_at: &'static str,
    method: Method,
    path: String,
    key: &'static str,
    add: Value,
}

impl Merge {
    fn new(purpose: Purpose, read: String, found_at: &'static str, write: (Method, String), key: &'static str, add: Value) -> Self {
        let read = Call { purpose, method: Method::Get, path: read, body: None };
        Self { read, found_at, method: write.0, path: write.1, key, add }
    }

    /// The call that reads what is there.
    pub fn read(&self) -> &Call {
        &self.read
    }

    /// JSON pointer (RFC 6901) to what is there, in the answer.
    pub fn found_at(&self) -> &'static str {
        self.found_at
    }

    /// How the merged whole is sent.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Where the merged whole is sent.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The key under which the merged whole is sent.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// What is added: a list of texts, or an object whose keys are set.
    pub fn add(&self) -> &Value {
        &self.add
    }

    /// The call that writes what was read and what is added; `None` where all of it is there already. An answer without what is there is a fault:
    /// writing then would take it away.
    pub fn write(&self, answer: &Value) -> Result<Option<Call>, NoteFault> {
        let wrong = |expected| {
            let what = format!("the answer of GET {} has no {expected} at {}", self.read.path, self.found_at);
            NoteFault { field: self.key, what }
        };
        let Some(merged) = merged(answer.pointer(self.found_at), &self.add).map_err(wrong)? else { return Ok(None) };
        let body = Value::Object(Map::from_iter([(self.key.to_owned(), merged)]));
        Ok(Some(Call::new(self.read.purpose, self.method, self.path.clone(), body)))
    }
}

/// What is there with what is added, a list of texts or an object; `None` where all of it is there already. What is not there is a fault, told by what was
/// expected: writing then would take it away.
pub fn merged(there: Option<&Value>, add: &Value) -> Result<Option<Value>, &'static str> {
    let merged = match (there, add) {
        (Some(Value::Array(there)), Value::Array(add)) if there.iter().all(Value::is_string) => {
            let new = add.iter().filter(|one| !there.contains(one));
            Value::Array(there.iter().chain(new).cloned().collect())
        }
        (Some(Value::Object(there)), Value::Object(add)) => {
            Value::Object(there.iter().chain(add).map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        (_, Value::Array(_)) => return Err("list of texts"),
        _ => return Err("object"),
    };
    Ok(Some(merged).filter(|merged| there != Some(merged)))
}

/// One step of a rendering.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Is sent as it is.
    Call(Call),
    /// Reads, merges and writes.
    Merge(Merge),
}

impl Request {
    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Call(call) => call.purpose,
            Self::Merge(merge) => merge.read.purpose,
        }
    }

    /// For programs and examples.
    pub fn json(&self) -> Value {
        let purpose = self.purpose().as_str();
        match self {
            Self::Call(call) => json!({"purpose": purpose, "method": call.method.as_str(), "path": call.path, "body": call.body}),
            Self::Merge(merge) => json!({
                "purpose": purpose, "method": merge.method.as_str(), "path": merge.path,
                "merge": {"read_path": merge.read.path, "found_at": merge.found_at, "key": merge.key, "add": merge.add},
            }),
        }
    }
}

/// Where in a helpdesk a note goes: numbers only, so that nothing can change the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    ticket: NonZeroU64,
    account: Option<NonZeroU64>,
}

impl Place {
    /// From the ticket's (or conversation's) number in the helpdesk, and the account's where the path needs one.
    pub fn new(ticket: &str, account: Option<&str>) -> Result<Self, NoteFault> {
        let account = account.map(|account| number("account_id", account)).transpose()?;
        Ok(Self { ticket: number("ticket_id", ticket)?, account })
    }
}

/// Digits, not all zero, within 19 of them: every helpdesk here numbers its tickets.
fn number(field: &'static str, value: &str) -> Result<NonZeroU64, NoteFault> {
    let digits = !value.is_empty() && value.len() <= 19 && value.bytes().all(|byte| byte.is_ascii_digit());
    let found = || NoteFault::found(field, value, "the number that it has in the helpdesk, 1 to 19 digits");
    value.parse().ok().filter(|_| digits).ok_or_else(found)
}

/// Why there is no note: the field of the place or the key of the options, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteFault {
    /// Such as `ticket_id` or `intercom_admin_id`.
    pub field: &'static str,
    /// What was found and what was expected.
    pub what: String,
}

impl NoteFault {
    fn found(field: &'static str, value: &str, expected: &str) -> Self {
        /// Characters of a value that are shown.
        const SHOWN: usize = 64;
        let shown: String = value.chars().take(SHOWN).collect();
        Self { field, what: format!("found {shown:?}, expected {expected}") }
    }

    /// Whether the place is wrong, not the options.
    pub fn is_of_the_place(&self) -> bool {
        matches!(self.field, "ticket_id" | "account_id")
    }
}

impl fmt::Display for NoteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.what)
    }
}

impl std::error::Error for NoteFault {}

/// The requests that put a package into a helpdesk, the private note first.
pub fn render(helpdesk: Helpdesk, package: &Package, place: Place, options: &Options) -> Result<Vec<Request>, NoteFault> {
    match helpdesk {
        Helpdesk::Zendesk => zendesk::render(package, place, options),
        Helpdesk::Freshdesk => freshdesk::render(package, place, options),
        Helpdesk::Intercom => intercom::render(package, place, options),
        Helpdesk::Chatwoot => chatwoot::render(package, place, options),
        Helpdesk::Zammad => zammad::render(package, place, options),
    }
}

/// Whether the ticket is to be raised: only for what cannot wait, so that no priority is ever lowered.
fn raises(package: &Package, options: &Options) -> bool {
    let immediate = super::policy::Urgency::Immediate.as_str();
    options.priority && package.reason.value().is_some_and(|reason| reason.urgency == immediate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge() -> Merge {
        let write = (Method::Put, "/api/v2/tickets/7".to_owned());
        Merge::new(Purpose::Tags, "/api/v2/tickets/7".to_owned(), "/tags", write, "tags", json!(["bot", "vip"]))
    }

    #[test]
    fn what_is_there_stays_and_nothing_is_written_without_having_read_it() {
        let write = |answer: Value| merge().write(&answer);
        assert_eq!(write(json!({"tags": ["late", "vip"]})).unwrap().unwrap().body(), Some(&json!({"tags": ["late", "vip", "bot"]})));
        assert_eq!(write(json!({"tags": []})).unwrap().unwrap().body(), Some(&json!({"tags": ["bot", "vip"]})));
        assert_eq!(write(json!({"tags": ["vip", "bot", "x"]})).unwrap(), None);
        for answer in [json!({}), json!({"tags": null}), json!({"tags": "late"}), json!({"tags": [1]}), json!([]), json!({"tags": {}})] {
            let fault = write(answer).unwrap_err().to_string();
            assert_eq!(fault, "tags: the answer of GET /api/v2/tickets/7 has no list of texts at /tags");
        }
    }

    #[test]
    fn a_place_cannot_change_the_path() {
        for ticket in ["", "0", "000", "-1", "1/../2", "last", "1?x", "１", " 1", "1 ", "+1", "99999999999999999999", "c-1"] {
            let fault = Place::new(ticket, None).unwrap_err();
            assert!(fault.is_of_the_place() && fault.to_string().starts_with(&format!("ticket_id: found {ticket:?}")), "{fault}");
            assert_eq!(Place::new("1", Some(ticket)).unwrap_err().field, "account_id");
        }
        assert!(Place::new("64619700005694", Some("1")).is_ok());
    }

    #[test]
    fn helpdesks_have_words() {
        assert!(Helpdesk::ALL.into_iter().all(|helpdesk| Helpdesk::parse(helpdesk.as_str()) == Some(helpdesk)));
        assert_eq!(Helpdesk::parse("Zendesk"), None);
    }
}
