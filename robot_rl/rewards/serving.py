"""Classifiers at work: a reading → the signals of all of them, in process and in the node beside the cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from robot_rl.contract import Reading
from robot_rl.perception.encoders import EncoderError, use_one_thread

Signals = Callable[[Reading], dict[str, float]]


def make_signals(folders: Sequence[Path]) -> Signals:
    """Probabilities that the classifiers in ``folders`` give to a reading that has its pictures: name → value.

    Torch computes on one thread of this whole process from then on (`use_one_thread`).

    Raises `ClassifierError` or `EncoderError` when one cannot be used.
    """
    try:
        from robot_rl.rewards.classifier import load
    except ImportError as error:
        raise EncoderError(f"a reward classifier needs {error.name}: pip install 'robot_rl[vision]'") from error
    use_one_thread()
    classifiers = [load(folder) for folder in folders]
    return lambda reading: {name: value for one in classifiers for name, value in one.signals(reading).items()}
