"""What the namespace of an import means: content by CID, a URL, or a module of the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from bacpack.content.cid.reference import CidRef, PathRef, UrlRef, parse_ref

#: From this namespace .NET assemblies import the memory into which they copy themselves.
WEBCIL = "webcil"
WASI = "wasi_snapshot_preview1"
#: What came before it, with the same functions but one.
WASI_UNSTABLE = "wasi_unstable"

# The functions of WASI preview 1, as its definition lists them (WebAssembly/WASI, `phases/snapshot/witx`).
_WASI_FUNCTIONS = """
    args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get fd_advise fd_allocate fd_close
    fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get fd_filestat_set_size
    fd_filestat_set_times fd_pread fd_prestat_dir_name fd_prestat_get fd_pwrite fd_read fd_readdir fd_renumber fd_seek
    fd_sync fd_tell fd_write path_create_directory path_filestat_get path_filestat_set_times path_link path_open
    path_readlink path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff proc_exit proc_raise
    random_get sched_yield sock_accept sock_recv sock_send sock_shutdown
"""

#: What the host provides: functions, by namespace.
HOST_MODULES = {
    WASI: frozenset(_WASI_FUNCTIONS.split()),
    WASI_UNSTABLE: frozenset(_WASI_FUNCTIONS.split()) - {"sock_accept"},
}


@dataclass(frozen=True, slots=True)
class HostModule:
    """A module that the host provides, such as WASI."""

    name: str

    @property
    def functions(self) -> frozenset[str]:
        """Names of the functions it has; it has nothing else."""
        return HOST_MODULES[self.name]


@dataclass(frozen=True, slots=True)
class UnlinkedNamespace:
    """A plain name such as `env`: it names nothing that could be fetched."""

    name: str


Namespace: TypeAlias = CidRef | UrlRef | HostModule | UnlinkedNamespace


def parse_namespace(text: str) -> Namespace:
    """Read an import's namespace; raises `InputError` for what is meant as a reference but is none."""
    if text in HOST_MODULES:
        return HostModule(text)
    if not text:
        return UnlinkedNamespace(text)
    ref = parse_ref(text)
    # A module may name content and never a file: what it runs with must not depend on where it runs.
    return UnlinkedNamespace(text) if isinstance(ref, PathRef) else ref
