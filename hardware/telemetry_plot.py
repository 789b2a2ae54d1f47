"""A picture of the last seconds before a fault."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from controllers.state import EventKind, Mode
from hardware.telemetry import Telemetry, TelemetryError, missed_ticks, percentiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICK = 0.001  # [s]
PAUSE = 0.1  # [s] of robot time without a tick: between two motions
MODE_COLOURS = {
    Mode.IDLE: "0.85",
    Mode.TRACK: "tab:green",
    Mode.HOLD: "tab:blue",
    Mode.DAMP: "tab:orange",
    Mode.FAULT: "tab:red",
    Mode.STOPPED: "tab:purple",
}
EVENT_COLOURS = {
    EventKind.REFLEX: "tab:red",
    EventKind.STOPPED: "tab:purple",
    EventKind.DAMPING: "tab:orange",
    EventKind.SETPOINT_REJECTED: "tab:brown",
    EventKind.TANK_EMPTY: "tab:olive",
}


def latest(ticks: np.ndarray) -> np.ndarray:
    """The ticks since the robot's clock last started again, as it does with every connection."""
    backwards = np.flatnonzero(np.diff(ticks["time"]) < 0.0)
    return ticks[backwards[-1] + 1 :] if len(backwards) else ticks


def summary(telemetry: Telemetry) -> str:
    """The file in one line."""
    ticks = latest(telemetry.ticks)
    if len(ticks) == 0:
        return f"no tick recorded; reason: {telemetry.reason or 'end of the run'}"
    compute = "/".join(f"{value:.0f}" for value in percentiles(ticks["compute"] * 1e6))
    period = "/".join(f"{value:.2f}" for value in percentiles(ticks["period"][ticks["period"] > 0.0] * 1e3))
    steps = np.diff(ticks["torque"], axis=0)[np.diff(ticks["time"]) < 1.5 * TICK]
    return (
        f"{len(ticks)} ticks over {ticks['time'][-1] - ticks['time'][0]:.1f} s, {missed_ticks(ticks)} missed; "
        f"compute p50/p99/p99.9/max {compute} µs; period {period} ms; "
        f"torque up to {np.abs(ticks['torque']).max():.1f} N·m, by up to {np.abs(steps).max(initial=0.0):.2f} a tick; "
        f"tank at least {ticks['tank'].min():.2f} J; ended in {Mode(int(ticks['mode'][-1])).name}; "
        f"reason: {telemetry.reason or 'end of the run'}"
    )


def plot_telemetry(telemetry: Telemetry, picture: Path, title: str) -> None:
    """Draw torque, energy, motion, mode with events, and timing. Raises `TelemetryError` when there is no tick."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ticks = latest(telemetry.ticks)
    if len(ticks) < 2:
        raise TelemetryError(f"{title} holds {len(ticks)} ticks; there is nothing to draw")
    end = ticks["time"][-1]
    # A gap in each line where no motion was active.
    breaks = np.flatnonzero(np.diff(ticks["time"]) > PAUSE) + 1
    time = np.insert(ticks["time"] - end, breaks, np.nan)

    def line(values: np.ndarray) -> np.ndarray:
        return np.insert(np.asarray(values, dtype=float), breaks, np.nan, axis=0)

    figure = plt.figure(figsize=(14, 10.5), layout="constrained")
    grid = figure.add_gridspec(6, 2, width_ratios=(3.2, 1), height_ratios=(3, 2, 2, 2, 2, 1.3))
    axes = [figure.add_subplot(grid[0, 0])]
    axes += [figure.add_subplot(grid[row, 0], sharex=axes[0]) for row in range(1, 6)]
    torque, energy, motion, force, timing, mode = axes
    for joint in range(ticks["torque"].shape[1]):
        torque.plot(
            time, line(ticks["torque"][:, joint]), lw=0.9, color=plt.cm.turbo(joint / 6.5), label=f"{joint + 1}"
        )
    torque.set_ylabel("torque commanded\n[N·m]")
    torque.legend(title="joint", ncols=7, loc="upper left", fontsize=7, title_fontsize=7)

    energy.plot(time, line(ticks["tank"]), color="tab:blue", label="tank [J]")
    energy.plot(time, line(ticks["activity"] - ticks["activity"][0]), color="tab:red", label="filter activity [s]")
    energy.set_ylabel("energy")
    budget = energy.twinx()
    budget.plot(time, line(ticks["budget"]), color="tab:green", lw=0.9, label="budget [J] (right)")
    _one_legend(energy, budget)

    distance = np.linalg.norm(ticks["target"] - ticks["translation"], axis=1) * 1e3
    motion.plot(time, line(distance), color="tab:blue", label="TCP to target [mm]")
    speed = motion.twinx()
    speed.plot(
        time, line(np.abs(ticks["dq"]).max(axis=1)), color="tab:orange", lw=0.7, label="fastest joint [rad/s] (right)"
    )
    motion.set_ylabel("motion")
    _one_legend(motion, speed)

    force.plot(time, line(np.linalg.norm(ticks["wrench"][:, :3], axis=1)), color="tab:blue", label="external force [N]")
    moment = force.twinx()
    moment.plot(
        time,
        line(np.linalg.norm(ticks["wrench"][:, 3:], axis=1)),
        color="tab:orange",
        lw=0.7,
        label="moment [N·m] (right)",
    )
    force.set_ylabel("on the TCP")
    _one_legend(force, moment)

    timing.semilogy(
        time, line(np.where(ticks["period"] > 0.0, ticks["period"], np.nan) * 1e3), ".", ms=2, label="period [ms]"
    )
    timing.semilogy(time, line(ticks["compute"] * 1e3), ".", ms=2, label="compute [ms]")
    timing.axhline(1.0, color="0.5", lw=0.6)
    timing.set_ylabel("timing")
    timing.legend(loc="upper left", fontsize=7, markerscale=4, ncols=2)

    _draw_modes(mode, ticks["time"] - end, ticks["mode"])
    for event in telemetry.events:
        if ticks["time"][0] <= event.time <= end + PAUSE:
            colour = EVENT_COLOURS.get(event.kind, "0.4")
            for panel in axes:
                panel.axvline(event.time - end, color=colour, lw=0.8, ls=":")
            mode.annotate(
                event.kind.name.lower(),
                (event.time - end, 1.08),
                xycoords=("data", "axes fraction"),
                fontsize=6,
                rotation=35,
                color=colour,
                annotation_clip=False,
            )
    mode.set_xlabel(f"robot time before the end [s] (end: {end:.3f} s)")
    for panel in axes[:-1]:
        panel.tick_params(labelbottom=False)
        panel.grid(alpha=0.25)
    _draw_histogram(figure.add_subplot(grid[0:2, 1]), ticks["period"][ticks["period"] > 0.0] * 1e3, "period [ms]")
    _draw_histogram(figure.add_subplot(grid[2:4, 1]), ticks["compute"] * 1e6, "compute [µs]")
    figure.suptitle(f"{title}\n{telemetry.reason or 'end of the run'}", fontsize=11, wrap=True)
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _one_legend(left: Axes, right: Axes) -> None:
    handles, labels = left.get_legend_handles_labels()
    more, names = right.get_legend_handles_labels()
    left.legend(handles + more, labels + names, loc="upper left", fontsize=7, ncols=3)
    right.tick_params(labelsize=7)


def _draw_modes(axes: Axes, time: np.ndarray, modes: np.ndarray) -> None:
    """A strip that shows the mode by its colour."""
    changes = [0, *(np.flatnonzero((np.diff(modes) != 0.0) | (np.diff(time) > PAUSE)) + 1), len(time)]
    shown = set()
    for begin, after in itertools.pairwise(changes):
        kind = Mode(int(modes[begin]))
        until = (
            time[min(after, len(time) - 1)]
            if after < len(time) and time[after] - time[after - 1] <= PAUSE
            else time[after - 1] + TICK
        )
        label = None if kind in shown else kind.name
        axes.axvspan(time[begin], until, color=MODE_COLOURS[kind], alpha=0.7, lw=0, label=label)
        shown.add(kind)
    axes.set_yticks([])
    axes.set_ylabel("mode")
    axes.legend(loc="center left", fontsize=7, ncols=len(shown))


def _draw_histogram(axes: Axes, values: np.ndarray, name: str) -> None:
    """Log counts over log values, with the percentiles marked."""
    p50, p99, p999, longest = percentiles(values)
    low = max(float(values.min()), 1e-3 * longest)
    axes.hist(values, bins=np.geomspace(0.9 * low, 1.1 * longest, 60).tolist(), color="0.6")
    for value, label, style in ((p50, "p50", "-"), (p99, "p99", "--"), (p999, "p99.9", ":")):
        axes.axvline(value, color="tab:red", ls=style, lw=1, label=f"{label} {value:.3g}")
    axes.plot([], [], " ", label=f"max {longest:.3g}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(name)
    axes.set_ylabel("ticks")
    axes.legend(fontsize=8)
