"""From a model to the region table: per-pixel uncertainty, region means, PCA; Ray Data only in `pipeline`."""
