//! Where the hub, its cache and its token are: the variables that all programs for this hub read.
//!
//! | variable | means |
//! |---|---|
//! | `HF_ENDPOINT` | another hub, such as a mirror |
//! | `HF_HUB_CACHE`, else `HF_HOME/hub`, else `XDG_CACHE_HOME/huggingface/hub`, else `HOME/.cache/huggingface/hub` | the cache |
//! | `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else the file `token` beside the cache | the token; none with `HF_HUB_DISABLE_IMPLICIT_TOKEN=1` |
//! | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` | `1`, `on`, `yes`, `true`: make no connection |
//! | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, or in small letters, which go first | proxies |

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::service::delivery::Secret;
use crate::service::hub::client::{Endpoint, Proxies, ProxyAddress};
use crate::service::hub::{HubSettings, Token};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may be silent: as long as the Python client takes for a file three times over, since slow storage is slow before the first byte.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of a file with a token.
const TOKEN_FILE_BYTES_MAX: u64 = 8192;

/// Reads the settings from the environment of the process.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
pub fn from_environment(offline: bool) -> Result<HubSettings, String> {
    read(|name| std::env::var_os(name), offline)
}

/// Reads them through `variable`, which is the environment in the program and a table in tests; all faults at once. Empty counts as unset.
pub fn read(variable: impl Fn(&str) -> Option<OsString>, offline: bool) -> Result<HubSettings, String> {
    let mut faults = Vec::new();
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    // What is no text is no address, switch or token either, and is told as a fault of whatever reads it.
    let text = |name: &str| set(name).map(|value| value.to_string_lossy().into_owned());
    let is_on = |name: &str| text(name).is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str()));
    let path = |name: &str| set(name).map(PathBuf::from);

    let xdg = || path("XDG_CACHE_HOME").map(|folder| folder.join("huggingface"));
    let home = path("HF_HOME").or_else(xdg).or_else(|| path("HOME").map(|home| home.join(".cache/huggingface")));
    let cache = path("HF_HUB_CACHE").or_else(|| home.as_ref().map(|home| home.join("hub")));
    let cache = cache
        .ok_or_else(|| "HF_HOME: is not set, and neither is HF_HUB_CACHE, XDG_CACHE_HOME or HOME: found no place for the cache".to_owned());
    let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| Endpoint::DEFAULT.to_owned());
    let endpoint = Endpoint::parse(&endpoint).map_err(|what| format!("HF_ENDPOINT: {what}"));
    let token = if is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
        Ok(Token::None("HF_HUB_DISABLE_IMPLICIT_TOKEN is set".to_owned()))
    } else {
        let file = path("HF_TOKEN_PATH").or_else(|| home.as_ref().map(|home| home.join("token")));
        read_token(text("HF_TOKEN"), file.as_deref())
    };
    let proxy = |names: [&'static str; 4]| {
        let found = names.into_iter().find_map(|name| Some((name, text(name)?)));
        found.map(|(name, value)| ProxyAddress::parse(&value).map_err(|what| format!("{name}: {what}"))).transpose()
    };
    let https = proxy(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
    let http = proxy(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]);
    let settings = HubSettings {
        endpoint: kept(endpoint, &mut faults).unwrap_or_default(),
        cache: kept(cache, &mut faults).unwrap_or_default(),
        token: kept(token, &mut faults).unwrap_or_default(),
        proxies: Proxies {
            https: kept(https, &mut faults).flatten(),
            http: kept(http, &mut faults).flatten(),
            none: text("no_proxy").or_else(|| text("NO_PROXY")),
        },
        offline: offline || is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
        connect_timeout: CONNECT_TIMEOUT,
        read_timeout: READ_TIMEOUT,
    };
    // One proxy for both is one fault.
    faults.dedup();
    if faults.is_empty() { Ok(settings) } else { Err(faults.join("\n")) }
}

/// What was read, or one fault more.
fn kept<T>(result: Result<T, String>, faults: &mut Vec<String>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}

fn read_token(variable: Option<String>, file: Option<&Path>) -> Result<Token, String> {
    if let Some(text) = variable {
        let token = Secret::new(&text).map_err(|what| format!("HF_TOKEN: {what}"))?;
        return Ok(Token::Is(token, "HF_TOKEN".to_owned()));
    }
    let Some(file) = file else { return Ok(Token::None("HF_TOKEN or the file HF_TOKEN_PATH holds one".to_owned())) };
    let place = file.display();
    let mut text = String::new();
    match File::open(file).and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)) {
        // Who logs out removes the file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Token::None(format!("HF_TOKEN or the file {place} holds one"))),
        Err(error) => Err(format!("{place}: it cannot be read: {error}")),
        Ok(_) => Ok(Token::Is(Secret::new(&text).map_err(|what| format!("{place}: {what}"))?, place.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(pairs: &[(&str, &str)]) -> Result<HubSettings, String> {
        read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)), false)
    }

    #[test]
    fn the_cache_is_where_the_others_have_it() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[("HOME", "/h")], "/h/.cache/huggingface/hub"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")], "/f/hub"),
            (&[("HOME", "/h"), ("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")], "/c"),
            (&[("HOME", "/h"), ("HF_HOME", ""), ("HF_HUB_CACHE", "")], "/h/.cache/huggingface/hub"),
        ];
        for (pairs, expected) in cases {
            let settings = read_from(pairs).unwrap();
            assert_eq!((settings.cache, settings.offline), (PathBuf::from(expected), false), "{pairs:?}");
            assert_eq!(settings.endpoint.to_string(), Endpoint::DEFAULT);
        }
        for (value, expected) in [("1", true), ("ON", true), ("yes", true), ("True", true), ("0", false), ("", false), ("no", false)] {
            assert_eq!(read_from(&[("HOME", "/h"), ("HF_HUB_OFFLINE", value)]).unwrap().offline, expected, "{value}");
        }
    }

    #[test]
    fn the_token_is_of_the_variable_then_of_the_file_and_shown_by_nothing() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("token");
        let path = file.to_str().unwrap();
        let token =
            |pairs: &[(&str, &str)]| match read_from(&[pairs, &[("HF_HOME", place.path().to_str().unwrap())]].concat()).unwrap().token {
                Token::Is(token, place) => (token.reveal().to_owned(), place),
                Token::None(places) => (String::new(), places),
            };
        assert_eq!(token(&[]).1, format!("HF_TOKEN or the file {path} holds one"));
        std::fs::write(&file, "of-the-file\n").unwrap();
        assert_eq!(token(&[]), ("of-the-file".to_owned(), path.to_owned()));
        assert_eq!(token(&[("HF_TOKEN", "of-the-variable")]), ("of-the-variable".to_owned(), "HF_TOKEN".to_owned()));
        assert_eq!(token(&[("HF_TOKEN", ""), ("HF_TOKEN_PATH", path)]).0, "of-the-file");
        assert_eq!(token(&[("HF_TOKEN", "x"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).0, "");
        let settings = read_from(&[("HOME", "/h"), ("HF_TOKEN", "hunter2"), ("https_proxy", "http://u:hunter2@p:1")]).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        std::fs::write(&file, "hunter2 hunter2").unwrap();
        let what = read_from(&[("HF_TOKEN_PATH", path), ("HOME", "/h")]).unwrap_err();
        assert!(what.contains(path) && !what.contains("hunter2"), "{what}");
    }

    #[test]
    fn every_fault_is_told() {
        let what = read_from(&[("HF_ENDPOINT", "http://mirror.example"), ("HTTPS_PROXY", "socks5://p"), ("HF_TOKEN", "a b")]).unwrap_err();
        for expected in
            ["HF_ENDPOINT: found http to another machine", "HTTPS_PROXY: found the scheme socks5", "HF_TOKEN: found", "HF_HOME: is not set"]
        {
            assert!(what.contains(expected), "{expected}: {what}");
        }
    }

    #[test]
    fn small_letters_go_first_and_all_stands_for_both() {
        let proxies = |pairs: &[(&str, &str)]| format!("{:?}", read_from(&[pairs, &[("HOME", "/h")]].concat()).unwrap().proxies);
        assert_eq!(proxies(&[]), format!("{:?}", Proxies::default()));
        let all = proxies(&[("ALL_PROXY", "all:1"), ("http_proxy", "small:2"), ("HTTP_PROXY", "large:3"), ("NO_PROXY", "a,b")]);
        assert_eq!(all, r#"Proxies { https: Some(http://all:1), http: Some(http://small:2), none: Some("a,b") }"#);
    }
}
