//! CEL's tree → [`Expression`]: every name, type and range is checked here, so that evaluation cannot fail.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};

use super::names::{Argument, Labels, NAMES, Name, PHRASES_MAX, Parameter, Source, TOPICS, TURNS_MAX, Term, TermKind, Type};
use super::{Arithmetic, Compared, EXPRESSION_BYTES_MAX, Expression, Node, Operand, Operator};
use crate::handoff::customer::{EVENT_NAME_BYTES_MAX, WINDOW_MAX};
use crate::handoff::observation::{LabelRange, Vocabulary};
use crate::handoff::phrase::Phrase;
use crate::message::{ID_BYTES_MAX, Id};

/// Functions that give a span of time, and the seconds of one.
const SPANS: [(&str, u64); 3] = [("days", 24 * 3600), ("hours", 3600), ("minutes", 60)];
/// Deepest nesting of brackets.
const DEPTH_MAX: u16 = 24;
/// Most different terms of a policy: each is read once for every input.
pub const TERMS_MAX: usize = 1024;

/// What is wrong with a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionFault {
    /// Where it begins in the source, in bytes.
    pub offset: usize,
    /// What was found and what was expected.
    pub what: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for ExpressionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.suggestion.as_ref().map_or(Ok(()), |suggestion| write!(f, "; did you mean {suggestion}?"))
    }
}

/// Compiles the conditions of one policy: terms and phrases that several of them use are kept once.
#[derive(Debug)]
pub struct Compiler<'a> {
    vocabulary: &'a Vocabulary,
    example_intents: &'a [String],
    /// Every term of the conditions so far.
    pub terms: Vec<Term>,
    /// Every phrase of the conditions so far.
    pub phrases: Vec<Phrase>,
    phrase_texts: Vec<String>,
}

impl<'a> Compiler<'a> {
    /// For the labels of a model and the policy's own intents.
    pub fn new(vocabulary: &'a Vocabulary, example_intents: &'a [String]) -> Self {
        Self { vocabulary, example_intents, terms: Vec::new(), phrases: Vec::new(), phrase_texts: Vec::new() }
    }

    /// Checks and compiles a condition; all faults at once.
    pub fn compile(&mut self, source: &str) -> Result<Expression, Vec<ExpressionFault>> {
        let (tree, info) = parse(source)?;
        let mut walk = Walk { compiler: self, source, info, comparisons: Vec::new(), faults: Vec::new() };
        let root = walk.condition(&tree);
        let (comparisons, faults) = (walk.comparisons, walk.faults);
        match root {
            Some(root) if faults.is_empty() => Ok(Expression { source: source.to_owned(), comparisons, root }),
            _ => Err(faults),
        }
    }

    fn term(&mut self, term: Term) -> Option<usize> {
        if let Some(known) = self.terms.iter().position(|other| *other == term) {
            return Some(known);
        }
        self.terms.push(term);
        (self.terms.len() <= TERMS_MAX).then(|| self.terms.len() - 1)
    }

    fn phrase(&mut self, text: &str) -> Result<usize, String> {
        if let Some(known) = self.phrase_texts.iter().position(|other| other == text) {
            return Ok(known);
        }
        self.phrases.push(Phrase::new(text).map_err(|fault| fault.to_string())?);
        self.phrase_texts.push(text.to_owned());
        Ok(self.phrases.len() - 1)
    }

    fn labels(&self, labels: Labels) -> Vec<&str> {
        let names = |ranges: &'a [LabelRange]| ranges.iter().map(|range| range.label.as_str());
        match labels {
            Labels::Emotions => names(&self.vocabulary.emotions).collect(),
            Labels::Intents => names(&self.vocabulary.intents).chain(self.example_intents.iter().map(String::as_str)).collect(),
            Labels::TopIntents => names(&self.vocabulary.intents).collect(),
            Labels::Acts => names(&self.vocabulary.acts).collect(),
            Labels::Topics => TOPICS.to_vec(),
        }
    }
}

fn parse(source: &str) -> Result<(IdedExpr, SourceInfo), Vec<ExpressionFault>> {
    let at = |offset: usize, what: String| Err(vec![ExpressionFault { offset, what, suggestion: None }]);
    if source.trim().is_empty() {
        return at(0, "found nothing, expected a condition".to_owned());
    }
    if source.len() > EXPRESSION_BYTES_MAX {
        return at(0, format!("found {} bytes, expected a condition of at most {EXPRESSION_BYTES_MAX}", source.len()));
    }
    if let Some(offset) = too_deep(source) {
        return at(offset, format!("brackets are nested more than {DEPTH_MAX} deep"));
    }
    let parser = cel::parser::Parser::new().max_recursion_depth(DEPTH_MAX * 4);
    parser.parse_with_source_info(source).map_err(|errors| {
        // The parser goes on after the first error, and what it tells then follows from it.
        let first = errors.errors.into_iter().next();
        let Some(first) = first else { return vec![] };
        let offset = offset_of(source, first.pos);
        let (what, suggestion) = in_words(&first.msg, source, offset);
        vec![ExpressionFault { offset, what, suggestion }]
    })
}

/// Where brackets are nested or signs are piled too deep: the parser would use the stack for each.
fn too_deep(source: &str) -> Option<usize> {
    let (mut brackets, mut signs) = (0u16, 0u16);
    source.bytes().position(|byte| {
        match byte {
            b'(' | b'[' | b'{' => brackets += 1,
            b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        match byte {
            b'!' | b'-' => signs += 1,
            b' ' | b'\t' | b'\n' | b'(' => {}
            _ => signs = 0,
        }
        brackets > DEPTH_MAX || signs > DEPTH_MAX
    })
}

/// The parser tells line and column, from 1, in characters.
fn offset_of(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    let start: usize = source.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = &source[start..];
    start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(at, _)| at)
}

/// What the parser says, for an operator.
fn in_words(message: &str, source: &str, offset: usize) -> (String, Option<String>) {
    let (before, rest) = (source[..offset].trim_end(), &source[offset..]);
    let quoted = message.split('\'').nth(1).unwrap_or_default();
    // Signs of other languages, at the place of the fault or just before it.
    let near = &source[before.len().saturating_sub(1).min(offset)..];
    for (sign, meant) in [("=>", ">="), ("=<", "<="), ("<>", "!=")] {
        if rest.starts_with(sign) || near.starts_with(sign) {
            return (format!("found {sign:?}, expected a comparison"), Some(meant.to_owned()));
        }
    }
    for (sign, meant) in [('&', "&&"), ('|', "||")] {
        if rest.starts_with(sign) && !rest.starts_with(meant) {
            return (format!("found {sign:?}, expected an operator"), Some(meant.to_owned()));
        }
    }
    if before.eq_ignore_ascii_case("not") || before.to_ascii_lowercase().ends_with(" not") {
        return ("found \"not\", expected an operator or the end".to_owned(), Some("!".to_owned()));
    }
    if rest.starts_with('=') && !rest.starts_with("==") {
        return ("found '=', expected a comparison".to_owned(), Some("==".to_owned()));
    }
    if let Some(word) =
        rest.split(|c: char| !c.is_alphanumeric()).next().filter(|word| ["and", "or", "not", "AND", "OR", "NOT"].contains(word))
    {
        let sign = match word.to_ascii_lowercase().as_str() {
            "and" => "&&",
            "or" => "||",
            _ => "!",
        };
        return (format!("found {word:?}, expected an operator or the end"), Some(sign.to_owned()));
    }
    if rest.starts_with('"') || rest.starts_with('\'') {
        return ("this text has no closing quote".to_owned(), None);
    }
    if quoted == "<EOF>" || rest.is_empty() {
        return ("the condition ends here, expected more of it".to_owned(), None);
    }
    let found: String = rest.chars().take_while(|c| !c.is_whitespace()).take(20).collect();
    if found.is_empty() {
        return ("is not a condition".to_owned(), None);
    }
    (format!("found {found:?}, expected a condition such as emotion(\"anger\") >= 0.7"), None)
}

/// One condition on its way.
struct Walk<'a, 'b> {
    compiler: &'a mut Compiler<'b>,
    source: &'a str,
    info: SourceInfo,
    comparisons: Vec<Compared>,
    faults: Vec<ExpressionFault>,
}

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Number,
    Truth,
    Text,
    Label(Labels),
    Window,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Truth => "yes or no",
            Self::Text => "a text",
            Self::Label(_) => "a label",
            Self::Window => "a span of time",
        }
    }
}

/// A value that the policy writes, or a term.
enum Checked {
    Operand(Operand, Kind),
    Window(Duration),
}

impl Checked {
    fn kind(&self) -> Kind {
        match self {
            Self::Operand(_, kind) => *kind,
            Self::Window(_) => Kind::Window,
        }
    }
}

impl Walk<'_, '_> {
    fn condition(&mut self, tree: &IdedExpr) -> Option<Node> {
        if let Expr::Call(call) = &tree.expr {
            match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::LOGICAL_AND | operators::LOGICAL_OR, [a, b]) => {
                    // Both sides first, so that all faults are told.
                    let (a, b) = (self.condition(a), self.condition(b));
                    let (a, b) = (Box::new(a?), Box::new(b?));
                    return Some(if call.func_name == operators::LOGICAL_AND { Node::And(a, b) } else { Node::Or(a, b) });
                }
                (operators::LOGICAL_NOT, [inner]) => return Some(Node::Not(Box::new(self.condition(inner)?))),
                (name, [left, right]) => {
                    if let Some(operator) = comparison(name) {
                        return self.comparison(tree, left, operator, right);
                    }
                }
                _ => {}
            }
        }
        match self.operand(tree)? {
            Checked::Operand(Operand::Truth(value), _) => Some(Node::Literal(value)),
            Checked::Operand(left, Kind::Truth) => Some(self.compared(Compared { left, right: None, offset: self.start(tree) })),
            other => {
                let text = self.text(tree);
                let remedy = match &other {
                    Checked::Operand(Operand::Number(_) | Operand::Text(_) | Operand::Truth(_), _) => String::new(),
                    Checked::Operand(_, Kind::Number) => format!(", such as {text} >= 0.5"),
                    Checked::Operand(_, Kind::Text | Kind::Label(_)) => {
                        let word = self.some_label(&other);
                        format!(", such as {text} == {word:?}")
                    }
                    Checked::Operand(_, Kind::Truth | Kind::Window) | Checked::Window(_) => String::new(),
                };
                let what = format!("found {} by itself, expected a comparison{remedy}", other.kind().words());
                self.fault(self.start(tree), what, None)
            }
        }
    }

    /// A word that a label or a text may be compared with.
    fn some_label(&self, checked: &Checked) -> String {
        let labels = match checked.kind() {
            Kind::Label(labels) => self.compiler.labels(labels),
            Kind::Number | Kind::Truth | Kind::Text | Kind::Window => Vec::new(),
        };
        labels.first().map_or_else(|| "gold".to_owned(), |label| (*label).to_owned())
    }

    fn compared(&mut self, compared: Compared) -> Node {
        if let Some(known) = self.comparisons.iter().position(|other| other.left == compared.left && other.right == compared.right) {
            return Node::Comparison(known);
        }
        self.comparisons.push(compared);
        Node::Comparison(self.comparisons.len() - 1)
    }

    fn comparison(&mut self, tree: &IdedExpr, left: &IdedExpr, operator: Operator, right: &IdedExpr) -> Option<Node> {
        let (a, b) = (self.operand(left), self.operand(right));
        let (Checked::Operand(a, a_kind), Checked::Operand(b, b_kind)) = (a?, b?) else {
            return self.fault(
                self.start(tree),
                "found a span of time, expected it inside a function, such as contacts.count(days(30))".to_owned(),
                None,
            );
        };
        let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        let fits = match (a_kind, b_kind) {
            (Kind::Number, Kind::Number) => true,
            (Kind::Truth, Kind::Truth) | (Kind::Text, Kind::Text) => equality,
            // What a CRM says is no label of the model: only a word of the policy is compared with one.
            (Kind::Label(labels), Kind::Text) if matches!(b, Operand::Text(_)) => equality && self.label_exists(labels, &b, right),
            (Kind::Text, Kind::Label(labels)) if matches!(a, Operand::Text(_)) => equality && self.label_exists(labels, &a, left),
            _ => false,
        };
        if !self.faults.is_empty() && !fits {
            return None;
        }
        if !fits {
            let what = if equality || a_kind == Kind::Number || b_kind == Kind::Number {
                format!(
                    "{} is compared with {}: {} {} {}",
                    a_kind.words(),
                    b_kind.words(),
                    self.text(left),
                    operator.as_cel(),
                    self.text(right)
                )
            } else {
                format!("found {} between {} and {}, expected == or !=", operator.as_cel(), a_kind.words(), b_kind.words())
            };
            return self.fault(self.start(left), what, None);
        }
        if matches!(
            (&a, &b),
            (Operand::Number(_) | Operand::Text(_) | Operand::Truth(_), Operand::Number(_) | Operand::Text(_) | Operand::Truth(_))
        ) {
            return self.fault(self.start(left), format!("{} is the same for every message", self.text(tree)), None);
        }
        if equality && (self.is_fraction(&a) || self.is_fraction(&b)) {
            let what = format!("found {} on a fraction, which hardly ever equals a number, expected >=, >, <= or <", operator.as_cel());
            return self.fault(self.start(left), what, None);
        }
        // The policy's own value stands on the right of a receipt.
        let written = matches!(a, Operand::Number(_) | Operand::Text(_) | Operand::Truth(_));
        let (a, operator, b) = if written { (b, operator.turned(), a) } else { (a, operator, b) };
        self.reachable(&a, operator, &b, left)?;
        Some(self.compared(Compared { left: a, right: Some((operator, b)), offset: self.start(left) }))
    }

    /// A threshold that no value reaches, or that every value does, is a slip.
    fn reachable(&mut self, a: &Operand, operator: Operator, b: &Operand, at: &IdedExpr) -> Option<()> {
        let (Operand::Term(term), Operand::Number(threshold)) = (a, b) else { return Some(()) };
        let Some((low, high)) = self.compiler.range(*term) else { return Some(()) };
        let (at_low, at_high) = (low.total_cmp(threshold), high.total_cmp(threshold));
        let never = match operator {
            Operator::Greater | Operator::GreaterOrEqual => !operator.holds(at_high),
            Operator::Less | Operator::LessOrEqual => !operator.holds(at_low),
            Operator::Equal => *threshold < low || *threshold > high,
            Operator::NotEqual => false,
        };
        let always = match operator {
            Operator::Greater | Operator::GreaterOrEqual => operator.holds(at_low),
            Operator::Less | Operator::LessOrEqual => operator.holds(at_high),
            Operator::Equal => false,
            Operator::NotEqual => *threshold < low || *threshold > high,
        };
        if !(never || always) {
            return Some(());
        }
        let reach = if high.is_finite() { format!("lies between {low} and {high}") } else { format!("is at least {low}") };
        let verdict = if never { "never" } else { "always" };
        let words = self.compiler.terms[*term].words();
        let what = format!("{words} {} {threshold} is {verdict} true: {words} {reach}", operator.as_cel());
        self.fault(self.start(at), what, None)
    }

    fn is_fraction(&self, operand: &Operand) -> bool {
        matches!(operand, Operand::Term(term) if matches!(self.compiler.terms[*term].name.result, Type::Fraction { .. }))
    }

    fn label_exists(&mut self, labels: Labels, written: &Operand, at: &IdedExpr) -> bool {
        match written {
            Operand::Text(label) => self.label(labels, label, self.start(at)).is_some(),
            _ => true,
        }
    }

    fn label(&mut self, labels: Labels, found: &str, offset: usize) -> Option<usize> {
        let known = self.compiler.labels(labels);
        if let Some(place) = known.iter().position(|label| *label == found) {
            return Some(place);
        }
        let what = match (labels, known.is_empty()) {
            (_, true) => format!("found {found:?}, but the model has no such labels at all"),
            (Labels::Topics | Labels::Acts | Labels::Emotions, false) => format!("found {found:?}, expected one of {}", known.join(", ")),
            (Labels::Intents | Labels::TopIntents, false) => format!("found {found:?}, expected an intent of the model or of this policy"),
        };
        let suggestion = nearest(found, known.iter().copied()).map(|label| format!("{label:?}"));
        self.fault(offset, what, suggestion)
    }

    fn operand(&mut self, tree: &IdedExpr) -> Option<Checked> {
        match &tree.expr {
            Expr::Literal(value) => self.literal(tree, value),
            Expr::Ident(name) => self.name(tree, name),
            Expr::Select(select) if !select.test => match &select.operand.expr {
                Expr::Ident(space) => self.name(tree, &format!("{space}.{}", select.field)),
                _ => self.unknown_name(tree, self.text(tree).to_owned()),
            },
            Expr::Call(call) => self.call(tree, call),
            Expr::Select(_) => self.not_part(tree, "has()"),
            Expr::Comprehension(_) => self.not_part(tree, "macros"),
            Expr::List(_) => self.not_part(tree, "lists"),
            Expr::Map(_) | Expr::Struct(_) => self.not_part(tree, "maps"),
            Expr::Unspecified => self.not_part(tree, "empty parts"),
        }
    }

    fn not_part<T>(&mut self, tree: &IdedExpr, what: &str) -> Option<T> {
        let remedy = if what == "lists" { "; write it out with ||" } else { "" };
        self.fault(self.start(tree), format!("conditions have no {what}{remedy}"), None)
    }

    fn literal(&mut self, tree: &IdedExpr, value: &LiteralValue) -> Option<Checked> {
        let number = |value: f64| Some(Checked::Operand(Operand::Number(value), Kind::Number));
        match value {
            LiteralValue::Boolean(value) => Some(Checked::Operand(Operand::Truth(**value), Kind::Truth)),
            LiteralValue::Double(value) if value.is_finite() => number(**value),
            LiteralValue::Int(value) => number(**value as f64),
            LiteralValue::UInt(value) => number(**value as f64),
            LiteralValue::String(text) => Some(Checked::Operand(Operand::Text((**text).to_owned()), Kind::Text)),
            LiteralValue::Double(_) => self.fault(self.start(tree), "found a number that is too large".to_owned(), None),
            LiteralValue::Bytes(_) => self.not_part(tree, "bytes"),
            LiteralValue::Null => self.not_part(tree, "null"),
        }
    }

    fn name(&mut self, tree: &IdedExpr, written: &str) -> Option<Checked> {
        let Some(name) = NAMES.iter().find(|name| name.name == written) else { return self.unknown_name(tree, written.to_owned()) };
        if name.parameters.is_some() {
            let what = format!("{written} is a function, expected {}", signature(name));
            return self.fault(self.start(tree), what, None);
        }
        self.term(tree, name, Vec::new())
    }

    fn unknown_name<T>(&mut self, tree: &IdedExpr, written: String) -> Option<T> {
        let suggestion = nearest(&written, NAMES.iter().map(|name| name.name)).map(str::to_owned);
        self.fault(self.start(tree), format!("{written} is not a name of conditions (baton policy --names lists them)"), suggestion)
    }

    fn term(&mut self, tree: &IdedExpr, name: &'static Name, arguments: Vec<Argument>) -> Option<Checked> {
        let kind = match name.result {
            Type::Truth => Kind::Truth,
            Type::Fraction { .. } | Type::Count | Type::Number => Kind::Number,
            Type::Label(labels) => Kind::Label(labels),
            Type::Text => Kind::Text,
        };
        match self.compiler.term(Term { name, arguments }) {
            Some(term) => Some(Checked::Operand(Operand::Term(term), kind)),
            None => self.fault(self.start(tree), format!("the policy reads more than {TERMS_MAX} different values"), None),
        }
    }

    fn call(&mut self, tree: &IdedExpr, call: &CallExpr) -> Option<Checked> {
        if let (Some(what), [a, b]) = (arithmetic(&call.func_name), call.args.as_slice()) {
            let (a, b) = (self.number(a), self.number(b));
            return Some(Checked::Operand(Operand::Arithmetic(Box::new(a?), what, Box::new(b?)), Kind::Number));
        }
        if let (operators::NEGATE, [inner]) = (call.func_name.as_str(), call.args.as_slice()) {
            return Some(Checked::Operand(Operand::Negative(Box::new(self.number(inner)?)), Kind::Number));
        }
        match call.func_name.as_str() {
            operators::CONDITIONAL => return self.not_part(tree, "choices with ? :"),
            operators::IN | operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT => return self.not_part(tree, "lists"),
            operators::MODULO => return self.not_part(tree, "remainders"),
            name if comparison(name).is_some()
                || [operators::LOGICAL_AND, operators::LOGICAL_OR, operators::LOGICAL_NOT].contains(&name) =>
            {
                let what = format!("found a condition inside a value: {}", self.text(tree));
                return self.fault(self.start(tree), what, None);
            }
            _ => {}
        }
        let written = match call.target.as_ref().map(|target| &target.expr) {
            None => call.func_name.clone(),
            Some(Expr::Ident(space)) => format!("{space}.{}", call.func_name),
            Some(_) => return self.unknown_name(tree, self.text(tree).to_owned()),
        };
        if let Some(secs) = SPANS.iter().find(|(name, _)| *name == written) {
            return self.window(tree, call, secs.1);
        }
        let Some(name) = NAMES.iter().find(|name| name.name == written) else { return self.unknown_name(tree, written) };
        let Some(parameters) = name.parameters else {
            return self.fault(self.start(tree), format!("{written} is not a function, expected it without brackets"), None);
        };
        let arguments = self.arguments(tree, call, name, parameters)?;
        self.term(tree, name, arguments)
    }

    fn number(&mut self, tree: &IdedExpr) -> Option<Operand> {
        match self.operand(tree)? {
            Checked::Operand(operand, Kind::Number) => Some(operand),
            other => self.fault(self.start(tree), format!("found {}, expected a number", other.kind().words()), None),
        }
    }

    fn window(&mut self, tree: &IdedExpr, call: &CallExpr, secs: u64) -> Option<Checked> {
        let most = WINDOW_MAX.as_secs() / secs;
        let count = match call.args.as_slice() {
            [IdedExpr { expr: Expr::Literal(LiteralValue::Int(count)), .. }] => u64::try_from(**count).ok(),
            _ => None,
        };
        match count.filter(|count| (1..=most).contains(count)) {
            Some(count) => Some(Checked::Window(Duration::from_secs(count * secs))),
            None => self.fault(
                self.start(tree),
                format!("found {}, expected {}(n) with n from 1 to {most}", self.text(tree), call.func_name),
                None,
            ),
        }
    }

    fn arguments(&mut self, tree: &IdedExpr, call: &CallExpr, name: &'static Name, parameters: &[Parameter]) -> Option<Vec<Argument>> {
        if parameters == [Parameter::Phrases] {
            return Some(vec![self.phrases(tree, &call.args)?]);
        }
        if call.args.len() != parameters.len() {
            let what = format!("found {} arguments, expected {}", call.args.len(), signature(name));
            return self.fault(self.start(tree), what, None);
        }
        // All of them first, so that all faults are told.
        let arguments: Vec<Option<Argument>> =
            call.args.iter().zip(parameters).map(|(tree, parameter)| self.argument(tree, *parameter, name)).collect();
        arguments.into_iter().collect()
    }

    fn argument(&mut self, tree: &IdedExpr, parameter: Parameter, name: &'static Name) -> Option<Argument> {
        let offset = self.start(tree);
        let found = match (&tree.expr, parameter) {
            // A label or a word without its quotes is no name that anybody looked for.
            (Expr::Ident(word), Parameter::Label(_) | Parameter::Word | Parameter::Pattern) => {
                let what = format!("found {word} without quotes: {}", signature(name));
                return self.fault(offset, what, Some(format!("{word:?}")));
            }
            (Expr::Call(call), Parameter::Window) if !SPANS.iter().any(|(span, _)| *span == call.func_name) => {
                let what = format!("found {}, expected days(n), hours(n) or minutes(n): {}", self.text(tree), signature(name));
                return self.fault(offset, what, None);
            }
            _ => self.operand(tree)?,
        };
        let wrong = |what: &str, walk: &mut Self| {
            walk.fault(offset, format!("found {}, expected {what}: {}", walk.text(tree), signature(name)), None)
        };
        match (parameter, found) {
            (Parameter::Label(labels), Checked::Operand(Operand::Text(label), _)) => {
                let place = self.label(labels, &label, offset)?;
                Some(Argument::Label(label, place))
            }
            (Parameter::Label(_), _) => wrong("a label in quotes", self),
            (Parameter::Turns | Parameter::TurnsOfSlope, Checked::Operand(Operand::Number(turns), _)) => {
                let least = if parameter == Parameter::Turns { 1 } else { 2 };
                match whole(turns, least..TURNS_MAX + 1) {
                    Some(turns) => Some(Argument::Turns(turns)),
                    None => wrong(&format!("a whole number from {least} to {TURNS_MAX}"), self),
                }
            }
            (Parameter::Turns | Parameter::TurnsOfSlope, _) => wrong("a number of messages", self),
            (Parameter::Level, Checked::Operand(Operand::Number(level), _)) if (-1.0..=1.0).contains(&level) => {
                Some(Argument::Level(level))
            }
            (Parameter::Level, _) => wrong("a number from -1 to 1", self),
            (Parameter::Window, Checked::Window(window)) => Some(Argument::Window(window)),
            (Parameter::Window, _) => wrong("days(n), hours(n) or minutes(n)", self),
            (Parameter::Word, Checked::Operand(Operand::Text(word), _)) if Id::new(word.as_str()).is_ok() => Some(Argument::Text(word)),
            (Parameter::Word, _) => wrong(&format!("a word in quotes, without blanks, of at most {ID_BYTES_MAX} bytes"), self),
            (Parameter::Pattern, Checked::Operand(Operand::Text(pattern), _)) if (1..=EVENT_NAME_BYTES_MAX).contains(&pattern.len()) => {
                Some(Argument::Text(pattern))
            }
            (Parameter::Pattern, _) => wrong(&format!("a pattern in quotes of 1 to {EVENT_NAME_BYTES_MAX} bytes"), self),
            (Parameter::Phrases, _) => unreachable!("phrases are read as a whole"),
        }
    }

    fn phrases(&mut self, tree: &IdedExpr, arguments: &[IdedExpr]) -> Option<Argument> {
        if !(1..=PHRASES_MAX).contains(&arguments.len()) {
            return self.fault(self.start(tree), format!("found {} phrases, expected 1 to {PHRASES_MAX}", arguments.len()), None);
        }
        let (mut places, mut texts) = (Vec::new(), Vec::new());
        for argument in arguments {
            let offset = self.start(argument);
            let Expr::Literal(LiteralValue::String(text)) = &argument.expr else {
                self.tell(offset, format!("found {}, expected a phrase in quotes", self.text(argument)), None);
                continue;
            };
            match self.compiler.phrase(text) {
                Ok(place) => {
                    places.push(place);
                    texts.push((**text).to_owned());
                }
                Err(what) => self.tell(offset, what, None),
            }
        }
        (places.len() == arguments.len()).then_some(Argument::Phrases(places, texts))
    }

    /// Where a node begins in the source.
    fn start(&self, tree: &IdedExpr) -> usize {
        let own = self.info.offset_for(tree.id).map_or(0, |(start, _)| start as usize);
        let own = own.min(self.source.len());
        match &tree.expr {
            Expr::Select(select) => self.start(&select.operand),
            Expr::Call(call) => match (&call.target, call.args.first()) {
                (Some(target), _) => self.start(target),
                // Operators between two sides begin with the left one, those before one side with themselves.
                (None, Some(first)) if call.func_name.starts_with('_') || call.func_name.starts_with('@') => self.start(first).min(own),
                (None, _) if call.func_name.ends_with('_') => own,
                // The parser points at the bracket.
                (None, _) => self.source[..own].trim_end().len().saturating_sub(call.func_name.len()),
            },
            // The sign of a number stands before it.
            Expr::Literal(LiteralValue::Int(value)) if **value < 0 => self.sign(own),
            Expr::Literal(LiteralValue::Double(value)) if **value < 0.0 => self.sign(own),
            _ => own,
        }
    }

    fn sign(&self, number: usize) -> usize {
        self.source[..number].rfind('-').unwrap_or(number)
    }

    /// The words of the source from which a node came, as far as they are plain.
    fn text(&self, tree: &IdedExpr) -> &str {
        let start = self.start(tree);
        let end = self.end(tree).clamp(start, self.source.len());
        self.source.get(start..end).unwrap_or(&self.source[start..])
    }

    fn end(&self, tree: &IdedExpr) -> usize {
        let own = self.info.offset_for(tree.id).map_or(0, |(_, stop)| stop as usize + 1);
        match &tree.expr {
            Expr::Select(select) => self.end(&select.operand) + 1 + select.field.len(),
            Expr::Call(call) => {
                let inside = call.args.last().map_or(own, |last| self.end(last));
                let bracketed = !call.func_name.starts_with('_') && !call.func_name.starts_with('@') && !call.func_name.ends_with('_');
                let close = self.source.get(inside..).and_then(|rest| rest.find(')'));
                if bracketed { close.map_or(inside, |close| inside + close + 1) } else { inside }
            }
            _ => own,
        }
    }

    /// Tells a fault and gives up the value.
    fn fault<T>(&mut self, offset: usize, what: String, suggestion: Option<String>) -> Option<T> {
        self.tell(offset, what, suggestion);
        None
    }

    fn tell(&mut self, offset: usize, what: String, suggestion: Option<String>) {
        let fault = ExpressionFault { offset, what, suggestion };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }
}

impl Compiler<'_> {
    /// The least and the most that a term can be, as far as that is known.
    pub fn range(&self, term: usize) -> Option<(f64, f64)> {
        let Term { name, arguments } = &self.terms[term];
        match name.result {
            // A streak is counted over the messages that are remembered.
            Type::Count if matches!(name.kind, TermKind::NegativeStreak | TermKind::EmotionStreak) => Some((0.0, TURNS_MAX as f64)),
            Type::Count => Some((0.0, f64::INFINITY)),
            Type::Fraction { low, high } => {
                let highest = |ranges: &[LabelRange], place: usize| ranges.get(place).map_or(high, |range| range.highest.get());
                let high = match (name.parameters, arguments.first()) {
                    (Some([Parameter::Label(Labels::Emotions), ..]), Some(Argument::Label(_, at))) => {
                        highest(&self.vocabulary.emotions, *at)
                    }
                    (Some([Parameter::Label(Labels::Intents)]), Some(Argument::Label(_, at))) => highest(&self.vocabulary.intents, *at),
                    (Some([Parameter::Label(Labels::Acts)]), Some(Argument::Label(_, at))) => highest(&self.vocabulary.acts, *at),
                    _ => high,
                };
                Some((low, high))
            }
            Type::Number if name.source == Source::Conversation => Some((0.0, f64::INFINITY)),
            Type::Truth | Type::Number | Type::Label(_) | Type::Text => None,
        }
    }
}

fn comparison(function: &str) -> Option<Operator> {
    Some(match function {
        operators::LESS => Operator::Less,
        operators::LESS_EQUALS => Operator::LessOrEqual,
        operators::GREATER => Operator::Greater,
        operators::GREATER_EQUALS => Operator::GreaterOrEqual,
        operators::EQUALS => Operator::Equal,
        operators::NOT_EQUALS => Operator::NotEqual,
        _ => return None,
    })
}

fn arithmetic(function: &str) -> Option<Arithmetic> {
    Some(match function {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        _ => return None,
    })
}

fn whole(number: f64, range: Range<usize>) -> Option<usize> {
    (number.fract() == 0.0 && number >= 0.0).then_some(number as usize).filter(|number| range.contains(number))
}

/// How a function is written, for a fault.
fn signature(name: &Name) -> String {
    let parameter = |parameter: &Parameter| match parameter {
        Parameter::Label(Labels::Topics) => "\"topic\"",
        Parameter::Label(_) => "\"label\"",
        Parameter::Turns | Parameter::TurnsOfSlope => "messages",
        Parameter::Level => "level",
        Parameter::Phrases => "\"phrase\", ...",
        Parameter::Window => "days(n)",
        Parameter::Word => "\"word\"",
        Parameter::Pattern => "\"pattern\"",
    };
    let parameters: Vec<&str> = name.parameters.unwrap_or_default().iter().map(parameter).collect();
    format!("{}({})", name.name, parameters.join(", "))
}

/// How a name is written, for the printed reference.
pub fn written(name: &Name) -> String {
    if name.parameters.is_some() { signature(name) } else { name.name.to_owned() }
}

/// The known word that a wrong one was probably meant to be.
pub fn nearest<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|word| (strsim::jaro_winkler(found, word), word)).filter(|(near, _)| *near > 0.8);
    near.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::expression::Truth;
    use crate::handoff::expression::{Reading, Value};
    use crate::signal::BasisPoints;

    fn vocabulary() -> Vocabulary {
        let ranges =
            |labels: &[&str]| labels.iter().map(|label| LabelRange { label: (*label).to_owned(), highest: BasisPoints::ONE }).collect();
        Vocabulary {
            model: "m".into(),
            intents: ranges(&["refund", "complaint"]),
            emotions: ranges(&["anger", "joy"]),
            acts: ranges(&["accepts", "rejects", "other"]),
            examples: true,
        }
    }

    #[test]
    fn faults_name_place_and_remedy() {
        for (source, offset, expected) in [
            ("", 0, "found nothing, expected a condition"),
            ("emotion(\"angr\") > 0.5", 8, "found \"angr\", expected one of anger, joy; did you mean \"anger\"?"),
            ("emotoin(\"anger\") > 0.5", 0, "emotoin is not a name of conditions (baton policy --names lists them); did you mean emotion?"),
            ("emotion(\"anger\") > 1.5", 0, "anger > 1.5 is never true: anger lies between 0 and 1"),
            ("emotion(\"anger\") >= 0.0", 0, "anger >= 0 is always true: anger lies between 0 and 1"),
            ("0.5 < emotion(\"anger\") && x", 26, "x is not a name of conditions (baton policy --names lists them)"),
            ("emotion(\"anger\")", 0, "found a number by itself, expected a comparison, such as emotion(\"anger\") >= 0.5"),
            ("emotion(\"anger\") = 0.5", 17, "found '=', expected a comparison; did you mean ==?"),
            ("says(\"a\") and says(\"b\")", 10, "found \"and\", expected an operator or the end; did you mean &&?"),
            ("says(\"a\" ", 9, "the condition ends here, expected more of it"),
            (
                "message.intent == \"refnd\"",
                18,
                "found \"refnd\", expected an intent of the model or of this policy; did you mean \"refund\"?",
            ),
            ("message.intent > \"refund\"", 0, "found > between a label and a text, expected == or !="),
            ("account.tier == message.intent", 0, "a text is compared with a label: account.tier == message.intent"),
            ("message.valence == 0.5", 0, "found == on a fraction, which hardly ever equals a number, expected >=, >, <= or <"),
            ("account.tier == 3", 0, "a text is compared with a number: account.tier == 3"),
            ("[1, 2].exists(x, x > 1)", 13, "conditions have no macros"),
            ("message.intent in [\"refund\"]", 0, "conditions have no lists; write it out with ||"),
            ("contacts.count(30) > 2", 15, "found 30, expected days(n), hours(n) or minutes(n): contacts.count(days(n))"),
            ("contacts.count(days(0)) > 2", 15, "found days(0), expected days(n) with n from 1 to 400"),
            (
                "conversation.valence_mean(99) < 0.0",
                26,
                "found 99, expected a whole number from 1 to 32: conversation.valence_mean(messages)",
            ),
            ("conversation.valence_mean < 0.0", 0, "conversation.valence_mean is a function, expected conversation.valence_mean(messages)"),
            ("message.valence() < 0.0", 0, "message.valence is not a function, expected it without brackets"),
            ("1 < 2", 0, "1 < 2 is the same for every message"),
            ("says()", 0, "found 0 phrases, expected 1 to 32"),
            (
                "events.count(\"page view\", \"*\", days(1)) > 1",
                13,
                "found \"page view\", expected a word in quotes, without blanks, of at most 128 bytes: events.count(\"word\", \"pattern\", days(n))",
            ),
            ("conversation.customer_turns < 0", 0, "messages of the customer < 0 is never true: messages of the customer is at least 0"),
        ] {
            let vocabulary = vocabulary();
            let faults = Compiler::new(&vocabulary, &[]).compile(source).expect_err(source);
            assert_eq!((faults[0].offset, faults[0].to_string().as_str()), (offset, expected), "{source}");
        }
    }

    #[test]
    fn all_faults_of_a_condition_come_at_once() {
        let vocabulary = vocabulary();
        let faults = Compiler::new(&vocabulary, &[]).compile("a > 1 && intent(\"x\") > 0.5 || !b && says(3)").unwrap_err();
        let offsets: Vec<usize> = faults.iter().map(|fault| fault.offset).collect();
        assert_eq!(offsets, [0, 16, 31, 41], "{faults:?}");
    }

    #[test]
    fn unknown_follows_kleene_and_every_comparison_is_evidence() {
        let vocabulary = vocabulary();
        let examples = ["own".to_owned()];
        let mut compiler = Compiler::new(&vocabulary, &examples);
        let anger = "emotion(\"anger\") >= 0.7";
        let tier = "account.tier == \"gold\"";
        let sources = [
            format!("{anger} && {tier}"),
            format!("{anger} || {tier}"),
            format!("!({anger}) && intent(\"own\") > 0.5 - 0.1 * 2"),
            format!("0.7 <= emotion(\"anger\") || {tier}"),
        ];
        let expressions: Vec<Expression> = sources.iter().map(|source| compiler.compile(source).unwrap()).collect();
        assert_eq!(compiler.terms.len(), 3, "a term is read once for all conditions");
        assert_eq!(
            expressions[1].comparisons[0],
            Compared { offset: 0, ..expressions[3].comparisons[0].clone() },
            "the threshold stands on the right"
        );
        let readings = |anger: Option<f64>, tier: Option<&str>| {
            let number = |value: Option<f64>| Reading::of(value.map_or(Value::Unknown("late".into()), Value::Number));
            vec![
                number(anger),
                Reading::of(tier.map_or(Value::Unknown("not_sent".into()), |tier| Value::Text(tier.into()))),
                number(Some(0.4)),
            ]
        };
        let truth = |at: usize, readings: &[Reading]| expressions[at].evaluate(&compiler.terms, readings);
        use Truth::{False, True, Unknown};
        for (anger, tier, expected) in [
            (Some(0.7), Some("gold"), [True, True, False]),
            (Some(0.69), Some("gold"), [False, True, True]),
            (Some(0.1), None, [False, Unknown, True]),
            (Some(0.9), None, [Unknown, True, False]),
            (None, Some("gold"), [Unknown, True, Unknown]),
            (None, Some("lead"), [False, Unknown, Unknown]),
        ] {
            let readings = readings(anger, tier);
            let found: Vec<Truth> = (0..3).map(|at| truth(at, &readings).0).collect();
            assert_eq!(found, expected, "{anger:?} {tier:?}");
        }
        let (_, evidence) = truth(0, &readings(Some(0.83), Some("gold")));
        assert_eq!(evidence[0].margin, Some(0.13));
        assert_eq!((evidence[1].truth, &evidence[1].value, evidence[1].margin), (True, &None, None), "what a CRM says is not told");
    }

    #[test]
    fn what_would_cost_too_much_is_refused() {
        let vocabulary = vocabulary();
        let mut compiler = Compiler::new(&vocabulary, &[]);
        let brackets = format!("{}says(\"a\"){}", "(".repeat(500), ")".repeat(500));
        assert!(compiler.compile(&brackets).unwrap_err()[0].what.contains("nested"));
        let long = format!("says(\"a\"){}", " || says(\"a\")".repeat(1000));
        assert!(compiler.compile(&long).unwrap_err()[0].what.contains("bytes, expected a condition of at most 2048"));
        for hostile in
            ["!".repeat(1500) + "says(\"a\")", "-".repeat(1500) + "1 < 2", "[".repeat(2000), "a.".repeat(900) + "b", "says(".repeat(400)]
        {
            assert!(compiler.compile(&hostile).is_err());
        }
        let chain = format!("says(\"a\"){}", " || says(\"a\")".repeat(150));
        assert!(compiler.compile(&chain).is_ok(), "a long chain is no nesting");
    }
}
