"""Settings: what a file and a call may hold, and the error sentences."""

import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml

from swarmsim.config import PRESETS, ComponentSettings, Config, ScriptSettings, make_config, merged, read_file
from swarmsim.errors import SettingsError
from swarmsim.learning.hyperparameters import A2CSettings, EvolutionSettings, PPOSettings, SACSettings
from tests.conftest import ROOT


def test_the_default_file_holds_the_defaults():
    assert make_config(read_file(ROOT / "swarm.yaml"), "swarm.yaml") == Config()


def test_the_default_file_shows_every_setting_with_its_default_and_a_comment():
    text = (ROOT / "swarm.yaml").read_text()
    shown = yaml.safe_load(re.sub(r"^(  )?# (?=\w+: )", r"\1", text, flags=re.MULTILINE))
    expected = asdict(Config())
    for of_scripts in ("settings", "components"):
        del expected[of_scripts]
    expected["wrappers"] = list(expected["wrappers"])
    expected["evolution"]["hyperparameters"] = list(expected["evolution"]["hyperparameters"])
    for of_learning in ("ppo", "a2c", "sac"):
        expected[of_learning]["hidden"] = list(expected[of_learning]["hidden"])
    assert shown == expected
    assert list(shown) == list(expected)
    for line in text.splitlines():
        if re.match(r"((  )?# )?\w+: +\S", line):
            assert line.count("#") >= 1 + line.lstrip().startswith("#"), line


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*/swarm.yaml")), ids=lambda path: path.parent.name)
def test_the_examples_files_can_be_used(path):
    assert make_config(read_file(path), str(path)) != Config()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_default_file_overrides_nothing_that_a_preset_sets(preset):
    values = read_file(ROOT / "swarm.yaml") | {"preset": preset}
    assert make_config(values, "swarm.yaml") == make_config({"preset": preset}, "here")


def test_every_setting_has_a_help_text():
    classes = A2CSettings, PPOSettings, SACSettings, EvolutionSettings, ScriptSettings, ComponentSettings
    for settings in (Config, *classes):
        assert all(field.metadata.get("help") for field in fields(settings))


def test_the_reference_preset_has_the_reference_systems_numbers():
    config = make_config({"preset": "reference"}, "here")
    assert (config.env, config.population, config.rounds, config.episodes, config.eval_episodes) == (
        "CartPole-v1", 20, 5, 20, 1,
    )  # fmt: skip
    assert config.learning is config.a2c
    assert not config.normalize_observations
    assert asdict(config.a2c) == {
        "hidden": (16, 16),
        "learning_rate": 7e-4,
        "adam_eps": 1e-5,
        "n_steps": 5,
        "gamma": 0.99,
        "gae_lambda": 1.0,
        "vf_coef": 0.5,
        "ent_coef": 0.0,
        "max_grad_norm": 0.5,
        "credit": "own",
    }
    evolution = asdict(config.evolution)
    of_other_kinds = "led_fraction", "leader", "hyperparameters", "spread", "perturbation", "copied_fraction"
    for name in (*of_other_kinds, "min_difference", "schedule"):
        del evolution[name]
    assert config.led_fraction == 0
    assert config.evolution.evolving(config.learning) == ()
    assert evolution == {
        "kind": "genetic",
        "fitness": "contribution",
        "elite_fraction": 0.0,
        "tournament_size": 3,
        "crossover": "two_point",
        "crossover_probability": 0.5,
        "mutation_probability": 0.01,
        "gene_probability": 0.01,
        "mutation_sigma": 1.0,
        "inherit_moments": False,
        "relative_sigma": False,
        "adaptive_sigma": False,
        "min_diversity": 0.0,
    }


def test_sections_are_merged_key_by_key():
    values = merged({"rounds": 3, "a2c": {"gamma": 0.9, "n_steps": 7}}, {"rounds": 4, "a2c": {"gamma": 0.8}})
    config = make_config(values, "here")
    assert (config.rounds, config.a2c.gamma, config.a2c.n_steps) == (4, 0.8, 7)


def test_numbers_that_yaml_reads_as_text_are_numbers():
    assert make_config(yaml.safe_load("a2c: {learning_rate: 7e-4}"), "here").a2c.learning_rate == 7e-4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty: it needs settings"),
        ("# nothing\n", "is empty"),
        ("- rounds\n- 5\n", "must be a mapping of settings, such as 'rounds: 5', not list"),
        ("just text", "must be a mapping of settings, such as 'rounds: 5', not str"),
        ("rounds: [5", "is not YAML at line 1"),
        ("a: b: c", "is not YAML at line 1"),
        ("\x00", "is not YAML"),
    ],
)
def test_a_file_without_settings_is_refused(tmp_path, text, sentence):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        make_config(read_file(path), str(path))
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="there is no such settings file"):
        read_file(tmp_path / "missing.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_file(tmp_path)
    Path(tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_file(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"populaton": 5}, "here: unknown key 'populaton'; known: .*; did you mean 'population'"),
        ({5: 5}, "here: unknown key 5"),
        ({"population": 0}, "here: population must be at least 1, got 0"),
        ({"population": -1}, "here: population must be at least 1, got -1"),
        ({"population": "many"}, "here: population must be a whole number, not 'many'"),
        ({"population": 2.5}, "here: population must be a whole number, not 2.5"),
        ({"population": True}, "here: population must be a whole number, not True"),
        ({"population": None}, "here: population must be a whole number, not empty"),
        ({"population": [1]}, "here: population must be a whole number, not list"),
        ({"rounds": -1}, "here: rounds must be at least 0, got -1"),
        ({"workers": "all"}, "here: workers must be a whole number or 'auto', not 'all'"),
        ({"workers": 6, "population": 5}, "here: workers must be at most the population of 5, got 6"),
        ({"link": "queue"}, "link must be 'queues' or 'inprocess' or 'sockets', not 'queue'; did you mean 'queues'"),
        ({"preset": "refrence"}, "did you mean 'reference'"),
        ({"progress": "yes"}, "here: progress must be true or false, not 'yes'"),
        ({"env": 7}, "here: env must be text, not 7"),
        ({"timeout": float("inf")}, "here: timeout must be a number"),
        ({"a2c": {"gama": 1}}, "here: a2c: unknown key 'gama'; .*did you mean 'gamma'"),
        ({"sac": {"n_steps": 5}}, "here: sac: unknown key 'n_steps'"),
        ({"sac": {"ent_coef": "car"}}, "here: sac: ent_coef must be a number or 'auto', not 'car'"),
        ({"a2c": {"gamma": 1.5}}, "here: a2c: gamma must be at most 1, got 1.5"),
        ({"a2c": {"hidden": 16}}, "here: a2c: hidden must be a list, each item a whole number, not 16"),
        ({"a2c": {"hidden": [16, 0]}}, "here: a2c: hidden must be at least 1, got 0"),
        ({"a2c": [1]}, "here: a2c must be a mapping of settings, not list"),
        ({"evolution": {"tournament_size": 0}}, "here: evolution: tournament_size must be at least 1"),
        ({"components": ["x"]}, "here: components must be a mapping of names to scripts, not list"),
        ({"components": {"x": {}}}, "here: components: x needs a filepath"),
        ({"components": {"x": {"file": "a.py"}}}, "here: components: x: unknown key 'file'; .*did you mean 'filepath'"),
        ({"settings": {"python": "x"}}, "here: settings: unknown key 'python'; .*did you mean 'python_cmd'"),
    ],
)
def test_a_wrong_key_or_value_is_refused_in_one_sentence(values, sentence):
    with pytest.raises(SettingsError, match=sentence) as caught:
        make_config(values, "here")
    assert "\n" not in str(caught.value)


def test_the_learner_follows_from_the_actions_unless_it_is_given():
    def learner(continuous, **given):
        return make_config(given, "here").with_learner(continuous=continuous).learner

    assert [learner(False), learner(True)] == ["ppo", "sac"]
    assert learner(True, aggregation="rank") == "ppo"
    assert [learner(True, learner="a2c"), learner(True, preset="reference")] == ["a2c", "a2c"]
