"""The score contract of a saved reward model, `tastemaker.json`, and its model card.

The contract records how a text becomes one number (template, length limit, side that is cut,
pooling), what the number means (links, anchor), where it comes from (data, settings, evaluation)
and how it was checked (differences after reloading, digests of the weights). A folder without a
contract, or with other weights than it names, is not a reward model.

The card shows the contract to people and to the model hub. Its front matter holds only names of a
fixed form.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from tastemaker.data.judgements import RECORDS
from tastemaker.errors import ModelError
from tastemaker.evaluate.estimates import FIGURES
from tastemaker.kinds.metrics import amount
from tastemaker.kinds.registry import LINKS
from tastemaker.maths.statistics import Floats
from tastemaker.readable import Markdown, escaped, filled_in, write_as_card
from tastemaker.scores import Scores
from tastemaker.train.run import CONTRACT

if TYPE_CHECKING:  # backbones read their contract
    from tastemaker.reward.backbones import Backbone

FORMAT = 1
_STEPS = 100
# standard deviations: members of an ensemble round their offsets
_NOTHING = 1e-6
FITTED, ADOPTED = "fitted", "adopted"


@dataclass(frozen=True)
class Anchor:
    """What became 0 and 1: the mean and the standard deviation of the raw scores of `texts`
    reference texts.

    centred: the mean did become 0. A head without a bias, as decoders have, cannot take it off:
    there the standard deviation became 1 and the reference texts score mean/sd on average.
    quantiles: the anchored scores of the reference texts, from the lowest to the highest in 100
    equal steps; empty in a contract of an earlier version.
    """

    mean: float
    sd: float
    texts: int
    centred: bool = True
    quantiles: list[float] = field(default_factory=list)


def quantiles_of(values: Floats) -> list[float]:
    """Return the quantiles of scores at 0 %, 1 %, …, 100 %, as an `Anchor` holds them."""
    levels = np.linspace(0, 1, _STEPS + 1)
    quantiles: list[float] = np.quantile(values, levels).round(4).tolist()
    return quantiles


def anchor_of(scores: Scores) -> Anchor:
    """Return the mean and standard deviation of reference scores: what becomes 0 and 1."""
    sd = float(np.std(scores.values))
    usable = np.isfinite(sd) and sd > 1e-8
    return Anchor(
        float(np.mean(scores.values)), sd if usable else 1.0, len(scores)
    )


def anchored(backbone: "Backbone", references: Scores) -> tuple[Anchor, float]:
    """Rescale a backbone by the scores of its reference texts; return them as anchor, and the
    offset that was folded into the head.
    """
    anchor = anchor_of(references)
    folded = backbone.rescale(anchor.mean, anchor.sd)
    quantiles = quantiles_of((references.values - folded) / anchor.sd)
    is_centred = math.isclose(
        folded, anchor.mean, rel_tol=0, abs_tol=_NOTHING * anchor.sd
    )
    return replace(anchor, centred=is_centred, quantiles=quantiles), folded


@dataclass(frozen=True)
class Contract:
    """Everything about a score that the weights do not say. See the head of this file.

    provenance: "fitted" by Tastemaker, or "adopted": a published model that is used as it is.
    readout: how the logits of several classes become the score; empty: the one logit is it.
    """

    backbone: str
    template: str
    links: dict[str, dict[str, Any]]
    max_length: int | None = None
    cut: str | None = None
    pooling: str | None = None
    anchor: Anchor | None = None
    labels: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    judges: dict[str, dict[str, Any]] = field(default_factory=dict)
    judge_model: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    roundtrip: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    trained_steps: int = 0
    provenance: str = FITTED
    readout: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def is_trained(self) -> bool:
        """Whether its score means something: fitted by at least one step, or adopted."""
        return self.trained_steps >= 1 or self.provenance == ADOPTED

    def parts(self) -> str:
        """Return how many texts taught, calibrated and measured, as a sentence."""
        learned = f"{self.data['texts']:,} texts to learn from"
        measured = f"{self.data['held_out']:,} that only measured"
        if self.data.get("validation"):
            validated = f"{self.data['validation']:,} to calibrate on"
            return f"{learned}, {validated}, {measured}"
        return f"{learned} and, cross-fitted, to calibrate on; {measured}"

    def judges_in_words(self) -> list[str]:
        """Return what was learned about the judges, and what could not be, as sentences."""
        lines = list(self.data.get("not_learned", []))
        bias = self.judge_model.get("position_bias")
        if bias:
            lines.append(
                f"position bias: shown first rather than last adds {bias['mean']:+.2f} "
                f"[{bias['low']:+.2f}, {bias['high']:+.2f}] to the log-odds of winning "
                f"({bias['judgements']:,} judgements tell the order); the score is without it."
            )
        if not self.judges:
            return lines
        lines.append(f"{self.judge_model['reason']}.")
        for name, judge in self.judges.items():
            low, high = judge["interval"]
            lines.append(
                f"judge {name}: reliability {judge['reliability']:+.2f} "
                f"[{low:+.2f}, {high:+.2f}], leniency {judge['leniency']:+.2f}"
            )
        constant_judges = self.judge_model["always_the_same_answer"]
        if constant_judges:
            lines.append(
                "the same answer to every text, so nothing could be learned of: "
                + ", ".join(constant_judges)
            )
        few = self.judge_model["fewer_than_four_judgements"]
        if few:
            lines.append(
                f"too few judgements (below 4) to learn much of: {few:,} judges"
            )
        return lines

    def write(self, folder: Path) -> None:
        """Write `tastemaker.json` into a folder that is being made."""
        text = json.dumps(
            asdict(self), indent=2, ensure_ascii=False, allow_nan=False
        )
        (folder / CONTRACT).write_text(text + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> "Contract":
        """Read a folder's contract and check its weights. Raises ModelError for a misfit."""
        path = folder / CONTRACT
        if not folder.is_dir():
            raise ModelError(
                f"{folder}: no such model folder. Make one with `tastemaker fit "
                f"SOURCE --out {folder}`."
            )
        if not path.is_file():
            raise ModelError(
                f"{folder}: no {CONTRACT}, so the meaning of its scores is unknown. "
                "Only folders saved by `tastemaker fit` can score; fit one with "
                f"`--backbone {folder}`."
            )
        contract = _parse(path)
        for name, digest in contract.weights.items():
            if not (folder / name).is_file():
                raise ModelError(
                    f"{folder / name}: the contract names this file and it is "
                    "missing. Copy it whole again."
                )
            if digest_of(folder / name) != digest:
                raise ModelError(
                    f"{folder / name}: changed since it was saved (its digest is not "
                    "the contract's). "
                    f"Fit again, or restore the file."
                )
        if not contract.is_trained:
            raise ModelError(
                f"{folder}: its head was never trained, so its scores mean nothing. Fit it first."
            )
        return contract


def _parse(path: Path) -> Contract:
    """Return the contract that a file holds. Raises ModelError when it is not one that this version
    reads.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("format") != FORMAT:
            raise ModelError(
                f"{path}: contract format {values.get('format')!r}; this version reads {FORMAT}."
            )
        anchor = values.pop("anchor")
        return Contract(anchor=Anchor(**anchor) if anchor else None, **values)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelError(
            f"{path}: not a contract of Tastemaker ({error}). Restore it or fit again."
        ) from error


def digest_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_of(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of the named files of a folder."""
    return {name: digest_of(folder / name) for name in sorted(names)}


_TEMPLATE = Path(__file__).with_name("card.md.j2")
_HUB_NAME = re.compile(
    r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII
)
_HUB_NAMES = {"minilm": "sentence-transformers/all-MiniLM-L6-v2"}
_MOST_JUDGES = 50
_NAMES = {**FIGURES, "clusters": "independent groups"}
_BESIDE = re.compile(
    "^constant_|^longer_|^difference_|^people_|^human_|_baseline$|_interval$"
)
"""Keys of an evaluation that stand beside a figure of the model and are none themselves."""
_OF_PEOPLE = re.compile("(?:people|human)_.*(?<!_interval)(?<!_n)")


def write_card(folder: Path, contract: Contract, description: str) -> None:
    """Write the card into a model folder. description: one line, `Backbone.describe()`.

    Raises StorageError for a full disk or an unwritable folder.
    """
    write_as_card(
        folder, card(contract, description, base_model=hub_name_of(contract))
    )


def hub_name_of(contract: Contract) -> str | None:
    """Return the hub name of what was fine-tuned; None for a new network or one from a folder."""
    match contract.settings.get("backbone"):
        case ["Encoder", {"name": str(name)}]:
            name = _HUB_NAMES.get(name, name)
            return (
                name
                if _HUB_NAME.fullmatch(name) and not Path(name).exists()
                else None
            )
    return None


def card(
    contract: Contract, description: str, *, base_model: str | None = None
) -> str:
    """Return the card: YAML front matter, then Markdown.

    base_model: the hub name of what was fine-tuned, if it has one.
    """
    evaluation = contract.evaluation
    front = yaml.safe_dump(
        _front_matter(contract, base_model),
        sort_keys=False,
        allow_unicode=True,
    )
    return filled_in(
        _TEMPLATE,
        front=Markdown(front),
        contract=contract,
        description=description,
        base_model=base_model,
        template=json.dumps(contract.template, ensure_ascii=False),
        meanings=[
            _meaning(kind, values) for kind, values in contract.links.items()
        ],
        figures=[
            _figures(kind, results)
            for kind, results in evaluation.get("by_kind", {}).items()
        ],
        judges=_judges(contract.judges),
        judge_model=contract.judge_model,
        most_judges=_MOST_JUDGES,
        is_network=contract.backbone == "network",
    )


def _front_matter(
    contract: Contract, base_model: str | None
) -> dict[str, Any]:
    """Return what the model hub reads."""
    is_network = contract.backbone == "network"
    front: dict[str, Any] = {
        "library_name": "transformers" if is_network else "tastemaker",
        "pipeline_tag": "text-classification",
        "tags": ["reward-model", "text-classification", "tastemaker"],
    }
    if base_model:
        front["base_model"] = base_model
    names = contract.data.get("datasets", [])
    datasets = [name for name in names if _HUB_NAME.fullmatch(name)]
    if datasets:
        front["datasets"] = datasets
    return front


def _meaning(kind: str, values: Mapping[str, Any]) -> Markdown:
    """Return what a score s means to one kind of judgement, with the numbers of its link."""
    if kind not in RECORDS:
        numbers = json.dumps(values, ensure_ascii=False)
        return Markdown(f"{escaped(kind)}: {escaped(numbers)}")
    link = LINKS[RECORDS[kind]].from_dict(dict(values))
    return Markdown(link.formula())


def _figures(kind: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return one kind's evaluation as a table: a row for each figure, a column for each model."""
    names, counts, people = [], [], []
    for name, value in results.items():
        is_of_model = not _BESIDE.search(name)
        if is_of_model and isinstance(value, float | None):
            names.append(name)
        if is_of_model and type(value) is int and value:
            counted = f"{kind}s" if name == "n" else _named(name)
            counts.append(f"{value:,} {counted}")
        if _OF_PEOPLE.fullmatch(name) and value is not None:
            people.append((_named(name), _estimate(name, results)))
    candidates = {
        "this model": results,
        "linear baseline": results.get("linear_baseline") or {},
        "always the longer": _longer(results),
        "constant": _without("constant_", results),
    }
    columns = {}
    for title, figures in candidates.items():
        if any(figures.get(name) is not None for name in names):
            columns[title] = figures
    rows = []
    for name in names:
        cells = [_estimate(name, figures) for figures in columns.values()]
        rows.append([_named(name), *cells])
    return {
        "title": ", ".join(counts),
        "columns": list(columns),
        "rows": rows,
        "few": results.get("clusters")
        if results.get("few_clusters")
        else None,
        "has_calibration": results.get("calibration_slope") is not None,
        "people": people,
    }


def _without(prefix: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results whose names start with a prefix, without it."""
    values = {}
    for name, value in results.items():
        if name.startswith(prefix):
            values[name.removeprefix(prefix)] = value
    return values


def _longer(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of always preferring the longer text.

    The results name its accuracy `longer_baseline`.
    """
    figures = _without("longer_", results)
    figures["accuracy"] = figures.get("baseline")
    figures["accuracy_interval"] = figures.get("baseline_interval")
    return figures


def _named(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))


def _estimate(name: str, values: Mapping[str, Any]) -> Markdown:
    """Return a figure with its interval: "0.931 [0.927, 0.935]"."""
    value, interval = values.get(name), values.get(f"{name}_interval")
    if value is None:
        return Markdown("–")
    if not interval or None in interval:
        return Markdown(amount(value))
    low, high = map(amount, interval)
    return Markdown(rf"{amount(value)} \[{low}, {high}\]")


def _judges(
    judges: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, Markdown, Markdown, Markdown, int]]:
    """Return the judges as rows, those who judged most first."""
    rows = []
    for name, values in judges.items():
        figures = {**values, "reliability_interval": values.get("interval")}
        reliability = _estimate("reliability", figures)
        leniency = Markdown(f"{float(values.get('leniency', 0.0)):+.2f}")
        position = ""
        if "position_bias" in values:
            position = f"{float(values['position_bias']):+.2f}"
        count = int(values["judgements"])
        rows.append((name, reliability, leniency, Markdown(position), count))
    return sorted(rows, key=lambda row: (-row[4], row[0]))
