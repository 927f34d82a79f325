"""From journal to events: pure steps, and the loops around them.

`transcript.py` turns frames into exchanges, `pipeline.py` a whole segment into
signed events; both are pure, so a segment given again gives the same bytes.
`runner.py` is the loop that makes any step survive a crash at any line: outputs,
then state (which carries the position it has applied), then offset.
"""
