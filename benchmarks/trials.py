"""What the benchmarks of learning share: trials by environment, variant and seed, in parallel, each kept as it ends."""

import json
import multiprocessing
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from swarmsim.config import read_file

EVAL_EPISODES = 20


@dataclass(frozen=True)
class Task:
    """An environment, and what counts there.

    Attributes:
        rounds: the budget, of 20 episodes each.
        solved: the mean return from which it is called solved.
        worst, best: the returns that areas under the curve count as 0 and 1.
        settings: over the defaults, where these do not do.
    """

    rounds: int
    solved: float
    worst: float
    best: float
    settings: Mapping[str, Any] = field(default_factory=dict)


def _settings_of(example: str) -> dict[str, Any]:
    settings = read_file(Path(__file__).parent.parent / "examples" / example / "swarm.yaml")
    return {key: value for key, value in settings.items() if key not in ("env", "rounds")}


TASKS: Mapping[str, Task] = {
    "CartPole-v1": Task(5, 475, 0, 500),
    "Acrobot-v1": Task(10, -100, -500, 0),
    "Pendulum-v1": Task(20, -200, -1600, 0),
    "LunarLander-v3": Task(50, 200, -500, 300, _settings_of("lunar_lander")),
}


@dataclass(frozen=True)
class Trial:
    """One seed of one variant.

    Attributes:
        settings: over those of the swarm's default; of other learners, their own.
        steps: training steps after which a learner is evaluated that has no rounds of its own.
    """

    env: str
    variant: str
    seed: int
    rounds: int
    episodes: int
    settings: Mapping[str, Any]
    steps: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """What tells it from all others: nothing that was measured under other settings is taken for its outcome."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        steps: training steps until each evaluation.
        train, before, after: mean returns by round, of training and of the evaluations before and after evolution.
        steps_per_second: of training.
    """

    env: str
    variant: str
    seed: int
    steps: tuple[int, ...]
    train: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    steps_per_second: float

    @property
    def first_solved(self) -> float:
        """Training steps until the first evaluation that solves the task; infinite where none does."""
        solved = TASKS[self.env].solved
        evaluations = zip(self.steps, self.before, self.after, strict=True)
        return next((steps for steps, *scores in evaluations if max(scores) >= solved), float("inf"))

    @property
    def losses(self) -> int:
        """Rounds in which evolution lost more than 5 %."""
        return sum(after < before - 0.05 * abs(before) for before, after in zip(self.before, self.after, strict=True))

    def area(self, until: float | None = None) -> float:
        """Return the mean score over the first training steps, as a part of the way from the task's worst to its best.

        Straight lines join the evaluations, from the worst score before the first step on; the last one counts on.
        """
        task = TASKS[self.env]
        scores = (np.array([task.worst, *self.after]) - task.worst) / (task.best - task.worst)
        grid = np.linspace(0, self.steps[-1] if until is None else until, 1001)
        heights = np.interp(grid, [0, *self.steps], scores)
        return float(np.mean((heights[1:] + heights[:-1]) / 2))


def play(trial: Trial, out: Path | None = None) -> Outcome:
    """Return the outcome of a swarm's trial; in one process, which changes nothing but the time.

    Args:
        out: run directory; without it, the swarm keeps no files.
    """
    import torch

    from swarmsim.config import make_config
    from swarmsim.experiment.experiment import Experiment

    torch.set_num_threads(1)
    asked = {"env": trial.env, "seed": trial.seed, "rounds": trial.rounds, "episodes": trial.episodes}
    fixed = {"eval_episodes": EVAL_EPISODES, "link": "inprocess", "out": str(out) if out else None, "progress": False}
    rounds = list(Experiment(make_config({**asked, **fixed, **trial.settings}, trial.variant)).run())
    return Outcome(
        trial.env,
        trial.variant,
        trial.seed,
        tuple(r.env_steps for r in rounds),
        tuple(r.train_score for r in rounds),
        tuple(r.eval_score for r in rounds),
        tuple(r.eval_score_evolved for r in rounds),
        rounds[-1].env_steps / sum(r.seconds for r in rounds),
    )


def outcomes(
    trials: Iterable[Trial], path: Path, jobs: int, player: Callable[[Trial], Outcome] = play
) -> list[Outcome]:
    """Return the outcomes of `trials`, in their order; those that `path` (JSON lines) holds are not played again."""
    trials = list(trials)
    known = _read(path)
    missing = [trial for trial in trials if trial.key not in known]
    path.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _use_one_thread) as pool, path.open("a") as file:
        futures = {pool.submit(player, trial): trial for trial in missing}
        for future in tqdm(as_completed(futures), total=len(futures), disable=None, unit="trial"):
            trial, outcome = futures[future], future.result()
            known[trial.key] = outcome
            file.write(json.dumps({"trial": asdict(trial), "outcome": asdict(outcome)}) + "\n")
            file.flush()
    return [known[trial.key] for trial in trials]


def _read(path: Path) -> dict[str, Outcome]:
    if not path.exists():
        return {}
    records = map(json.loads, path.read_text().splitlines())
    return {json.dumps(record["trial"], sort_keys=True): _outcome(record["outcome"]) for record in records}


def _outcome(told: Mapping[str, Any]) -> Outcome:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    return Outcome(**values)


def _use_one_thread() -> None:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"


def seeds(text: str) -> list[int]:
    """Return the seeds that FIRST-LAST means, or one of its own."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def by_variant(of: Sequence[Outcome]) -> dict[tuple[str, str], list[Outcome]]:
    """Return outcomes by environment and variant."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in of:
        groups.setdefault((outcome.env, outcome.variant), []).append(outcome)
    return groups


HEADER = [
    "environment",
    "variant",
    "last evaluation of each seed",
    "median",
    "solved",
    "area",
    "steps",
    "to the first solved",
    "evolution lost",
    "steps/s",
]


def row(of: Sequence[Outcome]) -> list[str]:
    """Return what a variant's outcomes in one environment came to, as a row under `HEADER`."""
    task, median = TASKS[of[0].env], statistics.median
    last = [outcome.after[-1] for outcome in of]
    first = median(outcome.first_solved for outcome in of)
    return [
        of[0].env,
        of[0].variant,
        ", ".join(f"{score:.0f}" for score in last),
        f"{median(last):.0f}",
        f"{sum(score >= task.solved for score in last)} of {len(of)}",
        f"{median(outcome.area() for outcome in of):.2f}",
        f"{median(outcome.steps[-1] for outcome in of):,.0f}",
        "never" if first == float("inf") else f"{first:,.0f}",
        f"{sum(outcome.losses for outcome in of)} of {sum(len(outcome.after) for outcome in of)} rounds",
        f"{median(outcome.steps_per_second for outcome in of):,.0f}",
    ]


def draw(path: Path, of: Sequence[Outcome]) -> None:
    """Write learning curves: the median of all seeds' evaluations by training steps, and the quartiles around it."""
    from matplotlib.figure import Figure

    groups = by_variant(of)
    environments = list(dict.fromkeys(env for env, _ in groups))
    figure = Figure(figsize=(6.5, 4 * len(environments)), layout="constrained")
    for env, axes in zip(environments, figure.subplots(len(environments), squeeze=False)[:, 0], strict=True):
        drawn = {variant: members for (each, variant), members in groups.items() if each == env}
        for (variant, members), style in zip(drawn.items(), _styles(len(drawn)), strict=True):
            first, last = (statistics.median(outcome.steps[i] for outcome in members) for i in (0, -1))
            grid = np.linspace(first, last, 200)
            low, middle, high = np.percentile([_scores(outcome, grid) for outcome in members], (25, 50, 75), axis=0)
            axes.plot(grid, middle, label=variant, **style)
            axes.fill_between(grid, low, high, color=style["color"], alpha=0.2, linewidth=0)
        axes.axhline(TASKS[env].solved, color="grey", linestyle=":", label="solved")
        axes.set_title(f"{env}: median and quartiles of {len(next(iter(drawn.values())))} seeds")
        axes.set_xlabel("training steps of the environment")
        axes.set_ylabel(f"mean return of {EVAL_EPISODES} episodes")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _styles(number: int) -> list[dict[str, str]]:
    """Return colours that the colour-blind can tell apart (Okabe and Ito 2008), then the same ones dashed."""
    colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
    return [
        {"color": colours[i % len(colours)], "linestyle": ("-", "--", "-.")[i // len(colours) % 3]}
        for i in range(number)
    ]


def _scores(outcome: Outcome, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(grid, outcome.steps, outcome.after)


def printed(of: Sequence[Outcome], picture: Path) -> str:
    """Return the table of all outcomes, and draw them."""
    from measuring import table

    draw(picture, of)
    return table(HEADER, [row(members) for members in by_variant(of).values()])
