//! The life of one trigger in one conversation.
//!
//! ```text
//! armed ⇄ held → fired → cooling → armed
//!   └──────────────┘
//! ```
//!
//! A condition must stand for `hold_turns` messages of the customer; then the trigger fires, once. It is armed again after `cooldown_turns` more messages and
//! once its `rearm` condition was true, so a score that swings within the two conditions fires at most once. Unknown moves nothing.

use serde::{Deserialize, Serialize};

use super::expression::Truth;

/// Longest hold of a trigger.
pub const HOLD_TURNS_MAX: u8 = 16;
/// Longest cool-down of a trigger.
pub const COOLDOWN_TURNS_MAX: u16 = 1000;

/// Where a trigger stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerState {
    /// Its condition does not stand.
    #[default]
    Armed,
    /// Its condition stands, not yet long enough.
    Held {
        /// The messages at which it stood, by sequence.
        messages: Vec<u32>,
    },
    /// It fired at this input.
    Fired,
    /// It fired and is not armed again.
    Cooling {
        /// Messages of the customer until it may be armed.
        turns_left: u16,
        /// Whether its `rearm` condition was true since.
        rearmed: bool,
    },
}

/// How a trigger moves; from the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Messages of the customer for which the condition must stand, at least 1.
    pub hold_turns: u8,
    /// Messages of the customer after firing before it may fire again.
    pub cooldown_turns: u16,
}

/// What one input says about a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Whether its condition stands.
    pub when: Truth,
    /// Whether it may be armed again.
    pub rearm: Truth,
    /// The customer's message, if the input is one, by sequence.
    pub customer_message: Option<u32>,
}

impl TriggerState {
    /// The word that stands in receipts.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Held { .. } => "held",
            Self::Fired => "fired",
            Self::Cooling { .. } => "cooling",
        }
    }

    /// The next state, and whether the trigger fires with it.
    pub fn next(self, moment: Moment, pace: Pace) -> (Self, bool) {
        let next = match self {
            Self::Armed => stand(Vec::new(), moment, pace),
            Self::Held { messages } => stand(messages, moment, pace),
            Self::Fired => cool(pace.cooldown_turns, false, moment),
            Self::Cooling { turns_left, rearmed } => cool(turns_left, rearmed, moment),
        };
        let fires = next == Self::Fired;
        (next, fires)
    }

    /// The state while a person has the conversation: nothing is held, fires or is armed, and what fired is past.
    pub fn frozen(self, pace: Pace) -> Self {
        match self {
            Self::Fired => Self::Cooling { turns_left: pace.cooldown_turns, rearmed: false },
            Self::Armed | Self::Held { .. } | Self::Cooling { .. } => self,
        }
    }

    /// The state when the person hands back: armed, but where the condition stands it has to fall first, so that the conversation is not handed over
    /// again at once.
    pub fn handed_back(when: Truth, pace: Pace) -> Self {
        match when {
            Truth::True => Self::Cooling { turns_left: pace.cooldown_turns, rearmed: false },
            Truth::False | Truth::Unknown => Self::Armed,
        }
    }

    /// Whether one state may follow another at one input: the table that the properties hold. Handing back to the bot arms or cools every trigger.
    pub fn may_become(&self, next: &Self) -> bool {
        match (self, next) {
            (_, Self::Armed) | (Self::Armed, Self::Held { .. } | Self::Fired) | (Self::Held { .. }, Self::Held { .. } | Self::Fired) => {
                true
            }
            (_, Self::Cooling { .. }) => true,
            (Self::Fired | Self::Cooling { .. }, Self::Held { .. } | Self::Fired) => false,
        }
    }
}

/// Armed or held: the condition stands at one message more, no longer, or as before.
fn stand(mut messages: Vec<u32>, moment: Moment, pace: Pace) -> TriggerState {
    match moment.when {
        Truth::False => TriggerState::Armed,
        Truth::Unknown => as_held(messages),
        // What a bot's turn, an event or a fact makes true counts at once where nothing has to be held.
        Truth::True if pace.hold_turns <= 1 => TriggerState::Fired,
        Truth::True => {
            messages.extend(moment.customer_message);
            if messages.len() >= usize::from(pace.hold_turns) { TriggerState::Fired } else { as_held(messages) }
        }
    }
}

fn as_held(messages: Vec<u32>) -> TriggerState {
    if messages.is_empty() { TriggerState::Armed } else { TriggerState::Held { messages } }
}

/// Fired or cooling: one message nearer to being armed.
fn cool(turns_left: u16, rearmed: bool, moment: Moment) -> TriggerState {
    let rearmed = rearmed || moment.rearm == Truth::True;
    if moment.customer_message.is_none() {
        return TriggerState::Cooling { turns_left, rearmed };
    }
    match turns_left.saturating_sub(1) {
        0 if rearmed => TriggerState::Armed,
        left => TriggerState::Cooling { turns_left: left, rearmed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays conditions, one a customer's message: `+` true, `-` false, `?` unknown, and tells where it fires. The trigger may be armed again where the
    /// condition is false.
    fn fires(conditions: &str, pace: Pace) -> Vec<usize> {
        let mut state = TriggerState::Armed;
        let mut fired = Vec::new();
        for (turn, condition) in conditions.chars().enumerate() {
            let when = match condition {
                '+' => Truth::True,
                '-' => Truth::False,
                _ => Truth::Unknown,
            };
            let before = state.clone();
            let (next, now) = state.next(Moment { when, rearm: when.not(), customer_message: Some(turn as u32) }, pace);
            assert!(before.may_become(&next), "{before:?} to {next:?}");
            fired.extend(now.then_some(turn));
            state = next;
        }
        fired
    }

    #[test]
    fn hold_cool_down_and_rearm() {
        for (hold_turns, cooldown_turns, conditions, expected) in [
            (1, 1, "--+--", vec![2]),
            (1, 1, "++++", vec![0]),
            (1, 1, "+-+-+", vec![0, 2, 4]),
            (1, 4, "+-+-+-+", vec![0, 6]),
            (2, 1, "+-+-+", vec![]),
            (2, 1, "-++-", vec![2]),
            (2, 1, "+?+", vec![2]),
            (2, 1, "+???", vec![]),
            (1, 1, "?????", vec![]),
            (3, 2, "+++-+++", vec![2]),
            (3, 2, "+++--+++", vec![2, 7]),
        ] {
            assert_eq!(
                fires(conditions, Pace { hold_turns, cooldown_turns }),
                expected,
                "hold {hold_turns}, cool {cooldown_turns}: {conditions}"
            );
        }
    }

    #[test]
    fn other_inputs_neither_hold_nor_cool() {
        let pace = Pace { hold_turns: 2, cooldown_turns: 1 };
        let other = Moment { when: Truth::True, rearm: Truth::False, customer_message: None };
        let (state, fires) = TriggerState::Armed.next(other, pace);
        assert_eq!((state, fires), (TriggerState::Armed, false));
        let (state, fires) = TriggerState::Armed.next(other, Pace { hold_turns: 1, ..pace });
        assert_eq!((&state, fires), (&TriggerState::Fired, true));
        let (state, _) = state.next(Moment { rearm: Truth::True, ..other }, pace);
        assert_eq!(state, TriggerState::Cooling { turns_left: 1, rearmed: true });
    }
}
