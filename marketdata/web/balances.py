"""Accounts of the Coinbase Exchange dialect: what a user's participant has, and what its open orders hold of it."""

from marketdata.web import words
from marketdata.web.account import Account
from marketdata.web.answers import BadRequest
from marketdata.web.forms import Balance
from marketdata.web.market import WebMarket


def balances(market: WebMarket, account: Account) -> list[Balance]:
    """Accounts of a user: dollars and shares that its participant has from all trades of the journal.

    There is no money in this market but that of trades: dollars are below zero after a buy, shares after a sale.
    """
    participant = market.users.get(account.user, 0)
    held_back = account.held_back()
    cash_e4 = market.positions.get((participant, 0), 0)
    hold_e4 = held_back.get(words.CURRENCY, 0)
    rows = [(words.CURRENCY, words.price(cash_e4), words.price(hold_e4), words.price(cash_e4 - hold_e4))]
    for each in market.products.values():
        qty, hold = market.positions.get((participant, each.number), 0), held_back.get(each.symbol, 0)
        rows.append((each.symbol, str(qty), str(hold), str(qty - hold)))
    return [
        {
            "id": words.account_id(account.user, code),
            "currency": code,
            "balance": balance,
            "hold": hold,
            "available": available,
            "profile_id": account.user,
            "trading_enabled": True,
        }
        for code, balance, hold, available in rows
    ]


def balance(market: WebMarket, of: Account, account_id: str) -> Balance:
    """One account. Raises BadRequest."""
    for each in balances(market, of):
        if each["id"] == account_id:
            return each
    raise BadRequest(f"there is no account {account_id[:40]!r}; GET /accounts lists them", 404)
