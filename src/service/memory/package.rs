//! The package of a stored conversation.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::edition::Edition;
use super::record::Key;
use super::replay::decide_again;
use super::{Memory, MemoryError, erased, not_found};
use crate::handoff::conversation::Conversation;
use crate::handoff::decision::Action;
use crate::handoff::input::Body;
use crate::handoff::package::{Package, Sources, package};
use crate::handoff::receipt::Receipt;
use crate::handoff::story::{Story, Turn};
use crate::message::Id;
use crate::service::clock;
use crate::service::packaging::turn;
use crate::service::status::BadField;

/// Messages that a package is made from: of long conversations the first ones, which tell the issue, and the latest.
const FIRST: usize = 10;
const LATEST_MAX: usize = 2_000;

/// A turn with the model that scored it.
struct Said {
    turn: Turn,
    model: String,
}

impl Said {
    /// The turn for who knows one model: of the signals of another only what does not depend on it.
    fn read_by(self, model: &str) -> Turn {
        let Self { turn, model: own } = self;
        let of_another = own != model;
        let signals = turn.signals.map(|signals| if of_another { signals.of_another_model() } else { signals });
        Turn { signals, ..turn }
    }
}

/// A package with what decided the handoff.
pub struct Packaged {
    /// The package.
    pub package: Package,
    /// The conversation's state.
    pub conversation: Conversation,
    /// The receipt of the decision to hand over, and the policy that decided; absent where no handoff stands.
    pub decided: Option<(Receipt, Arc<Edition>)>,
    /// The policy that decides now.
    pub edition: Arc<Edition>,
}

impl Memory {
    /// Makes the package of a conversation.
    pub async fn package(self: &Arc<Self>, id: &Id) -> Result<Packaged, MemoryError> {
        let slot = self.conversations.get(id);
        let mut place = slot.lock().await;
        let talk = self.talk(&mut place, id).await?;
        if !talk.exists {
            return Err(not_found());
        }
        if talk.erased {
            return Err(erased());
        }
        let conversation = talk.conversation.clone();
        let customer = match talk.customer.clone() {
            Some(customer) => {
                let slot = self.customers.get(&customer);
                let mut place = slot.lock().await;
                Some(self.known(&mut place, &customer).await?.clone())
            }
            None => None,
        };
        let (current, id) = (self.current_of(conversation.model()), id.clone());
        let now = clock::wall();
        // The place is held until the rows are read, so that state and story are of one moment.
        self.reading(move |store, editions| {
            let edition = Arc::clone(&current.edition);
            let (mut first, mut latest): (Vec<Said>, VecDeque<Said>) = (Vec::new(), VecDeque::new());
            let mut decided: Option<(Receipt, crate::handoff::receipt::Digest)> = None;
            decide_again(store, editions, &id, |row, edition, stored, step| {
                if step.decision.action == Action::HandOver {
                    decided = Some((step.receipt, edition.policy.digest));
                }
                if let Body::Message(said) = stored.input.body {
                    let text = row.text.as_deref().unwrap_or_default();
                    let turn = turn(current.model.scorer().lexicon(), said.sequence, said.speaker, row.at, text, said.signals);
                    let said = Said { turn, model: edition.policy.vocabulary.model.clone() };
                    if first.len() < FIRST {
                        first.push(said);
                    } else {
                        latest.push_back(said);
                    }
                    if latest.len() > LATEST_MAX {
                        latest.pop_front();
                    }
                }
                ControlFlow::Continue(())
            })?;
            let decided = decided.filter(|_| conversation.handoff.is_some());
            let decided = match decided {
                Some((receipt, digest)) => Some((receipt, editions.get(&digest)?)),
                None => None,
            };
            let policy = decided.as_ref().map_or(&edition.policy, |(_, edition)| &edition.policy);
            let model = &policy.vocabulary.model;
            let story = Story { turns: first.into_iter().chain(latest).map(|said| said.read_by(model)).collect() };
            let customer = customer.as_ref().map(|known| known.seen_by(Key::of(model)));
            let sources = Sources {
                policy,
                conversation: &conversation,
                story: &story,
                customer: customer.as_deref(),
                receipt: decided.as_ref().map(|(receipt, _)| receipt),
                now,
            };
            let package = package(&sources);
            Ok(Packaged { package, conversation, decided, edition })
        })
        .await
    }
}

/// That no handoff stands.
pub fn no_handoff() -> MemoryError {
    MemoryError::NotFound(BadField::new("conversation_id", "no handoff stands for it"))
}
