"""Topics, what a driver of them must do, and the journal's file format.

Rooms above speak only to the Protocols of `topics.py`; `local.py` (SQLite) and,
later, Kafka implement them and pass one contract suite. The bus sees opaque
bytes: it opens and judges nothing. Outputs, state and offset are three separate
commits, in that order, in every driver: embedded mode is not stronger than
Kafka, so whatever survives here survives there.
"""
