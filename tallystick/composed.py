"""The two one-shot services of docker-compose.yml: what must be there before the others start.

    python -m tallystick.composed passwords     those of the servers, before these start
    python -m tallystick.composed setup         keys, config and policy; the bucket, its writer, the topics

Both may run again: what is there stays, what is missing is made. Nothing is printed that is
secret. Each service gets a volume with the keys that it needs and no others (ask has the masker's):

    /made       everything, root key too: mounted here alone. Take root.key away
    /keys-<role>, in the role /keys     the files of ROLES
    /secrets    MinIO's root, as an env file        /target   the trial database's password
    /store      the writer's credentials            /config   tallystick.toml and policy.yaml
    /people     the reviewer's key, the password of the machine `ci`
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from pathlib import Path
from typing import Annotated

import typer

from bus.topics import BusDown
from ledger.s3_settings import StoreSettings
from ledger.store import StoreBroken
from seal.keyfiles import KeysUnusable
from tallystick import config as configuration
from tallystick import setup as first
from tallystick.backends import open_kafka
from tallystick.terminal import fail, say

ROLES = {
    "gateway": ("gateway.key", "match.secret", "masker-*.pub"),
    "mask": ("pipeline.key", "content.secret", "token.secret", "fingerprint.secret", "masker-*.key"),
    "approvals": ("approvals.key", "content.secret"),
    "behaviour": ("behaviour.key",),
    "ledger": ("ledger.key",),
    "notify": (),
    "people": ("content.secret",),  # who replays a session reads what was masked
}
PUBLIC = ("deployment.json", "enrolled/*.json")
MORE = """\
approvals_url = "http://127.0.0.1:7480"   # as people on this host reach it
ops = "0.0.0.0:7490"                # of the ledger; the mask worker takes 7491, approvals 7492, ask 7493,
                                    # behaviour 7495

[kafka]
replication = 1                     # one broker: what it loses is lost until gateways send it again
min_insync = 1
"""
MORE_GATEWAY = """\
target_password_file = "/target/password"
ops = "0.0.0.0:7494"
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Root = Annotated[Path, typer.Option(help="Before every path.")]


@app.command()
def passwords(root: Root = Path("/")) -> None:
    """Makes up the passwords that are not there yet."""
    try:
        lines = f"MINIO_ROOT_USER=root-{secrets.token_hex(4)}\nMINIO_ROOT_PASSWORD={first.new_password()}\n"
        _once(root / "secrets/minio.env", lines)
        _once(root / "target/password", first.new_password(), 0o444)  # PostgreSQL's user is another
        _once(root / "people/ci.password", first.new_password())
    except OSError as e:
        fail(f"{e.filename}: cannot be written ({e.strerror})")


@app.command()
def setup(
    kafka: Annotated[str, typer.Option(help="host:port")],
    minio: Annotated[str, typer.Option(help="host:port")],
    target: Annotated[str, typer.Option(help="postgresql://user@host:5432/database")],
    root: Root = Path("/"),
) -> None:
    """Makes the deployment, hands out its keys, and prepares the bucket and the topics."""
    try:
        _make(root, kafka, minio, target)
        _hand_out(root)
        config = configuration.load(root / "config/tallystick.toml")
        _prepare_bucket(root, config)
        asyncio.run(_prepare_topics(config))
    except (first.SetupRefused, KeysUnusable, configuration.ConfigInvalid, StoreBroken, BusDown) as e:
        fail(str(e))
    except OSError as e:
        fail(f"{e.filename}: {e.strerror}")
    say("ready. The reviewer's key and the password of user ci are in the volume `people`; take root.key out of `made`")


def _make(root: Path, kafka: str, minio: str, target: str) -> None:
    """In a folder beside its place, and then renamed: a crash leaves what the next run removes."""
    made, half = root / "made/deployment", root / "made/half"
    if made.exists():
        return
    shutil.rmtree(half, ignore_errors=True)
    first.make(
        half,
        target=target,
        name="orders-db",
        listen="0.0.0.0:15432",
        approvals="0.0.0.0:7480",
        deployment="composed",
        bus=f"kafka://{kafka}",
        store=f"s3://tally?endpoint=http://{minio}&credentials=/store/writer",
        more=MORE,
        more_gateway=MORE_GATEWAY,
        data="/data",
        keys="/keys",
        password=(root / "people/ci.password").read_text(encoding="ascii"),
    )
    half.rename(made)


def _hand_out(root: Path) -> None:
    """What is there already stays: a config may have been edited."""
    made = root / "made/deployment"
    for role, names in ROLES.items():
        for name in (*names, *PUBLIC):
            for path in sorted((made / "keys").glob(name)):
                _copy(path, root / f"keys-{role}" / path.relative_to(made / "keys"))
    for name in ("tallystick.toml", "policy.yaml"):
        _copy(made / name, root / "config" / name)
    _copy(made / "reviewer.key", root / "people/reviewer.key")


def _prepare_bucket(root: Path, config: configuration.Config) -> None:
    from ledger.s3_admin import prepare

    said = dict(line.split("=", 1) for line in (root / "secrets/minio.env").read_text(encoding="ascii").splitlines())
    settings = StoreSettings.parse(config.store)
    prepare(settings, said["MINIO_ROOT_USER"], said["MINIO_ROOT_PASSWORD"], root / "store/writer")


async def _prepare_topics(config: configuration.Config) -> None:
    await (await open_kafka(config)).close()


def _copy(path: Path, to: Path) -> None:
    if path.exists():  # root's own may have been taken away
        _once(to, path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777)


def _once(path: Path, text: str, mode: int = 0o600) -> None:
    """Whole or not at all; what is there stays."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    half.unlink(missing_ok=True)
    first.write_secret(half, text)
    half.chmod(mode)
    os.replace(half, path)


if __name__ == "__main__":
    app()
