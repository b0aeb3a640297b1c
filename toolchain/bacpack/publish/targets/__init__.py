"""Where a release is published to: one file a target, all behind `Target`."""

from __future__ import annotations

from bacpack.publish.targets.local import CarTarget, StoreTarget, car_path, write_car
from bacpack.publish.targets.target import Missing, Sent, Target, TargetError, bytes_of

__all__ = ["CarTarget", "Missing", "Sent", "StoreTarget", "Target", "TargetError", "bytes_of", "car_path", "write_car"]
