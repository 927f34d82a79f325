"""Who may approve what is held, and how: the policy's `approvers` and `reviewers`, checked when they are read.

    approvers:
      jobs:
        groups: [dba]                   # who may vote
        quorum: 2                       # how many of them it takes
        expires: 1h                     # of a request, and of an approval that is not used
        reason_required: true
        standing: {max_days: 31, max_uses: 40, any_values: true}
        break_glass: {review_within: 8h, own: false}

Without `standing` an approval is for one use; without `break_glass` nobody approves alone.
"""

from __future__ import annotations

import base64
import binascii
from typing import TypedDict

from policy.document import Value
from schemas.judging import Reviewer
from schemas.records import ApproverRule

DEFAULT_APPROVERS = ApproverRule("default", ("reviewers",), 1, 3600)
MOST_DAYS = 366
MOST_USES = 500
"""Of a standing approval. Each use is remembered as long as it lives."""
REVIEW_WITHIN_S = 86400

_LONGEST = 30 * 86400
_KNOWN = ("groups", "quorum", "expires", "reason_required", "standing", "break_glass")


class _Standing(TypedDict, total=False):
    standing_s: int
    standing_uses: int
    any_values: bool


class _Glass(TypedDict, total=False):
    break_glass: bool
    break_glass_own: bool
    review_s: int


def read_approvers(place: Value) -> tuple[ApproverRule, ...]:
    """Raises RulesInvalid."""
    found = []
    for name, item in place.pairs().items():
        parts = item.fields(_KNOWN, ("groups", "quorum", "expires"))
        groups, quorum = parts["groups"].texts(), parts["quorum"].number()
        if not groups:
            raise parts["groups"].invalid("names no group, so nobody could approve")
        if quorum < 1:
            raise parts["quorum"].invalid("must be at least 1")
        required = parts["reason_required"].truth() if "reason_required" in parts else False
        standing = _standing(parts["standing"]) if "standing" in parts else {}
        glass = _glass(parts["break_glass"]) if "break_glass" in parts else {}
        found.append(
            ApproverRule(name, groups, quorum, parts["expires"].seconds(_LONGEST), required, **standing, **glass)
        )
    return tuple(found)


def _standing(place: Value) -> _Standing:
    parts = place.fields(("max_days", "max_uses", "any_values"), ("max_days", "max_uses"))
    return {
        "standing_s": _between(parts["max_days"], 1, MOST_DAYS) * 86400,
        "standing_uses": _between(parts["max_uses"], 2, MOST_USES),
        "any_values": parts["any_values"].truth() if "any_values" in parts else False,
    }


def _glass(place: Value) -> _Glass:
    """`true` is the mapping with its defaults."""
    if not place.is_mapping():
        return {"break_glass": True, "review_s": REVIEW_WITHIN_S} if place.truth() else {}
    parts = place.fields(("own", "review_within"))
    return {
        "break_glass": True,
        "break_glass_own": parts["own"].truth() if "own" in parts else False,
        "review_s": parts["review_within"].seconds(_LONGEST) if "review_within" in parts else REVIEW_WITHIN_S,
    }


def _between(place: Value, least: int, most: int) -> int:
    number = place.number()
    if not least <= number <= most:
        raise place.invalid(f"must be {least} to {most}")
    return number


def read_reviewers(place: Value) -> tuple[Reviewer, ...]:
    """One person is one entry with one key: two would be a quorum of one. Raises RulesInvalid."""
    found: list[Reviewer] = []
    for item in place.items():
        parts = item.fields(("name", "key", "groups", "identities", "break_glass"), ("name", "key", "groups"))
        name, key = parts["name"].text(), _key(parts["key"])
        if any(name == each.name for each in found):
            raise parts["name"].invalid(f"{name!r} is listed twice")
        if any(key == each.public_key for each in found):
            raise parts["key"].invalid("another reviewer has this key")
        identities = parts["identities"].texts() if "identities" in parts else ()
        glass = parts["break_glass"].truth() if "break_glass" in parts else False
        found.append(Reviewer(name, key, parts["groups"].texts(), identities, glass))
    return tuple(found)


def _key(place: Value) -> bytes:
    scheme, _, encoded = place.text().partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if scheme != "ed25519" or len(key) != 32:
        raise place.invalid('must be "ed25519:" and 32 bytes in base64 (see `tallystick keys show`)')
    return key


def check_people(approvers: tuple[ApproverRule, ...], reviewers: tuple[Reviewer, ...], place: Value) -> None:
    """Whether there are people for what the rules ask. Raises RulesInvalid."""
    able_alone = [each.name for each in reviewers if each.break_glass]
    for rule in approvers:
        able = [each.name for each in reviewers if set(each.groups) & set(rule.groups)]
        if len(able) < rule.quorum:
            raise place.invalid(f"{rule.name!r} needs {rule.quorum} reviewers and only {len(able)} are in its groups")
        if rule.break_glass and not able_alone:
            raise place.invalid(f"{rule.name!r} lets the glass be broken and no reviewer has `break_glass: true`")
        for name in able_alone if rule.break_glass else ():
            if not set(able) - {name}:
                raise place.invalid(
                    f"{rule.name!r}: if {name!r} breaks the glass, nobody else in its groups could review"
                )
