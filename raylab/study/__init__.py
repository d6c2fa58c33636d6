"""A grid of runs on Ray Tune: what they share is computed once, and what is held at once fits the machine."""

from raylab.study.driver import run_study
from raylab.study.plan import Plan, check_study, plan_study

__all__ = ["Plan", "check_study", "plan_study", "run_study"]
