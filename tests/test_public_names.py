"""Only `tastemaker/__init__.py` is public: sorted names, an exact match."""

import pytest

import tastemaker as tm

PUBLIC = [
    "A2C",
    "DPO",
    "GRPO",
    "KL",
    "PPO",
    "RLOO",
    "TRPO",
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
    "Explanation",
    "Frontier",
    "Grade",
    "InputError",
    "Inspection",
    "Judgement",
    "Label",
    "LearningCurve",
    "Likelihood",
    "Limits",
    "Linear",
    "Loop",
    "LoopResult",
    "Message",
    "MissingExtra",
    "ModelError",
    "Perplexity",
    "Played",
    "Player",
    "Playing",
    "Policy",
    "Pretraining",
    "Ranking",
    "Rating",
    "ReadAs",
    "Reinforce",
    "RemoteReward",
    "RewardError",
    "RewardModel",
    "Sampling",
    "Scaling",
    "Steered",
    "Steering",
    "StorageError",
    "TastemakerError",
    "Tiny",
    "Training",
    "TrainingError",
    "UsageError",
    "Winners",
    "best_of_curve",
    "best_of_n",
    "doctor",
    "evaluate",
    "explain",
    "fetch",
    "figures",
    "fit",
    "from_row",
    "frontier",
    "inspect",
    "learning_curve",
    "load",
    "perplexity",
    "play",
    "pretrain",
    "read",
    "read_examples",
    "report_runs",
    "score_file",
    "split",
    "steer",
    "to_row",
    "watch",
    "write_doctor_page",
    "write_frontier",
    "write_report",
]


def test_the_public_names_are_exactly_these() -> None:
    assert sorted(tm.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    value = getattr(tm, name)
    assert value.__doc__
    assert name in dir(tm)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="public names: A2C"):
        _ = tm.nonsense
