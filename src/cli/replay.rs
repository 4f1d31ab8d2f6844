//! `baton replay`: exported conversations through the model and the policy.
//!
//! One conversation (JSON Lines, docs/conversation.md): each turn with its decision, then the receipts in words. A table of messages: how many conversations
//! would be handed over, by which trigger, and how often rightly where labels are given.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use super::policy::PolicyFileArguments;
use super::table::Table;
use super::{ModelArguments, Outcome, bulk, load_model, print, progress_bar, render};
use crate::config::Places;
use crate::handoff::decision::Action;
use crate::handoff::input::Fact;
use crate::handoff::observation::Unscored;
use crate::handoff::policy::{Policy, Urgency};
use crate::handoff::receipt::Receipt;
use crate::handoff::scenario::describe;
use crate::handoff::step::Step;
use crate::handoff::transcript::{ENTRIES_MAX, Entry, Said, Scorable, Transcript, What};
use crate::message::{Id, Speaker};
use crate::model::scorer::{ScoreError, Scorer};
use crate::service::memory::{self, Broken, Editions, Replayed};
use crate::service::observe::{BATCH, Observer, SignalTable, vocabulary};
use crate::service::proving::{ProvingError, read_text};
use crate::service::store::{DATABASE, Limits, Store};
use crate::time::Timestamp;

/// Most bytes of an exported conversation.
const CONVERSATION_BYTES_MAX: u64 = 256 << 20;
/// Most messages of a table: they are held in memory.
const ROWS_MAX: usize = 5_000_000;
/// Conversations that one worker takes at a time.
const CHUNK: usize = 16;
/// Conversations that are listed.
const WORST: usize = 10;
/// Fewest rows of a category that precision and recall are told for.
const LABELLED_MIN: usize = 20;

/// Arguments of `baton replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    file: PolicyFileArguments,
    /// JSON Lines file with one exported conversation; docs/conversation.md has the format.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["table", "store"], conflicts_with = "table")]
    conversation: Option<PathBuf>,
    /// Folder of a server's store, which must not be serving: every stored conversation is decided again by the policy that decided then, and compared. Exit
    /// code 1 where one differs.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["table", "conversation", "policy", "receipts"])]
    store: Option<PathBuf>,
    /// CSV or JSON Lines file with messages, a row each.
    #[arg(long, value_name = "FILE", requires = "text_column")]
    table: Option<PathBuf>,
    /// Column with the message.
    #[arg(long, value_name = "NAME", requires = "table")]
    text_column: Option<String>,
    /// Column that tells the conversations apart, whose rows stand together; without it every row is a conversation.
    #[arg(long, value_name = "NAME", requires = "table")]
    conversation_column: Option<String>,
    /// Column with customer, bot or agent; without it the customer says everything.
    #[arg(long, value_name = "NAME", requires = "table")]
    speaker_column: Option<String>,
    /// Column with what the message is about, in the words of the triggers' categories; only where every row is a conversation.
    #[arg(long, value_name = "NAME", requires = "table", conflicts_with = "conversation_column")]
    label_column: Option<String>,
    /// Facts about the customer that hold in every conversation of the table, such as tier=enterprise; a value in quotes is a text; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", requires = "table")]
    fact: Vec<String>,
    /// Print the receipt of every turn, not only where something was decided.
    #[arg(long)]
    receipts: bool,
    /// JSON: one object a turn of a conversation, or one for a table.
    #[arg(long)]
    json: bool,
}

/// Runs `baton replay`.
pub fn run(arguments: &ReplayArguments, places: &Places) -> Result<Outcome> {
    if let Some(folder) = &arguments.store {
        return replay_store(folder, arguments.json);
    }
    let source = arguments.file.read()?;
    // Before the model, which takes longer: a file that cannot be read is told at once.
    let conversation = arguments.conversation.as_deref().map(read_conversation).transpose()?;
    let table = arguments.table.as_deref().map(|path| read_table(arguments, path)).transpose()?;
    let scorer = load_model(&arguments.model, places)?;
    let policy = source.read_policy(&vocabulary(&scorer)).map_err(|faults| anyhow!("{}", ProvingError::Policy(faults)))?;
    let player = Player { observer: Observer::new(&scorer, &policy)?, scorer: &scorer, policy: &policy };
    match (conversation, table) {
        (Some(transcript), _) => player.conversation(arguments, &transcript)?,
        (None, Some(rows)) => player.table(arguments, &rows)?,
        (None, None) => bail!("give --conversation or --table"),
    }
    Ok(Outcome::Success)
}

/// Conversations of a store that are listed where they differ.
const DIFFERENT_MAX: usize = 20;

fn replay_store(folder: &Path, as_json: bool) -> Result<Outcome> {
    let at = || format!("store {}", folder.display());
    if !folder.join(DATABASE).is_file() {
        bail!("{}: found no {DATABASE}, expected the data folder of a server", at());
    }
    let store = Store::open(folder, Limits::default()).with_context(at)?;
    let editions = Editions::open(folder).with_context(at)?;
    let bar = progress_bar(store.counts().with_context(at)?.conversations, "replay", false);
    let (mut conversations, mut inputs, mut erased) = (0u64, 0u64, 0u64);
    let mut different: Vec<(Id, Broken)> = Vec::new();
    let mut after = 0;
    loop {
        let some = store.conversations(after, 1024).with_context(at)?;
        let Some((last, _)) = some.last() else { break };
        after = *last;
        let results = bulk::map(
            &some,
            CHUNK,
            |chunk| chunk.iter().map(|(_, id)| memory::replay(&store, &editions, id)).collect(),
            |done| {
                bar.inc(done as u64);
            },
        )
        .with_context(at)?;
        conversations += some.len() as u64;
        for ((_, id), replayed) in some.into_iter().zip(results) {
            match replayed {
                Replayed::Same { inputs: count } => inputs += count,
                Replayed::Erased => erased += 1,
                Replayed::Differs(broken) => different.push((id, broken)),
            }
        }
    }
    bar.finish_and_clear();
    store.close().with_context(at)?;
    let count = different.len();
    different.truncate(DIFFERENT_MAX);
    print(&if as_json {
        let listed = different.iter().map(|(id, broken)| json!({"conversation": id, "input": broken.input, "what": broken.what}));
        let value = json!({"conversations": conversations, "inputs": inputs, "erased": erased, "differences": count, "different": listed.collect::<Vec<_>>()});
        format!("{value}\n")
    } else {
        let listed: String = different.iter().map(|(id, broken)| format!("{id}: input {}: {}\n", broken.input, broken.what)).collect();
        format!("{conversations} conversations with {inputs} inputs decided again, {erased} of them erased: {count} differences\n{listed}")
    })?;
    Ok(if count == 0 { Outcome::Success } else { Outcome::Negative })
}

pub(super) fn read_conversation(path: &Path) -> Result<Transcript> {
    let at = || format!("conversation {}", path.display());
    let text = read_text(path, CONVERSATION_BYTES_MAX).with_context(at)?;
    let id = Id::new("replayed").expect("short and printable");
    Transcript::parse(id, &text).map_err(|fault| anyhow!("{}: {fault}", at()))
}

/// A conversation of a table.
struct Conversation {
    transcript: Transcript,
    name: String,
    label: Option<String>,
}

fn read_table(arguments: &ReplayArguments, path: &Path) -> Result<Vec<Conversation>> {
    let text_column = arguments.text_column.as_deref().context("give --text-column")?;
    let others = [&arguments.conversation_column, &arguments.speaker_column, &arguments.label_column];
    let columns: Vec<&str> = [text_column].into_iter().chain(others.into_iter().filter_map(|column| column.as_deref())).collect();
    let facts = table_facts(&arguments.fact)?;
    let mut conversations: Vec<Conversation> = Vec::new();
    let mut names = HashSet::new();
    let mut rows = 0;
    for row in Table::open(path, &columns)? {
        let row = row?;
        let wrong = |what: String| anyhow!("{}: {what}", path.display());
        let cell = |column: &Option<String>| column.as_ref().map(|column| row.text(column).map(str::to_owned).map_err(wrong)).transpose();
        // An empty message says nothing, and files of conversations have them.
        let Some(text) = row.optional_text(text_column).map_err(wrong)? else { continue };
        rows += 1;
        if rows > ROWS_MAX {
            bail!("{}: line {}: more than {ROWS_MAX} messages", path.display(), row.line);
        }
        let name = cell(&arguments.conversation_column)?.unwrap_or_else(|| format!("line {}", row.line));
        let speaker = match cell(&arguments.speaker_column)?.map(|speaker| speaker.to_ascii_lowercase()).as_deref() {
            None | Some("customer") => Speaker::Customer,
            Some("bot") => Speaker::Bot,
            Some("agent") => Speaker::Agent,
            Some(_) => bail!("{}: line {}: found another speaker, expected customer, bot or agent", path.display(), row.line),
        };
        if conversations.last().is_none_or(|last| last.name != name) {
            if !names.insert(name.clone()) {
                bail!(
                    "{}: line {}: rows of an earlier conversation, expected those of one conversation together",
                    path.display(),
                    row.line
                );
            }
            let label = match &arguments.label_column {
                Some(column) => row.optional_text(column).map_err(wrong)?.map(str::to_owned),
                None => None,
            };
            let id = Id::new(format!("line-{}", row.line)).expect("short and printable");
            let mut entries = Vec::new();
            if let Some(facts) = &facts {
                entries.push(Entry { at: Timestamp::default(), what: What::Facts(facts.clone()) });
            }
            conversations.push(Conversation { transcript: Transcript { id, before: Vec::new(), entries }, name, label });
        }
        let entries = &mut conversations.last_mut().expect("one was just put there").transcript.entries;
        if entries.len() >= ENTRIES_MAX {
            bail!("{}: line {}: more than {ENTRIES_MAX} messages of one conversation", path.display(), row.line);
        }
        let id = Id::new(format!("line-{}", row.line)).expect("short and printable");
        // Half a minute apart: a table without times says nothing about them.
        let at = Timestamp::from_millis(30_000 * (1 + entries.len() as i64)).expect("within the year 9999");
        let said = Said { id, speaker, text: text.to_owned(), confidence: None, proposal: true, unscored: None };
        entries.push(Entry { at, what: What::Message(said) });
    }
    if conversations.is_empty() {
        bail!("{}: no messages", path.display());
    }
    Ok(conversations)
}

fn table_facts(given: &[String]) -> Result<Option<crate::handoff::input::Facts>> {
    if given.is_empty() {
        return Ok(None);
    }
    let mut facts = crate::handoff::input::Facts::default();
    for fact in given {
        let (name, value) = fact.split_once('=').with_context(|| format!("--fact: found {fact:?}, expected NAME=VALUE"))?;
        // Quotes, or a name whose value is always a text, keep what looks like a number from being one.
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = match (quoted, value.parse::<bool>(), value.parse::<f64>()) {
            (Some(text), ..) => Fact::Text(text.to_owned()),
            (None, ..) if ["tier", "since"].contains(&name) => Fact::Text(value.to_owned()),
            (None, Ok(flag), _) => Fact::Flag(flag),
            (None, _, Ok(number)) => Fact::Number(number),
            (None, ..) => Fact::Text(value.to_owned()),
        };
        facts = facts.with(name, value).map_err(|fault| anyhow!("--fact: {fault}"))?;
    }
    Ok(Some(facts))
}

struct Player<'a> {
    scorer: &'a Scorer,
    policy: &'a Policy,
    observer: Observer,
}

/// One turn with what it led to.
struct Turn {
    place: usize,
    receipt: Receipt,
    effects: Value,
}

impl Player<'_> {
    fn score(&self, mut texts: Vec<Scorable>) -> Result<SignalTable> {
        texts.sort();
        texts.dedup();
        let batches = bulk::map(&texts, BATCH, |batch| self.observer.batch(self.scorer, batch), |_| ())?;
        Ok(texts.into_iter().zip(batches).collect())
    }

    fn conversation(&self, arguments: &ReplayArguments, transcript: &Transcript) -> Result<()> {
        let table = self.score(transcript.texts())?;
        let mut turns = Vec::new();
        let mut out = Vec::new();
        transcript.play(
            self.policy,
            |text| table.get(text).cloned().ok_or(Unscored::NotAsked),
            |place, step: &Step| {
                // A long conversation keeps only what is shown.
                if arguments.json {
                    out.push(turn_json(self.policy, place, step));
                } else if arguments.receipts || step.decision.action != Action::None || place + 1 == transcript.entries.len() {
                    let effects = serde_json::to_value(&step.effects).unwrap_or_default();
                    turns.push(Turn { place, receipt: step.receipt.clone(), effects });
                }
                if !arguments.json {
                    out.push(row(self.policy, transcript, place, step));
                }
            },
        );
        if arguments.json {
            return print(&out.iter().map(|line| format!("{}\n", line.join(""))).collect::<String>());
        }
        let mut text = render::table(&["turn", "who", "message", "decision"], out);
        let decided = turns.iter().any(|turn| turn.receipt.decision.action != Action::None);
        // Where nothing was decided, the last turn says why not.
        let last = turns.len().saturating_sub(1);
        for (at, turn) in turns.iter().enumerate() {
            if arguments.receipts || turn.receipt.decision.action != Action::None || (!decided && at == last) {
                text.push_str(&format!("\nTurn {}: {}", turn.place + 1, turn.receipt.in_words(self.policy)));
                if turn.effects.as_array().is_some_and(|effects| !effects.is_empty()) {
                    text.push_str(&format!("to do: {}\n", turn.effects));
                }
                text.push_str(&format!(
                    "receipt {}, policy {}, model {}\n",
                    turn.receipt.digest().short(),
                    turn.receipt.policy_digest.short(),
                    &short(&turn.receipt.model_digest)
                ));
            }
        }
        print(&text)
    }

    fn table(&self, arguments: &ReplayArguments, conversations: &[Conversation]) -> Result<()> {
        let bar = progress_bar(conversations.len() as u64, "replay", false);
        let messages = AtomicU64::new(0);
        let verdicts = bulk::map(
            conversations,
            CHUNK,
            |chunk| {
                let texts = chunk.iter().flat_map(|conversation| conversation.transcript.texts()).collect();
                let table = self.observer.table(self.scorer, texts)?;
                let verdict = |conversation: &Conversation| {
                    messages.fetch_add(conversation.transcript.entries.len() as u64, Ordering::Relaxed);
                    self.verdict(conversation, &table)
                };
                Ok::<_, ScoreError>(chunk.iter().map(verdict).collect())
            },
            |done| bar.inc(done as u64),
        )?;
        bar.finish_and_clear();
        let summary = Summary::new(self.policy, conversations, &verdicts);
        print(&if arguments.json {
            format!("{}\n", summary.to_json(self.policy, messages.into_inner(), conversations, &verdicts))
        } else {
            summary.to_text(self.policy, conversations, &verdicts)
        })
    }

    fn verdict(&self, conversation: &Conversation, table: &SignalTable) -> Verdict {
        let mut verdict = Verdict::default();
        conversation.transcript.play(
            self.policy,
            |text| table.get(text).cloned().ok_or(Unscored::NotAsked),
            |place, step: &Step| {
                for fired in &step.decision.fired {
                    if !verdict.fired.contains(fired) {
                        verdict.fired.push(*fired);
                    }
                }
                let Some(trigger) = step.decision.trigger else { return };
                let rule = &self.policy.triggers[usize::from(trigger)];
                let first = match (step.decision.action, rule.urgency) {
                    (Action::HandOver, Urgency::Immediate) => &mut verdict.immediate,
                    (Action::Attempt, _) | (Action::HandOver, Urgency::Soft) => &mut verdict.soft,
                    (Action::None | Action::Resolved, _) => return,
                };
                if first.is_none() {
                    let receipt = &step.receipt.triggers[usize::from(trigger)];
                    *first = Some(Alarm { trigger, place, why: receipt.reasons(&rule.when, self.policy) });
                }
            },
        );
        verdict
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn row(policy: &Policy, transcript: &Transcript, place: usize, step: &Step) -> Vec<String> {
    let (who, text) = match &transcript.entries[place].what {
        What::Message(said) => (said.speaker.as_str(), render::shorten(&said.text, 60)),
        What::Event(event) => ("event", format!("{} {}", event.kind, render::shorten(&event.name, 40))),
        What::Facts(_) => ("facts", String::new()),
        What::Timer => ("time", transcript.entries[place].at.to_string()),
        What::Returned => ("returned", String::new()),
    };
    let decision = if step.decision.action == Action::None && step.decision.fired.is_empty() {
        String::new()
    } else {
        describe(&step.decision, policy)
    };
    vec![(place + 1).to_string(), who.to_owned(), text, decision]
}

/// The turn as one line of JSON; the values of the receipt, no text.
fn turn_json(policy: &Policy, place: usize, step: &Step) -> Vec<String> {
    let mut value = json!({"turn": place + 1});
    if let (Some(turn), Value::Object(receipt)) = (value.as_object_mut(), step.receipt.to_json(policy)) {
        turn.extend(receipt);
    }
    vec![value.to_string()]
}

/// What became of one conversation of a table.
#[derive(Clone, Debug, Default)]
struct Verdict {
    fired: Vec<u16>,
    immediate: Option<Alarm>,
    soft: Option<Alarm>,
}

#[derive(Clone, Debug)]
struct Alarm {
    trigger: u16,
    place: usize,
    why: String,
}

struct Summary {
    immediate: usize,
    soft: usize,
    by_trigger: Vec<usize>,
    categories: Vec<Category>,
}

/// How well the triggers of one category do on labelled rows.
struct Category {
    name: String,
    labelled: usize,
    fired: usize,
    both: usize,
}

impl Summary {
    fn new(policy: &Policy, conversations: &[Conversation], verdicts: &[Verdict]) -> Self {
        let by_trigger = (0..policy.triggers.len())
            .map(|at| verdicts.iter().filter(|verdict| verdict.fired.iter().any(|f| usize::from(*f) == at)).count());
        let mut names: Vec<&str> = policy.triggers.iter().map(|trigger| trigger.category.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let categories = names.into_iter().filter_map(|name| {
            let labelled = |conversation: &Conversation| conversation.label.as_deref() == Some(name);
            let fired = |verdict: &Verdict| verdict.fired.iter().any(|at| policy.triggers[usize::from(*at)].category == name);
            let rows = || conversations.iter().zip(verdicts);
            let labelled_rows = rows().filter(|(c, _)| labelled(c)).count();
            (labelled_rows >= LABELLED_MIN).then(|| Category {
                name: name.to_owned(),
                labelled: labelled_rows,
                fired: rows().filter(|(_, v)| fired(v)).count(),
                both: rows().filter(|(c, v)| labelled(c) && fired(v)).count(),
            })
        });
        Self {
            immediate: verdicts.iter().filter(|verdict| verdict.immediate.is_some()).count(),
            soft: verdicts.iter().filter(|verdict| verdict.soft.is_some()).count(),
            by_trigger: by_trigger.collect(),
            categories: categories.collect(),
        }
    }

    fn to_text(&self, policy: &Policy, conversations: &[Conversation], verdicts: &[Verdict]) -> String {
        let total = conversations.len();
        let rows = [("conversations", total), ("immediate handoff", self.immediate), ("soft", self.soft)];
        let rows = rows.map(|(name, count)| vec![name.to_owned(), count.to_string(), percent(count, total)]);
        let mut text = render::table(&["", "conversations", "share (95 % interval)"], rows.into());
        let triggers = policy.triggers.iter().zip(&self.by_trigger).filter(|(_, count)| **count > 0);
        let triggers = triggers.map(|(trigger, count)| {
            vec![trigger.id.clone(), trigger.urgency.as_str().to_owned(), count.to_string(), percent(*count, total)]
        });
        text.push_str(&render::table(&["trigger", "urgency", "conversations", "share (95 % interval)"], triggers.collect()));
        if !self.categories.is_empty() {
            let rows = self.categories.iter().map(|category| {
                vec![
                    category.name.clone(),
                    category.labelled.to_string(),
                    percent(category.both, category.fired),
                    percent(category.both, category.labelled),
                ]
            });
            text.push_str(&render::table(
                &["category", "labelled rows", "precision (95 % interval)", "recall (95 % interval)"],
                rows.collect(),
            ));
        }
        let listed = worst(conversations, verdicts).into_iter().map(|(conversation, alarm)| {
            let said = match &conversation.transcript.entries[alarm.place].what {
                What::Message(said) => render::shorten(&said.text, 70),
                _ => String::new(),
            };
            vec![render::shorten(&conversation.name, 44), policy.triggers[usize::from(alarm.trigger)].id.clone(), said, alarm.why.clone()]
        });
        let listed: Vec<Vec<String>> = listed.collect();
        if !listed.is_empty() {
            text.push_str(&render::table(&["conversation", "trigger", "message", "because"], listed));
        }
        text
    }

    fn to_json(&self, policy: &Policy, messages: u64, conversations: &[Conversation], verdicts: &[Verdict]) -> Value {
        let total = conversations.len();
        let share = |count: usize, of: usize| {
            let (low, high) = wilson(count, of);
            json!({"count": count, "of": of, "share": ratio(count, of), "interval_95": [digits(low), digits(high)]})
        };
        let triggers = policy.triggers.iter().zip(&self.by_trigger).map(|(trigger, count)| (trigger.id.clone(), share(*count, total)));
        let categories = self.categories.iter().map(|category| {
            let value = json!({"labelled": category.labelled, "precision": share(category.both, category.fired), "recall": share(category.both, category.labelled)});
            (category.name.clone(), value)
        });
        let worst = worst(conversations, verdicts).into_iter().map(|(conversation, alarm)| {
            json!({
                "conversation": conversation.name,
                "turn": alarm.place + 1,
                "trigger": policy.triggers[usize::from(alarm.trigger)].id,
                "because": alarm.why,
            })
        });
        json!({
            "policy_digest": policy.digest.to_string(),
            "model_digest": policy.vocabulary.model,
            "conversations": total,
            "messages": messages,
            "immediate": share(self.immediate, total),
            "soft": share(self.soft, total),
            "triggers": Value::Object(triggers.collect::<Map<_, _>>()),
            "categories": Value::Object(categories.collect::<Map<_, _>>()),
            "worst": worst.collect::<Vec<_>>(),
        })
    }
}

/// The conversations that would be handed over first: at once before softly, early before late.
fn worst<'a>(conversations: &'a [Conversation], verdicts: &'a [Verdict]) -> Vec<(&'a Conversation, &'a Alarm)> {
    let mut alarms: Vec<(bool, usize, usize)> = Vec::new();
    for (at, verdict) in verdicts.iter().enumerate() {
        if let Some(alarm) = &verdict.immediate {
            alarms.push((false, alarm.place, at));
        } else if let Some(alarm) = &verdict.soft {
            alarms.push((true, alarm.place, at));
        }
    }
    alarms.sort_unstable();
    let alarm = |(soft, _, at): (bool, usize, usize)| {
        let alarm = if soft { verdicts[at].soft.as_ref() } else { verdicts[at].immediate.as_ref() };
        Some((&conversations[at], alarm?))
    };
    alarms.into_iter().take(WORST).filter_map(alarm).collect()
}

fn ratio(count: usize, of: usize) -> Value {
    if of == 0 { Value::Null } else { digits(count as f64 / of as f64) }
}

fn digits(value: f64) -> Value {
    Value::from((value * 1e5).round() / 1e5)
}

fn percent(count: usize, of: usize) -> String {
    if of == 0 {
        return "-".to_owned();
    }
    let (low, high) = wilson(count, of);
    format!("{:.1} % ({:.1} to {:.1})", 100.0 * count as f64 / of as f64, 100.0 * low, 100.0 * high)
}

/// 95 % interval of a share (Wilson 1927): honest for small counts and shares near 0 and 1.
fn wilson(count: usize, of: usize) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, p, z) = (of as f64, count as f64 / of as f64, 1.959_964);
    let middle = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_wilson() {
        // Values from the formula of the paper, computed by hand for 8 of 10 and at the ends.
        let near = |(low, high): (f64, f64), expected: (f64, f64)| (low - expected.0).abs() < 1e-3 && (high - expected.1).abs() < 1e-3;
        assert!(near(wilson(8, 10), (0.4902, 0.9433)), "{:?}", wilson(8, 10));
        assert!(near(wilson(0, 10), (0.0, 0.2775)), "{:?}", wilson(0, 10));
        assert!(near(wilson(10, 10), (0.7225, 1.0)), "{:?}", wilson(10, 10));
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }
}
