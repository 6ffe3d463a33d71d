"""Added latency against the number of calls, as a picture. matplotlib is needed for nothing else, and only here."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

Row = Mapping[str, Any]
Series = Mapping[tuple[str, str], Sequence[tuple[int, float]]]  # (relay, percentile) -> calls and ms, ascending

# Title, engine, measure, and what nobody hears (ms).
PANELS: Final = (
    ("realtime: caller → model", "realtime", "up_ms", 20.0),
    ("realtime: model → caller", "realtime", "down_ms", 20.0),
    ("realtime: barge-in", "realtime", "barge_in_ms", 10.0),
    ("amivoice: caller → recogniser", "amivoice", "up_ms", 20.0),
)
_COLOURS: Final = {"floor": "#888888", "callbot": "#1b6ca8", "as installed": "#c8553d"}
_PALETTE: Final = 128  # colours: a third of the size, and nobody sees it
_LINES: Final = {"p50": "-", "p99": "--"}


def series(rows: Iterable[Row], engine: str, measure: str) -> Series:
    """The lines of one panel; a relay that has no such measure has none."""
    lines: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        spread = row.get(measure, {})
        if row["engine"] == engine and spread.get("n"):
            for percentile in _LINES:
                lines[row["relay"], percentile].append((int(row["calls"]), float(spread[percentile])))
    return {name: sorted(points) for name, points in lines.items()}


def draw(rows: Sequence[Row], path: Path, caption: str) -> None:
    """Write a PNG of few colours. Raises ImportError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(9, 5.6), dpi=90, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    most = max(int(row["calls"]) for row in rows)
    for axes, (title, engine, measure, unheard) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for (relay, percentile), points in series(rows, engine, measure).items():
            axes.plot(
                [calls for calls, _ in points], [ms for _, ms in points],
                _LINES[percentile], marker="o", markersize=4, color=_COLOURS[relay], label=f"{relay} {percentile}",
                markerfacecolor=_COLOURS[relay] if percentile == "p50" else "white",
            )  # fmt: skip
        axes.axhline(
            unheard, color="#d0a000", linewidth=1, linestyle=":", label=f"nobody hears less than {unheard:g} ms"
        )
        # The same everywhere, so that the panels can be compared.
        axes.set(title=title, yscale="log", xlim=(0, 1.05 * most), ylim=(0.03, 300))
        axes.set(xlabel="calls on one core", ylabel="ms added")
        axes.grid(visible=True, which="major", linewidth=0.3)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.title.set_fontsize(10)
    named = {label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(caption, fontsize=8)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has types for some of it
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]  # likewise
    drawn = Image.frombuffer("RGBA", canvas.get_width_height(), pixels)
    drawn.convert("RGB").quantize(_PALETTE).save(path, "PNG", optimize=True)
