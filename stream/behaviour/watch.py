"""The step: what an entry of the ledger says of an identity, held against what is usual for it.

Rules:
 1. What is unusual has points by the policy. They fade evenly; one signal counts OFTEN times. When what was
    not told yet makes `alert_at`, it is told, once, in an Alert. When all that has not faded makes
    `suspend_at`, the session or the identity is suspended, for a time.
 2. Until an identity is warm (`Identity.warm`) its usual is learned and not missed. What needs no usual
    counts at once: a run's token used elsewhere, an identity that wakes, what a reviewer denied.
 3. What a peer (another identity of its class) did lately is not unusual.
 4. What was approved is not unusual: reviewers saw it. What they denied counts when it comes again,
    whoever else does it. Who lifts a suspension says that its findings were nothing.
 5. What did not run is unusual all the same, and is not learned; nor does it count in a volume.
 6. A thing is unusual once: it is learned when it is found.
 7. Time is the entries', but never ahead of the bus's: a gateway whose clock is wrong moves nobody's usual
    into the future. Suspensions begin by the bus's.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from approvals.votes import Directory
from policy.behaviour import Behaviour, Mark, Settings, table
from schemas.ids import AlertId, SessionId, SuspensionId
from schemas.records import (
    Alert,
    ApprovalRequest,
    ApprovalState,
    Finding,
    Grant,
    Learning,
    Refusal,
    Resumed,
    Scope,
    SessionOpened,
    Suspended,
)
from stream.behaviour.identity import DAY_US, DAYS, HOUR_US, VOLUMES, Found, Identity
from stream.behaviour.memory import Asked, Memory, Open, Run, identity_name
from stream.behaviour.peers import Peers

Said = Alert | Learning | Suspended
"""A Suspended is not signed here."""
ALWAYS = frozenset({Mark.RUN, Mark.WOKE, Mark.DENIED})
LONGEST_WORD = 160
MOST_THINGS = 64
"""Of one command or request: its effects may be many."""
_THURSDAY = 3  # 1970-01-01, counted from Monday
_DIGITS = re.compile(r"\d+")
_WORDS = {Mark.ROWS: "rows", Mark.BYTES: "bytes", Mark.COMMANDS: "commands"}


class Watch:
    def __init__(self, behaviour: Behaviour, version: str, directory: Directory, memory: Memory) -> None:
        self._behaviour, self._version, self._directory, self._memory = behaviour, version, directory, memory
        self._settings: dict[str, tuple[str, Settings]] = {}
        self._place, self._now_us, self._number = "", 0, 0
        self._said: list[Said] = []
        self.unknown = 0  # commands of sessions whose opening was never seen

    def begin(self, place: str, now_us: int) -> None:
        """Of a message: where it stands, which nothing else does, and the bus's time."""
        self._place, self._now_us, self._number = place, now_us, 0

    def said(self) -> list[Said]:
        """Since the last call, in order."""
        said, self._said = self._said, []
        return said

    # --- sessions ------------------------------------------------------------------

    def opened(self, opened: SessionOpened) -> None:
        caused_by = self._directory.behind(opened.subject, opened.claims)
        known = Open(opened.subject, opened.target, opened.environment, caused_by, opened.opened_us)
        self._memory.sessions.put(opened.session, known)
        name, at_us = identity_name(opened.subject), min(opened.opened_us, self._now_us)
        identity = self._memory.identity(name)
        if identity is None:
            identity = self._learn_of(name, opened.subject, at_us)
        seeing = self._seeing(name, identity, opened.session, known, at_us)
        self._used(seeing)
        network = network_of(opened.client_address)
        seeing.see(Mark.TARGET, opened.target)
        seeing.see(Mark.NETWORK, network)
        if opened.application:
            seeing.see(Mark.APPLICATION, opened.application[:LONGEST_WORD])
        if opened.method != "static":  # there the claims are the operator's words, and no run's
            for claim in opened.claims:
                if claim.name in self._behaviour.run_claims:
                    self._run(seeing, f"{claim.name}={claim.value}", network)
        self._moved(seeing)

    def closed(self, session: str) -> None:
        self._memory.sessions.drop(session)

    def _learn_of(self, name: str, subject: str, at_us: int) -> Identity:
        identity_class, settings = self._of(subject)
        identity = Identity(subject, at_us, at_us)
        self._memory.add(name, identity)
        until_us = at_us + settings.warm_up * 1_000_000
        self._said.append(Learning(subject, identity_class, at_us, until_us, self._version))
        return identity

    def _run(self, seeing: _Seeing, run: str, network: str) -> None:
        name = hashlib.sha256(run.encode()).hexdigest()[:32]
        first: Run | None = self._memory.runs.get(name)
        if first is None:
            self._memory.runs.put(name, Run(seeing.identity.subject, network, seeing.at_us))
            return
        hours = (seeing.at_us - first.first_us) // HOUR_US
        if first.subject != seeing.identity.subject:
            seeing.find(Mark.RUN, f"{name} by", f"{run} as {seeing.identity.subject}", f"that run is {first.subject}'s")
        elif first.network != network:
            seeing.find(Mark.RUN, f"{name} from", f"{run} from {network}", f"that run came from {first.network}")
        elif hours * 3600 > self._behaviour.run_longest:
            seeing.find(Mark.RUN, f"{name} late", f"{run} {hours} hours after it began", "a run is over by then")

    # --- commands ------------------------------------------------------------------

    def exchange(self, body: dict[str, Any]) -> None:
        """An Exchange, as `codec.decode_plain` gives it."""
        known: Open | None = self._memory.sessions.get(body["session"])
        name = "" if known is None else identity_name(known.subject)
        identity = None if known is None else self._memory.identity(name)
        if known is None or identity is None:
            self.unknown += 1
            return
        at_us = min(body["started_us"], self._now_us)
        seeing = self._seeing(name, identity, body["session"], known, at_us)
        ran, asked = body["result"] != "refused", body["hold"] is not None
        hour = at_us // HOUR_US
        if hour > identity.hour:
            self._used(seeing)
            self._hour_begins(seeing, hour)
        things = _things(known.target, body["effects"])
        statement = body["fingerprint"][:8].hex()
        if asked:  # reviewers saw it, and said yes if it ran
            for thing in things if ran else ():
                seeing.learn(Mark.RELATION, thing)
                seeing.learn(Mark.STATEMENT, statement)
        elif things:  # else it is BEGIN, SET, SHOW and the like
            for thing in things:
                seeing.see(Mark.RELATION, thing, learns=ran)
            seeing.see(Mark.STATEMENT, statement, learns=ran)
        denied = identity.seen[Mark.DENIED]
        if denied.days and not asked:
            for thing in things:
                if denied.has(thing, seeing.day, seeing.forget):
                    seeing.find(Mark.DENIED, thing, thing, "a reviewer denied it")
        if ran:
            self._count(seeing, (body["rows"], body["answer_bytes"], 1))
        identity.last_us = max(identity.last_us, at_us)
        self._moved(seeing)

    def _used(self, seeing: _Seeing) -> None:
        identity, at_us = seeing.identity, seeing.at_us
        days = (at_us - identity.last_us) // DAY_US
        if days >= seeing.settings.sleep // 86400 > 0:
            seeing.find(Mark.WOKE, str(identity.last_us), "used again", f"not used for {days} days")
        identity.last_us = max(identity.last_us, at_us)

    def _hour_begins(self, seeing: _Seeing, hour: int) -> None:
        """The first command in an hour: the one before it is over."""
        identity, settings = seeing.identity, seeing.settings
        if identity.hour >= 0:
            for mark, total in zip(VOLUMES, identity.totals, strict=True):
                identity.sketches[mark].add(total)
                if seeing.peers is not None:
                    seeing.peers.hour_ended(mark, total)
        if identity.hour // 24 < hour // 24 and identity.hour >= 0:
            identity.active_days += 1
        identity.hour, identity.totals, identity.limits = hour, [0, 0, 0], None
        day, of_day = divmod(hour, 24)
        weekday = (day + _THURSDAY) % 7
        if not identity.worked(of_day, weekday, day, settings.forget * 1_000_000 // DAY_US):
            seeing.find(Mark.HOUR, f"{weekday}/{of_day}", f"{DAYS[weekday]} {of_day:02d}h UTC", identity.schedule())
        identity.hours[of_day] = max(identity.hours[of_day], day)
        identity.weekdays[weekday] = max(identity.weekdays[weekday], day)

    def _count(self, seeing: _Seeing, amounts: tuple[int, int, int]) -> None:
        identity, volume = seeing.identity, seeing.settings.volume
        if identity.limits is None:  # it stays as it is until the next hour, for so do the sketches
            identity.limits = [
                max(volume.least(mark), volume.factor * identity.sketches[mark].quantile(99)) for mark in VOLUMES
            ]
        for n, mark in enumerate(VOLUMES):
            identity.totals[n] += amounts[n]
            if identity.totals[n] > identity.limits[n]:
                self._volume(seeing, mark, identity.totals[n], identity.limits[n])

    def _volume(self, seeing: _Seeing, mark: Mark, total: int, limit: int) -> None:
        if seeing.peers is not None and seeing.peers.most(mark) >= total:
            return
        usual = seeing.identity.sketches[mark].quantile(99)
        words = f"at most {usual:,} in its busiest hours; the limit is {limit:,}"
        seeing.find(mark, str(seeing.identity.hour), f"{total:,} {_WORDS[mark]} in this hour", words)

    # --- what reviewers say ----------------------------------------------------------

    def requested(self, request: ApprovalRequest) -> None:
        effects = [{"effect": e.effect, "relation": e.relation} for e in request.effects]
        asked = Asked(request.subject, _things(request.target, effects), request.opened_us)
        self._memory.requests.put(request.request, asked)

    def granted(self, grant: Grant) -> None:
        self._answered(grant.request, grant.at_us, approved=True)

    def refused(self, refusal: Refusal) -> None:
        if refusal.state is ApprovalState.DENIED:
            self._answered(refusal.request, refusal.at_us, approved=False)

    def _answered(self, request: str, at_us: int, *, approved: bool) -> None:
        asked: Asked | None = self._memory.requests.get(request)
        name = "" if asked is None else identity_name(asked.subject)
        identity = None if asked is None else self._memory.identity(name)
        if asked is None or identity is None:
            return
        day = at_us // DAY_US
        denied = identity.seen[Mark.DENIED]
        for thing in asked.things:
            if approved:
                denied.days.pop(thing, None)
                identity.seen[Mark.RELATION].note(thing, day)
            else:
                denied.note(thing, day)
        self._memory.moved(name, identity, sets=True)

    def resumed(self, resumed: Resumed) -> None:
        name = identity_name(resumed.subject)
        identity = self._memory.identity(name)
        if identity is not None and identity.suspension == resumed.suspension:
            identity.suspension, identity.suspended, identity.suspended_until_us = "", "", 0
            identity.found = []
            self._memory.moved(name, identity, sets=False)

    # --- findings --------------------------------------------------------------------

    def _of(self, subject: str) -> tuple[str, Settings]:
        if len(self._settings) > 10_000:
            self._settings.clear()
        known = self._settings.get(subject)
        if known is None:
            known = self._settings[subject] = self._behaviour.of(subject)
        return known

    def _seeing(self, name: str, identity: Identity, session: str, known: Open, at_us: int) -> _Seeing:
        identity_class, settings = self._of(identity.subject)
        peers = self._memory.peers(identity_class) if identity_class else None
        return _Seeing(name, identity, session, known, at_us, identity_class, settings, peers)

    def _moved(self, seeing: _Seeing) -> None:
        """It is told, if it is enough."""
        identity = seeing.identity
        self._memory.moved(seeing.name, identity, sets=seeing.learned)
        if seeing.peers is not None:
            seeing.peers.came(seeing.name, seeing.day)
        if not seeing.found:
            return
        settings, at_us = seeing.settings, seeing.at_us
        fade_us = settings.fade * 1_000_000
        score = identity.score(at_us, fade_us)
        suspended = identity.suspended_until_us > self._now_us and (
            settings.suspend is Scope.IDENTITY or identity.suspended == seeing.session
        )
        suspends = settings.suspend_at and score >= settings.suspend_at and not suspended
        if not suspends and identity.score(at_us, fade_us, untold=True) < settings.alert_at:
            return
        words = _id(self._place, self._number)
        self._number += 1
        alert = AlertId(f"alr-{words}")
        suspension = SuspensionId(f"sus-{words}") if suspends else None
        self._said.append(self._alert(seeing, alert, suspension, score))
        if suspension is not None:
            until_us = self._now_us + settings.suspend_for * 1_000_000
            identity.suspension, identity.suspended = suspension, seeing.session
            identity.suspended_until_us = until_us
            self._said.append(self._suspended(seeing, alert, suspension, until_us))

    def _suspended(self, seeing: _Seeing, alert: AlertId, suspension: SuspensionId, until_us: int) -> Suspended:
        known, scope = seeing.known, seeing.settings.suspend
        return Suspended(
            suspension, alert, scope, known.subject, SessionId(seeing.session), known.target, known.caused_by,
            self._now_us, until_us, self._version, "", b"",
        )  # fmt: skip

    def _alert(self, seeing: _Seeing, alert: AlertId, suspension: SuspensionId | None, score: int) -> Alert:
        identity, known = seeing.identity, seeing.known
        ids = table()
        findings = tuple(
            Finding(ids[f.mark].id, f.points, f.seen, f.usual, f.peers, f.session, f.at_us) for f in identity.tell()
        )
        warm = identity.warm(seeing.settings, seeing.at_us)
        return Alert(
            alert, identity.subject, seeing.identity_class, SessionId(seeing.session), known.target, known.environment,
            findings, score, seeing.settings.alert_at, warm, suspension, self._version, seeing.at_us,
        )  # fmt: skip


class _Seeing:
    """One entry of one identity under way."""

    __slots__ = (
        "at_us", "day", "forget", "found", "identity", "identity_class", "known", "learned", "name", "peers", "session",
        "settings",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        identity: Identity,
        session: str,
        known: Open,
        at_us: int,
        identity_class: str,
        settings: Settings,
        peers: Peers | None,
    ) -> None:
        self.name, self.identity, self.session, self.known, self.at_us = name, identity, session, known, at_us
        self.identity_class, self.settings, self.peers = identity_class, settings, peers
        self.day = at_us // DAY_US
        self.forget = settings.forget // 86400
        self.learned = self.found = False

    def see(self, mark: Mark, thing: str, *, learns: bool = True) -> None:
        """Find it, if neither this identity nor a peer did it; then it is learned."""
        seen = self.identity.seen[mark]
        if seen.days.get(thing) == self.day:
            return
        if self.counts(mark) and not seen.has(thing, self.day, self.forget):
            by_peers = self.peers is not None and self.peers.others(mark, thing, self.name, self.day, self.forget)
            if not by_peers:
                self.find(mark, thing, thing, seen.some())
        if learns:
            self.learn(mark, thing)

    def learn(self, mark: Mark, thing: str) -> None:
        if self.identity.seen[mark].note(thing, self.day):
            self.learned = True
            if self.peers is not None:
                self.peers.note(mark, thing, self.name, self.day)

    def counts(self, mark: Mark) -> bool:
        """The policy gives it points, and it is known what is usual, or need not be."""
        return self.settings.points[mark] > 0 and (mark in ALWAYS or self.identity.warm(self.settings, self.at_us))

    def find(self, mark: Mark, thing: str, seen: str, usual: str) -> None:
        """Unless it was found already."""
        fade_us = self.settings.fade * 1_000_000
        if not self.counts(mark) or not self.identity.is_new(mark, thing[:LONGEST_WORD], self.at_us, fade_us):
            return
        points = self.settings.points[mark]
        peers = 0 if self.peers is None else self.peers.count(self.name)
        found = Found(
            mark, thing[:LONGEST_WORD], points, seen[:LONGEST_WORD], usual[:LONGEST_WORD], peers,
            SessionId(self.session), self.at_us,
        )  # fmt: skip
        self.identity.add(found, fade_us)
        self.found = True


def _things(target: str, effects: list[dict[str, str]]) -> tuple[str, ...]:
    """What a command does to what, once each."""
    found = dict.fromkeys(_thing(target, e["effect"], e["relation"]) for e in effects if e["relation"])
    return tuple(found)[:MOST_THINGS]


@lru_cache(maxsize=8192)
def _thing(target: str, effect: str, relation: str) -> str:
    """Numbers in a name are one: orders_2026_01 is orders_2026_02 to whoever makes a partition a month."""
    return f"{effect} {_DIGITS.sub('#', relation)} at {target}"[:LONGEST_WORD]


@lru_cache(maxsize=8192)
def network_of(address: str) -> str:
    """The /24, or the /64 of IPv6, of `address:port`; whatever else stands there is its own network."""
    host = address.rpartition(":")[0] or address
    try:
        found = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return address[:LONGEST_WORD]
    mapped = getattr(found, "ipv4_mapped", None)
    found = found if mapped is None else mapped
    return str(ip_network((found, 24 if found.version == 4 else 64), strict=False))


def _id(place: str, number: int) -> str:
    """16 base32 characters."""
    digest = hashlib.sha256(f"tallystick/alert/1\0{place}/{number}".encode()).digest()
    return base64.b32encode(digest[:10]).decode().lower()
