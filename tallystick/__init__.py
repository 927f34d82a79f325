"""The program: command line, configuration, and how roles are put together.

Everything here is assembly. A role's behaviour lives in its own room; this one
reads the config, loads only the keys that a role needs, wires the parts and
reports. It is the only room that may import all others.
"""
