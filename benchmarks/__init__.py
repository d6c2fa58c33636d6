"""What measures speed: each peer runs beside ours in one process or one run, and ratios are printed."""
