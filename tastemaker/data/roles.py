"""What the columns of a table are for: roles that are named, and names that are recognised.

A role is what a column holds: the text, the prompt, a grade, the judge. `Columns` says which column
has which role. A role that nobody names is recognised by the column's name, or stays empty. "none"
switches a role off. Names are compared without case, spaces, hyphens and humps: `reviewText` and
`Review Text` are `review_text`.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

from tastemaker.errors import UsageError
from tastemaker.settings import nearest, scale_of

OFF = "none"
"""The name that switches a role off."""

TOGETHER = "+"
"""Stands between columns that are read as one: `instruction+input`."""

_CHINESE = {
    "text": "文本 文字 正文",
    "content": "内容 內容",
    "review": "评论 評論 影评 書評 书评 用户评价 商品评价",
    "sentence": "句子",
    "prompt": "提示 提示词",
    "instruction": "指令",
    "question": "问题 問題",
    "input": "输入 輸入",
    "system_prompt": "系统提示 系统提示词",
    "history": "历史",
    "answer": "回答",
    "response": "回复 回覆 响应",
    "output": "输出 輸出",
    "translation": "译文 翻译",
    "summary": "摘要",
    "model": "模型",
    "label": "标签 標籤",
    "sentiment": "情感 情感倾向 情感标签",
    "rating": "评分 評分 打分",
    "score": "分数 分數 得分",
    "stars": "星级 星數 星数",
    "preference": "偏好",
    "winner": "胜者 胜出 获胜",
    "better": "更好 较好 更优",
    "best": "最好 最佳 最优",
    "worse": "更差 较差 更糟 较弱",
    "worst": "最差 最糟",
    "loser": "败者 输家",
    "which": "哪个 哪一个",
    "whether": "是否",
    "result": "结果",
    "verdict": "结论 裁决",
    "choice": "选择",
    "chosen": "选中 被选中 优选 采纳",
    "rejected": "拒绝 被拒绝 落选",
    "rank": "排名 名次",
    "vote": "投票",
    "judge": "评委 評審 评审 评审人",
    "annotator": "标注员 标注者 标注人",
    "created_at": "创建时间",
    "annotated_at": "标注时间",
    "time": "时间 時間",
    "weight": "权重 權重",
    "number": "编号 序号",
    "user": "用户",
    "a": "甲",
    "b": "乙",
    "first": "第一个 第一",
    "second": "第二个 第二",
    "left": "左边 左",
    "right": "右边 右",
    "is": "是",
    "of": "的",
}
"""English words of names of columns and of values → the same in Chinese.

Words with several meanings, such as 评价 (a review or a verdict), are left out.
"""

_ENGLISH = {
    chinese: english
    for english, several in _CHINESE.items()
    for chinese in several.split()
}
# the longest first, so that 提示词 is not read as 提示 and something else
_CHINESE_WORD = re.compile(
    "|".join(sorted(_ENGLISH, key=lambda word: (-len(word), word)))
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OWN_COLUMNS = "tastemaker_"
"""What `score` writes begins so, and is never read back as a judgement."""


class Roles(TypedDict, total=False):
    """The roles that `tm.read` takes as keywords; each is a field of `Columns`."""

    text: str | None
    prompt: str | None
    system: str | None
    label: str | None
    grade: str | None
    rating: str | None
    judge: str | None
    time: str | None
    weight: str | None
    positive: str | None
    scale: tuple[int, int] | None
    order: tuple[str, ...]
    answers: tuple[str, ...]
    better: str | None
    first: str | None
    second: str | None
    tie: str | None
    header: tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """Which columns to read; None: recognised by name; "none": left out.

    Once one judgement column is named, only the named ones are read. A column named as `grade` or
    `rating` is read as that; a recognised rating column of few whole numbers is read as grades.

    positive: which value of the label column means positive, where that is not plain.
    scale: (lowest, highest) grade or rating there can be; None: grades reach as far as those in the
    table, ratings anywhere.
    order: the classes of the label column from worst to best, which makes grades of them.
    answers: the columns of the texts that are compared. better: the column that says which is
    better, or a column of numbers for each answer, joined by commas or +: the larger number is the
    better one. None: the answers are in order, best first. first, second, tie: the values of that
    column that mean the first answer, the second one and a tie, where that is not plain: one,
    several with commas, or numbers from one to another, 1..3. Of numbers, the tie is the middle of
    a scale, and first its end that means the first answer; −1 means all numbers below 0.
    header: the names of the columns of a CSV or TSV file that has none.
    prompt may be several columns, `instruction+input`.
    """

    text: str | None = None
    prompt: str | None = None
    label: str | None = None
    grade: str | None = None
    rating: str | None = None
    positive: str | None = None
    scale: tuple[int, int] | None = None
    system: str | None = None
    judge: str | None = None
    time: str | None = None
    weight: str | None = None
    order: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    better: str | None = None
    first: str | None = None
    second: str | None = None
    tie: str | None = None
    header: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise UsageError for a scale that does not rise, and for fewer than two answers."""
        if self.scale and self.scale[0] >= self.scale[1]:
            lowest, highest = self.scale
            raise UsageError(
                f"scale {lowest} to {highest}: the lowest must be under the highest."
            )
        for name in ("order", "answers", "header"):
            value = getattr(self, name)
            if isinstance(value, str):
                value = value.split(",")
            object.__setattr__(self, name, tuple(map(str, value)))
        if len(self.answers) == 1:
            raise UsageError(
                f"answers {self.answers[0]!r}: name two columns or more, with commas."
            )
        if len(self.order) == 1:
            raise UsageError(
                f"order {self.order[0]!r}: name two classes or more, with commas."
            )
        if self.better and not self.answers:
            raise UsageError(
                f"better {self.better!r}: name the columns of the answers too (--answers)."
            )

    def named(self) -> list[str]:
        """Return the columns that are named."""
        columns = [
            self.text,
            self.label,
            self.grade,
            self.rating,
            self.system,
            self.judge,
            self.time,
            self.weight,
            *self.answers,
        ]
        for several in (self.prompt, self.better):
            columns += (several or OFF).split(TOGETHER)
        return [name for name in columns if name is not None and name != OFF]

    def is_off(
        self,
        role: str,
    ) -> bool:
        """Return whether a role is switched off."""
        return bool(getattr(self, role) == OFF)

    def name_of(
        self,
        role: str,
    ) -> str | None:
        """Return the column that is named for a role; None where none is, or where it is off."""
        name: str | None = getattr(self, role)
        return None if name == OFF else name

    @property
    def describes_a_table(self) -> bool:
        """Whether a role is named that published formats do not use."""
        named = [
            self.name_of(role) for role in ("text", "label", "grade", "rating")
        ]
        return any(named) or bool(self.answers or self.order)

    def with_table_spelling(
        self,
        names: Collection[str],
    ) -> "Columns":
        """Return these columns with names as the table spells them; case and "_" are ignored."""
        changes: dict[str, Any] = {}
        for role in ROLES:
            name = getattr(self, role)
            if name is not None and name != OFF:
                changes[role] = _table_spelling(name, names)
        if "better" in changes and not _are_in(names, changes["better"]):
            several = changes["better"].replace(",", TOGETHER)
            changes["better"] = _table_spelling(several, names)
        changes["answers"] = tuple(
            _table_spelling(name, names) for name in self.answers
        )
        return replace(self, **changes)


ROLES = (
    "text",
    "prompt",
    "system",
    "label",
    "grade",
    "rating",
    "better",
    "judge",
    "time",
    "weight",
)
"""The roles of a single column, as the fields of `Columns` are called."""


def _are_in(names: Collection[str], several: str) -> bool:
    """Return whether a table has all columns that are joined by +."""
    return all(name in names for name in several.split(TOGETHER))


def _table_spelling(
    name: str,
    names: Collection[str],
) -> str:
    """Return a name, or several joined by +, as the table spells them. Unknown names stay."""
    if name in names:
        return name
    spellings = []
    for part in name.split(TOGETHER):
        matches = [one for one in names if plain_name(one) == plain_name(part)]
        is_plain = part not in names and len(matches) == 1
        spellings.append(matches[0] if is_plain else part)
    return TOGETHER.join(spellings)


@lru_cache(maxsize=4096)
def plain_name(
    name: str,
) -> str:
    """Return a column's name in its plain form.

    "Created-At" and "createdAt" are "created_at". Usual Chinese words are put into English: 回答A
    is "answer_a".
    """
    parted = _HUMP.sub("_", name.strip()).casefold()
    return in_english(parted.replace(" ", "_").replace("-", "_"), "_")


def in_english(
    text: str,
    between: str = " ",
) -> str:
    """Return a name or value in English, where it is made of usual Chinese words and letters.

    Any other text is returned as it is: a part that is not known may turn the meaning round.
    between: stands between the words.
    """
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKC", text)
    english = _CHINESE_WORD.sub(lambda word: f"_{_ENGLISH[word[0]]}_", plain)
    if not english.isascii():
        return text
    return between.join(part for part in re.split("[_ ]+", english) if part)


def column_for(
    recognised: Collection[str],
    names: Collection[str],
    used: Collection[str],
) -> str | None:
    """Return the column with the first recognised name that the table has; None without one.

    names: the columns of the table; used: those of them that hold something else.
    """
    by_plain_name: dict[str, str] = {}
    doubtful = set()
    for name in names:
        if name in used:
            continue
        plain = plain_name(name)
        other = by_plain_name.get(plain, "")
        if other and not (name + other).isascii():
            # 回复 and 响应 are both "response"
            doubtful.add(plain)
        by_plain_name.setdefault(plain, name)
    for plain in doubtful:
        del by_plain_name[plain]
    for name in recognised:
        if name in by_plain_name:
            return by_plain_name[name]
    return None


def written_by_score(names: Collection[str]) -> list[str]:
    """Return the columns that `tastemaker score` wrote.

    They are NAME and NAME_OTHER, where the table also has NAME_truncated.
    """
    written = []
    names = dict.fromkeys(names)
    for name in names:
        is_plain = name == "score" and "truncated" in names
        is_own = plain_name(name).startswith(_OWN_COLUMNS)
        if is_plain or is_own or f"{name}_truncated" in names:
            written.append(name)
        base = name.rpartition("_")[0]
        if f"{base}_truncated" in names and base in names:
            written.append(name)
    return written


def is_of_words(
    name: str,
    words: Collection[str],
    fillers: str,
) -> bool:
    """Return whether a column's name consists of these words and fillers, one word at least."""
    parts = [part for part in plain_name(name).split("_") if part]
    if not parts or plain_name(name).startswith(_OWN_COLUMNS):
        return False
    allowed = {*words, *fillers.split()}
    return all(part in allowed for part in parts) and any(
        part in words for part in parts
    )


# --- options of one source: reviews.csv:text=review_text,grade=stars

_DESCRIBED = re.compile(r"(?<=.):(?=[a-z]+=)")
_SETTING = re.compile(r"(?:^|,)([a-z]+)=")
_LISTS = ("order", "answers", "header")
_OTHERS = ("format", "split")


def described_source(
    source: Any,
    columns: Columns | None = None,
) -> tuple[Any, Columns, dict[str, str]]:
    """Return (source, columns, other settings) of `reviews.csv:text=review_text,grade=stars`.

    Values that are lists have + between their parts: `answers=response_1+response_2`. The other
    settings are `format` and `split`. Raises UsageError for an unknown role.
    """
    columns = columns or Columns()
    match = _DESCRIBED.search(source) if isinstance(source, str) else None
    if match is None or Path(source).exists():
        return source, columns, {}
    path, settings = source[: match.start()], source[match.end() :]
    roles: dict[str, Any] = {}
    others: dict[str, str] = {}
    for name, value in _settings(settings):
        if name in _OTHERS:
            others[name] = value
        else:
            roles[name] = value
    return path, with_roles(columns, roles, path), others


OF_TEXTS = ("text", "prompt", "system")
"""The roles of columns that hold no judgement."""


def described_file(source: Path, columns: Columns) -> tuple[Path, Columns]:
    """Return (file, columns) of a file of texts or prompts, described as judgements are.

    `reviews.csv:text=body,prompt=question`. Raises UsageError for roles of judgements.
    """
    path, described, others = described_source(str(source), columns)
    for field in fields(Columns):
        is_new = getattr(described, field.name) != getattr(columns, field.name)
        if is_new and field.name not in OF_TEXTS:
            others[field.name] = ""
    for name in others:
        raise UsageError(
            f"{source}: {name} is about judgements. Of a file of texts or prompts, name "
            f"{', '.join(OF_TEXTS)}."
        )
    return Path(path), described


def _settings(
    text: str,
) -> list[tuple[str, str]]:
    """Return the (name, value) pairs of `text=review_text,grade=stars`; values may hold commas."""
    parts = _SETTING.split(text)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def with_roles(
    columns: Columns | None,
    roles: Mapping[str, Any],
    where: str = "columns",
) -> Columns:
    """Return columns with some roles named. Raises UsageError for a role that there is not."""
    names = [field.name for field in fields(Columns)]
    values = {}
    for role, value in roles.items():
        if role not in names:
            raise UsageError(
                f"{where}: no role {role!r}: {nearest(role, names)}."
            )
        values[role] = value
        if isinstance(value, str):
            parts = value.replace(TOGETHER, ",")
            if role == "scale":
                values[role] = scale_of(parts)
            elif role in _LISTS:
                values[role] = tuple(parts.split(","))
    return replace(columns or Columns(), **values)
