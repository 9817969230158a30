"""The proof of a linear history notices each kind of lie, and says which."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.linear_history import Answer, BlockId, Chain, ClientHistory, Heard, NodeHistory, Told, complaints
from wire import ouch, soup
from wire.ouch_codes import ServerMessage
from wire.soup import PacketType


def accepted(token: str) -> bytes:
    rows = ouch.server_rows(ServerMessage.ACCEPTED)
    rows["order_token"] = token.encode().ljust(14)
    return soup.packet(PacketType.SEQUENCED, rows.tobytes())


BLOCKS = [BlockId(seq, seq + 1, bytes([seq]) * 16, 1 if seq < 5 else 2) for seq in (1, 3, 5, 7)]
ASIDE = BlockId(5, 6, b"o" * 16, 1)


class Story:
    """Two clients, two nodes and a takeover: all is well until a test changes something."""

    def __init__(self) -> None:
        first = [Told(accepted("a1"), 1, 1), Told(accepted("a2"), 5, 5)]
        second = [Told(accepted("b1"), 3, 3), Told(accepted("b2"), 7, 7)]
        self.chain = Chain(list(BLOCKS), {"UA": first, "UB": second})
        self.ua = ClientHistory("UA", {n: Heard(told.packet, n) for n, told in enumerate(first, 1)})
        self.ua.answers = [Answer(10, 20, 1), Answer(50, 60, 2)]
        self.ub = ClientHistory("UB", {n: Heard(told.packet, n) for n, told in enumerate(second, 1)})
        self.ub.answers = [Answer(15, 30, 1), Answer(70, 80, 2)]
        self.a = NodeHistory("A", BLOCKS[:3], aside=[ASIDE], seen=[*BLOCKS[:2], ASIDE])
        self.b = NodeHistory("B", list(BLOCKS), seen=BLOCKS[:3])

    def complaints(self) -> list[str]:
        return complaints(self.chain, [self.ua, self.ub], [self.a, self.b])


def test_a_history_of_a_takeover_is_linear() -> None:
    assert Story().complaints() == []


def lost(story: Story) -> None:
    del story.chain.streams["UB"][1]


def changed(story: Story) -> None:
    story.chain.streams["UB"][1] = Told(accepted("b3"), 7, 7)


def told_twice(story: Story) -> None:
    story.ub.changed = 1


def missed(story: Story) -> None:
    story.chain.streams["UA"].append(Told(accepted("a3"), 7, 7))
    story.ua.heard[3] = Heard(accepted("a3"), 2)
    del story.ua.heard[2]


def early(story: Story) -> None:
    story.ua.heard[2] = story.ua.heard[2]._replace(epoch=1)


def doubled(story: Story) -> None:
    story.chain.streams["UA"].append(Told(accepted("a2"), 7, 7))


def unsettled(story: Story) -> None:
    story.ua.open_tokens.append("a9")


def reordered(story: Story) -> None:
    # b1 is answered before a1 is sent, and is behind it in the chain.
    story.ub.answers[0] = Answer(1, 5, 1)


def same_command(story: Story) -> None:
    story.chain.streams["UB"][1] = story.chain.streams["UB"][1]._replace(seq=5)


def other_chain(story: Story) -> None:
    story.a.blocks[2] = ASIDE


def dropped(story: Story) -> None:
    story.a.aside.clear()


def merged(story: Story) -> None:
    story.b.aside.append(BLOCKS[1])


def falls(story: Story) -> None:
    story.chain.blocks[3] = story.b.blocks[3] = BLOCKS[3]._replace(epoch=1)


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        (lost, "UB was told message 2, and the chain has 1"),
        (changed, "UB was told another message 2 than the chain has"),
        (told_twice, "UB was told 1 messages again with other bytes"),
        (missed, "UA missed a message"),
        (early, "UA was told message 2 by epoch 1, before its block"),
        (doubled, "UA's order a2 was accepted 2 times"),
        (unsettled, "UA has no outcome of a9"),
        (
            reordered,
            "a request of UA is command 1, and was sent after the answer to command 3",
        ),
        (same_command, "a request of UB is command 5, and was sent after the answer to command 5"),
        (other_chain, "the journal of A is another than the chain from command 5 on"),
        (dropped, "commands 5 to 6 were on the disk of A, and are in no quarantine"),
        (merged, "commands 3 to 4 of the chain are in a quarantine of B"),
        (falls, "the epochs of the chain fall"),
    ],
)
def test_each_lie_is_noticed(lie: Callable[[Story], None], sentence: str) -> None:
    story = Story()
    lie(story)
    found = story.complaints()
    assert any(sentence in complaint for complaint in found), found


def test_a_journal_that_ends_earlier_is_no_complaint() -> None:
    story = Story()
    story.a = replace(story.a, blocks=BLOCKS[:1])
    assert story.complaints() == []
