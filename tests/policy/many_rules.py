"""A policy of many rules of the kinds that people write, none of which decides: the most that a cold command costs."""

from __future__ import annotations

KINDS = (
    'target.environment == "env-{n}" && size(command.writes) > 0',
    'command.effects.exists(e, e.effect == "truncate" && e.relation == "app.table_{n}")',
    'identity.subject.startsWith("team-{n}-") && score >= 40',
    '"Exfiltration:Postgres/CopyOut" in signals && target.name == "db-{n}"',
    'command.writes.exists(w, w == "app.table_{n}")',
    'command.effects.exists(e, e.effect in ["drop", "alter"]) && !identity.subject.startsWith("migrate-{n}")',
    'has(identity.claims.ref) && identity.claims.ref != "main" && target.database == "database_{n}"',
    'band == "critical" && identity.subject != "dba-{n}"',
    'command.reads.exists(r, r.endsWith(".secret_{n}"))',
    '!command.complete && target.name == "db-{n}"',
)


def many_rules(count: int) -> str:
    rules = [
        f"  - name: rule-{n}\n    when: '{KINDS[n % len(KINDS)].replace('{n}', str(n))}'\n    then: hold\n"
        for n in range(count)
    ]
    return "rules:\n" + "".join(rules) + "otherwise: allow\n"
