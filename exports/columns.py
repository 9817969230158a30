"""Names of the tables of an export and of their columns, for what reads one without the words of its rows.

Words need kernels, and with them Numba, which takes longer to load than most questions to an export take.
"""

from collections.abc import Mapping
from typing import Final

#: Columns of each table, in order. ``exports.tables`` says what they are.
COLUMNS: Final[Mapping[str, str]] = {
    "events": "seq event_number time_ns kind symbol participant client_order_id contra_participant "
    "contra_client_order_id side price_e4 qty number reason phase",
    "trades": "trade_number seq time_ns symbol price_e4 qty aggressor_side buy_participant buy_client_order_id "
    "buy_order_number sell_participant sell_client_order_id sell_order_number",
    "reports": "seq number time_ns kind command order_number client_order_id previous_client_order_id symbol "
    "participant user side book time_in_force price_e4 stop_price_e4 peg offset_e4 qty leaves_qty displayed_qty rests "
    "cum_qty canceled_qty notional_e4 last_price_e4 last_qty trade_number contra_participant liquidity reason",
    "orders": "order_number participant symbol side entry_client_order_id client_order_id entry_seq entry_time_ns "
    "end_seq end_time_ns entry_price_e4 entry_qty price_e4 qty leaves_qty cum_qty canceled_qty notional_e4 end_reason "
    "user book time_in_force",
    "positions": "participant symbol position_qty open_buy_qty open_sell_qty",
    "audit": "seq number time_ns phase came_by login_time_ns capacity latency_ns",
    "snapshots": "seq time_ns symbol side level price_e4 qty displayed_qty orders",
}
#: Tables of each export that was not cut down by ``--only``; snapshots are there where they were asked for, and audit
#: in an export for PostgreSQL.
ALWAYS: Final = ("events", "trades", "reports", "orders", "positions")
