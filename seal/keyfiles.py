"""The key directory: one file a key, 0600, and who is enrolled.

    root.key                     signs enrolments; keep it off the machine
    <role>.key                   Ed25519 seed of gateway, pipeline, approvals, behaviour, ledger
    masker-<id>.key, .pub        X25519; gateways read only the .pub
    <purpose>.secret             match, token, fingerprint, content
    enrolled/<name>.json         public: name, role, key, from, until, signed by root
    deployment.json              public: the deployment's name and its root key

A role loads only its own files. The directory lies outside the data directory. What is in a private file may be
wrapped, so that it opens only beside a secret from elsewhere: see `wrapping.py`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacl.public import PrivateKey

from schemas.records import KeyEnrolled
from seal.digest import hkdf
from seal.sign import BadSignature, Domain, Signer, check
from seal.wrapping import CREDENTIAL, LOCKED, NAMED_BY, WRAPPED, CannotUnwrap, lock, read_secret, secret_file, unlock
from seal.wrapping import unwrap as unwrapped
from seal.wrapping import wrap as wrapped

ROLES = ("gateway", "pipeline", "approvals", "behaviour", "ledger")
PURPOSES = ("match", "token", "fingerprint", "content")
YEAR_US = 365 * 24 * 3600 * 1_000_000
_MASKER = re.compile(r"masker-[0-9]{8}-[0-9a-f]{8}\.key")
_DEPLOYMENT = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


class KeysUnusable(RuntimeError):
    """A key file is missing, readable by others, or not a key; the message says what to do."""


class NotEnrolled(ValueError):
    """No enrolment by the root key for this name in this role at this time."""


@dataclass(frozen=True, slots=True)
class MaskerPublic:
    id: str
    key: bytes


class MaskerKeys:
    """The private halves by key id; whoever holds these opens raw traffic."""

    __slots__ = ("_by_id",)

    def __init__(self, by_id: dict[str, bytes]) -> None:
        self._by_id = by_id

    def __repr__(self) -> str:
        return f"MaskerKeys({', '.join(self._by_id)})"

    def private(self, key_id: str) -> bytes:
        """Raises KeyError if this key was never here or was destroyed."""
        return self._by_id[key_id]

    @property
    def newest(self) -> str:
        return max(self._by_id)

    @property
    def privates(self) -> tuple[bytes, ...]:
        """Newest first."""
        return tuple(self._by_id[key_id] for key_id in sorted(self._by_id, reverse=True))


class Enrolled:
    """The keys that the deployment's root vouches for. Enrolments with a bad signature are no enrolments."""

    def __init__(self, root: bytes, enrolments: list[KeyEnrolled]) -> None:
        self.root = root
        self.all = tuple(e for e in enrolments if _genuine(root, e))

    def public(self, name: str, role: str, at_us: int) -> bytes:
        """Raises NotEnrolled."""
        for e in self.all:
            if e.name == name and e.role == role and e.from_us <= at_us < e.until_us:
                return e.public_key
        raise NotEnrolled(f"no {role} key is enrolled under this name at this time; see: tallystick keys show")


def enrolment_message(e: KeyEnrolled) -> bytes:
    parts = [e.name.encode(), e.role.encode(), e.public_key, str(e.from_us).encode(), str(e.until_us).encode()]
    return b"".join(len(p).to_bytes(4, "big") + p for p in parts)


def _genuine(root: bytes, e: KeyEnrolled) -> bool:
    try:
        check(root, Domain.ENROLMENT, enrolment_message(e), e.signature)
    except BadSignature:
        return False
    return True


def _write(path: Path, text: str, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="ascii") as f:
        f.write(text + "\n")
        f.flush()
        os.fsync(f.fileno())


Passphrase = Callable[[], str]
"""Asks a person for it; only where a key is locked."""


def _read_secret(path: Path, passphrase: Passphrase | None = None) -> bytes:
    text, mode = _read(path), path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeysUnusable(f"{path}: others may read it; run: chmod 600 {path}")
    try:
        raw = _opened(path.name, text, passphrase)
    except CannotUnwrap as e:
        raise KeysUnusable(f"{path}: {e}") from e
    except ValueError as e:
        raise KeysUnusable(f"{path}: not a key file") from e
    if len(raw) != 32:
        raise KeysUnusable(f"{path}: not a key file")
    return raw


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError as e:
        raise KeysUnusable(f"{path}: not a key file") from e
    except FileNotFoundError as e:
        raise KeysUnusable(f"{path}: cannot be read; make keys with: tallystick keys init") from e
    except OSError as e:
        raise KeysUnusable(f"{path}: cannot be read ({e.strerror})") from e


def _opened(name: str, text: str, passphrase: Passphrase | None) -> bytes:
    """Raises CannotUnwrap, ValueError."""
    if text.startswith(LOCKED):
        if passphrase is None:
            raise CannotUnwrap("locked with a passphrase, which nobody can be asked for here")
        return unlock(text, passphrase())
    if text.startswith(WRAPPED):
        given = secret_file()
        if given is None:
            raise CannotUnwrap(
                f"wrapped; give the secret as systemd credential {CREDENTIAL}, or its file in {NAMED_BY}"
            )
        return unwrapped(text, name, read_secret(given))
    return base64.b64decode(text, validate=True)


def _private(directory: Path) -> list[Path]:
    """Every file that roles read a secret from; what else lies there, and the root key, is a person's."""
    found = [path for role in ROLES if (path := directory / f"{role}.key").exists()]
    found += [path for purpose in PURPOSES if (path := directory / f"{purpose}.secret").exists()]
    return found + sorted(path for path in directory.glob("masker-*.key") if _MASKER.fullmatch(path.name))


def unwrapped_files(directory: Path) -> list[str]:
    """Names of those that whoever copies the directory can use. Raises KeysUnusable."""
    return [path.name for path in _private(directory) if not _read(path).startswith(WRAPPED)]


def wrap_all(directory: Path, secret: bytes, before: bytes | None) -> tuple[int, int]:
    """Wraps every private file but the root key; those that `before` wrapped, anew. Nothing is changed unless all of
    them open; each is then changed at once or not at all. How many were, of how many. Raises KeysUnusable."""
    found = _private(directory)
    if not found:
        raise KeysUnusable(f"{directory}: no keys are here; make them with: tallystick keys init")
    opened: list[tuple[Path, bytes]] = []
    for path in found:
        text = _read(path)
        try:
            if not text.startswith(WRAPPED):
                opened.append((path, _read_secret(path)))
            elif before is not None and not _opens(text, path.name, secret):
                opened.append((path, unwrapped(text, path.name, before)))
            else:
                unwrapped(text, path.name, secret)
        except CannotUnwrap as e:
            raise KeysUnusable(f"{path}: {e}") from e
    for path, raw in opened:
        _replace(path, wrapped(raw, path.name, secret))
    return len(opened), len(found)


def _opens(text: str, name: str, secret: bytes) -> bool:
    try:
        unwrapped(text, name, secret)
    except CannotUnwrap:
        return False
    return True


def set_passphrase(path: Path, old: Passphrase, new: Passphrase) -> None:
    """Locks a person's key file (a reviewer's, the root's), or locks it anew. Raises KeysUnusable."""
    raw = _read_secret(path, old)
    try:
        _replace(path, lock(raw, new()))
    except CannotUnwrap as e:
        raise KeysUnusable(f"{path}: {e}") from e


def _replace(path: Path, text: str) -> None:
    """The old file stays until the new one is whole on disk, with its owner and no more rights. Raises KeysUnusable."""
    was = path.lstat()
    if not stat.S_ISREG(was.st_mode):  # else what it leads to would stay as it is
        raise KeysUnusable(f"{path}: not a file but a link; name the file itself")
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)
    _write(beside, text, 0o600)
    try:
        if (was.st_uid, was.st_gid) != (beside.stat().st_uid, beside.stat().st_gid):
            os.chown(beside, was.st_uid, was.st_gid)
        beside.chmod(stat.S_IMODE(was.st_mode) & 0o700)
        beside.replace(path)
    except OSError as e:
        beside.unlink(missing_ok=True)
        raise KeysUnusable(f"{path}: cannot be replaced ({e.strerror})") from e
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def init(directory: Path, deployment: str) -> None:
    """Makes every key of a deployment. KeysUnusable if there are keys already."""
    if not _DEPLOYMENT.fullmatch(deployment):
        raise KeysUnusable("a deployment's name has lower-case letters, digits, dots and dashes")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    if any(directory.iterdir()):
        raise KeysUnusable(f"{directory}: not empty; keys are never overwritten")
    (directory / "enrolled").mkdir(mode=0o755)
    seed = secrets.token_bytes(32)
    root = Signer("root", seed)
    _write(directory / "root.key", _b64(seed), 0o600)
    _write(directory / "deployment.json", json.dumps({"deployment": deployment, "root": _b64(root.public)}), 0o644)
    for role in ROLES:
        _add_role(directory, root, role)
    for purpose in PURPOSES:
        _write(directory / f"{purpose}.secret", _b64(secrets.token_bytes(32)), 0o600)
    add_masker_key(directory, root)


def add_role(directory: Path, role: str, root: Path, passphrase: Passphrase | None = None) -> None:
    """The key of a role that the release which made this directory did not have. `root` is the root key's file.

    Raises KeysUnusable if the role has a key or an enrolment already, or the root key is not this deployment's.
    """
    if has_role(directory, role) or (directory / "enrolled" / f"{role}.json").exists():
        raise KeysUnusable(f"{directory}/{role}.key: there already; keys are never overwritten")
    signer = Signer("root", _read_secret(root, passphrase))
    if signer.public != enrolled(directory).root:
        raise KeysUnusable(f"{root}: not the root key of this deployment")
    _add_role(directory, signer, role)


def has_role(directory: Path, role: str) -> bool:
    return (directory / f"{role}.key").exists()


def _add_role(directory: Path, root: Signer, role: str) -> None:
    seed = secrets.token_bytes(32)
    _write(directory / f"{role}.key", _b64(seed), 0o600)
    enrol(directory, root, role, role, Signer(role, seed).public)


def add_masker_key(directory: Path, root: Signer) -> str:
    """A new masker pair, enrolled; gateways started from now on seal to it. Gives its id."""
    private = PrivateKey.generate()
    key_id = f"{time.strftime('%Y%m%d', time.gmtime())}-{secrets.token_hex(4)}"
    _write(directory / f"masker-{key_id}.key", _b64(bytes(private)), 0o600)
    _write(directory / f"masker-{key_id}.pub", _b64(bytes(private.public_key)), 0o644)
    enrol(directory, root, f"masker-{key_id}", "masker", bytes(private.public_key))
    return key_id


def renew(directory: Path, root: Path, passphrase: Passphrase | None = None) -> list[KeyEnrolled]:
    """Every key that is enrolled, for a year from now: after that nobody believes it. Keys stay as they are, and so do
    the enrolments before. Raises KeysUnusable."""
    signer = Signer("root", _read_secret(root, passphrase))
    known = enrolled(directory)
    if signer.public != known.root:
        raise KeysUnusable(f"{root}: not the root key of this deployment")
    newest: dict[tuple[str, str], KeyEnrolled] = {}
    for e in sorted(known.all, key=lambda e: e.until_us):
        newest[e.name, e.role] = e
    day = time.strftime("%Y%m%d", time.gmtime())
    files = {name: f"{name}-until-{day}-and-a-year" for name, _ in newest}
    for file in files.values():
        if (directory / "enrolled" / f"{file}.json").exists():
            raise KeysUnusable(f"{directory}/enrolled/{file}.json: there already; they were renewed today")
    return [enrol(directory, signer, e.name, e.role, e.public_key, files[e.name]) for e in newest.values()]


def ends_us(known: Enrolled, now_us: int) -> int:
    """When the first of the keys that count now is believed no longer. 0 if none counts."""
    ends: dict[tuple[str, str], int] = {}
    for e in known.all:
        if e.until_us > now_us:
            ends[e.name, e.role] = max(e.until_us, ends.get((e.name, e.role), 0))
    return min(ends.values(), default=0)


def enrol(directory: Path, root: Signer, name: str, role: str, public: bytes, file: str = "") -> KeyEnrolled:
    """Root's word, for a year, that this key is this name's in this role."""
    now = time.time_ns() // 1000
    unsigned = KeyEnrolled(name, role, public, now - 60_000_000, now + YEAR_US, b"")
    signature = root.sign(Domain.ENROLMENT, enrolment_message(unsigned))
    made = KeyEnrolled(name, role, public, unsigned.from_us, unsigned.until_us, signature)
    described = {
        "name": name,
        "role": role,
        "key": _b64(public),
        "from_us": made.from_us,
        "until_us": made.until_us,
        "signature": _b64(signature),
    }
    _write(directory / "enrolled" / f"{file or name}.json", json.dumps(described), 0o644)
    return made


def load_signer(directory: Path, role: str) -> Signer:
    """Raises KeysUnusable."""
    return Signer(role, _read_secret(directory / f"{role}.key"))


def load_state_key(directory: Path, role: str) -> bytes:
    """What a role seals its state with: derived from its signing key. 32 bytes. Raises KeysUnusable."""
    return hkdf(_read_secret(directory / f"{role}.key"), b"tallystick/state/1")


def load_secret(directory: Path, purpose: str) -> bytes:
    """Raises KeysUnusable."""
    return _read_secret(directory / f"{purpose}.secret")


def load_masker(directory: Path) -> MaskerKeys:
    """Every private half that is still here. Raises KeysUnusable if none is."""
    found = {p.stem.removeprefix("masker-"): _read_secret(p) for p in directory.glob("masker-*.key")}
    if not found:
        raise KeysUnusable(f"{directory}: no masker key; make keys with: tallystick keys init")
    return MaskerKeys(found)


def load_masker_public(directory: Path) -> MaskerPublic:
    """The newest enrolled public half: an unenrolled one would send all traffic to a stranger."""
    now = time.time_ns() // 1000
    known = enrolled(directory)
    for path in sorted(directory.glob("masker-*.pub"), reverse=True):
        key_id = path.stem.removeprefix("masker-")
        key = base64.b64decode(path.read_text(encoding="ascii").strip())
        try:
            if known.public(f"masker-{key_id}", "masker", now) == key:
                return MaskerPublic(key_id, key)
        except NotEnrolled:
            continue
    raise KeysUnusable(f"{directory}: no enrolled masker key; see: tallystick keys show")


def _described(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise KeysUnusable(f"{path}: cannot be read; make keys with: tallystick keys init") from e


def enrolments(directory: Path) -> Iterator[KeyEnrolled]:
    for path in sorted((directory / "enrolled").glob("*.json")):
        d = _described(path)
        try:
            yield KeyEnrolled(
                d["name"],
                d["role"],
                base64.b64decode(d["key"]),
                d["from_us"],
                d["until_us"],
                base64.b64decode(d["signature"]),
            )
        except (KeyError, TypeError, ValueError) as e:
            raise KeysUnusable(f"{path}: not an enrolment") from e


def enrolled(directory: Path) -> Enrolled:
    """Raises KeysUnusable."""
    root = base64.b64decode(_described(directory / "deployment.json")["root"])
    return Enrolled(root, list(enrolments(directory)))


def origin(directory: Path, shard: str) -> str:
    """The log's name, as checkpoints bear it."""
    return f"tallystick.{_described(directory / 'deployment.json')['deployment']}/{shard}"


def new_reviewer(path: Path, passphrase: str | None = None) -> str:
    """Makes a reviewer's key file; gives the public text for the policy: `ed25519:<base64>`. Raises KeysUnusable,
    OSError."""
    seed = secrets.token_bytes(32)
    try:
        text = _b64(seed) if passphrase is None else lock(seed, passphrase)
    except CannotUnwrap as e:
        raise KeysUnusable(f"{path}: {e}") from e
    _write(path, text, 0o600)
    return "ed25519:" + _b64(Signer("reviewer", seed).public)


def load_reviewer(path: Path, name: str, passphrase: Passphrase | None = None) -> Signer:
    """Raises KeysUnusable."""
    return Signer(name, _read_secret(path, passphrase))
