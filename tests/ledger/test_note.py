"""Signed notes and checkpoints as C2SP and golang.org/x/mod/sumdb/note have them."""

import pytest

from ledger import proof
from ledger.note import BadNote, Checkpoint, VerifierKey, open_checkpoint, open_note, parse_vkey, sign_checkpoint
from ledger.tree import HashTree, ProofInvalid, leaf_hash
from seal.sign import Signer

# The example of golang.org/x/mod/sumdb/note's documentation.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

SIGNER = Signer("ledger", bytes(range(32)))
KEY = VerifierKey("tallystick.test/0", SIGNER.public)


def test_the_go_documentations_note_opens_and_its_key_reads_back() -> None:
    key = parse_vkey(PETER)
    assert str(key) == PETER
    assert open_note(NOTE, key).startswith("If you think")


@pytest.mark.parametrize("at", [0, 40, 120, len(NOTE) - 20])
def test_a_changed_note_does_not_open(at: int) -> None:
    changed = NOTE[:at] + bytes([NOTE[at] ^ 1]) + NOTE[at + 1 :]
    with pytest.raises(BadNote):
        open_note(changed, parse_vkey(PETER))


def test_signing_again_gives_the_same_bytes() -> None:
    checkpoint = Checkpoint(KEY.name, 3, bytes(32))
    note = sign_checkpoint(checkpoint, SIGNER)
    assert note == sign_checkpoint(checkpoint, SIGNER)
    assert open_checkpoint(note, parse_vkey(str(KEY))) == checkpoint


def test_other_peoples_signatures_are_ignored_and_none_of_ours_is_an_error() -> None:
    note = sign_checkpoint(Checkpoint(KEY.name, 3, bytes(32)), SIGNER)
    witnessed = note + "— witness.example AAAAAAAA\n".encode()
    assert open_checkpoint(witnessed, KEY).size == 3
    with pytest.raises(BadNote, match="no signature by the trusted key"):
        open_checkpoint(note, VerifierKey("other.test/0", SIGNER.public))


@pytest.mark.parametrize(
    "vkey", ["", "x", "a+b+c", PETER[:-4], PETER.replace("c74f20a3", "c74f20a4"), PETER.replace("+AR", "+BR")]
)
def test_a_damaged_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(BadNote):
        parse_vkey(vkey)


def test_a_proof_text_verifies_its_entry_and_no_other() -> None:
    leaves = [bytes([i]) for i in range(7)]
    tree = HashTree()
    tree.extend([leaf_hash(leaf) for leaf in leaves])
    note = sign_checkpoint(Checkpoint(KEY.name, 7, tree.root(7)), SIGNER)
    text = proof.Proof(5, tuple(tree.inclusion_proof(5, 7)), note).text()
    assert text.startswith("c2sp.org/tlog-proof@v1\nindex 5\n")
    proof.verify(proof.parse(text), leaves[5], KEY)
    with pytest.raises(ProofInvalid):
        proof.verify(proof.parse(text), leaves[4], KEY)
    with pytest.raises(ProofInvalid):
        proof.verify(proof.parse(text.replace("index 5", "index 4")), leaves[5], KEY)
    for damaged in ("", text.replace("index", "indx"), text.replace("tlog-proof@v1", "tlog-proof@v2")):
        with pytest.raises(ProofInvalid):
            proof.parse(damaged)
