//! Requests to the hub, whom they trust with the token, and what an answer means.
//!
//! | request | gives |
//! |---|---|
//! | GET `api/models/NAME/revision/REVISION` | the commit, and the names of its files |
//! | HEAD `NAME/resolve/COMMIT/FILE` | size and digest: `X-Linked-Size` and `X-Linked-ETag` of a large file (SHA-256), else `Content-Length` and `ETag` (what git calls the blob) |
//! | GET the same, with `Range` | the content, often from another host to which the hub redirects |
//!
//! The token goes to the origin of the hub and to no other, wherever a redirect leads. Redirects lead to https, or to http on this machine where the hub itself is there.
//! An error says status and host, and nothing that a server wrote: addresses of storage carry signatures. TLS is that of [`crate::service::delivery`]; proxies are those of the
//! environment, as of every program that fetches files.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Method, NoProxy, Response, StatusCode, Url};
use serde::Deserialize;

use super::name::{BlobName, Commit, ModelName, Revision};
use super::{HubError, HubSettings, Token};
use crate::service::clock;
use crate::service::delivery::backoff::retry_after;
use crate::service::delivery::client::{deepest, use_ring};

/// Most bytes of a listing: a hundred thousand files.
const LISTING_BYTES_MAX: usize = 16 << 20;
/// Most redirects of one request.
const REDIRECTS_MAX: usize = 8;
/// The longest pause that is told.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Where the hub is: https, or http on this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// The hub itself.
    pub const DEFAULT: &'static str = "https://huggingface.co";

    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
        match url.scheme() {
            "https" => {}
            "http" if is_here(&url) => {}
            "http" => return Err("found http to another machine, expected https".to_owned()),
            _ => return Err("found another scheme, expected https".to_owned()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("found a user in it; the token stands in HF_TOKEN or a file".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("found a query or a fragment in it".to_owned());
        }
        Ok(Self(url))
    }

    fn at<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        url.path_segments_mut().expect("http and https have paths").pop_if_empty().extend(segments);
        url
    }

    /// Where a redirect leads; never from TLS to none.
    fn next(&self, from: &Url, location: &str) -> Result<Url, String> {
        let url = from.join(location).map_err(|error| format!("found a redirect that is no URL: {error}"))?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.0.scheme() == "http" && is_here(&url) => Ok(url),
            _ => Err(format!("found a redirect to {}, expected https", url.origin().ascii_serialization())),
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self(Url::parse(Self::DEFAULT).expect("the address is a constant"))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The proxies of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For https.
    pub https: Option<ProxyAddress>,
    /// For http.
    pub http: Option<ProxyAddress>,
    /// Hosts that are asked directly, as `NO_PROXY` lists them.
    pub none: Option<String>,
}

/// Where a proxy is; it may hold a user and a password, and shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyAddress(Url);

impl ProxyAddress {
    /// Reads an address; without a scheme it is http. What is wrong is said without the address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&text).map_err(|error| format!("this is no URL: {error}"))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Self(url)),
            other => Err(format!("found the scheme {other}, expected http or https")),
        }
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

/// What the hub says of a revision.
pub(super) struct Listing {
    pub(super) commit: Commit,
    pub(super) names: BTreeSet<String>,
}

/// What the hub says of a file.
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) blob: BlobName,
}

/// The content of a file that comes.
pub(super) struct Body {
    answer: Response,
    /// The byte that comes first.
    pub(super) from: u64,
}

impl Body {
    /// More of it; the error says how it ended before its time.
    pub(super) async fn chunk(&mut self) -> Result<Option<impl std::ops::Deref<Target = [u8]> + use<>>, String> {
        self.answer
            .chunk()
            .await
            .map_err(|error| if error.is_timeout() { "no more came in time".to_owned() } else { "the connection broke off".to_owned() })
    }
}

/// What asks the hub.
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    token: Token,
    read_timeout: Duration,
}

impl Client {
    /// Makes one; connects to nothing.
    pub(super) fn new(settings: &HubSettings) -> Result<Self, HubError> {
        use_ring();
        let failed =
            |error: reqwest::Error| HubError::new(format!("hub {}: no client can be made: {}", settings.endpoint, deepest(&error)));
        let http = match builder(settings).and_then(reqwest::ClientBuilder::build) {
            // Without TLS nobody needs to be believed: a machine without authorities can do that.
            Err(_) if settings.endpoint.0.scheme() == "http" => builder(settings).and_then(|builder| builder.tls_certs_only([]).build()),
            built => built,
        };
        Ok(Self {
            http: http.map_err(failed)?,
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
            read_timeout: settings.read_timeout,
        })
    }

    /// Which commit a revision is, and which files it has.
    pub(super) async fn listing(&self, model: &ModelName, revision: &Revision) -> Result<Listing, HubError> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let url = self.endpoint.at(["api", "models"].into_iter().chain(model.parts()).chain(["revision", revision.as_str()]));
        let about = About { model, what: format!("revision {revision}"), is_listing: true };
        let (mut answer, _) = self.send(&about, Method::GET, url, None).await?;
        let mut bytes = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > LISTING_BYTES_MAX => {
                    return Err(about.error(format!("found a listing of more than {LISTING_BYTES_MAX} bytes")));
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(about.error(broken(&error))),
            }
        }
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| {
            about.error(format!("found a listing that is not as expected, at line {} column {}", error.line(), error.column()))
        })?;
        let commit = Commit::parse(&answer.sha).map_err(|what| about.error(format!("the commit: {what}")))?;
        if revision.is_commit() && revision.as_str() != commit.as_str() {
            return Err(about.error(format!("found commit {commit} for it")));
        }
        Ok(Listing { commit, names: answer.siblings.into_iter().map(|sibling| sibling.rfilename).collect() })
    }

    /// How large a file is, and what it is known by.
    pub(super) async fn head(&self, model: &ModelName, commit: &Commit, file: &str) -> Result<Head, HubError> {
        let about = About { model, what: format!("file {file}"), is_listing: false };
        let (answer, seen) = self.send(&about, Method::HEAD, self.resolve(model, commit, file), None).await?;
        if let Some(other) = seen.commit.as_deref().filter(|other| *other != commit.as_str()) {
            return Err(about.error(format!("found it of commit {other:?}, expected {commit}")));
        }
        let header = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
        let etag = seen.etag.or_else(|| header(ETAG)).ok_or_else(|| about.error("the hub states no digest of it (ETag)"))?;
        let size = seen.size.or_else(|| header(CONTENT_LENGTH)).ok_or_else(|| about.error("the hub does not state its size"))?;
        let size = size.trim().parse().map_err(|_| about.error(format!("found the size {size:?}, expected a number of bytes")))?;
        Ok(Head { size, blob: BlobName::parse_etag(&etag).map_err(|what| about.error(what))? })
    }

    /// The content of a file from a byte on, or from its beginning where the server cannot do that.
    pub(super) async fn open(&self, model: &ModelName, commit: &Commit, file: &str, from: u64) -> Result<Body, HubError> {
        let about = About { model, what: format!("file {file}"), is_listing: false };
        let (answer, _) = self.send(&about, Method::GET, self.resolve(model, commit, file), Some(from)).await?;
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(Body { answer, from: 0 });
        }
        let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let first = range.strip_prefix("bytes ").and_then(|range| range.split_once('-')).and_then(|(first, _)| first.parse::<u64>().ok());
        match first {
            Some(first) if first == from => Ok(Body { answer, from }),
            _ => Err(about.error(format!("found the range {range:?}, expected one from byte {from} on"))),
        }
    }

    fn resolve(&self, model: &ModelName, commit: &Commit, file: &str) -> Url {
        self.endpoint.at(model.parts().chain(["resolve", commit.as_str(), file]))
    }

    /// Sends, follows redirects, and lets answers through that are good. A HEAD ends where the hub has stated the digest: storage would state another.
    async fn send(&self, about: &About<'_>, method: Method, mut url: Url, from: Option<u64>) -> Result<(Response, Seen), HubError> {
        let mut seen = Seen::default();
        for _ in 0..=REDIRECTS_MAX {
            // Compressed on the way it would be of another size, and could not be gone on with.
            let mut request = self.http.request(method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
            match from {
                // A file may take as long as bytes come; all else has an end.
                Some(from) if from > 0 => request = request.header(RANGE, format!("bytes={from}-")),
                Some(_) => {}
                None => request = request.timeout(self.read_timeout),
            }
            let is_hub = url.origin() == self.endpoint.0.origin();
            if let (true, Token::Is(token, _)) = (is_hub, &self.token) {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).expect("a secret is printable ASCII");
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            let answer = request.send().await.map_err(|error| about.error(format!("{}: {}", host(&url), broken(&error))))?;
            let status = answer.status();
            if is_hub || status.is_redirection() {
                seen.note(answer.headers());
            }
            if status.is_success() || status.is_redirection() && method == Method::HEAD && seen.etag.is_some() && seen.size.is_some() {
                return Ok((answer, seen));
            }
            if !status.is_redirection() {
                return Err(about.error(self.refusal(about, status, answer.headers(), &url)));
            }
            let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let location =
                location.ok_or_else(|| about.error(format!("{}: found {} without a place to go on", host(&url), words(status))))?;
            url = self.endpoint.next(&url, location).map_err(|what| about.error(what))?;
        }
        Err(about.error(format!("found more than {REDIRECTS_MAX} redirects")))
    }

    /// What a status means, and what helps.
    fn refusal(&self, about: &About<'_>, status: StatusCode, headers: &HeaderMap, url: &Url) -> String {
        let (found, code) =
            (format!("found {} from {}", words(status), host(url)), headers.get("x-error-code").and_then(|code| code.to_str().ok()));
        let is_hub = url.origin() == self.endpoint.0.origin();
        match (status.as_u16(), code) {
            (401 | 403, _) if !is_hub => format!("{found}, to which the hub redirects"),
            (401 | 403, Some("GatedRepo")) => format!(
                "the model is gated ({found}): its conditions must be accepted at {}/{} by whom the token belongs to; {}",
                self.endpoint,
                about.model,
                self.token_hint()
            ),
            (401 | 403, _) => format!("{found}: there is no such model, or it is private or gated; {}", self.token_hint()),
            (404, Some("RevisionNotFound")) => format!("there is no such revision ({found})"),
            (404, Some("RepoNotFound")) => format!("there is no such model ({found}), or it is private; {}", self.token_hint()),
            (404, _) if about.is_listing => {
                format!("there is no such model or revision ({found}), or it is private; {}", self.token_hint())
            }
            (404, _) => format!("there is no such file ({found})"),
            (429, _) => {
                let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let asked = asked.and_then(|value| retry_after(value, clock::wall(), RETRY_AFTER_MAX));
                let when = asked.map_or("later".to_owned(), |pause| format!("after {} s, as it asks", pause.as_secs()));
                let hint = if matches!(self.token, Token::None(_)) { format!("; {}", self.token_hint()) } else { String::new() };
                format!("{found}: too many requests; pull again {when}{hint}")
            }
            (500.., _) => format!("{found}: pull again later"),
            _ => found,
        }
    }

    fn token_hint(&self) -> String {
        match &self.token {
            Token::Is(_, place) => format!("the token of {place} was sent: it has no access, or has ended"),
            Token::None(places) => format!("no token was sent: {places}"),
        }
    }
}

fn builder(settings: &HubSettings) -> reqwest::Result<reqwest::ClientBuilder> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.read_timeout);
    let Proxies { https, http, none } = &settings.proxies;
    let none = none.as_deref().and_then(NoProxy::from_string);
    if let Some(proxy) = https {
        builder = builder.proxy(reqwest::Proxy::https(proxy.0.clone())?.no_proxy(none.clone()));
    }
    if let Some(proxy) = http {
        builder = builder.proxy(reqwest::Proxy::http(proxy.0.clone())?.no_proxy(none));
    }
    Ok(builder)
}

/// What a request is about, for errors.
struct About<'a> {
    model: &'a ModelName,
    what: String,
    is_listing: bool,
}

impl About<'_> {
    fn error(&self, what: impl fmt::Display) -> HubError {
        HubError::new(format!("model {}: {}: {what}", self.model, self.what))
    }
}

/// What the hub stated on the way.
#[derive(Default)]
struct Seen {
    etag: Option<String>,
    size: Option<String>,
    commit: Option<String>,
}

impl Seen {
    fn note(&mut self, headers: &HeaderMap) {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.etag = self.etag.take().or_else(|| header("x-linked-etag"));
        self.size = self.size.take().or_else(|| header("x-linked-size"));
        self.commit = self.commit.take().or_else(|| header("x-repo-commit"));
    }
}

fn words(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("(no standard status)"))
}

/// Where an address is, without what may be secret in it.
fn host(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// What a request that has no whole answer means.
fn broken(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        // The words of this system or of its TLS: nothing was sent yet.
        format!("no connection: {}", deepest(error))
    } else {
        "the connection broke off".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_is_https_or_here_and_paths_stand_below_it() {
        for sound in [Endpoint::DEFAULT, "https://mirror.example/hf/", "http://127.0.0.1:8080", "http://[::1]:1", "http://localhost:2"] {
            assert!(Endpoint::parse(sound).is_ok(), "{sound}");
        }
        for wrong in
            ["", "huggingface.co", "http://huggingface.co", "ftp://localhost", "https://hunter2@h.example", "https://h.example/?x=hunter2"]
        {
            assert!(!Endpoint::parse(wrong).unwrap_err().contains("hunter2"), "{wrong}");
        }
        let at = |base: &str, segments: &[&str]| Endpoint::parse(base).unwrap().at(segments.iter().copied()).to_string();
        assert_eq!(at("https://h.example", &["api", "models", "a"]), "https://h.example/api/models/a");
        assert_eq!(at("https://h.example/hf/", &["a", "refs/pr/1"]), "https://h.example/hf/a/refs%2Fpr%2F1");
    }

    #[test]
    fn a_redirect_never_leaves_tls() {
        let next = |endpoint: &str, location: &str| {
            let endpoint = Endpoint::parse(endpoint).unwrap();
            endpoint.next(&endpoint.0, location).map(|url| url.to_string())
        };
        assert_eq!(next("https://h.example", "/a"), Ok("https://h.example/a".to_owned()));
        assert_eq!(next("https://h.example", "https://cdn.example/a?x=1"), Ok("https://cdn.example/a?x=1".to_owned()));
        assert_eq!(next("http://127.0.0.1:1", "http://127.0.0.1:2/a"), Ok("http://127.0.0.1:2/a".to_owned()));
        for (endpoint, wrong) in [
            ("https://h.example", "http://h.example/a?hunter2"),
            ("https://h.example", "http://127.0.0.1/a"),
            ("https://h.example", "file:///etc/passwd"),
            ("http://127.0.0.1:1", "http://h.example/a"),
            ("https://h.example", "https://"),
        ] {
            assert!(!next(endpoint, wrong).unwrap_err().contains("hunter2"), "{wrong}");
        }
    }

    #[test]
    fn a_proxy_shows_no_password() {
        let proxy = ProxyAddress::parse("user:hunter2@proxy.example:3128").unwrap();
        assert_eq!(format!("{proxy:?}"), "http://proxy.example:3128");
        for wrong in ["socks5://a:hunter2@b", "http://", "ftp://hunter2@a"] {
            assert!(!ProxyAddress::parse(wrong).unwrap_err().contains("hunter2"), "{wrong}");
        }
    }
}
