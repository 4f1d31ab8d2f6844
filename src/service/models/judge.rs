//! A policy that proved itself on one model: compiled for its labels, with its intents by example as vectors of this model.

use std::path::Path;
use std::sync::Arc;

use crate::model::scorer::Scorer;
use crate::service::memory::{Edition, Editions, MemoryError, labels};
use crate::service::observe::Observer;
use crate::service::proving::{self, PolicyPlaces, Proved, ProvingError, Source};

/// See the module.
pub struct Judge {
    /// What the policy says; the same for every model.
    pub source: Source,
    /// The policy, compiled for the model.
    pub edition: Arc<Edition>,
    /// What turns the model's signals into what the policy reads.
    pub observer: Observer,
}

/// A judge, and how it proved itself.
pub(super) struct Proof {
    pub(super) judge: Judge,
    pub(super) scenarios: usize,
    pub(super) by_file: bool,
}

/// Where policies come from, and where they are kept as they decided.
pub(super) struct Judges {
    places: PolicyPlaces,
    editions: Option<Arc<Editions>>,
}

impl Judges {
    pub(super) fn new(places: PolicyPlaces, editions: Option<Arc<Editions>>) -> Self {
        Self { places, editions }
    }

    /// The policy as it stands in its file now.
    pub(super) fn source(&self) -> Result<Source, ProvingError> {
        self.places.policy()
    }

    /// A policy that proved itself on a model, ready to decide with it. Blocks.
    pub(super) fn judge(&self, proved: Proved, scorer: &Scorer) -> Result<Judge, MemoryError> {
        let observer = Observer::new(scorer, &proved.policy).map_err(|error| MemoryError::Policy(ProvingError::Examples(error)))?;
        let Proved { source, policy, .. } = proved;
        let edition = match &self.editions {
            Some(editions) => editions.keep(&source, policy, labels(scorer))?,
            None => Arc::new(Edition { policy, labels: labels(scorer) }),
        };
        Ok(Judge { source, edition, observer })
    }

    /// Proves a policy on a model, with scenarios of the model's own where it has some. Blocks.
    pub(super) fn prove(&self, source: &Source, scenarios: Option<&Path>, scorer: &Scorer) -> Result<Proof, MemoryError> {
        let places = match scenarios {
            Some(folder) => PolicyPlaces { scenarios: Some(folder.to_owned()), ..self.places.clone() },
            None => self.places.clone(),
        };
        let proved = proving::prove_source(&places, source.clone(), scorer).map_err(MemoryError::Policy)?;
        let (scenarios, by_file) = (proved.scenarios, proved.by_file);
        Ok(Proof { judge: self.judge(proved, scorer)?, scenarios, by_file })
    }
}
