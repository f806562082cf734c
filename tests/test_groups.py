import os

import pytest

from tests.conftest import TIMED


@TIMED
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one worker alone, so nothing runs at once")
def test_tests_of_one_group_have_one_worker(request):
    assert request.node.nodeid.endswith("@timed")
