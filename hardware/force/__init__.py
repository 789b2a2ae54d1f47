"""Force–torque sensors. `read` hands out the newest wrench in a declared frame; silence is an error, never zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardware.interfaces import ForceError
from hardware.registry import Registry

if TYPE_CHECKING:
    from hardware.interfaces import ForceSensor

# Drivers of real devices; the arm's own estimate (`hardware.force.arm`) needs an arm. Each is called as
# `make_force_sensor` is, without the driver, and with the settings that are given only.
FORCE_SENSORS = Registry(
    "force sensor",
    {"ati": "hardware.force.ati:make_net_ft", "bota": "hardware.force.bota:make_bota"},
    ForceError,
)


def make_force_sensor(driver: str, name: str, device: str = "", **settings: Any) -> ForceSensor:
    """The force–torque sensor called ``name``, not connected.

    Args:
        driver: one of `FORCE_SENSORS`.
        name: the sensor's name in messages. Its frame is ``<name>_frame``, unless the setting ``frame`` says otherwise.
        device: address (ati), or path of the vendor's JSON file (bota).
        settings: of the driver's constructor, e.g. ``timeout`` [s].

    Raises `ForceError` on an unknown driver, a setting that the driver does not have, or when its library is missing.
    """
    make = FORCE_SENSORS.load(driver)
    try:
        sensor: ForceSensor = make(name, device, **settings)
    except TypeError as error:
        raise ForceError(f"force sensor {name!r} cannot be made by {driver!r}: {error}") from error
    return sensor
