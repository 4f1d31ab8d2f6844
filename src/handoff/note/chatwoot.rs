//! Chatwoot's application API: a message of the conversation, outgoing and private.
//!
//! `private` is always sent, as true: without it the message goes to the customer. Its text is Markdown, and Chatwoot runs Liquid over outgoing messages,
//! notes included. Labels and custom attributes are replaced as a whole, so they are read and merged, where that is switched on; a token of an agent bot may
//! write neither. Source: the vendor's OpenAPI description, `tests/data/helpdesk/chatwoot`.

use serde_json::{Map, Value, json};

use super::content::{Limit, Unit, fit};
use super::markdown;
use super::{Call, Merge, Method, NoteFault, Options, Place, Purpose, Request, raises};
use crate::handoff::package::Package;

/// The check of Chatwoot's Message model; the description names no length.
pub const LIMIT: Limit = Limit { most: 150_000, unit: Unit::Characters };

/// The requests for a conversation.
pub(super) fn render(package: &Package, place: Place, options: &Options) -> Result<Vec<Request>, NoteFault> {
    let without = || NoteFault { field: "account_id", what: "not given; the paths of Chatwoot need the account".to_owned() };
    let account = place.account.or(options.account_id).ok_or_else(without)?;
    let conversation = format!("/api/v1/accounts/{account}/conversations/{}", place.ticket);
    let content = fit(package, LIMIT.at_most(options.length_max), markdown::write);
    let mut requests = vec![Request::Call(note(&conversation, &content))];
    if options.merge && !options.tags.is_empty() {
        let labels = format!("{conversation}/labels");
        let write = (Method::Post, labels.clone());
        requests.push(Request::Merge(Merge::new(Purpose::Tags, labels, "/payload", write, "labels", json!(options.tags))));
    }
    if raises(package, options) {
        let path = format!("{conversation}/toggle_priority");
        requests.push(Request::Call(Call::new(Purpose::Priority, Method::Post, path, json!({"priority": "urgent"}))));
    }
    let fields = options.fields_of(package, "the name of a custom attribute of Chatwoot", |_| true)?;
    if options.merge && !fields.is_empty() {
        let fields: Map<String, Value> = fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let write = (Method::Post, format!("{conversation}/custom_attributes"));
        let key = "custom_attributes";
        requests.push(Request::Merge(Merge::new(Purpose::Fields, conversation, "/custom_attributes", write, key, Value::Object(fields))));
    }
    Ok(requests)
}

/// The only place where a message is made.
fn note(conversation: &str, content: &str) -> Call {
    let body = json!({"content": content, "message_type": "outgoing", "private": true, "content_type": "text"});
    Call::new(Purpose::Note, Method::Post, format!("{conversation}/messages"), body)
}
