"""Running the producer: one child process, its pipe, its messages, its end.

Owns the process from its start until it is reaped.  Guarantees that:

- the child never blocks on its messages, and what is kept of them is bounded;
- a read ends after `_SILENCE_MAX_S` without a sign of life;
- `close` leaves neither the process nor a thread behind, whatever state they were in;
- a child that this process forks holds no end of the pipe, and does not end the producer.

Knows nothing of what goes through the pipe.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import threading
from collections import deque
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final
from weakref import WeakSet

import msgspec

from omega_slices._model.report import RunReport, RunWarning
from omega_slices.errors import (
    BackendUnavailableError,
    DeserializationError,
    OmegaSlicesError,
    RequestError,
    SystemFailureError,
    error_from_report,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from omega_slices._model.storage import StorageOptions


# What may lie between the two processes; the system may grant less.
_CHANNEL_BYTES: Final = 1 << 20

# What is kept of the messages.  The report is one line with some 200 bytes per series,
# and there may be 3 × 32,767 series, each with a warning.
_LINE_BYTES_MAX: Final = 64 << 20
_WARNINGS_MAX: Final = 100_000
_TAIL_LINES: Final = 40
_TAIL_LINE_BYTES: Final = 2_000

# How often the executable gives a sign of life, and how long it may give none.
# A slow one gives signs; one that was stopped does not.
HEARTBEAT_S: Final = 5
_SILENCE_MAX_S: Final = 60.0

# Silence is counted in waits of this length.  A reader that is stopped itself, or sleeps with
# the machine, then counts that time as one wait.
_WAIT_S: Final = 1.0

# A process whose output has ended has nothing left to do but to exit.
_EXIT_TIMEOUT_S: Final = 60.0

# How long a process is given to notice that its reader is gone, then to obey a signal.
_GRACE_S: Final = 0.5

# Used up only where a descendant of the process keeps its messages open.
_DRAIN_TIMEOUT_S: Final = 5.0


class Producer:
    """A child process that writes a stream to its standard output.

    Attributes
    ----------
    stdout : Output
        Its output.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        stdin: IO[bytes] | None = None,
        *,
        silence_max_s: float | None = None,
        storage: StorageOptions | None = None,
    ) -> None:
        """Start the process, with a file as its standard input, or nothing.

        Parameters
        ----------
        arguments : sequence of str
            The program, and what it is given.
        stdin : file, optional
            Its standard input.
        silence_max_s : float, optional
            How many seconds it may give no sign of life; by default `_SILENCE_MAX_S`.
        storage : StorageOptions, optional
            How it reaches storage; handed over by its environment.

        Raises
        ------
        BackendUnavailableError
            The file cannot be run as a program.
        SystemFailureError
            The system has no room for another process.
        """
        self._program = arguments[0]
        self._owner = os.getpid()
        self._closed = False
        try:
            self._process, channel = _start(arguments, stdin, storage)
        except OSError as error:
            message = f"cannot run {self._program!r}: {error.strerror or error}"
            if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC):
                raise BackendUnavailableError(
                    message,
                    hint="install the package anew, for this platform, or correct OMEGA_SLICES_BINARY",
                    file=self._program,
                ) from error
            raise SystemFailureError(
                message, hint="close streams that are no longer needed, or ask for fewer symbols", file=self._program
            ) from error
        assert self._process.stderr is not None  # asked for as a pipe
        self._messages = _Messages(self._process.stderr)
        self.stdout = Output(channel, self._messages, silence_max_s)

    @property
    def report(self) -> RunReport | None:
        """The report that the producer wrote, if it wrote one."""
        return self._messages.report

    def take_warnings(self) -> list[RunWarning]:
        """Return the warnings that came since the last call."""
        return self._messages.take_warnings()

    def finish(self) -> OmegaSlicesError | None:
        """Wait for the exit of a process whose output has ended well.

        Returns
        -------
        OmegaSlicesError or None
            What went wrong all the same; None where nothing did.
        """
        status = self._exit_status(_EXIT_TIMEOUT_S)
        if status == 0:
            self._messages.join()
            if self._messages.error is None:
                return None
        reason = "the stream came to its end, but the program that wrote it failed"
        return self.failure(reason, ended=status is not None)

    def failure(self, reason: str, *, ended: bool) -> OmegaSlicesError:
        """End the process and return why its output is incomplete or unreadable.

        Parameters
        ----------
        reason : str
            What the reader saw; used only where the producer itself says nothing.
        ended : bool
            Whether the output has ended, and so the process should have.
        """
        status = self._exit_status(_EXIT_TIMEOUT_S if ended else _GRACE_S)
        self.close()
        if self._messages.error is not None:
            return self._told(self._messages.error)
        return DeserializationError(
            f"{reason}; {self._program} {_describe_status(status)}{self._messages.tail()}",
            # SIGKILL comes from a person, or from a system that is out of memory.
            hint="memory may have run out" if status == -9 else "run the request on the command line to see more",
        )

    def _told(self, report: Mapping[str, object]) -> OmegaSlicesError:
        """Return the producer's own error."""
        error = error_from_report(report)
        # In the words of the executable's parser of arguments.
        unknown = ("unexpected argument", "unrecognized subcommand")
        if isinstance(error, RequestError) and any(words in error.message for words in unknown):
            return BackendUnavailableError(
                f"{self._program!r} does not know what this package asks of it: {error.message}",
                hint="use the executable of the same release as the package",
                file=self._program,
            )
        return error

    def close(self) -> None:
        """End the process, whatever it is doing, and reap it; may be called again."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() != self._owner:
            # The process is the parent's, to wait for and to end.
            self._process.returncode = 0
            self.stdout.close()
            return
        # Its next write finds no reader; an executable of ours then exits by itself.
        self.stdout.close()
        if self._exit_status(_GRACE_S) is None:
            self._process.terminate()
            if self._exit_status(_GRACE_S) is None:
                self._process.kill()
                self._process.wait()
        self._messages.join()

    def _exit_status(self, timeout_s: float) -> int | None:
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


class Output:
    """What a producer writes, as much of a file as pyarrow asks for."""

    def __init__(self, channel: socket.socket, messages: _Messages, silence_max_s: float | None = None) -> None:
        self._channel = channel
        self._silence_max_s = _SILENCE_MAX_S if silence_max_s is None else silence_max_s
        self._messages = messages
        self._owner = os.getpid()
        # Held while reading: a descriptor that is closed under a reader may be another
        # file's a moment later.
        self._reading = threading.RLock()
        channel.settimeout(_WAIT_S)

    @property
    def closed(self) -> bool:
        """Whether it was closed by us."""
        return self._channel.fileno() < 0

    def read(self, size: int) -> bytearray:
        """Return as many bytes as are asked for, or those up to the end.

        Raises
        ------
        TimeoutError
            The producer has given no sign of life for too long.
        """
        data = bytearray(size)
        filled = waits = 0
        signs = self._messages.signs
        with self._reading, memoryview(data) as view:
            while filled < size:
                try:
                    count = self._channel.recv_into(view[filled:])
                except TimeoutError:
                    waits = waits + 1 if signs == self._messages.signs else 0
                    signs = self._messages.signs
                    if waits * _WAIT_S >= self._silence_max_s:
                        message = (
                            f"timed out after {self._silence_max_s:g} s: no data came, and not even a sign of life"
                        )
                        raise TimeoutError(message) from None
                    continue
                if count == 0:
                    break
                filled += count
                waits = 0
        del data[filled:]
        return data

    def close(self) -> None:
        """Close our end.

        May be called again, and while another thread reads, which then comes to an end.
        """
        if os.getpid() != self._owner:
            self._channel.close()
            return
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RD)
        with self._reading:
            self._channel.close()


class _Messages:
    """The producer's messages, read on the side so that it never waits for us.

    The thread knows this object only, not the stream: it keeps nothing else alive.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self.signs = 0  # how many messages came, of whatever kind
        self.error: dict[str, object] | None = None
        self.report: RunReport | None = None
        self._warnings: deque[RunWarning] = deque(maxlen=_WARNINGS_MAX)
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)
        self._thread = threading.Thread(target=self._drain, args=(pipe,), name="omega-slices-messages", daemon=True)
        self._thread.start()

    def take_warnings(self) -> list[RunWarning]:
        """Return the warnings not yet taken."""
        # One by one and no more than there are now: the thread may append at any time.
        return [self._warnings.popleft() for _ in range(len(self._warnings))]

    def join(self) -> None:
        """Wait for the last message of a process that has ended."""
        self._thread.join(_DRAIN_TIMEOUT_S)

    def tail(self) -> str:
        """Return the last messages as a part of an error's text."""
        lines = [line.decode(errors="replace") for line in self._tail.copy()]
        return "\nits last messages were:\n" + "\n".join(lines) if lines else ""

    def _drain(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(_LINE_BYTES_MAX):
                self.signs += 1
                if not self._take(line):
                    self._tail.append(line[:_TAIL_LINE_BYTES].rstrip())

    def _take(self, line: bytes) -> bool:
        """Keep a message of a known kind; return whether it was one."""
        try:
            match _decode_kind(line).kind:
                case "warning":
                    self._warnings.append(_decode_warning(line))
                case "report":
                    self.report = _decode_report(line)
                case "error":
                    # The first one is the cause, whatever follows from it.
                    self.error = self.error or _decode_error(line)
                case "alive":
                    pass
                case _:
                    return False
        except msgspec.DecodeError:
            return False
        return True


class _Kind(msgspec.Struct):
    kind: str


_decode_kind: Final = msgspec.json.Decoder(_Kind).decode
_decode_warning: Final = msgspec.json.Decoder(RunWarning).decode
_decode_report: Final = msgspec.json.Decoder(RunReport).decode
_decode_error: Final = msgspec.json.Decoder(dict[str, object]).decode

# Everything that a forked child must not hold: the producer would not see that its reader is
# gone, nor the reader that its producer is.
_held: Final[WeakSet[socket.socket | IO[bytes]]] = WeakSet()

# Held by a thread that starts a process, and while this one forks: what is inherited is
# then either not there yet, or known.  A handler of a signal may fork within, hence the R.
_starting: Final = threading.RLock()


def _let_go() -> None:
    """Put /dev/null in the place of each descriptor.

    Its number stays taken, so no other file is closed by it.
    """
    _starting.release()
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for one in list(_held):
        with suppress(OSError, ValueError):  # closed meanwhile
            os.dup2(nothing, one.fileno(), inheritable=False)
    os.close(nothing)


os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_let_go)


def _start(
    arguments: Sequence[str], stdin: IO[bytes] | None, storage: StorageOptions | None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process; return it, and our end of what its output goes through."""
    with _starting:
        ours, theirs = _channel()
        with theirs:
            try:
                process = subprocess.Popen(
                    # The executable reads UTF-8, whatever the locale of this process says.
                    [argument.encode(errors="surrogateescape") for argument in arguments],
                    stdin=subprocess.DEVNULL if stdin is None else stdin,
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                    env=None if storage is None else {**os.environ, **storage.environment},
                )
            except BaseException:
                ours.close()
                raise
        assert process.stderr is not None  # asked for as a pipe
        _held.add(process.stderr)
        return process, ours


def _channel() -> tuple[socket.socket, socket.socket]:
    """Make what the output goes through: our end to read from, and the child's to write to.

    A pair of sockets: a pipe hands over 4 KiB at a time, which takes several times as long.
    """
    ours, theirs = socket.socketpair()
    _held.update((ours, theirs))
    for end, option in ((ours, socket.SO_RCVBUF), (theirs, socket.SO_SNDBUF)):
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, option, _CHANNEL_BYTES)
    return ours, theirs


def _describe_status(status: int | None) -> str:
    if status is None:
        return "was still running and has been ended"
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "unknown"
    return f"was ended by signal {-status} ({name})"
