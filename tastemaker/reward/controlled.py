"""What a fit that controls for features would be without it, to measure what the control costs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example
from tastemaker.data.text_features import features_of
from tastemaker.evaluate.findings import json_number
from tastemaker.maths.statistics import spearman
from tastemaker.reward.model import RewardModel
from tastemaker.reward.observation import FeatureEffects
from tastemaker.scores import Scores


class Uncontrolled:
    """A model before control: the effects of the features are added back to its score.

    unit: the standard deviation of the score by which the finished model was divided.
    """

    def __init__(
        self, model: RewardModel, control: FeatureEffects, unit: float
    ) -> None:
        self.model, self.control, self.links = model, control, model.links
        self.effects: NDArray[np.float64] = (
            control.effects.detach().double().numpy() / unit
        )

    def score_all(self, examples: Sequence[Example]) -> Scores:
        """Score the examples, in their order."""
        scores = self.model.score_all(examples)
        features = features_of([e.text for e in examples], self.control.names)
        z = (features - self.control.centre.numpy()) / self.control.spread.numpy()
        return Scores(scores.values + z @ self.effects, scores.truncated)

    def figures(self, examples: Sequence[Example]) -> dict[str, dict[str, Any]]:
        """Return by feature: its effect, and Spearman's correlation with the score.

        effect: units of the controlled score for one standard deviation of the feature. The
        correlations are over the examples, before control and after.
        """
        features = features_of([e.text for e in examples], self.control.names)
        before = self.score_all(examples).values
        after = self.model.score_all(examples).values
        figures = {}
        for column, name in enumerate(self.control.names):
            values = features[:, column]
            figures[name] = {
                "effect": float(self.effects[column]),
                "correlation_before": json_number(spearman(before, values)),
                "correlation": json_number(spearman(after, values)),
            }
        return figures
