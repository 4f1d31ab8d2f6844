//! One request to a destination, and what its answer means.
//!
//! | answer | meaning |
//! |---|---|
//! | 2xx, to its end or to 64 KiB | done |
//! | 401, 403, 408, 409, 425, 429, 5xx; none in time; a connection that fails or breaks off | later again. 409: helpdesks refuse two updates of one ticket at a time so. 401, 403: a token that ended is the operator's to renew, and no letter's fault |
//! | 3xx | not followed, later again: what was meant for one host goes to no other, and a POST that is redirected may come back as a GET that did nothing |
//! | 404 | there is no such ticket, or none any more |
//! | any other | refused for good |
//!
//! TLS is rustls with ring, which builds with a C compiler alone. Who is believed: the authorities of the system, or those of a file and nobody else, so that a site
//! with its own authority need not install it. Proxies of the environment are not used: where content goes is said by the settings. HTTP without TLS goes to this
//! machine only.

use std::error::Error as _;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::backoff::retry_after;
use super::{Access, DeliverySettings, Destination, Kind, Secret, webhook};
use crate::handoff::note::{self, Method, merged};
use crate::service::clock;

/// Bytes of an answer that are read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer that is merged: a conversation with its attributes.
const MERGED_BYTES_MAX: usize = 1 << 20;
/// By which a destination knows a repeat.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Where a destination is: https, or http on this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Url);

impl Target {
    /// Reads an address. What is wrong is said without the address, which may hold a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
        let host = url.host_str().ok_or("found no host")?.trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if is_here => {}
            "http" => return Err("found http to another machine, expected https".to_owned()),
            _ => return Err("found another scheme, expected https".to_owned()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("found a user in it; secrets stand in files or the environment".to_owned());
        }
        if url.fragment().is_some() {
            return Err("found a fragment, which is never sent".to_owned());
        }
        Ok(Self(url))
    }

    /// The same, of an address below which paths are.
    pub fn parse_base(text: &str) -> Result<Self, String> {
        let target = Self::parse(text)?;
        if target.0.query().is_some() { Err("found a query in it".to_owned()) } else { Ok(target) }
    }

    fn at(&self, path: &str) -> Url {
        if path.is_empty() {
            return self.0.clone();
        }
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
    }
}

/// Without path and query: those of a webhook may be secret.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.origin().ascii_serialization())
    }
}

/// A proxy through which all requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy(Url);

impl Proxy {
    /// Reads its address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
        let is_plain = url.username().is_empty() && url.password().is_none() && matches!(url.path(), "" | "/") && url.query().is_none();
        match url.scheme() {
            "http" | "https" if is_plain && url.has_host() => Ok(Self(url)),
            _ => Err("expected an address such as http://proxy.example:3128, without a user".to_owned()),
        }
    }
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// Those of the system.
    System,
    /// Those of a PEM file and no others.
    Only(Vec<u8>),
}

impl Authorities {
    /// Takes a PEM file.
    pub fn only(pem: Vec<u8>) -> Result<Self, String> {
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| "it is no PEM file".to_owned())?;
        if certificates.is_empty() {
            return Err("found no certificate in it".to_owned());
        }
        use_ring();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only(certificates).build();
        client.map(|_| Self::Only(pem)).map_err(|_| "found a certificate that cannot be read".to_owned())
    }
}

/// Why a client cannot be made.
#[derive(Debug)]
pub struct ClientError(reqwest::Error);

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&deepest(&self.0))
    }
}

impl std::error::Error for ClientError {}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the operator: nothing that the destination wrote, nothing that was sent.
    pub reason: String,
    /// What follows from it.
    pub sort: FailureSort,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureSort {
    /// Later again, not before the pause that the destination asked for.
    Later(Option<Duration>),
    /// There is nothing at this place.
    NotFound,
    /// The same will be refused again.
    Refused,
}

/// A request as it is stored: every attempt sends these bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    method: Method,
    path: String,
    body: Body,
}

/// What a request sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Body {
    /// This JSON.
    Is(Vec<u8>),
    /// What is there, read at `read` and found at the pointer `found_at`, with `add`, as the only member `key` of an object.
    Merges { read: String, found_at: String, key: String, add: Vec<u8> },
}

impl Request {
    /// One of those that put a note into a helpdesk.
    pub fn of_note(request: &note::Request) -> Self {
        let bytes = |value: &Value| value.to_string().into_bytes();
        match request {
            note::Request::Call(call) => {
                Self { method: call.method(), path: call.path().to_owned(), body: Body::Is(call.body().map(bytes).unwrap_or_default()) }
            }
            note::Request::Merge(merge) => {
                let (read, found_at, key) = (merge.read().path().to_owned(), merge.found_at().to_owned(), merge.key().to_owned());
                let body = Body::Merges { read, found_at, key, add: bytes(merge.add()) };
                Self { method: merge.method(), path: merge.path().to_owned(), body }
            }
        }
    }

    /// An event for a webhook.
    pub fn of_event(event: &Value) -> Self {
        Self { method: Method::Post, path: String::new(), body: Body::Is(event.to_string().into_bytes()) }
    }
}

/// What sends to one destination.
pub struct Client {
    http: reqwest::Client,
    destination: Destination,
    /// The headers of every request; secret ones marked, so that nothing shows them.
    headers: HeaderMap,
    retry_after_max: Duration,
}

impl Client {
    /// Makes one; connects to nothing.
    pub fn new(destination: &Destination, settings: &DeliverySettings) -> Result<Self, ClientError> {
        use_ring();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .pool_max_idle_per_host(settings.concurrency);
        if let Some(proxy) = &settings.proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.0.clone()).map_err(ClientError)?);
        }
        builder = match &destination.authorities {
            Authorities::Only(pem) => builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(ClientError)?),
            // Without TLS nobody needs to be believed: a machine without authorities can do that.
            Authorities::System if destination.target.0.scheme() == "http" => builder.tls_certs_only([]),
            Authorities::System => builder,
        };
        Ok(Self {
            http: builder.build().map_err(ClientError)?,
            destination: destination.clone(),
            headers: headers(&destination.access),
            retry_after_max: settings.retry_after_max,
        })
    }

    /// Where it sends to.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Of which sort that is.
    pub fn kind(&self) -> Kind {
        self.destination.kind()
    }

    /// Makes a request once; one that merges reads first, and writes only what is not there.
    pub async fn send(&self, request: &Request, key: &str) -> Result<(), Failure> {
        let body = match &request.body {
            Body::Is(body) => body.clone(),
            Body::Merges { read, found_at, key: member, add } => {
                let refused = |reason: String| Failure { reason, sort: FailureSort::Refused };
                let answer = self.exchange(Method::Get, read, Vec::new(), key, MERGED_BYTES_MAX).await?;
                let answer: Value = serde_json::from_slice(&answer)
                    .map_err(|_| refused(format!("the answer to be merged is no JSON within {MERGED_BYTES_MAX} bytes")))?;
                let add: Value =
                    serde_json::from_slice(add).map_err(|_| refused("what was to be added is not as it was written".to_owned()))?;
                let wrong = |expected| refused(format!("the answer to be merged has no {expected} at {found_at}"));
                let Some(merged) = merged(answer.pointer(found_at), &add).map_err(wrong)? else { return Ok(()) };
                Value::Object(Map::from_iter([(member.clone(), merged)])).to_string().into_bytes()
            }
        };
        self.exchange(request.method, &request.path, body, key, ANSWER_BYTES_MAX).await.map(drop)
    }

    /// Sends, and gives what came back, to so many bytes.
    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>, key: &str, bytes_max: usize) -> Result<Vec<u8>, Failure> {
        let method = match method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let mut headers = self.headers.clone();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(key).expect("a key is digits and letters"));
        if let Access::Webhook { secret, .. } = &self.destination.access {
            let signature = webhook::signature(secret, clock::wall().millis() / 1000, &body);
            headers.insert(webhook::SIGNATURE, HeaderValue::from_str(&signature).expect("a signature is digits and letters"));
        }
        let sent = self.http.request(method, self.destination.target.at(path)).headers(headers).body(body).send().await;
        let mut answer = sent.map_err(|error| broken(&error))?;
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let asked = asked.and_then(|value| retry_after(value, clock::wall(), self.retry_after_max));
        judge(answer.status(), asked)?;
        let mut bytes = Vec::new();
        while bytes.len() < bytes_max {
            match answer.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(broken(&error)),
            }
        }
        Ok(bytes)
    }
}

/// The process may have been given another provider before; then that one is used.
pub(in crate::service) fn use_ring() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

fn headers(access: &Access) -> HeaderMap {
    let (name, secret, content) = match access {
        Access::Zendesk { user, token } => (AUTHORIZATION, Some(basic(&format!("{user}/token"), token)), "application/json"),
        Access::Chatwoot { token, .. } => {
            (HeaderName::from_static("api_access_token"), Some(token.reveal().to_owned()), "application/json")
        }
        Access::Webhook { .. } => (AUTHORIZATION, None, webhook::CONTENT_TYPE),
    };
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content))]);
    if let Some(secret) = secret {
        let mut value = HeaderValue::from_str(&secret).expect("a secret is printable ASCII");
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers
}

/// The value of `Authorization: Basic` (RFC 7617).
fn basic(user: &str, password: &Secret) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "Basic ".to_owned();
    for three in format!("{user}:{}", password.reveal()).into_bytes().chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// What a status means.
fn judge(status: StatusCode, asked: Option<Duration>) -> Result<(), Failure> {
    let words = || format!("found {} {}", status.as_u16(), status.canonical_reason().unwrap_or("(no standard status)"));
    match status.as_u16() {
        200..=299 => Ok(()),
        300..=399 => Err(Failure { reason: format!("{}: a redirect is not followed", words()), sort: FailureSort::Later(asked) }),
        401 | 403 | 408 | 409 | 425 | 429 | 500.. => Err(Failure { reason: words(), sort: FailureSort::Later(asked) }),
        404 => Err(Failure { reason: words(), sort: FailureSort::NotFound }),
        _ => Err(Failure { reason: words(), sort: FailureSort::Refused }),
    }
}

/// What a request that has no whole answer means.
fn broken(error: &reqwest::Error) -> Failure {
    let reason = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        // The words of this system or of its TLS: nothing was sent yet.
        format!("no connection: {}", deepest(error))
    } else {
        "the connection broke off".to_owned()
    };
    Failure { reason, sort: FailureSort::Later(None) }
}

/// The words of the first cause.
pub(in crate::service) fn deepest(error: &reqwest::Error) -> String {
    let Some(mut cause) = error.source() else { return "no cause is known".to_owned() };
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_means() {
        let sort = |status: u16, asked| judge(StatusCode::from_u16(status).unwrap(), asked).err().map(|failure| failure.sort);
        let pause = Some(Duration::from_secs(7));
        for (status, expected) in [(200, None), (201, None), (204, None), (404, Some(FailureSort::NotFound))] {
            assert_eq!(sort(status, pause), expected, "{status}");
        }
        for status in [301, 302, 303, 307, 308, 304, 401, 403, 408, 409, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(sort(status, pause), Some(FailureSort::Later(pause)), "{status}");
        }
        for status in [400, 405, 410, 413, 415, 422] {
            assert_eq!(sort(status, pause), Some(FailureSort::Refused), "{status}");
        }
        let words = |status: u16| judge(StatusCode::from_u16(status).unwrap(), None).unwrap_err().reason;
        assert_eq!(
            (words(422).as_str(), words(302).as_str()),
            ("found 422 Unprocessable Entity", "found 302 Found: a redirect is not followed")
        );
    }

    #[test]
    fn targets_are_https_or_here_and_hold_no_user() {
        for sound in
            ["https://acme.zendesk.com", "https://desk.example/chat/", "http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:2"]
        {
            assert!(Target::parse_base(sound).is_ok(), "{sound}");
        }
        assert!(Target::parse("https://hooks.example/x?key=1").is_ok());
        for wrong in [
            "",
            "acme.zendesk.com",
            "http://acme.zendesk.com",
            "http://10.0.0.1",
            "http://localhost.example",
            "ftp://localhost",
            "https://hunter2@desk.example",
            "https://a:hunter2@desk.example",
            "https://desk.example/?x=hunter2",
            "https://desk.example/#hunter2",
            "unix:/run/x",
        ] {
            let what = Target::parse_base(wrong).unwrap_err();
            assert!(!what.contains("hunter2"), "{what}");
        }
    }

    #[test]
    fn a_path_stands_below_the_address() {
        let at = |base: &str, path: &str| Target::parse(base).unwrap().at(path).to_string();
        assert_eq!(at("https://desk.example", "/api/v2/tickets/7"), "https://desk.example/api/v2/tickets/7");
        assert_eq!(at("https://desk.example/chat/", "/api/v1"), "https://desk.example/chat/api/v1");
        assert_eq!(at("https://hooks.example/x?key=1", ""), "https://hooks.example/x?key=1");
        assert_eq!(format!("{:?}", Target::parse("https://hooks.example/x?key=1").unwrap()), "https://hooks.example");
    }

    #[test]
    fn basic_is_that_of_the_rfc() {
        let cases = [
            ("Aladdin", "open", "Basic QWxhZGRpbjpvcGVu"),
            ("a", "b", "Basic YTpi"),
            ("ab", "c", "Basic YWI6Yw=="),
            ("ab", "cd", "Basic YWI6Y2Q="),
        ];
        for (user, password, expected) in cases {
            assert_eq!(basic(user, &Secret::new(password).unwrap()), expected);
        }
    }

    #[test]
    fn secret_headers_are_not_shown() {
        let token = Secret::new("hunter2").unwrap();
        let zendesk = Access::Zendesk { user: "a@example.com".to_owned(), token: token.clone() };
        for access in [zendesk, Access::Chatwoot { account: 1, token }] {
            let shown = format!("{:?} {access:?}", headers(&access));
            assert!(shown.contains("Sensitive") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn authorities_are_certificates() {
        for wrong in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Authorities::only(wrong.as_bytes().to_vec()).is_err(), "{wrong:?}");
        }
    }
}
