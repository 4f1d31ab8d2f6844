"""Observes a conversation with a running `baton serve`, the way a chat backend would.

Needs the packages of requirements.txt and the stubs that generate.sh makes:

    PYTHONPATH=STUBS python3 conversation.py 127.0.0.1:50051
"""

import argparse
import sys
import time
import uuid

import grpc
from baton.v1 import conversation_pb2 as pb
from baton.v1.conversation_pb2_grpc import ConversationServiceStub

# One message has this long, attempts included: then the chat goes on, and the message is sent again before the next one.
OBSERVE_SECONDS = 2.0
# How long to wait for a server that is still starting.
CONNECT_SECONDS = 10.0
# The same call may be made again after these: nothing happens twice.
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED, grpc.StatusCode.RESOURCE_EXHAUSTED)

MESSAGES = [
    (pb.SPEAKER_CUSTOMER, "I was charged twice for my order"),
    (pb.SPEAKER_BOT, "I am sorry to hear that. Shall I send you the refund form?"),
    (pb.SPEAKER_CUSTOMER, "no. this is the third time I explain it, let me talk to a human"),
]


def told(error: grpc.RpcError, key: str) -> int | None:
    """A number that the server says in the metadata of an error."""
    return next((int(value) for name, value in error.trailing_metadata() or () if name == key), None)


def observe(stub: ConversationServiceStub, messages: list[pb.ObserveRequest]) -> pb.ObserveResponse:
    """Observes the last of a conversation's messages. Where the server misses earlier ones, they are sent first."""
    end = time.monotonic() + OBSERVE_SECONDS
    at = len(messages) - 1
    while True:
        try:
            response = stub.Observe(messages[at], timeout=max(end - time.monotonic(), 0.001))
        except grpc.RpcError as error:
            expected = told(error, "expected-sequence")
            wait = (told(error, "retry-after-ms") or 20) / 1000
            if expected is not None and expected <= at:
                at = expected - 1
            elif error.code() in AGAIN and time.monotonic() + wait < end:
                time.sleep(wait)
            else:
                raise
            continue
        if at == len(messages) - 1:
            return response
        at += 1


def act(response: pb.ObserveResponse) -> None:
    """Does what the decision asks for, in its order. Here it is printed."""
    for effect in response.decision.effects:
        match effect.WhichOneof("kind"):
            case "stop_bot":
                print("  the bot is silent from now on")
            case "start_bot":
                print("  the bot speaks again")
            case "ask_bot":
                print("  the bot tries once more")
            case "tell_customer":
                print(f"  the customer hears message {effect.tell_customer.message_id}")
            case "request_handoff":
                print(f"  the conversation goes into queue {effect.request_handoff.queue_id}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Observes a sample conversation with a running `baton serve`.")
    parser.add_argument("address", help="what `baton serve` printed, such as 127.0.0.1:50051 or unix:/run/baton.sock")
    address = parser.parse_args().address
    conversation = f"example-{uuid.uuid4()}"

    # One channel for the whole process: it connects again by itself, and all threads may share it.
    with grpc.insecure_channel(address) as channel:
        stub = ConversationServiceStub(channel)
        try:
            facts = pb.Facts(account_name="Fennimore Freight", customer_name="Dana Okafor", tier="pro", open_tickets=1)
            lookup = pb.PutFactsRequest(lookup_id="crm-1", conversation_id=conversation, customer_id="dana", facts=facts)
            stub.PutFacts(lookup, timeout=CONNECT_SECONDS, wait_for_ready=True)

            messages = []
            for sequence, (speaker, text) in enumerate(MESSAGES, start=1):
                messages.append(
                    pb.ObserveRequest(
                        conversation_id=conversation,
                        message_id=f"m{sequence}",
                        sequence=sequence,
                        speaker=speaker,
                        text=text,
                        customer_id="dana",
                        bot_confidence=0.8 if speaker == pb.SPEAKER_BOT else None,
                    )
                )
                response = observe(stub, messages)
                action = pb.DecisionAction.Name(response.decision.action).removeprefix("DECISION_ACTION_").lower()
                by = f" by {response.decision.trigger_id}" if response.decision.HasField("trigger_id") else ""
                print(f"{pb.Speaker.Name(speaker).removeprefix('SPEAKER_').lower()} {sequence}: {action}{by}")
                act(response)

            explained = stub.ExplainDecision(pb.ExplainDecisionRequest(conversation_id=conversation), timeout=OBSERVE_SECONDS)
            print(f"why: {explained.words.splitlines()[0]}")
            return 0
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
