"""The demo: the whole loop in an invented world of film reviews whose gold score is known.

Simulated judges judge reviews, and a store keeps what they judged; a reward model learns from them
and is compared with the gold score; a GPT is trained, and steered by the reward model while a
second one and the gold score watch. It is the loop of `tastemaker loop`, with the settings that
stand here.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tastemaker.data.reading import read
from tastemaker.data.store import Store, import_judgements
from tastemaker.errors import UsageError
from tastemaker.files import writing_file
from tastemaker.loop.loop import REPORT, Loop, LoopResult
from tastemaker.loop.stages import Planned
from tastemaker.loop.work import HELD_OUT, TRAIN
from tastemaker.playground.judges import troubled
from tastemaker.playground.writing import Language

Say = Callable[[str], None]

SENTENCES: dict[Language, tuple[str, ...]] = {
    "en": (
        "The acting was brilliant and the story was very moving.",
        "The story was dull, but the music was superb.",
        "The music was superb, but the story was dull.",
        "The ending was not good.",
        "The story was terrible and the jokes were awful.",
        "brilliant brilliant brilliant brilliant",
    ),
    "zh": (
        "表演非常精彩。",
        "剧情很无聊，但是音乐很动听。",
        "音乐很动听，但是剧情很无聊。",
        "剧情很糟糕。",
    ),
}
ALGORITHM = "grpo"
STORE = "judgements.db"
_FEWEST = 100
_REVIEWS = 20_000  # at most, for pretraining
_RANKED = "8-12"  # texts of a ranking
_NOTES = {
    "collect": "judges are simulated: three of ten answer at random, one in reverse",
    "watcher": "a second model, of other judgements, will show whether the gain is real",
}


def loop_of(language: Language, *, texts: int) -> dict[str, Any]:
    """Return the loop of a language, as a loop file would say it.

    texts: judgements to learn from. Three quarters rank ten texts or so, which tells most.
    """
    rankings = 3 * texts // 4
    reviews = max(1000, min(_REVIEWS, 10 * texts))
    place = f"playground:{language}"
    return {
        "judgements": [
            f"{place}:{rankings}:ranking:{_RANKED}:troubled",
            f"{place}:{texts - rankings}:mixed:troubled",
        ],
        "held_out": [f"{place}:500:mixed"],
        "language": language,
        "gold": "gold",
        "fit": {"backbone": "linear", "repeats": True},
        "evaluate": {"show": list(SENTENCES[language])},
        "watcher": {
            "backbone": "linear",
            "repeats": True,
            "judgements": f"{place}:{texts // 3}:ranking:{_RANKED}:troubled",
        },
        "pretrain": {"texts": f"{place}:{reviews}"},
        "steer": {
            "algorithms": {ALGORITHM: {"lr": 8e-4, "entropy": 0.03}},
            "steps": 120,
            "batch": 96,
            "windows": 8,
            "temperature": 0.7,
            "max_tokens": 100,
        },
        "best_of": 16,
    }


def plan_demo(
    folder: Path, *, texts: int, seed: int, language: Language = "en"
) -> list[Planned]:
    """Return the stages of the demo, and about how long they take. Nothing is computed."""
    loop = Loop(loop_of(language, texts=texts), seed=seed)
    return loop.plan(folder / language)


def run_demo(
    folder: Path,
    *,
    texts: int,
    seed: int,
    say: Say,
    language: Language = "en",
) -> dict[str, Any]:
    """Run the loop of a language, and write data, models and reports.

    folder: for all files. texts: judgements to learn from. say: prints a line. Returns the
    results, JSON-ready. Raises UsageError for too few judgements.
    """
    if texts < _FEWEST:
        raise UsageError(
            f"texts {texts}: a demo learns from {_FEWEST} judgements or more."
        )
    began = time.monotonic()
    loop = Loop(loop_of(language, texts=texts), seed=seed)
    done = loop.run(folder / language, say=_with_notes(say))
    keep_judgements(folder / language)
    _say_judges(done.results["fit"], seed, say)
    results = {
        "folder": str(folder),
        "language": language,
        "kendall_tau_with_gold": done.results["evaluate"]["tau_with_gold"],
        **_of_the_gpt(done, say),
    }
    with writing_file(folder / REPORT) as temporary:
        shutil.copyfile(done.report, temporary)
    results["report"] = str(folder / REPORT)
    results["seconds"] = round(time.monotonic() - began, 1)
    _say_the_end(folder, language, results, say)
    return results


def keep_judgements(folder: Path) -> None:
    """Write the judgements of a loop's folder into a store, once, which `tastemaker rank` opens.

    Each item wants one more judgement, so that people can judge beside the simulated judges.
    """
    store = Store(folder / STORE)
    try:
        for name in (TRAIN, HELD_OUT):
            judged = read(folder / "collect" / name)
            import_judgements(store, judged, wanted=2)
    finally:
        store.close()


def _with_notes(say: Say) -> Say:
    """Return `say` with a note below the heading of some stages."""

    def speak(line: str) -> None:
        say(line)
        words = line.split()
        if len(words) > 1 and words[0].startswith("["):
            note = _NOTES.get(words[1].rstrip(":"))
            if note:
                say(f"  {note}")

    return speak


def _say_judges(fitted: Mapping[str, Any], seed: int, say: Say) -> None:
    """Say the learned reliability of each kind of judge."""
    kinds: dict[str, list[float]] = {
        "careful": [],
        "random": [],
        "reversed": [],
    }
    learned = fitted["judges"]
    for judge in troubled(n=10, seed=seed):
        kind = "random" if judge.carelessness else "careful"
        if judge.reversed:
            kind = "reversed"
        if judge.name in learned:  # judges with few judgements have none
            kinds[kind].append(learned[judge.name]["reliability"])
    parts = []
    for kind, values in kinds.items():
        if values:
            parts.append(f"{kind} {min(values):+.2f} … {max(values):+.2f}")
    say(
        "  learned reliability of the judges (1 follows the score, 0 is random, −1 is reversed):"
    )
    say(f"  {', '.join(parts)}")


def _of_the_gpt(done: LoopResult, say: Say) -> dict[str, Any]:
    """Return what the GPT's stages measured."""
    names = ("score", "held_out", "gold", "distinct")
    steered = {}
    for stage, figures in done.results.items():
        if not stage.startswith("steer-"):
            continue
        values = {"kl": figures["kl"]}
        for name in names:
            for when in ("before", "after"):
                values[f"{name}_{when}"] = figures[f"{name}_{when}"]
        steered[stage.removeprefix("steer-")] = values
        say(
            f"\n{stage}: gold score {values['gold_before']:.1f} → {values['gold_after']:.1f} of 10 "
            f"at {values['kl']:.1f} nats"
        )
    best_of = done.results["best-of"]
    gold = best_of["series"]["gold"]
    return {
        "gpt": {
            "perplexity": done.results["gpt"]["perplexity"],
            "gold": gold[0],
            f"gold_best_of_{best_of['n']}": gold[-1],
        },
        "steered": steered,
        f"gold_best_of_{best_of['n']}": gold[-1],
    }


def _say_the_end(
    folder: Path, language: Language, results: Mapping[str, Any], say: Say
) -> None:
    """Say where everything is, and what to do with it."""
    place = folder / language
    lines: Sequence[str] = (
        f"\n{results['seconds']:.0f} s in all. Report: {results['report']}",
        f"Generate with the steered GPT: tastemaker write {place / f'steer-{ALGORITHM}'} -n 3",
        f"Judge beside these judges:     tastemaker rank {place / STORE}",
        f"Score your own text:           tastemaker score {place / 'fit'} "
        f'"{SENTENCES[language][0]}"',
        "In Chinese (中文):               tastemaker demo --language zh",
    )
    for line in lines:
        say(line)
