"""What the parts of the experiment run on: processes, ports, namespaces, memory disks; all of it ends with the run."""

import contextlib
import ctypes
import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

# See unshare(2), prctl(2).
CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# See netdevice(7).
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
HOST = "10.99.0.1"
# Whether this run has a network, mounts and process ids of its own.
is_apart = False


class Broken(Exception):
    """The experiment itself does not work, such as a cluster that does not start: no result, and no success."""


def system_call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def run_apart(folder, body, seconds):
    """Runs `body` in a process apart, with its own network, mounts and process ids where root is there, and leaves
    no process and no file of it. Returns its exit code, also after Ctrl-C; 3 if it has not ended after `seconds`."""
    child = forked(lambda: keeper(body))
    is_late = False

    def end(_number, _frame):
        nonlocal is_late
        is_late = True
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    code = wait_for(child)
    signal.alarm(0)
    shutil.rmtree(folder, ignore_errors=True)
    if is_late:
        print(f"tests/ha: ended, since it took longer than {seconds} s", file=sys.stderr, flush=True)
        return 3
    return code


def keeper(body):
    """The parent of all processes of the run. They end when it ends, and it ends when its own parent does."""
    system_call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    global is_apart
    with contextlib.suppress(OSError):
        # Containers often deny this to root, too.
        system_call("unshare", CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET)
        is_apart = True
        return wait_for(forked(lambda: reaper(body)))
    system_call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return reaper(body)


def reaper(body):
    """Takes over the processes whose parents ended, as the first process of a system does: Patroni waits until a
    PostgreSQL that it has not started itself is gone."""
    code = wait_for(forked(body))
    if is_apart:
        # The kernel ends all processes of the namespace with this one.
        return code
    while rest := children_of(os.getpid()):
        for process in rest:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.wait()
    return code


def forked(body):
    """Runs `body` in a child, which ends with this process. Signals to this process go to the child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            system_call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            code = body()
        finally:
            os._exit(code)
    forward_signals(child)
    return child


def forward_signals(child):
    def forward(number, _frame):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    # Ctrl-C reaches all processes of the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def wait_for(child):
    """Waits for one child, and takes note of all others that end."""
    while True:
        process, status = os.wait()
        if process == child:
            return os.waitstatus_to_exitcode(status) % 256


def children_of(process):
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and parent_of(entry.name) == process:
            found.append(int(entry.name))
    return found


def parent_of(process):
    with contextlib.suppress(OSError):
        # The name of the program stands in parentheses, and may contain some.
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def tree_of(process):
    """A process and all below it, parents first."""
    found = [process]
    for one in found:
        found += children_of(one)
    return found


def signal_tree(process, number):
    """Sends a signal to a process and all below it. Those that are forked meanwhile get it, too."""
    done = set()
    while left := [one for one in tree_of(process) if one not in done]:
        for one in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, number)
            done.add(one)


class Machine:
    """Starts processes, and knows where: `place` is None, or the name of a namespace."""

    def __init__(self, folder):
        self.folder = folder
        self.has_namespaces = is_apart and shutil.which("ip") is not None
        self.user = self.choose_user()
        if is_apart:
            self.prepare()
        if self.has_namespaces:
            self.prepare_bridge()
        if self.user:
            shutil.chown(folder, self.user.pw_uid, self.user.pw_gid)

    def choose_user(self):
        """Who runs PostgreSQL, which refuses root."""
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
        raise Broken("PostgreSQL refuses root, and there is neither a user postgres nor a user nobody")

    def prepare(self):
        sh("mount", "--make-rprivate", "/")
        sh("mount", "-t", "proc", "proc", "/proc")
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))

    def prepare_bridge(self):
        os.makedirs("/run/netns", exist_ok=True)
        sh("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
        sh("ip", "link", "add", "hosts", "type", "bridge")
        sh("ip", "address", "add", f"{HOST}/24", "dev", "hosts")
        sh("ip", "link", "set", "hosts", "up")

    def host_address(self):
        return HOST if self.has_namespaces else "127.0.0.1"

    def add_namespace(self, name, number):
        """Makes a network for one node, and returns its address. Neighbours are fixed, so that packets to a link that
        is down are lost in silence, as on a real network."""
        if not self.has_namespaces:
            return "127.0.0.1"
        address, mac = f"10.99.0.{number}", f"02:00:00:00:00:{number:02x}"
        inside = ("ip", "-netns", name)
        sh("ip", "netns", "add", name)
        sh("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        sh("ip", "link", "set", name, "master", "hosts", "up")
        sh(*inside, "link", "set", "lo", "up")
        sh(*inside, "link", "set", "eth0", "address", mac, "up")
        sh(*inside, "address", "add", f"{address}/24", "dev", "eth0")
        host_mac = link_address("hosts")
        # Otherwise a bridge changes it when a port is added.
        sh("ip", "link", "set", "hosts", "address", host_mac)
        sh("ip", "neigh", "replace", address, "lladdr", mac, "dev", "hosts", "nud", "permanent")
        sh(*inside, "neigh", "replace", HOST, "lladdr", host_mac, "dev", "eth0", "nud", "permanent")
        return address

    def set_link(self, name, state):
        sh("ip", "link", "set", name, state)

    def memory_disk(self, folder, size):
        """A small disk, which can be full. Without root it is a plain folder."""
        folder.mkdir(parents=True, exist_ok=True)
        if is_apart:
            sh("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder)
            shutil.chown(folder, self.user.pw_uid, self.user.pw_gid)

    def own_folder(self, path):
        path.mkdir(parents=True, exist_ok=True)
        if self.user:
            shutil.chown(path, self.user.pw_uid, self.user.pw_gid)
        path.chmod(0o700)
        return path

    def start(self, name, command, place=None, as_user=False, env=None):
        command = [str(part) for part in command]
        if as_user and self.user:
            user = self.user
            command = [
                "setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups", "--", *command,
            ]
        if place and self.has_namespaces:
            command = ["ip", "netns", "exec", place, *command]
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder,
                env={**os.environ, **(env or {})},
            )

    def log_of(self, name, lines=30):
        path = self.folder / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def link_address(name):
    return re.search(r"link/ether (\S+)", sh("ip", "link", "show", name))[1]


def sh(*command, **more):
    done = subprocess.run(
        [str(part) for part in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        **more,
    )
    if done.returncode != 0:
        raise Broken(f"{' '.join(map(str, command))}: {done.stdout.strip()}")
    return done.stdout


def free_ports(count):
    """Ports that are free now; those of one call differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_until(what, seconds, condition, pause=0.2):
    """Waits for a condition, and returns what it gave."""
    until = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > until:
            raise Broken(f"waited {seconds} s in vain: {what}")
        time.sleep(pause)
