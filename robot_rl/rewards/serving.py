"""Classifiers at work: a reading → the signals of all of them, in process and in the node beside the cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from robot_rl.contract import Reading
from robot_rl.perception.encoders import EncoderError

Signals = Callable[[Reading], dict[str, float]]


def make_signals(folders: Sequence[Path], threads: int = 0) -> Signals:
    """Probabilities that the classifiers in ``folders`` give to a reading that has its pictures: name → value.

    Args:
        threads: of the processor, of this whole process; 0: as many as torch takes.

    Raises `ClassifierError` or `EncoderError` when one cannot be used.
    """
    try:
        import torch

        from robot_rl.rewards.classifier import load
    except ImportError as error:
        raise EncoderError(f"a reward classifier needs {error.name}: pip install 'robot_rl[vision]'") from error
    if threads:
        torch.set_num_threads(threads)
    classifiers = [load(folder) for folder in folders]
    return lambda reading: {name: value for one in classifiers for name, value in one.signals(reading).items()}
