//! `*.safetensors` → named tensors of `f32`.
//!
//! In: the bytes of a file whose tensors are `F32`, `F16`, `BF16` or `I8` with a companion `NAME_scale` (one `f32` a row). Out: row-major `f32` values,
//! dequantised, checked to be finite. Faults name the tensor, what was found and what was expected.
//! The whole file is read; nothing is mapped, so a file that shrinks under us cannot end the process.

use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::fault::Fault;

/// Prefixes of all names where the reference library stored a classifier with its trunk: one a family.
const PREFIXES: &[&str] = &["bert.", "roberta.", "distilbert.", "deberta.", "model."];

/// Names that layer norms had in the first checkpoints of BERT, and have now.
const OLD_NAMES: &[(&str, &str)] = &[("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")];

/// Tensors that reference checkpoints carry and that no result of ours depends on.
fn is_ignored(name: &str) -> bool {
    matches!(name, "embeddings.position_ids" | "embeddings.token_type_ids") || name.starts_with("pooler.")
}

/// The tensors of one file, by name.
pub struct Weights<'a> {
    file: &'a str,
    tensors: BTreeMap<String, TensorView<'a>>,
    faults: Vec<Fault>,
}

/// One tensor: row-major values and their shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// Row-major values; as many as the shape says.
    pub values: Vec<f32>,
}

/// Largest magnitude of a stored byte.
const INT8_MAX: f32 = 127.0;

/// A matrix as its file holds it, row-major, checked to be finite.
#[derive(Clone, Debug, PartialEq)]
pub enum Matrix {
    /// Numbers, from `F32`, `F16` or `BF16`.
    Float(Vec<f32>),
    /// Bytes with one scale a row.
    Int8 {
        /// `[rows, columns]`
        values: Vec<i8>,
        /// `[rows]`
        scales: Vec<f32>,
    },
}

impl Matrix {
    /// Numbers in it.
    #[expect(clippy::len_without_is_empty, reason = "a matrix of a model is never empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Int8 { values, .. } => values.len(),
        }
    }

    /// As numbers.
    pub fn into_f32(self, columns: usize) -> Vec<f32> {
        match self {
            Self::Float(values) => values,
            Self::Int8 { values, scales } => {
                values.chunks_exact(columns).zip(scales).flat_map(|(row, scale)| row.iter().map(move |q| f32::from(*q) * scale)).collect()
            }
        }
    }

    /// As bytes with one scale a row. Numbers are rounded to the nearest of 255 steps between the largest of the row and its negative; a row of zeros has
    /// the scale 1. Our choice, measured by `models/training/export_trunk.py`, which stores the same.
    pub fn into_int8(self, columns: usize) -> (Vec<i8>, Vec<f32>) {
        match self {
            Self::Int8 { values, scales } => (values, scales),
            Self::Float(numbers) => {
                let (mut values, mut scales) = (Vec::with_capacity(numbers.len()), Vec::with_capacity(numbers.len() / columns.max(1)));
                for row in numbers.chunks_exact(columns) {
                    let largest = row.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
                    // A row so small that its scale would be 0 is as good as zeros.
                    let scale = if largest / INT8_MAX > 0.0 { largest / INT8_MAX } else { 1.0 };
                    values.extend(row.iter().map(|value| (value / scale).round_ties_even().clamp(-INT8_MAX, INT8_MAX) as i8));
                    scales.push(scale);
                }
                (values, scales)
            }
        }
    }
}

impl<'a> Weights<'a> {
    /// Reads the header of a trunk: a prefix shared by all names (such as `bert.`) is taken off, old names are made new, and tensors that no trunk needs are left
    /// out.
    pub fn read_trunk(file: &'a str, bytes: &'a [u8]) -> Result<Self, Vec<Fault>> {
        let mut weights = Self::read(file, bytes)?;
        let is_shared = |prefix: &&&str| !weights.tensors.is_empty() && weights.tensors.keys().all(|name| name.starts_with(**prefix));
        let shared = PREFIXES.iter().find(is_shared).map_or(0, |prefix| prefix.len());
        let plain = |name: String| {
            let name = &name[shared..];
            let renamed = OLD_NAMES.iter().find_map(|(old, new)| Some(format!("{}{new}", name.strip_suffix(old)?)));
            renamed.unwrap_or_else(|| name.to_owned())
        };
        let tensors = weights.tensors.into_iter().map(|(name, view)| (plain(name), view));
        weights.tensors = tensors.filter(|(name, _)| !is_ignored(name)).collect();
        Ok(weights)
    }

    /// Reads the header.
    pub fn read(file: &'a str, bytes: &'a [u8]) -> Result<Self, Vec<Fault>> {
        let views = SafeTensors::deserialize(bytes)
            .map_err(|error| vec![Fault::new(file, "", format!("{} bytes: {error}", bytes.len()), "a whole safetensors file")])?;
        let tensors = views.iter().map(|(name, view)| (name.to_owned(), view)).collect();
        Ok(Self { file, tensors, faults: Vec::new() })
    }

    /// The shape of a tensor that nobody took yet.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(TensorView::shape)
    }

    /// Forgets a tensor that a file may have and no result depends on.
    pub fn leave_out(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// Takes a tensor that must have this shape. On a fault, notes it and gives an empty array; [`Weights::finish`] reports.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Array {
        let columns = shape.last().copied().unwrap_or(1);
        let values = self.try_take(name, shape).map(|matrix| matrix.into_f32(columns)).unwrap_or_else(|fault| {
            self.faults.push(fault);
            Vec::new()
        });
        Array { shape: shape.to_vec(), values }
    }

    /// The same for a matrix, in the form that its file holds.
    pub fn take_matrix(&mut self, name: &str, rows: usize, columns: usize) -> Matrix {
        self.try_take(name, &[rows, columns]).unwrap_or_else(|fault| {
            self.faults.push(fault);
            Matrix::Float(Vec::new())
        })
    }

    fn try_take(&mut self, name: &str, shape: &[usize]) -> Result<Matrix, Fault> {
        let fault = |found: String, expected: String| Fault::new(self.file, name, found, expected);
        let Some(view) = self.tensors.remove(name) else {
            return Err(fault("nothing".into(), format!("a tensor of shape {shape:?}")));
        };
        if view.shape() != shape {
            return Err(fault(format!("shape {:?}", view.shape()), format!("shape {shape:?}")));
        }
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => floats(view.data()),
            Dtype::F16 => view.data().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::BF16 => view.data().chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::I8 => {
                let values: Vec<i8> = view.data().iter().map(|byte| byte.cast_signed()).collect();
                return Ok(Matrix::Int8 { values, scales: self.scales(name, shape)? });
            }
            other => return Err(fault(format!("dtype {other:?}"), "dtype F32, F16, BF16 or I8".into())),
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(fault(format!("{} at element {at}", values[at]), "finite numbers".into())),
            None => Ok(Matrix::Float(values)),
        }
    }

    fn scales(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Fault> {
        let scale_name = format!("{name}_scale");
        let fault = |found: String, expected: String| Fault::new(self.file, &scale_name, found, expected);
        if shape.len() != 2 || shape[1] == 0 {
            return Err(Fault::new(self.file, name, format!("dtype I8 with shape {shape:?}"), "I8 for matrices only"));
        }
        let Some(view) = self.tensors.remove(&scale_name) else {
            return Err(fault("nothing".into(), format!("a tensor of shape [{}] with the scale of each row", shape[0])));
        };
        if view.shape() != [shape[0]] || view.dtype() != Dtype::F32 {
            return Err(fault(format!("{:?} of shape {:?}", view.dtype(), view.shape()), format!("F32 of shape [{}]", shape[0])));
        }
        let scales = floats(view.data());
        // 128 is the largest magnitude of a byte: what it stands for must be finite too.
        match scales.iter().position(|s| !(s * 128.0).is_finite() || *s < 0.0) {
            Some(at) => Err(fault(format!("{} at element {at}", scales[at]), "finite scales, 0 or more".into())),
            None => Ok(scales),
        }
    }

    /// All faults, tensors that nobody took among them.
    pub fn finish(mut self) -> Vec<Fault> {
        for (name, view) in &self.tensors {
            self.faults.push(Fault::new(self.file, name, format!("shape {:?}", view.shape()), "no such tensor"));
        }
        self.faults
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::serialize;

    fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
        let views = tensors.iter().map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
        serialize(views, None).unwrap()
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn take(data: &[u8], shape: &[usize]) -> Result<Array, String> {
        let mut weights = Weights::read_trunk("w", data).map_err(|f| f[0].to_string())?;
        let array = weights.take("a", shape);
        let faults = weights.finish();
        if faults.is_empty() { Ok(array) } else { Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")) }
    }

    #[test]
    fn every_storage_gives_floats() {
        let halves: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let scales = bytes(&[0.5, 0.25]);
        assert_eq!(take(&file(&[("a", Dtype::F32, &[2], &bytes(&[1.5, -2.0]))]), &[2]).unwrap().values, [1.5, -2.0]);
        assert_eq!(take(&file(&[("bert.a", Dtype::F16, &[2], &halves)]), &[2]).unwrap().values, [1.5, -2.0]);
        let brains: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
        assert_eq!(take(&file(&[("a", Dtype::BF16, &[2], &brains)]), &[2]).unwrap().values, [1.5, -2.0]);
        let int8 = file(&[("a", Dtype::I8, &[2, 2], &[4, 252, 8, 127]), ("a_scale", Dtype::F32, &[2], &scales)]);
        assert_eq!(take(&int8, &[2, 2]).unwrap().values, [2.0, -2.0, 2.0, 31.75]);
    }

    #[test]
    fn names_of_old_and_of_whole_classifiers_are_known() {
        let one = bytes(&[1.0]);
        let names = ["roberta.x.LayerNorm.gamma", "roberta.embeddings.position_ids", "roberta.x.LayerNorm.beta"];
        let data = file(&names.map(|name| (name, Dtype::F32, &[1][..], &one[..])));
        let mut weights = Weights::read_trunk("w", &data).unwrap();
        assert_eq!((weights.shape("x.LayerNorm.weight"), weights.shape("x.LayerNorm.gamma")), (Some(&[1][..]), None));
        assert_eq!(weights.take("x.LayerNorm.weight", &[1]).values, weights.take("x.LayerNorm.bias", &[1]).values);
        assert_eq!(weights.finish(), []);
    }

    #[test]
    fn a_fault_names_tensor_found_and_expected() {
        let whole = file(&[("a", Dtype::F32, &[2], &bytes(&[1.0, 2.0]))]);
        let cases: Vec<(Vec<u8>, &[usize], &str)> = vec![
            (whole.clone(), &[3], "w: a: found shape [2], expected shape [3]"),
            (whole[..whole.len() - 1].to_vec(), &[2], "expected a whole safetensors file"),
            (Vec::new(), &[2], "w: found 0 bytes"),
            (
                file(&[("b", Dtype::F32, &[1], &bytes(&[1.0]))]),
                &[2],
                "w: a: found nothing, expected a tensor of shape [2]; w: b: found shape [1]",
            ),
            (file(&[("a", Dtype::F32, &[2], &bytes(&[1.0, f32::NAN]))]), &[2], "w: a: found NaN at element 1, expected finite numbers"),
            (file(&[("a", Dtype::I64, &[1], &[0; 8])]), &[1], "w: a: found dtype I64, expected dtype F32, F16, BF16 or I8"),
            (file(&[("a", Dtype::I8, &[1, 2], &[0; 2])]), &[1, 2], "w: a_scale: found nothing"),
            (file(&[("a", Dtype::I8, &[2], &[0; 2])]), &[2], "I8 for matrices only"),
            (
                file(&[("a", Dtype::I8, &[1, 1], &[1]), ("a_scale", Dtype::F32, &[1], &bytes(&[f32::INFINITY]))]),
                &[1, 1],
                "w: a_scale: found inf at element 0",
            ),
        ];
        for (data, shape, expected) in cases {
            let error = take(&data, shape).expect_err(expected);
            assert!(error.contains(expected), "expected {expected:?} in {error:?}");
        }
    }
}
