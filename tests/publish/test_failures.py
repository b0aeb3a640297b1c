"""Disks that are full, folders that cannot be used, and processes that are killed: nothing half-written is left."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.car_import import inspect_car
from bacpack.content.store.collection import check_blocks
from bacpack.content.store.pins import Pins
from commands import WITHOUT_ROOTS_RIGHTS, command
from content.harness import Bacpack
from publish.releases import write_release
from smalldisk import run_on_small_disk
from waiting import PATIENCE, line_of, started, until

KILLS = 20


def test_a_publish_killed_at_any_moment_leaves_no_corrupt_block(bacpack: Bacpack, tmp_path: Path) -> None:
    """Each time when so many blocks are there, and a moment later: as time passes differently on every machine."""
    folder, car = tmp_path / "out", tmp_path / "release.car"
    write_release(folder, apps=4, modules=12, module_bytes=1_000_000)
    expected = bacpack.ok("publish", folder, "--dry-run")
    root, blocks = Cid.parse(expected["root"]), expected["blocks"]
    store = BlockStore(bacpack.home)
    source = random.Random(7)
    kills = midway = 0
    for attempt in range(KILLS):
        if attempt % 3 == 0:
            # Begin again from nothing now and then, so that kills also fall on the first moments of a store.
            shutil.rmtree(bacpack.home, ignore_errors=True)
        here = len(list(store))
        wanted = source.randint(here, blocks)
        line = command("publish", folder, *(["--car", car] if attempt % 4 == 0 else []))
        with started(line, env=bacpack.environment, stdout=subprocess.DEVNULL) as process:
            is_far = lambda: process.poll() is not None or len(list(store)) >= wanted  # noqa: E731, B023
            until(is_far, f"{wanted} blocks are in the store", pause=0.0005)
            time.sleep(source.uniform(0, 0.003))
            process.kill()
            kills += process.wait(PATIENCE) == -signal.SIGKILL
        # Reading verifies: a block under its final name is whole.
        found = sum(1 for cid in store if store.get(cid) is not None)
        midway += here < found < blocks
        if Pins(bacpack.home).all():
            # A pin is made last: where there is one, nothing is missing.
            assert check_blocks(store, root).missing == []
        if car.exists():
            assert inspect_car(car).missing == ()
            car.unlink()
    assert kills >= KILLS // 2, f"only {kills} of {KILLS} processes were still running when they were killed"
    assert midway >= 3, "hardly any process was killed while it was storing blocks"
    again = bacpack.ok("publish", folder)
    assert again["root"] == expected["root"]
    assert check_blocks(store, root).blocks == blocks
    collected = bacpack.ok("gc")
    assert (collected["missing"], collected["kept_blocks"]) == ([], blocks)
    # What killed processes left in the folder for temporary files is gone.
    assert not list((bacpack.home / "blocks" / "tmp").iterdir())


def test_a_full_disk(tmp_path: Path) -> None:
    """The release does not fit."""
    folder, disk = tmp_path / "out", tmp_path / "disk"
    write_release(folder, modules=10, module_bytes=400_000)
    left_over = f'find {disk} -path "*/blocks/tmp/*" -o -name "*.car" -o -name ".bacpack-*"'
    for arguments in (("publish", folder), ("pack", folder, "-o", disk / "x.car")):
        done = run_on_small_disk(disk, f'"$@"; status=$?; {left_over}; exit $status', command(*arguments, "--json"))
        answer, *left = done.stdout.splitlines()
        assert done.returncode == 2, done
        assert json.loads(answer)["error"]["code"] == "disk-full", done
        assert done.stderr == ""
        assert left == []


def limited_to(size: int) -> None:
    """No file may grow beyond `size`: the portable way to make a write fail midway."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_write_that_fails_midway_leaves_nothing(bacpack: Bacpack, tmp_path: Path) -> None:
    folder, car = tmp_path / "out", tmp_path / "x.car"
    write_release(folder, modules=3, module_bytes=400_000)
    for arguments in (("publish", folder), ("pack", folder, "-o", car), ("publish", folder, "--car", car)):
        done = subprocess.run(
            command(*arguments, "--json"),
            env=bacpack.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            preexec_fn=lambda: limited_to(300_000),
        )
        assert done.returncode == 2, done
        error = json.loads(done.stdout)["error"]
        assert error["code"] == "io-error"
        assert "File too large" in error["message"]
        assert "Traceback" not in done.stderr
    assert not car.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".bacpack")]
    assert [name for name in bacpack.files() if "/tmp/" in name] == []
    assert bacpack.ok("pin", "ls") == {"pins": []}
    store = BlockStore(bacpack.home)
    assert all(cid.matches(store.get(cid)) for cid in store)
    assert bacpack.ok("publish", folder)["pins"][0]["status"] == "pinned"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    """Root may write anywhere that can be written at all, so these hold for root as well."""
    folder = tmp_path / "out"
    write_release(folder)
    file = tmp_path / "file"
    file.touch()
    Bacpack(file).fails(2, "not-a-folder", "publish", folder)
    Bacpack(file / "below").fails(2, "not-found", "publish", folder)
    Bacpack(Path("/proc/bacpack")).fails(2, "not-found", "publish", folder)
    bacpack = Bacpack(tmp_path / "home")
    bacpack.fails(2, "not-a-folder", "pack", folder, "-o", file / "x.car")
    bacpack.fails(2, "not-found", "publish", folder, "--car", "/proc/x.car")
    bacpack.fails(2, "is-a-directory", "pack", folder / "app-0.wasm", "-o", tmp_path / "out")
    assert not bacpack.home.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


def test_places_without_permission(tmp_path: Path) -> None:
    folder, closed = tmp_path / "out", tmp_path / "closed"
    write_release(folder)
    closed.mkdir(mode=0o500)
    Bacpack(closed / "home", WITHOUT_ROOTS_RIGHTS).fails(2, "no-permission", "publish", folder)
    bacpack = Bacpack(tmp_path / "home", WITHOUT_ROOTS_RIGHTS)
    bacpack.fails(2, "no-permission", "pack", folder, "-o", closed / "x.car")
    (folder / "modules").chmod(0)
    bacpack.fails(2, "no-permission", "publish", folder)
    (folder / "modules").chmod(0o700)


def test_what_cannot_be_read(bacpack: Bacpack, tmp_path: Path) -> None:
    loop, gone, pipe, odd = (tmp_path / name for name in ("loop", "gone", "pipe", "odd"))
    loop.symlink_to(loop)
    gone.symlink_to(tmp_path / "nowhere")
    os.mkfifo(pipe)
    odd.mkdir()
    bacpack.fails(2, "not-found", "publish", tmp_path / "absent")
    bacpack.fails(2, "not-found", "publish", gone)
    bacpack.fails(2, "io-error", "publish", loop)
    bacpack.fails(2, "not-a-regular-file", "publish", pipe)
    bacpack.fails(2, "not-a-regular-file", "publish", "/dev/null")
    (odd / "linked").symlink_to(tmp_path)
    bacpack.fails(2, "not-a-regular-file", "publish", odd)
    (odd / "linked").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(odd / "socket"))
        bacpack.fails(2, "not-a-regular-file", "publish", odd)
    (odd / "socket").unlink()
    Path(os.fsdecode(os.fsencode(odd) + b"/caf\xe9")).touch()
    bacpack.fails(2, "bad-name", "publish", odd)
    assert not bacpack.home.exists()


def test_an_interrupted_publish_says_so(bacpack: Bacpack, tmp_path: Path) -> None:
    """While it waits for garbage collection, which is as long as a test likes."""
    folder = tmp_path / "out"
    write_release(folder)
    with (
        BlockStore(bacpack.home).collecting(),
        started(
            command("publish", folder),
            env=bacpack.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        said = line_of(process.stderr, "it says what it waits for")
        assert said == "waiting for garbage collection to end\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    # It may have said once more what it waits for.
    assert (process.returncode, stderr.splitlines()[-1]) == (130, "interrupted")
    assert bacpack.ok("pin", "ls") == {"pins": []}
