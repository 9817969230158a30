"""Options for the capacity of a data directory, which is fixed until a new slice of its journal begins.

An option that is not given is None, so that one given for a directory of another capacity can be refused.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from cli.errors import WrongUse
from engine.capacity import Capacity
from replay.rebuild import capacity_of, journal_of


@dataclass(frozen=True)
class CapacityOptions:
    """Values of --orders-max, --ids-max, --instruments-max and --participants-max; None where one is not given."""

    orders_max: int | None = None
    ids_max: int | None = None
    instruments_max: int | None = None
    participants_max: int | None = None

    def of_new(self, default: Capacity) -> Capacity:
        """Capacity of a new directory: the given values, else ``default``. Raises WrongUse for an impossible value."""
        try:
            return Capacity(**{**asdict(default), **self._given()})
        except ValueError as error:
            raise WrongUse(f"{error}; give another --{str(error).split()[0].replace('_', '-')}") from error

    def check(self, directory: Path) -> None:
        """Raise WrongUse if an option differs from the capacity of an existing directory."""
        given = self._given()
        if not given:
            return
        with journal_of(directory) as journal:
            there = asdict(capacity_of(journal))
        other = {name: value for name, value in given.items() if there[name] != value}
        if not other:
            return
        has = ", ".join(f"{name} {there[name]:,}, not {value:,}" for name, value in other.items())
        flags = " ".join(f"{_option(name)} {value}" for name, value in other.items())
        raise WrongUse(
            f"{directory} has {has}, and the capacity changes only with a new slice; leave out "
            f"{' and '.join(_option(name) for name in other)}, or begin one with it first: "
            f"`lockstep roll {directory} {flags}`"
        )

    def _given(self) -> dict[str, int]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def capacity_change(before: Capacity, after: Capacity) -> str:
    """The bounds that differ, in words; "" where none does."""
    old, new = asdict(before), asdict(after)
    return ", ".join(f"{name} {old[name]:,} -> {new[name]:,}" for name in old if old[name] != new[name])


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
