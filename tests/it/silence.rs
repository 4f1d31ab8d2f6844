//! The customer is never met with silence, and never by two voices: random histories through the real `step` and the real routing, with the feed read as a
//! client reads it.
//!
//! A world is driven by one seed: customers who write and leave, a bot, agents who come and go, accept, decline and hand back, a store that fails, restarts from
//! what was stored, clocks that jump forward and back, and a client that stops reading for a while. After every step, and at every moment at which the daemon
//! would have woken meanwhile, what must hold is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use baton::handoff::conversation::{Claimant, Conversation, Owner};
use baton::handoff::feed::Feed;
use baton::handoff::input::{Body, Fact, Facts, Input};
use baton::handoff::lifecycle::{self, ACKNOWLEDGE, Act, Disposition, Duty, State};
use baton::handoff::observation::{Intents, LexicalFlags, MessageSignals, Observation, Vocabulary};
use baton::handoff::policy::Policy;
use baton::handoff::routing::{Desk, Presence, Profile};
use baton::handoff::step::step;
use baton::message::{Id, Speaker};
use baton::random::Random;
use baton::signal::Absence;
use baton::time::Timestamp;

use crate::routing::{Known, Model, agree};

/// Steps of a run of the tests.
const STEPS: usize = 100_000;
/// `cargo test --release --test it -- --ignored ten_million_steps --nocapture`; docs/figures.md has what it gave.
const MANY_STEPS: usize = 10_000_000;
/// Conversations that a world has in use.
const CONVERSATIONS: usize = 40;
const AGENTS: usize = 8;
/// A world is given up for a new one after so many steps, so that many beginnings are seen.
const WORLD_STEPS: usize = 5_000;
/// What a conversation is replayed from at a restart grows to this.
const ROWS_MAX: usize = 200;

pub(crate) const POLICY: &str = r#"
[handoff]
max_wait_secs = 7200
follow_up_hours = 30
quiet_hours = 6

[soft]
timeout_secs = 120

[[trigger]]
id = "person"
kind = "reactive"
basis = "keyword"
urgency = "immediate"
category = "talk_to_human"
priority = 60
when = 'says("person")'
queue = "day"
message = "generic"
mode = "soft"

[[trigger]]
id = "fraud"
kind = "proactive"
basis = "keyword"
urgency = "immediate"
category = "security"
priority = 95
when = 'says("fraud")'
queue = "night"
message = "generic"

[[trigger]]
id = "angry"
kind = "reactive"
basis = "keyword"
urgency = "soft"
category = "frustration"
priority = 20
when = 'says("angry")'
cooldown_turns = 1
queue = "day"
message = "generic"

[[queue]]
id = "day"
owner = "day-lead@example.com"
skills = { talk = 3 }
strategy = "skills_least_loaded"
fallback = "last"
relax_after_secs = 60
fallback_after_secs = 120
hours = { zone = "Europe/Berlin", weekly = { mon_fri = "08:00-20:00", sat = "10:00-14:00" }, exceptions = { "2026-12-24" = "08:00-12:00" } }

[[queue]]
id = "night"
owner = "night-lead@example.com"
skills = ["fraud"]
strategy = "round_robin"
fallback = "last"
waiting_max = 4
handling_secs = 120

[[queue]]
id = "last"
owner = "lead@example.com"
skills = []
strategy = "least_loaded"
fallback = "follow_up"
hours = { zone = "America/New_York", weekly = { daily = "06:00-23:00" } }

[[message]]
id = "generic"
acknowledge = "This is about {{ issue }}."
reassure = "A person takes over."
expect = "They answer within {{ wait }}."
expect_unknown_wait = "They answer soon."
"#;

pub(crate) fn policy() -> Policy {
    Policy::read("silence.toml", POLICY, &Vocabulary::default()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

pub(crate) fn id(text: impl Into<String>) -> Id {
    Id::new(text).unwrap()
}

/// A message without anything to it but its words.
pub(crate) fn observation(policy: &Policy, sequence: u32, speaker: Speaker, text: &str) -> Observation {
    let signals = MessageSignals {
        language_known: Ok(true),
        valence: Err(Absence::NotInModel),
        emotions: Ok(Vec::new()),
        intents: Ok(Intents { probabilities: Vec::new(), top: None, in_scope: None }),
        acts: Err(Absence::NotInModel),
        example_intents: Err(Absence::NotInModel),
        embedding: Err(Absence::NotInModel),
        lexical: LexicalFlags::default(),
    };
    Observation {
        id: id(format!("m{sequence}")),
        sequence,
        speaker,
        words: 4,
        signals: Ok(signals),
        says: if speaker == Speaker::Customer { policy.says(text) } else { Vec::new() },
        bot_confidence: None,
        proposal: false,
    }
}

/// A conversation with what it is decided again from.
struct Talk {
    now: Conversation,
    base: Conversation,
    rows: Vec<Input>,
}

/// One effect as the feed holds it.
struct Sent {
    duty: Duty,
    at: Timestamp,
}

pub(crate) struct World {
    policy: Policy,
    random: Random,
    now: Timestamp,
    talks: BTreeMap<Id, Talk>,
    /// Agents as they are stored: profile, presence and until when it counts; and when they were asked last since the start.
    agents: BTreeMap<Id, Known>,
    desk: Desk,
    feed: Feed,
    sent: BTreeMap<u64, Sent>,
    /// Effects that the client did.
    acknowledged: BTreeSet<u64>,
    client_reads: bool,
    /// Writes that fail from now on.
    failures: usize,
    /// Whether a write failed since the daemon woke last: it says so, and tries again a second later.
    store_alarm: bool,
    /// Offers since the start.
    offers: u64,
    /// When each customer heard last.
    heard: BTreeMap<Id, Timestamp>,
    counts: BTreeMap<&'static str, u64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let policy = policy();
        let mut world = Self {
            desk: Desk::new(&policy),
            policy,
            random: Random::new(seed),
            now: Timestamp::parse("2026-11-23T09:00:00Z").unwrap(),
            talks: BTreeMap::new(),
            agents: BTreeMap::new(),
            feed: Feed::default(),
            sent: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            client_reads: true,
            failures: 0,
            store_alarm: false,
            offers: 0,
            heard: BTreeMap::new(),
            counts: BTreeMap::new(),
        };
        for number in 0..AGENTS {
            world.put_agent(number);
        }
        world
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }

    fn put_agent(&mut self, number: usize) {
        let queues = [vec!["day"], vec!["night"], vec!["last"], vec!["day", "night"], vec!["day", "last"], vec!["day", "night", "last"]];
        let queues = queues[self.random.below(queues.len())].iter().map(|queue| (*queue).to_owned()).collect();
        let mut skills = BTreeMap::new();
        for skill in ["talk", "fraud"] {
            let level = self.random.below(6) as u8;
            if level > 0 {
                skills.insert(skill.to_owned(), level);
            }
        }
        let id = id(format!("agent-{number}"));
        let profile =
            Profile { id: id.clone(), name: format!("Agent {number}"), skills, queues, capacity: 1 + self.random.below(3) as u32 };
        profile.check(&self.policy).unwrap();
        let known =
            self.agents.get(&id).map_or((Presence::Offline, self.now, 0), |(_, presence, until, asked)| (*presence, *until, *asked));
        self.agents.insert(id, (profile.clone(), known.0, known.1, known.2));
        assert!(self.desk.put_agent(profile));
    }

    fn set_presence(&mut self, agent: &Id, presence: Presence, secs: u64) {
        let until = self.now.plus(Duration::from_secs(secs));
        if let Some(known) = self.agents.get_mut(agent) {
            (known.1, known.2) = (presence, until);
        }
        assert!(self.desk.set_presence(agent, presence, until, self.now));
    }

    /// One input from the decision to the feed; nothing where the store fails.
    fn deliver(&mut self, conversation: &Id, body: Body) -> bool {
        let base = || Conversation::new(conversation.clone());
        let talk = self.talks.entry(conversation.clone()).or_insert_with(|| Talk { now: base(), base: base(), rows: Vec::new() });
        if let Body::Handoff(act) = &body
            && lifecycle::check(&talk.now, act).is_err()
        {
            self.desk.note(&talk.now, self.now);
            return false;
        }
        if self.failures > 0 {
            self.failures -= 1;
            self.store_alarm = true;
            self.desk.note(&talk.now, self.now);
            return false;
        }
        let input = Input { at: self.now, body, customer: Vec::new() };
        let offers = matches!(input.body, Body::Handoff(Act::Offer { .. }));
        let before = talk.now.epoch();
        let owner = talk.now.owner();
        let done = step(&self.policy, talk.now.clone(), &input);
        assert!(done.conversation.epoch() >= before, "an epoch fell");
        assert_eq!(
            done.conversation.epoch() > before,
            done.conversation.owner() != owner,
            "an epoch without a change of the owner: {input:?}"
        );
        talk.now = done.conversation.clone();
        talk.rows.push(input);
        if talk.rows.len() > ROWS_MAX {
            talk.base = talk.now.clone();
            talk.rows.clear();
        }
        assert_eq!(talk.now.life.is_some(), talk.now.handoff.is_some());
        for duty in done.duties {
            let place = self.sent.last_key_value().map_or(1, |(place, _)| place + 1).max(self.feed.last() + 1);
            assert_eq!(self.feed.push(place, duty.is_urgent(), self.now), None);
            if matches!(duty, Duty::TellCustomer(_)) {
                self.heard.insert(conversation.clone(), done.receipt.at);
            }
            self.sent.insert(place, Sent { duty, at: self.now });
        }
        self.desk.note(&done.conversation, self.now);
        if offers {
            self.capacity_holds(&done.conversation);
        }
        true
    }

    /// Nobody is asked above their capacity.
    fn capacity_holds(&self, offered: &Conversation) {
        let agent = offered.life.as_ref().and_then(|life| life.agent.clone()).expect("who is offered has an agent");
        let has = |talk: &&Talk| talk.now.life.as_ref().is_some_and(|life| life.agent.as_ref() == Some(&agent));
        let held = self.talks.values().filter(has).count();
        let capacity = self.agents[&agent].0.capacity as usize;
        assert!(held <= capacity, "{agent} has {held}, at most {capacity}");
    }

    /// What the daemon does when it wakes.
    fn wake(&mut self) {
        self.store_alarm = false;
        for _ in 0..4 {
            let handling = self.policy.queues.iter().map(|queue| (queue.id.clone(), self.desk.handling(&queue.id).unwrap())).collect();
            let acts = self.desk.plan(self.now);
            let conversations = self.talks.values().map(|talk| &talk.now).collect();
            let model = Model { policy: &self.policy, agents: &self.agents, conversations, now: self.now, desk: &self.desk };
            agree(&model, &acts, &handling);
            let is_quiet = acts.is_empty();
            let planned: BTreeSet<&Id> = acts.iter().map(|(id, _)| id).collect();
            assert_eq!(planned.len(), acts.len(), "a conversation is planned twice");
            for (id, act) in acts {
                self.count(act.as_str());
                if let Act::Offer { agent, .. } = &act {
                    self.offers += 1;
                    self.agents.get_mut(agent).unwrap().3 = self.offers;
                }
                self.deliver(&id, Body::Handoff(act));
            }
            let timers = self.desk.timers(self.now, 1000);
            let is_quiet = is_quiet && timers.is_empty();
            for id in timers {
                self.count("timer");
                self.deliver(&id, Body::Timer);
            }
            if self.store_alarm || is_quiet {
                break;
            }
        }
        for place in self.desk.timers(self.now, 1000) {
            assert!(self.store_alarm, "{place} is overdue after the daemon woke");
        }
        let again = self.feed.overdue(self.now, 1000);
        if self.client_reads {
            self.read(again);
        }
    }

    /// The client does what the feed says, in order, and acknowledges it.
    fn read(&mut self, again: Vec<u64>) {
        let new = self.feed.after(0, usize::MAX);
        for place in new.into_iter().chain(again) {
            self.feed.acknowledge(place);
            self.acknowledged.insert(place);
        }
    }

    /// Lets time pass; the daemon wakes whenever it has something to do.
    fn pass(&mut self, span: Duration) {
        let end = self.now.plus(span);
        loop {
            let due = self.desk.next_due().filter(|due| *due > self.now).unwrap_or(end);
            // Where something is due and could not be done, it is tried again a second later.
            let stuck = self.store_alarm || self.desk.next_due().is_some_and(|due| due <= self.now && due > Timestamp::default());
            let next = if stuck { self.now.plus(Duration::from_secs(1)) } else { due };
            self.now = next.min(end);
            self.wake();
            self.holds();
            if self.now >= end {
                return;
            }
        }
    }

    /// Everything in memory is lost; what was stored decides again.
    fn restart(&mut self) {
        for talk in self.talks.values_mut() {
            let mut again = talk.base.clone();
            for row in &talk.rows {
                again = step(&self.policy, again, row).conversation;
            }
            assert_eq!(again, talk.now, "what is stored decides otherwise");
        }
        self.desk = Desk::new(&self.policy);
        self.offers = 0;
        for (id, (profile, presence, until, asked)) in &mut self.agents {
            *asked = 0;
            let (id, profile, presence, until) = (id.clone(), profile.clone(), *presence, *until);
            self.desk.put_agent(profile);
            self.desk.set_presence(&id, presence, until, self.now);
        }
        for talk in self.talks.values() {
            self.desk.note(&talk.now, self.now);
        }
        self.feed = Feed::default();
        for (place, sent) in &self.sent {
            if !self.acknowledged.contains(place) {
                self.feed.push(*place, sent.duty.is_urgent(), sent.at);
            }
        }
    }

    /// What must hold at every moment.
    fn holds(&mut self) {
        let now = self.now;
        let mut held: BTreeMap<Id, usize> = BTreeMap::new();
        for (id, talk) in &self.talks {
            let conversation = &talk.now;
            self.one_may_speak(conversation);
            let Some(life) = &conversation.life else { continue };
            if let Some(agent) = &life.agent {
                assert!(matches!(life.state, State::Offered | State::Accepted), "{id}: {:?} has an agent", life.state);
                *held.entry(agent.clone()).or_default() += 1;
            }
            assert!(life.deadline > now || self.store_alarm, "{id}: {:?} is over its deadline", life.state);
            // The customer hears within five seconds of the request, or of coming back.
            let gone = matches!(life.state, State::Abandoned | State::FollowUp) || life.accepted.is_some();
            let heard = self.heard.get(id).is_some_and(|heard| *heard >= life.requested);
            assert!(heard || life.told.is_none(), "{id}: what was told never reached the feed");
            if !heard && !gone {
                assert!(now < life.waits_since.plus(ACKNOWLEDGE) || self.store_alarm, "{id}: nothing was said since {}", life.waits_since);
            }
        }
        for (agent, held) in held {
            assert_eq!(self.desk.agent(&agent, now).map(|status| status.held), Some(held), "the desk's count of {agent}");
        }
        // As the client sees it: what it did not acknowledge within five seconds stands as an alarm.
        let late = self
            .sent
            .iter()
            .rev()
            .take(2_000)
            .any(|(place, sent)| sent.duty.is_urgent() && !self.acknowledged.contains(place) && sent.at.plus(ACKNOWLEDGE) <= now);
        assert!(!late || self.feed.alarms(now) > 0, "a message nobody acknowledged, and no alarm");
    }

    /// Of the bot and all agents exactly one may speak, or nobody while the feed speaks.
    fn one_may_speak(&self, conversation: &Conversation) {
        let agents = self.agents.keys().map(|agent| Claimant::Agent(agent.clone()));
        let may = agents.chain([Claimant::Bot]).filter(|claimant| conversation.may_speak(claimant)).count();
        let known = conversation.life.as_ref().is_none_or(|life| life.agent.is_some() || life.state != State::Accepted);
        match conversation.owner() {
            Owner::Nobody => assert_eq!(may, 0),
            Owner::Bot | Owner::Person if known => assert_eq!(may, 1, "{:?}", conversation.life),
            Owner::Bot | Owner::Person => {}
        }
    }

    fn any(&mut self, wanted: impl Fn(&Conversation) -> bool) -> Option<Id> {
        let ids: Vec<Id> = self.talks.values().filter(|talk| wanted(&talk.now)).map(|talk| talk.now.id.clone()).collect();
        if ids.is_empty() { None } else { Some(ids[self.random.below(ids.len())].clone()) }
    }

    fn in_state(&mut self, states: &[State]) -> Option<Id> {
        self.any(|conversation| conversation.life.as_ref().is_some_and(|life| states.contains(&life.state)))
    }

    fn agent_of(&self, conversation: &Id) -> Option<Id> {
        self.talks[conversation].now.life.as_ref()?.agent.clone()
    }

    fn says(&mut self, conversation: &Id, speaker: Speaker, text: &str) {
        let sequence = self.talks.get(conversation).map_or(0, |talk| talk.now.messages) + 1;
        let body = Body::Message(observation(&self.policy, sequence, speaker, text));
        self.deliver(conversation, body);
    }

    /// One thing happens.
    pub(crate) fn act(&mut self) {
        match self.random.below(100) {
            0..30 => {
                let conversation = id(format!("c-{}", self.random.below(CONVERSATIONS)));
                let texts = ["hello", "a person please", "this is fraud", "I am angry", "thanks", "angry again"];
                let text = texts[self.random.below(texts.len())];
                self.says(&conversation, Speaker::Customer, text);
            }
            30..38 => {
                if let Some(conversation) = self.any(|conversation| conversation.may_speak(&Claimant::Bot)) {
                    self.says(&conversation, Speaker::Bot, "let me see");
                }
            }
            38..50 => {
                if let Some(conversation) = self.in_state(&[State::Offered]) {
                    let right = self.agent_of(&conversation).unwrap();
                    let agent = if self.chance(90) { right } else { id("agent-0") };
                    let act = if self.chance(75) { Act::Accept { agent } } else { Act::Decline { agent } };
                    self.deliver(&conversation, Body::Handoff(act));
                }
            }
            50..58 => {
                if let Some(conversation) = self.in_state(&[State::Accepted]) {
                    let agent = self.agent_of(&conversation);
                    let act = if self.chance(70) {
                        Act::Resolve { agent, disposition: Disposition::Solved }
                    } else {
                        Act::Return { agent, note: Some("refund promised".to_owned()) }
                    };
                    self.deliver(&conversation, Body::Handoff(act));
                }
            }
            58..62 => {
                if let Some(conversation) = self.in_state(&[State::Accepted]) {
                    self.says(&conversation, Speaker::Agent, "I have a look");
                }
            }
            62..66 => {
                if let Some(conversation) = self.in_state(&[State::Queued, State::Offered, State::Deferred, State::Requested]) {
                    self.deliver(&conversation, Body::Handoff(Act::Leave));
                }
            }
            66..68 => {
                // Somebody speaks whom nobody asked.
                if let Some(conversation) = self.any(|conversation| conversation.life.is_some())
                    && self.chance(20)
                {
                    self.says(&conversation, Speaker::Agent, "hello");
                }
            }
            68..72 => {
                if let Some(conversation) = self.any(|conversation| conversation.life.is_some()) {
                    let agent = id("agent-1");
                    let acts = [
                        Act::Accept { agent: agent.clone() },
                        Act::Lose { agent },
                        Act::Suggest { text: "try this".to_owned() },
                        Act::Correct { promise: None },
                        Act::Label { needed: Some(true), intent: None },
                        Act::Return { agent: None, note: None },
                    ];
                    let act = acts[self.random.below(acts.len())].clone();
                    self.deliver(&conversation, Body::Handoff(act));
                }
            }
            72..86 => {
                let agent = id(format!("agent-{}", self.random.below(AGENTS)));
                let presences = [Presence::Online, Presence::Online, Presence::Online, Presence::Busy, Presence::Away, Presence::Offline];
                let presence = presences[self.random.below(presences.len())];
                let secs = 1 + self.random.below(900) as u64;
                self.set_presence(&agent, presence, secs);
            }
            86..87 => {
                let number = self.random.below(AGENTS);
                self.put_agent(number);
            }
            87..88 => {
                // The account has an agent of its own.
                let conversation = id(format!("c-{}", self.random.below(CONVERSATIONS)));
                let agent = Fact::Text(format!("agent-{}", self.random.below(AGENTS + 1)));
                let facts = Facts::default().with(lifecycle::AGENT_FACT, agent).unwrap();
                self.deliver(&conversation, Body::Facts(facts));
            }
            88..90 => self.failures = self.random.below(6),
            90..92 => {
                self.restart();
                self.count("restart");
            }
            92..95 => self.client_reads = self.chance(70),
            95..96 => {
                // The clock is put back.
                self.now = self.now.minus(Duration::from_secs(self.random.below(600) as u64));
            }
            _ => {
                let span = match self.random.below(100) {
                    0..60 => self.random.below(60),
                    60..90 => self.random.below(1800),
                    90..98 => self.random.below(4 * 3600),
                    _ => self.random.below(4 * 24 * 3600),
                };
                self.pass(Duration::from_secs(span as u64));
            }
        }
        let moment = Duration::from_millis(self.random.below(3_000) as u64);
        self.pass(moment);
        // What the client did long ago is of no more use.
        while self.sent.len() > 10_000 {
            let oldest = *self.sent.first_key_value().unwrap().0;
            if !self.acknowledged.remove(&oldest) {
                break;
            }
            self.sent.remove(&oldest);
        }
    }

    /// Nobody does anything any more: every handoff ends by itself.
    fn ends(&mut self) {
        (self.failures, self.client_reads) = (0, true);
        self.pass(Duration::from_secs(10 * 24 * 3600));
        for talk in self.talks.values() {
            assert!(talk.now.life.is_none(), "{}: {:?} never ends", talk.now.id, talk.now.life);
            assert_eq!(talk.now.owner(), Owner::Bot);
        }
        assert_eq!((self.desk.open(), self.feed.alarms(self.now)), (0, 0));
    }
}

#[expect(clippy::print_stdout, reason = "a failure is found again by its seed")]
fn run(seed: u64, steps: usize) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut left = steps;
    let mut world_seed = seed;
    while left > 0 {
        println!("world {world_seed} of seed {seed}");
        let mut world = World::new(world_seed);
        for _ in 0..left.min(WORLD_STEPS) {
            world.act();
        }
        world.ends();
        left -= left.min(WORLD_STEPS);
        world_seed = world_seed.wrapping_add(1);
        for (what, count) in world.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    counts
}

#[test]
fn no_customer_is_met_with_silence_or_by_two_voices() {
    let counts = run(1, STEPS);
    println!("{counts:?}");
    for what in ["handoff_queue", "handoff_defer", "handoff_offer", "handoff_correct", "handoff_lose", "timer", "restart"] {
        assert!(counts.get(what).is_some_and(|count| *count > 50), "{what} hardly ever happened: {counts:?}");
    }
}

#[test]
#[ignore = "the long form: minutes"]
fn ten_million_steps() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = |thread: usize| run(1_000_000 * (thread as u64 + 1), MANY_STEPS / threads);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        all.into_iter().for_each(|counts| println!("{:?}", counts.join().unwrap()));
    });
}
