"""The approvals role's HTTP door: where reviewers read and vote, and a waiting CI job asks how it stands.

    GET  /approvals               open and lately ended requests       a reviewer's signed request
    GET  /approvals/{id}          all that a reviewer should know      a reviewer's signed request
    GET  /approvals/{id}/state    the state, one word                  nobody's (the id is unguessable)
    POST /approvals/{id}/votes    a Vote as JSON; 202                  the vote's own signature

A signed request is `Authorization: Tallystick <name> <unix seconds> <base64 Ed25519>`
over "METHOD path seconds" (domain REVIEWER_REQUEST), within five minutes of our clock.
The door decides nothing: a vote goes to the topic, and the step and every gateway
check it again. It logs no path, body or name.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from approvals.machine import glass_full
from approvals.requests import objects, takes
from approvals.state import Request, State
from approvals.votes import CLOCKS_APART_US, LONGEST_REASON, Directory
from bus.topics import APPROVALS, BusDown, Producer
from schemas.codec import encode
from schemas.ids import ApprovalId, SessionId
from schemas.judging import Reviewer
from schemas.records import Choice, Vote
from seal.box import CannotOpen
from seal.content import ContentGone, decrypt
from seal.sign import BadSignature, Domain, Signs, check
from stream.places import hold_place

LARGEST_BODY = 16 * 1024
CLOCKS_APART_S = CLOCKS_APART_US // 1_000_000
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]

ContentKey = Callable[[SessionId], bytes]
"""The session's content key; raises ContentGone."""
Explain = Callable[[str], dict[str, str]]
"""What a signal means, for a reviewer: reason, what to do instead, false positives."""


class Refuse(Exception):
    """An answer that says no, in words of ours."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def authorization(signer: Signs, method: str, path: str, seconds: int) -> str:
    """The header's value, as a reviewer's program makes it."""
    signature = signer.sign(Domain.REVIEWER_REQUEST, _signed(method, path, seconds))
    return f"Tallystick {signer.name} {seconds} {base64.b64encode(signature).decode()}"


def vote_json(vote: Vote) -> dict[str, Any]:
    """The body of POST …/votes."""
    return {
        "request": vote.request,
        "commitment": vote.commitment.hex(),
        "reviewer": vote.reviewer,
        "choice": vote.choice.value,
        "reason": vote.reason,
        "reason_sha256": vote.reason_sha256.hex(),
        "deadline_us": vote.deadline_us,
        "cast_us": vote.cast_us,
        "signature": base64.b64encode(vote.signature).decode(),
        "uses": vote.uses,
        "shape": None if vote.shape is None else vote.shape.hex(),
    }


class Door:
    """`app` is the ASGI application. `state` gives the step's state of this moment."""

    def __init__(
        self,
        state: Callable[[], State],
        producer: Producer,
        directory: Directory,
        content_key: ContentKey,
        explain: Explain,
        now: Callable[[], float] = time.time,
        more: Sequence[Route] = (),
    ) -> None:
        self._state, self._producer, self._directory = state, producer, directory
        self._content_key, self._explain, self._now = content_key, explain, now
        self.app = Starlette(
            routes=[
                Route("/approvals", self._list),
                Route("/approvals/{id}", self._detail),
                Route("/approvals/{id}/state", self._standing),
                Route("/approvals/{id}/votes", self._vote, methods=["POST"]),
                *more,
            ],
            middleware=[Middleware(_Headers)],
            exception_handlers={Refuse: _refused},
        )

    async def _list(self, http: HttpRequest) -> Response:
        self._reviewer(http)
        requests = sorted(self._state().requests.values(), key=_first)
        return JSONResponse({"approvals": [_summary(request) for request in requests]})

    async def _detail(self, http: HttpRequest) -> Response:
        self._reviewer(http)
        request = self._found(http)
        raised = request.raised
        content = self._content(request)
        return JSONResponse(
            _summary(request)
            | {
                "commitment": raised.commitment.hex(),
                "shape": None if raised.shape is None else raised.shape.hex(),
                "session": raised.session,
                "command": content.get("command"),
                "free": content.get("free"),
                "effects_complete": raised.effects_complete,
                "signals": [{"id": signal} | self._explain(signal) for signal in raised.signals],
                "policy_version": raised.policy_version,
                "now_us": self._state().now_us,
                "votes": [
                    {
                        "reviewer": v.reviewer,
                        "choice": v.choice.value,
                        "reason": v.reason,
                        "cast_us": v.cast_us,
                        "uses": v.uses,
                        "any_values": v.shape is not None,
                    }
                    for v in _all_votes(request)
                ],
            }
        )

    async def _standing(self, http: HttpRequest) -> Response:
        request = self._found(http)
        return JSONResponse({"id": request.id, "state": request.state.value, "expires_us": request.expires_us})

    async def _vote(self, http: HttpRequest) -> Response:
        request = self._found(http)
        vote = read_vote(await read_body(http))
        if not takes(request, vote.choice):
            what = {Choice.REVOKE: "take back", Choice.ACCEPT: "review", Choice.OBJECT: "review"}
            words = what.get(vote.choice, "vote on")
            raise Refuse(409, f"the request is {request.state.value}: there is nothing to {words}")
        if vote.choice is Choice.BREAK_GLASS and glass_full(self._state().requests.values()):
            raise Refuse(409, "too much broken glass waits for a review: tallystick requests lists it")
        why = objects(request, vote, self._directory, self._state().now_us)
        if why is not None:
            raise Refuse(403, f"the vote does not count: {why.value}")
        try:
            await self._producer.send(APPROVALS, [(request.raised.recorder.encode(), encode(vote))])
        except BusDown:
            raise Refuse(503, "the bus is down: send the vote again") from None
        return JSONResponse({"accepted": True}, status_code=202)

    # --- who, which, what ------------------------------------------------------------

    def _reviewer(self, http: HttpRequest) -> Reviewer:
        words = http.headers.get("authorization", "")[:1024].split(" ")
        refused = Refuse(401, "sign the request with a reviewer's key: tallystick requests --key FILE")
        if len(words) != 4 or words[0] != "Tallystick" or not (words[2].isascii() and words[2].isdigit()):
            raise refused
        name, seconds = words[1], int(words[2])
        reviewer = self._directory.get(name)
        if reviewer is None or abs(self._now() - seconds) > CLOCKS_APART_S:
            raise refused
        try:
            signature = base64.b64decode(words[3], validate=True)
            check(reviewer.public_key, Domain.REVIEWER_REQUEST, _signed(http.method, http.url.path, seconds), signature)
        except (BadSignature, binascii.Error, ValueError):
            raise refused from None
        return reviewer

    def _found(self, http: HttpRequest) -> Request:
        request = self._state().requests.get(ApprovalId(http.path_params["id"]))
        if request is None:
            raise Refuse(404, "no approval request of this id is remembered")
        return request

    def _content(self, request: Request) -> dict[str, Any]:
        """The masked command, and which of its values may be left free; nothing where its content was erased."""
        raised = request.raised
        try:
            plain = decrypt(self._content_key(raised.session), hold_place(raised.hold), raised.content)
        except (ContentGone, CannotOpen):
            return {}
        found: dict[str, Any] = json.loads(plain)
        return found


def _first(request: Request) -> tuple[bool, bool, int, ApprovalId]:
    """Broken glass that waits for its review, what is open, the rest; the newest first."""
    return not request.unreviewed, not request.live, -request.opened_us, request.id


def _signed(method: str, path: str, seconds: int) -> bytes:
    return f"{method} {path} {seconds}".encode()


def _all_votes(request: Request) -> tuple[Vote, ...]:
    reviewed = request.review.vote if request.review is not None else None
    return request.votes if reviewed is None else (*request.votes, reviewed)


def _summary(request: Request) -> dict[str, Any]:
    raised, review = request.raised, request.review
    rows = {size.relation: size.rows for size in raised.sizes}
    return {
        "id": request.id,
        "state": request.state.value,
        "subject": raised.subject,
        "caused_by": list(raised.caused_by),
        "target": raised.target,
        "environment": raised.environment,
        "effects": [
            {"effect": e.effect, "relation": e.relation, "relation_rows": rows.get(e.relation)} for e in raised.effects
        ],
        "score": raised.score,
        "band": raised.band.value,
        "rule": {
            "name": raised.rule.name,
            "groups": list(raised.rule.groups),
            "quorum": raised.rule.quorum,
            "reason_required": raised.rule.reason_required,
            "standing_s": raised.rule.standing_s,
            "standing_uses": raised.rule.standing_uses,
            "any_values": raised.rule.any_values,
            "break_glass": raised.rule.break_glass,
        },
        "uses": {
            "allowed": request.allowed,
            "kept": request.kept,
            "running": len(request.running),
            "any_values": request.any_values,
        },
        "review": None
        if review is None
        else {
            "by": review.by,
            "due_us": review.due_us,
            "overdue": review.overdue,
            "said": None if review.vote is None else review.vote.choice.value,
        },
        "opened_us": request.opened_us,
        "expires_us": request.expires_us,
        "waiting": len(request.waiting),
    }


async def read_body(http: HttpRequest) -> bytes:
    body = b""
    async for part in http.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise Refuse(413, f"a vote has at most {LARGEST_BODY} bytes")
    return body


def read_vote(body: bytes) -> Vote:
    try:
        plain = json.loads(body)
        vote = Vote(
            request=ApprovalId(_text(plain["request"])),
            commitment=bytes.fromhex(plain["commitment"]),
            reviewer=_text(plain["reviewer"]),
            choice=Choice(plain["choice"]),
            reason_sha256=bytes.fromhex(plain["reason_sha256"]),
            deadline_us=_number(plain["deadline_us"]),
            cast_us=_number(plain["cast_us"]),
            signature=base64.b64decode(plain["signature"], validate=True),
            reason=_text(plain["reason"]),
            uses=_number(plain.get("uses", 1)),
            shape=None if plain.get("shape") is None else bytes.fromhex(plain["shape"]),
        )
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError):
        raise Refuse(400, "the body is not a vote: see tallystick approve") from None
    if len(vote.reason) > LONGEST_REASON:
        raise Refuse(400, f"the reason has more than {LONGEST_REASON} characters")
    return vote


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is wanted")
    value.encode()  # a lone surrogate is no text
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("a count of microseconds is wanted")
    return value


async def _refused(http: HttpRequest, exc: Exception) -> Response:
    status = exc.status if isinstance(exc, Refuse) else 500
    return JSONResponse({"error": str(exc)}, status_code=status)


class _Headers:
    """Security headers on every answer, also on those that Starlette makes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)
