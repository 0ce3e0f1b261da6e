"""Only `tastemaker/__init__.py` is public: sorted names, an exact match."""

import pytest

import tastemaker as tm

PUBLIC = [
    "Columns",
    "Comparison",
    "Completion",
    "Contract",
    "DataError",
    "Diagnosis",
    "Documents",
    "Encoder",
    "Evaluation",
    "Example",
    "Grade",
    "InputError",
    "Judgement",
    "Label",
    "Likelihood",
    "Linear",
    "Message",
    "MissingExtra",
    "ModelError",
    "Perplexity",
    "Policy",
    "Pretraining",
    "Ranking",
    "Rating",
    "RewardModel",
    "Sampling",
    "StorageError",
    "TastemakerError",
    "Tiny",
    "Training",
    "TrainingError",
    "UsageError",
    "best_of_n",
    "doctor",
    "evaluate",
    "fetch",
    "fit",
    "from_row",
    "load",
    "perplexity",
    "pretrain",
    "read",
    "read_examples",
    "score_file",
    "split",
    "to_row",
    "write_doctor_page",
    "write_report",
]


def test_the_public_names_are_exactly_these() -> None:
    assert tm.__all__ == PUBLIC == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    value = getattr(tm, name)
    assert value.__doc__
    assert name in dir(tm)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="public names: Columns"):
        _ = tm.nonsense
