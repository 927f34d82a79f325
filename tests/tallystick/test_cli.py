"""The commands as scripts and people use them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def tallystick(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tallystick", *arguments],
        input=stdin, capture_output=True, text=True, timeout=180, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


def test_explain_answers_every_line_in_the_promised_shape() -> None:
    commands = ["delete from public.t", "select 1", "do $$ begin execute 'x'; end $$", "not sql at all"]
    lines = "".join(json.dumps({"command": c}) + "\n" for c in commands)
    done = tallystick("explain", "--protocol", "postgres", "--json", stdin=lines)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert answers[0]["effects"] == [{"effect": "delete", "relation": "public.t"}]
    assert answers[0]["relations"] == {"read": [], "write": ["public.t"]}
    assert [a["decision"] for a in answers] == ["hold", "allow", "hold", "hold"]
    assert [a["complete"] for a in answers] == [True, True, False, False]
    assert set(answers[0]) >= {"effects", "relations", "complete", "signals", "score", "band", "decision"}


def test_explain_answers_requests_to_kubernetes() -> None:
    commands = ["DELETE /api/v1/namespaces/prod", {"method": "GET", "path": "/version"}, "kubectl delete ns prod"]
    lines = "".join(json.dumps({"command": c}) + "\n" for c in commands)
    done = tallystick("explain", "--protocol", "kubernetes", "--json", stdin=lines)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[0]["effects"] == [{"effect": "delete", "relation": "namespaces prod"}]
    assert answers[0]["relations"] == {"read": [], "write": ["namespaces prod"]}
    assert [a["band"] for a in answers] == ["critical", "low", "medium"]
    assert [a["complete"] for a in answers] == [True, True, False]


def test_wrong_use_exits_two_with_one_line() -> None:
    for arguments, stdin in ((("explain", "--json"), "no json\n"), (("explain", "--protocol", "smtp"), "x\n")):
        done = tallystick(*arguments, stdin=stdin)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
    assert tallystick("nonsense").returncode == 2


def test_keys_are_made_once_and_shown_without_a_secret(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    assert tallystick("keys", "init", "--dir", str(keys), "--deployment", "acme").returncode == 0
    again = tallystick("keys", "init", "--dir", str(keys), "--deployment", "acme")
    assert again.returncode == 2
    assert "never overwritten" in again.stderr
    shown = tallystick("keys", "show", "--dir", str(keys))
    assert "tallystick.acme/0+" in shown.stdout
    for secret in [*keys.glob("*.key"), *keys.glob("*.secret")]:
        assert secret.read_text().strip() not in shown.stdout


@pytest.mark.parametrize(("text", "code"), [("rules: []\notherwise: allow\n", 0), ("rulez: []\n", 2)])
def test_a_policy_is_checked_whole(tmp_path: Path, text: str, code: int) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(text)
    done = tallystick("policy", "check", str(policy))
    assert done.returncode == code, done.stderr


def test_check_says_what_to_fix(tmp_path: Path) -> None:
    toml, keys = tmp_path / "tallystick.toml", tmp_path / "keys"
    assert "cannot be read" in tallystick("check", "--config", str(toml)).stderr
    toml.write_text('policy = "policy.yaml"\n')
    assert "tallystick keys init" in tallystick("check", "--config", str(toml)).stderr
    tallystick("keys", "init", "--dir", str(keys), "--deployment", "acme")
    (tmp_path / "policy.yaml").write_text("rules: []\notherwise: allow\n")
    done = tallystick("check", "--config", str(toml))
    assert done.returncode == 0, done.stderr
    assert "no reviewers" in done.stdout


@pytest.mark.timeout(240)
def test_the_demo_plays_to_its_end(tmp_path: Path) -> None:
    """It checks itself: one DELETE in the target's log, verify's codes, and no planted value in a file."""
    out = tmp_path / "out"
    done = tallystick("demo", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR 42501" in done.stdout
    assert "DELETE 200" in done.stdout
    assert "found in 0" in done.stdout
    assert {p.name for p in out.iterdir()} >= {"evidence.zip", "log.vkey", "tallystick.toml"}
    again = tallystick("demo", "--out", str(tmp_path))
    assert again.returncode == 1, "a folder that is not of a demo is not emptied"
    assert out.exists()


def test_a_policy_is_tried_by_its_own_tests(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules: []\notherwise: allow\ntests:\n  - {command: select 1, decision: hold}\n")
    done = tallystick("policy", "check", str(policy))
    assert done.returncode == 2
    assert "line 4: must be hold, and is allow by otherwise" in done.stderr
    assert "1 of 1 tests fail" in done.stderr


def test_the_library_is_listed_and_printed_and_checks(tmp_path: Path) -> None:
    listed = tallystick("policy", "library").stdout.splitlines()
    assert {line.split()[0] for line in listed} >= {"default", "soc2-access", "soc2-changes", "soc2-exports"}
    policy = tmp_path / "policy.yaml"
    policy.write_text(tallystick("policy", "library", "soc2-changes").stdout)
    done = tallystick("policy", "check", str(policy))
    assert done.returncode == 0, done.stderr
    assert "tests pass" in done.stdout
    assert tallystick("policy", "library", "soc2").returncode == 2


def test_explain_shows_the_sum_and_the_context_at_a_time(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(tallystick("policy", "library", "soc2-changes").stdout)
    done = tallystick("explain", "--policy", str(policy), "--at", "2026-12-24", stdin="create table a (i int)\n")
    assert done.stdout.startswith("hold  low 15 (data-loss 10, 150% freeze): create a")
