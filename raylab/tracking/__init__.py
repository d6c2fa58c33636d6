"""The MLflow uploader of a study."""

from raylab.tracking.address import experiment_for, tracking_for, tracking_uri, ui_command
from raylab.tracking.catch_up import catch_up
from raylab.tracking.uploader import MlflowUploader

__all__ = ["MlflowUploader", "catch_up", "experiment_for", "tracking_for", "tracking_uri", "ui_command"]
