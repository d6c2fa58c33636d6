"""Regions: how images are cut, into tiles or superpixels, and the Arrow tables that hold one row a region."""

from raylab.regions.base import Regions
from raylab.regions.grid import RegionGrid
from raylab.regions.superpixels import Superpixels

__all__ = ["RegionGrid", "Regions", "Superpixels"]
