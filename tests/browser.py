"""A real browser without a screen, in which tests open pages."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

IN_BROWSER = pytest.mark.xdist_group("browser")  # so that one browser does for all
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,900",
)


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator["Chrome"]:
    """Chromium, one for all tests, with a profile of its own; its console can be read by `errors_in`."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("Chromium is not here: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    chrome.set_page_load_timeout(30)
    yield chrome
    chrome.quit()


def errors_in(chrome: "Chrome") -> list[str]:
    """Return what the page's console holds of errors since it was last asked."""
    return [entry["message"] for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]
