"""Users' modules are known by their paths: each project has its own, and an edited file counts at once."""

import sys

import pytest

import swarmsim
from swarmsim.cli import main
from swarmsim.policy import load_policy
from tests.conftest import long_after
from tests.faults.projects import SETTINGS, reward_of, write, write_task

ADD_LIB = "import sys, pathlib; sys.path.append(str(pathlib.Path(__file__).parent / 'lib')); from value import R"
FORMS = {
    "a module": ("my_task", None, {"reward": "VALUE"}, "my_task:Task"),
    "a module with a sibling": ("my_task", "value", {"top": "from value import R"}, "my_task:Task"),
    "a sibling imported in a step": ("my_task", "value", {"step": "from value import R"}, "my_task:Task"),
    "a sibling in a folder that it adds": ("my_task", "lib/value", {"top": ADD_LIB}, "my_task:Task"),
    "a package": ("package/task", "package/value", {"top": "from .value import R"}, "package.task:Task"),
    "a package without __init__": (
        "space/task",
        "space/value",
        {"top": "from space.value import R"},
        "space.task:Task",
    ),
    "a name of the standard library": ("test", None, {"reward": "VALUE"}, "test:Task"),
    "a registered id": ("my_task", None, {"reward": "VALUE", "top": "REGISTER"}, "my_task:Task-v0"),
}
REGISTER = "gymnasium.register('Task-v0', entry_point='my_task:Task')"


def make_project(folder, form, value):
    """Write a project whose environment returns `value`, and return what names it."""
    task, sibling, parts, env = FORMS[form]
    reward = parts.get("reward", "R").replace("VALUE", str(value))
    top = parts.get("top", "").replace("REGISTER", REGISTER)
    write_task(folder / f"{task}.py", reward, top=top, step=parts.get("step", "pass"))
    if task.startswith("package"):
        write(folder / "package" / "__init__.py", "")
    if sibling is not None:
        write(folder / f"{sibling}.py", f"R = {value}\n")
    return env


@pytest.mark.parametrize("form", FORMS)
def test_each_project_plays_its_own_modules_of_a_name(tmp_path, form):
    modules, path, finders = dict(sys.modules), list(sys.path), list(sys.meta_path)
    for folder, value in (("a", 1), ("b", 2)):
        env = make_project(tmp_path / folder, form, value)
    assert [reward_of(tmp_path / folder, env) for folder in "aba"] == [1, 2, 1]
    tops = {name.partition(".")[0] for name in sys.modules.keys() - modules.keys()}
    assert not tops & {"my_task", "value", "package", "space"}
    assert (sys.path, sys.meta_path) == (path, finders)


@pytest.mark.parametrize("form", long_after(5, list(FORMS)))
def test_an_edited_file_counts_in_the_next_run(tmp_path, form):
    env = make_project(tmp_path, form, 1)
    assert reward_of(tmp_path, env) == 1
    make_project(tmp_path, form, 2)  # of the same size, in the same second
    assert reward_of(tmp_path, env) == 2


def test_an_edited_sibling_counts_where_the_program_has_imported_both_and_keeps_its_own(in_tmp_path, monkeypatch):
    write_task(in_tmp_path / "task_of_a_program.py", "R", top="from value_of_a_program import R")
    write(in_tmp_path / "value_of_a_program.py", "R = 1\n")
    monkeypatch.syspath_prepend(str(in_tmp_path))
    import task_of_a_program as mine

    env = "task_of_a_program:Task"
    assert reward_of(env=env) == 1
    write(in_tmp_path / "value_of_a_program.py", "R = 22\n")
    assert reward_of(env=env) == 22
    assert reward_of(env=mine.Task) == 1  # what a program gives itself is used as it is
    assert sys.modules["task_of_a_program"] is mine
    for name in ("task_of_a_program", "value_of_a_program"):
        monkeypatch.delitem(sys.modules, name)


def test_classes_of_a_project_can_be_pickled_in_it(tmp_path):
    step = "import pickle; assert type(pickle.loads(pickle.dumps(self))) is type(self)"
    for folder, value in (("a", 1), ("b", 2)):
        write_task(tmp_path / folder / "my_task.py", value, step=step)
        assert reward_of(tmp_path / folder) == value


def test_processes_play_their_own_project_too(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        env = make_project(tmp_path / folder, "a sibling imported in a step", value)
        assert reward_of(tmp_path / folder, env, link="queues") == value


@pytest.mark.long
def test_spawned_processes_play_their_own_project_too(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        env = make_project(tmp_path / folder, "a sibling imported in a step", value)
        assert reward_of(tmp_path / folder, env, link="queues", start_method="spawn") == value


@pytest.mark.long
def test_policies_of_two_projects_each_use_their_own_rule(tmp_path):
    policies = []
    for folder, index in (("a", 0), ("b", -1)):
        write(tmp_path / folder / "value.py", f"INDEX = {index}\n")
        rule = "def rule(p):\n    from value import INDEX\n    return p[INDEX] ** 50\n"  # one model decides
        write(tmp_path / folder / "rules.py", rule)
        settings = {**SETTINGS, "modules": str(tmp_path / folder), "out": str(tmp_path / folder / "run")}
        swarmsim.run(**settings, aggregation="rules:rule")
        policies.append(load_policy(tmp_path / folder / "run"))
    (tmp_path / "a" / "rules.py").unlink()
    for policy, index in zip(policies, (0, 1), strict=True):
        for observation in ([0.1, 1, 0.1, 1], [-0.1, -1, -0.1, -1], [1, -1, 0, 2]):
            alone = policy.member(index).predict(observation, deterministic=True)[0]
            assert policy.predict(observation, deterministic=True)[0] == alone


def test_a_moved_project_is_resumed_exported_and_shown_from_anywhere(tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    write_task(old / "my_task.py", 3)
    write(old / "swarm.yaml", "env: my_task:Task\nrounds: 1\npopulation: 2\nepisodes: 1\nlink: inprocess\n")
    monkeypatch.chdir(old)
    assert main(["--no-progress", "--out", "runs/x"]) == 0
    monkeypatch.chdir(tmp_path)
    old.rename(new)
    assert main(["--resume", "new/runs/x", "--rounds", "2", "--no-progress"]) == 0
    for command in ("export", "inspect"):
        assert main([command, "new/runs/x"]) == 0
    (new / "runs" / "x").rename(tmp_path / "alone")
    assert main(["--resume", "alone", "--rounds", "3", "--config", "new/swarm.yaml", "--no-progress"]) == 0
