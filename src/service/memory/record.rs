//! What the store holds of inputs, answers and states, as bytes: a format number, eight bytes of a SHA-256, then the value in the format of journals.
//!
//! A value of another format, with another digest or with bytes left over, is not read at all.

use std::collections::VecDeque;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::handoff::conversation::{Conversation, Owner};
use crate::handoff::customer::{Contact, Customer, Event};
use crate::handoff::decision::Decision;
use crate::handoff::input::Input;
use crate::handoff::receipt::Digest;
use crate::message::{Id, Speaker};
use crate::time::Timestamp;

/// The format that this program writes.
const FORMAT: u8 = 1;
/// The format of a conversation's state. 1 had no handoffs' lives: such a state is made again from the rows.
const SNAPSHOT_FORMAT: u8 = 2;
/// The format of a customer whose contacts have vectors of several models.
const MIXED_FORMAT: u8 = 3;
/// Events and lookups of a conversation, or events of a customer, that are known again.
const REQUESTS_MAX: usize = 512;

/// Bytes of the digest.
const CHECK: usize = 8;

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Another program wrote them.
    Format,
    /// They are not what was written.
    Changed,
}

/// The bytes of a value.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    encode_as(FORMAT, value)
}

/// The bytes of what is known of a customer whose contacts have vectors of several models, one for each contact in their order.
pub(super) fn encode_mixed(customer: &Customer, requests: &Requests, models: &[Key]) -> Vec<u8> {
    encode_as(MIXED_FORMAT, &(customer, requests, models))
}

/// What is known of a customer, in either form, with the model of each contact's vector.
pub(super) fn decode_mixed(bytes: &[u8]) -> Result<(Customer, Requests, Vec<Key>), Unreadable> {
    match decode::<CustomerSnapshot>(bytes) {
        Ok(CustomerSnapshot { model, customer, requests }) => {
            let models = vec![model; customer.all_contacts().count()];
            Ok((customer, requests, models))
        }
        Err(Unreadable::Format) => {
            let (customer, requests, models): (Customer, Requests, Vec<Key>) = decode_as(MIXED_FORMAT, bytes)?;
            if models.len() == customer.all_contacts().count() { Ok((customer, requests, models)) } else { Err(Unreadable::Changed) }
        }
        Err(Unreadable::Changed) => Err(Unreadable::Changed),
    }
}

/// The bytes of a conversation's state, as [`Snapshot`] is read.
pub(super) fn encode_snapshot(conversation: &Conversation, requests: &Requests) -> Vec<u8> {
    encode_as(SNAPSHOT_FORMAT, &(conversation, requests))
}

/// The state of some bytes.
pub(super) fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, Unreadable> {
    decode_as(SNAPSHOT_FORMAT, bytes)
}

fn encode_as(format: u8, value: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![format];
    bytes.extend([0; CHECK]);
    let mut bytes = postcard::to_extend(value, bytes).expect("plain values in memory are written without fail");
    let digest = Digest::of(&bytes[1 + CHECK..]);
    bytes[1..=CHECK].copy_from_slice(&digest.bytes()[..CHECK]);
    bytes
}

/// The value of some bytes, if these are such bytes and nothing else.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    decode_as(FORMAT, bytes)
}

fn decode_as<T: DeserializeOwned>(expected: u8, bytes: &[u8]) -> Result<T, Unreadable> {
    let (format, bytes) = bytes.split_first().ok_or(Unreadable::Changed)?;
    if *format != expected {
        return Err(Unreadable::Format);
    }
    let (check, bytes) = bytes.split_at_checked(CHECK).ok_or(Unreadable::Changed)?;
    if check != &Digest::of(bytes).bytes()[..CHECK] {
        return Err(Unreadable::Changed);
    }
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| Unreadable::Format)?;
    if rest.is_empty() { Ok(value) } else { Err(Unreadable::Changed) }
}

/// By what something is known again: the first half of a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Key([u8; 16]);

impl Key {
    pub(super) fn of(value: &impl Serialize) -> Self {
        let digest = Digest::of_value(value);
        let mut key = [0; 16];
        key.copy_from_slice(&digest.bytes()[..16]);
        Self(key)
    }
}

/// An event or a lookup: its id, and all that it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) id: Key,
    pub(super) content: Key,
}

/// The requests that are known again, each with the input that it was; the oldest go first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Requests(VecDeque<(Request, u64)>);

impl Requests {
    pub(super) fn take(&mut self, request: Request, ordinal: u64) {
        if self.0.len() == REQUESTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((request, ordinal));
    }

    /// The input that a request was; an error where its id is known with other content.
    pub(super) fn find(&self, request: Request) -> Result<Option<u64>, ()> {
        match self.0.iter().rev().find(|(known, _)| known.id == request.id) {
            Some((known, ordinal)) if known.content == request.content => Ok(Some(*ordinal)),
            Some(_) => Err(()),
            None => Ok(None),
        }
    }
}

/// An input as a row holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredInput {
    /// The event or lookup that it was, if it was one.
    pub(super) request: Option<Request>,
    pub(super) input: Input,
}

/// What was answered to an input, as a row holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Digest of the policy that decided.
    pub policy: Digest,
    /// What it decided.
    pub decision: Decision,
    /// Who may speak then.
    pub owner: Owner,
    /// Epoch of the owner.
    pub epoch: u64,
    /// When the input counts as having happened.
    pub at: Timestamp,
    /// The signals of the contract, packed by [`convert::conversation`](crate::service::convert::conversation); empty where there are none.
    pub signals: Vec<u8>,
}

/// A state as a snapshot holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) conversation: Conversation,
    pub(super) requests: Requests,
}

/// What is known of a customer as a snapshot holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CustomerSnapshot {
    /// The model whose vectors these are.
    pub(super) model: Key,
    pub(super) customer: Customer,
    pub(super) requests: Requests,
}

/// One change of a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CustomerChange {
    /// The model whose vectors these are.
    pub(super) model: Key,
    pub(super) request: Option<Request>,
    pub(super) what: Vec<Changed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Changed {
    Event(Event),
    Contacts(Vec<Contact>),
}

impl Changed {
    pub(super) fn apply(&self, customer: &mut Customer) {
        match self {
            Self::Event(event) => customer.record(event.clone()),
            Self::Contacts(contacts) => contacts.iter().for_each(|contact| customer.contact(contact.clone())),
        }
    }
}

/// By what the text of a message is known again. Who has the digests alone cannot try texts on several messages at once.
pub(super) fn text_digest(conversation: &Id, message: &Id, speaker: Speaker, text: &str) -> [u8; 32] {
    *Digest::of_value(&(conversation, message, speaker, text)).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::QuantizedEmbedding;

    #[test]
    fn bytes_of_another_format_are_not_read() {
        let bytes = encode(&(7u32, "x"));
        assert_eq!(decode::<(u32, String)>(&bytes), Ok((7, "x".to_owned())));
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(decode::<(u32, String)>(&wrong).is_err(), "{wrong:?}");
        }
        for wrong in [&bytes[1..], &[&bytes[..], &[0]].concat(), &bytes[..2], &[]] {
            assert!(decode::<(u32, String)>(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_customer_is_read_in_either_form() {
        let contact = |name: &str| Contact {
            conversation: Id::new(name).unwrap(),
            at: Timestamp::default(),
            issue: Some(QuantizedEmbedding::from_values(vec![1, 2])),
            resolved: None,
        };
        let mut customer = Customer::default();
        ["a", "b"].map(contact).into_iter().for_each(|contact| customer.contact(contact));
        let (one, two, requests) = (Key::of(&1), Key::of(&2), Requests::default());
        let plain = encode(&CustomerSnapshot { model: one, customer: customer.clone(), requests: requests.clone() });
        assert_eq!(decode_mixed(&plain), Ok((customer.clone(), requests.clone(), vec![one, one])));
        let mixed = encode_mixed(&customer, &requests, &[one, two]);
        assert_eq!(decode_mixed(&mixed), Ok((customer.clone(), requests.clone(), vec![one, two])));
        assert_eq!(decode_mixed(&encode_mixed(&customer, &requests, &[one])), Err(Unreadable::Changed), "a model for each contact");
        for at in 0..mixed.len() {
            let mut wrong = mixed.clone();
            wrong[at] ^= 1;
            assert!(decode_mixed(&wrong).is_err(), "byte {at}");
        }
    }

    #[test]
    fn requests_are_known_by_id_and_content() {
        let request = |id: &str, content: u32| Request { id: Key::of(&id), content: Key::of(&content) };
        let mut requests = Requests::default();
        requests.take(request("a", 1), 4);
        assert_eq!(requests.find(request("a", 1)), Ok(Some(4)));
        assert_eq!(requests.find(request("a", 2)), Err(()));
        assert_eq!(requests.find(request("b", 1)), Ok(None));
        (0..REQUESTS_MAX as u64).for_each(|n| requests.take(request(&n.to_string(), 0), n));
        assert_eq!(requests.find(request("a", 1)), Ok(None), "the oldest are forgotten");
    }
}
