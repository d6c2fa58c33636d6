"""Where results lie: one storage root, results that appear whole or not at all, and the steps of a round."""

from raylab.store.artifacts import Store
from raylab.store.rounds import RoundStore, RunStore

__all__ = ["RoundStore", "RunStore", "Store"]
