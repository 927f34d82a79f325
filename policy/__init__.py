"""What a command does, and what the rules say of it. Pure: no file, clock or chance.

`judge.judge(text, facts, rules)` is the room's one door; the gateway's screen and the pipeline ask the same
function, so what the one held the other can check. `sql/` reads effects from PostgreSQL's grammar,
`signals.py` makes them a score, `rules.py` decides. The one thing to know: whatever is not understood is
unknown, unknown is never low, and the default policy holds it.
"""
