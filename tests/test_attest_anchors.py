"""`lockstep attest verify --root` and `--stamp`: a past that was rewritten and signed again by the key itself is found.

The third party is `openssl ts`. The forger can write every file of the exchange and has its private key.
"""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rfc3161_client", reason="the extra attest is not installed")

from attestation import signatures, stamps
from attestation.chain import hash_of, octets
from engine.records import CommandKind, concatenate
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.nodes import write_slices
from tests.streams import random_stream
from tests.test_attest import ROWS, write

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

CONFIG = """\
[tsa]
serial = {folder}/serial
signer_cert = {folder}/stamping.pem
signer_key = {folder}/stamping.key
certs = {folder}/ca.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
[stamping]
extendedKeyUsage = critical, timeStamping
[serving]
extendedKeyUsage = critical, serverAuth
"""
#: Words that make a key and what is signed with it.
NEW = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*words: object) -> str:
    """Output of a command of OpenSSL, which has to end well."""
    ended = subprocess.run(["openssl", *map(str, words)], check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


#: Beginning of what is said of a stamp by somebody else.
UNTRUSTED = "is not by the authority of "


class Authority:
    """A time stamp authority with a root certificate of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self._folder, self._name, self.root = folder, name, folder / "ca.pem"
        self._config = folder / "config"
        (folder / "serial").write_text("01\n")
        self._config.write_text(CONFIG.format(folder=folder))
        openssl(*NEW, "-x509", "-keyout", folder / "ca.key", "-out", self.root, "-subj", f"/O={name}", "-days", 9)
        #: Key and certificate by what it is for.
        self.certificates = {usage: self._certificate(usage) for usage in ("stamping", "serving")}

    def _certificate(self, usage: str) -> tuple[Path, Path]:
        key, cert, asked = (self._folder / f"{usage}.{kind}" for kind in ("key", "pem", "csr"))
        openssl(*NEW, "-keyout", key, "-out", asked, "-subj", f"/CN={self._name} {usage}")
        signed = ["-CA", self.root, "-CAkey", self._folder / "ca.key", "-CAcreateserial", "-days", 9]
        openssl("x509", "-req", "-in", asked, "-out", cert, *signed, "-extfile", self._config, "-extensions", usage)
        return key, cert

    def answer(self, request: Path, out: Path) -> Path:
        """Write the answer to a request."""
        openssl("ts", "-reply", "-config", self._config, "-section", "tsa", "-queryfile", request, "-out", out)
        return out


class Kept:
    """The auditor's copies: the attestation, its root, the answer of the authority; and the honest node."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.node = folder, folder / "node"
        self.key, self.public, self.signed = folder / "key", folder / "key.pub", folder / "signed"
        self.authority = Authority(folder / "authority", "Third Party")
        self.request, self.answer = folder / "signed.tsq", folder / "signed.tsr"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Read only."""
    from cli.main import run_line

    made = Kept(tmp_path_factory.mktemp("anchors"))
    write(made.node, ROWS)
    signatures.new_key(made.key)
    assert run_line(["attest", str(made.node), "--key", str(made.key), "--out", str(made.signed)]) == 0
    assert run_line(["attest", "request", str(made.signed), "--out", str(made.request)]) == 0
    made.authority.answer(made.request, made.answer)
    return made


def told(lockstep: Lockstep, status: int, *words: object) -> dict[str, Any]:
    got, said, _ = lockstep("attest", "verify", *words, "--json")
    assert got == status, said[-400:]
    (facts,) = checked(["attest", "verify"], said)
    return facts


def root_of(attestation: Path) -> str:
    return hash_of(json.loads(attestation.read_text())["statements"][-1]["statement"])


def test_a_time_stamp_vouches_for_an_honest_copy_and_for_one_that_went_on(
    kept: Kept, tmp_path: Path, lockstep: Lockstep
) -> None:
    root = root_of(kept.signed)
    stamped = [kept.signed, "--public", kept.public, "--stamp", kept.answer, "--authority", kept.authority.root]
    write(tmp_path / "longer", concatenate([ROWS, random_stream(6, 40)]))
    for node in (kept.node, tmp_path / "longer"):
        facts = told(lockstep, 0, *stamped, node, "--root", root.upper())
        published, stamp = facts["anchors"]
        assert (published["root"], published["time"], published["authority"]) == (root, None, None)
        assert (stamp["root"], stamp["slice"], stamp["last_seq"]) == (root, 1, len(ROWS))
        assert stamp["authority"] == "CN=Third Party stamping"
        at = datetime.fromisoformat(stamp["time"])
        assert timedelta(0) <= datetime.now(UTC) - at < timedelta(hours=1)
    status, said, _ = lockstep("attest", "verify", *stamped, kept.node)
    assert (status, "slice 1 up to command 260 was there at 20" in said, "says CN=Third" in said) == (0, True, True)


def test_request_and_stamp_are_those_of_other_programs(kept: Kept, tmp_path: Path, lockstep: Lockstep) -> None:
    root = root_of(kept.signed)
    asked = openssl("ts", "-query", "-in", kept.request, "-text")
    dumped = "".join(
        line.split(" - ")[1].split("   ")[0].replace("-", " ") for line in asked.splitlines() if " - " in line
    )
    assert bytes.fromhex(dumped).hex() == root
    assert "sha256" in asked
    assert "Certificate required: yes" in asked
    words = ["-in", kept.answer, "-CAfile", kept.authority.root]
    assert "OK" in openssl("ts", "-verify", "-digest", root, *words)
    # And the other way round: a request that openssl made of the printed root.
    openssl("ts", "-query", "-digest", root, "-sha256", "-cert", "-out", tmp_path / "theirs.tsq")
    answer = kept.authority.answer(tmp_path / "theirs.tsq", tmp_path / "theirs.tsr")
    assert told(lockstep, 0, kept.signed, "--stamp", answer, "--authority", kept.authority.root)["anchors"]


def forged_rows() -> Any:
    """The rows with one price of long ago changed."""
    rows = ROWS.copy()
    at = int(np.flatnonzero((rows["kind"] == CommandKind.ENTER) & (rows["price_e4"] > 0))[3])
    rows["price_e4"][at] += 100
    return rows


def test_a_past_that_the_key_itself_signed_again_is_found_by_what_others_keep(
    kept: Kept, tmp_path: Path, lockstep: Lockstep
) -> None:
    write(tmp_path / "node", forged_rows())
    assert lockstep("attest", tmp_path / "node", "--key", kept.key, "--out", tmp_path / "signed")[0] == 0
    forged = [tmp_path / "signed", tmp_path / "node", "--public", kept.public]
    assert told(lockstep, 0, *forged)["ok"], "the control: by its signature alone the forgery is right"
    facts = told(lockstep, 1, *forged, "--stamp", kept.answer, "--authority", kept.authority.root)
    (fault,) = facts["faults"]
    assert f"is of another root, {root_of(kept.signed)}" in fault
    assert facts["anchors"] == []
    facts = told(lockstep, 1, *forged, "--root", root_of(kept.signed))
    assert facts["faults"] == [f"the published root is of another attestation than {tmp_path / 'signed'}"]
    # With the attestation that was stamped, the forged journal is another one.
    words = ["--stamp", kept.answer, "--authority", kept.authority.root]
    facts = told(lockstep, 1, kept.signed, tmp_path / "node", "--public", kept.public, *words)
    assert len(facts["anchors"]) == 1
    assert "slice 1: its blocks are not those that were signed" in facts["faults"]
    status, said, _ = lockstep("attest", "verify", *forged, *words)
    assert (status, said.splitlines()[-1]) == (1, f"NOT ATTESTED: do not rely on {tmp_path / 'node'}")


def test_a_stamp_by_another_authority_or_by_a_certificate_for_something_else_is_refused(
    kept: Kept, tmp_path: Path, lockstep: Lockstep
) -> None:
    own = Authority(tmp_path / "own", "Third Party")  # the forger's, of the same name
    answer = own.answer(kept.request, tmp_path / "own.tsr")
    assert told(lockstep, 0, kept.signed, "--stamp", answer, "--authority", own.root)["ok"], "the control"
    facts = told(lockstep, 1, kept.signed, "--stamp", answer, "--authority", kept.authority.root)
    (fault,) = facts["faults"]
    assert fault.startswith(f"{answer} {UNTRUSTED}{kept.authority.root}: "), fault
    assert "ErrorStack" not in fault
    # The same authority has given a certificate for a server; its bearer signs a stamp of the forger's.
    authority, request = kept.authority, tmp_path / "signed.tsq"
    token, content = tmp_path / "token", tmp_path / "content"
    openssl("ts", "-reply", "-in", kept.answer, "-token_out", "-out", token)
    openssl("cms", "-verify", "-noverify", "-inform", "DER", "-in", token, "-out", content)
    untrusted = f"{tmp_path / 'made'} {UNTRUSTED}{authority.root}: unsuitable certificate purpose"
    for usage, status in (("stamping", 0), ("serving", 1)):  # the first is the control
        key, cert = authority.certificates[usage]
        signed = ["-econtent_type", "1.2.840.113549.1.9.16.1.4", "-signer", cert, "-inkey", key, "-outform", "DER"]
        openssl("cms", "-sign", "-binary", "-nodetach", "-md", "sha256", "-in", content, "-out", request, *signed)
        made = bytes.fromhex("3003020100") + request.read_bytes()
        (tmp_path / "made").write_bytes(b"\x30\x82" + len(made).to_bytes(2, "big") + made)
        facts = told(lockstep, status, kept.signed, "--stamp", tmp_path / "made", "--authority", authority.root)
        assert facts["faults"] == [untrusted][:status]


@pytest.mark.slow
def test_a_stamp_with_any_byte_changed_says_the_same_or_nothing(kept: Kept, tmp_path: Path) -> None:
    good = kept.answer.read_bytes()
    stamp, why = stamps.read(kept.answer, kept.authority.root)
    assert (why, stamp is not None) == ("", True), "the control"
    assert stamp is not None
    refused = 0
    for at in range(len(good)):
        for bit in (0, 7):
            (tmp_path / "bent").write_bytes(good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :])
            try:
                found, _ = stamps.read(tmp_path / "bent", kept.authority.root)
            except stamps.AttestationError:
                found = None
            refused += found is None
            assert found is None or (found.root, found.time) == (stamp.root, stamp.time), (at, bit)
    assert refused > len(good)


def test_a_stamp_of_an_earlier_slice_vouches_up_to_its_end(kept: Kept, tmp_path: Path, lockstep: Lockstep) -> None:
    rows = random_stream(9, 600, hostile=0.0, garbage=0.0)
    write_slices(tmp_path / "node", rows, [200, 400])
    out = tmp_path / "signed"
    assert lockstep("attest", tmp_path / "node", "--key", kept.key, "--out", out)[0] == 0
    first = json.loads(out.read_text())["statements"][0]["statement"]
    (tmp_path / "first.tsq").write_bytes(stamps.request(octets(first)))
    answer = kept.authority.answer(tmp_path / "first.tsq", tmp_path / "first.tsr")
    words = ["--stamp", answer, "--authority", kept.authority.root, "--root", hash_of(first)]
    facts = told(lockstep, 0, out, tmp_path / "node", "--public", kept.public, *words)
    assert [(each["slice"], each["last_seq"]) for each in facts["anchors"]] == [(1, 200), (1, 200)]


def test_an_authority_that_refuses_has_its_words_told(kept: Kept, tmp_path: Path, lockstep: Lockstep) -> None:
    openssl("ts", "-query", "-digest", "0" * 96, "-sha384", "-out", tmp_path / "wrong.tsq")
    answer = kept.authority.answer(tmp_path / "wrong.tsq", tmp_path / "wrong.tsr")
    (fault,) = told(lockstep, 1, kept.signed, "--stamp", answer, "--authority", kept.authority.root)["faults"]
    assert "has no time stamp: the authority refused" in fault
    openssl("ts", "-query", "-digest", "0" * 128, "-sha512", "-cert", "-out", tmp_path / "long.tsq")
    answer = kept.authority.answer(tmp_path / "long.tsq", tmp_path / "long.tsr")
    (fault,) = told(lockstep, 1, kept.signed, "--stamp", answer, "--authority", kept.authority.root)["faults"]
    assert "its imprint is not one of SHA-256" in fault


def test_wrong_use_is_refused_in_a_sentence(kept: Kept, tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "text").write_text("nothing")
    (tmp_path / "empty").write_text("")
    signed, answer, root = kept.signed, kept.answer, kept.authority.root
    for words, why in (
        (["verify", signed, "--stamp", answer], "--stamp needs --authority"),
        (["verify", signed, "--authority", root], "--stamp needs --authority"),
        (["verify", signed, "--root", "12"], "64 hexadecimal digits"),
        (["verify", signed, "--stamp", tmp_path / "text", "--authority", root], "is no answer of a time stamp"),
        (["verify", signed, "--stamp", tmp_path / "empty", "--authority", root], "is no answer of a time stamp"),
        (["verify", signed, "--stamp", kept.request, "--authority", root], "is no answer of a time stamp"),
        (["verify", signed, "--stamp", tmp_path / "none", "--authority", root], "there is no"),
        (["verify", signed, "--stamp", answer, "--authority", tmp_path / "text"], "has no certificate"),
        (["verify", signed, "--stamp", answer, "--authority", tmp_path / "none"], "there is no"),
        (["request", signed, "--out", kept.request], "exists already"),
        (["request", answer, "--out", tmp_path / "a"], "cannot be read as an attestation"),
    ):
        status, said, sentence = lockstep("attest", *words)
        assert (status, said, why in sentence) == (2, "", True), sentence
        assert "Traceback" not in sentence
    assert not (tmp_path / "a").exists()
