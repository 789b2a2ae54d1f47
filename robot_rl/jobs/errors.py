"""The errors that a user can put right: one line, exit status 2, no traceback."""

from __future__ import annotations

import errno

from hardware.interfaces import HardwareError
from hardware.registry import RegistryError
from hardware.scene import SceneError
from robot_rl.contract import ContractError
from robot_rl.contract.settings import ConfigError
from robot_rl.data.schema import StoreError
from robot_rl.jobs.supervisor import JobFailed
from robot_rl.session.errors import SessionError

USER_ERRORS = (
    ConfigError,
    ContractError,
    HardwareError,
    JobFailed,
    RegistryError,
    SceneError,
    SessionError,
    StoreError,
)

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def is_of_disk(error: OSError) -> bool:
    """Whether ``error`` is of a disk that is full, broken or may not be written to, which the user can put right."""
    return error.errno in DISK
