//! Minimising a smooth function: L-BFGS with a weak Wolfe line search by bisection.
//!
//! From Nocedal & Wright, "Numerical Optimization" (2006), algorithm 7.4, and Lewis & Overton, "Nonsmooth optimization via quasi-Newton methods" (2013)
//! for the line search. Ours and not a crate's, since every search here must end: the line search of argmin 0.11 has no bound on its evaluations, and at
//! the precision of `f32` products it ran for ever on thirty rows.

use std::collections::VecDeque;

/// Steps of history that stand for the curvature.
const HISTORY: usize = 10;
/// A step must gain this share of what the slope promises.
const ARMIJO: f64 = 1e-4;
/// The slope must fall to this share.
const CURVATURE: f64 = 0.9;
/// Points that one line search tries at most; bisection has then narrowed the step to a millionth.
const LINE_SEARCH_MAX: usize = 20;

/// A function with its gradient, computed together.
pub(super) trait Objective {
    fn value_and_gradient(&self, parameters: &[f64]) -> (f64, Vec<f64>);
}

/// Where to stop: a gradient this short, a relative gain this small, or this many steps.
pub(super) struct Stop {
    pub(super) gradient: f64,
    pub(super) gain: f64,
    pub(super) steps: usize,
}

struct Point {
    parameters: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// One step of the past: the difference of points and of gradients.
struct Step {
    s: Vec<f64>,
    y: Vec<f64>,
    /// 1 / (s · y)
    rho: f64,
}

/// The point with the lowest value that was found from `start`; evaluates the objective at most `steps · LINE_SEARCH_MAX` times.
pub(super) fn minimise(objective: &dyn Objective, start: Vec<f64>, stop: Stop) -> Vec<f64> {
    let mut at = evaluate(objective, start);
    let mut history: VecDeque<Step> = VecDeque::with_capacity(HISTORY);
    for _ in 0..stop.steps {
        if dot(&at.gradient, &at.gradient).sqrt() <= stop.gradient {
            break;
        }
        let mut direction = direction(&at.gradient, &history);
        if dot(&direction, &at.gradient) >= 0.0 {
            history.clear();
            direction = at.gradient.iter().map(|g| -g).collect();
        }
        // Without curvature the gradient has no scale: begin with a step of length 1 at most.
        let first = if history.is_empty() { 1.0 / dot(&at.gradient, &at.gradient).sqrt().max(1.0) } else { 1.0 };
        let Some(next) = line_search(objective, &at, &direction, first) else { break };
        let s: Vec<f64> = next.parameters.iter().zip(&at.parameters).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = next.gradient.iter().zip(&at.gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&s, &y);
        if curvature > 1e-12 * dot(&y, &y) {
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back(Step { rho: 1.0 / curvature, s, y });
        }
        let gain = at.value - next.value;
        let size = at.value.abs().max(1.0);
        at = next;
        if gain <= stop.gain * size {
            break;
        }
    }
    at.parameters
}

fn evaluate(objective: &dyn Objective, parameters: Vec<f64>) -> Point {
    let (value, gradient) = objective.value_and_gradient(&parameters);
    Point { parameters, value, gradient }
}

/// The two-loop recursion.
fn direction(gradient: &[f64], history: &VecDeque<Step>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(history.len());
    for step in history.iter().rev() {
        let alpha = step.rho * dot(&step.s, &q);
        q.iter_mut().zip(&step.y).for_each(|(q, y)| *q -= alpha * y);
        alphas.push(alpha);
    }
    if let Some(last) = history.back() {
        let scale = 1.0 / (last.rho * dot(&last.y, &last.y));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (step, alpha) in history.iter().zip(alphas.into_iter().rev()) {
        let beta = step.rho * dot(&step.y, &q);
        q.iter_mut().zip(&step.s).for_each(|(q, s)| *q += (alpha - beta) * s);
    }
    q
}

/// A point along the direction that gains enough, or the best that was tried; `None` where none was lower.
fn line_search(objective: &dyn Objective, from: &Point, direction: &[f64], first: f64) -> Option<Point> {
    let slope = dot(direction, &from.gradient);
    let (mut low, mut high, mut step) = (0.0, f64::INFINITY, first);
    let mut best: Option<Point> = None;
    for _ in 0..LINE_SEARCH_MAX {
        let parameters = from.parameters.iter().zip(direction).map(|(x, d)| x + step * d).collect();
        let tried = evaluate(objective, parameters);
        // A value that is not a number counts as too high.
        let gained = tried.value <= from.value + ARMIJO * step * slope;
        let flat = dot(direction, &tried.gradient) >= CURVATURE * slope;
        if gained && flat {
            return Some(tried);
        }
        if gained {
            low = step;
        } else {
            high = step;
        }
        if tried.value < best.as_ref().map_or(from.value, |best| best.value) {
            best = Some(tried);
        }
        step = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * low };
    }
    best
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Rosenbrock;

    impl Objective for Rosenbrock {
        fn value_and_gradient(&self, p: &[f64]) -> (f64, Vec<f64>) {
            let (a, b) = (1.0 - p[0], p[1] - p[0] * p[0]);
            (a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * p[0] * b, 200.0 * b])
        }
    }

    #[test]
    fn the_valley_of_rosenbrock_is_walked_to_its_end() {
        let found = minimise(&Rosenbrock, vec![-1.2, 1.0], Stop { gradient: 1e-8, gain: 1e-14, steps: 200 });
        assert!((found[0] - 1.0).abs() < 1e-4 && (found[1] - 1.0).abs() < 1e-4, "{found:?}");
    }

    /// A function whose gradient lies, as rounding makes it do near a minimum.
    struct Lying(Cell<usize>);

    impl Objective for Lying {
        fn value_and_gradient(&self, p: &[f64]) -> (f64, Vec<f64>) {
            self.0.set(self.0.get() + 1);
            (p[0] * p[0], vec![-1.0])
        }
    }

    #[test]
    fn a_search_ends_even_when_the_gradient_lies() {
        let objective = Lying(Cell::new(0));
        assert_eq!(minimise(&objective, vec![0.0], Stop { gradient: 1e-8, gain: 1e-14, steps: 200 }), [0.0]);
        assert!(objective.0.get() <= 1 + LINE_SEARCH_MAX, "{} evaluations", objective.0.get());
    }

    struct NotANumber;

    impl Objective for NotANumber {
        fn value_and_gradient(&self, p: &[f64]) -> (f64, Vec<f64>) {
            (if p[0] > 0.5 { f64::NAN } else { -p[0] }, vec![-1.0])
        }
    }

    #[test]
    fn a_step_to_a_value_that_is_no_number_is_not_taken() {
        let found = minimise(&NotANumber, vec![0.0], Stop { gradient: 1e-8, gain: 1e-14, steps: 50 });
        assert!(found[0] <= 0.5, "{found:?}");
    }
}
