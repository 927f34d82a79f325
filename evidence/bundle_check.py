"""Checks a bundle's parts: the manifest's signature and digests, the log, and all that follows from it. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Mapping

from approvals.votes import (
    CLOCKS_APART_US,
    REVIEWING,
    Directory,
    DirectoryInvalid,
    Open,
    Settled,
    Why,
    objection,
    settles,
)
from evidence.archive import Unpacked
from evidence.bundle import (
    FORMAT,
    README,
    Made,
    manifest_bytes,
    manifest_message,
    reviewers_bytes,
    root_bytes,
    root_of,
    sample_facts,
)
from evidence.in_force import InForce
from evidence.logcheck import Indexed, Log, check
from evidence.outcome import Code
from evidence.report import page
from evidence.tables import Query, as_json, chosen, derive, draw, plain
from ledger.note import VerifierKey
from schemas.ids import ApprovalId, Source
from schemas.judging import Reviewer
from schemas.records import (
    ApprovalRequest,
    Choice,
    Exchange,
    Grant,
    HoldGone,
    KeyEnrolled,
    Over,
    Released,
    Result,
    Vote,
)
from seal.keyfiles import Enrolled
from seal.sign import BadSignature, Domain
from seal.sign import check as check_signature

MANIFEST = "manifest.json"
_UNMADE = {MANIFEST, "keys/root.json", "keys/reviewers.json"}
"""The operator's word, and the list of all."""
_DAMAGE = (KeyError, ValueError, TypeError, AttributeError, RecursionError, OverflowError)


def check_bundle(unpacked: Unpacked, key: VerifierKey) -> Log:
    parts = unpacked.parts
    log = _log(parts, key)
    for name in unpacked.twice:
        log.found(Code.EXTRA, f"{name!a} is in the zip twice")
    for name in unpacked.packed:
        log.found(Code.ALTERED, f"{name!a} was packed again")
    listed, made = _manifest(log, parts, key)
    for name, digest in sorted(listed.items()):
        if name in unpacked.packed:
            continue
        if name not in parts:
            log.found(Code.MISSING, f"{name} is missing")
        elif hashlib.sha256(parts[name]).hexdigest() != digest:
            log.found(Code.ALTERED, f"{name} was altered")
    if listed:
        for name in sorted(set(parts) - set(listed) - {MANIFEST}):
            log.found(Code.EXTRA, f"{name!a} was added")
    if not log.findings and made.format != FORMAT:
        log.found(
            Code.CANNOT,
            f"made by tallystick {made.release!a} in format {made.format}, and this one knows format {FORMAT}: the log"
            " and the digests of all parts are right, but what follows from the entries was not made again; verify with"
            " that release",
        )
    elif not log.findings:
        _agreement(log, parts, key)
    return log


def _log(parts: Mapping[str, bytes], key: VerifierKey) -> Log:
    batches = _numbered(parts, "batches/", ".avro")
    notes = _numbered(parts, "checkpoints/", "")
    log = check(batches, notes, key.name.rpartition("/")[2], key, 0)
    if not batches and not notes:
        log.found(Code.MISSING, "the bundle has no batch and no checkpoint")
    return log


def _whole(parts: Mapping[str, bytes]) -> set[str]:
    """The names of the log's own files."""
    batches = {f"batches/{n:020d}.avro" for n in _numbered(parts, "batches/", ".avro")}
    return batches | {f"checkpoints/{n:020d}" for n in _numbered(parts, "checkpoints/", "")}


def _numbered(parts: Mapping[str, bytes], prefix: str, suffix: str) -> dict[int, bytes]:
    found = {}
    for name, data in parts.items():
        number = name[len(prefix) : len(name) - len(suffix)]
        plain = len(number) == 20 and number.isascii() and number.isdecimal()
        if plain and name == f"{prefix}{number}{suffix}" and int(number) < 2 * len(parts) + 10_000:
            found[int(number)] = data
    return found


def _manifest(log: Log, parts: Mapping[str, bytes], key: VerifierKey) -> tuple[dict[str, str], Made]:
    """What it lists and who made it, or nothing where it is not the signed one."""
    none = dict[str, str](), Made(FORMAT, "")
    raw = parts.get(MANIFEST)
    if raw is None:
        log.found(Code.MISSING, f"{MANIFEST} is missing")
        return none
    try:
        said = json.loads(raw)
        listed = {str(name): str(digest) for name, digest in said["parts"].items()}
        made = Made(int(said["format"]), str(said["release"])[:100])
        signature = base64.b64decode(said["signature"], validate=True)
        same = manifest_bytes(key.name, made, listed, said["signature"]) == raw
        check_signature(key.public, Domain.MANIFEST, manifest_message(key.name, made, listed), signature)
    except BadSignature:
        log.found(Code.ALTERED, f"{MANIFEST} is not signed by the trusted key")
        return none
    except _DAMAGE:
        log.found(Code.ALTERED, f"{MANIFEST} was damaged")
        return none
    if not same:
        log.found(Code.ALTERED, f"{MANIFEST} is not written as it was")
    return listed, made


def _agreement(log: Log, parts: Mapping[str, bytes], key: VerifierKey) -> None:
    """Everything that follows from the entries is made again and compared."""
    try:
        asked = json.loads(parts["query.json"])
        query = Query(int(asked["from_us"]), int(asked["to_us"]), str(asked["seed"]), int(asked["sample"]))
        root = root_of(log)
        made = derive(log, query) | {"index.html": page(log, query, key, root)}
        made |= {"README.txt": README.encode(), "keys/log.vkey": f"{key}\n".encode()}
        samples = {f"samples/{e.index}.json": e for e in draw(chosen(log, query), query, root)}
    except _DAMAGE:
        log.found(Code.ALTERED, "query.json asks for nothing that can be made again")
        return
    for name, data in sorted(made.items()):
        if parts.get(name) != data:
            log.found(Code.ALTERED, f"{name} is not what the entries say")
    for name in sorted(set(parts) - set(made) - set(samples) - _UNMADE - _whole(parts)):
        # Listed and signed, but nothing that was proved: on some disks Population.csv lands on population.csv.
        log.found(Code.EXTRA, f"{name!a} does not follow from the entries")
    for name, e in samples.items():
        _sample(log, parts.get(name, b""), name, e)
    _order(log)
    _enrolments(log, parts, key)
    _votes(log, parts)


def _order(log: Log) -> None:
    """The ledger takes nothing twice, and of one source nothing earlier after something later."""
    newest: dict[Source, Indexed] = {}
    for e in log.entries:
        before = newest.get(e.entry.source)
        if before is not None and e.entry.position <= before.entry.position:
            log.found(
                Code.ALTERED, f"entry {e.index}: its source had said it, or what follows it, in entry {before.index}"
            )
        else:
            newest[e.entry.source] = e


def _sample(log: Log, raw: bytes, name: str, e: Indexed) -> None:
    try:
        said = json.loads(raw)
        same = as_json({**sample_facts(e), "masked": said["masked"]}) == raw
    except _DAMAGE:
        same = False
    if not same:
        log.found(Code.ALTERED, f"{name} is not the entry that was drawn")


def _enrolments(log: Log, parts: Mapping[str, bytes], key: VerifierKey) -> None:
    """Every enrolment in the log is signed by the one root key, and the log's own key is enrolled."""
    root = root_key(parts)
    if root is None:
        log.found(Code.CANNOT, "keys/root.json cannot be read: enrolments were not checked")
        return
    until_us: int | None = None
    for e in log.entries:
        body = e.entry.body
        if not isinstance(body, KeyEnrolled):
            continue
        if not Enrolled(root, [body]).all:
            log.found(Code.ALTERED, f"entry {e.index}: the enrolment of {body.name!a} is not signed by keys/root.json")
        if body.role == "ledger" and body.public_key == key.public:
            until_us = max(until_us or 0, body.until_us)
    if until_us is None:
        log.found(Code.CANNOT, "the log's own key is not enrolled in the log: nothing ties it to the root key")
        return
    for e in log.entries:  # the ledger's own entries have its own time
        if e.entry.source.startswith("shard:") and e.entry.time_us >= until_us:
            log.found(Code.CANNOT, f"entry {e.index}: the enrolment of the log's own key had ended by then")
            return


def root_key(parts: Mapping[str, bytes]) -> bytes | None:
    try:
        root = bytes.fromhex(json.loads(parts["keys/root.json"])["public_key"])
    except _DAMAGE:
        return None
    return root if len(root) == 32 and root_bytes(root) == parts["keys/root.json"] else None


def _votes(log: Log, parts: Mapping[str, bytes]) -> None:
    """Every grant's votes settle its request; every release has its grant."""
    try:
        reviewers = [_reviewer(r) for r in json.loads(parts["keys/reviewers.json"])]
        directory = Directory(reviewers)
        if reviewers_bytes(reviewers) != parts["keys/reviewers.json"]:
            raise ValueError("not written as it was: of a key that is said twice, people read the first")
    except (*_DAMAGE, DirectoryInvalid):
        log.found(Code.CANNOT, "keys/reviewers.json cannot be read: votes were not checked")
        return
    in_force = InForce(log, directory)
    requests, granted = _grants(log, in_force)
    _releases(log, granted)
    _reviews(log, in_force, requests, _alone(log, in_force, requests))


_Granted = dict[tuple[ApprovalId, bytes, int, bool], int]
"""Request, commitment, use and whether the glass was broken: until when."""


def _grants(log: Log, in_force: InForce) -> tuple[dict[ApprovalId, ApprovalRequest], _Granted]:
    """In the log's order: a grant is held against what was asked and said before it, and not after."""
    requests: dict[ApprovalId, ApprovalRequest] = {}
    refused: dict[ApprovalId, str] = {}  # by whom
    granted: _Granted = {}
    used = {(e.entry.body.request, e.entry.body.use) for e in log.entries if isinstance(e.entry.body, Released)}
    for e in log.entries:
        body = e.entry.body
        if isinstance(body, ApprovalRequest | Grant | Released) and not plain(body.request):
            what = f"{type(body).__name__} of {body.request!a}"
            log.found(Code.ALTERED, f"entry {e.index}: {what}, which is no id, so the report does not have it")
        if isinstance(body, ApprovalRequest):
            requests[body.request] = body
        elif isinstance(body, Vote) and body.choice in (Choice.DENY, Choice.REVOKE):
            asked = requests.get(body.request)
            if asked is not None and _objection(e, body, in_force, asked) is None:
                refused[body.request] = body.reviewer
        elif isinstance(body, Grant):
            if body.request in refused:
                log.found(Code.ALTERED, f"entry {e.index}: a grant after {refused[body.request]!a} had said no")
            _grant(log, e.index, body, in_force, requests.get(body.request), granted, used)
    return requests, granted


def _grant(
    log: Log,
    index: int,
    body: Grant,
    in_force: InForce,
    request: ApprovalRequest | None,
    granted: _Granted,
    used: Collection[tuple[ApprovalId, int]],
) -> None:
    if request is None:
        log.found(Code.MISSING, f"entry {index}: a grant without its approval request")
        return
    said = _settled(body, request, in_force)
    if isinstance(said, Settled) and said.approved and body.commitment == request.commitment:
        what = (body.request, body.commitment, body.use, said.break_glass)
        granted[what] = max(body.expires_us, granted.get(what, 0))
        if not 1 <= body.use <= said.uses:
            log.found(Code.ALTERED, f"entry {index}: use {body.use} of an approval whose votes allow {said.uses}")
        return
    whys = [i.why for i in said.ignored]
    why = whys[0] if whys else "too few people"
    if set(whys) == {Why.UNKNOWN} and in_force.is_known(body.recorder, body.at_us):
        # The approvals step knew of a reviewer before the gateway did, or after: the gateway lets nothing through.
        if (body.request, body.use) in used:
            log.found(Code.ALTERED, f"entry {index}: nobody in force at {body.recorder} approved this: {why}")
    elif set(whys) == {Why.UNKNOWN}:
        # Somebody may have left since, and the log keeps what they signed. The list of today cannot tell.
        alone = any(vote.choice is Choice.BREAK_GLASS for vote in body.votes)
        granted[body.request, body.commitment, body.use, alone] = body.expires_us
        log.found(Code.CANNOT, f"entry {index}: by keys/reviewers.json the grant's votes do not count: {why}")
    else:
        log.found(Code.ALTERED, f"entry {index}: the grant's votes do not approve its request: {why}")


def _settled(body: Grant, asked: ApprovalRequest, in_force: InForce) -> Open | Settled:
    """By the directories that may have been in force at its gateway: the first that approves it, or the newest."""
    votes, at_us = body.votes, body.at_us
    found = [
        settles(body.request, asked.commitment, votes, each, asked.rule, asked.subject, at_us, asked.caused_by)
        for each in in_force.at(body.recorder, at_us)
    ]
    return next((said for said in found if isinstance(said, Settled) and said.approved), found[0])


def _releases(log: Log, granted: _Granted) -> None:
    """Every release has its grant and its time, and everything held that was executed has its release."""
    bodies = [(e.index, e.entry.body) for e in log.entries]
    undone = {body.hold for _, body in bodies if isinstance(body, HoldGone) and body.why == Over.UNDONE}
    released = {body.hold for _, body in bodies if isinstance(body, Released)}
    used: set[tuple[ApprovalId, int]] = set()
    for index, body in bodies:
        if isinstance(body, Exchange):
            if body.result is Result.EXECUTED and body.hold is not None and body.hold not in released:
                log.found(
                    Code.MISSING, f"entry {index}: a held command was executed, and its release is not in the log"
                )
        elif isinstance(body, Released):
            until_us = granted.get((body.request, body.commitment, body.use, body.break_glass))
            if until_us is None:
                log.found(Code.MISSING, f"entry {index}: a command was released without a valid grant in the log")
            elif body.at_us > until_us + 2 * CLOCKS_APART_US:  # the gateway's clock, and the bus's
                log.found(Code.ALTERED, f"entry {index}: a command was released after its approval had ended")
            if body.hold not in undone and (body.request, body.use) in used:
                log.found(Code.EXTRA, f"entry {index}: a second command was released on one use of an approval")
            if body.hold not in undone:
                used.add((body.request, body.use))


def _alone(log: Log, in_force: InForce, requests: Mapping[ApprovalId, ApprovalRequest]) -> dict[ApprovalId, str]:
    """Who broke the glass of which request."""
    found: dict[ApprovalId, str] = {}
    for e in log.entries:
        body = e.entry.body
        if isinstance(body, Vote) and body.choice is Choice.BREAK_GLASS:
            _counts(log, e, body, in_force, requests.get(body.request), ())
            found[body.request] = body.reviewer
    return found


def _reviews(
    log: Log,
    in_force: InForce,
    requests: Mapping[ApprovalId, ApprovalRequest],
    alone: Mapping[ApprovalId, str],
) -> None:
    for e in log.entries:
        body = e.entry.body
        if isinstance(body, Vote) and body.choice in REVIEWING:
            by = (alone[body.request],) if body.request in alone else ()
            if not by:
                log.found(Code.MISSING, f"entry {e.index}: a review of glass that nobody broke")
            _counts(log, e, body, in_force, requests.get(body.request), by)


def _counts(
    log: Log, e: Indexed, vote: Vote, in_force: InForce, asked: ApprovalRequest | None, also: tuple[str, ...]
) -> None:
    if asked is None:
        log.found(Code.MISSING, f"entry {e.index}: a vote without its approval request")
        return
    why = _objection(e, vote, in_force, asked, also)
    if why is not None:
        code = Code.CANNOT if why is Why.UNKNOWN else Code.ALTERED
        log.found(code, f"entry {e.index}: the vote {vote.choice.value} does not count: {why}")


def _objection(
    e: Indexed, vote: Vote, in_force: InForce, asked: ApprovalRequest, also: tuple[str, ...] = ()
) -> Why | None:
    """None where it counts by a directory that may have been in force where the request came from."""
    behind, at_us = (*asked.caused_by, *also), e.entry.time_us
    found = [
        objection(vote, asked.request, asked.commitment, directory, asked.rule, asked.subject, at_us, behind)
        for directory in in_force.of(asked.session, at_us)
    ]
    return None if None in found else found[0]


def _reviewer(said: dict[str, object]) -> Reviewer:
    groups, identities = said["groups"], said["identities"]
    if not isinstance(groups, list) or not isinstance(identities, list):
        raise TypeError("a reviewer's groups and identities are lists")
    return Reviewer(
        str(said["name"]),
        bytes.fromhex(str(said["public_key"])),
        tuple(map(str, groups)),
        tuple(map(str, identities)),
        said.get("break_glass") is True,
    )
