//! Choosing an agent: `cargo bench --profile release --bench routing`.
//!
//! Expected: a queue of 100 has about 200 of 10,000 agents (each serves two on average); each is looked at once, some 30 ns for presence, room, skills and rank: 6 µs,
//! and 100 queues whose hours are looked at once, 2 µs. The aim is a 99th percentile of 0.2 ms, without the commit.
#![allow(missing_docs, reason = "the macros of criterion make functions without")]
#![allow(clippy::unwrap_used, reason = "a bench that meets the unexpected shall stop where it stands")]
#![allow(clippy::print_stdout, reason = "the percentiles are the result")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use baton::handoff::conversation::Conversation;
use baton::handoff::input::{Body, Input};
use baton::handoff::lifecycle::Act;
use baton::handoff::observation::{Intents, LexicalFlags, MessageSignals, Observation, Vocabulary};
use baton::handoff::policy::Policy;
use baton::handoff::routing::{Desk, Presence, Profile};
use baton::handoff::step::step;
use baton::message::{Id, Speaker};
use baton::random::Random;
use baton::service::clock::Stopwatch;
use baton::signal::Absence;
use baton::time::Timestamp;
use criterion::{Criterion, criterion_group, criterion_main};

const AGENTS: usize = 10_000;
const QUEUES: usize = 100;
const CHOICES: usize = 20_000;

fn policy() -> Policy {
    let mut text = String::new();
    for queue in 0..QUEUES {
        let _ = write!(
            text,
            "[[trigger]]\nid = \"t{queue}\"\nkind = \"reactive\"\nbasis = \"keyword\"\nurgency = \"immediate\"\ncategory = \"c\"\n\
             when = 'says(\"q{queue}\")'\nqueue = \"q{queue}\"\nmessage = \"m\"\n\
             [[queue]]\nid = \"q{queue}\"\nowner = \"o\"\nskills = {{ talk = 3, trade = 2 }}\nstrategy = \"skills_least_loaded\"\nfallback = \"follow_up\"\n\
             hours = {{ zone = \"Europe/Berlin\", weekly = {{ mon_fri = \"08:00-20:00\" }} }}\n"
        );
    }
    text += "[[message]]\nid = \"m\"\nacknowledge = \"a\"\nreassure = \"b\"\nexpect = \"c\"\n";
    Policy::read("bench", &text, &Vocabulary::default()).unwrap()
}

fn said(policy: &Policy, text: &str) -> Body {
    Body::Message(Observation {
        id: Id::new("m1").unwrap(),
        sequence: 1,
        speaker: Speaker::Customer,
        words: 1,
        signals: Ok(MessageSignals {
            language_known: Ok(true),
            valence: Err(Absence::NotInModel),
            emotions: Ok(Vec::new()),
            intents: Ok(Intents { probabilities: Vec::new(), top: None, in_scope: None }),
            acts: Err(Absence::NotInModel),
            example_intents: Err(Absence::NotInModel),
            embedding: Err(Absence::NotInModel),
            lexical: LexicalFlags::default(),
        }),
        says: policy.says(text),
        bot_confidence: None,
        proposal: false,
    })
}

/// A desk at ten in the morning, with one conversation that waits in each queue.
fn desk(now: Timestamp) -> (Desk, Vec<Id>) {
    let policy = policy();
    let mut random = Random::new(1);
    let mut desk = Desk::new(&policy);
    for agent in 0..AGENTS {
        let id = Id::new(format!("agent-{agent}")).unwrap();
        let queues = (0..1 + random.below(3)).map(|_| format!("q{}", random.below(QUEUES))).collect();
        let skills: BTreeMap<String, u8> =
            ["talk", "trade"].iter().map(|skill| ((*skill).to_owned(), 1 + random.below(10) as u8)).collect();
        desk.put_agent(Profile { id: id.clone(), name: "A".to_owned(), skills, queues, capacity: 3 });
        let presence = if random.below(10) < 9 { Presence::Online } else { Presence::Away };
        desk.set_presence(&id, presence, now.plus(Duration::from_secs(3600)), now);
    }
    let mut ids = Vec::new();
    for queue in 0..QUEUES {
        let id = Id::new(format!("c-{queue}")).unwrap();
        let input = |body| Input { at: now, body, customer: Vec::new() };
        let asked = step(&policy, Conversation::new(id.clone()), &input(said(&policy, &format!("q{queue}"))));
        let queued = Act::Queue { queue: format!("q{queue}"), promise: None };
        let waits = step(&policy, asked.conversation, &input(Body::Handoff(queued)));
        desk.note(&waits.conversation, now);
        ids.push(id);
    }
    (desk, ids)
}

fn choose(criterion: &mut Criterion) {
    let now = Timestamp::parse("2026-11-23T09:00:00Z").unwrap();
    let (desk, ids) = desk(now);
    let mut nanos: Vec<u128> = (0..CHOICES)
        .map(|n| {
            let watch = Stopwatch::start();
            assert!(black_box(desk.best(&ids[n % QUEUES], now)).is_some());
            watch.elapsed().as_nanos()
        })
        .collect();
    nanos.sort_unstable();
    let at = |share: usize| nanos[nanos.len() * share / 1000] as f64 / 1000.0;
    println!("choosing among {AGENTS} agents in {QUEUES} queues: p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs", at(500), at(990), at(999));
    let mut next = 0;
    criterion.bench_function("choose an agent among 10,000 in 100 queues", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % QUEUES;
            black_box(desk.best(&ids[next], now).is_some())
        });
    });
}

criterion_group!(benches, choose);
criterion_main!(benches);
