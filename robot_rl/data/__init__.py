"""Episodes on disk and in memory: schema, journal, store, replay, returns; `importing` reads other people's files.

May import: contract.
"""
