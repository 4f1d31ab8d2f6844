//! Zendesk Support API v2: a comment on the ticket, written by updating it.
//!
//! `public` is always sent, as false: without it the value that the ticket was created with holds. Tags are added by their own call; `ticket.tags` would
//! replace them. Source: the vendor's OpenAPI description (operations UpdateTicket and PutTagsTicket), `tests/data/helpdesk/zendesk`.

use serde_json::{Value, json};

use super::content::{Limit, Unit, fit};
use super::html::{self, Heading};
use super::{Call, Method, NoteFault, Options, Place, Purpose, Request, raises};
use crate::handoff::package::Package;

/// The description names no length; clients keep to 64 KiB, and so do we, in bytes.
pub const LIMIT: Limit = Limit { most: 65_535, unit: Unit::Bytes };

/// The requests for a ticket.
pub(super) fn render(package: &Package, place: Place, options: &Options) -> Result<Vec<Request>, NoteFault> {
    let ticket = format!("/api/v2/tickets/{}", place.ticket);
    let html_body = fit(package, LIMIT.at_most(options.length_max), |content| html::write(content, Heading::Small));
    let mut calls = vec![note(&ticket, &html_body)];
    if !options.tags.is_empty() {
        calls.push(Call::new(Purpose::Tags, Method::Put, format!("{ticket}/tags"), json!({"tags": options.tags})));
    }
    if raises(package, options) {
        calls.push(update(Purpose::Priority, &ticket, json!({"priority": "urgent"})));
    }
    let number = |name: &str| name.len() <= 18 && name.bytes().all(|byte| byte.is_ascii_digit());
    let fields = options.fields_of(package, "the number of a field of Zendesk", number)?;
    if !fields.is_empty() {
        let field = |(name, value): &(&str, &str)| json!({"id": name.parse::<u64>().unwrap_or_default(), "value": value});
        let fields: Vec<Value> = fields.iter().map(field).collect();
        calls.push(update(Purpose::Fields, &ticket, json!({"custom_fields": fields})));
    }
    Ok(calls.into_iter().map(Request::Call).collect())
}

/// The only place where a comment is made.
fn note(ticket: &str, html_body: &str) -> Call {
    update(Purpose::Note, ticket, json!({"comment": {"html_body": html_body, "public": false}}))
}

fn update(purpose: Purpose, ticket: &str, change: Value) -> Call {
    Call::new(purpose, Method::Put, ticket.to_owned(), json!({"ticket": change}))
}
