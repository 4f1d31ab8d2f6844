//! Folders in the Hugging Face layout whose maker does not wish us well: each is refused in words, at once, and in no more memory than its honest parts take.
//!
//! What is held is counted by the allocator, so that a claim of 2^60 bytes, a table of 2^40 numbers or a tokenizer of a gigabyte shows if anything of that size
//! is ever asked for. The large files have holes: they take no room on the disk.

#![cfg(unix)]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use baton::model::encoder::EngineChoice;
use baton::model::encoder::candle::Device;
use baton::model::load;
use safetensors::tensor::Dtype;
use serde_json::json;

use crate::support::{PLANTED, Package, Place, bytes_held, bytes_of, each_case};

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const LABELS: &str = "baton.toml";

const MAP: &str = "head = \"sentiment\"\n[labels]\nLABEL_0 = \"negative\"\nLABEL_1 = \"neutral\"\nLABEL_2 = \"positive\"\n";
/// Most bytes that a refusal may hold. The honest folder has 300 kB; configurations and headers of a few megabytes are read as JSON, which takes ten times as much.
const HELD_MAX: usize = 64 << 20;

/// Breaks one thing; some need the place around the folder.
type Break<'a> = &'a dyn Fn(&Place, &Package);
/// What is broken, how, and what the message must say.
type Case<'a> = (&'a str, Break<'a>, &'a str);

fn honest(place: &Place) -> Package {
    place.classifier("model", &["LABEL_0", "LABEL_1", "LABEL_2"], MAP)
}

fn check(cases: &[Case<'_>]) {
    each_case(cases.iter().map(|case| (case.0, case)), |(what, break_it, expected)| {
        let place = Place::new();
        let package = honest(&place);
        break_it(&place, &package);
        let (held, result) = bytes_held(|| load::load_on(Path::new(package.path()), &Device::Cpu, EngineChoice::Auto));
        let error = result.err().unwrap_or_else(|| panic!("{what} was served")).to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error}");
        assert!(held < HELD_MAX, "{what}: {held} bytes were held");
        assert!(error.len() < 64 << 10 && !error.contains(PLANTED), "{what}: {error}");
    });
}

fn file_with_hole(package: &Package, name: &str, bytes: u64) {
    File::create(Path::new(package.path()).join(name)).unwrap().set_len(bytes).unwrap();
}

/// A safetensors file with this header, and so many bytes of a hole.
fn weights(package: &Package, name: &str, header: &str, data: u64) {
    package.write(name, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat());
    let file = File::options().write(true).open(Path::new(package.path()).join(name)).unwrap();
    file.set_len(8 + header.len() as u64 + data).unwrap();
}

fn pipe(package: &Package, name: &str) {
    let made = Command::new("mkfifo").arg(Path::new(package.path()).join(name)).status().unwrap();
    assert!(made.success());
}

#[test]
fn the_honest_folder_is_served_within_the_same_memory() {
    let place = Place::new();
    let package = honest(&place);
    let (held, scorer) = bytes_held(|| load::load_on(Path::new(package.path()), &Device::Cpu, EngineChoice::Auto));
    let scorer = scorer.unwrap();
    assert_eq!(scorer.heads()[0].spec.labels, ["negative", "neutral", "positive"]);
    assert!(scorer.engine().contains("no reference answers came with the model"), "{}", scorer.engine());
    assert!(held < HELD_MAX, "{held} bytes were held");
}

#[test]
fn names_of_shards_that_lead_out() {
    let index = |package: &Package, name: &str| {
        package.remove(WEIGHTS);
        package.write(INDEX, json!({"weight_map": {"classifier.bias": name}}).to_string());
    };
    check(&[
        ("up", &|_, p| index(p, "../secret.safetensors"), "\"../secret.safetensors\", a name with a path in it"),
        ("absolute", &|_, p| index(p, "/etc/passwd"), "\"/etc/passwd\", a name with a path in it"),
        ("down and up", &|_, p| index(p, "a/../../b.safetensors"), "a name with a path in it"),
        ("of Windows", &|_, p| index(p, "..\\b.safetensors"), "a name with a path in it"),
        ("dots", &|_, p| index(p, ".."), "a name with only dots"),
        ("nothing", &|_, p| index(p, ""), "a name with no characters"),
        ("a byte that ends it", &|_, p| index(p, "a\0.safetensors"), "a name with a control character"),
        ("very long", &|_, p| index(p, &format!("{}.safetensors", "a".repeat(5000))), "a name with more than 255 bytes"),
        ("a pickle", &|_, p| index(p, "pytorch_model.bin"), "a name with another ending"),
        ("of a tensor", &|_, p| index(p, "model.safetensors.index.json"), "a name with another ending"),
        ("missing", &|_, p| index(p, "model-00001-of-00002.safetensors"), "model-00001-of-00002.safetensors: found No such file"),
        (
            "ten thousand shards",
            &|_, p| {
                p.remove(WEIGHTS);
                let map: serde_json::Map<_, _> = (0..10_000).map(|n| (n.to_string(), json!(format!("{n}.safetensors")))).collect();
                p.write(INDEX, json!({"weight_map": map}).to_string());
            },
            "weight_map: found 10000 files, expected 1 to 256",
        ),
        (
            "a file for all tensors of another",
            &|_, p| {
                let shard = p.read(WEIGHTS);
                p.write("1.safetensors", &shard);
                p.write("2.safetensors", &shard);
                p.remove(WEIGHTS);
                p.write(
                    INDEX,
                    json!({"weight_map": {"classifier.bias": "1.safetensors", "classifier.weight": "2.safetensors"}}).to_string(),
                );
            },
            "expected none of this name, as model.safetensors.index.json has none here",
        ),
    ]);
}

#[test]
fn headers_that_claim_what_is_not_there() {
    let entry = |dtype: &str, shape: &str, end: u64| {
        format!(r#"{{"classifier.bias":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    check(&[
        ("2^60 bytes of header", &|_, p| p.write(WEIGHTS, (1u64 << 60).to_le_bytes()), "a header of 1152921504606846976 bytes"),
        ("all ones", &|_, p| p.write(WEIGHTS, [0xff; 64]), "a header of 18446744073709551615 bytes"),
        (
            "a long header in a file with a hole",
            &|_, p| {
                file_with_hole(p, WEIGHTS, 2 << 30);
                let file = File::options().write(true).open(Path::new(p.path()).join(WEIGHTS)).unwrap();
                std::os::unix::fs::FileExt::write_at(&file, &(1u64 << 30).to_le_bytes(), 0).unwrap();
            },
            "a header of 1073741824 bytes, more than 16777216",
        ),
        (
            "2^60 bytes of a tensor",
            &|_, p| weights(p, WEIGHTS, &entry("F32", "[288230376151711744]", 1 << 60), 4),
            "tensors of 1152921504606846976 bytes in 4",
        ),
        (
            "a product beyond 64 bits",
            &|_, p| weights(p, WEIGHTS, &entry("F32", "[4294967296,4294967296,2]", 4), 4),
            "shape [4294967296, 4294967296, 2]",
        ),
        ("overlapping tensors", &|_, p| overlap(p, 4), "where another ends at 8"),
        ("a hole between tensors", &|_, p| overlap(p, 12), "a hole from byte 8 to 12"),
        (
            "a tensor twice",
            &|_, p| {
                weights(
                    p,
                    WEIGHTS,
                    r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
                    2,
                )
            },
            "\"a\" twice",
        ),
        ("deep JSON", &|_, p| weights(p, WEIGHTS, &"[".repeat(1 << 20), 0), "model.safetensors: found "),
        (
            "deep JSON in a tensor",
            &|_, p| weights(p, WEIGHTS, &format!("{{\"a\":{}", "{\"shape\":".repeat(1 << 18)), 0),
            "model.safetensors: found ",
        ),
        (
            "a long list for a shape",
            &|_, p| weights(p, WEIGHTS, &entry("U8", &format!("[{}1]", "1,".repeat(1 << 18)), 1), 1),
            "262145 dimensions, more than 8",
        ),
        (
            "four gigabytes of a tensor that nobody asked for",
            &|_, p| weights(p, WEIGHTS, &entry("F32", "[1073741824]", 4 << 30).replace("classifier.bias", "bert.huge"), 4 << 30),
            "1073741824 numbers, expected at most ",
        ),
        (
            "a label map's worth of rows",
            &|_, p| {
                p.edit_tensors(WEIGHTS, |tensors| drop(tensors.insert("classifier.weight".into(), (Dtype::U8, vec![1 << 20, 0], vec![]))))
            },
            "classifier.weight: found shape [1048576, 0], expected 3 rows",
        ),
        (
            "nine gigabytes",
            &|_, p| file_with_hole(p, WEIGHTS, 9 << 30),
            "model.safetensors: found 9663676416 bytes, expected a file of at most 8589934592",
        ),
        ("a pickle in its place", &|_, p| p.write(WEIGHTS, b"\x80\x02}q\x00."), "a whole safetensors file"),
    ]);
}

/// Two tensors of eight bytes, the second from here on.
fn overlap(package: &Package, from: u64) {
    let header = format!(
        r#"{{"a":{{"dtype":"U8","shape":[8],"data_offsets":[0,8]}},"b":{{"dtype":"U8","shape":[8],"data_offsets":[{from},{}]}}}}"#,
        from + 8
    );
    weights(package, WEIGHTS, &header, from + 8);
}

#[test]
fn weights_that_are_not_what_they_seem() {
    check(&[
        (
            "NaN in the trunk",
            &|_, p| {
                p.edit_tensors(WEIGHTS, |tensors| {
                    let tensor = tensors.get_mut("bert.encoder.layer.0.output.dense.weight").unwrap();
                    tensor.2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
                });
            },
            "encoder.layer.0.output.dense.weight: found NaN at element 0, expected finite numbers",
        ),
        (
            "infinite in the classifier",
            &|_, p| p.edit_tensors(WEIGHTS, |tensors| tensors.get_mut("classifier.bias").unwrap().2 = bytes_of(&[f32::INFINITY; 3])),
            "classifier.bias: found inf at element 0, expected finite numbers",
        ),
        (
            "numbers that overflow",
            &|_, p| p.edit_tensors(WEIGHTS, |tensors| tensors.get_mut("classifier.weight").unwrap().2 = bytes_of(&[3e38; 96])),
            "a number that is not finite",
        ),
        (
            "a tensor of nobody",
            &|_, p| p.edit_tensors(WEIGHTS, |tensors| drop(tensors.insert("backdoor".into(), (Dtype::F32, vec![1], vec![0; 4])))),
            "backdoor: found shape [1], expected no tensor but those of the classifier",
        ),
        (
            "a pickle alone",
            &|_, p| {
                p.remove(WEIGHTS);
                p.write("pytorch_model.bin", b"\x80\x02cposix\nsystem\n");
            },
            "pytorch_model.bin: found a PyTorch pickle, which runs code when it is read, expected model.safetensors",
        ),
        (
            "code",
            &|_, p| p.edit_json(CONFIG, |config| config["auto_map"] = json!({"AutoModel": "evil.Model"})),
            "auto_map: found code of the model's own",
        ),
    ]);
}

#[test]
fn sizes_that_multiply_beyond_all_memory() {
    let set = |package: &Package, changes: &[(&str, u64)]| {
        package.edit_json(CONFIG, |config| changes.iter().for_each(|(key, value)| config[*key] = json!(value)));
    };
    check(&[
        ("a word table of 2^40", &|_, p| set(p, &[("vocab_size", 1 << 20), ("hidden_size", 1 << 20)]), "config.json: found sizes of "),
        ("inner states", &|_, p| set(p, &[("intermediate_size", 1 << 20)]), "config.json: found sizes of "),
        ("layers", &|_, p| set(p, &[("num_hidden_layers", 256)]), "config.json: found sizes of "),
        ("beyond any size", &|_, p| set(p, &[("vocab_size", 1 << 60)]), "vocab_size: found 1152921504606846976"),
        ("positions", &|_, p| set(p, &[("max_position_embeddings", 1 << 20)]), "position_embeddings.weight: found shape [64, 32]"),
        (
            "labels",
            &|_, p| {
                p.edit_json(CONFIG, |config| {
                    config["id2label"] = (0..100_000).map(|n| (n.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>().into();
                })
            },
            "id2label: found 100000 labels, expected 1 to 10000",
        ),
        (
            "more labels than rows",
            &|_, p| {
                p.edit_json(CONFIG, |config| {
                    config["id2label"] =
                        (0..10_000).map(|n| (n.to_string(), json!(format!("l{n}")))).collect::<serde_json::Map<_, _>>().into();
                    config["label2id"] = json!({});
                });
                p.write(LABELS, "head = \"own\"\n");
            },
            "expected 10000 rows, one a label of id2label",
        ),
    ]);
}

#[test]
fn texts_that_are_too_long_or_too_deep() {
    let deep = || format!("{{\"deep\":{}{}, ", "[".repeat(1 << 18), "]".repeat(1 << 18));
    check(&[
        (
            "a tokenizer of a gigabyte",
            &|_, p| file_with_hole(p, TOKENIZER, 1 << 30),
            "tokenizer.json: found 1073741824 bytes, expected a file of at most 67108864",
        ),
        (
            "settings of a gigabyte",
            &|_, p| file_with_hole(p, "tokenizer_config.json", 1 << 30),
            "tokenizer_config.json: found 1073741824 bytes",
        ),
        ("a configuration of a gigabyte", &|_, p| file_with_hole(p, CONFIG, 1 << 30), "config.json: found 1073741824 bytes"),
        (
            "an index of a gigabyte",
            &|_, p| {
                p.remove(WEIGHTS);
                file_with_hole(p, INDEX, 1 << 30);
            },
            "model.safetensors.index.json: found 1073741824 bytes",
        ),
        (
            "a label map of a gigabyte",
            &|_, p| file_with_hole(p, LABELS, 1 << 30),
            "baton.toml: found 1073741824 bytes, expected a file of at most 1048576",
        ),
        (
            "a vocabulary of a gigabyte",
            &|_, p| {
                p.remove(TOKENIZER);
                file_with_hole(p, "vocab.txt", 1 << 30);
            },
            "vocab.txt: found 1073741824 bytes",
        ),
        ("deep configuration", &|_, p| p.replace(CONFIG, "{", &deep()), "config.json: found recursion limit exceeded"),
        ("deep tokenizer", &|_, p| p.replace(TOKENIZER, "{", &deep()), "tokenizer.json: found "),
        (
            "deep normalizer",
            &|_, p| p.replace(TOKENIZER, "\"normalizer\":", &format!("\"normalizer\":{}", "[".repeat(1 << 18))),
            "tokenizer.json: found recursion limit",
        ),
        (
            "deep settings",
            &|_, p| p.write("tokenizer_config.json", format!("{{\"a\":{}", "[".repeat(1 << 18))),
            "tokenizer_config.json: found ",
        ),
        (
            "deep index",
            &|_, p| {
                p.remove(WEIGHTS);
                p.write(INDEX, "[".repeat(1 << 18));
            },
            "model.safetensors.index.json: found ",
        ),
        ("deep label map", &|_, p| p.write(LABELS, format!("head = {}", "[".repeat(1 << 18))), "baton.toml: found "),
        (
            "a text that grows",
            &|_, p| {
                p.edit_json(TOKENIZER, |tokenizer| {
                    tokenizer["normalizer"] = json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "x".repeat(1000)});
                })
            },
            "normalizer: found replacements that make a text much longer",
        ),
        (
            "a table that leaves itself",
            &|_, p| {
                p.edit_json(TOKENIZER, |tokenizer| {
                    tokenizer["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="});
                })
            },
            "normalizer.precompiled_charsmap: found a trie of 4294967295 bytes in 0",
        ),
        (
            "chance",
            &|_, p| {
                p.edit_json(TOKENIZER, |tokenizer| tokenizer["model"] = json!({"type": "BPE", "dropout": 0.5, "vocab": {}, "merges": []}))
            },
            "model.dropout: found a number",
        ),
    ]);
}

#[test]
fn links_and_what_is_no_file() {
    let replace_by_link = |package: &Package, name: &str, target: &Path| {
        package.remove(name);
        symlink(target, Path::new(package.path()).join(name)).unwrap();
    };
    let secret = |place: &Place| {
        place.write("secret", PLANTED);
        place.path("secret")
    };
    for name in [CONFIG, TOKENIZER, WEIGHTS, LABELS] {
        let left = format!("{name}: found a symbolic link that leaves the folder");
        let no_file = format!("{name}: found a pipe, a socket or a device");
        check(&[
            ("to a file outside", &|place, p| replace_by_link(p, name, &secret(place)), &left),
            (
                "to a file outside, relative",
                &|place, p| {
                    secret(place);
                    replace_by_link(p, name, Path::new("../secret"));
                },
                &left,
            ),
            ("to the files of the system", &|_, p| replace_by_link(p, name, Path::new("/etc/passwd")), &left),
            ("to a device without end", &|_, p| replace_by_link(p, name, Path::new("/dev/zero")), &left),
            (
                "by a folder",
                &|place, p| {
                    secret(place);
                    symlink("..", Path::new(p.path()).join("up")).unwrap();
                    replace_by_link(p, name, Path::new("up/secret"));
                },
                &left,
            ),
            ("to itself", &|_, p| replace_by_link(p, name, Path::new(name)), &format!("{name}: found ")),
            ("to nothing", &|_, p| replace_by_link(p, name, Path::new("nothing")), &format!("{name}: found No such file")),
            (
                "a pipe that nobody writes to",
                &|_, p| {
                    p.remove(name);
                    pipe(p, name);
                },
                &no_file,
            ),
            (
                "a socket",
                &|_, p| {
                    p.remove(name);
                    drop(UnixListener::bind(Path::new(p.path()).join(name)).unwrap());
                },
                &no_file,
            ),
            (
                "a folder",
                &|_, p| {
                    p.remove(name);
                    fs::create_dir(Path::new(p.path()).join(name)).unwrap();
                },
                &format!("{name}: found Is a directory"),
            ),
        ]);
    }
    // The same where the folder is a package.
    let place = Place::new();
    let package = place.package("package", crate::support::TINY);
    replace_by_link(&package, "parity.json", &secret(&place));
    let error = load::load_on(Path::new(package.path()), &Device::Cpu, EngineChoice::Auto).err().unwrap().to_string();
    assert!(error.contains("parity.json: found a symbolic link that leaves the folder"), "{error}");
}

#[test]
fn a_snapshot_of_the_hub_is_served_through_its_links() {
    let place = Place::new();
    let package = honest(&place);
    let blobs = place.path("models--org--tiny/blobs");
    let snapshot = place.path("models--org--tiny/snapshots/0123abc");
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    for (number, name) in [CONFIG, TOKENIZER, WEIGHTS, LABELS].iter().enumerate() {
        fs::rename(Path::new(package.path()).join(name), blobs.join(number.to_string())).unwrap();
        symlink(format!("../../blobs/{number}"), snapshot.join(name)).unwrap();
    }
    let scorer = load::load_on(&snapshot, &Device::Cpu, EngineChoice::Auto).unwrap();
    assert_eq!((scorer.file().name.as_str(), scorer.file().version.as_str()), ("org/tiny", "0123abc"));
}
