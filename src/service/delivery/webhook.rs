//! The event that a webhook gets: CloudEvents 1.0 as structured JSON, and the signature of each attempt.
//!
//! The signature is HMAC-SHA256 (RFC 2104) over the time of the attempt in seconds, a full stop and the body, so that what was caught on the way cannot be sent
//! again later. `docs/delivery.md` says how to verify it.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::Secret;
use crate::handoff::note::{self, Helpdesk, Options, Place};
use crate::handoff::package::Package;
use crate::handoff::package::render::{Form, render};
use crate::service::store::Letter;

/// The type of the event.
pub const DECIDED: &str = "com.baton.handoff.decided.v1";
/// The header with the signature.
pub const SIGNATURE: &str = "baton-signature";
/// What the body is.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// The event of a letter. Its data are the package as JSON, Markdown and text, and as the requests of every helpdesk, or the reason why there are none.
pub fn event(letter: &Letter, package: &Package, options: &Options, ticket: &str, source: &str) -> Value {
    let notes = Helpdesk::ALL.into_iter().map(|helpdesk| {
        let requests = Place::new(ticket, None).and_then(|place| note::render(helpdesk, package, place, options));
        let told = match requests {
            Ok(requests) => json!({"requests": requests.iter().map(note::Request::json).collect::<Vec<_>>()}),
            Err(fault) if fault.is_of_the_place() => json!({"absent": format!("{}: no number is known", fault.field)}),
            Err(fault) => json!({"absent": fault.to_string()}),
        };
        (helpdesk.as_str().to_owned(), told)
    });
    let notes: Map<String, Value> = notes.collect();
    json!({
        "specversion": "1.0",
        "id": letter.key,
        "source": source,
        "type": DECIDED,
        "subject": letter.conversation.as_str(),
        "time": letter.born.to_string(),
        "datacontenttype": "application/json",
        "data": {
            "conversation_id": letter.conversation.as_str(),
            "input": letter.ordinal,
            "ticket_id": letter.ticket,
            "package": package,
            "markdown": render(package, Form::Markdown),
            "text": render(package, Form::Text),
            "notes": notes,
        },
    })
}

/// The value of the signature's header, for an attempt at a time in seconds since 1970.
pub fn signature(secret: &Secret, at_secs: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).expect("a key of any length is one");
    mac.update(at_secs.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at_secs},v1={digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `hmac.new(b"whsec_test", b"1795339800." + b'{"id":"x"}', hashlib.sha256)` of Python 3.
    #[test]
    fn the_signature_is_that_of_another_implementation() {
        let secret = Secret::new("whsec_test").unwrap();
        let expected = "t=1795339800,v1=8328b933db51312bd5f7823c78f3bef2dcfcca0669806f8d6ef9d92626245cd7";
        assert_eq!(signature(&secret, 1_795_339_800, br#"{"id":"x"}"#), expected);
    }
}
