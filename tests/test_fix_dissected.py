"""Messages of the FIX gateways, judged by Wireshark's dissector: types, numbers and checksums, and none malformed."""

import json
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gateway.fix import records
from gateway.fix.session import COMP_ID
from reports.rows import ReportKind
from tests.captures import PORT, Segment, needs_tshark, write_pcap
from tests.test_fix_copies import captured
from tests.test_fix_messages import BUY, SELL, Crosses, cross_frame, framed
from wire.fix_codec import FrameWriter, Message, Times
from wire.fix_table import VERSIONS


def dissected(path: Path) -> list[dict[str, Any]]:
    """Layers of each packet with FIX, as tshark says them."""
    line = ["tshark", "-r", str(path), "-d", f"tcp.port=={PORT},fix", "-o", "tcp.check_checksum:FALSE", "-T", "json"]
    said = subprocess.run([*line, "--no-duplicate-keys"], check=True, capture_output=True, timeout=120).stdout
    return [packet["_source"]["layers"] for packet in json.loads(said)]


def messages(version: str) -> list[Message]:
    """A message of each kind of report, copies and captures of them, and what is said of crosses."""
    kinds = [kind for kind in ReportKind if kind <= ReportKind.REPRICED]
    found = [framed(version, kind, filled) for kind, filled in product(kinds, (0, 3))]
    copies = [captured(version, records.COPY, kind) for kind in (ReportKind.NEW, ReportKind.TRADE)]
    copies.append(captured(version, records.CAPTURE, ReportKind.TRADE))
    fix = Crosses(version)
    crosses = fix.send([BUY, SELL]) + fix.send([BUY, SELL])  # traded, and refused: its id was used
    assert len(crosses) == 6
    return found + [each for each in copies if each is not None] + crosses


@needs_tshark
@pytest.mark.parametrize("version", VERSIONS)
def test_wireshark_reads_each_message_as_it_was_written(version: str, tmp_path: Path) -> None:
    sent = messages(version)
    path = tmp_path / "fix.pcap"
    segments: list[Segment] = [(True, each.frame) for each in sent]
    write_pcap(path, segments)
    layers = dissected(path)
    assert len(layers) == len(sent)
    for packet, message in zip(layers, sent, strict=True):
        assert "_ws.malformed" not in json.dumps(packet), message.frame
        fix = packet["fix"]
        for name, tag in (("fix.MsgType", b"35"), ("fix.MsgSeqNum", b"34")):
            assert fix[name] == message.fields[tag].decode()
        assert is_good(packet), message.frame


@needs_tshark
@pytest.mark.parametrize("version", ["FIX.4.4", "FIXT.1.1"])
def test_wireshark_reads_a_cross_with_its_two_sides(version: str, tmp_path: Path) -> None:
    path = tmp_path / "cross.pcap"
    frame = cross_frame(FrameWriter(version, "UF", COMP_ID, Times()), 2, [BUY, SELL])
    write_pcap(path, [(True, frame)])
    (packet,) = dissected(path)
    assert "_ws.malformed" not in json.dumps(packet)
    assert is_good(packet)
    assert (packet["fix"]["fix.MsgType"], packet["fix"]["fix.CrossID"]) == ("s", "X1")
    assert packet["fix"]["fix.ClOrdID"] == ["b1", "s1"]


def is_good(packet: dict[str, Any]) -> bool:
    """True if the dissector found the checksum right."""
    return bool(packet["fix"]["fix.CheckSum_tree"]["fix.checksum_good"] == "1")


@pytest.mark.slow
@needs_tshark
def test_wireshark_says_that_a_broken_message_is_wrong(tmp_path: Path) -> None:
    """The control: a message with another checksum is told apart."""
    (message, *_) = messages("FIX.4.4")
    broken = message.frame[:-4] + b"%03d\x01" % ((int(message.frame[-4:-1]) + 1) % 256)
    for name, frame, good in (("right", message.frame, True), ("wrong", broken, False)):
        path = tmp_path / f"{name}.pcap"
        write_pcap(path, [(True, frame)])
        (packet,) = dissected(path)
        assert is_good(packet) == good
