"""Regions: how images are cut into tiles, and the Arrow tables that hold one row a tile."""

from raylab.regions.grid import RegionGrid

__all__ = ["RegionGrid"]
