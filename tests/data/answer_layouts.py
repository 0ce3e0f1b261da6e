"""Layouts of judged answers: of data sets, of benchmarks of judges, of frameworks for training."""

from published_layouts import (
    ANSWER,
    ASK,
    BAD,
    BY_USER,
    CHAT,
    GOOD,
    NO_ANSWER,
    PAIR,
    SO_SO,
    WITH_GOOD,
    Layout,
    Row,
    better,
    label,
    ranked,
    says,
    shared,
    tie,
)
from published_rows import chat, turns

import tastemaker as tm


def in_parts(text: str) -> list[dict[str, object]]:
    """Return a dialogue whose answer is a list of parts."""
    parts = [{"type": "text", "text": text}]
    return [*turns(ASK), {"role": "assistant", "content": parts}]


ANSWER_LAYOUTS: dict[str, Layout] = {
    "UltraInteract": Layout(
        [
            {
                "id": "1",
                "parent_id": "0",
                "task": "Coding",
                "dataset": "own",
                "trajectory": [shared("user", ASK)],
                **PAIR,
            }
        ],
        [better((tm.Message("user", ASK),))],
    ),
    "AlpacaFarm": Layout(
        [
            {
                "instruction": ASK,
                "input": "",
                "output_1": BAD,
                "output_2": GOOD,
                "preference": 2,
            }
        ],
        [better()],
    ),
    "LLMBar": Layout(
        [{"input": ASK, "output_1": GOOD, "output_2": BAD, "label": 1}], [better()]
    ),
    "OffsetBias": Layout(
        [{"instruction": ASK, "output_1": BAD, "output_2": GOOD, "label": 2}],
        [better()],
    ),
    "GPT-4-LLM": Layout(
        [
            {
                "user_input": ASK,
                "responses_and_scores": [
                    {"response": GOOD, "source": "m", "score": 9.0},
                    {"response": SO_SO, "source": "n", "score": 5.0},
                    {"response": BAD, "source": "o", "score": 1.0},
                ],
            }
        ],
        [ranked(GOOD, SO_SO, BAD)],
    ),
    "CValues": Layout(
        [{"prompt": ASK, "pos_resp": GOOD, "neg_resp": BAD, "type": "x"}], [better()]
    ),
    "PandaLM": Layout(
        [
            {
                "idx": 0,
                "instruction": ASK,
                "input": "",
                "response1": GOOD,
                "response2": BAD,
                "annotator1": 1,
                "annotator2": 0,
            }
        ],
        [better(), tie()],
    ),
    "Prometheus, preferences": Layout(
        [
            {
                "orig_instruction": ASK,
                "orig_response_A": first,
                "orig_response_B": second,
                "orig_preference": preference,
                "orig_criteria": "Is it right?",
            }
            for first, second, preference in ((BAD, GOOD, "B"), (GOOD, BAD, "A"))
        ],
        [better(), better()],
    ),
    "JudgeBench": Layout(
        [
            {
                "pair_id": "1",
                "source": "own",
                "question": ASK,
                "response_model": "m",
                "response_A": BAD,
                "response_B": GOOD,
                "label": "B>A",
            }
        ],
        [better()],
    ),
    "RM-Bench": Layout(
        [
            {
                "id": "1",
                "prompt": ASK,
                "chosen": [GOOD],
                "rejected": [BAD, SO_SO],
                "domain": "chat",
            }
        ],
        [tm.Ranking(((GOOD,),), (BAD, SO_SO), prompt=ASK)],
    ),
    "PPE, human preferences": Layout(
        [
            {
                "question_id": "1",
                "prompt": ASK,
                "model_a": "m",
                "model_b": "n",
                "winner": "model_b",
                "response_1": BAD,
                "response_2": GOOD,
                "language": "English",
            }
        ],
        [better()],
    ),
    "Axolotl, chat DPO": Layout(
        [{"messages": BY_USER, "chosen": ANSWER, "rejected": NO_ANSWER}],
        [better(CHAT)],
    ),
    "Axolotl, Bradley-Terry": Layout(
        [{"system": "Be brief.", "input": ASK, "chosen": GOOD, "rejected": BAD}],
        [better((tm.Message("system", "Be brief."), tm.Message("user", ASK)))],
    ),
    "LLaMA-Factory, Alpaca pairs with a history": Layout(
        [
            {
                "instruction": ASK,
                "input": "",
                "history": [["Hi", "Hello."]],
                "chosen": GOOD,
                "rejected": BAD,
            }
        ],
        [better(chat("Hi", "Hello.", ASK))],
    ),
    "AlpacaFarm with a system prompt": Layout(
        [
            {
                "instruction": ASK,
                "system": "Be brief.",
                "output_1": GOOD,
                "output_2": BAD,
                "preference": 1,
            }
        ],
        [better((tm.Message("system", "Be brief."), tm.Message("user", ASK)))],
    ),
    "NeMo RL, ranked completions": Layout(
        [
            {
                "context": BY_USER,
                "completions": [
                    {"rank": 1, "completion": [NO_ANSWER]},
                    {"rank": 0, "completion": [ANSWER]},
                ],
                "task_name": "own",
            }
        ],
        [ranked(GOOD, BAD, prompt=CHAT)],
    ),
    "LMArena, parts of content": Layout(
        [
            {
                "id": "1",
                "model_a": "m",
                "model_b": "n",
                "winner": "model_b",
                "evaluation_session_id": "s",
                "conversation_a": in_parts(BAD),
                "conversation_b": in_parts(GOOD),
            }
        ],
        [better(CHAT)],
    ),
    "UltraFeedback, KTO": Layout(
        [
            {
                "prompt": ASK,
                "completion": [says("user", ASK), ANSWER],
                "label": True,
                "rating": 4.5,
            }
        ],
        [label(GOOD, True, CHAT), tm.Rating(GOOD, 4.5, prompt=CHAT)],
    ),
    "Prometheus, feedback": Layout(
        [
            {
                "orig_instruction": ASK,
                "orig_response": text,
                "orig_score": score,
                "orig_feedback": "Read it twice.",
                "orig_criteria": "Is it right?",
            }
            for text, score in ((GOOD, "5"), (BAD, "1"))
        ],
        [tm.Grade(GOOD, 5, 1, 5, prompt=ASK), tm.Grade(BAD, 1, 1, 5, prompt=ASK)],
    ),
}

for _chat in ("conversations", "messages"):
    ANSWER_LAYOUTS[f"LLaMA-Factory, {_chat}"] = Layout(
        [{_chat: BY_USER, "chosen": ANSWER, "rejected": NO_ANSWER}], [better(CHAT)]
    )
    for _label in ("label", "kto_tag"):
        ANSWER_LAYOUTS[f"KTO, {_chat} and {_label}"] = Layout(
            [{_chat: WITH_GOOD, _label: True}], [label(GOOD, True, CHAT)]
        )
ANSWER_LAYOUTS["distilabel, one rating column"] = Layout(
    [{"input": ASK, "generations": [GOOD, BAD], "rating": [5, 1]}],
    [ranked(GOOD, BAD)],
)
_SYSTEM = "Answer in one sentence."
_WITH_SYSTEM = (tm.Message("system", _SYSTEM), *CHAT)
ORCA: Row = {
    "system": _SYSTEM,
    "question": ASK,
    "generations": [GOOD, BAD],
    "order": ["chosen", "rejected"],
    "labelling_prompt": [{"role": "user", "content": "Which is better?"}],
    "rating": [9.0, 2.0],
    "status": "unchanged",
}
ANSWER_LAYOUTS["Orca pairs as distilabel writes them"] = Layout(
    [{**ORCA, **PAIR}], [better(_WITH_SYSTEM)]
)
ANSWER_LAYOUTS["Orca pairs as distilabel writes them, input"] = Layout(
    [{"input": ASK, **ORCA, **PAIR, "question": None}], [better(_WITH_SYSTEM)]
)
ANSWER_LAYOUTS["distilabel, a question and a system prompt"] = Layout(
    [ORCA], [ranked(GOOD, BAD, prompt=_WITH_SYSTEM)]
)
