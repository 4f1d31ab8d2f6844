//! A package whose matrices are numbers → the same with bytes, proved against itself.
//!
//! In: the files of a package. Out: the files of a package a quarter as large, whose matrices are signed bytes with one scale a row (as
//! `models/training/export_trunk.py` stores them), and what that moved. The parity file is made anew by the reference engine from the weights as they are stored now,
//! since that is what serves; how far they are from what was there before is in the [`Moved`].
//! Matrices that are bytes already stay as they are.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use super::fault::Fault;
use super::load::{self, PackageFiles, TRUNK_FILE};
use super::parity::{self, ParityFile};
use super::scorer::Scorer;
use super::weights::Weights;

/// What storage in bytes changed, over the texts of the package's parity file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// Bytes of the trunk's file before.
    pub bytes_before: usize,
    /// And after.
    pub bytes_after: usize,
    /// Matrices that are bytes now and were numbers.
    pub matrices: usize,
    /// The least cosine of a text's vectors before and after.
    pub least_cosine: f32,
    /// The largest difference of a probability.
    pub largest_difference: f32,
}

/// Stores the matrices of a package as bytes.
pub fn quantise(files: PackageFiles) -> Result<(PackageFiles, Moved), Vec<Fault>> {
    let before = parity::parse(&files.parity)?;
    let (trunk, matrices) = store(&files.trunk)?;
    let (bytes_before, bytes_after) = (files.trunk.len(), trunk.len());
    let files = PackageFiles { trunk, ..files };
    let after = measured(&load::reference(&files)?, &before)?;
    let (mut least_cosine, mut largest_difference) = (1.0f32, 0.0f32);
    for (old, new) in before.texts.iter().zip(&after.texts) {
        least_cosine = least_cosine.min(old.embedding.iter().zip(&new.embedding).map(|(a, b)| a * b).sum());
        largest_difference = largest_difference.max(difference(&old.probabilities, &new.probabilities));
    }
    for (old, new) in before.pairs.iter().zip(&after.pairs) {
        largest_difference = largest_difference.max(difference(&old.probabilities, &new.probabilities));
    }
    let text =
        serde_json::to_vec(&after).map_err(|error| vec![Fault::new(parity::FILE, "", error.to_string(), "numbers that JSON has")])?;
    let files = PackageFiles { parity: [text, b"\n".to_vec()].concat(), ..files };
    Ok((files, Moved { bytes_before, bytes_after, matrices, least_cosine, largest_difference }))
}

/// A trunk's file with its matrices as bytes, and how many were not before.
fn store(file: &[u8]) -> Result<(Vec<u8>, usize), Vec<Fault>> {
    let fault = |error: safetensors::SafeTensorError| vec![Fault::new(TRUNK_FILE, "", error.to_string(), "a whole safetensors file")];
    let names: Vec<(String, Dtype, Vec<usize>)> = {
        let views = SafeTensors::deserialize(file).map_err(fault)?;
        views.iter().map(|(name, view)| (name.to_owned(), view.dtype(), view.shape().to_vec())).collect()
    };
    let (_, metadata) = SafeTensors::read_metadata(file).map_err(fault)?;
    let mut weights = Weights::read(TRUNK_FILE, file)?;
    let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let mut matrices = 0;
    for (name, dtype, shape) in &names {
        if let [rows, columns] = shape[..] {
            matrices += usize::from(*dtype != Dtype::I8);
            let (values, scales) = weights.take_matrix(name, rows, columns).into_int8(columns);
            tensors.insert(name.clone(), (Dtype::I8, shape.clone(), values.iter().map(|value| value.cast_unsigned()).collect()));
            tensors.insert(format!("{name}_scale"), (Dtype::F32, vec![rows], bytes(&scales)));
        } else if !name.ends_with("_scale") {
            let array = weights.take(name, shape);
            tensors.insert(name.clone(), (Dtype::F32, shape.clone(), bytes(&array.values)));
        }
    }
    let faults = weights.finish();
    if !faults.is_empty() {
        return Err(faults);
    }
    let views = tensors.iter().map(|(name, (dtype, shape, data))| Ok((name, TensorView::new(*dtype, shape.clone(), data)?)));
    let views = views.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    Ok((serialize(views, metadata.metadata().clone()).map_err(fault)?, matrices))
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The same texts and pairs with the answers of this model.
fn measured(scorer: &Scorer, before: &ParityFile) -> Result<ParityFile, Vec<Fault>> {
    let failed =
        |error: super::scorer::ScoreError| vec![Fault::new(TRUNK_FILE, "", error.to_string(), "finite answers for the parity texts")];
    let mut file = before.clone();
    file.made_by = format!("quantised by baton {} from what {} had made", env!("CARGO_PKG_VERSION"), before.made_by);
    for text in &mut file.texts {
        let found = scorer.reference(&text.text).map_err(failed)?;
        text.embedding = found.embedding.0;
        text.probabilities = found.probabilities.into_iter().collect();
    }
    for pair in &mut file.pairs {
        pair.probabilities = scorer.reference_of_pair(&pair.text, &pair.previous).map_err(failed)?.into_iter().collect();
    }
    Ok(file)
}

fn difference(old: &BTreeMap<String, Vec<f32>>, new: &BTreeMap<String, Vec<f32>>) -> f32 {
    let pairs = old.iter().filter_map(|(head, old)| Some(old.iter().zip(new.get(head)?)));
    pairs.flatten().map(|(old, new)| (old - new).abs()).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::weights::Matrix;

    #[test]
    fn matrices_become_bytes_and_the_rest_stays() {
        let (weight, norm) = (bytes(&[1.0, -2.0, 0.5, 0.25, 0.0, 0.0]), bytes(&[3.0]));
        let views =
            [("w", TensorView::new(Dtype::F32, vec![3, 2], &weight).unwrap()), ("n", TensorView::new(Dtype::F32, vec![1], &norm).unwrap())];
        let (stored, matrices) = store(&serialize(views, None).unwrap()).unwrap();
        assert_eq!(matrices, 1);
        let mut weights = Weights::read(TRUNK_FILE, &stored).unwrap();
        let found = weights.take_matrix("w", 3, 2);
        assert_eq!(found, Matrix::Int8 { values: vec![64, -127, 127, 64, 0, 0], scales: vec![2.0 / 127.0, 0.5 / 127.0, 1.0] });
        assert_eq!(weights.take("n", &[1]).values, [3.0]);
        assert_eq!(weights.finish(), []);
        assert_eq!(store(&stored).unwrap(), (stored, 0), "bytes stay as they are");
    }
}
