"""The notebook of the examples, run in a real kernel, with fewer and shorter rounds."""

import json
import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT, child_processes

NOTEBOOK = ROOT / "examples" / "first_steps.ipynb"
SETTINGS = "rounds=3, population=6, episodes=10, eval_episodes=5"
SHORTER = "rounds=2, population=4, episodes=3, eval_episodes=1"
LAST_CELL = "import psutil\n\n[child.name() for child in psutil.Process().children()]"


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> nbformat.NotebookNode:
    """The notebook after all its cells have run, in a folder of its own."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert sum(SETTINGS in cell.source for cell in notebook.cells) == 2
    for cell in notebook.cells:
        cell.source = cell.source.replace(SETTINGS, SHORTER)
    notebook.cells.append(nbformat.v4.new_code_cell(LAST_CELL))
    before = child_processes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(folder)}}).execute()
    assert child_processes() == before
    assert list(folder.iterdir()) == [folder / "ipython"]
    return notebook


def test_the_notebook_is_kept_without_outputs():
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_the_links_of_the_notebook_lead_somewhere():
    text = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all((NOTEBOOK.parent / link).exists() for link in links)


def test_a_history_shows_itself_as_a_table(executed):
    (table,) = [output.data["text/html"] for output in outputs(executed) if "text/html" in output.get("data", {})]
    assert "<table" in table
    assert table.count("<tr") == 1 + 2


def test_its_pictures_are_shown(executed):
    pictures = [output.data["image/png"] for output in outputs(executed) if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    assert all(picture.startswith("iVBORw0KGgo") for picture in pictures)  # what every PNG begins with, in base64


def test_its_cells_print_shares_and_nothing_on_stderr(executed):
    streams = [output for output in outputs(executed) if output.output_type == "stream"]
    assert {stream.name for stream in streams} == {"stdout"}
    shares = [float(share) for share in re.findall(r"^model\d  ([\d.]+)", streams[0].text, flags=re.MULTILINE)]
    assert sum(shares) == pytest.approx(1.0, abs=0.01)


def test_components_that_a_kernel_forks_come_to_what_one_process_comes_to(executed):
    assert outputs(executed)[-2].data["text/plain"] == "True"


def test_no_component_is_left_in_the_kernel(executed):
    assert outputs(executed)[-1].data["text/plain"] == "[]"
