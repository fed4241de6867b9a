"""The built-in page in a real browser."""

import subprocess
import sys

from conftest import ROOT


def test_the_page(oribi, tmp_path):
    command = [sys.executable, str(ROOT / "tests" / "page" / "run"), oribi.url, str(tmp_path / "screens")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
