"""`mask`: what would be kept of a text. With a key that is thrown away: tokens are equal within one run, and nowhere
else."""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.terminal import fail, note, say

if TYPE_CHECKING:
    from mask.masker import Masked, Masker

LARGEST_LINE = 16 * 1024 * 1024
DEEPEST = 100
_PROBE = "a probe of a name"


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: echo 'mail ann@example.com' | tallystick mask")(mask)


def mask(
    as_json: Annotated[bool, typer.Option("--json", help='Lines in are {"value": …}, lines out JSON too.')] = False,
    policy: Annotated[
        Path | None, typer.Option(help="A policy file, for what it says of masking; else the default.")
    ] = None,
    detectors: Annotated[
        bool, typer.Option("--detectors", help="Only say which version this is, and which detectors run.")
    ] = False,
) -> None:
    """Text on stdin, masked text on stdout: as the recorder's masker would keep it."""
    from mask.masker import engine, masker_for, table
    from schemas.ids import SessionId

    if detectors:
        detect = _rules(policy)[1]
        say("\n".join((engine(detect), *(each.name for each in table(detect)))))
        return
    masker = masker_for(secrets.token_bytes(32), *_rules(policy))(SessionId("stdin"))
    if as_json:
        while line := sys.stdin.buffer.readline(LARGEST_LINE + 1):
            if line.strip():
                say(json.dumps(_masked(masker, _value(line))))
        return
    masked = masker.text(sys.stdin.buffer.read().decode("utf-8", "replace"))
    sys.stdout.write(masked.text or "")
    sys.stdout.flush()
    if masked.withheld:
        note(f"withheld: {masked.withheld} (what cannot be read, or is too much, is never passed)")


def _rules(policy: Path | None) -> Any:
    from policy import rules
    from policy.document import RulesInvalid

    try:
        text = rules.default_text() if policy is None else policy.read_text(encoding="utf-8")
        found = rules.parse(text)
        return found.field_rules, found.detect
    except (OSError, UnicodeDecodeError) as e:
        fail(f"{policy}: cannot be read ({type(e).__name__})")
    except RulesInvalid as e:
        fail(f"{policy}: {e}")


def _value(line: bytes) -> Any:
    if len(line) > LARGEST_LINE:
        fail(f"a line of more than {LARGEST_LINE} bytes")
    try:
        return json.loads(line)["value"]
    except (ValueError, KeyError, TypeError, RecursionError):
        fail('with --json each line is {"value": …}')


def _masked(masker: Masker, value: Any) -> dict[str, Any]:
    walk = _Walk(masker)
    masked = walk.value(value, "$", "", 0)
    return {"value": masked, "found": walk.found, "withheld": walk.withheld}


@dataclass(slots=True)
class _Walk:
    """Through one JSON value: each text by the name of its member; paths as in JSONPath (RFC 9535)."""

    masker: Masker
    found: list[dict[str, str]] = field(default_factory=list)
    withheld: bool = False

    def value(self, value: Any, path: str, name: str, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._take(self.masker.text(value, name), path)
        if isinstance(value, int | float):
            text = repr(value)
            masked = self._take(self.masker.text(text, name), path)
            return value if masked == text else masked
        if depth == DEEPEST or (name and self.masker.text(_PROBE, name).text != _PROBE):
            return self._whole(value, path, name)
        if isinstance(value, list):
            return [self.value(item, f"{path}[{n}]", name, depth + 1) for n, item in enumerate(value)]
        shown = {}
        for key, item in value.items():
            masked_key = self._take(self.masker.text(key), path)
            inner = f"{path}.{masked_key}" if masked_key.isidentifier() else f"{path}[{json.dumps(masked_key)}]"
            shown[masked_key] = self.value(item, inner, key, depth + 1)
        return shown

    def _whole(self, value: Any, path: str, name: str) -> str:
        """By the name of the member that holds it, or because it is too deep to be looked through."""
        try:
            text = json.dumps(value)
        except RecursionError:
            text = ""
        self.withheld = self.withheld or not name
        return self._take(self.masker.text(text, name), path) if name and text else f"withheld:{len(text)}"

    def _take(self, masked: Masked, path: str) -> str:
        for found in masked.found:
            self.found += [{"type": found.type, "path": path}] * found.count
        self.withheld = self.withheld or bool(masked.withheld)
        return masked.text or ""
