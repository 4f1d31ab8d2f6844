//! `HandoffService`: convert, call, convert back. The next step is [`crate::service::memory`].

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::conversation::{memory, told};
use super::deadline;
use super::stream::Answers;
use crate::handoff::lifecycle::Duty;
use crate::handoff::note::Options;
use crate::handoff::policy::Mode;
use crate::service::convert::conversation::id;
use crate::service::convert::handoff as convert;
use crate::service::convert::routing::{self, Asked};
use crate::service::memory::{Answered, FedEffect, Memory, no_handoff};
use crate::service::metrics::{Metrics, Rpc};
use crate::service::pb;
use crate::service::pb::handoff_service_server::HandoffService;

/// See the module.
pub struct Handoffs {
    memory: Option<Arc<Memory>>,
    metrics: Arc<Metrics>,
    notes: Options,
    watchers: Arc<Semaphore>,
    watchers_max: usize,
    stopped: watch::Receiver<bool>,
}

/// Effects that wait for a watcher who reads slowly.
const UNREAD_MAX: usize = 64;

impl Handoffs {
    /// Serves with this memory; without one, every call says why there is none. `notes` is what goes beside a note; at most so many watch the feed, until the
    /// server is `stopped`.
    pub fn new(
        memory: Option<Arc<Memory>>,
        metrics: Arc<Metrics>,
        notes: Options,
        watchers_max: usize,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self { memory, metrics, notes, watchers: Arc::new(Semaphore::new(watchers_max)), watchers_max, stopped }
    }

    /// Does what is asked to a handoff.
    async fn act(&self, asked: &Asked, deadline: Option<Instant>) -> Result<Answered, Status> {
        let memory = memory(self.memory.as_ref())?;
        Ok(memory.act(&asked.conversation, asked.act.clone(), &asked.request, deadline).await?)
    }

    fn masked(&self, text: &str) -> String {
        self.memory.as_ref().map_or_else(String::new, |memory| memory.masked(text))
    }
}

type Sender = mpsc::Sender<Result<pb::WatchEffectsResponse, Status>>;

/// Sends what nobody has acknowledged after a place, then what comes, and again what is overdue; ends when nobody reads any more, or the store does not answer.
async fn follow(memory: &Arc<Memory>, mut after: u64, sender: &Sender) -> Result<(), Status> {
    let (mut grown, mut again) = memory.watch_effects();
    loop {
        let effects = memory.effects(after).await?;
        if effects.is_empty() {
            tokio::select! {
                () = sender.closed() => return Ok(()),
                changed = grown.changed() => if changed.is_err() { return Ok(()) },
                overdue = again.recv() => match overdue {
                    // What this watcher has not come to yet is sent in its turn.
                    Ok(place) if place <= after => if let Some(effect) = memory.effect(place).await? {
                        send(memory, effect, true, sender).await?;
                    },
                    // Those that it was too slow for become overdue again.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
        }
        for effect in effects {
            after = effect.place;
            send(memory, effect, false, sender).await?;
        }
    }
}

async fn send(memory: &Arc<Memory>, effect: FedEffect, again: bool, sender: &Sender) -> Result<(), Status> {
    let reply = match &effect.duty {
        Duty::TellCustomer(telling) => Some(memory.words(&effect.conversation, telling).await),
        _ => None,
    };
    let gone = |_| Status::cancelled("nobody reads any more");
    sender.send(Ok(routing::effect(effect, reply, again))).await.map_err(gone)
}

#[tonic::async_trait]
impl HandoffService for Handoffs {
    async fn get_handoff(&self, request: Request<pb::GetHandoffRequest>) -> Result<Response<pb::GetHandoffResponse>, Status> {
        let handoff = async {
            let memory = memory(self.memory.as_ref())?;
            let packaged = memory.package(&id(request.into_inner().conversation_id, "conversation_id")?).await?;
            Ok(Response::new(convert::handoff(&packaged).ok_or_else(no_handoff)?))
        };
        told(&self.metrics, Rpc::GetHandoff, handoff.await)
    }

    async fn get_package(&self, request: Request<pb::GetPackageRequest>) -> Result<Response<pb::GetPackageResponse>, Status> {
        let package = async {
            let memory = memory(self.memory.as_ref())?;
            let request = request.into_inner();
            let format = convert::format(request.format)?;
            let packaged = memory.package(&id(request.conversation_id, "conversation_id")?).await?;
            Ok(Response::new(convert::package(&packaged.package, format)))
        };
        told(&self.metrics, Rpc::GetPackage, package.await)
    }

    async fn render_note(&self, request: Request<pb::RenderNoteRequest>) -> Result<Response<pb::RenderNoteResponse>, Status> {
        let note = async {
            let memory = memory(self.memory.as_ref())?;
            let asked = convert::asked_note(request.into_inner())?;
            let packaged = memory.package(&asked.conversation).await?;
            Ok(Response::new(convert::note(&packaged.package, &asked, &self.notes)?))
        };
        told(&self.metrics, Rpc::RenderNote, note.await)
    }

    async fn render_message(&self, request: Request<pb::RenderMessageRequest>) -> Result<Response<pb::RenderMessageResponse>, Status> {
        let message = async {
            let memory = memory(self.memory.as_ref())?;
            let asked = convert::asked(request.into_inner())?;
            let packaged = memory.package(&asked.conversation).await?;
            Ok(Response::new(convert::message(&packaged, &asked)?.ok_or_else(no_handoff)?))
        };
        told(&self.metrics, Rpc::RenderMessage, message.await)
    }

    async fn list_handoffs(&self, request: Request<pb::ListHandoffsRequest>) -> Result<Response<pb::ListHandoffsResponse>, Status> {
        let listed = async {
            let memory = memory(self.memory.as_ref())?;
            let handoffs = memory.handoffs(routing::filter(request.into_inner())?).await?;
            Ok(Response::new(routing::listed(handoffs)))
        };
        told(&self.metrics, Rpc::ListHandoffs, listed.await)
    }

    type WatchEffectsStream = Answers<pb::WatchEffectsResponse>;

    async fn watch_effects(&self, request: Request<pb::WatchEffectsRequest>) -> Result<Response<Self::WatchEffectsStream>, Status> {
        let watched = async {
            let memory = Arc::clone(memory(self.memory.as_ref())?);
            let full = |_| Status::resource_exhausted(format!("streams_max is {}, all are open", self.watchers_max));
            let permit = Arc::clone(&self.watchers).try_acquire_owned().map_err(full)?;
            let (sender, receiver) = mpsc::channel(UNREAD_MAX);
            let after = request.into_inner().after;
            let mut stopped = self.stopped.clone();
            tokio::spawn(async move {
                let followed = tokio::select! {
                    followed = follow(&memory, after, &sender) => followed,
                    () = async { drop(stopped.wait_for(|stop| *stop).await) } => Err(Status::unavailable("the server is draining")),
                };
                if let Err(status) = followed {
                    // Who left does not want to know.
                    drop(sender.send(Err(status)).await);
                }
                drop(permit);
            });
            let stream: Self::WatchEffectsStream = Box::pin(ReceiverStream::new(receiver));
            Ok(Response::new(stream))
        };
        told(&self.metrics, Rpc::WatchEffects, watched.await)
    }

    async fn ack_effect(&self, request: Request<pb::AckEffectRequest>) -> Result<Response<pb::AckEffectResponse>, Status> {
        let acknowledged = async {
            memory(self.memory.as_ref())?.acknowledge(request.into_inner().place).await?;
            Ok(Response::new(pb::AckEffectResponse {}))
        };
        told(&self.metrics, Rpc::AckEffect, acknowledged.await)
    }

    async fn accept(&self, request: Request<pb::AcceptRequest>) -> Result<Response<pb::AcceptResponse>, Status> {
        let deadline = deadline(request.metadata());
        let accepted = async {
            let asked = routing::accept(request.into_inner())?;
            let answered = self.act(&asked, deadline).await?;
            let memory = memory(self.memory.as_ref())?;
            // The conversation is theirs already: what cannot be told beside it does not take it from them.
            let packaged = memory.package(&asked.conversation).await.ok();
            let life = packaged.as_ref().and_then(|packaged| packaged.conversation.life.as_ref());
            let related = match life {
                Some(life) if life.mode == Mode::Soft => memory.related_contacts(&asked.conversation).await.unwrap_or_default(),
                Some(_) | None => Vec::new(),
            };
            Ok(Response::new(pb::AcceptResponse {
                change: Some(routing::changed(&answered, &asked.act)),
                opening: packaged.as_ref().and_then(convert::opening),
                related_conversation_ids: related.into_iter().map(String::from).collect(),
            }))
        };
        told(&self.metrics, Rpc::Accept, accepted.await)
    }

    async fn decline(&self, request: Request<pb::DeclineRequest>) -> Result<Response<pb::DeclineResponse>, Status> {
        let deadline = deadline(request.metadata());
        let declined = async {
            let asked = routing::decline(request.into_inner())?;
            let answered = self.act(&asked, deadline).await?;
            Ok(Response::new(pb::DeclineResponse { change: Some(routing::changed(&answered, &asked.act)) }))
        };
        told(&self.metrics, Rpc::Decline, declined.await)
    }

    async fn resolve(&self, request: Request<pb::ResolveRequest>) -> Result<Response<pb::ResolveResponse>, Status> {
        let deadline = deadline(request.metadata());
        let resolved = async {
            let asked = routing::resolve(request.into_inner())?;
            let answered = self.act(&asked, deadline).await?;
            Ok(Response::new(pb::ResolveResponse { change: Some(routing::changed(&answered, &asked.act)) }))
        };
        told(&self.metrics, Rpc::Resolve, resolved.await)
    }

    async fn r#return(&self, request: Request<pb::ReturnRequest>) -> Result<Response<pb::ReturnResponse>, Status> {
        let deadline = deadline(request.metadata());
        let returned = async {
            let asked = routing::returned(request.into_inner(), |note| self.masked(note))?;
            let answered = self.act(&asked, deadline).await?;
            Ok(Response::new(pb::ReturnResponse { change: Some(routing::changed(&answered, &asked.act)) }))
        };
        told(&self.metrics, Rpc::Return, returned.await)
    }

    async fn abandon(&self, request: Request<pb::AbandonRequest>) -> Result<Response<pb::AbandonResponse>, Status> {
        let deadline = deadline(request.metadata());
        let abandoned = async {
            let asked = routing::abandon(request.into_inner())?;
            let answered = self.act(&asked, deadline).await?;
            Ok(Response::new(pb::AbandonResponse { change: Some(routing::changed(&answered, &asked.act)) }))
        };
        told(&self.metrics, Rpc::Abandon, abandoned.await)
    }

    async fn suggest(&self, request: Request<pb::SuggestRequest>) -> Result<Response<pb::SuggestResponse>, Status> {
        let deadline = deadline(request.metadata());
        let suggested = async {
            let asked = routing::suggest(request.into_inner(), |text| self.masked(text))?;
            self.act(&asked, deadline).await?;
            Ok(Response::new(pb::SuggestResponse {}))
        };
        told(&self.metrics, Rpc::Suggest, suggested.await)
    }

    async fn label(&self, request: Request<pb::LabelRequest>) -> Result<Response<pb::LabelResponse>, Status> {
        let deadline = deadline(request.metadata());
        let labelled = async {
            self.act(&routing::label(request.into_inner())?, deadline).await?;
            Ok(Response::new(pb::LabelResponse {}))
        };
        told(&self.metrics, Rpc::Label, labelled.await)
    }

    async fn link_ticket(&self, request: Request<pb::LinkTicketRequest>) -> Result<Response<pb::LinkTicketResponse>, Status> {
        let linked = async {
            let memory = memory(self.memory.as_ref())?;
            let request = request.into_inner();
            memory.link_ticket(&id(request.conversation_id, "conversation_id")?, &request.ticket_id).await?;
            Ok(Response::new(pb::LinkTicketResponse {}))
        };
        told(&self.metrics, Rpc::LinkTicket, linked.await)
    }
}
