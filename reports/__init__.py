"""Reports: what happened, complete by itself, as rows that encoders of any protocol read."""

from reports.rows import REPORT, InBook, Liquidity, ReportFlag, ReportKind

__all__ = ["REPORT", "InBook", "Liquidity", "ReportFlag", "ReportKind"]
