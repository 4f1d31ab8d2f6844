//! `baton demo`: the signals of a sample conversation, turn by turn.

use anyhow::Result;

use super::{ModelArguments, Outcome, load_model, print, render};
use crate::config::Places;
use crate::model::scorer::ScoreInput;

/// Arguments of `baton demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArguments {
    #[command(flatten)]
    model: ModelArguments,
}

/// Who speaks, and what.
const CONVERSATION: [(&str, &str); 9] = [
    ("customer", "Hi, I was charged twice for my subscription this month"),
    ("bot", "I am sorry to hear that. Would you like me to open the billing FAQ for you?"),
    ("customer", "no, I already read it and it does not help"),
    ("bot", "You can update your payment method in the settings. Shall I take you there?"),
    ("customer", "That is NOT what I asked. I want the second payment back!!"),
    ("bot", "I found an article about refunds. Does this answer your question?"),
    ("customer", "this is ridiculous, third time this year. is there anyone alive over there?"),
    ("customer", "if it is not back by friday my lawyer will be in touch. card 4111 1111 1111 1111"),
    ("customer", "Ich möchte bitte mein Geld zurück"),
];

/// Runs the command.
pub fn run(arguments: &DemoArguments, places: &Places) -> Result<Outcome> {
    let scorer = load_model(&arguments.model, places)?;
    let mut proposal = None;
    let mut rows = Vec::new();
    for (speaker, text) in CONVERSATION {
        if speaker == "bot" {
            proposal = Some(text);
            rows.push(vec![format!("bot: {}", render::shorten(text, 52))]);
            continue;
        }
        let signals = scorer.score(&[ScoreInput { text, proposal }])?.remove(0);
        rows.push(vec![
            render::shorten(text, 57),
            render::classification_cell(&signals.sentiment),
            render::tags_cell(&signals.emotion),
            render::classification_cell(&signals.intent),
            render::classification_cell(&signals.act),
            render::lexical_cell(&signals),
        ]);
    }
    let model = format!("{} {}", scorer.file().name, scorer.file().version);
    print(&format!("Signals of a conversation, scored on this machine by {model} ({}):\n\n", scorer.engine()))?;
    print(&render::table(&["turn", "sentiment", "emotion", "intent", "act", "rules"], rows))?;
    Ok(Outcome::Success)
}
