//! A customer as they stand in their place.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::record::{Changed, CustomerChange, CustomerSnapshot, Key, Request, Requests, decode, decode_mixed, encode, encode_mixed};
use super::{Memory, MemoryError, SNAPSHOT_EVERY};
use crate::handoff::customer::{CONTACTS_MAX, Customer};
use crate::message::Id;
use crate::service::store::{CustomerWrite, Store};
use crate::time::Timestamp;

#[derive(Clone)]
pub(super) struct Known {
    customer: Customer,
    pub(super) requests: Requests,
    /// The model whose vector each contact has, by conversation: vectors of two models are not compared.
    models: HashMap<Id, Key>,
    ordinal: u64,
}

impl Known {
    /// The customer as a model sees them: without the vectors of others, which mean nothing to it.
    pub(super) fn seen_by(&self, model: Key) -> Cow<'_, Customer> {
        let is_other = |id: &Id| self.models.get(id).is_some_and(|of| *of != model);
        if !self.customer.all_contacts().any(|contact| contact.issue.is_some() && is_other(&contact.conversation)) {
            return Cow::Borrowed(&self.customer);
        }
        let mut customer = self.customer.clone();
        customer.forget_vectors(is_other);
        Cow::Owned(customer)
    }

    /// Takes what is known of some contacts, with the vectors of a model.
    fn apply(&mut self, what: &[Changed], model: Key) {
        for changed in what {
            changed.apply(&mut self.customer);
            if let Changed::Contacts(contacts) = changed {
                self.models.extend(contacts.iter().map(|contact| (contact.conversation.clone(), model)));
            }
        }
        if self.models.len() > 2 * CONTACTS_MAX {
            self.forget_models();
        }
    }

    /// Forgets the models of contacts that are not remembered any more.
    fn forget_models(&mut self) {
        let there: HashSet<&Id> = self.customer.all_contacts().map(|contact| &contact.conversation).collect();
        self.models.retain(|id, _| there.contains(id));
    }

    /// Takes a change, whose vectors are those of a model; gives what the store must take. What stands here is of no use where the store then does not.
    pub(super) fn change(&mut self, id: &Id, what: Vec<Changed>, request: Option<Request>, at: Timestamp, model: Key) -> CustomerWrite {
        self.ordinal += 1;
        self.apply(&what, model);
        if let Some(request) = request {
            self.requests.take(request, self.ordinal);
        }
        let snapshot = self.ordinal.is_multiple_of(SNAPSHOT_EVERY).then(|| {
            self.customer.forget(at);
            self.forget_models();
            self.snapshot(model)
        });
        let change = encode(&CustomerChange { model, request, what });
        CustomerWrite { id: id.clone(), ordinal: self.ordinal, at, change, snapshot }
    }

    /// In the form in which all vectors are of one model, where they are, which is the shorter one and the one that older programs read.
    fn snapshot(&self, model: Key) -> Vec<u8> {
        let of = |id: &Id| self.models.get(id).copied().unwrap_or(model);
        let models: Vec<Key> = self.customer.all_contacts().map(|contact| of(&contact.conversation)).collect();
        let with_vectors = self.customer.all_contacts().zip(&models).filter(|(contact, _)| contact.issue.is_some());
        let mut of_vectors = with_vectors.map(|(_, model)| *model);
        let first = of_vectors.next().unwrap_or(model);
        if of_vectors.all(|other| other == first) {
            return encode(&CustomerSnapshot { model: first, customer: self.customer.clone(), requests: self.requests.clone() });
        }
        encode_mixed(&self.customer, &self.requests, &models)
    }
}

impl Memory {
    /// The customer of a place, from the store where they are not there.
    pub(super) async fn known<'a>(&self, place: &'a mut Option<Known>, id: &Id) -> Result<&'a mut Known, MemoryError> {
        if place.is_none() {
            let id = id.clone();
            *place = Some(self.reading(move |store, _| load(store, &id)).await?);
        }
        place.as_mut().ok_or(MemoryError::Internal("a place is empty"))
    }
}

fn load(store: &Store, id: &Id) -> Result<Known, MemoryError> {
    let mut known = Known { customer: Customer::default(), requests: Requests::default(), models: HashMap::new(), ordinal: 0 };
    let Some(stored) = store.customer(id)? else { return Ok(known) };
    let broken = |what: &str| MemoryError::Broken(format!("customer: {what} is not as it was written"));
    if let Some(state) = &stored.snapshot {
        let (customer, requests, models) = decode_mixed(state).map_err(|_| broken("what is known"))?;
        let of_contacts = customer.all_contacts().zip(models).map(|(contact, model)| (contact.conversation.clone(), model));
        known.models = of_contacts.collect();
        (known.customer, known.requests) = (customer, requests);
    }
    let first = stored.ordinal - stored.changes.len() as u64;
    for (place, change) in stored.changes.iter().enumerate() {
        let change: CustomerChange = decode(change).map_err(|_| broken("a change"))?;
        known.apply(&change.what, change.model);
        if let Some(request) = change.request {
            known.requests.take(request, first + place as u64 + 1);
        }
    }
    known.ordinal = stored.ordinal;
    Ok(known)
}
