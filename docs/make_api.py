"""Write docs/api.md, the reference of all public names, from their docstrings: `python docs/make_api.py`."""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin

PAGE = Path(__file__).with_name("api.md")
sys.path.insert(0, str(PAGE.parent.parent))  # this repository's package, even if another one is installed

import swarmsim  # noqa: E402
from swarmsim.components.results import ComponentSnapshot, EvolutionResult, JobResult  # noqa: E402
from swarmsim.results.history import Round  # noqa: E402
from swarmsim.views.report import ComponentStatus  # noqa: E402

PUBLIC = {name: getattr(swarmsim, name) for name in sorted(swarmsim.__all__, key=str.lower)}
PASSED_TO_USERS = {
    thing.__name__: thing for thing in (Round, JobResult, EvolutionResult, ComponentStatus, ComponentSnapshot)
}
HEAD = """# All public names

This page is the reference of what `import swarmsim` offers. `python docs/make_api.py` writes it from the docstrings.

"""
BETWEEN = """# Objects that histories and reports pass on

Your code only reads these objects: a `History` holds rounds, and a `Report` receives the others.

"""
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields)(?: \(.*\))?:")
ENTRY = re.compile(r" {4}(?! )([\w*, ]+): (.*)")
LONGEST = 100


def reference() -> str:
    """Return the page."""
    return HEAD + section(PUBLIC) + BETWEEN + section(PASSED_TO_USERS).rstrip() + "\n"


def section(things: Mapping[str, Any]) -> str:
    """Return an index of names, and an entry for each."""
    index = [
        f"- [{name}](#{name.lower()}): {inspect.getdoc(thing).partition(chr(10))[0]}" for name, thing in things.items()
    ]
    return "\n".join([*index, "", *(line for name, thing in things.items() for line in entry(name, thing)), ""])


def entry(name: str, thing: Any) -> Iterator[str]:
    """Yield the lines about a name: its signature, its docstring, and a class's members."""
    yield f"## {name}\n"
    if inspect.isclass(thing) and issubclass(thing, Exception):
        yield f"An exception, a kind of `{thing.__base__.__name__}`.\n"
    elif not inspect.isclass(thing) or thing.__init__ is not object.__init__:
        yield from call(name, thing)
    yield from docstring(thing)
    if is_dataclass(thing) and all("help" in field.metadata for field in fields(thing)):
        yield "**Attributes**\n"
        yield from (f"- `{field.name}`: {field.metadata['help']}" for field in fields(thing))
        yield ""
    for member, value in members(thing).items():
        function = getattr(value, "__func__", value)
        if not member.startswith("_") and getattr(function, "__doc__", None) and hasattr(function, "__module__"):
            yield f"### `{member}`\n"
            if inspect.isfunction(function):
                yield from call(member, function)
            yield from docstring(function)


def members(thing: Any) -> dict[str, Any]:
    """Return what a class has, and before that what it has from bases of this package that are not on the page."""
    classes = thing.__mro__ if inspect.isclass(thing) else ()
    bases = [c for c in classes[1:] if c.__module__.startswith("swarmsim.") and c not in PUBLIC.values()]
    return {name: value for cls in (*bases, *classes[:1]) for name, value in vars(cls).items()}


def call(name: str, function: Any) -> Iterator[str]:
    """Yield a function's signature, with a line for each parameter if one line is too short for all."""
    signature = inspect.signature(function)
    shown, is_by_name = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_by_name:
            shown.append("*")
        is_by_name |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        if parameter.name not in ("self", "cls"):
            shown.append(str(parameter.replace(annotation=Plain(parameter.annotation))))
    returned = signature.return_annotation
    end = (
        ")"
        if inspect.isclass(function) or returned in (None, "None", inspect.Signature.empty)
        else f") -> {Plain(returned)!r}"
    )
    text = f"{name}({', '.join(shown)}{end}"
    if len(text) > LONGEST:
        text = "\n".join((f"{name}(", *(f"    {part}," for part in shown), end))
    yield f"```text\n{text}\n```\n"


class Plain:
    """An annotation without the modules of its names."""

    def __init__(self, annotation: Any) -> None:
        if get_origin(annotation) is Union:  # versions of Python show it differently
            self.text = " | ".join(repr(Plain(part)) for part in get_args(annotation))
        else:
            self.text = inspect.formatannotation(annotation).strip("'")

    def __repr__(self) -> str:
        bare = re.sub(r"\b(?:[a-z_]\w*\.)+", "", self.text)
        return re.sub(r"ndarray\[.*?, dtype\[(\w+)\]\]", r"NDArray[\1]", bare)  # versions of numpy show it differently


def docstring(thing: Any) -> Iterator[str]:
    """Yield a docstring as Markdown; its sections become lists."""
    for line in inspect.getdoc(thing).splitlines():
        item = ENTRY.match(line)
        if SECTION.fullmatch(line):
            yield f"**{line.removesuffix(':')}**\n"
        elif item:
            yield f"- `{item[1]}`: {item[2]}"
        else:
            yield f"  {line.strip()}" if line.startswith(" " * 8) else line.strip()
    yield ""


if __name__ == "__main__":
    PAGE.write_text(reference())
    print(PAGE)
