"""The last part of the demo: a GPT is steered by what simulated judges taught; another model and the truth watch.

The whole loop on the playground: judged reviews → reward models → scores beside the truth → a GPT and its best.
"""

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.json_rows import to_row
from tastemaker.data.judgements import Judgement
from tastemaker.doctor.diagnosis import doctor
from tastemaker.evaluate.evaluation import evaluate
from tastemaker.files import writing_file
from tastemaker.gpt.best_of import best_of_n
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.pretraining import pretrain
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.text_sources import Documents
from tastemaker.maths.statistics import kendall
from tastemaker.playground.gold import gold_score
from tastemaker.playground.judges import Judge, judgements, troubled
from tastemaker.playground.writing import Language
from tastemaker.report.doctor_page import write_doctor_page
from tastemaker.report.frontier_page import write_frontier
from tastemaker.report.kl_frontier import frontier
from tastemaker.report.report_page import write_report
from tastemaker.report.steered_runs import best_of_curve
from tastemaker.reward.backbones import Tiny
from tastemaker.reward.fitting import fit
from tastemaker.reward.model import RewardModel
from tastemaker.rl.text.steer import Steered, steer

ALGORITHMS = ("ppo", "grpo")
_LONG = Sampling(temperature=0.7, max_tokens=100)
_NS, _POOL = (1, 2, 4, 8, 16), 256


def steer_demo(
    folder: Path, say: Callable[[str], None], *, steps: int, seed: int
) -> dict[str, Any]:
    """Steer the demo's GPT by its linear reward model, its network watching; write the frontier page.

    folder: the demo's. Returns what was found, JSON-ready.
    """
    policy, taste, judge = (
        Policy.load(folder / "gpt"),
        *(RewardModel.load(folder / f"en/{k}") for k in ("linear", "tiny")),
    )
    measures: dict[str, Any] = {"held_out": judge, "gold": "gold", "sampling": _LONG, "seed": seed}
    found: dict[str, Any] = {}
    for name in ALGORITHMS:
        say(
            f"\nSteering by {name.upper()}: the linear model is pleased, the network and the truth only watch"
        )
        out = folder / "steered" / name
        how: dict[str, Any] = {
            "steering": {"steps": steps, "windows": 6},
            "out": out,
            "overwrite": True,
        }
        steered = steer(
            policy, taste, algorithm=name, say=lambda line: say(f"  {line}"), **how, **measures
        )
        _say_outcome(steered, say)
        names = ("score", "held_out", "gold", "distinct")
        found[name] = {
            f"{key}_{when}": steered.figures[f"{key}_{when}"]
            for key in names
            for when in ("before", "after")
        }
        found[name] |= {"kl": steered.kl}
    curve = best_of_curve(policy, taste, ns=_NS, completions=_POOL, **measures)
    gold = curve.series["gold"]
    say(
        f"\n  beside them, at {curve.kl[-1]:.1f} nats: the best of {_NS[-1]} has gold {gold[0]:.1f} → {gold[-1]:.1f}"
    )
    page = frontier([folder / "steered" / name for name in ALGORITHMS], best_of=curve)
    write_frontier(page, folder / "steered" / "frontier")
    for course in page.courses:
        say(f"  {course.label}: {course.verdict}")
    return found | {f"gold_best_of_{_NS[-1]}": float(gold[-1])}


def _say_outcome(steered: Steered, say: Callable[[str], None]) -> None:
    say(f"  {steered}")
    sample = steered.samples[0]
    for when in ("before", "after"):
        say(f"  {when + ':':8}{' '.join(sample[when].split())[:150]}")


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
_REVIEWS = 20_000
_PROMPTS, _CHOSEN_OF = 32, 16
_STEPS = 60
_FRONTIER = "steered/frontier/frontier.html"
_SHORT = Sampling(max_tokens=120, min_p=0.03)
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "Chinese"}


def run_demo(folder: Path, *, texts: int, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Make data, fit `linear` and `tiny`, measure against gold, write reports; train a GPT and choose its best.

    folder: where everything is written. texts: judgements to learn from, for each language. Returns what was found,
    JSON-ready.
    """
    started = time.monotonic()
    found: dict[str, Any] = {"folder": str(folder), "languages": {}}
    for language, spoken in LANGUAGES.items():
        judges = troubled(n=10, seed=seed)
        train = judgements(texts, kind="mixed", judges=judges, language=language, seed=seed)
        test = judgements(500, kind="mixed", language=language, seed=seed + 1)
        said = ", ".join(
            f"{n:,} {kind}s" for kind, n in Counter(type(j).__name__.lower() for j in train).items()
        )
        say(
            f"\n{spoken}: {said}; of the ten simulated judges three answer at random and one upside down"
        )
        _keep(folder / language / "judgements.jsonl", train)
        _diagnose(train, folder / language / "doctor", say)
        models = {
            name: fit(
                train, backbone=backbone, seed=seed, out=folder / language / name, overwrite=True
            )
            for name, backbone in (("linear", "linear"), ("tiny", Tiny(vocabulary=2000)))
        }
        _say_judges(models["linear"], judges, say)
        _say_scores(models, SENTENCES[language], say)
        recovered = {backbone: _recovered(model, test) for backbone, model in models.items()}
        for backbone, tau in recovered.items():
            say(
                f"  {backbone:8} recovers gold on 500 unseen judgements' texts: Kendall's τ {tau:.3f}"
            )
        network = models["tiny"]
        report = evaluate(
            network,
            test,
            baseline=models["linear"],
            training_fingerprints=network.training_fingerprints,
            seed=seed,
        )
        write_report(report, folder / language / "report")
        found["languages"][language] = {"kendall_tau_with_gold": recovered}
    found["gpt"] = _gpt(folder, say, texts=texts, seed=seed)
    found["steered"] = steer_demo(folder, say, steps=_STEPS, seed=seed)
    found["seconds"] = round(time.monotonic() - started, 1)
    say(
        f"\n{found['seconds']:.0f} s in all. Reports: "
        + ", ".join(
            str(folder / page)
            for page in (*(f"{k}/report/report.html" for k in LANGUAGES), _FRONTIER)
        )
    )
    say(f"Let the steered GPT write: tastemaker write {folder / 'steered/ppo'} -n 3")
    say(
        f'Score a text of your own:  tastemaker score {folder / "en/tiny"} "The jokes are hardly funny."'
    )
    return found


def _gpt(folder: Path, say: Callable[[str], None], *, texts: int, seed: int) -> dict[str, float]:
    """Train a GPT on reviews and let it write; then choose the best of 16 by what the judges' model says."""
    say(
        "\nA GPT from nothing: its tokenizer, its spelling and its grammar are learned from reviews nobody judged"
    )
    source = f"playground:en:{max(1000, min(_REVIEWS, 7 * texts))}"
    policy = pretrain(
        Documents([source]),
        seed=seed,
        out=folder / "gpt",
        overwrite=True,
        say=lambda s: say(f"  {s}"),
    )
    taste = RewardModel.load(folder / "en/linear")
    best = best_of_n(policy, taste, [""] * _PROMPTS, n=_CHOSEN_OF, sampling=_SHORT, seed=seed)
    plain = policy.complete("", samples=_PROMPTS, sampling=_SHORT, seed=seed + 1)
    golds = [
        statistics.fmean(gold_score(c.text) for c in chosen)
        for chosen in (plain, [b.completion for b in best])
    ]
    say(
        f"  gold of what it writes: {golds[0]:.1f} of 10; of the linear model's best of {_CHOSEN_OF}: {golds[1]:.1f}"
    )
    for name, completion in (
        ("as it writes", plain[0]),
        (f"best of {_CHOSEN_OF}", best[0].completion),
    ):
        say(f"  {name + ':':13} {completion.text[:150]}")
    return {
        "perplexity": policy.figures["perplexity"],
        "gold": golds[0],
        f"gold_best_of_{_CHOSEN_OF}": golds[1],
    }


def _keep(path: Path, train: Sequence[Judgement]) -> None:
    """Write the judgements as JSON lines, to be looked at or fitted again."""
    with writing_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for judgement in train:
            file.write(json.dumps(to_row(judgement), ensure_ascii=False) + "\n")


def _say_scores(
    models: dict[str, RewardModel], sentences: Sequence[str], say: Callable[[str], None]
) -> None:
    scores = {backbone: model.score(list(sentences)) for backbone, model in models.items()}
    say(
        "  "
        + "".join(f"{backbone:>8}" for backbone in models)
        + f"{'gold':>8}   a few sentences (gold: 0 to 10)"
    )
    for number, sentence in enumerate(sentences):
        row = "".join(f"{values[number]:+8.2f}" for values in scores.values())
        say(f"  {row}{gold_score(sentence):8.1f}   {sentence}")


def _diagnose(train: Sequence[Judgement], folder: Path, say: Callable[[str], None]) -> None:
    """Let the doctor look at the judgements, and say what it found worst."""
    found = doctor(train)
    write_doctor_page(found, folder)
    for problem in found.problems[:2]:
        say(f"  doctor: {problem.what}")


def _say_judges(model: RewardModel, judges: Sequence[Judge], say: Callable[[str], None]) -> None:
    """Say how reliable the model found each kind of judge."""
    kinds: dict[str, list[float]] = {"careful": [], "at random": [], "upside down": []}
    for judge in judges:
        kind = "upside down" if judge.reversed else "at random" if judge.carelessness else "careful"
        kinds[kind].append(model.contract.judges[judge.name]["reliability"])
    shown = ", ".join(f"{kind} {min(r):+.2f} … {max(r):+.2f}" for kind, r in kinds.items() if r)
    say(
        f"  reliability of the judges as learned (1 follows the score, 0 guesses, −1 turns it around): {shown}"
    )


def _recovered(model: RewardModel, test: Sequence[Judgement]) -> float:
    """Return Kendall's τ of the model's scores and gold on texts it has not seen."""
    examples = [example for judgement in test for example in judgement.examples]
    scores = model.score_all(examples).values
    return float(kendall(scores, np.array([gold_score(example.text) for example in examples])))
