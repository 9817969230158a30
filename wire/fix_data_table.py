"""The dictionaries of market data: what a subscriber may send in FIX 4.2, 4.4 and 5.0 SP2.

Values of a field that a MarketDataRequestReject has a reason for are not listed here, so that it is answered by that
and not by a reject of the session.
"""

from functools import cache
from typing import Final

from wire.fix_dictionary import Dictionary
from wire.fix_table import composed

_FIELDS: Final = """
106 Issuer STRING
107 SecurityDesc STRING
146 NoRelatedSym NUMINGROUP
167 SecurityType STRING
262 MDReqID STRING
263 SubscriptionRequestType CHAR
264 MarketDepth INT
265 MDUpdateType INT
266 AggregatedBook BOOLEAN
267 NoMDEntryTypes NUMINGROUP
269 MDEntryType CHAR
286 OpenCloseSettlFlag STRING
320 SecurityReqID STRING
321 SecurityRequestType INT
324 SecurityStatusReqID STRING
335 TradSesReqID STRING
338 TradSesMethod INT
339 TradSesMode INT
386 NoTradingSessions NUMINGROUP
461 CFICode STRING
546 Scope STRING
547 MDImplicitDelete BOOLEAN
559 SecurityListRequestType INT
625 TradingSessionSubID STRING
"""

_INSTRUMENT: Final = "48 22 167 207 106 107"
_REQUESTS: Final = f"""
e: 324! 55! {_INSTRUMENT} 15 263! 336
g: 335! 336 338 339 263!
c: 320! 321! 55 {_INSTRUMENT} 15 58 336
"""
_LATER: Final = f"""{_REQUESTS}
V: 262! 263! 264! 265 266 286 546 547 267!(269!) 146!(55! {_INSTRUMENT} 461 15) 386(336 625)
x: 320! 559! 55 {_INSTRUMENT} 15 58 336 625 263
"""
_MESSAGES: Final = {
    "FIX.4.2": f"""{_REQUESTS}
V: 262! 263! 264! 265 266 267!(269!) 146!(55! {_INSTRUMENT} 336)
""",
    "FIX.4.4": _LATER.replace(" 461 15)", " 461)"),
    "FIXT.1.1": _LATER,
}


@cache
def market_data(version: str) -> Dictionary:
    """The dictionary of a version for subscribers. Raises KeyError for a version that the exchange does not speak."""
    return composed(version, _MESSAGES[version], _FIELDS)
