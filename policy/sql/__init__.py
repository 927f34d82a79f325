"""The effects of SQL: `effects.read(text)` walks the whole tree. Tables in YAML say what is known.

`queries.py` reads SELECT, DML and expressions, `statements.py` the plain utility statements (a table),
`utility.py` and `tables.py` those that need a look inside, `bodies.py` plpgsql, `shape.py` whether a WHERE narrows.
"""
