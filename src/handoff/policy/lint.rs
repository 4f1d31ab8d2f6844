//! What is well-formed and still wrong: a condition that cannot hold, or always does; a trigger that another always goes before; fallbacks in a circle.
//!
//! A condition is brought into alternatives, each a set of comparisons that must all hold (disjunctive normal form, at most [`ALTERNATIVES_MAX`]; beyond it
//! nothing is said). A set is contradictory when some term is left without a value. That one trigger goes before another is the same question: the other's
//! condition and the opposite of the first's contradict each other.

use super::read::Placed;
use super::{Fallback, Policy, Urgency};
use crate::handoff::expression::names::{Argument, Term, TermKind, Type};
use crate::handoff::expression::{Compared, Expression, Node, Operand, Operator};

/// Most alternatives that a condition is brought into.
pub const ALTERNATIVES_MAX: usize = 256;

/// A comparison, and whether it must hold or must not.
type Literal<'a> = (&'a Compared, bool);

/// Most pairs of alternatives that are compared for one policy; beyond it nothing more is said of triggers that others go before.
const PAIRS_MAX: usize = 100_000;

/// The alternatives of one condition, and of its opposite; `None` where there are too many.
struct Alternatives<'a> {
    holds: Option<Vec<Vec<Literal<'a>>>>,
    fails: Option<Vec<Vec<Literal<'a>>>>,
}

/// Tells each fault with its place in the file.
pub(super) fn lint(placed: &Placed, fault: &mut dyn FnMut(usize, String)) {
    let policy = &placed.policy;
    let both = |when| Alternatives { holds: alternatives(when, true), fails: alternatives(when, false) };
    let all: Vec<Alternatives<'_>> = policy.triggers.iter().map(|trigger| both(&trigger.when)).collect();
    let mut pairs_left = PAIRS_MAX;
    for (place, trigger) in policy.triggers.iter().enumerate() {
        let name = format!("trigger {:?}", trigger.id);
        let impossible =
            |sets: &Option<Vec<Vec<Literal<'_>>>>| sets.as_ref().is_some_and(|all| all.iter().all(|set| contradictory(set, policy)));
        if impossible(&all[place].holds) {
            fault(placed.whens[place], format!("{name}.when: can never hold: its comparisons contradict each other"));
            continue;
        }
        if impossible(&all[place].fails) {
            fault(placed.whens[place], format!("{name}.when: always holds, whatever the customer writes"));
            continue;
        }
        if let Some((rearm, at)) = trigger.rearm.as_ref().zip(placed.rearms[place])
            && impossible(&alternatives(rearm, true))
        {
            fault(at, format!("{name}.rearm: can never hold, so the trigger fires once and never again; leave it out or mend it"));
        }
        if let Some(first) = shadowed_by(policy, &all, place, &mut pairs_left) {
            let first = &policy.triggers[first];
            let what = format!(
                "{name}.when: never decides: whenever it holds, trigger {:?} (line {}) holds as well and goes first",
                first.id, first.line
            );
            fault(placed.whens[place], what);
        }
    }
    for (place, queue) in policy.queues.iter().enumerate() {
        if let Some(circle) = circle(policy, place) {
            let names: Vec<&str> = circle.iter().map(|queue| policy.queues[*queue].id.as_str()).collect();
            // Told once, at the first queue of the circle in the file.
            if circle.iter().min() == Some(&place) {
                let what = format!(
                    "queue {:?}.fallback: the fallbacks go in a circle: {}; one of them must be \"follow_up\"",
                    queue.id,
                    names.join(" -> ")
                );
                fault(placed.fallbacks[place], what);
            }
        }
    }
    unused(placed, fault);
    without_effect(placed, fault);
}

/// What is set and can change nothing.
fn without_effect(placed: &Placed, fault: &mut dyn FnMut(usize, String)) {
    let policy = &placed.policy;
    for (place, queue) in policy.queues.iter().enumerate() {
        if queue.relax_after_secs.is_some() && queue.skills.is_empty() {
            fault(placed.queues[place], format!("queue {:?}: relax_after_secs relaxes nothing: the queue asks for no skills", queue.id));
        }
    }
    for category in &policy.pilot.always {
        if !policy.triggers.iter().any(|trigger| trigger.category == *category) {
            fault(placed.pilot, format!("pilot.always: no trigger has the category {category:?}"));
        }
    }
}

/// A queue that no trigger and no fallback leads to is a slip of the pen.
fn unused(placed: &Placed, fault: &mut dyn FnMut(usize, String)) {
    let policy = &placed.policy;
    for (place, queue) in policy.queues.iter().enumerate() {
        let by_trigger = policy.triggers.iter().any(|trigger| trigger.queue == place);
        let by_fallback = policy.queues.iter().enumerate().any(|(other, queue)| other != place && queue.fallback == Fallback::Queue(place));
        if !by_trigger && !by_fallback {
            fault(placed.queues[place], format!("queue {:?}: no trigger and no fallback leads to it", queue.id));
        }
    }
}

/// The queues of a circle of fallbacks that this queue is part of.
fn circle(policy: &Policy, start: usize) -> Option<Vec<usize>> {
    let mut path = vec![start];
    let mut at = start;
    while let Fallback::Queue(next) = policy.queues[at].fallback {
        path.push(next);
        if next == start {
            return Some(path);
        }
        if path.len() > policy.queues.len() {
            return None;
        }
        at = next;
    }
    None
}

/// A trigger that always fires when this one does, at the latest at the same message, and goes first. Only an immediate trigger: a soft one may be pending or
/// cool down while the other is armed.
fn shadowed_by(policy: &Policy, all: &[Alternatives<'_>], place: usize, pairs_left: &mut usize) -> Option<usize> {
    let trigger = &policy.triggers[place];
    let holds = all[place].holds.as_ref()?;
    (0..policy.triggers.len()).find(|other| {
        let first = &policy.triggers[*other];
        let goes_first = *other != place && policy.precedence(*other) < policy.precedence(place);
        if !goes_first || first.urgency != Urgency::Immediate || first.pace.hold_turns > trigger.pace.hold_turns {
            return false;
        }
        let Some(fails) = &all[*other].fails else { return false };
        holds.iter().all(|a| {
            fails.iter().all(|b| {
                *pairs_left = pairs_left.saturating_sub(1);
                *pairs_left > 0 && contradictory(&[a.as_slice(), b.as_slice()].concat(), policy)
            })
        })
    })
}

/// The sets of comparisons under which an expression has this truth; `None` where there are too many.
fn alternatives(expression: &Expression, truth: bool) -> Option<Vec<Vec<Literal<'_>>>> {
    sets(&expression.root, truth, &expression.comparisons)
}

fn sets<'a>(node: &Node, truth: bool, comparisons: &'a [Compared]) -> Option<Vec<Vec<Literal<'a>>>> {
    match node {
        Node::Literal(value) => Some(if *value == truth { vec![Vec::new()] } else { Vec::new() }),
        Node::Comparison(index) => Some(vec![vec![(&comparisons[*index], truth)]]),
        Node::Not(inner) => sets(inner, !truth, comparisons),
        Node::And(a, b) | Node::Or(a, b) => {
            let (a, b) = (sets(a, truth, comparisons)?, sets(b, truth, comparisons)?);
            // Both of an && that holds, or of an || that does not.
            let both = matches!(node, Node::And(..)) == truth;
            let count = if both { a.len().checked_mul(b.len())? } else { a.len() + b.len() };
            if count > ALTERNATIVES_MAX {
                return None;
            }
            Some(if both {
                a.iter().flat_map(|a| b.iter().map(move |b| [a.as_slice(), b.as_slice()].concat())).collect()
            } else {
                [a, b].concat()
            })
        }
    }
}

/// Whether some comparisons cannot all be as they must.
fn contradictory(literals: &[Literal<'_>], policy: &Policy) -> bool {
    literals.iter().enumerate().any(|(at, (a, a_holds))| {
        let rest = &literals[at + 1..];
        rest.iter().any(|(b, b_holds)| same(a, b) && a_holds != b_holds)
            || rest.iter().any(|(b, b_holds)| phrases_contradict((a, *a_holds), (b, *b_holds), policy))
    }) || compared_terms(literals).into_iter().any(|term| leaves_nothing(term, literals, policy))
}

/// The terms that are compared with something the policy writes.
fn compared_terms(literals: &[Literal<'_>]) -> Vec<usize> {
    let term = |compared: &Compared| if let Operand::Term(term) = compared.left { Some(term) } else { None };
    let mut terms: Vec<usize> = literals.iter().filter_map(|(compared, _)| term(compared)).collect();
    terms.sort_unstable();
    terms.dedup();
    terms
}

fn same(a: &Compared, b: &Compared) -> bool {
    a.left == b.left && a.right == b.right
}

/// Saying one of few phrases is saying one of more.
fn phrases_contradict(a: Literal<'_>, b: Literal<'_>, policy: &Policy) -> bool {
    let phrases = |compared: &Compared| match (&compared.left, &compared.right) {
        (Operand::Term(term), None) if policy.terms[*term].name.kind == TermKind::Says => match policy.terms[*term].arguments.first() {
            Some(Argument::Phrases(places, _)) => Some(places.clone()),
            _ => None,
        },
        _ => None,
    };
    let (Some(said), Some(unsaid)) = (phrases(if a.1 { a.0 } else { b.0 }), phrases(if a.1 { b.0 } else { a.0 })) else { return false };
    a.1 != b.1 && said.iter().all(|phrase| unsaid.contains(phrase))
}

/// Whether the comparisons of one term with numbers or words leave it no value.
fn leaves_nothing(term: usize, literals: &[Literal<'_>], policy: &Policy) -> bool {
    let of_term = literals.iter().filter_map(|(compared, holds)| match (&compared.left, &compared.right) {
        (Operand::Term(left), Some((operator, right))) if *left == term => {
            Some((if *holds { *operator } else { operator.negated() }, right))
        }
        _ => None,
    });
    let (mut low, mut high) = range(&policy.terms[term]);
    let (mut low_open, mut high_open) = (false, false);
    let mut words: Vec<(bool, &str)> = Vec::new();
    let mut barred: Vec<f64> = Vec::new();
    for (operator, right) in of_term {
        match right {
            Operand::Number(number) => match operator {
                Operator::Greater | Operator::GreaterOrEqual => {
                    let open = operator == Operator::Greater;
                    if *number > low || (*number == low && open) {
                        (low, low_open) = (*number, open);
                    }
                }
                Operator::Less | Operator::LessOrEqual => {
                    let open = operator == Operator::Less;
                    if *number < high || (*number == high && open) {
                        (high, high_open) = (*number, open);
                    }
                }
                Operator::Equal => {
                    if *number < low || *number > high {
                        return true;
                    }
                    (low, high, low_open, high_open) = (*number, *number, false, false);
                }
                Operator::NotEqual => barred.push(*number),
            },
            Operand::Text(word) => words.push((operator == Operator::Equal, word)),
            Operand::Truth(value) => words.push((operator == Operator::Equal, if *value { "yes" } else { "no" })),
            _ => {}
        }
    }
    if policy.terms[term].name.result == Type::Count {
        // Between 3 and 4 lies no count.
        low = if low_open { low.floor() + 1.0 } else { low.ceil() };
        high = if high_open { high.ceil() - 1.0 } else { high.floor() };
        (low_open, high_open) = (false, false);
    }
    let empty = low > high || (low == high && (low_open || high_open || barred.contains(&low)));
    let torn = words.iter().any(|(equal, a)| *equal && words.iter().any(|(other, b)| if *other { a != b } else { a == b }));
    empty || torn
}

fn range(term: &Term) -> (f64, f64) {
    match term.name.result {
        Type::Fraction { low, high } => (low, high),
        Type::Count => (0.0, f64::INFINITY),
        Type::Truth | Type::Number | Type::Label(_) | Type::Text => (f64::NEG_INFINITY, f64::INFINITY),
    }
}
