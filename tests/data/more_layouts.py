"""More published layouts: exports of annotation tools, judges of answers, reviews."""

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
    better,
    label,
    ranked,
    shared,
    tie,
)

import tastemaker as tm

STUDIO = {"id": 1, "data": {"text": GOOD}, "meta": {}}


def studio(kind: str, value: dict[str, object], judge: int = 1) -> dict[str, object]:
    """Return an annotation of Label Studio."""
    result = {"type": kind, "from_name": "q", "to_name": "text", "value": value}
    return {"id": judge, "completed_by": judge, "result": [result]}


MORE_LAYOUTS: dict[str, Layout] = {
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
    "Label Studio, choices": Layout(
        [
            {**STUDIO, "annotations": [studio("choices", {"choices": ["Positive"]})]},
            {
                "id": 2,
                "data": {"text": BAD},
                "annotations": [studio("choices", {"choices": ["Negative"]})],
            },
        ],
        [label(GOOD, True), label(BAD, False)],
    ),
    "Label Studio, rating": Layout(
        [
            {**STUDIO, "annotations": [studio("rating", {"rating": 5})]},
            {
                "id": 2,
                "data": {"text": BAD},
                "annotations": [studio("rating", {"rating": 1})],
            },
        ],
        [tm.Grade(GOOD, 5, 1, 5), tm.Grade(BAD, 1, 1, 5)],
    ),
    "Label Studio, pairs": Layout(
        [
            {
                "id": 1,
                "data": {"prompt": ASK, "answer1": BAD, "answer2": GOOD},
                "annotations": [studio("pairwise", {"selected": "right"})],
            }
        ],
        [better()],
    ),
    "Label Studio, ranking": Layout(
        [
            {
                "id": 1,
                "data": {
                    "prompt": ASK,
                    "items": [{"id": "x", "body": BAD}, {"id": "y", "body": GOOD}],
                },
                "annotations": [studio("ranker", {"ranker": {"rank": ["y", "x"]}})],
            }
        ],
        [ranked(GOOD, BAD)],
    ),
    "Argilla, ranking": Layout(
        [
            {
                "prompt": ASK,
                "response-1": BAD,
                "response-2": GOOD,
                "response-3": SO_SO,
                "order": [
                    {
                        "user_id": "u",
                        "status": "submitted",
                        "value": [
                            {"value": "response-1", "rank": 3},
                            {"value": "response-2", "rank": 1},
                            {"value": "response-3", "rank": 2},
                        ],
                    }
                ],
                "order-suggestion": None,
            }
        ],
        [ranked(GOOD, SO_SO, BAD)],
    ),
    "Potato, pairs": Layout(
        [
            {
                "instance_id": str(number),
                "user_id": "ann",
                "prompt": ASK,
                "responses": [BAD, GOOD],
                "label_annotations": {"preference": answer},
            }
            for number, answer in enumerate(
                ({"selection": "B"}, {"selection": "tie"}, {"scale_value": "2"})
            )
        ],
        [
            ranked(GOOD, BAD),
            tm.Ranking(((BAD, GOOD),), prompt=ASK),
            ranked(GOOD, BAD),
        ],
    ),
    "Potato, ranking": Layout(
        [
            {
                "instance_id": "1",
                "user_id": "ann",
                "prompt": ASK,
                "translations": [BAD, GOOD, SO_SO],
                "annotations": {"quality": {"rank_order": "B,C=A"}},
            }
        ],
        [tm.Ranking(((GOOD,), (SO_SO, BAD)), prompt=ASK)],
    ),
    "Potato, labels": Layout(
        [
            {
                "id": text,
                "displayed_text": text,
                "label_annotations": {"sentiment": {answer: "true"}},
            }
            for text, answer in ((GOOD, "positive"), (BAD, "negative"))
        ],
        [label(GOOD, True), label(BAD, False)],
    ),
    "Argilla, records": Layout(
        [
            {
                "text": GOOD,
                "prediction": None,
                "annotation": "positive",
                "annotation_agent": "ann",
                "status": "Validated",
            },
            {
                "text": BAD,
                "prediction": None,
                "annotation": "negative",
                "annotation_agent": "ann",
                "status": "Validated",
            },
        ],
        [label(GOOD, True), label(BAD, False)],
    ),
    "Argilla, feedback": Layout(
        [
            {
                "prompt": ASK,
                "response": text,
                "quality": [{"user_id": "u", "value": value, "status": "submitted"}],
                "quality-suggestion": None,
            }
            for text, value in ((GOOD, 5), (BAD, 1))
        ],
        [
            tm.Grade(GOOD, 5, 1, 5, prompt=ASK),
            tm.Grade(BAD, 1, 1, 5, prompt=ASK),
        ],
    ),
    "Argilla, responses": Layout(
        [
            {
                "id": text,
                "status": "completed",
                "text": text,
                "label.responses": [value],
                "label.responses.users": ["u"],
                "label.responses.status": ["submitted"],
            }
            for text, value in ((GOOD, "positive"), (BAD, "negative"))
        ],
        [label(GOOD, True), label(BAD, False)],
    ),
    "Doccano": Layout(
        [
            {"id": 1, "text": GOOD, "label": ["positive"], "Comments": []},
            {"id": 2, "text": BAD, "label": ["negative"], "Comments": []},
        ],
        [label(GOOD, True), label(BAD, False)],
    ),
    "Prodigy, one label": Layout(
        [
            {"text": GOOD, "label": "POSITIVE", "answer": "accept", "_task_hash": 1},
            {"text": BAD, "label": "POSITIVE", "answer": "reject", "_task_hash": 2},
            {"text": SO_SO, "label": "POSITIVE", "answer": "ignore", "_task_hash": 3},
        ],
        [label(GOOD, True), label(BAD, False)],
    ),
    "Prodigy, choice": Layout(
        [
            {
                "text": text,
                "options": [{"id": "neg", "text": "-"}, {"id": "pos", "text": "+"}],
                "accept": [choice],
                "answer": "accept",
            }
            for text, choice in ((GOOD, "pos"), (BAD, "neg"))
        ],
        [label(GOOD, True), label(BAD, False)],
    ),
    "Prodigy, compare": Layout(
        [
            {
                "id": 1,
                "input": {"text": ASK},
                "accept": {"text": GOOD},
                "reject": {"text": BAD},
                "mapping": {"A": "accept", "B": "reject"},
                "answer": "accept",
            }
        ],
        [better()],
    ),
    "Amazon 2023": Layout(
        [
            {
                "rating": stars,
                "title": "Plants",
                "text": text,
                "images": [],
                "asin": "B0",
                "parent_asin": "B0",
                "user_id": "A1",
                "timestamp": 1588687728923,
                "helpful_vote": 0,
                "verified_purchase": True,
            }
            for text, stars in ((GOOD, 5.0), (BAD, 1.0))
        ],
        [tm.Grade(GOOD, 5, 1, 5), tm.Grade(BAD, 1, 1, 5)],
    ),
    "IMDB": Layout(
        [{"text": GOOD, "label": 1}, {"text": BAD, "label": 0}],
        [label(GOOD, True), label(BAD, False)],
    ),
    "SST-2": Layout(
        [
            {"idx": 0, "sentence": GOOD, "label": 1},
            {"idx": 1, "sentence": BAD, "label": 0},
        ],
        [label(GOOD, True), label(BAD, False)],
    ),
}

for _chat in ("conversations", "messages"):
    MORE_LAYOUTS[f"LLaMA-Factory, {_chat}"] = Layout(
        [{_chat: BY_USER, "chosen": ANSWER, "rejected": NO_ANSWER}], [better(CHAT)]
    )
    for _label in ("label", "kto_tag"):
        MORE_LAYOUTS[f"KTO, {_chat} and {_label}"] = Layout(
            [{_chat: WITH_GOOD, _label: True}], [label(GOOD, True, CHAT)]
        )
MORE_LAYOUTS["distilabel, one rating column"] = Layout(
    [{"input": ASK, "generations": [GOOD, BAD], "rating": [5, 1]}],
    [ranked(GOOD, BAD)],
)
