"""Make the README's animation: people rank on a real page, and a GPT's texts get better.

    tastemaker demo --out demo
    python scripts/pictures.py demo --out docs/images/loop.gif

Every frame is real: the page of `tastemaker rank` in a browser, samples and figures that the demo's
steered run stored, and the first screen of the demo's report. With --still FILE.png only that
first screen is written, of any folder with a report. Needs chromium, chromedriver and selenium;
Pillow comes with matplotlib.
"""

import argparse
import html
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains

WIDTH, HEIGHT = 800, 600
COLOURS, STILL_COLOURS = 64, 128
MOST_BYTES = 1_000_000
RANKED, CURVE_FRAMES, SHOWN_SAMPLES = 3, 8, 3

Frame = tuple[Image.Image, int]
"""A picture and how long it is shown, in milliseconds."""

SLIDE = """<!DOCTYPE html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 28px 36px; font: 17px/1.5 system-ui, sans-serif; color: #1c2733;
  background: #f6f8fa; box-sizing: border-box; height: {height}px; }}
h1 {{ font-size: 23px; margin: 0 0 14px; }}
.card {{ background: #fff; border: 1px solid #dde3e9; border-left: 6px solid {colour};
  border-radius: 10px; padding: 12px 18px; margin: 0 0 12px; }}
.score {{ color: #55616d; font-size: 14px; font-weight: 600; }}
svg text {{ font-size: 14px; fill: #55616d; }}
</style><h1>{title}</h1>{body}"""


def main() -> None:
    """Write the animation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="What `tastemaker demo --out` wrote.")
    parser.add_argument("--out", type=Path, default=Path("docs/images/loop.gif"))
    parser.add_argument("--frames", type=Path, help="Also write each frame there.")
    parser.add_argument(
        "--still", type=Path, help="Write only the report's first screen there."
    )
    given = parser.parse_args()
    if given.still is not None:
        write_still(given.demo / "report.html", given.still)
        return
    steered = min(given.demo.glob("**/steering.json")).parent
    with browser() as driver:
        frames = [
            *ranking(driver),
            *writing(driver, steered),
            *reporting(driver, given.demo / "report.html"),
        ]
    data = animation(frames)
    if len(data) > MOST_BYTES:
        sys.exit(f"{len(data):,} bytes: more than {MOST_BYTES:,}; nothing was written.")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_bytes(data)
    if given.frames is not None:
        given.frames.mkdir(parents=True, exist_ok=True)
        for number, (picture, _) in enumerate(frames):
            picture.save(given.frames / f"{number:02d}.png")
    print(f"{given.out}: {len(frames)} frames, {len(data):,} bytes")


def write_still(report: Path, out: Path) -> None:
    """Write the first screen of a report as a picture."""
    with browser() as driver:
        ((picture, _),) = reporting(driver, report)
    picture.quantize(STILL_COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size:,} bytes")


def animation(frames: list[Frame]) -> bytes:
    """Return frames as a GIF that goes round for ever."""
    pictures = [
        picture.quantize(COLOURS, dither=Image.Dither.NONE) for picture, _ in frames
    ]
    file = io.BytesIO()
    pictures[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[milliseconds for _, milliseconds in frames],
        loop=0,
        optimize=True,
    )
    return file.getvalue()


@contextmanager
def browser() -> Iterator[Any]:
    """Open a browser whose window is as large as a frame."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(argument)
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield driver
    finally:
        driver.quit()


def picture_of(driver: Any) -> Image.Image:
    """Return what the window shows."""
    time.sleep(0.2)  # what moves comes to rest
    return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")


# --- people rank ------------------------------------------------------------------------------


def ranking(driver: Any) -> Iterator[Frame]:
    """Yield a judge who puts three texts in order, key by key."""
    from tastemaker.playground import reviews

    texts = sorted(reviews(60, seed=5), key=len)[:RANKED]
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"prompt": "Write about the film.", "answers": texts}]
        rows.append({"prompt": "And once more.", "answers": texts[:2]})
        items = Path(folder) / "items.jsonl"
        items.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with page_of(Path(folder) / "judgements.db", items) as link:
            driver.get(link)
            yield picture_of(driver), 1800
            for key in ("2", "3", "1"):
                ActionChains(driver).send_keys(key).perform()
                yield picture_of(driver), 1000


@contextmanager
def page_of(store: Path, items: Path) -> Iterator[str]:
    """Run `tastemaker rank` and give the judge's link."""
    command = [sys.executable, "-m", "tastemaker", "rank", str(store), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--items", str(items)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            match = re.search(r": (http://127\.0\.0\.1:\d+/\S+)\n", line)
            if match:
                yield match[1]
                return
        sys.exit("the page did not start: " + "".join(lines))
    finally:
        process.terminate()
        process.wait()


# --- a GPT gets better ------------------------------------------------------------------------


def writing(driver: Any, folder: Path) -> Iterator[Frame]:
    """Yield samples before, the gold score over the steps, and samples after."""
    results = json.loads((folder / "steering.json").read_text("utf-8"))
    lines = (folder / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    gold = [json.loads(line)["gold"] for line in lines]
    samples = results["samples"][:SHOWN_SAMPLES]
    before, after = results["gold_before"], results["gold_after"]
    title = f"The GPT before: true score {before:.1f} of 10"
    yield slide(driver, title, cards(samples, "before"), "#d55e00"), 2600
    for frame in range(1, CURVE_FRAMES + 1):
        steps = len(gold) * frame // CURVE_FRAMES
        title = f"It learns what people like: step {steps}"
        yield slide(driver, title, curve(gold, steps), "#0072b2"), 350
    title = f"The GPT after: true score {after:.1f} of 10"
    yield slide(driver, title, cards(samples, "after"), "#009e73"), 3200


def slide(driver: Any, title: str, body: str, colour: str) -> Image.Image:
    """Return a page of ours as a picture."""
    page = SLIDE.format(height=HEIGHT, title=title, body=body, colour=colour)
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
        file.write(page)
        file.flush()
        driver.get(Path(file.name).as_uri())
        return picture_of(driver)


def cards(samples: list[dict[str, Any]], side: str) -> str:
    """Return samples with their scores."""
    shown = []
    for sample in samples:
        score = f"score {sample[f'score_{side}']:+.1f}"
        text = html.escape(sample[side])
        shown.append(
            f'<div class="card">{text} <span class="score">{score}</span></div>'
        )
    return "".join(shown)


def curve(gold: list[float], steps: int) -> str:
    """Return the true score of the first steps as a drawing."""
    wide, high = 700, 430
    points = []
    for step, value in enumerate(gold[:steps]):
        x = 40 + (wide - 60) * step / max(1, len(gold) - 1)
        points.append(f"{x:.0f},{high - 30 - (high - 60) * value / 10:.0f}")
    marks = []
    for value in (0, 5, 10):
        y = high - 30 - (high - 60) * value / 10
        marks.append(f'<text x="8" y="{y + 5:.0f}">{value}</text>')
        marks.append(f'<path d="M40 {y:.0f}H{wide - 20}" stroke="#dde3e9"/>')
    return (
        f'<div class="card"><svg width="{wide}" height="{high}">{"".join(marks)}'
        f'<polyline points="{" ".join(points)}" fill="none" stroke="#0072b2" '
        f'stroke-width="3"/><text x="40" y="{high - 6}">the true score of its texts, which the '
        "training does not see</text></svg></div>"
    )


def reporting(driver: Any, report: Path) -> Iterator[Frame]:
    """Yield the first screen of the report."""
    driver.get(report.resolve().as_uri())
    yield picture_of(driver), 3500


if __name__ == "__main__":
    main()
