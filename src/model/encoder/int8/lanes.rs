//! Sixteen numbers at once: what every kernel computes with.
//!
//! Every implementation does the same operations in the same order, each rounded once as IEEE 754 says (a fused multiply-add rounds once), so that all of them give
//! the same bits. Sums over lanes are taken as a tree: lane i with i + 8, then with i + 4, i + 2, i + 1.
//! `unsafe`: an implementation may only run where its instructions exist, and pointers must be good for what is read or written through them.

/// Lanes of one value.
pub(super) const LANES: usize = 16;

/// Sixteen `f32`.
pub(super) trait Lanes: Copy {
    /// The same number in each lane.
    unsafe fn splat(value: f32) -> Self;
    /// 16 numbers from memory, at any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// 16 numbers to memory, at any alignment.
    unsafe fn store(self, to: *mut f32);
    /// 16 signed bytes as numbers.
    unsafe fn load_i8(from: *const i8) -> Self;
    /// `a - b` of 16 integers, wrapping, as the nearest numbers.
    unsafe fn load_i32_difference(a: *const i32, b: *const i32) -> Self;
    /// 16 integers as the nearest numbers.
    unsafe fn load_i32(from: *const i32) -> Self;
    /// `256 * higher + lower - b` of 16 integers, wrapping, as the nearest numbers.
    unsafe fn load_i32_of_two(higher: *const i32, lower: *const i32, b: *const i32) -> Self;
    /// Of 16 runs of four signed bytes, the one at this place (0 to 3) of each, as numbers.
    unsafe fn load_one_of_four(from: *const i8, place: usize) -> Self;
    /// The nearest integers, ties to even, as bytes; callers keep them in 0..=255.
    unsafe fn store_u8(self, to: *mut u8);
    /// The nearest integers, ties to even, as a higher and a lower byte; callers keep them in 0..=65,535.
    unsafe fn store_u16(self, higher: *mut u8, lower: *mut u8);
    /// The nearest integers, ties to even, as words; callers keep them within `i16`.
    unsafe fn store_i16(self, to: *mut i16);
    /// Sum of two.
    unsafe fn add(self, other: Self) -> Self;
    /// Difference of two.
    unsafe fn sub(self, other: Self) -> Self;
    /// Product of two.
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `self` where it is larger, else `other`.
    unsafe fn max(self, other: Self) -> Self;
    /// `self` where it is smaller, else `other`.
    unsafe fn min(self, other: Self) -> Self;
    /// The nearest integers, ties to even; callers keep them within `i32`.
    unsafe fn round(self) -> Self;
    /// Two to the power of integers within -126..=127.
    unsafe fn exp2_of_integer(self) -> Self;
    /// The first `count` lanes, and `fill` in the others.
    unsafe fn keep(self, count: usize, fill: f32) -> Self;
    /// Sum over the lanes, as a tree.
    unsafe fn sum(self) -> f32;
    /// Largest of the lanes.
    unsafe fn largest(self) -> f32;
    /// Writes the transpose of the 16 × 16 numbers at `from`, whose rows are `from_stride` apart, to rows `to_stride` apart.
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
}

/// The larger of two as the vector instructions have it: the second where one is not a number.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Sums or maxima as a tree over 16 numbers.
#[inline(always)]
fn tree(mut lanes: [f32; LANES], fold: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] = fold(lanes[lane], lanes[lane + half]);
        }
    }
    lanes[0]
}

/// Plain numbers, for any machine.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn each(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| of(self.0[lane], other.0[lane])))
    }
}

impl Lanes for Portable {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller says that 16 numbers can be read.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller says that 16 numbers can be written.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller says that 16 bytes can be read.
        Self(unsafe { from.cast::<[i8; LANES]>().read_unaligned() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn load_i32_difference(a: *const i32, b: *const i32) -> Self {
        // SAFETY: the caller says that 16 integers can be read from each.
        let (a, b) = unsafe { (a.cast::<[i32; LANES]>().read_unaligned(), b.cast::<[i32; LANES]>().read_unaligned()) };
        Self(std::array::from_fn(|lane| a[lane].wrapping_sub(b[lane]) as f32))
    }

    #[inline(always)]
    unsafe fn load_i32(from: *const i32) -> Self {
        // SAFETY: the caller says that 16 integers can be read.
        Self(unsafe { from.cast::<[i32; LANES]>().read_unaligned() }.map(|value| value as f32))
    }

    #[inline(always)]
    unsafe fn load_i32_of_two(higher: *const i32, lower: *const i32, b: *const i32) -> Self {
        // SAFETY: the caller says that 16 integers can be read from each.
        let [higher, lower, b] = unsafe { [higher, lower, b].map(|from| from.cast::<[i32; LANES]>().read_unaligned()) };
        Self(std::array::from_fn(|lane| (higher[lane] << 8).wrapping_add(lower[lane]).wrapping_sub(b[lane]) as f32))
    }

    #[inline(always)]
    unsafe fn load_one_of_four(from: *const i8, place: usize) -> Self {
        // SAFETY: the caller says that 64 bytes can be read.
        let fours = unsafe { from.cast::<[[i8; 4]; LANES]>().read_unaligned() };
        Self(fours.map(|four| f32::from(four[place])))
    }

    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8) {
        // SAFETY: the caller says that 16 bytes can be written.
        unsafe { to.cast::<[u8; LANES]>().write_unaligned(self.0.map(|value| value.round_ties_even() as u8)) }
    }

    #[inline(always)]
    unsafe fn store_u16(self, higher: *mut u8, lower: *mut u8) {
        let both = self.0.map(|value| (value.round_ties_even() as u16).to_be_bytes());
        // SAFETY: the caller says that 16 bytes can be written to each.
        unsafe {
            higher.cast::<[u8; LANES]>().write_unaligned(both.map(|[higher, _]| higher));
            lower.cast::<[u8; LANES]>().write_unaligned(both.map(|[_, lower]| lower));
        }
    }

    #[inline(always)]
    unsafe fn store_i16(self, to: *mut i16) {
        // SAFETY: the caller says that 16 words can be written.
        unsafe { to.cast::<[i16; LANES]>().write_unaligned(self.0.map(|value| value.round_ties_even() as i16)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.each(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.each(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.each(other, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane].mul_add(factor.0[lane], addend.0[lane])))
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.each(other, larger)
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.each(other, smaller)
    }

    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self(self.0.map(f32::round_ties_even))
    }

    #[inline(always)]
    unsafe fn exp2_of_integer(self) -> Self {
        Self(self.0.map(|value| f32::from_bits(((value as i32).wrapping_add(127) as u32) << 23)))
    }

    #[inline(always)]
    unsafe fn keep(self, count: usize, fill: f32) -> Self {
        Self(std::array::from_fn(|lane| if lane < count { self.0[lane] } else { fill }))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        tree(self.0, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        tree(self.0, larger)
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for row in 0..LANES {
            for column in 0..LANES {
                // SAFETY: the caller says that both blocks are there.
                unsafe { *to.add(column * to_stride + row) = *from.add(row * from_stride + column) }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use self::x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Lanes};

    /// AVX2 with FMA: lanes 0 to 7, and 8 to 15.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256, __m256);

    /// Both halves alike.
    macro_rules! halves {
        ($value:expr, $other:expr, $of:ident) => {
            // SAFETY: the caller says that AVX2 and FMA are there.
            unsafe { Self($of($value.0, $other.0), $of($value.1, $other.1)) }
        };
    }

    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    impl Lanes for Avx2 {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the caller says that AVX2 is there.
            unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller says that 16 numbers can be read.
            unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller says that 16 numbers can be written.
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }

        #[inline(always)]
        unsafe fn load_i8(from: *const i8) -> Self {
            // SAFETY: the caller says that 16 bytes can be read.
            unsafe {
                let bytes = _mm_loadu_si128(from.cast());
                let high = _mm_srli_si128::<8>(bytes);
                Self(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high)))
            }
        }

        #[inline(always)]
        unsafe fn load_i32_difference(a: *const i32, b: *const i32) -> Self {
            // SAFETY: the caller says that 16 integers can be read from each.
            unsafe {
                let low = _mm256_sub_epi32(_mm256_loadu_si256(a.cast()), _mm256_loadu_si256(b.cast()));
                let high = _mm256_sub_epi32(_mm256_loadu_si256(a.add(8).cast()), _mm256_loadu_si256(b.add(8).cast()));
                Self(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
            }
        }

        #[inline(always)]
        unsafe fn load_i32(from: *const i32) -> Self {
            // SAFETY: the caller says that 16 integers can be read.
            unsafe {
                let (low, high) = (_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(8).cast()));
                Self(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
            }
        }

        #[inline(always)]
        unsafe fn load_i32_of_two(higher: *const i32, lower: *const i32, b: *const i32) -> Self {
            #[inline(always)]
            unsafe fn half(higher: *const i32, lower: *const i32, b: *const i32) -> __m256 {
                // SAFETY: the caller says that 8 integers can be read from each.
                unsafe {
                    let higher = _mm256_slli_epi32::<8>(_mm256_loadu_si256(higher.cast()));
                    let both = _mm256_add_epi32(higher, _mm256_loadu_si256(lower.cast()));
                    _mm256_cvtepi32_ps(_mm256_sub_epi32(both, _mm256_loadu_si256(b.cast())))
                }
            }
            // SAFETY: the caller says that 16 integers can be read from each.
            unsafe { Self(half(higher, lower, b), half(higher.add(8), lower.add(8), b.add(8))) }
        }

        #[inline(always)]
        unsafe fn load_one_of_four(from: *const i8, place: usize) -> Self {
            // SAFETY: the caller says that 64 bytes can be read.
            unsafe {
                // Up to the top of its 32 bits, and down again with its sign.
                let up = _mm_cvtsi32_si128(24 - 8 * place as i32);
                let low = _mm256_srai_epi32::<24>(_mm256_sll_epi32(_mm256_loadu_si256(from.cast()), up));
                let high = _mm256_srai_epi32::<24>(_mm256_sll_epi32(_mm256_loadu_si256(from.add(32).cast()), up));
                Self(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
            }
        }

        #[inline(always)]
        unsafe fn store_u8(self, to: *mut u8) {
            // SAFETY: the caller says that 16 bytes can be written.
            unsafe {
                // Packing works within halves of a register: the permutation puts the four runs of eight in order again.
                let words = _mm256_packs_epi32(_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1));
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
                let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                _mm_storeu_si128(to.cast(), bytes);
            }
        }

        #[inline(always)]
        unsafe fn store_u16(self, higher: *mut u8, lower: *mut u8) {
            // SAFETY: the caller says that 16 bytes can be written to each.
            unsafe {
                // Packing works within halves of a register: the permutations put runs of eight in order again.
                let both = _mm256_packus_epi32(_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1));
                let both = _mm256_permute4x64_epi64::<0b11_01_10_00>(both);
                let bytes = _mm256_packus_epi16(_mm256_srli_epi16::<8>(both), _mm256_and_si256(both, _mm256_set1_epi16(255)));
                let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(bytes);
                _mm_storeu_si128(higher.cast(), _mm256_castsi256_si128(bytes));
                _mm_storeu_si128(lower.cast(), _mm256_extracti128_si256::<1>(bytes));
            }
        }

        #[inline(always)]
        unsafe fn store_i16(self, to: *mut i16) {
            // SAFETY: the caller says that 16 words can be written.
            unsafe {
                // As in `store_u8`.
                let words = _mm256_packs_epi32(_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1));
                _mm256_storeu_si256(to.cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(words));
            }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            halves!(self, other, _mm256_add_ps)
        }

        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            halves!(self, other, _mm256_sub_ps)
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            halves!(self, other, _mm256_mul_ps)
        }

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
            // SAFETY: the caller says that FMA is there.
            unsafe { Self(_mm256_fmadd_ps(self.0, factor.0, addend.0), _mm256_fmadd_ps(self.1, factor.1, addend.1)) }
        }

        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            halves!(self, other, _mm256_max_ps)
        }

        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            halves!(self, other, _mm256_min_ps)
        }

        #[inline(always)]
        unsafe fn round(self) -> Self {
            // SAFETY: the caller says that AVX2 is there.
            unsafe { Self(_mm256_round_ps::<NEAREST>(self.0), _mm256_round_ps::<NEAREST>(self.1)) }
        }

        #[inline(always)]
        unsafe fn exp2_of_integer(self) -> Self {
            #[inline(always)]
            unsafe fn half(value: __m256) -> __m256 {
                // SAFETY: the caller says that AVX2 is there.
                unsafe {
                    let biased = _mm256_add_epi32(_mm256_cvtps_epi32(value), _mm256_set1_epi32(127));
                    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
                }
            }
            // SAFETY: the caller says that AVX2 is there.
            unsafe { Self(half(self.0), half(self.1)) }
        }

        #[inline(always)]
        unsafe fn keep(self, count: usize, fill: f32) -> Self {
            // SAFETY: the caller says that AVX2 is there.
            unsafe {
                let count = _mm256_set1_epi32(count.min(LANES) as i32);
                let fill = _mm256_set1_ps(fill);
                let low = _mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
                let high = _mm256_cmpgt_epi32(count, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15));
                Self(_mm256_blendv_ps(fill, self.0, _mm256_castsi256_ps(low)), _mm256_blendv_ps(fill, self.1, _mm256_castsi256_ps(high)))
            }
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: the caller says that AVX2 is there.
            unsafe {
                let eight = _mm256_add_ps(self.0, self.1);
                let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            }
        }

        #[inline(always)]
        unsafe fn largest(self) -> f32 {
            // SAFETY: the caller says that AVX2 is there.
            unsafe {
                let eight = _mm256_max_ps(self.0, self.1);
                let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
            }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            #[inline(always)]
            unsafe fn eight(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
                // SAFETY: the caller says that both blocks are there.
                unsafe {
                    let mut pairs = [_mm256_setzero_ps(); 8];
                    for at in 0..4 {
                        let a = _mm256_loadu_ps(from.add(2 * at * from_stride));
                        let b = _mm256_loadu_ps(from.add((2 * at + 1) * from_stride));
                        pairs[2 * at] = _mm256_unpacklo_ps(a, b);
                        pairs[2 * at + 1] = _mm256_unpackhi_ps(a, b);
                    }
                    let mut fours = [_mm256_setzero_ps(); 8];
                    for half in 0..2 {
                        for part in 0..2 {
                            let (a, b) = (pairs[4 * half + part], pairs[4 * half + 2 + part]);
                            fours[4 * half + 2 * part] = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
                            fours[4 * half + 2 * part + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
                        }
                    }
                    for at in 0..4 {
                        let (a, b) = (fours[at], fours[4 + at]);
                        _mm256_storeu_ps(to.add(at * to_stride), _mm256_permute2f128_ps::<0x20>(a, b));
                        _mm256_storeu_ps(to.add((at + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(a, b));
                    }
                }
            }
            for row in [0, 8] {
                for column in [0, 8] {
                    // SAFETY: the caller says that both blocks are there.
                    unsafe { eight(from.add(row * from_stride + column), from_stride, to.add(column * to_stride + row), to_stride) }
                }
            }
        }
    }

    /// AVX-512 F, BW, VL and DQ.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512);

    const ROUND_TO_INTEGER: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    impl Lanes for Avx512 {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Self(_mm512_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller says that 16 numbers can be read.
            unsafe { Self(_mm512_loadu_ps(from)) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller says that 16 numbers can be written.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn load_i8(from: *const i8) -> Self {
            // SAFETY: the caller says that 16 bytes can be read.
            unsafe { Self(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())))) }
        }

        #[inline(always)]
        unsafe fn load_i32_difference(a: *const i32, b: *const i32) -> Self {
            // SAFETY: the caller says that 16 integers can be read from each.
            unsafe { Self(_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(a.cast()), _mm512_loadu_si512(b.cast())))) }
        }

        #[inline(always)]
        unsafe fn load_i32(from: *const i32) -> Self {
            // SAFETY: the caller says that 16 integers can be read.
            unsafe { Self(_mm512_cvtepi32_ps(_mm512_loadu_si512(from.cast()))) }
        }

        #[inline(always)]
        unsafe fn load_i32_of_two(higher: *const i32, lower: *const i32, b: *const i32) -> Self {
            // SAFETY: the caller says that 16 integers can be read from each.
            unsafe {
                let higher = _mm512_slli_epi32::<8>(_mm512_loadu_si512(higher.cast()));
                let both = _mm512_add_epi32(higher, _mm512_loadu_si512(lower.cast()));
                Self(_mm512_cvtepi32_ps(_mm512_sub_epi32(both, _mm512_loadu_si512(b.cast()))))
            }
        }

        #[inline(always)]
        unsafe fn load_one_of_four(from: *const i8, place: usize) -> Self {
            // SAFETY: the caller says that 64 bytes can be read.
            unsafe {
                // Up to the top of its 32 bits, and down again with its sign.
                let up = _mm_cvtsi32_si128(24 - 8 * place as i32);
                Self(_mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(_mm512_sll_epi32(_mm512_loadu_si512(from.cast()), up))))
            }
        }

        #[inline(always)]
        unsafe fn store_u8(self, to: *mut u8) {
            // SAFETY: the caller says that 16 bytes can be written.
            unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(self.0))) }
        }

        #[inline(always)]
        unsafe fn store_u16(self, higher: *mut u8, lower: *mut u8) {
            // SAFETY: the caller says that 16 bytes can be written to each.
            unsafe {
                let both = _mm512_cvtps_epi32(self.0);
                _mm_storeu_si128(higher.cast(), _mm512_cvtepi32_epi8(_mm512_srli_epi32::<8>(both)));
                _mm_storeu_si128(lower.cast(), _mm512_cvtepi32_epi8(both));
            }
        }

        #[inline(always)]
        unsafe fn store_i16(self, to: *mut i16) {
            // SAFETY: the caller says that 16 words can be written.
            unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(self.0))) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Self(_mm512_add_ps(self.0, other.0)) }
        }

        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Self(_mm512_fmadd_ps(self.0, factor.0, addend.0)) }
        }

        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Self(_mm512_max_ps(self.0, other.0)) }
        }

        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Self(_mm512_min_ps(self.0, other.0)) }
        }

        #[inline(always)]
        unsafe fn round(self) -> Self {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Self(_mm512_roundscale_ps::<ROUND_TO_INTEGER>(self.0)) }
        }

        #[inline(always)]
        unsafe fn exp2_of_integer(self) -> Self {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe {
                let biased = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
                Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased)))
            }
        }

        #[inline(always)]
        unsafe fn keep(self, count: usize, fill: f32) -> Self {
            let mask = if count >= LANES { u16::MAX } else { (1 << count) - 1 };
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Self(_mm512_mask_blend_ps(mask, _mm512_set1_ps(fill), self.0)) }
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Avx2(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0)).sum() }
        }

        #[inline(always)]
        unsafe fn largest(self) -> f32 {
            // SAFETY: the caller says that AVX-512 is there.
            unsafe { Avx2(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0)).largest() }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            // SAFETY: the caller says that both blocks are there.
            unsafe {
                // No closures: they would not have the instructions of the function that all this is inlined into.
                let (mut a, mut b) = ([_mm512_setzero_ps(); LANES], [_mm512_setzero_ps(); LANES]);
                for row in 0..LANES {
                    a[row] = _mm512_loadu_ps(from.add(row * from_stride));
                }
                for at in 0..8 {
                    b[2 * at] = _mm512_unpacklo_ps(a[2 * at], a[2 * at + 1]);
                    b[2 * at + 1] = _mm512_unpackhi_ps(a[2 * at], a[2 * at + 1]);
                }
                for four in 0..4 {
                    for part in 0..2 {
                        let (x, y) = (_mm512_castps_pd(b[4 * four + part]), _mm512_castps_pd(b[4 * four + 2 + part]));
                        a[4 * four + 2 * part] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                        a[4 * four + 2 * part + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
                    }
                }
                // a[4 f + c] holds, in each quarter q, column 4 q + c of rows 4 f to 4 f + 3.
                for c in 0..4 {
                    let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(a[c], a[4 + c]);
                    let high = _mm512_shuffle_f32x4::<0b11_10_11_10>(a[c], a[4 + c]);
                    let low_end = _mm512_shuffle_f32x4::<0b01_00_01_00>(a[8 + c], a[12 + c]);
                    let high_end = _mm512_shuffle_f32x4::<0b11_10_11_10>(a[8 + c], a[12 + c]);
                    _mm512_storeu_ps(to.add(c * to_stride), _mm512_shuffle_f32x4::<0b10_00_10_00>(low, low_end));
                    _mm512_storeu_ps(to.add((4 + c) * to_stride), _mm512_shuffle_f32x4::<0b11_01_11_01>(low, low_end));
                    _mm512_storeu_ps(to.add((8 + c) * to_stride), _mm512_shuffle_f32x4::<0b10_00_10_00>(high, high_end));
                    _mm512_storeu_ps(to.add((12 + c) * to_stride), _mm512_shuffle_f32x4::<0b11_01_11_01>(high, high_end));
                }
            }
        }
    }
}
