//! Who takes it: queues, agents, and the choice between them.
//!
//! A [`Desk`] knows the agents and every open handoff. In: what is known of an agent ([`Desk::put_agent`], [`Desk::set_presence`]), how a handoff stands
//! ([`Desk::note`]), and the time. Out: what routing wants to happen ([`Desk::plan`]), each as an [`Act`] for the conversation's journal. The desk is a view:
//! what counts is in the conversations, and a desk that is built again from them goes on where the old one was.
//!
//! Routing begins with the first agent: before one is known, whoever decides by this routes elsewhere, and a handoff stands as it was decided.
//!
//! Assignment is atomic: an agent is reserved in the desk before the offer is written down, and given back by [`Desk::note`] where it was not. Nobody is ever
//! reserved above capacity.
//!
//! | what | how |
//! |---|---|
//! | order of those who wait | when they came, less `ageing_secs` for each point of priority: who waits long enough goes before a later one of any priority |
//! | who can | online, room, serves the queue, has each skill at its level; `relax_after_secs` of waiting take a level off each |
//! | the account's own agent | goes first when online and free, whatever queue and skills |
//! | who among those who can | in turn; most skilled; least loaded for their capacity; least loaded, then most skilled; always who was asked longest ago, then by id |
//! | the fallback | each `fallback_after_secs` of waiting, the people of one more queue of the chain are asked as well, where those before have nobody |
//! | who declined, or did not answer | is not asked again for two minutes |
//!
//! Bounds: [`AGENTS_MAX`] agents; `waiting_max` conversations in a queue, beyond which a handoff is deferred; [`SCAN_MAX`] of a queue that are looked at where
//! nobody can take the first. Cannot fail.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conversation::Conversation;
use super::hours::Hours;
use super::lifecycle::{Act, Life, State, Why};
use super::policy::{HandoffRules, LEVEL_MAX, Policy, Queue, Strategy};
use super::wait::{Load, Overtakers, Promise, Wait, overtaken};
use crate::message::Id;
use crate::time::Timestamp;

/// Agents at most.
pub const AGENTS_MAX: usize = 100_000;
/// Queues, and skills, of one agent at most.
pub const AGENT_WORDS_MAX: usize = 64;
/// Conversations of one agent at the same time at most.
pub const CAPACITY_MAX: u32 = 100;
/// Conversations of a queue that are looked at where nobody can take the first.
pub const SCAN_MAX: usize = 64;
/// Who did not take a conversation is not asked for it again for this time.
const RETRY: Duration = Duration::from_secs(120);
/// While everyone is busy, it is tried again after this time at the latest.
const BUSY_RETRY: Duration = Duration::from_secs(300);
/// Conversations whose length makes the mean of a queue, and the fewest that do.
const HANDLED_MAX: usize = 200;
const HANDLED_MIN: usize = 8;
/// Conversations that came to a queue lately, by which it is known how many will: at most so many, of this time.
const COMERS_MAX: usize = 256;
const COMERS_WITHIN: Duration = Duration::from_secs(3600);
/// The rate of those who come is not measured over less.
const COMERS_SECS_MIN: f64 = 600.0;
/// A promise is corrected so long before it is broken: a tenth of it, within these.
const MARGIN_SECS: (u32, u32) = (5, 60);

/// Whether an agent takes conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Takes them.
    Online,
    /// Is there and takes no new ones.
    Busy,
    /// Is back soon.
    Away,
    /// Is not there.
    Offline,
}

/// An agent, as the operator describes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// By which the backend knows them.
    pub id: Id,
    /// Their name for customers.
    pub name: String,
    /// Level of each skill, 1 to [`LEVEL_MAX`].
    pub skills: BTreeMap<String, u8>,
    /// The queues that they serve, by id.
    pub queues: Vec<String>,
    /// Conversations at the same time; 0 takes none.
    pub capacity: u32,
}

/// Why a profile cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileFault {
    /// The field.
    pub field: &'static str,
    /// What was found and what was expected.
    pub what: String,
}

impl fmt::Display for ProfileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.what)
    }
}

impl std::error::Error for ProfileFault {}

impl Profile {
    /// Whether it can be taken under a policy.
    pub fn check(&self, policy: &Policy) -> Result<(), ProfileFault> {
        let fault = |field, what: String| Err(ProfileFault { field, what });
        if self.name.trim().is_empty() || self.name.len() > 256 {
            return fault("name", format!("found {} bytes, expected 1 to 256 with a name", self.name.len()));
        }
        if self.capacity > CAPACITY_MAX {
            return fault("capacity", format!("found {}, expected 0 to {CAPACITY_MAX}", self.capacity));
        }
        if self.skills.len() > AGENT_WORDS_MAX || self.queues.len() > AGENT_WORDS_MAX {
            let (field, found) =
                if self.skills.len() > AGENT_WORDS_MAX { ("skills", self.skills.len()) } else { ("queues", self.queues.len()) };
            return fault(field, format!("found {found}, expected at most {AGENT_WORDS_MAX}"));
        }
        if let Some((skill, level)) = self.skills.iter().find(|(_, level)| !(1..=LEVEL_MAX).contains(*level)) {
            return fault("skills", format!("found level {level} of {skill:?}, expected 1 to {LEVEL_MAX}"));
        }
        if let Some(queue) = self.queues.iter().find(|queue| !policy.queues.iter().any(|known| known.id == **queue)) {
            return fault("queues", format!("found {queue:?}, expected queues of the policy"));
        }
        Ok(())
    }
}

/// An agent as the desk knows them.
#[derive(Clone, Debug)]
struct Agent {
    profile: Profile,
    presence: Presence,
    /// Until when the presence counts.
    until: Timestamp,
    /// Since when they are offline, where they said so.
    left: Option<Timestamp>,
    /// Conversations that they are asked for or have.
    held: BTreeSet<Id>,
    /// When they were asked last, as a count of all offers.
    asked: u64,
}

impl Agent {
    fn is_there(&self, now: Timestamp) -> bool {
        self.until > now && matches!(self.presence, Presence::Online | Presence::Busy) && self.profile.capacity > 0
    }

    fn takes(&self, now: Timestamp) -> bool {
        self.until > now && self.presence == Presence::Online
    }

    fn room(&self) -> u32 {
        self.profile.capacity.saturating_sub(u32::try_from(self.held.len()).unwrap_or(u32::MAX))
    }

    /// Since when nothing is heard of them.
    fn gone(&self) -> Timestamp {
        self.left.map_or(self.until, |left| left.min(self.until))
    }
}

/// An agent in a queue.
#[derive(Clone, Debug)]
struct Member {
    agent: usize,
    /// Level of each skill of the queue, in its order; 0 where they lack it.
    levels: Vec<u8>,
    /// The share of their time that the queue gets, in hundredths.
    share: u32,
}

/// A queue with who serves it and who waits.
#[derive(Clone, Debug)]
struct Line {
    queue: Queue,
    /// Itself and its fallbacks.
    chain: Vec<usize>,
    members: Vec<Member>,
    waiting: BTreeSet<(i64, Id)>,
    /// Those deferred for want of room, by the queue of their trigger.
    full: BTreeSet<(i64, Id)>,
    /// How long the latest conversations took, in seconds.
    handled: VecDeque<u32>,
    handled_sum: u64,
    /// When the latest came whose trigger leads here, and with which priority.
    comers: VecDeque<(Timestamp, u8)>,
}

impl Line {
    fn is_open(&self, now: Timestamp) -> bool {
        self.queue.hours.as_ref().is_none_or(|hours| hours.is_open(now))
    }

    fn handling(&self) -> (u32, bool) {
        if self.handled.len() < HANDLED_MIN {
            return (self.queue.handling_secs, false);
        }
        let mean = self.handled_sum / self.handled.len() as u64;
        (u32::try_from(mean).unwrap_or(u32::MAX).max(1), true)
    }

    fn came(&mut self, at: Timestamp, priority: u8) {
        if self.comers.len() >= COMERS_MAX {
            self.comers.pop_front();
        }
        self.comers.push_back((at, priority));
    }

    fn handled(&mut self, took: Duration) {
        let secs = u32::try_from(took.as_secs()).unwrap_or(u32::MAX);
        if self.handled.len() >= HANDLED_MAX
            && let Some(oldest) = self.handled.pop_front()
        {
            self.handled_sum -= u64::from(oldest);
        }
        self.handled.push_back(secs);
        self.handled_sum += u64::from(secs);
    }
}

/// An open handoff as the desk knows it.
#[derive(Clone, Debug)]
struct Case {
    state: State,
    /// When a timer must be delivered.
    deadline: Timestamp,
    /// When the promise must be corrected.
    correct_at: Option<Timestamp>,
    waits_since: Timestamp,
    /// Its place in the order: the least goes first.
    key: i64,
    priority: u8,
    home: usize,
    queue: usize,
    named: Option<Id>,
    agent: Option<usize>,
    passed: Vec<(Id, Timestamp)>,
    why: Option<Why>,
    accepted: Option<Timestamp>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Desk {
    rules: HandoffRules,
    lines: Vec<Line>,
    by_queue: HashMap<String, usize>,
    agents: Vec<Agent>,
    by_agent: HashMap<Id, usize>,
    cases: HashMap<Id, Case>,
    /// When something must happen to a conversation.
    due: BTreeSet<(Timestamp, Id)>,
    due_of: HashMap<Id, Timestamp>,
    /// When an agent of whom nothing is heard loses what they have.
    leases: BTreeSet<(Timestamp, usize)>,
    lease_of: HashMap<usize, Timestamp>,
    offers: u64,
}

/// What routing wants, at most one act for each conversation.
#[derive(Default)]
struct Planned {
    acts: Vec<(Id, Act)>,
    ids: BTreeSet<Id>,
}

impl Planned {
    fn add(&mut self, id: &Id, act: impl FnOnce() -> Act) {
        if self.ids.insert(id.clone()) {
            self.acts.push((id.clone(), act()));
        }
    }
}

/// A queue at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Its id.
    pub id: String,
    /// Whether it is open.
    pub open: bool,
    /// When it opens next, where it is closed and ever does.
    pub opens: Option<Timestamp>,
    /// Conversations that wait.
    pub waiting: usize,
    /// Agents who are there.
    pub there: usize,
    /// Slots that are free.
    pub free: u32,
    /// The wait of who comes now at the lowest priority; absent where nobody takes any.
    pub wait: Option<Wait>,
}

/// What the desk knows of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentStatus {
    /// Whether they take conversations, after expiry.
    pub presence: Presence,
    /// Conversations that they are asked for or have.
    pub held: usize,
}

impl Desk {
    /// A desk without agents and handoffs.
    pub fn new(policy: &Policy) -> Self {
        let mut desk = Self {
            rules: policy.handoff,
            lines: Vec::new(),
            by_queue: HashMap::new(),
            agents: Vec::new(),
            by_agent: HashMap::new(),
            cases: HashMap::new(),
            due: BTreeSet::new(),
            due_of: HashMap::new(),
            leases: BTreeSet::new(),
            lease_of: HashMap::new(),
            offers: 0,
        };
        desk.use_policy(policy);
        desk
    }

    /// Goes on under another policy. What waits in a queue that is no more waits in the queue of its trigger, or in the first of the policy.
    pub fn use_policy(&mut self, policy: &Policy) {
        let old = std::mem::take(&mut self.lines);
        let name = |place: usize| old.get(place).map(|line| line.queue.id.as_str());
        let by_queue: HashMap<String, usize> = policy.queues.iter().enumerate().map(|(place, queue)| (queue.id.clone(), place)).collect();
        let moved = |place: usize| name(place).and_then(|id| by_queue.get(id)).copied();
        for case in self.cases.values_mut() {
            let home = moved(case.home).unwrap_or(0);
            (case.queue, case.home) = (moved(case.queue).unwrap_or(home), home);
        }
        let line = |(place, queue): (usize, &Queue)| {
            let before = old.iter().find(|line| line.queue.id == queue.id);
            Line {
                queue: queue.clone(),
                chain: policy.chain(place).collect(),
                members: Vec::new(),
                waiting: BTreeSet::new(),
                full: BTreeSet::new(),
                handled: before.map(|line| line.handled.clone()).unwrap_or_default(),
                handled_sum: before.map(|line| line.handled_sum).unwrap_or_default(),
                comers: before.map(|line| line.comers.clone()).unwrap_or_default(),
            }
        };
        self.lines = policy.queues.iter().enumerate().map(line).collect();
        (self.by_queue, self.rules) = (by_queue, policy.handoff);
        for agent in 0..self.agents.len() {
            self.join(agent);
        }
        let cases: Vec<Id> = self.cases.keys().cloned().collect();
        cases.iter().for_each(|id| self.place(id));
    }

    /// Takes an agent, or what changed of one; `false` where there are too many. Who is new is offline.
    pub fn put_agent(&mut self, profile: Profile) -> bool {
        let agent = match self.by_agent.get(&profile.id) {
            Some(agent) => *agent,
            None if self.agents.len() >= AGENTS_MAX => return false,
            None => {
                let agent = self.agents.len();
                self.by_agent.insert(profile.id.clone(), agent);
                let (presence, until) = (Presence::Offline, Timestamp::default());
                self.agents.push(Agent { profile: profile.clone(), presence, until, left: None, held: BTreeSet::new(), asked: 0 });
                agent
            }
        };
        self.agents[agent].profile = profile;
        self.lines.iter_mut().for_each(|line| line.members.retain(|member| member.agent != agent));
        self.join(agent);
        if self.agents.len() == 1 {
            // Routing begins: what stands is due.
            let cases: Vec<Id> = self.cases.keys().cloned().collect();
            cases.iter().for_each(|id| self.place(id));
        }
        true
    }

    /// Puts an agent into the queues that they serve.
    fn join(&mut self, agent: usize) {
        let profile = &self.agents[agent].profile;
        let mut places: Vec<usize> = profile.queues.iter().filter_map(|queue| self.by_queue.get(queue).copied()).collect();
        places.sort_unstable();
        places.dedup();
        let share = 100 / u32::try_from(places.len().max(1)).unwrap_or(100);
        for place in places {
            let line = &mut self.lines[place];
            let levels = line.queue.skills.iter().map(|skill| profile.skills.get(&skill.name).copied().unwrap_or(0)).collect();
            line.members.push(Member { agent, levels, share });
        }
    }

    /// What is known of an agent: profile, presence, and until when that counts.
    pub fn known(&self, agent: &Id) -> Option<(Profile, Presence, Timestamp)> {
        let agent = &self.agents[*self.by_agent.get(agent)?];
        Some((agent.profile.clone(), agent.presence, agent.until))
    }

    /// Whether an agent is known, or one more may be.
    pub fn has_room_for(&self, agent: &Id) -> bool {
        self.by_agent.contains_key(agent) || self.agents.len() < AGENTS_MAX
    }

    /// Lets a timer be delivered to a conversation of which nothing is known yet.
    pub fn look_at(&mut self, conversation: &Id, at: Timestamp) {
        self.set_due(conversation, Some(at));
    }

    /// Gives back what was reserved for a conversation whose offer could not be written down.
    pub fn release(&mut self, conversation: &Id) {
        let Some(case) = self.cases.get_mut(conversation).filter(|case| case.state == State::Queued) else { return };
        if let Some(agent) = case.agent.take() {
            self.agents[agent].held.remove(conversation);
        }
    }

    /// Takes an agent's presence, which counts until a time; `false` where the agent is not known.
    pub fn set_presence(&mut self, agent: &Id, presence: Presence, until: Timestamp, now: Timestamp) -> bool {
        let Some(agent) = self.by_agent.get(agent).copied() else { return false };
        let known = &mut self.agents[agent];
        known.left = match (presence, known.left) {
            (Presence::Offline, Some(left)) => Some(left),
            (Presence::Offline, None) => Some(now),
            (Presence::Online | Presence::Busy | Presence::Away, _) => None,
        };
        (known.presence, known.until) = (presence, until);
        self.lease(agent, now);
        true
    }

    /// Notes when an agent who has a conversation would lose it.
    fn lease(&mut self, agent: usize, now: Timestamp) {
        let has = self.agents[agent].held.iter().any(|id| self.cases.get(id).is_some_and(|case| case.state == State::Accepted));
        if let Some(before) = self.lease_of.remove(&agent) {
            self.leases.remove(&(before, agent));
        }
        if has {
            let end = self.agents[agent].gone().plus(secs(self.rules.lease_secs)).max(now);
            self.leases.insert((end, agent));
            self.lease_of.insert(agent, end);
        }
    }

    /// What is known of an agent.
    pub fn agent(&self, agent: &Id, now: Timestamp) -> Option<AgentStatus> {
        let agent = &self.agents[*self.by_agent.get(agent)?];
        let presence = if agent.until > now { agent.presence } else { Presence::Offline };
        Some(AgentStatus { presence, held: agent.held.len() })
    }

    /// Takes how a conversation stands now: its handoff, and when a timer must be delivered to it. Gives back what was reserved for it and is not its.
    pub fn note(&mut self, conversation: &Conversation, now: Timestamp) {
        let id = &conversation.id;
        let is_new = !self.cases.contains_key(id);
        self.forget(id, conversation.life.as_ref(), now);
        let Some(life) = &conversation.life else {
            self.set_due(id, conversation.timer());
            return;
        };
        let first = |id: &str| self.by_queue.get(id).copied();
        let home = first(&life.home).unwrap_or(0);
        let ageing = i64::from(life.priority) * i64::from(self.rules.ageing_secs) * 1000;
        let correct_at = life.promise.filter(|_| matches!(life.state, State::Queued | State::Offered)).map(|promise| {
            let (low, high) = MARGIN_SECS;
            promise.until().minus(secs((promise.wait.p90_secs / 10).clamp(low, high)))
        });
        let case = Case {
            state: life.state,
            deadline: life.deadline,
            correct_at,
            waits_since: life.waits_since,
            key: life.requested.millis() - ageing,
            priority: life.priority,
            home,
            queue: first(&life.queue).unwrap_or(home),
            named: life.named.clone(),
            agent: life.agent.as_ref().and_then(|agent| self.by_agent.get(agent)).copied(),
            passed: life.passed.clone(),
            why: life.why,
            accepted: life.accepted,
        };
        if is_new && life.state == State::Requested {
            self.lines[home].came(life.requested, life.priority);
        }
        self.cases.insert(id.clone(), case);
        self.place(id);
        if let Some(agent) = self.cases.get(id).and_then(|case| case.agent) {
            self.lease(agent, now);
        }
    }

    /// How long an agent had a conversation of a queue that has ended, the earliest end first: what [`Desk::handling`] rests on after a start.
    pub fn learn(&mut self, queue: &str, took: Duration) {
        if let Some(place) = self.by_queue.get(queue) {
            self.lines[*place].handled(took);
        }
    }

    /// Takes a handoff out of everything, and learns how long it took where a person had it.
    fn forget(&mut self, id: &Id, life: Option<&Life>, now: Timestamp) {
        let Some(case) = self.cases.remove(id) else { return };
        for line in [case.queue, case.home] {
            if let Some(line) = self.lines.get_mut(line) {
                line.waiting.remove(&(case.key, id.clone()));
                line.full.remove(&(case.key, id.clone()));
            }
        }
        let was = case.state == State::Accepted;
        if was
            && life.is_none()
            && let (Some(accepted), Some(line)) = (case.accepted, self.lines.get_mut(case.queue))
        {
            line.handled(now.since(accepted));
        }
        if let Some(agent) = case.agent {
            self.agents[agent].held.remove(id);
            if was {
                self.lease(agent, now);
            }
        }
    }

    /// Puts a handoff where its state says.
    fn place(&mut self, id: &Id) {
        let Some(case) = self.cases.get(id) else { return };
        let entry = (case.key, id.clone());
        match case.state {
            State::Queued => drop(self.lines[case.queue].waiting.insert(entry)),
            State::Deferred if case.why == Some(Why::AtCapacity) => drop(self.lines[case.home].full.insert(entry)),
            State::Requested
            | State::Offered
            | State::Accepted
            | State::Deferred
            | State::Abandoned
            | State::FollowUp
            | State::Resolved
            | State::Returned => {}
        }
        if let Some(agent) = case.agent {
            self.agents[agent].held.insert(id.clone());
        }
        let due = case.correct_at.map_or(case.deadline, |correct| correct.min(case.deadline));
        if !self.routes() {
            return self.set_due(id, None);
        }
        // What was just requested is due at once.
        let due = if case.state == State::Requested { Timestamp::default() } else { due };
        self.set_due(id, Some(due));
    }

    fn set_due(&mut self, id: &Id, due: Option<Timestamp>) {
        if let Some(before) = self.due_of.remove(id) {
            self.due.remove(&(before, id.clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, id.clone()));
            self.due_of.insert(id.clone(), due);
        }
    }

    /// When [`Desk::timers`] or [`Desk::plan`] have something to do at the latest.
    pub fn next_due(&self) -> Option<Timestamp> {
        let due = self.due.first().map(|(at, _)| *at);
        let lease = self.leases.first().map(|(at, _)| *at);
        due.into_iter().chain(lease).min()
    }

    /// Conversations to which a timer must be delivered, the longest due first; at most so many.
    pub fn timers(&self, now: Timestamp, limit: usize) -> Vec<Id> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id);
        let late = due.filter(|id| self.cases.get(id).is_none_or(|case| case.deadline <= now));
        late.take(limit).cloned().collect()
    }

    /// Whether agents are known, so that handoffs are routed here.
    pub fn routes(&self) -> bool {
        !self.agents.is_empty()
    }

    /// How many handoffs are open.
    pub fn open(&self) -> usize {
        self.cases.len()
    }

    /// What routing wants to happen now, in order: handoffs find their queue, promises are corrected, agents of whom nothing is heard lose what they have, and
    /// whoever can is asked. Agents are reserved; each act is to be written down and [noted](Desk::note), and what could not be is to be noted as it stands.
    pub fn plan(&mut self, now: Timestamp) -> Vec<(Id, Act)> {
        let mut planned = Planned::default();
        if !self.routes() {
            return planned.acts;
        }
        self.plan_leases(now, &mut planned);
        self.plan_lines(now, &mut planned);
        self.plan_due(now, &mut planned);
        self.plan_offers(now, &mut planned);
        planned.acts
    }

    /// What is due by its own time.
    fn plan_due(&mut self, now: Timestamp, planned: &mut Planned) {
        let due: Vec<Id> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect();
        for id in due {
            let Some(case) = self.cases.get(&id) else { continue };
            match case.state {
                State::Requested => planned.add(&id, || self.admit(&id, case, now)),
                State::Deferred if case.deadline <= now => planned.add(&id, || self.admit(&id, case, now)),
                State::Queued | State::Offered if case.correct_at.is_some_and(|at| at <= now) => {
                    let wait = self.wait(case.queue, case.key, case.priority, &id, now);
                    planned.add(&id, || Act::Correct { promise: wait.map(|wait| self.promise(wait, self.rules.update_secs, now)) });
                }
                State::Queued
                | State::Offered
                | State::Deferred
                | State::Accepted
                | State::Abandoned
                | State::FollowUp
                | State::Resolved
                | State::Returned => {}
            }
        }
    }

    fn plan_leases(&mut self, now: Timestamp, planned: &mut Planned) {
        while let Some((at, agent)) = self.leases.first().copied().filter(|(at, _)| *at <= now) {
            self.leases.remove(&(at, agent));
            self.lease_of.remove(&agent);
            let agent = &self.agents[agent];
            let accepted = agent.held.iter().filter(|id| self.cases.get(*id).is_some_and(|case| case.state == State::Accepted));
            accepted.for_each(|id| planned.add(id, || Act::Lose { agent: agent.profile.id.clone() }));
        }
    }

    /// Whoever waits where nobody works any more goes elsewhere; whoever found no room is placed where there is some.
    fn plan_lines(&self, now: Timestamp, planned: &mut Planned) {
        for place in 0..self.lines.len() {
            let line = &self.lines[place];
            if !line.waiting.is_empty() && !self.works(place, now) {
                let waiting = line.waiting.iter().filter_map(|(_, id)| Some((id, self.cases.get(id)?)));
                waiting.for_each(|(id, case)| planned.add(id, || self.admit(id, case, now)));
            }
            if !line.full.is_empty() && line.chain.iter().any(|place| self.works(*place, now)) {
                let full = line.full.iter().take(SCAN_MAX).filter_map(|(_, id)| Some((id, self.admit(id, self.cases.get(id)?, now))));
                full.filter(|(_, act)| matches!(act, Act::Queue { .. })).for_each(|(id, act)| planned.add(id, || act));
            }
        }
    }

    /// Asks agents, for who goes first over all queues.
    fn plan_offers(&mut self, now: Timestamp, planned: &mut Planned) {
        let open: Vec<bool> = self.lines.iter().map(|line| line.is_open(now)).collect();
        let free: Vec<bool> = (0..self.lines.len()).map(|place| open[place] && self.free(place, now) > 0).collect();
        let mut waiting: Vec<(i64, Id)> = Vec::new();
        for line in &self.lines {
            let served = line.chain.iter().any(|place| free[*place]);
            let named = || line.waiting.iter().filter(|(_, id)| self.cases.get(id).is_some_and(|case| case.named.is_some()));
            let entries: Vec<_> = if served { line.waiting.iter().take(SCAN_MAX).collect() } else { named().take(SCAN_MAX).collect() };
            waiting.extend(entries.into_iter().filter(|(_, id)| !planned.ids.contains(id)).cloned());
        }
        waiting.sort_unstable();
        for (_, id) in waiting {
            let Some(agent) = self.choose(&id, &open, now) else { continue };
            self.offers += 1;
            let known = &mut self.agents[agent];
            known.held.insert(id.clone());
            known.asked = self.offers;
            if let Some(case) = self.cases.get_mut(&id) {
                case.agent = Some(agent);
            }
            let (agent, name) = (known.profile.id.clone(), known.profile.name.clone());
            planned.add(&id, || Act::Offer { agent, name, until: now.plus(secs(self.rules.offer_secs)) });
        }
    }

    /// Who takes a conversation that waits, without writing it down: for measuring; [`Desk::plan`] reserves them.
    pub fn best(&self, id: &Id, now: Timestamp) -> Option<&Id> {
        let open: Vec<bool> = self.lines.iter().map(|line| line.is_open(now)).collect();
        self.choose(id, &open, now).map(|agent| &self.agents[agent].profile.id)
    }

    fn choose(&self, id: &Id, open: &[bool], now: Timestamp) -> Option<usize> {
        let case = self.cases.get(id)?;
        let passed = |agent: &Agent| case.passed.iter().any(|(other, at)| *other == agent.profile.id && at.plus(RETRY) > now);
        let can = |agent: &Agent| agent.takes(now) && agent.room() > 0 && !passed(agent);
        let named = case.named.as_ref().and_then(|named| self.by_agent.get(named)).copied();
        if let Some(named) = named.filter(|named| can(&self.agents[*named])) {
            return Some(named);
        }
        let waited = now.since(case.waits_since).as_secs();
        let line = self.lines.get(case.queue)?;
        let depth = usize::try_from(waited / u64::from(line.queue.fallback_after_secs.max(1))).unwrap_or(usize::MAX);
        let chain = line.chain.iter().take(depth.saturating_add(1)).filter(|place| open[**place]);
        chain.into_iter().find_map(|place| self.choose_of(&self.lines[*place], waited, can))
    }

    fn choose_of(&self, line: &Line, waited_secs: u64, can: impl Fn(&Agent) -> bool) -> Option<usize> {
        let relaxed = line.queue.relax_after_secs.map_or(0, |after| waited_secs / u64::from(after.max(1)));
        let relaxed = u8::try_from(relaxed).unwrap_or(u8::MAX);
        let required: Vec<u8> = line.queue.skills.iter().map(|skill| skill.level.saturating_sub(relaxed)).collect();
        let skilled = |member: &&Member| member.levels.iter().zip(&required).all(|(level, required)| level >= required);
        let able = line.members.iter().filter(skilled).filter(|member| can(&self.agents[member.agent]));
        able.min_by_key(|member| self.rank(line.queue.strategy, member)).map(|member| member.agent)
    }

    /// The least is asked.
    fn rank(&self, strategy: Strategy, member: &Member) -> (u64, u64, u64, &Id) {
        let agent = &self.agents[member.agent];
        let levels: u64 = member.levels.iter().map(|level| u64::from(*level)).sum();
        let unskilled = u64::MAX - levels;
        // In thousandths of the capacity; who is asked has room, so the capacity is none of 0.
        let load = 1000 * agent.held.len() as u64 / u64::from(agent.profile.capacity.max(1));
        let (first, second) = match strategy {
            Strategy::RoundRobin => (0, 0),
            Strategy::Skills => (unskilled, 0),
            Strategy::LeastLoaded => (load, 0),
            Strategy::SkillsLeastLoaded => (load, unskilled),
        };
        (first, second, agent.asked, &agent.profile.id)
    }

    /// Whether a queue is open and somebody is there.
    fn works(&self, place: usize, now: Timestamp) -> bool {
        let line = &self.lines[place];
        line.members.iter().any(|member| self.agents[member.agent].is_there(now)) && line.is_open(now)
    }

    /// Slots of a queue that are free.
    fn free(&self, place: usize, now: Timestamp) -> u32 {
        let takers = self.lines[place].members.iter().map(|member| &self.agents[member.agent]).filter(|agent| agent.takes(now));
        takers.map(Agent::room).sum()
    }

    /// Where a handoff goes: the first queue of the chain that works, has room, and whose wait ends before it closes; else nowhere for now.
    fn admit(&self, id: &Id, case: &Case, now: Timestamp) -> Act {
        let home = &self.lines[case.home];
        let works: Vec<usize> = home.chain.iter().copied().filter(|place| self.works(*place, now)).collect();
        for place in &works {
            let line = &self.lines[*place];
            if line.waiting.len() >= line.queue.waiting_max as usize {
                continue;
            }
            let wait = self.wait(*place, case.key, case.priority, id, now);
            let closes = line.queue.hours.as_ref().and_then(|hours: &Hours| hours.closes(now));
            let fits = wait.is_none_or(|wait| {
                wait.load.ends == 0
                    || (wait.p90_secs <= self.rules.max_wait_secs && closes.is_none_or(|closes| now.plus(secs(wait.p90_secs)) <= closes))
            });
            if fits {
                let promise = wait.map(|wait| self.promise(wait, self.rules.offer_secs, now));
                return Act::Queue { queue: line.queue.id.clone(), promise };
            }
        }
        let queue = home.queue.id.clone();
        // Closed, or closing before it would be this one's turn.
        let closed = home.queue.hours.as_ref().and_then(|hours| {
            let closes = hours.closes(now)?;
            let turn = self.wait(case.home, case.key, case.priority, id, now).map_or(now, |wait| now.plus(secs(wait.p90_secs)));
            if closes <= turn { hours.next_open(closes) } else { None }
        });
        match closed.filter(|_| !home.is_open(now) || works.contains(&case.home)) {
            Some(until) => Act::Defer { queue, why: Why::OffHours, until },
            None => Act::Defer { queue, why: Why::AtCapacity, until: now.plus(BUSY_RETRY) },
        }
    }

    fn promise(&self, wait: Wait, least_secs: u32, now: Timestamp) -> Promise {
        // Nobody answers within no time: who is asked has to accept.
        let wait = Wait { p90_secs: wait.p90_secs.max(least_secs), median_secs: wait.median_secs.max(least_secs / 3), ..wait };
        Promise { at: now, wait }
    }

    /// The wait of who stands at a place of a queue's order; `None` where nobody takes any.
    fn wait(&self, place: usize, key: i64, priority: u8, id: &Id, now: Timestamp) -> Option<Wait> {
        self.load(place, key, priority, Some(id), now).wait()
    }

    fn load(&self, place: usize, key: i64, priority: u8, id: Option<&Id>, now: Timestamp) -> Load {
        let line = &self.lines[place];
        let before = line
            .waiting
            .iter()
            .take_while(|(other, _)| *other <= key)
            .filter(|(other, name)| *other < key || id.is_none_or(|id| name < id));
        let ahead = u32::try_from(before.count()).unwrap_or(u32::MAX);
        let takers = line.members.iter().filter(|member| self.agents[member.agent].takes(now));
        let slots: u32 = takers.map(|member| self.agents[member.agent].profile.capacity * member.share).sum();
        let free = self.free(place, now);
        let ends = if ahead < free { 0 } else { ahead - free + 1 };
        let (handling_secs, measured) = line.handling();
        let gap_secs = f64::from(handling_secs) * 100.0 / f64::from(slots.max(1));
        let overtakers = if ends == 0 { 0 } else { overtaken(ends, gap_secs, &self.overtakers(place, priority, now)) };
        Load { ends: ends.saturating_add(overtakers), overtakers, slots_hundredths: slots, handling_secs, measured }
    }

    /// Seconds that a conversation of a queue takes, and whether that was measured.
    pub fn handling(&self, queue: &str) -> Option<(u32, bool)> {
        self.by_queue.get(queue).map(|place| self.lines[*place].handling())
    }

    /// The wait of who comes now with a priority; `None` where no such queue is, or nobody takes any.
    pub fn estimate(&self, queue: &str, priority: u8, now: Timestamp) -> Option<Wait> {
        let place = *self.by_queue.get(queue)?;
        let key = now.millis() - i64::from(priority) * i64::from(self.rules.ageing_secs) * 1000;
        self.load(place, key, priority, None, now).wait()
    }

    /// Who came to a queue lately with a higher priority, at which rate, and for how long they go before who comes with this one.
    fn overtakers(&self, place: usize, priority: u8, now: Timestamp) -> Vec<Overtakers> {
        let comers = &self.lines[place].comers;
        let oldest = now.minus(COMERS_WITHIN);
        let mut counts: BTreeMap<u8, u32> = BTreeMap::new();
        let lately = comers.iter().filter(|(at, _)| *at >= oldest && *at <= now);
        lately.filter(|(_, other)| *other > priority).for_each(|(_, other)| *counts.entry(*other).or_default() += 1);
        // Over the hour, or since the first of those that are known where these are fewer.
        let first = comers.front().map_or(now, |(at, _)| *at).max(oldest);
        let secs = now.since(first).as_secs_f64().max(COMERS_SECS_MIN);
        let ageing = f64::from(self.rules.ageing_secs);
        let others =
            |(other, count): (u8, u32)| Overtakers { rate: f64::from(count) / secs, advantage_secs: f64::from(other - priority) * ageing };
        counts.into_iter().map(others).collect()
    }

    /// The same by the queue's id: what is measured, for who computes a wait beside the desk.
    pub fn overtakers_of(&self, queue: &str, priority: u8, now: Timestamp) -> Vec<Overtakers> {
        self.by_queue.get(queue).map_or_else(Vec::new, |place| self.overtakers(*place, priority, now))
    }

    /// All queues as they stand, in the policy's order.
    pub fn queues(&self, now: Timestamp) -> Vec<QueueStatus> {
        let status = |(place, line): (usize, &Line)| {
            let open = line.is_open(now);
            QueueStatus {
                id: line.queue.id.clone(),
                open,
                opens: line.queue.hours.as_ref().filter(|_| !open).and_then(|hours| hours.next_open(now)),
                waiting: line.waiting.len(),
                there: line.members.iter().filter(|member| self.agents[member.agent].is_there(now)).count(),
                free: self.free(place, now),
                wait: self.estimate(&line.queue.id, 0, now).filter(|_| open),
            }
        };
        self.lines.iter().enumerate().map(status).collect()
    }
}

fn secs(secs: u32) -> Duration {
    Duration::from_secs(u64::from(secs))
}
