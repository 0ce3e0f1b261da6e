"""What every verb that trains shares: the run folder, the optimisers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
