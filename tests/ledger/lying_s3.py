"""A proxy before a real MinIO that lies in one thing: everything else stays true. It signs anew what it changed."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from minio.credentials import Credentials
from minio.signer import sign_v4_s3

UNSIGNED = ("authorization", "connection", "accept-encoding", "content-length", "host", "x-amz-date")


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: bytes
    user: str  # the access key


@dataclass
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes = b""


Send = Callable[[Asked], Answer]
Lie = Callable[[Asked, Send], Answer | None]
"""Answers a request, by sending it on as it is or changed, or by itself; None hangs up."""


def error(status: int, code: str) -> Answer:
    text = f"<Error><Code>{code}</Code><Message>as the proxy says</Message></Error>"
    return Answer(status, {"content-type": "application/xml"}, text.encode())


@contextlib.contextmanager
def lying(endpoint: str, files: list[Path], lie: Lie) -> Iterator[str]:
    """Gives the proxy's host:port. `files` hold the credentials of all who will ask."""
    known = [_credentials(f) for f in files]
    keys = {c.access_key: c for c in known}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = urlsplit(self.path)
            user = next(k for k in keys if f"Credential={k}/" in self.headers["authorization"])
            headers = {k.lower(): v for k, v in self.headers.items() if k.lower() not in UNSIGNED}
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            asked = Asked(self.command, parts.path, query, headers, body, user)
            answer = lie(asked, lambda a: _send(endpoint, a, keys[a.user]))
            if answer is None:
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = handle_any

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _send(endpoint: str, asked: Asked, credentials: Credentials) -> Answer:
    now = datetime.now(UTC)
    query = urlencode(sorted(asked.query.items()))
    url = urlsplit(f"http://{endpoint}{asked.path}?{query}")
    digest = sha256(asked.body).hexdigest()
    headers = {**asked.headers, "host": endpoint, "x-amz-content-sha256": digest}
    headers["x-amz-date"] = now.strftime("%Y%m%dT%H%M%SZ")
    signed = sign_v4_s3(
        method=asked.method,
        url=url,
        region="us-east-1",
        headers=headers,
        credentials=credentials,
        content_sha256=digest,
        date=now,
    )
    connection = http.client.HTTPConnection(endpoint, timeout=30)
    try:
        connection.request(asked.method, f"{asked.path}?{query}", asked.body, dict(signed))
        got = connection.getresponse()
        return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
    finally:
        connection.close()


def _credentials(path: Path) -> Credentials:
    parser = ConfigParser()
    parser.read_string(path.read_text())
    return Credentials(parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"])
