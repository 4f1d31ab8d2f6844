//! Whose turn it is among models that share the workers: stride scheduling. No thread and no clock: what a batch costs is an argument.
//!
//! Each model has used so much of the workers' time, divided by its share; of those that have work the one that has used the least goes next. One that had
//! nothing to do begins again where the others are: it cannot save up turns and then keep the others waiting. So a model with work waits for at most what the
//! shares of the others are to its own, and for one batch of each of them.
//! Where it comes from: Waldspurger and Weihl, Stride Scheduling, 1995.

use std::time::Duration;

use super::Share;

#[derive(Default)]
pub(super) struct Turns {
    lanes: Vec<Turn>,
    /// How much whoever had the last turn had used before it.
    now: f64,
}

struct Turn {
    id: u64,
    share: f64,
    /// Seconds of the workers, divided by the share.
    used: f64,
}

impl Turns {
    pub(super) fn join(&mut self, id: u64, share: Share) {
        let (share, used) = (part(share), self.now);
        self.lanes.push(Turn { id, share, used });
    }

    pub(super) fn leave(&mut self, id: u64) {
        self.lanes.retain(|turn| turn.id != id);
    }

    pub(super) fn set_share(&mut self, id: u64, share: Share) {
        if let Some(turn) = self.turn(id) {
            turn.share = part(share);
        }
    }

    /// The share of one that is here, 0 to 1.
    pub(super) fn share(&self, id: u64) -> f64 {
        self.lanes.iter().find(|turn| turn.id == id).map_or(1.0, |turn| turn.share)
    }

    /// It has something to do again.
    pub(super) fn wake(&mut self, id: u64) {
        let now = self.now;
        if let Some(turn) = self.turn(id) {
            turn.used = turn.used.max(now);
        }
    }

    /// It begins where the others are, whatever it has used.
    pub(super) fn begin_again(&mut self, id: u64) {
        let now = self.now;
        if let Some(turn) = self.turn(id) {
            turn.used = now;
        }
    }

    /// Of those that have work the one that goes next.
    pub(super) fn next(&mut self, has_work: impl Fn(u64) -> bool) -> Option<u64> {
        let next = self.lanes.iter().filter(|turn| has_work(turn.id)).min_by(|a, b| a.used.total_cmp(&b.used))?;
        self.now = self.now.max(next.used);
        Some(next.id)
    }

    /// It had so much of the workers' time.
    pub(super) fn charge(&mut self, id: u64, time: Duration) {
        if let Some(turn) = self.turn(id) {
            turn.used += time.as_secs_f64() / turn.share;
        }
    }

    fn turn(&mut self, id: u64) -> Option<&mut Turn> {
        self.lanes.iter_mut().find(|turn| turn.id == id)
    }
}

fn part(share: Share) -> f64 {
    f64::from(share.hundredths()) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(shares: &[u8]) -> Turns {
        let mut turns = Turns::default();
        shares.iter().zip(0..).for_each(|(share, id)| turns.join(id, Share::new(*share).unwrap()));
        turns
    }

    /// Who had how many of so many turns, each of some milliseconds.
    fn played(turns: &mut Turns, rounds: usize, millis: &[u64], has_work: impl Fn(u64) -> bool + Copy) -> Vec<usize> {
        let mut had = vec![0; millis.len()];
        for _ in 0..rounds {
            let Some(id) = turns.next(has_work) else { break };
            let place = usize::try_from(id).unwrap();
            had[place] += 1;
            turns.charge(id, Duration::from_millis(millis[place]));
        }
        had
    }

    #[test]
    fn time_is_divided_by_shares_whatever_a_batch_costs() {
        for (shares, millis, expected) in [
            (vec![70, 30], vec![10, 10], vec![700, 300]),
            (vec![50, 50], vec![10, 40], vec![800, 200]),
            (vec![60, 20, 20], vec![10, 10, 10], vec![600, 200, 200]),
            (vec![99, 1], vec![10, 10], vec![990, 10]),
        ] {
            let had = played(&mut turns(&shares), 1000, &millis, |_| true);
            let near = had.iter().zip(&expected).all(|(found, expected)| found.abs_diff(*expected) <= 2);
            assert!(near, "{shares:?} {millis:?}: found {had:?}, expected {expected:?}");
        }
    }

    #[test]
    fn no_worker_is_idle_while_anybody_has_work() {
        let mut turns = turns(&[90, 10]);
        assert_eq!(played(&mut turns, 100, &[10, 10], |id| id == 1), [0, 100]);
        assert_eq!(turns.next(|_| false), None);
    }

    #[test]
    fn who_had_nothing_to_do_saves_no_turns_up_and_waits_for_none() {
        let mut turns = turns(&[50, 50]);
        // The first alone for long; then the second comes.
        played(&mut turns, 1000, &[10, 10], |id| id == 0);
        turns.wake(1);
        assert_eq!(turns.next(|_| true), Some(1), "it goes next");
        turns.charge(1, Duration::from_millis(10));
        let had = played(&mut turns, 100, &[10, 10], |_| true);
        assert!(had[0].abs_diff(50) <= 1, "and then they take turns: {had:?}");
    }

    #[test]
    fn a_share_can_change_and_a_model_can_leave() {
        let mut turns = turns(&[50, 50]);
        turns.set_share(0, Share::new(90).unwrap());
        turns.set_share(1, Share::new(10).unwrap());
        let had = played(&mut turns, 100, &[10, 10], |_| true);
        assert!(had[0].abs_diff(90) <= 1, "{had:?}");
        turns.charge(0, Duration::from_millis(10));
        turns.begin_again(1);
        assert_eq!(turns.next(|_| true), Some(1), "it has used nothing any more");
        turns.leave(0);
        assert_eq!(played(&mut turns, 10, &[10, 10], |_| true), [0, 10]);
    }
}
