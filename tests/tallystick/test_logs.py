"""A log line never holds an exception's text or locals."""

import json

import structlog

from tallystick import logs


def test_an_exception_is_its_type_and_place(capsys: object) -> None:
    event = {"event": "x"}
    try:
        raise ValueError("4111111111111111")
    except ValueError as error:
        out = logs.place_only(None, "error", {**event, "exc_info": error})
    text = json.dumps(out)
    assert "4111" not in text
    assert out["error"] == "ValueError"
    assert str(out["at"]).startswith("test_logs.py:")
    structlog.reset_defaults()
