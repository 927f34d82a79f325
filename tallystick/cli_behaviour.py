"""`alerts`: what was unusual, and what was suspended for it. `resume` lifts a suspension, as a reviewer."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli_approvals import REFUSED, Ca, KeyFile, Name, Url, as_reviewer, speaking
from tallystick.cli_votes import Yes, confirmed
from tallystick.terminal import DEFAULT_CONFIG, ConfigFile, fail, note, say

if TYPE_CHECKING:
    from schemas.records import Alert, Learning, LedgerEntry, Resumed, Suspended

SUSPENSION_ID = re.compile(r"sus-[a-z2-7]{16}")
VOTE_LASTS_US = 3_600_000_000
RECORDED_WITHIN_S = 15.0
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: tallystick alerts --subject ci/deploy")(alerts)
    app.command(epilog="Example: tallystick resume sus-abcdefghijklmnop --reason 'the new exporter, agreed on'")(resume)


@dataclass(slots=True)
class Told:
    """What the ledger has of behaviour, in its order."""

    alerts: list[Alert] = field(default_factory=list)
    suspended: dict[str, Suspended] = field(default_factory=dict)  # by the suspension's id
    resumed: dict[str, Resumed] = field(default_factory=dict)
    learning: dict[str, Learning] = field(default_factory=dict)  # by subject

    def standing(self, suspension: str | None, now_us: int) -> str:
        """Of a suspension, in words."""
        from tallystick.recorded import iso

        of = self.suspended.get(suspension or "")
        if of is None:
            return ""
        what = f"{of.suspension} ({of.scope})"
        if of.suspension in self.resumed:
            lifted = self.resumed[of.suspension]
            return f"{what} lifted by {lifted.vote.reviewer} at {_short(lifted.at_us)}"
        if of.until_us <= now_us:
            return f"{what} ended at {_short(of.until_us)}"
        return f"{what} until {iso(of.until_us)[:19]}Z; lift it: tallystick resume {of.suspension} --reason …"


def gather(entries: Iterable[LedgerEntry]) -> Told:
    from schemas.records import Alert, Learning, Resumed, Suspended

    told = Told()
    for entry in entries:
        match entry.body:
            case Alert() as alert:
                told.alerts.append(alert)
            case Suspended() as suspended:
                told.suspended[suspended.suspension] = suspended
            case Resumed() as resumed:
                told.resumed[resumed.suspension] = resumed
            case Learning() as learning:
                told.learning[learning.subject] = learning
    return told


def alerts(
    config: ConfigFile = DEFAULT_CONFIG,
    subject: Annotated[str | None, typer.Option(help="Only this identity's.")] = None,
    as_json: AsJson = False,
) -> None:
    """What identities did that is not usual for them, oldest first; and who was suspended for it."""
    from tallystick.recorded import as_json as json_line
    from tallystick.visible import visible

    told, now_us = _told(config), time.time_ns() // 1000
    wanted = [alert for alert in told.alerts if subject in (None, alert.subject)]
    for alert in wanted:
        if as_json:
            standing = told.standing(alert.suspension, now_us)
            say(json_line(dataclasses.asdict(alert) | {"suspension_stands": standing}))
            continue
        for line in _shown(alert, told, now_us):
            say(visible(line))
    if not wanted and not as_json:
        note("no alert is in the ledger")
    learned = [one for one in told.learning.values() if one.until_us > now_us and subject in (None, one.subject)]
    for one in learned if not as_json else ():
        note(f"note: what is usual for {visible(one.subject)} is being learned, until {_short(one.until_us)} at least")


def _shown(alert: Alert, told: Told, now_us: int) -> Iterator[str]:
    of = f" (class {alert.identity_class})" if alert.identity_class else ""
    yield f"{_short(alert.at_us)}  {alert.alert}  {alert.subject}{of}  {alert.score} points, alert at {alert.threshold}"
    yield f"    session   {alert.session} at {alert.target} ({alert.environment})"
    for finding in alert.findings:
        peers = f"; nor for {finding.peers} peers" if finding.peers else ""
        yield f"    {finding.points:>3}  {finding.signal}: {finding.seen}"
        yield f"         usual: {finding.usual}{peers}"
    if standing := told.standing(alert.suspension, now_us):
        yield f"    suspended {standing}"


def _short(us: int) -> str:
    from tallystick.recorded import iso

    return iso(us)[:19].replace("T", " ")


def resume(
    suspension: Annotated[str, typer.Argument(metavar="SUS", help="The suspension: sus-…")],
    reason: Annotated[str, typer.Option(help="Why; it is signed.")],
    key: KeyFile = None,
    name: Name = None,
    config: ConfigFile = DEFAULT_CONFIG,
    url: Url = None,
    ca: Ca = None,
    yes: Yes = False,
) -> None:
    """Shows why somebody is suspended, and signs that they are not to be any more. Reads the ledger for that.
    Exit 0 lifted, 1 not lifted, 2 wrong use."""
    from approvals.votes import ReasonTooLong, cast
    from schemas.ids import ApprovalId
    from schemas.records import Choice
    from seal.suspension import suspension_digest
    from tallystick.visible import visible

    if not SUSPENSION_ID.fullmatch(suspension):
        fail("a suspension looks like sus-abcdefghijklmnop; see: tallystick alerts")
    if not yes and not sys.stdin.isatty():
        fail("stdin is no terminal, so nobody can be asked: add --yes if you have seen why it is suspended")
    door, signer = as_reviewer(key, name, config, url, ca)
    told, now_us = _told(config), time.time_ns() // 1000
    suspended = told.suspended.get(suspension)
    if suspended is None:
        fail(f"{suspension}: not in the ledger", REFUSED)
    for line in (line for a in told.alerts if a.alert == suspended.alert for line in _shown(a, told, now_us)):
        say(visible(line))
    if suspension in told.resumed or suspended.until_us <= now_us:
        fail(f"{suspension} is over: there is nothing to lift", REFUSED)
    if not yes and not confirmed("resume", signer.name):
        fail("nothing was signed", REFUSED)
    digest, deadline_us = suspension_digest(suspended), now_us + VOTE_LASTS_US
    try:
        with speaking():
            vote = cast(signer, ApprovalId(suspension), digest, Choice.APPROVE, deadline_us, reason, now_us)
    except (ReasonTooLong, UnicodeEncodeError) as e:
        fail(f"--reason: {e}")
    with speaking():
        door.resume(suspended, vote)
    end = time.monotonic() + RECORDED_WITHIN_S
    while suspension not in _told(config).resumed:
        if time.monotonic() > end:
            fail(f"{suspension}: your vote was taken, and the ledger does not have it yet", REFUSED)
        time.sleep(0.2)
    say(f"{suspension}: lifted; gateways let {visible(suspended.subject)} go on")


def _told(config: Path) -> Told:
    from tallystick.recorded import open_log

    return gather(entry for _, entry in open_log(config).entries())
