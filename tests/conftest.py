"""Fixtures that every test may use."""

import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import tastemaker  # noqa: F401  # before torch, which reads the variables that it sets

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
# reports of fits and of steered runs take seconds; tests that are about them ask for them
os.environ.setdefault("TASTEMAKER_REPORT", "0")

# a busy machine is no failure of a property; the same cases in each run, unless asked otherwise
settings.register_profile(
    "tastemaker",
    deadline=None,
    derandomize=os.environ.get("TASTEMAKER_RANDOM_CASES") != "1",
)
settings.load_profile("tastemaker")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that no process is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup() -> None:
    """Draw the same whatever ran before, also where a test or a fixture draws without a seed of its
    own.
    """
    import torch

    torch.manual_seed(0)


@pytest.hookimpl(trylast=True)  # after the fixtures have ended what they started
def pytest_sessionfinish() -> None:
    """Kill the servers and commands that failed tests have left; Python would wait for them."""
    for process in multiprocessing.active_children():
        process.kill()


SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data is not here: {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def field_data() -> Path:
    """The folder of small files that users had trouble with; skips where it is absent."""
    folder = SHARED_DATA.parent / "field" / "data"
    if not folder.is_dir():
        pytest.skip(f"the files of users are not here: {folder}")
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run one command line in this process; returns exit code, stdout and stderr."""
    from tastemaker.cli import main

    def go(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return go


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test imports modules that it writes; afterwards they and their folder are forgotten."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture(scope="session")
def shared_chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium under Selenium; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    exceptions = pytest.importorskip("selenium.common.exceptions")
    driver, browser = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or browser is None:
        pytest.skip(
            "no chromium and chromedriver: no page was opened in a real browser"
        )
    chrome = None
    for is_last in (False, False, True):
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for name in (
            "headless=new",
            "no-sandbox",
            "disable-gpu",
            "disable-dev-shm-usage",
            "no-first-run",
            "window-size=1200,900",
            f"user-data-dir={tmp_path_factory.mktemp('profile')}",
        ):
            options.add_argument(f"--{name}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(driver)
        try:
            chrome = webdriver.Chrome(options=options, service=service)
            break
        except exceptions.WebDriverException:  # many start at once on few cores
            if is_last:
                raise
    assert chrome is not None
    chrome.set_script_timeout(300)
    yield chrome
    chrome.quit()


@pytest.fixture
def chromium(shared_chromium: Any) -> Any:
    """The Chromium, as it is at its start: nothing of another test is left."""
    shared_chromium.get("about:blank")
    tell = shared_chromium.execute_cdp_cmd
    tell("Emulation.clearDeviceMetricsOverride", {})
    tell("Emulation.setEmulatedMedia", {"media": "", "features": []})
    tell("Page.setBypassCSP", {"enabled": False})
    tell("Network.setBlockedURLs", {"urls": []})
    shared_chromium.get_log("browser")
    return shared_chromium


@pytest.fixture
def two_threads() -> Iterator[None]:
    """torch has two threads while a test runs."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
