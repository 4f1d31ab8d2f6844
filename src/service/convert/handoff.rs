//! The messages of `HandoffService`.

use std::time::Duration;

use super::conversation::{id, owner, stamp};
use super::pb;
use crate::handoff::note::{self, Helpdesk, Options, Place, Purpose, Request};
use crate::handoff::package::Package;
use crate::handoff::package::head::head;
use crate::handoff::package::render::{Form, render};
use crate::handoff::reply::{self, Situation, Wanted};
use crate::message::Id;
use crate::service::memory::{MemoryError, Packaged};
use crate::service::status::BadField;

/// Most bytes of a name.
const NAME_BYTES_MAX: usize = 256;

/// A format that a caller may ask for.
pub fn format(format: i32) -> Result<pb::PackageFormat, BadField> {
    match pb::PackageFormat::try_from(format) {
        Ok(format @ (pb::PackageFormat::Markdown | pb::PackageFormat::Text | pb::PackageFormat::Json)) => Ok(format),
        Ok(pb::PackageFormat::Unspecified) | Err(_) => {
            let expected = "expected PACKAGE_FORMAT_MARKDOWN (1), PACKAGE_FORMAT_TEXT (2) or PACKAGE_FORMAT_JSON (3)";
            Err(BadField::new("format", format!("found {format}, {expected}")))
        }
    }
}

/// A package in a format.
pub fn package(package: &Package, format: pb::PackageFormat) -> pb::GetPackageResponse {
    pb::GetPackageResponse {
        content: match format {
            pb::PackageFormat::Markdown => render(package, Form::Markdown),
            pb::PackageFormat::Text => render(package, Form::Text),
            pb::PackageFormat::Json | pb::PackageFormat::Unspecified => serde_json::to_string(package).unwrap_or_default(),
        },
        head: head(package).into_iter().map(|(name, text)| pb::PackageLine { name: name.to_owned(), text }).collect(),
        completeness: package.completeness.share,
        missing: package.completeness.missing.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// The handoff that stands, if one does.
pub fn handoff(packaged: &Packaged) -> Option<pb::GetHandoffResponse> {
    let (receipt, edition) = packaged.decided.as_ref()?;
    let policy = &edition.policy;
    let trigger = policy.triggers.get(usize::from(receipt.decision.trigger?))?;
    Some(pb::GetHandoffResponse {
        trigger_id: trigger.id.clone(),
        category: trigger.category.clone(),
        urgency: trigger.urgency.as_str().to_owned(),
        queue_id: policy.queues[trigger.queue].id.clone(),
        message_id: policy.messages[trigger.message].id.clone(),
        reason: packaged.package.reason.value().map(|reason| reason.words.clone()).unwrap_or_default(),
        sequence: receipt.message,
        at: Some(stamp(receipt.at)),
        owner: owner(packaged.conversation.owner()).into(),
        epoch: packaged.conversation.epoch(),
        life: packaged.conversation.life.as_ref().map(super::routing::life),
    })
}

/// The line that is offered to the agent who has taken the conversation.
pub fn opening(packaged: &Packaged) -> Option<String> {
    let life = packaged.conversation.life.as_ref()?;
    let (_, edition) = packaged.decided.as_ref()?;
    let wanted = Wanted { situation: Situation::Connected, agent: life.agent_name.clone(), ..Wanted::default() };
    reply::of_package(&edition.policy, &life.trigger, &packaged.package, &wanted)?.1
}

/// A note that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedNote {
    /// The conversation.
    pub conversation: Id,
    helpdesk: Helpdesk,
    place: Place,
}

/// Checks which note is asked for.
pub fn asked_note(request: pb::RenderNoteRequest) -> Result<AskedNote, BadField> {
    let helpdesk = match pb::NoteFormat::try_from(request.format) {
        Ok(pb::NoteFormat::Zendesk) => Helpdesk::Zendesk,
        Ok(pb::NoteFormat::Freshdesk) => Helpdesk::Freshdesk,
        Ok(pb::NoteFormat::Intercom) => Helpdesk::Intercom,
        Ok(pb::NoteFormat::Chatwoot) => Helpdesk::Chatwoot,
        Ok(pb::NoteFormat::Zammad) => Helpdesk::Zammad,
        Ok(pb::NoteFormat::Unspecified) | Err(_) => {
            let what = format!("found {}, expected one of NOTE_FORMAT_ZENDESK (1) to NOTE_FORMAT_ZAMMAD (5)", request.format);
            return Err(BadField::new("format", what));
        }
    };
    let conversation = id(request.conversation_id, "conversation_id")?;
    let ticket = request.ticket_id.as_deref().unwrap_or(conversation.as_str());
    let place = Place::new(ticket, request.account_id.as_deref()).map_err(|fault| BadField::new(fault.field, fault.what))?;
    Ok(AskedNote { conversation, helpdesk, place })
}

/// The requests of a note.
pub fn note(package: &Package, asked: &AskedNote, options: &Options) -> Result<pb::RenderNoteResponse, MemoryError> {
    let requests = note::render(asked.helpdesk, package, asked.place, options).map_err(|fault| {
        if fault.is_of_the_place() {
            MemoryError::Bad(BadField::new(fault.field, fault.what))
        } else {
            MemoryError::Refused(BadField::new(format!("notes.{} of the settings", fault.field), fault.what))
        }
    })?;
    Ok(pb::RenderNoteResponse { requests: requests.iter().map(note_request).collect() })
}

fn note_request(request: &Request) -> pb::NoteRequest {
    let purpose = match request.purpose() {
        Purpose::Note => pb::NotePurpose::Note,
        Purpose::Tags => pb::NotePurpose::Tags,
        Purpose::Priority => pb::NotePurpose::Priority,
        Purpose::Fields => pb::NotePurpose::Fields,
    };
    let (method, path, body, merge) = match request {
        Request::Call(call) => (call.method(), call.path(), call.body().map(ToString::to_string), None),
        Request::Merge(merge) => {
            let how = pb::NoteMerge {
                read_path: merge.read().path().to_owned(),
                found_at: merge.found_at().to_owned(),
                key: merge.key().to_owned(),
                add: merge.add().to_string(),
            };
            (merge.method(), merge.path(), None, Some(how))
        }
    };
    pb::NoteRequest { purpose: purpose.into(), method: method.as_str().to_owned(), path: path.to_owned(), body, merge }
}

/// A message that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The conversation.
    pub conversation: Id,
    situation: Situation,
    language: String,
    wait: Option<Duration>,
    agent: Option<String>,
}

/// Checks what is asked for.
pub fn asked(request: pb::RenderMessageRequest) -> Result<Asked, BadField> {
    let situation = match pb::MessageSituation::try_from(request.situation) {
        Ok(pb::MessageSituation::Connecting) => Situation::Connecting,
        Ok(pb::MessageSituation::OffHours) => Situation::OffHours,
        Ok(pb::MessageSituation::AtCapacity) => Situation::AtCapacity,
        Ok(pb::MessageSituation::Connected) => Situation::Connected,
        Ok(pb::MessageSituation::Unspecified) | Err(_) => {
            let what = format!("found {}, expected one of MESSAGE_SITUATION_CONNECTING (1) to CONNECTED (4)", request.situation);
            return Err(BadField::new("situation", what));
        }
    };
    let agent = request.agent_name.filter(|name| !name.trim().is_empty());
    if agent.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        return Err(BadField::new("agent_name", format!("found more than {NAME_BYTES_MAX} bytes")));
    }
    if situation == Situation::Connected && agent.is_none() {
        return Err(BadField::new("agent_name", "found nothing, expected a name: the person is named to the customer"));
    }
    let wait = match request.wait {
        None => None,
        Some(wait) => {
            let secs = u64::try_from(wait.seconds).ok().filter(|secs| *secs <= 400 * 24 * 3600);
            let found = || BadField::new("wait", format!("found {} s, expected 0 to 400 days", wait.seconds));
            Some(Duration::from_secs(secs.ok_or_else(found)?))
        }
    };
    let language = request.language.unwrap_or_default();
    if language.len() > 16 {
        return Err(BadField::new("language", "found more than 16 bytes, expected a language such as de"));
    }
    Ok(Asked { conversation: id(request.conversation_id, "conversation_id")?, situation, language, wait, agent })
}

/// The message to the customer about the handoff that stands; `None` where none does.
pub fn message(packaged: &Packaged, asked: &Asked) -> Result<Option<pb::RenderMessageResponse>, MemoryError> {
    let Some((receipt, edition)) = &packaged.decided else { return Ok(None) };
    let policy = &edition.policy;
    let asks_for = Some(asked.language.as_str()).filter(|tag| !tag.is_empty());
    let speaks = |tag: &str| policy.words.tag == tag || policy.languages.iter().any(|language| language.words.tag == tag);
    if asks_for.is_some_and(|tag| !speaks(tag)) {
        return Err(BadField::new("language", "the policy has no messages in this language").into());
    }
    let Some(trigger) = receipt.decision.trigger.and_then(|place| policy.triggers.get(usize::from(place))) else { return Ok(None) };
    // What was promised last, where nothing else is said.
    let promised = packaged.conversation.life.as_ref().and_then(|life| life.promise).filter(|_| asked.situation == Situation::Connecting);
    let wait = asked.wait.or(promised.map(|promise| Duration::from_secs(u64::from(promise.wait.p90_secs))));
    let wanted =
        Wanted { situation: asked.situation, language: asks_for.map(str::to_owned), wait, agent: asked.agent.clone(), ask_email: false };
    let Some((reply, opening)) = reply::of_package(policy, &trigger.id, &packaged.package, &wanted) else { return Ok(None) };
    Ok(Some(pb::RenderMessageResponse { acknowledge: reply.acknowledge, reassure: reply.reassure, expect: reply.expect, opening }))
}
