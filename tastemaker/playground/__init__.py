"""An invented world of short film reviews, English and Chinese, with a known gold score."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
