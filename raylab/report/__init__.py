"""What a study found, for a person: the tables, the figures, and one page that holds them."""

from raylab.report.html import write_report
from raylab.report.paper import Quote, paper_table
from raylab.report.study_data import Study, read_study
from raylab.report.tables import format_table

__all__ = ["Quote", "Study", "format_table", "paper_table", "read_study", "write_report"]
