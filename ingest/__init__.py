"""Gateways: in the data path, thin. Relay, screen, hold and refuse; the recorder is the journal's one writer.

No command goes to its target before it is in the journal as durable as asked.
Answers are never decoded here. Raw traffic leaves this process only sealed to
the masker; no log line, error or `repr` carries any.
"""
