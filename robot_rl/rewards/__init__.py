"""Reward from people and classifiers: probabilities of frames → a decision, and what can be promised of it.

- `classifier`, `training`, `saved`: pictures → probabilities (torch), the head's training, and what is on disk.
- `labels`: a person's marks → labelled frames; the split by episode.
- `filtering`: probabilities → a score and a decision, over time.
- `judged`, `frames`: held-out episodes and frames under both.
- `promise`: the threshold for a stated rate of false successes.
- `report`, `telling`, `picture`: all of it, for people and programs.
- `drift`: when a promise does not hold any more.

May import: contract, perception.
"""
