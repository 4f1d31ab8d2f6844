//! Freshdesk API v2: a note on the ticket.
//!
//! `private` is always sent, as true. An update replaces `tags` as a whole, so they are read and merged, where that is switched on. Source: the vendor's
//! public API reference; it publishes no description.

use serde_json::{Map, Value, json};

use super::content::{Limit, Unit, fit};
use super::html::{self, Heading};
use super::{Call, Merge, Method, NoteFault, Options, Place, Purpose, Request, raises};
use crate::handoff::package::Package;

/// The reference names no length; our choice, as for Zendesk.
pub const LIMIT: Limit = Limit { most: 65_535, unit: Unit::Bytes };
/// Freshdesk's highest: 1 low, 2 medium, 3 high, 4 urgent.
const URGENT: u8 = 4;

/// The requests for a ticket.
pub(super) fn render(package: &Package, place: Place, options: &Options) -> Result<Vec<Request>, NoteFault> {
    let ticket = format!("/api/v2/tickets/{}", place.ticket);
    let body = fit(package, LIMIT.at_most(options.length_max), |content| html::write(content, Heading::Small));
    let mut requests = vec![Request::Call(note(&ticket, &body))];
    if options.merge && !options.tags.is_empty() {
        let write = (Method::Put, ticket.clone());
        requests.push(Request::Merge(Merge::new(Purpose::Tags, ticket.clone(), "/tags", write, "tags", json!(options.tags))));
    }
    let mut update = |purpose, change| requests.push(Request::Call(Call::new(purpose, Method::Put, ticket.clone(), change)));
    if raises(package, options) {
        update(Purpose::Priority, json!({"priority": URGENT}));
    }
    let custom = |name: &str| name.strip_prefix("cf_").is_some_and(|rest| !rest.is_empty());
    let fields = options.fields_of(package, "the name of a custom field of Freshdesk: cf_ and more", custom)?;
    if !fields.is_empty() {
        let fields: Map<String, Value> = fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        update(Purpose::Fields, json!({"custom_fields": fields}));
    }
    Ok(requests)
}

/// The only place where a note is made.
fn note(ticket: &str, body: &str) -> Call {
    Call::new(Purpose::Note, Method::Post, format!("{ticket}/notes"), json!({"body": body, "private": true}))
}
