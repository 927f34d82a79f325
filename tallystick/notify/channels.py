"""How a message leaves: an HTTP POST, signed as Standard Webhooks say or to Slack, or a mail.

One try, with a deadline of its own; who calls tries again. Errors are words of ours and numbers: the
URL of a webhook is a secret, and what a server answers is neither read nor logged. No redirect is
followed, no proxy of the environment is used, and a certificate is always checked.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.utils import formatdate
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from tallystick.backends import read_secret
from tallystick.config import Address, ConfigInvalid, Notify
from tallystick.notify import words
from tallystick.notify.outbox import Message
from tallystick.version import VERSION

TRY_S = 10.0
_MESSAGE_REFUSED = frozenset({400, 413, 422})
"""A receiver that works, and will not have this message; anything else is tried for longer."""
_SECRET = "whsec_"  # noqa: S105


class NotSent(RuntimeError):
    """It may have arrived all the same. The words hold no secret."""


class MessageRefused(NotSent):
    """The receiver is there and will not have this one."""


class Channel(Protocol):
    name: str

    async def send(self, message: Message) -> None:
        """Within TRY_S. Raises NotSent, MessageRefused."""

    async def reach(self) -> str:
        """What can be tried without sending anything, in words. Raises NotSent."""


def channel(settings: Notify, door: str, clock: Callable[[], float]) -> Channel:
    """With its secrets read; `clock` gives Unix seconds. Raises ConfigInvalid."""
    if settings.kind == "email":
        return Mail(settings, door)
    return Post(settings, door, clock)


# --- HTTP ----------------------------------------------------------------------------------


class Post:
    """Of kind `webhook` or `slack`."""

    def __init__(self, settings: Notify, door: str, clock: Callable[[], float]) -> None:
        assert settings.url_file is not None  # noqa: S101  # the config has seen to it
        self.name, self._door, self._clock = settings.name, door, clock
        self._slack = settings.kind == "slack"
        self._url = _url(settings.url_file, insecure=settings.insecure)
        self._secrets = _signing(settings.secret_file) if settings.secret_file else ()
        self._tls = _context(settings)

    async def send(self, message: Message) -> None:
        body = words.slack(message, self._door) if self._slack else words.payload(message, self._door)
        headers = {"content-type": "application/json; charset=utf-8", "user-agent": f"tallystick/{VERSION}"}
        if not self._slack:
            headers |= signed(message.id, int(self._clock()), body, self._secrets)
        status = await self._post(body, headers)
        if status in _MESSAGE_REFUSED:
            raise MessageRefused(f"HTTP {status}")
        if not 200 <= status < 300:
            raise NotSent(f"HTTP {status}")

    async def _post(self, body: bytes, headers: dict[str, str]) -> int:
        """The status alone: an answer's body is never read."""
        try:
            async with (
                asyncio.timeout(TRY_S),
                httpx.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=TRY_S) as client,
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                return answer.status_code
        except TimeoutError:
            raise NotSent(f"no answer within {TRY_S:g} s") from None
        except (httpx.HTTPError, OSError, ssl.SSLError) as e:  # their texts may hold the URL
            raise NotSent(type(e).__name__) from None

    async def reach(self) -> str:
        parts = urlsplit(self._url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        tls = self._tls if parts.scheme == "https" else None
        try:
            async with asyncio.timeout(TRY_S):
                _, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls)
            writer.close()
        except TimeoutError:
            raise NotSent(f"no connection within {TRY_S:g} s") from None
        except OSError as e:
            raise NotSent(f"no connection ({type(e).__name__})") from None
        count = len(self._secrets)
        signs = f", signed with {count} secret{'s' * (count > 1)}" if count else ""
        return f"{parts.scheme} to {parts.hostname}{signs}"


def signed(name: str, at_s: int, body: bytes, secrets: tuple[bytes, ...]) -> dict[str, str]:
    """The headers of Standard Webhooks 1.0; one signature a secret, so that a receiver changes them one by one."""
    said = b"%s.%d.%s" % (name.encode(), at_s, body)
    signatures = [base64.b64encode(hmac.digest(secret, said, hashlib.sha256)).decode() for secret in secrets]
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _url(path: Path, *, insecure: bool) -> str:
    url = read_secret(path, "a URL that lets in who knows it")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url or parts.username or parts.fragment:
        raise ConfigInvalid(f"{path}: must hold one URL, like https://hooks.internal/path")
    if parts.scheme == "http" and not (insecure or loopback(parts.hostname or "")):
        raise ConfigInvalid(f"{path}: plain http leaves this machine; use https, or say insecure = true")
    return url


def loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _signing(path: Path) -> tuple[bytes, ...]:
    """One a line: `whsec_` and 24 to 64 bytes in base64."""
    found = []
    for line in read_secret(path, "the secrets that sign webhooks").split():
        try:
            raw = base64.b64decode(line.removeprefix(_SECRET), validate=True)
        except ValueError:
            raw = b""
        if not line.startswith(_SECRET) or not 24 <= len(raw) <= 64:
            raise ConfigInvalid(f"{path}: each line must be {_SECRET} and 24 to 64 bytes in base64")
        found.append(raw)
    if not found:
        raise ConfigInvalid(f"{path}: holds no secret; make one: echo whsec_$(openssl rand -base64 32) > {path}")
    return tuple(found)


# --- mail ----------------------------------------------------------------------------------


class Mail:
    """By SMTP, in a thread of its own. STARTTLS that is not offered is a fault, never a reason to go on without."""

    def __init__(self, settings: Notify, door: str) -> None:
        assert settings.server is not None  # noqa: S101  # the config has seen to it
        if settings.tls == "none" and not (settings.insecure or loopback(settings.server.host)):
            raise ConfigInvalid(f'notify {settings.name}: tls = "none" leaves this machine; or say insecure = true')
        self.name, self._settings, self._door, self._server = settings.name, settings, door, settings.server
        self._password = read_secret(settings.password_file, "a password") if settings.password_file else ""
        self._tls = _context(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"mail {settings.name}")

    async def send(self, message: Message) -> None:
        mail = self._mail(message)
        await self._within(lambda smtp: _sent(smtp, mail, self._settings))

    async def reach(self) -> str:
        await self._within(lambda smtp: None)
        user = f" as {self._settings.user}" if self._settings.user else ""
        return f"mail by {self._server}{user}, tls {self._settings.tls}, to {len(self._settings.to)}"

    async def _within(self, talk: Callable[[smtplib.SMTP], None]) -> None:
        talking = _Talk(self._settings, self._server, self._password, self._tls)
        running = asyncio.get_running_loop().run_in_executor(self._thread, talking.run, talk)
        try:
            async with asyncio.timeout(TRY_S):
                await asyncio.shield(running)
        except TimeoutError:
            raise NotSent(f"no answer within {TRY_S:g} s") from None
        finally:
            talking.end()
            running.add_done_callback(lambda done: done.exception())  # nobody else may be there to see it

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._settings.sender
        mail["To"] = ", ".join(self._settings.to)
        mail["Subject"] = f"[tallystick] {words.title(message)}"[:200]
        mail["Date"] = formatdate(message.at_us / 1_000_000)
        mail["Message-ID"] = f"<{message.id}@{self._settings.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(words.text(message, self._door))
        return mail


class _Line(smtplib.SMTP):
    """`held` is another handle of its socket, there before the first byte is read: shut, it ends whatever waits."""

    def __init__(self, talk: _Talk, host: str, port: int, us: str, at_once: ssl.SSLContext | None) -> None:
        self._talk, self._at_once = talk, at_once
        super().__init__(host, port, us, timeout=TRY_S)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = socket.create_connection((host, port), timeout)
        self._talk.hold(sock.dup())
        return self._at_once.wrap_socket(sock, server_hostname=host) if self._at_once else sock


class _Talk:
    """One connection, which another thread may end: a server that drips bytes would hold it for ever."""

    def __init__(self, settings: Notify, at: Address, password: str, tls: ssl.SSLContext) -> None:
        self._settings, self._at, self._password, self._tls = settings, at, password, tls
        self._held: socket.socket | None = None
        self._over = threading.Lock()
        self._ended = False

    def run(self, talk: Callable[[smtplib.SMTP], None]) -> None:
        """Raises NotSent, MessageRefused."""
        try:
            if self._ended:  # it waited for the thread longer than it had
                raise NotSent("the try before it did not end")
            with self._connected() as smtp:
                talk(smtp)
        except smtplib.SMTPResponseException as e:
            raise NotSent(f"SMTP {e.smtp_code}") from None
        except (smtplib.SMTPException, OSError) as e:  # their texts are the server's
            raise NotSent(type(e).__name__) from None
        finally:
            self.end()

    def _connected(self) -> smtplib.SMTP:
        settings = self._settings
        us = settings.sender.rpartition("@")[2]
        smtp = _Line(self, self._at.host, self._at.port, us, self._tls if settings.tls == "tls" else None)
        if settings.tls == "starttls":
            smtp.starttls(context=self._tls)
        if settings.user:
            smtp.login(settings.user, self._password)
        return smtp

    def hold(self, handle: socket.socket) -> None:
        with self._over:
            self._held = handle
        if self._ended:
            self.end()

    def end(self) -> None:
        self._ended = True
        with self._over:
            held, self._held = self._held, None
        if held is None:
            return
        try:
            held.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was first
        finally:
            held.close()


def _sent(smtp: smtplib.SMTP, mail: EmailMessage, settings: Notify) -> None:
    """To all, or it raises: that some had it is no reason to leave others out."""
    try:
        refused = smtp.send_message(mail, settings.sender, list(settings.to))
    except smtplib.SMTPRecipientsRefused as e:
        refused = e.recipients
    except (smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as e:
        raise (MessageRefused if e.smtp_code >= 500 else NotSent)(f"SMTP {e.smtp_code}") from None
    codes = sorted({code for code, _ in refused.values()})
    if codes:
        words = f"SMTP {codes[0]} for {len(refused)} of {len(settings.to)} recipients"
        raise (MessageRefused if codes[0] >= 500 else NotSent)(words)


def _context(settings: Notify) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError) as e:
        raise ConfigInvalid(f"{settings.ca}: cannot be read as certificates to trust") from e
