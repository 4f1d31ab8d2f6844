//! What `benches/encoder.rs` measures and no caller needs: one product or one step by itself, and the peak that products are held against.

use super::kernel::{KernelKind, ROWS_MAX};
use super::matrix::{Aligned, PackedMatrix};
use super::rows::{self, Activations, Beside, Range, Then};
use super::{Buffers, Int8Encoder, Pass, Precision, Step};
use crate::model::encoder::Linear;
use crate::model::weights::Matrix;

/// A product of rows of bytes with a matrix, of any numbers, scale and bias included.
pub struct ProductBench {
    kind: KernelKind,
    rows: usize,
    beside: Beside,
    a: Aligned,
    scales: Vec<f32>,
    matrix: PackedMatrix,
}

impl ProductBench {
    /// `rows` rows of `inputs` bytes by `inputs` times `outputs` weights, on a kernel that must be available.
    pub fn new(kind: KernelKind, precision: Precision, rows: usize, inputs: usize, outputs: usize) -> Self {
        let (range, beside) = match precision {
            Precision::W8A8 => (Range::Symmetric, Beside::Nothing),
            Precision::W8A16 => (Range::TwoBytes, Beside::SecondByte),
        };
        let weight = Matrix::Float((0..inputs * outputs).map(|at| (at % 255) as f32 - 127.0).collect());
        let matrix = PackedMatrix::new(vec![Linear { weight, bias: vec![0.0; outputs], outputs, inputs }], range.zero_point());
        let a = Aligned::zeroed((rows * range.bytes()).next_multiple_of(ROWS_MAX) * matrix.inputs);
        Self { kind, rows, beside, a, scales: vec![1.0; rows], matrix }
    }

    /// Computes it once, into a buffer of its own.
    pub fn run(&self) -> f32 {
        let mut out = Aligned::zeroed(self.rows * self.matrix.outputs * 4);
        let a = Activations { bytes: self.a.as_ptr(), scales: self.scales.as_ptr(), beside: self.beside, rows: self.rows };
        // SAFETY: the kernel is available, or `steps` panics; the buffers are as large as it asks for.
        unsafe {
            (rows::steps(self.kind).product)(&a, &self.matrix, self.matrix.panels(), Then::Keep, out.as_mut_ptr(), self.matrix.outputs);
            *out.as_ptr()
        }
    }

    /// The peak of `vpdpbusd` on registers of 512 bits; `None` without AVX512-VNNI.
    pub fn peak() -> Option<Peak> {
        KernelKind::Avx512Vnni.is_available().then_some(Peak)
    }
}

/// One step of the first layer, over buffers that a whole pass has filled.
pub struct StepBench<'a> {
    encoder: &'a Int8Encoder,
    buffers: Buffers,
    sequences: Vec<&'a [u32]>,
    tokens: usize,
}

impl<'a> StepBench<'a> {
    /// Fills the buffers for sequences of at most [`super::TOKENS_MAX`] tokens together, or one longer one.
    pub fn new(encoder: &'a Int8Encoder, sequences: Vec<&'a [u32]>) -> Self {
        let tokens = sequences.iter().map(|ids| ids.len()).sum();
        let longest = sequences.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let mut buffers = Buffers::none();
        buffers.make_room(encoder, tokens, longest);
        let mut bench = Self { encoder, buffers, sequences, tokens };
        bench.run(Step::Embed);
        Step::OF_A_LAYER.into_iter().for_each(|step| bench.run(step));
        bench
    }

    /// Runs the step once.
    pub fn run(&mut self, step: Step) {
        if let Some(layer) = self.encoder.layers.first() {
            Pass::new(self.encoder, &mut self.buffers, self.tokens).step(step, layer, &self.sequences);
        }
    }
}

/// Multiplications in registers, without a load.
pub struct Peak;

impl Peak {
    /// Repetitions of a run of 16 independent instructions of 64 multiplications each.
    const RUNS: usize = 10_000;

    /// Multiplications of one run.
    pub fn multiplications(&self) -> usize {
        Self::RUNS * 16 * 64
    }

    /// Multiplies.
    pub fn run(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `ProductBench::peak` gives a peak only where the instructions are.
        unsafe {
            std::arch::asm!(
                "2:",
                "vpdpbusd zmm0, zmm16, zmm17", "vpdpbusd zmm1, zmm16, zmm17", "vpdpbusd zmm2, zmm16, zmm17", "vpdpbusd zmm3, zmm16, zmm17",
                "vpdpbusd zmm4, zmm16, zmm17", "vpdpbusd zmm5, zmm16, zmm17", "vpdpbusd zmm6, zmm16, zmm17", "vpdpbusd zmm7, zmm16, zmm17",
                "vpdpbusd zmm8, zmm16, zmm17", "vpdpbusd zmm9, zmm16, zmm17", "vpdpbusd zmm10, zmm16, zmm17", "vpdpbusd zmm11, zmm16, zmm17",
                "vpdpbusd zmm12, zmm16, zmm17", "vpdpbusd zmm13, zmm16, zmm17", "vpdpbusd zmm14, zmm16, zmm17", "vpdpbusd zmm15, zmm16, zmm17",
                "dec {runs}", "jnz 2b",
                runs = inout(reg) Self::RUNS => _,
                out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _, out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
                options(nomem, nostack),
            );
        }
    }
}
