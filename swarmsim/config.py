"""All settings of a run and of a swarm: validated dataclasses, made from YAML and flags."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from swarmsim.errors import SettingsError, unknown
from swarmsim.learning.hyperparameters import (
    A2CSettings,
    EvolutionSettings,
    LearningSettings,
    PPOSettings,
    SACSettings,
)
from swarmsim.learning.rules import RULES
from swarmsim.results.run_directory import has_module, read_settings, references
from swarmsim.settings import checked, parse_yaml, setting, user_path

USUAL_ENVS = 4  # more save time, but are less often full near the end of a round

DEFAULT_FILE = "swarm.yaml"
CHANGEABLE = (  # in a resumed run, since no result depends on them
    "rounds", "link", "modules", "progress", "verbose", "live", "live_port", "tensorboard", "timeout", "start_timeout",
    "max_restarts", "checkpoints",
)  # fmt: skip
Preset = Literal["default", "reference"]


@dataclass(frozen=True)
class ScriptSettings:
    """How `Swarm` runs scripts: the section `settings`, as in the reference system."""

    python_cmd: str = setting("python", "Python interpreter of scripts; python: a process forked from the launcher")
    python_envpath: str | None = setting(None, "prefix of python_cmd, for example '.venv/bin/'")
    julia_envpath: str | None = setting(None, "accepted and not used: all components are Python scripts")
    terminal_cmd: str | None = setting(None, "command that opens a terminal for each script, for example 'xterm -e'")


@dataclass(frozen=True)
class ComponentSettings:
    """One script of a swarm: an entry of the section `components`, as in the reference system."""

    filepath: str = setting("", "Python file, relative to the folder of the settings file")
    delay: float | None = setting(None, "pause after its start, seconds, ≥ 0", minimum=0)
    envpath: str | None = setting(None, "prefix of its python_cmd")
    python_cmd: str | None = setting(None, "its Python interpreter")
    terminal_cmd: str | None = setting(None, "command that opens a terminal for it")


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    rounds: int = setting(5, "rounds of training and evolution, ≥ 0", minimum=0)
    population: int = setting(20, "population size, models, ≥ 1", minimum=1)
    episodes: int = setting(20, "training episodes per round, ≥ 1", minimum=1)
    eval_episodes: int = setting(1, "episodes per evaluation, ≥ 1", minimum=1)
    eval_every: int | None = setting(
        None, "training steps between further evaluations, ≥ 1", minimum=1, metavar="STEPS"
    )
    eval_deterministic: bool = setting(True, "whether evaluations take the most probable action, not a sampled one")
    env: str = setting("CartPole-v1", "environment: a Gymnasium id, module:id, or module:Class")
    env_kwargs: Mapping[str, Any] = setting({}, "keyword arguments of the environment")
    wrappers: tuple[str, ...] = setting((), "wrappers around the environment, innermost first, each module:name")
    max_episode_steps: int | None = setting(
        None, "steps after which an episode is truncated, ≥ 1; default: the environment's own limit", minimum=1
    )
    eval_env: Literal["auto", "own", "shared"] = setting(
        "auto",
        "environments of evaluations: own, shared with training, or auto (own; shared if no second one can be made)",
    )
    on_bad_value: Literal["fail", "drop"] = setting(
        "fail", "what to do with a reward or observation that is not finite: fail (end the run) or drop (the episode)"
    )
    aggregation: str = setting(
        "sum", f"rule that combines the models' action distributions: {', '.join(RULES)}, or module:function"
    )
    envs: int | Literal["auto"] = setting("auto", f"training episodes at once, ≥ 1; auto: {USUAL_ENVS}", minimum=1)
    workers: int | Literal["auto"] = setting(
        "auto", "model processes, 1 to population; auto: by the work per step and the number of cores", minimum=1
    )
    link: Literal["queues", "inprocess", "sockets"] = setting(
        "queues", "how messages travel: queues, sockets (TCP), or inprocess (all components in one process)"
    )
    preset: Preset = setting("default", "settings to start from: default, or reference (the reference system's)")
    learner: Literal["auto", "ppo", "a2c", "sac"] = setting(
        "auto",
        "learning algorithm: ppo (with experience replay), a2c, sac (off-policy, for continuous actions), "
        "or auto (sac for continuous actions under the rule sum, else ppo)",
    )
    normalize_observations: bool = setting(
        False, "whether observations are normalized by their running mean and standard deviation"
    )
    seed: int = setting(0, "seed of all random numbers, ≥ 0", minimum=0)
    out: str | None = setting("auto", "run directory; auto: runs/ENV-DATE-TIME", is_path=True)
    modules: str | None = setting(None, "folder of your own modules; default: the settings file's folder", is_path=True)
    start_method: Literal["fork", "spawn"] = setting("fork", "start method of component processes: fork or spawn")
    progress: bool = setting(True, "whether to show progress bars, if stderr is a terminal")
    verbose: bool = setting(False, "print the states of all components on stderr")
    live: bool = setting(False, "show the run on a live web page")
    live_port: int = setting(8901, "port of the live page, 0 to 65535; if in use, a free one", minimum=0, maximum=65535)
    tensorboard: bool = setting(False, "write TensorBoard events into the run directory")
    timeout: float = setting(
        60.0, "seconds without progress after which components that do not answer are declared dead, ≥ 0.1", minimum=0.1
    )
    start_timeout: float = setting(
        60.0, "seconds that a component may take to start, and each of its environments besides, ≥ 0.1", minimum=0.1
    )
    restart: Literal["on-failure", "never"] = setting(
        "on-failure", "restart policy for components that died: on-failure or never"
    )
    max_restarts: int = setting(3, "maximum restarts of each component per round, ≥ 0", minimum=0)
    checkpoints: int = setting(3, "checkpoints to keep, one per round, ≥ 1", minimum=1)
    ppo: PPOSettings = field(default_factory=PPOSettings, metadata={"help": "learner ppo"})
    a2c: A2CSettings = field(default_factory=A2CSettings, metadata={"help": "learner a2c"})
    sac: SACSettings = field(default_factory=SACSettings, metadata={"help": "learner sac"})
    evolution: EvolutionSettings = field(default_factory=EvolutionSettings, metadata={"help": "evolution"})
    settings: ScriptSettings = field(default_factory=ScriptSettings, metadata={"help": "how Swarm runs scripts"})
    components: Mapping[str, ComponentSettings] = field(default_factory=dict, metadata={"help": "scripts of Swarm"})

    @property
    def references(self) -> tuple[str, ...]:
        """The settings that name an object of a module, as `module:name`."""
        return references(vars(self))

    @property
    def n_envs(self) -> int:
        """The training episodes side by side, unless fewer environments can be made."""
        return USUAL_ENVS if self.envs == "auto" else self.envs

    @property
    def learning(self) -> LearningSettings:
        """The settings of the chosen learner; it must be chosen (`with_learner`)."""
        return {"ppo": self.ppo, "a2c": self.a2c, "sac": self.sac}[self.learner]

    def with_learner(self, *, continuous: bool) -> "Config":
        """Return the settings with a learner chosen for such actions, if it is still to be chosen.

        sac has no use for another rule than the default: its swarm takes the action that all critics rate highest.
        """
        if self.learner != "auto":
            return self
        return replace(self, learner="sac" if continuous and self.aggregation == "sum" else "ppo")

    @property
    def led_fraction(self) -> float:
        """Fraction of training episodes that one model leads; 0 if nothing depends on their returns."""
        of_use = (
            self.evolution.kind != "genetic" or self.evolution.fitness == "return" or self.aggregation == "weighted"
        )
        return self.evolution.led_fraction if of_use else 0.0


# Values of each preset that differ from the defaults.
PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "default": {},
    "reference": {
        "envs": 1,
        "learner": "a2c",
        "a2c": {"credit": "own"},
        "evolution": {
            "kind": "genetic",
            "fitness": "contribution",
            "elite_fraction": 0.0,
            "crossover": "two_point",
            "crossover_probability": 0.5,
            "mutation_probability": 0.01,
            "gene_probability": 0.01,
            "mutation_sigma": 1.0,
            "inherit_moments": False,
            "relative_sigma": False,
            "adaptive_sigma": False,
            "min_diversity": 0.0,
        },
    },
}

_OF_SCRIPTS = ("settings", "components")
_SECTIONS = ("ppo", "a2c", "sac", "evolution", *_OF_SCRIPTS)


def read_file(path: str | Path) -> dict[str, Any]:
    """Return a YAML file's settings, unchecked; raises SettingsError if it is not a readable, non-empty mapping."""
    path = user_path(path)
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such settings file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SettingsError(f"{path} is not YAML{line}: {problem}") from None
    if values is None:
        raise SettingsError(f"{path} is empty: it needs settings such as 'rounds: 5'")
    if not isinstance(values, Mapping):
        raise SettingsError(f"{path} must be a mapping of settings, such as 'rounds: 5', not {type(values).__name__}")
    return _with_folder(values, path.resolve().parent)


def _with_folder(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Return `values` with an absolute folder of modules; by default it is `base`, if they name a module."""
    folder = values.get("modules")
    if isinstance(folder, str) or (folder is None and references(values)):
        return {**values, "modules": str((base / user_path(folder or "")).resolve())}
    return dict(values)


def make_config(values: Mapping[str, Any], where: str) -> Config:
    """Return the Config of `values` over its preset's; raises SettingsError, naming their source `where`."""
    preset = checked(Config, {key: values[key] for key in ("preset",) if key in values}, where)
    values = merged(PRESETS[preset.get("preset", "default")], values)
    flat = checked(Config, {key: value for key, value in values.items() if key not in _SECTIONS}, where)
    sections = {key: {} if values.get(key) is None else values[key] for key in _SECTIONS}
    components = sections["components"]
    if not isinstance(components, Mapping):
        raise SettingsError(
            f"{where}: components must be a mapping of names to scripts, not {type(components).__name__}"
        )
    config = Config(
        **flat,
        ppo=PPOSettings(**checked(PPOSettings, sections["ppo"], f"{where}: ppo")),
        a2c=A2CSettings(**checked(A2CSettings, sections["a2c"], f"{where}: a2c")),
        sac=SACSettings(**checked(SACSettings, sections["sac"], f"{where}: sac")),
        evolution=EvolutionSettings(**checked(EvolutionSettings, sections["evolution"], f"{where}: evolution")),
        settings=ScriptSettings(**checked(ScriptSettings, sections["settings"], f"{where}: settings")),
        components={str(name): _component(name, script, where) for name, script in components.items()},
    )
    evolvable = PPOSettings.of_each_model  # which has all that other learners have
    for name in config.evolution.hyperparameters:
        if name not in evolvable:
            raise SettingsError(f"{where}: evolution: hyperparameters: {unknown('hyperparameter', name, evolvable)}")
    if config.workers != "auto" and config.workers > config.population:
        raise SettingsError(
            f"{where}: workers must be at most the population of {config.population}, got {config.workers}"
        )
    return config


def _component(name: object, values: object, where: str) -> ComponentSettings:
    script = ComponentSettings(**checked(ComponentSettings, values, f"{where}: components: {name}"))
    if not script.filepath:
        raise SettingsError(f"{where}: components: {name} needs a filepath")
    return script


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values`, overridden by those of `over`; sections are merged key by key."""
    result = {**values, **over}
    for key in _SECTIONS:
        if isinstance(values.get(key), Mapping) and isinstance(over.get(key, {}), Mapping | None):
            result[key] = {**values[key], **(over.get(key) or {})}
    return result


def layered_config(file: str | Path | None, over: Mapping[str, Any], where: str) -> Config:
    """Return the settings of `file`, if any, overridden by `over`, which is from `where`; raises as `make_config`."""
    values = {} if file is None else read_file(file)
    make_config(values, str(file))
    return make_config(_with_folder(merged(values, over), Path.cwd()), where)


def resumed_config(
    directory: str | Path, given: Mapping[str, Any], file: str | Path | None = None, name_of: Callable[[str], str] = str
) -> Config:
    """Return the settings of the run in `directory`, to resume it, with the CHANGEABLE ones that are given over them.

    Args:
        given: settings over those of `file`; those that are not CHANGEABLE must repeat the run's own.
        file: a settings file.
        name_of: what an error calls a setting of `given`.

    Raises:
        SettingsError: there is no run, a setting cannot be used, or differs from the run's and is not CHANGEABLE.
    """
    directory = user_path(directory)
    saved = {**read_settings(directory), "out": str(directory)}
    run = make_config(saved, str(directory))
    from_file = {} if file is None else read_file(file)
    make_config(from_file, str(file))
    if file is not None and "modules" not in from_file and run.references and not has_module(run.modules, saved):
        from_file["modules"] = str(user_path(file).resolve().parent)
    over = merged(from_file, given)
    for name, value, own_value in _with_own_values(over, run, f"resume {directory}"):
        key = name.partition(".")[0]
        if key not in CHANGEABLE and not _repeats(key, value, own_value):
            called = name_of(name) if key in given else f"{file}: {name}"
            raise SettingsError(
                f"{called}: the run in {directory} has {_as_json(own_value)}, not {_as_json(value)}; "
                f"a resumed run keeps all its settings but {', '.join(CHANGEABLE)}"
            )
    changed = {key: over[key] for key in (*CHANGEABLE, *_OF_SCRIPTS) if key in over}
    return make_config(_with_folder({**saved, **changed}, Path.cwd()), str(directory))


def _with_own_values(values: Mapping[str, Any], run: Config, where: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name of each given setting, such as ppo.gamma, its value, and the run's own."""
    for key, value in values.items():
        if key not in _SECTIONS:
            (given,) = checked(Config, {key: value}, where).values()
            yield key, given, getattr(run, key)
        elif key not in _OF_SCRIPTS:
            section = getattr(run, key)
            for inner, given in checked(type(section), value or {}, f"{where}: {key}").items():
                yield f"{key}.{inner}", given, getattr(section, inner)


def _as_json(value: Any) -> str:
    return json.dumps(value, default=str)  # env_kwargs may hold dates


def _repeats(key: str, value: Any, own_value: Any) -> bool:
    if key in ("out", "workers") and value == "auto":  # the run has what it stood for
        return True
    if key == "out" and value is not None:
        return Path(value).resolve() == Path(own_value).resolve()
    return bool(value == own_value) or repr(value) == repr(own_value)  # a NaN in env_kwargs equals nothing
