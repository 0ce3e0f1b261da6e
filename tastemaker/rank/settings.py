"""The settings of the page. The module imports no web library, so that `--help` is fast."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tastemaker.errors import UsageError
from tastemaker.serve import Serving
from tastemaker.settings import (
    PART,
    PORT,
    at_least,
    check,
    setting,
    settings_class,
)


@settings_class
@dataclass(frozen=True)
class Judging:
    """Where the page is, and how many judgements are wanted."""

    group: ClassVar[str] = "Options"

    host: str = setting(
        "127.0.0.1",
        "Address to listen on. Any other than this machine's own demands --token.",
    )
    port: int = setting(8010, "Port to listen on; 0 takes a free one.", PORT)
    token: str | None = setting(
        None,
        "Secret part of the lead's link. At least 16 letters, digits, - or _. A command line is "
        "visible to other users; TASTEMAKER_TOKEN is not.",
        shown="TASTEMAKER_TOKEN, or drawn",
    )
    judges_per_item: int = setting(
        1, "Judges that each new item is shown to.", at_least(1)
    )
    ask: Literal["random", "disagreement", "optimal"] = setting(
        "optimal",
        "Order of the items. optimal: those that teach a model of the judgements so far the most "
        "(D-optimal). 15 % are random in any case.",
    )
    refit_after: int = setting(
        40, "Judgements after which what to ask is computed anew.", at_least(5)
    )
    repeats: float = setting(
        0.05,
        "Share of the views that show a judge an earlier item again, to measure consistency.",
        PART,
    )
    calibration_share: float = setting(
        0.1, "Share of the views that show an item of --calibration.", PART
    )

    def __post_init__(self) -> None:
        check(self)
        # the same rules as those of a server of scores
        Serving(host=self.host, port=self.port, token=self.token)
        if self.judges_per_item > 1000:
            raise UsageError(
                f"--judges-per-item {self.judges_per_item}: at most 1000."
            )
