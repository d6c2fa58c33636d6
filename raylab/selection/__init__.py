"""Which regions to label next: a strategy is a row of numbers, the optimiser is chosen by what it needs."""

from raylab.acquisition import STRATEGIES, Acquisition, strategy
from raylab.selection.arrays import array_namespace
from raylab.selection.objective import Selection
from raylab.selection.select import GreedySelector, drawn, first_draw, interleave, select
from raylab.selection.shards import LocalShards

__all__ = [
    "STRATEGIES",
    "Acquisition",
    "GreedySelector",
    "LocalShards",
    "Selection",
    "array_namespace",
    "drawn",
    "first_draw",
    "interleave",
    "select",
    "strategy",
]
