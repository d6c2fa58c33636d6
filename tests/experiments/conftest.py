"""The scripts of experiments/, imported from where they lie."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "experiments"
sys.path.insert(0, str(FOLDER))
