"""The example on IMDB runs as documented, on real reviews."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "imdb"


@pytest.mark.slow
def test_the_small_example_runs_on_real_reviews(
    run: Callable[..., tuple[int, str, str]], shared_data: Path, tmp_path: Path
) -> None:
    archive = shared_data / "aclImdb.tar.gz"
    if not archive.is_file():
        pytest.skip(f"the real reviews are not here: {archive}")
    (tmp_path / "aclImdb_v1.tar.gz").symlink_to(archive)
    text = (EXAMPLE / "small.yaml").read_text("utf-8")
    (tmp_path / "small.yaml").write_text(text)
    began = time.process_time()
    words = ("loop", tmp_path / "small.yaml", "--out", tmp_path / "small", "--json")
    code, out, err = run(*words)
    assert code == 0, err
    assert time.process_time() - began < 120  # 60 on an idle machine
    result = json.loads(out)
    page = (tmp_path / "small" / "report.html").read_text("utf-8")
    for heading in ("What you can rely on", "The steered GPT", "What it cost"):
        assert heading in page
    fitted = json.loads((tmp_path / "small" / "fit" / "tastemaker.json").read_text())
    # 400 reviews of both classes teach more than a coin knows
    assert fitted["evaluation"]["accuracy"] > 0.6
    assert result["score_after"] is not None
    assert len(page.encode()) < 3_000_000
