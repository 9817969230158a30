"""QuickFIX's definitions that need no echo, by its own runner against the gateway of a node, journal and all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fix_judge import QUICKFIX, for_exchange, needs_runner, passed_by, without_echo
from tests.running import Running, started
from tests.test_node_gateways import port_of

FOLDERS = {"FIX.4.2": "fix42", "FIX.4.4": "fix44", "FIXT.1.1": "fix50sp2"}
_RESTARTS = "its second logon begins at 1 again without ResetSeqNumFlag; numbers go on in the journal"
_GROUP = "its group is of fields that the exchange does not take, so the first fault is another"
#: Definitions that the gateway does not pass, and why. Behind the echo it passes all (``test_fix_acceptance``).
MISSED = {
    "14i_RepeatingGroupCountNotEqual": _GROUP,
    "2i_BeginStringValueUnexpected": _RESTARTS,
    "2k_CompIDDoesNotMatchProfile": _RESTARTS,
    "2o_SendingTimeValueOutOfRange": _RESTARTS,
}
#: In FIX 5.0 SP2 besides.
MISSED_IN_5 = {"2r_UnregisteredMsgType": "it wants DefaultApplVerID in a business reject, where the standard has none"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, "--gateway", "fix=fix:0", "--connections-max", "200")
    yield running
    running.stop()


@needs_runner
@pytest.mark.slow
@pytest.mark.parametrize("version", FOLDERS)
def test_definitions_that_need_no_echo_pass_at_the_gateway(node: Running, tmp_path: Path, version: str) -> None:
    """Each has a user of its own, whose session begins with it."""
    definitions = without_echo(QUICKFIX / "test" / "definitions" / "server" / FOLDERS[version])
    users = [f"{first}{second}" for first in "QRSTU" for second in "0123456789ABCDEFGHIJ"][: len(definitions)]
    with node.link() as link:
        link.ask("commands", text="\n".join(f"user {user} participant=ALPHA allow=login" for user in users))
        for user in users:
            link.ask("password", user=user, password="secret")
    made = []
    for definition, user in zip(definitions, users, strict=True):
        path = tmp_path / definition.name
        path.write_text(for_exchange(definition.read_text("latin-1"), user), "latin-1")
        made.append(path)
    port = port_of(node, "fix")
    passed, said = passed_by(port, made)
    missed = {each.stem for each in made} - passed
    assert missed == {*MISSED, *(MISSED_IN_5 if version == "FIXT.1.1" else ())}, said
    assert len(made) >= 44
