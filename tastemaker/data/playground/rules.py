"""The sentences of the playground: one grammar a language, from which reviews are written and read back.

    name: weight body | weight body …        a line may be repeated to add bodies

`<name>` is a rule or a kind of word of the lexicon; anything else is written as it stands. `±` stands for the sign of
what is said (+ praise, − blame) and `∓` for the opposite. `was/were` is singular/plural. `<aspect>` is a thing that can
be praised, new for each body that holds it; the words of that body suit it.
"""

ENGLISH = """
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
claim±: 0.3 there was <nothing> <gradable∓> about the <aspect> | 0.8 there was <something> <gradable±> about the <aspect>
claim±: 0.3 <call> the <aspect> <gradable∓> | 0.1 <call> the <aspect> <extreme∓>
burden±: 1 the <gradable±> <aspect> | 1 its <gradable±> <aspect>
contrast±: 3 <claim∓> , <but> <claim±> | 1.5 <although> <claim∓> , <claim±> | 0.7 <claim±> , <although> <claim∓>
contrast±: 0.8 <despite> <burden∓> , <claim±>

plain±: 6 <claim±> . | 3 <claim±> and <claim±> . | 2 <contrast±> . | 1.5 <verdict±> .
plain±: 0.4 <claim±> , as <person> said on the way home .
plain-turn±: 1 <however> , <claim±> .
plain-detail: 1 <detail>

noun±: 3 <gradable±> <aspect> | 2 <strong> <gradable±> <aspect> | 2.5 <extreme±> <aspect> | 1 <boost> <extreme±> <aspect>
noun±: 0.4 <gradable±> and <gradable±> <aspect>
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

CHINESE = """
view±: 5 <degree> <gradable±> | 1.2 <soften±> <gradable±> | 1.2 <fixed±> | 1 既 <gradable±> 又 <gradable±>
view±: 3 <boost±> <extreme±>
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
contrast±: 3 <claim∓> , <but> <claim±> | 2 <although> <claim∓> , <but> <claim±> | 0.8 <despite> <burden∓> 以外 , <claim±>

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
