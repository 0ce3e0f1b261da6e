"""The fixed words of the report in English and Chinese.

A report stores the names of its sentences and the values in them, not the sentences: the same run
is shown in either language.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tastemaker.errors import UsageError

ReportLanguage = Literal["en", "zh"]

LANGUAGES: tuple[str, ...] = get_args(ReportLanguage)

# name: (English, Chinese)
_WORDS: dict[str, tuple[str, str]] = {
    # headings of the page
    "title_model": (
        "How far to trust this reward model",
        "这个奖励模型可以信任到什么程度",
    ),
    "title_steering": ("Does the GPT write better?", "GPT 写得更好了吗？"),
    "title_data": ("What is wrong with this data", "这份数据有什么问题"),
    "title_all": (
        "From judgements to a steered GPT",
        "从人工评判到受引导的 GPT",
    ),
    "trust": ("What you can rely on", "可以相信什么"),
    "caution": ("What you cannot rely on", "不能相信什么"),
    "next": ("What to do next", "下一步做什么"),
    "contents": ("Contents", "目录"),
    "details": ("Details", "详细内容"),
    "numbers": ("The numbers of this figure", "此图的数据"),
    "footer": (
        "Written by Tastemaker {version}. Intervals: 95 %.",
        "由 Tastemaker {version} 生成。区间均为 95 % 置信区间。",
    ),
    # parts
    "part_evaluation": ("How good the scores are", "评分的质量"),
    "part_data": ("The data", "数据"),
    "part_steering": ("The steered GPT", "受引导的 GPT"),
    "part_model": ("How the model was made", "模型是怎样得到的"),
    "part_gpt": ("The GPT before steering", "引导之前的 GPT"),
    # levels
    "usable": ("usable", "可用"),
    "weak": ("weak", "较弱"),
    "useless": ("not usable", "不可用"),
    "unknown": ("too little data", "数据太少"),
    "data_good": ("no problems", "没有问题"),
    "data_warnings": ("look at the warnings", "请看警告"),
    "data_errors": ("fix the errors first", "请先改正错误"),
    "gain_real": ("really better", "确实更好"),
    "gain_not_real": ("not really better", "没有真正变好"),
    "gain_unknown": ("not checked", "未经检验"),
    # what to rely on
    "right_pairs": (
        "Of two texts, the model gives the higher score to the one that people prefer about {n} "
        "times in 100 ({low} to {high}).",
        "两段文本中，人们更喜欢的那一段，100 次里约有 {n} 次得分更高（{low} 到 {high}）。",
    ),
    "right_labels": (
        "The model tells positive from negative texts correctly about {n} times in 100 "
        "({low} to {high}).",
        "区分正面与负面文本，100 段里约有 {n} 段判断正确（{low} 到 {high}）。",
    ),
    "error_numbers": (
        "The {kind} that the model predicts is {error} away from the one that a person gave, on "
        "average{scale}.",
        "模型预测的{kind_zh}与人给出的平均相差 {error}{scale_zh}。",
    ),
    "verdict": ("{verdict}", "{verdict}"),
    "no_trust": (
        "Nothing yet: on these judgements the model orders texts no better than chance.",
        "目前还没有：在这些评判上，模型对文本的排序并不比随机更好。",
    ),
    "no_trust_few": (
        "Nothing can be said yet: {groups} independent groups of judgements are too few.",
        "还不能下结论：只有 {groups} 组相互独立的评判，太少了。",
    ),
    "gpt_better": (
        "The GPT of run {run} writes better texts than before: {truth} rose from {before} to "
        "{after}, and it was not trained on that.",
        "运行 {run} 之后，GPT 写得更好：{truth_zh}从 {before} 升到 {after}，而训练并没有用到它。",
    ),
    # what not to rely on
    "wrong_labels": (
        "A decision about one text alone: about {n} of 100 are wrong.",
        "对单独一段文本的判断：100 次里约有 {n} 次是错的。",
    ),
    "wrong_pairs": (
        "The order of two texts alone: about {n} of 100 pairs are in the wrong order.",
        "单独两段文本的先后：100 对里约有 {n} 对排错。",
    ),
    "weak_kind": (
        "The model's order by {kind}s: it is hardly better than chance there.",
        "按{kind_zh}的排序：几乎不比随机好。",
    ),
    "few_of_kind": (
        "The model's order by {kind}s: only {groups} independent groups were measured.",
        "按{kind_zh}的排序：只测量了 {groups} 组相互独立的数据。",
    ),
    "too_sure": (
        "The model's percentages: they are too sure (of its 90 % fewer come true).",
        "模型给出的百分比：过于肯定（说 90 % 时实际更低）。",
    ),
    "too_cautious": (
        "The model's percentages: they are too cautious (of its 80 % more come true).",
        "模型给出的百分比：过于谨慎（说 80 % 时实际更高）。",
    ),
    "likes_length": (
        "Comparisons of texts of very different length: the model favours the {which} ones.",
        "比较长短悬殊的文本：模型偏爱更{which_zh}的文本。",
    ),
    "other_texts": (
        "Scores of other sorts of text: only these {texts} texts were tested.",
        "其他类型文本的评分：这里只测试了这 {texts} 段。",
    ),
    "gpt_not_better": (
        "The gain of run {run}: its reward rose, but its texts are not better by {truth} "
        "({verdict}).",
        "运行 {run} 的提升：奖励上升了，但按{truth_zh}并没有变好（{verdict}）。",
    ),
    "gpt_unchecked": (
        "The gain of run {run}: nothing but the reward itself was measured.",
        "{run} 的提升：除了奖励本身没有测量其他指标。",
    ),
    "gpt_no_change": (
        "That run {run} changed anything: no change exceeds the noise.",
        "{run} 是否有效：没有超出噪声的变化。",
    ),
    "data_problem": ("The data: {problem}", "数据：{problem}"),
    # what to do next
    "do_use": (
        "Use the model to rank or filter texts like these. Read its worst mistakes below first.",
        "用模型给同类文本排序或筛选。请先阅读下面最严重的错误。",
    ),
    "do_more": (
        "Collect more judgements; `tastemaker learning-curve` shows whether more would help.",
        "收集更多评判；`tastemaker learning-curve` 会显示增加数据是否有帮助。",
    ),
    "do_check_data": (
        "Check the judgements with `tastemaker doctor`, then collect more.",
        "先用 `tastemaker doctor` 检查评判，再收集更多。",
    ),
    "do_linear": (
        "Use the linear model instead: it is as good, and far faster.",
        "改用线性模型：效果相当，而且快得多。",
    ),
    "do_duplicates": (
        "Remove the tested texts that are also in the training data ({n}), and measure again.",
        "去掉测试数据中与训练数据重复的文本（{n} 段），再测一次。",
    ),
    "do_write": (
        "Let the steered GPT write, and read some texts yourself: `tastemaker write {folder}`.",
        "让引导后的 GPT 写几段，自己读一读：`tastemaker write {folder}`。",
    ),
    "do_steer_less": (
        "Steer again with a lower --most-kl or a higher --kl-coef, or improve the reward model.",
        "降低 --most-kl 或提高 --kl-coef 后重新引导，或者改进奖励模型。",
    ),
    "do_measure": (
        "Steer again with --held-out MODEL, so that the gain can be checked.",
        "加上 --held-out MODEL 重新引导，这样才能检验提升是否真实。",
    ),
    "do_steer_more": (
        "Steer for more steps, or with a lower --kl-coef.",
        "增加步数，或者降低 --kl-coef。",
    ),
    "do_fix_data": ("{advice}", "{advice}"),
    # figures that carry the verdict
    "accuracy": ("accuracy", "准确率"),
    "MAE": ("average error", "平均误差"),
    "Pearson": ("correlation (Pearson)", "相关系数（Pearson）"),
    "Kendall's τ": ("order (Kendall's τ)", "排序（肯德尔 τ）"),
    # kinds and truths
    "held_out": ("the held-out score", "留出模型的评分"),
    "gold": ("the gold score", "标准答案评分"),
    "score": ("score", "评分"),
}

KINDS_ZH = {
    "label": "标签",
    "grade": "等级",
    "rating": "评分",
    "comparison": "比较",
    "ranking": "排名",
}


# name of a panel: title and caption in Chinese; in English they come with the panel
_PANELS_ZH = {
    "reliability": (
        "校准：预测的概率与实际的比例",
        "落在对角线上说明概率可信；在线下说明预测偏高，在线上说明偏低。"
        "底部的柱子表示数量。误差线为 95 % 区间。",
    ),
    "roc": (
        "ROC 曲线",
        "每个点对应一个评分阈值：纵轴是高于阈值的正面文本比例，横轴是负面文本比例。越靠近左上角越好，对角线等于瞎猜。",
    ),
    "scores": (
        "正面与负面文本的评分分布",
        "两个分布重叠越少越好。虚线处预测概率为一半。",
    ),
    "predictions": (
        "预测值与人给出的值",
        "完美的模型落在虚线上。箱子包含中间一半的预测，线为中位数，须线包含 90 %。",
    ),
    "errors": (
        "预测误差",
        "预测值减去人给出的值：零点右侧说明预测偏高。越窄、越靠近零越好。",
    ),
    "tenths": (
        "按预测值分为十组的平均值",
        "从预测最低到最高分十组，比较平均预测与平均评判。落在虚线上说明已校准。",
    ),
    "slices": (
        "按文本长度的表现",
        "按长度分为四组，最短的在前，误差线为 95 % 区间，虚线为全部文本的值。",
    ),
    "baselines": (
        "与简单方法相比",
        "旁边是抛硬币、总选较长文本等简单方法。误差线为 95 % 区间。",
    ),
    "lists": (
        "每个列表的肯德尔 τ",
        "1 表示与人的排序完全一致，−1 表示完全相反，0 等于随机。虚线为平均值。",
    ),
    "by_margin": ("按人们认为的差距", "差距越大的文本对越容易判断。"),
    "by_length_difference": (
        "按两段文本的长度差",
        "如果模型跟着“较长文本”那条线走，它可能只是在数字数。",
    ),
    "by_distance": ("按在列表中的距离", "相邻的难分，最好与最差的应当容易。"),
    "length": (
        "对长文本的偏好",
        "人们与模型选择较长文本的比例。若模型远高于人，说明评分在奖励长度。",
    ),
    "overoptimisation": (
        "提升是真实的吗？评分（虚线）与检验（实线）",
        "各曲线为相对起点的提升，以最大提升为 1。"
        "虚线上升而实线下降，说明策略在利用奖励模型的错误（过度优化）。",
    ),
    "gold": ("标准答案评分与 KL", "连续若干步的平均值。圆圈是保存的策略。"),
    "held_out": (
        "留出模型评分与 KL",
        "连续若干步的平均值。圆圈是保存的策略。",
    ),
    "score": ("评分与 KL", "连续若干步的平均值。圆圈是保存的策略。"),
    "fits": ("提升的拟合曲线", "d = √KL。菱形标出数据范围内的峰值。"),
}


# headings and notes of the templates, in Chinese
_TEMPLATES_ZH = {
    "What the figures say": "这些数字说明什么",
    "Against simple baselines": "与简单方法比较",
    "What made the highest and the lowest scores": "最高分与最低分从何而来",
    "By length of the text": "按文本长度",
    "Parts of the data": "数据的各部分",
    "Duplicates": "重复文本",
    "Is the gain real?": "提升是真实的吗？",
    "Before and after": "引导前后",
    "Side by side": "各次运行对比",
    "Fitted curves": "拟合曲线",
    "Problems, worst first": "问题，最严重的在前",
    "Judgements by kind": "各类评判的数量",
    "Judgements by judge": "每位评判者的数量",
    "Do people prefer longer texts?": "人们偏爱更长的文本吗？",
    "Agreement between judges": "评判者之间的一致性",
    "Length of the texts": "文本长度",
    "The judges": "评判者",
    "Settings": "设置",
    "Versions": "版本",
    "before": "之前",
    "after": "之后",
    "Read them. Is the model wrong, is the judgement wrong, or is this kind of text "
    "new to the model?": "请读一读：是模型错了，是评判错了，还是模型没见过这类文本？",
    "Do not trust a model that does not beat them.": "不能胜过它们的模型不可信。",
    "Completions of the same prompts with the same random numbers, "
    "each with its score.": "相同的提示、相同的随机数，各附评分。",
}


@dataclass(frozen=True)
class Sentence:
    """A sentence of the report: its name in the catalogue, and its values."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {"name": self.name, "values": dict(self.values)}


def check_language(language: str) -> None:
    """Raise UsageError for a language that reports are not written in."""
    if language not in LANGUAGES:
        raise UsageError(
            f"the report has no language {language!r}; it has {', '.join(LANGUAGES)}."
        )


def text(language: str, name: str, **values: Any) -> str:
    """Return a sentence of the catalogue in a language. Raises KeyError for an unknown name."""
    return _WORDS[name][LANGUAGES.index(language)].format(**values)


def sentence_text(language: str, sentence: Sentence) -> str:
    """Return a sentence with its values."""
    return text(language, sentence.name, **sentence.values)


def tile_title(language: str, title: str) -> str:
    """Return the title of a figure, such as "MAE, grades", in plain words of a language."""
    name, comma, kind = title.partition(", ")
    words = _WORDS.get(name)
    if words is None:
        return title
    if language == "zh":
        kind = KINDS_ZH.get(kind.removesuffix("s"), kind)
    return words[LANGUAGES.index(language)] + comma + kind


def panel_words(language: str, panel: Mapping[str, Any]) -> dict[str, str]:
    """Return title and caption of a stored panel; in English if there is no translation."""
    title, caption = str(panel["title"]), str(panel["caption"])
    if language == "zh":
        translated = _PANELS_ZH.get(str(panel.get("name")), (title, caption))
        title, caption = translated
    return {"title": title, "caption": caption}


def template_text(language: str, english: str) -> str:
    """Return a heading or note of a template in a language."""
    return _TEMPLATES_ZH.get(english, english) if language == "zh" else english
