"""The page where people judge texts: a ranking of answers, a choice of two, a grade of one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
