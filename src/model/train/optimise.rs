//! Minimising a smooth function: L-BFGS with the More–Thuente line search of the crate `argmin` (Nocedal & Wright, "Numerical Optimization", 2006).

use std::sync::Mutex;

use argmin::core::{CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;

/// Steps of history that stand for the curvature.
const HISTORY: usize = 10;

/// A function with its gradient, computed together.
pub(super) trait Objective {
    fn value_and_gradient(&self, parameters: &[f64]) -> (f64, Vec<f64>);
}

/// Where to stop: a gradient this short, a gain this small, or this many steps.
pub(super) struct Stop {
    pub(super) gradient: f64,
    pub(super) gain: f64,
    pub(super) steps: u64,
}

/// argmin asks for the value and for the gradient apart; the last point is kept, so that each point is computed once. The best point is kept too:
/// when the line search gives up at the precision of f32, that is the answer.
struct Remembering<'a> {
    objective: &'a dyn Objective,
    last: Mutex<Option<Point>>,
    best: Mutex<Option<(f64, Vec<f64>)>>,
}

struct Point {
    parameters: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl Remembering<'_> {
    fn at<T>(&self, parameters: &[f64], read: impl Fn(&Point) -> T) -> T {
        let mut last = self.last.lock().expect("nobody panics while holding the last point");
        if let Some(point) = last.as_ref().filter(|point| point.parameters == parameters) {
            return read(point);
        }
        let (value, gradient) = self.objective.value_and_gradient(parameters);
        let mut best = self.best.lock().expect("nobody panics while holding the best point");
        if value.is_finite() && best.as_ref().is_none_or(|(lowest, _)| value < *lowest) {
            *best = Some((value, parameters.to_vec()));
        }
        let point = Point { parameters: parameters.to_vec(), value, gradient };
        let answer = read(&point);
        *last = Some(point);
        answer
    }
}

impl CostFunction for &Remembering<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, parameters: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.at(parameters, |point| point.value))
    }
}

impl Gradient for &Remembering<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, parameters: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.at(parameters, |point| point.gradient.clone()))
    }
}

/// The point with the lowest value that was found from `start`.
pub(super) fn minimise(objective: &dyn Objective, start: Vec<f64>, stop: Stop) -> Vec<f64> {
    let remembering = Remembering { objective, last: Mutex::new(None), best: Mutex::new(None) };
    let solver = LBFGS::new(MoreThuenteLineSearch::new(), HISTORY)
        .with_tolerance_grad(stop.gradient)
        .and_then(|solver| solver.with_tolerance_cost(stop.gain))
        .expect("both tolerances are constants above 0");
    let run = Executor::new(&remembering, solver).configure(|state| state.param(start.clone()).max_iters(stop.steps)).run();
    // A line search that finds no better point ends the run with an error; the best point so far is the minimum at this precision.
    drop(run);
    let best = remembering.best.into_inner().expect("nobody panics while holding the best point");
    best.map_or(start, |(_, parameters)| parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
