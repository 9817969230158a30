"""The page in a real browser: the market as it changes, what is not live, and an operator who signs in and acts.

Debian's Chromium is driven by playwright over its own protocol. Nothing is reached but the node on loopback.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

import node.program
from marketdata.web import page
from node.web.operators import set_operator
from tests.conftest import Lockstep
from tests.ouch_messages import enter
from tests.pair_processes import pair
from tests.running import ROOT, Client, Running, started, until
from tests.test_node_programs import processes

for package in ("starlette", "uvicorn", "websockets", "httptools"):
    pytest.importorskip(package, reason="pip install 'lockstep[web]'")

CHROMIUM = "/usr/bin/chromium"
OPTIONS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
PASSWORD = "correct-horse"
#: Patience with the page, in ms: the machine is shared.
WAIT_MS = 60_000


class Venue:
    """A node with a page, and an operator who may sign in to it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.node: Running = started(folder, "--web", "127.0.0.1:0", *options)
        until(lambda: processes(self.node)["web"]["port"], what="the page's process does not listen")
        self.port = int(processes(self.node)["web"]["port"])
        self.traders: dict[str, Client] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/page/"

    def do(self, *lines: str) -> None:
        with self.node.link() as link:
            assert link.ask("commands", text="\n".join(lines))["rejected"] == 0

    def order(self, user: str, name: str, side: str, qty: int, price_e4: int) -> None:
        trader = self.traders.get(user) or self.traders.setdefault(user, Client(self.node.port, user))
        trader.socket.sendall(enter(name, side, qty, price_e4))

    def ask(
        self, path: str, body: Any = None, method: str = "GET", **headers: str
    ) -> tuple[int, "dict[str, str]", bytes]:
        data = None if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, given, method=method)
        answer: HTTPResponse | urllib.error.HTTPError
        try:
            answer = urllib.request.build_opener(NoRedirect).open(asked, timeout=60)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            return (
                int(answer.status or 0),
                {name.lower(): value for name, value in answer.headers.items()},
                answer.read(),
            )


class SomeNode:
    """The page of a node that was started elsewhere."""

    def __init__(self, node: Running) -> None:
        until(lambda: processes(node)["web"]["port"], what="the page's process does not listen")
        self.port = int(processes(node)["web"]["port"])
        self.url = f"http://127.0.0.1:{self.port}/page/"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """No following of answers that name a new place."""

    def redirect_request(self, *_: Any) -> None:
        return None


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    folder = tmp_path_factory.mktemp("page")
    set_operator(folder / "operators", "ada", PASSWORD)
    made = Venue(folder, "--web-operators", str(folder / "operators"))
    try:
        yield made
    finally:
        made.node.stop()


@pytest.fixture
def _no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """No node is begun in the process of the tests."""

    def begun(*_: object, **_named: object) -> None:
        raise AssertionError("a node begins")

    monkeypatch.setattr(node.program, "serve", begun)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if not Path(CHROMIUM).exists():
        pytest.skip("apt-get install chromium")
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False, args=list(OPTIONS))
        yield made
        made.close()


class Tab:
    """A page that is looked at, with all that it complained of and asked for."""

    def __init__(self, browser: Any, venue: Venue | SomeNode, place: str = "", **options: Any) -> None:
        self.venue = venue
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._on_console)
        self.page.on("request", lambda asked: self.asked.add(re.sub(r"^(\w+://[^/]+).*", r"\1", asked.url)))
        self.page.goto(venue.url + place)

    def _on_console(self, said: Any) -> None:
        is_expected = said.text.startswith(("Failed to load resource", "WebSocket connection to"))
        if said.type in ("error", "warning") and not is_expected:
            self.complaints.append(said.text)

    def sees(self, selector: str, text: "str | re.Pattern[str]") -> None:
        """Wait until an element shows a text."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector).first).to_contain_text(text, timeout=WAIT_MS)

    def lacks(self, selector: str) -> None:
        """Wait until an element is not shown."""
        self.page.locator(selector).first.wait_for(state="hidden")

    def live(self) -> None:
        self.page.locator("#ladder-panel[data-live=yes]").wait_for()

    def size_at(self, side: str, price: str) -> str:
        """Size in the ladder at a price: "" for none."""
        found = self.page.locator(f"#ladder tr:has(td.price:text-is('{price}')) td.{side}").all_inner_texts()
        return str(found[0]) if found else ""  # asked for once: the row may go between two questions

    def sign_in(self, password: str = PASSWORD) -> None:
        self.page.locator("#name").fill("ada")
        self.page.locator("#password").fill(password)
        self.page.keyboard.press("Enter")

    def close(self) -> None:
        """Close it; it complained of nothing and asked this node alone."""
        self.context.close()
        assert not self.complaints
        assert self.asked <= {f"http://127.0.0.1:{self.venue.port}"}


@pytest.fixture
def tabs(browser: Any, venue: Venue) -> Iterator[Any]:
    made: list[Tab] = []

    def opened(place: str = "", **options: Any) -> Tab:
        made.append(Tab(browser, venue, place, **options))
        return made[-1]

    yield opened
    for each in made:
        each.close()


# Files and requests, without a browser.


def test_files_are_served_with_a_policy_that_lets_nothing_in(venue: Venue) -> None:
    for path, found in page.page_files().items():
        status, headers, content = venue.ask(page.PLACE + path)
        assert (status, headers["content-type"], content) == (200, found.media_type, found.content)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert venue.ask(page.PLACE + path, if_none_match=found.tag)[0] == 304
    for path in ("../page.py", "%2e%2e/page.py", "..%2fpage.py", "none.js", "vendor/", "/etc/passwd"):
        assert venue.ask(page.PLACE + path)[0] == 404, path
    # A browser is sent to the page; a program gets JSON as before.
    status, headers, _ = venue.ask("/", accept="text/html,*/*")
    assert (status, headers["location"]) == (303, page.PLACE)
    assert json.loads(venue.ask("/", accept="*/*")[2]) == {"openapi": "/openapi.json"}


def test_nothing_of_the_page_is_of_another_place_or_inline() -> None:
    for path, found in page.page_files().items():
        if path.startswith("vendor/"):
            continue
        text = found.content.decode()
        places = set(re.findall(r"(?:https?|wss?)://[\w.-]+", text))
        assert places <= {"http://www.w3.org", "https://www.tradingview.com"}, path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function|document\.write", text), (
            path
        )
        if path.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text)


def test_a_request_of_another_site_or_form_changes_nothing(venue: Venue) -> None:
    body, kind = {"name": "ada", "password": PASSWORD}, {"content_type": "application/json"}
    here = f"http://127.0.0.1:{venue.port}"
    for headers in (
        {**kind, "origin": "http://evil.example"},
        {**kind, "origin": "null"},
        {**kind, "sec_fetch_site": "cross-site"},
        {**kind, "sec_fetch_site": "same-site"},
    ):
        assert venue.ask("/operator/session", body, "POST", **headers)[0] == 403, headers
    for form in ("text/plain", "application/x-www-form-urlencoded"):
        assert venue.ask("/operator/session", body, "POST", content_type=form, origin=here)[0] == 400
    for bad in ([], {"name": "ada"}, {"name": 1, "password": 2}, {"name": "a" * 5_000, "password": "b"}):
        assert venue.ask("/operator/session", bad, "POST", **kind)[0] == 400
    for path in ("/operator/report", "/operator/acts"):
        method = "GET" if path.endswith("report") else "POST"
        told = {"act": "kill", "name": "ALPHA"} if method == "POST" else None
        assert venue.ask(path, told, method, **kind)[0] == 401
    # Control: of this page.
    status, headers, _ = venue.ask("/operator/session", body, "POST", **kind, origin=here, sec_fetch_site="same-origin")
    assert status == 200
    assert {"HttpOnly", "SameSite=strict", "Path=/operator"} <= set(headers["set-cookie"].split("; "))
    assert "Secure" not in headers["set-cookie"]
    _, headers, _ = venue.ask("/operator/session", body, "POST", **kind, host="exchange.example")
    assert "Secure" in headers["set-cookie"].split("; ")


def test_the_charts_are_those_of_the_npm_package(tmp_path: Path) -> None:
    name, version, inside, digest = page.CHARTS
    ours = page.page_files()[page.CHARTS_FILE].content
    assert hashlib.sha256(ours).hexdigest() == digest
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    ran = subprocess.run(
        ["npm", "pack", f"{name}@{version}", "--fetch-retries=1", "--silent"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if ran.returncode:
        pytest.skip(f"the npm package {name} could not be had")
    (packed,) = tmp_path.glob("*.tgz")
    with tarfile.open(packed) as archive:
        theirs = {each: archive.extractfile(f"package/{each}") for each in (inside, "LICENSE")}
        assert all(theirs.values())
        content = {each: file.read() for each, file in theirs.items() if file is not None}
    assert content[inside] == ours
    assert content["LICENSE"] == page.page_files()["vendor/lightweight-charts.LICENSE"].content


def test_an_installed_package_has_every_file_of_the_page() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        patterns = tomllib.load(file)["tool"]["setuptools"]["package-data"]["marketdata.web"]
    folder = ROOT / "marketdata" / "web"
    installed = {each.relative_to(folder / "static").as_posix() for one in patterns for each in folder.glob(one)}
    assert set(page.page_files()) - {""} <= installed


def refused(lockstep: Lockstep, why: str, *words: object) -> None:
    """Assert that a node does not begin with such words."""
    status, _, said = lockstep("serve", *words)
    assert status == 2
    assert why in " ".join(said.replace("│", " ").split()), said


@pytest.mark.usefixtures("_no_node")
def test_operators_are_served_on_loopback_alone(tmp_path: Path, lockstep: Lockstep) -> None:
    set_operator(tmp_path / "operators", "ada", PASSWORD)
    line = ["--data", tmp_path / "d", "--web-operators", tmp_path / "operators"]
    for words, why in (((), "--web HOST:PORT"), (("--web", "0.0.0.0:0"), "which others can reach")):
        refused(lockstep, why, *line, *words)
    assert not (tmp_path / "d").exists()


# In the browser.


@pytest.mark.slow
def test_orders_and_trades_are_shown_as_they_happen_and_hidden_ones_never(venue: Venue, tabs: Any) -> None:
    tab = tabs("#/XYZ-USD")
    tab.live()
    tab.sees("#symbol", "XYZ")
    venue.order("UA", "S1", "S", 300, 100_500)
    venue.order("UA", "S2", "S", 1_200, 100_600)
    venue.order("UC", "B1", "B", 200, 99_900)
    until(lambda: tab.size_at("offer", "10.06") == "1,200", what="the offer is not in the ladder")
    until(lambda: tab.size_at("bid", "9.99") == "200", what="the bid is not in the ladder")
    assert tab.size_at("offer", "10.05") == "300"
    tab.sees("#spread", "0.06")
    venue.order("UC", "B2", "B", 100, 100_500)
    until(lambda: tab.size_at("offer", "10.05") == "200", what="the trade did not change the ladder")
    tab.sees("#trades tbody tr", "10.05")
    tab.sees("#trades tbody tr", "bought")
    tab.sees("#last", "10.05")
    tab.sees("#candles-said", "close 10.05, volume 100")
    tab.sees("#depth-said", "200 to buy")
    # A hidden order is nowhere, and of an iceberg the displayed part alone. Control: the market has both.
    venue.do(
        "enter ALPHA hide buy 900 XYZ @ 9.98 hidden",
        "enter ALPHA ice buy 800 XYZ @ 9.97 display=50",
        "enter ALPHA seen buy 70 XYZ @ 9.96",
    )
    until(lambda: tab.size_at("bid", "9.96") == "70", what="the last order is not in the ladder")
    assert (tab.size_at("bid", "9.98"), tab.size_at("bid", "9.97")) == ("", "50")
    assert "900" not in tab.page.locator("#ladder").inner_text()
    venue.do("cancel ALPHA hide", "cancel ALPHA ice", "cancel ALPHA seen")


@pytest.mark.slow
def test_a_halt_and_an_auction_are_shown_with_reason_price_and_imbalance(venue: Venue, tabs: Any) -> None:
    venue.do("instrument CALL tick=0.01 lot=1 reference=20.00", "phase CALL continuous")
    tab = tabs("#/CALL-USD")
    tab.live()
    tab.lacks("#banner")
    venue.do("halt CALL")
    tab.sees("#banner", "CALL is halted by the operator. Only cancels are taken.")
    tab.sees("#phase", "Halted")
    tab.sees("#list tr:has-text('CALL')", "Halted")
    venue.do("resume CALL")
    tab.sees("#banner", "CALL is in an auction")
    tab.sees("#call-title", "Reopening auction")
    tab.sees("#call-price", "none yet")
    venue.do("enter ALPHA c1 buy 500 CALL @ 20.10", "enter BETA c2 sell 300 CALL @ 20.00")
    tab.sees("#call-paired", "300")
    tab.sees("#call-price", "20.10")
    tab.sees("#call-imbalance", "200 to buy")
    # Who comes later sees the same at once.
    other = tabs("#/CALL-USD")
    other.sees("#call-imbalance", "200 to buy")
    venue.do("phase CALL continuous")
    tab.lacks("#banner")
    tab.lacks("#call")
    tab.sees("#trades tbody tr", "20.10")


@pytest.mark.slow
def test_what_is_not_live_is_marked_and_the_book_is_built_anew(venue: Venue, tabs: Any) -> None:
    venue.do("enter ALPHA st1 buy 40 XYZ @ 9.50")
    tab = tabs("#/XYZ-USD")
    tab.live()
    until(lambda: tab.size_at("bid", "9.50") == "40", what="the order is not in the ladder")
    web = int(processes(venue.node)["web"]["pid"])
    os.kill(web, signal.SIGSTOP)
    try:
        tab.page.locator("#ladder-panel[data-live=no]").wait_for()
        tab.sees("#connection-text", "Not live: nothing was heard")
        tab.sees("#ladder-mark", re.compile(r"Not live since \d\d:\d\d:\d\d UTC"))
        for name in ("depth", "trades"):
            tab.page.locator(f"#{name}-panel[data-live=no]").wait_for()
        venue.do("cancel ALPHA st1", "enter ALPHA st2 buy 60 XYZ @ 9.51")
        # Control: what is shown is old, and marked as such.
        assert tab.size_at("bid", "9.50") == "40"
        assert tab.page.locator("#ladder-panel").get_attribute("data-live") == "no"
    finally:
        os.kill(web, signal.SIGCONT)
    tab.live()
    until(lambda: (tab.size_at("bid", "9.50"), tab.size_at("bid", "9.51")) == ("", "60"), what="the book is old")
    tab.sees("#connection-text", "Live")
    # Killed, it is started again by the node, and the page goes on by itself.
    os.kill(web, signal.SIGKILL)
    tab.page.locator("#ladder-panel[data-live=no]").wait_for()
    tab.live()
    until(lambda: tab.size_at("bid", "9.51") == "60", what="the book is not there again")
    venue.do("cancel ALPHA st2")


@pytest.mark.slow
def test_a_core_that_stands_still_is_told_by_page_and_rest_and_no_book_is_lost(venue: Venue, tabs: Any) -> None:
    venue.do("enter ALPHA core1 buy 40 XYZ @ 9.40")
    tab = tabs("#/XYZ-USD")
    tab.live()
    until(lambda: tab.size_at("bid", "9.40") == "40", what="the order is not in the ladder")
    tab.sees("#connection-text", "Live")
    core = int(processes(venue.node)["core"]["pid"])
    os.kill(core, signal.SIGSTOP)
    try:
        tab.sees("#connection-text", "Stale: the market stands still")
        tab.page.locator("#ladder-panel[data-live=no]").wait_for()
        tab.sees("#connection-age", re.compile(r"for [1-9]\d* s"))
        status, headers, body = venue.ask("/products")
        assert (status, {each["status"] for each in json.loads(body)}) == (200, {"offline"})
        assert int(headers["age"]) >= 1
        assert json.loads(venue.ask("/time")[2])["state"] == "stale"
        assert tab.size_at("bid", "9.40") == "40"
    finally:
        os.kill(core, signal.SIGCONT)
    tab.live()
    tab.sees("#connection-text", "Live")
    venue.do("cancel ALPHA core1")
    until(lambda: tab.size_at("bid", "9.40") == "", what="the book did not go on")
    _, headers, body = venue.ask("/products")
    assert {each["status"] for each in json.loads(body)} == {"online"}
    assert "age" not in headers


@pytest.mark.slow
def test_an_operator_sees_that_the_node_does_not_answer_and_what_was_done_before(venue: Venue, tabs: Any) -> None:
    venue.do("instrument VOLT tick=0.01 lot=1 reference=5.00", "phase VOLT continuous")
    tab = tabs("#/operator")
    tab.sign_in()
    tab.sees(".instruments tr:has-text('VOLT')", "Continuous")
    for act, phase in (("halt", "Halted"), ("resume", "auction")):
        tab.page.locator(f"[data-act='{act} VOLT']").click()
        tab.sees("dialog", f"{act} VOLT")
        tab.page.locator("#confirm-yes").click()
        tab.sees(".instruments tr:has-text('VOLT')", phase)
        tab.sees(f".acts tbody tr:has-text('{act} VOLT')", "ada")
    tab.page.locator("#to-markets").click()
    tab.page.locator("#to-operator").click()
    tab.sees(".acts tbody tr:has-text('halt VOLT')", "ada")
    tab.sees(".alerts", "The node is open.")
    core = int(processes(venue.node)["core"]["pid"])
    os.kill(core, signal.SIGSTOP)
    try:
        tab.sees(".alerts", "What is below is of")
        assert "The node is open." not in tab.page.locator(".alerts").inner_text()
        tab.sees("#report-mark", re.compile(r"Not live for \d+ s"))
        # Opened now, it says that it knows nothing, and has acts and names.
        tab.page.reload()
        tab.sees(".nodes", "Not known: no report has come.")
        tab.sees(".acts tbody tr:has-text('halt VOLT')", "ada")
        tab.sees(".instruments tr:has-text('VOLT')", "auction")
    finally:
        os.kill(core, signal.SIGCONT)
    tab.sees(".alerts", "The node is open.")
    tab.sees(".nodes", re.compile(r"[0-9a-f]{32}"))
    # All operators see it, and after another life of the process.
    os.kill(int(processes(venue.node)["web"]["pid"]), signal.SIGKILL)
    tab.sees("#operator", "Nothing of it is shown without a login")
    tab.sign_in()
    tab.sees(".acts tbody tr:has-text('resume VOLT')", "ada")


@pytest.mark.slow
def test_an_operator_sees_both_nodes_of_a_pair_and_a_takeover(tmp_path: Path, browser: Any) -> None:
    set_operator(tmp_path / "operators", "ada", PASSWORD)
    with pair(tmp_path, "--web", "127.0.0.1:0", "--web-operators", str(tmp_path / "operators")) as (_, a, b):
        of_a, of_b = (Tab(browser, SomeNode(each), "#/operator") for each in (a, b))
        for tab in (of_a, of_b):
            tab.sign_in()
        digest = str(a.pair()["event_digest"])

        def row(tab: Tab, node: str, *words: str) -> None:
            for word in words:
                tab.sees(f".nodes tbody tr:has(th:has-text('{node}'))", word)

        row(of_a, "A (this node)", "primary", "reigning", digest)
        row(of_a, "B", "standby", "in sync", digest)
        of_a.sees(".alerts", "None. The node is open.")
        row(of_b, "B (this node)", "standby", "following", digest)
        row(of_b, "A", "primary", "by the arbiter's record", digest)
        of_b.sees(".alerts", "None. This node is a copy of A, which takes orders and acts.")
        of_b.sees(".instruments", "Continuous")
        assert not of_b.page.locator("[data-act]").count(), "a copy takes no acts"
        of_a.page.locator("[data-act='halt XYZ']").wait_for()

        a.process.kill()
        of_a.sees(".alerts", "does not answer")
        row(of_b, "B (this node)", "primary", "reigning")
        of_b.sees(".nodes", "none is connected")
        of_b.sees(".alerts", "no standby is in sync")
        assert len(of_b.page.locator(".alerts li").all_inner_texts()) == 1, "one fact is one alert"
        of_b.page.locator("[data-act='halt XYZ']").click()
        of_b.page.locator("#confirm-yes").click()
        of_b.sees(".instruments tr:has-text('XYZ')", "Halted")
        for tab in (of_a, of_b):
            tab.close()


@pytest.mark.slow
def test_the_page_of_a_copy_is_live_while_it_hears_its_primary_and_stale_when_not(tmp_path: Path, browser: Any) -> None:
    """A copy that cannot take over, so that nothing ends its silence but the primary."""
    with pair(tmp_path, "--web", "127.0.0.1:0", follower=True) as (_, a, b):
        a.submit("enter ALPHA copy1 buy 40 XYZ @ 9.40")
        tab = Tab(browser, SomeNode(b), "#/XYZ-USD")
        tab.sees("#connection-text", "Live")
        until(lambda: tab.size_at("bid", "9.40") == "40", what="the order is not in the ladder of the copy")

        def stays_live() -> bool:
            """False where a look finds it stale, which a machine under load may make it for a moment."""
            for _ in range(20):
                if tab.page.locator("#connection-text").inner_text() != "Live":
                    return False
                time.sleep(0.1)
            return True

        until(stays_live, what="the page of a copy that hears its primary is not live")
        a.process.send_signal(signal.SIGSTOP)
        try:
            tab.sees("#connection-text", "Stale: the market stands still")
            tab.sees("#connection-age", re.compile(r"for [1-9]\d* s"))
            assert tab.size_at("bid", "9.40") == "40"
        finally:
            a.process.send_signal(signal.SIGCONT)
        a.awaits(role="primary", state="reigning")  # its lease had run out, and it begins again
        tab.sees("#connection-text", "Live")
        a.submit("cancel ALPHA copy1")
        until(lambda: tab.size_at("bid", "9.40") == "", what="the book of the copy did not go on")
        tab.close()


@pytest.mark.slow
def test_the_page_is_used_by_the_keyboard_alone_and_fits_a_phone_in_both_themes(venue: Venue, tabs: Any) -> None:
    venue.do("instrument KEYS tick=0.01 lot=1 reference=5.00")
    tab = tabs("", viewport={"width": 390, "height": 844}, color_scheme="dark")
    tab.live()
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    for _ in range(40):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.textContent") == "KEYS":
            break
    assert tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.page.keyboard.press("Enter")
    tab.sees("#symbol", "KEYS")
    tab.sees("#spread", "No orders rest here")
    tab.sees("#trades-empty", "No trade yet.")
    # Nothing is wider than the screen, which would be moved aside to be read.
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    dark = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.page.locator("#theme").select_option("light")
    light = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    tab.page.reload()
    tab.live()
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == light


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_enough(tabs: Any, scheme: str) -> None:
    tab = tabs("#/XYZ-USD", color_scheme=scheme)
    tab.live()
    found = tab.page.evaluate(CONTRASTS)
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}
    assert len(found) > 10


#: Contrast (WCAG 2) of each pair of colours in which the style sheet writes text on ground.
CONTRASTS = """() => {
  const probe = document.body.appendChild(document.createElement("i"));
  const light = (name) => {
    probe.style.color = `var(--${name})`;
    const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((each) => each / 255);
    const [r, g, b] = parts.map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pairs = [
    ...["ink", "quiet", "buy", "sell", "good", "danger", "accent"].map((each) => [each, "surface"]),
    ["ink", "ground"], ["quiet", "ground"], ["ink", "buy-soft"], ["ink", "sell-soft"], ["on-accent", "accent"],
    ["on-notice", "notice"], ["danger", "danger-soft"],
    ["on-danger", "danger"], ["buy", "buy-soft"], ["sell", "buy-soft"],
  ];
  return Object.fromEntries(pairs.map(([text, ground]) => {
    const [a, b] = [light(text), light(ground)].sort((x, y) => y - x);
    return [`${text} on ${ground}`, (a + 0.05) / (b + 0.05)];
  }));
}"""


@pytest.mark.slow
def test_an_operator_signs_in_and_a_kill_is_confirmed_and_in_the_journal(venue: Venue, tabs: Any) -> None:
    tab = tabs("#/operator")
    tab.sees("#operator", "Nothing of it is shown without a login")
    assert tab.page.locator("#operator table").count() == 0
    tab.sign_in("wrong-password")
    tab.sees("#sign-in-error", "Name or password is wrong")
    assert tab.page.locator("#operator table").count() == 0
    tab.sign_in()
    tab.sees("#operator-name", "ada")
    with venue.node.link() as link:
        journal_digits = str(link.ask("status")["status"]["event_digest"])
    tab.sees(".nodes", re.compile(r"[0-9a-f]{32}"))
    assert len(journal_digits) == 32
    tab.sees(".processes", "web")
    tab.sees(".participants tr:has-text('BETA')", "trades")

    kill = tab.page.locator("[data-act='kill BETA']")
    kill.focus()
    tab.page.keyboard.press("Enter")
    tab.sees("dialog", "All open orders of BETA are canceled")
    tab.sees("dialog", "ada")
    # Control: the first choice is to do nothing, and so is Escape.
    assert tab.page.evaluate("document.activeElement.textContent") == "Cancel"
    tab.page.keyboard.press("Escape")
    tab.page.locator("dialog").wait_for(state="detached")
    assert "kill BETA" not in journal(venue)

    kill.focus()
    tab.page.keyboard.press("Enter")
    tab.page.locator("#confirm-yes").click()
    tab.sees("#act-said", re.compile(r"Done by ada: kill BETA, command [\d,]+\."))
    assert journal(venue).count("kill BETA") == 1
    assert '"operator": "ada"' in venue.node.logged() or "operator=ada" in venue.node.logged()
    tab.sees(".participants tr:has-text('BETA')", "killed")
    tab.page.locator("[data-act='unkill BETA']").click()
    tab.page.locator("#confirm-yes").click()
    tab.sees(".participants tr:has-text('BETA')", "trades")
    # A session outlives a reload, and not its operator's wish.
    tab.page.reload()
    tab.sees("#operator-name", "ada")
    # A sign-out that reaches nobody is not said to be done: the session goes on.
    tab.page.route("**/operator/session", lambda route: route.abort())
    tab.page.get_by_role("button", name="Sign out").click()
    tab.sees("#sign-in-error", "your session may last for 15 minutes more")
    tab.page.unroute("**/operator/session")
    tab.page.reload()
    tab.sees("#operator-name", "ada")
    tab.page.get_by_role("button", name="Sign out").click()
    tab.sees("#sign-in-error", "You are signed out.")
    assert tab.page.locator("#operator table").count() == 0
    assert tab.page.evaluate("fetch('/operator/report').then((answer) => answer.status)") == 401


def journal(venue: Venue) -> str:
    """Commands of the venue, as the notation has them."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "commands", str(venue.node.data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.mark.usefixtures("_no_node")
def test_a_file_of_operators_that_cannot_be_used_is_refused_before_a_node_begins(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    file = tmp_path / "operators"
    line = ["--data", tmp_path / "d", "--web", "127.0.0.1:0", "--web-operators", file]
    refused(lockstep, "operators", *line)  # there is no such file
    set_operator(file, "ada", PASSWORD)
    file.chmod(0o644)
    refused(lockstep, "can be read by other users of this machine", *line)
    file.chmod(0o600)
    file.write_text(file.read_text() + "bob nonsense\n")
    refused(lockstep, "line 2 of", *line)
    file.write_text("# nobody\n")
    refused(lockstep, "has no operator", *line)
    assert not (tmp_path / "d").exists()
