"""Where one thing of a module can be changed. Each change is made in place and described; None when there is no place.

Whether what comes out is valid, refused or harmless is for others to say.
"""

from __future__ import annotations

from mutation.places import code, records, segments, statements
from mutation.places.change import Change

#: All changes of modules by name.
CHANGES: dict[str, Change] = {**code.CHANGES, **statements.CHANGES, **records.CHANGES, **segments.CHANGES}
