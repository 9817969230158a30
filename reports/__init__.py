"""Rows of what happened, complete by themselves, which encoders of any protocol read."""

from reports.projection import Reports
from reports.rows import REPORT, InBook, Liquidity, ReportFlag, ReportKind

__all__ = ["REPORT", "InBook", "Liquidity", "ReportFlag", "ReportKind", "Reports"]
