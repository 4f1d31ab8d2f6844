//! The environment and the flags as the program means them. The only reader of the environment.

#[cfg(feature = "hub")]
pub mod hub;
pub mod serve;

use std::path::{Path, PathBuf};

/// Name of the model that is in the repository.
const SHIPPED_MODEL: &str = "models/baton-en";

/// Where things are, unless a flag says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// `BATON_MODEL`: a model package.
    pub model: Option<PathBuf>,
    /// `BATON_CACHE_DIR`, else `XDG_CACHE_HOME/baton`, else `HOME/.cache/baton`: features of training texts.
    pub cache: Option<PathBuf>,
}

impl Places {
    /// Reads them through `variable`, which is the environment in the program and a table in tests.
    pub fn read(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
        let xdg = || set("XDG_CACHE_HOME").map(|home| home.join("baton"));
        let home = || set("HOME").map(|home| home.join(".cache/baton"));
        Self { model: set("BATON_MODEL"), cache: set("BATON_CACHE_DIR").or_else(xdg).or_else(home) }
    }

    /// From the environment of the process.
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    pub fn from_environment() -> Self {
        Self::read(|name| std::env::var_os(name).map(PathBuf::from))
    }

    /// The package to load: the flag, `BATON_MODEL`, or the shipped one, looked for in the working folder and in those above the program
    /// (`target/release/baton` finds the repository's). The error lists where was looked.
    pub fn find_model(&self, flag: Option<&Path>) -> Result<PathBuf, String> {
        if let Some(named) = flag.map(Path::to_path_buf).or_else(|| self.model.clone()) {
            return Ok(named);
        }
        let program = std::env::current_exe().unwrap_or_default();
        let above = program.ancestors().skip(1).map(|folder| folder.join(SHIPPED_MODEL));
        let tried: Vec<PathBuf> = [PathBuf::from(SHIPPED_MODEL)].into_iter().chain(above).collect();
        tried.iter().find(|folder| folder.is_dir()).cloned().ok_or_else(|| {
            let list: Vec<String> = tried.iter().map(|folder| folder.display().to_string()).collect();
            format!("no model package: give --model or BATON_MODEL; looked for {}", list.join(", "))
        })
    }
}

/// Every variable of the environment whose name and value are UTF-8.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// The variable by which rayon, and candle with it, learns how many threads one product may use.
pub const ENGINE_THREADS: &str = "RAYON_NUM_THREADS";

/// Whether nobody has said how many threads one product may use.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
pub fn engine_threads_unset() -> bool {
    std::env::var_os(ENGINE_THREADS).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment_and_empty_counts_as_unset() {
        let places = |pairs: &'static [(&str, &str)]| {
            Places::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
        };
        let set = places(&[("BATON_MODEL", "/m"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]);
        assert_eq!(set.find_model(Some(Path::new("/flag"))), Ok("/flag".into()));
        assert_eq!(set.find_model(None), Ok("/m".into()));
        assert_eq!(set.cache, Some("/x/baton".into()));
        assert_eq!(places(&[("BATON_CACHE_DIR", ""), ("HOME", "/h")]).cache, Some("/h/.cache/baton".into()));
        assert_eq!(places(&[]), Places::default());
    }
}
