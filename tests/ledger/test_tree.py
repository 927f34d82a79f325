"""RFC 6962 trees: known vectors, every small tree against the RFC's own recursion, laws for bigger ones."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tree import (
    EMPTY_RANGE,
    EMPTY_ROOT,
    CompactRange,
    HashTree,
    ProofInvalid,
    Pruned,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The leaves and roots that Certificate Transparency's own tests use.
VECTOR_LEAVES = [
    bytes.fromhex(h)
    for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
VECTOR_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

MOST = 1000
HASHES = [leaf_hash(b"entry %d" % n) for n in range(MOST)]


# --- the RFC's text, word for word, as the other implementation -----------------------


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


@cache
def mth(start: int, end: int) -> bytes:
    if start == end:
        return hashlib.sha256(b"").digest()
    if end - start == 1:
        return HASHES[start]
    k = split(end - start)
    return hashlib.sha256(b"\x01" + mth(start, start + k) + mth(start + k, end)).digest()


def path(m: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    k = split(end - start)
    if m < k:
        return [*path(m, start, start + k), mth(start + k, end)]
    return [*path(m - k, start + k, end), mth(start, start + k)]


def subproof(m: int, start: int, end: int, whole: bool) -> list[bytes]:
    if m == end - start:
        return [] if whole else [mth(start, end)]
    k = split(end - start)
    if m <= k:
        return [*subproof(m, start, start + k, whole), mth(start + k, end)]
    return [*subproof(m - k, start + k, end, False), mth(start, start + k)]


@pytest.fixture(scope="module")
def tree() -> HashTree:
    whole = HashTree()
    whole.extend(HASHES)
    return whole


# --- roots -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size: int) -> None:
    assert root([leaf_hash(leaf) for leaf in VECTOR_LEAVES[:size]]).hex() == VECTOR_ROOTS[size]


def test_the_empty_tree() -> None:
    assert root([]) == EMPTY_ROOT == EMPTY_RANGE.root() == HashTree().root() == hashlib.sha256(b"").digest()


def test_roots_of_every_size_grown_one_by_one(tree: HashTree) -> None:
    grown = EMPTY_RANGE
    for size in range(MOST + 1):
        assert grown.root() == tree.root(size) == mth(0, size), size
        if size < MOST:
            grown = grown.extend([HASHES[size]])


@given(st.lists(st.integers(0, 60), max_size=12))
def test_how_leaves_are_cut_into_batches_changes_nothing(cuts: list[int]) -> None:
    compact, whole, at = EMPTY_RANGE, HashTree(), 0
    for width in cuts:
        compact = compact.extend(HASHES[at : at + width])
        whole.extend(HASHES[at : at + width])
        at += width
    assert compact.root() == whole.root() == mth(0, at)
    assert compact == EMPTY_RANGE.extend(HASHES[:at])


def test_a_compact_range_is_as_many_hashes_as_its_size_has_bits() -> None:
    with pytest.raises(ValueError):
        CompactRange(3, (HASHES[0],))
    with pytest.raises(ValueError):
        CompactRange(1, (b"short",))


# --- proofs ----------------------------------------------------------------------------


def check_every_proof(tree: HashTree, size: int) -> None:
    for index in range(size):
        proof = tree.inclusion_proof(index, size)
        assert proof == path(index, 0, size)
        verify_inclusion(HASHES[index], index, size, proof, mth(0, size))
        older = index + 1
        proof = tree.consistency_proof(older, size)
        assert proof == subproof(older, 0, size, True)
        verify_consistency(older, size, proof, mth(0, older), mth(0, size))


@pytest.mark.timeout(300)
def test_every_proof_of_every_tree_to_1000(tree: HashTree) -> None:
    for size in range(1, MOST + 1):
        check_every_proof(tree, size)


@given(st.data())
def test_proofs_after_pruning_are_the_same(data: st.DataObject) -> None:
    base = data.draw(st.integers(0, 300))
    new = data.draw(st.integers(base, 600).filter(lambda n: n > 0))
    pruned = HashTree(EMPTY_RANGE.extend(HASHES[:base]))
    cut = data.draw(st.integers(base, new))
    pruned.extend(HASHES[base:cut])
    pruned.extend(HASHES[cut:new])
    assert pruned.root() == mth(0, new)
    if base < new:
        index = data.draw(st.integers(base, new - 1))
        size = data.draw(st.integers(index + 1, new))
        assert pruned.inclusion_proof(index, size) == path(index, 0, size)
    old = data.draw(st.integers(max(base, 1), max(new, 1)))
    assert pruned.consistency_proof(old, new) == subproof(old, 0, new, True)


def test_what_was_pruned_is_said_not_guessed() -> None:
    pruned = HashTree(EMPTY_RANGE.extend(HASHES[:300]))
    pruned.extend(HASHES[300:400])
    with pytest.raises(Pruned, match="300"):
        pruned.inclusion_proof(17, 400)


@given(st.data())
def test_a_proof_with_anything_changed_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 200))
    index = data.draw(st.integers(0, size - 1))
    whole = HashTree()
    whole.extend(HASHES[:size])
    proof, hashed, expected = whole.inclusion_proof(index, size), HASHES[index], mth(0, size)
    kind = data.draw(st.sampled_from(["flip", "drop", "add", "index", "leaf", "root"]))
    if kind == "flip":
        at = data.draw(st.integers(0, len(proof) - 1))
        proof[at] = bytes([proof[at][0] ^ 1]) + proof[at][1:]
    elif kind == "drop":
        proof.pop(data.draw(st.integers(0, len(proof) - 1)))
    elif kind == "add":
        proof.insert(data.draw(st.integers(0, len(proof))), HASHES[0])
    elif kind == "index":
        index = data.draw(st.integers(-1, size + 1).filter(lambda n: n != index))
    elif kind == "leaf":
        hashed = leaf_hash(b"another")
    else:
        expected = leaf_hash(b"another")
    with pytest.raises(ProofInvalid):
        verify_inclusion(hashed, index, size, proof, expected)


@given(st.data())
def test_a_consistency_proof_with_anything_changed_is_refused(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 200))
    old = data.draw(st.integers(1, new - 1))
    whole = HashTree()
    whole.extend(HASHES[:new])
    proof, old_root, new_root = whole.consistency_proof(old, new), mth(0, old), mth(0, new)
    kind = data.draw(st.sampled_from(["flip", "drop", "add", "old root", "new root", "swapped"]))
    if kind == "flip":
        at = data.draw(st.integers(0, len(proof) - 1))
        proof[at] = bytes([proof[at][0] ^ 1]) + proof[at][1:]
    elif kind == "drop":
        proof.pop(data.draw(st.integers(0, len(proof) - 1)))
    elif kind == "add":
        proof.insert(data.draw(st.integers(0, len(proof))), HASHES[0])
    elif kind == "old root":
        old_root = leaf_hash(b"another")
    elif kind == "new root":
        new_root = leaf_hash(b"another")
    else:
        old_root, new_root = new_root, old_root
    with pytest.raises(ProofInvalid):
        verify_consistency(old, new, proof, old_root, new_root)


def test_consistency_at_the_ends() -> None:
    verify_consistency(0, 7, [], EMPTY_ROOT, mth(0, 7))
    verify_consistency(7, 7, [], mth(0, 7), mth(0, 7))
    for old, new, proof, before, after in [
        (0, 7, [], mth(0, 1), mth(0, 7)),
        (7, 7, [], mth(0, 6), mth(0, 7)),
        (0, 7, [HASHES[0]], EMPTY_ROOT, mth(0, 7)),
        (8, 7, [], mth(0, 8), mth(0, 7)),
        (6, 7, [], mth(0, 6), mth(0, 7)),
    ]:
        with pytest.raises(ProofInvalid):
            verify_consistency(old, new, proof, before, after)


@pytest.mark.parametrize(("index", "size"), [(3, 3), (-1, 3), (0, 5)])
def test_questions_about_what_is_not_there(index: int, size: int) -> None:
    three = HashTree()
    three.extend(HASHES[:3])
    with pytest.raises(ValueError):
        three.inclusion_proof(index, size)


def test_leaves_and_nodes_cannot_be_taken_for_each_other() -> None:
    assert leaf_hash(HASHES[0] + HASHES[1]) != node_hash(HASHES[0], HASHES[1])
