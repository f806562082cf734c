"""A report of runs: one HTML file that holds all that it shows, pictures too."""

from swarmsim.results.html_report.page import html_report

__all__ = ["html_report"]
