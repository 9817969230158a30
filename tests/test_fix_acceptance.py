"""QuickFIX's own definitions of a session, run by its own runner against our session with an echo behind it."""

import pytest

from tests.fix_judge import QUICKFIX, SPEC, XML, needs_runner, verdicts

#: Folder of the definitions of each version, and how many there are.
SETS = {"FIX.4.2": ("fix42", 58), "FIX.4.4": ("fix44", 59), "FIXT.1.1": ("fix50sp2", 60)}


@needs_runner
@pytest.mark.slow
@pytest.mark.parametrize("version", SETS)
def test_every_definition_of_quickfix_passes(version: str) -> None:
    folder, count = SETS[version]
    definitions = sorted((QUICKFIX / "test" / "definitions" / "server" / folder).glob("*.def"))
    assert len(definitions) == count
    passed, said = verdicts(version, definitions, [SPEC / name for name in XML[version]])
    missed = {each.stem for each in definitions} - passed
    # A loaded machine may hold an answer up for longer than the runner waits: those are asked once more.
    if 0 < len(missed) <= 3:
        again = [each for each in definitions if each.stem in missed]
        passed_again, said = verdicts(version, again, [SPEC / name for name in XML[version]])
        missed -= passed_again
    assert not missed, said


@needs_runner
def test_the_runner_fails_an_acceptor_that_serves_less() -> None:
    """The control: with our own tables the session knows no SecurityDefinition, and 21 asks for its echo."""
    definitions = QUICKFIX / "test" / "definitions" / "server" / "fix44"
    asked = [
        definitions / "1a_ValidLogonWithCorrectMsgSeqNum.def",
        definitions / "21_RepeatingGroupSpecifierWithValueOfZero.def",
    ]
    passed, said = verdicts("FIX.4.4", asked, [])
    assert passed == {"1a_ValidLogonWithCorrectMsgSeqNum"}, said
