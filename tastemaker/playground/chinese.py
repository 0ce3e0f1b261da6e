"""Chinese film reviews: the words and what they are worth (how to read the table: `lexicon.py`), and the sentences."""

from tastemaker.playground.lexicon import Table

WORDS: Table = {
    "thing people": {1.4: "演技, 表演", 1.2: "导演手法", 1.0: "配角, 主角"},
    "thing plot": {
        1.4: "剧情, 故事",
        1.2: "剧本, 结局",
        1.0: "节奏, 对白",
        0.9: "开头, 后半段, 反转",
    },
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
    "gradable people": {
        0.65: "真挚, 传神",
        0.5: "自然, 细腻",
        -0.5: "生硬, 僵硬",
        -0.65: "做作, 浮夸",
    },
    "gradable plot": {
        0.65: "感人, 紧凑",
        0.5: "连贯, 新颖",
        -0.5: "拖沓, 单薄",
        -0.65: "混乱, 牵强",
    },
    "gradable humour": {
        0.65: "好笑, 风趣",
        0.5: "俏皮, 机智",
        -0.5: "幼稚, 陈旧",
        -0.65: "低俗, 尴尬",
    },
    "gradable sound": {
        0.65: "动听, 悠扬",
        0.5: "悦耳, 温柔",
        -0.5: "单调, 嘈杂",
        -0.65: "刺耳, 聒噪",
    },
    "gradable looks": {
        0.65: "精美, 优美",
        0.5: "清新, 考究",
        -0.5: "昏暗, 廉价",
        -0.65: "难看, 寒酸",
    },
    "gradable whole": {
        0.65: "有趣, 好看",
        0.5: "温暖, 深刻",
        -0.5: "沉闷, 空洞",
        -0.65: "冗长, 矫情",
    },
    "fixed any": {
        0.5: "不错",
        0.65: "令人满意, 令人难忘",
        -0.5: "令人犯困",
        -0.65: "令人失望, 令人厌烦",
    },
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
    "deed": {
        0.0: "买了爆米花, 迟到了十分钟, 戴了一顶绿帽子, 开车送我们回家, 打翻了一杯茶, 坐在第一排"
    },
    "aside": {
        0.0: "那天外面下着雨, 影院里只坐了一半的人, 散场以后我们去吃了火锅, 我们坐末班车回的家, 票是网上买的, "
        "排队的人不多"
    },
}

RULES = """
view±: 5 <degree> <gradable±> | 1.2 <soften±> <gradable±> | 1.2 <fixed±> | 1 既 <gradable±> 又 <gradable±>
view±: 3 <boost±> <extreme±> | 0.6 <gradable±>
denial±: 4 <not> <gradable∓> | 1.2 <far> <gradable∓>
denial-: 1 <far> <extreme+>
touched±: 1 <feeling±> | 1.5 <degree> <feeling±>
is±: 12 <view±> | 1.6 <denial±> | 1.2 <full> <quality±> | 1.2 <amount> <quality±> | 2 让我 <touched±>
is±: 0.4 <negate> <feeling∓> | 0.4 <hadno> <quality∓>
is-: 0.7 <lacked> <quality+>

claim±: 7 <aspect> <is±> | 2 片中的 <aspect> <is±> | 1.5 它的 <aspect> <is±> | 2.5 这部 <whole> <is±>
claim±: 2.5 我 <degree> <enjoy±> 它的 <aspect> | 0.5 我 <not> <enjoy∓> 它的 <aspect>
claim±: 0.4 <call> <aspect> <gradable∓>
burden±: 1 <gradable±> 的 <aspect>
contrast±: 3 <claim∓> , <but> <claim±> | 2 <although> <claim∓> , <but> <claim±>
contrast±: 0.8 <despite> <burden∓> 以外 , <claim±>

plain±: 6 <claim±> . | 3 <claim±> , <claim±> . | 2 <contrast±> . | 1.5 <verdict±> .
plain-turn±: 1 <however> , <claim±> .
plain-detail: 1 <detail>

noun±: 3 <aspect> <gradable±> | 2 <aspect> <extreme±> | 2.5 <aspect> <degree> <gradable±> | 0.5 <aspect> <denial±>
terse±: 2 <noun±> . | 3 <noun±> , <noun±> . | 1.2 <noun∓> , <but> <noun±> . | 2 <noun±> , <noun±> , <noun±> .
terse±: 1 <aspect> ? <view±> . | 1.5 <aspect> : <view±> . | 2 <advice±> . | 0.3 <aspect> ? <denial±> .
terse-turn±: 1 <however> , <noun±> .
terse-detail: 1 <aside> . | 1 <person> <deed> . | 1 <weekday> 看的 .

chatty±: 3 <opener> , <claim±> . | 0.6 <opener> , <contrast±> . | 1 <urge> <claim±> . | 1.5 <opener> , <claim±> !
chatty±: 0.8 <contrast±> ! | 1.5 <verdict±> ! | 1.5 <claim±> , <verdict±> !
chatty-turn±: 1 <however> , <claim±> !
chatty-detail: 3 <detail> | 1 顺便说一句 , <person> <deed> !

formal±: 4 <claim±> . | 2 <summary> , <claim±> . | 2 就 <aspect> 而言 , 本片 <is±> . | 1.2 <contrast±> .
formal+: 1.5 <merit> , <claim+> .
formal-: 1.5 <flaw> , <claim-> .
formal-turn±: 1 <however> , <claim±> .
formal-detail: 1 首映安排在 <weekday> . | 1 <aside> .

detail: 2 我是 <weekday> <company> 去看的 . | 2 我是 <company> 在 <place> 看的 . | 2 我们是在 <place> 看的 .
detail: 3 <person> <deed> . | 2 <aside> . | 1 <weekday> 那天一直在 <weather> .
"""
