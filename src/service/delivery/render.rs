//! What one letter sends to a helpdesk: requests in their order, the note first.

use super::client::Request;
use super::{Access, Destination, Kind, webhook};
use crate::handoff::note::{self, Helpdesk, NoteFault, Options, Place};
use crate::handoff::package::Package;
use crate::message::Id;
use crate::service::store::Letter;

/// Most bytes of a ticket's id.
pub const TICKET_BYTES_MAX: usize = 64;
/// Most digits of a ticket's number.
const TICKET_DIGITS_MAX: usize = 19;

/// The requests of a letter; a fault where a setting of `[notes]` is nothing that the helpdesk takes.
pub fn requests(
    destination: &Destination,
    options: &Options,
    package: &Package,
    letter: &Letter,
    ticket: &str,
) -> Result<Vec<Request>, NoteFault> {
    let notes = |helpdesk, account: Option<&str>| {
        let place = Place::new(ticket, account)?;
        Ok(note::render(helpdesk, package, place, options)?.iter().map(Request::of_note).collect())
    };
    match &destination.access {
        Access::Zendesk { .. } => notes(Helpdesk::Zendesk, None),
        Access::Chatwoot { account, .. } => notes(Helpdesk::Chatwoot, Some(&account.to_string())),
        Access::Webhook { source, .. } => Ok(vec![Request::of_event(&webhook::event(letter, package, options, ticket, source))]),
    }
}

/// The ticket that a letter is about: the one that was linked, else the conversation itself. A webhook has no tickets.
pub fn ticket<'a>(kind: Kind, conversation: &'a Id, linked: Option<&'a str>) -> Result<&'a str, String> {
    let ticket = linked.unwrap_or(conversation.as_str());
    if !kind.has_tickets() {
        return Ok(ticket);
    }
    match check_ticket(&[kind], ticket) {
        Ok(()) => Ok(ticket),
        Err(what) if linked.is_some() => Err(format!("the ticket that was linked cannot be one: {what}")),
        Err(what) => Err(format!("no ticket was linked, and the conversation's id cannot be one: {what}; LinkTicket says which it is")),
    }
}

/// Whether a text can be a ticket's id for all of these destinations.
pub fn check_ticket(kinds: &[Kind], ticket: &str) -> Result<(), String> {
    let numbers = kinds.iter().find(|kind| kind.has_tickets());
    if !(1..=TICKET_BYTES_MAX).contains(&ticket.len()) {
        return Err(format!("found {} bytes, expected 1 to {TICKET_BYTES_MAX}", ticket.len()));
    }
    match numbers {
        Some(kind) if !ticket.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("found other characters than digits, and {} numbers its tickets", kind.as_str()))
        }
        Some(kind) if ticket.len() > TICKET_DIGITS_MAX || ticket.bytes().all(|byte| byte == b'0') => Err(format!(
            "found {} digits, expected the number of a ticket of {}, 1 to {TICKET_DIGITS_MAX} of them",
            ticket.len(),
            kind.as_str()
        )),
        None if !ticket.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') => {
            Err("found other characters than letters, digits, _ and -".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_what_its_helpdesk_can_have() {
        let cases: [(Kind, &str, bool); 14] = [
            (Kind::Zendesk, "4711", true),
            (Kind::Chatwoot, "1", true),
            (Kind::Webhook, "CASE_47-11", true),
            (Kind::Zendesk, "", false),
            (Kind::Zendesk, "c-1", false),
            (Kind::Zendesk, "000", false),
            (Kind::Zendesk, "99999999999999999999", false),
            (Kind::Chatwoot, "1/../2", false),
            (Kind::Zendesk, "-1", false),
            (Kind::Zendesk, "1 ", false),
            (Kind::Zendesk, "１", false),
            (Kind::Webhook, "a/b", false),
            (Kind::Webhook, "a?b", false),
            (Kind::Webhook, &"x".repeat(65), false),
        ];
        for (kind, ticket, sound) in cases {
            assert_eq!(check_ticket(&[kind], ticket).is_ok(), sound, "{kind:?} {ticket:?}");
        }
        assert!(check_ticket(&[Kind::Webhook, Kind::Zendesk], "c-1").unwrap_err().contains("zendesk"));
    }

    #[test]
    fn the_conversation_is_the_ticket_until_one_is_linked() {
        let id = |text: &str| Id::new(text).unwrap();
        assert_eq!(ticket(Kind::Zendesk, &id("7"), None), Ok("7"));
        assert_eq!(ticket(Kind::Zendesk, &id("chat-7"), Some("8")), Ok("8"));
        assert!(ticket(Kind::Zendesk, &id("chat-7"), None).unwrap_err().contains("LinkTicket"));
        assert!(!ticket(Kind::Zendesk, &id("chat-7"), None).unwrap_err().contains("chat-7"));
        assert_eq!(ticket(Kind::Webhook, &id("chat/7"), None), Ok("chat/7"));
    }
}
