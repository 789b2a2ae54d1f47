"""A frozen text encoder: words as the vectors that WordLlama has for their pieces; its weights come with a wheel.

    vector of a piece = (x − mean x) / std x,   x: its 256 numbers there

Miller, "WordLlama", 2024: token embeddings of large language models, averaged and made smaller (MIT). It knows no
context; the transformer that reads the vectors is learnt with it. Pieces are those of Llama 2's tokenizer, which the
wheel holds too: any text has some. Nothing is asked over a network.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_rl.contract import ContractError

NAME = "wordllama-256"
WEIGHTS, TOKENIZER = "weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"
SIZE = 256  # numbers of a vector
MOST = 32  # pieces of an instruction that are read
EPSILON = 1e-6


class Words(NamedTuple):
    """The encoder: ``digest`` of its files, the tokenizer, and a vector for each piece."""

    digest: str
    tokenizer: Any
    vectors: np.ndarray

    def encode(self, text: str) -> np.ndarray:
        """Vectors ``(n, SIZE)`` float32 of the first `MOST` pieces of ``text`` in small letters; n is 0 for ""."""
        pieces = self.tokenizer.encode(text.lower().strip(), add_special_tokens=False).ids if text.strip() else []
        found = self.vectors[pieces[:MOST]].astype(np.float32)
        spread = np.sqrt(found.var(axis=1, keepdims=True) + EPSILON)
        normal: np.ndarray = (found - found.mean(axis=1, keepdims=True)) / spread
        return normal


@lru_cache(maxsize=1)
def make_words() -> Words:
    """The encoder. Raises `ContractError` where it is not installed."""
    missing = [name for name in ("wordllama", "tokenizers") if importlib.util.find_spec(name) is None]
    if missing:
        raise ContractError(f"SmallVLA reads by {NAME}, and {missing[0]} is not installed: pip install 'robot_rl[vla]'")
    import tokenizers
    from safetensors.numpy import load

    found = importlib.util.find_spec("wordllama")  # whose own code is not needed, nor what that would import
    folder = Path(str(found.origin if found is not None else "")).parent
    try:
        weights, tokenizer = (folder / WEIGHTS).read_bytes(), (folder / TOKENIZER).read_bytes()
    except OSError as error:
        raise ContractError(f"{NAME}: {error.filename} cannot be read: {error.strerror}") from error
    (vectors,) = load(weights).values()
    digest = hashlib.sha256(hashlib.sha256(weights).digest() + hashlib.sha256(tokenizer).digest()).hexdigest()[:16]
    return Words(digest, tokenizers.Tokenizer.from_str(tokenizer.decode()), vectors)
