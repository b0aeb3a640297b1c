"""`split --explain`, `inspect` of a folder, and `--treemap`: where the bytes went, to the last one."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bacpack.split.explain.byte_counts import PARTS, parts_of
from bacpack.split.explain.treemap import Box, squarify
from bacpack.wasm import Module, SectionId
from corpus import NAMED_PROGRAM, rust_programs
from node.harness import Command, assemble
from split.harness import work

RUST = list(rust_programs().values())
SVG = "{http://www.w3.org/2000/svg}"

#: Enough in common that a module pays.
COMMON = f'(func $common (export "common") (param i32) (result i32) {work("common")} local.get 0)'


def ok(command: Command, *arguments: object, cwd: Path | None = None) -> dict[str, Any]:
    done = command(*arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def write(folder: Path, **texts: str) -> list[Path]:
    """Write modules, given as text, to files of these names."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.wasm").write_bytes(assemble(f"(module {text})"))
    return [folder / f"{name}.wasm" for name in texts]


def explained(command: Command, folder: Path, **texts: str) -> dict[str, dict[str, Any]]:
    """Split modules; return, for each by name, why its functions stayed, by the reason."""
    result = ok(command, "split", *write(folder / "in", **texts), "-o", folder / "out", "--explain")
    adds_up(result, folder / "out")
    return {
        program["name"]: {group["reason"]: group for group in program["stayed"]}
        for program in result["explain"]["apps"]
    }


def adds_up(result: dict[str, Any], folder: Path) -> None:
    """Every byte of every file is in one part, and every byte of code that stayed has one reason."""
    paths = {app["name"]: folder / f"{app['name']}.wasm" for app in result["apps"]}
    modules = {module["cid"]: module for module in result["explain"]["modules"]}
    assert modules.keys() == {module["cid"] for module in result["modules"]}
    for program, app in zip(result["explain"]["apps"], result["apps"], strict=True):
        assert program["name"] == app["name"]
        assert tuple(program["parts"]) == PARTS
        assert min(program["parts"].values()) >= 0
        assert program["bytes"] == sum(program["parts"].values()) == paths[app["name"]].stat().st_size
        assert sum(group["bytes"] for group in program["stayed"]) == program["parts"]["code"]
        assert program["bytes"] + sum(program["needs"].values()) == app["closure_bytes"]
        assert sum(module["bytes"] for module in modules.values() if app["name"] in module["users"]) == sum(
            program["needs"].values()
        )
    for cid, module in modules.items():
        assert module["bytes"] == sum(module["parts"].values()) == (folder / "modules" / f"{cid}.wasm").stat().st_size


def test_parts_add_up_to_files_and_reasons_to_code(command: Command, tmp_path: Path) -> None:
    result = ok(command, "split", *RUST, "-o", tmp_path / "out", "--explain")
    adds_up(result, tmp_path / "out")
    for program in result["explain"]["apps"]:
        assert program["parts"]["start"] > 100 and program["parts"]["code"] > 0
        counted = sum(group["functions"] for group in program["stayed"])
        assert counted + 1 == len(Module.parse((tmp_path / "out" / f"{program['name']}.wasm").read_bytes()).functions)
        for group in program["stayed"]:
            sizes = [function["bytes"] for function in group["largest"]]
            assert sizes == sorted(sizes, reverse=True) and sum(sizes) <= group["bytes"]


def test_parts_are_the_sections_of_a_file() -> None:
    data = RUST[0].read_bytes()
    module, parts = Module.parse(data), parts_of(data)
    for part, section_id in (("imports", SectionId.IMPORT), ("data", SectionId.DATA), ("exports", SectionId.EXPORT)):
        section = module.section(section_id)
        assert section is not None and parts[part] == section.end - section.start  # type: ignore[literal-required]
    assert parts["start"] == 0, "a program that was not split sets nothing up"


@pytest.mark.parametrize("broken", [b"", b"\0asm\1\0\0\0\x0a\x02\x01", b"no module at all", b"\0asm\x0d\0\1\0\x63"])
def test_of_what_is_no_module_nothing_is_lost_either(broken: bytes) -> None:
    assert sum(parts_of(broken).values()) == len(broken) == parts_of(broken)["other"]


def test_each_reason_for_staying_is_told_with_names(command: Command, tmp_path: Path) -> None:
    table = '(table 1 funcref) (func $bound (export "bound") (result i32) table.size) '
    twice = f"(func $twin (param i32) {work('twin')} i32.const %s drop) (elem declare func $twin)"
    first = f"""{COMMON} {table} (func $only (export "only") (param i32) {work("only")})
      (func $tiny (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
      (func (export "caller") (param i32) (result i32) {work("caller")} (call $tiny (local.get 0)))
      {twice % 70000} {twice.replace("$twin", "$other") % 80000}"""
    second = f"""{COMMON} (func $tiny (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
      (func (export "calls") (param i32) (result i32) {work("calls")} (call $tiny (local.get 0)))
      {twice % 70000}"""
    reasons = explained(command, tmp_path, first=first, second=second)
    named = {reason: [function["name"] for function in group["largest"]] for reason, group in reasons["first"].items()}
    assert named["cannot be moved: uses tables, segments, tags or types of its own module"] == ["bound"]
    assert "only" in named["no other program has one like it"]
    assert named["shared, but a copy is smaller than an import"] == ["tiny"]
    assert named["its program has more functions like it than others have"] == ["other"]
    assert reasons["first"]["its program has more functions like it than others have"]["functions"] == 1
    added = reasons["first"]["added by bacpack: passes calls on, or keeps a maximum"]
    assert added["functions"] == 2 and added["largest"] == [], "`common` and `twin` are named through one each"


def test_code_that_is_alike_but_does_not_pay(command: Command, tmp_path: Path) -> None:
    alike = '(func $alike (export "alike") (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))'
    reasons = explained(command, tmp_path, one=alike, two=f'{alike} (func $more (export "more"))')
    assert reasons["one"].keys() == {"others have one like it, but a module of it would not pay"}
    assert reasons["two"].keys() == {*reasons["one"], "no other program has one like it"}


def test_a_start_function_of_the_program_itself_is_its_code(command: Command, tmp_path: Path) -> None:
    begins = '(func $begins (export "begins") nop nop nop) (start $begins)'
    result = ok(command, "split", *write(tmp_path / "in", one=begins), "-o", tmp_path / "out", "--explain")
    (program,) = result["explain"]["apps"]
    assert (program["parts"]["start"], program["parts"]["code"]) == (0, 6)


def test_one_program_alone_is_told_by_its_names(command: Command, tmp_path: Path) -> None:
    result = ok(command, "split", NAMED_PROGRAM, "-o", tmp_path / "out", "--explain")
    adds_up(result, tmp_path / "out")
    stayed = result["explain"]["apps"][0]["stayed"]
    assert stayed[0]["reason"] == "no other program to compare with, and its name tells of no large library"
    assert any("jsonfmt" in function["name"] for function in stayed[0]["largest"])


def test_components_are_told_with_what_is_around_their_core_modules(command: Command, tmp_path: Path) -> None:
    lift = '(func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "common")))'
    small = '(core module (func (export "small") nop))'
    paths = []
    for number in (2000, 3000):
        core = f'(memory (export "memory") 1) {COMMON} (func (param i32) {work(str(number))})'
        text = f"(component (core module $m {core}) {small} (core instance $i (instantiate $m)) {lift})"
        paths.append(tmp_path / f"app{number}.wasm")
        paths[-1].write_bytes(assemble(text))
    result = ok(command, "split", *paths, "-o", tmp_path / "out", "--explain")
    adds_up(result, tmp_path / "out")
    for program in result["explain"]["apps"]:
        assert program["needs"]["shared"] > 0
        assert program["parts"]["component"] > 0 and program["parts"]["start"] > 0
        rest = {group["reason"]: group["bytes"] for group in program["stayed"]}["in core modules that are not split"]
        assert rest == 4, "`small`: its size, no locals, nop, end"


def test_the_table_says_the_same_as_the_json(command: Command, tmp_path: Path) -> None:
    paths = write(tmp_path / "in", one=f'{COMMON} (func $mine (export "mine") (param i32) {work("mine")})', two=COMMON)
    plain = command("split", *paths, "-o", tmp_path / "out").stdout.decode()
    text = command("split", *paths, "-o", tmp_path / "out", "--explain").stdout.decode()
    assert text.endswith(plain) and "why" not in plain
    (group, *_) = ok(command, "split", *paths, "-o", tmp_path / "out", "--explain")["explain"]["apps"][0]["stayed"]
    kilobytes = f"{group['bytes'] / 1000:.1f} KB"
    assert f"(1) no other program has one like it: {kilobytes} in 1 function\n      {kilobytes}  mine in one\n" in text
    assert re.search(rf"^one +{kilobytes} ", text, re.MULTILINE)
    assert "explain" not in ok(command, "split", *paths, "-o", tmp_path / "out")


def test_names_do_nothing_to_a_terminal(command: Command, tmp_path: Path) -> None:
    evil = f'(func $"\\1b[31mred\\0a{"x" * 200}" (export "mine") (param i32) {work("mine")})'
    paths = write(tmp_path / "in", one=f"{COMMON} {evil}", two=COMMON)
    text = command("split", *paths, "-o", tmp_path / "out", "--explain").stdout.decode()
    assert "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}xxx" in text
    assert "\x1b" not in text and "x" * 60 not in text


def test_a_release_without_its_blobs_tells_the_same_but_reasons(command: Command, tmp_path: Path) -> None:
    told = ok(command, "split", *RUST, "-o", tmp_path / "out", "--explain")["explain"]
    for ref in (tmp_path / "out", ok(command, "pack", tmp_path / "out", "-o", tmp_path / "all.car")["car"]):
        seen = ok(command, "inspect", ref)["explain"]
        assert seen["apps"] == [
            {**program, "name": f"{program['name']}.wasm", "stayed": None} for program in told["apps"]
        ]
        named = [{**module, "users": [f"{name}.wasm" for name in module["users"]]} for module in told["modules"]]
        assert seen["modules"] == named
    text = command("inspect", tmp_path / "out").stdout.decode()
    assert "where the bytes are" in text and "why" not in text


def test_a_folder_without_a_manifest_is_told_too(command: Command, tmp_path: Path) -> None:
    ok(command, "split", *RUST, "-o", tmp_path / "out")
    (tmp_path / "out" / "bacpack.json").unlink()
    told = ok(command, "inspect", tmp_path / "out")["explain"]
    assert {module["kind"] for module in told["modules"]} == {None}
    assert all(program["parts"]["start"] > 0 and program["needs"]["shared"] > 0 for program in told["apps"])


def tiles(path: Path) -> list[tuple[Box, str, str]]:
    """The parts that a picture shows: where, in which colour, and what it says of them."""
    found = []
    for rectangle in ElementTree.parse(path).iter(f"{SVG}rect"):
        title = rectangle.find(f"{SVG}title")
        if title is not None and title.text:
            box = Box(*(float(rectangle.attrib[name]) for name in ("x", "y", "width", "height")))
            found.append((box, rectangle.attrib["fill"], title.text))
    return found


def test_areas_of_the_picture_are_bytes(command: Command, tmp_path: Path) -> None:
    paths = [tmp_path / "out" / "all.svg", tmp_path / "seen.svg"]
    told = ok(command, "split", *RUST, "-o", tmp_path / "out", "--explain", "--treemap", paths[0])["explain"]
    ok(command, "inspect", tmp_path / "out", "--treemap", paths[1])
    size = sum(entry["bytes"] for entry in told["apps"] + told["modules"])
    for path in paths:
        shown = tiles(path)
        scale = sum(box.area for box, _, _ in shown) / size
        area: Counter[str] = Counter()
        for box, _, title in shown:
            area[title.splitlines()[0].removesuffix(".wasm")] += box.area  # type: ignore[assignment]
        expected = {entry["name"]: entry["bytes"] for entry in told["apps"]}
        expected |= {entry["cid"]: entry["bytes"] for entry in told["modules"]}
        assert area.keys() == expected.keys()
        assert {name: area[name] / scale for name in area} == pytest.approx(expected, rel=0.01)
        colours = {colour for _, colour, title in shown if "start functions" in title}
        drawn = sum(box.area for box, colour, _ in shown if colour in colours)
        assert drawn / scale == pytest.approx(sum(p["parts"]["start"] for p in told["apps"]), rel=0.02)
        apart([box for box, _, _ in shown], slack=0.01)


def test_text_stays_in_its_box(command: Command, tmp_path: Path) -> None:
    ok(command, "split", *RUST, "-o", tmp_path / "out", "--treemap", tmp_path / "all.svg")
    root = ElementTree.parse(tmp_path / "all.svg").getroot()
    boxes = {
        tuple(box.attrib[name] for name in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
        if "x" in box.attrib and "height" in box.attrib
    }
    labels = [label for label in root.iter(f"{SVG}svg") if label is not root]
    assert len(labels) > 10
    for label in labels:
        assert tuple(label.attrib[name] for name in ("x", "y", "width", "height")) in boxes
        for line in label.iter(f"{SVG}text"):
            assert float(line.attrib["y"]) < float(label.attrib["height"])
            assert len(line.text or "") * 0.6 * float(line.attrib["font-size"]) < float(label.attrib["width"])


def test_names_are_escaped_and_nothing_is_loaded_or_run(command: Command, tmp_path: Path) -> None:
    name = 'a<b>&"c"\'\x01\n]]>{}'
    (tmp_path / f"{name}.wasm").write_bytes(assemble(f"(module {COMMON})"))
    (tmp_path / "<script>.wasm").write_bytes(assemble(f"(module {COMMON} (func nop))"))
    blobs = [f"{name}.wasm", "<script>.wasm"]
    for drawing in ("all.svg", "all.html"):
        ok(command, "split", *blobs, "-o", "<out>", "--treemap", drawing, cwd=tmp_path)
    titles = "".join(title for _, _, title in tiles(tmp_path / "all.svg"))
    assert 'a<b>&"c"\'\N{REPLACEMENT CHARACTER}\n]]>{}\n' in titles
    page = (tmp_path / "all.html").read_text()
    assert (tmp_path / "all.svg").read_text() in page
    assert page.startswith("<!doctype html>") and "<title>&lt;out&gt;</title>" in page
    assert "<script" not in page and "url(" not in page
    assert re.findall(r"https?://[^\"]*", page) == ["http://www.w3.org/2000/svg"]


def test_a_picture_of_one_program_says_who_else_uses_its_modules(command: Command, tmp_path: Path) -> None:
    ok(command, "split", *RUST, "-o", tmp_path / "out")
    ok(command, "inspect", tmp_path / "out" / "csvsum.wasm", "--treemap", tmp_path / "one.svg")
    titles = [title for _, _, title in tiles(tmp_path / "one.svg")]
    assert any("\nfor 6 programs: checksum, csvsum" in title for title in titles)
    assert {title.splitlines()[0] for title in titles if not title.startswith("b")} == {"csvsum.wasm"}


def test_a_picture_of_another_kind_is_refused_before_anything_is_done(command: Command, tmp_path: Path) -> None:
    text = command.fails(2, "usage", "split", RUST[0], "-o", tmp_path / "out", "--treemap", tmp_path / "all.png")
    assert "ends neither in .html nor in .svg" in text
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_an_error(command: Command, tmp_path: Path) -> None:
    (tmp_path / "all.svg").mkdir()
    ok(command, "split", RUST[0], "-o", tmp_path / "out")
    command.fails(2, "is-a-directory", "inspect", tmp_path / "out", "--treemap", tmp_path / "all.svg")


def apart(boxes: list[Box], slack: float) -> None:
    """No two boxes overlap by more than `slack` in both directions."""
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert across <= slack or down <= slack, (one, other)


SIZES = st.lists(st.integers(1, 10**9), min_size=1, max_size=40)
SIDES = st.floats(1, 5000)


@given(SIZES, SIDES, SIDES)
@settings(deadline=None)
def test_a_treemap_divides_its_box_by_the_sizes(sizes: list[int], width: float, height: float) -> None:
    whole = Box(3, 7, width, height)
    boxes = squarify(sizes, whole)
    tiny = 1e-9 * max(width, height)
    for box, size in zip(boxes, sizes, strict=True):
        assert box.area == pytest.approx(whole.area * size / sum(sizes), rel=1e-5, abs=1e-9 * whole.area)
        assert box.x >= whole.x - tiny and box.x + box.width <= whole.x + width + tiny
        assert box.y >= whole.y - tiny and box.y + box.height <= whole.y + height + tiny
    apart(boxes, slack=tiny)


def test_a_treemap_is_that_of_the_paper() -> None:
    boxes = squarify([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))
    assert [(round(box.width, 2), round(box.height, 2)) for box in boxes] == [
        (3, 2), (3, 2), (1.71, 2.33), (1.29, 2.33), (1.2, 1.67), (1.2, 1.67), (0.6, 1.67),
    ]  # fmt: skip


def test_equal_sizes_make_squares() -> None:
    assert {(round(box.width), round(box.height)) for box in squarify([5] * 12, Box(0, 0, 40, 30))} == {(10, 10)}


def test_sizes_may_differ_by_more_than_numbers_can_tell() -> None:
    boxes = squarify([1, 10**30, 1], Box(0, 0, 10, 10))
    assert boxes[1].area == pytest.approx(100)
    assert all(box.area >= 0 for box in boxes)
