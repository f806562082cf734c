"""`Swarm`: starts components in processes of their own, watches them, and stops them."""

import atexit
import contextlib
import json
import multiprocessing
import os
import signal
import time
import traceback
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from swarmsim.components.role import Role
from swarmsim.config import DEFAULT_FILE, Config, ScriptSettings, make_config, read_file
from swarmsim.errors import ComponentFailed, SettingsError, WaitTimeout, unknown
from swarmsim.launch import Script, component_process, foreign_script
from swarmsim.messaging.endpoint import Address
from swarmsim.messaging.links import Link, Served, serve_any, serving_on
from swarmsim.messaging.process import THIS_PROCESS

START_SECONDS = 60.0
STOP_SECONDS, TERMINATE_SECONDS, KILL_SECONDS = 5.0, 2.0, 5.0

StartMethod = Literal["fork", "spawn"]
State = Literal["new", "starting", "ready", "left", "failed", "stopped"]


class Component(ABC):
    """One component of a swarm, as its launcher sees it.

    Attributes:
        target: what it runs.
        delay: seconds to wait after its start.
        state: `left` is the end of a script that had itself closed its clients.
        failure: how it failed, where it did.
    """

    def __init__(self, name: str, target: Script | Callable[[], None], delay: float) -> None:
        self.name = name
        self.target = target
        self.delay = delay
        self.state: State = "new"
        self.failure: ComponentFailed | None = None

    @property
    def runs(self) -> bool:
        return self.state in ("starting", "ready")

    def fail(self, error_type: str, message: str, traceback_text: str = "") -> ComponentFailed:
        """Return the failure that this component now has."""
        self.state = "failed"
        self.failure = ComponentFailed(self.name, error_type, message, traceback_text)
        return self.failure

    @abstractmethod
    def start(self) -> None:
        """Start it, and return when it waits for messages.

        Raises:
            ComponentFailed: it, or another component of this launcher, failed meanwhile.
            WaitTimeout: it did not come so far.
        """

    @abstractmethod
    def ask_to_stop(self, deadline: float) -> None:
        """Ask it to stop, and wait for that until `deadline` (as `time.monotonic`)."""

    @abstractmethod
    def end(self) -> None:
        """Have nothing of it left, whatever it does."""


class LocalComponent(Component):
    """A component inside this process: its handlers are called while this process waits for a message."""

    def start(self) -> None:
        before = THIS_PROCESS.farewells()
        run = self.target.run if isinstance(self.target, Script) else self.target
        try:
            run()
        except (ComponentFailed, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise self.fail(type(error).__name__, str(error), traceback.format_exc()) from error
        finally:
            promised = THIS_PROCESS.farewells()
            self._farewells = {key: promised[key] for key in promised.keys() - before.keys()}
        if not self._farewells:
            raise self.fail("ProcessEnded", "it ended before it waited for a message")
        self.state = "ready"

    def ask_to_stop(self, deadline: float) -> None:
        self.end()

    def end(self) -> None:
        for key, farewell in self._farewells.items():
            if key in THIS_PROCESS.farewells():
                farewell()
        self.state = "stopped"


class ProcessComponent(Component):
    """A component in a process of its own."""

    def __init__(self, name: str, target: Script | Callable[[], None], delay: float, start_method: StartMethod) -> None:
        super().__init__(name, target, delay)
        self._context: ForkContext | SpawnContext = (
            multiprocessing.get_context("fork") if start_method == "fork" else multiprocessing.get_context("spawn")
        )
        self._is_foreign = isinstance(target, Script) and target.is_foreign

    def start(self) -> None:
        self.failure = None
        self._reports, reports = self._context.Pipe(duplex=False)
        lifeline, self._lifeline = self._context.Pipe(duplex=False)
        for own in (self._reports, self._lifeline):
            THIS_PROCESS.own(own, own.close)
        self.process = self._make_process(reports, lifeline)
        with warnings.catch_warnings():
            # numpy's idle matrix threads are the only ones of a launcher, and they do survive a fork
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            self.process.start()
        for its in (reports, lifeline):
            its.close()
        self.state = "starting"
        THIS_PROCESS.watch(self._reports.fileno(), self._read_reports)
        THIS_PROCESS.watch(self.process.sentinel, self._process_ended)
        try:
            THIS_PROCESS.wait(
                START_SECONDS, f"component {self.name!r} to wait for messages", until=lambda: self.state != "starting"
            )
        except WaitTimeout as error:
            raise self.fail("WaitTimeout", str(error)) from None

    def _make_process(self, reports: Connection, lifeline: Connection) -> BaseProcess:
        main: Callable[..., None] = foreign_script if self._is_foreign else component_process
        target = self.target
        if isinstance(target, Script) and not self._is_foreign:
            target = target.run
        return self._context.Process(target=main, args=(target, reports, lifeline), name=f"swarmsim-{self.name}")

    def _read_reports(self) -> None:
        """Take in what the process tells of itself."""
        try:
            while self._reports.poll():
                self._take(json.loads(self._reports.recv_bytes()))
        except EOFError:
            THIS_PROCESS.unwatch(self._reports.fileno())

    def _take(self, told: dict[str, str]) -> None:
        event = told.pop("event")
        if event == "failed":
            raise self.fail(**told)
        self.state = "ready" if event == "ready" else "left"

    def _process_ended(self) -> None:
        """Raise how the process ended, at every notice until the component is stopped."""
        if self.failure is None:
            self._read_reports()
        if self.state == "left":
            THIS_PROCESS.unwatch(self.process.sentinel)
            return
        if self.failure is None:
            self.process.join(KILL_SECONDS)
            when = "before it waited for a message" if self.state == "starting" else "without leaving the swarm"
            self.fail("ProcessEnded", f"its process {_how_it_ended(self.process.exitcode)} {when}")
        assert self.failure is not None
        raise self.failure

    def ask_to_stop(self, deadline: float) -> None:
        for source in (self._reports.fileno(), self.process.sentinel):
            THIS_PROCESS.unwatch(source)
        THIS_PROCESS.disown(self._lifeline)
        self._lifeline.close()
        self.process.join(max(deadline - time.monotonic(), 0.0))

    def end(self) -> None:
        pid = self.process.pid
        for send, seconds in ((self.process.terminate, TERMINATE_SECONDS), (self.process.kill, KILL_SECONDS)):
            if self.process.is_alive():
                send()
                self.process.join(seconds)
        if self._is_foreign and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        THIS_PROCESS.disown(self._reports)
        self._reports.close()
        self.process.close()
        self.state = "stopped"


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with status {exit_code}"


class Swarm:
    """The components of one launcher.

    Args:
        config_file: a YAML file with `settings` and `components`; None for a swarm that gets its
            components by `add` alone. Scripts are seen from the file's folder, else from the current one.
        link: `queues` forks a process for each component; `inprocess` runs all of them in this one.
        start_method: how processes are made. `fork` is fast, and safe here: a launcher has no thread of
            its own. `spawn` works where a component cannot bear to be forked.

    Raises:
        SettingsError: the file cannot be used as it is.
    """

    def __init__(
        self,
        config_file: str | Path | None = DEFAULT_FILE,
        *,
        link: Link = "queues",
        start_method: StartMethod = "fork",
    ) -> None:
        self.link = link
        self.start_method: StartMethod = start_method
        self.components: dict[str, Component] = {}
        self._started: list[Component] = []
        self._served: Served | None = None
        config = Config() if config_file is None else make_config(read_file(config_file), str(config_file))
        self._folder = Path.cwd() if config_file is None else Path(config_file).resolve().parent
        self._settings: ScriptSettings = config.settings
        for name, script in config.components.items():
            self.add(
                name,
                script.filepath,
                terminal=script.terminal_cmd or bool(config.settings.terminal_cmd),
                envpath=script.envpath,
                delay=script.delay,
                python_cmd=script.python_cmd,
            )

    # --- who belongs to it

    def add(
        self,
        name: str,
        filepath: str | Path,
        *,
        terminal: bool | str = False,
        envpath: str | None = None,
        delay: float | None = None,
        python_cmd: str | None = None,
    ) -> None:
        """Add a script as a component, to be started by `start(name)`.

        Args:
            terminal: True for a terminal of its own by the settings' terminal_cmd, or such a command.
            envpath: put before its Python, for example '.venv/bin/'.
            delay: seconds to wait after its start.
            python_cmd: its own Python; by default it runs in a process forked from this one.

        Raises:
            SettingsError: the name is taken, the file is missing or no Python file, or there is no such terminal.
        """
        path = self._folder / filepath
        if path.suffix != ".py":
            raise SettingsError(f"component {name!r}: {filepath} is no Python file (.py), which is what runs here")
        if not path.is_file():
            raise SettingsError(f"component {name!r}: there is no file {path}")
        command = self._settings.terminal_cmd if terminal is True else terminal or None
        if terminal is True and command is None:
            raise SettingsError(f"component {name!r}: terminal=True needs the setting terminal_cmd, such as 'xterm -e'")
        python = python_cmd or self._settings.python_cmd
        prefix = envpath if envpath is not None else self._settings.python_envpath
        is_own = python == ScriptSettings().python_cmd and prefix is None
        self._add(name, Script(name, path, None if is_own else f"{prefix or ''}{python}", command), delay or 0.0)

    def add_role(self, role: Role, address: Address) -> None:
        """Add a role of the package, which joins the swarm at `address`; raises as `add`."""
        self._add(role.name, partial(role.run, address), 0.0)

    def _add(self, name: str, target: Script | Callable[[], None], delay: float) -> None:
        if name in self.components:
            raise SettingsError(f"a component {name!r} is in this swarm already")
        if self.link == "inprocess":
            if isinstance(target, Script) and target.is_foreign:
                raise SettingsError(f"component {name!r}: one process has one Python and one terminal")
            self.components[name] = LocalComponent(name, target, delay)
        else:
            self.components[name] = ProcessComponent(name, target, delay, self.start_method)

    def _chosen(self, names: str | Iterable[str] | None) -> list[Component]:
        if names is None:
            return list(self.components.values())
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if name not in self.components:
                raise SettingsError(unknown("component", name, self.components))
        return [self.components[name] for name in wanted]

    # --- its life

    def serve(self, server: str = "127.0.0.1") -> Address:
        """Hold an address of `server` in this process, until stopped, and return it."""
        if self._served is None:
            with serving_on(self.link):
                self._served = serve_any(server)
        return self._served.address

    def start(self, names: str | Iterable[str] | None = None) -> None:
        """Start components, all of them where none is named; each waits for messages before the next is started.

        Raises:
            ComponentFailed: one failed, with its traceback; what had been started goes on.
            SettingsError: there is no component of that name, or it runs already.
        """
        for component in self._chosen(names):
            if component.runs:
                if names is None:
                    continue
                raise SettingsError(f"component {component.name!r} runs already")
            if not self._started:
                atexit.register(self.stop)
            if component in self._started:
                self._end([component])
            self._started.append(component)
            with serving_on(self.link):
                component.start()
            if component.delay:
                self._pause(component.delay)

    @staticmethod
    def _pause(seconds: float) -> None:
        """Wait as long as the user asked for, and notice failures meanwhile."""
        with contextlib.suppress(WaitTimeout):
            THIS_PROCESS.wait(seconds, "the end of a pause")

    def stop(self, names: str | Iterable[str] | None = None) -> None:
        """Stop components, all of them where none is named, in reverse order of their start.

        Each is asked to stop; whoever has not after 5 seconds in all is terminated, then killed.
        A second call does nothing.
        """
        chosen = self._chosen(names)
        self._end([component for component in self._started if component in chosen])
        if names is None and self._served is not None:
            served, self._served = self._served, None
            served.close()
        if not self._started:
            atexit.unregister(self.stop)

    def _end(self, components: list[Component]) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        for component in reversed(components):
            component.ask_to_stop(deadline)
        for component in reversed(components):
            component.end()
            self._started.remove(component)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
