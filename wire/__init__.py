"""Protocol codecs without I/O: bytes in, messages out. Pure.

Nothing here opens a socket, knows a clock or blocks. Hostile bytes give a
`RemoteFault`, never another error, in bounded memory.
"""
