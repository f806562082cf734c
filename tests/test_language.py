"""The package, its pages and its help use the field's words: the names and phrases of the old dialect stay away."""

import ast
import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from swarmsim.cli import COMMANDS, main
from tests.conftest import ROOT
from tests.pages import PAGES

# Modules that have other names now.
MODULES = (
    "components/kept", "components/care", "components/past", "components/own", "components/presence",
    "components/gathering", "components/run", "components/outcomes", "components/upkeep", "components/watch",
    "messaging/hearsay", "messaging/windows", "messaging/process", "learning/policy", "results/figures", "figures",
)  # fmt: skip
# Names that no text may hold, since no English sentence needs them.
NAMES = (
    "left_behind", "look_in", "OwnRule", "Upkeep", "whither", "Onlooker", "onlooker", "wants_look", "wants_hold",
    "is_held", "keep_account", "reckon_up", "hearsay", "THIS_PROCESS", "disown", "take_out", "merits",
)  # fmt: skip
# Names that may not stand in code: as identifiers, or between backticks.
CODE_NAMES = (
    "Kept", "_keep", "Care", "Past", "Kind", "Gathering", "Run", "Sight", "Watch", "Ledger", "ledger", "complain",
    "Lesson", "_seen", "_unit", "Memory", "Policy", "Component", "Figures", "figures", "Order", "Standing", "shares",
    "CONTRIBUTION", "came", "told", "_told", "kept", "care", "past", "presence", "gathering", "upkeep", "sight",
    "lesson",
)  # fmt: skip
# Functions that may be neither defined nor called.
FUNCTIONS = ("own", "look_in", "says", "refused", "whole", "texts", "look", "behind", "promise", "disown")
# Verbs that no function may be called by, alone or before an underscore.
VERBS = (
    "told", "tell", "say", "says", "speak", "heed", "attend", "reckon", "bear", "settle", "deed", "take", "take_in",
    "take_up", "go_on", "gone_on", "look", "saved",
)  # fmt: skip
# Functions that serialise: state/restore, encode/decode and read/write are their names now.
PAIRS = ("save", "load", "to_state", "from_state", "to_dict", "from_dict", "to_plain", "from_plain")
# Regular expressions, searched for in any case; a space stands for anything between two words, a line break included.
PHRASES = (
    r"in the place of", r"lest", r"whither", r"of which", r"ones own", r"one['’]s own", r"opinions?",
    r"who came and went", r"what (?:came|comes|has come) of (?:it|them)", r"action counts which the model likes",
    r"how sure", r"how far they differ",
    r"(?:has|have|had|having) (?!been|not|never|already|just|to be)(?:(?!and\b)[\w'`]+ ){1,3}done(?! before)",
    r"whoever", r"he who", r"such as have", r"as far as it lets itself", r"farewell", r"is to be had",
    r"who knows it goes on", r"there is none",
)  # fmt: skip
# What stays, and why. Each is left out before a text is searched.
STAYS = {
    '"merits"': "a key in checkpoints",
    '"spreads"': "a key in checkpoints",
    '"opinions"': "a key in checkpoints",
}
# Functions that stay, and why.
FUNCTIONS_THAT_STAY = {
    "swarmsim/policy.py: save": "SwarmPolicy.save is public, as Stable-Baselines3's models have it",
}
SUFFIXES = {".py", ".html", ".j2", ".jinja", ".css", ".js"}
BETWEEN_WORDS = r"""(?:[\s#|]|["']\s*f?["'])+"""  # white space, a comment's next line, or a string's next part
SCRIPT_FUNCTION = re.compile(r"\b(?:function|def) (\w+)|\b(?:const|let) (\w+) = (?:async )?(?:\([^()]*\)|\w+) =>")


@dataclass(frozen=True)
class Text:
    """A file, or the help of a command, to be searched."""

    name: str
    text: str

    @property
    def is_python(self) -> bool:
        return self.name.endswith(".py")

    def at(self, position: int) -> str:
        return f"{self.name}:{self.text.count(chr(10), 0, position) + 1}"


def texts_of_files() -> Iterator[Text]:
    paths = [path for folder in ("swarmsim", "docs") for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    for path in sorted([*PAGES, ROOT / "swarm.yaml", *paths]):
        yield Text(str(path.relative_to(ROOT)), path.read_text())


def texts_of_help() -> Iterator[Text]:
    for command in ([], *([name] for name in COMMANDS)):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([*command, "--help"])
        yield Text(" ".join(["swarmsim", *command, "--help"]), printed.getvalue())
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        help_texts = [text for text in texts_of_parsers(ast.parse(path.read_text())) if text is not None]
        if help_texts:
            yield Text(f"benchmarks/{path.name} --help", "\n".join(help_texts))


def texts_of_parsers(module: ast.Module) -> Iterator[str | None]:
    """Yield what a script gives its parsers to show, since its help takes seconds of imports."""
    for node in ast.walk(module):
        if isinstance(node, ast.keyword) and node.arg in ("description", "epilog", "help"):
            if "__doc__" in (name for _, name in identifiers(node)):
                yield ast.get_docstring(module)
            texts = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
            yield "".join(text for text in texts if isinstance(text, str))


def without_what_stays(text: str) -> str:
    for part in STAYS:
        text = text.replace(part, '""')
    return text


def found_names(source: Text) -> Iterator[str]:
    """Yield where a text holds a name or a module of the old dialect."""
    text = without_what_stays(source.text)
    modules = [module.replace("/", "[/.]") + r"(?=\.py| import)" for module in MODULES if "/" in module]
    quoted = [name for name in CODE_NAMES if not name.isupper()]  # a message's keys are on the pages
    pattern = rf"(?<!\w)(?:{'|'.join((*NAMES, *modules))})(?!\w)|`(?:{'|'.join(quoted)})(?:`|\()"
    for found in re.finditer(pattern, text):
        yield f"{Text(source.name, text).at(found.start())}: {found[0]}"
    if source.is_python:
        for line, name in identifiers(ast.parse(source.text)):
            if name in CODE_NAMES:
                yield f"{source.name}:{line}: {name}"


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the identifiers of a module with their lines: what is defined, imported, passed or read."""
    for node in ast.walk(tree):
        for field in ("name", "id", "attr", "arg", "asname"):
            if isinstance(name := getattr(node, field, None), str):
                yield node.lineno, name.rpartition(".")[2]


def found_functions(source: Text) -> Iterator[str]:
    """Yield the functions of a text that an old verb names, and calls of the old short ones."""
    if not source.is_python:
        for found in SCRIPT_FUNCTION.finditer(source.text):
            name = found[1] or found[2]
            if is_an_old_function(name):
                yield f"{source.at(found.start())}: {name}"
        return
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if is_an_old_function(node.name) and f"{source.name}: {node.name}" not in FUNCTIONS_THAT_STAY:
                yield f"{source.name}:{node.lineno}: def {node.name}"
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            if name in FUNCTIONS:
                yield f"{source.name}:{node.lineno}: {name}()"


def is_an_old_function(name: str) -> bool:
    bare = name.lstrip("_")
    return bare in (*FUNCTIONS, *PAIRS) or any(bare == verb or bare.startswith(f"{verb}_") for verb in VERBS)


def found_phrases(source: Text) -> Iterator[str]:
    """Yield where a text holds a phrase of the old dialect."""
    text = without_what_stays(source.text)
    searched = "|".join(phrase.replace(" ", BETWEEN_WORDS) for phrase in PHRASES)
    for found in re.finditer(rf"(?<![A-Za-z])(?:{searched})(?![A-Za-z])", text, flags=re.IGNORECASE):
        yield f"{Text(source.name, text).at(found.start())}: {' '.join(found[0].split())}"


@pytest.fixture(scope="module")
def sources() -> list[Text]:
    return [*texts_of_files(), *texts_of_help()]


@pytest.mark.parametrize("search", [found_names, found_functions, found_phrases])
def test_the_old_dialect_is_gone(sources, search):
    found = [where for source in sources for where in search(source)]
    assert not found, "\n" + "\n".join(found)


def test_a_script_shows_in_its_help_what_its_parser_is_given():
    script = '''"""Doc."""\nParser(description=__doc__.strip(), epilog="Example: " f"{x} y").add("--a", help="b")'''
    assert set(texts_of_parsers(ast.parse(script))) == {"Doc.", "", "Example:  y", "b"}


def test_the_old_modules_are_gone():
    assert [name for name in MODULES if (ROOT / "swarmsim" / f"{name}.py").exists()] == []


def test_the_sources_are_the_package_the_pages_and_every_help(sources):
    names = {source.name for source in sources}
    assert names >= {"README.md", "docs/design.md", "docs/make_api.py", "swarm.yaml", "swarmsim/cli.py"}
    assert [name for name in names if name.startswith("swarmsim/") and not name.endswith(".py")]  # templates
    helps = [source for source in sources if source.name.startswith("swarmsim ")]
    assert len(helps) == 1 + len(COMMANDS)
    assert all(source.text.startswith("usage: ") for source in helps)


@pytest.mark.parametrize(
    ("search", "name", "text", "found"),
    [
        (found_names, "a.py", "# see\n# components/kept.py\n", "a.py:2: components/kept"),
        (found_names, "a.py", "from swarmsim.components.past import x", "a.py:1: components.past"),
        (found_names, "a.py", "class Care:\n    pass", "a.py:1: Care"),
        (found_names, "a.py", "def f(x: int = 1):\n    return f(shares=1)", "a.py:2: shares"),
        (found_names, "a.py", '"""Return whither\nto send."""', "a.py:1: whither"),
        (found_names, "a.py", "state['merits']", "a.py:1: merits"),
        (found_names, "a.md", "a line\nThe `Watch` waits.", "a.md:2: `Watch`"),
        (found_names, "a.py", "x = 1  # as `Sight()` has it", "a.py:1: `Sight("),
        (found_functions, "a.py", "class A:\n    def _tell_progress(self): ...", "a.py:2: def _tell_progress"),
        (found_functions, "a.py", "async def take_in(): ...", "a.py:1: def take_in"),
        (found_functions, "a.py", "def to_dict(): ...", "a.py:1: def to_dict"),
        (found_functions, "a.py", "x = 1\nfields.whole(x)", "a.py:2: whole()"),
        (found_functions, "a.py", "own('module:name')", "a.py:1: own()"),
        (found_functions, "a.html", "<script>\nfunction told(x) {}", "a.html:2: told"),
        (found_functions, "a.md", "```python\ndef tell(x): ...\n```", "a.md:2: tell"),
        (found_functions, "a.html", "<script>const say = (x) => x", "a.html:1: say"),
        (found_phrases, "a.md", "Sum in\nthe Place of it.", "a.md:1: in the Place of"),
        (found_phrases, "a.py", "x = 1\n# a list, of\n# which one", "a.py:2: of # which"),
        (found_phrases, "a.py", "x = ('what came '\n    'of it')", "a.py:1: what came ' 'of it"),
        (found_phrases, "a.md", "It has the work done.", "a.md:1: has the work done"),
        (found_phrases, "a.py", "def f(opinions): ...", "a.py:1: opinions"),
        (found_phrases, "swarmsim --help", "an env of one's own", "swarmsim --help:1: one's own"),
    ],
)
def test_each_kind_of_find_is_found_with_its_line(search, name, text, found):
    assert list(search(Text(name, text))) == [found]


@pytest.mark.parametrize(
    ("search", "name", "text"),
    [
        (found_names, "a.py", 'STATE_KEYS = {"cumulative_advantage": "merits"}'),
        (found_names, "a.md", "| `CONTRIBUTION` | a message's key |"),
        (found_names, "a.md", "Run it, and watch the share of each model. Care is needed."),
        (found_functions, "swarmsim/policy.py", "def save(self, path): ..."),
        (found_functions, "a.py", "def telling(): ...\ndef load_policy(): ...\ndef actions_taken(): ..."),
        (found_phrases, "a.md", "The work has been done. Which of them? The oldest."),
        (found_phrases, "a.md", "It has not been done. They have seen and done. It has the rounds done before."),
        (found_phrases, "a.py", 'state["opinions"]'),
    ],
)
def test_what_is_plain_english_is_not_found(search, name, text):
    assert list(search(Text(name, text))) == []


def test_what_stays_is_still_there(sources):
    everything = "\n".join(source.text for source in sources)
    assert [part for part in STAYS if part not in everything] == []
