"""A grid of runs on Ray Tune: what they share is computed once, and what is held at once fits the machine."""

from raylab.study.checks import check_study
from raylab.study.driver import RunFailedError, run_studies, run_study
from raylab.study.plan import Plan, plan_studies

__all__ = ["Plan", "RunFailedError", "check_study", "plan_studies", "run_studies", "run_study"]
