"""Loss and metrics over the epochs, of one Run or of several."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

NO_FIGURES = ("epoch", "seconds", "learning_rate")
LINE = 0.22  # inches, of a legend below


def curves(run) -> Figure:
    """Loss and every metric of a Run (or its record) over the epochs, training and validation."""
    history = run.history
    names = _figures(history)
    figure, panels = _panels(names)
    for axes, name in zip(panels, names, strict=True):
        axes.plot(history["epoch"], history[name], marker="o", label="training")
        if f"val_{name}" in history:
            axes.plot(history["epoch"], history[f"val_{name}"], marker="o", label="validation")
        axes.legend()
    return figure


def curves_of_several(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Loss and every metric of some Runs, by their names: of validation in full lines, of training in dashed ones."""
    names = list(dict.fromkeys(name for history in histories.values() for name in _figures(history)))
    figure, panels = _panels(names, below=LINE * (len(histories) + 1))
    colours = matplotlib.colormaps["tab10" if len(histories) <= 10 else "turbo"]
    for i, (run, history) in enumerate(histories.items()):
        colour = colours(i if len(histories) <= 10 else i / (len(histories) - 1))
        for axes, name in zip(panels, names, strict=True):
            if name in history:
                axes.plot(history["epoch"], history[name], "--", color=colour, linewidth=1)
            if f"val_{name}" in history:
                axes.plot(history["epoch"], history[f"val_{name}"], marker="o", markersize=4, color=colour)
        panels[0].plot([], [], marker="o", color=colour, label=run.replace("$", r"\$"))
    title = "validation —   training - -"
    figure.legend(loc="lower left", frameon=False, title=title, alignment="left", fontsize=9, title_fontsize=9)
    return figure


def _figures(history: pd.DataFrame) -> list[str]:
    """Names of what was measured in training."""
    return [name for name in history.columns if name not in NO_FIGURES and not name.startswith("val_")]


def _panels(names: Sequence[str], below: float = 0.0) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a panel for each name, and so many inches free below them."""
    width, height = 5 * len(names), 3.5 + below
    figure = Figure(figsize=(width, height))
    # Room for all that stands beside the axes: a layout that measures it takes as long as the drawing.
    figure.subplots_adjust(0.65 / width, (0.5 + below) / height, 1 - 0.1 / width, 1 - 0.3 / height, wspace=0.16)
    panels = np.atleast_1d(figure.subplots(1, len(names)))
    for axes, name in zip(panels, names, strict=True):
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    return figure, panels
