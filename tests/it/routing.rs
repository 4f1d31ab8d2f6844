//! Routing beside a model that is written down as plainly as the rules: no indexes, no reservations, everything looked at for every question. The random
//! histories of `silence.rs` ask both before each plan.

use std::collections::BTreeMap;
use std::time::Duration;

use baton::handoff::conversation::Conversation;
use baton::handoff::lifecycle::{Act, Life, State, Why};
use baton::handoff::policy::{Policy, Queue, Strategy};
use baton::handoff::routing::{Desk, Presence, Profile};
use baton::handoff::wait::{Load, Wait, overtaken};
use baton::message::Id;
use baton::time::Timestamp;

use crate::silence::{World, id, policy};

/// An agent as the model knows them: profile, presence, until when it counts, and at which of all offers they were asked last.
pub(crate) type Known = (Profile, Presence, Timestamp, u64);

/// All that routing may look at.
pub(crate) struct Model<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) agents: &'a BTreeMap<Id, Known>,
    pub(crate) conversations: Vec<&'a Conversation>,
    pub(crate) now: Timestamp,
    /// For what it measured of those who come.
    pub(crate) desk: &'a Desk,
}

impl Model<'_> {
    fn lives(&self) -> impl Iterator<Item = (&Id, &Life)> {
        self.conversations.iter().filter_map(|conversation| Some((&conversation.id, conversation.life.as_ref()?)))
    }

    fn queue(&self, id: &str) -> &Queue {
        self.policy.queues.iter().find(|queue| queue.id == id).unwrap()
    }

    fn chain(&self, id: &str) -> Vec<&Queue> {
        let place = self.policy.queues.iter().position(|queue| queue.id == id).unwrap();
        self.policy.chain(place).map(|place| &self.policy.queues[place]).collect()
    }

    fn is_open(&self, queue: &Queue) -> bool {
        queue.hours.as_ref().is_none_or(|hours| hours.is_open(self.now))
    }

    fn is_there(&self, agent: &Known) -> bool {
        let (profile, presence, until, _) = agent;
        profile.capacity > 0 && *until > self.now && [Presence::Online, Presence::Busy].contains(presence)
    }

    fn takes(&self, agent: &Known) -> bool {
        agent.1 == Presence::Online && agent.2 > self.now
    }

    fn works(&self, queue: &Queue) -> bool {
        self.is_open(queue) && self.agents.values().any(|agent| agent.0.queues.contains(&queue.id) && self.is_there(agent))
    }

    /// Conversations of an agent, and those that the plan gives them.
    fn held(&self, agent: &Id, given: &[(Id, Id)]) -> u32 {
        let has = self.lives().filter(|(_, life)| life.agent.as_ref() == Some(agent)).count();
        (has + given.iter().filter(|(_, other)| other == agent).count()) as u32
    }

    fn key(&self, life: &Life) -> i64 {
        life.requested.millis() - i64::from(life.priority) * i64::from(self.policy.handoff.ageing_secs) * 1000
    }

    /// What the plan offers, in its order, where `elsewhere` is what it wants of others.
    pub(crate) fn offers(&self, elsewhere: &[Id]) -> Vec<(Id, Id)> {
        let mut waiting: Vec<(&Id, &Life)> =
            self.lives().filter(|(id, life)| life.state == State::Queued && !elsewhere.contains(id)).collect();
        waiting.sort_by_key(|(id, life)| (self.key(life), *id));
        let mut given = Vec::new();
        let mut asked: BTreeMap<&Id, u64> = self.agents.iter().map(|(id, agent)| (id, agent.3)).collect();
        let mut offers = asked.values().max().copied().unwrap_or(0);
        for (id, life) in waiting {
            let Some(agent) = self.choose(life, &given, &asked) else { continue };
            offers += 1;
            asked.insert(agent, offers);
            given.push((id.clone(), agent.clone()));
        }
        given
    }

    fn choose(&self, life: &Life, given: &[(Id, Id)], asked: &BTreeMap<&Id, u64>) -> Option<&Id> {
        let room = |agent: &Known| agent.0.capacity > self.held(&agent.0.id, given);
        let passed = |agent: &Known| life.passed.iter().any(|(id, at)| *id == agent.0.id && at.plus(Duration::from_secs(120)) > self.now);
        let can = |agent: &&Known| self.takes(agent) && room(agent) && !passed(agent);
        if let Some(named) = life.named.as_ref().and_then(|named| self.agents.get(named)).filter(can) {
            return Some(&named.0.id);
        }
        let waited = self.now.since(life.waits_since).as_secs();
        let more = waited / u64::from(self.queue(&life.queue).fallback_after_secs);
        for queue in self.chain(&life.queue).into_iter().take(1 + more as usize).filter(|queue| self.is_open(queue)) {
            let relaxed = queue.relax_after_secs.map_or(0, |after| (waited / u64::from(after)).min(255) as u8);
            let level = |agent: &Known, skill: &str| agent.0.skills.get(skill).copied().unwrap_or(0);
            let skilled =
                |agent: &&Known| queue.skills.iter().all(|skill| level(agent, &skill.name) >= skill.level.saturating_sub(relaxed));
            let serves = |agent: &&Known| agent.0.queues.contains(&queue.id);
            let mut able: Vec<&Known> = self.agents.values().filter(serves).filter(skilled).filter(can).collect();
            able.sort_by(|a, b| {
                let load = |agent: &Known| 1000 * self.held(&agent.0.id, given) / agent.0.capacity;
                let levels = |agent: &Known| queue.skills.iter().map(|skill| u32::from(level(agent, &skill.name))).sum::<u32>();
                let by_load = load(a).cmp(&load(b));
                let by_skill = levels(b).cmp(&levels(a));
                let first = match queue.strategy {
                    Strategy::RoundRobin => std::cmp::Ordering::Equal,
                    Strategy::Skills => by_skill,
                    Strategy::LeastLoaded => by_load,
                    Strategy::SkillsLeastLoaded => by_load.then(by_skill),
                };
                first.then(asked[&a.0.id].cmp(&asked[&b.0.id])).then(a.0.id.cmp(&b.0.id))
            });
            if let Some(agent) = able.first() {
                return Some(&agent.0.id);
            }
        }
        None
    }

    fn wait(&self, queue: &Queue, id: &Id, life: &Life, handling: (u32, bool)) -> Option<Wait> {
        let before = |(other, there): &(&Id, &Life)| {
            there.state == State::Queued && there.queue == queue.id && (self.key(there), *other) < (self.key(life), id)
        };
        let ahead = self.lives().filter(before).count() as u32;
        let takers = self.agents.values().filter(|agent| agent.0.queues.contains(&queue.id) && self.takes(agent));
        let free: u32 = takers.clone().map(|agent| agent.0.capacity.saturating_sub(self.held(&agent.0.id, &[]))).sum();
        let slots: u32 = takers.map(|agent| agent.0.capacity * (100 / agent.0.queues.len() as u32)).sum();
        let ends = if ahead < free { 0 } else { ahead - free + 1 };
        let gap = f64::from(handling.0) * 100.0 / f64::from(slots.max(1));
        let others = self.desk.overtakers_of(&queue.id, life.priority, self.now);
        let overtakers = if ends == 0 { 0 } else { overtaken(ends, gap, &others) };
        Load { ends: ends + overtakers, overtakers, slots_hundredths: slots, handling_secs: handling.0, measured: handling.1 }.wait()
    }

    /// Where a handoff that has no place goes: a queue, or why it waits; `handling` as the desk measured it.
    pub(crate) fn place(&self, id: &Id, life: &Life, handling: &BTreeMap<String, (u32, bool)>) -> Result<String, Why> {
        let rules = &self.policy.handoff;
        let at = |wait: Option<Wait>| self.now.plus(Duration::from_secs(wait.map_or(0, |wait| u64::from(wait.p90_secs))));
        for queue in self.chain(&life.home).into_iter().filter(|queue| self.works(queue)) {
            let waiting = self.lives().filter(|(_, life)| life.state == State::Queued && life.queue == queue.id).count();
            if waiting >= queue.waiting_max as usize {
                continue;
            }
            let wait = self.wait(queue, id, life, handling[&queue.id]);
            let in_time = queue.hours.as_ref().and_then(|hours| hours.closes(self.now)).is_none_or(|closes| at(wait) <= closes);
            if wait.is_none_or(|wait| wait.load.ends == 0 || (wait.p90_secs <= rules.max_wait_secs && in_time)) {
                return Ok(queue.id.clone());
            }
        }
        let home = self.queue(&life.home);
        let Some(closes) = home.hours.as_ref().and_then(|hours| hours.closes(self.now)) else { return Err(Why::AtCapacity) };
        let over = closes <= at(self.wait(home, id, life, handling[&home.id]));
        if over && (!self.is_open(home) || self.works(home)) { Err(Why::OffHours) } else { Err(Why::AtCapacity) }
    }
}

/// Compares what the desk wants with the model.
pub(crate) fn agree(model: &Model<'_>, acts: &[(Id, Act)], handling: &BTreeMap<String, (u32, bool)>) {
    let elsewhere: Vec<Id> = acts.iter().filter(|(_, act)| !matches!(act, Act::Offer { .. })).map(|(id, _)| id.clone()).collect();
    let offered: Vec<(Id, Id)> = acts
        .iter()
        .filter_map(|(id, act)| if let Act::Offer { agent, .. } = act { Some((id.clone(), agent.clone())) } else { None })
        .collect();
    assert_eq!(model.offers(&elsewhere), offered, "at {}", model.now);
    for (id, life) in model.lives().filter(|(_, life)| life.state == State::Requested) {
        let found = acts.iter().find(|(other, _)| other == id).map(|(_, act)| act);
        let found = match found {
            Some(Act::Queue { queue, .. }) => Ok(queue.clone()),
            Some(Act::Defer { why, .. }) => Err(*why),
            other => panic!("{id}: {other:?}"),
        };
        assert_eq!(found, model.place(id, life, handling), "{id} at {}", model.now);
    }
    for status in model.desk.queues(model.now) {
        let waiting = model.lives().filter(|(_, life)| life.state == State::Queued && life.queue == status.id).count();
        assert_eq!(status.waiting, waiting, "{}", status.id);
    }
}

/// Short histories with many agents and no failures; the long ones are those of `silence.rs`.
#[test]
fn a_naive_model_chooses_the_same() {
    for seed in 0..20 {
        println!("seed {seed}");
        let mut world = World::new(90_000 + seed);
        (0..500).for_each(|_| world.act());
    }
}

fn profile(agent: &str, skills: &[(&str, u8)], capacity: u32) -> Profile {
    let skills = skills.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
    Profile { id: id(agent), name: agent.to_owned(), skills, queues: vec!["day".to_owned()], capacity }
}

#[test]
fn a_profile_is_checked_with_field_and_value() {
    let policy = policy();
    assert_eq!(profile("a", &[("talk", 3)], 3).check(&policy), Ok(()));
    for (wrong, expected) in [
        (Profile { name: " ".to_owned(), ..profile("a", &[], 1) }, "name: found 1 bytes, expected 1 to 256 with a name"),
        (profile("a", &[], 101), "capacity: found 101, expected 0 to 100"),
        (profile("a", &[("talk", 11)], 1), "skills: found level 11 of \"talk\", expected 1 to 10"),
        (
            Profile { queues: vec!["nowhere".to_owned()], ..profile("a", &[], 1) },
            "queues: found \"nowhere\", expected queues of the policy",
        ),
    ] {
        assert_eq!(wrong.check(&policy).unwrap_err().to_string(), expected);
    }
}
