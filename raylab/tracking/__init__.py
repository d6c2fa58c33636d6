"""The MLflow mirror of a study."""

from raylab.tracking.address import tracking_for, tracking_uri, ui_command
from raylab.tracking.catch_up import catch_up
from raylab.tracking.mirror import Mirror

__all__ = ["Mirror", "catch_up", "tracking_for", "tracking_uri", "ui_command"]
