"""What a client may set by its StartupMessage.

A startup parameter is a SET that nobody judges: `role=` is SET ROLE by the side
door, `session_replication_role=` switches triggers off. So there is a list of
harmless ones; anything else is refused with a clear error, in `options` too.
"""

from __future__ import annotations

from collections.abc import Mapping

HARMLESS = frozenset(
    {
        "application_name",
        "bytea_output",
        "client_min_messages",
        "datestyle",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "intervalstyle",
        "jit",
        "lc_messages",
        "lock_timeout",
        "search_path",
        "statement_timeout",
        "timezone",
        "transaction_timeout",
    }
)
"""None of them changes what a statement means to the judge, or who runs it."""

UTF8 = frozenset({"utf8", "unicode"})


class ParameterRefused(ValueError):
    """One startup parameter is not let through. `sqlstate` goes to the client with the message."""

    def __init__(self, message: str, sqlstate: str = "42501") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


def for_target(asked: Mapping[str, str], database: str) -> dict[str, str]:
    """The parameters to pass on, without `user` and `database`. Raises ParameterRefused."""
    if asked.get("database", database) != database:
        raise ParameterRefused(f'tallystick: this gateway serves only database "{database}"', "3D000")
    passed: dict[str, str] = {}
    for name, value in asked.items():
        if name in ("user", "database") or name.startswith("_pq_."):
            continue
        if name == "replication":
            if value.lower() not in ("false", "off", "no", "0"):
                raise ParameterRefused("tallystick: replication connections are not let through", "0A000")
        elif name == "options":
            for setting, to in split_options(value):
                _check(setting, to)
            passed["options"] = value
        else:
            _check(name, value)
            passed[name] = value
    return passed


def _check(name: str, value: str) -> None:
    if name.lower() == "client_encoding":
        if value.strip("'\" ").lower().replace("-", "").replace("_", "") not in UTF8:
            raise ParameterRefused("tallystick: client_encoding must be UTF8, or commands cannot be judged", "0A000")
    elif name.lower() == "standard_conforming_strings":
        if value.strip("'\" ").lower() not in ("on", "true", "yes", "1"):
            raise ParameterRefused("tallystick: standard_conforming_strings must be on", "0A000")
    elif name.lower() not in HARMLESS:
        shown = name if name.isascii() and name.isprintable() and len(name) < 64 else "this one"
        raise ParameterRefused(f"tallystick: startup parameter {shown} is not let through; use SET instead")


def split_options(options: str) -> list[tuple[str, str]]:
    """The settings in `options`, as postgres reads its command line: words parted by white space, a backslash keeps
    the next character; `-c name=value`, `-cname=value`, `--name=value`. Raises ParameterRefused for anything else."""
    words = _words(options)
    settings = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "-c" and at < len(words):
            word, at = words[at], at + 1
        elif word.startswith(("-c", "--")) and len(word) > 2:
            word = word[2:]
        else:
            raise ParameterRefused("tallystick: only -c name=value and --name=value are let through in options")
        name, equals, value = word.partition("=")
        if not equals:
            raise ParameterRefused("tallystick: only -c name=value and --name=value are let through in options")
        settings.append((name.replace("-", "_"), value))
    return settings


def _words(options: str) -> list[str]:
    """pg_split_opts of PostgreSQL's postinit.c."""
    words: list[str] = []
    word: list[str] | None = None
    characters = iter(options)
    for character in characters:
        if character in " \t\n\r\v\f":
            if word is not None:
                words.append("".join(word))
                word = None
            continue
        if word is None:
            word = []
        if character == "\\":
            character = next(characters, "")
        word.append(character)
    if word is not None:
        words.append("".join(word))
    return words
