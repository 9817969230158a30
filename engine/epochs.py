"""The epoch among COMMAND rows, by the engine's rule (``engine.epoch``), for those who have no engine at hand."""

from typing import Any, Final

from numpy.typing import NDArray

from engine.bounds import EPOCH_MAX
from engine.names import is_name
from engine.records import CommandKind
from engine.row_bytes import epoch_row

_EPOCH: Final = int(CommandKind.EPOCH)


def has_epochs(commands: NDArray[Any]) -> bool:
    """True if there is an EPOCH row among COMMAND rows, whether or not the engine accepts it."""
    return bool((commands["kind"] == _EPOCH).any())


def epoch_after(commands: NDArray[Any], epoch: int) -> int:
    """The epoch in force after COMMAND rows; ``epoch``: that before them."""
    for index in (commands["kind"] == _EPOCH).nonzero()[0].tolist():
        name, number = int(commands["name"][index]), int(commands["epoch"][index])
        is_whole = commands[index].tobytes() == epoch_row(number, name)
        if is_whole and is_name(name) and epoch < number <= EPOCH_MAX:
            epoch = number
    return epoch
