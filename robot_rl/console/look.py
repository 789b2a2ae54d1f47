"""The look of the page: colours, style sheet, and the pieces of HTML that its panels are made of. Text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from robot_rl.console.board import Line
from robot_rl.console.history import Row

BRAND = (18, 138, 128)
GOOD, BAD, WARN, INFO, MUTED = "#2fb27c", "#e5484d", "#f5a524", "#3e8ed0", "#8b95a5"
COLOURS = {
    "success": GOOD,
    "failure": BAD,
    "timeout": WARN,
    "aborted": MUTED,
    "running": GOOD,
    "ready": INFO,
    "reset": MUTED,
    "paused": WARN,
    "asking": WARN,
    "stopped": BAD,
    "person": INFO,
    "policy": GOOD,
    "ok": GOOD,
    "warn": WARN,
    "error": BAD,
}
PHASES = {
    "": "waiting for the session",
    "reset": "resetting",
    "ready": "ready",
    "running": "running",
    "stopped": "stopped",
    "paused": "paused",
    "asking": "needs you",
}
HINTS = {
    "reset": "The arm goes to its start. Stay clear of it.",
    "ready": "Drag the handle in the scene, or press a key, to begin.",
    "paused": "The arm is held. Resume goes on.",
    "stopped": "Look at the arm, then release the stop.",
}
BEFORE_STOP = '<i class="rr-stop"></i>'  # the button after it is large
STYLE = f"""<style>
div:has(> .rr-stop) + div button {{ height: 54px !important; font-size: 17px; font-weight: 700; border-radius: 10px;
  letter-spacing: 0.01em; }}
.rr-hint {{ margin: 4px 0 6px; opacity: 0.75; }}
.rr-key {{ display: inline-flex; align-items: center; gap: 5px; margin-left: 10px; }}
.rr-key i {{ width: 10px; height: 3px; border-radius: 2px; }}
.rr-legend {{ display: flex; justify-content: space-between; align-items: baseline; margin: 6px 0 0; }}
.rr {{ font-size: 13px; line-height: 1.45; padding: 2px 12px 6px; font-variant-numeric: tabular-nums; }}
.rr-head {{ display: flex; align-items: center; justify-content: space-between; gap: 8px; }}
.rr-pill {{ display: inline-block; border-radius: 999px; padding: 1px 10px; font-weight: 600; font-size: 12px;
  color: #fff; white-space: nowrap; }}
.rr-time {{ font-size: 22px; font-weight: 600; letter-spacing: -0.02em; }}
.rr-task {{ margin: 6px 0 8px; opacity: 0.75; }}
.rr-ask {{ margin: 8px 0; padding: 8px 10px; border-radius: 8px; border-left: 4px solid {WARN};
  background: rgba(245, 165, 36, 0.14); font-weight: 600; }}
.rr-grid {{ display: grid; grid-template-columns: 1fr 1fr; gap: 6px; margin-top: 6px; }}
.rr-cell {{ background: rgba(128, 140, 160, 0.12); border-radius: 8px; padding: 5px 9px 6px; min-width: 0; }}
.rr-cell small {{ display: block; opacity: 0.6; font-size: 11px; }}
.rr-cell b {{ font-size: 15px; font-weight: 600; }}
.rr-bar {{ height: 4px; border-radius: 2px; background: rgba(128, 140, 160, 0.25); margin-top: 4px; overflow: hidden; }}
.rr-bar i {{ display: block; height: 100%; border-radius: 2px; }}
.rr-line {{ display: flex; gap: 8px; padding: 3px 0; }}
.rr-dot {{ flex: none; width: 8px; height: 8px; border-radius: 50%; margin-top: 6px; }}
.rr-h {{ font-size: 11px; font-weight: 600; letter-spacing: 0.06em; text-transform: uppercase; opacity: 0.55;
  margin: 8px 0 3px; }}
.rr-row {{ display: flex; gap: 8px; align-items: center; }}
.rr-row > span:last-child {{ margin-left: auto; }}
.rr-row > span:last-child, .rr-muted {{ opacity: 0.65; }}
.rr-why {{ overflow: hidden; text-overflow: ellipsis; white-space: nowrap; opacity: 0.65; }}
.rr-hist {{ display: flex; align-items: flex-end; gap: 2px; height: 34px; margin: 4px 0 2px; }}
.rr-hist i {{ flex: 1; min-height: 1px; border-radius: 2px 2px 0 0; background: {INFO}; }}
.rr-ends {{ display: flex; justify-content: space-between; font-size: 11px; opacity: 0.6; }}
.rr kbd {{ display: inline-block; min-width: 19px; text-align: center; padding: 0 4px; margin: 1px; border-radius: 4px;
  font: 600 11px ui-monospace, monospace; background: rgba(128, 140, 160, 0.22); }}
</style>"""


def block(*parts: str) -> str:
    """A block of a panel."""
    return f'<div class="rr">{"".join(parts)}</div>'


def heading(text: str) -> str:
    return f'<div class="rr-h">{escape(text)}</div>'


def pill(text: str, kind: str) -> str:
    return f'<span class="rr-pill" style="background:{COLOURS.get(kind, MUTED)}">{escape(text)}</span>'


def cell(name: str, value: str, share: float | None = None, kind: str = "ok") -> str:
    """A named value; with a bar of ``share``, 0–1."""
    bar = ""
    if share is not None:
        width = 100.0 * min(max(share, 0.0), 1.0)
        bar = f'<div class="rr-bar"><i style="width:{width:.0f}%;background:{COLOURS[kind]}"></i></div>'
    return f'<div class="rr-cell"><small>{escape(name)}</small><b>{escape(value)}</b>{bar}</div>'


def grid(*cells: str) -> str:
    return f'<div class="rr-grid">{"".join(cells)}</div>'


def head(phase: str, seconds: float, instruction: str, request: str) -> str:
    """Phase, time in it, the task in words, and what the person is asked for."""
    time = f'<span class="rr-time">{seconds:.1f} s</span>' if phase else ""
    title = f'<div class="rr-head">{pill(PHASES.get(phase, phase), phase)}{time}</div>'
    task = f'<div class="rr-task">{escape(instruction)}</div>' if instruction else ""
    task += f'<div class="rr-hint">{HINTS[phase]}</div>' if phase in HINTS else ""
    ask = f'<div class="rr-ask">{escape(request)}<br>Then press Resume.</div>' if request else ""
    return title + task + ask


def legend(title: str, series: Mapping[str, str]) -> str:
    """Title of a chart, and the colours of its series."""
    shown = [
        f'<span class="rr-key"><i style="background:{colour}"></i>{name}</span>' for name, colour in series.items()
    ]
    return f'<div class="rr-legend"><b>{escape(title)}</b><span class="rr-muted">{"".join(shown)}</span></div>'


def histogram(counts: Sequence[int], names: Sequence[str]) -> str:
    """A bar for each of ``counts``, the tallest as high as there is room; its name and share when pointed at."""
    most, total = max(1, *counts), max(1, sum(counts))
    bars = "".join(
        f'<i style="height:{100.0 * count / most:.0f}%" title="{escape(name)}: {count / total:.0%}"></i>'
        for count, name in zip(counts, names, strict=True)
    )
    ends = f"<span>{escape(names[0])}</span><span>{escape(names[-1])}</span>"
    return f'<div class="rr-hist">{bars}</div><div class="rr-ends">{ends}</div>'


def lines(given: Iterable[Line]) -> str:
    """Sentences, each with a dot in the colour of its level."""
    return "".join(
        f'<div class="rr-line"><span class="rr-dot" style="background:{COLOURS[line.level]}"></span>'
        f"<span>{escape(line.text)}</span></div>"
        for line in given
    )


def episode(row: Row) -> str:
    """One episode of the list."""
    why = f'<div class="rr-why" title="{escape(row.reason)}">{escape(row.reason)}</div>' if row.reason else ""
    person = f", {row.interventions / row.steps:.0%} by hand" if row.steps and row.interventions else ""
    end = f"<span>{row.steps} steps{person}</span>"
    return block(f'<div class="rr-row"><b>#{row.number}</b>{pill(row.ending, row.ending)}{end}</div>', why)


def keys(legend: Mapping[str, str]) -> str:
    """Keys, and what they do."""
    shown = [
        f"<div>{' '.join(f'<kbd>{escape(key)}</kbd>' for key in names.split())} {escape(text)}</div>"
        for names, text in legend.items()
    ]
    return block(*shown)
