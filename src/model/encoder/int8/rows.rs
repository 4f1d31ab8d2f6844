//! What the encoder does with rows of numbers: one function for each step, over any [`Lanes`], and tables of them for each kind of processor.
//!
//! Shapes: t tokens, h hidden, n heads, d = h / n, i inner. Rows of `f32` buffers are `stride` apart. All widths are multiples of [`LANES`].
//! Every function reads and writes through pointers, since a buffer is read by one and written by the next in place; each says what must be there.

use super::kernel::{self, Kernel, KernelKind};
use super::lanes::{LANES, Lanes};
use super::matrix::{PANEL, PackedMatrix};
use crate::model::config::Activation;

/// Which bytes stand for a number: `scale * (byte - zero_point)`, with one scale a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// -a to a, a the largest of the row.
    Symmetric,
    /// The same, a being the second largest: the largest is kept apart, as a number. What a layer norm gives has one channel, up to the square root of the width times
    /// as large as the others, that would leave these a few steps each (measured on the shipped trunk: least cosine to f32 0.9953 with it among the bytes, 0.9996
    /// apart; keeping two or four apart gains nothing). After "LLM.int8()" (Dettmers et al. 2022), which keeps chosen channels apart.
    SansLargest,
    /// What GELU gives: at least -0.17, and mostly far above. 16 of 255 steps for what is below 0.
    MostlyPositive,
    /// What ReLU gives.
    Positive,
    /// -a to a in two bytes, laid as [`Kernel::WORDS`] says. With bytes apart the number is `scale * (256 * higher + lower - zero_point)`.
    TwoBytes,
}

/// The largest magnitude of a word, so that no sum over so many inputs leaves `i32`: 32,767 up to 512 inputs, 10,922 at 1,536.
pub(super) const fn word_max(inputs: usize) -> i32 {
    let most = i32::MAX as usize / (128 * inputs);
    if most < 32_767 { most as i32 } else { 32_767 }
}

impl Range {
    /// The byte that stands for 0.
    pub(super) const fn zero_point(self) -> i32 {
        match self {
            Self::Symmetric | Self::SansLargest => 128,
            Self::TwoBytes => 32_768,
            Self::MostlyPositive => 16,
            Self::Positive => 0,
        }
    }

    /// Bytes of a number.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::TwoBytes => 2,
            _ => 1,
        }
    }
}

/// Rows of bytes with their scales, to be multiplied.
#[derive(Clone, Copy)]
pub(super) struct Activations {
    /// `[rows][inputs]`, or as many again for [`Beside::SecondByte`], rows as far apart as the matrix has inputs; may be read up to the next multiple of
    /// [`kernel::ROWS_MAX`] rows.
    pub(super) bytes: *const u8,
    /// `[rows]`
    pub(super) scales: *const f32,
    /// What else makes up a row.
    pub(super) beside: Beside,
    /// How many.
    pub(super) rows: usize,
}

/// What a number has beside its byte.
#[derive(Clone, Copy)]
pub(super) enum Beside {
    /// Nothing.
    Nothing,
    /// `[rows]`: the one of each row that was kept apart ([`Range::SansLargest`]).
    Largest(*const Largest),
    /// A second byte ([`Range::TwoBytes`]).
    SecondByte,
}

/// The largest number of a row, which is not among its bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Largest {
    /// The number.
    pub(super) value: f32,
    /// Where it stands.
    pub(super) input: u32,
}

/// Panels of a matrix, from 0 to its outputs divided by [`PANEL`].
pub(super) type Panels = std::ops::Range<usize>;
/// Heads of attention.
pub(super) type Heads = std::ops::Range<usize>;

/// What happens to each output of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Keep,
    /// The activation of the feed-forward part.
    Activate(Activation),
}

/// Where queries, keys and values of the messages stand, and where attention may work.
#[derive(Clone, Copy)]
pub(super) struct Attention {
    /// `[t][3h]`: queries, keys, values. May be read 16 rows beyond the end.
    pub(super) qkv: *const f32,
    /// Distance of its rows.
    pub(super) qkv_stride: usize,
    /// `[t][h]`, to be written.
    pub(super) context: *mut f32,
    /// Distance of its rows: at least h, and 16 more where d is no multiple of 16.
    pub(super) context_stride: usize,
    /// Room for `d` filled up to 16, times `tokens` filled up to 16.
    pub(super) keys: *mut f32,
    /// Room for 4 rows of `tokens` filled up to 16.
    pub(super) weights: *mut f32,
    /// n
    pub(super) heads: usize,
    /// d
    pub(super) head_size: usize,
}

/// A residual, a layer norm and the bytes of the result.
#[derive(Clone, Copy)]
pub(super) struct AddNorm {
    /// `[rows][h]`: the residual going in, the normalised sum coming out.
    pub(super) x: *mut f32,
    /// `[rows][h]`, rows `y_stride` apart.
    pub(super) y: *const f32,
    /// See `y`.
    pub(super) y_stride: usize,
    /// `[h]`
    pub(super) weight: *const f32,
    /// `[h]`
    pub(super) bias: *const f32,
    /// Added to the variance.
    pub(super) eps: f32,
    /// h
    pub(super) width: usize,
    /// How many rows.
    pub(super) rows: usize,
}

/// Rows of numbers to be made bytes.
#[derive(Clone, Copy)]
pub(super) struct ToBytes {
    /// `[rows][width]`
    pub(super) x: *const f32,
    /// Distance of its rows.
    pub(super) stride: usize,
    /// Numbers of a row.
    pub(super) width: usize,
    /// How many rows.
    pub(super) rows: usize,
    /// `[rows][bytes_stride]`, to be written; as many again for [`Range::TwoBytes`].
    pub(super) bytes: *mut u8,
    /// Distance of its rows.
    pub(super) bytes_stride: usize,
    /// `[rows]`, to be written.
    pub(super) scales: *mut f32,
    /// `[rows]`, to be written for [`Range::SansLargest`].
    pub(super) largest: *mut Largest,
    /// How.
    pub(super) range: Range,
}

/// The embedding of one token: a row of signed bytes times its scale, plus the row of its position, normalised.
#[derive(Clone, Copy)]
pub(super) struct Embed {
    /// `[h]`
    pub(super) word: *const i8,
    /// Of the word's row.
    pub(super) scale: f32,
    /// `[h]`
    pub(super) position: *const f32,
    /// `[h]`, to be written.
    pub(super) x: *mut f32,
    /// `[h]`
    pub(super) weight: *const f32,
    /// `[h]`
    pub(super) bias: *const f32,
    /// Added to the variance.
    pub(super) eps: f32,
    /// h
    pub(super) width: usize,
}

/// Every step, compiled for one kind of processor. Calling one is `unsafe`: the instructions must be there, and pointers good for what the argument says.
pub(super) struct Steps {
    /// `out[row][output] = then((scale · sum + largest · weight) · weight scale + bias)` for the outputs of some panels, rows `out_stride` apart, at least as many as
    /// the matrix has outputs.
    pub(super) product: unsafe fn(&Activations, &PackedMatrix, Panels, Then, *mut f32, usize),
    /// Attention of some heads within one message of `tokens` tokens, from row `first` on.
    pub(super) attend: unsafe fn(&Attention, heads: Heads, first: usize, tokens: usize),
    /// See [`AddNorm`].
    pub(super) add_norm: unsafe fn(&AddNorm),
    /// See [`ToBytes`].
    pub(super) to_bytes: unsafe fn(&ToBytes),
    /// See [`Embed`].
    pub(super) embed: unsafe fn(&Embed),
    /// GELU or ReLU of 16 numbers in place; the product's own, by itself for tests.
    #[cfg(test)]
    pub(super) activate: unsafe fn(Activation, *mut f32),
    /// [`Kernel::WORDS`], for tests.
    #[cfg(test)]
    pub(super) words: bool,
}

/// A table of the steps, each compiled with these features: everything that they call is inlined into them.
macro_rules! steps {
    ($name:ident, $kernel:ty $(, $feature:literal)?) => {
        static $name: Steps = {
            $(#[target_feature(enable = $feature)])?
            unsafe fn product(a: &Activations, matrix: &PackedMatrix, panels: Panels, then: Then, out: *mut f32, out_stride: usize) {
                // SAFETY: as `Steps` says.
                unsafe { super::rows::product::<$kernel>(a, matrix, panels, then, out, out_stride) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn attend(attention: &Attention, heads: Heads, first: usize, tokens: usize) {
                // SAFETY: as `Steps` says.
                unsafe { super::rows::attend::<<$kernel as Kernel>::Lanes>(attention, heads, first, tokens) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn add_norm(step: &AddNorm) {
                // SAFETY: as `Steps` says.
                unsafe { super::rows::add_norm::<<$kernel as Kernel>::Lanes>(step) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn to_bytes(step: &ToBytes) {
                // SAFETY: as `Steps` says.
                unsafe { super::rows::to_bytes::<$kernel>(step) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn embed(step: &Embed) {
                // SAFETY: as `Steps` says.
                unsafe { super::rows::embed::<<$kernel as Kernel>::Lanes>(step) }
            }
            #[cfg(test)]
            $(#[target_feature(enable = $feature)])?
            unsafe fn activate(activation: Activation, x: *mut f32) {
                // SAFETY: as `Steps` says.
                unsafe { super::rows::activate::<<$kernel as Kernel>::Lanes>(activation, Lanes::load(x)).store(x) }
            }
            Steps {
                product,
                attend,
                add_norm,
                to_bytes,
                embed,
                #[cfg(test)]
                activate,
                #[cfg(test)]
                words: <$kernel as Kernel>::WORDS,
            }
        };
    };
}

#[cfg(target_arch = "x86_64")]
steps!(AMX, kernel::AmxKernel, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
#[cfg(target_arch = "x86_64")]
steps!(AVX512_VNNI, kernel::Avx512VnniKernel, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
#[cfg(target_arch = "x86_64")]
steps!(AVX_VNNI, kernel::AvxVnniKernel, "avx2,fma,avxvnni");
#[cfg(target_arch = "x86_64")]
steps!(AVX2, kernel::Avx2Kernel, "avx2,fma");
steps!(PORTABLE, kernel::PortableKernel);

/// The table for a kind of processor, which must be available.
pub(super) fn steps(kind: KernelKind) -> &'static Steps {
    assert!(kind.is_available(), "this machine has no {kind}");
    match kind {
        #[cfg(target_arch = "x86_64")]
        KernelKind::Amx => &AMX,
        #[cfg(target_arch = "x86_64")]
        KernelKind::Avx512Vnni => &AVX512_VNNI,
        #[cfg(target_arch = "x86_64")]
        KernelKind::AvxVnni => &AVX_VNNI,
        #[cfg(target_arch = "x86_64")]
        KernelKind::Avx2 => &AVX2,
        #[cfg(not(target_arch = "x86_64"))]
        KernelKind::Amx | KernelKind::Avx512Vnni | KernelKind::AvxVnni | KernelKind::Avx2 => unreachable!("not available"),
        KernelKind::Portable => &PORTABLE,
    }
}

/// 64 by [`kernel::ROWS_MAX`] integer sums, aligned as kernels want them.
#[repr(C, align(64))]
struct Sums([i32; kernel::ROWS_MAX * PANEL]);

#[inline(always)]
unsafe fn product<K: Kernel>(a: &Activations, matrix: &PackedMatrix, panels: Panels, then: Then, out: *mut f32, out_stride: usize) {
    let mut sums = std::mem::MaybeUninit::<Sums>::uninit();
    let sums = sums.as_mut_ptr().cast::<i32>();
    // SAFETY: the kernel writes the sums that are read; rows and panels are within what the caller and the matrix hold.
    unsafe {
        K::begin();
        let two = matches!(a.beside, Beside::SecondByte);
        let (each, rows_max) = match (two, K::WORDS) {
            (false, _) => (1, K::ROWS),
            (true, false) => (2, K::ROWS / 2),
            (true, true) => (2, K::ROWS),
        };
        let outputs = K::outputs(a.rows * each);
        for from in (panels.start * PANEL..panels.end * PANEL).step_by(outputs) {
            let weights = matrix.weights_from(from);
            let mut first = 0;
            while first < a.rows {
                let rows = rows_max.min(a.rows - first);
                let bytes = a.bytes.add(first * each * matrix.inputs);
                if two && K::WORDS {
                    K::block_of_words(rows, bytes.cast(), matrix.inputs, weights, sums);
                } else {
                    K::block(rows * each, outputs, bytes, matrix.inputs, weights, sums);
                }
                let out = out.add(first * out_stride + from);
                let beside = match a.beside {
                    Beside::Largest(largest) => Beside::Largest(largest.add(first)),
                    other => other,
                };
                finish::<K>(sums, rows, a.scales.add(first), beside, matrix, from..from + outputs, then, out, out_stride);
                first += rows;
            }
        }
        K::end();
    }
}

/// Integer sums of some outputs of a panel → numbers with scale, bias and activation.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the inside of `product`, by itself so that it can be read")]
unsafe fn finish<K: Kernel>(
    sums: *const i32,
    rows: usize,
    scales: *const f32,
    beside: Beside,
    matrix: &PackedMatrix,
    outputs: std::ops::Range<usize>,
    then: Then,
    out: *mut f32,
    out_stride: usize,
) {
    for part in (0..outputs.len()).step_by(LANES) {
        let (weight_scales, bias, corrections) = matrix.outputs_from(outputs.start + part);
        // SAFETY: `rows` rows of 64 sums, as many scales and largest, and rows of `out` are there; a place is within the inputs.
        unsafe {
            let (weight_scales, bias) = (K::Lanes::load(weight_scales), K::Lanes::load(bias));
            for row in 0..rows {
                let scale = K::Lanes::splat(*scales.add(row));
                let y = match beside {
                    Beside::Nothing => K::Lanes::load_i32_difference(sums.add(row * PANEL + part), corrections).mul(scale),
                    Beside::Largest(largest) => {
                        let Largest { value, input } = *largest.add(row);
                        let input = input as usize;
                        let weights = matrix.weights_from(outputs.start + part).add((input / 4) * 4 * PANEL);
                        let y = K::Lanes::load_i32_difference(sums.add(row * PANEL + part), corrections).mul(scale);
                        K::Lanes::load_one_of_four(weights, input % 4).mul_add(K::Lanes::splat(value), y)
                    }
                    Beside::SecondByte => {
                        let sum = if K::WORDS {
                            K::Lanes::load_i32(sums.add(row * PANEL + part))
                        } else {
                            let higher = sums.add(2 * row * PANEL + part);
                            K::Lanes::load_i32_of_two(higher, higher.add(PANEL), corrections)
                        };
                        sum.mul(scale)
                    }
                };
                let y = y.mul_add(weight_scales, bias);
                let y = match then {
                    Then::Keep => y,
                    Then::Activate(activation) => activate(activation, y),
                };
                y.store(out.add(row * out_stride + part));
            }
        }
    }
}

/// Beyond this Φ(x) is 0 or 1 within 3e-7.
const GELU_BOUND: f32 = 5.0;
/// (Φ(x) - 1/2) / x as a polynomial of 2 x² / 25 - 1: least squares weighted so that the error of x · Φ(x) is even. The largest error is 1.6e-5 on -12..=12, a
/// three-hundredth of what the bytes after it lose (our fit; checked against the error function in the tests).
const GELU: [f32; 11] = [
    0.141_364_34,
    -0.070_301_443,
    0.051_486_712,
    -0.040_298_734,
    0.031_743_456,
    -0.024_328_958,
    0.015_601_858,
    -0.008_107_323_2,
    0.006_871_255_6,
    -0.006_417_133_4,
    0.002_386_230_3,
];

#[inline(always)]
unsafe fn activate<L: Lanes>(activation: Activation, x: L) -> L {
    // SAFETY: arithmetic on values.
    unsafe {
        match activation {
            Activation::Relu => x.max(L::splat(0.0)),
            Activation::GeluErf => {
                let bounded = x.max(L::splat(-GELU_BOUND)).min(L::splat(GELU_BOUND));
                let v = bounded.mul(bounded).mul_add(L::splat(2.0 / (GELU_BOUND * GELU_BOUND)), L::splat(-1.0));
                let mut p = L::splat(GELU[GELU.len() - 1]);
                let mut at = GELU.len() - 1;
                while at > 0 {
                    at -= 1;
                    p = p.mul_add(v, L::splat(GELU[at]));
                }
                x.mul(bounded.mul_add(p, L::splat(0.5)))
            }
        }
    }
}

/// e^x for x up to 0: 2^n times a polynomial of what is left, relative error 1e-7 (least squares, our fit). Below -60 as at -60, which
/// is 9e-27: nothing beside 1, and its products are no denormal numbers, which cost a hundred times as much.
#[inline(always)]
unsafe fn exp<L: Lanes>(x: L) -> L {
    const LOWEST: f32 = -60.0;
    const LN_2_HIGH: f32 = 0.693_145_75;
    const LN_2_LOW: f32 = 1.428_606_8e-6;
    const POLYNOMIAL: [f32; 6] = [1.000_000_1, 0.999_999_64, 0.499_988_97, 0.166_676_64, 0.041_915_119, 0.008_291_714];
    // SAFETY: arithmetic on values; n lies within -87..=0.
    unsafe {
        let x = x.max(L::splat(LOWEST));
        let n = x.mul(L::splat(std::f32::consts::LOG2_E)).round();
        let r = n.mul_add(L::splat(-LN_2_HIGH), x);
        let r = n.mul_add(L::splat(-LN_2_LOW), r);
        let mut p = L::splat(POLYNOMIAL[5]);
        let mut at = 5;
        while at > 0 {
            at -= 1;
            p = p.mul_add(r, L::splat(POLYNOMIAL[at]));
        }
        p.mul(n.exp2_of_integer())
    }
}

#[inline(always)]
unsafe fn attend<L: Lanes>(attention: &Attention, which: Heads, first: usize, tokens: usize) {
    let padded = tokens.next_multiple_of(LANES);
    let (d, h) = (attention.head_size, attention.heads * attention.head_size);
    // SAFETY: the buffers are as `Attention` says.
    unsafe {
        for head in which {
            let queries = attention.qkv.add(first * attention.qkv_stride + head * d);
            let (keys, values) = (queries.add(h), queries.add(2 * h));
            // Keys with the tokens side by side; what is read beyond the last token and beyond d is not used.
            for token in (0..padded).step_by(LANES) {
                for at in (0..d).step_by(LANES) {
                    let from = keys.add(token * attention.qkv_stride + at);
                    L::transpose(from, attention.qkv_stride, attention.keys.add(at * padded + token), padded);
                }
            }
            let context = attention.context.add(first * attention.context_stride + head * d);
            let mut query = 0;
            while query + 4 <= tokens {
                attend_rows::<L, 4>(attention, queries, values, context, query, tokens);
                query += 4;
            }
            while query < tokens {
                attend_rows::<L, 1>(attention, queries, values, context, query, tokens);
                query += 1;
            }
        }
    }
}

/// R queries of one head: scores, softmax, and the mean of the values by their weights.
#[inline(always)]
unsafe fn attend_rows<L: Lanes, const R: usize>(
    attention: &Attention,
    queries: *const f32,
    values: *const f32,
    context: *mut f32,
    query: usize,
    tokens: usize,
) {
    let padded = tokens.next_multiple_of(LANES);
    let (d, stride) = (attention.head_size, attention.qkv_stride);
    // SAFETY: the buffers are as `Attention` says; `weights` has room for four rows of `padded`.
    unsafe {
        let queries = queries.add(query * stride);
        for token in (0..padded).step_by(LANES) {
            let mut scores = [L::splat(0.0); R];
            for at in 0..d {
                let key = L::load(attention.keys.add(at * padded + token));
                for row in 0..R {
                    scores[row] = L::splat(*queries.add(row * stride + at)).mul_add(key, scores[row]);
                }
            }
            for row in 0..R {
                scores[row].store(attention.weights.add(row * padded + token));
            }
        }
        let mut shares = [0.0; R];
        let scale = L::splat(1.0 / (d as f32).sqrt());
        let last = padded - LANES;
        for row in 0..R {
            let weights = attention.weights.add(row * padded);
            let mut largest = L::load(weights.add(last)).keep(tokens - last, f32::NEG_INFINITY);
            for token in (0..last).step_by(LANES) {
                largest = largest.max(L::load(weights.add(token)));
            }
            let largest = L::splat(largest.largest());
            let mut sum = L::splat(0.0);
            for token in (0..padded).step_by(LANES) {
                let p = exp(L::load(weights.add(token)).sub(largest).mul(scale));
                let p = p.keep(tokens - token, 0.0);
                p.store(weights.add(token));
                sum = sum.add(p);
            }
            shares[row] = 1.0 / sum.sum();
        }
        for at in (0..d).step_by(LANES) {
            let mut means = [L::splat(0.0); R];
            for token in 0..tokens {
                let value = L::load(values.add(token * stride + at));
                for row in 0..R {
                    means[row] = L::splat(*attention.weights.add(row * padded + token)).mul_add(value, means[row]);
                }
            }
            for row in 0..R {
                means[row].mul(L::splat(shares[row])).store(context.add((query + row) * attention.context_stride + at));
            }
        }
    }
}

#[inline(always)]
unsafe fn add_norm<L: Lanes>(step: &AddNorm) {
    for row in 0..step.rows {
        // SAFETY: the buffers are as `AddNorm` says.
        unsafe {
            let (x, y) = (step.x.add(row * step.width), step.y.add(row * step.y_stride));
            let mut sum = L::splat(0.0);
            for at in (0..step.width).step_by(LANES) {
                let both = L::load(x.add(at)).add(L::load(y.add(at)));
                both.store(x.add(at));
                sum = sum.add(both);
            }
            norm::<L>(x, sum.sum() / step.width as f32, step.weight, step.bias, step.eps, step.width);
        }
    }
}

/// Layer norm of a row in place, its mean being known ("Layer Normalization", Ba, Kiros, Hinton 2016).
#[inline(always)]
unsafe fn norm<L: Lanes>(x: *mut f32, mean: f32, weight: *const f32, bias: *const f32, eps: f32, width: usize) {
    // SAFETY: `width` numbers are there at each.
    unsafe {
        let mean = L::splat(mean);
        let mut squares = L::splat(0.0);
        for at in (0..width).step_by(LANES) {
            let off = L::load(x.add(at)).sub(mean);
            squares = off.mul_add(off, squares);
        }
        let scale = L::splat(1.0 / (squares.sum() / width as f32 + eps).sqrt());
        for at in (0..width).step_by(LANES) {
            let off = L::load(x.add(at)).sub(mean).mul(scale);
            off.mul_add(L::load(weight.add(at)), L::load(bias.add(at))).store(x.add(at));
        }
    }
}

#[inline(always)]
unsafe fn to_bytes<K: Kernel>(step: &ToBytes) {
    for row in 0..step.rows {
        // SAFETY: the buffers are as `ToBytes` says.
        unsafe {
            let x = step.x.add(row * step.stride);
            let (mut most, mut least) = (K::Lanes::splat(0.0), K::Lanes::splat(0.0));
            for at in (0..step.width).step_by(LANES) {
                let value = K::Lanes::load(x.add(at));
                most = most.max(value);
                least = least.min(value);
            }
            let above = most.largest();
            let below = K::Lanes::splat(0.0).sub(least).largest();
            let widest = if above > below { above } else { below };
            let mut apart = None;
            let scale = match step.range {
                Range::Symmetric => widest / 127.0,
                Range::SansLargest => {
                    let (largest, second) = set_apart(x, step.width, widest, K::Lanes::splat(0.0).sub(least).max(most));
                    *step.largest.add(row) = largest;
                    apart = Some(largest.input as usize);
                    second / 127.0
                }
                Range::MostlyPositive => {
                    let (up, down) = (above / 239.0, below / 16.0);
                    if up > down { up } else { down }
                }
                Range::Positive => above / 255.0,
                Range::TwoBytes => widest / word_max(step.bytes_stride) as f32,
            };
            *step.scales.add(row) = scale;
            let inverse = K::Lanes::splat(if scale > 0.0 { 1.0 / scale } else { 0.0 });
            if step.range == Range::TwoBytes {
                two_bytes::<K>(x, step.width, inverse, step.bytes.add(2 * row * step.bytes_stride), step.bytes_stride);
                continue;
            }
            let zero = K::Lanes::splat(step.range.zero_point() as f32);
            let bytes = step.bytes.add(row * step.bytes_stride);
            for at in (0..step.width).step_by(LANES) {
                // A quotient of rounded numbers may pass the ends by a hair.
                let byte = K::Lanes::load(x.add(at)).mul_add(inverse, zero);
                byte.max(K::Lanes::splat(0.0)).min(K::Lanes::splat(255.0)).store_u8(bytes.add(at));
            }
            if let Some(apart) = apart {
                *bytes.add(apart) = step.range.zero_point() as u8;
            }
        }
    }
}

/// A row of numbers, each times `inverse`, in two bytes.
#[inline(always)]
unsafe fn two_bytes<K: Kernel>(x: *const f32, width: usize, inverse: K::Lanes, bytes: *mut u8, bytes_stride: usize) {
    // SAFETY: `width` numbers are there at `x`, and `2 * bytes_stride` bytes at `bytes`; those are aligned to 64.
    unsafe {
        let most = word_max(bytes_stride) as f32;
        let (least, most) = (K::Lanes::splat(-most), K::Lanes::splat(most));
        for at in (0..width).step_by(LANES) {
            // Rounded here, so that both forms are the same integer. A quotient of rounded numbers may pass the ends by a hair.
            let word = K::Lanes::load(x.add(at)).mul(inverse).round().max(least).min(most);
            if K::WORDS {
                word.store_i16(bytes.cast::<i16>().add(at));
            } else {
                word.add(K::Lanes::splat(32_768.0)).store_u16(bytes.add(at), bytes.add(bytes_stride + at));
            }
        }
    }
}

/// The first number whose magnitude is `widest`, and the largest magnitude of the others. `lanes`: the largest magnitude in each lane.
#[inline(always)]
unsafe fn set_apart<L: Lanes>(x: *const f32, width: usize, widest: f32, lanes: L) -> (Largest, f32) {
    let mut magnitudes = [0.0; LANES];
    // SAFETY: `width` numbers are there at `x`, 16 in the array.
    unsafe {
        lanes.store(magnitudes.as_mut_ptr());
        let (mut lane, mut second) = (0, 0.0);
        while lane + 1 < LANES && magnitudes[lane] != widest {
            lane += 1;
        }
        for (other, magnitude) in magnitudes.iter().enumerate() {
            if other != lane && *magnitude > second {
                second = *magnitude;
            }
        }
        let mut input = None;
        for at in (lane..width).step_by(LANES) {
            let magnitude = (*x.add(at)).abs();
            if input.is_none() && magnitude == widest {
                input = Some(at);
            } else if magnitude > second {
                second = magnitude;
            }
        }
        // What is not a number is nowhere; the row stays one that is told at the end.
        let input = input.unwrap_or(lane);
        (Largest { value: *x.add(input), input: input as u32 }, second)
    }
}

#[inline(always)]
unsafe fn embed<L: Lanes>(step: &Embed) {
    // SAFETY: `width` values are there at each.
    unsafe {
        let scale = L::splat(step.scale);
        let mut sum = L::splat(0.0);
        for at in (0..step.width).step_by(LANES) {
            let both = L::load_i8(step.word.add(at)).mul_add(scale, L::load(step.position.add(at)));
            both.store(step.x.add(at));
            sum = sum.add(both);
        }
        norm::<L>(step.x, sum.sum() / step.width as f32, step.weight, step.bias, step.eps, step.width);
    }
}
