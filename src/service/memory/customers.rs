//! A customer as they stand in their place.

use super::record::{Changed, CustomerChange, CustomerSnapshot, Key, Request, Requests, decode, encode};
use super::{Memory, MemoryError, SNAPSHOT_EVERY};
use crate::handoff::customer::Customer;
use crate::message::Id;
use crate::service::store::{CustomerWrite, Store};
use crate::time::Timestamp;

pub(super) struct Known {
    pub(super) customer: Customer,
    pub(super) requests: Requests,
    /// The model whose vectors these are.
    model: Key,
    ordinal: u64,
}

impl Known {
    /// Takes a change; gives what the store must take. What stands here is of no use where the store then does not.
    pub(super) fn change(&mut self, id: &Id, what: Vec<Changed>, request: Option<Request>, at: Timestamp) -> CustomerWrite {
        self.ordinal += 1;
        what.iter().for_each(|changed| changed.apply(&mut self.customer));
        if let Some(request) = request {
            self.requests.take(request, self.ordinal);
        }
        let model = self.model;
        let snapshot = self.ordinal.is_multiple_of(SNAPSHOT_EVERY).then(|| {
            self.customer.forget(at);
            encode(&CustomerSnapshot { model, customer: self.customer.clone(), requests: self.requests.clone() })
        });
        let change = encode(&CustomerChange { model, request, what });
        CustomerWrite { id: id.clone(), ordinal: self.ordinal, at, change, snapshot }
    }
}

impl Memory {
    /// The customer of a place, from the store where they are not there.
    pub(super) async fn known<'a>(&self, place: &'a mut Option<Known>, id: &Id) -> Result<&'a mut Known, MemoryError> {
        if place.is_none() {
            let (id, model) = (id.clone(), Key::of(&self.scheduler.scorer().digest()));
            *place = Some(self.reading(move |store, _| load(store, &id, model)).await?);
        }
        place.as_mut().ok_or(MemoryError::Internal("a place is empty"))
    }
}

fn load(store: &Store, id: &Id, model: Key) -> Result<Known, MemoryError> {
    let mut known = Known { customer: Customer::default(), requests: Requests::default(), model, ordinal: 0 };
    let Some(stored) = store.customer(id)? else { return Ok(known) };
    let broken = |what: &str| MemoryError::Broken(format!("customer: {what} is not as it was written"));
    if let Some(state) = &stored.snapshot {
        let snapshot: CustomerSnapshot = decode(state).map_err(|_| broken("what is known"))?;
        (known.customer, known.requests) = (snapshot.customer, snapshot.requests);
        if snapshot.model != model {
            known.customer.forget_vectors();
        }
    }
    let first = stored.ordinal - stored.changes.len() as u64;
    for (place, change) in stored.changes.iter().enumerate() {
        let mut change: CustomerChange = decode(change).map_err(|_| broken("a change"))?;
        for changed in &mut change.what {
            if let (Changed::Contacts(contacts), true) = (&mut *changed, change.model != model) {
                contacts.iter_mut().for_each(|contact| contact.issue = None);
            }
            changed.apply(&mut known.customer);
        }
        if let Some(request) = change.request {
            known.requests.take(request, first + place as u64 + 1);
        }
    }
    known.ordinal = stored.ordinal;
    Ok(known)
}
