"""The image programs: every format is written and read back, whole and split, and nothing may differ."""

from __future__ import annotations

import itertools
import json

import pytest
from wasmtime import Instance, Memory, Store

from corpus import image_blobs
from differential.conftest import Comparison
from differential.harness import Case, Host, Outcome, call, differences
from differential.pictures import FORMATS, PICTURES, Format, fdf_file, pixels_in

each_format = pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)


def write(images: Comparison, format: Format, picture: str, file: str, *options: str) -> Outcome:
    files = PICTURES[picture].folder("in.iwi")
    return images.run(f"{format.name}-write-image.wasi", Case(["in.iwi", "written.json", file, *options], files=files))


def read(images: Comparison, format: Format, files: dict[str, bytes], file: str, *options: str) -> Outcome:
    case = Case([file, "read.json", "back.iwi", *options], files=files)
    return images.run(f"{format.name}-read-image.wasi", case)


def produced(outcome: Outcome) -> dict[str, bytes]:
    """What a writing program left, less what it was given."""
    return {path: content for path, content in outcome.files.items() if not path.startswith(("in.iwi", "written"))}


def succeeded(outcome: Outcome, answer: str) -> bool:
    return outcome.exit_code == 0 and json.loads(outcome.files.get(answer) or b"false") is True


def as_library_and_command(store: Store, instance: Instance) -> object:
    """Start a program as the wasmtime command does: its initialiser first, though the entry runs that again."""
    call(store, instance, "_initialize")
    return call(store, instance, "")


def test_the_table_names_every_program() -> None:
    named = {f"{format.name}-{verb}-image.wasi" for format in FORMATS for verb in ("read", "write")}
    assert named == set(image_blobs())


def test_a_blob_does_the_same_every_time(host: Host) -> None:
    """DICOM files hold the time and random numbers: a program that varies could not be compared."""
    blob = image_blobs()["gdcm-write-image.wasi"]
    case = Case(["in.iwi", "written.json", "out.dcm"], files=PICTURES["grey3"].folder("in.iwi"))
    first = host.run(blob, case)
    assert b"DICM" in first.files["out.dcm"]
    assert differences(first, host.run(blob, case)) == []


@each_format
def test_what_is_written_is_read_back(images: Comparison, format: Format) -> None:
    """By each format, under each of its names, compressed and not."""
    for extension, options in itertools.product(format.extensions, ((), ("--use-compression",))):
        kept: list[str] = []
        changed: list[str] = []
        for picture in PICTURES:
            file = f"out.{extension}"
            written = write(images, format, picture, file, *options)
            back = read(images, format, produced(written), file)
            if succeeded(written, "written.json") and succeeded(back, "read.json"):
                same = pixels_in(back.files, "back.iwi") == PICTURES[picture].pixels()
                (kept if same else changed).append(picture)
        expected = (format.exact, format.changed) if format.compresses or not options else ((), ())
        assert (tuple(kept), tuple(changed)) == expected, (extension, options)


@each_format
def test_files_that_cannot_be_read(images: Comparison, format: Format) -> None:
    whole = write(images, format, (format.exact + format.changed + ("grey2",))[0], f"whole.{format.extensions[0]}")
    start = whole.files.get(f"whole.{format.extensions[0]}", b"")
    for content in (b"", b"no image at all\n" * 400, start[: len(start) // 2], start[:40] + b"\xff" * 80 + start[120:]):
        read(images, format, {f"bad.{format.extensions[0]}": content}, f"bad.{format.extensions[0]}")
    absent = read(images, format, {}, f"absent.{format.extensions[0]}")
    assert not succeeded(absent, "read.json")
    assert not succeeded(read(images, format, {"bad.xyz": b"no image"}, "bad.xyz"), "read.json")


@each_format
def test_command_lines(images: Comparison, format: Format) -> None:
    for verb in ("read", "write"):
        name = f"{format.name}-{verb}-image.wasi"
        asked = images.run(name, Case(["--help"]))
        assert (asked.exit_code, f"{format.name}-{verb}-image".encode() in asked.stdout) == (0, True)
        # These programs are built without exceptions: what would be thrown ends in a trap.
        assert images.run(name, Case()).trap is not None
        assert images.run(name, Case(["--version"])).exit_code == 0
        assert images.run(name, Case(["--no-such-option"])).exit_code != 0
        # As the wasmtime command does: a library's initialiser first, though the program runs it again.
        images.run(name, Case(["--help"], drive=as_library_and_command))


@each_format
def test_information_only(images: Comparison, format: Format) -> None:
    for picture in (*format.exact, *format.changed):
        file = f"out.{format.extensions[0]}"
        write(images, format, picture, file, "--information-only")
        back = read(images, format, produced(write(images, format, picture, file)), file, "--information-only")
        assert succeeded(back, "read.json")


def test_a_format_that_is_only_read(images: Comparison) -> None:
    format = next(format for format in FORMATS if format.name == "fdf")
    back = read(images, format, {"made.fdf": fdf_file(8, 6)}, "made.fdf")
    assert succeeded(back, "read.json")
    index = json.loads(back.files["back.iwi/index.json"])
    assert (index["size"], index["spacing"], index["origin"]) == ([8, 6], [1, 1], [1, 2])


def test_memory_is_left_in_the_same_disorder(images: Comparison) -> None:
    """One of the programs frees twice what it set up twice, and reads out of bounds: its split must as well."""
    files = PICTURES["grey2"].folder("in.iwi")
    case = Case(["in.iwi", "written.json", "out.mha"], files=files, drive=as_library_and_command)
    outcome = images.run("meta-write-image.wasi", case)
    assert outcome.trap is not None
    assert outcome.trap.startswith("MEMORY_OUT_OF_BOUNDS")
    assert "out.mha" in outcome.files


def give(store: Store, instance: Instance, part: int, data: bytes) -> str:
    """Put `data` where the program says, as a part of its first input; returns the address in the form it takes."""
    address = call(store, instance, "itk_wasm_input_array_alloc", 0, 0, part, len(data))
    memory_of(store, instance).write(store, data, address)
    return f"data:application/vnd.itk.address,0:{address}"


def take(store: Store, instance: Instance, output: int) -> bytes:
    """The first array of an output."""
    address = call(store, instance, "itk_wasm_output_array_address", 0, output, 0)
    size = call(store, instance, "itk_wasm_output_array_size", 0, output, 0)
    return bytes(memory_of(store, instance).read(store, address, address + size))


def memory_of(store: Store, instance: Instance) -> Memory:
    memory = instance.exports(store)["memory"]
    assert isinstance(memory, Memory)
    return memory


def test_a_host_that_shares_memory_with_the_program(images: Comparison) -> None:
    """The way the package's own Python code calls these programs: by their exports, the image in their memory."""
    picture = PICTURES["rgb2"]

    def write_from_memory(store: Store, instance: Instance) -> object:
        call(store, instance, "_initialize")
        pixels, direction = (give(store, instance, part, data) for part, data in enumerate(picture.parts()))
        index = json.dumps(picture.index(pixels, direction)).encode()
        address = call(store, instance, "itk_wasm_input_json_alloc", 0, 0, len(index))
        memory_of(store, instance).write(store, index, address)
        return call(store, instance, "itk_wasm_delayed_start"), take(store, instance, 0)

    def read_into_memory(store: Store, instance: Instance) -> object:
        call(store, instance, "_initialize")
        return call(store, instance, "itk_wasm_delayed_start"), take(store, instance, 0), take(store, instance, 1)

    case = Case(["--memory-io", "0", "0", "out.png"], drive=write_from_memory)
    written = images.run("png-write-image.wasi", case)
    assert written.returned == (0, b"true\n")
    case = Case(["--memory-io", "out.png", "0", "1"], files=written.files, drive=read_into_memory)
    assert images.run("png-read-image.wasi", case).returned == (0, b"true\n", picture.pixels())
