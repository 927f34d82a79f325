"""What a replay says of moments that no command shows."""

from __future__ import annotations

from schemas.ids import SessionId
from schemas.records import MaskingFailed
from tallystick.recorded import Content
from tallystick.replay import Moment, lines, of_session

SESSION = SessionId("db.0.aaaaaaaa/0/1")


def test_a_masking_that_failed_stands_in_its_session() -> None:
    ours, others = MaskingFailed(SESSION, 3, "jwt", 2), MaskingFailed(SessionId("db.0.aaaaaaaa/0/2"), 1, "jwt", 1)
    moments = [Moment(n, n, body, Content.NONE, None) for n, body in enumerate((others, ours))]
    (found,) = of_session(moments, SESSION)
    assert lines(found) == ["00:00:00.000  masking failed: 2 values of command 3 withheld, jwt failed on them"]
