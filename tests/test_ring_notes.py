"""Notes of a gateway's rows: each message with its user and the arrival of its bytes, however many there are."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.records import COMMAND, CommandKind
from node.gateways.ring_notes import notes_of
from tape.ring import NOTE

KINDS = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.CROSS)


def messages(count: int) -> tuple[NDArray[Any], list[int], list[int]]:
    """Rows of so many messages, every third with an EXTEND row before it; their users and numbers of rows."""
    rows: list[tuple[int, int, bool]] = []
    for number in range(count):
        kind, user = KINDS[number % len(KINDS)], 1 + 7 * number % 4_095
        rows += [(CommandKind.EXTEND, user, False)] * (number % 3 == 0) + [(kind, user, True)]
    made = np.zeros(len(rows), COMMAND)
    users, counts = [], []
    for place, (kind, user, _) in enumerate(rows):
        made[place]["kind"] = kind
        if kind == CommandKind.REPLACE:
            made[place]["new_context"] = (9 << 16) | user
        elif kind != CommandKind.EXTEND:
            made[place]["context"] = (9 << 16) | user
        users.append(user)
        extended = place > 0 and rows[place - 1][0] == CommandKind.EXTEND
        counts.append(0 if extended else 2 if kind == CommandKind.EXTEND else 1)
    return made, users, counts


@pytest.mark.parametrize("count", [1, 2, 5, 12, 13, 200])
def test_each_row_names_its_user_and_the_first_of_a_message_its_rows(count: int) -> None:
    rows, users, counts = messages(count)
    made = notes_of(bytearray(rows.tobytes()), lambda asked: [1_000 + user for user in asked])
    notes = np.frombuffer(made, NOTE)
    assert notes["source"].tolist() == users
    assert notes["rows"].tolist() == counts
    assert notes["tag"].tolist() == [1_000 + user for user in users]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extended", [False, True])
def test_one_message_alone_has_its_user_and_rows(kind: CommandKind, extended: bool) -> None:
    rows = np.zeros(1 + extended, COMMAND)
    rows[:-1]["kind"], rows[-1]["kind"] = CommandKind.EXTEND, kind
    rows[-1]["new_context" if kind == CommandKind.REPLACE else "context"] = (9 << 16) | 77
    notes = np.frombuffer(notes_of(bytearray(rows.tobytes()), lambda asked: [5 for _ in asked]), NOTE)
    assert notes["source"].tolist() == [77] * len(rows)
    assert notes["rows"].tolist() == ([2, 0] if extended else [1])
    assert notes["tag"].tolist() == [5] * len(rows)
