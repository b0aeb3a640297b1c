"""Help texts and error codes are what they were: programs and people rely on them."""

from __future__ import annotations

import golden


def test_every_command_has_the_help_that_is_stated() -> None:
    assert golden.help_texts() == golden.HELP.read_text(), "if that is meant, see tests/golden.py"


def test_error_codes_are_those_that_are_stated() -> None:
    assert golden.error_codes() == golden.CODES.read_text(), "if that is meant, see tests/golden.py"
