//! `baton package`: what the person who takes over an exported conversation would read.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::policy::PolicyFileArguments;
use super::replay::read_conversation;
use super::{ModelArguments, Outcome, load_model, print};
use crate::config::Places;
use crate::handoff::note::{self, Helpdesk, NoteFault, Options, Place, Request};
use crate::handoff::package::Package;
use crate::handoff::package::render::{Form, render};
use crate::service::observe::{Observer, vocabulary};
use crate::service::packaging::of_transcript;
use crate::service::proving::ProvingError;

/// Arguments of `baton package`.
#[derive(Clone, Debug, clap::Args)]
pub struct PackageArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    file: PolicyFileArguments,
    /// JSON Lines file with one exported conversation; docs/conversation.md has the format; may be given several times.
    #[arg(long, value_name = "FILE", required = true)]
    conversation: Vec<PathBuf>,
    /// How it is written; json gives one object a conversation, and so does a helpdesk: the requests that would put the note there. None is sent.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    note: NoteArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Markdown,
    Text,
    Json,
    Zendesk,
    Freshdesk,
    Intercom,
    Chatwoot,
    Zammad,
}

/// Where in a helpdesk the note goes, and what goes beside it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Notes for a helpdesk")]
struct NoteArguments {
    /// Number of the ticket or conversation in the helpdesk.
    #[arg(long, value_name = "NUMBER")]
    ticket_id: Option<String>,
    /// Number of the account; Chatwoot needs it.
    #[arg(long, value_name = "NUMBER")]
    account_id: Option<String>,
    /// Tags that are added, apart by commas; Freshdesk and Chatwoot need --merge.
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,
    /// What Freshdesk and Chatwoot replace as a whole is read, merged and written; a change made in between is lost.
    #[arg(long)]
    merge: bool,
    /// A handoff that cannot wait raises the ticket's priority; none is lowered, and Intercom has none.
    #[arg(long)]
    priority: bool,
    /// Fields that are set, such as trigger=360001,queue=360002; Chatwoot needs --merge.
    #[arg(long, value_name = "FIELDS")]
    fields: Option<String>,
    /// Longest note, where it must be shorter than the helpdesk allows.
    #[arg(long, value_name = "LENGTH")]
    length_max: Option<String>,
    /// Admin of Intercom who writes the note; Intercom needs it.
    #[arg(long, value_name = "NUMBER")]
    intercom_admin_id: Option<String>,
    /// Tags of Intercom that are attached, by their ids, apart by commas.
    #[arg(long, value_name = "NUMBERS")]
    intercom_tag_ids: Option<String>,
}

impl NoteArguments {
    /// Place and options, or the flag that is wrong.
    fn read(&self) -> Result<(Place, Options)> {
        let typed = [
            ("tags", self.tags.as_deref()),
            ("merge", self.merge.then_some("on")),
            ("priority", self.priority.then_some("on")),
            ("fields", self.fields.as_deref()),
            ("length_max", self.length_max.as_deref()),
            ("intercom_admin_id", self.intercom_admin_id.as_deref()),
            ("intercom_tag_ids", self.intercom_tag_ids.as_deref()),
        ];
        let mut options = Options::default();
        for (key, value) in typed {
            options.set(key, value.unwrap_or_default()).map_err(|fault| by_flag(&fault))?;
        }
        let ticket = self.ticket_id.as_deref().ok_or_else(|| anyhow!("--ticket-id: not given; a note for a helpdesk needs it"))?;
        let place = Place::new(ticket, self.account_id.as_deref()).map_err(|fault| by_flag(&fault))?;
        Ok((place, options))
    }
}

/// A fault, by the flag that was typed.
fn by_flag(fault: &NoteFault) -> anyhow::Error {
    anyhow!("--{}: {}", fault.field.replace('_', "-"), fault.what)
}

/// How a package is written, with all that is needed for it.
enum Writing {
    Form(Form),
    Json,
    Note(Helpdesk, Place, Options),
}

impl Writing {
    fn of(arguments: &PackageArguments) -> Result<Self> {
        let helpdesk = match arguments.format {
            Format::Markdown => return Ok(Self::Form(Form::Markdown)),
            Format::Text => return Ok(Self::Form(Form::Text)),
            Format::Json => return Ok(Self::Json),
            Format::Zendesk => Helpdesk::Zendesk,
            Format::Freshdesk => Helpdesk::Freshdesk,
            Format::Intercom => Helpdesk::Intercom,
            Format::Chatwoot => Helpdesk::Chatwoot,
            Format::Zammad => Helpdesk::Zammad,
        };
        let (place, options) = arguments.note.read()?;
        Ok(Self::Note(helpdesk, place, options))
    }

    fn write(&self, package: &Package, file: &str) -> Result<String> {
        let object = match self {
            Self::Form(form) => return Ok(render(package, *form)),
            Self::Json => json!({"file": file, "package": package}),
            Self::Note(helpdesk, place, options) => {
                let requests = note::render(*helpdesk, package, *place, options).map_err(|fault| by_flag(&fault))?;
                let requests: Vec<Value> = requests.iter().map(Request::json).collect();
                json!({"file": file, "helpdesk": helpdesk.as_str(), "requests": requests})
            }
        };
        Ok(format!("{object}\n"))
    }
}

/// Runs `baton package`.
pub fn run(arguments: &PackageArguments, places: &Places) -> Result<Outcome> {
    let writing = Writing::of(arguments)?;
    let source = arguments.file.read()?;
    let transcripts = arguments.conversation.iter().map(|path| read_conversation(path)).collect::<Result<Vec<_>>>()?;
    let scorer = load_model(&arguments.model, places)?;
    let policy = source.read_policy(&vocabulary(&scorer)).map_err(|faults| anyhow!("{}", ProvingError::Policy(faults)))?;
    let observer = Observer::new(&scorer, &policy)?;
    for (transcript, path) in transcripts.iter().zip(&arguments.conversation) {
        let table = observer.table(&scorer, transcript.texts())?;
        let played = of_transcript(scorer.lexicon(), &policy, transcript, &table);
        print(&writing.write(&played.package, &path.display().to_string())?)?;
    }
    Ok(Outcome::Success)
}
