//! Zammad API v1: an article of the ticket.
//!
//! `internal` is always true and `type` always "note": an article of the type email is sent even when it is internal. Tags are added one by one. Source:
//! the vendor's documentation (`zammad/zammad-documentation`, api/ticket/articles.rst); it publishes no description.

use serde_json::{Map, Value, json};

use super::content::{Limit, Unit, fit};
use super::html::{self, Heading};
use super::{Call, Method, NoteFault, Options, Place, Purpose, Request, raises};
use crate::handoff::package::Package;

/// The documentation names no length; our choice, as for Zendesk.
pub const LIMIT: Limit = Limit { most: 65_535, unit: Unit::Bytes };
/// The highest of the priorities that Zammad comes with.
const HIGH: &str = "3 high";
/// What a ticket has of its own, which a field must not be: `article` would write one that could be public.
const OWN: &[&str] = &[
    "id",
    "number",
    "title",
    "group",
    "group_id",
    "owner",
    "owner_id",
    "customer",
    "customer_id",
    "organization",
    "organization_id",
    "state",
    "state_id",
    "priority",
    "priority_id",
    "article",
    "articles",
    "note",
    "pending_time",
    "tags",
    "links",
    "mentions",
    "preferences",
];

/// The requests for a ticket.
pub(super) fn render(package: &Package, place: Place, options: &Options) -> Result<Vec<Request>, NoteFault> {
    let body = fit(package, LIMIT.at_most(options.length_max), |content| html::write(content, Heading::Small));
    let mut calls = vec![note(place, &body)];
    for tag in &options.tags {
        let body = json!({"item": tag, "object": "Ticket", "o_id": place.ticket});
        calls.push(Call::new(Purpose::Tags, Method::Post, "/api/v1/tags/add".to_owned(), body));
    }
    let ticket = format!("/api/v1/tickets/{}", place.ticket);
    if raises(package, options) {
        calls.push(Call::new(Purpose::Priority, Method::Put, ticket.clone(), json!({"priority": HIGH})));
    }
    let custom = |name: &str| {
        let lower = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains(|c: char| c.is_ascii_uppercase());
        lower && !OWN.contains(&name)
    };
    let fields = options.fields_of(package, "the name of an object attribute of Zammad, none that every ticket has", custom)?;
    if !fields.is_empty() {
        let fields: Map<String, Value> = fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        calls.push(Call::new(Purpose::Fields, Method::Put, ticket, Value::Object(fields)));
    }
    Ok(calls.into_iter().map(Request::Call).collect())
}

/// The only place where an article is made.
fn note(place: Place, body: &str) -> Call {
    let body = json!({
        "ticket_id": place.ticket, "body": body, "content_type": "text/html", "type": "note", "internal": true, "sender": "Agent",
    });
    Call::new(Purpose::Note, Method::Post, "/api/v1/ticket_articles".to_owned(), body)
}
