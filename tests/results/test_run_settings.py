from swarmsim.results.run_settings import RunSettings, differing_settings, flatten, group_by_settings, group_labels

BASE = {"seed": 0, "env": "X-v0", "population": 2, "out": "here", "ppo.gamma": 0.9, "ppo.hidden": [32, 32]}


def settings(**values) -> RunSettings:
    return RunSettings({**BASE, **{name.replace("__", "."): value for name, value in values.items()}})


def test_sections_are_laid_flat():
    assert flatten({"seed": 0, "ppo": {"gamma": 0.9, "more": {"x": 1}}, "none": {}}) == {
        "seed": 0,
        "ppo.gamma": 0.9,
        "ppo.more.x": 1,
    }


def test_changed_settings_are_those_that_are_not_as_by_default():
    values = {"rounds": 7, "hidden": [32, 32], "workers": 2, "out": "here", "of_old": 1, "modules": None}
    defaults = {"rounds": 5, "hidden": (32, 32), "workers": "auto", "out": "auto", "modules": None}
    assert RunSettings(values, defaults).changed == ["rounds", "of_old"]


def test_settings_that_differ_are_told_but_for_where_the_results_are():
    runs = [settings(), settings(seed=1, out="there"), settings(ppo__gamma=0.8, population=3)]
    assert differing_settings(runs) == ["seed", "population", "ppo.gamma"]
    assert differing_settings([settings(), settings(out="there")]) == []
    assert differing_settings([RunSettings({"a": 1}), RunSettings({})]) == ["a"]


def test_runs_are_alike_but_for_their_seeds():
    runs = [settings(), settings(population=3), settings(seed=1, out="there"), settings(population=3, seed=1)]
    assert group_by_settings(runs) == [[0, 2], [1, 3]]
    assert group_labels(runs, "abcd", [[0, 2], [1, 3]]) == ["population 2", "population 3"]


def test_runs_that_differ_in_nothing_or_in_much_are_called_by_their_names():
    runs = [settings(), settings(seed=1), settings(seed=2)]
    assert group_labels(runs, ["a", "b", "c"], group_by_settings(runs)) == ["a and 2 more"]
    runs = [settings(), settings(population=3, ppo__gamma=1, ppo__hidden=[], more=1)]
    assert group_labels(runs, ["a", "b"], group_by_settings(runs)) == ["a", "b"]
