"""Training and evaluation: plain torch in `augment`, `loss`, `metrics` and `step`; Ray Train only in `trainer`."""
