"""The part of the approvals door where a suspension is lifted.

POST /suspensions/{id}/votes    the signed suspension and the vote, as JSON; 202
"""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bus.topics import APPROVALS, BusDown, Producer
from schemas.codec import CodecError, decode, encode
from schemas.records import Resume, Suspended, Vote
from stream.approvals_door import Refuse, read_body, read_vote, vote_json
from stream.resuming import Resuming


def resume_json(suspended: Suspended, vote: Vote) -> dict[str, object]:
    """The body."""
    return {"suspended": encode(suspended).hex(), "vote": vote_json(vote)}


def resume_route(resuming: Resuming, producer: Producer, now_us: Callable[[], int]) -> Route:
    async def take(http: HttpRequest) -> Response:
        body = await read_body(http)
        try:
            plain = json.loads(body)
            suspended = decode(bytes.fromhex(plain["suspended"]))
            vote = read_vote(json.dumps(plain["vote"]).encode())
        except (CodecError, KeyError, TypeError, ValueError, RecursionError):
            suspended = None
        if not isinstance(suspended, Suspended) or suspended.suspension != http.path_params["id"]:
            raise Refuse(400, "the body is not a suspension and a vote: see tallystick resume")
        given = Resume(suspended, vote)
        if fault := resuming.fault(given, now_us()):
            raise Refuse(403, fault)
        try:
            await producer.send(APPROVALS, [(suspended.suspension.encode(), encode(given))])
        except BusDown:
            raise Refuse(503, "the bus is down: send the vote again") from None
        return JSONResponse({"accepted": True}, status_code=202)

    return Route("/suspensions/{id}/votes", take, methods=["POST"])
