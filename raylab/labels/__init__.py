"""What turns a selected region into labels. Plain NumPy."""

from raylab.labels.masks import IGNORE, reveal

__all__ = ["IGNORE", "reveal"]
