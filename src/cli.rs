//! The commands of the one binary, and what they share: results on stdout, talk on stderr, exit code 0 for success, 1 for a negative answer, 2 for a
//! failure.

pub mod bulk;
pub mod check;
pub mod demo;
pub mod eval;
pub mod features;
pub mod intents;
pub mod labelled;
pub mod models;
pub mod outbox;
pub mod package;
pub mod policy;
pub mod render;
pub mod replay;
pub mod same_issue;
pub mod score;
pub mod serve;
pub mod table;
pub mod train;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tracing::Level;

use crate::config::{self, Places};
use crate::model::encoder::EngineChoice;
use crate::model::encoder::candle::{DeviceChoice, open_device};
use crate::model::encoder::int8::Precision;
use crate::model::load;
use crate::model::scorer::Scorer;
use crate::service::clock::Stopwatch;
use crate::service::events::{self, Event, LogFormat};
use crate::service::models::{First, Loader};

/// Reads what customers write to a bot, and decides when a person must take over.
#[derive(Debug, Parser)]
#[command(name = "baton", version, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How log lines on stderr look.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Which log lines are written.
    #[arg(long, global = true, value_enum, default_value = "warn")]
    log_level: LogLevel,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the signals of a sample conversation.
    Demo(demo::DemoArguments),
    /// Score messages: arguments, standard input, or a whole file.
    Score(score::ScoreArguments),
    /// Serve messages over gRPC.
    Serve(serve::ServeArguments),
    /// Check the settings, the policy and its scenarios without serving.
    Check(check::CheckArguments),
    /// Print the policy as a document.
    Policy(policy::PolicyArguments),
    /// Play conversations through the model and the policy, and tell each decision with its reasons.
    Replay(replay::ReplayArguments),
    /// What the person who takes over a conversation reads.
    Package(package::PackageArguments),
    /// List the letters to helpdesks and webhooks that wait or were given up, and put them back.
    Outbox(outbox::OutboxArguments),
    /// Fit a head on labelled messages.
    Train(train::TrainArguments),
    /// Measure a head on labelled messages.
    Eval(eval::EvalArguments),
    /// Work with models (check, import, quantize, pull), and with those of a running daemon (list, load, unload, promote, rollback).
    Models(models::ModelsArguments),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Which model, and where it computes.
#[derive(Clone, Debug, clap::Args)]
pub struct ModelArguments {
    /// Folder of a model package [default: BATON_MODEL, else models/baton-en].
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// TOML file that says what the labels of a model in the Hugging Face layout mean [default: baton.toml in its folder].
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Where the model computes.
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceName,
    /// What computes: w8a16 says what f32 says and is fast on a CPU, int8 is faster and loses a little, candle is the reference.
    #[arg(long, value_enum, default_value = "auto")]
    pub engine: EngineName,
}

/// Names of engines on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EngineName {
    /// w8a16 on a CPU, where it can take the model; else candle.
    Auto,
    /// Weights of one byte, activations of two, on a CPU: the answers of f32.
    W8a16,
    /// Weights and activations of one byte, on a CPU: faster, and of a message in a few hundred another label.
    Int8,
    /// The reference in f32, on any device.
    Candle,
}

/// Names of devices on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DeviceName {
    /// A GPU if this build and machine have one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The first NVIDIA GPU; needs the feature `cuda`.
    Cuda,
    /// The first Apple GPU; needs the feature `metal`.
    Metal,
}

/// How a command ended when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Success,
    /// Exit code 1.
    Negative,
}

/// Begins the process anew, once, with one thread a product. Baton runs one batch a core and no pool inside a forward pass. candle asks how many threads a
/// product may use at every product, and unless the environment says it, reads `/proc/cpuinfo` each time: scoring 999 short messages took 3.1 s so,
/// and 2.2 s with the variable set (docs/figures.md). Changing one's own environment is not safe in Rust; handing it to oneself is.
#[cfg(unix)]
fn fix_engine_threads() {
    use std::os::unix::process::CommandExt;
    let program = std::env::current_exe().ok().filter(|_| config::engine_threads_unset());
    let mut arguments = std::env::args_os();
    if let (Some(program), Some(name)) = (program, arguments.next()) {
        let mut again = std::process::Command::new(program);
        // Comes back only if it failed; then the work is slower, and right all the same.
        drop(again.arg0(name).args(arguments).env(config::ENGINE_THREADS, "1").exec());
    }
}

/// Elsewhere the work is slower, and right all the same.
#[cfg(not(unix))]
fn fix_engine_threads() {}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    fix_engine_threads();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if quotes_a_message(&error) => {
            let text = "baton: a message that begins with a dash was taken for a flag; put -- before the messages";
            drop(writeln!(std::io::stderr(), "{text}"));
            return ExitCode::from(2);
        }
        Err(error) => {
            // Nothing is left to tell if even this cannot be written.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    events::start(arguments.log_format, arguments.log_level.into());
    let places = Places::from_environment();
    let result = match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments, &places),
        Command::Score(arguments) => score::run(&arguments, &places),
        Command::Serve(arguments) => serve::run(&arguments, &places),
        Command::Check(arguments) => check::run(&arguments, &places),
        Command::Policy(arguments) => policy::run(&arguments, &places),
        Command::Replay(arguments) => replay::run(&arguments, &places),
        Command::Package(arguments) => package::run(&arguments, &places),
        Command::Outbox(arguments) => outbox::run(&arguments),
        Command::Train(arguments) => train::run(&arguments, &places),
        Command::Eval(arguments) => eval::run(&arguments, &places),
        Command::Models(arguments) => models::run(&arguments, &places),
    };
    match result {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => ExitCode::from(1),
        // A reader that left (`baton score ... | head`) wants no more; that is not a failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell if stderr is gone.
            drop(writeln!(std::io::stderr(), "baton: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Whether the error would show on stderr what a customer wrote: an unknown flag with blanks in it is a message.
fn quotes_a_message(error: &clap::Error) -> bool {
    let shown = error.get(clap::error::ContextKind::InvalidArg);
    error.kind() == clap::error::ErrorKind::UnknownArgument && shown.is_some_and(|argument| argument.to_string().trim().contains(' '))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Loads the model that the arguments and the environment name.
pub fn load_model(arguments: &ModelArguments, places: &Places) -> Result<Scorer> {
    let watch = Stopwatch::start();
    let folder = places.find_model(arguments.model.as_deref()).map_err(|error| anyhow!(error))?;
    let device = open_device(arguments.device.into()).map_err(|error| anyhow!(error))?;
    let scorer = load::load_labelled(&folder, arguments.labels.as_deref(), &device, arguments.engine.into())?;
    let name = format!("{} {}", scorer.file().name, scorer.file().version);
    let engine = scorer.engine();
    events::emit(&Event::ModelLoaded { name: &name, digest: scorer.digest(), engine: &engine, elapsed: watch.elapsed() });
    Ok(scorer)
}

/// The model that a daemon starts with, and how it loads further ones: onto the same device, with the same engine.
pub fn load_first(arguments: &ModelArguments, places: &Places) -> Result<First> {
    let scorer = Arc::new(load_model(arguments, places)?);
    let folder = places.find_model(arguments.model.as_deref()).map_err(|error| anyhow!(error))?;
    let (device, engine) = (open_device(arguments.device.into()).map_err(|error| anyhow!(error))?, arguments.engine.into());
    let loader: Loader = Arc::new(move |folder| Ok(load::load_on(folder, &device, engine)?));
    Ok(First { scorer, folder: Some(folder), loader })
}

/// A progress bar on stderr; hidden where stderr is not a terminal.
pub fn progress_bar(total: u64, what: &'static str, bytes: bool) -> ProgressBar {
    let form = if bytes { "{bytes}/{total_bytes}" } else { "{pos}/{len}" };
    let style = ProgressStyle::with_template(&format!("{{prefix}} {{wide_bar}} {form} {{elapsed}} (left {{eta}})"));
    ProgressBar::new(total).with_prefix(what).with_style(style.expect("the template is a constant"))
}

/// Writes a result to stdout.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output")
}

impl From<DeviceName> for DeviceChoice {
    fn from(name: DeviceName) -> Self {
        match name {
            DeviceName::Auto => Self::Auto,
            DeviceName::Cpu => Self::Cpu,
            DeviceName::Cuda => Self::Cuda,
            DeviceName::Metal => Self::Metal,
        }
    }
}

impl From<EngineName> for EngineChoice {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Auto => Self::Auto,
            EngineName::W8a16 => Self::Int8(Precision::W8A16),
            EngineName::Int8 => Self::Int8(Precision::W8A8),
            EngineName::Candle => Self::Candle,
        }
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}
