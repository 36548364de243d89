"""The child process: reads one file from standard input, writes JSON lines to standard output.

`fork_server` forks it, in an environment without secrets. Before it looks at the file it gives up what a reader doesn't need: network, new processes,
writing files, and memory, time and output without limit.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from importlib import import_module
from typing import Any

from .blocks import Page, Refused

MEMORY_BYTES = 1024**3
OCR_MEMORY_BYTES = 3 * 1024**3 // 2
"""Of address space; what OCR really uses stays below 1 GB."""
CPU_SECONDS = 55
"""Of a file; where the format has pages, of each of them."""
MOST_CPU_SECONDS = 1_800
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

_FORBIDDEN_EVENTS = (
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"),
    *("socket.gethostbyname", "socket.gethostbyaddr", "urllib.Request", "ftplib.connect"),
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.kill"),
    *("ctypes.dlopen", "shutil.copyfile", "shutil.rmtree"),
)

READERS = {
    "markdown": "markdown_text",
    "text": "plain_text",
    "html": "html_text",
    "pdf": "pdf_text",
    "docx": "docx_text",
    "pptx": "pptx_text",
    "xlsx": "xlsx_text",
    "csv": "csv_text",
    "eml": "eml_text",
    "jsonl": "jsonl_text",
}


def main(format_name: str) -> None:
    reader = import_module(f".{READERS[format_name]}", __package__)
    give_up_rights()
    try:
        data = sys.stdin.buffer.read()
        for page in reader.read(data):
            _write(_page(page))
            if page.total is not None:
                _renew_time()
        _write({"end": True})
    except Refused as refusal:
        _write({"refused": refusal.code, "values": refusal.values})
    except (MemoryError, RecursionError):
        _write({"refused": "memory", "values": {}})


def give_up_rights() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed worker leaves no reader behind
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # A network namespace of its own, where the kernel allows it; the audit hook holds elsewhere.
    if libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, OCR_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, MOST_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))  # doesn't bind root; the hook below does
    sys.addaudithook(_forbid)


def allow_more_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (OCR_MEMORY_BYTES, OCR_MEMORY_BYTES))


def _renew_time() -> None:
    """A long document is no attack: each page has the time of a small file."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    limit = min(used + CPU_SECONDS, MOST_CPU_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, MOST_CPU_SECONDS))


def _forbid(event: str, args: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN_EVENTS):
        raise PermissionError(f"A document reader may not {event}.")
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR):
        raise PermissionError("A document reader may not write files.")


def _page(page: Page) -> dict[str, Any]:
    blocks = [[block.kind, block.text, block.level] for block in page.blocks]
    return {"page": page.number, "total": page.total, "blocks": blocks, "notes": page.notes}


def _write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message, ensure_ascii=False) + "\n")
    sys.stdout.flush()
