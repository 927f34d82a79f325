"""Finds and replaces what must not be kept: card numbers, people's numbers and addresses, secrets.

Pure: no I/O, no clock, no chance; the key of the tokens is an argument. Fails closed: what cannot be
read, is too large, too deep or meets a fault in a detector is *withheld* (length and keyed digest),
never passed. `masker.Masker` is the face; everything else serves it. Hostile text meets only re2, hand
scanners, and `re` patterns without backtracking (possessive, anchored at the start of a run), so work
grows with the length of the text and nothing else.
"""
