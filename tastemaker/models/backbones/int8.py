"""placeholder"""

from tastemaker.models.backbones.parts import Encoder


def in_int8(encoder: Encoder) -> Encoder:
    return encoder
