"""Reward from people and classifiers: probabilities of frames → a decision and its promise; preferences.

- `classifier`, `training`, `serving`: pictures → probabilities, in training and at work; these need torch.
- `config`, `saved`, `judge`: settings, what is on disk, and the judge in the session, which reads signals.
- `labels`: a person's marks → labelled frames; the split by episode.
- `filtering`: probabilities → a score and a decision, over time.
- `judged`, `frames`: held-out episodes and frames under both.
- `promise`: the threshold for a stated rate of false successes.
- `report`, `telling`, `picture`, `sheet`: all of it, for people and programs.
- `drift`, `watch`: when a promise does not hold any more, and who says so at work.
- `shaping`: reward for the stages that are held, as a potential, when steps are read.
- `guards`: bounds of what the arm measures, beside a classifier.
- `answers`, `snippets`: a person's preferences, what keeps them, and which snippets they are asked about.
- `preference`, `preferred`: the model that is learnt from these (it needs torch, too), and what each step earns by it.

May import: contract, perception.
"""
