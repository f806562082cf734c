from selenium.webdriver.common.by import By

from swarmsim.cli import main
from tests.browser import IN_BROWSER, errors_in
from tests.commands.runs import FAILURE, a_run

NATURAL_WIDTHS = "return Array.from(document.images, image => image.complete ? image.naturalWidth : 0)"
IS_TOO_WIDE = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"


def texts(browser, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


@IN_BROWSER
def test_a_browser_shows_the_whole_report(browser, tmp_path):
    runs = [a_run(tmp_path / "<i>first", failures=[FAILURE]), a_run(tmp_path / "second", n_rounds=3, seed=1)]
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "report.html")]) == 0
    browser.get((tmp_path / "report.html").as_uri())

    assert texts(browser, "td.name") == ["<i>first", "second"]
    assert texts(browser, "#run-1 td.eval-evolved") == ["21.5", "43.0"]
    assert texts(browser, "#run-2 td.eval-evolved") == ["21.5", "43.0", "64.5"]
    assert texts(browser, "td.median") == ["53.8"]
    widths = browser.execute_script(NATURAL_WIDTHS)
    assert len(widths) == 7
    assert all(widths)

    traceback = browser.find_element(By.CSS_SELECTOR, ".failure pre")
    assert not traceback.is_displayed()
    browser.find_element(By.CSS_SELECTOR, ".failure summary").click()
    assert "ValueError: it is broken" in traceback.text

    size = browser.get_window_size()
    browser.set_window_size(500, 900)
    assert not browser.execute_script(IS_TOO_WIDE)
    browser.set_window_size(size["width"], size["height"])
    assert errors_in(browser) == []
