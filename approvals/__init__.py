"""What is approved, by whom, and that it is used once. Pure: no I/O, no clock, no chance.

`canonical.py` says what exactly a vote is for, `votes.py` what makes votes
settle it, `machine.py` which state follows which. Times come in as arguments
(microseconds since 1970), keys as objects of `seal`. The gateway uses the first
two for its own check of every grant, so nothing here may be trusted more for
having run in the approvals role: that role can delay a command, never forge a yes.
"""
