//! Tiles: 16 rows by 16 outputs by 64 inputs an instruction, in 16 cycles.
//!
//! The panel layout of [`super::super::matrix`] is the one that `tdpbusd` wants of its second operand: a tile row is four bytes of each of 16 outputs. The
//! instructions have no stable intrinsics yet, so they stand as assembly. A tile register belongs to the thread; nothing but these functions uses them, and
//! the state is released at the end of each product, so that switching threads does not save it.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

use super::super::lanes::Avx512;
use super::super::matrix::PANEL;
use super::{Kernel, ROWS_MAX};

/// Rows of a tile, and outputs of one.
const TILE: usize = 16;
/// Bytes of a row of a tile.
const TILE_BYTES: usize = 64;

/// Whether processor and system let this process use tiles.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && is_permitted())
}

fn has_instructions() -> bool {
    const TILES: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    const OSXSAVE: u32 = 1 << 27;
    const STATE: u64 = 0b11 << 17;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 || __cpuid_count(7, 0).edx & (TILES | INT8) != TILES | INT8 {
        return false;
    }
    let (low, high): (u32, u32);
    // SAFETY: the system has switched XGETBV on, as OSXSAVE says; it reads which states it saves, and changes nothing.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack)) };
    (u64::from(high) << 32 | u64::from(low)) & STATE == STATE
}

/// Linux gives the 8 kB of tile state to processes that ask for them.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: the call asks for a permission of this process; it reads and writes no memory of ours. A system that does not know it answers with an error.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => result, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XTILEDATA, lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// The shape of the eight tiles: all of 16 rows by 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        row_bytes[tile] = TILE_BYTES as u16;
        rows[tile] = TILE as u8;
        tile += 1;
    }
    Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// See the module.
pub(in super::super) struct AmxKernel;

impl Kernel for AmxKernel {
    type Lanes = Avx512;
    const ROWS: usize = ROWS_MAX;

    /// Where there are several blocks of rows, they take turns with half a panel, which stays in the nearest cache then.
    #[inline(always)]
    fn outputs(rows: usize) -> usize {
        if rows > TILE { 2 * TILE } else { PANEL }
    }

    #[inline(always)]
    unsafe fn begin() {
        // SAFETY: the instructions are there and permitted; the configuration is one that the first palette knows.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(readonly, nostack)) }
    }

    #[inline(always)]
    unsafe fn end() {
        // SAFETY: the tiles are not used any more.
        unsafe { asm!("tilerelease", options(nomem, nostack)) }
    }

    #[inline(always)]
    unsafe fn block(rows: usize, outputs: usize, a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32) {
        // SAFETY: as the trait says. Activations of 16 or 32 rows are read, sums of as many written.
        unsafe {
            match (rows > TILE, outputs == PANEL) {
                (true, _) => two_by_two(a, inputs, panel, sums),
                (false, true) => one_by_four(a, inputs, panel, sums),
                (false, false) => one_by_two(a, inputs, panel, sums),
            }
        }
    }
}

/// 32 rows by 32 outputs: each load of a tile serves two products.
#[inline(always)]
unsafe fn two_by_two(a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32) {
    // SAFETY: 32 rows of `inputs` bytes at `a`, `inputs / 64` runs of 16 rows of 128 bytes, 256 apart, at `panel`, 32 rows of 32 sums, 64 apart, at `sums`.
    unsafe {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {inputs}*1]",
            "tileloadd tmm6, [{b} + {stride}*1]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{a16} + {inputs}*1]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {stride}*1 + 64]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm3, tmm5, tmm7",
            "add {a}, 64", "add {a16}, 64", "add {b}, 4096",
            "dec {count}", "jnz 2b",
            "tilestored [{sums} + {stride}*1], tmm0",
            "tilestored [{sums} + {stride}*1 + 64], tmm1",
            "tilestored [{sums} + {stride}*1 + 4096], tmm2",
            "tilestored [{sums} + {stride}*1 + 4160], tmm3",
            a = inout(reg) a => _, a16 = inout(reg) a.add(TILE * inputs) => _, b = inout(reg) panel => _, inputs = in(reg) inputs,
            stride = in(reg) PANEL * 4, count = inout(reg) inputs / TILE_BYTES => _, sums = in(reg) sums,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// 16 rows by 32 outputs, for the last rows.
#[inline(always)]
unsafe fn one_by_two(a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32) {
    // SAFETY: 16 rows of `inputs` bytes at `a`, `inputs / 64` runs of 16 rows of 128 bytes, 256 apart, at `panel`, 16 rows of 32 sums, 64 apart, at `sums`.
    unsafe {
        asm!(
            "tilezero tmm0", "tilezero tmm1",
            "2:",
            "tileloadd tmm4, [{a} + {inputs}*1]",
            "tileloadd tmm5, [{b} + {stride}*1]",
            "tdpbusd tmm0, tmm4, tmm5",
            "tileloadd tmm6, [{b} + {stride}*1 + 64]",
            "tdpbusd tmm1, tmm4, tmm6",
            "add {a}, 64", "add {b}, 4096",
            "dec {count}", "jnz 2b",
            "tilestored [{sums} + {stride}*1], tmm0",
            "tilestored [{sums} + {stride}*1 + 64], tmm1",
            a = inout(reg) a => _, b = inout(reg) panel => _, inputs = in(reg) inputs, stride = in(reg) PANEL * 4,
            count = inout(reg) inputs / TILE_BYTES => _, sums = in(reg) sums,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// 16 rows by 64 outputs.
#[inline(always)]
unsafe fn one_by_four(a: *const u8, inputs: usize, panel: *const i8, sums: *mut i32) {
    // SAFETY: 16 rows of `inputs` bytes at `a`, `inputs / 64` runs of 16 rows of 256 bytes at `panel`, 16 rows of 64 sums at `sums`.
    unsafe {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {inputs}*1]",
            "tileloadd tmm5, [{b} + {stride}*1]",
            "tdpbusd tmm0, tmm4, tmm5",
            "tileloadd tmm6, [{b} + {stride}*1 + 64]",
            "tdpbusd tmm1, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {stride}*1 + 128]",
            "tdpbusd tmm2, tmm4, tmm7",
            "tileloadd tmm5, [{b} + {stride}*1 + 192]",
            "tdpbusd tmm3, tmm4, tmm5",
            "add {a}, 64", "add {b}, 4096",
            "dec {count}", "jnz 2b",
            "tilestored [{sums} + {stride}*1], tmm0",
            "tilestored [{sums} + {stride}*1 + 64], tmm1",
            "tilestored [{sums} + {stride}*1 + 128], tmm2",
            "tilestored [{sums} + {stride}*1 + 192], tmm3",
            a = inout(reg) a => _, b = inout(reg) panel => _, inputs = in(reg) inputs, stride = in(reg) PANEL * 4,
            count = inout(reg) inputs / TILE_BYTES => _, sums = in(reg) sums,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
