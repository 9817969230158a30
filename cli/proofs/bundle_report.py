"""Reports on forensic bundles: `lockstep doctor BUNDLE` and `lockstep compare BUNDLE_A BUNDLE_B`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from cli import errors, screen
from cli.errors import WrongUse
from cli.upkeep.doctor import Finding, Grade, report
from cli.warmup import ready
from directory.bundle import Bundle, Found, Judgement, judge, read_bundle
from notation.words import time

_NO_EVIDENCE = "keep both bundles; replay the journals of both nodes with `lockstep verify DIR --engine reference`"


def doctor(path: Path, *, as_json: bool) -> int:
    """Check a bundle, and say whether its node was right. Exit status 1 if it was not."""
    with errors.finding():
        bundle = read_bundle(path)
    ready()
    return report([*_facts(bundle), _judged(bundle, _judgement(bundle))], as_json=as_json)


def compare(path_a: Path, path_b: Path, *, as_json: bool) -> int:
    """Compare the bundles that two nodes wrote of one divergence. Exit status 1, since they differ."""
    with errors.finding():
        bundles = read_bundle(path_a), read_bundle(path_b)
    nodes = [_found(bundle).node for bundle in bundles]
    if nodes[0] == nodes[1]:
        raise WrongUse(f"{path_a} and {path_b} are both of node {nodes[0]}; give one bundle of each node of the pair")
    ids = [bundle.manifest["journal_id"] for bundle in bundles]
    if ids[0] != ids[1]:
        raise WrongUse(f"{path_a} is of journal {ids[0]}, and {path_b} of journal {ids[1]}; give those of one pair")
    ready()
    judgements = [_judgement(bundle) for bundle in bundles]
    findings = [finding for bundle in bundles for finding in _facts(bundle)]
    findings += [_judged(bundle, judgement) for bundle, judgement in zip(bundles, judgements, strict=True)]
    return report([*findings, _verdict(bundles, judgements)], as_json=as_json)


def _found(bundle: Bundle) -> Found:
    return Found(**{key: bundle.manifest["found"][key] for key in Found._fields})


def _facts(bundle: Bundle) -> Iterator[Finding]:
    manifest, found = bundle.manifest, _found(bundle)
    versions, blocks = manifest["versions"], manifest["blocks"]
    moment = time(manifest["time_ns"]).split(".")[0]
    yield Finding(
        f"bundle of {found.node}",
        Grade.good,
        f"{bundle.path}, whole; written {moment} by the {found.role} of epoch {found.epoch}, journal "
        f"{manifest['journal_id']}, rules {versions['rules']}, kernels {versions['kernels'][:16]}",
    )
    yield Finding(
        "difference",
        Grade.notice,
        f"{found.sentence}; first command {screen.count(found.first_seq)}, part {found.part}",
    )
    held = f"blocks with commands {screen.count(blocks['from_seq'])} to {screen.count(blocks['to_seq'])}"
    yield Finding(f"content of {found.node}", Grade.good, "; ".join([held, *manifest["notes"]]))


def _judgement(bundle: Bundle) -> Judgement:
    with tempfile.TemporaryDirectory(prefix="lockstep-") as work, screen.Bar(f"replaying {bundle.path.name}"):
        return judge(bundle, Path(work))


def _judged(bundle: Bundle, judgement: Judgement) -> Finding:
    found = _found(bundle)
    name, at = f"state of {found.node}", f"after command {screen.count(judgement.seq)}"
    if judgement.why_not:
        return Finding(name, Grade.notice, f"not judged: {judgement.why_not}", _NO_EVIDENCE)
    if judgement.unlike:
        parts = ", ".join(judgement.unlike)
        return Finding(
            name,
            Grade.bad,
            f"differs from a replay of its own journal {at}, in {parts}: its memory was changed",
            _rebuild(found),
        )
    if judgement.by_reference:
        return Finding(
            name,
            Grade.bad,
            f"the engines differ {at}, in {judgement.by_reference}: the reference engine gives another state for the "
            "same journal, so one of them breaks the rules of docs/RULEBOOK.md",
            "keep the bundle; find the command with `lockstep verify DIR --engine reference`, and report it",
        )
    return Finding(name, Grade.good, f"equals a replay of its own journal {at}")


def _rebuild(found: Found) -> str:
    if found.role == "primary":
        return (
            f"stop {found.node} at once with SIGKILL, so that it writes no checkpoint; remove its checkpoints from "
            f"command {screen.count(found.first_seq)} on, and start it: it replays its journal (docs/OPERATIONS.md)"
        )
    return f"start {found.node} again with an empty --data directory, and check the memory of its machine"


def _verdict(bundles: tuple[Bundle, Bundle], judgements: list[Judgement]) -> Finding:
    """Conclusion from both bundles."""
    nodes = [_found(bundle).node for bundle in bundles]
    wrong = [node for node, each in zip(nodes, judgements, strict=True) if each.unlike]
    parted = [each.by_reference for each in judgements if each.by_reference]
    kernels = {bundle.manifest["versions"]["kernels"] for bundle in bundles}
    if wrong:
        return Finding("conclusion", Grade.bad, f"the state of {' and '.join(wrong)} was wrong")
    if parted:
        return Finding("conclusion", Grade.bad, f"the two engines differ in {parted[0]}", _NO_EVIDENCE)
    if len(kernels) > 1:
        return Finding("conclusion", Grade.bad, "the nodes run other kernels, which may differ", _NO_EVIDENCE)
    if any(each.why_not for each in judgements):
        return Finding("conclusion", Grade.bad, "the bundles do not say which node was right", _NO_EVIDENCE)
    return Finding(
        "conclusion",
        Grade.bad,
        "both states equal a replay from their checkpoints, so one checkpoint may be wrong already",
        _NO_EVIDENCE,
    )
