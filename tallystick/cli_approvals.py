"""`requests` for a reviewer, `wait` for the job whose command is held; and what these share with `cli_votes.py`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, note, passphrase, say

if TYPE_CHECKING:
    from seal.sign import Signs
    from tallystick.asked import Asked
    from tallystick.door import DoorClient

REFUSED, UNREACHABLE = 1, 1
DENIED, ENDED, NO_ANSWER = 3, 4, 5
EXITS = {
    **{"approved": 0, "reserved": 0, "used": 0, "denied": DENIED, "revoked": DENIED},
    **{"expired": ENDED, "cancelled": ENDED, "superseded": ENDED},
}
POLL_S = 0.5
KNOWN_WITHIN_S = 20.0  # a client is told its request's id before the door knows of it
REACHED_WITHIN_S = 60.0

Request = Annotated[str, typer.Argument(metavar="REQ", help="The request: req-…")]
AGENT = "ssh-agent"
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="TALLYSTICK_REVIEWER_KEY",
        help="Your key file, or ssh-agent[:COMMENT]; else ~/.tallystick/reviewer.key",
    ),
]
Name = Annotated[
    str | None,
    typer.Option(envvar="TALLYSTICK_REVIEWER", help="Your name in the policy; else found by your key."),
]
Url = Annotated[str | None, typer.Option(help="The approvals door; else the config's.")]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="TALLYSTICK_CA", help="Who vouches for the door's certificate; else the config's."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: tallystick requests --key alice.key")(requests)
    app.command(epilog="Example: tallystick wait req-abcdefghijklmnop --timeout 600 && psql -f migration.sql")(wait)


# --- reading --------------------------------------------------------------------------


def requests(
    request: Annotated[str | None, typer.Argument(metavar="[REQ]", help="One request, whole.")] = None,
    key: KeyFile = None,
    name: Name = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Lists what waits for a reviewer, and what lately ended; with REQ, all that there is to know of one."""
    from tallystick.asked import HEAD, row, shown
    from tallystick.cli_events import columns
    from tallystick.recorded import as_json as json_line

    door, _ = as_reviewer(key, name, config, url, ca)
    with speaking():
        if request is not None:
            plain = door.request(checked(request))
            lines = [json_line(plain)] if as_json else shown(read(plain, request), width(), most=10**9)
        else:
            listed = door.requests()
            lines = list(map(json_line, listed)) if as_json else columns([HEAD, *map(row, listed)])
            if not listed:
                note("nothing waits, and nothing ended lately")
                return
    for line in lines:
        say(line)


# --- waiting --------------------------------------------------------------------------


def wait(
    request: Request,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds; else until it is decided or expires by itself.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Waits for the answer; needs no key. Exit 0 approved, 3 denied or revoked, 4 expired, cancelled or superseded,
    5 no answer: --timeout has passed, or the door could not be reached for a minute."""
    from tallystick.recorded import as_json as json_line

    state = _wait(checked(request), _client(config, url, ca, None), timeout)
    say(json_line({"request": request, "state": state, "exit": EXITS[state]}) if as_json else f"{request}: {state}")
    raise typer.Exit(EXITS[state])


def _wait(request: str, door: DoorClient, timeout: float | None) -> str:
    from tallystick.door import DoorShut, Refused

    started = reached = time.monotonic()
    while True:
        shut = ""
        try:
            state = door.state(request)
            reached = time.monotonic()
            if state in EXITS:
                return state
        except DoorShut as e:
            shut = str(e)
        except Refused as e:
            reached = time.monotonic()
            if e.status != 404:
                fail(str(e), NO_ANSWER)
            if reached - started > KNOWN_WITHIN_S:
                fail(f"{request}: no such request is remembered; those that ended are forgotten after some hours")
        now = time.monotonic()
        if timeout is not None and now - started >= timeout:
            fail(shut or f"{request}: no answer within {timeout:g} s", NO_ANSWER)
        if now - reached > REACHED_WITHIN_S:
            fail(shut, NO_ANSWER)
        time.sleep(POLL_S if timeout is None else max(0.01, min(POLL_S, timeout - (now - started))))


# --- who, where -----------------------------------------------------------------------


def as_reviewer(
    key: Path | None, name: str | None, config: Path, url: str | None, ca: Path | None
) -> tuple[DoorClient, Signs]:
    if key is not None and str(key).partition(":")[0] == AGENT:
        signer = _from_agent(str(key).partition(":")[2], name, config)
    else:
        signer = _from_file(key or Path.home() / ".tallystick" / "reviewer.key", name, config)
    if not signer.name.isascii() or not signer.name.isprintable() or " " in signer.name:
        fail("--name: your name in the policy; it has no spaces")
    return _client(config, url, ca, signer), signer


def _from_file(path: Path, name: str | None, config: Path) -> Signs:
    from seal import keyfiles

    if not path.is_file():
        fail(f"{path}: no key file; name yours with --key, or make one with: tallystick keys reviewer {path}")
    try:
        signer = keyfiles.load_reviewer(path, "", lambda: passphrase(path))
        signer.name = name or _name_of(signer.public, config) or path.stem
        return signer
    except keyfiles.KeysUnusable as e:
        fail(str(e))


def _from_agent(which: str, name: str | None, config: Path) -> Signs:
    """`which`: a comment or fingerprint, or "" for the only key, or the only one that the policy knows."""
    from seal import ssh_agent

    at = agent_socket()
    try:
        found = [k for k in ssh_agent.keys(at) if which in ("", k.comment, k.fingerprint)]
    except ssh_agent.AgentFailed as e:
        fail(str(e))
    named = {k: called for k in found if (called := _name_of(k.public, config)) is not None}
    chosen = list(named) if len(found) > 1 and named else found
    if len(chosen) != 1:
        several = "several Ed25519 keys there" if chosen else "no such Ed25519 key"
        fail(f"--key: ssh-agent has {several}: say which as {AGENT}:COMMENT; see: tallystick keys agent")
    (only,) = chosen
    return ssh_agent.AgentSigner(name or named.get(only) or only.comment, only.public, at)


def agent_socket() -> str:
    """Where ssh-agent listens, by the environment, as for every SSH client."""
    return os.environ.get("SSH_AUTH_SOCK") or fail("no ssh-agent: SSH_AUTH_SOCK is not set")


def _name_of(public: bytes, config: Path) -> str | None:
    """Whose key it is, by the policy, where that can be read."""
    from policy import rules
    from policy.document import RulesInvalid
    from tallystick import config as configuration

    try:
        found = rules.parse(configuration.load(config).policy.read_text(encoding="utf-8")).reviewers
    except (OSError, UnicodeDecodeError, ValueError, RulesInvalid):
        return None
    return next((r.name for r in found if r.public_key == public), None)


def _client(config: Path, url: str | None, ca: Path | None, signer: Signs | None) -> DoorClient:
    from tallystick.door import DoorClient, exposed
    from tallystick.recorded import load

    if url is None:
        found = load(config)
        url = found.door
        ca = ca or (found.approvals_tls.ca if found.approvals_tls else None)
    if not url.startswith(("http://", "https://")):
        fail(f"{url}: the door's URL begins with http:// or https://")
    if exposed(url) and signer is not None:
        note("note: the door is not https: who sits between could show you another command than you sign")
    try:
        return DoorClient(url, signer, ca=ca)
    except OSError as e:
        fail(f"{ca}: not a file of certificates ({type(e).__name__})")


def checked(request: str) -> str:
    from tallystick.door import REQUEST_ID

    return request if REQUEST_ID.fullmatch(request) else fail("a request looks like req-abcdefghijklmnop")


def read(plain: dict[str, Any], request: str) -> Asked:
    from tallystick.asked import read_asked

    return read_asked(plain, request)


def width() -> int:
    return min(160, shutil.get_terminal_size((100, 24)).columns)


@contextmanager
def speaking() -> Iterator[None]:
    """What the door, or ssh-agent, says against it ends the command with one line."""
    from seal.ssh_agent import AgentFailed
    from tallystick.door import DoorShut, Refused

    try:
        yield
    except (DoorShut, AgentFailed) as e:
        fail(str(e), UNREACHABLE)
    except Refused as e:
        fail(str(e), 2 if e.status in (401, 404) else REFUSED)
