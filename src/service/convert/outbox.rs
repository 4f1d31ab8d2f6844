//! The outbox of `AdminService`.

use super::conversation::stamp;
use super::pb;
use crate::service::status::BadField;
use crate::service::store::{Letter, LetterState, Resend};

/// Letters or keys of one call at most.
const LETTERS_MAX: u32 = 1000;

/// How many letters a call tells.
pub fn letters_max(asked: u32) -> usize {
    let most = if asked == 0 { LETTERS_MAX } else { asked.min(LETTERS_MAX) };
    most as usize
}

/// A letter.
pub fn letter(letter: &Letter) -> pb::OutboxLetter {
    let state = match letter.state {
        LetterState::Pending => pb::OutboxState::Pending,
        LetterState::Dead => pb::OutboxState::Dead,
        LetterState::Unaddressed => pb::OutboxState::Unaddressed,
        // Delivered ones are not told.
        LetterState::Delivered => pb::OutboxState::Unspecified,
    };
    pb::OutboxLetter {
        number: letter.number,
        key: letter.key.clone(),
        conversation_id: letter.conversation.to_string(),
        destination: letter.destination.clone(),
        state: state.into(),
        decided_at: Some(stamp(letter.born)),
        attempts: letter.attempts,
        next_at: (letter.state == LetterState::Pending).then(|| stamp(letter.next_at)),
        reason: letter.reason.clone().unwrap_or_default(),
    }
}

/// Which letters are to be put back.
pub fn resend(request: pb::ResendOutboxRequest) -> Result<Resend, BadField> {
    let keys = request.keys;
    match (request.all_dead, keys.len()) {
        (true, 0) => Ok(Resend::AllDead),
        (true, some) => Err(BadField::new("keys", format!("found {some}, expected none together with all_dead"))),
        (false, 0) => Err(BadField::new("keys", "found none, expected some or all_dead")),
        (false, some) if some > LETTERS_MAX as usize => Err(BadField::new("keys", format!("found {some}, expected at most {LETTERS_MAX}"))),
        (false, _) => Ok(Resend::Keys(keys)),
    }
}
