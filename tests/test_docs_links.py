"""Files, headings, tests and commands that the pages name exist."""

import re
from urllib.parse import urlsplit

import pytest

from swarmsim.cli import COMMANDS, train
from tests.conftest import ROOT
from tests.pages import PAGES, anchors, links, name_of, prose

TESTS = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_all_links_of_a_page_lead_somewhere(page):
    for link in links(page.read_text()):
        target = urlsplit(link)
        if target.scheme or target.netloc:
            assert target.scheme == "https", link
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", target.netloc), link
            continue
        file = (page.parent / target.path) if target.path else page
        assert file.exists(), link
        assert ROOT in [file.resolve(), *file.resolve().parents], f"{link} leads out of the project"
        if target.fragment:
            assert file.suffix == ".md", link
            assert target.fragment in anchors(file.read_text()), link


def test_links_pictures_and_headings_are_found():
    text = (
        "# A `code`, and more\n[a](b.md#c) ![d](e.png) [![f](g.png)](h.md)\n## Twice\n## Twice\n```sh\n# [no](i)\n```\n"
    )
    assert set(links(text)) >= {"b.md#c", "e.png", "h.md"}
    assert "i" not in links(text)
    assert anchors(text) == {"a-code-and-more", "twice", "twice-1"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_files_that_a_page_names_are_there(page):
    named = re.findall(
        r"`((?:\.ci|tests|benchmarks|examples|swarmsim|docs)/[\w/.-]*\w)(?=[`:])", prose(page.read_text())
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[a-z]+/)*\w+\.py)", RELIABILITY))))
def test_the_files_that_the_page_on_reliability_names_are_there(path):
    assert (ROOT / "tests" / path).exists() or (ROOT / path).exists()


@pytest.mark.parametrize("part", sorted(set(re.findall(r"`(?:test_|…)(\w+)…?`", RELIABILITY))))
def test_the_tests_that_the_page_on_reliability_names_are_there(part):
    assert re.search(rf"def test_\w*{part}", TESTS)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_and_flags_that_a_page_names_are_there(page):
    said = re.findall(r"`(?:swarmsim|python run\.py) ([^`]+)`", prose(page.read_text()))
    for words in (text.split() for text in said):
        if words[0].startswith("-"):
            flags = [word for word in words if word.startswith("--")]
            assert set(flags) <= set(train.make_parser()._option_string_actions), words
        else:
            for command in words[0].split("/"):
                assert command in COMMANDS, words
            if words[0] in ("serve", "component") and "…" not in words:
                flags = [word for word in words if word.startswith("--")]
                assert set(flags) <= set(COMMANDS[words[0]].make_parser()._option_string_actions), words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_flags_that_a_page_names_by_themselves_are_there(page):
    alone = set(re.findall(r"(?:^|[| (])`(--[a-z-]+)[^`]*`", prose(page.read_text()), flags=re.MULTILINE))
    own = "".join(path.read_text() for folder in ("swarmsim", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
    known = {flag for flag in alone if flag in train.make_parser()._option_string_actions or f'"{flag}"' in own}
    assert alone - known == set()
