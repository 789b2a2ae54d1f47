"""The words that all rooms share: readings, observations, actions, steps, outcomes, labels; settings and their ranges.

May import: no other room; of `hardware` only its interfaces and its registry.
"""

from hardware.interfaces import Word
from robot_rl.contract.acting import Memory, Policy, check_policy, warm_up
from robot_rl.contract.actions import ACTION_AXES, LEAD, ActionSpec, lead_of
from robot_rl.contract.agent_view import ENCODER, AgentView, Observed, differences, identity_of, layout_of
from robot_rl.contract.errors import AnswerError, ContractError
from robot_rl.contract.judging import DISCARDED, Answer, Judge, Label, Verdict
from robot_rl.contract.layout import (
    NO_ENCODING,
    TCP_POSITION,
    TCP_ROTATION,
    Encoding,
    Field,
    FrameSize,
    Layout,
    Shaped,
    frame_spec,
)
from robot_rl.contract.outcome import Ending, Outcome, Source
from robot_rl.contract.reading import Reading
from robot_rl.contract.registry import Registry
from robot_rl.contract.relabel import Relabel
from robot_rl.contract.steps import INSTRUCTION, PLACE, PREFERENCE, ActionChunk, Observation, Planned, Step, Timing
from robot_rl.contract.view import View

__all__ = [
    "ACTION_AXES",
    "DISCARDED",
    "ENCODER",
    "INSTRUCTION",
    "LEAD",
    "NO_ENCODING",
    "PLACE",
    "PREFERENCE",
    "TCP_POSITION",
    "TCP_ROTATION",
    "ActionChunk",
    "ActionSpec",
    "AgentView",
    "Answer",
    "AnswerError",
    "ContractError",
    "Encoding",
    "Ending",
    "Field",
    "FrameSize",
    "Judge",
    "Label",
    "Layout",
    "Memory",
    "Observation",
    "Observed",
    "Outcome",
    "Planned",
    "Policy",
    "Reading",
    "Registry",
    "Relabel",
    "Shaped",
    "Source",
    "Step",
    "Timing",
    "Verdict",
    "View",
    "Word",
    "check_policy",
    "differences",
    "frame_spec",
    "identity_of",
    "layout_of",
    "lead_of",
    "warm_up",
]
