"""Street scenes drawn by a seeded generator."""

from raylab.data.synthetic.scenes import SyntheticScenes, draw_scene

__all__ = ["SyntheticScenes", "draw_scene"]
