"""A message leaves whole, signed and once a try; what is in the way is said without a secret. Servers are real."""

from __future__ import annotations

import asyncio
import base64
import json
import queue
import ssl
import time
from email import message_from_string
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import trustme

from schemas.ids import Position, Source
from tallystick.config import ConfigInvalid, Notify
from tallystick.notify import channels
from tallystick.notify.channels import MessageRefused, NotSent, channel, signed
from tallystick.notify.notices import notice
from tallystick.notify.outbox import Message, message
from tallystick.notify.requests import Memory
from tests.notify import receivers
from tests.notify.conftest import SECRET, Secret, asked, webhook
from tests.notify.receivers import Behave, Delivery, MailServer, Receiver, Smtp, answer, verified

DOOR = "https://tally.internal"
EVIL = "ci\r\nBcc: eve@evil.example\n<!channel> <https://evil.example|click> \u202e`*x*"


def opened(**changed: Any) -> Message:
    body = asked(**changed)
    told = notice(body, Source("approvals:a:0:r"), Position(7, 0, 0), 1_767_225_600_000_000, 3, Memory())
    assert told is not None
    return message([told], told.at_us)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_tls(authority: trustme.CA, host: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


async def send(settings: Notify, what: Message | None = None) -> None:
    await channel(settings, DOOR, time.time).send(what or opened())


# --- webhooks ------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_published_vector() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', (key,)) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


async def test_a_webhook_is_json_and_is_signed_with_every_secret(secret: Secret) -> None:
    other = "whsec_" + base64.b64encode(b"another secret of thirty bytes").decode()
    with Receiver() as receiver:
        settings = webhook(secret, receiver.url, secret_file=secret(f"{SECRET}\n{other}\n"))
        sent = opened()
        await send(settings, sent)
        got = receiver.next()
    assert got.path == receiver.path
    assert got.headers["webhook-id"] == sent.id
    assert len(got.headers["webhook-signature"].split(" ")) == 2
    verified(got, SECRET)
    verified(got, other)
    with pytest.raises(AssertionError):
        verified(Delivery(got.path, got.headers, got.body + b" "), SECRET)
    said = json.loads(got.body)
    assert (said["type"], said["timestamp"]) == ("request.opened", "2026-01-01T00:00:00.000000Z")
    assert said["data"]["signals"][0]["id"] == "Loss:Postgres/DeleteAll"
    assert said["data"]["expires"] == "2026-01-01T01:00:00Z"
    assert said["data"]["link"] == f"{DOOR}/approvals/{said['data']['request']}"


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_a_status_of_2xx_is_taken(secret: Secret, status: int) -> None:
    with Receiver() as receiver:
        receiver.behave = answer(status)
        await send(webhook(secret, receiver.url))


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, MessageRefused), (413, MessageRefused), (422, MessageRefused), (401, NotSent), (404, NotSent),
     (429, NotSent), (500, NotSent), (503, NotSent)],
)  # fmt: skip
async def test_another_status_is_not(secret: Secret, status: int, error: type[Exception]) -> None:
    with Receiver() as receiver:
        receiver.behave = answer(status)
        with pytest.raises(NotSent, match=f"^HTTP {status}$") as caught:
            await send(webhook(secret, receiver.url))
    assert type(caught.value) is error


async def test_a_redirect_is_not_followed(secret: Secret) -> None:
    with Receiver() as elsewhere, Receiver() as receiver:
        receiver.behave = answer(307, f"location: {elsewhere.url}")
        with pytest.raises(NotSent, match="HTTP 307"):
            await send(webhook(secret, receiver.url))
        assert elsewhere.deliveries.empty()


async def test_a_proxy_of_the_environment_is_not_asked(secret: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy, Receiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        await send(webhook(secret, receiver.url))
        assert receiver.next()
        assert proxy.deliveries.empty()


@pytest.mark.parametrize("behave", [receivers.hang, receivers.drip], ids=["hang", "drip"])
async def test_who_does_not_answer_in_time_is_left(
    secret: Secret, behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "TRY_S", 0.5)
    with Receiver() as receiver:
        receiver.behave = behave
        began = time.monotonic()
        with pytest.raises(NotSent, match=r"no answer within 0\.5 s|ReadTimeout"):
            await send(webhook(secret, receiver.url))
        assert time.monotonic() - began < 5


async def test_of_an_answer_without_end_nothing_is_read(secret: Secret) -> None:
    with Receiver() as receiver:
        receiver.behave = receivers.flood
        began = time.monotonic()
        await send(webhook(secret, receiver.url))
        assert time.monotonic() - began < 5


async def test_nobody_there_is_said_without_the_url(secret: Secret) -> None:
    with Receiver() as receiver:
        url = receiver.url
    with pytest.raises(NotSent) as caught:
        await send(webhook(secret, url))
    assert str(caught.value) == "ConnectError"
    assert receiver.path not in repr(caught.value.__context__ and caught.value)


async def test_a_certificate_is_checked(secret: Secret, authority: trustme.CA, trusted: Path) -> None:
    with Receiver(server_tls(authority)) as receiver:
        await send(webhook(secret, receiver.url, ca=trusted))
        verified(receiver.next(), SECRET)
        with pytest.raises(NotSent, match="ConnectError"):
            await send(webhook(secret, receiver.url))
    with Receiver(server_tls(authority, "other.internal")) as receiver:
        with pytest.raises(NotSent, match="ConnectError"):
            await send(webhook(secret, receiver.url, ca=trusted))
        assert receiver.deliveries.empty()


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("http://hooks.internal/x", {}, "plain http leaves this machine"),
        ("http://localhost.evil.example/x", {}, "plain http leaves this machine"),
        ("http://127.0.0.1.evil.example/x", {}, "plain http leaves this machine"),
        ("http://10.0.0.1/x", {}, "plain http leaves this machine"),
        ("ftp://hooks.internal/x", {}, "must hold one URL"),
        ("file:///etc/passwd", {}, "must hold one URL"),
        ("https://user:pw@hooks.internal/x", {}, "must hold one URL"),
        ("https://hooks.internal:99999/x", {}, "must hold one URL"),
        ("https://hooks.internal/x\nhttps://two", {}, "must hold one URL"),
        ("", {}, "must hold one URL"),
        ("http://hooks.internal/x", {"insecure": True}, None),
        ("http://[::1]:8080/x", {}, None),
        ("http://localhost:8080/x", {}, None),
        ("https://hooks.internal/x", {}, None),
    ],
)  # fmt: skip
def test_which_urls_are_taken(secret: Secret, url: str, more: dict[str, Any], says: str | None) -> None:
    settings = webhook(secret, url, **more)
    if says is None:
        channel(settings, DOOR, time.time)
        return
    with pytest.raises(ConfigInvalid, match=says) as caught:
        channel(settings, DOOR, time.time)
    assert "evil" not in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "no-prefix" * 4, "whsec_!!!!", f"{SECRET}\nnot one"])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: Secret, text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"holds no secret|each line must be") as caught:
        channel(webhook(secret, "https://h/x", secret_file=secret(text)), DOOR, time.time)
    assert "c2hvcnQ" not in str(caught.value)


def test_a_file_that_others_can_read_is_refused(secret: Secret) -> None:
    settings = webhook(secret, "https://h/x")
    assert settings.url_file
    settings.url_file.chmod(0o640)
    with pytest.raises(ConfigInvalid, match=r"others can read .*; chmod 600"):
        channel(settings, DOOR, time.time)


# --- Slack ---------------------------------------------------------------------------------


async def test_slack_gets_plain_text_a_link_of_ours_and_nothing_to_press(secret: Secret) -> None:
    with Receiver() as receiver:
        settings = Notify.model_validate({"name": "s", "kind": "slack", "url_file": secret(receiver.url)})
        await send(settings, opened(subject=EVIL))
        got = receiver.next()
    said = json.loads(got.body)
    assert "webhook-signature" not in got.headers
    assert {"<", ">"}.isdisjoint(said["text"])
    shown, links = said["blocks"]
    assert (shown["type"], shown["text"]["type"], shown["text"]["emoji"]) == ("section", "plain_text", False)
    assert "\\r\\n" in shown["text"]["text"]
    assert "\u202e" not in shown["text"]["text"]
    assert "tallystick approve req-" in shown["text"]["text"]
    (link,) = links["elements"]
    assert link["verbatim"] is True
    assert link["text"].startswith(f"<{DOOR}/approvals/req-")
    assert "button" not in got.body.decode()


# --- mail ----------------------------------------------------------------------------------


def mail(server: MailServer, **more: Any) -> Notify:
    known = {"name": "mail", "kind": "email", "server": f"127.0.0.1:{server.port}", "sender": "tally@example.com"}
    return Notify.model_validate({**known, "to": ["dba@example.com", "sec@example.com"], **more})


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_mail_goes_to_all_over_tls(secret: Secret, authority: trustme.CA, trusted: Path, tls: str) -> None:
    how = Smtp(server_tls(authority), at_once=tls == "tls", password="correct horse")
    with MailServer(how) as server:
        settings = mail(server, tls=tls, ca=trusted, user="tally", password_file=secret("correct horse"))
        sent = opened()
        await send(settings, sent)
        sender, to, text = server.mails.get(timeout=5)
    assert (sender, to) == ("tally@example.com", ["dba@example.com", "sec@example.com"])
    got = message_from_string(text, policy=default)
    assert got["Subject"] == "[tallystick] Approval wanted: ci/deploy on orders-db, high 80"
    assert got["Message-ID"] == f"<{sent.id}@example.com>"
    assert got["Auto-Submitted"] == "auto-generated"
    body = got.get_content()
    assert f"{DOOR}/approvals/req-" in body
    assert "delete public.orders" in body
    assert "tallystick requests req-" in body


async def test_a_name_writes_no_header(secret: Secret) -> None:
    with MailServer(Smtp()) as server:
        await send(mail(server, tls="none"), opened(subject=EVIL, target=EVIL))
        _, to, text = server.mails.get(timeout=5)
    got = message_from_string(text, policy=default)
    assert got["Bcc"] is None
    assert "evil.example" not in " ".join(to)
    assert "\\r\\nBcc" in got.get_content()


async def test_without_starttls_nothing_is_sent(trusted: Path) -> None:
    with MailServer(Smtp()) as server:
        with pytest.raises(NotSent, match="SMTPNotSupportedError"):
            await send(mail(server, ca=trusted))
        assert not any(line.startswith("MAIL") for line in server.commands)


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_mail_servers_certificate_is_checked(secret: Secret, authority: trustme.CA, tls: str) -> None:
    with MailServer(Smtp(server_tls(authority), at_once=tls == "tls", password="x")) as server:
        with pytest.raises(NotSent, match="SSLCertVerificationError"):
            await send(mail(server, tls=tls, user="tally", password_file=secret("x")))
        assert not any(line.startswith("AUTH") for line in server.commands)


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        (Smtp(recipients={"dba@example.com": 550, "sec@example.com": 550}), MessageRefused, "SMTP 550 for 2 of 2"),
        (Smtp(recipients={"sec@example.com": 550}), MessageRefused, "SMTP 550 for 1 of 2"),
        (Smtp(recipients={"sec@example.com": 450}), NotSent, "SMTP 450 for 1 of 2"),
        (Smtp(data=554), MessageRefused, "SMTP 554"),
        (Smtp(data=451), NotSent, "SMTP 451"),
        (Smtp(password="other"), NotSent, "SMTP 530"),
    ],
    ids=["nobody", "one-refused", "one-later", "data-refused", "data-later", "no-login"],
)
async def test_a_mail_that_is_not_taken(how: Smtp, error: type[Exception], says: str) -> None:
    with MailServer(how) as server:
        with pytest.raises(NotSent, match=says) as caught:
            await send(mail(server, tls="none"))
    assert type(caught.value) is error


async def test_a_wrong_password_is_said_without_it(secret: Secret, authority: trustme.CA, trusted: Path) -> None:
    with MailServer(Smtp(server_tls(authority), password="right")) as server:
        with pytest.raises(NotSent, match=r"^SMTP 535$"):
            await send(mail(server, ca=trusted, user="tally", password_file=secret("wrong-Aq7")))


@pytest.mark.parametrize("tls", ["none", "tls"])
async def test_a_mail_server_that_drips_is_left_in_time(tls: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "TRY_S", 0.5)
    with MailServer(Smtp(drips=True)) as server:
        one = channel(mail(server, tls=tls), DOOR, time.time)
        for n in range(1, 4):  # each time its thread is free again, and it is a new connection
            began = time.monotonic()
            with pytest.raises(NotSent, match=r"no answer within|Error"):
                await one.send(opened())
            assert time.monotonic() - began < 2
            assert server.connections == n


def test_a_mail_in_the_clear_does_not_leave_this_machine() -> None:
    known = {"name": "m", "kind": "email", "sender": "a@b.example", "to": ["c@d.example"], "tls": "none"}
    far = Notify.model_validate({**known, "server": "mail.internal:25"})
    with pytest.raises(ConfigInvalid, match="insecure"):
        channel(far, DOOR, time.time)
    channel(far.model_copy(update={"insecure": True}), DOOR, time.time)


# --- looking, without sending ----------------------------------------------------------------


async def test_reaching_sends_nothing(secret: Secret, authority: trustme.CA, trusted: Path) -> None:
    with Receiver() as receiver, MailServer(Smtp(server_tls(authority), password="x")) as server:
        said = await channel(webhook(secret, receiver.url), DOOR, time.time).reach()
        assert said == "http to 127.0.0.1, signed with 1 secret"
        settings = mail(server, ca=trusted, user="tally", password_file=secret("x"))
        said = await channel(settings, DOOR, time.time).reach()
        assert said == f"mail by 127.0.0.1:{server.port} as tally, tls starttls, to 2"
        with pytest.raises(queue.Empty):
            server.mails.get(timeout=0.1)
        assert receiver.deliveries.empty()
    with pytest.raises(NotSent, match="no connection"):
        await channel(webhook(secret, receiver.url), DOOR, time.time).reach()
    await asyncio.sleep(0)
