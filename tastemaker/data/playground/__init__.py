"""An invented world of short film reviews, English and Chinese, whose true worth is known: no download needed.

`reviews` writes them, `gold_score` says what any text is truly worth, `judgements` are what simulated people say of
reviews. So everything that learns from judgements can be checked against the truth.
"""

from tastemaker.data.playground.gold import gold_score, is_well_formed
from tastemaker.data.playground.judges import CAREFUL_JUDGES, Judge, judgements, troubled
from tastemaker.data.playground.reviews import reviews

__all__ = ["CAREFUL_JUDGES", "Judge", "gold_score", "is_well_formed", "judgements", "reviews", "troubled"]
