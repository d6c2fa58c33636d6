"""What turns a selected region into labels. Plain NumPy."""

from raylab.data.base import IGNORE
from raylab.labels.masks import reveal

__all__ = ["IGNORE", "reveal"]
