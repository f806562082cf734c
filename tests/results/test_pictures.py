import dataclasses
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import PathPatch

from swarmsim.results import pictures
from swarmsim.results.flows import flows_of
from swarmsim.results.history import History
from swarmsim.results.pictures import curves, population, rooms, scores, write_pictures
from tests.results.rounds import SETTINGS, a_round

MESSAGES = {
    "observation": {"environment": {"models0-9": 40_000, "models10-19": 40_000}},
    "logits": {"models0-9": {"aggregation": 40_000}, "models10-19": {"aggregation": 40_000}},
    "action": {"aggregation": {"environment": 40_000}},
    "control": {
        "control": {"environment": 15, "aggregation": 15, "evolution": 5},
        "environment": {"control": 15, "aggregation": 15, "evolution": 15},
        "evolution": {"control": 5, "environment": 5, "aggregation": 5},
    },
    "evolution": {"evolution": {"models0-9": 10, "models10-19": 10, "aggregation": 5}},
    "": {"models0-9": {"evolution": 10}, "models10-19": {"evolution": 10}, "environment": {"control": 60}},
    "_command": {"control": {"environment": 5, "evolution": 5}, "models0-9": {"environment": 1, "control": 1}},
}


def a_history(n_rounds=3, population=2, messages=None, **settings) -> History:
    draw = np.random.default_rng(0)
    rounds = [
        a_round(
            number,
            train_score=10.0 * number,
            eval_score=10.0 * number + 1,
            eval_score_evolved=10.0 * number + 2,
            contribution={f"model{i}": share for i, share in enumerate(draw.dirichlet(np.full(population, 9.0)))},
        )
        for number in range(1, n_rounds + 1)
    ]
    return History({**SETTINGS, "population": population, **settings}, rounds=rounds, messages=messages or {})


def texts_of(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def lines_of(axes) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines}


# --- scores


def test_the_scores_are_those_of_each_round_and_every_episode():
    picture = scores(a_history(3, env="CartPole-v1"))
    (axes,) = picture.axes
    assert axes.get_title() == "Scores of each round\nCartPole-v1, 2 models acting as one, seed 0"
    assert lines_of(axes) == {
        "training, mean": [10, 20, 30],
        "evaluation before evolution": [11, 21, 31],
        "evaluation after evolution": [12, 22, 32],
    }
    dots = axes.collections[0].get_offsets()
    assert dots[:, 1].tolist() == [9, 11] * 3
    assert np.round(dots[:, 0]).tolist() == [1, 1, 2, 2, 3, 3]
    assert axes.get_xlabel() == "round, its training episodes from left to right"
    shown = {text.get_text() for text in picture.legends[0].get_texts()}
    assert shown == {*lines_of(axes), "training episode"}


def test_evaluations_within_training_are_at_their_steps_within_the_round():
    history = a_history(2)
    history.rounds[1] = dataclasses.replace(history[1], evaluations=[[25, 3.0], [30, 4.0]])
    (axes,) = scores(history).axes
    (line,) = (line for line in axes.lines if line.get_label() == "evaluation within training")
    assert line.get_xydata().tolist() == [[1.75, 3.0], [2.0, 4.0]]


def test_the_score_from_which_an_environment_is_solved_is_a_line_where_it_is_known():
    (axes,) = scores(a_history(reward_threshold=475.0)).axes
    assert lines_of(axes)["solved from 475 on"] == [475, 475]
    for unknown in ({}, {"reward_threshold": None}):
        (axes,) = scores(a_history(**unknown)).axes
        assert len(axes.lines) == 3


def test_the_legend_hides_no_data():
    picture = scores(a_history())
    picture.draw_without_rendering()
    assert picture.legends[0].get_window_extent().y1 <= picture.axes[0].get_window_extent().y0


@pytest.mark.parametrize("n_rounds", [1, 2, 50, 100])
def test_the_ticks_are_whole_rounds_and_not_too_many(n_rounds):
    for picture in (scores(a_history(n_rounds)), population(a_history(n_rounds))):
        picture.draw_without_rendering()
        axes = next(axes for axes in reversed(picture.axes) if axes.get_xlabel().startswith("round"))
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert 1 <= len(ticks) <= 11
        assert all(tick == round(tick) for tick in ticks)


# --- the population


def test_the_shares_of_all_models_are_shown_by_number_and_round():
    history = a_history(4, population=12)
    above, below, bar = population(history).axes
    (image,) = above.images
    shares = image.get_array()
    assert shares.shape == (12, 4)
    for column, r in enumerate(history):
        for number in range(12):
            assert shares[number, column] == pytest.approx(100 * r.contribution[f"model{number}"])
    assert "share of the decisions, %" in bar.get_ylabel()
    assert "equal share, 8.33 %" in bar.get_ylabel()
    assert lines_of(bar).popitem()[1] == pytest.approx([100 / 12] * 2)
    assert list(below.lines[0].get_ydata()) == [0.1] * 4
    assert [label.get_text() for label in below.get_yticklabels()] == ["0: agree in all", "0.5", "1: disagree in all"]


def test_a_model_that_was_not_there_is_grey_and_told_of():
    history = a_history(3, population=4)
    del history[1].contribution["model2"]
    above = population(history).axes[0]
    shares = above.images[0].get_array()
    assert np.argwhere(np.ma.getmaskarray(shares)).tolist() == [[2, 1]]
    assert above.images[0].to_rgba(shares)[2, 1].tolist() == pytest.approx(to_rgba("#D0D0D0"), abs=0.01)
    assert "grey: not there" in above.get_title()
    assert "grey" not in population(a_history()).axes[0].get_title()


@pytest.mark.parametrize(("n_models", "n_rounds"), [(1, 1), (1, 3), (3, 1), (1000, 100)])
def test_a_population_of_any_size_is_drawn(n_models, n_rounds):
    picture = population(a_history(n_rounds, population=n_models))
    picture.draw_without_rendering()
    above = picture.axes[0]
    assert above.images[0].get_array().shape == (n_models, n_rounds)
    low, high = above.images[0].get_clim()
    assert low < high <= 100
    labels = [label.get_text() for label in above.get_yticklabels() if label.get_text()]
    assert labels == [str(int(label)) for label in labels]
    assert 1 <= len(labels) <= 10


# --- rooms


def test_every_number_of_messages_is_written_by_kind_of_component():
    (axes,) = rooms(a_history(population=20, messages=MESSAGES)).axes
    texts = texts_of(axes)
    assert texts.count("20 models") == 2
    assert texts.count("2 processes") == 2
    for text in ("observation: 80,000", "logits: 80,000", "action: 40,000", "control: 95", "directly: 80"):
        assert text in texts
    for text in ("_command: 12", "who comes and goes", "to one alone", "sent by", "taken by"):
        assert text in texts
    assert texts.count("80,000") == 4
    assert "60" in texts
    assert axes.get_title().endswith("\nX-v0, 20 models acting as one, seed 0")


def test_a_ribbon_grows_with_the_square_root_of_its_number():
    messages = {"hall": {"talker": {"listener": 400}, "whisperer": {"listener": 100}}}
    (axes,) = rooms(a_history(messages=messages)).axes
    outlines = [patch.get_path().vertices[:, 1] for patch in axes.patches if type(patch) is PathPatch]
    thin, thick, both = sorted(abs(outline[0] - outline[-2]) for outline in outlines)
    assert [thick, both] == pytest.approx([2 * thin, 5**0.5 * thin])


def test_numbers_of_kinds_are_the_sums_of_their_processes():
    flows = flows_of({**MESSAGES, "idle": {"environment": {"control": 0}}})
    assert flows.sent["model", "logits"] == 80_000
    assert flows.received["observation", "model"] == 80_000
    assert flows.received["directly", "evolution"] == 20
    assert sum(flows.sent.values()) == sum(flows.received.values())
    assert flows.rooms == ["observation", "logits", "action", "control", "evolution", "directly", "_command"]
    assert flows.senders[:3] == ["environment", "model", "aggregation"]
    assert flows.receivers[:3] == ["model", "aggregation", "environment"]


MANY = {f"room {i}": {f"{'x' * i}-sender": {f"{'y' * i}-taker": 5**i, "all": 7}} for i in range(1, 12)}


@pytest.mark.parametrize("messages", [MESSAGES, MANY, {"$x$": {"a_{b}": {"$": 10**9, "c": 1}}}])
def test_no_text_of_the_rooms_lies_upon_another_or_outside(messages):
    picture = rooms(a_history(messages=messages))
    picture.draw_without_rendering()
    (axes,) = picture.axes
    boxes = [(text.get_text(), text.get_window_extent()) for text in [*axes.texts, axes.title]]
    for (one, box), (other, its_box) in combinations(boxes, 2):
        assert not box.shrunk(0.95, 0.8).overlaps(its_box.shrunk(0.95, 0.8)), f"{one!r} lies upon {other!r}"
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.x1 <= picture.bbox.x1, text
        assert box.y0 >= 0, text
        assert box.y1 <= picture.bbox.y1, text


# --- curves


def test_runs_of_several_seeds_have_a_median_and_all_of_them_are_shown():
    three = [a_history(n_rounds, reward_threshold=30.0) for n_rounds in (3, 3, 2)]
    three[0].rounds[0] = a_round(1, eval_score_evolved=100.0, env_steps=50)
    (axes,) = curves("X-v0", {"these": three, "that": [a_history(1)]}).axes
    lines = lines_of(axes)
    assert lines["these (median of 3 runs)"] == [12, 22]
    assert lines["that"] == [12]
    assert lines["solved from 30 on"] == [30, 30]
    thin = [list(line.get_ydata()) for line in axes.lines if line.get_linewidth() == 1]
    assert thin == [[100, 22, 32], [12, 22, 32], [12, 22]]
    assert list(axes.lines[0].get_xdata()) == [50, 40, 60]
    assert axes.get_xlabel() == "training steps of the environment"


# --- files


def test_the_pictures_are_files_where_there_is_something_to_show(tmp_path):
    assert write_pictures(History(SETTINGS), tmp_path) == []
    assert [path.name for path in write_pictures(a_history(), tmp_path)] == ["scores.png", "population.png"]
    paths = write_pictures(History(SETTINGS, messages=MESSAGES), tmp_path)
    assert paths == [tmp_path / "rooms.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["population.png", "rooms.png", "scores.png"]
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_without_told_shares_there_is_no_picture_of_them(tmp_path):
    history = History(SETTINGS, rounds=[a_round(1, contribution={})])
    assert list(pictures.draw_all(history)) == ["scores"]


def test_a_picture_shows_itself_in_a_notebook_without_pyplot():
    assert scores(a_history())._repr_png_().startswith(b"\x89PNG")
