"""Settings of the operator's page."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from robot_rl.contract.ranges import RangeError, check, shown


@dataclass(frozen=True)
class ConsoleConfig:
    """Where the page is, and beside which jobs.

    Attributes:
        show: ``auto`` (beside each job with a person or a robot, and the demo), ``always`` or ``never``.
        host: address that serves it. All but those of this computer only ask for a token, which `robot-rl` prints.
        port: TCP port; where it is taken, the next free one.
    """

    show: Literal["auto", "always", "never"] = "auto"
    host: str = "127.0.0.1"
    port: Annotated[int, Ge(1), Le(65535)] = 8080

    def __post_init__(self) -> None:
        check(self)
        try:
            ipaddress.ip_address(self.host)
        except ValueError as error:
            raise RangeError(
                f"host={shown(self.host)} must be an IP address of this computer, e.g. 127.0.0.1, or 0.0.0.0 for all"
            ) from error

    @property
    def loopback(self) -> bool:
        """Whether nobody but this computer can reach the page."""
        return ipaddress.ip_address(self.host).is_loopback
