"""SmallVLA: a vision–language–action policy that two processor cores can train (`network` is its mathematics).

`config` and `card` import neither torch nor tokenizers, so that whoever only names a policy does without.

May import: contract, data, perception.
"""
