//! From decision to person: what agents and the backend do to a handoff, what routing wants, and the feed of what the backend must do.
//!
//! The desk and the feed are views in memory: what counts is in the conversations' journals and in the store, from which both are built at the start. An act
//! takes the path of every input: its conversation's place, the policy, the disk, the answer; then the desk is told how the handoff stands.
//!
//! [`Memory::route`] is what time does: it lets the desk plan, writes each act down, and delivers timers. Nothing else moves a handoff that nobody touches.
//!
//! | bound | answer when it is reached |
//! |---|---|
//! | agents ([`AGENTS_MAX`]) | refused |
//! | conversations that wait in a queue (`waiting_max`) | deferred, and the customer hears so |
//! | duties that nobody acknowledges ([`OPEN_MAX`](crate::handoff::feed::OPEN_MAX)) | the oldest is given up, counted and told |
//! | acts and timers of one round | the next round, at once |
//! | who watches the feed | those who are too slow begin again at what is not acknowledged |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast, watch};

use super::deliver::Happening;
use super::record::{Key, Request, decode, encode};
use super::talk::{self, Talk};
use super::{Answered, Editions, Memory, MemoryError, before, erased, no_handoff, not_found};
use crate::handoff::conversation::{Claimant, Conversation, Owner};
use crate::handoff::decision::Action;
use crate::handoff::feed::Feed;
use crate::handoff::input::Body;
use crate::handoff::lifecycle::{self, Act, Duty, Life, State, Telling};
use crate::handoff::mask::mask;
use crate::handoff::policy::Policy;
use crate::handoff::reply::{self, Reply, Slots, Wanted};
use crate::handoff::routing::{AGENTS_MAX, AgentStatus, Desk, Presence, Profile, QueueStatus};
use crate::handoff::step::Step;
use crate::handoff::wait::Wait;
use crate::message::Id;
use crate::service::clock;
use crate::service::events::{Event, emit};
use crate::service::metrics::Metrics;
use crate::service::status::BadField;
use crate::service::store::{
    AgentWrite, ConversationWrite, HandoffFilter, HandoffWrite, NewEffect, Store, StoreErrorKind, StoredEffect, Write,
};
use crate::time::Timestamp;

/// Rounds of planning and delivering in one go: what an act makes possible is planned in the next.
const ROUNDS_MAX: usize = 8;
/// Handoffs that are read at a start for how long they took.
const HANDLED_READ_MAX: usize = 5_000;
/// Timers of one round, and effects that are read at a time.
const BATCH: usize = 256;
/// How long a claim on the next reply holds.
const CLAIM: Duration = Duration::from_secs(30);
/// Places that wait to be sent again to a slow watcher.
const AGAIN_MAX: usize = 1024;

/// The desk, the feed, and who waits for them.
pub(super) struct Router {
    desk: Mutex<Desk>,
    feed: Mutex<Feed>,
    wake: Notify,
    grown: watch::Sender<u64>,
    again: broadcast::Sender<u64>,
    /// Held while the desk plans and its acts are written down: one at a time.
    routing: tokio::sync::Mutex<()>,
    /// Held while an agent changes, so that what is stored is what the desk has.
    changing: tokio::sync::Mutex<()>,
}

impl Router {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            desk: Mutex::new(Desk::new(policy)),
            feed: Mutex::default(),
            wake: Notify::new(),
            grown: watch::Sender::new(0),
            again: broadcast::Sender::new(AGAIN_MAX),
            routing: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// A poisoned desk is whole: nothing panics while it is being changed.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether agents are known, so that handoffs are routed here.
    pub(super) fn routes(&self) -> bool {
        self.desk().routes()
    }

    /// Another policy decides from now on.
    pub(super) fn use_policy(&self, policy: &Policy) {
        self.desk().use_policy(policy);
        self.wake.notify_one();
    }

    /// Whatever happens to a conversation that is no more.
    pub(super) fn forget(&self, conversation: &Id) {
        let at = clock::wall();
        self.desk().note(&Conversation::new(conversation.clone()), at);
    }

    /// Something may be to be routed.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// A handoff as it is kept for lists and measures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffRecord {
    /// Its life, so far or to its end.
    pub life: Life,
    /// Whether its conversation belongs to the pilot.
    pub pilot: bool,
}

/// A handoff of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedHandoff {
    /// Its place in the order in which they were decided.
    pub place: u64,
    /// Its conversation.
    pub conversation: Id,
    /// What is kept of it.
    pub record: HandoffRecord,
}

/// An effect of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FedEffect {
    /// Its place in the order of all, from 1.
    pub place: u64,
    /// The conversation that it is about.
    pub conversation: Id,
    /// When it was decided.
    pub born: Timestamp,
    /// What the backend must do.
    pub duty: Duty,
}

/// An agent as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredAgent {
    profile: Profile,
    presence: Presence,
    until: Timestamp,
}

/// Who may say the next reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    epoch: u64,
    /// The last message before the reply.
    after: u32,
    by: Key,
    until: Timestamp,
}

/// Somebody wants to say the next reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimReply {
    /// The conversation.
    pub conversation: Id,
    /// The claim's id: the same claim gets the same answer.
    pub claim: Id,
    /// Who wants to.
    pub claimant: Claimant,
    /// The epoch that they know.
    pub epoch: u64,
    /// The last message that they know, by sequence.
    pub after: u32,
}

/// Who may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The owner.
    pub owner: Owner,
    /// Their epoch.
    pub epoch: u64,
    /// Until when nobody else may claim this reply.
    pub until: Timestamp,
}

/// What a round of routing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// Acts that were written down.
    pub acts: u64,
    /// Timers that were delivered.
    pub timers: u64,
    /// Messages to customers that were sent again.
    pub again: u64,
}

/// What of a step is kept beside its row.
pub(super) struct Kept {
    pub(super) effects: Vec<NewEffect>,
    pub(super) timer: Option<Option<Timestamp>>,
    pub(super) handoff: Option<HandoffWrite>,
}

/// How a conversation stood before a step, as far as what is kept depends on it.
pub(super) struct Before {
    timer: Option<Timestamp>,
    life: Option<Life>,
    ended: Option<Life>,
}

impl Before {
    pub(super) fn of(conversation: &Conversation) -> Self {
        Self { timer: conversation.timer(), life: conversation.life.clone(), ended: conversation.ended.clone() }
    }

    /// What is kept of a step.
    pub(super) fn kept(&self, policy: &Policy, step: &Step) -> Kept {
        let conversation = &step.conversation;
        let effects = step.duties.iter().map(|duty| NewEffect { urgent: duty.is_urgent(), content: encode(duty) }).collect();
        let timer = conversation.timer();
        let record = |life: &Life, nth: u32| HandoffWrite {
            nth,
            state: life.state.as_str().to_owned(),
            queue: life.queue.clone(),
            record: encode(&HandoffRecord { life: life.clone(), pilot: policy.pilot.has(&conversation.id) }),
        };
        let handoff = match (&conversation.life, &conversation.ended) {
            (Some(life), _) if Some(life) != self.life.as_ref() => Some(record(life, conversation.handoffs)),
            (_, Some(ended)) if Some(ended) != self.ended.as_ref() => Some(record(ended, conversation.handoffs.saturating_sub(1))),
            _ => None,
        };
        Kept { effects, timer: (timer != self.timer).then_some(timer), handoff }
    }

    /// The handoff after a step that brought it into another state.
    pub(super) fn moved(&self, step: &Step) -> Option<Life> {
        let ended = step.conversation.ended.as_ref().filter(|ended| Some(*ended) != self.ended.as_ref());
        let life = step.conversation.life.as_ref().or(ended)?;
        (self.life.as_ref().map(|before| before.state) != Some(life.state)).then(|| life.clone())
    }
}

/// Builds the desk and the feed from what is stored. Blocks.
pub(super) fn restore(memory: &Memory) -> Result<(), MemoryError> {
    let (now, store) = (clock::wall(), &memory.store);
    let broken = |what: &str| MemoryError::Broken(format!("{what} is not as it was written"));
    for agent in store.agents()? {
        let stored: StoredAgent = decode(&agent.state).map_err(|_| broken("an agent"))?;
        let id = stored.profile.id.clone();
        let mut desk = memory.router.desk();
        desk.put_agent(stored.profile);
        desk.set_presence(&id, stored.presence, stored.until, now);
    }
    // Before an agent is known nothing is routed, and what stands need not be read.
    if memory.router.routes() {
        restore_handling(store, &mut memory.router.desk())?;
        restore_timers(store, &memory.editions, &memory.router, now)?;
    }
    pull(store, &memory.router, &memory.metrics)
}

/// Tells the desk how long the latest handoffs took that a person ended, so that waits are promised by what was measured before the restart. Blocks.
fn restore_handling(store: &Store, desk: &mut Desk) -> Result<(), MemoryError> {
    let mut ended = Vec::new();
    for record in store.latest_handoffs(HANDLED_READ_MAX)? {
        let record: HandoffRecord = decode(&record).map_err(|_| MemoryError::Broken("a handoff is not as it was written".to_owned()))?;
        if let (State::Resolved | State::Returned, Some(accepted)) = (record.life.state, record.life.accepted) {
            ended.push((record.life.since, accepted, record.life.queue));
        }
    }
    ended.sort_unstable();
    ended.iter().for_each(|(end, accepted, queue)| desk.learn(queue, end.since(*accepted)));
    Ok(())
}

/// Reads what is pending into the desk. Blocks.
fn restore_timers(store: &Store, editions: &Editions, router: &Router, now: Timestamp) -> Result<(), MemoryError> {
    let mut after = 0;
    loop {
        let timers = store.timers(after, BATCH)?;
        let Some((last, _, _)) = timers.last() else { return Ok(()) };
        after = *last;
        for (_, id, due) in timers {
            if due == Timestamp::default() {
                // A store of before there were timers: looked at when its turn comes.
                router.desk().look_at(&id, now);
                continue;
            }
            match talk::load(store, editions, id) {
                Ok(talk) => router.desk().note(&talk.conversation, now),
                // One that is broken does not keep the others from being served; whoever asks for it is told.
                Err(error) => emit(&Event::StoreFailed { reason: &error.to_string() }),
            }
        }
    }
}

/// Lets the router look at everything that is pending, each in its conversation's place. Blocks.
fn look_at_all(store: &Store, router: &Router, now: Timestamp) -> Result<(), MemoryError> {
    let mut after = 0;
    loop {
        let timers = store.timers(after, BATCH)?;
        let Some((last, _, _)) = timers.last() else { return Ok(()) };
        after = *last;
        timers.iter().for_each(|(_, id, _)| router.desk().look_at(id, now));
    }
}

/// Takes new effects of the store into the feed, and wakes who watches it. Blocks.
fn pull(store: &Store, router: &Router, metrics: &Metrics) -> Result<(), MemoryError> {
    loop {
        let after = router.feed().last();
        let effects = store.effects(after, BATCH)?;
        if effects.is_empty() {
            return Ok(());
        }
        let mut feed = router.feed();
        for effect in &effects {
            if let Some(given_up) = feed.push(effect.place, effect.urgent, effect.born) {
                metrics.effects_given_up.inc();
                // Nobody reads it; that it is deleted is of no haste.
                drop(store.append(Write { acknowledged: Some(given_up), ..Write::default() }));
            }
        }
        let last = feed.last();
        drop(feed);
        router.grown.send_replace(last);
    }
}

impl Memory {
    /// Waits until something may be to be routed.
    pub async fn to_route(&self) {
        self.router.wake.notified().await;
    }

    /// Does what is due: plans, writes down, delivers timers, and sends again what nobody acknowledged.
    pub async fn route(self: &Arc<Self>, now: Timestamp) -> Result<Routed, MemoryError> {
        let _one_at_a_time = self.router.routing.lock().await;
        let mut routed = Routed::default();
        for _ in 0..ROUNDS_MAX {
            let acts = self.router.desk().plan(now);
            let mut is_quiet = acts.is_empty();
            for (id, act) in acts {
                match self.planned(&id, act, now).await {
                    Ok(true) => routed.acts += 1,
                    Ok(false) => {}
                    Err(error) => {
                        self.router.desk().release(&id);
                        return Err(error);
                    }
                }
            }
            let timers = self.router.desk().timers(now, BATCH);
            is_quiet &= timers.is_empty();
            for id in timers {
                self.timer(&id, now).await?;
                routed.timers += 1;
            }
            if is_quiet {
                break;
            }
        }
        let (again, alarms, open) = {
            let mut feed = self.router.feed();
            (feed.overdue(now, AGAIN_MAX), feed.alarms(now), feed.open())
        };
        self.metrics.feed(open, alarms, again.len());
        for place in &again {
            emit(&Event::EffectOverdue { place: *place });
            // Without a watcher it is sent when one comes.
            drop(self.router.again.send(*place));
        }
        routed.again = again.len() as u64;
        Ok(routed)
    }

    /// Writes down what routing wants; `false` where the conversation has moved on meanwhile.
    async fn planned(self: &Arc<Self>, id: &Id, act: Act, now: Timestamp) -> Result<bool, MemoryError> {
        let mut place = self.conversations.get(id).lock_owned().await;
        let talk = self.talk(&mut place, id).await?;
        if talk.erased || !talk.exists || lifecycle::check(&talk.conversation, &act).is_err() {
            self.router.desk().note(&talk.conversation, now);
            return Ok(false);
        }
        let current = self.current_of(talk.conversation.model());
        self.happen(place, current, None, Happening::of(Body::Handoff(act), now)).await.map(|_| true)
    }

    /// Tells a conversation that time passed, where that is due; else writes down when it is.
    async fn timer(self: &Arc<Self>, id: &Id, now: Timestamp) -> Result<(), MemoryError> {
        let mut place = self.conversations.get(id).lock_owned().await;
        let talk = match self.talk(&mut place, id).await {
            Ok(talk) => talk,
            Err(error) if error.is_of_the_store() => return Err(error),
            // What cannot be read is told to whoever asks for it.
            Err(_) => {
                self.router.forget(id);
                return Ok(());
            }
        };
        let due = talk.conversation.timer();
        let routes = talk.conversation.life.is_none() || self.router.routes();
        if routes && talk.exists && !talk.erased && due.is_some_and(|due| due <= now.max(talk.conversation.last)) {
            let current = self.current_of(talk.conversation.model());
            return self.happen(place, current, None, Happening::of(Body::Timer, now)).await.map(drop);
        }
        self.router.desk().note(&talk.conversation, now);
        if talk.exists && !talk.erased {
            let write = ConversationWrite { timer: Some(due), ..ConversationWrite::new(id.clone()) };
            self.store.append(write)?.await?;
        }
        Ok(())
    }

    /// Tells the desk how a conversation stands, and whoever watches the feed that there is more.
    pub(super) async fn told(&self, conversation: &Conversation, at: Timestamp, has_effects: bool) {
        self.router.desk().note(conversation, at);
        if has_effects {
            let (router, metrics) = (Arc::clone(&self.router), Arc::clone(&self.metrics));
            // What could not be read now is read with the next effect; the store tells its own failures.
            drop(self.reading(move |store, _| pull(store, &router, &metrics)).await);
        }
        self.router.wake();
    }

    /// Takes what an agent, or the backend, does to a handoff. The same request gets the same answer.
    pub async fn act(
        self: &Arc<Self>,
        conversation: &Id,
        act: Act,
        request: &Id,
        deadline: Option<Instant>,
    ) -> Result<Answered, MemoryError> {
        super::deliver::again(|| self.act_once(conversation, act.clone(), request, deadline)).await
    }

    async fn act_once(
        self: &Arc<Self>,
        conversation: &Id,
        act: Act,
        request: &Id,
        deadline: Option<Instant>,
    ) -> Result<Answered, MemoryError> {
        if let (Act::Suggest { .. } | Act::Return { note: Some(_), .. }, false) = (&act, self.settings.keep_text) {
            // They stand in the journal, and may say what a customer said.
            return Err(MemoryError::refused("store.text", "it is none: neither notes nor suggestions are kept"));
        }
        let request = Request { id: Key::of(request), content: Key::of(&act) };
        let slot = self.conversations.get(conversation);
        let mut place = before(deadline, slot.lock_owned()).await?;
        let talk = self.talk(&mut place, conversation).await?;
        if !talk.exists {
            return Err(not_found());
        }
        if let Some(answer) = self.known_request(talk, request, "request_id").await? {
            return Ok(answer);
        }
        if talk.conversation.life.is_none() && talk.conversation.ended.is_none() {
            return Err(no_handoff());
        }
        lifecycle::check(&talk.conversation, &act).map_err(|illegal| MemoryError::refused("handoff", illegal.to_string()))?;
        let current = self.current_of(talk.conversation.model());
        let happening = Happening::of(Body::Handoff(act), clock::wall()).by(request);
        self.happen(place, current, None, happening).await
    }

    /// A text without its personal data, for what goes to agents and bots.
    pub fn masked(&self, text: &str) -> String {
        let current = self.current();
        let findings = current.model.scorer().lexicon().find(text).findings;
        mask(text, &findings, current.edition.policy.masking).into_owned()
    }

    /// Lets one claimant say the next reply.
    pub async fn claim_reply(self: &Arc<Self>, claim: &ClaimReply, deadline: Option<Instant>) -> Result<Claimed, MemoryError> {
        super::deliver::again(|| self.claim_once(claim, deadline)).await
    }

    async fn claim_once(self: &Arc<Self>, claim: &ClaimReply, deadline: Option<Instant>) -> Result<Claimed, MemoryError> {
        let slot = self.conversations.get(&claim.conversation);
        let mut place = before(deadline, slot.lock_owned()).await?;
        let talk = self.talk(&mut place, &claim.conversation).await?;
        if !talk.exists {
            return Err(not_found());
        }
        if talk.erased {
            return Err(erased());
        }
        let conversation = &talk.conversation;
        let (owner, epoch) = (conversation.owner(), conversation.epoch());
        let stale = |what: String| Err(MemoryError::Stale { owner, epoch, what });
        if claim.epoch != epoch {
            return stale(format!("epoch: found {}, expected {epoch}", claim.epoch));
        }
        if !conversation.may_speak(&claim.claimant) {
            return stale("claimant: somebody else may speak".to_owned());
        }
        if claim.after != conversation.messages {
            return stale(format!("after_sequence: found {}, the last message is {}", claim.after, conversation.messages));
        }
        let (now, by) = (clock::wall(), Key::of(&(&claim.claim, &claim.claimant)));
        match talk.claim {
            Some(held) if held.epoch == epoch && held.after == claim.after && held.until > now => {
                return if held.by == by {
                    Ok(Claimed { owner, epoch, until: held.until })
                } else {
                    stale(format!("claim_id: another claim holds this reply until {}", held.until))
                };
            }
            Some(_) | None => {}
        }
        let held = Claim { epoch, after: claim.after, by, until: now.plus(CLAIM) };
        let (memory, id) = (Arc::clone(self), claim.conversation.clone());
        super::deliver::to_the_end(async move {
            let stored = memory.store.append(ConversationWrite { claim: Some(encode(&held)), ..ConversationWrite::new(id) })?.await;
            match stored {
                Ok(()) => {
                    if let Some(talk) = place.as_mut() {
                        talk.claim = Some(held);
                    }
                }
                Err(_) => *place = None,
            }
            Ok(stored?)
        })
        .await?;
        Ok(Claimed { owner, epoch, until: held.until })
    }

    /// Takes an agent, or what changed of one.
    pub async fn put_agent(&self, profile: Profile) -> Result<(), MemoryError> {
        let _one_at_a_time = self.router.changing.lock().await;
        let policy = &self.current().edition.policy;
        profile.check(policy).map_err(|fault| BadField::new(fault.field, fault.what))?;
        let known = self.router.desk().known(&profile.id);
        let (presence, until) = known.map_or((Presence::Offline, Timestamp::default()), |(_, presence, until)| (presence, until));
        if !self.router.desk().has_room_for(&profile.id) {
            return Err(MemoryError::refused("agent_id", format!("there are {AGENTS_MAX} agents, which is the most")));
        }
        self.store_agent(&profile, presence, until).await?;
        let is_first = !self.router.routes();
        self.router.desk().put_agent(profile);
        if is_first {
            let (router, now) = (Arc::clone(&self.router), clock::wall());
            self.reading(move |store, _| look_at_all(store, &router, now)).await?;
        }
        self.router.wake();
        Ok(())
    }

    /// Takes whether an agent takes conversations, for a span of time; gives what is known of them then.
    pub async fn set_presence(&self, agent: &Id, presence: Presence, ttl: Duration) -> Result<AgentStatus, MemoryError> {
        let _one_at_a_time = self.router.changing.lock().await;
        let (now, known) = (clock::wall(), self.router.desk().known(agent));
        let unknown = || MemoryError::NotFound(BadField::new("agent_id", "no agent is known under it"));
        let (profile, ..) = known.ok_or_else(unknown)?;
        let until = now.plus(ttl);
        self.store_agent(&profile, presence, until).await?;
        let mut desk = self.router.desk();
        desk.set_presence(agent, presence, until, now);
        let status = desk.agent(agent, now).ok_or_else(unknown);
        drop(desk);
        self.router.wake();
        status
    }

    async fn store_agent(&self, profile: &Profile, presence: Presence, until: Timestamp) -> Result<(), MemoryError> {
        let state = encode(&StoredAgent { profile: profile.clone(), presence, until });
        let agent = Some(AgentWrite { id: profile.id.clone(), state });
        Ok(self.store.append(Write { agent, ..Write::default() })?.await?)
    }

    /// All queues as they stand.
    pub fn queues(&self) -> Vec<QueueStatus> {
        self.router.desk().queues(clock::wall())
    }

    /// The wait of who comes now; `None` where nobody takes any.
    pub fn estimate(&self, queue: &str, priority: u8) -> Result<Option<Wait>, MemoryError> {
        let desk = self.router.desk();
        if desk.handling(queue).is_none() {
            return Err(MemoryError::NotFound(BadField::new("queue_id", "the policy has no such queue")));
        }
        Ok(desk.estimate(queue, priority, clock::wall()))
    }

    /// Handoffs in the order in which they were decided.
    pub async fn handoffs(&self, filter: HandoffFilter) -> Result<Vec<ListedHandoff>, MemoryError> {
        self.reading(move |store, _| {
            let listed = |stored: crate::service::store::StoredHandoff| {
                let record = decode(&stored.record).map_err(|_| MemoryError::Broken("a handoff is not as it was written".to_owned()))?;
                Ok(ListedHandoff { place: stored.place, conversation: stored.conversation, record })
            };
            store.handoffs(&filter)?.into_iter().map(listed).collect()
        })
        .await
    }

    /// What the backend must still do after a place, in order.
    pub async fn effects(&self, after: u64) -> Result<Vec<FedEffect>, MemoryError> {
        self.reading(move |store, _| store.effects(after, BATCH)?.iter().map(fed).collect()).await
    }

    /// One effect, where nobody has done it.
    pub async fn effect(&self, place: u64) -> Result<Option<FedEffect>, MemoryError> {
        let found = self.reading(move |store, _| store.effects(place.saturating_sub(1), 1)?.first().map(fed).transpose()).await?;
        Ok(found.filter(|effect| effect.place == place))
    }

    /// Tells of new places, and of places that are sent again.
    pub fn watch_effects(&self) -> (watch::Receiver<u64>, broadcast::Receiver<u64>) {
        (self.router.grown.subscribe(), self.router.again.subscribe())
    }

    /// The backend did it.
    pub async fn acknowledge(&self, place: u64) -> Result<(), MemoryError> {
        match self.store.append(Write { acknowledged: Some(place), ..Write::default() })?.await {
            Ok(()) => {
                self.router.feed().acknowledge(place);
                Ok(())
            }
            Err(error) if error.kind() == StoreErrorKind::Conflict => Err(BadField::new("place", error.to_string()).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the customer reads, in the customer's language where it is known and the policy speaks it.
    pub async fn words(self: &Arc<Self>, conversation: &Id, telling: &Telling) -> Reply {
        let wanted = |language: Option<String>| Wanted {
            situation: telling.situation,
            language,
            wait: telling.wait_secs.map(|secs| Duration::from_secs(u64::from(secs))),
            agent: telling.agent.clone(),
            ask_email: telling.ask_email,
        };
        if let Ok(packaged) = self.package(conversation).await {
            let edition = packaged.decided.as_ref().map_or(&packaged.edition, |(_, edition)| edition);
            let language = match packaged.conversation.facts.own(LANGUAGE_FACT) {
                Some(crate::handoff::input::Fact::Text(tag)) => Some(tag.clone()),
                Some(_) | None => None,
            };
            if let Some((reply, _)) = reply::of_package(&edition.policy, &telling.trigger, &packaged.package, &wanted(language)) {
                return reply;
            }
        }
        // Without the package, or by a policy that no longer has the trigger: said all the same, with what is known.
        let policy = &self.current().edition.policy;
        let message = policy.messages.iter().position(|message| message.id == telling.message).unwrap_or(0);
        let slots = Slots { wait: wanted(None).wait, agent: telling.agent.clone(), ..Slots::default() };
        let reply = reply::render(policy, message, telling.situation, &policy.words.tag, &slots);
        if telling.ask_email { reply.asking_for_email(&policy.words) } else { reply }
    }

    /// Other conversations of the customer about the same issue that were not solved, the latest first: for the agent who took one over.
    pub async fn related_contacts(&self, id: &Id) -> Result<Vec<Id>, MemoryError> {
        let slot = self.conversations.get(id);
        let mut place = slot.lock().await;
        let talk = self.talk(&mut place, id).await?;
        let (conversation, customer) = (talk.conversation.clone(), talk.customer.clone());
        let Some(customer) = customer else { return Ok(Vec::new()) };
        let slot = self.customers.get(&customer);
        let mut place = slot.lock().await;
        let known = self.known(&mut place, &customer).await?;
        let current = self.current_of(conversation.model());
        let policy = &current.edition.policy;
        let Some(issue) = conversation.issue(&policy.vocabulary) else { return Ok(Vec::new()) };
        Ok(known
            .seen_by(Key::of(&current.model.digest()))
            .about(id, &issue, policy.thresholds.same_issue)
            .take(RELATED_MAX)
            .cloned()
            .collect())
    }
}

/// The own fact that names the customer's language, such as `de`.
pub const LANGUAGE_FACT: &str = "language";
/// Related contacts that an agent is told.
const RELATED_MAX: usize = 8;

fn fed(stored: &StoredEffect) -> Result<FedEffect, MemoryError> {
    let duty = decode(&stored.content).map_err(|_| MemoryError::Broken(format!("effect {}: it is not as it was written", stored.place)))?;
    Ok(FedEffect { place: stored.place, conversation: stored.conversation.clone(), born: stored.born, duty })
}

/// Where the handoff stands after an answer to an act.
pub fn state_after(answered: &Answered, act: &Act) -> Option<State> {
    debug_assert!(answered.answer.decision.action == Action::None, "an act decides nothing");
    let what = act.movement()?;
    lifecycle::MOVES.iter().find(|(_, name, _)| *name == what).map(|(_, _, to)| *to)
}

/// The claim of a conversation as it is stored.
pub(super) fn claim_of(bytes: Option<&[u8]>) -> Option<Claim> {
    // One of another program is over by now: a claim holds for seconds.
    decode(bytes?).ok()
}

impl Talk {
    /// Whether the customer left before a person was there: who comes back is waited for.
    pub(super) fn is_followed_up(&self) -> bool {
        self.conversation.life.as_ref().is_some_and(|life| matches!(life.state, State::Abandoned | State::FollowUp))
    }

    /// What the backend's end of the conversation does to its handoff; `None` where it does nothing.
    pub(super) fn end_of_handoff(&self, outcome: super::Outcome) -> Option<Act> {
        use super::Outcome;
        use crate::handoff::lifecycle::Disposition;
        let state = self.conversation.life.as_ref()?.state;
        match outcome {
            Outcome::Idle => None,
            Outcome::Abandoned if lifecycle::leads(state, lifecycle::Move::Leave).is_some() => Some(Act::Leave),
            Outcome::Abandoned if !matches!(state, State::Accepted) => None,
            Outcome::Abandoned => Some(Act::Resolve { agent: None, disposition: Disposition::Left }),
            Outcome::Resolved => Some(Act::Resolve { agent: None, disposition: Disposition::Solved }),
            Outcome::Unresolved => Some(Act::Resolve { agent: None, disposition: Disposition::Unsolved }),
        }
    }
}
