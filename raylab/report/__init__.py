"""What a study found, for a person: the table, the figures, and one page that holds them."""

from raylab.report.aggregate import Study, format_table, read_study
from raylab.report.html import write_report

__all__ = ["Study", "format_table", "read_study", "write_report"]
