//! `baton models pull`: a model of the hub of Hugging Face, by name and revision, into the cache that all its programs share. A feature of the build: without it the command
//! says so.

use std::path::PathBuf;

use clap::Args;

/// Which model, and what pins it.
#[derive(Debug, Args)]
pub(super) struct PullArguments {
    /// The model, such as org/name.
    name: String,
    /// A branch, a tag or a commit [default: what the lock file pins, else main].
    #[arg(long, value_name = "REV")]
    revision: Option<String>,
    /// The lock file: the first pull writes it, every other is verified against it [default: baton-models.lock].
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Ask the hub what the revision is now, and let the lock file pin that.
    #[arg(long)]
    update: bool,
    /// Make no connection: take what cache and lock file hold. So does HF_HUB_OFFLINE=1.
    #[arg(long)]
    offline: bool,
    /// Most bytes of one file [default: 8589934592].
    #[arg(long, value_name = "BYTES")]
    file_bytes_max: Option<u64>,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
#[cfg(not(feature = "hub"))]
pub(super) fn run(_: &PullArguments) -> anyhow::Result<crate::cli::Outcome> {
    anyhow::bail!("this build has no hub support: take a released binary, or build with `cargo build --release --features hub`")
}

#[cfg(feature = "hub")]
pub(super) use with_hub::run;

#[cfg(feature = "hub")]
mod with_hub {
    use anyhow::{Context, Result, anyhow};
    use indicatif::ProgressBar;
    use serde_json::json;

    use super::PullArguments;
    use crate::cli::{Outcome, print, progress_bar, render};
    use crate::config;
    use crate::service::hub::name::{ModelName, Revision};
    use crate::service::hub::{self, PullRequest, Pulled, Source, Step};

    /// Runs the command.
    pub(in crate::cli::models) fn run(arguments: &PullArguments) -> Result<Outcome> {
        let bad = |what: &'static str| move |error: String| anyhow!("{what}: {error}");
        let request = PullRequest {
            name: ModelName::parse(&arguments.name).map_err(bad("model"))?,
            revision: arguments.revision.as_deref().map(Revision::parse).transpose().map_err(bad("--revision"))?,
            lock: arguments.lock.clone().unwrap_or_else(|| hub::lock::FILE.into()),
            update: arguments.update,
            file_bytes_max: arguments.file_bytes_max.unwrap_or(hub::files::WEIGHTS_BYTES_MAX),
        };
        let settings = config::hub::from_environment(arguments.offline).map_err(|error| anyhow!(error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime could not be started")?;
        let mut talk = Talk::default();
        let pulled = runtime.block_on(hub::pull(&settings, &request, &mut |step| talk.tell(step)));
        talk.end();
        let pulled = pulled?;
        print(&if arguments.json { to_json(&pulled, &request) } else { to_text(&pulled, &request) })?;
        Ok(Outcome::Success)
    }

    /// One bar, for the file that comes; lines above it.
    #[derive(Default)]
    struct Talk {
        bar: Option<ProgressBar>,
    }

    impl Talk {
        fn tell(&mut self, step: Step<'_>) {
            match step {
                Step::Waits { what } => self.line(&format!("{what}: another process writes it; waiting for its end")),
                Step::Begins { file, bytes, have } => {
                    self.end();
                    let bar = progress_bar(bytes, "", true).with_prefix(file.to_owned());
                    bar.set_position(have);
                    // What was there is no speed.
                    bar.reset_eta();
                    self.bar = Some(bar);
                }
                Step::Has(bytes) => {
                    if let Some(bar) = &self.bar {
                        bar.set_position(bytes);
                    }
                }
                Step::Again { file } => self.line(&format!("{file}: what lay there is not its beginning; fetching it anew")),
                Step::Ends => self.end(),
            }
        }

        fn line(&self, text: &str) {
            use std::io::Write;
            let write = || {
                // Nothing is left to tell if stderr is gone.
                drop(writeln!(std::io::stderr(), "{text}"));
            };
            match &self.bar {
                Some(bar) => bar.suspend(write),
                None => write(),
            }
        }

        fn end(&mut self) {
            if let Some(bar) = self.bar.take() {
                bar.finish_and_clear();
            }
        }
    }

    fn source(source: Source) -> &'static str {
        match source {
            Source::Cache => "cache",
            Source::Hub => "hub",
        }
    }

    fn to_text(pulled: &Pulled, request: &PullRequest) -> String {
        let model = &pulled.model;
        let row = |(file, from): (&hub::lock::LockedFile, &Source)| {
            vec![file.name.clone(), file.size.to_string(), file.sha256.clone(), source(*from).to_owned()]
        };
        let table = render::table(&["file", "bytes", "sha256", "from"], model.files.iter().zip(&pulled.sources).map(row).collect());
        format!(
            "{table}{} at {}, commit {}, pinned by {}\nfolder {}\n",
            model.name,
            model.revision,
            model.commit,
            request.lock.display(),
            pulled.folder.display()
        )
    }

    fn to_json(pulled: &Pulled, request: &PullRequest) -> String {
        let model = &pulled.model;
        let file = |(file, from): (&hub::lock::LockedFile, &Source)| json!({"name": file.name, "bytes": file.size, "sha256": file.sha256, "from": source(*from)});
        let files: Vec<_> = model.files.iter().zip(&pulled.sources).map(file).collect();
        let result = json!({
            "name": model.name.as_str(), "revision": model.revision.as_str(), "commit": model.commit.as_str(), "folder": pulled.folder,
            "lock": request.lock, "files": files,
        });
        format!("{result}\n")
    }
}
