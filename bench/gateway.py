"""pgbench through nothing, pgbouncer and the gateway, interleaved in one run, as ratios.

    python -m bench.gateway [--seconds 5] [--rounds 2]

Only the gateway process runs beside the target: no mask worker, no ledger. The
journal is the real recorder's, on a temporary directory. Compare within a run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tests.conftest as servers
from ingest.gateway import Gateway
from ingest.postgres.scram import Verifier
from ingest.recorder import Recorder
from ingest.settings import Durability, GatewaySettings, Identity, Target
from policy import rules
from seal.keyfiles import MaskerPublic
from seal.sign import Signer

ENV = {**os.environ, "PGPASSWORD": "bench"}


class NoBus:
    """Takes the boot and the beats, and gives no grants."""

    async def send(self, topic: str, items: Any) -> None: ...

    async def batch(self, most: int, timeout_s: float) -> list[Any]:
        await asyncio.sleep(timeout_s)
        return []


async def serve(port: int, target: str, durability: str, home: Path) -> None:
    from nacl.public import PrivateKey

    public = bytes(PrivateKey.generate().public_key)
    recorder = Recorder("bench", home, Signer("gateway", b"s" * 32), MaskerPublic("m1", public), NoBus(), "bench")
    await recorder.start()
    identity = Identity("bench", "bench", str(Verifier.of("bench", b"0123456789abcdef")))
    settings = GatewaySettings(
        "bench",
        "127.0.0.1",
        port,
        Target.of(target),
        "test",
        (identity,),
        "http://none",
        durability=Durability(durability),
    )
    gateway = Gateway(settings, recorder, rules.parse(rules.default_text()), NoBus(), b"m" * 32, home / "used")
    await gateway.serve()
    await asyncio.Event().wait()


def pgbench(port: int, mode: str, clients: int, seconds: int, user: str) -> float:
    command = ["pgbench", "-h", "127.0.0.1", "-p", str(port), "-U", user, "-S", "-n", "-M", mode]
    command += ["-c", str(clients), "-j", str(min(2, clients)), "-T", str(seconds), "postgres"]
    out = subprocess.run(command, capture_output=True, text=True, env=ENV, check=False)
    found = re.search(r"tps = ([0-9.]+)", out.stdout)
    if found is None:
        print(out.stderr[-500:], file=sys.stderr)
        return 0.0
    return float(found.group(1))


def bouncer(home: Path, target_port: int) -> tuple[int, subprocess.Popen[bytes]] | None:
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not Path(program).exists():
        return None
    port = servers.free_port()
    (home / "users").write_text('"postgres" ""\n')
    (home / "b.ini").write_text(
        f"[databases]\npostgres = host=127.0.0.1 port={target_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = trust\nauth_file = {home}/users\npool_mode = session\n"
        f"unix_socket_dir =\nlogfile = {home}/log\n"
    )
    subprocess.run(["chown", "-R", "nobody", str(home)], check=False)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return port, subprocess.Popen([program, "-u", "nobody", str(home / "b.ini")], **quiet)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--serve", nargs=4)
    args = parser.parse_args()
    if args.serve:
        import uvloop

        port, target, durability, home = args.serve
        uvloop.run(serve(int(port), target, durability, Path(home)))
        return
    children: list[subprocess.Popen[bytes]] = []
    homes: list[Path] = []

    def home() -> Path:
        homes.append(Path(tempfile.mkdtemp(prefix="tallystick-bench-")))
        homes[-1].chmod(0o755)
        return homes[-1]

    with servers.running_postgres() as postgres:
        try:
            subprocess.run(
                ["pgbench", "-i", "-q", "-s", "10", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres"],
                check=True,
                capture_output=True,
                env={**ENV, "PGDATABASE": "postgres"},
            )
            ways: dict[str, tuple[int, str]] = {"direct": (postgres.port, "postgres")}
            pool = bouncer(home(), postgres.port)
            if pool is not None:
                ways["pgbouncer"] = (pool[0], "postgres")
                children.append(pool[1])
            for durability in ("write", "by-effect", "fsync"):
                port = servers.free_port()
                child = [sys.executable, "-m", "bench.gateway", "--serve", str(port), postgres.url(), durability]
                children.append(subprocess.Popen([*child, str(home())]))
                ways[f"gateway {durability}"] = (port, "bench")
            time.sleep(2)
            measure(ways, args.seconds, args.rounds)
        finally:
            for process in children:
                process.terminate()
                process.wait(10)
            for each in homes:
                shutil.rmtree(each, ignore_errors=True)


def measure(ways: dict[str, tuple[int, str]], seconds: int, rounds: int) -> None:
    print(f"{os.cpu_count()} cores; only the gateway beside the target, no mask worker; median of {rounds} rounds")
    for mode in ("simple", "prepared"):
        for clients in (8, 1):
            found: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, (port, user) in ways.items():
                    found[name].append(pgbench(port, mode, clients, seconds, user))
            medians = {name: statistics.median(values) for name, values in found.items()}
            base = medians.get("pgbouncer") or medians["direct"]
            for name, tps in medians.items():
                ratio = tps / base if base else 0.0
                latency = clients * 1000 / tps if tps else 0.0
                print(f"{mode:9} -c{clients} {name:18} {tps:9.0f} tps  {latency:6.3f} ms  {ratio:5.2f}x")


if __name__ == "__main__":
    main()
