//! Which files of a repository are taken: configuration, tokenizer, weights as safetensors, and what a package of Baton has beside them.
//!
//! Never taken: `pytorch_model.bin` and other pickles, which can run code when they are read; weights of other frameworks; code. Names come from outside: a name that
//! is a path to somewhere else refuses the whole listing, since no repository of git can hold it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The weights in one file.
pub const WEIGHTS: &str = "model.safetensors";
/// The weights in several files: which tensor is where.
pub const INDEX: &str = "model.safetensors.index.json";

/// Most bytes of a file that holds no weights: what a package may have.
pub const SMALL_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of a file with weights, unless a flag says otherwise: what a package may have.
pub const WEIGHTS_BYTES_MAX: u64 = 8 << 30;
/// Most files that the weights may be in.
const SHARDS_MAX: usize = 512;
/// Most files of one model.
pub const FILES_MAX: usize = SHARDS_MAX + SMALL.len() + PIECES_MAX + 1;
/// Most vocabularies of sentencepiece in one repository.
const PIECES_MAX: usize = 8;

/// Configuration; how messages become ids; heads and reference answers of a package of Baton.
const SMALL: [&str; 11] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "heads.json",
    "heads.safetensors",
    "parity.json",
];
/// One of these, or a vocabulary of sentencepiece, must be there.
const TOKENIZERS: [&str; 3] = ["tokenizer.json", "vocab.txt", "vocab.json"];

/// What is taken of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// All but the weights of the trunk.
    pub small: Vec<String>,
    /// How these lie.
    pub weights: Weights,
}

/// How the weights of the trunk lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// In [`WEIGHTS`].
    Single,
    /// In the files that [`INDEX`] names.
    Sharded,
}

/// Chooses from all names of a repository.
pub fn choose(names: &BTreeSet<String>) -> Result<Chosen, String> {
    if let Some(hostile) = names.iter().find(|name| !is_inside(name)) {
        return Err(format!("found the file name {hostile:?} in the listing, expected names inside the repository"));
    }
    let has = |name: &str| names.contains(name);
    let mut small: Vec<String> = SMALL.iter().filter(|name| has(name)).map(|name| (*name).to_owned()).collect();
    let pieces: Vec<String> = names.iter().filter(|name| name.ends_with(".model") && is_plain(name)).cloned().collect();
    if pieces.len() > PIECES_MAX {
        return Err(format!("found {} files *.model, expected at most {PIECES_MAX}", pieces.len()));
    }
    if !has("config.json") {
        return Err("found no config.json".to_owned());
    }
    if pieces.is_empty() && !TOKENIZERS.iter().any(|name| has(name)) {
        return Err("found no tokenizer: tokenizer.json, vocab.txt, vocab.json or a vocabulary of sentencepiece (*.model)".to_owned());
    }
    small.extend(pieces);
    let weights = match (has(WEIGHTS), has(INDEX)) {
        (true, _) => Weights::Single,
        (false, true) => Weights::Sharded,
        (false, false) => {
            let pickle = names.iter().find(|name| [".bin", ".pt", ".pth", ".ckpt", ".pkl"].iter().any(|end| name.ends_with(end)));
            let why = pickle.map_or(String::new(), |name| {
                format!("; {name} is a pickle, which can run code when it is read, and is never taken: convert it to safetensors")
            });
            return Err(format!("found neither {WEIGHTS} nor {INDEX}{why}"));
        }
    };
    Ok(Chosen { small, weights })
}

/// The files that an index names; each must be in the repository.
pub fn shards(index: &[u8], names: &BTreeSet<String>) -> Result<BTreeSet<String>, String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index).map_err(|error| format!("{INDEX}: {error}"))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    if !(1..=SHARDS_MAX).contains(&shards.len()) {
        return Err(format!("{INDEX}: found {} files in weight_map, expected 1 to {SHARDS_MAX}", shards.len()));
    }
    let wrong = |name: &&String| !(is_plain(name) && name.ends_with(".safetensors") && names.contains(*name));
    match shards.iter().find(wrong) {
        Some(wrong) => Err(format!("{INDEX}: found the file {wrong:?} in weight_map, expected *.safetensors of this repository")),
        None => Ok(shards),
    }
}

/// Whether a file holds weights.
pub fn is_weights(name: &str) -> bool {
    name.ends_with(".safetensors")
}

/// Most bytes of a file.
pub fn bytes_max(name: &str, weights_bytes_max: u64) -> u64 {
    if is_weights(name) { weights_bytes_max } else { SMALL_BYTES_MAX.min(weights_bytes_max) }
}

/// Whether a file of this name may be taken at all.
pub fn is_taken(name: &str) -> bool {
    is_plain(name) && (SMALL.contains(&name) || name == INDEX || name.ends_with(".model") || is_weights(name))
}

/// Whether a name is a path below the repository.
fn is_inside(name: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    let has_drive = name.as_bytes().get(1) == Some(&b':');
    name.len() <= 4096 && !name.contains('\\') && !name.chars().any(char::is_control) && !has_drive && name.split('/').all(is_part)
}

/// Whether a name is that of a file in the folder itself, in characters that mean nothing to a file system, an address or a terminal.
fn is_plain(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    (1..=200).contains(&name.len()) && name.chars().all(inner) && !name.starts_with(['.', '-']) && !name.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn configuration_tokenizer_and_safetensors_are_taken_and_nothing_else() {
        let all = names(&[
            ".gitattributes",
            "README.md",
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "vocab.txt",
            "spiece.model",
            "onnx/model.onnx",
            "onnx/spiece.model",
            "pytorch_model.bin",
            "tf_model.h5",
            "modeling_own.py",
            "model.safetensors",
            "model.safetensors.index.json",
        ]);
        let chosen = choose(&all).unwrap();
        let expected = ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "spiece.model"];
        assert_eq!(chosen, Chosen { small: expected.map(str::to_owned).to_vec(), weights: Weights::Single });
    }

    #[test]
    fn what_cannot_become_a_model_is_refused_with_the_reason() {
        let cases: [(&[&str], &str); 6] = [
            (&[], "config.json"),
            (&["config.json", "model.safetensors"], "tokenizer"),
            (&["config.json", "tokenizer.json"], "model.safetensors"),
            (&["config.json", "tokenizer.json", "pytorch_model.bin"], "pytorch_model.bin is a pickle"),
            (&["tokenizer.json", "model.safetensors"], "config.json"),
            (
                &["config.json", "a.model", "b.model", "c.model", "d.model", "e.model", "f.model", "g.model", "h.model", "i.model"],
                "at most 8",
            ),
        ];
        for (listing, expected) in cases {
            let what = choose(&names(listing)).unwrap_err();
            assert!(what.contains(expected), "{listing:?}: {what}");
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_refuses_the_listing() {
        for hostile in
            ["../x.model", "/etc/passwd", "a/../../b", "a\\b", "..", ".", "a//b", "a/", "", "C:x", "c:\\x", "a\0.model", "a\u{1b}[2J"]
        {
            let what = choose(&names(&["config.json", "tokenizer.json", "model.safetensors", hostile])).unwrap_err();
            assert!(what.contains("file name") && !what.contains('\0') && !what.contains('\u{1b}'), "{hostile:?}: {what}");
        }
    }

    #[test]
    fn an_index_names_files_of_its_repository() {
        let listing = names(&["a-1.safetensors", "a-2.safetensors", "sub/a.safetensors", "b.bin"]);
        let index = |shards: &[&str]| {
            let map: BTreeMap<String, &str> = shards.iter().enumerate().map(|(i, shard)| (format!("t{i}"), *shard)).collect();
            serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string().into_bytes()
        };
        let both = shards(&index(&["a-2.safetensors", "a-1.safetensors", "a-2.safetensors"]), &listing).unwrap();
        assert_eq!(both, names(&["a-1.safetensors", "a-2.safetensors"]));
        for wrong in ["../a-1.safetensors", "/a-1.safetensors", "sub/a.safetensors", "b.bin", "a-3.safetensors", ""] {
            assert!(shards(&index(&[wrong]), &listing).is_err(), "{wrong}");
        }
        for wrong in [&b"{}"[..], b"[]", b"{\"weight_map\": {}}", b"{\"weight_map\": {\"a\": 1}}", b"\xff", &b"[".repeat(100_000)] {
            assert!(shards(wrong, &listing).is_err());
        }
    }
}
