"""Published layouts of judgements, with rows of our own words, and what each row says."""

from typing import Any, NamedTuple

from published_rows import chat, turns

import tastemaker as tm

Row = dict[str, Any]

ASK, GOOD, BAD = "How do plants eat?", "They eat light.", "They eat mice."
SO_SO = "Water and air."
CHAT = chat(ASK)
BY_USER = turns(ASK)
WITH_GOOD, WITH_BAD = turns(ASK, GOOD), turns(ASK, BAD)


class Layout(NamedTuple):
    """A layout: its rows, and the judgements that are right."""

    rows: list[Row]
    right: list[Any]


def better(prompt: Any = ASK, chosen: str = GOOD, rejected: str = BAD) -> Any:
    """Return a comparison."""
    return tm.Comparison(chosen, rejected, prompt=prompt)


def tie(prompt: Any = ASK) -> Any:
    """Return a comparison of equal answers."""
    return tm.Comparison(GOOD, BAD, tie=True, prompt=prompt)


def ranked(*tiers: str, prompt: Any = ASK) -> Any:
    """Return a ranking."""
    return tm.Ranking(tuple((text,) for text in tiers), prompt=prompt)


def label(text: str, positive: bool, prompt: Any = None) -> Any:
    """Return a label."""
    return tm.Label(text, positive=positive, prompt=prompt)


def says(role: str, content: str) -> Row:
    """Return a message."""
    return {"role": role, "content": content}


def shared(speaker: str, value: str) -> Row:
    """Return a message of ShareGPT."""
    return {"from": speaker, "value": value}


ANSWER, NO_ANSWER = says("assistant", GOOD), says("assistant", BAD)
PAIR = {"chosen": GOOD, "rejected": BAD}

LAYOUTS: dict[str, Layout] = {
    "OpenAI, preferences": Layout(
        [
            {
                "input": {"messages": BY_USER},
                "preferred_output": [ANSWER],
                "non_preferred_output": [NO_ANSWER],
            }
        ],
        [better(CHAT)],
    ),
    "TRL, plain": Layout([{"prompt": ASK, **PAIR}], [better()]),
    "TRL, chat": Layout(
        [{"prompt": BY_USER, "chosen": [ANSWER], "rejected": [NO_ANSWER]}],
        [better(CHAT)],
    ),
    "TRL, implicit prompt": Layout(
        [{"chosen": WITH_GOOD, "rejected": WITH_BAD}], [better(CHAT)]
    ),
    "TRL, KTO": Layout(
        [
            {"prompt": BY_USER, "completion": [ANSWER], "label": True},
            {"prompt": BY_USER, "completion": [NO_ANSWER], "label": False},
        ],
        [label(GOOD, True, CHAT), label(BAD, False, CHAT)],
    ),
    "hh-rlhf": Layout(
        [
            {
                "chosen": f"\n\nHuman: {ASK}\n\nAssistant: {GOOD}",
                "rejected": f"\n\nHuman: {ASK}\n\nAssistant: {BAD}",
            }
        ],
        [better(f"\n\nHuman: {ASK}\n\nAssistant:")],
    ),
    "LLaMA-Factory, ShareGPT pairs": Layout(
        [
            {
                "conversations": [shared("human", ASK)],
                "chosen": shared("gpt", GOOD),
                "rejected": shared("gpt", BAD),
            }
        ],
        [better(CHAT)],
    ),
    "LLaMA-Factory, Alpaca pairs": Layout(
        [{"instruction": ASK, "input": "", **PAIR}], [better()]
    ),
    "LLaMA-Factory, KTO": Layout(
        [
            {"messages": WITH_GOOD, "label": True},
            {"messages": WITH_BAD, "label": False},
        ],
        [label(GOOD, True, CHAT), label(BAD, False, CHAT)],
    ),
    "LLaMA-Factory, Alpaca KTO": Layout(
        [{"instruction": ASK, "input": "", "output": GOOD, "kto_tag": True}],
        [label(GOOD, True, ASK)],
    ),
    "LLaMA-Factory, ranking": Layout(
        [{"instruction": ASK, "input": "", "output": [GOOD, BAD]}],
        [ranked(GOOD, BAD)],
    ),
    "ms-swift, pairs": Layout(
        [{"messages": WITH_GOOD, "rejected_response": BAD}], [better(CHAT)]
    ),
    "ms-swift, dialogues": Layout(
        [{"messages": WITH_GOOD, "rejected_messages": WITH_BAD}], [better(CHAT)]
    ),
    "PKU-SafeRLHF": Layout(
        [
            {
                "prompt": ASK,
                "response_0": BAD,
                "response_1": GOOD,
                "is_response_0_safe": True,
                "is_response_1_safe": True,
                "better_response_id": 1,
                "safer_response_id": 0,
            }
        ],
        [better()],
    ),
    "BeaverTails": Layout(
        [
            {
                "prompt": ASK,
                "response": GOOD,
                "category": {"violence": False},
                "is_safe": True,
            },
            {
                "prompt": ASK,
                "response": BAD,
                "category": {"violence": True},
                "is_safe": False,
            },
        ],
        [label(GOOD, True, ASK), label(BAD, False, ASK)],
    ),
    "TL;DR comparisons": Layout(
        [
            {
                "info": {"id": "t3", "post": ASK, "title": "Plants", "subreddit": "x"},
                "summaries": [
                    {"text": BAD, "policy": "p", "note": ""},
                    {"text": GOOD, "policy": "q", "note": ""},
                ],
                "choice": 1,
                "worker": "w",
                "split": "train",
            }
        ],
        [better(f"Plants\n\n{ASK}")],
    ),
    "TL;DR axes": Layout(
        [
            {
                "info": {"id": "t3", "post": ASK, "title": "Plants"},
                "summary": {
                    "text": GOOD,
                    "policy": "p",
                    "axes": {"overall": 6, "accuracy": 7, "coverage": 5},
                },
                "worker": "w",
            }
        ],
        [tm.Grade(GOOD, 6, 1, 7, prompt=f"Plants\n\n{ASK}")],
    ),
    "LMArena, conversations": Layout(
        [
            {
                "model_a": "m",
                "model_b": "n",
                "winner": "model_b",
                "conversation_a": WITH_BAD,
                "conversation_b": WITH_GOOD,
                "turn": 1,
                "language": "English",
            },
            {
                "model_a": "m",
                "model_b": "n",
                "winner": "tie (bothbad)",
                "conversation_a": WITH_GOOD,
                "conversation_b": WITH_BAD,
                "turn": 1,
                "language": "English",
            },
        ],
        [better(CHAT), tie(CHAT)],
    ),
    "MT-bench, first turn": Layout(
        [
            {
                "question_id": 81,
                "model_a": "m",
                "model_b": "n",
                "winner": "model_a",
                "judge": "expert_1",
                "conversation_a": turns(ASK, GOOD, "And fungi?", "They rot."),
                "conversation_b": turns(ASK, BAD, "And fungi?", "They sing."),
                "turn": 1,
            }
        ],
        [better(CHAT)],
    ),
    "Kaggle's arena": Layout(
        [
            {
                "id": 1,
                "prompt": f'["{ASK}"]',
                "response_a": f'["{GOOD}"]',
                "response_b": f'["{BAD}"]',
                "winner_model_a": 1,
                "winner_model_b": 0,
                "winner_tie": 0,
            }
        ],
        [better(CHAT)],
    ),
    "HelpSteer2": Layout(
        [
            {
                "prompt": ASK,
                "response": GOOD,
                "helpfulness": 4,
                "correctness": 3,
                "coherence": 4,
                "complexity": 1,
                "verbosity": 1,
            }
        ],
        [tm.Grade(GOOD, 4, 0, 4, prompt=ASK)],
    ),
    "HelpSteer2-preference": Layout(
        [
            {
                "split": "train",
                "prompt": ASK,
                "response_1": BAD,
                "response_2": GOOD,
                "preference_strength": 2,
                "preference_statement": "2 is right",
            }
        ],
        [better()],
    ),
    "HelpSteer3": Layout(
        [
            {
                "context": BY_USER,
                "response1": GOOD,
                "response2": BAD,
                "overall_preference": -2,
                "domain": "general",
            }
        ],
        [better(CHAT)],
    ),
    "UltraFeedback, raw": Layout(
        [
            {
                "source": "own",
                "instruction": ASK,
                "models": ["m", "n"],
                "completions": [
                    {"model": "m", "response": BAD, "overall_score": 2.0},
                    {"model": "n", "response": GOOD, "overall_score": 9.0},
                ],
                "correct_answers": ["None"],
            }
        ],
        [ranked(GOOD, BAD)],
    ),
    "UltraFeedback, binarised": Layout(
        [
            {
                "prompt": ASK,
                "prompt_id": "1",
                "chosen": WITH_GOOD,
                "rejected": WITH_BAD,
                "messages": WITH_GOOD,
                "score_chosen": 8.0,
                "score_rejected": 3.0,
            }
        ],
        [better(CHAT)],
    ),
    "Argilla's UltraFeedback": Layout(
        [
            {
                "source": "own",
                "instruction": ASK,
                "chosen_response": GOOD,
                "rejected_response": BAD,
                "chosen_avg_rating": 4.5,
                "rejected_avg_rating": 2.0,
            }
        ],
        [better()],
    ),
    "distilabel": Layout(
        [
            {
                "instruction": ASK,
                "generations": [BAD, GOOD],
                "ratings": [1.0, 5.0],
                "rationales": ["no", "yes"],
            }
        ],
        [ranked(GOOD, BAD)],
    ),
    "Intel's orca pairs": Layout([{"system": "", "question": ASK, **PAIR}], [better()]),
    "Stack Exchange, paired": Layout(
        [
            {
                "qid": 1,
                "question": ASK,
                "date": "2020/01/01",
                "metadata": ["url"],
                "response_j": GOOD,
                "response_k": BAD,
            }
        ],
        [better()],
    ),
    "Stack Exchange, preferences": Layout(
        [
            {
                "qid": 1,
                "question": ASK,
                "answers": [
                    {"answer_id": 1, "pm_score": 0, "selected": False, "text": BAD},
                    {"answer_id": 2, "pm_score": 5, "selected": True, "text": GOOD},
                ],
            }
        ],
        [ranked(GOOD, BAD)],
    ),
    "ELI5": Layout(
        [
            {
                "q_id": "1",
                "title": ASK,
                "selftext": "",
                "answers": {"a_id": ["a", "b"], "text": [BAD, GOOD], "score": [1, 9]},
            }
        ],
        [ranked(GOOD, BAD)],
    ),
    "SHP": Layout(
        [
            {
                "post_id": "1",
                "history": ASK,
                "human_ref_A": BAD,
                "human_ref_B": GOOD,
                "labels": 0,
                "score_A": 2,
                "score_B": 8,
            }
        ],
        [better()],
    ),
    "WebGPT": Layout(
        [
            {
                "question": {"full_text": ASK, "id": "1"},
                "answer_0": GOOD,
                "answer_1": BAD,
                "score_0": 1.0,
                "score_1": -1.0,
            }
        ],
        [better()],
    ),
    "OASST trees": Layout(
        [
            {
                "message_tree_id": "1",
                "tree_state": "ready_for_export",
                "prompt": {
                    "message_id": "1",
                    "text": ASK,
                    "role": "prompter",
                    "replies": [
                        {
                            "message_id": "2",
                            "text": BAD,
                            "role": "assistant",
                            "rank": 1,
                            "replies": [],
                        },
                        {
                            "message_id": "3",
                            "text": GOOD,
                            "role": "assistant",
                            "rank": 0,
                            "replies": [],
                        },
                    ],
                },
            }
        ],
        [ranked(GOOD, BAD, prompt=CHAT)],
    ),
    "OASST messages": Layout(
        [
            {
                "message_id": "1",
                "parent_id": None,
                "text": ASK,
                "role": "prompter",
                "rank": None,
                "message_tree_id": "1",
            },
            {
                "message_id": "2",
                "parent_id": "1",
                "text": BAD,
                "role": "assistant",
                "rank": 1.0,
                "message_tree_id": "1",
            },
            {
                "message_id": "3",
                "parent_id": "1",
                "text": GOOD,
                "role": "assistant",
                "rank": 0.0,
                "message_tree_id": "1",
            },
        ],
        [ranked(GOOD, BAD, prompt=CHAT)],
    ),
    "Nectar": Layout(
        [
            {
                "prompt": ASK,
                "answers": [
                    {"answer": BAD, "model": "m", "rank": 2.0},
                    {"answer": GOOD, "model": "n", "rank": 1.0},
                ],
                "turns": 1,
            }
        ],
        [ranked(GOOD, BAD)],
    ),
    "RewardBench": Layout(
        [
            {
                "prompt": ASK,
                **PAIR,
                "chosen_model": "m",
                "rejected_model": "n",
                "subset": "s",
                "id": 1,
            }
        ],
        [better()],
    ),
    "RewardBench 2": Layout(
        [{"id": "1", "prompt": ASK, "chosen": [GOOD], "rejected": [BAD, SO_SO]}],
        [tm.Ranking(((GOOD,),), (BAD, SO_SO), prompt=ASK)],
    ),
}
