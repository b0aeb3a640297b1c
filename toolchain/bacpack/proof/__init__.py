"""Proof that a split is right: its output is linked again and compared with the blob, whatever code wrote it."""

from bacpack.proof.check import Prover, prove
from bacpack.proof.folder import prove_folder

__all__ = ["Prover", "prove", "prove_folder"]
