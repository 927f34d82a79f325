"""Real servers on loopback that notices are sent to: HTTP that behaves as told, and SMTP with TLS."""

from __future__ import annotations

import base64
import hashlib
import hmac
import queue
import secrets
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Delivery:
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


Behave = Callable[[socket.socket, Delivery], None]


def answer(status: int, *headers: str) -> Behave:
    def behave(connection: socket.socket, _: Delivery) -> None:
        lines = [f"HTTP/1.1 {status} x", "content-length: 0", "connection: close", *headers]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())

    return behave


def hang(connection: socket.socket, _: Delivery) -> None:
    """Says nothing until the other side goes."""
    connection.settimeout(60)
    connection.recv(1)


def drip(connection: socket.socket, _: Delivery) -> None:
    """A head that never ends, a byte now and then."""
    try:
        connection.sendall(b"HTTP/1.1 200 ok\r\nx: ")
        while True:
            connection.sendall(b"a")
            time.sleep(0.05)
    except OSError:
        pass


def flood(connection: socket.socket, _: Delivery) -> None:
    """An answer of a terabyte."""
    try:
        connection.sendall(b"HTTP/1.1 200 ok\r\ncontent-length: 1000000000000\r\n\r\n")
        while True:
            connection.sendall(bytes(1 << 16))
    except OSError:
        pass


class Receiver:
    """An HTTP server. `behave` is what it does with the next requests; every one it read is in `deliveries`."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.behave: Behave = answer(204)
        self.deliveries: queue.Queue[Delivery] = queue.Queue()
        self.seen: list[Delivery] = []
        self.path = f"/hook/{secrets.token_hex(8)}"
        receiver = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    connection = tls.wrap_socket(self.request, server_side=True) if tls else self.request
                    delivery = _read(connection)
                    receiver.seen.append(delivery)
                    receiver.deliveries.put(delivery)
                    receiver.behave(connection, delivery)
                    connection.close()
                except (OSError, ValueError):
                    pass

        self._server = _Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}{self.path}"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next(self, seconds: float = 20.0) -> Delivery:
        return self.deliveries.get(timeout=seconds)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@dataclass
class Smtp:
    """What the mail server does: `starttls` from a context, or TLS from the first byte; what it answers to whom."""

    tls: ssl.SSLContext | None = None
    at_once: bool = False  # TLS from the first byte
    password: str = ""  # wanted of user "tally", after TLS
    recipients: dict[str, int] = field(default_factory=dict)  # other codes than 250
    data: int = 250
    drips: bool = False


class MailServer:
    """Mails that were taken are in `mails`: who, to whom, and the whole text."""

    def __init__(self, how: Smtp) -> None:
        self.mails: queue.Queue[tuple[str, list[str], str]] = queue.Queue()
        self.commands: list[str] = []
        self.connections = 0
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                server.connections += 1
                try:
                    _talk(server, how, self.request)
                except (OSError, ValueError):
                    pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def __enter__(self) -> MailServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _talk(server: MailServer, how: Smtp, connection: socket.socket) -> None:
    """RFC 5321, as much of it as smtplib speaks."""
    if how.at_once:
        assert how.tls
        connection = how.tls.wrap_socket(connection, server_side=True)
    safe, logged_in = how.at_once, not how.password
    lines = connection.makefile("rb")

    def say(text: str) -> None:
        connection.sendall(f"{text}\r\n".encode())

    if how.drips:
        while True:
            connection.sendall(b"2")
            time.sleep(0.05)
    say("220 mail ESMTP")
    sender, to = "", []
    while line := lines.readline().decode().strip():
        server.commands.append(line)
        word = line.split()[0].upper()
        if word == "EHLO":
            offers = ["STARTTLS"] * (how.tls is not None and not safe) + ["AUTH PLAIN"] * (safe and bool(how.password))
            for offer in ["mail", *offers][:-1] if offers else []:
                say(f"250-{offer}")
            say(f"250 {offers[-1] if offers else 'mail'}")
        elif word == "STARTTLS" and how.tls:
            say("220 go on")
            lines.close()
            connection = how.tls.wrap_socket(connection, server_side=True)
            lines, safe = connection.makefile("rb"), True
        elif word == "AUTH":
            logged_in = base64.b64decode(line.split()[2]).split(b"\0")[1:] == [b"tally", how.password.encode()]
            say("235 ok" if logged_in else "535 no")
        elif not logged_in:
            say("530 who are you")
        elif word == "MAIL":
            sender = line.partition("<")[2].partition(">")[0]
            say("250 ok")
        elif word == "RCPT":
            one = line.partition("<")[2].partition(">")[0]
            code = how.recipients.get(one, 250)
            to += [one] * (code == 250)
            say(f"{code} x")
        elif word == "DATA":
            say("354 go on")
            text = []
            while (got := lines.readline()) not in (b".\r\n", b""):
                text.append(got[1:] if got.startswith(b".") else got)
            if how.data == 250:
                server.mails.put((sender, to, b"".join(text).decode()))
            say(f"{how.data} x")
        else:
            say("221 bye" if word == "QUIT" else "250 ok")


def _read(connection: socket.socket) -> Delivery:
    raw = b""
    while b"\r\n\r\n" not in raw:
        got = connection.recv(65536)
        if not got:
            raise ValueError("no request")
        raw += got
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    assert first.startswith("POST ")
    return Delivery(first.split()[1], headers, body)


def verified(delivery: Delivery, secret: str, now_s: float | None = None) -> None:
    """As the specification of Standard Webhooks has it, written from its text alone."""
    name, at = delivery.headers["webhook-id"], delivery.headers["webhook-timestamp"]
    assert abs((time.time() if now_s is None else now_s) - int(at)) < 300
    key = base64.b64decode(secret.split("_", 1)[1])
    said = hmac.new(key, f"{name}.{at}.".encode() + delivery.body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(said).decode()
    assert expected in delivery.headers["webhook-signature"].split(" ")
