"""The loop of examples/imdb runs on real reviews, and ends with the figures of its README."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "imdb"
Run = Callable[..., tuple[int, str, str]]


def _figures_of_the_readme() -> dict[str, float]:
    """Return the first number of each row of the table, by the first word of the row."""
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) [^|]*\|\D*?([−\d.]+)", text, flags=re.MULTILINE)
    return {name: float(number.replace("−", "-")) for name, number in rows}


@pytest.mark.slow
@pytest.mark.timeout(1500)  # where others use the machine
def test_the_small_loop_on_imdb_runs_as_its_readme_says(
    run: Run, shared_data: Path, tmp_path: Path
) -> None:
    archive = shared_data / "aclImdb.tar.gz"
    if not archive.is_file():
        pytest.skip(f"the reviews are not here: {archive}")
    (tmp_path / "aclImdb_v1.tar.gz").symlink_to(archive)
    shutil.copy(EXAMPLE / "small.yaml", tmp_path)
    began = time.process_time()
    code, out, err = run(
        "loop", tmp_path / "small.yaml", "--out", tmp_path / "small", "--json"
    )
    assert code == 0, err
    assert time.process_time() - began < 180  # 70 on an idle machine
    result = json.loads(out)
    assert not any(stage["cached"] for stage in result["stages"])

    def measured(stage: str) -> dict[str, Any]:
        text = (tmp_path / "small" / stage / "stage.json").read_text("utf-8")
        content: dict[str, Any] = json.loads(text)["result"]
        return content

    evaluation = measured("evaluate")["evaluation"]
    readme = _figures_of_the_readme()
    assert evaluation["accuracy"] == pytest.approx(readme["accuracy"], abs=0.02)
    assert evaluation["mae"] == pytest.approx(readme["error"], abs=0.1)
    perplexity = measured("gpt")["perplexity"]
    assert perplexity == pytest.approx(readme["perplexity"], rel=0.05)
    page = Path(result["report"]).read_text(encoding="utf-8")
    for words in ("usable to order texts", "not really better", "no problems"):
        assert words in page
