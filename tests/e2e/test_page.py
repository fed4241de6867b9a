"""The built-in pages in a real browser."""

import subprocess
import sys

import requests
from conftest import ROOT, wait_for

sys.path.append(str(ROOT / "tests" / "page"))
from browser import Browser  # noqa: E402


def test_the_page(oribi, tmp_path):
    command = [sys.executable, str(ROOT / "tests" / "page" / "run"), oribi.url, str(tmp_path / "screens")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_page_of_the_cluster(oribi, tmp_path):
    assert oribi.write("m,host=a v=1").status_code == 204
    with Browser(oribi.url, tmp_path) as browser:
        browser.driver.get(f"{oribi.url}/cluster")

        def text(selector):
            return browser.driver.execute_script("return document.querySelector(arguments[0]).innerText", selector)

        wait_for(lambda: "1 (this one)" in text("#nodes") and "up" in text("#nodes"), "the node to be listed")
        assert "is led by node 1" in text("#catalog")
        # Late in the day there is one for the next day, too.
        total = lambda: requests.get(f"{oribi.url}/api/v1/cluster", timeout=10).json()["tablets"]["total"]
        wait_for(lambda: text("#counts").split()[:3] == ["in", "all", str(total())], f"all tablets, {text('#counts')}")
        assert total() in (1, 2)
        assert browser.driver.execute_script("return document.getElementById('unwell').hidden")
        assert not browser.driver.get_log("browser")
