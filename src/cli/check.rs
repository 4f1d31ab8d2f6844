//! `baton check`: the settings of the server, the policy, and its scenarios, without binding anything.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::policy::PolicyPlaceArguments;
use super::serve::{SettingsArguments, settings};
use super::{ModelArguments, Outcome, load_model, print, render};
use crate::config::Places;
use crate::config::serve::{KEYS, MODEL_KEYS};
use crate::handoff::policy::Policy;
use crate::handoff::scenario::{Outcome as Played, Scenario, describe};
use crate::model::lexical::Lexicon;
use crate::model::scorer::Scorer;
use crate::service::clock::Stopwatch;
use crate::service::observe::{Observer, vocabulary};
use crate::service::proving::{self, PolicyPlaces, Proof, Recorded, Source};
use crate::service::server::PolicyChoice;

/// Arguments of `baton check`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    settings: SettingsArguments,
    #[command(flatten)]
    places: PolicyPlaceArguments,
    /// List every key of the settings with its default and meaning.
    #[arg(long)]
    keys: bool,
    /// Play the scenarios on recorded signals, without the model.
    #[arg(long, conflicts_with = "record")]
    recorded: bool,
    /// Record the signals of the scenarios for --recorded.
    #[arg(long)]
    record: bool,
    /// Write the proof here [default: beside the policy, where one is given].
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// One JSON object a scenario.
    #[arg(long)]
    json: bool,
}

/// Runs `baton check`.
pub fn run(arguments: &CheckArguments, places: &Places) -> Result<Outcome> {
    if arguments.keys {
        let rows = KEYS.iter().chain(MODEL_KEYS).map(|key| vec![key.name.to_owned(), key.default.to_owned(), key.meaning.to_owned()]);
        print(&render::table(&["key", "default", "meaning"], rows.collect()))?;
        return Ok(Outcome::Success);
    }
    let settings = match settings(&arguments.settings)? {
        Ok(settings) => settings,
        Err(faults) => {
            print(&format!("{}\n", super::serve::list(&faults)))?;
            return Ok(Outcome::Negative);
        }
    };
    if !arguments.json {
        print(&format!("the settings are sound: would serve on {}\n", settings.listen))?;
    }
    let mut of_policy = match settings.policy {
        PolicyChoice::None if arguments.places.file.policy.is_none() => return Ok(Outcome::Success),
        PolicyChoice::None => PolicyPlaces::default(),
        PolicyChoice::Places(places) => places,
    };
    let flags = arguments.places.places();
    if flags.file.is_some() {
        of_policy = flags;
    } else if flags.scenarios.is_some() {
        of_policy.scenarios = flags.scenarios;
    }
    of_policy.proof = arguments.proof.clone().or(of_policy.proof);
    check_policy(arguments, places, &of_policy)
}

fn check_policy(arguments: &CheckArguments, places: &Places, of_policy: &PolicyPlaces) -> Result<Outcome> {
    let source = of_policy.policy()?;
    let watch = Stopwatch::start();
    let recorded = if arguments.recorded { Some(of_policy.recorded()?) } else { None };
    let scorer = if recorded.is_some() { None } else { Some(load_model(&arguments.model, places)?) };
    let vocabulary = match (&recorded, &scorer) {
        (Some(recorded), _) => recorded.vocabulary.clone(),
        (None, Some(scorer)) => vocabulary(scorer),
        (None, None) => unreachable!("one of the two is there"),
    };
    let policy = match source.read_policy(&vocabulary) {
        Ok(policy) => policy,
        Err(faults) => {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            print(&if arguments.json { faults_json(&lines) } else { format!("the policy is wrong:\n  {}\n", lines.join("\n  ")) })?;
            return Ok(Outcome::Negative);
        }
    };
    let sources = of_policy.scenarios()?;
    let scenarios = proving::parse(&sources)?;
    let table = match (&recorded, &scorer) {
        (Some(recorded), _) => recorded.table(&policy, &scenarios)?,
        (None, Some(scorer)) => proving::score(scorer, &Observer::new(scorer, &policy)?, &scenarios)?,
        (None, None) => unreachable!("one of the two is there"),
    };
    if arguments.record {
        record(of_policy, &Recorded::new(&policy, &table))?;
    }
    // Without the model the rules are compiled for themselves.
    let own = if scorer.is_none() { Some(Lexicon::new()) } else { None };
    let lexicon = scorer.as_ref().map(Scorer::lexicon).or(own.as_ref()).expect("one of the two is there");
    let outcomes = proving::run(&policy, &scenarios, &table, lexicon);
    let failed = outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).count();
    report(arguments, &policy, &scenarios, &outcomes)?;
    if !arguments.json {
        if scenarios.is_empty() {
            print("the policy has no scenarios: nothing shows that it does what is meant; docs/policy.md says how to write some\n")?;
        }
        let how = if arguments.recorded { "on recorded signals" } else { "with the model" };
        let count = (scenarios.len() - failed, scenarios.len());
        let policy = policy.digest.short();
        print(&format!(
            "policy {policy}: {} of {} scenarios as expected, {how}, in {:.2} s\n",
            count.0,
            count.1,
            watch.elapsed().as_secs_f64()
        ))?;
    }
    if failed > 0 {
        return Ok(Outcome::Negative);
    }
    if !arguments.recorded {
        write_proof(of_policy, &policy, &sources, scenarios.len())?;
    }
    Ok(Outcome::Success)
}

fn faults_json(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", json!({"fault": line}))).collect()
}

fn record(places: &PolicyPlaces, recorded: &Recorded) -> Result<()> {
    let Some(path) = places.recorded_path() else { bail!("--record: give the folder with --scenarios") };
    let mut text = serde_json::to_string_pretty(recorded).context("recorded signals")?;
    text.push('\n');
    fs::write(&path, text).with_context(|| path.display().to_string())
}

fn write_proof(places: &PolicyPlaces, policy: &Policy, sources: &[Source], passed: usize) -> Result<()> {
    let Some(path) = places.proof_path() else { return Ok(()) };
    fs::write(&path, Proof::new(policy, sources, passed).text()).with_context(|| format!("proof {}", path.display()))
}

fn report(arguments: &CheckArguments, policy: &Policy, scenarios: &[Scenario], outcomes: &[Played]) -> Result<()> {
    if arguments.json {
        let lines = scenarios.iter().zip(outcomes).map(|(scenario, outcome)| format!("{}\n", to_json(policy, scenario, outcome)));
        return print(&lines.collect::<String>());
    }
    let row = |(scenario, outcome): (&Scenario, &Played)| {
        let expected: Vec<String> = scenario.expect.iter().map(ToString::to_string).collect();
        let expected = if expected.is_empty() { "nothing".to_owned() } else { expected.join("\n") };
        let verdict = if outcome.differences.is_empty() { "as expected".to_owned() } else { outcome.differences.join("\n") };
        vec![scenario.name.clone(), expected, verdict]
    };
    let rows = scenarios.iter().zip(outcomes).map(row).collect();
    print(&render::table(&["scenario", "expected", "found"], rows))
}

fn to_json(policy: &Policy, scenario: &Scenario, outcome: &Played) -> Value {
    let decided = outcome.decided.iter().map(|decided| json!({"turn": decided.turn, "decision": describe(&decided.decision, policy)}));
    json!({
        "scenario": scenario.name,
        "passed": outcome.differences.is_empty(),
        "decided": decided.collect::<Vec<_>>(),
        "differences": outcome.differences,
    })
}
