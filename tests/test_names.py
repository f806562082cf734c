import pytest

from swarmsim.names import describe_group, kind_of, natural_key, shorten


def test_names_are_ordered_by_their_numbers():
    names = ["model10", "model2", "a3-b10", "a3-b9", "model"]
    assert sorted(names, key=natural_key) == ["a3-b9", "a3-b10", "model", "model2", "model10"]


@pytest.mark.parametrize(
    ("process", "kind"),
    [
        ("models0-9", "model"),
        ("model3", "model"),
        ("model", "model"),
        ("worker7", "worker"),
        ("environment", "environment"),
        ("12", "12"),
        ("", ""),
    ],
)
def test_a_process_has_the_kind_of_its_name(process, kind):
    assert kind_of(process) == kind


@pytest.mark.parametrize(
    ("processes", "lines"),
    [
        (["models0-9", "models10-19"], ["20 models", "2 processes"]),
        (["models0-1999"], ["2,000 models"]),
        (["model0"], ["1 model"]),
        (["model0", "model1"], ["2 models", "2 processes"]),
        (["model"], ["1 model"]),
        (["worker7"], ["worker7"]),
        (["worker7", "worker8"], ["worker", "2 processes"]),
    ],
)
def test_many_processes_are_describe_group(processes, lines):
    assert describe_group(kind_of(processes[0]), processes) == lines


def test_a_long_name_is_shorten():
    assert [shorten("aggregation", most) for most in (11, 10, 1)] == ["aggregation", "aggregati…", "…"]
