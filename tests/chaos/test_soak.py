"""Many clients that talk by TCP for long lose no message, and leave nothing with the server."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT, cells


@pytest.mark.long
def test_fifty_clients_get_every_message_and_the_server_holds_no_more_of_them_after_a_while(tmp_path):
    program = [sys.executable, ROOT / "benchmarks" / "soak.py", "--clients", "50", "--minutes", "0.5"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [cells(line) for line in done.stdout.splitlines() if line.startswith("| ")]
    counts = {kind: rest for kind, *rest in lines if kind in ("to rooms", "direct", "to the sender itself")}
    assert len(counts) == 3
    for sent, expected, received in counts.values():
        assert sent != "0"
        assert expected == received
    looks = [(float(rest[0]), int(rest[1])) for after, *rest in lines if after.endswith(" s")]
    assert len(looks) > 10
    assert looks[-1][0] < looks[len(looks) // 4][0] + 4
    assert looks[-1][1] <= looks[0][1] < 50 <= max(descriptors for _, descriptors in looks)
