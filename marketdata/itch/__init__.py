"""The L3 feed: each order that is shown, as messages of Nasdaq TotalView-ITCH 5.0."""

from marketdata.itch.feed import ItchFeed, session_name

__all__ = ["ItchFeed", "session_name"]
