"""The attacks as pictures and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.experiments.passivity.attacks import Attack

OFF, ON = "tab:red", "tab:blue"
HEADER = (
    "| Policy | Filter | Delivered, most [J] | Bound then [J] | Above the bound [ms] | Tank, least [J] "
    "| Contact force, mean over 10 ms, most [N] | mean [N] | Penetration [mm] | Strayed [m] | Ended |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def row(attack: Attack) -> str:
    """The attack in a line of the table under `HEADER`."""
    trace = attack.trace
    most = int(trace.delivered.argmax())
    strayed = float(abs(trace.position - trace.position[0]).max())
    cells = [
        attack.policy,
        "on" if attack.filtered else "off",
        f"{trace.delivered[most]:.2f}",
        f"{attack.bound[most]:.2f}",
        f"{attack.violations}",
        f"{trace.tank.min():.2f}",
        f"{trace.felt.max():.0f}",
        f"{trace.force.mean():.1f}",
        f"{1e3 * trace.penetration.max():.2f}",
        f"{strayed:.2f}",
        f"after {trace.elapsed[-1]:.1f} s" + (f", {attack.reflex}" if attack.reflex else ""),
    ]
    return f"| {' | '.join(cells)} |"


def draw(off: Attack, on: Attack, path: Path) -> None:
    """Energy against its bound, contact force and penetration over time; the filter off and on, one above the other."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 1, figsize=(7.5, 7.0), sharex=True, height_ratios=(1.4, 1, 1))
    energy, force, depth = axes
    for attack, colour, name in ((off, OFF, "filter off"), (on, ON, "filter on")):
        trace = attack.trace
        energy.plot(trace.elapsed, trace.delivered, color=colour, label=name)
        force.plot(trace.elapsed, trace.felt, color=colour, linewidth=0.9, label=name)
        depth.plot(trace.elapsed, 1e3 * trace.penetration, color=colour, linewidth=0.9)
        if attack.reflex:
            label = f"{name}: the robot stops by itself"
            energy.plot(trace.elapsed[-1], trace.delivered[-1], "x", color=colour, label=label)
    energy.plot(on.trace.elapsed, on.bound, color="black", linestyle="--", label="bound: capacity + budget")
    energy.set_ylabel("energy delivered [J]")
    energy.legend(loc="best", fontsize=9)
    force.set_ylabel("contact force,\nmean over 10 ms [N]")
    depth.set_ylabel("penetration [mm]")
    depth.set_xlabel("time [s]")
    energy.set_title(f"{on.policy}: {on.regime.title}", fontsize=10)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def table(attacks: Sequence[Attack]) -> str:
    """A table for each regime, in Markdown."""
    parts = []
    for title in dict.fromkeys(attack.regime.title for attack in attacks):
        parts += [f"**{title[0].upper()}{title[1:]}**", ""]
        parts += [HEADER, *(row(attack) for attack in attacks if attack.regime.title == title), ""]
    return "\n".join(parts)
