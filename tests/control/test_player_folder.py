"""A player's folder is no transformers model, and no run replaces it silently."""

from pathlib import Path

import pytest

from tastemaker.errors import StorageError
from tastemaker.rl import PLAYER, Choices, Player, Shapes
from tastemaker.train import CONTRACT, model_folder


@pytest.fixture
def played(tmp_path: Path) -> Path:
    """The folder of a player that has learned nothing."""
    folder = tmp_path / "player"
    folder.mkdir()
    Player.fresh("CartPole-v1", {}, Shapes(4, Choices(2), (8,), False)).save(folder)
    return folder


def test_it_holds_what_it_needs_and_no_more(played: Path) -> None:
    assert {path.name for path in played.iterdir()} == {PLAYER, "player.safetensors"}
    assert Player.load(played).environment == "CartPole-v1"


@pytest.mark.parametrize("whole", [PLAYER, CONTRACT])
def test_no_run_of_any_kind_replaces_it_silently(played: Path, whole: str) -> None:
    with (
        pytest.raises(StorageError, match="--overwrite"),
        model_folder(played, whole=whole, resume=False, overwrite=False),
    ):
        pass

    def interrupted() -> None:
        with model_folder(played, whole=whole, resume=False, overwrite=True):
            assert not played.exists()
            assert (played.parent / ".player.old" / PLAYER).is_file(), (
                "kept until the new one is saved"
            )
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert Player.load(played).environment == "CartPole-v1", (
        "nothing was saved, so it is back"
    )


def test_a_finished_player_is_what_resume_asks_for(played: Path) -> None:
    with model_folder(
        played, whole=PLAYER, resume=True, overwrite=False
    ) as is_finished:
        assert is_finished
