//! Many texts through the model, on all cores.
//!
//! One worker a core, each with its own batch from start to end and no barrier inside a forward pass: the engine's products run in a pool of one thread.
//! Threads follow the cgroup quota and the affinity, not the host's core count.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Workers: one for each core that this process may use.
pub fn workers() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// A pool of all workers, for arithmetic that deals out blocks by itself. The global pool of rayon is as large as `RAYON_NUM_THREADS` says, which is 1
/// in this program (see [`super::main`]).
pub fn pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(workers()).build().expect("as many threads as cores can be started")
}

/// Applies `work` to every item on all cores and gives the results in order; the first error ends the rest. `done` hears how many items each
/// finished call held.
pub fn map<T, R, E>(
    items: &[T],
    chunk: usize,
    work: impl Fn(&[T]) -> Result<Vec<R>, E> + Sync,
    done: impl Fn(usize) + Sync,
) -> Result<Vec<R>, E>
where
    T: Sync,
    R: Send,
    E: Send,
{
    let chunks: Vec<&[T]> = items.chunks(chunk.max(1)).collect();
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers().min(chunks.len()) {
            let (sender, next, chunks, work, done) = (sender.clone(), &next, &chunks, &work, &done);
            scope.spawn(move || {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one more thread can be started");
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(chunk) = chunks.get(index) else { break };
                    let result = pool.install(|| work(chunk));
                    if result.is_err() {
                        next.store(chunks.len(), Ordering::Relaxed);
                    }
                    done(chunk.len());
                    if sender.send((index, result)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut results: Vec<(usize, Vec<R>)> = Vec::with_capacity(chunks.len());
        for (index, result) in receiver {
            results.push((index, result?));
        }
        results.sort_by_key(|(index, _)| *index);
        Ok(results.into_iter().flat_map(|(_, r)| r).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_an_error_ends_the_work() {
        let items: Vec<usize> = (0..1000).collect();
        let squares = map(&items, 7, |chunk| Ok::<_, ()>(chunk.iter().map(|i| i * i).collect()), |_| ()).unwrap();
        assert_eq!(squares, items.iter().map(|i| i * i).collect::<Vec<_>>());
        let failed = map(&items, 7, |chunk| if chunk.contains(&500) { Err("no") } else { Ok(vec![0]) }, |_| ());
        assert_eq!(failed, Err("no"));
    }
}
