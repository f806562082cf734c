"""The pages for users, and their parts: blocks of code, headings, links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# ([\w./-]+\.(?:py|ya?ml))\n")
LINK = re.compile(r"(?<!!)(?<!\\)\[(?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*\]\(([^()\s]+)\)|!\[[^\]]*\]\(([^()\s]+)\)")

PAGES = sorted(
    [page for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if page.exists()]
    + [*(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")]
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: number of its first line of text, from 1.
        follows: whether only empty lines separate it from the block before.
    """

    line: int
    language: str
    text: str
    follows: bool

    @property
    def file(self) -> str | None:
        """The file that its first line names, or None."""
        found = FILE.match(self.text)
        return None if found is None else found[1]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


def blocks(text: str) -> Iterator[Block]:
    """Return the fenced blocks of a page's text, in order."""
    end = 0
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 2
        yield Block(line, fence[1], fence[2], follows=not text[end : fence.start()].strip())
        end = fence.end()


def prose(text: str) -> str:
    """Return a page's text without its fenced blocks."""
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """Return the fragments of links to a page's headings, as GitHub builds them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", prose(text), flags=re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = next(n for n in range(100) if (f"{slug}-{n}" if n else slug) not in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def links(text: str) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return [link or picture for link, picture in LINK.findall(prose(text))]
