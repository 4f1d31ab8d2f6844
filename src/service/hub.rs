//! Models from the hub of Hugging Face: a name and a revision go in, a folder of the standard cache comes out, pinned by commit and verified byte for byte.
//!
//! | part | knows |
//! |---|---|
//! | [`name`] | what models, revisions, commits and blobs may be called |
//! | [`files`] | which files of a repository are taken: never a pickle |
//! | [`client`] | the requests, whom they trust with the token, and what an answer means |
//! | [`cache`] | the folders of the standard cache, and who may write there |
//! | [`lock`] | the lock file: commit, size and SHA-256 of every file |
//!
//! What holds. A file gets its name in the cache once its size and digests are right as it lies on the disk; until then it is `BLOB.incomplete`, from which a later
//! pull goes on. The folder of a commit is filled once all its files are there, and the lock file is written last. What the lock file pins is never asked again:
//! with all files in the cache a pull makes no connection, offline or not. Everything that comes from outside has a bound: the listing, the size and the number
//! of files, redirects and attempts.

pub mod cache;
pub mod client;
mod digest;
pub mod files;
pub mod lock;
pub mod name;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use self::cache::{Cache, Checked};
use self::client::{Client, Endpoint, Proxies};
use self::files::{Chosen, Weights};
use self::lock::{LockFile, LockedFile, LockedModel};
use self::name::{BlobName, Commit, ModelName, Revision};
use super::delivery::Secret;

/// How often one file may break off and be gone on with in one pull; each attempt must have brought bytes.
const ATTEMPTS_MAX: u32 = 5;

/// Where the hub and the cache are.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// Where the hub is.
    pub endpoint: Endpoint,
    /// The folder that holds `models--org--name`.
    pub cache: PathBuf,
    /// Who asks.
    pub token: Token,
    /// Through whom.
    pub proxies: Proxies,
    /// Make no connection, whatever is missing.
    pub offline: bool,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long an answer may be silent; and how long one may take that is no file.
    pub read_timeout: Duration,
}

/// A token, or why there is none.
#[derive(Clone, Debug)]
pub enum Token {
    /// One, and the variable or file that it is from.
    Is(Secret, String),
    /// None; where it was looked for.
    None(String),
}

impl Default for Token {
    fn default() -> Self {
        Self::None("none was looked for".to_owned())
    }
}

/// What to pull.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// Which model.
    pub name: ModelName,
    /// Which revision; where it is absent, the one that the lock file pins, else `main`.
    pub revision: Option<Revision>,
    /// The lock file.
    pub lock: PathBuf,
    /// Ask the hub again what the revision is, and pin that.
    pub update: bool,
    /// Most bytes of one file.
    pub file_bytes_max: u64,
}

/// What was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The model as the lock file has it.
    pub model: LockedModel,
    /// The folder with its files.
    pub folder: PathBuf,
    /// For each of the files, in the order of the model's, where it came from.
    pub sources: Vec<Source>,
}

/// Where a file came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It lay in the cache.
    Cache,
    /// It was fetched.
    Hub,
}

/// What a pull tells while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Another process writes the file; when it has ended, this one goes on.
    Waits {
        /// Which file, or which folder.
        what: &'a str,
    },
    /// A file of so many bytes comes, the first of which may be there already.
    Begins {
        /// Its name.
        file: &'a str,
        /// All of its bytes.
        bytes: u64,
        /// Those that are there.
        have: u64,
    },
    /// So many bytes of the file are there now.
    Has(u64),
    /// The bytes of a file are not those that they should be: it is fetched from its beginning.
    Again {
        /// Its name.
        file: &'a str,
    },
    /// The file is there and right.
    Ends,
}

/// Why a model was not pulled.
#[derive(Debug)]
pub struct HubError {
    what: String,
    source: Option<std::io::Error>,
}

impl HubError {
    pub(in crate::service::hub) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    pub(in crate::service::hub) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self { what: what.into(), source: Some(source) }
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for HubError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// What is known of a file before it is fetched.
struct Expected<'a> {
    name: &'a str,
    bytes_max: u64,
    locked: Option<&'a LockedFile>,
}

/// A file that lies verified in the cache under the name of its blob.
struct Fetched {
    file: LockedFile,
    blob: BlobName,
    source: Source,
}

/// Pulls a model.
pub async fn pull(settings: &HubSettings, request: &PullRequest, tell: &mut dyn FnMut(Step<'_>)) -> Result<Pulled, HubError> {
    let lock = LockFile::read(&request.lock)?;
    let pinned = lock.model(&request.name).filter(|_| !request.update);
    match pinned {
        Some(model) => {
            same_revision(model, request)?;
            pull_pinned(settings, request, model, tell).await
        }
        None if settings.offline => Err(HubError::new(format!(
            "model {}: offline, and {} {}",
            request.name,
            request.lock.display(),
            if request.update { "cannot be updated without the hub" } else { "does not pin it; pull it once with a network" }
        ))),
        None => pin(settings, request, tell).await,
    }
}

/// The lock file pins one commit a model: another is asked for by `--update`, so that nothing moves unseen.
fn same_revision(model: &LockedModel, request: &PullRequest) -> Result<(), HubError> {
    match &request.revision {
        Some(asked) if *asked != model.revision && asked.as_str() != model.commit.as_str() => Err(HubError::new(format!(
            "model {}: found revision {asked}, expected {} or its commit {}, which {} pins; --update pins another",
            request.name,
            model.revision,
            model.commit,
            request.lock.display()
        ))),
        _ => Ok(()),
    }
}

/// What the lock file says: from the cache where it lies there, else from the hub.
async fn pull_pinned(
    settings: &HubSettings,
    request: &PullRequest,
    model: &LockedModel,
    tell: &mut dyn FnMut(Step<'_>),
) -> Result<Pulled, HubError> {
    let cache = Cache::new(&settings.cache, &request.name);
    let (mut sources, mut fetched, mut missing, mut client) = (Vec::new(), Vec::new(), Vec::new(), None);
    for file in &model.files {
        let expected = Expected { name: &file.name, bytes_max: files::bytes_max(&file.name, request.file_bytes_max), locked: Some(file) };
        within(&expected, file.size, &request.name)?;
        match cache.check(&model.commit, file)? {
            Checked::Sound => sources.push(Source::Cache),
            Checked::Wrong(found) if settings.offline => {
                let place = cache.snapshot(&model.commit).join(&file.name);
                let expected = format!("expected {} bytes with SHA-256 {}", file.size, file.sha256);
                return Err(HubError::new(format!("file {}: found {found}, {expected}", place.display())));
            }
            Checked::Missing if settings.offline => missing.push(file.name.as_str()),
            Checked::Missing | Checked::Wrong(_) => {
                let client = match &mut client {
                    Some(client) => client,
                    none => none.insert(Client::new(settings)?),
                };
                let one = fetch(client, &cache, &request.name, &model.commit, &expected, tell).await?;
                sources.push(one.source);
                fetched.push(one);
            }
        }
    }
    if !missing.is_empty() {
        let folder = cache.snapshot(&model.commit);
        return Err(HubError::new(format!("model {}: offline, and {} lacks {}", request.name, folder.display(), missing.join(", "))));
    }
    if !fetched.is_empty() {
        let _guard = cache.guard("snapshot", tell)?;
        for one in &fetched {
            cache.link(&model.commit, &one.file.name, &one.blob)?;
        }
    }
    Ok(Pulled { model: model.clone(), folder: cache.snapshot(&model.commit), sources })
}

/// What the hub says the revision is now; the lock file pins it.
async fn pin(settings: &HubSettings, request: &PullRequest, tell: &mut dyn FnMut(Step<'_>)) -> Result<Pulled, HubError> {
    let cache = Cache::new(&settings.cache, &request.name);
    let client = Client::new(settings)?;
    let revision = request.revision.clone().unwrap_or_else(Revision::main);
    let listing = client.listing(&request.name, &revision).await?;
    let place = |what: String| HubError::new(format!("model {} at {}: {what}", request.name, listing.commit));
    let Chosen { mut small, weights } = files::choose(&listing.names).map_err(place)?;
    let mut fetched: Vec<Fetched> = Vec::new();
    let large = match weights {
        Weights::Single => vec![files::WEIGHTS.to_owned()],
        Weights::Sharded => {
            small.push(files::INDEX.to_owned());
            Vec::new()
        }
    };
    for name in small.iter().chain(&large) {
        let expected = Expected { name, bytes_max: files::bytes_max(name, request.file_bytes_max), locked: None };
        fetched.push(fetch(&client, &cache, &request.name, &listing.commit, &expected, tell).await?);
    }
    if large.is_empty() {
        let index = fetched.last().expect("the index came last");
        let index = cache.read(&index.blob, files::SMALL_BYTES_MAX)?;
        for name in files::shards(&index, &listing.names).map_err(place)? {
            let expected = Expected { name: &name, bytes_max: files::bytes_max(&name, request.file_bytes_max), locked: None };
            fetched.push(fetch(&client, &cache, &request.name, &listing.commit, &expected, tell).await?);
        }
    }
    fetched.sort_by(|a, b| a.file.name.cmp(&b.file.name));
    let model = LockedModel {
        name: request.name.clone(),
        revision: revision.clone(),
        commit: listing.commit.clone(),
        files: fetched.iter().map(|one| one.file.clone()).collect(),
    };
    {
        let _guard = cache.guard("snapshot", tell)?;
        for one in &fetched {
            cache.link(&model.commit, &one.file.name, &one.blob)?;
        }
        cache.write_ref(&revision, &model.commit)?;
    }
    {
        let _guard = cache.guard_of_lock_file(&request.lock, tell)?;
        lock::put(&request.lock, &model, request.update)?;
    }
    Ok(Pulled { folder: cache.snapshot(&model.commit), model, sources: fetched.iter().map(|one| one.source).collect() })
}

fn within(expected: &Expected<'_>, size: u64, model: &ModelName) -> Result<(), HubError> {
    if size <= expected.bytes_max {
        return Ok(());
    }
    let hint = if files::is_weights(expected.name) { "; --file-bytes-max takes more" } else { "" };
    Err(HubError::new(format!("model {model}: file {}: found {size} bytes, expected at most {}{hint}", expected.name, expected.bytes_max)))
}

/// Brings one file into the cache, or finds it there, and verifies it.
async fn fetch(
    client: &Client,
    cache: &Cache,
    model: &ModelName,
    commit: &Commit,
    expected: &Expected<'_>,
    tell: &mut dyn FnMut(Step<'_>),
) -> Result<Fetched, HubError> {
    let name = expected.name;
    let head = client.head(model, commit, name).await?;
    within(expected, head.size, model)?;
    let place = format!("model {model}: file {name}");
    if let Some(locked) = expected.locked {
        // What cannot become right is not fetched.
        if head.size != locked.size {
            return Err(HubError::new(format!("{place}: found {} bytes, expected {}, which the lock file pins", head.size, locked.size)));
        }
        if let BlobName::Sha256(found) = &head.blob
            && *found != locked.sha256
        {
            return Err(HubError::new(format!("{place}: found SHA-256 {found}, expected {}, which the lock file pins", locked.sha256)));
        }
    }
    let _guard = cache.guard(head.blob.as_str(), tell)?;
    let verified = |path: &std::path::Path| -> Result<Result<LockedFile, String>, HubError> {
        let found = digest::of(path, &head.blob)?;
        let (found_blob, expected_blob) = (found.blob.as_str(), head.blob.as_str());
        Ok(match expected.locked {
            _ if found.size != head.size => Err(format!("found {} bytes, expected {}", found.size, head.size)),
            Some(locked) if found.sha256 != locked.sha256 => {
                Err(format!("found SHA-256 {}, expected {}, which the lock file pins", found.sha256, locked.sha256))
            }
            _ if found_blob != expected_blob => {
                Err(format!("found {} {found_blob}, expected {expected_blob}, which the hub states", head.blob.what()))
            }
            _ => Ok(LockedFile { name: name.to_owned(), size: found.size, sha256: found.sha256 }),
        })
    };
    let path = cache.blob(&head.blob);
    if path.is_file()
        && let Ok(file) = verified(&path)?
    {
        return Ok(Fetched { file, blob: head.blob.clone(), source: Source::Cache });
    }
    let part = cache.part(&head.blob)?;
    loop {
        let resumed = match download(client, model, commit, name, &head, &part, tell).await {
            Ok(resumed) => resumed,
            Err(error) => {
                // What has no byte cannot be gone on with.
                cache.discard_empty_part(&head.blob)?;
                return Err(error);
            }
        };
        match verified(&part)? {
            Ok(file) => {
                cache.name_part(&head.blob)?;
                tell(Step::Ends);
                return Ok(Fetched { file, blob: head.blob.clone(), source: Source::Hub });
            }
            Err(what) => {
                cache.discard_part(&head.blob)?;
                if !resumed {
                    return Err(HubError::new(format!("{place}: {what}; nothing of it was kept")));
                }
                // The beginning may be of another time: only what came whole tells of the hub.
                tell(Step::Again { file: name });
            }
        }
    }
}

/// Fills the part up to the size that the hub states; whether some of it had been there.
async fn download(
    client: &Client,
    model: &ModelName,
    commit: &Commit,
    name: &str,
    head: &client::Head,
    part: &std::path::Path,
    tell: &mut dyn FnMut(Step<'_>),
) -> Result<bool, HubError> {
    let mut file = cache::Part::open(part, head.size)?;
    let resumed = file.size() > 0;
    tell(Step::Begins { file: name, bytes: head.size, have: file.size() });
    let mut attempts = 0;
    while file.size() < head.size {
        let before = file.size();
        let mut body = client.open(model, commit, name, before).await?;
        if body.from != before {
            file.begin_at(body.from)?;
        }
        let cut = loop {
            match body.chunk().await {
                Ok(Some(bytes)) if bytes.len() as u64 > head.size - file.size() => {
                    file.discard()?;
                    let more = format!("found more than the {} bytes that the hub states; nothing of it was kept", head.size);
                    return Err(HubError::new(format!("model {model}: file {name}: {more}")));
                }
                Ok(Some(bytes)) => file.append(&bytes)?,
                Ok(None) => break "the answer ended".to_owned(),
                Err(what) => break what,
            }
            tell(Step::Has(file.size()));
        };
        attempts += 1;
        if file.size() < head.size && (attempts == ATTEMPTS_MAX || file.size() <= before) {
            let kept = format!("{cut} after {} of {} bytes; they are kept, and the next pull goes on from there", file.size(), head.size);
            return Err(HubError::new(format!("model {model}: file {name}: {kept}")));
        }
    }
    file.finish()?;
    Ok(resumed)
}
