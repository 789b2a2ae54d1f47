"""Episodes on disk and in memory: schema, journal, store, replay, returns; parameters as bytes; `importing` reads other
people's files.

May import: contract.
"""
