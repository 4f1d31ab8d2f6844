"""Scores messages with a running `baton serve`, the way a chat backend would.

Needs the packages of requirements.txt and the stubs that generate.sh makes:

    PYTHONPATH=STUBS python3 client.py 127.0.0.1:50051
"""

import argparse
import sys
import time

import grpc
from baton.v1 import scoring_pb2 as pb
from baton.v1.scoring_pb2_grpc import ScoringServiceStub

# One message has this long for everything, a second attempt included: then the chat goes on without signals.
SCORE_SECONDS = 2.0
# The whole stream of this example. A backend that keeps a stream open sets none, and watches each message by itself.
STREAM_SECONDS = 30.0
# How long to wait for a server that is still starting; without wait_for_ready the first call would fail at once.
CONNECT_SECONDS = 10.0

MESSAGES = {
    "m1": "I was charged twice for my order",
    "m2": "this is the third time I explain it, let me talk to a human",
    "m3": "thanks, that solved it",
}


def retry_after(error: grpc.RpcError) -> float | None:
    """Seconds after which the server wants to be asked again; None when asking again would not help."""
    if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    for key, value in error.trailing_metadata() or ():
        if key == "retry-after-ms":
            return int(value) / 1000
    return None


def score(stub: ScoringServiceStub, request: pb.ScoreRequest, seconds: float) -> pb.ScoreResponse:
    """Scores one message within `seconds`. A server that is overloaded says when to try again: that is done once."""
    end = time.monotonic() + seconds
    try:
        # The server sees the deadline too: it refuses a message it cannot reach in time, and drops one nobody waits for.
        return stub.Score(request, timeout=seconds)
    except grpc.RpcError as error:
        wait = retry_after(error)
        if wait is None or time.monotonic() + wait >= end:
            raise
        time.sleep(wait)
    return stub.Score(request, timeout=end - time.monotonic())


def labelled(classification: pb.Classification) -> str:
    """The label with its probability, or why there is none: a signal that is absent is never a zero."""
    if classification.absence != pb.ABSENCE_REASON_UNSPECIFIED:
        return "absent, " + pb.AbsenceReason.Name(classification.absence)
    if not classification.HasField("label"):
        return "out of scope"
    return f"{classification.label} {classification.confidence:.2f}"


def summary(signals: pb.Signals) -> str:
    """What a person would want to see first."""
    found = [pb.LexicalKind.Name(finding.kind).removeprefix("LEXICAL_KIND_").lower() for finding in signals.lexical]
    parts = [
        f"sentiment {labelled(signals.sentiment)}",
        f"intent {labelled(signals.intent)}",
        f"act {labelled(signals.act)}",
        f"emotion {' '.join(signals.emotion.present) or '-'}",
        f"rules {' '.join(found) or '-'}",
    ]
    return "; ".join(parts)


def stream(stub: ScoringServiceStub, messages: dict[str, str]) -> bool:
    """Scores messages over one stream; answers come in any order, so each is found by its id. False if one has no answer."""
    requests = (pb.ScoreStreamRequest(id=id, request=pb.ScoreRequest(text=text)) for id, text in messages.items())
    answered = 0
    for answer in stub.ScoreStream(requests, timeout=STREAM_SECONDS):
        # One bad or refused message is an error of its own; the stream and the other messages go on.
        if answer.result.WhichOneof("outcome") == "response":
            answered += 1
            print(f"{answer.id}: {summary(answer.result.response.signals)}")
        else:
            error = answer.result.error
            again = f"; try again in {error.retry_after_ms} ms" if error.HasField("retry_after_ms") else ""
            print(f"{answer.id}: no answer: {error.message}{again}", file=sys.stderr)
    return answered == len(messages)


def main() -> int:
    parser = argparse.ArgumentParser(description="Scores sample messages with a running `baton serve`.")
    parser.add_argument("address", help="what `baton serve` printed, such as 127.0.0.1:50051 or unix:/run/baton.sock")
    address = parser.parse_args().address

    # One channel for the whole process: it connects again by itself, and all threads may share it.
    with grpc.insecure_channel(address) as channel:
        stub = ScoringServiceStub(channel)
        try:
            info = stub.GetInfo(pb.GetInfoRequest(), timeout=CONNECT_SECONDS, wait_for_ready=True)
            print(f"model {info.model_name} {info.model_version} on {info.engine}, server {info.server_version}")
            print(f"heads {' '.join(head.name for head in info.heads)}; texts up to {info.limits.text_bytes_max} bytes")

            # With the bot's last turn, `act` says what the customer makes of it.
            request = pb.ScoreRequest(text="no, leave it as it is", previous_bot_text="Shall I cancel the order?", priority=pb.PRIORITY_LIVE)
            response = score(stub, request, SCORE_SECONDS)
            print(f"reply: {summary(response.signals)}")

            return 0 if stream(stub, MESSAGES) else 1
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
