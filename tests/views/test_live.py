"""The live page, in a real browser and by bare requests; and a run that goes on whatever becomes of it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import swarmsim
from swarmsim.components.results import ComponentSnapshot, JobResult
from swarmsim.results.history import History
from swarmsim.views.live import LiveReport, Traffic
from swarmsim.views.report import TRAIN, Report
from tests.browser import IN_BROWSER, errors_in
from tests.conftest import LITTLE, ROOT, child_processes
from tests.results.rounds import SETTINGS as SETTINGS_OF_A_RUN

SETTINGS = "population: 3\nepisodes: 10\nrounds: 1000\nppo: {n_batches: 2, batch_size: 32}\nlive: true\nlive_port: 0\n"


@contextmanager
def running(folder: Path, **settings) -> Iterator[tuple[subprocess.Popen, str]]:
    """Run a swarm with a live page, and give its process and the page's address; it is interrupted at the end."""
    (folder / "swarm.yaml").write_text(yaml.safe_dump(yaml.safe_load(SETTINGS) | settings))
    program = [sys.executable, str(ROOT / "run.py"), "--out", "out"]
    process = subprocess.Popen(program, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()
        yield process, process.stdout.readline().removeprefix("live at ").strip()
    finally:
        process.terminate()
        process.communicate(timeout=100)


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]


def request(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    status, body = response.status, response.read()
    connection.close()
    return status, body


def state(url: str) -> dict:
    return json.loads(request(url, "/state")[1])


def until(true, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@IN_BROWSER
def test_the_page_shows_the_run_and_holds_and_stops_it(browser, tmp_path):
    with running(tmp_path) as (process, url):
        browser.get(url)

        def text(name: str) -> str:
            return browser.find_element("id", name).text

        until(lambda: len(browser.find_elements("css selector", "#rounds tr")) >= 2)
        assert text("title") == "3 models acting as one on CartPole-v1, seed 0"
        assert re.match(r"round \d+ of 1000, ", text("phase"))
        until(lambda: len(browser.find_elements("css selector", "#shares tr")) == 3)
        until(lambda: "observation environment 3 models" in text("rooms"))
        assert "_command" not in text("rooms")
        browser.find_element("id", "all").click()
        until(lambda: "observation environment models0-2" in text("rooms"))
        assert "_command" in text("rooms")
        assert "3 models" not in text("rooms")
        browser.find_element("id", "all").click()
        assert "observation environment 3 models" in text("rooms")
        assert re.search(r"aggregation ready \d+ 0", text("components"))

        browser.find_element("id", "pause").click()
        until(lambda: text("status") == "paused")
        until(lambda: text("pause") == "Resume")
        time.sleep(0.5)
        before = state(url)
        time.sleep(1.0)
        assert state(url)["phase"] == before["phase"]
        browser.find_element("id", "pause").click()
        until(lambda: text("status") == "running" and state(url)["rounds"] != before["rounds"])

        browser.find_element("id", "stop").click()
        browser.switch_to.alert.accept()
        until(lambda: text("status") == "ended")
        out, err = process.communicate(timeout=100)
        assert (process.returncode, err) == (130, "\nswarmsim: stopped\n")
        assert "resume with: " in out
        rows = [row.text.split() for row in browser.find_elements("css selector", "#rounds tr")]
        shown = [[int(row[0]), *(float(cell.replace(",", "")) for cell in row[1:5])] for row in reversed(rows)]
        keys = ("train_score", "eval_score", "eval_score_evolved", "env_steps")
        assert shown == [[r["round"], *(pytest.approx(r[key], abs=0.06) for key in keys)] for r in metrics(tmp_path)]
        assert text("phase").endswith(f"{len(shown)} rounds, results in out")
        assert len(browser.find_elements("css selector", "#chart circle")) >= 13 * len(shown)
        assert errors_in(browser) == []


@pytest.mark.long
def test_only_a_page_of_its_own_can_wish_for_anything(tmp_path):
    with running(tmp_path) as (_, url):
        own = {"X_Swarmsim": "1"}
        assert request(url, "/state", Host="evil.example")[0] == 403
        assert request(url, "/pause", "POST")[0] == 403
        assert request(url, "/pause", "POST", **own, Host="evil.example")[0] == 403
        assert request(url, "/destroy", "POST", **own)[0] == 404
        assert request(url, "/etc/passwd")[0] == 404
        assert b"swarmsim, live" in request(url, "/")[1]
        assert state(url)["status"] == "running"
        assert request(url, "/pause", "POST", **own)[0] == 200
        until(lambda: state(url)["status"] == "paused")
        assert request(url, "/resume", "POST", **own)[0] == 200
        until(lambda: state(url)["status"] == "running")


def test_a_page_that_dies_takes_nothing_with_it_and_holds_nobody(tmp_path):
    with running(tmp_path, rounds=3) as (process, url):
        request(url, "/pause", "POST", X_Swarmsim="1")
        until(lambda: state(url)["status"] == "paused")
        (server,) = (pid for pid in child_processes() if serves(pid, url))
        os.kill(server, signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert err == (
            "swarmsim: the run continues without its live page: component 'live page' failed: ProcessEnded: "
            "its process was killed by SIGKILL without leaving the swarm\n"
        )
        assert len(metrics(tmp_path)) == 3


def serves(process_id: int, url: str) -> bool:
    """Tell whether a process holds the socket that listens at `url`."""
    port = int(url.rsplit(":", 1)[1].rstrip("/"))
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listens = {f"socket:[{row[9]}]" for row in table if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    return any(str(link.readlink()) in listens for link in Path(f"/proc/{process_id}/fd").iterdir())


@pytest.mark.parametrize("link", ["inprocess", "queues"])
def test_a_port_that_is_taken_is_replaced_and_nothing_is_left_behind(capsys, link):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        small = {"rounds": 1, "population": 2, "episodes": 2, "link": link, "out": None}
        history = swarmsim.run(**small, live=True, live_port=port)
    (url,) = re.findall(r"live at (http://127\.0\.0\.1:\d+/)\n", capsys.readouterr().out)
    assert not url.endswith(f":{port}/")
    assert len(history) == 1
    assert list(Path(tempfile.gettempdir()).glob("swarmsim-live-*")) == []


def test_a_run_that_is_watched_has_the_very_same_result():
    small = {"rounds": 2, "population": 3, "episodes": 4, "ppo": LITTLE, "out": None}
    live, alone = swarmsim.run(**small, live=True, live_port=0), swarmsim.run(**small)
    assert [r.train_returns for r in live] == [r.train_returns for r in alone]
    assert [r.contribution for r in live] == [r.contribution for r in alone]


def test_a_disk_that_is_full_ends_the_page_alone(capsys, monkeypatch):
    class Filling(Report):
        def phase_began(self, round_number, phase, n_episodes):
            monkeypatch.setattr("swarmsim.views.live.write_atomically", self.fail)

        def fail(self, *_, durable):
            raise swarmsim.SettingsError("state.json cannot be written: No space left on device")

    small = {"rounds": 1, "population": 2, "episodes": 2, "out": None, "link": "inprocess"}
    assert len(swarmsim.run(**small, live=True, live_port=0, report=Filling())) == 1
    assert capsys.readouterr().err.count("the run continues without its live page: state.json cannot be written") == 1


def test_a_return_that_is_no_number_is_shown_as_none():
    live = LiveReport(0)
    live.began(History(SETTINGS_OF_A_RUN), 1)
    live.phase_began(1, TRAIN, 2)
    live.phase_ended(1, TRAIN, JobResult([float("nan"), 3.0], [1, 1], 1.0))
    assert state(live.url)["phase"]["returns"] == [None, 3.0]
    live.close()


def test_an_evaluation_within_training_is_shown_where_it_was_played_and_takes_no_speed_away(monkeypatch):
    monkeypatch.setattr(time, "monotonic", iter(range(1000)).__next__)
    live = LiveReport(0)
    live.phase_began(1, TRAIN, 2)
    live.episodes_ended([30.0], 30)
    speed = live._state["phase"]["steps_per_second"]
    live.evaluated(1, 40, JobResult([20.0, 30.0], [20, 30], 900.0))
    live.episodes_ended([], 60)
    assert live._state["phase"]["evaluations"] == [[40, 25.0, 1]]
    assert live._state["phase"]["steps_per_second"] > speed


def test_rates_are_told_over_no_less_than_half_a_second():
    traffic = Traffic()
    traffic.add(ComponentSnapshot("environment", [("action", "aggregation", 7)]), now=10.0)
    traffic.add(ComponentSnapshot("environment", [("action", "aggregation", 100)]), now=10.1)
    traffic.add(ComponentSnapshot("environment", [("action", "aggregation", 100)]), now=12.0)
    (row,) = traffic.by_process()
    assert row == {"room": "action", "from": "aggregation", "to": "environment", "number": 207, "rate": 100.0}
    traffic.add(ComponentSnapshot("environment", []), now=13.0)
    assert traffic.by_process()[0]["rate"] == 0.0


def test_rooms_are_shown_by_kinds_of_components_with_sums_and_without_those_of_the_swarm_itself():
    traffic = Traffic()
    for now, number in ((10.0, 5), (11.0, 20)):
        for receiver in ("model1", "models2-9"):
            traffic.add(ComponentSnapshot(receiver, [("observation", "environment", number)]), now)
            traffic.add(ComponentSnapshot(receiver, [("_command", "control", 1), ("", "evolution", 1)]), now)
        traffic.add(ComponentSnapshot("aggregation", [("logits", "model1", number), ("logits", "models2-9", 3)]), now)
        traffic.add(ComponentSnapshot("control", [("_logging", "model1", 2)]), now)
    assert traffic.by_kind() == [
        {"room": "", "from": "evolution", "to": "9 models", "number": 4, "rate": 2.0},
        {"room": "logits", "from": "9 models", "to": "aggregation", "number": 31, "rate": 23.0},
        {"room": "observation", "from": "environment", "to": "9 models", "number": 50, "rate": 40.0},
    ]
    assert len(traffic.by_process()) == 9
