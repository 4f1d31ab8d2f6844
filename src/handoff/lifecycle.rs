//! The life of one handoff, from the decision to its end: one table of legal moves, and for each state who may speak, until when, and what the customer hears
//! next.
//!
//! In: what a person or the routing did ([`Act`]), a message, or that time passed; always with `now`. Out: the life after it, and what the backend must do
//! about it ([`Duty`]), in order. An act that the table does not have is refused before it is written down ([`check`]); folded all the same, it changes
//! nothing. Every open state has a deadline at which a timer moves it on, so that every handoff ends; [`STATES`] says how.
//!
//! The customer hears of the handoff when routing has placed it, with the wait; where that takes longer than [`ACKNOWLEDGE`], without.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conversation::{Conversation, Owner};
use super::input::Fact;
use super::policy::{HandoffRules, Mode, Policy};
use super::reply::Situation;
use super::wait::Promise;
use crate::message::{Id, Speaker};
use crate::time::Timestamp;

/// The customer hears of the handoff at the latest after this time; also the time after which a message of the feed that nobody acknowledged is sent again.
pub const ACKNOWLEDGE: Duration = Duration::from_secs(5);
/// A customer who writes while they wait hears again where the last time is this long ago.
const AGAIN: Duration = Duration::from_secs(60);
/// While everyone is busy, the customer hears so often that they are not forgotten.
const REMIND: Duration = Duration::from_secs(3600);
/// Agents who passed that are remembered.
const PASSED_MAX: usize = 16;
/// Most bytes of a note, a suggestion and a label.
pub const NOTE_BYTES_MAX: usize = 4096;
/// The own fact of an account that names its agent, by id.
pub const AGENT_FACT: &str = "agent";
/// The own fact that holds the customer's e-mail address.
pub const EMAIL_FACT: &str = "email";

/// Where a handoff stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was decided; no queue has it yet.
    Requested,
    /// It waits in a queue.
    Queued,
    /// An agent is asked.
    Offered,
    /// A person has the conversation.
    Accepted,
    /// Nobody can take it now: it waits for the queue to open, or for room.
    Deferred,
    /// The customer left before a person was there.
    Abandoned,
    /// Somebody answers later, outside the conversation.
    FollowUp,
    /// It is over.
    Resolved,
    /// The bot has the conversation again.
    Returned,
}

/// What each state means: its owner, its deadline, and what the customer hears. In the order of [`State`].
pub const STATES: [(State, Owner, &str, &str); 9] = [
    (State::Requested, Owner::Nobody, "5 s", "the acknowledgement, without a wait, where routing took longer"),
    (
        State::Queued,
        Owner::Nobody,
        "the promised wait; update_secs where none is promised",
        "the acknowledgement with the wait; a correction before the promise is broken",
    ),
    (State::Offered, Owner::Nobody, "offer_secs", "nothing new: the wait was told"),
    (State::Accepted, Owner::Person, "quiet_hours after the last message", "who is there now"),
    (
        State::Deferred,
        Owner::Nobody,
        "the queue's next opening; 5 min while everyone is busy",
        "when somebody is there, and the request for an e-mail address where none is known",
    ),
    (State::Abandoned, Owner::Nobody, "at once", "nothing: they left"),
    (State::FollowUp, Owner::Nobody, "follow_up_hours", "that it is captured, where they are still there"),
    (State::Resolved, Owner::Bot, "none", "nothing"),
    (State::Returned, Owner::Bot, "none", "nothing: the bot speaks again"),
];

impl State {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Requested,
        Self::Queued,
        Self::Offered,
        Self::Accepted,
        Self::Deferred,
        Self::Abandoned,
        Self::FollowUp,
        Self::Resolved,
        Self::Returned,
    ];

    /// The word that stands in results, receipts and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Queued => "queued",
            Self::Offered => "offered",
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Abandoned => "abandoned",
            Self::FollowUp => "follow_up",
            Self::Resolved => "resolved",
            Self::Returned => "returned",
        }
    }

    /// Who may speak to the customer.
    pub fn owner(self) -> Owner {
        match self {
            Self::Requested | Self::Queued | Self::Offered | Self::Deferred | Self::Abandoned | Self::FollowUp => Owner::Nobody,
            Self::Accepted => Owner::Person,
            Self::Resolved | Self::Returned => Owner::Bot,
        }
    }

    /// Whether the handoff goes on.
    pub fn is_open(self) -> bool {
        match self {
            Self::Requested | Self::Queued | Self::Offered | Self::Accepted | Self::Deferred | Self::Abandoned | Self::FollowUp => true,
            Self::Resolved | Self::Returned => false,
        }
    }

    /// The moves that lead out of it, as words, in the table's order.
    pub fn moves(self) -> Vec<&'static str> {
        MOVES.iter().filter(|(from, _, _)| *from == self).map(|(_, what, _)| what.as_str()).collect()
    }
}

/// What leads from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// Routing puts it into a queue.
    Queue,
    /// Routing finds nobody now.
    Defer,
    /// Routing asks an agent.
    Offer,
    /// The agent takes it.
    Accept,
    /// The agent does not take it, or not in time.
    Decline,
    /// An agent whom nobody asked speaks in the conversation.
    TakeOver,
    /// Nothing is heard of the agent any more.
    Lose,
    /// The customer leaves before a person is there.
    Leave,
    /// The customer writes again.
    Rejoin,
    /// It is kept for a follow-up.
    Capture,
    /// It ends with an outcome.
    Resolve,
    /// The bot gets it back.
    Return,
    /// It ends since nothing happened for long.
    Lapse,
}

impl Move {
    /// The word that stands in errors and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Defer => "defer",
            Self::Offer => "offer",
            Self::Accept => "accept",
            Self::Decline => "decline",
            Self::TakeOver => "take_over",
            Self::Lose => "lose",
            Self::Leave => "leave",
            Self::Rejoin => "rejoin",
            Self::Capture => "capture",
            Self::Resolve => "resolve",
            Self::Return => "return",
            Self::Lapse => "lapse",
        }
    }
}

/// Every legal move, and no other.
pub const MOVES: [(State, Move, State); 42] = {
    use {Move as M, State as S};
    [
        (S::Requested, M::Queue, S::Queued),
        (S::Requested, M::Defer, S::Deferred),
        (S::Requested, M::TakeOver, S::Accepted),
        (S::Requested, M::Leave, S::Abandoned),
        (S::Requested, M::Capture, S::FollowUp),
        (S::Requested, M::Resolve, S::Resolved),
        (S::Requested, M::Return, S::Returned),
        (S::Queued, M::Queue, S::Queued),
        (S::Queued, M::Defer, S::Deferred),
        (S::Queued, M::Offer, S::Offered),
        (S::Queued, M::TakeOver, S::Accepted),
        (S::Queued, M::Leave, S::Abandoned),
        (S::Queued, M::Capture, S::FollowUp),
        (S::Queued, M::Resolve, S::Resolved),
        (S::Queued, M::Return, S::Returned),
        (S::Offered, M::Accept, S::Accepted),
        (S::Offered, M::Decline, S::Queued),
        (S::Offered, M::TakeOver, S::Accepted),
        (S::Offered, M::Leave, S::Abandoned),
        (S::Offered, M::Resolve, S::Resolved),
        (S::Offered, M::Return, S::Returned),
        (S::Accepted, M::Lose, S::Queued),
        (S::Accepted, M::Resolve, S::Resolved),
        (S::Accepted, M::Return, S::Returned),
        (S::Accepted, M::Lapse, S::Resolved),
        (S::Deferred, M::Queue, S::Queued),
        (S::Deferred, M::Defer, S::Deferred),
        (S::Deferred, M::TakeOver, S::Accepted),
        (S::Deferred, M::Leave, S::Abandoned),
        (S::Deferred, M::Capture, S::FollowUp),
        (S::Deferred, M::Resolve, S::Resolved),
        (S::Deferred, M::Return, S::Returned),
        (S::Abandoned, M::Rejoin, S::Requested),
        (S::Abandoned, M::TakeOver, S::Accepted),
        (S::Abandoned, M::Capture, S::FollowUp),
        (S::Abandoned, M::Resolve, S::Resolved),
        (S::Abandoned, M::Return, S::Returned),
        (S::FollowUp, M::Rejoin, S::Requested),
        (S::FollowUp, M::TakeOver, S::Accepted),
        (S::FollowUp, M::Resolve, S::Resolved),
        (S::FollowUp, M::Return, S::Returned),
        (S::FollowUp, M::Lapse, S::Resolved),
    ]
};

/// Where a move leads from a state; `None` where it is not legal.
pub fn leads(from: State, what: Move) -> Option<State> {
    MOVES.iter().find(|(state, name, _)| *state == from && *name == what).map(|(_, _, to)| *to)
}

/// Why nobody can take a conversation now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The queue is closed.
    OffHours,
    /// Everyone is busy, or nobody is there.
    AtCapacity,
}

impl Why {
    fn situation(self) -> Situation {
        match self {
            Self::OffHours => Situation::OffHours,
            Self::AtCapacity => Situation::AtCapacity,
        }
    }
}

/// How a handoff ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// The issue is solved.
    Solved,
    /// It is not.
    Unsolved,
    /// The customer left.
    Left,
    /// The bot has it again.
    Returned,
    /// Nothing happened for long, or nobody followed up.
    Lapsed,
}

impl Disposition {
    /// The word that stands in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Solved => "solved",
            Self::Unsolved => "unsolved",
            Self::Left => "left",
            Self::Returned => "returned",
            Self::Lapsed => "lapsed",
        }
    }
}

/// What a person or the routing did to a handoff. It stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Routing: it waits in this queue.
    Queue {
        /// The queue, by id.
        queue: String,
        /// What the customer is told; absent where no wait can be told.
        promise: Option<Promise>,
    },
    /// Routing: nobody can take it before a time.
    Defer {
        /// The queue, by id.
        queue: String,
        /// Why.
        why: Why,
        /// When it is tried again.
        until: Timestamp,
    },
    /// Routing: an agent is asked.
    Offer {
        /// The agent.
        agent: Id,
        /// Their name for customers.
        name: String,
        /// Until when they may accept.
        until: Timestamp,
    },
    /// Routing: the promised wait will not hold.
    Correct {
        /// What the customer is told in its place; absent where no wait can be told.
        promise: Option<Promise>,
    },
    /// Routing: nothing was heard of the agent for too long.
    Lose {
        /// The agent.
        agent: Id,
    },
    /// The agent takes it.
    Accept {
        /// The agent.
        agent: Id,
    },
    /// The agent does not take it.
    Decline {
        /// The agent.
        agent: Id,
    },
    /// The customer left.
    Leave,
    /// It is over.
    Resolve {
        /// The agent, where it was one.
        agent: Option<Id>,
        /// How it ended.
        disposition: Disposition,
    },
    /// The bot gets it back.
    Return {
        /// The agent, where it was one.
        agent: Option<Id>,
        /// What was decided, for the bot.
        note: Option<String>,
    },
    /// The bot suggests something to the agent, in a soft handoff.
    Suggest {
        /// What.
        text: String,
    },
    /// What the handoff was, told for measures and training.
    Label {
        /// Whether a person was needed.
        needed: Option<bool>,
        /// The intent that it was about.
        intent: Option<String>,
    },
}

impl Act {
    /// The word that stands in receipts and errors.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Queue { .. } => "handoff_queue",
            Self::Defer { .. } => "handoff_defer",
            Self::Offer { .. } => "handoff_offer",
            Self::Correct { .. } => "handoff_correct",
            Self::Lose { .. } => "handoff_lose",
            Self::Accept { .. } => "handoff_accept",
            Self::Decline { .. } => "handoff_decline",
            Self::Leave => "handoff_leave",
            Self::Resolve { .. } => "handoff_resolve",
            Self::Return { .. } => "handoff_return",
            Self::Suggest { .. } => "handoff_suggest",
            Self::Label { .. } => "handoff_label",
        }
    }

    /// The move that it is; `None` where it moves nothing.
    pub fn movement(&self) -> Option<Move> {
        match self {
            Self::Queue { .. } => Some(Move::Queue),
            Self::Defer { .. } => Some(Move::Defer),
            Self::Offer { .. } => Some(Move::Offer),
            Self::Lose { .. } => Some(Move::Lose),
            Self::Accept { .. } => Some(Move::Accept),
            Self::Decline { .. } => Some(Move::Decline),
            Self::Leave => Some(Move::Leave),
            Self::Resolve { .. } => Some(Move::Resolve),
            Self::Return { .. } => Some(Move::Return),
            Self::Correct { .. } | Self::Suggest { .. } | Self::Label { .. } => None,
        }
    }

    /// The agent who must be the one that is asked, or has it.
    fn agent(&self) -> Option<&Id> {
        match self {
            Self::Accept { agent } | Self::Decline { agent } | Self::Lose { agent } => Some(agent),
            Self::Resolve { agent, .. } | Self::Return { agent, .. } => agent.as_ref(),
            Self::Queue { .. }
            | Self::Defer { .. }
            | Self::Offer { .. }
            | Self::Correct { .. }
            | Self::Leave
            | Self::Suggest { .. }
            | Self::Label { .. } => None,
        }
    }
}

/// One handoff, as the conversation's state holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Where it stands.
    pub state: State,
    /// When it was asked for.
    pub requested: Timestamp,
    /// Since when it can be taken: when it was asked for, or when the queue that was closed then took it.
    pub waits_since: Timestamp,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When a timer moves it on.
    pub deadline: Timestamp,
    /// The queue of its trigger, by id.
    pub home: String,
    /// The queue that it waits in, by id.
    pub queue: String,
    /// The trigger that asked, by id.
    pub trigger: String,
    /// The message of the policy, by id.
    pub message: String,
    /// The trigger's category.
    pub category: String,
    /// The trigger's priority.
    pub priority: u8,
    /// What becomes of the bot.
    pub mode: Mode,
    /// The account's own agent, who goes first.
    pub named: Option<Id>,
    /// The agent who is asked, or has it.
    pub agent: Option<Id>,
    /// Their name for customers.
    pub agent_name: Option<String>,
    /// Agents who did not take it, and when; the latest.
    pub passed: Vec<(Id, Timestamp)>,
    /// How often an agent was asked.
    pub offers: u16,
    /// Why it is deferred.
    pub why: Option<Why>,
    /// What the customer was told last.
    pub promise: Option<Promise>,
    /// What the customer was told first.
    pub first_promise: Option<Promise>,
    /// How often that was corrected.
    pub corrections: u16,
    /// When the customer heard last.
    pub told: Option<Timestamp>,
    /// When a person took it, at last.
    pub accepted: Option<Timestamp>,
    /// How it ended.
    pub disposition: Option<Disposition>,
    /// Whether a person was needed, where somebody said so.
    pub needed: Option<bool>,
    /// The intent that it was about, where somebody said so.
    pub intent: Option<String>,
}

/// What the customer is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telling {
    /// The trigger that the handoff is by.
    pub trigger: String,
    /// The message of the policy.
    pub message: String,
    /// Where the handoff stands.
    pub situation: Situation,
    /// Seconds of the wait, where it is known.
    pub wait_secs: Option<u32>,
    /// Who is there now.
    pub agent: Option<String>,
    /// Whether the customer is to be asked for an e-mail address.
    pub ask_email: bool,
    /// Whether it takes back what was told before.
    pub correction: bool,
}

/// What the owner of a queue must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A conversation waits for a follow-up.
    FollowUpDue,
    /// Nobody followed up in time.
    FollowUpLapsed,
    /// Nothing is heard of the agent who had a conversation.
    AgentLost,
}

/// What the backend must do about a handoff, as the feed tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Duty {
    /// Let the bot make one more attempt.
    AskBot {
        /// The trigger that asks.
        trigger: String,
    },
    /// The bot says nothing more.
    StopBot,
    /// The bot speaks again.
    StartBot {
        /// What was decided meanwhile.
        note: Option<String>,
    },
    /// A handoff was decided.
    RequestHandoff {
        /// The queue.
        queue: String,
        /// The trigger.
        trigger: String,
    },
    /// Say this to the customer.
    TellCustomer(Telling),
    /// Show the agent the conversation, and let them accept or decline.
    OfferHandoff {
        /// The agent.
        agent: Id,
        /// The queue.
        queue: String,
        /// Until when.
        until: Timestamp,
    },
    /// The offer stands no more.
    WithdrawOffer {
        /// The agent.
        agent: Id,
    },
    /// The agent speaks from now on.
    ConnectAgent {
        /// The agent.
        agent: Id,
    },
    /// The agent speaks no more.
    ReleaseAgent {
        /// The agent.
        agent: Id,
    },
    /// Show the agent what the bot suggests; never the customer.
    Suggest {
        /// The agent.
        agent: Option<Id>,
        /// What.
        text: String,
    },
    /// Tell the owner of a queue.
    NotifyOwner {
        /// The queue.
        queue: String,
        /// What.
        notice: Notice,
    },
}

impl Duty {
    /// Whether a customer waits for it: then it is sent again, and an alarm stands, where nobody acknowledges it in time.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::TellCustomer(_) => true,
            Self::AskBot { .. }
            | Self::StopBot
            | Self::StartBot { .. }
            | Self::RequestHandoff { .. }
            | Self::OfferHandoff { .. }
            | Self::WithdrawOffer { .. }
            | Self::ConnectAgent { .. }
            | Self::ReleaseAgent { .. }
            | Self::Suggest { .. }
            | Self::NotifyOwner { .. } => false,
        }
    }
}

/// An act that does not go with where the handoff stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// Where it stands; `None` where none does.
    pub state: Option<State>,
    /// What was tried.
    pub act: &'static str,
    /// Why not.
    pub why: String,
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.act.trim_start_matches("handoff_"), self.why)?;
        match self.state {
            None => f.write_str("; no handoff stands"),
            Some(state) if state.is_open() => write!(f, "; the handoff is {}, allowed: {}", state.as_str(), state.moves().join(", ")),
            Some(state) => write!(f, "; the handoff is {}, allowed: nothing more", state.as_str()),
        }
    }
}

impl std::error::Error for Illegal {}

/// Whether an act goes with the conversation's handoff.
pub fn check(conversation: &Conversation, act: &Act) -> Result<(), Illegal> {
    let illegal = |life: Option<&Life>, why: &str| {
        let state = life.or(conversation.ended.as_ref()).map(|life| life.state);
        Err(Illegal { state, act: act.as_str(), why: why.to_owned() })
    };
    if matches!(act, Act::Label { .. }) {
        // A label comes after the end, mostly.
        let known = conversation.life.is_some() || conversation.ended.is_some();
        return if known { Ok(()) } else { illegal(None, "there is nothing to label") };
    }
    let Some(life) = &conversation.life else { return illegal(None, "not legal now") };
    match act.movement() {
        Some(what) if leads(life.state, what).is_none() => return illegal(Some(life), "not legal now"),
        Some(_) | None => {}
    }
    let person = matches!(life.state, State::Offered | State::Accepted);
    if let Some(agent) = act.agent()
        && person
        && life.agent.as_ref().is_some_and(|other| other != agent)
    {
        return illegal(Some(life), "another agent is asked or has it");
    }
    match act {
        Act::Suggest { .. } if life.mode == Mode::Hard => illegal(Some(life), "the bot has stopped, the handoff is hard"),
        Act::Suggest { .. } if life.state != State::Accepted => illegal(Some(life), "no person is there to read it"),
        Act::Correct { .. } if !matches!(life.state, State::Queued | State::Offered) => illegal(Some(life), "nothing was promised"),
        _ => Ok(()),
    }
}

impl Life {
    /// A handoff that was just decided, by a trigger of the policy.
    pub(super) fn requested(policy: &Policy, trigger: usize, conversation: &Conversation, now: Timestamp) -> Self {
        let rule = &policy.triggers[trigger];
        let queue = policy.queues[rule.queue].id.clone();
        let named = match conversation.facts.own(AGENT_FACT) {
            Some(Fact::Text(agent)) => Id::new(agent.as_str()).ok(),
            Some(Fact::Flag(_) | Fact::Number(_)) | None => None,
        };
        Self {
            state: State::Requested,
            requested: now,
            waits_since: now,
            since: now,
            deadline: now.plus(ACKNOWLEDGE),
            home: queue.clone(),
            queue,
            trigger: rule.id.clone(),
            message: policy.messages[rule.message].id.clone(),
            category: rule.category.clone(),
            priority: rule.priority,
            mode: rule.mode,
            named,
            agent: None,
            agent_name: None,
            passed: Vec::new(),
            offers: 0,
            why: None,
            promise: None,
            first_promise: None,
            corrections: 0,
            told: None,
            accepted: None,
            disposition: None,
            needed: None,
            intent: None,
        }
    }

    /// Takes a move of the table; `false` and nothing where it is not legal.
    fn go(&mut self, what: Move, now: Timestamp) -> bool {
        let Some(to) = leads(self.state, what) else { return false };
        (self.state, self.since) = (to, now);
        true
    }

    fn telling(&self, situation: Situation) -> Telling {
        Telling {
            trigger: self.trigger.clone(),
            message: self.message.clone(),
            situation,
            wait_secs: None,
            agent: None,
            ask_email: false,
            correction: false,
        }
    }

    fn tell(&mut self, telling: Telling, now: Timestamp, duties: &mut Vec<Duty>) {
        self.told = Some(now);
        duties.push(Duty::TellCustomer(telling));
    }

    /// Who is asked no more; they are skipped for a while.
    fn pass(&mut self, now: Timestamp) -> Option<Id> {
        self.agent_name = None;
        let agent = self.agent.take()?;
        self.passed.retain(|(other, _)| *other != agent);
        if self.passed.len() >= PASSED_MAX {
            self.passed.remove(0);
        }
        self.passed.push((agent.clone(), now));
        Some(agent)
    }

    /// When the customer must hear again while it waits: before the promise is broken, and never later than it is captured.
    fn waiting_deadline(&self, rules: &HandoffRules, now: Timestamp) -> Timestamp {
        let update = now.plus(secs(rules.update_secs));
        let promised = self.promise.map(|promise| promise.until()).filter(|until| *until > now).unwrap_or(update);
        promised.min(self.capture_at(rules))
    }

    /// When waiting in an open queue is over.
    fn capture_at(&self, rules: &HandoffRules) -> Timestamp {
        self.waits_since.plus(secs(rules.max_wait_secs))
    }

    /// When a conversation that a closed queue keeps is captured at the latest.
    fn give_up_at(&self, rules: &HandoffRules) -> Timestamp {
        match self.why {
            Some(Why::OffHours) => self.requested.plus(hours(rules.follow_up_hours)),
            Some(Why::AtCapacity) | None => self.capture_at(rules),
        }
    }

    /// Takes what the customer is promised.
    fn promise(&mut self, promise: Option<Promise>) {
        self.promise = promise;
        self.first_promise = self.first_promise.or(promise);
    }
}

fn secs(secs: u32) -> Duration {
    Duration::from_secs(u64::from(secs))
}

fn hours(hours: u32) -> Duration {
    Duration::from_secs(3600 * u64::from(hours))
}

fn whole_secs(span: Duration) -> u32 {
    u32::try_from(span.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Takes what a person or the routing did. What the table does not have changes nothing.
pub(super) fn act(policy: &Policy, conversation: &mut Conversation, act: &Act, now: Timestamp) -> Vec<Duty> {
    let mut duties = Vec::new();
    if check(conversation, act).is_err() {
        return duties;
    }
    if let Act::Label { needed, intent } = act {
        if let Some(life) = conversation.life.as_mut().or(conversation.ended.as_mut()) {
            life.needed = needed.or(life.needed);
            life.intent = intent.clone().or(life.intent.take());
        }
        return duties;
    }
    let ask_email = conversation.facts.own(EMAIL_FACT).is_none();
    let Some(life) = &mut conversation.life else { return duties };
    let rules = &policy.handoff;
    let before = life.state;
    if let Some(what) = act.movement()
        && !life.go(what, now)
    {
        return duties;
    }
    match act {
        Act::Queue { queue, promise } => {
            if life.why == Some(Why::OffHours) {
                life.waits_since = now;
            }
            let is_new = before != State::Queued || *promise != life.promise || life.told.is_none();
            let correction = life.told.is_some();
            life.why = None;
            life.queue.clone_from(queue);
            life.promise(*promise);
            if is_new {
                let wait_secs = promise.map(|promise| promise.wait.p90_secs);
                life.tell(Telling { wait_secs, correction, ..life.telling(Situation::Connecting) }, now, &mut duties);
            }
            life.deadline = life.waiting_deadline(rules, now);
        }
        Act::Defer { queue, why, until } => {
            let due = life.told.is_none_or(|told| told.plus(REMIND) <= now);
            let is_new = before != State::Deferred || life.why != Some(*why) || due;
            let correction = life.told.is_some();
            life.queue.clone_from(queue);
            life.why = Some(*why);
            life.promise = None;
            if is_new {
                let wait_secs = (*why == Why::OffHours).then(|| whole_secs(until.since(now)));
                life.tell(Telling { wait_secs, ask_email, correction, ..life.telling(why.situation()) }, now, &mut duties);
            }
            life.deadline = (*until).max(now).min(life.give_up_at(rules));
        }
        Act::Offer { agent, name, until } => {
            life.agent = Some(agent.clone());
            life.agent_name = Some(name.clone());
            life.offers = life.offers.saturating_add(1);
            life.deadline = *until;
            duties.push(Duty::OfferHandoff { agent: agent.clone(), queue: life.queue.clone(), until: *until });
        }
        Act::Correct { promise } => {
            life.promise(*promise);
            life.corrections = life.corrections.saturating_add(1);
            let wait_secs = promise.map(|promise| promise.wait.p90_secs);
            life.tell(Telling { wait_secs, correction: true, ..life.telling(Situation::Connecting) }, now, &mut duties);
            if life.state == State::Queued {
                life.deadline = life.waiting_deadline(rules, now);
            }
        }
        Act::Lose { agent } => {
            life.pass(now);
            life.promise = None;
            conversation.takeovers = conversation.takeovers.saturating_add(1);
            // The wait begins anew, and with it the time after which it is captured.
            life.waits_since = now;
            life.deadline = life.waiting_deadline(rules, now);
            duties.push(Duty::ReleaseAgent { agent: agent.clone() });
            duties.push(Duty::NotifyOwner { queue: life.queue.clone(), notice: Notice::AgentLost });
            life.tell(Telling { correction: true, ..life.telling(Situation::Connecting) }, now, &mut duties);
        }
        Act::Accept { agent } => {
            life.accepted = Some(now);
            life.deadline = now.plus(hours(rules.quiet_hours));
            conversation.takeovers = conversation.takeovers.saturating_add(1);
            duties.push(Duty::ConnectAgent { agent: agent.clone() });
            let agent = life.agent_name.clone();
            life.tell(Telling { agent, ..life.telling(Situation::Connected) }, now, &mut duties);
        }
        Act::Decline { .. } => {
            life.pass(now);
            life.deadline = life.waiting_deadline(rules, now);
        }
        Act::Leave => {
            withdraw(life, before, &mut duties);
            life.deadline = now;
        }
        Act::Resolve { disposition, .. } => end(conversation, before, *disposition, None, &mut duties),
        Act::Return { note, .. } => end(conversation, before, Disposition::Returned, note.clone(), &mut duties),
        Act::Suggest { text } => duties.push(Duty::Suggest { agent: life.agent.clone(), text: text.clone() }),
        Act::Label { .. } => {}
    }
    duties
}

/// Who is asked is asked no more.
fn withdraw(life: &mut Life, before: State, duties: &mut Vec<Duty>) {
    life.agent_name = None;
    if let Some(agent) = life.agent.take().filter(|_| before == State::Offered) {
        duties.push(Duty::WithdrawOffer { agent });
    }
}

/// The handoff is over: the conversation is the bot's, with its counters cleared.
fn end(conversation: &mut Conversation, before: State, disposition: Disposition, note: Option<String>, duties: &mut Vec<Duty>) {
    let Some(mut life) = conversation.life.take() else { return };
    match (before, life.agent.clone()) {
        (State::Offered, Some(agent)) => duties.push(Duty::WithdrawOffer { agent }),
        (State::Accepted, Some(agent)) => duties.push(Duty::ReleaseAgent { agent }),
        _ => {}
    }
    life.disposition = Some(disposition);
    life.deadline = life.since;
    conversation.ended = Some(life);
    conversation.give_back();
    duties.push(Duty::StartBot { note });
}

/// The person handed back, however that was said.
pub(super) fn returned(conversation: &mut Conversation, now: Timestamp) -> Vec<Duty> {
    let mut duties = Vec::new();
    let before = conversation.life.as_ref().map(|life| life.state);
    match before {
        Some(before) if conversation.life.as_mut().is_some_and(|life| life.go(Move::Return, now)) => {
            end(conversation, before, Disposition::Returned, None, &mut duties);
        }
        Some(_) | None => {
            conversation.give_back();
            duties.push(Duty::StartBot { note: None });
        }
    }
    duties
}

/// Takes that time passed: whatever is at its deadline moves on.
pub(super) fn tick(policy: &Policy, conversation: &mut Conversation, now: Timestamp) -> Vec<Duty> {
    let mut duties = Vec::new();
    let ask_email = conversation.facts.own(EMAIL_FACT).is_none();
    let Some(life) = conversation.life.as_mut().filter(|life| now >= life.deadline) else { return duties };
    let rules = &policy.handoff;
    let before = life.state;
    match before {
        State::Requested | State::Queued | State::Deferred if now >= life.give_up_at(rules) => {
            life.go(Move::Capture, now);
            capture(life, rules, now, &mut duties);
            life.tell(Telling { ask_email, correction: true, ..life.telling(Situation::AtCapacity) }, now, &mut duties);
        }
        State::Requested | State::Queued => {
            let correction = life.told.is_some();
            life.promise = None;
            life.tell(Telling { correction, ..life.telling(Situation::Connecting) }, now, &mut duties);
            life.deadline = life.waiting_deadline(rules, now);
        }
        State::Deferred => {
            let situation = life.why.unwrap_or(Why::AtCapacity).situation();
            life.tell(Telling { ask_email, correction: true, ..life.telling(situation) }, now, &mut duties);
            life.deadline = now.plus(secs(rules.update_secs)).min(life.give_up_at(rules));
        }
        State::Offered => {
            life.go(Move::Decline, now);
            if let Some(agent) = life.pass(now) {
                duties.push(Duty::WithdrawOffer { agent });
            }
            life.deadline = life.waiting_deadline(rules, now);
        }
        State::Abandoned => {
            life.go(Move::Capture, now);
            capture(life, rules, now, &mut duties);
        }
        State::Accepted => {
            life.go(Move::Lapse, now);
            end(conversation, before, Disposition::Lapsed, None, &mut duties);
        }
        State::FollowUp => {
            duties.push(Duty::NotifyOwner { queue: life.queue.clone(), notice: Notice::FollowUpLapsed });
            life.go(Move::Lapse, now);
            end(conversation, before, Disposition::Lapsed, None, &mut duties);
        }
        // Over; only open ones are in a conversation's state.
        State::Resolved | State::Returned => {}
    }
    duties
}

/// It is kept for a follow-up, and the owner of the queue knows.
fn capture(life: &mut Life, rules: &HandoffRules, now: Timestamp, duties: &mut Vec<Duty>) {
    (life.promise, life.why) = (None, None);
    life.deadline = now.plus(hours(rules.follow_up_hours));
    duties.push(Duty::NotifyOwner { queue: life.queue.clone(), notice: Notice::FollowUpDue });
}

/// Takes a message that was said while the handoff stands.
pub(super) fn heard(policy: &Policy, conversation: &mut Conversation, speaker: Speaker, now: Timestamp) -> Vec<Duty> {
    let mut duties = Vec::new();
    let Some(life) = &mut conversation.life else { return duties };
    let rules = &policy.handoff;
    let before = life.state;
    match (speaker, before) {
        (Speaker::Customer, State::Abandoned | State::FollowUp) => {
            life.go(Move::Rejoin, now);
            (life.waits_since, life.told, life.promise, life.why) = (now, None, None, None);
            life.passed.clear();
            life.deadline = now.plus(ACKNOWLEDGE);
        }
        (Speaker::Customer, State::Queued | State::Offered | State::Deferred) if life.told.is_none_or(|told| told.plus(AGAIN) <= now) => {
            let situation = life.why.map_or(Situation::Connecting, Why::situation);
            let until = match life.why {
                Some(Why::OffHours) => Some(life.deadline),
                Some(Why::AtCapacity) => None,
                None => life.promise.map(|promise| promise.until()),
            };
            let wait_secs = until.filter(|until| *until > now).map(|until| whole_secs(until.since(now)));
            life.tell(Telling { wait_secs, ..life.telling(situation) }, now, &mut duties);
        }
        (Speaker::Customer | Speaker::Agent, State::Accepted) => life.deadline = now.plus(hours(rules.quiet_hours)),
        (Speaker::Agent, State::Requested | State::Queued | State::Offered | State::Deferred | State::Abandoned | State::FollowUp) => {
            // A person speaks whom this server did not ask: who takes over has it, whatever was planned.
            life.go(Move::TakeOver, now);
            withdraw(life, before, &mut duties);
            (life.accepted, life.why) = (Some(now), None);
            life.deadline = now.plus(hours(rules.quiet_hours));
            conversation.takeovers = conversation.takeovers.saturating_add(1);
        }
        (Speaker::Customer | Speaker::Bot | Speaker::Agent, _) => {}
    }
    duties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_open_state_can_end_and_a_closed_one_is_closed() {
        for state in State::ALL {
            assert_eq!(State::ALL.iter().filter(|other| other.as_str() == state.as_str()).count(), 1, "{state:?}");
            assert_eq!(STATES.iter().filter(|(other, owner, ..)| *other == state && *owner == state.owner()).count(), 1, "{state:?}");
            let leaves = MOVES.iter().filter(|(from, _, _)| *from == state).count();
            assert_eq!(leaves > 0, state.is_open(), "{state:?}");
            if state.is_open() {
                assert_eq!(leads(state, Move::Resolve), Some(State::Resolved), "{state:?}");
                assert_eq!(leads(state, Move::Return), Some(State::Returned), "{state:?}");
            }
        }
    }

    #[test]
    fn a_move_leads_to_one_state() {
        for (place, (from, what, _)) in MOVES.iter().enumerate() {
            assert!(MOVES[..place].iter().all(|(state, name, _)| state != from || name != what), "{from:?} {what:?}");
        }
        assert_eq!(leads(State::Accepted, Move::Accept), None);
        assert_eq!(leads(State::Offered, Move::Offer), None, "one agent at a time is asked");
    }

    #[test]
    fn an_illegal_act_names_where_it_stands_and_what_may_be_done() {
        let illegal = Illegal { state: Some(State::Deferred), act: "handoff_accept", why: "not legal now".to_owned() };
        let words = "accept: not legal now; the handoff is deferred, allowed: queue, defer, take_over, leave, capture, resolve, return";
        assert_eq!(illegal.to_string(), words);
    }
}
