"""The MLflow mirror of a study."""

from raylab.tracking.address import tracking_uri, ui_command
from raylab.tracking.mirror import Mirror

__all__ = ["Mirror", "tracking_uri", "ui_command"]
