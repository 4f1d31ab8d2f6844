//! Vector kernels of x86-64.

use std::arch::x86_64::*;

use super::super::lanes::{Avx2, Avx512};
use super::super::matrix::PANEL;
use super::Kernel;

/// Bytes between the groups of four inputs in a panel.
const FOUR: usize = 4 * PANEL;

/// Calls a function for the number of rows, which its registers are laid out for.
macro_rules! by_rows {
    ($rows:expr, $of:ident $arguments:tt, $($row:literal)*) => {
        match $rows {
            $($row => by_rows!(@ $of, $row, $arguments),)*
            rows => unreachable!("a block of {rows} rows"),
        }
    };
    (@ $of:ident, $row:literal, ($($argument:expr),*)) => {
        $of::<$row>($($argument),*)
    };
}

/// AVX-512 with VNNI: 6 rows by 64 outputs are 24 registers of sums, 4 of weights and 1 of activations.
pub(in super::super) struct Avx512VnniKernel;

impl Kernel for Avx512VnniKernel {
    type Lanes = Avx512;
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn block(rows: usize, _outputs: usize, a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32) {
        // SAFETY: as the trait says.
        unsafe { by_rows!(rows, avx512_rows(a, inputs, panel, sums), 1 2 3 4 5 6) }
    }
}

#[inline(always)]
unsafe fn avx512_rows<const R: usize>(a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32) {
    // SAFETY: R rows of `inputs` bytes at `a`, `inputs * 64` bytes at `panel`, room for R rows of 64 at `sums`.
    unsafe {
        let mut totals = [[_mm512_setzero_si512(); 4]; R];
        for four in 0..inputs / 4 {
            let at = panel.add(four * FOUR);
            let weights = [
                _mm512_load_si512(at.cast()),
                _mm512_load_si512(at.add(64).cast()),
                _mm512_load_si512(at.add(128).cast()),
                _mm512_load_si512(at.add(192).cast()),
            ];
            for row in 0..R {
                let a = _mm512_set1_epi32(a.add(row * inputs + 4 * four).cast::<i32>().read_unaligned());
                for part in 0..4 {
                    totals[row][part] = _mm512_dpbusd_epi32(totals[row][part], a, weights[part]);
                }
            }
        }
        for row in 0..R {
            for part in 0..4 {
                _mm512_store_si512(sums.add(row * PANEL + 16 * part).cast(), totals[row][part]);
            }
        }
    }
}

/// VNNI in 256 bits: 6 rows by 16 outputs at a time are 12 registers of sums, 2 of weights and 1 of activations.
pub(in super::super) struct AvxVnniKernel;

impl Kernel for AvxVnniKernel {
    type Lanes = Avx2;
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn block(rows: usize, _outputs: usize, a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32) {
        // SAFETY: as the trait says.
        unsafe { by_rows!(rows, avx_vnni_rows(a, inputs, panel, sums), 1 2 3 4 5 6) }
    }
}

#[inline(always)]
unsafe fn avx_vnni_rows<const R: usize>(a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32) {
    for part in 0..4 {
        // SAFETY: R rows of `inputs` bytes at `a`, `inputs * 64` bytes at `panel`, room for R rows of 64 at `sums`.
        unsafe {
            let mut totals = [[_mm256_setzero_si256(); 2]; R];
            for four in 0..inputs / 4 {
                let at = panel.add(four * FOUR + 64 * part);
                let weights = [_mm256_load_si256(at.cast()), _mm256_load_si256(at.add(32).cast())];
                for row in 0..R {
                    let a = _mm256_set1_epi32(a.add(row * inputs + 4 * four).cast::<i32>().read_unaligned());
                    totals[row][0] = _mm256_dpbusd_avx_epi32(totals[row][0], a, weights[0]);
                    totals[row][1] = _mm256_dpbusd_avx_epi32(totals[row][1], a, weights[1]);
                }
            }
            for row in 0..R {
                _mm256_store_si256(sums.add(row * PANEL + 16 * part).cast(), totals[row][0]);
                _mm256_store_si256(sums.add(row * PANEL + 16 * part + 8).cast(), totals[row][1]);
            }
        }
    }
}

/// AVX2: bytes are widened to 16 bits and multiplied in pairs, whose sums fit 32 bits; `maddubs` would saturate. 4 rows by 8 outputs at a time.
pub(in super::super) struct Avx2Kernel;

impl Kernel for Avx2Kernel {
    type Lanes = Avx2;
    const ROWS: usize = 4;
    const WORDS: bool = true;

    #[inline(always)]
    unsafe fn block(rows: usize, _outputs: usize, a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32) {
        // SAFETY: as the trait says.
        unsafe { by_rows!(rows, avx2_rows(Bytes(a), inputs, panel, sums), 1 2 3 4) }
    }

    #[inline(always)]
    unsafe fn block_of_words(rows: usize, a: *const i16, inputs: usize, panel: *const i8, sums: *mut i32) {
        // SAFETY: as the trait says.
        unsafe { by_rows!(rows, avx2_rows(Words(a), inputs, panel, sums), 1 2 3 4) }
    }
}

/// Where activations come from, as words.
trait Fours: Copy {
    /// Four of them from this one on, four times over.
    unsafe fn four(self, at: usize) -> __m256i;
}

#[derive(Clone, Copy)]
struct Bytes(*const u8);
#[derive(Clone, Copy)]
struct Words(*const i16);

impl Fours for Bytes {
    #[inline(always)]
    unsafe fn four(self, at: usize) -> __m256i {
        // SAFETY: the caller says that four are there.
        unsafe { _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(self.0.add(at).cast::<i32>().read_unaligned()))) }
    }
}

impl Fours for Words {
    #[inline(always)]
    unsafe fn four(self, at: usize) -> __m256i {
        // SAFETY: the caller says that four are there.
        unsafe { _mm256_set1_epi64x(self.0.add(at).cast::<i64>().read_unaligned()) }
    }
}

#[inline(always)]
unsafe fn avx2_rows<const R: usize>(a: impl Fours, inputs: usize, panel: *const i8, sums: *mut i32) {
    for part in 0..8 {
        // SAFETY: R rows of `inputs` at `a`, `inputs * 64` bytes at `panel`, room for R rows of 64 at `sums`.
        unsafe {
            // For each of four outputs two sums side by side: of the first two inputs of each four, and of the last two.
            let mut totals = [[_mm256_setzero_si256(); 2]; R];
            for four in 0..inputs / 4 {
                let at = panel.add(four * FOUR + 32 * part);
                let weights = [_mm256_cvtepi8_epi16(_mm_load_si128(at.cast())), _mm256_cvtepi8_epi16(_mm_load_si128(at.add(16).cast()))];
                for row in 0..R {
                    let a = a.four(row * inputs + 4 * four);
                    totals[row][0] = _mm256_add_epi32(totals[row][0], _mm256_madd_epi16(a, weights[0]));
                    totals[row][1] = _mm256_add_epi32(totals[row][1], _mm256_madd_epi16(a, weights[1]));
                }
            }
            for row in 0..R {
                // Adding neighbours works within halves of a register: the permutation puts the pairs of outputs in order again.
                let pairs = _mm256_hadd_epi32(totals[row][0], totals[row][1]);
                _mm256_store_si256(sums.add(row * PANEL + 8 * part).cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs));
            }
        }
    }
}
