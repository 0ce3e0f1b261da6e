"""Published layouts that were added last: judges' benchmarks, frameworks and shops' reviews."""

from published_layouts import (
    ANSWER,
    ASK,
    BAD,
    BY_USER,
    CHAT,
    GOOD,
    NO_ANSWER,
    SO_SO,
    Layout,
    better,
    label,
    ranked,
    says,
)
from published_rows import chat, turns

import tastemaker as tm


def in_parts(text: str) -> list[dict[str, object]]:
    """Return a dialogue whose answer is a list of parts."""
    parts = [{"type": "text", "text": text}]
    return [*turns(ASK), {"role": "assistant", "content": parts}]


FURTHER_LAYOUTS: dict[str, Layout] = {
    "Prometheus, preferences": Layout(
        [
            {
                "orig_instruction": ASK,
                "orig_response_A": BAD,
                "orig_response_B": GOOD,
                "orig_preference": "B",
                "orig_criteria": "Is it right?",
            },
            {
                "orig_instruction": ASK,
                "orig_response_A": GOOD,
                "orig_response_B": BAD,
                "orig_preference": "A",
                "orig_criteria": "Is it right?",
            },
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
    "Amazon 2014": Layout(
        [
            {
                "reviewerID": "A1",
                "asin": "B0",
                "reviewerName": "Ann",
                "helpful": [0, 0],
                "reviewText": GOOD,
                "overall": 5.0,
                "summary": "Right",
                "unixReviewTime": 1382400000,
                "reviewTime": "10 22, 2013",
            },
            {
                "reviewerID": "A2",
                "asin": "B0",
                "reviewerName": "Bob",
                "helpful": [1, 2],
                "reviewText": BAD,
                "overall": 1.0,
                "summary": "Wrong",
                "unixReviewTime": 1382500000,
                "reviewTime": "10 23, 2013",
            },
        ],
        [tm.Grade(GOOD, 5, 1, 5), tm.Grade(BAD, 1, 1, 5)],
    ),
    "Yelp": Layout(
        [
            {
                "review_id": "r",
                "user_id": "u",
                "business_id": "b",
                "stars": 4.0,
                "useful": 0,
                "funny": 0,
                "cool": 0,
                "text": GOOD,
                "date": "2018-07-07 22:09:11",
            },
            {
                "review_id": "s",
                "user_id": "v",
                "business_id": "b",
                "stars": 1.0,
                "useful": 3,
                "funny": 0,
                "cool": 0,
                "text": BAD,
                "date": "2018-07-08 22:09:11",
            },
        ],
        [tm.Grade(GOOD, 4, 1, 4), tm.Grade(BAD, 1, 1, 4)],
    ),
    "Google Play": Layout(
        [
            {
                "reviewId": "r",
                "userName": "Ann",
                "content": GOOD,
                "score": 5,
                "thumbsUpCount": 0,
                "at": "2020-04-05 22:25:57",
            },
            {
                "reviewId": "s",
                "userName": "Bob",
                "content": BAD,
                "score": 1,
                "thumbsUpCount": 0,
                "at": "2020-04-05 22:25:57",
            },
        ],
        [tm.Grade(GOOD, 5, 1, 5), tm.Grade(BAD, 1, 1, 5)],
    ),
    "Prometheus, feedback": Layout(
        [
            {
                "orig_instruction": ASK,
                "orig_response": GOOD,
                "orig_score": "5",
                "orig_feedback": "It is right.",
                "orig_criteria": "Is it right?",
            },
            {
                "orig_instruction": ASK,
                "orig_response": BAD,
                "orig_score": "1",
                "orig_feedback": "It is wrong.",
                "orig_criteria": "Is it right?",
            },
        ],
        [tm.Grade(GOOD, 5, 1, 5, prompt=ASK), tm.Grade(BAD, 1, 1, 5, prompt=ASK)],
    ),
}
