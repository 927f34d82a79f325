"""The ledger: one RFC 6962 tree a shard, kept as create-once batches, checkable by anyone.

The bucket is the database: `batch/<seq>` decides what happened, `checkpoint/<seq>`
signs it, and the newest batch alone restarts a writer. Tiles are a view made on
export. Only `store.py` touches files; `tree`, `note`, `proof`, `entry`, `container`,
`batch` and `sequencer` are pure. This room knows nothing of protocols, masking or
policy (no import of wire, mask, policy), so that an auditor can run it alone.

Start at `writer.py` (the commit) and `recovery.py` (what mends a crash).
"""
