"""What notices are of: the words of `on = [...]` in the config, and the `type` of a webhook's message."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    OPENED = "request.opened"
    APPROVED = "request.approved"
    DENIED = "request.denied"
    REVOKED = "request.revoked"
    EXPIRED = "request.expired"  # nobody decided in time, or the approval was not used in time
    CANCELLED = "request.cancelled"  # the client took its command back
    SUPERSEDED = "request.superseded"  # the policy asks for other votes by now
    USED = "request.used"  # it ran, or nobody can know that it did not
    RETURNED = "request.returned"  # it was undone, or never ran: the approval may be used again
    BREAK_GLASS = "request.break-glass"  # one person alone let it through
    REVIEWED = "request.reviewed"  # another person's word on that
    ALERT = "alert"  # an identity does what is not usual for it
    RULE = "rule"  # a rule of the policy says `then: alert` of a command
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    ALARM = "alarm"  # Tallystick is ill, or its record is
    TEST = "test"  # `tallystick notify test`
