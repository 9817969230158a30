"""Connection slots and login throttling: the cores, with names for connections and times that are given."""

import asyncio
import threading
import time

import pytest

from gateway import password_queue
from gateway.admission import (
    ADDRESS_FAILURES_MAX,
    ADDRESS_PACE_NS,
    FAILURES_MAX,
    PAIR_PACE_NS,
    REMEMBERED_MAX,
    WINDOW_NS,
    Admission,
)
from gateway.password_queue import CheckQueue, PasswordCheck, PasswordThreads
from gateway.slots import Slots, waiting_of

NOW_NS = 1_000_000_000_000
MS = 1_000_000


def slots(slots_max: int = 8, waiting: int | None = None, per_address: int | None = None) -> Slots[str]:
    return Slots(slots_max, per_address_max=per_address, waiting_per_address_max=waiting_of(slots_max, waiting))


def log_in(where: Slots[str], key: str, address: str) -> None:
    assert where.open(key, address).slot >= 0
    where.on_login_request(key)
    where.on_login(key)


def test_silent_connections_of_one_address_displace_each_other_and_leave_room_for_all_others() -> None:
    where = slots(8, waiting=3)
    assert [where.open(f"m{n}", "mallory").displaces for n in range(3)] == [None] * 3
    assert [where.open(f"m{n}", "mallory").displaces for n in range(3, 100)] == [f"m{n}" for n in range(97)]
    for n in range(5):
        log_in(where, f"u{n}", f"address {n}")
    assert sorted(where) == ["m97", "m98", "m99", "u0", "u1", "u2", "u3", "u4"]


def test_a_connection_that_asked_for_a_login_makes_room_after_the_silent_ones() -> None:
    where = slots(8, waiting=2)
    where.open("asks", "a")
    where.on_login_request("asks")
    where.open("silent", "a")
    assert where.open("new", "a").displaces == "silent"
    assert where.open("newer", "a").displaces == "new"


def test_when_slots_run_out_the_oldest_of_the_address_with_most_waiting_makes_room() -> None:
    where = slots(6, waiting=4)
    for key, address in (("a1", "a"), ("b1", "b"), ("b2", "b"), ("b3", "b"), ("c1", "c"), ("c2", "c")):
        assert where.open(key, address).displaces is None
    assert where.open("d1", "d").displaces == "b1"
    assert where.open("e1", "e").displaces in ("b2", "c1")


def test_a_known_address_keeps_its_waiting_connections_and_takes_the_place_of_unknown_ones() -> None:
    where = slots(4, waiting=4)
    log_in(where, "user", "office")
    where.on_disconnect("user")
    for key in ("o1", "o2", "o3"):
        where.open(key, "office")
    where.open("x1", "x")
    assert where.open("y1", "y").displaces == "x1"
    assert where.open("o4", "office").displaces == "y1"
    place = where.open("z1", "z")
    assert (place.slot, place.refused) == (-1, "all connections are taken")


def test_a_logged_in_user_makes_room_for_nobody_and_a_free_slot_is_used_again() -> None:
    where = slots(2)
    log_in(where, "u1", "a")
    log_in(where, "u2", "b")
    assert where.open("new", "a").slot == -1
    where.on_disconnect("u1")
    where.on_disconnect("u1")
    assert where.open("new", "c").slot >= 0
    assert where.open("newer", "d").displaces == "new"
    assert len(where) == 2


def test_connections_of_one_address_in_all_may_be_bounded() -> None:
    where = slots(8, waiting=8, per_address=2)
    log_in(where, "u1", "a")
    log_in(where, "u2", "a")
    assert where.open("u3", "a").refused == "too many connections from this address"
    assert where.open("u3", "b").slot >= 0


def test_every_slot_has_one_owner_whatever_happens() -> None:
    import random

    chance = random.Random(7)
    where = slots(6, waiting=3)
    owner: dict[int, str] = {}
    for n in range(5_000):
        key, alive = f"k{n}", list(where)
        if alive and chance.random() < 0.4:
            victim = chance.choice(alive)
            chance.choice([where.on_login_request, where.on_login, where.on_disconnect])(victim)
            if victim not in list(where):
                owner = {slot: key for slot, key in owner.items() if key != victim}
        place = where.open(key, f"address {chance.randrange(5)}")
        if place.slot >= 0:
            assert owner.get(place.slot) == place.displaces
            owner[place.slot] = key
        assert sorted(owner.values()) == sorted(where)
        assert len(where) <= 6


# Throttling.


def test_wrong_passwords_of_a_pair_slow_it_down_and_shut_nobody_out() -> None:
    admission = Admission()
    for n in range(FAILURES_MAX):
        assert admission.due_ns("a", "UA", NOW_NS + n) <= NOW_NS + n
        admission.failed("a", "UA", NOW_NS + n)
    now_ns = NOW_NS + FAILURES_MAX
    assert admission.due_ns("a", "UA", now_ns) == now_ns - 1 + PAIR_PACE_NS
    assert admission.due_ns("b", "UA", now_ns) == now_ns, "the same user from elsewhere"
    assert admission.due_ns("a", "UB", now_ns) == now_ns, "another user from there"
    assert admission.due_ns("a", "UA", now_ns + WINDOW_NS) == now_ns + WINDOW_NS


def test_wrong_passwords_of_an_address_slow_it_down_but_for_passwords_that_were_right() -> None:
    admission = Admission()
    for n in range(ADDRESS_FAILURES_MAX):
        admission.failed("a", f"X{n}", NOW_NS)
    assert admission.due_ns("a", "UA", NOW_NS) == NOW_NS + ADDRESS_PACE_NS
    assert admission.due_ns("a", "UA", NOW_NS, remembered=True) == NOW_NS
    assert admission.due_ns("b", "UA", NOW_NS) == NOW_NS


class _Counted(int):
    """A time that counts how often something is compared with it."""

    compared = 0

    def __sub__(self, other: int) -> int:
        type(self).compared += 1
        return int(self) - other


def test_a_failure_costs_the_same_however_many_are_remembered_and_old_ones_make_room() -> None:
    admission = Admission()
    for n in range(REMEMBERED_MAX):
        admission.note(f"n{n}", "UA", NOW_NS + n)
    for n in range(100):
        admission.note(f"m{n}", "UA", _Counted(NOW_NS + REMEMBERED_MAX))
    assert _Counted.compared <= 4 * 100
    assert admission.due_ns("m99", "UA", NOW_NS) == NOW_NS
    late_ns = NOW_NS + WINDOW_NS + REMEMBERED_MAX
    for _ in range(FAILURES_MAX):
        admission.note("m99", "UA", late_ns)
    assert admission.due_ns("m99", "UA", late_ns) > late_ns, "the control: there is room once the others are old"


def test_a_password_is_remembered_for_its_hash_in_small_and_capital_letters() -> None:
    admission = Admission()
    assert admission.remembers("UA", "secret", b"hash") is None
    admission.learn("UA", "secret", b"hash")
    assert admission.remembers("UA", "SECRET", b"hash") is True
    assert admission.remembers("UA", "wrong", b"hash") is False
    assert admission.remembers("UA", "secret", b"new hash") is None
    assert admission.remembers("UB", "secret", b"hash") is None


def question(due_ns: int = 0) -> PasswordCheck:
    return PasswordCheck(lambda: True, lambda _now_ns: due_ns, lambda _right: None)


def test_addresses_take_turns_and_of_one_the_newest_goes_first() -> None:
    turns = CheckQueue()
    questions = {f"{address}{n}": question() for n in range(3) for address in "ab"}
    for key, each in questions.items():
        turns.add(key[0], key, each)
    turns.withdraw("a", "a1")
    turns.withdraw("a", "a1")
    order = []
    while (found := turns.next(NOW_NS)[0]) is not None:
        order.append(next(key for key, each in questions.items() if each is found))
    assert order == ["a2", "b2", "a0", "b1", "b0"]


def test_a_question_that_is_not_due_lets_others_pass_and_says_when_to_ask_again() -> None:
    turns = CheckQueue()
    late, later, due = question(NOW_NS + 5 * MS), question(NOW_NS + 9 * MS), question()
    turns.add("a", 1, later)
    turns.add("a", 2, late)
    turns.add("b", 3, due)
    assert turns.next(NOW_NS) == (due, None)
    assert turns.next(NOW_NS) == (None, NOW_NS + 5 * MS)
    assert turns.next(NOW_NS + 5 * MS) == (late, None)
    assert len(turns) == 1
    assert CheckQueue().next(NOW_NS) == (None, None)


def test_slow_checks_have_threads_and_quick_ones_the_loop_which_does_other_work_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(password_queue, "threads", lambda: 2)
    monkeypatch.setattr(password_queue, "QUICK_NS", 0)
    both, of_loop = threading.Barrier(2, timeout=30), threading.get_ident()
    said: list[object] = []

    def slow() -> bool:
        both.wait()  # broken where they are made one after the other
        return threading.get_ident() != of_loop

    def quick() -> bool:
        return threading.get_ident() == of_loop

    async def checked() -> None:
        checks = PasswordThreads()
        for key in range(3):
            checks.ask("a", key, PasswordCheck(quick, lambda _now_ns: 0, said.append, is_quick=True))
            asyncio.get_running_loop().call_soon(said.append, "other work")
        while len(said) < 6:
            await asyncio.sleep(0)
        for key in range(2):
            checks.ask("a", key, PasswordCheck(slow, lambda _now_ns: 0, said.append))
        for key, is_quick in ((3, True), (4, False)):
            broken = PasswordCheck(lambda: bool(1 // 0), lambda _now_ns: 0, said.append, is_quick)
            checks.ask("b", key, broken)
        while len(said) < 10:
            await asyncio.sleep(0.001)
        checks.close()

    asyncio.run(checked())
    assert said[:6].count(True) == 3
    assert said[:2] == [True, "other work"]
    assert said[6:].count(True) == said[6:].count(False) == 2


def test_quick_checks_wait_for_no_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_queue, "threads", lambda: 1)
    held, said = threading.Event(), list[object]()

    async def checked() -> None:
        checks = PasswordThreads()
        for key in range(2):  # one is under way, one waits
            slow = PasswordCheck(lambda: held.wait(timeout=30), lambda _now_ns: 0, lambda _: said.append("slow"))
            checks.ask("a", key, slow)
        soon_ns = time.monotonic_ns() + 20_000_000
        for key, due_ns in ((2, 0), (3, soon_ns), (4, 0)):
            check = PasswordCheck(lambda: True, lambda _, due_ns=due_ns: due_ns, lambda _: said.append("quick"), True)
            checks.ask("a", key, check)
        checks.withdraw("a", 4)
        deadline_s = time.monotonic() + 30
        while len(said) < 2 and time.monotonic() < deadline_s:
            await asyncio.sleep(0.001)
        held.set()
        while len(said) < 4 and time.monotonic() < deadline_s:
            await asyncio.sleep(0.001)
        checks.close()

    asyncio.run(checked())
    assert said == ["quick", "quick", "slow", "slow"]


@pytest.mark.parametrize(("slots_max", "bound"), [(1, 1), (4, 1), (1_024, 256)])
def test_an_address_may_have_a_quarter_of_the_slots_waiting_where_nothing_is_said(slots_max: int, bound: int) -> None:
    assert waiting_of(slots_max, None) == bound
