"""Tastemaker: learn a taste from people's judgements, and score any text with it.

    import tastemaker as tm

    train, held_out = tm.split(tm.read("aclImdb.tar.gz"), held_out=0.1, seed=0)
    taste = tm.fit(train, backbone="distilbert-base-uncased", epochs=3)
    print(tm.evaluate(taste, held_out))
    taste.score("I was moved to tears, twice, and left the cinema grinning.")

The names below are the public ones; each is imported on first use, so that `import tastemaker` costs next to nothing.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tastemaker.data.documents import Documents as Documents
    from tastemaker.data.fetch import fetch as fetch
    from tastemaker.data.judgements import Comparison as Comparison
    from tastemaker.data.judgements import Example as Example
    from tastemaker.data.judgements import Grade as Grade
    from tastemaker.data.judgements import Judgement as Judgement
    from tastemaker.data.judgements import Label as Label
    from tastemaker.data.judgements import Message as Message
    from tastemaker.data.judgements import Ranking as Ranking
    from tastemaker.data.judgements import Rating as Rating
    from tastemaker.data.read import read as read
    from tastemaker.data.read import read_examples as read_examples
    from tastemaker.data.readers.columns import Columns as Columns
    from tastemaker.data.rows import from_row as from_row
    from tastemaker.data.rows import to_row as to_row
    from tastemaker.data.split import split as split
    from tastemaker.errors import DataError as DataError
    from tastemaker.errors import InputError as InputError
    from tastemaker.errors import MissingExtra as MissingExtra
    from tastemaker.errors import ModelError as ModelError
    from tastemaker.errors import RewardError as RewardError
    from tastemaker.errors import StorageError as StorageError
    from tastemaker.errors import TastemakerError as TastemakerError
    from tastemaker.errors import TrainingError as TrainingError
    from tastemaker.errors import UsageError as UsageError
    from tastemaker.evaluation.best_of_curve import best_of_curve as best_of_curve
    from tastemaker.evaluation.doctor import Diagnosis as Diagnosis
    from tastemaker.evaluation.doctor import doctor as doctor
    from tastemaker.evaluation.doctor_page import write_doctor_page as write_doctor_page
    from tastemaker.evaluation.evaluate import Evaluation as Evaluation
    from tastemaker.evaluation.evaluate import evaluate as evaluate
    from tastemaker.evaluation.frontier import Frontier as Frontier
    from tastemaker.evaluation.frontier import frontier as frontier
    from tastemaker.evaluation.frontier_page import write_frontier as write_frontier
    from tastemaker.evaluation.perplexity import Perplexity as Perplexity
    from tastemaker.evaluation.perplexity import perplexity as perplexity
    from tastemaker.evaluation.report import write_report as write_report
    from tastemaker.learning.algorithms import A2C as A2C
    from tastemaker.learning.algorithms import DPO as DPO
    from tastemaker.learning.algorithms import GRPO as GRPO
    from tastemaker.learning.algorithms import PPO as PPO
    from tastemaker.learning.algorithms import RLOO as RLOO
    from tastemaker.learning.algorithms import TRPO as TRPO
    from tastemaker.learning.algorithms import Reinforce as Reinforce
    from tastemaker.learning.algorithms import Winners as Winners
    from tastemaker.learning.best_of_n import best_of_n as best_of_n
    from tastemaker.learning.control.play import Played as Played
    from tastemaker.learning.control.play import play as play
    from tastemaker.learning.control.player import Player as Player
    from tastemaker.learning.control.settings import Playing as Playing
    from tastemaker.learning.control.watch import watch as watch
    from tastemaker.learning.fit import fit as fit
    from tastemaker.learning.pretrain import pretrain as pretrain
    from tastemaker.learning.pretraining import Pretraining as Pretraining
    from tastemaker.learning.steering.drift import Drift as Drift
    from tastemaker.learning.steering.scale import Scaling as Scaling
    from tastemaker.learning.steering.settings import Steering as Steering
    from tastemaker.learning.steering.steer import Steered as Steered
    from tastemaker.learning.steering.steer import steer as steer
    from tastemaker.learning.steering.watch import Limits as Limits
    from tastemaker.learning.training import Training as Training
    from tastemaker.models.backbones import Encoder as Encoder
    from tastemaker.models.backbones import Linear as Linear
    from tastemaker.models.backbones import Tiny as Tiny
    from tastemaker.models.contract import Contract as Contract
    from tastemaker.models.links.likelihood import Likelihood as Likelihood
    from tastemaker.models.policy.policy import Completion as Completion
    from tastemaker.models.policy.policy import Policy as Policy
    from tastemaker.models.policy.sampling import Sampling as Sampling
    from tastemaker.models.reward_model import RewardModel as RewardModel
    from tastemaker.models.reward_model import load as load
    from tastemaker.scoring import score_file as score_file

__version__ = "0.1.0"

_HOMES = {
    "A2C": "tastemaker.learning.algorithms",
    "Columns": "tastemaker.data.readers.columns",
    "Comparison": "tastemaker.data.judgements",
    "Completion": "tastemaker.models.policy.policy",
    "Contract": "tastemaker.models.contract",
    "DPO": "tastemaker.learning.algorithms",
    "DataError": "tastemaker.errors",
    "Diagnosis": "tastemaker.evaluation.doctor",
    "Documents": "tastemaker.data.documents",
    "Drift": "tastemaker.learning.steering.drift",
    "Encoder": "tastemaker.models.backbones",
    "Evaluation": "tastemaker.evaluation.evaluate",
    "Example": "tastemaker.data.judgements",
    "Frontier": "tastemaker.evaluation.frontier",
    "GRPO": "tastemaker.learning.algorithms",
    "Grade": "tastemaker.data.judgements",
    "InputError": "tastemaker.errors",
    "Judgement": "tastemaker.data.judgements",
    "Label": "tastemaker.data.judgements",
    "Likelihood": "tastemaker.models.links.likelihood",
    "Limits": "tastemaker.learning.steering.watch",
    "Linear": "tastemaker.models.backbones",
    "Message": "tastemaker.data.judgements",
    "MissingExtra": "tastemaker.errors",
    "ModelError": "tastemaker.errors",
    "PPO": "tastemaker.learning.algorithms",
    "Perplexity": "tastemaker.evaluation.perplexity",
    "Played": "tastemaker.learning.control.play",
    "Player": "tastemaker.learning.control.player",
    "Playing": "tastemaker.learning.control.settings",
    "Policy": "tastemaker.models.policy.policy",
    "Pretraining": "tastemaker.learning.pretraining",
    "RLOO": "tastemaker.learning.algorithms",
    "Ranking": "tastemaker.data.judgements",
    "Rating": "tastemaker.data.judgements",
    "Reinforce": "tastemaker.learning.algorithms",
    "RewardError": "tastemaker.errors",
    "RewardModel": "tastemaker.models.reward_model",
    "Sampling": "tastemaker.models.policy.sampling",
    "Scaling": "tastemaker.learning.steering.scale",
    "Steered": "tastemaker.learning.steering.steer",
    "Steering": "tastemaker.learning.steering.settings",
    "StorageError": "tastemaker.errors",
    "TRPO": "tastemaker.learning.algorithms",
    "TastemakerError": "tastemaker.errors",
    "Tiny": "tastemaker.models.backbones",
    "Training": "tastemaker.learning.training",
    "TrainingError": "tastemaker.errors",
    "UsageError": "tastemaker.errors",
    "Winners": "tastemaker.learning.algorithms",
    "best_of_curve": "tastemaker.evaluation.best_of_curve",
    "best_of_n": "tastemaker.learning.best_of_n",
    "doctor": "tastemaker.evaluation.doctor",
    "evaluate": "tastemaker.evaluation.evaluate",
    "fetch": "tastemaker.data.fetch",
    "fit": "tastemaker.learning.fit",
    "from_row": "tastemaker.data.rows",
    "frontier": "tastemaker.evaluation.frontier",
    "load": "tastemaker.models.reward_model",
    "perplexity": "tastemaker.evaluation.perplexity",
    "play": "tastemaker.learning.control.play",
    "pretrain": "tastemaker.learning.pretrain",
    "read": "tastemaker.data.read",
    "read_examples": "tastemaker.data.read",
    "score_file": "tastemaker.scoring",
    "split": "tastemaker.data.split",
    "steer": "tastemaker.learning.steering.steer",
    "to_row": "tastemaker.data.rows",
    "watch": "tastemaker.learning.control.watch",
    "write_doctor_page": "tastemaker.evaluation.doctor_page",
    "write_frontier": "tastemaker.evaluation.frontier_page",
    "write_report": "tastemaker.evaluation.report",
}

__all__ = [
    "A2C",
    "DPO",
    "GRPO",
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
    "Drift",
    "Encoder",
    "Evaluation",
    "Example",
    "Frontier",
    "Grade",
    "InputError",
    "Judgement",
    "Label",
    "Likelihood",
    "Limits",
    "Linear",
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
    "Reinforce",
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
    "fetch",
    "fit",
    "from_row",
    "frontier",
    "load",
    "perplexity",
    "play",
    "pretrain",
    "read",
    "read_examples",
    "score_file",
    "split",
    "steer",
    "to_row",
    "watch",
    "write_doctor_page",
    "write_frontier",
    "write_report",
]

# torch takes memory for large arrays in pages of 2 MiB instead of 4 KiB: a training step is a tenth faster (Linux).
# It reads this when it first takes any.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tastemaker' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
