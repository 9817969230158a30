"""Options of `lockstep serve` for a pair of nodes: each that cannot take effect is refused in one sentence."""

from pathlib import Path

import pytest

from cli.servers.pair import PairArguments, plan_of
from tests.conftest import Lockstep


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("0" * 48)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--alone", "stop"),
        ("--alone", "continue"),
        ("--lease-ms", "600"),
        ("--standby-timeout-ms", "500"),
        ("--node", "A"),
        ("--link", "127.0.0.1:9101"),
        ("--peer", "127.0.0.1:9101"),
        ("--secret-file", "secret"),
        ("--follower", ""),
        ("--node", ""),
    ],
)
def test_an_option_of_a_pair_without_an_arbiter_is_refused(
    option: str, value: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    words = [option] if option == "--follower" else [option, value]
    status, _, said = lockstep("serve", "--data", tmp_path / "node", "--port", 0, *words)
    assert status == 2
    assert f"{option} is of a pair of nodes, which needs --arbiter" in said
    assert not (tmp_path / "node").exists()


def test_the_options_of_a_pair_have_defaults(secret: Path) -> None:
    given = PairArguments("witness://127.0.0.1:9010", "A", None, None, secret, None, False, None, None)
    plan = plan_of(given, "both", "127.0.0.1")
    assert plan is not None
    settings = plan.options.settings
    assert (settings.alone, settings.silence_ns, settings.beat_ns) == ("continue", 500_000_000, 50_000_000)
    stop = plan_of(given._replace(alone="stop", standby_timeout_ms=100), "both", "127.0.0.1")
    assert stop is not None
    settings = stop.options.settings
    assert (settings.alone, settings.silence_ns, settings.beat_ns) == ("stop", 100_000_000, 10_000_000)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65])
def test_a_name_that_no_node_can_have_is_refused(name: str, tmp_path: Path, secret: Path, lockstep: Lockstep) -> None:
    line = ("serve", "--data", tmp_path / "node", "--port", 0, "--arbiter", "witness://127.0.0.1:9010")
    status, _, said = lockstep(*line, "--secret-file", secret, "--node", name)
    assert (status, "--node" in said) == (2, True), said


def test_a_long_name_is_shown_with_a_sign_of_its_cut(tmp_path: Path, secret: Path, lockstep: Lockstep) -> None:
    line = ("serve", "--data", tmp_path / "node", "--port", 0, "--arbiter", "witness://127.0.0.1:9010")
    _, _, said = lockstep(*line, "--secret-file", secret, "--node", "x" * 100)
    assert f"'{'x' * 80}'... (100 characters); give 1 to 64" in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--port", "21300", "--link", "127.0.0.1:21300"], "--link and --port are both 21300"),
        (
            ["--link", "127.0.0.1:21333", "--peer", "127.0.0.1:21333"],
            "--peer is 127.0.0.1:21333, the --link of this node itself",
        ),
    ],
)
def test_a_node_that_would_meet_itself_is_refused(
    words: list[str], why: str, tmp_path: Path, secret: Path, lockstep: Lockstep
) -> None:
    pair = ["--arbiter", "witness://127.0.0.1:9010", "--node", "A", "--secret-file", secret]
    status, _, said = lockstep("serve", "--data", tmp_path / "node", *pair, *words)
    assert (status, why in said) == (2, True), said
    assert not (tmp_path / "node").exists()


def test_a_pair_is_not_left_where_there_is_no_journal(tmp_path: Path, lockstep: Lockstep) -> None:
    status, _, said = lockstep("serve", "--data", tmp_path / "node", "--port", 0, "--leave-pair")
    assert (status, "has no journal, so there is no pair to leave" in said) == (2, True), said
    assert not (tmp_path / "node").exists()


def test_a_witness_takes_no_directory_of_a_node(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "node" / "journal").mkdir(parents=True)
    status, _, said = lockstep("witness", "--data", tmp_path / "node", "--port", 0)
    assert (status, "is the data directory of a node" in said) == (2, True), said
    assert [path.name for path in (tmp_path / "node").iterdir()] == ["journal"]
