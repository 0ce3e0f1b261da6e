"""Layouts that annotation tools export."""

from published_layouts import (
    ASK,
    BAD,
    GOOD,
    SO_SO,
    Layout,
    better,
    label,
    ranked,
)

import tastemaker as tm

STUDIO = {"id": 1, "data": {"text": GOOD}, "meta": {}}


def studio(kind: str, value: dict[str, object], judge: int = 1) -> dict[str, object]:
    """Return an annotation of Label Studio."""
    result = {"type": kind, "from_name": "q", "to_name": "text", "value": value}
    return {"id": judge, "completed_by": judge, "result": [result]}


TOOL_LAYOUTS: dict[str, Layout] = {
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
}
