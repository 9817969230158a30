"""Images of gateway processes: each flipped bit is found, and another release's is left."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from node.gateways import image as gateway_image


class Streams:
    """A projection of one table. ``version``: of its release."""

    def __init__(self, version: int = 1) -> None:
        self.version = version
        self.table = np.arange(20)

    def flush(self) -> None:
        pass

    def image(self) -> dict[str, Any]:
        return {"table": self.table[:10]}

    def restore(self, arrays: dict[str, Any], _seq: int) -> None:
        self.table = arrays["table"]

    def clear(self) -> None:
        self.table = np.zeros(0, np.int64)


def restored(folder: Path, version: int = 1) -> tuple[int, str]:
    return gateway_image.restore(folder, folder, cast(Any, Streams(version)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gateway_image, "block_at", lambda _directory, _seq: b"block")
    assert gateway_image.save(tmp_path, tmp_path, gateway_image.take(cast(Any, Streams()), 5))
    return tmp_path


@pytest.mark.slow
def test_each_flipped_bit_of_an_image_is_found(folder: Path) -> None:
    path = folder / "streams.image"
    sound = path.read_bytes()
    assert restored(folder) == (5, ""), "the control"
    for at in range(len(sound)):
        for bit in range(8):
            path.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << bit]) + sound[at + 1 :])
            assert restored(folder) == (0, "its image is damaged, or of another release")
    for size in range(0, len(sound), 7):
        path.write_bytes(sound[:size])
        assert restored(folder)[0] == 0


def test_an_image_of_another_release_or_of_other_commands_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert restored(folder, version=2) == (0, "its image is of another release")
    monkeypatch.setattr(gateway_image, "block_at", lambda _directory, _seq: b"other")
    assert "has not kept the commands up to 5" in restored(folder)[1]


def test_an_image_has_what_was_when_it_was_taken() -> None:
    streams = Streams()
    image = gateway_image.take(cast(Any, streams), 5)
    streams.table[:] = 0
    assert image.arrays["table"].tolist() == list(range(10))
