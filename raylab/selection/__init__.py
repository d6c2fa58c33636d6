"""Which regions to label next: a strategy is a row of numbers, the optimiser is chosen by what it needs."""

from raylab.selection.arrays import array_namespace
from raylab.selection.greedy import GreedySelector, drawn, first_draw, interleave, select
from raylab.selection.objective import Acquisition, Selection
from raylab.selection.strategies import STRATEGIES, strategy

__all__ = [
    "STRATEGIES",
    "Acquisition",
    "GreedySelector",
    "Selection",
    "array_namespace",
    "drawn",
    "first_draw",
    "interleave",
    "select",
    "strategy",
]
