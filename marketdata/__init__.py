"""Market data: what the exchange shows of its market, made of reports and of nothing else."""

from marketdata.ladder_tables import LEVEL_CHANGE, QUOTE
from marketdata.ladders import Ladders

__all__ = ["LEVEL_CHANGE", "QUOTE", "Ladders"]
