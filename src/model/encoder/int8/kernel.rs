//! The products of bytes, one implementation for each kind of processor.
//!
//! All give the same integers, since sums of products of bytes are exact in `i32` for up to 65,000 inputs (255 · 127 · 65,000 < 2³¹).
//! What works on numbers beside them ([`super::rows`]) has one order of operations ([`super::lanes`]), so that a model gives the same bits on each of them.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;

use super::lanes::{Lanes, Portable};
use super::matrix::PANEL;

/// Most rows that a kernel takes at once.
pub(super) const ROWS_MAX: usize = 32;

/// Which instructions multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelKind {
    /// Advanced Matrix Extensions: tiles of 16 rows (Intel since 2023).
    Amx,
    /// AVX-512 with VNNI: 64 products an instruction (Intel since 2019, AMD since 2022).
    Avx512Vnni,
    /// VNNI in registers of 256 bits (Intel without AVX-512, since 2021).
    AvxVnni,
    /// AVX2: widened to 16 bits, so that nothing saturates.
    Avx2,
    /// Any machine.
    Portable,
}

impl KernelKind {
    /// From the fastest to the one that is always there.
    pub const ALL: [Self; 5] = [Self::Amx, Self::Avx512Vnni, Self::AvxVnni, Self::Avx2, Self::Portable];

    /// Name in logs and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512Vnni => "avx512-vnni",
            Self::AvxVnni => "avx-vnni",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Whether this machine has the instructions, and its system lets them be used.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma");
            let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq") && has!("avx512vnni");
            match self {
                Self::Amx => avx512 && amx::is_available(),
                Self::Avx512Vnni => avx512,
                Self::AvxVnni => avx2 && has!("avxvnni"),
                Self::Avx2 => avx2,
                Self::Portable => true,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }

    /// The fastest that this machine has.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|kind| kind.is_available()).unwrap_or(Self::Portable)
    }
}

impl fmt::Display for KernelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a kind of processor does its own way.
pub(super) trait Kernel {
    /// How it holds numbers.
    type Lanes: Lanes;
    /// Rows of bytes, or of words, that it takes at once, up to [`ROWS_MAX`]; an even number without [`Self::WORDS`]. Rows of activations may be read, though not used, up to the next multiple of this.
    const ROWS: usize;

    /// How numbers of two bytes lie: as signed words, whose sums [`Self::block_of_words`] gives; or as a row of higher bytes and one of lower, which [`Self::block`]
    /// multiplies like any two rows.
    const WORDS: bool = false;

    /// Outputs that a block takes at once, where a product has this many rows of bytes: a part of a [`PANEL`], and a multiple of [`super::lanes::LANES`].
    fn outputs(_rows: usize) -> usize {
        PANEL
    }

    /// Before the first block of a product.
    #[inline(always)]
    unsafe fn begin() {}

    /// After the last.
    #[inline(always)]
    unsafe fn end() {}

    /// Integer sums of `rows` rows of `inputs` activations with `outputs` outputs of a panel: `sums[row * 64 + output]`.
    ///
    /// `unsafe`: the instructions must be there; `a` holds rows of `inputs` bytes, up to the next multiple of [`Self::ROWS`]; `outputs` is what [`Self::outputs`]
    /// says; `panel` points to the first of them, in a panel of `inputs * 64` bytes; `sums` has room for [`ROWS_MAX`] rows and is aligned to 64.
    unsafe fn block(rows: usize, outputs: usize, a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32);

    /// The same for all 64 outputs and rows of signed words, where [`Self::WORDS`] says that they lie so. Their magnitudes are small enough for the sums
    /// ([`super::rows::word_max`]).
    ///
    /// `unsafe`: as [`Self::block`], `a` holding words.
    unsafe fn block_of_words(_rows: usize, _a: *const i16, _inputs: usize, _panel: *const i8, _sums: *mut i32) {
        unreachable!("two bytes lie as rows of bytes")
    }
}

/// Any machine.
pub(super) struct PortableKernel;

/// Sums of one row with the 64 outputs of a panel: an element of a row, times one of each output.
///
/// `unsafe`: `panel` holds `inputs * 64` bytes, and `sums` has room for 64.
#[inline(always)]
unsafe fn portable_row(inputs: usize, a: impl Fn(usize) -> i32, panel: *const i8, sums: *mut i32) {
    let mut totals = [0i32; PANEL];
    for four in 0..inputs / 4 {
        // SAFETY: as above.
        let weights = unsafe { &*panel.add(4 * PANEL * four).cast::<[[i8; 4]; PANEL]>() };
        let a: [i32; 4] = std::array::from_fn(|at| a(4 * four + at));
        for (total, weights) in totals.iter_mut().zip(weights) {
            for (a, weight) in a.iter().zip(weights) {
                *total += *a * i32::from(*weight);
            }
        }
    }
    // SAFETY: as above.
    unsafe { sums.cast::<[i32; PANEL]>().write(totals) }
}

impl Kernel for PortableKernel {
    type Lanes = Portable;
    const ROWS: usize = 1;
    const WORDS: bool = true;

    #[inline(always)]
    unsafe fn block(rows: usize, _outputs: usize, a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32) {
        for row in 0..rows {
            // SAFETY: rows of `inputs` bytes at `a`; panel and sums as the trait says.
            unsafe { portable_row(inputs, |at| i32::from(*a.add(row * inputs + at)), panel, sums.add(row * PANEL)) }
        }
    }

    #[inline(always)]
    unsafe fn block_of_words(rows: usize, a: *const i16, inputs: usize, panel: *const i8, sums: *mut i32) {
        for row in 0..rows {
            // SAFETY: rows of `inputs` words at `a`; panel and sums as the trait says.
            unsafe { portable_row(inputs, |at| i32::from(*a.add(row * inputs + at)), panel, sums.add(row * PANEL)) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use self::{
    amx::AmxKernel,
    x86::{Avx2Kernel, Avx512VnniKernel, AvxVnniKernel},
};
