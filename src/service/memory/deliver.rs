//! One input from the caller to the disk and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handoffs::Before;
use super::record::{Answer, Changed, Key, Request, StoredInput, encode, encode_snapshot, text_digest};
use super::talk::{Talk, answered};
use super::{
    Answered, Deciding, MESSAGES_MAX, Memory, MemoryError, Observe, Outcome, PastContact, PutFacts, RecordEvent, Row, SNAPSHOT_EVERY,
    Status, Woken, before, erased, not_found,
};
use crate::handoff::conversation::Conversation;
use crate::handoff::customer::{Contact, Customer, Event};
use crate::handoff::decision::Cause;
use crate::handoff::input::{Body, Input};
use crate::handoff::observation::{MessageSignals, Unscored};
use crate::handoff::receipt::Digest;
use crate::handoff::step::step;
use crate::handoff::transcript::Said;
use crate::message::{Id, Speaker};
use crate::service::clock;
use crate::service::convert::conversation::pack;
use crate::service::inference::{Class, InferenceError, Request as ScoreRequest, Scored};
use crate::service::status::BadField;
use crate::service::store::{ConversationWrite, Message, Write};
use crate::signal::{Absence, QuantizedEmbedding};
use crate::time::Timestamp;

/// How often a write may turn out not to follow what is stored: each time one who left had a write under way.
const CONFLICTS_MAX: usize = 4;
/// The share of the caller's time that is kept for the disk, and the most of it.
const STORING_SHARE: u32 = 4;
const STORING_MAX: Duration = Duration::from_millis(50);

/// A place that is held.
type Held<T> = tokio::sync::OwnedMutexGuard<Option<T>>;

/// Something that is about to happen to a conversation.
pub(super) struct Happening {
    body: Body,
    at: Timestamp,
    message: Option<Message>,
    text: Option<String>,
    request: Option<Request>,
    /// The signals as the answer holds them.
    signals: Vec<u8>,
    /// What it changes of the customer.
    change: Option<Changed>,
    /// Whose the conversation is, where that is said now.
    customer: Option<Id>,
    opens: bool,
}

impl Happening {
    pub(super) fn of(body: Body, at: Timestamp) -> Self {
        let (signals, opens) = (Vec::new(), false);
        Self { body, at, message: None, text: None, request: None, signals, change: None, customer: None, opens }
    }

    /// The same, known again by its request.
    pub(super) fn by(self, request: Request) -> Self {
        Self { request: Some(request), ..self }
    }
}

/// Does it again where the state was stale.
pub(super) async fn again<T, F: Future<Output = Result<T, MemoryError>>>(run: impl Fn() -> F) -> Result<T, MemoryError> {
    for _ in 0..CONFLICTS_MAX {
        match run().await {
            Err(error) if error.is_conflict() => {}
            result => return result,
        }
    }
    run().await
}

/// What lies ahead of the clock counts as now: a time of the year 9999 would stop the conversation's clock.
fn not_after(at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    at.map_or(now, |at| at.min(now))
}

impl Memory {
    /// Takes a message and decides.
    pub async fn observe(self: &Arc<Self>, request: &Observe, deadline: Option<Instant>) -> Result<Answered, MemoryError> {
        again(|| self.observe_once(request, deadline)).await
    }

    async fn observe_once(self: &Arc<Self>, request: &Observe, deadline: Option<Instant>) -> Result<Answered, MemoryError> {
        let slot = self.conversations.get(&request.conversation);
        let mut place = before(deadline, slot.lock_owned()).await?;
        let talk = self.talk(&mut place, &request.conversation).await?;
        if talk.erased {
            return Err(erased());
        }
        let digest = text_digest(&request.conversation, &request.message, request.speaker, &request.text);
        let expected = talk.conversation.messages.saturating_add(1);
        if request.sequence < expected {
            return self.repeated(request, digest).await;
        }
        check_message(talk, request, expected)?;
        // Only who asks for something opens a closed conversation: "was that helpful?" of the bot does not.
        let opens = request.speaker == Speaker::Customer && talk.status != Status::Open;
        // Who left while they waited and comes back is waited for; else the person's part ended with the conversation.
        let waits = talk.outcome() == Some(Outcome::Idle) || talk.is_followed_up();
        let returns = opens && talk.conversation.handoff.is_some() && !waits;
        let last = talk.conversation.model().to_owned();
        let bot_text = talk.bot_text.clone();
        let current = match (&request.model, request.speaker) {
            // What is not scored changes nothing of which model does.
            (None, Speaker::Agent) => self.current_of(&last),
            (named, _) => Arc::new(self.models.choose_deciding(named.as_deref(), &request.text, &last)?),
        };
        let (signals, packed) = self.signals(&current, request, bot_text, deadline).await?;
        let at = not_after(request.at, clock::wall());
        let returned = returns.then(|| Happening { opens: true, ..Happening::of(Body::Returned, at) });
        let said = Said {
            id: request.message.clone(),
            speaker: request.speaker,
            text: request.text.clone(),
            confidence: request.bot_confidence,
            proposal: request.proposal,
            unscored: None,
        };
        let observation = said.observation(request.sequence, signals, &current.edition.policy);
        let happening = Happening {
            message: Some(Message { sequence: request.sequence, id: said.id, text_digest: digest }),
            text: Some(said.text),
            signals: packed,
            customer: request.customer.clone(),
            opens,
            ..Happening::of(Body::Message(observation), at)
        };
        self.happen(place, current, returned, happening).await
    }

    /// Lets things happen one after the other, to their end even where the caller leaves: what was decided is stored and known here, or neither.
    pub(super) async fn happen(
        self: &Arc<Self>,
        mut place: Held<Talk>,
        current: Arc<Deciding>,
        first: Option<Happening>,
        happening: Happening,
    ) -> Result<Answered, MemoryError> {
        let memory = Arc::clone(self);
        to_the_end(async move {
            if let Some(first) = first {
                memory.deliver(&mut place, &current, first).await?;
            }
            memory.deliver(&mut place, &current, happening).await
        })
        .await
    }

    /// What was answered to a message before.
    async fn repeated(&self, request: &Observe, digest: [u8; 32]) -> Result<Answered, MemoryError> {
        let (id, sequence) = (request.conversation.clone(), request.sequence);
        let row = self.reading(move |store, _| Ok(store.message(&id, sequence)?)).await?.ok_or_else(erased)?;
        let message = row.message.as_ref().ok_or_else(erased)?;
        if message.id != request.message {
            let what = format!("found another message under {sequence}");
            return Err(MemoryError::AlreadyExists(BadField::new("sequence", what)));
        }
        if message.text_digest != digest {
            let what = "found another text or speaker under this message's id than before";
            return Err(MemoryError::AlreadyExists(BadField::new("text", what)));
        }
        self.reading(move |_, editions| Ok(answered(editions, &row)?.1)).await
    }

    /// The signals of a message, as decisions read them and as the answer holds them, or why there are none.
    async fn signals(
        &self,
        current: &Deciding,
        request: &Observe,
        bot_text: Option<String>,
        deadline: Option<Instant>,
    ) -> Result<(Result<MessageSignals, Unscored>, Vec<u8>), MemoryError> {
        if request.speaker == Speaker::Agent {
            return Ok((Err(Unscored::NotAsked), Vec::new()));
        }
        let proposal = bot_text.filter(|text| request.speaker == Speaker::Customer && !text.trim().is_empty());
        match self.score(current, request.text.clone(), proposal, deadline).await? {
            Err(unscored) => {
                self.metrics.unscored(unscored);
                Ok((Err(unscored), Vec::new()))
            }
            Ok(scored) => {
                let mut signals = current.judge.observer.signals(&scored.signals);
                if !self.settings.keep_text {
                    signals.embedding = Err(Absence::NotKept);
                }
                Ok((Ok(signals), pack(&scored.signals)))
            }
        }
    }

    /// Scores a text in time, or says why not.
    async fn score(
        &self,
        current: &Deciding,
        text: String,
        proposal: Option<String>,
        deadline: Option<Instant>,
    ) -> Result<Result<Scored, Unscored>, MemoryError> {
        let now = clock::now();
        let scored_by = now + self.settings.score_timeout;
        let stored_by = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(now);
            deadline - (left / STORING_SHARE).min(STORING_MAX)
        });
        let deadline = Some(stored_by.map_or(scored_by, |deadline| deadline.min(scored_by)));
        match current.model.scheduler().score(ScoreRequest { text, proposal, class: Class::Live, deadline }).await {
            Ok(scored) => Ok(Ok(scored)),
            Err(InferenceError::Overloaded { .. } | InferenceError::Expired) => Ok(Err(Unscored::Late)),
            Err(InferenceError::Failed(_) | InferenceError::WorkerLost) => Ok(Err(Unscored::Failed)),
            Err(InferenceError::Closed) => Err(MemoryError::Closed),
        }
    }

    /// Takes something that the customer did elsewhere. What it led to is told where a conversation heard of it.
    pub async fn record_event(self: &Arc<Self>, event: &RecordEvent, deadline: Option<Instant>) -> Result<Option<Answered>, MemoryError> {
        let content = Key::of(&(&event.customer, &event.kind, &event.name, event.at));
        let request = Request { id: Key::of(&event.id), content };
        let at = not_after(event.at, clock::wall());
        let what = Changed::Event(Event { at, kind: event.kind.clone(), name: event.name.clone() });
        match &event.conversation {
            Some(conversation) => {
                again(|| self.event_of_conversation(conversation, event, request, what.clone(), deadline)).await.map(Some)
            }
            None => again(|| self.event_of_customer(event, request, what.clone(), at, deadline)).await.map(|()| None),
        }
    }

    async fn event_of_conversation(
        self: &Arc<Self>,
        conversation: &Id,
        event: &RecordEvent,
        request: Request,
        what: Changed,
        deadline: Option<Instant>,
    ) -> Result<Answered, MemoryError> {
        let slot = self.conversations.get(conversation);
        let mut place = before(deadline, slot.lock_owned()).await?;
        let talk = self.talk(&mut place, conversation).await?;
        if let Some(answer) = self.known_request(talk, request, "event_id").await? {
            return Ok(answer);
        }
        check_customer(talk, event.customer.as_ref())?;
        if event.customer.is_none() && talk.customer.is_none() {
            return Err(MemoryError::refused("customer_id", "nobody is known as the customer of the conversation; say who it is"));
        }
        let Changed::Event(happened) = &what else { return Err(MemoryError::Internal("an event is an event")) };
        let at = happened.at;
        let body = Body::Event { kind: event.kind.clone() };
        let current = self.current_of(talk.conversation.model());
        let happening =
            Happening { request: Some(request), change: Some(what), customer: event.customer.clone(), ..Happening::of(body, at) };
        self.happen(place, current, None, happening).await
    }

    async fn event_of_customer(
        self: &Arc<Self>,
        event: &RecordEvent,
        request: Request,
        what: Changed,
        at: Timestamp,
        deadline: Option<Instant>,
    ) -> Result<(), MemoryError> {
        let customer = event.customer.as_ref();
        let id = customer.ok_or_else(|| BadField::new("customer_id", "found nothing, expected it or a conversation_id"))?;
        let slot = self.customers.get(id);
        let mut place = before(deadline, slot.lock_owned()).await?;
        let known = self.known(&mut place, id).await?;
        if known.requests.find(request).map_err(|()| known_otherwise("event_id"))?.is_some() {
            return Ok(());
        }
        let (memory, id) = (Arc::clone(self), id.clone());
        to_the_end(async move {
            let mut known = place.take().ok_or(MemoryError::Internal("a place is empty"))?;
            let model = Key::of(&memory.current().model.digest());
            let write = known.change(&id, vec![what], Some(request), at, model);
            memory.store.append(write)?.await?;
            *place = Some(known);
            Ok(())
        })
        .await
    }

    /// Takes what the backend looked up.
    pub async fn put_facts(self: &Arc<Self>, put: &PutFacts, deadline: Option<Instant>) -> Result<Answered, MemoryError> {
        again(|| self.put_facts_once(put, deadline)).await
    }

    async fn put_facts_once(self: &Arc<Self>, put: &PutFacts, deadline: Option<Instant>) -> Result<Answered, MemoryError> {
        let contacts: Vec<_> = put.contacts.iter().map(|contact| (&contact.id, contact.at, &contact.text, contact.resolved)).collect();
        let content = Key::of(&(&put.customer, &put.facts, contacts, put.fetched));
        let request = Request { id: Key::of(&put.id), content };
        let slot = self.conversations.get(&put.conversation);
        let mut place = before(deadline, slot.lock_owned()).await?;
        let talk = self.talk(&mut place, &put.conversation).await?;
        if let Some(answer) = self.known_request(talk, request, "lookup_id").await? {
            return Ok(answer);
        }
        check_customer(talk, put.customer.as_ref())?;
        if !put.contacts.is_empty() && put.customer.is_none() && talk.customer.is_none() {
            return Err(MemoryError::refused("customer_id", "nobody is known as the customer of the conversation; say who it is"));
        }
        let now = clock::wall();
        // Their vectors are to be compared with those of this conversation.
        let current = self.current_of(talk.conversation.model());
        // Together, so that they take as long as the slowest batches.
        let contacts = put.contacts.iter().map(|contact| self.past_contact(&current, contact, now, deadline));
        let contacts = futures::future::try_join_all(contacts).await?;
        let at = not_after(put.fetched, now);
        let happening = Happening {
            request: Some(request),
            change: (!contacts.is_empty()).then_some(Changed::Contacts(contacts)),
            customer: put.customer.clone(),
            ..Happening::of(Body::Facts(put.facts.clone().fetched(at)), at)
        };
        self.happen(place, current, None, happening).await
    }

    async fn past_contact(
        &self,
        current: &Deciding,
        contact: &PastContact,
        now: Timestamp,
        deadline: Option<Instant>,
    ) -> Result<Contact, MemoryError> {
        let text = contact.text.clone().filter(|_| self.settings.keep_text);
        let issue = match text {
            Some(text) => {
                self.score(current, text, None, deadline).await?.ok().and_then(|scored| scored.signals.embedding.as_ref().ok().cloned())
            }
            None => None,
        };
        let issue = issue.as_ref().map(QuantizedEmbedding::new);
        Ok(Contact { conversation: contact.id.clone(), at: contact.at.min(now), issue, resolved: contact.resolved })
    }

    /// What was answered to an event or a lookup before.
    pub(super) async fn known_request(&self, talk: &Talk, request: Request, field: &str) -> Result<Option<Answered>, MemoryError> {
        if talk.erased {
            return Err(erased());
        }
        let Some(ordinal) = talk.requests.find(request).map_err(|()| known_otherwise(field))? else { return Ok(None) };
        let id = talk.conversation.id.clone();
        let read = self.reading(move |store, editions| {
            let row = store.rows(&id, ordinal - 1, 1)?.pop().ok_or_else(not_found)?;
            Ok(answered(editions, &row)?.1)
        });
        read.await.map(Some)
    }

    /// Ends a conversation; gives since when it is ended.
    pub async fn close_conversation(self: &Arc<Self>, id: &Id, outcome: Outcome) -> Result<Timestamp, MemoryError> {
        again(|| self.close_once(id, outcome, None)).await.map(|at| at.unwrap_or_default())
    }

    /// Ends a conversation in which nothing happened since a time; `None` where something did.
    pub(super) async fn close_idle(self: &Arc<Self>, id: &Id, since: Timestamp) -> Result<Option<Timestamp>, MemoryError> {
        again(|| self.close_once(id, Outcome::Idle, Some(since))).await
    }

    async fn close_once(
        self: &Arc<Self>,
        id: &Id,
        outcome: Outcome,
        idle_since: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, MemoryError> {
        let mut place = self.conversations.get(id).lock_owned().await;
        let talk = self.talk(&mut place, id).await?;
        if !talk.exists {
            return Err(not_found());
        }
        if talk.erased {
            return Err(erased());
        }
        if idle_since.is_some_and(|since| talk.status != Status::Open || talk.conversation.last >= since) {
            return Ok(None);
        }
        if let Status::Closed { at, outcome: before } = &talk.status {
            match Outcome::of(before) {
                Some(before) if before == outcome => return Ok(Some(*at)),
                Some(Outcome::Idle) => {}
                _ => return Err(MemoryError::refused("outcome", format!("the conversation was closed as {before}"))),
            }
        }
        // Who routes by themselves ends the person's part by opening the conversation again.
        let end = talk.end_of_handoff(outcome).filter(|_| self.router.routes());
        let memory = Arc::clone(self);
        to_the_end(async move {
            if let Some(act) = end {
                let model = place.as_ref().map_or("", |talk| talk.conversation.model());
                let current = memory.current_of(model);
                memory.deliver(&mut place, &current, Happening::of(Body::Handoff(act), clock::wall())).await?;
            }
            memory.close_now(&mut place, outcome).await
        })
        .await
        .map(Some)
    }

    async fn close_now(&self, place: &mut Option<Talk>, outcome: Outcome) -> Result<Timestamp, MemoryError> {
        let now = clock::wall();
        let mut talk = place.take().ok_or(MemoryError::Internal("a place is empty"))?;
        talk.status = Status::Closed { at: now, outcome: outcome.as_str().to_owned() };
        let part = ConversationWrite { status: Some(talk.status.clone()), ..ConversationWrite::new(talk.conversation.id.clone()) };
        let customer = talk.customer.clone().filter(|_| talk.conversation.customer_turns > 0);
        let slot = customer.as_ref().map(|customer| (customer, self.customers.get(customer)));
        match &slot {
            None => self.store.append(part)?.await?,
            Some((customer, slot)) => {
                let mut customer_place = slot.lock().await;
                self.known(&mut customer_place, customer).await?;
                let mut known = customer_place.take().ok_or(MemoryError::Internal("a place is empty"))?;
                let current = self.current_of(talk.conversation.model());
                let contact = contact(&talk.conversation, &current, outcome.resolved());
                let model = Key::of(&current.model.digest());
                let change = known.change(customer, vec![Changed::Contacts(vec![contact])], None, now, model);
                self.store.append(Write { conversation: Some(part), customer: Some(change), ..Write::default() })?.await?;
                *customer_place = Some(known);
            }
        }
        *place = Some(talk);
        Ok(now)
    }

    /// Takes what the customer gave a conversation, 1 to 5.
    pub async fn record_satisfaction(self: &Arc<Self>, id: &Id, score: u32) -> Result<(), MemoryError> {
        again(|| self.record_satisfaction_once(id, score)).await
    }

    async fn record_satisfaction_once(self: &Arc<Self>, id: &Id, score: u32) -> Result<(), MemoryError> {
        let mut place = self.conversations.get(id).lock_owned().await;
        let talk = self.talk(&mut place, id).await?;
        if !talk.exists {
            return Err(not_found());
        }
        if talk.erased {
            return Err(erased());
        }
        let (memory, id) = (Arc::clone(self), id.clone());
        to_the_end(async move {
            let stored = memory.store.append(ConversationWrite { satisfaction: Some(score), ..ConversationWrite::new(id) })?.await;
            if stored.is_err() {
                *place = None;
            }
            Ok(stored?)
        })
        .await
    }

    /// Takes all content of a customer out of the store; gives conversations and inputs.
    pub async fn erase(self: &Arc<Self>, customer: &Id) -> Result<(u64, u64), MemoryError> {
        let (memory, customer) = (Arc::clone(self), customer.clone());
        to_the_end(async move {
            let erased = memory.store.erase(vec![customer.clone()])?.await?;
            // What is still cached could not be stored any more, but it could be told, and it could decide.
            memory
                .conversations
                .forget(|id, talk| {
                    let theirs = talk.customer.as_ref() == Some(&customer);
                    if theirs {
                        memory.router.forget(id);
                    }
                    theirs
                })
                .await;
            memory.customers.forget(|id, _| *id == customer).await;
            Ok((erased.conversations, erased.rows))
        })
        .await
    }

    /// Decides, stores, and answers. The place is empty while that goes on, and stays so where it fails.
    async fn deliver(&self, place: &mut Option<Talk>, current: &Deciding, happening: Happening) -> Result<Answered, MemoryError> {
        let mut talk = place.take().ok_or(MemoryError::Internal("a place is empty"))?;
        let (policy, model) = (&current.edition.policy, Key::of(&current.model.digest()));
        let newly_known = happening.customer.clone().filter(|_| talk.customer.is_none());
        talk.customer = talk.customer.take().or(happening.customer);
        let slot = talk.customer.as_ref().map(|id| (id, self.customers.get(id)));
        let mut customer_place = match &slot {
            Some((id, slot)) => {
                let mut place = slot.lock().await;
                self.known(&mut place, id).await?;
                Some(place)
            }
            None => None,
        };
        let mut known = customer_place.as_mut().and_then(|place| place.take());
        // An event that another conversation of the customer heard of before counts once.
        let event = happening.request.filter(|_| matches!(happening.body, Body::Event { .. }));
        let heard = match (event, &known) {
            (Some(request), Some(known)) => known.requests.find(request).map(|heard| heard.is_some()),
            _ => Ok(false),
        };
        let Ok(heard) = heard else {
            if let Some(place) = &mut customer_place {
                **place = known;
            }
            *place = Some(talk);
            return Err(known_otherwise("event_id"));
        };
        let mut changes: Vec<Changed> = happening.change.into_iter().filter(|_| !heard && known.is_some()).collect();
        let mut customer = known.as_ref().map(|known| known.seen_by(model));
        for change in &changes {
            customer.as_mut().map(std::borrow::Cow::to_mut).into_iter().for_each(|customer| change.apply(customer));
        }
        let customer = customer.as_deref();
        let readings = policy.read_customer(&talk.conversation, customer, &happening.body, happening.at);
        let stored =
            StoredInput { request: happening.request, input: Input { at: happening.at, body: happening.body, customer: readings } };
        let before = Before::of(&talk.conversation);
        let done = step(policy, talk.conversation, &stored.input);
        let kept = before.kept(policy, &done);
        let moved = before.moved(&done);
        talk.conversation = done.conversation;
        let ordinal = talk.conversation.inputs;
        let is_snapshot = ordinal.is_multiple_of(SNAPSHOT_EVERY);
        if happening.opens {
            talk.status = Status::Open;
        }
        if let Some(known) = &known {
            let refresh = is_snapshot || !done.effects.is_empty();
            let resolved = talk.outcome().and_then(Outcome::resolved);
            let due = contact_due(&known.seen_by(model), &talk.conversation, current, refresh, resolved);
            changes.extend(due.map(|contact| Changed::Contacts(vec![contact])));
        }
        let change = match (&mut known, &slot) {
            (Some(known), Some((id, _))) if !changes.is_empty() => Some(known.change(id, changes, event, happening.at, model)),
            _ => None,
        };
        if change.is_none() {
            // Others of this customer need not wait for the disk.
            if let Some(mut place) = customer_place.take() {
                *place = known.take();
            }
        }
        if let Some(request) = stored.request {
            talk.requests.take(request, ordinal);
        }
        let answer = Answer {
            policy: policy.digest,
            decision: done.decision,
            owner: talk.conversation.owner(),
            epoch: talk.conversation.epoch(),
            at: done.receipt.at,
            signals: happening.signals,
        };
        let part = ConversationWrite {
            row: Some(Row {
                ordinal,
                at: answer.at,
                activity: !matches!(stored.input.body, Body::Timer | Body::Returned | Body::Handoff(_)),
                input: encode(&stored),
                receipt: *talk.conversation.chain.bytes(),
                answer: encode(&answer),
                message: happening.message,
                text: happening.text.clone().filter(|_| self.settings.keep_text),
            }),
            snapshot: is_snapshot.then(|| encode_snapshot(&talk.conversation, &talk.requests)),
            customer: newly_known,
            status: happening.opens.then_some(Status::Open),
            satisfaction: None,
            letters: self.outbox.letters(&talk.conversation.id, ordinal, &answer.decision),
            effects: kept.effects,
            timer: kept.timer,
            handoff: kept.handoff,
            claim: None,
            id: talk.conversation.id.clone(),
        };
        let (has_letters, has_effects) = (!part.letters.is_empty(), !part.effects.is_empty());
        let concerns_the_desk = part.timer.is_some() || part.handoff.is_some() || matches!(stored.input.body, Body::Handoff(_));
        self.store.append(Write { conversation: Some(part), customer: change, ..Write::default() })?.await?;
        if has_letters {
            self.outbox.wake(Woken::ByLetter);
        }
        self.metrics.decided(answer.decision.action);
        if let Some(life) = &moved {
            self.metrics.handoff(life);
        }
        if answer.decision.cause == Cause::Shadow {
            self.metrics.shadow_decisions.inc();
        }
        if concerns_the_desk || has_effects {
            self.told(&talk.conversation, answer.at, has_effects).await;
        }
        if let Some(mut place) = customer_place {
            *place = known;
        }
        talk.exists = true;
        let mut unscored = None;
        if let Body::Message(observation) = &stored.input.body {
            unscored = observation.signals.as_ref().err().copied();
            talk.ids.insert(Key::of(&observation.id));
            if observation.speaker == Speaker::Bot {
                talk.bot_text = happening.text;
            }
        }
        let receipt = Digest::from_bytes(*talk.conversation.chain.bytes());
        *place = Some(talk);
        Ok(Answered { edition: Arc::clone(&current.edition), answer, receipt, unscored })
    }
}

impl Talk {
    fn outcome(&self) -> Option<Outcome> {
        match &self.status {
            Status::Open => None,
            Status::Closed { outcome, .. } => Outcome::of(outcome),
        }
    }
}

fn known_otherwise(field: &str) -> MemoryError {
    MemoryError::AlreadyExists(BadField::new(field, "found other content under it than before"))
}

fn check_customer(talk: &Talk, said: Option<&Id>) -> Result<(), MemoryError> {
    match (&talk.customer, said) {
        (Some(known), Some(said)) if known != said => Err(MemoryError::refused("customer_id", "the conversation is another customer's")),
        _ => Ok(()),
    }
}

/// Whether a message is the next.
fn check_message(talk: &Talk, request: &Observe, expected: u32) -> Result<(), MemoryError> {
    if request.sequence > expected {
        return Err(MemoryError::Gap { expected, found: request.sequence });
    }
    if talk.ids.contains(&Key::of(&request.message)) {
        let what = "an earlier message of the conversation has this id";
        return Err(MemoryError::AlreadyExists(BadField::new("message_id", what)));
    }
    if expected > MESSAGES_MAX {
        let what = format!("the conversation has {MESSAGES_MAX} messages, which is the most; begin another");
        return Err(MemoryError::refused("conversation_id", what));
    }
    check_customer(talk, request.customer.as_ref())
}

/// The conversation as one of the customer's contacts.
fn contact(conversation: &Conversation, current: &Deciding, resolved: Option<bool>) -> Contact {
    Contact {
        conversation: conversation.id.clone(),
        at: conversation.started.unwrap_or(conversation.last),
        issue: conversation.issue(&current.edition.policy.vocabulary),
        resolved,
    }
}

/// Whether other conversations must hear of this one: when the customer says something first, when it becomes known what it is about, when that has changed
/// and something is written anyway, and when a closed one is opened.
fn contact_due(
    customer: &Customer,
    conversation: &Conversation,
    current: &Deciding,
    refresh: bool,
    resolved: Option<bool>,
) -> Option<Contact> {
    if conversation.customer_turns == 0 {
        return None;
    }
    let now = contact(conversation, current, resolved);
    let due = match customer.contact_of(&conversation.id) {
        None => customer.has_room_for(now.at),
        Some(before) => {
            (before.issue.is_none() && now.issue.is_some()) || before.resolved != now.resolved || (refresh && before.issue != now.issue)
        }
    };
    due.then_some(now)
}

/// Runs to the end even where the caller leaves.
pub(super) async fn to_the_end<T: Send + 'static>(
    run: impl Future<Output = Result<T, MemoryError>> + Send + 'static,
) -> Result<T, MemoryError> {
    tokio::spawn(run).await.unwrap_or(Err(MemoryError::Internal("a task of the memory died")))
}
