"""Each rule of docs/RULEBOOK.md is linked to a scenario that shows it, and each reason and event has one."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.records import EventKind, Reason

ROOT = Path(__file__).parent.parent
RULEBOOK = (ROOT / "docs" / "RULEBOOK.md").read_text()
SCENARIOS = "\n".join(path.read_text() for path in sorted((ROOT / "tests" / "scenarios").glob("*.txt")))
#: Sections with rules. Section 12 is the notation, in which all scenarios are written.
SECTIONS = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "13")


class Link(NamedTuple):
    """Row of section 14: section and beginning of a rule, and its scenarios."""

    section: str
    beginning: str
    files: tuple[str, ...]


def sections(text: str) -> dict[str, str]:
    """Text of each section by its number, without code."""
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {part.split(".")[0]: re.sub(r"^```.*?^```$", "", part, flags=re.M | re.S) for part in parts}


def rules(text: str) -> list[tuple[str, str]]:
    """(section, text) of each rule: rows of tables, items of lists and other paragraphs."""
    found = []
    for section, body in sections(text).items():
        if section not in SECTIONS:
            continue
        lines = body.partition("\n")[2]
        lines = re.sub(r"^\|.*\n\|[-| ]+\n", "", lines, flags=re.MULTILINE)  # heads of tables
        for rule in re.split(r"\n(?=\n|- |\d+\. |\|)", lines):
            stripped = " ".join(rule.split())
            numbered = re.match(r"(\d+)\. ", stripped)
            if not stripped or (section == "13" and not numbered):
                continue
            found.append((section, numbered[1] if numbered and section == "13" else plain(stripped)))
    return found


def plain(rule: str) -> str:
    """A rule without its mark-up."""
    return re.sub(r"[`*]", "", re.sub(r"^(- |\| |\d+\. )", "", rule)).strip()


def links(text: str) -> list[Link]:
    """Rows of section 14."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", sections(text).get("14", ""), flags=re.MULTILINE)
    return [Link(section, plain(begins), tuple(re.findall(r"\]\((.*?)\)", cell))) for section, begins, cell in rows]


def without_scenario(text: str) -> list[str]:
    """Rules that no row of section 14 names."""
    linked = links(text)
    return [
        f"section {section}: {rule[:70]}"
        for section, rule in rules(text)
        if not any(_is_of(link, section, rule) for link in linked)
    ]


def _is_of(link: Link, section: str, rule: str) -> bool:
    if link.section != section:
        return False
    return rule == link.beginning if section == "13" else rule.startswith(link.beginning)


def test_each_rule_is_linked_to_a_scenario() -> None:
    assert without_scenario(RULEBOOK) == [], "add a row to section 14 of docs/RULEBOOK.md"


def test_each_link_is_of_a_rule_and_leads_to_a_scenario() -> None:
    built = rules(RULEBOOK)
    stray = [link for link in links(RULEBOOK) if not any(_is_of(link, *rule) for rule in built)]
    assert [f"{link.section}: {link.beginning}" for link in stray] == []
    gone = [file for link in links(RULEBOOK) for file in link.files if not (ROOT / "docs" / file).is_file()]
    assert gone == []
    assert all(link.files for link in links(RULEBOOK))


@pytest.mark.parametrize("reason", Reason, ids=lambda each: each.name)
def test_each_reason_has_a_scenario(reason: Reason) -> None:
    assert f"reason={reason.name.lower()}" in SCENARIOS


@pytest.mark.parametrize("kind", EventKind, ids=lambda each: each.name)
def test_each_event_has_a_scenario(kind: EventKind) -> None:
    assert re.search(rf"^> {kind.name.lower()} ", SCENARIOS, flags=re.MULTILINE)


def test_the_rules_of_the_entry_delay_and_of_the_trading_day_have_scenarios() -> None:
    of_delay = [
        link for link in links(RULEBOOK) if link.section == "10" or (link.section, link.beginning) == ("13", "41")
    ]
    assert len(of_delay) == 3
    for link in of_delay:
        shown = "".join((ROOT / "docs" / file).read_text() for file in link.files)
        assert "speed_bump=" in shown, link.beginning
    assert any("day_start=" in (ROOT / "docs" / file).read_text() for file in of_delay[-1].files)


def test_the_rulebook_speaks_of_what_is_there() -> None:
    assert not re.search("°|planned|not built|built yet|later release", RULEBOOK)


def test_a_rule_without_a_row_is_found() -> None:
    """The control of the tests above."""
    row = next(line for line in RULEBOOK.splitlines() if line.startswith("| 5 | "))
    assert without_scenario(RULEBOOK.replace(row + "\n", "")) == [
        "section 5: Between orders of the same participant (or the same group of participa"
    ]
    added = RULEBOOK.replace("\n## 6.", "\nA rule of no scenario.\n\n## 6.", 1)
    assert without_scenario(added) == ["section 5: A rule of no scenario."]
    assert without_scenario(RULEBOOK.replace("| hidden | rests", "| unseen | rests")) != []
    assert len(rules(RULEBOOK)) > 90
