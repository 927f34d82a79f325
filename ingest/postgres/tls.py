"""TLS contexts for both sides.

The handshake itself runs through `ssl.MemoryBIO` inside the connection
(channel.py), because a ClientHello may come first (direct TLS) or behind an
SSLRequest, and a loop's own `start_tls` cannot be handed bytes already read.
"""

from __future__ import annotations

import os
import ssl

from scramp.core import CBindData

from ingest.settings import ClientTls, SettingsInvalid, SslMode, Target

ALPN = "postgresql"
"""Direct TLS without it is refused (PostgreSQL 17 release notes: ALPACA)."""

HELLO = 0x16
"""First byte of a TLS record that carries a handshake: direct TLS."""


def forget_key_log() -> None:
    """`SSLKEYLOGFILE` would write every session's keys to a file: contexts made from now on ignore it."""
    os.environ.pop("SSLKEYLOGFILE", None)


def server_context(settings: ClientTls) -> ssl.SSLContext:
    """For clients. Raises SettingsInvalid."""
    forget_key_log()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    try:
        context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as e:
        raise SettingsInvalid(f"tls: certificate {settings.cert} and key cannot be loaded ({type(e).__name__})") from e
    return context


def target_context(target: Target) -> ssl.SSLContext | None:
    """For the target; None where `sslmode` is disable. Raises SettingsInvalid."""
    if target.sslmode is SslMode.DISABLE:
        return None
    forget_key_log()
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=target.ca)
    except (OSError, ssl.SSLError) as e:
        raise SettingsInvalid(f"target: CA file {target.ca} cannot be loaded ({type(e).__name__})") from e
    context.set_alpn_protocols([ALPN])
    context.check_hostname = target.sslmode is SslMode.VERIFY_FULL
    if target.sslmode is SslMode.REQUIRE:
        context.verify_mode = ssl.CERT_NONE
    return context


def end_point(certificate_der: bytes) -> bytes:
    """The tls-server-end-point binding of a certificate (RFC 5929 section 4.1)."""
    return bytes(CBindData.from_der(certificate_der).data)


def own_end_point(settings: ClientTls) -> bytes:
    """The binding of the certificate that clients are shown: the first in the file."""
    pem = settings.cert.read_text(encoding="ascii", errors="replace")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    first = pem[pem.index(begin) : pem.index(end) + len(end)]
    return end_point(ssl.PEM_cert_to_DER_cert(first))
