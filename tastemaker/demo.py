"""The demo: the whole loop in an invented world of film reviews whose gold score is known.

Simulated judges judge reviews; reward models learn from them and are compared with the gold score;
a GPT is trained, and steered by the linear reward model while a network and the gold score watch.
"""

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.formats.single import to_row
from tastemaker.data.judgements import Judgement
from tastemaker.doctor.diagnosis import Diagnosis, doctor
from tastemaker.evaluate.evaluation import evaluate
from tastemaker.files import writing_file
from tastemaker.gpt.policy import Completion, Policy, best_of_n
from tastemaker.gpt.pretraining import pretrain
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.text_sources import Documents
from tastemaker.maths.statistics import kendall
from tastemaker.playground.gold import gold_score
from tastemaker.playground.judges import Judge, judgements, troubled
from tastemaker.playground.writing import Language
from tastemaker.report.data_part import write_doctor_page
from tastemaker.report.frontier_page import write_frontier
from tastemaker.report.kl_frontier import frontier
from tastemaker.report.report_page import write_report
from tastemaker.report.steered_runs import best_of_curve
from tastemaker.reward.backbones import Tiny
from tastemaker.reward.fitting import Backbones, fit
from tastemaker.reward.model import RewardModel
from tastemaker.rl.text.steer import steer

Say = Callable[[str], None]

ALGORITHMS = ("ppo", "grpo")
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "Chinese"}
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
_REVIEWS = 20_000  # at most, for pretraining
_PROMPTS, _CHOSEN_OF = 32, 16
_STEPS = 40
_WITH_NETWORK = ("en",)
_SHOWN_PROBLEMS = 2
_SHORT = Sampling(max_tokens=120, min_p=0.03)
_LONG = Sampling(temperature=0.7, max_tokens=100)
_NS, _POOL = (1, 2, 4, 8, 16), 256
_SHOWN_CHARACTERS = 150


def run_demo(
    folder: Path, *, texts: int, seed: int, say: Say
) -> dict[str, Any]:
    """Run all stages and write data, models and reports.

    folder: for all files. texts: judgements to learn from, for each language. say: prints a line.
    Returns the results, JSON-ready.
    """
    started = time.monotonic()
    languages = {}
    for language in LANGUAGES:
        recovered = _learn(
            folder / language, say, language=language, texts=texts, seed=seed
        )
        languages[language] = {"kendall_tau_with_gold": recovered}
    results: dict[str, Any] = {"folder": str(folder), "languages": languages}
    results["gpt"] = _gpt(folder, say, texts=texts, seed=seed)
    results["steered"] = steer_demo(folder, say, steps=_STEPS, seed=seed)
    results["seconds"] = round(time.monotonic() - started, 1)
    pages = [
        folder / language / "report" / "report.html" for language in LANGUAGES
    ]
    pages.append(folder / "steered" / "frontier" / "frontier.html")
    say(
        f"\n{results['seconds']:.0f} s in all. Reports: {', '.join(map(str, pages))}"
    )
    say(
        f"Generate with the steered GPT: tastemaker write {folder / 'steered/ppo'} -n 3"
    )
    winner = _winner(languages["en"]["kendall_tau_with_gold"])
    model = folder / "en" / winner
    say(
        f'Score your own text:           tastemaker score {model} "The jokes are hardly funny."'
    )
    return results


def _learn(
    folder: Path, say: Say, *, language: Language, texts: int, seed: int
) -> dict[str, float]:
    """Fit `linear`, and `tiny` for English, and compare them with the gold score.

    Returns Kendall's τ with gold of each.
    """
    judges = troubled(n=10, seed=seed)
    train = judgements(
        texts, kind="mixed", judges=judges, language=language, seed=seed
    )
    test = judgements(500, kind="mixed", language=language, seed=seed + 1)
    counts = Counter(judgement.kind for judgement in train)
    kinds = ", ".join(f"{count:,} {kind}s" for kind, count in counts.items())
    say(f"\n{LANGUAGES[language]}: {kinds}")
    say("  by ten simulated judges: three answer at random, one in reverse")
    _write_judgements(folder / "judgements.jsonl", train)
    backbones: dict[str, Backbones] = {"linear": "linear"}
    # one network shows the comparison, and watches the steering
    if language in _WITH_NETWORK:
        backbones["tiny"] = Tiny(vocabulary=2000)
    models = {}
    for name, backbone in backbones.items():
        out = folder / name
        models[name] = fit(
            train, backbone=backbone, seed=seed, out=out, overwrite=True
        )
    # the fit has cross-fitted the judges already
    diagnosis = doctor(train, judges=models["linear"].contract.judges)
    write_doctor_page(diagnosis, folder / "doctor")
    for problem in _worst(diagnosis):
        say(f"  doctor: {problem}")
    _say_judges(models["linear"], judges, say)
    _say_scores(models, SENTENCES[language], say)
    recovered = {
        name: _tau_with_gold(model, test) for name, model in models.items()
    }
    for name, tau in recovered.items():
        say(
            f"  {name:8} Kendall's τ with the gold score, held-out texts: {tau:.3f}"
        )
    winner = _winner(recovered)
    model = models[winner]
    rival = models["linear"] if winner != "linear" else None
    evaluation = evaluate(
        model,
        test,
        baseline=rival,
        training_fingerprints=model.training_fingerprints,
        training_sketches=model.training_sketches,
        seed=seed,
    )
    say(f"  {winner} on new judgements: {evaluation.verdict()}")
    write_report(evaluation, folder / "report")
    return recovered


def _winner(recovered: Mapping[str, float]) -> str:
    """Return the name of the model that is closest to the gold score."""
    return max(recovered, key=lambda name: recovered[name])


def _worst(diagnosis: Diagnosis) -> list[str]:
    """Return the problems of judges, then the worst other ones, with the judges' names."""
    lines = []
    for problem in diagnosis.problems:
        if problem.name in ("reversed_judges", "careless_judges"):
            names = ", ".join(sorted(problem.examples))
            lines.append(f"{problem.what} ({names})")
    for problem in diagnosis.problems[:_SHOWN_PROBLEMS]:
        if not problem.name.endswith("_judges"):
            lines.append(problem.what)
    return lines


def _write_judgements(path: Path, train: Sequence[Judgement]) -> None:
    """Write the judgements as JSON lines."""
    with (
        writing_file(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for judgement in train:
            file.write(
                json.dumps(to_row(judgement), ensure_ascii=False) + "\n"
            )


def _say_judges(model: RewardModel, judges: Sequence[Judge], say: Say) -> None:
    """Say the learned reliability of each kind of judge."""
    kinds: dict[str, list[float]] = {
        "careful": [],
        "random": [],
        "reversed": [],
    }
    learned = model.contract.judges
    for judge in judges:
        kind = "random" if judge.carelessness else "careful"
        if judge.reversed:
            kind = "reversed"
        if judge.name in learned:  # judges with few judgements have none
            kinds[kind].append(learned[judge.name]["reliability"])
    parts = [
        f"{kind} {min(r):+.2f} … {max(r):+.2f}"
        for kind, r in kinds.items()
        if r
    ]
    say(
        "  learned reliability of the judges (1 follows the score, 0 is random, −1 is reversed):"
    )
    say(f"  {', '.join(parts)}")


def _say_scores(
    models: Mapping[str, RewardModel], sentences: Sequence[str], say: Say
) -> None:
    """Say the score of each model, and the gold score, for a few sentences."""
    scores = [model.score(list(sentences)) for model in models.values()]
    heading = "".join(f"{name:>8}" for name in models)
    say(f"  {heading}{'gold':>8}   scores of a few sentences (gold: 0 to 10)")
    for number, sentence in enumerate(sentences):
        row = "".join(f"{values[number]:+8.2f}" for values in scores)
        say(f"  {row}{gold_score(sentence):8.1f}   {sentence}")


def _tau_with_gold(model: RewardModel, test: Sequence[Judgement]) -> float:
    """Return Kendall's τ between the model's scores and the gold scores."""
    examples = [
        example for judgement in test for example in judgement.examples
    ]
    gold = np.array([gold_score(example.text) for example in examples])
    return float(kendall(model.score_all(examples).values, gold))


def _gpt(folder: Path, say: Say, *, texts: int, seed: int) -> dict[str, float]:
    """Pretrain a GPT on reviews; then choose the best of 16 completions by the linear model."""
    say(
        "\nPretraining a GPT: tokenizer, spelling and grammar are learned from unjudged reviews"
    )
    source = f"playground:en:{max(1000, min(_REVIEWS, 7 * texts))}"
    policy = pretrain(
        Documents([source]),
        seed=seed,
        out=folder / "gpt",
        overwrite=True,
        say=lambda line: say(f"  {line}"),
    )
    model = RewardModel.load(folder / "en" / "linear")
    best = best_of_n(
        policy,
        model,
        [""] * _PROMPTS,
        n=_CHOSEN_OF,
        sampling=_SHORT,
        seed=seed,
    )
    chosen = [result.completion for result in best]
    plain = policy.complete(
        "", samples=_PROMPTS, sampling=_SHORT, seed=seed + 1
    )
    gold, best_gold = _mean_gold(plain), _mean_gold(chosen)
    say(
        f"  gold score of its completions: {gold:.1f} of 10; "
        f"of the linear model's best of {_CHOSEN_OF}: {best_gold:.1f}"
    )
    say(f"  one sample:   {plain[0].text[:_SHOWN_CHARACTERS]}")
    say(f"  best of {_CHOSEN_OF}:   {chosen[0].text[:_SHOWN_CHARACTERS]}")
    return {
        "perplexity": policy.figures["perplexity"],
        "gold": gold,
        f"gold_best_of_{_CHOSEN_OF}": best_gold,
    }


def _mean_gold(completions: Sequence[Completion]) -> float:
    return statistics.fmean(
        gold_score(completion.text) for completion in completions
    )


def steer_demo(
    folder: Path, say: Say, *, steps: int, seed: int
) -> dict[str, Any]:
    """Steer the demo's GPT by its linear reward model, and write the frontier page.

    folder: the demo's. Returns the results, JSON-ready.
    """
    policy = Policy.load(folder / "gpt")
    model = RewardModel.load(folder / "en" / "linear")
    network = RewardModel.load(folder / "en" / "tiny")
    measures: dict[str, Any] = {"held_out": network, "gold": "gold"}
    measures.update(sampling=_LONG, seed=seed)
    results: dict[str, Any] = {}
    for name in ALGORITHMS:
        say(f"\nSteering by {name.upper()}: the linear model is the reward;")
        say(
            "the network (held-out) and the gold score show whether the gain is real"
        )
        steered = steer(
            policy,
            model,
            algorithm=name,
            steering={"steps": steps, "windows": 6},
            out=folder / "steered" / name,
            overwrite=True,
            say=lambda line: say(f"  {line}"),
            **measures,
        )
        say(f"  {steered}")
        figures = {"kl": steered.kl}
        sample = steered.samples[0]
        for when in ("before", "after"):
            text = " ".join(sample[when].split())
            say(f"  {when + ':':8}{text[:_SHOWN_CHARACTERS]}")
            for key in ("score", "held_out", "gold", "distinct"):
                figures[f"{key}_{when}"] = steered.figures[f"{key}_{when}"]
        results[name] = figures
    curve = best_of_curve(policy, model, ns=_NS, completions=_POOL, **measures)
    gold = curve.series["gold"]
    say(
        f"\n  for comparison, best of {_NS[-1]}: gold score {gold[0]:.1f} → {gold[-1]:.1f} "
        f"at {curve.kl[-1]:.1f} nats"
    )
    page = frontier(
        [folder / "steered" / name for name in ALGORITHMS], best_of=curve
    )
    write_frontier(page, folder / "steered" / "frontier")
    for course in page.courses:
        say(f"  {course.label}: {course.verdict}")
    results[f"gold_best_of_{_NS[-1]}"] = float(gold[-1])
    return results
