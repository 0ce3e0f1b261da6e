"""The errors of Tastemaker. Each message says what happened, with which values, and what to try.

TastemakerError                    exit code 1
├── TrainingError                  exit code 1   a run failed (a loss that is not finite …)
├── LostProcess                    exit code 1   one of many processes ended or does not answer
└── InputError                     exit code 2   what was handed in cannot be used
    ├── UsageError                 an unknown or contradicting setting, option or name
    │   └── SeveralProblems        all that is wrong with a file of settings
    ├── DataError                  a source, file, row or value of the data
    │   └── SaysNothing            a row that is well formed and judges nothing
    ├── ModelError                 a model folder: no contract, changed weights …
    ├── RewardError                a reward without one finite number a completion
    ├── StorageError               the disk: full, not writable, already there
    └── MissingExtra               an optional library that is not installed
"""

from collections.abc import Sequence


class TastemakerError(Exception):
    """Root of every error Tastemaker raises on purpose. `str(error)` is one readable line."""

    exit_code = 1


class TrainingError(TastemakerError):
    """A run failed while it was running, through no fault of the command line."""


class LostProcess(TastemakerError):
    """One of the processes that train together has ended, or does not answer."""


class InputError(TastemakerError):
    """What was handed in cannot be used; nothing was written."""

    exit_code = 2


class UsageError(InputError):
    """An unknown or contradicting setting, option or name."""


class SeveralProblems(UsageError):
    """All that is wrong with a file of settings. problems: a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class DataError(InputError):
    """A source, file, row or value that cannot be read as a judgement."""


class SaysNothing(DataError):
    """A row that is well formed and judges nothing, such as a text compared with itself."""


class ModelError(InputError):
    """A model or folder that cannot be used: missing, damaged, or without the part needed."""


class RewardError(InputError):
    """A reward failed: it raised, hung, or did not return one finite number for each completion."""


class StorageError(InputError):
    """The disk is full, not writable, or already holds what would be overwritten."""


class MissingExtra(InputError):
    """An optional library is not installed. The message holds the `pip install` line."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the extra `{extra}`: in the project's folder, "
            f"pip install '.[{extra}]'"
        )
