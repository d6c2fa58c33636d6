"""What turns a selected region into labels. Plain NumPy."""

from raylab.data.classes import IGNORE
from raylab.labels.masks import reveal

__all__ = ["IGNORE", "reveal"]
