"""From a segment to signed events, as one pure step: transcript, mask, judge, encrypt.

The same segment, state and tools give the same bytes, whoever runs it and however
often: so a repeat is dropped by its position and nothing is counted twice. One
EventBatch a segment, also where it has no events, so that the ledger's cursor moves.
Batch positions are read off the segment's own header; a segment that never came shows as
a prior beyond the ledger's cursor, and the ledger says Gap.

What cannot be read because of its bytes is told of by Undecoded entries, and the stream goes
on; every other error leaves this module and stops the partition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bus.topics import APPROVALS, EVENTS, LARGEST_MESSAGE
from policy.circumstances import Moment
from policy.judge import ENGINE, judge
from policy.rules import Rules
from schemas.codec import encode
from schemas.frames import ASKING, FrameKind
from schemas.ids import START, Position, SessionId, journal_source
from schemas.judging import Judgement, SessionFacts
from schemas.records import (
    BootMark,
    BootStarted,
    CommandKind,
    Decision,
    Event,
    EventBatch,
    Exchange,
    HeldCommand,
    Hold,
    HoldEnded,
    HoldGone,
    HoldRaised,
    JournalSegment,
    LeafBody,
    LedgerEntry,
    LoginRefused,
    MaskingFailed,
    RelationSize,
    Released,
    RuleAlerted,
    ScreenDisagrees,
    SessionClosed,
    SessionOpened,
    Undecoded,
)
from seal import content as sealed_content
from seal.digest import approval_id, keyed
from seal.event_batch import sign_batch
from seal.sign import Signer
from stream import content
from stream.exchange import RawExchange
from stream.opening import Opened, Poison
from stream.places import exchange_place, hold_place
from stream.transcript import BadFrame, Item, Transcript
from wire.generations import Generations
from wire.postgres.blind import LONGEST, blind
from wire.postgres.grammar import normalise

END = 2**31 - 1
"""The index after every event of a segment: where its batch's position ends."""
LARGEST_LEAF = 65_535
LARGEST_BATCH = LARGEST_MESSAGE - 128 * 1024
"""Of events in one message; one event is never larger."""
UNKNOWN = "EXECUTE unknown"
"""Judged without any names: what a command does of which the text is not known, such as the next rows of a cursor."""
TURN_US = 2_000_000
"""How long after a circumstance of the policy begins or ends the screen may still have judged by the time before."""
_TELLING = (*ASKING, FrameKind.OPENED, FrameKind.CONTEXT, FrameKind.STATEMENT)


class Known:
    """What was found of a command before: the same answer, sooner. With one secret, and one version of the rules."""

    def __init__(self) -> None:
        self.judgements: Generations[tuple[SessionFacts, Moment, bytes], Judgement] = Generations(4096, 8 << 20)
        self.fingerprints: Generations[bytes, bytes] = Generations(4096, 8 << 20)
        self.learned = content.Learned()


ContentKey = Callable[[SessionId], bytes | None]
"""A session's content key, durable already; None for a session whose content was erased."""
EnsureKeys = Callable[[Iterable[SessionId]], Mapping[SessionId, bytes]]
"""Content keys, durable when it returns; a session whose content was erased has none."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything the step may use besides its input. No clock, no chance."""

    signer: Signer
    rules: Rules
    masker: Callable[[SessionId], content.Masker]
    fingerprint_secret: bytes
    content_key: ContentKey
    mask_engine: str = "mask"
    """Which version of the mask `masker` is, and which detectors: see `mask.masker.engine`."""
    known: Known = field(default_factory=Known)


def with_keys(tools: Tools, ensure: EnsureKeys, sessions: tuple[SessionId, ...]) -> Tools:
    """With these sessions' content keys, and any other when it is asked for: durable before an output uses it."""
    known = dict(ensure(sessions))

    def key(session: SessionId) -> bytes | None:
        if session not in known:
            known.update(ensure((session,)))
        return known.get(session)

    found: ContentKey = key
    return replace(tools, content_key=found)


@dataclass(frozen=True, slots=True)
class Output:
    topic: str
    key: bytes
    value: bytes


def step(transcript: Transcript, opened: Opened, tools: Tools, *, gap: bool = False) -> list[Output]:
    """`transcript` is changed. `gap`: a segment before this one never came, so what was open ends unknown.

    A frame that no recorder of ours writes ends the reading of this segment: what came before it stands,
    what is open ends unknown, and every session in it is told of as Undecoded.
    """
    made = _Making(opened.segment, tools)
    if gap and opened.frames:
        made.items(transcript.lose(opened.frames[0].micros), transcript)
    transcript.segment(opened.segment.boot)
    try:
        for frame in opened.frames:
            made.items(transcript.feed(frame), transcript)
    except BadFrame:
        made.undecoded(transcript, opened.sessions, "the segment holds frames that no recorder writes")
    made.items(transcript.bounded(), transcript)
    return made.outputs()


def asks(opened: Opened, tools: Tools) -> list[Output]:
    """What the approvals step is told of a segment; its events are said by `step`, from the same frames.

    A frame that no recorder of ours writes ends the reading here as it does there.
    """
    made = _Making(opened.segment, tools)
    transcript = Transcript(opened.segment.recorder, opened.segment.boot)
    try:
        for frame in opened.frames:
            if frame.kind in _TELLING:
                made.items(transcript.feed(frame), transcript)
    except BadFrame:
        pass
    return made.asked


def unopened(transcript: Transcript, segment: JournalSegment, reason: str, tools: Tools) -> list[Output]:
    """What is said of a segment that does not open: one entry, and what was open ends unknown."""
    made = _Making(segment, tools)
    made.undecoded(transcript, (), reason)
    return made.outputs()


class _Making:
    """The outputs of one segment under way."""

    def __init__(self, segment: JournalSegment, tools: Tools) -> None:
        self._segment, self._tools = segment, tools
        self._events: list[Event] = []
        self._maskers: dict[SessionId, content.Masker] = {}
        self.asked: list[Output] = []

    def outputs(self) -> list[Output]:
        segment = self._segment
        key = segment.recorder.encode()
        first = (segment.prior_epoch, segment.prior_chunk) == (-1, -1)
        prior = START if first else Position(segment.prior_epoch, segment.prior_chunk, END)
        made: list[Output] = []
        parts = self._parts()
        for n, events in enumerate(parts):
            told = sum(len(part) for part in parts[: n + 1])
            last = Position(segment.epoch, segment.last, END if n == len(parts) - 1 else told - 1)
            batch = EventBatch(journal_source(segment.recorder), segment.recorder, prior, last, events, "", b"")
            made.append(Output(EVENTS, key, encode(sign_batch(self._tools.signer, batch))))
            prior = last
        return made

    def _parts(self) -> list[tuple[Event, ...]]:
        """The events, cut where a message would be too large; one part at least."""
        parts: list[list[Event]] = [[]]
        size = 0
        for event in self._events:
            more = len(event.leaf) + len(event.content) + 16
            if parts[-1] and size + more > LARGEST_BATCH:
                parts.append([])
                size = 0
            parts[-1].append(event)
            size += more
        return [tuple(part) for part in parts]

    def add(self, micros: int, body: LeafBody, sealed: bytes = b"") -> None:
        position = Position(self._segment.epoch, self._segment.last, len(self._events))
        leaf = encode(LedgerEntry(journal_source(self._segment.recorder), position, micros, body=body))
        if len(leaf) > LARGEST_LEAF:
            raise Poison("an entry is larger than a leaf may be")
        self._events.append(Event(leaf, sealed))

    def items(self, items: Iterable[Item], transcript: Transcript) -> None:
        """What cannot be an entry is told of as Undecoded; the rest goes on."""
        for item in items:
            try:
                self._item(item, transcript)
            except Poison as e:
                self._tell_undecoded(item.micros, item.session, str(e))

    def undecoded(self, transcript: Transcript, sessions: tuple[SessionId, ...], reason: str) -> None:
        """The rest of the segment cannot be read."""
        self.items(transcript.lose(transcript.micros), transcript)
        for session in sessions or (None,):
            self._tell_undecoded(transcript.micros, session, reason)

    def _tell_undecoded(self, micros: int, session: SessionId | None, reason: str) -> None:
        segment = self._segment
        digest = hashlib.sha256(b"".join(segment.chunks)).digest()
        where = f"{segment.recorder} epoch {segment.epoch} chunks {segment.first}-{segment.last}"
        self.add(micros, Undecoded(session, "journal", where, digest, reason))

    def _item(self, item: Item, transcript: Transcript) -> None:
        match item.what:
            case RawExchange() as raw:
                self._exchange(item, raw, transcript)
            case HeldCommand() as held:
                self._held(item, held, transcript)
            case HoldGone() as gone:
                self.add(item.micros, gone)
                self._ask(HoldEnded(gone.hold, self._segment.recorder, gone.why, gone.at_us))
            case BootMark() as mark:
                self._ask(BootStarted(mark.recorder, mark.boot))
            case SessionOpened() as opened:
                masking = self._masking(opened.session)
                self.add(item.micros, replace(opened, application=masking.name(opened.application)))
                self._tell_failed(item.micros, opened.session, 0, masking, transcript)
            case LoginRefused() as refused:
                logins = SessionId(f"{self._segment.recorder}/logins")
                masking = self._masking(logins)
                self.add(item.micros, replace(refused, claimed=masking.name(refused.claimed)))
                self._tell_failed(item.micros, logins, 0, masking, transcript)
            case SessionClosed() | Released() as record:
                self.add(item.micros, record)

    def _tell_failed(
        self, micros: int, session: SessionId, number: int, masking: content.Masking, transcript: Transcript
    ) -> None:
        """Values were withheld for a fault of the mask's: what was shown of them is less than it should be."""
        for part, count in sorted(masking.failed.items()):
            self.add(micros, MaskingFailed(session, number, part, count))
            transcript.mask_failures += count

    def _ask(self, record: HoldRaised | HoldEnded | BootStarted) -> None:
        self.asked.append(Output(APPROVALS, self._segment.recorder.encode(), encode(record)))

    def _masking(self, session: SessionId) -> content.Masking:
        masker = self._maskers.get(session)
        if masker is None:
            masker = self._maskers[session] = self._tools.masker(session)
        return content.Masking(masker, self._tools.known.learned)

    def _encrypt(self, session: SessionId, place: bytes, plain: bytes) -> tuple[bytes, bytes]:
        """(ciphertext, its SHA-256); nothing where the session's content was erased."""
        key = self._tools.content_key(session)
        if key is None:
            return b"", b""
        sealed = sealed_content.encrypt(key, place, plain)
        return sealed, hashlib.sha256(sealed).digest()

    def _judge(
        self, text: bytes, blinded: bytes, facts: SessionFacts, at_us: int, item: Item, transcript: Transcript
    ) -> tuple[Judgement, bool]:
        """The judgement, and whether it stands on all that the screen knew. A text that is not known is judged as one
        that runs something unknown."""
        rules = self._tools.rules
        moment = rules.moment(at_us)
        if not text and not (isinstance(item.what, RawExchange) and item.what.kind is CommandKind.SIMPLE):
            return judge(UNKNOWN, facts, rules, moment=moment), False
        # The screen judged a little before the frame had its time: at a turn of a circumstance it may differ rightly.
        same_rules = item.policy_version == rules.version and rules.moment(at_us - TURN_US) == moment
        before = self._tools.known.judgements
        found = before.get((facts, moment, text)) or before.get((facts, moment, blinded))
        if found is not None:
            return found, same_rules
        known = transcript.texts(item.session)
        asked: list[str] = []

        def lookup(name: str) -> tuple[str, ...]:
            texts = known.get(name, ())
            asked.extend(() if texts else (name,))
            return texts

        judgement = judge(text.decode("utf-8", "replace"), facts, rules, lookup=lookup, moment=moment)
        if judgement.executes and rules.masks:
            # What is known here of a name may not be what it means: cursors, and what was prepared out of sight.
            judgement = judgement._replace(masks=judge(UNKNOWN, facts, rules, moment=moment).masks)
        if not judgement.executes and len(text) <= LONGEST:
            key = blinded if judgement.literal_blind else text
            before.keep((facts, moment, key), judgement, len(key))
        return judgement, not asked and same_rules

    def _exchange(self, item: Item, raw: RawExchange, transcript: Transcript) -> None:
        if item.session is None or item.facts is None:
            raise Poison("a command in a session of which the segment tells nothing")
        masking = self._masking(item.session)
        blinded = blind(raw.text)
        judgement, comparable = self._judge(raw.text, blinded, item.facts, raw.started_us, item, transcript)
        masking.hides = bool(judgement.masks)
        shown: dict[str, Any] = {
            "command": content.command(masking, raw.text, raw.binds, raw.bind_formats, raw.param_oids),
            "answer": content.answer(masking, raw),
        }
        shown |= _masked_by(judgement)
        place = exchange_place(item.session, raw.number)
        sealed, digest = self._encrypt(item.session, place, content.bounded(masking, shown))
        tag, effects = shown["answer"]["tag"], masking.effects(judgement.effects)
        known = bool(raw.text)
        body = Exchange(
            session=item.session,
            number=raw.number,
            kind=raw.kind,
            started_us=raw.started_us,
            ended_us=raw.ended_us,
            result=raw.result,
            tag=tag,
            sqlstate=raw.sqlstate,
            fingerprint=self._fingerprint(raw.text, blinded),
            effects=effects,
            effects_complete=judgement.complete and known,
            score=judgement.score,
            band=judgement.band,
            signals=judgement.signals[: content.MOST_EFFECTS],
            decision=raw.decision,
            rule=raw.rule,
            hold=raw.hold,
            rows=raw.row_count,
            answer_bytes=raw.size + raw.sent,
            excerpt=raw.partial,
            found=masking.counts(),
            withheld=masking.withheld,
            policy_version=item.policy_version,
            engine=f"pg1 {self._tools.mask_engine} {ENGINE}",
            content_sha256=digest,
        )
        self.add(item.micros, body, sealed)
        self._tell_failed(item.micros, item.session, raw.number, masking, transcript)
        for rule in judgement.alerts:
            self.add(item.micros, _alerted(body, rule, item.facts))
        transcript.exchanges += 1
        judged_there = raw.kind in (CommandKind.SIMPLE, CommandKind.EXTENDED) and known
        refused_otherwise = raw.refused and raw.decision is Decision.ALLOW  # by the protocol, not by a judgement
        if judged_there and comparable and not refused_otherwise and judgement.decision is not raw.decision:
            said = ScreenDisagrees(item.session, raw.number, raw.decision, judgement.decision)
            self.add(item.micros, said)

    def _held(self, item: Item, held: HeldCommand, transcript: Transcript) -> None:
        if item.session is None or item.facts is None:
            raise Poison("a held command in a session of which the segment tells nothing")
        masking = self._masking(item.session)
        text = held.text.encode()
        judgement, _ = self._judge(text, blind(text), item.facts, item.micros, item, transcript)
        masking.hides = bool(judgement.masks)
        shown: dict[str, Any] = {
            "command": content.command(masking, text, held.binds, held.bind_formats, held.param_oids)
        }
        if held.shape is not None:
            shown["free"] = content.free(masking, text)
        shown |= _masked_by(judgement)
        sealed, digest = self._encrypt(item.session, hold_place(held.hold), content.bounded(masking, shown))
        effects = masking.effects(judgement.effects)
        hold = Hold(
            session=item.session,
            hold=held.hold,
            request=approval_id(held.hold),
            commitment=held.commitment,
            effects=effects,
            effects_complete=judgement.complete,
            score=judgement.score,
            band=judgement.band,
            signals=judgement.signals[: content.MOST_EFFECTS],
            rule=held.rule.name,
            policy_version=item.policy_version,
            raised_us=held.raised_us,
            deadline_us=held.deadline_us,
            content_sha256=digest,
        )
        self.add(item.micros, hold, sealed)
        self._tell_failed(item.micros, item.session, 0, masking, transcript)
        sizes = tuple(RelationSize(masking.name(size.relation), size.rows) for size in held.sizes)
        self._ask(_raised(self._segment, item.facts, held, hold, sealed, sizes))

    def _fingerprint(self, text: bytes, blinded: bytes) -> bytes:
        """Of the normalised text; of the text itself where it does not parse. Keyed, so no oracle."""
        key, known = blinded, self._tools.known.fingerprints
        found = known.get(key)
        if found is None:
            try:
                normal = normalise(text.decode())
            except ValueError:
                normal, key = "unparsable:" + text.decode("utf-8", "replace"), b""
            found = keyed(self._tools.fingerprint_secret, b"fingerprint", normal.encode("utf-8", "replace"))
            if 0 < len(key) <= LONGEST:
                known.keep(key, found, len(key))
        return found


def _masked_by(judgement: Judgement) -> dict[str, list[str]]:
    """For who reads the content, and sees so little."""
    return {"masked_by": list(judgement.masks)} if judgement.masks else {}


def _alerted(exchange: Exchange, rule: str, facts: SessionFacts) -> RuleAlerted:
    return RuleAlerted(
        session=exchange.session,
        number=exchange.number,
        rule=rule,
        subject=facts.subject,
        target=facts.target,
        environment=facts.environment,
        effects=exchange.effects,
        score=exchange.score,
        band=exchange.band,
        result=exchange.result,
    )


def _raised(
    segment: JournalSegment,
    facts: SessionFacts,
    held: HeldCommand,
    hold: Hold,
    sealed: bytes,
    sizes: tuple[RelationSize, ...],
) -> HoldRaised:
    return HoldRaised(
        hold=held.hold,
        recorder=segment.recorder,
        boot=segment.boot,
        session=hold.session,
        subject=facts.subject,
        target=facts.target,
        environment=facts.environment,
        match_key=held.match_key,
        commitment=held.commitment,
        rule=held.rule,
        effects=hold.effects,
        effects_complete=hold.effects_complete,
        score=hold.score,
        band=hold.band,
        signals=hold.signals,
        policy_version=hold.policy_version,
        raised_us=held.raised_us,
        deadline_us=held.deadline_us,
        lookup_only=held.lookup_only,
        content=sealed,
        content_sha256=hold.content_sha256,
        caused_by=held.caused_by,
        shape_key=held.shape_key,
        shape=held.shape,
        sizes=sizes,
    )
