"""The config is strict: a mistyped key stops the start instead of switching a control off."""

from pathlib import Path

import pytest

from tallystick.config import ConfigInvalid, load

GOOD = """
data = "d"
keys = "k"
policy = "policy.yaml"
[[gateway]]
name = "orders-db"
listen = "127.0.0.1:15432"
target = "postgresql://orders_app@db.internal:5432/orders"
[[gateway.identity]]
subject = "ci/deploy"
user = "ci"
verifier = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tallystick.toml"
    path.write_text(text)
    return path


def test_paths_are_taken_from_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD))
    assert config.data == tmp_path / "d"
    assert config.store_dir == tmp_path / "data/ledger"
    assert config.gateway[0].listen.port == 15432


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("policy =", "polcy ="), "did you mean 'policy'"),
        (("listen =", "lissen ="), "did you mean 'listen'"),
        (("subject =", "subjet ="), "did you mean 'subject'"),
        (('keys = "k"', 'keys = "d/k"'), "lock and key"),
        (("127.0.0.1:15432", "127.0.0.1"), "must look like"),
        (("orders_app@", "orders_app:secret@"), "target_password_file"),
        (("postgresql://", "mysql://"), "must look like"),
        (('keys = "k"', 'keys = "k"\nbus = "kafka:h:1"'), 'bus: must be "local"'),
        (('keys = "k"', 'keys = "k"\nbus = "kafka://h"'), "look like"),
        (("[[gateway]]", "[kafka]\nmin_insync = 4\n[[gateway]]"), "nothing could ever be written"),
        (("[[gateway]]", '[kafka]\nuser = "u"\n[[gateway]]'), "go together"),
        (('data = "d"', "data = ["), "not TOML"),
    ],
)
def test_a_fault_is_named_with_what_to_do(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(ConfigInvalid, match=says) as caught:
        load(write(tmp_path, GOOD.replace(*change)))
    assert "secret" not in str(caught.value).replace("target_password_file", "")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load(tmp_path / "none.toml")


HOOK = '[[notify]]\nname = "hook"\nkind = "webhook"\nurl_file = "hook.url"\nsecret_file = "s/hook.secret"\n'
MAIL = '[[notify]]\nname = "mail"\nkind = "email"\nserver = "mail:587"\nsender = "a@b.example"\nto = ["c@d.example"]\n'


def test_who_is_told_is_read_with_paths_from_the_file(tmp_path: Path) -> None:
    hook, mail = load(write(tmp_path, f"{GOOD}{HOOK}{MAIL}")).notify
    assert (hook.url_file, hook.secret_file) == (tmp_path / "hook.url", tmp_path / "s/hook.secret")
    assert (hook.per_minute, hook.on, mail.tls, mail.insecure) == (10, [], "starttls", False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HOOK.replace("url_file", "url_fil"), "did you mean 'url_file'"),
        (HOOK.replace('"webhook"', '"pager"'), "notify.0.kind"),
        (HOOK + 'on = ["request.openned"]\n', "notify.0.on.0: Input should be 'request.opened'"),
        (HOOK.replace('secret_file = "s/hook.secret"', ""), 'kind "webhook" needs secret_file'),
        (HOOK.replace('"webhook"', '"slack"'), 'kind "slack" has no secret_file'),
        (HOOK + 'to = ["a@b.example"]\n', 'kind "webhook" has no to'),
        (HOOK + 'tls = "tls"\n', 'kind "webhook" has no tls'),
        (HOOK + HOOK, r"two \[\[notify\]\] have the same name"),
        (HOOK + "per_minute = 0\n", "per_minute"),
        (HOOK + "min_score = 101\n", "min_score"),
        (MAIL.replace('server = "mail:587"', ""), 'kind "email" needs server'),
        (MAIL.replace('to = ["c@d.example"]', "to = []"), 'kind "email" needs to'),
        (MAIL.replace("c@d.example", "c@d.example\\r\\nBcc: e@f.example"), "notify.0.to.0"),
        (MAIL.replace("a@b.example", "Tally <a@b.example>"), "notify.0.sender"),
        (MAIL + 'user = "u"\n', "user and password_file go together"),
    ],
    ids=range(15),
)
def test_a_fault_in_who_is_told_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigInvalid, match=says):
        load(write(tmp_path, f"{GOOD}{text}"))
