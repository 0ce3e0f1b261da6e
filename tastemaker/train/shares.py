"""A tensor that is divided over processes: whether it is, the whole of it, and this one's share."""

from torch import Tensor

from tastemaker import processes


def is_sharded(tensor: Tensor) -> bool:
    """Return whether this process has only a share of a tensor."""
    return hasattr(tensor, "full_tensor")


def whole_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor with the shares of all processes, which must all ask for it."""
    if not is_sharded(tensor):
        return tensor
    with processes.answering_while_computing():
        full: Tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    return full


def share_like(tensor: Tensor, model: Tensor) -> Tensor:
    """Return this process's share of a whole tensor, where `model` is a share."""
    if not is_sharded(model) or is_sharded(tensor):
        return tensor
    # only where weights are divided
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(model, DTensor)
    return distribute_tensor(
        tensor.to(model.device),
        model.device_mesh,
        model.placements,
        src_data_rank=None,  # each process has it
    )
