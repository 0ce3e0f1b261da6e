"""The store of judgements: items, judges, what was shown to whom, and what they answered.

It is a SQLite file or a PostgreSQL database. `Store` writes it, `tm.read` reads it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
