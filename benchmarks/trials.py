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

from swarmsim.config import merged, read_file
from swarmsim.views.report import Report

EVAL_EPISODES = 20
LOSS = 0.2  # of a trial's best evaluation, beyond which its last one shows that something was forgotten


@dataclass(frozen=True)
class Task:
    """An environment, and what counts there.

    Attributes:
        steps: the budget of training steps.
        every: training steps from one evaluation to the next.
        solved: the mean return from which it is called solved.
        worst, best: the returns that areas under the curve count as 0 and 1.
        n_last: evaluations at the end whose mean is the trial's result.
        settings: over the defaults, where these do not do.
    """

    steps: int
    every: int
    solved: float
    worst: float
    best: float
    n_last: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)


def _settings_of(example: str) -> dict[str, Any]:
    settings = read_file(Path(__file__).parent.parent / "examples" / example / "swarm.yaml")
    return {key: value for key, value in settings.items() if key not in ("env", "rounds")}


TASKS: Mapping[str, Task] = {
    "CartPole-v1": Task(10_000, 500, 475, 0, 500),
    "Acrobot-v1": Task(20_000, 1_000, -100, -500, 0),
    "Pendulum-v1": Task(10_000, 1_000, -200, -1600, 0),
    "LunarLander-v3": Task(300_000, 50_000, 200, -500, 300, 3, _settings_of("lunar_lander")),
}


@dataclass(frozen=True)
class Trial:
    """One seed of one variant.

    Attributes:
        settings: of the swarm, over its defaults; of other learners, their own.
        steps, every: as in `Task`.
        episodes: of a round.
    """

    env: str
    variant: str
    seed: int
    settings: Mapping[str, Any]
    steps: int
    every: int
    episodes: int = 20

    @property
    def key(self) -> str:
        """What tells it from all others: nothing that was measured under other settings is taken for its outcome."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def looks(self) -> list[int]:
        """The training steps after which it is evaluated."""
        return list(range(self.every, self.steps + 1, self.every))


def trial_of(env: str, variant: str, seed: int, settings: Mapping[str, Any], steps: int | None = None) -> Trial:
    """Return a trial of a swarm, with `settings` over those of its task; `steps` replace the task's budget."""
    task = TASKS[env]
    return Trial(
        env, variant, seed, merged(task.settings, settings), steps or task.steps, min(task.every, steps or task.every)
    )


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        steps: training steps until each evaluation.
        scores: mean returns of the evaluations.
        steps_per_second: of all training and evaluation.
    """

    env: str
    variant: str
    seed: int
    steps: tuple[int, ...]
    scores: tuple[float, ...]
    steps_per_second: float

    @property
    def result(self) -> float:
        """The mean of the last evaluations."""
        return statistics.mean(self.scores[-TASKS[self.env].n_last :])

    @property
    def first_solved(self) -> float:
        """Training steps until the first evaluation that solves the task; infinite where none does."""
        solved = TASKS[self.env].solved
        found = zip(self.steps, self.scores, strict=True)
        return next((steps for steps, score in found if score >= solved), float("inf"))

    @property
    def is_kept(self) -> bool:
        """Whether the last evaluation is nearly as good as the best one: nothing was forgotten."""
        best = max(self.scores)
        return self.scores[-1] >= best - LOSS * abs(best)

    def _heights(self, scores: Sequence[float]) -> NDArray[np.float64]:
        task = TASKS[self.env]
        return (np.array(scores) - task.worst) / (task.best - task.worst)

    def area(self, until: float | None = None) -> float:
        """Return the mean score over the first training steps, as a part of the way from the task's worst to its best.

        Straight lines join the evaluations, from the worst score before the first step on; the last one counts on.
        """
        heights = self._heights((TASKS[self.env].worst, *self.scores))
        grid = np.linspace(0, self.steps[-1] if until is None else until, 1001)
        curve = np.interp(grid, [0, *self.steps], heights)
        return float(np.mean((curve[1:] + curve[:-1]) / 2))


class Looks(Report):
    """Collects the evaluations of a run, and stops it once its budget of steps is used up."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.evaluations: list[tuple[int, float]] = []

    def evaluated(self, round_number: int, n_steps: int, result: Any) -> None:
        self.evaluations.append((n_steps, result.score))

    def wants_stop(self) -> bool:
        return bool(self.evaluations) and self.evaluations[-1][0] >= self.steps


def play(trial: Trial, out: Path | None = None) -> Outcome:
    """Return the outcome of a swarm's trial; in one process, which changes nothing but the time.

    Args:
        out: run directory; without it, the swarm keeps no files.
    """
    from threadpoolctl import threadpool_limits

    import swarmsim

    looks = Looks(trial.steps)
    settings: dict[str, Any] = {
        "env": trial.env,
        "seed": trial.seed,
        "rounds": trial.steps,  # which ends before that, with its last look
        "episodes": trial.episodes,
        "eval_episodes": EVAL_EPISODES,
        "eval_every": trial.every,
        "link": "inprocess",
        "progress": False,
        "out": str(out) if out else None,
        **trial.settings,
    }
    with threadpool_limits(1):
        history = swarmsim.run(report=looks, **settings)
    steps, scores = zip(*looks.evaluations, strict=True)
    return Outcome(trial.env, trial.variant, trial.seed, steps, scores, steps[-1] / history.wall_seconds)


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


HEADER = (
    "environment", "variant", "result of each seed", "median", "all looks", "solved", "kept", "area", "first solved",
    "steps/s",
)  # fmt: skip


def row(of: Sequence[Outcome]) -> list[str]:
    """Return what a variant's outcomes in one environment came to, as a row under `HEADER`."""
    task, median = TASKS[of[0].env], statistics.median
    results = [outcome.result for outcome in of]
    first = median(outcome.first_solved for outcome in of)
    return [
        of[0].env,
        of[0].variant,
        ", ".join(f"{score:.0f}" for score in results),
        f"{median(results):.0f}",
        f"{median(statistics.mean(outcome.scores) for outcome in of):.0f}",
        f"{sum(score >= task.solved for score in results)} of {len(of)}",
        f"{sum(outcome.is_kept for outcome in of)} of {len(of)}",
        f"{median(outcome.area() for outcome in of):.3f}",
        "never" if first == float("inf") else f"{first:,.0f}",
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
    return np.interp(grid, outcome.steps, outcome.scores)


def printed(of: Sequence[Outcome], picture: Path) -> str:
    """Return the table of all outcomes, and draw them."""
    from measuring import table

    draw(picture, of)
    return table(HEADER, [row(members) for members in by_variant(of).values()])
