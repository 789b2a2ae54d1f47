"""The words that all rooms share: readings, observations, actions, steps, outcomes; settings and their ranges.

May import: no other room; of `hardware` only its interfaces.
"""

from robot_rl.contract.actions import ACTION_AXES, ActionSpec
from robot_rl.contract.errors import ContractError
from robot_rl.contract.layout import Field, Layout, Shaped
from robot_rl.contract.outcome import Ending, Outcome, Source
from robot_rl.contract.reading import Reading
from robot_rl.contract.registry import Registry
from robot_rl.contract.relabel import Relabel
from robot_rl.contract.steps import ActionChunk, Observation, Step, Timing
from robot_rl.contract.view import Observed, View, identity_of

__all__ = [
    "ACTION_AXES",
    "ActionChunk",
    "ActionSpec",
    "ContractError",
    "Ending",
    "Field",
    "Layout",
    "Observation",
    "Observed",
    "Outcome",
    "Reading",
    "Registry",
    "Relabel",
    "Shaped",
    "Source",
    "Step",
    "Timing",
    "View",
    "identity_of",
]
