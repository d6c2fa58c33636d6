"""The MLflow mirror of a study."""

from raylab.tracking.address import default_tracking, tracking_uri, ui_command
from raylab.tracking.mirror import Mirror

__all__ = ["Mirror", "default_tracking", "tracking_uri", "ui_command"]
