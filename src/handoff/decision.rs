//! What the engine decides at one input, and what the backend must do about it.

use serde::{Deserialize, Serialize};

use super::policy::Policy;

/// The decision at one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What happens now.
    pub action: Action,
    /// The trigger that decides, by its place in the policy; absent where nothing is decided.
    pub trigger: Option<u16>,
    /// Why.
    pub cause: Cause,
    /// Every trigger that fires at this input, the one that goes first at the front, by place in the policy.
    pub fired: Vec<u16>,
}

/// What happens now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The conversation goes on as it is.
    None,
    /// The bot makes one more attempt.
    Attempt,
    /// The further attempt worked.
    Resolved,
    /// A person takes over.
    HandOver,
}

impl Action {
    /// The word that stands in files and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Attempt => "attempt",
            Self::Resolved => "resolved",
            Self::HandOver => "hand_over",
        }
    }
}

/// Why a decision is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No trigger fired.
    NothingFired,
    /// The trigger fired.
    Fired,
    /// The trigger fired, and the policy grants the bot no further attempt.
    NoAttemptLeft,
    /// An attempt is under way; its outcome is awaited.
    AttemptPending,
    /// The customer took what the bot tried.
    AttemptAccepted,
    /// The customer rejected what the bot tried, asked again, or is still unhappy.
    AttemptRejected,
    /// The customer's answers said neither for as many turns as the policy waits.
    AttemptUnclear,
    /// The attempt took longer than the policy waits.
    AttemptTimedOut,
    /// A person has the conversation already, or is asked for.
    HandedOver,
    /// A person handed the conversation back.
    Returned,
    /// A trigger fired that only decides and records: a shadow, or one of a conversation outside the pilot.
    Shadow,
}

impl Cause {
    /// The word that stands in files and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NothingFired => "nothing_fired",
            Self::Fired => "fired",
            Self::NoAttemptLeft => "no_attempt_left",
            Self::AttemptPending => "attempt_pending",
            Self::AttemptAccepted => "attempt_accepted",
            Self::AttemptRejected => "attempt_rejected",
            Self::AttemptUnclear => "attempt_unclear",
            Self::AttemptTimedOut => "attempt_timed_out",
            Self::HandedOver => "handed_over",
            Self::Returned => "returned",
            Self::Shadow => "shadow",
        }
    }

    /// In words, after "because".
    pub fn words(self) -> &'static str {
        match self {
            Self::NothingFired => "no trigger fired",
            Self::Fired => "the trigger fired",
            Self::NoAttemptLeft => "the trigger fired and the bot has no further attempt left",
            Self::AttemptPending => "the bot's further attempt is under way",
            Self::AttemptAccepted => "the customer took what the bot tried",
            Self::AttemptRejected => "the bot's further attempt failed",
            Self::AttemptUnclear => "the bot's further attempt led nowhere",
            Self::AttemptTimedOut => "the bot's further attempt took too long",
            Self::HandedOver => "the conversation is handed over already",
            Self::Returned => "the person handed the conversation back to the bot",
            Self::Shadow => "the trigger only decides and records here",
        }
    }
}

/// What the backend must do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Let the bot make one more attempt.
    AskBot {
        /// The trigger that asks, by id.
        trigger: String,
    },
    /// The bot says nothing more.
    StopBot,
    /// Say this to the customer.
    TellCustomer {
        /// The message of the policy, by id.
        message: String,
    },
    /// Put the conversation into this queue.
    RequestHandoff {
        /// The queue of the policy, by id.
        queue: String,
        /// The trigger that asks, by id.
        trigger: String,
    },
    /// The bot speaks again.
    StartBot,
}

impl Decision {
    /// What must be done about it, in order. The bot is silent before the customer hears of a person, so that two never speak at once.
    pub fn effects(&self, policy: &Policy) -> Vec<Effect> {
        let trigger = self.trigger.map(|place| &policy.triggers[usize::from(place)]);
        match (self.action, trigger) {
            (Action::Attempt, Some(trigger)) => vec![Effect::AskBot { trigger: trigger.id.clone() }],
            (Action::HandOver, Some(trigger)) => vec![
                Effect::StopBot,
                Effect::TellCustomer { message: policy.messages[trigger.message].id.clone() },
                Effect::RequestHandoff { queue: policy.queues[trigger.queue].id.clone(), trigger: trigger.id.clone() },
            ],
            (Action::None, _) if self.cause == Cause::Returned => vec![Effect::StartBot],
            (Action::None | Action::Resolved | Action::Attempt | Action::HandOver, _) => Vec::new(),
        }
    }
}
