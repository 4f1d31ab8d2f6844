//! Streams of requests whose answers leave as they come.
//!
//! A stream is not read while as many of its requests as allowed are in work or wait, so a client that never reads its answers is held back by its own window.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use crate::service::metrics::Metrics;
use crate::service::status::BadField;

/// Longest id of a request in a stream, in bytes.
const ID_BYTES_MAX: usize = 256;

/// The answers of a stream.
pub(super) type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

/// The streams of one service.
#[derive(Clone)]
pub(super) struct Streams {
    open: Arc<Semaphore>,
    streams_max: usize,
    in_flight_max: usize,
    metrics: Arc<Metrics>,
}

impl Streams {
    pub(super) fn new(streams_max: usize, in_flight_max: usize, metrics: Arc<Metrics>) -> Self {
        Self { open: Arc::new(Semaphore::new(streams_max)), streams_max, in_flight_max, metrics }
    }

    /// Answers every request of a stream. Requests of one lane are answered one after the other, in their order; those without a lane as they come.
    pub(super) fn serve<Q, A, F>(
        &self,
        requests: Streaming<Q>,
        lane: impl Fn(&Q) -> Option<String> + Send + Sync + 'static,
        answer: impl Fn(Q) -> F + Send + Sync + 'static,
    ) -> Result<Response<Answers<A>>, Status>
    where
        Q: Send + 'static,
        A: Send + 'static,
        F: Future<Output = A> + Send + 'static,
    {
        let full = |_| Status::resource_exhausted(format!("streams_max is {}, all are open", self.streams_max));
        let permit = Arc::clone(&self.open).try_acquire_owned().map_err(full)?;
        let (sender, receiver) = mpsc::channel(self.in_flight_max);
        let (metrics, in_flight_max) = (Arc::clone(&self.metrics), self.in_flight_max);
        tokio::spawn(async move {
            metrics.streams.inc();
            pump(requests, &sender, in_flight_max, lane, answer).await;
            metrics.streams.dec();
            drop(permit);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Reads requests while there is room, answers as answers come, ends when the client has closed and all is answered, or when nobody reads any more.
async fn pump<Q, A, F: Future<Output = A>>(
    mut requests: Streaming<Q>,
    sender: &mpsc::Sender<Result<A, Status>>,
    in_flight_max: usize,
    lane: impl Fn(&Q) -> Option<String>,
    answer: impl Fn(Q) -> F,
) {
    let answer = |lane: Option<String>, request: Q| {
        let answer = answer(request);
        async move { (lane, answer.await) }
    };
    let mut in_work = FuturesUnordered::new();
    // For each lane with a request in work, those that wait for it.
    let mut lanes: HashMap<String, VecDeque<Q>> = HashMap::new();
    let mut waiting = 0;
    let mut open = true;
    while open || !in_work.is_empty() {
        let room = in_work.len() + waiting < in_flight_max;
        tokio::select! {
            () = sender.closed() => return,
            next = requests.next(), if open && room => match next {
                Some(Ok(request)) => match lane(&request) {
                    None => in_work.push(answer(None, request)),
                    Some(key) => match lanes.get_mut(&key) {
                        Some(behind) => {
                            behind.push_back(request);
                            waiting += 1;
                        }
                        None => {
                            lanes.insert(key.clone(), VecDeque::new());
                            in_work.push(answer(Some(key), request));
                        }
                    },
                },
                Some(Err(status)) => {
                    // The transport broke or the message was no message: the stream ends with the same words.
                    drop(sender.send(Err(status)).await);
                    return;
                }
                None => open = false,
            },
            Some((key, answered)) = in_work.next(), if !in_work.is_empty() => {
                if let Some(key) = key {
                    match lanes.get_mut(&key).and_then(VecDeque::pop_front) {
                        Some(next) => {
                            waiting -= 1;
                            in_work.push(answer(Some(key), next));
                        }
                        None => drop(lanes.remove(&key)),
                    }
                }
                if sender.send(Ok(answered)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Checks the id of a request of a stream.
pub(super) fn check_id(id: &str) -> Result<(), BadField> {
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Err(BadField::new("id", format!("found {} bytes, expected 1 to {ID_BYTES_MAX}", id.len())));
    }
    Ok(())
}
