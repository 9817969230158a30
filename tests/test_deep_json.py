"""Files of JSON that a user gives, or that lie in a data directory: one that is nested too deeply is refused in a
sentence, or as if it was not there."""

import ast
import json
from pathlib import Path

import pytest

from exports.errors import ExportError
from exports.manifest import MANIFEST, VERSION, read_manifest
from marketdata.index_levels import read_definition
from tests.conftest import Lockstep
from tests.nodes import write_slices
from tests.sources import paths, text
from tests.streams import random_stream
from tests.test_layers import RANK

DEEP = ["[" * 200_000, "[" * 200_000 + "]" * 200_000, '{"a":' * 200_000 + "1" + "}" * 200_000]
#: Readers of what a program of ours has written to a pipe or file of its own, in demo, load and benchmarks, and of what
#: has a checksum.
OWN = {
    "benchmarks", "load", ".ci", "tests", "cli", "replay/release.py", "replay/release_worker.py",
    "directory/checkpoint_fork.py", "node/gateways/image.py", "engine/machine_code.py",
}  # fmt: skip


def catches(handler: ast.expr | None) -> bool:
    return handler is not None and any(
        isinstance(each, ast.Name) and each.id == "RecursionError" for each in ast.walk(handler)
    )


def unguarded(tree: ast.AST) -> list[int]:
    """Lines of calls of json.loads that no ``except`` or ``suppress`` of RecursionError is around."""
    guarded: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(catches(each.type) for each in node.handlers):
            guarded.update(inner for line in node.body for inner in ast.walk(line))
        if isinstance(node, ast.With) and any(catches(each.context_expr) for each in node.items):
            guarded.update(inner for line in node.body for inner in ast.walk(line))
    calls = [each for each in ast.walk(tree) if isinstance(each, ast.Call) and is_reader(each.func)]
    return [each.lineno for each in calls if each not in guarded]


def is_reader(called: ast.expr) -> bool:
    return isinstance(called, ast.Attribute) and called.attr == "loads" and ast.unparse(called) == "json.loads"


def test_each_reader_of_json_expects_that_it_is_nested_too_deeply() -> None:
    assert unguarded(ast.parse("try:\n    json.loads(x)\nexcept ValueError:\n    pass")) == [2], "the control"
    assert unguarded(ast.parse("try:\n    json.loads(x)\nexcept (ValueError, RecursionError):\n    pass")) == []
    found = []
    read = 0
    for folder in {*RANK, "examples"} - OWN:
        for path in paths(folder):
            if path not in OWN and "loads" in (source := text(path)):
                found += [f"{path}:{line}" for line in unguarded(ast.parse(source))]
                read += 1
    assert read, "the control: some file reads JSON"
    assert found == []


@pytest.mark.parametrize("text", DEEP)
def test_an_attestation_or_proof_that_is_nested_too_deeply_is_refused_in_a_sentence(
    text: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    pytest.importorskip("cryptography", reason="the extra attest is not installed")
    file = tmp_path / "deep"
    file.write_text(text)
    for words in (
        ["attest", "verify", file],
        ["attest", "check", file],
        ["attest", "request", file, "--out", tmp_path / "out"],
        ["attest", "prove", tmp_path, "--of", file, "--seq", "1", "--out", tmp_path / "out"],
    ):
        status, said, complaint = lockstep(*words)
        assert (status, said, complaint.count("\n")) == (2, "", 1), complaint
        assert str(file) in complaint


@pytest.mark.parametrize("text", DEEP)
def test_an_export_or_index_that_is_nested_too_deeply_is_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ExportError, match="cannot be read"):
        read_manifest(tmp_path)
    with pytest.raises(ValueError, match=r"nested too deeply|no JSON"):
        read_definition(text)


@pytest.mark.parametrize("text", DEEP)
def test_a_data_directory_whose_notes_are_nested_too_deeply_is_read_all_the_same(
    text: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    node = tmp_path / "node"
    write_slices(node, random_stream(5, 60, hostile=0.0, garbage=0.0), [30])
    for name in ("verified", "orderly-end.json", "admin.json", "slices/000001.archived"):
        (node / name).write_text(text)
    for words in (["journal", "info", node], ["journal", "check", node], ["verify", node], ["doctor", node]):
        status, _, complaint = lockstep(*words)
        assert (status, "Traceback" in complaint) in ((0, False), (1, False)), complaint


def test_a_manifest_of_another_form_is_refused_in_a_sentence(tmp_path: Path) -> None:
    whole = {
        "version": VERSION, "format": "csv", "journal_id": "", "last_seq": 1, "event_digest": "", "symbols": ["X"],
        "participants": [], "rows": {"events": 1}, "digests": {"events": ""},
    }  # fmt: skip
    (tmp_path / MANIFEST).write_text(json.dumps(whole))
    assert read_manifest(tmp_path) == whole
    for wrong in (
        [], "text", 5, whole | {"rows": []}, whole | {"rows": {"events": "1"}}, whole | {"last_seq": "1"},
        whole | {"symbols": [1]}, {key: value for key, value in whole.items() if key != "digests"},
    ):  # fmt: skip
        (tmp_path / MANIFEST).write_text(json.dumps(wrong))
        with pytest.raises(ExportError):
            read_manifest(tmp_path)
