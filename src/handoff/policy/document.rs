//! A policy as a document: by urgency, each trigger in words with its kind, basis, queue, owner, fallback and message.

use std::fmt::Write;
use std::time::Duration;

use super::{Mode, Pilot, Policy, Queue, Skill, Strategy, Trigger, Urgency};
use crate::handoff::expression::check::written;
use crate::handoff::expression::names::{NAMES, Source};
use crate::handoff::expression::{Expression, Node, Operand};
use crate::handoff::hours::{Hours, MinuteSpan};
use crate::handoff::receipt::operand_words;
use crate::time;

/// The policy as Markdown.
pub fn document(policy: &Policy) -> String {
    let mut text = String::new();
    put(&mut text, "# When a person takes over");
    put(&mut text, "");
    put(&mut text, &format!("Policy {}, {} triggers, {} queues.", policy.digest.short(), policy.triggers.len(), policy.queues.len()));
    let soft = &policy.soft;
    for (urgency, title, about) in [
        (Urgency::Immediate, "Immediate", "A person takes over at once.".to_owned()),
        (
            Urgency::Soft,
            "Soft",
            format!(
                "The bot makes one more attempt. A person takes over when the customer rejects it, is still unhappy, or has said neither in {} answers, or after {}. After {} attempts in a conversation, a person takes over at once.",
                soft.turns,
                span(soft.timeout_secs),
                soft.attempts
            ),
        ),
    ] {
        let mut places: Vec<usize> = (0..policy.triggers.len()).filter(|at| policy.triggers[*at].urgency == urgency).collect();
        places.sort_by_key(|at| policy.precedence(*at));
        if places.is_empty() {
            continue;
        }
        put(&mut text, "");
        put(&mut text, &format!("## {title}"));
        put(&mut text, "");
        put(&mut text, &format!("{about} Where several stand at once, the first of this list decides."));
        for at in places {
            trigger(&mut text, policy, &policy.triggers[at]);
        }
    }
    queues(&mut text, policy);
    messages(&mut text, policy);
    intents(&mut text, policy);
    masking(&mut text, policy);
    text
}

fn put(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string does not fail");
}

fn trigger(text: &mut String, policy: &Policy, trigger: &Trigger) {
    put(text, "");
    put(text, &format!("### {}", trigger.id));
    put(text, "");
    if let Some(about) = &trigger.about {
        put(text, about);
        put(text, "");
    }
    let hold = match trigger.pace.hold_turns {
        1 => String::new(),
        turns => format!(", for {turns} messages of the customer in a row"),
    };
    put(text, &format!("- **When** {}{hold}.", condition(&trigger.when, policy)));
    let again = trigger.rearm.as_ref().map_or_else(|| "the condition no longer holds".to_owned(), |rearm| condition(rearm, policy));
    put(text, &format!("- **Again** after {} messages of the customer and once {again}.", trigger.pace.cooldown_turns));
    put(
        text,
        &format!(
            "- {}, by {}; category {}, priority {}.",
            capital(trigger.kind.as_str()),
            trigger.basis.as_str(),
            trigger.category,
            trigger.priority
        ),
    );
    let queue = &policy.queues[trigger.queue];
    put(text, &format!("- **Queue** {}, owner {}, then {}.", queue.id, queue.owner, fallbacks(policy, queue)));
    put(text, &format!("- **Message** {}.", policy.messages[trigger.message].id));
    if trigger.mode == Mode::Soft {
        put(text, "- The bot stays as the agent's assistant: what it suggests goes to the agent and never to the customer.");
    }
    if trigger.shadow {
        put(text, "- **Shadow**: it decides and is recorded, and nothing is done about it.");
    }
}

/// Where a conversation goes from a queue, to the end.
fn fallbacks(policy: &Policy, queue: &Queue) -> String {
    let start = policy.queues.iter().position(|other| other.id == queue.id);
    let chain = start.into_iter().flat_map(|start| policy.chain(start)).skip(1);
    let mut names: Vec<String> = chain.map(|next| policy.queues[next].id.clone()).collect();
    names.push("a follow-up later".to_owned());
    names.join(", then ")
}

fn queues(text: &mut String, policy: &Policy) {
    put(text, "");
    put(text, "## Queues");
    put(text, "");
    put(text, "| queue | owner | skills | chooses | then | hours |");
    put(text, "|---|---|---|---|---|---|");
    for queue in &policy.queues {
        let skills = if queue.skills.is_empty() { "any".to_owned() } else { joined(&queue.skills, skill) };
        let relaxed = queue.relax_after_secs.map_or_else(String::new, |secs| format!("; one level less every {}", span(secs)));
        let hours = queue.hours.as_ref().map_or_else(|| "always".to_owned(), hours_words);
        let (owner, chooses, then) = (cell(&queue.owner), chooses(queue), fallbacks(policy, queue));
        put(text, &format!("| {} | {owner} | {skills}{relaxed} | {chooses} | {then} | {hours} |", queue.id));
    }
    put(text, "");
    for queue in &policy.queues {
        put(
            text,
            &format!(
                "- {}: at most {} wait; the people of the fallback are asked as well after {}; a conversation takes {} until it is measured.",
                queue.id,
                queue.waiting_max,
                span(queue.fallback_after_secs),
                span(queue.handling_secs)
            ),
        );
    }
    handoff(text, policy);
}

fn joined<T>(items: &[T], words: impl Fn(&T) -> String) -> String {
    items.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn skill(skill: &Skill) -> String {
    if skill.level == 1 { skill.name.clone() } else { format!("{} from level {}", skill.name, skill.level) }
}

fn chooses(queue: &Queue) -> &'static str {
    match queue.strategy {
        Strategy::RoundRobin => "in turn",
        Strategy::Skills => "the most skilled",
        Strategy::LeastLoaded => "the least loaded",
        Strategy::SkillsLeastLoaded => "the least loaded, then the most skilled",
    }
}

fn span(secs: u32) -> String {
    time::in_words(Duration::from_secs(u64::from(secs)))
}

/// The life of a handoff in the policy's own times, and where the policy acts at all.
fn handoff(text: &mut String, policy: &Policy) {
    let rules = &policy.handoff;
    put(text, "");
    put(text, "## From request to person");
    put(text, "");
    for line in [
        format!("An agent has {} to accept; then the next one is asked.", span(rules.offer_secs)),
        format!(
            "The customer hears again before a promised wait is over, and every {} where none could be promised.",
            span(rules.update_secs)
        ),
        format!(
            "After {} of waiting in an open queue a conversation is captured for a follow-up, which is due within {} hours.",
            span(rules.max_wait_secs),
            rules.follow_up_hours
        ),
        format!("An agent of whom nothing is heard for {} loses the conversation to the queue.", span(rules.lease_secs)),
        format!("A conversation that a person has is over after {} hours without a message.", rules.quiet_hours),
        format!("One point of priority is worth {} of waiting.", span(rules.ageing_secs)),
    ] {
        put(text, &format!("- {line}"));
    }
    let pilot = &policy.pilot;
    if pilot.share < Pilot::ALL {
        put(text, "");
        put(text, "## Pilot");
        put(text, "");
        let always = if pilot.always.is_empty() { "nothing".to_owned() } else { pilot.always.join(", ") };
        let share = f64::from(pilot.share) / 100.0;
        put(
            text,
            &format!(
                "The policy acts on {share} % of the conversations; in the others it decides and is recorded. Everywhere it acts on: {always}."
            ),
        );
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

fn hours_words(hours: &Hours) -> String {
    let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    let spans = |spans: &[MinuteSpan]| {
        spans.iter().map(|(from, to)| format!("{}\u{2013}{}", clock(*from), clock(*to))).collect::<Vec<_>>().join(" and ")
    };
    // Days in a row with the same hours are told together.
    let mut shown: Vec<String> = Vec::new();
    let mut day = 0;
    while day < 7 {
        let last = (day..7).take_while(|other| hours.week[*other] == hours.week[day]).last().unwrap_or(day);
        if !hours.week[day].is_empty() {
            let days = if last == day { DAYS[day].to_owned() } else { format!("{}\u{2013}{}", DAYS[day], DAYS[last]) };
            shown.push(format!("{days} {}", spans(&hours.week[day])));
        }
        day = last + 1;
    }
    let holidays = match hours.holidays.len() {
        0 => String::new(),
        1 => ", 1 holiday".to_owned(),
        many => format!(", {many} holidays"),
    };
    let exceptions = match hours.exceptions.len() {
        0 => String::new(),
        1 => ", 1 day with other hours".to_owned(),
        many => format!(", {many} days with other hours"),
    };
    format!("{} ({}{holidays}{exceptions})", shown.join(", "), hours.zone)
}

fn messages(text: &mut String, policy: &Policy) {
    put(text, "");
    put(text, "## Messages to the customer");
    for message in &policy.messages {
        put(text, "");
        put(text, &format!("### {}", message.id));
        put(text, "");
        put(text, &format!("> {} {} {}", message.acknowledge, message.reassure, message.expect));
        let variants = [
            ("While the wait is not known", &message.expect_unknown_wait),
            ("While the queue is closed", &message.expect_off_hours),
            ("While everyone is busy", &message.expect_at_capacity),
            ("When the person is there", &message.connected),
            ("Offered to the agent", &message.opening),
        ];
        for (when, variant) in variants.into_iter().filter_map(|(when, variant)| Some((when, variant.as_ref()?))) {
            put(text, ">");
            put(text, &format!("> {when}: {variant}"));
        }
    }
    let connected = &policy.words.connected;
    put(text, "");
    put(text, "### When the person is there");
    put(text, "");
    put(text, &format!("> {} {} {}", connected.acknowledge, connected.reassure, connected.expect));
    put(text, ">");
    put(text, &format!("> Offered to the agent: {}", policy.words.opening));
    if !policy.languages.is_empty() {
        let tags: Vec<&str> = policy.languages.iter().map(|language| language.words.tag.as_str()).collect();
        put(text, "");
        put(text, &format!("These are in {}; all of them are also written in {}.", policy.words.tag, tags.join(", ")));
    }
}

fn intents(text: &mut String, policy: &Policy) {
    if policy.intents.is_empty() {
        return;
    }
    put(text, "");
    put(text, "## Intents by example");
    put(text, "");
    for intent in &policy.intents {
        let examples: Vec<String> = intent.examples.iter().map(|example| format!("\u{201c}{}\u{201d}", cell(example))).collect();
        put(text, &format!("- {}: {}", intent.id, examples.join(", ")));
    }
}

fn masking(text: &mut String, policy: &Policy) {
    let options = [(policy.masking.email, "e-mail addresses"), (policy.masking.phone, "telephone numbers")];
    let those = |masked: bool| options.iter().filter(|option| option.0 == masked).map(|option| option.1).collect::<Vec<_>>();
    let always = ["card numbers", "IBANs", "national ids", "passwords and codes", "keys and tokens"];
    put(text, "");
    put(text, "## Masking");
    put(text, "");
    put(
        text,
        &format!("Masked before anything leaves the process: {}.", always.into_iter().chain(those(true)).collect::<Vec<_>>().join(", ")),
    );
    if !those(false).is_empty() {
        put(text, &format!("Left as they are: {}.", those(false).join(", ")));
    }
}

fn cell(value: &str) -> String {
    value.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A condition in words.
pub fn condition(expression: &Expression, policy: &Policy) -> String {
    words(&expression.root, expression, policy, Around::Nothing)
}

/// What a part of a condition stands in: it needs brackets inside another connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    Nothing,
    And,
    Or,
}

fn words(node: &Node, expression: &Expression, policy: &Policy, around: Around) -> String {
    let joined = |a: &Node, b: &Node, word: &str, own: Around| {
        let text = format!("{} {word} {}", words(a, expression, policy, own), words(b, expression, policy, own));
        if around == Around::Nothing || around == own { text } else { format!("({text})") }
    };
    match node {
        Node::Literal(value) => value.to_string(),
        Node::And(a, b) => joined(a, b, "and", Around::And),
        Node::Or(a, b) => joined(a, b, "or", Around::Or),
        Node::Not(inner) => match inner.as_ref() {
            Node::Comparison(_) => comparison(inner, expression, policy, false),
            other => format!("not ({})", words(other, expression, policy, Around::Nothing)),
        },
        Node::Comparison(_) => comparison(node, expression, policy, true),
    }
}

fn comparison(node: &Node, expression: &Expression, policy: &Policy, holds: bool) -> String {
    let Node::Comparison(index) = node else { unreachable!("only comparisons come here") };
    let compared = &expression.comparisons[*index];
    let left = operand_words(&compared.left, &policy.terms);
    match &compared.right {
        None if holds => left,
        None => format!("not {left}"),
        Some((operator, right)) => {
            let operator = if holds { *operator } else { operator.negated() };
            let right = match right {
                Operand::Text(word) => format!("\u{201c}{word}\u{201d}"),
                other => operand_words(other, &policy.terms),
            };
            format!("{left} {} {right}", operator.as_sign())
        }
    }
}

/// The names of conditions as Markdown tables, by source.
pub fn names() -> String {
    let mut text = String::new();
    put(&mut text, "# Names of conditions");
    for source in [Source::Message, Source::Conversation, Source::Bot, Source::Customer, Source::Facts] {
        put(&mut text, "");
        put(&mut text, &format!("## From {}", source.as_str()));
        put(&mut text, "");
        put(&mut text, "| name | gives | meaning |");
        put(&mut text, "|---|---|---|");
        for name in NAMES.iter().filter(|name| name.source == source) {
            put(&mut text, &format!("| `{}` | {} | {} |", written(name), name.result.words(), cell(name.meaning)));
        }
    }
    put(&mut text, "");
    put(
        &mut text,
        "Windows are `days(n)`, `hours(n)` and `minutes(n)`, up to 400 days; messages are 1 to 32; levels are numbers from -1 to 1. In a pattern `*` stands",
    );
    put(
        &mut text,
        "for any characters. Topics are `legal`, `privacy` and `security`; the other labels are those of the model, and of intents by example.",
    );
    put(&mut text, "");
    put(&mut text, "Operators: `<`, `<=`, `>`, `>=`, `==`, `!=`, `&&`, `||`, `!`, `+`, `-`, `*`, `/` (fractions: 3 / 2 is 1.5), brackets.");
    text
}
