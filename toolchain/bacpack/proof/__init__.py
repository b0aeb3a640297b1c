"""Proof that a split is right: its output is linked again and compared with the blob, whatever code wrote it."""

from bacpack.proof.check import Prover, prove, prove_release

__all__ = ["Prover", "prove", "prove_release"]
