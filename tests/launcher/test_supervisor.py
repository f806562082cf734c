"""Components that die in the middle of their work, in every way, and what becomes of the swarm."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import swarmsim
from swarmsim.components import environment
from swarmsim.errors import ComponentFailed, WaitTimeout
from swarmsim.learning.ppo import PPO
from swarmsim.messaging.queues.directory import remove_stale_addresses
from swarmsim.results.checkpoint import read_checkpoint
from swarmsim.views.report import EVALUATE_EVOLVED, Report
from tests import environments
from tests.components.test_main_job import heard, is_status, observer, running
from tests.conftest import ROOT, TIMED, child_processes, long_after
from tests.experiment.test_resume import ARGUMENTS, SMALL, Interrupting, metrics, started, whole, without_times


def raise_in_the_middle(*_: object) -> None:
    raise RuntimeError("chaos")


@pytest.fixture(autouse=True)
def ways_to_die(monkeypatch):
    """Components inherit these handlers from the process that forks them."""
    before = [signal.signal(signal.SIGUSR1, raise_in_the_middle), signal.signal(signal.SIGUSR2, lambda *_: os._exit(0))]
    monkeypatch.setattr(environment, "PROGRESS_SECONDS", -1.0)
    yield
    signal.signal(signal.SIGUSR1, before[0])
    signal.signal(signal.SIGUSR2, before[1])


FAULTS = {
    "SIGKILL": (signal.SIGKILL, "ProcessEnded: its process was killed by SIGKILL without leaving the swarm"),
    "SIGSTOP": (signal.SIGSTOP, "Silent: it gave no sign of life in 0.5 s, when the launcher waited 1 s for a word"),
    "exception": (signal.SIGUSR1, "RuntimeError: chaos"),
    "exit 0": (signal.SIGUSR2, "ProcessEnded: its process ended with status 0 without leaving the swarm"),
}


def patience(fault: str) -> dict[str, float]:
    """Return the settings by which a silent component is soon taken for dead, if the fault is that it is silent."""
    return {"timeout": 1} if fault == "SIGSTOP" else {}


class Striking:
    """Strikes a component when so many steps of a run have been told, and keeps what was told of failures."""

    def __init__(self, job, name: str, number: int, step: int = 1) -> None:
        self.job, self.name, self.number, self.step = job, name, number, step
        self.failures: list[tuple[ComponentFailed, str]] = []
        job.control.supervision.on_healed = lambda *told: self.failures.append(told)

    def strike(self) -> None:
        self.step = sys.maxsize
        os.kill(self.job.swarm.components[self.name].process_id, self.number)

    def __call__(self, returns, n_steps) -> None:
        if n_steps >= self.step:
            self.strike()


STRUCK = "model2", "aggregation", "environment"
ONCE = [("model2", "SIGKILL"), ("aggregation", "SIGSTOP"), ("environment", "exception"), ("model2", "exit 0")]


@TIMED
@pytest.mark.parametrize(
    ("name", "fault"), long_after(4, [*ONCE, *(pair for pair in product(STRUCK, FAULTS) if pair not in ONCE)])
)
def test_a_run_goes_on_to_its_end_whoever_dies_in_it(name, fault):
    number, sentence = FAULTS[fault]
    with running(workers=4, **patience(fault)) as job:
        striking = Striking(job, name, number, step=20)
        result = job.control.play(8, deterministic=False, on_progress=striking)
        ((failure, fate),) = striking.failures
        assert sentence in str(failure)
        assert failure.component == name
        assert fate == "replaced, 1 of at most 3 times a round"
        assert len(result.returns) == len(result.lengths) == 8
        assert result.n_steps == sum(result.returns)  # CartPole pays 1 a step
        assert job.client.components_in("observation") != []
        contribution = job.control.evolve().contribution
        assert sum(contribution.values()) == pytest.approx(1.0)
        assert contribution.keys() == {f"model{i}" for i in range(4)}
        assert len(job.control.play(2, deterministic=True).returns) == 2


@TIMED
@pytest.mark.parametrize("fault", long_after(1, [*FAULTS]))
def test_the_only_process_of_models_can_die_too(fault):
    with running(workers=1, **patience(fault)) as job:
        striking = Striking(job, "models0-3", FAULTS[fault][0], step=20)
        assert len(job.control.play(8, deterministic=False, on_progress=striking).returns) == 8
        assert len(striking.failures) == 1
        assert sum(job.control.evolve().contribution.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", long_after(1, ["environment", "model2", "aggregation"]))
def test_a_death_in_an_evaluation_does_not_change_what_comes_of_it(name):
    with running(workers=4) as job:
        job.control.play(3, deterministic=False)
        striking = Striking(job, name, signal.SIGKILL, step=30)
        struck = job.control.play(3, deterministic=True, on_progress=striking)
        assert len(striking.failures) == 1
    with running(workers=4) as job:
        job.control.play(3, deterministic=False)
        unharmed = job.control.play(3, deterministic=True)
    if name == "model2":
        assert len(struck.returns) == 3  # a step or two was decided without it
    else:
        assert struck.returns == unharmed.returns


@TIMED
@pytest.mark.parametrize("fault", long_after(1, [*FAULTS]))
def test_an_evolution_that_lost_its_process_is_repeated_from_its_start_and_gives_the_same(fault):
    outcomes = []
    for strikes in (False, True):
        with running(workers=2, **patience(fault)) as job:
            for _ in range(2):
                job.control.play(2, deterministic=False)
                striking = Striking(job, "evolution", FAULTS[fault][0])
                if strikes:
                    striking.strike()
                outcomes.append((job.control.evolve(), job.control.weights()))
                assert len(striking.failures) == strikes
    for (unharmed, weights), (struck, same_weights) in zip(outcomes[:2], outcomes[2:], strict=True):
        assert unharmed == struck
        assert all(np.array_equal(weights[name], same_weights[name]) for name in weights)


@TIMED
@pytest.mark.parametrize("name", long_after(1, ["models0-1", "aggregation"]))
def test_an_evolution_survives_those_whom_it_asks(name):
    with running(workers=2, timeout=1) as job:
        job.control.play(2, deterministic=False)
        job.control.states()  # all have heard that the run is done
        striking = Striking(job, name, signal.SIGSTOP)
        striking.strike()
        result = job.control.evolve()
        assert len(striking.failures) == 1
        if name == "aggregation":
            assert sum(result.contribution.values()) == pytest.approx(1.0)
        assert len(job.control.weights()) == 4
        assert len(job.control.play(2, deterministic=False).returns) == 2


def test_a_replaced_process_has_the_weights_that_the_one_before_had_learned():
    with running(workers=2) as job:
        job.control.play(3, deterministic=False)
        before = job.control.states()["models0-1"]
        striking = Striking(job, "models0-1", signal.SIGKILL)
        striking.strike()
        after = job.control.states()["models0-1"]
        while not striking.failures:
            after = job.control.states()["models0-1"]
        after = job.control.states()["models0-1"]
        for key in ("weights", "first_moment", "second_moment", "n_updates"):
            assert np.array_equal(before[key], after[key])
        assert before["n_updates"][0] > 0
        job.control.play(1, deterministic=False)
        assert job.control.states()["models0-1"]["n_updates"] > before["n_updates"]


def test_the_others_are_told_at_once_and_the_step_goes_on_without_the_dead_models():
    with running(workers=4, envs=1, restart="never") as job, observer(job) as client:
        striking = Striking(job, "model2", signal.SIGKILL, step=10)
        result = job.control.play(3, deterministic=False, on_progress=striking)
        ((_, fate),) = striking.failures
        assert fate == "the swarm continues without it"
        messages = heard(client, is_status("ENV_DONE"))
        actions = [m["STEP"] for m in messages if m["TO_ROOM"] == "action"]
        assert actions == list(range(result.n_steps))  # each step was decided, and once
        speakers = [m["SENT_BY"] for m in messages if m["TO_ROOM"] == "logits"]
        assert 0 < speakers.count("model2") < speakers.count("model1")
        assert sum(job.control.evolve().contribution.values()) == pytest.approx(1.0)
        assert len(job.control.weights()) == 3
        assert len(job.control.states()) == 6
        job.control.play(2, deterministic=False)


@pytest.mark.parametrize("name", long_after(1, ["environment", "aggregation", "evolution"]))
def test_without_restarts_nobody_can_do_without_the_others(name):
    with running(restart="never") as job:
        Striking(job, name, signal.SIGKILL).strike()
        with pytest.raises(ComponentFailed, match=f"component '{name}' failed: ProcessEnded: .*SIGKILL"):
            while True:
                job.control.play(50, deterministic=False)


def test_without_restarts_the_last_process_of_models_ends_the_run():
    with running(workers=1, restart="never") as job:
        Striking(job, "models0-3", signal.SIGKILL).strike()
        with pytest.raises(ComponentFailed, match="component 'models0-3' failed"):
            job.control.play(50, deterministic=False)


def test_a_component_is_replaced_only_so_often_within_a_round():
    with running(workers=2, max_restarts=2) as job:
        striking = Striking(job, "models0-1", signal.SIGKILL)
        for _ in range(2):
            striking.strike()
            job.control.play(1, deterministic=False)
        job.control.supervision.reset_restart_counts()
        for _ in range(2):
            striking.strike()
            job.control.play(1, deterministic=False)
        assert len(striking.failures) == 4
        striking.strike()
        with pytest.raises(ComponentFailed, match="component 'models0-1' failed: ProcessEnded: .*SIGKILL"):
            job.control.play(50, deterministic=False)


@pytest.mark.parametrize("request_of", [{"NR_OF_EPISODE": 1}, {"EVOLUTION": True}], ids=str)
def test_a_request_that_is_repeated_is_not_done_twice(request_of):
    with running(workers=2) as job, observer(job) as client:
        is_done = lambda m: str(m.get("STATUS")).endswith(("ENV_DONE", "EVO_DONE"))
        message = {"TYPE": "DATA/CUSTOM", "TO_ROOM": "control", "ROOT_ID": "r", **request_of}
        job.client.send(message)
        *deeds, done = heard(client, is_done)
        assert len(deeds) > 1
        for _ in range(2):
            job.client.send(message)
            _asked, again = heard(client, is_done)
            assert {**done, "ID": 0} == {**again, "ID": 0}


@TIMED
def test_a_swarm_that_is_stuck_though_all_answer_ends_with_a_word():
    with running(timeout=1) as job:
        job.control._request = {"TYPE": "DATA/CUSTOM", "TO_ROOM": "control", "ROOT_ID": "nobody's business"}
        began = time.monotonic()
        with pytest.raises(WaitTimeout, match="waited 1 s for a word from nobody"):
            job.control._answer("nobody")
        assert time.monotonic() - began < 5
        assert job.control.supervision.failure is None


# --- whole runs


def killed_in_round_2(name, **settings):
    """Return the rounds of a run in which a component is killed at the beginning of each phase of round 2."""

    class Killing(Interrupting):
        def phase_began(self, round_number, phase, n_episodes):
            if round_number == 2:
                for process in multiprocessing.active_children():
                    if process.name == f"swarmsim-{name}":
                        process.kill()

    report = Killing("never", 0)
    return swarmsim.run(**SMALL, rounds=3, out=None, max_restarts=4, report=report, **settings), report.notes


@pytest.mark.parametrize("name", long_after(1, ["environment", "evolution"]))
def test_a_component_that_dies_between_its_deeds_leaves_no_trace_in_the_metrics(name):
    history, notes = killed_in_round_2(name)
    assert without_times(r.encode() for r in history) == whole(rounds=3)
    assert len(notes) >= 1
    assert all(name in note and "replaced" in note for note in notes)
    assert [f["healed"] for f in history.failures] == [True] * len(notes)


def test_learning_that_has_diverged_ends_the_run_and_names_the_models(in_tmp_path, monkeypatch):
    monkeypatch.setattr(PPO, "act", lambda self, observations: np.full((5, 1, 2), np.nan))
    with pytest.raises(ComponentFailed, match="component 'models0-4' failed: FloatingPointError: .*has diverged"):
        swarmsim.run(population=5, rounds=1, out="out")


def test_what_was_learned_until_a_failure_that_cannot_be_healed_is_kept(in_tmp_path, monkeypatch):
    report = Interrupting("never", 0)
    settings = {"env": "tests.environments:Breaking-v0", "population": 3, "episodes": 5, "rounds": 1, "envs": 1}
    with pytest.raises(ComponentFailed, match="the pole is broken"):
        swarmsim.run(**settings, out="out", restart="never", report=report)
    assert report.notes == []
    state = read_checkpoint(Path("out/checkpoint/round-0001-begun.npz"))
    assert state["components"]["environment"]["run"]["attempt"] == 1
    assert len(state["components"]["models0-2"]["replay"]["actions"]) >= 2
    monkeypatch.setattr(environments.Breaking, "BREAKS_AT", None)
    assert len(swarmsim.run(resume="out")[0].train_returns) == 5


@pytest.mark.long
def test_a_failure_after_the_last_phase_of_a_round_loses_nothing_of_it(in_tmp_path):
    class Killing(Interrupting):
        def phase_ended(self, round_number, phase, result):
            if phase == EVALUATE_EVOLVED:
                for process in multiprocessing.active_children():
                    if process.name == "swarmsim-evolution":
                        process.kill()

    with pytest.raises(ComponentFailed, match="'evolution' failed"):
        swarmsim.run(**SMALL, rounds=2, out="out", restart="never", report=Killing("never", 0))
    assert [path.name for path in Path("out/checkpoint").glob("round-*")] == ["round-0002-begun.npz"]
    swarmsim.run(resume="out")
    assert metrics("out") == whole(rounds=2)


def test_a_component_that_fails_again_and_again_ends_the_run_with_its_traceback(in_tmp_path):
    report = Interrupting("never", 0)
    with pytest.raises(ComponentFailed, match="component 'environment' failed: RuntimeError: the pole") as caught:
        swarmsim.run(env="tests.environments:Broken-v0", population=2, rounds=1, out="out", report=report)
    assert 'raise RuntimeError("the pole is broken")' in caught.value.traceback_text
    assert len(report.notes) == 3
    assert child_processes() == []


def test_a_launcher_that_is_killed_leaves_no_orphan_not_even_one_that_is_stopped(in_tmp_path):
    process = started(*ARGUMENTS, "--rounds", "1000", "--workers", "3", cwd=in_tmp_path)
    process.stdout.readline()
    children = [pid for pid in child_processes() if pid != process.pid]
    assert len(children) == 6
    os.kill(children[2], signal.SIGSTOP)
    process.kill()
    process.communicate(timeout=100)
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    remove_stale_addresses()  # what a killed server left is taken away by the next one


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.long
def test_a_stopped_component_does_not_hold_an_interrupt_up(in_tmp_path):
    (in_tmp_path / "swarm.yaml").write_text("timeout: 600\n")  # which is how long nobody waits for it
    process = started(*ARGUMENTS, "--rounds", "1000", "--workers", "3", cwd=in_tmp_path)
    for line in process.stdout:
        if line.startswith("round 1"):
            break
    children = [pid for pid in child_processes() if pid != process.pid]
    os.kill(children[1], signal.SIGSTOP)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)  # 3 are promised; benchmarks/chaos.py prints them
    assert process.returncode == 130
    assert err == "\nswarmsim: interrupted\n"
    assert max(Path("out/checkpoint").iterdir()).name.endswith("-begun.npz")
    assert (
        subprocess.run([sys.executable, ROOT / "run.py", "--resume", "out", "--rounds", "1"], check=False).returncode
        == 0
    )


def test_a_server_that_dies_ends_the_run_by_its_name():
    with running(link="sockets") as job:

        def strike(returns, n_steps):
            os.kill(job.swarm.server_process_id, signal.SIGKILL)

        with pytest.raises(
            ComponentFailed, match="component 'hub' failed: ProcessEnded: its process was killed by SIGK"
        ):
            job.control.play(100, deterministic=False, on_progress=strike)


class KillingTheServer(Report):
    """Kills the server of the swarm that was started last, once a round has ended."""

    def __init__(self, swarms: list[swarmsim.Swarm]) -> None:
        self.swarms = swarms

    def round_ended(self, record):
        os.kill(self.swarms[-1].server_process_id, signal.SIGKILL)


def test_a_run_whose_server_died_can_be_gone_on_with(in_tmp_path, monkeypatch):
    swarms = []
    serve = swarmsim.Swarm.serve
    monkeypatch.setattr(swarmsim.Swarm, "serve", lambda swarm: swarms.append(swarm) or serve(swarm))
    with pytest.raises(ComponentFailed, match="component 'hub' failed"):
        swarmsim.run(**SMALL, rounds=3, link="sockets", out="out", report=KillingTheServer(swarms))
    assert len(metrics("out")) == 1
    swarmsim.run(resume="out")
    assert metrics("out") == whole(rounds=3)
