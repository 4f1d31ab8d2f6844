//! What the customer reads at a handoff: a message of the policy, in the customer's language, with what is known of the conversation filled in.
//!
//! In: a policy, the place of a message in it, the situation, a language tag and the slots. Out: three sentences, each of which says something.
//!
//! Cannot fail: every template was compiled and rendered, with everything known and with nothing known, when the policy was read ([`fault_of`]). Slots are
//! values and never templates: "{{ wait }}" in an issue stays text. They are cleaned of what steers a screen (control characters, marks of direction,
//! characters without width) and cut at a fixed length. A reply is plain text: who shows it as HTML or Markdown must escape it there. Slots are told as
//! they are: who fills the issue with a customer's words masks them before ([`mask`](super::mask::mask)).

use std::time::Duration;

use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::package::Package;
use super::policy::language::LanguageWords;
use super::policy::{MessageTemplate, Policy};
use super::summary::issue::Issue;

/// Names between braces that a part of a message may use.
pub const PART_VARIABLES: [&str; 7] = ["issue", "name", "name_suffix", "account", "queue_name", "wait", "agent"];
/// Those of what is said when the person is there: nobody waits any more.
pub const CONNECTED_VARIABLES: [&str; 6] = ["issue", "name", "name_suffix", "account", "queue_name", "agent"];
/// Those of the line that is offered to the agent.
pub const OPENING_VARIABLES: [&str; 7] = ["issue", "name", "name_suffix", "account", "queue_name", "agent", "tried"];

/// What is known of a conversation. Every field may hold a customer's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// What it is about, as it stands in a sentence: "the double charge on your bill".
    pub issue: Option<String>,
    /// The customer's name.
    pub name: Option<String>,
    /// The account's name.
    pub account: Option<String>,
    /// The queue's name for customers.
    pub queue_name: String,
    /// How long it will take until a person answers.
    pub wait: Option<Duration>,
    /// The name of the person who takes over.
    pub agent: Option<String>,
    /// What the bot tried.
    pub tried: Option<String>,
}

/// Where the handoff stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Situation {
    /// A person is being found.
    #[default]
    Connecting,
    /// The queue is closed.
    OffHours,
    /// Everyone of the queue is busy.
    AtCapacity,
    /// A person is there.
    Connected,
}

impl Situation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connecting, Self::OffHours, Self::AtCapacity, Self::Connected];
}

/// What the customer reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Names the issue; once a person is there, names the person.
    pub acknowledge: String,
    /// Says that a person takes over with all that is known.
    pub reassure: String,
    /// Says what comes and when.
    pub expect: String,
    /// Asks for an e-mail address, where that is wanted and the language has words for it.
    pub ask_email: Option<String>,
}

impl Reply {
    /// The parts as one text.
    pub fn text(&self) -> String {
        let parts = [&self.acknowledge, &self.reassure, &self.expect].into_iter().chain(&self.ask_email);
        parts.map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// The same, with the policy's question for an e-mail address.
    pub fn asking_for_email(self, words: &LanguageWords) -> Self {
        Self { ask_email: Some(words.ask_email.clone()).filter(|question| !question.is_empty()), ..self }
    }
}

/// Id of the message for [`Situation::OffHours`].
pub const OFF_HOURS: &str = "off-hours";
/// Id of the message for [`Situation::AtCapacity`].
pub const AT_CAPACITY: &str = "at-capacity";

/// The message at a place of the policy, for a customer who reads this language; in the policy's own where it has no such language.
pub fn render(policy: &Policy, message: usize, situation: Situation, language: &str, slots: &Slots) -> Reply {
    let (words, messages) = policy.in_language(language);
    let own = &messages[message];
    let (acknowledge, reassure, expect) = match situation {
        Situation::Connecting => parts(own, expected(own, slots.wait.is_some())),
        Situation::OffHours => instead(messages, own, own.expect_off_hours.as_deref(), OFF_HOURS, slots),
        Situation::AtCapacity => instead(messages, own, own.expect_at_capacity.as_deref(), AT_CAPACITY, slots),
        Situation::Connected => {
            let connected = &words.connected;
            (own.connected.as_deref().unwrap_or(&connected.acknowledge), connected.reassure.as_str(), connected.expect.as_str())
        }
    };
    let filled = |template| fill(template, words, slots).expect("every template was rendered when the policy was read");
    Reply { acknowledge: filled(acknowledge), reassure: filled(reassure), expect: filled(expect), ask_email: None }
}

/// The line that is offered to the agent for a start.
pub fn opening(policy: &Policy, message: usize, language: &str, slots: &Slots) -> String {
    let (words, messages) = policy.in_language(language);
    let template = messages[message].opening.as_deref().unwrap_or(&words.opening);
    fill(template, words, slots).expect("every template was rendered when the policy was read")
}

/// What is asked of a message about a handoff.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Where the handoff stands.
    pub situation: Situation,
    /// The customer's language; absent: the policy's own.
    pub language: Option<String>,
    /// How long the customer will wait, where that is known.
    pub wait: Option<Duration>,
    /// The person who takes over.
    pub agent: Option<String>,
    /// Whether the customer is asked for an e-mail address as well.
    pub ask_email: bool,
}

/// The message about a handoff by a trigger, with what the package knows, and the line for the agent where one is there; `None` where the policy has no such
/// trigger.
pub fn of_package(policy: &Policy, trigger: &str, package: &Package, wanted: &Wanted) -> Option<(Reply, Option<String>)> {
    let trigger = policy.triggers.iter().find(|known| known.id == trigger)?;
    let language = wanted.language.as_deref().unwrap_or(policy.words.tag.as_str());
    let (words, _) = policy.in_language(language);
    let issue = package.summary.value().and_then(|summary| summary.issue.as_ref());
    // A trigger for what has a name is about just that: "the security of your account", whatever else was spoken of.
    let decided = Issue { label: trigger.category.clone(), ..issue.cloned().unwrap_or_default() };
    let sure = issue.filter(|issue| issue.probability >= NAMED);
    let slots = Slots {
        issue: words.issues.say(&decided).or_else(|| words.issues.say(sure?)),
        name: package.customer.value().cloned(),
        account: package.account.value().cloned(),
        queue_name: policy.queues[trigger.queue].name.clone(),
        wait: wanted.wait,
        agent: wanted.agent.clone(),
        tried: package.highlights.tried.last().map(|solution| solution.what.clone()),
    };
    let reply = render(policy, trigger.message, wanted.situation, language, &slots);
    let reply = if wanted.ask_email { reply.asking_for_email(words) } else { reply };
    let connected = wanted.situation == Situation::Connected;
    Some((reply, connected.then(|| opening(policy, trigger.message, language, &slots))))
}

/// p(issue) from which the customer hears its name; a wrong one is worse than none.
const NAMED: f64 = 0.6;

type Parts<'p> = (&'p str, &'p str, &'p str);

fn parts<'p>(message: &'p MessageTemplate, expect: &'p str) -> Parts<'p> {
    (&message.acknowledge, &message.reassure, expect)
}

fn expected(message: &MessageTemplate, wait_known: bool) -> &str {
    message.expect_unknown_wait.as_deref().filter(|_| !wait_known).unwrap_or(&message.expect)
}

/// A message while nobody can take over: its own variant, else the policy's message for it, else its own without a wait.
fn instead<'p>(messages: &'p [MessageTemplate], own: &'p MessageTemplate, variant: Option<&'p str>, id: &str, slots: &Slots) -> Parts<'p> {
    let wait_known = slots.wait.is_some();
    match (variant, messages.iter().find(|message| message.id == id)) {
        (Some(variant), _) if wait_known || !names_wait(variant) => parts(own, variant),
        (Some(_), _) | (None, None) => parts(own, expected(own, false)),
        (None, Some(message)) => parts(message, expected(message, wait_known)),
    }
}

/// The names between braces.
pub(super) fn variables_of(template: &str) -> impl Iterator<Item = &str> {
    template.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim()))
}

/// Whether a template tells the wait.
pub(super) fn names_wait(template: &str) -> bool {
    variables_of(template).any(|name| name == "wait")
}

/// What is wrong with a template, if anything: rendered with everything known and with nothing known, it must say something.
pub(super) fn fault_of(template: &str, words: &LanguageWords) -> Option<String> {
    let some = |text: &str| Some(text.to_owned());
    let wait = names_wait(template).then_some(Duration::from_secs(240));
    let nothing = Slots { queue_name: "support".to_owned(), wait, ..Slots::default() };
    let everything = Slots {
        issue: some("the late parcel"),
        name: some("Anna"),
        account: some("Acme"),
        agent: some("Ben"),
        tried: some("a restart"),
        ..nothing.clone()
    };
    [(everything, "everything"), (nothing, "nothing")].into_iter().find_map(|(slots, known)| match fill(template, words, &slots) {
        Err(error) => Some(format!("cannot be rendered: {error}")),
        Ok(text) if !text.contains(char::is_alphanumeric) => Some(format!("says nothing where {known} of the conversation is known")),
        Ok(_) => None,
    })
}

/// Stands for a name that is not known, until the space before it is gone; no slot and no template can hold it.
const NO_NAME: char = '\u{1}';

fn fill(template: &str, words: &LanguageWords, slots: &Slots) -> Result<String, minijinja::Error> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let text = environment.render_str(template, values(words, slots))?;
    let text = text.replace(&format!(" {NO_NAME}"), "").replace(NO_NAME, "");
    Ok(text.trim_start_matches([',', ' ']).trim().to_owned())
}

/// Most characters of a slot.
const ISSUE_CHARS_MAX: usize = 160;
const NAME_CHARS_MAX: usize = 80;
const TRIED_CHARS_MAX: usize = 300;

/// The values of a template; what is not known has a word of the language, except the wait, which is not there.
fn values(words: &LanguageWords, slots: &Slots) -> Value {
    let known = |slot: &Option<String>, chars_max| slot.as_deref().map(|value| clean(value, chars_max)).filter(|value| !value.is_empty());
    let or = |value: Option<String>, word: &str| value.unwrap_or_else(|| word.to_owned());
    // A sentence goes on after the issue.
    let issue = known(&slots.issue, ISSUE_CHARS_MAX).map(|issue| issue.trim_end_matches(['.', '!', '?', ',', ';', ':', ' ']).to_owned());
    let name = known(&slots.name, NAME_CHARS_MAX);
    let values = context! {
        issue => or(issue.filter(|issue| !issue.is_empty()), &words.request),
        name_suffix => name.as_deref().map_or_else(String::new, |name| words.name_suffix.replace("{name}", name)),
        name => or(name, &NO_NAME.to_string()),
        account => or(known(&slots.account, NAME_CHARS_MAX), &words.account),
        queue_name => or(Some(clean(&slots.queue_name, NAME_CHARS_MAX)).filter(|name| !name.is_empty()), &words.queue_name),
        agent => or(known(&slots.agent, NAME_CHARS_MAX), &words.agent),
        tried => or(known(&slots.tried, TRIED_CHARS_MAX), &words.tried),
    };
    match slots.wait {
        Some(wait) => context! { wait => told(wait, words), ..values },
        None => values,
    }
}

/// A value on one line without what steers a screen, of at most so many characters.
fn clean(value: &str, chars_max: usize) -> String {
    let visible = value.chars().filter_map(|c| match c {
        '\n' | '\r' | '\t' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(' '),
        _ if c.is_control() || is_invisible(c) => None,
        _ => Some(c),
    });
    let text: String = visible.take(4 * chars_max).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(chars_max) {
        None => text,
        Some(_) => {
            let end = text.char_indices().nth(chars_max - 1).map_or(text.len(), |(at, _)| at);
            format!("{}…", text[..end].trim_end())
        }
    }
}

/// Marks of direction, characters without width, tags and annotations.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// A wait in words, never less than it is: minutes up to 10, then by five, from an hour and a half on hours, from a day and a half on days.
fn told(wait: Duration, words: &LanguageWords) -> String {
    let minutes = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).div_ceil(60).max(1);
    let (number, one, many) = match minutes {
        0..=10 => (minutes, &words.minute, &words.minutes),
        11..=90 => (minutes.div_ceil(5) * 5, &words.minute, &words.minutes),
        91..=2160 => (minutes.div_ceil(60), &words.hour, &words.hours),
        _ => (minutes.div_ceil(24 * 60), &words.day, &words.days),
    };
    if number == 1 { one.clone() } else { many.replace("{n}", &number.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::policy::language::english;

    #[test]
    fn a_wait_is_never_told_shorter_than_it_is() {
        let words = english();
        for (secs, expected) in [
            (0, "about 1 minute"),
            (60, "about 1 minute"),
            (61, "about 2 minutes"),
            (181, "about 4 minutes"),
            (600, "about 10 minutes"),
            (601, "about 15 minutes"),
            (5400, "about 90 minutes"),
            (5401, "about 2 hours"),
            (129_600, "about 36 hours"),
            (129_601, "about 2 days"),
        ] {
            assert_eq!(told(Duration::from_secs(secs), &words), expected, "{secs}");
        }
        assert_eq!(told(Duration::from_millis(60_001), &words), "about 2 minutes");
        assert!(told(Duration::MAX, &words).ends_with(" days"));
    }

    #[test]
    fn slots_are_cleaned() {
        for (value, expected) in [
            ("Anna", "Anna"),
            (" An\u{200b}na\u{202e}\u{feff} \n\tB. ", "Anna B."),
            ("\u{7}\u{1b}[31mred\u{1}", "[31mred"),
            ("\u{202e}\u{200d}", ""),
            ("äöüäöüäöüäöü", "äöüäöüäöü…"),
            ("0123456789", "0123456789"),
        ] {
            assert_eq!(clean(value, 10), expected);
        }
    }

    #[test]
    fn a_template_says_something_or_is_told() {
        let words = english();
        for template in
            ["About {{ issue }}.", "Hello {{ name }}!", "Within {{ wait }}.", "{{ name_suffix }} ok", "{{ account }}{{ agent }}{{ tried }}"]
        {
            assert_eq!(fault_of(template, &words), None, "{template}");
        }
        for (template, expected) in [
            ("{{ name }}", "says nothing where nothing"),
            ("{{ name_suffix }}.", "says nothing where nothing"),
            ("...", "says nothing where everything"),
            ("{{ zzz }}", "cannot be rendered"),
            ("{{ issue", "cannot be rendered"),
            ("{% raw %}", "cannot be rendered"),
        ] {
            assert!(fault_of(template, &words).is_some_and(|fault| fault.starts_with(expected)), "{template}");
        }
    }

    #[test]
    fn a_name_that_is_not_known_leaves_no_gap() {
        let words = english();
        let filled = |template| fill(template, &words, &Slots::default()).unwrap();
        assert_eq!(filled("Hello {{ name }}, welcome{{ name_suffix }}."), "Hello, welcome.");
        assert_eq!(filled("{{ name }}, hello !"), "hello !");
    }
}
