"""The provenance of a release: an in-toto statement that says what its programs and modules were made of, and how.

Specifications: in-toto Statement v1 (https://github.com/in-toto/attestation), SLSA provenance v1
(https://slsa.dev/spec/v1.0/provenance). Its bytes are part of the release's CID: the same blobs, parameters and version
of bacpack give the same bytes, so nothing of the machine is in it, and a time only if `SOURCE_DATE_EPOCH` names one.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from bacpack import __version__
from bacpack.attest.source import Source
from bacpack.errors import InputError
from bacpack.manifest import Manifest

#: The statement's name in a release, and that of its signature.
STATEMENT_NAME = "provenance.json"

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
#: What `parameters` and dependencies mean: docs/guides/provenance.md describes it.
BUILD_TYPE = "urn:bacpack:split:v1"


def make_statement(
    manifest: Manifest,
    contents: Mapping[str, bytes],
    blobs: Mapping[str, bytes],
    *,
    catalogs: Sequence[str] = (),
    source: Source | None = None,
    builder: str,
    finished: str | None = None,
) -> bytes:
    """Return the statement for the programs and modules of a manifest.

    `contents` has the bytes of each by path, `blobs` those that the programs were split from by app, and `catalogs` the
    sha2-256 digests, in hexadecimal, of the catalogs that modules were taken from.
    """
    subjects = [
        _descriptor(app.path, contents[app.path], {"kind": "app", "blob": app.blob}) for app in manifest.apps
    ] + [
        _descriptor(
            module.path, contents[module.path], {"kind": module.kind, "reused": module.reused, "users": module.users}
        )
        for module in manifest.modules
    ]
    dependencies = [_descriptor(app.blob, blobs[app.name], {"cid": app.blob_cid}) for app in manifest.apps]
    dependencies += [{"name": "catalog/modules", "digest": {"sha256": digest}} for digest in sorted(catalogs)]
    if source:
        dependencies.append(source.descriptor())
    details: dict[str, Any] = {"builder": {"id": builder, "version": {"bacpack": __version__}}}
    if finished:
        details["metadata"] = {"finishedOn": finished}
    return canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": sorted(subjects, key=lambda subject: subject["name"]),
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {
                        "blobs": [app.blob for app in manifest.apps],
                        "catalogs": sorted(catalogs),
                        **({"source": source.uri} if source else {}),
                    },
                    "internalParameters": {"bacpack": __version__, "profile": "unixfs-v1-2025"},
                    "resolvedDependencies": dependencies,
                },
                "runDetails": details,
            },
        }
    )


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return JSON in the one form that `value` has here: keys sorted, no spaces, UTF-8, and a line's end."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode() + b"\n"


def finished_on(environment: Mapping[str, str]) -> str | None:
    """Return the time that `SOURCE_DATE_EPOCH` names, ISO 8601; raises `InputError` (`bad-source-date`)."""
    text = environment.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    try:
        moment = datetime.datetime.fromtimestamp(int(text), datetime.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(
            "bad-source-date",
            f"SOURCE_DATE_EPOCH is `{text}`, which is no time",
            hint="it is a number of seconds since 1970, as `git log -1 --format=%ct` prints",
        ) from error
    return moment.isoformat().replace("+00:00", "Z")


def _descriptor(name: str, data: bytes, annotations: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256(data).hexdigest()}, "annotations": dict(annotations)}
