"""Episodes on disk and in memory: columns, journal, store, relabels, replay, returns; parameters as bytes; `importing`
reads other formats.

May import: contract.
"""
