"""Telling people: what the record says, sent to webhooks, Slack and mailboxes. Nothing here approves.

`notices` turns records of `events` into words; `outbox` decides when and how many go together;
`channels` deliver; `step` is the loop from the bus to the outboxes. A channel that is slow or down
holds up nobody, itself excepted. At least once: what was sent when we died is sent again, under the
same id. All of it is of leaves, so nothing is told that is not in the ledger.
"""
