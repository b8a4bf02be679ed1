"""What /proc tells: processes, their memory, and the kernel's."""
import os
import pathlib
import resource
import signal

PROC = pathlib.Path("/proc")
PAGE = os.sysconf("SC_PAGE_SIZE")


def children(pid):
    """Of all its threads."""
    found = []
    try:
        for task in (PROC / str(pid) / "task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:
        pass  # it has gone, and has no more
    return found


def tree(root):
    """The process and all that descend from it."""
    pids = [root]
    for pid in pids:
        pids += children(pid)
    return pids


def command_line(pid):
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""  # it has gone


def open_files(pid):
    """How many it has."""
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))
    except OSError:
        return 0  # it has gone


def open_pids(pids):
    descriptors = []
    for pid in pids:
        try:
            descriptors.append(os.pidfd_open(pid))
        except ProcessLookupError:
            pass
    return descriptors


def end(descriptor, signal_number):
    try:
        signal.pidfd_send_signal(descriptor, signal_number)
    except ProcessLookupError:
        pass
    os.close(descriptor)


def cpu_ns(root):
    """Processor time of all threads of all processes that live."""
    total = 0
    for pid in tree(root):
        try:
            for task in (PROC / str(pid) / "task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # it has gone
    return total


def fields(path):
    """Of a file of lines like "Name:  123 kB": bytes by name."""
    pairs = (line.split()[:2] for line in path.read_text().splitlines()
             if line.count(":") == 1)
    return {name[:-1]: int(value) * 1024 for name, value in pairs
            if value.isdigit()}


def user_memory(root):
    """PSS of all processes: a page that N share counts 1/N in each."""
    total = 0
    for pid in tree(root):
        try:
            total += fields(PROC / str(pid) / "smaps_rollup")["Pss"]
        except (OSError, KeyError):
            pass  # it has gone
    return total


def kernel_memory():
    """Of the whole machine, as far as connections or processes move it."""
    info = fields(PROC / "meminfo")
    sockets = (PROC / "net/sockstat").read_text().split()
    tcp_pages = int(sockets[sockets.index("TCP:") + 10])
    return info["Slab"] + info["KernelStack"] + info["PageTables"] + \
        tcp_pages * PAGE


def fd_limit():
    """As many open files as may be, for this process and those it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
