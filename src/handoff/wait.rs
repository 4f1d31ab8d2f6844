//! How long a customer will wait for a person: a published formula over live figures.
//!
//! In: `k`, the ends of conversations that must come before this one's turn; `s`, the slots that work on the queue; `h`, the mean time that one conversation
//! takes. Slots end independently of each other, `s` of them at the rate `s / h`, so that the wait is the sum of `k` exponential times: Erlang(k, s / h).
//! Out: its median and its 90th percentile, in whole seconds rounded up, with the inputs. `k` of 0 is a free slot: no wait.
//!
//! Those who go before this one are not all there yet: who comes later with a higher priority overtakes, until this one has waited for long enough. At the rate
//! at which such people came lately, as many are added to `k` as come during the mean wait, which grows with them ([`overtaken`]).
//!
//! A slot of an agent who serves several queues counts by share, so that `s` is in hundredths. Before anything was measured `h` is the queue's configured
//! value and the load says so. Closing time is the caller's to cut off.
//!
//! Cannot fail: without slots there is no wait to tell.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Above this `k` the quantile is that of Wilson and Hilferty (1931), within 0.02 % there; below, it is found by bisection over the sum.
const EXACT_MAX: u32 = 200;
/// Halvings of the bisection: 2^-48 of its span.
const HALVINGS: u32 = 48;
/// Rounds in which the number of those who overtake settles: each adds a power of the share of ends that they take, at most a half to a hundredth.
const ROUNDS: u32 = 32;
/// The normal quantile of 90 %.
const NORMAL_90: f64 = 1.281_551_565_544_600_5;
/// No wait is told longer: a month.
const SECS_MAX: f64 = 31.0 * 24.0 * 3600.0;

/// What a wait is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Ends that must come before: those who go first, those who are expected to overtake, and one more while every slot is busy.
    pub ends: u32,
    /// Those of them who are expected to overtake.
    pub overtakers: u32,
    /// Slots that work on the queue, in hundredths.
    pub slots_hundredths: u32,
    /// Mean time of one conversation, in seconds.
    pub handling_secs: u32,
    /// Whether that was measured; else it is the policy's.
    pub measured: bool,
}

/// How long it will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Half of all wait no longer, in seconds.
    pub median_secs: u32,
    /// Nine of ten wait no longer, in seconds.
    pub p90_secs: u32,
    /// What it is made of.
    pub load: Load,
}

/// What a customer was told, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// When it was told.
    pub at: Timestamp,
    /// What was told: the 90th percentile is the promise.
    pub wait: Wait,
}

impl Promise {
    /// When it is broken.
    pub fn until(&self) -> Timestamp {
        self.at.plus(Duration::from_secs(u64::from(self.wait.p90_secs)))
    }
}

impl Load {
    /// The wait under this load; `None` where nobody works on the queue.
    ///
    /// ```
    /// use baton::handoff::wait::Load;
    ///
    /// // Ten ends to come, six slots, ten minutes each: an end every 100 s, ten of them in about 16 minutes.
    /// let wait = Load { ends: 10, overtakers: 0, slots_hundredths: 600, handling_secs: 600, measured: true }.wait().unwrap();
    /// assert_eq!((wait.median_secs, wait.p90_secs), (967, 1421));
    /// ```
    pub fn wait(self) -> Option<Wait> {
        if self.ends == 0 {
            return Some(Wait { median_secs: 0, p90_secs: 0, load: self });
        }
        if self.slots_hundredths == 0 {
            return None;
        }
        let mean_gap = f64::from(self.handling_secs.max(1)) * 100.0 / f64::from(self.slots_hundredths);
        let secs = |p: f64| (erlang_quantile(self.ends, p) * mean_gap).min(SECS_MAX).ceil() as u32;
        Some(Wait { median_secs: secs(0.5), p90_secs: secs(0.9), load: self })
    }
}

/// Who comes with a higher priority than somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overtakers {
    /// How many come in a second.
    pub rate: f64,
    /// For so long they go first, in seconds of this one's waiting.
    pub advantage_secs: f64,
}

/// How many are expected to overtake somebody before whom `ends` must come, where one comes every `gap_secs`: a fixed point, since who overtakes makes the wait
/// longer. Where more overtake than end, those of the whole advantage do.
pub fn overtaken(ends: u32, gap_secs: f64, overtakers: &[Overtakers]) -> u32 {
    let during = |wait: f64| overtakers.iter().map(|others| others.rate * wait.min(others.advantage_secs)).sum::<f64>();
    let mut more = 0.0;
    for _ in 0..ROUNDS {
        more = during((f64::from(ends) + more) * gap_secs);
    }
    more.round() as u32
}

/// The time within which `k` events at rate 1 have come with probability `p`, one of 0.5 and 0.9; `k` from 1.
fn erlang_quantile(k: u32, p: f64) -> f64 {
    if k > EXACT_MAX {
        let z = if p > 0.5 { NORMAL_90 } else { 0.0 };
        let (k, ninth) = (f64::from(k), 1.0 / (9.0 * f64::from(k)));
        let root = 1.0 - ninth + z * ninth.sqrt();
        return k * root * root * root;
    }
    let (mut low, mut high) = (0.0, f64::from(k) + 10.0 * f64::from(k).sqrt() + 10.0);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if erlang(k, middle) < p { low = middle } else { high = middle }
    }
    high
}

/// The probability that `k` events at rate 1 have come within `x`: one less those that a Poisson count leaves below `k`.
fn erlang(k: u32, x: f64) -> f64 {
    let mut term = (-x).exp();
    let mut fewer = 0.0;
    for count in 0..k {
        fewer += term;
        term *= x / f64::from(count + 1);
    }
    1.0 - fewer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(ends: u32, slots_hundredths: u32, handling_secs: u32) -> Load {
        Load { ends, overtakers: 0, slots_hundredths, handling_secs, measured: false }
    }

    /// From the closed form for one end, and for more by the same sum in sixty decimal digits.
    #[test]
    fn quantiles_are_those_of_the_gamma_distribution() {
        for (k, median, p90) in [
            (1, 2f64.ln(), 10f64.ln()),
            (2, 1.678_347, 3.889_720),
            (5, 4.670_909, 7.993_590),
            (20, 19.667_672, 25.902_529),
            (200, 199.666_766, 218.324_493),
        ] {
            assert!((erlang_quantile(k, 0.5) - median).abs() < 1e-4, "{k}: {}", erlang_quantile(k, 0.5));
            assert!((erlang_quantile(k, 0.9) - p90).abs() < 1e-4, "{k}: {}", erlang_quantile(k, 0.9));
        }
    }

    #[test]
    fn the_two_ways_meet() {
        for p in [0.5, 0.9] {
            let (below, above) = (erlang_quantile(EXACT_MAX, p), erlang_quantile(EXACT_MAX + 1, p));
            assert!(above > below && above < below + 1.1, "{p}: {below} {above}");
        }
    }

    #[test]
    fn a_wait_grows_with_what_is_ahead_and_falls_with_slots() {
        assert_eq!(load(0, 0, 600).wait().map(|wait| wait.p90_secs), Some(0), "a free slot is no wait");
        assert_eq!(load(3, 0, 600).wait(), None, "nobody is there");
        let p90 = |ends, slots| load(ends, slots, 600).wait().unwrap().p90_secs;
        assert!((1..300).all(|ends| p90(ends, 300) < p90(ends + 1, 300)));
        assert!((1..300).all(|slots| p90(10, slots) >= p90(10, slots + 1)));
        let wait = load(7, 250, 480).wait().unwrap();
        assert!(wait.median_secs < wait.p90_secs && wait.load == load(7, 250, 480));
        assert_eq!(load(u32::MAX, 1, u32::MAX).wait().unwrap().p90_secs, 31 * 24 * 3600, "bounded");
    }

    #[test]
    fn who_overtakes_makes_the_wait_longer_until_it_was_waited_for_long_enough() {
        let others = |rate, advantage_secs| [Overtakers { rate, advantage_secs }];
        assert_eq!(overtaken(10, 60.0, &[]), 0);
        // A third of the ends is theirs: 10 become 15.
        assert_eq!(overtaken(10, 60.0, &others(1.0 / 180.0, 1e9)), 5);
        // Only in the first five minutes of the wait.
        assert_eq!(overtaken(10, 60.0, &others(1.0 / 100.0, 300.0)), 3);
        assert_eq!(overtaken(10, 60.0, &others(1.0, 3600.0)), 3600, "more than end");
    }

    #[test]
    fn a_promise_ends_at_its_90th_percentile() {
        let at = Timestamp::parse("2026-11-22T09:30:00Z").unwrap();
        let promise = Promise { at, wait: Wait { median_secs: 60, p90_secs: 240, load: load(1, 100, 100) } };
        assert_eq!(promise.until().to_string(), "2026-11-22T09:34:00Z");
    }
}
