"""The errors that a user can put right: one line, exit status 2, no traceback."""

from __future__ import annotations

import errno

from hardware.interfaces import HardwareError
from hardware.registry import RegistryError
from hardware.scene import SceneError
from robot_rl.contract import ContractError
from robot_rl.contract.ranges import shown
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

# Of a disk that is full, broken or may not be written to, and of paths that can be none.
OF_FILES = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR),
)

LONGEST = 1000  # characters of a message; a setting that is in it may be of any length


def one_line(error: BaseException) -> str:
    """The message of an error in one line, cut short in its middle where it is long."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 :]}"


def is_of_files(error: OSError) -> bool:
    """Whether ``error`` is about files or their disk, which the user can put right."""
    return error.errno in OF_FILES


def shortened(error: OSError) -> str:
    """The error in one line; a name of a file may be of any length."""
    name = shown(str(error.filename)) if error.filename is not None else "a file cannot be written"
    return f"{name}: {error.strerror}"
