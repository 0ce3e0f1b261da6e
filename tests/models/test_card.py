"""The model card shows the contract in numbers, words and code that runs, with any names."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cards import HOSTILE, front_matter, html_of, rows_of
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import tastemaker as tm
from tastemaker.readable import escaped
from tastemaker.reward import Anchor, Contract, card, hub_name_of, write_card

EVALUATION: dict[str, Any] = {
    "texts": 150,
    "truncated": 64,
    "score_length_correlation": -0.1681,
    "by_kind": {
        "label": {
            "n": 1234,
            "accuracy": 0.8467,
            "accuracy_interval": [0.7933, 0.9001],
            "log_loss": 0.3713,
            "log_loss_interval": None,
            "ece": None,
            "constant_accuracy": 0.5133,
            "linear_baseline": {
                "accuracy": 0.8012,
                "accuracy_interval": [0.7511, 0.8499],
                "log_loss": 0.4021,
            },
            "difference_to_linear": {"accuracy": 0.04},
        },
        "comparison": {
            "n": 99,
            "ties": 7,
            "unordered_lists": 0,
            "accuracy": 0.75,
            "prefers_longer": 0.55,
            "people_prefer_longer": 0.51,
            "people_prefer_longer_interval": [0.5, 0.52],
            "human_ceiling": None,
            "human_agreement_n": 3,
            "constant_accuracy": 0.5,
            "longer_baseline": 0.625,
            "longer_baseline_interval": [0.6, 0.65],
            "linear_baseline": None,
            "by_judge": [{"part": "<b>", "n": 3}],
        },
    },
}
CONTRACT = Contract(
    backbone="network",
    template="{prompt}\n\n{text}",
    links={
        "label": {"slope": 2.5, "intercept": -0.25},
        "grade": {"lowest": 1, "highest": 3, "slope": 1.5, "thresholds": [-0.75, 0.5]},
        "rating": {
            "centre": 5.0,
            "spread": 2.0,
            "slope": 0.75,
            "intercept": 0.25,
            "log_sd": 0.0,
            "tails": "normal",
        },
        "comparison": {"slope": 1.25, "log_ties": 0.0},
        "ranking": {"slope": 1.125, "log_ties": [], "by": "pairs"},
    },
    max_length=256,
    cut="left",
    anchor=Anchor(0.0881, 1.366, 150),
    data={
        "texts": 1350,
        "judgements": {"label": 1362, "ranking": 21},
        "held_out": 150,
        "digest": "87ab",
    },
    settings={"backbone": ["Encoder", {"name": "distilbert-base-uncased"}]},
    evaluation=EVALUATION,
    roundtrip={
        "tolerance": 0.001,
        "texts": 7,
        "differences": {"pipeline, alone": 2.5e-7, "left": "not possible: no pads"},
    },
    versions={"python": "3.11.7", "torch": "2.13.0"},
    trained_steps=86,
)


def test_the_front_matter_is_what_the_hub_wants() -> None:
    network = front_matter(card(CONTRACT, "bert", base_model="org/name"))
    assert network == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["reward-model", "text-classification", "tastemaker"],
        "base_model": "org/name",
    }
    linear = front_matter(card(replace(CONTRACT, backbone="linear"), "linear"))
    assert linear["library_name"] == "tastemaker"
    assert "base_model" not in linear
    assert "license" not in linear
    data = {**CONTRACT.data, "datasets": ["stanfordnlp/imdb", "../secret", "a: b"]}
    assert front_matter(card(replace(CONTRACT, data=data), "bert"))["datasets"] == [
        "stanfordnlp/imdb"
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("minilm", "sentence-transformers/all-MiniLM-L6-v2"),
        ("distilbert-base-uncased", "distilbert-base-uncased"),
        ("FacebookAI/roberta-base", "FacebookAI/roberta-base"),
        ("/home/me/bert", None),
        ("./bert", None),
        ("../bert", None),
        ("~/bert", None),
        ("models/mine/bert", None),
        ("C:\\models\\bert", None),
        ("a-folder-here", None),
        ("x\n---\ny", None),
        ("", None),
    ],
)
def test_a_base_model_is_a_hub_name_and_never_a_path(
    name: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-folder-here").mkdir()
    contract = replace(CONTRACT, settings={"backbone": ["Encoder", {"name": name}]})
    assert hub_name_of(contract) == expected
    write_card(tmp_path, contract, "bert")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert front_matter(text).get("base_model") == expected
    assert ("Fine-tuned from" in text) == (expected is not None)


@pytest.mark.parametrize(
    "settings",
    [{}, {"backbone": ["Tiny", {"vocabulary": 300}]}, {"backbone": "linear"}],
)
def test_what_was_made_from_nothing_has_no_base(settings: dict[str, Any]) -> None:
    assert hub_name_of(replace(CONTRACT, settings=settings)) is None


def test_the_numbers_are_the_contracts() -> None:
    text = card(CONTRACT, "bert, 6 layers")
    assert "1,362 labels, 21 rankings; bert, 6 layers." in text
    assert dict(rows_of(text, "## What it was trained on")[2:]) == {
        "labels": "1,362",
        "rankings": "21",
        "texts": "1,350",
        "texts held out": "150",
        "texts that calibrated, of their own": "0",
        "steps": "86",
    }
    assert "Digest of the judgements: 87ab." in text
    assert "the mean of 150 reference texts" in text
    assert "mean\n0.0881, standard deviation 1.366)" in text
    assert "It reads 256 tokens. A longer text loses its start." in text
    assert "Cut because they were too long: 64 texts" in text
    assert "Spearman correlation -0.1681" in text
    assert rows_of(text, "## Roundtrip")[2:] == [
        ["pipeline, alone", "2.5e-07"],
        ["left", "not possible: no pads"],
    ]
    assert "- python 3.11.7\n- torch 2.13.0\n" in text


def test_links_are_formulas_with_their_numbers() -> None:
    text = card(CONTRACT, "bert")
    assert "`P(positive) = σ(2.5 · s − 0.25)`" in text
    assert (
        "Grade, 1 to 3: `P(grade > j) = σ(1.5 · s − θ_j)` with θ for j = 1 … 2: -0.75, 0.5"
        in text
    )
    # centre + spread (slope s + intercept) = 5 + 2 (0.75 s + 0.25), sd = spread e^log_sd
    assert (
        "Rating: `1.5 · s + 5.5` on average, with a standard deviation of 2 around it"
        in text
    )
    assert "`d = 1.25 · (s_A − s_B)`" in text
    assert "ν = 1\n" in text
    assert (
        "Ranking (the mean over its pairs): `P(the text is the best of a list) = "
        "e^(a·s) / Σ e^(a·s)`, a = 1.125" in text
    )
    no_ties = replace(
        CONTRACT,
        links={"comparison": {"slope": 1.25, "log_ties": None}, "stars": {"n": "<b>"}},
    )
    assert "`P(A is better than B) = σ(1.25 · (s_A − s_B))`" in card(no_ties, "bert")
    assert '- stars: {"n": "&lt;b&gt;"}' in card(no_ties, "bert")


def test_the_evaluation_is_a_table_with_intervals_beside_the_baselines() -> None:
    text = card(CONTRACT, "bert")
    assert rows_of(text, "1,234 labels:") == [
        ["figure", "this model", "linear baseline", "constant"],
        ["---"] * 4,
        ["accuracy", r"0.847 \[0.793, 0.900\]", r"0.801 \[0.751, 0.850\]", "0.513"],
        ["log-loss", "0.371", "0.402", "–"],
        ["ECE", "–", "–", "–"],
    ]
    assert rows_of(text, "99 comparisons, 7 ties:")[::2] == [
        ["figure", "this model", "always the longer", "constant"],
        ["accuracy", "0.750", r"0.625 \[0.600, 0.650\]", "0.500"],
    ]
    assert "prefers longer | 0.550 | – | – |" in text
    assert "\n\npeople prefer longer: 0.510 \\[0.500, 0.520\\].\n" in text
    assert "human ceiling" not in text
    lengths = {
        "control": {
            "features": {
                "length": {
                    "effect": 0.1,
                    "correlation": 0.0214,
                    "correlation_before": 0.3127,
                }
            },
            "before": {"accuracy": 0.8712},
        },
        "accuracy": 0.8473,
    }
    controlled = card(replace(CONTRACT, evaluation=EVALUATION | lengths), "bert")
    assert "length: correlation 0.0214 (0.3127)." in controlled
    assert "accuracy: 0.8473 (0.8712)." in controlled
    assert "without control" not in text
    assert "they taught, calibrated and chose nothing" in text
    assert "independent groups" not in text
    assert "calibration slope" not in text
    few = {"clusters": 7, "few_clusters": True, "calibration_slope": 0.712}
    few |= {"ece": 0.12, "ece_interval": [0.0, 0.2], "ece_if_calibrated": 0.11, "n": 9}
    text = card(replace(CONTRACT, evaluation={"by_kind": {"label": few}}), "bert")
    assert "only 7 independent groups" in text
    assert r"| ECE | 0.120 \[0.00, 0.200\] |" in text
    assert "| ECE if calibrated | 0.110 |" in text
    assert "| calibration slope | 0.712 |" in text
    assert "A calibration slope of 1 is right" in text
    assert "It has not been evaluated." in card(
        replace(CONTRACT, evaluation={}), "bert"
    )


def test_a_network_says_how_others_load_it_and_a_linear_model_that_they_cannot() -> (
    None
):
    network = card(CONTRACT, "bert")
    assert "AutoModelForSequenceClassification" in network
    assert "CrossEncoder" in network
    linear = card(
        replace(CONTRACT, backbone="linear", max_length=None, cut=None), "linear"
    )
    assert "no other library loads" in linear
    assert "transformers import" not in linear
    assert "nothing is cut" in linear


def test_a_score_that_could_not_be_centred_says_so() -> None:
    centred = card(CONTRACT, "gpt2")
    assert (
        "A score of 0 is the mean of 150 reference texts and 1 their standard deviation"
        in centred
    )
    assert "not centred" not in centred
    # a mean of 0.75 in units of 1.5: 0.5
    off = " ".join(
        card(
            replace(CONTRACT, anchor=Anchor(0.75, 1.5, 150, centred=False)), "gpt2"
        ).split()
    )
    assert "A score of 0 is" not in off
    assert (
        "standard deviation of 150 reference texts for its unit (raw scores: mean "
        "0.75, standard deviation 1.5)" in off
    )
    assert "It is not centred: the network's last layer has no bias" in off
    assert "the reference texts score 0.5 on average, not 0." in off


def _contract_file(folder: Path, contract: Contract) -> dict[str, Any]:
    contract.write(folder)
    content: dict[str, Any] = json.loads(
        (folder / "tastemaker.json").read_text(encoding="utf-8")
    )
    return content


def test_the_contract_keeps_whether_zero_is_the_mean(tmp_path: Path) -> None:
    for centred in (True, False):
        contract = replace(CONTRACT, anchor=Anchor(0.75, 1.5, 150, centred=centred))
        assert _contract_file(tmp_path, contract)["anchor"]["centred"] is centred
        assert Contract.read(tmp_path) == contract


def test_a_contract_from_before_that_was_kept_still_loads(tmp_path: Path) -> None:
    older = _contract_file(tmp_path, CONTRACT)
    del older["anchor"]["centred"]
    (tmp_path / "tastemaker.json").write_text(json.dumps(older), encoding="utf-8")
    assert Contract.read(tmp_path) == CONTRACT


def _with_judges(names: list[str], **more: Any) -> Contract:
    judges = {
        name: {
            "reliability": 0.5,
            "interval": [0.25, 0.75],
            "leniency": -0.25,
            "judgements": 100 + i,
        }
        for i, name in enumerate(names)
    }
    return replace(CONTRACT, judges=judges, **more)


def test_judges_are_listed_the_busiest_first() -> None:
    rows = rows_of(card(_with_judges(["Ada", "Bo"]), "bert"), "## The judges")
    assert rows[2:] == [
        ["Bo", r"0.500 \[0.250, 0.750\]", "-0.25", "", "101"],
        ["Ada", r"0.500 \[0.250, 0.750\]", "-0.25", "", "100"],
    ]
    crowd = card(_with_judges([f"J{n}" for n in range(60)]), "bert")
    assert len(rows_of(crowd, "## The judges")) == 52
    assert "10 more judges" in crowd
    assert "## The judges" not in card(CONTRACT, "bert")


def test_the_card_says_which_model_of_judges_was_chosen_and_who_never_varied() -> None:
    model: dict[str, Any] = {
        "model": "leniency",
        "reason": "judges differ in leniency",
        "always_the_same_answer": ["Bo"],
    }
    text = card(_with_judges(["Ada", "Bo"], judge_model=model), "bert")
    assert "In this fit judges differ in leniency." in text
    never = text.split("Gave the same answer to every text")[1].split("\n\n")[0]
    assert "Bo" in never
    assert "Ada" not in never
    del model["always_the_same_answer"]
    varied = card(_with_judges(["Ada", "Bo"], judge_model=model), "bert")
    assert "the same answer" not in varied


def test_hostile_names_change_nothing_but_themselves() -> None:
    sources = dict.fromkeys(HOSTILE, 3)
    hostile = _with_judges(
        HOSTILE,
        data={**CONTRACT.data, "sources": sources, "digest": HOSTILE[0]},
        labels={"positive": HOSTILE[2]},
        versions={HOSTILE[3]: HOSTILE[4]},
        template=HOSTILE[9] + "{prompt}{text}",
        judge_model={"always_the_same_answer": HOSTILE},
    )
    plain = _with_judges(
        [f"n{i}" for i, _ in enumerate(HOSTILE)],
        data={
            **CONTRACT.data,
            "sources": {f"n{i}": 3 for i, _ in enumerate(HOSTILE)},
            "digest": "n",
        },
        labels={"positive": "n"},
        versions={"n": "n"},
        template="n{prompt}{text}",
        judge_model={
            "always_the_same_answer": [f"n{i}" for i, _ in enumerate(HOSTILE)]
        },
    )
    text, expected = card(hostile, HOSTILE[1]), card(plain, "n")
    assert front_matter(text) == front_matter(expected)
    tags = re.compile(r"<[^>]*>")
    assert tags.findall(html_of(text)) == tags.findall(html_of(expected))
    assert text.count("\n") == expected.count("\n")
    shown = html_of(text)
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td>" in shown
    assert "<td>x | y | z |---|</td>" in shown
    assert "<td>{{ 7 * 7 }}{% raw %}</td>" in shown
    assert r"https\://e.vil www\.e.vil" in text  # no page makes these links by itself
    assert "\u202e" not in text
    assert "\x1b" not in text


@given(text=st.text(max_size=80))
def test_an_escaped_name_is_one_line_of_plain_text(text: str) -> None:
    line = escaped(text)
    assert "\n" not in line
    shown = (
        MarkdownIt("commonmark", {"html": True})
        .enable(["table", "strikethrough"])
        .renderInline(f"x {line}")
    )
    assert "<" not in shown


def test_the_same_contract_gives_the_same_card_without_dates_and_paths(
    tmp_path: Path,
) -> None:
    text = card(CONTRACT, "bert")
    assert text == card(replace(CONTRACT), "bert")
    assert not re.search(r"\b20\d\d-\d\d|/home|/tmp|/root", text)
    write_card(
        tmp_path, CONTRACT, "bert \udc80"
    )  # half a character, from a broken file
    assert (
        (tmp_path / "README.md")
        .read_text(encoding="utf-8")
        .startswith("---\nlibrary_name")
    )


def test_a_contract_with_nothing_in_it_has_a_card() -> None:
    text = card(
        Contract(backbone="linear", template="{prompt}{text}", links={}), "linear"
    )
    assert "nothing that is known" in text
    assert "The score has no anchor" in text
    assert "Nobody has checked" in text


def _run_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Run every Python block of a folder's card inside that folder and return what each defined."""
    monkeypatch.chdir(folder)
    blocks = re.findall(
        r"```python\n(.*?)```",
        (folder / "README.md").read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    spaces: list[dict[str, Any]] = []
    for block in blocks:
        spaces.append({})
        exec(compile(block, "README.md", "exec"), spaces[-1])
    return spaces


def _judgements() -> list[Any]:
    words = ("warm", "clever", "bright", "dull", "grey", "empty")
    texts = [f"A {words[n % 6]} film, number {n}." for n in range(120)]
    return [
        j
        for n, text in enumerate(texts)
        for j in (tm.Label(text, n % 6 < 3), tm.Grade(text, 10 - n % 6))
    ]


def test_the_code_in_a_linear_models_card_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tm.fit(_judgements(), out=tmp_path / "taste")
    write_card(tmp_path / "taste", model.contract, model.backbone.describe())
    (space,) = _run_code(tmp_path / "taste", monkeypatch)
    assert space["taste"].score("dull") == model.score("dull")
    text = (tmp_path / "taste" / "README.md").read_text(encoding="utf-8")
    assert "taste.probability(" in text
    assert "taste.rating(" in text
    assert f"{model.contract.evaluation['accuracy']:#.3g}" in text


@pytest.mark.slow
def test_the_code_in_a_networks_card_gives_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tm.fit(
        _judgements(), backbone=tm.Tiny(max_length=32), epochs=1, out=tmp_path / "taste"
    )
    write_card(tmp_path / "taste", model.contract, model.backbone.describe())
    spaces = _run_code(tmp_path / "taste", monkeypatch)
    expected = model.score(["A warm and clever film.", "Dull."])
    assert len(spaces) == 3
    for space in spaces[1:]:
        assert space["scores"].reshape(2).tolist() == pytest.approx(expected, abs=1e-3)
