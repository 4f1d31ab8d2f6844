//! The least that any durable store does: one thread takes all that waits, writes the bytes at the end of a file, and syncs it. And what measurements are told of.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use baton::service::clock::Stopwatch;
use tokio::sync::oneshot;

/// What a run gave.
pub(crate) struct Measured {
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    waits: Vec<Duration>,
}

impl Measured {
    pub(crate) fn of(elapsed: Duration, waits: Vec<Vec<Duration>>) -> Self {
        let mut waits = waits.concat();
        waits.sort_unstable();
        Self { rows: waits.len() as u64, seconds: elapsed.as_secs_f64(), waits }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }

    pub(crate) fn wait_ms(&self, share: f64) -> f64 {
        self.waits[((self.waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
    }

    /// A line for people.
    pub(crate) fn told(&self, name: &str, what: &str) -> String {
        let (p50, p99, most) = (self.wait_ms(0.5), self.wait_ms(0.99), self.wait_ms(1.0));
        format!("{name:<10} {:>7.0} {what}/s   p50 {p50:.2} ms   p99 {p99:.2} ms   most {most:.1} ms", self.per_second())
    }
}

/// Runs so many tasks, each of which does one thing after the other.
pub(crate) fn tasks<F>(tasks: u64, each: u64, run: impl Fn(u64, u64) -> F + Copy + Send + Sync + 'static) -> Measured
where
    F: Future<Output = ()> + Send,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let stopwatch = Stopwatch::start();
    let waits = runtime.block_on(async {
        let one = |task: u64| async move {
            let mut waits = Vec::with_capacity(usize::try_from(each).unwrap_or_default());
            for number in 0..each {
                let waiting = Stopwatch::start();
                run(task, number).await;
                waits.push(waiting.elapsed());
            }
            waits
        };
        let tasks: Vec<_> = (0..tasks).map(|task| tokio::spawn(one(task))).collect();
        futures::future::join_all(tasks).await
    });
    let elapsed = stopwatch.elapsed();
    Measured::of(elapsed, waits.into_iter().map(|waits| waits.expect("a task ends")).collect())
}

type Waiting = (Vec<u8>, oneshot::Sender<()>);

/// So many tasks through the bare loop, each with one row of `bytes` on its way.
pub(crate) fn bare_loop(
    folder: &Path,
    writers: u64,
    rows: u64,
    bytes: impl Fn(u64, u64) -> Vec<u8> + Copy + Send + Sync + 'static,
) -> Measured {
    let (sender, receiver) = mpsc::channel::<Waiting>();
    let mut file = File::create(folder.join("bare")).expect("a file");
    let thread = std::thread::spawn(move || {
        while let Ok(first) = receiver.recv() {
            let (bytes, waiting): (Vec<_>, Vec<_>) = std::iter::once(first).chain(receiver.try_iter()).unzip();
            file.write_all(&bytes.concat()).expect("the bytes are written");
            file.sync_data().expect("the bytes are on the disk");
            waiting.into_iter().for_each(|waiting| waiting.send(()).unwrap_or_default());
        }
    });
    let sender: &'static mpsc::Sender<Waiting> = Box::leak(Box::new(sender));
    let measured = tasks(writers, rows, move |writer, number| async move {
        let (answer, pending) = oneshot::channel();
        sender.send((bytes(writer, number), answer)).expect("the loop runs");
        pending.await.expect("the loop answers");
    });
    // The sender is leaked: the thread waits for more until the bench ends.
    drop(thread);
    measured
}
