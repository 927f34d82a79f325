"""From the config file's words to what a gateway is told; reads the secret that the file names."""

from __future__ import annotations

from ingest import settings
from schemas.records import Claim
from tallystick.config import Config, ConfigInvalid, Gateway


def settings_of(chosen: Gateway, config: Config) -> settings.GatewaySettings:
    """Raises ConfigInvalid."""
    password = ""
    if chosen.target_password_file is not None:
        try:
            password = chosen.target_password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigInvalid(f"{chosen.target_password_file}: cannot be read: it holds the target's password") from e
    try:
        target = settings.Target.of(chosen.target, password, chosen.target_ca)
    except settings.SettingsInvalid as e:
        raise ConfigInvalid(f"gateway {chosen.name}: {e}") from e
    return settings.GatewaySettings(
        name=chosen.name,
        listen_host=chosen.listen.host,
        listen_port=chosen.listen.port,
        target=target,
        environment=chosen.environment,
        identities=tuple(
            settings.Identity(
                i.subject, i.user, i.verifier, tuple(Claim(name, value) for name, value in sorted(i.claims.items()))
            )
            for i in chosen.identity
        ),
        approvals_url=config.door,
        tls=settings.ClientTls(chosen.tls.cert, chosen.tls.key, chosen.tls.required) if chosen.tls else None,
        durability=settings.Durability(chosen.durability.value),
        capture=settings.Capture(chosen.capture.max_command, chosen.capture.max_response),
        holding=settings.Holding(chosen.hold.wire_seconds, chosen.hold.lookup_seconds, chosen.hold.notice_seconds),
    )
