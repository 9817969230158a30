"""What tests of the command line have in common. A file with a richer ``lockstep`` of its own has that one."""

from collections.abc import Callable

import pytest

from cli.main import run_line

Lockstep = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lockstep(capsys: pytest.CaptureFixture[str]) -> Lockstep:
    """Runs a command line here: (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run_line([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run
