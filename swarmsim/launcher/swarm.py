"""`Swarm`: starts components, watches them, and stops them."""

import atexit
import contextlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

from swarmsim.components.role import Role
from swarmsim.config import DEFAULT_FILE, Config, ScriptSettings, make_config, read_file
from swarmsim.errors import SettingsError, WaitTimeout, unknown
from swarmsim.launcher.child import Child, ChildProcess, LocalChild
from swarmsim.launcher.child_main import Script
from swarmsim.launcher.process import StartMethod
from swarmsim.messaging.endpoint import Address
from swarmsim.messaging.links import AddressServer, Link, serve_any, serving_on
from swarmsim.messaging.process_context import PROCESS, running_time
from swarmsim.messaging.queues.directory import AddressLock, remove_stale_addresses
from swarmsim.messaging.sockets.connection import listen
from swarmsim.messaging.sockets.handshake import check_exposure, shared_secret
from swarmsim.messaging.sockets.server import serve_launched

STOP_SECONDS, STOP_SECONDS_AFTER_AN_ERROR, LAST_SECONDS, TERMINATE_SECONDS = 5.0, 0.5, 0.3, 0.5


class Swarm:
    """Starts, watches and stops components; a `with` block stops them at its end.

    Args:
        config_file: YAML file with `settings` and `components`; None if `add` adds all components. Paths of scripts are
            relative to the file's folder, or to the current folder without a file.
        link: `queues` forks a process for each component; `sockets` does so too, and the components exchange messages
            by TCP; `inprocess` runs all components in this process.
        start_method: how processes are made: `fork` is fast, and safe because a launcher's threads hold no lock then;
            `spawn` is for components that do not support forking.
        start_timeout: seconds that a component may take until it waits for messages.

    Attributes:
        components: the components by name, in the order in which they were added.

    Raises:
        SettingsError: the file cannot be used.
    """

    def __init__(
        self,
        config_file: str | Path | None = DEFAULT_FILE,
        *,
        link: Link = "queues",
        start_method: StartMethod = "fork",
        start_timeout: float = Config.start_timeout,
    ) -> None:
        self.link = link
        self.start_timeout = start_timeout
        self.start_method: StartMethod = start_method
        self.components: dict[str, Child] = {}
        self._started: list[Child] = []
        self._served: AddressServer | AddressLock | None = None
        self._hub: Child | None = None
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

    # --- components

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
        """Add a script as a component; `start(name)` starts it.

        Args:
            terminal: command that opens a terminal for it; True for the settings' terminal_cmd.
            envpath: prefix of its Python, for example '.venv/bin/'.
            delay: seconds to wait after its start.
            python_cmd: its Python; by default it runs in a process forked from this one.

        Raises:
            SettingsError: the name is taken, the file is missing or not a Python file, or terminal_cmd is not set.
        """
        path = self._folder / filepath
        if path.suffix != ".py":
            raise SettingsError(f"component {name!r}: {filepath} is not a Python file (.py)")
        if not path.is_file():
            raise SettingsError(f"component {name!r}: there is no file {path}")
        command = self._settings.terminal_cmd if terminal is True else terminal or None
        if terminal is True and command is None:
            raise SettingsError(f"component {name!r}: terminal=True needs the setting terminal_cmd, such as 'xterm -e'")
        python = python_cmd or self._settings.python_cmd
        prefix = envpath if envpath is not None else self._settings.python_envpath
        interpreter = None if python == ScriptSettings().python_cmd and prefix is None else f"{prefix or ''}{python}"
        self._add(name, Script(name, path, interpreter, command), delay or 0.0)

    def add_role(self, role: Role, address: Address, start_timeout: float | None = None) -> None:
        """Add a role of the main job, which joins the swarm at `address`; raises as `add`."""
        self._add(role.name, partial(role.run, address), 0.0, start_timeout)

    def _add(
        self, name: str, target: Script | Callable[[], None], delay: float, start_timeout: float | None = None
    ) -> None:
        if name in self.components:
            raise SettingsError(f"this swarm already has a component {name!r}")
        if self.link == "inprocess":
            if isinstance(target, Script) and target.is_external:
                raise SettingsError(f"component {name!r}: link inprocess has one Python and one terminal")
            self.components[name] = LocalChild(name, target, delay)
        else:
            bound = self.start_timeout if start_timeout is None else start_timeout
            self.components[name] = ChildProcess(name, target, delay, self.start_method, bound)

    def _select(self, names: str | Iterable[str] | None) -> list[Child]:
        if names is None:
            return list(self.components.values())
        selected = [names] if isinstance(names, str) else list(names)
        for name in selected:
            if name not in self.components:
                raise SettingsError(unknown("component", name, self.components))
        return [self.components[name] for name in selected]

    # --- start and stop

    def serve(self, server: str = "127.0.0.1") -> Address:
        """Serve on a free port of the host `server` until stopped, and return the address.

        Link `sockets` starts a server process; the other links need none.

        Raises:
            AddressError: other machines could reach it by TCP, and no secret is set.
        """
        if self._served is None and self.link == "sockets":
            self._served = self._serve_by_tcp(server)
        elif self._served is None:
            with serving_on(self.link):
                self._served = serve_any(server)
        return self._served.address

    @property
    def server_process_id(self) -> int | None:
        """The id of the server process; None if `serve` has started none."""
        return None if self._hub is None else self._hub.process_id

    def _serve_by_tcp(self, server: str) -> AddressLock:
        """Start a server process, and return the lock of its address on this host."""
        check_exposure(server, shared_secret(None), insecure=False)
        with listen((server, 0)) as listener, ExitStack() as on_failure:
            address = server, listener.getsockname()[1]
            claim = AddressLock(address)
            on_failure.callback(claim.close)
            main = partial(serve_launched, listener, address)
            self._hub = ChildProcess("hub", main, 0.0, self.start_method, self.start_timeout)
            self._stop_at_exit()
            self._hub.start()
            on_failure.pop_all()
        return claim

    def _stop_at_exit(self) -> None:
        """Stop all when this program ends, but not when a process ends that was forked from it."""
        if not self._started:
            atexit.register(self.stop)
            PROCESS.release_after_fork(self, self._forget_components)

    def _forget_components(self) -> None:
        atexit.unregister(self.stop)
        self._started, self._hub, self._served = [], None, None

    def start(self, names: str | Iterable[str] | None = None) -> None:
        """Start components, by default all; each is ready for messages before the next one starts.

        Raises:
            ComponentFailed: a component failed, with its traceback; those started before it keep running.
            SettingsError: there is no component of that name, or it is already running.
        """
        for component in self._select(names):
            if component.is_running:
                if names is None:
                    continue
                raise SettingsError(f"component {component.name!r} is already running")
            self._stop_at_exit()
            if component in self._started:
                self._end([component])
            self._started.append(component)
            with serving_on(self.link):
                component.start()
            if component.delay:
                with contextlib.suppress(WaitTimeout):  # a component that fails meanwhile raises its failure
                    PROCESS.wait(component.delay, "the end of a pause")

    def stop(self, names: str | Iterable[str] | None = None, *, patience: float | None = None) -> None:
        """Stop components, by default all, in reverse order of their start; a second call does nothing.

        Args:
            patience: seconds in all that the components have to stop (default: 5), before they are terminated and then
                killed.
        """
        selected = self._select(names)
        self._end([component for component in self._started if component in selected], patience)
        if names is None and self._hub is not None:
            hub, self._hub = self._hub, None
            self._end([hub], patience)
        if names is None and self._served is not None:
            served, self._served = self._served, None
            served.close()
        if not self._started:
            atexit.unregister(self.stop)
            PROCESS.forget_resource(self)

    def _end(self, components: list[Child], patience: float | None = None) -> None:
        deadline = running_time() + (STOP_SECONDS if patience is None else patience)
        for component in reversed(components):
            component.ask_to_stop(deadline)
        deadline = max(deadline, running_time() + LAST_SECONDS)
        for component in reversed(components):
            component.terminate(deadline)
        deadline = running_time() + TERMINATE_SECONDS
        for component in reversed(components):
            component.end(deadline)
            if component in self._started:
                self._started.remove(component)
        if self.link != "inprocess":
            remove_stale_addresses()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.stop(patience=None if error_type is None else STOP_SECONDS_AFTER_AN_ERROR)
