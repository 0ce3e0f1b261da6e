"""The log-probability of an action, from the logits of all actions.

π(a|s) = exp(logit_a) / Σ_b exp(logit_b), and what policies learn from is log π(a|s).
Beware: exp(1000) is infinite.
Write it without torch.distributions, log_softmax and logsumexp, to see what they take care of.

Worked: logits 0, 0 and ln 2 are odds of 1 : 1 : 2, so the last action has probability 1/2 and
log-probability −0.6931.
"""

from torch import Tensor


def log_prob(logits: Tensor, a: Tensor) -> Tensor:
    """Return log π(a|s) [n] of logits [n, number of actions] and actions a [n], counted from 0."""
    raise NotImplementedError
