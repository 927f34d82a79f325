"""A shard that goes on under a new name, where the copy that is left of it ends: `0`, then `0-2`, `0-3`, …

A store behind what the bus (or anybody) has seen must not be written on: our key would sign a second
history of the same name. An operator says so by `adopt`, and the log says it for ever: the first entry
of the new shard is `LedgerAdopted`, which cites the size and root it goes on from. Its first batch
carries the old cursors, so what the bus still has is read again, and what nobody has becomes a gap.

The names alone are the succession: a shard is there when its first batch is. Nothing else is kept.
"""

from __future__ import annotations

from ledger import layout
from ledger.batch import Consumed, Item
from ledger.check import Kind, Report, check_log
from ledger.entry import leaf_bytes
from ledger.note import VerifierKey
from ledger.reader import CannotRead, entries
from ledger.recovery import CannotRecover, last_sound, read_tripwire, recover, refuse_older_store
from ledger.store import Store
from ledger.tree import EMPTY_ROOT
from ledger.writer import Writer
from schemas.ids import Position, Source
from schemas.records import LedgerAdopted, LedgerEntry
from seal.sign import Signer

LOOK_AHEAD = 16  # names that may be missing in a row: a successor can be lost as a whole


class NothingToAdopt(RuntimeError):
    """The shard can be written on as it is."""


def shards(store: Store, first: str) -> list[str]:
    """The names under which a shard went on, in order; the last is written. Raises StoreBroken."""
    there = [1]
    number = 2
    while number <= there[-1] + LOOK_AHEAD:
        if store.any_after(layout.batches(layout.successor(first, number)), ""):
            there.append(number)
        number += 1
    return [layout.successor(first, n) for n in there]


def origin_of(origin: str, first: str, shard: str) -> str:
    """The name on a successor's checkpoints, from that on the first one's."""
    return origin.removesuffix(first) + shard


def adopt(
    store: Store, first: str, origin: str, signer: Signer, *, seen: str, nothing: Consumed, reason: str, at_us: int
) -> LedgerAdopted:
    """Starts the next shard after the newest sound batch of this one; gives its first entry.

    `origin` is the first shard's, `seen` the bus's tripwire (or empty), `nothing` where reading begins if
    no batch is left. Raises NothingToAdopt, StoreBroken, Fenced. A crash here leaves nothing, or a batch
    that the next writer signs.
    """
    names = shards(store, first)
    key = VerifierKey(origin_of(origin, first, names[-1]), signer.public)
    known = read_tripwire(seen) if seen else None
    try:
        head = recover(store, names[-1], key)
        if known is not None:
            refuse_older_store(head, known, first, names[-1])
    except CannotRecover:
        head = last_sound(store, names[-1], key)
    else:
        raise NothingToAdopt(f"shard {names[-1]} is sound, and the bus has seen no more of it: it needs no successor")
    # A name that the bus has seen is not used again, though the store has forgotten it.
    used = names if known is None or not known.shard else [*names, known.shard]
    following = layout.successor(first, 1 + max(layout.successor_number(first, n) or 1 for n in used))
    said = LedgerAdopted(names[-1], head.tree.size, head.tree.root(), seen, reason, at_us)
    entry = LedgerEntry(Source(f"shard:{following}"), Position(0, 0), at_us, body=said)
    writer = Writer(store, following, origin_of(origin, first, following), signer)
    writer.commit([Item(leaf_bytes(entry), b"")], head.cursors, head.consumed or nothing)
    return said


def check_shards(store: Store, first: str, origin: str, public: bytes) -> list[tuple[str, Report]]:
    """`check_log` of each, and that each goes on from the one before. Raises StoreBroken if nothing can be listed."""
    reports: dict[str, Report] = {}
    for name in shards(store, first):
        report = check_log(store, name, VerifierKey(origin_of(origin, first, name), public))
        if reports:
            _check_start(store, name, report, reports)
        reports[name] = report
    return list(reports.items())


def _check_start(store: Store, name: str, report: Report, before: dict[str, Report]) -> None:
    where = layout.batch(name, 0)
    try:
        said = next(entries(store, name, 0, 1)).entry.body
    except (CannotRead, StopIteration, ValueError):
        return  # the check of this shard has named what is wrong with it
    if not isinstance(said, LedgerAdopted):
        report.add(Kind.ALTERED, where, "does not begin by saying which shard it goes on from", 0)
        return
    old = before.get(said.before)
    if old is None:
        report.add(Kind.MISSING, said.before, f"shard {said.before}, from which {name} goes on, is not there")
    elif said.size > old.size:
        report.add(Kind.MISSING, said.before, f"had {said.size} entries when {name} was begun, and has {old.size}")
    elif (old.signed.get(said.size) if said.size else EMPTY_ROOT) != said.root:
        report.add(Kind.ALTERED, said.before, f"is not the log of {said.size} entries from which {name} goes on")
    elif said.size < old.size:
        more = f"{old.size - said.size} entries more than when {name} was begun"
        report.add(Kind.EXTRA, said.before, f"has {more}: a fuller copy came back, or a writer did not stop")
