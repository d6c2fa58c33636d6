"""Margin in place of entropy, with half of the paper's weight on spatial diversity."""

from raylab.acquisition import Acquisition, register_strategy

register_strategy("margin+half-spatial", Acquisition(uncertainty=1, spatial=0.5, map="margin"))
