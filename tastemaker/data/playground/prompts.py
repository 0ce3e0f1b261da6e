"""What the playground's reviews may answer: a request for a review of an invented film, no two alike."""

import math
import random
from collections.abc import Iterator

from tastemaker.data.playground.reviews import Language
from tastemaker.errors import UsageError

_REQUESTS = {"en": "Write a short review of {0} {1} ({2}).", "zh": "请为《{0}{1}》（{2}）写一段短评。"}
_FIRST = {
    "en": "The Winter, The Glass, The Northern, The Seventh, The Paper, The Silver, The Distant, The Harbour, "
    "The Sunday, The Copper, The Painted, The Midnight, The Orchard, The River, The Borrowed",
    "zh": "冬日的, 玻璃, 北方的, 第七个, 纸上的, 银色, 远处的, 港口的, 星期天的, 铜色, "
    "彩色, 午夜的, 果园里的, 河边的, 借来的",
}
_SECOND = {
    "en": "Lighthouse, Train, Garden, Letter, Island, Piano, Staircase, Bridge, Postman, Harvest, Station, Window, "
    "Compass, Notebook, Ferry",
    "zh": "灯塔, 列车, 花园, 来信, 小岛, 钢琴, 楼梯, 大桥, 船长, 秋收, 车站, 窗户, 罗盘, 笔记本, 渡船",
}
_YEARS = tuple(map(str, range(1950, 2025)))


def prompts(n: int, *, language: Language = "en", seed: int = 0) -> Iterator[str]:
    """Yield n distinct prompts, the same for the same seed; the first of more are the same as fewer.

    Their words are worth nothing to the gold score. Raises UsageError for more prompts than there are.
    """
    languages = tuple(_REQUESTS) if language == "mixed" else (language,)
    words = {name: [_FIRST[name].split(", "), _SECOND[name].split(", "), _YEARS] for name in languages}
    most = sum(math.prod(map(len, columns)) for columns in words.values())
    if n > most:
        raise UsageError(f"{n} different prompts were asked of the playground, which has {most}: leave prompts out")
    rng = random.Random(f"prompts {seed}")
    told: set[str] = set()
    while len(told) < n:
        name = rng.choice(languages)
        prompt = _REQUESTS[name].format(*(rng.choice(column) for column in words[name]))
        if prompt not in told:
            told.add(prompt)
            yield prompt
