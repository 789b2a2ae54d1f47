"""A picture of the last seconds before a fault."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from controllers.state import TICK, EventKind, Mode
from hardware.franka.telemetry import Telemetry, missed_ticks, percentiles
from hardware.interfaces import TelemetryError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    """Draw torque, energy, motion, mode with events, and timing.

    Raises:
        TelemetryError: there is no tick, or ``picture`` cannot be written or has no ending that tells its format.
    """
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

    figure = plt.figure(figsize=(15, 10.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3.2, 1), squeeze=False)[0]
    torque, energy, motion, force, timing, mode = axes = left.subplots(
        6, 1, sharex=True, height_ratios=(3, 2, 2, 2, 2, 0.8)
    )
    for joint in range(ticks["torque"].shape[1]):
        torque.plot(time, line(ticks["torque"][:, joint]), lw=0.9, label=f"joint {joint + 1}")
    torque.set_ylabel("commanded [N·m]")
    _legend(torque)

    energy.plot(time, line(ticks["tank"]), label="tank [J]")
    energy.plot(time, line(ticks["activity"]), color="tab:red", label="held back by the filter [s]")
    energy.set_ylim(bottom=0.0)
    budget = energy.twinx()
    budget.plot(time, line(ticks["budget"]), color="tab:green", lw=0.9, label="episode's budget [J], right")
    budget.ticklabel_format(axis="y", useOffset=False)
    energy.set_ylabel("energy")
    _legend(energy, budget)

    distance = np.linalg.norm(ticks["target"] - ticks["translation"], axis=1) * 1e3
    motion.plot(time, line(distance), label="TCP to target [mm]")
    motion.set_ylim(bottom=0.0)
    speed = motion.twinx()
    fastest = np.abs(ticks["dq"]).max(axis=1)
    speed.plot(time, line(fastest), color="tab:orange", lw=0.7, label="fastest joint [rad/s], right")
    motion.set_ylabel("motion")
    _legend(motion, speed)

    force.plot(time, line(np.linalg.norm(ticks["wrench"][:, :3], axis=1)), label="external force [N]")
    moment = force.twinx()
    moments = np.linalg.norm(ticks["wrench"][:, 3:], axis=1)
    moment.plot(time, line(moments), color="tab:orange", lw=0.7, label="external moment [N·m], right")
    force.set_ylabel("at the TCP")
    _legend(force, moment)

    periods = np.where(ticks["period"] > 0.0, ticks["period"], np.nan)
    timing.semilogy(time, line(periods * 1e3), ".", ms=2, label="period [ms]")
    timing.semilogy(time, line(ticks["compute"] * 1e3), ".", ms=2, label="compute [ms]")
    timing.axhline(1.0, color="0.5", lw=0.6)
    timing.set_ylabel("timing")
    _legend(timing)

    _draw_modes(mode, ticks["time"] - end, ticks["mode"])
    _draw_events(axes, [(e.time - end, e.kind) for e in telemetry.events if ticks["time"][0] <= e.time <= end + PAUSE])
    mode.set_xlabel(f"robot time before the end [s]; the end is at {end:.3f} s")
    for panel in axes[:-1]:
        panel.grid(alpha=0.25)
    top, bottom = right.subplots(2, 1)
    _draw_histogram(top, ticks["period"][ticks["period"] > 0.0] * 1e3, "period [ms]")
    _draw_histogram(bottom, ticks["compute"] * 1e6, "compute [µs]")
    figure.suptitle(f"{title}: {telemetry.reason or 'end of the run'}", fontsize=11, wrap=True)
    try:
        figure.savefig(picture, dpi=110)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise TelemetryError(f"the picture cannot be written to {picture}: {why or error}") from error
    finally:
        plt.close(figure)


def _legend(*panels: Axes) -> None:
    """One legend above the first of ``panels``, which share a place."""
    entries = [panel.get_legend_handles_labels() for panel in panels]
    panels[0].legend(
        handles=[handle for handles, _ in entries for handle in handles],
        labels=[label for _, labels in entries for label in labels],
        loc="lower left",
        bbox_to_anchor=(0.0, 0.97),
        ncols=7,
        fontsize=8,
        frameon=False,
        markerscale=4,
    )


def _draw_modes(axes: Axes, time: np.ndarray, modes: np.ndarray) -> None:
    """A strip that shows the mode by its colour."""
    pauses = np.diff(time) > PAUSE
    changes = [0, *(np.flatnonzero((np.diff(modes) != 0.0) | pauses) + 1), len(time)]
    for begin, after in itertools.pairwise(changes):
        kind = Mode(int(modes[begin]))
        last = after == len(time) or pauses[after - 1]
        until = time[after - 1] + TICK if last else time[after]
        axes.axvspan(time[begin], until, color=MODE_COLOURS[kind], alpha=0.6, lw=0)
        if until - time[begin] > 0.04 * (time[-1] - time[0]):
            axes.text(0.5 * (time[begin] + until), 0.5, kind.name, ha="center", va="center", fontsize=8)
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([])
    axes.set_ylabel("mode")


def _draw_events(axes: np.ndarray, events: list[tuple[float, EventKind]]) -> None:
    """A dotted line for each event through all panels, with its name above the mode; those at one place share it."""
    low, high = axes[0].get_xlim()
    places: list[tuple[float, list[EventKind]]] = []
    for moment, kind in events:
        if not places or moment - places[-1][0] > 0.012 * (high - low):
            places.append((moment, []))
        if kind not in places[-1][1]:
            places[-1][1].append(kind)
    for moment, kinds in places:
        colour = next((EVENT_COLOURS[kind] for kind in kinds if kind in EVENT_COLOURS), "0.35")
        for panel in axes:
            panel.axvline(moment, color=colour, lw=0.8, ls=":")
        axes[-1].annotate(
            " + ".join(kind.name.lower().replace("_", " ") for kind in kinds),
            (moment, 1.05),
            xycoords=("data", "axes fraction"),
            fontsize=8,
            rotation=20,
            color=colour,
            annotation_clip=False,
        )


def _draw_histogram(axes: Axes, values: np.ndarray, name: str) -> None:
    """Log counts over log values, with the percentiles marked."""
    p50, p99, p999, longest = percentiles(values)
    low = max(float(values.min()), 1e-3 * longest)
    axes.hist(values, bins=np.geomspace(0.9 * low, 1.1 * longest, 60).tolist(), color="0.6")
    for value, label, style in ((p50, "p50", "-"), (p99, "p99", "--"), (p999, "p99.9", ":")):
        axes.axvline(value, color="tab:red", ls=style, lw=1, label=f"{label} {_short(value)}")
    axes.plot([], [], " ", label=f"max {_short(longest)}")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}" if longest < 5.0 * low else "")
    axes.set_yscale("log")
    axes.set_xlabel(name)
    axes.set_ylabel("ticks")
    axes.legend(fontsize=8)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100.0 else f"{value:.3g}"
