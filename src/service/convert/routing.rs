//! The messages of `RoutingService`, and those of `HandoffService` about the life of a handoff and the feed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::conversation::{id, owner, stamp};
use super::pb;
use crate::handoff::conversation::Claimant;
use crate::handoff::lifecycle::{Act, Disposition, Duty, Life, NOTE_BYTES_MAX, Notice, State, Telling};
use crate::handoff::policy::Mode;
use crate::handoff::reply::{Reply, Situation};
use crate::handoff::routing::{Presence, Profile, QueueStatus};
use crate::handoff::wait::{Promise, Wait};
use crate::message::Id;
use crate::service::memory::{Answered, ClaimReply, Claimed, FedEffect, ListedHandoff, state_after};
use crate::service::status::BadField;
use crate::service::store::HandoffFilter;

/// Handoffs that one call tells at most.
const HANDOFFS_TOLD_MAX: u32 = 1000;
/// How long a presence counts where nothing is said.
const TTL: Duration = Duration::from_secs(90);
/// The shortest and the longest that it may count.
const TTL_SECS: (i64, i64) = (5, 24 * 3600);
/// Most bytes of an intent.
const INTENT_BYTES_MAX: usize = 64;

/// An agent of the contract → ours.
pub fn profile(request: pb::PutAgentRequest) -> Result<Profile, BadField> {
    let mut skills = BTreeMap::new();
    for (name, level) in request.skills {
        if name.is_empty() || name.len() > INTENT_BYTES_MAX {
            return Err(BadField::new("skills", format!("found a name of {} bytes, expected 1 to {INTENT_BYTES_MAX}", name.len())));
        }
        // What is out of range is told by the check of the profile.
        skills.insert(name, u8::try_from(level).unwrap_or(u8::MAX));
    }
    let agent = id(request.agent_id, "agent_id")?;
    Ok(Profile { id: agent, name: request.name, skills, queues: request.queue_ids, capacity: request.capacity })
}

/// A presence of the contract → ours.
pub fn presence(request: &pb::SetPresenceRequest) -> Result<(Presence, Duration), BadField> {
    let presence = match pb::Presence::try_from(request.presence) {
        Ok(pb::Presence::Online) => Presence::Online,
        Ok(pb::Presence::Busy) => Presence::Busy,
        Ok(pb::Presence::Away) => Presence::Away,
        Ok(pb::Presence::Offline) => Presence::Offline,
        Ok(pb::Presence::Unspecified) | Err(_) => {
            let what = format!("found {}, expected one of PRESENCE_ONLINE (1) to PRESENCE_OFFLINE (4)", request.presence);
            return Err(BadField::new("presence", what));
        }
    };
    let ttl = match request.ttl {
        None => TTL,
        Some(ttl) => {
            let (low, high) = TTL_SECS;
            let secs = Some(ttl.seconds).filter(|secs| (low..=high).contains(secs)).and_then(|secs| u64::try_from(secs).ok());
            let found = || BadField::new("ttl", format!("found {} s, expected {low} to {high}", ttl.seconds));
            Duration::from_secs(secs.ok_or_else(found)?)
        }
    };
    Ok((presence, ttl))
}

/// The queues as they stand.
pub fn queues(queues: Vec<QueueStatus>) -> pb::ListQueuesResponse {
    let status = |queue: QueueStatus| pb::QueueStatus {
        queue_id: queue.id,
        open: queue.open,
        opens_at: queue.opens.map(stamp),
        waiting: super::saturate(queue.waiting),
        agents_there: super::saturate(queue.there),
        slots_free: queue.free,
        wait: queue.wait.map(wait),
    };
    pb::ListQueuesResponse { queues: queues.into_iter().map(status).collect() }
}

/// A wait with what it is made of.
pub fn wait(wait: Wait) -> pb::WaitEstimate {
    pb::WaitEstimate {
        median: Some(span(wait.median_secs)),
        p90: Some(span(wait.p90_secs)),
        ends: wait.load.ends,
        overtakers: wait.load.overtakers,
        slots: f64::from(wait.load.slots_hundredths) / 100.0,
        handling: Some(span(wait.load.handling_secs)),
        handling_measured: wait.load.measured,
    }
}

fn span(secs: u32) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::from(secs), nanos: 0 }
}

fn promise(promise: Promise) -> pb::Promise {
    let told = wait(promise.wait);
    pb::Promise {
        at: Some(stamp(promise.at)),
        median: told.median,
        p90: told.p90,
        ends: told.ends,
        slots: told.slots,
        handling: told.handling,
        overtakers: told.overtakers,
        handling_measured: told.handling_measured,
    }
}

/// A priority that a caller may ask for.
pub fn priority(priority: u32) -> Result<u8, BadField> {
    let found = || BadField::new("priority", format!("found {priority}, expected 0 to 100"));
    u8::try_from(priority).ok().filter(|priority| *priority <= 100).ok_or_else(found)
}

fn state(state: State) -> pb::HandoffState {
    match state {
        State::Requested => pb::HandoffState::Requested,
        State::Queued => pb::HandoffState::Queued,
        State::Offered => pb::HandoffState::Offered,
        State::Accepted => pb::HandoffState::Accepted,
        State::Deferred => pb::HandoffState::Deferred,
        State::Abandoned => pb::HandoffState::Abandoned,
        State::FollowUp => pb::HandoffState::FollowUp,
        State::Resolved => pb::HandoffState::Resolved,
        State::Returned => pb::HandoffState::Returned,
    }
}

fn of_state(state: i32) -> Result<State, BadField> {
    match pb::HandoffState::try_from(state) {
        Ok(pb::HandoffState::Requested) => Ok(State::Requested),
        Ok(pb::HandoffState::Queued) => Ok(State::Queued),
        Ok(pb::HandoffState::Offered) => Ok(State::Offered),
        Ok(pb::HandoffState::Accepted) => Ok(State::Accepted),
        Ok(pb::HandoffState::Deferred) => Ok(State::Deferred),
        Ok(pb::HandoffState::Abandoned) => Ok(State::Abandoned),
        Ok(pb::HandoffState::FollowUp) => Ok(State::FollowUp),
        Ok(pb::HandoffState::Resolved) => Ok(State::Resolved),
        Ok(pb::HandoffState::Returned) => Ok(State::Returned),
        Ok(pb::HandoffState::Unspecified) | Err(_) => {
            Err(BadField::new("states", format!("found {state}, expected HANDOFF_STATE_REQUESTED (1) to HANDOFF_STATE_RETURNED (9)")))
        }
    }
}

fn disposition(disposition: Disposition) -> pb::Disposition {
    match disposition {
        Disposition::Solved => pb::Disposition::Solved,
        Disposition::Unsolved => pb::Disposition::Unsolved,
        Disposition::Left => pb::Disposition::Left,
        Disposition::Returned => pb::Disposition::Returned,
        Disposition::Lapsed => pb::Disposition::Lapsed,
    }
}

/// The life of a handoff.
pub fn life(life: &Life) -> pb::HandoffLife {
    pb::HandoffLife {
        state: state(life.state).into(),
        since: Some(stamp(life.since)),
        deadline: life.state.is_open().then(|| stamp(life.deadline)),
        requested_at: Some(stamp(life.requested)),
        queue_id: life.queue.clone(),
        agent_id: life.agent.as_ref().map(ToString::to_string),
        promise: life.promise.map(promise),
        first_promise: life.first_promise.map(promise),
        corrections: u32::from(life.corrections),
        offers: u32::from(life.offers),
        accepted_at: life.accepted.map(stamp),
        soft: life.mode == Mode::Soft,
        disposition: life.disposition.map_or(pb::Disposition::Unspecified, disposition).into(),
        allowed: life.state.moves().into_iter().map(str::to_owned).collect(),
    }
}

/// Which handoffs are asked for.
pub fn filter(request: pb::ListHandoffsRequest) -> Result<HandoffFilter, BadField> {
    let most = request.handoffs_max;
    if !(1..=HANDOFFS_TOLD_MAX).contains(&most) {
        return Err(BadField::new("handoffs_max", format!("found {most}, expected 1 to {HANDOFFS_TOLD_MAX}")));
    }
    let states = request.states.into_iter().map(|state| of_state(state).map(|state| state.as_str().to_owned()));
    let states = states.collect::<Result<_, _>>()?;
    Ok(HandoffFilter { after: request.after, queue: request.queue_id, states, limit: usize::try_from(most).unwrap_or_default() })
}

/// Handoffs of a list.
pub fn listed(handoffs: Vec<ListedHandoff>) -> pb::ListHandoffsResponse {
    let listed = |handoff: ListedHandoff| {
        let of = handoff.record.life;
        pb::ListedHandoff {
            place: handoff.place,
            conversation_id: handoff.conversation.to_string(),
            trigger_id: of.trigger.clone(),
            category: of.category.clone(),
            pilot: handoff.record.pilot,
            needed: of.needed,
            intent: of.intent.clone(),
            life: Some(life(&of)),
        }
    };
    pb::ListHandoffsResponse { handoffs: handoffs.into_iter().map(listed).collect() }
}

/// Somebody who wants to say the next reply.
pub fn claim(request: pb::ClaimReplyRequest) -> Result<ClaimReply, BadField> {
    let claimant = match (pb::Speaker::try_from(request.speaker), request.agent_id) {
        (Ok(pb::Speaker::Bot), None) => Claimant::Bot,
        (Ok(pb::Speaker::Agent), Some(agent)) => Claimant::Agent(id(agent, "agent_id")?),
        (Ok(pb::Speaker::Bot), Some(_)) => return Err(BadField::new("agent_id", "belongs to agents")),
        (Ok(pb::Speaker::Agent), None) => return Err(BadField::new("agent_id", "found nothing, expected the agent")),
        (Ok(pb::Speaker::Customer | pb::Speaker::Unspecified) | Err(_), _) => {
            let what = format!("found {}, expected SPEAKER_BOT (2) or SPEAKER_AGENT (3)", request.speaker);
            return Err(BadField::new("speaker", what));
        }
    };
    Ok(ClaimReply {
        conversation: id(request.conversation_id, "conversation_id")?,
        claim: id(request.claim_id, "claim_id")?,
        claimant,
        epoch: request.epoch,
        after: request.after_sequence,
    })
}

/// The answer to a claim.
pub fn claimed(claimed: Claimed) -> pb::ClaimReplyResponse {
    pb::ClaimReplyResponse { owner: owner(claimed.owner).into(), epoch: claimed.epoch, until: Some(stamp(claimed.until)) }
}

/// An act with its conversation and its request.
pub struct Asked {
    /// The conversation.
    pub conversation: Id,
    /// The request.
    pub request: Id,
    /// What is done.
    pub act: Act,
}

impl Asked {
    fn new(conversation: String, request: String, act: Act) -> Result<Self, BadField> {
        Ok(Self { conversation: id(conversation, "conversation_id")?, request: id(request, "request_id")?, act })
    }
}

fn agent(agent: Option<String>) -> Result<Option<Id>, BadField> {
    agent.map(|agent| id(agent, "agent_id")).transpose()
}

/// An agent takes a conversation.
pub fn accept(request: pb::AcceptRequest) -> Result<Asked, BadField> {
    Asked::new(request.conversation_id, request.request_id, Act::Accept { agent: id(request.agent_id, "agent_id")? })
}

/// An agent does not.
pub fn decline(request: pb::DeclineRequest) -> Result<Asked, BadField> {
    Asked::new(request.conversation_id, request.request_id, Act::Decline { agent: id(request.agent_id, "agent_id")? })
}

/// A handoff is over.
pub fn resolve(request: pb::ResolveRequest) -> Result<Asked, BadField> {
    let disposition = match pb::Disposition::try_from(request.disposition) {
        Ok(pb::Disposition::Solved) => Disposition::Solved,
        Ok(pb::Disposition::Unsolved) => Disposition::Unsolved,
        Ok(pb::Disposition::Left) => Disposition::Left,
        Ok(pb::Disposition::Unspecified | pb::Disposition::Returned | pb::Disposition::Lapsed) | Err(_) => {
            let expected = "expected DISPOSITION_SOLVED (1), DISPOSITION_UNSOLVED (2) or DISPOSITION_LEFT (3)";
            return Err(BadField::new("disposition", format!("found {}, {expected}", request.disposition)));
        }
    };
    let act = Act::Resolve { agent: agent(request.agent_id)?, disposition };
    Asked::new(request.conversation_id, request.request_id, act)
}

/// The bot gets a conversation back; `masked` takes personal data out of the note.
pub fn returned(request: pb::ReturnRequest, masked: impl Fn(&str) -> String) -> Result<Asked, BadField> {
    let note = match request.note {
        None => None,
        Some(note) => Some(within(&note, "note").map(|()| masked(&note))?),
    };
    Asked::new(request.conversation_id, request.request_id, Act::Return { agent: agent(request.agent_id)?, note })
}

/// The customer left.
pub fn abandon(request: pb::AbandonRequest) -> Result<Asked, BadField> {
    Asked::new(request.conversation_id, request.request_id, Act::Leave)
}

/// The bot suggests something; `masked` takes personal data out of it.
pub fn suggest(request: pb::SuggestRequest, masked: impl Fn(&str) -> String) -> Result<Asked, BadField> {
    within(&request.text, "text")?;
    if request.text.trim().is_empty() {
        return Err(BadField::new("text", "found nothing, expected a suggestion"));
    }
    Asked::new(request.conversation_id, request.request_id, Act::Suggest { text: masked(&request.text) })
}

/// What a handoff was.
pub fn label(request: pb::LabelRequest) -> Result<Asked, BadField> {
    let is_word = |intent: &String| {
        (1..=INTENT_BYTES_MAX).contains(&intent.len()) && intent.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    if let Some(intent) = request.intent.as_ref().filter(|intent| !is_word(intent)) {
        let what = format!("found {} bytes, expected 1 to {INTENT_BYTES_MAX} letters, digits, - or _", intent.len());
        return Err(BadField::new("intent", what));
    }
    if request.needed.is_none() && request.intent.is_none() {
        return Err(BadField::new("needed", "found nothing, expected it or an intent"));
    }
    Asked::new(request.conversation_id, request.request_id, Act::Label { needed: request.needed, intent: request.intent })
}

fn within(text: &str, field: &str) -> Result<(), BadField> {
    if text.len() <= NOTE_BYTES_MAX {
        return Ok(());
    }
    Err(BadField::new(field, format!("found {} bytes, expected at most {NOTE_BYTES_MAX}", text.len())))
}

/// What an act led to.
pub fn changed(answered: &Answered, act: &Act) -> pb::HandoffChange {
    pb::HandoffChange {
        state: state_after(answered, act).map_or(pb::HandoffState::Unspecified, state).into(),
        owner: owner(answered.answer.owner).into(),
        epoch: answered.answer.epoch,
    }
}

/// An effect of the feed; `reply` is what a customer is told, where one is.
pub fn effect(effect: FedEffect, reply: Option<Reply>, again: bool) -> pb::WatchEffectsResponse {
    use pb::effect::Kind;
    let agent_id = |agent: Id| agent.to_string();
    let kind = match effect.duty {
        Duty::AskBot { trigger } => Kind::AskBot(pb::AskBot { trigger_id: trigger }),
        Duty::StopBot => Kind::StopBot(pb::StopBot {}),
        Duty::StartBot { note } => Kind::StartBot(pb::StartBot { note }),
        Duty::RequestHandoff { queue, trigger } => Kind::RequestHandoff(pb::RequestHandoff { queue_id: queue, trigger_id: trigger }),
        Duty::TellCustomer(telling) => Kind::TellCustomer(tell(telling, reply.unwrap_or_default())),
        Duty::OfferHandoff { agent, queue, until } => {
            Kind::OfferHandoff(pb::OfferHandoff { agent_id: agent_id(agent), queue_id: queue, until: Some(stamp(until)) })
        }
        Duty::WithdrawOffer { agent } => Kind::WithdrawOffer(pb::WithdrawOffer { agent_id: agent_id(agent) }),
        Duty::ConnectAgent { agent } => Kind::ConnectAgent(pb::ConnectAgent { agent_id: agent_id(agent) }),
        Duty::ReleaseAgent { agent } => Kind::ReleaseAgent(pb::ReleaseAgent { agent_id: agent_id(agent) }),
        Duty::Suggest { agent, text } => Kind::ShowSuggestion(pb::ShowSuggestion { agent_id: agent.map(agent_id), text }),
        Duty::NotifyOwner { queue, notice } => {
            let notice = match notice {
                Notice::FollowUpDue => pb::OwnerNotice::FollowUpDue,
                Notice::FollowUpLapsed => pb::OwnerNotice::FollowUpLapsed,
                Notice::AgentLost => pb::OwnerNotice::AgentLost,
            };
            Kind::NotifyOwner(pb::NotifyOwner { queue_id: queue, notice: notice.into() })
        }
    };
    pb::WatchEffectsResponse {
        place: effect.place,
        conversation_id: effect.conversation.to_string(),
        at: Some(stamp(effect.born)),
        again,
        effect: Some(pb::Effect { kind: Some(kind) }),
    }
}

fn tell(telling: Telling, reply: Reply) -> pb::TellCustomer {
    let situation = match telling.situation {
        Situation::Connecting => pb::MessageSituation::Connecting,
        Situation::OffHours => pb::MessageSituation::OffHours,
        Situation::AtCapacity => pb::MessageSituation::AtCapacity,
        Situation::Connected => pb::MessageSituation::Connected,
    };
    pb::TellCustomer {
        message_id: telling.message,
        situation: situation.into(),
        wait: telling.wait_secs.map(span),
        agent_name: telling.agent,
        ask_email: telling.ask_email,
        correction: telling.correction,
        acknowledge: reply.acknowledge,
        reassure: reply.reassure,
        expect: reply.expect,
        email_question: reply.ask_email,
    }
}
