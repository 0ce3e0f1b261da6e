"""Gymnasium environments: the settings to play one with, and many of one kind side by side.

Each algorithm has settings for known environments (`Algorithm.play_settings`). They began as those
of RL Baselines3 Zoo (Raffin 2020), with more environments at once and larger minibatches: a small
network's step costs about the same for 64 rows as for 512. They were chosen by hand in a few tries;
docs/benchmarks.md has the results.

An environment is checked when it is opened, and its numbers are checked at every step. Gymnasium ≥
1.0 begins a new episode one step after the last has ended, and that step ignores its action. `step`
says which environments had such a step. The observation of an ending step is the last one of its
episode.
"""

import difflib
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tastemaker.errors import MissingExtra, TrainingError, UsageError
from tastemaker.rl.algorithms import (
    algorithm_class,
    algorithm_named,
    check_is_algorithm,
)
from tastemaker.rl.algorithms.base import ANY, Algorithm
from tastemaker.rl.gym.actor import (
    Actions,
    Amounts,
    Array,
    Choices,
    Several,
)
from tastemaker.rl.own_modules import own_module
from tastemaker.settings import (
    FINITE,
    MAIN,
    POSITIVE,
    Check,
    at_least,
    check,
    setting,
    settings_class,
)

MEASURED = "measured for the environment, if it was"


@settings_class
@dataclass(frozen=True)
class Playing:
    """How an environment is played, whatever the algorithm."""

    group: ClassVar[str] = "Playing"

    steps: int = setting(
        300_000,
        "Environment steps in all.",
        at_least(1),
        group=MAIN,
        shown=MEASURED,
    )
    envs: int = setting(
        16,
        "Environments that are played at once.",
        at_least(1),
        shown=MEASURED,
    )
    rollout: int = setting(
        128,
        "Steps of each environment between two updates.",
        Check(
            lambda value: value >= 2,
            "at least 2, for a step may only begin an episode",
        ),
        shown=MEASURED,
    )
    hidden: tuple[int, ...] = setting(
        (64, 64),
        "Units of each hidden layer of the policy and of the critic.",
        Check(
            lambda value: value and min(value) >= 1,
            "layers of at least 1 unit: (64, 64)",
        ),
    )
    log_sd: float = setting(
        0.0,
        "Log standard deviation of continuous actions at first, in half-widths of their bounds.",
        FINITE,
        shown=MEASURED,
    )
    decay: bool = setting(
        True, "Lower the learning rate in a line to 0 over the steps."
    )
    gradient_clip: float = setting(0.5, "Largest gradient norm.", POSITIVE)
    adam_epsilon: float = setting(
        1e-5, "Added to the root of Adam's second moment.", POSITIVE
    )
    critic_factor: float = setting(
        1.0, "Learning rate of the critic, as a multiple of --lr.", POSITIVE
    )
    normalise_observations: bool = setting(
        True,
        "Standardise observations by all observations so far.",
        shown=MEASURED,
    )
    normalise_returns: bool = setting(
        True,
        "Divide rewards by the standard deviation of their discounted sums.",
    )
    # a killed run can go on where all episodes begin
    anew: int = setting(
        0,
        "Rollouts between two resets of all episodes; 0: about eight times the longest episode.",
        Check(
            lambda value: value >= 0,
            "at least 1, or 0 to choose by the longest episode",
        ),
    )
    windows: int = setting(100, "How often the run is logged.", at_least(1))

    def __post_init__(self) -> None:
        check(self)


def play_defaults(
    environment: str, algorithm: Algorithm[Any] | str
) -> tuple[Algorithm[Any], Playing]:
    """Return the algorithm and the settings to play an environment with.

    A name stands for the algorithm with its settings for the environment; an object stays as it is.
    Raises UsageError for a name that does not exist and for an algorithm that compares completions.
    """
    if not isinstance(algorithm, str):
        check_is_algorithm(algorithm)
    kind = (
        algorithm_class(algorithm)
        if isinstance(algorithm, str)
        else type(algorithm)
    )
    defaults = kind.play_settings.get(ANY, ({}, {}))
    of_algorithm, of_playing = kind.play_settings.get(environment, defaults)
    chosen = kind(**of_algorithm) if isinstance(algorithm, str) else algorithm
    if chosen.samples > 1:
        raise UsageError(
            f"{chosen.name} compares {chosen.samples} completions of one prompt, and an "
            "environment has no prompts: choose another algorithm, such as ppo."
        )
    return chosen, Playing(**of_playing)


def default_algorithm(
    environment: str, name: str, given: Mapping[str, Any]
) -> Algorithm[Any]:
    """Return the default algorithm of an environment with some settings replaced."""
    default = play_defaults(environment, name)[0]
    settings = asdict(default)  # type: ignore[call-overload]  # every algorithm is a dataclass
    settings.update(given)
    return algorithm_named(name, **settings)


SUPPORTED = (
    "supported are observations in a Box of rank 1, "
    "and actions that are Discrete, MultiDiscrete, MultiBinary or a Box, the last three of rank 1"
)
LONGEST_MEASURED = 10_000
"""Steps at which an episode that measures is cut where the environment has no limit of its own."""
LARGEST_LIMIT = 200_000
"""The largest limit of steps that counts as one. A larger one stands for none."""


class Step(NamedTuple):
    """The result of one step of N environments: observations [N, d], and the rest [N].

    is_idle: the step only began a new episode; its action and reward do not count.
    """

    observations: Array
    rewards: Array
    is_terminated: NDArray[np.bool_]
    is_truncated: NDArray[np.bool_]
    is_idle: NDArray[np.bool_]


class Environments:
    """Several copies of one environment, played side by side.

    name: as Gymnasium registered it. options: the environment's own, such as continuous=True for
    LunarLander-v3.
    Raises UsageError for a name that does not exist, an option it does not take, or spaces that are
    not supported, MissingExtra for a library that it needs.
    """

    def __init__(
        self, name: str, count: int, options: Mapping[str, Any] | None = None
    ) -> None:
        self.name = name
        self.count = count
        self.steps = 0
        self._vector = _opened(name, count, options or {})
        self.size, self.actions = _size_and_actions(name, self._vector)
        limit = getattr(self._vector.spec, "max_episode_steps", None)
        if limit is not None and limit > LARGEST_LIMIT:
            limit = None
        self.has_limit = limit is not None
        self.longest: int = limit or 1000
        # where an episode that measures is cut
        self.limit: int = limit or LONGEST_MEASURED
        self._is_over = np.zeros(count, np.bool_)

    def reset(self, seed: int) -> Array:
        """Begin all episodes again; return the observations [N, d]."""
        self._is_over = np.zeros(self.count, np.bool_)
        try:
            observations, _ = self._vector.reset(seed=seed)
        except Exception as error:
            raise TrainingError(
                f"{self.name}: beginning an episode failed ({_described(error)})."
            ) from error
        return self._checked_numbers(observations, "showed")

    def step(self, actions: Array) -> Step:
        """Take one action in each environment: [N] or [N, a].

        Raises TrainingError where it fails or returns a number that is not finite.
        """
        taken = self.actions.for_environment(actions)
        try:
            observations, rewards, terminated, truncated, _ = (
                self._vector.step(taken)
            )
        except Exception as error:  # an environment is anyone's code
            raise TrainingError(
                f"{self.name}: step {self.steps + 1:,} of each of the {self.count} "
                "environments failed "
                f"({_described(error)}). Actions: {_short(taken)}."
            ) from error
        self.steps += 1
        step = Step(
            self._checked_numbers(observations, "showed"),
            self._checked_numbers(rewards, "rewarded with"),
            terminated,
            truncated,
            self._is_over,
        )
        self._is_over = terminated | truncated
        return step

    def close(self) -> None:
        """Close the environments."""
        self._vector.close()

    def _checked_numbers(self, values: Any, verb: str) -> Array:
        """Return an environment's numbers. Raises TrainingError where one is not finite."""
        numbers: Array = np.asarray(values)
        is_finite = np.isfinite(numbers)
        if not is_finite.all():
            env = int(np.argwhere(~is_finite)[0][0])
            raise TrainingError(
                f"{self.name}: environment {env} {verb} {_short(numbers[env])} "
                f"at step {self.steps:,}, "
                f"which is not finite. Mend the environment; what was learned until then is kept."
            )
        return numbers


def pictured(name: str, options: Mapping[str, Any]) -> Any:
    """Return one environment that can be drawn.

    Raises UsageError where it cannot be, MissingExtra without pygame.
    """
    import gymnasium

    module, _, _ = name.rpartition(":")
    try:
        if module:
            own_module(module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pygame's own, of what it imports
            env = gymnasium.make(
                name,
                render_mode="rgb_array",
                disable_env_checker=True,
                **options,
            )
            env.reset(seed=0)
            frame = env.render()
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingExtra(f"drawing {name}", "pictures") from error
    except Exception as error:
        raise UsageError(
            f"{name}: cannot be drawn ({_described(error)})."
        ) from error
    if not isinstance(frame, np.ndarray):
        raise UsageError(
            f"{name}: cannot be drawn: it has no render mode rgb_array."
        )
    return env


def _opened(name: str, count: int, options: Mapping[str, Any]) -> Any:
    """Return a vector of environments: the environment's own, or Gymnasium's that takes turns."""
    import gymnasium

    module, _, registered_name = name.rpartition(":")
    try:
        if module:
            own_module(module)
        spec = gymnasium.spec(registered_name)
    except (gymnasium.error.Error, ImportError) as error:
        reason = (
            f" ({_described(error)})" if isinstance(error, ImportError) else ""
        )
        raise UsageError(
            f"there is no environment {name!r}{reason}{_suggestion(registered_name)}"
        ) from error
    except (Exception, SystemExit) as error:  # a module is anyone's code
        raise UsageError(
            f"{name}: the module {module} cannot be imported ({_described(error)})."
        ) from error
    try:
        with warnings.catch_warnings():
            # an older version of an environment is the caller's choice
            warnings.simplefilter("ignore")
            if spec.vector_entry_point is not None:
                vector = gymnasium.make_vec(
                    name, count, "vector_entry_point", **options
                )
                if (
                    vector.metadata.get("autoreset_mode")
                    == gymnasium.vector.AutoresetMode.NEXT_STEP
                ):
                    return vector
                vector.close()
            mode = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}
            return gymnasium.make_vec(
                name, count, "sync", mode, disable_env_checker=True, **options
            )
    except gymnasium.error.DependencyNotInstalled as error:
        extra = "box2d" if "box2d" in str(spec.entry_point).lower() else None
        if extra is None:
            raise UsageError(
                f"{name}: needs a library that is not installed: {_described(error)}"
            ) from error
        raise MissingExtra(name, extra) from error
    except Exception as error:
        raise UsageError(
            f"{name}: cannot be made ({_described(error)})."
        ) from error


def _size_and_actions(name: str, vector: Any) -> tuple[int, Actions]:
    """Return the number of observed numbers, and the actions.

    Raises UsageError for other spaces.
    """
    from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete

    observation = vector.single_observation_space
    action = vector.single_action_space
    if not _is_vector(observation):
        raise UsageError(
            f"{name}: observations are {_space(observation)}; {SUPPORTED}."
        )
    size = int(observation.shape[0])
    if isinstance(action, Discrete):
        return size, Choices(int(action.n), int(action.start))
    is_row = action.shape is not None and len(action.shape) == 1
    if isinstance(action, MultiDiscrete) and is_row:
        counts = tuple(map(int, action.nvec))
        return size, Several(counts, tuple(map(int, action.start)))
    if isinstance(action, MultiBinary) and is_row:
        return size, Several((2,) * action.shape[0], (0,) * action.shape[0])
    if _is_vector(action):
        return size, _amounts(action)
    raise UsageError(f"{name}: actions are {_space(action)}; {SUPPORTED}.")


def _amounts(space: Any) -> Amounts:
    """Return the actions of a Box: whole numbers in its own type, all others as float32."""
    low = np.asarray(space.low, np.float64)
    high = np.asarray(space.high, np.float64)
    dtype = np.dtype("float32")
    if np.issubdtype(space.dtype, np.integer):
        dtype = space.dtype
        # the ends of a large type are no bounds
        if dtype.itemsize >= np.dtype("int32").itemsize:
            limits = np.iinfo(dtype)
            low = np.where(space.low == limits.min, -np.inf, low)
            high = np.where(space.high == limits.max, np.inf, high)
    return Amounts(tuple(low.tolist()), tuple(high.tolist()), dtype.name)


def _is_vector(space: Any) -> bool:
    """Return whether a space holds one or more numbers in a row."""
    from gymnasium.spaces import Box

    return (
        isinstance(space, Box) and len(space.shape) == 1 and space.shape[0] > 0
    )


def _space(space: Any) -> str:
    kind = f"a {type(space).__name__}"
    return f"{kind} of shape {tuple(space.shape)}" if space.shape else kind


def _suggestion(name: str) -> str:
    """Return a sentence with the names of similar environments."""
    import gymnasium

    lowered = {
        registered.lower(): registered for registered in gymnasium.registry
    }
    keys = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    names = [lowered[key] for key in keys] or ["CartPole-v1", "LunarLander-v3"]
    return f". Perhaps: {', '.join(names)}. One of your own is written module:Name-v0."


def _described(error: BaseException) -> str:
    kind = type(error).__name__
    message = " ".join(str(error).split())
    return f"{kind}: {message[:200]}" if message else kind


def _short(values: Any) -> str:
    array = np.asarray(values)
    text = np.array2string(array, precision=4, threshold=8, edgeitems=4)
    return " ".join(text.split())
