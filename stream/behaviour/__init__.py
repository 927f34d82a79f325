"""What is usual for each identity, and what is not: pure, bounded, and the same again in a replay.

`watch` is the step: entries of the ledger in, alerts and suspensions out. Its only clock is
the times in the entries and the bus's. `memory` holds what was learned, a row an identity,
sealed where it is stored; `identity` what one identity does, `peers` what its class does,
`seen` things with the day they were last seen, `sketch` amounts. No floats: a replay gives
the same bytes. Nothing here is asked before a command runs (DESIGN section 5).
"""
