"""The value head: what a critic expects of each token, from the network's last hidden states."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tastemaker.errors import ModelError

FILE = "value_head.safetensors"


class ValueHead(nn.Module):
    """A linear map from hidden states [b, t, d] to values [b, t]. It starts at zero: no expectation at all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the values [b, t] of hidden states [b, t, d]."""
        values: Tensor = self.linear(hidden)[..., 0]
        return values

    def save(self, folder: Path) -> None:
        """Write the head beside the network, which other tools load without it."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / FILE)

    @staticmethod
    def load(folder: Path, width: int) -> "ValueHead | None":
        """Return the head that a folder holds, None where there is none. Raises ModelError for one of another width."""
        if not (folder / FILE).is_file():
            return None
        tensors = load_file(folder / FILE)
        found = tensors.get("linear.weight", torch.zeros(1, 0)).shape[1]
        if found != width:
            raise ModelError(f"{folder / FILE}: a value head for width {found}, and this network is {width} wide.")
        head = ValueHead(width)
        head.load_state_dict(tensors)
        return head
