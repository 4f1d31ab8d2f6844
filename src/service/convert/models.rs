//! The models of `AdminService`.

use std::path::PathBuf;

use super::{heads, pb};
use crate::service::inference::Share;
use crate::service::models::{DEFAULT, Exchanged, Listed, ModelSettings, ModelState, SHARE};
use crate::service::status::BadField;

/// The name of a request; none stands for the default.
pub fn name(name: String) -> String {
    if name.is_empty() { DEFAULT.to_owned() } else { name }
}

/// The folder of a request, if it names one.
pub fn folder(path: String) -> Option<PathBuf> {
    (!path.is_empty()).then(|| PathBuf::from(path))
}

/// A model to load, as the contract describes it.
pub fn settings(request: pb::LoadModelRequest) -> Result<ModelSettings, BadField> {
    let found = || BadField::new("queue_share", format!("found {}, expected a number from 0.01 to 0.9, or 0", request.queue_share));
    let share = if request.queue_share == 0.0 { Share::new(SHARE) } else { Share::of_one(request.queue_share) };
    let settings = ModelSettings {
        name: request.name,
        path: PathBuf::from(request.path),
        languages: request.languages,
        share: share.ok_or_else(found)?,
        scores_only: request.scores_only,
        scenarios: request.scenarios.filter(|folder| !folder.is_empty()).map(PathBuf::from),
    };
    settings.check()?;
    Ok(settings)
}

/// A model as the contract tells it.
pub fn info(listed: &Listed) -> pb::ModelInfo {
    let bare = pb::ModelInfo {
        name: listed.name.clone(),
        state: state(listed.state).into(),
        path: listed.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        languages: listed.languages.clone(),
        queue_share: listed.share.map_or(0.0, |share| f64::from(share.hundredths()) / 100.0),
        policy_digest: listed.policy.map(|digest| digest.to_string()),
        reason: listed.reason.clone(),
        ..pb::ModelInfo::default()
    };
    let Some(model) = &listed.model else { return bare };
    let scorer = model.scorer();
    pb::ModelInfo {
        package_name: scorer.file().name.clone(),
        package_version: scorer.file().version.clone(),
        digest: scorer.digest().to_owned(),
        engine: scorer.engine(),
        resident_bytes: model.bytes(),
        queue_tokens: model.scheduler().tokens_waiting() as u64,
        heads: heads(scorer),
        embedding_size: u32::try_from(scorer.embedding_size()).unwrap_or(u32::MAX),
        ..bare
    }
}

fn state(state: ModelState) -> pb::ModelState {
    match state {
        ModelState::Loading => pb::ModelState::Loading,
        ModelState::Serving => pb::ModelState::Serving,
        ModelState::Retiring => pb::ModelState::Retiring,
        ModelState::Kept => pb::ModelState::Kept,
        ModelState::Failed => pb::ModelState::Failed,
    }
}

/// A package that was promoted.
pub fn promoted(exchanged: &Exchanged) -> pb::PromoteModelResponse {
    pb::PromoteModelResponse {
        model: Some(info(&exchanged.now)),
        previous_digest: exchanged.before.clone(),
        scenarios: exchanged.scenarios as u64,
    }
}

/// A package that returned.
pub fn rolled_back(exchanged: &Exchanged) -> pb::RollbackModelResponse {
    pb::RollbackModelResponse { model: Some(info(&exchanged.now)), previous_digest: exchanged.before.clone() }
}
