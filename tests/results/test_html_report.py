from html.parser import HTMLParser
from pathlib import Path

import pytest

from swarmsim.results.history import History
from swarmsim.results.html_report import html_report
from swarmsim.results.run_settings import RunSettings
from tests.results.rounds import SETTINGS, a_round
from tests.results.test_history import FAILURE

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """A page that has been read: texts by class, attributes that lead somewhere, and whether its tags match."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[tuple[str, list[str]]] = []
        self.cells: dict[str, list[str]] = {}
        self.links: list[str] = []
        self.images: list[dict] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        self.links += [found[name] for name in ("href", "src", "action", "data", "srcset") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        self.images += [found] if tag == "img" else []
        if tag not in VOID:
            classes = found.get("class", "").split()
            self.open.append((tag, classes))
            for name in classes:
                self.cells.setdefault(f"{tag}.{name}", []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.text += data
        for tag, classes in self.open:
            for name in classes:
                self.cells[f"{tag}.{name}"][-1] += data


def a_history(n_rounds=2, name="run", failures=(), **settings) -> History:
    rounds = [
        a_round(number, eval_score=20.0 * number, eval_score_evolved=21.5 * number) for number in range(1, n_rounds + 1)
    ]
    return History({**SETTINGS, **settings}, Path("/there", name), rounds, wall_seconds=75.0, failures=list(failures))


def settings_of(history: History) -> RunSettings:
    values = {"rounds": 5, **{name: history.settings[name] for name in SETTINGS}}
    return RunSettings(values, {**SETTINGS, "rounds": 5, "population": 20}, {"python": "3.11.7"})


def page_of(*histories: History) -> Page:
    return Page(html_report(histories, [settings_of(history) for history in histories]))


def test_a_run_is_reported_with_its_headline_numbers_and_rounds():
    page = page_of(a_history(reward_threshold=40.0))
    numbers = {kind: page.cells[f"dd.{kind}"] for kind in ("final-score", "best-score", "solved", "n-rounds")}
    assert numbers == {
        "final-score": ["43.0"],
        "best-score": ["43.0"],
        "solved": ["in round 2, after 40 training steps"],
        "n-rounds": ["2 of 5"],
    }
    assert page.cells["dd.total-steps"] == ["40"]
    assert page.cells["dd.speed"] == ["40"]
    assert page.cells["dd.wall-time"] == ["1 min 15 s"]
    assert page.cells["dd.n-failures"] == ["none"]
    assert page.cells["td.eval"] == ["20.0", "40.0"]
    assert page.cells["td.eval-evolved"] == ["21.5", "43.0"]
    assert page.cells["p.title"] == ["X-v0, 2 models acting as one, seed 0, in 1 process, link queues, preset default"]


@pytest.mark.parametrize(("threshold", "told"), [(None, "no threshold known"), (99.5, "no, needs 99.5")])
def test_whether_a_run_is_solved_is_told_as_far_as_it_is_known(threshold, told):
    assert page_of(a_history(reward_threshold=threshold)).cells["dd.solved"] == [told]


def test_a_page_needs_nothing_but_itself():
    one, other = a_history(name="one"), a_history(name="other", seed=1)
    one.messages = {"hall": {"a": {"b": 3}}}
    page = page_of(one, other)
    assert not page.tags & {"script", "iframe", "object", "embed", "audio", "video", "base", "form"}
    for link in page.links:
        assert link.startswith(("#", "data:"))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    source = html_report([one, other], [settings_of(one), settings_of(other)])
    assert "://" not in source
    assert "url(" not in source
    assert "@import" not in source


def test_every_picture_of_a_run_is_in_the_page_with_a_text_in_its_place():
    history = a_history()
    history.messages = {"hall": {"a": {"b": 3}}}
    page = page_of(history)
    assert [image["class"] for image in page.images] == ["scores", "population", "rooms"]
    assert all(image["alt"] and image["src"].startswith("data:image/png;base64,iVBOR") for image in page.images)


def test_whatever_texts_hold_they_stay_texts():
    evil = "<script>alert('\"&')</script>"
    failure = {**FAILURE, "component": evil, "error": evil, "message": evil, "traceback": evil}
    history = a_history(name=evil.replace("/", "|"), env=evil, preset=evil, failures=[failure])
    for others in ([], [a_history()]):
        page = page_of(history, *others)
        assert "script" not in page.tags
        assert evil.replace("/", "|") in page.text
        assert page.cells["p.title"][0].startswith(evil)
        assert page.text.count(evil) > 4


def test_a_run_without_a_round_says_so():
    page = page_of(History({**SETTINGS, "reward_threshold": None}, Path("run")))
    assert page.cells["p.no-round"] == ["No round has ended so far."]
    assert page.cells["dd.final-score"] == ["–"]
    assert page.cells["dd.n-rounds"] == ["0 of 5"]
    assert page.images == []


def test_failures_are_told_with_what_became_of_them_and_where_they_happened():
    lost = {**FAILURE, "healed": False, "traceback": "Traceback: here", "round": 3}
    page = page_of(a_history(failures=[FAILURE, lost]))
    assert page.cells["b.fate"] == ["the run went on", "the run ended with it"]
    assert "round 2, train: models0-1 failed: ProcessEnded: it was killed" in page.cells["details.failure"][0]
    assert "Traceback: here" in page.cells["details.failure"][1]
    assert page.cells["dd.n-failures"] == ["2, 1 healed"]


def test_settings_that_are_not_as_by_default_come_first():
    page = page_of(a_history())
    first = [page.cells[f"td.{column}"][0] for column in ("setting", "value", "default")]
    assert first == ["population", "2", "20"]
    assert "population" in page.cells["table.changed"][0]
    assert "rounds" in page.cells["table.unchanged"][0]
    assert page.cells["p.versions"] == ["Begun with python 3.11.7."]


def test_several_runs_are_compared_in_what_they_differ():
    page = page_of(a_history(1, "short"), a_history(2, "long", seed=1), a_history(2, "big", population=3))
    assert page.cells["td.name"] == ["short", "long", "big"]
    assert page.cells["td.final-score"] == ["21.5", "43.0", "43.0"]
    assert page.cells["th.setting"][0] == "setting"
    found = [page.cells[f"td.{column}"] for column in ("run-1", "run-2", "run-3")]
    names = page.cells["td.setting"]
    assert list(zip(names, *found, strict=False)) == [("seed", "0", "1", "0"), ("population", "2", "2", "3")]
    assert [image["class"] for image in page.images][:1] == ["curves"]
    assert page.ids == ["comparison", "run-1", "run-2", "run-3"]


def test_of_runs_that_differ_in_their_seeds_alone_the_median_is_told():
    runs = [a_history(n, f"seed{n}", seed=n, reward_threshold=60.0) for n in (1, 2, 3)]
    page = page_of(*runs, a_history(1, "big", population=3, seed=1))
    cells = {name: page.cells[f"td.{name}"] for name in ("label", "seeds", "last-scores", "median", "n-solved")}
    assert cells == {
        "label": ["population 2"],
        "seeds": ["1, 2, 3"],
        "last-scores": ["21.5, 43.0, 64.5"],
        "median": ["43.0"],
        "n-solved": ["1 of 3"],
    }


def test_different_environments_have_pictures_of_their_own():
    page = page_of(a_history(1, "a"), a_history(1, "b", env="Y-v0"), a_history(0, "c", env="Z-v0"))
    assert [image["alt"] for image in page.images if image["class"] == "curves"] == [
        "Evaluations on X-v0 over training steps, of all runs",
        "Evaluations on Y-v0 over training steps, of all runs",
    ]


def test_runs_in_directories_of_the_same_name_are_told_apart():
    page = page_of(a_history(name="a/run"), a_history(name="b/run"))
    assert page.cells["td.name"] == ["/there/a/run", "/there/b/run"]
