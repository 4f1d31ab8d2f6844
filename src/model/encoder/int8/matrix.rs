//! A weight matrix as the kernels read it.
//!
//! In: a [`Linear`] as its file holds it. Out: signed bytes with one scale an output, packed once so that every kernel reads them in the order of memory: panels of
//! 64 outputs; in a panel, for every four inputs, four bytes of each output (`[outputs / 64][inputs / 4][64][4]`). Outputs are filled up to panels and inputs to
//! [`INPUTS`] with zeros, which change no sum.
//!
//! Activations are bytes without sign: a number x stands for `scale · (x - zero_point)`. The sum over `zero_point · weight` depends on the output alone, and is
//! subtracted from the integer sum, exactly.

use super::super::Linear;

/// Outputs of a panel.
pub(super) const PANEL: usize = 64;
/// Inputs are filled up to a multiple of this: the bytes that one row of an AMX tile holds.
pub(super) const INPUTS: usize = 64;

/// 64 bytes at an address that is a multiple of 64, so that no load crosses a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line([u8; 64]);

/// Bytes from a multiple of 64 on.
pub(super) struct Aligned(Vec<Line>);

impl Aligned {
    /// At least this many bytes, all 0.
    pub(super) fn zeroed(bytes: usize) -> Self {
        Self(vec![Line([0; 64]); bytes.div_ceil(64)])
    }

    /// Grows to at least this many bytes; what is there is of no use afterwards.
    pub(super) fn grow(&mut self, bytes: usize) {
        if self.0.len() * 64 < bytes {
            *self = Self::zeroed(bytes);
        }
    }

    /// Where they begin, as values of a type whose every bit pattern is one.
    pub(super) fn as_ptr<T>(&self) -> *const T {
        self.0.as_ptr().cast()
    }

    /// Where they begin, to be written.
    pub(super) fn as_mut_ptr<T>(&mut self) -> *mut T {
        self.0.as_mut_ptr().cast()
    }
}

/// See the module.
pub(super) struct PackedMatrix {
    bytes: Aligned,
    /// Inputs, filled up: the distance between rows of activations.
    pub(super) inputs: usize,
    /// Outputs, filled up.
    pub(super) outputs: usize,
    /// By output.
    scales: Vec<f32>,
    bias: Vec<f32>,
    /// By output: zero point times the sum of its weights, wrapping, as the difference from it does.
    corrections: Vec<i32>,
}

impl PackedMatrix {
    /// Bytes that it takes in memory.
    pub(super) fn bytes_held(&self) -> u64 {
        (self.bytes.0.len() * size_of::<Line>() + 4 * (self.scales.len() + self.bias.len() + self.corrections.len())) as u64
    }

    /// Packs several matrices that read the same inputs as one, in their order.
    pub(super) fn new(parts: Vec<Linear>, zero_point: i32) -> Self {
        let width = parts.first().map_or(0, |linear| linear.inputs);
        let inputs = width.next_multiple_of(INPUTS);
        let outputs: usize = parts.iter().map(|linear| linear.outputs).sum::<usize>().next_multiple_of(PANEL);
        let mut packed = Self {
            bytes: Aligned::zeroed(outputs * inputs),
            inputs,
            outputs,
            scales: vec![0.0; outputs],
            bias: vec![0.0; outputs],
            corrections: vec![0; outputs],
        };
        // SAFETY: the buffer holds `outputs * inputs` bytes, and nothing else refers to it.
        let bytes: &mut [i8] = unsafe { std::slice::from_raw_parts_mut(packed.bytes.as_mut_ptr(), outputs * inputs) };
        let mut output = 0;
        for linear in parts {
            let (values, scales) = linear.weight.into_int8(width);
            for ((row, scale), bias) in values.chunks_exact(width).zip(scales).zip(linear.bias) {
                let panel = (output / PANEL) * inputs * PANEL + (output % PANEL) * 4;
                for (input, weight) in row.iter().enumerate() {
                    bytes[panel + (input / 4) * PANEL * 4 + input % 4] = *weight;
                }
                packed.scales[output] = scale;
                packed.bias[output] = bias;
                packed.corrections[output] = zero_point.wrapping_mul(row.iter().map(|weight| i32::from(*weight)).sum::<i32>());
                output += 1;
            }
        }
        packed
    }

    /// All its panels.
    pub(super) fn panels(&self) -> std::ops::Range<usize> {
        0..self.outputs / PANEL
    }

    /// The bytes of the outputs from this one on, in its panel: four bytes of each for its first four inputs; those for the next four are `4 * PANEL` farther.
    #[inline(always)]
    pub(super) fn weights_from(&self, output: usize) -> *const i8 {
        debug_assert!(output < self.outputs);
        self.bytes.as_ptr::<i8>().wrapping_add((output / PANEL) * self.inputs * PANEL + 4 * (output % PANEL))
    }

    /// Scale, bias and correction of the outputs from this one on.
    #[inline(always)]
    pub(super) fn outputs_from(&self, output: usize) -> (*const f32, *const f32, *const i32) {
        debug_assert!(output < self.outputs);
        (self.scales.as_ptr().wrapping_add(output), self.bias.as_ptr().wrapping_add(output), self.corrections.as_ptr().wrapping_add(output))
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.outputs * (self.inputs + 12)
    }
}
