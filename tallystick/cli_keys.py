"""`keys`: made, added to, wrapped, shown; a reviewer's own, and those in ssh-agent."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated

import typer

from seal import keyfiles, wrapping
from tallystick.terminal import fail, new_passphrase, note, passphrase, say
from tallystick.visible import visible

Directory = Annotated[Path, typer.Option("--dir", help="The key directory.")]
KEYS = Path("keys")


def register(app: typer.Typer) -> None:
    app.command("init", epilog="Example: tallystick keys init --dir keys --deployment acme")(init)
    app.command("add", epilog="Example: tallystick keys add behaviour --dir keys --root /media/safe/root.key")(add)
    app.command("renew", epilog="Example: tallystick keys renew --dir keys --root /media/safe/root.key")(renew)
    app.command("wrap", epilog="Example: tallystick keys wrap --dir keys --secret /run/secrets/tallystick-wrap")(wrap)
    app.command("show", epilog="Example: tallystick keys show --dir keys")(show)
    app.command("reviewer", epilog="Example: tallystick keys reviewer ~/.tallystick/alice.key --passphrase")(reviewer)
    app.command("passphrase", epilog="Example: tallystick keys passphrase ~/.tallystick/alice.key")(set_passphrase)
    app.command("agent", epilog="Example: tallystick keys agent")(agent)


def init(
    deployment: Annotated[str, typer.Option(help="The deployment's name: it is in the name of its log.")],
    directory: Annotated[Path, typer.Option("--dir", help="Where the keys go; outside the data directory.")] = Path(
        "keys"
    ),
) -> None:
    """Makes every key of a deployment. Take root.key off the machine afterwards."""
    try:
        keyfiles.init(directory, deployment)
    except keyfiles.KeysUnusable as e:
        fail(str(e))
    say(f"{directory}: made. Move {directory}/root.key to a safe place: it is needed only to enrol keys.")


def add(
    role: Annotated[str, typer.Argument(help="A role that a later release brought: behaviour.")],
    directory: Directory = KEYS,
    root: Annotated[Path | None, typer.Option(help="The root key's file; else root.key in the directory.")] = None,
) -> None:
    """Makes and enrols the key of a role that the key directory of an earlier release does not have."""
    if role not in keyfiles.ROLES:
        fail(f"no such role; there are: {', '.join(keyfiles.ROLES)}")
    try:
        at = root or directory / "root.key"
        keyfiles.add_role(directory, role, at, lambda: passphrase(at))
    except keyfiles.KeysUnusable as e:
        fail(str(e))
    say(f"{directory}/{role}.key: made and enrolled. Every role needs the new file in enrolled/, and a restart")


def renew(
    directory: Directory = KEYS,
    root: Annotated[Path | None, typer.Option(help="The root key's file; else root.key in the directory.")] = None,
) -> None:
    """Enrols every key for a year from now. Nobody believes one whose enrolment has ended: the record stops then."""
    try:
        at = root or directory / "root.key"
        made = keyfiles.renew(directory, at, lambda: passphrase(at))
    except keyfiles.KeysUnusable as e:
        fail(str(e))
    say(f"{directory}/enrolled: {len(made)} new files. Every role needs them, and a restart, the ledger first")


def wrap(
    directory: Directory = KEYS,
    secret: Annotated[Path | None, typer.Option(help="The secret's file; else as the roles are given it.")] = None,
    before: Annotated[Path | None, typer.Option("--from", help="The secret that wrapped them until now.")] = None,
) -> None:
    """Wraps the roles' keys, so that they open only beside a secret that is not on the same disk.

    The roles find it as systemd credential tallystick-wrap, or where TALLYSTICK_WRAP_FILE says. Keep a copy of it
    where you keep root.key: without it the keys are lost.
    """
    at = secret or wrapping.secret_file()
    if at is None:
        fail("--secret: name the file of the wrapping secret; make one: openssl rand -base64 32")
    if at.resolve().is_relative_to(directory.resolve()):
        fail(f"{at}: beside what it wraps, it is no secret; keep it elsewhere")
    try:
        given = wrapping.read_secret(at)
        changed, found = keyfiles.wrap_all(directory, given, wrapping.read_secret(before) if before else None)
    except (keyfiles.KeysUnusable, wrapping.CannotUnwrap) as e:
        fail(str(e))
    except OSError as e:
        fail(f"{directory}: {e.strerror}")
    if changed:
        say(f"{directory}: {changed} files were wrapped; start the roles with the secret, and keep a copy of it")
    else:
        say(f"{directory}: all {found} files are wrapped by this secret already")


def show(
    directory: Directory = KEYS,
    shard: Annotated[str, typer.Option(help="Whose log key to print.")] = "0",
) -> None:
    """Who is enrolled, until when, and the log's verifier key, which auditors need from you by another way."""
    from ledger.note import VerifierKey

    try:
        known = keyfiles.enrolled(directory)
        origin = keyfiles.origin(directory, shard)
    except keyfiles.KeysUnusable as e:
        fail(str(e))
    for one in known.all:
        until = one.until_us // 1_000_000
        say(f"{one.role:<10} {one.name:<28} {base64.b64encode(one.public_key).decode()} until {until}")
        if one.role == "ledger":
            say(f"{'log key':<10} {VerifierKey(origin, one.public_key)}")


def reviewer(
    path: Annotated[Path, typer.Argument(help="Where the private key goes; it stays with you.")],
    ask: Annotated[bool, typer.Option("--passphrase", help="Lock it with a passphrase, asked for here.")] = False,
) -> None:
    """Makes a reviewer's own key; prints the public text for the policy."""
    try:
        say(keyfiles.new_reviewer(path, new_passphrase(path) if ask else None))
    except keyfiles.KeysUnusable as e:
        fail(str(e))
    except OSError as e:
        fail(f"{path}: {e.strerror}")


def set_passphrase(
    path: Annotated[Path, typer.Argument(help="A reviewer's key file, or root.key.")],
) -> None:
    """Locks a person's key file with a passphrase, or with another one than before."""
    try:
        keyfiles.set_passphrase(path, lambda: passphrase(path), lambda: new_passphrase(path))
    except keyfiles.KeysUnusable as e:
        fail(str(e))
    except OSError as e:
        fail(f"{path}: {e.strerror}")
    say(f"{path}: locked. Copies made before are not: destroy them")


def agent() -> None:
    """The Ed25519 keys in your ssh-agent, as the policy wants a reviewer's: vote with --key ssh-agent."""
    from seal import ssh_agent
    from tallystick.cli_approvals import agent_socket

    try:
        found = ssh_agent.keys(agent_socket())
    except ssh_agent.AgentFailed as e:
        fail(str(e))
    for key in found:
        say(f"ed25519:{base64.b64encode(key.public).decode()}  {key.fingerprint}  {visible(key.comment)}")
    if not found:
        note("ssh-agent has no Ed25519 key; make one: ssh-keygen -t ed25519 && ssh-add")
