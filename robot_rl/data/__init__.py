"""Episodes on disk and in memory: columns, journal, store, relabels, replay, returns; `importing` reads other formats.

May import: contract.
"""
