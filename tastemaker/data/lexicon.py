"""The words of the playground, English and Chinese, and what they are worth.

One table a language: "kind group" → {value: "word, word, two words"}. What a value means depends on the kind's role:
an opinion is worth −1 (dreadful) … 1 (superb); a thing that can be praised has a weight; a modifier (`very`, `not`)
multiplies the opinion after it; everything else is worth nothing. A group (`plot`, `sound` …) ties opinions to the
things that they suit, `any` suits all. `kind+` and `kind-` are for use beside good or bad words only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

Table = Mapping[str, Mapping[float, str]]

OPINIONS = frozenset(
    {"gradable", "extreme", "quality", "enjoyed", "enjoy", "enjoys", "fared", "fare", "verdict", "advice"}
    | {"esteem", "remainder", "feeling", "fixed"}
)
THINGS = frozenset({"thing", "things", "whole"})
MODIFIERS = frozenset(
    {"degree", "fervour", "soften", "boost", "not", "far", "never", "wasnt", "werent", "didnt", "nothing", "something"}
    | {"call", "amount", "full", "free", "lacking", "hadno", "lacked", "negate"}
)
TURNS = frozenset({"but", "however"})
CONCESSIONS = frozenset({"although", "despite"})
DETAILS = frozenset({"weekday", "weather", "company", "venue", "place", "person", "deed", "aside"})


@dataclass(frozen=True, slots=True)
class Word:
    """A word or set phrase. `sign`: +1 or −1 where it is used beside good or bad words only, else 0."""

    text: str
    kind: str
    group: str = "any"
    value: float = 0.0
    sign: int = 0


def units(text: str) -> list[str]:
    """Split lower-cased text into what words are made of: English words, single Chinese characters, single marks."""
    return _UNIT.findall(text.lower().translate(_MARKS))


_MARKS = str.maketrans("，。！？：’", ",.!?:'")
_UNIT = re.compile(r"[a-z]+(?:['-][a-z]+)*|\S")


def words_of(table: Table) -> list[Word]:
    """Return the words of a table, in its order."""
    found = []
    for key, row in table.items():
        name, _, group = key.partition(" ")
        kind = name.rstrip("+-")
        for value, texts in row.items():
            sign = (value > 0) - (value < 0) if kind in OPINIONS else name.count("+") - name.count("-")
            found += [Word(text.strip(), kind, group or "any", value, sign) for text in texts.split(",")]
    return found


ENGLISH: Table = {
    # what a review can speak of, and how much it counts
    "thing people": {1.4: "acting, cast", 1.2: "direction, lead performance", 1.0: "supporting cast"},
    "thing plot": {
        1.4: "story, plot",
        1.2: "script, ending",
        1.0: "dialogue, pacing, final act",
        0.9: "opening, first half, second half",
    },
    "thing humour": {0.9: "humour, comedy"},
    "thing sound": {0.8: "music, soundtrack", 0.6: "sound design"},
    "thing looks": {0.9: "camera work", 0.8: "photography, editing", 0.6: "lighting, set design"},
    "things people": {1.4: "performances", 1.2: "characters", 0.9: "villains"},
    "things plot": {1.0: "flashbacks, closing scenes", 0.9: "twists"},
    "things humour": {0.9: "jokes, gags", 0.7: "punchlines"},
    "things sound": {0.7: "songs, melodies"},
    "things looks": {0.8: "special effects", 0.7: "action scenes", 0.6: "costumes, landscapes"},
    "whole whole": {1.6: "film, movie, picture"},
    # adjectives that take "very" …
    "gradable any": {
        0.65: "impressive, memorable, delightful, inspired, charming",
        0.5: "good, enjoyable, clever, satisfying, engaging, rewarding",
        0.35: "pleasant, likeable, decent, respectable, competent",
        -0.35: "uneven, ordinary, bland, flat, plodding",
        -0.5: "bad, weak, dull, clumsy, tired, forgettable",
        -0.65: "tedious, irritating, disappointing, sloppy, tiresome",
    },
    "gradable people": {
        0.65: "convincing, heartfelt",
        0.5: "natural, believable, sensitive",
        -0.5: "wooden, stiff",
        -0.65: "unconvincing, lifeless, lazy",
    },
    "gradable plot": {
        0.65: "gripping, moving, original",
        0.5: "tense, coherent",
        -0.5: "predictable, slow, thin",
        -0.65: "confusing, muddled, implausible",
    },
    "gradable humour": {0.65: "funny, witty", 0.5: "playful, amusing", -0.5: "stale, childish", -0.65: "crude, lame"},
    "gradable sound": {0.65: "stirring, haunting", 0.5: "catchy, tender", -0.5: "repetitive", -0.65: "shrill, grating"},
    "gradable looks": {0.65: "beautiful, elegant", 0.5: "stylish, crisp", -0.5: "murky, shabby", -0.65: "ugly, cheap"},
    "gradable whole": {0.65: "entertaining, thoughtful", -0.5: "overlong", -0.65: "pretentious, dreary"},
    # … and those that do not
    "extreme any": {
        0.95: "superb, brilliant, magnificent, outstanding",
        0.85: "wonderful, excellent, terrific, marvellous, fantastic",
        -0.85: "terrible, awful, dreadful, dire, horrible",
        -0.95: "appalling, atrocious, abysmal, hopeless",
    },
    "extreme people": {0.95: "flawless, mesmerising", -0.9: "laughable"},
    "extreme plot": {0.9: "riveting, spellbinding", -0.9: "nonsensical, incomprehensible"},
    "extreme humour": {0.9: "hilarious, priceless", -0.9: "excruciating"},
    "extreme sound": {0.9: "sublime, enchanting", -0.9: "deafening, unbearable"},
    "extreme looks": {0.9: "breathtaking, gorgeous, stunning", -0.9: "hideous"},
    "extreme whole": {0.95: "unmissable", -0.95: "unwatchable"},
    # modifiers of adjectives
    "degree": {
        1.5: "extremely, remarkably",
        1.3: "very, unusually, consistently",
        1.1: "surprisingly, pretty",
        0.9: "rather",
    },
    "fervour": {1.3: "really, thoroughly", 1.2: "genuinely"},
    "soften+": {0.75: "fairly, reasonably", 0.6: "moderately, mildly"},
    "soften-": {0.7: "somewhat, a bit", 0.6: "a little, slightly"},
    "boost": {1.15: "absolutely, utterly, nothing short of", 1.1: "truly, simply, completely"},
    "not": {
        -0.5: "not exactly, not particularly, not especially",
        -0.6: "not very, not really, hardly, scarcely",
        -0.7: "not",
        -1.0: "not at all, by no means",
    },
    "wasnt": {-0.7: "wasn't"},
    "werent": {-0.7: "weren't"},
    "far": {-0.9: "far from", -1.1: "anything but"},
    "never": {-0.8: "never", -0.6: "hardly ever, rarely"},
    "nothing": {-0.9: "nothing"},
    "something": {0.8: "something"},
    "call": {-0.8: "nobody could call, nobody will call", -0.7: "I would not call, I could not call, I wouldn't call"},
    # nouns: "had plenty of charm", "lacked wit"
    "quality any": {
        0.7: "charm, wit, imagination, warmth",
        0.6: "depth, elegance, energy",
        0.5: "style, conviction",
        -0.5: "silliness, clutter, noise",
        -0.65: "confusion, pretension, vanity",
    },
    "quality plot": {0.6: "suspense, heart", -0.5: "padding", -0.65: "nonsense"},
    "amount": {1.4: "a great deal of", 1.2: "plenty of", 0.7: "some", 0.5: "a touch of"},
    "full": {1.3: "full of", 1.4: "brimming with"},
    "free": {-0.8: "free of", -0.6: "mostly free of"},
    "lacking": {-0.8: "without", -0.6: "short on"},
    "hadno": {-0.8: "had no", -0.6: "had hardly any, had little"},
    "lacked": {-0.7: "lacked", -0.9: "sorely lacked"},
    # verbs: "I enjoyed the …", "I did not enjoy the …", "one enjoys the …", "the … delighted me", "the … did not delight me"
    "enjoyed": {
        0.95: "adored, loved",
        0.65: "enjoyed, admired",
        0.5: "liked, appreciated",
        -0.5: "disliked",
        -0.65: "resented, endured",
        -0.95: "hated, loathed",
    },
    "enjoy": {0.95: "love", 0.65: "enjoy, admire", 0.5: "like, appreciate", -0.5: "mind, dislike", -0.65: "resent"},
    "enjoys": {0.8: "treasures", 0.65: "admires, enjoys", 0.5: "respects", -0.5: "regrets", -0.65: "endures, deplores"},
    "fared": {
        0.8: "shone, dazzled me, delighted me",
        0.65: "moved me, impressed me",
        0.5: "worked, held my attention",
        -0.5: "dragged, left me cold",
        -0.65: "fell flat, bored me, annoyed me",
        -0.8: "failed, ruined everything",
    },
    "fare": {0.65: "impress me, move me", 0.5: "work, hold my attention", -0.5: "drag", -0.65: "bore me, annoy me"},
    "didnt": {-0.7: "did not, didn't", -0.5: "did not really, didn't really"},
    "esteem": {
        0.65: "praise, admiration",
        0.8: "an award, a standing ovation",
        -0.65: "criticism, no praise",
        -0.8: "scorn",
    },
    "remainder": {0.8: "nothing to be desired", 0.6: "little to be desired", -0.65: "much to be desired"},
    # whole statements about the whole film
    "verdict": {
        0.9: "I was moved to tears, I would gladly see it again, I laughed from start to finish",
        0.7: "I left the cinema smiling, two hours flew by, it won me over, I would recommend it",
        -0.7: "I nearly fell asleep, I yawned all evening, two hours felt like four, I would not recommend it",
        -0.9: "I wanted my money back, I would not see it again, I left before the end",
    },
    "advice": {
        0.9: "do not miss it, worth every penny",
        0.7: "go and see it, well worth a ticket",
        -0.7: "do not bother, not worth a ticket",
        -0.9: "avoid it, a waste of money",
    },
    # contrast
    "but": {0.0: "but, yet, but then"},
    "however": {0.0: "however, still, even so, then again"},
    "although": {0.0: "although, even though, though"},
    "despite": {0.0: "despite, apart from"},
    # ways to begin a sentence
    "opener": {0.0: "honestly, well, frankly, for me, in my opinion, personally, to be honest, if I may say so"},
    "urge": {0.0: "I have to say, believe me, let me tell you, I promise"},
    "admission": {0.0: "I must admit that, I cannot deny that, I am sure that"},
    "coda": {0.0: "if you ask me, to my mind, in my view"},
    "summary": {0.0: "in short, on the whole, overall, by and large, all in all"},
    # what has nothing to do with the film
    "weekday": {0.0: "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"},
    "weather": {0.0: "rainy, sunny, windy, foggy, freezing, snowy"},
    "company": {
        0.0: "with my aunt, with two friends, with a colleague, with my neighbours, with my parents, on my own, "
        "with a cousin, with my sister"
    },
    "venue": {0.0: "at the old cinema, at a small festival, at the Odeon, in a village hall"},
    "place": {0.0: "on a long flight, on the sofa, at home"},
    "person": {0.0: "my uncle, my brother, the man beside me, our neighbour, a friend of mine, my grandmother"},
    "deed": {
        0.0: "brought popcorn, paid for the tickets, wore a green hat, arrived late, drove us home, spilled some tea, "
        "ordered noodles afterwards, sat in the front row"
    },
    "aside": {
        0.0: "it was raining outside, the cinema was half empty, we took the last bus home, the tickets were blue, "
        "I had read about it in the newspaper, we had pizza afterwards, my phone was switched off, the queue was short"
    },
}

CHINESE: Table = {
    "thing people": {1.4: "演技, 表演", 1.2: "导演手法", 1.0: "配角, 主角"},
    "thing plot": {1.4: "剧情, 故事", 1.2: "剧本, 结局", 1.0: "节奏, 对白", 0.9: "开头, 后半段, 反转"},
    "thing humour": {0.9: "笑点, 笑料", 0.7: "喜剧桥段"},
    "thing sound": {0.8: "配乐, 音乐", 0.7: "主题曲", 0.6: "音效"},
    "thing looks": {0.9: "画面, 镜头", 0.8: "摄影, 特效, 剪辑", 0.6: "服装, 布景, 灯光"},
    "whole whole": {1.6: "电影, 影片, 片子"},
    "gradable any": {
        0.65: "精彩, 出色, 迷人, 亮眼",
        0.5: "好, 讨喜, 用心, 成熟",
        0.35: "顺眼, 扎实",
        -0.35: "平淡, 普通",
        -0.5: "差, 平庸, 粗糙, 老套, 俗气",
        -0.65: "糟糕, 乏味, 无聊, 敷衍",
    },
    "gradable people": {0.65: "真挚, 传神", 0.5: "自然, 细腻", -0.5: "生硬, 僵硬", -0.65: "做作, 浮夸"},
    "gradable plot": {0.65: "感人, 紧凑", 0.5: "连贯, 新颖", -0.5: "拖沓, 单薄", -0.65: "混乱, 牵强"},
    "gradable humour": {0.65: "好笑, 风趣", 0.5: "俏皮, 机智", -0.5: "幼稚, 陈旧", -0.65: "低俗, 尴尬"},
    "gradable sound": {0.65: "动听, 悠扬", 0.5: "悦耳, 温柔", -0.5: "单调, 嘈杂", -0.65: "刺耳, 聒噪"},
    "gradable looks": {0.65: "精美, 优美", 0.5: "清新, 考究", -0.5: "昏暗, 廉价", -0.65: "难看, 寒酸"},
    "gradable whole": {0.65: "有趣, 好看", 0.5: "温暖, 深刻", -0.5: "沉闷, 空洞", -0.65: "冗长, 矫情"},
    "fixed any": {0.5: "不错", 0.65: "令人满意, 令人难忘", -0.5: "令人犯困", -0.65: "令人失望, 令人厌烦"},
    "extreme any": {
        0.95: "完美, 无可挑剔",
        0.85: "一流, 绝妙, 惊艳",
        -0.85: "一塌糊涂, 糟透了",
        -0.95: "惨不忍睹, 一无是处",
    },
    "degree": {1.5: "极其", 1.3: "非常, 特别, 十分, 真的很", 1.1: "相当, 挺", 1.0: "很"},
    "soften+": {0.75: "比较", 0.6: "还算"},
    "soften-": {0.7: "有些", 0.6: "有点, 略显"},
    "boost": {1.15: "简直, 实在是"},
    "boost+": {1.1: "堪称"},
    "boost-": {1.1: "真是"},
    "not": {-0.5: "不太, 不怎么", -0.7: "不, 并不", -1.0: "一点也不, 完全不, 一点都不"},
    "far": {-0.6: "谈不上, 算不上", -0.9: "远远谈不上, 绝对算不上"},
    "call": {-0.7: "没人会说, 我不觉得", -0.8: "谁也不会说"},
    "quality any": {
        0.7: "诚意, 想象力, 灵气",
        0.6: "温情, 巧思",
        -0.5: "套路, 噱头",
        -0.65: "匠气, 俗套",
    },
    "quality plot": {0.6: "张力, 悬念", -0.65: "漏洞, 废话, 说教"},
    "amount": {1.2: "有不少, 有很多", 0.6: "有一些", 0.5: "有一点"},
    "full": {1.3: "充满了, 满是"},
    "lacked": {-0.7: "缺少, 缺乏"},
    "hadno": {-0.6: "没什么", -0.8: "没有, 毫无"},
    "enjoy": {0.65: "喜欢, 欣赏, 喜爱", -0.65: "讨厌, 反感"},
    "feeling": {
        0.8: "着迷, 惊喜",
        0.65: "感动, 振奋",
        0.5: "放松, 安心",
        -0.5: "困惑, 疲惫",
        -0.65: "失望, 厌倦, 恼火",
    },
    "negate": {-0.8: "没有让我, 没让我", -1.0: "从来没有让我"},
    "verdict": {
        0.9: "我从头笑到尾, 我看得热泪盈眶, 我一定会再看一遍",
        0.7: "两个小时一晃就过去了, 我是笑着走出影院的, 我会推荐给朋友",
        -0.7: "我差点睡着了, 两个小时像四个小时一样长, 我不会推荐给朋友",
        -0.9: "我真想要求退票, 我没看完就走了, 我绝不会再看一遍",
    },
    "advice": {
        0.9: "千万不要错过, 值得再看一遍",
        0.7: "推荐去看, 对得起票价",
        -0.7: "不推荐去看, 对不起票价",
        -0.9: "千万不要去看, 纯属浪费钱",
    },
    "but": {0.0: "但是, 但, 不过, 可是"},
    "however": {0.0: "然而, 话说回来, 即便如此"},
    "although": {0.0: "虽然, 尽管"},
    "despite": {0.0: "除了"},
    "opener": {0.0: "说真的, 老实说, 坦白讲, 不得不说, 对我来说, 说实话"},
    "urge": {0.0: "我个人觉得, 我敢说"},
    "summary": {0.0: "总的来说, 整体而言, 平心而论, 客观地讲"},
    "merit": {0.0: "值得肯定的是, 难得的是"},
    "flaw": {0.0: "美中不足的是, 可惜的是"},
    "weekday": {0.0: "周一, 周二, 周三, 周四, 周五, 周六, 周日"},
    "weather": {0.0: "下雨, 刮风, 下雪, 起雾"},
    "company": {0.0: "一个人, 和阿姨一起, 和同事一起, 和两个朋友一起, 和爸妈一起, 和表弟一起"},
    "place": {0.0: "老城区的影院, 学校礼堂, 飞机上, 家里的沙发上, 商场六楼, 一个小影展上"},
    "person": {0.0: "舅舅, 我哥哥, 邻座的大叔, 楼下的邻居, 我的一个同学, 奶奶"},
    "deed": {0.0: "买了爆米花, 迟到了十分钟, 戴了一顶绿帽子, 开车送我们回家, 打翻了一杯茶, 坐在第一排"},
    "aside": {
        0.0: "那天外面下着雨, 影院里只坐了一半的人, 散场以后我们去吃了火锅, 我们坐末班车回的家, 票是网上买的, "
        "排队的人不多"
    },
}
