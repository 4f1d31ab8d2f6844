//! Intercom API 2.16: a reply of an admin to the conversation, of the type note.
//!
//! `message_type` is always "note"; "comment" would be sent to the customer. Tags are attached one by one by the ids that the operator gives, so that none
//! is made or taken away. Conversations have no priority that the description lets one set. Source: the vendor's OpenAPI description,
//! `tests/data/helpdesk/intercom`.

use serde_json::{Map, Value, json};

use super::content::{Limit, Unit, fit};
use super::html::{self, Heading};
use super::{Call, Method, NoteFault, Options, Place, Purpose, Request};
use crate::handoff::package::Package;

/// What the Preview description gives an internal note of an escalation; the one here names no length.
pub const LIMIT: Limit = Limit { most: 10_000, unit: Unit::Characters };

/// The requests for a conversation.
pub(super) fn render(package: &Package, place: Place, options: &Options) -> Result<Vec<Request>, NoteFault> {
    let without =
        || NoteFault { field: "intercom_admin_id", what: "not set; Intercom takes no note without the admin who writes it".to_owned() };
    let admin_id = options.intercom_admin_id.ok_or_else(without)?.to_string();
    let conversation = format!("/conversations/{}", place.ticket);
    let body = fit(package, LIMIT.at_most(options.length_max), |content| html::write(content, Heading::Second));
    let mut calls = vec![note(&conversation, &admin_id, &body)];
    for tag in &options.intercom_tag_ids {
        let body = json!({"id": tag.to_string(), "admin_id": admin_id});
        calls.push(Call::new(Purpose::Tags, Method::Post, format!("{conversation}/tags"), body));
    }
    let fields = options.fields_of(package, "the name of an attribute of Intercom", |_| true)?;
    if !fields.is_empty() {
        let fields: Map<String, Value> = fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        calls.push(Call::new(Purpose::Fields, Method::Put, conversation, json!({"custom_attributes": fields})));
    }
    Ok(calls.into_iter().map(Request::Call).collect())
}

/// The only place where a reply is made.
fn note(conversation: &str, admin_id: &str, body: &str) -> Call {
    let body = json!({"message_type": "note", "type": "admin", "admin_id": admin_id, "body": body});
    Call::new(Purpose::Note, Method::Post, format!("{conversation}/reply"), body)
}
