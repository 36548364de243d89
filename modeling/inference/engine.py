"""The child process that holds llama.cpp.

    python -m modeling.inference.engine CONFIG_JSON

It serves llama.cpp's HTTP interface on a Unix socket, prints one line of JSON to standard output
once it answers, and ends when its standard input ends: so it can't outlive the server, whatever
ends that. Any other engine program that keeps this contract can stand in for it.
"""

import ctypes
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1

# How long, in turns of a loop, an OpenMP thread spins at a barrier before it sleeps. llama.cpp has
# some hundred barriers per token. libgomp's default spins for milliseconds: with one other busy
# process on two cores, decoding fell from 20 to 2.4 tokens/s, because the spinning thread held the
# core that the other thread waited for. 2000 turns gave 20.4 quiet and 10.5 busy; sleeping at once
# (OMP_WAIT_POLICY=passive) gave 5.6 and 8.5. `cpuparams.poll` governs only llama.cpp's own thread
# pool, which an OpenMP build doesn't use for this; 0 is never worse.
ENGINE_ENVIRONMENT = {"GOMP_SPINCOUNT": "2000"}

# A prompt is computed in pieces of this many tokens. Between two pieces the engine decodes a token
# for every other stream and notices callers who have gone. 512 is no faster on two cores.
BATCH_TOKENS = 256


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    parent_pid: int
    socket_path: str
    model_path: str
    model_name: str
    """What the engine writes into the `model` field of its answers."""
    context: int
    """Tokens of prompt and answer together, for each of `parallel` slots."""
    parallel: int
    threads: int
    adapter_paths: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "EngineConfig":
        return cls(**json.loads(text))


def end_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, and end now if it already has."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        sys.exit(1)


def announce_ready_and_wait(pid: int) -> None:
    """Tell the server that requests may come; return when it closes our standard input."""
    sys.stdout.write(json.dumps({"ready": True, "pid": pid}) + "\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()


def main(arguments: Sequence[str]) -> None:
    config = EngineConfig.from_json(arguments[0])
    end_with_parent(config.parent_pid)
    # Ctrl-C, and SIGTERM from many supervisors, reach the whole process group. The server lets
    # streams end first; it decides when the engine goes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config.model_path
    params.model_alias = {config.model_name}
    params.hostnames = [config.socket_path]
    params.n_parallel = config.parallel
    params.n_ctx = config.context * config.parallel
    params.n_batch = BATCH_TOKENS
    params.n_ubatch = BATCH_TOKENS
    params.n_threads_http = config.parallel + 4
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = config.threads
        cpu.poll = 0
    params.lora_adapters = [_adapter(xllamacpp, path) for path in config.adapter_paths]
    # Over-long input is refused, never shifted out silently.
    params.ctx_shift = False
    # The cache of prompts in host memory isn't keyed by adapter: a prefix computed with one
    # adapter would be reused with another. The server pins slots instead.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.fit_params = False
    params.warmup = False
    params.ui = False
    params.offline = True
    params.endpoint_slots = False
    # Errors only: llama.cpp's warnings quote requests.
    params.verbosity = 1
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as exc:
        sys.stderr.write(f"llama.cpp did not start: {exc}\n")
        sys.stderr.flush()
        os._exit(1)
    announce_ready_and_wait(os.getpid())
    # Named so that it lives until here; os._exit spares the native destructors, which can wait
    # for a running batch.
    del server
    os._exit(0)


def _adapter(xllamacpp: object, path: str) -> object:
    adapter = xllamacpp.CommonAdapterLoraInfo()  # type: ignore[attr-defined]
    adapter.path = path
    # Each request names the scale of every adapter; this is only the value before the first.
    adapter.scale = 0.0
    return adapter


if __name__ == "__main__":
    main(sys.argv[1:])
