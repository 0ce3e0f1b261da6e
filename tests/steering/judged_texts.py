"""Judgements of short texts that a policy learns from."""

from tastemaker.data import Comparison, Judgement, Ranking
from tastemaker.gpt import Sampling

SHORT = Sampling(max_tokens=5)


def compared(count: int = 40) -> list[Judgement]:
    """Comparisons and rankings of short texts, several under each of ten prompts."""
    judgements: list[Judgement] = []
    for k in range(count):
        prompt = f"Film {k % 10}:"
        words = (f" warm{k} film", f" dull{k}", f" grey{k}, grey")
        if k % 4 == 0:
            judgements.append(Ranking(words, prompt=prompt))
        else:
            judgements.append(Comparison(*words[:2], prompt=prompt))
    return judgements
