"""Where the blobs were built from, and who runs bacpack: as the person says, or as the environment of a CI run does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bacpack.errors import InputError

#: Who runs bacpack where nobody says.
LOCAL_BUILDER = "urn:bacpack:builder:local"
#: Says that no source is to be named, whatever the environment has.
NO_SOURCE = "none"

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
#: How git writes ssh addresses for short: `git@host:owner/name`.
_SHORT_SSH = re.compile(r"(?P<user>[\w.-]+)@(?P<host>[\w.-]+):(?P<path>[^/].*)")


@dataclass(frozen=True, slots=True)
class Source:
    """A revision of a repository."""

    repository: str
    revision: str

    @property
    def uri(self) -> str:
        """The download location, as SPDX and SLSA write it."""
        return f"git+{self.repository}@{self.revision}"

    def descriptor(self) -> dict[str, Any]:
        """Describe the source for a statement; its digest is that of the commit, if the revision names one."""
        digest = {"digest": {"gitCommit": self.revision}} if _COMMIT.fullmatch(self.revision) else {}
        return {"uri": self.uri, **digest}


def source_of(option: str | None, environment: Mapping[str, str]) -> Source | None:
    """Return the source that `--source` names, else that of the CI run; raises `InputError` (`bad-source`)."""
    if option == NO_SOURCE:
        return None
    if option is not None:
        return parse_source(option)
    server, repository, revision = (environment.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "SHA"))
    if repository and revision:
        return parse_source(f"{server or 'https://github.com'}/{repository}@{revision}")
    url, revision = environment.get("CI_PROJECT_URL"), environment.get("CI_COMMIT_SHA")
    if url and revision:
        return parse_source(f"{url}@{revision}")
    return None


def builder_of(option: str | None, source: str | None, environment: Mapping[str, str]) -> str:
    """Return the URI of who runs bacpack: as `--builder` says, else the CI system.

    It names no single run or machine. With `--source none` nothing is read of the environment.
    """
    if option is not None:
        if not urlsplit(option).scheme or re.search(r"\s", option):
            raise InputError("bad-source", f"`{option}` is no URI", hint="such as --builder https://ci.example")
        return option
    if source != NO_SOURCE:
        if environment.get("GITHUB_REPOSITORY") and environment.get("GITHUB_SHA"):
            return f"https://github.com/actions/runner/{environment.get('RUNNER_ENVIRONMENT') or 'self-hosted'}"
        if url := environment.get("CI_PROJECT_URL"):
            parts = urlsplit(url)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return LOCAL_BUILDER


def parse_source(text: str) -> Source:
    """Read `REPOSITORY@REVISION`; raises `InputError` (`bad-source`)."""
    repository, _, revision = text.rpartition("@")
    if short := _SHORT_SSH.fullmatch(repository):
        repository = f"ssh://{short['user']}@{short['host']}/{short['path']}"
    if not repository or not revision or re.search(r"[\s/]", revision) or re.search(r"\s", repository):
        raise _bad_source(text, "it is not of the form REPOSITORY@REVISION")
    parts = urlsplit(repository)
    if parts.scheme not in ("https", "http", "ssh", "git") or not parts.netloc:
        raise _bad_source(text, "the repository is no URL that others could use")
    if ":" in parts.netloc.rpartition("@")[0] or ("@" in parts.netloc and parts.scheme.startswith("http")):
        raise _bad_source("…", "the URL holds a password or token, which would be published")
    return Source(repository, revision)


def _bad_source(text: str, reason: str) -> InputError:
    return InputError(
        "bad-source",
        f"the source `{text}` cannot be used: {reason}",
        hint="such as https://git.example/owner/name@COMMIT; `none` names no source",
    )
