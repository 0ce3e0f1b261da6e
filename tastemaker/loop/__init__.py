"""The whole loop in one call: stages over judgements, reward models and a GPT, cached on disk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
