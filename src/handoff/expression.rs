//! Conditions: CEL in, three-valued truth with its evidence out.
//!
//! The `cel` crate parses; [`check`] walks its tree against the one table of [`names`] and compiles a small typed tree; evaluation is ours. It never
//! short-circuits, so that a receipt shows every comparison, and it follows Kleene: false && unknown is false, true || unknown is true, else unknown stays
//! unknown. There are no lists, maps, macros or comprehensions, so the cost of a condition is its length, which [`EXPRESSION_BYTES_MAX`] bounds.

pub mod check;
pub mod names;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::check::{Compiler, ExpressionFault};
use self::names::Term;

/// Most bytes of one condition.
pub const EXPRESSION_BYTES_MAX: usize = 2048;

/// True, false, or not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Something it needs was not computed, not sent, or not yet there.
    Unknown,
}

impl Truth {
    /// Logical negation; unknown stays unknown.
    #[expect(clippy::should_implement_trait, reason = "the operator ! would read as if this were a bool")]
    pub fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }

    /// Logical and.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }

    /// Logical or.
    pub fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    /// The word that stands in receipts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "false",
            Self::Unknown => "unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// What a term is worth at one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// A finite number.
    Number(f64),
    /// Yes or no.
    Truth(bool),
    /// A word.
    Text(String),
    /// Nothing, and why, in a word.
    Unknown(String),
}

/// The value of a term, with the messages it was read from, by sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The value.
    pub value: Value,
    /// The messages it comes from; empty where it does not come from messages.
    pub messages: Vec<u32>,
    /// Of several phrases of the policy, those that were said.
    pub said: Option<String>,
}

impl Reading {
    /// A value that comes from no message.
    pub fn of(value: Value) -> Self {
        Self { value, messages: Vec::new(), said: None }
    }

    /// A value that comes from messages.
    pub fn from_messages(value: Value, messages: Vec<u32>) -> Self {
        Self { value, messages, said: None }
    }

    /// Why there is no value.
    pub fn unknown(reason: &str) -> Self {
        Self::of(Value::Unknown(reason.to_owned()))
    }
}

/// What one comparison of a condition said: the evidence of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Whether it holds.
    pub truth: Truth,
    /// The left side, unless it is not known or must not be told.
    pub value: Option<Shown>,
    /// The right side, unless it is not known or must not be told; absent where a yes or no stands alone.
    pub threshold: Option<Shown>,
    /// Value minus threshold, where both are numbers that may be told.
    pub margin: Option<f64>,
    /// Why it is not known.
    pub unknown: Option<String>,
    /// The messages that it was read from, by sequence.
    pub messages: Vec<u32>,
    /// Of several phrases of the policy, those that were said.
    pub said: Option<String>,
}

/// A value that may stand in a receipt: numbers, labels, yes and no; never what a customer or a file of customers says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// A number.
    Number(f64),
    /// Yes or no.
    Truth(bool),
    /// A label of the model or of the policy.
    Label(String),
}

/// A condition, checked and compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// As the policy has it.
    pub source: String,
    /// What is compared, in the order of [`Expression::evaluate`]'s evidence.
    pub comparisons: Vec<Compared>,
    pub(super) root: Node,
}

/// One comparison of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Left side.
    pub left: Operand,
    /// Operator and right side; absent where a yes or no stands alone.
    pub right: Option<(Operator, Operand)>,
    /// Where it begins in the source, in bytes.
    pub offset: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Literal(bool),
    /// Index into `comparisons`.
    Comparison(usize),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A word that the policy writes.
    Text(String),
    /// A yes or no that the policy writes.
    Truth(bool),
    /// A number that the policy writes.
    Number(f64),
    /// Index of a term of the policy, of any type.
    Term(usize),
    /// The number below zero of another.
    Negative(Box<Operand>),
    /// Two numbers and what is done with them.
    Arithmetic(Box<Operand>, Arithmetic, Box<Operand>),
}

/// What is done with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; by zero it is unknown.
    Divide,
}

/// How two sides are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Operator {
    /// As CEL writes it.
    pub fn as_cel(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }

    /// As people write it.
    pub fn as_sign(self) -> &'static str {
        match self {
            Self::LessOrEqual => "\u{2264}",
            Self::GreaterOrEqual => "\u{2265}",
            Self::Equal => "=",
            Self::NotEqual => "\u{2260}",
            Self::Less | Self::Greater => self.as_cel(),
        }
    }

    /// The operator that says the same with the sides changed.
    pub fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal | Self::NotEqual => self,
        }
    }

    /// The operator that says the opposite.
    pub fn negated(self) -> Self {
        match self {
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
        }
    }

    /// Whether it holds for two sides in this order.
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        })
    }
}

/// What one side is worth.
enum Side<'a> {
    Number(f64),
    Truth(bool),
    Text(&'a str),
    Unknown,
}

impl Expression {
    /// Truth of the condition and, for each of `comparisons`, what it said. `terms` and `readings` are those of the policy, in one order.
    pub fn evaluate(&self, terms: &[Term], readings: &[Reading]) -> (Truth, Vec<Comparison>) {
        let evidence: Vec<Comparison> = self.comparisons.iter().map(|compared| compared.evaluate(terms, readings)).collect();
        (self.root.truth(&evidence), evidence)
    }
}

impl Expression {
    /// The comparisons by which the condition has the truth it has: of several alternatives that hold, the first.
    pub fn because(&self, evidence: &[Comparison]) -> Vec<usize> {
        let mut used = Vec::new();
        self.root.because(evidence, &mut used);
        used.dedup();
        used
    }
}

impl Node {
    fn because(&self, evidence: &[Comparison], used: &mut Vec<usize>) {
        let truth = self.truth(evidence);
        match self {
            Self::Literal(_) => {}
            Self::Comparison(index) => used.push(*index),
            Self::Not(inner) => inner.because(evidence, used),
            Self::And(a, b) | Self::Or(a, b) => {
                // One side is enough for an || that holds; every side that is not as it should be tells why the whole is not.
                let enough = matches!((self, truth), (Self::Or(..), Truth::True));
                let sides = [a, b].into_iter().filter(|side| side.truth(evidence) == truth);
                let sides = if enough { sides.take(1) } else { sides.take(2) };
                sides.for_each(|side| side.because(evidence, used));
            }
        }
    }

    fn truth(&self, evidence: &[Comparison]) -> Truth {
        match self {
            Self::Literal(value) => Truth::from(*value),
            Self::Comparison(index) => evidence[*index].truth,
            Self::Not(node) => node.truth(evidence).not(),
            Self::And(a, b) => a.truth(evidence).and(b.truth(evidence)),
            Self::Or(a, b) => a.truth(evidence).or(b.truth(evidence)),
        }
    }
}

impl Compared {
    fn evaluate(&self, terms: &[Term], readings: &[Reading]) -> Comparison {
        let used: Vec<&Reading> = self.terms().into_iter().map(|term| &readings[term]).collect();
        let mut messages: Vec<u32> = used.iter().flat_map(|reading| reading.messages.iter().copied()).collect();
        messages.sort_unstable();
        messages.dedup();
        let reason = used.iter().find_map(|reading| match &reading.value {
            Value::Unknown(reason) => Some(reason.clone()),
            Value::Number(_) | Value::Truth(_) | Value::Text(_) => None,
        });
        let said = used.iter().find_map(|reading| reading.said.clone());
        let because = |truth: Truth| (truth == Truth::Unknown).then(|| reason.clone().unwrap_or_else(|| "no_finite_number".to_owned()));
        let left = self.left.value(readings);
        let Some((operator, operand)) = &self.right else {
            let truth = if let Side::Truth(value) = left { Truth::from(value) } else { Truth::Unknown };
            let value = left.shown(self.left.is_private(terms));
            return Comparison { truth, value, threshold: None, margin: None, unknown: because(truth), messages, said };
        };
        let right = operand.value(readings);
        let truth = match left.order(&right) {
            Some(order) => Truth::from(operator.holds(order)),
            None => Truth::Unknown,
        };
        let private = self.left.is_private(terms) || operand.is_private(terms);
        let margin = match (&left, &right) {
            (Side::Number(left), Side::Number(right)) if !private => Some(left - right).filter(|margin| margin.is_finite()),
            _ => None,
        };
        Comparison {
            truth,
            value: left.shown(self.left.is_private(terms)),
            // Beside the truth of an equality, the policy's own word would tell the value; the policy has it.
            threshold: right.shown(private),
            margin: margin.map(tidy),
            unknown: because(truth),
            messages,
            said,
        }
    }

    /// Every term that it reads.
    pub fn terms(&self) -> Vec<usize> {
        let mut terms = Vec::new();
        self.left.collect_terms(&mut terms);
        if let Some((_, right)) = &self.right {
            right.collect_terms(&mut terms);
        }
        terms
    }
}

/// Without the dust of binary fractions: 0.83 - 0.7 is 0.13.
fn tidy(value: f64) -> f64 {
    let tidied = (value * 1e6).round() / 1e6;
    if tidied.is_finite() { tidied } else { value }
}

impl Operand {
    fn value<'a>(&'a self, readings: &'a [Reading]) -> Side<'a> {
        match self {
            Self::Text(text) => Side::Text(text),
            Self::Truth(value) => Side::Truth(*value),
            Self::Number(value) => Side::Number(*value),
            Self::Term(index) => match &readings[*index].value {
                Value::Number(value) => Side::Number(*value),
                Value::Truth(value) => Side::Truth(*value),
                Value::Text(text) => Side::Text(text),
                Value::Unknown(_) => Side::Unknown,
            },
            Self::Negative(operand) => match operand.value(readings) {
                Side::Number(value) => Side::Number(-value),
                _ => Side::Unknown,
            },
            Self::Arithmetic(a, what, b) => match (a.value(readings), b.value(readings)) {
                (Side::Number(a), Side::Number(b)) => what.of(a, b),
                _ => Side::Unknown,
            },
        }
    }

    /// Whether a term of it reads what must not stand in a receipt.
    fn is_private(&self, terms: &[Term]) -> bool {
        let mut used = Vec::new();
        self.collect_terms(&mut used);
        used.iter().any(|term| terms[*term].name.private)
    }

    fn collect_terms(&self, terms: &mut Vec<usize>) {
        match self {
            Self::Text(_) | Self::Truth(_) | Self::Number(_) => {}
            Self::Term(index) => terms.push(*index),
            Self::Negative(operand) => operand.collect_terms(terms),
            Self::Arithmetic(a, _, b) => {
                a.collect_terms(terms);
                b.collect_terms(terms);
            }
        }
    }
}

impl Arithmetic {
    /// What is not a finite number is not known.
    fn of<'a>(self, a: f64, b: f64) -> Side<'a> {
        let value = match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
        };
        if value.is_finite() { Side::Number(value) } else { Side::Unknown }
    }
}

impl Side<'_> {
    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::Truth(a), Self::Truth(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    fn shown(&self, private: bool) -> Option<Shown> {
        match self {
            _ if private => None,
            Self::Number(value) => Some(Shown::Number(tidy(*value))),
            Self::Truth(value) => Some(Shown::Truth(*value)),
            Self::Text(text) => Some(Shown::Label((*text).to_owned())),
            Self::Unknown => None,
        }
    }
}
