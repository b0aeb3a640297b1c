"""Releases made by an enemy: changes that need several steps, made with a purpose."""

from __future__ import annotations

from mutation.attacks import between, names, setup
from mutation.attacks.attack import Attack

#: All attacks by name.
ATTACKS: dict[str, Attack] = {**between.ATTACKS, **names.ATTACKS, **setup.ATTACKS}
