"""The operator's view of the page: who is signed in, the report of the node, and what an operator may do.

    browser --> node.web_app --> Desk --> node.link --> DIR/operator.sock --> the node

An act is a command line such as `lockstep admin` sends, so it is journaled; ``Acts`` and the log say who did it. Only
four acts are possible here, each with one name. All but the report is bounded by rates; sessions are in memory alone.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.names import ID_CHARACTERS
from engine.records import Phase
from marketdata.web.market import WebMarket
from node.operator.link import Link, LinkError, LinkLost, RequestRefused
from node.programs.logs import Log
from node.web.operator_acts import Act, Acts
from node.web.operators import PASSWORD_CHARACTERS_MAX, Operators, verify
from node.web.token_bucket import Bucket

#: Name of the cookie with the token of a session.
COOKIE: Final = "lockstep_operator"
#: Header with the second token of a session, which a form of another site cannot send.
PROOF: Final = "x-lockstep-proof"
#: Ages at which a session ends, in seconds: since its sign-in or last act, and in all.
IDLE_S: Final = 15 * 60.0
SESSION_S: Final = 8 * 3_600.0
SESSIONS_MAX: Final = 64
#: Attempts to sign in: at once and then one in some seconds, from one address and from all.
ATTEMPTS: Final = 5.0
ATTEMPT_S: Final = 10.0
ALL_ATTEMPTS: Final = 30.0
ALL_ATTEMPT_S: Final = 2.0
#: Rate of acts of one operator: at once, and then a second.
ACTS: Final = 20.0
ACTS_A_SECOND: Final = 1.0
_ADDRESSES_MAX: Final = 10_000
_HASHES_WAITING_MAX: Final = 8
#: Time for an answer of the node, in seconds.
ANSWER_S: Final = 5.0
#: Time after which an operator is told that an act has no answer, in seconds; those before it in the queue count.
ACT_S: Final = 6.0
#: Sessions that a report lists.
_SESSIONS_SHOWN: Final = 200
_NAME_CHARACTERS_MAX: Final = 8

#: Acts, with the command line of each and what its name is of.
ACT_LINES: Final = {
    "kill": ("kill {}", "participant"),
    "unkill": ("unkill {}", "participant"),
    "halt": ("halt {}", "instrument"),
    "resume": ("resume {}", "instrument"),
}


class Answer(NamedTuple):
    """Answer to a request: status of HTTP, and a value of JSON. cookie: a token to set, "" to end it, None: neither."""

    status: int
    value: Any
    cookie: str | None = None


class Session(NamedTuple):
    """A session of an operator. proof: the second token. Times are of a monotonic clock, in seconds."""

    operator: str
    proof: str
    began_s: float
    used_s: float


def _refusal(status: int, sentence: str) -> Answer:
    return Answer(status, {"message": sentence})


_SIGN_IN: Final = "sign in first"


class _NotSentError(Exception):
    """An act was not sent to the node, so it is not done; the message says why."""


class Desk:
    """Operators, their sessions, and a line to the node of a directory, which is made when it is needed."""

    def __init__(
        self,
        directory: Path,
        operators: Operators,
        market: WebMarket,
        log: Log,
        *,
        now_s: Callable[[], float] = time.monotonic,
        answer_s: float = ANSWER_S,
        act_s: float = ACT_S,
    ) -> None:
        self._directory, self._operators, self._market, self._log = directory, operators, market, log
        self._now_s, self._answer_s, self._act_s = now_s, answer_s, act_s
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._attempts: OrderedDict[str, Bucket] = OrderedDict()
        self._all = Bucket(1.0 / ALL_ATTEMPT_S, ALL_ATTEMPTS, now_s())
        self._acts: dict[str, Bucket] = {}
        self._hashing = ThreadPoolExecutor(1, "passwords")
        self._hashes = 0
        self._asking = ThreadPoolExecutor(1, "reports")
        self._acting = ThreadPoolExecutor(1, "acts")  # its own: a kill does not wait for a report
        self._done = Acts(directory, self._on_acts_failure)
        self._asked: asyncio.Future[dict[str, Any]] | None = None
        self._link: Link | None = None

    def close(self) -> None:
        """End threads and the line to the node."""
        self._hashing.shutdown(wait=False, cancel_futures=True)
        self._asking.shutdown(wait=False, cancel_futures=True)
        self._acting.shutdown(wait=False, cancel_futures=True)
        self._done.close()
        if self._link is not None:
            self._link.close()

    def _on_acts_failure(self, why: str) -> None:
        self._log.warning("acts of operators are not kept", why=why, then="the log has them")

    # Sessions.

    async def sign_in(self, address: str, name: str, password: str) -> Answer:
        """Begin a session for an operator with the right password."""
        if not self._may_try(address):
            return _refusal(429, f"too many attempts to sign in; wait {ATTEMPT_S:g} s and try again")
        if self._hashes >= _HASHES_WAITING_MAX:
            return _refusal(503, "too many others sign in at this moment; try again in a few seconds")
        self._hashes += 1
        try:
            is_right = len(password) <= PASSWORD_CHARACTERS_MAX and await asyncio.get_running_loop().run_in_executor(
                self._hashing, verify, self._operators, name, password
            )
        finally:
            self._hashes -= 1
        if not is_right:
            known = name if name in self._operators else "unknown"
            self._log.warning("an operator was refused on the page", operator=known, address=address)
            return _refusal(401, "name or password is wrong; check both and try again")
        token, now_s = secrets.token_urlsafe(32), self._now_s()
        made = Session(name, secrets.token_urlsafe(32), now_s, now_s)
        self._sessions[_sealed(token)] = made
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        self._log.info("an operator signed in on the page", operator=name, address=address)
        return Answer(200, _about(made), token)

    def _may_try(self, address: str) -> bool:
        now_s = self._now_s()
        bucket = self._attempts.get(address)
        if bucket is None:
            bucket = self._attempts[address] = Bucket(1.0 / ATTEMPT_S, ATTEMPTS, now_s)
            if len(self._attempts) > _ADDRESSES_MAX:
                self._attempts.popitem(last=False)
        self._attempts.move_to_end(address)
        return bucket.take(now_s) and self._all.take(now_s)

    def session(self, token: str, *, uses: bool = True) -> Session | None:
        """The session of a token; None if there is none any more.

        uses: False for what the page reads by itself, so that a page left open does not keep its session.
        """
        key, now_s = _sealed(token), self._now_s()
        found = self._sessions.get(key)
        if found is None:
            return None
        if now_s - found.used_s > IDLE_S or now_s - found.began_s > SESSION_S:
            del self._sessions[key]
            return None
        if uses:
            self._sessions[key] = found = found._replace(used_s=now_s)
            self._sessions.move_to_end(key)
        return found

    def who(self, token: str) -> Answer:
        """The operator of a token, and the proof that acts need; None for both where nobody is signed in."""
        found = self.session(token, uses=False)
        return Answer(200, _about(found) if found is not None else {"operator": None, "proof": None})

    def sign_out(self, token: str) -> Answer:
        """End a session, if there is one."""
        ended = self._sessions.pop(_sealed(token), None)
        if ended is not None:
            self._log.info("an operator signed out on the page", operator=ended.operator)
        return Answer(200, {}, "")

    # The node.

    async def report(self, token: str) -> Answer:
        """Figures of the node, its pair, processes, readers and sessions; names that acts may have, and acts done.

        Names and acts are known here, so they come also where the node does not answer.
        """
        found = self.session(token, uses=False)
        if found is None:
            return _refusal(401, _SIGN_IN)
        try:
            status, told = 200, await self._reported()
        except (LinkError, RequestRefused, OSError, TimeoutError) as error:
            status, told = 503, {"message": f"no report of the node: {_why(error)}"}
        return Answer(status, {**told, "operator": found.operator, **self._names(), "acts": self._done.newest()})

    async def _reported(self) -> dict[str, Any]:
        """One report at a time, for all who ask meanwhile. Raises what ``_ask`` does, and TimeoutError."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().run_in_executor(self._asking, self._read)
        return await asyncio.wait_for(asyncio.shield(self._asked), self._answer_s + 1.0)

    def _read(self) -> dict[str, Any]:
        """In the thread ``reports``."""
        sessions = self._ask("sessions")
        pair = self._ask("pair")["pair"]
        workings = self._ask("workings")["workings"]
        return {
            "status": self._ask("status")["status"],
            "pair": pair if pair["role"] != "single" else None,
            "processes": workings["processes"],
            "readers": workings["readers"],
            "sessions": sessions["sessions"][:_SESSIONS_SHOWN],
            "sessions_total": sessions["total"],
        }

    def _names(self) -> dict[str, Any]:
        market = self._market
        return {
            "participants": [
                {"participant": name, "killed": killed} for name, killed in sorted(market.participants.items())
            ],
            "instruments": [
                {"instrument": each.symbol, "phase": Phase(each.phase).name.lower()}
                for each in market.products.values()
            ],
        }

    def _ask(self, do: str) -> dict[str, Any]:
        """Read from the node, over a new connection where the last is lost. In the thread ``reports``.

        Raises LinkError, RequestRefused, OSError.
        """
        is_new = self._link is None
        if self._link is None:
            self._link = Link(self._directory, answer_s=self._answer_s)
        try:
            return self._link.ask(do)
        except (LinkLost, OSError):
            self._link.close()
            self._link = None
            if is_new:
                raise
            return self._ask(do)

    def _command(self, command: str, until_s: float) -> dict[str, Any]:
        """Send a command over a connection of its own, unless it is late. In the thread ``acts``.

        A connection that is kept could be one of a node that has ended, and nobody could say whether it took the
        command. until_s: of ``time.monotonic``. Raises _NotSentError, LinkError, RequestRefused, OSError.
        """
        try:
            link = Link(self._directory, answer_s=self._answer_s)
        except (LinkError, OSError) as error:
            raise _NotSentError(_why(error)) from None
        with link:
            if time.monotonic() >= until_s:
                raise _NotSentError("the node took the connection too late")
            return link.ask("commands", text=command)

    async def _commanded(self, command: str) -> dict[str, Any]:
        """Answer to a command in ``act_s``. Raises what ``_command`` does, and TimeoutError: it may be done."""
        asked = self._acting.submit(self._command, command, time.monotonic() + self._act_s)
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(asked)), self._act_s)
        except TimeoutError:
            if asked.cancel():
                raise _NotSentError("an act before it still waits for the node") from None
            raise

    async def act(self, token: str, proof: str, act: object, name: object) -> Answer:
        """Do one of ``ACT_LINES`` in the name of the session's operator; the answer has the events, as lines."""
        found = self.session(token)
        if found is None:
            return _refusal(401, _SIGN_IN)
        if not hmac.compare_digest(proof.encode("utf-8", "replace"), found.proof.encode()):
            return _refusal(403, "the request is not of this page; load the page again")
        line, what = ACT_LINES.get(act if isinstance(act, str) else "", ("", ""))
        if not line:
            return _refusal(400, f"there is no such act; there are {', '.join(ACT_LINES)}")
        known = (
            self._market.participants if what == "participant" else [p.symbol for p in self._market.products.values()]
        )
        if not isinstance(name, str) or name not in known or not _is_word(name):
            return _refusal(404, f"there is no such {what}; load the page again")
        bucket = self._acts.setdefault(found.operator, Bucket(ACTS_A_SECOND, ACTS, self._now_s()))
        if not bucket.take(self._now_s()):
            return _refusal(429, "too many acts within a few seconds; wait and try again")
        command = line.format(name)
        self._log.warning("an operator acts on the page", operator=found.operator, command=command)
        noted = self._done.begin(found.operator, command, time.time_ns())
        answer = await self._answer_to(noted)
        result = answer.value.get("message") or _events(answer) or "done"
        self._done.end(noted, result, answer.value.get("seq", 0))
        return answer

    async def _answer_to(self, act: Act) -> Answer:
        command, operator = act.command, act.operator
        try:
            done = await self._commanded(command)
        except RequestRefused as error:
            return _refusal(409, f"the node refused `{command}`: {_why(error)}")
        except _NotSentError as error:
            self._log.error("an act on the page was not sent", operator=operator, command=command)
            return _refusal(503, f"`{command}` was not done: {_why(error)}")
        except (LinkError, OSError) as error:  # with the TimeoutError of the deadline
            self._log.error("an act on the page has no answer", operator=operator, command=command)
            sentence = f"`{command}` is not confirmed, it may be done: {_why(error)}"
            return _refusal(503, f"{sentence}; look at the report before you do it again")
        self._log.warning(
            "an operator acted on the page",
            operator=operator,
            command=command,
            seq=done["seq"],
            rejected=done["rejected"],
        )
        kept = {"command": command, "operator": operator, "seq": done["seq"], "events": done["events"][:20]}
        return Answer(200 if not done["rejected"] else 409, {**kept, "rejected": done["rejected"]})


def _events(answer: Answer) -> str:
    """Events of a command, in the words of the notation."""
    return ", ".join(each.removeprefix("> ") for each in answer.value["events"])


def _sealed(token: str) -> bytes:
    """Key of a token: a look-up by it tells nothing of other tokens by its time."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _about(session: Session) -> dict[str, str]:
    return {"operator": session.operator, "proof": session.proof}


def _is_word(name: str) -> bool:
    return 0 < len(name) <= _NAME_CHARACTERS_MAX and ID_CHARACTERS.issuperset(name)


def _why(error: Exception) -> str:
    return "it does not answer" if isinstance(error, TimeoutError) else str(error).rstrip(".")
