from .evaluation import clusters as clusters
from .evaluation import evaluate as evaluate
from .findings import Evaluation as Evaluation
from .rewardbench import RewardBench as RewardBench
from .rewardbench import TiesScore as TiesScore
from .rewardbench import evaluate_rewardbench as evaluate_rewardbench
from .rewardbench import score_rewardbench as score_rewardbench
