"""What things look like, and no behaviour: records, ids, positions, frames.

Every room imports this one and it imports nothing of ours. A record that is
written anywhere (journal, bus, ledger, bundle) has one `.avsc` file here, one
frozen dataclass in `records.py`, and one encoding: Avro single-object
(`codec.py`). Compatibility is a promise: fields are added with defaults, never
renamed, never removed.
"""
