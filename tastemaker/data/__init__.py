"""Judgements and how they are read: records, tables, columns, formats, splitting."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
