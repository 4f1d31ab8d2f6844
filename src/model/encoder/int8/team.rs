//! Cores that have nothing else to do help with a pass.
//!
//! A lone message waits for memory: its pass reads every weight once, and one core reads from the outer cache at half of what two do. So the outputs of a product and
//! the heads of attention are split into parts, which whoever is there takes one by one. Each part writes its own place, so the result is the same bit by bit, whoever
//! helps.
//!
//! [`Team::lead`] lets a thread offer its passes to be helped with, [`Team::help`] lets another help until the first is done. Nobody sleeps in between: a part takes
//! microseconds, waking a thread tens of them. A helper that leaves leaves between two parts, so the leader waits at most for one.
//!
//! ```text
//! leader: work := pointer; done := 0; word := (generation + 1, parts, 0)   a helper: word (g, parts, n < parts) → (g, parts, n + 1), then work(n)
//!         takes parts like a helper, then waits until done = parts                   done := done + 1
//! ```

use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// Most threads of a team, its leader included; each has room of its own for attention.
pub const MEMBERS_MAX: usize = 4;
/// Looks at what there is to do between two offers of the core to somebody else: some microseconds.
const SPINS: u32 = 100;

/// A part of the work, and the number of the member that does it: 0 is the leader.
type Work<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// One leader and those who help it.
pub struct Team {
    /// What is being done: generation, parts and the next part, in 32, 16 and 16 bits.
    word: AtomicU64,
    /// Parts of it that are done.
    done: AtomicUsize,
    /// What a part is; good as long as a part that was taken is not done.
    work: UnsafeCell<Option<*const (dyn Fn(usize, usize) + Sync)>>,
    /// Those who came to help, whether or not they are still there.
    helpers: AtomicUsize,
    closed: AtomicBool,
    panicked: AtomicBool,
}

// SAFETY: `work` is written by the leader alone, while no part is taken and not done, and read by others between taking a part and saying that it is done; the
// word and `done` order both. What it points to may be shared among threads.
unsafe impl Sync for Team {}
// SAFETY: as above; the pointer is not used outside of a pass.
unsafe impl Send for Team {}

thread_local! {
    /// The team that this thread leads.
    static LED: Cell<*const Team> = const { Cell::new(ptr::null()) };
}

impl Default for Team {
    fn default() -> Self {
        let (word, done, helpers) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Self { word, done, work: UnsafeCell::new(None), helpers, closed: AtomicBool::new(false), panicked: AtomicBool::new(false) }
    }
}

impl Team {
    /// Runs something; passes in it, on this thread, are helped with. Afterwards helpers go. A team is led once.
    pub fn lead<R>(&self, run: impl FnOnce() -> R) -> R {
        struct Leads<'a>(&'a Team, *const Team);
        impl Drop for Leads<'_> {
            fn drop(&mut self) {
                LED.set(self.1);
                self.0.closed.store(true, Ordering::Release);
            }
        }
        let _leads = Leads(self, LED.replace(self));
        run()
    }

    /// Helps until the leader is done, or until `leave` says so, which is asked between parts.
    pub fn help(&self, leave: impl Fn() -> bool) {
        let member = self.helpers.fetch_add(1, Ordering::Relaxed) + 1;
        if member >= MEMBERS_MAX {
            return;
        }
        let mut spins = 0;
        while !self.closed.load(Ordering::Acquire) {
            if self.part(member) {
                spins = 0;
            } else if leave() {
                return;
            } else {
                wait(&mut spins);
            }
        }
    }

    /// Those who came to help.
    pub fn helpers(&self) -> usize {
        self.helpers.load(Ordering::Relaxed).min(MEMBERS_MAX - 1)
    }

    /// Takes the next part and does it; whether there was one.
    fn part(&self, member: usize) -> bool {
        let word = self.word.load(Ordering::Acquire);
        let (parts, next) = ((word >> 16) as u16, word as u16);
        if next >= parts {
            return false;
        }
        // Fails where somebody else took the part, or where all of this is long done; then there may be another.
        if self.word.compare_exchange_weak(word, word + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // SAFETY: the part is of the work that the word stands for, and not done: the leader waits for it before `work` or what it points to changes.
            let work = unsafe { (*self.work.get()).map(|work| &*work) };
            let done = catch_unwind(AssertUnwindSafe(|| work.map(|work| work(next.into(), member))));
            if !matches!(done, Ok(Some(()))) {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
        true
    }

    /// Lets everybody take parts, and waits until all are done.
    fn all(&self, parts: u16, work: Work<'_>) {
        let work: *const (dyn Fn(usize, usize) + Sync + '_) = work;
        // SAFETY: only the lifetime changes, and nobody uses the pointer after this function: it waits for all parts. Nobody reads `work` now, since no part is
        // taken and not done.
        unsafe {
            *self.work.get() =
                Some(std::mem::transmute::<*const (dyn Fn(usize, usize) + Sync + '_), *const (dyn Fn(usize, usize) + Sync)>(work))
        };
        self.done.store(0, Ordering::Relaxed);
        let generation = (self.word.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        self.word.store(generation << 32 | u64::from(parts) << 16, Ordering::Release);
        while self.part(0) {}
        let mut spins = 0;
        while self.done.load(Ordering::Acquire) < usize::from(parts) {
            wait(&mut spins);
        }
        assert!(!self.panicked.load(Ordering::Relaxed), "a part of a pass panicked");
    }
}

fn wait(spins: &mut u32) {
    *spins += 1;
    if (*spins).is_multiple_of(SPINS) { thread::yield_now() } else { spin_loop() }
}

/// Whether somebody helps this thread.
pub(super) fn is_helped() -> bool {
    // SAFETY: the team outlives what it leads.
    unsafe { LED.get().as_ref() }.is_some_and(|team| team.helpers() > 0)
}

/// Does all parts, numbered from 0, with those who help this thread. Each part must write its own place.
pub(super) fn split(parts: usize, work: Work<'_>) {
    // SAFETY: the team outlives what it leads.
    match (unsafe { LED.get().as_ref() }, u16::try_from(parts)) {
        (Some(team), Ok(parts)) if team.helpers() > 0 => team.all(parts, work),
        _ => (0..parts).for_each(|part| work(part, 0)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn with_helpers<R>(count: usize, run: impl FnOnce(&Team) -> R) -> R {
        let team = Team::default();
        let here = Barrier::new(count + 1);
        thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    here.wait();
                    team.help(|| false);
                });
            }
            here.wait();
            while team.helpers() < count.min(MEMBERS_MAX - 1) {
                thread::yield_now();
            }
            team.lead(|| run(&team))
        })
    }

    #[test]
    fn each_part_is_done_once_by_whoever_is_there() {
        for helpers in [0, 1, 3, 6] {
            with_helpers(helpers, |_| {
                for parts in (0..300).chain([0, 1, 2, 40, 3]) {
                    let done: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                    split(parts, &|part, member| {
                        assert!(member < MEMBERS_MAX);
                        done[part].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1), "{parts} parts, {helpers} helpers");
                }
            });
        }
    }

    #[test]
    fn a_part_that_panics_fails_its_leader_alone() {
        let failed = with_helpers(2, |_| {
            catch_unwind(|| {
                split(9, &|part, _| {
                    if part == 5 {
                        std::panic::resume_unwind(Box::new("told to"))
                    }
                })
            })
            .is_err()
        });
        assert!(failed);
        assert!(!is_helped(), "nobody is led any more");
    }

    #[test]
    fn a_helper_leaves_when_it_is_told() {
        let team = Team::default();
        team.help(|| true);
        assert_eq!(team.helpers(), 1);
        // What is left is done by the leader alone.
        let done = AtomicUsize::new(0);
        team.lead(|| {
            split(7, &|_, member| {
                assert_eq!(member, 0);
                done.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(done.into_inner(), 7);
    }
}
