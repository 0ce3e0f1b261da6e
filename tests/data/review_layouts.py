"""Layouts of reviews, each with its stars or its label."""

from published_layouts import (
    BAD,
    GOOD,
    Layout,
    label,
)

import tastemaker as tm

REVIEW_LAYOUTS: dict[str, Layout] = {
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
    "Amazon 2014": Layout(
        [
            {
                "reviewerID": "A1",
                "asin": "B0",
                "reviewerName": "Ann",
                "helpful": [1, 2],
                "reviewText": text,
                "overall": stars,
                "summary": "Plants",
                "unixReviewTime": 1382400000,
                "reviewTime": "10 22, 2013",
            }
            for text, stars in ((GOOD, 5.0), (BAD, 1.0))
        ],
        [tm.Grade(GOOD, 5, 1, 5), tm.Grade(BAD, 1, 1, 5)],
    ),
    "Yelp": Layout(
        [
            {
                "review_id": text,
                "user_id": "u",
                "business_id": "b",
                "stars": stars,
                "useful": 3,
                "funny": 0,
                "cool": 0,
                "text": text,
                "date": "2018-07-07 22:09:11",
            }
            for text, stars in ((GOOD, 4.0), (BAD, 1.0))
        ],
        [tm.Grade(GOOD, 4, 1, 4), tm.Grade(BAD, 1, 1, 4)],
    ),
    "Google Play": Layout(
        [
            {
                "reviewId": text,
                "userName": "Ann",
                "content": text,
                "score": stars,
                "thumbsUpCount": 0,
                "at": "2020-04-05 22:25:57",
            }
            for text, stars in ((GOOD, 5), (BAD, 1))
        ],
        [tm.Grade(GOOD, 5, 1, 5), tm.Grade(BAD, 1, 1, 5)],
    ),
}
