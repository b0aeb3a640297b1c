"""The proof of components: what `split` makes of them holds, and each way to link one wrongly is found."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bacpack.errors import CheckFailedError
from bacpack.proof.equivalence.components import prove_program
from bacpack.proof.equivalence.prover import Prover
from split.test_components import LIFT, bodies, component, data_of, split_components
from wasmtools import assemble, invalid_because, print_text

TWO = """(component (core module $m {0}) (core instance $i (instantiate $m)) (core instance $j (instantiate $m))
  {1})"""


@pytest.fixture(scope="module")
def parts() -> tuple[bytes, str, Prover]:
    """A component that instantiates its core module twice, the text of its split, and a prover."""
    lifts = LIFT.format("run", "i", "run") + LIFT.format("run2", "j", "run")
    blobs = [assemble(TWO.format(core, lifts)) for core in bodies()]
    result = split_components(*blobs)
    return blobs[0], print_text(result.apps[0].data), Prover(data_of(result))


def lines_with(text: str, mark: str) -> list[int]:
    return [number for number, line in enumerate(text.splitlines()) if mark in line]


def test_what_is_split_holds_and_its_text_says_the_same(parts: tuple[bytes, str, Prover]) -> None:
    blob, text, prover = parts
    prove_program(prover, blob, assemble(text))
    prove_program(prover, blob, blob)
    assert text.count("(core instance") == 6


def swapped(text: str, one: str, other: str) -> str:
    assert one in text
    assert other in text
    return text.replace(one, "<>").replace(other, one).replace("<>", other)


def second_environment_given_to_both(text: str) -> str:
    """Both instances of the core module get what belongs to one."""
    names = instance_names(text)
    return text.replace(f"(instance {names[3]})", f"(instance {names[0]})").replace(
        f"(instance {names[4]})", f"(instance {names[1]})"
    )


def shared_code_with_the_other_environment(text: str) -> str:
    """The second instance has its own environment, its shared code that of the first."""
    names = instance_names(text)
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if f"(core instance {names[4]} " in line)
    end = next(number for number in range(at + 1, len(lines)) if "(core instance" in lines[number])
    lines[at + 1 : end] = [
        line.replace(f"(instance {names[3]})", f"(instance {names[0]})") for line in lines[at + 1 : end]
    ]
    return "\n".join(lines)


def exports_of_the_other_instance(text: str) -> str:
    names = instance_names(text)
    return swapped(text, f"(alias core export {names[2]} ", f"(alias core export {names[5]} ")


def unused_instance(text: str) -> str:
    module = re.findall(r'\(import "baf\w+" \(core module (\S+)', text)[0]
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if "(core instance" in line)
    return "\n".join([*lines[:at], f"  (core instance $unused (instantiate {module}))", *lines[at:]])


def another_name(text: str) -> str:
    return text.replace('"run2"', '"run3"')


def another_number_in_the_code(text: str) -> str:
    assert "i32.const 2000" in text
    return text.replace("i32.const 2000", "i32.const 2004", 1)


def imports_before_what_was_there(text: str) -> str:
    """All is linked as before, but whatever else names the core module by its number names another."""
    items = re.split(r"\n  (?=\()", text.rstrip().removesuffix(")"))
    added = [item for item in items[1:] if item.startswith(("(core type", '(import "baf'))]
    return "\n  ".join([items[0], *added, *(item for item in items[1:] if item not in added)]) + ")"


def instance_names(text: str) -> list[str]:
    """Environment, shared code and core module, twice."""
    names = [line.split("(core instance ")[1].split(" ")[0] for line in text.splitlines() if "(core instance " in line]
    assert len(names) == 6
    return names


@pytest.mark.parametrize(
    "change",
    [
        second_environment_given_to_both,
        shared_code_with_the_other_environment,
        exports_of_the_other_instance,
        unused_instance,
        another_name,
        another_number_in_the_code,
        imports_before_what_was_there,
    ],
)
def test_a_component_put_together_wrongly_is_not_its_blob(
    parts: tuple[bytes, str, Prover], change: Callable[[str], str]
) -> None:
    blob, text, prover = parts
    changed = change(text)
    assert changed != text
    split = assemble(changed)
    assert not (reason := invalid_because(split)), f"the test itself is wrong: {reason}"
    with pytest.raises(CheckFailedError) as caught:
        prove_program(prover, blob, split)
    assert caught.value.code == "not-equivalent"


def test_a_split_is_not_that_of_another_component(parts: tuple[bytes, str, Prover]) -> None:
    _, text, prover = parts
    for other in (component(bodies()[0]), component(bodies()[1]), assemble("(component)")):
        with pytest.raises(CheckFailedError):
            prove_program(prover, other, assemble(text))
