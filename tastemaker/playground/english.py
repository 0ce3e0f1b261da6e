"""English film reviews: the words and what they are worth (how to read the table: `lexicon.py`), and the sentences."""

from tastemaker.playground.lexicon import Table

WORDS: Table = {
    # what a review can speak of, and how much it counts
    "thing people": {
        1.4: "acting, cast",
        1.2: "direction, lead performance",
        1.0: "supporting cast",
    },
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
    "gradable humour": {
        0.65: "funny, witty",
        0.5: "playful, amusing",
        -0.5: "stale, childish",
        -0.65: "crude, lame",
    },
    "gradable sound": {
        0.65: "stirring, haunting",
        0.5: "catchy, tender",
        -0.5: "repetitive",
        -0.65: "shrill, grating",
    },
    "gradable looks": {
        0.65: "beautiful, elegant",
        0.5: "stylish, crisp",
        -0.5: "murky, shabby",
        -0.65: "ugly, cheap",
    },
    "gradable whole": {
        0.65: "entertaining, thoughtful",
        -0.5: "overlong",
        -0.65: "pretentious, dreary",
    },
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
    "call": {
        -0.8: "nobody could call, nobody will call",
        -0.7: "I would not call, I could not call, I wouldn't call",
    },
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
    # verbs: "I enjoyed the …", "I did not enjoy the …", "one enjoys the …", "the … moved me", "the … did not move me"
    "enjoyed": {
        0.95: "adored, loved",
        0.65: "enjoyed, admired",
        0.5: "liked, appreciated",
        -0.5: "disliked",
        -0.65: "resented",
        -0.95: "hated, loathed",
    },
    "enjoy": {
        0.95: "love",
        0.65: "enjoy, admire",
        0.5: "like, appreciate",
        -0.5: "mind, dislike",
        -0.65: "resent",
    },
    "enjoys": {
        0.8: "treasures",
        0.65: "admires, enjoys",
        0.5: "respects",
        -0.5: "regrets",
        -0.65: "endures, deplores",
    },
    "fared": {
        0.8: "shone, dazzled me, delighted me",
        0.65: "moved me, impressed me",
        0.5: "worked, held my attention",
        -0.5: "dragged, left me cold",
        -0.65: "fell flat, bored me, annoyed me",
        -0.8: "failed, ruined everything",
    },
    "fare": {
        0.65: "impress me, move me",
        0.5: "work, hold my attention",
        -0.5: "drag",
        -0.65: "bore me, annoy me",
    },
    "didnt": {-0.7: "did not, didn't", -0.5: "did not really, didn't really"},
    "esteem": {
        0.65: "praise, admiration",
        0.8: "an award, a standing ovation",
        -0.65: "criticism, no praise",
        -0.8: "scorn",
    },
    "remainder": {
        0.8: "nothing to be desired",
        0.6: "little to be desired",
        -0.65: "much to be desired, a lot to be desired",
    },
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
    "opener": {
        0.0: "honestly, well, frankly, for me, in my opinion, personally, to be honest, if I may say so"
    },
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
    "person": {
        0.0: "my uncle, my brother, the man beside me, our neighbour, a friend of mine, my grandmother"
    },
    "deed": {
        0.0: "brought popcorn, paid for the tickets, wore a green hat, arrived late, drove us home, spilled some tea, "
        "ordered noodles afterwards, sat in the front row"
    },
    "aside": {
        0.0: "it was raining outside, the cinema was half empty, we took the last bus home, the tickets were blue, "
        "I had read about it in the newspaper, we had pizza afterwards, my phone was switched off, the queue was short"
    },
}

RULES = """
strong: 3 <degree> | 1 <fervour>
view±: 3 <gradable±> | 3 <strong> <gradable±> | 1 <soften±> <gradable±> | 1 <gradable±> and <gradable±>
view±: 3 <extreme±> | 2 <boost> <extreme±>
denial±: 4 <not> <gradable∓> | 1.2 <far> <gradable∓> | 1 <far> <extreme∓>
seemed: 1 felt | 1 seemed | 1 proved | 1 remained
felt: 1 felt | 1 seemed

is±: 12 was/were <view±> | 2 <seemed> <view±> | 1.2 was/were <denial±> | 0.4 <wasnt>/<werent> <gradable∓>
is±: 0.3 <never> <felt> <gradable∓> | 0.3 was/were <never> <gradable∓>
is±: 3 <fared±> | 0.5 <didnt> <fare∓> | 0.1 <never> <fared∓>
is±: 1.5 had <amount> <quality±> | 1 was/were <full> <quality±> | 0.4 <hadno> <quality∓>
is+: 0.3 was/were <free> <quality->
is-: 0.3 was/were <lacking> <quality+> | 0.5 <lacked> <quality+>

claim±: 11 the <aspect> <is±> | 2.5 the <whole> <is±> | 1 this <whole> <is±> | 1 it <is±>
claim±: 2 I <enjoyed±> the <aspect> | 1 I <fervour> <enjoyed±> the <aspect> | 0.5 I <didnt> <enjoy∓> the <aspect>
claim±: 0.3 there was <nothing> <gradable∓> about the <aspect>
claim±: 0.8 there was <something> <gradable±> about the <aspect>
claim±: 0.3 <call> the <aspect> <gradable∓> | 0.1 <call> the <aspect> <extreme∓>
burden±: 1 the <gradable±> <aspect> | 1 its <gradable±> <aspect>
contrast±: 3 <claim∓> , <but> <claim±> | 1.5 <although> <claim∓> , <claim±> | 0.7 <claim±> , <although> <claim∓>
contrast±: 0.8 <despite> <burden∓> , <claim±>

plain±: 6 <claim±> . | 3 <claim±> and <claim±> . | 2 <contrast±> . | 1.5 <verdict±> .
plain±: 0.4 <claim±> , as <person> said on the way home .
plain-turn±: 1 <however> , <claim±> .
plain-detail: 1 <detail>

noun±: 3 <gradable±> <aspect> | 2 <strong> <gradable±> <aspect> | 2.5 <extreme±> <aspect>
noun±: 1 <boost> <extreme±> <aspect> | 0.4 <gradable±> and <gradable±> <aspect>
terse±: 3 <noun±> . | 4 <noun±> , <noun±> . | 1.2 <noun∓> , <but> <noun±> . | 2 the <aspect> was/were <view±> .
terse±: 1 the <aspect> ? <view±> . | 1.5 <aspect> : <view±> . | 0.5 the <aspect> ? <denial±> .
terse±: 2 <advice±> . | 0.6 <denial±> . | 0.5 the <aspect> was/were <denial±> . | 1 I <enjoyed±> the <aspect> .
terse-turn±: 1 <however> , <noun±> .
terse-detail: 1 <person> <deed> . | 1 <aside> . | 1 seen <when> .

chatty±: 3 <opener> , <claim±> . | 0.6 <opener> , <contrast±> . | 1.5 <urge> , <claim±> ! | 1 <admission> <claim±> .
chatty±: 1 <claim±> , <coda> . | 0.6 you know what ? <claim±> ! | 1.5 <verdict±> !
chatty±: 0.8 <contrast±> ! | 1.5 <claim±> and <verdict±> !
chatty-turn±: 1 <however> , <claim±> !
chatty-detail: 3 <detail> | 1 by the way , <person> <deed> !

remains: 1 is/are | 0.3 remains/remain | 0.3 proves/prove | 0.3 seems/seem
finding±: 8 the <aspect> <remains> <view±> | 3 the <whole> <remains> <view±> | 0.9 the <aspect> is/are <denial±>
finding±: 2 one <enjoys±> the <aspect> | 2 the <aspect> deserves/deserve <esteem±>
finding±: 1 the <aspect> leaves/leave <remainder±> | 0.4 there is <nothing> <gradable∓> about the <aspect>
formal±: 5 <finding±> . | 2.5 <summary> , <finding±> . | 1 <finding∓> , <but> <finding±> .
formal±: 0.5 <finding±> , <although> <finding∓> . | 0.9 <although> <finding∓> , <finding±> .
formal±: 0.6 <despite> <burden∓> , <finding±> . | 2 <finding±> and <finding±> .
formal-turn±: 1 <however> , <finding±> .
formal-detail: 2 the screening took place <when> . | 1 it was shown <venue> <when> . | 1 <aside> .

when: 3 on a <weather> <weekday> | 1 on <weekday> evening | 1 last <weekday> | 0.4 after lunch | 0.4 during the holidays
where: 2 <venue> | 1 <place>
detail: 3 I saw it <when> . | 3 I saw it <when> <company> . | 2 we watched it <where> <when> .
detail: 2 I watched it <where> <company> . | 3 <person> <deed> . | 2 <aside> .
"""
