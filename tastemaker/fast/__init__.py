"""Our own CPU passes of encoders and GPTs, 8-bit products, threads and batching."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
