//! `model.safetensors`, or its shards with their index → named tensors, still on the disk.
//!
//! In: a folder. Out: a [`Checkpoint`], of which only the headers were read, every claim of theirs held against the length of its file; then the bytes of
//! a safetensors file with the tensors that are wanted, under new names, read once into a buffer of exactly their size.
//! A header is at most [`HEADER_BYTES_MAX`] long, tensors neither overlap nor leave holes, and a name stands in one shard. Weights in any other form are
//! refused: a PyTorch file is a pickle, and reading a pickle runs the code in it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::marker::PhantomData;

use safetensors::Dtype;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::json;

use crate::model::fault::Fault;
use crate::model::files::{Folder, OpenFile, WEIGHTS_BYTES_MAX, too_large_or_missing, wrong_name};
use crate::model::load::TRUNK_FILE;

/// Name of the index of a checkpoint in several files.
pub(super) const INDEX_FILE: &str = "model.safetensors.index.json";
/// Longest header of a file; a thousand tensors have 100 kB.
const HEADER_BYTES_MAX: u64 = 16 << 20;
/// Largest index.
const INDEX_BYTES_MAX: u64 = 16 << 20;
/// Most tensors of a folder.
const TENSORS_MAX: usize = 1 << 16;
/// Most files of a checkpoint.
const SHARDS_MAX: usize = 256;
/// Most dimensions of a tensor.
const DIMENSIONS_MAX: usize = 8;
/// Weights in forms that are not read, and why.
const REFUSED: [(&str, &str); 6] = [
    ("pytorch_model.bin", PICKLE),
    ("pytorch_model.bin.index.json", PICKLE),
    ("tf_model.h5", "a TensorFlow file"),
    ("flax_model.msgpack", "a Flax file"),
    ("model.onnx", "an ONNX graph"),
    ("model.gguf", "a GGUF file"),
];
const PICKLE: &str = "a PyTorch pickle, which runs code when it is read";

/// The tensors of a folder, by the names that they are stored under.
pub(super) struct Checkpoint {
    files: Vec<(String, OpenFile)>,
    tensors: BTreeMap<String, Stored>,
}

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    /// Type of its numbers.
    pub(super) dtype: Dtype,
    /// Length of each dimension.
    pub(super) shape: Vec<usize>,
    file: usize,
    from: u64,
    bytes: u64,
}

impl Stored {
    /// How many numbers it has.
    pub(super) fn elements(&self) -> u64 {
        self.shape.iter().map(|size| *size as u64).product()
    }
}

/// A tensor of the file that is made.
pub(super) struct Wanted {
    /// As it is stored; without it, zeros.
    pub(super) stored: Option<String>,
    /// As it will be called.
    pub(super) name: String,
    /// Its shape; shorter than the stored one in the first dimension where its last rows are left out.
    pub(super) shape: Vec<usize>,
}

/// An entry of a header.
#[derive(serde::Deserialize)]
struct Info {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Checkpoint {
    /// Opens all files and reads their headers; every fault is noted.
    pub(super) fn open(folder: &Folder, faults: &mut Vec<Fault>) -> Option<Self> {
        let before = faults.len();
        let mut checkpoint = Self { files: Vec::new(), tensors: BTreeMap::new() };
        if folder.has(TRUNK_FILE) {
            checkpoint.add(folder, TRUNK_FILE, faults);
        } else if folder.has(INDEX_FILE) {
            checkpoint.add_shards(folder, faults);
        } else {
            faults.push(without_weights(folder));
        }
        (faults.len() == before).then_some(checkpoint)
    }

    /// The tensors by name.
    pub(super) fn tensors(&self) -> &BTreeMap<String, Stored> {
        &self.tensors
    }

    /// Number of files.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.bytes).sum()
    }

    /// Name of the file that a tensor stands in.
    pub(super) fn file_of(&self, stored: &Stored) -> &str {
        &self.files[stored.file].0
    }

    /// The bytes of a safetensors file with these tensors. All are stored with the shape that is wanted, but for their first dimension.
    pub(super) fn collect(&mut self, wanted: &[Wanted]) -> Result<Vec<u8>, Fault> {
        let mut header = serde_json::Map::new();
        let mut end = 0u64;
        let mut sizes = Vec::with_capacity(wanted.len());
        for Wanted { stored, name, shape } in wanted {
            let dtype = stored.as_ref().map_or(Dtype::F32, |stored| self.tensors[stored].dtype);
            let bytes = shape.iter().map(|size| *size as u64).product::<u64>() * dtype.bitsize() as u64 / 8;
            header.insert(name.clone(), json!({"dtype": format!("{dtype:?}"), "shape": shape, "data_offsets": [end, end + bytes]}));
            end += bytes;
            sizes.push(bytes);
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let length = 8 + header.len() as u64 + end;
        let mut out: Vec<u8> = Vec::new();
        let whole = usize::try_from(length).ok().filter(|length| out.try_reserve_exact(*length).is_ok());
        if whole.is_none() {
            return Err(Fault::new(TRUNK_FILE, "", format!("{length} bytes of weights"), "no more than there is memory for"));
        }
        out.extend((header.len() as u64).to_le_bytes());
        out.extend(header);
        for (wanted, bytes) in wanted.iter().zip(sizes) {
            let Some(stored) = &wanted.stored else {
                out.resize(out.len() + bytes as usize, 0);
                continue;
            };
            let stored = &self.tensors[stored];
            assert!(bytes <= stored.bytes, "no more of a tensor is wanted than is stored");
            let (name, OpenFile { file, .. }) = &mut self.files[stored.file];
            let before = out.len();
            let read = file.seek(SeekFrom::Start(stored.from)).and_then(|_| file.take(bytes).read_to_end(&mut out));
            match read {
                Ok(_) if (out.len() - before) as u64 == bytes => {}
                Ok(read) => return Err(Fault::new(name, &wanted.name, format!("{read} bytes"), format!("{bytes} bytes, as before"))),
                Err(error) => return Err(Fault::new(name, &wanted.name, error.to_string(), format!("{bytes} bytes"))),
            }
        }
        Ok(out)
    }

    /// Opens a file and takes its tensors in; gives their names.
    fn add(&mut self, folder: &Folder, name: &str, faults: &mut Vec<Fault>) -> Vec<String> {
        let mut file = match folder.file(name, WEIGHTS_BYTES_MAX) {
            Ok(file) => file,
            Err(found) => {
                faults.push(too_large_or_missing(name, found, WEIGHTS_BYTES_MAX));
                return Vec::new();
            }
        };
        let entries = match entries(&mut file) {
            Ok(entries) => entries,
            Err((tensor, found)) => {
                let found = format!("{} bytes: {found}", file.bytes);
                faults.push(Fault::new(name, tensor, found, "a whole safetensors file"));
                return Vec::new();
            }
        };
        if self.bytes() + file.bytes > WEIGHTS_BYTES_MAX || self.tensors.len() + entries.len() > TENSORS_MAX {
            let found = format!("{} bytes and {} tensors", self.bytes() + file.bytes, self.tensors.len() + entries.len());
            faults.push(Fault::new(name, "", found, format!("with the files before it at most {WEIGHTS_BYTES_MAX} and {TENSORS_MAX}")));
            return Vec::new();
        }
        let number = self.files.len();
        self.files.push((name.to_owned(), file));
        let mut names = Vec::with_capacity(entries.len());
        for (tensor, mut stored) in entries {
            stored.file = number;
            if let Some(other) = self.tensors.get(&tensor) {
                faults.push(Fault::new(name, &tensor, format!("a tensor that {} has", self.file_of(other)), "each tensor in one file"));
                continue;
            }
            names.push(tensor.clone());
            self.tensors.insert(tensor, stored);
        }
        names
    }

    fn add_shards(&mut self, folder: &Folder, faults: &mut Vec<Fault>) {
        let Some(text) = folder.read_or_fault(INDEX_FILE, INDEX_BYTES_MAX, faults) else { return };
        let index: Index = match serde_json::from_slice(&text) {
            Ok(index) => index,
            Err(error) => return faults.push(Fault::new(INDEX_FILE, "", error.to_string(), "an object with weight_map")),
        };
        let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in &index.weight_map.0 {
            shards.entry(shard).or_default().push(tensor);
        }
        if shards.is_empty() || shards.len() > SHARDS_MAX {
            return faults.push(Fault::new(INDEX_FILE, "weight_map", format!("{} files", shards.len()), format!("1 to {SHARDS_MAX}")));
        }
        for shard in shards.keys() {
            let wrong = wrong_name(shard).or_else(|| (!shard.ends_with(".safetensors")).then_some("another ending"));
            if let Some(wrong) = wrong {
                let expected = "the plain name of a .safetensors file in the folder";
                faults.push(Fault::new(INDEX_FILE, "weight_map", format!("{:?}, a name with {wrong}", shortened(shard)), expected));
            }
        }
        if !faults.is_empty() {
            return;
        }
        for (shard, mut promised) in shards {
            let before = faults.len();
            let held = self.add(folder, shard, faults);
            if faults.len() > before {
                continue;
            }
            promised.sort_unstable();
            let mut held: Vec<&str> = held.iter().map(String::as_str).collect();
            held.sort_unstable();
            for tensor in promised.iter().filter(|tensor| held.binary_search(tensor).is_err()) {
                faults.push(Fault::new(shard, shortened(tensor), "nothing", format!("a tensor, as {INDEX_FILE} says")));
            }
            for tensor in held.iter().filter(|tensor| promised.binary_search(tensor).is_err()) {
                faults.push(Fault::new(shard, shortened(tensor), "a tensor", format!("none of this name, as {INDEX_FILE} has none here")));
            }
        }
    }
}

/// What the folder holds in place of weights that can be read.
fn without_weights(folder: &Folder) -> Fault {
    let expected = format!("{TRUNK_FILE}; save the model with save_pretrained(..., safe_serialization=True) where you trust its maker");
    match REFUSED.iter().find(|(name, _)| folder.has(name)) {
        Some((name, what)) => Fault::new(name, "", *what, expected),
        None => Fault::new(TRUNK_FILE, "", "No such file", format!("{TRUNK_FILE}, or {INDEX_FILE} with its shards")),
    }
}

/// A name of a hostile file, not all of it.
fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(120)]
}

/// The tensors that a header names, held against the length of the file; else the tensor at fault and what was found.
fn entries(OpenFile { file, bytes }: &mut OpenFile) -> Result<Vec<(String, Stored)>, (String, String)> {
    let whole = |found: String| (String::new(), found);
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| whole("no length of a header".to_owned()))?;
    let length = u64::from_le_bytes(length);
    let Some(data) = length.checked_add(8).filter(|data| *data <= *bytes) else {
        return Err(whole(format!("a header of {length} bytes")));
    };
    if length > HEADER_BYTES_MAX {
        return Err(whole(format!("a header of {length} bytes, more than {HEADER_BYTES_MAX}")));
    }
    let mut header = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut header).map_err(|error| whole(error.to_string()))?;
    let mut entries = serde_json::from_slice::<Pairs<Info>>(&header).map_err(|error| whole(format!("in the header: {error}")))?.0;
    entries.sort_by_key(|(_, info)| info.data_offsets);
    let mut at = 0;
    let mut stored = Vec::with_capacity(entries.len());
    for (name, Info { dtype, shape, data_offsets: (from, to) }) in entries {
        let fault = |found: String| (shortened(&name).to_owned(), found);
        if shape.len() > DIMENSIONS_MAX {
            return Err(fault(format!("{} dimensions, more than {DIMENSIONS_MAX}", shape.len())));
        }
        let elements = shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size as u64));
        let size = elements.and_then(|elements| elements.checked_mul(dtype.bitsize() as u64)).filter(|bits| bits % 8 == 0);
        let size = size.map(|bits| bits / 8).ok_or_else(|| fault(format!("shape {shape:?} of {dtype:?}")))?;
        if from < at {
            return Err(fault(format!("a tensor from byte {from}, where another ends at {at}")));
        }
        if from > at {
            return Err(fault(format!("a hole from byte {at} to {from}")));
        }
        if to.checked_sub(from) != Some(size) {
            return Err(fault(format!("bytes {from} to {to} for shape {shape:?} of {dtype:?}")));
        }
        at = to;
        stored.push((name, Stored { dtype, shape, file: 0, from: data + from, bytes: size }));
    }
    if at != *bytes - data {
        return Err(whole(format!("tensors of {at} bytes in {} bytes of data", *bytes - data)));
    }
    Ok(stored)
}

/// The part of an index that is read.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: Pairs<String>,
}

/// The entries of an object in their order, each name once; an entry `__metadata__` is left out.
struct Pairs<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Vec<(String, V)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, a tensor an entry")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                use serde::de::Error;
                let mut pairs = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if pairs.len() == TENSORS_MAX {
                        return Err(A::Error::custom(format_args!("more than {TENSORS_MAX} tensors")));
                    }
                    pairs.push((name, map.next_value()?));
                }
                Ok(pairs)
            }
        }
        use serde::de::Error;
        let pairs = deserializer.deserialize_map(Entries(PhantomData))?;
        let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(D::Error::custom(format_args!("{:?} twice", shortened(pair[0])))),
            None => Ok(Self(pairs)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A file with this header and so many bytes of data, each its place.
    fn file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &(0..data).map(|at| at as u8).collect::<Vec<_>>()].concat()
    }

    fn open(files: &[(&str, Vec<u8>)]) -> Result<Checkpoint, String> {
        let place = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(place.path().join(name), bytes).unwrap();
        }
        let mut faults = Vec::new();
        let checkpoint = Checkpoint::open(&Folder::open(place.path()).unwrap(), &mut faults);
        checkpoint.ok_or_else(|| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    const A: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}}"#;
    const B: &str = r#"{"b":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#;

    fn index(map: &str) -> (&'static str, Vec<u8>) {
        (INDEX_FILE, format!(r#"{{"metadata":{{"total_size":6}},"weight_map":{{{map}}}}}"#).into_bytes())
    }

    #[test]
    fn wanted_tensors_are_read_under_new_names() {
        let wanted =
            |stored: &str, shape: &[usize]| Wanted { stored: Some(stored.into()), name: format!("new.{stored}"), shape: shape.to_vec() };
        let shards = [index(r#""a":"1.safetensors","b":"2.safetensors""#), ("1.safetensors", file(A, 4)), ("2.safetensors", file(B, 2))];
        let mut checkpoint = open(&shards).unwrap();
        assert_eq!((checkpoint.files(), checkpoint.tensors().len()), (2, 2));
        let zeros = Wanted { stored: None, name: "zeros".into(), shape: vec![2] };
        let bytes = checkpoint.collect(&[wanted("b", &[1]), wanted("a", &[1, 2]), zeros]).unwrap();
        let made = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(made.tensor("new.a").unwrap().data(), [0, 1], "its first row");
        assert_eq!(made.tensor("new.b").unwrap().data(), [0, 1]);
        assert_eq!(made.tensor("zeros").unwrap().data(), [0; 8]);
        assert_eq!(made.len(), 3);
    }

    #[test]
    fn headers_that_lie_are_told() {
        let one = |header: &str, data: usize| vec![(TRUNK_FILE, file(header, data))];
        let claimed = |length: u64| vec![(TRUNK_FILE, length.to_le_bytes().to_vec())];
        let entry = |shape: &str, offsets: &str| format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#);
        let two = |b: &str| {
            format!(r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{b}}}}}"#)
        };
        let many = format!(
            "{{{}}}",
            (0..=TENSORS_MAX).map(|n| format!(r#""{n}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#)).collect::<Vec<_>>().join(",")
        );
        for (files, expected) in [
            (vec![(TRUNK_FILE, vec![])], "found 0 bytes: no length of a header, expected a whole safetensors file"),
            (claimed(1 << 60), "found 8 bytes: a header of 1152921504606846976 bytes"),
            (claimed(u64::MAX), "found 8 bytes: a header of 18446744073709551615 bytes"),
            (one("[]", 0), "in the header: "),
            (one(&"[".repeat(100_000), 0), "in the header: "),
            (one(&format!(r#"{{"a":{}}}"#, "{\"a\":".repeat(100_000)), 0), "in the header: "),
            (one(&entry("[1152921504606846976]", "[0,4611686018427387904]"), 16), "shape [1152921504606846976] of F32"),
            (one(&entry("[4294967296,4294967296]", "[0,16]"), 16), "shape [4294967296, 4294967296] of F32"),
            (one(&entry("[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4), "9 dimensions, more than 8"),
            (one(&entry("[1]", "[4,0]"), 4), "a hole from byte 0 to 4"),
            (one(&entry("[2]", "[0,4]"), 4), "bytes 0 to 4 for shape [2] of F32"),
            (one(&entry("[1]", "[0,4]"), 5), "tensors of 4 bytes in 5 bytes of data"),
            (one(&two("[2,6]"), 6), "a tensor from byte 2, where another ends at 4"),
            (one(&two("[5,9]"), 9), "a hole from byte 4 to 5"),
            (one(&two("[4,8]").replace("\"b\"", "\"a\""), 8), "\"a\" twice"),
            (one(&many, 0), "more than 65536 tensors"),
            (
                vec![("pytorch_model.bin", vec![])],
                "pytorch_model.bin: found a PyTorch pickle, which runs code when it is read, expected model.safetensors",
            ),
            (vec![("tf_model.h5", vec![])], "tf_model.h5: found a TensorFlow file"),
            (vec![], "model.safetensors: found No such file, expected model.safetensors, or model.safetensors.index.json"),
        ] {
            let error = open(&files).map(|_| ()).expect_err(expected);
            assert!(error.contains(expected), "expected {expected:?} in {error:?}");
        }
    }

    #[test]
    fn an_index_that_lies_is_told() {
        let both = |map: &str| vec![index(map), ("1.safetensors", file(A, 4)), ("2.safetensors", file(B, 2))];
        for (files, expected) in [
            (both(r#""a":"1.safetensors","b":"3.safetensors""#), "3.safetensors: found No such file"),
            (
                both(r#""a":"1.safetensors","c":"2.safetensors""#),
                "2.safetensors: c: found nothing, expected a tensor, as model.safetensors.index.json says",
            ),
            (both(r#""a":"1.safetensors","c":"2.safetensors""#), "2.safetensors: b: found a tensor, expected none of this name"),
            (both(r#""a":"1.safetensors","a":"2.safetensors""#), "\"a\" twice"),
            (both(""), "weight_map: found 0 files, expected 1 to 256"),
            (
                both(r#""a":"../1.safetensors""#),
                r#"weight_map: found "../1.safetensors", a name with a path in it, expected the plain name"#,
            ),
            (both(r#""a":"/1.safetensors""#), r#"found "/1.safetensors", a name with a path in it"#),
            (both(r#""a":"C:\\1.safetensors""#), "a name with a path in it"),
            (both(r#""a":"..""#), "a name with only dots"),
            (both(r#""a":"1.bin""#), r#"found "1.bin", a name with another ending"#),
            (
                vec![index(r#""a":"1.safetensors","a2":"2.safetensors""#), ("1.safetensors", file(A, 4)), ("2.safetensors", file(A, 4))],
                "2.safetensors: a: found a tensor that 1.safetensors has, expected each tensor in one file",
            ),
            (vec![(INDEX_FILE, b"{}".to_vec())], "missing field `weight_map`"),
            (vec![(INDEX_FILE, "[".repeat(100_000).into_bytes())], "model.safetensors.index.json: found "),
        ] {
            let error = open(&files).map(|_| ()).expect_err(expected);
            assert!(error.contains(expected), "expected {expected:?} in {error:?}");
        }
    }
}
