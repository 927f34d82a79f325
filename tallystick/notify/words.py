"""What a message looks like: JSON for programs, lines for people, blocks for Slack. Pure.

Each says where the request can be read and which command looks at it: nothing in it approves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tallystick.notify.kinds import Kind
from tallystick.notify.notices import Notice
from tallystick.notify.outbox import Message
from tallystick.notify.told import shown, when
from tallystick.recorded import iso

MOST_PARTS = 20
"""In one message to Slack, which takes 50 blocks."""
LONGEST_BLOCK = 2_900
"""Characters; Slack takes 3,000."""


def title(message: Message) -> str:
    """One line."""
    if message.alone:
        return message.notices[0].told.title
    counts: dict[Kind, int] = dict(message.more)
    for notice in message.notices:
        counts[notice.told.kind] = counts.get(notice.told.kind, 0) + 1
    return f"{message.count} notices: {', '.join(f'{n} {kind}' for kind, n in sorted(counts.items()))}"


def payload(message: Message, door: str) -> bytes:
    """As Standard Webhooks want it: type, timestamp, data."""
    if message.alone:
        return _json(_event(message.notices[0], door))
    data = {
        "text": title(message),
        "notices": [_event(n, door) for n in message.notices],
        "not_listed": {kind.value: n for kind, n in message.more.items()},
    }
    return _json({"type": "digest", "timestamp": iso(message.at_us), "data": data})


def text(message: Message, door: str) -> str:
    """For a mailbox."""
    return "\n\n".join("\n".join(lines) for lines in _parts(message, door)) + "\n"


def slack(message: Message, door: str) -> bytes:
    """Texts are plain: Slack makes no link, mention or markup of them. Links are ours, and nothing is a button."""
    parts = list(_parts(message, door))
    left = len(parts) - MOST_PARTS
    blocks = [_block(lines) for lines in (parts if left <= 0 else parts[:MOST_PARTS])]
    links = [
        f"<{_link(n, door)}|{_escaped(shown(n.told.about))}>" for n in message.notices[:MOST_PARTS] if n.told.about
    ]
    if left > 0:
        blocks.append(_block(_rest(left, door)))
    if links:
        linked = {"type": "mrkdwn", "text": " ".join(links), "verbatim": True}
        blocks.append({"type": "context", "elements": [linked]})
    return _json({"text": _escaped(title(message)), "blocks": blocks, "unfurl_links": False, "unfurl_media": False})


def _event(notice: Notice, door: str) -> dict[str, Any]:
    told = notice.told
    links = {"link": _link(notice, door), "look": _look(notice)} if told.about else {}
    data = {"id": notice.id, "text": told.title, **told.facts, **links}
    return {"type": told.kind.value, "timestamp": iso(notice.at_us), "data": data}


def _parts(message: Message, door: str) -> Iterator[list[str]]:
    if not message.alone:
        yield [title(message)]
    for notice in message.notices:
        told = notice.told
        lines = [*told.lines, ("at", when(notice.at_us))]
        if told.about:
            lines += [("request", shown(told.about)), ("link", _link(notice, door)), ("look", _look(notice))]
        if told.kind is Kind.OPENED:
            lines.append(("decide", f"tallystick approve {shown(told.about)} --reason '…'   (or deny)"))
        yield [told.title, *(f"{label:<11} {value}" for label, value in lines)]
    if message.more:
        yield _rest(sum(message.more.values()), door)


def _rest(count: int, door: str) -> list[str]:
    return [f"… and {count} more that are not listed: tallystick requests, tallystick events; the door is {door}"]


def _link(notice: Notice, door: str) -> str:
    return f"{door.rstrip('/')}/approvals/{quote(notice.told.about, safe='')}"


def _look(notice: Notice) -> str:
    return f"tallystick requests {shown(notice.told.about)}"


def _block(lines: list[str]) -> dict[str, Any]:
    whole = "\n".join(lines)
    fit = whole if len(whole) <= LONGEST_BLOCK else f"{whole[:LONGEST_BLOCK]}…"
    return {"type": "section", "text": {"type": "plain_text", "text": fit, "emoji": False}}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json(plain: Any) -> bytes:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
