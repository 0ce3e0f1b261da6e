"""Which yardstick measures each kind of judgement: the one place to add a row for a new kind."""

from tastemaker.data.judgements import Comparison, Grade, Judgement, Label, Ranking, Rating
from tastemaker.evaluate.measures import Yardstick
from tastemaker.evaluate.several import ComparisonYardstick, RankingYardstick
from tastemaker.evaluate.single import GradeYardstick, LabelYardstick, RatingYardstick

YARDSTICKS: dict[type[Judgement], Yardstick] = {
    Label: LabelYardstick(),
    Grade: GradeYardstick(),
    Rating: RatingYardstick(),
    Comparison: ComparisonYardstick(),
    Ranking: RankingYardstick(),
}
