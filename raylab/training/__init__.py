"""Training and evaluation: plain torch, but for Ray Train in `trainer`."""
